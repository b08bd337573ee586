#pragma once

/* wakectl: what its verbs share. */

#include "util/macro.h"
#include "util/strv.h"

/* Exit codes. */
enum {
        CTL_FINE = 0,
        CTL_FAILED = 1, /* or: there are errors */
        CTL_USAGE = 2,
};

typedef struct CtlOptions {
        bool json;
        bool engine; /* check: also ask the engine */
        const char *project; /* import: only this one; NULL: all */
        char **compose, **files; /* import: folders of projects, and their files (-f); NULL: none */
        bool write; /* import: into the configuration */
        bool dry_run; /* say what would be done, and do nothing */
        const char *unit; /* check: only look who depends on this one; NULL: all of it */
} CtlOptions;

/* wakectl check [FILE], import, sleep NAME. They get the arguments after the verb, and return an exit code. */
int verb_check(const CtlOptions *options, int argc, char **argv);
int verb_import(const CtlOptions *options, int argc, char **argv);
int verb_sleep(const CtlOptions *options, int argc, char **argv);
