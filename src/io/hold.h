#pragma once

/* Hold: one call of io.wakechain.Hold on a service's control socket. It wakes the stack and holds it awake until
 * freed. Fronts hold their own service, and a waker holds the services that its own depends on. */

#include <systemd/sd-event.h>
#include "model/status.h"

typedef struct Hold Hold;

typedef enum HoldEnd {
        HOLD_LOST, /* the waker went away without a word */
        HOLD_FAILED, /* the wake failed, or the waker refused the call */
        HOLD_STOPPING, /* it is going to sleep and takes no holders any more */
        _HOLD_END_MAX,
        _HOLD_END_INVALID = -EINVAL,
} HoldEnd;

/* The status is borrowed. The hold may be freed from inside. */
typedef void (*HoldStatusHandler)(Hold *hold, const Status *status, void *userdata);
/* Called once, last. The reason is the waker's for HOLD_FAILED (_FAILURE_INVALID if it gave none that we know). */
typedef void (*HoldEndHandler)(Hold *hold, HoldEnd end, FailureReason reason, void *userdata);

/* What the wake is for, if it causes one; a front's is a connection, whatever it says. -EAGAIN: the socket's backlog is
 * full, try again. */
int hold_new(Hold **ret, sd_event *event, const char *path, WakeTrigger trigger, HoldStatusHandler on_status,
             HoldEndHandler on_end, void *userdata);
Hold *hold_free(Hold *hold);
DEFINE_CLEANUP(Hold *, hold_free);

/* What the waker said with its refusal, for the end handler: a sentence from another process, printable, or "". */
const char *hold_message(const Hold *hold);
