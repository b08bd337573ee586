#pragma once

/* FakeEngine: as much of the Docker Engine API as a wake uses, on a Unix socket and on the event loop of the test, so that one turn
 * follows the other and nothing depends on time. Containers are plain structs that the test may change at any moment; what was asked
 * for is kept as text. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct FakeEngine FakeEngine;

typedef struct FakeContainer {
        char name[64];
        char id[64]; /* "NAME.0", NAME being what it was called at first, and the number how often it was made anew */
        unsigned generation;
        bool running, paused, restarting, oom_killed;
        unsigned run; /* how often it was started: its StartedAt; 0: never */
        int exit_code;
        const char *address; /* while it runs; NULL: 127.0.0.1 */
        const char *restart_policy; /* NULL: "no" */
        const char *stop_signal; /* NULL: not said */
        const char *compose_service; /* its label, or NULL */
        const char *compose_project;
        char attached[64]; /* a network besides "net" */
        bool attached_blindly; /* that did not exist, and was connected while it was stopped */
        char joins[64]; /* the id of the one whose network it has; "": its own */
        bool auto_remove; /* a stop removes it */
        uint16_t publishes; /* its TCP port of that number, as the same; 0: none */

        /* How it behaves */
        bool missing;
        char made_by[128]; /* it is missing until there is such a file; "": never mind */
        unsigned failing_checks; /* so many more execs in it exit 1 */
        unsigned refused_starts; /* so many more starts are answered with: */
        unsigned refusal_status;
        const char *refusal;
        bool refuses_networks; /* the same for what attaches it */
        unsigned deaths; /* so many more starts are answered with 204, and it exits with 1 */
        unsigned completions; /* the same with 0 */
        const char *last_words; /* its log; NULL: "NAME cannot go on" */
        bool late_start; /* a start is answered with 304, although it does not run and then does: somebody was faster */
        unsigned refused_looks; /* so many more inspects are answered with 500 */
        unsigned refused_pauses; /* so many more are answered with 500 */
        bool stubborn; /* paused, it cannot be stopped */
        const char *exec; /* what somebody runs in it, the inside of a ProcessConfig; or NULL */
        const char *health_test; /* its HEALTHCHECK, inside of a JSON array, or NULL */
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

/* It exits by itself; the other way round; and what people do to it, each with its events. A container that is made anew has another id
 * and was never started. */
void fake_engine_kill(FakeEngine *engine, const char *name, int exit_code);
void fake_engine_start(FakeEngine *engine, const char *name);
void fake_engine_stop(FakeEngine *engine, const char *name);
void fake_engine_signal(FakeEngine *engine, const char *name, int signal);
void fake_engine_pause(FakeEngine *engine, const char *name);
void fake_engine_rename(FakeEngine *engine, const char *name, const char *other);
void fake_engine_remove(FakeEngine *engine, const char *name);
void fake_engine_make(FakeEngine *engine, const char *name);

/* There is no such network; NULL: all that are asked for exist. */
void fake_engine_lack_network(FakeEngine *engine, const char *network);

/* An engine that goes down: it takes no connection any more; those that it has go on being served (Docker 20.10), or end but for the event
 * streams (26). Then all its connections end. It is there again. */
void fake_engine_close(FakeEngine *engine, bool goes_on_serving);
void fake_engine_hang_up(FakeEngine *engine);
void fake_engine_come_back(FakeEngine *engine);
/* Answers what was asked about it while it hung. */
void fake_engine_go_on(FakeEngine *engine, const char *name);

/* "start NAME", "stop NAME", "restart NAME", "pause NAME", "unpause NAME", "attach NAME NETWORK", "detach NAME NETWORK", "unready NAME", "ready NAME" (a check), "refuse NAME", in the order in which they took
 * effect. Inspects are not among them. */
char *const *fake_engine_lines(const FakeEngine *engine);
void fake_engine_forget_lines(FakeEngine *engine);
unsigned fake_engine_inspects(const FakeEngine *engine);
/* Of any kind, but for the event stream's and the ping. */
unsigned fake_engine_requests(const FakeEngine *engine);
