#include <sys/queue.h>

#include "control/status-file.h"
#include "control/waker-call.h"
#include "model/wake-pause.h"
#include "util/log.h"
#include "web/orders.h"

/* Orders: one call of a service's waker each. What becomes of it is told by the status file, to everybody; here only its end matters. A wake
 * that fails is kept, without its call, until the stack is awake: who wants it again waits as he would at a front. A stack that sleeps already
 * is put to sleep as well: what somebody else has started may run. */

#define WAKE_LOSSES_MAX 10U
#define SLEEP_LOSSES_MAX 5U

typedef struct Order {
        Orders *orders;
        LIST_ENTRY(Order) entry;
        char *service;
        bool sleeps; /* or wakes */
        WakerCall *call;
        bool under_way;
        unsigned failures; /* of wakes, in a row, and the pause after them (CLOCK_MONOTONIC) */
        uint64_t until_usec;
        char *reason;
} Order;

struct Orders {
        sd_event *event;
        char *root;
        OrdersHandler on_idle;
        void *userdata;
        LIST_HEAD(, Order) list;
};

static Order *order_free(Order *order) {
        if (!order)
                return NULL;

        LIST_REMOVE(order, entry);
        waker_call_free(order->call);
        free(order->service);
        free(order->reason);
        return mfree(order);
}

static void order_end(Order *order) {
        Orders *orders = order->orders;

        (void) order_free(order);
        if (!orders_are_used(orders))
                orders->on_idle(orders, orders->userdata);
}

static void wake_fail(Order *order, const char *reason) {
        Orders *orders = order->orders;

        log_info("%s was not woken: %s", order->service, reason);
        free(order->reason);
        order->reason = strdup(reason);
        waker_call_stop(order->call);
        order->under_way = false;
        order->until_usec = usec_add(time_now(CLOCK_MONOTONIC),
                                     wake_pause_usec(++order->failures, WAKE_PAUSE_MAX_USEC));
        if (!orders_are_used(orders))
                orders->on_idle(orders, orders->userdata);
}

static void wake_on_status(WakerCall *call, const Status *status, void *userdata) {
        if (status->state == SERVICE_AWAKE)
                order_end(ASSERT_PTR(userdata));
}

static void wake_on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        Order *order = ASSERT_PTR(userdata);

        if (!order->under_way)
                return; /* the first try: orders_begin() looks at it */
        if (ending->end == CALL_FAILED)
                wake_fail(order, ending->message);
        else if (ending->end == CALL_SILENT || ending->n_losses > WAKE_LOSSES_MAX)
                wake_fail(order, "its waker does not answer.");
}

static bool is_stopping(const Order *order) {
        _cleanup_(status_freep) Status *status = NULL;

        return status_file_read(&status, order->orders->root, order->service) >= 0 &&
               status->state == SERVICE_STOPPING;
}

static void sleep_on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        Order *order = ASSERT_PTR(userdata);

        if (!order->under_way)
                return;
        if (ending->end == CALL_FAILED)
                log_warning("%s was not put to sleep: its waker answers %s", order->service, ending->message);
        if (ending->end == CALL_FAILED || ending->n_losses >= SLEEP_LOSSES_MAX ||
            (ending->end == CALL_DONE && !is_stopping(order)))
                order_end(order);
}

static Order *orders_find(const Orders *orders, const char *service, bool sleeps) {
        for (Order *order = LIST_FIRST(&orders->list); order; order = LIST_NEXT(order, entry))
                if (order->sleeps == sleeps && streq(order->service, service))
                        return order;
        return NULL;
}

static int orders_add(Orders *orders, const char *service, bool sleeps, Order **ret) {
        _cleanup_free_ char *path = waker_call_path(orders->root, service);
        Order *order = new0(Order, 1);
        int r;

        if (!order)
                return -ENOMEM;
        *order = (Order){
                .orders = orders,
                .service = strdup(service),
                .sleeps = sleeps,
        };
        LIST_INSERT_HEAD(&orders->list, order, entry);

        r = order->service ? waker_call_new(&order->call, orders->event, path, wake_on_status,
                                            sleeps ? sleep_on_end : wake_on_end, order)
                           : -ENOMEM;
        if (r < 0)
                (void) order_free(order);
        else
                *ret = order;
        return r;
}

static int orders_begin(Orders *orders, const char *service, bool sleeps) {
        Order *order = orders_find(orders, service, sleeps);
        int r;

        if (order && order->under_way)
                return 0;
        if (order && time_now(CLOCK_MONOTONIC) < order->until_usec)
                return -EBUSY;
        r = order ? 0 : orders_add(orders, service, sleeps, &order);
        if (r < 0)
                return r;

        r = sleeps ? waker_call_sleep(order->call) : waker_call_hold(order->call, TRIGGER_API);
        order->under_way = r >= 0 || r == -EAGAIN;
        if (order->under_way)
                return 0;
        waker_call_stop(order->call);
        if (order->failures == 0)
                (void) order_free(order);
        return r;
}

int orders_wake(Orders *orders, const char *service) {
        return orders_begin(orders, service, /* sleeps= */ false);
}

int orders_sleep(Orders *orders, const char *service) {
        return orders_begin(orders, service, /* sleeps= */ true);
}

uint64_t orders_pause(const Orders *orders, const char *service, const char **ret_reason) {
        const Order *order = orders_find(orders, service, /* sleeps= */ false);

        *ret_reason = order ? strempty(order->reason) : "";
        return order ? usec_sub(order->until_usec, time_now(CLOCK_MONOTONIC)) : 0;
}

void orders_forget(Orders *orders, const char *service) {
        Order *order = orders_find(orders, service, /* sleeps= */ false);

        if (order && !order->under_way)
                (void) order_free(order);
}

bool orders_are_used(const Orders *orders) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        for (const Order *order = LIST_FIRST(&orders->list); order; order = LIST_NEXT(order, entry))
                if (order->under_way || now < order->until_usec)
                        return true;
        return false;
}

int orders_new(Orders **ret, sd_event *event, const char *root, OrdersHandler on_idle, void *userdata) {
        _cleanup_(orders_freep) Orders *orders = new0(Orders, 1);

        assert(on_idle);

        if (!orders)
                return -ENOMEM;
        *orders = (Orders){
                .event = sd_event_ref(event), .root = strdup(root), .on_idle = on_idle, .userdata = userdata
        };
        if (!orders->root)
                return -ENOMEM;
        *ret = TAKE_PTR(orders);
        return 0;
}

Orders *orders_free(Orders *orders) {
        if (!orders)
                return NULL;

        while (!LIST_EMPTY(&orders->list))
                (void) order_free(LIST_FIRST(&orders->list));
        sd_event_unref(orders->event);
        free(orders->root);
        return mfree(orders);
}
