#pragma once

/* ComposeOutput: what a compose program says while it fails, line by line, and what that means. */

#include "util/macro.h"

typedef enum ComposeTrouble {
        COMPOSE_OTHER,
        COMPOSE_NO_FILE, /* no compose file there */
        COMPOSE_UNREADABLE, /* a file may not be read; subject: its path, if it was said */
        COMPOSE_NO_ENGINE,
        COMPOSE_NO_NETWORK, /* subject: its name */
        COMPOSE_NO_IMAGE,
        COMPOSE_NAME_TAKEN, /* there is a container of that name */
        _COMPOSE_TROUBLE_MAX,
        _COMPOSE_TROUBLE_INVALID = -EINVAL,
} ComposeTrouble;

typedef struct ComposeOutput {
        ComposeTrouble trouble;
        char *subject; /* or NULL */
        char *line; /* that tells best what went wrong, or NULL */
        bool pulling; /* an image, when the last line came */
        bool in_traceback;
} ComposeOutput;

void compose_output_done(ComposeOutput *output);

/* Returns true if the line is worth being shown to people: the inside of Python's tracebacks is not. */
bool compose_output_feed(ComposeOutput *output, const char *line);
/* The program has failed after these lines. */
ComposeTrouble compose_output_trouble(const ComposeOutput *output);
