#pragma once

/* Text: made as printf(3) makes it. The caller frees; NULL: out of memory. */

#include <stdarg.h>
#include "util/macro.h"

char *text_printf(const char *format, ...) _printf_(1, 2);
char *text_vprintf(const char *format, va_list arguments) _printf_(1, 0);
