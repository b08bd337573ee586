#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "io/redirect.h"
#include "redirect/refresh.h"
#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"

/* Refresh asks, and blocks, so the engine is a process of its own here. */

static char root[] = "/tmp/test-refresh-XXXXXX";

#define INSPECT(name, rest)                                                                 \
        {                                                                                   \
                "GET /v1.41/containers/" name "/json",                                      \
                                REPLY_BODY("200 OK", "{\"Id\":\"c0ffee\",\"Name\":\"/" name \
                                                     "\",\"State\":{\"Running\":false},"    \
                                                     "\"HostConfig\":{" rest "}}"),         \
                                .close = true                                               \
        }

static pid_t fork_engine(const char *path) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                INSPECT("bound", "\"NetworkMode\":\"n\",\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\","
                                 "\"HostPort\":\"9001\"}]}"),
                INSPECT("host", "\"NetworkMode\":\"host\""),
                INSPECT("closed", "\"NetworkMode\":\"n\""),
                { "GET /v1.41/containers/missing/json",
                  REPLY_BODY("404 Not Found", "{\"message\":\"No such container: missing\"}"), .close = true },
        };
        int ready[2];
        sd_event *event;
        char byte;
        pid_t pid;

        ASSERT_EQ(pipe(ready), 0);
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid > 0) {
                ASSERT_EQ(read(ready[0], &byte, 1), 1);
                fd_close(ready[0]);
                fd_close(ready[1]);
                return pid;
        }

        ASSERT_OK(sd_event_new(&event));
        ASSERT_TRUE(scripted_server_new(event, path, rules, ELEMENTSOF(rules)) != NULL);
        ASSERT_EQ(write(ready[1], "", 1), 1);
        (void) sd_event_loop(event);
        _exit(EXIT_FAILURE);
}

static void expect(const char *service, bool known, bool any, size_t n_addresses) {
        RedirectBindings bindings;

        ASSERT_OK(redirect_bindings_load(&bindings, root, service));
        ASSERT_EQ(bindings.known, known);
        ASSERT_EQ(bindings.any_ipv4, any);
        ASSERT_EQ(bindings.any_ipv6, any);
        ASSERT_EQ(strv_length(bindings.addresses), n_addresses);
        redirect_bindings_done(&bindings);
}

int main(void) {
        static const RedirectBindings everywhere = { .known = true, .any_ipv4 = true, .any_ipv6 = true };
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *path = NULL, *text = NULL, *command = NULL;
        _cleanup_(config_freep) Config *config = NULL;
        pid_t engine;

        ASSERT_TRUE(mkdtemp(root) != NULL);
        ASSERT_TRUE(asprintf(&path, "%s/engine.sock", root) > 0);
        ASSERT_TRUE(asprintf(&text,
                             "{\"engineSocket\":\"%s\",\"services\":{"
                             "\"a\":{\"name\":\"bound\",\"port\":9001},"
                             "\"b\":{\"name\":\"host\",\"port\":9002},"
                             "\"c\":{\"name\":\"host\",\"port\":9001,\"redirectPort\":9101,"
                             "\"dependencies\":[{\"container\":\"bound\"}]},"
                             "\"d\":{\"name\":\"closed\",\"port\":9003},"
                             "\"e\":{\"name\":\"closed\",\"port\":9004,"
                             "\"dependencies\":[{\"container\":\"host\"}]},"
                             "\"f\":{\"name\":\"missing\",\"port\":9005}}}",
                             path) > 0);
        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(config->n_services, 6U);
        ASSERT_OK(redirect_bindings_save(&everywhere, root, "d"));
        ASSERT_OK(redirect_bindings_save(&everywhere, root, "f"));

        engine = fork_engine(path);
        ASSERT_OK(refresh_bindings(config, root, 10 * USEC_PER_SEC));
        ASSERT_EQ(kill(engine, SIGKILL), 0);
        ASSERT_EQ(waitpid(engine, NULL, 0), engine);

        expect("a", true, false, 1);
        /* The main container is on the host's network, where nothing is bound. */
        expect("b", true, true, 0);
        /* But a binding says more. */
        expect("c", true, false, 1);
        /* Not published any more. */
        expect("d", false, false, 0);
        /* Another container than the main one says nothing by being there. */
        expect("e", false, false, 0);
        /* Who was not found has not said anything: what was known stays. */
        expect("f", true, true, 0);

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) > 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
