#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "control/status-file.h"
#include "control/varlink.h"
#include "fake-engine.h"
#include "fake-port-redirect.h"
#include "fake-systemd.h"
#include "lease/lease.h"
#include "test.h"
#include "util/fd.h"
#include "wake/waker.h"

/* The whole waker against a scripted engine, both on one event loop, in a root of their own. The redirect itself is the machine tests' business:
 * the services here have no port, or listen themselves, or have a fake one. */

#define PATIENCE_USEC (20 * USEC_PER_SEC)

typedef struct World {
        sd_event *event;
        char root[32];
        FakeEngine *engine;
        Config *config;
        const Service *service;
        int control_fd;
        Waker *waker;
        const char *stop_at; /* the engine's line at which the waker is told to stop */
} World;

static const char *in_root(const World *world, const char *name) {
        static char path[4][128];
        static unsigned next;
        char *text = path[next++ % ELEMENTSOF(path)];

        (void) snprintf(text, sizeof(path[0]), "%s/%s", world->root, name);
        return text;
}

static int listen_unix(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        (void) stpcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(fd, 16), 0);
        return fd;
}

static int connect_unix(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        (void) stpcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

/* `service` is the inside of the service "app"'s object. */
static void world_begin(World *world, const char *service) {
        static const char *const folders[] = { "run/wakechain/status", "run/wakechain/lease",
                                               "var/lib/wakechain/bindings" };
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *text = NULL;

        *world = (World){ .root = "/tmp/test-waker-XXXXXX" };
        ASSERT_TRUE(mkdtemp(world->root) != NULL);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                ASSERT_OK(directory_make(in_root(world, folders[i])));
        ASSERT_OK(sd_event_new(&world->event));
        world->control_fd = listen_unix(in_root(world, "control.sock"));

        ASSERT_TRUE(asprintf(&text, "{\"engineSocket\":\"%s\",\"services\":{\"app\":{%s}}}",
                             in_root(world, "engine.sock"), service) > 0);
        ASSERT_OK(config_parse(&world->config, "test.json", text, strlen(text), &problems));
        for (size_t i = 0; i < problems.n_problems; i++)
                if (problems.problems[i].level == PROBLEM_ERROR)
                        TEST_FAIL("%s: %s", problems.problems[i].path, problems.problems[i].text);
        world->service = config_find(world->config, "app");
        ASSERT_TRUE(world->service != NULL);
}

static void world_on_line(FakeEngine *engine, const char *line, void *userdata) {
        World *world = ASSERT_PTR(userdata);

        if (world->stop_at && streq(world->stop_at, line)) {
                world->stop_at = NULL;
                waker_stop(world->waker);
        }
}

static void world_add_engine(World *world) {
        world->engine = fake_engine_new(world->event, in_root(world, "engine.sock"));
        fake_engine_set_handler(world->engine, world_on_line, world);
        for (size_t i = 0; i < world->service->n_dependencies; i++)
                if (world->service->dependencies[i].kind == DEPENDENCY_CONTAINER)
                        (void) fake_engine_add(world->engine, world->service->dependencies[i].name);
}

static void world_make_waker(World *world) {
        ASSERT_OK(waker_new(&world->waker, world->event, world->config, world->service,
                            &(WakerOptions){ .root = world->root, .control_fd = world->control_fd }));
}

static void world_run_waker(World *world) {
        world_make_waker(world);
        ASSERT_OK(waker_run(world->waker));
}

static void world_open(World *world, const char *service) {
        world_begin(world, service);
        world_add_engine(world);
}

/* As if its process were killed: nothing is said to anybody. */
static void world_kill_waker(World *world) {
        world->waker = waker_free(world->waker);
}

static void world_close(World *world) {
        _cleanup_free_ char *command = NULL;

        waker_free(world->waker);
        fake_engine_free(world->engine);
        config_free(world->config);
        fd_close(world->control_fd);
        sd_event_unref(world->event);
        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", world->root) > 0);
        ASSERT_EQ(system(command), 0);
}

static Status *world_status(const World *world) {
        Status *status = NULL;
        int r = status_file_read(&status, world->root, "app");

        ASSERT_TRUE(r >= 0 || r == -ENOENT);
        return status;
}

static bool world_is(const World *world, ServiceState state) {
        _cleanup_(status_freep) Status *status = world_status(world);

        return status && status->state == state;
}

static void world_turn(World *world) {
        ASSERT_TRUE(sd_event_run(world->event, PATIENCE_USEC) > 0);
        ASSERT_TRUE(sd_event_get_state(world->event) != SD_EVENT_FINISHED);
}

static void world_run_until(World *world, ServiceState state) {
        uint64_t until_usec = time_now(CLOCK_MONOTONIC) + PATIENCE_USEC;

        while (!world_is(world, state)) {
                world_turn(world);
                ASSERT_TRUE(time_now(CLOCK_MONOTONIC) < until_usec);
        }
}

static void world_run_until_line(World *world, const char *line) {
        while (!strv_contains(fake_engine_lines(world->engine), line))
                world_turn(world);
}

/* Until the waker ends; its exit status. */
static int world_run_to_the_end(World *world) {
        return sd_event_loop(world->event);
}

static void world_put_to_sleep(World *world) {
        waker_stop(world->waker);
        ASSERT_EQ(world_run_to_the_end(world), 0);
        ASSERT_TRUE(world_is(world, SERVICE_ASLEEP));
}

/* All lines so far, joined, and forgotten. */
static void expect_lines(World *world, const char *expected) {
        _cleanup_free_ char *text = new0(char, 8192);
        char *const *lines = fake_engine_lines(world->engine);

        for (; lines && *lines; lines++) {
                ASSERT_TRUE(strlen(text) + strlen(*lines) + 3 < 8192);
                if (text[0] != '\0')
                        strcat(text, ", ");
                strcat(text, *lines);
        }
        ASSERT_STREQ(text, expected);
        fake_engine_forget_lines(world->engine);
}

static void expect_failed(const World *world, FailureReason reason, const char *word) {
        _cleanup_(status_freep) Status *status = world_status(world);

        ASSERT_TRUE(status != NULL);
        ASSERT_EQ(status->state, SERVICE_FAILED);
        ASSERT_STREQ(failure_reason_to_string(status->reason), failure_reason_to_string(reason));
        ASSERT_TRUE(status->error != NULL);
        if (!strstr(status->error, word))
                TEST_FAIL("'%s' is not in '%s'", word, status->error);
}

#define CHECK(name) \
        "\"healthCheck\":{\"command\":\"docker exec " name " check\",\"interval\":50,\"timeout\":10000}"
#define REQUIRED(name, order) "{\"container\":\"" name "\",\"startOrder\":" order "," CHECK(name) "}"
#define OPTIONAL(name, order) \
        "{\"container\":\"" name "\",\"type\":\"optional\",\"startOrder\":" order "," CHECK(name) "}"
#define TWO "\"name\":\"web\",\"dependencies\":[" REQUIRED("db", "1") "," REQUIRED("web", "2") "]"

/* Waking */

static void test_steps_in_order_and_back(void) {
        World world;

        world_open(&world, "\"name\":\"web\",\"dependencies\":[" REQUIRED("web", "2") "," REQUIRED(
                                           "db", "1") "," REQUIRED("cache", "1") "," OPTIONAL("cron", "3") "]");
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_run_until_line(&world, "ready cron");
        ASSERT_TRUE(strv_contains(fake_engine_lines(world.engine), "ready cache"));
        /* Each step's starts come before any of the next, whatever the checks do in between. */
        ASSERT_STREQ(fake_engine_lines(world.engine)[0], "start db");
        for (char *const *line = fake_engine_lines(world.engine); *line; line++)
                if (streq(*line, "start web"))
                        ASSERT_EQ(line - fake_engine_lines(world.engine), 4);

        fake_engine_forget_lines(world.engine);
        world_put_to_sleep(&world);
        ASSERT_STREQ(fake_engine_lines(world.engine)[0], "stop cron");
        ASSERT_STREQ(fake_engine_lines(world.engine)[1], "stop web");
        ASSERT_EQ(strv_length(fake_engine_lines(world.engine)), 4);
        world_close(&world);
}

static void test_next_step_waits_for_a_check_that_succeeds(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->failing_checks = 3;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, unready db, unready db, unready db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

/* Its own step comes after db's, and db is not ready: who says what it needs waits for that alone. */
static void test_named_needs_are_enough_to_start(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" REQUIRED("db", "1") "," REQUIRED(
                                   "cache",
                                   "1") ",{\"container\":\"web\",\"startOrder\":2,\"dependsOn\":[\"cache\"]," CHECK("web") "}]");
        fake_engine_find(world.engine, "db")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        world_run_until_line(&world, "ready web");
        ASSERT_TRUE(world_is(&world, SERVICE_WAKING));
        ASSERT_FALSE(strv_contains(fake_engine_lines(world.engine), "ready db"));
        fake_engine_find(world.engine, "db")->failing_checks = 0;
        world_run_until(&world, SERVICE_AWAKE);

        /* Down again, who is needed stops after who needs it. */
        fake_engine_forget_lines(world.engine);
        world_put_to_sleep(&world);
        for (char *const *line = fake_engine_lines(world.engine); *line && !streq(*line, "stop web"); line++)
                ASSERT_FALSE(streq(*line, "stop cache"));
        ASSERT_EQ(strv_length(fake_engine_lines(world.engine)), 3);
        world_close(&world);
}

static void test_optional_that_is_missing_costs_nothing(void) {
        _cleanup_(status_freep) Status *status = NULL;
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" OPTIONAL("cron", "1") "," REQUIRED("web", "2") "]");
        fake_engine_find(world.engine, "cron")->missing = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start web, ready web");
        status = world_status(&world);
        ASSERT_EQ(status->n_dependencies, 2);
        ASSERT_STREQ(status->dependencies[0].container, "cron");
        ASSERT_EQ(status->dependencies[0].state, DEPENDENCY_FAILED);
        ASSERT_EQ(status->dependencies[1].state, DEPENDENCY_READY);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_optional_that_is_never_ready_is_not_waited_for(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" OPTIONAL("cron", "1") "," REQUIRED("web", "2") "]");
        fake_engine_find(world.engine, "cron")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        ASSERT_FALSE(fake_engine_find(world.engine, "cron")->running);
        world_close(&world);
}

static void test_clients_are_served_before_the_last_optional_ones(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" REQUIRED("web", "1") "," OPTIONAL("cron", "2") "]");
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start web, ready web");
        world_run_until_line(&world, "ready cron");
        world_put_to_sleep(&world);
        expect_lines(&world, "start cron, ready cron, stop cron, stop web");
        world_close(&world);
}

static void test_optional_that_the_engine_has_trouble_with_is_not_waited_for(void) {
        FakeContainer *cron;
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" OPTIONAL("cron", "1") "," REQUIRED("web", "2") "]");
        cron = fake_engine_find(world.engine, "cron");
        cron->refused_starts = UINT32_MAX;
        cron->refusal_status = 409;
        cron->refusal = "something is in progress";
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_running_container_is_checked_and_left_running(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->running = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "ready db, start web, ready web");
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web");
        world_close(&world);
}

static void test_adopted_container_is_stopped_kept_one_is_not(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"adopt\":true,\"dependencies\":[{\"container\":\"db\",\"keep\":true," CHECK(
                                   "db") "}," REQUIRED("web", "2") "]");
        fake_engine_find(world.engine, "web")->running = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, ready db, ready web");
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web");
        world_close(&world);
}

static void test_paused_container_is_unpaused(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->running = true;
        fake_engine_find(world.engine, "db")->paused = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "unpause db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_container_that_dies_before_its_step_is_started(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->running = true;
        fake_engine_find(world.engine, "db")->failing_checks = 2;
        world_run_waker(&world);
        world_run_until_line(&world, "unready db");
        fake_engine_kill(world.engine, "web", 0);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, unready db, unready db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

static void test_death_while_booting_is_forgiven_twice(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->deaths = 2;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, start db, start db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_transient_answers_are_tried_again(void) {
        FakeContainer *db;
        World world;

        world_open(&world, TWO);
        db = fake_engine_find(world.engine, "db");
        db->refused_starts = 2;
        db->refusal_status = 503;
        db->refusal = "the engine is restarting";
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "refuse db, refuse db, start db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        world_close(&world);
}

static int engine_appears(sd_event_source *source, uint64_t usec, void *userdata) {
        world_add_engine(userdata);
        return 0;
}

static void test_engine_that_comes_later_is_waited_for(void) {
        World world;

        world_begin(&world, TWO);
        ASSERT_OK(sd_event_add_time_relative(world.event, NULL, CLOCK_MONOTONIC, USEC_PER_SEC / 4, 1,
                                             engine_appears, &world));
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, ready db, start web, ready web");
        world_put_to_sleep(&world);
        world_close(&world);
}

/* Failing */

static void test_permanent_refusal_rolls_back_in_reverse_order(void) {
        FakeContainer *web;
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" REQUIRED("db",
                                                                  "1") "," REQUIRED("cache",
                                                                                    "2") "," REQUIRED("web",
                                                                                                      "3") "]");
        web = fake_engine_find(world.engine, "web");
        web->refused_starts = UINT32_MAX;
        web->refusal_status = 500;
        web->refusal = "driver failed programming external connectivity on endpoint web: Bind for 0.0.0.0:80 failed: port is already allocated";
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_PORT_CONFLICT, "web: ");
        expect_lines(&world, "start db, ready db, start cache, ready cache, refuse web, stop cache, stop db");
        world_close(&world);
}

static void test_rollback_leaves_what_ran_before(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" REQUIRED("db",
                                                                  "1") "," REQUIRED("cache",
                                                                                    "2") "," REQUIRED("web",
                                                                                                      "3") "]");
        fake_engine_find(world.engine, "db")->running = true;
        fake_engine_find(world.engine, "web")->missing = true;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_NOT_FOUND, "web: ");
        ASSERT_TRUE(fake_engine_find(world.engine, "db")->running);
        ASSERT_FALSE(fake_engine_find(world.engine, "cache")->running);
        world_close(&world);
}

static void test_check_that_never_succeeds(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[" REQUIRED(
                                   "db",
                                   "1") ",{\"container\":\"web\",\"startOrder\":2,\"healthCheck\":{\"command\":"
                                        "\"docker exec web check\",\"interval\":50,\"timeout\":400,\"retries\":2}}]");
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_HEALTH_CHECK_FAILED, "web: ");
        ASSERT_FALSE(fake_engine_find(world.engine, "db")->running);
        ASSERT_FALSE(fake_engine_find(world.engine, "web")->running);
        world_close(&world);
}

static void test_container_that_always_dies(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->deaths = UINT32_MAX;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_CONTAINER_EXITED, "exited with status 1");
        expect_lines(&world, "start db, start db, start db");
        world_close(&world);
}

static void test_global_timeout(void) {
        uint64_t begin_usec = time_now(CLOCK_MONOTONIC);
        World world;

        world_open(&world, "\"globalTimeout\":\"3s\"," TWO);
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + 3 * USEC_PER_SEC);
        expect_failed(&world, FAILURE_GLOBAL_TIMEOUT, "globalTimeout of 3.0s; web: exit status 1");
        ASSERT_FALSE(fake_engine_find(world.engine, "db")->running);
        world_close(&world);
}

static void test_engine_that_is_not_there(void) {
        World world;

        world_begin(&world, "\"globalTimeout\":400," TWO);
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_ENGINE_UNAVAILABLE, "engine.sock");
        world_close(&world);
}

static void test_death_after_readiness_is_mended_in_a_wake_under_way(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        world_run_until_line(&world, "unready web");
        fake_engine_forget_lines(world.engine);
        fake_engine_kill(world.engine, "db", 137);
        world_run_until_line(&world, "ready db");
        ASSERT_TRUE(strv_contains(fake_engine_lines(world.engine), "start db"));
        fake_engine_find(world.engine, "web")->failing_checks = 0;
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_death_after_readiness_for_good_fails_a_wake_under_way(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        world_run_until_line(&world, "unready web");
        fake_engine_find(world.engine, "db")->deaths = UINT32_MAX;
        fake_engine_kill(world.engine, "db", 137);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_CONTAINER_EXITED, "db: ");
        ASSERT_FALSE(fake_engine_find(world.engine, "web")->running);
        world_close(&world);
}

/* Whether there is a system bus here or not: why it cannot be had is the business of its own test. */
static void test_required_unit_that_cannot_be_had(void) {
        _cleanup_(status_freep) Status *status = NULL;
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"globalTimeout\":\"10s\",\"dependencies\":[{\"unit\":\"wakechain-test-nowhere.service\"}," REQUIRED(
                                   "web", "2") "]");
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        status = world_status(&world);
        ASSERT_EQ(status->state, SERVICE_FAILED);
        ASSERT_TRUE(strstr(status->error, "wakechain-test-nowhere.service: "));
        expect_lines(&world, "");
        world_close(&world);
}

/* Being stopped */

static void test_stop_in_the_middle_of_a_wake(void) {
        static const char *const moments[] = { "start db", "unready db", "ready db", "start web", "ready web" };

        for (size_t i = 0; i < ELEMENTSOF(moments); i++) {
                World world;

                world_open(&world, TWO);
                fake_engine_find(world.engine, "db")->failing_checks = 2;
                world.stop_at = moments[i];
                world_run_waker(&world);
                ASSERT_EQ(world_run_to_the_end(&world), 0);
                ASSERT_NULL(world.stop_at);
                ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
                ASSERT_FALSE(fake_engine_find(world.engine, "db")->running);
                ASSERT_FALSE(fake_engine_find(world.engine, "web")->running);
                world_close(&world);
        }
}

static void test_stop_before_anything_is_known(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->hangs = true;
        world_run_waker(&world);
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        expect_lines(&world, "");
        world_close(&world);
}

static void test_stop_twice_is_one_stop(void) {
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_forget_lines(world.engine);
        waker_stop(world.waker);
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

static void test_container_that_somebody_uses_is_left(void) {
        _cleanup_(lease_freep) Lease *other = NULL;
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_OK(lease_open(&other, world.root, "db"));
        ASSERT_OK(lease_share(other));
        fake_engine_forget_lines(world.engine);
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web");
        /* The other is now the last, and knows from the record that it may stop it. */
        ASSERT_OK(lease_seize(other));
        world_close(&world);
}

static void test_lock_of_a_stop_elsewhere_is_waited_for(void) {
        _cleanup_(lease_freep) Lease *other = NULL;
        World world;

        world_open(&world, TWO);
        ASSERT_OK(lease_open(&other, world.root, "db"));
        ASSERT_OK(lease_seize(other));
        world_run_waker(&world);
        for (uint64_t until_usec = time_now(CLOCK_MONOTONIC) + 100 * USEC_PER_MSEC;
             time_now(CLOCK_MONOTONIC) < until_usec;)
                world_turn(&world);
        expect_lines(&world, "");
        ASSERT_OK(lease_release(other));
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_record_that_another_service_wrote_meanwhile_is_kept(void) {
        _cleanup_(lease_record_done)
                        LeaseRecord record = { .ours = true, .wake_id = strdup("another"), .started_at = NULL };
        _cleanup_(lease_freep) Lease *other = NULL;
        World world;

        /* We have the lease and its empty record when another service starts the container, and goes away again. */
        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->hangs = true;
        world_run_waker(&world);
        while (fake_engine_inspects(world.engine) == 0)
                world_turn(&world);
        ASSERT_OK(lease_open(&other, world.root, "db"));
        ASSERT_OK(lease_share(other));
        ASSERT_OK(lease_write(other, &record));
        fake_engine_start(world.engine, "db");
        fake_engine_go_on(world.engine, "db");
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_OK(lease_release(other));
        world_put_to_sleep(&world);
        expect_lines(&world, "ready db, start web, ready web, stop web, stop db");
        world_close(&world);
}

/* Being awake */

static void test_lost_container_puts_the_rest_to_sleep(void) {
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_forget_lines(world.engine);
        fake_engine_stop(world.engine, "db");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web");
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        world_close(&world);
}

static void test_restart_by_somebody_else_is_lived_through(void) {
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_forget_lines(world.engine);
        fake_engine_stop(world.engine, "db");
        fake_engine_start(world.engine, "db");
        world_run_until_line(&world, "ready db");
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        expect_lines(&world, "ready db, stop web, stop db");
        world_close(&world);
}

static void test_unused_goes_to_sleep(void) {
        World world;

        world_open(&world, "\"idleTimeout\":300," TWO);
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "start db, ready db, start web, ready web, stop web, stop db");
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        world_close(&world);
}

#define PG_DUMP "\"entrypoint\":\"pg_dump\",\"arguments\":[\"-a\"]"

static void test_exec_of_somebody_else_keeps_awake(void) {
        FakeContainer *db;
        unsigned inspects;
        World world;

        world_open(&world, "\"idleTimeout\":200," TWO);
        db = fake_engine_find(world.engine, "db");
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        db->exec = PG_DUMP;
        /* Two inspects a look, and ten looks a timeout. */
        for (inspects = fake_engine_inspects(world.engine); fake_engine_inspects(world.engine) < inspects + 12;)
                world_turn(&world);
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        fake_engine_forget_lines(world.engine);
        db->exec = NULL;
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

static void world_run_until_busy(World *world, const char *reason) {
        for (;;) {
                _cleanup_(status_freep) Status *status = NULL;

                ASSERT_OK(status_file_read(&status, world->root, "app"));
                if (streq(strempty(status->busy), reason))
                        return;
                world_turn(world);
        }
}

/* The look that finds it also says so in the status, and the one that does not find it any more takes that back. */
static void test_busy_command_keeps_awake(void) {
        _cleanup_free_ char *members = NULL, *job = NULL;
        World world;

        ASSERT_TRUE(asprintf(&job, "/tmp/test-waker-job-%i", (int) getpid()) > 0);
        ASSERT_TRUE(asprintf(&members,
                             "\"idleTimeout\":300,\"busy\":{\"command\":\"test -e %s && echo 2 jobs\"}," TWO,
                             job) > 0);
        ASSERT_EQ(file_replace(job, "", 0, 0600, false), 0);
        world_open(&world, members);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_run_until_busy(&world, "its busy command says so: 2 jobs");
        /* For twice its timeout. */
        for (uint64_t begin = time_now(CLOCK_MONOTONIC); time_now(CLOCK_MONOTONIC) < begin + 600 * USEC_PER_MSEC;)
                ASSERT_OK(sd_event_run(world.event, 10 * USEC_PER_MSEC));
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        ASSERT_EQ(unlink(job), 0);
        world_run_until_busy(&world, "");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        world_close(&world);
}

/* What would be cut is not known. */
static void test_busy_command_that_cannot_be_run(void) {
        World world;

        world_open(&world, "\"idleTimeout\":200,\"busy\":{\"command\":\"/no/such/program\"}," TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        for (uint64_t begin = time_now(CLOCK_MONOTONIC); time_now(CLOCK_MONOTONIC) < begin + 500 * USEC_PER_MSEC;)
                world_turn(&world);
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        world_put_to_sleep(&world);
        world_close(&world);
}

/* Both containers' first process is this one, in a cgroup of the world's. Its cpu.stat is to be freed. */
static char *world_open_with_usage(World *world, const char *members) {
        _cleanup_free_ char *command = NULL;
        char *path;

        world_open(world, members);
        ASSERT_TRUE(asprintf(&path, "%s/sys/fs/cgroup/docker.slice/own/cpu.stat", world->root) > 0);
        ASSERT_TRUE(asprintf(&command,
                             "cd %s && mkdir -p proc/%i sys/fs/cgroup/docker.slice/own && "
                             "printf '1:cpu:/x\\n0::/docker.slice/own\\n' >proc/%i/cgroup",
                             world->root, (int) getpid(), (int) getpid()) > 0);
        ASSERT_EQ(system(command), 0);
        return path;
}

/* Until the status says that, each container uses 35 % of a processor. */
static void world_use_until_busy(World *world, const char *path, const char *reason) {
        uint64_t begin = time_now(CLOCK_MONOTONIC);

        for (;;) {
                _cleanup_(status_freep) Status *status = NULL;
                char usage[64];

                (void) snprintf(usage, sizeof(usage), "usage_usec %" PRIu64 "\n",
                                (time_now(CLOCK_MONOTONIC) - begin) * 35 / 100 + 1000);
                ASSERT_OK(file_replace(path, usage, strlen(usage), 0600, /* sync= */ false));
                ASSERT_OK(sd_event_run(world->event, 10 * USEC_PER_MSEC));
                ASSERT_TRUE(sd_event_get_state(world->event) != SD_EVENT_FINISHED);
                if (status_file_read(&status, world->root, "app") >= 0 && status->busy &&
                    strstr(status->busy, reason))
                        return;
        }
}

static void test_busy_containers_keep_awake(void) {
        _cleanup_free_ char *path = NULL;
        World world;

        path = world_open_with_usage(&world, "\"idleTimeout\":400,\"busy\":{\"cpu\":50}," TWO);
        world_run_waker(&world);
        world_use_until_busy(&world, path, "of a processor");
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        world_close(&world);
}

/* What they use is averaged from the end of what kept them awake before, during which they used nothing. */
static void test_busy_containers_after_a_command(void) {
        _cleanup_free_ char *path = NULL, *members = NULL, *job = NULL;
        World world;

        ASSERT_TRUE(asprintf(&job, "/tmp/test-waker-job-%i", (int) getpid()) > 0);
        ASSERT_TRUE(asprintf(&members,
                             "\"idleTimeout\":1000,\"busy\":{\"cpu\":50,\"command\":\"test -e %s\"}," TWO,
                             job) > 0);
        path = world_open_with_usage(&world, members);
        ASSERT_EQ(file_replace(path, "usage_usec 1000\n", strlen("usage_usec 1000\n"), 0600, false), 0);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        /* A look without it: the processors have been looked at. */
        for (uint64_t begin = time_now(CLOCK_MONOTONIC); time_now(CLOCK_MONOTONIC) < begin + 600 * USEC_PER_MSEC;)
                ASSERT_OK(sd_event_run(world.event, 10 * USEC_PER_MSEC));
        ASSERT_EQ(file_replace(job, "", 0, 0600, false), 0);
        world_run_until_busy(&world, "its busy command says so");
        for (uint64_t begin = time_now(CLOCK_MONOTONIC); time_now(CLOCK_MONOTONIC) < begin + 3 * USEC_PER_SEC;)
                ASSERT_OK(sd_event_run(world.event, 10 * USEC_PER_MSEC));
        ASSERT_EQ(unlink(job), 0);
        world_use_until_busy(&world, path, "of a processor");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        world_close(&world);
}

static void test_execs_may_be_no_use(void) {
        World world;

        world_open(&world, "\"idleTimeout\":200,\"busy\":{\"exec\":false}," TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_find(world.engine, "db")->exec = PG_DUMP;
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        world_close(&world);
}

/* Nor is one that hangs in it since the wake. */
static void test_health_check_is_no_use(void) {
        static const struct {
                const char *exec, *health_test;
        } cases[] = {
                { "\"entrypoint\":\"check\",\"arguments\":null", NULL },
                { PG_DUMP, "\"CMD\",\"pg_dump\",\"-a\"" },
                { "\"entrypoint\":\"/bin/sh\",\"arguments\":[\"-c\",\"pg_isready\"]",
                  "\"CMD-SHELL\",\"pg_isready\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                FakeContainer *db;
                World world;

                world_open(&world, "\"idleTimeout\":200," TWO);
                db = fake_engine_find(world.engine, "db");
                db->health_test = cases[i].health_test;
                world_run_waker(&world);
                world_run_until(&world, SERVICE_AWAKE);
                db->exec = cases[i].exec;
                ASSERT_EQ(world_run_to_the_end(&world), 0);
                world_close(&world);
        }
}

static void test_explicit_stop_does_not_mind_an_exec(void) {
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_find(world.engine, "db")->exec = PG_DUMP;
        world_put_to_sleep(&world);
        world_close(&world);
}

typedef struct Holder {
        Varlink *varlink;
        char states[128]; /* as they came */
        char *error;
        bool ended;
} Holder;

static void holder_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Holder *holder = ASSERT_PTR(userdata);
        json_object *value, *parameters, *status;

        if (json_object_object_get_ex(message, "error", &value)) {
                free(holder->error);
                holder->error = strdup(json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN));
                return;
        }
        if (json_object_object_get_ex(message, "parameters", &parameters) &&
            json_object_object_get_ex(parameters, "status", &status) &&
            json_object_object_get_ex(status, "state", &value)) {
                const char *state = json_object_get_string(value), *last = strrchr(holder->states, ' ');

                if (!streq(state, last ? last + 1 : holder->states))
                        (void) snprintf(holder->states + strlen(holder->states),
                                        sizeof(holder->states) - strlen(holder->states), "%s%s",
                                        holder->states[0] == '\0' ? "" : " ", state);
        }
}

static void holder_on_end(Varlink *varlink, int error, void *userdata) {
        Holder *holder = ASSERT_PTR(userdata);

        holder->ended = true;
        holder->varlink = varlink_free(holder->varlink);
}

/* Takes the parameters. */
static void holder_call_with(Holder *holder, World *world, const char *method, json_object *parameters,
                             bool more) {
        *holder = (Holder){};
        ASSERT_OK(varlink_connect(&holder->varlink, world->event, in_root(world, "control.sock"),
                                  holder_on_message, holder_on_end, holder));
        ASSERT_OK(varlink_call(holder->varlink, method, parameters, more));
        json_object_put(parameters);
}

static void holder_call(Holder *holder, World *world, const char *method, bool more) {
        holder_call_with(holder, world, method, NULL, more);
}

static void holder_done(Holder *holder) {
        varlink_free(holder->varlink);
        free(holder->error);
}

static void test_holder_is_told_and_keeps_awake(void) {
        uint64_t awake_usec;
        Holder holder;
        World world;

        world_open(&world, "\"idleTimeout\":200," TWO);
        holder_call(&holder, &world, "io.wakechain.Hold", true);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        for (awake_usec = time_now(CLOCK_MONOTONIC); time_now(CLOCK_MONOTONIC) < awake_usec + 700 * USEC_PER_MSEC;)
                world_turn(&world);
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        ASSERT_STREQ(holder.states, "waking awake");

        holder.varlink = varlink_free(holder.varlink);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        holder_done(&holder);
        world_close(&world);
}

/* Who has started it is what the fake systemd says. */
static FakeSystemd *world_add_systemd(World *world, bool by_socket) {
        FakeSystemd *systemd = fake_systemd_new(world->event);
        FakeUnit *service = fake_systemd_add(systemd, "wake@app.service");

        service->ended_usec = 10;
        service->began_usec = 30;
        fake_systemd_add(systemd, "wake-control@app.socket")->changed_usec = by_socket ? 20 : 40;
        return systemd;
}

static void test_connection_alone_wakes_nothing(void) {
        static const char *const calls[] = { NULL, "io.wakechain.GetStatus" };

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                FakeSystemd *systemd;
                Holder caller = {};
                World world;
                int fd = -EBADF;

                world_open(&world, TWO);
                systemd = world_add_systemd(&world, /* by_socket= */ true);
                if (calls[i])
                        holder_call(&caller, &world, calls[i], false);
                else
                        fd = connect_unix(in_root(&world, "control.sock"));
                world_run_waker(&world);
                ASSERT_EQ(world_run_to_the_end(&world), 0);
                ASSERT_STREQ(caller.states, calls[i] ? "asleep" : "");
                ASSERT_TRUE(world_status(&world) == NULL);
                expect_lines(&world, "");
                fd_close(fd);
                holder_done(&caller);
                fake_systemd_free(systemd);
                world_close(&world);
        }
}

/* At once, and when systemd is being asked already. */
static void test_call_beside_silent_callers_wakes(void) {
        for (unsigned late = 0; late <= 1; late++) {
                FakeSystemd *systemd;
                Holder holder;
                World world;
                int fd;

                world_open(&world, TWO);
                systemd = world_add_systemd(&world, /* by_socket= */ true);
                fd = connect_unix(in_root(&world, "control.sock"));
                world_run_waker(&world);
                while (fake_systemd_connections(systemd) < late)
                        world_turn(&world);
                holder_call(&holder, &world, "io.wakechain.Hold", true);
                while (!streq(holder.states, "waking awake"))
                        world_turn(&world);
                ASSERT_EQ(fake_systemd_connections(systemd), late);
                world_put_to_sleep(&world);
                fd_close(fd);
                holder_done(&holder);
                fake_systemd_free(systemd);
                world_close(&world);
        }
}

static void test_silent_callers_do_not_keep_from_a_start(void) {
        FakeSystemd *systemd;
        World world;
        int fd;

        world_open(&world, TWO);
        systemd = world_add_systemd(&world, /* by_socket= */ false);
        fd = connect_unix(in_root(&world, "control.sock"));
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        fd_close(fd);
        fake_systemd_free(systemd);
        world_close(&world);
}

static void test_stop_before_a_call(void) {
        FakeSystemd *systemd;
        World world;
        int fd;

        world_open(&world, TWO);
        systemd = world_add_systemd(&world, /* by_socket= */ false);
        fd = connect_unix(in_root(&world, "control.sock"));
        world_run_waker(&world);
        waker_stop(world.waker);
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_TRUE(world_status(&world) == NULL);
        expect_lines(&world, "");
        fd_close(fd);
        fake_systemd_free(systemd);
        world_close(&world);
}

static void test_sleep_by_the_control_socket(void) {
        Holder holder, caller;
        World world;

        world_open(&world, TWO);
        holder_call(&holder, &world, "io.wakechain.Hold", true);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        holder_call(&caller, &world, "io.wakechain.Sleep", false);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        world_kill_waker(&world);
        ASSERT_FALSE(fake_engine_find(world.engine, "db")->running);
        holder_done(&holder);
        holder_done(&caller);
        world_close(&world);
}

/* The loop has ended with the waker: what is left in the socket is read by hand. */
static void expect_wake_failed(Holder *holder, const char *reason) {
        char text[4096] = "";
        ssize_t n;

        if (!holder->error) {
                n = recv(varlink_fd(holder->varlink), text, sizeof(text) - 1, 0);
                ASSERT_TRUE(n > 0);
                /* Of several messages the last. */
                for (ssize_t i = 0; i < n - 1; i++)
                        if (text[i] == '\0')
                                text[i] = '\n';
                holder->error = strdup(text);
                ASSERT_TRUE(holder->error != NULL);
        }
        ASSERT_TRUE(strstr(holder->error, "io.wakechain.WakeFailed") != NULL);
        ASSERT_TRUE(strstr(holder->error, reason) != NULL);
}

static void test_holder_of_a_failed_wake_is_told_why(void) {
        Holder holder;
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->missing = true;
        fake_engine_find(world.engine, "db")->failing_checks = 1;
        holder_call(&holder, &world, "io.wakechain.Hold", true);
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_wake_failed(&holder, "not_found");
        holder_done(&holder);
        world_close(&world);
}

/* Being killed. The descriptor store is played by the test: a second descriptor with the same lock. */

static int store_lease(const World *world, const char *container) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        int fd;

        ASSERT_OK(lease_open(&lease, world->root, container));
        ASSERT_OK(lease_share(lease));
        fd = fcntl(lease_fd(lease), F_DUPFD_CLOEXEC, 3);
        ASSERT_TRUE(fd >= 0);
        return fd;
}

/* Until nothing more happens by itself. */
static void world_rest(World *world) {
        while (sd_event_run(world->event, 300 * USEC_PER_MSEC) > 0)
                ;
}

static void take_over(World *world, int db, int web) {
        world_make_waker(world);
        waker_adopt_descriptor(world->waker, LEASE_FDNAME_PREFIX "db", db);
        waker_adopt_descriptor(world->waker, LEASE_FDNAME_PREFIX "web", web);
        ASSERT_OK(waker_run(world->waker));
}

static void test_killed_while_awake_nothing_is_touched(void) {
        _cleanup_(status_freep) Status *before = NULL, *after = NULL;
        World world;
        int db, web;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        before = world_status(&world);
        db = store_lease(&world, "db");
        web = store_lease(&world, "web");
        world_kill_waker(&world);
        fake_engine_forget_lines(world.engine);

        take_over(&world, db, web);
        while (!waker_is_awake(world.waker)) {
                world_turn(&world);
                ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        }
        expect_lines(&world, "");
        after = world_status(&world);
        ASSERT_STREQ(after->wake_id, before->wake_id);
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

static void test_killed_at_any_moment_starts_each_container_once(void) {
        static const char *const moments[] = { "start db", "unready db", "ready db", "start web", "unready web" };

        for (size_t i = 0; i < ELEMENTSOF(moments); i++) {
                unsigned starts = 0;
                World world;
                int db, web;

                world_open(&world, TWO);
                fake_engine_find(world.engine, "db")->failing_checks = 1;
                fake_engine_find(world.engine, "web")->failing_checks = 1;
                world_run_waker(&world);
                world_run_until_line(&world, moments[i]);
                db = store_lease(&world, "db");
                web = store_lease(&world, "web");
                world_kill_waker(&world);

                take_over(&world, db, web);
                world_run_until(&world, SERVICE_AWAKE);
                for (char *const *line = fake_engine_lines(world.engine); *line; line++)
                        starts += strncmp(*line, "start", 5) == 0;
                ASSERT_EQ(starts, 2);
                /* Both are known to be ours, so both are stopped. */
                fake_engine_forget_lines(world.engine);
                world_put_to_sleep(&world);
                expect_lines(&world, "stop web, stop db");
                world_close(&world);
        }
}

static void test_killed_while_going_to_sleep_goes_on_with_that(void) {
        World world;
        int db, web;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_forget_lines(world.engine);
        fake_engine_find(world.engine, "db")->hangs = true;
        waker_stop(world.waker);
        world_run_until_line(&world, "stop web");
        world_kill_waker(&world);
        db = store_lease(&world, "db");
        web = store_lease(&world, "web");
        fake_engine_find(world.engine, "db")->hangs = false;

        take_over(&world, db, web);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web, stop db");
        ASSERT_TRUE(world_is(&world, SERVICE_ASLEEP));
        world_close(&world);
}

static void test_killed_while_awake_then_stopped_before_a_look(void) {
        World world;
        int db, web;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        db = store_lease(&world, "db");
        web = store_lease(&world, "web");
        world_kill_waker(&world);
        fake_engine_forget_lines(world.engine);

        take_over(&world, db, web);
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

/* A published port */

/* Somebody accepts on it: what the kernel does for a listening socket is enough. */
static int listen_somewhere(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int fd;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(fd, 16), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &address, &size), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static int world_open_published(World *world) {
        _cleanup_free_ char *text = NULL;
        uint16_t port;
        int fd = listen_somewhere(&port);

        fake_port_redirect_forget();
        ASSERT_TRUE(asprintf(&text, "\"port\":%u,\"idleTimeout\":300,\"name\":\"web\",\"dependencies\":[%s]", port,
                             REQUIRED("web", "1")) > 0);
        world_open(world, text);
        fake_engine_find(world->engine, "web")->publishes = port;
        return fd;
}

static void world_run_until_moved(World *world, const char *moves) {
        while (!streq(fake_port_redirect.moves, moves))
                world_turn(world);
}

static void test_idle_port_is_taken_back_before_the_stop(void) {
        World world;
        int fd = world_open_published(&world);

        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_STREQ(fake_port_redirect.moves, "lift restore");
        expect_lines(&world, "start web, ready web, stop web");
        fd_close(fd);
        world_close(&world);
}

static bool world_port_accepts(const World *world) {
        _cleanup_(status_freep) Status *status = world_status(world);

        ASSERT_EQ(status->n_ports, 1);
        return status->ports[0].accepts;
}

/* The wake does not wait for it. */
static void test_further_port_is_given_to_its_container_when_that_accepts(void) {
        _cleanup_close_ int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_(status_freep) Status *status = NULL;
        _cleanup_free_ char *text = NULL, *backend = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint16_t port, further;
        World world;

        fd = listen_somewhere(&port);
        ASSERT_EQ(bind(other, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(getsockname(other, (struct sockaddr *) &address, &(socklen_t){ sizeof(address) }), 0);
        further = ntohs(address.sin_port);
        fake_port_redirect_forget();
        fake_port_redirect.used = true;
        ASSERT_TRUE(asprintf(&text, "\"port\":%u,\"ports\":[%u],\"name\":\"web\",\"dependencies\":[%s]", port,
                             further, REQUIRED("web", "1")) > 0);
        world_open(&world, text);
        fake_engine_find(world.engine, "web")->publishes = port;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_STREQ(fake_port_redirect.moves, "lift");
        ASSERT_FALSE(world_port_accepts(&world));
        status = world_status(&world);
        ASSERT_TRUE(asprintf(&backend, "127.0.0.1:%u", further) > 0);
        ASSERT_EQ(status->ports[0].port, further);
        ASSERT_STREQ(status->ports[0].backends[0], backend);

        ASSERT_EQ(listen(other, 16), 0);
        while (!world_port_accepts(&world))
                world_turn(&world);
        world_run_until_moved(&world, "lift lift");

        /* It runs anew, and nobody knows whether it accepts. */
        ASSERT_EQ(shutdown(other, SHUT_RD), 0);
        fake_engine_kill(world.engine, "web", 1);
        while (world_port_accepts(&world))
                world_turn(&world);
        world_put_to_sleep(&world);
        world_close(&world);
}

/* In the end its clients are to see that nothing listens there. */
static void test_further_port_at_which_nothing_listens_is_given_back(void) {
        _cleanup_close_ int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -EBADF;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_free_ char *text = NULL;
        uint16_t port;
        World world;

        fd = listen_somewhere(&port);
        ASSERT_EQ(bind(other, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(getsockname(other, (struct sockaddr *) &address, &(socklen_t){ sizeof(address) }), 0);
        fake_port_redirect_forget();
        fake_port_redirect.used = true;
        ASSERT_TRUE(asprintf(&text,
                             "\"port\":%u,\"ports\":[%u],\"name\":\"web\",\"globalTimeout\":\"3s\",\"dependencies\":[%s]",
                             port, ntohs(address.sin_port), REQUIRED("web", "1")) > 0);
        world_open(&world, text);
        fake_engine_find(world.engine, "web")->publishes = port;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_FALSE(world_port_accepts(&world));
        while (!world_port_accepts(&world))
                world_turn(&world);
        world_run_until_moved(&world, "lift lift");
        world_put_to_sleep(&world);
        world_close(&world);
}

/* It came after the look that found the stack unused, and before the port was taken back: it has a connection to the container. */
static void test_client_between_the_two_looks_wins(void) {
        World world;
        int fd = world_open_published(&world);

        fake_port_redirect.used_once_restored = true;
        world_run_waker(&world);
        world_run_until_moved(&world, "lift restore lift");
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        expect_lines(&world, "start web, ready web");

        /* When it has gone, the stack sleeps as ever. */
        fake_port_redirect.used = fake_port_redirect.used_once_restored = false;
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        ASSERT_STREQ(fake_port_redirect.moves, "lift restore lift restore");
        expect_lines(&world, "stop web");
        fd_close(fd);
        world_close(&world);
}

/* Clients would meet a stopped container. */
static void test_port_that_cannot_be_taken_back_keeps_awake(void) {
        World world;
        int fd = world_open_published(&world);

        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_port_redirect.error = -EIO;
        world_run_until_moved(&world, "lift restore restore");
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        expect_lines(&world, "start web, ready web");
        fake_port_redirect.error = 0;
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web");
        fd_close(fd);
        world_close(&world);
}

/* Awake already */

static void world_say_outside(World *world) {
        Status status = {
                .service = (char *) "app",
                .state = SERVICE_AWAKE,
                .since_usec = 1767600000 * USEC_PER_SEC,
                .trigger = TRIGGER_OUTSIDE,
        };

        ASSERT_OK(status_file_write(&status, world->root));
}

static void world_know(World *world, const char *container) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, world->root, container));
        ASSERT_OK(lease_write(lease, &(LeaseRecord){ .ours = true, .asleep = true }));
}

static void expect_state(const World *world, ServiceState state, WakeTrigger trigger) {
        _cleanup_(status_freep) Status *status = world_status(world);

        ASSERT_TRUE(status != NULL);
        ASSERT_STREQ(service_state_to_string(status->state), service_state_to_string(state));
        ASSERT_STREQ(wake_trigger_to_string(status->trigger), wake_trigger_to_string(trigger));
}

static void test_started_outside_and_known_sleeps_again(void) {
        _cleanup_(status_freep) Status *status = NULL;
        World world;

        world_open(&world, "\"idleTimeout\":400," TWO);
        world_know(&world, "web");
        fake_engine_find(world.engine, "web")->running = true;
        world_say_outside(&world);
        world_run_waker(&world);
        while (!waker_is_awake(world.waker)) {
                world_turn(&world);
                expect_state(&world, SERVICE_AWAKE, TRIGGER_OUTSIDE);
        }
        status = world_status(&world);
        ASSERT_EQ(status->since_usec, 1767600000 * USEC_PER_SEC);
        /* What it needs was missing. */
        expect_lines(&world, "start db, ready db, ready web");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "stop web, stop db");
        expect_state(&world, SERVICE_ASLEEP, TRIGGER_OUTSIDE);
        world_close(&world);
}

/* A newer version, that was replaced by this one, may have written what this one does not know. */
static void test_unknown_trigger_is_none(void) {
        static const char text[] =
                        "{\"service\":\"app\",\"state\":\"awake\",\"since\":\"2026-01-05T08:00:00.000000Z\","
                        "\"trigger\":\"omen\"}";
        World world;

        world_open(&world, TWO);
        world_know(&world, "web");
        fake_engine_find(world.engine, "web")->running = true;
        ASSERT_OK(file_replace(in_root(&world, "run/wakechain/status/app.json"), text, strlen(text), 0640, false));
        world_run_waker(&world);
        while (!waker_is_awake(world.waker)) {
                world_turn(&world);
                ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        }
        expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_started_outside_and_gone_again_is_woken(void) {
        World world;

        world_open(&world, TWO);
        world_say_outside(&world);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_WAKING);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start db, ready db, start web, ready web");
        expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
        world_put_to_sleep(&world);
        world_close(&world);
}

/* Killed, and stopped before it was started again: no lock is left. */
static void test_killed_and_stopped_while_awake(void) {
        _cleanup_(status_freep) Status *status = NULL;
        World world;

        world_open(&world, "\"adopt\":false," TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_kill_waker(&world);
        fake_engine_forget_lines(world.engine);

        world_run_waker(&world);
        while (!waker_is_awake(world.waker)) {
                world_turn(&world);
                expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
        }
        world_put_to_sleep(&world);
        expect_lines(&world, "stop web, stop db");
        world_close(&world);
}

/* Whatever ends its being watched, somebody else's container serves its clients on. */
static void test_what_is_not_ours_runs_on(void) {
        static const struct {
                const char *members;
                bool asked, all;
                const char *lines;
        } cases[] = {
                { "\"idleTimeout\":300,", false, false,
                  "start db, ready db, ready web, start cron, ready cron, stop cron" },
                { "", true, false, "start db, ready db, ready web, start cron, ready cron, stop cron" },
                { "\"adopt\":false,", true, false,
                  "start db, ready db, ready web, start cron, ready cron, stop cron" },
                { "", true, true,
                  "start db, ready db, ready web, start cron, ready cron, stop cron, stop web, stop db" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(status_freep) Status *status = NULL;
                _cleanup_free_ char *text = NULL;
                Holder caller = {};
                World world;

                ASSERT_TRUE(asprintf(&text, "%s\"name\":\"web\",\"dependencies\":[%s,%s,%s]", cases[i].members,
                                     REQUIRED("db", "1"), REQUIRED("web", "2"), OPTIONAL("cron", "3")) > 0);
                world_open(&world, text);
                fake_engine_find(world.engine, "web")->running = true;
                if (streq(cases[i].members, "\"adopt\":false,"))
                        world_know(&world, "web");
                world_run_waker(&world);
                world_run_until(&world, SERVICE_AWAKE);
                world_run_until_line(&world, "ready cron");
                if (cases[i].all)
                        holder_call_with(&caller, &world, "io.wakechain.Sleep",
                                         json_tokener_parse("{\"all\":true}"), false);
                else if (cases[i].asked)
                        waker_stop(world.waker);
                ASSERT_EQ(world_run_to_the_end(&world), 0);
                holder_done(&caller);
                expect_lines(&world, cases[i].lines);
                expect_state(&world, cases[i].all ? SERVICE_ASLEEP : SERVICE_AWAKE,
                             cases[i].all ? TRIGGER_MANUAL : TRIGGER_OUTSIDE);
                status = world_status(&world);
                for (size_t j = 0; j < status->n_dependencies; j++)
                        ASSERT_STREQ(dependency_state_to_string(status->dependencies[j].state),
                                     cases[i].all || streq(status->dependencies[j].container, "cron") ? "stopped"
                                                                                                      : "ready");
                world_close(&world);
        }
}

/* What has been removed does not run on, whosever it was. */
static void test_removed_one_that_is_not_ours(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->running = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_stop(world.engine, "web");
        fake_engine_remove(world.engine, "web");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_state(&world, SERVICE_ASLEEP, TRIGGER_MANUAL);
        world_close(&world);
}

static void test_kept_one_runs_on(void) {
        World world;

        world_open(&world,
                   "\"name\":\"web\",\"dependencies\":[{\"container\":\"web\",\"keep\":true," CHECK("web") "}]");
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "start web, ready web");
        expect_state(&world, SERVICE_AWAKE, TRIGGER_OUTSIDE);
        world_close(&world);
}

static void test_started_outside_without_what_it_needs_runs_on(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "db")->missing = true;
        fake_engine_find(world.engine, "web")->running = true;
        world_say_outside(&world);
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), EXIT_FAILURE);
        expect_lines(&world, "");
        expect_state(&world, SERVICE_AWAKE, TRIGGER_OUTSIDE);
        world_close(&world);
}

static void test_lost_need_of_one_that_is_not_ours(void) {
        World world;

        world_open(&world, TWO);
        fake_engine_find(world.engine, "web")->running = true;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_rest(&world);
        fake_engine_stop(world.engine, "db");
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_state(&world, SERVICE_AWAKE, TRIGGER_OUTSIDE);
        ASSERT_TRUE(fake_engine_find(world.engine, "web")->running);
        world_close(&world);
}

static void test_damaged_status_is_written_again(void) {
        static const char *const garbage[] = { "", "{", "{\"service\":\"app\",\"state\":\"asleep\"}" };
        World world;

        world_open(&world, TWO);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        world_rest(&world);
        for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
                const char *path = in_root(&world, "run/wakechain/status/app.json");
                struct stat before, after;

                ASSERT_OK(file_replace(path, garbage[i], strlen(garbage[i]), 0640, false));
                waker_mend(world.waker);
                expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
                ASSERT_EQ(unlink(path), 0);
                waker_mend(world.waker);
                expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
                ASSERT_EQ(unlink(path), 0);
                ASSERT_EQ(mkdir(path, 0700), 0);
                waker_mend(world.waker);
                expect_state(&world, SERVICE_AWAKE, TRIGGER_MANUAL);
                /* And not for nothing. */
                ASSERT_EQ(stat(path, &before), 0);
                waker_mend(world.waker);
                ASSERT_EQ(stat(path, &after), 0);
                ASSERT_EQ(before.st_ino, after.st_ino);
        }
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_unknown_descriptor_is_closed(void) {
        World world;
        int fd;

        world_open(&world, TWO);
        world_make_waker(&world);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        waker_adopt_descriptor(world.waker, "lease-of-nobody", fd);
        ASSERT_EQ(fcntl(fd, F_GETFD), -1);
        ASSERT_OK(waker_run(world.waker));
        world_run_until(&world, SERVICE_AWAKE);
        world_put_to_sleep(&world);
        world_close(&world);
}

/* The backend */

static int listen_tcp(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &address, &size), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static int start_listening(sd_event_source *source, uint64_t usec, void *userdata) {
        ASSERT_EQ(listen(*(int *) userdata, 16), 0);
        return 0;
}

static void test_backend_outside_without_any_container_fails(void) {
        World world;

        world_open(&world, "\"listen\":\"127.0.0.1:1\",\"backend\":\"127.0.0.1:2\",\"name\":\"web\","
                           "\"dependencies\":[" OPTIONAL("web", "1") "]");
        fake_engine_find(world.engine, "web")->missing = true;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_NOT_FOUND, "none of its containers");
        world_close(&world);
}

static void test_backend_outside_is_awaited(void) {
        _cleanup_(status_freep) Status *status = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint64_t begin_usec;
        char backend[32];
        uint16_t port;
        World world;

        fd = listen_tcp(&port);
        ASSERT_TRUE(asprintf(&text, "\"listen\":\"127.0.0.1:1\",\"backend\":\"127.0.0.1:%u\"," TWO, port) > 0);
        world_open(&world, text);
        begin_usec = time_now(CLOCK_MONOTONIC);
        ASSERT_OK(sd_event_add_time_relative(world.event, NULL, CLOCK_MONOTONIC, USEC_PER_SEC / 2, 1,
                                             start_listening, &fd));
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + USEC_PER_SEC / 2);

        status = world_status(&world);
        (void) snprintf(backend, sizeof(backend), "127.0.0.1:%u", port);
        ASSERT_EQ(strv_length(status->backends), 1);
        ASSERT_STREQ(status->backends[0], backend);
        world_put_to_sleep(&world);
        world_close(&world);
}

static void test_backend_container_must_accept_though_it_is_optional(void) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint64_t begin_usec;
        uint16_t port;
        World world;

        fd = listen_tcp(&port);
        ASSERT_TRUE(asprintf(&text,
                             "\"listen\":\"127.0.0.1:1\",\"backend\":\"proxy:%u\",\"name\":\"web\",\"dependencies\":[" REQUIRED(
                                             "web", "1") "," OPTIONAL("proxy", "2") "]",
                             port) > 0);
        world_open(&world, text);
        begin_usec = time_now(CLOCK_MONOTONIC);
        ASSERT_OK(sd_event_add_time_relative(world.event, NULL, CLOCK_MONOTONIC, USEC_PER_SEC / 2, 1,
                                             start_listening, &fd));
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + USEC_PER_SEC / 2);
        world_put_to_sleep(&world);

        world_close(&world);
}

static void test_backend_container_that_fails_fails_the_wake(void) {
        World world;

        world_open(&world,
                   "\"listen\":\"127.0.0.1:1\",\"backend\":\"proxy:80\",\"name\":\"web\",\"dependencies\":[" REQUIRED(
                                   "web", "1") "," OPTIONAL("proxy", "2") "]");
        fake_engine_find(world.engine, "proxy")->deaths = UINT32_MAX;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_CONTAINER_EXITED, "proxy: ");
        ASSERT_FALSE(fake_engine_find(world.engine, "web")->running);
        world_close(&world);
}

/* Nothing accepts at either: with UDP, that is no reason to wait. */
static void test_backend_of_udp_need_not_accept(void) {
        static const char *const backends[] = { "127.0.0.1:2", "proxy:2" };

        for (size_t i = 0; i < ELEMENTSOF(backends); i++) {
                _cleanup_free_ char *text = NULL;
                World world;

                ASSERT_TRUE(asprintf(&text,
                                     "\"listen\":\"udp:127.0.0.1:1\",\"backend\":\"%s\",\"name\":\"web\","
                                     "\"dependencies\":[" REQUIRED("web", "1") "," REQUIRED("proxy", "2") "]",
                                     backends[i]) > 0);
                world_open(&world, text);
                world_run_waker(&world);
                world_run_until(&world, SERVICE_AWAKE);
                world_put_to_sleep(&world);
                world_close(&world);
        }
}

/* Joined networks: qbit has vpn's, which publishes for both. */

static void world_open_joined(World *world, const char *service) {
        world_open(world, service);
        strcpy(fake_engine_find(world->engine, "qbit")->joins, "vpn.0");
}

#define JOINED "\"name\":\"qbit\",\"dependencies\":[" REQUIRED("qbit", "1") "," REQUIRED("vpn", "1") "]"

static void test_joined_starts_after_its_owner_and_stops_before(void) {
        World world;

        world_open_joined(&world, JOINED);
        fake_engine_find(world.engine, "vpn")->failing_checks = 1;
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "start vpn, unready vpn, ready vpn, start qbit, ready qbit");
        world_put_to_sleep(&world);
        expect_lines(&world, "stop qbit, stop vpn");
        world_close(&world);
}

static void test_joined_that_the_file_starts_before_its_owner(void) {
        World world;

        world_open_joined(&world,
                          "\"name\":\"qbit\",\"dependencies\":[" REQUIRED("qbit", "1") "," REQUIRED("vpn",
                                                                                                    "2") "]");
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_CONFIG_INVALID,
                      "'qbit' has the network of 'vpn', and is to be started before it");
        expect_lines(&world, "");
        world_close(&world);
}

/* Nobody accepts before the one runs that has the publisher's network, whatever it is called for. */
static void test_backend_is_asked_when_all_of_them_run(void) {
        static const char *const types[] = { "required", "optional" };

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                _cleanup_free_ char *text = NULL;
                _cleanup_close_ int fd = -EBADF;
                uint16_t port;
                World world;

                fd = listen_tcp(&port);
                ASSERT_TRUE(asprintf(&text,
                                     "\"listen\":\"127.0.0.1:1\",\"backend\":\"vpn:%u\",\"name\":\"vpn\",\"dependencies\":[" REQUIRED(
                                                     "vpn",
                                                     "1") ",{\"container\":\"qbit\",\"type\":\"%s\",\"startOrder\":2," CHECK("qbit") "}]",
                                     port, types[i]) > 0);
                world_open_joined(&world, text);
                world_run_waker(&world);
                world_run_until_line(&world, "start qbit");
                ASSERT_TRUE(world_is(&world, SERVICE_WAKING));
                ASSERT_EQ(listen(fd, 16), 0);
                world_run_until(&world, SERVICE_AWAKE);
                world_put_to_sleep(&world);
                world_close(&world);
        }
}

/* Clients are held until both are back. */
static void test_joined_is_restarted_with_its_owner(void) {
        World world;

        world_open_joined(&world, JOINED);
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        for (int i = 0; i < 2; i++) {
                fake_engine_forget_lines(world.engine);
                fake_engine_stop(world.engine, "vpn");
                fake_engine_start(world.engine, "vpn");
                world_run_until(&world, SERVICE_WAKING);
                world_run_until(&world, SERVICE_AWAKE);
                expect_lines(&world, "ready vpn, restart qbit, ready qbit");
        }
        world_put_to_sleep(&world);
        expect_lines(&world, "stop qbit, stop vpn");
        world_close(&world);
}

/* Somebody has started both, and then one of them anew, before anybody of us looked. Whose the run is stays as it is. */
static void test_joined_that_is_found_cut_off(void) {
        World world;

        world_open_joined(&world, JOINED);
        fake_engine_start(world.engine, "vpn");
        fake_engine_start(world.engine, "qbit");
        fake_engine_stop(world.engine, "vpn");
        fake_engine_start(world.engine, "vpn");
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        expect_lines(&world, "ready vpn, restart qbit, ready qbit");
        waker_stop(world.waker);
        ASSERT_EQ(world_run_to_the_end(&world), 0);
        expect_lines(&world, "");
        world_close(&world);
}

/* Who waits for it is none that it could be waiting for. */
static void test_owner_that_crashes_again_and_again(void) {
        FakeContainer *vpn;
        World world;

        world_open_joined(&world, JOINED);
        vpn = fake_engine_find(world.engine, "vpn");
        vpn->restart_policy = "always";
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        vpn->deaths = UINT32_MAX;
        fake_engine_kill(world.engine, "vpn", 1);
        fake_engine_kill(world.engine, "qbit", 1);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_CONTAINER_EXITED, "vpn: exited with status 1, 6 times");
        world_close(&world);
}

static void test_joined_whose_owner_was_made_anew(void) {
        World world;

        world_open_joined(&world, JOINED);
        fake_engine_find(world.engine, "qbit")->compose_service = "torrents";
        world_run_waker(&world);
        world_run_until(&world, SERVICE_AWAKE);
        fake_engine_stop(world.engine, "vpn");
        fake_engine_remove(world.engine, "vpn");
        fake_engine_make(world.engine, "vpn");
        fake_engine_start(world.engine, "vpn");
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_NETWORK_MISSING,
                      "once 'vpn', which does not exist any more: 'docker compose up -d --force-recreate torrents'");
        world_close(&world);

        /* While nobody looked: who it was is not known any more. */
        world_open_joined(&world, JOINED);
        fake_engine_make(world.engine, "vpn");
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        expect_failed(&world, FAILURE_NETWORK_MISSING,
                      "the network of container vpn.0, which does not exist any more: remove it ('docker rm -f qbit')");
        world_close(&world);
}

static void (*const tests[])(void) = {
        test_joined_starts_after_its_owner_and_stops_before,
        test_joined_that_the_file_starts_before_its_owner,
        test_backend_is_asked_when_all_of_them_run,
        test_joined_is_restarted_with_its_owner,
        test_joined_that_is_found_cut_off,
        test_owner_that_crashes_again_and_again,
        test_joined_whose_owner_was_made_anew,
        test_backend_of_udp_need_not_accept,
        test_steps_in_order_and_back,
        test_next_step_waits_for_a_check_that_succeeds,
        test_named_needs_are_enough_to_start,
        test_optional_that_is_missing_costs_nothing,
        test_optional_that_is_never_ready_is_not_waited_for,
        test_optional_that_the_engine_has_trouble_with_is_not_waited_for,
        test_clients_are_served_before_the_last_optional_ones,
        test_running_container_is_checked_and_left_running,
        test_adopted_container_is_stopped_kept_one_is_not,
        test_paused_container_is_unpaused,
        test_container_that_dies_before_its_step_is_started,
        test_death_while_booting_is_forgiven_twice,
        test_transient_answers_are_tried_again,
        test_engine_that_comes_later_is_waited_for,
        test_permanent_refusal_rolls_back_in_reverse_order,
        test_rollback_leaves_what_ran_before,
        test_check_that_never_succeeds,
        test_container_that_always_dies,
        test_global_timeout,
        test_engine_that_is_not_there,
        test_death_after_readiness_is_mended_in_a_wake_under_way,
        test_death_after_readiness_for_good_fails_a_wake_under_way,
        test_required_unit_that_cannot_be_had,
        test_stop_in_the_middle_of_a_wake,
        test_stop_before_anything_is_known,
        test_stop_twice_is_one_stop,
        test_container_that_somebody_uses_is_left,
        test_lock_of_a_stop_elsewhere_is_waited_for,
        test_record_that_another_service_wrote_meanwhile_is_kept,
        test_lost_container_puts_the_rest_to_sleep,
        test_restart_by_somebody_else_is_lived_through,
        test_unused_goes_to_sleep,
        test_exec_of_somebody_else_keeps_awake,
        test_busy_command_keeps_awake,
        test_busy_command_that_cannot_be_run,
        test_busy_containers_keep_awake,
        test_busy_containers_after_a_command,
        test_execs_may_be_no_use,
        test_health_check_is_no_use,
        test_explicit_stop_does_not_mind_an_exec,
        test_holder_is_told_and_keeps_awake,
        test_connection_alone_wakes_nothing,
        test_call_beside_silent_callers_wakes,
        test_silent_callers_do_not_keep_from_a_start,
        test_stop_before_a_call,
        test_sleep_by_the_control_socket,
        test_holder_of_a_failed_wake_is_told_why,
        test_killed_while_awake_nothing_is_touched,
        test_killed_at_any_moment_starts_each_container_once,
        test_killed_while_going_to_sleep_goes_on_with_that,
        test_killed_while_awake_then_stopped_before_a_look,
        test_started_outside_and_known_sleeps_again,
        test_unknown_trigger_is_none,
        test_idle_port_is_taken_back_before_the_stop,
        test_further_port_is_given_to_its_container_when_that_accepts,
        test_further_port_at_which_nothing_listens_is_given_back,
        test_client_between_the_two_looks_wins,
        test_port_that_cannot_be_taken_back_keeps_awake,
        test_started_outside_and_gone_again_is_woken,
        test_killed_and_stopped_while_awake,
        test_what_is_not_ours_runs_on,
        test_removed_one_that_is_not_ours,
        test_kept_one_runs_on,
        test_started_outside_without_what_it_needs_runs_on,
        test_lost_need_of_one_that_is_not_ours,
        test_damaged_status_is_written_again,
        test_unknown_descriptor_is_closed,
        test_backend_outside_is_awaited,
        test_backend_outside_without_any_container_fails,
        test_backend_container_must_accept_though_it_is_optional,
        test_backend_container_that_fails_fails_the_wake,
};

/* With a number as its argument: that test alone. */
int main(int argc, char *argv[]) {
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                if (argc > 1 && strtoul(argv[1], NULL, 10) != i)
                        continue;
                fprintf(stderr, "--- %zu\n", i);
                tests[i]();
        }
        return EXIT_SUCCESS;
}
