#include "io/compose-yaml.h"

/* ComposeYaml is no YAML parser. docker-compose 1.29 prints by PyYAML's safe_dump() in block style, and that is what makes it
 * readable line by line: a key stands alone on its line or with its scalar; whatever goes on below it (the rest of a folded
 * scalar, members of a list's item) is indented deeper; a list's items are as deep as its key. So what is not understood is
 * what is deeper than the line that it belongs to, and is skipped as a whole. No text inside of a scalar can pass for a key.
 */

#define DEPTH_MAX 16
#define VALUES_MAX 100000

typedef struct Frame {
        size_t indent;
        json_object *object; /* borrowed from the one below */
        char *key; /* whose value may follow on the next lines; NULL: none */
} Frame;

typedef struct Reader {
        Frame frames[DEPTH_MAX];
        size_t n_frames;
        size_t n_values;
        bool skipping; /* all that is deeper than: */
        size_t skipped_indent;
} Reader;

static void frame_set_key(Frame *frame, char *key) {
        free(frame->key);
        frame->key = key;
}

static void reader_done(Reader *reader) {
        for (size_t i = 0; i < DEPTH_MAX; i++)
                free(reader->frames[i].key);
}

static void reader_skip_deeper(Reader *reader, size_t indent) {
        reader->skipping = true;
        reader->skipped_indent = indent;
}

/* Where the quoted scalar at the beginning ends: behind its last quote; 0 if not on this line. */
static size_t quoted_length(const char *text, size_t size) {
        char quote = text[0];

        for (size_t i = 1; i < size; i++) {
                if (quote == '"' && text[i] == '\\')
                        i++;
                else if (text[i] == quote && quote == '\'' && i + 1 < size && text[i + 1] == quote)
                        i++;
                else if (text[i] == quote)
                        return i + 1;
        }
        return 0;
}

static bool is_quoted(const char *text, size_t size) {
        return size > 0 && (text[0] == '\'' || text[0] == '"');
}

/* The text of a scalar, plain or quoted, of one line. NULL in `ret`: it is not read. */
static int scalar_decode(const char *text, size_t size, char **ret) {
        size_t n = 0;
        char *copy;

        *ret = NULL;
        if (is_quoted(text, size)) {
                if (quoted_length(text, size) != size || (text[0] == '"' && memchr(text, '\\', size)))
                        return 0;
        } else if (size > 0 && strchr("*&!|>@`%", text[0]))
                return 0;

        copy = malloc(size + 1);
        if (!copy)
                return -ENOMEM;
        if (is_quoted(text, size)) {
                for (size_t i = 1; i < size - 1; i++) {
                        copy[n++] = text[i];
                        i += text[0] == '\'' && text[i] == '\'';
                }
        } else {
                memcpy(copy, text, size);
                n = size;
        }
        copy[n] = '\0';
        *ret = copy;
        return 0;
}

static bool is_word(const char *text, size_t size, const char *word) {
        return strlen(word) == size && memcmp(text, word, size) == 0;
}

static int value_decode(const char *text, size_t size, json_object **ret) {
        _cleanup_free_ char *scalar = NULL;
        int r;

        *ret = NULL;
        if (size == 0 || is_word(text, size, "null") || is_word(text, size, "~"))
                return 0;
        if (is_word(text, size, "{}"))
                *ret = json_object_new_object();
        else if (is_word(text, size, "[]"))
                *ret = json_object_new_array();
        else {
                r = scalar_decode(text, size, &scalar);
                if (r < 0 || !scalar)
                        return r;
                *ret = json_object_new_string(scalar);
        }
        return *ret ? 0 : -ENOMEM;
}

/* Takes the value, also on failure. */
static int object_set(json_object *object, const char *key, json_object *value) {
        if (json_object_object_add(object, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

static int read_item(Reader *reader, size_t indent, const char *text, size_t size) {
        Frame *frame = &reader->frames[reader->n_frames - 1];
        json_object *list = NULL, *value;
        int r;

        if (!frame->key)
                return -EBADMSG;
        (void) json_object_object_get_ex(frame->object, frame->key, &list);
        if (!list) {
                list = json_object_new_array();
                r = list ? object_set(frame->object, frame->key, list) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        if (!json_object_is_type(list, json_type_array))
                return -EBADMSG;

        r = value_decode(text, size, &value);
        if (r < 0)
                return r;
        if (json_object_array_add(list, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        reader_skip_deeper(reader, indent);
        return 0;
}

/* The length of the key at the beginning, up to its colon; 0: there is none. */
static size_t key_length(const char *text, size_t size) {
        if (is_quoted(text, size)) {
                size_t n = quoted_length(text, size);

                return n > 0 && n < size && text[n] == ':' && (n + 1 == size || text[n + 1] == ' ') ? n : 0;
        }
        for (size_t i = 0; i < size; i++)
                if (text[i] == ':' && (i + 1 == size || text[i + 1] == ' '))
                        return i;
        return 0;
}

/* Goes into what belongs to the key above. */
static int reader_descend(Reader *reader, size_t indent) {
        Frame *frame = &reader->frames[reader->n_frames - 1];
        json_object *object;
        int r;

        if (!frame->key || json_object_object_get(frame->object, frame->key) || reader->n_frames == DEPTH_MAX)
                return -EBADMSG;
        object = json_object_new_object();
        if (!object)
                return -ENOMEM;
        r = object_set(frame->object, frame->key, object);
        if (r < 0)
                return r;
        reader->frames[reader->n_frames++] = (Frame){ .indent = indent, .object = object };
        return 0;
}

static int read_member(Reader *reader, size_t indent, const char *text, size_t size) {
        Frame *frame = &reader->frames[reader->n_frames - 1];
        size_t length = key_length(text, size), blanks = 0;
        const char *value_text;
        json_object *value;
        char *key;
        int r;

        /* A key that is too long for its line: "? KEY", ": VALUE". None that anybody asks for is. */
        if (size >= 2 && (text[0] == '?' || text[0] == ':') && text[1] == ' ') {
                frame_set_key(frame, NULL);
                reader_skip_deeper(reader, indent);
                return 0;
        }
        if (length == 0)
                return -EBADMSG;

        value_text = text + length + 1;
        size -= length + 1;
        while (blanks < size && value_text[blanks] == ' ')
                blanks++;
        value_text += blanks;
        size -= blanks;
        /* An anchor stands before what it is the name of. */
        if (size > 0 && value_text[0] == '&') {
                const char *end = memchr(value_text, ' ', size);

                size = end ? size - (size_t) (end + 1 - value_text) : 0;
                value_text = end ? end + 1 : value_text;
        }

        r = scalar_decode(text, length, &key);
        if (r < 0)
                return r;
        frame_set_key(frame, key);
        if (!key) {
                reader_skip_deeper(reader, indent);
                return 0;
        }
        r = value_decode(value_text, size, &value);
        if (r >= 0)
                r = object_set(frame->object, key, value);
        if (r < 0)
                return r;
        if (size > 0) {
                frame_set_key(frame, NULL);
                reader_skip_deeper(reader, indent);
        }
        return 0;
}

static int read_line(Reader *reader, const char *line, size_t size) {
        size_t indent = 0;
        int r;

        while (indent < size && line[indent] == ' ')
                indent++;
        line += indent;
        size -= indent;
        if (size == 0 || (reader->skipping && indent > reader->skipped_indent))
                return 0;
        reader->skipping = false;
        if (line[0] == '\t' || ++reader->n_values > VALUES_MAX)
                return -EBADMSG;

        while (reader->frames[reader->n_frames - 1].indent > indent)
                frame_set_key(&reader->frames[--reader->n_frames], NULL);
        if (is_word(line, size, "-") || (size >= 2 && line[0] == '-' && line[1] == ' '))
                return read_item(reader, indent, line + MIN(size, (size_t) 2), size - MIN(size, (size_t) 2));
        if (reader->frames[reader->n_frames - 1].indent < indent) {
                r = reader_descend(reader, indent);
                if (r < 0)
                        return r;
        }
        return read_member(reader, indent, line, size);
}

int compose_yaml_read(json_object **ret, const char *text, size_t size) {
        _cleanup_(reader_done) Reader reader = { .n_frames = 1 };
        json_object *object;
        int r = 0;

        assert(ret);
        assert(text);

        if (memchr(text, '\0', size))
                return -EBADMSG;
        object = json_object_new_object();
        if (!object)
                return -ENOMEM;
        reader.frames[0].object = object;

        while (size > 0 && r >= 0) {
                const char *end = memchr(text, '\n', size);
                size_t n = end ? (size_t) (end - text) : size;

                r = read_line(&reader, text, n);
                n += end != NULL;
                text += n;
                size -= n;
        }
        if (r < 0) {
                json_object_put(object);
                return r;
        }
        *ret = object;
        return 0;
}
