#pragma once

/* Http: an HTTP/1 server that accepts nothing by itself: it is given sockets. libmicrohttpd, driven by sd-event. Whatever a client does, it
 * costs a bounded amount of memory for a bounded time. */

#include <systemd/sd-event.h>
#include "util/macro.h"

#define HTTP_TARGET_MAX ((size_t) 2048)

typedef struct Http Http;
/* A connection and the request that is on it. */
typedef struct HttpRequest HttpRequest;

typedef enum HttpOrigin {
        HTTP_TCP, /* our own port */
        HTTP_UNIX, /* our own socket in the file system */
        HTTP_PASSED, /* a client of a service, given to us by its front */
        _HTTP_ORIGIN_MAX,
        _HTTP_ORIGIN_INVALID = -EINVAL,
} HttpOrigin;

typedef struct HttpOptions {
        size_t local_max, passed_max; /* connections; each 0 for the default */
        uint64_t patience_usec; /* for a request to be whole, and for an answer to be taken; 0 for the default */
} HttpOptions;

typedef struct HttpAnswer {
        unsigned status;
        const char *type; /* of the body */
        const char *body; /* copied; may be NULL */
        size_t size;
        bool constant; /* the body is never freed: not copied */
        const char *const *headers; /* name, value, …, NULL; copied; may be NULL */
} HttpAnswer;

/* Body of a stream. `read` returns how many bytes it wrote, at most `size`; 0: nothing now, it is called again after
 * http_stream_wake(); -1: the end. `free` is called once, when the connection or the stream ends. */
typedef struct HttpStreamOps {
        ssize_t (*read)(void *stream, char *buffer, size_t size);
        void (*free)(void *stream);
} HttpStreamOps;

/* A whole request has come. It is to be answered, streamed to, or to wait, before this returns. */
typedef void (*HttpHandler)(HttpRequest *request, void *userdata);
/* The number of connections has changed. */
typedef void (*HttpCountHandler)(Http *http, void *userdata);

int http_new(Http **ret, sd_event *event, const HttpOptions *options, HttpHandler handler,
             HttpCountHandler on_count, void *userdata);
Http *http_free(Http *http);
DEFINE_CLEANUP(Http *, http_free);

/* Takes the fd in any case. `service` is copied: whose client it is, for HTTP_PASSED, else NULL. -ENOBUFS: too many
 * connections already. */
int http_add(Http *http, int fd, HttpOrigin origin, const char *service);
/* Would http_add() take one more? */
bool http_has_room(const Http *http, HttpOrigin origin);
size_t http_connections(const Http *http);

HttpOrigin http_request_origin(const HttpRequest *request);
/* NULL unless the connection was passed. */
const char *http_request_service(const HttpRequest *request);
const char *http_request_method(const HttpRequest *request);
/* As sent, not decoded. */
const char *http_request_target(const HttpRequest *request);
/* The value of a header; NULL if there is none. With `ret_count`, how many there are of that name: the value is that of the first. */
const char *http_request_header(const HttpRequest *request, const char *name, unsigned *ret_count);

void http_answer(HttpRequest *request, const HttpAnswer *answer);
/* Takes the stream in any case. A body whose end is told by its last chunk, or the end of the connection. */
void http_stream(HttpRequest *request, const HttpAnswer *head, const HttpStreamOps *ops, void *stream);
/* There is something to be read now. */
void http_stream_wake(HttpRequest *request);
/* Has the handler called again: after this span, counted from the first call for this request, or earlier by http_resume(). False, and no
 * waiting: the span is over. */
bool http_wait(HttpRequest *request, uint64_t span_usec);
/* All of that service's clients that wait. */
void http_resume(Http *http, const char *service);
