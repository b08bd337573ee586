#include <signal.h>

#include "io/engine.h"
#include "test.h"

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

static void test_members_of_other_types_are_as_if_missing(void) {
        _cleanup_(container_info_freep) ContainerInfo *info = parse(
                        SMALLEST
                        ",\"OOMKilled\":1,\"Pid\":-4,\"ExitCode\":99999999999,\"Error\":7,\"Health\":[]},\"Config\":{\"StopSignal\":99,\"StopTimeout\":null,"
                        "\"Labels\":5,\"ExposedPorts\":{\"0/tcp\":{},\"70000/tcp\":{},\"x\":{},\"80\":1}},\"HostConfig\":{\"RestartPolicy\":[],\"PortBindings\":"
                        "{\"80/tcp\":[{\"HostPort\":\"\"},{\"HostPort\":\"80-90\"},{\"HostPort\":80},7,{\"HostIp\":\"evil; drop\",\"HostPort\":\"80\"}]}},"
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
        test_networks();
        test_bindings();
        test_defaults();
        test_members_of_other_types_are_as_if_missing();
        test_texts_are_printable();
        test_container_that_never_ran();
        test_signals();
        test_refused();
        test_every_beginning_of_an_answer();
        return 0;
}
