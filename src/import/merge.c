#include <stdio.h>

#include "import/merge.h"
#include "util/json-members.h"
#include "util/strv.h"

/* Merge. Members that say together by which way clients come are one: who has one of them gets none of the others. */

#define CONTEXT ((size_t) 2)
#define LINES_MAX ((size_t) 4096)

static const char *const ways[] = { "backend", "listen", "names", "port", "ports" };

static bool is_way(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                if (streq(ways[i], name))
                        return true;
        return false;
}

static json_object *find_dependency(json_object *list, const char *container) {
        for (size_t i = 0; container && i < json_object_array_length(list); i++) {
                json_object *element = json_object_array_get_idx(list, i);
                const char *name = json_member_text(element, "container");

                if (name && streq(name, container))
                        return element;
        }
        return NULL;
}

static int merge_dependencies(json_object *theirs, json_object *ours) {
        for (size_t i = 0; i < json_object_array_length(ours); i++) {
                json_object *element = json_object_array_get_idx(ours, i);

                if (!find_dependency(theirs, json_member_text(element, "container")) &&
                    !json_append(theirs, json_object_get(element)))
                        return -ENOMEM;
        }
        return 0;
}

int import_merge(json_object *theirs, json_object *ours) {
        json_object *list = json_member_of(theirs, "dependencies", json_type_array),
                    *new = json_member_of(ours, "dependencies", json_type_array);
        bool has_way = false;

        for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                has_way |= json_object_object_get_ex(theirs, ways[i], NULL);
        json_object_object_foreach(ours, name, value) {
                if (json_object_object_get_ex(theirs, name, NULL) || (has_way && is_way(name)))
                        continue;
                if (!json_add(theirs, name, json_object_get(value)))
                        return -ENOMEM;
        }
        return list && new ? merge_dependencies(list, new) : 0;
}

int import_missing(json_object *theirs, json_object *ours, char ***ret) {
        json_object *list = json_member_of(theirs, "dependencies", json_type_array),
                    *new = json_member_of(ours, "dependencies", json_type_array);
        int r = 0;

        for (size_t i = 0; list && new &&i < json_object_array_length(list) && r >= 0; i++) {
                const char *name = json_member_text(json_object_array_get_idx(list, i), "container");

                if (name && !find_dependency(new, name))
                        r = strv_append(ret, name);
        }
        return r;
}

/* Lines */

typedef struct Lines {
        const char **begins; /* one more than there are: the end */
        size_t n;
} Lines;

static void lines_done(Lines *lines) {
        free(lines->begins);
}

static int lines_find(Lines *ret, const char *text) {
        Lines lines = {};
        size_t n = 1;

        for (const char *c = text; *c; c++)
                n += *c == '\n';
        lines.begins = new0(const char *, n + 1);
        if (!lines.begins)
                return -ENOMEM;
        while (*text) {
                const char *end = strchrnul(text, '\n');

                lines.begins[lines.n++] = text;
                text = end + (*end == '\n');
        }
        lines.begins[lines.n] = text;
        *ret = lines;
        return 0;
}

static bool line_equal(const Lines *a, size_t i, const Lines *b, size_t k) {
        size_t n = (size_t) (a->begins[i + 1] - a->begins[i]);

        return n == (size_t) (b->begins[k + 1] - b->begins[k]) && memcmp(a->begins[i], b->begins[k], n) == 0;
}

static void put_line(FILE *out, char sign, const Lines *lines, size_t i) {
        fprintf(out, "%c%.*s", sign, (int) (lines->begins[i + 1] - lines->begins[i]), lines->begins[i]);
}

/* Lines that both have are held back until it is known whether something near them differs. */
typedef struct Context {
        FILE *out;
        const Lines *lines;
        size_t held, after; /* how many are held back; how many are still to be shown */
        bool shown;
} Context;

static void context_keep(Context *context, size_t i) {
        if (context->after > 0) {
                context->after--;
                put_line(context->out, ' ', context->lines, i);
        } else
                context->held++;
}

/* A line differs; `i`: the next of the lines before. */
static void context_tell(Context *context, size_t i) {
        size_t shown = MIN(context->held, CONTEXT);

        if (context->held > shown || !context->shown)
                fprintf(context->out, "@@ line %zu @@\n", i - shown + 1);
        for (size_t k = i - shown; k < i; k++)
                put_line(context->out, ' ', context->lines, k);
        context->held = 0;
        context->after = CONTEXT;
        context->shown = true;
}

/* `common`: for each pair of places, how many lines there are from there on that both have. */
static void put_difference(FILE *out, const Lines *a, const Lines *b, const uint16_t *common) {
        Context context = { .out = out, .lines = a };
        size_t width = b->n + 1;

        for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
                if (i < a->n && k < b->n && line_equal(a, i, b, k)) {
                        context_keep(&context, i++);
                        k++;
                        continue;
                }
                context_tell(&context, i);
                if (k == b->n || (i < a->n && common[(i + 1) * width + k] >= common[i * width + k + 1]))
                        put_line(out, '-', a, i++);
                else
                        put_line(out, '+', b, k++);
        }
}

char *import_difference(const char *before, const char *after) {
        _cleanup_(lines_done) Lines a = {}, b = {};
        _cleanup_free_ uint16_t *common = NULL;
        char *text = NULL;
        size_t size;
        FILE *out;

        if (lines_find(&a, before) < 0 || lines_find(&b, after) < 0)
                return NULL;
        if (a.n > LINES_MAX || b.n > LINES_MAX)
                return strdup("(too long to be shown)\n");
        common = new0(uint16_t, (a.n + 1) * (b.n + 1));
        if (!common)
                return NULL;
        for (size_t i = a.n; i-- > 0;)
                for (size_t k = b.n; k-- > 0;)
                        common[i * (b.n + 1) + k] =
                                        line_equal(&a, i, &b, k)
                                                        ? (uint16_t) (common[(i + 1) * (b.n + 1) + k + 1] + 1)
                                                        : MAX(common[(i + 1) * (b.n + 1) + k],
                                                              common[i * (b.n + 1) + k + 1]);
        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        put_difference(out, &a, &b, common);
        return fclose(out) == 0 ? text : mfree(text);
}
