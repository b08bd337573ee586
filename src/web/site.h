#pragma once

/* Site: what the answers are made of, and one request that is to be answered from it. */

#include "web/board.h"
#include "web/events.h"
#include "web/http.h"
#include "web/orders.h"

/* An answer that many may get, and the version of what it was made of. */
typedef struct SharedAnswer {
        Bytes *text;
        uint64_t version;
} SharedAnswer;

typedef struct Site {
        /* borrowed */
        const char *root;
        Http *http;
        Board *board;
        Events *events;
        Orders *orders;

        SharedAnswer services[2]; /* without and with the right to put to sleep */
        SharedAnswer graph;
} Site;

/* A request on one of our own sockets that has passed all checks, for the handler of its route. */
typedef struct Call {
        Site *site;
        HttpExchange *request;
        const char *name; /* what the path ends in: a service that exists, or whatever it is; NULL: nothing */
        BoardEntry *entry; /* of that service */
        const char *query; /* NULL: none */
} Call;
