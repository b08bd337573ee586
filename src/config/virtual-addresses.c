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
static uint32_t first_place(const char *name, uint32_t n_places) {
        uint32_t hash = 2166136261;

        for (; *name; name++)
                hash = (hash ^ (uint8_t) *name) * 16777619;
        return hash % n_places;
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
                     "is missing, and no address of 'names.addresses' is free: expected false, or a larger network there");
}

int virtual_addresses_assign(Draft *draft) {
        AddressPrefix *prefix = &draft->config.names_addresses;
        _cleanup_free_ DraftService **entries = NULL;
        _cleanup_free_ bool *taken = NULL;
        uint32_t n_places;

        if (prefix->family == 0)
                (void) address_prefix_parse(prefix, ADDRESSES);
        n_places = (UINT32_C(1) << (32 - prefix->length)) - 2;
        entries = new0(DraftService *, draft->n_services + 1);
        taken = new0(bool, n_places);
        if (!entries || !taken)
                return -ENOMEM;
        for (size_t i = 0; i < draft->n_services; i++)
                entries[draft->services[i].order] = &draft->services[i];
        for (size_t i = 0, n_taken = 0; i < draft->n_services; i++) {
                Service *service = &entries[i]->service;
                uint32_t place;

                if (!service_has_names(service))
                        continue;
                if (n_taken++ == n_places) {
                        refuse(draft, entries[i]);
                        n_taken--;
                        continue;
                }
                place = first_place(service->name, n_places);
                while (taken[place])
                        place = (place + 1) % n_places;
                taken[place] = true;
                address_write(service->virtual_address, prefix, place);
        }
        return 0;
}
