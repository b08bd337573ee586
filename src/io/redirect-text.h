#pragma once

/* Redirect text: the commands for nft that redirect.c consists of. Nothing here fails but for want of memory,
 * and a stream remembers that. */

#include <netinet/in.h>
#include <stdio.h>
#include "io/redirect-snapshot.h"
#include "io/redirect.h"

/* One element of a map that a service's bindings ask for. */
typedef struct RedirectKey {
        const char *map;
        char text[INET6_ADDRSTRLEN + sizeof(" . 65535")];
} RedirectKey;

/* The caller frees the array. -EINVAL if an address is none. */
int redirect_keys_new(RedirectKey **ret, size_t *ret_n, uint16_t port, const RedirectBindings *bindings);

#define REDIRECT_REMOVE_TABLE "add table " REDIRECT_TABLE "\ndelete table " REDIRECT_TABLE "\n"

/* Table, chains with their rules, sets; whatever of it is there already stays, with its elements. */
void redirect_write_structure(FILE *stream);
/* The service's chain, its counter and its redirect port. */
void redirect_write_service(FILE *stream, const Service *service, const RedirectBindings *bindings, bool up);
void redirect_write_key(FILE *stream, const Service *service, const RedirectKey *key);
void redirect_write_deletion(FILE *stream, const SnapshotElement *element);
/* The chain and counter of a service that no element refers to any more. */
void redirect_write_service_deletion(FILE *stream, const SnapshotService *service);
