#include <pwd.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "control/peer.h"
#include "test.h"
#include "util/fd.h"

/* Of which unit and user callers are is what the test says: what the linker takes for libsystemd's and the C library's. */

static const char *peer_unit; /* NULL: the process cannot be told any more */
static uid_t front_user;
static size_t n_entries; /* of the user database, that have been read */

int sd_peer_get_unit(int fd, char **ret) {
        if (!peer_unit)
                return -ESRCH;
        *ret = strdup(peer_unit);
        return *ret ? 0 : -ENOMEM;
}

int fgetpwent_r(FILE *file, struct passwd *entry, char *buffer, size_t size, struct passwd **ret) {
        static const char *const names[] = { "wakechain", "wakechain-front" };

        if (n_entries >= ELEMENTSOF(names))
                return ENOENT;
        *entry = (struct passwd){ .pw_name = (char *) names[n_entries],
                                  .pw_uid = n_entries == 1 ? front_user : 1 };
        n_entries++;
        *ret = entry;
        return 0;
}

static void test_who_is_a_front(void) {
        static const struct {
                const char *unit;
                bool own_user; /* ours is the fronts' */
                bool front;
                const char *service;
        } cases[] = {
                { "wake-front@clemence.service", true, true, "clemence" },
                { "wake-front@clemence.service", false, true, "clemence" }, /* User= of a drop-in */
                { "wake-front@a@b.service", true, true, "a@b" },
                { "wake-front@.service", true, true, NULL },
                { "wake-front@clemence", true, true, NULL },
                { "wake-front@clemence.socket", false, true, NULL },
                { "xwake-front@clemence.service", false, false, NULL },
                { "wake@clemence.service", false, false, NULL },
                { "session-1.scope", false, false, NULL },
                { "session-1.scope", true, true, NULL },
                /* Its process has ended. */
                { NULL, true, true, NULL },
                { NULL, false, false, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(peer_identity_done) PeerIdentity identity = {};
                int pair[2];

                n_entries = 0;
                peer_unit = cases[i].unit;
                front_user = cases[i].own_user ? geteuid() : geteuid() + 7;
                ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
                peer_identify(&identity, pair[0]);
                ASSERT_EQ(identity.uid, geteuid());
                ASSERT_EQ(identity.front, cases[i].front);
                ASSERT_EQ(!identity.service, !cases[i].service);
                if (cases[i].service)
                        ASSERT_STREQ(identity.service, cases[i].service);
                fd_close(pair[0]);
                fd_close(pair[1]);
        }
}

static void test_unknown_is_a_front(void) {
        _cleanup_(peer_identity_done) PeerIdentity identity = {};

        n_entries = 0;
        peer_unit = NULL;
        front_user = (uid_t) -1; /* there is no such user */
        peer_identify(&identity, -EBADF);
        ASSERT_TRUE(identity.front);
        ASSERT_EQ(identity.uid, (uid_t) -1);
        ASSERT_TRUE(!identity.service);
}

/* Nobody gets the rights of more than a front by taking all descriptors that there are. */
static void test_who_cannot_be_told_is_a_front(void) {
        _cleanup_(peer_identity_done) PeerIdentity identity = {};
        struct rlimit limit, none;
        int pair[2];

        n_entries = 0;
        peer_unit = NULL;
        front_user = geteuid();
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        peer_identify(&identity, pair[0]);
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ASSERT_TRUE(identity.front);
        fd_close(pair[0]);
        fd_close(pair[1]);
}

int main(void) {
        /* root is no front, whoever asks. */
        bool root = geteuid() == 0;

        if (root)
                ASSERT_EQ(seteuid(64321), 0);
        test_who_is_a_front();
        test_unknown_is_a_front();
        test_who_cannot_be_told_is_a_front();
        /* The sanitizer that looks for leaks at the end has to be root again. */
        if (root)
                ASSERT_EQ(seteuid(0), 0);
        return EXIT_SUCCESS;
}
