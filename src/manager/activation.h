#pragma once

/* Activation: was this run of a service asked for (systemctl start, a timer, a dependency), or has a connection to its socket begun it? Asked
 * over the system bus, asynchronous on sd-event. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Activation Activation;

/* Called once: 1 the socket has begun it, 0 it was asked for, or why it cannot be told. Never from inside a function of this header. The
 * activation may be freed from inside. */
typedef void (*ActivationHandler)(Activation *activation, int by_socket, void *userdata);

/* Names of units: of a service that runs, and of its socket. */
int activation_new(Activation **ret, sd_event *event, const char *service, const char *socket,
                   ActivationHandler handler, void *userdata);
Activation *activation_free(Activation *activation);
DEFINE_CLEANUP(Activation *, activation_free);
