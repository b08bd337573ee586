#include <stdio.h>

#include "util/text.h"

char *text_vprintf(const char *format, va_list arguments) {
        char *text;

        return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

char *text_printf(const char *format, ...) {
        va_list arguments;
        char *text;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        return text;
}
