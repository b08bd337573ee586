#include "test.h"
#include "util/printable.h"

static void test_copies(void) {
        static const struct {
                const char *text, *lines, *line;
        } cases[] = {
                { "", "", "" },
                { "plain", "plain", "plain" },
                { "a\nb\tc\r\n", "a\nb c \n", "a b c  " },
                { "\033[31mred", " [31mred", " [31mred" },
                { "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
                { "\xc3", "?", "?" },
                { "\xc0\xaf", "??", "??" }, /* overlong */
                { "\xed\xa0\x80", "???", "???" }, /* a surrogate */
                { "\xf4\x90\x80\x80", "????", "????" }, /* beyond Unicode */
                { "\xc2\x9b"
                  "x",
                  "??x", "??x" }, /* CSI in eight bits */
                { "\x7f", " ", " " },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *lines = printable_copy(cases[i].text, strlen(cases[i].text), true);
                _cleanup_free_ char *line = printable_copy(cases[i].text, strlen(cases[i].text), false);

                ASSERT_STREQ(lines, cases[i].lines);
                ASSERT_STREQ(line, cases[i].line);
        }
}

static void test_last_line(void) {
        static const struct {
                const char *text, *line;
        } cases[] = {
                { "", "" },
                { "\n \n", "" },
                { "one", "one" },
                { "one\ntwo\n\n", "two" },
                { "one\n  two  ", "two" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *copy = strdup(cases[i].text);

                ASSERT_STREQ(printable_last_line(copy), cases[i].line);
        }
}

int main(void) {
        test_copies();
        test_last_line();
        return 0;
}
