#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "control/peer.h"
#include "util/alarm.h"
#include "util/fd.h"
#include "util/log.h"
#include "web/api.h"
#include "web/page-socket.h"
#include "web/routes.h"
#include "web/server.h"
#include "web/visitor.h"

/* Server: connections come in three ways, and each remembers by which, as what may be asked for depends on that. When none is left,
 * and nothing that was asked for is under way, the loop is left after a while; systemd holds the sockets and starts the next one. */

#define SOCKETS_MAX 16U
#define ACCEPTS_PER_TURN 32U
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC)

typedef struct Listener {
        Server *server;
        HttpOrigin origin; /* PASSED: fronts connect, and pass clients */
        sd_event_source *source, *again;
} Listener;

struct Server {
        sd_event *event;
        char *root;
        uint64_t exit_idle_usec;
        Site site;
        PageSocket *pages;
        Listener listeners[SOCKETS_MAX];
        size_t n_listeners;
        sd_event_source *idle;
};

static bool server_is_used(const Server *server) {
        return page_socket_senders(server->pages) > 0 || http_connections(server->site.http) > 0 ||
               orders_are_used(server->site.orders);
}

/* From the last use on. */
static void server_arm_idle(Server *server) {
        alarm_start(server->idle, server->exit_idle_usec);
}

static int server_on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (server_is_used(server))
                server_arm_idle(server);
        else
                (void) sd_event_exit(server->event, 0);
        return 0;
}

static void server_on_count(Http *http, void *userdata) {
        server_arm_idle(ASSERT_PTR(userdata));
}

static void server_on_request(HttpExchange *request, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (http_exchange_origin(request) == HTTP_PASSED)
                visitor_answer(&server->site, request);
        else
                routes_answer(&server->site, request);
}

static void server_on_change(Board *board, const char *service, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (service) {
                BoardEntry *entry = board_find_told(board, service);

                if (entry && board_entry_status(entry)->state == SERVICE_AWAKE)
                        orders_forget(server->site.orders, service);
                http_resume(server->site.http, service);
        }
        events_publish(server->site.events, service);
}

static void server_on_orders_end(Orders *orders, void *userdata) {
        server_arm_idle(ASSERT_PTR(userdata));
}

static bool server_has_room(const char *service, int fd, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        return board_find(server->site.board, service) && http_has_room(server->site.http, fd, service);
}

static void server_on_passed(const char *service, uint64_t pause_usec, int fd, void *userdata) {
        Server *server = ASSERT_PTR(userdata);
        BoardEntry *entry = board_find(server->site.board, service);
        int r;

        if (entry)
                board_entry_set_pause(entry, usec_add(time_now(CLOCK_MONOTONIC), pause_usec));

        r = http_add(server->site.http, fd, HTTP_PASSED, service);
        if (r < 0)
                log_debug_errno(r, "Failed to take a client of %s: %m", service);
}

static int listener_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) sd_event_source_set_enabled(((Listener *) userdata)->source, SD_EVENT_ON);
        return 0;
}

/* Who opens our socket in the file system may put stacks to sleep: not a front, which is let to the place where the socket is. */
static bool listener_admits(const Listener *listener, int connection) {
        _cleanup_(peer_identity_done) PeerIdentity identity = {};

        if (listener->origin != HTTP_UNIX)
                return true;
        peer_identify(&identity, connection);
        return !identity.front;
}

static int listener_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Listener *listener = ASSERT_PTR(userdata);
        Server *server = listener->server;

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int connection, r;

                connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (connection < 0) {
                        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
                                return 0;
                        /* Out of descriptors or memory: it stays in the backlog, and would wake the loop for ever. */
                        log_debug_errno(-errno, "Failed to accept a connection, pausing: %m");
                        (void) sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
                        alarm_start(listener->again, ACCEPT_PAUSE);
                        return 0;
                }
                if (!listener_admits(listener, connection)) {
                        log_debug("Disconnecting a front from where it has nothing to do.");
                        (void) fd_close(connection);
                        continue;
                }
                r = listener->origin == HTTP_PASSED
                                    ? page_socket_add(server->pages, connection)
                                    : http_add(server->site.http, connection, listener->origin, NULL);
                if (r < 0)
                        log_debug_errno(r, "Failed to take a connection: %m");
        }
        return 0;
}

int server_add_socket(Server *server, int fd) {
        Listener *listener = &server->listeners[server->n_listeners];
        int r;

        if (server->n_listeners >= SOCKETS_MAX)
                return -E2BIG;
        *listener = (Listener){ .server = server, .origin = HTTP_TCP };

        if (sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 1) > 0)
                listener->origin = HTTP_PASSED;
        else if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0)
                listener->origin = HTTP_UNIX;
        else if (sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) <= 0 && sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) <= 0)
                return -EPROTONOSUPPORT;

        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                return -errno;
        r = alarm_new(&listener->again, server->event, 0, listener_on_again, listener);
        if (r >= 0)
                r = sd_event_add_io(server->event, &listener->source, fd, EPOLLIN, listener_on_connection,
                                    listener);
        if (r < 0) {
                listener->again = sd_event_source_disable_unref(listener->again);
                return r;
        }
        server->n_listeners++;
        return 0;
}

int server_new(Server **ret, sd_event *event, const ServerOptions *options) {
        _cleanup_(server_freep) Server *server = NULL;
        Site *site;
        int r;

        server = new0(Server, 1);
        if (!server)
                return -ENOMEM;
        *server = (Server){
                .event = sd_event_ref(event),
                .root = strdup(strempty(options->root)),
                .exit_idle_usec = options->exit_idle_usec,
        };
        if (!server->root)
                return -ENOMEM;
        site = &server->site;
        site->root = server->root;

        r = alarm_new(&server->idle, event, 0, server_on_idle, server);
        if (r >= 0)
                r = orders_new(&site->orders, event, server->root, server_on_orders_end, server);
        if (r >= 0)
                r = http_new(&site->http, event, options->patience_usec, server_on_request, server_on_count,
                             server);
        if (r >= 0)
                r = page_socket_new(&server->pages, event, server_has_room, server_on_passed, server);
        if (r >= 0)
                r = board_new(&site->board, event, server->root, server_on_change, server);
        if (r >= 0)
                r = events_new(&site->events, event, site->board, options->heartbeat_usec);
        if (r < 0)
                return r;
        server_arm_idle(server);
        *ret = TAKE_PTR(server);
        return 0;
}

Server *server_free(Server *server) {
        if (!server)
                return NULL;

        for (size_t i = 0; i < server->n_listeners; i++) {
                sd_event_source_disable_unref(server->listeners[i].source);
                sd_event_source_disable_unref(server->listeners[i].again);
        }
        page_socket_free(server->pages);
        sd_event_source_disable_unref(server->idle);
        api_forget(&server->site);
        /* Its streams look at the events, and these at the board. */
        http_free(server->site.http);
        events_free(server->site.events);
        board_free(server->site.board);
        orders_free(server->site.orders);
        sd_event_unref(server->event);
        free(server->root);
        return mfree(server);
}
