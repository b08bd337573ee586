#include "test.h"
#include "util/bytes.h"

static void test_gone_with_the_last_user(void) {
        _cleanup_(bytes_unrefp) Bytes *bytes = NULL;
        size_t sum = 0, other = 0;
        Bytes *second;

        ASSERT_OK(bytes_printf(&bytes, "%s %d", "some", 7));
        ASSERT_STREQ(bytes->data, "some 7");
        ASSERT_EQ(bytes->size, 6);
        bytes_count(bytes, &sum);
        bytes_count(bytes, &sum);
        bytes_count(bytes, &other);
        ASSERT_EQ(sum, 6);
        ASSERT_EQ(other, 0);

        second = bytes_ref(bytes);
        ASSERT_NULL(bytes_unref(second));
        ASSERT_EQ(sum, 6);
        ASSERT_STREQ(bytes->data, "some 7");
        bytes = bytes_unref(bytes);
        ASSERT_EQ(sum, 0);
        ASSERT_NULL(bytes_unref(NULL));
}

int main(void) {
        test_gone_with_the_last_user();
        return 0;
}
