#pragma once

/* Members of a service: from JSON to the model, each by itself. */

#include "config/draft.h"

extern const JsonKind kind_members; /* what a service is, and what `defaults` are; it has no parser */

/* Fills draft->current from its object. */
int service_read(Draft *draft, const JsonPath *path, json_object *object);
/* Reports what is wrong with `defaults`, at no service's cost. */
int service_check_defaults(Draft *draft, const JsonPath *path, json_object *object);
