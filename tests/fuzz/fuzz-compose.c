#include "compose/compose-file.h"
#include "compose/compose-output.h"
#include "model/service.h"
#include "util/printable.h"

/* Whatever a compose program may print: the project's config in both formats, and lines. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_file(ComposeFormat format, const char *text, size_t size) {
        ComposeFile *file = NULL;

        if (compose_file_parse(&file, format, text, size, "project", '-') < 0) {
                if (file)
                        abort();
                return;
        }
        for (size_t i = 0; i < file->n_services; i++) {
                const ComposeService *service = &file->services[i];

                /* All that gets into a command line. */
                if (!engine_name_is_valid(service->container) || service->name[0] == '\0' ||
                    strpbrk(service->name, " \n\033") || !compose_file_find(file, service->container))
                        abort();
                for (size_t k = 0; k < service->n_networks; k++)
                        if (!service->networks[k].name)
                                abort();
        }
        compose_file_free(file);
}

static void feed_lines(const char *text, size_t size) {
        ComposeOutput output = {};

        while (size > 0) {
                const char *end = memchr(text, '\n', size);
                size_t n = end ? (size_t) (end - text) : size;
                char *line = printable_copy(text, n, false);

                if (!line)
                        abort();
                (void) compose_output_feed(&output, line);
                free(line);
                n += end != NULL;
                text += n;
                size -= n;
        }
        if (compose_output_trouble(&output) < 0 || compose_output_trouble(&output) >= _COMPOSE_TROUBLE_MAX)
                abort();
        compose_output_done(&output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = size > 0 ? (const char *) data : "";

        parse_file(COMPOSE_JSON, text, size);
        parse_file(COMPOSE_YAML, text, size);
        feed_lines(text, size);
        return 0;
}
