#pragma once

/* wakectl: what its verbs share. */

#include "util/macro.h"

/* Exit codes. */
enum {
        CTL_FINE = 0,
        CTL_FAILED = 1, /* or: there are errors */
        CTL_USAGE = 2,
        CTL_INTERRUPTED = 130, /* by Ctrl-C */
};

typedef struct CtlOptions {
        bool json;
        bool engine; /* check: also ask the engine */
        const char *project; /* import: only this one; NULL: all */
        char **compose, **files; /* import: folders of projects, and their files (-f); NULL: none */
        const char *name; /* add: of the service; NULL: the first container's */
        bool watch; /* list: go on, as things change */
        bool write; /* import: into the configuration */
        bool dry_run; /* say what would be done, and do nothing */
        bool force; /* reload: also while containers with a GPU run */
        bool quiet, no_pager;
        const char *filter; /* list: what is shown */
        const char *format; /* graph */
        const char *until, *span; /* hold: how long; NULL: until it is put to sleep */
        bool foreground; /* hold: in this process */
        const char *unit; /* check: only look who depends on this one; NULL: all of it */
} CtlOptions;

/* They get the arguments after the verb, and return an exit code. */
int verb_add(const CtlOptions *options, int argc, char **argv);
int verb_check(const CtlOptions *options, int argc, char **argv);
int verb_disable(const CtlOptions *options, int argc, char **argv);
int verb_doctor(const CtlOptions *options, int argc, char **argv);
int verb_enable(const CtlOptions *options, int argc, char **argv);
int verb_graph(const CtlOptions *options, int argc, char **argv);
int verb_hold(const CtlOptions *options, int argc, char **argv);
int verb_import(const CtlOptions *options, int argc, char **argv);
int verb_list(const CtlOptions *options, int argc, char **argv);
int verb_plan(const CtlOptions *options, int argc, char **argv);
int verb_reload(const CtlOptions *options, int argc, char **argv);
int verb_remove(const CtlOptions *options, int argc, char **argv);
int verb_run(const CtlOptions *options, int argc, char **argv);
int verb_sleep(const CtlOptions *options, int argc, char **argv);
int verb_status(const CtlOptions *options, int argc, char **argv);
int verb_wake(const CtlOptions *options, int argc, char **argv);
/* Takes its own options. */
int verb_logs(const CtlOptions *options, int argc, char **argv);
