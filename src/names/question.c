#include "names/question.h"

/* Question: RFC 1035, 4.1, and RFC 6891 for what may follow. Nothing in a packet is a place in it, as a question has no compressed name: all is
 * read once, from the first byte to the last. */

#define HEADER_SIZE 12U
#define EXTENSION_SIZE 11U /* the root's name, type, size, flags, length: without options */
#define TYPE_A 1U
#define TYPE_OPT 41U
#define CLASS_IN 1U
#define TTL_SEC 1U
#define UDP_SIZE 1232U

/* The second half of the header's flags is for answers; of the first one, a question has at most RD. */
#define FLAG_ANSWER 0x80U
#define FLAG_RECURSION_DESIRED 0x01U
#define FLAG_RECURSION_AVAILABLE 0x80U
#define FLAG_AUTHENTIC 0x20U
#define FLAG_CHECKING_DISABLED 0x10U

static unsigned get16(const uint8_t *bytes) {
        return (unsigned) bytes[0] << 8 | bytes[1];
}

static uint8_t *put16(uint8_t *bytes, unsigned value) {
        bytes[0] = (uint8_t) (value >> 8);
        bytes[1] = (uint8_t) value;
        return bytes + 2;
}

/* One letter of a label, small; 0: none. */
static char letter(uint8_t byte) {
        if (byte >= 'A' && byte <= 'Z')
                return (char) (byte - 'A' + 'a');
        return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_'
                               ? (char) byte
                               : '\0';
}

static bool header_is_of_question(const uint8_t *packet) {
        return (packet[2] & ~FLAG_RECURSION_DESIRED) == 0 &&
               (packet[3] & ~(FLAG_AUTHENTIC | FLAG_CHECKING_DISABLED)) == 0 && get16(packet + 4) == 1 &&
               get16(packet + 6) == 0 && get16(packet + 8) == 0 && get16(packet + 10) <= 1;
}

static bool is_extension(const uint8_t *bytes, size_t size) {
        return size >= EXTENSION_SIZE && bytes[0] == 0 && get16(bytes + 1) == TYPE_OPT &&
               get16(bytes + 9) == size - EXTENSION_SIZE;
}

int question_parse(Question *ret, const uint8_t *packet, size_t size) {
        Question question = {};
        size_t length, end;

        if (size < HEADER_SIZE + 1 || size > QUESTION_SIZE_MAX || !header_is_of_question(packet))
                return -EBADMSG;
        length = packet[HEADER_SIZE];
        end = HEADER_SIZE + 1 + length + 1 + 4;
        if (length == 0 || length > QUESTION_NAME_MAX || size < end || packet[HEADER_SIZE + 1 + length] != 0)
                return -EBADMSG;
        for (size_t i = 0; i < length; i++) {
                question.name[i] = letter(packet[HEADER_SIZE + 1 + i]);
                if (question.name[i] == '\0')
                        return -EBADMSG;
        }
        if (get16(packet + end - 2) != CLASS_IN)
                return -EBADMSG;
        question.wants_ipv4 = get16(packet + end - 4) == TYPE_A;
        question.extended = get16(packet + 10) == 1;
        if (question.extended ? !is_extension(packet + end, size - end) : size != end)
                return -EBADMSG;
        question.size = end;
        *ret = question;
        return 0;
}

size_t question_answer(const Question *question, const uint8_t *packet, struct in_addr address,
                       uint8_t ret[static ANSWER_SIZE_MAX]) {
        uint8_t *end = ret;

        assert(question->size <= QUESTION_SIZE_MAX - EXTENSION_SIZE - 16);

        memcpy(ret, packet, question->size);
        ret[2] = (uint8_t) (FLAG_ANSWER | (packet[2] & FLAG_RECURSION_DESIRED));
        ret[3] = (uint8_t) (FLAG_RECURSION_AVAILABLE | (packet[3] & FLAG_CHECKING_DISABLED));
        (void) put16(ret + 6, question->wants_ipv4);
        end += question->size;
        if (question->wants_ipv4) {
                end = put16(end, 0xc000U | HEADER_SIZE); /* the question's name */
                end = put16(end, TYPE_A);
                end = put16(end, CLASS_IN);
                end = put16(end, 0);
                end = put16(end, TTL_SEC);
                end = put16(end, sizeof(address));
                memcpy(end, &address, sizeof(address));
                end += sizeof(address);
        }
        if (question->extended) {
                memset(end, 0, EXTENSION_SIZE);
                (void) put16(end + 1, TYPE_OPT);
                (void) put16(end + 3, UDP_SIZE);
                end += EXTENSION_SIZE;
        }
        return (size_t) (end - ret);
}
