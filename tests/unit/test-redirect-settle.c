#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/status-file.h"
#include "lease/lease.h"
#include "nft/redirect.h"
#include "redirect/settle.h"
#include "settle-stage.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* From facts to what is done about them, all of it at once; how each fact decides is tested in test-redirect-decision.c. */

#define ONE(more)                                                                         \
        "{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002" more ",\"dependencies\":[" \
        "{\"container\":\"db\",\"startOrder\":1},{\"container\":\"web\",\"startOrder\":2}]}}}"
#define PUBLISHED(port, address) "{\"80/tcp\":[{\"HostIp\":\"" address "\",\"HostPort\":\"" port "\"}]}"

static Redirect *redirect;

static const StageContainer asleep[] = {
        { "db", "d0", "exited" },
        { "web", "w0", "exited", PUBLISHED("9002", "0.0.0.0") },
};
static const StageContainer running[] = {
        { "db", "d0", "running" },
        { "web", "w0", "running", PUBLISHED("9002", "0.0.0.0") },
};

static void begin(void) {
        stage_reset();
        ASSERT_OK(redirect_clear(redirect));
        stage_config(ONE(""));
        stage_service("a", 29002);
        stage_engine(asleep, ELEMENTSOF(asleep));
}

static void settle_all(void) {
        ASSERT_OK(settle("", /* report= */ false));
}

/* "up wildcard4:9002" */
static void assert_table(const char *service, const char *expected) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        const SnapshotService *found;
        char text[256] = "none";

        ASSERT_OK(redirect_read(redirect, &snapshot));
        found = redirect_snapshot_service(snapshot, service);
        if (found && found->chain)
                strcpy(text, found->redirect_port > 0 ? "up" : found->counts ? "lifted" : "empty");
        for (size_t i = 0; i < snapshot->n_elements; i++) {
                const RedirectElement *element = &snapshot->elements[i];

                if (streq(element->service, service) && element->map != REDIRECT_TARGETS)
                        (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s:%s",
                                        redirect_maps[element->map].name, element->key);
        }
        ASSERT_STREQ(text, expected);
}

static void assert_status(const char *service, const char *expected) {
        _cleanup_(status_freep) Status *status = NULL;
        int r = status_file_read(&status, "", service);
        char text[64];

        if (r == -ENOENT)
                strcpy(text, "none");
        else if (r < 0)
                strcpy(text, "damaged");
        else
                (void) snprintf(text, sizeof(text), "%s %s", service_state_to_string(status->state),
                                wake_trigger_to_string(status->trigger));
        ASSERT_STREQ(text, expected);
}

static void write_status(ServiceState state, WakeTrigger trigger) {
        const Status status = { .service = (char *) "a", .state = state, .trigger = trigger };

        ASSERT_OK(status_file_write(&status, ""));
}

/* Neither is anything left to be done, nor does a second run do anything. */
static void assert_settled(void) {
        _cleanup_free_ char *before = NULL, *after = NULL;

        (void) stage_log();
        ASSERT_OK(redirect_list_ruleset(redirect, &before));
        settle_all();
        ASSERT_OK(redirect_list_ruleset(redirect, &after));
        ASSERT_STREQ(before, after);
        ASSERT_STREQ(stage_log(), "");
        ASSERT_EQ(settle_check(""), 0);
}

static void test_asleep(void) {
        begin();
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "up wildcard4:9002");
        assert_status("a", "none");
        ASSERT_EQ(stage_inspects(), 2);

        /* What a container publishes is fixed when it is made. */
        assert_settled();
        ASSERT_EQ(stage_inspects(), 2);
}

static void test_somebody_else_starts_it(void) {
        begin();
        settle_all();
        stage_engine(running, ELEMENTSOF(running));
        settle_all();
        assert_table("a", "lifted wildcard4:9002");
        assert_status("a", "awake outside");
        ASSERT_STREQ(stage_log(), "");
        assert_settled();

        stage_engine(asleep, ELEMENTSOF(asleep));
        settle_all();
        assert_table("a", "up wildcard4:9002");
        assert_status("a", "asleep outside");
        assert_settled();
}

static void write_lease(const char *container, const LeaseRecord *record) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, "", container));
        ASSERT_OK(lease_write(lease, record));
}

/* What was wakechain's once is put to sleep again when nobody uses it, for which there is a waker. */
static void test_waker_for_what_is_ours(void) {
        static const struct {
                const char *more;
                bool ours, started;
        } cases[] = {
                { "", false, false },
                { "", true, true },
                { ",\"adopt\":true", false, true },
                { ",\"adopt\":false", true, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *config = NULL;

                begin();
                ASSERT_TRUE(asprintf(&config,
                                     "{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002%s,\"dependencies\":["
                                     "{\"container\":\"web\"}]}}}",
                                     cases[i].more) > 0);
                stage_config(config);
                stage_engine(running, ELEMENTSOF(running));
                if (cases[i].ours)
                        write_lease("web", &(LeaseRecord){ .ours = true,
                                                           .asleep = true,
                                                           .service = (char *) "a",
                                                           .container_id = (char *) "w0" });
                settle_all();
                ASSERT_STREQ(stage_log(), cases[i].started ? "StartUnit wake@a.service\n" : "");
                assert_settled();
        }
}

/* A container that it shares with another service is ours for that: what clients reach was never started by us, and would not be stopped
 * by a waker, which would come again and again. */
static void test_no_waker_for_a_shared_container(void) {
        begin();
        stage_engine(running, ELEMENTSOF(running));
        write_lease("db", &(LeaseRecord){ .ours = true, .service = (char *) "b", .container_id = (char *) "d0" });
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_status("a", "awake outside");
}

/* The runtime has it already, and the engine does not say yet that it runs: no other event will tell. */
static void test_one_that_is_being_started(void) {
        const StageContainer late[] = {
                { "db", "d0", "running" },
                { "web", "w0", "running", PUBLISHED("9002", "0.0.0.0"), .late = true },
        };

        begin();
        settle_all();
        stage_engine(late, ELEMENTSOF(late));
        ASSERT_TRUE(mkdir("/run/crun", 0755) >= 0 || errno == EEXIST);
        ASSERT_EQ(mkdir("/run/crun/w0", 0755), 0);
        settle_all();
        assert_status("a", "awake outside");
        ASSERT_EQ(rmdir("/run/crun/w0"), 0);
}

/* Something that was started for it and that nobody would stop any more. */
static void test_left_over(void) {
        const StageContainer containers[] = { { "db", "d0", "running" }, asleep[1] };

        begin();
        stage_engine(containers, ELEMENTSOF(containers));
        write_lease("db", &(LeaseRecord){ .ours = true,
                                          .service = (char *) "a",
                                          .wake_id = (char *) "w",
                                          .container_id = (char *) "d0" });
        stage_unit("wake@a.service")->stubborn = true;
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake@a.service\n");
        assert_table("a", "up wildcard4:9002");

        /* It has just failed: later. */
        stage_unit("wake@a.service")->state = "failed";
        stage_unit("wake@a.service")->changed_usec = time_now(CLOCK_MONOTONIC);
        assert_settled();

        /* One that was killed has not: at once. */
        stage_unit("wake@a.service")->killed = true;
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake@a.service\n");
}

static void test_waker_knows_best(void) {
        begin();
        settle_all();
        stage_engine(running, ELEMENTSOF(running));
        stage_unit("wake@a.service")->state = "activating";
        write_status(SERVICE_WAKING, TRIGGER_CONNECTION);
        settle_all();
        assert_table("a", "up wildcard4:9002");
        assert_status("a", "waking connection");
        ASSERT_OK(redirect_lift(redirect, &(Service){ .name = (char *) "a" }, NULL));
        assert_settled();
        assert_table("a", "lifted wildcard4:9002");

        /* The whole table is gone: what it says is what is made again. */
        stage_unit("wake@a.service")->state = "active";
        write_status(SERVICE_AWAKE, TRIGGER_CONNECTION);
        ASSERT_OK(redirect_clear(redirect));
        settle_all();
        assert_table("a", "lifted wildcard4:9002");
        assert_status("a", "awake connection");
}

/* Its waker is dead, whatever it has said. */
static void test_no_waker(void) {
        static const ServiceState states[] = { SERVICE_WAKING, SERVICE_AWAKE, SERVICE_STOPPING };

        for (size_t i = 0; i < ELEMENTSOF(states); i++) {
                begin();
                write_status(states[i], TRIGGER_CONNECTION);
                settle_all();
                assert_table("a", "up wildcard4:9002");
                assert_status("a", "asleep connection");

                write_status(states[i], TRIGGER_CONNECTION);
                stage_engine(running, ELEMENTSOF(running));
                settle_all();
                assert_table("a", "lifted wildcard4:9002");
                assert_status("a", "awake outside");
                assert_settled();
        }
}

/* The engine was asked before its waker stopped it, which is over when systemd is asked: it runs no longer. */
static void test_put_to_sleep_meanwhile(void) {
        begin();
        settle_all();
        stage_engine(running, ELEMENTSOF(running));
        write_lease("web", &(LeaseRecord){ .ours = true, .asleep = true, .service = (char *) "a" });
        write_status(SERVICE_ASLEEP, TRIGGER_CONNECTION);
        stage_unit("wake@a.service")->changed_usec = UINT64_MAX;
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "up wildcard4:9002");
        assert_status("a", "asleep connection");
}

static void begin_to_wake(void) {
        write_status(SERVICE_WAKING, TRIGGER_CONNECTION);
}

/* …and one that has come after systemd was asked is not talked over. */
static void test_waker_that_comes_meanwhile(void) {
        static const ServiceState states[] = { SERVICE_AWAKE, SERVICE_STOPPING, SERVICE_ASLEEP };

        for (size_t i = 0; i < ELEMENTSOF(states); i++) {
                begin();
                write_status(states[i], TRIGGER_MANUAL);
                if (states[i] == SERVICE_ASLEEP)
                        stage_engine(running, ELEMENTSOF(running));
                stage_unit("wake@b.socket")->asked = begin_to_wake;
                settle_all();
                assert_status("a", "waking connection");
        }
}

static void test_damaged_status(void) {
        static const char *const texts[] = { "", "{", "[]", "{\"service\":\"b\",\"state\":\"asleep\"}",
                                             "\xff\xfe" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                begin();
                ASSERT_OK(file_replace("/run/wakechain/status/a.json", texts[i], strlen(texts[i]), 0640, false));
                ASSERT_OK(file_replace("/run/wakechain/status/a b.json", texts[i], strlen(texts[i]), 0640, false));
                settle_all();
                assert_status("a", "asleep manual");
                assert_settled();
        }
}

/* Something else in the places of files: all the rest goes on. */
static void test_something_in_the_way(void) {
        static const struct {
                const char *path;
                bool pipe;
                const char *table;
        } cases[] = {
                { "/run/wakechain/status/a.json", false, "up wildcard4:9002" },
                { "/run/wakechain/redirect.lock", false, "up wildcard4:9002" },
                { "/run/wakechain/redirect.lock", true, "up wildcard4:9002" },
                { "/run/wakechain/lease/web", false, "up wildcard4:9002" },
                { "/run/wakechain/lease/web", true, "up wildcard4:9002" },
                { "/var/lib/wakechain/bindings/a.json/x", false, "up wildcard4:9002" },
                { "/var/lib/wakechain/lease/web", false, "up wildcard4:9002" },
                { "/var/lib/wakechain/lease/web", true, "up wildcard4:9002" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                begin();
                if (cases[i].pipe)
                        ASSERT_EQ(mkfifo(cases[i].path, 0600), 0);
                else
                        ASSERT_OK(directory_make(cases[i].path));
                settle_all();
                assert_table("a", cases[i].table);
                /* The lock is made again by who makes the folders. */
                ASSERT_STREQ(stage_log(),
                             strstr(cases[i].path, ".lock") ? "StartUnit wakechain-folders.service\n" : "");
        }
}

static void test_missing_folders(void) {
        begin();
        settle_all();
        ASSERT_EQ(system("rm -r /run/wakechain/* /var/lib/wakechain"), 0);
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wakechain-folders.service\nTryRestartUnit wake-control@a.socket\n"
                                  "StartUnit wakechain-folders.service\n");
        assert_table("a", "up wildcard4:9002");
}

static void test_asked_to_settle(void) {
        begin();
        ASSERT_OK(redirect_ask_to_settle(""));
        ASSERT_TRUE(redirect_was_asked(""));
        ASSERT_FALSE(redirect_was_asked(""));
        /* What cannot be removed would be asked by for ever. */
        ASSERT_OK(directory_make("/run/wakechain/status/unsettled/x"));
        ASSERT_TRUE(redirect_was_asked(""));
        ASSERT_FALSE(redirect_was_asked(""));
}

static void test_deaf_sockets(void) {
        begin();
        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake-control@a.socket")->listens = false;
        settle_all();
        ASSERT_STREQ(stage_log(), "TryRestartUnit wake-control@a.socket\nTryRestartUnit wake@a.socket\n");
        assert_table("a", "up wildcard4:9002");
        assert_settled();

        /* A socket that cannot be started again is tried once each time, not for ever. */
        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake@a.socket")->stubborn = true;
        settle_all();
        ASSERT_STREQ(stage_log(), "TryRestartUnit wake@a.socket\nTryRestartUnit wake@a.socket\n"
                                  "TryRestartUnit wake@a.socket\nTryRestartUnit wake@a.socket\n");
        assert_table("a", "none");
}

/* Whoever has the port may let go of it a moment later. One that goes on failing is not started for ever. */
static void test_socket_fails_to_start_again(void) {
        begin();
        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake@a.socket")->fails = 1;
        settle_all();
        ASSERT_STREQ(stage_log(), "TryRestartUnit wake@a.socket\nStartUnit wake@a.socket\n");
        assert_table("a", "up wildcard4:9002");
        assert_settled();

        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake@a.socket")->fails = 10;
        settle_all();
        ASSERT_STREQ(stage_log(), "TryRestartUnit wake@a.socket\nStartUnit wake@a.socket\n"
                                  "StartUnit wake@a.socket\nStartUnit wake@a.socket\n");
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "none");
}

/* A front that lives has a listening socket that PID 1 has not. */
static void test_front_listens_elsewhere(void) {
        struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(29003) };
        _cleanup_close_ int fd = -EBADF;

        begin();
        *stage_unit("wake-front@a.service") = (StageUnit){ .name = "wake-front@a.service", .state = "active" };
        stage_unit("wake-front@a.service")->pid = (unsigned) getpid();
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0);
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        ASSERT_EQ(listen(fd, 1), 0);
        settle_all();
        ASSERT_STREQ(stage_log(), "TryRestartUnit wake-front@a.service\n");
}

/* By somebody, in between: it stays so. */
static void test_socket_is_stopped_meanwhile(void) {
        begin();
        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake@a.socket")->stops = true;
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "none");
}

/* That somebody listens proves nothing. */
static void test_somebody_else_listens(void) {
        struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(29002) };
        _cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        begin();
        settle_all();
        stage_unit("wake@a.socket")->listens = false;
        stage_unit("wake@a.socket")->stubborn = true;
        settle_all();
        ASSERT_TRUE(bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0 && listen(fd, 1) >= 0);
        settle_all();
        assert_table("a", "none");
}

static void test_stopped_and_fresh_sockets(void) {
        begin();
        *stage_unit("wake@a.socket") = (StageUnit){ .name = "wake@a.socket", .state = "inactive", .port = 29002 };
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake@a.socket\n");
        assert_table("a", "up wildcard4:9002");

        /* Somebody has stopped it. */
        stage_unit("wake@a.socket")->state = "inactive";
        stage_unit("wake@a.socket")->listens = false;
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "none");

        stage_unit("wake@a.socket")->state = "failed";
        stage_unit("wake@a.socket")->changed_usec = time_now(CLOCK_MONOTONIC);
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        stage_unit("wake@a.socket")->changed_usec -=
                        MIN(USEC_PER_MINUTE, stage_unit("wake@a.socket")->changed_usec);
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake@a.socket\n");
        assert_table("a", "up wildcard4:9002");
}

static void test_not_in_the_file(void) {
        static const char *const configs[] = { "{\"services\":{}}", "{\"services\":{\"b\":{\"name\":\"b\"}}}" };

        for (size_t i = 0; i < ELEMENTSOF(configs); i++) {
                begin();
                write_status(SERVICE_ASLEEP, TRIGGER_CONNECTION);
                settle_all();
                stage_config(configs[i]);
                settle_all();
                ASSERT_STREQ(stage_log(), "StopUnit wake-control@a.socket\nStopUnit wake@a.socket\n");
                assert_table("a", "none");
                assert_status("a", "none");
                ASSERT_TRUE(access("/var/lib/wakechain/bindings/a.json", F_OK) < 0);
                assert_settled();
        }
}

/* Nothing can be told from the file: then nothing is done. */
static void test_file_that_is_broken(void) {
        begin();
        settle_all();
        write_status(SERVICE_AWAKE, TRIGGER_CONNECTION);
        stage_config("{");
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        assert_table("a", "up wildcard4:9002");
        assert_status("a", "awake connection");
        ASSERT_ERROR(settle_check(""), EBADMSG);
}

static void test_engine_that_does_not_tell(void) {
        for (unsigned i = 0; i < 2; i++) {
                begin();
                settle_all();
                stage_engine(running, ELEMENTSOF(running));
                settle_all();
                if (i == 0)
                        stage_engine(NULL, 0);
                else
                        stage_engine_hangs();
                settle_all();
                assert_table("a", "lifted wildcard4:9002");
                assert_status("a", "awake outside");
                ASSERT_OK(redirect_clear(redirect));
                settle_all();
                assert_table("a", "lifted wildcard4:9002");
                ASSERT_STREQ(stage_log(), "");
        }
}

/* Its socket is systemd's, which would start it. */
static void test_engine_that_was_stopped(void) {
        static const char *const states[] = { "inactive", "failed", "activating", "deactivating" };
        const StageContainer moved[] = { running[0], { "web", "w1", "running", PUBLISHED("9002", "127.0.0.1") } };

        for (size_t i = 0; i < ELEMENTSOF(states); i++) {
                begin();
                settle_all();
                stage_engine(moved, ELEMENTSOF(moved));
                stage_unit("docker.service")->state = states[i];
                settle_all();
                ASSERT_EQ(stage_connections(), 0);
                assert_table("a", "up wildcard4:9002");
                assert_status("a", "none");

                stage_unit("docker.service")->state = "active";
                settle_all();
                assert_table("a", "lifted address4:127.0.0.1 . 9002");
        }

        /* It runs, but not as this unit. */
        begin();
        stage_unit("docker.service")->missing = true;
        settle_all();
        assert_table("a", "up wildcard4:9002");
}

/* Addresses */

static void test_addresses_follow_the_container(void) {
        const StageContainer moved[] = { asleep[0], { "web", "w1", "exited", PUBLISHED("9002", "127.0.0.1") } };
        const StageContainer silent[] = { asleep[0],
                                          { "web", "w2", "exited", PUBLISHED("9002", "::"), .silent = true } };
        const StageContainer elsewhere[] = { asleep[0], { "web", "w3", "exited", PUBLISHED("9003", "0.0.0.0") } };

        begin();
        settle_all();
        stage_engine(moved, ELEMENTSOF(moved));
        settle_all();
        assert_table("a", "up address4:127.0.0.1 . 9002");
        /* Not in time: as last seen, and asked again. */
        stage_engine(silent, ELEMENTSOF(silent));
        settle_all();
        assert_table("a", "up address4:127.0.0.1 . 9002");
        stage_engine(asleep, ELEMENTSOF(asleep));
        settle_all();
        assert_table("a", "up wildcard4:9002");
        /* It publishes another port now, as all of its containers say. */
        stage_engine(elsewhere, ELEMENTSOF(elsewhere));
        settle_all();
        assert_table("a", "up wildcard4:9003 loopback4:9002 loopback6:9002");
        assert_settled();
}

/* All that the containers publish and no other service's do, unless the file says which. */
static void test_further_ports(void) {
        static const char web_bindings[] = "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9002\"}],"
                                           "\"22/tcp\":[{\"HostIp\":\"192.168.1.5\",\"HostPort\":\"2222\"}],"
                                           "\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"53\"}],"
                                           "\"90/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"90-99\"}]}";
        StageContainer containers[] = {
                { "db", "d1", "exited", "{\"5432/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"5432\"}]}" },
                { "other", "o1", "exited", "{\"1/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"5432\"}]}" },
                { "web", "w1", "exited", web_bindings },
        };

        begin();
        stage_engine(containers, ELEMENTSOF(containers));
        settle_all();
        assert_table("a", "up address4:192.168.1.5 . 2222 wildcard4:5432 wildcard4:9002");
        assert_settled();

        /* What runs beside a stack that sleeps is reached by itself. */
        containers[0].state = "running";
        stage_engine(containers, ELEMENTSOF(containers));
        settle_all();
        assert_table("a", "up address4:192.168.1.5 . 2222 wildcard4:9002");
        containers[0].state = "exited";
        stage_engine(containers, ELEMENTSOF(containers));

        stage_config(ONE(",\"ports\":[]"));
        settle_all();
        assert_table("a", "up wildcard4:9002");
        stage_config(ONE(",\"ports\":[5432,7]"));
        settle_all();
        assert_table("a", "up wildcard4:5432 wildcard4:9002 loopback4:7 loopback6:7");

        /* Two of them publish it: it is nobody's, until one of them names it. */
        stage_service("b", 29003);
        stage_config("{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002,\"dependencies\":[{\"container\":\"db\"},"
                     "{\"container\":\"web\"}]},\"b\":{\"name\":\"other\",\"port\":9003}}}");
        settle_all();
        assert_table("a", "up address4:192.168.1.5 . 2222 wildcard4:9002");
        assert_table("b", "up loopback4:9003 loopback6:9003");
        stage_config("{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002,\"dependencies\":[{\"container\":\"db\"},"
                     "{\"container\":\"web\"}]},\"b\":{\"name\":\"other\",\"port\":9003,\"ports\":[5432]}}}");
        settle_all();
        assert_table("a", "up address4:192.168.1.5 . 2222 wildcard4:9002");
        assert_table("b", "up wildcard4:5432 loopback4:9003 loopback6:9003");

        /* One more, of a container that was made anew while it sleeps; one of a container that is to be made anew stays. */
        stage_config(ONE(""));
        containers[2].id = "w2";
        containers[2].bindings = "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9002\"}],"
                                 "\"81/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9100\"}]}";
        stage_engine(containers + 1, 2);
        settle_all();
        assert_table("a", "up wildcard4:5432 wildcard4:9002 wildcard4:9100");
}

/* The owner of its network publishes its port, whether the file names that or not; and does not make it awake by running, for others for example. */
static void test_owner_of_its_network(void) {
        static const char ports[] = "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9002\"}],"
                                    "\"81/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9003\"}]}";
        StageContainer containers[] = {
                { "vpn", "v0", "exited", ports },
                { "web", "w0", "exited", .network_mode = "container:v0" },
        };
        static const char *const files[] = {
                "{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002}}}",
                "{\"services\":{\"a\":{\"name\":\"web\",\"port\":9002,\"ports\":[],\"dependencies\":[{\"container\":\"vpn\"},"
                "{\"container\":\"web\"}]}}}",
        };

        begin();
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                stage_config(files[i]);
                containers[0].state = containers[1].state = "exited";
                stage_engine(containers, ELEMENTSOF(containers));
                settle_all();
                assert_table("a", "up wildcard4:9002");
                assert_settled();

                containers[0].state = "running";
                stage_engine(containers, ELEMENTSOF(containers));
                settle_all();
                assert_table("a", "up wildcard4:9002");
                assert_settled();

                containers[1].state = "running";
                stage_engine(containers, ELEMENTSOF(containers));
                settle_all();
                assert_table("a", "lifted wildcard4:9002");
                assert_status("a", "awake outside");
                assert_settled();

                /* One that is cut off by its owner's end serves nobody. */
                containers[0].state = "exited";
                stage_engine(containers, ELEMENTSOF(containers));
                settle_all();
                assert_table("a", "up wildcard4:9002");
                assert_settled();
        }

        /* The owner was made anew: what has the old one's network is known to be its. */
        stage_config(files[0]);
        containers[0].id = "v1";
        stage_engine(containers, ELEMENTSOF(containers));
        settle_all();
        assert_table("a", "up wildcard4:9002");
}

/* Containers that are not there, after `compose down` or between two of one name, say nothing of where they will be published. */
static void test_addresses_outlive_the_container(void) {
        begin();
        settle_all();
        stage_engine(asleep, 1);
        settle_all();
        assert_table("a", "up wildcard4:9002");
        stage_engine(asleep, 0);
        settle_all();
        assert_table("a", "up wildcard4:9002");
        assert_settled();

        /* Nothing is known of one that was never seen. */
        begin();
        stage_engine(asleep, 0);
        settle_all();
        assert_table("a", "up loopback4:9002 loopback6:9002");
        stage_engine(asleep, ELEMENTSOF(asleep));
        settle_all();
        assert_table("a", "up wildcard4:9002");
}

/* The socket listens where it was started, and the redirect follows that, whatever the file says since. */
static void test_file_that_is_ahead_of_the_socket(void) {
        begin();
        settle_all();
        stage_config(ONE(",\"redirectPort\":31000"));
        settle_all();
        assert_table("a", "up wildcard4:9002");
        ASSERT_STREQ(stage_log(), "");
        assert_settled();
}

#define TWO(port_a, port_b) \
        "{\"services\":{\"a\":{\"name\":\"web\",\"port\":" port_a "},\"b\":{\"name\":\"db\",\"port\":" port_b "}}}"

/* Two that have exchanged their ports in the file: until systemd is reloaded, their sockets have not. */
static void test_file_in_which_ports_are_exchanged(void) {
        const StageContainer both[] = { { "db", "d0", "exited", PUBLISHED("9003", "0.0.0.0") }, asleep[1] };
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;

        begin();
        stage_engine(both, ELEMENTSOF(both));
        stage_config(TWO("9002", "9003"));
        stage_service("b", 29003);
        settle_all();
        stage_config(TWO("9003", "9002"));
        settle_all();
        ASSERT_OK(redirect_read(redirect, &snapshot));
        ASSERT_EQ(redirect_snapshot_target(snapshot, "a"), 29002);
        ASSERT_EQ(redirect_snapshot_target(snapshot, "b"), 29003);
}

static void write_watched(const char *container) {
        DependencyStatus dependency = { .container = (char *) container,
                                        .required = true,
                                        .state = DEPENDENCY_READY };
        const Status status = { .service = (char *) "a",
                                .state = SERVICE_AWAKE,
                                .trigger = TRIGGER_CONNECTION,
                                .dependencies = &dependency,
                                .n_dependencies = 1 };

        ASSERT_OK(status_file_write(&status, ""));
}

/* Its waker has another service's containers, and ends, as soon as somebody watches over those who need them. */
static void test_name_that_another_one_had(void) {
        const StageContainer both[] = { { "db", "d0", "running", PUBLISHED("9003", "0.0.0.0") }, asleep[1] };
        StageUnit *control;

        begin();
        stage_engine(both, ELEMENTSOF(both));
        stage_config(TWO("9002", "9003"));
        stage_service("b", 29003);
        stage_unit("wake@a.service")->state = "active";
        control = stage_unit("wake-control@a.socket");
        control->state = "inactive";
        control->listens = false;
        write_lease("db", &(LeaseRecord){ .ours = true, .service = (char *) "a", .container_id = (char *) "d0" });

        write_watched("web");
        stage_unit("wake@b.service")->state = "active";
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        stage_unit("wake@b.service")->state = "inactive";
        write_watched("db");
        stage_unit("wake@b.service")->stubborn = true;
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake@b.service\n");
        stage_unit("wake@b.service")->state = "active";
        settle_all();
        ASSERT_STREQ(stage_log(), "StopUnit wake@a.service\n");
        settle_all();
        ASSERT_STREQ(stage_log(), "StartUnit wake-control@a.socket\n");
        assert_table("a", "up wildcard4:9002");

        /* The file was changed, and systemd not reloaded since. */
        stage_unit("wake@a.service")->state = "active";
        write_watched("db");
        settle_all();
        ASSERT_STREQ(stage_log(), "");
        ASSERT_OK(directory_make("/run/systemd/generator/sockets.target.wants"));
        ASSERT_EQ(symlink("x", "/run/systemd/generator/sockets.target.wants/wake-control@a.socket"), 0);
        settle_all();
        ASSERT_STREQ(stage_log(), "StopUnit wake@a.service\n");
        ASSERT_EQ(unlink("/run/systemd/generator/sockets.target.wants/wake-control@a.socket"), 0);
}

/* Two at once, and wakers meanwhile: nobody is in nobody's way. */
static void test_all_at_once(void) {
        pid_t children[4];

        begin();
        settle_all();
        stage_unit("wake@a.service")->state = "active";
        write_status(SERVICE_AWAKE, TRIGGER_CONNECTION);
        for (size_t i = 0; i < ELEMENTSOF(children); i++) {
                children[i] = fork();
                ASSERT_TRUE(children[i] >= 0);
                if (children[i] > 0)
                        continue;
                for (unsigned j = 0; j < 20; j++) {
                        const Service service = { .name = (char *) "a" };
                        _cleanup_(redirect_freep) Redirect *own = NULL;
                        int lock;

                        if (i < 2) {
                                if (settle("", /* report= */ false) < 0)
                                        _exit(EXIT_FAILURE);
                                continue;
                        }
                        lock = redirect_lock_wait("", 10 * USEC_PER_SEC);
                        if (lock < 0 || redirect_new(&own) < 0 ||
                            (j % 2 == 0 ? redirect_up(own, &service, NULL) : redirect_lift(own, &service, NULL)) <
                                            0)
                                _exit(EXIT_FAILURE);
                        fd_close(lock);
                }
                _exit(EXIT_SUCCESS);
        }
        for (size_t i = 0; i < ELEMENTSOF(children); i++) {
                int status;

                ASSERT_EQ(waitpid(children[i], &status, 0), children[i]);
                ASSERT_EQ(status, 0);
        }
        assert_table("a", "lifted wildcard4:9002");
        assert_settled();
}

/* Killed anywhere: the next one finds all it needs. */
static void test_killed(void) {
        for (useconds_t usec = 0; usec < 40000; usec += 2000) {
                pid_t child;

                begin();
                stage_unit("wake@a.socket")->listens = false;
                write_status(SERVICE_WAKING, TRIGGER_CONNECTION);
                child = fork();
                ASSERT_TRUE(child >= 0);
                if (child == 0)
                        _exit(settle("", /* report= */ false) < 0);
                (void) usleep(usec);
                ASSERT_EQ(kill(child, SIGKILL), 0);
                ASSERT_EQ(waitpid(child, NULL, 0), child);
                settle_all();
                assert_table("a", "up wildcard4:9002");
                assert_status("a", "asleep connection");
                assert_settled();
        }
}

static int test(void) {
        ASSERT_OK(redirect_new(&redirect));

        test_asleep();
        test_somebody_else_starts_it();
        test_waker_for_what_is_ours();
        test_no_waker_for_a_shared_container();
        test_one_that_is_being_started();
        test_left_over();
        test_waker_knows_best();
        test_no_waker();
        test_put_to_sleep_meanwhile();
        test_waker_that_comes_meanwhile();
        test_damaged_status();
        test_something_in_the_way();
        test_missing_folders();
        test_asked_to_settle();
        test_deaf_sockets();
        test_socket_is_stopped_meanwhile();
        test_socket_fails_to_start_again();
        test_front_listens_elsewhere();
        test_somebody_else_listens();
        test_stopped_and_fresh_sockets();
        test_not_in_the_file();
        test_file_that_is_broken();
        test_engine_that_does_not_tell();
        test_engine_that_was_stopped();
        test_addresses_follow_the_container();
        test_further_ports();
        test_owner_of_its_network();
        test_addresses_outlive_the_container();
        test_file_that_is_ahead_of_the_socket();
        test_file_in_which_ports_are_exchanged();
        test_name_that_another_one_had();
        test_all_at_once();
        test_killed();

        stage_reset();
        redirect_free(redirect);
        return EXIT_SUCCESS;
}

int main(void) {
        return stage_run(test);
}
