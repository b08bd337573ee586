#include <stdio.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "config/config.h"
#include "config/disabled.h"
#include "config/problem.h"
#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/unit-difference.h"
#include "engine/survey.h"
#include "manager/manager-call.h"
#include "manager/unit-manager.h"
#include "util/alarm.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl reload: has systemd read the units again if, and only if, there are other ones. A daemon-reload is not free: with systemd's cgroup
 * driver it may take the GPU from containers that run, and what is broken in dependencies.json shows only afterwards. So:
 *
 *  1. The configuration is read; with an error in it nothing else is done.
 *  2. wakechain-generator(8) makes the units aside, and they are compared with those of the last daemon-reload.
 *  3. Only if they differ: does a container with a GPU run? Then not without --force.
 *  4. daemon-reload, and wakechain-settle.service once: it starts and stops sockets.
 *  5. Each new or changed socket is waited for, as it may be that it cannot listen.
 *
 * Killed on the way it leaves a folder in /tmp; whatever systemd has been told to do, it does. */

#define ENGINE_TIMEOUT (5 * USEC_PER_SEC)
#define LISTEN_TIMEOUT (30 * USEC_PER_SEC)
#define SETTLE_UNIT "wakechain-settle.service"

typedef struct Reload {
        const CtlOptions *options; /* borrowed */
        Config *config;
        UnitDifference units;
} Reload;

static void reload_done(Reload *reload) {
        unit_difference_done(&reload->units);
        config_free(reload->config);
}

/* 1 */

static int reload_read(Reload *reload) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        int r;

        r = config_load(&reload->config, /* root= */ "", NULL, &problems);
        if (r == -ENOENT) {
                log_error("No configuration found, looked for /etc/wakechain/dependencies.json and others.");
                return CTL_FAILED;
        }
        for (size_t i = 0; i < problems.n_problems; i++)
                if (problems.problems[i].level == PROBLEM_ERROR) {
                        _cleanup_free_ char *line = problem_to_string(&problems.problems[i]);

                        log_error("%s", line ? line : "(out of memory)");
                }
        if (r < 0 && r != -EBADMSG)
                (void) log_error_errno(r, "Failed to read the configuration: %m");
        if (r < 0 || problems.n_errors > 0) {
                log_error("Nothing was changed.");
                return CTL_FAILED;
        }
        return CTL_FINE;
}

static int print_text(const Reload *reload) {
        for (size_t i = 0; i < reload->units.n_changes; i++) {
                const UnitChange *change = &reload->units.changes[i];

                printf("%-8s %s", unit_change_kind_to_string(change->kind),
                       *change->service ? change->service : "(all services)");
                for (char **unit = change->units; *unit; unit++)
                        printf("%s%s", unit == change->units ? ": " : ", ", *unit);
                putchar('\n');
        }
        return CTL_FINE;
}

static int print_json(const Reload *reload) {
        json_object *list = json_object_new_array();
        bool fine = list != NULL;

        for (size_t i = 0; fine && i < reload->units.n_changes; i++) {
                const UnitChange *change = &reload->units.changes[i];
                json_object *entry = json_object_new_object(), *units = json_object_new_array();

                fine = json_append(list, entry) && json_add_text(entry, "service", change->service) &&
                       json_add_text(entry, "change", unit_change_kind_to_string(change->kind));
                fine = json_add(entry, "units", units) && fine;
                for (char **unit = change->units; fine && *unit; unit++)
                        fine = json_append(units, json_object_new_string(*unit));
        }
        return output_json(json_built(list, fine));
}

/* 3 */

/* An engine that does not answer may have containers that run, too; but nobody is kept from reloading by it. */
static int reload_spare_gpus(const Reload *reload) {
        _cleanup_(survey_freep) Survey *survey = NULL;
        _cleanup_(strv_freep) char **running = NULL;
        const ListedContainer *list;
        size_t n, n_found = 0;
        int r;

        r = survey_new(&survey, reload->config->engine_socket, ENGINE_TIMEOUT);
        if (r == -ENOENT)
                return CTL_FINE;
        if (r >= 0) {
                list = survey_list(survey, &n);
                for (size_t i = 0; r >= 0 && i < n; i++)
                        if (list[i].running)
                                r = strv_append(&running, list[i].name);
        }
        if (r >= 0)
                r = survey_inspect(survey, running);
        if (r < 0)
                log_warning("Whether containers with a GPU run is not known, as the engine at %s does not answer.",
                            reload->config->engine_socket);
        for (char **name = running; r >= 0 && name && *name; name++) {
                const ContainerInfo *info = survey_find(survey, *name);

                if (info && info->gpu) {
                        log_warning("%s runs with a GPU.", *name);
                        n_found++;
                }
        }
        if (n_found == 0 || reload->options->force)
                return CTL_FINE;
        log_error("A daemon-reload may take a GPU from containers that run, if the engine uses systemd's cgroup driver: they "
                  "would have to be restarted. Put them to sleep before, or use --force. Nothing was changed.");
        return CTL_FAILED;
}

/* 4 and 5 */

typedef struct Waiting Waiting;

typedef struct AwaitedSocket {
        Waiting *waiting;
        char *unit;
        UnitWatch *watch; /* NULL: it listens, or cannot */
} AwaitedSocket;

struct Waiting {
        sd_event *event; /* borrowed */
        UnitWatch *settle; /* NULL: that has ended */
        AwaitedSocket *sockets;
        size_t n_sockets, n_failed;
};

static void waiting_done(Waiting *waiting) {
        for (size_t i = 0; i < waiting->n_sockets; i++) {
                (void) unit_watch_free(waiting->sockets[i].watch);
                free(waiting->sockets[i].unit);
        }
        free(waiting->sockets);
        (void) unit_watch_free(waiting->settle);
}

static void waiting_look(Waiting *waiting) {
        for (size_t i = 0; i < waiting->n_sockets; i++)
                if (waiting->sockets[i].watch)
                        return;
        if (!waiting->settle)
                (void) sd_event_exit(waiting->event, waiting->n_failed > 0 ? CTL_FAILED : CTL_FINE);
}

static void awaited_fail(AwaitedSocket *socket, const char *why) {
        log_error("%1$s does not listen%2$s: see 'systemctl status %1$s'.", socket->unit, why);
        socket->waiting->n_failed++;
}

static void waiting_on_socket(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                              void *userdata) {
        AwaitedSocket *socket = ASSERT_PTR(userdata);

        /* One that is there already may have to be another one, so only what it is after settling counts. */
        if (!info || socket->waiting->settle || (info->state != UNIT_ACTIVE && info->state != UNIT_FAILED))
                return;
        if (info->state == UNIT_FAILED)
                awaited_fail(socket, "");
        socket->watch = unit_watch_free(watch);
        waiting_look(socket->waiting);
}

/* A socket that an administrator has masked, or that settling leaves alone for another reason, stays as it is for ever. */
static int waiting_on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        Waiting *waiting = ASSERT_PTR(userdata);

        if (waiting->settle)
                log_error("Sockets and redirects are not settled yet: see 'systemctl status " SETTLE_UNIT "'.");
        for (size_t i = 0; i < waiting->n_sockets; i++)
                if (waiting->sockets[i].watch)
                        awaited_fail(&waiting->sockets[i], " yet");
        (void) sd_event_exit(waiting->event, CTL_FAILED);
        return 0;
}

static int waiting_watch_sockets(Waiting *waiting) {
        int r = 0;

        for (size_t i = 0; i < waiting->n_sockets && r >= 0; i++)
                r = unit_watch_new(&waiting->sockets[i].watch, waiting->event, waiting->sockets[i].unit,
                                   waiting_on_socket, &waiting->sockets[i]);
        return r;
}

static void waiting_on_settle(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                              void *userdata) {
        Waiting *waiting = ASSERT_PTR(userdata);
        int r;

        if (info && info->busy)
                return;
        if (!info && error == -ENOTCONN)
                return;
        if (!info)
                log_warning("Sockets and redirects could not be settled: %s", sentence);
        waiting->settle = unit_watch_free(watch);
        r = waiting_watch_sockets(waiting);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to watch the sockets: %m");
                (void) sd_event_exit(waiting->event, CTL_FAILED);
                return;
        }
        waiting_look(waiting);
}

static bool is_socket(const char *unit) {
        const char *dot = strrchr(unit, '.');

        return dot && streq(dot, ".socket");
}

/* Those of services that are gone are stopped when their clients have ended, which is not waited for. */
static int waiting_collect(Waiting *waiting, const Reload *reload) {
        for (size_t i = 0; i < reload->units.n_changes; i++)
                for (char **unit = reload->units.changes[i].units; *unit; unit++) {
                        AwaitedSocket *sockets;

                        if (!is_socket(*unit) || !unit_tree_has_unit(&reload->units.now, *unit) ||
                            (*reload->units.changes[i].service &&
                             service_is_disabled("", reload->units.changes[i].service)))
                                continue;
                        sockets = reallocarray(waiting->sockets, waiting->n_sockets + 1, sizeof(*sockets));
                        if (!sockets)
                                return -ENOMEM;
                        waiting->sockets = sockets;
                        sockets[waiting->n_sockets] = (AwaitedSocket){ .waiting = waiting, .unit = strdup(*unit) };
                        if (!sockets[waiting->n_sockets++].unit)
                                return -ENOMEM;
                }
        return 0;
}

static int reload_settle(const Reload *reload) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_event_source_unrefp) sd_event_source *patience = NULL;
        _cleanup_(waiting_done) Waiting waiting = {};
        int r;

        r = sd_event_new(&event);
        waiting.event = event;
        if (r >= 0)
                r = waiting_collect(&waiting, reload);
        if (r >= 0)
                r = alarm_new(&patience, event, 0, waiting_on_patience, &waiting);
        if (r >= 0)
                r = unit_watch_new(&waiting.settle, event, SETTLE_UNIT, waiting_on_settle, &waiting);
        if (r >= 0) {
                unit_watch_start(waiting.settle);
                alarm_start(patience, LISTEN_TIMEOUT);
                r = sd_event_loop(event);
        }
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for the sockets: %m");
                return CTL_FAILED;
        }
        return r;
}

static int reload_systemd(void) {
        _cleanup_free_ char *sentence = NULL;
        int r;

        r = manager_reload(&sentence);
        if (r == -EACCES || r == -EPERM)
                log_error("You may not have systemd read its units again: root may. Nothing was changed.");
        else if (r < 0)
                log_error("systemd did not read its units again: %s", sentence ? sentence : strerror(-r));
        return r < 0 ? CTL_FAILED : CTL_FINE;
}

int verb_reload(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(reload_done) Reload reload = { .options = options };
        int r;

        r = reload_read(&reload);
        if (r == CTL_FINE)
                r = unit_difference_find(&reload.units);
        if (r == CTL_FINE)
                r = (options->json ? print_json : print_text)(&reload);
        if (r != CTL_FINE)
                return r;

        if (reload.units.n_changes == 0) {
                log_notice("The units are as the configuration wants them, so systemd need not read them again. What is not in "
                           "them is in force from the next wake on.");
                return CTL_FINE;
        }
        if (options->dry_run)
                return CTL_FINE;
        (void) fflush(stdout);
        r = reload_spare_gpus(&reload);
        if (r == CTL_FINE)
                r = reload_systemd();
        return r == CTL_FINE ? reload_settle(&reload) : r;
}
