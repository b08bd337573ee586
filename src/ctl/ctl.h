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

/* check.c: the verb `check [FILE]`. Arguments after the verb; returns an exit code. */
int verb_check(int argc, char **argv);
