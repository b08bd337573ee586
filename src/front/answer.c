#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "front/answer.h"

/* Answer: one text for many clients. */

struct Answer {
        unsigned n_ref;
        size_t head_size, size;
        char text[];
};

static const char *const reason_words[_FAILURE_MAX] = {
        [FAILURE_NONE] = "the reason is not known",
        [FAILURE_HEALTH_CHECK_FAILED] = "a part of it did not become ready",
        [FAILURE_START_FAILED] = "a part of it could not be started",
        [FAILURE_CONTAINER_EXITED] = "a part of it ended again",
        [FAILURE_NOT_FOUND] = "a part of it does not exist",
        [FAILURE_IMAGE_MISSING] = "an image is missing",
        [FAILURE_PORT_CONFLICT] = "a port is taken",
        [FAILURE_NETWORK_MISSING] = "a network is missing",
        [FAILURE_ENGINE_UNAVAILABLE] = "the container engine does not answer",
        [FAILURE_GLOBAL_TIMEOUT] = "it took too long",
        [FAILURE_DEPENDENCY_CYCLE] = "its configuration is wrong",
        [FAILURE_CONFIG_INVALID] = "its configuration is wrong",
};

const char *failure_reason_in_words(FailureReason reason) {
        return reason_words[reason >= 0 && reason < _FAILURE_MAX ? reason : FAILURE_NONE];
}

/* NULL: out of memory. */
static _printf_(3, 0) Answer *answer_make(const char *status, const char *field, const char *format,
                                          va_list arguments) {
        _cleanup_free_ char *head = NULL, *sentence = NULL;
        int head_size, size;
        Answer *answer;

        size = vasprintf(&sentence, format, arguments);
        if (size < 0) {
                sentence = NULL;
                return NULL;
        }
        head_size = asprintf(&head,
                             "HTTP/1.1 %s\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n"
                             "Content-Length: %d\r\n"
                             "%s\r\n"
                             "Cache-Control: no-store\r\n"
                             "Connection: close\r\n"
                             "\r\n",
                             status, size + 1, field);
        if (head_size < 0) {
                head = NULL;
                return NULL;
        }

        answer = malloc(sizeof(*answer) + (size_t) head_size + (size_t) size + sizeof("\n"));
        if (!answer)
                return NULL;
        *answer = (Answer){ .n_ref = 1, .head_size = (size_t) head_size };
        answer->size = (size_t) sprintf(answer->text, "%s%s\n", head, sentence);
        return answer;
}

Answer *answer_new(uint64_t retry_after_usec, const char *format, ...) {
        uint64_t retry_after_sec = MAX((retry_after_usec + USEC_PER_SEC - 1) / USEC_PER_SEC, UINT64_C(1));
        char field[64];
        va_list arguments;
        Answer *answer;

        (void) snprintf(field, sizeof(field), "Retry-After: %" PRIu64, retry_after_sec);
        va_start(arguments, format);
        answer = answer_make("503 Service Unavailable", field, format, arguments);
        va_end(arguments);
        return answer;
}

Answer *answer_new_asleep(const char *format, ...) {
        va_list arguments;
        Answer *answer;

        va_start(arguments, format);
        answer = answer_make("200 OK", "X-Wakechain: asleep", format, arguments);
        va_end(arguments);
        return answer;
}

Answer *answer_ref(Answer *answer) {
        if (answer)
                answer->n_ref++;
        return answer;
}

Answer *answer_unref(Answer *answer) {
        if (answer && --answer->n_ref == 0)
                free(answer);
        return NULL;
}

const char *answer_text(const Answer *answer, bool head, size_t *ret_size) {
        *ret_size = head ? answer->head_size : answer->size;
        return answer->text;
}
