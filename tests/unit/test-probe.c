#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe/probe.h"
#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"

static sd_event *event;
static char socket_path[64];

typedef struct Told {
        Probe *probe;
        bool told;
        ProbeVerdict verdict;
        char detail[512];
        uint64_t after_usec;
} Told;

static void on_verdict(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Told *told = userdata;

        ASSERT_FALSE(told->told);
        told->probe = probe_free(told->probe);
        told->told = true;
        told->verdict = verdict;
        (void) snprintf(told->detail, sizeof(told->detail), "%s", detail);
}

static ContainerNetwork loopback = { .name = (char *) "net", .id = (char *) "1", .ipv4 = (char *) "127.0.0.1" };

static ContainerInfo info_make(void) {
        return (ContainerInfo){
                .name = (char *) "db",
                .id = (char *) "01ab",
                .running = true,
                .network_mode = (char *) "net",
                .networks = &loopback,
                .n_networks = 1,
        };
}

static Dependency dependency_make(void) {
        return (Dependency){
                .name = (char *) "db",
                .network = (char *) "net",
                .health.interval_usec = 20 * USEC_PER_MSEC,
                .health.budget_usec = 20 * USEC_PER_SEC,
                .startup_delay_usec = 20 * USEC_PER_MSEC,
        };
}

static void run_until_told(const Told *told) {
        while (!told->told)
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_SEC));
}

static Told probe(Engine *engine, const Dependency *dependency, const ContainerInfo *info, uint16_t http_port,
                  char *const *environment) {
        uint64_t begun = time_now(CLOCK_MONOTONIC);
        Told told = {};

        ASSERT_OK(probe_new(&told.probe, event, engine, dependency, info, "net", http_port,
                            &(Environment){ .own = environment }, on_verdict, &told));
        ASSERT_FALSE(told.told);
        run_until_told(&told);
        told.after_usec = time_now(CLOCK_MONOTONIC) - begun;
        return told;
}

static void test_http_waits_for_a_good_status(void) {
        ScriptedRule rules[] = {
                { "GET /health HTTP", REPLY_BODY("503 Wait", ""), .close = true, .times = 2 },
                { "GET /health HTTP", REPLY_BODY("404 No", ""), .close = true, .times = 1 },
                { "GET /health HTTP", REPLY_BODY("200 OK", "fine"), .close = true },
        };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, NULL, rules, ELEMENTSOF(rules));
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        char url[64];
        Told told;

        (void) snprintf(url, sizeof(url), "http://:%u/health", scripted_server_port(server));
        dependency.health.http = url;
        told = probe(NULL, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_STREQ(told.detail, "HTTP status 200");
        ASSERT_EQ(scripted_server_requests(server, "GET /health"), 4);
        ASSERT_EQ(scripted_server_connections(server), 4);
}

static void test_budget_ends_it(void) {
        ScriptedRule rules[] = { { "GET", REPLY_BODY("503 Wait", ""), .close = true } };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, NULL, rules, ELEMENTSOF(rules));
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        char url[64];
        Told told;

        (void) snprintf(url, sizeof(url), "http://:%u/", scripted_server_port(server));
        dependency.health.http = url;
        dependency.health.budget_usec = 100 * USEC_PER_MSEC;
        told = probe(NULL, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_TIMED_OUT);
        ASSERT_STREQ(told.detail, "HTTP status 503");
        ASSERT_TRUE(scripted_server_requests(server, "GET") <= 11); /* 10 ms apart */
}

static void test_budget_ends_a_silent_try(void) {
        ScriptedRule rules[] = { { "GET", NULL } };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, NULL, rules, ELEMENTSOF(rules));
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        char url[64];
        Told told;

        (void) snprintf(url, sizeof(url), "http://:%u/", scripted_server_port(server));
        dependency.health.http = url;
        dependency.health.budget_usec = 50 * USEC_PER_MSEC;
        told = probe(NULL, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_TIMED_OUT);
        ASSERT_STREQ(told.detail, "it has not answered");
}

static void test_tcp_waits_for_a_listener(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);
        Told told = {};
        char port[8];

        /* Bound, so that nobody else takes it, but not listening yet. */
        ASSERT_TRUE(bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0);
        ASSERT_TRUE(getsockname(fd, (struct sockaddr *) &address, &size) >= 0);
        (void) snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
        dependency.health.tcp = port;

        ASSERT_OK(probe_new(&told.probe, event, NULL, &dependency, &info, "net", 0, NULL, on_verdict, &told));
        for (int i = 0; i < 5; i++)
                ASSERT_OK(sd_event_run(event, USEC_PER_SEC));
        ASSERT_FALSE(told.told);
        ASSERT_TRUE(listen(fd, 1) >= 0);
        run_until_told(&told);
        ASSERT_EQ(told.verdict, PROBE_READY);
}

static void test_host_command(void) {
        char *const environment[] = { (char *) "STATUS=0", NULL };
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told;

        dependency.health.command = (char *) "echo hello; exit $STATUS";
        told = probe(NULL, &dependency, &info, 0, environment);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_STREQ(told.detail, "exit status 0: hello");

        dependency.health.command = (char *) "echo bad news >&2; exit 7";
        dependency.health.budget_usec = 2 * USEC_PER_SEC;
        told = probe(NULL, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_TIMED_OUT);
        ASSERT_STREQ(told.detail, "exit status 7: bad news");
}

#define EXEC_START \
        { "POST /v1.41/exec/e/start", REPLY("200 OK", "", "no luck\n"), .close = true }
#define EXEC_ENDED(status, ...)                                                                                \
        {                                                                                                      \
                "GET /v1.41/exec/e/json", REPLY_BODY("200 OK", "{\"Running\":false,\"ExitCode\":" status "}"), \
                                .close = true, __VA_ARGS__                                                     \
        }

static void test_docker_exec_goes_through_the_engine(void) {
        ScriptedRule rules[] = {
                RULE_PING,
                { "POST /v1.41/containers/other/exec", REPLY_BODY("409 No", "{\"message\":\"not running\"}"),
                  .close = true, .times = 1 },
                { "POST /v1.41/containers/other/exec", REPLY_BODY("201 Created", "{\"Id\":\"e\"}"),
                  .close = true },
                EXEC_START,
                EXEC_ENDED("1", .times = 1),
                EXEC_ENDED("0"),
        };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        _cleanup_(engine_freep) Engine *engine = NULL;
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told;

        ASSERT_OK(engine_new(&engine, event, socket_path));
        dependency.health.command = (char *) "docker exec other check";
        told = probe(engine, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_EQ(scripted_server_requests(server, "POST /v1.41/containers/other/exec"), 3);
}

static void test_exec_in_no_container_is_broken(void) {
        ScriptedRule rules[] = { RULE_PING,
                                 { "POST", REPLY_BODY("404 No", "{\"message\":\"No such container: other\"}"),
                                   .close = true } };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        _cleanup_(engine_freep) Engine *engine = NULL;
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told;

        ASSERT_OK(engine_new(&engine, event, socket_path));
        dependency.health.command = (char *) "docker exec other check";
        told = probe(engine, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_BROKEN);
        ASSERT_STREQ(told.detail, "No such container: other");
}

static void test_health_of_the_engine(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told = {};

        info.health = HEALTH_HEALTHY;
        ASSERT_EQ(probe(NULL, &dependency, &info, 0, NULL).verdict, PROBE_READY);

        info.health = HEALTH_STARTING;
        ASSERT_OK(probe_new(&told.probe, event, NULL, &dependency, &info, "net", 0, NULL, on_verdict, &told));
        probe_set_health(told.probe, HEALTH_UNHEALTHY);
        ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        ASSERT_FALSE(told.told);
        probe_set_health(told.probe, HEALTH_HEALTHY);
        ASSERT_FALSE(told.told);
        run_until_told(&told);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_STREQ(told.detail, "healthy");
}

static char *own_command[] = { (char *) "/bin/sh", (char *) "-c", (char *) "curl -f localhost", NULL };

static ContainerInfo info_make_checked(void) {
        ContainerInfo info = info_make();

        info.health = HEALTH_STARTING;
        info.health_command = own_command;
        info.health_interval_usec = info.health_timeout_usec = 30 * USEC_PER_SEC;
        info.health_retries = 3;
        return info;
}

static void test_own_check_is_run_at_our_pace(void) {
        ScriptedRule rules[] = {
                RULE_PING,
                { "POST /v1.41/containers/01ab/exec", REPLY_BODY("201 Created", "{\"Id\":\"e\"}"), .close = true },
                EXEC_START,
                EXEC_ENDED("1", .times = 2),
                EXEC_ENDED("0"),
        };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        _cleanup_(engine_freep) Engine *engine = NULL;
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make_checked();
        Told told;

        ASSERT_OK(engine_new(&engine, event, socket_path));
        told = probe(engine, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_STREQ(told.detail, "its HEALTHCHECK: exit status 0: no luck");
        ASSERT_EQ(scripted_server_requests(server, "POST /v1.41/containers/01ab/exec"), 3);
}

/* The engine may be first: nobody answers the exec. */
static void test_own_check_or_the_engine(void) {
        ScriptedRule rules[] = { RULE_PING, { "POST", NULL } };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        _cleanup_(engine_freep) Engine *engine = NULL;
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make_checked();
        Told told = {};

        ASSERT_OK(engine_new(&engine, event, socket_path));
        ASSERT_OK(probe_new(&told.probe, event, engine, &dependency, &info, "net", 0, NULL, on_verdict, &told));
        while (scripted_server_requests(server, "POST") == 0)
                ASSERT_OK(sd_event_run(event, USEC_PER_SEC));
        probe_set_health(told.probe, HEALTH_UNHEALTHY);
        ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        ASSERT_FALSE(told.told);
        probe_set_health(told.probe, HEALTH_HEALTHY);
        run_until_told(&told);
        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_STREQ(told.detail, "healthy");
}

static void test_own_check_has_a_time_of_its_own(void) {
        static const struct {
                uint64_t interval_sec, start_sec;
                bool given;
                uint64_t budget_sec;
        } cases[] = {
                { 30, 0, false, 180 },
                { 1, 0, false, 20 }, /* the default, which is 20 s here */
                { 1, 600, false, 1206 },
                { 30, 0, true, 20 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(probe_freep) Probe *one = NULL;
                Dependency dependency = dependency_make();
                ContainerInfo info = info_make_checked();

                dependency.health.budget_given = cases[i].given;
                info.health_interval_usec = cases[i].interval_sec * USEC_PER_SEC;
                info.health_start_usec = cases[i].start_sec * USEC_PER_SEC;
                ASSERT_OK(probe_new(&one, event, NULL, &dependency, &info, "net", 0, NULL, on_verdict, NULL));
                ASSERT_EQ(probe_budget(one), cases[i].budget_sec * USEC_PER_SEC);
        }
}

static void test_what_can_never_be_run_is_broken(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told;

        dependency.health.command = (char *) "no-such-program-at-all --ping";
        told = probe(NULL, &dependency, &info, 0, NULL);
        ASSERT_EQ(told.verdict, PROBE_BROKEN);
        ASSERT_TRUE(strstr(told.detail, "exit status 127: "));
        ASSERT_TRUE(strstr(told.detail, "a 'command' that this machine has"));
}

static void test_deadline_can_be_nearer(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told = {};

        dependency.health.command = (char *) "exit 1";
        ASSERT_OK(probe_new(&told.probe, event, NULL, &dependency, &info, "net", 0, NULL, on_verdict, &told));
        ASSERT_OK(probe_set_deadline(told.probe, time_now(CLOCK_MONOTONIC)));
        run_until_told(&told);
        ASSERT_EQ(told.verdict, PROBE_TIMED_OUT);
}

static void test_missed_health_event_does_not_matter(void) {
        ScriptedRule rules[] = {
                RULE_PING,
                { "GET /v1.41/containers/01ab/json",
                  REPLY_BODY("200 OK",
                             "{\"Id\":\"01ab\",\"Name\":\"/db\",\"State\":{\"Running\":true,\"Health\":{\"Status\":\"healthy\"}}}"),
                  .close = true },
        };
        _unused_ _cleanup_(scripted_server_freep) ScriptedServer *server =
                        scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        _cleanup_(engine_freep) Engine *engine = NULL;
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();

        ASSERT_OK(engine_new(&engine, event, socket_path));
        info.health = HEALTH_STARTING;
        ASSERT_EQ(probe(engine, &dependency, &info, 0, NULL).verdict, PROBE_READY);
}

static void test_startup_delay(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told = probe(NULL, &dependency, &info, 0, NULL);

        ASSERT_EQ(told.verdict, PROBE_READY);
        ASSERT_TRUE(told.after_usec >= dependency.startup_delay_usec);
}

static void test_what_cannot_be_asked_is_broken(void) {
        static const struct {
                const char *http, *tcp, *network_mode, *detail;
        } cases[] = {
                { .tcp = "80", .network_mode = "container:01ab", .detail = "another one's network" },
                { .tcp = "80", .network_mode = "none", .detail = "no network" },
                { .tcp = "nonsense", .network_mode = "none", .detail = "neither a port" },
                { .http = "/x", .network_mode = "none", .detail = "no network" },
                { .http = "nonsense", .network_mode = "none", .detail = "no URL" },
                { .http = "http://a b c:99999999/", .network_mode = "none", .detail = "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Dependency dependency = dependency_make();
                ContainerInfo info = info_make();
                Told told;

                info.n_networks = 0;
                info.network_mode = (char *) cases[i].network_mode;
                dependency.health.http = (char *) cases[i].http;
                dependency.health.tcp = (char *) cases[i].tcp;
                dependency.health.budget_usec = 200 * USEC_PER_MSEC;
                told = probe(NULL, &dependency, &info, 0, NULL);
                ASSERT_TRUE(told.verdict == PROBE_BROKEN || (i == 5 && told.verdict == PROBE_TIMED_OUT));
                ASSERT_TRUE(strstr(told.detail, cases[i].detail));
        }
}

static void test_cancelled_probe_is_silent(void) {
        Dependency dependency = dependency_make();
        ContainerInfo info = info_make();
        Told told = {};

        dependency.health.command = (char *) "sleep 1000; true";
        ASSERT_OK(probe_new(&told.probe, event, NULL, &dependency, &info, "net", 0, NULL, on_verdict, &told));
        for (int i = 0; i < 3; i++)
                ASSERT_OK(sd_event_run(event, 50 * USEC_PER_MSEC));
        told.probe = probe_free(told.probe);
        ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        ASSERT_FALSE(told.told);
}

int main(void) {
        (void) snprintf(socket_path, sizeof(socket_path), "%s/test-probe-%d.sock", getenv("TMPDIR") ?: "/tmp",
                        getpid());
        ASSERT_OK(sd_event_new(&event));

        test_http_waits_for_a_good_status();
        test_budget_ends_it();
        test_budget_ends_a_silent_try();
        test_tcp_waits_for_a_listener();
        test_host_command();
        test_docker_exec_goes_through_the_engine();
        test_exec_in_no_container_is_broken();
        test_health_of_the_engine();
        test_own_check_is_run_at_our_pace();
        test_own_check_or_the_engine();
        test_own_check_has_a_time_of_its_own();
        test_what_can_never_be_run_is_broken();
        test_deadline_can_be_nearer();
        test_missed_health_event_does_not_matter();
        test_startup_delay();
        test_what_cannot_be_asked_is_broken();
        test_cancelled_probe_is_silent();

        (void) sd_event_unref(event);
        return 0;
}
