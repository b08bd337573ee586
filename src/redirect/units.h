#pragma once

/* Units: what systemd has of wakechain's units, asked from PID 1 itself, so that there need be no bus. Blocks. */

#include <systemd/sd-bus.h>
#include "manager/unit-manager.h"

typedef struct Unit {
        char *name;
        char *path; /* its object */
        UnitState state; /* UNIT_MISSING is not among them */
        bool loaded; /* its file is there and good, and it is not masked */
        bool busy; /* a job is queued for it */
        bool stops; /* … which stops it */
} Unit;

typedef struct Units {
        sd_bus *bus;
        Unit *units; /* sorted by name */
        size_t n;
} Units;

#define UNITS_NULL \
        (Units) {  \
        }

void units_done(Units *units);
/* Those that systemd has loaded: all that are active, and those that something refers to. Logs. */
int units_read(Units *ret);
/* NULL: systemd does not know it. */
const Unit *units_find_name(const Units *units, const char *name);
/* "PREFIX@SERVICE.SUFFIX". */
const Unit *units_find(const Units *units, const char *prefix, const char *service, const char *suffix);

/* Whether this one is there to be started and does not run: not yet, or not any more. If that cannot be told, it does. */
bool units_is_stopped(const char *unit);

/* A number that is another one when any of them is in another state. */
uint64_t units_hash(const Units *units);

/* Whether it has ever been started since systemd knows it. If that cannot be told, it has. */
bool units_have_run(const Units *units, const Unit *unit);
/* Whether it is so now, and not only when all were listed. */
bool units_is_active(const Units *units, const Unit *unit);
/* 0: none. */
unsigned units_main_pid(const Units *units, const Unit *unit);
/* When its state last changed, CLOCK_MONOTONIC; now, if PID 1 does not say: what has just failed is not tried again. */
uint64_t units_changed(const Units *units, const Unit *unit);
/* How long ago, in usec, its state last changed. */
uint64_t units_age(const Units *units, const Unit *unit);

/* Of a service that has failed: was it ended from outside, and not by itself? */
bool units_was_killed(const Units *units, const Unit *unit);

/* Where its unit says that it listens, in the form of the member `listen`. The caller frees. */
int units_read_listen(const Units *units, const Unit *unit, char ***ret);

/* Queues a job of mode "replace" ("fail" for a start): "StartUnit", "TryRestartUnit", "StopUnit". Logs. */
int units_queue(const Units *units, const char *method, const char *unit);
/* Waits until no job of a socket is left but those that stop one, which wait for its front, at most so long. */
void units_wait_for_sockets(const Units *units, uint64_t timeout_usec);
