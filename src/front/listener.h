#pragma once

/* Listeners: the sockets that PID 1 has passed. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Listeners Listeners;

/* Whether a further connection can be served. Asked before each is accepted. */
typedef bool (*ListenersRoomHandler)(void *userdata);
/* A connection: non-blocking, and the handler's. */
typedef void (*ListenersClientHandler)(int fd, void *userdata);

/* The sockets are borrowed. Those for datagrams are left alone. */
int listeners_new(Listeners **ret, sd_event *event, int first, size_t n, ListenersRoomHandler has_room,
                  ListenersClientHandler on_client, void *userdata);
Listeners *listeners_free(Listeners *listeners);
DEFINE_CLEANUP(Listeners *, listeners_free);

/* There may be room again. */
void listeners_resume(Listeners *listeners);
