#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "config/loader.h"
#include "config/problem.h"
#include "util/fd.h"
#include "util/json-scan.h"

/* Last good configuration: one JSON object with what all files together said when they last had no error, as they said it, so
 * that a newer wakechain reads it by its own rules. Where a service came from, if not from the main file, stands beside it in a
 * member that the loader takes for a note.
 *
 * What is broken now is replaced in a second pass over the same documents. It reads the sound services again and then, behind
 * them, the remembered ones; so the checks of services against one another hold for what comes out, and where the
 * two clash, the remembered one goes: what the files say now may have taken its place on purpose. Remembered services keep the
 * defaults that held for them.
 *
 * No file at all is a file that cannot be used, once there was one: a moment without it, at a daemon-reload, would leave socket
 * units that count as active and listen nowhere, and that no start brings back.
 *
 * The folder belongs to the user of the wakers; what is read from there is read with care, and is never needed. */

#define LAST_GOOD "/var/lib/wakechain/dependencies.last-good.json"
#define NOTE "x-wakechain-files" /* { SERVICE: FILE, … } */

static char *last_good_path(const char *root) {
        char *path;

        return asprintf(&path, "%s" LAST_GOOD, root) < 0 ? NULL : path;
}

static int read_last_good(const char *path, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        struct stat status;

        /* Neither waits for the other end of a pipe, nor follows a link. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode))
                return -EBADMSG;
        return fd_read_all(fd, CONFIG_SIZE_MAX, ret, ret_size);
}

static int object_add(json_object *object, const char *name, json_object *value) {
        if (json_object_object_add(object, name, value) == 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

static int merge_services(const Loader *loader, json_object *services, json_object *files) {
        for (size_t i = 0; i < loader->n_documents; i++) {
                const Document *document = &loader->documents[i];
                json_object *own;

                if (!json_object_object_get_ex(document->object, "services", &own))
                        continue;
                json_object_object_foreach(own, name, service) {
                        int r;

                        r = object_add(services, name, json_object_get(service));
                        if (r >= 0 && i > 0)
                                r = object_add(files, name, json_object_new_string(document->file));
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int merge(const Loader *loader, json_object *merged) {
        json_object *services = json_object_new_object(), *files = json_object_new_object();
        int r = services && files ? 0 : -ENOMEM;

        json_object_object_foreach(loader->documents[0].object, name, value) {
                if (r < 0 || streq(name, "services") || streq(name, NOTE))
                        continue;
                r = object_add(merged, name, json_object_get(value));
        }
        if (r >= 0)
                r = merge_services(loader, services, files);
        if (r >= 0)
                r = object_add(merged, NOTE, json_object_get(files));
        if (r >= 0)
                r = object_add(merged, "services", json_object_get(services));
        json_object_put(files);
        json_object_put(services);
        return r;
}

static int remember(const char *root, const char *text, size_t size) {
        _cleanup_free_ char *path = last_good_path(root), *old = NULL;
        size_t old_size = 0;
        int r;

        if (!path)
                return -ENOMEM;
        if (size > CONFIG_SIZE_MAX)
                return -EFBIG;
        r = read_last_good(path, &old, &old_size);
        if (r >= 0 && old && old_size == size && memcmp(old, text, size) == 0)
                return 0;
        r = file_replace(path, text, size, 0640, /* sync= */ true);
        return r < 0 ? r : 1;
}

static int remember_all(const Loader *loader, const char *root) {
        json_object *merged = json_object_new_object();
        const char *text = NULL;
        size_t size = 0;
        int r = -ENOMEM;

        if (merged && merge(loader, merged) >= 0)
                text = json_object_to_json_string_length(merged,
                                                         JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                         &size);
        if (text)
                r = remember(root, text, size);
        json_object_put(merged);
        return r;
}

int config_remember(const char *root) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(loader_freep) Loader *loader = NULL;
        _cleanup_(config_freep) Config *config = NULL;
        const char *path = NULL;
        int r;

        assert(root);

        r = loader_new(&loader, &problems);
        if (r < 0)
                return r;
        loader->keeps = true;
        r = config_read(loader, root, &path);
        if (r >= 0)
                r = loader_finish(loader, &config);
        if (r < 0)
                return r;
        return problems.n_errors > 0 ? -EBADMSG : remember_all(loader, root);
}

/* What is taken from the last good configuration, and what goes for that. */
typedef struct Exchange {
        json_object *last_good, *services, *defaults, *files; /* the others are borrowed from the first */
        json_object *broken; /* services that the files do name, as a set */
        json_object *taken; /* those taken, as a set; NULL: all */
} Exchange;

static void exchange_done(Exchange *exchange) {
        json_object_put(exchange->last_good);
        json_object_put(exchange->broken);
        json_object_put(exchange->taken);
}

static int on_duplicate(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        return -EBADMSG;
}

static void warn_unusable(ProblemList *problems, const char *why) {
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "cannot be used as the last good configuration: %s", why) < 0)
                text = NULL;
        problem_list_add(problems, PROBLEM_WARNING, LAST_GOOD, NULL, NULL, NULL, text);
}

/* 1 if there is one that can be used. */
static int exchange_read(Exchange *exchange, const char *root, ProblemList *problems) {
        _cleanup_free_ char *path = last_good_path(root), *text = NULL;
        JsonMistake mistake;
        size_t size = 0;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_last_good(path, &text, &size);
        if (r == -ENOENT || r == -ENOTDIR || r == -ENOMEM)
                return r == -ENOMEM ? r : 0;
        if (r >= 0)
                r = json_read(&exchange->last_good, text, size, on_duplicate, NULL, &mistake);
        if (r >= 0 && (!json_object_is_type(exchange->last_good, json_type_object) ||
                       !json_object_object_get_ex(exchange->last_good, "services", &exchange->services) ||
                       !json_object_is_type(exchange->services, json_type_object)))
                r = -EBADMSG;
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                warn_unusable(problems, r == -EBADMSG ? "it is damaged" : strerror(-r));
                return 0;
        }

        if (json_object_object_get_ex(exchange->last_good, "defaults", &exchange->defaults) &&
            !json_object_is_type(exchange->defaults, json_type_object))
                exchange->defaults = NULL;
        if (json_object_object_get_ex(exchange->last_good, NOTE, &exchange->files) &&
            !json_object_is_type(exchange->files, json_type_object))
                exchange->files = NULL;
        return 1;
}

static bool is_lost(const Loader *loader, const char *file) {
        for (char **lost = loader->lost; file && lost && *lost; lost++) {
                size_t n = strlen(*lost);

                if (strncmp(file, *lost, n) == 0 && (file[n] == '\0' || file[n] == '/'))
                        return true;
        }
        return false;
}

/* Chooses what to take. `config` is what the files give without. */
static int exchange_choose(Exchange *exchange, const Loader *loader, const Config *config) {
        exchange->broken = json_object_new_object();
        exchange->taken = json_object_new_object();
        if (!exchange->broken || !exchange->taken)
                return -ENOMEM;

        for (size_t i = 0; i < loader->n_entries; i++)
                if (loader->entries[i].broken &&
                    json_object_object_add(exchange->broken, loader->entries[i].service.name, NULL) < 0)
                        return -ENOMEM;
        json_object_object_foreach(exchange->services, name, service) {
                json_object *file;

                (void) service;
                if (!json_object_object_get_ex(exchange->broken, name, NULL) &&
                    (config_find(config, name) || !json_object_object_get_ex(exchange->files, name, &file) ||
                     !is_lost(loader, json_get_text(file, 0))))
                        continue;
                if (json_object_object_add(exchange->taken, name, NULL) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* The sound services of the files, muted as all was said, and behind them what is taken. */
static int exchange_some(const Exchange *exchange, const Loader *loader, const char *path, Loader *second) {
        int r = 0;

        second->except = exchange->broken;
        second->walk.muted = true;
        for (size_t i = 0; i < loader->n_documents && r >= 0; i++)
                r = loader_add_document(second, loader->documents[i].file, loader->documents[i].object, i == 0);
        second->walk.muted = false;
        second->except = NULL;

        second->only = exchange->taken;
        second->source = path;
        second->sources = exchange->files;
        return r < 0 ? r : loader_add_services(second, LAST_GOOD, exchange->services, exchange->defaults);
}

static int exchange_all(const Exchange *exchange, const char *path, Loader *second) {
        second->source = path;
        second->sources = exchange->files;
        return loader_add_document(second, LAST_GOOD, exchange->last_good, /* is_main= */ true);
}

/* 1 with another config, if the last good configuration has anything to give; `config` is NULL if the files give none. */
static int exchange_broken(Config **ret, const char *root, const char *path, const Loader *loader,
                           const Config *config, ProblemList *problems) {
        _cleanup_(exchange_done) Exchange exchange = {};
        _cleanup_(problem_list_done) ProblemList more = {};
        _cleanup_(loader_freep) Loader *second = NULL;
        _cleanup_(config_freep) Config *changed = NULL;
        bool all = !config || is_lost(loader, path);
        int r;

        r = exchange_read(&exchange, root, problems);
        if (r <= 0)
                return r;
        r = loader_new(&second, &more);
        if (r >= 0 && !all)
                r = exchange_choose(&exchange, loader, config);
        if (r < 0 || (exchange.taken && json_object_object_length(exchange.taken) == 0))
                return r;

        r = all ? exchange_all(&exchange, path, second) : exchange_some(&exchange, loader, path, second);
        if (r >= 0)
                r = loader_finish(second, &changed);
        if (r < 0)
                return r;
        if (all && changed->n_services == 0) {
                warn_unusable(problems, "no service in it is sound");
                return 0;
        }
        problem_list_take_errors(problems, &more);

        free(changed->path);
        changed->path = strdup(path);
        if (!changed->path)
                return -ENOMEM;
        changed->remembered = all;
        *ret = TAKE_PTR(changed);
        return 1;
}

int config_load_or_remembered(Config **ret, const char *root, ProblemList *problems) {
        _cleanup_(loader_freep) Loader *loader = NULL;
        _cleanup_(config_freep) Config *config = NULL;
        const char *path = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(problems);

        *problems = (ProblemList){};
        r = loader_new(&loader, problems);
        if (r < 0)
                return r;
        loader->keeps = true;
        r = config_read(loader, root, &path);
        if (r >= 0)
                r = loader_finish(loader, &config);
        if (r == -ENOMEM)
                return r;
        if (!path)
                path = CONFIG_PATH;

        if (r < 0 || problems->n_errors > 0) {
                Config *changed = NULL;
                int k;

                k = exchange_broken(&changed, root, path, loader, config, problems);
                if (k > 0) {
                        (void) config_free(config);
                        config = changed;
                        if (r < 0 && r != -EBADMSG)
                                problem_list_add(problems, PROBLEM_ERROR, path, NULL, NULL, NULL, strerror(-r));
                        r = 0;
                }
        }
        if (r != -ENOENT)
                problem_list_finish(problems, path);
        if (r >= 0)
                *ret = TAKE_PTR(config);
        return r;
}
