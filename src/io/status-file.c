#include <stdio.h>

#include "io/status-file.h"
#include "util/fd.h"

/* Status file: replaced as a whole by its writer, so it is whole, or no file of ours. */

#define STATUS_FILE_MAX ((size_t) 1024 * 1024)

int status_file_read_at(Status **ret, const char *path) {
        _cleanup_free_ char *text = NULL;
        json_object *object;
        int r;

        r = file_read(path, STATUS_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        object = json_tokener_parse(text);
        r = object ? status_from_json(ret, object) : -EBADMSG;
        json_object_put(object);
        return r;
}

int status_file_read(Status **ret, const char *root, const char *service) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s" STATUS_FOLDER "/%s.json", root, service) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        return status_file_read_at(ret, path);
}
