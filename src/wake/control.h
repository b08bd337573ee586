#pragma once

/* Control: the service's varlink socket, interface io.wakechain. Holders keep the stack awake as long as they stay connected and
 * are told of each change; an idle connection holds nothing, and is ended after a few seconds. */

#include <systemd/sd-event.h>
#include "model/status.h"

typedef struct Control Control;

typedef enum ControlRequest {
        CONTROL_HELD, /* a holder came */
        CONTROL_RELEASED, /* a holder went */
        CONTROL_SLEEP, /* somebody who may asked to put the stack to sleep */
        CONTROL_SLEEP_ALL, /* the same, whoever has started what runs */
} ControlRequest;

/* Must not free the control. The trigger is that of CONTROL_HELD. */
typedef void (*ControlHandler)(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata);
/* Gives the status as it is now; the caller puts it. NULL when out of memory. */
typedef json_object *(*ControlStatus)(void *userdata);

/* `fd` is the listening socket, borrowed. */
int control_new(Control **ret, sd_event *event, int fd, const char *service, ControlStatus status,
                ControlHandler handler, void *userdata);
Control *control_free(Control *control);
DEFINE_CLEANUP(Control *, control_free);

size_t control_holders(const Control *control);
/* The service's own front is connected, which it is for no other reason than to hold: clients are there. */
bool control_has_front(const Control *control);
/* Takes in what is waiting in the backlog now, so that the trigger of a wake is known before it is told. Returns how many there were, with
 * those that were turned away. */
size_t control_accept_pending(Control *control);
/* To all holders. */
void control_publish(Control *control);
/* From now on new connections stay in the backlog: when this process has gone they make systemd start the next one. Calls that
 * are still made on old ones are answered with io.wakechain.Stopping. */
void control_pause(Control *control);
/* Disconnects the service's own front without a word, and pauses: if clients still wait for it they are served by the next process. Other
 * holders stay, and are told that the stack goes to sleep although they hold it. */
void control_drop(Control *control);
/* Answers every holder, and everybody in the backlog, that the wake has failed, and disconnects them. Who calls Hold later gets the same
 * answer. */
void control_fail(Control *control, FailureReason reason, const char *message);
