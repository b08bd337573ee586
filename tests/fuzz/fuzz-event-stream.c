#include <stdio.h>

#include "engine/event-parser.h"
#include "model/service.h"

/* The engine's event stream. The first byte says in what pieces the rest comes: what is understood must not
 * depend on that. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the events say, one line for each, and what they ended with. The caller frees it. */
static char *parse(const char *text, size_t size, size_t piece) {
        EventParser *parser = NULL;
        char *lines = NULL;
        size_t lines_size;
        FILE *stream = open_memstream(&lines, &lines_size);
        int r = 0;

        if (!stream || event_parser_new(&parser) < 0)
                abort();
        for (size_t done = 0; done < size && r >= 0; done += MIN(piece, size - done)) {
                ContainerEvent event = {};

                r = event_parser_feed(parser, text + done, MIN(piece, size - done));
                while (r >= 0 && (r = event_parser_next(parser, &event)) > 0) {
                        if (!engine_name_is_valid(event.container) || event.type < 0 ||
                            event.type >= _CONTAINER_EVENT_MAX || event.exit_code < 0 || event.exit_code > 255 ||
                            event.signal < 0 || event.signal > 64 ||
                            (*event.id && !engine_name_is_valid(event.id)))
                                abort();
                        fprintf(stream, "%d %s %s %d %d\n", event.type, event.container, event.id, event.exit_code,
                                event.signal);
                        container_event_done(&event);
                }
        }
        fprintf(stream, "%d\n", r);
        event_parser_free(parser);
        if (fclose(stream) != 0)
                abort();
        return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *pieces, *whole;

        if (size < 2)
                return 0;
        pieces = parse((const char *) data + 1, size - 1, data[0] % 64 + 1u);
        whole = parse((const char *) data + 1, size - 1, size);
        if (!streq(pieces, whole)) {
                fprintf(stderr, "in pieces:\n%swhole:\n%s", pieces, whole);
                abort();
        }
        free(pieces);
        free(whole);
        return 0;
}
