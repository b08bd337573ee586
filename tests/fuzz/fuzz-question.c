#include "names/question.h"

/* What a container sends to the port of DNS. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t answer[ANSWER_SIZE_MAX];
        Question question, again;
        size_t answer_size;

        if (question_parse(&question, data, size) < 0)
                return 0;
        if (question.name[0] == '\0' || strlen(question.name) > QUESTION_NAME_MAX || question.size > size)
                abort();
        answer_size = question_answer(&question, data, (struct in_addr){ 1 }, answer);
        if (answer_size < question.size || answer_size > sizeof(answer) || memcmp(answer, data, 2) != 0)
                abort();
        /* An answer is no question. */
        if (question_parse(&again, answer, answer_size) >= 0)
                abort();
        return 0;
}
