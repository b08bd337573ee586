#include "util/strv.h"

char **strv_free(char **list) {
        for (char **entry = list; entry && *entry; entry++)
                free(*entry);
        return mfree(list);
}

size_t strv_length(char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

int strv_append(char ***list, const char *text) {
        size_t n = strv_length(*list);
        char *copy, **larger;

        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        larger = realloc(*list, (n + 2) * sizeof(*larger));
        if (!larger) {
                free(copy);
                return -ENOMEM;
        }
        larger[n] = copy;
        larger[n + 1] = NULL;
        *list = larger;
        return 0;
}

bool strv_contains(char *const *list, const char *text) {
        for (; list && *list; list++)
                if (streq(*list, text))
                        return true;
        return false;
}
