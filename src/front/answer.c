#include <inttypes.h>
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

int answer_new(Answer **ret, const char *sentence, uint64_t retry_after_usec) {
        uint64_t retry_after_sec = MAX((retry_after_usec + USEC_PER_SEC - 1) / USEC_PER_SEC, UINT64_C(1));
        _cleanup_free_ char *head = NULL, *body = NULL;
        size_t head_size, body_size;
        Answer *answer;

        assert(ret);
        assert(sentence);

        if (asprintf(&body, "%s\n", sentence) < 0) {
                body = NULL;
                return -ENOMEM;
        }
        body_size = strlen(body);
        if (asprintf(&head,
                     "HTTP/1.1 503 Service Unavailable\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n"
                     "Retry-After: %" PRIu64 "\r\n"
                     "Cache-Control: no-store\r\n"
                     "Connection: close\r\n"
                     "\r\n",
                     body_size, retry_after_sec) < 0) {
                head = NULL;
                return -ENOMEM;
        }
        head_size = strlen(head);

        answer = malloc(sizeof(*answer) + head_size + body_size);
        if (!answer)
                return -ENOMEM;
        *answer = (Answer){ .n_ref = 1, .head_size = head_size, .size = head_size + body_size };
        memcpy(answer->text, head, head_size);
        memcpy(answer->text + head_size, body, body_size);
        *ret = answer;
        return 0;
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
