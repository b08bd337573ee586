#pragma once

/* Request: what the first bytes of a client say about it, so far as the front has to know: whether they are an HTTP/1
 * request, whether a page is what its sender wants to see, and what the rules about who may wake look at. Bytes in,
 * verdict out: nothing is read, kept or changed. */

#include "util/macro.h"

/* As many bytes are looked at, and no more. A head that is longer is judged by the lines that fit. */
#define REQUEST_PEEK_SIZE ((size_t) 8192)

typedef enum RequestVerdict {
        REQUEST_MORE, /* too few bytes to tell anything */
        REQUEST_OTHER, /* something else than HTTP/1 */
        REQUEST_PARTIAL, /* HTTP/1, whose head has not ended yet: nothing but `head` is known */
        REQUEST_WHOLE,
        _REQUEST_VERDICT_MAX,
        _REQUEST_VERDICT_INVALID = -EINVAL,
} RequestVerdict;

/* Borrowed from the bytes. */
typedef struct RequestText {
        const char *data; /* NULL: not there */
        size_t size;
} RequestText;

typedef struct Request {
        bool head; /* the method is HEAD: wants no body */
        bool plain; /* GET or HEAD that asks for nothing else than an answer: no upgrade, no body, no 100-continue */
        bool browser; /* plain, and a page would be shown to a person */
        bool watches; /* GET of /api/wake-status/NAME of this service */
        RequestText path; /* of the target, without a query; none if that is no path */
        RequestText user_agent;
} Request;

/* `service`: the name in /api/wake-status/NAME. */
RequestVerdict request_parse(Request *ret, const char *data, size_t size, const char *service);
