#pragma once

/* wakectl: what its verbs share. */

#include "util/macro.h"

/* Exit codes. */
enum {
        CTL_FINE = 0,
        CTL_FAILED = 1, /* or: there are errors */
        CTL_USAGE = 2,
};

extern bool arg_json;
extern const char *arg_unit;

/* Arguments after the verb; each returns an exit code. */
int verb_check(int argc, char **argv); /* check.c: [FILE] */
int verb_sleep(int argc, char **argv); /* sleep.c: NAME */

/* unit.c: does a service of this configuration depend on that unit, and is there a file for it? Prints which services do. */
typedef struct Config Config;
int check_unit(const Config *config, const char *unit);
