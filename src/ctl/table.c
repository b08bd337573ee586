#include "ctl/table.h"
#include "util/printable.h"
#include "util/text.h"

#define GAP 2U
#define WIDTH_MIN 4U /* of a column that is cut */

typedef struct Cell {
        char *text; /* NULL: nothing to say */
        TableColour colour;
} Cell;

struct Table {
        Cell *cells; /* row by row, the headings first */
        size_t n_cells, n_allocated;
        size_t n_columns, indent;
        bool headed, broken;
};

static const char *const colours[_COLOUR_MAX] = {
        [COLOUR_NONE] = "",          [COLOUR_BOLD] = "\033[1m",    [COLOUR_RED] = "\033[31m",
        [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m",
};

const char *colour_begin(const Look *look, TableColour colour) {
        return look->colour ? colours[colour] : "";
}

const char *colour_end(const Look *look, TableColour colour) {
        return look->colour && colour != COLOUR_NONE ? "\033[0m" : "";
}

size_t text_width(const char *text) {
        size_t n = 0;

        for (; *text; text += MAX(utf8_length(text, strlen(text)), (size_t) 1))
                n++;
        return n;
}

/* The bytes of its first characters. */
static size_t text_size(const char *text, size_t width) {
        const char *at = text;

        for (; *at && width > 0; width--)
                at += MAX(utf8_length(at, strlen(at)), (size_t) 1);
        return (size_t) (at - text);
}

void table_add_coloured(Table *table, TableColour colour, const char *text) {
        if (table->n_cells == table->n_allocated) {
                size_t n = MAX(2 * table->n_allocated, (size_t) 64);
                Cell *larger = reallocarray(table->cells, n, sizeof(*larger));

                if (!larger) {
                        table->broken = true;
                        return;
                }
                table->cells = larger;
                table->n_allocated = n;
        }
        table->cells[table->n_cells] = (Cell){ .colour = colour };
        if (!isempty(text)) {
                table->cells[table->n_cells].text = printable_copy(text, strlen(text), /* keep_lines= */ false);
                table->broken = table->broken || !table->cells[table->n_cells].text;
        }
        table->n_cells++;
}

void table_add(Table *table, const char *text) {
        table_add_coloured(table, COLOUR_NONE, text);
}

void table_addf(Table *table, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        table->broken = table->broken || !text;
        table_add(table, text);
}

int table_new(Table **ret, size_t n_columns, const char *const *headings, size_t indent) {
        Table *table = new0(Table, 1);

        assert(n_columns > 0);

        if (!table)
                return -ENOMEM;
        *table = (Table){ .n_columns = n_columns, .indent = indent, .headed = headings };
        for (size_t i = 0; headings && i < n_columns; i++)
                table_add_coloured(table, COLOUR_BOLD, headings[i]);
        *ret = table;
        return 0;
}

Table *table_free(Table *table) {
        if (!table)
                return NULL;

        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cells[i].text);
        free(table->cells);
        return mfree(table);
}

static const char *cell_text(const Table *table, size_t i) {
        const char *text = table->cells[i].text;

        /* A blank says nothing in a column that has a name. */
        return text ? text : table->headed ? "-" : "";
}

static void cut_widest(size_t *widths, size_t n, size_t too_many) {
        for (; too_many > 0; too_many--) {
                size_t widest = 0;

                for (size_t i = 1; i < n; i++)
                        if (widths[i] > widths[widest])
                                widest = i;
                if (widths[widest] <= WIDTH_MIN)
                        return;
                widths[widest]--;
        }
}

static void print_cell(const Table *table, size_t i, size_t width, bool last, FILE *file, const Look *look) {
        const char *text = cell_text(table, i), *more = "";
        size_t shown = text_width(text), size = strlen(text);
        TableColour colour = table->cells[i].colour;

        if (shown > width) {
                more = look->utf8 ? "…" : "...";
                size = text_size(text, width - text_width(more));
                shown = width;
        }
        fprintf(file, "%s%.*s%s%s", colour_begin(look, colour), (int) size, text, more, colour_end(look, colour));
        if (!last)
                fprintf(file, "%*s", (int) (width - shown + GAP), "");
}

int table_print(const Table *table, FILE *file, const Look *look) {
        _cleanup_free_ size_t *widths = new0(size_t, table->n_columns);
        size_t all = table->indent + GAP * (table->n_columns - 1);

        if (!widths || table->broken)
                return -ENOMEM;
        assert(table->n_cells % table->n_columns == 0);

        for (size_t i = 0; i < table->n_cells; i++)
                widths[i % table->n_columns] = MAX(widths[i % table->n_columns], text_width(cell_text(table, i)));
        for (size_t i = 0; i < table->n_columns; i++)
                all += widths[i];
        if (look->columns > 0 && all > look->columns)
                cut_widest(widths, table->n_columns, all - look->columns);

        for (size_t i = 0; i < table->n_cells; i++) {
                size_t column = i % table->n_columns;
                bool last = column + 1 == table->n_columns;

                if (column == 0)
                        fprintf(file, "%*s", (int) table->indent, "");
                print_cell(table, i, widths[column], last, file, look);
                if (last)
                        fputc('\n', file);
        }
        return 0;
}
