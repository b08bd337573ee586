#pragma once

/* Varlink: JSON messages ended by NUL on a stream socket, one connection, either side (varlink.org/Method-Call). Reading
 * and writing are bounded (a message of at most VARLINK_MESSAGE_MAX, a write queue of at most VARLINK_QUEUE_MAX): a peer
 * that exceeds them is disconnected. */

#include <json-c/json.h>
#include <systemd/sd-event.h>
#include "util/macro.h"

#define VARLINK_MESSAGE_MAX ((size_t) 256 * 1024)
#define VARLINK_QUEUE_MAX ((size_t) 4 * 1024 * 1024)

typedef struct Varlink Varlink;

/* A message came, well-formed JSON and an object. As server: a call {"method", "parameters", "more", "oneway"}. As client: a
 * reply {"parameters", "continues"} or {"error", "parameters"}. The message is borrowed. The connection may be freed from
 * inside. */
typedef void (*VarlinkMessageHandler)(Varlink *varlink, json_object *message, void *userdata);

/* The connection has ended: 0 the peer closed it, else -EBADMSG (no JSON object), -EMSGSIZE, -ENOBUFS (it does not read), or what
 * the socket said. Called once; no further message follows. The connection may be freed from inside. */
typedef void (*VarlinkEndHandler)(Varlink *varlink, int error, void *userdata);

/* Takes the fd on success only. It is made non-blocking. */
int varlink_new(Varlink **ret, sd_event *event, int fd, VarlinkMessageHandler on_message, VarlinkEndHandler on_end,
                void *userdata);
/* Connects to a Unix socket. A connect that would block (backlog full) is -EAGAIN: try again later. */
int varlink_connect(Varlink **ret, sd_event *event, const char *path, VarlinkMessageHandler on_message,
                    VarlinkEndHandler on_end, void *userdata);
/* Tries once more to write what is queued, without blocking, then closes. */
Varlink *varlink_free(Varlink *varlink);
DEFINE_CLEANUP(Varlink *, varlink_free);

int varlink_fd(const Varlink *varlink);
/* Of its reads and writes, as sd_event_source_set_priority(3). */
int varlink_set_priority(Varlink *varlink, int64_t priority);

/* The longest message that is taken, VARLINK_MESSAGE_MAX at first, and how much may be queued, VARLINK_QUEUE_MAX at first. */
void varlink_set_limits(Varlink *varlink, size_t message_max, size_t queue_max);

/* Queue a message; parameters are borrowed and may be NULL. -ENOBUFS if the peer has not read for too long. */
int varlink_call(Varlink *varlink, const char *method, json_object *parameters, bool more);
int varlink_reply(Varlink *varlink, json_object *parameters, bool continues);
int varlink_error(Varlink *varlink, const char *error, json_object *parameters);
