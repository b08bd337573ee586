#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"
#include "web-stage.h"

/* wakechain-web as it answers. */

#define END "Connection: close\r\n\r\n"
#define OWN "Host: localhost\r\n" END
#define GET(path) "GET " path " HTTP/1.1\r\n" OWN
#define POST(path) "POST " path " HTTP/1.1\r\n" OWN
#define HTML "Host: my.site.example\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"
#define STREAM(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"

static void test_services_are_told_from_configuration_and_status(void) {
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), GET("/api/services"), "200",
                   "\"services\":[{\"name\":\"clemence\",\"title\":\"Clémence\",\"port\":9002,\"mode\":\"redirect\","
                   "\"state\":\"asleep\",\"since\":null,\"trigger\":null,\"wakeId\":null,\"progress\":0.00,"
                   "\"estimateMs\":17000,\"holders\":0,\"reason\":null,\"error\":null,\"busy\":null,\"dependencies\":["
                   "{\"container\":\"mysql\",\"kind\":\"container\",\"type\":\"required\",\"step\":1,\"state\":\"pending\",");
        web_expect(web_connect_tcp(&stage), GET("/api/services"), "200",
                   "\"sleepAllowed\":false},{\"name\":\"secret\"");
        web_expect(web_connect_local(&stage), GET("/api/services"), "200",
                   "\"sleepAllowed\":true},{\"name\":\"secret\"");

        web_expect(web_connect_tcp(&stage), GET("/api/services/clemence/state"), "200",
                   "{\"schemaVersion\":1,\"label\":\"Clémence\",\"message\":\"asleep\",\"color\":\"blue\",\"isError\":false,\"state\":\"asleep\"}");

        /* A stream tells when the file was seen. */
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/events") "\r\n");
        free(web_read_until(fd, "\"name\":\"secret\""));
        web_stage_set_clemence(&stage, "failed", "failed", "stopped", 100);
        free(web_read_until(fd, "\"state\":\"failed\""));
        web_expect(web_connect_tcp(&stage), GET("/api/services/clemence/state"), "200",
                   "\"message\":\"failed\",\"color\":\"red\",\"isError\":true");
        web_expect(web_connect_tcp(&stage), GET("/api/services"), "200",
                   "\"reason\":\"container_exited\",\"error\":\"mysql exited with 3\"");
        web_stage_remove_status(&stage, "clemence");
        free(web_read_until(
                        fd,
                        "\"name\":\"clemence\",\"title\":\"Clémence\",\"port\":9002,\"mode\":\"redirect\",\"state\":\"asleep\""));
        (void) fd_close(fd);
        web_stage_close(&stage);
}

static void test_graph_and_plan(void) {
        WebStage stage;

        web_stage_open(&stage);
        web_stage_configure(
                        &stage,
                        "{\"services\": {\"a\": {\"name\": \"x\", \"port\": 9002, \"dependencies\": ["
                        "{\"container\": \"db\", \"startOrder\": 1}, {\"container\": \"x\", \"startOrder\": 2}]},"
                        "\"b\": {\"name\": \"y\", \"dependencies\": [{\"container\": \"db\"}, {\"service\": \"a\"},"
                        "{\"container\": \"y\", \"dependsOn\": [\"db\", \"a\"]}]}}}");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), GET("/api/graph"), "200",
                   "{\"nodes\":[{\"id\":\"db\",\"kind\":\"container\",\"services\":[\"a\",\"b\"],\"shared\":true},"
                   "{\"id\":\"x\",\"kind\":\"container\",\"services\":[\"a\"],\"shared\":false},");
        web_expect(web_connect_tcp(&stage), GET("/api/graph"), "200",
                   "\"services\":[{\"name\":\"a\",\"steps\":[[\"db\"],[\"x\"]],\"edges\":[{\"from\":\"x\",\"to\":\"db\"}]},");
        web_expect(web_connect_tcp(&stage), POST("/api/wake/a?dryRun=true"), "200",
                   "\r\n\r\n{\"service\":\"a\",\"dependencies\":[{\"container\":\"db\",\"order\":1,\"estimatedTime\":\"5s\"},"
                   "{\"container\":\"x\",\"order\":2,\"estimatedTime\":\"5s\"}],\"totalEstimatedTime\":\"10s\",\"parallel\":false}");
        web_stage_close(&stage);
}

/* A stack is often called as its main container is. */
static void test_graph_tells_kinds_of_one_name_apart(void) {
        WebStage stage;

        web_stage_open(&stage);
        web_stage_configure(&stage,
                            "{\"services\": {\"blog\": {\"name\": \"blog\", \"port\": 9002},"
                            "\"feed\": {\"name\": \"feed\", \"dependencies\": [{\"service\": \"blog\"}]}}}");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), GET("/api/graph"), "200",
                   "{\"id\":\"blog\",\"kind\":\"container\",\"services\":[\"blog\"],\"shared\":false},"
                   "{\"id\":\"blog\",\"kind\":\"service\",\"services\":[\"feed\"],\"shared\":false}");
        web_stage_close(&stage);
}

static void test_a_changed_configuration_is_told(void) {
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/events") "\r\n");
        free(web_read_until(fd, "\"name\":\"secret\""));
        web_stage_configure(&stage, "{\"services\": {\"other\": {\"name\": \"other\", \"port\": 9009}}}");
        free(web_read_until(fd, "event: config\ndata: {}\n\n"));
        web_expect(web_connect_tcp(&stage), GET("/api/services"), "200", "{\"services\":[{\"name\":\"other\"");
        web_expect(web_connect_tcp(&stage), GET("/api/wake-status/clemence"), "404", "no such service");
        (void) fd_close(fd);
        web_stage_close(&stage);
}

/* What may not be done, by whom; each on a connection of its own. */
static void test_refusals(void) {
        static const struct {
                const char *request, *status;
        } cases[] = {
                /* names that are not ours: DNS rebinding */
                { "GET / HTTP/1.1\r\nHost: evil.example\r\n" END, "421" },
                { "GET / HTTP/1.1\r\nHost: evil.example:3456\r\n" END, "421" },
                { "GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n" END, "421" },
                { "GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n" END, "421" },
                { "GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n" END, "421" },
                { "POST /api/wake/clemence HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n" END,
                  "421" },
                { "GET / HTTP/1.1\r\n" END, "400" },
                { "GET / HTTP/1.0\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n" END, "400" },
                { "GET / HTTP/1.1\r\nHost: 127.0.0.1:3456\r\n" END, "200" },
                { "GET / HTTP/1.1\r\nHost: [::1]:3456\r\n" END, "200" },
                { "GET / HTTP/1.1\r\nHost: LOCALHOST:8080\r\n" END, "200" },

                /* pages of others */
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost.evil.example\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:2\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-site\r\n" END,
                  "403" },
                { "POST /api/sleep/clemence HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n" END,
                  "403" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\nSec-Fetch-Site: same-origin\r\n" END,
                  "200" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\n" END,
                  "200" },

                /* paths */
                { GET("/api/nothing"), "404" },
                { GET("/api/services/"), "404" },
                { GET("//api/services"), "400" },
                { GET("/api//services"), "400" },
                { GET("/%61pi/services"), "400" },
                { GET("/assets/%2e%2e/page/page.html"), "400" },
                { GET("/assets/../page/page.html"), "404" },
                { GET("/assets/.."), "404" },
                { GET("/assets/"), "404" },
                { GET("/assets/nothing.js"), "404" },
                { GET("/assets\\index.html"), "400" },
                { GET("http://localhost/api/services"), "400" },
                { GET("/api/wake-status/.."), "404" },
                { GET("/api/wake-status/."), "404" },
                { GET("/api/wake-status/clemence/"), "404" },
                { GET("/api/wake-status/clemence%00"), "400" },
                { GET("/api/wake-status/nobody"), "404" },
                { GET("/api/services?x=y"), "400" },
                { GET("/api/services/clemence"), "404" },
                { GET("/api/services/clemence/"), "404" },
                { GET("/api/services//state"), "400" },
                { GET("/api/services/nobody/state"), "404" },
                { GET("/api/services/clemence/state/"), "404" },
                { GET("/api/services/clemence/states"), "404" },
                { GET("/api/wake-status/clemence/state"), "404" },
                { POST("/api/services/clemence/state"), "405" },
                { POST("/api/wake/clemence?dryRun=maybe"), "400" },
                { POST("/api/wake/clemence?dryRun=true&dryRun=false"), "400" },
                { POST("/api/wake/nobody"), "404" },

                /* methods */
                { GET("/api/wake/clemence"), "405" },
                { "HEAD /api/sleep/clemence HTTP/1.1\r\n" OWN, "405" },
                { POST("/api/services"), "405" },
                { "PUT /api/wake/clemence HTTP/1.1\r\n" OWN, "405" },
                { "OPTIONS /api/wake/clemence HTTP/1.1\r\n" OWN, "405" },
                { "TRACE / HTTP/1.1\r\n" OWN, "405" },
                { "CONNECT localhost:80 HTTP/1.1\r\n" OWN, "400" },
                { "HEAD / HTTP/1.1\r\n" OWN, "200" },

                /* sizes */
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n" END,
                  "413" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n" END,
                  "413" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" END
                  "0\r\n\r\n",
                  "413" },
                { "POST /api/wake/clemence?dryRun=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n" END
                  "{}",
                  "200" },

                /* sleep: any user reaches the port */
                { POST("/api/sleep/clemence"), "403" },
        };
        _cleanup_free_ char *long_target = NULL, *long_header = NULL, *name = malloc(40000);
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                web_expect(web_connect_tcp(&stage), cases[i].request, cases[i].status, NULL);
        web_expect(web_connect_tcp(&stage), GET("/api/wake/clemence"), "405", "Allow: POST\r\n");
        web_expect(web_connect_tcp(&stage), POST("/api/services"), "405", "Allow: GET, HEAD\r\n");
        web_expect(web_connect_tcp(&stage), "GET / HTTP/1.1\r\nHost: evil.example\r\n" END, "421",
                   "{\"error\":\"");

        memset(name, 'x', 39999);
        name[39999] = '\0';
        ASSERT_TRUE(asprintf(&long_target, "GET /%.3000s HTTP/1.1\r\n" OWN, name) > 0);
        web_expect(web_connect_tcp(&stage), long_target, "414", NULL);
        ASSERT_TRUE(asprintf(&long_header, "GET / HTTP/1.1\r\nX: %s\r\n" OWN, name) > 0);
        web_expect(web_connect_tcp(&stage), long_header, "431", NULL);
        /* Nothing of that has done it any harm. */
        web_expect(web_connect_tcp(&stage), GET("/"), "200", "<html");
        web_stage_close(&stage);
}

static void test_names_that_the_configuration_gives(void) {
        WebStage stage;

        web_stage_open(&stage);
        web_stage_configure(&stage, "{\"api\": {\"hosts\": [\"wake.example\"]}, \"services\": {}}");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\nHost: wake.example\r\n" END, "200",
                   "{\"services\":[]}");
        web_expect(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\nHost: Wake.Example:443\r\n" END, "200",
                   NULL);
        web_expect(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\nHost: a.wake.example\r\n" END, "421",
                   NULL);
        web_stage_close(&stage);
}

static void test_assets_are_asked_for_once(void) {
        _cleanup_free_ char *answer = NULL, *request = NULL;
        char tag[64];
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        answer = web_ask(web_connect_tcp(&stage), GET("/assets/main.js"));
        ASSERT_TRUE(strstr(answer, "Content-Type: text/javascript"));
        ASSERT_TRUE(strstr(answer, "Content-Security-Policy: default-src 'none'; script-src 'self';"));
        ASSERT_EQ(sscanf(strstr(answer, "ETag: "), "ETag: %63s", tag), 1);
        ASSERT_TRUE(asprintf(&request, "GET /assets/main.js HTTP/1.1\r\nIf-None-Match: W/\"x\", %s\r\n" OWN, tag) >
                    0);
        web_expect(web_connect_tcp(&stage), request, "304", NULL);
        web_expect(web_connect_tcp(&stage), "GET /assets/main.js HTTP/1.1\r\nIf-None-Match: \"x\"\r\n" OWN, "200",
                   NULL);
        web_stage_close(&stage);
}

/* The number of the last event, and that all are newer than `after`. */
static uint64_t last_version(const char *events, uint64_t after) {
        uint64_t version = 0;

        for (const char *at = events; (at = strstr(at, "\nid: ")); at++) {
                ASSERT_EQ(sscanf(at, "\nid: %*[0-9a-f]-%" SCNu64, &version), 1);
                ASSERT_TRUE(version > after);
        }
        return version;
}

static void expect_events_without_repeats(WebStage *stage) {
        _cleanup_free_ char *begin = NULL, *rest = NULL, *request = NULL;
        char id[64];
        int fd;

        fd = web_connect_tcp(stage);
        web_send(fd, STREAM("/api/wake-status/clemence") "\r\n");
        begin = web_read_until(fd, "event: service-update\ndata: {");
        ASSERT_TRUE(strstr(begin, "retry: 1000\n"));
        ASSERT_TRUE(strstr(begin, "X-Accel-Buffering: no\r\n"));
        for (const char *at = begin; (at = strstr(at, "\nid: ")); at++)
                ASSERT_EQ(sscanf(at, "\nid: %63s", id), 1);
        (void) fd_close(fd);

        web_stage_set_clemence(stage, "waking", "ready", "starting", 3000);
        ASSERT_TRUE(asprintf(&request, STREAM("/api/wake-status/clemence") "Last-Event-ID: %s\r\n\r\n", id) > 0);
        fd = web_connect_tcp(stage);
        web_send(fd, request);
        rest = web_read_until(fd, "\"container\":\"wordpress\",\"status\":\"starting\"");
        ASSERT_TRUE(strstr(rest, "\"container\":\"mysql\",\"status\":\"ready\",\"progress\":100"));
        ASSERT_TRUE(last_version(rest, last_version(begin, 0)) > 0);
        (void) fd_close(fd);
}

static void test_events_follow_a_wake(void) {
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_start(&stage, (const char *[]){ "--heartbeat=50ms", NULL });
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/wake-status/clemence") "\r\n");
        free(web_read_until(fd, "Content-Type: text/event-stream"));
        free(web_read_until(fd, "\"container\":\"mysql\",\"status\":\"pending\",\"progress\":0,"));
        free(web_read_until(fd, "\"service\":\"clemence\",\"state\":\"asleep\""));
        free(web_read_until(fd, ": heartbeat\n\n"));

        web_stage_set_clemence(&stage, "waking", "starting", "pending", 2500);
        free(web_read_until(fd, "\"container\":\"mysql\",\"status\":\"starting\",\"progress\":4"));
        free(web_read_until(fd, "\"service\":\"clemence\",\"state\":\"waking\",\"progress\":1"));
        /* Between two changes of the file it goes on by itself. */
        free(web_read_until(fd, "\"container\":\"mysql\",\"status\":\"starting\",\"progress\":"));
        expect_events_without_repeats(&stage);
        free(web_read_until(fd, "\"container\":\"mysql\",\"status\":\"ready\",\"progress\":100"));
        web_stage_set_clemence(&stage, "awake", "ready", "ready", 0);
        free(web_read_until(fd, "\"state\":\"awake\",\"progress\":100"));
        /* Here, not on the service's own port, the stream goes on. */
        web_stage_set_clemence(&stage, "asleep", "stopped", "stopped", 0);
        free(web_read_until(fd, "\"state\":\"asleep\",\"progress\":0"));
        (void) fd_close(fd);
        web_stage_close(&stage);
}

/* Every "progress" behind that key: none is less than the one before. Returns the last. */
static unsigned follow_progress(const char *events, const char *key, unsigned last) {
        for (const char *at = events; (at = strstr(at, key)); at++) {
                const char *progress = strstr(at, "\"progress\":");
                unsigned number;

                if (!progress)
                        break;
                ASSERT_EQ(sscanf(progress, "\"progress\":%u", &number), 1);
                ASSERT_TRUE(number >= last && number < 100);
                last = number;
        }
        return last;
}

/* A waker that thinks again, or a clock that is set: nobody is told less than before. */
static void test_progress_never_runs_backwards(void) {
        static const unsigned since_msec[] = { 8000, 2000, 9000, 100 };
        unsigned service = 0, part = 0;
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 3000);
        web_stage_start(&stage, NULL);
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/wake-status/clemence") "\r\n");
        for (size_t i = 0; i < ELEMENTSOF(since_msec); i++) {
                bool even = i % 2 == 0;
                _cleanup_free_ char *events = NULL;

                /* The state of the other part tells that this file was seen. */
                web_stage_set_clemence(&stage, "waking", "checking", even ? "starting" : "pending", since_msec[i]);
                events = web_read_until(fd, even ? "\"container\":\"wordpress\",\"status\":\"starting\""
                                                 : "\"container\":\"wordpress\",\"status\":\"pending\"");
                service = follow_progress(events, "\"service\":\"clemence\"", service);
                part = follow_progress(events, "\"container\":\"mysql\"", part);
        }
        ASSERT_TRUE(service > 0 && part > 0);
        (void) fd_close(fd);
        web_stage_close(&stage);
}

static void test_a_visitor_gets_the_page(void) {
        _cleanup_free_ char *page = NULL, *head = NULL;
        WebStage stage;

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 2000);
        web_stage_start(&stage, NULL);
        page = web_ask(web_pass_visitor(&stage, "clemence"),
                       "GET /blog/?p=1 HTTP/1.1\r\nAccept-Language: fr\r\n" HTML);
        ASSERT_TRUE(strncmp(page, "HTTP/1.1 503 ", 13) == 0);
        for (size_t i = 0; i < 9; i++) {
                static const char *const headers[] = { "\r\nRetry-After: ",
                                                       "\r\nCache-Control: no-store\r\n",
                                                       "\r\nConnection: close\r\n",
                                                       "\r\nX-Robots-Tag: noindex\r\n",
                                                       "\r\nContent-Type: text/html; charset=utf-8\r\n",
                                                       "\r\nContent-Security-Policy: ",
                                                       "\r\nX-Content-Type-Options: nosniff\r\n",
                                                       "\r\nContent-Language: fr\r\n",
                                                       "\r\nVary: Accept, Accept-Language\r\n" };

                if (!strstr(page, headers[i]))
                        TEST_FAIL("no '%s' in %s", headers[i], page);
        }
        ASSERT_TRUE(strstr(page, "Clémence"));
        ASSERT_TRUE(strstr(page, "mysql"));

        head = web_ask(web_pass_visitor(&stage, "clemence"), "HEAD / HTTP/1.1\r\n" HTML);
        ASSERT_TRUE(strncmp(head, "HTTP/1.1 503 ", 13) == 0);
        ASSERT_TRUE(strlen(head) > 4 && streq(head + strlen(head) - 4, "\r\n\r\n"));
        web_stage_close(&stage);
}

/* The address is the users' own: nothing of the API is there, and no Host is wrong. */
static void test_a_visitor_gets_nothing_else(void) {
        static const struct {
                const char *request, *status;
        } cases[] = {
                { "GET /api/services HTTP/1.1\r\nHost: localhost\r\n\r\n", "404" },
                { "GET /api/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", "404" },
                { "GET /api/graph HTTP/1.1\r\nHost: localhost\r\n\r\n", "404" },
                { "GET /assets/main.js HTTP/1.1\r\nHost: localhost\r\n\r\n", "404" },
                { "GET /api/wake-status/secret HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
                  "404" },
                { "GET /api/wake-status/clemence/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "404" },
                { "GET //api/wake-status/clemence HTTP/1.1\r\nHost: localhost\r\n\r\n", "404" },
                { "POST /api/wake/clemence HTTP/1.1\r\nHost: localhost\r\n\r\n", "405" },
                { "POST /api/sleep/clemence HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n", "405" },
                { "DELETE / HTTP/1.1\r\nAccept: text/html\r\nHost: localhost\r\n\r\n", "405" },
                /* a page is there whatever the path */
                { "GET /api/services HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n", "503" },
                { "GET /%2e%2e/x HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\n\r\n", "503" },
                { "GET http://x/ HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n", "503" },
        };
        WebStage stage;

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 2000);
        web_stage_start(&stage, NULL);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                web_expect(web_pass_visitor(&stage, "clemence"), cases[i].request, cases[i].status, NULL);
        web_stage_close(&stage);
}

static void test_a_visitors_events_end_with_the_wake(void) {
        static const char *const ends[] = { "awake", "failed", "asleep" };
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
                int fd = web_pass_visitor(&stage, "clemence");
                _cleanup_free_ char *rest = NULL;

                /* The front is faster than the waker: nothing has begun yet. */
                web_send(fd, STREAM("/api/wake-status/clemence") "\r\n");
                free(web_read_until(fd, "\"service\":\"clemence\",\"state\":\"asleep\""));
                web_stage_set_clemence(&stage, "waking", "starting", "pending", 100);
                free(web_read_until(fd, "\"service\":\"clemence\",\"state\":\"waking\""));
                web_stage_set_clemence(&stage, ends[i], streq(ends[i], "awake") ? "ready" : "stopped", "stopped",
                                       0);
                rest = web_read_to_end(fd);
                ASSERT_TRUE(strstr(rest, ends[i]));
                ASSERT_TRUE(strstr(rest, "\r\n0\r\n\r\n"));
                (void) fd_close(fd);
                if (!streq(ends[i], "asleep")) {
                        int other = web_connect_tcp(&stage);

                        web_send(other, STREAM("/api/wake-status/clemence") "\r\n");
                        web_stage_remove_status(&stage, "clemence");
                        free(web_read_until(other, "\"state\":\"asleep\""));
                        (void) fd_close(other);
                }
        }
        web_stage_close(&stage);
}

/* The wake before this one has failed, and its status is still there when the visitor is: what he is told is of this one. */
static void test_an_old_failure_is_not_told(void) {
        _cleanup_free_ char *page = NULL, *failed = NULL;
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "failed", "failed", "stopped", 600000);
        web_stage_start(&stage, NULL);
        fd = web_pass_visitor(&stage, "clemence");
        web_send(fd, "GET / HTTP/1.1\r\n" HTML);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 100);
        page = web_read_to_end(fd);
        (void) fd_close(fd);
        ASSERT_TRUE(strstr(page, "data-state=\"waking\""));

        web_stage_set_clemence(&stage, "failed", "failed", "stopped", 0);
        failed = web_ask(web_pass_visitor(&stage, "clemence"), "GET /blog/?p=1 HTTP/1.1\r\n" HTML);
        ASSERT_TRUE(strstr(failed, "data-state=\"failed\""));
        ASSERT_TRUE(strstr(failed, "id=\"retry\""));
        web_stage_close(&stage);
}

static void test_details_are_not_told(void) {
        _cleanup_free_ char *page = NULL, *events = NULL;
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_set_status(
                        &stage, "secret",
                        "{'service':'secret','state':'failed','since':'2026-01-05T08:00:00.123456Z','reason':'image_missing',"
                        "'error':'no image of vault','dependencies':[{'container':'vault','type':'required','step':1,"
                        "'state':'failed','reason':'image_missing','error':'no image of vault'}]}");
        web_stage_start(&stage, NULL);
        page = web_ask(web_pass_visitor(&stage, "secret"), "GET / HTTP/1.1\r\n" HTML);
        ASSERT_TRUE(strstr(page, "data-state=\"failed\""));
        ASSERT_FALSE(strstr(page, "vault"));
        events = web_ask(web_pass_visitor(&stage, "secret"), STREAM("/api/wake-status/secret") "\r\n");
        ASSERT_TRUE(strstr(events, "\"container\":\"1\",\"status\":\"error\""));
        ASSERT_FALSE(strstr(events, "vault"));
        ASSERT_FALSE(strstr(events, "image_missing"));

        /* Who runs the server sees all. */
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/wake-status/secret") "\r\n");
        free(web_read_until(fd, "\"container\":\"vault\",\"status\":\"error\""));
        free(web_read_until(fd, "\"message\":\"no image of vault\""));
        (void) fd_close(fd);
        web_stage_close(&stage);
}

/* A front that waits no longer has a client for itself: two would read the same bytes, and answer. */
static void test_an_offer_that_is_over_is_left_alone(void) {
        int visitor, front, pages;
        WebStage stage;
        char byte;

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 100);
        pages = web_connect_pages(&stage);
        web_visitor(&visitor, &front);
        web_offer(pages, "clemence", front);
        (void) fd_close(pages);
        web_send(visitor, "GET / HTTP/1.1\r\n" HTML);

        /* Taken in order: once the next one is served, this one has been dealt with. */
        web_stage_start(&stage, NULL);
        web_expect(web_pass_visitor(&stage, "clemence"), "GET / HTTP/1.1\r\n" HTML, "503", "Clémence");
        ASSERT_EQ(recv(front, &byte, 1, MSG_DONTWAIT), 1);
        ASSERT_EQ(byte, 'G');
        web_stage_close(&stage);
        ASSERT_EQ(recv(visitor, &byte, 1, MSG_DONTWAIT), -1);
        (void) fd_close(front);
        (void) fd_close(visitor);
}

static void test_fronts_are_not_believed(void) {
        static const char *const bad[] = {
                "..", "a/b", "a\nb", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        };
        int visitor, front, pair[2], pages;
        WebStage stage;
        char byte;

        web_stage_open(&stage);
        web_stage_start(&stage, NULL);
        pages = web_connect_pages(&stage);
        web_visitor(&visitor, &front);
        ASSERT_EQ(web_pass(pages, "nobody", front), '-');
        /* It is closed there: this end is the last. */
        ASSERT_EQ(recv(visitor, &byte, 1, 0), 0);
        (void) fd_close(visitor);

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                int other = web_connect_pages(&stage);

                ASSERT_OK(send(other, bad[i], strlen(bad[i]), MSG_NOSIGNAL));
                ASSERT_EQ(recv(other, &byte, 1, 0), 0);
                (void) fd_close(other);
        }
        /* No client. */
        ASSERT_OK(send(pages, "clemence", 8, MSG_NOSIGNAL));
        ASSERT_EQ(recv(pages, &byte, 1, 0), 0);
        (void) fd_close(pages);

        /* A Unix socket is as good as a TCP one. */
        pages = web_connect_pages(&stage);
        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        ASSERT_EQ(web_pass(pages, "clemence", pair[1]), '+');
        web_expect(pair[0], "GET / HTTP/1.1\r\n" HTML, "503", "Clémence");
        (void) fd_close(pages);
        web_stage_close(&stage);
}

/* A waker's side of a call. */
static int waker_take(int listener, char **ret_call) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        char call[1024];
        size_t n = 0;

        ASSERT_TRUE(fd >= 0);
        do
                ASSERT_EQ(recv(fd, call + n, 1, 0), 1);
        while (call[n++] != '\0' && n < sizeof(call));
        *ret_call = strdup(call);
        return fd;
}

static void waker_say(int fd, const char *text) {
        ASSERT_EQ(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL), strlen(text) + 1);
}

static void test_wake(void) {
        _cleanup_free_ char *call = NULL, *again = NULL;
        int control, waker;
        WebStage stage;
        char byte;

        web_stage_open(&stage);
        control = web_stage_control(&stage, "clemence");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), POST("/api/wake/secret"), "503", "'wakectl reload' brings it up");
        web_expect(web_connect_tcp(&stage), POST("/api/wake/clemence"), "202", "\"totalEstimatedTime\":\"17s\"");
        waker = waker_take(control, &call);
        ASSERT_TRUE(strstr(call, "io.wakechain.Hold"));
        ASSERT_TRUE(strstr(call, "\"api\""));
        /* It is under way already. */
        web_expect(web_connect_tcp(&stage), POST("/api/wake/clemence"), "202", NULL);

        /* A stack that is just going to sleep is asked again; one that is awake is let go. */
        waker_say(waker, "{\"error\":\"io.wakechain.Stopping\",\"parameters\":{}}");
        (void) fd_close(waker);
        waker = waker_take(control, &again);
        ASSERT_STREQ(call, again);
        waker_say(waker,
                  "{\"parameters\":{\"status\":{\"service\":\"clemence\",\"state\":\"waking\"}},\"continues\":true}");
        waker_say(waker,
                  "{\"parameters\":{\"status\":{\"service\":\"clemence\",\"state\":\"awake\"}},\"continues\":true}");
        ASSERT_EQ(recv(waker, &byte, 1, 0), 0);
        (void) fd_close(waker);
        (void) fd_close(control);
        web_stage_close(&stage);
}

static void fail_a_wake(WebStage *stage, int control) {
        _cleanup_free_ char *call = NULL;
        int waker;
        char byte;

        for (;;) {
                _cleanup_free_ char *answer = web_ask(web_connect_tcp(stage), POST("/api/wake/clemence"));

                if (strstr(answer, "HTTP/1.1 202 "))
                        break;
                ASSERT_TRUE(strstr(answer, "HTTP/1.1 503 "));
                (void) usleep(10000);
        }
        waker = waker_take(control, &call);
        waker_say(waker,
                  "{\"error\":\"io.wakechain.WakeFailed\",\"parameters\":{\"reason\":\"image_missing\",\"message\":\"No such image.\"}}");
        ASSERT_EQ(recv(waker, &byte, 1, 0), 0);
        (void) fd_close(waker);
}

/* As at a front: at once after the first failure, then after pauses. */
static void test_a_failing_wake_is_paced(void) {
        _cleanup_free_ char *answer = NULL;
        WebStage stage;
        int control;

        web_stage_open(&stage);
        control = web_stage_control(&stage, "clemence");
        web_stage_start(&stage, NULL);
        fail_a_wake(&stage, control);
        web_expect(web_connect_tcp(&stage), POST("/api/wake/clemence"), "202", NULL);
        for (unsigned i = 0; i < 6; i++)
                fail_a_wake(&stage, control);
        answer = web_ask(web_connect_tcp(&stage), POST("/api/wake/clemence"));
        ASSERT_TRUE(strstr(answer, "HTTP/1.1 503 "));
        ASSERT_TRUE(strstr(answer, "Retry-After: 4\r\n"));
        ASSERT_TRUE(strstr(answer,
                           "clemence could not be woken: No such image. A new attempt is possible in 4 s."));
        web_expect(web_connect_tcp(&stage), POST("/api/wake/clemence?dryRun=true"), "200", NULL);
        web_expect(web_connect_tcp(&stage), POST("/api/wake/secret"), "503", "'wakectl reload' brings it up");

        /* Somebody else has woken it. */
        web_stage_set_clemence(&stage, "awake", "ready", "ready", 0);
        web_expect(web_connect_tcp(&stage), "GET /api/services HTTP/1.1\r\n" OWN, "200", "\"awake\"");
        web_expect(web_connect_tcp(&stage), POST("/api/wake/clemence"), "202", NULL);
        (void) fd_close(control);
        web_stage_close(&stage);
}

static void test_sleep(void) {
        _cleanup_free_ char *call = NULL;
        int control, waker;
        WebStage stage;

        web_stage_open(&stage);
        control = web_stage_control(&stage, "clemence");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_local(&stage), POST("/api/sleep/clemence"), "202", "{\"service\":\"clemence\"}");
        waker = waker_take(control, &call);
        ASSERT_TRUE(strstr(call, "io.wakechain.Sleep"));
        ASSERT_TRUE(strstr(call, "\"all\":true"));
        waker_say(waker, "{\"parameters\":{}}");
        (void) fd_close(waker);
        web_stage_close(&stage);

        web_stage_open(&stage);
        (void) fd_close(control);
        control = web_stage_control(&stage, "a");
        web_stage_configure(
                        &stage,
                        "{\"api\": {\"sleepOverTcp\": true}, \"services\": {\"a\": {\"name\": \"a\", \"port\": 9002}}}");
        web_stage_start(&stage, NULL);
        web_expect(web_connect_tcp(&stage), POST("/api/sleep/a"), "202", NULL);
        free(call);
        waker = waker_take(control, &call);
        /* A waker that is killed has a successor. */
        (void) fd_close(waker);
        free(call);
        waker = waker_take(control, &call);
        waker_say(waker, "{\"parameters\":{}}");
        (void) fd_close(waker);
        (void) fd_close(control);
        web_stage_close(&stage);
}

static void test_nobody_keeps_it_waiting(void) {
        _cleanup_free_ char *half = NULL;
        int silent, slow, size = 1024;
        WebStage stage;

        web_stage_open(&stage);
        web_stage_start(&stage, (const char *[]){ "--patience=300ms", "--heartbeat=5ms", NULL });
        silent = web_connect_tcp(&stage);
        half = web_ask(web_connect_tcp(&stage), "GET / HTTP/1.1\r\nHost: local");
        ASSERT_FALSE(strstr(half, "200"));
        free(web_read_to_end(silent));
        (void) fd_close(silent);

        /* Who does not read. It is disconnected when both buffers are full of heartbeats, which takes a while. */
        slow = web_connect_local(&stage);
        ASSERT_OK(setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
        web_send(slow, STREAM("/api/events") "\r\n");
        ASSERT_EQ(poll(&(struct pollfd){ .fd = slow, .events = POLLRDHUP }, 1, 60000), 1);
        (void) fd_close(slow);
        web_stage_close(&stage);
}

static void test_it_ends_when_unused(void) {
        WebStage stage;
        int fd;

        web_stage_open(&stage);
        web_stage_start(&stage, (const char *[]){ "--exit-idle-time=200ms", NULL });
        fd = web_connect_tcp(&stage);
        web_send(fd, STREAM("/api/wake-status/clemence") "\r\n");
        free(web_read_until(fd, "\"state\":\"asleep\""));
        /* In use: it is there after that time. */
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 4000);
        free(web_read_until(fd, "\"state\":\"waking\""));
        free(web_read_until(fd, "\"state\":\"waking\""));
        (void) fd_close(fd);
        web_stage_wait(&stage);
        web_stage_close(&stage);
}

int main(int argc, char **argv) {
        ASSERT_EQ(argc, 2);
        web_stage_program = argv[1];
        (void) signal(SIGPIPE, SIG_IGN);

        test_services_are_told_from_configuration_and_status();
        test_graph_and_plan();
        test_graph_tells_kinds_of_one_name_apart();
        test_a_changed_configuration_is_told();
        test_refusals();
        test_names_that_the_configuration_gives();
        test_assets_are_asked_for_once();
        test_events_follow_a_wake();
        test_progress_never_runs_backwards();
        test_a_visitor_gets_the_page();
        test_a_visitor_gets_nothing_else();
        test_a_visitors_events_end_with_the_wake();
        test_an_old_failure_is_not_told();
        test_details_are_not_told();
        test_fronts_are_not_believed();
        test_an_offer_that_is_over_is_left_alone();
        test_wake();
        test_a_failing_wake_is_paced();
        test_sleep();
        test_nobody_keeps_it_waiting();
        test_it_ends_when_unused();
        return 0;
}
