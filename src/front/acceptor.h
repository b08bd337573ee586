#pragma once

/* Acceptor: the sockets that PID 1 has passed. */

#include "front/reactor.h"

typedef struct Acceptor Acceptor;

/* Whether a further connection can be served. Asked before each is accepted. */
typedef bool (*AcceptorRoomHandler)(void *userdata);
/* A connection: non-blocking, and the handler's. */
typedef void (*AcceptorClientHandler)(int fd, void *userdata);

/* The sockets are borrowed. `service`: whose they are, for the journal. Those for datagrams are left alone. */
int acceptor_new(Acceptor **ret, Reactor *reactor, int first, size_t n, const char *service,
                 AcceptorRoomHandler has_room, AcceptorClientHandler on_client, void *userdata);
Acceptor *acceptor_free(Acceptor *acceptor);
DEFINE_CLEANUP(Acceptor *, acceptor_free);

/* Frees it, and closes the sockets: whoever connects from now on is PID 1's, or if that has none any more, another one may have the port. */
Acceptor *acceptor_close(Acceptor *acceptor);

/* Descriptors or memory have run out elsewhere: for a moment nobody is accepted. */
void acceptor_pause(Acceptor *acceptor, int error);
/* There may be room again. */
void acceptor_resume(Acceptor *acceptor);
