#include <stdio.h>

#include "command/environment.h"
#include "compose/dotenv.h"

/* Whatever a .env file may be: what comes of it are variables, each once, of no more text than is allowed, and values without a
 * single quote or a backslash mean themselves in single quotes. */

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(char *const *list, const char *entry) {
        size_t n = strspn(entry, LETTERS);
        _cleanup_(strv_freep) char **again = NULL;
        _cleanup_free_ char *line = NULL;

        if (n == 0 || (entry[0] >= '0' && entry[0] <= '9') || entry[n] != '=' ||
            environment_get(list, entry, n) != entry + n + 1)
                abort();
        if (strpbrk(entry, "'\\"))
                return;
        if (asprintf(&line, "%.*s='%s'", (int) n, entry, entry + n + 1) < 0 ||
            dotenv_parse(&again, line, strlen(line), false) < 0 || strv_length(again) != 1 ||
            !strv_contains(again, entry))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = malloc(size + 1);
        _cleanup_(strv_freep) char **list = NULL, **given = NULL;
        Environment environment;
        size_t total = 0;

        if (!text)
                abort();
        memcpy(text, data, size);
        text[size] = '\0';
        if (dotenv_parse(&list, text, size, size % 2 == 1) < 0) {
                if (list)
                        abort();
                return 0;
        }

        if (strv_length(list) > DOTENV_VARIABLES_MAX)
                abort();
        for (char **entry = list; entry && *entry; entry++) {
                check(list, *entry);
                total += strlen(*entry);
        }
        if (total > 2 * DOTENV_SIZE_MAX)
                abort();

        environment = (Environment){ .dotenv = list };
        if (environment_for_command(&given, &environment, text) < 0 || strv_length(given) > strv_length(list))
                abort();
        return 0;
}
