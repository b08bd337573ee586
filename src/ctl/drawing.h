#pragma once

/* Drawing: what needs what, for eyes, Graphviz and Mermaid. */

#include "ctl/stacks.h"

typedef enum DrawingFormat {
        DRAWING_TEXT,
        DRAWING_DOT,
        DRAWING_MERMAID,
        _DRAWING_FORMAT_MAX,
        _DRAWING_FORMAT_INVALID = -EINVAL,
} DrawingFormat;

const char *drawing_format_to_string(DrawingFormat format);
DrawingFormat drawing_format_from_string(const char *text);

/* -ENOMEM. */
int drawing_print(const Stacks *stacks, DrawingFormat format, FILE *file, const Look *look);
