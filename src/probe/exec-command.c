#include "command/environment.h"
#include "model/service.h"
#include "probe/exec-command.h"
#include "util/strv.h"

/* ExecCommand: recognises a shell command that is nothing but a `docker exec`, so that it can be run through the engine: half
 * the time, and a third of the processor's, of the docker program. The promise is that the outcome is the same. So whatever a
 * shell could make something else of (pipes, globs, substitutions, ~, unusual options) is not tried to be understood: 0, let the
 * shell do it.
 *
 * Why not wordexp()? It answers another question. It takes variables from our own environment instead of the given one, `$1`,
 * `$#` and `$$` from our own arguments and process, expands `~` and globs, knows neither comments nor the variables that a shell
 * sets itself (`$RANDOM`), and does not match patterns in what a variable holds, as the shell does. All of that would have to be
 * found before it, by what is here. */

typedef struct WordReader {
        const char *position;
        char *const *environment;
        char **words;
        char *word;
        size_t size;
        bool has_word; /* "" is a word, too */
} WordReader;

static void word_reader_done(WordReader *reader) {
        strv_free(reader->words);
        free(reader->word);
}

static int word_append(WordReader *reader, const char *text, size_t size) {
        char *larger = realloc(reader->word, reader->size + size + 1);

        if (!larger)
                return -ENOMEM;
        reader->word = larger;
        memcpy(reader->word + reader->size, text, size);
        reader->size += size;
        reader->word[reader->size] = '\0';
        reader->has_word = true;
        return 1;
}

static int word_flush(WordReader *reader) {
        int r;

        if (!reader->has_word)
                return 1;
        r = strv_append(&reader->words, reader->word);
        reader->size = 0;
        reader->has_word = false;
        return r < 0 ? r : 1;
}

/* Has a value in a shell that nobody gave it. */
static bool variable_is_special(const char *name, size_t size) {
        static const char *const names[] = { "IFS",     "LINENO", "OLDPWD", "OPTARG", "OPTIND", "PATH",
                                             "PPID",    "PS1",    "PS2",    "PS4",    "PWD",    "RANDOM",
                                             "SECONDS", "SHLVL",  "UID",    "EUID",   "_" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strlen(names[i]) == size && strncmp(names[i], name, size) == 0)
                        return true;
        return size >= 4 && strncmp(name, "BASH", 4) == 0;
}

/* What an unquoted variable holds is split at blanks, as the shell does. */
static int word_append_split(WordReader *reader, const char *value) {
        int r = 1;

        if (strpbrk(value, "*?["))
                return 0;
        while (r > 0 && *value) {
                size_t n = strcspn(value, " \t\n");

                r = n > 0 ? word_append(reader, value, n) : word_flush(reader);
                value += MAX(n, (size_t) 1);
        }
        return r;
}

/* $NAME or ${NAME}. */
static int word_expand(WordReader *reader, bool quoted) {
        bool braces = reader->position[1] == '{';
        const char *name = reader->position + 1 + braces, *value;
        size_t size = strspn(name, ENVIRONMENT_LETTERS);

        if (size == 0 || (name[0] >= '0' && name[0] <= '9') || (braces && name[size] != '}') ||
            variable_is_special(name, size))
                return 0;

        reader->position = name + size + braces;
        value = strempty(environment_get(reader->environment, name, size));
        return quoted ? word_append(reader, value, strlen(value)) : word_append_split(reader, value);
}

static int word_read_double_quoted(WordReader *reader) {
        int r = word_append(reader, "", 0);

        for (reader->position++; r > 0 && *reader->position != '"';) {
                const char *text = reader->position;

                switch (*text) {
                case '\0':
                case '`':
                        return 0;
                case '$':
                        r = word_expand(reader, true);
                        break;
                case '\\':
                        if (text[1] == '\n' || text[1] == '\0')
                                return 0;
                        /* Before other characters it is one itself. */
                        reader->position += 2;
                        r = strchr("$`\"\\", text[1]) ? word_append(reader, text + 1, 1)
                                                      : word_append(reader, text, 2);
                        break;
                default:
                        reader->position += strcspn(text, "\"\\$`");
                        r = word_append(reader, text, (size_t) (reader->position - text));
                }
        }
        reader->position += r > 0;
        return r;
}

/* One step of reading: 1 go on, 0 this is for the shell. */
static int word_read(WordReader *reader) {
        const char *text = reader->position, *end;

        switch (*text) {
        case ' ':
        case '\t':
                reader->position++;
                return word_flush(reader);
        case '\'':
                end = strchr(text + 1, '\'');
                if (!end)
                        return 0;
                reader->position = end + 1;
                return word_append(reader, text + 1, (size_t) (end - text - 1));
        case '"':
                return word_read_double_quoted(reader);
        case '$':
                return word_expand(reader, false);
        case '\\':
                if (text[1] == '\0' || text[1] == '\n')
                        return 0;
                reader->position += 2;
                return word_append(reader, text + 1, 1);
        case '#':
                if (!reader->has_word)
                        return 0;
                break;
        }
        if (strchr("\n|&;<>()`*?[]{}!~", *text))
                return 0;
        reader->position++;
        return word_append(reader, text, 1);
}

typedef struct ExecOptions {
        char *user;
        char **environment;
} ExecOptions;

static void exec_options_done(ExecOptions *options) {
        free(options->user);
        strv_free(options->environment);
}

/* Without a terminal or standard input there is none to pass on, which is what a service has. */
static const struct {
        char letter;
        const char *name;
        bool has_value;
} exec_options[] = {
        { 'e', "env", true },
        { 'i', "interactive", false },
        { 't', "tty", false },
        { 'u', "user", true },
};

static int exec_options_set(ExecOptions *options, char letter, const char *value) {
        int r;

        if (letter == 'u') {
                free(options->user);
                options->user = strdup(value);
                return options->user ? 1 : -ENOMEM;
        }
        /* A name alone would be looked up in the environment of the docker program. */
        if (!strchr(value, '='))
                return 0;
        r = strv_append(&options->environment, value);
        return r < 0 ? r : 1;
}

/* "--user=root", "--user root". */
static int parse_long_option(ExecOptions *options, char *const **word) {
        const char *text = **word + 2, *value = strchr(text, '=');
        size_t size = value ? (size_t) (value - text) : strlen(text);

        for (size_t i = 0; i < ELEMENTSOF(exec_options); i++) {
                if (strlen(exec_options[i].name) != size || strncmp(exec_options[i].name, text, size) != 0)
                        continue;
                if (!exec_options[i].has_value)
                        return !value;
                if (!value && !*++*word)
                        return 0;
                return exec_options_set(options, exec_options[i].letter, value ? value + 1 : **word);
        }
        return 0;
}

/* "-it", "-uroot", "-itu root", "-u=root". */
static int parse_short_options(ExecOptions *options, char *const **word) {
        for (const char *letter = **word + 1; *letter; letter++) {
                size_t i = 0;

                while (i < ELEMENTSOF(exec_options) && exec_options[i].letter != *letter)
                        i++;
                if (i == ELEMENTSOF(exec_options))
                        return 0;
                if (!exec_options[i].has_value)
                        continue;
                if (letter[1] != '\0')
                        return exec_options_set(options, *letter, letter + 1 + (letter[1] == '='));
                return *++*word ? exec_options_set(options, *letter, **word) : 0;
        }
        return 1;
}

static int parse_options(ExecOptions *options, char *const **word) {
        int r = 1;

        for (; r > 0 && **word && (**word)[0] == '-'; (*word)++) {
                if (streq(**word, "--")) {
                        (*word)++;
                        return 1;
                }
                r = strncmp(**word, "--", 2) == 0 ? parse_long_option(options, word)
                                                  : parse_short_options(options, word);
                if (!**word)
                        return 0;
        }
        return r;
}

int exec_command_parse(const char *command, char *const *environment, char **ret_container, char **ret_user,
                       char ***ret_environment, char ***ret_argv) {
        _cleanup_(word_reader_done) WordReader reader = { .position = command, .environment = environment };
        _cleanup_(strv_freep) char **argv = NULL;
        _cleanup_(exec_options_done) ExecOptions options = {};
        _cleanup_free_ char *container = NULL;
        char *const *words, *const *word;
        int r = 1;

        while (r > 0 && reader.position[strspn(reader.position, " \t\n")] != '\0')
                r = word_read(&reader);
        if (r > 0)
                r = word_flush(&reader);
        if (r <= 0)
                return r;

        words = reader.words;
        if (!words || strv_length(words) < 4 ||
            (!streq(words[0], "docker") && !streq(words[0], "/usr/bin/docker")) || !streq(words[1], "exec"))
                return 0;
        /* These send the docker program elsewhere. */
        if (environment_get(environment, "DOCKER_HOST", strlen("DOCKER_HOST")) ||
            environment_get(environment, "DOCKER_CONTEXT", strlen("DOCKER_CONTEXT")))
                return 0;

        word = words + 2;
        r = parse_options(&options, &word);
        if (r <= 0)
                return r;
        if (!*word || !word[1] || !engine_name_is_valid(*word))
                return 0;

        container = strdup(*word++);
        if (!container)
                return -ENOMEM;
        for (; *word && r >= 0; word++)
                r = strv_append(&argv, *word);
        if (r < 0)
                return r;
        *ret_container = TAKE_PTR(container);
        *ret_user = TAKE_PTR(options.user);
        *ret_environment = TAKE_PTR(options.environment);
        *ret_argv = TAKE_PTR(argv);
        return 1;
}
