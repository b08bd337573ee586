#include "engine/engine-reply.h"
#include "test.h"

static EngineOutcome classify(EngineOperation operation, unsigned status, const char *body, char **ret_message) {
        HttpResponse response = { .reason = "", .status = status, .body = body, .size = strlen(body) };

        return engine_reply_classify(operation, &response, ret_message);
}

/* Sentences as Docker 20.10 and 26 and Podman 4.3 were seen to write them. */
static void test_answers(void) {
        static const struct {
                EngineOperation operation;
                unsigned status;
                const char *text;
                EngineOutcome outcome;
        } cases[] = {
                { ENGINE_START, 204, "", ENGINE_OK },
                { ENGINE_START, 304, "", ENGINE_ALREADY },
                { ENGINE_START, 200, "[{}", ENGINE_BROKEN },
                { ENGINE_STOP, 200, "", ENGINE_BROKEN },
                { ENGINE_CONNECT_NETWORK, 200, "", ENGINE_OK },
                { ENGINE_START, 404, "No such container: wb-nope", ENGINE_NO_CONTAINER },
                { ENGINE_START, 404, "No such container: my-network", ENGINE_NO_CONTAINER },
                { ENGINE_START, 404, "no container with name or ID \\\"wb-nope\\\" found: no such container",
                  ENGINE_NO_CONTAINER },
                { ENGINE_START, 404, "network 0123456789abcdef not found", ENGINE_NO_NETWORK },
                { ENGINE_START, 404, "No such image: web:latest", ENGINE_NO_IMAGE },
                { ENGINE_PING, 404, "page not found", ENGINE_REFUSED },
                { ENGINE_EXEC, 404, "No such exec instance: e1", ENGINE_BROKEN },
                { ENGINE_START, 500,
                  "driver failed programming external connectivity on endpoint wb-e3 (01ab): Error starting userland proxy: listen tcp4 "
                  "127.0.0.1:21301: bind: address already in use",
                  ENGINE_PORT_TAKEN },
                { ENGINE_START, 500,
                  "cannot listen on the TCP port: listen tcp4 127.0.0.1:21301: bind: address already in use",
                  ENGINE_PORT_TAKEN },
                { ENGINE_START, 500, "driver failed: Bind for 127.0.0.1:21301 failed: port is already allocated",
                  ENGINE_PORT_TAKEN },
                { ENGINE_START, 500,
                  "driver failed programming external connectivity on endpoint r5 (de97): all ports are allocated",
                  ENGINE_PORT_TAKEN },
                { ENGINE_START, 403, "Address already in use", ENGINE_REFUSED },
                { ENGINE_START, 500, "IPAM error: requested ip address 10.89.0.5 is already allocated",
                  ENGINE_REFUSED },
                { ENGINE_START, 409, "cannot start a paused container, try unpause instead", ENGINE_PAUSED },
                { ENGINE_EXEC, 409, "Container wb-e1 is paused, unpause the container before exec",
                  ENGINE_PAUSED },
                { ENGINE_START, 409, "container is marked for removal and cannot be started", ENGINE_CONFLICT },
                { ENGINE_START, 409, "cannot join network of a non running container: 01ab",
                  ENGINE_OTHER_STOPPED },
                { ENGINE_START, 409, "failed to join IPC namespace: container 01ab is not running",
                  ENGINE_OTHER_STOPPED },
                { ENGINE_START, 500, "Cannot link to a non running container: /l1 AS /l2/x",
                  ENGINE_OTHER_STOPPED },
                { ENGINE_START, 500, "container 01ab is not running", ENGINE_OTHER_STOPPED },
                { ENGINE_START, 400, "failed to join IPC namespace: No such container: 01ab",
                  ENGINE_PART_MISSING },
                { ENGINE_START, 500, "cannot join PID of a non running container: 01ab: No such container: 01ab",
                  ENGINE_PART_MISSING },
                { ENGINE_START, 404, "get v1: no such volume", ENGINE_PART_MISSING },
                { ENGINE_START, 500, "get v1: no such volume", ENGINE_PART_MISSING },
                { ENGINE_START, 500,
                  "container 01ab must be in Created or Stopped state to be started: container state improper",
                  ENGINE_CONFLICT },
                { ENGINE_STOP, 500,
                  "can only stop created or running containers. 01ab is in state paused: container state improper",
                  ENGINE_PAUSED },
                { ENGINE_UNPAUSE, 500, "Container 01ab is not paused", ENGINE_ALREADY },
                { ENGINE_START, 400,
                  "invalid mount config for type \\\"bind\\\": bind source path does not exist: /srv/x",
                  ENGINE_REFUSED },
                { ENGINE_START, 400,
                  "failed to create shim task: OCI runtime create failed: executable file not found",
                  ENGINE_REFUSED },
                { ENGINE_START, 500, "crun: executable file `x` not found in $PATH: No such file or directory",
                  ENGINE_REFUSED },
                { ENGINE_START, 500,
                  "dial unix /run/containerd/containerd.sock: connect: no such file or directory", ENGINE_BROKEN },
                { ENGINE_START, 400, "client version 1.99 is too new. Maximum supported API version is 1.41",
                  ENGINE_BROKEN },
                { ENGINE_CONNECT_NETWORK, 403, "endpoint with name db already exists in network n",
                  ENGINE_ALREADY },
                { ENGINE_CONNECT_NETWORK, 404, "network n not found", ENGINE_NO_NETWORK },
                { ENGINE_CONNECT_NETWORK, 404, "No such container: network-db", ENGINE_NO_CONTAINER },
                { ENGINE_CONNECT_NETWORK, 400,
                  "container sharing network namespace with another container or host cannot be connected to any other network",
                  ENGINE_REFUSED },
                { ENGINE_CONNECT_NETWORK, 500,
                  "no available IPv4 addresses on this network's address pools: n (8902)", ENGINE_REFUSED },
                { ENGINE_PAUSE, 409, "Container 01ab is already paused", ENGINE_ALREADY },
                { ENGINE_PAUSE, 409, "Container 01ab is not running", ENGINE_NOT_RUNNING },
                { ENGINE_EXEC, 409, "container 01ab is not running", ENGINE_CONFLICT },
                { ENGINE_START, 500, "something else", ENGINE_BROKEN },
                { ENGINE_START, 503, "", ENGINE_BROKEN },
                { ENGINE_START, 418, "", ENGINE_REFUSED },
                { ENGINE_START, 302, "", ENGINE_BROKEN },
                { ENGINE_START, 0, "", ENGINE_BROKEN },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *body = NULL, *message = NULL;
                EngineOutcome outcome;

                ASSERT_TRUE(asprintf(&body, "%s%s%s", *cases[i].text ? "{\"message\":\"" : "", cases[i].text,
                                     *cases[i].text ? "\"}" : "") >= 0);
                outcome = classify(cases[i].operation, cases[i].status, body, &message);
                if (outcome != cases[i].outcome)
                        TEST_FAIL("%u '%s': %s", cases[i].status, cases[i].text,
                                  engine_outcome_to_string(outcome));
                ASSERT_TRUE(message && *message);
        }
}

static void test_errors(void) {
        static const struct {
                int error;
                EngineOutcome outcome;
        } cases[] = {
                { -ECONNREFUSED, ENGINE_UNREACHABLE },
                { -ENOENT, ENGINE_UNREACHABLE },
                { -EACCES, ENGINE_UNREACHABLE },
                { -ECONNRESET, ENGINE_UNREACHABLE },
                { -ETIMEDOUT, ENGINE_TIMED_OUT },
                { -EBADMSG, ENGINE_BROKEN },
                { -EFBIG, ENGINE_BROKEN },
                { -ENOMEM, ENGINE_BROKEN },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                HttpResponse response = { .error = cases[i].error, .reason = "reasons", .body = "" };
                _cleanup_free_ char *message = NULL;

                ASSERT_EQ(engine_reply_classify(ENGINE_START, &response, &message), cases[i].outcome);
                ASSERT_TRUE(strstr(message, "reasons"));
        }
}

static void test_message_is_one_printable_line(void) {
        static const struct {
                const char *body, *message;
        } cases[] = {
                { "{\"message\":\"two\\nlines\\n\"}", "two lines" },
                { "plain text\n", "plain text" },
                { "{\"message\":5}", "{\"message\":5}" },
                { "{\"message\":\"\\u001b[2Jx\\u009bx\"}", " [2Jx??x" },
                { "\xff\xfe", "??" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *message = engine_reply_message(cases[i].body, strlen(cases[i].body));

                ASSERT_STREQ(message, cases[i].message);
        }
        ASSERT_NULL(engine_reply_message("", 0));
        ASSERT_NULL(engine_reply_message(" \n", 2));
}

static void test_transience(void) {
        ASSERT_TRUE(engine_outcome_is_transient(ENGINE_CONFLICT));
        ASSERT_TRUE(engine_outcome_is_transient(ENGINE_TIMED_OUT));
        ASSERT_FALSE(engine_outcome_is_transient(ENGINE_OK));
        ASSERT_FALSE(engine_outcome_is_transient(ENGINE_PORT_TAKEN));
}

static int exit_code(const char *body) {
        int code = -1, r = engine_reply_exit_code(body, strlen(body), &code);

        return r < 0 ? r : code;
}

static void test_exit_code(void) {
        ASSERT_EQ(exit_code("{\"Running\":false,\"ExitCode\":126}"), 126);
        ASSERT_EQ(exit_code("{\"Running\":true,\"ExitCode\":null}"), -EAGAIN);
        ASSERT_EQ(exit_code("{\"Running\":false,\"ExitCode\":null}"), -EBADMSG);
        ASSERT_EQ(exit_code("{\"ExitCode\":0}"), -EBADMSG);
        ASSERT_EQ(exit_code("[]"), -EBADMSG);
        ASSERT_EQ(exit_code(""), -EBADMSG);
}

/* Where it is on networks: of one that runs. */
static void test_list_of_networks(void) {
        static const char networks[] =
                        "\"NetworkSettings\":{\"Networks\":{"
                        "\"bridge\":{\"NetworkID\":\"0a\",\"IPAddress\":\"172.17.0.2\"},"
                        "\"odd\":{\"NetworkID\":7,\"IPAddress\":\"nonsense\"},\"none\":null,"
                        "\"proxy\":{\"NetworkID\":\"0123456789abcdef0123456789abcdef0123456789abcdef"
                        "0123456789abcdef\",\"IPAddress\":\"172.18.0.2\"}}}";
        _cleanup_free_ char *body = NULL;
        ListedContainer *list;
        size_t n;

        ASSERT_TRUE(asprintf(&body,
                             "[{\"Names\":[\"/a\"],\"State\":\"running\",%s},{\"Names\":[\"/b\"],\"State\":\"exited\",%s}]",
                             networks, networks) > 0);
        ASSERT_OK(listed_containers_parse(&list, &n, body, strlen(body)));
        ASSERT_EQ(n, 2);
        ASSERT_EQ(list[0].n_links, 2);
        ASSERT_STREQ(list[0].links[0].bridge, "");
        ASSERT_STREQ(list[0].links[0].ipv4, "172.17.0.2");
        ASSERT_STREQ(list[0].links[1].bridge, "br-0123456789ab");
        ASSERT_STREQ(list[0].links[1].ipv4, "172.18.0.2");
        ASSERT_EQ(list[1].n_links, 0);
        listed_containers_free(list, n);
}

/* What a container publishes, each state that engines have a word for, and what is none of all this. */
static void test_list(void) {
        static const char body[] =
                        "[7,{},{\"Names\":7},{\"Names\":[]},{\"Names\":[\"/../x\",\"/a/b\"]},"
                        "{\"Names\":[\"/c\"],\"Id\":7,\"State\":7,\"Ports\":{}},"
                        "{\"Names\":[\"/b\"],\"Id\":\"b0\",\"State\":\"restarting\",\"Ports\":[7,null,{},"
                        "{\"PublicPort\":80,\"Type\":\"tcp\"},{\"PublicPort\":0,\"Type\":\"tcp\"},"
                        "{\"PublicPort\":65536,\"Type\":\"tcp\"},{\"PublicPort\":-1,\"Type\":\"tcp\"},"
                        "{\"PublicPort\":\"81\",\"Type\":\"tcp\"},{\"PublicPort\":82},"
                        "{\"PublicPort\":65535,\"Type\":\"tcp\"}]},"
                        "{\"Names\":[\"/x/y\",\"/a\"],\"Id\":\"a0\",\"State\":\"running\"},"
                        "{\"Names\":[\"/d\"],\"State\":\"paused\"},{\"Names\":[\"/e\"],\"State\":\"exited\"}]";
        ListedContainer *list;
        size_t n;

        ASSERT_OK(listed_containers_parse(&list, &n, body, strlen(body)));
        ASSERT_EQ(n, 5);
        for (size_t i = 0; i < n; i++) {
                ASSERT_STREQ(list[i].name, ((const char *[]){ "a", "b", "c", "d", "e" })[i]);
                ASSERT_STREQ(list[i].id, i == 0 ? "a0" : i == 1 ? "b0" : "");
                ASSERT_EQ(list[i].running, i == 0);
                ASSERT_EQ(list[i].paused, i == 3);
                ASSERT_EQ(list[i].n_ports, i == 1 ? 2 : 0);
        }
        ASSERT_EQ(list[1].ports[0], 80);
        ASSERT_EQ(list[1].ports[1], 65535);
        ASSERT_TRUE(listed_container_find(list, n, "d") == &list[3]);
        ASSERT_NULL(listed_container_find(list, n, "dd"));
        ASSERT_NULL(listed_container_find(NULL, 0, "a"));
        listed_containers_free(list, n);

        ASSERT_OK(listed_containers_parse(&list, &n, "[]", 2));
        ASSERT_EQ(n, 0);
        listed_containers_free(list, n);
        ASSERT_ERROR(listed_containers_parse(&list, &n, "[", 1), EBADMSG);
        ASSERT_ERROR(listed_containers_parse(&list, &n, "{}", 2), EBADMSG);
        ASSERT_ERROR(listed_containers_parse(&list, &n, "", 0), EBADMSG);
}

static void test_names(void) {
        static const char networks[] =
                        "[{\"Name\":\"net\",\"Id\":\"0a1b\"},{\"Name\":\"a b\",\"Id\":7},7,null,{\"Name\":[]}]";
        static const char internal[] = "[{\"Name\":\"net\",\"Id\":\"0a\",\"Internal\":false},"
                                       "{\"Name\":\"inside\",\"Id\":\"0b\",\"Internal\":true}]";
        static const char images[] =
                        "[{\"Id\":\"sha256:0a\",\"RepoTags\":[\"x:1\",7,\"y:2\"]},{\"RepoTags\":null},{\"RepoTags\":{}}]";
        char **list = NULL;

        ASSERT_OK(engine_reply_names(networks, strlen(networks), false, &list));
        ASSERT_EQ(strv_length(list), 2);
        ASSERT_STREQ(list[0], "0a1b");
        ASSERT_STREQ(list[1], "net");
        strv_free(list);
        ASSERT_OK(engine_reply_names(images, strlen(images), false, &list));
        ASSERT_EQ(strv_length(list), 2);
        ASSERT_STREQ(list[0], "x:1");
        ASSERT_STREQ(list[1], "y:2");
        strv_free(list);
        ASSERT_OK(engine_reply_names(internal, strlen(internal), true, &list));
        ASSERT_EQ(strv_length(list), 2);
        ASSERT_STREQ(list[1], "inside");
        strv_free(list);
        ASSERT_OK(engine_reply_names("[]", 2, false, &list));
        ASSERT_NULL(list);
        ASSERT_ERROR(engine_reply_names("{}", 2, false, &list), EBADMSG);
        ASSERT_ERROR(engine_reply_names("", 0, false, &list), EBADMSG);
}

/* A thousand stacks of some containers each fit, and more than that is not built at all. */
static void test_list_is_bounded(void) {
        static const unsigned sizes[] = { 8000, 1200000 };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *body = NULL;
                ListedContainer *list;
                size_t size, n;
                FILE *stream = open_memstream(&body, &size);

                ASSERT_TRUE(stream);
                for (unsigned j = 0; j < sizes[i]; j++)
                        if (i == 0)
                                fprintf(stream, "%c{\"Names\":[\"/c%05u\"],\"Labels\":{\"a\":\",[{,[{\"}}",
                                        j == 0 ? '[' : ',', j);
                        else
                                fputs(j == 0 ? "[0" : ",0", stream);
                fputs("]", stream);
                ASSERT_EQ(fclose(stream), 0);
                if (i == 1) {
                        ASSERT_ERROR(listed_containers_parse(&list, &n, body, size), EBADMSG);
                        continue;
                }
                ASSERT_OK(listed_containers_parse(&list, &n, body, size));
                ASSERT_EQ(n, sizes[i]);
                ASSERT_STREQ(list[n - 1].name, "c07999");
                listed_containers_free(list, n);
        }
}

static void test_string(void) {
        static const char body[] = "{\"Id\":\"abc\",\"n\":1}";
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(engine_reply_string(body, strlen(body), "Id", &text));
        ASSERT_STREQ(text, "abc");
        ASSERT_ERROR(engine_reply_string(body, strlen(body), "n", &text), EBADMSG);
        ASSERT_ERROR(engine_reply_string(body, strlen(body) - 1, "Id", &text), EBADMSG);
}

int main(void) {
        test_answers();
        test_errors();
        test_message_is_one_printable_line();
        test_transience();
        test_exit_code();
        test_list();
        test_list_of_networks();
        test_names();
        test_list_is_bounded();
        test_string();
        return 0;
}
