#pragma once

/* Asset: a file of src/web/assets/ as part of the program, by its name there ("page/page.css"). */

#include "util/macro.h"

/* False if there is none. All of it is constant; the data ends in a NUL that the size does not count. */
bool asset_find(const char *name, const char **ret_data, size_t *ret_size, const char **ret_type);

/* A strong entity tag, quotes included, that changes with the content. NULL if there is no such asset. */
const char *asset_etag(const char *name);
