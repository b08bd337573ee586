#include "util/log.h"
#include "util/time.h"
#include "wake/idle.h"

/* Idle: one timer. Looks are a tenth of the timeout apart, and no more often than it is worth. */

#define LOOKS_PER_TIMEOUT 10
#define LOOK_PAUSE_MIN (100 * USEC_PER_MSEC)
#define LOOK_PAUSE_MAX (30 * USEC_PER_SEC)

struct Idle {
        IdleLook look;
        IdleHandler handler;
        void *userdata;
        uint64_t timeout_usec, used_usec;
        sd_event_source *timer;
};

static void idle_arm(Idle *idle, uint64_t now_usec) {
        uint64_t pause = CLAMP(idle->timeout_usec / LOOKS_PER_TIMEOUT, LOOK_PAUSE_MIN, LOOK_PAUSE_MAX);
        uint64_t left = usec_sub(usec_add(idle->used_usec, idle->timeout_usec), now_usec);

        (void) sd_event_source_set_time(idle->timer, usec_add(now_usec, MIN(pause, MAX(left, (uint64_t) 1))));
        (void) sd_event_source_set_enabled(idle->timer, SD_EVENT_ONESHOT);
}

static int idle_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Idle *idle = ASSERT_PTR(userdata);
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);

        if (idle->look(idle->userdata))
                idle->used_usec = now_usec;
        if (now_usec < usec_add(idle->used_usec, idle->timeout_usec)) {
                idle_arm(idle, now_usec);
                return 0;
        }
        idle->handler(idle, idle->userdata);
        return 0;
}

int idle_new(Idle **ret, sd_event *event, uint64_t timeout_usec, IdleLook look, IdleHandler handler,
             void *userdata) {
        _cleanup_(idle_freep) Idle *idle = NULL;
        int r;

        assert(ret);
        assert(timeout_usec > 0);

        idle = malloc(sizeof(*idle));
        if (!idle)
                return -ENOMEM;
        *idle = (Idle){
                .look = look,
                .handler = handler,
                .userdata = userdata,
                .timeout_usec = timeout_usec,
        };
        r = sd_event_add_time(event, &idle->timer, CLOCK_MONOTONIC, USEC_INFINITY, 50 * USEC_PER_MSEC,
                              idle_on_timer, idle);
        if (r < 0)
                return r;
        idle_touch(idle);
        *ret = TAKE_PTR(idle);
        return 0;
}

Idle *idle_free(Idle *idle) {
        if (!idle)
                return NULL;

        sd_event_source_disable_unref(idle->timer);
        return mfree(idle);
}

void idle_touch(Idle *idle) {
        idle->used_usec = time_now(CLOCK_MONOTONIC);
        idle_arm(idle, idle->used_usec);
}
