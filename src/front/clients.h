#pragma once

/* Clients: the accepted connections of a front, each in one of four states. What the states mean for a client is
 * here; when one follows the other is the front's decision. */

#include "front/answer.h"
#include "front/backend.h"
#include "front/forward.h"

typedef struct Clients Clients;

typedef enum ClientState {
        CLIENT_HELD, /* waits for the stack */
        CLIENT_CONNECTING, /* the stack is awake, its backend has not accepted yet */
        CLIENT_FORWARDED,
        CLIENT_CLOSING, /* gets the answer of a failed wake, or has got it */
        _CLIENT_STATE_MAX,
        _CLIENT_STATE_INVALID = -EINVAL,
} ClientState;

/* A client has gone. Must not free the clients. May come from a quiet watch (reactor.h). */
typedef void (*ClientsHandler)(Clients *clients, void *userdata);
/* A client's backend could not be tried, for descriptors or memory have run out. It is tried again. */
typedef void (*ClientsExhaustedHandler)(int error, void *userdata);

/* `service`: the name in what clients are told. All pointers are borrowed. */
int clients_new(Clients **ret, sd_event *event, Reactor *reactor, Forwarder *forwarder, const char *service,
                ClientsHandler handler, ClientsExhaustedHandler on_exhausted, void *userdata);
Clients *clients_free(Clients *clients);
DEFINE_CLEANUP(Clients *, clients_free);

size_t clients_count(const Clients *clients, ClientState state);
/* Held or connecting. */
size_t clients_waiting(const Clients *clients);
size_t clients_total(const Clients *clients);

/* A new connection, taken in any case: held, connected at once, or answered. */
void clients_hold(Clients *clients, int fd);
void clients_forward(Clients *clients, int fd, const Backends *backends);
void clients_refuse(Clients *clients, int fd, Answer *answer);

/* All that wait: connect, those that are connecting anew. The backends are borrowed until the next call of this or
 * clients_hold_waiting() or clients_answer_waiting(). */
void clients_connect_waiting(Clients *clients, const Backends *backends);
void clients_hold_waiting(Clients *clients);
/* Returns how many there were. */
size_t clients_answer_waiting(Clients *clients, Answer *answer);
