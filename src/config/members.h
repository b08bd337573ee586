#pragma once

/* Members of a service: from JSON to the model, each by itself. */

#include "config/draft.h"

/* Fills draft->current from its object. */
int service_read(Draft *draft, const JsonPath *path, json_object *object);
/* Reports what is wrong with `defaults`, at no service's cost. */
int service_check_defaults(Draft *draft, const JsonPath *path, json_object *object);
