#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/config.h"
#include "control/status-file.h"
#include "fake-engine.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"
#include "wake/waker.h"

/* The wall clock jumps by an hour while a waker wakes, while it is awake and before it is idle: nothing that it waits for is measured by that
 * clock. No test machine of ours may set its clock, which is the host's, so here clock_gettime() is ours, for libsystemd as well. */

#define PATIENCE_USEC (20 * USEC_PER_SEC)
#define HOUR (60 * 60)

static time_t jumped_sec;

/* What the linker takes for everybody in this process. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = (int) syscall(SYS_clock_gettime, clock, ret);

        if (r == 0 && clock == CLOCK_REALTIME)
                ret->tv_sec += jumped_sec;
        return r;
}

typedef struct World {
        sd_event *event;
        char root[32];
        FakeEngine *engine;
        Config *config;
        Waker *waker;
        const char *jump_at; /* the engine's line at which the clock jumps by: */
        time_t jump_sec;
} World;

static void world_on_line(FakeEngine *engine, const char *line, void *userdata) {
        World *world = ASSERT_PTR(userdata);

        if (world->jump_at && streq(world->jump_at, line))
                jumped_sec += world->jump_sec;
}

/* `service` are members of the service. */
static void world_open(World *world, const char *service) {
        static const char *const folders[] = { "run/wakechain/status", "run/wakechain/lease" };
        _cleanup_(problem_list_done) ProblemList problems = {};
        char path[128], text[512];

        jumped_sec = 0;
        *world = (World){ .root = "/tmp/test-clock-XXXXXX" };
        ASSERT_TRUE(mkdtemp(world->root) != NULL);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                (void) snprintf(path, sizeof(path), "%s/%s", world->root, folders[i]);
                ASSERT_OK(directory_make(path));
        }
        ASSERT_OK(sd_event_new(&world->event));

        (void) snprintf(path, sizeof(path), "%s/engine.sock", world->root);
        (void) snprintf(text, sizeof(text),
                        "{\"engineSocket\":\"%s\",\"services\":{\"app\":{\"name\":\"web\",%s,\"dependencies\":["
                        "{\"container\":\"web\",\"healthCheck\":{\"command\":\"docker exec web check\",\"interval\":50,"
                        "\"timeout\":10000}}]}}}",
                        path, service);
        ASSERT_OK(config_parse(&world->config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(problems.n_errors, 0);
        world->engine = fake_engine_new(world->event, path);
        fake_engine_set_handler(world->engine, world_on_line, world);
        fake_engine_add(world->engine, "web")->failing_checks = 3;
        ASSERT_OK(waker_new(&world->waker, world->event, world->config, config_find(world->config, "app"),
                            &(WakerOptions){ .root = world->root, .control_fd = -EBADF }));
        ASSERT_OK(waker_run(world->waker));
}

static void world_close(World *world) {
        _cleanup_free_ char *command = NULL;

        waker_free(world->waker);
        fake_engine_free(world->engine);
        config_free(world->config);
        sd_event_unref(world->event);
        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", world->root) > 0);
        ASSERT_EQ(system(command), 0);
}

static bool world_is(const World *world, ServiceState state) {
        _cleanup_(status_freep) Status *status = NULL;

        return status_file_read(&status, world->root, "app") >= 0 && status->state == state;
}

/* Until it is so, or it has ended otherwise. */
static void world_run_until(World *world, ServiceState state) {
        uint64_t until_usec = time_now(CLOCK_MONOTONIC) + PATIENCE_USEC;

        while (!world_is(world, state)) {
                ASSERT_TRUE(time_now(CLOCK_MONOTONIC) < until_usec);
                ASSERT_TRUE(sd_event_get_state(world->event) != SD_EVENT_FINISHED);
                ASSERT_OK(sd_event_run(world->event, PATIENCE_USEC));
        }
}

static void test_the_clock_is_ours(void) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        uint64_t before_usec, after_usec;

        jumped_sec = 0;
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(sd_event_now(event, CLOCK_REALTIME, &before_usec));
        jumped_sec = 2 * HOUR;
        ASSERT_OK(sd_event_now(event, CLOCK_REALTIME, &after_usec));
        ASSERT_TRUE(after_usec - before_usec > HOUR * USEC_PER_SEC);
}

/* Neither the check's time nor globalTimeout is over. */
static void test_forward_while_it_wakes(void) {
        World world;

        world_open(&world, "\"globalTimeout\":\"5min\"");
        world.jump_at = "unready web";
        world.jump_sec = HOUR;
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_EQ(jumped_sec, 3 * HOUR);
        world_close(&world);
}

static void test_back_while_it_wakes(void) {
        World world;

        world_open(&world, "\"globalTimeout\":\"5min\"");
        world.jump_at = "unready web";
        world.jump_sec = -HOUR;
        world_run_until(&world, SERVICE_AWAKE);
        ASSERT_EQ(jumped_sec, -3 * HOUR);
        world_close(&world);
}

/* A wake that is never ready fails in its own time, however far back the clock goes. */
static void test_back_before_global_timeout(void) {
        World world;

        world_open(&world, "\"globalTimeout\":\"3s\"");
        fake_engine_find(world.engine, "web")->failing_checks = UINT32_MAX;
        world.jump_at = "start web";
        world.jump_sec = -HOUR;
        world_run_until(&world, SERVICE_FAILED);
        ASSERT_EQ(jumped_sec, -HOUR);
        world_close(&world);
}

/* Unused for an hour, says the wall clock; but nobody has waited for that. */
static void test_forward_while_awake(void) {
        uint64_t until_usec;
        World world;

        world_open(&world, "\"idleTimeout\":\"10s\"");
        world_run_until(&world, SERVICE_AWAKE);
        jumped_sec = HOUR;
        /* Two looks at whether it is used. */
        until_usec = time_now(CLOCK_MONOTONIC) + 2500 * USEC_PER_MSEC;
        while (time_now(CLOCK_MONOTONIC) < until_usec)
                ASSERT_OK(sd_event_run(world.event, USEC_PER_SEC / 2));
        ASSERT_TRUE(world_is(&world, SERVICE_AWAKE));
        world_close(&world);
}

static void test_back_while_awake(void) {
        World world;

        world_open(&world, "\"idleTimeout\":300");
        world_run_until(&world, SERVICE_AWAKE);
        jumped_sec = -HOUR;
        world_run_until(&world, SERVICE_ASLEEP);
        ASSERT_FALSE(fake_engine_find(world.engine, "web")->running);
        world_close(&world);
}

int main(void) {
        test_the_clock_is_ours();
        test_forward_while_it_wakes();
        test_back_while_it_wakes();
        test_back_before_global_timeout();
        test_forward_while_awake();
        test_back_while_awake();
        return EXIT_SUCCESS;
}
