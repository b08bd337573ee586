#pragma once

/* Engine: the Docker Engine API over its Unix socket (Docker, and Podman's compatible one), asynchronous on
 * sd-event. Everything that comes back is untrusted: strings are checked, unknown members are ignored, and
 * sizes are bounded: headers 64 KiB, an inspect 1 MiB, a list of containers 8 MiB, both 65536 values and 32
 * levels; of an inspect 1024 networks, bindings and exposed ports each (more are left out) and 1024 bytes of
 * each text; an error's sentence 512 bytes; an event 128 KiB, all that wait 1 MiB. What is longer is
 * ENGINE_BROKEN, or ends the stream.
 *
 * An engine that is away costs one connection a pause (100 ms to 2 s, growing), whatever is asked: calls wait
 * for the next try, within their own time, and share its outcome.
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
        bool tcp, udp; /* neither: SCTP */
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
        uint16_t *exposed_udp; /* the same for UDP */
        size_t n_exposed_udp;
        char *compose_project, *compose_service; /* labels, or NULL */
        char *restart_policy; /* "no", "always", "unless-stopped", "on-failure"; never NULL */
        int stop_signal; /* Config.StopSignal, else SIGTERM */
        bool oom_killed;
        bool ever_started; /* StartedAt is not the zero time */
} ContainerInfo;

ContainerInfo *container_info_free(ContainerInfo *info);
DEFINE_CLEANUP(ContainerInfo *, container_info_free);
/* NULL if the container is not on it. */
const ContainerNetwork *container_info_network(const ContainerInfo *info, const char *network);

/* Parses the body of an inspect. -EBADMSG. For the engine, tests and the fuzzer. */
int container_info_parse(ContainerInfo **ret, const char *body, size_t size);
/* A signal as people and engines write it: "SIGQUIT", "quit", "3", "RTMIN+3". 0: none of this name. */
int engine_signal_from_string(const char *text);

typedef enum EngineOutcome {
        ENGINE_OK,
        ENGINE_ALREADY, /* 304: it was so already, or soon was */
        ENGINE_NO_CONTAINER, /* 404 */
        ENGINE_NO_NETWORK, /* 404 with another body */
        ENGINE_NO_IMAGE,
        ENGINE_PORT_TAKEN,
        ENGINE_PAUSED, /* 409: unpause it instead */
        ENGINE_NOT_RUNNING, /* 409 to a pause: there is nothing to be paused */
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
        char *const *names; /* engine_list_publishers(); else NULL */
        const char *output; /* exec, logs: the end of stdout and stderr, at most 4 KiB, made printable */
} EngineReply;

/* Called once per call, never from inside the function that started it. The call may be freed from inside;
 * the reply stays until the handler returns. A name that no container can have (see printable.h) is answered
 * as the engine would: ENGINE_NO_CONTAINER. */
typedef void (*EngineHandler)(EngineCall *call, EngineReply *reply, void *userdata);

/* The API version is negotiated with the first call ("/_ping": Api-Version), which the others wait for, and
 * again after the engine broke off or did not answer: at most 1.47 (Docker 29 refuses everything below 1.44)
 * and at least 1.24; `engine_new` itself asks nothing. -ENAMETOOLONG if that is no path of a socket. */
int engine_new(Engine **ret, sd_event *event, const char *socket_path);
Engine *engine_free(Engine *engine); /* all its calls must have been freed */
DEFINE_CLEANUP(Engine *, engine_free);

/* It has been asked whether it is there, or is to be, and has not answered yet. */
bool engine_is_silent(const Engine *engine);

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
/* ENGINE_ALREADY if it is paused, ENGINE_NOT_RUNNING if it does not run: it may have ended in between. */
int engine_pause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata);
int engine_unpause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata);
/* The running containers that publish this TCP port of the host on any address, the paused ones among them, in
 * reply->names: at most 64. */
int engine_list_publishers(EngineCall **ret, Engine *engine, uint16_t port, uint64_t timeout_usec,
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
        CONTAINER_EVENT_KILL, /* with signal: sent through the engine, which every stop and restart begins with */
        CONTAINER_EVENT_DIE, /* with exit_code */
        CONTAINER_EVENT_STOP, /* somebody asked for a stop; after the die (Docker 20.10) or before it (26) */
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
        int signal; /* 0: not said */
} ContainerEvent;

/* `event` is NULL once when the stream is established (its first bytes, the response header, have come), and
 * `lost` is true when it has ended: it is opened again by itself with growing pauses (100 ms to 5 s), and
 * then `event` NULL, `lost` false comes again; look at everything anew then, because events may have been
 * missed. Events of other types are dropped. */
typedef void (*EngineEventHandler)(Engine *engine, const ContainerEvent *event, bool lost, void *userdata);
int engine_watch(Engine *engine, char *const *containers, EngineEventHandler handler, void *userdata);
