#pragma once

/* Strv: a NULL-terminated array of strings that owns them. NULL is an empty one. */

#include "util/macro.h"

char **strv_free(char **list);
DEFINE_CLEANUP(char **, strv_free);

size_t strv_length(char *const *list);
/* Appends a copy. On failure the list is as it was. */
int strv_append(char ***list, const char *text);
bool strv_contains(char *const *list, const char *text);
