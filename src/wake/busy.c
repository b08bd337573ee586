#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "catalog/messages.h"
#include "command/host-command.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/text.h"
#include "wake/busy.h"
#include "wake/member/container.h"
#include "wake/member/exec-look.h"
#include "wake/member/journal.h"

/* Busy: a look asks three things, one after the other, and ends with the first that is so: the engine for execs, the host for the
 * command, the kernel for what the containers have used: their cgroups, as an engine tells only where it was given the controller.
 *
 * A command that is shorter than the time between two looks may pass unseen, but none that runs is cut. What cannot be told keeps the stack
 * awake: nobody knows what would be cut.
 *
 * Processors: the mean since the mark, which is set when the last client has gone, or what else kept it awake, and again when it was too much.
 * It counts once it is over half of `idleTimeout`: a database that tidies up for a second does not. */

#define COMMAND_TIMEOUT (10 * USEC_PER_SEC)
#define CGROUP_FILE_SIZE_MAX 4096
#define PATH_SIZE 512

struct Busy {
        const MemberContext *context; /* borrowed */
        Member *const *members; /* borrowed */
        BusyHandler handler;
        void *userdata;

        bool anew; /* once more, after the look that is under way */
        ExecLook *execs;
        HostCommand *command;
        uint64_t mark_usec, mark_used_usec; /* CLOCK_MONOTONIC, 0: no mark; and what they had used then */
        uint64_t percent; /* as it was judged last */

        bool found; /* something, in the last look */
        char *reason; /* NULL: there was no memory for it */
};

static void busy_ask_command(Busy *busy);
static void busy_ask_cpu(Busy *busy);

static void busy_drop_look(Busy *busy) {
        busy->execs = exec_look_free(busy->execs);
        busy->command = host_command_free(busy->command);
}

/* Ends the look. NULL: nothing keeps it awake. Told when it begins. */
static _printf_(2, 3) void busy_finish(Busy *busy, const char *format, ...) {
        char *reason = NULL;
        va_list arguments;
        bool changed;

        if (format) {
                va_start(arguments, format);
                reason = text_vprintf(format, arguments);
                va_end(arguments);
        }
        if (format && (busy->execs || busy->command))
                busy->mark_usec = busy->percent = 0;
        busy_drop_look(busy);
        if (!format && busy->anew) {
                busy->anew = false;
                busy_ask(busy);
                return;
        }
        changed = busy->found != !!format || !streq(strempty(reason), strempty(busy->reason));
        if (format && !busy->found)
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_BUSY, SERVICE_AWAKE, FAILURE_NONE,
                                "%s stays awake: %s", busy->context->service->name, strempty(reason));
        busy->anew = false;
        busy->found = format;
        free(busy->reason);
        busy->reason = reason;
        busy->handler(busy, changed, busy->userdata);
}

/* Execs */

static void busy_on_execs(ExecLook *look, ExecVerdict verdict, const char *container, const char *program,
                          void *userdata) {
        Busy *busy = ASSERT_PTR(userdata);

        if (verdict == EXEC_RUNS)
                busy_finish(busy, "somebody runs '%s' in %s", program, container);
        else if (verdict == EXEC_UNKNOWN)
                busy_finish(busy, "the container engine does not say what runs in its containers");
        else {
                busy->execs = exec_look_free(busy->execs);
                busy_ask_command(busy);
        }
}

/* The command */

static void busy_on_command(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Busy *busy = ASSERT_PTR(userdata);

        if (result->timed_out)
                busy_finish(busy, "its busy command does not end");
        else if (result->exit_status < 0 || result->exit_status == 126 || result->exit_status == 127)
                busy_finish(busy, "its busy command cannot be run: %s", result->last_line);
        else if (result->exit_status == 0)
                busy_finish(busy, "its busy command says so%s%s", result->last_line[0] != '\0' ? ": " : "",
                            result->last_line);
        else {
                busy->command = host_command_free(busy->command);
                busy_ask_cpu(busy);
        }
}

static void busy_ask_command(Busy *busy) {
        const char *text = busy->context->service->busy_command;
        _cleanup_(strv_freep) char **environment = NULL;
        int r = 0;

        if (!text) {
                busy_ask_cpu(busy);
                return;
        }
        r = environment_for_command(&environment, busy->context->environment, text);
        if (r >= 0)
                r = host_command_new(&busy->command, busy->context->event, text, environment, COMMAND_TIMEOUT,
                                     busy_on_command, busy);
        if (r < 0)
                busy_finish(busy, "its busy command cannot be run: %s", strerror(-r));
}

/* Processors */

/* Of the first process of a container: "0::/system.slice/docker-ID.scope". What it has made below that for itself is cut off. */
static int find_cgroup(const char *root, const ContainerInfo *info, char **ret) {
        _cleanup_free_ char *text = NULL;
        char path[PATH_SIZE], *group, *end;
        int r;

        (void) snprintf(path, sizeof(path), "%s/proc/%i/cgroup", root, (int) info->pid);
        r = file_read(path, CGROUP_FILE_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        group = strstr(text, "0::/");
        if (!group)
                return -EOPNOTSUPP;
        group += strlen("0::");
        group[strcspn(group, "\n")] = '\0';
        end = strstr(group, info->id);
        if (end)
                end[strcspn(end, "/")] = '\0';
        *ret = text_printf("%s/sys/fs/cgroup%s/cpu.stat", root, group);
        return *ret ? 0 : -ENOMEM;
}

static int read_usage(const char *root, const ContainerInfo *info, uint64_t *ret_usec) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        int r;

        r = find_cgroup(root, info, &path);
        if (r >= 0)
                r = file_read(path, CGROUP_FILE_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        return sscanf(text, "usage_usec %" SCNu64, ret_usec) == 1 ? 0 : -EBADMSG;
}

/* By all containers together. One that has just ended uses nothing. */
static int read_all_usage(const Busy *busy, uint64_t *ret_usec) {
        *ret_usec = 0;
        for (size_t i = 0; i < busy->context->service->n_dependencies; i++) {
                const ContainerInfo *info =
                                member_is_container(busy->members[i]) ? container_info(busy->members[i]) : NULL;
                uint64_t usec = 0;
                int r = info && info->running && info->pid > 0 ? read_usage(busy->context->root, info, &usec) : 0;

                if (r < 0 && r != -ENOENT && r != -ESRCH)
                        return r;
                *ret_usec += usec;
        }
        return 0;
}

/* Between two judgements the last one holds. */
static void busy_ask_cpu(Busy *busy) {
        const Service *service = busy->context->service;
        uint64_t now_usec = time_now(CLOCK_MONOTONIC),
                 span_usec = MAX(usec_sub(now_usec, busy->mark_usec), (uint64_t) 1);
        uint64_t used_usec = 0;
        bool known, due;
        int r;

        r = service->busy_cpu > 0 ? read_all_usage(busy, &used_usec) : 0;
        if (r < 0) {
                busy_finish(busy, "what its containers use of the processors cannot be told: %s", strerror(-r));
                return;
        }
        known = busy->mark_usec > 0 && used_usec >= busy->mark_used_usec;
        due = known && span_usec >= service->idle_timeout_usec / 2;
        if (!known)
                busy->percent = 0;
        else if (due)
                busy->percent = (used_usec - busy->mark_used_usec) * 100 / span_usec;
        if (!known || (due && busy->percent >= (uint64_t) service->busy_cpu)) {
                busy->mark_usec = now_usec;
                busy->mark_used_usec = used_usec;
        }
        if (service->busy_cpu > 0 && busy->percent >= (uint64_t) service->busy_cpu)
                busy_finish(busy, "its containers use %" PRIu64 " %% of a processor", busy->percent);
        else
                busy_finish(busy, NULL);
}

/* The whole */

int busy_new(Busy **ret, const MemberContext *context, Member *const *members, BusyHandler handler,
             void *userdata) {
        Busy *busy;

        busy = malloc(sizeof(*busy));
        if (!busy)
                return -ENOMEM;
        *busy = (Busy){ .context = context, .members = members, .handler = handler, .userdata = userdata };
        *ret = busy;
        return 0;
}

Busy *busy_free(Busy *busy) {
        if (!busy)
                return NULL;

        busy_give_up(busy);
        free(busy->reason);
        return mfree(busy);
}

void busy_ask(Busy *busy) {
        int r;

        if (busy_is_asking(busy))
                return;
        if (!busy->context->service->busy_exec) {
                busy_ask_command(busy);
                return;
        }
        r = exec_look_new(&busy->execs, busy->context, busy->members, busy_on_execs, busy);
        if (r < 0)
                busy_finish(busy, "what runs in its containers cannot be asked for: %s", strerror(-r));
}

void busy_ask_anew(Busy *busy) {
        busy->anew = busy_is_asking(busy);
        busy_ask(busy);
}

bool busy_is_asking(const Busy *busy) {
        return busy->execs || busy->command;
}

void busy_give_up(Busy *busy) {
        busy_drop_look(busy);
        busy->anew = false;
}

bool busy_note_client(Busy *busy) {
        bool found = busy->found;

        busy->mark_usec = busy->percent = 0;
        busy->found = false;
        return found;
}

const char *busy_reason(const Busy *busy) {
        return busy->found ? strempty(busy->reason) : NULL;
}
