#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "control/varlink.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"
#include "wake/control.h"

/* A server and its clients on one event loop, over a real socket. Each client collects what it is told as text. Of which unit callers are is
 * what the test says, as there is no systemd: what the linker takes for libsystemd's. */

#define SOMEBODY "session-1.scope"

static const char *peer_unit = SOMEBODY; /* NULL: the process cannot be told any more */

int sd_peer_get_unit(int fd, char **ret) {
        if (!peer_unit)
                return -ESRCH;
        *ret = strdup(peer_unit);
        return *ret ? 0 : -ENOMEM;
}

typedef struct Server {
        sd_event *event;
        int fd;
        Control *control;
        char path[108];
        unsigned n_held, n_released, n_sleep, n_sleep_all;
        WakeTrigger trigger;
        const char *state;
} Server;

typedef struct Client {
        Varlink *varlink;
        char *replies[16];
        size_t n_replies;
        bool ended;
} Client;

static json_object *server_status(void *userdata) {
        Server *server = ASSERT_PTR(userdata);
        json_object *status = json_object_new_object();

        json_object_object_add(status, "state", json_object_new_string(server->state));
        return status;
}

static void server_on_request(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (request == CONTROL_HELD) {
                server->n_held++;
                server->trigger = trigger;
        }
        server->n_released += request == CONTROL_RELEASED;
        server->n_sleep += request == CONTROL_SLEEP;
        server->n_sleep_all += request == CONTROL_SLEEP_ALL;
}

static void server_listen(Server *server) {
        ASSERT_OK(control_new(&server->control, server->event, server->fd, "clemence", server_status,
                              server_on_request, server));
}

static void server_start(Server *server) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char folder[] = "/tmp/test-control-XXXXXX";

        *server = (Server){ .fd = -EBADF, .state = "waking" };
        ASSERT_OK(sd_event_new(&server->event));
        ASSERT_TRUE(mkdtemp(folder) != NULL);
        (void) snprintf(server->path, sizeof(server->path), "%s/c.sock", folder);
        memcpy(address.sun_path, server->path, sizeof(server->path));
        server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(server->fd >= 0);
        ASSERT_EQ(bind(server->fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(server->fd, 16), 0);
        server_listen(server);
}

static void server_stop(Server *server) {
        control_free(server->control);
        (void) unlink(server->path);
        *strrchr(server->path, '/') = '\0';
        (void) rmdir(server->path);
        fd_close(server->fd);
        sd_event_unref(server->event);
}

static void client_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Client *client = ASSERT_PTR(userdata);

        ASSERT_TRUE(client->n_replies < ELEMENTSOF(client->replies));
        client->replies[client->n_replies++] = strdup(
                        json_object_to_json_string_ext(message,
                                                       JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void client_on_end(Varlink *varlink, int error, void *userdata) {
        Client *client = ASSERT_PTR(userdata);

        client->ended = true;
        client->varlink = varlink_free(client->varlink);
}

static void client_connect(Client *client, Server *server) {
        *client = (Client){};
        ASSERT_OK(varlink_connect(&client->varlink, server->event, server->path, client_on_message, client_on_end,
                                  client));
}

static void client_done(Client *client) {
        varlink_free(client->varlink);
        for (size_t i = 0; i < client->n_replies; i++)
                free(client->replies[i]);
}

static void run_until_replies(Server *server, Client *client, size_t n_replies) {
        while (client->n_replies < n_replies)
                ASSERT_TRUE(sd_event_run(server->event, 10 * 1000 * 1000) > 0);
        ASSERT_EQ(client->n_replies, n_replies);
}

static void run_until_told(Server *server, Client *client) {
        while (client->n_replies == 0 && !client->ended)
                ASSERT_TRUE(sd_event_run(server->event, 10 * 1000 * 1000) > 0);
}

static void run_until_end(Server *server, Client *client) {
        while (!client->ended)
                ASSERT_TRUE(sd_event_run(server->event, 10 * 1000 * 1000) > 0);
}

static void test_holder_is_counted_told_and_released(void) {
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        ASSERT_OK(varlink_call(client.varlink, "io.wakechain.Hold", NULL, true));
        run_until_replies(&server, &client, 1);
        ASSERT_STREQ(client.replies[0], "{\"parameters\":{\"status\":{\"state\":\"waking\"}},\"continues\":true}");
        ASSERT_EQ(server.n_held, 1);
        ASSERT_EQ(server.trigger, TRIGGER_MANUAL);
        ASSERT_EQ(control_holders(server.control), 1);

        server.state = "awake";
        control_publish(server.control);
        run_until_replies(&server, &client, 2);
        ASSERT_STREQ(client.replies[1], "{\"parameters\":{\"status\":{\"state\":\"awake\"}},\"continues\":true}");

        client.varlink = varlink_free(client.varlink);
        while (server.n_released == 0)
                ASSERT_TRUE(sd_event_run(server.event, 10 * 1000 * 1000) > 0);
        ASSERT_EQ(control_holders(server.control), 0);
        client_done(&client);
        server_stop(&server);
}

static void test_idle_connection_and_status_hold_nothing(void) {
        Client idle, reader;
        Server server;

        server_start(&server);
        client_connect(&idle, &server);
        client_connect(&reader, &server);
        ASSERT_OK(varlink_call(reader.varlink, "io.wakechain.GetStatus", NULL, false));
        run_until_replies(&server, &reader, 1);
        ASSERT_STREQ(reader.replies[0], "{\"parameters\":{\"status\":{\"state\":\"waking\"}}}");
        ASSERT_EQ(control_holders(server.control), 0);
        ASSERT_EQ(server.n_held, 0);
        client_done(&idle);
        client_done(&reader);
        server_stop(&server);
}

static void test_second_hold_of_one_caller_counts_once(void) {
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        ASSERT_OK(varlink_call(client.varlink, "io.wakechain.Hold", NULL, true));
        ASSERT_OK(varlink_call(client.varlink, "io.wakechain.Hold", NULL, true));
        run_until_replies(&server, &client, 2);
        ASSERT_EQ(control_holders(server.control), 1);
        ASSERT_EQ(server.n_held, 1);
        client_done(&client);
        server_stop(&server);
}

/* The parameters are JSON; NULL: none. */
static void client_call(Client *client, const char *method, const char *parameters, bool more) {
        json_object *object = parameters ? json_tokener_parse(parameters) : NULL;

        ASSERT_TRUE(!parameters || object);
        ASSERT_OK(varlink_call(client->varlink, method, object, more));
        json_object_put(object);
}

static void test_sleep_is_answered_and_passed_on(void) {
        static const struct {
                const char *parameters;
                unsigned n_sleep, n_sleep_all;
        } cases[] = {
                { NULL, 1, 0 },
                { "{}", 2, 0 },
                { "{\"all\":false}", 3, 0 },
                { "{\"all\":null}", 4, 0 },
                { "{\"all\":true}", 4, 1 },
        };
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                client_call(&client, "io.wakechain.Sleep", cases[i].parameters, false);
                run_until_replies(&server, &client, i + 1);
                ASSERT_STREQ(client.replies[i], "{\"parameters\":{}}");
                ASSERT_EQ(server.n_sleep, cases[i].n_sleep);
                ASSERT_EQ(server.n_sleep_all, cases[i].n_sleep_all);
        }
        client_done(&client);
        server_stop(&server);
}

static void test_holder_says_what_for(void) {
        static const struct {
                const char *parameters;
                WakeTrigger trigger;
        } cases[] = {
                { "{}", TRIGGER_MANUAL },
                { "{\"trigger\":null}", TRIGGER_MANUAL },
                { "{\"trigger\":\"api\"}", TRIGGER_API },
                { "{\"trigger\":\"connection\"}", TRIGGER_CONNECTION },
        };
        Server server;

        server_start(&server);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Client client;

                client_connect(&client, &server);
                client_call(&client, "io.wakechain.Hold", cases[i].parameters, true);
                run_until_replies(&server, &client, 1);
                ASSERT_EQ(server.n_held, i + 1);
                ASSERT_EQ(server.trigger, cases[i].trigger);
                client_done(&client);
        }
        server_stop(&server);
}

static void test_oneway_calls_are_not_answered(void) {
        static const char calls[] = "{\"method\":\"io.wakechain.GetStatus\",\"oneway\":true}\0"
                                    "{\"method\":\"io.wakechain.Nothing\",\"oneway\":true}\0"
                                    "{\"method\":\"io.wakechain.Hold\",\"more\":true,\"oneway\":true}\0"
                                    "{\"method\":\"io.wakechain.Sleep\",\"oneway\":true}\0"
                                    "{\"method\":\"io.wakechain.GetStatus\"}";
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        ASSERT_EQ(write(varlink_fd(client.varlink), calls, sizeof(calls)), sizeof(calls));
        run_until_replies(&server, &client, 1);
        ASSERT_STREQ(client.replies[0], "{\"parameters\":{\"status\":{\"state\":\"waking\"}}}");
        ASSERT_EQ(server.n_sleep, 1);
        ASSERT_EQ(control_holders(server.control), 0);
        client_done(&client);
        server_stop(&server);
}

static void test_wrong_calls_get_the_errors_of_varlink(void) {
        static const struct {
                const char *method, *parameters;
                bool more;
                const char *answer;
        } cases[] = {
                { "io.wakechain.Hold", NULL, false,
                  "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}" },
                { "io.wakechain.Hold", "{\"trigger\":\"whim\"}", true,
                  "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"trigger\"}}" },
                { "io.wakechain.Hold", "{\"trigger\":1}", true,
                  "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"trigger\"}}" },
                { "io.wakechain.Sleep", "{\"all\":\"yes\"}", false,
                  "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"all\"}}" },
                { "io.wakechain.Nothing", NULL, false,
                  "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"io.wakechain.Nothing\"}}" },
                { "org.varlink.service.GetInterfaceDescription", NULL, false,
                  "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"interface\"}}" },
                { "org.varlink.service.GetInterfaceDescription", "{\"interface\":\"io.other\"}", false,
                  "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"io.other\"}}" },
        };
        Server server;

        server_start(&server);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Client client;

                client_connect(&client, &server);
                client_call(&client, cases[i].method, cases[i].parameters, cases[i].more);
                run_until_replies(&server, &client, 1);
                ASSERT_STREQ(client.replies[0], cases[i].answer);
                client_done(&client);
        }
        ASSERT_EQ(control_holders(server.control), 0);
        ASSERT_EQ(server.n_held + server.n_sleep + server.n_sleep_all, 0);
        server_stop(&server);
}

static void test_interfaces_are_described(void) {
        static const struct {
                const char *name, *words[8];
        } interfaces[] = {
                { "io.wakechain",
                  { "interface io.wakechain", "method Hold(", "method GetStatus()", "method Sleep(",
                    "error WakeFailed", "error Stopping" } },
                { "org.varlink.service",
                  { "interface org.varlink.service", "method GetInfo()", "method GetInterfaceDescription(",
                    "error InterfaceNotFound" } },
        };
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        client_call(&client, "org.varlink.service.GetInfo", NULL, false);
        run_until_replies(&server, &client, 1);
        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++) {
                json_object *parameters = json_object_new_object();

                ASSERT_TRUE(strstr(client.replies[0], interfaces[i].name) != NULL);
                json_object_object_add(parameters, "interface", json_object_new_string(interfaces[i].name));
                ASSERT_OK(varlink_call(client.varlink, "org.varlink.service.GetInterfaceDescription", parameters,
                                       false));
                json_object_put(parameters);
                run_until_replies(&server, &client, i + 2);
                for (const char *const *word = interfaces[i].words; *word; word++)
                        ASSERT_TRUE(strstr(client.replies[i + 1], *word) != NULL);
        }
        client_done(&client);
        server_stop(&server);
}

static void test_failure_answers_holders_and_the_backlog(void) {
        Client holder, late;
        Server server;

        server_start(&server);
        client_connect(&holder, &server);
        ASSERT_OK(varlink_call(holder.varlink, "io.wakechain.Hold", NULL, true));
        run_until_replies(&server, &holder, 1);

        client_connect(&late, &server);
        control_fail(server.control, FAILURE_GLOBAL_TIMEOUT, "too slow");
        run_until_end(&server, &holder);
        run_until_end(&server, &late);
        ASSERT_STREQ(holder.replies[1],
                     "{\"error\":\"io.wakechain.WakeFailed\",\"parameters\":{\"reason\":\"global_timeout\",\"message\":\"too slow\"}}");
        ASSERT_EQ(late.n_replies, 1);
        ASSERT_STREQ(late.replies[0], holder.replies[1]);
        ASSERT_EQ(control_holders(server.control), 0);
        client_done(&holder);
        client_done(&late);
        server_stop(&server);
}

static void test_paused_leaves_callers_in_the_backlog(void) {
        Client early, late;
        Server server;

        server_start(&server);
        client_connect(&early, &server);
        ASSERT_OK(varlink_call(early.varlink, "io.wakechain.GetStatus", NULL, false));
        run_until_replies(&server, &early, 1);

        control_pause(server.control);
        client_connect(&late, &server);
        ASSERT_OK(varlink_call(late.varlink, "io.wakechain.Hold", NULL, true));
        ASSERT_OK(varlink_call(early.varlink, "io.wakechain.Hold", NULL, true));
        run_until_replies(&server, &early, 2);
        ASSERT_TRUE(strstr(early.replies[1], "io.wakechain.Stopping") != NULL);
        ASSERT_EQ(late.n_replies, 0);

        /* The next process gets the same listening socket. */
        server.control = control_free(server.control);
        server_listen(&server);
        run_until_replies(&server, &late, 1);
        ASSERT_EQ(server.n_held, 1);
        client_done(&early);
        client_done(&late);
        server_stop(&server);
}

/* The program that reads clients' bytes may wake its own service, and nothing else. */
static void test_what_fronts_may(void) {
        static const char hold[] = "io.wakechain.Hold", sleep[] = "io.wakechain.Sleep";
        static const char denied[] = "{\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}";
        static const char status[] = "{\"parameters\":{\"status\":{\"state\":\"waking\"}},\"continues\":true}";
        static const char done[] = "{\"parameters\":{}}";
        static const struct {
                const char *unit;
                const char *hold, *sleep;
                WakeTrigger trigger;
        } cases[] = {
                { "wake-front@clemence.service", status, denied, TRIGGER_CONNECTION },
                { "wake-front@memvid.service", denied, denied, _TRIGGER_INVALID },
                { "wake-front@clemence", denied, denied, _TRIGGER_INVALID },
                { "wake@memvid.service", status, done, TRIGGER_API },
                { SOMEBODY, status, done, TRIGGER_API },
                { NULL, status, done, TRIGGER_API }, /* it has ended */
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Server server;
                Client client;

                server_start(&server);
                server.trigger = _TRIGGER_INVALID;
                peer_unit = cases[i].unit;
                client_connect(&client, &server);
                client_call(&client, hold, "{\"trigger\":\"api\"}", true);
                run_until_replies(&server, &client, 1);
                ASSERT_STREQ(client.replies[0], cases[i].hold);
                ASSERT_EQ(server.trigger, cases[i].trigger);
                ASSERT_EQ(control_holders(server.control), cases[i].hold == status);
                /* Those of others are not even listened to. */
                if (cases[i].hold == denied)
                        run_until_end(&server, &client);
                client_done(&client);

                client_connect(&client, &server);
                client_call(&client, sleep, NULL, false);
                run_until_replies(&server, &client, 1);
                ASSERT_STREQ(client.replies[0], cases[i].sleep);
                ASSERT_EQ(server.n_sleep, cases[i].sleep == done);
                client_done(&client);
                server_stop(&server);
        }
        peer_unit = SOMEBODY;
}

static void test_front_is_dropped(void) {
        Server server;
        Client front;

        server_start(&server);
        peer_unit = "wake-front@clemence.service";
        client_connect(&front, &server);
        client_call(&front, "io.wakechain.Hold", NULL, true);
        run_until_replies(&server, &front, 1);
        ASSERT_TRUE(control_has_front(server.control));
        control_drop(server.control);
        run_until_end(&server, &front);
        ASSERT_FALSE(control_has_front(server.control));
        ASSERT_EQ(control_holders(server.control), 0);
        client_done(&front);
        server_stop(&server);
        peer_unit = SOMEBODY;
}

static void test_other_holders_than_the_front_are_not_dropped(void) {
        Client holder, late;
        Server server;

        server_start(&server);
        client_connect(&holder, &server);
        client_call(&holder, "io.wakechain.Hold", NULL, true);
        run_until_replies(&server, &holder, 1);

        control_drop(server.control);
        client_connect(&late, &server);
        client_call(&late, "io.wakechain.Hold", NULL, true);
        server.state = "stopping";
        control_publish(server.control);
        run_until_replies(&server, &holder, 2);
        ASSERT_STREQ(holder.replies[1],
                     "{\"parameters\":{\"status\":{\"state\":\"stopping\"}},\"continues\":true}");
        ASSERT_EQ(late.n_replies, 0);
        client_done(&holder);
        client_done(&late);
        server_stop(&server);
}

/* Only those who hold, or wait for the end, may say nothing for longer. */
static void test_silent_callers_are_disconnected(void) {
        Client silent, reader, holder, sleeper;
        uint64_t begin_usec = time_now(CLOCK_MONOTONIC);
        Server server;

        server_start(&server);
        client_connect(&silent, &server);
        client_connect(&reader, &server);
        client_connect(&holder, &server);
        client_connect(&sleeper, &server);
        ASSERT_EQ(write(varlink_fd(silent.varlink), "{", 1), 1);
        client_call(&holder, "io.wakechain.Hold", NULL, true);
        client_call(&sleeper, "io.wakechain.Sleep", NULL, false);
        client_call(&reader, "io.wakechain.GetStatus", NULL, false);
        run_until_end(&server, &silent);
        run_until_end(&server, &reader);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + 5 * USEC_PER_SEC);
        ASSERT_EQ(reader.n_replies, 1);
        ASSERT_FALSE(holder.ended);
        ASSERT_FALSE(sleeper.ended);
        ASSERT_EQ(control_holders(server.control), 1);
        client_done(&silent);
        client_done(&reader);
        client_done(&holder);
        client_done(&sleeper);
        server_stop(&server);
}

/* Of one user, beside whose many the service's front has room. */
static void test_many_callers(void) {
        static Client clients[300];
        size_t n_ended = 0;
        Client front;
        Server server;

        server_start(&server);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                client_connect(&clients[i], &server);
                client_call(&clients[i], "io.wakechain.Hold", NULL, true);
                run_until_told(&server, &clients[i]);
                n_ended += clients[i].ended;
        }
        ASSERT_EQ(n_ended, ELEMENTSOF(clients) - 256);
        ASSERT_EQ(control_holders(server.control), 256);

        peer_unit = "wake-front@clemence.service";
        client_connect(&front, &server);
        client_call(&front, "io.wakechain.Hold", NULL, true);
        run_until_replies(&server, &front, 1);
        ASSERT_EQ(control_holders(server.control), 257);
        client_done(&front);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                client_done(&clients[i]);
        server_stop(&server);
        peer_unit = SOMEBODY;
}

static void test_long_calls_are_disconnected(void) {
        static char text[32 * 1024];
        Server server;
        Client client;

        server_start(&server);
        client_connect(&client, &server);
        memset(text, ' ', sizeof(text));
        ASSERT_EQ(write(varlink_fd(client.varlink), text, sizeof(text)), sizeof(text));
        run_until_end(&server, &client);
        ASSERT_EQ(client.n_replies, 0);
        client_done(&client);
        server_stop(&server);
}

static void test_garbage_is_disconnected(void) {
        Server server;
        Client client;
        int fd;

        server_start(&server);
        client_connect(&client, &server);
        fd = varlink_fd(client.varlink);
        ASSERT_EQ(write(fd, "GET / HTTP/1.1\r\n\r\n\0", 19), 19);
        run_until_end(&server, &client);
        ASSERT_EQ(client.n_replies, 0);
        client_done(&client);
        server_stop(&server);
}

int main(void) {
        test_holder_is_counted_told_and_released();
        test_idle_connection_and_status_hold_nothing();
        test_second_hold_of_one_caller_counts_once();
        test_sleep_is_answered_and_passed_on();
        test_holder_says_what_for();
        test_oneway_calls_are_not_answered();
        test_wrong_calls_get_the_errors_of_varlink();
        test_interfaces_are_described();
        test_failure_answers_holders_and_the_backlog();
        test_paused_leaves_callers_in_the_backlog();
        test_what_fronts_may();
        test_front_is_dropped();
        test_other_holders_than_the_front_are_not_dropped();
        test_silent_callers_are_disconnected();
        test_many_callers();
        test_long_calls_are_disconnected();
        test_garbage_is_disconnected();
        return EXIT_SUCCESS;
}
