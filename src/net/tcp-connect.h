#pragma once

/* TcpConnect: one attempt at a TCP connection, which is closed as soon as it is there. */

#include <sys/socket.h>
#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct TcpConnect TcpConnect;

/* Called once, never from inside tcp_connect_new(). `error`: 0 it was accepted, else a negative errno. May
 * free the attempt. */
typedef void (*TcpConnectHandler)(TcpConnect *attempt, int error, void *userdata);

int tcp_connect_new(TcpConnect **ret, sd_event *event, const struct sockaddr_storage *address, socklen_t size,
                    uint64_t timeout_usec, TcpConnectHandler handler, void *userdata);
TcpConnect *tcp_connect_free(TcpConnect *attempt);
DEFINE_CLEANUP(TcpConnect *, tcp_connect_free);
