#include "util/bytes.h"
#include "util/text.h"

int bytes_new(Bytes **ret, char *data, size_t size) {
        Bytes *bytes;

        bytes = malloc(sizeof(*bytes));
        if (!bytes)
                return -ENOMEM;
        *bytes = (Bytes){ .n_ref = 1, .size = size, .data = data };
        *ret = bytes;
        return 0;
}

int bytes_printf(Bytes **ret, const char *format, ...) {
        _cleanup_free_ char *data = NULL;
        va_list arguments;
        int r;

        va_start(arguments, format);
        data = text_vprintf(format, arguments);
        va_end(arguments);
        if (!data)
                return -ENOMEM;
        r = bytes_new(ret, data, strlen(data));
        if (r >= 0)
                data = NULL;
        return r;
}

Bytes *bytes_ref(Bytes *bytes) {
        bytes->n_ref++;
        return bytes;
}

Bytes *bytes_unref(Bytes *bytes) {
        if (!bytes || --bytes->n_ref > 0)
                return NULL;

        if (bytes->counter)
                *bytes->counter -= bytes->size;
        free(bytes->data);
        return mfree(bytes);
}

void bytes_count(Bytes *bytes, size_t *sum) {
        if (bytes->counter)
                return;
        bytes->counter = sum;
        *sum += bytes->size;
}
