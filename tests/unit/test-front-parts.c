#include <arpa/inet.h>
#include <netinet/in.h>

#include "front/answer.h"
#include "front/connector.h"
#include "front/front.h"
#include "test.h"

static void test_answer(void) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;
        size_t head, all;
        const char *text;

        answer = answer_new(1500000, "%s could not be woken", "demo");
        ASSERT_TRUE(answer);
        (void) answer_text(answer, true, &head);
        text = answer_text(answer, false, &all);
        ASSERT_EQ(all - head, strlen("demo could not be woken\n"));
        ASSERT_TRUE(memmem(text, head, "\r\nRetry-After: 2\r\n", 18));
        ASSERT_TRUE(memmem(text, head, "\r\nContent-Length: 24\r\n", 22));
        ASSERT_TRUE(memcmp(text + head - 4, "\r\n\r\n", 4) == 0);
        (void) answer_unref(answer_ref(answer));
}

static void test_addresses(void) {
        static const struct {
                const char *text;
                int family; /* -1: refused */
        } cases[] = {
                { "172.18.0.4:80", AF_INET },
                { "[fd00::2]:80", AF_INET6 },
                { "[::ffff:1.2.3.4]:65535", AF_INET6 },
                { "/run/x.sock", AF_UNIX },
                { "", -1 },
                { ":80", -1 },
                { "172.18.0.4", -1 },
                { "172.18.0.4:", -1 },
                { "172.18.0.4:0", -1 },
                { "172.18.0.4:65536", -1 },
                { "172.18.0.4:+80", -1 },
                { "172.18.0.4: 80", -1 },
                { "fd00::2:80", -1 },
                { "[fd00::2:80", -1 },
                { "[]:80", -1 },
                { "[:80", -1 },
                { "localhost:80", -1 },
                { "[0123456789012345678901234567890123456789012345678901]:1", -1 },
                { "/123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                  "123456789012345678901234567890",
                  -1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Address address;
                int r = address_parse(&address, cases[i].text);

                if (cases[i].family < 0 ? r != -EINVAL : r < 0 || address.any.sa_family != cases[i].family)
                        TEST_FAIL("'%s'", cases[i].text);
        }
}

static void test_backends_are_compared(void) {
        char *one[] = { (char *) "1.2.3.4:5", (char *) "nonsense", (char *) "/a", NULL };
        char *same[] = { (char *) "1.2.3.4:5", (char *) "/a", NULL };
        char *other[] = { (char *) "1.2.3.4:6", (char *) "/a", NULL };
        _cleanup_(backends_freep) Backends *a = NULL, *b = NULL, *c = NULL, *none = NULL;

        ASSERT_OK(backends_new(&a, one));
        ASSERT_OK(backends_new(&b, same));
        ASSERT_OK(backends_new(&c, other));
        ASSERT_OK(backends_new(&none, NULL));
        ASSERT_TRUE(backends_equal(a, b));
        ASSERT_FALSE(backends_equal(a, c));
        ASSERT_FALSE(backends_equal(a, none));
        ASSERT_FALSE(backends_equal(a, NULL));
}

int main(void) {
        test_answer();
        test_addresses();
        test_backends_are_compared();
        return 0;
}
