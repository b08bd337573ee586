#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"

/* ScriptedServer: each connection collects a request, finds its rule, and sends the reply as far as the
 * socket takes it. */

#define REQUEST_MAX 65536
#define RULES_MAX 32

typedef struct Connection Connection;
struct Connection {
        ScriptedServer *server;
        Connection *next;
        int fd;
        sd_event_source *io;
        char request[REQUEST_MAX];
        size_t size;
        const ScriptedRule *rule;
        size_t sent;
};

struct ScriptedServer {
        sd_event *event;
        char *path;
        int fd;
        sd_event_source *io;
        ScriptedRule rules[RULES_MAX];
        unsigned used[RULES_MAX];
        size_t n_rules;
        Connection *connections;
        unsigned n_connections;
        char **requests;
};

static void connection_close(Connection *connection) {
        connection->io = sd_event_source_disable_unref(connection->io);
        connection->fd = fd_close(connection->fd);
}

static const ScriptedRule *server_find_rule(ScriptedServer *server, const char *request) {
        for (size_t i = 0; i < server->n_rules; i++) {
                if (strncmp(request, server->rules[i].request, strlen(server->rules[i].request)) != 0)
                        continue;
                if (server->rules[i].times > 0 && server->used[i] >= server->rules[i].times)
                        continue;
                server->used[i]++;
                return &server->rules[i];
        }
        TEST_FAIL("no rule for this request: %s", request);
}

/* Where a reply without an end goes on, `n` bytes further. */
static size_t advance(size_t sent, size_t n, size_t size, size_t loop) {
        for (; n > 0; n--)
                sent = sent + 1 < size ? sent + 1 : loop;
        return sent;
}

static void connection_send_endlessly(Connection *connection) {
        const ScriptedRule *rule = connection->rule;
        size_t size = rule->reply_size ?: strlen(rule->reply), from = connection->sent;
        char data[16384];
        ssize_t n;

        for (size_t i = 0; i < sizeof(data); i++, from = advance(from, 1, size, rule->loop))
                data[i] = rule->reply[from];
        n = send(connection->fd, data, rule->piece > 0 ? MIN(rule->piece, sizeof(data)) : sizeof(data),
                 MSG_NOSIGNAL);
        if (n >= 0)
                connection->sent = advance(connection->sent, (size_t) n, size, rule->loop);
        else if (errno != EAGAIN)
                connection_close(connection);
}

static void connection_send(Connection *connection) {
        const ScriptedRule *rule = connection->rule;
        size_t size = rule->reply_size ?: strlen(rule->reply), left = size - connection->sent;
        ssize_t n;

        n = send(connection->fd, rule->reply + connection->sent, rule->piece > 0 ? MIN(rule->piece, left) : left,
                 MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n < 0) {
                connection_close(connection);
                return;
        }
        connection->sent += (size_t) n;
        if (connection->sent < size)
                return;

        connection->rule = NULL;
        if (rule->close)
                connection_close(connection);
        else
                ASSERT_OK(sd_event_source_set_io_events(connection->io, EPOLLIN));
}

static bool request_is_whole(const char *request) {
        const char *end = strstr(request, "\r\n\r\n"), *length = strcasestr(request, "\r\nContent-Length:");

        return end && strlen(end + 4) >= (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
}

static int connection_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Connection *connection = userdata;
        ssize_t n;

        if (connection->rule) {
                if (connection->rule->loop > 0)
                        connection_send_endlessly(connection);
                else
                        connection_send(connection);
                return 0;
        }

        n = recv(fd, connection->request + connection->size, REQUEST_MAX - 1 - connection->size, 0);
        if (n <= 0) {
                connection_close(connection);
                return 0;
        }
        connection->size += (size_t) n;
        connection->request[connection->size] = '\0';
        if (!request_is_whole(connection->request))
                return 0;

        ASSERT_OK(strv_append(&connection->server->requests, connection->request));
        connection->rule = server_find_rule(connection->server, connection->request);
        connection->size = connection->sent = 0;
        if (!connection->rule->reply)
                connection->rule = NULL;
        else
                ASSERT_OK(sd_event_source_set_io_events(connection->io, EPOLLOUT));
        return 0;
}

static int server_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        ScriptedServer *server = userdata;
        Connection *connection = new0(Connection, 1);

        ASSERT_TRUE(connection);
        connection->server = server;
        connection->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ASSERT_TRUE(connection->fd >= 0);
        ASSERT_OK(sd_event_add_io(server->event, &connection->io, connection->fd, EPOLLIN, connection_on_io,
                                  connection));
        connection->next = server->connections;
        server->connections = connection;
        server->n_connections++;
        return 0;
}

static int listen_at(const char *path) {
        struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_un local = { .sun_family = AF_UNIX };
        int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ASSERT_TRUE(fd >= 0);
        if (path) {
                ASSERT_TRUE(strlen(path) < sizeof(local.sun_path));
                strcpy(local.sun_path, path);
                (void) unlink(path);
                ASSERT_TRUE(bind(fd, (struct sockaddr *) &local, sizeof(local)) >= 0);
        } else
                ASSERT_TRUE(bind(fd, (struct sockaddr *) &ipv4, sizeof(ipv4)) >= 0);
        ASSERT_TRUE(listen(fd, 64) >= 0);
        return fd;
}

ScriptedServer *scripted_server_new(sd_event *event, const char *path, const ScriptedRule *rules, size_t n_rules) {
        ScriptedServer *server = new0(ScriptedServer, 1);

        ASSERT_TRUE(server);
        ASSERT_TRUE(n_rules <= RULES_MAX);
        server->event = sd_event_ref(event);
        server->path = path ? strdup(path) : NULL;
        server->fd = listen_at(path);
        for (size_t i = 0; i < n_rules; i++)
                server->rules[i] = rules[i];
        server->n_rules = n_rules;
        ASSERT_OK(sd_event_add_io(event, &server->io, server->fd, EPOLLIN, server_on_io, server));
        return server;
}

void scripted_server_suspend(ScriptedServer *server, bool suspended) {
        int enabled = suspended ? SD_EVENT_OFF : SD_EVENT_ON;

        ASSERT_OK(sd_event_source_set_enabled(server->io, enabled));
        for (Connection *connection = server->connections; connection; connection = connection->next)
                if (connection->io)
                        ASSERT_OK(sd_event_source_set_enabled(connection->io, enabled));
}

void scripted_server_drop(ScriptedServer *server) {
        for (Connection *next, *connection = server->connections; connection; connection = next) {
                next = connection->next;
                connection_close(connection);
                free(connection);
        }
        server->connections = NULL;
}

ScriptedServer *scripted_server_free(ScriptedServer *server) {
        if (!server)
                return NULL;

        scripted_server_drop(server);
        (void) sd_event_source_disable_unref(server->io);
        (void) fd_close(server->fd);
        if (server->path)
                (void) unlink(server->path);
        free(server->path);
        strv_free(server->requests);
        (void) sd_event_unref(server->event);
        free(server);
        return NULL;
}

uint16_t scripted_server_port(const ScriptedServer *server) {
        struct sockaddr_in address;
        socklen_t size = sizeof(address);

        ASSERT_TRUE(getsockname(server->fd, (struct sockaddr *) &address, &size) >= 0);
        return ntohs(address.sin_port);
}

unsigned scripted_server_connections(const ScriptedServer *server) {
        return server->n_connections;
}

unsigned scripted_server_requests(const ScriptedServer *server, const char *request) {
        unsigned n = 0;

        for (char **entry = server->requests; entry && *entry; entry++)
                n += strncmp(*entry, request, strlen(request)) == 0;
        return n;
}

const char *scripted_server_last(const ScriptedServer *server) {
        size_t n = strv_length(server->requests);

        return n > 0 ? server->requests[n - 1] : "";
}

void scripted_server_send(ScriptedServer *server, const char *request, const char *data) {
        for (Connection *connection = server->connections; connection; connection = connection->next)
                if (connection->fd >= 0 && strncmp(connection->request, request, strlen(request)) == 0) {
                        ASSERT_TRUE(send(connection->fd, data, strlen(data), MSG_NOSIGNAL) ==
                                    (ssize_t) strlen(data));
                        return;
                }
        TEST_FAIL("no connection for %s", request);
}
