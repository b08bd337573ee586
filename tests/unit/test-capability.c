#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"
#include "util/capability.h"

/* Of the capability sets, those that are for one: 1 effective, 2 permitted, 4 inheritable, 8 ambient. */
static unsigned sets_with(int capability) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
        unsigned mask = CAP_TO_MASK((unsigned) capability), sets = 0;

        ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
        sets |= data[0].effective & mask ? 1U : 0;
        sets |= data[0].permitted & mask ? 2U : 0;
        sets |= data[0].inheritable & mask ? 4U : 0;
        sets |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1 ? 8U : 0;
        return sets;
}

/* As systemd gives them, with AmbientCapabilities=. */
static void give(int capability) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
        data[0].inheritable |= CAP_TO_MASK((unsigned) capability);
        ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
        ASSERT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), 0);
}

static void test_what_is_dropped_is_in_no_set(void) {
        if (sets_with(CAP_NET_ADMIN) != 3 || sets_with(CAP_DAC_READ_SEARCH) != 3)
                return; /* not root */
        give(CAP_NET_ADMIN);
        give(CAP_DAC_READ_SEARCH);
        ASSERT_EQ(sets_with(CAP_DAC_READ_SEARCH), 15);

        ASSERT_OK(capability_drop(CAP_DAC_READ_SEARCH));
        ASSERT_EQ(sets_with(CAP_DAC_READ_SEARCH), 0);
        ASSERT_EQ(prctl(PR_CAPBSET_READ, CAP_DAC_READ_SEARCH, 0, 0, 0), 0);
        ASSERT_EQ(sets_with(CAP_NET_ADMIN), 15);
        ASSERT_EQ(prctl(PR_CAPBSET_READ, CAP_NET_ADMIN, 0, 0, 0), 1);
}

static void test_what_is_not_there_is_dropped(void) {
        ASSERT_OK(capability_drop(CAP_DAC_READ_SEARCH));
        ASSERT_EQ(sets_with(CAP_DAC_READ_SEARCH), 0);
}

int main(void) {
        test_what_is_dropped_is_in_no_set();
        test_what_is_not_there_is_dropped();
        return EXIT_SUCCESS;
}
