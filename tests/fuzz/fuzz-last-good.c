#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "check-config.h"
#include "util/fd.h"

/* A main file, a line "----", a fragment, another such line, and a last good configuration, all of somebody hostile. What is
 * sound in the files is there whatever the rest says, unless the main file cannot be used; and whatever is remembered keeps
 * the same promises. The main file by itself can be remembered if it has no error, and then is what is loaded. */

#define MAIN "/etc/wakechain/dependencies.json"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[] = "/tmp/wakechain-fuzz-XXXXXX";
static bool root_exists = false;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
        return remove(path);
}

static void remove_root(void) {
        (void) nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_root(void) {
        static const char *const folders[] = { "/etc/wakechain/dependencies.d", "/var/lib/wakechain" };
        char path[128];

        CHECK(mkdtemp(root) && atexit(remove_root) == 0);
        root_exists = true;
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                (void) snprintf(path, sizeof(path), "%s%s", root, folders[i]);
                CHECK(directory_make(path) >= 0);
        }
}

static void put(const char *name, const uint8_t *data, size_t size) {
        char path[128];

        (void) snprintf(path, sizeof(path), "%s%s", root, name);
        CHECK(file_replace(path, (const char *) data, size, 0600, false) >= 0);
}

/* The part of the data before the next line "----", which goes with it. */
static size_t cut(const uint8_t **data, size_t *size) {
        const uint8_t *line = memmem(*data, *size, "\n----\n", 6);
        size_t n = line ? (size_t) (line - *data) : *size, used = line ? n + 6 : n;

        *data += used;
        *size -= used;
        return n;
}

static void check_sound(const Config *without, const Config *config) {
        for (size_t i = 0; without && i < without->n_services; i++) {
                const Service *service = config_find(config, without->services[i].name);

                CHECK(service && !service->remembered);
                CHECK(streq(service->container, without->services[i].container));
                CHECK(service->redirect_port == without->services[i].redirect_port);
                CHECK(service->n_dependencies == without->services[i].n_dependencies);
                CHECK(streq(service->file, without->services[i].file));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const files[] = { MAIN, "/etc/wakechain/dependencies.d/a.json",
                                             "/var/lib/wakechain/dependencies.last-good.json" };
        ProblemList problems = {}, problems_without = {}, problems_after = {};
        Config *config = NULL, *without = NULL, *after = NULL;
        int r, k;

        if (!root_exists)
                make_root();
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                const uint8_t *part = data;

                put(files[i], part, cut(&data, &size));
        }

        k = config_load(&without, root, NULL, &problems_without);
        r = config_load_or_remembered(&config, root, &problems);
        CHECK((r == 0) == (config != NULL));
        CHECK(r == 0 || r == k);
        CHECK(k == 0 || !config || config->remembered);
        CHECK(problems.n_errors >= problems_without.n_errors);
        check_config(config);
        check_problems(&problems, config);
        if (config && !config->remembered)
                check_sound(without, config);
        for (size_t i = 0; config && i < config->n_services; i++)
                CHECK(config->services[i].file[0] == '/');
        CHECK(!config || streq(config->path, MAIN));

        r = config_remember(root);
        CHECK((r >= 0) == (k >= 0 && problems_without.n_errors == 0));
        if (r >= 0) {
                CHECK(config_remember(root) == 0);
                put(MAIN, (const uint8_t *) "{", 1);
                k = config_load_or_remembered(&after, root, &problems_after);
                CHECK(k == 0 ? after->n_services == without->n_services : without->n_services == 0);
                CHECK(problems_after.n_errors == 1);
        }

        config_free(config);
        config_free(without);
        config_free(after);
        problem_list_done(&problems);
        problem_list_done(&problems_without);
        problem_list_done(&problems_after);
        return 0;
}
