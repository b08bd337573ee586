#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "control/status-file.h"
#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/stacks.h"
#include "util/alarm.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/text.h"

/* wakectl list: a line for each service. */

#define FILTER_STATE "state="

/* state=asleep, state=awake,waking: -EINVAL if it is nothing that can be asked for. */
static int filter_check(const char *filter) {
        const char *state = filter ? filter + strlen(FILTER_STATE) : "", *end;

        if (filter && strncmp(filter, FILTER_STATE, strlen(FILTER_STATE)) != 0)
                return -EINVAL;
        for (; filter; state = end + 1) {
                char name[16] = {};

                end = strchrnul(state, ',');
                if ((size_t) (end - state) < sizeof(name))
                        memcpy(name, state, (size_t) (end - state));
                if (service_state_from_string(name) < 0 && !streq(name, "unknown"))
                        return -EINVAL;
                if (!*end)
                        break;
        }
        return 0;
}

/* By a filter that has passed that. */
static bool filter_wants(const Stack *stack, const char *filter) {
        const char *state = stack_state(stack), *found = filter;

        while ((found = strstr(found + 1, state)))
                if ((found[-1] == '=' || found[-1] == ',') &&
                    (found[strlen(state)] == ',' || found[strlen(state)] == '\0'))
                        return true;
        return false;
}

static void add_row(Table *table, const Stack *stack) {
        _cleanup_free_ char *ports = stack_ports(stack);
        const Status *status = stack->status;
        char since[LOCAL_TIME_MAX] = "";

        if (status && status->since_usec > 0)
                (void) local_time_to_string(status->since_usec, since);
        table_add(table, stack->service->name);
        table_add_coloured(table, stack_colour(stack), stack_state(stack));
        if (stack->disabled)
                table_addf(table, "%s (disabled)", strempty(ports));
        else
                table_add(table, ports);
        table_addf(table, "%zu/%zu", stack_count_ready(stack),
                   status ? status->n_dependencies : stack->plan->n_members);
        table_add(table, since);
}

/* NULL: out of memory. */
static Table *make_table(const Stacks *stacks) {
        static const char *const headings[] = { "NAME", "STATE", "PORTS", "READY", "SINCE" };
        Table *table;

        if (table_new(&table, ELEMENTSOF(headings), headings, 0) < 0)
                return NULL;
        for (size_t i = 0; i < stacks->n_stacks; i++)
                add_row(table, &stacks->stacks[i]);
        return table;
}

static int print_table(const Stacks *stacks) {
        _cleanup_(table_freep) Table *table = make_table(stacks);

        if (!table) {
                (void) log_oom();
                return CTL_FAILED;
        }
        return output_table(table);
}

static int print_names(const Stacks *stacks) {
        for (size_t i = 0; i < stacks->n_stacks; i++)
                (void) puts(stacks->stacks[i].service->name);
        return CTL_FINE;
}

static int load(Stacks *ret, const CtlOptions *options) {
        int r;

        /* Names alone are in the file, which more may read than what the stacks do. */
        r = stacks_load(ret, options->quiet && !options->filter ? STACKS_CONFIG : STACKS_STATUS, NULL, 0);
        if (r == CTL_FINE && options->filter)
                stacks_keep(ret, filter_wants, options->filter);
        return r;
}

/* --watch: as they change, which the folder of their status files tells. On a terminal the table is drawn over, elsewhere there is a line for each
 * service that has changed. */

#define DRAW_USEC (100 * USEC_PER_MSEC) /* at most so often */

typedef struct Watching {
        const CtlOptions *options;
        sd_event *event; /* borrowed, as are the others */
        sd_event_source *timer;
        Look look;
        char **said; /* the lines of the last time */
        size_t n_lines; /* that were drawn, and the cursor is below */
} Watching;

/* What is longer than the screen cannot be gone back to. */
static size_t rows(void) {
        struct winsize size = {};

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 ? SIZE_MAX : size.ws_row;
}

static int draw(Watching *watching, const Stacks *stacks) {
        _cleanup_(table_freep) Table *table = make_table(stacks);
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        int r;

        if (!file)
                return -ENOMEM;
        if (watching->n_lines >= rows())
                (void) fputs("\033[H\033[J", file);
        else if (watching->n_lines > 0)
                fprintf(file, "\033[%zuA\r\033[J", watching->n_lines);
        r = table ? table_print(table, file, &watching->look) : -ENOMEM;
        if (fclose(file) != 0 || r < 0)
                return -ENOMEM;
        (void) fputs(text, stdout);
        watching->n_lines = stacks->n_stacks + 1;
        return 0;
}

static char *line_of(const Watching *watching, const Stack *stack) {
        _cleanup_(json_freep) json_object *object = watching->options->json ? stack_to_json(stack) : NULL;

        return object ? strdup(json_object_to_json_string_ext(object,
                                                              JSON_C_TO_STRING_PLAIN |
                                                                              JSON_C_TO_STRING_NOSLASHESCAPE))
                      : text_printf("%s: %s", stack->service->name, stack_state(stack));
}

static int say_changes(Watching *watching, const Stacks *stacks) {
        _cleanup_(strv_freep) char **lines = NULL;
        int r = 0;

        for (size_t i = 0; i < stacks->n_stacks && r >= 0; i++) {
                _cleanup_free_ char *line = line_of(watching, &stacks->stacks[i]);

                r = line ? strv_append(&lines, line) : -ENOMEM;
                if (r >= 0 && !strv_contains(watching->said, line)) {
                        _cleanup_free_ char *printable =
                                        printable_copy(line, strlen(line), /* keep_lines= */ false);

                        (void) puts(strempty(printable));
                }
        }
        strv_free(watching->said);
        watching->said = TAKE_PTR(lines);
        return r;
}

static int show(Watching *watching) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r;

        r = load(&stacks, watching->options);
        if (r != CTL_FINE)
                return sd_event_exit(watching->event, r);
        r = watching->look.terminal && !watching->options->json ? draw(watching, &stacks)
                                                                : say_changes(watching, &stacks);
        if (fflush(stdout) != 0)
                r = -errno;
        return r < 0 ? sd_event_exit(watching->event, CTL_FAILED) : 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        return show(ASSERT_PTR(userdata));
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Watching *watching = ASSERT_PTR(userdata);
        int enabled;

        if (sd_event_source_get_enabled(watching->timer, &enabled) >= 0 && enabled == SD_EVENT_OFF)
                alarm_start(watching->timer, DRAW_USEC);
        return 0;
}

static int watch(const CtlOptions *options) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_event_source_unrefp) sd_event_source *timer = NULL;
        Watching watching = { .options = options, .look = look_at(stdout) };
        int r;

        r = sd_event_new(&event);
        watching.event = event;
        if (r >= 0)
                r = alarm_new(&timer, event, 0, on_timer, &watching);
        watching.timer = timer;
        /* Before the first look: nothing is missed. Who may not see the folder is told by that. */
        if (r >= 0) {
                r = sd_event_add_inotify(event, NULL, STATUS_FOLDER, IN_MOVED_TO | IN_DELETE, on_change,
                                         &watching);
                if (r == -EACCES)
                        r = 0;
        }
        if (r >= 0)
                r = show(&watching);
        if (r >= 0)
                r = sd_event_loop(event);
        strv_free(watching.said);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to watch " STATUS_FOLDER ": %m");
                return CTL_FAILED;
        }
        return r;
}

int verb_list(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r;

        if (filter_check(options->filter) < 0) {
                log_error("--filter takes state=asleep, waking, awake, stopping, failed or unknown; several are "
                          "joined by commas.");
                return CTL_USAGE;
        }
        if (options->watch && options->quiet) {
                log_error("--watch is not for names alone.");
                return CTL_USAGE;
        }
        if (options->watch)
                return watch(options);
        r = load(&stacks, options);
        if (r != CTL_FINE)
                return r;
        r = options->quiet  ? print_names(&stacks)
            : options->json ? output_json(stacks_to_json(&stacks))
                            : print_table(&stacks);
        return r != CTL_FINE ? r : stacks.outcome;
}
