#pragma once

/* Checks of what members and services mean together, after each member was checked by itself. They find fault with services of a
 * draft, and complete them. */

#include "config/draft.h"

/* service-checks.c: of draft->current. `object` tells what was given, though it may have been refused. -ENOMEM. */
int service_check(Draft *draft, const JsonPath *path, json_object *object);

/* redirect-ports.c: a redirect port for each service that needs one. Once they are sorted. -ENOMEM. */
int redirect_ports_assign(Draft *draft);

/* virtual-addresses.c: an address for the names of each service that has any. Once they are sorted. -ENOMEM. */
bool virtual_addresses_fit(const AddressPrefix *prefix);
int virtual_addresses_assign(Draft *draft);

/* cross-checks.c: of all services: names, addresses, who waits for whom. Once they are sorted, and have their ports. -ENOMEM. */
int services_check(Draft *draft);
