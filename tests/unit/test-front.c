#include <arpa/inet.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front-stage.h"
#include "util/fd.h"

/* The front and its clients: held, forwarded, answered. Who sees a page: test-front-page.c. */

#define BULK_SIZE ((size_t) 8 * 1024 * 1024)

static void test_holds_until_awake_then_forwards(bool is_unix) {
        Stage stage;
        int client, second, waker, backend;

        stage_open(&stage, is_unix, true);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        waker = waker_accept(&stage); /* before its first byte */
        send_text(client, "early");
        waker_status(waker, "waking", NULL);
        second = client_connect(&stage);
        ASSERT_TRUE(nobody_waits(stage.backend));

        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, "early");
        send_text(backend, "reply");
        expect_text(client, "reply");
        fd_close(client);
        expect_end(backend);
        fd_close(backend);

        backend = accept_one(stage.backend);
        expect_echo(second, backend);
        fd_close(backend);
        expect_end(second);
        fd_close(second);

        /* One that comes while awake. */
        client = client_connect(&stage);
        backend = accept_one(stage.backend);
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);

        /* The Hold ends when all have gone. */
        expect_end(waker);
        fd_close(waker);
        ASSERT_TRUE(nobody_waits(stage.control));
        stage_close(&stage);
}

static uint64_t random_next(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        return *state ^= *state << 17;
}

/* Byte `i` of the stream `seed`: cheap, and no byte can be missed or doubled unseen. */
static uint8_t stream_byte(uint64_t seed, size_t i) {
        return (uint8_t) ((seed + i) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* Sends and receives at once, in pieces of random size; both streams are of BULK_SIZE bytes and end there. */
static void bulk(int fd, uint64_t send_seed, uint64_t receive_seed, bool slow) {
        _cleanup_free_ uint8_t *buffer = malloc(300000);
        uint64_t random = send_seed + 77;
        size_t sent = 0, received = 0;
        bool ended = false;

        ASSERT_TRUE(buffer);
        while (!ended || sent < BULK_SIZE) {
                struct pollfd entry = { .fd = fd,
                                        .events = (ended ? 0 : POLLIN) | (sent < BULK_SIZE ? POLLOUT : 0) };
                size_t size = 1 + random_next(&random) % (random & 256 ? 300000 : 700);
                ssize_t n;

                ASSERT_TRUE(poll(&entry, 1, RECEIVE_SEC * 1000) > 0);
                if (entry.revents & POLLOUT) {
                        size = MIN(size, BULK_SIZE - sent);
                        for (size_t i = 0; i < size; i++)
                                buffer[i] = stream_byte(send_seed, sent + i);
                        n = send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                        ASSERT_TRUE(n > 0 || errno == EAGAIN);
                        sent += (size_t) MAX(n, 0);
                        if (sent == BULK_SIZE)
                                ASSERT_OK(shutdown(fd, SHUT_WR));
                }
                if (entry.revents & (POLLIN | POLLHUP) && !ended) {
                        n = recv(fd, buffer, slow ? MIN(size, 5000U) : size, MSG_DONTWAIT);
                        ASSERT_TRUE(n >= 0);
                        for (ssize_t i = 0; i < n; i++)
                                ASSERT_EQ(buffer[i], stream_byte(receive_seed, received + (size_t) i));
                        received += (size_t) n;
                        ended = n == 0;
                }
        }
        ASSERT_EQ(received, BULK_SIZE);
}

static void test_every_byte_arrives_both_ways(bool is_unix) {
        Stage stage;
        int client, waker, backend, status;
        pid_t child;

        stage_open(&stage, is_unix, true);
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, &waker, &backend);

        child = fork();
        ASSERT_TRUE(child >= 0);
        if (child == 0) {
                bulk(backend, 1, 2, false);
                _exit(0);
        }
        bulk(client, 2, 1, true);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static void test_half_close_is_kept(bool is_unix) {
        Stage stage;
        int client, waker, backend;

        stage_open(&stage, is_unix, true);
        stage_start(&stage, 0, NULL);

        /* As `printf … | nc -N` does, while held. */
        client = client_connect(&stage);
        send_text(client, "request");
        ASSERT_OK(shutdown(client, SHUT_WR));
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, "request");
        expect_end(backend);
        send_text(backend, "a late reply");
        expect_text(client, "a late reply");
        fd_close(backend);
        expect_end(client);
        fd_close(client);

        /* The backend ends first. */
        client = client_connect(&stage);
        backend = accept_one(stage.backend);
        send_text(backend, "banner");
        ASSERT_OK(shutdown(backend, SHUT_WR));
        expect_text(client, "banner");
        expect_end(client);
        send_text(client, "still talking");
        expect_text(backend, "still talking");
        fd_close(client);
        expect_end(backend);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static void test_reset_is_passed_on(void) {
        Stage stage;
        int client, waker, backend;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, &waker, &backend);
        reset(client);
        expect_reset(backend);
        fd_close(backend);

        client = client_connect(&stage);
        backend = accept_one(stage.backend);
        expect_echo(client, backend);
        send_text(backend, "last words");
        reset(backend);
        expect_text(client, "last words");
        expect_reset(client);
        fd_close(client);

        /* A backend that answers without reading all of the request. */
        client = client_connect(&stage);
        backend = accept_one(stage.backend);
        send_text(client, "POST");
        expect_text(backend, "POST");
        send_text(client, "unread");
        send_text(backend, "413");
        (void) recv(backend, (char[8]){}, 6, MSG_PEEK | MSG_WAITALL);
        fd_close(backend);
        expect_text(client, "413");
        expect_reset(client);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_failed_wake_is_answered(void) {
        Stage stage;
        int get, head, upload, silent, tls, waker, again;
        char body[100000] = "POST / HTTP/1.1\r\n\r\n";

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        get = client_connect(&stage);
        send_text(get, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        head = client_connect(&stage);
        send_text(head, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        upload = client_connect(&stage);
        send_all(upload, body, sizeof(body));
        silent = client_connect(&stage);
        tls = client_connect(&stage);
        send_all(tls, "\x16\x03\x01\x02\x00\x01", 6);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "failed", NULL);
        waker_fail(waker);
        expect_end(waker);
        fd_close(waker);

        expect_503(get, true);
        expect_503(head, false);
        expect_503(upload, true);
        expect_reset(tls);
        expect_reset(silent);

        /* The next one tries again, at once. */
        again = client_connect(&stage);
        waker = waker_accept(&stage);
        fd_close(waker);
        fd_close(get);
        fd_close(head);
        fd_close(upload);
        fd_close(silent);
        fd_close(tls);
        fd_close(again);
        stage_close(&stage);
}

static void test_failures_in_a_row_pause(void) {
        Stage stage;
        int client, waker, backend;

        stage_open(&stage, false, true);
        /* A front that would end while nobody is there, were it not for the pause. */
        stage_start(&stage, 0, "--exit-idle-time=20s");
        for (int i = 0; i < 6; i++) {
                client = client_connect(&stage);
                send_text(client, "GET / HTTP/1.0\r\n\r\n");
                /* Answered in a pause, until the pause is over: then there is a Hold again. */
                while (poll((struct pollfd[]){ { .fd = client, .events = POLLIN },
                                               { .fd = stage.control, .events = POLLIN } },
                            2, RECEIVE_SEC * 1000) > 0 &&
                       nobody_waits(stage.control)) {
                        expect_503(client, true);
                        fd_close(client);
                        client = client_connect(&stage);
                        send_text(client, "GET / HTTP/1.0\r\n\r\n");
                }
                waker = waker_accept(&stage);
                waker_fail(waker);
                fd_close(waker);
                expect_503(client, true);
                fd_close(client);
        }

        /* Right after a failure in a row: at once, and without a Hold. */
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.0\r\n\r\n");
        expect_503(client, true);
        fd_close(client);
        ASSERT_TRUE(nobody_waits(stage.control));
        client = -EBADF;

        /* A success forgets. */
        do {
                fd_close(client);
                client = client_connect(&stage);
                send_text(client, "GET / HTTP/1.0\r\n\r\n");
                ASSERT_TRUE(poll((struct pollfd[]){ { .fd = client, .events = POLLIN },
                                                    { .fd = stage.control, .events = POLLIN } },
                                 2, RECEIVE_SEC * 1000) > 0);
        } while (nobody_waits(stage.control));
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, "GET / HTTP/1.0\r\n\r\n");
        fd_close(backend);
        fd_close(client);
        expect_end(waker);
        fd_close(waker);
        for (int i = 0; i < 2; i++) {
                client = client_connect(&stage);
                send_text(client, "GET / HTTP/1.0\r\n\r\n");
                waker = waker_accept(&stage);
                waker_fail(waker);
                fd_close(waker);
                expect_503(client, true);
                fd_close(client);
        }
        stage_close(&stage);
}

static void test_no_waker_is_a_failed_wake(void) {
        Stage stage;
        int client;

        stage_open(&stage, false, true);
        ASSERT_OK(unlink(stage.control_path));
        stage_start(&stage, 0, "--pause-max=0");
        for (int i = 0; i < 50; i++) {
                client = client_connect(&stage);
                send_text(client, "GET / HTTP/1.1\r\n\r\n");
                expect_503(client, true);
                fd_close(client);
        }
        stage_close(&stage);
}

static void test_backend_that_is_late(void) {
        char both[256];
        Stage stage;
        int client, waker, backend, refusing = tcp_socket(false);

        stage_open(&stage, false, false);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        snprintf(both, sizeof(both), "127.0.0.1:%u\",\"%s", port_of(refusing), stage.backend_address);
        waker_status(waker, "awake", both);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = client, .events = POLLIN }, 1, 50), 0);
        ASSERT_OK(listen(stage.backend, 10));
        backend = accept_one(stage.backend);
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);

        /* Other backends while connecting: used at once. */
        waker_status(waker, "waking", NULL);
        client = client_connect(&stage);
        snprintf(both, sizeof(both), "127.0.0.1:%u", port_of(refusing));
        waker_status(waker, "awake", both);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);
        fd_close(refusing);
        fd_close(waker);
        stage_close(&stage);
}

static void test_client_that_gives_up(void) {
        Stage stage;
        int client, gone, waker, backend;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        gone = client_connect(&stage);
        waker = waker_accept(&stage);
        client = client_connect(&stage);
        waker_status(waker, "waking", NULL);
        reset(gone);
        waker_status(waker, "awake", stage.backend_address);
        /* The reset one may or may not have been seen before the status; the other one is served in any case. */
        send_text(client, "x");
        for (;;) {
                char byte = 0;

                backend = accept_one(stage.backend);
                if (recv(backend, &byte, 1, 0) == 1 && byte == 'x')
                        break;
                fd_close(backend);
        }
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static void test_five_hundred_at_once(void) {
        enum { N = 500 };
        Stage stage;
        static int clients[N], backends[N];
        static bool seen[N];
        int waker;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        for (int i = 0; i < N; i++) {
                clients[i] = client_connect(&stage);
                send_all(clients[i], &i, sizeof(i));
        }
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        for (int i = 0; i < N; i++) {
                int n = -1;

                backends[i] = accept_one(stage.backend);
                ASSERT_EQ(recv(backends[i], &n, sizeof(n), MSG_WAITALL), sizeof(n));
                ASSERT_TRUE(n >= 0 && n < N && !seen[n]);
                seen[n] = true;
                send_all(backends[i], &n, sizeof(n));
        }
        for (int i = 0; i < N; i++) {
                int n = -1;

                ASSERT_EQ(recv(clients[i], &n, sizeof(n), MSG_WAITALL), sizeof(n));
                ASSERT_EQ(n, i);
        }
        ASSERT_TRUE(nobody_waits(stage.control));
        for (int i = 0; i < N; i++) {
                fd_close(clients[i]);
                fd_close(backends[i]);
        }
        fd_close(waker);
        stage_close(&stage);
}

static void test_waker_that_crashes(void) {
        Stage stage;
        int client, held, waker, backend;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);

        /* While waking: the client goes on waiting. */
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        fd_close(waker);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_echo(client, backend);

        /* While awake: forwarding goes on, and the stack is held again. */
        fd_close(waker);
        expect_echo(client, backend);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        held = client_connect(&stage);
        expect_echo(client, backend);
        waker_status(waker, "awake", stage.backend_address);
        fd_close(client);
        expect_end(backend);
        fd_close(backend);
        backend = accept_one(stage.backend);
        expect_echo(held, backend);

        /* Again and again: given up, and those that are forwarded stay. */
        fd_close(waker);
        waker = waker_accept(&stage);
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.1\r\n\r\n");
        for (int i = 0; i < 4; i++) {
                fd_close(waker);
                waker = waker_accept(&stage);
        }
        fd_close(waker);
        expect_503(client, true);
        fd_close(client);
        expect_echo(held, backend);
        fd_close(held);
        fd_close(backend);
        stage_close(&stage);
}

static void test_stop_sticks_until_a_new_client(void) {
        static const char stopping[] = "{\"error\":\"io.wakechain.Stopping\"}";
        Stage stage;
        int old, client, late, waker, backend, backend2;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        old = serve_one(&stage, &waker, &backend);
        waker_status(waker, "stopping", NULL);
        waker_status(waker, "asleep", NULL);
        fd_close(waker);
        expect_echo(old, backend);
        ASSERT_TRUE(nobody_waits(stage.control));

        /* A new client wakes; this Hold comes upon a waker that is still going: the client waits for the next
         * one. */
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "stopping", NULL);
        late = client_connect(&stage);
        waker_status(waker, "asleep", NULL);
        fd_close(waker);
        waker = waker_accept(&stage);
        send_all(waker, stopping, sizeof(stopping));
        fd_close(waker);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        backend2 = accept_one(stage.backend);
        expect_echo(client, backend2);
        fd_close(client);
        fd_close(backend2);
        backend2 = accept_one(stage.backend);
        expect_echo(late, backend2);
        fd_close(late);
        fd_close(backend2);
        expect_echo(old, backend);
        fd_close(old);
        fd_close(backend);
        expect_end(waker);
        fd_close(waker);

        /* Stopped while waking: who waited is told. */
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.1\r\n\r\n");
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "stopping", NULL);
        expect_503(client, true);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void few_descriptors(int n_strays) {
        enum { N = 60 };
        Stage stage;
        int clients[N], waker;

        stage_open(&stage, false, true);
        stage.n_strays = n_strays;
        stage_start(&stage, 64, NULL);
        for (uint8_t i = 0; i < N; i++) {
                clients[i] = client_connect(&stage);
                send_all(clients[i], &i, 1);
        }
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        /* As each one ends another one gets in, until all have been served. */
        for (int n = 0; n < N; n++) {
                int backend = accept_one(stage.backend);
                uint8_t i;

                ASSERT_EQ(recv(backend, &i, 1, 0), 1);
                ASSERT_TRUE(i < N);
                expect_echo(clients[i], backend);
                fd_close(backend);
                expect_end(clients[i]);
                fd_close(clients[i]);
        }
        ASSERT_TRUE(nobody_waits(stage.control));
        fd_close(waker);
        stage_close(&stage);
}

static void test_few_descriptors_pause_accepting(void) {
        few_descriptors(0);
        few_descriptors(20);
}

/* From now on the front may have `more` descriptors than it has. */
static void limit_front(Stage *stage, int more) {
        char path[64];
        int highest = 0;

        /* New ones get the lowest number that is free, and the limit is one of numbers. */
        for (int fd = 0; fd < 1024; fd++) {
                snprintf(path, sizeof(path), "/proc/%d/fd/%d", stage->front, fd);
                if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                        highest = fd;
        }
        ASSERT_OK(prlimit(stage->front, RLIMIT_NOFILE,
                          &(struct rlimit){ (rlim_t) (highest + 1 + more), (rlim_t) (highest + 1 + more) }, NULL));
}

/* The kernel says that there are none: to accept4(), to socket(), and to pipe2(). */
static void test_descriptors_run_out(void) {
        Stage stage;
        int first, second, late, last, waker, backends[2], backend, status;
        pid_t child;

        stage_open(&stage, false, true);
        stage_start(&stage, 512, NULL);
        first = serve_one(&stage, &waker, &backends[0]);
        second = client_connect(&stage);
        backends[1] = accept_one(stage.backend);
        expect_echo(second, backends[1]);

        /* One for the client, none for its backend. */
        limit_front(&stage, 1);
        late = client_connect(&stage);
        send_text(late, "late");
        last = client_connect(&stage);
        send_text(last, "last");
        ASSERT_EQ(poll(&(struct pollfd){ .fd = late, .events = POLLIN }, 1, 50), 0);
        ASSERT_TRUE(nobody_waits(stage.backend));
        expect_echo(second, backends[1]);

        fd_close(first);
        expect_end(backends[0]);
        fd_close(backends[0]);
        backend = accept_one(stage.backend);
        expect_text(backend, "late");
        expect_echo(late, backend);

        /* No pipe. */
        limit_front(&stage, 0);
        child = fork();
        ASSERT_TRUE(child >= 0);
        if (child == 0) {
                bulk(backend, 1, 2, false);
                _exit(0);
        }
        bulk(late, 2, 1, true);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
        fd_close(backend);
        fd_close(late);
        fd_close(second);
        fd_close(backends[1]);

        backend = accept_one(stage.backend);
        expect_text(backend, "last");
        expect_echo(last, backend);
        fd_close(last);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

/* As many as two descriptors for each allow. */
static void test_nine_thousand_at_once(void) {
        static int clients[9000], backends[9000];
        struct rlimit limit, all;
        Stage stage;
        int waker, n;

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        all = (struct rlimit){ MIN(limit.rlim_max, 20000U), limit.rlim_max };
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &all));
        n = (int) MIN((rlim_t) ELEMENTSOF(clients), (all.rlim_cur - 400) / 2);

        stage_open(&stage, false, true);
        stage_start(&stage, all.rlim_cur, NULL);
        clients[0] = serve_one(&stage, &waker, &backends[0]);
        for (int i = 1; i < n; i++) {
                clients[i] = client_connect(&stage);
                backends[i] = accept_one(stage.backend);
        }
        for (int i = 0; i < n; i++)
                expect_echo(clients[i], backends[i]);
        for (int i = 0; i < n; i++) {
                fd_close(clients[i]);
                expect_end(backends[i]);
                fd_close(backends[i]);
        }
        fd_close(waker);
        stage_close(&stage);
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
}

/* A backend that dies: the waker says that the stack comes back, and then where it is. */
static void test_backend_that_is_replaced(void) {
        Stage stage;
        char replaced[64];
        int forwarded, refused, held, waker, old, backend, replacement = tcp_socket(true);

        snprintf(replaced, sizeof(replaced), "127.0.0.1:%u", port_of(replacement));
        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        forwarded = serve_one(&stage, &waker, &old);

        /* Nobody listens any more, and nobody has noticed. */
        stage.backend = fd_close(stage.backend);
        refused = client_connect(&stage);
        send_text(refused, "first");
        ASSERT_EQ(poll(&(struct pollfd){ .fd = refused, .events = POLLIN }, 1, 50), 0);

        waker_status(waker, "waking", NULL);
        held = client_connect(&stage);
        send_text(held, "second");
        expect_echo(forwarded, old);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = held, .events = POLLIN }, 1, 50), 0);
        ASSERT_TRUE(nobody_waits(replacement));

        waker_status(waker, "awake", replaced);
        for (int i = 0; i < 2; i++) {
                char word[7] = "";

                backend = accept_one(replacement);
                ASSERT_EQ(recv(backend, word, 5, MSG_WAITALL), 5);
                if (streq(word, "first"))
                        expect_echo(refused, backend);
                else {
                        ASSERT_STREQ(word, "secon");
                        expect_text(backend, "d");
                        expect_echo(held, backend);
                }
                fd_close(backend);
        }
        expect_end(refused);
        expect_end(held);
        expect_echo(forwarded, old);

        /* The waker crashes while the backend is away: the next one says how it is. */
        refused = (fd_close(refused), client_connect(&stage));
        backend = accept_one(replacement);
        expect_echo(refused, backend);
        fd_close(replacement);
        held = (fd_close(held), client_connect(&stage));
        send_text(held, "third");
        fd_close(waker);
        waker = waker_accept(&stage);
        replacement = tcp_socket(true);
        snprintf(replaced, sizeof(replaced), "127.0.0.1:%u", port_of(replacement));
        waker_status(waker, "waking", NULL);
        expect_echo(refused, backend);
        waker_status(waker, "awake", replaced);
        fd_close(backend);
        backend = accept_one(replacement);
        expect_text(backend, "third");
        expect_echo(held, backend);
        expect_echo(forwarded, old);

        fd_close(backend);
        fd_close(replacement);
        fd_close(refused);
        fd_close(held);
        fd_close(forwarded);
        fd_close(old);
        fd_close(waker);
        stage_close(&stage);
}

static void test_exits_when_unused(void) {
        Stage stage;
        int client, waker, backend, status;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, "--exit-idle-time=50ms");
        client = serve_one(&stage, &waker, &backend);
        fd_close(client);
        expect_end(backend);
        fd_close(backend);
        expect_end(waker);
        fd_close(waker);
        ASSERT_EQ(waitpid(stage.front, &status, 0), stage.front);
        ASSERT_EQ(status, 0);
        stage.front = 0;

        /* The socket has stayed; the next front serves. */
        client = client_connect(&stage);
        stage_start(&stage, 0, NULL);
        waker = waker_accept(&stage);
        fd_close(waker);
        fd_close(client);
        stage_close(&stage);
}

/* PID 1 has the listening socket, too: who connects to it while a front drains is for the next one, and nothing that this one sees. */
static void test_client_that_comes_while_it_drains(void) {
        int waker, backend, client, next, status;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, "--drain-timeout=1h");
        client = serve_one(&stage, &waker, &backend);
        ASSERT_OK(kill(stage.front, SIGTERM));
        for (unsigned i = 0; i < 3; i++) {
                /* Not for what happens, but for what must not. */
                (void) usleep(100 * 1000);
                next = client_connect(&stage);
                expect_echo(client, backend);
                fd_close(accept_one(stage.listener));
                fd_close(next);
        }
        fd_close(client);
        fd_close(backend);
        ASSERT_EQ(waitpid(stage.front, &status, 0), stage.front);
        ASSERT_EQ(status, 0);
        stage.front = 0;
        fd_close(waker);
        stage_close(&stage);
}

static void test_port_has_backends_of_its_own(void) {
        _cleanup_close_ int other = tcp_socket(true);
        char address[64];
        Stage stage;
        int client, waker, backend;

        (void) snprintf(address, sizeof(address), "127.0.0.1:%u", port_of(other));
        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        send_text(client, "early");
        waker = waker_accept(&stage);
        /* The stack is awake, and nobody accepts on that port yet. */
        waker_status_with_port(waker, "awake", stage.backend_address, port_of(stage.listener), false, address);
        waker_status_with_port(waker, "awake", stage.backend_address, port_of(stage.listener), true, address);
        backend = accept_one(other);
        expect_text(backend, "early");
        expect_echo(client, backend);
        ASSERT_TRUE(nobody_waits(stage.backend));
        fd_close(client);
        fd_close(backend);

        /* Another port of the service than that has the service's backends. */
        waker_status_with_port(waker, "awake", stage.backend_address, 1, true, address);
        client = client_connect(&stage);
        backend = accept_one(stage.backend);
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);

        fd_close(waker);
        stage_close(&stage);
}

static void test_who_waits_for_a_port_is_told_of_the_end(void) {
        Stage stage;
        int client, waker;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        waker = waker_accept(&stage);
        waker_status_with_port(waker, "awake", stage.backend_address, port_of(stage.listener), false,
                               stage.backend_address);
        waker_status(waker, "stopping", NULL);
        expect_503(client, true);
        ASSERT_TRUE(nobody_waits(stage.backend));
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static const struct {
        const char *name;
        void (*plain)(void);
        void (*of_kind)(bool is_unix);
} tests[] = {
        { "holds until awake, then forwards", NULL, test_holds_until_awake_then_forwards },
        { "every byte arrives, both ways", NULL, test_every_byte_arrives_both_ways },
        { "half-close is kept", NULL, test_half_close_is_kept },
        { "a reset is passed on", test_reset_is_passed_on, NULL },
        { "a failed wake is answered", test_failed_wake_is_answered, NULL },
        { "failures in a row pause", test_failures_in_a_row_pause, NULL },
        { "no waker is a failed wake", test_no_waker_is_a_failed_wake, NULL },
        { "a backend that is late", test_backend_that_is_late, NULL },
        { "a client that gives up", test_client_that_gives_up, NULL },
        { "five hundred at once", test_five_hundred_at_once, NULL },
        { "a waker that crashes", test_waker_that_crashes, NULL },
        { "a stop sticks until a new client", test_stop_sticks_until_a_new_client, NULL },
        { "few descriptors pause accepting", test_few_descriptors_pause_accepting, NULL },
        { "descriptors run out", test_descriptors_run_out, NULL },
        { "nine thousand at once", test_nine_thousand_at_once, NULL },
        { "a client that comes while it drains", test_client_that_comes_while_it_drains, NULL },
        { "a backend that is replaced", test_backend_that_is_replaced, NULL },
        { "exits when unused", test_exits_when_unused, NULL },
        { "a port has backends of its own", test_port_has_backends_of_its_own, NULL },
        { "who waits for a port is told of the end", test_who_waits_for_a_port_is_told_of_the_end, NULL },
};

int main(int argc, char *argv[]) {
        struct rlimit limit;

        if (argc < 2)
                TEST_FAIL("The program to be tested is to be named.");
        stage_program = argv[1];
        (void) alarm(150);
        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = MIN(limit.rlim_max, 4096U);
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));

        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                fprintf(stderr, "%s\n", tests[i].name);
                if (tests[i].plain)
                        tests[i].plain();
                for (int is_unix = 0; tests[i].of_kind && is_unix < 2; is_unix++)
                        tests[i].of_kind(is_unix);
        }
        return 0;
}
