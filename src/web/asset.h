#pragma once

/* Asset: a file of src/web/assets/ as part of the program, by its name there ("page/page.css"). All of it is constant. */

#include "util/macro.h"

typedef struct Asset {
        const char *name;
        const char *type;
        const char *etag; /* strong, quotes included: changes with the content */
        const char *data; /* ends in a NUL that the size does not count */
        size_t size;
} Asset;

/* What embed.py writes: all of them, sorted by name. */
extern const Asset asset_table[];
extern const size_t asset_table_length;

/* NULL if there is none. */
const Asset *asset_find(const char *name);
