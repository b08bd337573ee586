#pragma once

/* Http: an HTTP/1 server that accepts nothing by itself: it is given sockets. libmicrohttpd, driven by sd-event. Whatever a client does, it
 * costs a bounded amount of memory for a bounded time. */

#include <sys/uio.h>
#include <systemd/sd-event.h>
#include "util/bytes.h"
#include "web/seats.h"

#define HTTP_TARGET_MAX ((size_t) 2048)
#define HTTP_KEPT_MAX 4U

typedef struct Http Http;
/* A connection and the request that is on it. */
typedef struct HttpExchange HttpExchange;

typedef struct HttpHeader {
        const char *name, *value;
} HttpHeader;

typedef struct HttpAnswer {
        unsigned status;
        const char *type; /* of the body */
        const char *body; /* copied; may be NULL */
        size_t size;
        bool constant; /* the body is never freed: not copied */
        const struct iovec *parts; /* instead of a body: not copied, each constant or part of what is kept */
        size_t n_parts;
        Bytes *const *kept; /* until the answer has been taken; at most HTTP_KEPT_MAX */
        size_t n_kept;
        const HttpHeader *headers; /* up to a row without a name; copied; may be NULL */
} HttpAnswer;

/* Body of a stream. `read` returns how many bytes it wrote, at most `size`; 0: nothing now, it is called again after
 * http_stream_wake(); -1: the end. `free` is called once, when the connection or the stream ends. */
typedef struct HttpStreamOps {
        ssize_t (*read)(void *stream, char *buffer, size_t size);
        void (*free)(void *stream);
} HttpStreamOps;

/* A whole request has come. It is to be answered, streamed to, or to wait, before this returns. */
typedef void (*HttpHandler)(HttpExchange *request, void *userdata);
/* The number of connections has changed. */
typedef void (*HttpCountHandler)(Http *http, void *userdata);

/* `patience_usec`: for a request to be whole, and for an answer to be taken; 0 for the default. */
int http_new(Http **ret, sd_event *event, uint64_t patience_usec, HttpHandler handler, HttpCountHandler on_count,
             void *userdata);
Http *http_free(Http *http);
DEFINE_CLEANUP(Http *, http_free);

/* Takes the fd in any case. `service` is copied: whose client it is, for HTTP_PASSED, else NULL. -ENOBUFS: too many of its kind; it has been
 * told to come again. */
int http_add(Http *http, int fd, HttpOrigin origin, const char *service);
/* For a client of that service that may be passed. To be asked before http_add(), which takes such a one without a question. */
bool http_has_room(Http *http, int fd, const char *service);
size_t http_connections(const Http *http);

HttpOrigin http_exchange_origin(const HttpExchange *request);
/* NULL unless the connection was passed. */
const char *http_exchange_service(const HttpExchange *request);
const char *http_exchange_method(const HttpExchange *request);
/* As sent, not decoded. */
const char *http_exchange_target(const HttpExchange *request);
/* The value of a header; NULL if there is none. With `ret_count`, how many there are of that name: the value is that of the first. */
const char *http_exchange_header(const HttpExchange *request, const char *name, unsigned *ret_count);

/* When all together keep too much that is not read, with 503. */
void http_answer(HttpExchange *request, const HttpAnswer *answer);
/* 503, and when to try again. */
void http_answer_busy(HttpExchange *request);
/* May the answer be a stream, or are there too many? */
bool http_may_stream(HttpExchange *request);
/* Takes the stream in any case. A body whose end is told by its last chunk, or the end of the connection. */
void http_stream(HttpExchange *request, const HttpAnswer *head, const HttpStreamOps *ops, void *stream);
/* There is something to be read now. */
void http_stream_wake(HttpExchange *request);
/* Has the handler called again: after this span, counted from the first call for this request, or earlier by http_resume(). False, and no
 * waiting: the span is over. */
bool http_wait(HttpExchange *request, uint64_t span_usec);
/* All of that service's clients that wait. */
void http_resume(Http *http, const char *service);
