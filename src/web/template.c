#include "web/template.h"

/* Template: one pass over the text. Every {{ begins a tag, there is no way to write a literal one: HTML has no use for it, and
 * scripts and styles come in as values, which are not looked at again. Escaping is done here, so a field that forgets about it
 * is safe. */

#define NAME_MAX_LENGTH 48

typedef struct Output {
        char *text;
        size_t size, allocated;
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

static int output_add(Output *output, const char *text, size_t size) {
        if (size > TEMPLATE_OUTPUT_MAX - output->size)
                return -EFBIG;
        if (output->size + size >= output->allocated) {
                size_t wanted = MAX(2 * output->allocated, output->size + size + 1);
                char *grown = realloc(output->text, MAX(wanted, (size_t) 8192));

                if (!grown)
                        return -ENOMEM;
                output->text = grown;
                output->allocated = MAX(wanted, (size_t) 8192);
        }
        memcpy(output->text + output->size, text, size);
        output->size += size;
        return 0;
}

static const char *entity(char c) {
        switch (c) {
        case '&':
                return "&amp;";
        case '<':
                return "&lt;";
        case '>':
                return "&gt;";
        case '"':
                return "&quot;";
        case '\'':
                return "&#39;";
        default:
                return NULL;
        }
}

static int output_add_escaped(Output *output, const char *text) {
        int r = 0;

        while (r >= 0 && *text) {
                size_t plain = strcspn(text, "&<>\"'");

                r = output_add(output, text, plain);
                text += plain;
                if (r >= 0 && *text) {
                        const char *escape = entity(*text++);

                        r = output_add(output, escape, strlen(escape));
                }
        }
        return r;
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

        if (!field->prefix)
                return streq(field->name, name) ? field->get(object, "", buffer) : NULL;
        return strncmp(field->name, name, length) == 0 ? field->get(object, name + length, buffer) : NULL;
}

static int add_value(Expansion *expansion, const Tag *tag, const TemplateSection *section, const void *object) {
        char buffer[TEMPLATE_BUFFER_SIZE] = "";

        for (const TemplateField *field = section->fields; field->name; field++) {
                const char *text = field_get(field, tag->name, object, buffer);

                if (text)
                        return field->raw ? output_add(&expansion->output, text, strlen(text))
                                          : output_add_escaped(&expansion->output, text);
        }
        if (section != expansion->sections)
                return add_value(expansion, tag, expansion->sections, expansion->sections->objects);
        expansion->wrong = tag->begin;
        return -ENOENT;
}

/* Values and plain text from `text` to the end of this section: of the tag that is its end, or of the whole text. */
static int add_body(Expansion *expansion, const char **text, const TemplateSection *section, const void *object);

static const TemplateSection *find_section(const Expansion *expansion, const char *name) {
        for (const TemplateSection *section = expansion->sections + 1; section->fields; section++)
                if (streq(section->name, name))
                        return section;
        return NULL;
}

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
        const TemplateSection *section = find_section(expansion, begin->name);
        const char *body = begin->end;
        int r = 0;

        if (!section) {
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
                r = output_add(&expansion->output, *text, (size_t) (tag.begin - *text));
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

int template_expand(char **ret, size_t *ret_size, const char *text, size_t size, const TemplateSection *sections,
                    size_t *reterr_offset) {
        Expansion expansion = { .end = text + size, .sections = sections };
        const char *at = text;
        int r;

        assert(ret);
        assert(ret_size);
        assert(text);
        assert(sections && sections->fields && !sections->name);

        r = add_body(&expansion, &at, sections, sections->objects);
        if (r >= 0)
                r = output_add(&expansion.output, "", 1);
        if (r < 0) {
                if (reterr_offset && expansion.wrong)
                        *reterr_offset = (size_t) (expansion.wrong - text);
                free(expansion.output.text);
                return r;
        }
        *ret = expansion.output.text;
        *ret_size = expansion.output.size - 1;
        return 0;
}
