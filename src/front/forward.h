#pragma once

/* Forward: a client's connection and that to its backend, bytes both ways. Forwarder: what all of them share. This is the
 * whole data path; nothing else touches the bytes once it has been started. */

#include "front/keep/keep.h"
#include "front/reactor.h"

typedef struct Forwarder Forwarder;
typedef struct Forward Forward;
typedef struct Pending Pending;

/* Called once: both directions have ended, or one side was reset. The handler calls forward_close(). It is a quiet
 * watch's (reactor.h). */
typedef void (*ForwardHandler)(Forward *forward, bool reset);

/* The source of one direction. Small, for there may be ten thousand of them that say nothing. */
typedef struct Side {
        Watch watch; /* with the descriptor; or -EBADF */
        Pending *pending; /* read, and not yet taken by the other side */
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

/* Embedded in its owner, who may use both watches before it starts. The descriptors are here from the beginning. */
struct Forward {
        Forwarder *forwarder;
        KeepPlace kept;
        Side client, backend;
};
#define FORWARD_NONE(of) ((Forward){ .forwarder = of, .client.watch.fd = -EBADF, .backend.watch.fd = -EBADF })

/* `pipes_max`: how many pipes may exist at a time (two descriptors each); beyond, bytes are copied. `all_tcp`: no
 * client's socket is a Unix one. Reactor and keep are borrowed. */
int forwarder_new(Forwarder **ret, Reactor *reactor, Keep *keep, unsigned pipes_max, bool all_tcp,
                  ForwardHandler handler);
Forwarder *forwarder_free(Forwarder *forwarder);
DEFINE_CLEANUP(Forwarder *, forwarder_free);
/* Gives back the memory that only a busy forwarder needs. */
void forwarder_trim(Forwarder *forwarder);

/* Non-blocking stream sockets. The client's watch must not be added; the backend's is, with FORWARD_BACKEND_EVENTS, and
 * `events` are those that it has told already. The options of the client's socket are set; those of the backend's are
 * set here, when they are of use. */
#define FORWARD_BACKEND_EVENTS (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLOUT)
int forward_start(Forward *forward, bool backend_is_unix, uint32_t events);
/* The one place where sockets of clients are closed, in whatever state they are: with a reset, or as they are, which
 * sends what the kernel still holds. */
void forward_close(Forward *forward, bool reset);

/* Whether the client has sent anything since the last call, or takes a download. */
bool forward_was_used(Forward *forward);
/* Gives the connection a place in the keep, with its next flush. Harmless if it fails. */
void forward_keep(Forward *forward, bool ignored);
/* A connection of the program before, in place of forward_start(). Negative: nothing was taken, and it cannot go on. */
int forward_resume(Forward *forward, const KeepFound *found);

/* Closes a socket with a reset instead of an end. Returns -EBADF. */
int fd_reset(int fd);
