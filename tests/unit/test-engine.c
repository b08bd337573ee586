#include <unistd.h>

#include "engine-fixture.h"
#include "test.h"

/* Answers are those of Docker 20.10 and 26, and of Podman 4.3, as they were seen. */

#define FRAME(type, size, text) type "\0\0\0\0\0" size text /* `size`: the last two bytes of it */

static void test_first_call_negotiates(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, { "POST /v1.41/containers/db/start HTTP", REPLY_EMPTY("204 No") },
                                { "POST /v1.41/containers/web/start HTTP", REPLY_EMPTY("304 No") });
        Reply db = {}, web = {};

        ASSERT_OK(engine_start(&db.call, fixture.engine, "db", TIMEOUT, on_reply, &db));
        ASSERT_OK(engine_start(&web.call, fixture.engine, "web", TIMEOUT, on_reply, &web));
        run_until(&db.ended);
        run_until(&web.ended);
        ASSERT_EQ(db.outcome, ENGINE_OK);
        ASSERT_EQ(web.outcome, ENGINE_ALREADY);
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /_ping"), 1);

        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /_ping"), 1);
}

static void test_version_is_clamped(void) {
        static const struct {
                const char *ping, *request;
        } cases[] = {
                { REPLY("200 OK", "Api-Version: 1.99\r\nContent-Length: 0\r\n", ""), "POST /v1.47/" },
                { REPLY("200 OK", "Api-Version: 1.12\r\nContent-Length: 0\r\n", ""), "POST /v1.24/" },
                { REPLY("200 OK", "Api-Version: 99999999999999999999\r\nContent-Length: 0\r\n", ""),
                  "POST /v1.24/" },
                { REPLY("200 OK", "Content-Length: 0\r\n", ""), "POST /v1.24/" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(fixture_done) Fixture fixture = FIXTURE({ "GET /_ping", cases[i].ping },
                                                                  { cases[i].request, REPLY_EMPTY("204 No") });
                ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
        }
}

static void test_engine_that_is_not_there(void) {
        _cleanup_(engine_freep) Engine *engine = NULL;
        Reply reply;

        ASSERT_OK(engine_new(&engine, event, "/nonexistent/docker.sock"));
        reply = start(engine, "db", TIMEOUT);
        ASSERT_EQ(reply.outcome, ENGINE_UNREACHABLE);
        ASSERT_STREQ(reply.message, "cannot reach the container engine: No such file or directory");
        ASSERT_TRUE(engine_outcome_is_transient(reply.outcome));
        ASSERT_ERROR(engine_new(&engine, event,
                                "/a/path/of/more/than/the/hundred/and/seven/bytes/that/fit/into/an/address/of/a/unix/socket/of/any/"
                                "linux/docker.sock"),
                     ENAMETOOLONG);
}

static void test_engine_that_hangs(void) {
        _cleanup_(fixture_done) Fixture silent = FIXTURE({ "GET /_ping", NULL });
        _cleanup_(fixture_done) Fixture later = FIXTURE(RULE_PING, { "POST", NULL });

        ASSERT_EQ(start(silent.engine, "db", 30 * USEC_PER_MSEC).outcome, ENGINE_TIMED_OUT);
        ASSERT_EQ(start(later.engine, "db", 30 * USEC_PER_MSEC).outcome, ENGINE_TIMED_OUT);
}

static void test_engine_that_breaks_off(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, { "POST", "", .close = true, .times = 1 },
                                { "POST", "HTTP/1.1 500 Oh\r\nContent-Length: 50\r\n\r\n{\"mess", .close = true,
                                  .times = 1 },
                                { "POST", "no HTTP at all\r\n\r\n", .close = true, .times = 1 },
                                { "POST", REPLY_BODY("500 Oh", "no JSON\r\nbut \033[1mtwo lines"),
                                  .close = true });
        Reply reply;

        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_UNREACHABLE);
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_UNREACHABLE);
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_BROKEN);
        reply = start(fixture.engine, "db", TIMEOUT);
        ASSERT_EQ(reply.outcome, ENGINE_BROKEN);
        ASSERT_STREQ(reply.message, "no JSON  but  [1mtwo lines");
}

static void test_names_cannot_leave_their_place(void) {
        static const char *const names[] = { "", ".", "..", "a/b", "a?b", "a b", "a%2fb", "\xc3\xa9", "-a" };
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING);

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ASSERT_EQ(start(fixture.engine, names[i], TIMEOUT).outcome, ENGINE_NO_CONTAINER);
        ASSERT_EQ(scripted_server_connections(fixture.server), 0);
}

static void test_requests_of_the_plain_calls(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, { "POST /v1.41/containers/db/stop?t=7 HTTP", REPLY_EMPTY("204 No") },
                                { "POST /v1.41/containers/db/unpause HTTP",
                                  ERROR("500 Oh", "Container 1 is not paused"), .close = true });
        Reply stop = {}, unpause = {};

        ASSERT_OK(engine_stop(&stop.call, fixture.engine, "db", 7, TIMEOUT, on_reply, &stop));
        run_until(&stop.ended);
        ASSERT_EQ(stop.outcome, ENGINE_OK);
        ASSERT_OK(engine_unpause(&unpause.call, fixture.engine, "db", TIMEOUT, on_reply, &unpause));
        run_until(&unpause.ended);
        ASSERT_EQ(unpause.outcome, ENGINE_ALREADY);
}

static void test_inspect(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "GET /v1.41/containers/db/json HTTP", REPLY_BODY("200 OK", INSPECT("")),
                                  .close = true, .times = 1 },
                                { "GET /v1.41/containers/db/json HTTP", REPLY_BODY("200 OK", "{}"),
                                  .close = true });
        _cleanup_(reply_done) Reply good = inspect(fixture.engine, "db", TIMEOUT);
        _cleanup_(reply_done) Reply bad = inspect(fixture.engine, "db", TIMEOUT);

        ASSERT_EQ(good.outcome, ENGINE_OK);
        ASSERT_EQ(good.info->pid, 42);
        ASSERT_EQ(bad.outcome, ENGINE_BROKEN);
        ASSERT_NULL(bad.info);
}

static Reply pause_container(Engine *engine) {
        Reply reply = {};

        ASSERT_OK(engine_pause(&reply.call, engine, "db", TIMEOUT, on_reply, &reply));
        run_until(&reply.ended);
        return reply;
}

static void test_pause(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "POST /v1.41/containers/db/pause HTTP", REPLY_EMPTY("204 No"), .times = 1 },
                                { "POST", ERROR("409 No", "Container 8f3b is already paused"), .close = true,
                                  .times = 1 },
                                { "POST", ERROR("409 No", "container f287 is not running"), .close = true,
                                  .times = 1 },
                                { "POST", ERROR("404 No", "No such container: db"), .close = true });

        ASSERT_EQ(pause_container(fixture.engine).outcome, ENGINE_OK);
        ASSERT_EQ(pause_container(fixture.engine).outcome, ENGINE_ALREADY);
        ASSERT_EQ(pause_container(fixture.engine).outcome, ENGINE_NOT_RUNNING);
        ASSERT_EQ(pause_container(fixture.engine).outcome, ENGINE_NO_CONTAINER);
}

static Reply connect_network(Engine *engine, const char *network, const char *container) {
        Reply reply = {};

        ASSERT_OK(engine_connect_network(&reply.call, engine, network, container, TIMEOUT, on_reply, &reply));
        run_until(&reply.ended);
        return reply;
}

static void test_connecting_to_a_network(void) {
        static const struct {
                const char *reply;
                EngineOutcome outcome;
        } cases[] = {
                { REPLY_EMPTY("200 OK"), ENGINE_OK },
                { ERROR("403 No", "endpoint with name db already exists in network net"), ENGINE_ALREADY },
                { ERROR("404 No", "network net not found"), ENGINE_NO_NETWORK },
                { ERROR("404 No", "No such container: db"), ENGINE_NO_CONTAINER },
                { ERROR("400 No",
                        "container sharing network namespace with another container or host cannot be connected to any other network"),
                  ENGINE_REFUSED },
                { ERROR("500 No", "no available IPv4 addresses on this network's address pools: net (8902)"),
                  ENGINE_REFUSED },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(fixture_done) Fixture fixture =
                                FIXTURE(RULE_PING, { "POST /v1.41/networks/net/connect HTTP", cases[i].reply,
                                                     .close = true });

                ASSERT_EQ(connect_network(fixture.engine, "net", "db").outcome, cases[i].outcome);
                ASSERT_TRUE(strstr(scripted_server_last(fixture.server), "\r\n\r\n{\"Container\":\"db\"}"));
        }
}

static Reply list(Engine *engine) {
        Reply reply = {};

        ASSERT_OK(engine_list(&reply.call, engine, TIMEOUT, on_reply, &reply));
        run_until(&reply.ended);
        return reply;
}

static void test_list(void) {
        static const char containers[] = REPLY_BODY(
                        "200 OK",
                        "[{\"Id\":\"8f3b\",\"Names\":[\"/other/alias\",\"/web\"],\"State\":\"paused\",\"Ports\":["
                        "{\"IP\":\"127.0.0.1\",\"PrivatePort\":81,\"PublicPort\":81,\"Type\":\"udp\"},"
                        "{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":9002,\"Type\":\"tcp\"},"
                        "{\"PrivatePort\":82,\"Type\":\"tcp\"}]},"
                        "{\"Id\":\"d75b\",\"Names\":[\"/db\"],\"State\":\"running\",\"Ports\":[]}]");
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "GET /v1.41/containers/json?all=1 HTTP", containers, .close = true, .times = 1 },
                                { "GET", REPLY_BODY("200 OK", "[]"), .close = true, .times = 1 },
                                { "GET", REPLY_BODY("200 OK", "{}"), .close = true });
        _cleanup_(reply_done) Reply reply = list(fixture.engine), empty = list(fixture.engine),
                                    broken = list(fixture.engine);

        ASSERT_EQ(reply.outcome, ENGINE_OK);
        ASSERT_EQ(reply.n_listed, 2);
        ASSERT_STREQ(reply.listed[0].name, "db");
        ASSERT_STREQ(reply.listed[0].id, "d75b");
        ASSERT_TRUE(reply.listed[0].running && !reply.listed[0].paused);
        ASSERT_EQ(reply.listed[0].n_ports, 0);
        ASSERT_STREQ(reply.listed[1].name, "web");
        ASSERT_TRUE(reply.listed[1].paused && !reply.listed[1].running);
        ASSERT_EQ(reply.listed[1].n_ports, 1);
        ASSERT_EQ(reply.listed[1].ports[0], 9002);

        ASSERT_EQ(empty.outcome, ENGINE_OK);
        ASSERT_TRUE(empty.listed && empty.n_listed == 0);
        ASSERT_EQ(broken.outcome, ENGINE_BROKEN);
        ASSERT_NULL(broken.listed);
}

static const char exec_output[] =
                REPLY("200 OK", "Content-Type: application/vnd.docker.raw-stream\r\n",
                      FRAME("\1", "\0\4", "out\n") FRAME("\2", "\0\4", "err\n") FRAME("\1", "\0\5", "last\n"));
#define RULE_EXEC_CREATE \
        { "POST /v1.41/containers/db/exec HTTP", REPLY_BODY("201 Created", "{\"Id\":\"e1\"}"), .close = true }
#define RULE_EXEC_OUTPUT                                                                                          \
        {                                                                                                         \
                "POST /v1.41/exec/e1/start HTTP", exec_output, .reply_size = sizeof(exec_output) - 1, .piece = 3, \
                                                               .close = true                                      \
        }

static Reply exec(Engine *engine, uint64_t timeout_usec) {
        char *argv[] = { (char *) "echo", (char *) "a \"b\"", NULL }, *environment[] = { (char *) "A=1", NULL };
        Reply reply = {};

        ASSERT_OK(engine_exec(&reply.call, engine, "db", argv, environment, "root", timeout_usec, on_reply,
                              &reply));
        run_until(&reply.ended);
        return reply;
}

static void test_exec(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, RULE_EXEC_CREATE, RULE_EXEC_OUTPUT,
                                { "GET /v1.41/exec/e1/json HTTP",
                                  REPLY_BODY("200 OK", "{\"Running\":true,\"ExitCode\":null}"), .close = true,
                                  .times = 2 },
                                { "GET /v1.41/exec/e1/json HTTP",
                                  REPLY_BODY("200 OK", "{\"Running\":false,\"ExitCode\":3}"), .close = true });
        Reply reply = exec(fixture.engine, TIMEOUT);

        ASSERT_EQ(reply.outcome, ENGINE_OK);
        ASSERT_EQ(reply.exit_code, 3);
        ASSERT_STREQ(reply.output, "out\nerr\nlast\n");
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /v1.41/exec/e1/json"), 3);
}

static void test_exec_sends_its_command(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "POST", ERROR("409 No", "Container 1 is not running"), .close = true });
        Reply reply = exec(fixture.engine, TIMEOUT);

        ASSERT_EQ(reply.outcome, ENGINE_CONFLICT);
        ASSERT_TRUE(strstr(scripted_server_last(fixture.server),
                           "{\"AttachStdout\":true,\"AttachStderr\":true,"
                           "\"Cmd\":[\"echo\",\"a \\\"b\\\"\"],\"Env\":[\"A=1\"],"
                           "\"User\":\"root\"}"));
}

static void test_exec_that_hangs(void) {
        static const char begun[] = REPLY("200 OK", "", FRAME("\1", "\0\4", "out\n"));
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, RULE_EXEC_CREATE,
                                { "POST /v1.41/exec/e1/start", begun, .reply_size = sizeof(begun) - 1 });
        Reply reply = exec(fixture.engine, 50 * USEC_PER_MSEC);

        ASSERT_EQ(reply.outcome, ENGINE_TIMED_OUT);
        ASSERT_STREQ(reply.output, "out\n");
        ASSERT_STREQ(reply.message, "did not end within 50ms");
}

static void test_exec_with_bad_answers(void) {
        static const struct {
                ScriptedRule rules[4];
                EngineOutcome outcome;
        } cases[] = {
                { { RULE_PING, { "POST", REPLY_BODY("201 Created", "{\"Id\":\"../../x\"}"), .close = true } },
                  ENGINE_BROKEN },
                { { RULE_PING, { "POST", REPLY_BODY("201 Created", "[]"), .close = true } }, ENGINE_BROKEN },
                { { RULE_PING,
                    RULE_EXEC_CREATE,
                    { "POST", ERROR("404 No", "No such exec instance: e1"), .close = true } },
                  ENGINE_BROKEN },
                { { RULE_PING,
                    RULE_EXEC_CREATE,
                    { "POST", ERROR("409 No", "Container 1 is paused"), .close = true } },
                  ENGINE_PAUSED },
                { { RULE_PING,
                    RULE_EXEC_CREATE,
                    RULE_EXEC_OUTPUT,
                    { "GET", REPLY_BODY("200 OK", "{\"Running\":1}"), .close = true } },
                  ENGINE_BROKEN },
                { { RULE_PING, RULE_EXEC_CREATE, RULE_EXEC_OUTPUT, { "GET", "", .close = true } },
                  ENGINE_UNREACHABLE },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                size_t n = 0;

                while (n < ELEMENTSOF(cases[i].rules) && cases[i].rules[n].request)
                        n++;
                _cleanup_(fixture_done) Fixture fixture = fixture_new(cases[i].rules, n);
                ASSERT_EQ(exec(fixture.engine, TIMEOUT).outcome, cases[i].outcome);
        }
}

static void test_logs(void) {
        static const char framed[] =
                        REPLY("200 OK", "", FRAME("\1", "\0\4", "out\n") FRAME("\2", "\0\3", "e\033r"));
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "GET /v1.41/containers/db/logs?stdout=1&stderr=1&tail=9 HTTP", framed,
                                  .reply_size = sizeof(framed) - 1, .close = true, .times = 1 },
                                { "GET /v1.41/containers/db/logs", REPLY("200 OK", "", "a terminal's\r\n"),
                                  .close = true });
        Reply frames = {}, raw = {};

        ASSERT_OK(engine_logs(&frames.call, fixture.engine, "db", 9, TIMEOUT, on_reply, &frames));
        run_until(&frames.ended);
        ASSERT_STREQ(frames.output, "out\ne r");
        ASSERT_OK(engine_logs(&raw.call, fixture.engine, "db", 9, TIMEOUT, on_reply, &raw));
        run_until(&raw.ended);
        ASSERT_STREQ(raw.output, "a terminal's \n");
}

static void test_cancelled_calls_are_silent(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "POST", REPLY_EMPTY("204 No") });
        Reply waiting = {}, running = {}, reply;

        ASSERT_OK(engine_start(&waiting.call, fixture.engine, "a", TIMEOUT, on_reply, &waiting));
        waiting.call = engine_call_free(waiting.call);
        reply = start(fixture.engine, "b", TIMEOUT);
        ASSERT_OK(engine_start(&running.call, fixture.engine, "c", TIMEOUT, on_reply, &running));
        running.call = engine_call_free(running.call);
        reply = start(fixture.engine, "d", TIMEOUT);
        ASSERT_EQ(reply.outcome, ENGINE_OK);
        ASSERT_FALSE(waiting.ended);
        ASSERT_FALSE(running.ended);
}

static void test_replaced_engine_is_asked_anew(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE({ "GET /_ping", REPLY("200 OK", "Api-Version: 1.45\r\nContent-Length: 0\r\n", ""),
                                  .times = 1 },
                                RULE_PING,
                                { "POST /v1.45/",
                                  ERROR("400 Bad",
                                        "client version 1.45 is too new. Maximum supported API version is 1.41"),
                                  .close = true },
                                { "POST /v1.41/", REPLY_EMPTY("204 No") });
        Reply reply = start(fixture.engine, "db", TIMEOUT);

        ASSERT_TRUE(engine_outcome_is_transient(reply.outcome));
        ASSERT_EQ(start(fixture.engine, "db", TIMEOUT).outcome, ENGINE_OK);
}

typedef struct Seen {
        unsigned established, lost, n_events;
        ContainerEventType types[8];
        int exit_code, signal;
        bool done, free_engine;
        Fixture *fixture;
} Seen;

static void on_event(Engine *engine, const ContainerEvent *container_event, bool lost, void *userdata) {
        Seen *seen = userdata;

        if (container_event) {
                ASSERT_STREQ(container_event->container, "db");
                ASSERT_STREQ(container_event->id, "1");
                ASSERT_TRUE(seen->n_events < ELEMENTSOF(seen->types));
                seen->types[seen->n_events++] = container_event->type;
                seen->exit_code = container_event->exit_code;
                if (container_event->type == CONTAINER_EVENT_KILL)
                        seen->signal = container_event->signal;
        } else if (lost)
                seen->lost++;
        else
                seen->established++;

        seen->done = true;
        if (seen->free_engine)
                seen->fixture->engine = engine_free(seen->fixture->engine);
}

static void run_until_seen(Seen *seen) {
        seen->done = false;
        run_until(&seen->done);
}

#define EVENT(type, action, name, more)               \
        "{\"Type\":\"" type "\",\"Action\":\"" action \
        "\",\"Actor\":{\"ID\":\"1\",\"Attributes\":{\"name\":\"" name "\"" more "}}}\n"

static const char events[] =
                REPLY("200 OK", "Content-Type: application/json\r\n",
                      EVENT("container", "start", "db", "") EVENT("network", "disconnect", "db",
                                                                  "") EVENT("container", "exec_start: x", "db", "")
                                      EVENT("container", "health_status: healthy", "db",
                                            "") EVENT("container", "kill", "db", ",\"signal\":\"15\"")
                                                      EVENT("container", "die", "db", ",\"exitCode\":\"137\""));
#define RULE_EVENTS(...)                                                                                                                                                                                                                                           \
        {                                                                                                                                                                                                                                                          \
                "GET /v1.41/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22kill%22%2C%22die%22%2C%22died%22%2C%22stop%22%2C%22destroy%22%2C%22remove%22%2C%22pause%22%2C%22unpause%22%2C%22health_status%22%5D%7D HTTP", \
                                events, __VA_ARGS__                                                                                                                                                                                                                \
        }

static void test_events_in_pieces(void) {
        for (size_t piece = 1; piece < 400; piece = piece * 2 + 1) {
                _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS(.piece = piece));
                Seen seen = {};

                ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
                while (seen.n_events < 4)
                        run_until_seen(&seen);
                ASSERT_EQ(seen.established, 1);
                ASSERT_EQ(seen.lost, 0);
                ASSERT_EQ(seen.types[0], CONTAINER_EVENT_START);
                ASSERT_EQ(seen.types[1], CONTAINER_EVENT_HEALTHY);
                ASSERT_EQ(seen.types[2], CONTAINER_EVENT_KILL);
                ASSERT_EQ(seen.signal, 15);
                ASSERT_EQ(seen.types[3], CONTAINER_EVENT_DIE);
                ASSERT_EQ(seen.exit_code, 137);
        }
}

static void test_lost_stream_is_opened_again(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS(.close = true, .times = 1),
                                                          { "GET /v1.41/events", NULL, .times = 1 });
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.lost == 0)
                run_until_seen(&seen);
        /* What came before the end was told before it. */
        ASSERT_EQ(seen.n_events, 4);
        ASSERT_EQ(seen.established, 1);

        while (scripted_server_requests(fixture.server, "GET /v1.41/events") < 2)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
        /* The version is asked for anew. */
        ASSERT_EQ(scripted_server_requests(fixture.server, "GET /_ping"), 2);
        ASSERT_EQ(seen.established, 1);
}

static void test_engine_comes_later(void) {
        _cleanup_(scripted_server_freep) ScriptedServer *server = NULL;
        _cleanup_(engine_freep) Engine *engine = NULL;
        ScriptedRule rules[] = { RULE_PING, RULE_EVENTS(.piece = 0) };
        Seen seen = {};

        (void) unlink(socket_path);
        ASSERT_OK(engine_new(&engine, event, socket_path));
        ASSERT_OK(engine_watch(engine, on_event, &seen));
        ASSERT_EQ(start(engine, "db", TIMEOUT).outcome, ENGINE_UNREACHABLE);
        server = scripted_server_new(event, socket_path, rules, ELEMENTSOF(rules));
        run_until_seen(&seen);
        ASSERT_EQ(seen.established, 1);
        ASSERT_EQ(seen.lost, 0);
}

static void test_garbage_ends_the_stream(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING,
                                { "GET /v1.41/events", REPLY("200 OK", "", "{\"Type\":\"container\"}}}"),
                                  .times = 1 },
                                { "GET /v1.41/events", NULL });
        Seen seen = {};

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        while (seen.lost == 0)
                run_until_seen(&seen);
        ASSERT_EQ(seen.n_events, 0);
}

static void test_engine_may_be_freed_by_the_handler(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, RULE_EVENTS(.piece = 0));
        Seen seen = { .fixture = &fixture };

        ASSERT_OK(engine_watch(fixture.engine, on_event, &seen));
        run_until_seen(&seen);
        seen.free_engine = true;
        run_until_seen(&seen);
        ASSERT_EQ(seen.n_events, 1);
        ASSERT_NULL(fixture.engine);
}

int main(void) {
        fixture_begin("engine");

        test_first_call_negotiates();
        test_version_is_clamped();
        test_engine_that_is_not_there();
        test_engine_that_hangs();
        test_engine_that_breaks_off();
        test_names_cannot_leave_their_place();
        test_requests_of_the_plain_calls();
        test_inspect();
        test_pause();
        test_connecting_to_a_network();
        test_list();
        test_exec();
        test_exec_sends_its_command();
        test_exec_that_hangs();
        test_exec_with_bad_answers();
        test_logs();
        test_cancelled_calls_are_silent();
        test_replaced_engine_is_asked_anew();
        test_events_in_pieces();
        test_lost_stream_is_opened_again();
        test_engine_comes_later();
        test_garbage_ends_the_stream();
        test_engine_may_be_freed_by_the_handler();

        fixture_quit();
        return 0;
}
