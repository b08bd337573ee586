#include <stdio.h>

#include "config/loader.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/json-scan.h"
#include "util/safe-file.h"
#include "util/text.h"

/* Last good configuration: { FILE: what it said, … }, the main file first: all files as they were when they last had no error,
 * so that a newer wakechain reads them by its own rules.
 *
 * What is broken now is replaced in a second pass over the same documents. It reads the sound services again and then, behind
 * them, the remembered ones; so the checks of services against one another hold for what comes out, and where the two clash, the
 * remembered one goes: what the files say now may have taken its place on purpose. Remembered services keep the defaults that
 * held for them.
 *
 * No file at all is a file that cannot be used, once there was one: a moment without it, at a daemon-reload, would leave socket
 * units that count as active and listen nowhere, and that no start brings back.
 *
 * The folder belongs to the user of the wakers; what is read from there is read with care, and is never needed. */

#define LAST_GOOD "/var/lib/wakechain/dependencies.last-good.json"

static int read_last_good(const char *root, char **ret, size_t *ret_size) {
        _cleanup_free_ char *why = NULL;
        int r;

        r = safe_file_read(root, LAST_GOOD, FILE_OF_FOLDER, CONFIG_SIZE_MAX, ret, ret_size, &why);
        return why ? -EBADMSG : r;
}

static int remember(const char *root, const DocumentList *documents) {
        _cleanup_free_ char *path = text_printf("%s" LAST_GOOD, root), *old = NULL;
        _cleanup_(json_freep) json_object *all = json_object_new_object();
        size_t size = 0, old_size = 0;
        const char *text;
        bool fine = all;
        int r;

        for (size_t i = 0; fine && i < documents->n_documents; i++)
                fine = json_add(all, documents->documents[i].file,
                                json_object_get(documents->documents[i].object));
        text = fine ? json_print(all, &size) : NULL;
        if (!path || !text)
                return -ENOMEM;
        if (size > CONFIG_SIZE_MAX)
                return -EFBIG;
        if (read_last_good(root, &old, &old_size) >= 0 && old_size == size && memcmp(old, text, size) == 0)
                return 0;
        r = file_replace(path, text, size, 0640, /* sync= */ true);
        return r < 0 ? r : 1;
}

int config_remember(const char *root) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(document_list_done) DocumentList documents = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(draft_done) Draft draft;
        const char *path = NULL;
        int r;

        assert(root);

        draft_init(&draft, &problems);
        r = loader_read_files(&draft, &documents, root, &path);
        if (r >= 0)
                r = loader_finish(&draft, path, &config);
        if (r < 0)
                return r;
        return problems.n_errors > 0 ? -EBADMSG : remember(root, &documents);
}

static int on_duplicate(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        return -EBADMSG;
}

/* 1 if there is one that can be used. */
static int documents_recall(DocumentList *documents, const char *root, ProblemList *problems) {
        _cleanup_free_ char *text = NULL;
        json_object *all = NULL;
        JsonMistake mistake;
        size_t size = 0;
        int r;

        r = read_last_good(root, &text, &size);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r >= 0)
                r = json_read(&all, text, size, on_duplicate, NULL, &mistake);
        if (r >= 0 && (!json_object_is_type(all, json_type_object) || json_object_object_length(all) == 0))
                r = -EBADMSG;
        if (r >= 0) {
                json_object_object_foreach(all, file, object) {
                        if (r >= 0 && (file[0] != '/' || !json_object_is_type(object, json_type_object)))
                                r = -EBADMSG;
                        if (r >= 0)
                                r = document_list_add(documents, file, json_object_get(object));
                }
        }
        json_object_put(all);
        if (r < 0 && r != -ENOMEM) {
                problem_list_add_file(problems, PROBLEM_WARNING, LAST_GOOD,
                                      "cannot be used as the last good configuration: %s",
                                      r == -EBADMSG ? "it is damaged" : strerror(-r));
                return 0;
        }
        return r < 0 ? r : 1;
}

static bool is_named(const DocumentList *documents, const char *name) {
        for (size_t i = 0; i < documents->n_documents; i++) {
                json_object *services = document_services(&documents->documents[i]);

                if (services && json_object_object_get_ex(services, name, NULL))
                        return true;
        }
        return false;
}

/* Of the files, what is sound, so that it is in `config`, is left; and of the remembered ones what is broken now, or was in a
 * file that is. Returns how many that are. */
static size_t choose(DocumentList *files, DocumentList *recalled, const Config *config) {
        size_t n = 0;

        for (size_t i = 0; i < recalled->n_documents; i++) {
                bool lost = document_list_has_lost(files, recalled->documents[i].file);
                json_object *services = document_services(&recalled->documents[i]);

                if (!services)
                        continue;
                json_object_object_foreach(services, name, remembered) {
                        if (!config_find(config, name) && (lost || is_named(files, name)))
                                n++;
                        else
                                json_object_object_del(services, name);
                }
        }
        for (size_t i = 0; n > 0 && i < files->n_documents; i++) {
                json_object *services = document_services(&files->documents[i]);

                if (!services)
                        continue;
                json_object_object_foreach(services, name, service) {
                        if (!config_find(config, name))
                                json_object_object_del(services, name);
                }
        }
        return n;
}

/* The second pass: `files` muted, as all was said, then `recalled`; or only that. */
static int read_again(Draft *draft, const DocumentList *files, const DocumentList *recalled) {
        json_object *defaults;
        int r = 0;

        assert(recalled->documents);

        defaults = json_member_of(recalled->documents[0].object, "defaults", json_type_object);
        draft->walk.muted = true;
        for (size_t i = 0; r >= 0 && files && i < files->n_documents; i++) {
                draft->file = files->documents[i].file;
                r = loader_read(draft, &files->documents[i], i == 0);
        }
        draft->walk.muted = false;

        draft->file = LAST_GOOD;
        for (size_t i = 0; r >= 0 && i < recalled->n_documents; i++) {
                json_object *services = document_services(&recalled->documents[i]);

                draft->source = recalled->documents[i].file;
                if (!files)
                        r = loader_read(draft, &recalled->documents[i], i == 0);
                else if (services)
                        r = loader_read_services(draft, services, defaults);
        }
        return MIN(r, 0);
}

/* 1 with another config, if the last good configuration has anything to give; `config` is NULL if the files give none. */
static int replace_broken(Config **ret, const char *root, const char *path, DocumentList *files,
                          const Config *config, ProblemList *problems) {
        _cleanup_(document_list_done) DocumentList recalled = {};
        _cleanup_(problem_list_done) ProblemList more = {};
        _cleanup_(config_freep) Config *changed = NULL;
        _cleanup_(draft_done) Draft draft;
        bool all = !config || document_list_has_lost(files, path);
        int r;

        draft_init(&draft, &more);
        draft.before = config;
        r = documents_recall(&recalled, root, problems);
        if (r <= 0)
                return r;
        if (!all && choose(files, &recalled, config) == 0)
                return 0;
        r = read_again(&draft, all ? NULL : files, &recalled);
        if (r >= 0)
                r = loader_finish(&draft, path, &changed);
        if (r < 0)
                return r;
        if (all && changed->n_services == 0) {
                problem_list_add_file(problems, PROBLEM_WARNING, LAST_GOOD,
                                      "cannot be used as the last good configuration: no service in it is sound");
                return 0;
        }
        problem_list_take_errors(problems, &more);
        changed->remembered = all;
        *ret = TAKE_PTR(changed);
        return 1;
}

int config_load_or_remembered(Config **ret, const char *root, ProblemList *problems) {
        _cleanup_(document_list_done) DocumentList documents = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(draft_done) Draft draft;
        const char *path = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(problems);

        *problems = (ProblemList){};
        draft_init(&draft, problems);
        r = loader_read_files(&draft, &documents, root, &path);
        if (r >= 0)
                r = loader_finish(&draft, path, &config);
        if (r == -ENOMEM)
                return r;
        if (!path)
                path = CONFIG_PATH;

        if (r < 0 || problems->n_errors > 0) {
                Config *changed = NULL;

                if (replace_broken(&changed, root, path, &documents, config, problems) > 0) {
                        (void) config_free(config);
                        config = changed;
                        if (r < 0 && r != -EBADMSG)
                                problem_list_add_file(problems, PROBLEM_ERROR, path, "%s", strerror(-r));
                        r = 0;
                }
        }
        if (r != -ENOENT)
                problem_list_finish(problems, path);
        if (r >= 0)
                *ret = TAKE_PTR(config);
        return r;
}
