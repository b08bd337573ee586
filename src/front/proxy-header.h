#pragma once

/* PROXY protocol: the header by which a backend learns a client's real address, versions 1 and 2. */

#include <sys/socket.h>
#include "util/macro.h"

#define PROXY_HEADER_MAX 128 /* version 1 takes up to 107 */

/* Of a connection from `peer` to `own`, as getpeername() and getsockname() tell them. Families that differ, or that
 * the version has no words for, make a header that says so. Returns the size. `version` is 1 or 2. */
size_t proxy_header_make(uint8_t ret[static PROXY_HEADER_MAX], int version, const struct sockaddr *peer,
                         socklen_t peer_size, const struct sockaddr *own, socklen_t own_size);
