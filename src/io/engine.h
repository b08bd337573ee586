#pragma once

/* Engine: the Docker Engine API over its Unix socket (Docker, and Podman's compatible one), asynchronous on
 * sd-event. Everything that comes back is untrusted: sizes are bounded, strings are checked, and unknown
 * members are ignored.
 *
 * An answer is not a fact about the container: 204 and 304 to a start say that it was asked for; whether it
 * runs is told by an inspect afterwards and by events. An inspect of a container that is being started or
 * stopped waits for the engine's lock on it (200 ms and more): do not ask during a start. */

#include <systemd/sd-event.h>
#include "util/macro.h"
#include "util/strv.h"

typedef struct Engine Engine;
typedef struct EngineCall EngineCall;

typedef enum EngineHealth {
        HEALTH_NONE, /* the container has no HEALTHCHECK */
        HEALTH_STARTING,
        HEALTH_HEALTHY,
        HEALTH_UNHEALTHY,
} EngineHealth;

typedef struct ContainerNetwork {
        char *name;
        char *id;
        char *ipv4; /* NULL: none (a stopped container has none) */
        char *ipv6;
} ContainerNetwork;

typedef struct PortBinding {
        uint16_t container_port;
        uint16_t host_port;
        char *host_ip; /* "" is every address of both families */
        bool tcp;
} PortBinding;

typedef struct ContainerInfo {
        char *name; /* without the slash */
        char *id;
        bool running, paused, restarting;
        int exit_code;
        char *error; /* State.Error, or "" */
        pid_t pid; /* 0: not running */
        char *started_at; /* RFC 3339, as the engine says it: tells one run from another */
        EngineHealth health;
        unsigned stop_timeout_sec; /* Config.StopTimeout, else 10 */
        char *network_mode;
        ContainerNetwork *networks;
        size_t n_networks;
        PortBinding *bindings; /* HostConfig.PortBindings, also of a stopped container */
        size_t n_bindings;
        uint16_t *exposed; /* TCP ports of Config.ExposedPorts */
        size_t n_exposed;
        char *compose_project, *compose_service; /* labels, or NULL */
} ContainerInfo;

ContainerInfo *container_info_free(ContainerInfo *info);
DEFINE_CLEANUP(ContainerInfo *, container_info_free);
/* NULL if the container is not on it. */
const ContainerNetwork *container_info_network(const ContainerInfo *info, const char *network);

/* Parses the body of an inspect. -EBADMSG. For the engine, tests and the fuzzer. */
int container_info_parse(ContainerInfo **ret, const char *body, size_t size);

typedef enum EngineOutcome {
        ENGINE_OK,
        ENGINE_ALREADY, /* 304: it was so already, or soon was */
        ENGINE_NO_CONTAINER, /* 404 */
        ENGINE_NO_NETWORK, /* 404 with another body */
        ENGINE_NO_IMAGE,
        ENGINE_PORT_TAKEN,
        ENGINE_PAUSED, /* 409: unpause it instead */
        ENGINE_CONFLICT, /* 409: something is in progress, try again */
        ENGINE_REFUSED, /* any other 4xx, or a 500 that no repetition helps (no such program): permanent */
        ENGINE_BROKEN, /* 5xx or an answer that cannot be understood: may pass */
        ENGINE_UNREACHABLE, /* no connection, or it broke off */
        ENGINE_TIMED_OUT, /* no answer in time. What was asked for may still be done */
} EngineOutcome;

const char *engine_outcome_to_string(EngineOutcome outcome);
/* Worth trying again within the time that is left. */
bool engine_outcome_is_transient(EngineOutcome outcome);

typedef struct EngineReply {
        EngineOutcome outcome;
        const char *message; /* the engine's own sentence, or ours; never NULL, one line */
        ContainerInfo *info; /* inspect; TAKE_PTR() to keep it */
        int exit_code; /* exec, if outcome is ENGINE_OK */
        const char *output; /* exec, logs: the end of stdout and stderr, at most 4 KiB, made printable */
} EngineReply;

/* Called once per call, never from inside the function that started it. The call may be freed from inside;
 * the reply stays until the handler returns. A name that no container can have (see printable.h) is answered
 * as the engine would: ENGINE_NO_CONTAINER. */
typedef void (*EngineHandler)(EngineCall *call, EngineReply *reply, void *userdata);

/* The API version is negotiated with the first call ("/_ping": Api-Version), which the others wait for, at
 * most 1.47 (Docker 29 refuses everything below 1.44) and at least 1.24; `engine_new` itself asks nothing.
 * -ENAMETOOLONG if that is no path of a socket. */
int engine_new(Engine **ret, sd_event *event, const char *socket_path);
Engine *engine_free(Engine *engine); /* all its calls must have been freed */
DEFINE_CLEANUP(Engine *, engine_free);

/* Cancels a call under way: its handler is not called. What was asked for may still be done. */
EngineCall *engine_call_free(EngineCall *call);
DEFINE_CLEANUP(EngineCall *, engine_call_free);

int engine_inspect(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata);
int engine_start(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata);
/* `grace_sec` before SIGKILL; the call's own timeout must be longer. */
int engine_stop(EngineCall **ret, Engine *engine, const char *container, unsigned grace_sec, uint64_t timeout_usec,
                EngineHandler handler, void *userdata);
int engine_unpause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata);
/* The last `lines` lines of the log, in reply->output. */
int engine_logs(EngineCall **ret, Engine *engine, const char *container, unsigned lines, uint64_t timeout_usec,
                EngineHandler handler, void *userdata);
/* Runs a command in the container and waits for it: create, start attached until the end of the stream,
 * inspect. `user` may be NULL. A command that hangs is given up after `timeout_usec` with ENGINE_TIMED_OUT
 * (it goes on in the container). */
int engine_exec(EngineCall **ret, Engine *engine, const char *container, char *const *argv,
                char *const *environment, const char *user, uint64_t timeout_usec, EngineHandler handler,
                void *userdata);
int engine_connect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
                           uint64_t timeout_usec, EngineHandler handler, void *userdata);

typedef enum ContainerEventType {
        CONTAINER_EVENT_START,
        CONTAINER_EVENT_DIE, /* with exit_code */
        CONTAINER_EVENT_STOP, /* somebody asked for a stop; follows die */
        CONTAINER_EVENT_DESTROY,
        CONTAINER_EVENT_PAUSE,
        CONTAINER_EVENT_UNPAUSE,
        CONTAINER_EVENT_HEALTHY,
        CONTAINER_EVENT_UNHEALTHY,
        _CONTAINER_EVENT_MAX,
        _CONTAINER_EVENT_INVALID = -EINVAL,
} ContainerEventType;

typedef struct ContainerEvent {
        ContainerEventType type;
        const char *container; /* name */
        int exit_code;
} ContainerEvent;

/* `event` is NULL once when the stream is established (its first bytes, the response header, have come), and
 * `lost` is true when it has ended: it is opened again by itself with growing pauses (100 ms to 5 s), and
 * then `event` NULL, `lost` false comes again; look at everything anew then, because events may have been
 * missed. Events of other types are dropped. */
typedef void (*EngineEventHandler)(Engine *engine, const ContainerEvent *event, bool lost, void *userdata);
int engine_watch(Engine *engine, char *const *containers, EngineEventHandler handler, void *userdata);
