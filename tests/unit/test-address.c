#include <arpa/inet.h>

#include "test.h"
#include "util/address.h"

static void test_ports(void) {
        static const char *const bad[] = { "", "0", "65536", "080", " 80", "80 ", "+80", "-1", "100000", "a" };

        ASSERT_EQ(port_from_string("1"), 1);
        ASSERT_EQ(port_from_string("65535"), 65535);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_EQ(port_from_string(bad[i]), 0);
}

static void test_hosts_with_ports(void) {
        static const struct {
                const char *text, *host;
        } cases[] = {
                { "10.0.0.1:80", "10.0.0.1" }, { "[::1]:80", "::1" }, { "web:80", "web" },
                { "[::1:80", "[::1" },         { "[]:80", "" },       { "::1:80", "::1" },
        };
        static const char *const bad[] = { "", ":80", "web", "web:", "web:0", "[::1]", "[::1]:", "web:80x" };
        uint16_t port;
        char *none;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *host = NULL;

                ASSERT_OK(host_and_port_from_string(&host, &port, cases[i].text));
                ASSERT_STREQ(host, cases[i].host);
                ASSERT_EQ(port, 80);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(host_and_port_from_string(&none, &port, bad[i]), EINVAL);
}

static void test_prefixes(void) {
        static const char *const bad[] = { "",         "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/-1",
                                           "10.0.0/8", "fd00::/129",  "::1/x",       "10.0.0.0/08",
                                           "a.b.c.d",  "10.0.0.0/8 ", "10.0.0.0/0x8" };
        AddressPrefix prefix;
        struct in6_addr ipv6;
        struct in_addr ipv4;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(address_prefix_parse(&prefix, bad[i]), EINVAL);

        ASSERT_OK(address_prefix_parse(&prefix, "10.32.0.0/11"));
        ASSERT_TRUE(inet_pton(AF_INET, "10.63.255.255", &ipv4) > 0);
        ASSERT_TRUE(address_prefix_matches(&prefix, AF_INET, &ipv4));
        ASSERT_TRUE(inet_pton(AF_INET, "10.64.0.0", &ipv4) > 0);
        ASSERT_FALSE(address_prefix_matches(&prefix, AF_INET, &ipv4));
        ASSERT_TRUE(inet_pton(AF_INET6, "::ffff:10.40.0.1", &ipv6) > 0);
        ASSERT_TRUE(address_prefix_matches(&prefix, AF_INET6, &ipv6));

        ASSERT_OK(address_prefix_parse(&prefix, "0.0.0.0/0"));
        ASSERT_TRUE(address_prefix_matches(&prefix, AF_INET, &ipv4));
        ASSERT_OK(address_prefix_parse(&prefix, "::1"));
        ASSERT_TRUE(address_prefix_matches(&prefix, AF_INET6, &in6addr_loopback));
        ASSERT_FALSE(address_prefix_matches(&prefix, AF_INET6, &in6addr_any));
        ASSERT_FALSE(address_prefix_matches(&prefix, AF_INET, &ipv4));
}

static void test_prefixes_are_written(void) {
        static const char *const texts[] = { "10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0" };
        char buffer[ADDRESS_PREFIX_TEXT_MAX];
        AddressPrefix prefix;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                ASSERT_OK(address_prefix_parse(&prefix, texts[i]));
                ASSERT_STREQ(address_prefix_to_string(&prefix, buffer), texts[i]);
        }
        ASSERT_OK(address_prefix_parse(&prefix, "::1"));
        ASSERT_STREQ(address_prefix_to_string(&prefix, buffer), "::1/128");
}

int main(void) {
        test_ports();
        test_hosts_with_ports();
        test_prefixes();
        test_prefixes_are_written();
        return 0;
}
