#pragma once

/* Answer: what clients are told when their service could not be woken: a short 503 for those that speak HTTP. */

#include "model/status.h"

typedef enum HttpVerdict {
        HTTP_NO,
        HTTP_YES,
        HTTP_HEAD, /* yes, and wants no body */
        HTTP_MORE, /* too few bytes to tell */
        _HTTP_VERDICT_MAX,
        _HTTP_VERDICT_INVALID = -EINVAL,
} HttpVerdict;

/* Enough of a request for a verdict that is not HTTP_MORE. */
#define HTTP_PEEK_SIZE ((size_t) 1024)

/* Tells an HTTP/1 request from anything else by its first bytes. */
HttpVerdict http_recognise(const char *data, size_t size);

/* Shared by all the clients that get it. */
typedef struct Answer Answer;

/* `sentence`: what happened, without names of parts or secrets, and without an end of line. */
int answer_new(Answer **ret, const char *sentence, uint64_t retry_after_usec);
Answer *answer_ref(Answer *answer);
Answer *answer_unref(Answer *answer);
DEFINE_CLEANUP(Answer *, answer_unref);

/* The whole response; for HTTP_HEAD without its body. */
const char *answer_text(const Answer *answer, HttpVerdict verdict, size_t *ret_size);

/* A reason in words, to follow "…: ". For _FAILURE_INVALID too. */
const char *failure_reason_in_words(FailureReason reason);
