#include <arpa/inet.h>
#include <grp.h>
#include <limits.h>

#include "nft/redirect-table.h"
#include "util/json-members.h"
#include "util/log.h"

/* Redirect table: how it works.
 *
 * A first packet is looked up by address and port in maps, one for each form a binding takes: a certain
 * address, the wildcard of a family, and, last, loopback for what is not known. An element of a map says "goto
 * service-NAME", and that chain is what is changed:
 *
 *   up:      redirect to the redirect port
 *   lifted:  counter, and the packet goes on as if we were not there, to the container
 *
 * So elements stay while a service sleeps and wakes, a change is the exchange of one rule, and whose element is
 * whose can be read from the table itself: nothing has to be remembered for taking it away. Chains of type nat
 * see the first packet of a connection only, which is what makes the counter one of connections, and leaves
 * those under way alone. Ours are before those of the engine (-100).
 *
 * A container may be reached past its published port, by its own address: from another container, or from the host. A waker that
 * lifts adds that address to two more maps, from which the same chain is reached, so that these connections are counted as well;
 * it takes them away before the chain redirects again. Frames between two containers of one bridge need not come by here: a table of the
 * family `bridge`, which has nothing but this, sees them. It is there while a waker needs it, and where the kernel has no such family,
 * a look at the container's connections has to do.
 *
 * A packet of the group `wakechain` is not looked up at all: a health command that asks the published port, and
 * a front whose backend is it, would wait for themselves.
 *
 * Direct use of a redirect port is dropped on input: what was redirected carries the status `dnat`. The rule
 * looks at the original direction only, lest an outgoing connection that happens to have such a local port lose
 * its answers.
 *
 * What is variable in a command comes from three places only: names, which service_name_is_valid() has seen, numbers, and addresses as
 * inet_ntop() wrote them. */

/* A frame from container to container on one bridge comes to the other table only where bridge-nf-call-iptables is 1. */
#define IS_NEW "tcp flags & (syn | ack) == syn "
#define PORT "inet_service"
#define SOCKET4 "ipv4_addr . inet_service"
#define SOCKET6 "ipv6_addr . inet_service"
#define TO4 "ip daddr . tcp dport"
#define TO6 "ip6 daddr . tcp dport"

const struct RedirectMapKind redirect_maps[_REDIRECT_MAP_MAX] = {
        [REDIRECT_ADDRESS4] = { "address4", false, false, SOCKET4, TO4 },
        [REDIRECT_ADDRESS6] = { "address6", false, false, SOCKET6, TO6 },
        [REDIRECT_WILDCARD4] = { "wildcard4", false, false, PORT,
                                 "meta nfproto ipv4 fib daddr type local tcp dport" },
        [REDIRECT_WILDCARD6] = { "wildcard6", false, false, PORT,
                                 "meta nfproto ipv6 fib daddr type local tcp dport" },
        [REDIRECT_LOOPBACK4] = { "loopback4", false, false, PORT, "ip daddr 127.0.0.0/8 tcp dport" },
        [REDIRECT_LOOPBACK6] = { "loopback6", false, false, PORT, "ip6 daddr ::1 tcp dport" },
        [REDIRECT_INNER4] = { "inner4", true, false, SOCKET4, TO4 },
        [REDIRECT_INNER6] = { "inner6", true, false, SOCKET6, TO6 },
        [REDIRECT_TARGETS] = { "targets", false, false, PORT, NULL },
        [REDIRECT_BRIDGE4] = { "inner4", true, true, SOCKET4, IS_NEW TO4 },
        [REDIRECT_BRIDGE6] = { "inner6", true, true, SOCKET6, IS_NEW TO6 },
};

/* %s: what is not looked up. */
static const char base_chains[] =
                "table inet wakechain {\n"
                "        chain prerouting {\n"
                "                type nat hook prerouting priority -110;\n"
                "                meta l4proto tcp jump " REDIRECT_DIVERT "\n"
                "        }\n"
                "        chain output {\n"
                "                type nat hook output priority -110;\n"
                "                %s\n"
                "                meta l4proto tcp jump " REDIRECT_DIVERT "\n"
                "        }\n"
                "        chain input {\n"
                "                type filter hook input priority -10;\n"
                "                tcp dport @targets ct direction original ct status & dnat != dnat drop\n"
                "        }\n"
                "}\n";
/* What has to be there: chains with at least so many rules. */
static const struct {
        const char *chain;
        unsigned n_rules;
} expected_chains[] = {
        { REDIRECT_DIVERT, REDIRECT_TARGETS }, { "prerouting", 1 }, { "output", 1 }, { "input", 1 }
};
#define EXPECTED_MAPS ((1U << REDIRECT_BRIDGE4) - 1)

int redirect_element_compare(const void *a, const void *b) {
        const RedirectElement *element_a = a, *element_b = b;

        return element_a->map != element_b->map ? (int) element_a->map - (int) element_b->map
                                                : strcmp(element_a->key, element_b->key);
}

RedirectElement redirect_element(RedirectMap map, const char *address, uint16_t port, const char *service) {
        RedirectElement element = { .map = map };

        (void) snprintf(element.key, sizeof(element.key), "%s%s%u", strempty(address), address ? " . " : "", port);
        (void) snprintf(element.service, sizeof(element.service), "%s", service);
        return element;
}

int redirect_elements_new(RedirectElement **ret, size_t *ret_n, const char *service, uint16_t port,
                          const RedirectBindings *bindings) {
        const struct {
                RedirectMap map;
                bool wanted;
        } whole[] = { { REDIRECT_LOOPBACK4, !bindings->known },
                      { REDIRECT_LOOPBACK6, !bindings->known },
                      { REDIRECT_WILDCARD4, bindings->any_ipv4 },
                      { REDIRECT_WILDCARD6, bindings->any_ipv6 } };
        _cleanup_free_ RedirectElement *elements =
                        new0(RedirectElement, ELEMENTSOF(whole) + strv_length(bindings->addresses));
        size_t n = 0;

        if (!elements)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTSOF(whole); i++)
                if (whole[i].wanted)
                        elements[n++] = redirect_element(whole[i].map, NULL, port, service);
        for (char **address = bindings->addresses; address && *address; address++) {
                bool ipv6 = strchr(*address, ':');
                struct in6_addr binary;

                if (inet_pton(ipv6 ? AF_INET6 : AF_INET, *address, &binary) <= 0)
                        return -EINVAL;
                elements[n++] = redirect_element(ipv6 ? REDIRECT_ADDRESS6 : REDIRECT_ADDRESS4, *address, port,
                                                 service);
        }

        *ret = TAKE_PTR(elements);
        *ret_n = n;
        return 0;
}

/* Reading: nft's JSON is a list of objects with one member each, {"chain": …}, {"rule": …}, {"map": …}. What is not known is passed over:
 * the table may have been edited by hand, and newer versions of nft say more. */

typedef struct Reader {
        RedirectSnapshot *snapshot;
        unsigned n_rules[ELEMENTSOF(expected_chains)];
        unsigned maps; /* a bit for each that was seen */
        bool foreign; /* there is something that is none of ours: only a new table is rid of it */
} Reader;

static const char *get_string(json_object *object, const char *name) {
        return strempty(json_member_text(object, name));
}

static size_t length_of(json_object *list) {
        return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* "" if it is none of a service. */
static const char *service_of(const char *chain) {
        return strncmp(chain, REDIRECT_CHAIN, strlen(REDIRECT_CHAIN)) == 0 ? chain + strlen(REDIRECT_CHAIN) : "";
}

/* A chain or counter, or a rule of a chain. One entry for each time that the service is spoken of: they are made one at the end. */
static int read_service(Reader *reader, const char *kind, json_object *object) {
        const bool bridge = streq(get_string(object, "family"), "bridge"), rule = streq(kind, "rule"),
                   chain = streq(kind, "chain"), counter = streq(kind, "counter");
        const char *owner = get_string(object, rule ? "chain" : "name"), *name = service_of(owner);
        json_object *expressions = json_member(object, "expr");
        RedirectSnapshot *snapshot = reader->snapshot;
        SnapshotService *larger, *service;

        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                reader->n_rules[i] += rule && !bridge && streq(owner, expected_chains[i].chain);
        if (isempty(name))
                return 0;
        if (strlen(name) >= sizeof(service->name)) {
                reader->foreign |= !bridge;
                return 0;
        }

        larger = reallocarray(snapshot->services, snapshot->n_services + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        snapshot->services = larger;
        service = &larger[snapshot->n_services++];
        *service = (SnapshotService){
                .chain = chain && !bridge,
                .counter = counter && !bridge,
                .bridge_chain = chain && bridge,
                .bridge_counter = counter && bridge,
                .new_connections = counter ? json_object_get_uint64(json_member(object, "packets")) : 0,
        };
        strcpy(service->name, name);
        for (size_t i = 0; i < length_of(expressions) && !bridge; i++) {
                json_object *expression = json_object_array_get_idx(expressions, i),
                            *redirect = json_member(expression, "redirect");

                if (redirect)
                        service->redirect_port = (uint16_t) json_object_get_int(json_member(redirect, "port"));
                if (json_member(expression, "counter")) {
                        service->counts = true;
                        service->lifted_by_waker = json_member(object, "comment");
                }
        }
        return 0;
}

/* An element of a map is [KEY, {"goto": {"target": CHAIN}}], of the set {"elem": {"val": KEY, "comment": SERVICE}}; a key 9002, or
 * {"concat": ["192.168.1.5", 9002]}. */
static int read_map(Reader *reader, const char *kind, json_object *object) {
        const bool bridge = streq(get_string(object, "family"), "bridge");
        json_object *elements = json_member(object, "elem");
        RedirectSnapshot *snapshot = reader->snapshot;
        RedirectMap map = 0;

        while (map < _REDIRECT_MAP_MAX && (redirect_maps[map].bridge != bridge ||
                                           !streq(redirect_maps[map].name, get_string(object, "name"))))
                map++;
        if (map == _REDIRECT_MAP_MAX)
                return 0;
        reader->maps |= 1U << map;
        for (size_t i = 0; i < length_of(elements); i++) {
                json_object *key = json_object_array_get_idx(elements, i), *wrapped, *parts;
                const char *service = NULL;
                RedirectElement *larger, *element;
                int n;

                if (streq(kind, "map")) {
                        if (length_of(key) != 2)
                                continue;
                        service = service_of(get_string(json_member(json_object_array_get_idx(key, 1), "goto"),
                                                        "target"));
                        key = json_object_array_get_idx(key, 0);
                }
                wrapped = json_member(key, "elem");
                if (wrapped)
                        key = json_member(wrapped, "val");
                parts = json_member(key, "concat");

                larger = reallocarray(snapshot->elements, snapshot->n_elements + 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                snapshot->elements = larger;
                element = &larger[snapshot->n_elements++];
                *element = (RedirectElement){ .map = map };
                if (length_of(parts) == 2)
                        n = snprintf(element->key, sizeof(element->key), "%s . %s",
                                     strempty(json_object_get_string(json_object_array_get_idx(parts, 0))),
                                     strempty(json_object_get_string(json_object_array_get_idx(parts, 1))));
                else
                        n = snprintf(element->key, sizeof(element->key), "%s",
                                     strempty(json_object_get_string(key)));
                reader->foreign |= n >= (int) sizeof(element->key) && !bridge;
                (void) snprintf(element->service, sizeof(element->service), "%s",
                                service ?: get_string(wrapped, "comment"));
        }
        return 0;
}

static int read_document(Reader *reader, json_object *document) {
        json_object *list = json_member_of(document, "nftables", json_type_array);
        int r = list ? 0 : -EBADMSG;

        for (size_t i = 0; i < length_of(list); i++) {
                json_object *entry = json_object_array_get_idx(list, i);

                if (!json_object_is_type(entry, json_type_object))
                        continue;
                json_object_object_foreach(entry, kind, object) {
                        if (r >= 0)
                                r = streq(kind, "map") || streq(kind, "set") ? read_map(reader, kind, object)
                                                                             : read_service(reader, kind, object);
                }
        }
        return r;
}

static int compare_services(const void *a, const void *b) {
        return strcmp(((const SnapshotService *) a)->name, ((const SnapshotService *) b)->name);
}

static void merge_services(RedirectSnapshot *snapshot) {
        size_t n = 0;

        qsort(snapshot->services, snapshot->n_services, sizeof(*snapshot->services), compare_services);
        for (size_t i = 0; i < snapshot->n_services; i++) {
                const SnapshotService *service = &snapshot->services[i];
                SnapshotService *last = &snapshot->services[n - (n > 0)];

                if (n == 0 || !streq(last->name, service->name)) {
                        snapshot->services[n++] = *service;
                        continue;
                }
                last->chain |= service->chain;
                last->counter |= service->counter;
                last->counts |= service->counts;
                last->lifted_by_waker |= service->lifted_by_waker;
                last->bridge_chain |= service->bridge_chain;
                last->bridge_counter |= service->bridge_counter;
                last->redirect_port = MAX(last->redirect_port, service->redirect_port);
                last->new_connections += service->new_connections;
        }
        snapshot->n_services = n;
}

int redirect_snapshot_parse(RedirectSnapshot **ret, const char *text) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = new0(RedirectSnapshot, 1);
        json_tokener *tokener = json_tokener_new();
        Reader reader = { .snapshot = snapshot };
        int r = snapshot && tokener ? 0 : -ENOMEM;

        /* One document for each command. */
        while (r >= 0 && *text != '\0') {
                json_object *document =
                                json_tokener_parse_ex(tokener, text, (int) MIN(strlen(text), (size_t) INT_MAX));

                r = read_document(&reader, document);
                json_object_put(document);
                text += json_tokener_get_parse_end(tokener);
                text += strspn(text, "\n ");
        }
        if (tokener)
                json_tokener_free(tokener);
        if (r < 0)
                return r;

        if (snapshot->n_services > 0)
                merge_services(snapshot);
        if (snapshot->n_elements > 0)
                qsort(snapshot->elements, snapshot->n_elements, sizeof(*snapshot->elements),
                      redirect_element_compare);
        snapshot->complete = !reader.foreign && (reader.maps & EXPECTED_MAPS) == EXPECTED_MAPS;
        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                snapshot->complete &= reader.n_rules[i] >= expected_chains[i].n_rules;
        *ret = TAKE_PTR(snapshot);
        return 0;
}

RedirectSnapshot *redirect_snapshot_free(RedirectSnapshot *snapshot) {
        if (!snapshot)
                return NULL;

        free(snapshot->elements);
        free(snapshot->services);
        return mfree(snapshot);
}

const RedirectElement *redirect_snapshot_element(const RedirectSnapshot *snapshot, const RedirectElement *wanted) {
        if (snapshot->n_elements == 0)
                return NULL;
        return bsearch(wanted, snapshot->elements, snapshot->n_elements, sizeof(*wanted),
                       redirect_element_compare);
}

const SnapshotService *redirect_snapshot_service(const RedirectSnapshot *snapshot, const char *name) {
        SnapshotService wanted = {};

        if (snapshot->n_services == 0 || strlen(name) >= sizeof(wanted.name))
                return NULL;
        strcpy(wanted.name, name);
        return bsearch(&wanted, snapshot->services, snapshot->n_services, sizeof(wanted), compare_services);
}

uint16_t redirect_snapshot_target(const RedirectSnapshot *snapshot, const char *name) {
        for (size_t i = 0; i < snapshot->n_elements; i++)
                if (snapshot->elements[i].map == REDIRECT_TARGETS && streq(snapshot->elements[i].service, name))
                        return (uint16_t) strtoul(snapshot->elements[i].key, NULL, 10);
        return 0;
}

/* Writing */

void redirect_write_removal(FILE *stream, bool bridge) {
        fprintf(stream, "add table %s\ndelete table %s\n", REDIRECT_TABLE(bridge), REDIRECT_TABLE(bridge));
}

void redirect_write_structure(FILE *stream, bool bridge) {
        const struct group *group = getgrnam("wakechain");
        const char *table = REDIRECT_TABLE(bridge), *chain = bridge ? "forward" : REDIRECT_DIVERT;
        char own[64] = "";

        if (!bridge)
                redirect_write_removal(stream, bridge);
        fprintf(stream, "add table %s\nadd chain %s %s %s\nflush chain %s %s\n", table, table, chain,
                bridge ? "{ type filter hook forward priority -10; }" : "", table, chain);
        for (const struct RedirectMapKind *map = redirect_maps; map < redirect_maps + _REDIRECT_MAP_MAX; map++) {
                if (map->bridge != bridge)
                        continue;
                fprintf(stream, "add %s %s %s { type %s%s; }\n", map->looked_up ? "map" : "set", table, map->name,
                        map->type, map->looked_up ? " : verdict" : "");
                if (map->looked_up)
                        fprintf(stream, "add rule %s %s %s vmap @%s\n", table, chain, map->looked_up, map->name);
        }
        if (bridge)
                return;
        if (group)
                (void) snprintf(own, sizeof(own), "meta skgid %u return", group->gr_gid);
        else
                log_debug("There is no group wakechain, so that its connections are redirected as anyone's.");
        fprintf(stream, base_chains, own);
}

void redirect_write_element(FILE *stream, const RedirectElement *element, bool comes) {
        fprintf(stream, "%s element %s %s { %s", comes ? "add" : "delete",
                REDIRECT_TABLE(redirect_maps[element->map].bridge), redirect_maps[element->map].name,
                element->key);
        if (comes)
                fprintf(stream,
                        element->map == REDIRECT_TARGETS ? " comment \"%s\"" : " : goto " REDIRECT_CHAIN "%s",
                        element->service);
        fputs(" }\n", stream);
}

/* The counter is made anew to begin at 0; nothing refers to it between the flush and a new rule. */
void redirect_write_chain(FILE *stream, bool bridge, const char *service) {
        static const char *const steps[] = { "add chain", "add counter", "flush chain", "delete counter",
                                             "add counter" };

        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                fprintf(stream, "%s %s " REDIRECT_CHAIN "%s\n", steps[i], REDIRECT_TABLE(bridge), service);
}

void redirect_write_up(FILE *stream, const char *service, uint16_t redirect_port) {
        fprintf(stream, "add rule inet wakechain " REDIRECT_CHAIN "%s meta l4proto tcp redirect to :%u\n", service,
                redirect_port);
}

/* Connections of whoever is not counted go on like anybody's, behind the chain that this one was reached from. */
static void write_uncounted(FILE *stream, bool bridge, const char *service, const AddressPrefix *prefix) {
        const char *family = prefix->family == AF_INET ? "ip" : "ip6";
        char text[ADDRESS_PREFIX_TEXT_MAX];

        fprintf(stream, "add rule %s " REDIRECT_CHAIN "%s ", REDIRECT_TABLE(bridge), service);
        if (prefix->length == 0)
                fprintf(stream, "meta protocol %s return\n", family);
        else
                fprintf(stream, "%s saddr %s return\n", family, address_prefix_to_string(prefix, text));
}

/* Only where a packet leaves a program of this host, which is where it has an outgoing interface already: of those that come in, it is
 * the listening socket whose group would be looked at. A `group` of NULL: of any program. */
static void write_uncounted_group(FILE *stream, const char *service, const char *group, const char *condition) {
        unsigned level = 1;

        fprintf(stream, "add rule inet wakechain " REDIRECT_CHAIN "%s meta oif != 0%s", service, condition);
        for (const char *p = group; p && (p = strchr(p, '/')); p++)
                level++;
        if (group)
                fprintf(stream, " socket cgroupv2 level %u \"%s\"", level, group);
        fputs(" return\n", stream);
}

void redirect_write_lifted(FILE *stream, bool bridge, const char *service, char *const *ignored,
                           const Inner *inner, bool with_groups, bool by_waker) {
        for (; ignored && *ignored; ignored++) {
                AddressPrefix prefix;

                if (address_prefix_parse(&prefix, *ignored) >= 0)
                        write_uncounted(stream, bridge, service, &prefix);
        }
        for (size_t i = 0; inner && i < inner->n_own; i++)
                write_uncounted(stream, bridge, service, &inner->own[i]);
        if (inner && !bridge) {
                for (char **group = inner->groups; with_groups && group && *group; group++)
                        write_uncounted_group(stream, service, *group, "");
                /* What the engine's proxy passes on to a container's own address was counted before it. */
                write_uncounted_group(stream, service, with_groups ? inner->proxy_group : NULL,
                                      " fib daddr type != local");
        }
        fprintf(stream, "add rule %s " REDIRECT_CHAIN "%s counter name \"" REDIRECT_CHAIN "%s\"%s\n",
                REDIRECT_TABLE(bridge), service, service, by_waker ? " comment \"waker\"" : "");
}

void redirect_write_service_removal(FILE *stream, bool bridge, const SnapshotService *service) {
        const char *table = REDIRECT_TABLE(bridge);

        if (bridge ? service->bridge_chain : service->chain)
                fprintf(stream, "flush chain %s " REDIRECT_CHAIN "%s\ndelete chain %s " REDIRECT_CHAIN "%s\n",
                        table, service->name, table, service->name);
        if (bridge ? service->bridge_counter : service->counter)
                fprintf(stream, "delete counter %s " REDIRECT_CHAIN "%s\n", table, service->name);
}
