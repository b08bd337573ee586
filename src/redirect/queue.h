#pragma once

/* Queue: what is asked of the redirects by those who wait for the lock. Each leaves a request; whoever gets the lock
 * carries out all that are there, at once, and the others find theirs answered. So a start of all sockets reads the
 * table, and the configuration, a few times and not once for each. */

#include "util/macro.h"

typedef enum RequestKind {
        REQUEST_UP,
        REQUEST_DOWN,
        _REQUEST_KIND_MAX,
        _REQUEST_KIND_INVALID = -EINVAL,
} RequestKind;

typedef struct Request {
        char *service;
        RequestKind kind;
        /* The answer, if it failed. */
        int error;
        bool by_nftables; /* and not by the configuration or a full file system */
        char *sentence;
} Request;

typedef struct RequestList {
        Request *requests; /* sorted by service */
        size_t n;
} RequestList;

void request_done(Request *request);
void request_list_done(RequestList *list);
int request_list_add(RequestList *list, const char *service, RequestKind kind);
/* NULL if there is none. */
Request *request_list_find(const RequestList *list, const char *service);

/* Replaces a request for the same service, and its answer. */
int queue_put(const char *root, const char *service, RequestKind kind);
/* Those that nobody has answered. Under the lock. */
int queue_load(RequestList *ret, const char *root);
/* Under the lock. */
int queue_answer(const char *root, const Request *request);
int queue_forget(const char *root, const char *service);
/* 1: it is still to be carried out. 0: it was, `ret` says how, and the answer is removed. Under the lock. */
int queue_take_answer(const char *root, const char *service, Request *ret);
