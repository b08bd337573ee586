#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "front/proxy-header.h"
#include "test.h"

typedef struct Any {
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
        };
        socklen_t size;
} Any;

static Any ipv4(const char *text, uint16_t port) {
        Any address = { .in = { .sin_family = AF_INET, .sin_port = htons(port) }, .size = sizeof(address.in) };

        ASSERT_EQ(inet_pton(AF_INET, text, &address.in.sin_addr), 1);
        return address;
}

static Any ipv6(const char *text, uint16_t port) {
        Any address = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) },
                        .size = sizeof(address.in6) };

        ASSERT_EQ(inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
        return address;
}

/* "": without a name, as a client's is. */
static Any path(const char *text) {
        Any address = { .un = { .sun_family = AF_UNIX }, .size = sizeof(sa_family_t) };

        strcpy(address.un.sun_path, text);
        if (text[0] != '\0')
                address.size = (socklen_t) (sizeof(sa_family_t) + strlen(text) + 1);
        return address;
}

static void expect(int version, Any peer, Any own, const void *expected, size_t size) {
        uint8_t header[PROXY_HEADER_MAX];

        ASSERT_EQ(proxy_header_make(header, version, &peer.any, peer.size, &own.any, own.size), size);
        ASSERT_TRUE(memcmp(header, expected, size) == 0);
}

#define EXPECT(version, peer, own, text) expect(version, peer, own, text, sizeof(text) - 1)
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2 V2_SIGNATURE "\x21"
#define V2_LOCAL V2_SIGNATURE "\x20\0\0\0"

static void test_version_1(void) {
        EXPECT(1, ipv4("203.0.113.7", 56324), ipv4("192.0.2.1", 443),
               "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n");
        EXPECT(1, ipv6("2001:db8::7", 65535), ipv6("::1", 1), "PROXY TCP6 2001:db8::7 ::1 65535 1\r\n");
        /* A socket for both families. */
        EXPECT(1, ipv6("::ffff:203.0.113.7", 5), ipv6("::ffff:192.0.2.1", 80),
               "PROXY TCP4 203.0.113.7 192.0.2.1 5 80\r\n");
        EXPECT(1, path(""), path("/run/x.sock"), "PROXY UNKNOWN\r\n");
        EXPECT(1, ipv4("203.0.113.7", 1), ipv6("::1", 1), "PROXY UNKNOWN\r\n");
}

static void test_version_2(void) {
        EXPECT(2, ipv4("203.0.113.7", 56324), ipv4("192.0.2.1", 443),
               V2 "\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\xdc\x04\x01\xbb");
        EXPECT(2, ipv6("2001:db8::7", 258), ipv6("::1", 1),
               V2
               "\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02\0\x01");
        EXPECT(2, ipv6("::ffff:1.2.3.4", 5), ipv6("::ffff:4.3.2.1", 80),
               V2 "\x11\0\x0c\x01\x02\x03\x04\x04\x03\x02\x01\0\x05\0\x50");
        EXPECT(2, ipv4("203.0.113.7", 1), ipv6("::1", 1), V2_LOCAL);
        EXPECT(2, path(""), path("/run/x.sock"), V2_LOCAL);
}

int main(void) {
        test_version_1();
        test_version_2();
        return 0;
}
