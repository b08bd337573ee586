#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "front/forward-internal.h"
#include "util/fd.h"

/* Rest: where bytes wait that were read and not yet written: in a pipe, or in memory. Those of a kept connection are in
 * kept pipes and in slots of the ledger; the others' are in memory that dies with the program. */

/* Tried in this order. What a plain user's pipes may take together is limited, and beyond that limit a new pipe is
 * too small to be of use. */
static const int pipe_sizes[] = { 1024 * 1024, 256 * 1024 };
#define PIPE_SIZE_MIN (64 * 1024)
#define PIPE_REFUSALS 1024U /* copies in a row, before another pipe is tried */

Rest *pipe_close(Forwarder *forwarder, Rest *pipe) {
        store_remove_pipe(forwarder->store, pipe->row);
        (void) fd_close(pipe->in);
        (void) fd_close(pipe->out);
        forwarder->n_pipes--;
        return mfree(pipe);
}

Rest *pipe_give(Forwarder *forwarder, Rest *pipe) {
        if (forwarder->n_spares == SPARE_PIPES_MAX)
                return pipe_close(forwarder, pipe);
        forwarder->spares[forwarder->n_spares++] = pipe;
        return NULL;
}

static Rest *pipe_open(Forwarder *forwarder) {
        int fds[2], size = -1;
        Rest *pipe;

        if (forwarder->n_pipes >= forwarder->pipes_max)
                return NULL;
        if (forwarder->refusals > 0) {
                forwarder->refusals--;
                return NULL;
        }
        pipe = malloc(sizeof(*pipe));
        if (!pipe)
                return NULL;
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
                forwarder->refusals = PIPE_REFUSALS;
                free(pipe);
                return NULL;
        }
        *pipe = (Rest){ .out = fds[0], .in = fds[1] };
        forwarder->n_pipes++;

        for (size_t i = 0; i < ELEMENTSOF(pipe_sizes) && size < 0; i++)
                size = fcntl(pipe->out, F_SETPIPE_SZ, pipe_sizes[i]);
        if (size < 0 && fcntl(pipe->out, F_GETPIPE_SZ) < PIPE_SIZE_MIN) {
                forwarder->refusals = PIPE_REFUSALS;
                return pipe_close(forwarder, pipe);
        }
        return pipe;
}

Rest *pipe_take(Forwarder *forwarder) {
        return forwarder->n_spares > 0 ? forwarder->spares[--forwarder->n_spares] : pipe_open(forwarder);
}

Rest *pipe_adopt(Forwarder *forwarder, int in, int out, uint32_t row) {
        Rest *pipe = malloc(sizeof(*pipe));

        if (!pipe)
                return NULL;
        *pipe = (Rest){ .in = in, .out = out, .row = row };
        forwarder->n_pipes++;
        return pipe;
}

bool pipe_claim(Forward *forward, const Side *source, Rest *pipe) {
        Forwarder *forwarder = forward->forwarder;
        LedgerPipe *row;

        if (forward->record > 0 && pipe->row == 0) {
                pipe->row = store_add_pipe(forwarder->store, pipe->in, pipe->out);
                if (store_flush(forwarder->store) < 0) {
                        store_remove_pipe(forwarder->store, pipe->row);
                        pipe->row = 0;
                }
                if (pipe->row == 0)
                        return false;
        }
        if (pipe->row > 0) {
                row = &forwarder->ledger->head->pipes[pipe->row];
                row->flow = side_flow(forward, source);
                row->record = forward->record;
        }
        return true;
}

void forwarder_trim(Forwarder *forwarder) {
        ledger_trim(forwarder->ledger);
        while (forwarder->n_spares > 1) {
                forwarder->n_spares--;
                (void) pipe_close(forwarder, forwarder->spares[forwarder->n_spares]);
        }
}

Forwarder *forwarder_free(Forwarder *forwarder) {
        if (!forwarder)
                return NULL;

        while (forwarder->n_spares > 0) {
                forwarder->n_spares--;
                (void) pipe_close(forwarder, forwarder->spares[forwarder->n_spares]);
        }
        assert(forwarder->n_pipes == 0);
        return mfree(forwarder);
}

/* In memory */

/* A slot is filled first and named in the record then. */
static void rest_name(Forward *forward, Side *source, uint32_t slot, size_t size) {
        LedgerFlow *flow = &forward_record(forward)->flows[side_flow(forward, source)];

        flow->slot_size = (uint32_t) size;
        atomic_signal_fence(memory_order_seq_cst);
        flow->slot = slot;
}

int rest_keep(Forward *forward, Side *source, const uint8_t *data, size_t size) {
        Ledger *ledger = forward->forwarder->ledger;
        uint32_t slot = forward->record > 0 ? ledger_take_slot(ledger) : 0;
        Rest *rest = malloc(sizeof(*rest) + (slot > 0 ? 0 : size));

        if (!rest) {
                if (slot > 0)
                        ledger_give_slot(ledger, slot);
                return -ENOMEM;
        }
        *rest = (Rest){ .in = -EBADF, .out = -EBADF, .slot = slot, .size = size };
        rest->bytes = slot > 0 ? ledger_slot(ledger, slot) : rest->own;
        memcpy(rest->bytes, data, size);
        if (slot > 0)
                rest_name(forward, source, slot, size);
        else if (forward->record > 0)
                forward_record(forward)->flows[side_flow(forward, source)].doubtful = 1;
        source->rest = rest;
        return 0;
}

int rest_adopt(Forward *forward, Side *source, uint32_t slot, size_t offset, size_t size) {
        Rest *rest = malloc(sizeof(*rest));

        if (!rest)
                return -ENOMEM;
        *rest = (Rest){ .in = -EBADF, .out = -EBADF, .slot = slot, .offset = offset, .size = size };
        rest->bytes = ledger_slot(forward->forwarder->ledger, slot);
        source->rest = rest;
        return 0;
}

int rest_make_known(Forward *forward, Side *source) {
        _cleanup_free_ Rest *old = NULL;
        int r;

        if (!source->rest)
                return 0;
        if (source->rest->in >= 0)
                return pipe_claim(forward, source, source->rest) ? 0 : -ENOBUFS;

        old = TAKE_PTR(source->rest);
        r = rest_keep(forward, source, old->bytes + old->offset, old->size);
        if (r < 0)
                source->rest = TAKE_PTR(old);
        return r;
}

void rest_end(Forward *forward, Side *source, bool empty) {
        Forwarder *forwarder = forward->forwarder;
        Rest *rest = TAKE_PTR(source->rest);

        if (!rest)
                return;
        if (rest->in >= 0) {
                (void) (empty ? pipe_give(forwarder, rest) : pipe_close(forwarder, rest));
                return;
        }
        if (forward->record > 0) {
                LedgerFlow *flow = &forward_record(forward)->flows[side_flow(forward, source)];

                flow->slot = 0;
                flow->doubtful = 0;
        }
        if (rest->slot > 0)
                ledger_give_slot(forwarder->ledger, rest->slot);
        free(rest);
}
