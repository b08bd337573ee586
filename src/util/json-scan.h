#pragma once

/* JSON scan: reads a text as RFC 8259 has it, before a lenient parser does, and says where it is wrong. */

#include "util/json-path.h"

#define JSON_DEPTH_MAX 64 /* objects and arrays within one another */
#define JSON_SIZE_MAX (16 * 1024 * 1024)
#define JSON_MEMBERS_MAX 10000 /* of one object: many in one are slow to build, too */
#define JSON_VALUES_MAX 500000 /* building them takes json-c about a µs each */

typedef struct JsonMistake {
        unsigned line; /* from 1 */
        unsigned column; /* from 1, in bytes */
        const char *text; /* what was expected or found; a literal */
} JsonMistake;

/* Called for each member that its object has already: the path of the member, and where its name stands. A
 * negative return ends the scan. */
typedef int (*JsonDuplicateHandler)(const JsonPath *path, unsigned line, unsigned column, void *userdata);

/* The whole text must be one value, of at most JSON_SIZE_MAX bytes, in valid UTF-8, at most JSON_DEPTH_MAX
 * deep; with that, member names have no NUL. -EBADMSG otherwise, and `reterr` is set; -EFBIG if longer;
 * -ENOMEM; or the handler's error. */
int json_scan(const char *text, size_t size, JsonDuplicateHandler handler, void *userdata, JsonMistake *reterr);

/* json_scan(), then the value itself. A number that is too large comes out as the nearest that fits. The caller
 * puts it. */
int json_read(json_object **ret, const char *text, size_t size, JsonDuplicateHandler handler, void *userdata,
              JsonMistake *reterr);
