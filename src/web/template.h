#pragma once

/* Template: text with {{PLACEHOLDERS}} and repeated {{#SECTIONS}}…{{/SECTIONS}}, for HTML. */

#include "util/macro.h"

#define TEMPLATE_BUFFER_SIZE 128
#define TEMPLATE_OUTPUT_MAX (1024 * 1024U)

/* A placeholder. What get() returns is escaped for HTML, text and quoted attribute alike, unless the field is raw. It may be made
 * in `buffer`; NULL: no such placeholder. With `prefix`, the name is the beginning of many, and get() is told the rest. */
typedef struct TemplateField {
        const char *name;
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

/* -EBADMSG: a brace or a section without its end, or a section within one. -ENOENT: no such placeholder or section. -EFBIG: more than
 * TEMPLATE_OUTPUT_MAX. For the first two `reterr_offset` tells where. The result ends in a NUL that `ret_size` does not count. */
int template_expand(char **ret, size_t *ret_size, const char *text, size_t size, const TemplateSection *sections,
                    size_t *reterr_offset);
