#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/forward.h"
#include "test.h"
#include "util/fd.h"

/* The data path alone: a child process runs one forward between two sockets, and both outer ends are played here, so
 * that each test says exactly what is written, read, ended and reset, and in which order. Every byte is compared. */

#define WAIT_MSEC 20000
#define PIECE_MAX 300000

typedef struct Pair {
        int client, backend; /* the outer ends */
        pid_t child;
} Pair;

typedef struct Kind {
        bool client_is_unix, backend_is_unix;
        unsigned pipes_max;
} Kind;

static const Kind kinds[] = {
        { false, false, 64 }, { false, false, 0 }, { true, true, 64 },
        { true, true, 0 },    { true, false, 64 }, { false, true, 1 },
};

static void socket_pair(bool is_unix, int ret[static 2]) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int listener;

        if (is_unix) {
                ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret));
                return;
        }
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(listener >= 0);
        ASSERT_OK(bind(listener, (struct sockaddr *) &address, size));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &address, &size));
        ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(ret[0] >= 0);
        ASSERT_OK(connect(ret[0], (struct sockaddr *) &address, size));
        ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ASSERT_TRUE(ret[1] >= 0);
        ASSERT_OK(fcntl(ret[0], F_SETFL, O_NONBLOCK));
        ASSERT_OK(close(listener));
}

/* The child */

static sd_event *child_event;
static Reactor *child_reactor;

static void child_on_end(Forward *forward, bool reset) {
        forward_close(forward, reset);
        reactor_wake_event(child_reactor);
        ASSERT_OK(sd_event_exit(child_event, 0));
}

static void child_on_watch(Watch *watch, uint32_t events) {
        TEST_FAIL("The watch was not taken over.");
}

static int child_run(const Kind *kind, int client, int backend) {
        _cleanup_(keep_freep) Keep *keep = NULL;
        _cleanup_(forwarder_freep) Forwarder *forwarder = NULL;
        _cleanup_(reactor_freep) Reactor *reactor = NULL;
        Forward forward;
        int code;

        ASSERT_OK(sd_event_new(&child_event));
        ASSERT_OK(reactor_new(&reactor, child_event));
        child_reactor = reactor;
        ASSERT_OK(keep_new(&keep));
        ASSERT_OK(keep_open(keep));
        ASSERT_OK(forwarder_new(&forwarder, reactor, keep, kind->pipes_max, !kind->client_is_unix, child_on_end));
        forward = FORWARD_NONE(forwarder);
        forward.client.watch.fd = client;
        forward.backend.watch.handler = child_on_watch;
        ASSERT_OK(reactor_add(reactor, &forward.backend.watch, backend, FORWARD_BACKEND_EVENTS));
        ASSERT_OK(forward_start(&forward, kind->backend_is_unix, EPOLLOUT));
        code = reactor_run(reactor);
        forwarder_trim(forwarder);
        sd_event_unref(child_event);
        return code;
}

static void pair_open(Pair *pair, const Kind *kind) {
        int client[2], backend[2];

        socket_pair(kind->client_is_unix, client);
        socket_pair(kind->backend_is_unix, backend);
        pair->child = fork();
        ASSERT_TRUE(pair->child >= 0);
        if (pair->child == 0) {
                fd_close(client[0]);
                fd_close(backend[0]);
                exit(child_run(kind, client[1], backend[1]) == 0 ? 0 : 1);
        }
        fd_close(client[1]);
        fd_close(backend[1]);
        pair->client = client[0];
        pair->backend = backend[0];
}

/* The forward must have come to its end by itself. */
static void pair_close(Pair *pair) {
        int status;

        ASSERT_EQ(waitpid(pair->child, &status, 0), pair->child);
        ASSERT_EQ(status, 0);
        fd_close(pair->client);
        fd_close(pair->backend);
}

/* The ends */

/* No events: an error. */
static void wait_for(int fd, short events) {
        struct pollfd entry = { .fd = fd, .events = events };

        ASSERT_EQ(poll(&entry, 1, WAIT_MSEC), 1);
        if (events == 0)
                ASSERT_TRUE(entry.revents & POLLERR);
}

static void send_all(int fd, const void *data, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = send(fd, (const uint8_t *) data + done, size - done, MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN)
                        wait_for(fd, POLLOUT);
                else if (n < 0)
                        TEST_FAIL("send: %m");
                else
                        done += (size_t) n;
        }
}

static void expect(int fd, const void *data, size_t size) {
        _cleanup_free_ uint8_t *buffer = malloc(size);

        ASSERT_TRUE(buffer);
        for (size_t done = 0; done < size;) {
                ssize_t n = recv(fd, buffer + done, size - done, 0);

                if (n < 0 && errno == EAGAIN)
                        wait_for(fd, POLLIN);
                else if (n <= 0)
                        TEST_FAIL("%zu bytes are missing: %m", size - done);
                else
                        done += (size_t) n;
        }
        ASSERT_TRUE(memcmp(buffer, data, size) == 0);
}

static void expect_end(int fd) {
        char byte;

        wait_for(fd, POLLIN);
        ASSERT_EQ(recv(fd, &byte, 1, 0), 0);
}

/* What is left before the reset is of no interest. */
static void expect_reset(int fd) {
        static uint8_t waste[65536];
        ssize_t n;

        do {
                wait_for(fd, POLLIN);
                n = recv(fd, waste, sizeof(waste), 0);
        } while (n > 0 || (n < 0 && errno == EAGAIN));
        ASSERT_EQ(n, -1);
        ASSERT_EQ(errno, ECONNRESET);
}

static uint64_t random_next(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        return *state ^= *state << 17;
}

/* Byte `i` of the stream `seed`: no byte can be missed or doubled unseen. */
static uint8_t stream_byte(uint64_t seed, size_t i) {
        return (uint8_t) ((seed + i) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* One end of an exchange: writes a stream in pieces, and reads the other end's. */
typedef struct End {
        int fd;
        uint64_t seed, other_seed, random;
        size_t piece_max, read_max; /* sizes are random up to these; 0: now small, now large */
        size_t sent, to_send, received;
        bool ended;
} End;

static size_t random_size(End *end, size_t max) {
        uint64_t random = random_next(&end->random);

        if (max == 0)
                max = random & 64 ? PIECE_MAX : random & 128 ? 20000 : 90;
        return 1 + (size_t) ((random >> 8) % max);
}

static void end_write(End *end) {
        static uint8_t buffer[PIECE_MAX];
        size_t size = random_size(end, end->piece_max);
        ssize_t n;

        size = MIN(size, end->to_send - end->sent);
        for (size_t i = 0; i < size; i++)
                buffer[i] = stream_byte(end->seed, end->sent + i);
        n = send(end->fd, buffer, size, MSG_NOSIGNAL);
        ASSERT_TRUE(n > 0 || errno == EAGAIN);
        end->sent += (size_t) MAX(n, 0);
        if (end->sent == end->to_send)
                ASSERT_OK(shutdown(end->fd, SHUT_WR));
}

static void end_read(End *end) {
        static uint8_t buffer[PIECE_MAX];
        ssize_t n = recv(end->fd, buffer, random_size(end, end->read_max), 0);

        if (n < 0 && errno == EAGAIN)
                return;
        if (n < 0)
                TEST_FAIL("recv: %m");
        for (ssize_t i = 0; i < n; i++)
                ASSERT_EQ(buffer[i], stream_byte(end->other_seed, end->received + (size_t) i));
        end->received += (size_t) n;
        end->ended = n == 0;
}

static void exchange(const Kind *kind, End *a, End *b) {
        End *ends[] = { a, b };
        Pair pair;

        pair_open(&pair, kind);
        a->fd = pair.client;
        b->fd = pair.backend;
        a->seed = b->other_seed = 1;
        b->seed = a->other_seed = 2;
        a->random = 77 + a->piece_max;
        b->random = 99 + b->read_max;
        for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                if (ends[i]->to_send == 0)
                        ASSERT_OK(shutdown(ends[i]->fd, SHUT_WR));

        while (!a->ended || !b->ended) {
                struct pollfd entries[2];

                for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                        entries[i] = (struct pollfd){
                                .fd = ends[i]->ended && ends[i]->sent == ends[i]->to_send ? -1 : ends[i]->fd,
                                .events = (short) ((ends[i]->ended ? 0 : POLLIN) |
                                                   (ends[i]->sent < ends[i]->to_send ? POLLOUT : 0)),
                        };
                ASSERT_TRUE(poll(entries, 2, WAIT_MSEC) > 0);
                for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
                        if (entries[i].revents & POLLOUT && ends[i]->sent < ends[i]->to_send)
                                end_write(ends[i]);
                        if (entries[i].revents & (POLLIN | POLLHUP) && !ends[i]->ended)
                                end_read(ends[i]);
                }
        }
        ASSERT_EQ(a->received, b->to_send);
        ASSERT_EQ(b->received, a->to_send);
        pair_close(&pair);
}

static void test_every_byte_in_pieces_of_any_size(const Kind *kind) {
        static const struct {
                size_t piece_max, read_max, up, down;
        } cases[] = {
                { 0, 0, 4000000, 4000000 }, /* copies and splices in turn */
                { 1, 0, 3000, 3000 },
                { 1, 1, 3000, 0 },
                { 0, 3000, 3000000, 100 }, /* a slow reader */
                { 300000, 300000, 12000000, 0 },
                { 300000, 300000, 0, 12000000 },
                { 16384, 0, 2000000, 2000000 },
                { 65536, 65536, 65536, 65536 },
                { 0, 0, 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                End a = { .piece_max = cases[i].piece_max, .read_max = cases[i].read_max, .to_send = cases[i].up };
                End b = { .piece_max = cases[i].piece_max,
                          .read_max = cases[i].read_max,
                          .to_send = cases[i].down };

                exchange(kind, &a, &b);
        }
}

static void test_half_close_either_way(const Kind *kind) {
        for (int backwards = 0; backwards < 2; backwards++) {
                Pair pair;
                int first, second;

                pair_open(&pair, kind);
                first = backwards ? pair.backend : pair.client;
                second = backwards ? pair.client : pair.backend;
                send_all(first, "question", 8);
                ASSERT_OK(shutdown(first, SHUT_WR));
                expect(second, "question", 8);
                expect_end(second);
                for (int i = 0; i < 100; i++) {
                        send_all(second, "answer", 6);
                        expect(first, "answer", 6);
                }
                ASSERT_OK(shutdown(second, SHUT_WR));
                expect_end(first);
                pair_close(&pair);
        }
}

/* As much as anybody takes while nobody reads. */
static size_t fill(int fd, uint64_t seed) {
        static uint8_t buffer[PIECE_MAX];
        size_t sent = 0;

        for (;;) {
                ssize_t n;

                for (size_t i = 0; i < sizeof(buffer); i++)
                        buffer[i] = stream_byte(seed, sent + i);
                n = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);
                if (n > 0) {
                        sent += (size_t) n;
                        continue;
                }
                ASSERT_EQ(errno, EAGAIN);
                /* The forward may be about to take more; it has stopped when nothing moves for a while. */
                if (poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 100) == 0)
                        return sent;
        }
}

static void test_a_reader_that_stops_holds_up_the_writer(const Kind *kind) {
        Pair pair;
        size_t sent;

        pair_open(&pair, kind);
        sent = fill(pair.client, 5);
        /* The buffers of four sockets and a pipe. */
        ASSERT_TRUE(sent < (size_t) 64 * 1024 * 1024);

        /* The other direction goes on beside it. */
        send_all(pair.backend, "still here", 10);
        expect(pair.client, "still here", 10);

        /* An end behind all that waits. */
        ASSERT_OK(shutdown(pair.client, SHUT_WR));
        for (size_t i = 0; i < sent;) {
                uint8_t buffer[4096], wanted[4096];
                size_t size = MIN(sizeof(buffer), sent - i);

                for (size_t k = 0; k < size; k++)
                        wanted[k] = stream_byte(5, i + k);
                expect(pair.backend, wanted, size);
                i += size;
        }
        expect_end(pair.backend);
        send_all(pair.backend, "bye", 3);
        expect(pair.client, "bye", 3);
        ASSERT_OK(shutdown(pair.backend, SHUT_WR));
        expect_end(pair.client);
        pair_close(&pair);
}

static void reset(int *fd) {
        struct linger linger = { .l_onoff = 1 };

        ASSERT_OK(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
        *fd = fd_close(*fd);
}

static void test_reset_either_way(const Kind *kind) {
        enum { QUIET, AFTER_BYTES, BLOCKED, AFTER_ITS_END, AFTER_THE_OTHERS_END, N_WAYS };

        if (kind->client_is_unix || kind->backend_is_unix)
                return;
        for (int i = 0; i < 2 * N_WAYS; i++) {
                int *resetting, *other, way = i / 2;
                Pair pair;

                pair_open(&pair, kind);
                resetting = i % 2 ? &pair.backend : &pair.client;
                other = i % 2 ? &pair.client : &pair.backend;
                switch (way) {
                case AFTER_BYTES:
                        send_all(*resetting, "bytes", 5);
                        expect(*other, "bytes", 5);
                        break;
                case BLOCKED: /* with bytes that wait in the forward, which nobody will read */
                        (void) fill(*other, 5);
                        break;
                case AFTER_ITS_END:
                        ASSERT_OK(shutdown(*resetting, SHUT_WR));
                        expect_end(*other);
                        break;
                case AFTER_THE_OTHERS_END:
                        ASSERT_OK(shutdown(*other, SHUT_WR));
                        expect_end(*resetting);
                        break;
                default:;
                }
                reset(resetting);
                /* After an end recv() tells of nothing else. */
                if (way == AFTER_ITS_END)
                        wait_for(*other, 0);
                else
                        expect_reset(*other);
                pair_close(&pair);
        }
}

static void test_last_words_before_a_reset(const Kind *kind) {
        Pair pair;

        if (kind->client_is_unix || kind->backend_is_unix)
                return;
        /* A backend that answers without reading all of a request. */
        pair_open(&pair, kind);
        send_all(pair.client, "POST", 4);
        expect(pair.backend, "POST", 4);
        send_all(pair.client, "unread", 6);
        wait_for(pair.backend, POLLIN);
        send_all(pair.backend, "413", 3);
        pair.backend = fd_close(pair.backend);
        expect(pair.client, "413", 3);
        expect_reset(pair.client);
        pair_close(&pair);
}

/* A short read does not mean that all is read where urgent data stands in the way, or what came with a descriptor. */

static void test_urgent_data_is_no_end(const Kind *kind) {
        Pair pair;

        if (kind->client_is_unix || kind->backend_is_unix)
                return;
        for (int i = 0; i < 50; i++) {
                pair_open(&pair, kind);
                send_all(pair.client, "before", 6);
                ASSERT_EQ(send(pair.client, "!", 1, MSG_OOB), 1);
                send_all(pair.client, "after", 5);
                if (i % 2)
                        ASSERT_OK(shutdown(pair.client, SHUT_WR));
                expect(pair.backend, "beforeafter", 11);
                if (i % 2 == 0) {
                        send_all(pair.client, "and on", 6);
                        expect(pair.backend, "and on", 6);
                        ASSERT_OK(shutdown(pair.client, SHUT_WR));
                }
                expect_end(pair.backend);
                ASSERT_OK(shutdown(pair.backend, SHUT_WR));
                expect_end(pair.client);
                pair_close(&pair);
        }
}

static void test_descriptors_on_the_way_are_no_end(const Kind *kind) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec part = { (char *) "b", 1 };
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        Pair pair;

        if (!kind->client_is_unix)
                return;
        control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &(int){ STDERR_FILENO }, sizeof(int));

        for (int i = 0; i < 20; i++) {
                pair_open(&pair, kind);
                send_all(pair.client, "a", 1);
                ASSERT_EQ(sendmsg(pair.client, &message, 0), 1);
                send_all(pair.client, "c", 1);
                ASSERT_OK(shutdown(pair.client, SHUT_WR));
                expect(pair.backend, "abc", 3);
                expect_end(pair.backend);
                ASSERT_OK(shutdown(pair.backend, SHUT_WR));
                expect_end(pair.client);
                pair_close(&pair);
        }
}

static const struct {
        const char *name;
        void (*function)(const Kind *kind);
} tests[] = {
        { "every byte, in pieces of any size", test_every_byte_in_pieces_of_any_size },
        { "half-close either way", test_half_close_either_way },
        { "a reader that stops holds up the writer", test_a_reader_that_stops_holds_up_the_writer },
        { "reset either way", test_reset_either_way },
        { "last words before a reset", test_last_words_before_a_reset },
        { "urgent data is no end", test_urgent_data_is_no_end },
        { "descriptors on the way are no end", test_descriptors_on_the_way_are_no_end },
};

int main(void) {
        (void) alarm(150);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++)
                for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                        fprintf(stderr, "%s: %s to %s, %u pipes\n", tests[i].name,
                                kinds[k].client_is_unix ? "Unix" : "TCP",
                                kinds[k].backend_is_unix ? "Unix" : "TCP", kinds[k].pipes_max);
                        tests[i].function(&kinds[k]);
                }
        return 0;
}
