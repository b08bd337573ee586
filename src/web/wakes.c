#include <stdio.h>

#include "io/hold.h"
#include "util/log.h"
#include "web/wakes.h"

/* Wakes: one Hold a service. What becomes of it is told by the status file, to everybody; here only its end matters. A waker that is just
 * putting the stack to sleep, or that is killed, has a successor, which is asked again. */

#define AGAIN_USEC (200 * USEC_PER_MSEC)
#define ATTEMPTS_MAX 25U

typedef struct Wake Wake;

struct Wake {
        Wakes *wakes;
        Wake *next, **previous; /* intrusive list: the pointer that points here */
        char *service;
        Hold *hold;
        sd_event_source *again;
        unsigned n_attempts;
};

struct Wakes {
        sd_event *event;
        char *root;
        WakesHandler on_idle;
        void *userdata;
        Wake *wakes;
        size_t n_wakes;
};

static Wake *wake_free(Wake *wake) {
        if (!wake)
                return NULL;

        *wake->previous = wake->next;
        if (wake->next)
                wake->next->previous = wake->previous;
        wake->wakes->n_wakes--;
        hold_free(wake->hold);
        sd_event_source_disable_unref(wake->again);
        free(wake->service);
        return mfree(wake);
}

static void wake_end(Wake *wake) {
        Wakes *wakes = wake->wakes;

        (void) wake_free(wake);
        if (wakes->n_wakes == 0)
                wakes->on_idle(wakes, wakes->userdata);
}

static void wake_try_later(Wake *wake) {
        wake->hold = hold_free(wake->hold);
        if (wake->n_attempts < ATTEMPTS_MAX && sd_event_source_set_time_relative(wake->again, AGAIN_USEC) >= 0 &&
            sd_event_source_set_enabled(wake->again, SD_EVENT_ONESHOT) >= 0)
                return;
        log_warning("The waker of %s does not answer, giving up.", wake->service);
        wake_end(wake);
}

static void wake_on_status(Hold *hold, const Status *status, void *userdata) {
        Wake *wake = ASSERT_PTR(userdata);

        if (status->state == SERVICE_AWAKE)
                wake_end(wake);
}

static void wake_on_end(Hold *hold, HoldEnd end, FailureReason reason, void *userdata) {
        Wake *wake = ASSERT_PTR(userdata);

        if (end != HOLD_FAILED) {
                wake_try_later(wake);
                return;
        }
        log_info("%s was not woken: %s", wake->service, hold_message(hold));
        wake_end(wake);
}

/* -EAGAIN: not now. */
static int wake_try(Wake *wake) {
        _cleanup_free_ char *path = NULL;

        wake->n_attempts++;
        if (asprintf(&path, "%s/run/wakechain/control/%s.sock", wake->wakes->root, wake->service) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        return hold_new(&wake->hold, wake->wakes->event, path, TRIGGER_API, wake_on_status, wake_on_end, wake);
}

static int wake_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Wake *wake = ASSERT_PTR(userdata);
        int r;

        r = wake_try(wake);
        if (r >= 0)
                return 0;
        log_debug_errno(r, "Failed to ask the waker of %s once more: %m", wake->service);
        wake_try_later(wake);
        return 0;
}

static Wake *wakes_find(const Wakes *wakes, const char *service) {
        for (Wake *wake = wakes->wakes; wake; wake = wake->next)
                if (streq(wake->service, service))
                        return wake;
        return NULL;
}

int wakes_begin(Wakes *wakes, const char *service) {
        Wake *wake;
        int r;

        if (wakes_find(wakes, service))
                return 0;
        wake = new0(Wake, 1);
        if (!wake)
                return -ENOMEM;
        *wake = (Wake){
                .wakes = wakes, .next = wakes->wakes, .previous = &wakes->wakes, .service = strdup(service)
        };
        if (wake->next)
                wake->next->previous = &wake->next;
        wakes->wakes = wake;
        wakes->n_wakes++;

        r = wake->service ? sd_event_add_time(wakes->event, &wake->again, CLOCK_MONOTONIC, 0, 0, wake_on_again,
                                              wake)
                          : -ENOMEM;
        if (r >= 0)
                r = sd_event_source_set_enabled(wake->again, SD_EVENT_OFF);
        if (r >= 0)
                r = wake_try(wake);
        if (r == -EAGAIN) {
                (void) sd_event_source_set_time_relative(wake->again, AGAIN_USEC);
                r = sd_event_source_set_enabled(wake->again, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                (void) wake_free(wake);
        return r;
}

size_t wakes_length(const Wakes *wakes) {
        return wakes->n_wakes;
}

int wakes_new(Wakes **ret, sd_event *event, const char *root, WakesHandler on_idle, void *userdata) {
        Wakes *wakes = new0(Wakes, 1);

        assert(ret);
        assert(on_idle);

        if (!wakes)
                return -ENOMEM;
        *wakes = (Wakes){
                .event = sd_event_ref(event), .root = strdup(root), .on_idle = on_idle, .userdata = userdata
        };
        if (!wakes->root) {
                (void) wakes_free(wakes);
                return -ENOMEM;
        }
        *ret = wakes;
        return 0;
}

Wakes *wakes_free(Wakes *wakes) {
        if (!wakes)
                return NULL;

        while (wakes->wakes)
                (void) wake_free(wakes->wakes);
        sd_event_unref(wakes->event);
        free(wakes->root);
        return mfree(wakes);
}
