#include "model/wake-pause.h"
#include "test.h"

static void test_pauses_grow_to_the_limit(void) {
        ASSERT_EQ(wake_pause_usec(1, USEC_PER_MINUTE), 0);
        ASSERT_EQ(wake_pause_usec(2, USEC_PER_MINUTE), 100000);
        ASSERT_EQ(wake_pause_usec(3, USEC_PER_MINUTE), 200000);
        ASSERT_EQ(wake_pause_usec(50, USEC_PER_MINUTE), USEC_PER_MINUTE);
        ASSERT_EQ(wake_pause_usec(UINT32_MAX, USEC_PER_MINUTE), USEC_PER_MINUTE);
        ASSERT_EQ(wake_pause_usec(5, 0), 0);
}

int main(void) {
        test_pauses_grow_to_the_limit();
        return 0;
}
