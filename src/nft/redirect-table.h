#pragma once

/* Redirect table: what the two tables of wakechain hold, in nft's words and as read back from its JSON. Nothing here asks the kernel, and
 * nothing but the reader fails: a stream remembers that there was no memory. */

#include <netinet/in.h>
#include <stdio.h>
#include "nft/inner.h"
#include "nft/redirect-bindings.h"

/* Which table: most of it is in the one of the family `inet`; that of the family `bridge` counts what a waker wants to have counted there. */
#define REDIRECT_TABLE(bridge) ((bridge) ? "bridge wakechain" : "inet wakechain")
#define REDIRECT_CHAIN "service-" /* a service's chain and counter, in either table: its name follows */
/* The number is that of the layout: a table of another one is made anew. */
#define REDIRECT_DIVERT "divert-3"

/* In the order in which a packet is looked up. */
typedef enum RedirectMap {
        REDIRECT_ADDRESS4,
        REDIRECT_ADDRESS6,
        REDIRECT_WILDCARD4,
        REDIRECT_WILDCARD6,
        REDIRECT_LOOPBACK4,
        REDIRECT_LOOPBACK6,
        REDIRECT_INNER4, /* containers' own addresses, which are counted, never redirected */
        REDIRECT_INNER6,
        REDIRECT_TARGETS, /* a set: the redirect ports, each with its service */
        REDIRECT_BRIDGE4, /* INNER4 and INNER6 in the other table */
        REDIRECT_BRIDGE6,
        _REDIRECT_MAP_MAX,
} RedirectMap;

extern const struct RedirectMapKind {
        const char *name;
        bool inner, bridge;
        const char *type, *looked_up; /* NULL: it is a set */
} redirect_maps[_REDIRECT_MAP_MAX];

typedef struct RedirectElement {
        RedirectMap map;
        char key[INET6_ADDRSTRLEN + sizeof(" . 65535")]; /* as in a command: "9002", "192.168.1.5 . 9002" */
        char service[SERVICE_NAME_MAX + 1]; /* whose it is; "" if that cannot be told */
} RedirectElement;

/* By map and key; as qsort() wants it. */
int redirect_element_compare(const void *a, const void *b);
RedirectElement redirect_element(RedirectMap map, const char *address, uint16_t port, const char *service);
/* What bindings ask for. The caller frees the array. -EINVAL if an address is none. */
int redirect_elements_new(RedirectElement **ret, size_t *ret_n, const char *service, uint16_t port,
                          const RedirectBindings *bindings);

/* Reading */

typedef struct SnapshotService {
        char name[SERVICE_NAME_MAX + 1];
        uint16_t redirect_port; /* where its chain sends connections; 0: it is lifted, or empty */
        uint64_t new_connections; /* of its counters, in both tables */
        bool chain, counter; /* which of both there are */
        bool counts; /* its chain has a rule that counts */
        bool lifted_by_waker; /* and that is a waker's, which knows who is not to be counted */
        bool bridge_chain, bridge_counter; /* in the other table */
} SnapshotService;

typedef struct RedirectSnapshot {
        bool complete; /* chains with their rules, maps and the set of `inet` are there, and nothing that cannot be told from here */
        RedirectElement *elements; /* sorted */
        size_t n_elements;
        SnapshotService *services; /* sorted by name */
        size_t n_services;
} RedirectSnapshot;

/* `text` is what `list table`, or several commands for parts of it, say with JSON output; "" gives an empty one. -EBADMSG, -ENOMEM. */
int redirect_snapshot_parse(RedirectSnapshot **ret, const char *text);
RedirectSnapshot *redirect_snapshot_free(RedirectSnapshot *snapshot);
DEFINE_CLEANUP(RedirectSnapshot *, redirect_snapshot_free);

/* Of this map and key; NULL if there is none. */
const RedirectElement *redirect_snapshot_element(const RedirectSnapshot *snapshot, const RedirectElement *wanted);
const SnapshotService *redirect_snapshot_service(const RedirectSnapshot *snapshot, const char *name);
/* The redirect port that it has in REDIRECT_TARGETS; 0: none. */
uint16_t redirect_snapshot_target(const RedirectSnapshot *snapshot, const char *name);

/* Writing */

/* Chains with their rules, maps, the set: that of `inet` as new and empty, that of `bridge` with the elements that it has. */
void redirect_write_structure(FILE *stream, bool bridge);
void redirect_write_removal(FILE *stream, bool bridge);
void redirect_write_element(FILE *stream, const RedirectElement *element, bool comes);
/* A service's chain and counter as new and empty; the table has to be there. */
void redirect_write_chain(FILE *stream, bool bridge, const char *service);
/* What an empty chain does: it redirects, or counts all but those who are no clients: `ignored` addresses, and what `inner` knows (NULL:
 * nothing), with control groups or without. */
void redirect_write_up(FILE *stream, const char *service, uint16_t redirect_port);
void redirect_write_lifted(FILE *stream, bool bridge, const char *service, char *const *ignored,
                           const Inner *inner, bool with_groups, bool by_waker);
/* The chain and counter of a service that no element refers to any more. */
void redirect_write_service_removal(FILE *stream, bool bridge, const SnapshotService *service);
