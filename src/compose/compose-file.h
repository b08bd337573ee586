#pragma once

/* ComposeFile: a compose project as `docker compose config --format json` (v2) and `docker-compose config` (v1, YAML) print
 * it: which service makes which container, and what making it takes. */

#include "util/macro.h"
#include "util/strv.h"

#define COMPOSE_FILE_MAX ((size_t) (4 * 1024 * 1024))

typedef struct ComposeNetwork {
        char *name; /* the engine's */
        char **aliases; /* without the service's own name */
        char *ipv4, *ipv6; /* as asked for, or NULL */
} ComposeNetwork;

typedef struct ComposeService {
        char *name;
        char *container; /* that `up` makes of it first */
        char *image; /* or NULL */
        bool built; /* there is something to build the image from */
        char *sharing; /* the service whose namespace it shares, or NULL */
        ComposeNetwork *networks; /* that are named for it */
        size_t n_networks;
} ComposeService;

typedef struct ComposeFile {
        char *project;
        ComposeService *services;
        size_t n_services;
} ComposeFile;

typedef enum ComposeFormat {
        COMPOSE_JSON,
        COMPOSE_YAML,
        _COMPOSE_FORMAT_MAX,
        _COMPOSE_FORMAT_INVALID = -EINVAL,
} ComposeFormat;

/* `project` is the project's name if the text does not say it, and `separator` ('-' or '_') what the parts of a container's
 * name are joined by that is not given. -EBADMSG. What the engine could not call a container is left out. */
int compose_file_parse(ComposeFile **ret, ComposeFormat format, const char *text, size_t size, const char *project,
                       char separator);
ComposeFile *compose_file_free(ComposeFile *file);
DEFINE_CLEANUP(ComposeFile *, compose_file_free);

/* NULL if there is none of this name. */
const ComposeService *compose_file_find_service(const ComposeFile *file, const char *name);
/* NULL if no service makes it. */
const ComposeService *compose_file_find(const ComposeFile *file, const char *container);
