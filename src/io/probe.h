#pragma once

/* Probe: asks one running container, again and again, whether it is ready to serve. It is begun when the
 * start's POST has been answered and the container inspected, never before (ARP for an address that is not up
 * yet costs a second).
 *
 * How: by the dependency's healthCheck (http, tcp, a plain `docker exec` through the engine, else a host
 * command), else by the engine's own HEALTHCHECK, told by events through probe_set_health(), else by
 * startupDelay.
 *
 * When: cheap tries (http, tcp) every 10 ms first, stretching to `interval`. A command costs ~40 ms of CPU,
 * so it is first run at once only if something listens in the container already, then whenever the set of
 * listening sockets in its network namespace changes (looked at every 10 ms for next to nothing), and anyway
 * after 250 ms, 500 ms, … up to `interval` (after 50 ms, 100 ms, … once something listens). One try at a
 * time; one that hangs is ended after 10 s. Nothing but the named check's own success says ready. */

#include <systemd/sd-event.h>
#include "io/engine.h"
#include "model/service.h"
#include "util/macro.h"

typedef struct Probe Probe;

typedef enum ProbeVerdict {
        PROBE_READY,
        PROBE_TIMED_OUT, /* never gave an answer we accept within its budget */
        PROBE_BROKEN, /* could not be carried out: malformed address, no such container */
        _PROBE_VERDICT_MAX,
        _PROBE_VERDICT_INVALID = -EINVAL,
} ProbeVerdict;

/* Called once, never from inside probe_new(). `detail`: what the last try said, one line ("exit status 1:
 * mysqladmin: connect to server failed"), never NULL. The probe may be freed from inside the call. */
typedef void (*ProbeHandler)(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata);

/* `dependency` and `info` are borrowed and must outlive the probe. `backend_port` > 0: additionally, and
 * after the check has succeeded, something must accept on that TCP port of the container's `network` address
 * (the container that clients are forwarded to). `environment` (may be NULL) is what $VARIABLES in a command
 * are taken from, "NAME=VALUE" strings, and what a host command gets. */
int probe_new(Probe **ret, sd_event *event, Engine *engine, const Dependency *dependency,
              const ContainerInfo *info, const char *network, uint16_t backend_port, char *const *environment,
              ProbeHandler handler, void *userdata);
Probe *probe_free(Probe *probe);
DEFINE_CLEANUP(Probe *, probe_free);

/* The engine told the container's health in an event. */
void probe_set_health(Probe *probe, EngineHealth health);

/* Splits a command like `docker exec [-u USER] [-e NAME=VALUE] NAME ARG…` without shell syntax beyond quotes
 * and $VARIABLES. Returns 1 and the parts if it is one, 0 if it must be run by the shell, negative on error.
 * Each ret is the caller's. */
int exec_command_parse(const char *command, char *const *environment, char **ret_container, char **ret_user,
                       char ***ret_environment, char ***ret_argv);
