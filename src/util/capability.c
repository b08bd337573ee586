#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/capability.h"

int capability_drop(int capability) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
        uint32_t mask = CAP_TO_MASK((uint32_t) capability);
        size_t i = (size_t) CAP_TO_INDEX((uint32_t) capability);

        /* First, as this may need the rights that go. */
        (void) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        data[i].effective &= ~mask;
        data[i].permitted &= ~mask;
        data[i].inheritable &= ~mask; /* with this it leaves the ambient set, too */
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
