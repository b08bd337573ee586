#pragma once

/* WakerCall: what one program asks of a service's waker on its control socket: to hold the stack awake, or to put it to sleep. The one
 * client of that socket: it dials again by itself, since wakers come and go, and the call outlives them.
 *
 *   off ──hold/sleep──▶ dialing ◀──pause── BUSY, STOPPING, LOST, DONE: told, then dialed again
 *    ▲                     │
 *    └── stop, FAILED, SILENT */

#include <systemd/sd-event.h>
#include "model/status.h"

typedef struct WakerCall WakerCall;

/* How one connection ended. From all but the last two it dials again after a pause, unless it is stopped or freed by the one who is told. */
typedef enum CallEnd {
        CALL_BUSY, /* the socket's backlog is full, or we have nothing left to connect with */
        CALL_STOPPING, /* the stack is going to sleep, and the next waker is to be asked */
        CALL_LOST, /* the waker went away without a word, or nobody could be connected to */
        CALL_DONE, /* it has put the stack to sleep, and ended; or was killed on the way, as the status file tells */
        CALL_FAILED, /* the wake failed, or the waker refused the call */
        CALL_SILENT, /* nobody has said a word for two minutes */
        _CALL_END_MAX,
        _CALL_END_INVALID = -EINVAL,
} CallEnd;

typedef struct CallEnding {
        CallEnd end;
        int error; /* why it could not be connected to; 0: it was */
        unsigned n_tries, n_losses; /* in a row, this one too: of all ends; of LOST and DONE */
        FailureReason reason; /* of FAILED; _FAILURE_INVALID: the waker gave none that we know */
        const char *error_name; /* of FAILED: varlink's; otherwise "" */
        const char *message; /* of FAILED: a sentence from another process, printable; otherwise "" */
} CallEnding;

/* Either may stop or free the call. What is passed is borrowed. */
typedef void (*CallStatusHandler)(WakerCall *call, const Status *status, void *userdata);
typedef void (*CallEndHandler)(WakerCall *call, const CallEnding *ending, void *userdata);

/* The path of the socket: waker_call_path(). The status handler may be NULL for a call that is only to put to sleep. */
int waker_call_new(WakerCall **ret, sd_event *event, const char *path, CallStatusHandler on_status,
                   CallEndHandler on_end, void *userdata);
WakerCall *waker_call_free(WakerCall *call);
DEFINE_CLEANUP(WakerCall *, waker_call_free);

/* ROOT/run/wakechain/control/SERVICE.sock. The caller frees. NULL when out of memory. */
char *waker_call_path(const char *root, const char *service);

/* Wakes the stack, for what the trigger says (a front's is a connection, whatever it says), and holds it awake until it is stopped. The
 * first try is made at once; 0, or what it met with, which the handler has been told as well. The call must be off. */
int waker_call_hold(WakerCall *call, WakeTrigger trigger);
/* Puts the stack to sleep, whoever has started what runs of it. */
int waker_call_sleep(WakerCall *call);
void waker_call_stop(WakerCall *call);

/* There is a connection. */
bool waker_call_is_connected(const WakerCall *call);
/* This connection, or the last one, has seen the stack waking or awake. */
bool waker_call_was_active(const WakerCall *call);
