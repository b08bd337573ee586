#include <signal.h>
#include <stdio.h>

#include "engine/engine.h"
#include "test.h"
#include "util/time.h"

static ContainerInfo *parse(const char *body) {
        ContainerInfo *info = NULL;

        ASSERT_OK(container_info_parse(&info, body, strlen(body)));
        return info;
}

/* Shortened from Docker 20.10. */
static const char running[] =
                "{\"Id\":\"01ab\",\"Name\":\"/web\",\"State\":{\"Status\":\"running\",\"Running\":true,\"Paused\":false,\"Restarting\":false,"
                "\"OOMKilled\":true,\"Pid\":4711,\"ExitCode\":0,\"Error\":\"\",\"StartedAt\":\"2026-01-05T08:00:00.1Z\",\"Health\":{\"Status\":\"starting\",\"Log\":[]}},"
                "\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"unless-stopped\",\"MaximumRetryCount\":0},\"NetworkMode\":\"front\",\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9002\"},"
                "{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"9003\"}],\"53/udp\":[{\"HostIp\":\"::1\",\"HostPort\":\"53\"}],\"443/tcp\":null}},"
                "\"Config\":{\"StopSignal\":\"SIGQUIT\",\"StopTimeout\":30,\"ExposedPorts\":{\"80/tcp\":{},\"443/tcp\":{},\"53/udp\":{}},"
                "\"Labels\":{\"com.docker.compose.project\":\"stack\",\"com.docker.compose.service\":\"nginx\",\"other\":\"x\"}},"
                "\"NetworkSettings\":{\"Networks\":{\"front\":{\"NetworkID\":\"cd02\",\"IPAddress\":\"172.18.0.4\",\"GlobalIPv6Address\":\"fd00::4\"},"
                "\"back\":{\"NetworkID\":\"ef03\",\"IPAddress\":\"\",\"GlobalIPv6Address\":\"\"}}}}";

static void test_running_container(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(running);

        ASSERT_STREQ(info->name, "web");
        ASSERT_STREQ(info->id, "01ab");
        ASSERT_TRUE(info->running);
        ASSERT_EQ(info->pid, 4711);
        ASSERT_EQ(info->health, HEALTH_STARTING);
        ASSERT_EQ(info->stop_timeout_sec, 30);
        ASSERT_EQ(info->stop_signal, SIGQUIT);
        ASSERT_STREQ(info->restart_policy, "unless-stopped");
        ASSERT_TRUE(info->oom_killed && info->ever_started);
        ASSERT_STREQ(info->started_at, "2026-01-05T08:00:00.1Z");
        ASSERT_STREQ(info->network_mode, "front");
        ASSERT_STREQ(info->compose_project, "stack");
        ASSERT_STREQ(info->compose_service, "nginx");
        ASSERT_EQ(info->n_exposed, 2);
        ASSERT_EQ(info->exposed[0], 80);
        ASSERT_EQ(info->exposed[1], 443);
        ASSERT_EQ(info->n_exposed_udp, 1);
        ASSERT_EQ(info->exposed_udp[0], 53);
}

/* The command of a HEALTHCHECK, one word after the other; "": none. */
static const char *health_command(const char *config) {
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        static char text[256];
        char body[512];
        size_t n = 0;

        (void) snprintf(body, sizeof(body),
                        "{\"Id\":\"a\",\"Name\":\"b\",\"State\":{\"Running\":false},\"Config\":{%s}}", config);
        info = parse(body);
        text[0] = '\0';
        for (char *const *word = info->health_command; word && *word; word++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, "<%s>", *word);
        return text;
}

static void test_health_command(void) {
        static const struct {
                const char *config, *command;
        } cases[] = {
                { "\"Healthcheck\":{\"Test\":[\"CMD\",\"curl\",\"-f\",\"http://localhost/\"]}",
                  "<curl><-f><http://localhost/>" },
                { "\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"curl x || exit 1\"]}",
                  "</bin/sh><-c><curl x || exit 1>" },
                { "\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"a b\"]},\"Shell\":[\"/bin/bash\",\"-o\",\"pipefail\",\"-c\"]",
                  "</bin/bash><-o><pipefail><-c><a b>" },
                { "\"Healthcheck\":{\"Test\":[\"NONE\"]}", "" },
                { "\"Healthcheck\":{\"Test\":[]}", "" },
                { "\"Healthcheck\":{\"Test\":[\"CMD\"]}", "" },
                { "\"Healthcheck\":{\"Test\":[\"SOMETHING\",\"new\"]}", "" },
                { "\"Healthcheck\":{\"Test\":[\"CMD\",\"a\\u0000b\"]}", "" },
                { "\"Healthcheck\":{\"Test\":[\"CMD\",1]}", "" },
                { "\"Healthcheck\":{\"Test\":\"true\"}", "" },
                { "\"Healthcheck\":null", "" },
                { "\"Shell\":null,\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"x\"]}", "</bin/sh><-c><x>" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(health_command(cases[i].config), cases[i].command);
}

static void test_health_times(void) {
        _cleanup_(container_info_freep) ContainerInfo *
                        info = parse("{\"Id\":\"a\",\"Name\":\"b\",\"State\":{\"Running\":false},\"Config\":{\"Healthcheck\":{"
                                     "\"Interval\":5000000000,\"Timeout\":0,\"StartPeriod\":9223372036854775807,\"Retries\":2}}}"),
                       *none = parse("{\"Id\":\"a\",\"Name\":\"b\",\"State\":{\"Running\":false}}");

        ASSERT_EQ(info->health_interval_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(info->health_timeout_usec, 30 * USEC_PER_SEC);
        ASSERT_EQ(info->health_start_usec, 24 * 60 * USEC_PER_MINUTE);
        ASSERT_EQ(info->health_retries, 2);
        ASSERT_EQ(none->health_interval_usec, 30 * USEC_PER_SEC);
        ASSERT_EQ(none->health_retries, 3);
}

static void test_networks(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(running);

        ASSERT_EQ(info->n_networks, 2);
        ASSERT_STREQ(container_info_network(info, "front")->ipv4, "172.18.0.4");
        ASSERT_STREQ(container_info_network(info, "front")->ipv6, "fd00::4");
        ASSERT_STREQ(container_info_network(info, "front")->id, "cd02");
        ASSERT_NULL(container_info_network(info, "back")->ipv4);
        ASSERT_NULL(container_info_network(info, "other"));
        ASSERT_NULL(container_info_network(info, NULL));
}

#define RUN(id, mode, at)                                                                                     \
        "{\"Id\":\"" id "\",\"Name\":\"/x\",\"State\":{\"Running\":true,\"StartedAt\":\"2026-01-05T08:00:" at \
        "\"},"                                                                                                \
        "\"HostConfig\":{\"NetworkMode\":\"" mode                                                             \
        "\",\"AutoRemove\":true},\"NetworkSettings\":{\"Networks\":{\"n\":"                                   \
        "{\"NetworkID\":\"1\",\"IPAddress\":\"10.0.0.2\",\"IPAMConfig\":{\"IPv4Address\":\"10.0.0.9\"},"      \
        "\"Aliases\":[\"a\"]}}}}"

static void test_network_of_another(void) {
        _cleanup_(container_info_freep) ContainerInfo *vpn = parse(RUN("vpn", "bridge", "07.5Z")),
                                                      *qbit = parse(RUN("qbit", "container:0123", "07.25Z"));

        ASSERT_TRUE(vpn->auto_remove);
        ASSERT_TRUE(container_info_owner(vpn) == NULL);
        ASSERT_STREQ(container_info_owner(qbit), "0123");
        ASSERT_STREQ(vpn->networks[0].wanted_ipv4, "10.0.0.9");
        ASSERT_TRUE(vpn->networks[0].aliased);
        ASSERT_OK(container_info_share_networks(qbit, vpn));
        ASSERT_EQ(qbit->n_networks, 1);
        ASSERT_STREQ(qbit->networks[0].ipv4, "10.0.0.2");
}

static void test_older_runs(void) {
        static const struct {
                const char *a, *b;
                bool older;
        } cases[] = {
                { RUN("a", "n", "07.25Z"), RUN("b", "n", "07.5Z"), true },
                { RUN("a", "n", "07.5Z"), RUN("b", "n", "07.25Z"), false },
                { RUN("a", "n", "07.12Z"), RUN("b", "n", "07.123Z"), true },
                { RUN("a", "n", "07.123Z"), RUN("b", "n", "07.12Z"), false },
                { RUN("a", "n", "07Z"), RUN("b", "n", "07.1Z"), true },
                { RUN("a", "n", "08Z"), RUN("b", "n", "07.9Z"), false },
                { RUN("a", "n", "07.1Z"), RUN("b", "n", "07.1Z"), false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(container_info_freep) ContainerInfo *a = parse(cases[i].a), *b = parse(cases[i].b);

                ASSERT_EQ(container_info_is_older(a, b), cases[i].older);
        }
}

static void test_who_is_on_a_network(void) {
        static const char *const others[] = { "{}", "{\"Containers\":null}", "{\"Containers\":{\"1\":7}}" };
        static const char text[] =
                        "{\"Containers\":{\"1\":{\"Name\":\"a\",\"IPv4Address\":\"10.0.0.2/24\",\"IPv6Address\":"
                        "\"fd00::2/64\"}}}";
        NetworkInfo *info = NULL;

        ASSERT_OK(network_info_parse(&info, text, strlen(text)));
        ASSERT_STREQ(network_info_find(info, "10.0.0.2")->container, "a");
        ASSERT_STREQ(network_info_find(info, "fd00::2")->container, "a");
        ASSERT_TRUE(network_info_find(info, "10.0.0.22") == NULL);
        network_info_free(info);
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                ASSERT_OK(network_info_parse(&info, others[i], strlen(others[i])));
                ASSERT_TRUE(network_info_find(info, "10.0.0.2") == NULL);
                network_info_free(info);
        }
        ASSERT_ERROR(network_info_parse(&info, "[]", 2), EBADMSG);
}

static void test_bindings(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(running);

        ASSERT_EQ(info->n_bindings, 3);
        ASSERT_EQ(info->bindings[0].container_port, 80);
        ASSERT_EQ(info->bindings[0].host_port, 9002);
        ASSERT_STREQ(info->bindings[0].host_ip, "");
        ASSERT_STREQ(info->bindings[1].host_ip, "127.0.0.1");
        ASSERT_TRUE(info->bindings[1].tcp);
        ASSERT_FALSE(info->bindings[1].udp);
        ASSERT_FALSE(info->bindings[2].tcp);
        ASSERT_TRUE(info->bindings[2].udp);
}

#define SMALLEST "{\"Id\":\"a\",\"Name\":\"b\",\"State\":{\"Running\":false"

static void test_defaults(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(SMALLEST "}}");

        ASSERT_FALSE(info->running);
        ASSERT_EQ(info->pid, 0);
        ASSERT_EQ(info->stop_timeout_sec, 10);
        ASSERT_EQ(info->stop_signal, SIGTERM);
        ASSERT_STREQ(info->restart_policy, "no");
        ASSERT_FALSE(info->oom_killed || info->ever_started);
        ASSERT_EQ(info->health, HEALTH_NONE);
        ASSERT_STREQ(info->error, "");
        ASSERT_STREQ(info->started_at, "");
        ASSERT_STREQ(info->network_mode, "");
        ASSERT_NULL(info->compose_project);
}

/* As Docker says it of `--gpus all`, of `--runtime nvidia`, of `--device`, and of none. */
static void test_gpus(void) {
        static const struct {
                const char *host;
                bool gpu;
        } cases[] = {
                { "\"DeviceRequests\":[{\"Driver\":\"\",\"Count\":-1,\"Capabilities\":[[\"gpu\"]]}],\"Runtime\":\"runc\"",
                  true },
                { "\"DeviceRequests\":null,\"Runtime\":\"nvidia\"", true },
                { "\"DeviceRequests\":[],\"Runtime\":\"runc\",\"Devices\":[{\"PathOnHost\":\"/dev/dri\"}]",
                  false },
                { "\"DeviceRequests\":7,\"Runtime\":[]", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(container_info_freep) ContainerInfo *info = NULL;
                _cleanup_free_ char *body = NULL;

                ASSERT_TRUE(asprintf(&body, SMALLEST "},\"HostConfig\":{%s}}", cases[i].host) > 0);
                info = parse(body);
                ASSERT_EQ(info->gpu, cases[i].gpu);
        }
}

static void test_members_of_other_types_are_as_if_missing(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(
                        SMALLEST
                        ",\"OOMKilled\":1,\"Pid\":-4,\"ExitCode\":99999999999,\"Error\":7,\"Health\":[]},\"Config\":{\"StopSignal\":99,\"StopTimeout\":null,"
                        "\"Labels\":5,\"ExposedPorts\":{\"0/tcp\":{},\"70000/tcp\":{},\"x\":{},\"80\":1}},\"HostConfig\":{\"RestartPolicy\":[],\"PortBindings\":"
                        "{\"80/tcp\":[{\"HostPort\":\"\"},{\"HostPort\":\"90-80\"},{\"HostPort\":\"80-\"},{\"HostPort\":\"80-70000\"},{\"HostPort\":80},7,{\"HostIp\":\"evil; drop\",\"HostPort\":\"80\"}]}},"
                        "\"NetworkSettings\":{\"Networks\":{\"n\":7,\"m\":{\"IPAddress\":\"not one\",\"NetworkID\":\"../x\"}}}}");

        ASSERT_EQ(info->pid, 0);
        ASSERT_EQ(info->exit_code, 0);
        ASSERT_FALSE(info->oom_killed);
        ASSERT_EQ(info->stop_signal, SIGTERM);
        ASSERT_STREQ(info->restart_policy, "no");
        ASSERT_STREQ(info->error, "");
        ASSERT_EQ(info->stop_timeout_sec, 10);
        ASSERT_EQ(info->n_bindings, 0);
        ASSERT_EQ(info->n_exposed, 1);
        ASSERT_EQ(info->n_networks, 2);
        ASSERT_NULL(container_info_network(info, "m")->ipv4);
        ASSERT_STREQ(container_info_network(info, "m")->id, "");
}

/* As Docker 20.10 and 26 say it of "9002-9005:80" and "127.0.0.1:7000-7001:53/udp", and of "9010-9011:80" at the second start. */
#define RANGES                                                                                                  \
        "\"HostConfig\":{\"PortBindings\":{\"53/udp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"7000-7001\"}]," \
        "\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9002-9005\"},{\"HostIp\":\"\",\"HostPort\":\"9010\"}]}}"

static ContainerInfo *parse_ranges(const char *ports) {
        _cleanup_free_ char *body = NULL;

        ASSERT_TRUE(asprintf(&body, SMALLEST "}," RANGES ",\"NetworkSettings\":{\"Ports\":{%s}}}", ports) > 0);
        return parse(body);
}

static void test_ranges(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse_ranges("");

        ASSERT_EQ(info->n_bindings, 3);
        ASSERT_EQ(info->bindings[0].host_port, 7000);
        ASSERT_EQ(info->bindings[0].host_port_last, 7001);
        ASSERT_EQ(info->bindings[1].host_port, 9002);
        ASSERT_EQ(info->bindings[1].host_port_last, 9005);
        for (uint16_t port = 9000; port < 9020; port++) {
                ASSERT_EQ(port_binding_covers(&info->bindings[1], port), port >= 9002 && port <= 9005);
                ASSERT_EQ(port_binding_covers(&info->bindings[2], port), port == 9010);
                /* While it does not run, it is at none of them; one that is no range is where it is. */
                ASSERT_FALSE(port_binding_is_at(&info->bindings[1], port));
                ASSERT_EQ(port_binding_is_at(&info->bindings[2], port), port == 9010);
        }
        ASSERT_FALSE(port_binding_is_at(&info->bindings[1], 0));
}

static void test_range_of_a_running_container(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse_ranges(
                        "\"53/udp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"7001\"}],\"81/tcp\":null,"
                        "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9003\"},{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9010\"},"
                        "{\"HostIp\":\"::\",\"HostPort\":\"9003\"},{\"HostIp\":\"::\",\"HostPort\":\"9010\"}]");

        ASSERT_EQ(info->n_bindings, 3);
        ASSERT_TRUE(port_binding_is_at(&info->bindings[0], 7001));
        ASSERT_FALSE(port_binding_is_at(&info->bindings[0], 7000));
        ASSERT_TRUE(port_binding_is_at(&info->bindings[1], 9003));
        ASSERT_FALSE(port_binding_is_at(&info->bindings[1], 9002));
        ASSERT_TRUE(port_binding_covers(&info->bindings[1], 9002));
        ASSERT_TRUE(port_binding_is_at(&info->bindings[2], 9010));
}

/* Seen after the engine had found one of the ports taken on one family. */
static void test_range_with_a_port_for_each_family(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse_ranges(
                        "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9003\"},{\"HostIp\":\"::\",\"HostPort\":\"9002\"}]");

        ASSERT_EQ(info->bindings[1].taken_ipv4, 9003);
        ASSERT_EQ(info->bindings[1].taken_ipv6, 9002);
        for (uint16_t port = 9002; port <= 9005; port++)
                ASSERT_FALSE(port_binding_is_at(&info->bindings[1], port));
}

/* Without IPv6, or with what no engine says. */
static void test_range_on_one_family(void) {
        _cleanup_(container_info_freep) ContainerInfo *
                        one = parse_ranges("\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9004\"}]"),
                       *odd = parse_ranges(
                                       "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9006\"},7,{\"HostPort\":9002},{\"HostPort\":\"\"}],"
                                       "\"53/udp\":[{\"HostIp\":\"127.0.0.2\",\"HostPort\":\"7000\"}],\"53/tcp\":5");

        ASSERT_TRUE(port_binding_is_at(&one->bindings[1], 9004));
        for (size_t i = 0; i < 2; i++)
                ASSERT_EQ(odd->bindings[i].taken_ipv4 + odd->bindings[i].taken_ipv6, 0);
}

static void test_texts_are_printable(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(SMALLEST ",\"Error\":\"a\\u001b[2J\\nb\"}}");

        ASSERT_STREQ(info->error, "a [2J b");
}

static void test_container_that_never_ran(void) {
        static const char *const members[] = {
                ",\"StartedAt\":\"0001-01-01T00:00:00Z\"}}",
                ",\"StartedAt\":\"\"}}",
                ",\"StartedAt\":7},\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"\"}}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                _cleanup_(container_info_freep) ContainerInfo *info = NULL;
                char body[256];

                (void) snprintf(body, sizeof(body), SMALLEST "%s", members[i]);
                info = parse(body);
                ASSERT_FALSE(info->ever_started);
                ASSERT_STREQ(info->restart_policy, "no");
        }
}

static void test_signals(void) {
        static const struct {
                const char *text;
                int signal;
        } cases[] = {
                { "SIGQUIT", SIGQUIT },
                { "quit", SIGQUIT },
                { "sigWinch", SIGWINCH },
                { "3", 3 },
                { "64", 64 },
                { "IOT", SIGABRT },
                { "SIGCLD", SIGCHLD },
                { "IO", SIGIO },
                { "RTMIN", 34 },
                { "SIGRTMIN+3", 37 },
                { "rtmax-2", 62 },
                { "", 0 },
                { "0", 0 },
                { "65", 0 },
                { "-9", 0 },
                { "9 ", 0 },
                { "99999999999999999999", 0 },
                { "SIG", 0 },
                { "SIGSIGQUIT", 0 },
                { "RTMIN-1", 0 },
                { "RTMAX+1", 0 },
                { "RTMIN+31", 0 },
                { "RTMIN+99999999999999999999", 0 },
                { "RTMINx", 0 },
                { "QUITE", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (engine_signal_from_string(cases[i].text) != cases[i].signal)
                        TEST_FAIL("'%s': %d", cases[i].text, engine_signal_from_string(cases[i].text));
}

static void test_refused(void) {
        static const char *const bodies[] = {
                "",
                "[]",
                "null",
                "{",
                "{}",
                "{\"Id\":\"a\",\"Name\":\"b\"}",
                "{\"Id\":\"a\",\"Name\":\"b\",\"State\":{}}",
                "{\"Id\":\"a\",\"Name\":\"b\",\"State\":{\"Running\":1}}",
                "{\"Id\":\"a/..\",\"Name\":\"b\",\"State\":{\"Running\":true}}",
                "{\"Id\":\"a\",\"Name\":\"/\",\"State\":{\"Running\":true}}",
                "{\"Id\":\"a\",\"Name\":\"b c\",\"State\":{\"Running\":true}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bodies); i++) {
                ContainerInfo *info = NULL;

                ASSERT_ERROR(container_info_parse(&info, bodies[i], strlen(bodies[i])), EBADMSG);
                ASSERT_NULL(info);
        }
}

static void test_every_beginning_of_an_answer(void) {
        for (size_t size = 0; size < sizeof(running) - 1; size++) {
                /* A copy of its own, so that reading behind it is noticed. */
                _cleanup_free_ char *copy = malloc(size + 1);
                ContainerInfo *info = NULL;

                ASSERT_TRUE(copy);
                memcpy(copy, running, size);
                ASSERT_ERROR(container_info_parse(&info, copy, size), EBADMSG);
        }
}

int main(void) {
        test_running_container();
        test_health_command();
        test_health_times();
        test_networks();
        test_network_of_another();
        test_older_runs();
        test_who_is_on_a_network();
        test_bindings();
        test_ranges();
        test_range_of_a_running_container();
        test_range_with_a_port_for_each_family();
        test_range_on_one_family();
        test_defaults();
        test_gpus();
        test_members_of_other_types_are_as_if_missing();
        test_texts_are_printable();
        test_container_that_never_ran();
        test_signals();
        test_refused();
        test_every_beginning_of_an_answer();
        return 0;
}
