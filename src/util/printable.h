#pragma once

/* Printable: text from outside, made fit for journals, JSON and terminals. */

#include "util/macro.h"

/* A copy of which every byte that is no part of a printable UTF-8 character has become a '?', and each
 * control character a blank. With `keep_lines` line ends stay. Never has more bytes than `size`; the caller
 * frees it. NULL if there is no memory. */
char *printable_copy(const char *data, size_t size, bool keep_lines);

/* The last line that holds more than blanks, or "". A part of `text`, which is cut off behind it. */
char *printable_last_line(char *text);

/* The bytes of the UTF-8 character at `text`; 0 if it is none: cut short, longer than needed, a surrogate, too large. */
size_t utf8_length(const char *text, size_t size);
