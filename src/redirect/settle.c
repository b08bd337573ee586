#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/messages.h"
#include "config/disabled.h"
#include "control/status-file.h"
#include "nft/firewall.h"
#include "redirect/decision.h"
#include "redirect/runtime.h"
#include "redirect/settle.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Settle: facts, decisions, and then, in this order, one transaction of nftables, the status files, jobs for systemd. All of it but the
 * questions to the engine is done under the lock that wakers take for their own moves. A socket that is started again
 * is looked at once more, when its job is done. */

#define LOCK_TIMEOUT (10 * USEC_PER_SEC)
#define SOCKETS_TIMEOUT (15 * USEC_PER_SEC) /* a front hands over before its socket starts again */
#define ROUNDS_MAX 4
#define PATH_SIZE 512
/* It was said since the boot, and is not said again. */
#define UNUSABLE "/run/wakechain/nftables-unusable"
/* What systemd's units and the engines' folders were when it was last settled, as a number. */
#define SEEN "/run/wakechain/seen"
#define NAMES "/run/wakechain/names"

typedef struct Settling {
        const char *root;
        bool report;
        uint64_t containers; /* what runtime_hash() was before the engine was asked */
        int lock;
        Redirect *redirect; /* NULL: cannot be used */
        int redirect_error;
        Facts facts;
        Decision *decisions; /* one for each of the facts' services */
        Places places;
} Settling;

static void settling_done(Settling *settling) {
        /* First, since redirect_free() waits for the kernel, and others wait for the lock. */
        settling->lock = fd_close(settling->lock);
        places_done(&settling->places);
        free(settling->decisions);
        facts_done(&settling->facts);
        redirect_free(settling->redirect);
}

static int settling_begin(Settling *settling) {
        int r;

        settling->containers = runtime_hash(settling->root);
        r = facts_ask(&settling->facts, settling->root);
        if (r < 0 || settling->facts.broken)
                return r;
        settling->lock = redirect_lock_wait(settling->root, LOCK_TIMEOUT);
        if (settling->lock == -ETIMEDOUT)
                return log_error_errno(settling->lock,
                                       "Somebody holds the lock of the redirects and does not let go.");
        if (settling->lock < 0)
                log_warning_errno(settling->lock, "Failed to lock the redirects, going on without: %m");

        settling->redirect_error = redirect_new(&settling->redirect);
        if (settling->redirect_error == -ENOMEM)
                return log_oom();
        r = facts_look(&settling->facts, settling->root, settling->redirect);
        if (r < 0)
                return r;
        settling->decisions = new0(Decision, settling->facts.n + 1);
        if (!settling->decisions)
                return log_oom();
        for (size_t i = 0; i < settling->facts.n; i++)
                settling->decisions[i] = decide(&settling->facts.services[i]);
        r = places_find(&settling->places, settling->facts.services, settling->decisions, settling->facts.n);
        return r < 0 ? log_error_errno(r, "Failed to find who has which port: %m") : 0;
}

/* Files that say one thing by being there. */
static bool flag_is_up(const char *root, const char *flag) {
        char path[PATH_SIZE];

        (void) snprintf(path, sizeof(path), "%s%s", root, flag);
        return access(path, F_OK) >= 0;
}

static void flag_set(const char *root, const char *flag, bool up) {
        char path[PATH_SIZE];

        (void) snprintf(path, sizeof(path), "%s%s", root, flag);
        if (up)
                (void) fd_close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
        else if (unlink(path) < 0 && errno != ENOENT)
                log_debug_errno(-errno, "Failed to remove '%s', ignoring: %m", path);
}

/* The table */

static void tell_unusable(const Settling *settling) {
        for (size_t i = 0; i < settling->facts.n; i++) {
                const Service *service = settling->facts.services[i].service;

                if (!service || settling->decisions[i].aim == REDIRECT_GONE)
                        continue;
                log_struct(LOG_ERR,
                           "MESSAGE=nftables cannot be used (%s), so clients of '%s' cannot be redirected while it sleeps: "
                           "give the service a 'listen' address in dependencies.json, which needs no firewall.",
                           strerror(-settling->redirect_error), service->name,
                           "MESSAGE_ID=" WAKECHAIN_MESSAGE_REDIRECT_FAILED, "WAKECHAIN_SERVICE=%s", service->name,
                           "ERRNO=%i", -settling->redirect_error);
        }
}

/* Only of what has changed in this run, so that it is said once. */
static void tell_rivals(const Settling *settling, const bool *changed) {
        for (size_t i = 0; i < settling->facts.n; i++) {
                const Service *service = settling->facts.services[i].service;
                const char *rival = settling->places.rivals[i];

                if (!service || !changed[i] || !rival)
                        continue;
                log_struct(LOG_WARNING,
                           "MESSAGE=Port %u of '%s' is published by '%s' on the same address, too: its clients reach '%s', and "
                           "'%s' can only be woken by hand. Publish one of them on another port, or give it a 'listen' "
                           "address in dependencies.json.",
                           service->port, service->name, rival, rival, service->name,
                           "MESSAGE_ID=" WAKECHAIN_MESSAGE_PORT_SHARED, "WAKECHAIN_SERVICE=%s", service->name);
        }
}

static void tell_of_firewall(Redirect *redirect) {
        _cleanup_(strv_freep) char **problems = NULL;
        int r;

        r = firewall_check(&problems, redirect);
        if (r < 0)
                log_debug_errno(r, "Failed to look at the firewall, ignoring: %m");
        for (char **problem = problems; problem && *problem; problem++)
                log_warning("%s", *problem);
}

/* `redirect` NULL: only to see what would change. */
static int settle_differences(const Settling *settling, Redirect *redirect, bool *changed) {
        const Places *places = &settling->places;

        return redirect_settle(redirect, settling->facts.table, places->entries, places->n, places->elements,
                               places->n_elements, changed);
}

static int settle_table(const Settling *settling) {
        const size_t n = settling->places.n_taken;
        _cleanup_free_ bool *changed = NULL;
        bool whole;
        int r;

        if (!settling->redirect) {
                /* Where there is no nftables, there is no table either. */
                if (n == 0)
                        return 0;
                if (settling->report || !flag_is_up(settling->root, UNUSABLE))
                        tell_unusable(settling);
                flag_set(settling->root, UNUSABLE, true);
                return settling->redirect_error;
        }
        flag_set(settling->root, UNUSABLE, false);

        changed = new0(bool, settling->facts.n + 1);
        if (!changed)
                return log_oom();
        whole = settling->facts.table->complete;
        r = settle_differences(settling, settling->redirect, changed);
        if (r < 0)
                return log_error_errno(r, "Failed to change the redirects: %s",
                                       redirect_error(settling->redirect));
        if (n == 0)
                flag_set(settling->root, SETTLED, false);
        else if (settling->report || !whole)
                tell_of_firewall(settling->redirect);
        if (r == 0)
                return 0;

        if (!whole && n > 0 && flag_is_up(settling->root, SETTLED))
                log_warning("The firewall was flushed, and the redirects of %zu stacks with it. They are back. "
                            "Restart the firewall's unit instead: the redirects follow that at once.",
                            n);
        tell_rivals(settling, changed);
        if (n > 0)
                flag_set(settling->root, SETTLED, true);
        return 0;
}

/* Names, as wakechain-names(8) reads them: of two services that have the same one on a network, it is that of whom the table has it. */

static void write_name(FILE *stream, const Places *places, const ServiceFacts *service,
                       const RedirectElement *wanted, const char *from, const char *name, const char *address) {
        const RedirectElement *found = bsearch(wanted, places->elements, places->n_elements, sizeof(*wanted),
                                               redirect_element_compare);

        if (found && streq(found->service, service->name))
                fprintf(stream, "%s %s %s\n", from, name, address);
}

static void write_names(FILE *stream, const Settling *settling, const ServiceFacts *service) {
        const Places *places = &settling->places;

        for (size_t i = 0; service->service && i < service->bindings.n_networks; i++) {
                const BindingNetwork *network = &service->bindings.networks[i];
                const char *const interfaces[] = { network->bridge, "lo" };
                const char *address = service_virtual_address(service->service, network->container);

                for (char **name = network->names; name && *name && *address; name++) {
                        for (size_t k = 0; k < ELEMENTSOF(interfaces); k++) {
                                const RedirectElement wanted = redirect_name_element(interfaces[k], *name, "");

                                write_name(stream, places, service, &wanted, interfaces[k], *name, address);
                        }
                        for (char **guest = network->guests; guest && *guest; guest++) {
                                const RedirectElement wanted = redirect_guest_element(*guest, *name, "");

                                write_name(stream, places, service, &wanted, *guest, *name, address);
                        }
                }
        }
}

static void settle_names(const Settling *settling) {
        _cleanup_free_ char *text = NULL, *old = NULL;
        char path[PATH_SIZE];
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        int r;

        for (size_t i = 0; stream && i < settling->facts.n; i++)
                if (settling->places.n_elements > 0)
                        write_names(stream, settling, &settling->facts.services[i]);
        if (!stream || fclose(stream) != 0) {
                (void) log_oom();
                return;
        }
        (void) snprintf(path, sizeof(path), "%s" NAMES, settling->root);
        r = file_read(path, SIZE_MAX - 1, &old, NULL);
        if (r >= 0 ? streq(old, text) : r == -ENOENT && size == 0)
                return;
        r = file_replace(path, text, size, 0644, /* sync= */ false);
        if (r < 0)
                log_warning_errno(r, "Failed to write '%s', names of sleeping stacks are not known: %m", path);
}

/* Status files */

/* The folders are the wakers', who might have put a link in the place of one. */
static void forget_service(const char *root, const char *service) {
        static const char *const folders[] = { STATUS_FOLDER, BINDINGS_FOLDER };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_close_ int folder = -EBADF;
                char path[PATH_SIZE], name[256];

                (void) snprintf(path, sizeof(path), "%s%s", root, folders[i]);
                (void) snprintf(name, sizeof(name), "%s.json", service);
                folder = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (folder >= 0 && unlinkat(folder, name, 0) < 0 && errno != ENOENT)
                        log_debug_errno(-errno, "Failed to remove '%s/%s', ignoring: %m", path, name);
        }
}

static void say(const Settling *settling, const ServiceFacts *service, ServiceState state) {
        _cleanup_(status_freep) Status *now = facts_read_status(settling->root, service->name);
        const Status *seen = service->status;
        const bool awake = state == SERVICE_AWAKE;
        Status status = {
                .service = (char *) service->name,
                .state = state,
                .since_usec = time_now(CLOCK_REALTIME),
                .trigger = awake                        ? TRIGGER_OUTSIDE
                           : seen && seen->trigger >= 0 ? seen->trigger
                                                        : TRIGGER_MANUAL,
        };
        int r;

        /* Wakers write theirs without the lock: one that has come since this was looked at knows better. */
        if (!now != !seen || (now && (now->state != seen->state || now->since_usec != seen->since_usec)))
                return;
        r = status_file_write(&status, settling->root);
        if (r < 0)
                log_warning_errno(r, "Failed to write the status of '%s', ignoring: %m", service->name);
        if (awake || seen)
                log_struct(LOG_NOTICE, "MESSAGE=%s %s.", service->name,
                           awake ? "runs: somebody else has started it"
                                 : "is asleep: it does not run, and nobody watches over it",
                           "WAKECHAIN_SERVICE=%s", service->name);
}

static void settle_statuses(const Settling *settling) {
        for (size_t i = 0; i < settling->facts.n; i++) {
                const ServiceFacts *service = &settling->facts.services[i];
                StatusAction action = settling->decisions[i].status;

                if (action == STATUS_REMOVE)
                        forget_service(settling->root, service->name);
                else if (action != STATUS_LEAVE)
                        say(settling, service, action == STATUS_SAY_OUTSIDE ? SERVICE_AWAKE : SERVICE_ASLEEP);
        }
}

/* Jobs */

/* `folder` has the socket NAME.sock; NULL: it is none of a path. */
static size_t settle_socket(const Settling *settling, const SocketFacts *socket, UnitAction action,
                            const char *folder, const char *name) {
        static const char *const methods[_UNIT_ACTION_MAX] = {
                [UNIT_START] = "StartUnit", [UNIT_RESTART] = "TryRestartUnit", [UNIT_STOP] = "StopUnit"
        };

        if (action == UNIT_LEAVE)
                return 0;
        if (action == UNIT_RESTART)
                log_notice("%s counts as active, and systemd does not listen there: starting it again.",
                           socket->unit->name);
        else if (action == UNIT_STOP)
                log_notice("%s is of no service any more: stopping it.", socket->unit->name);
        if (folder && action != UNIT_STOP) {
                char path[PATH_SIZE];

                /* systemd removes whatever is there, but a folder. */
                (void) snprintf(path, sizeof(path), "%s%s/%s.sock", settling->root, folder, name);
                (void) rmdir(path);
        }
        return units_queue(&settling->facts.units, methods[action], socket->unit->name) >= 0;
}

/* Of each service, either those that are to end, or the others. */
static size_t settle_sockets(const Settling *settling, bool ends) {
        size_t n = 0;

        for (size_t i = 0; i < settling->facts.n; i++) {
                const ServiceFacts *service = &settling->facts.services[i];
                const Decision *decision = &settling->decisions[i];

                if ((decision->control == UNIT_STOP) == ends)
                        n += settle_socket(settling, &service->control, decision->control,
                                           "/run/wakechain/control", service->name);
                if ((decision->socket == UNIT_STOP) == ends)
                        n += settle_socket(settling, &service->socket, decision->socket, NULL, NULL);
                if (ends || !decision->restart_front)
                        continue;
                log_notice("%s listens where %s does not any more: starting it again.", service->front->name,
                           service->socket.unit->name);
                (void) units_queue(&settling->facts.units, "TryRestartUnit", service->front->name);
        }
        return n;
}

/* Returns how many sockets it acts on. Those that are to end are first, and alone: another one may have their port in the next round. */
static size_t settle_units(const Settling *settling) {
        const SocketFacts *pages = &settling->facts.pages, *api = &settling->facts.api,
                          *names = &settling->facts.names;
        size_t n = settle_sockets(settling, /* ends= */ true);

        if (n > 0)
                return n;
        n += settle_socket(settling, pages, decide_socket(pages), "/run/wakechain", "page");
        n += settle_socket(settling, api, decide_socket(api), "/run/wakechain", "web");
        n += settle_socket(settling, names, decide_socket(names), NULL, NULL);
        return n + settle_sockets(settling, /* ends= */ false);
}

/* Once the sockets are there, one of which belongs to it. */
static void settle_wakers(const Settling *settling) {
        for (size_t i = 0; i < settling->facts.n; i++) {
                const char *service = settling->facts.services[i].name;
                const Decision *decision = &settling->decisions[i];
                char unit[256];

                if (!decision->start_waker && !decision->stop_waker)
                        continue;
                (void) snprintf(unit, sizeof(unit), "wake@%s.service", service);
                if (units_queue(&settling->facts.units, decision->stop_waker ? "StopUnit" : "StartUnit", unit) < 0)
                        continue;
                log_struct(LOG_NOTICE, "MESSAGE=%s%s %s, which %s.", service,
                           decision->stop_waker ? " is another one now: stopped" : " runs: started", unit,
                           decision->stop_waker ? "had the stack that was called so before"
                                                : "puts it to sleep when nobody uses it",
                           "WAKECHAIN_SERVICE=%s", service);
        }
}

/* What the programs need to be there; whoever removed it has removed what was in it, too. The same is in units/tmpfiles.conf. */
static void restore_places(const Settling *settling) {
        static const struct {
                const char *path;
                mode_t mode;
                bool of_root;
        } places[] = {
                { "/run/wakechain/control", S_IFDIR | 0750, true },
                { "/run/wakechain/lease", S_IFDIR | 0700, false },
                { "/run/wakechain/redirect.lock", S_IFREG | 0600, false },
                { STATUS_FOLDER, S_IFDIR | 0750, false },
                { BINDINGS_FOLDER, S_IFDIR | 0755, false },
                { "/var/lib/wakechain/lease", S_IFDIR | 0700, false },
        };
        const struct passwd *user = getpwnam("wakechain");

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                char path[PATH_SIZE];
                struct stat status;
                bool there;

                (void) snprintf(path, sizeof(path), "%s%s", settling->root, places[i].path);
                there = lstat(path, &status) >= 0;
                if (there && (status.st_mode & S_IFMT) == (places[i].mode & S_IFMT) &&
                    (!user || (status.st_mode == places[i].mode &&
                               status.st_uid == (places[i].of_root ? 0 : user->pw_uid))))
                        continue;
                /* What is in its place otherwise systemd-tmpfiles(8) would not remove. */
                if (there && (status.st_mode & S_IFMT) != (places[i].mode & S_IFMT))
                        (void) remove(path);
                log_notice("'%s' is missing or not as it should be, making it again.", places[i].path);
                (void) units_queue(&settling->facts.units, "StartUnit", "wakechain-folders.service");
                return;
        }
}

static void tell_of_engine(const Settling *settling) {
        if (settling->facts.engine_is_silent)
                log_notice("The container engine at %s does not answer, going by what is known.",
                           settling->facts.config->engine_socket);
        for (char **orphan = settling->facts.orphans; orphan && *orphan; orphan++)
                log_notice("Container %s runs, and was started by wakechain for a service of %s that has it no more: nobody "
                           "puts it to sleep. If it is not needed: docker stop %s",
                           *orphan, settling->facts.config ? settling->facts.config->path : "dependencies.json",
                           *orphan);
}

static void write_seen(char text[static 64], const Units *units, uint64_t containers) {
        (void) snprintf(text, 64, "%" PRIx64 " %" PRIx64 "\n", units_hash(units), containers);
}

/* Never believed for more than that nothing has happened: what cannot be read or kept is another number. */
static void keep_seen(const Settling *settling) {
        char path[PATH_SIZE], text[64];
        int r;

        (void) snprintf(path, sizeof(path), "%s" SEEN, settling->root);
        write_seen(text, &settling->facts.units, settling->containers);
        r = file_replace(path, text, strlen(text), 0644, /* sync= */ false);
        if (r < 0)
                log_debug_errno(r, "Failed to write '%s', ignoring: %m", path);
}

static bool is_as_seen(const char *root) {
        _cleanup_(units_done) Units units = UNITS_NULL;
        _cleanup_free_ char *seen = NULL;
        char path[PATH_SIZE], text[64];

        (void) snprintf(path, sizeof(path), "%s" SEEN, root);
        if (file_read(path, sizeof(text), &seen, NULL) < 0 || units_read(&units) < 0)
                return false;
        write_seen(text, &units, runtime_hash(root));
        return streq(seen, text);
}

/* 1: something was done that may change what is so. */
static int settle_round(const char *root, bool report, uint64_t begun_usec) {
        _cleanup_(settling_done) Settling settling = {
                .root = root, .report = report, .lock = -EBADF, .facts.begun_usec = begun_usec
        };
        size_t n;
        int r, k;

        r = settling_begin(&settling);
        if (r < 0 || settling.facts.broken)
                return r;
        restore_places(&settling);
        k = settle_table(&settling);
        if (k >= 0)
                settle_names(&settling);
        settle_statuses(&settling);
        n = settle_units(&settling);
        settling.lock = fd_close(settling.lock);
        if (n > 0)
                units_wait_for_sockets(&settling.facts.units, SOCKETS_TIMEOUT);
        settle_wakers(&settling);
        if (k >= 0)
                keep_seen(&settling);
        if (report)
                tell_of_engine(&settling);
        if (k < 0)
                return k;
        if (settling.facts.sure_usec > 0)
                (void) usleep((useconds_t) usec_sub(settling.facts.sure_usec, time_now(CLOCK_MONOTONIC)));
        return n > 0 || settling.facts.sure_usec > 0;
}

int settle(const char *root, bool report) {
        uint64_t begun_usec = time_now(CLOCK_MONOTONIC);
        int r = 1;

        for (unsigned i = 0; i < ROUNDS_MAX && r > 0; i++)
                r = settle_round(root, report && i == 0, begun_usec);
        return MIN(r, 0);
}

int settle_again(const char *root) {
        return is_as_seen(root) ? 0 : settle(root, /* report= */ false);
}

/* What is there, for people */

static const char *const action_remarks[_UNIT_ACTION_MAX] = {
        [UNIT_START] = "its socket is down",
        [UNIT_RESTART] = "its socket counts as active and does not listen",
        [UNIT_STOP] = "is in no file any more",
};

static void print_ports(const ServiceFacts *service, const char *rival) {
        const char *key = service->n_elements > 0 ? service->elements[0].key : "", *port = strstr(key, " . ");
        const char *word = rival                                       ? "shared"
                           : !service->chain || !service->chain->chain ? "none"
                           : service->chain->redirect_port > 0         ? "up"
                                                                       : "lifted";

        if (service->n_elements > 0)
                printf(" %5s -> %5u  %-8s", port ? port + strlen(" . ") : key, service->redirect_port, word);
        else if (service->service && service_is_redirected(service->service) && service->service->port == 0)
                printf(" %5s -> %5u  %-8s", service_has_names(service->service) ? "names" : "udp",
                       service->redirect_port, word);
        else if (service->service && service_is_redirected(service->service))
                printf(" %5u -> %5u  %-8s", service->service->port, service->redirect_port, word);
        else
                printf(" %5s    %5s  %-8s", "", "", "");
}

/* A line for each network. */
static void print_names(const ServiceFacts *service) {
        for (size_t i = 0; service->service && i < service->bindings.n_networks; i++) {
                const BindingNetwork *network = &service->bindings.networks[i];

                printf("  %s is, on %s:", service_virtual_address(service->service, network->container),
                       network->bridge);
                for (char **name = network->names; name && *name; name++)
                        printf(" %s", *name);
                putchar('\n');
        }
}

static void print_further(const ServiceFacts *service) {
        for (size_t i = 0; i < service->bindings.n_further; i++) {
                const FurtherPort *further = &service->bindings.further[i];

                printf("%-24s %5u%s %s%s\n", "", further->port, further->udp ? "/udp" : "",
                       further->rival ? "not taken: so has " : "too", strempty(further->rival));
        }
}

static bool print_service(const Settling *settling, size_t i, bool changed, const char *rival) {
        const ServiceFacts *service = &settling->facts.services[i];
        const Decision *decision = &settling->decisions[i];
        const char *remark = action_remarks[decision->socket] ?: action_remarks[decision->control];
        bool well = !remark && !changed && !rival && decision->status == STATUS_LEAVE;

        if (!remark && rival)
                remark = "clients reach who has the port:";
        else if (!remark && !well)
                remark = "to be settled: systemctl restart wakechain-redirect.service";
        else if (!remark && service->service && service_has_front(service->service) && !service->socket.listens)
                remark = service_is_disabled(settling->root, service->name) ? "disabled"
                                                                            : "its socket was stopped";
        printf("%-24s", service->name);
        print_ports(service, rival);
        printf(" %s%s%s%s%s\n", service_state_to_string(service->status ? service->status->state : SERVICE_ASLEEP),
               remark ? "  " : "", strempty(remark), rival ? " " : "", strempty(rival));
        if (service->service && service_is_redirected(service->service))
                print_further(service);
        print_names(service);
        return well;
}

static int print_all(const Settling *settling) {
        _cleanup_free_ bool *changed = new0(bool, settling->facts.n + 1);
        int bad = 0, r;

        if (!changed)
                return log_oom();
        r = settle_differences(settling, NULL, changed);
        if (r < 0)
                return log_error_errno(r, "Failed to compare the redirects: %m");
        for (size_t i = 0; i < settling->facts.n; i++) {
                const ServiceFacts *service = &settling->facts.services[i];
                bool wrong = settling->decisions[i].aim == REDIRECT_GONE ? service->chain != NULL : changed[i];

                if (service->service || service->generated || wrong)
                        bad += !print_service(settling, i, wrong, settling->places.rivals[i]);
        }
        return bad > 0;
}

int settle_check(const char *root) {
        _cleanup_(settling_done) Settling settling = { .root = root, .lock = -EBADF };
        _cleanup_(strv_freep) char **problems = NULL;
        int r, bad;

        r = settling_begin(&settling);
        if (r < 0)
                return r;
        if (settling.facts.broken)
                return -EBADMSG;
        if (!settling.redirect)
                return log_error_errno(settling.redirect_error, "Failed to look at the redirects: %m");
        bad = print_all(&settling);
        if (bad < 0)
                return bad;
        r = firewall_check(&problems, settling.redirect);
        if (r < 0)
                return log_error_errno(r, "Failed to look at the firewall: %m");
        for (char **problem = problems; problem && *problem; problem++)
                printf("%s\n", *problem);
        return bad || problems;
}
