#pragma once

/* Listeners: the sockets that PID 1 has passed. */

#include "front/reactor.h"

typedef struct Listeners Listeners;

/* Whether a further connection can be served. Asked before each is accepted. */
typedef bool (*ListenersRoomHandler)(void *userdata);
/* A connection: non-blocking, and the handler's. */
typedef void (*ListenersClientHandler)(int fd, void *userdata);

/* The sockets are borrowed. `service`: whose they are, for the journal. Those for datagrams are left alone. */
int listeners_new(Listeners **ret, sd_event *event, Reactor *reactor, int first, size_t n, const char *service,
                  ListenersRoomHandler has_room, ListenersClientHandler on_client, void *userdata);
Listeners *listeners_free(Listeners *listeners);
DEFINE_CLEANUP(Listeners *, listeners_free);

/* Descriptors or memory have run out elsewhere: for a moment nobody is accepted. */
void listeners_pause(Listeners *listeners, int error);
/* There may be room again. */
void listeners_resume(Listeners *listeners);
