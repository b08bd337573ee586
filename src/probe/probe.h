#pragma once

/* Probe: asks one running container, again and again, whether it is ready to serve. It is begun when the
 * start's POST has been answered and the container inspected, never before (ARP for an address that is not up
 * yet costs a second).
 *
 * How: by the dependency's healthCheck (http, tcp, a plain `docker exec` through the engine, else a host
 * command), else by the container's own HEALTHCHECK, else by startupDelay. Its command is run by us as an exec,
 * as the engine runs it but at our pace (the engine's first look is 30 s after the start by default), or the engine says
 * healthy by an event, through probe_set_health(), whichever is first. Where the engine does not tell the command, the
 * event alone decides.
 *
 * When: cheap tries (http, tcp) every 10 ms first, stretching to `interval`. A command costs ~40 ms of CPU,
 * so it is first run at once only if something listens in the container already, then whenever the set of
 * listening sockets in its network namespace changes (looked at every 10 ms for next to nothing), and anyway
 * after 250 ms, 500 ms, … up to `interval` (after 50 ms, 100 ms, … once something listens). One try at a
 * time; one that hangs is ended after 10 s, a HEALTHCHECK after its own timeout. Three tries in a row of a command that can never be
 * begun are enough. Nothing but the named check's own success says ready. */

#include <systemd/sd-event.h>
#include "command/environment.h"
#include "engine/engine.h"
#include "model/service.h"
#include "util/macro.h"

typedef struct Probe Probe;

typedef enum ProbeVerdict {
        PROBE_READY,
        PROBE_TIMED_OUT, /* never gave an answer we accept within its budget */
        PROBE_BROKEN, /* could not be carried out: malformed address, no such container, no such program */
        _PROBE_VERDICT_MAX,
        _PROBE_VERDICT_INVALID = -EINVAL,
} ProbeVerdict;

/* Called once, never from inside probe_new(). `detail`: what the last try said, one line ("exit status 1:
 * mysqladmin: connect to server failed"), never NULL. The probe may be freed from inside the call. */
typedef void (*ProbeHandler)(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata);

/* `dependency` and `info` are borrowed and must outlive the probe. `http_port`: of an http check that names none, 0
 * if it is not known. `environment` (may be NULL) is what $VARIABLES in a command are taken from, and what a host
 * command gets of it. */
int probe_new(Probe **ret, sd_event *event, Engine *engine, const Dependency *dependency,
              const ContainerInfo *info, const char *network, uint16_t http_port, const Environment *environment,
              ProbeHandler handler, void *userdata);
Probe *probe_free(Probe *probe);
DEFINE_CLEANUP(Probe *, probe_free);
/* What the last try said so far, one line. */
const char *probe_detail(const Probe *probe);

/* The time allowed, from its begin: the dependency's; for a HEALTHCHECK about which the file says nothing, twice the time after which the
 * engine calls it unhealthy (several boot at once here), and not less than the default. */
uint64_t probe_budget(const Probe *probe);
/* It has no longer than until then, CLOCK_MONOTONIC: its container has used up the rest. */
int probe_set_deadline(Probe *probe, uint64_t usec);

/* The engine told the container's health in an event. */
void probe_set_health(Probe *probe, EngineHealth health);
