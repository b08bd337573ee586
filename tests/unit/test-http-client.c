#include <stdio.h>
#include <unistd.h>

#include "engine/http-client.h"
#include "scripted-server.h"
#include "test.h"

static sd_event *event;
static char socket_path[64];

typedef struct Answer {
        HttpRequest *request;
        int error;
        unsigned status;
        char body[256];
        size_t size;
        unsigned n_pieces;
        bool header, ended, free_on_data;
} Answer;

static void on_data(HttpRequest *request, const char *data, size_t size, void *userdata) {
        Answer *answer = userdata;

        if (size == 0) {
                ASSERT_FALSE(answer->header);
                answer->header = true;
                answer->status = http_request_status(request);
        } else {
                ASSERT_TRUE(answer->header);
                ASSERT_TRUE(answer->size + size < sizeof(answer->body));
                memcpy(answer->body + answer->size, data, size);
                answer->size += size;
                answer->n_pieces++;
        }
        if (answer->free_on_data) {
                answer->request = http_request_free(answer->request);
                answer->ended = true;
        }
}

static void on_end(HttpRequest *request, const HttpResponse *response, void *userdata) {
        Answer *answer = userdata;

        ASSERT_FALSE(answer->ended);
        ASSERT_TRUE(response->reason);
        ASSERT_EQ(response->body[response->size], '\0');
        answer->error = response->error;
        answer->status = response->status;
        if (response->size > 0) {
                answer->size = response->size;
                (void) snprintf(answer->body, sizeof(answer->body), "%s", response->body);
        }
        answer->request = http_request_free(answer->request);
        answer->ended = true;
}

static void run_until(const bool *done) {
        while (!*done)
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_SEC));
}

static void begin(Answer *answer, HttpClient *client, const char *method, const char *body, bool stream,
                  uint64_t timeout_usec) {
        HttpParameters parameters = {
                .method = method,
                .url = "http://localhost/x",
                .body = body,
                .timeout_usec = timeout_usec,
                .stream = stream,
        };

        ASSERT_OK(http_request_new(&answer->request, client, &parameters, on_data, on_end, answer));
        ASSERT_FALSE(answer->ended); /* never from inside */
}

/* One request to a server with one rule. */
static Answer ask(ScriptedRule rule, bool stream, uint64_t timeout_usec) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        Answer answer = {};

        rule.request = "GET /x";
        server = scripted_server_new(event, socket_path, &rule, 1);
        ASSERT_OK(http_client_new(&client, event, socket_path));
        begin(&answer, client, "GET", NULL, stream, timeout_usec);
        run_until(&answer.ended);
        return answer;
}

static void test_body_is_collected(void) {
        Answer answer = ask((ScriptedRule){ .reply = REPLY("200 OK", "Content-Length: 5\r\n", "hello"),
                                            .piece = 3 },
                            false, USEC_INFINITY);

        ASSERT_EQ(answer.error, 0);
        ASSERT_EQ(answer.status, 200);
        ASSERT_STREQ(answer.body, "hello");
}

static void test_status_is_no_error(void) {
        Answer answer = ask((ScriptedRule){ .reply = REPLY_EMPTY("500 Oh") }, false, USEC_INFINITY);

        ASSERT_EQ(answer.error, 0);
        ASSERT_EQ(answer.status, 500);
        ASSERT_EQ(answer.size, 0);
}

static void test_body_is_streamed(void) {
        Answer answer = ask((ScriptedRule){ .reply = REPLY("200 OK", "", "one two three four"),
                                            .piece = 8,
                                            .close = true },
                            true, USEC_INFINITY);

        ASSERT_EQ(answer.error, 0);
        ASSERT_TRUE(answer.header);
        ASSERT_TRUE(answer.n_pieces >= 2);
        ASSERT_STREQ(answer.body, "one two three four");
}

static void test_bad_answers(void) {
        static const struct {
                const char *reply;
                int error;
        } cases[] = {
                { "garbage that is no HTTP\r\n\r\n", EBADMSG },
                { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", ECONNRESET },
                { "HTTP/1.1 200 OK\r\nConte", ECONNRESET },
                { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", ECONNRESET },
                { "\r\n", EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Answer answer = ask((ScriptedRule){ .reply = cases[i].reply, .close = true }, false,
                                    USEC_INFINITY);

                ASSERT_EQ(answer.error, -cases[i].error);
        }
}

static void test_connection_closed_without_an_answer(void) {
        Answer answer = ask((ScriptedRule){ .reply = "", .close = true }, false, USEC_INFINITY);

        ASSERT_EQ(answer.error, -ECONNRESET);
}

static void test_silence_ends_with_the_timeout(void) {
        Answer answer = ask((ScriptedRule){ .reply = NULL }, false, 30 * USEC_PER_MSEC);

        ASSERT_EQ(answer.error, -ETIMEDOUT);
        answer = ask((ScriptedRule){ .reply = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf" }, false,
                     30 * USEC_PER_MSEC);
        ASSERT_EQ(answer.error, -ETIMEDOUT);
}

static void test_sizes_are_bounded(void) {
        static const char header[] = "HTTP/1.1 200 OK\r\n\r\n",
                          line[] = "X-Padding: 0123456789012345678901234567890123456789\r\n";
        size_t size = HTTP_BODY_MAX + 65536;
        _cleanup_free_ char *reply = malloc(size);
        Answer answer;

        ASSERT_TRUE(reply);
        memset(reply, 'x', size);
        memcpy(reply, header, sizeof(header) - 1);
        answer = ask((ScriptedRule){ .reply = reply, .reply_size = size, .close = true }, false, USEC_INFINITY);
        ASSERT_EQ(answer.error, -EFBIG);

        for (size_t i = 17; i + sizeof(line) < size; i += sizeof(line) - 1)
                memcpy(reply + i, line, sizeof(line) - 1);
        answer = ask((ScriptedRule){ .reply = reply, .reply_size = size, .close = true }, false, USEC_INFINITY);
        ASSERT_EQ(answer.error, -EFBIG);
}

static void test_limit_of_a_request(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /x", REPLY("200 OK", "Content-Length: 5\r\n", "hello") } };
        HttpParameters parameters = { .method = "GET",
                                      .url = "http://localhost/x",
                                      .timeout_usec = USEC_INFINITY };

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        for (size_t limit = 4; limit <= 5; limit++) {
                Answer answer = {};

                parameters.limit = limit;
                ASSERT_OK(http_request_new(&answer.request, client, &parameters, NULL, on_end, &answer));
                run_until(&answer.ended);
                ASSERT_EQ(answer.error, limit < 5 ? -EFBIG : 0);
        }
}

static void test_lines_after_the_body_are_no_header(void) {
        Answer answer = ask((ScriptedRule){ .reply = REPLY("200 OK", "Transfer-Encoding: chunked\r\n",
                                                           "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
                                            .piece = 1 },
                            true, USEC_INFINITY);

        ASSERT_EQ(answer.error, 0);
        ASSERT_STREQ(answer.body, "hello");
}

static void test_nobody_listens(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        Answer answer = {};

        ASSERT_OK(http_client_new(&client, event, "/nonexistent/socket"));
        begin(&answer, client, "GET", NULL, false, USEC_INFINITY);
        run_until(&answer.ended);
        ASSERT_EQ(answer.error, -ENOENT);
}

static void test_connection_is_used_again(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /x", REPLY_EMPTY("204 Yes") } };

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        for (int i = 0; i < 5; i++) {
                Answer answer = {};

                begin(&answer, client, "GET", NULL, false, USEC_INFINITY);
                run_until(&answer.ended);
                ASSERT_EQ(answer.status, 204);
        }
        ASSERT_EQ(scripted_server_connections(server), 1);

        /* The server goes away in between: a new connection, no failure. */
        scripted_server_drop(server);
        Answer answer = {};
        begin(&answer, client, "GET", NULL, false, USEC_INFINITY);
        run_until(&answer.ended);
        ASSERT_EQ(answer.status, 204);
        ASSERT_EQ(scripted_server_connections(server), 2);
}

/* Carried out, and the server ends before it says so: nobody asks for it again in the caller's name. */
static void test_post_is_sent_once(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = {
                { "GET /x", REPLY_EMPTY("200 OK") },
                { "POST /x", "", .close = true, .times = 1 },
                { "POST /x", REPLY_EMPTY("304 Not Modified") },
        };
        Answer before = {}, answer = {};

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        begin(&before, client, "GET", NULL, false, USEC_INFINITY);
        run_until(&before.ended);
        ASSERT_EQ(before.status, 200);

        begin(&answer, client, "POST", NULL, false, USEC_INFINITY);
        run_until(&answer.ended);
        ASSERT_EQ(answer.error, -ECONNRESET);
        ASSERT_EQ(scripted_server_requests(server, "POST /x"), 1);
}

static void test_post_has_a_body_or_none(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "POST /x", REPLY_EMPTY("204 Yes") } };
        Answer with = {}, without = {};

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));

        begin(&without, client, "POST", NULL, false, USEC_INFINITY);
        run_until(&without.ended);
        ASSERT_TRUE(strstr(scripted_server_last(server), "Content-Length: 0\r\n"));
        ASSERT_NULL(strstr(scripted_server_last(server), "Content-Type"));

        begin(&with, client, "POST", "{\"a\":1}", false, USEC_INFINITY);
        run_until(&with.ended);
        ASSERT_TRUE(strstr(scripted_server_last(server), "Content-Type: application/json\r\n"));
        ASSERT_TRUE(strstr(scripted_server_last(server), "\r\n\r\n{\"a\":1}"));
}

static void test_cancelled_request_is_silent(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /x", REPLY_EMPTY("204 Yes") } };
        Answer cancelled = {}, answer = {};

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        begin(&cancelled, client, "GET", NULL, false, USEC_INFINITY);
        cancelled.request = http_request_free(cancelled.request);
        begin(&answer, client, "GET", NULL, false, USEC_INFINITY);
        run_until(&answer.ended);
        ASSERT_FALSE(cancelled.ended);
}

static void test_request_may_be_freed_while_it_streams(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /x", REPLY("200 OK", "", "endless"), .piece = 1 } };
        Answer answer = { .free_on_data = true };

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        begin(&answer, client, "GET", NULL, true, USEC_INFINITY);
        run_until(&answer.ended);
        ASSERT_EQ(answer.size, 0);
}

static void test_header_is_found(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /x", REPLY("200 OK", "Api-Version: 1.41\r\n", "") } };
        Answer answer = {};

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, socket_path));
        begin(&answer, client, "GET", NULL, true, USEC_INFINITY);
        run_until(&answer.header);
        ASSERT_STREQ(http_request_header(answer.request, "api-version"), "1.41");
        ASSERT_NULL(http_request_header(answer.request, "other"));
        answer.request = http_request_free(answer.request);
}

static void test_tcp(void) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        ScriptedRule rules[] = { { "GET /health", REPLY_EMPTY("200 OK") } };
        HttpParameters parameters = { .method = "GET", .timeout_usec = USEC_INFINITY, .fresh = true };
        char url[64];

        server = scripted_server_new(event, NULL, rules, ELEMENTSOF(rules));
        ASSERT_OK(http_client_new(&client, event, NULL));
        (void) snprintf(url, sizeof(url), "http://127.0.0.1:%u/health", scripted_server_port(server));
        parameters.url = url;
        for (unsigned i = 1; i <= 2; i++) {
                Answer answer = {};

                ASSERT_OK(http_request_new(&answer.request, client, &parameters, NULL, on_end, &answer));
                run_until(&answer.ended);
                ASSERT_EQ(answer.status, 200);
                ASSERT_EQ(scripted_server_connections(server), i);
        }
}

int main(void) {
        (void) snprintf(socket_path, sizeof(socket_path), "%s/test-http-client-%d.sock",
                        getenv("TMPDIR") ?: "/tmp", getpid());
        ASSERT_OK(sd_event_new(&event));

        test_body_is_collected();
        test_status_is_no_error();
        test_body_is_streamed();
        test_bad_answers();
        test_connection_closed_without_an_answer();
        test_silence_ends_with_the_timeout();
        test_sizes_are_bounded();
        test_limit_of_a_request();
        test_lines_after_the_body_are_no_header();
        test_nobody_listens();
        test_connection_is_used_again();
        test_post_is_sent_once();
        test_post_has_a_body_or_none();
        test_cancelled_request_is_silent();
        test_request_may_be_freed_while_it_streams();
        test_header_is_found();
        test_tcp();

        (void) sd_event_unref(event);
        return 0;
}
