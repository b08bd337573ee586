#pragma once

/* What embed.py writes and asset.c reads: all assets, sorted by name. */

#include "util/macro.h"

typedef struct Asset {
        const char *name;
        const char *type;
        const char *etag;
        const unsigned char *data;
        size_t size;
} Asset;

extern const Asset asset_table[];
extern const size_t asset_table_length;
