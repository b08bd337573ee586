#include <arpa/inet.h>
#include <grp.h>
#include <inttypes.h>
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
 * All ports of a service lead to its one chain. While it is lifted, a rule before the counter still redirects those whose containers do not accept
 * yet: only where the packet is for the host itself, since a container may have the same number for its own side of another port.
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
 * Names: a question for a name of a service (UDP, port 53, the bytes of its question) is looked up by the bridge that it comes in by, and leads
 * to the same chain, which sends it on to wakechain-names while it is up. There is one map for each length of a name, since one packet
 * has no more bytes than its own name, and a comparison with bytes that are not there fails; the first byte, which is the length, tells which.
 * Bit 0x20 of each letter is ignored, so that capital ones are as good as others. Questions of the engine itself, to a nameserver
 * on loopback, go out by `lo`. A container that is on other networks, too, asks by that which its default route leads to: as a guest there it is
 * told by its address. What these questions are answered with, a virtual address, leads to the chain as well, from those
 * bridges: up, to the redirect port, as anything; lifted, to the container where it is on the bridge that the packet has come by, and to the
 * front otherwise, since the engine separates its networks.
 *
 * UDP: a datagram does not tell the front which port it was redirected from, so each port has a redirect port, and a chain, of its own:
 * elements of maps like those of TCP say "goto udp-REDIRECTPORT-NAME". Up, that chain gives the packet the redirect port, and leaves
 * its address, by which the front answers; lifted, it is empty. What has begun as a flow goes on as it did: conntrack keeps what was decided for
 * its first packet, as long as something moves. But the engine may make it forget all flows to a port that a container begins to publish, and what the
 * front then answers would be from the redirect port: such an answer is the first packet of a flow, and gets its source port by a map.
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
#define TO4_UDP "ip daddr . udp dport"
#define TO6_UDP "ip6 daddr . udp dport"
#define NAMES "names-4" /* a chain */
#define DATAGRAMS "datagrams" /* the same */
#define UDP_CHAIN "udp-" /* of a redirect port of UDP, which follows, and its service behind "-" */
#define NAMES_OF "name" /* a chain and a map for each length, which follows */
#define GUESTS_OF "guest" /* a map for each length */
#define NOT_A_CLIENT "names" /* comment of the rules that are there for names */
#define SPARED "own" /* comment of the rules for the containers of a stack that wakes */
#define QUESTION 160U /* bits from the beginning of the UDP header to that of the first question */
#define PIECE 16U /* bytes that can be compared at once */

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
        [REDIRECT_VIRTUAL4] = { "virtual4", false, false, "ifname . ipv4_addr", "iifname . ip daddr" },
        [REDIRECT_GUEST4] = { "guests4", false, false, "ipv4_addr . ipv4_addr", "ip saddr . ip daddr" },
        [REDIRECT_TARGETS] = { "targets", false, false, PORT, NULL },
        [REDIRECT_VIRTUALS] = { "virtuals", false, false, "ipv4_addr", NULL },
        [REDIRECT_UDP_ADDRESS4] = { "udpaddress4", false, false, SOCKET4, TO4_UDP, DATAGRAMS },
        [REDIRECT_UDP_ADDRESS6] = { "udpaddress6", false, false, SOCKET6, TO6_UDP, DATAGRAMS },
        [REDIRECT_UDP_WILDCARD4] = { "udpwildcard4", false, false, PORT,
                                     "meta nfproto ipv4 fib daddr type local udp dport", DATAGRAMS },
        [REDIRECT_UDP_WILDCARD6] = { "udpwildcard6", false, false, PORT,
                                     "meta nfproto ipv6 fib daddr type local udp dport", DATAGRAMS },
        [REDIRECT_UDP_LOOPBACK4] = { "udploopback4", false, false, PORT, "ip daddr 127.0.0.0/8 udp dport",
                                     DATAGRAMS },
        [REDIRECT_UDP_LOOPBACK6] = { "udploopback6", false, false, PORT, "ip6 daddr ::1 udp dport", DATAGRAMS },
        [REDIRECT_UDP_TARGETS] = { "udptargets", false, false, PORT, NULL },
        [REDIRECT_UDP_SOURCES] = { "udpsources", false, false, PORT, NULL, .maps = true },
        [REDIRECT_BRIDGE4] = { "inner4", true, true, SOCKET4, IS_NEW TO4 },
        [REDIRECT_BRIDGE6] = { "inner6", true, true, SOCKET6, IS_NEW TO6 },
        [REDIRECT_NAMES] = { NULL, false, false, NULL, NULL },
};

/* %s: what is not looked up. */
static const char base_chains[] =
                "table inet wakechain {\n"
                "        chain prerouting {\n"
                "                type nat hook prerouting priority -110;\n"
                "                meta l4proto tcp jump " REDIRECT_DIVERT "\n"
                "                udp dport 53 jump " NAMES "\n"
                "                meta l4proto udp jump " DATAGRAMS "\n"
                "        }\n"
                "        chain output {\n"
                "                type nat hook output priority -110;\n"
                "                %s\n"
                "                meta l4proto tcp jump " REDIRECT_DIVERT "\n"
                "                meta skuid 0 udp dport 53 jump " NAMES "\n"
                "                meta l4proto udp jump " DATAGRAMS "\n"
                "        }\n"
                "        chain postrouting {\n"
                "                type nat hook postrouting priority 90;\n"
                "                ct original ip daddr @virtuals masquerade\n"
                "                meta l4proto udp snat to :udp sport map @udpsources\n"
                "        }\n"
                "        chain input {\n"
                "                type filter hook input priority -10;\n"
                "                tcp dport @targets ct direction original ct status & dnat != dnat drop\n"
                "                udp dport @udptargets ct direction original ct status & dnat != dnat drop\n"
                "                udp dport %u ct direction original ct status & dnat != dnat drop\n"
                "        }\n"
                "}\n";
/* What has to be there: chains with at least so many rules. */
static const struct {
        const char *chain;
        unsigned n_rules;
} expected_chains[] = { { REDIRECT_DIVERT, REDIRECT_TARGETS },
                        { DATAGRAMS, REDIRECT_UDP_TARGETS - REDIRECT_UDP_ADDRESS4 },
                        { "prerouting", 3 },
                        { "output", 3 },
                        { "postrouting", 2 },
                        { "input", 3 },
                        { NAMES, 1 } };
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

RedirectElement redirect_udp_element(RedirectMap map, uint16_t redirect_port, uint16_t port, const char *service) {
        RedirectElement element = redirect_element(map, NULL, redirect_port, service);

        element.to = map == REDIRECT_UDP_SOURCES ? port : 0;
        return element;
}

static uint64_t udp_sum(unsigned redirect_port) {
        uint64_t sum = redirect_port * UINT64_C(0x9e3779b97f4a7c15);

        return (sum ^ sum >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

uint64_t redirect_udp_sum(const RedirectElement *element) {
        return element->map == REDIRECT_UDP_TARGETS ? udp_sum((unsigned) strtoul(element->key, NULL, 10)) : 0;
}

/* A name as it is in a question, 0x20 of each letter left out: how long it is, its letters, 0. */
static size_t name_bytes(uint8_t ret[static REDIRECT_NAME_MAX + 2], const char *name) {
        size_t n = strlen(name);

        assert(n > 0 && n <= REDIRECT_NAME_MAX);
        ret[0] = (uint8_t) n;
        memcpy(ret + 1, name, n + 1);
        for (size_t i = 1; i <= n; i++)
                ret[i] &= (uint8_t) ~0x20U;
        return n + 2;
}

/* What is compared of so many bytes: from where on, in bytes, and how many. All of them, but for the middle of the longest ones, beside
 * which a bridge finds no room in a key. Returns how many pieces. */
static size_t name_pieces(size_t size, size_t offsets[static 3], size_t sizes[static 3]) {
        size_t n = 0;

        for (size_t from = 0; from < size && n < 3; from += PIECE, n++) {
                offsets[n] = n > 0 && size > 3 * PIECE ? size - (3 - n) * PIECE : from;
                sizes[n] = MIN(size - offsets[n], (size_t) PIECE);
        }
        return n;
}

/* `from` as it is in a key. */
static RedirectElement name_element(const char *from, const char *name, const char *service) {
        RedirectElement element = { .map = REDIRECT_NAMES, .name_length = (uint8_t) strlen(name) };
        uint8_t bytes[REDIRECT_NAME_MAX + 2];
        size_t offsets[3], sizes[3], n_pieces = name_pieces(name_bytes(bytes, name), offsets, sizes);
        int n = snprintf(element.key, sizeof(element.key), "%s", from);

        for (size_t i = 0; i < n_pieces; i++) {
                n += snprintf(element.key + n, sizeof(element.key) - (size_t) n, " . 0x");
                for (size_t k = 0; k < sizes[i]; k++)
                        n += snprintf(element.key + n, sizeof(element.key) - (size_t) n, "%02x",
                                      bytes[offsets[i] + k]);
        }
        (void) snprintf(element.service, sizeof(element.service), "%s", service);
        return element;
}

RedirectElement redirect_name_element(const char *bridge, const char *name, const char *service) {
        char from[IFNAMSIZ + 2];

        (void) snprintf(from, sizeof(from), "\"%.15s\"", bridge);
        return name_element(from, name, service);
}

RedirectElement redirect_guest_element(const char *address, const char *name, const char *service) {
        return name_element(address, name, service);
}

bool redirect_element_is_of_guest(const RedirectElement *element) {
        return element->map == REDIRECT_GUEST4 || (element->map == REDIRECT_NAMES && *element->key != '"');
}

/* From a bridge, or a guest, or whence ever it came. */
static RedirectElement virtual_element(RedirectMap map, const char *from, const char *address,
                                       const char *service) {
        RedirectElement element = { .map = map };

        if (from)
                (void) snprintf(element.key, sizeof(element.key),
                                map == REDIRECT_GUEST4 ? "%.15s . %s" : "\"%.15s\" . %s", from, address);
        else
                (void) snprintf(element.key, sizeof(element.key), "%s", address);
        (void) snprintf(element.service, sizeof(element.service), "%s", service);
        return element;
}

static void add_names(RedirectElement *elements, size_t *n, const Service *service,
                      const RedirectBindings *bindings) {
        for (size_t i = 0; i < bindings->n_networks; i++) {
                const BindingNetwork *network = &bindings->networks[i];
                const char *address = service_virtual_address(service, network->container);

                /* The file has that container no more. */
                if (isempty(address))
                        continue;
                elements[(*n)++] = virtual_element(REDIRECT_VIRTUAL4, network->bridge, address, service->name);
                /* Those of one container lie together. */
                if (i == 0 || !streq(service_virtual_address(service, network[-1].container), address))
                        elements[(*n)++] = virtual_element(REDIRECT_VIRTUALS, NULL, address, service->name);
                for (char **name = network->names; name && *name; name++) {
                        elements[(*n)++] = redirect_name_element(network->bridge, *name, service->name);
                        if (bindings->loopback)
                                elements[(*n)++] = redirect_name_element("lo", *name, service->name);
                }
                for (char **guest = network->guests; guest && *guest; guest++) {
                        elements[(*n)++] = virtual_element(REDIRECT_GUEST4, *guest, address, service->name);
                        for (char **name = network->names; name && *name; name++)
                                elements[(*n)++] = redirect_guest_element(*guest, *name, service->name);
                }
        }
}

static size_t count_names(const RedirectBindings *bindings) {
        size_t n = 0;

        for (size_t i = 0; i < bindings->n_networks; i++) {
                const BindingNetwork *network = &bindings->networks[i];

                n += 2 + 2 * strv_length(network->names) +
                     strv_length(network->guests) * (1 + strv_length(network->names));
        }
        return n;
}

int redirect_elements_new(RedirectElement **ret, size_t *ret_n, const Service *service, uint16_t port,
                          const RedirectBindings *bindings) {
        const struct {
                RedirectMap map;
                bool wanted;
        } whole[] = { { REDIRECT_LOOPBACK4, !bindings->known },
                      { REDIRECT_LOOPBACK6, !bindings->known },
                      { REDIRECT_WILDCARD4, bindings->any_ipv4 },
                      { REDIRECT_WILDCARD6, bindings->any_ipv6 } };
        _cleanup_free_ RedirectElement *elements =
                        new0(RedirectElement,
                             ELEMENTSOF(whole) + strv_length(bindings->addresses) + count_names(bindings));
        size_t n = 0;

        if (!elements)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTSOF(whole) && port > 0; i++)
                if (whole[i].wanted)
                        elements[n++] = redirect_element(whole[i].map, NULL, port, service->name);
        for (char **address = bindings->addresses; port > 0 && address && *address; address++) {
                bool ipv6 = strchr(*address, ':');
                struct in6_addr binary;

                if (inet_pton(ipv6 ? AF_INET6 : AF_INET, *address, &binary) <= 0)
                        return -EINVAL;
                elements[n++] = redirect_element(ipv6 ? REDIRECT_ADDRESS6 : REDIRECT_ADDRESS4, *address, port,
                                                 service->name);
        }
        if (*service->virtual_address)
                add_names(elements, &n, service, bindings);

        *ret = TAKE_PTR(elements);
        *ret_n = n;
        return 0;
}

int redirect_further_elements_new(RedirectElement **ret, size_t *ret_n, const Service *service,
                                  const FurtherPort *further) {
        _cleanup_free_ RedirectElement *elements = NULL;
        RedirectElement *larger;
        size_t n;
        int r;

        if (further->udp && further->redirect_port == 0) {
                *ret = NULL;
                *ret_n = 0;
                return 0;
        }
        r = redirect_elements_new(&elements, &n, service, further->port, &further->bindings);
        if (r < 0)
                return r;
        if (further->udp) {
                larger = reallocarray(elements, n + 2, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                elements = larger;
                for (size_t i = 0; i < n; i++) {
                        elements[i].map += REDIRECT_UDP_ADDRESS4 - REDIRECT_ADDRESS4;
                        elements[i].to = further->redirect_port;
                }
                for (RedirectMap map = REDIRECT_UDP_TARGETS; map <= REDIRECT_UDP_SOURCES; map++)
                        elements[n++] = redirect_udp_element(map, further->redirect_port, further->port,
                                                             service->name);
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
        uint64_t names; /* the same for each length of a name */
        uint8_t n_name_rules[REDIRECT_NAME_MAX + 1];
        bool foreign; /* there is something that is none of ours: only a new table is rid of it */
} Reader;

static const char *get_string(json_object *object, const char *name) {
        return strempty(json_member_text(object, name));
}

static size_t length_of(json_object *list) {
        return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* "" if it is none of a service. `ret_udp` is the redirect port of UDP that it is of, 0: of the service. */
static const char *service_of(const char *chain, uint16_t *ret_udp) {
        char *end;

        *ret_udp = 0;
        if (strncmp(chain, REDIRECT_CHAIN, strlen(REDIRECT_CHAIN)) == 0)
                return chain + strlen(REDIRECT_CHAIN);
        if (strncmp(chain, UDP_CHAIN, strlen(UDP_CHAIN)) != 0)
                return "";
        *ret_udp = (uint16_t) strtoul(chain + strlen(UDP_CHAIN), &end, 10);
        return *end == '-' ? end + 1 : "";
}

/* Of a chain or map of names of one length, which is called so. 0: it is none. */
static unsigned length_of_names(const char *name, const char *prefix) {
        unsigned long n =
                        strncmp(name, prefix, strlen(prefix)) == 0 ? strtoul(name + strlen(prefix), NULL, 10) : 0;

        return n <= REDIRECT_NAME_MAX ? (unsigned) n : 0;
}

/* A chain or counter, or a rule of a chain. One entry for each time that the service is spoken of: they are made one at the end. */
static int read_service(Reader *reader, const char *kind, json_object *object) {
        const bool bridge = streq(get_string(object, "family"), "bridge"), rule = streq(kind, "rule"),
                   chain = streq(kind, "chain"), counter = streq(kind, "counter");
        uint16_t udp;
        const char *owner = get_string(object, rule ? "chain" : "name"), *name = service_of(owner, &udp);
        json_object *expressions = json_member(object, "expr");
        RedirectSnapshot *snapshot = reader->snapshot;
        SnapshotService *larger, *service;

        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                reader->n_rules[i] += rule && !bridge && streq(owner, expected_chains[i].chain);
        if (rule && !bridge)
                reader->n_name_rules[length_of_names(owner, NAMES_OF)]++;
        if (isempty(name) || (rule && streq(get_string(object, "comment"), NOT_A_CLIENT)))
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
        if (udp > 0) {
                service->chain = service->counter = false;
                service->udp = chain && !bridge ? udp_sum(udp) : 0;
                service->udp_up = rule && !bridge ? udp_sum(udp) : 0;
                return 0;
        }
        service->spares = rule && !bridge && streq(get_string(object, "comment"), SPARED);
        for (size_t i = 0; i < length_of(expressions) && !bridge; i++) {
                json_object *expression = json_object_array_get_idx(expressions, i),
                            *redirect = json_member(expression, "redirect");

                if (redirect && json_member(object, "comment"))
                        service->waits = true;
                else if (redirect)
                        service->redirect_port = (uint16_t) json_object_get_int(json_member(redirect, "port"));
                if (json_member(expression, "counter")) {
                        service->counts = true;
                        service->lifted_by_waker = json_member(object, "comment");
                }
        }
        return 0;
}

/* One of a name, whose first piece is a bridge, or a guest: numbers, or as texts where they are larger than JSON's. As snprintf() returns. */
static int read_name_key(RedirectElement *element, unsigned length, bool guest, json_object *parts) {
        size_t offsets[3], sizes[3], n_pieces = name_pieces(length + 2, offsets, sizes);
        int n = snprintf(element->key, sizeof(element->key), guest ? "%.15s" : "\"%.15s\"",
                         strempty(json_object_get_string(json_object_array_get_idx(parts, 0))));

        element->name_length = (uint8_t) length;
        for (size_t i = 0; i < n_pieces; i++) {
                json_object *piece = json_object_array_get_idx(parts, i + 1);
                char text[40];
                const char *digits = text;

                if (json_object_is_type(piece, json_type_int))
                        (void) snprintf(text, sizeof(text), "%" PRIx64, json_object_get_uint64(piece));
                else
                        (void) snprintf(text, sizeof(text), "%.34s", strempty(json_object_get_string(piece)));
                if (strncmp(text, "0x", 2) == 0)
                        digits += 2;
                n += snprintf(element->key + n, sizeof(element->key) - (size_t) n, " . 0x%.*s%s",
                              (int) (2 * sizes[i] - MIN(strlen(digits), 2 * sizes[i])),
                              "00000000000000000000000000000000", digits);
        }
        return n;
}

/* An element of a map is [KEY, {"goto": {"target": CHAIN}}], of the set {"elem": {"val": KEY, "comment": SERVICE}}; a key 9002, or
 * {"concat": ["192.168.1.5", 9002]}. */
static int read_map(Reader *reader, const char *kind, json_object *object) {
        const bool bridge = streq(get_string(object, "family"), "bridge");
        json_object *elements = json_member(object, "elem");
        RedirectSnapshot *snapshot = reader->snapshot;
        const char *map_name = get_string(object, "name");
        const unsigned guests = bridge ? 0 : length_of_names(map_name, GUESTS_OF),
                       length = bridge ? 0 : MAX(guests, length_of_names(map_name, NAMES_OF));
        RedirectMap map = length > 0 ? REDIRECT_NAMES : 0;

        while (map < REDIRECT_NAMES &&
               (redirect_maps[map].bridge != bridge || !streq(redirect_maps[map].name, map_name)))
                map++;
        if (map == REDIRECT_NAMES && length == 0)
                return 0;
        reader->names |= UINT64_C(1) << length;
        reader->maps |= 1U << map;
        for (size_t i = 0; i < length_of(elements); i++) {
                json_object *key = json_object_array_get_idx(elements, i), *wrapped, *parts;
                const char *service = NULL;
                RedirectElement *larger, *element;
                uint16_t to = 0;
                int n;

                if (streq(kind, "map")) {
                        json_object *data;

                        if (length_of(key) != 2)
                                continue;
                        data = json_object_array_get_idx(key, 1);
                        if (redirect_maps[map].maps)
                                to = (uint16_t) json_object_get_int(data);
                        else
                                service = service_of(get_string(json_member(data, "goto"), "target"), &to);
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
                *element = (RedirectElement){ .map = map, .to = to };
                if (map == REDIRECT_NAMES)
                        n = read_name_key(element, length, guests > 0, parts);
                else if (length_of(parts) == 2)
                        n = snprintf(element->key, sizeof(element->key),
                                     map == REDIRECT_VIRTUAL4 ? "\"%s\" . %s" : "%s . %s",
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
                last->waits |= service->waits;
                last->spares |= service->spares;
                last->lifted_by_waker |= service->lifted_by_waker;
                last->bridge_chain |= service->bridge_chain;
                last->bridge_counter |= service->bridge_counter;
                last->udp += service->udp;
                last->udp_up += service->udp_up;
                last->redirect_port = MAX(last->redirect_port, service->redirect_port);
                last->new_connections += service->new_connections;
        }
        snapshot->n_services = n;
}

/* Each redirect port of UDP has its chain. */
static bool has_udp_chains(const RedirectSnapshot *snapshot) {
        uint64_t sum = 0;

        for (size_t i = 0; i < snapshot->n_elements; i++)
                sum += redirect_udp_sum(&snapshot->elements[i]);
        for (size_t i = 0; i < snapshot->n_services; i++)
                sum -= snapshot->services[i].udp;
        return sum == 0;
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
        snapshot->complete = !reader.foreign && (reader.maps & EXPECTED_MAPS) == EXPECTED_MAPS &&
                             has_udp_chains(snapshot);
        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                snapshot->complete &= reader.n_rules[i] >= expected_chains[i].n_rules;
        for (unsigned length = 1; length <= REDIRECT_NAME_MAX; length++)
                snapshot->complete &= !(reader.names >> length & 1) || reader.n_name_rules[length] >= 3;
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
        if (!bridge)
                fprintf(stream, "add chain %s " DATAGRAMS "\n", table);
        for (const struct RedirectMapKind *map = redirect_maps; map < redirect_maps + REDIRECT_NAMES; map++)
                if (map->bridge == bridge)
                        fprintf(stream, "add %s %s %s { type %s%s; }\n",
                                map->looked_up || map->maps ? "map" : "set", table, map->name, map->type,
                                map->looked_up ? " : verdict"
                                : map->maps    ? " : " PORT
                                               : "");
        for (const struct RedirectMapKind *map = redirect_maps; map < redirect_maps + REDIRECT_NAMES; map++)
                if (map->bridge == bridge && map->looked_up)
                        fprintf(stream, "add rule %s %s %s vmap @%s\n", table, map->chain ?: chain, map->looked_up,
                                map->name);
        if (bridge)
                return;
        fprintf(stream,
                "add map %1$s lengths { typeof @th,%2$u,8 : verdict; }\n"
                "add chain %1$s " NAMES "\n"
                "add rule %1$s " NAMES " @th,%2$u,8 vmap @lengths\n",
                table, QUESTION);
        if (group)
                (void) snprintf(own, sizeof(own), "meta skgid %u return", group->gr_gid);
        else
                log_debug("There is no group wakechain, so that its connections are redirected as anyone's.");
        fprintf(stream, base_chains, own, REDIRECT_NAMES_PORT);
}

/* `masked`: as a packet's bytes are looked up; else what a map is made of. */
static void write_name_key(FILE *stream, const char *interface, unsigned length, bool masked) {
        size_t offsets[3], sizes[3], n_pieces = name_pieces(length + 2, offsets, sizes);

        fputs(interface, stream);
        for (size_t i = 0; i < n_pieces; i++) {
                fprintf(stream, masked ? " . (@th,%zu,%zu" : " . @th,%zu,%zu", QUESTION + 8 * offsets[i],
                        8 * sizes[i]);
                if (masked)
                        fputs(" & 0x", stream);
                for (size_t k = offsets[i]; masked && k < offsets[i] + sizes[i]; k++)
                        fputs(k == 0 || k == length + 1 ? "ff" : "df", stream);
                if (masked)
                        fputs(")", stream);
        }
}

void redirect_write_names(FILE *stream, const RedirectElement *element) {
        static const struct {
                const char *from, *map;
        } rules[] = { { "iifname", NAMES_OF }, { "oifname", NAMES_OF }, { "ip saddr", GUESTS_OF } };
        const unsigned length = element->name_length;

        for (size_t i = 0; i < ELEMENTSOF(rules); i += 2) {
                fprintf(stream, "add map inet wakechain %s%u { typeof ", rules[i].map, length);
                write_name_key(stream, rules[i].from, length, /* masked= */ false);
                fputs(" : verdict; }\n", stream);
        }
        fprintf(stream,
                "add chain inet wakechain " NAMES_OF "%1$u\n"
                "flush chain inet wakechain " NAMES_OF "%1$u\n",
                length);
        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                fprintf(stream, "add rule inet wakechain " NAMES_OF "%u ", length);
                write_name_key(stream, rules[i].from, length, /* masked= */ true);
                fprintf(stream, " vmap @%s%u\n", rules[i].map, length);
        }
        fprintf(stream, "add element inet wakechain lengths { 0x%1$02x : jump " NAMES_OF "%1$u }\n", length);
}

void redirect_write_element(FILE *stream, const RedirectElement *element, bool comes) {
        static const char *const ends[] = { "flush", "delete" };
        const struct RedirectMapKind *map = &redirect_maps[element->map];

        fprintf(stream, "%s element %s ", comes ? "add" : "delete", REDIRECT_TABLE(map->bridge));
        if (element->map == REDIRECT_NAMES)
                fprintf(stream, "%s%u", redirect_element_is_of_guest(element) ? GUESTS_OF : NAMES_OF,
                        element->name_length);
        else
                fputs(map->name, stream);
        fprintf(stream, " { %s", element->key);
        if (comes && map->maps)
                fprintf(stream, " comment \"%s\" : %u", element->service, element->to);
        else if (comes && element->to > 0)
                fprintf(stream, " : goto " UDP_CHAIN "%u-%s", element->to, element->service);
        else if (comes)
                fprintf(stream,
                        element->map == REDIRECT_NAMES || map->looked_up ? " : goto " REDIRECT_CHAIN "%s"
                                                                         : " comment \"%s\"",
                        element->service);
        fputs(" }\n", stream);
        /* Nothing leads to its chain any more: such elements are in maps before this one. */
        if (!comes && element->map == REDIRECT_UDP_TARGETS)
                for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                        fprintf(stream, "%s chain inet wakechain " UDP_CHAIN "%s-%s\n", ends[i], element->key,
                                element->service);
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
        fprintf(stream,
                "add rule inet wakechain " REDIRECT_CHAIN
                "%s meta l4proto udp redirect to :%u comment \"" NOT_A_CLIENT "\"\n",
                service, REDIRECT_NAMES_PORT);
}

void redirect_write_udp(FILE *stream, const char *service, uint16_t redirect_port, bool up) {
        static const char *const steps[] = { "add", "flush" };

        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                fprintf(stream, "%s chain inet wakechain " UDP_CHAIN "%u-%s\n", steps[i], redirect_port, service);
        if (up)
                fprintf(stream, "add rule inet wakechain " UDP_CHAIN "%1$u-%2$s meta l4proto udp dnat to :%1$u\n",
                        redirect_port, service);
}

/* Connections of whoever is not counted, or not redirected, go on like anybody's, behind the chain that this one was reached from. */
static void write_uncounted(FILE *stream, bool bridge, const char *service, const AddressPrefix *prefix,
                            const char *comment) {
        const char *family = prefix->family == AF_INET ? "ip" : "ip6";
        char text[ADDRESS_PREFIX_TEXT_MAX];

        fprintf(stream, "add rule %s " REDIRECT_CHAIN "%s ", REDIRECT_TABLE(bridge), service);
        if (prefix->length == 0)
                fprintf(stream, "meta protocol %s return%s\n", family, comment);
        else
                fprintf(stream, "%s saddr %s return%s\n", family, address_prefix_to_string(prefix, text), comment);
}

/* Of a stack that wakes. Its other containers find its names and ports as without us: they would wait for a stack that waits for them. */
void redirect_write_spared(FILE *stream, const char *service, const AddressPrefix *own, size_t n) {
        for (size_t i = 0; i < n; i++)
                write_uncounted(stream, /* bridge= */ false, service, &own[i], " comment \"" SPARED "\"");
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

static void write_waiting(FILE *stream, const RedirectLifted *lifted, const Inner *inner) {
        size_t n = 0;

        for (size_t i = 0; i < inner->n_ports; i++) {
                bool seen = !inner->ports[i].waits || inner->ports[i].udp || inner->ports[i].published == 0;

                for (size_t j = 0; j < i && !seen; j++)
                        seen = inner->ports[j].waits && !inner->ports[j].udp &&
                               inner->ports[j].published == inner->ports[i].published;
                if (seen)
                        continue;
                if (n++ == 0)
                        fprintf(stream,
                                "add rule inet wakechain " REDIRECT_CHAIN "%s fib daddr type local tcp dport { ",
                                lifted->service);
                else
                        fputs(", ", stream);
                fprintf(stream, "%u", inner->ports[i].published);
        }
        if (n > 0)
                fprintf(stream, " } redirect to :%u comment \"waits\"\n", lifted->redirect_port);
}

/* To the container, where it is on the bridge that they come by. `saddr`: whom this is about, and is not counted; NULL: all. */
static void write_virtual(FILE *stream, const RedirectLifted *lifted, const Inner *inner,
                          const AddressPrefix *saddr) {
        char text[ADDRESS_PREFIX_TEXT_MAX];

        if (saddr && saddr->family != AF_INET)
                return;
        for (size_t i = 0; i < inner->n_links; i++) {
                fprintf(stream, "add rule inet wakechain " REDIRECT_CHAIN "%s iifname \"%s\" ip daddr %s ",
                        lifted->service, inner->links[i].bridge, inner->links[i].virtual_address);
                if (saddr && saddr->length > 0)
                        fprintf(stream, "ip saddr %s ", address_prefix_to_string(saddr, text));
                if (!saddr)
                        fprintf(stream, "counter name \"" REDIRECT_CHAIN "%s\" ", lifted->service);
                fprintf(stream, "dnat ip to %s comment \"" NOT_A_CLIENT "\"\n", inner->links[i].ipv4);
        }
}

static void write_names_lifted(FILE *stream, const RedirectLifted *lifted, const Inner *inner) {
        fprintf(stream,
                "add rule inet wakechain " REDIRECT_CHAIN "%s meta l4proto udp return comment \"" NOT_A_CLIENT
                "\"\n",
                lifted->service);
        if (!lifted->has_names)
                return;
        for (char *const *ignored = lifted->ignored; inner && ignored && *ignored; ignored++) {
                AddressPrefix prefix;

                if (address_prefix_parse(&prefix, *ignored) >= 0)
                        write_virtual(stream, lifted, inner, &prefix);
        }
        for (size_t i = 0; inner && i < inner->n_own; i++)
                write_virtual(stream, lifted, inner, &inner->own[i]);
        if (inner)
                write_virtual(stream, lifted, inner, NULL);
        fprintf(stream,
                "add rule inet wakechain " REDIRECT_CHAIN
                "%s ip daddr @virtuals meta l4proto tcp redirect to :%u comment \"" NOT_A_CLIENT "\"\n",
                lifted->service, lifted->redirect_port);
}

void redirect_write_lifted(FILE *stream, bool bridge, const RedirectLifted *lifted, const Inner *inner,
                           bool with_groups, bool by_waker) {
        const char *service = lifted->service;

        if (!bridge)
                write_names_lifted(stream, lifted, inner);
        for (char *const *ignored = lifted->ignored; ignored && *ignored; ignored++) {
                AddressPrefix prefix;

                if (address_prefix_parse(&prefix, *ignored) >= 0)
                        write_uncounted(stream, bridge, service, &prefix, "");
        }
        for (size_t i = 0; inner && i < inner->n_own; i++)
                write_uncounted(stream, bridge, service, &inner->own[i], "");
        if (inner && !bridge) {
                for (char **group = inner->groups; with_groups && group && *group; group++)
                        write_uncounted_group(stream, service, *group, "");
                /* What the engine's proxy passes on to a container's own address was counted before it. */
                write_uncounted_group(stream, service, with_groups ? inner->proxy_group : NULL,
                                      " fib daddr type != local");
        }
        if (inner && !bridge)
                write_waiting(stream, lifted, inner);
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
