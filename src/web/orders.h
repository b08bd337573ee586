#pragma once

/* Orders: what the API was asked to do, and is under way: stacks to be woken, each held until it is awake or cannot be woken, and stacks to be
 * put to sleep. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Orders Orders;

/* The last one has ended, or its pause. */
typedef void (*OrdersHandler)(Orders *orders, void *userdata);

int orders_new(Orders **ret, sd_event *event, const char *root, OrdersHandler on_idle, void *userdata);
Orders *orders_free(Orders *orders);
DEFINE_CLEANUP(Orders *, orders_free);

/* Begin one; nothing to do if it is under way. Negative: nobody can be asked (-ENOENT: the service has no control socket yet); -EBUSY: the
 * last wakes failed, and it is too early to try again. */
int orders_wake(Orders *orders, const char *service);
/* As `wakectl sleep`: whoever has started what runs. */
int orders_sleep(Orders *orders, const char *service);

/* After -EBUSY: for how long, and what the last wake failed of. */
uint64_t orders_pause(const Orders *orders, const char *service, const char **ret_reason);
/* It is awake, whoever has woken it: its failures are over. */
void orders_forget(Orders *orders, const char *service);
/* Is there anything that nobody else knows of: an order under way, or a pause? */
bool orders_are_used(const Orders *orders);
