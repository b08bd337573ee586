#include <stdio.h>

#include "nft/redirect.h"
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
                { .container_port = 80,
                  .host_port = 7,
                  .host_port_last = 9,
                  .host_ip = (char *) "::",
                  .tcp = true },
        };
        static const struct {
                int published;
                bool any_ipv4, any_ipv6;
                size_t n_addresses;
        } expected[] = { { 0, false, false, 0 }, { 1, true, true, 0 },   { 1, true, false, 0 },
                         { 1, false, true, 0 },  { 1, false, false, 2 }, { 0, false, false, 0 },
                         { 1, false, false, 0 }, { 1, false, true, 0 },  { 1, false, true, 0 },
                         { 1, false, true, 0 },  { 0, false, false, 0 } };

        for (uint16_t port = 0; port < ELEMENTSOF(expected); port++) {
                RedirectBindings found;

                ASSERT_EQ(redirect_bindings_from_ports(&found, bindings, ELEMENTSOF(bindings), port, false),
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
        ASSERT_TRUE(loaded.known == expected->known && loaded.any_ipv4 == expected->any_ipv4 &&
                    loaded.any_ipv6 == expected->any_ipv6);
        ASSERT_EQ(strv_length(loaded.addresses), strv_length(expected->addresses));
        for (size_t i = 0; i < strv_length(expected->addresses); i++)
                ASSERT_STREQ(loaded.addresses[i], expected->addresses[i]);
        redirect_bindings_done(&loaded);
}

static void assert_kept(const char *root, const char *publisher, const char *seen) {
        RedirectBindings loaded;

        ASSERT_OK(redirect_bindings_load(&loaded, root, "clemence"));
        ASSERT_STREQ(strempty(loaded.publisher), publisher);
        ASSERT_STREQ(strempty(loaded.seen), seen);
        redirect_bindings_done(&loaded);
}

static void test_bindings_file(const char *root) {
        static const char *const bad[] = {
                "",
                "{",
                "[]",
                "{\"ipv4\":true}",
                "{\"ipv4\":1,\"ipv6\":false,\"addresses\":[]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[\"localhost\"]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[7]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[],\"ports\":[{}]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[],\"ports\":[{\"port\":70000}]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":[],\"ports\":[{\"port\":1},{\"port\":1}]}",
                "{\"ipv4\":true,\"ipv6\":false,\"addresses\":{}}"
        };
        _cleanup_free_ char *path = NULL;

        assert_loads(root, &unknown);
        ASSERT_EQ(redirect_bindings_save(&unknown, root, "clemence"), 1);
        assert_loads(root, &unknown);
        ASSERT_EQ(redirect_bindings_save(&addresses_only, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&addresses_only, root, "clemence"), 0);
        assert_loads(root, &addresses_only);
        ASSERT_EQ(redirect_bindings_save(&ipv4_only, root, "clemence"), 1);
        assert_loads(root, &ipv4_only);

        ASSERT_TRUE(asprintf(&path, "%s/var/lib/wakechain/bindings/clemence.json", root) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ASSERT_OK(file_replace(path, bad[i], strlen(bad[i]), 0644, false));
                assert_loads(root, &unknown);
                assert_kept(root, "", "");
        }
        ASSERT_EQ(redirect_bindings_save(&everywhere, root, "clemence"), 1);
        assert_loads(root, &everywhere);
}

static void test_further_ports_are_kept(const char *root) {
        RedirectBindings bindings = { .known = true, .any_ipv4 = true, .publisher = strdup("web") },
                         ssh = { .known = true, .any_ipv6 = true, .publisher = strdup("ssh") },
                         lan = { .known = true }, unknown_port = {}, loaded;

        ASSERT_OK(strv_append(&lan.addresses, "192.168.1.5"));
        ASSERT_OK(redirect_bindings_add_further(&bindings, 2222, false, &ssh));
        ASSERT_OK(redirect_bindings_add_further(&bindings, 7, false, &unknown_port));
        ASSERT_OK(redirect_bindings_add_further(&bindings, 5432, false, &lan));
        bindings.further[2].rival = strdup("other");
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 0);

        ASSERT_OK(redirect_bindings_load(&loaded, root, "clemence"));
        ASSERT_EQ(loaded.n_further, 3);
        ASSERT_EQ(loaded.further[0].port, 7);
        ASSERT_FALSE(loaded.further[0].bindings.known);
        ASSERT_STREQ(redirect_bindings_further(&loaded, 2222, false)->bindings.publisher, "ssh");
        ASSERT_TRUE(redirect_bindings_further(&loaded, 2222, false)->bindings.any_ipv6);
        ASSERT_STREQ(redirect_bindings_further(&loaded, 5432, false)->rival, "other");
        ASSERT_STREQ(redirect_bindings_further(&loaded, 5432, false)->bindings.addresses[0], "192.168.1.5");
        ASSERT_NULL(redirect_bindings_further(&loaded, 1, false));

        /* The same number on other addresses is another port. */
        ASSERT_TRUE(redirect_bindings_meet(&loaded.further[1].bindings, &loaded.further[1].bindings));
        ASSERT_TRUE(redirect_bindings_meet(&loaded.further[2].bindings, &loaded));
        ASSERT_TRUE(redirect_bindings_meet(&loaded, &loaded.further[2].bindings));
        ASSERT_FALSE(redirect_bindings_meet(&loaded.further[1].bindings, &loaded));
        ASSERT_FALSE(redirect_bindings_meet(&loaded.further[0].bindings, &loaded));
        redirect_bindings_done(&bindings);
        redirect_bindings_done(&loaded);
}

static void test_owners_are_kept(const char *root) {
        static const char *const bad[] = { "{\"owners\":[\"app\"]}", "{\"owners\":[\"app\",7]}",
                                           "{\"owners\":[\"app\",\"../vpn\"]}" };
        RedirectBindings bindings = {}, loaded;
        _cleanup_free_ char *path = NULL;

        ASSERT_OK(strv_append(&bindings.owners, "app"));
        ASSERT_OK(strv_append(&bindings.owners, "vpn"));
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "joined"), 1);
        redirect_bindings_done(&bindings);
        ASSERT_OK(redirect_bindings_load(&loaded, root, "joined"));
        ASSERT_STREQ(owners_find(loaded.owners, "app"), "vpn");
        redirect_bindings_done(&loaded);

        ASSERT_TRUE(asprintf(&path, "%s/var/lib/wakechain/bindings/joined.json", root) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ASSERT_OK(file_replace(path, bad[i], strlen(bad[i]), 0644, false));
                ASSERT_OK(redirect_bindings_load(&loaded, root, "joined"));
                ASSERT_NULL(loaded.owners);
        }
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

/* What it was learned from is kept, too, also when that was that nobody publishes the port. */
static void test_what_it_was_learned_from(const char *root) {
        RedirectBindings bindings = everywhere;

        ASSERT_OK(redirect_bindings_save(&everywhere, root, "clemence"));
        bindings.publisher = (char *) "web";
        bindings.seen = (char *) "0123,9002";
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 0);
        assert_loads(root, &everywhere);
        assert_kept(root, "web", "0123,9002");

        bindings.seen = (char *) "4567,9002";
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 1);
        bindings.publisher = (char *) "db";
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 1);
        assert_kept(root, "db", "4567,9002");

        bindings = unknown;
        bindings.seen = (char *) "9002";
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 1);
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "clemence"), 0);
        assert_loads(root, &unknown);
        assert_kept(root, "", "9002");
}

/* Who may put one there may not write where it leads. */
static void test_link_in_the_place_of_the_folder(const char *root) {
        _cleanup_free_ char *folder = NULL, *elsewhere = NULL;

        ASSERT_TRUE(asprintf(&folder, "%s/var/lib/wakechain/bindings", root) >= 0);
        ASSERT_TRUE(asprintf(&elsewhere, "%s/elsewhere", root) >= 0);
        ASSERT_EQ(rename(folder, elsewhere), 0);
        ASSERT_EQ(symlink(elsewhere, folder), 0);
        assert_loads(root, &unknown);
        ASSERT_ERROR(redirect_bindings_save(&everywhere, root, "clemence"), ENOTDIR);
        ASSERT_ERROR(redirect_bindings_save(&everywhere, root, "another"), ENOTDIR);
        assert_loads(root, &unknown);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NETWORK "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

#define LONG63 "abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghijklmnopqrstuvwxy"

/* Its own name, the compose service, aliases in small letters and once; no id, no domain name, nothing of networks that have no names. */
static void test_names(const char *root) {
        static const char body[] = "{\"Id\":\"" ID "\",\"Name\":\"/Shop-web-1\","
                                   "\"State\":{\"Running\":false},"
                                   "\"Config\":{\"Labels\":{\"com.docker.compose.service\":\"web\"}},"
                                   "\"NetworkSettings\":{\"Networks\":{"
                                   "\"bridge\":{\"NetworkID\":\"" ID "\",\"Aliases\":null},"
                                   "\"gone\":{\"NetworkID\":\"\",\"Aliases\":[\"x\"]},"
                                   "\"new\":{\"NetworkID\":\"\",\"Aliases\":[\"y\"]},"
                                   "\"proxy\":{\"NetworkID\":\"" NETWORK "\",\"Aliases\":[\"web\",\"SHOP\","
                                   "\"0123456789ab\",\"shop.example\",\"localhost\",\"a b\",\"_x\"]}}}}";
        char *const networks[] = { (char *) NETWORK, (char *) "proxy", (char *) ID, (char *) "new", NULL };
        static const char *const expected[] = { "shop-web-1", "web", "shop", "_x" };
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        RedirectBindings bindings = { .known = true }, loaded;

        ASSERT_OK(container_info_parse(&info, body, strlen(body)));
        ASSERT_OK(redirect_bindings_add_names(&bindings, info, networks, NULL));
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "names"), 1);
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "names"), 0);
        ASSERT_OK(redirect_bindings_load(&loaded, root, "names"));
        ASSERT_EQ(loaded.n_networks, 2);
        /* One that was never started does not know the network by its id. */
        ASSERT_STREQ(loaded.networks[0].bridge, "br-0123456789ab");
        ASSERT_STREQ(loaded.networks[0].names[2], "y");
        ASSERT_STREQ(loaded.networks[1].bridge, "br-fedcba987654");
        ASSERT_EQ(strv_length(loaded.networks[1].names), ELEMENTSOF(expected));
        for (size_t i = 0; i < ELEMENTSOF(expected); i++)
                ASSERT_STREQ(loaded.networks[1].names[i], expected[i]);
        redirect_bindings_done(&loaded);
        redirect_bindings_done(&bindings);
}

/* Of a further container, which may be gone for a while. */
static void test_names_of_further_containers(const char *root) {
        static const char body[] =
                        "{\"Id\":\"" ID "\",\"Name\":\"/api\",\"State\":{\"Running\":false},\"NetworkSettings\":{"
                        "\"Networks\":{\"proxy\":{\"NetworkID\":\"" NETWORK "\",\"Aliases\":null}}}}";
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        RedirectBindings bindings = { .known = true }, loaded, kept = { .known = true };

        ASSERT_OK(container_info_parse(&info, body, strlen(body)));
        ASSERT_OK(redirect_bindings_add_names(&bindings, info, NULL, NULL));
        ASSERT_OK(redirect_bindings_add_names(&bindings, info, NULL, "api"));
        ASSERT_EQ(redirect_bindings_save(&bindings, root, "further"), 1);
        ASSERT_OK(redirect_bindings_load(&loaded, root, "further"));
        ASSERT_EQ(loaded.n_networks, 2);
        ASSERT_NULL(loaded.networks[0].container);
        ASSERT_STREQ(loaded.networks[1].container, "api");
        ASSERT_OK(redirect_bindings_keep_names(&kept, &loaded, "api"));
        ASSERT_OK(redirect_bindings_keep_names(&kept, &loaded, "other"));
        ASSERT_EQ(kept.n_networks, 1);
        ASSERT_STREQ(kept.networks[0].bridge, "br-fedcba987654");
        ASSERT_STREQ(kept.networks[0].names[0], "api");
        redirect_bindings_done(&kept);
        redirect_bindings_done(&loaded);
        redirect_bindings_done(&bindings);
}

static void test_which_names_resolve(void) {
        static const char *const good[] = { "a", "A-b_9", "_x", "-", LONG63 }, *const bad[] = {
                "", "a.b", "localhost", "LocalHost", "b\xc3\xbc", "a b", LONG63 "x"
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ASSERT_TRUE(redirect_name_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_FALSE(redirect_name_is_valid(bad[i]));
}

static void test_names_that_are_none(const char *root) {
        static const char *const bad[] = { "[7]",
                                           "[{}]",
                                           "[{\"bridge\":\"br-0\"}]",
                                           "[{\"bridge\":\"a b\",\"names\":[]}]",
                                           "[{\"bridge\":\"br-0123456789abcd\",\"names\":[]}]",
                                           "[{\"bridge\":\"\\\"\",\"names\":[]}]" };
        _cleanup_free_ char *path = NULL;

        ASSERT_TRUE(asprintf(&path, "%s/var/lib/wakechain/bindings/names.json", root) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = NULL;
                RedirectBindings loaded;

                ASSERT_TRUE(asprintf(&text, "{\"networks\":%s,\"seen\":\"x\"}", bad[i]) > 0);
                ASSERT_OK(file_replace(path, text, strlen(text), 0644, false));
                ASSERT_OK(redirect_bindings_load(&loaded, root, "names"));
                ASSERT_TRUE(loaded.n_networks == 0 && !loaded.seen);
        }
}

int main(void) {
        char root[] = "/tmp/test-redirect-bindings-XXXXXX", *command;

        ASSERT_TRUE(mkdtemp(root));
        test_bindings_from_ports();
        test_bindings_file(root);
        test_further_ports_are_kept(root);
        test_owners_are_kept(root);
        test_lock(root);
        test_what_it_was_learned_from(root);
        test_names(root);
        test_names_of_further_containers(root);
        test_which_names_resolve();
        test_names_that_are_none(root);
        test_link_in_the_place_of_the_folder(root);

        ASSERT_TRUE(asprintf(&command, "rm -r %s", root) >= 0);
        ASSERT_EQ(system(command), 0);
        free(command);
        return 0;
}
