#pragma once

/* Reactor: one epoll descriptor for all of the front's connections, hung into an sd-event loop as a single
 * source. */

#include <sys/epoll.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Reactor Reactor;
typedef struct Watch Watch;

/* Events are those of epoll(7); 0 when reactor_again() asked for the call. May remove or free any watch, its own
 * too. */
typedef void (*WatchHandler)(Watch *watch, uint32_t events);

/* Embedded in what owns the descriptor. All but the first two members are the reactor's. */
struct Watch {
        WatchHandler handler;
        void *userdata;
        int fd;
        bool added;
        bool queued;
        TAILQ_ENTRY(Watch) entry;
};

int reactor_new(Reactor **ret, sd_event *event);
/* All watches must have been removed. */
Reactor *reactor_free(Reactor *reactor);
DEFINE_CLEANUP(Reactor *, reactor_free);

/* Edge-triggered (EPOLLET is added). The watch must not be added already. */
int reactor_add(Reactor *reactor, Watch *watch, int fd, uint32_t events);
/* Both cope with a watch that is not there. The second is for a descriptor that is closed next, and saves a system
 * call. */
void reactor_remove(Reactor *reactor, Watch *watch);
void reactor_forget(Reactor *reactor, Watch *watch);
/* Calls the watch again when the others have had their turn. */
void reactor_again(Reactor *reactor, Watch *watch);
