#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/socket-table.h"
#include "test.h"
#include "util/fd.h"

#define HEADER                                                                                             \
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode" \
        "                                                     \n"
#define LINE4(local, remote, state, queues, inode)                                                   \
        "   0: " local " " remote " " state " " queues " 00:00000000 00000000     0        0 " inode \
        " 1 0000000000000000 100 0 0 10 0                     \n"
#define NO_QUEUES "00000000:00000000"
#define UNREAD "00000000:00000007"

/* The addresses are spelled as a little-endian machine prints them. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOOPBACK4 "0100007F"
#define ANY4 "00000000"
#define RESOLVER4 "0B00007F" /* 127.0.0.11 */
#define PEER4 "0105A8C0" /* 192.168.5.1 */
#define MAPPED "0000000000000000FFFF0000"
#define LOOPBACK6 "00000000000000000000000001000000"
#define PEER6 "000000FD000000000000000001000000" /* fd00::1 */
#else
#define LOOPBACK4 "7F000001"
#define ANY4 "00000000"
#define RESOLVER4 "7F00000B"
#define PEER4 "C0A80501"
#define MAPPED "00000000000000000000FFFF"
#define LOOPBACK6 "00000000000000000000000000000001"
#define PEER6 "FD000000000000000000000000000001"
#endif

static SocketTable parse(int family, const char *text, uint16_t port) {
        SocketTable table = {};

        ASSERT_OK(socket_table_parse(&table, family, text, &(SocketFilter){ .port = port }));
        return table;
}

static void test_resolver_of_the_engine_is_none_of_the_application(void) {
        SocketTable table =
                        parse(AF_INET, HEADER LINE4(RESOLVER4 ":8F17", ANY4 ":0000", "0A", NO_QUEUES, "11"), 0);

        ASSERT_EQ(table.n_listening, 0);
        ASSERT_TRUE(table.listening_hash == 0);
}

static void test_listening_sockets_are_hashed(void) {
        SocketTable none = parse(AF_INET, HEADER, 0), one, two, swapped, successor;

        one = parse(AF_INET, HEADER LINE4(ANY4 ":0050", ANY4 ":0000", "0A", NO_QUEUES, "11"), 0);
        two = parse(AF_INET,
                    HEADER LINE4(ANY4 ":0050", ANY4 ":0000", "0A", NO_QUEUES, "11")
                                    LINE4(LOOPBACK4 ":0CEA", ANY4 ":0000", "0A", NO_QUEUES, "12"),
                    0);
        swapped = parse(AF_INET,
                        HEADER LINE4(LOOPBACK4 ":0CEA", ANY4 ":0000", "0A", NO_QUEUES, "12")
                                        LINE4(ANY4 ":0050", ANY4 ":0000", "0A", NO_QUEUES, "11"),
                        0);
        successor = parse(AF_INET, HEADER LINE4(ANY4 ":0050", ANY4 ":0000", "0A", NO_QUEUES, "13"), 0);

        ASSERT_TRUE(none.listening_hash == 0);
        ASSERT_EQ(none.n_listening, 0);
        ASSERT_EQ(one.n_listening, 1);
        ASSERT_EQ(two.n_listening, 2);
        ASSERT_TRUE(one.listening_hash != 0);
        ASSERT_TRUE(one.listening_hash != two.listening_hash);
        ASSERT_TRUE(two.listening_hash == swapped.listening_hash);
        ASSERT_TRUE(one.listening_hash != successor.listening_hash);
}

static void test_connections_of_the_port_are_counted(void) {
        SocketTable table;

        table = parse(AF_INET,
                      HEADER LINE4(PEER4 ":0050", PEER4 ":9C40", "01", NO_QUEUES,
                                   "1") LINE4(PEER4 ":0051", PEER4 ":9C41", "01", NO_QUEUES,
                                              "2") LINE4(PEER4 ":9C42", PEER4 ":0050", "01", NO_QUEUES, "3")
                                      LINE4(PEER4 ":0050", LOOPBACK4 ":9C43", "01", NO_QUEUES, "4"),
                      80);
        ASSERT_EQ(table.n_established, 1);
        ASSERT_EQ(parse(AF_INET, HEADER LINE4(PEER4 ":0050", PEER4 ":9C40", "01", NO_QUEUES, "1"), 0)
                                  .n_established,
                  0);
}

static void test_closed_connections_count_while_data_is_under_way(void) {
        static const struct {
                const char *text;
                size_t expected;
        } cases[] = {
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "08", NO_QUEUES, "1"), 0 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "08", UNREAD, "1"), 1 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "04", UNREAD, "1"), 1 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "05", NO_QUEUES, "1"), 0 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "05", "00000001:00000000", "1"), 1 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "06", UNREAD, "1"), 0 },
                { LINE4(PEER4 ":0050", PEER4 ":9C40", "03", UNREAD, "1"), 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_EQ(parse(AF_INET, cases[i].text, 80).n_established, cases[i].expected);
}

static void test_ipv6_and_mapped_peers(void) {
        SocketTable table;
        AddressPrefix lan;

        table = parse(AF_INET6,
                      HEADER LINE4(PEER6 ":0050", PEER6 ":9C40", "01", NO_QUEUES,
                                   "1") LINE4(LOOPBACK6 ":0050", LOOPBACK6 ":9C41", "01", NO_QUEUES, "2")
                                      LINE4(MAPPED PEER4 ":0050", MAPPED PEER4 ":9C42", "01", NO_QUEUES, "3")
                                                      LINE4(MAPPED LOOPBACK4 ":0050", MAPPED LOOPBACK4 ":9C43",
                                                            "01", NO_QUEUES, "4"),
                      80);
        ASSERT_EQ(table.n_established, 2);

        table = (SocketTable){};
        ASSERT_OK(address_prefix_parse(&lan, "192.168.0.0/16"));
        ASSERT_OK(socket_table_parse(&table, AF_INET6,
                                     LINE4(MAPPED PEER4 ":0050", MAPPED PEER4 ":9C42", "01", NO_QUEUES, "3"),
                                     &(SocketFilter){ .port = 80, .ignored = &lan, .n_ignored = 1 }));
        ASSERT_EQ(table.n_established, 0);
        ASSERT_EQ(table.n_ignored, 1);
}

static bool counts_answered(const Connection *connection, void *userdata) {
        ASSERT_EQ(connection->family, AF_INET);
        ASSERT_EQ(connection->local_port, 80);
        ASSERT_EQ(connection->remote_port, 40000);
        ASSERT_EQ(ntohl(*(const uint32_t *) connection->remote), *(const uint32_t *) userdata);
        return connection->unanswered == 0;
}

/* Retransmissions are hexadecimal, probes are not. */
static void test_each_connection_is_asked_about(void) {
        static const struct {
                const char *tail;
                size_t expected;
        } cases[] = {
                { "00:00000000 00000000     0        0 7 1\n", 1 },
                { "01:00000014 0000000A     0        0 7 1\n", 0 },
                { "02:00000014 00000000     0        3 7 1\n", 0 },
        };
        uint32_t peer = 0xc0a80501, loopback = INADDR_LOOPBACK;
        SocketFilter filter = { .port = 80, .counts = counts_answered, .userdata = &peer };
        SocketTable table = {};
        char text[256];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                (void) snprintf(text, sizeof(text), "   0: %s:0050 %s:9C40 01 " NO_QUEUES " %s", MAPPED PEER4,
                                MAPPED PEER4, cases[i].tail);
                table = (SocketTable){};
                ASSERT_OK(socket_table_parse(&table, AF_INET6, text, &filter));
                ASSERT_EQ(table.n_established, cases[i].expected);
        }

        filter.loopback = true;
        filter.userdata = &loopback;
        table = (SocketTable){};
        ASSERT_OK(socket_table_parse(&table, AF_INET,
                                     LINE4(PEER4 ":0050", LOOPBACK4 ":9C40", "01", NO_QUEUES, "4"), &filter));
        ASSERT_EQ(table.n_established, 1);
}

static void test_nonsense_is_skipped(void) {
        static const char *const lines[] = {
                "",
                "\n\n\n",
                "0:",
                "   0: ",
                "   0: 00000000",
                "   0: 00000000:0050 00000000:0000 0A\n",
                "   0: 00000000:0050 00000000:0000 0A 00000000\n",
                "   0: 00000000:0050 00000000:0000 ZZ 00000000:00000000\n",
                "   0: 000000000:0050 00000000:0000 0A 00000000:00000000\n",
                "-1: 00000000:0050 00000000:0000 0A 00000000:00000000\n",
                "   0 00000000:0050 00000000:0000 0A 00000000:00000000\n",
                "\xff\xfe\x01",
        };
        char text[] = LINE4(PEER4 ":0050", ANY4 ":0000", "0A", NO_QUEUES, "7");
        char longest[4096];

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                for (int v6 = 0; v6 < 2; v6++)
                        ASSERT_EQ(parse(v6 ? AF_INET6 : AF_INET, lines[i], 80).n_listening, 0);

        memset(longest, ' ', sizeof(longest));
        longest[sizeof(longest) - 1] = '\0';
        ASSERT_EQ(parse(AF_INET, longest, 80).n_listening, 0);

        /* Cut off anywhere, and every byte changed: never more than one socket, never a wrong read. */
        for (size_t size = 0; size < sizeof(text); size++) {
                _cleanup_free_ char *cut = strndup(text, size);

                ASSERT_TRUE(cut && parse(AF_INET, cut, 80).n_listening <= 1);
                ASSERT_TRUE(parse(AF_INET6, cut, 80).n_listening == 0);
        }
        for (size_t i = 0; i + 1 < sizeof(text); i++)
                for (int c = 1; c < 256; c++) {
                        char old = text[i];

                        text[i] = (char) c;
                        ASSERT_TRUE(parse(AF_INET, text, 80).n_listening <= 1);
                        text[i] = old;
                }
}

static void test_a_line_without_inode_still_listens(void) {
        ASSERT_EQ(parse(AF_INET, "   0: 00000000:0050 00000000:0000 0A 00000000:00000000", 0).n_listening, 1);
}

static int listen_on(const char *address, uint16_t *ret_port) {
        struct sockaddr_in in = { .sin_family = AF_INET };
        socklen_t size = sizeof(in);
        int fd;

        ASSERT_TRUE(inet_pton(AF_INET, address, &in.sin_addr) > 0);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &in, sizeof(in)) >= 0 && listen(fd, 8) >= 0);
        ASSERT_TRUE(getsockname(fd, (struct sockaddr *) &in, &size) >= 0);
        *ret_port = ntohs(in.sin_port);
        return fd;
}

static void test_own_namespace(void) {
        _cleanup_close_ int any = -EBADF, loopback = -EBADF;
        SocketTable before, after;
        uint16_t port;

        ASSERT_OK(socket_table_read(&before, 0, &(SocketFilter){}));
        any = listen_on("0.0.0.0", &port);
        loopback = listen_on("127.0.0.1", &port);
        ASSERT_OK(socket_table_read(&after, getpid(), &(SocketFilter){}));

        ASSERT_TRUE(after.listening_hash != before.listening_hash);
}

static void test_pulse_tells_of_a_new_listener(void) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t before, again, after;
        uint16_t port;

        /* The machine's own sockets may come and go between two looks: then it is another pulse, too. */
        ASSERT_OK(socket_table_pulse(0, &before));
        ASSERT_OK(socket_table_pulse(getpid(), &again));
        fd = listen_on("127.0.0.1", &port);
        ASSERT_OK(socket_table_pulse(0, &after));
        if (before == again)
                ASSERT_TRUE(after != before);
}

static void test_a_long_table_is_read_whole(void) {
        int fds[200];
        uint16_t port;
        SocketTable before, after;

        ASSERT_OK(socket_table_read(&before, 0, &(SocketFilter){}));
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                fds[i] = listen_on("127.0.0.1", &port);
        ASSERT_OK(socket_table_read(&after, 0, &(SocketFilter){}));
        ASSERT_TRUE(after.n_listening >= before.n_listening + 190);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                fd_close(fds[i]);
}

static void test_gone_process(void) {
        uint64_t pulse;
        SocketTable table;

        ASSERT_ERROR(socket_table_read(&table, INT32_MAX, &(SocketFilter){ .port = 80 }), ENOENT);
        ASSERT_ERROR(socket_table_pulse(INT32_MAX, &pulse), ENOENT);
}

int main(void) {
        /* Without the machine's own sockets, where that is allowed. */
        (void) unshare(CLONE_NEWNET);

        test_resolver_of_the_engine_is_none_of_the_application();
        test_listening_sockets_are_hashed();
        test_connections_of_the_port_are_counted();
        test_closed_connections_count_while_data_is_under_way();
        test_ipv6_and_mapped_peers();
        test_each_connection_is_asked_about();
        test_nonsense_is_skipped();
        test_a_line_without_inode_still_listens();
        test_own_namespace();
        test_pulse_tells_of_a_new_listener();
        test_a_long_table_is_read_whole();
        test_gone_process();
        return 0;
}
