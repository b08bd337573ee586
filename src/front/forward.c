#include <fcntl.h>
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
 * another one. So an idle connection costs two descriptors and no buffer.
 *
 * An end (FIN) of one side is passed on when all bytes before it have been; the other direction goes on. A reset
 * ends both, and is passed on as a reset. When writing fails, the target may have answered before it closed: what
 * it still has to say is brought to the source first, then the source is reset. */

#define BUFFER_SIZE ((size_t) 64 * 1024)
#define PIPE_SIZE (256 * 1024)
#define SPLICE_FROM ((size_t) 32 * 1024) /* a read of this size makes the next one a splice */
#define SPLICE_WHILE (8 * 1024) /* a splice of less makes the next one a copy */
#define TURN_MAX ((size_t) 1024 * 1024) /* then the other connections have theirs */
#define SPARE_PIPES_MAX 4U
#define USED_FROM ((size_t) 64 * 1024) /* from the backend: a download */

typedef struct Pipe {
        int in, out;
} Pipe;

#define PIPE_NONE ((Pipe){ -EBADF, -EBADF })

typedef struct Side {
        Watch watch;
        int fd;
        bool readable, writable;
        bool hangup; /* an end or an error is near: a short read is not the last one */
        bool end; /* its last byte has been read */
        bool done; /* and passed on, with the end */
        bool large;
        uint8_t *rest; /* read, not yet taken by the other side */
        size_t rest_offset, rest_size;
        Pipe pipe; /* the same, in a pipe */
        size_t piped;
        size_t moved; /* bytes read since forward_was_used() */
} Side;

struct Forward {
        Forwarder *forwarder;
        Side client, backend;
        bool reset; /* one side was; the other will be */
        bool dead; /* nothing more can be passed on */
        ForwardHandler handler;
        void *userdata;
};

struct Forwarder {
        Reactor *reactor;
        uint8_t *buffer;
        Pipe spares[SPARE_PIPES_MAX]; /* empty ones */
        unsigned n_spares;
        unsigned n_pipes, pipes_max;
};

int fd_reset(int fd) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        if (fd >= 0)
                (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        return fd_close(fd);
}

static void pipe_discard(Forwarder *forwarder, Pipe pipe) {
        if (pipe.in < 0)
                return;
        (void) fd_close(pipe.in);
        (void) fd_close(pipe.out);
        forwarder->n_pipes--;
}

/* Only an empty pipe may be given back. */
static void pipe_give(Forwarder *forwarder, Pipe pipe) {
        if (forwarder->n_spares < SPARE_PIPES_MAX)
                forwarder->spares[forwarder->n_spares++] = pipe;
        else
                pipe_discard(forwarder, pipe);
}

static bool pipe_take(Forwarder *forwarder, Pipe *ret) {
        int fds[2];

        if (forwarder->n_spares > 0) {
                *ret = forwarder->spares[--forwarder->n_spares];
                return true;
        }
        if (forwarder->n_pipes >= forwarder->pipes_max || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return false;
        /* A plain user may be refused the size; a smaller pipe does as well. */
        (void) fcntl(fds[0], F_SETPIPE_SZ, PIPE_SIZE);
        forwarder->n_pipes++;
        *ret = (Pipe){ .out = fds[0], .in = fds[1] };
        return true;
}

int forwarder_new(Forwarder **ret, Reactor *reactor, unsigned pipes_max) {
        _cleanup_(forwarder_freep) Forwarder *forwarder = NULL;

        assert(ret);
        assert(reactor);

        forwarder = malloc(sizeof(*forwarder));
        if (!forwarder)
                return -ENOMEM;
        *forwarder = (Forwarder){ .reactor = reactor, .pipes_max = pipes_max, .buffer = malloc(BUFFER_SIZE) };
        if (!forwarder->buffer)
                return -ENOMEM;

        *ret = TAKE_PTR(forwarder);
        return 0;
}

Forwarder *forwarder_free(Forwarder *forwarder) {
        if (!forwarder)
                return NULL;

        while (forwarder->n_spares > 0)
                pipe_discard(forwarder, forwarder->spares[--forwarder->n_spares]);
        assert(forwarder->n_pipes == 0);
        free(forwarder->buffer);
        return mfree(forwarder);
}

static Side *side_other(Forward *forward, Side *side) {
        return side == &forward->client ? &forward->backend : &forward->client;
}

static void side_drop_rest(Forwarder *forwarder, Side *side) {
        side->rest = mfree(side->rest);
        side->rest_size = 0;
        side->piped = 0;
        pipe_discard(forwarder, side->pipe);
        side->pipe = PIPE_NONE;
}

static ssize_t no_intr(ssize_t n) {
        return n < 0 ? (errno == EINTR ? 0 : -errno) : n;
}

/* Passes on what was read before. 0: all gone. -EAGAIN: the target takes no more now. */
static int side_flush(Forwarder *forwarder, Side *source, Side *target) {
        while (source->rest_size > 0) {
                ssize_t n = no_intr(send(target->fd, source->rest + source->rest_offset, source->rest_size,
                                         MSG_DONTWAIT | MSG_NOSIGNAL));

                if (n < 0)
                        return (int) n;
                source->rest_offset += (size_t) n;
                source->rest_size -= (size_t) n;
        }
        source->rest = mfree(source->rest);

        while (source->piped > 0) {
                ssize_t n = splice(source->pipe.out, NULL, target->fd, NULL, source->piped,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                source->piped -= (size_t) n;
        }
        if (source->pipe.in >= 0)
                pipe_give(forwarder, source->pipe);
        source->pipe = PIPE_NONE;
        return 0;
}

/* Reads once, into a pipe. The pipe is empty before, so that -EAGAIN can only mean the socket. */
static ssize_t side_splice(Forwarder *forwarder, Side *source) {
        Pipe pipe = source->pipe;
        ssize_t n;

        do
                n = splice(source->fd, NULL, pipe.in, NULL, TURN_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                n = -errno;
        if (n <= 0) {
                pipe_give(forwarder, pipe);
                source->pipe = PIPE_NONE;
                return n;
        }
        source->piped = (size_t) n;
        source->large = n >= SPLICE_WHILE;
        return n;
}

/* Reads once, into the shared buffer, and passes on what the target takes; the rest is kept. */
static ssize_t side_copy(Forwarder *forwarder, Side *source, Side *target, int *ret_error) {
        ssize_t n, taken;

        do
                n = recv(source->fd, forwarder->buffer, BUFFER_SIZE, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return n < 0 ? -errno : 0;
        if ((size_t) n < BUFFER_SIZE && !source->hangup)
                source->readable = false;

        taken = no_intr(send(target->fd, forwarder->buffer, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL));
        if (taken < 0 && taken != -EAGAIN) {
                *ret_error = (int) taken;
                return n;
        }
        taken = MAX(taken, 0);
        if (taken < n) {
                source->rest = malloc((size_t) (n - taken));
                if (!source->rest) {
                        *ret_error = -ENOMEM;
                        return n;
                }
                memcpy(source->rest, forwarder->buffer + taken, (size_t) (n - taken));
                source->rest_offset = 0;
                source->rest_size = (size_t) (n - taken);
        }
        return n;
}

static ssize_t side_read(Forwarder *forwarder, Side *source, Side *target, int *ret_error) {
        ssize_t n;

        if (source->large && pipe_take(forwarder, &source->pipe)) {
                n = side_splice(forwarder, source);
                if (n != -EINVAL)
                        return n;
                /* Not every kind of socket can be spliced. */
                source->large = false;
        }
        n = side_copy(forwarder, source, target, ret_error);
        source->large = n >= (ssize_t) SPLICE_FROM;
        return n;
}

/* Moves bytes from the source to the other side until one of them has to be waited for. */
static void side_pump(Forward *forward, Side *source) {
        Forwarder *forwarder = forward->forwarder;
        Side *target = side_other(forward, source);
        size_t turn = 0;

        while (!source->done && !forward->dead) {
                int error = 0;
                ssize_t n;

                if (source->rest_size > 0 || source->piped > 0) {
                        if (!target->writable)
                                return;
                        error = side_flush(forwarder, source, target);
                        if (error == -EAGAIN) {
                                target->writable = false;
                                return;
                        }
                } else if (source->end) {
                        source->done = true;
                        /* A target that has gone meanwhile has said nothing more if its own end was not seen. */
                        if (shutdown(target->fd, SHUT_WR) < 0 && !target->end)
                                forward->reset = true;
                        return;
                } else if (!source->readable)
                        return;
                else if (turn >= TURN_MAX) {
                        reactor_again(forwarder->reactor, &source->watch);
                        return;
                } else {
                        n = side_read(forwarder, source, target, &error);
                        if (n == -EAGAIN)
                                source->readable = false;
                        else if (n == 0)
                                source->end = true;
                        else if (n < 0) {
                                forward->reset = forward->dead = true;
                                return;
                        } else {
                                turn += (size_t) n;
                                source->moved += (size_t) n;
                        }
                }

                if (error < 0) {
                        side_drop_rest(forwarder, source);
                        source->done = forward->reset = true;
                        target->readable = target->hangup = true;
                        side_pump(forward, target);
                        return;
                }
        }
}

static void side_on_event(Watch *watch, uint32_t events) {
        Forward *forward = ASSERT_PTR(watch->userdata);
        Side *side = watch == &forward->client.watch ? &forward->client : &forward->backend;

        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                side->readable = true;
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                side->writable = true;
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                side->hangup = true;
        /* Reset after its end: no read will tell. */
        if (events & EPOLLERR && side->end)
                forward->reset = forward->dead = true;

        side_pump(forward, side);
        side_pump(forward, side_other(forward, side));

        if (forward->dead || (forward->client.done && forward->backend.done)) {
                /* Ended by themselves: a plain close, which sends what the kernel still holds. */
                if (!forward->reset && !forward->dead) {
                        reactor_forget(forward->forwarder->reactor, &forward->client.watch);
                        reactor_forget(forward->forwarder->reactor, &forward->backend.watch);
                        forward->client.fd = fd_close(forward->client.fd);
                        forward->backend.fd = fd_close(forward->backend.fd);
                }
                forward->handler(forward, forward->userdata);
        }
}

int forward_new(Forward **ret, Forwarder *forwarder, int client, int backend, ForwardHandler handler,
                void *userdata) {
        const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
        Forward *forward;
        int r;

        assert(ret);
        assert(forwarder);
        assert(client >= 0 && backend >= 0);
        assert(handler);

        forward = malloc(sizeof(*forward));
        if (!forward)
                return -ENOMEM;
        *forward = (Forward){
                .forwarder = forwarder,
                .client = { .watch = { side_on_event, forward }, .fd = client, .pipe = PIPE_NONE },
                .backend = { .watch = { side_on_event, forward }, .fd = backend, .pipe = PIPE_NONE },
                .handler = handler,
                .userdata = userdata,
        };

        r = reactor_add(forwarder->reactor, &forward->client.watch, client, events);
        if (r >= 0)
                r = reactor_add(forwarder->reactor, &forward->backend.watch, backend, events);
        if (r < 0) {
                reactor_remove(forwarder->reactor, &forward->client.watch);
                free(forward);
                return r;
        }

        *ret = forward;
        return 0;
}

Forward *forward_free(Forward *forward) {
        if (!forward)
                return NULL;

        reactor_forget(forward->forwarder->reactor, &forward->client.watch);
        reactor_forget(forward->forwarder->reactor, &forward->backend.watch);
        side_drop_rest(forward->forwarder, &forward->client);
        side_drop_rest(forward->forwarder, &forward->backend);
        forward->client.fd = fd_reset(forward->client.fd);
        forward->backend.fd = fd_reset(forward->backend.fd);
        return mfree(forward);
}

bool forward_was_used(Forward *forward) {
        bool used = forward->client.moved > 0 || forward->backend.moved >= USED_FROM;

        forward->client.moved = forward->backend.moved = 0;
        return used;
}
