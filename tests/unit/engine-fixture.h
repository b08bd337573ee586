#pragma once

/* What the engine's tests share: an Engine that talks to a ScriptedServer, and keeping what it answers. */

#include "engine/engine.h"
#include "scripted-server.h"
#include "util/time.h"

#define TIMEOUT (10 * USEC_PER_SEC)
#define ERROR(status, message) REPLY_BODY(status, "{\"message\":\"" message "\"}\n")
/* An inspect of "db" that holds no more than what has to be there, and what comes behind it. */
#define INSPECT(more) "{\"Id\":\"0123abc\",\"Name\":\"/db\",\"State\":{\"Running\":true,\"Pid\":42}" more "}"

extern sd_event *event;
extern char socket_path[64];

/* At the begin of main(); fixture_quit() at its end. */
void fixture_begin(const char *name);
void fixture_quit(void);

typedef struct Fixture {
        ScriptedServer *server;
        Engine *engine;
} Fixture;

#define FIXTURE(...) fixture_new((ScriptedRule[]){ __VA_ARGS__ }, ELEMENTSOF(((ScriptedRule[]){ __VA_ARGS__ })))
Fixture fixture_new(const ScriptedRule *rules, size_t n_rules);
void fixture_done(Fixture *fixture);

typedef struct Reply {
        EngineCall *call;
        bool ended;
        EngineOutcome outcome;
        char message[512];
        ContainerInfo *info;
        int exit_code;
        ListedContainer *listed;
        size_t n_listed;
        char output[8192];
} Reply;

/* EngineHandler: frees the call and keeps the rest. */
void on_reply(EngineCall *call, EngineReply *reply, void *userdata);
void reply_done(Reply *reply);
void run_until(const bool *done);

Reply start(Engine *engine, const char *container, uint64_t timeout_usec);
Reply inspect(Engine *engine, const char *container, uint64_t timeout_usec);
