#pragma once

/* Answer: what clients are told when their service could not be woken: a short 503 for those that speak HTTP; and what those
 * get who are ignored. */

#include "model/status.h"

/* Shared by all the clients that get it. */
typedef struct Answer Answer;

/* A sentence: what happened, without names of parts or secrets, and without an end of line. NULL: out of memory. */
Answer *answer_new(uint64_t retry_after_usec, const char *format, ...) _printf_(2, 3);
/* A 200 for health checks of proxies, which would not let anybody through to wake it otherwise. */
Answer *answer_new_asleep(const char *format, ...) _printf_(1, 2);
Answer *answer_ref(Answer *answer);
Answer *answer_unref(Answer *answer);
DEFINE_CLEANUP(Answer *, answer_unref);

/* The whole response; for the method HEAD without its body. */
const char *answer_text(const Answer *answer, bool head, size_t *ret_size);

/* A reason in words, to follow "…: ". For _FAILURE_INVALID too. */
const char *failure_reason_in_words(FailureReason reason);
