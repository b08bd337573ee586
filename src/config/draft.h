#pragma once

/* Draft: a config in the making. Services are put into it as their files say them, and it knows what is wrong with each; in the end
 * the sound ones make the Config. */

#include "config/config.h"
#include "util/json-table.h"

typedef struct DraftService {
        Service service;
        const char *file; /* where its problems are; borrowed */
        const char *source; /* where it was when it was remembered, borrowed; NULL: it is what the files say now */
        bool broken;
        bool needs_redirect_port; /* it is redirected, and names none */
        bool main_is_added; /* the main container is no dependency in the file: it was added as the last one */
        bool visited, on_path; /* while cycles are looked for */
} DraftService;

typedef struct Draft {
        JsonWalk walk; /* first: what walks report goes to the draft around it */
        ProblemList *problems; /* borrowed */
        const char *file; /* the one being read, borrowed; of remembered services also `source` */
        const char *source;
        json_object *doubled; /* services of it that have a member twice: a set, borrowed; may be NULL */
        DraftService *current; /* whom problems cost while it is read; NULL: nobody */

        Config config; /* what the main file says of all; without services */
        json_object *defaults;
        char **unsupported; /* the paths of its members that nothing acts on yet */

        DraftService *services; /* sorted by name once all files are read */
        size_t n_services, n_allocated;
        bool overfull;
        const Config *before; /* without what is remembered: the ports of those in it stay; borrowed */
} Draft;

void draft_init(Draft *draft, ProblemList *problems);
void draft_done(Draft *draft);

/* A new one is `current`. -ENOMEM. */
int draft_add(Draft *draft, const char *name);
/* Once all are there. */
void draft_sort(Draft *draft);
/* Of that name, broken or not, once they are sorted. */
DraftService *draft_find(Draft *draft, const char *name);
/* Moves the sound ones into a Config, that came from `path`. */
int draft_take_config(Draft *draft, const char *path, Config **ret);

/* An error found after reading: costs `service` (NULL: nobody), at `path`; `value` is as JSON, NULL if a member
 * is missing. */
void draft_refuse(Draft *draft, DraftService *service, const JsonPath *path, const char *value, const char *format,
                  ...) _printf_(5, 6);
void draft_warn(Draft *draft, DraftService *service, const JsonPath *path, const char *value, const char *format,
                ...) _printf_(5, 6);
