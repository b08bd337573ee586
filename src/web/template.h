#pragma once

/* Template: text with {{PLACEHOLDERS}} and repeated {{#SECTIONS}}…{{/SECTIONS}}, for HTML. */

#include <sys/uio.h>
#include "util/macro.h"

#define TEMPLATE_BUFFER_SIZE 128
#define TEMPLATE_OUTPUT_MAX (1024 * 1024U)

/* A placeholder, whose text is a member of the object, at `offset`, or made by get(): in `buffer`, or what stays; NULL: no such placeholder.
 * It is escaped for HTML, text and quoted attribute alike, unless the field is raw: then it has to stay as long as what is made of it. With
 * `prefix`, the name is the beginning of many, and get() is told the rest. */
typedef struct TemplateField {
        const char *name;
        size_t offset;
        const char *(*get)(const void *object, const char *rest, char buffer[static TEMPLATE_BUFFER_SIZE]);
        bool raw;
        bool prefix;
} TemplateField;

/* A section is written once for each object of an array; its placeholders come first, the document's second. A list of sections
 * begins with the document itself, without a name and of one object, and ends with one without fields. */
typedef struct TemplateSection {
        const char *name;
        const TemplateField *fields; /* ended by one without a name */
        const void *objects; /* borrowed */
        size_t object_size, n_objects;
} TemplateSection;

/* A text in parts: the long ones are where they were, in the template or a raw value, so that many texts have them in common. */
typedef struct TemplateText {
        char *own; /* all that is not */
        size_t own_size, size;
        struct iovec *parts;
        size_t n_parts;
} TemplateText;

void template_text_done(TemplateText *text);

/* -EBADMSG: a brace or a section without its end, or a section within one. -ENOENT: no such placeholder or section. -EFBIG: more than
 * TEMPLATE_OUTPUT_MAX. For the first two `reterr_offset` tells where. */
int template_expand(TemplateText *ret, const char *text, size_t size, const TemplateSection *sections,
                    size_t *reterr_offset);

/* A value as it would be written, for a raw field. NULL: no memory. */
char *template_escape(const char *text);
