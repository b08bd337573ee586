#include <stdio.h>

#include "front/request.h"
#include "test.h"

/* Heads of real clients, shortened where nothing is looked at. */

#define HOST "Host: example.org\r\n"
#define HTML "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
#define NAVIGATES "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST

static RequestVerdict parse(Request *ret, const char *text) {
        return request_parse(ret, text, strlen(text), "demo");
}

static void test_http_is_recognised(void) {
        static const struct {
                const char *text;
                RequestVerdict verdict;
        } cases[] = {
                { "", REQUEST_MORE },
                { "G", REQUEST_MORE },
                { "GET", REQUEST_MORE },
                { "GET ", REQUEST_PARTIAL },
                { "GET / HTTP/1.1\r\n", REQUEST_PARTIAL },
                { "GET / HTTP/1.1\r\n\r", REQUEST_PARTIAL },
                { "GET / HTTP/1.1\r\n\r\n", REQUEST_WHOLE },
                { "GET / HTTP/1.1\n\n", REQUEST_WHOLE },
                { "HEAD / HTTP/1.0\r\n", REQUEST_PARTIAL },
                { "POST /x", REQUEST_PARTIAL },
                { "PROPFIND /x", REQUEST_MORE },
                { "PROPFIND /x HTTP/1.1\r\n", REQUEST_PARTIAL },
                { "M-SEARCH * HTTP/1.1\r\n\r\n", REQUEST_WHOLE },
                { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REQUEST_OTHER },
                { "get / HTTP/1.1\r\n", REQUEST_OTHER },
                { "EHLO example.org\r\n", REQUEST_OTHER },
                { "SSH-2.0-OpenSSH_9.2\r\n", REQUEST_OTHER },
                { "GET\r\n", REQUEST_OTHER },
                { "ABCDEFGHIJKLMNOPQRSTUVWXYZ", REQUEST_OTHER },
                { "\x16\x03\x01", REQUEST_OTHER },
                { "\r\n", REQUEST_OTHER },
                { " GET / HTTP/1.1\r\n", REQUEST_OTHER },
        };
        Request request;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (parse(&request, cases[i].text) != cases[i].verdict)
                        TEST_FAIL("'%s'", cases[i].text);
        ASSERT_EQ(request_parse(&request, "\0GET", 4, "demo"), REQUEST_OTHER);
        ASSERT_EQ(parse(&request, "HEAD /"), REQUEST_PARTIAL);
        ASSERT_TRUE(request.head);
}

static void test_browsers_are_told_from_others(void) {
        static const struct {
                const char *name, *text;
                bool plain, browser, watches;
        } cases[] = {
                { "Firefox",
                  GET("/") "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)\r\n" HTML NAVIGATES "\r\n", true,
                  true, false },
                { "one without Sec-Fetch", GET("/wiki?a=b") HTML "\r\n", true, true, false },
                { "HTTP/1.0", "GET / HTTP/1.0\r\n" HTML "\r\n", true, true, false },
                { "HEAD", "HEAD / HTTP/1.1\r\n" HOST HTML "\r\n", true, true, false },
                { "a frame", GET("/") HTML "Sec-Fetch-Dest: iframe\r\nSec-Fetch-Mode: navigate\r\n\r\n", true,
                  true, false },
                { "lower case", GET("/") "accept:text/html\r\n\r\n", true, true, false },
                { "upper case", GET("/") "ACCEPT: TEXT/HTML\r\n\r\n", true, true, false },
                { "last in the list", GET("/") "Accept: a/b;x=\"1,2\", text/html\t;q=0.001\r\n\r\n", true, true,
                  false },
                { "in a second line", GET("/") "Accept: a/b\r\nAccept: text/html\r\n\r\n", true, true, false },
                { "curl", GET("/") "User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n", true, false, false },
                { "no Accept", GET("/") "\r\n", true, false, false },
                { "text/*", GET("/") "Accept: text/*\r\n\r\n", true, false, false },
                { "q=0", GET("/") "Accept: text/html;q=0, */*\r\n\r\n", true, false, false },
                { "q=0.000", GET("/") "Accept: text/html; level=1; Q=0.000\r\n\r\n", true, false, false },
                { "another type", GET("/") "Accept: text/html5, application/text/html\r\n\r\n", true, false,
                  false },
                { "in a quoted text", GET("/") "Accept: a/b;x=\",text/html,\"\r\n\r\n", true, false, false },
                { "in another line", GET("/") "X-Accept: text/html\r\nReferer: text/html\r\n\r\n", true, false,
                  false },
                { "before a colon", GET("/") "Accept : text/html\r\n\r\n", true, false, false },
                { "folded", GET("/") "Accept: a/b,\r\n text/html\r\n\r\n", true, false, false },
                { "fetch()", GET("/api") "Accept: */*\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\r\n",
                  true, false, false },
                { "fetch() of a fragment", GET("/") HTML "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\r\n",
                  true, false, false },
                { "a prefetch", GET("/") HTML "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: navigate\r\n\r\n", true,
                  false, false },
                { "an icon",
                  GET("/favicon.ico") "Accept: image/avif,image/webp,*/*\r\nSec-Fetch-Dest: image\r\n\r\n", true,
                  false, false },
                { "a worker", GET("/") HTML "Sec-Fetch-Mode: same-origin\r\n\r\n", true, false, false },
                { "WebSocket", GET("/") HTML "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false, false,
                  false },
                { "Expect", GET("/") HTML "Expect: 100-continue\r\n\r\n", false, false, false },
                { "a GET with a body", GET("/") HTML "Content-Length: 5\r\n\r\nhello", false, false, false },
                { "a GET with an empty body", GET("/") HTML "Content-Length: 0\r\n\r\n", true, true, false },
                { "chunks", GET("/") HTML "Transfer-Encoding: chunked\r\n\r\n", false, false, false },
                { "a form", "POST / HTTP/1.1\r\n" HOST HTML NAVIGATES "Content-Length: 3\r\n\r\na=b", false, false,
                  false },
                { "OPTIONS", "OPTIONS * HTTP/1.1\r\n" HTML "\r\n", false, false, false },
                { "WebDAV", "PROPFIND / HTTP/1.1\r\n" HTML "\r\n", false, false, false },
                { "no version", "GET /\r\n" HTML "\r\n", false, false, false },
                { "HTTP/2", "GET / HTTP/2\r\n" HTML "\r\n", false, false, false },
                { "EventSource",
                  GET("/api/wake-status/demo") "Accept: text/event-stream\r\nSec-Fetch-Dest: empty\r\n"
                                               "Sec-Fetch-Mode: cors\r\n\r\n",
                  true, false, true },
                { "with a query", GET("/api/wake-status/demo?x") "\r\n", true, false, true },
                { "another service", GET("/api/wake-status/demo2") "\r\n", true, false, false },
                { "a shorter one", GET("/api/wake-status/dem") "\r\n", true, false, false },
                { "none", GET("/api/wake-status/") "\r\n", true, false, false },
                { "in a query", GET("/?/api/wake-status/demo") "\r\n", true, false, false },
                { "HEAD of it", "HEAD /api/wake-status/demo HTTP/1.1\r\n\r\n", true, false, false },
                { "POST of it", "POST /api/wake-status/demo HTTP/1.1\r\n\r\n", false, false, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Request request;

                if (parse(&request, cases[i].text) != REQUEST_WHOLE || request.plain != cases[i].plain ||
                    request.browser != cases[i].browser || request.watches != cases[i].watches)
                        TEST_FAIL("%s: %d %d %d", cases[i].name, request.plain, request.browser, request.watches);
        }
}

/* Each beginning is a doubt or the same verdict, and never a page. */
static void test_one_byte_at_a_time(void) {
        static const char text[] = GET("/") HTML NAVIGATES "\r\n";
        Request request;

        for (size_t size = 0; size < sizeof(text) - 1; size++) {
                RequestVerdict verdict = request_parse(&request, text, size, "demo");

                ASSERT_EQ(verdict, size < 4 ? REQUEST_MORE : REQUEST_PARTIAL);
                ASSERT_FALSE(request.browser || request.plain || request.watches);
        }
        ASSERT_EQ(parse(&request, text), REQUEST_WHOLE);
        ASSERT_TRUE(request.browser);
}

static void test_what_rules_look_at(void) {
        Request request;

        ASSERT_EQ(parse(&request, GET("/a/b?c") "User-Agent:  Some Bot/1.0 \r\nAccept: */*\r\n\r\n"),
                  REQUEST_WHOLE);
        ASSERT_EQ(request.path.size, 4);
        ASSERT_TRUE(memcmp(request.path.data, "/a/b", 4) == 0);
        ASSERT_EQ(request.user_agent.size, 12);
        ASSERT_TRUE(memcmp(request.user_agent.data, "Some Bot/1.0", 12) == 0);
        ASSERT_EQ(parse(&request, "GET http://example.org/ HTTP/1.1\r\n\r\n"), REQUEST_WHOLE);
        ASSERT_NULL(request.path.data);
        ASSERT_NULL(request.user_agent.data);
}

static void test_long_heads(void) {
        static char text[REQUEST_PEEK_SIZE + 100];
        Request request;
        int n;

        /* A line without an end. */
        memset(text, 'x', sizeof(text));
        memcpy(text, "PROPFIND ", 9);
        ASSERT_EQ(request_parse(&request, text, REQUEST_PEEK_SIZE - 1, "demo"), REQUEST_MORE);
        ASSERT_EQ(request_parse(&request, text, REQUEST_PEEK_SIZE, "demo"), REQUEST_OTHER);
        memcpy(text, "GET /aaaa", 9);
        ASSERT_EQ(request_parse(&request, text, REQUEST_PEEK_SIZE, "demo"), REQUEST_WHOLE);
        ASSERT_FALSE(request.plain);

        /* Cookies of a browser: judged by the lines before. */
        memset(text, 'x', sizeof(text));
        n = snprintf(text, sizeof(text), GET("/") HTML "Cookie: ");
        text[n] = 'x';
        ASSERT_EQ(request_parse(&request, text, REQUEST_PEEK_SIZE - 1, "demo"), REQUEST_PARTIAL);
        ASSERT_EQ(request_parse(&request, text, sizeof(text), "demo"), REQUEST_WHOLE);
        ASSERT_TRUE(request.browser);
}

int main(void) {
        test_http_is_recognised();
        test_browsers_are_told_from_others();
        test_one_byte_at_a_time();
        test_what_rules_look_at();
        test_long_heads();
        return 0;
}
