#pragma once

/* Engine: the Docker Engine API over its Unix socket (Docker, and Podman's compatible one), asynchronous on
 * sd-event. Everything that comes back is untrusted: strings are checked, unknown members are ignored, and
 * sizes are bounded: headers 64 KiB, an inspect 1 MiB and 65536 values, a list of
 * containers 16 MiB and 1048576 values, both 32 levels; of an inspect 1024 networks, bindings and exposed ports each (more are left out) and 1024 bytes of
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
#include "engine/container-info.h"

typedef struct Engine Engine;
typedef struct EngineCall EngineCall;

typedef enum EngineOutcome {
        ENGINE_OK,
        ENGINE_ALREADY, /* 304: it was so already, or soon was */
        ENGINE_NO_CONTAINER, /* 404 */
        ENGINE_NO_NETWORK, /* 404 with another body */
        ENGINE_NO_IMAGE,
        ENGINE_PORT_TAKEN,
        ENGINE_PAUSED, /* 409: unpause it instead */
        ENGINE_NOT_RUNNING, /* 409 to a pause: there is nothing to be paused */
        ENGINE_OTHER_STOPPED, /* a container whose network, or the like, it was made to share does not run */
        ENGINE_PART_MISSING, /* one like that, or a volume, is gone */
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
        const char *body; /* inspect and info, if outcome is ENGINE_OK: the whole answer, for who wants to know more of it */
        size_t body_size;
        NetworkInfo *network; /* of a network, if outcome is ENGINE_OK */
        int exit_code; /* exec, if outcome is ENGINE_OK */
        char **exec_argv; /* engine_inspect_exec(): what runs; NULL: it does not run */
        ListedContainer *listed; /* engine_list(), sorted by name; TAKE_PTR() to keep it */
        size_t n_listed;
        char **names; /* engine_list_names(); TAKE_PTR() to keep it */
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
/* What is asked from now on is asked on a new connection, after its version. A daemon that goes down, which begins with its containers, may go
 * on serving the connections that it has (Docker 20.10), but takes no new ones. */
void engine_doubt_now(Engine *engine);

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
/* The same, and then a start; both are answered for by one outcome. */
int engine_restart(EngineCall **ret, Engine *engine, const char *container, unsigned grace_sec,
                   uint64_t timeout_usec, EngineHandler handler, void *userdata);
/* ENGINE_ALREADY if it is paused, ENGINE_NOT_RUNNING if it does not run: it may have ended in between. */
int engine_pause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata);
int engine_unpause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata);
/* All containers, in reply->listed. */
int engine_list(EngineCall **ret, Engine *engine, uint64_t timeout_usec, EngineHandler handler, void *userdata);
typedef enum EngineThing {
        ENGINE_NETWORKS,
        ENGINE_INTERNAL_NETWORKS, /* those that lead nowhere else */
        ENGINE_IMAGES,
} EngineThing;

/* What all of these are called, ids among it, in reply->names. */
int engine_list_names(EngineCall **ret, Engine *engine, EngineThing thing, uint64_t timeout_usec,
                      EngineHandler handler, void *userdata);
/* What the engine says of itself, in reply->body: an object, as a rule. */
int engine_info(EngineCall **ret, Engine *engine, uint64_t timeout_usec, EngineHandler handler, void *userdata);
/* The last `lines` lines of the log, in reply->output. */
int engine_logs(EngineCall **ret, Engine *engine, const char *container, unsigned lines, uint64_t timeout_usec,
                EngineHandler handler, void *userdata);
/* Runs a command in the container and waits for it: create, start attached until the end of the stream,
 * inspect. `user` may be NULL. A command that hangs is given up after `timeout_usec` with ENGINE_TIMED_OUT
 * (it goes on in the container). */
int engine_exec(EngineCall **ret, Engine *engine, const char *container, char *const *argv,
                char *const *environment, const char *user, uint64_t timeout_usec, EngineHandler handler,
                void *userdata);
/* One of ContainerInfo.execs; ENGINE_NO_CONTAINER: the engine has forgotten it. */
int engine_inspect_exec(EngineCall **ret, Engine *engine, const char *exec, uint64_t timeout_usec,
                        EngineHandler handler, void *userdata);
/* In reply->network; ENGINE_NO_NETWORK. */
int engine_inspect_network(EngineCall **ret, Engine *engine, const char *network, uint64_t timeout_usec,
                           EngineHandler handler, void *userdata);
/* A container that is stopped is connected to whatever is named, and cannot be started any more if that does not exist: ask
 * for the network first. */
int engine_connect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
                           uint64_t timeout_usec, EngineHandler handler, void *userdata);
/* Also from a network that does not exist. */
int engine_disconnect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
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
        const char *container; /* its name at that moment */
        const char *id; /* "": not said */
        int exit_code;
        int signal; /* 0: not said */
} ContainerEvent;

/* `event` is NULL once when the stream is established (its first bytes, the response header, have come), and
 * `lost` is true when it has ended: it is opened again by itself with growing pauses (100 ms to 5 s), and
 * then `event` NULL, `lost` false comes again; look at everything anew then, because events may have been
 * missed. Events of other types are dropped; those of all containers come, since one that is renamed is known by its id
 * only, and whoever listens before he looks does not know that yet. */
typedef void (*EngineEventHandler)(Engine *engine, const ContainerEvent *event, bool lost, void *userdata);
int engine_watch(Engine *engine, EngineEventHandler handler, void *userdata);
