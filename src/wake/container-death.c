#include "io/engine-internal.h"
#include "wake/container-internal.h"

/* Container, dying, on the way up or later. There are three kinds of death:
 *
 * - Somebody wished for it: docker stop, restart, rm, kill, compose up -d. If it is back soon, under the same name and
 *   perhaps as another container, it is used on; else it is lost.
 * - The engine went down, and it with it. It is started again when the engine is back.
 * - It crashed. How is told to the journal, and it is started again, at most twice within ten minutes; the engine's own restart policy
 *   may be faster. */

#define COMEBACK_DELAY (3 * USEC_PER_SEC)
#define RESTARTS_MAX 2
#define SETTLED_AFTER (10 * USEC_PER_MINUTE)
#define LAST_LINES 10

void container_await(Container *container) {
        container_go_after(container, STAGE_COMING_BACK, MEMBER_CHECKING, COMEBACK_DELAY);
}

void container_on_death(Container *container) {
        Member *member = &container->member;

        if (member->phase == MEMBER_READY) {
                if (time_now(CLOCK_MONOTONIC) >= usec_add(container->settled_usec, SETTLED_AFTER))
                        container->deaths = 0;
                container_go(container, STAGE_IDLE, MEMBER_RECOVERING);
        }

        if (container->by_engine)
                container_go(container, STAGE_DECIDING, MEMBER_CHECKING);
        else if (container->killed)
                container_await(container);
        else
                container_go(container, STAGE_EXAMINING, MEMBER_CHECKING);
}

void container_begin_decision(Container *container) {
        Engine *engine = container->member.context->engine;

        /* A daemon that goes down, which begins with its containers, may go on serving the connections that it has (Docker 20.10), but takes
         * no new ones. */
        engine_doubt(engine, engine->generation);
        container_go(container, STAGE_DECIDING, MEMBER_CHECKING);
}

/* It was stopped, or removed, and did not come back. */
static void container_lose(Container *container, const char *what) {
        const char *name = member_name(&container->member);

        container_disown(container);
        if (container->member.phase != MEMBER_READY && container->member.phase != MEMBER_RECOVERING) {
                container_fail(container, FAILURE_CONTAINER_EXITED, "was %s by somebody else", what);
                return;
        }
        record_dependency(LOG_NOTICE, name, DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s was %s by somebody else", name, what);
        container_go(container, STAGE_IDLE, MEMBER_LOST);
}

void container_vanished(Container *container) {
        container_lose(container, "removed");
}

static void container_fail_for_good(Container *container) {
        const ContainerInfo *info = container->info;

        /* Started by hand later, it is another run than the one that was ours. */
        container->started_now = false;
        container_note_run(container);
        container_write_record(container);
        container_fail(container, FAILURE_CONTAINER_EXITED, "exited with status %i, %u times%s%s",
                       container->exit_code, container->deaths, isempty(info->error) ? "" : ": ", info->error);
}

/* The engine has told what is. An answer that came after it was lost is one of the next engine. */
void container_decide(Container *container) {
        const char *name = member_name(&container->member);

        if (container_runs(container)) {
                if (container->stale)
                        container_on_death(container);
                else
                        container_verified(container);
        } else if (container->info->restarting)
                container_await(container);
        else if (container->by_engine) {
                record_dependency(LOG_NOTICE, name, DEPENDENCY_STARTING, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s went down with the engine, starting it again", name);
                /* A one-shot that was told to end may well exit with 0. */
                if (container_has_completed(container) && container->killed)
                        container_disown(container);
                container_use(container);
        } else if (container->killed)
                container_lose(container, "stopped");
        else if (container->deaths > RESTARTS_MAX)
                container_fail_for_good(container);
        else
                container_use(container);
}

void container_examined(Container *container) {
        if (container_has_completed(container) && !container->killed)
                container_complete(container);
        else
                container_go(container, STAGE_TELLING, MEMBER_CHECKING);
}

static void container_on_logs(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        bool told = container_take_reply(container, reply) == ENGINE_OK && !isempty(reply->output);
        const char *name = member_name(&container->member);

        if (!container_runs(container))
                container->exit_code = container->info->exit_code;
        container->deaths++;
        record_dependency(LOG_WARNING, name, DEPENDENCY_STARTING, FAILURE_CONTAINER_EXITED, USEC_INFINITY,
                          "dependency %s %s with status %i%s%s", name,
                          container->info->oom_killed ? "was killed for lack of memory," : "exited",
                          container->exit_code, told ? ", its last lines:\n" : "", told ? reply->output : "");
        container_decide(container);
}

void container_ask_logs(Container *container) {
        container_check_asked(container, engine_logs(&container->call, container->member.context->engine,
                                                     member_name(&container->member), LAST_LINES,
                                                     CONTAINER_REQUEST_TIMEOUT, container_on_logs, container));
}
