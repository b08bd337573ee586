#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "fake-engine.h"
#include "io/lease.h"
#include "io/varlink.h"
#include "test.h"
#include "util/fd.h"
#include "wake/report.h"
#include "wake/waker.h"

/* The whole waker against a scripted engine, both on one event loop, in a root of their own. Redirects are the machine tests' business:
 * the services here have no port, or listen themselves. */

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
        int r = report_read(&status, "app", world->root);

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

        world_open(&world, "\"globalTimeout\":600," TWO);
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world_run_waker(&world);
        ASSERT_EQ(world_run_to_the_end(&world), 1);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + 600 * USEC_PER_MSEC);
        expect_failed(&world, FAILURE_GLOBAL_TIMEOUT, "globalTimeout");
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

static void holder_call(Holder *holder, World *world, const char *method, bool more) {
        *holder = (Holder){};
        ASSERT_OK(varlink_connect(&holder->varlink, world->event, in_root(world, "control.sock"),
                                  holder_on_message, holder_on_end, holder));
        ASSERT_OK(varlink_call(holder->varlink, method, NULL, more));
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
        world_run_until(&world, SERVICE_WAKING);
        world_run_until(&world, SERVICE_AWAKE);
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

static void (*const tests[])(void) = {
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
        test_holder_is_told_and_keeps_awake,
        test_sleep_by_the_control_socket,
        test_holder_of_a_failed_wake_is_told_why,
        test_killed_while_awake_nothing_is_touched,
        test_killed_at_any_moment_starts_each_container_once,
        test_killed_while_going_to_sleep_goes_on_with_that,
        test_killed_while_awake_then_stopped_before_a_look,
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
