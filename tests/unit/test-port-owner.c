#include <arpa/inet.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/port-owner.h"
#include "test.h"
#include "util/fd.h"

static char root[] = "/tmp/test-port-owner-XXXXXX";

static PortAddress address_of(PortTransport transport, const char *text, uint16_t port) {
        PortAddress address = { .transport = transport, .port = port };

        address.family = !text ? AF_UNSPEC : strchr(text, ':') ? AF_INET6 : AF_INET;
        if (text)
                ASSERT_EQ(inet_pton(address.family, text, &address.ipv4), 1);
        return address;
}

/* Listens there, or is only bound if it is UDP. */
static int listener(int type, const char *text, bool only_ipv6, uint16_t *ret_port) {
        PortAddress wanted = address_of(PORT_TCP, text, 0);
        struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_addr = wanted.ipv6 };
        struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_addr = wanted.ipv4 };
        bool is_ipv6 = wanted.family == AF_INET6;
        struct sockaddr *address = is_ipv6 ? (struct sockaddr *) &ipv6 : (struct sockaddr *) &ipv4;
        socklen_t size = is_ipv6 ? sizeof(ipv6) : sizeof(ipv4);
        int fd = socket(wanted.family, type | SOCK_CLOEXEC, 0), only = only_ipv6;

        ASSERT_TRUE(fd >= 0);
        if (is_ipv6)
                ASSERT_TRUE(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) >= 0);
        ASSERT_TRUE(bind(fd, address, size) >= 0 && (type == SOCK_DGRAM || listen(fd, 1) >= 0));
        ASSERT_TRUE(getsockname(fd, address, &size) >= 0);
        *ret_port = ntohs(is_ipv6 ? ipv6.sin6_port : ipv4.sin_port);
        return fd;
}

static bool is_taken(PortTransport transport, const char *text, uint16_t port) {
        PortAddress address = address_of(transport, text, port);
        PortOwner owner;
        int r;

        r = port_owner_find(&owner, &address);
        ASSERT_OK(r);
        if (r == 0)
                return false;
        ASSERT_EQ(owner.uid, geteuid());
        if (geteuid() == 0)
                ASSERT_STREQ(owner.user, "root");
        port_owner_done(&owner);
        return true;
}

static void test_one_address(void) {
        uint16_t port;
        _cleanup_close_ int fd = listener(SOCK_STREAM, "127.0.0.1", false, &port);

        ASSERT_TRUE(is_taken(PORT_TCP, "127.0.0.1", port));
        ASSERT_TRUE(is_taken(PORT_TCP, "0.0.0.0", port));
        ASSERT_TRUE(is_taken(PORT_TCP, NULL, port));
        ASSERT_TRUE(is_taken(PORT_TCP_OR_UDP, "127.0.0.1", port));
        ASSERT_FALSE(is_taken(PORT_TCP, "127.0.0.2", port));
        ASSERT_FALSE(is_taken(PORT_TCP, "::", port));
        ASSERT_FALSE(is_taken(PORT_UDP, "127.0.0.1", port));
        (void) fd_close(TAKE_FD(fd));
        ASSERT_FALSE(is_taken(PORT_TCP, NULL, port));
}

static void test_wildcards(void) {
        uint16_t both_port, ipv6_port, mapped_port;
        _cleanup_close_ int both = listener(SOCK_STREAM, "::", false, &both_port),
                            ipv6 = listener(SOCK_STREAM, "::", true, &ipv6_port),
                            mapped = listener(SOCK_STREAM, "::ffff:127.0.0.1", false, &mapped_port);

        ASSERT_TRUE(both >= 0 && ipv6 >= 0 && mapped >= 0);
        ASSERT_TRUE(is_taken(PORT_TCP, "127.0.0.1", both_port));
        ASSERT_TRUE(is_taken(PORT_TCP, "::1", both_port));
        ASSERT_TRUE(is_taken(PORT_TCP, "::1", ipv6_port));
        ASSERT_FALSE(is_taken(PORT_TCP, "127.0.0.1", ipv6_port));
        ASSERT_TRUE(is_taken(PORT_TCP, "127.0.0.1", mapped_port));
        ASSERT_FALSE(is_taken(PORT_TCP, "::1", mapped_port));
}

static void test_udp(void) {
        uint16_t port;
        _cleanup_close_ int fd = listener(SOCK_DGRAM, "127.0.0.1", false, &port);

        ASSERT_TRUE(fd >= 0);
        ASSERT_TRUE(is_taken(PORT_UDP, "127.0.0.1", port));
        ASSERT_TRUE(is_taken(PORT_TCP_OR_UDP, "0.0.0.0", port));
        ASSERT_FALSE(is_taken(PORT_TCP, "127.0.0.1", port));
}

static ino_t make_folder(const char *name) {
        _cleanup_free_ char *path = NULL;
        struct stat st;

        ASSERT_TRUE(asprintf(&path, "%s/%s", root, name) >= 0);
        ASSERT_OK(directory_make(path));
        ASSERT_TRUE(stat(path, &st) >= 0);
        return st.st_ino;
}

static void assert_unit(ino_t inode, const char *expected) {
        _cleanup_free_ char *unit = NULL;
        int r;

        r = port_owner_find_unit(root, inode, &unit);
        ASSERT_EQ(r, expected != NULL);
        if (expected)
                ASSERT_STREQ(unit, expected);
}

/* A folder's inode number stands for the id of a control group. */
static void test_unit(void) {
        assert_unit(make_folder("system.slice/nginx.service"), "nginx.service");
        assert_unit(make_folder("system.slice/wake.slice/wake@clemence.socket"), "wake@clemence.socket");
        assert_unit(make_folder("user.slice/user-1000.slice/user@1000.service/app.slice/web.service/worker"),
                    "web.service");
        assert_unit(make_folder("init.scope"), "init.scope");
        assert_unit(make_folder("docker/0123456789ab"), NULL);
        assert_unit(make_folder("system.slice"), NULL);
        assert_unit((ino_t) -1, NULL);
        ASSERT_ERROR(port_owner_find_unit("/nonexistent", 1, &(char *){ NULL }), ENOENT);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
        return remove(path);
}

int main(void) {
        ASSERT_TRUE(mkdtemp(root));
        test_one_address();
        test_wildcards();
        test_udp();
        test_unit();
        ASSERT_TRUE(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) >= 0);
        return 0;
}
