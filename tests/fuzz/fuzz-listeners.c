#include "redirect/listeners.h"

/* The kernel's table of Unix sockets, in which anybody's paths stand. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint64_t inodes[] = { 0, 100, 101, UINT64_MAX };
        Listeners listeners = { .known = true, .inodes = malloc(sizeof(inodes)), .n_inodes = ELEMENTSOF(inodes) };
        char *text;

        text = malloc(size + 1);
        if (!text || !listeners.inodes)
                abort();
        memcpy(listeners.inodes, inodes, sizeof(inodes));
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        if (listeners_parse_unix(&listeners, text) < 0)
                abort();
        if (listeners.n_paths != strv_length(listeners.paths))
                abort();
        for (char **path = listeners.paths; path && *path; path++)
                if (**path != '/' || strchr(*path, '\n') || !listeners_have_path(&listeners, *path))
                        abort();
        listeners_done(&listeners);
        free(text);
        return 0;
}
