#include "test.h"
#include "util/strv.h"

static void test_null_is_an_empty_list(void) {
        ASSERT_EQ(strv_length(NULL), 0);
        ASSERT_FALSE(strv_contains(NULL, "a"));
        ASSERT_NULL(strv_free(NULL));
}

static void test_append_copies_and_keeps_the_order(void) {
        _cleanup_(strv_freep) char **list = NULL;
        char text[] = "one";

        ASSERT_OK(strv_append(&list, text));
        ASSERT_OK(strv_append(&list, "two"));
        ASSERT_OK(strv_append(&list, ""));
        text[0] = 'x';

        ASSERT_EQ(strv_length(list), 3);
        ASSERT_STREQ(list[0], "one");
        ASSERT_STREQ(list[1], "two");
        ASSERT_STREQ(list[2], "");
        ASSERT_NULL(list[3]);
}

static void test_contains_compares_whole_strings(void) {
        _cleanup_(strv_freep) char **list = NULL;

        ASSERT_OK(strv_append(&list, "mysql-clemence"));
        ASSERT_TRUE(strv_contains(list, "mysql-clemence"));
        ASSERT_FALSE(strv_contains(list, "mysql"));
        ASSERT_FALSE(strv_contains(list, ""));
}

int main(void) {
        test_null_is_an_empty_list();
        test_append_copies_and_keeps_the_order();
        test_contains_compares_whole_strings();
        return EXIT_SUCCESS;
}
