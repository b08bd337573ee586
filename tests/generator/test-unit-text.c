#include "../../generators/unit-text.h"
#include "../unit/test.h"

/* What no config can contain, because its parser refuses it, and what escaping makes of the rest. */

static int error_of(const char *before, const char *value, const char *after) {
        UnitText text = {};
        int r;

        unit_text_add_user(&text, "Key", before, value, after, UNIT_PLAIN);
        r = text.error;
        unit_text_done(&text);
        return r;
}

static void test_what_ends_or_joins_a_line_is_refused(void) {
        ASSERT_EQ(error_of("", "a\nExecStart=/bin/evil", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a\r", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a\tb", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a\x7f", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a\\", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a\\\\", ""), -EINVAL);
        ASSERT_EQ(error_of("(", "a\\", ")"), 0);
}

static void test_blanks_at_an_end_are_refused(void) {
        ASSERT_EQ(error_of("", " a", ""), -EINVAL);
        ASSERT_EQ(error_of("", "a ", ""), -EINVAL);
        ASSERT_EQ(error_of("", "", ""), -EINVAL);
        ASSERT_EQ(error_of("-", " a ", "/.env"), 0);
}

static void test_an_error_sticks(void) {
        UnitText text = {};
        const char *data;
        size_t size;

        unit_text_add_user(&text, "Key", "", "a\nb", "", UNIT_PLAIN);
        unit_text_print(&text, "Key=fine\n");
        ASSERT_EQ(unit_text_finish(&text, &data, &size), -EINVAL);
        unit_text_done(&text);
}

static void test_each_escape(void) {
        static const char value[] = "/a b%n\"'[x]*?\\;#$y";
        static const char expected[] = "A=/a b%%n\"'[x]*?\\;#$y\n"
                                       "B=\"/a b%%n\\\"'[x]*?\\\\;#$y\"\n";
        UnitText text = {};
        const char *data;
        size_t size;

        unit_text_add_user(&text, "A", "", value, "", UNIT_PLAIN);
        unit_text_add_user(&text, "B", "", value, "", UNIT_WORD);
        ASSERT_OK(unit_text_finish(&text, &data, &size));
        ASSERT_EQ(size, strlen(expected));
        ASSERT_TRUE(memcmp(data, expected, size) == 0);
        unit_text_done(&text);
}

int main(void) {
        test_what_ends_or_joins_a_line_is_refused();
        test_blanks_at_an_end_are_refused();
        test_an_error_sticks();
        test_each_escape();
        return 0;
}
