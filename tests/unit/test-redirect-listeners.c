#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "redirect/listeners.h"
#include "test.h"
#include "util/fd.h"

/* Of PID 1 are the inodes 100 to 199; those of 200 are a front's. */

#define N_PORTS ((UINT16_MAX + 1) / 64)

static const uint64_t inodes[] = { 100, 101, 102, 103, 104, 105, 106, 107, 108, 199 };

static const struct {
        bool tcp;
        int family;
        const char *address;
        uint16_t port;
        uint32_t inode;
} sockets[] = {
        { true, AF_INET, "127.0.0.1", 3456, 100 }, { true, AF_INET, "0.0.0.0", 29002, 200 },
        { true, AF_INET, "0.0.0.0", 65535, 199 },  { true, AF_INET6, "::", 29003, 102 },
        { true, AF_INET6, "::", 29005, 1 },        { false, AF_INET, "0.0.0.0", 29006, 104 },
        { false, AF_INET, "0.0.0.0", 53, 201 },
};
static const char unix_sockets[] =
                "Num       RefCount Protocol Flags    Type St Inode Path\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01   105 /run/wakechain/control/memvid.sock\n"
                "0000000000000000: 00000003 00000000 00000000 0001 03   105\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01   106 /srv/a b/  c.sock\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01   107 @/run/abstract.sock\n"
                "0000000000000000: 00000002 00000000 00010000 0005 01   108 /run/wakechain/page.sock\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01 202 /run/wakechain/control/clemence.sock\n"
                "0000000000000000: 00000003 00000000 00000000 0001 03 100 /run/connected.sock\n"
                "0000000000000000: 00000002 00000000 00000000 0002 01 101 /run/datagram.sock\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01 102\n"
                "0000000000000000: 00000002 00000000 00010000 0001 01   199 /a\n";

static void give_inodes(Listeners *listeners) {
        listeners->inodes = malloc(sizeof(inodes));
        ASSERT_TRUE(listeners->inodes);
        memcpy(listeners->inodes, inodes, sizeof(inodes));
        listeners->n_inodes = ELEMENTSOF(inodes);
}

static void add_all(Listeners *listeners) {
        for (size_t i = 0; i < ELEMENTSOF(sockets); i++) {
                struct inet_diag_msg socket = { .idiag_family = (uint8_t) sockets[i].family,
                                                .id.idiag_sport = htons(sockets[i].port),
                                                .idiag_inode = sockets[i].inode };

                ASSERT_EQ(inet_pton(sockets[i].family, sockets[i].address, socket.id.idiag_src), 1);
                ASSERT_OK(listeners_add(listeners, sockets[i].tcp, &socket));
        }
}

/* "3456 65535" */
static void assert_ports(const uint64_t ports[static N_PORTS], const char *expected) {
        char text[128] = "";
        size_t n = 0;

        for (unsigned port = 0; port <= UINT16_MAX; port++)
                if (ports[port / 64] & UINT64_C(1) << port % 64)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s%u", n > 0 ? " " : "", port);
        ASSERT_STREQ(text, expected);
}

static void test_ports(void) {
        _cleanup_(listeners_done) Listeners listeners = {}, none = {};

        give_inodes(&listeners);
        add_all(&listeners);
        assert_ports(listeners.tcp, "3456 29003 65535");
        ASSERT_EQ(listeners.n_addresses, 4);
        ASSERT_TRUE(listeners.addresses[3].udp && listeners.addresses[3].port == 29006);
        /* Those that others listen on. */
        ASSERT_EQ(listeners.n_foreign, 2);
        ASSERT_TRUE(listeners.foreign[0] == 200 && listeners.foreign[1] == 1);

        add_all(&none);
        assert_ports(none.tcp, "");
        ASSERT_EQ(none.n_foreign, 5);
}

static void parse_unix(Listeners *listeners, const char *text) {
        _cleanup_free_ char *copy = strdup(text);

        ASSERT_TRUE(copy);
        ASSERT_OK(listeners_parse_unix(listeners, copy));
}

static void test_unix_sockets(void) {
        _cleanup_(listeners_done) Listeners listeners = { .known = true };

        give_inodes(&listeners);
        ASSERT_FALSE(listeners_have_path(&listeners, "/a"));
        parse_unix(&listeners, "");
        parse_unix(&listeners, "header\n");
        parse_unix(&listeners, "header\nx: y\n: : :\n0: 0 0 10000 1 1 100\n");
        ASSERT_EQ(listeners.n_paths, 0);

        parse_unix(&listeners, unix_sockets);
        ASSERT_EQ(listeners.n_paths, 4);
        ASSERT_TRUE(listeners_have_path(&listeners, "/run/wakechain/control/memvid.sock"));
        ASSERT_TRUE(listeners_have_path(&listeners, "/srv/a b/  c.sock"));
        ASSERT_TRUE(listeners_have_path(&listeners, "/run/wakechain/page.sock"));
        ASSERT_TRUE(listeners_have_path(&listeners, "/a"));
        ASSERT_FALSE(listeners_have_path(&listeners, "/srv/a"));
        ASSERT_FALSE(listeners_have_path(&listeners, "/run/wakechain/control/clemence.sock"));
        ASSERT_FALSE(listeners_have_path(&listeners, "/run/connected.sock"));
        ASSERT_FALSE(listeners_have_path(&listeners, "/run/abstract.sock"));
}

static bool have(const Listeners *listeners, const char *text) {
        ListenAddress address;

        ASSERT_OK(listen_address_from_string(&address, text));
        return listeners_have(listeners, &address);
}

static void test_addresses(void) {
        _cleanup_(listeners_done) Listeners listeners = { .known = true };
        const Listeners unknown = {};

        give_inodes(&listeners);
        add_all(&listeners);
        parse_unix(&listeners, unix_sockets);
        ASSERT_TRUE(listeners_have_port(&listeners, 3456) && !listeners_have_port(&listeners, 29006));
        ASSERT_TRUE(have(&listeners, "127.0.0.1:3456"));
        ASSERT_TRUE(have(&listeners, "[::]:65535"));
        ASSERT_TRUE(have(&listeners, "0.0.0.0:65535") && have(&listeners, "[::]:29003"));
        /* Another address of the port is another socket. */
        ASSERT_FALSE(have(&listeners, "127.0.0.2:3456") || have(&listeners, "0.0.0.0:3456") ||
                     have(&listeners, "[::1]:3456") || have(&listeners, "3456") ||
                     have(&listeners, "[::1]:29003"));
        ASSERT_FALSE(have(&listeners, "3457"));
        ASSERT_TRUE(have(&listeners, "udp:0.0.0.0:29006"));
        ASSERT_FALSE(have(&listeners, "udp:0.0.0.0:3456"));
        ASSERT_TRUE(have(&listeners, "/run/wakechain/page.sock"));
        ASSERT_FALSE(have(&listeners, "/run/page.sock"));

        /* Where nobody may look, nothing is said against a unit. */
        ASSERT_TRUE(listeners_have_port(&unknown, 1) && listeners_have_path(&unknown, "/x"));
        ASSERT_TRUE(have(&unknown, "127.0.0.1:1") && have(&unknown, "udp:0.0.0.0:1"));
}

/* PID 1 of here, whoever that is, has none of these. */
static void test_sockets_of_others(void) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        _cleanup_(listeners_done) Listeners listeners = {};
        socklen_t size = sizeof(address);

        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0 &&
                    listen(fd, 1) >= 0 && getsockname(fd, (struct sockaddr *) &address, &size) >= 0);
        ASSERT_OK(listeners_read(&listeners));
        ASSERT_EQ(listeners_have_port(&listeners, ntohs(address.sin_port)), !listeners.known);
        if (listeners.known && fd < 64)
                ASSERT_TRUE(listeners_has_foreign(&listeners, (unsigned) getpid()));
}

int main(void) {
        test_ports();
        test_unix_sockets();
        test_addresses();
        test_sockets_of_others();
        return 0;
}
