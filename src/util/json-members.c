#include "util/json-members.h"

/* JSON members, over json-c, which does not say so when it has no memory for a string, and whose objects refuse to be asked when they are
 * something else. */

json_object *json_free(json_object *object) {
        (void) json_object_put(object);
        return NULL;
}

json_object *json_member(json_object *object, const char *name) {
        json_object *value = NULL;

        if (json_object_is_type(object, json_type_object))
                (void) json_object_object_get_ex(object, name, &value);
        return value;
}

json_object *json_member_of(json_object *object, const char *name, json_type type) {
        json_object *value = json_member(object, name);

        return json_object_is_type(value, type) ? value : NULL;
}

const char *json_text(json_object *value) {
        const char *text;

        if (!json_object_is_type(value, json_type_string))
                return NULL;
        text = json_object_get_string(value);
        return strlen(text) == (size_t) json_object_get_string_len(value) ? text : NULL;
}

const char *json_member_text(json_object *object, const char *name) {
        return json_text(json_member(object, name));
}

bool json_member_is_true(json_object *object, const char *name) {
        return json_object_get_boolean(json_member_of(object, name, json_type_boolean));
}

bool json_add(json_object *object, const char *name, json_object *value) {
        if (object && value && json_object_object_add(object, name, value) >= 0)
                return true;
        (void) json_object_put(value);
        return false;
}

bool json_add_text(json_object *object, const char *name, const char *text) {
        return text ? json_add(object, name, json_object_new_string(text)) : json_add_null(object, name);
}

bool json_add_number(json_object *object, const char *name, uint64_t number) {
        return json_add(object, name, json_object_new_int64((int64_t) MIN(number, (uint64_t) INT64_MAX)));
}

bool json_add_null(json_object *object, const char *name) {
        return object && json_object_object_add(object, name, NULL) >= 0;
}

bool json_append(json_object *array, json_object *value) {
        if (array && value && json_object_array_add(array, value) >= 0)
                return true;
        (void) json_object_put(value);
        return false;
}

json_object *json_new_texts(char *const *list) {
        json_object *array = json_object_new_array();
        bool fine = array;

        for (; fine && list && *list; list++)
                fine = json_append(array, json_object_new_string(*list));
        return json_built(array, fine);
}

json_object *json_built(json_object *object, bool fine) {
        return fine ? object : json_free(object);
}

const char *json_print(json_object *object, size_t *ret_size) {
        size_t size;

        return object ? json_object_to_json_string_length(object,
                                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                          ret_size ?: &size)
                      : NULL;
}
