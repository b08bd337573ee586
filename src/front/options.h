#pragma once

/* Options: the command line of wakechain-front, into what the front is told. */

#include "front/front.h"

/* Positive: `ret` is filled, and borrows its strings from `argv` and from memory that is never freed. 0: there was nothing
 * to do but to print. What is wrong is logged. */
int options_parse(FrontOptions *ret, int argc, char *argv[]);
void options_done(FrontOptions *options);
