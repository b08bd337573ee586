#include <signal.h>

#include "control/waker-call.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/reach.h"
#include "ctl/waking.h"
#include "util/log.h"
#include "util/text.h"

#define LOSSES_MAX 10U

typedef struct WakeOrder {
        Waking *waking;
        const char *name; /* borrowed */
        char *path;
        WakerCall *call;
        bool done; /* awake, or given up */
        bool held;
} WakeOrder;

struct Waking {
        const CtlOptions *options;
        sd_event *event;
        sd_event_source *signals[2];
        Progress *progress;
        WakeOrder *orders;
        size_t n_orders, n_left, n_held;
        bool keeps;
        int outcome;
        WakingHandler handler;
        void *userdata;
};

static void order_done(WakeOrder *order, int outcome) {
        Waking *waking = order->waking;

        if (order->done)
                return;
        order->done = true;
        order->held = waking->keeps && outcome == CTL_FINE;
        waking->n_held += order->held;
        if (!order->held)
                waker_call_stop(order->call);
        waking->outcome = MAX(waking->outcome, outcome);
        if (--waking->n_left > 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(waking->signals); i++)
                waking->signals[i] = sd_event_source_disable_unref(waking->signals[i]);
        waking->handler(waking, waking->outcome, waking->userdata);
}

/* Kept, it is held no longer. */
static void order_lost(WakeOrder *order) {
        Waking *waking = order->waking;

        order->held = false;
        waker_call_stop(order->call);
        if (--waking->n_held == 0 && waking->n_left == 0)
                waking->handler(waking, waking->outcome, waking->userdata);
}

static void waking_on_status(WakerCall *call, const Status *status, void *userdata) {
        WakeOrder *order = ASSERT_PTR(userdata);
        Waking *waking = order->waking;

        if (order->done)
                return;
        if (waking->options->json)
                (void) output_json_line(status_to_json(status));
        if (waking->progress)
                progress_take(waking->progress, (size_t) (order - waking->orders), status);
        if (status->state == SERVICE_AWAKE)
                order_done(order, CTL_FINE);
}

static void interrupt_progress(Waking *waking, bool stays) {
        if (waking->progress)
                progress_interrupt(waking->progress, stays);
}

static void tell_end(const WakeOrder *order, const CallEnding *ending, bool unreachable) {
        const char *why = ending->end == CALL_SILENT ? "its waker says nothing."
                          : ending->end == CALL_LOST ? "its waker ends without an answer."
                          : streq(ending->error_name, "org.varlink.service.PermissionDenied")
                                          ? "its waker does not take that from fronts."
                                          : ending->message;

        if (unreachable) {
                _cleanup_free_ char *wish = text_printf("wake %s", order->name);

                tell_unreachable(strempty(wish), order->name, order->path, ending->error);
        } else
                log_error("%s %s: %s See 'wakectl logs %s'.", order->name,
                          order->held ? "is not held awake any more" : "was not woken", why, order->name);
}

static void waking_on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        WakeOrder *order = ASSERT_PTR(userdata);
        bool unreachable = ending->end == CALL_LOST && ending->error < 0;

        /* Who puts it to sleep ends what holds it. */
        if (order->held && ending->end == CALL_STOPPING) {
                log_notice("%s is put to sleep, and not held awake any more.", order->name);
                order_lost(order);
                return;
        }
        /* Its socket may be away for a moment, which is no reason to give up a hold of hours. */
        if (ending->end != CALL_FAILED && ending->end != CALL_SILENT && (!unreachable || order->held) &&
            ending->n_losses <= LOSSES_MAX)
                return;
        interrupt_progress(order->waking, /* stays= */ order->waking->n_left <= 1);
        tell_end(order, ending, unreachable);
        if (order->held) {
                order->waking->outcome = CTL_FAILED;
                order_lost(order);
        } else
                order_done(order, CTL_FAILED);
}

static int waking_on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Waking *waking = ASSERT_PTR(userdata);

        interrupt_progress(waking, /* stays= */ true);
        for (size_t i = 0; i < waking->n_orders; i++)
                if (!waking->orders[i].done)
                        log_notice("%1$s goes on waking, and sleeps again when nobody uses it: 'wakectl status %1$s' shows how "
                                   "far it is, 'wakectl sleep %1$s' ends it.",
                                   waking->orders[i].name);
        (void) sd_event_exit(waking->event, 128 + (int) info->ssi_signo);
        return 0;
}

int waking_new(Waking **ret, sd_event *event, const CtlOptions *options, char *const *names, size_t n,
               WakingHandler handler, void *userdata) {
        _cleanup_(waking_freep) Waking *waking = new0(Waking, 1);
        static const int wanted[] = { SIGINT, SIGTERM };
        sigset_t signals;
        int r = 0;

        if (!waking)
                return -ENOMEM;
        *waking = (Waking){ .options = options, .event = event, .handler = handler, .userdata = userdata };
        (void) sigemptyset(&signals);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
                (void) sigaddset(&signals, wanted[i]);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        for (size_t i = 0; i < ELEMENTSOF(wanted) && r >= 0; i++)
                r = sd_event_add_signal(event, &waking->signals[i], wanted[i], waking_on_signal, waking);
        if (r >= 0 && !options->quiet && !options->json)
                r = progress_new(&waking->progress, event, names, n);
        waking->orders = r < 0 ? NULL : new0(WakeOrder, n);
        if (r >= 0 && !waking->orders)
                r = -ENOMEM;
        for (; r >= 0 && waking->n_orders < n; waking->n_orders++) {
                WakeOrder *order = &waking->orders[waking->n_orders];

                *order = (WakeOrder){
                        .waking = waking,
                        .name = names[waking->n_orders],
                        .path = waker_call_path("", names[waking->n_orders]),
                };
                r = waker_call_new(&order->call, event, order->path, waking_on_status, waking_on_end, order);
        }
        waking->n_left = waking->n_orders;
        if (r >= 0)
                *ret = TAKE_PTR(waking);
        return r;
}

Waking *waking_free(Waking *waking) {
        if (!waking)
                return NULL;

        for (size_t i = 0; i < waking->n_orders; i++) {
                waker_call_free(waking->orders[i].call);
                free(waking->orders[i].path);
        }
        free(waking->orders);
        progress_free(waking->progress);
        for (size_t i = 0; i < ELEMENTSOF(waking->signals); i++)
                sd_event_source_disable_unref(waking->signals[i]);
        return mfree(waking);
}

void waking_keep(Waking *waking) {
        waking->keeps = true;
}

void waking_begin(Waking *waking) {
        for (size_t i = 0; i < waking->n_orders; i++)
                (void) waker_call_hold(waking->orders[i].call, TRIGGER_MANUAL);
}
