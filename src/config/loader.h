#pragma once

/* Loader: a config while it is read. Files are added one after the other, then everything is checked together. */

#include "config/config.h"
#include "util/json-table.h"

typedef struct ServiceEntry {
        Service service;
        const char *file; /* borrowed from the loader */
        const char *source; /* where it was when it was remembered, borrowed; NULL: it is what the files say now */
        size_t order; /* of appearance: of two services that clash, the earlier one stays */
        bool broken;
        bool main_is_added; /* the main container is no dependency in the file: it was added as the last one */
        bool visited, on_path; /* while cycles are looked for */
} ServiceEntry;

typedef struct Document {
        const char *file; /* borrowed from the loader */
        json_object *object;
} Document;

typedef struct Loader {
        JsonWalk walk; /* first: what walks report goes to the loader around it */
        ProblemList *problems; /* borrowed */
        char **files;
        const char *file; /* the one being read */
        ServiceEntry *entry; /* whom problems cost while it is read; NULL: nobody */
        json_object *doubled; /* services of `file` that have a member twice: a set, as an object */

        Config config; /* what the main file says of all; without services */
        json_object *defaults;
        char **unsupported; /* the paths of its members that nothing acts on yet */

        ServiceEntry *entries; /* sorted by name once all files are read */
        size_t n_entries, allocated_entries;
        bool overfull;

        /* For what is kept of a config, and used again: see last-good.c. */
        bool keeps; /* the documents */
        Document *documents; /* the main one first */
        size_t n_documents;
        char **lost; /* files, or a folder of them, of whose services nothing is known */
        json_object *only, *except; /* which services are read, as sets; NULL: all, and none; borrowed */
        const char *source; /* of those that are remembered, ... */
        json_object *sources; /* ... unless it is in here, by name; borrowed */
} Loader;

int loader_new(Loader **ret, ProblemList *problems);
Loader *loader_free(Loader *loader);
DEFINE_CLEANUP(Loader *, loader_free);

/* Reads one file's text. -EBADMSG if it cannot be used at all; problems are reported. */
int loader_add(Loader *loader, const char *file, const char *text, size_t size, bool is_main);
/* The same from what was read before. Keeps a reference. */
int loader_add_document(Loader *loader, const char *file, json_object *object, bool is_main);
/* Only services, and with other defaults than those of the main file. */
int loader_add_services(Loader *loader, const char *file, json_object *services, json_object *defaults);
/* Checks services against one another, and hands over the sound ones. */
int loader_finish(Loader *loader, Config **ret);

/* An error found after reading: costs `entry` (NULL: nobody), at `path`; `value` is as JSON, NULL if a member
 * is missing. */
void loader_refuse(Loader *loader, ServiceEntry *entry, const JsonPath *path, const char *value,
                   const char *format, ...) _printf_(5, 6);
void loader_warn(Loader *loader, ServiceEntry *entry, const JsonPath *path, const char *value, const char *format,
                 ...) _printf_(5, 6);
/* The entry of that name once they are sorted, broken or not. */
ServiceEntry *loader_find(Loader *loader, const char *name);

/* The path services.NAME, for as long as the block lasts. */
extern const JsonPath path_services;

/* service-members.c: fills loader->entry->service from its object. */
int service_read(Loader *loader, const JsonPath *path, json_object *object);
/* Reports what is wrong with `defaults`, at no service's cost. */
int service_check_defaults(Loader *loader, const JsonPath *path, json_object *object);

/* service-checks.c: what members of one service mean together. `object` tells what was given, though it may
 * have been refused. */
void service_check(Loader *loader, const JsonPath *path, json_object *object);

/* dependency-checks.c: the same of its dependencies. */
int dependencies_check(Loader *loader, const JsonPath *path, json_object *object);

#define CONFIG_PATH "/etc/wakechain/dependencies.json" /* the first that is looked for */

/* config.c: reads the main file, which is `path` or, if that is NULL, looked for, and all beside it. */
int config_read(Loader *loader, const char *root, const char **path);

/* cross-checks.c: what services mean together: names, ports, addresses, cycles. */
int config_check(Loader *loader);
