#pragma once

/* HttpClient: HTTP/1.1 requests on an sd-event loop, by libcurl. All requests of one client go to one Unix
 * socket, or to the TCP addresses of their URLs; connections are kept and used again, but only for what may be
 * sent twice: anything else than a GET has a connection of its own. Every handler is called from the loop,
 * never from inside a function of this header, and may free the request that it is called for, and the client
 * after that. */

#include <systemd/sd-event.h>
#include "util/macro.h"
#include "util/time.h"

/* A body that is collected may be this long, or as long as its request says, and so may be what has come of a
 * streamed one and was not delivered yet. */
#define HTTP_BODY_MAX ((size_t) 8 * 1024 * 1024)
/* All header lines together, those of interim answers among them. */
#define HTTP_HEADER_MAX ((size_t) 64 * 1024)

typedef struct HttpClient HttpClient;
typedef struct HttpRequest HttpRequest;

typedef struct HttpParameters {
        const char *method; /* "GET", "POST" */
        const char *url;
        const char *body; /* JSON; NULL: an empty body */
        uint64_t timeout_usec; /* for the whole exchange; USEC_INFINITY: none */
        size_t limit; /* for the body; 0: HTTP_BODY_MAX */
        bool stream; /* hand the body on as it comes instead of collecting it */
        bool fresh; /* a connection of its own, closed afterwards */
} HttpParameters;

typedef struct HttpResponse {
        /* 0: answered, whatever the status. Else there is no answer, or not a whole one: -ETIMEDOUT; -EBADMSG
         * not HTTP; -EFBIG; -ECONNRESET ended too early; or what connect() said. */
        int error;
        const char *reason; /* for `error`, one line; never NULL */
        unsigned status; /* 0: none came */
        const char *body; /* collected, followed by a NUL; never NULL */
        size_t size;
} HttpResponse;

/* Of a streamed body. The first call has `size` 0: the response's header is here. */
typedef void (*HttpDataHandler)(HttpRequest *request, const char *data, size_t size, void *userdata);
/* Called once. */
typedef void (*HttpEndHandler)(HttpRequest *request, const HttpResponse *response, void *userdata);

/* `socket_path` NULL: TCP. */
int http_client_new(HttpClient **ret, sd_event *event, const char *socket_path);
HttpClient *http_client_free(HttpClient *client); /* all its requests must have been freed */
DEFINE_CLEANUP(HttpClient *, http_client_free);

/* Starts at once. `on_data` may be NULL if the body is not streamed. */
int http_request_new(HttpRequest **ret, HttpClient *client, const HttpParameters *parameters,
                     HttpDataHandler on_data, HttpEndHandler on_end, void *userdata);
/* Cancels a request under way: no handler is called any more. What was asked for may still be done. */
HttpRequest *http_request_free(HttpRequest *request);
DEFINE_CLEANUP(HttpRequest *, http_request_free);

/* Of the response, once its header is here; 0 before. */
unsigned http_request_status(const HttpRequest *request);
/* A header of the response, or NULL. Valid as long as the request. */
const char *http_request_header(HttpRequest *request, const char *name);
