#include "engine/container-info.h"
#include "engine/engine-reply.h"
#include "import/engine-facts.h"
#include "util/json-members.h"
#include "util/printable.h"
#include "util/text.h"

/* Engine facts: most of it is what wakers know of a container (ContainerInfo); the rest, which they have no use for, is read here. */

#define TEXT_MAX ((size_t) 4096)
#define DEPENDS_MAX ((size_t) 64 * 1024)
#define LABEL(name) "com.docker.compose." name

static int copy_text(char **ret, const char *text) {
        *ret = printable_copy(strempty(text), strnlen(strempty(text), TEXT_MAX), false);
        return *ret ? 0 : -ENOMEM;
}

/* "db:service_healthy:false,redis:service_started:true"; of early versions without what follows the name. */
static int read_depends_on(ImportContainer *container, const char *text) {
        static const struct {
                const char *text;
                ImportCondition condition;
        } conditions[] = {
                { ":service_healthy", IMPORT_HEALTHY },
                { ":service_completed_successfully", IMPORT_COMPLETED },
        };
        int r = 0;

        if (!text || strlen(text) > DEPENDS_MAX)
                return 0;
        container->traits |= TRAIT_ORDERED;
        while (*text && r >= 0) {
                size_t n = strcspn(text, ","), n_name = MIN(strcspn(text, ":"), n);
                _cleanup_free_ char *service = printable_copy(text, n_name, false);
                ImportCondition condition = IMPORT_STARTED;

                if (!service)
                        return -ENOMEM;
                for (size_t i = 0; i < ELEMENTSOF(conditions); i++)
                        if (strncmp(text + n_name, conditions[i].text, strlen(conditions[i].text)) == 0)
                                condition = conditions[i].condition;
                if (*service)
                        r = import_add_edge(container, service, condition);
                text += n + (text[n] == ',');
        }
        return r;
}

static int read_labels(ImportContainer *container, json_object *labels) {
        struct {
                const char *label;
                char **target;
        } texts[] = {
                { LABEL("project.working_dir"), &container->folder },
                { LABEL("project.config_files"), &container->files },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(texts) && r >= 0; i++) {
                const char *text = strempty(json_member_text(labels, texts[i].label));

                r = copy_text(texts[i].target, text);
                /* A path that cannot be shown is none. */
                if (r >= 0 && (isempty(text) || !streq(*texts[i].target, text)))
                        *texts[i].target = mfree(*texts[i].target);
        }
        container->number = (unsigned) strtoul(strempty(json_member_text(labels, LABEL("container-number"))), NULL,
                                               10);
        return r < 0 ? r : read_depends_on(container, json_member_text(labels, LABEL("depends_on")));
}

static bool is_engine_socket(const char *path) {
        static const char *const names[] = { "/docker.sock", "/podman.sock" };
        size_t n = strlen(strempty(path));

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (n >= strlen(names[i]) && streq(path + n - strlen(names[i]), names[i]))
                        return true;
        return false;
}

/* The tunnel of a VPN is none of the machine's. */
static bool is_device(json_object *device) {
        return !streq(strempty(json_member_text(device, "PathOnHost")), "/dev/net/tun");
}

static void read_host(ImportContainer *container, json_object *object) {
        static const char *const devices[] = { "Devices", "DeviceRequests" };
        json_object *host = json_member(object, "HostConfig"),
                    *mounts = json_member_of(object, "Mounts", json_type_array);

        for (size_t i = 0; mounts && i < json_object_array_length(mounts); i++)
                if (is_engine_socket(json_member_text(json_object_array_get_idx(mounts, i), "Source")))
                        container->traits |= TRAIT_SOCKET;
        for (size_t i = 0; i < ELEMENTSOF(devices); i++) {
                json_object *list = json_member_of(host, devices[i], json_type_array);

                for (size_t k = 0; list && k < json_object_array_length(list); k++)
                        if (is_device(json_object_array_get_idx(list, k)))
                                container->traits |= TRAIT_DEVICES;
        }
        if (json_member_is_true(host, "Privileged"))
                container->traits |= TRAIT_PRIVILEGED;
}

static int read_environment(ImportContainer *container, json_object *list) {
        int r = 0;

        for (size_t i = 0; list && i < json_object_array_length(list) && r >= 0; i++) {
                const char *text = json_text(json_object_array_get_idx(list, i));

                r = text ? import_add_variable(container, text) : 0;
        }
        return r;
}

static int read_ports(ImportContainer *container, const ContainerInfo *info) {
        int r = 0;

        for (size_t i = 0; i < info->n_bindings && r >= 0; i++) {
                const PortBinding *binding = &info->bindings[i];

                if (binding->tcp || binding->udp)
                        r = import_add_port(container, (ImportPort){ .host = binding->host_port,
                                                                     .inner = binding->container_port,
                                                                     .udp = binding->udp,
                                                                     .ranged = binding->host_port_last >
                                                                               binding->host_port });
        }
        for (size_t i = 0; i < info->n_exposed && r >= 0; i++)
                r = import_add_exposed(container, info->exposed[i]);
        return r;
}

/* What one with the host's network, or another one's, is said to be on is none. */
static int read_networks(ImportContainer *container, const ContainerInfo *info) {
        const char *owner = container_info_owner(info);
        int r;

        r = copy_text(&container->mode, info->network_mode);
        if (r >= 0 && owner)
                r = copy_text(&container->owner, owner);
        for (size_t i = 0; i < info->n_networks && r >= 0 && !network_mode_is_closed(info->network_mode); i++) {
                r = strv_append(&container->networks, info->networks[i].name);
                for (char *const *alias = info->networks[i].names; alias && *alias && r >= 0; alias++)
                        if (!strv_contains(container->aliases, *alias))
                                r = strv_append(&container->aliases, *alias);
        }
        return r;
}

static void read_state(ImportContainer *container, const ContainerInfo *info) {
        const struct {
                bool is;
                unsigned trait;
        } states[] = {
                { true, TRAIT_MADE },
                { info->running, TRAIT_RUNS },
                { info->health_command || info->health != HEALTH_NONE, TRAIT_CHECKED },
                { info->health == HEALTH_UNHEALTHY, TRAIT_UNHEALTHY },
                { info->auto_remove, TRAIT_AUTO_REMOVE },
                { !info->running && info->ever_started && info->exit_code == 0 &&
                                  (streq(info->restart_policy, "no") || streq(info->restart_policy, "on-failure")),
                  TRAIT_DONE },
        };

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                if (states[i].is)
                        container->traits |= states[i].trait;
        container->stop_sec = info->stop_timeout_sec;
}

static int read_container(ImportContainer *container, const ContainerInfo *info, json_object *object) {
        json_object *config = json_member(object, "Config");
        struct {
                char **target;
                const char *text;
        } texts[] = {
                { &container->name, info->name },
                { &container->id, info->id },
                { &container->restart, info->restart_policy },
                { &container->image, json_member_text(config, "Image") },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(texts) && r >= 0; i++)
                r = copy_text(texts[i].target, texts[i].text);
        if (r >= 0 && !isempty(info->compose_project) && !isempty(info->compose_service)) {
                r = copy_text(&container->project, info->compose_project);
                if (r >= 0)
                        r = copy_text(&container->service, info->compose_service);
                if (r >= 0)
                        r = read_labels(container, json_member(config, "Labels"));
        }
        if (r >= 0)
                r = read_ports(container, info);
        if (r >= 0)
                r = read_networks(container, info);
        if (r >= 0)
                r = read_environment(container, json_member_of(config, "Env", json_type_array));
        read_state(container, info);
        read_host(container, object);
        return r;
}

int import_read_inspect(ImportWorld *world, const char *body, size_t size) {
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        _cleanup_(json_freep) json_object *object = engine_reply_parse(body, size);
        json_object *labels = json_member(json_member(object, "Config"), "Labels");
        ImportContainer *container;
        int r;

        r = object ? container_info_parse(&info, body, size) : -EBADMSG;
        if (r < 0 || strcasecmp(strempty(json_member_text(labels, LABEL("oneoff"))), "true") == 0)
                return r;
        container = import_world_add(world);
        if (!container)
                return -ENOMEM;
        r = read_container(container, info, object);
        if (r < 0)
                import_world_drop(world);
        return r;
}
