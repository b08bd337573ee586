#pragma once

/* JSON path: where in a document something stands, as a chain on the caller's stack that costs nothing until it is
 * printed. */

#include <json-c/json.h>
#include <stdio.h>
#include "util/macro.h"

typedef struct JsonPath {
        const struct JsonPath *parent; /* borrowed; NULL: the document itself */
        const char *name; /* a member's, borrowed, `length` bytes; NULL: an element */
        size_t length;
        size_t index; /* of an element */
} JsonPath;

static inline JsonPath json_path_member(const JsonPath *parent, const char *name) {
        return (JsonPath){ .parent = parent, .name = name, .length = strlen(name) };
}

static inline JsonPath json_path_element(const JsonPath *parent, size_t index) {
        return (JsonPath){ .parent = parent, .index = index };
}

/* services.clemence.dependencies[0].name, or services["a b"].port; "" for NULL. Names are shortened, and never
 * contain a control character. The caller frees. NULL when out of memory. */
char *json_path_to_string(const JsonPath *path);

/* The value as JSON on one short line: long strings are cut, lists and objects only hinted at. The caller
 * frees. NULL when out of memory. */
char *json_value_to_string(json_object *value);
