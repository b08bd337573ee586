#include <stdio.h>
#include <unistd.h>

#include "io/redirect.h"
#include "test.h"
#include "util/fd.h"

/* What needs no packets: where a service is published, the file that keeps it, and the lock. */

static const RedirectBindings unknown = {};
static const RedirectBindings everywhere = { .known = true, .any_ipv4 = true, .any_ipv6 = true };
static const RedirectBindings ipv4_only = { .known = true, .any_ipv4 = true };
static const RedirectBindings addresses_only = {
        .known = true,
        .addresses = (char *[]){ (char *) "10.77.0.1", (char *) "fd77::1", NULL },
};

static void test_bindings_from_ports(void) {
        const PortBinding bindings[] = {
                { .container_port = 80, .host_port = 1, .host_ip = (char *) "", .tcp = true },
                { .container_port = 80, .host_port = 2, .host_ip = (char *) "0.0.0.0", .tcp = true },
                { .container_port = 80, .host_port = 3, .host_ip = (char *) "::", .tcp = true },
                { .container_port = 80, .host_port = 4, .host_ip = (char *) "127.0.0.1", .tcp = true },
                { .container_port = 81, .host_port = 4, .host_ip = (char *) "FD00:0:0::5", .tcp = true },
                { .container_port = 81, .host_port = 4, .host_ip = (char *) "fd00::5", .tcp = true },
                { .container_port = 80, .host_port = 5, .host_ip = (char *) "", .tcp = false },
                { .container_port = 80, .host_port = 6, .host_ip = (char *) "; flush ruleset", .tcp = true },
        };
        static const struct {
                int published;
                bool any_ipv4, any_ipv6;
                size_t n_addresses;
        } expected[] = { { 0, false, false, 0 }, { 1, true, true, 0 },   { 1, true, false, 0 },
                         { 1, false, true, 0 },  { 1, false, false, 2 }, { 0, false, false, 0 },
                         { 1, false, false, 0 } };

        for (uint16_t port = 0; port < ELEMENTSOF(expected); port++) {
                RedirectBindings found;

                ASSERT_EQ(redirect_bindings_from_ports(&found, bindings, ELEMENTSOF(bindings), port),
                          expected[port].published);
                ASSERT_EQ(found.known, expected[port].published);
                ASSERT_EQ(found.any_ipv4, expected[port].any_ipv4);
                ASSERT_EQ(found.any_ipv6, expected[port].any_ipv6);
                ASSERT_EQ(strv_length(found.addresses), expected[port].n_addresses);
                if (port == 4)
                        ASSERT_STREQ(found.addresses[1], "fd00::5");
                redirect_bindings_done(&found);
        }
}

static void assert_loads(const char *root, const RedirectBindings *expected) {
        RedirectBindings loaded;

        ASSERT_OK(redirect_bindings_load(&loaded, root, "clemence"));
        ASSERT_TRUE(redirect_bindings_equal(&loaded, expected));
        redirect_bindings_done(&loaded);
}

static void test_bindings_file(const char *root) {
        static const char *const bad[] = { "",
                                           "{",
                                           "[]",
                                           "{\"ipv4\":true}",
                                           "{\"ipv4\":1,\"ipv6\":false,\"addresses\":[]}",
                                           "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[\"localhost\"]}",
                                           "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[7]}",
                                           "{\"ipv4\":true,\"ipv6\":false,\"addresses\":{}}" };
        _cleanup_free_ char *path = NULL;

        assert_loads(root, &unknown);
        ASSERT_EQ(redirect_bindings_save(&unknown, root, "clemence"), 0);
        ASSERT_EQ(redirect_bindings_save(&addresses_only, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&addresses_only, root, "clemence"), 0);
        assert_loads(root, &addresses_only);
        ASSERT_EQ(redirect_bindings_save(&ipv4_only, root, "clemence"), 1);
        assert_loads(root, &ipv4_only);

        ASSERT_TRUE(asprintf(&path, "%s/var/lib/wakechain/bindings/clemence.json", root) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ASSERT_OK(file_replace(path, bad[i], strlen(bad[i]), 0644, false));
                assert_loads(root, &unknown);
        }
        ASSERT_EQ(redirect_bindings_save(&everywhere, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&unknown, root, "clemence"), 1);
        ASSERT_TRUE(access(path, F_OK) < 0);
}

static void test_lock(const char *root) {
        _cleanup_free_ char *folder = NULL;
        int lock;

        ASSERT_ERROR(redirect_lock(root), ENOENT);
        ASSERT_TRUE(asprintf(&folder, "%s/run/wakechain", root) >= 0);
        ASSERT_OK(directory_make(folder));
        lock = redirect_lock(root);
        ASSERT_OK(lock);
        ASSERT_ERROR(redirect_lock(root), EAGAIN);
        fd_close(lock);
        lock = redirect_lock(root);
        ASSERT_OK(lock);
        fd_close(lock);
}

static void test_mark(const char *root) {
        static const char *const bad[] = { "",           "9002",       "0 29002", "9002 0", "65536 29002",
                                           "9002 99999", "memvid 9002" };
        _cleanup_free_ char *folder = NULL, *path = NULL;
        RedirectMark mark;

        ASSERT_TRUE(asprintf(&folder, "%s/run/wakechain/redirect", root) >= 0);
        ASSERT_TRUE(asprintf(&path, "%s/clemence", folder) >= 0);
        ASSERT_FALSE(redirect_is_marked(root, "clemence"));
        ASSERT_OK(directory_make(folder));
        ASSERT_FALSE(redirect_is_marked(root, "clemence"));
        ASSERT_OK(file_replace(path, "9002 29002\n", 11, 0644, false));
        ASSERT_TRUE(redirect_is_marked(root, "clemence"));

        ASSERT_OK(redirect_mark_read(&mark, root, "clemence"));
        ASSERT_EQ(mark.port, 9002);
        ASSERT_EQ(mark.redirect_port, 29002);
        ASSERT_STREQ(mark.rival, "");
        ASSERT_OK(file_replace(path, "9002 29002 memvid\n", 18, 0644, false));
        ASSERT_OK(redirect_mark_read(&mark, root, "clemence"));
        ASSERT_STREQ(mark.rival, "memvid");
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                ASSERT_OK(file_replace(path, bad[i], strlen(bad[i]), 0644, false));
                ASSERT_ERROR(redirect_mark_read(&mark, root, "clemence"), EBADMSG);
        }
        ASSERT_ERROR(redirect_mark_read(&mark, root, "nobody"), ENOENT);
}

int main(void) {
        char root[] = "/tmp/test-redirect-bindings-XXXXXX", *command;

        ASSERT_TRUE(mkdtemp(root));
        test_bindings_from_ports();
        test_bindings_file(root);
        test_lock(root);
        test_mark(root);

        ASSERT_TRUE(asprintf(&command, "rm -r %s", root) >= 0);
        ASSERT_EQ(system(command), 0);
        free(command);
        return 0;
}
