#include <arpa/inet.h>

#include "config/checks.h"
#include "config/document.h"

/* Virtual addresses: what the names of a service mean while it sleeps. They are cached by those who ask for them, some for ever, so they are
 * to stay the same over boots, and to depend on as little as possible of what else is in the files; that is had in the
 * same way as with redirect ports: each follows from the service's name, and of two that want the same one, it is had by the one that
 * appeared first, and the other one has the next that is free. */

#define ADDRESSES "198.18.0.0/15"
#define LENGTH_MIN 8
#define LENGTH_MAX 30 /* more than the network's own and its broadcast address */

bool virtual_addresses_fit(const AddressPrefix *prefix) {
        return prefix->family == AF_INET && prefix->length >= LENGTH_MIN && prefix->length <= LENGTH_MAX;
}

/* FNV-1a: any hash would do, as long as it stays the same one. */
static uint32_t hash_text(uint32_t hash, const char *text) {
        for (; *text; text++)
                hash = (hash ^ (uint8_t) *text) * 16777619;
        return hash;
}

/* `container` NULL: the service's own. */
static uint32_t hash_of(const Service *service, const char *container) {
        uint32_t hash = hash_text(2166136261, service->name);

        return container ? hash_text(hash_text(hash, "/"), container) : hash;
}

static void address_write(char ret[static INET_ADDRSTRLEN], const AddressPrefix *prefix, uint32_t place) {
        uint32_t network = ntohl(prefix->ipv4.s_addr) & UINT32_MAX << (32 - prefix->length);
        struct in_addr address = { htonl(network + 1 + place) };

        (void) inet_ntop(AF_INET, &address, ret, INET_ADDRSTRLEN);
}

static void refuse(Draft *draft, DraftService *entry) {
        JsonPath service = json_path_member(&path_services, entry->service.name);
        JsonPath path = json_path_member(&service, "names");

        draft_refuse(draft, entry, &path, NULL,
                     "no address of 'names.addresses' is free for it: expected false, or a larger network there");
}

typedef struct Places {
        const AddressPrefix *prefix;
        uint32_t n, n_taken;
        bool *taken;
} Places;

/* False: all are taken. */
static bool take_place(Places *places, char ret[static INET_ADDRSTRLEN], uint32_t hash) {
        uint32_t place = hash % places->n;

        if (places->n_taken == places->n)
                return false;
        while (places->taken[place])
                place = (place + 1) % places->n;
        places->taken[place] = true;
        places->n_taken++;
        address_write(ret, places->prefix, place);
        return true;
}

int virtual_addresses_assign(Draft *draft) {
        AddressPrefix *prefix = &draft->config.names_addresses;
        _cleanup_free_ DraftService **entries = NULL;
        _cleanup_free_ bool *taken = NULL;
        Places places;

        if (prefix->family == 0)
                (void) address_prefix_parse(prefix, ADDRESSES);
        places = (Places){ .prefix = prefix, .n = (UINT32_C(1) << (32 - prefix->length)) - 2 };
        entries = new0(DraftService *, draft->n_services + 1);
        places.taken = taken = new0(bool, places.n);
        if (!entries || !taken)
                return -ENOMEM;
        for (size_t i = 0; i < draft->n_services; i++)
                entries[draft->services[i].service.order] = &draft->services[i];
        /* First those that each service has, whatever lists somebody adds. */
        for (size_t i = 0; i < draft->n_services; i++) {
                Service *service = &entries[i]->service;

                if (service_has_names(service) &&
                    !take_place(&places, service->virtual_address, hash_of(service, NULL)))
                        refuse(draft, entries[i]);
        }
        for (size_t i = 0; i < draft->n_services; i++) {
                Service *service = &entries[i]->service;
                bool had = *service->virtual_address;

                for (size_t k = 0; k < service->n_named && had; k++) {
                        NamedContainer *named = &service->named[k];

                        had = take_place(&places, named->virtual_address, hash_of(service, named->container));
                        if (!had)
                                refuse(draft, entries[i]);
                }
        }
        return 0;
}
