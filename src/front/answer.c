#include <inttypes.h>
#include <stdio.h>

#include "front/answer.h"

/* Answer: one text for many clients. Who speaks HTTP is told by the request line: an upper-case word, a space, and
 * then either a method that everybody knows or a line that ends in a version of HTTP/1. Nothing else of a request
 * is looked at. */

#define METHOD_MAX 24

struct Answer {
        unsigned n_ref;
        size_t head_size, size;
        char text[];
};

static const char *const methods[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
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

static bool is_known_method(const char *data, size_t size) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (strlen(methods[i]) == size && memcmp(methods[i], data, size) == 0)
                        return true;
        return false;
}

HttpVerdict http_recognise(const char *data, size_t size) {
        const char *newline;
        size_t method = 0;

        assert(data || size == 0);

        while (method < size && ((data[method] >= 'A' && data[method] <= 'Z') || data[method] == '-'))
                method++;
        if (method == size)
                return method <= METHOD_MAX ? HTTP_MORE : HTTP_NO;
        if (method < 3 || method > METHOD_MAX || data[method] != ' ')
                return HTTP_NO;

        if (is_known_method(data, method))
                return method == 4 && memcmp(data, "HEAD", 4) == 0 ? HTTP_HEAD : HTTP_YES;

        newline = memchr(data, '\n', size);
        if (!newline)
                return size < HTTP_PEEK_SIZE ? HTTP_MORE : HTTP_NO;
        return memmem(data + method, (size_t) (newline - data) - method, " HTTP/1.", 8) ? HTTP_YES : HTTP_NO;
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

const char *answer_text(const Answer *answer, HttpVerdict verdict, size_t *ret_size) {
        *ret_size = verdict == HTTP_HEAD ? answer->head_size : answer->size;
        return answer->text;
}
