#include <arpa/inet.h>
#include <netinet/in.h>

#include "probe/probe-address.h"
#include "test.h"

static ContainerNetwork networks[] = {
        { .name = (char *) "stopped", .id = (char *) "1" },
        { .name = (char *) "six", .id = (char *) "2", .ipv6 = (char *) "fd00::5" },
        { .name = (char *) "both", .id = (char *) "3", .ipv4 = (char *) "172.18.0.4", .ipv6 = (char *) "fd00::4" },
};
static const ContainerInfo attached = { .network_mode = (char *) "both",
                                        .networks = networks,
                                        .n_networks = ELEMENTSOF(networks) };
static const ContainerInfo host = { .network_mode = (char *) "host" };
static const ContainerInfo shared = { .network_mode = (char *) "container:01ab" };
static const ContainerInfo none = { .network_mode = (char *) "none" };

static void test_address_of_a_container(void) {
        static const struct {
                const ContainerInfo *info;
                const char *network, *address;
        } cases[] = {
                { &attached, "both", "172.18.0.4" }, { &attached, "six", "fd00::5" },
                { &attached, "stopped", "fd00::5" }, { &attached, "other", "fd00::5" },
                { &attached, NULL, "fd00::5" },      { &host, "any", "127.0.0.1" },
        };
        _cleanup_free_ char *address = NULL;
        const char *why = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *found = NULL;

                ASSERT_OK(probe_address_find(cases[i].info, cases[i].network, &found, &why));
                ASSERT_STREQ(found, cases[i].address);
        }
        ASSERT_ERROR(probe_address_find(&shared, "both", &address, &why), ENXIO);
        ASSERT_TRUE(strstr(why, "another one's network"));
        ASSERT_ERROR(probe_address_find(&none, "both", &address, &why), ENXIO);
        ASSERT_TRUE(strstr(why, "no network"));
}

static void test_tcp_targets(void) {
        static const struct {
                const char *target, *address;
                uint16_t port;
        } cases[] = {
                { "80", "172.18.0.4", 80 },
                { "10.0.0.1:81", "10.0.0.1", 81 },
                { "[::1]:82", "::1", 82 },
                { "localhost:83", "127.0.0.1", 83 },
        };
        static const char *const bad[] = { "",           "0",
                                           "65536",      "http",
                                           ":80",        "a.example:80",
                                           "10.0.0.1:",  "[::1]",
                                           "10.0.0.1:x", "999999999999999999" };
        struct sockaddr_storage address;
        const char *why = "";
        socklen_t size;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[INET6_ADDRSTRLEN];

                ASSERT_OK(probe_address_tcp(cases[i].target, &attached, "both", &address, &size, &why));
                if (address.ss_family == AF_INET) {
                        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *) &address;

                        ASSERT_STREQ(inet_ntop(AF_INET, &ipv4->sin_addr, text, sizeof(text)), cases[i].address);
                        ASSERT_EQ(ntohs(ipv4->sin_port), cases[i].port);
                } else {
                        const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *) &address;

                        ASSERT_STREQ(inet_ntop(AF_INET6, &ipv6->sin6_addr, text, sizeof(text)), cases[i].address);
                        ASSERT_EQ(ntohs(ipv6->sin6_port), cases[i].port);
                }
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(probe_address_tcp(bad[i], &attached, "both", &address, &size, &why), EINVAL);
        ASSERT_ERROR(probe_address_tcp("80", &none, "both", &address, &size, &why), ENXIO);
}

static void test_http_targets(void) {
        static const struct {
                const char *target, *network, *url;
        } cases[] = {
                { "http://:8080/health", "both", "http://172.18.0.4:8080/health" },
                { "https://:8443", "both", "https://172.18.0.4:8443" },
                { "http://:8080/health", "six", "http://[fd00::5]:8080/health" },
                { "http:///x", "both", "http://172.18.0.4/x" },
                { ":8080/x", "both", "http://172.18.0.4:8080/x" },
                { "/x", "both", "http://172.18.0.4:81/x" },
                { "http://other.example:1/x", "both", "http://other.example:1/x" },
        };
        const char *why = "";
        char *bad = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *url = NULL;

                ASSERT_OK(probe_address_http(cases[i].target, &attached, cases[i].network, 81, &url, &why));
                ASSERT_STREQ(url, cases[i].url);
        }
        ASSERT_ERROR(probe_address_http("other.example/x", &attached, "both", 81, &bad, &why), EINVAL);
        ASSERT_ERROR(probe_address_http("http://", &attached, "both", 81, &bad, &why), EINVAL);
        ASSERT_ERROR(probe_address_http("", &attached, "both", 81, &bad, &why), EINVAL);
        ASSERT_ERROR(probe_address_http("/x", &shared, "both", 81, &bad, &why), ENXIO);
        ASSERT_NULL(bad);
}

int main(void) {
        test_address_of_a_container();
        test_tcp_targets();
        test_http_targets();
        return 0;
}
