#include <arpa/inet.h>

#include "names/question.h"
#include "test.h"

static const char header[] = "\x12\x34\x01\0\0\1\0\0\0\0\0\0";

/* A packet that asks for `name`, as one label; more follows. */
static size_t packet(uint8_t *ret, const char *name, unsigned type, unsigned extra) {
        size_t n = sizeof(header) - 1, length = strlen(name);

        memcpy(ret, header, n);
        ret[n++] = (uint8_t) length;
        memcpy(ret + n, name, length);
        n += length;
        memcpy(ret + n, "\0\0\0\0\1", 5);
        ret[n + 2] = (uint8_t) type;
        n += 5;
        if (extra) {
                ret[11] = 1;
                memcpy(ret + n, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
                n += 11;
        }
        return n;
}

#define TYPE_A 1
#define TYPE_AAAA 28

static void test_question(void) {
        char long63[64], long64[65];
        const char *const names[] = { "a", "SHOP", "sixteen-letters-", "_x-9", long63 };
        const char *const small[] = { "a", "shop", "sixteen-letters-", "_x-9", long63 };
        uint8_t bytes[QUESTION_SIZE_MAX];
        Question question;

        memset(long63, 'a', 63);
        long63[63] = '\0';
        memset(long64, 'a', 64);
        long64[64] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                for (unsigned extra = 0; extra < 2; extra++) {
                        ASSERT_OK(question_parse(&question, bytes, packet(bytes, names[i], TYPE_A, extra)));
                        ASSERT_STREQ(question.name, small[i]);
                        ASSERT_TRUE(question.wants_ipv4);
                        ASSERT_EQ(question.extended, extra == 1);
                }
        ASSERT_OK(question_parse(&question, bytes, packet(bytes, "shop", TYPE_AAAA, 0)));
        ASSERT_FALSE(question.wants_ipv4);
        ASSERT_ERROR(question_parse(&question, bytes, packet(bytes, long64, TYPE_A, 0)), EBADMSG);
        ASSERT_ERROR(question_parse(&question, bytes, packet(bytes, "", TYPE_A, 0)), EBADMSG);
        ASSERT_ERROR(question_parse(&question, bytes, packet(bytes, "a.b", TYPE_A, 0)), EBADMSG);
        ASSERT_ERROR(question_parse(&question, bytes, packet(bytes, "a b", TYPE_A, 0)), EBADMSG);
}

/* Each single byte that makes it something else than one question of the class IN. */
static void test_what_is_none(void) {
        static const struct {
                size_t at;
                uint8_t byte;
        } changes[] = {
                { 2, 0x81 }, /* an answer */
                { 2, 0x09 }, /* another operation */
                { 2, 0x03 }, /* truncated */
                { 3, 0x80 }, /* recursion available */
                { 3, 0x03 }, /* a code */
                { 5, 0 },    { 5, 2 },     { 4, 1 },    { 7, 1 },  { 9, 1 },  { 11, 1 }, { 11, 2 }, { 12, 5 },
                { 12, 3 },   { 12, 0xc0 }, { 13, '.' }, { 13, 0 }, { 17, 1 }, { 21, 3 }, { 20, 1 },
        };
        uint8_t bytes[QUESTION_SIZE_MAX + 1] = {};
        Question question;
        size_t n;

        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                n = packet(bytes, "shop", TYPE_A, 0);
                bytes[changes[i].at] = changes[i].byte;
                if (question_parse(&question, bytes, n) != -EBADMSG)
                        TEST_FAIL("byte %zu as %u is taken", changes[i].at, changes[i].byte);
        }
        for (unsigned extra = 0; extra < 2; extra++) {
                n = packet(bytes, "shop", TYPE_A, extra);
                for (size_t size = 0; size < n; size++)
                        ASSERT_ERROR(question_parse(&question, bytes, size), EBADMSG);
                ASSERT_ERROR(question_parse(&question, bytes, n + 1), EBADMSG);
        }
        ASSERT_ERROR(question_parse(&question, bytes, sizeof(bytes)), EBADMSG);
}

static void test_answer(void) {
        const struct in_addr address = { htonl(0xc6120709) };
        uint8_t bytes[QUESTION_SIZE_MAX], answer[ANSWER_SIZE_MAX];
        Question question;
        size_t n, size;

        n = packet(bytes, "Shop", TYPE_A, 0);
        ASSERT_OK(question_parse(&question, bytes, n));
        size = question_answer(&question, bytes, address, answer);
        ASSERT_EQ(size, n + 16);
        ASSERT_EQ(memcmp(answer, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0", 12), 0);
        /* As it was asked, capital letters included. */
        ASSERT_EQ(memcmp(answer + 12, bytes + 12, n - 12), 0);
        ASSERT_EQ(memcmp(answer + n, "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc6\x12\7\x09", 16), 0);

        n = packet(bytes, "shop", TYPE_AAAA, 1);
        ASSERT_OK(question_parse(&question, bytes, n));
        size = question_answer(&question, bytes, address, answer);
        ASSERT_EQ(size, n);
        ASSERT_EQ(memcmp(answer, "\x12\x34\x81\x80\0\1\0\0\0\0\0\1", 12), 0);
        ASSERT_EQ(memcmp(answer + n - 11, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11), 0);
}

int main(void) {
        test_question();
        test_what_is_none();
        test_answer();
        return 0;
}
