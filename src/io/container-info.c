#include <arpa/inet.h>
#include <json-c/json.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>

#include "io/engine-reply.h"
#include "io/printable.h"

/* ContainerInfo: what an inspect says about a container, as plain data. The table below names the members
 * that are read and what each becomes; all others are ignored. A member that is missing or of another type
 * leaves its default, unless nothing makes sense without it. What goes into requests or to connect() is
 * checked here, once: names, ids, addresses, ports. */

#define ENTRIES_MAX ((size_t) 1024)
#define TEXT_MAX ((size_t) 1024)
#define STOP_TIMEOUT_DEFAULT_SEC 10U
#define ZERO_DAY "0001-01-01T00:00:00" /* how a time that is none is written */

static void network_done(ContainerNetwork *network) {
        free(network->name);
        free(network->id);
        free(network->ipv4);
        free(network->ipv6);
}

ContainerInfo *container_info_free(ContainerInfo *info) {
        if (!info)
                return NULL;

        for (size_t i = 0; i < info->n_networks; i++)
                network_done(&info->networks[i]);
        for (size_t i = 0; i < info->n_bindings; i++)
                free(info->bindings[i].host_ip);
        free(info->networks);
        free(info->bindings);
        free(info->exposed);
        free(info->exposed_udp);
        free(info->name);
        free(info->id);
        free(info->error);
        free(info->started_at);
        free(info->network_mode);
        free(info->compose_project);
        free(info->compose_service);
        free(info->restart_policy);
        return mfree(info);
}

const ContainerNetwork *container_info_network(const ContainerInfo *info, const char *network) {
        assert(info);

        for (size_t i = 0; network && i < info->n_networks; i++)
                if (streq(info->networks[i].name, network))
                        return &info->networks[i];
        return NULL;
}

static json_object *member(json_object *object, const char *name) {
        json_object *value = NULL;

        return json_object_is_type(object, json_type_object) && json_object_object_get_ex(object, name, &value)
                               ? value
                               : NULL;
}

static int parse_bool(json_object *value, void *target) {
        if (!json_object_is_type(value, json_type_boolean))
                return -EBADMSG;
        *(bool *) target = json_object_get_boolean(value);
        return 0;
}

static int parse_int(json_object *value, void *target) {
        int64_t number;

        if (!json_object_is_type(value, json_type_int))
                return -EBADMSG;
        number = json_object_get_int64(value);
        if (number < INT_MIN || number > INT_MAX)
                return -EBADMSG;
        *(int *) target = (int) number;
        return 0;
}

static int parse_pid(json_object *value, void *target) {
        int number, r;

        r = parse_int(value, &number);
        if (r < 0 || number < 0)
                return -EBADMSG;
        *(pid_t *) target = number;
        return 0;
}

static int parse_timeout(json_object *value, void *target) {
        int number, r;

        /* null: not set; negative: for ever, which is nothing that anybody could wait for. */
        r = parse_int(value, &number);
        if (r >= 0 && number >= 0)
                *(unsigned *) target = (unsigned) number;
        return 0;
}

/* Docker's numbers of the real-time signals, which the C library gives away in part. */
#define RTMIN 34
#define RTMAX 64

static const struct {
        const char *name;
        int signal;
} signal_aliases[] = {
        { "CLD", SIGCHLD },
        { "IO", SIGIO },
        { "IOT", SIGABRT },
};

static int signal_from_name(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(signal_aliases); i++)
                if (strcasecmp(name, signal_aliases[i].name) == 0)
                        return signal_aliases[i].signal;
        for (int signal = 1; signal < RTMIN; signal++) {
                const char *known = sigabbrev_np(signal);

                if (known && strcasecmp(name, known) == 0)
                        return signal;
        }
        return 0;
}

int engine_signal_from_string(const char *text) {
        char *end;
        long offset;

        assert(text);

        if (*text >= '0' && *text <= '9') {
                offset = strtol(text, &end, 10);
                return *end == '\0' && offset <= RTMAX ? (int) offset : 0;
        }
        if (strncasecmp(text, "SIG", 3) == 0)
                text += 3;
        if (strncasecmp(text, "RTMIN", 5) != 0 && strncasecmp(text, "RTMAX", 5) != 0)
                return signal_from_name(text);

        /* "RTMIN+3", "RTMAX-2" */
        offset = strtol(text + 5, &end, 10);
        if (*end != '\0' || offset < RTMIN - RTMAX || offset > RTMAX - RTMIN)
                return 0;
        offset += text[4] == 'N' || text[4] == 'n' ? RTMIN : RTMAX;
        return offset >= RTMIN && offset <= RTMAX ? (int) offset : 0;
}

static int parse_signal(json_object *value, void *target) {
        int signal = json_object_is_type(value, json_type_string)
                                     ? engine_signal_from_string(json_object_get_string(value))
                                     : 0;

        if (signal > 0)
                *(int *) target = signal;
        return 0;
}

static int parse_text(json_object *value, void *target) {
        char *copy;

        if (!json_object_is_type(value, json_type_string))
                return -EBADMSG;
        copy = printable_copy(json_object_get_string(value),
                              MIN((size_t) json_object_get_string_len(value), TEXT_MAX), false);
        if (!copy)
                return -ENOMEM;
        free(*(char **) target);
        *(char **) target = copy;
        return 0;
}

/* Docker writes a slash before the name. */
static int parse_name(json_object *value, void *target) {
        const char *name = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
        char *copy;

        name += *name == '/';
        if (!engine_name_is_valid(name))
                return -EBADMSG;
        copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        free(*(char **) target);
        *(char **) target = copy;
        return 0;
}

static int parse_health(json_object *value, void *target) {
        static const char *const names[] = {
                [HEALTH_NONE] = "none",
                [HEALTH_STARTING] = "starting",
                [HEALTH_HEALTHY] = "healthy",
                [HEALTH_UNHEALTHY] = "unhealthy",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (json_object_is_type(value, json_type_string) && streq(json_object_get_string(value), names[i]))
                        *(EngineHealth *) target = (EngineHealth) i;
        return 0;
}

/* Appends room for one more element, cleared. */
static void *array_grow(void *array, size_t *n, size_t size) {
        char **elements = array, *larger;

        larger = realloc(*elements, (*n + 1) * size);
        if (!larger)
                return NULL;
        *elements = larger;
        memset(larger + *n * size, 0, size);
        return larger + (*n)++ * size;
}

/* NULL if it is empty or no address of that family. */
static char *parse_address(json_object *value, int family) {
        const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
        struct in6_addr address;

        return inet_pton(family, text, &address) == 1 ? strdup(text) : NULL;
}

static int parse_networks(json_object *value, void *target) {
        ContainerInfo *info = target;

        if (!json_object_is_type(value, json_type_object))
                return -EBADMSG;

        json_object_object_foreach(value, name, entry) {
                json_object *id = member(entry, "NetworkID");
                ContainerNetwork *network;

                if (info->n_networks >= ENTRIES_MAX)
                        return 0;
                network = array_grow(&info->networks, &info->n_networks, sizeof(ContainerNetwork));
                if (!network)
                        return -ENOMEM;
                network->name = printable_copy(name, strnlen(name, TEXT_MAX), false);
                network->id = strdup(
                                json_object_is_type(id, json_type_string) &&
                                                                engine_name_is_valid(json_object_get_string(id))
                                                ? json_object_get_string(id)
                                                : "");
                if (!network->name || !network->id)
                        return -ENOMEM;
                network->ipv4 = parse_address(member(entry, "IPAddress"), AF_INET);
                network->ipv6 = parse_address(member(entry, "GlobalIPv6Address"), AF_INET6);
        }
        return 0;
}

static uint16_t port_from_string(const char *text, const char **ret_end) {
        unsigned port = 0;

        for (; *text >= '0' && *text <= '9' && port <= UINT16_MAX; text++)
                port = port * 10 + (unsigned) (*text - '0');
        *ret_end = text;
        return port <= UINT16_MAX ? (uint16_t) port : 0;
}

typedef struct PortKey {
        uint16_t port; /* 0: malformed */
        bool tcp, udp;
} PortKey;

/* "80/tcp", "53/udp" */
static PortKey parse_port_key(const char *text) {
        const char *end;
        PortKey key = { .port = port_from_string(text, &end) };

        key.tcp = streq(end, "/tcp") || *end == '\0';
        key.udp = streq(end, "/udp");
        if (!key.tcp && *end != '/')
                key.port = 0;
        return key;
}

/* One {"HostIp", "HostPort"}. Those without a fixed port say nothing about where clients come from. */
static int parse_binding(ContainerInfo *info, PortKey key, json_object *entry) {
        json_object *ip = member(entry, "HostIp"), *port = member(entry, "HostPort");
        const char *end, *host_ip = json_object_is_type(ip, json_type_string) ? json_object_get_string(ip) : "";
        struct in6_addr address;
        PortBinding *binding;
        uint16_t host_port;

        if (info->n_bindings >= ENTRIES_MAX || !json_object_is_type(port, json_type_string))
                return 0;
        host_port = port_from_string(json_object_get_string(port), &end);
        if (host_port == 0 || *end != '\0')
                return 0;
        if (*host_ip && inet_pton(AF_INET, host_ip, &address) != 1 && inet_pton(AF_INET6, host_ip, &address) != 1)
                return 0;

        binding = array_grow(&info->bindings, &info->n_bindings, sizeof(PortBinding));
        if (!binding)
                return -ENOMEM;
        binding->container_port = key.port;
        binding->host_port = host_port;
        binding->tcp = key.tcp;
        binding->udp = key.udp;
        binding->host_ip = strdup(host_ip);
        return binding->host_ip ? 0 : -ENOMEM;
}

static int parse_bindings(json_object *value, void *target) {
        if (!json_object_is_type(value, json_type_object))
                return -EBADMSG;

        json_object_object_foreach(value, text, entries) {
                PortKey key = parse_port_key(text);
                size_t n = json_object_is_type(entries, json_type_array) ? json_object_array_length(entries) : 0;

                for (size_t i = 0; key.port > 0 && i < n; i++) {
                        int r = parse_binding(target, key, json_object_array_get_idx(entries, i));
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int parse_exposed(json_object *value, void *target) {
        ContainerInfo *info = target;

        if (!json_object_is_type(value, json_type_object))
                return -EBADMSG;

        json_object_object_foreach(value, text, unused) {
                PortKey key = parse_port_key(text);
                uint16_t *element;

                (void) unused;
                if (key.port == 0 || !(key.tcp || key.udp))
                        continue;
                if (info->n_exposed + info->n_exposed_udp >= ENTRIES_MAX)
                        return 0;
                element = key.tcp ? array_grow(&info->exposed, &info->n_exposed, sizeof(uint16_t))
                                  : array_grow(&info->exposed_udp, &info->n_exposed_udp, sizeof(uint16_t));
                if (!element)
                        return -ENOMEM;
                *element = key.port;
        }
        return 0;
}

#define WHOLE SIZE_MAX /* the parser fills more than one member */

static const struct {
        const char *section; /* NULL: top level */
        const char *subsection;
        const char *name;
        int (*parse)(json_object *value, void *target);
        size_t offset;
        bool mandatory;
} members[] = {
        { NULL, NULL, "Id", parse_name, offsetof(ContainerInfo, id), true },
        { NULL, NULL, "Name", parse_name, offsetof(ContainerInfo, name), true },
        { "State", NULL, "Running", parse_bool, offsetof(ContainerInfo, running), true },
        { "State", NULL, "Paused", parse_bool, offsetof(ContainerInfo, paused), false },
        { "State", NULL, "Restarting", parse_bool, offsetof(ContainerInfo, restarting), false },
        { "State", NULL, "ExitCode", parse_int, offsetof(ContainerInfo, exit_code), false },
        { "State", NULL, "OOMKilled", parse_bool, offsetof(ContainerInfo, oom_killed), false },
        { "State", NULL, "Error", parse_text, offsetof(ContainerInfo, error), false },
        { "State", NULL, "Pid", parse_pid, offsetof(ContainerInfo, pid), false },
        { "State", NULL, "StartedAt", parse_text, offsetof(ContainerInfo, started_at), false },
        { "State", "Health", "Status", parse_health, offsetof(ContainerInfo, health), false },
        { "Config", NULL, "StopSignal", parse_signal, offsetof(ContainerInfo, stop_signal), false },
        { "Config", NULL, "StopTimeout", parse_timeout, offsetof(ContainerInfo, stop_timeout_sec), false },
        { "Config", NULL, "ExposedPorts", parse_exposed, WHOLE, false },
        { "Config", "Labels", "com.docker.compose.project", parse_text, offsetof(ContainerInfo, compose_project),
          false },
        { "Config", "Labels", "com.docker.compose.service", parse_text, offsetof(ContainerInfo, compose_service),
          false },
        { "HostConfig", NULL, "NetworkMode", parse_text, offsetof(ContainerInfo, network_mode), false },
        { "HostConfig", "RestartPolicy", "Name", parse_text, offsetof(ContainerInfo, restart_policy), false },
        { "HostConfig", NULL, "PortBindings", parse_bindings, WHOLE, false },
        { "NetworkSettings", NULL, "Networks", parse_networks, WHOLE, false },
};

static int container_info_fill(ContainerInfo *info, json_object *object) {
        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                json_object *section = members[i].section ? member(object, members[i].section) : object;
                json_object *value;
                int r;

                if (members[i].subsection)
                        section = member(section, members[i].subsection);
                value = member(section, members[i].name);
                r = value ? members[i].parse(value, members[i].offset == WHOLE ? info
                                                                               : (void *) ((uint8_t *) info +
                                                                                           members[i].offset))
                          : -EBADMSG;
                if (r == -ENOMEM || (r < 0 && members[i].mandatory))
                        return r;
        }
        return 0;
}

/* Members that readers need not check for. */
static int container_info_complete(ContainerInfo *info) {
        char **texts[] = { &info->error, &info->started_at, &info->network_mode, &info->restart_policy };

        if (info->restart_policy && !*info->restart_policy) /* older engines write it so */
                info->restart_policy = mfree(info->restart_policy);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (!*texts[i]) {
                        *texts[i] = strdup(texts[i] == &info->restart_policy ? "no" : "");
                        if (!*texts[i])
                                return -ENOMEM;
                }
        info->ever_started = *info->started_at && strncmp(info->started_at, ZERO_DAY, strlen(ZERO_DAY)) != 0;
        return 0;
}

int container_info_parse(ContainerInfo **ret, const char *body, size_t size) {
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        json_object *object;
        int r;

        assert(ret);
        assert(body || size == 0);

        info = new0(ContainerInfo, 1);
        if (!info)
                return -ENOMEM;
        info->stop_timeout_sec = STOP_TIMEOUT_DEFAULT_SEC;
        info->stop_signal = SIGTERM;

        object = engine_reply_parse(body, size, json_type_object);
        r = object ? container_info_fill(info, object) : -EBADMSG;
        json_object_put(object);
        if (r >= 0)
                r = container_info_complete(info);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(info);
        return 0;
}
