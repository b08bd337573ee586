#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/disabled.h"
#include "control/status-file.h"
#include "redirect/facts.h"
#include "redirect/runtime.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Facts, from the slow to the quick: the file, and what the engine publishes, which is kept for when it does not answer; what systemd, the
 * table and the status files say of each service, which is anything that has a place in one of them; and last, from the engine's list and
 * the leases, what runs, who watches over it, and whether it is wakechain's own. */

#define ENGINE_TIMEOUT (2 * USEC_PER_SEC)
#define ENGINE_LAG USEC_PER_SEC
#define SOCKET_AGAIN (30 * USEC_PER_SEC) /* a socket that has failed is started again after that */
#define WAKER_AGAIN (5 * USEC_PER_MINUTE) /* the same of a waker, for a stack that runs */
#define ID_SHOWN 12
#define LEARNED "2 "
#define GUESTS_MAX 16U /* of a network */
#define GUEST_LINKS_MAX 4U /* of a container */
#define PATH_SIZE 512
#define RESOLV_SIZE_MAX ((size_t) 64 * 1024)

void facts_done(Facts *facts) {
        for (size_t i = 0; i < facts->n; i++) {
                status_free(facts->services[i].status);
                free(facts->services[i].elements);
        }
        free(facts->services);
        strv_free(facts->strays);
        strv_free(facts->orphans);
        restored_lease_list_free(facts->leases);
        units_done(&facts->units);
        listeners_done(&facts->listeners);
        redirect_snapshot_free(facts->table);
        survey_free(facts->survey);
        for (size_t i = 0; facts->bindings && i < facts->config->n_services; i++)
                redirect_bindings_done(&facts->bindings[i]);
        free(facts->bindings);
        config_free(facts->config);
        *facts = (Facts){};
}

/* Whatever it is. */
static _printf_(1, 2) bool is_there(const char *format, ...) {
        char path[PATH_SIZE];
        va_list list;

        va_start(list, format);
        (void) vsnprintf(path, sizeof(path), format, list);
        va_end(list);
        return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

/* The file and the engine */

static void print_id(FILE *stream, const Survey *survey, const char *name, bool keep) {
        const ListedContainer *container = survey_listed(survey, name);

        if (container)
                fprintf(stream, "%.*s:%" PRIx64 "%s,", ID_SHOWN, container->id, container->networks,
                        keep ? "+" : "");
}

/* By their ids, which tell one container from the next of its name. NULL: out of memory. */
static char *ids_of(const Survey *survey, const Service *service, char *const *owners) {
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return NULL;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                if (dependency->kind == DEPENDENCY_CONTAINER && !dependency->implied)
                        print_id(stream, survey, dependency->name, dependency->keep);
        }
        for (; owners && owners[0] && owners[1]; owners += 2)
                print_id(stream, survey, owners[1], /* keep= */ false);
        /* And by what is asked about them: LEARNED grows with what is learned of each, so that after an upgrade all are asked once. */
        fprintf(stream, LEARNED "%u%s%s", service->port, service_has_names(service) ? " names" : "",
                service->ports_given ? "" : "+");
        for (size_t i = 0; i < service->n_named; i++)
                fprintf(stream, " %s", service->named[i].container);
        for (size_t i = 0; i < service->n_ports; i++)
                fprintf(stream, "+%u%s", service->ports[i].port,
                        service_port_is_udp(&service->ports[i]) ? "u" : "");
        return fclose(stream) == 0 ? text : mfree(text);
}

/* Of TCP. */
static bool is_of_service(const Service *service, uint16_t port) {
        bool named = port == service->port;

        for (size_t i = 0; i < service->n_ports && !named; i++)
                named = service->ports[i].port == port && !service_port_is_udp(&service->ports[i]);
        return named;
}

static int learn_further_port(RedirectBindings *ret, const Dependency *dependency, const ContainerInfo *info,
                              uint16_t port, bool udp) {
        _cleanup_(redirect_bindings_done) RedirectBindings own = {};
        int r;

        if (redirect_bindings_further(ret, port, udp))
                return 0;
        r = redirect_bindings_from_ports(&own, info->bindings, info->n_bindings, port, udp);
        if (r <= 0)
                return r;
        own.publisher = strdup(dependency->name);
        r = own.publisher ? redirect_bindings_add_further(ret, port, udp, &own) : -ENOMEM;
        if (r == -E2BIG)
                log_debug("'%s' publishes too many ports, leaving out %u.", dependency->name, port);
        return r == -E2BIG ? 0 : r;
}

/* Of a container that is to be made anew. */
static int keep_further_ports(RedirectBindings *ret, const RedirectBindings *old, const char *container) {
        int r = 0;

        for (size_t i = 0; i < old->n_further && r >= 0; i++) {
                const FurtherPort *further = &old->further[i];
                _cleanup_(redirect_bindings_done) RedirectBindings own = {
                        .known = further->bindings.known,
                        .any_ipv4 = further->bindings.any_ipv4,
                        .any_ipv6 = further->bindings.any_ipv6,
                };

                if (!streq(strempty(further->bindings.publisher), container) ||
                    redirect_bindings_further(ret, further->port, further->udp))
                        continue;
                own.publisher = strdup(container);
                r = own.publisher ? 0 : -ENOMEM;
                for (char **address = further->bindings.addresses; address && *address && r >= 0; address++)
                        r = strv_append(&own.addresses, *address);
                if (r >= 0)
                        r = redirect_bindings_add_further(ret, further->port, further->udp, &own);
        }
        return r == -E2BIG ? 0 : r;
}

/* What is to be kept needs nobody to wake it; what the file does not name has ports of programs that are not this service's. */
static bool is_left_alone(const Dependency *dependency) {
        return dependency->keep || dependency->implied;
}

/* Those that the file names; else all, but for ranges, of which the engine takes another port each time. */
static int learn_further(RedirectBindings *ret, const RedirectBindings *old, const Survey *survey,
                         const Service *service) {
        int r = 0;

        for (size_t i = 0; i < service->n_dependencies && r >= 0; i++) {
                const Dependency *dependency = &service->dependencies[i];
                const ContainerInfo *info = dependency->kind == DEPENDENCY_CONTAINER
                                                            ? survey_find(survey, dependency->name)
                                                            : NULL;

                if (!info && dependency->kind == DEPENDENCY_CONTAINER)
                        r = keep_further_ports(ret, old, dependency->name);
                for (size_t j = 0;
                     info && !service->ports_given && !is_left_alone(dependency) && j < info->n_bindings && r >= 0;
                     j++) {
                        const PortBinding *binding = &info->bindings[j];

                        if (binding->tcp && binding->host_port > 0 &&
                            binding->host_port == binding->host_port_last && binding->host_port != service->port)
                                r = learn_further_port(ret, dependency, info, binding->host_port,
                                                       /* udp= */ false);
                }
                for (size_t j = 0; info && j < service->n_ports && r >= 0; j++)
                        r = learn_further_port(ret, dependency, info, service->ports[j].port,
                                               service_port_is_udp(&service->ports[j]));
        }
        /* What is named and nobody publishes is reached on loopback, like `port`. */
        for (size_t j = 0; j < service->n_ports && r >= 0; j++)
                if (!redirect_bindings_further(ret, service->ports[j].port,
                                               service_port_is_udp(&service->ports[j])))
                        r = redirect_bindings_add_further(ret, service->ports[j].port,
                                                          service_port_is_udp(&service->ports[j]),
                                                          &(RedirectBindings){});
        return r;
}

/* The first one in the order of the file that publishes the port decides. That nobody publishes it is believed only if all of a
 * service's containers are there and have answered: those that are to be made anew will be published as they were. 1: learned. */
static int learn_port(RedirectBindings *ret, const RedirectBindings *old, const Survey *survey,
                      const Service *service) {
        bool unanswered = false, on_host = false;

        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];
                const ContainerInfo *info;
                int r;

                if (dependency->kind != DEPENDENCY_CONTAINER)
                        continue;
                info = survey_find(survey, dependency->name);
                if (!info) {
                        unanswered = true;
                        continue;
                }
                if (dependency == service_main(service))
                        on_host = streq(info->network_mode, "host");
                r = redirect_bindings_from_ports(ret, info->bindings, info->n_bindings, service->port,
                                                 /* udp= */ false);
                if (r > 0)
                        ret->publisher = strdup(dependency->name);
                if (r > 0 && ret->publisher)
                        return learn_further(ret, old, survey, service) < 0 ? -ENOMEM : 1;
                if (r != 0)
                        return r < 0 ? r : -ENOMEM;
        }
        if (unanswered)
                return 0;

        /* Nothing is bound for the host's network: such a container publishes by nature. */
        *ret = (RedirectBindings){ .known = on_host, .any_ipv4 = on_host, .any_ipv6 = on_host };
        if (on_host)
                ret->publisher = strdup(service_main(service)->name);
        if (on_host && !ret->publisher)
                return -ENOMEM;
        return learn_further(ret, old, survey, service) < 0 ? -ENOMEM : 1;
}

/* One that was never started does not know their ids. */
static bool has_new_networks(const ContainerInfo *info) {
        for (size_t i = 0; info && i < info->n_networks; i++)
                if (*info->networks[i].id == '\0')
                        return true;
        return false;
}

static bool have_new_networks(const Survey *survey, const SurveyedService *services, size_t n) {
        bool have = false;

        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < services[i].service->n_dependencies && !have; j++)
                        have = has_new_networks(survey_find(survey, services[i].service->dependencies[j].name));
        return have;
}

/* Whose names are those of the service: the one that clients are forwarded to. NULL: none of the engine's. */
static const char *named_container(const RedirectBindings *bindings, const Service *service) {
        size_t n = strcspn(strempty(service->backend), ":");

        for (size_t i = 0; i < service->n_dependencies && service->backend; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    strlen(service->dependencies[i].name) == n &&
                    strncmp(service->backend, service->dependencies[i].name, n) == 0)
                        return service->dependencies[i].name;
        if (service->backend)
                return NULL;
        return bindings->publisher ?: service_main(service)->name;
}

/* Of further containers. One that is to be made anew has those that it had. 0: its networks are not known yet. */
static int learn_named(RedirectBindings *ret, const RedirectBindings *old, const Survey *survey,
                       const Service *service, const char *main, char *const *networks) {
        int r = 1;

        for (size_t i = 0; i < service->n_named && r > 0; i++) {
                const char *container = service->named[i].container;
                const ContainerInfo *info = survey_find(survey, container);

                if (streq(container, strempty(main)))
                        continue;
                if (info && !networks && has_new_networks(info))
                        return 0;
                r = info ? redirect_bindings_add_names(ret, info, networks, container)
                         : redirect_bindings_keep_names(ret, old, container);
                r = r < 0 ? r : 1;
        }
        return r;
}

static int learn(RedirectBindings *ret, const RedirectBindings *old, const Survey *survey, const Service *service,
                 char *const *networks) {
        const ContainerInfo *info = NULL;
        const char *name;
        int r = 1;

        if (service->port > 0)
                r = learn_port(ret, old, survey, service);
        else if (service_is_redirected(service) && !service_has_names(service)) {
                *ret = (RedirectBindings){ .known = true, .publisher = strdup(service_main(service)->name) };
                return !ret->publisher || learn_further(ret, old, survey, service) < 0 ? -ENOMEM : 1;
        }
        if (r <= 0 || !service_has_names(service))
                return r;
        name = named_container(ret, service);
        if (name)
                info = survey_find(survey, name);
        /* One that is to be made anew has the names that it had. */
        if (name && (!info || (!networks && has_new_networks(info))))
                return 0;
        if (service->port == 0) {
                ret->known = true;
                ret->publisher = strdup(name ?: service_main(service)->name);
                if (!ret->publisher)
                        return -ENOMEM;
        }
        r = info ? redirect_bindings_add_names(ret, info, networks, NULL) : 0;
        return r < 0 ? r : learn_named(ret, old, survey, service, name, networks);
}

static int keep_learned(const Facts *facts, SurveyedService *asked, char *const *networks, const char *root) {
        const Service *service = asked->service;
        RedirectBindings *bindings = &facts->bindings[service - facts->config->services];
        _cleanup_(redirect_bindings_done) RedirectBindings learned = {};
        int r;

        r = learn(&learned, bindings, facts->survey, service, networks);
        if (r < 0)
                return r;
        if (r > 0) {
                learned.seen = ids_of(facts->survey, service, asked->owners);
                if (!learned.seen)
                        return -ENOMEM;
                learned.loopback = bindings->loopback;
                redirect_bindings_done(bindings);
                *bindings = learned;
                learned = (RedirectBindings){};
        }
        strv_free(bindings->owners);
        bindings->owners = TAKE_PTR(asked->owners);
        return redirect_bindings_save(bindings, root, service->name);
}

/* Only about containers that are not those of the last time: what one publishes is fixed when it is made. What cannot be kept counts
 * nevertheless, as long as the engine answers. */
static int learn_bindings(const Facts *facts, const char *root) {
        const size_t n = facts->config->n_services;
        _cleanup_free_ SurveyedService *asked = new0(SurveyedService, n + 1);
        _cleanup_(strv_freep) char **networks = NULL;
        size_t n_asked = 0;
        int r = asked ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r >= 0; i++) {
                Service *service = &facts->config->services[i];
                const RedirectBindings *bindings = &facts->bindings[i];
                _cleanup_free_ char *ids = ids_of(facts->survey, service, bindings->owners);

                if (!ids)
                        r = -ENOMEM;
                else if (!streq(strempty(bindings->seen), ids))
                        asked[n_asked++] = (SurveyedService){ .service = service, .before = bindings->owners };
        }
        if (r >= 0)
                r = survey_services(facts->survey, facts->config, asked, n_asked);
        if (r >= 0 && have_new_networks(facts->survey, asked, n_asked) &&
            survey_names(facts->survey, ENGINE_NETWORKS, &networks) < 0)
                log_debug("The engine does not tell of its networks, asking again later.");

        for (size_t i = 0; i < n_asked; i++) {
                int k = r < 0 ? 0 : keep_learned(facts, &asked[i], networks, root);

                strv_free(asked[i].owners);
                if (k < 0)
                        log_warning_errno(k,
                                          "Failed to keep the addresses that '%s' is published on, ignoring: %m",
                                          asked[i].service->name);
        }
        return r;
}

/* Who is on a network with names, but whose questions may come by another one: the resolver in a container asks by its default route. */

static const ListedLink *link_on(const ListedContainer *container, const char *bridge) {
        for (size_t i = 0; i < container->n_links; i++)
                if (streq(container->links[i].bridge, bridge))
                        return &container->links[i];
        return NULL;
}

/* `several` are those that are on more than one. The engine lists networks by name, and takes the way out by the first of them, if that is not
 * internal: a proxy on a hundred networks does not become a guest of each by ninety-nine addresses. */
static int find_guests_of(BindingNetwork *network, const Service *service, const ListedContainer *const *several) {
        unsigned n = 0;
        int r = 0;

        for (; *several && r >= 0; several++) {
                const ListedContainer *container = *several;
                const ListedLink *own = link_on(container, network->bridge);

                /* Those of the stack itself run while it is awake. */
                if (!own || service_find_container(service, container->name))
                        continue;
                for (size_t i = 0; i < MIN(container->n_links, GUEST_LINKS_MAX) && r >= 0; i++)
                        if (&container->links[i] != own && n++ < GUESTS_MAX)
                                r = strv_append(&network->guests, container->links[i].ipv4);
        }
        return r;
}

static int find_guests(Facts *facts) {
        _cleanup_free_ const ListedContainer **several = NULL;
        size_t n, n_several = 0;
        const ListedContainer *list = survey_list(facts->survey, &n);
        int r = 0;

        several = new0(const ListedContainer *, n + 1);
        if (!several)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (list[i].n_links > 1)
                        several[n_several++] = &list[i];
        for (size_t i = 0; i < facts->config->n_services && r >= 0; i++)
                for (size_t k = 0; k < facts->bindings[i].n_networks && r >= 0; k++)
                        r = find_guests_of(&facts->bindings[i].networks[k], &facts->config->services[i], several);
        return r;
}

/* Whose a port is */

static bool takes_port(const Service *service, const RedirectBindings *bindings, const FurtherPort *wanted) {
        const FurtherPort *further = redirect_bindings_further(bindings, wanted->port, wanted->udp);
        const Dependency *publisher;

        if (wanted->udp)
                return false; /* it is named */
        if (is_of_service(service, wanted->port))
                return true;
        for (char **text = service->listen; text && *text; text++) {
                ListenAddress address;

                if (listen_address_from_string(&address, *text) >= 0 && address.family != AF_UNIX &&
                    !address.udp && address.port == wanted->port)
                        return true;
        }
        publisher = service_find_container(service, strempty(wanted->bindings.publisher));
        return (further && redirect_bindings_meet(&further->bindings, &wanted->bindings)) ||
               (publisher && !publisher->implied);
}

/* What is learned, and not named, belongs to its service as long as no other one has it, too: by name, or by a container. */
static int find_rival(Facts *facts, size_t i, FurtherPort *further, bool *changed) {
        const Config *config = facts->config;
        const char *rival = NULL;

        for (size_t j = 0; j < config->n_services && !rival && !config->services[i].ports_given; j++)
                if (i != j && takes_port(&config->services[j], &facts->bindings[j], further))
                        rival = config->services[j].name;
        if (streq(strempty(rival), strempty(further->rival)))
                return 0;
        *changed = true;
        free(further->rival);
        further->rival = rival ? strdup(rival) : NULL;
        return rival && !further->rival ? -ENOMEM : 0;
}

static int find_rivals(Facts *facts, const char *root) {
        int r = 0;

        for (size_t i = 0; i < facts->config->n_services && r >= 0; i++) {
                RedirectBindings *bindings = &facts->bindings[i];
                const Service *service = &facts->config->services[i];
                bool changed = false;

                for (size_t j = 0; j < bindings->n_further && r >= 0; j++)
                        r = find_rival(facts, i, &bindings->further[j], &changed);
                if (!changed || r < 0)
                        continue;
                if (redirect_bindings_save(bindings, root, service->name) < 0)
                        log_warning("Failed to keep which ports are those of '%s', ignoring.", service->name);
        }
        return r;
}

/* systemd starts it for whoever connects to its socket. But somebody has stopped it, or it is still to come: when it has started, this
 * is run again. */
static bool engine_is_stopped(const Config *config) {
        return config->engine != ENGINE_PODMAN &&
               (streq(config->engine_socket, "/run/docker.sock") ||
                streq(config->engine_socket, "/var/run/docker.sock")) &&
               units_is_stopped("docker.service");
}

/* Whether the engine passes questions on to a nameserver of this host: by loopback then. Docker takes the file of systemd-resolved's own
 * nameservers where nothing but its stub is named. */
static bool asks_loopback(const char *root) {
        static const char *const files[] = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" };
        bool loopback = false, stub = true;

        for (size_t i = 0; i < ELEMENTSOF(files) && stub; i++) {
                _cleanup_free_ char *path = NULL, *text = NULL;
                char address[INET6_ADDRSTRLEN];

                if (asprintf(&path, "%s%s", strempty(root), files[i]) < 0)
                        path = NULL;
                if (!path || file_read(path, RESOLV_SIZE_MAX, &text, NULL) < 0)
                        break;
                stub = loopback = false;
                for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                        if (sscanf(line, "nameserver %45s", address) != 1)
                                continue;
                        stub |= i == 0 && streq(address, "127.0.0.53");
                        loopback |= strncmp(address, "127.", 4) == 0 || streq(address, "::1");
                }
        }
        return loopback;
}

/* Logs. */
static int ask_engine(Facts *facts, const char *root) {
        int r;

        facts->asked_usec = time_now(CLOCK_MONOTONIC);
        r = survey_new(&facts->survey, facts->config->engine_socket, ENGINE_TIMEOUT);
        if (r >= 0)
                r = learn_bindings(facts, root);
        if (find_rivals(facts, root) < 0)
                return -ENOMEM;
        if (r < 0 && r != -ENOENT && r != -EHOSTDOWN)
                return log_error_errno(r, "Failed to ask the container engine: %m");
        facts->engine_is_silent = r == -EHOSTDOWN;
        return 0;
}

int facts_ask(Facts *facts, const char *root) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        bool loopback;
        int r;

        /* Whatever the generator has made units of. */
        r = config_load_or_remembered(&facts->config, root, &problems);
        facts->broken = r < 0 && r != -ENOENT;
        if (facts->broken && r != -EBADMSG)
                return log_error_errno(r, "Failed to load dependencies.json: %m");
        if (facts->broken)
                log_error("dependencies.json cannot be used, and no earlier one is remembered: see wakectl check.");
        if (!facts->config)
                return 0;

        facts->bindings = new0(RedirectBindings, facts->config->n_services + 1);
        if (!facts->bindings)
                return log_oom();
        loopback = asks_loopback(root);
        for (size_t i = 0; i < facts->config->n_services; i++) {
                if (redirect_bindings_load(&facts->bindings[i], root, facts->config->services[i].name) < 0)
                        return log_oom();
                facts->bindings[i].loopback = loopback;
        }
        r = engine_is_stopped(facts->config) ? 0 : ask_engine(facts, root);
        /* What is known of them counts while the engine does not answer. */
        for (size_t i = 0; i < facts->config->n_services && r >= 0; i++)
                r = service_add_owners(&facts->config->services[i], facts->config, facts->bindings[i].owners);
        if (r >= 0 && facts->survey)
                r = find_guests(facts);
        return r == -ENOMEM ? log_oom() : r;
}

/* Names */

static int compare_services(const void *a, const void *b) {
        return strcmp(((const ServiceFacts *) a)->name, ((const ServiceFacts *) b)->name);
}

/* `name` is `size` bytes long; it may be anything. */
static int add_stray(Facts *facts, const char *name, size_t size) {
        char stray[SERVICE_NAME_MAX + 1];
        const ServiceFacts wanted = { .name = stray };

        if (size >= sizeof(stray))
                return 0;
        (void) snprintf(stray, sizeof(stray), "%.*s", (int) size, name);
        if (!service_name_is_valid(stray) || strv_contains(facts->strays, stray) ||
            (facts->n > 0 && bsearch(&wanted, facts->services, facts->n, sizeof(wanted), compare_services)))
                return 0;
        return strv_append(&facts->strays, stray);
}

/* Everybody whom the file does not have, and somebody else does. */
static int find_strays(Facts *facts, const char *root) {
        static const char *const folders[] = { STATUS_FOLDER, BINDINGS_FOLDER };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_(closedirp) DIR *folder = NULL;
                char path[PATH_SIZE];

                (void) snprintf(path, sizeof(path), "%s%s", root, folders[i]);
                folder = opendir(path);
                for (struct dirent *entry; folder && r >= 0 && (entry = readdir(folder));) {
                        const char *end = strrchr(entry->d_name, '.');

                        if (end && streq(end, ".json"))
                                r = add_stray(facts, entry->d_name, (size_t) (end - entry->d_name));
                }
        }
        for (size_t i = 0; i < facts->units.n && r >= 0; i++) {
                const char *name = strchr(facts->units.units[i].name, '@');

                if (name)
                        r = add_stray(facts, name + 1, (size_t) (strrchr(name, '.') - name - 1));
        }
        for (size_t i = 0; facts->table && i < facts->table->n_services && r >= 0; i++)
                r = add_stray(facts, facts->table->services[i].name, strlen(facts->table->services[i].name));
        return r;
}

/* The services of the file, then of `strays`. */
static int list_services(Facts *facts, const char *root) {
        size_t n = facts->config ? facts->config->n_services : 0;
        ServiceFacts *larger;
        int r;

        facts->services = new0(ServiceFacts, n + 1);
        if (!facts->services)
                return -ENOMEM;
        for (; facts->n < n; facts->n++)
                facts->services[facts->n] = (ServiceFacts){ .name = facts->config->services[facts->n].name,
                                                            .service = &facts->config->services[facts->n],
                                                            .bindings = facts->bindings[facts->n] };
        qsort(facts->services, n, sizeof(*facts->services), compare_services);
        r = find_strays(facts, root);
        if (r < 0)
                return r;
        larger = reallocarray(facts->services, n + strv_length(facts->strays) + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        facts->services = larger;
        for (char **stray = facts->strays; stray && *stray; stray++)
                facts->services[facts->n++] = (ServiceFacts){ .name = *stray };
        qsort(facts->services, facts->n, sizeof(*facts->services), compare_services);
        return 0;
}

/* Units and listeners */

static bool unit_is_active(const Unit *unit) {
        return unit && (unit->state == UNIT_ACTIVE || unit->state == UNIT_ACTIVATING);
}

static SocketFacts look_at_socket(const Facts *facts, const Unit *unit, bool listens) {
        const Units *units = &facts->units;
        SocketFacts socket = { .unit = unit };

        if (!unit)
                return socket;
        socket.listens = listens && unit_is_active(unit) && unit->loaded;
        /* Or it was stopped after the units were listed: then there is nothing to mend. */
        if (!listens && unit->state == UNIT_ACTIVE && !units_is_active(units, unit))
                socket.unit = NULL;
        socket.fresh = unit->state == UNIT_INACTIVE && unit->loaded && !units_have_run(units, unit);
        if (unit->state == UNIT_FAILED) {
                uint64_t failed_usec = units_changed(units, unit);

                /* While PID 1 gives one socket its group, in a process of its own, no other one can be bound again. */
                socket.stale = (facts->begun_usec > 0 && failed_usec > facts->begun_usec) ||
                               usec_sub(time_now(CLOCK_MONOTONIC), failed_usec) > SOCKET_AGAIN;
        }
        return socket;
}

/* Somebody may have removed it, or put something else in its place. */
static bool is_socket_file(const char *path) {
        struct stat status;

        return lstat(path, &status) >= 0 && S_ISSOCK(status.st_mode);
}

/* `ret_port` is the last port of TCP among them. Addresses that make no sense are not missed. */
static bool all_listen(const Listeners *listeners, char *const *listen, uint16_t *ret_port) {
        for (; listen && *listen; listen++) {
                ListenAddress address;

                if (listen_address_from_string(&address, *listen) < 0)
                        continue;
                if (!listeners_have(listeners, &address) ||
                    (address.family == AF_UNIX && *address.path == '/' && !is_socket_file(address.path)))
                        return false;
                if (!address.udp && address.port > 0)
                        *ret_port = address.port;
        }
        return true;
}

/* As its unit has it, which counts: the file may have changed since, and an administrator may have a drop-in. */
static bool unit_listens(const Facts *facts, const Unit *unit, uint16_t *ret_port) {
        _cleanup_(strv_freep) char **listen = NULL;
        int r;

        if (!unit_is_active(unit) || !unit->loaded)
                return false;
        r = units_read_listen(&facts->units, unit, &listen);
        if (r < 0)
                log_debug_errno(r, "Failed to ask where %s listens, leaving it alone: %m", unit->name);
        return r < 0 || all_listen(&facts->listeners, listen, ret_port);
}

static bool listens_for(const Facts *facts, const ServicePort *port) {
        const ListenAddress address = { .udp = true, .family = AF_INET6, .port = port->redirect_port };

        return port->redirect_port > 0 && listeners_have(&facts->listeners, &address);
}

/* What the file says is nearly always what its unit says, and asking that for each costs more than all the rest. But where the table has
 * the port for another one, it is that one's socket which listens there, though the file has given the port to this one since. */
static bool listens_by_the_file(const Facts *facts, const Service *service) {
        const RedirectElement wanted = redirect_element(REDIRECT_TARGETS, NULL, service->redirect_port, ""),
                              *target = facts->table ? redirect_snapshot_element(facts->table, &wanted) : NULL;
        uint16_t port;

        if (!service_is_redirected(service))
                return all_listen(&facts->listeners, service->listen, &port);
        for (size_t i = 0; i < service->n_ports; i++)
                if (service_port_is_udp(&service->ports[i]) && !listens_for(facts, &service->ports[i]))
                        return false;
        return listeners_have_port(&facts->listeners, service->redirect_port) &&
               (!target || streq(target->service, service->name));
}

static bool service_listens(const Facts *facts, ServiceFacts *service, const Unit *unit) {
        const Service *what = service->service;
        uint16_t port = 0;

        if (!what)
                return service->n_elements == 0 || listeners_have_port(&facts->listeners, service->redirect_port);
        service->redirect_port = what->redirect_port;
        if (listens_by_the_file(facts, what))
                return true;
        if (!unit_listens(facts, unit, &port))
                return false;
        service->redirect_port = port;
        return port > 0 || !service_is_redirected(what);
}

/* Where datagrams of each port are redirected to: systemd may have the unit as it was, without it. */
static void find_datagrams(const Facts *facts, ServiceFacts *service) {
        const Service *what = service->service;

        for (size_t i = 0; what && i < what->n_ports; i++) {
                FurtherPort *further = (FurtherPort *) redirect_bindings_further(&service->bindings,
                                                                                 what->ports[i].port, true);

                if (further && service_port_is_udp(&what->ports[i]))
                        further->redirect_port =
                                        listens_for(facts, &what->ports[i]) ? what->ports[i].redirect_port : 0;
        }
}

static bool control_listens(const Listeners *listeners, const char *root, const char *name) {
        char path[PATH_SIZE];

        (void) snprintf(path, sizeof(path), CONTROL_PATH, "", name);
        if (!listeners_have_path(listeners, path))
                return false;
        (void) snprintf(path, sizeof(path), CONTROL_PATH, root, name);
        return is_socket_file(path);
}

static void look_at_units(const Facts *facts, ServiceFacts *service, const char *root) {
        const Units *units = &facts->units;
        const Unit *waker = units_find(units, "wake", service->name, "service"),
                   *socket = units_find(units, "wake", service->name, "socket"),
                   *control = units_find(units, "wake-control", service->name, "socket"),
                   *front = units_find(units, "wake-front", service->name, "service");

        service->socket = look_at_socket(facts, socket, service_listens(facts, service, socket));
        if (service_is_disabled(root, service->name))
                service->socket.fresh = service->socket.stale = false;
        service->control = look_at_socket(facts, control, control_listens(&facts->listeners, root, service->name));
        service->front = front && front->state == UNIT_ACTIVE ? front : NULL;
        service->front_listens_elsewhere =
                        service->front && listeners_has_foreign(&facts->listeners, units_main_pid(units, front));
        service->waker = waker && waker->state != UNIT_INACTIVE && waker->state != UNIT_FAILED;
        service->waker_is_up = waker && waker->state == UNIT_ACTIVE && !waker->busy;
        /* One that was killed has not found that it cannot be done. */
        service->waker_failed = waker && waker->state == UNIT_FAILED && units_age(units, waker) < WAKER_AGAIN &&
                                !units_was_killed(units, waker);
}

/* Files and the table */

Status *facts_read_status(const char *root, const char *service) {
        _cleanup_(status_freep) Status *status = NULL;

        if (status_file_read(&status, root, service) < 0 || !streq(strempty(status->service), service))
                return NULL;
        return TAKE_PTR(status);
}

/* Moved in the file since systemd has read it last. */
static bool is_moved(const ServiceFacts *service) {
        return service->service && service_is_redirected(service->service) && service->redirect_port > 0 &&
               service->redirect_port != service->service->redirect_port;
}

/* Of one that is moved in the file, or not in it at all, while systemd has it as it was: so that it can stay so. */
static int look_at_what_was(const Facts *facts, ServiceFacts *service, const char *root) {
        const RedirectSnapshot *table = facts->table;

        service->generated = is_there(GENERATED, root, service->name);
        if (!table || !service->generated)
                return 0;
        if (!service->service)
                service->redirect_port = redirect_snapshot_target(table, service->name);
        if (service->redirect_port == 0)
                return 0;
        service->elements = new0(RedirectElement, table->n_elements + 1);
        if (!service->elements)
                return -ENOMEM;
        for (size_t i = 0; i < table->n_elements; i++) {
                const RedirectElement *element = &table->elements[i];

                if (streq(element->service, service->name) && element->map != REDIRECT_TARGETS &&
                    !redirect_maps[element->map].inner)
                        service->elements[service->n_elements++] = *element;
        }
        return 0;
}

/* Containers */

static int compare_leases(const void *a, const void *b) {
        return strcmp(((const RestoredLease *) a)->container, ((const RestoredLease *) b)->container);
}

static const LeaseRecord *find_lease(const Facts *facts, const char *container) {
        const RestoredLease wanted = { .container = (char *) container }, *found = NULL;

        if (facts->n_leases > 0)
                found = bsearch(&wanted, facts->leases, facts->n_leases, sizeof(wanted), compare_leases);
        return found ? &found->record : NULL;
}

/* What a waker began for a service, and neither was put to sleep nor made anew since. */
static bool is_left_over(const ListedContainer *container, const LeaseRecord *record, const char *service) {
        return container && container->running && record && record->ours && record->wake_id && !record->asleep &&
               (!record->container_id || streq(record->container_id, container->id)) && record->service &&
               streq(record->service, service);
}

/* It has put the stack to sleep, maybe, since the engine was asked what runs; or shortly before, as an engine says of a container that it
 * runs for a while after that has ended. */
static bool waker_has_just_ended(Facts *facts, const ServiceFacts *service) {
        const Unit *waker = units_find(&facts->units, "wake", service->name, "service");
        uint64_t sure_usec;

        if (service->waker || !waker)
                return false;
        sure_usec = time_now(CLOCK_MONOTONIC) - MIN(units_age(&facts->units, waker), time_now(CLOCK_MONOTONIC)) +
                    ENGINE_LAG;
        if (facts->asked_usec > sure_usec)
                return false;
        facts->sure_usec = MAX(facts->sure_usec, sure_usec);
        return true;
}

/* Some service of whose has a waker, of which there are few at a time. */
static bool is_watched(const Facts *facts, const char *container) {
        for (size_t i = 0; i < facts->n; i++)
                if (facts->services[i].waker && facts->services[i].service &&
                    service_find_container(facts->services[i].service, container))
                        return true;
        return false;
}

/* Wakers go by the same: whose it is goes with the name, but not to another container while the one of the record is called
 * something else. */
static bool is_ours(const Facts *facts, const Service *service, const ListedContainer *container) {
        const Dependency *dependency = service_find_container(service, container->name);
        const LeaseRecord *record = find_lease(facts, container->name);

        if (!dependency || dependency->keep || service->adopt == ADOPT_NONE)
                return false;
        if (service->adopt == ADOPT_ALL)
                return true;
        return record && record->ours &&
               (!record->container_id || streq(record->container_id, container->id) ||
                !survey_has_id(facts->survey, record->container_id));
}

/* Whose running tells that the stack does. It says nothing of one whose network the main container has: that runs for others, too. */
static const char *reached_container(const ServiceFacts *service) {
        const char *main = service_main(service->service)->name, *publisher = service->bindings.publisher,
                   *owner = owners_find(service->bindings.owners, main);

        return publisher && !streq(publisher, strempty(owner)) ? publisher : main;
}

static bool is_owner(const RedirectBindings *bindings, const char *container) {
        for (char **owner = bindings->owners; owner && owner[0] && owner[1]; owner += 2)
                if (streq(owner[1], container))
                        return true;
        return false;
}

static void look_at_containers(Facts *facts, ServiceFacts *service, char *const *begun) {
        const char *name = reached_container(service);
        const ListedContainer *reached = survey_listed(facts->survey, name),
                              *publisher = survey_listed(facts->survey, service->bindings.publisher ?: name);

        /* Somebody starts it just now, and nothing tells when it runs: one more look. */
        if (reached && !reached->running && !reached->paused && !service->waker &&
            strv_contains(begun, reached->id))
                facts->sure_usec = time_now(CLOCK_MONOTONIC) + ENGINE_LAG;

        /* What runs for another service does not make this one awake. */
        if (!reached || !reached->running || !publisher || !publisher->running ||
            (!service->waker && is_watched(facts, name)))
                service->reached = REACHED_STOPPED;
        else if (waker_has_just_ended(facts, service))
                service->reached = REACHED_UNKNOWN;
        else {
                service->reached = REACHED_RUNNING;
                /* Nothing is listed of what is on the host's network. */
                service->direct = service->bindings.known &&
                                  (publisher->n_ports == 0 || (service->service && service->service->port == 0));
                for (size_t i = 0; i < publisher->n_ports; i++)
                        service->direct |=
                                        service->bindings.known && publisher->ports[i] == service->service->port;
                service->ours = is_ours(facts, service->service, reached);
        }

        for (size_t i = 0; i < service->bindings.n_further; i++) {
                FurtherPort *further = &service->bindings.further[i];
                const char *whose = strempty(further->bindings.publisher);
                const ListedContainer *listed = survey_listed(facts->survey, whose);

                further->runs = listed && listed->running && !is_owner(&service->bindings, whose);
        }
        for (size_t i = 0; i < service->service->n_dependencies; i++) {
                const Dependency *dependency = &service->service->dependencies[i];

                service->left_over |= dependency->kind == DEPENDENCY_CONTAINER && !dependency->keep &&
                                      is_left_over(survey_listed(facts->survey, dependency->name),
                                                   find_lease(facts, dependency->name), service->name) &&
                                      !is_watched(facts, dependency->name);
        }
}

static int find_orphans(Facts *facts) {
        int r = 0;

        for (size_t i = 0; i < facts->n_leases && r >= 0; i++) {
                const char *container = facts->leases[i].container;
                const LeaseRecord *record = &facts->leases[i].record;
                const Service *service = record->service ? config_find(facts->config, record->service) : NULL;

                if (is_left_over(survey_listed(facts->survey, container), record, strempty(record->service)) &&
                    !(service && service_find_container(service, container)))
                        r = strv_append(&facts->orphans, container);
        }
        return r;
}

/* Whether systemd was reloaded after the file was changed. */
static bool is_loaded(const Facts *facts, const ServiceFacts *service, const char *root) {
        struct stat file, made;
        char path[PATH_SIZE];

        (void) snprintf(path, sizeof(path), GENERATED, root, service->name);
        return stat(facts->config->path, &file) >= 0 && lstat(path, &made) >= 0 &&
               timespec_load(&file.st_ctim) < timespec_load(&made.st_ctim);
}

/* A waker says over what it watches: the service that has the name now is not reached as long as that lives. Those who use its stack are not
 * cut if that has another name by now: its next waker is waited for. */
static bool waker_is_old(const Facts *facts, const ServiceFacts *service, const char *root) {
        const Status *status = service->status;
        bool old = service->service && service->waker_is_up && status && status->state == SERVICE_AWAKE &&
                   status->n_dependencies > 0;

        for (size_t i = 0; old && i < status->n_dependencies; i++) {
                const char *container = status->dependencies[i].container;

                old = !streq(container, service_main(service->service)->name);
                for (size_t j = 0; j < facts->n && old; j++) {
                        const ServiceFacts *heir = &facts->services[j];

                        old = heir == service || !heir->service || heir->waker_is_up || heir->waker_failed ||
                              !heir->ours || !service_find_container(heir->service, container);
                }
        }
        return old && (!service->control.listens || is_loaded(facts, service, root));
}

/* All of it */

static int look_at_services(Facts *facts, const char *root) {
        const bool whole = facts->table && (facts->table->complete || !is_there("%s" SETTLED, root));
        _cleanup_(strv_freep) char **begun = NULL;
        int r;

        r = list_services(facts, root);
        for (size_t i = 0; i < facts->n && r >= 0; i++) {
                ServiceFacts *service = &facts->services[i];

                service->whole = whole;
                /* What nobody answers is not to be asked here. */
                if (!facts->names.listens)
                        service->bindings.n_networks = 0;
                service->chain = facts->table ? redirect_snapshot_service(facts->table, service->name) : NULL;
                if (!service->service)
                        r = look_at_what_was(facts, service, root);
                look_at_units(facts, service, root);
                find_datagrams(facts, service);
                if (is_moved(service))
                        r = look_at_what_was(facts, service, root);
                service->has_bindings = !service->service &&
                                        is_there("%s" BINDINGS_FOLDER "/%s.json", root, service->name);
                service->has_status = is_there("%s" STATUS_FOLDER "/%s.json", root, service->name);
                if (service->has_status)
                        service->status = facts_read_status(root, service->name);
        }
        if (r < 0 || !facts->survey)
                return r;

        begun = runtime_ids(root);
        r = lease_list(&facts->leases, root);
        while (r >= 0 && facts->leases[facts->n_leases].container)
                facts->n_leases++;
        for (size_t i = 0; i < facts->n && r >= 0; i++)
                if (facts->services[i].service)
                        look_at_containers(facts, &facts->services[i], begun);
        for (size_t i = 0; i < facts->n && r >= 0; i++)
                facts->services[i].waker_is_old = waker_is_old(facts, &facts->services[i], root);
        return r < 0 ? r : find_orphans(facts);
}

int facts_look(Facts *facts, const char *root, Redirect *redirect) {
        static const char *const names[] = { "wakechain-page.socket", "wakechain-web.socket",
                                             "wakechain-names.socket" };
        SocketFacts *const sockets[] = { &facts->pages, &facts->api, &facts->names };
        int r;

        r = units_read(&facts->units);
        if (r < 0)
                return r;
        r = listeners_read(&facts->listeners);
        if (r < 0)
                return log_error_errno(r, "Failed to look where systemd listens: %m");
        if (redirect)
                r = redirect_recall(redirect, root, &facts->table);
        if (r < 0)
                return log_error_errno(r, "Failed to read the redirects: %s", redirect_error(redirect));
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const Unit *unit = units_find_name(&facts->units, names[i]);
                uint16_t port;

                *sockets[i] = look_at_socket(facts, unit, unit_listens(facts, unit, &port));
        }
        r = look_at_services(facts, root);
        return r < 0 ? log_error_errno(r, "Failed to look at the services: %m") : 0;
}
