#pragma once

/* Page socket: takes over clients from fronts: a packet for each, the service's name with the client as its one descriptor, answered in
 * order by a byte: `+` taken, `-` refused. Behind the name there may be how many ms it is until the front wakes the service again. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct PageSocket PageSocket;

/* Can a client of this service be taken? False means `-`. */
typedef bool (*PageSocketRoomHandler)(const char *service, int fd, void *userdata);
/* Takes the fd in any case: its front has given it up. */
typedef void (*PageSocketHandler)(const char *service, uint64_t pause_usec, int fd, void *userdata);

int page_socket_new(PageSocket **ret, sd_event *event, PageSocketRoomHandler has_room, PageSocketHandler handler,
                    void *userdata);
PageSocket *page_socket_free(PageSocket *socket);
DEFINE_CLEANUP(PageSocket *, page_socket_free);

/* Takes over the connection of a front, in any case. */
int page_socket_add(PageSocket *socket, int connection);
/* Fronts that are connected: clients may be on their way. */
size_t page_socket_senders(const PageSocket *socket);

/* One packet from `fd`. 0: none; 1: one, whose client is in `ret_fd`; -EBADMSG: it is not what a front sends; -ECONNRESET: the end. */
int page_message_receive(int fd, char ret_service[static 65], uint64_t *ret_pause_usec, int *ret_fd);
