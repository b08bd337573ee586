#include <stdio.h>
#include <sys/stat.h>

#include "net/conntrack.h"
#include "net/remote.h"
#include "nft/inner.h"
#include "util/fd.h"

/* Inner: a look at the container's sockets, and for each connection at its other end. Whether somebody uses it needs no exact number: after
 * some that are there, the others are not asked for. */

#define LIVING_ENOUGH 64
#define ENGINE_PID "/run/docker.pid"
#define GROUPS_SIZE_MAX 4096

void inner_done(Inner *inner) {
        free(inner->ports);
        free(inner->links);
        strv_free(inner->groups);
        free(inner->proxy_group);
        *inner = (Inner){};
}

static bool groups_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (strv_length(b) != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return false;
        return true;
}

static bool prefixes_equal(const AddressPrefix *a, size_t n, const AddressPrefix *b, size_t n_b) {
        if (n != n_b)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!address_prefix_equal(&a[i], &b[i]))
                        return false;
        return true;
}

static bool links_equal(const Inner *a, const Inner *b) {
        for (size_t i = 0; i < MIN(a->n_links, b->n_links); i++)
                if (!streq(a->links[i].bridge, b->links[i].bridge) || !streq(a->links[i].ipv4, b->links[i].ipv4) ||
                    !streq(a->links[i].virtual_address, b->links[i].virtual_address))
                        return false;
        return a->n_links == b->n_links;
}

static bool ports_equal(const InnerPort *a, size_t n, const InnerPort *b, size_t n_b) {
        if (n != n_b)
                return false;
        for (size_t i = 0; i < n; i++)
                if (a[i].port != b[i].port || a[i].published != b[i].published || a[i].waits != b[i].waits ||
                    a[i].udp != b[i].udp || a[i].on_host != b[i].on_host ||
                    !prefixes_equal(a[i].addresses, a[i].n_addresses, b[i].addresses, b[i].n_addresses))
                        return false;
        return true;
}

bool inner_equal(const Inner *a, const Inner *b) {
        return ports_equal(a->ports, a->n_ports, b->ports, b->n_ports) && groups_equal(a->groups, b->groups) &&
               streq(strempty(a->proxy_group), strempty(b->proxy_group)) && links_equal(a, b) &&
               prefixes_equal(a->own, a->n_own, b->own, b->n_own);
}

/* Of the process, 0: ourselves. NULL: it has none that can be told from all others, as where there is no cgroup2. A line of version 2
 * is "0::/system.slice/docker-ID.scope". */
static char *group_of(pid_t pid) {
        _cleanup_free_ char *text = NULL, *group = NULL;
        const char *line;
        char path[64];

        if (pid == 0)
                (void) snprintf(path, sizeof(path), "/proc/self/cgroup");
        else
                (void) snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
        if (file_read(path, GROUPS_SIZE_MAX, &text, NULL) < 0)
                return NULL;
        line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
        if (!line)
                return NULL;
        line = strchr(line, '/') + 1;
        group = strndup(line, strcspn(line, "\n"));
        /* It goes between the quotes of a rule. */
        if (isempty(group) || strncmp(group, "..", 2) == 0 || strpbrk(group, "\"\\"))
                return NULL;
        return TAKE_PTR(group);
}

static void add_group(char ***groups, pid_t pid) {
        _cleanup_free_ char *group = group_of(pid);

        if (group)
                (void) strv_append(groups, group);
}

/* What is none, or too much, is left out. */
static void add_addresses(AddressPrefix *list, size_t *n, size_t max, const ContainerInfo *info) {
        for (size_t i = 0; i < info->n_networks; i++) {
                const char *const addresses[] = { info->networks[i].ipv4, info->networks[i].ipv6 };

                for (size_t j = 0; j < ELEMENTSOF(addresses); j++)
                        if (addresses[j] && *n < max && address_prefix_parse(&list[*n], addresses[j]) >= 0)
                                (*n)++;
        }
}

int inner_add_named(Inner *inner, const ContainerInfo *info, const char *virtual_address) {
        InnerLink *larger = reallocarray(inner->links, inner->n_links + info->n_networks + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        inner->links = larger;
        for (size_t i = 0; i < info->n_networks; i++) {
                const ContainerNetwork *network = &info->networks[i];
                InnerLink *link = &larger[inner->n_links];

                if (network->ipv4 && container_network_bridge(network->name, network->id, link->bridge)) {
                        (void) snprintf(link->ipv4, sizeof(link->ipv4), "%s", network->ipv4);
                        (void) snprintf(link->virtual_address, sizeof(link->virtual_address), "%s",
                                        virtual_address);
                        inner->n_links++;
                }
        }
        return 0;
}

static bool is_on_host(const ContainerInfo *info) {
        return info->network_mode && streq(info->network_mode, "host");
}

void inner_init_own(Inner *ret, const Service *service, const ContainerInfo *const *infos) {
        *ret = (Inner){};
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (infos[i])
                        add_addresses(ret->own, &ret->n_own, INNER_OWN_MAX, infos[i]);
}

void inner_init(Inner *ret, const Service *service, const ContainerInfo *const *infos) {
        _cleanup_free_ char *engine = NULL;
        Inner inner;

        inner_init_own(&inner, service, infos);
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (infos[i] && is_on_host(infos[i]) && infos[i]->pid > 0)
                        add_group(&inner.groups, infos[i]->pid);
        add_group(&inner.groups, 0);
        if (file_read(ENGINE_PID, 64, &engine, NULL) >= 0) {
                long pid = strtol(engine, NULL, 10);

                inner.proxy_group = pid > 0 && pid <= INT32_MAX ? group_of((pid_t) pid) : NULL;
        }
        *ret = inner;
}

int inner_add(Inner *inner, const ContainerInfo *info, uint16_t port, bool udp, uint16_t published, bool waits) {
        InnerPort *larger, *added;

        for (size_t i = 0; i < inner->n_ports && published == 0; i++)
                if (info && inner->ports[i].pid == info->pid && inner->ports[i].port == port &&
                    inner->ports[i].udp == udp)
                        return 0;
        larger = reallocarray(inner->ports, inner->n_ports + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        inner->ports = larger;
        added = &larger[inner->n_ports++];
        *added = (InnerPort){ .port = port, .udp = udp, .published = published, .waits = waits };
        if (info) {
                added->pid = info->pid;
                added->on_host = is_on_host(info);
                add_addresses(added->addresses, &added->n_addresses, INNER_ADDRESSES_MAX, info);
        }
        return 0;
}

typedef struct Looking {
        bool on_host;
        char *const *groups; /* on_host: of whom a connection is none of a client's */
        uint64_t silence_usec;
        size_t n_living;
} Looking;

static bool is_of_group(char *const *groups, uint64_t id) {
        for (; groups && *groups; groups++) {
                struct stat status;
                char path[1024];

                (void) snprintf(path, sizeof(path), GROUP_FOLDER "/%s", *groups);
                if (stat(path, &status) >= 0 && status.st_ino == id)
                        return true;
        }
        return false;
}

static bool looking_counts(const Connection *connection, void *userdata) {
        Looking *looking = userdata;
        uint64_t id;

        if (looking->n_living >= LIVING_ENOUGH)
                return true;
        if (looking->on_host && remote_group(connection, &id) >= 0) {
                if (is_of_group(looking->groups, id))
                        return false;
        } else if (remote_is_gone(connection, looking->silence_usec))
                return false;
        looking->n_living++;
        return true;
}

/* A connection from one of the stack's own containers to the published port is taken by docker-proxy, which makes another one to the
 * container from the bridge's address: in the container it looks like anybody's. The host's table has the other end. */
static int port_is_used(const Inner *inner, const InnerPort *port, const AddressPrefix *none, size_t n,
                        uint64_t silence_usec) {
        Looking looking = { .groups = inner->groups, .on_host = port->on_host, .silence_usec = silence_usec };
        SocketTable inside, outside = {};
        SocketFilter filter;
        int r;

        if (port->pid <= 0 || port->udp)
                return false;
        filter = (SocketFilter){
                .port = port->port,
                .ignored = none,
                .n_ignored = n,
                .loopback = port->on_host,
                .counts = looking_counts,
                .userdata = &looking,
        };
        r = socket_table_read(&inside, port->pid, &filter);
        if (r < 0)
                return r;
        if (inside.n_established == 0 || port->published == 0 || port->on_host || n == 0)
                return inside.n_established > 0;
        filter = (SocketFilter){ .port = port->published, .ignored = none, .n_ignored = n };
        (void) socket_table_read(&outside, 0, &filter);
        return inside.n_established > outside.n_ignored;
}

/* Who is no client. NULL: out of memory. */
static AddressPrefix *list_others(const Inner *inner, char *const *ignored, size_t *ret_n) {
        AddressPrefix *none = new0(AddressPrefix, inner->n_own + strv_length(ignored) + 1);
        size_t n = 0;

        if (!none)
                return NULL;
        for (; n < inner->n_own; n++)
                none[n] = inner->own[n];
        for (; ignored && *ignored; ignored++)
                if (address_prefix_parse(&none[n], *ignored) >= 0)
                        n++;
        *ret_n = n;
        return none;
}

int inner_is_used(const Inner *inner, char *const *ignored, uint64_t silence_usec) {
        _cleanup_free_ AddressPrefix *none = NULL;
        int r = false;
        size_t n;

        none = list_others(inner, ignored, &n);
        if (!none)
                return -ENOMEM;
        for (size_t i = 0; i < inner->n_ports && r == 0; i++)
                r = port_is_used(inner, &inner->ports[i], none, n, silence_usec);
        return r;
}

bool inner_is_on_its_way(uint16_t published, uint64_t silence_usec) {
        Looking looking = { .silence_usec = silence_usec };
        SocketFilter filter = {
                .port = published, .loopback = true, .counts = looking_counts, .userdata = &looking
        };
        SocketTable outside;

        return published > 0 && socket_table_read(&outside, 0, &filter) >= 0 && outside.n_established > 0;
}

typedef struct LookingForFlows {
        const Inner *inner;
        const AddressPrefix *none;
        size_t n;
        uint64_t within_usec;
        bool found;
} LookingForFlows;

/* Whoever has come by the engine's proxy is followed from there on. */
static bool is_flow_of(const ConntrackFlow *flow, const InnerPort *port) {
        if (!port->udp || port->pid <= 0)
                return false;
        if (port->on_host)
                return flow->to_port == port->port && flow->server_port == port->port &&
                       remote_is_here(flow->family, flow->to);
        for (size_t i = 0; i < port->n_addresses && flow->server_port == port->port; i++)
                if (address_prefix_matches(&port->addresses[i], flow->family, flow->server))
                        return true;
        return false;
}

static int looking_on_flow(const ConntrackFlow *flow, void *userdata) {
        LookingForFlows *looking = userdata;

        if (looking->found || flow->silent_usec > looking->within_usec + USEC_PER_SEC)
                return 0;
        for (size_t i = 0; i < looking->n; i++)
                if (address_prefix_matches(&looking->none[i], flow->family, flow->from))
                        return 0;
        for (size_t i = 0; i < looking->inner->n_ports; i++)
                looking->found |= is_flow_of(flow, &looking->inner->ports[i]);
        return 0;
}

int inner_has_datagrams(const Inner *inner, char *const *ignored, uint64_t within_usec) {
        LookingForFlows looking = { .inner = inner, .within_usec = within_usec };
        _cleanup_free_ AddressPrefix *none = NULL;
        bool udp = false;
        int r;

        for (size_t i = 0; i < inner->n_ports; i++)
                udp |= inner->ports[i].udp;
        if (!udp)
                return false;
        looking.none = none = list_others(inner, ignored, &looking.n);
        if (!none)
                return -ENOMEM;
        r = conntrack_list(looking_on_flow, &looking);
        return r < 0 ? r : looking.found;
}
