#pragma once

/* Server: the web service as a whole: its sockets, what it knows, what it was asked to do. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Server Server;

typedef struct ServerOptions {
        const char *root; /* "" outside of tests */
        uint64_t exit_idle_usec; /* the loop is left when nothing was asked for so long; USEC_INFINITY: never */
        uint64_t heartbeat_usec, patience_usec; /* 0: the defaults */
} ServerOptions;

int server_new(Server **ret, sd_event *event, const ServerOptions *options);
Server *server_free(Server *server);
DEFINE_CLEANUP(Server *, server_free);

/* Takes over a listening socket: TCP, a stream in the file system, or packets (fronts). -EPROTONOSUPPORT for any other. The fd is
 * borrowed. */
int server_add_socket(Server *server, int fd);
