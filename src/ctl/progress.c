#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/stacks.h"
#include "util/alarm.h"
#include "util/json-members.h"
#include "util/printable.h"

/* Progress: a waker tells of changes only; in between the bars move by the time. More lines than the terminal has cannot be drawn over: then it
 * is as without a terminal. */

#define DRAW_USEC (100 * USEC_PER_MSEC)
#define BAR_WIDTH 24U

typedef struct Shown {
        const char *name; /* borrowed */
        Status *status; /* NULL: nothing was said yet */
        Described described;
        uint64_t begun_usec; /* of the wake, CLOCK_MONOTONIC */
} Shown;

struct Progress {
        Look look;
        Shown *shown;
        size_t n_shown;
        size_t n_lines; /* that were drawn, and the cursor is below */
        sd_event_source *timer;
};

static bool fits(const Progress *progress) {
        struct winsize size = {};
        size_t lines = 1;

        for (size_t i = 0; i < progress->n_shown; i++)
                lines += 1 + (progress->shown[i].status ? progress->shown[i].status->n_dependencies : 0);
        return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || lines < size.ws_row;
}

static bool is_drawn(const Progress *progress) {
        return progress->look.terminal && !streq(strempty(getenv("TERM")), "dumb") && fits(progress);
}

static void add_bar(Table *table, const Progress *progress, unsigned percent) {
        const char *full = progress->look.utf8 ? "█" : "#", *empty = progress->look.utf8 ? "░" : ".";
        char bar[BAR_WIDTH * 3 + 1] = "";

        for (unsigned i = 0; i < BAR_WIDTH; i++)
                (void) strcat(bar, i * 100 < percent * BAR_WIDTH ? full : empty);
        table_addf(table, "%s %3u %%", bar, percent);
}

static void add_dependency(Table *table, const Progress *progress, const Shown *shown, size_t i) {
        const DependencyStatus *dependency = &shown->status->dependencies[i];
        char span[SPAN_MAX];

        table_addf(table, "  %s", dependency->container);
        table_add_coloured(table, dependency_state_colour(dependency->state),
                           dependency_state_to_string(dependency->state));
        if (dependency->state == DEPENDENCY_READY)
                table_addf(table, "after %s",
                           span_to_string(usec_sub(dependency->ready_usec, dependency->started_usec), span));
        else if (dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING)
                add_bar(table, progress, shown->described.parts[i]);
        else
                table_add(table, dependency->error);
}

static void add_shown(Table *table, const Progress *progress, Shown *shown) {
        char span[SPAN_MAX];

        if (shown->status && shown->status->state == SERVICE_WAKING)
                shown->status->elapsed_usec = usec_sub(time_now(CLOCK_MONOTONIC), shown->begun_usec);
        table_add_coloured(table, COLOUR_BOLD, shown->name);
        if (!shown->status || described_update(&shown->described, shown->status) < 0) {
                table_add(table, "asked");
                table_add(table, NULL);
                return;
        }
        table_add_coloured(table, service_state_colour(shown->status->state),
                           service_state_to_string(shown->status->state));
        if (shown->status->state == SERVICE_WAKING)
                table_addf(table, "%u %%, about %s left", shown->described.percent,
                           span_to_string(status_remaining(shown->status), span));
        else
                table_add(table, NULL);
        for (size_t i = 0; i < shown->status->n_dependencies; i++)
                add_dependency(table, progress, shown, i);
}

static void erase(Progress *progress, FILE *file) {
        if (progress->n_lines > 0)
                fprintf(file, "\033[%zuA\r\033[J", progress->n_lines);
        progress->n_lines = 0;
}

/* In one write: nothing flickers. */
static void draw(Progress *progress) {
        _cleanup_(table_freep) Table *table = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file;
        int r;

        r = table_new(&table, 3, NULL, 0);
        if (r < 0)
                return;
        for (size_t i = 0; i < progress->n_shown; i++)
                add_shown(table, progress, &progress->shown[i]);
        file = open_memstream(&text, &size);
        if (!file)
                return;
        erase(progress, file);
        r = table_print(table, file, &progress->look);
        if (fclose(file) != 0 || r < 0)
                return;
        (void) fputs(text, stderr);
        for (const char *at = text; (at = strchr(at, '\n')); at++)
                progress->n_lines++;
}

static int progress_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Progress *progress = ASSERT_PTR(userdata);

        if (is_drawn(progress)) {
                draw(progress);
                alarm_start(progress->timer, DRAW_USEC);
        }
        return 0;
}

static void say_change(const Shown *shown, const DependencyStatus *dependency) {
        _cleanup_free_ char *name = printable_copy(dependency->container, strlen(dependency->container), false);
        char span[SPAN_MAX];

        fprintf(stderr, "%s: %s %s", shown->name, strempty(name), dependency_state_to_string(dependency->state));
        if (dependency->state == DEPENDENCY_READY)
                fprintf(stderr, " after %s",
                        span_to_string(usec_sub(dependency->ready_usec, dependency->started_usec), span));
        if (!isempty(dependency->error)) {
                _cleanup_free_ char *error = printable_copy(dependency->error, strlen(dependency->error), false);

                fprintf(stderr, ": %s", strempty(error));
        }
        fputc('\n', stderr);
}

static void say_changes(const Shown *shown, const Status *old) {
        const Status *status = shown->status;

        if (!old || old->state != status->state)
                fprintf(stderr, "%s: %s\n", shown->name, service_state_to_string(status->state));
        for (size_t i = 0; i < status->n_dependencies; i++) {
                DependencyState before = old && old->n_dependencies == status->n_dependencies
                                                         ? old->dependencies[i].state
                                                         : DEPENDENCY_PENDING;

                if (status->dependencies[i].state != before)
                        say_change(shown, &status->dependencies[i]);
        }
}

void progress_take(Progress *progress, size_t i, const Status *status) {
        _cleanup_(json_freep) json_object *copy = status_to_json(status);
        _cleanup_(status_freep) Status *old = NULL, *now = NULL;
        Shown *shown = &progress->shown[i];

        assert(i < progress->n_shown);

        if (!copy || status_from_json(&now, copy) < 0)
                return;
        old = shown->status;
        shown->status = TAKE_PTR(now);
        if (shown->status->state == SERVICE_WAKING && (!old || old->state != SERVICE_WAKING)) {
                shown->begun_usec = usec_sub(time_now(CLOCK_MONOTONIC),
                                             usec_sub(time_now(CLOCK_REALTIME), shown->status->since_usec));
                described_begin(&shown->described);
        }
        if (!is_drawn(progress)) {
                progress_interrupt(progress, /* stays= */ true);
                say_changes(shown, old);
                return;
        }
        draw(progress);
        alarm_start(progress->timer, DRAW_USEC);
}

void progress_interrupt(Progress *progress, bool stays) {
        if (stays) {
                progress->n_lines = 0;
                alarm_stop(progress->timer);
        } else
                erase(progress, stderr);
}

int progress_new(Progress **ret, sd_event *event, char *const *names, size_t n) {
        _cleanup_(progress_freep) Progress *progress = new0(Progress, 1);
        int r;

        if (!progress)
                return -ENOMEM;
        *progress = (Progress){ .look = look_at(stderr), .shown = new0(Shown, n), .n_shown = n };
        if (!progress->shown)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                progress->shown[i].name = names[i];
        r = alarm_new(&progress->timer, event, USEC_PER_MSEC, progress_on_timer, progress);
        if (r >= 0)
                *ret = TAKE_PTR(progress);
        return r;
}

Progress *progress_free(Progress *progress) {
        if (!progress)
                return NULL;

        for (size_t i = 0; i < progress->n_shown && progress->shown; i++) {
                status_free(progress->shown[i].status);
                described_done(&progress->shown[i].described);
        }
        free(progress->shown);
        sd_event_source_disable_unref(progress->timer);
        return mfree(progress);
}
