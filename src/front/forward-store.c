#include <sys/ioctl.h>
#include <sys/socket.h>
#include <stdatomic.h>

#include "front/counter.h"
#include "front/forward-internal.h"
#include "util/fd.h"
#include "util/log.h"

/* Forward, kept: how another program goes on with a connection, without a byte lost or doubled, wherever this one was
 * killed. What the program must do for that are a few writes to memory; the rest is in the kernel anyway.
 *
 * TCP on both sides: the kernel counts what was read from one side and what was written to the other (counter.c). When a
 * connection is put into the store it is known how many bytes were on the way between them; so `balance` is known, with
 * which at any later time
 *
 *      read(source) + balance - written(target) = bytes on the way
 *
 * Which ones these are: those of a pipe, if the ledger says that the pipe's last bytes were this direction's, for
 * pipes are empty when they are claimed; else those of the direction's slot, which is given up before anything else is
 * read; else those of the buffer, if it was this direction's last. Of what was read into slot or buffer it is the end
 * that is missing, for the beginning was sent. How much was read into the buffer is written down after the read, and
 * before anything is sent: a kill between leaves all of it on the way.
 *
 * With a Unix socket, which nobody counts: bytes go through pipes only. The kernel moves each from socket to pipe to
 * socket, and the program never has them. If there is no pipe it copies nevertheless, and says so: who is killed
 * while it does loses the connection, rather than bytes in the middle of it.
 *
 * An end is passed on at least once; shutdown() may be repeated. Of a connection that is closed while we sent no end,
 * only a reset can be the reason. */

int forward_keep(Forward *forward) {
        Forwarder *forwarder = forward->forwarder;
        Side *sides[] = { &forward->client, &forward->backend };
        bool counted = true, was_held = forward->record > 0;
        LedgerRecord *record;
        Counter counters[2];
        int r = 0;

        for (unsigned i = 0; i < 2 && r != -EAGAIN; i++) {
                r = counter_get(&counters[i], sides[i]->watch.fd);
                counted = counted && r >= 0;
        }
        r = r == -EAGAIN ? r : 0;

        forward->record =
                        store_add_pair(forwarder->store, forward->record, sides[0]->watch.fd, sides[1]->watch.fd);
        if (forward->record == 0)
                return -ENOBUFS;
        record = forward_record(forward);
        record->counted = counted;
        forward->splices = !counted;

        for (unsigned i = 0; i < 2 && r >= 0; i++) {
                Side *side = sides[i];
                size_t rest = side->rest ? side->rest->size : 0;

                record->flows[i].finished = side->done;
                if (counted)
                        record->flows[i].balance = (int64_t) (counters[!i].written + rest - counters[i].read);
                r = rest_make_known(forward, side);
        }
        /* A client that was held stays that until its backend is there, too. */
        if (was_held)
                (void) store_flush(forwarder->store);
        atomic_signal_fence(memory_order_seq_cst);
        record->state = r < 0 ? LEDGER_LOST : LEDGER_FORWARDED;
        return r;
}

/* Resuming */

bool forwarder_take_pipe(Forwarder *forwarder, uint32_t row, int in, int out) {
        Rest *pipe = NULL;
        int size = 0;

        if (ioctl(out, FIONREAD, &size) >= 0)
                pipe = pipe_adopt(forwarder, in, out, row);
        if (!pipe)
                return false;
        pipe->size = (size_t) MAX(size, 0);
        if (size > 0)
                forwarder->found[forwarder->n_found++] = pipe;
        else
                (void) pipe_give(forwarder, pipe);
        return true;
}

void forwarder_end_resuming(Forwarder *forwarder) {
        while (forwarder->n_found > 0)
                (void) pipe_close(forwarder, forwarder->found[--forwarder->n_found]);
}

static Rest *find_pipe(Forward *forward, unsigned flow) {
        Forwarder *forwarder = forward->forwarder;

        for (unsigned i = 0; i < forwarder->n_found; i++) {
                Rest *pipe = forwarder->found[i];
                const LedgerPipe *row = &forwarder->ledger->head->pipes[pipe->row];

                if (row->record != forward->record || row->flow != flow)
                        continue;
                forwarder->found[i] = forwarder->found[--forwarder->n_found];
                return pipe;
        }
        return NULL;
}

/* `n` bytes are missing, and are not in a pipe. */
static int resume_memory(Forward *forward, unsigned i, size_t n) {
        Ledger *ledger = forward->forwarder->ledger;
        Side *source = i == 0 ? &forward->client : &forward->backend;
        LedgerFlow *flow = &forward_record(forward)->flows[i];
        const LedgerCopy *copy = &ledger->head->copy;

        if (flow->slot > 0 && n > 0)
                return n <= flow->slot_size ? rest_adopt(forward, source, flow->slot, flow->slot_size - n, n)
                                            : -EBADMSG;
        if (flow->slot > 0) {
                uint32_t slot = flow->slot;

                flow->slot = 0;
                ledger_give_slot(ledger, slot);
        }
        if (n == 0)
                return 0;
        if (copy->record != forward->record || copy->flow != i ||
            n > (copy->size > 0 ? copy->size : LEDGER_BUFFER_SIZE))
                return -EBADMSG;
        return rest_keep(forward, source, ledger->buffer + (copy->size > 0 ? copy->size - n : 0), n);
}

static int resume_flow(Forward *forward, unsigned i, const Counter *counters) {
        Side *source = i == 0 ? &forward->client : &forward->backend;
        Side *target = i == 0 ? &forward->backend : &forward->client;
        const LedgerRecord *record = forward_record(forward);
        const LedgerFlow *flow = &record->flows[i];
        int64_t missing;

        source->rest = find_pipe(forward, i);
        if (flow->finished) {
                (void) shutdown(target->watch.fd, SHUT_WR);
                source->end = source->done = true;
                return resume_memory(forward, i, 0);
        }
        if (flow->doubtful)
                return -EBADMSG;
        if (!record->counted)
                return flow->slot > 0 ? -EBADMSG : 0;

        missing = (int64_t) (counters[i].read + (uint64_t) flow->balance - counters[!i].written);
        if (missing < 0 || (source->rest && source->rest->size != (size_t) missing))
                return -EBADMSG;
        return source->rest ? 0 : resume_memory(forward, i, (size_t) missing);
}

static bool was_reset(int fd) {
        int error = 0;

        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) }) < 0 || error != 0;
}

static int resume_flows(Forward *forward) {
        const LedgerRecord *record = forward_record(forward);
        Side *sides[] = { &forward->client, &forward->backend };
        Counter counters[2];
        int r = 0;

        for (unsigned i = 0; i < 2; i++) {
                bool is_tcp = counter_get(&counters[i], sides[i]->watch.fd) >= 0;

                sides[i]->exact = is_tcp;
                sides[i]->plain = is_tcp && i == 1;
                if (was_reset(sides[i]->watch.fd) || (is_tcp && counters[i].closed && !record->flows[!i].finished))
                        return -ECONNRESET;
                if (record->counted && !is_tcp)
                        return -EBADMSG;
        }
        for (unsigned i = 0; i < 2 && r >= 0; i++)
                r = resume_flow(forward, i, counters);
        return r;
}

int forward_resume(Forward *forward, Forwarder *forwarder, uint32_t record, int client, int backend) {
        int fds[] = { client, backend }, r;
        Side *sides[] = { &forward->client, &forward->backend };

        assert(forwarder->handler);

        *forward = (Forward){ .forwarder = forwarder, .record = record };
        forward->splices = !forward_record(forward)->counted;
        for (unsigned i = 0; i < 2; i++)
                *sides[i] = (Side){
                        .watch = { .handler = side_on_event, .userdata = forward, .quiet = true, .fd = fds[i] },
                        .readable = true,
                        .writable = true,
                        .watches_output = true,
                        .spoken_to = true,
                };
        r = resume_flows(forward);
        for (unsigned i = 0; i < 2 && r >= 0; i++) {
                r = reactor_add(forwarder->reactor, &sides[i]->watch, fds[i], FORWARD_BACKEND_EVENTS);
                if (r >= 0)
                        reactor_again(forwarder->reactor, &sides[i]->watch);
        }
        if (r >= 0)
                return 0;

        for (unsigned i = 0; i < 2; i++) {
                reactor_remove(forwarder->reactor, &sides[i]->watch);
                rest_end(forward, sides[i], false);
        }
        return r;
}
