#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front-stage.h"
#include "util/fd.h"

/* How clients are introduced to the backend, and who wakes and keeps awake. */

#define GET(path, agent) "GET " path " HTTP/1.1\r\nUser-Agent: " agent "\r\n\r\n"
#define LOOPBACK "--ignore-address=127.0.0.0/8"

static void test_proxy_header_comes_first(bool is_unix) {
        char expected[128] = "PROXY UNKNOWN\r\n";
        struct sockaddr_in own = {};
        socklen_t size = sizeof(own);
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, is_unix, true);
        stage_start(&stage, 0, "--proxy-protocol=v1");
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        if (!is_unix) {
                ASSERT_OK(getsockname(client, (struct sockaddr *) &own, &size));
                snprintf(expected, sizeof(expected), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\n",
                         ntohs(own.sin_port), port_of(stage.listener));
        }
        /* The client has said nothing, as with a server that speaks first. */
        backend = accept_one(stage.backend);
        expect_text(backend, expected);
        send_text(backend, "220 hello\r\n");
        expect_text(client, "220 hello\r\n");
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static void test_proxy_header_of_version_2(bool is_unix) {
        static const uint8_t start[] = "\r\n\r\n\0\r\nQUIT\n";
        uint8_t header[16 + 12];
        size_t size = is_unix ? 16 : sizeof(header);
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, is_unix, true);
        stage_start(&stage, 0, "--proxy-protocol=v2");
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        send_text(client, "early");
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        ASSERT_EQ(recv(backend, header, size, MSG_WAITALL), size);
        ASSERT_TRUE(memcmp(header, start, sizeof(start) - 1) == 0);
        ASSERT_EQ(header[12], is_unix ? 0x20 : 0x21);
        ASSERT_EQ(header[13], is_unix ? 0 : 0x11);
        ASSERT_EQ(header[15], size - 16);
        expect_text(backend, "early");
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

static int ask(Stage *stage, const char *request) {
        int client = client_connect(stage);

        send_text(client, request);
        return client;
}

static void test_ignored_addresses_wake_nothing(void) {
        int client, silent;
        Stage stage;

        stage_open(&stage, false, true);
        web_listen(&stage);
        stage_start_with(&stage, 0, (const char *const[]){ LOOPBACK, "--exit-idle-time=0", NULL });
        silent = client_connect(&stage);
        client = ask(&stage, "GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n");
        expect_503(client, true);
        fd_close(client);
        /* Not a reset: monitors that only connect see an open port. */
        expect_end(silent);
        fd_close(silent);
        ASSERT_TRUE(nobody_waits(stage.control));
        ASSERT_TRUE(nobody_waits(stage.web));
        stage_close(&stage);
}

static void test_ignored_requests_wake_nothing(void) {
        static const char slow[] = GET("/", "Some Monitor/2.0");
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start_with(&stage, 0,
                         (const char *const[]){ "--ignore-user-agent=monitor", "--ignore-path=/health", NULL });
        client = ask(&stage, GET("/", "Monitor/1.0"));
        expect_503(client, true);
        fd_close(client);
        client = ask(&stage, GET("/health?x", "curl/8"));
        expect_503(client, true);
        fd_close(client);
        client = client_connect(&stage);
        for (size_t i = 0; i < sizeof(slow) - 1; i++)
                send_all(client, slow + i, 1);
        expect_503(client, true);
        fd_close(client);
        ASSERT_TRUE(nobody_waits(stage.control));

        /* Anybody else does, and what they sent is all there. */
        client = ask(&stage, GET("/", "curl/8"));
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, GET("/", "curl/8"));
        expect_echo(client, backend);
        fd_close(client);
        fd_close(backend);
        expect_end(waker);
        fd_close(waker);

        /* Also who says nothing at all. */
        client = client_connect(&stage);
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        send_text(backend, "220 hello");
        expect_text(client, "220 hello");
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

/* A proxy that is told 503 would let nobody through to wake it. */
static void test_ignored_may_pass(void) {
        static const char expected[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                       "Content-Length: 19\r\nX-Wakechain: asleep\r\nCache-Control: no-store\r\n"
                                       "Connection: close\r\n\r\ndemo is not awake.\n";
        int client;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start_with(&stage, 0, (const char *const[]){ "--ignore-path=/health", "--ignore-answer=200", NULL });
        client = ask(&stage, "OPTIONS /health HTTP/1.0\r\n\r\n");
        expect_text(client, expected);
        expect_end(client);
        fd_close(client);
        ASSERT_TRUE(nobody_waits(stage.control));
        stage_close(&stage);
}

static void test_ignored_keep_nothing_awake(void) {
        int waker, client, ignored, backend, ignored_backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start_with(&stage, 0, (const char *const[]){ "--ignore-user-agent=bot", NULL });
        client = ask(&stage, GET("/", "curl/8"));
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_text(backend, GET("/", "curl/8"));

        ignored = ask(&stage, GET("/", "bot/1"));
        ignored_backend = accept_one(stage.backend);
        expect_text(ignored_backend, GET("/", "bot/1"));
        expect_echo(ignored, ignored_backend);

        /* The last one who counts goes; the connection of the other stays. */
        fd_close(client);
        fd_close(backend);
        expect_end(waker);
        fd_close(waker);
        expect_echo(ignored, ignored_backend);
        fd_close(ignored);
        fd_close(ignored_backend);
        ASSERT_TRUE(nobody_waits(stage.control));
        stage_close(&stage);
}

/* The waker went before it could say so, but it has written it. */
static void test_written_reason_is_told(void) {
        static const char failed[] = "{\"service\":\"demo\",\"state\":\"failed\",\"reason\":\"global_timeout\"}";
        char text[512];
        int waker, client;
        Stage stage;
        ssize_t n;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, NULL);
        client = ask(&stage, GET("/", "curl/8"));
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        ASSERT_OK(file_replace(stage.status_path, failed, strlen(failed), 0644, false));
        fd_close(waker);
        n = recv(client, text, sizeof(text) - 1, MSG_WAITALL);
        ASSERT_TRUE(n > 0);
        text[n] = '\0';
        ASSERT_TRUE(strstr(text, "demo could not be woken: it took too long."));
        ASSERT_TRUE(nobody_waits(stage.control));
        fd_close(client);
        stage_close(&stage);
}

/* A stack is awake for a while after its last client: whoever is ignored reaches it, and does not prolong that. */
static void test_ignored_reach_what_is_awake(void) {
        int waker, client, other, backend, other_backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_write_status(&stage, "awake");
        stage_start(&stage, 0, "--ignore-user-agent=bot");
        client = ask(&stage, GET("/", "bot/1"));
        backend = accept_one(stage.backend);
        expect_text(backend, GET("/", "bot/1"));
        expect_echo(client, backend);
        ASSERT_TRUE(nobody_waits(stage.control));

        stage_write_status(&stage, "asleep");
        other = ask(&stage, GET("/", "bot/2"));
        expect_503(other, true);
        fd_close(other);

        /* Beside the wake of somebody else. */
        other = ask(&stage, GET("/", "curl/8"));
        waker = waker_accept(&stage);
        waker_status(waker, "waking", NULL);
        expect_echo(client, backend);
        waker_status(waker, "awake", stage.backend_address);
        other_backend = accept_one(stage.backend);
        expect_text(other_backend, GET("/", "curl/8"));
        expect_echo(client, backend);
        fd_close(client);
        fd_close(other);
        fd_close(backend);
        fd_close(other_backend);
        fd_close(waker);
        stage_close(&stage);
}

static void test_quiet_connections_keep_nothing_awake(void) {
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, "--idle-bytes=400ms");
        client = serve_one(&stage, &waker, &backend);
        /* Held no more, and not cut. What the backend says does not count. */
        send_text(backend, "tick");
        expect_text(client, "tick");
        expect_end(waker);
        fd_close(waker);
        ASSERT_TRUE(nobody_waits(stage.control));

        /* It speaks again: held again. */
        expect_echo(client, backend);
        waker = waker_accept(&stage);
        waker_status(waker, "awake", stage.backend_address);
        expect_echo(client, backend);
        expect_end(waker);
        fd_close(waker);
        fd_close(client);
        fd_close(backend);
        stage_close(&stage);
}

/* Nothing but a download: the client sends no byte, for several times the span. */
static void test_a_download_keeps_awake(void) {
        static char piece[128 * 1024];
        int waker, client, backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_start(&stage, 0, "--idle-bytes=1s");
        client = serve_one(&stage, &waker, &backend);
        for (int i = 0; i < 100; i++) {
                send_all(backend, piece, sizeof(piece));
                ASSERT_EQ(recv(client, piece, sizeof(piece), MSG_WAITALL), sizeof(piece));
                ASSERT_EQ(poll(&(struct pollfd){ .fd = waker, .events = POLLIN | POLLRDHUP }, 1, 20), 0);
        }
        expect_end(waker);
        fd_close(waker);
        fd_close(client);
        fd_close(backend);
        stage_close(&stage);
}

static const struct {
        const char *name;
        void (*plain)(void);
        void (*of_kind)(bool is_unix);
} tests[] = {
        { "the PROXY header comes first", NULL, test_proxy_header_comes_first },
        { "the PROXY header of version 2", NULL, test_proxy_header_of_version_2 },
        { "ignored addresses wake nothing", test_ignored_addresses_wake_nothing, NULL },
        { "ignored requests wake nothing", test_ignored_requests_wake_nothing, NULL },
        { "a written reason is told", test_written_reason_is_told, NULL },
        { "the ignored may pass", test_ignored_may_pass, NULL },
        { "the ignored keep nothing awake", test_ignored_keep_nothing_awake, NULL },
        { "the ignored reach what is awake", test_ignored_reach_what_is_awake, NULL },
        { "quiet connections keep nothing awake", test_quiet_connections_keep_nothing_awake, NULL },
        { "a download keeps awake", test_a_download_keeps_awake, NULL },
};

int main(int argc, char *argv[]) {
        if (argc < 2)
                TEST_FAIL("The program to be tested is to be named.");
        stage_program = argv[1];
        (void) alarm(150);

        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                fprintf(stderr, "%s\n", tests[i].name);
                if (tests[i].plain)
                        tests[i].plain();
                for (int is_unix = 0; tests[i].of_kind && is_unix < 2; is_unix++)
                        tests[i].of_kind(is_unix);
        }
        return 0;
}
