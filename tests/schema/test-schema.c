#include "../unit/test.h"
#include "config/config.h"
#include "config/kinds.h"
#include "config/loader.h"
#include "config/members.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/text.h"

/* docs/dependencies.schema.json is what the parser's tables say: members, kinds, ranges, defaults and help. What they do not, because
 * functions check it, is added from rules.json, by the path of the object: "" is the file, a.* any member that the user names, a[] an
 * element. With WAKECHAIN_UPDATE_GOLDEN=1 it is written instead. Whether it says what the parser does is shown by ./agree. */

static json_object *rules; /* those that are not used yet */

static json_object *of_kind(const JsonKind *kind, const char *path);

static void add(json_object *object, const char *name, json_object *value) {
        ASSERT_TRUE(json_add(object, name, value));
}

static json_object *new_type(const char *type) {
        json_object *object = json_object_new_object();

        ASSERT_TRUE(json_add_text(object, "type", type));
        return object;
}

static char *path_below(const char *path, const char *name) {
        char *below = text_printf("%s%s%s", path, path[0] != '\0' && name[0] != '[' ? "." : "", name);

        ASSERT_TRUE(below);
        return below;
}

/* Known to be such by how they are read. NULL: none, or one that the member could not be given. */
static json_object *initial_value(const JsonKind *kind, const void *member) {
        if (kind->parse == json_parse_bool)
                return json_object_new_boolean(*(const bool *) member);
        if (kind->parse == json_parse_int)
                return *(const int *) member < kind->minimum ? NULL : json_object_new_int(*(const int *) member);
        if (kind->parse == kind_duration.parse)
                return *(const uint64_t *) member == USEC_INFINITY || *(const uint64_t *) member == 0
                                       ? NULL
                                       : json_object_new_int64(
                                                         (int64_t) (*(const uint64_t *) member / USEC_PER_MSEC));
        if (kind->parse == json_parse_name)
                for (const JsonName *name = kind->names; name->name; name++)
                        if (name->value == *(const int *) member)
                                return json_object_new_string(name->name);
        return NULL;
}

static json_object *of_names(const JsonKind *kind) {
        json_object *object = json_object_new_object(), *list = json_object_new_array();

        for (const JsonName *name = kind->names; name->name; name++)
                ASSERT_TRUE(json_append(list, json_object_new_string(name->name)));
        add(object, "enum", list);
        return object;
}

static json_object *of_text(const JsonKind *kind) {
        json_object *object = new_type("string");

        ASSERT_TRUE(kind->pattern);
        add(object, "pattern", json_object_new_string(kind->pattern));
        add(object, "maxLength", json_object_new_uint64(kind->longest > 0 ? kind->longest : JSON_STRING_MAX));
        return object;
}

static json_object *of_list(const JsonKind *kind, const char *path) {
        _cleanup_free_ char *below = path_below(path, "[]");
        json_object *object = new_type("array");

        add(object, "items", kind->element ? of_kind(kind->element, below) : of_text(kind));
        if (kind->minimum > 0)
                add(object, "minItems", json_object_new_int64(kind->minimum));
        add(object, "maxItems", json_object_new_int64(kind->maximum));
        return object;
}

static json_object *of_number(const JsonKind *kind) {
        json_object *object = new_type("integer");

        add(object, "minimum", json_object_new_int64(kind->minimum));
        add(object, "maximum", json_object_new_int64(kind->maximum));
        return object;
}

static json_object *of_member(const JsonField *field, const void *initial, const char *path) {
        _cleanup_free_ char *below = path_below(path, field->name);
        json_object *object = of_kind(field->kind, below), *value;

        if (!field->help)
                TEST_FAIL("'%s' has no help", below);
        add(object, "description", json_object_new_string(field->help));
        value = initial ? initial_value(field->kind, (const uint8_t *) initial + field->offset) : NULL;
        if (value)
                add(object, "default", value);
        return object;
}

static json_object *of_fields(const JsonField *fields, const void *initial, const char *path) {
        json_object *object = new_type("object"), *members = json_object_new_object(),
                    *required = json_object_new_array(), *private = json_object_new_object();

        for (const JsonField *field = fields; field->name; field++) {
                if (streq(path, "defaults") && (field->flags & JSON_OWN))
                        continue;
                add(members, field->name, of_member(field, initial, path));
                if (field->flags & JSON_MANDATORY)
                        ASSERT_TRUE(json_append(required, json_object_new_string(field->name)));
        }
        add(object, "properties", members);
        if (json_object_array_length(required) > 0)
                add(object, "required", required);
        else
                json_object_put(required);
        add(private, "^([$_]|x-|//|comment)", json_object_new_object());
        add(object, "patternProperties", private);
        add(object, "additionalProperties", json_object_new_boolean(false));
        return object;
}

/* Whose members have names of the user's. */
static json_object *of_named(const JsonKind *kind, const char *path) {
        _cleanup_free_ char *below = path_below(path, "*");
        json_object *object = new_type("object"), *members = json_object_new_object();

        add(members, kind->pattern, of_kind(kind->element, below));
        add(object, "patternProperties", members);
        add(object, "additionalProperties", json_object_new_boolean(false));
        add(object, "maxProperties", json_object_new_int(CONFIG_SERVICES_MAX));
        return object;
}

static json_object *of_object(const JsonKind *kind, const char *path) {
        if (kind->fields)
                return of_fields(kind->fields, kind->initial, path);
        return kind->pattern ? of_named(kind, path) : of_object(kind->element, path);
}

static void add_rules(json_object *object, const char *path) {
        json_object *more;

        if (!json_object_object_get_ex(rules, path, &more))
                return;
        json_object_object_foreach(more, name, value) add(object, name, json_object_get(value));
        json_object_object_del(rules, path);
}

static json_object *of_kind(const JsonKind *kind, const char *path) {
        json_object *either = json_object_new_array(), *object;

        ASSERT_TRUE(either);
        if (kind->names)
                ASSERT_TRUE(json_append(either, of_names(kind)));
        else if (kind->types & JSON_TYPE(string))
                ASSERT_TRUE(json_append(either, of_text(kind)));
        if (kind->types & JSON_TYPE(boolean))
                ASSERT_TRUE(json_append(either, new_type("boolean")));
        if (kind->types & JSON_TYPE(int))
                ASSERT_TRUE(json_append(either, of_number(kind)));
        if (kind->types & JSON_TYPE(array))
                ASSERT_TRUE(json_append(either, of_list(kind, path)));
        if (kind->types & JSON_TYPE(object))
                ASSERT_TRUE(json_append(either, of_object(kind, path)));

        if (json_object_array_length(either) == 1) {
                object = json_object_get(json_object_array_get_idx(either, 0));
                json_object_put(either);
        } else {
                object = json_object_new_object();
                add(object, "anyOf", either);
        }
        add_rules(object, path);
        return object;
}

int main(int argc, char **argv) {
        _cleanup_(json_freep) json_object *schema = json_object_new_object();
        _cleanup_free_ char *text = NULL, *expected = NULL;
        json_object *top;

        ASSERT_EQ(argc, 3);
        rules = json_object_from_file(argv[1]);
        ASSERT_TRUE(rules);
        ASSERT_TRUE(json_add_text(schema, "$schema", "http://json-schema.org/draft-07/schema#"));
        ASSERT_TRUE(json_add_text(schema, "title", "dependencies.json"));
        ASSERT_TRUE(json_add_text(schema, "description",
                                  "Which stacks sleep, and how they are woken: wakechain.json(5)."));
        top = of_fields(config_fields, NULL, "");
        json_object_object_foreach(top, name, value) add(schema, name, json_object_get(value));
        json_object_put(top);
        add_rules(schema, "");
        json_object_object_foreach(rules, unused, rule)
                        TEST_FAIL("rules.json: there is no '%s'%s", unused, rule ? "" : " and it is null");
        json_object_put(rules);

        text = text_printf("%s\n",
                           json_object_to_json_string_ext(schema, JSON_C_TO_STRING_PRETTY |
                                                                                  JSON_C_TO_STRING_SPACED |
                                                                                  JSON_C_TO_STRING_NOSLASHESCAPE));
        ASSERT_TRUE(text);
        if (streq(strempty(getenv("WAKECHAIN_UPDATE_GOLDEN")), "1")) {
                ASSERT_OK(file_replace(argv[2], text, strlen(text), 0644, false));
                return EXIT_SUCCESS;
        }
        ASSERT_OK(file_read(argv[2], CONFIG_SIZE_MAX, &expected, NULL));
        if (!streq(expected, text))
                TEST_FAIL("%s is not what the tables say; WAKECHAIN_UPDATE_GOLDEN=1 writes it anew", argv[2]);
        return EXIT_SUCCESS;
}
