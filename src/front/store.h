#pragma once

/* Store: keeps duplicates of connections where a next program of ours finds them if this one dies, and the ledger
 * with what is to be known about them. */

#include "front/ledger.h"

typedef struct Store Store;

/* A descriptor that PID 1 has passed, by its name: takes it and returns true if it is one of a store's. */
typedef struct StorePassed {
        int ledger;
        int chests[2][2];
} StorePassed;
#define STORE_PASSED_NONE ((StorePassed){ -EBADF, { { -EBADF, -EBADF }, { -EBADF, -EBADF } } })
bool store_passed_take(StorePassed *passed, const char *name, int fd);
void store_passed_close(StorePassed *passed);

/* Takes what was passed. What is kept there is taken out with store_load(). */
int store_new(Store **ret, StorePassed *passed);
Store *store_free(Store *store);
DEFINE_CLEANUP(Store *, store_free);
Ledger *store_ledger(Store *store);

/* Whether there is a PID 1 that would start a next program. */
bool store_is_on(const Store *store);

/* Each of the following ones is in force when store_flush() has been called; until then the descriptors are borrowed.
 * 0: cannot be kept, which is said once.
 * A held client's record. */
uint32_t store_add_held(Store *store, int client);
/* A connection's, `record` if its client was held. What it is in the ledger is then to be said. */
uint32_t store_add_pair(Store *store, uint32_t record, int client, int backend);
/* A pipe's row in the ledger. */
uint32_t store_add_pipe(Store *store, int in, int out);
/* Negative: some of it could not be kept, which was told. */
int store_flush(Store *store);

/* The duplicates stay for a while: who wants a connection to end must shut it down. */
void store_remove(Store *store, uint32_t record);
void store_remove_pipe(Store *store, uint32_t row);
/* Closes duplicates of what was removed, if they have become many or `now`. Returns whether there are any left. */
bool store_tidy(Store *store, bool now);

/* What the program before has kept, with the record that is in force; each descriptor is the handler's, and -EBADF if it was not found.
 * Without a record (0, from a program with another ledger) it is a client that nothing was read from. Rows of pipes
 * come first, and are the handler's if it returns true. */
typedef bool (*StorePipeHandler)(uint32_t row, int in, int out, void *userdata);
typedef void (*StoreHandler)(uint32_t record, int client, int backend, void *userdata);
int store_load(Store *store, StorePipeHandler on_pipe, StoreHandler handler, void *userdata);
