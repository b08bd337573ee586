
#include "compose/compose-file.h"
#include "compose/compose-yaml.h"
#include "model/service.h"
#include "util/json-members.h"
#include "util/printable.h"
#include "util/text.h"

/* ComposeFile: both versions print the same members, one as JSON and the other as YAML. A name that is not given is made as
 * compose makes it. Who wrote the project's file need not be who wrote ours: names go into command lines only if they are
 * names, and nothing is read but what is asked for. */

#define DEPTH_MAX 64
#define SERVICES_MAX 1000
#define ENTRIES_MAX 100 /* networks of a service, aliases of a network */

static void compose_service_done(ComposeService *service) {
        for (size_t i = 0; i < service->n_networks; i++) {
                free(service->networks[i].name);
                strv_free(service->networks[i].aliases);
                free(service->networks[i].ipv4);
                free(service->networks[i].ipv6);
        }
        free(service->networks);
        free(service->name);
        free(service->container);
        free(service->image);
        free(service->sharing);
}

ComposeFile *compose_file_free(ComposeFile *file) {
        if (!file)
                return NULL;

        for (size_t i = 0; i < file->n_services; i++)
                compose_service_done(&file->services[i]);
        free(file->services);
        free(file->project);
        return mfree(file);
}

const ComposeService *compose_file_find_service(const ComposeFile *file, const char *name) {
        for (size_t i = 0; i < file->n_services; i++)
                if (streq(file->services[i].name, name))
                        return &file->services[i];
        return NULL;
}

const ComposeService *compose_file_find(const ComposeFile *file, const char *container) {
        assert(container);

        for (size_t i = 0; i < file->n_services; i++)
                if (streq(file->services[i].container, container))
                        return &file->services[i];
        return NULL;
}

static int copy_text(json_object *value, char **ret) {
        const char *text = json_text(value);

        if (!isempty(text)) {
                *ret = printable_copy(text, strlen(text), false);
                if (!*ret)
                        return -ENOMEM;
        }
        return 0;
}

/* `all` is what the project says about its networks. */
static char *network_name(const ComposeFile *file, json_object *all, const char *key) {
        json_object *network = json_member(all, key), *external = json_member(network, "external");
        const char *name = json_member_text(network, "name"), *text = json_text(external);

        if (!name)
                name = json_member_text(external, "name");
        if (name)
                return strdup(name);
        /* "external: true", or what it is called outside. */
        if (text ? streq(text, "true") : json_object_get_boolean(external))
                return strdup(key);
        return text_printf("%s_%s", file->project, key);
}

static int parse_network(ComposeNetwork *network, json_object *object) {
        json_object *aliases = json_member(object, "aliases");
        size_t n = json_object_is_type(aliases, json_type_array) ? json_object_array_length(aliases) : 0;
        int r = 0;

        for (size_t i = 0; i < MIN(n, (size_t) ENTRIES_MAX) && r >= 0; i++) {
                const char *alias = json_text(json_object_array_get_idx(aliases, i));

                r = isempty(alias) ? 0 : strv_append(&network->aliases, alias);
        }
        if (r >= 0)
                r = copy_text(json_member(object, "ipv4_address"), &network->ipv4);
        if (r >= 0)
                r = copy_text(json_member(object, "ipv6_address"), &network->ipv6);
        return r;
}

static int parse_networks(const ComposeFile *file, ComposeService *service, json_object *networks,
                          json_object *all) {
        size_t n;
        int r;

        if (!json_object_is_type(networks, json_type_object))
                return 0;
        n = (size_t) json_object_object_length(networks);
        service->networks = new0(ComposeNetwork, MIN(n, (size_t) ENTRIES_MAX) + 1);
        if (!service->networks)
                return -ENOMEM;

        json_object_object_foreach(networks, key, object) {
                ComposeNetwork *network = &service->networks[service->n_networks];

                if (service->n_networks == ENTRIES_MAX)
                        break;
                service->n_networks++;
                network->name = network_name(file, all, key);
                r = network->name ? parse_network(network, object) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_sharing(ComposeService *service, json_object *object) {
        static const char *const members[] = { "network_mode", "pid", "ipc" };
        static const char prefix[] = "service:";

        for (size_t i = 0; i < ELEMENTSOF(members) && !service->sharing; i++) {
                const char *mode = json_member_text(object, members[i]);

                if (!mode || strncmp(mode, prefix, strlen(prefix)) != 0)
                        continue;
                mode += strlen(prefix);
                service->sharing = printable_copy(mode, strlen(mode), false);
                if (!service->sharing)
                        return -ENOMEM;
        }
        return 0;
}

static char *compose_container_name(const ComposeFile *file, const char *service, json_object *object,
                                    char separator) {
        const char *project = file->project + strspn(file->project, "-_");
        const char *name = json_member_text(object, "container_name");

        return name ? strdup(name) : text_printf("%s%c%s%c1", project, separator, service, separator);
}

/* 0: it makes nothing that the engine would take. */
static int parse_service(const ComposeFile *file, ComposeService *service, const char *name, json_object *object,
                         json_object *networks, char separator) {
        int r;

        service->name = strdup(name);
        service->container = compose_container_name(file, name, object, separator);
        if (!service->name || !service->container)
                return -ENOMEM;
        /* A service may be called "_x", which no container may. */
        if (!engine_name_is_valid(name + strspn(name, "_.-")) || !engine_name_is_valid(service->container))
                return 0;

        service->built = json_member(object, "build") != NULL;
        r = copy_text(json_member(object, "image"), &service->image);
        if (r >= 0)
                r = parse_sharing(service, object);
        if (r >= 0)
                r = parse_networks(file, service, json_member(object, "networks"), networks);
        return r < 0 ? r : 1;
}

static int parse_services(ComposeFile *file, json_object *root, char separator) {
        json_object *services = json_member(root, "services");
        int r;

        if (!json_object_is_type(services, json_type_object) || json_object_object_length(services) > SERVICES_MAX)
                return -EBADMSG;
        file->services = new0(ComposeService, (size_t) json_object_object_length(services) + 1);
        if (!file->services)
                return -ENOMEM;

        json_object_object_foreach(services, name, object) {
                ComposeService *service = &file->services[file->n_services];

                r = parse_service(file, service, name, object, json_member(root, "networks"), separator);
                if (r > 0) {
                        file->n_services++;
                        continue;
                }
                compose_service_done(service);
                *service = (ComposeService){};
                if (r < 0)
                        return r;
        }
        return 0;
}

int compose_file_parse(ComposeFile **ret, ComposeFormat format, const char *text, size_t size, const char *project,
                       char separator) {
        _cleanup_(compose_file_freep) ComposeFile *file = NULL;
        _cleanup_(json_freep) json_object *root = NULL;
        json_tokener *tokener;
        const char *name;
        int r;

        if (size > COMPOSE_FILE_MAX)
                return -EBADMSG;
        file = new0(ComposeFile, 1);
        if (!file)
                return -ENOMEM;
        if (format == COMPOSE_JSON) {
                tokener = json_tokener_new_ex(DEPTH_MAX);
                if (!tokener)
                        return -ENOMEM;
                root = json_tokener_parse_ex(tokener, text, (int) size);
                json_tokener_free(tokener);
                r = root ? 0 : -EBADMSG;
        } else
                r = compose_yaml_read(&root, text, size);
        if (r < 0)
                return r;

        name = json_member_text(root, "name");
        file->project = strdup(engine_name_is_valid(name) ? name : project);
        r = file->project ? parse_services(file, root, separator) : -ENOMEM;
        if (r < 0)
                return r;

        *ret = TAKE_PTR(file);
        return 0;
}
