/* load: both ends of what the front is measured with: a backend that answers, and a client that asks.
 *
 *     load serve PORT [CONTROL]                    a backend on PORT; with CONTROL, a socket there that answers every Hold of a front with
 *                                                  a stack that is awake, and whose backend is 127.0.0.1:PORT
 *     load drive KIND PORT CONNECTIONS SIZE MSEC   asks PORT. Prints "go" when the measured time begins, and one line of JSON at its end
 *
 * PORT is one of 127.0.0.1, or ADDRESS:PORT.
 *
 * KIND: echo     on each connection a message of SIZE bytes and an answer of the same size, one after the other
 *       up down  bytes as fast as they go
 *       short    CONNECTIONS at a time: connect, one message, one answer, end
 *       idle     one message on each connection; then they stay, until stdin ends
 *       first    one connection, one message
 *
 * A connection begins with a header, which is part of its first message. An answer to a message carries that message's number: one that
 * is lost, doubled, mixed up or cut short ends the program with an error. The backend closes short connections, as HTTP/1.0 does, so that
 * no client's port waits in TIME_WAIT. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t) 256 * 1024)
#define BATCH 256
#define WARM_UP_NSEC UINT64_C(150000000)
#define SAMPLES_MAX ((size_t) 1 << 23)
#define MAGIC UINT32_C(0x6b61776c)

typedef struct Header {
        uint32_t magic;
        uint32_t kind;
        uint64_t size;
        uint64_t number;
} Header;

typedef struct Peer {
        int fd;
        bool control, listener, writing;
        Header header; /* of the connection, with the number of the message at hand */
        size_t in, out; /* bytes of that message read, and written */
        uint64_t began;
} Peer;

static uint8_t chunk[CHUNK];
static int poller;

static void die(const char *what) {
        fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
        exit(1);
}

static uint64_t now_nsec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static struct sockaddr_in parse_address(const char *text) {
        const char *colon = strchr(text, ':'), *port = colon ? colon + 1 : text;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(port)) };
        char host[INET_ADDRSTRLEN] = "127.0.0.1";

        if (colon)
                snprintf(host, sizeof(host), "%.*s", (int) (colon - text), text);
        if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || address.sin_port == 0) {
                errno = EINVAL;
                die(text);
        }
        return address;
}

static void watch(Peer *peer, uint32_t events, int operation) {
        struct epoll_event entry = { .events = events, .data.ptr = peer };

        if (epoll_ctl(poller, operation, peer->fd, &entry) < 0)
                die("epoll_ctl");
}

static void want_output(Peer *peer, bool on) {
        if (peer->writing == on)
                return;
        peer->writing = on;
        watch(peer, on ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void no_delay(int fd) {
        int yes = 1;

        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0)
                die("TCP_NODELAY");
}

static Peer *peer_new(int fd) {
        Peer *peer = calloc(1, sizeof(*peer));

        if (!peer)
                die("calloc");
        peer->fd = fd;
        return peer;
}

static void peer_free(Peer *peer) {
        close(peer->fd);
        free(peer);
}

/* Sends the rest of the message of `peer`. Positive when all of it is gone, 0 when it has to wait. */
static int send_message(Peer *peer) {
        while (peer->out < peer->header.size) {
                size_t size = peer->header.size - peer->out;
                ssize_t n;

                memcpy(chunk, &peer->header, sizeof(peer->header));
                n = send(peer->fd, chunk + peer->out, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EAGAIN) {
                        want_output(peer, true);
                        return 0;
                }
                if (n < 0)
                        return -1;
                peer->out += (size_t) n;
        }
        want_output(peer, false);
        return 1;
}

/* The backend */

static void serve_control(Peer *peer, int port) {
        char text[4096];
        ssize_t n = recv(peer->fd, text, sizeof(text), MSG_DONTWAIT);
        int size;

        if (n <= 0) {
                if (n == 0 || errno != EAGAIN)
                        peer_free(peer);
                return;
        }
        if (text[n - 1] != '\0')
                return;
        size = snprintf(text, sizeof(text),
                        "{\"parameters\":{\"status\":{\"service\":\"bench\",\"state\":\"awake\",\"backends\":[\"127.0.0.1:%d\"]}},\"continues\":true}",
                        port);
        if (send(peer->fd, text, (size_t) size + 1, MSG_NOSIGNAL) < 0)
                die("answer to Hold");
}

/* Reads once; the header first. False: gone. */
static bool serve_read(Peer *peer) {
        size_t missing = peer->in < sizeof(Header) ? sizeof(Header) - peer->in : 0, size = CHUNK;
        ssize_t n;

        if (missing > 0) {
                struct iovec parts[] = { { (uint8_t *) &peer->header + peer->in, missing }, { chunk, 65536 } };
                struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

                n = recvmsg(peer->fd, &message, MSG_DONTWAIT);
        } else {
                if (peer->header.kind != 'u')
                        size = peer->header.size - peer->in;
                n = recv(peer->fd, chunk, size, MSG_DONTWAIT);
        }
        if (n < 0 && errno == EAGAIN)
                return true;
        if (n <= 0)
                return false;
        peer->in += (size_t) n;
        if (peer->in >= sizeof(Header) && (peer->header.magic != MAGIC || peer->header.size > CHUNK)) {
                fprintf(stderr, "load: no header\n");
                exit(1);
        }
        return true;
}

static void serve_peer(Peer *peer) {
        int sent;

        if (!peer->writing && !serve_read(peer)) {
                peer_free(peer);
                return;
        }
        if (peer->in < sizeof(Header))
                return;
        if (peer->header.kind == 'd') {
                ssize_t n = send(peer->fd, chunk, CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno != EAGAIN)
                        peer_free(peer);
                else
                        want_output(peer, true);
                return;
        }
        if (peer->header.kind == 'u' || peer->in < peer->header.size)
                return;
        sent = send_message(peer);
        if (sent == 0)
                return;
        peer->in = peer->out = 0;
        /* A client that has all it wanted to know goes in the middle of an answer. */
        if (sent < 0 || peer->header.kind == 's')
                peer_free(peer);
}

static void listen_on(int fd, const void *address, socklen_t size, bool control) {
        Peer *peer = peer_new(fd);
        int yes = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
            bind(fd, address, size) < 0 || listen(fd, 4096) < 0)
                die("listen");
        peer->listener = true;
        peer->control = control;
        watch(peer, EPOLLIN, EPOLL_CTL_ADD);
}

static void serve_accept(Peer *listener) {
        for (int i = 0; i < 16; i++) {
                int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                Peer *peer;

                if (fd < 0 && errno == EAGAIN)
                        return;
                if (fd < 0)
                        die("accept");
                if (!listener->control)
                        no_delay(fd);
                peer = peer_new(fd);
                peer->control = listener->control;
                watch(peer, EPOLLIN, EPOLL_CTL_ADD);
        }
}

static void serve(const char *port, const char *control) {
        struct sockaddr_in address = parse_address(port);
        struct sockaddr_un path = { .sun_family = AF_UNIX };

        listen_on(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), &address, sizeof(address),
                  false);
        if (control) {
                snprintf(path.sun_path, sizeof(path.sun_path), "%s", control);
                listen_on(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), &path, sizeof(path),
                          true);
        }
        puts("ready");
        fflush(stdout);

        for (;;) {
                struct epoll_event events[BATCH];
                int n = epoll_wait(poller, events, BATCH, -1);

                for (int i = 0; i < n; i++) {
                        Peer *peer = events[i].data.ptr;

                        if (peer->listener)
                                serve_accept(peer);
                        else if (peer->control)
                                serve_control(peer, ntohs(address.sin_port));
                        else
                                serve_peer(peer);
                }
        }
}

/* The client */

typedef struct Drive {
        uint32_t kind;
        struct sockaddr_in address;
        uint64_t size, number, begin, end, bytes;
        size_t answered;
        bool measuring;
        uint32_t *samples;
        size_t n_samples;
} Drive;

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return x < y ? -1 : x > y;
}

static void drive_begin(Drive *drive, uint64_t now, uint64_t span) {
        drive->measuring = true;
        drive->begin = now;
        drive->end = now + span;
        drive->bytes = drive->n_samples = 0;
        puts("go");
        fflush(stdout);
}

static void drive_report(Drive *drive, uint64_t now) {
        size_t n = drive->n_samples, kept = n < SAMPLES_MAX ? n : SAMPLES_MAX;

        qsort(drive->samples, kept, sizeof(uint32_t), compare);
        printf("{\"seconds\":%.6f,\"n\":%zu,\"all\":%zu,\"bytes\":%llu,\"p50\":%u,\"p99\":%u}\n",
               (double) (now - drive->begin) / 1e9, n, drive->answered, (unsigned long long) drive->bytes,
               kept ? drive->samples[kept / 2] : 0, kept ? drive->samples[kept * 99 / 100] : 0);
        fflush(stdout);
}

static void ask(Drive *drive, Peer *peer, uint64_t now) {
        peer->header.number = ++drive->number;
        peer->in = peer->out = 0;
        peer->began = now;
        if (send_message(peer) < 0)
                die("send");
}

static void open_one(Drive *drive, bool wait) {
        Peer *peer = peer_new(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0));
        uint64_t began = now_nsec();

        if (peer->fd < 0)
                die("socket");
        no_delay(peer->fd);
        peer->header = (Header){ .magic = MAGIC, .kind = drive->kind, .size = drive->size };
        if (connect(peer->fd, (struct sockaddr *) &drive->address, sizeof(drive->address)) < 0 &&
            errno != EINPROGRESS)
                die("connect");
        if (wait && fcntl(peer->fd, F_SETFL, O_NONBLOCK) < 0)
                die("fcntl");
        watch(peer, EPOLLIN, EPOLL_CTL_ADD);
        /* Not writable before it is connected: send_message() goes on then. */
        ask(drive, peer, began);
        if (drive->kind == 'u')
                want_output(peer, true);
}

/* True: the whole answer is there. */
static bool read_answer(Drive *drive, Peer *peer) {
        while (peer->in < drive->size) {
                ssize_t n = recv(peer->fd, chunk, drive->size - peer->in, MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN)
                        return false;
                if (n <= 0) {
                        errno = n < 0 ? errno : EPIPE;
                        die("an answer is missing");
                }
                if (peer->in == 0 && (size_t) n >= sizeof(Header) &&
                    memcmp(chunk, &peer->header, sizeof(Header)) != 0) {
                        fprintf(stderr, "load: another message's answer\n");
                        exit(1);
                }
                peer->in += (size_t) n;
        }
        return true;
}

static void drive_sample(Drive *drive, uint64_t span) {
        if (drive->n_samples < SAMPLES_MAX)
                drive->samples[drive->n_samples] = (uint32_t) (span < UINT32_MAX ? span : UINT32_MAX);
        drive->n_samples++;
}

static void drive_answered(Drive *drive, Peer *peer, uint64_t now) {
        drive_sample(drive, now - peer->began);
        drive->answered++;
        switch (drive->kind) {
        case 's':
                peer_free(peer);
                open_one(drive, false);
                break;
        case 'e':
                ask(drive, peer, now);
                break;
        default:;
        }
}

static void drive_bulk(Drive *drive, Peer *peer) {
        ssize_t n;

        if (drive->kind == 'u') {
                n = send(peer->fd, chunk, CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
                want_output(peer, true);
        } else
                n = recv(peer->fd, chunk, CHUNK, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0)
                die("bulk");
        drive->bytes += (uint64_t) n;
}

static void drive_peer(Drive *drive, Peer *peer) {
        if ((drive->kind == 'u' || drive->kind == 'd') && peer->out >= drive->size) {
                drive_bulk(drive, peer);
                return;
        }
        if (peer->out < drive->size) {
                int sent = send_message(peer);

                if (sent < 0)
                        die("send");
                if (sent == 0)
                        return;
        }
        if (drive->kind == 'u')
                want_output(peer, true);
        else if (drive->kind != 'd' && read_answer(drive, peer))
                drive_answered(drive, peer, now_nsec());
}

static void drive(const char *kind, const char *port, size_t connections, size_t size, uint64_t span) {
        Drive drive = { .kind = (uint32_t) kind[0], .address = parse_address(port), .size = size };
        bool bulk = kind[0] == 'u' || kind[0] == 'd', once = kind[0] == 'i' || kind[0] == 'f';
        uint64_t warm;

        if (size < sizeof(Header) || size > CHUNK) {
                errno = EINVAL;
                die("size");
        }
        drive.samples = malloc(SAMPLES_MAX * sizeof(uint32_t));
        if (!drive.samples)
                die("malloc");
        drive.begin = now_nsec();
        for (size_t i = 0; i < connections; i++)
                open_one(&drive, kind[0] != 's');
        warm = now_nsec() + WARM_UP_NSEC;

        for (;;) {
                struct epoll_event events[BATCH];
                int n = epoll_wait(poller, events, BATCH, drive.measuring ? 100 : 1);
                uint64_t now = now_nsec();

                for (int i = 0; i < n; i++)
                        drive_peer(&drive, events[i].data.ptr);
                if (once && drive.answered == connections) {
                        drive_report(&drive, now_nsec());
                        if (kind[0] == 'i')
                                (void) poll(&(struct pollfd){ .fd = STDIN_FILENO, .events = POLLHUP | POLLIN }, 1,
                                            -1);
                        return;
                }
                if (once)
                        continue;
                if (!drive.measuring && now >= warm && (bulk || drive.answered >= connections))
                        drive_begin(&drive, now, span);
                else if (drive.measuring && now >= drive.end) {
                        drive_report(&drive, now);
                        return;
                }
        }
}

int main(int argc, char *argv[]) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                die("getrlimit");
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                die("setrlimit");
        poller = epoll_create1(EPOLL_CLOEXEC);
        if (poller < 0)
                die("epoll_create1");

        if ((argc == 3 || argc == 4) && strcmp(argv[1], "serve") == 0)
                serve(argv[2], argc == 4 ? argv[3] : NULL);
        else if (argc == 7 && strcmp(argv[1], "drive") == 0)
                drive(argv[2], argv[3], (size_t) atol(argv[4]), (size_t) atol(argv[5]),
                      (uint64_t) atol(argv[6]) * 1000000);
        else {
                fprintf(stderr, "load: usage\n");
                return 2;
        }
        return 0;
}
