#pragma once

/* Answer: what clients are told when their service could not be woken: a short 503 for those that speak HTTP. */

#include "model/status.h"

/* Shared by all the clients that get it. */
typedef struct Answer Answer;

/* `sentence`: what happened, without names of parts or secrets, and without an end of line. */
int answer_new(Answer **ret, const char *sentence, uint64_t retry_after_usec);
Answer *answer_ref(Answer *answer);
Answer *answer_unref(Answer *answer);
DEFINE_CLEANUP(Answer *, answer_unref);

/* The whole response; for the method HEAD without its body. */
const char *answer_text(const Answer *answer, bool head, size_t *ret_size);

/* A reason in words, to follow "…: ". For _FAILURE_INVALID too. */
const char *failure_reason_in_words(FailureReason reason);
