#include <stdio.h>
#include <unistd.h>

#include "command/host-command.h"
#include "compose/compose-environment.h"
#include "compose/compose-yaml.h"
#include "import/compose-facts.h"
#include "util/json-members.h"
#include "util/printable.h"
#include "util/text.h"
#include "util/time.h"

/* Compose facts. What runs is what the engine says; the files say who waits for whom, which docker-compose 1.x does not write on
 * containers, what compose alone runs, and what there could be and is not yet. */

#define TIMEOUT (30 * USEC_PER_SEC)
#define DEPTH_MAX 64
#define LIST_MAX ((size_t) 1024)

typedef struct Answer {
        sd_event *event;
        char *text, *said;
        size_t size;
        bool fine, timed_out;
} Answer;

static void answer_done(Answer *answer) {
        free(answer->text);
        free(answer->said);
}

static void on_end(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Answer *answer = ASSERT_PTR(userdata);

        answer->timed_out = result->timed_out;
        answer->fine = result->exit_status == 0 && !result->timed_out;
        answer->said = strdup(result->last_line);
        if (result->captured) {
                answer->size = result->captured_size;
                answer->text = strndup(result->captured, result->captured_size);
        }
        (void) sd_event_exit(answer->event, 0);
}

static int run(Answer *answer, const char *folder, char *const *argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(host_command_freep) HostCommand *command = NULL;
        const HostCommandRequest request = {
                .argv = argv,
                .folder = folder,
                .environment = environ,
                .timeout_usec = TIMEOUT,
                .captured_max = COMPOSE_FILE_MAX,
        };
        int r;

        r = sd_event_new(&event);
        if (r < 0)
                return r;
        answer->event = event;
        r = host_command_run(&command, event, &request, on_end, answer);
        return r < 0 ? r : sd_event_loop(event);
}

static int make_argv(char ***ret, char *const *files, bool v1) {
        static const char *const plugin[] = { "docker", "compose", NULL },
                                 *const alone[] = { "docker-compose", NULL },
                                 *const json[] = { "config", "--format", "json", NULL },
                                 *const yaml[] = { "config", NULL };
        int r = 0;

        for (const char *const *word = v1 ? alone : plugin; *word && r >= 0; word++)
                r = strv_append(ret, *word);
        for (; files && *files && r >= 0; files++) {
                r = strv_append(ret, "-f");
                if (r >= 0)
                        r = strv_append(ret, *files);
        }
        for (const char *const *word = v1 ? yaml : json; *word && r >= 0; word++)
                r = strv_append(ret, *word);
        return r;
}

/* Its own words may have values of variables among them, and so passwords: of those only the name is said. */
static char *explain(const char *said, bool v1) {
        static const char *const before[] = { "required variable ", "${" };

        for (size_t i = 0; i < ELEMENTSOF(before) && said; i++) {
                const char *name = strstr(said, before[i]);
                size_t n;

                if (!name)
                        continue;
                name += strlen(before[i]);
                n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
                if (n > 0)
                        return text_printf("the variable %.*s is missing, or of no use", (int) n, name);
        }
        return text_printf("'%s config' in that folder says why", v1 ? "docker-compose" : "docker compose");
}

int import_ask_compose(ImportWorld *world, const char *folder, char *const *files, char **ret_project,
                       char **reterr_why) {
        const Environment environment = { .own = environ };
        _cleanup_(answer_done) Answer answer = {};
        _cleanup_(strv_freep) char **argv = NULL;
        _cleanup_free_ char *project = NULL;
        const bool v1 = compose_is_v1("");
        int r;

        r = make_argv(&argv, files, v1);
        if (r >= 0)
                r = run(&answer, folder, argv);
        project = compose_environment_project(folder, &environment);
        if (r == -ENOMEM || !project)
                return -ENOMEM;
        if (r >= 0 && answer.fine && answer.text)
                r = import_read_compose(world, folder, v1 ? COMPOSE_YAML : COMPOSE_JSON, answer.text, answer.size,
                                        project, compose_environment_separator(&environment, v1), ret_project);
        else if (r >= 0)
                r = -EINVAL;
        if (r >= 0 || r == -ENOMEM)
                return r;
        if (r == -EBADMSG)
                *reterr_why = strdup("what it prints cannot be understood");
        else if (answer.timed_out)
                *reterr_why = strdup("it did not end within 30s");
        else if (answer.fine)
                *reterr_why = text_printf("it printed more than %zu MiB", COMPOSE_FILE_MAX >> 20);
        else
                *reterr_why = r == -EINVAL ? explain(answer.said, v1) : strdup(strerror(-r));
        return *reterr_why ? -EINVAL : -ENOMEM;
}

/* One service */

static int set_text(char **target, const char *text) {
        char *copy = printable_copy(strempty(text), strlen(strempty(text)), false);

        if (!copy)
                return -ENOMEM;
        free(*target);
        *target = copy;
        return 0;
}

static ImportCondition condition_from(const char *text) {
        return streq(text, "service_healthy")                  ? IMPORT_HEALTHY
               : streq(text, "service_completed_successfully") ? IMPORT_COMPLETED
                                                               : IMPORT_STARTED;
}

static bool is_service(json_object *services, const char *name) {
        return json_object_object_get_ex(services, name, NULL);
}

/* In place of what the container says, which is of the time when it was made. One that is not required, and that no profile has, is not missed. */
static int read_edges(ImportContainer *container, json_object *depends, json_object *services) {
        int r = 0;

        for (size_t i = 0; i < container->n_edges; i++)
                free(container->edges[i].service);
        container->n_edges = 0;
        container->traits |= TRAIT_ORDERED;
        if (json_object_is_type(depends, json_type_array)) {
                for (size_t i = 0; i < MIN(json_object_array_length(depends), LIST_MAX) && r >= 0; i++) {
                        const char *name = json_text(json_object_array_get_idx(depends, i));

                        r = name ? import_add_edge(container, name, IMPORT_STARTED) : 0;
                }
                return r;
        }
        if (!json_object_is_type(depends, json_type_object))
                return 0;
        json_object_object_foreach(depends, name, edge) {
                json_object *required = json_member_of(edge, "required", json_type_boolean);
                _cleanup_free_ char *service = printable_copy(name, strlen(name), false);

                if (required && !json_object_get_boolean(required) && !is_service(services, name))
                        continue;
                r = service ? import_add_edge(container, service,
                                              condition_from(strempty(json_member_text(edge, "condition"))))
                            : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* v2: {"published": "8080", "target": 80, "protocol": "tcp"}; v1 too, or "127.0.0.1:8080:80/tcp". */
static int read_port(ImportContainer *container, json_object *object) {
        const char *text = json_text(object), *last = text ? strrchr(text, ':') : NULL, *published;
        ImportPort port = {};
        json_object *value;

        if (text) {
                if (!last)
                        return 0;
                for (published = last; published > text && published[-1] != ':';)
                        published--;
                port.host = (uint16_t) strtoul(published, NULL, 10);
                port.inner = (uint16_t) strtoul(last + 1, NULL, 10);
                port.udp = strstr(last, "/udp") != NULL;
                port.ranged = memchr(published, '-', (size_t) (last - published)) != NULL;
        } else {
                value = json_member(object, "published");
                published = strempty(json_object_get_string(value));
                port.host = (uint16_t) strtoul(published, NULL, 10);
                value = json_member(object, "target");
                port.inner = (uint16_t) strtoul(strempty(json_object_get_string(value)), NULL, 10);
                port.udp = streq(strempty(json_member_text(object, "protocol")), "udp");
                port.ranged = strchr(published, '-') != NULL;
        }
        return port.host > 0 && port.inner > 0 ? import_add_port(container, port) : 0;
}

/* {"NAME": "value"}, or ["NAME=value"]. */
static int read_environment(ImportContainer *container, json_object *object) {
        int r = 0;

        if (json_object_is_type(object, json_type_array)) {
                for (size_t i = 0; i < MIN(json_object_array_length(object), LIST_MAX) && r >= 0; i++)
                        r = import_add_variable(container,
                                                strempty(json_text(json_object_array_get_idx(object, i))));
                return r;
        }
        if (!json_object_is_type(object, json_type_object))
                return 0;
        json_object_object_foreach(object, name, value) {
                _cleanup_free_ char *text = text_printf("%s=%s", name, strempty(json_text(value)));

                r = text ? import_add_variable(container, text) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What the engine does not have yet, as it will be. */
static int read_new(ImportContainer *container, const ComposeFile *file, const ComposeService *service,
                    const char *folder, json_object *object) {
        json_object *ports = json_member_of(object, "ports", json_type_array),
                    *check = json_member(object, "healthcheck");
        const struct {
                char **target;
                const char *text;
        } texts[] = {
                { &container->name, service->container },
                { &container->project, file->project },
                { &container->service, service->name },
                { &container->folder, folder },
                { &container->image, strempty(service->image) },
                { &container->restart, json_member_text(object, "restart") ?: "no" },
                { &container->mode, strempty(json_member_text(object, "network_mode")) },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(texts) && r >= 0; i++)
                r = set_text(texts[i].target, texts[i].text);
        if (r >= 0 && service->sharing && strncmp(container->mode, "service:", strlen("service:")) == 0) {
                const ComposeService *owner = compose_file_find_service(file, service->sharing);

                r = set_text(&container->owner, owner ? owner->container : service->sharing);
                if (r >= 0)
                        r = set_text(&container->mode, "container:");
        }
        for (size_t i = 0; i < service->n_networks && r >= 0; i++) {
                r = strv_append(&container->networks, service->networks[i].name);
                for (char *const *alias = service->networks[i].aliases; alias && *alias && r >= 0; alias++)
                        r = strv_append(&container->aliases, *alias);
        }
        for (size_t i = 0; ports && i < MIN(json_object_array_length(ports), LIST_MAX) && r >= 0; i++)
                r = read_port(container, json_object_array_get_idx(ports, i));
        if (check && !json_member_is_true(check, "disable"))
                container->traits |= TRAIT_CHECKED;
        container->number = 1;
        return r;
}

static int read_service(ImportWorld *world, const ComposeFile *file, const ComposeService *service,
                        const char *folder, json_object *services) {
        static const char *const hooks[] = { "post_start", "pre_start", "pre_stop" };
        json_object *object = json_member(services, service->name);
        size_t n = world->n_containers;
        bool found = false;
        int r = 0;

        for (size_t i = 0; i < n; i++)
                found |= streq(strempty(world->containers[i].project), file->project) &&
                         streq(world->containers[i].service, service->name);
        if (!found) {
                ImportContainer *container = import_world_add(world);

                r = container ? read_new(container, file, service, folder, object) : -ENOMEM;
        }
        for (size_t i = found ? 0 : n; i < world->n_containers && r >= 0; i++) {
                ImportContainer *container = &world->containers[i];

                if (!streq(strempty(container->project), file->project) ||
                    !streq(container->service, service->name))
                        continue;
                r = read_edges(container, json_member(object, "depends_on"), services);
                if (r >= 0)
                        r = read_environment(container, json_member(object, "environment"));
                for (size_t k = 0; k < ELEMENTSOF(hooks); k++)
                        if (json_member(object, hooks[k]))
                                container->traits |= TRAIT_HOOKS;
        }
        return r;
}

int import_read_compose(ImportWorld *world, const char *folder, ComposeFormat format, const char *text,
                        size_t size, const char *project, char separator, char **ret_project) {
        _cleanup_(compose_file_freep) ComposeFile *file = NULL;
        _cleanup_(json_freep) json_object *root = NULL;
        json_object *services;
        int r;

        r = compose_file_parse(&file, format, text, size, project, separator);
        if (r < 0)
                return r;
        if (format == COMPOSE_JSON) {
                json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);

                root = tokener ? json_tokener_parse_ex(tokener, text, (int) size) : NULL;
                json_tokener_free(tokener);
                r = root ? 0 : -ENOMEM;
        } else
                r = compose_yaml_read(&root, text, size);
        services = json_member_of(root, "services", json_type_object);
        for (size_t i = 0; i < file->n_services && r >= 0; i++)
                r = read_service(world, file, &file->services[i], folder, services);
        if (r < 0)
                return r;
        *ret_project = TAKE_PTR(file->project);
        return 0;
}
