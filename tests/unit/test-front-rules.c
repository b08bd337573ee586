#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "front/rules.h"
#include "test.h"
#include "util/fd.h"

static bool matches(const char *user_agent, const char *path, const char *request) {
        Rules rules = {};
        Request parsed;
        bool hit;

        if (user_agent)
                ASSERT_OK(rules_add_user_agent(&rules, user_agent));
        if (path)
                ASSERT_OK(rules_add_path(&rules, path));
        ASSERT_TRUE(rules_are_about_requests(&rules));
        ASSERT_EQ(request_parse(&parsed, request, strlen(request), "demo"), REQUEST_WHOLE);
        hit = rules_match_request(&rules, &parsed);
        rules_done(&rules);
        return hit;
}

#define UPTIME "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"
#define BY(agent) "GET / HTTP/1.1\r\nUser-Agent: " agent "\r\n\r\n"

static void test_user_agents(void) {
        ASSERT_TRUE(matches("UptimeRobot", NULL, BY(UPTIME)));
        ASSERT_TRUE(matches("uptimerobot/2", NULL, BY(UPTIME)));
        ASSERT_TRUE(matches("mozilla*robot*", NULL, BY(UPTIME)));
        ASSERT_TRUE(matches("*bot*", NULL, BY(UPTIME)));
        ASSERT_TRUE(matches("com/)", NULL, BY(UPTIME)));
        ASSERT_FALSE(matches("robot*mozilla", NULL, BY(UPTIME)));
        ASSERT_FALSE(matches("Googlebot", NULL, BY(UPTIME)));
        ASSERT_FALSE(matches("bot", NULL, "GET /bot HTTP/1.1\r\nX-User-Agent: bot\r\n\r\n"));
        ASSERT_FALSE(matches("bot", NULL, BY("")));
        ASSERT_TRUE(matches("*", NULL, BY("x")));
}

static bool path_matches(const char *pattern, const char *target) {
        char request[256];

        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n\r\n", target);
        return matches(NULL, pattern, request);
}

static void test_paths(void) {
        static const struct {
                const char *pattern, *target;
                bool hit;
        } cases[] = {
                { "/health", "/health", true },
                { "/health", "/health?verbose", true },
                { "/health", "/health/live", true },
                { "/health", "/healthy", false },
                { "/health", "/", false },
                { "/health", "/a/health", false },
                { "/health", "/Health", false },
                { "/health/", "/health/live", true },
                { "/health/", "/health", false },
                { "/", "/", true },
                { "/", "/?a", true },
                { "/", "/wiki", false },
                { "/*", "/wiki", true },
                { "/*.ico", "/a/favicon.ico", true },
                { "/*.ico", "/favicon.icon", false },
                { "/a*b*c", "/aXbbYbc", true },
                { "/a*b*c", "/aXbbYb", false },
                { "/health", "http://example.org/health", false },
                { "/health", "*", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (path_matches(cases[i].pattern, cases[i].target) != cases[i].hit)
                        TEST_FAIL("'%s' of '%s'", cases[i].pattern, cases[i].target);
}

/* Stars that all fit everywhere cost no more than one pass each. */
static void test_no_pattern_takes_long(void) {
        static char request[REQUEST_PEEK_SIZE];
        char pattern[200];
        int n;

        for (size_t i = 0; i + 1 < sizeof(pattern); i++)
                pattern[i] = i % 2 == 0 ? '*' : 'a';
        pattern[sizeof(pattern) - 2] = 'b';
        pattern[sizeof(pattern) - 1] = '\0';
        n = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nUser-Agent: ");
        memset(request + n, 'a', sizeof(request) - (size_t) n - 5);
        strcpy(request + sizeof(request) - 5, "\r\n\r\n");
        ASSERT_FALSE(matches(pattern, NULL, request));
}

static void test_addresses(void) {
        struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET6, SOCK_STREAM, 0), client, pair[2];
        Rules rules = {}, others = {};

        ASSERT_EQ(rules_add_address(&rules, "nonsense"), -EINVAL);
        ASSERT_EQ(rules_add_address(&rules, "10.0.0.0/33"), -EINVAL);
        ASSERT_OK(rules_add_address(&rules, "192.0.2.0/24"));
        ASSERT_OK(rules_add_address(&rules, "127.0.0.0/8"));
        ASSERT_OK(rules_add_address(&others, "10.0.0.0/8"));
        ASSERT_OK(rules_add_address(&others, "fd00::/8"));
        ASSERT_FALSE(rules_are_about_requests(&rules));

        /* A client over IPv4 of a socket for both families. */
        ASSERT_OK(bind(listener, (struct sockaddr *) &address, size));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &address, &size));
        client = socket(AF_INET, SOCK_STREAM, 0);
        ASSERT_OK(connect(client,
                          (struct sockaddr *) &(struct sockaddr_in){ .sin_family = AF_INET,
                                                                     .sin_port = address.sin6_port,
                                                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
                          sizeof(struct sockaddr_in)));
        pair[0] = accept(listener, NULL, NULL);
        ASSERT_TRUE(rules_match_peer(&rules, pair[0]));
        ASSERT_TRUE(rules_match_peer(&rules, client));
        ASSERT_FALSE(rules_match_peer(&others, pair[0]));
        ASSERT_FALSE(rules_match_peer(&(Rules){}, pair[0]));
        fd_close(pair[0]);
        fd_close(client);
        fd_close(listener);

        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        ASSERT_FALSE(rules_match_peer(&rules, pair[0]));
        fd_close(pair[0]);
        fd_close(pair[1]);
        rules_done(&rules);
        rules_done(&others);
}

int main(void) {
        test_user_agents();
        test_paths();
        test_no_pattern_takes_long();
        test_addresses();
        return 0;
}
