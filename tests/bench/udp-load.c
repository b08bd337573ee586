/* udp-load: what tests/bench/udp measures with.
 *
 *   udp-load server PORT
 *   udp-load client PORT FLOWS WINDOW SIZE SECONDS [new]
 *
 * The server echoes. The client has WINDOW datagrams on their way in each of FLOWS flows: for each that comes back it
 * sends the next one; with `new` by a new socket, so that each is a flow of its own, as questions to a name server
 * are. What has not come back after a second is lost, and another is sent. Both are on 127.0.0.1. The
 * client prints datagrams per second, median and 99th percentile of the round trip in microseconds, and losses. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define DATAGRAM_MAX 65536
#define TIMEOUT_NSEC 1000000000
#define SAMPLES_MAX 20000000
#define BUFFER_SIZE (8 * 1024 * 1024)

typedef struct Flow {
        int fd;
        uint64_t next; /* number of the one that is sent next */
        uint64_t oldest_nsec; /* when anything was last sent or received */
} Flow;

typedef struct Header {
        uint64_t number, sent_nsec;
} Header;

static struct sockaddr_in target = { .sin_family = AF_INET };
static char buffer[DATAGRAM_MAX];
static uint32_t *samples;
static size_t n_samples;
static uint64_t n_lost;
static int epoll_fd;

static uint64_t now_nsec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static void check(bool good, const char *what) {
        if (good)
                return;
        perror(what);
        exit(EXIT_FAILURE);
}

static int make_socket(void) {
        int size = BUFFER_SIZE, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        check(fd >= 0, "socket");
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
        return fd;
}

static _Noreturn void run_server(void) {
        static char data[BATCH][DATAGRAM_MAX];
        static struct sockaddr_in names[BATCH];
        static struct mmsghdr messages[BATCH];
        static struct iovec vectors[BATCH];
        int fd = make_socket();

        check(bind(fd, (struct sockaddr *) &target, sizeof(target)) >= 0, "bind");
        for (;;) {
                int n;

                for (int i = 0; i < BATCH; i++) {
                        vectors[i] = (struct iovec){ data[i], DATAGRAM_MAX };
                        messages[i].msg_hdr =
                                        (struct msghdr){ &names[i], sizeof(names[i]), &vectors[i], 1, NULL, 0, 0 };
                }
                n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
                if (n < 0) {
                        struct epoll_event event = { .events = EPOLLIN };

                        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                                check(errno == EEXIST, "epoll_ctl");
                        (void) epoll_wait(epoll_fd, &event, 1, -1);
                        continue;
                }
                for (int i = 0; i < n; i++)
                        vectors[i].iov_len = messages[i].msg_len;
                for (int sent = 0, r; sent<n; sent += r> 0 ? r : 1)
                        r = sendmmsg(fd, messages + sent, (unsigned) (n - sent), 0);
        }
}

static void flow_open(Flow *flow) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = flow };

        flow->fd = make_socket();
        check(connect(flow->fd, (struct sockaddr *) &target, sizeof(target)) >= 0, "connect");
        check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, flow->fd, &event) >= 0, "epoll_ctl");
}

static void flow_send(Flow *flow, size_t size, uint64_t now) {
        Header header = { flow->next++, now };

        memcpy(buffer, &header, sizeof(header));
        if (send(flow->fd, buffer, size, 0) < 0)
                check(errno == EAGAIN || errno == ECONNREFUSED, "send");
        flow->oldest_nsec = now;
}

static void flow_receive(Flow *flow, size_t size, bool is_new) {
        for (;;) {
                ssize_t n = recv(flow->fd, buffer, sizeof(buffer), 0);
                uint64_t now = now_nsec();
                Header header;

                if (n < 0)
                        return;
                memcpy(&header, buffer, sizeof(header));
                if (n_samples < SAMPLES_MAX)
                        samples[n_samples++] = (uint32_t) ((now - header.sent_nsec) / 10);
                if (is_new) {
                        close(flow->fd);
                        flow_open(flow);
                }
                flow_send(flow, size, now);
                if (is_new)
                        return;
        }
}

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

static int run_client(size_t n_flows, unsigned window, size_t size, double seconds, bool is_new) {
        Flow *flows = calloc(n_flows, sizeof(*flows));
        uint64_t begin, end, looked, now;

        samples = calloc(SAMPLES_MAX, sizeof(*samples));
        check(flows && samples, "calloc");
        looked = begin = now = now_nsec();
        end = begin + (uint64_t) (seconds * 1e9);
        for (size_t i = 0; i < n_flows; i++) {
                flow_open(&flows[i]);
                for (unsigned j = 0; j < window; j++)
                        flow_send(&flows[i], size, now_nsec());
        }
        while (now < end) {
                struct epoll_event events[BATCH];
                int n = epoll_wait(epoll_fd, events, BATCH, 50);

                for (int i = 0; i < n; i++)
                        flow_receive(events[i].data.ptr, size, is_new);
                now = now_nsec();
                if (now - looked < TIMEOUT_NSEC / 5)
                        continue;
                looked = now;
                for (size_t i = 0; i < n_flows; i++)
                        if (now > flows[i].oldest_nsec + TIMEOUT_NSEC) {
                                n_lost += window;
                                for (unsigned j = 0; j < window; j++)
                                        flow_send(&flows[i], size, now);
                        }
        }
        qsort(samples, n_samples, sizeof(*samples), compare);
        printf("{\"rate\": %.0f, \"p50\": %.2f, \"p99\": %.2f, \"lost\": %llu, \"count\": %zu}\n",
               (double) n_samples * 1e9 / (double) (now - begin), n_samples ? samples[n_samples / 2] / 100. : 0,
               n_samples ? samples[n_samples * 99 / 100] / 100. : 0, (unsigned long long) n_lost, n_samples);
        return EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        bool is_server = argc == 3 && strcmp(argv[1], "server") == 0;
        bool is_client = (argc == 7 || (argc == 8 && strcmp(argv[7], "new") == 0)) &&
                         strcmp(argv[1], "client") == 0;

        if (!is_server && !is_client) {
                fprintf(stderr, "usage: udp-load server PORT | client PORT FLOWS WINDOW SIZE SECONDS [new]\n");
                return EXIT_FAILURE;
        }
        target.sin_port = htons((uint16_t) atoi(argv[2]));
        target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        check(epoll_fd >= 0, "epoll_create1");
        if (is_server)
                run_server();
        return run_client((size_t) atol(argv[3]), (unsigned) atoi(argv[4]), (size_t) atol(argv[5]), atof(argv[6]),
                          argc == 8);
}
