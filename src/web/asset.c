#include "web/asset.h"

/* Asset: looked up in the table that embed.py makes of the files. */

static int compare(const void *name, const void *asset) {
        return strcmp(name, ((const Asset *) asset)->name);
}

const Asset *asset_find(const char *name) {
        return bsearch(name, asset_table, asset_table_length, sizeof(asset_table[0]), compare);
}
