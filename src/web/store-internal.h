#pragma once

/* Store entry: what the store knows of one service. */

#include "web/describe.h"
#include "web/store.h"

typedef enum ItemKind {
        ITEM_SERVICE, /* service-update */
        ITEM_OBJECT, /* the object of the API */
        ITEM_PARTS, /* dependency-update: from here on, one each */
} ItemKind;

typedef struct Item {
        uint64_t version;
        char *key; /* what has to change to be a change */
        char *text, *nameless;
} Item;

struct StoreEntry {
        char *name;
        const Service *service; /* borrowed */
        const char *root; /* borrowed */
        uint64_t *version; /* the last change of anything, borrowed */
        Plan *plan;
        Status *status;
        Described described;
        uint64_t begun_usec; /* of a wake under way, CLOCK_MONOTONIC */
        Item *items;
        size_t n_items;
        bool stale; /* the texts are older than the status */
};

/* `version` counts on at each change. All but `ret` are borrowed, and outlive it. */
int store_entry_new(StoreEntry **ret, const Service *service, const char *root, uint64_t *version);
StoreEntry *store_entry_free(StoreEntry *entry);
DEFINE_CLEANUP(StoreEntry *, store_entry_free);

/* Takes over the status file. */
int store_entry_read(StoreEntry *entry);
/* Brings the texts up to date. Positive if anything has changed. */
int store_entry_update(StoreEntry *entry);
