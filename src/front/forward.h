#pragma once

/* Forward: one client and its backend, bytes both ways. Forwarder: what all of them share. This is the whole data
 * path; nothing else touches a connection once it is here. */

#include "front/reactor.h"

typedef struct Forwarder Forwarder;
typedef struct Forward Forward;

/* Called once: both directions have ended, or one side was reset. Both descriptors are closed by forward_free(),
 * which the handler may call. */
typedef void (*ForwardHandler)(Forward *forward, void *userdata);

/* `pipes_max`: how many pipes may exist at a time (two descriptors each); beyond, bytes are copied. The reactor is
 * borrowed. */
int forwarder_new(Forwarder **ret, Reactor *reactor, unsigned pipes_max);
Forwarder *forwarder_free(Forwarder *forwarder);
DEFINE_CLEANUP(Forwarder *, forwarder_free);

/* Takes both descriptors, non-blocking stream sockets, on success only. */
int forward_new(Forward **ret, Forwarder *forwarder, int client, int backend, ForwardHandler handler,
                void *userdata);
/* Connections that have not ended by themselves are reset. */
Forward *forward_free(Forward *forward);
DEFINE_CLEANUP(Forward *, forward_free);

/* Whether the client has sent anything since the last call, or takes a download. */
bool forward_was_used(Forward *forward);

/* Closes with a reset instead of an end. Returns -EBADF. */
int fd_reset(int fd);
