#pragma once

/* ComposeYaml: the YAML that docker-compose v1 prints, read into JSON objects as far as somebody needs it. */

#include <json-c/json.h>
#include "util/macro.h"

/* -EBADMSG if it is no such text. Read are block mappings and, in lists, what stands on the line of the item; all scalars are
 * strings. Of a scalar of several lines there is the first; what cannot be read line by line (quoted ones of them, escapes, aliases)
 * is null. The caller puts it. */
int compose_yaml_read(json_object **ret, const char *text, size_t size);
