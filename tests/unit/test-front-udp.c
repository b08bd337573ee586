#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"

/* The whole program wakechain-front with datagram sockets, between clients, a waker and a backend that are all played
 * here. Every step waits for what it expects to see; RECEIVE_SEC is only for when it does not come. */

#define RECEIVE_SEC 20
#define DATAGRAM_MAX 65507 /* over IPv4 */
#define HELD_MAX 64 /* datagrams of one flow */

static const char *arg_program = NULL;

typedef union Name {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
} Name;

typedef struct Stage {
        char folder[64], control_path[128];
        int control; /* listening, like wake-control@.socket */
        int listener; /* passed to the front */
        int stream; /* the same, or -EBADF */
        int backend;
        pid_t front;
} Stage;

static int with_timeout(int fd) {
        struct timeval span = { .tv_sec = RECEIVE_SEC };

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof(span)));
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof(span)));
        return fd;
}

static Name name_of(const char *host, uint16_t port) {
        Name name = {};

        if (strchr(host, ':')) {
                name.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
                ASSERT_EQ(inet_pton(AF_INET6, host, &name.in6.sin6_addr), 1);
        } else {
                name.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
                ASSERT_EQ(inet_pton(AF_INET, host, &name.in.sin_addr), 1);
        }
        return name;
}

/* -EADDRINUSE if the port is taken. */
static int try_bound_socket(const char *host, uint16_t port, int type) {
        Name name = name_of(host, port);
        int fd = with_timeout(socket(name.any.sa_family, type | SOCK_CLOEXEC, 0)), no = 0;

        if (name.any.sa_family == AF_INET6)
                ASSERT_OK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)));
        if (bind(fd, &name.any, sizeof(name.in6)) < 0) {
                ASSERT_EQ(errno, EADDRINUSE);
                (void) fd_close(fd);
                return -EADDRINUSE;
        }
        return fd;
}

static int bound_socket(const char *host, uint16_t port, int type) {
        int fd = try_bound_socket(host, port, type);

        ASSERT_OK(fd);
        return fd;
}

static uint16_t port_of(int fd) {
        Name name;
        socklen_t size = sizeof(name);

        ASSERT_OK(getsockname(fd, &name.any, &size));
        return ntohs(name.in.sin_port); /* at the same place in both */
}

static void stage_open(Stage *stage, const char *listen_host) {
        Name name = { .un.sun_family = AF_UNIX };

        *stage = (Stage){ .folder = "/tmp/test-front-udp-XXXXXX", .stream = -EBADF };
        ASSERT_TRUE(mkdtemp(stage->folder));
        snprintf(stage->control_path, sizeof(stage->control_path), "%s/control", stage->folder);
        strcpy(name.un.sun_path, stage->control_path);
        stage->control = with_timeout(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_OK(bind(stage->control, &name.any, sizeof(name.un)));
        ASSERT_OK(listen(stage->control, 128));
        stage->listener = bound_socket(listen_host, 0, SOCK_DGRAM);
        stage->backend = bound_socket("127.0.0.1", 0, SOCK_DGRAM);
}

static void stage_start(Stage *stage, rlim_t nofile, const char *option) {
        char control[256], pid[32];
        /* What clients have left open does not keep a front that is to end. */
        const char *drain = option && strstr(option, "--drain") ? NULL : "--drain-timeout=0";

        snprintf(control, sizeof(control), "--control=%s", stage->control_path);
        stage->front = fork();
        ASSERT_TRUE(stage->front >= 0);
        if (stage->front > 0)
                return;

        /* Both may be in each other's way: first out of it. */
        stage->listener = fcntl(stage->listener, F_DUPFD, 100);
        stage->stream = fcntl(stage->stream, F_DUPFD, 100);
        (void) dup2(stage->listener, 3);
        (void) dup2(stage->stream, 4);
        (void) close_range(stage->stream >= 0 ? 5 : 4, ~0U, 0);
        if (nofile > 0)
                (void) setrlimit(RLIMIT_NOFILE, &(struct rlimit){ nofile, nofile });
        snprintf(pid, sizeof(pid), "%d", getpid());
        (void) setenv("LISTEN_PID", pid, true);
        (void) setenv("LISTEN_FDS", stage->stream >= 0 ? "2" : "1", true);
        (void) setenv("SYSTEMD_LOG_LEVEL", "crit", false);
        execl(arg_program, arg_program, control, "demo", option ? option : drain, option ? drain : NULL, NULL);
        _exit(127);
}

static void stage_end(Stage *stage) {
        fd_close(stage->control);
        fd_close(stage->listener);
        fd_close(stage->stream);
        fd_close(stage->backend);
        (void) unlink(stage->control_path);
        ASSERT_OK(rmdir(stage->folder));
}

static void stage_close(Stage *stage) {
        int status;

        ASSERT_OK(kill(stage->front, SIGTERM));
        ASSERT_EQ(waitpid(stage->front, &status, 0), stage->front);
        ASSERT_EQ(status, 0);
        stage_end(stage);
}

static int accept_one(int listener) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                TEST_FAIL("accept: %m");
        return with_timeout(fd);
}

static bool nobody_waits(int fd) {
        return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 0;
}

/* The waker's side: takes the call of Hold. */
static int waker_accept(Stage *stage) {
        int fd = accept_one(stage->control);
        char byte;

        do
                ASSERT_EQ(recv(fd, &byte, 1, 0), 1);
        while (byte != '\0');
        return fd;
}

static void waker_send(int fd, const char *message) {
        ASSERT_EQ(send(fd, message, strlen(message) + 1, MSG_NOSIGNAL), strlen(message) + 1);
}

/* A port of 0: no backend. */
static void waker_status(int fd, const char *state, uint16_t port) {
        char message[512], backend[32] = "";

        if (port > 0)
                snprintf(backend, sizeof(backend), "\"127.0.0.1:%u\"", port);
        snprintf(message, sizeof(message),
                 "{\"parameters\":{\"status\":{\"service\":\"demo\",\"state\":\"%s\",\"backends\":[%s]}},\"continues\":true}",
                 state, backend);
        waker_send(fd, message);
}

static void expect_end(int fd) {
        char byte;

        ASSERT_EQ(recv(fd, &byte, 1, 0), 0);
        fd_close(fd);
}

/* Connected: takes nothing that comes from another address. */
static int client_open(Stage *stage, const char *host) {
        Name name = name_of(host, port_of(stage->listener));
        int fd = with_timeout(socket(name.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));

        ASSERT_OK(connect(fd, &name.any, sizeof(name.in6)));
        return fd;
}

static void send_text(int fd, const char *text) {
        ASSERT_EQ(send(fd, text, strlen(text), 0), strlen(text));
}

static void expect_text(int fd, const char *text) {
        char buffer[256] = "";
        ssize_t n = recv(fd, buffer, sizeof(buffer) - 1, 0);

        if (n < 0)
                TEST_FAIL("instead of '%s': %m", text);
        ASSERT_STREQ(buffer, text);
}

/* Takes a datagram at the backend; `ret_peer` may be NULL. */
static void backend_expect(int fd, const char *text, Name *ret_peer) {
        char buffer[256] = "";
        Name peer;
        socklen_t size = sizeof(peer);
        ssize_t n = recvfrom(fd, buffer, sizeof(buffer) - 1, 0, &peer.any, &size);

        if (n < 0)
                TEST_FAIL("instead of '%s': %m", text);
        ASSERT_STREQ(buffer, text);
        if (ret_peer)
                *ret_peer = peer;
}

static void backend_reply(int fd, const Name *peer, const char *text) {
        ASSERT_EQ(sendto(fd, text, strlen(text), 0, &peer->any, sizeof(peer->in)), strlen(text));
}

static void expect_echo(Stage *stage, int client, const char *text) {
        Name peer;

        send_text(client, text);
        backend_expect(stage->backend, text, &peer);
        backend_reply(stage->backend, &peer, text);
        expect_text(client, text);
}

/* Until the front has taken all that was sent to its socket. None of it may be empty. */
static void wait_taken(Stage *stage) {
        int size;

        do {
                (void) sched_yield();
                ASSERT_OK(ioctl(stage->listener, FIONREAD, &size));
        } while (size > 0);
}

/* A client that is served from the start. */
static int serve_one(Stage *stage, const char *host, int *ret_waker) {
        int client = client_open(stage, host);
        Name peer;

        send_text(client, "first");
        *ret_waker = waker_accept(stage);
        waker_status(*ret_waker, "awake", port_of(stage->backend));
        backend_expect(stage->backend, "first", &peer);
        backend_reply(stage->backend, &peer, "reply");
        expect_text(client, "reply");
        return client;
}

static void test_holds_the_first_and_delivers_in_order(void) {
        Stage stage;
        int one, two, waker;
        Name peer_one, peer_two;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        one = client_open(&stage, "127.0.0.1");
        two = client_open(&stage, "127.0.0.1");
        send_text(one, "one-1");
        waker = waker_accept(&stage);
        waker_status(waker, "waking", 0);
        send_text(two, "two-1");
        send_text(one, "one-2");
        send_text(one, "one-3");
        wait_taken(&stage);
        ASSERT_TRUE(nobody_waits(stage.backend));

        waker_status(waker, "awake", port_of(stage.backend));
        backend_expect(stage.backend, "one-1", &peer_one);
        backend_expect(stage.backend, "two-1", &peer_two);
        backend_expect(stage.backend, "one-2", NULL);
        backend_expect(stage.backend, "one-3", NULL);
        ASSERT_TRUE(peer_one.in.sin_port != peer_two.in.sin_port);
        backend_reply(stage.backend, &peer_two, "for two");
        backend_reply(stage.backend, &peer_one, "for one");
        expect_text(one, "for one");
        expect_text(two, "for two");

        /* A flow goes on by the same way. */
        send_text(one, "one-4");
        backend_expect(stage.backend, "one-4", &peer_two);
        ASSERT_EQ(peer_one.in.sin_port, peer_two.in.sin_port);
        fd_close(one);
        fd_close(two);
        fd_close(waker);
        stage_close(&stage);
}

/* The clients are connected: their kernel drops what comes from elsewhere. */
static void test_replies_from_the_address_that_was_asked(const char *listen_host) {
        static const char *const hosts[] = { "127.0.0.1", "127.0.0.2", "127.1.2.3", "::1" };
        Stage stage;
        int waker, first;

        stage_open(&stage, listen_host);
        stage_start(&stage, 0, NULL);
        first = serve_one(&stage, "127.0.0.2", &waker);
        for (size_t i = 0; i < ELEMENTSOF(hosts); i++) {
                int client;

                if (strchr(hosts[i], ':') && !strchr(listen_host, ':'))
                        continue;
                client = client_open(&stage, hosts[i]);
                expect_echo(&stage, client, hosts[i]);
                fd_close(client);
        }
        fd_close(first);
        fd_close(waker);
        stage_close(&stage);
}

/* One socket of a client that talks to two addresses of ours is two flows. */
static void test_a_flow_is_a_pair_of_addresses(void) {
        Stage stage;
        Name to, from, peer, second = {};
        int waker, first, client;
        socklen_t size = sizeof(from);
        char buffer[16];

        stage_open(&stage, "0.0.0.0");
        stage_start(&stage, 0, NULL);
        first = serve_one(&stage, "127.0.0.1", &waker);
        client = bound_socket("127.0.0.1", 0, SOCK_DGRAM);
        for (const char *host = "127.0.0.2"; host; host = streq(host, "127.0.0.2") ? "127.0.0.3" : NULL) {
                to = name_of(host, port_of(stage.listener));
                ASSERT_EQ(sendto(client, "ask", 3, 0, &to.any, sizeof(to.in)), 3);
                backend_expect(stage.backend, "ask", &peer);
                ASSERT_TRUE(peer.in.sin_port != second.in.sin_port);
                second = peer;
                backend_reply(stage.backend, &peer, "tell");
                ASSERT_EQ(recvfrom(client, buffer, sizeof(buffer), 0, &from.any, &size), 4);
                ASSERT_EQ(from.in.sin_addr.s_addr, to.in.sin_addr.s_addr);
                ASSERT_EQ(from.in.sin_port, to.in.sin_port);
        }
        fd_close(client);
        fd_close(first);
        fd_close(waker);
        stage_close(&stage);
}

static void test_empty_and_largest_datagrams(void) {
        _cleanup_free_ uint8_t *data = malloc(DATAGRAM_MAX), *buffer = malloc(DATAGRAM_MAX + 1);
        Stage stage;
        Name peer;
        socklen_t size = sizeof(peer);
        int waker, client;

        for (size_t i = 0; i < DATAGRAM_MAX; i++)
                data[i] = (uint8_t) (i * 7 + i / 256);
        stage_open(&stage, "::");
        stage_start(&stage, 0, NULL);
        client = client_open(&stage, "127.0.0.1");
        ASSERT_EQ(send(client, NULL, 0, 0), 0);
        waker = waker_accept(&stage);
        ASSERT_EQ(send(client, data, DATAGRAM_MAX, 0), DATAGRAM_MAX);
        wait_taken(&stage);
        waker_status(waker, "awake", port_of(stage.backend));

        for (unsigned i = 0; i < 3; i++) {
                size = sizeof(peer);
                ASSERT_EQ(recvfrom(stage.backend, buffer, DATAGRAM_MAX + 1, 0, &peer.any, &size), 0);
                ASSERT_EQ(recvfrom(stage.backend, buffer, DATAGRAM_MAX + 1, 0, &peer.any, &size), DATAGRAM_MAX);
                ASSERT_EQ(memcmp(data, buffer, DATAGRAM_MAX), 0);
                ASSERT_EQ(sendto(stage.backend, data, DATAGRAM_MAX, 0, &peer.any, size), DATAGRAM_MAX);
                ASSERT_EQ(sendto(stage.backend, NULL, 0, 0, &peer.any, size), 0);
                memset(buffer, 0, DATAGRAM_MAX);
                ASSERT_EQ(recv(client, buffer, DATAGRAM_MAX + 1, 0), DATAGRAM_MAX);
                ASSERT_EQ(memcmp(data, buffer, DATAGRAM_MAX), 0);
                ASSERT_EQ(recv(client, buffer, DATAGRAM_MAX + 1, 0), 0);
                ASSERT_EQ(send(client, NULL, 0, 0), 0);
                ASSERT_EQ(send(client, data, DATAGRAM_MAX, 0), DATAGRAM_MAX);
        }
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

/* Nobody whose kernel chooses a port gets this one while it is free. */
static int reserve(uint16_t port) {
        return bound_socket("127.0.0.2", port, SOCK_DGRAM);
}

/* The first refusals come before the backend is there: nothing of what was held is lost, or comes twice. */
static void test_waits_for_a_backend_that_refuses(void) {
        Stage stage;
        char text[16];
        uint16_t port;
        int waker, client, reserved;

        stage_open(&stage, "127.0.0.1");
        port = port_of(stage.backend);
        reserved = reserve(port);
        fd_close(stage.backend);
        stage_start(&stage, 0, NULL);
        client = client_open(&stage, "127.0.0.1");
        send_text(client, "0");
        waker = waker_accept(&stage);
        waker_status(waker, "awake", port);
        for (unsigned i = 1; i < 20; i++) {
                snprintf(text, sizeof(text), "%u", i);
                send_text(client, text);
        }
        wait_taken(&stage);

        stage.backend = bound_socket("127.0.0.1", port, SOCK_DGRAM);
        for (unsigned i = 0; i < 20; i++) {
                snprintf(text, sizeof(text), "%u", i);
                backend_expect(stage.backend, text, NULL);
        }
        expect_echo(&stage, client, "20");
        fd_close(reserved);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

/* A backend that is started again on its port: flows go on. */
static void test_a_backend_that_comes_back(void) {
        Stage stage;
        uint16_t port;
        int waker, client, reserved;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, "127.0.0.1", &waker);
        port = port_of(stage.backend);
        reserved = reserve(port);
        fd_close(stage.backend);
        send_text(client, "lost"); /* as it would be without a front */
        wait_taken(&stage);
        send_text(client, "kept");
        wait_taken(&stage);
        stage.backend = bound_socket("127.0.0.1", port, SOCK_DGRAM);
        backend_expect(stage.backend, "kept", NULL);
        expect_echo(&stage, client, "more");
        fd_close(reserved);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_keeps_the_newest_when_too_many_wait(void) {
        Stage stage;
        char text[16];
        int waker, client;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        client = client_open(&stage, "127.0.0.1");
        for (unsigned i = 0; i < 3 * HELD_MAX; i++) {
                snprintf(text, sizeof(text), "%u", i);
                send_text(client, text);
        }
        waker = waker_accept(&stage);
        wait_taken(&stage);
        waker_status(waker, "awake", port_of(stage.backend));
        for (unsigned i = 2 * HELD_MAX; i < 3 * HELD_MAX; i++) {
                snprintf(text, sizeof(text), "%u", i);
                backend_expect(stage.backend, text, NULL);
        }
        expect_echo(&stage, client, "next");
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_a_flow_holds_the_stack_awake_until_it_times_out(void) {
        Stage stage;
        int waker, client;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, "--udp-timeout=100ms");
        client = serve_one(&stage, "127.0.0.1", &waker);
        expect_end(waker);

        /* It is a new one then. */
        send_text(client, "again");
        waker = waker_accept(&stage);
        waker_status(waker, "awake", port_of(stage.backend));
        backend_expect(stage.backend, "again", NULL);
        fd_close(client);
        expect_end(waker);
        stage_close(&stage);
}

/* However long that takes. */
static void test_does_not_time_out_while_the_stack_wakes(void) {
        Stage stage;
        int waker, first, second;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, "--udp-timeout=400ms");
        first = client_open(&stage, "127.0.0.1");
        second = client_open(&stage, "127.0.0.1");
        send_text(first, "first");
        waker = waker_accept(&stage);
        send_text(second, "second");
        wait_taken(&stage);
        ASSERT_EQ(poll(NULL, 0, 1000), 0);
        ASSERT_TRUE(nobody_waits(waker));
        waker_status(waker, "awake", port_of(stage.backend));
        backend_expect(stage.backend, "first", NULL);
        backend_expect(stage.backend, "second", NULL);
        fd_close(first);
        fd_close(second);
        fd_close(waker);
        stage_close(&stage);
}

static void test_a_failed_wake_drops_what_waited(void) {
        Stage stage;
        int waker, client;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        client = client_open(&stage, "127.0.0.1");
        send_text(client, "in vain");
        waker = waker_accept(&stage);
        waker_send(waker, "{\"error\":\"io.wakechain.WakeFailed\",\"parameters\":{\"reason\":\"start_failed\"}}");
        expect_end(waker);

        send_text(client, "once more");
        waker = waker_accept(&stage);
        waker_status(waker, "awake", port_of(stage.backend));
        backend_expect(stage.backend, "once more", NULL);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_who_goes_on_after_a_stop_is_a_new_client(void) {
        Stage stage;
        int waker, client;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, "127.0.0.1", &waker);
        waker_status(waker, "stopping", 0);
        waker_send(waker, "{\"error\":\"io.wakechain.Stopping\",\"parameters\":{}}");
        expect_end(waker);
        ASSERT_TRUE(nobody_waits(stage.control));

        send_text(client, "hello?");
        waker = waker_accept(&stage);
        waker_status(waker, "awake", port_of(stage.backend));
        backend_expect(stage.backend, "hello?", NULL);
        expect_echo(&stage, client, "hello!");
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_follows_a_backend_that_moves(void) {
        Stage stage;
        int waker, client, moved;
        Name peer;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, "127.0.0.1", &waker);
        moved = bound_socket("127.0.0.1", 0, SOCK_DGRAM);
        waker_status(waker, "waking", 0);
        waker_status(waker, "awake", port_of(moved));
        /* Either side of the change is fine; a datagram that comes after the first reply from there goes there. */
        for (unsigned n = 0; n == 0;) {
                struct pollfd entries[] = { { .fd = moved, .events = POLLIN },
                                            { .fd = stage.backend, .events = POLLIN } };

                send_text(client, "where?");
                ASSERT_TRUE(poll(entries, 2, RECEIVE_SEC * 1000) > 0);
                n = entries[0].revents & POLLIN;
                if (entries[1].revents & POLLIN)
                        backend_expect(stage.backend, "where?", NULL);
        }
        backend_expect(moved, "where?", &peer);
        backend_reply(moved, &peer, "here");
        expect_text(client, "here");
        fd_close(moved);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

/* A backend that is the front's own address is a mistake of the configuration: no datagram shall go round for ever. */
static void test_does_not_send_to_itself(void) {
        Stage stage;
        char text[16];
        int waker, client;

        stage_open(&stage, "0.0.0.0");
        stage_start(&stage, 0, NULL);
        client = client_open(&stage, "127.0.0.1");
        send_text(client, "round");
        waker = waker_accept(&stage);
        waker_status(waker, "awake", port_of(stage.listener));
        send_text(client, "and round");
        wait_taken(&stage);

        waker_status(waker, "waking", 0);
        waker_status(waker, "awake", port_of(stage.backend));
        /* One that comes before the status is read goes to itself yet, and is lost. */
        do
                send_text(client, "straight");
        while (poll(&(struct pollfd){ .fd = stage.backend, .events = POLLIN }, 1, 20) == 0);
        do {
                memset(text, 0, sizeof(text));
                ASSERT_TRUE(recv(stage.backend, text, sizeof(text) - 1, 0) > 0);
        } while (!streq(text, "straight"));
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

/* More clients than there are descriptors: each is served, the oldest lose their flow and get a new one. */
static void test_ends_the_idlest_flow_when_there_are_too_many(void) {
        int clients[100], waker;
        Stage stage;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 80, NULL);
        clients[0] = serve_one(&stage, "127.0.0.1", &waker);
        for (size_t i = 1; i < ELEMENTSOF(clients); i++) {
                clients[i] = client_open(&stage, "127.0.0.1");
                expect_echo(&stage, clients[i], "hello");
        }
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                expect_echo(&stage, clients[i], "again");
                fd_close(clients[i]);
        }
        fd_close(waker);
        stage_close(&stage);
}

static void test_stands_beside_a_stream_socket(void) {
        Stage stage;
        Name name;
        int waker, datagrams, stream, backend, listening;

        stage_open(&stage, "127.0.0.1");
        stage.stream = bound_socket("127.0.0.1", 0, SOCK_STREAM);
        ASSERT_OK(listen(stage.stream, 16));
        /* One port for both. What is free for one need not be for the other. */
        while ((listening = try_bound_socket("127.0.0.1", port_of(stage.backend), SOCK_STREAM)) < 0) {
                int other = bound_socket("127.0.0.1", 0, SOCK_DGRAM);

                fd_close(stage.backend);
                stage.backend = other;
        }
        ASSERT_OK(listen(listening, 16));
        stage_start(&stage, 0, "--udp-timeout=100ms");
        datagrams = serve_one(&stage, "127.0.0.1", &waker);

        name = name_of("127.0.0.1", port_of(stage.stream));
        stream = with_timeout(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_OK(connect(stream, &name.any, sizeof(name.in)));
        backend = accept_one(listening);
        send_text(stream, "stream");
        expect_text(backend, "stream");

        fd_close(datagrams);
        fd_close(stream);
        fd_close(backend);
        expect_end(waker);
        fd_close(listening);
        stage_close(&stage);
}

/* Many at a time, numbered: none is lost, doubled or out of order. */
static void test_many_clients_lose_nothing(void) {
        enum { CLIENTS = 20, ROUNDS = 500 };
        struct pollfd entries[CLIENTS + 1];
        unsigned next[CLIENTS] = {}, done = 0;
        Stage stage;
        int waker;

        stage_open(&stage, "0.0.0.0");
        stage_start(&stage, 0, NULL);
        fd_close(serve_one(&stage, "127.0.0.1", &waker));
        for (size_t i = 0; i < CLIENTS; i++) {
                entries[i] = (struct pollfd){ client_open(&stage, i % 2 ? "127.0.0.1" : "127.0.0.2"), POLLIN, 0 };
                ASSERT_EQ(send(entries[i].fd, &next[i], sizeof(next[i]), 0), sizeof(next[i]));
        }
        entries[CLIENTS] = (struct pollfd){ stage.backend, POLLIN, 0 };
        while (done < CLIENTS) {
                unsigned number;

                ASSERT_TRUE(poll(entries, CLIENTS + 1, RECEIVE_SEC * 1000) > 0);
                if (entries[CLIENTS].revents) {
                        Name peer;
                        socklen_t size = sizeof(peer);

                        ASSERT_EQ(recvfrom(stage.backend, &number, sizeof(number), 0, &peer.any, &size),
                                  sizeof(number));
                        ASSERT_EQ(sendto(stage.backend, &number, sizeof(number), 0, &peer.any, size),
                                  sizeof(number));
                }
                for (size_t i = 0; i < CLIENTS; i++) {
                        if (!entries[i].revents)
                                continue;
                        ASSERT_EQ(recv(entries[i].fd, &number, sizeof(number), 0), sizeof(number));
                        ASSERT_EQ(number, next[i]);
                        if (++next[i] == ROUNDS)
                                done++;
                        else
                                ASSERT_EQ(send(entries[i].fd, &next[i], sizeof(next[i]), 0), sizeof(next[i]));
                }
        }
        for (size_t i = 0; i < CLIENTS; i++) {
                ASSERT_TRUE(nobody_waits(entries[i].fd));
                fd_close(entries[i].fd);
        }
        fd_close(waker);
        stage_close(&stage);
}

/* Who is served goes on, nobody new is taken; it ends with the last flow. */
static void test_drains(void) {
        int waker, client, other, status;
        Stage stage;

        stage_open(&stage, "127.0.0.1");
        stage_start(&stage, 0, "--drain-timeout=1h");
        client = serve_one(&stage, "127.0.0.1", &waker);
        other = client_open(&stage, "127.0.0.1");
        ASSERT_OK(kill(stage.front, SIGTERM));
        /* The signal is taken before what is sent after it, or as soon as there is nothing to pass on. */
        for (int i = 0; i < 10; i++)
                expect_echo(&stage, client, "still here");
        send_text(other, "too late");
        expect_echo(&stage, client, "and still");
        ASSERT_TRUE(nobody_waits(stage.backend));

        ASSERT_EQ(waitpid(stage.front, &status, 0), stage.front);
        ASSERT_EQ(status, 0);
        fd_close(client);
        fd_close(other);
        fd_close(waker);
        stage_end(&stage);
}

/* A server that has just come up has opened its port and does not read yet, or reads slowly: its receive buffer takes some hundreds. */
static void test_a_server_that_reads_late_gets_all(void) {
        enum { CLIENTS = 1000, NEWEST = 600 };
        static int clients[CLIENTS];
        int waker, first, size = 100 * 1024;
        size_t n_answered = 0;
        struct rlimit limit;
        Stage stage;

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_max < 5 * CLIENTS) {
                printf("no more than %ju descriptors are allowed here\n", (uintmax_t) limit.rlim_max);
                return;
        }

        stage_open(&stage, "127.0.0.1");
        ASSERT_OK(setsockopt(stage.backend, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
        stage_start(&stage, 0, NULL);
        first = client_open(&stage, "127.0.0.1");
        send_text(first, "first");
        waker = waker_accept(&stage);
        waker_status(waker, "waking", 0);
        for (size_t i = 0; i < CLIENTS; i++) {
                clients[i] = client_open(&stage, "127.0.0.1");
                send_text(clients[i], "hello");
                wait_taken(&stage);
        }
        waker_status(waker, "awake", port_of(stage.backend));
        (void) usleep(100000);

        for (size_t i = CLIENTS - NEWEST; i < CLIENTS;) {
                char buffer[16];
                Name peer;
                socklen_t length = sizeof(peer);
                ssize_t n = recvfrom(stage.backend, buffer, sizeof(buffer), MSG_DONTWAIT, &peer.any, &length);

                if (n > 0) {
                        ASSERT_EQ(sendto(stage.backend, buffer, (size_t) n, 0, &peer.any, length), n);
                        n_answered++;
                        (void) usleep(50);
                } else if (recv(clients[i], buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
                        i++;
                else if (poll(&(struct pollfd){ .fd = stage.backend, .events = POLLIN }, 1, 5000) == 0)
                        TEST_FAIL("the datagram of client %zu is lost, %zu came", i, n_answered);
        }
        for (size_t i = 0; i < CLIENTS; i++)
                fd_close(clients[i]);
        fd_close(first);
        fd_close(waker);
        stage_close(&stage);
}

int main(int argc, char *argv[]) {
        ASSERT_EQ(argc, 2);
        arg_program = argv[1];

        test_holds_the_first_and_delivers_in_order();
        test_replies_from_the_address_that_was_asked("0.0.0.0");
        test_replies_from_the_address_that_was_asked("::");
        test_a_flow_is_a_pair_of_addresses();
        test_empty_and_largest_datagrams();
        test_waits_for_a_backend_that_refuses();
        test_a_backend_that_comes_back();
        test_keeps_the_newest_when_too_many_wait();
        test_a_flow_holds_the_stack_awake_until_it_times_out();
        test_does_not_time_out_while_the_stack_wakes();
        test_a_failed_wake_drops_what_waited();
        test_who_goes_on_after_a_stop_is_a_new_client();
        test_follows_a_backend_that_moves();
        test_does_not_send_to_itself();
        test_ends_the_idlest_flow_when_there_are_too_many();
        test_stands_beside_a_stream_socket();
        test_many_clients_lose_nothing();
        test_a_server_that_reads_late_gets_all();
        test_drains();
        return EXIT_SUCCESS;
}
