#pragma once

/* HostCommand: one run of a program or of a shell's command line on the host, in a process group of its own. */

#include <systemd/sd-event.h>
#include "util/macro.h"

#define HOST_COMMAND_LINE_MAX 1024

typedef struct HostCommand HostCommand;

typedef struct HostCommandResult {
        bool timed_out;
        int exit_status; /* -1: ended by a signal */
        int signal;
        const char *last_line; /* of its output, printable; never NULL */
        const char *captured; /* as it is, with a NUL behind it; NULL: nothing, or more than was allowed */
        size_t captured_size;
} HostCommandResult;

/* Called once. The command may be freed from inside. */
typedef void (*HostCommandHandler)(HostCommand *command, const HostCommandResult *result, void *userdata);
/* Each line of its output as it comes, printable, without its end, of at most HOST_COMMAND_LINE_MAX bytes: what is
 * longer is cut off. The command must not be freed from inside. */
typedef void (*HostCommandLineHandler)(const char *line, void *userdata);

typedef struct HostCommandRequest {
        char *const *argv; /* the program is looked for in PATH; exit status 127: there is none */
        const char *folder; /* to run in; NULL: ours */
        char *const *environment; /* all that it gets, plus a PATH if there is none */
        uint64_t timeout_usec; /* USEC_INFINITY: none */
        HostCommandLineHandler on_line; /* may be NULL */
        size_t captured_max; /* not 0: standard output is captured, and what is output above is standard error alone */
} HostCommandRequest;

/* No capability, descriptor or signal setting of ours is passed on. */
int host_command_run(HostCommand **ret, sd_event *event, const HostCommandRequest *request,
                     HostCommandHandler handler, void *userdata);
/* A command line for the host's shell. */
int host_command_new(HostCommand **ret, sd_event *event, const char *command, char *const *environment,
                     uint64_t timeout_usec, HostCommandHandler handler, void *userdata);
/* Kills the whole group, if it still runs. */
HostCommand *host_command_free(HostCommand *command);
DEFINE_CLEANUP(HostCommand *, host_command_free);
