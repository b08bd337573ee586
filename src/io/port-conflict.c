#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "io/port-conflict.h"
#include "util/log.h"
#include "util/time.h"

/* PortConflict asks the engine first (another container publishes the port: a proxy of the engine's has it then, which says
 * nothing), and then the kernel. The address comes from the refusal; if that names none, and the container publishes a
 * single port, it is that one. */

#define ENGINE_TIMEOUT (5 * USEC_PER_SEC)
#define CONTAINER_ID_SHOWN 12

struct PortConflict {
        Engine *engine; /* borrowed */
        char *container, *message;
        PortAddress address;
        EngineCall *call;
        PortConflictHandler handler;
        void *userdata;
};

/* What stands before the address. Docker 20.10, 26 and later ones, Podman 4. */
static const struct {
        const char *text;
        PortTransport transport;
} anchors[] = {
        { "Bind for ", PORT_TCP_OR_UDP },
        { "listen tcp4 ", PORT_TCP },
        { "listen tcp6 ", PORT_TCP },
        { "listen tcp ", PORT_TCP },
        { "listen udp4 ", PORT_UDP },
        { "listen udp6 ", PORT_UDP },
        { "listen udp ", PORT_UDP },
        { "failed to bind host port for ", PORT_TCP_OR_UDP },
        { "failed to bind host port ", PORT_TCP_OR_UDP },
        { "failed to bind port ", PORT_TCP_OR_UDP },
        { "exposing port TCP ", PORT_TCP },
        { "exposing port UDP ", PORT_UDP },
};

/* Digits, and what ends an address. */
static bool parse_port(const char *text, uint16_t *ret) {
        size_t size = strspn(text, "0123456789");
        unsigned long port;

        if (size == 0 || size > 5 || !strchr(" :/,", text[size]))
                return false;
        port = strtoul(text, NULL, 10);
        if (port == 0 || port > UINT16_MAX)
                return false;
        *ret = (uint16_t) port;
        return true;
}

static bool parse_host(const char *text, size_t size, PortAddress *address) {
        char host[INET6_ADDRSTRLEN];

        if (size >= sizeof(host))
                return false;
        memcpy(host, text, size);
        host[size] = '\0';
        address->family = strchr(host, ':') ? AF_INET6 : AF_INET;
        return inet_pton(address->family, host, &address->ipv4) > 0;
}

/* "0.0.0.0:9002", "[::1]:9002", ":::9002"; behind it may come a colon and more. */
static bool parse_address(const char *text, PortAddress *address) {
        size_t size = strcspn(text, " /,");

        if (text[0] == '[') {
                const char *end = memchr(text, ']', size);

                return end && end[1] == ':' && parse_host(text + 1, (size_t) (end - text) - 1, address) &&
                       parse_port(end + 2, &address->port);
        }
        for (size_t i = 0; i < size; i++)
                if (text[i] == ':' && parse_port(text + i + 1, &address->port) && parse_host(text, i, address))
                        return true;
        return false;
}

int port_conflict_parse(PortAddress *ret, const char *message) {
        assert(ret);
        assert(message);

        for (size_t i = 0; i < ELEMENTSOF(anchors); i++) {
                PortAddress address = { .transport = anchors[i].transport };
                const char *text = strstr(message, anchors[i].text);

                if (!text || !parse_address(text + strlen(anchors[i].text), &address))
                        continue;
                if (address.transport == PORT_TCP_OR_UDP && strstr(text, "/tcp"))
                        address.transport = PORT_TCP;
                else if (address.transport == PORT_TCP_OR_UDP && strstr(text, "/udp"))
                        address.transport = PORT_UDP;
                *ret = address;
                return 1;
        }
        return 0;
}

PortConflict *port_conflict_free(PortConflict *conflict) {
        if (!conflict)
                return NULL;

        engine_call_free(conflict->call);
        free(conflict->container);
        free(conflict->message);
        return mfree(conflict);
}

static void port_conflict_finish(PortConflict *conflict, const char *format, ...) _printf_(2, 3);
static void port_conflict_finish(PortConflict *conflict, const char *format, ...) {
        _cleanup_free_ char *sentence = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&sentence, format, arguments) < 0)
                sentence = NULL;
        va_end(arguments);
        conflict->call = engine_call_free(conflict->call);
        conflict->handler(conflict, sentence ? sentence : conflict->message, conflict->userdata);
        /* The handler may have freed the conflict: nothing goes below this line. */
}

/* "port 9002 of 127.0.0.1" */
#define PLACE_MAX (sizeof("UDP port 65535 of ") + INET6_ADDRSTRLEN)
static const char *place(const PortAddress *address, char buffer[static PLACE_MAX]) {
        char host[INET6_ADDRSTRLEN];
        bool everywhere = address->family == AF_UNSPEC ||
                          (address->family == AF_INET && address->ipv4.s_addr == INADDR_ANY) ||
                          (address->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->ipv6));

        if (everywhere || !inet_ntop(address->family, &address->ipv4, host, sizeof(host)))
                host[0] = '\0';
        (void) snprintf(buffer, PLACE_MAX, "%sport %u%s%s", address->transport == PORT_UDP ? "UDP " : "",
                        address->port, *host ? " of " : "", host);
        return buffer;
}

static const char *search_command(const PortAddress *address) {
        return address->transport == PORT_TCP   ? "ss -ltnp"
               : address->transport == PORT_UDP ? "ss -lunp"
                                                : "ss -ltunp";
}

/* "docker-ID.scope", "libpod-ID.scope": the ID; NULL if it is no container. */
static const char *unit_container(const char *unit) {
        static const char *const prefixes[] = { "docker-", "libpod-" };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                size_t n = strlen(prefixes[i]);

                if (strncmp(unit, prefixes[i], n) == 0 &&
                    strspn(unit + n, "0123456789abcdef") >= CONTAINER_ID_SHOWN)
                        return unit + n;
        }
        return NULL;
}

/* "wake@NAME.socket": NAME, its length in `ret_size`. */
static const char *unit_service(const char *unit, size_t *ret_size) {
        static const char prefix[] = "wake@", suffix[] = ".socket";
        size_t size = strlen(unit);

        if (strncmp(unit, prefix, strlen(prefix)) != 0 || size <= strlen(prefix) + strlen(suffix) ||
            !streq(unit + size - strlen(suffix), suffix))
                return NULL;
        *ret_size = size - strlen(prefix) - strlen(suffix);
        return unit + strlen(prefix);
}

static void port_conflict_name_unit(PortConflict *conflict, const char *where, const char *unit,
                                    const char *user) {
        const char *container = unit_container(unit), *service;
        size_t size = 0;

        service = unit_service(unit, &size);
        if (service)
                port_conflict_finish(
                                conflict,
                                "%s is taken by wakechain's own '%s': no service may `listen` on a port that a "
                                "container publishes; leave out `listen` of '%.*s' in dependencies.json, or change "
                                "one of the ports",
                                where, unit, (int) size, service);
        else if (container)
                port_conflict_finish(
                                conflict,
                                "%s is taken by container '%.*s', which uses the host's network: stop that, or "
                                "change one of the two",
                                where, CONTAINER_ID_SHOWN, container);
        else if (streq(unit, "docker.service"))
                port_conflict_finish(conflict,
                                     "%s is taken by the container engine ('%s'), as it is for a container that "
                                     "publishes it: find that with 'docker ps'",
                                     where, unit);
        else if (streq(unit, "init.scope"))
                port_conflict_finish(
                                conflict,
                                "%s is taken by a socket unit of systemd: find it with 'systemctl list-sockets', "
                                "stop it or change the port",
                                where);
        else
                port_conflict_finish(conflict, "%s is taken by unit '%s' (user %s): stop it or change the port",
                                     where, unit, user);
}

static void port_conflict_ask_kernel(PortConflict *conflict) {
        _cleanup_(port_owner_done) PortOwner owner = {};
        char buffer[PLACE_MAX], number[32];
        const char *where = place(&conflict->address, buffer), *user;
        int r;

        r = port_owner_find(&owner, &conflict->address);
        if (r <= 0) {
                if (r < 0)
                        log_debug_errno(r, "Failed to ask who has %s: %m", where);
                port_conflict_finish(conflict,
                                     "%s is taken already: find by whom with '%s', stop it or change the port",
                                     where, search_command(&conflict->address));
                return;
        }

        (void) snprintf(number, sizeof(number), "%u", (unsigned) owner.uid);
        user = owner.user ? owner.user : number;
        if (owner.unit)
                port_conflict_name_unit(conflict, where, owner.unit, user);
        else
                port_conflict_finish(
                                conflict,
                                "%s is taken by a program of user %s: find it with '%s', stop it or change the port",
                                where, user, search_command(&conflict->address));
}

static void port_conflict_on_publishers(EngineCall *call, EngineReply *reply, void *userdata) {
        PortConflict *conflict = ASSERT_PTR(userdata);

        /* They are those of TCP ports. */
        for (char *const *name = reply->names; name && *name && conflict->address.transport != PORT_UDP; name++)
                if (!streq(*name, conflict->container)) {
                        port_conflict_finish(
                                        conflict,
                                        "port %u is published by container '%s' already: stop that, or change one "
                                        "of the two",
                                        conflict->address.port, *name);
                        return;
                }
        port_conflict_ask_kernel(conflict);
}

static void port_conflict_on_inspected(EngineCall *call, EngineReply *reply, void *userdata) {
        PortConflict *conflict = ASSERT_PTR(userdata);
        const ContainerInfo *info = reply->info;
        unsigned port = 0;
        bool several = false;
        int r;

        for (size_t i = 0; info && i < info->n_bindings; i++) {
                unsigned published = info->bindings[i].host_port;

                several |= !info->bindings[i].tcp || (port > 0 && published != port);
                port = published;
        }
        if (port == 0 || several) {
                port_conflict_finish(
                                conflict,
                                "a port that container '%s' publishes is taken already: %s; find by whom with "
                                "'ss -ltunp', stop it or change the port",
                                conflict->container, conflict->message);
                return;
        }

        conflict->address = (PortAddress){ .transport = PORT_TCP, .family = AF_UNSPEC, .port = (uint16_t) port };
        conflict->call = engine_call_free(conflict->call);
        r = engine_list_publishers(&conflict->call, conflict->engine, conflict->address.port, ENGINE_TIMEOUT,
                                   port_conflict_on_publishers, conflict);
        if (r < 0)
                port_conflict_ask_kernel(conflict);
}

int port_conflict_new(PortConflict **ret, Engine *engine, const char *container, const char *message,
                      PortConflictHandler handler, void *userdata) {
        _cleanup_(port_conflict_freep) PortConflict *conflict = NULL;
        int r;

        assert(ret);
        assert(engine);
        assert(container);
        assert(message);
        assert(handler);

        conflict = malloc(sizeof(*conflict));
        if (!conflict)
                return -ENOMEM;
        *conflict = (PortConflict){
                .engine = engine,
                .container = strdup(container),
                .message = strdup(message),
                .handler = handler,
                .userdata = userdata,
        };
        if (!conflict->container || !conflict->message)
                return -ENOMEM;

        if (port_conflict_parse(&conflict->address, message) > 0)
                r = engine_list_publishers(&conflict->call, engine, conflict->address.port, ENGINE_TIMEOUT,
                                           port_conflict_on_publishers, conflict);
        else
                r = engine_inspect(&conflict->call, engine, container, ENGINE_TIMEOUT, port_conflict_on_inspected,
                                   conflict);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(conflict);
        return 0;
}
