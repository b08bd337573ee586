#pragma once

/* Requests: `up` and `down` of single services, of which many come at once. */

#include "redirect/queue.h"
#include "redirect/session.h"

/* Asks for it, waits until it was done, by whomever, and tells what came of it. */
int request_change(Session *session, const char *service, RequestKind kind);
