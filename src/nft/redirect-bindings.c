#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>

#include "nft/redirect-bindings.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/log.h"

/* Bindings: which addresses of the host a service's port is published on. The engine is the one who knows, but
 * it may be down when the firewall is set up again, hence the file
 *
 *   {"ipv4": true, "ipv6": false, "addresses": ["192.168.1.5"], "publisher": "web", "seen": "0123456789ab,…"}
 *
 * with "networks": [{"bridge": "br-0123456789ab", "names": ["web", "shop-web-1"]}], if it is on any that has names, and "container" in it
 * if those are a further container's,
 * and, without the first three, what is known of a port that nobody publishes; with "ports", a list of the same for each further port, with
 * its number, `"protocol": "udp"` if it is of that, and, if it is not this service's, the rival that it is or may be of; with "owners": ["torrent", "vpn"], if "torrent" has the network of
 * "vpn". Whatever cannot be understood in it
 * is taken for "not known", never for more than was published. */

#define BINDINGS_SIZE_MAX ((size_t) 1024 * 1024)
#define PATH_SIZE 512
#define ID_SHOWN 12U

#define NETWORKS_MAX 64U
#define LETTERS "abcdefghijklmnopqrstuvwxyz0123456789_-"

void redirect_bindings_done(RedirectBindings *bindings) {
        for (size_t i = 0; i < bindings->n_networks; i++) {
                free(bindings->networks[i].container);
                strv_free(bindings->networks[i].names);
                strv_free(bindings->networks[i].guests);
        }
        free(bindings->networks);
        for (size_t i = 0; i < bindings->n_further; i++) {
                free(bindings->further[i].rival);
                redirect_bindings_done(&bindings->further[i].bindings);
        }
        free(bindings->further);
        strv_free(bindings->owners);
        strv_free(bindings->addresses);
        free(bindings->publisher);
        free(bindings->seen);
        *bindings = (RedirectBindings){};
}
#define _cleanup_bindings_ _cleanup_(redirect_bindings_done)

/* -EINVAL if it is no address. */
static int bindings_add(RedirectBindings *bindings, const char *text) {
        char address[INET6_ADDRSTRLEN];
        struct in6_addr binary;
        int family;

        family = strchr(text, ':') ? AF_INET6 : AF_INET;
        if (inet_pton(family, text, &binary) <= 0)
                return -EINVAL;
        /* One spelling for each address: elements are compared as text. */
        if (!inet_ntop(family, &binary, address, sizeof(address)))
                return -errno;

        if (streq(address, "0.0.0.0"))
                bindings->any_ipv4 = true;
        else if (streq(address, "::"))
                bindings->any_ipv6 = true;
        else if (!strv_contains(bindings->addresses, address))
                return strv_append(&bindings->addresses, address);
        return 0;
}

int redirect_bindings_from_ports(RedirectBindings *ret, const PortBinding *bindings, size_t n, uint16_t host_port,
                                 bool udp) {
        _cleanup_bindings_ RedirectBindings found = {};

        assert(bindings || n == 0);

        for (size_t i = 0; i < n; i++) {
                int r = 0;

                if (!(udp ? bindings[i].udp : bindings[i].tcp) || !port_binding_covers(&bindings[i], host_port))
                        continue;
                found.known = true;
                if (isempty(bindings[i].host_ip))
                        found.any_ipv4 = found.any_ipv6 = true;
                else
                        r = bindings_add(&found, bindings[i].host_ip);
                if (r < 0 && r != -EINVAL)
                        return r;
        }

        *ret = found;
        found = (RedirectBindings){};
        return ret->known;
}

/* In small letters. False: it is no label of its own, but a domain name, or too long, or what resolves everywhere. */
static bool label_from_name(char ret[static REDIRECT_NAME_MAX + 1], const char *name) {
        size_t n = strlen(strempty(name));

        if (n == 0 || n > REDIRECT_NAME_MAX)
                return false;
        for (size_t i = 0; i <= n; i++)
                ret[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char) (name[i] - 'A' + 'a') : name[i];
        return strspn(ret, LETTERS) == n && !streq(ret, "localhost");
}

bool redirect_name_is_valid(const char *name) {
        char label[REDIRECT_NAME_MAX + 1];

        return label_from_name(label, name);
}

static int network_add_name(BindingNetwork *network, const char *name) {
        char label[REDIRECT_NAME_MAX + 1];

        if (!label_from_name(label, name) || strv_contains(network->names, label))
                return 0;
        return strv_append(&network->names, label);
}

/* NULL: no memory. */
static BindingNetwork *bindings_add_network(RedirectBindings *bindings, const char *bridge,
                                            const char *container) {
        BindingNetwork *larger = reallocarray(bindings->networks, bindings->n_networks + 1, sizeof(*larger));

        if (!larger)
                return NULL;
        bindings->networks = larger;
        larger += bindings->n_networks++;
        *larger = (BindingNetwork){ .container = container ? strdup(container) : NULL };
        (void) snprintf(larger->bridge, sizeof(larger->bridge), "%s", bridge);
        return container && !larger->container ? NULL : larger;
}

/* An id stands before its name. */
static const char *network_id(const ContainerNetwork *network, char *const *networks) {
        if (*network->id)
                return network->id;
        for (; networks && networks[0] && networks[1]; networks++)
                if (streq(networks[1], network->name))
                        return networks[0];
        return network->name; /* which may be its id */
}

bool redirect_network_bridge(const ContainerNetwork *network, char *const *networks, char ret[static IFNAMSIZ]) {
        return container_network_bridge(network->name, network_id(network, networks), ret);
}

int redirect_bindings_add_names(RedirectBindings *bindings, const ContainerInfo *info, char *const *networks,
                                const char *container) {
        int r = 0;

        for (size_t i = 0; i < info->n_networks && bindings->n_networks < NETWORKS_MAX && r >= 0; i++) {
                const ContainerNetwork *network = &info->networks[i];
                BindingNetwork *names;
                char bridge[IFNAMSIZ];

                if (!redirect_network_bridge(network, networks, bridge))
                        continue;
                names = bindings_add_network(bindings, bridge, container);
                if (!names)
                        return -ENOMEM;
                r = network_add_name(names, info->name);
                if (r >= 0)
                        r = network_add_name(names, info->compose_service);
                for (char **alias = network->names; alias && *alias && r >= 0; alias++)
                        if (strlen(*alias) < ID_SHOWN || strncmp(info->id, *alias, strlen(*alias)) != 0)
                                r = network_add_name(names, *alias);
        }
        return r;
}

int redirect_bindings_keep_names(RedirectBindings *bindings, const RedirectBindings *old, const char *container) {
        int r = 0;

        for (size_t i = 0; i < old->n_networks && bindings->n_networks < NETWORKS_MAX && r >= 0; i++) {
                BindingNetwork *kept;

                if (!streq(strempty(old->networks[i].container), container))
                        continue;
                kept = bindings_add_network(bindings, old->networks[i].bridge, container);
                r = kept ? 0 : -ENOMEM;
                for (char **name = old->networks[i].names; name && *name && r >= 0; name++)
                        r = strv_append(&kept->names, *name);
        }
        return r;
}

static int compare_further(const void *a, const void *b) {
        const FurtherPort *further_a = a, *further_b = b;

        return further_a->port != further_b->port ? (int) further_a->port - (int) further_b->port
                                                  : further_a->udp - further_b->udp;
}

int redirect_bindings_add_further(RedirectBindings *bindings, uint16_t port, bool udp, RedirectBindings *own) {
        const FurtherPort added = { .port = port, .udp = udp, .bindings = *own };
        FurtherPort *larger;
        size_t i = bindings->n_further;

        if (i >= FURTHER_PORTS_MAX)
                return -E2BIG;
        larger = reallocarray(bindings->further, i + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        bindings->further = larger;
        for (; i > 0 && compare_further(&larger[i - 1], &added) > 0; i--)
                larger[i] = larger[i - 1];
        larger[i] = added;
        bindings->n_further++;
        *own = (RedirectBindings){};
        return 0;
}

const FurtherPort *redirect_bindings_further(const RedirectBindings *bindings, uint16_t port, bool udp) {
        const FurtherPort wanted = { .port = port, .udp = udp };

        if (bindings->n_further == 0)
                return NULL;
        return bsearch(&wanted, bindings->further, bindings->n_further, sizeof(wanted), compare_further);
}

static bool has_address(const RedirectBindings *bindings, const char *address) {
        return (strchr(address, ':') ? bindings->any_ipv6 : bindings->any_ipv4) ||
               strv_contains(bindings->addresses, address);
}

bool redirect_bindings_meet(const RedirectBindings *a, const RedirectBindings *b) {
        if (!a->known || !b->known)
                return false;
        if ((a->any_ipv4 && b->any_ipv4) || (a->any_ipv6 && b->any_ipv6))
                return true;
        for (char **address = a->addresses; address && *address; address++)
                if (has_address(b, *address))
                        return true;
        for (char **address = b->addresses; address && *address; address++)
                if (has_address(a, *address))
                        return true;
        return false;
}

static void bindings_path(char ret[static PATH_SIZE], const char *root, const char *service) {
        assert(service_name_is_valid(service));
        (void) snprintf(ret, PATH_SIZE, "%s" BINDINGS_FOLDER "/%s.json", strempty(root), service);
}

static int get_text(json_object *object, const char *name, char **ret) {
        const char *text = json_member_text(object, name);

        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

/* Both go into commands of nft: what is no name of an interface is refused. */
static int networks_parse(RedirectBindings *bindings, json_object *networks) {
        const size_t n = networks ? MIN(json_object_array_length(networks), (size_t) NETWORKS_MAX) : 0;
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++) {
                json_object *object = json_object_array_get_idx(networks, i),
                            *names = json_member_of(object, "names", json_type_array);
                const char *bridge = json_member_text(object, "bridge");
                BindingNetwork *network;

                if (!engine_name_is_valid(bridge) || strlen(bridge) >= IFNAMSIZ || !names)
                        return -EBADMSG;
                network = bindings_add_network(bindings, bridge, json_member_text(object, "container"));
                if (!network)
                        return -ENOMEM;
                for (size_t k = 0; k < json_object_array_length(names) && r >= 0; k++)
                        r = network_add_name(network, json_text(json_object_array_get_idx(names, k)));
        }
        return r;
}

static int bindings_read(RedirectBindings *ret, json_object *object);

static int further_read(RedirectBindings *bindings, json_object *list) {
        int r = 0;

        for (size_t i = 0; list && i < json_object_array_length(list) && r >= 0; i++) {
                json_object *entry = json_object_array_get_idx(list, i), *value = json_member(entry, "port");
                _cleanup_bindings_ RedirectBindings own = {};
                const bool udp = streq(strempty(json_member_text(entry, "protocol")), "udp");
                int64_t port = json_object_get_int64(value);
                FurtherPort *further;

                if (!json_object_is_type(value, json_type_int) || port < 1 || port > UINT16_MAX ||
                    redirect_bindings_further(bindings, (uint16_t) port, udp))
                        return -EBADMSG;
                r = bindings_read(&own, entry);
                if (r >= 0)
                        r = redirect_bindings_add_further(bindings, (uint16_t) port, udp, &own);
                if (r < 0)
                        break;
                further = (FurtherPort *) redirect_bindings_further(bindings, (uint16_t) port, udp);
                r = get_text(entry, "rival", &further->rival);
        }
        return r;
}

static int owners_read(RedirectBindings *bindings, json_object *list) {
        const size_t n = list ? json_object_array_length(list) : 0;
        int r = n % 2 == 0 ? 0 : -EBADMSG;

        for (size_t i = 0; i < n && r >= 0; i++) {
                const char *name = json_text(json_object_array_get_idx(list, i));

                r = engine_name_is_valid(name) ? strv_append(&bindings->owners, name) : -EBADMSG;
        }
        return r;
}

static json_object *networks_to_json(const RedirectBindings *bindings) {
        json_object *list = json_object_new_array();

        for (size_t i = 0; list && i < bindings->n_networks; i++) {
                const BindingNetwork *network = &bindings->networks[i];
                json_object *object = json_object_new_object();

                object = json_built(object,
                                    (!network->container ||
                                     json_add_text(object, "container", network->container)) &&
                                                    json_add_text(object, "bridge", network->bridge) &&
                                                    json_add(object, "names", json_new_texts(network->names)));
                if (!object || json_object_array_add(list, object) < 0) {
                        json_object_put(object);
                        json_object_put(list);
                        return NULL;
                }
        }
        return list;
}

static int bindings_read(RedirectBindings *ret, json_object *object) {
        _cleanup_bindings_ RedirectBindings bindings = {};
        int r = 0;

        if (!json_object_is_type(object, json_type_object))
                return -EBADMSG;
        bindings.known = json_object_object_get_ex(object, "addresses", NULL);
        if (bindings.known) {
                json_object *addresses = json_member_of(object, "addresses", json_type_array);

                if (!addresses || !json_member_of(object, "ipv4", json_type_boolean) ||
                    !json_member_of(object, "ipv6", json_type_boolean))
                        return -EBADMSG;
                bindings.any_ipv4 = json_member_is_true(object, "ipv4");
                bindings.any_ipv6 = json_member_is_true(object, "ipv6");
                for (size_t i = 0; i < json_object_array_length(addresses) && r >= 0; i++)
                        r = bindings_add(&bindings, strempty(json_text(json_object_array_get_idx(addresses, i))));
        }
        if (r >= 0)
                r = get_text(object, "publisher", &bindings.publisher);
        if (r >= 0)
                r = get_text(object, "seen", &bindings.seen);
        if (r < 0)
                return r;

        *ret = bindings;
        bindings = (RedirectBindings){};
        return 0;
}

static int bindings_parse(RedirectBindings *ret, const char *text) {
        _cleanup_(json_freep) json_object *object = json_tokener_parse(text);
        _cleanup_bindings_ RedirectBindings bindings = {};
        int r;

        r = bindings_read(&bindings, object);
        if (r >= 0)
                r = networks_parse(&bindings, json_member_of(object, "networks", json_type_array));
        if (r >= 0)
                r = further_read(&bindings, json_member_of(object, "ports", json_type_array));
        if (r >= 0)
                r = owners_read(&bindings, json_member_of(object, "owners", json_type_array));
        if (r < 0)
                return r;
        *ret = bindings;
        bindings = (RedirectBindings){};
        return 0;
}

int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service) {
        _cleanup_free_ char *text = NULL;
        char path[PATH_SIZE];
        int r;

        *ret = (RedirectBindings){};
        bindings_path(path, root, service);
        r = file_read(path, BINDINGS_SIZE_MAX, &text, NULL);
        if (r >= 0)
                r = bindings_parse(ret, text);
        if (r < 0 && r != -ENOENT)
                log_debug_errno(r, "Failed to read '%s', taking it for not known: %m", path);
        return r == -ENOMEM ? r : 0;
}

/* The folder is the wakers', and the one that it lies in is, too: were a link in its place, root would write wherever that leads. */
static int bindings_write(const char *root, const char *service, const char *text) {
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_SIZE];
        int r;

        (void) snprintf(path, sizeof(path), "%s" BINDINGS_FOLDER, strempty(root));
        r = directory_make(path);
        if (r < 0)
                return r;
        fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%i/%s.json", fd, service);
        /* Not synced: what a crash loses is asked from the engine again. */
        return file_replace(path, text, strlen(text), 0644, /* sync= */ false);
}

static bool bindings_add_members(json_object *object, const RedirectBindings *bindings) {
        return (!bindings->known || (json_add(object, "ipv4", json_object_new_boolean(bindings->any_ipv4)) &&
                                     json_add(object, "ipv6", json_object_new_boolean(bindings->any_ipv6)) &&
                                     json_add(object, "addresses", json_new_texts(bindings->addresses)))) &&
               (!bindings->publisher || json_add_text(object, "publisher", bindings->publisher)) &&
               (!bindings->seen || json_add_text(object, "seen", bindings->seen));
}

static bool bindings_add_ports(json_object *object, const RedirectBindings *bindings) {
        json_object *list = bindings->n_further > 0 ? json_object_new_array() : NULL;
        bool fine = list;

        if (bindings->n_further == 0)
                return true;
        for (size_t i = 0; fine && i < bindings->n_further; i++) {
                const FurtherPort *further = &bindings->further[i];
                json_object *entry = json_object_new_object();

                fine = json_add_number(entry, "port", further->port) &&
                       (!further->udp || json_add_text(entry, "protocol", "udp")) &&
                       (!further->rival || json_add_text(entry, "rival", further->rival)) &&
                       bindings_add_members(entry, &further->bindings);
                fine = json_append(list, json_built(entry, fine));
        }
        return json_add(object, "ports", json_built(list, fine));
}

int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        _cleanup_free_ char *old = NULL;
        char path[PATH_SIZE];
        const char *text;
        int r;

        object = json_built(object,
                            bindings_add_members(object, bindings) &&
                                            (bindings->n_networks == 0 ||
                                             json_add(object, "networks", networks_to_json(bindings))) &&
                                            (!bindings->owners ||
                                             json_add(object, "owners", json_new_texts(bindings->owners))) &&
                                            bindings_add_ports(object, bindings));
        text = object ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN) : NULL;
        if (!text)
                return -ENOMEM;
        bindings_path(path, root, service);
        if (file_read(path, BINDINGS_SIZE_MAX, &old, NULL) >= 0 && streq(old, text))
                return 0;
        r = bindings_write(root, service, text);
        return r < 0 ? r : 1;
}
