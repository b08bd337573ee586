#include <arpa/inet.h>
#include <netinet/in.h>

#include "front/answer.h"
#include "front/connector.h"
#include "front/front.h"
#include "front/port-manner.h"
#include "front/ways.h"
#include "test.h"
#include "util/fd.h"

static void test_answer(void) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;
        size_t head, all;
        const char *text;

        answer = answer_new(1500000, "%s could not be woken", "demo");
        ASSERT_TRUE(answer);
        (void) answer_text(answer, true, &head);
        text = answer_text(answer, false, &all);
        ASSERT_EQ(all - head, strlen("demo could not be woken\n"));
        ASSERT_TRUE(memmem(text, head, "\r\nRetry-After: 2\r\n", 18));
        ASSERT_TRUE(memmem(text, head, "\r\nContent-Length: 24\r\n", 22));
        ASSERT_TRUE(memcmp(text + head - 4, "\r\n\r\n", 4) == 0);
        (void) answer_unref(answer_ref(answer));
}

static void test_addresses(void) {
        static const struct {
                const char *text;
                int family; /* -1: refused */
        } cases[] = {
                { "172.18.0.4:80", AF_INET },
                { "[fd00::2]:80", AF_INET6 },
                { "[::ffff:1.2.3.4]:65535", AF_INET6 },
                { "/run/x.sock", AF_UNIX },
                { "", -1 },
                { ":80", -1 },
                { "172.18.0.4", -1 },
                { "172.18.0.4:", -1 },
                { "172.18.0.4:0", -1 },
                { "172.18.0.4:65536", -1 },
                { "172.18.0.4:+80", -1 },
                { "172.18.0.4: 80", -1 },
                { "fd00::2:80", -1 },
                { "[fd00::2:80", -1 },
                { "[]:80", -1 },
                { "[:80", -1 },
                { "localhost:80", -1 },
                { "[0123456789012345678901234567890123456789012345678901]:1", -1 },
                { "/123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                  "123456789012345678901234567890",
                  -1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Address address;
                int r = address_parse(&address, cases[i].text);

                if (cases[i].family < 0 ? r != -EINVAL : r < 0 || address.any.sa_family != cases[i].family)
                        TEST_FAIL("'%s'", cases[i].text);
        }
}

static void test_backends_are_compared(void) {
        char *one[] = { (char *) "1.2.3.4:5", (char *) "nonsense", (char *) "/a", NULL };
        char *same[] = { (char *) "1.2.3.4:5", (char *) "/a", NULL };
        char *other[] = { (char *) "1.2.3.4:6", (char *) "/a", NULL };
        _cleanup_(backends_freep) Backends *a = NULL, *b = NULL, *c = NULL, *none = NULL;

        ASSERT_OK(backends_new(&a, one));
        ASSERT_OK(backends_new(&b, same));
        ASSERT_OK(backends_new(&c, other));
        ASSERT_OK(backends_new(&none, NULL));
        ASSERT_TRUE(backends_equal(a, b));
        ASSERT_FALSE(backends_equal(a, c));
        ASSERT_FALSE(backends_equal(a, none));
        ASSERT_FALSE(backends_equal(a, NULL));
}

static const Backends *find(const Ways *ways, const char *wanted) {
        bool udp = strncmp(wanted, "udp:", 4) == 0;
        Address address;

        ASSERT_OK(address_parse(&address, wanted + (udp ? 4 : 0)));
        return ways_find(ways, &address, udp);
}

static void expect_way(const Ways *ways, const char *wanted, const char *backend) {
        char *backends[] = { (char *) backend, NULL };
        _cleanup_(backends_freep) Backends *expected = NULL;

        ASSERT_OK(backends_new(&expected, backends));
        if (!backends_equal(find(ways, wanted), expected))
                TEST_FAIL("'%s' does not lead to '%s'", wanted, backend);
}

static void test_each_port_has_its_way(void) {
        char *main_backends[] = { (char *) "172.18.0.4:80", NULL }, *ssh[] = { (char *) "172.18.0.4:22", NULL },
             *lan[] = { (char *) "172.18.0.5:23", NULL }, *ipv6[] = { (char *) "172.18.0.6:24", NULL };
        PortStatus ports[] = {
                { .port = 2222, .accepts = true, .backends = ssh },
                { .port = 2222, .address = (char *) "192.168.1.5", .accepts = true, .backends = lan },
                { .port = 2222, .address = (char *) "::", .accepts = true, .backends = ipv6 },
                { .port = 5432, .accepts = false },
                { .port = 53, .udp = true, .accepts = true, .backends = ssh },
                { .port = 55, .udp = true },
                { .port = 54, .address = (char *) "localhost", .accepts = true, .backends = ssh },
        };
        Status status = { .backends = main_backends, .ports = ports, .n_ports = ELEMENTSOF(ports) };
        _cleanup_(ways_freep) Ways *ways = NULL, *same = NULL, *other = NULL;

        ASSERT_OK(ways_new(&ways, &status));
        ASSERT_OK(ways_new(&same, &status));
        expect_way(ways, "127.0.0.1:9002", "172.18.0.4:80");
        expect_way(ways, "127.0.0.1:2222", "172.18.0.4:22");
        expect_way(ways, "192.168.1.5:2222", "172.18.0.5:23");
        expect_way(ways, "[fd00::1]:2222", "172.18.0.6:24");
        /* Nobody accepts there yet. */
        ASSERT_TRUE(find(ways, "127.0.0.1:5432") == NULL);
        expect_way(ways, "udp:127.0.0.1:53", "172.18.0.4:22");
        ASSERT_TRUE(find(ways, "udp:[::1]:55") == NULL);
        expect_way(ways, "udp:127.0.0.1:2222", "172.18.0.4:80");
        /* What is of another protocol, or makes no sense, is none. */
        expect_way(ways, "127.0.0.1:53", "172.18.0.4:80");
        expect_way(ways, "127.0.0.1:54", "172.18.0.4:80");

        ASSERT_TRUE(ways_equal(ways, same));
        ports[3].accepts = true;
        ASSERT_OK(ways_new(&other, &status));
        ASSERT_FALSE(ways_equal(ways, other));
        ASSERT_FALSE(ways_equal(ways, NULL));
}

/* Clients of names reach the port that they want, of the container whose names those are. */
static void test_each_name_has_its_way(void) {
        char *shop[] = { (char *) "172.18.0.4:80", NULL }, *api[] = { (char *) "172.18.0.7:1", NULL };
        NameStatus list[] = { { .address = (char *) "198.18.0.1", .backends = shop },
                              { .address = (char *) "198.18.0.2", .backends = api },
                              { .address = (char *) "nonsense", .backends = api } };
        Status status = { .backends = shop, .names = list, .n_names = ELEMENTSOF(list) };
        _cleanup_(ways_freep) Ways *ways = NULL, *same = NULL, *other = NULL;

        ASSERT_OK(ways_new(&ways, &status));
        ASSERT_OK(ways_new(&same, &status));
        expect_way(ways, "127.0.0.1:9002", "172.18.0.4:80");
        expect_way(ways, "198.18.0.1:8080", "172.18.0.4:8080");
        expect_way(ways, "198.18.0.2:8080", "172.18.0.7:8080");
        expect_way(ways, "198.18.0.2:80", "172.18.0.7:80");
        expect_way(ways, "198.18.0.3:8080", "172.18.0.4:80");
        ASSERT_TRUE(ways_equal(ways, same));
        api[0] = (char *) "172.18.0.8:1";
        ASSERT_OK(ways_new(&other, &status));
        ASSERT_FALSE(ways_equal(ways, other));
}

static void test_the_wanted_address_is_that_of_ipv4(void) {
        _cleanup_close_ int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted = -EBADF;
        struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
        struct sockaddr_in wanted = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        _cleanup_close_ int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Address address, expected = { .size = sizeof(wanted) };

        ASSERT_OK(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int)));
        ASSERT_OK(bind(listener, (struct sockaddr *) &any, sizeof(any)));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &any, &(socklen_t){ sizeof(any) }));
        wanted.sin_port = any.sin6_port;
        ASSERT_OK(connect(client, (struct sockaddr *) &wanted, sizeof(wanted)));
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_OK(accepted);
        ASSERT_TRUE(wanted_address(accepted, &address));
        memcpy(&expected.storage, &wanted, sizeof(wanted));
        ASSERT_TRUE(addresses_equal(&address, 1, &expected, 1));
        ASSERT_FALSE(wanted_address(local, &address));
}

/* By the place where they were accepted; the first that fits. */
static void test_a_port_has_its_manner(void) {
        static const char *const bad[] = { "",       "22",           "22=",       "=never", "0=never",
                                           "22=nie", "host:22=auto", "[::1=auto", "22:auto" };
        _cleanup_(port_manners_done) PortManners manners = {};
        _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted = -EBADF;
        struct sockaddr_in where = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        char text[64];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(port_manners_add_page(&manners, bad[i]), EINVAL);
        ASSERT_ERROR(port_manners_add_proxy_protocol(&manners, "22=v3"), EINVAL);
        port_manners_done(&manners);

        ASSERT_OK(bind(listener, (struct sockaddr *) &where, sizeof(where)));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &where, &(socklen_t){ sizeof(where) }));
        ASSERT_OK(connect(client, (struct sockaddr *) &where, sizeof(where)));
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_OK(accepted);

        ASSERT_OK(port_manners_add_page(&manners, "[::1]:22=always"));
        (void) snprintf(text, sizeof(text), "127.0.0.2:%u=v1", ntohs(where.sin_port));
        ASSERT_OK(port_manners_add_proxy_protocol(&manners, text));
        ASSERT_NULL(port_manners_find(&manners, accepted));
        (void) snprintf(text, sizeof(text), "127.0.0.1:%u=none", ntohs(where.sin_port));
        ASSERT_OK(port_manners_add_proxy_protocol(&manners, text));
        (void) snprintf(text, sizeof(text), "%u=v2", ntohs(where.sin_port));
        ASSERT_OK(port_manners_add_proxy_protocol(&manners, text));
        ASSERT_EQ(port_manners_find(&manners, accepted)->proxy_protocol, 0);
        ASSERT_EQ(port_manners_find(&manners, accepted)->page, -1);
        (void) snprintf(text, sizeof(text), "127.0.0.1:%u=never", ntohs(where.sin_port));
        ASSERT_OK(port_manners_add_page(&manners, text));
        ASSERT_EQ(port_manners_find(&manners, accepted)->page, PAGE_NEVER);
        ASSERT_EQ(manners.n, 4);
}

int main(void) {
        test_answer();
        test_addresses();
        test_backends_are_compared();
        test_each_port_has_its_way();
        test_each_name_has_its_way();
        test_the_wanted_address_is_that_of_ipv4();
        test_a_port_has_its_manner();
        return 0;
}
