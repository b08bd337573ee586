#include "web/asset.h"
#include "web/asset-table.h"

/* Asset: looked up in the table that embed.py makes of the files. */

static int compare(const void *name, const void *asset) {
        return strcmp(name, ((const Asset *) asset)->name);
}

static const Asset *lookup(const char *name) {
        assert(name);

        return bsearch(name, asset_table, asset_table_length, sizeof(asset_table[0]), compare);
}

bool asset_find(const char *name, const char **ret_data, size_t *ret_size, const char **ret_type) {
        const Asset *asset = lookup(name);

        if (!asset)
                return false;
        if (ret_data)
                *ret_data = (const char *) asset->data;
        if (ret_size)
                *ret_size = asset->size;
        if (ret_type)
                *ret_type = asset->type;
        return true;
}

const char *asset_etag(const char *name) {
        const Asset *asset = lookup(name);

        return asset ? asset->etag : NULL;
}
