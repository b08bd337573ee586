#include "io/docker-stream.h"
#include "io/engine-reply.h"
#include "io/event-parser.h"
#include "io/probe.h"

/* Whatever the engine may answer: inspects, errors, exec states, the event stream and output in pieces of
 * every size. And health commands, which the config's author writes. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_bodies(const char *text, size_t size) {
        static const unsigned statuses[] = { 200, 304, 400, 403, 404, 409, 500, 503 };
        char *message = NULL, *string = NULL;
        ContainerInfo *info = NULL;
        int exit_code;

        if (container_info_parse(&info, text, size) >= 0 &&
            (!info->name || !info->id || !info->error || !info->network_mode))
                abort();
        container_info_free(info);

        if (engine_reply_string(text, size, "Id", &string) >= 0)
                free(string);
        (void) engine_reply_exit_code(text, size, &exit_code);

        for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
                HttpResponse response = { .reason = "", .status = statuses[i], .body = text, .size = size };

                (void) engine_reply_classify(ENGINE_START, &response, &message);
                if (!message || strpbrk(message, "\n\033"))
                        abort();
                free(message);
        }
}

static void parse_events(const char *text, size_t size, size_t piece) {
        EventParser *parser = NULL;
        int r = 0;

        if (event_parser_new(&parser) < 0)
                abort();
        for (size_t done = 0; done < size && r >= 0; done += MIN(piece, size - done)) {
                ParsedEvent event = {};

                r = event_parser_feed(parser, text + done, MIN(piece, size - done));
                while (r >= 0 && (r = event_parser_next(parser, &event)) > 0)
                        parsed_event_done(&event);
        }
        event_parser_free(parser);
}

static void parse_output(const char *text, size_t size, size_t piece) {
        DockerStream stream = {};
        char *output;

        for (size_t done = 0; done < size; done += MIN(piece, size - done))
                docker_stream_feed(&stream, text + done, MIN(piece, size - done));
        output = docker_stream_text(&stream);
        if (!output || strlen(output) > DOCKER_STREAM_KEPT)
                abort();
        free(output);
}

static void parse_command(const char *text) {
        char *const environment[] = { (char *) "A=a b", (char *) "B=\"'\\", NULL };
        char *container = NULL, *user = NULL, **variables = NULL, **argv = NULL;

        if (exec_command_parse(text, environment, &container, &user, &variables, &argv) > 0 &&
            (!container || !argv || !argv[0]))
                abort();
        free(container);
        free(user);
        strv_free(variables);
        strv_free(argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t piece;
        char *text;

        if (size == 0)
                return 0;
        /* The first byte says in what pieces the rest comes. */
        piece = data[0] % 64 + 1u;
        text = malloc(size);
        if (!text)
                abort();
        memcpy(text, data + 1, size - 1);
        text[size - 1] = '\0';

        parse_bodies(text, size - 1);
        parse_events(text, size - 1, piece);
        parse_output(text, size - 1, piece);
        parse_command(text);
        free(text);
        return 0;
}
