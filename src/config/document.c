#include "config/config.h"
#include "config/document.h"
#include "util/json-members.h"
#include "util/json-scan.h"
#include "util/text.h"

/* Document: from text to JSON. The scan finds what JSON forbids, which costs the file, and members given twice, which cost the
 * service that they are in; json-c makes values of the rest. */

const JsonPath path_services = { .name = "services", .length = 8 };

void document_list_done(DocumentList *list) {
        for (size_t i = 0; i < list->n_documents; i++) {
                free(list->documents[i].file);
                json_object_put(list->documents[i].object);
                json_object_put(list->documents[i].doubled);
        }
        free(list->documents);
        strv_free(list->lost);
        *list = (DocumentList){};
}

int document_list_add(DocumentList *list, const char *file, json_object *object) {
        Document *larger = reallocarray(list->documents, list->n_documents + 1, sizeof(Document));
        char *copy = strdup(file);

        if (larger)
                list->documents = larger;
        if (!larger || !copy) {
                json_object_put(object);
                free(copy);
                return -ENOMEM;
        }
        list->documents[list->n_documents++] = (Document){ .file = copy, .object = object };
        return 0;
}

typedef struct Reading {
        const char *file;
        ProblemList *problems;
        json_object *doubled;
} Reading;

static int on_duplicate(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        const JsonPath *service = NULL, *top = path;
        _cleanup_free_ char *name = NULL, *text = NULL;
        Reading *reading = userdata;

        for (; top->parent; top = top->parent)
                service = top;
        if (service && service->name && top->length == path_services.length &&
            memcmp(top->name, path_services.name, top->length) == 0) {
                name = strndup(service->name, service->length);
                if (!name || json_object_object_add(reading->doubled, name, NULL) < 0)
                        return -ENOMEM;
        }

        if (!problem_list_is_full(reading->problems))
                text = text_printf("line %u, column %u: this object has a member of that name already", line,
                                   column);
        problem_list_add(reading->problems, PROBLEM_ERROR, reading->file, name, path, NULL, text);
        return 0;
}

int document_list_parse(DocumentList *list, const char *file, const char *text, size_t size,
                        ProblemList *problems) {
        Reading reading = { file, problems, json_object_new_object() };
        json_object *object = NULL;
        JsonMistake mistake;
        int r;

        if (!reading.doubled)
                return -ENOMEM;
        /* Editors of other systems leave a byte order mark, which a reader may skip. */
        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
                text += 3;
                size -= 3;
        }
        r = json_read(&object, text, size, on_duplicate, &reading, &mistake);
        if (r == -EBADMSG)
                problem_list_add_file(problems, PROBLEM_ERROR, file, "line %u, column %u: %s", mistake.line,
                                      mistake.column, mistake.text);
        else if (r == -EFBIG)
                problem_list_add_file(problems, PROBLEM_ERROR, file, "is larger than %d MiB",
                                      CONFIG_SIZE_MAX >> 20);
        else if (r >= 0 && !json_object_is_type(object, json_type_object)) {
                problem_list_add_file(problems, PROBLEM_ERROR, file, "expected an object with 'services'");
                json_object_put(object);
                r = -EBADMSG;
        }
        if (r == -EBADMSG || r == -EFBIG)
                r = strv_append(&list->lost, file) < 0 ? -ENOMEM : -EBADMSG;
        if (r >= 0)
                r = document_list_add(list, file, object);
        if (r >= 0)
                list->documents[list->n_documents - 1].doubled = reading.doubled;
        else
                json_object_put(reading.doubled);
        return r;
}

bool document_list_has_lost(const DocumentList *list, const char *file) {
        for (char **lost = list->lost; lost && *lost; lost++) {
                size_t n = strlen(*lost);

                if (strncmp(file, *lost, n) == 0 && (file[n] == '\0' || file[n] == '/'))
                        return true;
        }
        return false;
}

json_object *document_services(const Document *document) {
        return json_member_of(document->object, path_services.name, json_type_object);
}
