#include <microhttpd.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/alarm.h"
#include "util/fd.h"
#include "util/log.h"
#include "web/http.h"

/* Http: the glue between libmicrohttpd and sd-event, and the only file that knows the former. The daemon has neither a listening socket
 * nor threads; its epoll descriptor hangs in our loop, and a timer runs it when it says that there is something to do although no socket is
 * ready. A stream that has nothing to say is suspended, which takes its socket out of that epoll. So streams are in one of our own, which
 * tells when a client goes; one who vanishes without a word has not confirmed what he was sent last.
 *
 * The library's own time limit counts silence, which a client that sends a byte now and then never exceeds. So each
 * connection has a deadline here: a request has to be whole, and an answer to be taken, within `patience`. While it is suspended it has
 * none. */

#define PATIENCE (10 * USEC_PER_SEC)
#define IDLE_SEC 30U /* between two requests */
/* Room for the request as the front peeks at it, and what is made of it. */
#define POOL_SIZE ((size_t) 16 * 1024)
#define STREAM_BLOCK ((size_t) 2048)
/* Of a body, of which no request of ours has a use. */
#define BODY_MAX 4096
#define TICK (250 * USEC_PER_MSEC)
/* What is not read waits here, where all share it, and not in the kernel, where each has his own. It takes twice as much. */
#define SEND_BUFFER (16 * 1024)
/* Longer than from one heartbeat to the next. */
#define UNCONFIRMED_MSEC 30000U
#define GONE_MAX 64

/* To who comes when there is no room. */
#define BUSY_SENTENCE "{\"error\":\"Too many clients are being served. Please try again in a moment.\"}\n"
static const char busy_answer[] =
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nCache-Control: no-store\r\n"
                "Content-Type: application/json\r\nConnection: close\r\n\r\n" BUSY_SENTENCE;

struct HttpExchange {
        Http *http;
        LIST_ENTRY(HttpExchange) entry;
        struct MHD_Connection *connection; /* NULL: not taken over by the library yet */
        int fd; /* the library's */
        Seat seat;
        char *service;

        char *target;
        const char *method; /* the library's */
        bool begun; /* the headers of a request are there */
        bool answered;
        bool suspended;
        bool gone; /* the client of a stream */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        uint64_t wait_until_usec; /* 0: did not wait yet */
        const HttpStreamOps *ops;
        void *stream;
};

struct Http {
        sd_event *event;
        uint64_t patience_usec;
        HttpHandler handler;
        HttpCountHandler on_count;
        void *userdata;
        struct MHD_Daemon *daemon;
        sd_event_source *io, *timer, *pump, *tick;
        int streams_fd; /* epoll: clients of streams that go */
        sd_event_source *streams;
        LIST_HEAD(, HttpExchange) requests;
        size_t n_requests;
        Seats seats;
        bool stopping;
};

static void request_end_stream(HttpExchange *request) {
        void *stream = TAKE_PTR(request->stream);

        if (!stream)
                return;
        (void) epoll_ctl(request->http->streams_fd, EPOLL_CTL_DEL, request->fd, NULL);
        request->seat.streams = request->gone = false;
        request->ops->free(stream);
}

static HttpExchange *request_free(HttpExchange *request) {
        if (!request)
                return NULL;

        request_end_stream(request);
        LIST_REMOVE(request, entry);
        request->http->n_requests--;
        TAILQ_REMOVE(&request->http->seats.list, &request->seat, entry);
        free(request->service);
        free(request->target);
        return mfree(request);
}

/* The library is run from the loop, never from inside of what it calls. */
static void http_pump(Http *http) {
        (void) sd_event_source_set_enabled(http->pump, SD_EVENT_ONESHOT);
}

static void request_resume(HttpExchange *request) {
        if (!request->suspended)
                return;
        request->suspended = false;
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), request->http->patience_usec);
        MHD_resume_connection(request->connection);
        http_pump(request->http);
}

static void request_suspend(HttpExchange *request) {
        request->suspended = true;
        request->deadline_usec = USEC_INFINITY;
        MHD_suspend_connection(request->connection);
}

_printf_(2, 0) static void on_log(void *userdata, const char *format, va_list arguments) {
        char text[512];

        (void) vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        log_debug("libmicrohttpd: %s", text);
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code) {
        const union MHD_ConnectionInfo *info;
        Http *http = userdata;

        if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
                (void) request_free(*context);
                *context = NULL;
                if (!http->stopping)
                        http->on_count(http, http->userdata);
                return;
        }

        /* The library takes over what it was given at its next run: whose it is tells the descriptor. */
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        for (HttpExchange *request = LIST_FIRST(&http->requests); info && request;
             request = LIST_NEXT(request, entry))
                if (!request->connection && request->fd == info->connect_fd) {
                        request->connection = connection;
                        *context = request;
                        return;
                }
}

static HttpExchange *request_of(struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info =
                        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* Called as soon as the request line is there, with the target as it was sent. */
static void *on_target(void *userdata, const char *target, struct MHD_Connection *connection) {
        HttpExchange *request = request_of(connection);

        if (request) {
                free(request->target);
                request->target = strdup(target);
        }
        return NULL;
}

/* Called for each request that the handler has seen. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code) {
        HttpExchange *request = request_of(connection);

        if (!request)
                return;
        request_end_stream(request);
        request->begun = request->answered = false;
        request->wait_until_usec = 0;
        /* The library ends a connection that stays silent; from its next byte on a request would have no limit. */
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC),
                                          IDLE_SEC * USEC_PER_SEC + request->http->patience_usec);
}

static void answer_error(HttpExchange *request, unsigned status, const char *sentence) {
        static const HttpHeader close_headers[] = { { "Connection", "close" },
                                                    { "Cache-Control", "no-store" },
                                                    {} };
        char body[256];

        (void) snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", sentence);
        http_answer(request, &(HttpAnswer){ .status = status,
                                            .type = "application/json",
                                            .body = body,
                                            .size = strlen(body),
                                            .headers = close_headers });
}

/* No request of ours has a use for a body: a short one is read and dropped. */
static bool request_body_is_fine(const HttpExchange *request) {
        const char *length = http_exchange_header(request, "Content-Length", NULL);
        char *end;

        if (http_exchange_header(request, "Transfer-Encoding", NULL))
                return false;
        return !length || (strtoull(length, &end, 10) <= BODY_MAX && *end == '\0');
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **context) {
        HttpExchange *request = request_of(connection);

        if (!request || !request->target)
                return MHD_NO;
        if (!request->begun) {
                request->begun = true;
                request->method = method;
                if (strlen(request->target) > HTTP_TARGET_MAX)
                        answer_error(request, MHD_HTTP_URI_TOO_LONG, "The address is too long.");
                else if (!request_body_is_fine(request))
                        answer_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "No request here takes a body.");
                return MHD_YES;
        }
        if (*size > 0) {
                *size = 0;
                return MHD_YES;
        }
        if (!request->answered)
                request->http->handler(request, request->http->userdata);
        return request->answered || request->suspended ? MHD_YES : MHD_NO;
}

static ssize_t on_read(void *userdata, uint64_t position, char *buffer, size_t size) {
        HttpExchange *request = userdata;
        ssize_t n;

        if (request->gone)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (!request->stream)
                return MHD_CONTENT_READER_END_OF_STREAM;
        n = request->ops->read(request->stream, buffer, size);
        if (n < 0)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (n == 0)
                request_suspend(request);
        return n;
}

static void http_run(Http *http) {
        MHD_UNSIGNED_LONG_LONG left_msec;

        (void) MHD_run(http->daemon);
        if (MHD_get_timeout(http->daemon, &left_msec) == MHD_YES)
                alarm_start(http->timer, left_msec * USEC_PER_MSEC);
        else
                alarm_stop(http->timer);
}

static int http_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        http_run(ASSERT_PTR(userdata));
        return 0;
}

static int http_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        http_run(ASSERT_PTR(userdata));
        return 0;
}

static int http_on_pump(sd_event_source *source, void *userdata) {
        http_run(ASSERT_PTR(userdata));
        return 0;
}

/* Who does not listen any more: there is nobody to tell the end of the stream to. */
static int http_on_gone(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct epoll_event events[GONE_MAX];
        int n;

        n = epoll_wait(fd, events, GONE_MAX, 0);
        for (int i = 0; i < n; i++) {
                HttpExchange *request = events[i].data.ptr;

                request->gone = true;
                (void) shutdown(request->fd, SHUT_RDWR);
                request_resume(request);
        }
        return 0;
}

/* Deadlines are many and coarse: all are looked at together. */
static int http_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Http *http = ASSERT_PTR(userdata);
        uint64_t now = time_now(CLOCK_MONOTONIC);

        for (HttpExchange *request = LIST_FIRST(&http->requests); request; request = LIST_NEXT(request, entry)) {
                if (!request->connection)
                        continue;
                if (request->suspended && !request->stream && now >= request->wait_until_usec)
                        request_resume(request);
                else if (now >= request->deadline_usec) {
                        log_debug("A client takes too long, disconnecting.");
                        (void) shutdown(request->fd, SHUT_RDWR);
                        request->deadline_usec = USEC_INFINITY;
                }
        }
        if (LIST_EMPTY(&http->requests))
                return 0;
        alarm_start(source, TICK);
        return 0;
}

int http_new(Http **ret, sd_event *event, uint64_t patience_usec, HttpHandler handler, HttpCountHandler on_count,
             void *userdata) {
        const unsigned flags =
                        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
        _cleanup_(http_freep) Http *http = NULL;
        const union MHD_DaemonInfo *info;
        int r;

        assert(handler);
        assert(on_count);

        http = malloc(sizeof(*http));
        if (!http)
                return -ENOMEM;
        *http = (Http){
                .event = sd_event_ref(event),
                .patience_usec = patience_usec ?: PATIENCE,
                .streams_fd = -EBADF,
                .handler = handler,
                .on_count = on_count,
                .userdata = userdata,
        };
        seats_init(&http->seats);
        http->streams_fd = epoll_create1(EPOLL_CLOEXEC);
        if (http->streams_fd < 0)
                return -errno;

        r = sd_event_add_io(event, &http->streams, http->streams_fd, EPOLLIN, http_on_gone, http);
        if (r >= 0)
                r = alarm_new(&http->timer, event, 1, http_on_timer, http);
        if (r >= 0)
                r = alarm_new(&http->tick, event, 0, http_on_tick, http);
        if (r >= 0)
                r = sd_event_add_defer(event, &http->pump, http_on_pump, http);
        if (r >= 0)
                r = sd_event_source_set_enabled(http->pump, SD_EVENT_OFF);
        if (r < 0)
                return r;

        http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                                        NULL, MHD_OPTION_CONNECTION_LIMIT, seats_max(),
                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_SIZE,
                                        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SEC, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
                                        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
                                        MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
                                        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
        info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        r = info ? sd_event_add_io(event, &http->io, info->epoll_fd, EPOLLIN, http_on_io, http) : -EIO;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(http);
        return 0;
}

Http *http_free(Http *http) {
        if (!http)
                return NULL;

        http->stopping = true;
        sd_event_source_disable_unref(http->io);
        if (http->daemon) {
                /* It must not be stopped while a connection is suspended. */
                for (HttpExchange *request = LIST_FIRST(&http->requests); request;
                     request = LIST_NEXT(request, entry)) {
                        request_end_stream(request);
                        request_resume(request);
                }
                (void) MHD_run(http->daemon);
                MHD_stop_daemon(http->daemon);
        }
        while (!LIST_EMPTY(&http->requests))
                (void) request_free(LIST_FIRST(&http->requests));
        sd_event_source_disable_unref(http->timer);
        sd_event_source_disable_unref(http->tick);
        sd_event_source_disable_unref(http->pump);
        sd_event_source_disable_unref(http->streams);
        (void) fd_close(http->streams_fd);
        sd_event_unref(http->event);
        return mfree(http);
}

bool http_has_room(Http *http, int fd, const char *service) {
        SeatPeer peer;

        return seat_peer_get(&peer, fd) >= 0 &&
               seats_find_bound(&http->seats, HTTP_PASSED, &peer, service) == SEAT_FREE;
}

size_t http_connections(const Http *http) {
        return http->n_requests;
}

/* What the client has sent already is read, or the answer might be lost with the connection. */
static void refuse(int fd) {
        char rest[4096];

        (void) send(fd, busy_answer, strlen(busy_answer), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void) shutdown(fd, SHUT_WR);
        (void) recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
}

/* The library closes descriptors that it cannot take over without a word: an entry without a connection that has the number of a new one
 * is such a one's. */
static void http_forget(Http *http, int fd) {
        for (HttpExchange *request = LIST_FIRST(&http->requests), *next; request; request = next) {
                next = LIST_NEXT(request, entry);
                if (!request->connection && request->fd == fd)
                        (void) request_free(request);
        }
}

int http_add(Http *http, int connection, HttpOrigin origin, const char *service) {
        _cleanup_close_ int fd = connection;
        struct sockaddr_storage address = { .ss_family = AF_UNIX };
        socklen_t size = sizeof(address);
        HttpExchange *request;
        SeatPeer peer;
        int r;

        assert(origin >= 0 && origin < _HTTP_ORIGIN_MAX);
        assert(!service == (origin != HTTP_PASSED));

        http_forget(http, fd);
        r = seat_peer_get(&peer, fd);
        if (r < 0)
                return r;
        if (origin != HTTP_PASSED && seats_find_bound(&http->seats, origin, &peer, NULL) != SEAT_FREE) {
                refuse(fd);
                return -ENOBUFS;
        }
        if (getpeername(fd, (struct sockaddr *) &address, &size) < 0)
                return -errno;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ SEND_BUFFER }, sizeof(int));
        if (address.ss_family != AF_UNIX)
                (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){ UNCONFIRMED_MSEC },
                                  sizeof(unsigned));
        /* A client on a Unix socket has no name. */
        size = MAX(size, (socklen_t) sizeof(sa_family_t));

        request = new0(HttpExchange, 1);
        if (!request)
                return -ENOMEM;
        *request = (HttpExchange){
                .http = http,
                .fd = fd,
                .seat = { .origin = origin, .peer = peer },
                .service = service ? strdup(service) : NULL,
                .deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), http->patience_usec),
        };
        request->seat.service = request->service;
        LIST_INSERT_HEAD(&http->requests, request, entry);
        http->n_requests++;
        TAILQ_INSERT_TAIL(&http->seats.list, &request->seat, entry);
        if (service && !request->service) {
                (void) request_free(request);
                return -ENOMEM;
        }

        if (MHD_add_connection(http->daemon, TAKE_FD(fd), (struct sockaddr *) &address, size) != MHD_YES) {
                int error = errno;

                /* If the library got as far as to tell of it, it has told of its end as well. */
                for (HttpExchange *other = LIST_FIRST(&http->requests); other; other = LIST_NEXT(other, entry))
                        if (other == request) {
                                (void) request_free(request);
                                break;
                        }
                return error > 0 ? -error : -EIO;
        }
        http_pump(http);
        alarm_start(http->tick, TICK);
        http->on_count(http, http->userdata);
        return 0;
}

HttpOrigin http_exchange_origin(const HttpExchange *request) {
        return request->seat.origin;
}

const char *http_exchange_service(const HttpExchange *request) {
        return request->service;
}

const char *http_exchange_method(const HttpExchange *request) {
        return request->method;
}

const char *http_exchange_target(const HttpExchange *request) {
        return request->target;
}

typedef struct HeaderCount {
        const char *name;
        unsigned n;
} HeaderCount;

static enum MHD_Result count_header(void *userdata, enum MHD_ValueKind kind, const char *key, const char *value) {
        HeaderCount *count = userdata;

        count->n += strcasecmp(key, count->name) == 0;
        return MHD_YES;
}

const char *http_exchange_header(const HttpExchange *request, const char *name, unsigned *ret_count) {
        HeaderCount count = { .name = name };

        if (ret_count) {
                (void) MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_header, &count);
                *ret_count = count.n;
        }
        return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* Takes the response; true if it is on its way. */
static bool request_queue(HttpExchange *request, const HttpAnswer *answer, struct MHD_Response *response) {
        bool failed = !response;

        if (answer->type && response)
                failed = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) != MHD_YES;
        for (const HttpHeader *header = answer->headers; header && header->name && !failed; header++)
                failed = MHD_add_response_header(response, header->name, header->value) != MHD_YES;
        if (!failed)
                failed = MHD_queue_response(request->connection, answer->status, response) != MHD_YES;
        if (response)
                MHD_destroy_response(response);
        request->answered = !failed;
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), request->http->patience_usec);
        return !failed;
}

/* What an answer keeps until it has been taken. */
typedef struct Kept {
        Bytes *bytes[HTTP_KEPT_MAX];
} Kept;

static void kept_free(void *userdata) {
        Kept *kept = userdata;

        for (size_t i = 0; i < HTTP_KEPT_MAX; i++)
                bytes_unref(kept->bytes[i]);
        free(kept);
}

static struct MHD_Response *response_from_parts(const struct iovec *parts, size_t n_parts, Bytes *const *bytes,
                                                size_t n_bytes) {
        struct MHD_Response *response;
        Kept *kept;

        static_assert(sizeof(struct iovec) == sizeof(struct MHD_IoVec), "the library's is the system's");
        assert(n_bytes <= HTTP_KEPT_MAX);

        kept = new0(Kept, 1);
        if (!kept)
                return NULL;
        for (size_t i = 0; i < n_bytes; i++)
                kept->bytes[i] = bytes_ref(bytes[i]);
        response = MHD_create_response_from_iovec((const struct MHD_IoVec *) parts, (unsigned) n_parts, kept_free,
                                                  kept);
        if (!response)
                kept_free(kept);
        return response;
}

static struct MHD_Response *response_from_copy(const char *body, size_t size, size_t *sum) {
        _cleanup_(bytes_unrefp) Bytes *bytes = NULL;
        char *copy = malloc(size);

        if (!copy)
                return NULL;
        memcpy(copy, body, size);
        if (bytes_new(&bytes, copy, size) < 0) {
                free(copy);
                return NULL;
        }
        bytes_count(bytes, sum);
        return response_from_parts(&(struct iovec){ copy, size }, 1, &bytes, 1);
}

/* Counts what this answer is the first to keep. */
static bool request_may_keep(HttpExchange *request, const HttpAnswer *answer) {
        Seats *seats = &request->http->seats;
        HttpOrigin origin = request->seat.origin;
        size_t size = answer->parts || answer->constant ? 0 : answer->size;

        for (size_t i = 0; i < answer->n_kept; i++)
                if (!answer->kept[i]->counter)
                        size += answer->kept[i]->size;
        if (size > 0 && seats_find_body_bound(seats, origin, size) != SEAT_FREE)
                return false;
        for (size_t i = 0; i < answer->n_kept; i++)
                bytes_count(answer->kept[i], &seats->bodies[origin]);
        return true;
}

void http_answer(HttpExchange *request, const HttpAnswer *answer) {
        struct MHD_Response *response;

        assert(!request->answered);

        if (!request_may_keep(request, answer)) {
                http_answer_busy(request);
                return;
        }
        if (answer->parts)
                response = response_from_parts(answer->parts, answer->n_parts, answer->kept, answer->n_kept);
        else if (answer->size > 0 && !answer->constant)
                response = response_from_copy(answer->body, answer->size,
                                              &request->http->seats.bodies[request->seat.origin]);
        else
                response = MHD_create_response_from_buffer(answer->size, (void *) strempty(answer->body),
                                                           MHD_RESPMEM_PERSISTENT);
        (void) request_queue(request, answer, response);
}

void http_answer_busy(HttpExchange *request) {
        static const HttpHeader headers[] = {
                { "Retry-After", "5" }, { "Cache-Control", "no-store" }, { "Connection", "close" }, {}
        };

        http_answer(request, &(HttpAnswer){ .status = MHD_HTTP_SERVICE_UNAVAILABLE,
                                            .type = "application/json",
                                            .body = BUSY_SENTENCE,
                                            .size = strlen(BUSY_SENTENCE),
                                            .constant = true,
                                            .headers = headers });
}

bool http_may_stream(HttpExchange *request) {
        return seats_find_stream_bound(&request->http->seats, &request->seat) == SEAT_FREE;
}

void http_stream(HttpExchange *request, const HttpAnswer *head, const HttpStreamOps *ops, void *stream) {
        assert(!request->answered);
        assert(stream);

        request->ops = ops;
        request->stream = stream;
        request->seat.streams = true;
        (void) epoll_ctl(request->http->streams_fd, EPOLL_CTL_ADD, request->fd,
                         &(struct epoll_event){ .events = EPOLLRDHUP | EPOLLET, .data.ptr = request });
        if (!request_queue(request, head,
                           MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read, request,
                                                             NULL)))
                request_end_stream(request);
}

void http_stream_wake(HttpExchange *request) {
        if (request->stream)
                request_resume(request);
}

bool http_wait(HttpExchange *request, uint64_t span_usec) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        if (request->wait_until_usec == 0)
                request->wait_until_usec = usec_add(now, span_usec);
        if (now >= request->wait_until_usec)
                return false;
        request_suspend(request);
        return true;
}

void http_resume(Http *http, const char *service) {
        for (HttpExchange *request = LIST_FIRST(&http->requests); request; request = LIST_NEXT(request, entry))
                if (request->suspended && !request->stream && request->service && streq(request->service, service))
                        request_resume(request);
}
