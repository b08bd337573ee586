#include <stdarg.h>

#include "unit-text.h"
#include "util/text.h"

/* Unit text. A directive is a line, so what ends a line or joins it with the next is all that could add
 * one; what a value means within its line (specifiers, quotes, patterns) could only make it mean
 * something else. systemd reads a line as follows: blanks at both ends go, an unescaped backslash at the
 * end continues the line, then each directive has its own ideas. Since few of these know an escape for
 * everything, what cannot be carried is refused rather than changed. */

#define UNIT_TEXT_MAX (1024 * 1024) /* what systemd reads of one line */

void unit_text_done(UnitText *text) {
        free(text->data);
        *text = (UnitText){};
}

static void unit_text_put(UnitText *text, const char *data, size_t size) {
        char *larger = NULL;

        if (text->error < 0)
                return;
        if (size > UNIT_TEXT_MAX - text->size)
                text->error = -EINVAL;
        else if (!(larger = realloc(text->data, text->size + size + 1)))
                text->error = -ENOMEM;
        if (text->error < 0)
                return;
        text->data = larger;
        memcpy(text->data + text->size, data, size);
        text->size += size;
        text->data[text->size] = '\0';
}

void unit_text_print(UnitText *text, const char *format, ...) {
        _cleanup_free_ char *made = NULL;
        va_list arguments;

        va_start(arguments, format);
        made = text_vprintf(format, arguments);
        va_end(arguments);
        if (made)
                unit_text_put(text, made, strlen(made));
        else
                text->error = -ENOMEM;
}

static void unit_text_escape(UnitText *text, const char *value, UnitEscape escape) {
        static const char *const special[] = {
                [UNIT_PLAIN] = "%",
                [UNIT_WORD] = "%\"\\",
        };

        for (const char *c = value; *c;) {
                size_t n = strcspn(c, special[escape]);

                unit_text_put(text, c, n);
                c += n;
                if (*c == '\0')
                        return;
                unit_text_put(text, *c == '%' ? "%" : "\\", 1);
                unit_text_put(text, c, 1);
                c++;
        }
}

static bool has_control(const char *value) {
        for (const char *c = value; *c; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        return true;
        return false;
}

void unit_text_add_user(UnitText *text, const char *key, const char *before, const char *value, const char *after,
                        UnitEscape escape) {
        const char *quote = escape == UNIT_WORD ? "\"" : "";
        size_t start;

        unit_text_print(text, "%s=", key);
        start = text->size;
        unit_text_print(text, "%s%s", before, quote);
        unit_text_escape(text, value, escape);
        unit_text_print(text, "%s%s", quote, after);

        if (text->error < 0)
                return;
        /* Looked at as a whole, since `before` and `after` may protect the ends. A backslash at the end
         * is refused even if another one escapes it: to systemd's reader that is fine, to the directive
         * it is not the same path. */
        if (has_control(value) || start == text->size || text->data[start] == ' ' ||
            strchr(" \\", text->data[text->size - 1])) {
                text->error = -EINVAL;
                return;
        }
        unit_text_print(text, "\n");
}

int unit_text_finish(const UnitText *text, const char **ret, size_t *ret_size) {
        assert(ret);
        assert(ret_size);

        if (text->error < 0)
                return text->error;
        *ret = strempty(text->data);
        *ret_size = text->size;
        return 0;
}
