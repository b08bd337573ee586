#pragma once

/* Peer: who is at the other end of a Unix socket, as far as it decides what he may do: fronts read bytes from the internet, and may change
 * nothing but that their own stack is held awake. */

#include "util/macro.h"

typedef struct PeerIdentity {
        uid_t uid; /* (uid_t) -1: not known */
        bool front; /* of whichever service; also who is not known */
        char *service; /* whose front; NULL: nobody's, or it cannot be told */
} PeerIdentity;

void peer_identify(PeerIdentity *ret, int fd);
void peer_identity_done(PeerIdentity *identity);
