#include <dirent.h>
#include <stdio.h>

#include "config/config.h"
#include "config/loader.h"
#include "config/problem.h"
#include "util/fd.h"

/* Config file: which files there are. One main file is looked for; the fragments beside it are read in the
 * order of their names, and a fragment that cannot be used costs nobody but itself. Paths that are shown or
 * kept are those of the system that is configured, without the root that it may lie below. */

static const char *const search_path[] = {
        CONFIG_PATH,
        "/run/wakechain/dependencies.json",
        "/usr/lib/wakechain/dependencies.json",
        "/opt/docker-autostart/dependencies.json",
};

static int read_below(const char *root, const char *path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *below = NULL;

        if (asprintf(&below, "%s%s", root, path) < 0) {
                below = NULL;
                return -ENOMEM;
        }
        return file_read(below, CONFIG_SIZE_MAX, ret, ret_size);
}

/* Finds and reads the main file. */
static int read_main(const char *root, const char **path, char **ret, size_t *ret_size) {
        int r;

        if (*path)
                return read_below(root, *path, ret, ret_size);
        for (size_t i = 0; i < ELEMENTSOF(search_path); i++) {
                r = read_below(root, search_path[i], ret, ret_size);
                if (r == -ENOENT || r == -ENOTDIR)
                        continue;
                *path = search_path[i];
                return r;
        }
        return -ENOENT;
}

static int is_fragment(const struct dirent *entry) {
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && streq(entry->d_name + n - 5, ".json");
}

static int compare_entries(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_fragment(Loader *loader, const char *root, const char *folder, const char *name) {
        _cleanup_free_ char *path = NULL, *text = NULL, *why = NULL;
        size_t size;
        int r;

        if (asprintf(&path, "%s/%s", folder, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = read_below(root, path, &text, &size);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                if (asprintf(&why, "cannot be read: %s", strerror(-r)) < 0)
                        why = NULL;
                problem_list_add(loader->problems, PROBLEM_ERROR, path, NULL, NULL, NULL, why);
                return strv_append(&loader->lost, path);
        }
        r = loader_add(loader, path, text, size, /* is_main= */ false);
        return r == -EBADMSG ? 0 : r;
}

static int add_fragments(Loader *loader, const char *root, const char *main_path) {
        const char *slash = strrchr(main_path, '/');
        _cleanup_free_ char *folder = NULL, *below = NULL;
        struct dirent **entries;
        int n, r = 0;

        if (asprintf(&folder, "%.*sdependencies.d", slash ? (int) (slash - main_path) + 1 : 0, main_path) < 0) {
                folder = NULL;
                return -ENOMEM;
        }
        if (asprintf(&below, "%s%s", root, folder) < 0) {
                below = NULL;
                return -ENOMEM;
        }
        n = scandir(below, &entries, is_fragment, compare_entries);
        if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        if (n < 0) {
                problem_list_add(loader->problems, PROBLEM_ERROR, folder, NULL, NULL, NULL, strerror(errno));
                return strv_append(&loader->lost, folder);
        }

        for (int i = 0; i < n; i++) {
                if (r >= 0)
                        r = add_fragment(loader, root, folder, entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        return r;
}

int config_read(Loader *loader, const char *root, const char **path) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = read_main(root, path, &text, &size);
        if (r == -EFBIG) {
                problem_list_add(loader->problems, PROBLEM_ERROR, *path, NULL, NULL, NULL,
                                 "is larger than 16 MiB");
                return -EBADMSG;
        }
        if (r >= 0)
                r = loader_add(loader, *path, text, size, /* is_main= */ true);
        if (r >= 0)
                r = add_fragments(loader, root, *path);
        return r;
}

int config_load(Config **ret, const char *root, const char *path, ProblemList *problems) {
        _cleanup_(loader_freep) Loader *loader = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(problems);

        *problems = (ProblemList){};
        r = loader_new(&loader, problems);
        if (r < 0)
                return r;
        r = config_read(loader, root, &path);
        if (r >= 0)
                r = loader_finish(loader, ret);
        if (path)
                problem_list_finish(problems, path);
        return r;
}

int config_parse(Config **ret, const char *file, const char *text, size_t size, ProblemList *problems) {
        _cleanup_(loader_freep) Loader *loader = NULL;
        int r;

        assert(ret);
        assert(file);
        assert(problems);

        *problems = (ProblemList){};
        r = loader_new(&loader, problems);
        if (r < 0)
                return r;
        r = loader_add(loader, file, text, size, /* is_main= */ true);
        if (r >= 0)
                r = loader_finish(loader, ret);
        problem_list_finish(problems, file);
        return r;
}
