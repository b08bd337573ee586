#pragma once

/* PortRedirect: that of the published port of a service in redirect mode, by which new connections go to the front. Lifted, they go straight
 * to the container; restored, to the front again. It also tells whether the port is in use while it is lifted. In proxy mode there is none. */

#include <systemd/sd-event.h>
#include "model/service.h"
#include "nft/redirect.h"

typedef struct PortRedirect PortRedirect;

/* It was lifted or restored, or could not be (negative errno, logged already). May start the next move. */
typedef void (*PortRedirectHandler)(PortRedirect *redirect, int error, void *userdata);

/* Lifted or not, as the map has it: both moves are idempotent. `service` is borrowed. */
int port_redirect_new(PortRedirect **ret, sd_event *event, const Service *service, const char *root,
                      PortRedirectHandler handler, void *userdata);
PortRedirect *port_redirect_free(PortRedirect *redirect);
DEFINE_CLEANUP(PortRedirect *, port_redirect_free);

/* Loads what takes time. Worth doing while a container boots; otherwise the first move does it. */
void port_redirect_prepare(PortRedirect *redirect);

/* One move at a time; a new one replaces one that still waits for its lock. `inner` is the container's side, which is taken over; of a restored one
 * it is the stack's own containers, which are not redirected (NULL: all are). */
void port_redirect_lift(PortRedirect *redirect, Inner *inner);
void port_redirect_restore(PortRedirect *redirect, Inner *inner);
/* Restores it anew if those are others than they were. */
void port_redirect_spare(PortRedirect *redirect, Inner *inner);

/* Of UDP: whoever has sent straight to the container comes to the front with his next datagram. For when it is restored, and nobody uses it. */
void port_redirect_forget_flows(PortRedirect *redirect);

/* How long a connection counts on which nothing moves, if nothing else can be known of the other end. */
uint64_t port_redirect_silence(const Service *service);

/* Has anybody used the lifted port, or the container's own, since the last look? Its own stack has not, by whatever address, nor has
 * anybody whom the service ignores. A look that
 * fails counts as use: better awake for nothing than asleep under somebody's feet. Takes `inner` over. */
bool port_redirect_look(PortRedirect *redirect, Inner *inner);
