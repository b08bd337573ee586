#include <stdio.h>
#include <unistd.h>

#include "util/fd.h"
#include "wake/report.h"

/* Report: a file of its own for each service, replaced by rename(), so that no reader ever sees half of one. */

static char *report_path(const char *service, const char *root) {
        char *path;

        return asprintf(&path, "%s" STATUS_FOLDER "/%s.json", root, service) < 0 ? NULL : path;
}

int report_write(const Status *status, const char *root) {
        _cleanup_free_ char *path = report_path(status->service, root);
        json_object *object = status_to_json(status);
        const char *text;
        size_t size;
        int r;

        text = object ? json_object_to_json_string_length(object,
                                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                          &size)
                      : NULL;
        r = path && text ? file_replace(path, text, size, 0640, false) : -ENOMEM;
        json_object_put(object);
        /* Better none than one that says what is no longer so: no file means asleep. */
        if (r < 0 && path)
                (void) unlink(path);
        return r;
}

int report_read(Status **ret, const char *service, const char *root) {
        return status_file_read(ret, root, service);
}
