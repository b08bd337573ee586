#include <unistd.h>

#include "control/status-file.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/text.h"

/* Status file: replaced as a whole by its writer, so it is whole, or no file of ours. */

#define STATUS_FILE_MAX ((size_t) 1024 * 1024)

int status_file_read_at(Status **ret, const char *path) {
        _cleanup_free_ char *text = NULL;
        _cleanup_(json_freep) json_object *object = NULL;
        int r;

        r = file_read(path, STATUS_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        object = json_tokener_parse(text);
        return object ? status_from_json(ret, object) : -EBADMSG;
}

int status_file_read(Status **ret, const char *root, const char *service) {
        _cleanup_free_ char *path = text_printf("%s" STATUS_FOLDER "/%s.json", root, service);

        if (!path)
                return -ENOMEM;
        return status_file_read_at(ret, path);
}

int status_file_write(const Status *status, const char *root) {
        _cleanup_free_ char *path = NULL;
        _cleanup_(json_freep) json_object *object = NULL;
        const char *text;
        size_t size;
        int r;

        path = text_printf("%s" STATUS_FOLDER "/%s.json", root, status->service);
        if (!path)
                return -ENOMEM;
        object = status_to_json(status);
        text = json_print(object, &size);
        r = text ? file_replace(path, text, size, 0640, false) : -ENOMEM;
        if (r < 0)
                (void) unlink(path);
        return r;
}
