#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compose/compose-environment.h"
#include "compose/composer.h"
#include "compose/dotenv.h"
#include "config/problem.h"
#include "ctl/check-engine.h"
#include "ctl/unit.h"
#include "engine/survey.h"
#include "nft/backend.h"
#include "nft/redirect-bindings.h"
#include "probe/exec-command.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/nearest.h"
#include "util/text.h"

/* wakectl check --engine: what of a configuration does not agree with the engine and with the compose folders, said as all other problems are.
 * An error is what a wake, or what is to come after it, will fail at; a warning what it puts up with.
 *
 * It is looked at as the waker will: with the rights of its user, if they can be had. So nothing of a compose folder is read
 * with more than these. */

#define SURVEY_TIMEOUT (20 * USEC_PER_SEC)
#define ROUTES_SIZE_MAX ((size_t) 4 * 1024 * 1024)
#define COMPOSE_TIMEOUT (30 * USEC_PER_SEC)

typedef struct EngineCheck {
        Config *config; /* borrowed, as is the list; its services get the owners of their containers' networks */
        ProblemList *problems;
        Survey *survey;
        char **networks, **internal, **images; /* by name and id */
        RedirectBindings *names; /* of each service, its networks */

        const Service *service; /* that is looked at */
        const ContainerInfo **infos; /* one for each dependency; NULL: there is none */
        ComposeFile *project; /* NULL: none, or it cannot be read */
} EngineCheck;

static void check_done(EngineCheck *check) {
        survey_free(check->survey);
        for (size_t i = 0; check->names && i < check->config->n_services; i++)
                redirect_bindings_done(&check->names[i]);
        free(check->names);
        strv_free(check->networks);
        strv_free(check->internal);
        strv_free(check->images);
}

#define SERVICE_ITSELF SIZE_MAX

/* `i`: whose member it is: that dependency's, or the service's own; without a service, a member of the top level. */
_printf_(6, 7) static void check_tell(EngineCheck *check, ProblemLevel level, size_t i, const char *member,
                                      const char *value, const char *format, ...) {
        const Service *service = check->service;
        JsonPath services = json_path_member(NULL, "services");
        JsonPath parent = json_path_member(&services, service ? service->name : "");
        JsonPath list = json_path_member(&parent, "dependencies"), element = json_path_element(&list, i);
        bool listed = service && i != SERVICE_ITSELF && !service->dependencies[i].implied;
        JsonPath path = json_path_member(!service ? NULL
                                         : listed ? &element
                                                  : &parent,
                                         listed || i == SERVICE_ITSELF ? member : "dependencies");
        json_object *object = value ? json_object_new_string(value) : NULL;
        _cleanup_free_ char *text = NULL, *json = object ? json_value_to_string(object) : NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        problem_list_add(check->problems, level, service && service->file ? service->file : check->config->path,
                         service ? service->name : NULL, &path, json, text);
        json_object_put(object);
}

static const Dependency *check_dependency(const EngineCheck *check, size_t i) {
        return &check->service->dependencies[i];
}

/* Whether a wake fails with it. */
static ProblemLevel check_level(const EngineCheck *check, size_t i) {
        const Dependency *dependency = check_dependency(check, i);

        return dependency->type == DEPENDENCY_REQUIRED || dependency == service_main(check->service)
                               ? PROBLEM_ERROR
                               : PROBLEM_WARNING;
}

static bool check_is_ours(const EngineCheck *check, const char *container) {
        for (size_t i = 0; i < check->service->n_dependencies; i++)
                if (streq(check_dependency(check, i)->name, container))
                        return true;
        return false;
}

/* Images: "nginx" is docker.io/library/nginx:latest. */
static const char *image_short(const char *image) {
        static const char *const prefixes[] = { "docker.io/", "library/" };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncmp(image, prefixes[i], strlen(prefixes[i])) == 0)
                        image += strlen(prefixes[i]);
        return image;
}

static bool check_has_image(const EngineCheck *check, const char *image) {
        const char *wanted = image_short(image), *colon = strrchr(wanted, ':');
        bool tagged = colon && !strchr(colon, '/');
        size_t size = strlen(wanted);

        /* By its digest: whether the engine has it is not told by the names. */
        if (strchr(wanted, '@'))
                return true;
        for (char **name = check->images; name && *name; name++) {
                const char *have = image_short(*name);

                if (streq(have, wanted) ||
                    (!tagged && strncmp(have, wanted, size) == 0 && streq(have + size, ":latest")))
                        return true;
        }
        return false;
}

static void offer_containers(const EngineCheck *check, Nearest *nearest) {
        size_t n;
        const ListedContainer *list = survey_list(check->survey, &n);

        for (size_t i = 0; i < n; i++)
                nearest_offer(nearest, list[i].name);
}

/* Its project is known, but not how to make it. */
static void check_missing_from_project(EngineCheck *check, size_t i) {
        const char *name = check_dependency(check, i)->name;
        Nearest nearest = nearest_to(name);
        char hint[NEAREST_HINT_MAX];

        for (size_t k = 0; k < check->project->n_services; k++)
                nearest_offer(&nearest, check->project->services[k].container);
        check_tell(check, check_level(check, i), i, "container", name,
                   "no such container, and no service of the compose project in '%s' makes it%s",
                   check->service->compose_dir, nearest_hint(&nearest, hint));
}

static void check_missing(EngineCheck *check, size_t i) {
        const char *name = check_dependency(check, i)->name, *folder = check->service->compose_dir;
        const ComposeService *made = check->project ? compose_file_find(check->project, name) : NULL;

        if (check->project && !made)
                check_missing_from_project(check, i);
        else if (made && made->image && made->built && !check_has_image(check, made->image))
                check_tell(check, check_level(check, i), i, "container", name,
                           "no such container, and its image '%s' is missing: run 'docker compose build %s' in '%s'",
                           made->image, made->name, folder);
        else if (made && made->image && !check_has_image(check, made->image))
                check_tell(check, PROBLEM_WARNING, i, "container", name,
                           "no such container, and its image '%s' is missing: the first wake pulls it, for as long as "
                           "globalTimeout allows; 'docker compose pull %s' in '%s' does it before",
                           made->image, made->name, folder);
        else if (!folder) {
                Nearest nearest = nearest_to(name);
                char hint[NEAREST_HINT_MAX];

                offer_containers(check, &nearest);
                check_tell(check, check_level(check, i), i, "container", name,
                           "no such container%s; create it with 'docker compose up --no-start' in its project, or give the "
                           "service a 'composeDir'",
                           nearest_hint(&nearest, hint));
        }
        /* Else it is made by the first wake, or why compose cannot has been said. */
}

/* The service's own `network` is that of its main container. */
static void check_network(EngineCheck *check, size_t i, const ContainerInfo *info) {
        const Dependency *dependency = check_dependency(check, i);
        const char *network = dependency->network, *wrong;
        bool attached = check->service->cross_network;
        bool inherited = check->service->network && network && streq(network, check->service->network);
        _cleanup_free_ char *networks = NULL;
        Nearest nearest;
        char hint[NEAREST_HINT_MAX];

        if (!dependency_names_network(check->service, dependency) || container_info_is_on(info, network) ||
            (attached && strv_contains(check->networks, network)))
                return;
        nearest = nearest_to(network);
        for (char **name = check->networks; name && *name; name++)
                nearest_offer(&nearest, *name);
        networks = container_info_networks_to_string(info);
        wrong = attached ? "no such network" : "is not used";
        check_tell(check, attached ? PROBLEM_ERROR : PROBLEM_WARNING, inherited ? SERVICE_ITSELF : i, "network",
                   network, "%s: '%s' is on %s%s", wrong, dependency->name, strempty(networks),
                   nearest_hint(&nearest, hint));
}

/* What it was made with. The id of a network that was made anew is another one. */
static void check_lost_network(EngineCheck *check, size_t i, const ContainerInfo *info) {
        const char *name = check_dependency(check, i)->name;

        for (size_t k = 0; k < info->n_networks; k++) {
                const ContainerNetwork *network = &info->networks[k];

                if (strv_contains(check->networks, isempty(network->id) ? network->name : network->id))
                        continue;
                if (check->project && compose_file_find(check->project, name))
                        check_tell(check, PROBLEM_WARNING, i, "container", name,
                                   "its network '%s' was removed or made anew: a wake has compose make it anew",
                                   network->name);
                else
                        check_tell(check, check_level(check, i), i, "container", name,
                                   "its network '%s' was removed or made anew, and it cannot be started: make it anew, by "
                                   "compose for example ('up --no-start --force-recreate' in its project)",
                                   network->name);
        }
}

static void check_removal(EngineCheck *check, size_t i, const ContainerInfo *info) {
        const Dependency *dependency = check_dependency(check, i);

        if (!info->auto_remove || dependency->keep)
                return;
        if (check->project && compose_file_find(check->project, dependency->name))
                check_tell(check, PROBLEM_WARNING, i, "container", dependency->name,
                           "was started with --rm: the first sleep deletes it, and compose makes it again, from its file");
        else
                check_tell(check, PROBLEM_ERROR, i, "container", dependency->name,
                           "was started with --rm: a stop deletes it, and nothing makes it again; create it without --rm, by "
                           "compose for example, or give it 'keep'");
}

static void check_restart_policy(EngineCheck *check, size_t i, const ContainerInfo *info) {
        const Dependency *dependency = check_dependency(check, i);
        bool always = streq(info->restart_policy, "always");

        if (dependency->condition == CONDITION_COMPLETED &&
            (always || streq(info->restart_policy, "unless-stopped")))
                check_tell(check, PROBLEM_ERROR, i, "condition", "completed",
                           "the restart policy '%s' of '%s' starts it again whenever it has completed: give it 'no' or "
                           "'on-failure'",
                           info->restart_policy, dependency->name);
        else if (always && !dependency->keep)
                check_tell(check, PROBLEM_WARNING, i, "container", dependency->name,
                           "its restart policy is 'always': the engine starts it whenever it starts itself, and it then runs "
                           "until it has been idle for long enough; with 'unless-stopped' what sleeps stays asleep");
}

/* Whose network, or the like, it has has to run before it. */
static void check_owner(EngineCheck *check, size_t i, const ContainerInfo *info, const char *mode,
                        const char *what) {
        const Dependency *dependency = check_dependency(check, i);
        const char *owner = strncmp(strempty(mode), "container:", strlen("container:")) == 0
                                            ? mode + strlen("container:")
                                            : NULL;
        const ListedContainer *listed;

        if (!owner)
                return;
        for (size_t k = 0; k < check->service->n_dependencies; k++)
                if (check->infos[k] &&
                    (streq(check->infos[k]->id, owner) || streq(check->infos[k]->name, owner))) {
                        if (check_dependency(check, k)->implied)
                                check_tell(check, PROBLEM_WARNING, i, "container", dependency->name,
                                           "has the %s of '%s', which is woken with it, and first of all; add '%s' to the "
                                           "dependencies to say more about it",
                                           what, check->infos[k]->name, check->infos[k]->name);
                        return;
                }
        listed = survey_known(check->survey, owner);
        if (!listed)
                check_tell(check, check_level(check, i), i, "container", dependency->name,
                           "has the %s of a container that does not exist any more (%.12s), and cannot be started: "
                           "'docker compose up --no-start --force-recreate %s' in its project makes it anew",
                           what, owner, info->compose_service ? info->compose_service : dependency->name);
        else
                check_tell(check, listed->running ? PROBLEM_WARNING : check_level(check, i), i, "container",
                           dependency->name,
                           "has the %s of '%s', and can be started only while that runs: add '%s' to the dependencies",
                           what, listed->name, listed->name);
}

static void check_joined(EngineCheck *check, size_t i, const ContainerInfo *info) {
        check_owner(check, i, info, info->network_mode, "network");
        check_owner(check, i, info, info->ipc_mode, "IPC");
        check_owner(check, i, info, info->pid_mode, "processes");
}

/* A check that asks a container which is not there. */
static void check_command(EngineCheck *check, size_t i, const ContainerInfo *info) {
        const char *command = check_dependency(check, i)->health.command;
        _cleanup_free_ char *container = NULL, *user = NULL;
        _cleanup_(strv_freep) char **environment = NULL, **argv = NULL;
        Nearest nearest;
        char hint[NEAREST_HINT_MAX];

        if (!command || exec_command_parse(command, NULL, &container, &user, &environment, &argv) <= 0 ||
            survey_listed(check->survey, container) || survey_has_id(check->survey, container) ||
            check_is_ours(check, container))
                return;
        nearest = nearest_to(container);
        offer_containers(check, &nearest);
        check_tell(check, check_level(check, i), i, "healthCheck", command, "no such container '%s'%s", container,
                   nearest_hint(&nearest, hint));
}

static void (*const container_checks[])(EngineCheck *check, size_t i, const ContainerInfo *info) = {
        check_network, check_lost_network, check_removal, check_restart_policy, check_joined, check_command,
};

static bool is_published(const ListedContainer *listed, uint16_t port) {
        for (size_t i = 0; i < listed->n_ports; i++)
                if (listed->ports[i] == port)
                        return true;
        return false;
}

/* What another container has of them now; a list does not tell on which addresses. */
static void check_port_owners(EngineCheck *check) {
        uint16_t port = check->service->port, redirect_port = check->service->redirect_port;
        size_t n;
        const ListedContainer *list = survey_list(check->survey, &n);

        for (size_t i = 0; i < n; i++) {
                if (is_published(&list[i], port) && !check_is_ours(check, list[i].name))
                        check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "port", NULL,
                                   "%u is published by container '%s' too: on the same address only one can have it",
                                   port, list[i].name);
                if (is_published(&list[i], redirect_port))
                        check_tell(check, PROBLEM_ERROR, SERVICE_ITSELF, "redirectPort", NULL,
                                   "%u is published by container '%s': choose another one", redirect_port,
                                   list[i].name);
        }
}

static bool names_port(const Service *service, uint16_t port) {
        bool named = service->port == port;

        for (size_t i = 0; i < service->n_ports && !named; i++)
                named = service->ports[i].port == port && !service_port_is_udp(&service->ports[i]);
        return named;
}

/* As settling has found it. What another one names is that one's, and nothing to be said. */
static void check_further_ports(EngineCheck *check) {
        _cleanup_(redirect_bindings_done) RedirectBindings bindings = {};

        if (check->service->ports_given || redirect_bindings_load(&bindings, "", check->service->name) < 0)
                return;
        for (size_t i = 0; i < bindings.n_further; i++) {
                const FurtherPort *further = &bindings.further[i];
                const Service *rival = further->rival ? config_find(check->config, further->rival) : NULL;

                if (rival && !names_port(rival, further->port))
                        check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "ports", NULL,
                                   "%u is published by '%s' and by a container of service '%s', too: its clients wake "
                                   "neither, until one of them has it among its 'ports'",
                                   further->port, strempty(further->bindings.publisher), rival->name);
        }
}

/* Names */

static void check_one_name(EngineCheck *check, const ContainerNetwork *network, const char *name) {
        if (name && !redirect_name_is_valid(name))
                check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "names", name,
                           "does not resolve on network '%s' while its container sleeps: such a name is of one label, of "
                           "at most 63 letters, digits, '-' and '_', and not localhost",
                           network->name);
}

/* Whoever asks there does not come by here. Where nobody has asked for names, the engine's own network is not spoken of. */
static bool check_named_network(EngineCheck *check, const ContainerNetwork *network, const char *container) {
        const char *why = NULL;
        char bridge[IFNAMSIZ], path[64];

        if (!redirect_network_bridge(network, check->networks, bridge))
                why = check->service->names == NAMES_ON && streq(network->name, "bridge")
                                      ? "the engine's default network has no names"
                                      : NULL;
        else if (strv_contains(check->internal, network->name))
                why = "it is internal, and the engine passes no questions on from there";
        else {
                (void) snprintf(path, sizeof(path), "/sys/class/net/%s", bridge);
                if (faccessat(AT_FDCWD, path, F_OK, 0) >= 0)
                        return true;
                why = "its bridge has a name of its own, or it is none of bridges";
        }
        if (why)
                check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "names", container,
                           "does not resolve on network '%s' while it sleeps: %s", network->name, why);
        return false;
}

/* `name` on that bridge is that of a service that is looked at already. */
static const Service *find_rival(const EngineCheck *check, const char *bridge, const char *name) {
        for (size_t i = 0; i < check->config->n_services; i++)
                for (size_t k = 0; k < check->names[i].n_networks; k++)
                        if (&check->config->services[i] != check->service &&
                            streq(check->names[i].networks[k].bridge, bridge) &&
                            strv_contains(check->names[i].networks[k].names, name))
                                return &check->config->services[i];
        return NULL;
}

/* What was there before is looked at in the order of the services; the first of both in the files has it. */
static void check_rivals(EngineCheck *check, const RedirectBindings *names) {
        for (size_t i = 0; i < names->n_networks; i++)
                for (char **name = names->networks[i].names; name && *name; name++) {
                        const Service *rival = find_rival(check, names->networks[i].bridge, *name);

                        if (rival)
                                check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "names", *name,
                                           "is a name of service '%s' on the same network, %s: while both sleep, it is that of '%s', which is "
                                           "the first in the files",
                                           rival->name, names->networks[i].bridge,
                                           rival->order < check->service->order ? rival->name
                                                                                : check->service->name);
                }
}

/* `container` NULL: the one that clients reach. */
static void check_names(EngineCheck *check, const ContainerInfo *info, const char *container) {
        RedirectBindings *names = &check->names[check->service - check->config->services];
        size_t begin = names->n_networks;

        for (size_t i = 0; i < info->n_networks; i++) {
                const ContainerNetwork *network = &info->networks[i];

                if (!check_named_network(check, network, info->name))
                        continue;
                check_one_name(check, network, info->name);
                check_one_name(check, network, info->compose_service);
                for (char **name = network->names; name && *name; name++)
                        check_one_name(check, network, *name);
        }
        if (redirect_bindings_add_names(names, info, check->networks, container) >= 0)
                check_rivals(check, &(RedirectBindings){ .networks = names->networks + begin,
                                                         .n_networks = names->n_networks - begin });
}

static void check_ports(EngineCheck *check) {
        _cleanup_free_ char *text = NULL;
        Backend backend = {};
        int r;

        if (service_is_redirected(check->service)) {
                check_port_owners(check);
                check_further_ports(check);
        }
        /* What is missing was said already, and may be what publishes the port. */
        for (size_t i = 0; i < check->service->n_dependencies; i++)
                if (check_dependency(check, i)->kind == DEPENDENCY_CONTAINER && !check->infos[i])
                        return;
        r = backend_resolve(&backend, check->service, check->infos, &text);
        if (r == -ENODATA)
                check_tell(check, PROBLEM_ERROR, SERVICE_ITSELF, "backend", NULL, "%s", text);
        if (r < 0)
                return;
        if (backend.member != BACKEND_NO_MEMBER && service_has_names(check->service))
                check_names(check, check->infos[backend.member], NULL);
        for (size_t i = 0; i < check->service->n_dependencies; i++)
                if (i != backend.member &&
                    *service_virtual_address(check->service, check->service->dependencies[i].name))
                        check_names(check, check->infos[i], check->service->dependencies[i].name);
        backend_done(&backend);
}

static void check_units(EngineCheck *check) {
        _cleanup_free_ char *waker = text_printf("wake@%s.service", check->service->name);

        if (!waker)
                return;
        if (unit_file_find(waker) == UNIT_FILE_MASKED)
                check_tell(check, PROBLEM_ERROR, SERVICE_ITSELF, "name", NULL,
                           "its waker is masked, so that nothing can wake it: 'systemctl unmask %s'", waker);
        for (size_t i = 0; i < check->service->n_dependencies; i++) {
                const char *name = check_dependency(check, i)->name;
                UnitFile file = check_dependency(check, i)->kind == DEPENDENCY_UNIT ? unit_file_find(name)
                                                                                    : UNIT_FILE_FOUND;

                if (file == UNIT_FILE_MASKED)
                        check_tell(check, check_level(check, i), i, "unit", name,
                                   "is masked: 'systemctl unmask %s'", name);
                else if (file == UNIT_FILE_MISSING)
                        check_tell(check, check_level(check, i), i, "unit", name,
                                   "there is no unit file of this name");
        }
}

typedef struct Look {
        sd_event *event;
        Composition *composition;
        FailureReason reason;
        char *sentence;
        ComposeFile *file;
} Look;

static void look_done(Look *look) {
        composition_free(look->composition);
        compose_file_free(look->file);
        free(look->sentence);
}

static void look_on_end(Composition *composition, FailureReason reason, const char *sentence, void *userdata) {
        Look *look = ASSERT_PTR(userdata);

        look->reason = reason;
        look->sentence = strdup(sentence);
        look->file = composition_take_file(composition);
        (void) sd_event_exit(look->event, 0);
}

static int look_on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Look *look = ASSERT_PTR(userdata);

        look->reason = FAILURE_START_FAILED;
        look->sentence = strdup("compose did not end within 30s");
        return sd_event_exit(look->event, 0);
}

static void look_on_line(const char *line, void *userdata) {
        log_debug("compose: %s", line);
}

static int look_at_folder(Look *look, const EngineCheck *check, const Environment *environment) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(composer_freep) Composer *composer = NULL;
        int r;

        r = sd_event_new(&event);
        if (r < 0)
                return r;
        look->event = event;
        r = composer_new(&composer, event, "", check->service->compose_dir, environment, look_on_line, NULL);
        if (r >= 0)
                r = composer_set_engine(composer, check->config->engine_socket);
        if (r >= 0)
                r = composer_look(&look->composition, composer, look_on_end, look);
        if (r >= 0)
                r = sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, COMPOSE_TIMEOUT, 0, look_on_timeout,
                                               look);
        if (r >= 0)
                r = sd_event_loop(event);
        look->composition = composition_free(look->composition);
        return r;
}

static void check_folder(EngineCheck *check) {
        static char *own[] = { (char *) "HOME=/", NULL };
        _cleanup_(strv_freep) char **dotenv = NULL;
        _cleanup_(look_done) Look look = {};
        _cleanup_free_ char *why = NULL;
        Environment environment = { .own = own };
        int r;

        check->project = NULL;
        if (!check->service->compose_dir)
                return;
        r = dotenv_read(&dotenv, "", check->service->compose_dir, compose_is_v1(""), &why);
        environment.dotenv = dotenv;
        /* What only our rights do not suffice for, the waker may read. */
        if (r < 0 && r != -EACCES)
                check_tell(check, PROBLEM_WARNING, SERVICE_ITSELF, "composeDir", check->service->compose_dir,
                           "its .env %s%s. No variables for health commands are taken from it; what they need can stand in "
                           "/etc/wakechain/env/%s.env as well",
                           why ? why : "cannot be read: ", why ? "" : strerror(-r), check->service->name);
        r = look_at_folder(&look, check, &environment);
        if (r < 0 || look.reason != FAILURE_NONE)
                check_tell(check, PROBLEM_ERROR, SERVICE_ITSELF, "composeDir", check->service->compose_dir, "%s",
                           r < 0 ? strerror(-r) : strempty(look.sentence));
        else
                check->project = TAKE_PTR(look.file);
}

static int check_service(EngineCheck *check, const Service *service) {
        size_t n = service->n_dependencies;

        check->service = service;
        check->infos = new0(const ContainerInfo *, n + 1);
        if (!check->infos)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER)
                        check->infos[i] = survey_find(check->survey, service->dependencies[i].name);

        check_units(check);
        check_folder(check);
        for (size_t i = 0; i < n; i++) {
                const ContainerInfo *info = check->infos[i];

                if (service->dependencies[i].kind != DEPENDENCY_CONTAINER)
                        continue;
                if (!info && !survey_listed(check->survey, service->dependencies[i].name))
                        check_missing(check, i);
                for (size_t k = 0; info && k < ELEMENTSOF(container_checks); k++)
                        container_checks[k](check, i, info);
        }
        check_ports(check);

        check->project = compose_file_free(check->project);
        free(check->infos);
        check->infos = NULL;
        return 0;
}

static int check_survey(EngineCheck *check) {
        const size_t n = check->config->n_services;
        _cleanup_free_ SurveyedService *services = new0(SurveyedService, n + 1);
        int r;

        r = services ? survey_new(&check->survey, check->config->engine_socket, SURVEY_TIMEOUT) : -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++)
                services[i].service = &check->config->services[i];
        if (r >= 0)
                r = survey_services(check->survey, check->config, services, n);
        for (size_t i = 0; i < n && services; i++)
                strv_free(services[i].owners);
        if (r >= 0)
                r = survey_names(check->survey, ENGINE_NETWORKS, &check->networks);
        if (r >= 0)
                r = survey_names(check->survey, ENGINE_INTERNAL_NETWORKS, &check->internal);
        if (r >= 0)
                r = survey_names(check->survey, ENGINE_IMAGES, &check->images);
        check->names = new0(RedirectBindings, check->config->n_services + 1);
        return r >= 0 && !check->names ? -ENOMEM : r;
}

/* "": it is none of the engine's. */
static const char *network_of_bridge(const EngineCheck *check, const char *interface) {
        for (char **id = check->networks; id && id[0] && id[1]; id++) {
                char bridge[IFNAMSIZ];

                if (container_network_bridge(id[1], id[0], bridge) && streq(bridge, interface))
                        return id[1];
        }
        return streq(interface, "docker0") ? "bridge" : "";
}

/* Routes of the host, among which are those of the engine's networks; ours leads nowhere. Whoever has one there would lose it while a stack sleeps. */
static void check_addresses(EngineCheck *check) {
        const AddressPrefix *ours = &check->config->names_addresses;
        _cleanup_free_ char *text = NULL;
        bool named = false;

        for (size_t i = 0; i < check->config->n_services; i++)
                named |= service_has_names(&check->config->services[i]);
        if (!named || file_read("/proc/net/route", ROUTES_SIZE_MAX, &text, NULL) < 0)
                return;
        for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
                char interface[32], wanted[ADDRESS_PREFIX_TEXT_MAX], found[ADDRESS_PREFIX_TEXT_MAX];
                const char *network;
                AddressPrefix route = { .family = AF_INET }, wider;
                unsigned address, mask;

                /* As they are in memory. That of all addresses is not meant. */
                if (sscanf(line, "%31s %x %*x %*x %*d %*d %*d %x", interface, &address, &mask) != 3 || mask == 0)
                        continue;
                route.ipv4.s_addr = address;
                route.length = (unsigned) __builtin_popcount(mask);
                wider = route.length < ours->length ? route : *ours;
                if (!address_prefix_matches(&wider, AF_INET,
                                            route.length < ours->length ? &ours->ipv4 : &route.ipv4))
                        continue;
                network = network_of_bridge(check, interface);
                check_tell(check, PROBLEM_ERROR, SERVICE_ITSELF, "names", NULL,
                           "'addresses' %s overlaps the network %s of '%s'%s%s: give it another one",
                           address_prefix_to_string(ours, wanted), address_prefix_to_string(&route, found),
                           interface, *network ? ", which is the engine's " : "", network);
        }
}

/* For good. Whoever is not root looks with his own. */
static int take_rights_of_waker(const char *engine_socket) {
        const struct passwd *user = geteuid() == 0 ? getpwnam("wakechain") : NULL;
        gid_t groups[1];
        struct stat st;
        size_t n = 0;

        if (!user)
                return 0;
        if (stat(engine_socket, &st) >= 0 && st.st_gid != 0)
                groups[n++] = st.st_gid;
        if (setgroups(n, groups) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
                return -errno;
        return 0;
}

int check_engine(Config *config, ProblemList *problems) {
        _cleanup_(check_done) EngineCheck check = { .config = config, .problems = problems };
        int r;

        r = take_rights_of_waker(config->engine_socket);
        if (r < 0)
                return log_error_errno(r, "Failed to take the rights of user wakechain: %m");
        if (access(config->engine_socket, R_OK | W_OK) < 0 && errno == EACCES) {
                check_tell(&check, PROBLEM_ERROR, SERVICE_ITSELF, "engineSocket", config->engine_socket,
                           "may not be used: that takes the rights of the group that it belongs to");
                return 0;
        }
        r = check_survey(&check);
        if (r == -ENOMEM)
                return log_oom();
        if (r < 0) {
                check_tell(&check, PROBLEM_ERROR, SERVICE_ITSELF, "engineSocket", config->engine_socket,
                           r == -ENOENT ? "no such socket: is the container engine installed, and does it run?"
                                        : "the container engine does not answer there, so nothing is known of its containers");
                return 0;
        }
        check_addresses(&check);
        for (size_t i = 0; i < config->n_services && r >= 0; i++)
                r = check_service(&check, &config->services[i]);
        return r < 0 ? log_oom() : 0;
}
