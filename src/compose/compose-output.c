#include "compose/compose-output.h"

/* ComposeOutput: compose's exit status says nothing (1, for nearly all), so the sentences have to. They are those that compose
 * 2.26 and 1.29 were seen to write, and some of the engine's, whose refusals they pass on. The first row that fits a line is
 * its meaning; the last line that has a meaning is the program's, since both end with what stopped them. */

static const struct {
        const char *first, *second; /* one behind the other; `second` may be NULL */
        ComposeTrouble trouble;
        bool has_subject; /* it stands between the two */
} meanings[] = {
        { "permission denied while trying to connect", NULL, COMPOSE_NO_ENGINE },
        { "onnect to the Docker daemon", NULL, COMPOSE_NO_ENGINE },
        { "Couldn't connect to Docker daemon", NULL, COMPOSE_NO_ENGINE },
        { "Error while fetching server API version", NULL, COMPOSE_NO_ENGINE },
        { "error during connect", NULL, COMPOSE_NO_ENGINE },
        { "dial unix", NULL, COMPOSE_NO_ENGINE },

        { "container name", "is already in use", COMPOSE_NAME_TAKEN },

        { "etwork ", " declared as external", COMPOSE_NO_NETWORK, .has_subject = true },
        { "etwork ", " not found", COMPOSE_NO_NETWORK, .has_subject = true },

        { "No such image", NULL, COMPOSE_NO_IMAGE },
        { "needs to be built", NULL, COMPOSE_NO_IMAGE },
        { "pull access denied", NULL, COMPOSE_NO_IMAGE },
        { "manifest unknown", NULL, COMPOSE_NO_IMAGE },
        { "no matching manifest", NULL, COMPOSE_NO_IMAGE },
        { "failed to resolve reference", NULL, COMPOSE_NO_IMAGE },
        { "Get \"https://", "/v2/", COMPOSE_NO_IMAGE },

        { "no configuration file provided", NULL, COMPOSE_NO_FILE },
        { "Can't find a suitable configuration file", NULL, COMPOSE_NO_FILE },
        { "open ", ": permission denied", COMPOSE_UNREADABLE, .has_subject = true },
        { "stat ", ": permission denied", COMPOSE_UNREADABLE, .has_subject = true },
        { "Permission denied: '", "'", COMPOSE_UNREADABLE, .has_subject = true },
};

/* Lines that never say what went wrong. */
static const char *const noise[] = {
        "level=warning",
        "Encountered errors while bringing up the project",
        "exit status",
        " ... ",
};

static bool starts_with(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *text, const char *end) {
        size_t size = strlen(text);

        while (size > 0 && text[size - 1] == ' ')
                size--;
        return size >= strlen(end) && memcmp(text + size - strlen(end), end, strlen(end)) == 0;
}

void compose_output_done(ComposeOutput *output) {
        free(output->subject);
        free(output->line);
        *output = (ComposeOutput){};
}

static void compose_output_set_line(ComposeOutput *output, const char *line) {
        static const char *const prefixes[] = { "ERROR: ", "Error response from daemon: " };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (starts_with(line, prefixes[i]))
                        line += strlen(prefixes[i]);
        free(output->line);
        output->line = strdup(line);
}

static bool compose_output_find_meaning(ComposeOutput *output, const char *line) {
        for (size_t i = 0; i < ELEMENTSOF(meanings); i++) {
                const char *begin = strstr(line, meanings[i].first), *end = NULL;

                if (!begin)
                        continue;
                begin += strlen(meanings[i].first);
                if (meanings[i].second && !(end = strstr(begin, meanings[i].second)))
                        continue;

                output->trouble = meanings[i].trouble;
                output->subject = mfree(output->subject);
                if (meanings[i].has_subject)
                        output->subject = strndup(begin, (size_t) (end - begin));
                return true;
        }
        return false;
}

static bool is_progress(const char *line) {
        /* v2: " Container t-web-1  Creating"; v1: "Creating t_web_1 ... done" */
        static const char *const kinds[] = { "Container ", "Network ", "Volume ", "Image " };

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (line[0] == ' ' && starts_with(line + 1, kinds[i]))
                        return true;
        return starts_with(line, "Creating ");
}

/* Of Python: a head, frames that are indented, and the exception. */
static bool is_traceback(ComposeOutput *output, const char *line) {
        if (starts_with(line, "Traceback (most recent call last)")) {
                output->in_traceback = true;
                return true;
        }
        if (starts_with(line, "During handling of the above exception"))
                return true;
        output->in_traceback = output->in_traceback && line[0] == ' ';
        return output->in_traceback;
}

bool compose_output_feed(ComposeOutput *output, const char *line) {
        const char *text = line + strspn(line, " ");

        if (is_traceback(output, line))
                return false;
        if (*text == '\0')
                return true;
        if (starts_with(text, "Pulling ") || ends_with(text, " Pulling"))
                output->pulling = true;
        else if (is_progress(line) || ends_with(text, " Pulled"))
                /* Whatever was the matter so far has been got over: an image that could not be pulled was here. */
                compose_output_done(output);

        if (compose_output_find_meaning(output, text)) {
                compose_output_set_line(output, text);
                return true;
        }
        for (size_t i = 0; i < ELEMENTSOF(noise); i++)
                if (strstr(text, noise[i]))
                        return true;
        if (output->trouble == COMPOSE_OTHER && !is_progress(line))
                compose_output_set_line(output, text);
        return true;
}

ComposeTrouble compose_output_trouble(const ComposeOutput *output) {
        return output->trouble == COMPOSE_OTHER && output->pulling ? COMPOSE_NO_IMAGE : output->trouble;
}
