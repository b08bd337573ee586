#include "probe/exec-command.h"
#include "util/log.h"
#include "util/printable.h"
#include "wake/member/exec-look.h"

/* ExecLook: each container is inspected for its execs, and each of these for what it runs; one question at a time, since nobody waits. What
 * the engine lists has not ended, or was never started. A HEALTHCHECK is in that list like anybody's exec, and so is one of our own
 * checks (or the busy command) that was given up and hangs: all are told by their command, which holds for those of an earlier life of this process, too. */

#define REQUEST_TIMEOUT (10 * USEC_PER_SEC)

struct ExecLook {
        const MemberContext *context; /* borrowed */
        Member *const *members; /* borrowed */
        ExecLookHandler handler;
        void *userdata;

        size_t n_asked; /* members */
        ContainerInfo *info; /* of the last one */
        size_t n_execs_asked; /* of its execs */
        EngineCall *call;
        sd_event_source *end; /* there was nothing to ask */
};

ExecLook *exec_look_free(ExecLook *look) {
        if (!look)
                return NULL;

        engine_call_free(look->call);
        sd_event_source_disable_unref(look->end);
        container_info_free(look->info);
        return mfree(look);
}

static bool argv_equal(char *const *a, char *const *b) {
        for (; a && b && *a && *b; a++, b++)
                if (!streq(*a, *b))
                        return false;
        return (!a || !*a) && (!b || !*b);
}

static bool exec_is_of(const ExecLook *look, char *const *argv, const char *command) {
        _cleanup_(strv_freep) char **environment = NULL, **exec_environment = NULL, **exec_argv = NULL;
        _cleanup_free_ char *container = NULL, *user = NULL;

        return command && environment_for_command(&environment, look->context->environment, command) >= 0 &&
               exec_command_parse(command, environment, &container, &user, &exec_environment, &exec_argv) > 0 &&
               argv_equal(argv, exec_argv);
}

static bool exec_is_check(const ExecLook *look, char *const *argv) {
        const Service *service = look->context->service;

        if (argv_equal(argv, look->info->health_command) || exec_is_of(look, argv, service->busy_command))
                return true;
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (exec_is_of(look, argv, service->dependencies[i].health.command))
                        return true;
        return false;
}

static int exec_look_ask(ExecLook *look);

static void exec_look_finish(ExecLook *look, ExecVerdict verdict, const char *container, const char *program) {
        look->handler(look, verdict, container, program, look->userdata);
        /* The handler may have freed the look: nothing goes below this line. */
}

static void exec_look_go_on(ExecLook *look) {
        int r;

        look->call = engine_call_free(look->call);
        r = exec_look_ask(look);
        if (r < 0)
                log_debug_errno(r, "Failed to look for running commands: %m");
        if (r <= 0)
                exec_look_finish(look, r < 0 ? EXEC_UNKNOWN : EXEC_NONE, NULL, NULL);
}

static void exec_look_on_exec(EngineCall *call, EngineReply *reply, void *userdata) {
        ExecLook *look = ASSERT_PTR(userdata);
        _cleanup_free_ char *program = NULL;

        if (reply->outcome == ENGINE_OK && reply->exec_argv && !exec_is_check(look, reply->exec_argv)) {
                program = printable_copy(reply->exec_argv[0], strlen(reply->exec_argv[0]), false);
                exec_look_finish(look, EXEC_RUNS, look->info->name, strempty(program));
        } else if (reply->outcome == ENGINE_OK || reply->outcome == ENGINE_NO_CONTAINER)
                exec_look_go_on(look);
        else
                exec_look_finish(look, EXEC_UNKNOWN, NULL, NULL);
}

static void exec_look_on_container(EngineCall *call, EngineReply *reply, void *userdata) {
        ExecLook *look = ASSERT_PTR(userdata);

        if (reply->outcome != ENGINE_OK && reply->outcome != ENGINE_NO_CONTAINER) {
                exec_look_finish(look, EXEC_UNKNOWN, NULL, NULL);
                return;
        }
        container_info_free(look->info);
        look->info = TAKE_PTR(reply->info);
        look->n_execs_asked = 0;
        exec_look_go_on(look);
}

/* 1: something was asked; 0: there is nothing left to ask. */
static int exec_look_ask(ExecLook *look) {
        int r;

        if (look->info && look->info->running && look->n_execs_asked < strv_length(look->info->execs)) {
                r = engine_inspect_exec(&look->call, look->context->engine,
                                        look->info->execs[look->n_execs_asked++], REQUEST_TIMEOUT,
                                        exec_look_on_exec, look);
                return r < 0 ? r : 1;
        }
        while (look->n_asked < look->context->service->n_dependencies) {
                const Member *member = look->members[look->n_asked++];
                const ContainerInfo *info = member_is_container(member) ? container_info(member) : NULL;

                if (!info || !info->running)
                        continue;
                r = engine_inspect(&look->call, look->context->engine, info->id, REQUEST_TIMEOUT,
                                   exec_look_on_container, look);
                return r < 0 ? r : 1;
        }
        return 0;
}

static int exec_look_on_end(sd_event_source *source, void *userdata) {
        exec_look_finish(ASSERT_PTR(userdata), EXEC_NONE, NULL, NULL);
        return 0;
}

int exec_look_new(ExecLook **ret, const MemberContext *context, Member *const *members, ExecLookHandler handler,
                  void *userdata) {
        _cleanup_(exec_look_freep) ExecLook *look = NULL;
        int r;

        look = malloc(sizeof(*look));
        if (!look)
                return -ENOMEM;
        *look = (ExecLook){
                .context = context,
                .members = members,
                .handler = handler,
                .userdata = userdata,
        };
        r = exec_look_ask(look);
        if (r == 0)
                r = sd_event_add_defer(context->event, &look->end, exec_look_on_end, look);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(look);
        return 0;
}
