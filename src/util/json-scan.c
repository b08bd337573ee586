#include "util/json-scan.h"
#include "util/printable.h"

/* JSON scan. json-c takes the last of two members of one name without a word, knows no line numbers, accepts
 * more than JSON, and gives up the whole file for a number that is too large. So the text is read once by this
 * scanner, which is strict, remembers lines, and builds nothing but the names of the objects that are open;
 * json-c may be lenient then.
 *
 * There is no recursion: a frame is an open object or array. The names of an object lie on one stack above
 * those of the objects around it and are sorted when it closes, by hash first; so n names cost n log n whatever
 * they are, and nobody can choose them to be slow. */

typedef struct Key {
        uint32_t hash;
        uint32_t length;
        const char *name; /* in the text, or in `decoded` if it has escapes */
        unsigned line;
        unsigned column;
} Key;

typedef struct Scan {
        const char *text;
        const char *end;
        const char *at;
        const char *line_start;
        unsigned line;
        const char *mistake;

        char close[JSON_DEPTH_MAX]; /* of each frame */
        size_t first_key[JSON_DEPTH_MAX];
        JsonPath path[JSON_DEPTH_MAX]; /* the member or element that each frame is at */
        size_t depth;
        size_t n_values;

        Key *keys;
        size_t n_keys, allocated_keys;
        char *decoded; /* as long as the text, as an escape is never shorter than what it stands for */
        size_t n_decoded;

        JsonDuplicateHandler handler;
        void *userdata;
} Scan;

static int mistake(Scan *scan, const char *text) {
        scan->mistake = text;
        return -EBADMSG;
}

static bool at_byte(const Scan *scan, char byte) {
        return scan->at < scan->end && *scan->at == byte;
}

static void skip_space(Scan *scan) {
        for (; scan->at < scan->end; scan->at++) {
                char c = *scan->at;

                if (c == '\n') {
                        scan->line++;
                        scan->line_start = scan->at + 1;
                } else if (c != ' ' && c != '\t' && c != '\r')
                        return;
        }
}

static int hex4(const char *text, const char *end, uint32_t *ret) {
        uint32_t value = 0;

        if (end - text < 4)
                return -EBADMSG;
        for (int i = 0; i < 4; i++) {
                char c = text[i];

                if (c >= '0' && c <= '9')
                        value = value * 16 + (uint32_t) (c - '0');
                else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                        value = value * 16 + (uint32_t) ((c | 0x20) - 'a' + 10);
                else
                        return -EBADMSG;
        }
        *ret = value;
        return 0;
}

/* The bytes of the escape at `text`, and the character that it stands for. -EBADMSG: malformed, or half of a
 * pair. */
static ssize_t read_escape(const char *text, const char *end, uint32_t *ret) {
        static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        const char *letter;
        uint32_t low;

        if (end - text < 2)
                return -EBADMSG;
        letter = text[1] != '\0' ? strchr(letters, text[1]) : NULL;
        if (letter) {
                *ret = (uint32_t) meant[letter - letters];
                return 2;
        }
        if (text[1] != 'u' || hex4(text + 2, end, ret) < 0)
                return -EBADMSG;
        if (*ret < 0xd800 || *ret > 0xdfff)
                return 6;
        if (*ret > 0xdbff || end - text < 12 || text[6] != '\\' || text[7] != 'u' ||
            hex4(text + 8, end, &low) < 0 || low < 0xdc00 || low > 0xdfff)
                return -EBADMSG;
        *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
        return 12;
}

static size_t utf8_write(char *out, uint32_t c) {
        static const uint8_t leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 }; /* by length */
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        for (size_t i = n - 1; i > 0; i--, c >>= 6)
                out[i] = (char) (0x80 | (c & 0x3f));
        out[0] = (char) (leads[n] | c);
        return n;
}

/* Goes past a string, at whose quote it is. */
static int scan_string(Scan *scan, bool *ret_escaped) {
        *ret_escaped = false;
        for (scan->at++; scan->at < scan->end;) {
                unsigned char c = (unsigned char) *scan->at;
                uint32_t character;
                ssize_t n = 1;

                if (c == '"') {
                        scan->at++;
                        return 0;
                }
                if (c < 0x20)
                        return mistake(scan, "a string has a line break or another control character in it");
                if (c == '\\') {
                        *ret_escaped = true;
                        n = read_escape(scan->at, scan->end, &character);
                        if (n < 0)
                                return mistake(scan, "malformed escape sequence");
                } else if (c >= 0x80) {
                        n = (ssize_t) utf8_length(scan->at, (size_t) (scan->end - scan->at));
                        if (n == 0)
                                return mistake(scan, "invalid UTF-8");
                }
                scan->at += n;
        }
        return mistake(scan, "the file ends within a string");
}

static int decode_key(Scan *scan, const char *from, const char *to, Key *key) {
        char *out;

        if (!scan->decoded) {
                scan->decoded = malloc((size_t) (scan->end - scan->text));
                if (!scan->decoded)
                        return -ENOMEM;
        }

        out = scan->decoded + scan->n_decoded;
        key->name = out;
        while (from < to) {
                uint32_t character;

                if (*from != '\\') {
                        *out++ = *from++;
                        continue;
                }
                from += read_escape(from, to, &character);
                if (character == 0)
                        return mistake(scan, "a member's name has a NUL in it");
                out += utf8_write(out, character);
        }
        key->length = (uint32_t) (out - key->name);
        scan->n_decoded += key->length;
        return 0;
}

static int push_key(Scan *scan, Key key) {
        if (scan->n_keys - scan->first_key[scan->depth - 1] == JSON_MEMBERS_MAX)
                return mistake(scan, "more than 10000 members in one object");
        if (scan->n_keys == scan->allocated_keys) {
                size_t larger = MAX(2 * scan->allocated_keys, (size_t) 64);
                Key *moved = reallocarray(scan->keys, larger, sizeof(Key));

                if (!moved)
                        return -ENOMEM;
                scan->keys = moved;
                scan->allocated_keys = larger;
        }

        key.hash = UINT32_C(2166136261);
        for (uint32_t i = 0; i < key.length; i++)
                key.hash = (key.hash ^ (unsigned char) key.name[i]) * UINT32_C(16777619);
        scan->keys[scan->n_keys++] = key;
        return 0;
}

/* A member's name and its colon. */
static int scan_key(Scan *scan) {
        JsonPath *path = &scan->path[scan->depth - 1];
        const char *start;
        bool escaped;
        Key key;
        int r;

        skip_space(scan);
        if (!at_byte(scan, '"'))
                return mistake(scan, "expected the name of a member, in double quotes");
        start = scan->at + 1;
        key = (Key){ .name = start, .line = scan->line, .column = (unsigned) (scan->at - scan->line_start) + 1 };
        r = scan_string(scan, &escaped);
        if (r < 0)
                return r;
        key.length = (uint32_t) (scan->at - 1 - start);
        if (escaped) {
                r = decode_key(scan, start, scan->at - 1, &key);
                if (r < 0)
                        return r;
        }
        r = push_key(scan, key);
        if (r < 0)
                return r;
        path->name = key.name;
        path->length = key.length;

        skip_space(scan);
        if (!at_byte(scan, ':'))
                return mistake(scan, "expected ':' after the name of a member");
        scan->at++;
        return 0;
}

static int compare_keys(const void *x, const void *y) {
        const Key *a = x, *b = y;
        int r;

        if (a->hash != b->hash)
                return a->hash < b->hash ? -1 : 1;
        if (a->length != b->length)
                return a->length < b->length ? -1 : 1;
        r = memcmp(a->name, b->name, a->length);
        if (r != 0)
                return r;
        return a->line != b->line ? (a->line < b->line ? -1 : 1)
                                  : (a->column > b->column) - (a->column < b->column);
}

static int close_frame(Scan *scan) {
        size_t first = scan->first_key[scan->depth - 1];
        JsonPath *path = &scan->path[scan->depth - 1];
        int r = 0;

        scan->at++;
        if (scan->n_keys - first > 1)
                qsort(scan->keys + first, scan->n_keys - first, sizeof(Key), compare_keys);
        for (size_t i = first + 1; i < scan->n_keys && r >= 0; i++) {
                const Key *a = &scan->keys[i - 1], *b = &scan->keys[i];

                if (a->hash != b->hash || a->length != b->length || memcmp(a->name, b->name, a->length) != 0)
                        continue;
                path->name = b->name;
                path->length = b->length;
                r = scan->handler(path, b->line, b->column, scan->userdata);
        }
        scan->n_keys = first;
        scan->depth--;
        return MIN(r, 0);
}

/* Opens an object or array. Returns 1 if a value comes next, 0 if it was empty. */
static int open_frame(Scan *scan) {
        bool is_object = *scan->at == '{';
        size_t depth = scan->depth;
        int r;

        if (depth == JSON_DEPTH_MAX)
                return mistake(scan, "more than 64 objects and lists within one another");
        scan->close[depth] = is_object ? '}' : ']';
        scan->first_key[depth] = scan->n_keys;
        scan->path[depth] = (JsonPath){ .parent = depth > 0 ? &scan->path[depth - 1] : NULL };
        scan->depth++;
        scan->at++;

        skip_space(scan);
        if (at_byte(scan, scan->close[depth]))
                return close_frame(scan);
        r = is_object ? scan_key(scan) : 0;
        return r < 0 ? r : 1;
}

static size_t skip_digits(Scan *scan) {
        const char *start = scan->at;

        while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
                scan->at++;
        return (size_t) (scan->at - start);
}

static int scan_number(Scan *scan) {
        if (at_byte(scan, '-'))
                scan->at++;
        if (at_byte(scan, '0'))
                scan->at++;
        else if (skip_digits(scan) == 0)
                return mistake(scan, "malformed number");
        if (at_byte(scan, '.')) {
                scan->at++;
                if (skip_digits(scan) == 0)
                        return mistake(scan, "malformed number");
        }
        if (at_byte(scan, 'e') || at_byte(scan, 'E')) {
                scan->at++;
                if (at_byte(scan, '+') || at_byte(scan, '-'))
                        scan->at++;
                if (skip_digits(scan) == 0)
                        return mistake(scan, "malformed number");
        }
        return 0;
}

static int scan_literal(Scan *scan) {
        static const char *const literals[] = { "true", "false", "null" };

        for (size_t i = 0; i < ELEMENTSOF(literals); i++) {
                size_t n = strlen(literals[i]);

                if ((size_t) (scan->end - scan->at) >= n && memcmp(scan->at, literals[i], n) == 0) {
                        scan->at += n;
                        return 0;
                }
        }
        return mistake(scan,
                       scan->at == scan->end ? "the file ends where a value was expected" : "expected a value");
}

/* A value, or the beginning of one: returns 1 if the first value within it comes next. */
static int scan_value(Scan *scan) {
        bool escaped;

        skip_space(scan);
        if (++scan->n_values > JSON_VALUES_MAX)
                return mistake(scan, "more than 500000 values in the file");
        if (at_byte(scan, '{') || at_byte(scan, '['))
                return open_frame(scan);
        if (at_byte(scan, '"'))
                return scan_string(scan, &escaped);
        if (scan->at < scan->end && (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9')))
                return scan_number(scan);
        return scan_literal(scan);
}

/* After a value. Returns 1 if another one comes next, 0 at the end of the outermost. */
static int scan_next(Scan *scan) {
        int r;

        while (scan->depth > 0) {
                bool is_object = scan->close[scan->depth - 1] == '}';

                skip_space(scan);
                if (at_byte(scan, ',')) {
                        scan->at++;
                        scan->path[scan->depth - 1].index++;
                        r = is_object ? scan_key(scan) : 0;
                        return r < 0 ? r : 1;
                }
                if (!at_byte(scan, scan->close[scan->depth - 1]))
                        return mistake(scan, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
                r = close_frame(scan);
                if (r < 0)
                        return r;
        }
        return 0;
}

int json_scan(const char *text, size_t size, JsonDuplicateHandler handler, void *userdata, JsonMistake *reterr) {
        Scan scan = { .line = 1, .handler = handler, .userdata = userdata };
        int r;

        assert(text || size == 0);
        assert(handler);

        if (size > JSON_SIZE_MAX)
                return -EFBIG;
        scan.text = scan.at = scan.line_start = text;
        scan.end = text + size;

        do {
                r = scan_value(&scan);
                if (r == 0)
                        r = scan_next(&scan);
        } while (r > 0);
        if (r == 0) {
                skip_space(&scan);
                if (scan.at < scan.end)
                        r = mistake(&scan, "expected the end of the file");
        }

        if (r == -EBADMSG)
                *reterr = (JsonMistake){
                        .line = scan.line,
                        .column = (unsigned) (scan.at - scan.line_start) + 1,
                        .text = scan.mistake,
                };
        free(scan.keys);
        free(scan.decoded);
        return r;
}

int json_read(json_object **ret, const char *text, size_t size, JsonDuplicateHandler handler, void *userdata,
              JsonMistake *reterr) {
        struct json_tokener *tokener;
        json_object *value;
        int r;

        r = json_scan(text, size, handler, userdata, reterr);
        if (r < 0)
                return r;

        tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
        if (!tokener)
                return -ENOMEM;
        value = json_tokener_parse_ex(tokener, text, (int) size);
        /* A number at the top might go on: json-c wants to see the end. */
        if (json_tokener_get_error(tokener) == json_tokener_continue)
                value = json_tokener_parse_ex(tokener, "", 1);
        if (json_tokener_get_error(tokener) != json_tokener_success) {
                *reterr = (JsonMistake){ .line = 1,
                                         .column = 1,
                                         .text = json_tokener_error_desc(json_tokener_get_error(tokener)) };
                r = -EBADMSG;
        } else
                *ret = value;
        json_tokener_free(tokener);
        return r;
}
