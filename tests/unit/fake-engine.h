#pragma once

/* FakeEngine: as much of the Docker Engine API as a wake uses, on a Unix socket and on the event loop of the test, so that one turn
 * follows the other and nothing depends on time. Containers are plain structs that the test may change at any moment; what was asked
 * for is kept as text. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct FakeEngine FakeEngine;

typedef struct FakeContainer {
        char name[64];
        bool running, paused;
        unsigned run; /* how often it was started: its StartedAt */
        int exit_code;
        unsigned publishes; /* host port; 0: none */

        /* How it behaves */
        bool missing;
        unsigned failing_checks; /* so many more execs in it exit 1 */
        unsigned refused_starts; /* so many more starts are answered with: */
        unsigned refusal_status;
        const char *refusal;
        unsigned deaths; /* so many more starts are answered with 204, and it exits */
        bool hangs; /* nothing about it is answered; see fake_engine_go_on() */
} FakeContainer;

/* Called for each line as it is written. */
typedef void (*FakeEngineHandler)(FakeEngine *engine, const char *line, void *userdata);

FakeEngine *fake_engine_new(sd_event *event, const char *socket_path);
FakeEngine *fake_engine_free(FakeEngine *engine);
DEFINE_CLEANUP(FakeEngine *, fake_engine_free);
void fake_engine_set_handler(FakeEngine *engine, FakeEngineHandler handler, void *userdata);

/* Stays the engine's, and where it is. */
FakeContainer *fake_engine_add(FakeEngine *engine, const char *name);
FakeContainer *fake_engine_find(FakeEngine *engine, const char *name);

/* It exits by itself, or is stopped by somebody else; and the other way round. With their events. */
void fake_engine_kill(FakeEngine *engine, const char *name, int exit_code);
void fake_engine_start(FakeEngine *engine, const char *name);
/* Answers what was asked about it while it hung. */
void fake_engine_go_on(FakeEngine *engine, const char *name);

/* "start NAME", "stop NAME", "unpause NAME", "unready NAME", "ready NAME" (a check), in the order in which they took effect. Inspects are
 * not among them. */
char *const *fake_engine_lines(const FakeEngine *engine);
void fake_engine_forget_lines(FakeEngine *engine);
unsigned fake_engine_inspects(const FakeEngine *engine);
