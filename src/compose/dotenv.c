#include <stdio.h>

#include "command/environment.h"
#include "compose/dotenv.h"
#include "util/safe-file.h"
#include "util/text.h"

/* Dotenv. compose's rules, as its versions were seen to follow them (docker compose 2.26, docker-compose 1.29 with python-dotenv 0.21), for it is
 * compose that gives the values to the containers:
 *
 *     # comment                        A=text with blanks # comment          export A = text        A: text (v2)
 *     A='as it is, # and $, perhaps
 *        on several lines'             A="the same, with \n \t \\ \" and references"
 *
 * v2 takes $$ for a $, $NAME and ${NAME} for what the file has said before, else for nothing, and knows :- - :+ + :? ?; not in single
 * quotes, nor behind a backslash in double ones. v1 knows ${NAME} and ${NAME:-word} alone, in single quotes as well, and takes no other $ for
 * more than it is. Where v2 refuses the whole file ("${", a quote without an end), no container was made of it: here that $ is itself, and such a line costs
 * itself. */

#define BLANKS " \t\r"

#define NESTING_MAX 8U

typedef struct Parser {
        const char *text;
        bool v1;
        char **list;
        size_t n, total; /* variables, and bytes of them */
        char *value; /* of the variable that is being read: room for DOTENV_SIZE_MAX */
        size_t size;
} Parser;

static void parser_done(Parser *parser) {
        strv_free(parser->list);
        free(parser->value);
}

static int value_append(Parser *parser, const char *text, size_t size) {
        /* Who refers to what refers to others is not let grow. */
        if (parser->total + parser->size + size > DOTENV_SIZE_MAX)
                return -E2BIG;
        memcpy(parser->value + parser->size, text, size);
        parser->size += size;
        return 0;
}

static int append_expanded(Parser *parser, const char *text, const char *end, unsigned depth);

/* The '}' that belongs to what begins at `text`, before `end`. NULL: there is none. */
static const char *find_brace(const char *text, const char *end) {
        unsigned open = 1;

        for (; text < end; text++)
                if (*text == '}' && --open == 0)
                        return text;
                else if (*text == '$' && text + 1 < end && text[1] == '{')
                        open++;
        return NULL;
}

/* Behind the name of a reference in braces that ends at `brace`. 0: it is none. */
static int append_with_word(Parser *parser, const char *value, const char *word, const char *brace,
                            unsigned depth) {
        bool empty_too = *word == ':';
        bool is_set;

        word += empty_too;
        is_set = value && (!empty_too || *value);
        if (word == brace)
                return !empty_too && value ? value_append(parser, value, strlen(value)) ?: 1 : !empty_too;
        if (*word == '+')
                return is_set ? append_expanded(parser, word + 1, brace, depth + 1) : 1;
        if (*word != '-' && (*word != '?' || !is_set))
                return 0;
        return is_set ? value_append(parser, value, strlen(value)) ?: 1
                      : append_expanded(parser, word + 1, brace, depth + 1);
}

/* At a '$': puts `ret_end` behind what it is the beginning of. 0: of nothing. */
static int append_reference(Parser *parser, const char *text, const char *end, unsigned depth,
                            const char **ret_end) {
        bool braces = text + 1 < end && text[1] == '{';
        const char *name = text + 1 + braces, *brace = braces ? find_brace(name, end) : NULL, *value;
        size_t size = strspn(name, ENVIRONMENT_LETTERS);

        if (text + 1 < end && text[1] == '$') {
                *ret_end = text + 2;
                return value_append(parser, "$", 1) ?: 1;
        }
        if (size == 0 || (*name >= '0' && *name <= '9') || (braces && (!brace || depth == NESTING_MAX)))
                return 0;
        value = environment_get(parser->list, name, size);
        *ret_end = braces ? brace + 1 : name + size;
        return braces ? append_with_word(parser, value, name + size, brace, depth)
                      : value_append(parser, strempty(value), strlen(strempty(value))) ?: 1;
}

/* The same in v1: ${ any name } and ${ any name :- any word }. */
static int append_reference_v1(Parser *parser, const char *text, const char *end, const char **ret_end) {
        const char *name = text + 2, *rest, *brace, *value;

        if (text + 1 >= end || text[1] != '{')
                return 0;
        rest = name + strcspn(name, "}:");
        brace = memchr(rest, '}', (size_t) (MAX(end, rest) - rest));
        if (!brace || (*rest == ':' && rest[1] != '-'))
                return 0;
        *ret_end = brace + 1;
        value = environment_get(parser->list, name, (size_t) (rest - name));
        if (value || rest == brace)
                return value_append(parser, strempty(value), strlen(strempty(value))) ?: 1;
        return value_append(parser, rest + 2, (size_t) (brace - rest) - 2) ?: 1;
}

static int append_expanded(Parser *parser, const char *text, const char *end, unsigned depth) {
        int r = 1;

        while (r >= 0 && text < end) {
                const char *behind;

                r = *text != '$' ? 0
                    : parser->v1 ? append_reference_v1(parser, text, end, &behind)
                                 : append_reference(parser, text, end, depth, &behind);
                if (r > 0)
                        text = behind;
                else if (r == 0)
                        r = value_append(parser, text++, 1);
        }
        return r < 0 ? r : 1;
}

/* Pairs of what is written behind a backslash and what is meant. */
static const char *escapes_in(const Parser *parser, char quote) {
        if (quote == '"')
                return parser->v1 ? "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"\'\'" : "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"$$";
        return parser->v1 ? "\\\\\'\'" : "\'\'";
}

/* At a backslash. What means nothing stays, and a '$' behind it may still be one. */
static int append_escaped(Parser *parser, const char *escapes) {
        const char *text = parser->text;
        size_t n = text[1] == '$' ? 1 : 2;

        for (; *escapes; escapes += 2)
                if (*escapes == text[1]) {
                        parser->text += 2;
                        return value_append(parser, escapes + 1, 1);
                }
        parser->text += n;
        return value_append(parser, text, n);
}

/* Behind the first quote. 0: there is no second one. */
static int parse_quoted(Parser *parser, char quote) {
        const char *escapes = escapes_in(parser, quote), *end = parser->text;
        bool refers = quote == '"' || parser->v1;
        int r = 0;

        for (; *end && *end != quote; end++)
                end += *end == '\\' && end[1];
        if (!*end)
                return 0;
        while (r >= 0 && parser->text < end) {
                size_t plain = (size_t) (end - parser->text), n;

                n = MIN(strcspn(parser->text, "\\"), plain);
                r = refers ? append_expanded(parser, parser->text, parser->text + n, 0)
                           : value_append(parser, parser->text, n);
                parser->text += n;
                if (r >= 0 && parser->text < end)
                        r = append_escaped(parser, escapes);
        }
        parser->text = end + 1;
        if (r < 0 || !parser->v1)
                return r < 0 ? r : 1;
        /* v1 wants nothing more on the line. */
        end = parser->text + strspn(parser->text, BLANKS);
        return *end == '\0' || *end == '\n' || *end == '#';
}

static int parse_plain(Parser *parser) {
        const char *text = parser->text, *end = text + strcspn(text, "\n");

        for (const char *c = text; c < end; c++)
                if (*c == '#' && c > text && (c[-1] == ' ' || (parser->v1 && strchr(BLANKS, c[-1]))))
                        end = c;
        while (end > text && strchr(BLANKS, end[-1]))
                end--;
        parser->text = end;
        return append_expanded(parser, text, end, 0);
}

static int parser_add(Parser *parser, const char *name, size_t size) {
        char *entry;
        int r;

        entry = text_printf("%.*s=%.*s", (int) size, name, (int) parser->size, parser->value);
        if (!entry)
                return -ENOMEM;
        parser->total += strlen(entry);
        for (char **old = parser->list; old && *old; old++)
                if (strncmp(*old, entry, size + 1) == 0) {
                        free(*old);
                        *old = entry;
                        return 0;
                }
        r = parser->n++ == DOTENV_VARIABLES_MAX ? -E2BIG : strv_append(&parser->list, entry);
        free(entry);
        return r;
}

static int parse_line(Parser *parser) {
        const char *name, *line;
        size_t size;
        int r;

        parser->text += strspn(parser->text, BLANKS);
        if (strncmp(parser->text, "export", 6) == 0 && parser->text[6] && strchr(BLANKS, parser->text[6]))
                parser->text += 6 + strspn(parser->text + 6, BLANKS);
        name = parser->text;
        size = strspn(name, ENVIRONMENT_LETTERS);
        parser->text += size;
        parser->text += strspn(parser->text, BLANKS);
        if (size == 0 || (*name >= '0' && *name <= '9') || !*parser->text ||
            !strchr(parser->v1 ? "=" : "=:", *parser->text))
                return 0;

        parser->text++;
        line = parser->text + strspn(parser->text, BLANKS);
        parser->size = 0;
        parser->text = line;
        if (*line == '\'' || *line == '"') {
                parser->text++;
                r = parse_quoted(parser, *line);
                if (r == 0)
                        parser->text = line;
        } else
                r = parse_plain(parser);
        return r <= 0 ? r : parser_add(parser, name, size);
}

int dotenv_parse(char ***ret, const char *text, size_t size, bool v1) {
        _cleanup_(parser_done) Parser parser = { .text = text, .v1 = v1 };
        int r;

        if (memchr(text, '\0', size))
                return -EBADMSG;
        parser.value = malloc(DOTENV_SIZE_MAX);
        if (!parser.value)
                return -ENOMEM;
        /* Editors of other systems leave a byte order mark. */
        if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
                parser.text += 3;
        while (*parser.text) {
                r = parse_line(&parser);
                if (r < 0)
                        return r;
                parser.text += strcspn(parser.text, "\n");
                parser.text += *parser.text == '\n';
        }
        *ret = TAKE_PTR(parser.list);
        return 0;
}

int dotenv_read(char ***ret, const char *root, const char *folder, bool v1, char **reterr_why) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        size_t size;
        int r;

        assert(root);
        assert(folder);

        path = text_printf("%s/.env", folder);
        if (!path)
                return -ENOMEM;
        r = safe_file_read(root, path, FILE_OF_FOLDER, DOTENV_SIZE_MAX, &text, &size, reterr_why);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r >= 0)
                r = dotenv_parse(ret, text, size, v1);
        if (r == -EBADMSG)
                *reterr_why = strdup("is no text: save it as UTF-8");
        else if (r == -E2BIG || r == -EFBIG)
                *reterr_why = strdup("is larger than 64 KiB, or has more than 1000 variables");
        return r;
}
