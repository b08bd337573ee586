#include <dirent.h>
#include <stdio.h>

#include "util/fd.h"

/* Runs a fuzzer's function over files, or over all files of folders: a corpus as a plain test, with any
 * compiler. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
        _cleanup_free_ char *text = NULL, *exact = NULL;
        size_t size;
        int r;

        r = file_read(path, 64 * 1024 * 1024, &text, &size);
        if (r < 0)
                return r;
        /* Of exactly this size, so that a sanitizer sees a read beyond it. */
        exact = malloc(size > 0 ? size : 1);
        if (!exact)
                return -ENOMEM;
        memcpy(exact, text, size);
        return LLVMFuzzerTestOneInput((const uint8_t *) exact, size);
}

static int run_folder(const char *folder, size_t *n_files) {
        struct dirent **entries;
        int n, r = 0;

        n = scandir(folder, &entries, NULL, alphasort);
        if (n < 0 && errno == ENOTDIR) {
                ++*n_files;
                return run_file(folder);
        }
        if (n < 0)
                return -errno;
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (r >= 0 && entries[i]->d_name[0] != '.') {
                        r = asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0 ? -ENOMEM : run_file(path);
                        ++*n_files;
                }
                free(entries[i]);
        }
        free(entries);
        return r;
}

int main(int argc, char **argv) {
        size_t n_files = 0;

        for (int i = 1; i < argc; i++) {
                int r = run_folder(argv[i], &n_files);

                if (r < 0) {
                        fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
                        return 1;
                }
        }
        printf("%zu inputs\n", n_files);
        return n_files == 0;
}
