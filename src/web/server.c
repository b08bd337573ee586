#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "web/page-socket.h"
#include "web/server.h"
#include "web/visitor.h"

/* Server: connections come in three ways, and each remembers by which, as what may be asked for depends on that. When none is left,
 * and nothing that was asked for is under way, the loop is left after a while; systemd holds the sockets and starts the next one. */

#define SOCKETS_MAX 16U
#define ACCEPTS_PER_TURN 32U
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC)

typedef struct Listener {
        Server *server;
        int fd; /* borrowed */
        HttpOrigin origin;
        sd_event_source *source, *again;
        PageSocket *pages; /* instead of both, for fronts */
} Listener;

struct Server {
        sd_event *event;
        char *root;
        uint64_t exit_idle_usec;
        Site site;
        Listener listeners[SOCKETS_MAX];
        size_t n_listeners;
        sd_event_source *idle;
};

static bool server_is_used(const Server *server) {
        for (size_t i = 0; i < server->n_listeners; i++)
                if (server->listeners[i].pages && page_socket_peers(server->listeners[i].pages) > 0)
                        return true;
        return http_connections(server->site.http) > 0 || wakes_length(server->site.wakes) > 0 ||
               sleeps_length(server->site.sleeps) > 0;
}

/* From the last use on. */
static void server_arm_idle(Server *server) {
        if (server->exit_idle_usec == USEC_INFINITY)
                return;
        (void) sd_event_source_set_time_relative(server->idle, server->exit_idle_usec);
        (void) sd_event_source_set_enabled(server->idle, SD_EVENT_ONESHOT);
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

static void server_on_request(HttpRequest *request, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (http_request_origin(request) == HTTP_PASSED)
                visitor_answer(&server->site, request);
        else
                routes_answer(&server->site, request);
}

static void server_on_change(Store *store, const char *service, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        if (service)
                http_resume(server->site.http, service);
        events_publish(server->site.events, service);
}

static void server_on_wakes_end(Wakes *wakes, void *userdata) {
        server_arm_idle(ASSERT_PTR(userdata));
}

static void server_on_sleeps_end(Sleeps *sleeps, void *userdata) {
        server_arm_idle(ASSERT_PTR(userdata));
}

static bool server_has_room(const char *service, void *userdata) {
        Server *server = ASSERT_PTR(userdata);

        return store_find(server->site.store, service) && http_has_room(server->site.http, HTTP_PASSED);
}

static void server_on_passed(const char *service, int fd, void *userdata) {
        Server *server = ASSERT_PTR(userdata);
        int r;

        r = http_add(server->site.http, fd, HTTP_PASSED, service);
        if (r < 0)
                log_debug_errno(r, "Failed to take a client of %s: %m", service);
}

static int listener_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Listener *listener = ASSERT_PTR(userdata);

        (void) sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
        return 0;
}

static void listener_pause(Listener *listener) {
        (void) sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
        (void) sd_event_source_set_time_relative(listener->again, ACCEPT_PAUSE);
        (void) sd_event_source_set_enabled(listener->again, SD_EVENT_ONESHOT);
}

static int listener_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Listener *listener = ASSERT_PTR(userdata);
        Http *http = listener->server->site.http;

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int connection, r;

                /* Who comes when there are too many waits in the backlog. */
                if (!http_has_room(http, listener->origin)) {
                        listener_pause(listener);
                        return 0;
                }
                connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (connection < 0) {
                        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                                log_debug_errno(-errno, "Failed to accept a connection, pausing: %m");
                                listener_pause(listener);
                        }
                        return 0;
                }
                r = http_add(http, connection, listener->origin, NULL);
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
        *listener = (Listener){ .server = server, .fd = fd, .origin = HTTP_TCP };

        if (sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 1) > 0) {
                r = page_socket_new(&listener->pages, server->event, fd, server_has_room, server_on_passed,
                                    server);
                if (r >= 0)
                        server->n_listeners++;
                return r;
        }
        if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0)
                listener->origin = HTTP_UNIX;
        else if (sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) <= 0 && sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) <= 0)
                return -EPROTONOSUPPORT;

        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                return -errno;
        r = sd_event_add_time(server->event, &listener->again, CLOCK_MONOTONIC, 0, 0, listener_on_again, listener);
        if (r >= 0)
                r = sd_event_source_set_enabled(listener->again, SD_EVENT_OFF);
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

        assert(ret);
        assert(options);

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

        r = sd_event_add_time(event, &server->idle, CLOCK_MONOTONIC, 0, 0, server_on_idle, server);
        if (r >= 0)
                r = sd_event_source_set_enabled(server->idle, SD_EVENT_OFF);
        if (r >= 0)
                r = wakes_new(&site->wakes, event, server->root, server_on_wakes_end, server);
        if (r >= 0)
                r = sleeps_new(&site->sleeps, event, server->root, server_on_sleeps_end, server);
        if (r >= 0)
                r = http_new(&site->http, event, &(HttpOptions){ .patience_usec = options->patience_usec },
                             server_on_request, server_on_count, server);
        if (r >= 0)
                r = store_new(&site->store, event, server->root, server_on_change, server);
        if (r >= 0)
                r = events_new(&site->events, event, site->store, options->heartbeat_usec);
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
                page_socket_free(server->listeners[i].pages);
        }
        sd_event_source_disable_unref(server->idle);
        /* Its streams look at the events, and these at the store. */
        http_free(server->site.http);
        events_free(server->site.events);
        store_free(server->site.store);
        wakes_free(server->site.wakes);
        sleeps_free(server->site.sleeps);
        sd_event_unref(server->event);
        free(server->root);
        return mfree(server);
}
