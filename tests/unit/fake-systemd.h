#pragma once

/* FakeSystemd: a bus with nothing on it but as much of org.freedesktop.systemd1 as a wake uses, on the event loop of the test. Units
 * are plain structs that the test may change at any moment; what was asked for is kept as text. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct FakeSystemd FakeSystemd;

typedef struct FakeUnit {
        char name[64];
        const char *alias_of; /* the name of another one */
        const char *load_state, *active_state, *sub_state, *result;
        unsigned run; /* how often it was started: its InvocationID; 0: never */
        bool exited; /* its main process has, with ExecMainCode: */
        int exit_code;
        uint64_t stop_timeout_usec;
        uint64_t ended_usec, began_usec,
                        changed_usec; /* InactiveEnter, InactiveExit, StateChange TimestampMonotonic */

        /* How it behaves */
        bool oneshot; /* a start that is done leaves it inactive */
        bool remains; /* …, or active (exited) */
        bool skipped; /* a start is done, and nothing happened */
        bool slow; /* jobs go on until fake_systemd_finish() */
        unsigned failing_starts; /* so many more jobs end with `failed` */
        const char *refusal, *refusal_text; /* starts and stops are answered with this error */
} FakeUnit;

/* Listens, and makes sd_bus_open_system() come here. */
FakeSystemd *fake_systemd_new(sd_event *event);
FakeSystemd *fake_systemd_free(FakeSystemd *systemd);
DEFINE_CLEANUP(FakeSystemd *, fake_systemd_free);

/* An inactive service. Stays the fake's, and where it is. */
FakeUnit *fake_systemd_add(FakeSystemd *systemd, const char *name);

/* It has changed: tells so. */
void fake_systemd_changed(FakeSystemd *systemd, FakeUnit *unit);
/* Sets these and tells so. */
void fake_systemd_set(FakeSystemd *systemd, FakeUnit *unit, const char *active_state, const char *result);
/* Another run begins. */
void fake_systemd_run(FakeSystemd *systemd, FakeUnit *unit);
/* The job of a slow unit ends: with "done", it takes effect. */
void fake_systemd_finish(FakeSystemd *systemd, FakeUnit *unit, const char *result);
bool fake_systemd_has_job(FakeSystemd *systemd, const FakeUnit *unit);

/* Nobody listens any more, and connections break; and the other way round. */
void fake_systemd_down(FakeSystemd *systemd);
void fake_systemd_up(FakeSystemd *systemd);
/* daemon-reexec: calls under way get no answer, jobs go on under other names; daemon-reload. */
void fake_systemd_reexec(FakeSystemd *systemd);
void fake_systemd_reload(FakeSystemd *systemd);

/* All starts and stops so far: "start NAME\n". */
const char *fake_systemd_log(FakeSystemd *systemd);
unsigned fake_systemd_connections(FakeSystemd *systemd);
