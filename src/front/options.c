#include <getopt.h>
#include <stdio.h>

#include "front/options.h"
#include "model/defaults.h"
#include "model/wake-pause.h"
#include "util/log.h"

/* Options: a table, from which getopt's own and the help are made. wakechain-generator writes the ones of a service into
 * WAKECHAIN_FRONT_OPTIONS of its drop-in; what differs there from the values below comes from dependencies.json. */

typedef struct Option {
        const char *name;
        const char *argument;
        const char *help;
        int (*take)(void *member, const char *text);
        size_t offset;
} Option;

static int take_path(void *member, const char *text) {
        *(const char **) member = text;
        return text[0] == '/' ? 0 : -EINVAL;
}

static int take_span(void *member, const char *text) {
        return span_from_string(text, member);
}

static int take_version(void *member, const char *text) {
        int version = proxy_protocol_from_string(text);

        if (version < 0)
                return version;
        *(int *) member = version;
        return 0;
}

static int take_port_version(void *member, const char *text) {
        return port_manners_add_proxy_protocol(member, text);
}

static int take_port_udp(void *member, const char *text) {
        return port_manners_add_udp(member, text);
}

static int take_port_page(void *member, const char *text) {
        return port_manners_add_page(member, text);
}

static int take_address(void *member, const char *text) {
        return rules_add_address(member, text);
}

/* "@monitors" is a list of ours. Clients are served without it, too. */
static int take_list(void *member, const char *text,
                     int (*take)(Rules *rules, const char *folder, const char *list)) {
        int r = take(member, LISTS_FOLDER, text + 1);

        if (r < 0 && r != -EINVAL)
                log_warning_errno(r, "The list '%s' below " LISTS_FOLDER " cannot be used, ignoring it: %m", text);
        return r == -EINVAL ? r : 0;
}

static int take_user_agent(void *member, const char *text) {
        return text[0] == '@' ? take_list(member, text, rules_add_user_agents_of)
                              : rules_add_user_agent(member, text);
}

static int take_url_path(void *member, const char *text) {
        return text[0] == '@' ? take_list(member, text, rules_add_paths_of) : rules_add_path(member, text);
}

static int take_answer(void *member, const char *text) {
        *(bool *) member = streq(text, "200");
        return *(bool *) member || streq(text, "503") ? 0 : -EINVAL;
}

static int take_page(void *member, const char *text) {
        PageMode mode = page_mode_from_string(text);

        if (mode < 0)
                return mode;
        *(PageMode *) member = mode;
        return 0;
}

static const Option table[] = {
        { "control", "PATH", "The service's control socket", take_path, offsetof(FrontOptions, control) },
        { FRONT_OPTION_DRAIN_TIMEOUT, "TIME", "Wait this long for clients at a stop (10s)", take_span,
          offsetof(FrontOptions, drain_usec) },
        { "exit-idle-time", "TIME", "End this long after the last client (10s)", take_span,
          offsetof(FrontOptions, exit_idle_usec) },
        { FRONT_OPTION_IDLE_BYTES, "TIME", "Who has sent nothing for so long does not count", take_span,
          offsetof(FrontOptions, idle_bytes_usec) },
        { FRONT_OPTION_IGNORE_ADDRESS, "PREFIX", "Ignore clients of this address or network", take_address,
          offsetof(FrontOptions, rules) },
        { FRONT_OPTION_IGNORE_ANSWER, "STATUS", "What the ignored get while the stack is not awake (503)",
          take_answer, offsetof(FrontOptions, ignored_pass) },
        { FRONT_OPTION_IGNORE_PATH, "PATH", "Ignore requests for this path", take_url_path,
          offsetof(FrontOptions, rules) },
        { FRONT_OPTION_IGNORE_USER_AGENT, "TEXT", "Ignore requests of this agent", take_user_agent,
          offsetof(FrontOptions, rules) },
        { FRONT_OPTION_PAGE, "WHO", "Who sees a page: auto, always or never", take_page,
          offsetof(FrontOptions, page) },
        { FRONT_OPTION_PORT_PAGE, "PORT=WHO", "Who sees a page of one port, or ADDRESS:PORT", take_port_page,
          offsetof(FrontOptions, ports) },
        { "page-socket", "PATH", "Where the web service takes browsers", take_path,
          offsetof(FrontOptions, page_socket) },
        { "pause-max", "TIME", "Longest pause after failed wakes (1min)", take_span,
          offsetof(FrontOptions, pause_max_usec) },
        { FRONT_OPTION_PROXY_PROTOCOL, "VERSION", "Introduce clients to the backend: none, v1 or v2", take_version,
          offsetof(FrontOptions, proxy_protocol) },
        { FRONT_OPTION_PORT_PROXY_PROTOCOL, "PORT=VERSION", "Introduce clients of one port, or ADDRESS:PORT",
          take_port_version, offsetof(FrontOptions, ports) },
        { FRONT_OPTION_PORT_UDP, "PORT=PORT", "Datagrams to the first were sent to the second, and redirected",
          take_port_udp, offsetof(FrontOptions, ports) },
        { "udp-timeout", "TIME", "A UDP client has gone after this long (1min)", take_span,
          offsetof(FrontOptions, udp_timeout_usec) },
        { "status", "PATH", "The service's status file", take_path, offsetof(FrontOptions, status) },
};

#define CODE_FIRST 0x100 /* of the table's rows, for getopt */

static int help(void) {
        printf("%s [OPTIONS...] NAME\n\n"
               "Stand in front of service NAME: take its clients, have it woken, forward.\n\n"
               "  -h --help                    Show this help\n"
               "     --version                 Show the version\n",
               program_invocation_short_name);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char left[64];

                (void) snprintf(left, sizeof(left), "--%s=%s", table[i].name, table[i].argument);
                printf("     %-25s %s\n", left, table[i].help);
        }
        return 0;
}

static int take_service(FrontOptions *options, const char *name) {
        static char control[128], status[128];

        if (!service_name_is_valid(name)) {
                log_error("'%s' is no name of a service.", name);
                return -EINVAL;
        }
        options->service = name;
        if (!options->control) {
                (void) snprintf(control, sizeof(control), "/run/wakechain/control/%s.sock", name);
                options->control = control;
        }
        if (!options->status) {
                (void) snprintf(status, sizeof(status), "/run/wakechain/status/%s.json", name);
                options->status = status;
        }
        return 1;
}

int options_parse(FrontOptions *ret, int argc, char *argv[]) {
        struct option long_options[ELEMENTSOF(table) + 3] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
        };
        _cleanup_(options_done) FrontOptions options = {
                .page_socket = "/run/wakechain/page.sock",
                .drain_usec = DEFAULT_DRAIN_TIMEOUT_USEC,
                .exit_idle_usec = 10 * USEC_PER_SEC,
                .pause_max_usec = WAKE_PAUSE_MAX_USEC,
                .udp_timeout_usec = USEC_PER_MINUTE,
        };
        int c, r;

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                long_options[i + 2] =
                                (struct option){ table[i].name, required_argument, NULL, CODE_FIRST + (int) i };

        while ((c = getopt_long(argc, argv, "h", long_options, NULL)) >= 0) {
                const Option *option;

                if (c == 'h')
                        return help();
                if (c == 'v') {
                        puts("wakechain " WAKECHAIN_VERSION);
                        return 0;
                }
                if (c < CODE_FIRST)
                        return -EINVAL;
                option = &table[c - CODE_FIRST];
                r = option->take((uint8_t *) &options + option->offset, optarg);
                if (r < 0)
                        return log_error_errno(r, "'%s' is no value for --%s: %m", optarg, option->name);
        }

        if (argc - optind != 1) {
                log_error("Exactly one service is to be named.");
                return -EINVAL;
        }
        r = take_service(&options, argv[optind]);
        if (r > 0) {
                *ret = options;
                options.rules = (Rules){};
                options.ports = (PortManners){};
        }
        return r;
}

void options_done(FrontOptions *options) {
        rules_done(&options->rules);
        port_manners_done(&options->ports);
}
