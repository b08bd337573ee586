#pragma once

/* Redirect snapshot: what the table `inet wakechain` holds, read from nft's JSON. For redirect.c and its test. */

#include "util/macro.h"

#define REDIRECT_TABLE "inet wakechain"
#define REDIRECT_CHAIN_PREFIX "service-"
#define REDIRECT_TARGETS "targets" /* the set of redirect ports; each element's comment names the service */

typedef struct SnapshotElement {
        char *set; /* name of the map, or REDIRECT_TARGETS */
        char *key; /* as in a command: "9002", "192.168.1.5 . 9002" */
        char *service; /* whose it is; "" if that cannot be told */
} SnapshotElement;

typedef struct SnapshotService {
        char *name;
        uint16_t redirect_port; /* where its chain sends connections; 0: it is lifted, or empty */
        uint64_t new_connections; /* of its counter */
        bool chain, counter; /* which of both there are */
} SnapshotService;

typedef struct RedirectSnapshot {
        bool complete; /* chains with their rules, maps and the set are there */
        SnapshotElement *elements; /* sorted by set and key */
        size_t n_elements;
        SnapshotService *services; /* sorted by name */
        size_t n_services;
} RedirectSnapshot;

/* `text` is what `list table`, or several commands for parts of it, say with JSON output. -EBADMSG, -ENOMEM. */
int redirect_snapshot_parse(RedirectSnapshot **ret, const char *text);
/* An empty one: there is no table. */
int redirect_snapshot_new(RedirectSnapshot **ret);
RedirectSnapshot *redirect_snapshot_free(RedirectSnapshot *snapshot);
DEFINE_CLEANUP(RedirectSnapshot *, redirect_snapshot_free);

/* NULL if there is none. */
const SnapshotElement *redirect_snapshot_element(const RedirectSnapshot *snapshot, const char *set,
                                                 const char *key);
const SnapshotService *redirect_snapshot_service(const RedirectSnapshot *snapshot, const char *name);
