#pragma once

/* JSON tables: what members an object may have, one row each. The walker fills a struct by the rows, goes on
 * after a mistake and reports each with its path, among them members that no row knows. */

#include "util/json-path.h"

typedef struct JsonField JsonField;
typedef struct JsonKind JsonKind;
typedef struct JsonWalk JsonWalk;

/* Stores a value that has one of the kind's types. 0, or: 1 if it is refused and that has been reported;
 * -EINVAL or -ERANGE if it is refused, and the walker reports it with the kind's `expected`; -ENOMEM ends the
 * walk. A refused value leaves the member as it was. */
typedef int (*JsonParse)(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                         void *member);

typedef struct JsonName {
        const char *name;
        int value;
} JsonName;

#define JSON_TYPE(name) (1u << json_type_##name)
#define JSON_TYPE_NUMBER (JSON_TYPE(int) | JSON_TYPE(double))
#define JSON_TYPE_ANY (~0u)

/* What a value is: "a TCP port", "a duration". */
struct JsonKind {
        unsigned types;
        JsonParse parse;
        const char *expected; /* goes on after "expected " */
        int64_t minimum, maximum; /* of integers; of a list: how many elements */
        size_t longest; /* of strings, bytes; 0: JSON_STRING_MAX */
        bool (*valid)(const char *text); /* of strings; NULL: any */
        const JsonName *names; /* of enums, ended by an empty row */

        /* For the schema alone: what a parser does by itself. */
        const char *pattern; /* of strings: what `valid` wants, as nearly as a regular expression says it */
        const JsonKind *element; /* of a list, or of an object whose names are the user's */
        const JsonField *fields; /* of an object */
        const void *initial; /* what the target of these rows is where nothing is given; NULL: all of it 0 */
};

#define JSON_STRING_MAX 1024

typedef enum JsonFlag {
        JSON_MANDATORY = 1 << 0,
        JSON_OWN = 1 << 1, /* refused where JsonWalk.own says so */
        JSON_GUARD = 1 << 2, /* an object does not do without it because the one it falls back on is wrong */
        JSON_MARKED = 1 << 3, /* reported to JsonWalk.marked */
        JSON_MARKED_UNLESS = 1 << 4, /* the same, but not if the member is an enum that comes out as `plain` */
} JsonFlag;

struct JsonField {
        const char *name; /* NULL: the end of the table */
        const JsonKind *kind;
        size_t offset;
        unsigned flags;
        int plain;
        const char *help; /* one sentence, which editors show */
};

/* A mistake. `value` means nothing if it is `missing`. `text` is NULL if the walk is terse. */
typedef void (*JsonProblemHandler)(JsonWalk *walk, const JsonPath *path, bool missing, json_object *value,
                                   const char *text);

struct JsonWalk {
        JsonProblemHandler problem;
        int (*marked)(JsonWalk *walk, const JsonPath *path); /* may be NULL */
        const char *own; /* why JSON_OWN members are refused; NULL: they are not */
        bool terse; /* problems are only counted: save the trouble to describe them */
        bool muted; /* they were reported before */
};

/* What a walk reads: `object`, and where it lacks a member, `fallback` (NULL: none). */
typedef struct JsonSource {
        const JsonPath *path;
        json_object *object;
        const JsonPath *fallback_path;
        json_object *fallback;
} JsonSource;

/* 0, whatever was reported; negative errno only if it could not be carried out. */
int json_table_walk(JsonWalk *walk, const JsonField *fields, const JsonSource *source, void *target);

/* Reports a mistake at a value. */
void json_walk_refuse(JsonWalk *walk, const JsonPath *path, json_object *value, const char *format, ...)
                _printf_(4, 5);

/* x-…, $…, _…, //…, comment…: members that belong to somebody else, or are notes. */
bool json_name_is_private(const char *name);

/* An integer within the kind's bounds, also as 2000.0 or 2e3. -EINVAL if it is none, -ERANGE if out of bounds. */
int json_get_integer(json_object *value, int64_t minimum, int64_t maximum, int64_t *ret);
/* The text of a string without a NUL in it, of at most `longest` bytes (0: JSON_STRING_MAX); NULL if it is
 * none. */
const char *json_get_text(json_object *value, size_t longest);

/* Parsers for the kinds of members that every table has: bool, int, char *, char **, and an enum. */
int json_parse_bool(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member);
int json_parse_int(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value, void *member);
int json_parse_text(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member);
/* One string or a list of them. */
int json_parse_texts(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                     void *member);
int json_parse_name(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                    void *member);

/* A kind that is one of these { name, value }. */
#define JSON_KIND_OF_NAMES(kind, expected_text, ...)                \
        static const JsonName kind##_names[] = { __VA_ARGS__, {} }; \
        static const JsonKind kind = { JSON_TYPE(string), json_parse_name, expected_text, .names = kind##_names }
