#pragma once

/* Forward, inside: what forward.c (the way of the bytes), forward-rest.c (where they wait) and forward-store.c (how
 * another program goes on) share. */

#include "front/forward.h"

#define SPARE_PIPES_MAX 4U

struct Rest {
        int in, out; /* of a pipe; or -EBADF: it is in memory */
        uint32_t row; /* of a kept pipe in the ledger */
        uint32_t slot; /* in the ledger, where the bytes are; or 0: they are behind this */
        size_t offset, size;
        uint8_t *bytes;
        uint8_t own[];
};

struct Forwarder {
        Reactor *reactor;
        ForwardHandler handler;
        Store *store;
        Ledger *ledger; /* the store's */
        bool all_tcp;
        Rest *spares[SPARE_PIPES_MAX]; /* empty pipes */
        unsigned n_spares;
        Rest *found[LEDGER_PIPES_MAX]; /* with bytes in them, while connections are resumed */
        unsigned n_found;
        unsigned n_pipes, pipes_max;
        unsigned refusals; /* left, until a pipe is tried again */
};

static inline LedgerRecord *forward_record(Forward *forward) {
        return &forward->forwarder->ledger->records[forward->record];
}

static inline unsigned side_flow(const Forward *forward, const Side *side) {
        return side == &forward->backend;
}

void side_on_event(Watch *watch, uint32_t events);

/* A pipe that is empty; NULL: there is none. Only an empty one may be given back. */
Rest *pipe_take(Forwarder *forwarder);
Rest *pipe_give(Forwarder *forwarder, Rest *pipe);
Rest *pipe_close(Forwarder *forwarder, Rest *pipe);
Rest *pipe_adopt(Forwarder *forwarder, int in, int out, uint32_t row);
/* The next bytes in it are of this direction. False: nobody else would find them. */
bool pipe_claim(Forward *forward, const Side *source, Rest *pipe);
/* Bytes that the target has not taken, into memory. */
int rest_keep(Forward *forward, Side *source, const uint8_t *data, size_t size);
/* With bytes that are in the ledger already. */
int rest_adopt(Forward *forward, Side *source, uint32_t slot, size_t offset, size_t size);
/* Those that were read before the connection was kept, to where they are found. */
int rest_make_known(Forward *forward, Side *source);
/* It is empty, or what is left is of no use any more. */
void rest_end(Forward *forward, Side *source, bool empty);
