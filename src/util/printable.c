#include <ctype.h>

#include "util/printable.h"

/* Printable: the bounds between what others wrote and what we show or ask for. */

static const struct {
        unsigned char mask, lead;
        size_t size;
        uint32_t lowest; /* smaller ones are overlong */
} utf8_forms[] = {
        { 0xe0, 0xc0, 2, 0x80 },
        { 0xf0, 0xe0, 3, 0x800 },
        { 0xf8, 0xf0, 4, 0x10000 },
};

/* The length of the character of two bytes or more that `text` begins with, or 0. */
static size_t utf8_length(const unsigned char *text, size_t size) {
        for (size_t i = 0; i < ELEMENTSOF(utf8_forms); i++) {
                uint32_t character = text[0] & (unsigned char) ~utf8_forms[i].mask;

                if ((text[0] & utf8_forms[i].mask) != utf8_forms[i].lead)
                        continue;
                if (size < utf8_forms[i].size)
                        return 0;
                for (size_t k = 1; k < utf8_forms[i].size; k++) {
                        if ((text[k] & 0xc0) != 0x80)
                                return 0;
                        character = character << 6 | (text[k] & 0x3f);
                }
                /* Surrogates are no characters, and 80 to 9f are controls that terminals obey. */
                if (character < utf8_forms[i].lowest || character > 0x10ffff || character < 0xa0 ||
                    (character >= 0xd800 && character <= 0xdfff))
                        return 0;
                return utf8_forms[i].size;
        }
        return 0;
}

char *printable_copy(const char *data, size_t size, bool keep_lines) {
        char *copy;

        assert(data || size == 0);

        copy = malloc(size + 1);
        if (!copy)
                return NULL;

        for (size_t i = 0; i < size;) {
                unsigned char byte = (unsigned char) data[i];
                size_t n = byte < 0x80 ? 1 : utf8_length((const unsigned char *) data + i, size - i);

                if (n > 1)
                        memcpy(copy + i, data + i, n);
                else if (n == 0)
                        copy[i] = '?';
                else if (byte == '\n' && keep_lines)
                        copy[i] = '\n';
                else
                        copy[i] = byte < 0x20 || byte == 0x7f ? ' ' : (char) byte;
                i += MAX(n, (size_t) 1);
        }
        copy[size] = '\0';
        return copy;
}

char *printable_last_line(char *text) {
        size_t size = strlen(text);
        char *line;

        while (size > 0 && isspace((unsigned char) text[size - 1]))
                size--;
        text[size] = '\0';

        line = strrchr(text, '\n');
        line = line ? line + 1 : text;
        return line + strspn(line, " ");
}
