#include <math.h>
#include <stdarg.h>

#include "util/json-members.h"
#include "util/json-table.h"
#include "util/nearest.h"
#include "util/strv.h"
#include "util/text.h"

/* JSON tables. The rows are few and looked up one after the other; what costs with a hostile file is to
 * describe mistakes, and that stops when the walk becomes terse. Whatever a value is refused for, the walk goes
 * on with the next member. */

_printf_(5, 0) static void report(JsonWalk *walk, const JsonPath *path, bool missing, json_object *value,
                                  const char *format, va_list arguments) {
        _cleanup_free_ char *text = NULL;

        if (walk->muted)
                return;
        if (!walk->terse)
                text = text_vprintf(format, arguments);
        walk->problem(walk, path, missing, value, text);
}

void json_walk_refuse(JsonWalk *walk, const JsonPath *path, json_object *value, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        report(walk, path, false, value, format, arguments);
        va_end(arguments);
}

/* Reports that one is missing. */
static _printf_(3, 4) void json_walk_miss(JsonWalk *walk, const JsonPath *path, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        report(walk, path, true, NULL, format, arguments);
        va_end(arguments);
}

bool json_name_is_private(const char *name) {
        return name[0] == '$' || name[0] == '_' || strncmp(name, "x-", 2) == 0 || strncmp(name, "//", 2) == 0 ||
               strncmp(name, "comment", 7) == 0;
}

static bool has_type(json_object *value, unsigned types) {
        return (types & 1u << json_object_get_type(value)) != 0;
}

static int walk_value(JsonWalk *walk, const JsonField *field, const JsonPath *path, json_object *value,
                      void *target) {
        uint8_t *member = (uint8_t *) target + field->offset;
        int r = -EINVAL;

        if (walk->own && (field->flags & JSON_OWN)) {
                json_walk_refuse(walk, path, value, "%s", walk->own);
                return 1;
        }

        if (has_type(value, field->kind->types))
                r = field->kind->parse(walk, path, field, value, member);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                json_walk_refuse(walk, path, value, "expected %s", field->kind->expected);
        if (r != 0)
                return 1;

        if (walk->marked &&
            ((field->flags & JSON_MARKED) ||
             ((field->flags & JSON_MARKED_UNLESS) && *(const int *) (const void *) member != field->plain)))
                return walk->marked(walk, path);
        return 0;
}

/* A member that the object does not have, but that the one it falls back on may. */
static int walk_absent(JsonWalk *walk, const JsonField *field, const JsonSource *source, void *target) {
        JsonPath path = json_path_member(source->path, field->name), fallback;
        bool muted = walk->muted;
        json_object *value;
        int r;

        if (!source->fallback || (field->flags & JSON_OWN) ||
            !json_object_object_get_ex(source->fallback, field->name, &value)) {
                if ((field->flags & JSON_MANDATORY) && !walk->own)
                        json_walk_miss(walk, &path, "'%s' is missing, expected %s", field->name,
                                       field->kind->expected);
                return 0;
        }

        fallback = json_path_member(source->fallback_path, field->name);
        walk->muted = true;
        r = walk_value(walk, field, &fallback, value, target);
        walk->muted = muted;
        if (r > 0 && (field->flags & JSON_GUARD))
                json_walk_miss(walk, &path, "'%s' in the defaults is wrong, and is not done without", field->name);
        return r;
}

static void refuse_unknown(JsonWalk *walk, const JsonField *fields, const JsonPath *path, const char *name,
                           json_object *value) {
        Nearest nearest = nearest_to(name);
        char hint[NEAREST_HINT_MAX];

        if (!walk->terse)
                for (const JsonField *field = fields; field->name; field++)
                        nearest_offer(&nearest, field->name);
        json_walk_refuse(walk, path, value, "unknown member%s", nearest_hint(&nearest, hint));
}

static bool is_known(const JsonField *fields, const char *name) {
        for (const JsonField *field = fields; field->name; field++)
                if (streq(field->name, name))
                        return true;
        return json_name_is_private(name);
}

int json_table_walk(JsonWalk *walk, const JsonField *fields, const JsonSource *source, void *target) {
        int n_known = 0;

        assert(json_object_is_type(source->object, json_type_object));

        for (const JsonField *field = fields; field->name; field++) {
                json_object *value;
                int r;

                if (json_object_object_get_ex(source->object, field->name, &value)) {
                        JsonPath path = json_path_member(source->path, field->name);

                        n_known++;
                        r = walk_value(walk, field, &path, value, target);
                } else
                        r = walk_absent(walk, field, source, target);
                if (r < 0)
                        return r;
        }

        if (json_object_object_length(source->object) == n_known)
                return 0;
        json_object_object_foreach(source->object, name, value) {
                JsonPath path = json_path_member(source->path, name);

                if (!is_known(fields, name))
                        refuse_unknown(walk, fields, &path, name, value);
        }
        return 0;
}

int json_get_integer(json_object *value, int64_t minimum, int64_t maximum, int64_t *ret) {
        int64_t number;

        if (json_object_is_type(value, json_type_double)) {
                double real = json_object_get_double(value);

                if (!isfinite(real) || real != floor(real))
                        return -EINVAL;
                if (fabs(real) > 9007199254740992.0) /* 2^53: beyond it, not every integer is one */
                        return -ERANGE;
                number = (int64_t) real;
        } else if (json_object_is_type(value, json_type_int))
                number = json_object_get_int64(value); /* what is too large saturates */
        else
                return -EINVAL;

        if (number < minimum || number > maximum)
                return -ERANGE;
        *ret = number;
        return 0;
}

const char *json_get_text(json_object *value, size_t longest) {
        const char *text = json_text(value);

        return text && strlen(text) <= (longest > 0 ? longest : JSON_STRING_MAX) ? text : NULL;
}

static const char *kind_text(const JsonKind *kind, json_object *value) {
        const char *text = json_get_text(value, kind->longest);

        return text && (!kind->valid || kind->valid(text)) ? text : NULL;
}

int json_parse_bool(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member) {
        *(bool *) member = json_object_get_boolean(value);
        return 0;
}

int json_parse_int(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                   void *member) {
        int64_t number;
        int r;

        r = json_get_integer(value, field->kind->minimum, field->kind->maximum, &number);
        if (r < 0)
                return r;
        *(int *) member = (int) number;
        return 0;
}

int json_parse_text(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member) {
        const char *text = kind_text(field->kind, value);
        char *copy;

        if (!text)
                return -EINVAL;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(*(char **) member);
        *(char **) member = copy;
        return 0;
}

int json_parse_texts(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                     void *member) {
        bool is_list = json_object_is_type(value, json_type_array);
        size_t n = is_list ? json_object_array_length(value) : 1;
        _cleanup_(strv_freep) char **texts = NULL;
        bool refused = false;

        if ((int64_t) n < field->kind->minimum || (int64_t) n > field->kind->maximum)
                return -ERANGE;
        for (size_t i = 0; i < n; i++) {
                json_object *element = is_list ? json_object_array_get_idx(value, i) : value;
                JsonPath element_path = json_path_element(path, i);
                const char *text = kind_text(field->kind, element);
                int r;

                if (!text) {
                        json_walk_refuse(walk, is_list ? &element_path : path, element, "expected %s",
                                         field->kind->expected);
                        refused = true;
                        continue;
                }
                r = strv_append(&texts, text);
                if (r < 0)
                        return r;
        }
        if (refused)
                return 1;

        strv_free(*(char ***) member);
        *(char ***) member = TAKE_PTR(texts);
        return 0;
}

int json_parse_name(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member) {
        const char *text = json_get_text(value, 0);
        char hint[NEAREST_HINT_MAX];
        Nearest nearest;

        if (!text)
                return -EINVAL;
        nearest = nearest_to(text);
        for (const JsonName *name = field->kind->names; name->name; name++) {
                if (streq(name->name, text)) {
                        *(int *) member = name->value;
                        return 0;
                }
                nearest_offer(&nearest, name->name);
        }
        json_walk_refuse(walk, path, value, "expected %s%s", field->kind->expected, nearest_hint(&nearest, hint));
        return 1;
}
