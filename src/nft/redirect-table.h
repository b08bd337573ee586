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
#define REDIRECT_DIVERT "divert-8"
/* Where wakechain-names.socket listens: see its unit. */
#define REDIRECT_NAMES_PORT 19853U

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
        REDIRECT_VIRTUAL4, /* virtual addresses from the bridges of their names, whatever the port */
        REDIRECT_GUEST4, /* the same from containers that are on other networks, too, and come by those */
        REDIRECT_TARGETS, /* a set: the redirect ports, each with its service */
        REDIRECT_VIRTUALS, /* a set: the virtual addresses */
        REDIRECT_UDP_ADDRESS4, /* of UDP, as those above are of TCP */
        REDIRECT_UDP_ADDRESS6,
        REDIRECT_UDP_WILDCARD4,
        REDIRECT_UDP_WILDCARD6,
        REDIRECT_UDP_LOOPBACK4,
        REDIRECT_UDP_LOOPBACK6,
        REDIRECT_UDP_TARGETS, /* a set: the redirect ports of UDP, each with its service */
        REDIRECT_UDP_SOURCES, /* the same as a map: which port each stands for */
        REDIRECT_BRIDGE4, /* INNER4 and INNER6 in the other table */
        REDIRECT_BRIDGE6,
        REDIRECT_NAMES, /* not one map, but two for each length of a name: bridges, or addresses of guests, and questions from there */
        _REDIRECT_MAP_MAX,
} RedirectMap;

extern const struct RedirectMapKind {
        const char *name;
        bool inner, bridge;
        const char *type, *looked_up; /* NULL: its verdicts are not, it has none */
        const char *chain; /* where it is looked up; NULL: the first one of its table */
        bool maps; /* to a port */
} redirect_maps[_REDIRECT_MAP_MAX];

/* A bridge, and a name in pieces of 16 bytes. */
#define REDIRECT_KEY_MAX (sizeof("\"123456789012345\"") + 3 * sizeof(" . 0x0123456789abcdef0123456789abcdef"))

typedef struct RedirectElement {
        RedirectMap map;
        char key[REDIRECT_KEY_MAX]; /* as in a command: "9002", "192.168.1.5 . 9002", "\"br-0\" . 0x0461626364…" */
        char service[SERVICE_NAME_MAX + 1]; /* whose it is; "" if that cannot be told */
        uint8_t name_length; /* of REDIRECT_NAMES */
        uint16_t to; /* of UDP: the redirect port, or of REDIRECT_UDP_SOURCES the one that it stands for */
} RedirectElement;

/* By map and key; as qsort() wants it. */
int redirect_element_compare(const void *a, const void *b);
RedirectElement redirect_element(RedirectMap map, const char *address, uint16_t port, const char *service);
/* The redirect port of a port of UDP: REDIRECT_UDP_TARGETS and REDIRECT_UDP_SOURCES. */
RedirectElement redirect_udp_element(RedirectMap map, uint16_t redirect_port, uint16_t port, const char *service);
/* All redirect ports of UDP that a service has, as a sum that is another one for others. */
uint64_t redirect_udp_sum(const RedirectElement *element);
/* What bindings of a service's port (0: it has none) ask for, and the networks with them. The caller frees the array. -EINVAL if an address is
 * none. */
int redirect_elements_new(RedirectElement **ret, size_t *ret_n, const Service *service, uint16_t port,
                          const RedirectBindings *bindings);
/* The same of a further port, with where it is redirected to if it is of UDP: nothing, if nobody listens there. */
int redirect_further_elements_new(RedirectElement **ret, size_t *ret_n, const Service *service,
                                  const FurtherPort *further);
/* The questions for a name, which is one label, that come by a bridge, or from the address of a guest. */
RedirectElement redirect_name_element(const char *bridge, const char *name, const char *service);
RedirectElement redirect_guest_element(const char *address, const char *name, const char *service);
/* They come and go with containers of others. */
bool redirect_element_is_of_guest(const RedirectElement *element);

/* Reading */

typedef struct SnapshotService {
        char name[SERVICE_NAME_MAX + 1];
        uint16_t redirect_port; /* where its chain sends connections; 0: it is lifted, or empty */
        uint64_t new_connections; /* of its counters, in both tables */
        bool chain, counter; /* which of both there are */
        bool counts; /* its chain has a rule that counts */
        bool waits; /* … and one before it that redirects ports whose containers do not accept yet */
        bool spares; /* own containers: it wakes, or its waker was killed as it did */
        bool lifted_by_waker; /* and that is a waker's, which knows who is not to be counted */
        bool bridge_chain, bridge_counter; /* in the other table */
        uint64_t udp, udp_up; /* redirect_udp_sum() of its chains, and of those that redirect */
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
/* Of a service: who is not counted, and where those go on to who keep a virtual address of it, or want a port that waits. */
typedef struct RedirectLifted {
        const char *service;
        char *const *ignored;
        bool has_names;
        uint16_t redirect_port; /* 0: there is neither */
} RedirectLifted;

/* What an empty chain does: it redirects, or counts all but those who are no clients: `ignored` addresses, and what `inner` knows (NULL:
 * nothing), with control groups or without. Of its ports those that wait are redirected all the same. */
void redirect_write_up(FILE *stream, const char *service, uint16_t redirect_port);
/* Before that: those addresses go on as if there was no redirect. */
void redirect_write_spared(FILE *stream, const char *service, const AddressPrefix *own, size_t n);
/* The chain of a redirect port of UDP, new or as it is: it redirects, or does nothing. */
void redirect_write_udp(FILE *stream, const char *service, uint16_t redirect_port, bool up);
void redirect_write_lifted(FILE *stream, bool bridge, const RedirectLifted *lifted, const Inner *inner,
                           bool with_groups, bool by_waker);
/* What questions for names of this element's length are looked up in, new or as it is. */
void redirect_write_names(FILE *stream, const RedirectElement *element);
/* The chain and counter of a service that no element refers to any more. */
void redirect_write_service_removal(FILE *stream, bool bridge, const SnapshotService *service);
