#include "test.h"
#include "web/guard.h"

static void test_targets(void) {
        static const char *const wrong[] = { "",          "*",    "x",     "http://localhost/",
                                             "//",        "//x",  "/a//b", "/%61",
                                             "/a\\b",     "/a b", "/a\tb", "/\x7f",
                                             "/\xc3\xa9", "/#",   "/a%00", "/a%2e" };
        _cleanup_free_ char *path = NULL, *other = NULL, *empty = NULL;
        const char *query = NULL;
        char *unset = NULL;

        ASSERT_OK(guard_split_target("/api/wake/a?dryRun=true", &path, &query));
        ASSERT_STREQ(path, "/api/wake/a");
        ASSERT_STREQ(query, "dryRun=true");
        ASSERT_OK(guard_split_target("/", &other, &query));
        ASSERT_STREQ(other, "/");
        ASSERT_NULL(query);
        ASSERT_OK(guard_split_target("/?", &empty, &query));
        ASSERT_STREQ(query, "");
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                ASSERT_ERROR(guard_split_target(wrong[i], &unset, &query), EINVAL);
        ASSERT_NULL(unset);
}

static void test_hosts(void) {
        static const char *const ours[] = { "localhost",        "localhost:3456", "LocalHost",
                                            "localhost.",       "localhost.:80",  "127.0.0.1",
                                            "127.0.0.1:3456",   "192.168.1.5",    "[::1]",
                                            "[::1]:3456",       "[fe80::1]",      "wake.example",
                                            "WAKE.example:443", "wake.example." };
        static const char *const others[] = { "",
                                              ":",
                                              ":80",
                                              "evil.example",
                                              "localhost.evil.example",
                                              "localhost:x",
                                              "localhost:80:90",
                                              "localhost:123456",
                                              "localhost/",
                                              "127.0.0.1.evil.example",
                                              "127.0.0.1x",
                                              "127.1",
                                              "2130706433",
                                              "0x7f.1",
                                              "::1",
                                              "[::1",
                                              "[::1]x",
                                              "[::1]:",
                                              "[localhost]",
                                              "[]",
                                              "a.wake.example",
                                              "wake.example.evil",
                                              "wake.examplee",
                                              "localhost..",
                                              "localhost " };
        char *names[] = { (char *) "wake.example", NULL };

        for (size_t i = 0; i < ELEMENTSOF(ours); i++)
                if (!guard_host_is_ours(ours[i], names))
                        TEST_FAIL("'%s' is ours", ours[i]);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                /* An empty port is as good as none: RFC 3986. */
                if (!streq(others[i], "[::1]:") && guard_host_is_ours(others[i], names))
                        TEST_FAIL("'%s' is not ours", others[i]);
        ASSERT_FALSE(guard_host_is_ours("wake.example", NULL));
}

static void test_origins(void) {
        ASSERT_TRUE(guard_origin_is_same("http://localhost:3456", "localhost:3456"));
        ASSERT_TRUE(guard_origin_is_same("https://wake.example", "wake.example"));
        ASSERT_TRUE(guard_origin_is_same("HTTP://LOCALHOST", "localhost"));
        ASSERT_FALSE(guard_origin_is_same("http://localhost:3457", "localhost:3456"));
        ASSERT_FALSE(guard_origin_is_same("http://localhost", "localhost:3456"));
        ASSERT_FALSE(guard_origin_is_same("http://evil.example", "localhost"));
        ASSERT_FALSE(guard_origin_is_same("null", "localhost"));
        ASSERT_FALSE(guard_origin_is_same("", ""));
        ASSERT_FALSE(guard_origin_is_same("localhost", "localhost"));
        ASSERT_FALSE(guard_origin_is_same("ftp://localhost", "localhost"));
        ASSERT_FALSE(guard_origin_is_same("http://localhost/", "localhost"));
}

static void test_dry_run(void) {
        bool dry_run = false;

        ASSERT_OK(guard_parse_dry_run(NULL, &dry_run));
        ASSERT_FALSE(dry_run);
        ASSERT_OK(guard_parse_dry_run("dryRun=true", &dry_run));
        ASSERT_TRUE(dry_run);
        ASSERT_OK(guard_parse_dry_run("dryRun=false", &dry_run));
        ASSERT_FALSE(dry_run);
        ASSERT_ERROR(guard_parse_dry_run("", &dry_run), EINVAL);
        ASSERT_ERROR(guard_parse_dry_run("dryRun", &dry_run), EINVAL);
        ASSERT_ERROR(guard_parse_dry_run("dryrun=true", &dry_run), EINVAL);
        ASSERT_ERROR(guard_parse_dry_run("dryRun=true&x", &dry_run), EINVAL);
}

int main(void) {
        test_targets();
        test_hosts();
        test_origins();
        test_dry_run();
        return 0;
}
