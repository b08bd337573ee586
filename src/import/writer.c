#include "engine/container-info.h"
#include "import/images.h"
#include "import/writer.h"
#include "model/service.h"
#include "util/json-members.h"
#include "util/text.h"

/* Writer. What holds anyway is not written: that a dependency is required; that a container's own HEALTHCHECK decides, where it has
 * one. Waiting is said with dependsOn, which is what compose means by depends_on. */

static json_object *check_json(const ImportContainer *container) {
        const KnownImage *known = container->known;
        json_object *object = json_object_new_object();
        _cleanup_free_ char *text = NULL;

        if (known->command)
                text = text_printf("docker exec %s %s", container->name, known->command);
        else if (known->path)
                text = text_printf("http://:%u%s", known->port, known->path);
        if (known->command || known->path)
                return json_built(object,
                                  text && json_add_text(object, known->command ? "command" : "http", text));
        return json_built(object, json_add_number(object, "tcp", known->port));
}

/* Where it itself accepts clients. */
static uint16_t inner_port(const ImportProject *project, const ImportContainer *container) {
        const bool is_main = container == &project->containers[project->main];

        for (size_t i = 0; i < container->n_ports; i++)
                if (!container->ports[i].udp && !container->ports[i].elsewhere &&
                    (!is_main || project->port == 0 || container->ports[i].host == project->port))
                        return container->ports[i].inner;
        if (!is_main || !project->named)
                return 0;
        return project->backend ?: container->exposed[0];
}

/* Whether, and how, it is known that it is ready. */
static bool add_readiness(json_object *object, const ImportProject *project, const ImportContainer *container) {
        const bool is_main = project && container == &project->containers[project->main],
                   asked = !network_mode_is_closed(container->mode) || streq(container->mode, "host"),
                   is_server = container->known && container->known->kind == IMAGE_SERVER;
        const uint16_t port = project && asked ? inner_port(project, container) : 0;

        if (container->one_shot && !is_main)
                return json_add_text(object, "condition", "completed");
        if ((container->traits & TRAIT_CHECKED) != 0 &&
            ((container->traits & TRAIT_UNHEALTHY) == 0 || container->wanted == IMPORT_HEALTHY))
                return true;
        if (is_server && asked)
                return json_add(object, "healthCheck", check_json(container));
        if (port > 0) {
                json_object *check = json_object_new_object();

                return json_add(object, "healthCheck", json_built(check, json_add_number(check, "tcp", port)));
        }
        return is_main || container->wanted == IMPORT_HEALTHY || (!container->required && !container->awaited) ||
               json_add_text(object, "condition", "started");
}

static json_object *dependency_json(const ImportProject *project, const ImportContainer *container) {
        json_object *object = json_object_new_object(), *waits = json_object_new_array();
        bool fine = json_add_text(object, "container", container->name);

        if (fine && !container->required)
                fine = json_add_text(object, "type", "optional");
        for (char *const *name = container->foreign; fine && name && *name; name++)
                fine = json_append(waits, json_object_new_string(*name));
        for (size_t i = 0; i < project->n_containers && fine; i++)
                if (container->waits[project->order[i]])
                        fine = json_append(waits,
                                           json_object_new_string(project->containers[project->order[i]].name));
        if (fine && json_object_array_length(waits) > 0)
                fine = json_add(object, "dependsOn", json_object_get(waits));
        json_object_put(waits);
        return json_built(object, fine && add_readiness(object, project, container));
}

/* A server of another project. */
static json_object *foreign_json(const ImportWorld *world, const char *name) {
        const ImportContainer *container = import_world_container(world, name);
        json_object *object = json_object_new_object();
        ImportContainer foreign = *container;

        foreign.known = image_find(container->image);
        return json_built(object,
                          json_add_text(object, "container", name) && add_readiness(object, NULL, &foreign));
}

static json_object *dependencies_json(const ImportWorld *world, const ImportProject *project) {
        json_object *array = json_object_new_array();
        bool fine = array;

        for (char *const *name = project->foreign; fine && name && *name; name++)
                fine = json_append(array, foreign_json(world, *name));
        for (size_t i = 0; i < project->n_containers && fine; i++)
                fine = json_append(array, dependency_json(project, &project->containers[project->order[i]]));
        return json_built(array, fine);
}

/* That of the way in which most others are on, too. */
static const char *find_network(const ImportProject *project) {
        const ImportContainer *main = &project->containers[project->main];
        const char *best = NULL;
        size_t most = 0;

        for (char *const *network = main->networks; network && *network; network++) {
                size_t count = 0;

                for (size_t i = 0; i < project->n_containers; i++)
                        count += strv_contains(project->containers[i].networks, *network);
                if (!engine_name_is_valid(*network) || streq(*network, "bridge") || count <= most)
                        continue;
                best = *network;
                most = count;
        }
        return best;
}

static json_object *ports_json(const ImportProject *project) {
        json_object *array = json_object_new_array();
        bool fine = array;

        for (size_t i = 0; i < project->n_ports && fine; i++)
                fine = json_append(array, json_object_new_int(project->ports[i]));
        for (size_t i = 0; i < project->n_datagrams && fine; i++) {
                json_object *port = json_object_new_object();

                fine = json_append(array, port) && json_add_number(port, "port", project->datagrams[i]) &&
                       json_add_text(port, "protocol", "udp");
        }
        return json_built(array, fine);
}

json_object *import_service_json(const ImportWorld *world, const ImportProject *project) {
        const ImportContainer *main = &project->containers[project->main];
        json_object *object = json_object_new_object();
        const char *folder = main->folder, *network = find_network(project);
        bool fine = json_add_text(object, "name", main->name);

        for (size_t i = 0; i < project->n_containers && !folder; i++)
                folder = project->containers[i].folder;
        if (fine && project->port > 0)
                fine = json_add_number(object, "port", project->port);
        if (fine && project->n_ports + project->n_datagrams > 0)
                fine = json_add(object, "ports", ports_json(project));
        if (fine && project->named)
                fine = json_add(object, "names", json_object_new_boolean(true));
        if (fine && project->backend > 0) {
                _cleanup_free_ char *backend = text_printf("%s:%u", main->name, project->backend);

                fine = backend && json_add_text(object, "backend", backend);
        }
        if (fine && folder && *folder == '/')
                fine = json_add_text(object, "composeDir", folder);
        if (fine && network)
                fine = json_add_text(object, "network", network);
        return json_built(object, fine && json_add(object, "dependencies", dependencies_json(world, project)));
}

json_object *import_file_json(const char *name, json_object *service) {
        json_object *object = json_object_new_object(), *services = json_object_new_object();
        bool fine = json_add(services, name, service);

        return json_built(object, json_add(object, "services", services) && fine);
}

char *import_text(json_object *object) {
        const char *text =
                        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                               JSON_C_TO_STRING_NOSLASHESCAPE);

        return text ? text_printf("%s\n", text) : NULL;
}
