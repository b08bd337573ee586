#pragma once

/* Front, inside: what front.c (the state machine), front-timers.c, front-ignored.c and front-drain.c share. */

#include "front/clients.h"
#include "front/front.h"
#include "front/listener.h"
#include "front/udp.h"
#include "io/hold.h"

typedef enum FrontState {
        FRONT_IDLE,
        FRONT_DIALING, /* there is to be a Hold, after a pause */
        FRONT_WAKING, /* there is a Hold in this and the next two */
        FRONT_AWAKE,
        FRONT_STOPPING,
        FRONT_PAUSED,
        _FRONT_STATE_MAX,
        _FRONT_STATE_INVALID = -EINVAL,
} FrontState;

/* One timer each; all are made at the start and off, so that arming one cannot fail for want of memory. */
typedef enum FrontTimer {
        TIMER_DIAL,
        TIMER_PATIENCE,
        TIMER_LINGER,
        TIMER_PAUSE,
        TIMER_QUIET,
        TIMER_EXIT,
        TIMER_DRAIN,
        _FRONT_TIMER_MAX,
} FrontTimer;

struct Front {
        sd_event *event;
        FrontOptions options;
        size_t clients_max, flows_max;
        Reactor *reactor;
        Forwarder *forwarder;
        Clients *clients;
        Listeners *listeners;
        Udp *udp;
        FrontState state;
        Hold *hold;
        bool seen_active; /* this Hold has seen the stack waking or awake */
        bool draining, drained;
        bool shown; /* somebody sees the page of the wake under way */
        unsigned losses, busy; /* in a row */
        unsigned failures; /* in a row */
        Backends *backends; /* the last ones; connecting clients borrow them */
        Answer *answer; /* of the last failure */
        sd_event_source *timers[_FRONT_TIMER_MAX];
        uint64_t unused_usec[_FRONT_TIMER_MAX]; /* since when, for the two that wait for that; or USEC_INFINITY */
};

/* front.c */

/* Something about the clients, or the state, has changed. */
void front_update(Front *front);
/* The waiting are told. Returns how many. */
size_t front_answer(Front *front, const char *sentence, uint64_t retry_after_usec);
/* Whoever waits is connected to these, which are taken. */
void front_use_backends(Front *front, Backends *backends);

/* front-timers.c */

int front_make_timers(Front *front, sd_event_time_handler_t handler);
void front_free_timers(Front *front);
bool front_timer_is_on(const Front *front, FrontTimer timer);
void front_timer_start(Front *front, FrontTimer timer, uint64_t span_usec);
void front_timer_stop(Front *front, FrontTimer timer);
/* From now on it is unused; it is to come when it has been that for `span_usec`. */
void front_note_unused(Front *front, FrontTimer timer, uint64_t span_usec);
void front_note_used(Front *front, FrontTimer timer);
/* The timer has come: has it been unused all that time? Otherwise it comes again. */
bool front_was_unused(Front *front, FrontTimer timer, uint64_t span_usec);

/* front-ignored.c */

/* A client that the rules ignore: connected if the stack is awake, and turned away otherwise. */
void front_take_ignored(Front *front, Client *client);

/* By its status file: nobody has woken it, or it is on its way to sleep. */
bool front_is_asleep(const Front *front);

/* front-drain.c */

/* The loop ends. */
void front_exit(Front *front);
/* The time to drain, or that of the last word, is up. */
void front_end_drain(Front *front);
/* A client or a flow has gone. */
void front_check_drained(Front *front);
