#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
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
 *  - in `rest`, if it is memory: read (the source's kernel has acknowledged them), and not sent; at most BUFFER_SIZE
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

#define BUFFER_SIZE ((size_t) 64 * 1024)
#define SPLICE_FROM ((size_t) 32 * 1024) /* a read of this size makes the next one a splice */
#define SPLICE_FROM_CROWDED ((size_t) 8 * 1024)
#define TURN_MAX ((size_t) 1024 * 1024) /* then the other connections have theirs */
#define SPARE_PIPES_MAX 4U
#define USED_FROM (64U * 1024) /* from the backend: a download */
/* Tried in this order. What a plain user's pipes may take together is limited, and beyond that limit a new pipe is
 * too small to be of use. */
static const int pipe_sizes[] = { 1024 * 1024, 256 * 1024 };
#define PIPE_SIZE_MIN (64 * 1024)
#define PIPE_REFUSALS 1024U /* copies in a row, before another pipe is tried */
#define KEEPALIVE_IDLE_SEC 60

struct Rest {
        int in, out; /* of a pipe; or -EBADF: it is in memory */
        size_t offset, size;
        uint8_t data[];
};

struct Forwarder {
        Reactor *reactor;
        ForwardHandler handler;
        uint8_t *buffer;
        bool all_tcp;
        Rest *spares[SPARE_PIPES_MAX]; /* empty pipes */
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

static Rest *pipe_close(Forwarder *forwarder, Rest *pipe) {
        (void) fd_close(pipe->in);
        (void) fd_close(pipe->out);
        forwarder->n_pipes--;
        return mfree(pipe);
}

/* Only an empty pipe may be given back. */
static Rest *pipe_give(Forwarder *forwarder, Rest *pipe) {
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
                return mfree(pipe);
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

static Rest *pipe_take(Forwarder *forwarder) {
        return forwarder->n_spares > 0 ? forwarder->spares[--forwarder->n_spares] : pipe_open(forwarder);
}

int forwarder_new(Forwarder **ret, Reactor *reactor, unsigned pipes_max, bool all_tcp) {
        _cleanup_(forwarder_freep) Forwarder *forwarder = NULL;

        assert(ret);
        assert(reactor);

        forwarder = malloc(sizeof(*forwarder));
        if (!forwarder)
                return -ENOMEM;
        *forwarder = (Forwarder){ .reactor = reactor, .pipes_max = pipes_max, .all_tcp = all_tcp };
        /* Pages of its own, which can be given back. */
        forwarder->buffer = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (forwarder->buffer == MAP_FAILED)
                return -ENOMEM;

        *ret = TAKE_PTR(forwarder);
        return 0;
}

void forwarder_set_handler(Forwarder *forwarder, ForwardHandler handler) {
        forwarder->handler = handler;
}

void forwarder_trim(Forwarder *forwarder) {
        (void) madvise(forwarder->buffer, BUFFER_SIZE, MADV_DONTNEED);
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
        if (forwarder->buffer != MAP_FAILED)
                (void) munmap(forwarder->buffer, BUFFER_SIZE);
        return mfree(forwarder);
}

static Side *side_other(Forward *forward, Side *side) {
        return side == &forward->client ? &forward->backend : &forward->client;
}

static Rest *rest_drop(Forwarder *forwarder, Rest *rest) {
        if (rest && rest->in >= 0)
                return pipe_close(forwarder, rest);
        return mfree(rest);
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
static int side_flush(Forwarder *forwarder, Side *source, Side *target) {
        Rest *rest = source->rest;
        bool is_pipe = rest->in >= 0;

        side_speak(target);
        while (rest->size > 0) {
                ssize_t n;

                if (is_pipe)
                        n = splice(rest->out, NULL, target->watch.fd, NULL, rest->size,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                else
                        n = send(target->watch.fd, rest->data + rest->offset, rest->size,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                rest->offset += (size_t) n;
                rest->size -= (size_t) n;
        }
        source->rest = is_pipe ? pipe_give(forwarder, rest) : mfree(rest);
        return 0;
}

/* Reads once, into an empty pipe, so that -EAGAIN can only mean the socket. */
static ssize_t side_splice(Forwarder *forwarder, Side *source, Rest *pipe) {
        ssize_t n;

        do
                n = splice(source->watch.fd, NULL, pipe->in, NULL, TURN_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
                n = n < 0 ? -errno : 0;
                (void) pipe_give(forwarder, pipe);
                return n;
        }
        pipe->offset = 0;
        pipe->size = (size_t) n;
        source->rest = pipe;
        return n;
}

static int side_keep(Side *source, const uint8_t *data, size_t size) {
        Rest *rest = malloc(sizeof(*rest) + size);

        if (!rest)
                return -ENOMEM;
        *rest = (Rest){ .in = -EBADF, .out = -EBADF, .size = size };
        memcpy(rest->data, data, size);
        source->rest = rest;
        return 0;
}

/* Reads once, into the shared buffer, and passes on what the target takes; the rest is kept. */
static ssize_t side_copy(Forward *forward, Side *source, Side *target, int *ret_error) {
        uint8_t *buffer = forward->forwarder->buffer;
        ssize_t n, taken;

        do
                n = recv(source->watch.fd, buffer, BUFFER_SIZE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return n < 0 ? -errno : 0;
        if ((size_t) n < BUFFER_SIZE && source->exact && !source->hangup) {
                source->readable = false;
                source->end = source->fin;
        }

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
                *ret_error = side_keep(source, buffer + taken, (size_t) (n - taken));
        return n;
}

static ssize_t side_read(Forward *forward, Side *source, Side *target, int *ret_error) {
        Forwarder *forwarder = forward->forwarder;
        size_t from = reactor_is_crowded(forwarder->reactor) ? SPLICE_FROM_CROWDED : SPLICE_FROM;
        Rest *pipe = source->large ? pipe_take(forwarder) : NULL;
        ssize_t n;

        if (pipe) {
                n = side_splice(forwarder, source, pipe);
                /* Not to and fro at a size that is about the limit. */
                source->large = n >= (ssize_t) (from / 2);
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
        if (target->done && !forward->client.reset)
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
                        error = side_flush(forward->forwarder, source, target);
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

                if (error < 0) {
                        source->rest = rest_drop(forward->forwarder, source->rest);
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
        /* Reset after its end: no read will tell. */
        if (events & EPOLLERR && side->end)
                forward->client.reset = forward->client.dead = true;
}

static void forward_check_end(Forward *forward) {
        Reactor *reactor = forward->forwarder->reactor;

        if (!forward->client.dead && !(forward->client.done && forward->backend.done))
                return;

        /* Ended by themselves: a plain close, which sends what the kernel still holds. */
        if (!forward->client.reset && !forward->client.dead) {
                reactor_forget(reactor, &forward->client.watch);
                reactor_forget(reactor, &forward->backend.watch);
                forward->client.watch.fd = fd_close(forward->client.watch.fd);
                forward->backend.watch.fd = fd_close(forward->backend.watch.fd);
        }
        forward->forwarder->handler(forward);
}

static void side_on_event(Watch *watch, uint32_t events) {
        Forward *forward = ASSERT_PTR(watch->userdata);
        Side *side = watch == &forward->client.watch ? &forward->client : &forward->backend;

        side_note_events(forward, side, events);
        side_pump(forward, side);
        /* Only if its own direction could not go on before. */
        if (side->writable && side_other(forward, side)->rest)
                side_pump(forward, side_other(forward, side));
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

        reactor_forget(forwarder->reactor, &forward->client.watch);
        reactor_forget(forwarder->reactor, &forward->backend.watch);
        forward->client.rest = rest_drop(forwarder, forward->client.rest);
        forward->backend.rest = rest_drop(forwarder, forward->backend.rest);
        forward->client.watch.fd = fd_reset(forward->client.watch.fd);
        forward->backend.watch.fd = fd_reset(forward->backend.watch.fd);
}

bool forward_was_used(Forward *forward) {
        bool used = forward->client.moved > 0 || forward->backend.moved >= USED_FROM;

        forward->client.moved = forward->backend.moved = 0;
        return used;
}
