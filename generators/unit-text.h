#pragma once

/* Unit text: a unit file under construction. Whatever is added, the result has the sections and
 * directives that were asked for and no others. The first error sticks, and unit_text_finish() tells it,
 * so that callers need not look after each line. */

#include "util/macro.h"

typedef enum UnitEscape {
        UNIT_PLAIN, /* a text, a path or an address by itself: specifiers are escaped */
        UNIT_WORD, /* one word of a list of words, in quotes: RequiresMountsFor= */
} UnitEscape;

typedef struct UnitText {
        char *data;
        size_t size;
        int error;
} UnitText;

void unit_text_done(UnitText *text);

/* Text of ours, with its newlines: what it is made of must need no escaping. */
void unit_text_print(UnitText *text, const char *format, ...) _printf_(2, 3);
/* KEY=, then `before` as it is, then the user's value, escaped, then `after` as it is. A value that no
 * unit file can carry (control characters, a space at its end, a backslash before the end of the line) is
 * the error -EINVAL. */
void unit_text_add_user(UnitText *text, const char *key, const char *before, const char *value, const char *after,
                        UnitEscape escape);

/* 0 with the text, which stays the object's; else -EINVAL or -ENOMEM. */
int unit_text_finish(const UnitText *text, const char **ret, size_t *ret_size);
