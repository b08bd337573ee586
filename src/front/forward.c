#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/forward-internal.h"
#include "util/fd.h"

/* Forward: two sides; each is the source of one direction. Bytes are read only when all that was read before has
 * been taken by the target, so a slow reader holds up its writer and nothing is buffered without limit.
 *
 * Small reads are copied through one buffer that all connections share; what the target does not take is kept in
 * memory of its own until it does. After a large read the direction goes on with splice() through one shared pipe;
 * when the target does not take all of it, the direction keeps that pipe with what is left and the others get
 * another one. So an idle connection costs two descriptors and no buffer. How large is large: copying costs less
 * as long as the data stays in the processor's cache, which it does not when many connections are busy at once.
 *
 * Where the bytes of a direction are, at any moment between two events:
 *  - in the source's receive buffer: the kernel's; not read
 *  - in `rest`, if it is memory: read (the source's kernel has acknowledged them), and not sent; at most 64 KiB
 *  - in `rest`, if it is a pipe: the same, but the kernel's, and whoever holds the pipe's descriptors can go on
 *  - in the target's send buffer: the kernel's; nothing more is to be done for them
 * Never in two of these, and the shared buffer and the shared pipe are empty. While an event is handled, bytes are in
 * the shared buffer between a recv() and its send(), and in the shared pipe between two splice()s. A program that dies
 * there loses them; the count of bytes that both sockets have received and sent (TCP_INFO) tells that it did.
 *
 * An end (FIN) of one side is passed on when all bytes before it have been; the other direction goes on. A reset
 * ends both, and is passed on as a reset. When writing fails, the target may have answered before it closed: what
 * it still has to say is brought to the source first, then the source is reset.
 *
 * System calls are what a small message costs, so those that would tell nothing new are left out. A TCP socket from
 * which less was read than asked for is empty, unless urgent data stopped the read; if its end was seen before, it
 * was the last read. Output is watched only once it has been blocked. The second of two ends needs no shutdown(), for
 * close() follows. A backend's socket gets its options before the second write: the first small one is sent at once
 * in any case, and many connections have no other. */

#define SPLICE_FROM ((size_t) 32 * 1024) /* a read of this size makes the next one a splice */
#define SPLICE_FROM_CROWDED ((size_t) 8 * 1024)
#define TURN_MAX ((size_t) 1024 * 1024) /* then the other connections have theirs */
#define USED_FROM (64U * 1024) /* from the backend: a download */
#define KEEPALIVE_IDLE_SEC 60

int fd_reset(int fd) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        if (fd >= 0)
                (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        return fd_close(fd);
}

int forwarder_new(Forwarder **ret, Reactor *reactor, Store *store, unsigned pipes_max, bool all_tcp) {
        Forwarder *forwarder;

        assert(ret);
        assert(reactor);
        assert(store);

        forwarder = malloc(sizeof(*forwarder));
        if (!forwarder)
                return -ENOMEM;
        *forwarder = (Forwarder){
                .reactor = reactor,
                .store = store,
                .ledger = store_ledger(store),
                .pipes_max = MIN(pipes_max, LEDGER_PIPES_MAX),
                .all_tcp = all_tcp,
        };
        *ret = forwarder;
        return 0;
}

void forwarder_set_handler(Forwarder *forwarder, ForwardHandler handler) {
        forwarder->handler = handler;
}

int fd_close_kept(int fd, bool reset) {
        if (fd >= 0 &&
            (!reset || connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)) < 0))
                (void) shutdown(fd, SHUT_RDWR);
        return fd_close(fd);
}

static Side *side_other(Forward *forward, Side *side) {
        return side == &forward->client ? &forward->backend : &forward->client;
}

/* Before bytes are written to `side`. */
static void side_speak(Side *side) {
        static const struct {
                int level, option, value;
        } options[] = {
                { IPPROTO_TCP, TCP_NODELAY, 1 },
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SEC },
        };

        if (side->plain && side->spoken_to) {
                for (size_t i = 0; i < ELEMENTSOF(options); i++)
                        (void) setsockopt(side->watch.fd, options[i].level, options[i].option, &options[i].value,
                                          sizeof(int));
                side->plain = false;
        }
        side->spoken_to = true;
}

/* The target takes no more now: says when it does. */
static int side_block(Forward *forward, Side *target) {
        target->writable = false;
        if (target->watches_output)
                return 0;
        target->watches_output = true;
        return reactor_change(forward->forwarder->reactor, &target->watch, FORWARD_BACKEND_EVENTS);
}

/* Passes on what was read before. 0: all gone. -EAGAIN: the target takes no more now. */
static int side_flush(Forward *forward, Side *source, Side *target) {
        Rest *rest = source->rest;
        bool is_pipe = rest->in >= 0;

        side_speak(target);
        while (rest->size > 0) {
                ssize_t n;

                if (is_pipe)
                        n = splice(rest->out, NULL, target->watch.fd, NULL, rest->size,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                else
                        n = send(target->watch.fd, rest->bytes + rest->offset, rest->size,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                rest->offset += (size_t) n;
                rest->size -= (size_t) n;
        }
        rest_end(forward, source, true);
        return 0;
}

/* Reads once, into an empty pipe, so that -EAGAIN can only mean the socket. */
static ssize_t side_splice(Forward *forward, Side *source, Rest *pipe) {
        ssize_t n;

        if (!pipe_claim(forward, source, pipe)) {
                (void) pipe_give(forward->forwarder, pipe);
                return -EINVAL;
        }

        do
                n = splice(source->watch.fd, NULL, pipe->in, NULL, TURN_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
                n = n < 0 ? -errno : 0;
                (void) pipe_give(forward->forwarder, pipe);
                return n;
        }
        pipe->offset = 0;
        pipe->size = (size_t) n;
        source->rest = pipe;
        return n;
}

/* What is about to be read into the buffer, and then what has been: see forward-store.c. */
static void copy_begin(Forward *forward, const Side *source) {
        LedgerCopy *copy = &forward->forwarder->ledger->head->copy;
        unsigned flow = side_flow(forward, source);

        if (forward->record == 0)
                return;
        copy->size = 0;
        copy->flow = flow;
        copy->record = forward->record;
        if (forward->splices)
                forward_record(forward)->flows[flow].doubtful = 1;
        atomic_signal_fence(memory_order_seq_cst);
}

static void copy_note_size(Forward *forward, size_t size) {
        if (forward->record == 0)
                return;
        forward->forwarder->ledger->head->copy.size = size;
        atomic_signal_fence(memory_order_seq_cst);
}

static void copy_end(Forward *forward, const Side *source) {
        if (forward->record > 0 && forward->splices)
                forward_record(forward)->flows[side_flow(forward, source)].doubtful = 0;
}

/* Reads once, into the shared buffer, and passes on what the target takes; the rest is kept. */
static ssize_t side_copy(Forward *forward, Side *source, Side *target, int *ret_error) {
        uint8_t *buffer = forward->forwarder->ledger->buffer;
        ssize_t n, taken;

        copy_begin(forward, source);
        do
                n = recv(source->watch.fd, buffer, LEDGER_BUFFER_SIZE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
                n = n < 0 ? -errno : 0;
                copy_end(forward, source);
                return n;
        }
        if ((size_t) n < LEDGER_BUFFER_SIZE && source->exact && !source->hangup) {
                source->readable = false;
                source->end = source->fin;
        }
        copy_note_size(forward, (size_t) n);

        side_speak(target);
        do
                taken = send(target->watch.fd, buffer, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (taken < 0 && errno == EINTR);
        if (taken < 0 && errno != EAGAIN) {
                *ret_error = -errno;
                return n;
        }
        taken = MAX(taken, 0);
        if (taken < n)
                *ret_error = rest_keep(forward, source, buffer + taken, (size_t) (n - taken));
        else
                copy_end(forward, source);
        return n;
}

static ssize_t side_read(Forward *forward, Side *source, Side *target, int *ret_error) {
        Forwarder *forwarder = forward->forwarder;
        size_t from = reactor_is_crowded(forwarder->reactor) ? SPLICE_FROM_CROWDED : SPLICE_FROM;
        Rest *pipe = source->large || forward->splices ? pipe_take(forwarder) : NULL;
        ssize_t n;

        if (pipe) {
                n = side_splice(forward, source, pipe);
                /* Not to and fro at a size that is about the limit, nor because the sender was slower. */
                source->large = n >= (ssize_t) (from / 2) || n == -EAGAIN;
                /* Not every kind of socket can be spliced. */
                if (n != -EINVAL)
                        return n;
        }
        n = side_copy(forward, source, target, ret_error);
        source->large = n >= (ssize_t) from;
        return n;
}

/* The last byte of `source` has been passed on. */
static void side_finish(Forward *forward, Side *source, Side *target) {
        source->done = true;
        if (forward->record > 0)
                /* Before it is, for the kernel does not tell later who ended first. */
                forward_record(forward)->flows[side_flow(forward, source)].finished = 1;
        else if (target->done && !forward->client.reset)
                return;
        /* A target that has gone meanwhile has said nothing more if its own end was not seen. */
        if (shutdown(target->watch.fd, SHUT_WR) < 0 && !target->end)
                forward->client.reset = true;
}

/* Moves bytes from the source to the other side until one of them has to be waited for. */
static void side_pump(Forward *forward, Side *source) {
        Side *target = side_other(forward, source);
        size_t turn = 0;

        while (!source->done && !forward->client.dead) {
                int error = 0;
                ssize_t n;

                if (source->rest) {
                        if (!target->writable)
                                return;
                        error = side_flush(forward, source, target);
                        if (error == -EAGAIN) {
                                error = side_block(forward, target);
                                if (error >= 0)
                                        return;
                        }
                } else if (source->end) {
                        side_finish(forward, source, target);
                        return;
                } else if (!source->readable)
                        return;
                else if (turn >= TURN_MAX) {
                        reactor_again(forward->forwarder->reactor, &source->watch);
                        return;
                } else {
                        n = side_read(forward, source, target, &error);
                        if (n == -EAGAIN)
                                source->readable = false;
                        else if (n == 0)
                                source->end = true;
                        else if (n < 0) {
                                forward->client.reset = forward->client.dead = true;
                                return;
                        } else {
                                turn += (size_t) n;
                                source->moved = (uint32_t) MIN((uint64_t) source->moved + (uint64_t) n,
                                                               UINT32_MAX);
                        }
                }

                if (error == -ENOMEM) {
                        /* The target is well, and would wait for what is lost. */
                        forward->client.reset = forward->client.dead = true;
                        return;
                }
                if (error < 0) {
                        rest_end(forward, source, false);
                        source->done = forward->client.reset = true;
                        target->readable = target->hangup = true;
                        side_pump(forward, target);
                        return;
                }
        }
}

static void side_note_events(Forward *forward, Side *side, uint32_t events) {
        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                side->readable = true;
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                side->writable = true;
        if (events & EPOLLPRI)
                side->exact = false;
        if (events & EPOLLERR)
                side->hangup = true;
        else if (events & EPOLLRDHUP)
                side->fin = true;
        if (events & EPOLLPRI && forward->record > 0)
                /* Urgent bytes are passed over and counted. */
                forward_record(forward)->state = LEDGER_LOST;
        /* Reset after its end: no read will tell. */
        if (events & EPOLLERR && side->end)
                forward->client.reset = forward->client.dead = true;
}

static void forward_close(Forward *forward, bool reset) {
        int (*close_one)(int fd) = reset ? fd_reset : fd_close;
        Reactor *reactor = forward->forwarder->reactor;

        if (forward->record > 0) {
                reactor_remove(reactor, &forward->client.watch);
                reactor_remove(reactor, &forward->backend.watch);
                forward->client.watch.fd = fd_close_kept(forward->client.watch.fd, reset);
                forward->backend.watch.fd = fd_close_kept(forward->backend.watch.fd, reset);
                return;
        }
        reactor_forget(reactor, &forward->client.watch);
        reactor_forget(reactor, &forward->backend.watch);
        forward->client.watch.fd = close_one(forward->client.watch.fd);
        forward->backend.watch.fd = close_one(forward->backend.watch.fd);
}

static void forward_check_end(Forward *forward) {
        if (!forward->client.dead && !(forward->client.done && forward->backend.done))
                return;

        /* Ended by themselves: a plain close, which sends what the kernel still holds. */
        if (!forward->client.reset && !forward->client.dead) {
                forward_close(forward, false);
        }
        forward->forwarder->handler(forward);
}

void side_on_event(Watch *watch, uint32_t events) {
        Forward *forward = ASSERT_PTR(watch->userdata);
        Side *side = watch == &forward->client.watch ? &forward->client : &forward->backend;
        LedgerHead *head = forward->forwarder->ledger->head;

        head->in_hand = forward->record;
        side_note_events(forward, side, events);
        side_pump(forward, side);
        /* Only if its own direction could not go on before. */
        if (side->writable && side_other(forward, side)->rest)
                side_pump(forward, side_other(forward, side));
        head->in_hand = 0;
        forward_check_end(forward);
}

int forward_start(Forward *forward, Forwarder *forwarder, int client, int backend, bool backend_is_unix,
                  uint32_t events) {
        Reactor *reactor = forwarder->reactor;
        int r;

        assert(forward);
        assert(forwarder->handler);
        assert(client >= 0 && backend >= 0);
        assert(forward->backend.watch.added);

        r = reactor_add(reactor, &forward->client.watch, client, EPOLLIN | EPOLLPRI | EPOLLRDHUP);
        if (r < 0)
                return r;

        forward->forwarder = forwarder;
        forward->client = (Side){ .watch = forward->client.watch, .writable = true, .exact = forwarder->all_tcp };
        forward->backend = (Side){
                .watch = forward->backend.watch,
                .writable = true,
                .watches_output = true,
                .exact = !backend_is_unix,
                .plain = !backend_is_unix,
        };
        forward->client.watch.handler = forward->backend.watch.handler = side_on_event;
        forward->client.watch.userdata = forward->backend.watch.userdata = forward;
        forward->client.watch.quiet = forward->backend.watch.quiet = true;
        forward->client.watch.fd = client;
        forward->backend.watch.fd = backend;

        /* Most clients have spoken by now. The end, too, comes from the loop only. */
        forward->client.readable = true;
        reactor_again(reactor, &forward->client.watch);
        side_note_events(forward, &forward->backend, events);
        if (forward->backend.readable)
                reactor_again(reactor, &forward->backend.watch);
        return 0;
}

void forward_stop(Forward *forward) {
        Forwarder *forwarder = forward->forwarder;

        rest_end(forward, &forward->client, false);
        rest_end(forward, &forward->backend, false);
        forward_close(forward, true);
        store_remove(forwarder->store, forward->record);
        forward->record = 0;
}

bool forward_was_used(Forward *forward) {
        bool used = forward->client.moved > 0 || forward->backend.moved >= USED_FROM;

        forward->client.moved = forward->backend.moved = 0;
        return used;
}
