#pragma once

/* SettleStage: a machine for what settles, in namespaces of its own: PID 1 with sockets and as much of org.freedesktop.systemd1 as is asked
 * of it, an engine with containers, nftables, and files in their places. The test runs beside PID 1, as another process. */

#include "util/macro.h"

typedef struct StageUnit {
        char name[64];
        const char *state; /* "active", …; each change of it is the last one's time */
        bool missing; /* its file is not there any more */
        bool busy; /* a job is queued */
        bool has_run; /* …since systemd knows it */
        uint64_t changed_usec; /* CLOCK_MONOTONIC; UINT64_MAX: in this moment, whenever that is asked */
        void (*asked)(void); /* called by PID 1 when somebody asks whether it has run */
        bool stubborn; /* jobs for it change nothing */
        bool killed; /* what it has failed by */
        unsigned fails; /* so many starts, before one does not */
        unsigned pid; /* of a service */
        bool stops; /* in the moment after all units were listed */
        bool listens; /* PID 1 has the socket */
        const char *path; /* of a Unix socket */
        uint16_t port;
} StageUnit;

typedef struct StageContainer {
        const char *name, *id, *state;
        const char *bindings; /* the object of HostConfig.PortBindings */
        const char *network_mode; /* NULL: a network */
        bool silent; /* an inspect is never answered */
        bool late; /* the engine's first list says "created" of it */
} StageContainer;

/* Runs `test` beside such a PID 1, and returns what it returns; 77 where this may not be done. */
int stage_run(int (*test)(void));

/* An empty machine, asleep. */
void stage_reset(void);
/* Stays the stage's, and where it is. */
StageUnit *stage_unit(const char *name);
/* Both sockets of a service as they are to be, and its waker, which is inactive. */
void stage_service(const char *name, uint16_t redirect_port);
void stage_config(const char *text);
/* NULL: it does not run. Replaces the one there was. */
void stage_engine(const StageContainer *containers, size_t n);
void stage_engine_hangs(void);

/* The jobs that were queued since the last call: "StartUnit NAME\n". */
const char *stage_log(void);
/* How often the engine was connected to, and how many containers it was asked for in detail. */
unsigned stage_connections(void);
unsigned stage_inspects(void);
