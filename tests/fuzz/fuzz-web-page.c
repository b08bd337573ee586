#include "web/language.h"
#include "web/template.h"

/* What a wait page is made of besides our own files: the browser's Accept-Language on the first line, a theme's template behind it. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get_hostile(const void *object, const char *rest, char *buffer) {
        return "\"><script>'&";
}

static const char *get_text(const void *object, const char *rest, char *buffer) {
        return language_text(LANGUAGE_FRENCH, rest);
}

static const TemplateField fields[] = {
        { .name = "NAME", .get = get_hostile },
        { .name = "TEXT_", .get = get_text, .prefix = true },
        {},
};

static void check_language(const char *text, size_t size) {
        _cleanup_free_ char *header = strndup(text, size);

        if (!header)
                abort();
        if (language_negotiate(header) < 0 || language_negotiate(header) >= _LANGUAGE_MAX)
                abort();
}

/* A page has no more elements than its template says: values add none. */
static void check_template(const char *text, size_t size) {
        const TemplateSection sections[] = {
                { NULL, fields, text, 1, 1 },
                { "MANY", fields, text, 0, 3 },
                { "NONE", fields, text, 0, 0 },
                {},
        };
        _cleanup_(template_text_done) TemplateText parts = {};
        _cleanup_free_ char *page = NULL;
        size_t page_size = 0, offset = SIZE_MAX;
        int r;

        r = template_expand(&parts, text, size, sections, &offset);
        if (r < 0) {
                if ((r != -EBADMSG && r != -ENOENT && r != -EFBIG) || parts.own || (r != -EFBIG && offset > size))
                        abort();
                return;
        }
        page = malloc(parts.size + 1);
        if (!page || parts.size > TEMPLATE_OUTPUT_MAX)
                abort();
        for (size_t i = 0; i < parts.n_parts; i++) {
                memcpy(page + page_size, parts.parts[i].iov_base, parts.parts[i].iov_len);
                page_size += parts.parts[i].iov_len;
        }
        if (page_size != parts.size)
                abort();
        if (!memmem(text, size, "<script>", 8) && !memmem(text, size, "{{#MANY}}", 9) &&
            memmem(page, page_size, "><script>", 9))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data, *newline = size > 0 ? memchr(text, '\n', size) : NULL;
        size_t header = newline ? (size_t) (newline - text) : size;

        if (size == 0)
                return 0;
        check_language(text, header);
        if (newline)
                check_template(newline + 1, size - header - 1);
        return 0;
}
