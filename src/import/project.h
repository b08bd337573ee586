#pragma once

/* Project: a compose project as plain data, whoever told of it: the engine, compose, or both. World: all of them, and the
 * containers that belong to none, since a proxy may be one. What is decided about a project stands beside what is known, and is
 * written by decide.c alone. Texts are printable. */

#include "util/macro.h"
#include "util/strv.h"

typedef enum ImportCondition {
        IMPORT_STARTED,
        IMPORT_HEALTHY,
        IMPORT_COMPLETED,
        _IMPORT_CONDITION_MAX,
        _IMPORT_CONDITION_INVALID = -EINVAL,
} ImportCondition;

typedef struct ImportEdge {
        char *service; /* of the same project, that is waited for */
        ImportCondition condition;
} ImportEdge;

typedef struct ImportPort {
        uint16_t host, inner;
        bool udp, ranged; /* of a range, the first */
        bool elsewhere; /* decided: another project has who serves there */
} ImportPort;

typedef enum ImportTrait {
        TRAIT_SOCKET = 1 << 0, /* it has the engine's socket */
        TRAIT_DEVICES = 1 << 1,
        TRAIT_PRIVILEGED = 1 << 2,
        TRAIT_RUNS = 1 << 3,
        TRAIT_DONE = 1 << 4, /* it has ended with 0, and nothing starts it again */
        TRAIT_CHECKED = 1 << 5, /* it has a HEALTHCHECK */
        TRAIT_UNHEALTHY = 1 << 6,
        TRAIT_ORDERED = 1 << 7, /* what it waits for is known, be it nothing */
        TRAIT_HOOKS = 1 << 8, /* compose runs something at its start or stop */
        TRAIT_MADE = 1 << 9, /* the engine has it */
        TRAIT_AUTO_REMOVE = 1 << 10,
} ImportTrait;

typedef struct ImportContainer {
        char *name, *id, *project, *service; /* the last two NULL: not of compose */
        bool added; /* not of compose: somebody says that it is of the project */
        unsigned number; /* of replicas */
        unsigned traits;
        char *folder, *files; /* of the project: where it was made, and from what; NULL: not known */
        char *image; /* as written; "" */
        char *restart; /* never NULL */
        char *mode; /* of its network; never NULL */
        char *owner; /* whose network it has: the name or id, or with compose alone "service:NAME"; NULL: its own */
        char **networks, **aliases;
        char **environment; /* of what could name another container, NAME=HOST */
        unsigned stop_sec;
        ImportEdge *edges;
        size_t n_edges;
        ImportPort *ports;
        size_t n_ports;
        uint16_t *exposed; /* TCP */
        size_t n_exposed;

        /* Decided. */
        bool required;
        bool *waits; /* one for each of the project */
        char **foreign; /* containers of others, too */
        ImportCondition wanted; /* by those that wait for it */
        bool awaited;
        bool one_shot;
        const struct KnownImage *known; /* what can be asked of it, or NULL */
} ImportContainer;

typedef struct ImportProject {
        const char *name; /* borrowed, like the containers */
        ImportContainer *containers; /* by service, number and name */
        size_t n_containers;

        /* Decided. */
        size_t *order; /* of its containers: what is waited for comes first */
        size_t main;
        uint16_t port, *ports; /* 0: none */
        size_t n_ports;
        uint16_t *datagrams; /* ports of UDP */
        size_t n_datagrams;
        bool named; /* reached by its names */
        uint16_t backend; /* then, if it is not plain: the inner port */
        char **foreign; /* containers of others that its own wait for */
        char **notes; /* what was left out, supposed, or is to be thought of: sentences */
} ImportProject;

typedef struct ImportWorld {
        ImportContainer *containers;
        size_t n_containers;
        ImportProject *projects; /* by name */
        size_t n_projects;
} ImportWorld;

void import_world_done(ImportWorld *world);
/* A cleared one at the end; what pointed into the list before is not valid any more. NULL: out of memory. */
ImportContainer *import_world_add(ImportWorld *world);
/* Forgets the last one. */
void import_world_drop(ImportWorld *world);
/* Once all are known: makes the projects. -ENOMEM. */
int import_world_group(ImportWorld *world);
/* NULL: there is none. */
ImportProject *import_world_find(const ImportWorld *world, const char *project);
/* By name or id. */
ImportContainer *import_world_container(const ImportWorld *world, const char *name);

/* -ENOMEM */
int import_add_edge(ImportContainer *container, const char *service, ImportCondition condition);
int import_add_port(ImportContainer *container, ImportPort port);
int import_add_exposed(ImportContainer *container, uint16_t port);
/* From "NAME=VALUE": kept if the value could name a host, and only that of it. */
int import_add_variable(ImportContainer *container, const char *text);
int import_note(ImportProject *project, const char *format, ...) _printf_(2, 3);

bool import_shares_network(const ImportContainer *a, const ImportContainer *b);
