#pragma once

/* ComposeYaml: YAML, as docker-compose v1 prints it, read into JSON objects. */

#include <json-c/json.h>
#include "util/macro.h"

/* The first document; all scalars are strings, but for an empty one and `null`. -EBADMSG if it is no YAML, or too much. The
 * caller puts it. */
int compose_yaml_read(json_object **ret, const char *text, size_t size);
