#pragma once

/* EventParser: the body of /events, JSON objects one after the other in pieces of any size. For the engine,
 * tests and the fuzzer. */

#include "engine/engine.h"

typedef struct EventParser EventParser;

/* Of one that event_parser_next() has filled. */
void container_event_done(ContainerEvent *event);

int event_parser_new(EventParser **ret);
EventParser *event_parser_free(EventParser *parser);
DEFINE_CLEANUP(EventParser *, event_parser_free);

/* -ENOBUFS: more waits to be read than anybody should have to keep, 1 MiB. */
int event_parser_feed(EventParser *parser, const char *data, size_t size);
/* 1 and the next event of a type that we know; 0 if there is none before more data comes; -EBADMSG: this is
 * no stream of events (any more), or an object of more than 128 KiB or 16 levels. */
int event_parser_next(EventParser *parser, ContainerEvent *ret);
