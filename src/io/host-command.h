#pragma once

/* HostCommand: one run of a command by the host's shell, in a process group of its own. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct HostCommand HostCommand;

typedef struct HostCommandResult {
        bool timed_out;
        int exit_status; /* -1: ended by a signal */
        int signal;
        const char *last_line; /* of its output, printable; never NULL */
} HostCommandResult;

/* Called once. The command may be freed from inside. */
typedef void (*HostCommandHandler)(HostCommand *command, const HostCommandResult *result, void *userdata);

/* `environment` is all that it gets, plus a PATH if there is none. No capability, descriptor or signal
 * setting of ours is passed on. */
int host_command_new(HostCommand **ret, sd_event *event, const char *command, char *const *environment,
                     uint64_t timeout_usec, HostCommandHandler handler, void *userdata);
/* Kills the whole group, if it still runs. */
HostCommand *host_command_free(HostCommand *command);
DEFINE_CLEANUP(HostCommand *, host_command_free);
