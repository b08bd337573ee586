#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine-fixture.h"
#include "test.h"

/* Engines that are away, sick, hostile, stopped or replaced. */

#define SHORT (40 * USEC_PER_MSEC)
#define N_CALLS 20

/* Sockets */

static void make_nothing(const char *path) {
}

static void make_file(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(close(fd), 0);
}

static void make_fifo(const char *path) {
        ASSERT_EQ(mkfifo(path, 0600), 0);
}

static void make_folder(const char *path) {
        ASSERT_EQ(mkdir(path, 0700), 0);
}

static void make_socket_of_nobody(const char *path) {
        ScriptedServer *server = scripted_server_new(event, path, NULL, 0);
        _cleanup_free_ char *kept = NULL;

        /* What a killed engine leaves: the file without a listener. */
        ASSERT_TRUE(asprintf(&kept, "%s.kept", path) > 0);
        ASSERT_EQ(rename(path, kept), 0);
        scripted_server_free(server);
        ASSERT_EQ(rename(kept, path), 0);
}

static void test_what_is_no_socket_of_an_engine(void) {
        static void (*const makers[])(const char *path) = {
                make_nothing, make_file, make_fifo, make_folder, make_socket_of_nobody,
        };

        for (size_t i = 0; i < ELEMENTSOF(makers); i++) {
                _cleanup_(engine_freep) Engine *engine = NULL;
                Reply reply;

                (void) remove(socket_path);
                makers[i](socket_path);
                ASSERT_OK(engine_new(&engine, event, socket_path));
                reply = start(engine, "db", TIMEOUT);
                if (reply.outcome != ENGINE_UNREACHABLE)
                        TEST_FAIL("%zu: %s", i, reply.message);
                ASSERT_TRUE(strncmp(reply.message, "cannot reach the container engine: ", 35) == 0);
        }
        (void) remove(socket_path);
}

/* Answers */

#define KILO(text) text text text text text text text text text text
#define LINE "X-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789012345678\r\n"
#define HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

/* Without a loop, the connection is closed behind it. */
static const struct {
        const char *reply;
        size_t loop;
        EngineOutcome outcome;
} bad_answers[] = {
        { "", 0, ENGINE_UNREACHABLE },
        { "garbage\r\n\r\n", 0, ENGINE_BROKEN },
        { "\x16\x03\x01\x02", 0, ENGINE_BROKEN }, /* TLS */
        { "HTTP/1.1 200 OK\r\nContent-Le", 0, ENGINE_UNREACHABLE },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":", 0, ENGINE_UNREACHABLE },
        { "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", 0, ENGINE_BROKEN },
        { CHUNKED "zz\r\n", 0, ENGINE_BROKEN },
        { REPLY_BODY("500 Oh", "{\"message\":\"sick\"}"), 0, ENGINE_BROKEN },
        { REPLY_BODY("500 Oh", ""), 0, ENGINE_BROKEN },
        { "HTTP/1.1 999 What\r\n\r\n", 0, ENGINE_BROKEN },
        /* Headers without an end, as lines, as one line, and as interim answers. */
        { HEAD LINE, sizeof(HEAD) - 1, ENGINE_BROKEN },
        { HEAD "X-Padding: 0123456789012345678901234567890123456789", sizeof(HEAD) - 1 + 20, ENGINE_BROKEN },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", 25, ENGINE_BROKEN },
        /* Bodies without an end, or of a size that nobody wants. */
        { CHUNKED "a\r\n0123456789\r\n", sizeof(CHUNKED) - 1, ENGINE_BROKEN },
        { HEAD "Content-Length: 104857600\r\n\r\n" KILO("0123456789"), 45, ENGINE_BROKEN },
        { HEAD "\r\n[", sizeof(HEAD) - 1 + 2, ENGINE_BROKEN },
        { REPLY_BODY("500 Oh", "sick and "), 45, ENGINE_BROKEN },
};

static void test_bad_answers_to_the_ping(void) {
        for (size_t i = 0; i < ELEMENTSOF(bad_answers); i++) {
                _cleanup_(fixture_done) Fixture fixture = FIXTURE({ "GET /_ping", bad_answers[i].reply,
                                                                    .loop = bad_answers[i].loop, .close = true });
                Reply reply = start(fixture.engine, "db", TIMEOUT);

                if (reply.outcome != bad_answers[i].outcome)
                        TEST_FAIL("%zu: %s", i, reply.message);
        }
}

static void test_bad_answers_to_an_inspect(void) {
        for (size_t i = 0; i < ELEMENTSOF(bad_answers); i++) {
                _cleanup_(fixture_done) Fixture fixture =
                                FIXTURE(RULE_PING, { "GET", bad_answers[i].reply, .loop = bad_answers[i].loop,
                                                     .close = true });
                Reply reply = inspect(fixture.engine, "db", TIMEOUT);

                if (reply.outcome != bad_answers[i].outcome)
                        TEST_FAIL("%zu: %s", i, reply.message);
                ASSERT_NULL(reply.info);
        }
}

static void test_half_an_answer_and_silence(void) {
        static const char *const replies[] = {
                NULL,
                "HTTP/1.1 2",
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
                CHUNKED "5\r\n{\"Id",
        };

        for (size_t i = 0; i < ELEMENTSOF(replies); i++) {
                _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "GET", replies[i] });
                Reply reply = inspect(fixture.engine, "db", SHORT);

                ASSERT_EQ(reply.outcome, ENGINE_TIMED_OUT);
                ASSERT_STREQ(reply.message, "no answer from the container engine within 40ms");
        }
}

/* An inspect with `n` times `item` in between. */
static char *long_reply(const char *begin, const char *item, size_t n, const char *end) {
        size_t size = strlen(item);
        char *reply = malloc(256 + strlen(begin) + n * size + strlen(end)), *tail;

        ASSERT_TRUE(reply);
        tail = stpcpy(stpcpy(reply, REPLY_BODY("200 OK", "")), begin);
        for (size_t i = 0; i < n; i++)
                tail = mempcpy(tail, item, size);
        (void) strcpy(tail, end);
        return reply;
}

static void test_an_inspect_without_measure(void) {
#define BEGIN "{\"Id\":\"0123abc\",\"Name\":\"/db\",\"State\":{\"Running\":true"
        static const struct {
                const char *begin, *item;
                size_t n;
                const char *end;
                EngineOutcome outcome;
        } cases[] = {
                { BEGIN "},\"a\":", "[", 100000, "", ENGINE_BROKEN },
                { BEGIN "},\"a\":", "{\"a\":", 20000, "", ENGINE_BROKEN },
                { BEGIN "},\"a\":[1", ",[]", 100000, "]}", ENGINE_BROKEN },
                { BEGIN "},\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[1", ",{\"HostPort\":\"1\"}", 100000,
                  "]}}}", ENGINE_BROKEN },
                { BEGIN "},\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[1", ",{\"HostPort\":\"1\"}", 10000,
                  "]}}}", ENGINE_OK },
                { BEGIN ",\"Error\":\"", "x", 1000000, "\"}}", ENGINE_OK },
                { BEGIN ",\"Error\":\"", "x", 2000000, "\"}}", ENGINE_BROKEN },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = long_reply(cases[i].begin, cases[i].item, cases[i].n, cases[i].end);
                _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "GET", text, .close = true });
                _cleanup_(reply_done) Reply reply = inspect(fixture.engine, "db", TIMEOUT);

                if (reply.outcome != cases[i].outcome)
                        TEST_FAIL("%zu: %s", i, reply.message);
                if (reply.info) {
                        ASSERT_TRUE(reply.info->n_bindings <= 1024);
                        ASSERT_TRUE(strlen(reply.info->error) <= 1024);
                }
        }
#undef BEGIN
}

static void test_networks_without_measure(void) {
        _cleanup_free_ char *body = NULL, *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&body, &size);

        ASSERT_TRUE(stream);
        fputs("{\"Id\":\"0123abc\",\"Name\":\"/db\",\"State\":{\"Running\":true},\"NetworkSettings\":{\"Networks\":{",
              stream);
        for (unsigned i = 0; i < 5000; i++)
                fprintf(stream, "%s\"net%u\":{\"IPAddress\":\"10.0.0.1\"}", i > 0 ? "," : "", i);
        fputs("}}}", stream);
        ASSERT_EQ(fclose(stream), 0);
        text = long_reply(body, "", 0, "");

        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "GET", text, .close = true });
        _cleanup_(reply_done) Reply reply = inspect(fixture.engine, "db", TIMEOUT);

        ASSERT_EQ(reply.outcome, ENGINE_OK);
        ASSERT_EQ(reply.info->n_networks, 1024);
        ASSERT_STREQ(reply.info->networks[1023].name, "net1023");
}

/* Outages */

/* Calls that are made again as soon as they are answered, like those of many containers without any patience. */
typedef struct Crowd Crowd;
typedef struct Caller {
        Crowd *crowd;
        EngineCall *call;
} Caller;

struct Crowd {
        Engine *engine;
        uint64_t timeout_usec;
        Caller callers[N_CALLS];
        unsigned n_answers[ENGINE_TIMED_OUT + 1];
        bool ended; /* each had a success */
};

static void caller_call(Caller *caller);

static void on_crowd(EngineCall *call, EngineReply *reply, void *userdata) {
        Caller *caller = userdata;
        Crowd *crowd = caller->crowd;

        caller->call = engine_call_free(caller->call);
        crowd->n_answers[reply->outcome]++;
        if (reply->outcome == ENGINE_OK)
                crowd->ended = crowd->n_answers[ENGINE_OK] == N_CALLS;
        else
                caller_call(caller);
}

static void caller_call(Caller *caller) {
        ASSERT_OK(engine_start(&caller->call, caller->crowd->engine, "db", caller->crowd->timeout_usec, on_crowd,
                               caller));
}

static void crowd_begin(Crowd *crowd, Engine *engine, uint64_t timeout_usec) {
        *crowd = (Crowd){ .engine = engine, .timeout_usec = timeout_usec };
        for (size_t i = 0; i < N_CALLS; i++) {
                crowd->callers[i].crowd = crowd;
                caller_call(&crowd->callers[i]);
        }
}

static void crowd_done(Crowd *crowd) {
        for (size_t i = 0; i < N_CALLS; i++)
                engine_call_free(crowd->callers[i].call);
}

typedef struct Seen {
        unsigned established, lost, n_events;
} Seen;

static void on_event(Engine *engine, const ContainerEvent *container_event, bool lost, void *userdata) {
        Seen *seen = userdata;

        if (container_event)
                seen->n_events++;
        else if (lost)
                seen->lost++;
        else
                seen->established++;
}

#define EVENT(name)                                                                                             \
        "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"1\",\"Attributes\":{\"name\":\"" name \
        "\"}}}\n"
#define EVENTS_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
#define RULE_EVENTS \
        { "GET /v1.41/events", EVENTS_HEAD, .times = 0 }
#define RULE_INSPECT \
        { "GET /v1.41/containers/db/json HTTP", REPLY("200 OK", "Content-Length: 63\r\n", INSPECT("")) }
#define RULE_START \
        { "POST /v1.41/containers/db/start HTTP", REPLY_EMPTY("204 No"), .times = 0 }

static void run_until_connections(const ScriptedServer *server, unsigned n) {
        while (scripted_server_connections(server) < n)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
}

static void test_an_outage_costs_one_connection_a_pause(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE({ "GET /_ping", "", .close = true });
        _cleanup_(crowd_done) Crowd crowd = {};
        uint64_t began = time_now(CLOCK_MONOTONIC), before = began;
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        crowd_begin(&crowd, fixture.engine, USEC_INFINITY);

        /* Pauses of 100, 200, 400 and 800 ms, each less up to a quarter. */
        run_until_connections(fixture.server, 1);
        for (unsigned i = 0; i < 4; i++) {
                uint64_t now;

                run_until_connections(fixture.server, i + 2);
                now = time_now(CLOCK_MONOTONIC);
                if (now - before < (75 << i) * USEC_PER_MSEC)
                        TEST_FAIL("pause %u: %" PRIu64 " us", i, now - before);
                before = now;
        }
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) - began >= 1125 * USEC_PER_MSEC);

        /* However often the calls were made: they had the answer of each ping, and no more. */
        ASSERT_TRUE(crowd.n_answers[ENGINE_UNREACHABLE] <= 5 * N_CALLS);
        ASSERT_EQ(seen.established + seen.lost, 0);
}

static void test_all_go_on_when_it_is_back(void) {
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        _cleanup_(engine_freep) Engine *engine = NULL;
        _cleanup_(crowd_done) Crowd crowd = {};
        ScriptedRule rules[] = { RULE_PING, RULE_EVENTS, RULE_START };
        Seen seen = {};

        ASSERT_OK(engine_new(&engine, event, socket_path));
        ASSERT_OK(engine_watch(engine, on_event, &seen));
        crowd_begin(&crowd, engine, USEC_INFINITY);
        while (crowd.n_answers[ENGINE_UNREACHABLE] < 2 * N_CALLS)
                ASSERT_OK(sd_event_run(event, TIMEOUT));

        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        run_until(&crowd.ended);
        while (seen.established == 0)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(scripted_server_requests(server, "GET /_ping"), 1);
        ASSERT_EQ(scripted_server_requests(server, "POST"), N_CALLS);
}

static void test_an_engine_that_breaks_every_call_off(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "POST", "", .close = true });
        _cleanup_(crowd_done) Crowd crowd = {};
        uint64_t began = time_now(CLOCK_MONOTONIC);

        /* It answers pings, and yet: between two rounds of all calls lies a growing pause. */
        crowd_begin(&crowd, fixture.engine, USEC_INFINITY);
        while (scripted_server_requests(fixture.server, "GET /_ping") < 4)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) - began >= (75 + 150 + 300) * USEC_PER_MSEC);
        ASSERT_TRUE(scripted_server_requests(fixture.server, "POST") <= 4 * N_CALLS);
}

static void test_calls_do_not_hurry_a_refused_stream(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, RULE_START,
                                { "GET /v1.41/events", REPLY_BODY("500 Oh", ""), .close = true });
        uint64_t began = time_now(CLOCK_MONOTONIC);
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (scripted_server_requests(fixture.server, "GET /v1.41/events") < 4)
                ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) - began >= (75 + 150 + 300) * USEC_PER_MSEC);
        ASSERT_EQ(seen.established + seen.lost, 0);
}

static void test_a_hung_engine_is_asked_by_one(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS, RULE_START);
        _cleanup_(crowd_done) Crowd crowd = {}, patient = {};
        Seen seen = {};
        unsigned before;

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.established == 0)
                ASSERT_OK(sd_event_run(event, TIMEOUT));

        /* Those under way get no answer, and those who ask then wait for one ping. */
        scripted_server_suspend(fixture.server, true);
        crowd_begin(&crowd, fixture.engine, SHORT);
        while (crowd.n_answers[ENGINE_TIMED_OUT] < 3 * N_CALLS)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        crowd_begin(&patient, fixture.engine, USEC_INFINITY);
        /* From now on all are patient: on a busy machine even an engine that is well may need longer. */
        crowd.timeout_usec = USEC_INFINITY;
        for (unsigned n = crowd.n_answers[ENGINE_TIMED_OUT] + N_CALLS; crowd.n_answers[ENGINE_TIMED_OUT] < n;)
                ASSERT_OK(sd_event_run(event, TIMEOUT));

        before = scripted_server_connections(fixture.server);
        scripted_server_suspend(fixture.server, false);
        run_until(&patient.ended);
        run_until(&crowd.ended);
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /_ping"), 2);
        /* Those that were given up, a ping, and one for each call at most. */
        ASSERT_TRUE(scripted_server_connections(fixture.server) - before <= N_CALLS + 1 + 2 * N_CALLS);

        /* The stream was there all the time, and what happened comes afterwards. */
        scripted_server_send(fixture.server, "GET /v1.41/events", EVENT("db"));
        while (seen.n_events == 0)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(seen.established, 1);
        ASSERT_EQ(seen.lost, 0);
}

static void test_somebody_listens_for_an_engine_that_is_starting(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS, RULE_START);
        _cleanup_(crowd_done) Crowd crowd = {};
        Seen seen = {};

        scripted_server_suspend(fixture.server, true);
        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        crowd_begin(&crowd, fixture.engine, USEC_INFINITY);
        for (unsigned i = 0; i < 100; i++)
                ASSERT_OK(sd_event_run(event, USEC_PER_MSEC));
        scripted_server_suspend(fixture.server, false);

        run_until(&crowd.ended);
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /_ping"), 1);
        ASSERT_EQ(crowd.n_answers[ENGINE_UNREACHABLE] + crowd.n_answers[ENGINE_TIMED_OUT], 0);
}

/* Engines that come after another */

static void test_version_changes_over_a_restart(void) {
        _cleanup_(scripted_server_freep) ScriptedServer *second = NULL;
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS, RULE_START);
        ScriptedRule rules[] = {
                { "GET /_ping", REPLY("200 OK", "Api-Version: 1.45\r\nContent-Length: 0\r\n", "") },
                { "GET /v1.45/events", EVENTS_HEAD },
                { "POST /v1.45/containers/db/start HTTP", REPLY_EMPTY("204 No") },
        };
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.established == 0)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);

        fixture.server = scripted_server_free(fixture.server);
        second = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        while (seen.lost == 0)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
        while (seen.established < 2)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(seen.lost, 1);
}

static EngineOutcome asked(Engine *engine, uint64_t timeout_usec) {
        _cleanup_(reply_done) Reply reply = inspect(engine, "db", timeout_usec);

        return reply.outcome;
}

/* The first goes on to hold its connections, but answers no more: they must not be used for the second. */
static void test_socket_is_replaced_while_the_first_hangs(void) {
        _cleanup_(scripted_server_freep) ScriptedServer *second = NULL;
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_INSPECT);
        ScriptedRule rules[] = { RULE_PING, RULE_INSPECT, RULE_START };

        ASSERT_EQ(asked(fixture.engine, TIMEOUT), ENGINE_OK);
        ASSERT_EQ(scripted_server_connections(fixture.server), 1);
        scripted_server_suspend(fixture.server, true);
        second = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));

        ASSERT_EQ(asked(fixture.engine, SHORT), ENGINE_TIMED_OUT);
        for (unsigned i = 0; i < 6; i++)
                ASSERT_EQ(asked(fixture.engine, TIMEOUT), ENGINE_OK);
        ASSERT_EQ(scripted_server_requests(second, "GET /v1.41/containers"), 6);
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
}

/* Streams */

/* With a sanitizer, which has a heap of its own, this stays what it is. */
static size_t memory_in_use(void) {
        struct mallinfo2 info = mallinfo2();

        return info.uordblks + info.hblkhd;
}

static void test_an_endless_stream_is_kept_up_with(void) {
        static const char text[] = EVENTS_HEAD EVENT("db") EVENT("other") EVENT("other") EVENT("other");
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, { "GET /v1.41/events", text, .loop = sizeof(EVENTS_HEAD) - 1 },
                                RULE_START);
        size_t before = memory_in_use();
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.n_events < 50000)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        ASSERT_EQ(seen.established, 1);
        ASSERT_EQ(seen.lost, 0);
        ASSERT_TRUE(memory_in_use() <= before + 2 * 1024 * 1024);
        /* And nobody else starves. */
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
}

static void test_a_stream_that_is_no_stream_of_events(void) {
        static const char *const texts[] = {
                EVENTS_HEAD "{\"a\":\"0123456789012345678901234567890123456789",
                EVENTS_HEAD "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                EVENTS_HEAD "{\"a\":[[],[],[],[],[],[],[],[],[],[],[],[],",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(fixture_done) Fixture fixture =
                                FIXTURE(RULE_PING,
                                        { "GET /v1.41/events", texts[i], .loop = sizeof(EVENTS_HEAD) - 1 + 12 });
                Seen seen = {};

                ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
                while (seen.lost == 0)
                        ASSERT_OK(sd_event_run(event, TIMEOUT));
                ASSERT_EQ(seen.n_events, 0);
        }
}

static void test_a_stream_that_drips(void) {
        static const char text[] = EVENTS_HEAD EVENT("db");
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, { "GET /v1.41/events", text, .piece = 1 }, RULE_START);
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.n_events == 0)
                ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
        ASSERT_EQ(seen.established, 1);
}

static void test_bad_answers_to_the_watch(void) {
        for (size_t i = 0; i < ELEMENTSOF(bad_answers); i++) {
                _cleanup_(fixture_done) Fixture fixture =
                                FIXTURE(RULE_PING,
                                        { "GET /v1.41/events", bad_answers[i].reply, .loop = bad_answers[i].loop,
                                          .close = true, .times = 1 },
                                        RULE_EVENTS);
                Seen seen = {};

                /* The last one, a 500 without an end, is left only after ten seconds. */
                if (bad_answers[i].loop > 0 && strncmp(bad_answers[i].reply, "HTTP/1.1 500", 12) == 0)
                        continue;
                ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
                while (scripted_server_requests(fixture.server, "GET /v1.41/events") < 2 ||
                       seen.established == seen.lost)
                        ASSERT_OK(sd_event_run(event, TIMEOUT));
                ASSERT_TRUE(seen.lost <= 1);
                ASSERT_EQ(seen.n_events, 0);
        }
}

int main(void) {
        fixture_begin("engine-trouble");

        test_what_is_no_socket_of_an_engine();
        test_bad_answers_to_the_ping();
        test_bad_answers_to_an_inspect();
        test_half_an_answer_and_silence();
        test_an_inspect_without_measure();
        test_networks_without_measure();
        test_an_outage_costs_one_connection_a_pause();
        test_all_go_on_when_it_is_back();
        test_an_engine_that_breaks_every_call_off();
        test_calls_do_not_hurry_a_refused_stream();
        test_a_hung_engine_is_asked_by_one();
        test_somebody_listens_for_an_engine_that_is_starting();
        test_version_changes_over_a_restart();
        test_socket_is_replaced_while_the_first_hangs();
        test_an_endless_stream_is_kept_up_with();
        test_a_stream_that_is_no_stream_of_events();
        test_a_stream_that_drips();
        test_bad_answers_to_the_watch();

        fixture_quit();
        return 0;
}
