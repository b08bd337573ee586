#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "config/loader.h"
#include "import/files.h"
#include "import/merge.h"
#include "import/writer.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/json-scan.h"
#include "util/strv.h"
#include "util/text.h"

/* Files. What is to be written is checked as a part of the whole before anything is written, by the parser that all programs have; a file with
 * errors of its own is not touched. A fragment is replaced, so that whoever reads sees the old one or the new one. */

#define LOCK_TRIES 50
#define LOCK_PAUSE_MSEC 100
#define FRAGMENT_MODE 0644 /* polkit's user reads it, too */
#define EMPTY_MAIN "{\n  \"services\": {}\n}\n"

struct ImportFiles {
        char *root, *main_path, *folder;
        bool fresh; /* there is no main file */
        int lock;
        Config *config;
        ProblemList problems;
        char **inexact; /* paths of those whose numbers are not all kept as they are written */
        json_object *documents; /* path → object, the main file first */
};

void import_change_done(ImportChange *change) {
        free(change->path);
        free(change->text);
        free(change->before);
        free(change->difference);
        strv_free(change->missing);
}

ImportFiles *import_files_free(ImportFiles *files) {
        if (!files)
                return NULL;

        free(files->root);
        free(files->main_path);
        free(files->folder);
        (void) fd_close(files->lock);
        config_free(files->config);
        problem_list_done(&files->problems);
        strv_free(files->inexact);
        json_object_put(files->documents);
        return mfree(files);
}

/* Returns `r`, with a sentence. */
_printf_(3, 4) static int refuse(char **reterr_why, int r, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        *reterr_why = text_vprintf(format, arguments);
        va_end(arguments);
        return *reterr_why ? r : -ENOMEM;
}

static int refuse_errno(char **reterr_why, int r, const char *what, const char *path) {
        if (r == -ENOMEM)
                return r;
        if (r == -EACCES || r == -EPERM || r == -EROFS)
                return refuse(reterr_why, r, "%s '%s': %s%s", what, path, strerror(-r),
                              geteuid() == 0 ? "" : " (that is root's to do)");
        return refuse(reterr_why, r, "%s '%s': %s", what, path, strerror(-r));
}

/* Nobody holds it for longer than a merge takes. */
static int take_lock(ImportFiles *files, char **reterr_why) {
        static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MSEC * 1000L * 1000L };
        _cleanup_free_ char *below = text_printf("%s%s", files->root, files->folder);
        int r;

        r = below ? directory_make(below) : -ENOMEM;
        if (r < 0)
                return refuse_errno(reterr_why, r, "Failed to make the folder", files->folder);
        files->lock = open(below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (files->lock < 0)
                return refuse_errno(reterr_why, -errno, "Failed to open the folder", files->folder);
        for (unsigned i = 0; flock(files->lock, LOCK_EX | LOCK_NB) < 0; i++) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return refuse_errno(reterr_why, -errno, "Failed to lock the folder", files->folder);
                if (i == LOCK_TRIES)
                        return refuse(reterr_why, -EBUSY,
                                      "Another import works on '%s': run this again when it has ended.",
                                      files->folder);
                (void) nanosleep(&pause, NULL);
        }
        return 0;
}

static int find_main(ImportFiles *files, char **reterr_why) {
        const char *slash;
        int r;

        config_free(TAKE_PTR(files->config));
        problem_list_done(&files->problems);
        free(TAKE_PTR(files->main_path));
        free(TAKE_PTR(files->folder));
        r = config_load(&files->config, files->root, NULL, &files->problems);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENOENT)
                return refuse(reterr_why, r, "The configuration cannot be used as it is, see 'wakectl check'%s%s.",
                              r == -EBADMSG ? "" : ": ", r == -EBADMSG ? "" : strerror(-r));
        files->fresh = r == -ENOENT;
        files->main_path = strdup(files->config ? files->config->path : CONFIG_PATH);
        slash = files->main_path ? strrchr(files->main_path, '/') : NULL;
        files->folder = slash ? text_printf("%.*sdependencies.d", (int) (slash - files->main_path) + 1,
                                            files->main_path)
                              : NULL;
        return files->folder ? 0 : -ENOMEM;
}

/* What has a member twice means one thing to one reader, and another to the next. */
static int on_double(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        return -EBADMSG;
}

/* Are all numbers written again as they are here? Not so -0, nor those that are too large. The text is JSON. */
static bool numbers_are_exact(const char *text) {
        while (*text) {
                _cleanup_(json_freep) json_object *value = NULL;
                char number[64];
                size_t n;

                if (*text == '"') {
                        for (text++; *text != '"'; text++)
                                text += *text == '\\';
                        text++;
                        continue;
                }
                n = strspn(text, "+-.0123456789Ee");
                if (*text != '-' && (*text < '0' || *text > '9')) {
                        text++;
                        continue;
                }
                if (n >= sizeof(number))
                        return false;
                memcpy(number, text, n);
                number[n] = '\0';
                value = json_tokener_parse(number);
                if (!value || !streq(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), number))
                        return false;
                text += n;
        }
        return true;
}

/* What cannot be used is none, and is not to be replaced. */
static int add_document(ImportFiles *files, const char *path) {
        _cleanup_free_ char *below = text_printf("%s%s", files->root, path), *text = NULL;
        json_object *object = NULL;
        JsonMistake mistake;
        size_t size;
        int r;

        r = below ? file_read(below, CONFIG_SIZE_MAX, &text, &size) : -ENOMEM;
        if (r >= 0)
                r = json_read(&object, text, size, on_double, NULL, &mistake);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (!json_object_is_type(object, json_type_object)) {
                json_object_put(object);
                return 0;
        }
        if (!json_add(files->documents, path, object))
                return -ENOMEM;
        return numbers_are_exact(text) ? 0 : strv_append(&files->inexact, path);
}

static int is_fragment(const struct dirent *entry) {
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && streq(entry->d_name + n - 5, ".json");
}

static int read_documents(ImportFiles *files) {
        _cleanup_free_ char *below = text_printf("%s%s", files->root, files->folder);
        struct dirent **entries;
        int n, r = 0;

        files->documents = json_object_new_object();
        if (!below || !files->documents)
                return -ENOMEM;
        if (!files->fresh)
                r = add_document(files, files->main_path);
        n = scandir(below, &entries, is_fragment, alphasort);
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = text_printf("%s/%s", files->folder, entries[i]->d_name);

                if (r >= 0)
                        r = path ? add_document(files, path) : -ENOMEM;
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
        return r;
}

int import_files_open(ImportFiles **ret, const char *root, bool lock, char **reterr_why) {
        _cleanup_(import_files_freep) ImportFiles *files = new0(ImportFiles, 1);
        int r;

        if (!files)
                return -ENOMEM;
        files->lock = -EBADF;
        files->root = strdup(root);
        r = files->root ? find_main(files, reterr_why) : -ENOMEM;
        if (r >= 0 && lock) {
                r = take_lock(files, reterr_why);
                /* As whoever had the lock has left it. */
                if (r >= 0)
                        r = find_main(files, reterr_why);
        }
        if (r >= 0)
                r = read_documents(files);
        if (r >= 0)
                *ret = TAKE_PTR(files);
        return r;
}

/* Somebody's own: its name in another file, or another service with the same way in. */
static int check_others(const ImportFiles *files, const char *project, const char *path, const char *container,
                        char **reterr_why) {
        json_object_object_foreach(files->documents, other, document) {
                if (!streq(other, path) &&
                    json_object_object_get_ex(json_member_of(document, "services", json_type_object), project,
                                              NULL))
                        return refuse(reterr_why, -EEXIST,
                                      "'%s' has a service of this name already, which is left alone", other);
        }
        for (size_t i = 0; files->config && i < files->config->n_services; i++) {
                const Service *service = &files->config->services[i];

                if (!streq(service->name, project) && container && service_find_container(service, container))
                        return refuse(reterr_why, -EEXIST,
                                      "its '%s' is in service '%s' of '%s' already, which is left alone",
                                      container, service->name, strempty(service->file));
        }
        for (size_t i = 0; i < files->problems.n_problems; i++) {
                const Problem *problem = &files->problems.problems[i];

                if (problem->level == PROBLEM_ERROR && streq(strempty(problem->file), path))
                        return refuse(reterr_why, -EINVAL, "'%s' has errors, which are to be mended first: %s: %s",
                                      path, strempty(problem->path), strempty(problem->text));
        }
        return 0;
}

static bool add_all(json_object *object, json_object *from, const char *but) {
        bool fine = object;

        if (!json_object_is_type(from, json_type_object))
                return fine;
        json_object_object_foreach(from, name, value) {
                if (!streq(name, but))
                        fine = fine && json_object_object_add(object, name, json_object_get(value)) >= 0;
        }
        return fine;
}

/* All files as one, with this object for one of them (or, NULL, without that). */
static json_object *join(const ImportFiles *files, const char *path, json_object *object) {
        json_object *all = json_object_new_object(), *services = json_object_new_object();
        bool fine = add_all(all, json_object_object_get(files->documents, files->main_path), "services");

        json_object_object_foreach(files->documents, other, document) {
                if (!streq(other, path))
                        fine = add_all(services, json_member(document, "services"), "") && fine;
        }
        fine = add_all(services, json_member(object, "services"), "") && fine;
        fine = json_add(all, "services", services) && fine;
        return json_built(all, fine);
}

static int parse(const ImportFiles *files, json_object *object, const char *path, ProblemList *problems) {
        _cleanup_(json_freep) json_object *all = join(files, path, object);
        _cleanup_(config_freep) Config *config = NULL;
        size_t size;
        const char *text = all ? json_print(all, &size) : NULL;
        int r;

        r = text ? config_parse(&config, path, text, size, problems) : -ENOMEM;
        return r == -ENOMEM ? r : 0;
}

static int check_whole(const ImportFiles *files, const char *project, const char *path, json_object *object,
                       char **reterr_why) {
        _cleanup_(problem_list_done) ProblemList before = {}, after = {};
        const Problem *worst = NULL;
        int r;

        r = parse(files, NULL, path, &before);
        if (r >= 0)
                r = parse(files, object, path, &after);
        if (r < 0 || after.n_errors <= before.n_errors)
                return r;
        for (size_t i = 0; i < after.n_problems; i++) {
                const Problem *problem = &after.problems[i];

                if (problem->level == PROBLEM_ERROR && (!worst || streq(strempty(problem->service), project)))
                        worst = problem;
        }
        return refuse(reterr_why, -EINVAL, "with it 'wakectl check' would say: %s: %s",
                      strempty(worst ? worst->path : NULL), strempty(worst ? worst->text : NULL));
}

/* `object`: the fragment as it is, or a new one, to be changed. */
static int merge_into(json_object *object, const char *project, json_object *service) {
        json_object *services = json_member_of(object, "services", json_type_object),
                    *theirs = json_member(services, project);

        if (theirs)
                return import_merge(theirs, service);
        if (!services) {
                services = json_object_new_object();
                if (!json_add(object, "services", services))
                        return -ENOMEM;
        }
        return json_add(services, project, json_object_get(service)) ? 0 : -ENOMEM;
}

/* Whether it can be replaced without losing anything. */
static int check_file(const ImportFiles *files, const char *path, json_object *old, char **reterr_why) {
        _cleanup_free_ char *below = text_printf("%s%s", files->root, path);
        struct stat status;

        if (!below)
                return -ENOMEM;
        if (lstat(below, &status) < 0)
                return 0;
        if (S_ISLNK(status.st_mode))
                return refuse(reterr_why, -EINVAL, "'%s' is a link, and is left as it is", path);
        if (!old)
                return refuse(reterr_why, -EINVAL, "'%s' cannot be used as it is, and is left so", path);
        if (strv_contains(files->inexact, path))
                return refuse(reterr_why, -EINVAL,
                              "'%s' has a number that would not be the same when it is written again", path);
        return 0;
}

int import_files_merge(ImportFiles *files, const char *project, json_object *service, ImportChange *ret,
                       char **reterr_why) {
        _cleanup_(import_change_done)
                        ImportChange change = { .path = text_printf("%s/%s.json", files->folder, project) };
        _cleanup_(json_freep) json_object *object = NULL, *copy = NULL;
        _cleanup_free_ char *after = NULL;
        json_object *old, *theirs;
        int r;

        if (!change.path)
                return -ENOMEM;
        if (*project == '.')
                return refuse(reterr_why, -EINVAL, "a file whose name begins with a dot is not read");
        r = check_others(files, project, change.path, json_member_text(service, "name"), reterr_why);
        if (r < 0)
                return r;
        old = json_object_object_get(files->documents, change.path);
        r = check_file(files, change.path, old, reterr_why);
        if (r < 0)
                return r;
        change.before = old ? import_text(old) : strdup("");
        if (!change.before || json_object_deep_copy(service, &copy, NULL) < 0 ||
            (old ? json_object_deep_copy(old, &object, NULL) < 0 : !(object = json_object_new_object())))
                return -ENOMEM;
        theirs = json_member(json_member(object, "services"), project);
        r = theirs ? import_missing(theirs, service, &change.missing) : 0;
        if (r >= 0)
                r = merge_into(object, project, copy);
        if (r >= 0)
                r = check_whole(files, project, change.path, object, reterr_why);
        if (r < 0)
                return r;
        after = import_text(object);
        change.difference = after ? import_difference(change.before, after) : NULL;
        if (!change.difference || !json_add(files->documents, change.path, json_object_get(object)))
                return -ENOMEM;
        if (!streq(change.before, after))
                change.text = TAKE_PTR(after);
        *ret = change;
        change = (ImportChange){};
        return 0;
}

/* Whether all others do without it. */
static int check_without(const ImportFiles *files, const char *path, json_object *old, json_object *object,
                         char **reterr_why) {
        _cleanup_(problem_list_done) ProblemList before = {}, after = {};
        int r;

        r = parse(files, old, path, &before);
        if (r >= 0)
                r = parse(files, object, path, &after);
        if (r < 0 || after.n_errors <= before.n_errors)
                return r;
        for (size_t i = 0; i < after.n_problems; i++)
                if (after.problems[i].level == PROBLEM_ERROR)
                        return refuse(reterr_why, -EINVAL, "without it 'wakectl check' would say: %s: %s",
                                      strempty(after.problems[i].path), strempty(after.problems[i].text));
        return refuse(reterr_why, -EINVAL, "without it the configuration would not be sound");
}

static bool has_service(json_object *document, const char *service) {
        return json_object_object_get_ex(json_member_of(document, "services", json_type_object), service, NULL);
}

int import_files_remove(ImportFiles *files, const char *service, ImportChange *ret, char **reterr_why) {
        _cleanup_(import_change_done)
                        ImportChange change = { .path = text_printf("%s/%s.json", files->folder, service) };
        _cleanup_(json_freep) json_object *object = NULL;
        json_object *old, *services;
        int r;

        if (!change.path)
                return -ENOMEM;
        old = json_object_object_get(files->documents, change.path);
        if (!has_service(old, service)) {
                json_object_object_foreach(files->documents, other, document) {
                        if (has_service(document, service))
                                return refuse(reterr_why, -EEXIST,
                                              "it is in '%s', which is left alone: take it out there", other);
                }
                return refuse(reterr_why, -ENOENT, "no file has a service of this name");
        }
        r = check_file(files, change.path, old, reterr_why);
        if (r < 0)
                return r;
        change.before = import_text(old);
        if (!change.before || json_object_deep_copy(old, &object, NULL) < 0)
                return -ENOMEM;
        services = json_member(object, "services");
        json_object_object_del(services, service);
        r = check_without(files, change.path, old, object, reterr_why);
        if (r < 0)
                return r;
        change.text = json_object_object_length(object) == 1 && json_object_object_length(services) == 0
                                      ? strdup("")
                                      : import_text(object);
        change.difference = change.text ? import_difference(change.before, change.text) : NULL;
        if (!change.difference || !json_add(files->documents, change.path, json_object_get(object)))
                return -ENOMEM;
        *ret = change;
        change = (ImportChange){};
        return 0;
}

/* Who shows what would become of a file, and asks, gives others time to change it. */
static int check_unchanged(const ImportFiles *files, const ImportChange *change, char **reterr_why) {
        _cleanup_free_ char *below = text_printf("%s%s", files->root, change->path), *text = NULL, *now = NULL;
        _cleanup_(json_freep) json_object *object = NULL;
        JsonMistake mistake;
        size_t size;
        int r;

        r = below ? file_read(below, CONFIG_SIZE_MAX, &text, &size) : -ENOMEM;
        if (r == -ENOMEM)
                return r;
        if (r >= 0 && json_read(&object, text, size, on_double, NULL, &mistake) >= 0)
                now = import_text(object);
        if (streq(change->before, r == -ENOENT ? "" : strempty(now)))
                return 0;
        return refuse(reterr_why, -EBUSY, "'%s' was changed meanwhile, and is left as it is now: run this again.",
                      change->path);
}

static int replace(const ImportFiles *files, const char *path, const char *text, char **reterr_why) {
        _cleanup_free_ char *below = text_printf("%s%s", files->root, path);
        struct stat status;
        int r;

        if (!below)
                return -ENOMEM;
        if (lstat(below, &status) < 0)
                r = file_replace(below, text, strlen(text), FRAGMENT_MODE, /* sync= */ true);
        else if (S_ISREG(status.st_mode))
                r = file_replace_like(below, text, strlen(text), &status, /* sync= */ true);
        else
                r = -ELOOP;
        return r < 0 ? refuse_errno(reterr_why, r, "Failed to write", path) : 0;
}

int import_files_write(ImportFiles *files, const ImportChange *change, char **reterr_why) {
        _cleanup_free_ char *below = NULL;
        int r = 0;

        assert(files->lock >= 0);

        if (files->fresh)
                r = replace(files, files->main_path, EMPTY_MAIN, reterr_why);
        if (r < 0)
                return r;
        files->fresh = false;
        if (!change->text)
                return 0;
        r = check_unchanged(files, change, reterr_why);
        if (r < 0)
                return r;
        if (*change->text)
                return replace(files, change->path, change->text, reterr_why);
        below = text_printf("%s%s", files->root, change->path);
        if (!below)
                return -ENOMEM;
        return unlink(below) < 0 ? refuse_errno(reterr_why, -errno, "Failed to remove", change->path) : 0;
}
