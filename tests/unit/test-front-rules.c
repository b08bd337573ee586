#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

#define BROWSER "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "

static const struct {
        const char *list; /* NULL: in none */
        const char *user_agent;
} agents[] = {
        { "monitors", UPTIME },
        { "monitors", "Uptime-Kuma/1.23.16" },
        { "monitors", "Gatus/1.0" },
        { "monitors", "Blackbox Exporter/0.25.0" },
        { "monitors", "check_http/v2.3.3 (monitoring-plugins 2.3.3)" },
        { "monitors", "Consul Health Check" },
        { "monitors", "ELB-HealthChecker/2.0" },
        { "monitors", "GoogleHC/1.0" },
        { "monitors", "kube-probe/1.29" },
        { "monitors", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)" },
        { "monitors", "Mozilla/5.0 (compatible; NIXStatsbot/1.1; +http://www.nixstats.com/bot.html)" },
        { "monitors", BROWSER
          "Chrome/59.0.3071.115 Safari/537.36 PingdomPageSpeed/1.0 (pingbot/2.0; +http://www.pingdom.com/) PingdomTMS/0.8" },
        { "monitors", "Mozilla/5.0 (compatible; updown.io daemon 2.11; +https://updown.io)" },
        { "monitors", "HetrixTools Uptime Monitoring Bot. https://hetrix.tools/uptime-monitoring-bot.html" },
        { "monitors", BROWSER "HeadlessChrome/120.0.6099.71 Safari/537.36 DatadogSynthetics Datadog/Synthetics" },
        { "monitors",
          "Mozilla/5.0 (compatible;Cloudflare-Healthchecks/1.0;+https://www.cloudflare.com/; healthcheck-id: 1)" },
        { "monitors", "Amazon-Route53-Health-Check-Service (ref 0; report http://amzn.to/1vsZADi)" },
        { "crawlers", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)" },
        { "crawlers",
          "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) "
          "Chrome/103.0.5060.134 Safari/537.36" },
        { "crawlers", "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)" },
        { "crawlers", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)" },
        { "crawlers", "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)" },
        { "crawlers",
          "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)" },
        { "crawlers",
          "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)" },
        { "crawlers",
          "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 "
          "(compatible; Bytespider; spider-feedback@bytedance.com)" },
        { "crawlers", "CCBot/2.0 (https://commoncrawl.org/faq/)" },
        { "crawlers", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)" },
        { "crawlers", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)" },
        { "crawlers", "TelegramBot (like TwitterBot)" },
        { "crawlers", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)" },
        { "crawlers", "WhatsApp/2.23.20.0" },
        { "crawlers", "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)" },
        { "scanners", "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)" },
        { "scanners", "Mozilla/5.0 zgrab/0.x" },
        { "scanners", "masscan/1.3 (https://github.com/robertdavidgraham/masscan)" },
        { "scanners", "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)" },
        { "scanners", "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)" },
        { "scanners", "sqlmap/1.7.2#stable (https://sqlmap.org)" },
        { "scanners",
          "Expanse, a Palo Alto Networks company, searches across the global IPv4 space multiple times per day to identify "
          "customers' presences on the Internet." },
        { "scanners",
          "Hello from Palo Alto Networks, find out more about our scans in https://docs-cortex.paloaltonetworks.com" },
        { "scanners", "Mozilla/5.0 (compatible; InternetMeasurement/1.0; +https://internet-measurement.com/)" },
        { "scanners", "Hello, World" },
        { "scanners", "libredtail-http" },
        /* People, and what works for them. */
        { NULL, BROWSER "Chrome/131.0.0.0 Safari/537.36" },
        { NULL, "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0" },
        { NULL, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
                "Version/18.1 Mobile/15E148 Safari/604.1" },
        { NULL,
          "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36" },
        { NULL, "Mozilla/5.0 (Android) Nextcloud-android/3.30.0" },
        { NULL,
          "Mozilla/5.0 (Linux) mirall/3.14.3 (Nextcloud, debian-6.1.0 ClientArchitecture: x86_64 OsArchitecture: x86_64)" },
        { NULL, "Home Assistant/2024.11.1-14914 (Android 14; Pixel 8)" },
        { NULL, "Immich_Android_1.120.0" },
        { NULL, "Jellyfin Android/2.6.2" },
        { NULL, "Bitwarden_Mobile/2024.10.0 (Android 14)" },
        { NULL, "DAVx5/4.4.3 (2024/10/22; dav4jvm; okhttp/4.12.0) Android/14" },
        { NULL, "git/2.39.5" },
        { NULL, "docker/26.1.5 go/go1.22 kernel/6.1" },
        { NULL, "curl/8.5.0" },
        { NULL, "Wget/1.21.4" },
        { NULL, "python-requests/2.31.0" },
        { NULL, "Go-http-client/1.1" },
        { NULL, "okhttp/4.12.0" },
};

static bool list_has(const char *list, const char *user_agent) {
        _cleanup_free_ char *request = NULL;
        Rules rules = {};
        Request parsed;
        bool hit;

        ASSERT_TRUE(asprintf(&request, "GET / HTTP/1.1\r\nUser-Agent: %s\r\n\r\n", user_agent) > 0);
        ASSERT_OK(rules_add_user_agents_of(&rules, LISTS, list));
        ASSERT_EQ(request_parse(&parsed, request, strlen(request), "demo"), REQUEST_WHOLE);
        hit = rules_match_request(&rules, &parsed);
        rules_done(&rules);
        return hit;
}

static void test_lists(void) {
        static const char *const lists[] = { "monitors", "crawlers", "scanners" };

        for (size_t i = 0; i < ELEMENTSOF(agents); i++)
                for (size_t j = 0; j < ELEMENTSOF(lists); j++)
                        if (list_has(lists[j], agents[i].user_agent) !=
                            (agents[i].list && streq(agents[i].list, lists[j])))
                                TEST_FAIL("'%s' and @%s", agents[i].user_agent, lists[j]);
}

static void test_paths_of_a_list(void) {
        static const char get_env[] = "GET /.env HTTP/1.1\r\n\r\n",
                          get_page[] = "GET /wp-login.php HTTP/1.1\r\n\r\n";
        Rules rules = {};
        Request parsed;

        ASSERT_OK(rules_add_paths_of(&rules, LISTS, "monitors"));
        ASSERT_FALSE(rules_are_about_requests(&rules));
        ASSERT_OK(rules_add_paths_of(&rules, LISTS, "scanners"));
        ASSERT_EQ(request_parse(&parsed, get_env, strlen(get_env), "demo"), REQUEST_WHOLE);
        ASSERT_TRUE(rules_match_request(&rules, &parsed));
        ASSERT_EQ(request_parse(&parsed, get_page, strlen(get_page), "demo"), REQUEST_WHOLE);
        ASSERT_FALSE(rules_match_request(&rules, &parsed));
        rules_done(&rules);
}

static void test_lists_that_are_none(void) {
        char folder[] = "/tmp/test-front-rules-XXXXXX", path[64];
        Rules rules = {};
        FILE *file;

        ASSERT_EQ(rules_add_user_agents_of(&rules, LISTS, "../lists/monitors"), -EINVAL);
        ASSERT_EQ(rules_add_user_agents_of(&rules, LISTS, ""), -EINVAL);
        ASSERT_EQ(rules_add_user_agents_of(&rules, LISTS, "absent"), -ENOENT);
        ASSERT_TRUE(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/odd", folder);
        file = fopen(path, "we");
        ASSERT_TRUE(file);
        ASSERT_TRUE(fputs("# fine\n\npath relative\n", file) >= 0);
        ASSERT_EQ(fclose(file), 0);
        ASSERT_OK(rules_add_user_agents_of(&rules, folder, "odd"));
        ASSERT_EQ(rules_add_paths_of(&rules, folder, "odd"), -EBADMSG);
        ASSERT_EQ(unlink(path), 0);
        ASSERT_EQ(rmdir(folder), 0);
        rules_done(&rules);
}

int main(void) {
        test_lists();
        test_paths_of_a_list();
        test_lists_that_are_none();
        test_user_agents();
        test_paths();
        test_no_pattern_takes_long();
        test_addresses();
        return 0;
}
