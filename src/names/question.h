#pragma once

/* Question: one question of DNS, taken apart and answered. Everything that is not exactly that is nothing to us. */

#include <netinet/in.h>
#include "util/macro.h"

#define QUESTION_NAME_MAX 63U
#define QUESTION_SIZE_MAX 512U
#define ANSWER_SIZE_MAX (QUESTION_SIZE_MAX + 16U)

typedef struct Question {
        char name[QUESTION_NAME_MAX + 1]; /* in small letters */
        bool wants_ipv4; /* a question for an address of IPv4, and not for anything else */
        bool extended; /* has EDNS */
        size_t size; /* of the packet, up to the end of the question */
} Question;

/* -EBADMSG: it is none, of a name of one label. */
int question_parse(Question *ret, const uint8_t *packet, size_t size);
/* `packet` is what the question was parsed from. That there is such a name, and its address if that was wanted. Returns the size. */
size_t question_answer(const Question *question, const uint8_t *packet, struct in_addr address,
                       uint8_t ret[static ANSWER_SIZE_MAX]);
