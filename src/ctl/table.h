#pragma once

/* Table: rows of texts in columns of equal width, counted in characters. Whatever is put into it, nothing comes out that a terminal obeys. */

#include <stdio.h>
#include "util/macro.h"

typedef struct Table Table;

typedef enum TableColour {
        COLOUR_NONE,
        COLOUR_BOLD,
        COLOUR_RED,
        COLOUR_GREEN,
        COLOUR_YELLOW,
        _COLOUR_MAX,
} TableColour;

/* Where it is to be printed. */
typedef struct Look {
        bool terminal;
        bool colour;
        bool utf8;
        size_t columns; /* 0: without end */
} Look;

/* `headings`: one for each column; NULL: none. `indent`: blanks before each row. -ENOMEM. */
int table_new(Table **ret, size_t n_columns, const char *const *headings, size_t indent);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table *, table_free);

/* The next cell; NULL or "" is one that has nothing to say. Want of memory is told by table_print(). */
void table_add(Table *table, const char *text);
void table_add_coloured(Table *table, TableColour colour, const char *text);
void table_addf(Table *table, const char *format, ...) _printf_(2, 3);

/* What is wider than there is room for loses the ends of its widest cells. -ENOMEM. */
int table_print(const Table *table, FILE *file, const Look *look);

/* How a text is begun and ended; "" without colours. */
const char *colour_begin(const Look *look, TableColour colour);
const char *colour_end(const Look *look, TableColour colour);
/* Characters of a printable text. */
size_t text_width(const char *text);
