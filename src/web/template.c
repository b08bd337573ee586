#include "web/template.h"

/* Template: one pass over the text. Every {{ begins a tag, there is no way to write a literal one: HTML has no use for it, and
 * scripts and styles come in as values, which are not looked at again. Escaping is done here, so a field that forgets about it
 * is safe. */

#define NAME_MAX_LENGTH 48
/* Shorter ones cost as much to point to as to copy, and so many parts are no burden for who sends them. */
#define BORROWED_SIZE_MIN ((size_t) 512)
#define BORROWED_MAX 32U

typedef struct Output {
        TemplateText text;
        size_t allocated, n_borrowed;
} Output;

typedef enum TagKind {
        TAG_VALUE,
        TAG_BEGIN,
        TAG_END,
} TagKind;

typedef struct Tag {
        TagKind kind;
        char name[NAME_MAX_LENGTH + 1];
        const char *begin, *end; /* the braces included */
} Tag;

typedef struct Expansion {
        Output output;
        const char *end; /* of the text */
        const TemplateSection *sections;
        const char *wrong; /* where the text is */
} Expansion;

void template_text_done(TemplateText *text) {
        free(text->own);
        free(text->parts);
        *text = (TemplateText){};
}

/* The last part, if it is our own, or a new one; our own get their place when the text is whole. */
static int output_get_part(Output *output, const char *borrowed, struct iovec **ret) {
        TemplateText *text = &output->text;

        if (!text->parts)
                text->parts = new0(struct iovec, 2 * BORROWED_MAX + 1);
        if (!text->parts)
                return -ENOMEM;
        if (borrowed || text->n_parts == 0 || text->parts[text->n_parts - 1].iov_base)
                text->parts[text->n_parts++] = (struct iovec){ .iov_base = (char *) borrowed };
        *ret = &text->parts[text->n_parts - 1];
        return 0;
}

static int output_add(Output *output, const char *text, size_t size) {
        size_t own_size = output->text.own_size;
        struct iovec *part;
        int r;

        if (size > TEMPLATE_OUTPUT_MAX - output->text.size)
                return -EFBIG;
        if (size == 0)
                return 0;
        r = output_get_part(output, NULL, &part);
        if (r < 0)
                return r;
        if (own_size + size > output->allocated) {
                size_t wanted = MAX(2 * output->allocated, MAX(own_size + size, (size_t) 2048));
                char *grown = realloc(output->text.own, wanted);

                if (!grown)
                        return -ENOMEM;
                output->text.own = grown;
                output->allocated = wanted;
        }
        memcpy(output->text.own + own_size, text, size);
        output->text.own_size += size;
        output->text.size += size;
        part->iov_len += size;
        return 0;
}

/* Of what stays. */
static int output_borrow(Output *output, const char *text, size_t size) {
        struct iovec *part;
        int r;

        if (size < BORROWED_SIZE_MIN || output->n_borrowed == BORROWED_MAX)
                return output_add(output, text, size);
        if (size > TEMPLATE_OUTPUT_MAX - output->text.size)
                return -EFBIG;
        r = output_get_part(output, text, &part);
        if (r < 0)
                return r;
        output->n_borrowed++;
        output->text.size += size;
        part->iov_len = size;
        return 0;
}

static int output_finish(Output *output, TemplateText *ret) {
        TemplateText *text = &output->text;
        char *at = realloc(text->own, MAX(text->own_size, (size_t) 1));

        if (!at)
                return -ENOMEM;
        text->own = at;
        for (size_t i = 0; i < text->n_parts; i++)
                if (!text->parts[i].iov_base) {
                        text->parts[i].iov_base = at;
                        at += text->parts[i].iov_len;
                }
        *ret = *text;
        return 0;
}

static const char escaped[] = "&<>\"'";
static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };

static int output_add_escaped(Output *output, const char *text) {
        int r = 0;

        while (r >= 0 && *text) {
                size_t plain = strcspn(text, escaped);

                r = output_add(output, text, plain);
                text += plain;
                if (r >= 0 && *text) {
                        const char *entity = entities[strchr(escaped, *text++) - escaped];

                        r = output_add(output, entity, strlen(entity));
                }
        }
        return r;
}

char *template_escape(const char *text) {
        Output output = {};
        char *result = NULL;

        if (output_add_escaped(&output, text) >= 0 && output_add(&output, "", 1) >= 0)
                result = TAKE_PTR(output.text.own);
        template_text_done(&output.text);
        return result;
}

static bool is_name(char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The next tag at or after `text`. 0: there is none. */
static int find_tag(Expansion *expansion, const char *text, Tag *ret) {
        const char *begin = memmem(text, (size_t) (expansion->end - text), "{{", 2), *at;
        size_t length = 0;

        if (!begin)
                return 0;
        *ret = (Tag){ .begin = begin };
        at = begin + 2;
        if (at < expansion->end && (*at == '#' || *at == '/'))
                ret->kind = *at++ == '#' ? TAG_BEGIN : TAG_END;
        for (; at < expansion->end && is_name(*at) && length < NAME_MAX_LENGTH; at++)
                ret->name[length++] = *at;
        if (length == 0 || expansion->end - at < 2 || at[0] != '}' || at[1] != '}') {
                expansion->wrong = begin;
                return -EBADMSG;
        }
        ret->end = at + 2;
        return 1;
}

static const char *field_get(const TemplateField *field, const char *name, const void *object, char *buffer) {
        size_t length = strlen(field->name);

        if (strncmp(field->name, name, length) != 0 || (!field->prefix && name[length] != '\0'))
                return NULL;
        return field->get ? field->get(object, name + length, buffer)
                          : *(const char *const *) (const void *) ((const uint8_t *) object + field->offset);
}

static int add_value(Expansion *expansion, const Tag *tag, const TemplateSection *section, const void *object) {
        char buffer[TEMPLATE_BUFFER_SIZE] = "";

        for (const TemplateField *field = section->fields; field->name; field++) {
                const char *text = field_get(field, tag->name, object, buffer);

                if (text)
                        return field->raw ? output_borrow(&expansion->output, text, strlen(text))
                                          : output_add_escaped(&expansion->output, text);
        }
        if (section != expansion->sections)
                return add_value(expansion, tag, expansion->sections, expansion->sections->objects);
        expansion->wrong = tag->begin;
        return -ENOENT;
}

/* Values and plain text from `text` to the end of this section: of the tag that is its end, or of the whole text. */
static int add_body(Expansion *expansion, const char **text, const TemplateSection *section, const void *object);

/* Goes on to the end of a section that is not to be seen: tags in it are read, and nothing is written. */
static int skip_section(Expansion *expansion, const char **text, const Tag *begin) {
        Tag tag;
        int r;

        while ((r = find_tag(expansion, *text, &tag)) > 0) {
                *text = tag.end;
                if (tag.kind == TAG_END && streq(tag.name, begin->name))
                        return 0;
                if (tag.kind != TAG_VALUE)
                        break;
        }
        if (r < 0)
                return r;
        expansion->wrong = begin->begin;
        return -EBADMSG;
}

static int add_section(Expansion *expansion, const char **text, const Tag *begin) {
        const TemplateSection *section = expansion->sections + 1;
        const char *body = begin->end;
        int r = 0;

        while (section->fields && !streq(section->name, begin->name))
                section++;
        if (!section->fields) {
                expansion->wrong = begin->begin;
                return -ENOENT;
        }
        if (section->n_objects == 0)
                return skip_section(expansion, text, begin);
        for (size_t i = 0; r >= 0 && i < section->n_objects; i++) {
                *text = body;
                r = add_body(expansion, text, section,
                             (const uint8_t *) section->objects + i * section->object_size);
        }
        return r;
}

static int add_body(Expansion *expansion, const char **text, const TemplateSection *section, const void *object) {
        bool document = section == expansion->sections;
        Tag tag;
        int r;

        for (;;) {
                r = find_tag(expansion, *text, &tag);
                if (r < 0)
                        return r;
                if (r == 0)
                        tag.begin = expansion->end;
                if (r == 0 && !document)
                        break;
                r = output_borrow(&expansion->output, *text, (size_t) (tag.begin - *text));
                if (r < 0 || tag.begin == expansion->end)
                        return r;

                *text = tag.end;
                if (tag.kind == TAG_VALUE)
                        r = add_value(expansion, &tag, section, object);
                else if (tag.kind == TAG_BEGIN && document)
                        r = add_section(expansion, text, &tag);
                else if (tag.kind == TAG_END && !document && streq(tag.name, section->name))
                        return 0;
                else
                        break;
                if (r < 0)
                        return r;
        }
        expansion->wrong = tag.begin;
        return -EBADMSG;
}

int template_expand(TemplateText *ret, const char *text, size_t size, const TemplateSection *sections,
                    size_t *reterr_offset) {
        Expansion expansion = { .end = text + size, .sections = sections };
        const char *at = text;
        int r;

        assert(sections && sections->fields && !sections->name);

        r = add_body(&expansion, &at, sections, sections->objects);
        if (r >= 0)
                r = output_finish(&expansion.output, ret);
        if (r < 0) {
                if (reterr_offset && expansion.wrong)
                        *reterr_offset = (size_t) (expansion.wrong - text);
                template_text_done(&expansion.output.text);
                return r;
        }
        return 0;
}
