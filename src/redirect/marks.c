#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

#include "io/redirect.h"
#include "redirect/marks.h"
#include "util/fd.h"
#include "util/log.h"

/* Marks: what redirect_mark_read() reads is written in place and not replaced, because the temporary file of a replacement would have
 * the name of another service. All of this happens under the lock. */

#define MARK_SIZE_MAX ((size_t) 128)
#define STATUS_SIZE_MAX ((size_t) 4 * 1024 * 1024)

static int mark_path(char **ret, const char *root, const char *service) {
        if (asprintf(ret, "%s/run/wakechain/redirect%s%s", root, service ? "/" : "", strempty(service)) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

void mark_done(Mark *mark) {
        service_done(&mark->service);
}

void mark_list_done(MarkList *list) {
        for (size_t i = 0; i < list->n; i++)
                mark_done(&list->marks[i]);
        free(list->marks);
        *list = (MarkList){};
}

int mark_read(Mark *ret, const char *root, const char *name) {
        RedirectMark mark;
        int r;

        r = redirect_mark_read(&mark, root, name);
        if (r < 0)
                return r;

        *ret = (Mark){
                .service = {
                        .name = strdup(name),
                        .port = mark.port,
                        .redirect_port = mark.redirect_port,
                },
                .state = mark_read_state(root, name),
        };
        strcpy(ret->rival, mark.rival);
        return ret->service.name ? 0 : -ENOMEM;
}

static int list_add(MarkList *list, const char *root, const char *name) {
        Mark *larger;
        int r;

        if (!service_name_is_valid(name))
                return 0;
        larger = reallocarray(list->marks, list->n + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        list->marks = larger;

        r = mark_read(&list->marks[list->n], root, name);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                log_debug_errno(r, "Failed to read the mark of '%s', leaving it out: %m", name);
        else
                list->n++;
        return 0;
}

static void closedirp(DIR **folder) {
        if (*folder)
                (void) closedir(*folder);
}

static int compare_marks(const void *a, const void *b) {
        return strcmp(((const Mark *) a)->service.name, ((const Mark *) b)->service.name);
}

int mark_list_load(MarkList *ret, const char *root) {
        _cleanup_(mark_list_done) MarkList list = {};
        _cleanup_(closedirp) DIR *folder = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = mark_path(&path, root, NULL);
        if (r < 0)
                return r;
        folder = opendir(path);
        if (!folder && errno != ENOENT)
                return -errno;

        for (struct dirent *entry; folder && (entry = readdir(folder));) {
                r = list_add(&list, root, entry->d_name);
                if (r < 0)
                        return r;
        }

        if (list.n > 0)
                qsort(list.marks, list.n, sizeof(*list.marks), compare_marks);

        *ret = list;
        list = (MarkList){};
        return 0;
}

const Mark *mark_list_find(const MarkList *list, const char *service) {
        const Mark wanted = { .service.name = (char *) service };

        if (list->n == 0)
                return NULL;
        return bsearch(&wanted, list->marks, list->n, sizeof(wanted), compare_marks);
}

/* Over the old one, and cut off after it: that works on a full file system, too. */
int mark_write(const char *root, const Service *service, const char *rival) {
        _cleanup_free_ char *folder = NULL, *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        char text[MARK_SIZE_MAX];
        int r, n;

        r = mark_path(&folder, root, NULL);
        if (r >= 0)
                r = mark_path(&path, root, service->name);
        if (r >= 0)
                r = directory_make(folder);
        if (r < 0)
                return r;

        n = snprintf(text, sizeof(text), "%u %u%s%s\n", service->port, service->redirect_port,
                     isempty(rival) ? "" : " ", strempty(rival));
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || pwrite(fd, text, (size_t) n, 0) != n || ftruncate(fd, n) < 0)
                return errno > 0 ? -errno : -EIO;
        return 0;
}

int mark_remove(const char *root, const char *service) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = mark_path(&path, root, service);
        if (r < 0)
                return r;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

ServiceState mark_read_state(const char *root, const char *service) {
        ServiceState state = _SERVICE_STATE_INVALID;
        _cleanup_free_ char *path = NULL, *text = NULL;
        json_object *object, *value;

        if (asprintf(&path, "%s/run/wakechain/status/%s.json", root, service) < 0) {
                path = NULL;
                return SERVICE_ASLEEP;
        }
        if (file_read(path, STATUS_SIZE_MAX, &text, NULL) < 0)
                return SERVICE_ASLEEP;

        object = json_tokener_parse(text);
        if (json_object_is_type(object, json_type_object) && json_object_object_get_ex(object, "state", &value) &&
            json_object_is_type(value, json_type_string))
                state = service_state_from_string(json_object_get_string(value));
        json_object_put(object);
        return state >= 0 ? state : SERVICE_ASLEEP;
}
