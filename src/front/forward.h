#pragma once

/* Forward: one client and its backend, bytes both ways. Forwarder: what all of them share. This is the whole data
 * path; nothing else touches a connection once it is here. */

#include "front/reactor.h"
#include "front/store.h"

typedef struct Forwarder Forwarder;
typedef struct Forward Forward;
typedef struct Rest Rest;

/* Called once: both directions have ended, or one side was reset. The handler calls forward_stop(). It
 * is a quiet watch's (reactor.h). */
typedef void (*ForwardHandler)(Forward *forward);

/* The source of one direction. Small, for there may be ten thousand of them that say nothing. */
typedef struct Side {
        Watch watch; /* with the descriptor */
        Rest *rest; /* read, and not yet taken by the other side */
        uint32_t moved; /* bytes read since forward_was_used() */
        bool readable : 1;
        bool writable : 1;
        bool watches_output : 1;
        bool exact : 1; /* TCP without urgent data: a short read has read all there was */
        bool fin : 1; /* its last byte can be read: a short read is the last one */
        bool hangup : 1; /* an error may be near: a short read is not the last one */
        bool end : 1; /* its last byte has been read */
        bool done : 1; /* and passed on, with the end */
        bool large : 1;
        bool plain : 1; /* a TCP socket of ours without options */
        bool spoken_to : 1;
        bool reset : 1; /* of the client's only: one side was; the other will be */
        bool dead : 1; /* the same: nothing more can be passed on */
} Side;

/* Embedded in its owner, who may use both watches before it starts. */
struct Forward {
        Forwarder *forwarder;
        uint32_t record; /* in the store; 0: not kept. Its owner's until it starts */
        bool splices; /* kept, and nobody counts its bytes: they go through pipes only */
        Side client, backend;
};

/* `pipes_max`: how many pipes may exist at a time (two descriptors each); beyond, bytes are copied. `all_tcp`: no
 * client's socket is a Unix one. Reactor and store are borrowed. */
int forwarder_new(Forwarder **ret, Reactor *reactor, Store *store, unsigned pipes_max, bool all_tcp);
Forwarder *forwarder_free(Forwarder *forwarder);
DEFINE_CLEANUP(Forwarder *, forwarder_free);
void forwarder_set_handler(Forwarder *forwarder, ForwardHandler handler);
/* Gives back the memory that only a busy forwarder needs. */
void forwarder_trim(Forwarder *forwarder);

/* Non-blocking stream sockets, both taken on success only. The client's watch must not be added; the backend's is,
 * with FORWARD_BACKEND_EVENTS, and `events` are those that it has told already. The options of the client's socket
 * are set; those of the backend's are set here, when they are of use. */
#define FORWARD_BACKEND_EVENTS (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLOUT)
int forward_start(Forward *forward, Forwarder *forwarder, int client, int backend, bool backend_is_unix,
                  uint32_t events);
/* Connections that have not ended by themselves are reset. */
void forward_stop(Forward *forward);

/* Whether the client has sent anything since the last call, or takes a download. */
bool forward_was_used(Forward *forward);
/* Keeps the connection in the store, with the store's next flush; a client that was held is there already, and its
 * backend is at once. Harmless if it fails. */
int forward_keep(Forward *forward);
/* A connection that the program before has kept as `record`, in place of forward_start(). Negative: nothing was taken,
 * and it cannot go on. */
int forward_resume(Forward *forward, Forwarder *forwarder, uint32_t record, int client, int backend);
/* A pipe of the program before, to be used or gone on with. Takes it if it returns true. */
bool forwarder_take_pipe(Forwarder *forwarder, uint32_t row, int in, int out);
/* All have been resumed: the pipes that nobody needs are like others. */
void forwarder_end_resuming(Forwarder *forwarder);

/* Closes with a reset instead of an end. Returns -EBADF. */
int fd_reset(int fd);
/* The same for one that is in the store: it has more owners than us, so that closing it means nothing. Without
 * `reset` both sides are ended. */
int fd_close_kept(int fd, bool reset);
