#include "util/json-path.h"

/* JSON path, and values as people are shown them. What is printed comes from a file that may be hostile and
 * goes to terminals and to the kernel log: it is short, on one line, and free of control characters. */

#define SHOWN_MAX 60 /* bytes of a name or a text */

/* The bytes of a control character at `text`: ASCII ones, DEL, and those of Latin 1, which terminals obey as
 * well. */
static size_t control_length(const char *text, size_t size) {
        unsigned char c = (unsigned char) text[0];

        if (c < 0x20 || c == 0x7f)
                return 1;
        if (c == 0xc2 && size > 1 && (unsigned char) text[1] >= 0x80 && (unsigned char) text[1] < 0xa0)
                return 2;
        return 0;
}

static void quote(FILE *out, const char *text, size_t size) {
        size_t shown = size;

        if (size > SHOWN_MAX) {
                shown = SHOWN_MAX;
                while (shown > 0 && ((unsigned char) text[shown] & 0xc0) == 0x80)
                        shown--;
        }

        fputc('"', out);
        for (size_t i = 0; i < shown;) {
                size_t control = control_length(text + i, shown - i);

                if (control > 0) {
                        i += control;
                        fprintf(out, "\\u%04x", (unsigned char) text[i - 1]);
                        continue;
                }
                if (text[i] == '"' || text[i] == '\\')
                        fputc('\\', out);
                fputc(text[i++], out);
        }
        fputs(shown < size ? "…\"" : "\"", out);
}

static bool is_plain(const JsonPath *path) {
        if (path->length == 0 || path->length > SHOWN_MAX)
                return false;
        for (size_t i = 0; i < path->length; i++) {
                char c = path->name[i];

                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                      c == '-'))
                        return false;
        }
        return true;
}

static void print_path(FILE *out, const JsonPath *path) {
        if (!path)
                return;

        print_path(out, path->parent);
        if (!path->name)
                fprintf(out, "[%zu]", path->index);
        else if (is_plain(path))
                fprintf(out, "%s%.*s", path->parent ? "." : "", (int) path->length, path->name);
        else {
                fputc('[', out);
                quote(out, path->name, path->length);
                fputc(']', out);
        }
}

/* Closes a memory stream and gives its text; NULL if anything failed on the way. */
static char *finish(FILE *out, char **text) {
        bool failed = ferror(out);

        if (fclose(out) != 0 || failed)
                return mfree(*text);
        return *text;
}

char *json_path_to_string(const JsonPath *path) {
        char *text = NULL;
        size_t size;
        FILE *out;

        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        print_path(out, path);
        return finish(out, &text);
}

static void print_number(FILE *out, json_object *value) {
        const char *number = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);

        if (number)
                fprintf(out, "%.*s%s", SHOWN_MAX, number, strlen(number) > SHOWN_MAX ? "…" : "");
}

char *json_value_to_string(json_object *value) {
        char *text = NULL;
        size_t size;
        FILE *out;

        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        switch (json_object_get_type(value)) {
        case json_type_string:
                quote(out, json_object_get_string(value), (size_t) json_object_get_string_len(value));
                break;
        case json_type_array:
                fputs(json_object_array_length(value) > 0 ? "[…]" : "[]", out);
                break;
        case json_type_object:
                fputs(json_object_object_length(value) > 0 ? "{…}" : "{}", out);
                break;
        case json_type_null:
                fputs("null", out);
                break;
        default:
                print_number(out, value);
        }
        return finish(out, &text);
}
