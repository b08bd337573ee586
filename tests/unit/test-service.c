#include "model/service.h"
#include "test.h"

static void test_names_are_unit_instances(void) {
        static const char *const good[] = { "clemence", "a", "A-b_c.d", "..a", "0" };
        static const char *const bad[] = { "", ".", "..", "a b", "a/b", "a%b", "a@b", "a\nb", "é", "a\\x2d" };
        char name[SERVICE_NAME_MAX + 2] = {};

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ASSERT_TRUE(service_name_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_FALSE(service_name_is_valid(bad[i]));

        memset(name, 'a', SERVICE_NAME_MAX);
        ASSERT_TRUE(service_name_is_valid(name));
        name[SERVICE_NAME_MAX] = 'a';
        ASSERT_FALSE(service_name_is_valid(name));
}

static void test_find_is_by_name(void) {
        Service services[] = { { .name = (char *) "a" }, { .name = (char *) "b" }, { .name = (char *) "c" } };
        Config config = { .services = services, .n_services = ELEMENTSOF(services) }, empty = {};

        ASSERT_TRUE(config_find(&config, "b") == &services[1]);
        ASSERT_NULL(config_find(&config, "bb"));
        ASSERT_NULL(config_find(&empty, "a"));
}

static void test_main_is_a_container(void) {
        Dependency dependencies[] = {
                { .kind = DEPENDENCY_SERVICE, .name = (char *) "app" },
                { .kind = DEPENDENCY_CONTAINER, .name = (char *) "db" },
                { .kind = DEPENDENCY_CONTAINER, .name = (char *) "app" },
        };
        Service service = { .container = (char *) "app", .dependencies = dependencies, .n_dependencies = 3 };

        ASSERT_TRUE(service_main(&service) == &dependencies[2]);
}

/* Each once, and before all others. */
static void test_owners_are_added(void) {
        static const char *const pairs[] = { "app", "vpn", "job", "vpn", "vpn", "db", "stranger", "x", NULL };
        Service service = { .container = strdup("app"), .dependencies = new0(Dependency, 3), .n_dependencies = 3 };
        char **owners = (char **) pairs;

        service.dependencies[0] =
                        (Dependency){ .kind = DEPENDENCY_CONTAINER, .name = strdup("app"), .start_order = -7 };
        service.dependencies[1] = (Dependency){ .kind = DEPENDENCY_CONTAINER, .name = strdup("job") };
        service.dependencies[2] = (Dependency){ .kind = DEPENDENCY_SERVICE, .name = strdup("db") };
        ASSERT_STREQ(owners_find(owners, "job"), "vpn");
        ASSERT_NULL(owners_find(owners, "db"));
        ASSERT_NULL(owners_find(NULL, "job"));

        for (unsigned round = 0; round < 2; round++) {
                ASSERT_OK(service_add_owners(&service, NULL, owners));
                ASSERT_EQ(service.n_dependencies, 5);
                ASSERT_STREQ(service.dependencies[3].name, "vpn");
                ASSERT_STREQ(service.dependencies[4].name, "db");
                ASSERT_TRUE(service.dependencies[3].implied && service.dependencies[3].start_order < -7);
        }
        ASSERT_OK(service_add_owners(&service, NULL, NULL));
        ASSERT_FALSE(service_find_container(&service, "app")->implied);
        ASSERT_NULL(service_find_container(&service, "x"));
        service_done(&service);
}

/* What a service has that is held awake is not started past it. */
static void test_owners_of_a_needed_service_are_not(void) {
        static const char *const pairs[] = { "app", "vpn", "app", "dns", NULL };
        Dependency vpn[] = { { .kind = DEPENDENCY_CONTAINER, .name = (char *) "vpn" } },
                   network[] = { { .kind = DEPENDENCY_SERVICE, .name = (char *) "tunnel" } };
        Service services[] = {
                { .name = (char *) "tunnel", .dependencies = vpn, .n_dependencies = 1 },
                { .name = (char *) "network", .dependencies = network, .n_dependencies = 1 },
                { .container = strdup("app"), .dependencies = new0(Dependency, 2), .n_dependencies = 2 },
        };
        const Config config = { .services = services, .n_services = ELEMENTSOF(services) };
        Service *service = &services[2];

        service->name = strdup("app");
        service->network = strdup("media");
        service->dependencies[0] = (Dependency){ .kind = DEPENDENCY_SERVICE, .name = strdup("network") };
        service->dependencies[1] = (Dependency){ .kind = DEPENDENCY_CONTAINER, .name = strdup("app") };
        ASSERT_OK(service_add_owners(service, &config, (char **) pairs));
        ASSERT_EQ(service->n_dependencies, 3);
        ASSERT_STREQ(service->dependencies[2].name, "dns");
        ASSERT_STREQ(service->dependencies[2].network, "media");
        service_done(service);
}

static void test_mode_follows_port_and_listen(void) {
        char *listen[] = { (char *) "80", NULL };
        Service redirect = { .port = 80 }, proxy = { .port = 80, .listen = listen }, bot = {};

        ASSERT_TRUE(service_is_redirected(&redirect) && service_has_front(&redirect));
        ASSERT_TRUE(!service_is_redirected(&proxy) && service_has_front(&proxy));
        ASSERT_TRUE(!service_is_redirected(&bot) && !service_has_front(&bot));
}

static void test_udp_is_all_or_nothing(void) {
        char *both[] = { (char *) "80", (char *) "udp:80", NULL },
             *only[] = { (char *) "udp:80", (char *) "udp:81", NULL };

        ASSERT_FALSE(service_is_udp(&(Service){ .port = 80 }));
        ASSERT_FALSE(service_is_udp(&(Service){ .listen = both }));
        ASSERT_TRUE(service_is_udp(&(Service){ .listen = only }));
}

static void test_types_have_names(void) {
        ASSERT_STREQ(dependency_kind_to_string(DEPENDENCY_UNIT), "unit");
}

static void test_names_of_engines(void) {
        static const char *const good[] = { "a", "0", "web-1", "a.b_c" };
        static const char *const bad[] = { "", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "caf\xc3\xa9" };
        char name[257];

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ASSERT_TRUE(engine_name_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_FALSE(engine_name_is_valid(bad[i]));
        ASSERT_FALSE(engine_name_is_valid(NULL));

        memset(name, 'a', sizeof(name));
        name[256] = '\0';
        ASSERT_FALSE(engine_name_is_valid(name));
        name[255] = '\0';
        ASSERT_TRUE(engine_name_is_valid(name));
}

int main(void) {
        test_names_of_engines();
        test_names_are_unit_instances();
        test_find_is_by_name();
        test_main_is_a_container();
        test_owners_are_added();
        test_owners_of_a_needed_service_are_not();
        test_mode_follows_port_and_listen();
        test_udp_is_all_or_nothing();
        test_types_have_names();
        ASSERT_NULL(config_free(NULL));
        return 0;
}
