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
 * and, without the first three, what is known of a port that nobody publishes. Whatever cannot be understood in it
 * is taken for "not known", never for more than was published. */

#define BINDINGS_SIZE_MAX ((size_t) 64 * 1024)
#define PATH_SIZE 512

void redirect_bindings_done(RedirectBindings *bindings) {
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

int redirect_bindings_from_ports(RedirectBindings *ret, const PortBinding *bindings, size_t n,
                                 uint16_t host_port) {
        _cleanup_bindings_ RedirectBindings found = {};

        assert(bindings || n == 0);

        for (size_t i = 0; i < n; i++) {
                int r = 0;

                if (!bindings[i].tcp || !port_binding_covers(&bindings[i], host_port))
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

static void bindings_path(char ret[static PATH_SIZE], const char *root, const char *service) {
        assert(service_name_is_valid(service));
        (void) snprintf(ret, PATH_SIZE, "%s" BINDINGS_FOLDER "/%s.json", strempty(root), service);
}

static int get_text(json_object *object, const char *name, char **ret) {
        const char *text = json_member_text(object, name);

        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

static int bindings_parse(RedirectBindings *ret, const char *text) {
        _cleanup_(json_freep) json_object *object = json_tokener_parse(text);
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

int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        _cleanup_free_ char *old = NULL;
        char path[PATH_SIZE];
        const char *text;
        int r;

        object = json_built(object,
                            (!bindings->known ||
                             (json_add(object, "ipv4", json_object_new_boolean(bindings->any_ipv4)) &&
                              json_add(object, "ipv6", json_object_new_boolean(bindings->any_ipv6)) &&
                              json_add(object, "addresses", json_new_texts(bindings->addresses)))) &&
                                            (!bindings->publisher ||
                                             json_add_text(object, "publisher", bindings->publisher)) &&
                                            (!bindings->seen || json_add_text(object, "seen", bindings->seen)));
        text = object ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN) : NULL;
        if (!text)
                return -ENOMEM;
        bindings_path(path, root, service);
        if (file_read(path, BINDINGS_SIZE_MAX, &old, NULL) >= 0 && streq(old, text))
                return 0;
        r = bindings_write(root, service, text);
        return r < 0 ? r : 1;
}
