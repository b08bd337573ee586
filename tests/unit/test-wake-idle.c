#include "test.h"
#include "util/time.h"
#include "wake/idle.h"

/* Times are real here, and only lower bounds are looked at: a loaded machine is late, never early. */

#define TIMEOUT (300 * USEC_PER_MSEC)

typedef struct Watch {
        sd_event *event;
        unsigned n_looks, n_used; /* the first so many looks find use */
        unsigned n_idle;
        uint64_t idle_usec, last_used_usec;
} Watch;

static bool watch_look(void *userdata) {
        Watch *watch = ASSERT_PTR(userdata);

        if (watch->n_looks++ >= watch->n_used)
                return false;
        watch->last_used_usec = time_now(CLOCK_MONOTONIC);
        return true;
}

static void watch_on_idle(Idle *idle, void *userdata) {
        Watch *watch = ASSERT_PTR(userdata);

        watch->n_idle++;
        watch->idle_usec = time_now(CLOCK_MONOTONIC);
        (void) sd_event_exit(watch->event, 0);
}

static int touch_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        idle_touch(userdata);
        return 0;
}

static void run(Watch *watch, bool touch) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(idle_freep) Idle *idle = NULL;

        ASSERT_OK(sd_event_new(&event));
        watch->event = event;
        watch->last_used_usec = time_now(CLOCK_MONOTONIC);
        ASSERT_OK(idle_new(&idle, event, TIMEOUT, watch_look, watch_on_idle, watch));
        if (touch)
                ASSERT_OK(sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, TIMEOUT / 2, 1, touch_on_timer,
                                                     idle));
        ASSERT_OK(sd_event_loop(event));
}

static void test_unused_ends_once_and_not_before_its_time(void) {
        Watch watch = {};
        uint64_t begin_usec = time_now(CLOCK_MONOTONIC);

        run(&watch, false);
        ASSERT_EQ(watch.n_idle, 1);
        ASSERT_TRUE(watch.idle_usec >= begin_usec + TIMEOUT);
        ASSERT_TRUE(watch.n_looks >= 2);
}

static void test_use_counts_from_the_last_look_that_found_it(void) {
        Watch watch = { .n_used = 3 };

        run(&watch, false);
        ASSERT_EQ(watch.n_idle, 1);
        ASSERT_TRUE(watch.idle_usec >= watch.last_used_usec + TIMEOUT);
}

static void test_touch_starts_anew(void) {
        Watch watch = {};
        uint64_t begin_usec = time_now(CLOCK_MONOTONIC);

        run(&watch, true);
        ASSERT_TRUE(watch.idle_usec >= begin_usec + TIMEOUT / 2 + TIMEOUT);
}

static void test_timeout_of_any_length_is_accepted(void) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(idle_freep) Idle *shortest = NULL, *longest = NULL;
        Watch watch = {};

        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(idle_new(&shortest, event, 1, watch_look, watch_on_idle, &watch));
        ASSERT_OK(idle_new(&longest, event, USEC_INFINITY - 1, watch_look, watch_on_idle, &watch));
        watch.event = event;
        ASSERT_OK(sd_event_loop(event));
        ASSERT_EQ(watch.n_idle, 1);
}

int main(void) {
        test_unused_ends_once_and_not_before_its_time();
        test_use_counts_from_the_last_look_that_found_it();
        test_touch_starts_anew();
        test_timeout_of_any_length_is_accepted();
        return EXIT_SUCCESS;
}
