#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front-stage.h"
#include "util/fd.h"

/* Who sees a page, and who is held and forwarded byte for byte. */

#define HTML "Accept: text/html,*/*;q=0.8\r\n"
#define BROWSER "GET /wiki HTTP/1.1\r\nHost: example.org\r\n" HTML "Sec-Fetch-Mode: navigate\r\n\r\n"
#define CURL "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"
#define PAGE "HTTP/1.1 503 the page\r\n\r\n"
#define GIGABYTE ((size_t) 1024 * 1024 * 1024)

typedef struct Bytes {
        const char *name;
        const char *data;
        size_t size;
} Bytes;

#define BYTES(name, text) \
        { name, text, sizeof(text) - 1 }

static const Bytes held[] = {
        BYTES("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00text/html\r\n\r\n"),
        BYTES("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\2\0\0\0"),
        BYTES("SSH", "SSH-2.0-OpenSSH_9.2p1\r\n"),
        BYTES("Redis", "*1\r\n$4\r\nPING\r\n"),
        BYTES("PostgreSQL", "\0\0\0\x08\x04\xd2\x16\x2f"),
        BYTES("curl", CURL),
        BYTES("a head that never ends", "GET / HTTP/1.1\r\nHost: example.org\r\n"),
        BYTES("fetch()",
              "GET /a.json HTTP/1.1\r\nAccept: */*\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\r\n"),
        BYTES("XHR",
              "GET /part HTTP/1.1\r\n" HTML "X-Requested-With: XMLHttpRequest\r\nSec-Fetch-Dest: empty\r\n\r\n"),
        BYTES("an icon", "GET /favicon.ico HTTP/1.1\r\nAccept: image/webp,*/*\r\nSec-Fetch-Dest: image\r\n\r\n"),
        BYTES("a script", "GET /a.js HTTP/1.1\r\nAccept: */*\r\nSec-Fetch-Dest: script\r\n\r\n"),
        BYTES("WebSocket", "GET /ws HTTP/1.1\r\n" HTML "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        BYTES("Expect", "POST /up HTTP/1.1\r\n" HTML "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
        BYTES("a form", "POST /login HTTP/1.1\r\n" HTML "Content-Length: 3\r\n\r\na=b"),
        BYTES("another service's", "GET /api/wake-status/other HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n"),
        BYTES("pipelined", CURL BROWSER),
};

static const Bytes shown[] = {
        BYTES("a browser", BROWSER),
        BYTES("HEAD", "HEAD / HTTP/1.1\r\n" HTML "\r\n"),
        BYTES("HTTP/1.0", "GET / HTTP/1.0\n" HTML "\n"),
        BYTES("EventSource", "GET /api/wake-status/demo HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n"),
};

static void expect_bytes(int fd, const Bytes *bytes) {
        char buffer[1024];

        ASSERT_TRUE(bytes->size < sizeof(buffer));
        ASSERT_EQ(recv(fd, buffer, bytes->size, MSG_WAITALL), bytes->size);
        if (memcmp(buffer, bytes->data, bytes->size) != 0)
                TEST_FAIL("%s: other bytes", bytes->name);
}

/* Answers as the web service would, and closes. */
static void show_page(int client, const Bytes *request) {
        expect_bytes(client, request);
        send_text(client, PAGE);
        fd_close(client);
}

static void test_others_are_held_and_forwarded(bool is_unix) {
        static int clients[ELEMENTSOF(held)];
        Stage stage;
        int waker, web, browser, backend, taken;

        stage_open(&stage, is_unix, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(held); i++) {
                clients[i] = client_connect(&stage);
                send_all(clients[i], held[i].data, held[i].size);
        }
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);

        /* Came last, and is the only one that is passed on. */
        browser = client_connect(&stage);
        send_all(browser, shown[0].data, shown[0].size);
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        expect_end(web);
        fd_close(web);
        show_page(taken, &shown[0]);
        expect_text(browser, PAGE);
        fd_close(browser);

        waker_status(waker, "awake", stage.backend_address);
        for (size_t i = 0; i < ELEMENTSOF(held); i++) {
                backend = accept_one(stage.backend);
                expect_bytes(backend, &held[i]);
                expect_echo(clients[i], backend);
                fd_close(clients[i]);
                fd_close(backend);
        }
        ASSERT_TRUE(nobody_waits(stage.web));
        fd_close(waker);
        stage_close(&stage);
}

static void test_browsers_are_passed_on(bool is_unix) {
        Stage stage;
        int waker, client, web, taken;

        stage_open(&stage, is_unix, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(shown); i++) {
                client = client_connect(&stage);
                if (i == 0) {
                        waker = waker_accept(&stage); /* before the first byte */
                        waker_status(waker, "waking", NULL);
                }
                send_all(client, shown[i].data, shown[i].size);
                web = accept_one(stage.web);
                taken = web_receive(web);
                web_answer(web, "+");
                expect_end(web);
                fd_close(web);
                show_page(taken, &shown[i]);
                expect_text(client, PAGE);
                expect_end(client);
                fd_close(client);
        }
        /* Awake with nobody left, the Hold ends. */
        waker_status(waker, "awake", stage.backend_address);
        expect_end(waker);
        fd_close(waker);
        stage_close(&stage);
}

/* The only client is the web service's, or gone: the wake goes on for whoever sees the page. */
static void test_the_wake_goes_on_behind_the_page(void) {
        Stage stage;
        int waker, client, web, taken;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, "--exit-idle-time=0");
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        send_text(client, BROWSER);
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        expect_end(web);
        fd_close(web);
        fd_close(taken);
        fd_close(client);

        /* Longer than a Hold lingers otherwise: nothing ends it. */
        ASSERT_EQ(poll(&(struct pollfd){ .fd = waker, .events = POLLIN | POLLRDHUP }, 1, 1300), 0);

        /* Not even a waker that crashes. */
        fd_close(waker);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_fail(waker);
        expect_end(waker);
        fd_close(waker);
        ASSERT_EQ(waitpid(stage.front, NULL, 0), stage.front);
        stage.front = 0;
        stage_close(&stage);
}

static void test_one_byte_at_a_time(bool is_unix) {
        Stage stage;
        int waker, client, tls, web, taken, backend;

        stage_open(&stage, is_unix, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        tls = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        for (size_t i = 0; i < shown[0].size; i++)
                send_all(client, &shown[0].data[i], 1);
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        for (size_t i = 0; i < held[0].size; i++)
                send_all(tls, held[0].data + i, 1);
        show_page(taken, &shown[0]);
        expect_text(client, PAGE);
        fd_close(client);
        fd_close(web);

        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_bytes(backend, &held[0]);
        fd_close(backend);
        expect_end(tls);
        fd_close(tls);
        fd_close(waker);
        stage_close(&stage);
}

static void test_servers_that_speak_first(void) {
        static const char *const greetings[] = {
                "J\0\0\0\n8.0.36", /* MySQL: the length comes first */
                "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
                "220 mail.example.org ESMTP\r\n",
        };
        int waker, clients[ELEMENTSOF(greetings)];
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(greetings); i++)
                clients[i] = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        for (size_t i = 0; i < ELEMENTSOF(greetings); i++) {
                int backend = accept_one(stage.backend);

                send_text(backend, greetings[i]);
                expect_text(clients[i], greetings[i]);
                expect_echo(clients[i], backend);
                fd_close(clients[i]);
                fd_close(backend);
        }
        ASSERT_TRUE(nobody_waits(stage.web));
        fd_close(waker);
        stage_close(&stage);
}

/* A GiB that begins while nobody is there to take it. */
static void test_a_large_upload(void) {
        static const char head[] = "POST /up HTTP/1.1\r\n" HTML "Content-Length: 1073741824\r\n\r\n";
        static uint8_t piece[1024 * 1024], received[sizeof(piece)];
        int waker, client, backend, status;
        Stage stage;
        pid_t child;

        for (size_t i = 0; i < sizeof(piece); i++)
                piece[i] = (uint8_t) (i * UINT64_C(0x9e3779b97f4a7c15) >> 56);
        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        send_text(client, head);

        child = fork();
        ASSERT_TRUE(child >= 0);
        if (child == 0) {
                for (size_t sent = 0; sent < GIGABYTE; sent += sizeof(piece))
                        send_all(client, piece, sizeof(piece));
                _exit(0);
        }
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, head);
        for (size_t n = 0; n < GIGABYTE; n += sizeof(piece)) {
                ASSERT_EQ(recv(backend, received, sizeof(received), MSG_WAITALL), sizeof(received));
                ASSERT_TRUE(memcmp(piece, received, sizeof(piece)) == 0);
        }
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
        send_text(backend, "HTTP/1.1 201 Created\r\n\r\n");
        expect_text(client, "HTTP/1.1 201 Created\r\n\r\n");
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static int browse(Stage *stage) {
        int client = client_connect(stage);

        send_text(client, BROWSER);
        return client;
}

static void test_a_web_service_that_is_broken(void) {
        static const char *const answers[] = { "-", "?", "++", "", NULL };
        int waker, client, second, web;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);

        /* Missing. */
        client = browse(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        expect_503(client, true);
        fd_close(client);

        /* Refuses; talks nonsense; ends. Each time the next one tries again. */
        web_listen(&stage);
        for (size_t i = 0; answers[i]; i++) {
                client = browse(&stage);
                web = accept_one(stage.web);
                fd_close(web_receive(web));
                second = browse(&stage);
                fd_close(web_receive(web));
                if (answers[i][0] == '\0')
                        (void) shutdown(web, SHUT_RDWR);
                else
                        web_answer(web, answers[i]);
                if (answers[i][0] == '-')
                        web_answer(web, answers[i]);
                expect_503(client, true);
                expect_503(second, true);
                expect_end(web);
                fd_close(web);
                fd_close(client);
                fd_close(second);
        }

        /* Never answers, nor takes a connection. */
        client = browse(&stage);
        web = accept_one(stage.web);
        expect_503(client, true);
        fd_close(client);
        fd_close(web);
        client = browse(&stage);
        expect_503(client, true);
        fd_close(client);
        web = accept_one(stage.web);
        fd_close(web);

        /* And works again. */
        client = browse(&stage);
        web = accept_one(stage.web);
        second = web_receive(web);
        web_answer(web, "+");
        show_page(second, &shown[0]);
        expect_text(client, PAGE);
        fd_close(client);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

/* Its end is found late: the next client has a connection of its own. */
static void test_a_web_service_that_ends_in_between(void) {
        int waker, clients[40], web, taken;
        size_t n_pages = 0;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                clients[i] = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        /* So many are under way at a time, and all wait for us. */
        for (size_t i = 0; i < 32; i++)
                fd_close(web_receive(web));
        fd_close(web);
        web = accept_one(stage.web);
        for (size_t i = 32; i < ELEMENTSOF(clients); i++) {
                taken = web_receive(web);
                web_answer(web, "+");
                show_page(taken, &shown[0]);
        }

        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                char answer[1024] = "";

                ASSERT_TRUE(recv(clients[i], answer, sizeof(answer) - 1, MSG_WAITALL) > 0);
                n_pages += streq(answer, PAGE);
                ASSERT_TRUE(strncmp(answer, "HTTP/1.1 503 ", 13) == 0);
                fd_close(clients[i]);
        }
        ASSERT_EQ(n_pages, ELEMENTSOF(clients) - 32);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

/* The answer and the end of the patience come together: one owner, and it is the web service. */
static void test_an_answer_at_the_last_moment(void) {
        int waker, client, web, taken, status;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        ASSERT_OK(kill(stage.front, SIGSTOP));
        ASSERT_EQ(waitpid(stage.front, &status, WUNTRACED), stage.front);
        ASSERT_TRUE(WIFSTOPPED(status));
        web_answer(web, "+");
        (void) poll(NULL, 0, 2100); /* longer than its patience */
        ASSERT_OK(kill(stage.front, SIGCONT));
        expect_end(web);
        show_page(taken, &shown[0]);
        expect_text(client, PAGE);
        expect_end(client);
        fd_close(client);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

/* Nor can it be taken later. */
static void test_an_answer_after_the_patience(void) {
        int waker, client, web, taken;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        expect_503(client, true);
        ASSERT_EQ(send(web, "+", 1, MSG_NOSIGNAL), -1);
        ASSERT_EQ(errno, EPIPE);
        fd_close(taken);
        fd_close(client);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

/* Its descriptor lives on after the front has closed it, and has events: they are nobody's. */
static void test_refused_and_not_closed(void) {
        int waker = -EBADF, client, web, taken[8];
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (size_t i = 0; i < ELEMENTSOF(taken); i++) {
                client = browse(&stage);
                if (i == 0)
                        waker = waker_accept(&stage);
                web = accept_one(stage.web);
                taken[i] = web_receive(web);
                web_answer(web, "-");
                expect_503(client, true);
                expect_end(web);
                fd_close(web);
                fd_close(client);
                /* The one before the last has been closed by now. */
                for (size_t k = 0; k < i; k++)
                        (void) shutdown(taken[k], SHUT_RDWR);
        }
        for (size_t i = 0; i < ELEMENTSOF(taken); i++)
                fd_close(taken[i]);
        fd_close(waker);
        stage_close(&stage);
}

/* An answer too many is as bad as none, but takes nothing back. */
static void test_an_answer_too_many(void) {
        int waker, client, second, web, taken;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        second = browse(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        fd_close(web_receive(web));
        web_answer(web, "+");
        web_answer(web, "?");
        expect_503(second, true);
        show_page(taken, &shown[0]);
        expect_text(client, PAGE);
        fd_close(client);
        fd_close(second);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

static void test_five_hundred_browsers(void) {
        enum { N = 500 };
        static int clients[N];
        int waker, web = -EBADF;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        for (int i = 0; i < N; i++)
                clients[i] = browse(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        /* The connection ends whenever nobody is on offer. */
        for (int n = 0; n < N;) {
                struct pollfd entries[] = { { .fd = web, .events = POLLIN },
                                            { .fd = stage.web, .events = POLLIN } };
                char byte;

                ASSERT_TRUE(poll(entries, 2, RECEIVE_SEC * 1000) > 0);
                if (web < 0) {
                        web = accept_one(stage.web);
                        continue;
                }
                if (recv(web, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
                        web = fd_close(web);
                        continue;
                }
                if (entries[0].revents & POLLIN) {
                        int taken = web_receive(web);

                        web_answer(web, "+");
                        show_page(taken, &shown[0]);
                        n++;
                }
        }
        for (int i = 0; i < N; i++) {
                expect_text(clients[i], PAGE);
                expect_end(clients[i]);
                fd_close(clients[i]);
        }
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

static void test_a_failed_wake_has_a_page(void) {
        int waker, client, half, web, taken;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, "--pause-max=20s");

        /* Held as it has not said all: it may still turn out to want the page, or else is told in words. */
        half = client_connect(&stage);
        send_text(half, "GET / HTTP/1.1\r\nAccept: text/html\r\n");
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.1\r\n");
        waker = waker_accept(&stage);
        web_listen(&stage);
        waker_fail(waker);
        fd_close(waker);
        send_text(half, "\r\n");
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        send_text(taken, PAGE);
        fd_close(taken);
        expect_text(half, PAGE);
        expect_503(client, true);
        fd_close(half);
        fd_close(client);
        fd_close(web);

        /* Failures until there is a pause of seconds. */
        for (int i = 0; i < 6; i++) {
                do {
                        client = client_connect(&stage);
                        send_text(client, CURL);
                        ASSERT_TRUE(poll((struct pollfd[]){ { .fd = client, .events = POLLIN },
                                                            { .fd = stage.control, .events = POLLIN } },
                                         2, RECEIVE_SEC * 1000) > 0);
                        if (nobody_waits(stage.control)) {
                                expect_503(client, true);
                                client = fd_close(client);
                        }
                } while (client < 0);
                waker = waker_accept(&stage);
                waker_fail(waker);
                expect_503(client, true);
                fd_close(waker);
                fd_close(client);
        }

        /* In the pause: the page, and without a Hold. */
        client = browse(&stage);
        web = accept_one(stage.web);
        taken = web_receive_in_pause(web);
        web_answer(web, "+");
        expect_end(web);
        show_page(taken, &shown[0]);
        expect_text(client, PAGE);
        fd_close(client);
        fd_close(web);
        /* Its own words where there is no page. */
        client = browse(&stage);
        web = accept_one(stage.web);
        fd_close(web_receive_in_pause(web));
        fd_close(web);
        expect_503(client, true);
        fd_close(client);
        ASSERT_TRUE(nobody_waits(stage.control));
        stage_close(&stage);
}

/* Without a script it asks again by itself: for the reason, not for another wake. */
static void test_who_has_seen_the_page_wakes_no_more(void) {
        int waker, client, web, taken;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        expect_end(web);
        fd_close(taken);
        fd_close(web);
        fd_close(client);
        waker_fail(waker);
        expect_end(waker);
        fd_close(waker);

        client = browse(&stage);
        web = accept_one(stage.web);
        fd_close(web_receive_in_pause(web));
        ASSERT_TRUE(nobody_waits(stage.control));
        fd_close(client);
        fd_close(web);
        stage_close(&stage);
}

static void test_refused_when_awake_is_connected(void) {
        int waker, client, web, backend;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        fd_close(web_receive(web));
        waker_status(waker, "awake", stage.backend_address);
        /* Served, so the front knows. */
        backend = client_connect(&stage);
        send_text(backend, "x");
        fd_close(accept_one(stage.backend));
        fd_close(backend);
        web_answer(web, "-");
        backend = accept_one(stage.backend);
        expect_text(backend, BROWSER);
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);

        /* Awake, nobody is asked. */
        expect_end(web);
        fd_close(web);
        client = browse(&stage);
        backend = accept_one(stage.backend);
        expect_text(backend, BROWSER);
        fd_close(client);
        fd_close(backend);
        ASSERT_TRUE(nobody_waits(stage.web));
        fd_close(waker);
        stage_close(&stage);
}

/* The front ends while the web service has a client and it does not know yet. */
static void test_an_end_leaves_the_page_alone(void) {
        int waker, client, web, taken, status;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, NULL);
        client = browse(&stage);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        ASSERT_OK(kill(stage.front, SIGTERM));
        ASSERT_EQ(waitpid(stage.front, &status, 0), stage.front);
        ASSERT_EQ(status, 0);
        stage.front = 0;
        show_page(taken, &shown[0]);
        expect_text(client, PAGE);
        expect_end(client);
        fd_close(client);
        fd_close(web);
        fd_close(waker);
        stage_close(&stage);
}

static void test_page_never(void) {
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, "--page=never");
        client = browse(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, BROWSER);
        fd_close(client);
        fd_close(backend);
        ASSERT_TRUE(nobody_waits(stage.web));
        fd_close(waker);
        stage_close(&stage);
}

static void test_page_always(void) {
        static const Bytes posted = BYTES("POST", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        int waker, client, upload, web, taken, backend;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start(&stage, 0, "--page=always");
        upload = client_connect(&stage);
        send_all(upload, posted.data, posted.size);
        client = client_connect(&stage);
        send_text(client, CURL);
        waker = waker_accept(&stage);
        web = accept_one(stage.web);
        taken = web_receive(web);
        web_answer(web, "+");
        show_page(taken, &(Bytes) BYTES("curl", CURL));
        expect_text(client, PAGE);
        fd_close(client);
        fd_close(web);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_bytes(backend, &posted);
        fd_close(upload);
        fd_close(backend);
        ASSERT_TRUE(nobody_waits(stage.web));
        fd_close(waker);
        stage_close(&stage);
}

static const struct {
        const char *name;
        void (*plain)(void);
        void (*of_kind)(bool is_unix);
} tests[] = {
        { "others are held and forwarded", NULL, test_others_are_held_and_forwarded },
        { "browsers are passed on", NULL, test_browsers_are_passed_on },
        { "the wake goes on behind the page", test_the_wake_goes_on_behind_the_page, NULL },
        { "one byte at a time", NULL, test_one_byte_at_a_time },
        { "servers that speak first", test_servers_that_speak_first, NULL },
        { "a large upload", test_a_large_upload, NULL },
        { "a web service that is broken", test_a_web_service_that_is_broken, NULL },
        { "a web service that ends in between", test_a_web_service_that_ends_in_between, NULL },
        { "an answer at the last moment", test_an_answer_at_the_last_moment, NULL },
        { "an answer after the patience", test_an_answer_after_the_patience, NULL },
        { "refused and not closed", test_refused_and_not_closed, NULL },
        { "an answer too many", test_an_answer_too_many, NULL },
        { "five hundred browsers", test_five_hundred_browsers, NULL },
        { "a failed wake has a page", test_a_failed_wake_has_a_page, NULL },
        { "who has seen the page wakes no more", test_who_has_seen_the_page_wakes_no_more, NULL },
        { "refused when awake is connected", test_refused_when_awake_is_connected, NULL },
        { "an end leaves the page alone", test_an_end_leaves_the_page_alone, NULL },
        { "page: never", test_page_never, NULL },
        { "page: always", test_page_always, NULL },
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
