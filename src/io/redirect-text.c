#include <arpa/inet.h>
#include <grp.h>

#include "io/redirect-text.h"
#include "util/log.h"

/* Redirect text: what is variable in it comes from three places only: names, which service_name_is_valid() has
 * seen, numbers, and addresses as inet_ntop() wrote them. How the table works is told in redirect.c. */

#define CHAIN_OF REDIRECT_TABLE " " REDIRECT_CHAIN_PREFIX

static const char structure[] =
                "add table " REDIRECT_TABLE "\n"
                "add map " REDIRECT_TABLE " address4 { type ipv4_addr . inet_service : verdict; }\n"
                "add map " REDIRECT_TABLE " address6 { type ipv6_addr . inet_service : verdict; }\n"
                "add map " REDIRECT_TABLE " wildcard4 { type inet_service : verdict; }\n"
                "add map " REDIRECT_TABLE " wildcard6 { type inet_service : verdict; }\n"
                "add map " REDIRECT_TABLE " loopback4 { type inet_service : verdict; }\n"
                "add map " REDIRECT_TABLE " loopback6 { type inet_service : verdict; }\n"
                "add set " REDIRECT_TABLE " " REDIRECT_TARGETS " { type inet_service; }\n"
                "add chain " REDIRECT_TABLE " divert\n"
                "add chain " REDIRECT_TABLE " prerouting { type nat hook prerouting priority -110; }\n"
                "add chain " REDIRECT_TABLE " output { type nat hook output priority -110; }\n"
                "add chain " REDIRECT_TABLE " input { type filter hook input priority -10; }\n"
                "flush chain " REDIRECT_TABLE " divert\n"
                "flush chain " REDIRECT_TABLE " prerouting\n"
                "flush chain " REDIRECT_TABLE " output\n"
                "flush chain " REDIRECT_TABLE " input\n"
                "add rule " REDIRECT_TABLE " divert ip daddr . tcp dport vmap @address4\n"
                "add rule " REDIRECT_TABLE " divert ip6 daddr . tcp dport vmap @address6\n"
                "add rule " REDIRECT_TABLE
                " divert meta nfproto ipv4 fib daddr type local tcp dport vmap @wildcard4\n"
                "add rule " REDIRECT_TABLE
                " divert meta nfproto ipv6 fib daddr type local tcp dport vmap @wildcard6\n"
                "add rule " REDIRECT_TABLE " divert ip daddr 127.0.0.0/8 tcp dport vmap @loopback4\n"
                "add rule " REDIRECT_TABLE " divert ip6 daddr ::1 tcp dport vmap @loopback6\n"
                "add rule " REDIRECT_TABLE " prerouting meta l4proto tcp jump divert\n"
                "add rule " REDIRECT_TABLE " input tcp dport @" REDIRECT_TARGETS
                " ct direction original ct status & dnat != dnat drop\n";

static int key_init(RedirectKey *ret, const char *map, const char *address, uint16_t port) {
        *ret = (RedirectKey){ .map = map };
        if (address)
                (void) snprintf(ret->text, sizeof(ret->text), "%s . %u", address, port);
        else
                (void) snprintf(ret->text, sizeof(ret->text), "%u", port);
        return 1;
}

int redirect_keys_new(RedirectKey **ret, size_t *ret_n, uint16_t port, const RedirectBindings *bindings) {
        _cleanup_free_ RedirectKey *keys = new0(RedirectKey, 2 + strv_length(bindings->addresses));
        size_t n = 0;

        if (!keys)
                return -ENOMEM;
        if (!bindings->known) {
                n += key_init(&keys[n], "loopback4", NULL, port);
                n += key_init(&keys[n], "loopback6", NULL, port);
        }
        if (bindings->any_ipv4)
                n += key_init(&keys[n], "wildcard4", NULL, port);
        if (bindings->any_ipv6)
                n += key_init(&keys[n], "wildcard6", NULL, port);
        for (char **address = bindings->addresses; address && *address; address++) {
                bool ipv6 = strchr(*address, ':');
                struct in6_addr binary;

                if (inet_pton(ipv6 ? AF_INET6 : AF_INET, *address, &binary) <= 0)
                        return -EINVAL;
                n += key_init(&keys[n], ipv6 ? "address6" : "address4", *address, port);
        }

        *ret = TAKE_PTR(keys);
        *ret_n = n;
        return 0;
}

void redirect_write_structure(FILE *stream) {
        const struct group *group = getgrnam("wakechain");

        fputs(structure, stream);
        if (group)
                fprintf(stream, "add rule " REDIRECT_TABLE " output meta skgid %u return\n", group->gr_gid);
        else
                log_debug("There is no group wakechain, so that its connections are redirected as anyone's.");
        fputs("add rule " REDIRECT_TABLE " output meta l4proto tcp jump divert\n", stream);
}

/* Their connections go on like anybody's, behind the chain that this one was reached from. */
static void write_uncounted(FILE *stream, const Service *service, const AddressPrefix *prefix) {
        char text[ADDRESS_PREFIX_TEXT_MAX];

        if (prefix->length == 0)
                fprintf(stream, "add rule " CHAIN_OF "%s meta nfproto %s return\n", service->name,
                        prefix->family == AF_INET ? "ipv4" : "ipv6");
        else
                fprintf(stream, "add rule " CHAIN_OF "%s %s saddr %s return\n", service->name,
                        prefix->family == AF_INET ? "ip" : "ip6", address_prefix_to_string(prefix, text));
}

/* The counter is made anew to begin at 0; nothing refers to it between the flush and the new rule. */
static void write_chain(FILE *stream, const Service *service, const RedirectBindings *bindings, bool up) {
        const char *name = service->name;

        fprintf(stream, "add chain " CHAIN_OF "%s\n", name);
        fprintf(stream, "add counter " CHAIN_OF "%s\n", name);
        fprintf(stream, "flush chain " CHAIN_OF "%s\n", name);
        if (up) {
                fprintf(stream, "add rule " CHAIN_OF "%s meta l4proto tcp redirect to :%u\n", name,
                        service->redirect_port);
                return;
        }
        fprintf(stream, "delete counter " CHAIN_OF "%s\n", name);
        fprintf(stream, "add counter " CHAIN_OF "%s\n", name);
        for (char **address = service->ignore_addresses; address && *address; address++) {
                AddressPrefix prefix;

                if (address_prefix_parse(&prefix, *address) >= 0)
                        write_uncounted(stream, service, &prefix);
        }
        for (size_t i = 0; i < bindings->n_uncounted; i++)
                write_uncounted(stream, service, &bindings->uncounted[i]);
        fprintf(stream, "add rule " CHAIN_OF "%s counter name \"" REDIRECT_CHAIN_PREFIX "%s\"\n", name, name);
}

void redirect_write_service(FILE *stream, const Service *service, const RedirectBindings *bindings, bool up) {
        write_chain(stream, service, bindings, up);
        fprintf(stream, "add element " REDIRECT_TABLE " " REDIRECT_TARGETS " { %u comment \"%s\" }\n",
                service->redirect_port, service->name);
}

void redirect_write_key(FILE *stream, const Service *service, const RedirectKey *key) {
        fprintf(stream, "add element " REDIRECT_TABLE " %s { %s : goto " REDIRECT_CHAIN_PREFIX "%s }\n", key->map,
                key->text, service->name);
}

void redirect_write_deletion(FILE *stream, const SnapshotElement *element) {
        fprintf(stream, "delete element " REDIRECT_TABLE " %s { %s }\n", element->set, element->key);
}

void redirect_write_service_deletion(FILE *stream, const SnapshotService *service) {
        if (service->chain)
                fprintf(stream, "flush chain " CHAIN_OF "%s\ndelete chain " CHAIN_OF "%s\n", service->name,
                        service->name);
        if (service->counter)
                fprintf(stream, "delete counter " CHAIN_OF "%s\n", service->name);
}
