#pragma once

/* Reactor: the front's event loop: one epoll descriptor for all of its connections, and an sd-event loop for
 * everything else as one more descriptor in it. */

#include <sys/epoll.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>
#include "util/alarm.h"
#include "util/macro.h"

typedef struct Reactor Reactor;
typedef struct Watch Watch;

/* Events are those of epoll(7); 0 when reactor_again() asked for the call. May remove or free any watch, its own
 * too. */
typedef void (*WatchHandler)(Watch *watch, uint32_t events);

/* Embedded in what owns the descriptor. The last three members are the reactor's. */
struct Watch {
        WatchHandler handler;
        void *userdata;
        int fd;
        bool quiet; /* the handler calls reactor_wake_event() itself before it touches anything of sd-event */
        bool added;
        bool queued;
        STAILQ_ENTRY(Watch) entry;
};

/* The event loop is borrowed, and only run by reactor_run() from now on. */
int reactor_new(Reactor **ret, sd_event *event);
/* All watches must have been removed. */
Reactor *reactor_free(Reactor *reactor);
DEFINE_CLEANUP(Reactor *, reactor_free);

/* Borrowed. */
sd_event *reactor_event(Reactor *reactor);

/* In place of sd_event_loop(): until sd_event_exit(), whose code it returns. */
int reactor_run(Reactor *reactor);
/* From a quiet handler: sd-event's clock is set, and what is changed in its sources counts from this turn on. */
void reactor_wake_event(Reactor *reactor);
/* As in util/alarm.h; to be started from a quiet handler, too. */
int reactor_add_timer(Reactor *reactor, sd_event_source **ret, uint64_t accuracy_usec,
                      sd_event_time_handler_t handler, void *userdata);
void reactor_start_timer(Reactor *reactor, sd_event_source *timer, uint64_t span_usec);

/* Counts the turns: who is called in two that follow each other is kept busy. */
uint64_t reactor_turns(const Reactor *reactor);
/* So many connections have something to do at once that their data will not be in the processor's cache. */
bool reactor_is_crowded(const Reactor *reactor);

/* Edge-triggered (EPOLLET is added); the second is not. The watch must not be added already. */
int reactor_add(Reactor *reactor, Watch *watch, int fd, uint32_t events);
int reactor_add_level(Reactor *reactor, Watch *watch, int fd, uint32_t events);
/* Other events for an edge-triggered watch; what is ready already is reported again. */
int reactor_change(Reactor *reactor, Watch *watch, uint32_t events);
/* Both cope with a watch that is not there. The second is for a descriptor that nobody else has and that is closed
 * next, and saves a system call. */
void reactor_remove(Reactor *reactor, Watch *watch);
void reactor_forget(Reactor *reactor, Watch *watch);
/* Calls the watch again when the others have had their turn. */
void reactor_again(Reactor *reactor, Watch *watch);
