#include <arpa/inet.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>

#include "engine/container-info.h"
#include "engine/engine-reply.h"
#include "model/service.h"
#include "util/json-members.h"
#include "util/printable.h"
#include "util/time.h"

/* ContainerInfo: what an inspect says about a container, as plain data; and less of the same about networks and all containers,
 * at the end. The table below names the members that are read and what each becomes; all others are ignored. A member that is
 * missing or of another type leaves its default, unless nothing makes sense without it. What goes into requests or to connect()
 * is checked here, once: names, ids, addresses, ports. */

#define ENTRIES_MAX ((size_t) 1024)
#define TEXT_MAX ((size_t) 1024)
#define ALIASES_MAX ((size_t) 128)
#define ID_SIZE 64U
#define STOP_TIMEOUT_DEFAULT_SEC 10U
#define HEALTH_INTERVAL_DEFAULT_USEC (30 * USEC_PER_SEC)
#define HEALTH_TIMEOUT_DEFAULT_USEC (30 * USEC_PER_SEC)
#define HEALTH_RETRIES_DEFAULT 3
#define HEALTH_SPAN_MAX_USEC (24 * 60 * USEC_PER_MINUTE)
#define HEALTH_RETRIES_MAX 1000
#define ZERO_DAY "0001-01-01T00:00:00" /* how a time that is none is written */

static void network_done(ContainerNetwork *network) {
        free(network->name);
        free(network->id);
        free(network->ipv4);
        free(network->ipv6);
        free(network->wanted_ipv4);
        free(network->wanted_ipv6);
        strv_free(network->names);
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
        free(info->ipc_mode);
        free(info->pid_mode);
        free(info->name);
        free(info->id);
        free(info->error);
        free(info->started_at);
        free(info->network_mode);
        free(info->compose_project);
        free(info->compose_service);
        free(info->restart_policy);
        strv_free(info->shell);
        strv_free(info->health_command);
        strv_free(info->execs);
        return mfree(info);
}

const ContainerNetwork *container_info_network(const ContainerInfo *info, const char *network) {
        assert(info);

        for (size_t i = 0; network && i < info->n_networks; i++)
                if (streq(info->networks[i].name, network))
                        return &info->networks[i];
        return NULL;
}

bool network_mode_is_closed(const char *mode) {
        static const char *const closed[] = { "host", "none", "slirp4netns", "pasta" };
        static const char *const prefixes[] = { "container:", "ns:", "slirp4netns:", "pasta:" };

        for (size_t i = 0; i < ELEMENTSOF(closed); i++)
                if (streq(strempty(mode), closed[i]))
                        return true;
        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncmp(strempty(mode), prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

bool container_info_is_on(const ContainerInfo *info, const char *network) {
        if (container_info_network(info, network) || network_mode_is_closed(info->network_mode))
                return true;
        for (size_t i = 0; i < info->n_networks; i++)
                if (streq(info->networks[i].name, info->networks[i].id) ||
                    strlen(info->networks[i].name) == ID_SIZE)
                        return true;
        return false;
}

char *container_info_networks_to_string(const ContainerInfo *info) {
        char *text = NULL;
        size_t size;
        FILE *out;

        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        for (size_t i = 0; i < info->n_networks; i++)
                fprintf(out, "%s'%s'", i > 0 ? ", " : "", info->networks[i].name);
        if (info->n_networks == 0)
                fputs("no network", out);
        return fclose(out) == 0 ? text : mfree(text);
}

const char *container_info_owner(const ContainerInfo *info) {
        static const char prefix[] = "container:";

        assert(info);

        return strncmp(strempty(info->network_mode), prefix, strlen(prefix)) == 0
                               ? info->network_mode + strlen(prefix)
                               : NULL;
}

bool container_info_is_older(const ContainerInfo *info, const ContainerInfo *other) {
        static const size_t size = sizeof("2026-01-05T08:00:00") - 1;
        const char *a = info->started_at, *b = other->started_at;
        size_t n_a, n_b;
        int r = strncmp(a, b, size);

        if (r != 0 || strlen(a) < size)
                return r < 0;
        /* Fractions come without the zeros at their end. */
        n_a = strspn(a + size, ".0123456789");
        n_b = strspn(b + size, ".0123456789");
        r = strncmp(a + size, b + size, MIN(n_a, n_b));
        return r < 0 || (r == 0 && n_a < n_b);
}

static bool port_binding_is_range(const PortBinding *binding) {
        return binding->host_port_last > binding->host_port;
}

bool port_binding_covers(const PortBinding *binding, uint16_t host_port) {
        assert(binding);

        return host_port == binding->host_port ||
               (host_port > binding->host_port && host_port <= binding->host_port_last);
}

bool port_binding_is_at(const PortBinding *binding, uint16_t host_port) {
        assert(binding);

        if (!port_binding_is_range(binding))
                return host_port == binding->host_port;
        return host_port > 0 && (binding->taken_ipv4 == host_port || binding->taken_ipv6 == host_port) &&
               (binding->taken_ipv4 == 0 || binding->taken_ipv6 == 0 ||
                binding->taken_ipv4 == binding->taken_ipv6);
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
        int signal = engine_signal_from_string(strempty(json_text(value)));

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
        const char *name = strempty(json_text(value));
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
                if (streq(strempty(json_text(value)), names[i]))
                        *(EngineHealth *) target = (EngineHealth) i;
        return 0;
}

static int parse_words(json_object *value, void *target) {
        _cleanup_(strv_freep) char **words = NULL;
        int r;

        r = engine_reply_words(&words, value, 0);
        if (r < 0)
                return r;
        strv_free(*(char ***) target);
        *(char ***) target = TAKE_PTR(words);
        return 0;
}

/* ["CMD", "curl", "-f", "…"], ["CMD-SHELL", "curl … || exit 1"], ["NONE"]. Once the shell is known. */
static int parse_health_command(json_object *value, void *target) {
        static const char *const default_shell[] = { "/bin/sh", "-c", NULL };
        _cleanup_(strv_freep) char **words = NULL, **command = NULL;
        ContainerInfo *info = target;
        int r;

        r = parse_words(value, &words);
        if (r < 0 || strv_length(words) < 2)
                return r;
        if (streq(words[0], "CMD-SHELL"))
                for (char *const *word = info->shell ?: (char *const *) default_shell; r >= 0 && *word; word++)
                        r = strv_append(&command, *word);
        else if (!streq(words[0], "CMD"))
                return 0;
        if (r >= 0)
                r = engine_reply_words(&command, value, 1);
        if (r < 0)
                return r;
        strv_free(info->health_command);
        info->health_command = TAKE_PTR(command);
        return 0;
}

/* In ns; 0: not said. */
static int parse_span(json_object *value, void *target) {
        int64_t nsec = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;

        if (nsec > 0)
                *(uint64_t *) target = MIN((uint64_t) nsec / 1000, HEALTH_SPAN_MAX_USEC);
        return 0;
}

static int parse_retries(json_object *value, void *target) {
        int number, r;

        r = parse_int(value, &number);
        if (r >= 0 && number > 0)
                *(int *) target = MIN(number, HEALTH_RETRIES_MAX);
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
static char *parse_address(json_object *object, const char *name, int family) {
        const char *text = strempty(json_member_text(object, name));
        struct in6_addr address;

        return inet_pton(family, text, &address) == 1 ? strdup(text) : NULL;
}

static int parse_networks(json_object *value, void *target) {
        ContainerInfo *info = target;

        if (!json_object_is_type(value, json_type_object))
                return -EBADMSG;

        json_object_object_foreach(value, name, entry) {
                json_object *wanted = json_member(entry, "IPAMConfig"),
                            *aliases = json_member_of(entry, "Aliases", json_type_array);
                const char *id = json_member_text(entry, "NetworkID");
                ContainerNetwork *network;

                if (info->n_networks >= ENTRIES_MAX)
                        return 0;
                network = array_grow(&info->networks, &info->n_networks, sizeof(ContainerNetwork));
                if (!network)
                        return -ENOMEM;
                network->name = printable_copy(name, strnlen(name, TEXT_MAX), false);
                network->id = strdup(engine_name_is_valid(id) ? id : "");
                if (!network->name || !network->id)
                        return -ENOMEM;
                network->ipv4 = parse_address(entry, "IPAddress", AF_INET);
                network->ipv6 = parse_address(entry, "GlobalIPv6Address", AF_INET6);
                network->wanted_ipv4 = parse_address(wanted, "IPv4Address", AF_INET);
                network->wanted_ipv6 = parse_address(wanted, "IPv6Address", AF_INET6);
                network->aliased = aliases && json_object_array_length(aliases) > 0;
                for (size_t i = 0; network->aliased && i < MIN(json_object_array_length(aliases), ALIASES_MAX);
                     i++) {
                        const char *text = json_text(json_object_array_get_idx(aliases, i));
                        _cleanup_free_ char *alias = NULL;

                        if (isempty(text))
                                continue;
                        alias = printable_copy(text, strnlen(text, TEXT_MAX), false);
                        if (!alias ||
                            (!strv_contains(network->names, alias) && strv_append(&network->names, alias) < 0))
                                return -ENOMEM;
                }
        }
        return 0;
}

static uint16_t port_at(const char *text, const char **ret_end) {
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
        PortKey key = { .port = port_at(text, &end) };

        key.tcp = streq(end, "/tcp") || *end == '\0';
        key.udp = streq(end, "/udp");
        if (!key.tcp && *end != '/')
                key.port = 0;
        return key;
}

/* "9002", "9002-9005" */
static bool parse_host_ports(const char *text, PortBinding *binding) {
        const char *end;

        binding->host_port = binding->host_port_last = port_at(text, &end);
        if (*end == '-')
                binding->host_port_last = port_at(end + 1, &end);
        return *end == '\0' && binding->host_port > 0 && binding->host_port_last >= binding->host_port;
}

/* One {"HostIp", "HostPort"}. Those without a fixed port say nothing about where clients come from. */
static int parse_binding(ContainerInfo *info, PortKey key, json_object *entry) {
        const char *host_ip = strempty(json_member_text(entry, "HostIp")),
                   *host_port = strempty(json_member_text(entry, "HostPort"));
        PortBinding found = { .container_port = key.port, .tcp = key.tcp, .udp = key.udp }, *binding;
        struct in6_addr address;

        if (info->n_bindings >= ENTRIES_MAX || !parse_host_ports(host_port, &found))
                return 0;
        if (*host_ip && inet_pton(AF_INET, host_ip, &address) != 1 && inet_pton(AF_INET6, host_ip, &address) != 1)
                return 0;

        binding = array_grow(&info->bindings, &info->n_bindings, sizeof(PortBinding));
        if (!binding)
                return -ENOMEM;
        *binding = found;
        binding->host_ip = strdup(host_ip);
        return binding->host_ip ? 0 : -ENOMEM;
}

/* The same of a container that runs: which one of a range it is. An address of all families has become one of each. */
static int parse_taken(ContainerInfo *info, PortKey key, json_object *entry) {
        const char *host_ip = strempty(json_member_text(entry, "HostIp")),
                   *host_port = strempty(json_member_text(entry, "HostPort"));
        PortBinding found = {};

        if (!parse_host_ports(host_port, &found))
                return 0;
        for (size_t i = 0; i < info->n_bindings; i++) {
                PortBinding *binding = &info->bindings[i];

                if (!port_binding_is_range(binding) || binding->container_port != key.port ||
                    binding->tcp != key.tcp || binding->udp != key.udp ||
                    !port_binding_covers(binding, found.host_port) ||
                    (*binding->host_ip && !streq(binding->host_ip, host_ip)))
                        continue;
                *(strchr(host_ip, ':') ? &binding->taken_ipv6 : &binding->taken_ipv4) = found.host_port;
        }
        return 0;
}

static int parse_ports(json_object *value, ContainerInfo *info,
                       int (*parse)(ContainerInfo *info, PortKey key, json_object *entry)) {
        if (!json_object_is_type(value, json_type_object))
                return -EBADMSG;

        json_object_object_foreach(value, text, entries) {
                PortKey key = parse_port_key(text);
                size_t n = json_object_is_type(entries, json_type_array) ? json_object_array_length(entries) : 0;

                for (size_t i = 0; key.port > 0 && i < n; i++) {
                        int r = parse(info, key, json_object_array_get_idx(entries, i));
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int parse_bindings(json_object *value, void *target) {
        return parse_ports(value, target, parse_binding);
}

/* Once the bindings are known. */
static int parse_taken_ports(json_object *value, void *target) {
        return parse_ports(value, target, parse_taken);
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

int container_info_share_networks(ContainerInfo *info, const ContainerInfo *owner) {
        assert(info);
        assert(owner);

        for (size_t i = 0; i < info->n_networks; i++)
                network_done(&info->networks[i]);
        info->n_networks = 0;
        for (size_t i = 0; i < owner->n_networks; i++) {
                const ContainerNetwork *from = &owner->networks[i];
                ContainerNetwork *to = array_grow(&info->networks, &info->n_networks, sizeof(ContainerNetwork));

                if (!to)
                        return -ENOMEM;
                *to = (ContainerNetwork){
                        .name = strdup(from->name),
                        .id = strdup(from->id),
                        .ipv4 = from->ipv4 ? strdup(from->ipv4) : NULL,
                        .ipv6 = from->ipv6 ? strdup(from->ipv6) : NULL,
                };
                if (!to->name || !to->id)
                        return -ENOMEM;
        }
        return 0;
}

bool container_network_bridge(const char *name, const char *id, char ret[static IFNAMSIZ]) {
        static const char *const without_names[] = { "bridge", "host", "none", "podman" };

        for (size_t i = 0; i < ELEMENTSOF(without_names); i++)
                if (streq(name, without_names[i]))
                        return false;
        (void) snprintf(ret, IFNAMSIZ, "br-%.12s", id);
        return strlen(id) == ID_SIZE;
}

/* `--gpus`, and what compose's `deploy.resources.reservations.devices` becomes. A device that is given by its path is none: systemd
 * knows of it. */
static int parse_device_requests(json_object *value, void *target) {
        bool *gpu = target;

        *gpu = *gpu || (json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0);
        return 0;
}

static int parse_runtime(json_object *value, void *target) {
        const char *runtime = json_text(value);
        bool *gpu = target;

        *gpu = *gpu || (runtime && streq(runtime, "nvidia"));
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
        { NULL, NULL, "ExecIDs", parse_words, offsetof(ContainerInfo, execs), false },
        { "State", NULL, "Running", parse_bool, offsetof(ContainerInfo, running), true },
        { "State", NULL, "Paused", parse_bool, offsetof(ContainerInfo, paused), false },
        { "State", NULL, "Restarting", parse_bool, offsetof(ContainerInfo, restarting), false },
        { "State", NULL, "ExitCode", parse_int, offsetof(ContainerInfo, exit_code), false },
        { "State", NULL, "OOMKilled", parse_bool, offsetof(ContainerInfo, oom_killed), false },
        { "State", NULL, "Error", parse_text, offsetof(ContainerInfo, error), false },
        { "State", NULL, "Pid", parse_pid, offsetof(ContainerInfo, pid), false },
        { "State", NULL, "StartedAt", parse_text, offsetof(ContainerInfo, started_at), false },
        { "State", "Health", "Status", parse_health, offsetof(ContainerInfo, health), false },
        { "Config", NULL, "Shell", parse_words, offsetof(ContainerInfo, shell), false },
        { "Config", "Healthcheck", "Test", parse_health_command, WHOLE, false },
        { "Config", "Healthcheck", "Interval", parse_span, offsetof(ContainerInfo, health_interval_usec), false },
        { "Config", "Healthcheck", "Timeout", parse_span, offsetof(ContainerInfo, health_timeout_usec), false },
        { "Config", "Healthcheck", "StartPeriod", parse_span, offsetof(ContainerInfo, health_start_usec), false },
        { "Config", "Healthcheck", "Retries", parse_retries, offsetof(ContainerInfo, health_retries), false },
        { "Config", NULL, "StopSignal", parse_signal, offsetof(ContainerInfo, stop_signal), false },
        { "Config", NULL, "StopTimeout", parse_timeout, offsetof(ContainerInfo, stop_timeout_sec), false },
        { "Config", NULL, "ExposedPorts", parse_exposed, WHOLE, false },
        { "Config", "Labels", "com.docker.compose.project", parse_text, offsetof(ContainerInfo, compose_project),
          false },
        { "Config", "Labels", "com.docker.compose.service", parse_text, offsetof(ContainerInfo, compose_service),
          false },
        { "HostConfig", NULL, "NetworkMode", parse_text, offsetof(ContainerInfo, network_mode), false },
        { "HostConfig", "RestartPolicy", "Name", parse_text, offsetof(ContainerInfo, restart_policy), false },
        { "HostConfig", NULL, "IpcMode", parse_text, offsetof(ContainerInfo, ipc_mode), false },
        { "HostConfig", NULL, "PidMode", parse_text, offsetof(ContainerInfo, pid_mode), false },
        { "HostConfig", NULL, "AutoRemove", parse_bool, offsetof(ContainerInfo, auto_remove), false },
        { "HostConfig", NULL, "DeviceRequests", parse_device_requests, offsetof(ContainerInfo, gpu), false },
        { "HostConfig", NULL, "Runtime", parse_runtime, offsetof(ContainerInfo, gpu), false },
        { "HostConfig", NULL, "PortBindings", parse_bindings, WHOLE, false },
        { "NetworkSettings", NULL, "Networks", parse_networks, WHOLE, false },
        { "NetworkSettings", NULL, "Ports", parse_taken_ports, WHOLE, false },
};

static int container_info_fill(ContainerInfo *info, json_object *object) {
        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                json_object *section = members[i].section ? json_member(object, members[i].section) : object;
                json_object *value;
                int r;

                if (members[i].subsection)
                        section = json_member(section, members[i].subsection);
                value = json_member(section, members[i].name);
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
        info->health_interval_usec = HEALTH_INTERVAL_DEFAULT_USEC;
        info->health_timeout_usec = HEALTH_TIMEOUT_DEFAULT_USEC;
        info->health_retries = HEALTH_RETRIES_DEFAULT;

        object = engine_reply_parse(body, size);
        r = object ? container_info_fill(info, object) : -EBADMSG;
        json_object_put(object);
        if (r >= 0)
                r = container_info_complete(info);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(info);
        return 0;
}

/* Networks: who is on one, with which address: what runs. */

NetworkInfo *network_info_free(NetworkInfo *info) {
        if (!info)
                return NULL;

        for (size_t i = 0; i < info->n_endpoints; i++) {
                free(info->endpoints[i].container);
                free(info->endpoints[i].ipv4);
                free(info->endpoints[i].ipv6);
        }
        free(info->endpoints);
        return mfree(info);
}

/* "172.18.0.2/16", without the prefix's length; "" if it is none. */
static char *address_of(json_object *object, const char *name, const char *end) {
        const char *text = strempty(json_member_text(object, name));

        return printable_copy(text, strcspn(text, end), false);
}

static int network_info_fill(NetworkInfo *info, json_object *containers) {
        if (!json_object_is_type(containers, json_type_object))
                return 0;
        info->endpoints = new0(NetworkEndpoint, (size_t) json_object_object_length(containers) + 1);
        if (!info->endpoints)
                return -ENOMEM;

        json_object_object_foreach(containers, id, object) {
                NetworkEndpoint *endpoint = &info->endpoints[info->n_endpoints++];

                (void) id;
                endpoint->container = address_of(object, "Name", "");
                endpoint->ipv4 = address_of(object, "IPv4Address", "/");
                endpoint->ipv6 = address_of(object, "IPv6Address", "/");
                if (!endpoint->container || !endpoint->ipv4 || !endpoint->ipv6)
                        return -ENOMEM;
        }
        return 0;
}

int network_info_parse(NetworkInfo **ret, const char *body, size_t size) {
        json_object *object = engine_reply_parse(body, size), *containers = NULL;
        _cleanup_(network_info_freep) NetworkInfo *info = new0(NetworkInfo, 1);
        int r = !object ? -EBADMSG : !info ? -ENOMEM : 0;

        assert(ret);

        if (r >= 0 && json_object_object_get_ex(object, "Containers", &containers))
                r = network_info_fill(info, containers);
        json_object_put(object);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(info);
        return 0;
}

const NetworkEndpoint *network_info_find(const NetworkInfo *info, const char *address) {
        for (size_t i = 0; i < info->n_endpoints; i++)
                if (streq(info->endpoints[i].ipv4, address) || streq(info->endpoints[i].ipv6, address))
                        return &info->endpoints[i];
        return NULL;
}

/* Lists of containers */

/* Its own name has one slash, names that links give it have two. NULL: none that is fit for a request. */
static const char *name_of_container(json_object *container) {
        json_object *names = json_member_of(container, "Names", json_type_array);
        size_t n = names ? json_object_array_length(names) : 0;

        for (size_t i = 0; i < n; i++) {
                const char *name = strempty(json_text(json_object_array_get_idx(names, i)));

                name += *name == '/';
                if (engine_name_is_valid(name))
                        return name;
        }
        return NULL;
}

/* What it publishes at the moment, each port once for each address. */
static int list_ports(ListedContainer *container, json_object *ports) {
        size_t n = json_object_is_type(ports, json_type_array) ? json_object_array_length(ports) : 0;

        container->ports = new0(uint16_t, n + 1);
        if (!container->ports)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(ports, i), *port = json_member(entry, "PublicPort");
                int64_t number = json_object_is_type(port, json_type_int) ? json_object_get_int64(port) : 0;

                if (number > 0 && number <= UINT16_MAX && streq(strempty(json_member_text(entry, "Type")), "tcp"))
                        container->ports[container->n_ports++] = (uint16_t) number;
        }
        return 0;
}

static uint64_t hash_networks(json_object *networks) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

        if (!json_object_is_type(networks, json_type_object))
                return 0;
        json_object_object_foreach(networks, name, network) {
                (void) name;
                for (const char *c = strempty(json_member_text(network, "NetworkID")); *c; c++)
                        hash = (hash ^ (uint8_t) *c) * UINT64_C(0x100000001b3);
        }
        return hash;
}

static int list_links(ListedContainer *container, json_object *networks) {
        if (!container->running || !json_object_is_type(networks, json_type_object))
                return 0;
        container->links = new0(ListedLink, (size_t) json_object_object_length(networks) + 1);
        if (!container->links)
                return -ENOMEM;
        json_object_object_foreach(networks, name, network) {
                _cleanup_free_ char *ipv4 = parse_address(network, "IPAddress", AF_INET);
                ListedLink *link = &container->links[container->n_links];

                if (!ipv4)
                        continue;
                if (!container_network_bridge(name, strempty(json_member_text(network, "NetworkID")),
                                              link->bridge))
                        *link->bridge = '\0';
                (void) snprintf(link->ipv4, sizeof(link->ipv4), "%s", ipv4);
                container->n_links++;
        }
        return 0;
}

static int list_container(ListedContainer *ret, json_object *object, const char *name) {
        json_object *networks = json_member(json_member(object, "NetworkSettings"), "Networks");
        const char *state = strempty(json_member_text(object, "State"));
        int r;

        *ret = (ListedContainer){
                .name = strdup(name),
                .id = strdup(strempty(json_member_text(object, "Id"))),
                .running = streq(state, "running"),
                .paused = streq(state, "paused"),
                .networks = hash_networks(networks),
        };
        if (!ret->name || !ret->id)
                return -ENOMEM;
        r = list_links(ret, networks);
        return r < 0 ? r : list_ports(ret, json_member(object, "Ports"));
}

void listed_containers_free(ListedContainer *list, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(list[i].name);
                free(list[i].id);
                free(list[i].ports);
                free(list[i].links);
        }
        free(list);
}

static int compare_listed(const void *a, const void *b) {
        return strcmp(((const ListedContainer *) a)->name, ((const ListedContainer *) b)->name);
}

const ListedContainer *listed_container_find(const ListedContainer *list, size_t n, const char *name) {
        const ListedContainer wanted = { .name = (char *) name };

        return n > 0 ? bsearch(&wanted, list, n, sizeof(wanted), compare_listed) : NULL;
}

typedef struct ContainerList {
        ListedContainer *containers;
        size_t n;
} ContainerList;

static void container_list_done(ContainerList *list) {
        listed_containers_free(list->containers, list->n);
}

static int container_list_add(json_object *container, void *userdata) {
        const char *name = name_of_container(container);
        ContainerList *list = userdata;
        ListedContainer *larger;

        if (!name)
                return 0;
        larger = reallocarray(list->containers, list->n + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        list->containers = larger;
        return list_container(&larger[list->n++], container, name);
}

int listed_containers_parse(ListedContainer **ret, size_t *ret_n, const char *body, size_t size) {
        _cleanup_(container_list_done) ContainerList list = { .containers = new0(ListedContainer, 1) };
        int r;

        assert(ret);
        assert(ret_n);

        if (!list.containers)
                return -ENOMEM;
        r = engine_reply_each(body, size, container_list_add, &list);
        if (r < 0)
                return r;
        if (list.n > 0)
                qsort(list.containers, list.n, sizeof(*list.containers), compare_listed);
        *ret = TAKE_PTR(list.containers);
        *ret_n = list.n;
        list.n = 0;
        return 0;
}
