#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/time.h"
#include "web-stage.h"

/* What many ask of the web service, often, slowly or for long: whoever does it, the others are served. */

#define OWN "Host: localhost\r\nConnection: close\r\n\r\n"
#define STREAM(path) "GET " path " HTTP/1.1\r\nHost: 127.0.0.1:3456\r\n\r\n"

static unsigned count(const char *text, const char *part) {
        unsigned n = 0;

        for (; (text = strstr(text, part)); text += strlen(part))
                n++;
        return n;
}

static void test_what_changes_often_is_told_a_few_times_a_second(void) {
        _cleanup_free_ char *one = NULL, *all = NULL;
        uint64_t begin, seconds;
        int streams[2];
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        for (unsigned i = 0; i < 2; i++) {
                streams[i] = web_connect_tcp(&stage);
                web_send(streams[i], i == 0 ? STREAM("/api/wake-status/clemence") : STREAM("/api/events"));
                free(web_read_until(streams[i], "\"asleep\""));
        }
        /* What changes now and then is told each time. */
        web_stage_set_clemence(&stage, "stopping", "stopped", "ready", 0);
        for (unsigned i = 0; i < 2; i++)
                free(web_read_until(streams[i], "\"state\":\"stopping\""));

        begin = time_now(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < 500; i++) {
                web_stage_set_clemence(&stage, i % 2 ? "stopping" : "asleep", "stopped", "stopped", 0);
                (void) usleep(2000);
        }
        web_stage_set_clemence(&stage, "failed", "failed", "stopped", 0);
        one = web_read_until(streams[0], "\"state\":\"failed\"");
        all = web_read_until(streams[1], "\"state\":\"failed\"");
        seconds = (time_now(CLOCK_MONOTONIC) - begin) / USEC_PER_SEC + 1;
        ASSERT_TRUE(count(one, "event: service-update") <= 6 + 4 * seconds);
        ASSERT_TRUE(count(all, "event: service\n") <= 6 + 4 * seconds);
        ASSERT_TRUE(count(one, "event: service-update") >= 3);

        for (unsigned i = 0; i < 2; i++)
                (void) fd_close(streams[i]);
        web_stage_close(&stage);
}

/* How many there may be, as in seats.c. */
#define STREAMS_MANY 192U
#define PORT_MANY 384U
#define ADDRESS_MANY 512U
#define SERVICE_MANY 2048U

static int fds[8192];
static unsigned n_fds;

static int hold(int fd) {
        ASSERT_TRUE(n_fds < ELEMENTSOF(fds));
        return fds[n_fds++] = fd;
}

static void let_go(void) {
        while (n_fds > 0)
                (void) fd_close(fds[--n_fds]);
}

/* Asks for a stream; whether it is one. */
static bool get_stream(int fd) {
        _cleanup_free_ char *head = NULL;

        web_send(hold(fd), STREAM("/api/events"));
        head = web_read_until(fd, "\r\n\r\n");
        if (strstr(head, "HTTP/1.1 200 "))
                return true;
        ASSERT_TRUE(strstr(head, "HTTP/1.1 503 "));
        ASSERT_TRUE(strstr(head, "Retry-After: 5\r\n"));
        free(web_read_until(fd, "{\"error\":\"Too many clients"));
        return false;
}

static void test_streams_leave_room_for_the_others(void) {
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        for (unsigned i = 0; i < STREAMS_MANY; i++)
                ASSERT_TRUE(get_stream(web_connect_tcp(&stage)));
        for (unsigned i = 0; i < 10; i++)
                ASSERT_FALSE(get_stream(web_connect_tcp(&stage)));
        web_expect(web_connect_tcp(&stage), "GET / HTTP/1.1\r\n" OWN, "200", "<title>");
        web_expect(web_connect_local(&stage), "GET /api/services HTTP/1.1\r\n" OWN, "200", NULL);
        ASSERT_TRUE(get_stream(web_connect_local(&stage)));

        /* Who goes makes room, at once: not when he is sent the next sign of life. */
        (void) fd_close(fds[7]);
        fds[7] = -EBADF;
        for (uint64_t end = time_now(CLOCK_MONOTONIC) + 5 * USEC_PER_SEC; !get_stream(web_connect_tcp(&stage));)
                ASSERT_TRUE(time_now(CLOCK_MONOTONIC) < end);
        ASSERT_FALSE(get_stream(web_connect_tcp(&stage)));
        let_go();
        web_stage_close(&stage);
}

static void test_one_way_in_does_not_close_the_others(void) {
        _cleanup_free_ char *answer = NULL;
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        for (unsigned i = 0; i < PORT_MANY; i++)
                (void) hold(web_connect_tcp(&stage));
        answer = web_ask(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\n" OWN);
        ASSERT_TRUE(strstr(answer, "HTTP/1.1 503 "));
        ASSERT_TRUE(strstr(answer, "Retry-After: 5\r\n"));
        ASSERT_TRUE(strstr(answer, "{\"error\":\"Too many clients"));
        web_expect(web_connect_tcp_from(&stage, INADDR_LOOPBACK + 1), "GET /api/services HTTP/1.1\r\n" OWN, "200",
                   NULL);
        web_expect(web_connect_local(&stage), "GET /api/services HTTP/1.1\r\n" OWN, "200", NULL);
        web_expect(web_pass_visitor(&stage, "clemence"), "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n",
                   "503", "data-state=");

        /* Whoever came is gone. */
        let_go();
        for (uint64_t end = time_now(CLOCK_MONOTONIC) + 5 * USEC_PER_SEC;;) {
                _cleanup_free_ char *again =
                                web_ask(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\n" OWN);

                if (strstr(again, "HTTP/1.1 200 "))
                        break;
                ASSERT_TRUE(time_now(CLOCK_MONOTONIC) < end);
        }
        web_stage_close(&stage);
}

static char pass_from(int pages, const char *service, in_addr_t address) {
        int visitor, front;

        web_visitor_from(address, &visitor, &front);
        (void) hold(visitor);
        return web_pass(pages, service, front);
}

static void test_one_service_does_not_close_the_others(void) {
        WebStage stage;
        int pages;

        web_stage_open(&stage);
        web_stage_start(&stage, (const char *[]){ "--patience=10min", NULL });
        pages = web_connect_pages(&stage);
        for (unsigned i = 0; i < ADDRESS_MANY; i++)
                ASSERT_EQ(pass_from(pages, i % 2 ? "clemence" : "secret", INADDR_LOOPBACK + 1), '+');
        ASSERT_EQ(pass_from(pages, "clemence", INADDR_LOOPBACK + 1), '-');
        ASSERT_EQ(pass_from(pages, "clemence", INADDR_LOOPBACK + 2), '+');
        for (unsigned i = ADDRESS_MANY / 2 + 1; i < SERVICE_MANY; i++)
                ASSERT_EQ(pass_from(pages, "clemence", INADDR_LOOPBACK + 3 + i / ADDRESS_MANY), '+');
        ASSERT_EQ(pass_from(pages, "clemence", INADDR_LOOPBACK + 100), '-');
        ASSERT_EQ(pass_from(pages, "secret", INADDR_LOOPBACK + 100), '+');

        /* Two services take all that there is: a third has its own. */
        for (unsigned i = 0; pass_from(pages, "secret", INADDR_LOOPBACK + 200 + i / ADDRESS_MANY) == '+'; i++)
                ASSERT_TRUE(i < SERVICE_MANY);
        for (unsigned i = 0; i < 8; i++)
                ASSERT_EQ(pass_from(pages, "third", INADDR_LOOPBACK + 300), '+');
        ASSERT_EQ(pass_from(pages, "third", INADDR_LOOPBACK + 300), '-');
        web_expect(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\n" OWN, "200", NULL);
        let_go();
        (void) fd_close(pages);
        web_stage_close(&stage);
}

/* A page of 256 KiB for each would be 256 MiB. */
static void test_slow_readers_share_the_page(void) {
        static char style[256 * 1024];
        int pages, size = 1024, last = -EBADF;
        _cleanup_free_ char *page = NULL;
        char path[256];
        WebStage stage;

        web_stage_open(&stage);
        (void) snprintf(path, sizeof(path), "%s/etc/wakechain/page", stage.root);
        ASSERT_OK(directory_make(path));
        (void) snprintf(path, sizeof(path), "%s/etc/wakechain/page/page.css", stage.root);
        memset(style, 's', sizeof(style) - 8);
        for (size_t i = 0; i < strlen(" THE_END"); i++)
                style[sizeof(style) - strlen(" THE_END") + i] = " THE_END"[i];
        ASSERT_OK(file_replace(path, style, sizeof(style), 0644, false));
        web_stage_start(&stage, (const char *[]){ "--patience=10min", NULL });
        pages = web_connect_pages(&stage);
        for (unsigned i = 0; i < 1024; i++) {
                int front;

                web_visitor(&last, &front);
                (void) hold(last);
                if (i < 1023)
                        ASSERT_OK(setsockopt(last, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
                ASSERT_OK(setsockopt(front, SOL_SOCKET, SO_SNDBUF, &(int){ 16384 }, sizeof(int)));
                ASSERT_EQ(web_pass(pages, "clemence", front), '+');
                web_send(last, "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n");
                free(web_read_until(last, "HTTP/1.1 503 "));
        }
        ASSERT_TRUE(web_is_sanitized() || web_stage_memory_kb(&stage) < 96U * 1024);
        /* Each gets all of it, and the words and the script behind it. */
        page = web_read_to_end(last);
        ASSERT_TRUE(strstr(page, " THE_END"));
        ASSERT_TRUE(strstr(page, "</html>"));
        let_go();
        (void) fd_close(pages);
        web_stage_close(&stage);
}

int main(int argc, char **argv) {
        struct rlimit limit;

        ASSERT_EQ(argc, 2);
        web_stage_program = argv[1];
        (void) signal(SIGPIPE, SIG_IGN);

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_max < ELEMENTSOF(fds) + 100) {
                printf("no more than %ju descriptors are allowed here\n", (uintmax_t) limit.rlim_max);
                return 77;
        }

        test_what_changes_often_is_told_a_few_times_a_second();
        test_streams_leave_room_for_the_others();
        test_one_way_in_does_not_close_the_others();
        test_one_service_does_not_close_the_others();
        test_slow_readers_share_the_page();
        return 0;
}
