#include <signal.h>
#include <systemd/sd-event.h>

#include "control/waker-call.h"
#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/reach.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl wake: holds each of the stacks until it is awake, as a front does for its clients. The hold ends with us, the wake does not: it
 * belongs to the waker. */

#define LOSSES_MAX 10U

typedef struct Wake Wake;

typedef struct WakeOrder {
        Wake *wake;
        const char *name;
        char *path;
        WakerCall *call;
        bool done;
} WakeOrder;

struct Wake {
        const CtlOptions *options;
        sd_event *event;
        Progress *progress;
        WakeOrder *orders;
        size_t n_orders, n_left;
        int outcome;
};

static void wake_order_done(WakeOrder *order, int outcome) {
        Wake *wake = order->wake;

        if (order->done)
                return;
        order->done = true;
        waker_call_stop(order->call);
        wake->outcome = MAX(wake->outcome, outcome);
        if (--wake->n_left == 0)
                (void) sd_event_exit(wake->event, wake->outcome);
}

static void wake_on_status(WakerCall *call, const Status *status, void *userdata) {
        WakeOrder *order = ASSERT_PTR(userdata);
        Wake *wake = order->wake;

        if (wake->options->json)
                (void) output_json_line(status_to_json(status));
        if (wake->progress)
                progress_take(wake->progress, (size_t) (order - wake->orders), status);
        if (status->state == SERVICE_AWAKE)
                wake_order_done(order, CTL_FINE);
}

static void wake_interrupt_progress(Wake *wake, bool stays) {
        if (wake->progress)
                progress_interrupt(wake->progress, stays);
}

static void wake_on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        WakeOrder *order = ASSERT_PTR(userdata);
        bool unreachable = ending->end == CALL_LOST && ending->error < 0;

        if (ending->end != CALL_FAILED && ending->end != CALL_SILENT && !unreachable &&
            ending->n_losses <= LOSSES_MAX)
                return;
        wake_interrupt_progress(order->wake, /* stays= */ order->wake->n_left <= 1);
        if (unreachable) {
                _cleanup_free_ char *wish = text_printf("wake %s", order->name);

                tell_unreachable(strempty(wish), order->name, order->path, ending->error);
        } else
                log_error("%s was not woken: %s See 'wakectl logs %s'.", order->name,
                          ending->end == CALL_SILENT ? "its waker says nothing."
                          : ending->end == CALL_LOST ? "its waker ends without an answer."
                          : streq(ending->error_name, "org.varlink.service.PermissionDenied")
                                          ? "its waker does not take that from fronts."
                                          : ending->message,
                          order->name);
        wake_order_done(order, CTL_FAILED);
}

static int wake_on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Wake *wake = ASSERT_PTR(userdata);

        wake_interrupt_progress(wake, /* stays= */ true);
        for (size_t i = 0; i < wake->n_orders; i++)
                if (!wake->orders[i].done)
                        log_notice("%1$s goes on waking, and sleeps again when nobody uses it: 'wakectl status %1$s' shows how "
                                   "far it is, 'wakectl sleep %1$s' ends it.",
                                   wake->orders[i].name);
        (void) sd_event_exit(wake->event, 128 + (int) info->ssi_signo);
        return 0;
}

static int wake_begin(Wake *wake, int argc, char **argv) {
        sigset_t signals;
        int r;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        r = sd_event_new(&wake->event);
        if (r >= 0)
                r = sd_event_add_signal(wake->event, NULL, SIGINT, wake_on_signal, wake);
        if (r >= 0)
                r = sd_event_add_signal(wake->event, NULL, SIGTERM, wake_on_signal, wake);
        if (r >= 0 && !wake->options->quiet && !wake->options->json)
                r = progress_new(&wake->progress, wake->event, argv, (size_t) argc);
        wake->orders = r < 0 ? NULL : new0(WakeOrder, (size_t) argc);
        if (r >= 0 && !wake->orders)
                r = -ENOMEM;
        for (; r >= 0 && wake->n_orders < (size_t) argc; wake->n_orders++) {
                WakeOrder *order = &wake->orders[wake->n_orders];

                *order = (WakeOrder){
                        .wake = wake,
                        .name = argv[wake->n_orders],
                        .path = waker_call_path("", argv[wake->n_orders]),
                };
                r = waker_call_new(&order->call, wake->event, order->path, wake_on_status, wake_on_end, order);
        }
        wake->n_left = wake->n_orders;
        return r;
}

static void wake_done(Wake *wake) {
        for (size_t i = 0; i < wake->n_orders; i++) {
                waker_call_free(wake->orders[i].call);
                free(wake->orders[i].path);
        }
        free(wake->orders);
        progress_free(wake->progress);
        sd_event_unref(wake->event);
}

int verb_wake(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(wake_done) Wake wake = { .options = options };
        int r;

        if (!are_service_names(argv, argc))
                return CTL_USAGE;
        r = wake_begin(&wake, argc, argv);
        for (size_t i = 0; r >= 0 && i < wake.n_orders; i++)
                (void) waker_call_hold(wake.orders[i].call, TRIGGER_MANUAL);
        if (r >= 0)
                r = sd_event_loop(wake.event);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for the wakers: %m");
                return CTL_FAILED;
        }
        return r;
}
