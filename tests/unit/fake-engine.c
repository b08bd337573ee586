#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake-engine.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"

/* FakeEngine: HTTP as simple as it can be (a request is complete when its Content-Length has come), and one table of routes. */

#define CONTAINERS_MAX 16
#define CONNECTIONS_MAX 64
#define REQUEST_MAX 65536

typedef struct FakeConnection {
        FakeEngine *engine;
        int fd;
        sd_event_source *source;
        char *input;
        size_t size;
        const char *body; /* of the request that is being served */
        bool events; /* this one gets them */
        bool used;
} FakeConnection;

struct FakeEngine {
        sd_event *event;
        struct sockaddr_un address;
        int fd; /* -EBADF: closed */
        sd_event_source *source;
        FakeContainer containers[CONTAINERS_MAX];
        size_t n_containers;
        FakeConnection connections[CONNECTIONS_MAX];
        char *lacking; /* network */
        char **lines;
        unsigned inspects, requests;
        FakeEngineHandler handler;
        void *userdata;
};

static void connection_close(FakeConnection *connection) {
        sd_event_source_disable_unref(connection->source);
        fd_close(connection->fd);
        free(connection->input);
        *connection = (FakeConnection){ .fd = -EBADF };
}

static void connection_send(FakeConnection *connection, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = send(connection->fd, data, size, MSG_NOSIGNAL);

                if (n <= 0)
                        return;
                data += n;
                size -= (size_t) n;
        }
}

static void answer(FakeConnection *connection, unsigned status, const char *body) {
        char text[4096];
        int n = snprintf(
                        text, sizeof(text),
                        "HTTP/1.1 %u X\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        status, strlen(body), body);

        ASSERT_TRUE(n > 0 && (size_t) n < sizeof(text));
        connection_send(connection, text, (size_t) n);
}

static void answer_without_body(FakeConnection *connection, unsigned status) {
        char text[128];

        (void) snprintf(text, sizeof(text), "HTTP/1.1 %u X\r\n%s\r\n", status,
                        status == 204 ? "" : "Content-Length: 0\r\n");
        connection_send(connection, text, strlen(text));
}

static void add_line(FakeEngine *engine, const char *format, ...) _printf_(2, 3);
static void add_line(FakeEngine *engine, const char *format, ...) {
        char line[160];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(line, sizeof(line), format, arguments);
        va_end(arguments);
        ASSERT_OK(strv_append(&engine->lines, line));
        if (engine->handler)
                engine->handler(engine, line, engine->userdata);
}

static void tell(FakeEngine *engine, const FakeContainer *container, const char *action, int signal) {
        char body[512], chunk[600];

        (void) snprintf(body, sizeof(body),
                        "{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"name\":\"%s\","
                        "\"exitCode\":\"%i\",\"signal\":\"%i\"}}}\n",
                        action, container->id, container->name, container->exit_code, signal);
        (void) snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(body), body);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (engine->connections[i].used && engine->connections[i].events)
                        connection_send(&engine->connections[i], chunk, strlen(chunk));
}

static void container_begin(FakeEngine *engine, FakeContainer *container) {
        container->running = true;
        container->run++;
        container->restarting = false;
        tell(engine, container, "start", 0);
}

static void container_end(FakeEngine *engine, FakeContainer *container, int exit_code) {
        container->running = false;
        container->paused = false;
        container->exit_code = exit_code;
        tell(engine, container, "die", 0);
}

static void container_stop(FakeEngine *engine, FakeContainer *container) {
        tell(engine, container, "kill", SIGTERM);
        container_end(engine, container, 0);
        tell(engine, container, "stop", 0);
}

static bool container_exists(const FakeContainer *container) {
        if (container->made_by[0] != '\0')
                return access(container->made_by, F_OK) == 0;
        return !container->missing;
}

/* By id or by name. */
static FakeContainer *find_reference(FakeEngine *engine, const char *reference) {
        for (size_t i = 0; i < engine->n_containers; i++)
                if (streq(engine->containers[i].id, reference))
                        return &engine->containers[i];
        return fake_engine_find(engine, reference);
}

/* The routes. `name` is the part of the path between the two that a route is found by. */

static void on_ping(FakeConnection *connection, FakeContainer *container) {
        answer(connection, 200, "OK");
}

static void on_events(FakeConnection *connection, FakeContainer *container) {
        static const char head[] =
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

        connection_send(connection, head, strlen(head));
        connection->events = true;
}

static void on_inspect(FakeConnection *connection, FakeContainer *container) {
        const char *address = container->running ? container->address ?: "127.0.0.1" : "";
        char networks[256] = "", labels[128] = "", signal[64] = "", health[128] = "", execs[96] = "",
             own[128] = "", mode[128] = "net", ports[96] = "", body[2048];

        connection->engine->inspects++;
        if (container->refused_looks > 0) {
                container->refused_looks--;
                answer(connection, 500, "{\"message\":\"no connection to containerd\"}");
                return;
        }
        if (container->attached[0] != '\0')
                (void) snprintf(networks, sizeof(networks), ",\"%s\":{\"NetworkID\":\"%s\",\"IPAddress\":\"%s\"}",
                                container->attached, container->attached_blindly ? "" : container->attached,
                                address);
        if (container->joins[0] != '\0')
                (void) snprintf(mode, sizeof(mode), "container:%s", container->joins);
        else
                (void) snprintf(own, sizeof(own), "\"net\":{\"NetworkID\":\"net\",\"IPAddress\":\"%s\"}", address);
        if (container->compose_service)
                (void) snprintf(labels, sizeof(labels),
                                "\"com.docker.compose.service\":\"%s\",\"com.docker.compose.project\":\"%s\"",
                                container->compose_service, container->compose_project ?: "");
        if (container->stop_signal)
                (void) snprintf(signal, sizeof(signal), ",\"StopSignal\":\"%s\"", container->stop_signal);
        if (container->health_test)
                (void) snprintf(health, sizeof(health), ",\"Healthcheck\":{\"Test\":[%s]}",
                                container->health_test);
        if (container->publishes > 0)
                (void) snprintf(ports, sizeof(ports), "\"%u/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"%u\"}]",
                                container->publishes, container->publishes);
        if (container->exec)
                (void) snprintf(execs, sizeof(execs), "\"%s\"", container->name);
        (void) snprintf(body, sizeof(body),
                        "{\"ExecIDs\":[%s],\"Id\":\"%s\",\"Name\":\"/%s\",\"State\":{\"Running\":%s,\"Paused\":%s,\"Restarting\":%s,\"ExitCode\":%i,"
                        "\"OOMKilled\":%s,\"Error\":\"\",\"Pid\":%i,\"StartedAt\":\"%s:%02u.1Z\"},"
                        "\"Config\":{\"StopTimeout\":2,\"Labels\":{%s}%s%s},"
                        "\"HostConfig\":{\"NetworkMode\":\"%s\",\"AutoRemove\":%s,\"PortBindings\":{%s},"
                        "\"RestartPolicy\":{\"Name\":\"%s\"}},\"NetworkSettings\":{\"Networks\":{%s%s}}}",
                        execs, container->id, container->name, container->running ? "true" : "false",
                        container->paused ? "true" : "false", container->restarting ? "true" : "false",
                        container->exit_code, container->oom_killed ? "true" : "false",
                        container->running ? (int) getpid() : 0,
                        container->run > 0 ? "2026-01-05T08:00" : "0001-01-01T00:00", container->run, labels,
                        signal, health, mode, container->auto_remove ? "true" : "false", ports,
                        container->restart_policy ?: "no", own, networks);
        answer(connection, 200, body);
}

static bool refuse_network(FakeConnection *connection, const FakeContainer *container) {
        FakeEngine *engine = connection->engine;
        const FakeContainer *owner = *container->joins ? find_reference(engine, container->joins) : NULL;
        char body[256];

        if (engine->lacking && streq(engine->lacking, container->attached)) {
                (void) snprintf(body, sizeof(body), "{\"message\":\"network %s not found\"}", engine->lacking);
                answer(connection, 404, body);
        } else if (*container->joins && (!owner || !container_exists(owner)))
                answer(connection, 404, "{\"message\":\"No such container: x\"}");
        else if (owner && !owner->running)
                answer(connection, 409, "{\"message\":\"cannot join network of a non running container: x\"}");
        else
                return false;
        return true;
}

static void on_start(FakeConnection *connection, FakeContainer *container) {
        char body[512];

        if (container->refused_starts > 0) {
                container->refused_starts--;
                add_line(connection->engine, "refuse %s", container->name);
                (void) snprintf(body, sizeof(body), "{\"message\":\"%s\"}", container->refusal);
                answer(connection, container->refusal_status, body);
                return;
        }
        if (container->late_start)
                fake_engine_start(connection->engine, container->name);
        if (container->running && container->paused) {
                answer(connection, 409, "{\"message\":\"cannot start a paused container, try unpause instead\"}");
                return;
        }
        if (container->running) {
                answer_without_body(connection, 304);
                return;
        }
        if (refuse_network(connection, container))
                return;
        add_line(connection->engine, "start %s", container->name);
        container_begin(connection->engine, container);
        answer_without_body(connection, 204);
        if (container->deaths > 0) {
                container->deaths--;
                container_end(connection->engine, container, 1);
        } else if (container->completions > 0) {
                container->completions--;
                container_end(connection->engine, container, 0);
        }
}

static void on_stop(FakeConnection *connection, FakeContainer *container) {
        if (!container->running) {
                answer_without_body(connection, 304);
                return;
        }
        if (container->paused && container->stubborn) {
                answer(connection, 500, "{\"message\":\"container is in state paused\"}");
                return;
        }
        add_line(connection->engine, "stop %s", container->name);
        container_stop(connection->engine, container);
        if (container->auto_remove)
                fake_engine_remove(connection->engine, container->name);
        answer_without_body(connection, 204);
}

static void on_restart(FakeConnection *connection, FakeContainer *container) {
        if (container->running)
                container_stop(connection->engine, container);
        if (refuse_network(connection, container))
                return;
        add_line(connection->engine, "restart %s", container->name);
        container_begin(connection->engine, container);
        answer_without_body(connection, 204);
}

static void on_pause(FakeConnection *connection, FakeContainer *container) {
        if (container->refused_pauses > 0) {
                container->refused_pauses--;
                answer(connection, 500, "{\"message\":\"cannot freeze: permission denied\"}");
                return;
        }
        if (!container->running || container->paused) {
                answer(connection, 409,
                       container->running ? "{\"message\":\"Container x is already paused\"}"
                                          : "{\"message\":\"Container x is not running\"}");
                return;
        }
        add_line(connection->engine, "pause %s", container->name);
        fake_engine_pause(connection->engine, container->name);
        answer_without_body(connection, 204);
}

static void on_unpause(FakeConnection *connection, FakeContainer *container) {
        if (!container->paused) {
                answer(connection, 500, "{\"message\":\"Container x is not paused\"}");
                return;
        }
        add_line(connection->engine, "unpause %s", container->name);
        container->paused = false;
        tell(connection->engine, container, "unpause", 0);
        answer_without_body(connection, 204);
}

static void on_network(FakeConnection *connection, FakeContainer *container) {
        char network[64];

        ASSERT_EQ(sscanf(connection->input, "GET /v1.41/networks/%63[^/ ]", network), 1);
        if (connection->engine->lacking && streq(connection->engine->lacking, network))
                answer(connection, 404, "{\"message\":\"network x not found\"}");
        else
                answer(connection, 200,
                       "{\"Containers\":{\"1\":{\"Name\":\"rival\",\"IPv4Address\":\"10.0.0.9/24\"}}}");
}

static void on_disconnect(FakeConnection *connection, FakeContainer *container, const char *network) {
        if (!streq(container->attached, network) || !strstr(connection->body, "\"Force\":true")) {
                answer(connection, 403, "{\"message\":\"container x is not connected to network y\"}");
                return;
        }
        add_line(connection->engine, "detach %s %s", container->name, network);
        container->attached[0] = '\0';
        container->attached_blindly = false;
        answer(connection, 200, "");
}

static void on_connect(FakeConnection *connection, FakeContainer *container) {
        FakeEngine *engine = connection->engine;
        char network[64], name[64], action[16];

        ASSERT_EQ(sscanf(connection->input, "POST /v1.41/networks/%63[^/]/%15[a-z]", network, action), 2);
        ASSERT_EQ(sscanf(connection->body, " { \"Container\" : \"%63[^\"]", name), 1);
        container = find_reference(engine, name);
        if (!container || !container_exists(container)) {
                answer(connection, 404, "{\"message\":\"No such container: x\"}");
                return;
        }
        if (streq(action, "disconnect")) {
                on_disconnect(connection, container, network);
                return;
        }
        if (container->running && engine->lacking && streq(engine->lacking, network)) {
                answer(connection, 404, "{\"message\":\"network x not found\"}");
                return;
        }
        if (container->refuses_networks) {
                char body[512];

                (void) snprintf(body, sizeof(body), "{\"message\":\"%s\"}", container->refusal);
                answer(connection, container->refusal_status, body);
                return;
        }
        if (streq(container->attached, network)) {
                answer(connection, 403, "{\"message\":\"endpoint with name x already exists in network y\"}");
                return;
        }
        add_line(engine, "attach %s %s", container->name, network);
        (void) snprintf(container->attached, sizeof(container->attached), "%s", network);
        container->attached_blindly = engine->lacking && streq(engine->lacking, network);
        answer(connection, 200, "");
}

static void on_logs(FakeConnection *connection, FakeContainer *container) {
        char body[128];

        if (container->last_words)
                (void) snprintf(body, sizeof(body), "%s\n", container->last_words);
        else
                (void) snprintf(body, sizeof(body), "%s cannot go on\n", container->name);
        answer(connection, 200, body);
}

static void on_exec_create(FakeConnection *connection, FakeContainer *container) {
        char body[128];

        if (!container->running) {
                answer(connection, 409, "{\"message\":\"Container is not running\"}");
                return;
        }
        (void) snprintf(body, sizeof(body), "{\"Id\":\"%s\"}", container->name);
        answer(connection, 201, body);
}

static void on_exec_start(FakeConnection *connection, FakeContainer *container) {
        add_line(connection->engine, "%s %s", container->failing_checks > 0 ? "unready" : "ready",
                 container->name);
        answer(connection, 200, "");
}

static void on_exec_inspect(FakeConnection *connection, FakeContainer *container) {
        bool fails = container->failing_checks > 0;
        char body[256];

        if (container->exec) {
                (void) snprintf(body, sizeof(body), "{\"Running\":true,\"ExitCode\":null,\"ProcessConfig\":{%s}}",
                                container->exec);
                answer(connection, 200, body);
                return;
        }
        if (fails)
                container->failing_checks--;
        answer(connection, 200,
               fails ? "{\"Running\":false,\"ExitCode\":1}" : "{\"Running\":false,\"ExitCode\":0}");
}

static const struct {
        const char *method, *before, *after;
        void (*call)(FakeConnection *connection, FakeContainer *container);
} routes[] = {
        { "GET", "/_ping", NULL, on_ping },
        { "GET", "/events", NULL, on_events },
        { "GET", "/containers/", "/json", on_inspect },
        { "POST", "/containers/", "/start", on_start },
        { "POST", "/containers/", "/stop", on_stop },
        { "POST", "/containers/", "/pause", on_pause },
        { "POST", "/containers/", "/unpause", on_unpause },
        { "POST", "/containers/", "/restart", on_restart },
        { "GET", "/networks/", NULL, on_network },
        { "POST", "/networks/", NULL, on_connect },
        { "GET", "/containers/", "/logs", on_logs },
        { "POST", "/containers/", "/exec", on_exec_create },
        { "POST", "/exec/", "/start", on_exec_start },
        { "GET", "/exec/", "/json", on_exec_inspect },
};

/* Finds the container that a path names, between what comes before and after it. False: this is another route. */
static bool match(FakeEngine *engine, const char *path, const char *before, const char *after,
                  FakeContainer **ret) {
        size_t n = strlen(before), m;
        char name[64];

        *ret = NULL;
        if (strncmp(path, before, n) != 0)
                return false;
        if (!after)
                return true;
        path += n;
        m = strcspn(path, "/");
        if (m >= sizeof(name) || strncmp(path + m, after, strlen(after)) != 0 || path[m + strlen(after)] != '\0')
                return false;
        memcpy(name, path, m);
        name[m] = '\0';
        *ret = find_reference(engine, name);
        return true;
}

/* Returns false if it is not to be answered yet. */
static bool serve(FakeConnection *connection, const char *method, char *path) {
        FakeContainer *container;

        path[strcspn(path, "?")] = '\0';
        if (strncmp(path, "/v1.", 4) == 0)
                path += 4 + strcspn(path + 4, "/");
        for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
                if (!streq(method, routes[i].method) ||
                    !match(connection->engine, path, routes[i].before, routes[i].after, &container))
                        continue;
                if (container && container->hangs)
                        return false;
                if (routes[i].call != on_ping && routes[i].call != on_events)
                        connection->engine->requests++;
                if (routes[i].after && (!container || !container_exists(container))) {
                        char body[640];

                        (void) snprintf(body, sizeof(body), "{\"message\":\"No such container: %s\"}", path);
                        answer(connection, 404, body);
                } else
                        routes[i].call(connection, container);
                return true;
        }
        TEST_FAIL("no route: %s %s", method, path);
}

/* The size of the request at the beginning of the input, or 0 if it is not whole yet. */
static size_t request_size(FakeConnection *connection) {
        const char *end = strstr(connection->input, "\r\n\r\n"),
                   *length = strcasestr(connection->input, "\r\nContent-Length:");
        size_t size;

        if (!end)
                return 0;
        size = (size_t) (end - connection->input) + 4;
        connection->body = end + 4;
        if (length && length < end)
                size += strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
        return size <= connection->size ? size : 0;
}

static void connection_serve(FakeConnection *connection) {
        char method[8], path[512];
        size_t size;

        while (connection->used && (size = request_size(connection)) > 0) {
                ASSERT_EQ(sscanf(connection->input, "%7s %511s", method, path), 2);
                if (!serve(connection, method, path))
                        return;
                memmove(connection->input, connection->input + size, connection->size - size + 1);
                connection->size -= size;
        }
}

static int connection_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FakeConnection *connection = ASSERT_PTR(userdata);
        ssize_t n = recv(fd, connection->input + connection->size, REQUEST_MAX - connection->size - 1, 0);

        if (n <= 0) {
                connection_close(connection);
                return 0;
        }
        connection->size += (size_t) n;
        connection->input[connection->size] = '\0';
        connection_serve(connection);
        return 0;
}

static int engine_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FakeEngine *engine = ASSERT_PTR(userdata);
        FakeConnection *connection = engine->connections;

        while (connection->used) {
                connection++;
                ASSERT_TRUE(connection < engine->connections + CONNECTIONS_MAX);
        }
        *connection = (FakeConnection){
                .engine = engine,
                .fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC),
                .input = new0(char, REQUEST_MAX),
                .used = true,
        };
        ASSERT_TRUE(connection->fd >= 0 && connection->input);
        ASSERT_OK(sd_event_add_io(engine->event, &connection->source, connection->fd, EPOLLIN, connection_on_io,
                                  connection));
        return 0;
}

static void engine_listen(FakeEngine *engine) {
        engine->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(engine->fd >= 0);
        ASSERT_EQ(bind(engine->fd, (struct sockaddr *) &engine->address, sizeof(engine->address)), 0);
        ASSERT_EQ(listen(engine->fd, 64), 0);
        ASSERT_OK(sd_event_add_io(engine->event, &engine->source, engine->fd, EPOLLIN, engine_on_connection,
                                  engine));
}

FakeEngine *fake_engine_new(sd_event *event, const char *socket_path) {
        FakeEngine *engine = new0(FakeEngine, 1);

        ASSERT_TRUE(engine && strlen(socket_path) < sizeof(engine->address.sun_path));
        engine->event = sd_event_ref(event);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                engine->connections[i].fd = -EBADF;
        engine->address.sun_family = AF_UNIX;
        (void) stpcpy(engine->address.sun_path, socket_path);
        engine_listen(engine);
        return engine;
}

FakeEngine *fake_engine_free(FakeEngine *engine) {
        if (!engine)
                return NULL;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                connection_close(&engine->connections[i]);
        sd_event_source_disable_unref(engine->source);
        fd_close(engine->fd);
        free(engine->lacking);
        strv_free(engine->lines);
        sd_event_unref(engine->event);
        return mfree(engine);
}

void fake_engine_set_handler(FakeEngine *engine, FakeEngineHandler handler, void *userdata) {
        engine->handler = handler;
        engine->userdata = userdata;
}

FakeContainer *fake_engine_add(FakeEngine *engine, const char *name) {
        FakeContainer *container = &engine->containers[engine->n_containers++];

        ASSERT_TRUE(engine->n_containers <= CONTAINERS_MAX);
        (void) snprintf(container->name, sizeof(container->name), "%s", name);
        (void) snprintf(container->id, sizeof(container->id), "%s.0", name);
        return container;
}

FakeContainer *fake_engine_find(FakeEngine *engine, const char *name) {
        for (size_t i = 0; i < engine->n_containers; i++)
                if (streq(engine->containers[i].name, name))
                        return &engine->containers[i];
        return NULL;
}

void fake_engine_kill(FakeEngine *engine, const char *name, int exit_code) {
        container_end(engine, ASSERT_PTR(fake_engine_find(engine, name)), exit_code);
}

void fake_engine_start(FakeEngine *engine, const char *name) {
        container_begin(engine, ASSERT_PTR(fake_engine_find(engine, name)));
}

void fake_engine_stop(FakeEngine *engine, const char *name) {
        container_stop(engine, ASSERT_PTR(fake_engine_find(engine, name)));
}

void fake_engine_signal(FakeEngine *engine, const char *name, int signal) {
        tell(engine, ASSERT_PTR(fake_engine_find(engine, name)), "kill", signal);
}

void fake_engine_pause(FakeEngine *engine, const char *name) {
        FakeContainer *container = ASSERT_PTR(fake_engine_find(engine, name));

        container->paused = true;
        tell(engine, container, "pause", 0);
}

void fake_engine_rename(FakeEngine *engine, const char *name, const char *other) {
        FakeContainer *container = ASSERT_PTR(fake_engine_find(engine, name));

        (void) snprintf(container->name, sizeof(container->name), "%s", other);
        tell(engine, container, "rename", 0);
}

void fake_engine_remove(FakeEngine *engine, const char *name) {
        FakeContainer *container = ASSERT_PTR(fake_engine_find(engine, name));

        container->missing = true;
        tell(engine, container, "destroy", 0);
}

void fake_engine_make(FakeEngine *engine, const char *name) {
        FakeContainer *container = ASSERT_PTR(fake_engine_find(engine, name));

        container->missing = false;
        container->generation++;
        container->id[strcspn(container->id, ".")] = '\0';
        (void) snprintf(container->id + strlen(container->id), sizeof(container->id) - strlen(container->id),
                        ".%u", container->generation);
        container->run = 0;
        container->exit_code = 0;
        container->attached[0] = '\0';
        container->attached_blindly = false;
}

void fake_engine_lack_network(FakeEngine *engine, const char *network) {
        free(engine->lacking);
        engine->lacking = network ? strdup(network) : NULL;
}

void fake_engine_close(FakeEngine *engine, bool goes_on_serving) {
        engine->source = sd_event_source_disable_unref(engine->source);
        engine->fd = fd_close(engine->fd);
        (void) unlink(engine->address.sun_path);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (engine->connections[i].used && !engine->connections[i].events && !goes_on_serving)
                        connection_close(&engine->connections[i]);
}

void fake_engine_hang_up(FakeEngine *engine) {
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (engine->connections[i].used)
                        connection_close(&engine->connections[i]);
}

void fake_engine_come_back(FakeEngine *engine) {
        engine_listen(engine);
}

void fake_engine_go_on(FakeEngine *engine, const char *name) {
        ASSERT_PTR(fake_engine_find(engine, name))->hangs = false;
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (engine->connections[i].used)
                        connection_serve(&engine->connections[i]);
}

char *const *fake_engine_lines(const FakeEngine *engine) {
        return engine->lines;
}

void fake_engine_forget_lines(FakeEngine *engine) {
        engine->lines = strv_free(engine->lines);
}

unsigned fake_engine_inspects(const FakeEngine *engine) {
        return engine->inspects;
}

unsigned fake_engine_requests(const FakeEngine *engine) {
        return engine->requests;
}
