#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "model/service.h"
#include "redirect/queue.h"
#include "util/fd.h"
#include "util/log.h"

/* Queue: a file is /run/wakechain/redirect.queue/SERVICE, and says "up", "down", or, when that has failed, "failed ERRNO
 * BY-NFTABLES" and a sentence on the next line. What was carried out is gone. Requests are written without the lock:
 * one that is empty is being written, by somebody who will come for the lock next. */

#define REQUEST_SIZE_MAX ((size_t) 4096)

static const char *const kind_names[_REQUEST_KIND_MAX] = {
        [REQUEST_UP] = "up",
        [REQUEST_DOWN] = "down",
};

void request_done(Request *request) {
        free(request->service);
        free(request->sentence);
        *request = (Request){};
}

void request_list_done(RequestList *list) {
        for (size_t i = 0; i < list->n; i++)
                request_done(&list->requests[i]);
        free(list->requests);
        *list = (RequestList){};
}

int request_list_add(RequestList *list, const char *service, RequestKind kind) {
        Request *larger = reallocarray(list->requests, list->n + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        list->requests = larger;
        list->requests[list->n] = (Request){ .service = strdup(service), .kind = kind };
        if (!list->requests[list->n].service)
                return -ENOMEM;
        list->n++;
        return 0;
}

Request *request_list_find(const RequestList *list, const char *service) {
        for (size_t i = 0; i < list->n; i++)
                if (streq(list->requests[i].service, service))
                        return &list->requests[i];
        return NULL;
}

static int queue_path(char **ret, const char *root, const char *service) {
        if (asprintf(ret, "%s/run/wakechain/redirect.queue%s%s", root, service ? "/" : "", strempty(service)) <
            0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int queue_write(const char *root, const char *service, const char *text) {
        _cleanup_free_ char *folder = NULL, *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        size_t size = strlen(text);
        int r;

        r = queue_path(&folder, root, NULL);
        if (r >= 0)
                r = queue_path(&path, root, service);
        if (r >= 0)
                r = directory_make(folder);
        if (r < 0)
                return r;

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        return write(fd, text, size) == (ssize_t) size ? 0 : -EIO;
}

int queue_put(const char *root, const char *service, RequestKind kind) {
        assert(service_name_is_valid(service));
        return queue_write(root, service, kind_names[kind]);
}

static int queue_read(const char *root, const char *service, char **ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = queue_path(&path, root, service);
        return r < 0 ? r : file_read(path, REQUEST_SIZE_MAX, ret, NULL);
}

int queue_forget(const char *root, const char *service) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = queue_path(&path, root, service);
        if (r < 0)
                return r;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int list_load_one(RequestList *list, const char *root, const char *service) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = queue_read(root, service, &text);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        for (RequestKind kind = 0; kind < _REQUEST_KIND_MAX; kind++)
                if (streq(text, kind_names[kind]))
                        return request_list_add(list, service, kind);
        return 0;
}

static int compare_requests(const void *a, const void *b) {
        return strcmp(((const Request *) a)->service, ((const Request *) b)->service);
}

static void closedirp(DIR **folder) {
        if (*folder)
                (void) closedir(*folder);
}

int queue_load(RequestList *ret, const char *root) {
        _cleanup_(request_list_done) RequestList list = {};
        _cleanup_(closedirp) DIR *folder = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = queue_path(&path, root, NULL);
        if (r < 0)
                return r;
        folder = opendir(path);
        if (!folder && errno != ENOENT)
                return -errno;

        for (struct dirent *entry; folder && (entry = readdir(folder));) {
                r = service_name_is_valid(entry->d_name) ? list_load_one(&list, root, entry->d_name) : 0;
                if (r < 0)
                        return r;
        }
        if (list.n > 0)
                qsort(list.requests, list.n, sizeof(*list.requests), compare_requests);

        *ret = list;
        list = (RequestList){};
        return 0;
}

int queue_answer(const char *root, const Request *request) {
        _cleanup_free_ char *text = NULL;

        if (request->error >= 0)
                return queue_forget(root, request->service);
        if (asprintf(&text, "failed %i %i\n%s", -request->error, request->by_nftables,
                     strempty(request->sentence)) < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return queue_write(root, request->service, text);
}

int queue_take_answer(const char *root, const char *service, Request *ret) {
        _cleanup_free_ char *text = NULL;
        int r, error, by_nftables, n = 0;

        r = queue_read(root, service, &text);
        if (r == -ENOENT) {
                *ret = (Request){};
                return 0;
        }
        if (r < 0)
                return r;
        if (sscanf(text, "failed %i %i%n", &error, &by_nftables, &n) != 2 || n == 0 || error <= 0)
                return 1;

        (void) queue_forget(root, service);
        *ret = (Request){
                .error = -error,
                .by_nftables = by_nftables,
                .sentence = strdup(text + n + (text[n] == '\n')),
        };
        return ret->sentence ? 0 : -ENOMEM;
}
