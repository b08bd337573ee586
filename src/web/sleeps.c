#include <stdio.h>

#include "io/printable.h"
#include "io/status-file.h"
#include "io/varlink.h"
#include "util/log.h"
#include "web/sleeps.h"

/* Sleeps: one call of io.wakechain.Sleep a service, whose connection ends when the stack sleeps. A waker that is killed on the way leaves it
 * to its successor, which is asked again. A service that sleeps already is asked as well: what somebody else has started may run. */

#define AGAIN_USEC (200 * USEC_PER_MSEC)
#define ATTEMPTS_MAX 5U
#define TEXT_MAX ((size_t) 1024)

typedef struct Sleep Sleep;

struct Sleep {
        Sleeps *sleeps;
        Sleep *next, **previous; /* intrusive list: the pointer that points here */
        char *service;
        Varlink *varlink;
        sd_event_source *again;
        unsigned n_attempts;
        bool accepted;
};

struct Sleeps {
        sd_event *event;
        char *root;
        SleepsHandler on_idle;
        void *userdata;
        Sleep *sleeps;
        size_t n_sleeps;
};

static Sleep *sleep_free(Sleep *sleep) {
        if (!sleep)
                return NULL;

        *sleep->previous = sleep->next;
        if (sleep->next)
                sleep->next->previous = sleep->previous;
        sleep->sleeps->n_sleeps--;
        varlink_free(sleep->varlink);
        sd_event_source_disable_unref(sleep->again);
        free(sleep->service);
        return mfree(sleep);
}

static void sleep_end(Sleep *sleep) {
        Sleeps *sleeps = sleep->sleeps;

        (void) sleep_free(sleep);
        if (sleeps->n_sleeps == 0)
                sleeps->on_idle(sleeps, sleeps->userdata);
}

static bool sleep_arm_again(Sleep *sleep) {
        return sd_event_source_set_time_relative(sleep->again, AGAIN_USEC) >= 0 &&
               sd_event_source_set_enabled(sleep->again, SD_EVENT_ONESHOT) >= 0;
}

static void sleep_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);
        _cleanup_free_ char *text = NULL;
        json_object *error = NULL;
        const char *name;

        if (!json_object_object_get_ex(message, "error", &error)) {
                sleep->accepted = true;
                return;
        }
        name = json_object_get_string(error);
        text = printable_copy(strempty(name), MIN(strlen(strempty(name)), TEXT_MAX), /* keep_lines= */ false);
        log_warning("%s was not put to sleep: its waker answers %s", sleep->service, strempty(text));
        sleep_end(sleep);
}

static bool sleep_is_done(const Sleep *sleep) {
        _cleanup_(status_freep) Status *status = NULL;

        if (!sleep->accepted)
                return false;
        return status_file_read(&status, sleep->sleeps->root, sleep->service) < 0 ||
               status->state != SERVICE_STOPPING;
}

static void sleep_on_end(Varlink *varlink, int error, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);

        sleep->varlink = varlink_free(sleep->varlink);
        if (!sleep_is_done(sleep) && sleep->n_attempts < ATTEMPTS_MAX && sleep_arm_again(sleep))
                return;
        sleep_end(sleep);
}

static int sleep_try(Sleep *sleep) {
        _cleanup_free_ char *path = NULL;
        json_object *parameters;
        int r;

        sleep->n_attempts++;
        sleep->accepted = false;
        if (asprintf(&path, "%s/run/wakechain/control/%s.sock", sleep->sleeps->root, sleep->service) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = varlink_connect(&sleep->varlink, sleep->sleeps->event, path, sleep_on_message, sleep_on_end, sleep);
        if (r < 0)
                return r;
        parameters = json_object_new_object();
        if (!parameters || json_object_object_add(parameters, "all", json_object_new_boolean(true)) < 0)
                r = -ENOMEM;
        else
                r = varlink_call(sleep->varlink, "io.wakechain.Sleep", parameters, /* more= */ false);
        json_object_put(parameters);
        if (r < 0)
                sleep->varlink = varlink_free(sleep->varlink);
        return r;
}

static int sleep_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);
        int r;

        r = sleep_try(sleep);
        if (r >= 0)
                return 0;
        log_debug_errno(r, "Failed to ask the waker of %s once more: %m", sleep->service);
        if (sleep->n_attempts >= ATTEMPTS_MAX || !sleep_arm_again(sleep))
                sleep_end(sleep);
        return 0;
}

static Sleep *sleeps_find(const Sleeps *sleeps, const char *service) {
        for (Sleep *sleep = sleeps->sleeps; sleep; sleep = sleep->next)
                if (streq(sleep->service, service))
                        return sleep;
        return NULL;
}

int sleeps_begin(Sleeps *sleeps, const char *service) {
        Sleep *sleep;
        int r;

        if (sleeps_find(sleeps, service))
                return 0;
        sleep = new0(Sleep, 1);
        if (!sleep)
                return -ENOMEM;
        *sleep = (Sleep){
                .sleeps = sleeps, .next = sleeps->sleeps, .previous = &sleeps->sleeps, .service = strdup(service)
        };
        if (sleep->next)
                sleep->next->previous = &sleep->next;
        sleeps->sleeps = sleep;
        sleeps->n_sleeps++;

        r = sleep->service ? sd_event_add_time(sleeps->event, &sleep->again, CLOCK_MONOTONIC, 0, 0, sleep_on_again,
                                               sleep)
                           : -ENOMEM;
        if (r >= 0)
                r = sd_event_source_set_enabled(sleep->again, SD_EVENT_OFF);
        if (r >= 0)
                r = sleep_try(sleep);
        if (r == -EAGAIN)
                r = sleep_arm_again(sleep) ? 0 : -EIO;
        if (r < 0)
                (void) sleep_free(sleep);
        return r;
}

size_t sleeps_length(const Sleeps *sleeps) {
        return sleeps->n_sleeps;
}

int sleeps_new(Sleeps **ret, sd_event *event, const char *root, SleepsHandler on_idle, void *userdata) {
        Sleeps *sleeps = new0(Sleeps, 1);

        assert(ret);
        assert(on_idle);

        if (!sleeps)
                return -ENOMEM;
        *sleeps = (Sleeps){
                .event = sd_event_ref(event), .root = strdup(root), .on_idle = on_idle, .userdata = userdata
        };
        if (!sleeps->root) {
                (void) sleeps_free(sleeps);
                return -ENOMEM;
        }
        *ret = sleeps;
        return 0;
}

Sleeps *sleeps_free(Sleeps *sleeps) {
        if (!sleeps)
                return NULL;

        while (sleeps->sleeps)
                (void) sleep_free(sleeps->sleeps);
        sd_event_unref(sleeps->event);
        free(sleeps->root);
        return mfree(sleeps);
}
