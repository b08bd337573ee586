#pragma once

/* Store: what is known of the services: the configuration, and the status of each as its waker writes it, both followed as they change. The
 * waker writes at changes only; how far a wake is in between follows from the time. */

#include <systemd/sd-event.h>
#include "model/plan.h"
#include "model/service.h"
#include "model/status.h"

typedef struct Store Store;
typedef struct StoreEntry StoreEntry;

/* A service's status has changed, or its progress while somebody looks; NULL: the configuration has. */
typedef void (*StoreHandler)(Store *store, const char *service, void *userdata);

/* `root` is "" outside of tests. Without a configuration there are no services until there is one. */
int store_new(Store **ret, sd_event *event, const char *root, StoreHandler handler, void *userdata);
Store *store_free(Store *store);
DEFINE_CLEANUP(Store *, store_free);

/* How many want to see progress: while there are any, it is told. */
void store_add_viewer(Store *store);
void store_remove_viewer(Store *store);

/* Of `api` in the configuration. */
bool store_sleep_over_tcp(const Store *store);
char *const *store_api_hosts(const Store *store);

size_t store_length(const Store *store);
/* By its place in the order of names. Up to date, and valid until the loop runs on. */
StoreEntry *store_get(Store *store, size_t i);
/* NULL if there is no such service. */
StoreEntry *store_find(Store *store, const char *service);

const Service *store_entry_service(const StoreEntry *entry);
const Status *store_entry_status(const StoreEntry *entry);
const Plan *store_entry_plan(const StoreEntry *entry);
/* The object of GET /api/services without its closing brace. */
const char *store_entry_object(const StoreEntry *entry);

typedef struct StoreEvent {
        uint64_t version; /* of what has changed: grows with each change of anything */
        const char *name;
        const char *data;
        const StoreEntry *entry; /* whose object it is, which is to be closed; NULL: the data is whole */
        bool is_service; /* the state of a service, not of a part of it */
} StoreEvent;

/* The oldest change after `after` that is still so: of one service, or of all. False if there is none. Nameless: without what
 * tells what a service is made of. */
bool store_entry_next_event(const StoreEntry *entry, uint64_t after, bool nameless, StoreEvent *ret);
bool store_next_event(Store *store, uint64_t after, StoreEvent *ret);
/* The last change of anything. */
uint64_t store_version(const Store *store);
