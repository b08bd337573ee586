#include "command/docker-stream.h"
#include "probe/exec-command.h"
#include "util/strv.h"

/* Commands that are run in containers, which the config's author writes, and what comes back of them: frames
 * in pieces, of a size that the first byte says. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
        char *text;

        if (size == 0)
                return 0;
        text = malloc(size);
        if (!text)
                abort();
        memcpy(text, data + 1, size - 1);
        text[size - 1] = '\0';

        parse_output(text, size - 1, data[0] % 64 + 1u);
        parse_command(text);
        free(text);
        return 0;
}
