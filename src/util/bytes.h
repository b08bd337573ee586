#pragma once

/* Bytes: a text that many use and nobody changes; it goes with the last of them. */

#include "util/macro.h"

typedef struct Bytes {
        unsigned n_ref;
        size_t size;
        char *data; /* ends in a NUL that the size does not count */
        size_t *counter; /* borrowed; see bytes_count() */
} Bytes;

/* Takes the data on success. */
int bytes_new(Bytes **ret, char *data, size_t size);
int bytes_printf(Bytes **ret, const char *format, ...) _printf_(2, 3);
Bytes *bytes_ref(Bytes *bytes);
Bytes *bytes_unref(Bytes *bytes);
DEFINE_CLEANUP(Bytes *, bytes_unref);

/* Adds their size to a sum, which outlives them, until they are gone. Once: they stay in the first one. */
void bytes_count(Bytes *bytes, size_t *sum);
