#include <arpa/inet.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

#include "io/redirect.h"
#include "util/fd.h"
#include "util/log.h"

/* Bindings: which addresses of the host a service's port is published on. The engine is the one who knows, but
 * it may be down when the firewall is set up again, hence the file
 *
 *   {"ipv4": true, "ipv6": false, "addresses": ["192.168.1.5"]}
 *
 * Whatever cannot be understood in it is taken for "not known", never for more than was published. */

#define BINDINGS_SIZE_MAX ((size_t) 64 * 1024)

static json_object *json_free(json_object *object) {
        (void) json_object_put(object);
        return NULL;
}
DEFINE_CLEANUP(json_object *, json_free);

void redirect_bindings_done(RedirectBindings *bindings) {
        assert(bindings);

        strv_free(bindings->addresses);
        *bindings = (RedirectBindings){};
}
#define _cleanup_bindings_ _cleanup_(redirect_bindings_done)

bool redirect_bindings_equal(const RedirectBindings *a, const RedirectBindings *b) {
        assert(a);
        assert(b);

        if (a->known != b->known || a->any_ipv4 != b->any_ipv4 || a->any_ipv6 != b->any_ipv6 ||
            strv_length(a->addresses) != strv_length(b->addresses))
                return false;
        for (char **address = a->addresses; address && *address; address++)
                if (!strv_contains(b->addresses, *address))
                        return false;
        return true;
}

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

        assert(ret);
        assert(bindings || n == 0);

        for (size_t i = 0; i < n; i++) {
                int r = 0;

                if (!bindings[i].tcp || bindings[i].host_port != host_port)
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

static int bindings_path(char **ret, const char *root, const char *service) {
        assert(service_name_is_valid(service));

        if (asprintf(ret, "%s/var/lib/wakechain/bindings/%s.json", strempty(root), service) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static bool get_boolean(json_object *object, const char *name, bool *ret) {
        json_object *value;

        if (!json_object_object_get_ex(object, name, &value) || !json_object_is_type(value, json_type_boolean))
                return false;
        *ret = json_object_get_boolean(value);
        return true;
}

static int bindings_parse(RedirectBindings *ret, const char *text) {
        _cleanup_bindings_ RedirectBindings bindings = { .known = true };
        _cleanup_(json_freep) json_object *object = json_tokener_parse(text);
        json_object *addresses;

        if (!json_object_is_type(object, json_type_object) || !get_boolean(object, "ipv4", &bindings.any_ipv4) ||
            !get_boolean(object, "ipv6", &bindings.any_ipv6) ||
            !json_object_object_get_ex(object, "addresses", &addresses) ||
            !json_object_is_type(addresses, json_type_array))
                return -EBADMSG;

        for (size_t i = 0; i < json_object_array_length(addresses); i++) {
                json_object *address = json_object_array_get_idx(addresses, i);
                int r;

                if (!json_object_is_type(address, json_type_string))
                        return -EBADMSG;
                r = bindings_add(&bindings, json_object_get_string(address));
                if (r < 0)
                        return r == -EINVAL ? -EBADMSG : r;
        }

        *ret = bindings;
        bindings = (RedirectBindings){};
        return 0;
}

int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        int r;

        assert(ret);

        r = bindings_path(&path, root, service);
        if (r < 0)
                return r;
        r = file_read(path, BINDINGS_SIZE_MAX, &text, NULL);
        if (r >= 0)
                r = bindings_parse(ret, text);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                if (r != -ENOENT)
                        log_debug_errno(r, "Failed to read '%s', taking it for not known: %m", path);
                *ret = (RedirectBindings){};
        }
        return 0;
}

static json_object *bindings_to_json(const RedirectBindings *bindings) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        json_object *addresses = json_object_new_array();

        if (!object || !addresses || json_object_object_add(object, "addresses", addresses) < 0) {
                json_object_put(addresses);
                return NULL;
        }
        if (json_object_object_add(object, "ipv4", json_object_new_boolean(bindings->any_ipv4)) < 0 ||
            json_object_object_add(object, "ipv6", json_object_new_boolean(bindings->any_ipv6)) < 0)
                return NULL;
        for (char **address = bindings->addresses; address && *address; address++)
                if (json_object_array_add(addresses, json_object_new_string(*address)) < 0)
                        return NULL;
        return TAKE_PTR(object);
}

static int bindings_write(const char *path, const char *text) {
        _cleanup_free_ char *folder = strdup(path);
        int r;

        if (!folder)
                return -ENOMEM;
        *strrchr(folder, '/') = '\0';
        r = directory_make(folder);
        if (r < 0)
                return r;
        /* Root and the waker write by turns; the folder is the waker's, so that it may replace root's file. Not
         * synced: what a crash loses is asked from the engine again. */
        return file_replace(path, text, strlen(text), 0644, /* sync= */ false);
}

int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service) {
        _cleanup_bindings_ RedirectBindings old = {};
        _cleanup_(json_freep) json_object *object = NULL;
        _cleanup_free_ char *path = NULL;
        const char *text;
        int r;

        assert(bindings);

        r = redirect_bindings_load(&old, root, service);
        if (r < 0)
                return r;
        if (redirect_bindings_equal(&old, bindings))
                return 0;
        r = bindings_path(&path, root, service);
        if (r < 0)
                return r;
        if (!bindings->known)
                return unlink(path) < 0 && errno != ENOENT ? -errno : 1;

        object = bindings_to_json(bindings);
        text = object ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN) : NULL;
        if (!text)
                return -ENOMEM;
        r = bindings_write(path, text);
        return r < 0 ? r : 1;
}
