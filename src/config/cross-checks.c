#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "config/checks.h"
#include "config/document.h"
#include "config/listen.h"
#include "util/nearest.h"

/* Cross checks: what the services of a config mean together. Of two that want the same thing, the one that
 * appeared first keeps it, so that a new service takes nothing from those that work. Two files that name the
 * same service cannot be told apart like that, as a fragment is meant to add: neither counts.
 *
 * Addresses are sorted by port, wildcards first, so that each is compared only to those that it could clash
 * with. Published ports are among them: several services may have the same one, on addresses of their own that
 * only the engine knows, but a socket of ours on all addresses is in the way of each. */

typedef struct Claim {
        DraftService *entry;
        const char *text; /* of `listen`; NULL: `port` or `redirectPort` */
        ListenAddress address;
        bool published; /* by a container: the member `port` in redirect mode, or … */
        bool further; /* one of `ports` */
} Claim;

typedef struct ClaimList {
        Claim *claims;
        size_t n_claims, allocated;
} ClaimList;

static void refuse_doubles(Draft *draft) {
        for (size_t i = 1; i < draft->n_services; i++) {
                DraftService *first = &draft->services[i - 1], *second = &draft->services[i];
                JsonPath path;

                if (!streq(first->service.name, second->service.name))
                        continue;
                path = json_path_member(&path_services, second->service.name);
                first->broken = true;
                draft_refuse(draft, second, &path, "{…}", "is defined in '%s' already", first->file);
        }
}

static int claim(ClaimList *list, Claim claim) {
        if (list->n_claims == list->allocated) {
                size_t larger = MAX(2 * list->allocated, (size_t) 64);
                Claim *moved = reallocarray(list->claims, larger, sizeof(Claim));

                if (!moved)
                        return -ENOMEM;
                list->claims = moved;
                list->allocated = larger;
        }
        list->claims[list->n_claims++] = claim;
        return 0;
}

static int claim_all(ClaimList *list, DraftService *entry) {
        const Service *service = &entry->service;
        int r = 0;

        if (service_is_redirected(service)) {
                Claim published = { entry, NULL, { .family = AF_INET6, .port = service->port }, true };
                Claim redirect = { entry, NULL, { .family = AF_INET6, .port = service->redirect_port }, false };

                if (service->port > 0)
                        r = claim(list, published);
                if (r >= 0)
                        r = claim(list, redirect);
                for (size_t i = 0; i < service->n_ports && r >= 0; i++) {
                        published.address.port = service->ports[i].port;
                        published.address.udp = redirect.address.udp = service_port_is_udp(&service->ports[i]);
                        published.further = true;
                        r = claim(list, published);
                        redirect.address.port = service->ports[i].redirect_port;
                        if (r >= 0 && redirect.address.udp)
                                r = claim(list, redirect);
                }
        }
        for (char **text = service->listen; text && *text && r >= 0; text++) {
                Claim ours = { .entry = entry, .text = *text };

                if (listen_address_from_string(&ours.address, *text) >= 0)
                        r = claim(list, ours);
        }
        return r;
}

/* Which claims can clash at all: those of the same protocol and port, or with the same path. */
static int compare_places(const Claim *a, const Claim *b) {
        bool a_unix = a->address.family == AF_UNIX, b_unix = b->address.family == AF_UNIX;

        if (a_unix || b_unix)
                return a_unix && b_unix ? strcmp(a->address.path, b->address.path) : a_unix - b_unix;
        if (a->address.udp != b->address.udp)
                return a->address.udp - b->address.udp;
        return (int) a->address.port - (int) b->address.port;
}

static int compare_addresses(const ListenAddress *a, const ListenAddress *b) {
        if (a->family != b->family)
                return b->family - a->family; /* IPv6 first: its wildcard is in the way of both */
        if (a->family == AF_INET)
                return memcmp(&a->ipv4, &b->ipv4, sizeof(a->ipv4));
        return a->family == AF_INET6 ? memcmp(&a->ipv6, &b->ipv6, sizeof(a->ipv6)) : 0;
}

static int compare_claims(const void *x, const void *y) {
        const Claim *a = x, *b = y;
        int r;

        r = compare_places(a, b);
        if (r == 0)
                r = listen_address_is_wildcard(&b->address) - listen_address_is_wildcard(&a->address);
        if (r == 0)
                r = a->published - b->published;
        if (r == 0)
                r = compare_addresses(&a->address, &b->address);
        if (r == 0)
                r = (a->entry->service.order > b->entry->service.order) -
                    (a->entry->service.order < b->entry->service.order);
        return r;
}

/* The wildcard of IPv6 takes IPv4 as well. */
static bool covers(const ListenAddress *a, const ListenAddress *b) {
        return listen_address_is_wildcard(a) && (a->family == AF_INET6 || a->family == b->family);
}

static bool claims_clash(const Claim *a, const Claim *b) {
        if (compare_places(a, b) != 0 || (a->published && b->published))
                return false;
        if (a->published || b->published)
                /* Where a container publishes is not known here: only a socket on all addresses is surely in
                 * its way. */
                return listen_address_is_wildcard(a->published ? &b->address : &a->address);
        return compare_addresses(&a->address, &b->address) == 0 || covers(&a->address, &b->address) ||
               covers(&b->address, &a->address);
}

static void claim_describe(const Claim *claim, char *buffer, size_t size) {
        if (claim->text)
                (void) snprintf(buffer, size, "the 'listen' address \"%s\"", claim->text);
        else if (claim->published)
                (void) snprintf(buffer, size, "the %s %u", claim->further ? "further port" : "'port'",
                                claim->address.port);
        else
                (void) snprintf(buffer, size, "the redirect port %u", claim->address.port);
}

static void refuse_clash(Draft *draft, const Claim *a, const Claim *b) {
        bool a_is_late = a->entry == b->entry ? b->published : a->entry->service.order > b->entry->service.order;
        const Claim *late = a_is_late ? a : b, *early = a_is_late ? b : a;
        const Service *service = &late->entry->service;
        JsonPath path_service = json_path_member(&path_services, service->name), path;
        char what[160], value[140];

        path = json_path_member(&path_service, late->text        ? "listen"
                                               : late->further   ? "ports"
                                               : late->published ? "port"
                                                                 : "redirectPort");
        claim_describe(early, what, sizeof(what));
        if (late->text)
                (void) snprintf(value, sizeof(value), "\"%s\"", late->text);
        else
                (void) snprintf(value, sizeof(value), "%u", late->address.port);

        draft_refuse(draft, late->entry, &path, value, "clashes with %s of service '%s'", what,
                     early->entry->service.name);
}

static int check_claims(Draft *draft) {
        ClaimList list = {};
        size_t wildcards = 0;
        int r = 0;

        for (size_t i = 0; i < draft->n_services && r >= 0; i++)
                if (!draft->services[i].broken)
                        r = claim_all(&list, &draft->services[i]);
        if (list.n_claims > 1)
                qsort(list.claims, list.n_claims, sizeof(Claim), compare_claims);

        /* `wildcards` is the first claim of this place: whatever clashes does so with that one or with its
         * neighbour. */
        for (size_t i = 1; i < list.n_claims && r >= 0; i++) {
                const Claim *claim_i = &list.claims[i];

                if (compare_places(&list.claims[wildcards], claim_i) != 0)
                        wildcards = i;
                else if (claims_clash(&list.claims[wildcards], claim_i))
                        refuse_clash(draft, &list.claims[wildcards], claim_i);
                else if (claims_clash(&list.claims[i - 1], claim_i))
                        refuse_clash(draft, &list.claims[i - 1], claim_i);
        }
        free(list.claims);
        return r;
}

/* The services on the path from `entry` to itself, by name. */
static char *describe_cycle(DraftService *const *route, size_t n_route, const DraftService *entry) {
        char *text = NULL;
        size_t size, from = 0;
        FILE *out;

        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        while (from < n_route && route[from] != entry)
                from++;
        for (; from < n_route; from++)
                fprintf(out, "%s → ", route[from]->service.name);
        fputs(entry->service.name, out);
        if (fclose(out) != 0)
                return mfree(text);
        return text;
}

typedef struct Search {
        Draft *draft;
        DraftService **route;
        size_t n_route;
} Search;

static void refuse_reference(Search *search, DraftService *entry, size_t i, const char *text, const char *more) {
        JsonPath service = json_path_member(&path_services, entry->service.name);
        JsonPath list = json_path_member(&service, "dependencies");
        JsonPath element = json_path_element(&list, i);
        JsonPath path = json_path_member(&element, "service");
        char value[SERVICE_NAME_MAX + 3];

        (void) snprintf(value, sizeof(value), "\"%s\"", entry->service.dependencies[i].name);
        draft_refuse(search->draft, entry, &path, value, "%s%s", text, strempty(more));
}

static void refuse_unknown(Search *search, DraftService *entry, size_t i) {
        Nearest nearest = nearest_to(entry->service.dependencies[i].name);
        char hint[NEAREST_HINT_MAX];

        if (!problem_list_is_full(search->draft->problems))
                for (size_t k = 0; k < search->draft->n_services; k++)
                        nearest_offer(&nearest, search->draft->services[k].service.name);
        refuse_reference(search, entry, i, "no such service", nearest_hint(&nearest, hint));
}

/* After this, `entry` is broken if anything that it holds is. The recursion is as deep as there are services,
 * at most. */
static void follow(Search *search, DraftService *entry) {
        entry->visited = entry->on_path = true;
        search->route[search->n_route++] = entry;

        for (size_t i = 0; i < entry->service.n_dependencies; i++) {
                const Dependency *dependency = &entry->service.dependencies[i];
                DraftService *next;

                if (dependency->kind != DEPENDENCY_SERVICE || !dependency->name)
                        continue;
                /* One that is remembered is there to listen, whatever has become of what it needs. */
                if (entry->source)
                        continue;
                next = draft_find(search->draft, dependency->name);
                if (!next) {
                        refuse_unknown(search, entry, i);
                        continue;
                }
                if (next->on_path) {
                        _cleanup_free_ char *cycle = NULL;

                        if (!problem_list_is_full(search->draft->problems))
                                cycle = describe_cycle(search->route, search->n_route, next);
                        refuse_reference(search, entry, i, "services wait for each other: ", cycle);
                        problem_list_mark_cycle(search->draft->problems);
                        continue;
                }
                if (!next->visited)
                        follow(search, next);
                if (next->broken)
                        refuse_reference(search, entry, i, "this service has errors itself", NULL);
        }
        search->n_route--;
        entry->on_path = false;
}

static int check_references(Draft *draft) {
        Search search = { .draft = draft, .route = new0(DraftService *, draft->n_services + 1) };

        if (!search.route)
                return -ENOMEM;
        for (size_t i = 0; i < draft->n_services; i++)
                if (!draft->services[i].visited)
                        follow(&search, &draft->services[i]);
        free(search.route);
        return 0;
}

int services_check(Draft *draft) {
        int r;

        refuse_doubles(draft);
        r = redirect_ports_assign(draft);
        if (r >= 0)
                r = virtual_addresses_assign(draft);
        if (r >= 0)
                r = check_claims(draft);
        if (r < 0)
                return r;
        return check_references(draft);
}
