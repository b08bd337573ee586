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
        bool events; /* this one gets them */
        bool used;
} FakeConnection;

struct FakeEngine {
        sd_event *event;
        int fd;
        sd_event_source *source;
        FakeContainer containers[CONTAINERS_MAX];
        size_t n_containers;
        FakeConnection connections[CONNECTIONS_MAX];
        char **lines;
        unsigned inspects;
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

static void add_line(FakeEngine *engine, const char *verb, const FakeContainer *container) {
        char line[128];

        (void) snprintf(line, sizeof(line), "%s %s", verb, container->name);
        ASSERT_OK(strv_append(&engine->lines, line));
        if (engine->handler)
                engine->handler(engine, line, engine->userdata);
}

static void tell(FakeEngine *engine, const FakeContainer *container, const char *action) {
        char body[512], chunk[600];

        (void) snprintf(body, sizeof(body),
                        "{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"name\":\"%s\","
                        "\"exitCode\":\"%i\"}}}\n",
                        action, container->name, container->name, container->exit_code);
        (void) snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(body), body);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (engine->connections[i].used && engine->connections[i].events)
                        connection_send(&engine->connections[i], chunk, strlen(chunk));
}

static void container_begin(FakeEngine *engine, FakeContainer *container) {
        container->running = true;
        container->run++;
        tell(engine, container, "start");
}

static void container_end(FakeEngine *engine, FakeContainer *container, int exit_code) {
        container->running = false;
        container->paused = false;
        container->exit_code = exit_code;
        tell(engine, container, "die");
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
        char ports[128] = "", body[2048];

        connection->engine->inspects++;
        if (container->publishes > 0)
                (void) snprintf(ports, sizeof(ports), "\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"%u\"}]",
                                container->publishes);
        (void) snprintf(body, sizeof(body),
                        "{\"Id\":\"%s\",\"Name\":\"/%s\",\"State\":{\"Running\":%s,\"Paused\":%s,\"Restarting\":false,\"ExitCode\":%i,"
                        "\"Error\":\"\",\"Pid\":%i,\"StartedAt\":\"2026-01-05T08:00:%02u.1Z\"},\"Config\":{\"StopTimeout\":2},"
                        "\"HostConfig\":{\"NetworkMode\":\"net\",\"PortBindings\":{%s}},\"NetworkSettings\":{\"Networks\":{\"net\":"
                        "{\"NetworkID\":\"net\",\"IPAddress\":\"%s\"}}}}",
                        container->name, container->name, container->running ? "true" : "false",
                        container->paused ? "true" : "false", container->exit_code,
                        container->running ? (int) getpid() : 0, container->run, ports,
                        container->running ? "127.0.0.1" : "");
        answer(connection, 200, body);
}

static void on_start(FakeConnection *connection, FakeContainer *container) {
        char body[512];

        if (container->refused_starts > 0) {
                container->refused_starts--;
                add_line(connection->engine, "refuse", container);
                (void) snprintf(body, sizeof(body), "{\"message\":\"%s\"}", container->refusal);
                answer(connection, container->refusal_status, body);
                return;
        }
        if (container->running) {
                answer_without_body(connection, 304);
                return;
        }
        add_line(connection->engine, "start", container);
        container_begin(connection->engine, container);
        answer_without_body(connection, 204);
        if (container->deaths > 0) {
                container->deaths--;
                container_end(connection->engine, container, 1);
        }
}

static void on_stop(FakeConnection *connection, FakeContainer *container) {
        if (!container->running) {
                answer_without_body(connection, 304);
                return;
        }
        add_line(connection->engine, "stop", container);
        container_end(connection->engine, container, 0);
        tell(connection->engine, container, "stop");
        answer_without_body(connection, 204);
}

static void on_unpause(FakeConnection *connection, FakeContainer *container) {
        add_line(connection->engine, "unpause", container);
        container->paused = false;
        tell(connection->engine, container, "unpause");
        answer_without_body(connection, 204);
}

static void on_logs(FakeConnection *connection, FakeContainer *container) {
        answer(connection, 200, "");
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
        add_line(connection->engine, container->failing_checks > 0 ? "unready" : "ready", container);
        answer(connection, 200, "");
}

static void on_exec_inspect(FakeConnection *connection, FakeContainer *container) {
        bool fails = container->failing_checks > 0;

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
        { "POST", "/containers/", "/unpause", on_unpause },
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
        *ret = fake_engine_find(engine, name);
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
                if (routes[i].after && (!container || container->missing))
                        answer(connection, 404, "{\"message\":\"No such container: x\"}");
                else
                        routes[i].call(connection, container);
                return true;
        }
        TEST_FAIL("no route: %s %s", method, path);
}

/* The size of the request at the beginning of the input, or 0 if it is not whole yet. */
static size_t request_size(const FakeConnection *connection) {
        const char *end = strstr(connection->input, "\r\n\r\n"),
                   *length = strcasestr(connection->input, "\r\nContent-Length:");
        size_t size;

        if (!end)
                return 0;
        size = (size_t) (end - connection->input) + 4;
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

FakeEngine *fake_engine_new(sd_event *event, const char *socket_path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        FakeEngine *engine = new0(FakeEngine, 1);

        ASSERT_TRUE(engine && strlen(socket_path) < sizeof(address.sun_path));
        engine->event = sd_event_ref(event);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                engine->connections[i].fd = -EBADF;
        (void) stpcpy(address.sun_path, socket_path);
        engine->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(engine->fd >= 0);
        ASSERT_EQ(bind(engine->fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(engine->fd, 64), 0);
        ASSERT_OK(sd_event_add_io(event, &engine->source, engine->fd, EPOLLIN, engine_on_connection, engine));
        return engine;
}

FakeEngine *fake_engine_free(FakeEngine *engine) {
        if (!engine)
                return NULL;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                connection_close(&engine->connections[i]);
        sd_event_source_disable_unref(engine->source);
        fd_close(engine->fd);
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
