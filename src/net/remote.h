#pragma once

/* Remote: the other end of a TCP connection, as this host's kernel knows it. */

#include "net/socket-table.h"

/* Whether nobody is there any more: what was sent to it is not acknowledged, or its machine does not answer the question for its hardware
 * address, or nothing has moved for so long that it is as good as gone. `silence_usec` is how long that is where nothing else can be
 * asked. When in doubt it is there. Asks for the address anew: whoever has just gone is found out by one of the next calls, about 40 s
 * later at most. That needs CAP_NET_ADMIN. */
bool remote_is_gone(const Connection *connection, uint64_t silence_usec);

/* Whether that address, IPv4 as in a Connection, is one of this host. */
bool remote_is_here(int family, const uint8_t address[static 16]);
/* The control group of the socket at the other end, by the inode of its folder. -ENOENT: it is not on this host's network. */
int remote_group(const Connection *connection, uint64_t *ret);
