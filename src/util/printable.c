#include <ctype.h>

#include "util/printable.h"

/* Printable: the bounds between what others wrote and what we show or ask for. */

size_t utf8_length(const char *text, size_t size) {
        unsigned char c = size > 0 ? (unsigned char) text[0] : 0xff, low = 0x80, high = 0xbf;
        size_t n = c < 0x80                 ? 1
                   : c >= 0xc2 && c <= 0xdf ? 2
                   : c >= 0xe0 && c <= 0xef ? 3
                   : c >= 0xf0 && c <= 0xf4 ? 4
                                            : 0;

        if (size < n)
                return 0;
        if (c == 0xe0)
                low = 0xa0;
        else if (c == 0xed)
                high = 0x9f;
        else if (c == 0xf0)
                low = 0x90;
        else if (c == 0xf4)
                high = 0x8f;
        for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf)
                if ((unsigned char) text[i] < low || (unsigned char) text[i] > high)
                        return 0;
        return n;
}

/* Those of Latin 1 are controls as well, which terminals obey. */
static size_t printable_length(const char *text, size_t size) {
        size_t n = utf8_length(text, size);

        return n == 2 && (unsigned char) text[0] == 0xc2 && (unsigned char) text[1] < 0xa0 ? 0 : n;
}

char *printable_copy(const char *data, size_t size, bool keep_lines) {
        char *copy;

        assert(data || size == 0);

        copy = malloc(size + 1);
        if (!copy)
                return NULL;

        for (size_t i = 0; i < size;) {
                unsigned char byte = (unsigned char) data[i];
                size_t n = printable_length(data + i, size - i);

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
