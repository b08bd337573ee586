#pragma once

/* JSON members: values are read without asking what there is, and objects are built without asking after each step. */

#include <json-c/json.h>
#include "util/macro.h"

json_object *json_free(json_object *object);
DEFINE_CLEANUP(json_object *, json_free);

/* Readers: NULL if it is not there, is null, is of another type, or is looked for in what is no object. All is borrowed. */
json_object *json_member(json_object *object, const char *name);
json_object *json_member_of(json_object *object, const char *name, json_type type);
/* A string without a NUL in it. */
const char *json_text(json_object *value);
const char *json_member_text(json_object *object, const char *name);
bool json_member_is_true(json_object *object, const char *name);

/* Builders: the value is taken, whatever becomes of it. False for want of memory, be it that the object or the value is NULL: so
 * they are joined by `&&`, and the last word is json_built(). */
bool json_add(json_object *object, const char *name, json_object *value);
/* NULL is null. */
bool json_add_text(json_object *object, const char *name, const char *text);
bool json_add_number(json_object *object, const char *name, uint64_t number);
bool json_add_null(json_object *object, const char *name);
bool json_append(json_object *array, json_object *value);
/* An array, of none if the list is NULL. */
json_object *json_new_texts(char *const *list);
/* Its text, without a space, as long as the object lasts; `ret_size` may be NULL. NULL: no memory, or no object. */
const char *json_print(json_object *object, size_t *ret_size);
/* The object if all has gone well; it is freed otherwise. */
json_object *json_built(json_object *object, bool fine);
