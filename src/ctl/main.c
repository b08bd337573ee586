#include <getopt.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "util/log.h"

/* wakectl: everything a person does by hand, one verb each. */

typedef struct CtlVerb {
        const char *name;
        const char *arguments; /* as shown */
        int min_arguments, max_arguments;
        int (*run)(const CtlOptions *options, int argc, char **argv);
        const char *help;
} CtlVerb;

static const CtlVerb verbs[] = {
        { "check", "[FILE]", 0, 1, verb_check, "Print every error of the configuration; exit 1 if there is any" },
        { "import", "", 0, 0, verb_import,
          "Print, or write with --write, what dependencies.json says of the compose projects here" },
        { "sleep", "NAME", 1, 1, verb_sleep, "Put a stack to sleep, also what ran before it was woken" },
};

static void print_help(void) {
        printf("wakectl [OPTIONS…] VERB [ARGUMENTS…]\n\n"
               "Look at and drive the stacks that wakechain lets sleep.\n\n"
               "Verbs:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %-8s %-10s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
        printf("\nOptions:\n"
               "  -h --help            Show this help\n"
               "     --version         Show the version\n"
               "     --compose=DIR     import: only the project in this folder, by its files; may be given more than once\n"
               "     --dry-run         import: only show what --write would change\n"
               "     --engine          check: also ask the container engine and look into the compose folders\n"
               "  -f --file=FILE       import: compose's file, for the one --compose; may be given more than once\n"
               "     --json            Print JSON, for programs\n"
               "     --project=NAME    import: only this compose project\n"
               "     --unit=UNIT       Only check whether a service depends on this systemd unit\n"
               "     --write           import: add to dependencies.d, beside what is there\n\n"
               "Exit codes: 0 all is well, 1 it failed or there are errors, 2 wrong usage.\n");
}

static int run_verb(const CtlOptions *given, int argc, char **argv) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                if (!streq(verbs[i].name, argv[0]))
                        continue;
                if (argc - 1 < verbs[i].min_arguments || argc - 1 > verbs[i].max_arguments) {
                        log_error("Usage: wakectl %s %s", verbs[i].name, verbs[i].arguments);
                        return CTL_USAGE;
                }
                return verbs[i].run(given, argc - 1, argv + 1);
        }
        log_error("Unknown verb '%s', see 'wakectl --help'.", argv[0]);
        return CTL_USAGE;
}

int main(int argc, char **argv) {
        enum {
                ARG_COMPOSE = 0x100,
                ARG_DRY_RUN,
                ARG_ENGINE,
                ARG_JSON,
                ARG_PROJECT,
                ARG_UNIT,
                ARG_WRITE,
        };
        static const struct option options[] = { { "compose", required_argument, NULL, ARG_COMPOSE },
                                                 { "dry-run", no_argument, NULL, ARG_DRY_RUN },
                                                 { "engine", no_argument, NULL, ARG_ENGINE },
                                                 { "file", required_argument, NULL, 'f' },
                                                 { "help", no_argument, NULL, 'h' },
                                                 { "json", no_argument, NULL, ARG_JSON },
                                                 { "project", required_argument, NULL, ARG_PROJECT },
                                                 { "unit", required_argument, NULL, ARG_UNIT },
                                                 { "version", no_argument, NULL, 'v' },
                                                 { "write", no_argument, NULL, ARG_WRITE },
                                                 {} };
        CtlOptions given = {};
        int c, r;

        while ((c = getopt_long(argc, argv, "f:h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        print_help();
                        return CTL_FINE;
                case ARG_COMPOSE:
                case 'f':
                        if (strv_append(c == 'f' ? &given.files : &given.compose, optarg) < 0) {
                                (void) log_oom();
                                return CTL_FAILED;
                        }
                        break;
                case ARG_DRY_RUN:
                        given.dry_run = true;
                        break;
                case ARG_ENGINE:
                        given.engine = true;
                        break;
                case ARG_JSON:
                        given.json = true;
                        break;
                case ARG_PROJECT:
                        given.project = optarg;
                        break;
                case ARG_UNIT:
                        given.unit = optarg;
                        break;
                case ARG_WRITE:
                        given.write = true;
                        break;
                case 'v':
                        puts("wakechain " VERSION);
                        return CTL_FINE;
                default:
                        return CTL_USAGE;
                }
        if (optind == argc) {
                log_error("Expected a verb, see 'wakectl --help'.");
                return CTL_USAGE;
        }

        r = run_verb(&given, argc - optind, argv + optind);
        strv_free(given.compose);
        strv_free(given.files);
        /* Who reads the output has to know that it is whole. */
        if (fflush(stdout) != 0 || ferror(stdout)) {
                (void) log_error_errno(-errno, "Failed to write: %m");
                return r == CTL_FINE ? CTL_FAILED : r;
        }
        return r;
}
