#pragma once

/* Events: streams of server-sent events (text/event-stream) about one service or all. */

#include "web/board.h"
#include "web/http.h"

typedef struct Events Events;

/* `heartbeat_usec` 0: the default of 15 s. */
int events_new(Events **ret, sd_event *event, Board *board, uint64_t heartbeat_usec);
/* After the requests have ended. */
Events *events_free(Events *events);
DEFINE_CLEANUP(Events *, events_free);

/* Answers with a stream about that service, or NULL: all. On the service's own port it ends with the wake, and tells no names
 * if the service says so. */
void events_answer(Events *events, HttpExchange *request, const char *service);
/* Something has changed, of that service or NULL: the configuration. */
void events_publish(Events *events, const char *service);
