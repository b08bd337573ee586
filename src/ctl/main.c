#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/table.h"
#include "util/log.h"
#include "util/strv.h"

/* wakectl: everything a person does by hand, one verb each. */

/* Options that not all verbs take. */
enum {
        TAKES_COMMAND = 1 << 0,
        TAKES_DRY_RUN = 1 << 1,
        TAKES_ENGINE = 1 << 2,
        TAKES_FILTER = 1 << 3,
        TAKES_FORCE = 1 << 4,
        TAKES_FORMAT = 1 << 5,
        TAKES_HOLD = 1 << 6,
        TAKES_JSON = 1 << 7,
        TAKES_NAME = 1 << 8,
        TAKES_PROJECTS = 1 << 9,
        TAKES_QUIET = 1 << 10,
        TAKES_UNIT = 1 << 11,
        OWN_OPTIONS = 1 << 12, /* what follows the verb is its own to read, argv[0] being the verb */
};

typedef struct CtlVerb {
        const char *name;
        const char *arguments; /* as shown */
        int min_arguments, max_arguments;
        unsigned takes;
        int (*run)(const CtlOptions *options, int argc, char **argv);
        const char *help;
} CtlVerb;

static const CtlVerb verbs[] = {
        { "list", "", 0, 0, TAKES_FILTER | TAKES_JSON | TAKES_QUIET, verb_list,
          "Show all services: state, ports, how many dependencies are ready" },
        { "status", "[NAME…]", 0, INT_MAX, TAKES_JSON, verb_status, "Show all that is known of services" },
        { "wake", "NAME…", 1, INT_MAX, TAKES_DRY_RUN | TAKES_JSON | TAKES_QUIET, verb_wake,
          "Wake stacks, and show how it goes on" },
        { "sleep", "NAME…", 1, INT_MAX, TAKES_DRY_RUN, verb_sleep,
          "Put stacks to sleep, also what ran before they were woken" },
        { "hold", "NAME…", 1, INT_MAX, TAKES_DRY_RUN | TAKES_HOLD | TAKES_JSON | TAKES_QUIET, verb_hold,
          "Wake stacks, and keep them awake though nobody uses them" },
        { "run", "NAME [--] COMMAND…", 2, INT_MAX, TAKES_COMMAND | TAKES_QUIET, verb_run,
          "Run a command while a stack is held awake" },
        { "enable", "NAME…", 1, INT_MAX, TAKES_DRY_RUN, verb_enable, "Take clients of services again" },
        { "disable", "NAME…", 1, INT_MAX, TAKES_DRY_RUN, verb_disable,
          "Take no clients of services, also after a boot, until they are enabled" },
        { "plan", "NAME", 1, 1, TAKES_JSON, verb_plan, "Show what a wake would start, in which order" },
        { "graph", "[NAME…]", 0, INT_MAX, TAKES_FORMAT | TAKES_JSON, verb_graph, "Show what needs what" },
        { "logs", "[-f …] NAME", 0, 0, OWN_OPTIONS, verb_logs,
          "Show what the journal has of a stack, by journalctl" },
        { "check", "[FILE]", 0, 1, TAKES_ENGINE | TAKES_JSON | TAKES_UNIT, verb_check,
          "Print every error of the configuration; exit 1 if there is any" },
        { "doctor", "", 0, 0, TAKES_JSON | TAKES_QUIET, verb_doctor,
          "Look for all that may go wrong on this machine, and say what mends it" },
        { "import", "", 0, 0, TAKES_DRY_RUN | TAKES_PROJECTS, verb_import,
          "Print, or write, what dependencies.json says of the compose projects here" },
        { "add", "CONTAINER…", 1, INT_MAX, TAKES_DRY_RUN | TAKES_NAME, verb_add,
          "The same of containers that compose has not made, as one service" },
        { "remove", "NAME…", 1, INT_MAX, TAKES_DRY_RUN, verb_remove,
          "Take services out of the files that import and add have made" },
        { "reload", "", 0, 0, TAKES_DRY_RUN | TAKES_FORCE | TAKES_JSON, verb_reload,
          "Have systemd read the units again, if they are other ones" },
};

#define FLAG(long, short, member) \
        { { long, no_argument, NULL, short }, offsetof(CtlOptions, member), false }
#define TEXT(long, member) \
        { { long, required_argument, NULL, 0 }, offsetof(CtlOptions, member), false }
#define LIST(long, short, member) \
        { { long, required_argument, NULL, short }, offsetof(CtlOptions, member), true }

typedef struct CtlOption {
        struct {
                struct option option;
                size_t offset; /* of a bool; of a text, if it has an argument */
                bool list; /* of all texts, as it may be given more than once */
        } to;
        unsigned takes; /* 0: all verbs do */
        const char *help;
} CtlOption;

static const CtlOption ctl_options[] = {
        { { { "help", no_argument, NULL, 'h' }, 0, false }, 0, "-h --help            Show this help" },
        { { { "version", no_argument, NULL, 'v' }, 0, false }, 0, "   --version         Show the version" },
        { LIST("compose", 0, compose), TAKES_PROJECTS,
          "   --compose=DIR     import: only the project in this folder, by its files; may be given more than once" },
        { FLAG("dry-run", 0, dry_run), TAKES_DRY_RUN, "   --dry-run         Only say what would be done" },
        { FLAG("engine", 0, engine), TAKES_ENGINE,
          "   --engine          check: also ask the container engine and look into the compose folders" },
        { LIST("file", 'f', files), TAKES_PROJECTS,
          "-f --file=FILE       import: compose's file, for the one --compose; may be given more than once" },
        { TEXT("filter", filter), TAKES_FILTER, "   --filter=state=…  list: only services in these states" },
        { TEXT("for", span), TAKES_HOLD, "   --for=SPAN        hold: so long, as 90min or 2h" },
        { FLAG("force", 0, force), TAKES_FORCE,
          "   --force           reload: also while containers with a GPU run" },
        { FLAG("foreground", 0, foreground), TAKES_HOLD,
          "   --foreground      hold: as long as this runs, which members of group wakechain may, too" },
        { TEXT("format", format), TAKES_FORMAT, "   --format=FORMAT   graph: text, dot, mermaid or json" },
        { FLAG("json", 0, json), TAKES_JSON, "   --json            Print JSON, for programs" },
        { TEXT("name", name), TAKES_NAME,
          "   --name=NAME       add: the service's; by default that of the first container" },
        { FLAG("no-pager", 0, no_pager), 0, "   --no-pager        Without a pager, which only logs has" },
        { TEXT("project", project), TAKES_PROJECTS, "   --project=NAME    import: only this compose project" },
        { FLAG("quiet", 'q', quiet), TAKES_QUIET, "-q --quiet           Only names, or nothing" },
        { TEXT("unit", unit), TAKES_UNIT,
          "   --unit=UNIT       check: only whether a service depends on this systemd unit" },
        { TEXT("until", until), TAKES_HOLD,
          "   --until=TIME      hold: until then, as 18:00 or \"2026-01-05 08:00\"" },
        { FLAG("watch", 0, watch), TAKES_FILTER, "   --watch           list: go on, as things change" },
        { FLAG("write", 0, write), TAKES_PROJECTS,
          "   --write           import: add to dependencies.d, beside what is there" },
};

static int print_help(void) {
        _cleanup_(table_freep) Table *table = NULL;
        int r;

        printf("wakectl [OPTIONS…] VERB [ARGUMENTS…]\n\n"
               "Look at and drive the stacks that wakechain lets sleep.\n\n"
               "Verbs:\n");
        r = table_new(&table, 3, NULL, 2);
        for (size_t i = 0; i < ELEMENTSOF(verbs) && r >= 0; i++) {
                table_add(table, verbs[i].name);
                table_add(table, verbs[i].arguments);
                table_add(table, verbs[i].help);
        }
        if (r >= 0)
                r = table_print(table, stdout, &(Look){});
        printf("\nOptions:\n");
        for (size_t i = 0; i < ELEMENTSOF(ctl_options); i++)
                printf("  %s\n", ctl_options[i].help);
        printf("\nExit codes: 0 all is well, 1 it failed or there are errors, 2 wrong usage, 130 interrupted.\n");
        return r < 0 ? CTL_FAILED : CTL_FINE;
}

static const CtlVerb *find_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

static int take_option(CtlOptions *given, const CtlOption *option) {
        void *target = (char *) given + option->to.offset;

        if (option->to.list)
                return strv_append(target, optarg);
        if (option->to.option.has_arg == no_argument)
                *(bool *) target = true;
        else
                *(const char **) target = optarg;
        return 0;
}

/* Reads options up to the verb, or those of a verb wherever they are; `taken`: which, by bits. -1: go on; otherwise an exit code. */
static int parse_options(CtlOptions *given, unsigned *taken, const CtlVerb *verb, int argc, char **argv) {
        struct option options[ELEMENTSOF(ctl_options) + 1] = {};
        /* A command's options are its own. */
        bool permutes = verb && !(verb->takes & TAKES_COMMAND);
        int c, k;

        for (size_t i = 0; i < ELEMENTSOF(ctl_options); i++)
                options[i] = ctl_options[i].to.option;
        optind = 0;
        while ((c = getopt_long(argc, argv, permutes ? "f:hq" : "+f:hq", options, &k)) >= 0) {
                if (c == 'h')
                        return print_help();
                if (c == 'v') {
                        puts("wakechain " VERSION);
                        return CTL_FINE;
                }
                if (c == '?')
                        return CTL_USAGE;
                for (size_t i = 0; i < ELEMENTSOF(ctl_options); i++)
                        if (c == 0 ? i == (size_t) k : options[i].val == c) {
                                *taken |= 1U << i;
                                if (take_option(given, &ctl_options[i]) < 0) {
                                        (void) log_oom();
                                        return CTL_FAILED;
                                }
                        }
        }
        return -1;
}

static int check_options(unsigned taken, const CtlVerb *verb) {
        for (size_t i = 0; i < ELEMENTSOF(ctl_options); i++)
                if (taken & 1U << i && ctl_options[i].takes & ~verb->takes) {
                        log_error("'wakectl %s' takes no --%s.", verb->name, ctl_options[i].to.option.name);
                        return CTL_USAGE;
                }
        return -1;
}

static void ctl_options_done(CtlOptions *options) {
        strv_free(options->compose);
        strv_free(options->files);
}

static int run(int argc, char **argv) {
        _cleanup_(ctl_options_done) CtlOptions given = {};
        unsigned taken = 0;
        const CtlVerb *verb;
        int r;

        r = parse_options(&given, &taken, NULL, argc, argv);
        if (r >= 0)
                return r;
        if (optind == argc) {
                log_error("Expected a verb, see 'wakectl --help'.");
                return CTL_USAGE;
        }
        argc -= optind;
        argv += optind;
        verb = find_verb(argv[0]);
        if (!verb) {
                log_error("Unknown verb '%s', see 'wakectl --help'.", argv[0]);
                return CTL_USAGE;
        }
        if (verb->takes & OWN_OPTIONS && argc > 1 && (streq(argv[1], "-h") || streq(argv[1], "--help")))
                return print_help();
        argv[0] = (char *) "wakectl"; /* for getopt's complaints */
        if (!(verb->takes & OWN_OPTIONS)) {
                r = parse_options(&given, &taken, verb, argc, argv);
                if (r >= 0)
                        return r;
                argc -= optind;
                argv += optind;
        }
        r = check_options(taken, verb);
        if (r >= 0)
                return r;
        if (!(verb->takes & OWN_OPTIONS) && (argc < verb->min_arguments || argc > verb->max_arguments)) {
                log_error("Usage: wakectl %s %s", verb->name, verb->arguments);
                return CTL_USAGE;
        }
        return verb->run(&given, argc, argv);
}

int main(int argc, char **argv) {
        int r;

        (void) setlocale(LC_CTYPE, "");
        r = run(argc, argv);
        /* Who reads the output has to know that it is whole. */
        if (fflush(stdout) != 0 || ferror(stdout)) {
                (void) log_error_errno(-errno, "Failed to write: %m");
                return r == CTL_FINE ? CTL_FAILED : r;
        }
        return r;
}
