#include <microhttpd.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "web/http.h"

/* Http: the glue between libmicrohttpd and sd-event, and the only file that knows the former. The daemon has neither a listening socket
 * nor threads; its epoll descriptor hangs in our loop, and a timer runs it when it says that there is something to do although no socket is
 * ready. A stream that has nothing to say is suspended, which takes its socket out of that epoll: so a client that goes is noticed at the
 * next write only, which streams make every few seconds.
 *
 * The library's own time limit counts silence, which a client that sends a byte now and then never exceeds. So each
 * connection has a deadline here: a request has to be whole, and an answer to be taken, within `patience`. While it is suspended it has
 * none. */

#define PATIENCE (10 * USEC_PER_SEC)
#define IDLE_SEC 30U /* between two requests */
#define LOCAL_MAX 512U
#define PASSED_MAX 4096U
/* Room for the request as the front peeks at it, and what is made of it. */
#define POOL_SIZE ((size_t) 16 * 1024)
#define STREAM_BLOCK ((size_t) 2048)
/* Of a body, of which no request of ours has a use. */
#define BODY_MAX 4096
#define TICK (250 * USEC_PER_MSEC)

struct HttpRequest {
        Http *http;
        HttpRequest *next, **previous; /* intrusive list: the pointer that points here */
        struct MHD_Connection *connection; /* NULL: not taken over by the library yet */
        int fd; /* the library's */
        HttpOrigin origin;
        char *service;

        char *target;
        const char *method; /* the library's */
        bool begun; /* the headers of a request are there */
        bool answered;
        bool suspended;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        uint64_t wait_until_usec; /* 0: did not wait yet */
        const HttpStreamOps *ops;
        void *stream;
};

struct Http {
        sd_event *event;
        HttpOptions options;
        HttpHandler handler;
        HttpCountHandler on_count;
        void *userdata;
        struct MHD_Daemon *daemon;
        sd_event_source *io, *timer, *pump, *tick;
        HttpRequest *requests;
        size_t n_local, n_passed;
        bool stopping;
};

static size_t *request_counter(const HttpRequest *request) {
        return request->origin == HTTP_PASSED ? &request->http->n_passed : &request->http->n_local;
}

static void request_end_stream(HttpRequest *request) {
        void *stream = TAKE_PTR(request->stream);

        if (stream)
                request->ops->free(stream);
}

static HttpRequest *request_free(HttpRequest *request) {
        if (!request)
                return NULL;

        request_end_stream(request);
        *request->previous = request->next;
        if (request->next)
                request->next->previous = request->previous;
        --*request_counter(request);
        free(request->service);
        free(request->target);
        return mfree(request);
}

/* The library is run from the loop, never from inside of what it calls. */
static void http_pump(Http *http) {
        (void) sd_event_source_set_enabled(http->pump, SD_EVENT_ONESHOT);
}

static void request_resume(HttpRequest *request) {
        if (!request->suspended)
                return;
        request->suspended = false;
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), request->http->options.patience_usec);
        MHD_resume_connection(request->connection);
        http_pump(request->http);
}

static void request_suspend(HttpRequest *request) {
        request->suspended = true;
        request->deadline_usec = USEC_INFINITY;
        MHD_suspend_connection(request->connection);
}

/* What the library calls */

static void on_log(void *userdata, const char *format, va_list arguments) _printf_(2, 0);
static void on_log(void *userdata, const char *format, va_list arguments) {
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
        for (HttpRequest *request = http->requests; info && request; request = request->next)
                if (!request->connection && request->fd == info->connect_fd) {
                        request->connection = connection;
                        *context = request;
                        return;
                }
}

static HttpRequest *request_of(struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info =
                        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* Called as soon as the request line is there, with the target as it was sent. */
static void *on_target(void *userdata, const char *target, struct MHD_Connection *connection) {
        HttpRequest *request = request_of(connection);

        if (request) {
                free(request->target);
                request->target = strdup(target);
        }
        return NULL;
}

/* Called for each request that the handler has seen. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code) {
        HttpRequest *request = request_of(connection);

        if (!request)
                return;
        request_end_stream(request);
        request->begun = request->answered = false;
        request->wait_until_usec = 0;
        /* The library ends a connection that stays silent; from its next byte on a request would have no limit. */
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC),
                                          IDLE_SEC * USEC_PER_SEC + request->http->options.patience_usec);
}

static void answer_error(HttpRequest *request, unsigned status, const char *sentence) {
        static const char *const close_headers[] = { "Connection", "close", "Cache-Control", "no-store", NULL };
        char body[256];

        (void) snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", sentence);
        http_answer(request, &(HttpAnswer){ .status = status,
                                            .type = "application/json",
                                            .body = body,
                                            .size = strlen(body),
                                            .headers = close_headers });
}

/* No request of ours has a use for a body: a short one is read and dropped. */
static bool request_body_is_fine(const HttpRequest *request) {
        const char *length = http_request_header(request, "Content-Length", NULL);
        char *end;

        if (http_request_header(request, "Transfer-Encoding", NULL))
                return false;
        return !length || (strtoull(length, &end, 10) <= BODY_MAX && *end == '\0');
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **context) {
        HttpRequest *request = request_of(connection);

        if (!request)
                return MHD_NO;
        if (!request->begun) {
                request->begun = true;
                request->method = method;
                if (!request->target)
                        answer_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, "Out of memory.");
                else if (strlen(request->target) > HTTP_TARGET_MAX)
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
        HttpRequest *request = userdata;
        ssize_t n;

        if (!request->stream)
                return MHD_CONTENT_READER_END_OF_STREAM;
        n = request->ops->read(request->stream, buffer, size);
        if (n < 0)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (n == 0)
                request_suspend(request);
        return n;
}

/* The loop */

static int http_run(Http *http) {
        MHD_UNSIGNED_LONG_LONG left_msec;

        (void) MHD_run(http->daemon);
        if (MHD_get_timeout(http->daemon, &left_msec) != MHD_YES)
                return sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
        (void) sd_event_source_set_time_relative(http->timer, left_msec * USEC_PER_MSEC);
        return sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
}

static int http_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) http_run(ASSERT_PTR(userdata));
        return 0;
}

static int http_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) http_run(ASSERT_PTR(userdata));
        return 0;
}

static int http_on_pump(sd_event_source *source, void *userdata) {
        (void) http_run(ASSERT_PTR(userdata));
        return 0;
}

/* Deadlines are many and coarse: all are looked at together. */
static int http_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Http *http = ASSERT_PTR(userdata);
        uint64_t now = time_now(CLOCK_MONOTONIC);

        for (HttpRequest *request = http->requests; request; request = request->next) {
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
        if (!http->requests)
                return 0;
        (void) sd_event_source_set_time_relative(source, TICK);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static int http_start(Http *http) {
        const union MHD_DaemonInfo *info;
        unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

        http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                                        NULL, MHD_OPTION_CONNECTION_LIMIT,
                                        (unsigned) (http->options.local_max + http->options.passed_max),
                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_SIZE,
                                        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SEC, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
                                        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
                                        MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
                                        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
        info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        if (!info)
                return -EIO;
        return sd_event_add_io(http->event, &http->io, info->epoll_fd, EPOLLIN, http_on_io, http);
}

int http_new(Http **ret, sd_event *event, const HttpOptions *options, HttpHandler handler,
             HttpCountHandler on_count, void *userdata) {
        _cleanup_(http_freep) Http *http = NULL;
        int r;

        assert(ret);
        assert(options);
        assert(handler);
        assert(on_count);

        http = malloc(sizeof(*http));
        if (!http)
                return -ENOMEM;
        *http = (Http){
                .event = sd_event_ref(event),
                .options = *options,
                .handler = handler,
                .on_count = on_count,
                .userdata = userdata,
        };
        http->options.local_max = options->local_max ?: LOCAL_MAX;
        http->options.passed_max = options->passed_max ?: PASSED_MAX;
        http->options.patience_usec = options->patience_usec ?: PATIENCE;

        r = sd_event_add_time(event, &http->timer, CLOCK_MONOTONIC, 0, 1, http_on_timer, http);
        if (r >= 0)
                r = sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(event, &http->tick, CLOCK_MONOTONIC, 0, 0, http_on_tick, http);
        if (r >= 0)
                r = sd_event_source_set_enabled(http->tick, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &http->pump, http_on_pump, http);
        if (r >= 0)
                r = sd_event_source_set_enabled(http->pump, SD_EVENT_OFF);
        if (r >= 0)
                r = http_start(http);
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
                for (HttpRequest *request = http->requests; request; request = request->next) {
                        request_end_stream(request);
                        request_resume(request);
                }
                (void) MHD_run(http->daemon);
                MHD_stop_daemon(http->daemon);
        }
        while (http->requests)
                (void) request_free(http->requests);
        sd_event_source_disable_unref(http->timer);
        sd_event_source_disable_unref(http->tick);
        sd_event_source_disable_unref(http->pump);
        sd_event_unref(http->event);
        return mfree(http);
}

bool http_has_room(const Http *http, HttpOrigin origin) {
        return origin == HTTP_PASSED ? http->n_passed < http->options.passed_max
                                     : http->n_local < http->options.local_max;
}

size_t http_connections(const Http *http) {
        return http->n_local + http->n_passed;
}

/* The library closes descriptors that it cannot take over without a word: an entry without a connection that has the number of a new one
 * is such a one's. */
static void http_forget(Http *http, int fd) {
        for (HttpRequest *request = http->requests, *next; request; request = next) {
                next = request->next;
                if (!request->connection && request->fd == fd)
                        (void) request_free(request);
        }
}

int http_add(Http *http, int connection, HttpOrigin origin, const char *service) {
        _cleanup_close_ int fd = connection;
        struct sockaddr_storage address = { .ss_family = AF_UNIX };
        socklen_t size = sizeof(address);
        HttpRequest *request;

        assert(origin >= 0 && origin < _HTTP_ORIGIN_MAX);
        assert(!service == (origin != HTTP_PASSED));

        if (!http_has_room(http, origin))
                return -ENOBUFS;
        http_forget(http, fd);
        if (getpeername(fd, (struct sockaddr *) &address, &size) < 0)
                return -errno;
        /* A client on a Unix socket has no name. */
        size = MAX(size, (socklen_t) sizeof(sa_family_t));

        request = new0(HttpRequest, 1);
        if (!request)
                return -ENOMEM;
        *request = (HttpRequest){
                .http = http,
                .next = http->requests,
                .previous = &http->requests,
                .fd = fd,
                .origin = origin,
                .service = service ? strdup(service) : NULL,
                .deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), http->options.patience_usec),
        };
        if (request->next)
                request->next->previous = &request->next;
        http->requests = request;
        ++*request_counter(request);
        if (service && !request->service) {
                (void) request_free(request);
                return -ENOMEM;
        }

        if (MHD_add_connection(http->daemon, TAKE_FD(fd), (struct sockaddr *) &address, size) != MHD_YES) {
                int error = errno;

                /* If the library got as far as to tell of it, it has told of its end as well. */
                for (HttpRequest *other = http->requests; other; other = other->next)
                        if (other == request) {
                                (void) request_free(request);
                                break;
                        }
                return error > 0 ? -error : -EIO;
        }
        http_pump(http);
        (void) sd_event_source_set_time_relative(http->tick, TICK);
        (void) sd_event_source_set_enabled(http->tick, SD_EVENT_ONESHOT);
        http->on_count(http, http->userdata);
        return 0;
}

HttpOrigin http_request_origin(const HttpRequest *request) {
        return request->origin;
}

const char *http_request_service(const HttpRequest *request) {
        return request->service;
}

const char *http_request_method(const HttpRequest *request) {
        return request->method;
}

const char *http_request_target(const HttpRequest *request) {
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

const char *http_request_header(const HttpRequest *request, const char *name, unsigned *ret_count) {
        HeaderCount count = { .name = name };

        if (ret_count) {
                (void) MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_header, &count);
                *ret_count = count.n;
        }
        return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* Takes the response; true if it is on its way. */
static bool request_queue(HttpRequest *request, const HttpAnswer *answer, struct MHD_Response *response) {
        bool failed = !response;

        if (answer->type && response)
                failed = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) != MHD_YES;
        for (const char *const *header = answer->headers; header && *header && !failed; header += 2)
                failed = MHD_add_response_header(response, header[0], header[1]) != MHD_YES;
        if (!failed)
                failed = MHD_queue_response(request->connection, answer->status, response) != MHD_YES;
        if (response)
                MHD_destroy_response(response);
        request->answered = !failed;
        request->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), request->http->options.patience_usec);
        return !failed;
}

void http_answer(HttpRequest *request, const HttpAnswer *answer) {
        assert(!request->answered);

        (void) request_queue(request, answer,
                             MHD_create_response_from_buffer(answer->size, (void *) strempty(answer->body),
                                                             answer->constant ? MHD_RESPMEM_PERSISTENT
                                                                              : MHD_RESPMEM_MUST_COPY));
}

void http_stream(HttpRequest *request, const HttpAnswer *head, const HttpStreamOps *ops, void *stream) {
        assert(!request->answered);
        assert(stream);

        request->ops = ops;
        request->stream = stream;
        if (!request_queue(request, head,
                           MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read, request,
                                                             NULL)))
                request_end_stream(request);
}

void http_stream_wake(HttpRequest *request) {
        if (request->stream)
                request_resume(request);
}

bool http_wait(HttpRequest *request, uint64_t span_usec) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        if (request->wait_until_usec == 0)
                request->wait_until_usec = usec_add(now, span_usec);
        if (now >= request->wait_until_usec)
                return false;
        request_suspend(request);
        return true;
}

void http_resume(Http *http, const char *service) {
        for (HttpRequest *request = http->requests; request; request = request->next)
                if (request->suspended && !request->stream && request->service && streq(request->service, service))
                        request_resume(request);
}
