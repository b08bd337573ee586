#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/forward.h"
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
 *  - in `pending`, if it is memory: read (the source's kernel has acknowledged them), and not sent; at most 64 KiB
 *  - in `pending`, if it is a pipe: the same, but the kernel's, and whoever holds the pipe's descriptors can go on
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
#define SPARE_PIPES_MAX 4U
#define PIPE_SIZE_MIN (64 * 1024)
#define PIPE_REFUSALS 1024U /* copies in a row, before another pipe is tried */

/* Tried in this order. What a plain user's pipes may take together is limited, and beyond that limit a new pipe is
 * too small to be of use. */
static const int pipe_sizes[] = { 1024 * 1024, 256 * 1024 };

/* Bytes that were read and not yet written: in a pipe, or in memory. Those of a kept connection are where the keep has
 * given them a place; the others' die with the program. */
struct Pending {
        KeepPipe pipe; /* without descriptors: in memory */
        uint32_t slot; /* in the keep; 0: they are behind this */
        size_t size;
        uint8_t *bytes;
        uint8_t own[];
};

struct Forwarder {
        Reactor *reactor;
        ForwardHandler handler;
        Keep *keep;
        bool all_tcp;
        Pending *spares[SPARE_PIPES_MAX]; /* empty pipes */
        unsigned n_spares;
        unsigned n_pipes, pipes_max;
        unsigned refusals; /* left, until a pipe is tried again */
};

int fd_reset(int fd) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        if (fd >= 0)
                (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        return fd_close(fd);
}

/* Pending: pipes */

static Pending *pipe_close(Forwarder *forwarder, Pending *pipe) {
        keep_remove_pipe(forwarder->keep, &pipe->pipe);
        (void) fd_close(pipe->pipe.in);
        (void) fd_close(pipe->pipe.out);
        forwarder->n_pipes--;
        return mfree(pipe);
}

/* An empty one. */
static void pipe_give(Forwarder *forwarder, Pending *pipe) {
        if (forwarder->n_spares < SPARE_PIPES_MAX)
                forwarder->spares[forwarder->n_spares++] = pipe;
        else
                (void) pipe_close(forwarder, pipe);
}

/* An empty one; NULL: there is none. */
static Pending *pipe_take(Forwarder *forwarder) {
        int fds[2], size = -1;
        Pending *pipe;

        if (forwarder->n_spares > 0)
                return forwarder->spares[--forwarder->n_spares];
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
        *pipe = (Pending){ .pipe = { .in = fds[1], .out = fds[0] } };
        forwarder->n_pipes++;

        for (size_t i = 0; i < ELEMENTSOF(pipe_sizes) && size < 0; i++)
                size = fcntl(fds[0], F_SETPIPE_SZ, pipe_sizes[i]);
        if (size < 0 && fcntl(fds[0], F_GETPIPE_SZ) < PIPE_SIZE_MIN) {
                forwarder->refusals = PIPE_REFUSALS;
                return pipe_close(forwarder, pipe);
        }
        return pipe;
}

/* Pending: memory */

static unsigned side_flow(const Forward *forward, const Side *side) {
        return side == &forward->backend;
}

/* Bytes that the target has not taken. */
static int side_keep(Forward *forward, Side *source, const uint8_t *data, size_t size) {
        Keep *keep = forward->forwarder->keep;
        unsigned flow = side_flow(forward, source);
        uint32_t slot;
        uint8_t *bytes = keep_take_slot(keep, &forward->kept, flow, data, size, &slot);
        Pending *pending = malloc(sizeof(*pending) + (bytes ? 0 : size));

        if (!pending) {
                keep_give_slot(keep, &forward->kept, flow, slot);
                return -ENOMEM;
        }
        *pending = (Pending){ .pipe = { -EBADF, -EBADF, 0 }, .slot = slot, .size = size };
        pending->bytes = bytes ?: memcpy(pending->own, data, size);
        source->pending = pending;
        return 0;
}

/* All of it has been written (a pipe that is empty can be used again), or what is left is of no use any more. */
static void side_drop_pending(Forward *forward, Side *source) {
        Forwarder *forwarder = forward->forwarder;
        Pending *pending = TAKE_PTR(source->pending);

        if (!pending)
                return;
        if (pending->pipe.in < 0) {
                keep_give_slot(forwarder->keep, &forward->kept, side_flow(forward, source), pending->slot);
                free(pending);
        } else if (pending->size == 0)
                pipe_give(forwarder, pending);
        else
                (void) pipe_close(forwarder, pending);
}

/* The way of the bytes */

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
        Pending *pending = source->pending;

        side_speak(target);
        while (pending->size > 0) {
                ssize_t n;

                if (pending->pipe.in >= 0)
                        n = splice(pending->pipe.out, NULL, target->watch.fd, NULL, pending->size,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                else
                        n = send(target->watch.fd, pending->bytes, pending->size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                if (pending->pipe.in < 0)
                        pending->bytes += n;
                pending->size -= (size_t) n;
        }
        side_drop_pending(forward, source);
        return 0;
}

/* Reads once, into an empty pipe, so that -EAGAIN can only mean the socket. */
static ssize_t side_splice(Forward *forward, Side *source, Pending *pipe) {
        ssize_t n = -EINVAL;

        if (keep_claim_pipe(forward->forwarder->keep, &forward->kept, side_flow(forward, source), &pipe->pipe))
                do {
                        n = splice(source->watch.fd, NULL, pipe->pipe.in, NULL, TURN_MAX,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                        if (n < 0)
                                n = -errno;
                } while (n == -EINTR);
        if (n <= 0) {
                pipe_give(forward->forwarder, pipe);
                return n;
        }
        pipe->size = (size_t) n;
        source->pending = pipe;
        return n;
}

/* Reads once, into the shared buffer, and passes on what the target takes; the rest is kept. */
static ssize_t side_copy(Forward *forward, Side *source, Side *target, int *ret_error) {
        Keep *keep = forward->forwarder->keep;
        const KeepPlace *kept = &forward->kept;
        unsigned flow = side_flow(forward, source);
        uint8_t *buffer = keep_begin_copy(keep, kept, flow);
        ssize_t n, taken;

        do
                n = recv(source->watch.fd, buffer, KEEP_BUFFER_SIZE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
                n = n < 0 ? -errno : 0;
                keep_end_copy(keep, kept, flow);
                return n;
        }
        if ((size_t) n < KEEP_BUFFER_SIZE && source->exact && !source->hangup) {
                source->readable = false;
                source->end = source->fin;
        }
        keep_note_copy(keep, kept, (size_t) n);

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
                *ret_error = side_keep(forward, source, buffer + taken, (size_t) (n - taken));
        else
                keep_end_copy(keep, kept, flow);
        return n;
}

static ssize_t side_read(Forward *forward, Side *source, Side *target, int *ret_error) {
        Forwarder *forwarder = forward->forwarder;
        size_t from = reactor_is_crowded(forwarder->reactor) ? SPLICE_FROM_CROWDED : SPLICE_FROM;
        Pending *pipe = source->large || forward->kept.uncounted ? pipe_take(forwarder) : NULL;
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
        if (target->done && !forward->client.reset && !is_kept(&forward->kept))
                return;
        /* Before it is, for the kernel does not tell later who ended first. */
        keep_note_finished(forward->forwarder->keep, &forward->kept, side_flow(forward, source));
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

                if (source->pending) {
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
                        side_drop_pending(forward, source);
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
        if (events & EPOLLPRI) {
                side->exact = false;
                /* Urgent bytes are passed over and counted. */
                keep_lose(forward->forwarder->keep, &forward->kept);
        }
        if (events & EPOLLERR)
                side->hangup = true;
        else if (events & EPOLLRDHUP)
                side->fin = true;
        /* Reset after its end: no read will tell. */
        if (events & EPOLLERR && side->end)
                forward->client.reset = forward->client.dead = true;
}

static void side_on_event(Watch *watch, uint32_t events) {
        Forward *forward = ASSERT_PTR(watch->userdata);
        Side *side = watch == &forward->client.watch ? &forward->client : &forward->backend;
        Keep *keep = forward->forwarder->keep;

        keep_take_in_hand(keep, &forward->kept);
        side_note_events(forward, side, events);
        side_pump(forward, side);
        /* Only if its own direction could not go on before. */
        if (side->writable && side_other(forward, side)->pending)
                side_pump(forward, side_other(forward, side));
        keep_take_in_hand(keep, NULL);

        if (forward->client.dead || (forward->client.done && forward->backend.done))
                forward->forwarder->handler(forward, forward->client.reset || forward->client.dead);
}

/* From the start to the end */

int forward_start(Forward *forward, bool backend_is_unix, uint32_t events) {
        Reactor *reactor = forward->forwarder->reactor;
        int r;

        assert(forward->client.watch.fd >= 0);
        assert(forward->backend.watch.added);

        r = reactor_add(reactor, &forward->client.watch, forward->client.watch.fd,
                        EPOLLIN | EPOLLPRI | EPOLLRDHUP);
        if (r < 0)
                return r;

        forward->client = (Side){
                .watch = forward->client.watch,
                .readable = true, /* most have spoken by now */
                .writable = true,
                .exact = forward->forwarder->all_tcp,
        };
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

        /* The end, too, comes from the loop only. */
        reactor_again(reactor, &forward->client.watch);
        side_note_events(forward, &forward->backend, events);
        if (forward->backend.readable)
                reactor_again(reactor, &forward->backend.watch);
        return 0;
}

void forward_close(Forward *forward, bool reset) {
        Forwarder *forwarder = forward->forwarder;
        Side *sides[] = { &forward->client, &forward->backend };

        for (unsigned i = 0; i < 2; i++) {
                int *fd = &sides[i]->watch.fd;

                side_drop_pending(forward, sides[i]);
                if (is_kept(&forward->kept)) {
                        /* The epoll set would know the duplicate. */
                        reactor_remove(forwarder->reactor, &sides[i]->watch);
                        *fd = keep_end(*fd, reset);
                } else {
                        reactor_forget(forwarder->reactor, &sides[i]->watch);
                        *fd = reset ? fd_reset(*fd) : fd_close(*fd);
                }
        }
        keep_remove(forwarder->keep, &forward->kept);
}

bool forward_was_used(Forward *forward) {
        bool used = forward->client.moved > 0 || forward->backend.moved >= USED_FROM;

        forward->client.moved = forward->backend.moved = 0;
        return used;
}

/* Keep */

void forward_keep(Forward *forward, bool ignored) {
        Side *sides[] = { &forward->client, &forward->backend };
        KeepFlow flows[2];

        for (unsigned i = 0; i < 2; i++) {
                const Pending *pending = sides[i]->pending;

                flows[i] = (KeepFlow){ .finished = sides[i]->done };
                if (!pending)
                        continue;
                flows[i].size = pending->size;
                flows[i].pipe = pending->pipe;
                flows[i].bytes = pending->bytes;
        }
        (void) keep_forwarded(forward->forwarder->keep, &forward->kept,
                              (const int[]){ forward->client.watch.fd, forward->backend.watch.fd }, ignored,
                              flows);
        for (unsigned i = 0; i < 2; i++)
                if (sides[i]->pending) {
                        sides[i]->pending->pipe = flows[i].pipe;
                        sides[i]->pending->bytes = flows[i].bytes;
                        sides[i]->pending->slot = flows[i].slot;
                }
}

/* What the program before had read and not yet written. */
static int side_resume_pending(Forward *forward, Side *source, KeepFlow *flow) {
        Forwarder *forwarder = forward->forwarder;
        Pending *pending;

        if (flow->size == 0)
                return 0;
        if (flow->pipe.in < 0 && flow->slot == 0)
                return side_keep(forward, source, flow->bytes, flow->size);
        pending = malloc(sizeof(*pending));
        if (!pending) {
                keep_remove_pipe(forwarder->keep, &flow->pipe);
                (void) fd_close(flow->pipe.in);
                (void) fd_close(flow->pipe.out);
                return -ENOMEM;
        }
        *pending = (Pending){ .pipe = flow->pipe, .slot = flow->slot, .size = flow->size, .bytes = flow->bytes };
        forwarder->n_pipes += flow->pipe.in >= 0;
        source->pending = pending;
        return 0;
}

int forward_resume(Forward *forward, const KeepFound *found) {
        Reactor *reactor = forward->forwarder->reactor;
        Side *sides[] = { &forward->client, &forward->backend };
        KeepFlow flows[2];
        int r;

        forward->kept = found->kept;
        r = keep_resume(forward->forwarder->keep, &forward->kept, found->fds, flows);
        if (r < 0) {
                forward->kept = (KeepPlace){};
                return r;
        }
        for (unsigned i = 0; i < 2; i++) {
                int q;

                *sides[i] = (Side){
                        .watch = { .handler = side_on_event,
                                   .userdata = forward,
                                   .quiet = true,
                                   .fd = found->fds[i] },
                        .readable = true,
                        .writable = true,
                        .watches_output = true,
                        .spoken_to = true,
                        .exact = flows[i].counted,
                        .plain = flows[i].counted && i == 1,
                        .end = flows[i].finished,
                        .done = flows[i].finished,
                };
                if (flows[i].finished)
                        (void) shutdown(found->fds[!i], SHUT_WR);
                q = side_resume_pending(forward, sides[i], &flows[i]);
                r = MIN(r, q);
        }
        for (unsigned i = 0; i < 2 && r >= 0; i++) {
                r = reactor_add(reactor, &sides[i]->watch, found->fds[i], FORWARD_BACKEND_EVENTS);
                if (r >= 0)
                        reactor_again(reactor, &sides[i]->watch);
        }
        if (r >= 0)
                return 0;

        for (unsigned i = 0; i < 2; i++) {
                reactor_remove(reactor, &sides[i]->watch);
                side_drop_pending(forward, sides[i]);
        }
        *forward = FORWARD_NONE(forward->forwarder);
        return r;
}

/* Forwarder */

int forwarder_new(Forwarder **ret, Reactor *reactor, Keep *keep, unsigned pipes_max, bool all_tcp,
                  ForwardHandler handler) {
        Forwarder *forwarder;

        assert(ret);
        assert(reactor && keep);
        assert(handler);

        forwarder = malloc(sizeof(*forwarder));
        if (!forwarder)
                return -ENOMEM;
        *forwarder = (Forwarder){
                .reactor = reactor,
                .keep = keep,
                .handler = handler,
                .pipes_max = pipes_max,
                .all_tcp = all_tcp,
        };
        *ret = forwarder;
        return 0;
}

static void forwarder_close_spares(Forwarder *forwarder, unsigned left) {
        while (forwarder->n_spares > left) {
                forwarder->n_spares--;
                (void) pipe_close(forwarder, forwarder->spares[forwarder->n_spares]);
        }
}

void forwarder_trim(Forwarder *forwarder) {
        keep_trim(forwarder->keep);
        forwarder_close_spares(forwarder, 1);
}

Forwarder *forwarder_free(Forwarder *forwarder) {
        if (!forwarder)
                return NULL;

        forwarder_close_spares(forwarder, 0);
        assert(forwarder->n_pipes == 0);
        return mfree(forwarder);
}
