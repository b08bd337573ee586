#include "nft/backend.h"
#include "test.h"

static ContainerNetwork two_networks[] = {
        { .name = (char *) "first", .ipv4 = (char *) "172.18.0.2" },
        { .name = (char *) "second", .ipv4 = (char *) "172.19.0.4", .ipv6 = (char *) "fd00::4" },
};
static PortBinding binding_9002[] = {
        { .container_port = 443, .host_port = 9443, .host_ip = (char *) "", .tcp = true },
        { .container_port = 80, .host_port = 9002, .host_ip = (char *) "127.0.0.1", .tcp = true },
        { .container_port = 53, .host_port = 9002, .host_ip = (char *) "", .udp = true },
        { .container_port = 99, .host_port = 9003, .host_ip = (char *) "" }, /* SCTP */
};
static uint16_t one_port[] = { 9000 }, two_ports[] = { 80, 443 }, udp_ports[] = { 5353, 53 };

static const ContainerInfo publisher = {
        .bindings = binding_9002,
        .n_bindings = ELEMENTSOF(binding_9002),
        .networks = two_networks,
        .n_networks = ELEMENTSOF(two_networks),
};
static const ContainerInfo exposes_one = {
        .exposed = one_port,
        .n_exposed = 1,
        .networks = two_networks,
        .n_networks = 1,
};
static const ContainerInfo exposes_two = { .exposed = two_ports, .n_exposed = 2 };
static const ContainerInfo exposes_udp = {
        .exposed = one_port,
        .n_exposed = 1,
        .exposed_udp = udp_ports,
        .n_exposed_udp = ELEMENTSOF(udp_ports),
        .networks = two_networks,
        .n_networks = 1,
};
static const ContainerInfo unpublished = {};
static const ContainerInfo on_host = { .network_mode = (char *) "host" };

static Dependency dependencies[] = {
        { .name = (char *) "app" },
        { .name = (char *) "proxy", .network = (char *) "second", .type = DEPENDENCY_OPTIONAL },
};

static Service make_service(uint16_t port) {
        return (Service){
                .name = (char *) "clemence",
                .container = (char *) "app",
                .port = port,
                .dependencies = dependencies,
                .n_dependencies = ELEMENTSOF(dependencies),
        };
}

static char **addresses(const Backend *backend, const Service *service, const ContainerInfo *const *infos) {
        char **list = NULL;

        ASSERT_OK(backend_addresses(backend, service, infos, &list));
        return list;
}

static void test_container_that_publishes_the_port(void) {
        const ContainerInfo *infos[] = { &exposes_one, &publisher };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_EQ(backend.member, 1);
        ASSERT_EQ(backend.port, 80);
        ASSERT_EQ(backend.publisher, 1);
        ASSERT_EQ(backend.publisher_port, 80);

        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 2);
        ASSERT_STREQ(list[0], "172.19.0.4:80");
        ASSERT_STREQ(list[1], "[fd00::4]:80");
}

static void test_only_exposed_port_of_the_main_container(void) {
        const ContainerInfo *infos[] = { &exposes_one, &unpublished };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_EQ(backend.member, 0);
        ASSERT_EQ(backend.port, 9000);
        ASSERT_TRUE(backend.publisher == BACKEND_NO_MEMBER);
        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 1);
        ASSERT_STREQ(list[0], "172.18.0.2:9000");
}

static void test_nothing_tells_where_clients_go(void) {
        const ContainerInfo *infos[] = { &exposes_two, &unpublished };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_free_ char *text = NULL;

        ASSERT_ERROR(backend_resolve(&backend, &service, infos, &text), ENODATA);
        ASSERT_TRUE(strstr(text, "9002") && strstr(text, "'backend'") && strstr(text, "'app'"));
}

static void test_proxy_mode_falls_back_to_the_port_on_loopback(void) {
        char *listen[] = { (char *) "0.0.0.0:80", NULL };
        const ContainerInfo *infos[] = { &exposes_two, NULL };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        service.listen = listen;
        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_TRUE(backend.member == BACKEND_NO_MEMBER);
        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 1);
        ASSERT_STREQ(list[0], "127.0.0.1:9002");
}

static void test_configured_container_and_host(void) {
        const ContainerInfo *infos[] = { &exposes_one, &publisher };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend container = {}, host = {}, prefix = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        service.backend = (char *) "app:8080";
        ASSERT_OK(backend_resolve(&container, &service, infos, &text));
        ASSERT_EQ(container.member, 0);
        ASSERT_EQ(container.port, 8080);
        ASSERT_EQ(container.publisher, 1);

        service.backend = (char *) "[::1]:8080";
        ASSERT_OK(backend_resolve(&host, &service, infos, &text));
        ASSERT_TRUE(host.member == BACKEND_NO_MEMBER);
        list = addresses(&host, &service, infos);
        ASSERT_STREQ(list[0], "[::1]:8080");

        service.backend = (char *) "ap:8080";
        ASSERT_OK(backend_resolve(&prefix, &service, infos, &text));
        ASSERT_TRUE(prefix.member == BACKEND_NO_MEMBER);
}

static void test_main_container_on_the_host_network(void) {
        const ContainerInfo *infos[] = { &on_host, NULL };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_EQ(backend.publisher, 0);
        ASSERT_EQ(backend.publisher_port, 9002);
        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 1);
        ASSERT_STREQ(list[0], "127.0.0.1:9002");
}

static void test_service_without_a_front_has_none(void) {
        const ContainerInfo *infos[] = { &exposes_two, &publisher };
        Service service = make_service(0);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_TRUE(backend.member == BACKEND_NO_MEMBER && backend.publisher == BACKEND_NO_MEMBER);
        ASSERT_NULL(backend.address);
        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 0);
}

static void test_missing_container_may_be_the_one_that_publishes(void) {
        const ContainerInfo *infos[] = { &exposes_one, NULL };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_free_ char *text = NULL;

        ASSERT_ERROR(backend_resolve(&backend, &service, infos, &text), ENOENT);
        ASSERT_TRUE(strstr(text, "9002") && strstr(text, "'proxy'"));
}

static void test_stopped_container_has_no_address(void) {
        static const ContainerInfo stopped = { .bindings = binding_9002, .n_bindings = ELEMENTSOF(binding_9002) };
        const ContainerInfo *infos[] = { &exposes_one, &stopped };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_free_ char *text = NULL;

        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_EQ(backend.member, 1);
        list = addresses(&backend, &service, infos);
        ASSERT_EQ(strv_length(list), 0);
}

/* A connection to it would come back to the front. */
static void test_own_address_is_no_default(void) {
        static char *const own[] = { (char *) "9002", (char *) "127.0.0.1:9002", (char *) "0.0.0.0:9002",
                                     (char *) "udp:9002" };
        const ContainerInfo *infos[] = { &exposes_one, &unpublished }, *unknown[] = { &exposes_two, &unpublished };

        for (size_t i = 0; i < ELEMENTSOF(own); i++) {
                char *listen[] = { (char *) "/run/x.sock", own[i], NULL };
                Service service = make_service(9002);
                _cleanup_(backend_done) Backend backend = {};
                _cleanup_free_ char *text = NULL;

                service.listen = listen;
                ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
                ASSERT_EQ(backend.member, 0);
                ASSERT_EQ(backend.port, 9000);
                ASSERT_ERROR(backend_resolve(&backend, &service, unknown, &text), ENODATA);
        }
}

/* "9002-9005:80" of two containers, such as two of one compose service, at these ports. */
static void resolve_range(uint16_t first, uint16_t second, size_t expected, bool direct, uint16_t elsewhere) {
        PortBinding bindings[] = {
                { .container_port = 81,
                  .host_port = 9002,
                  .host_port_last = 9005,
                  .host_ip = (char *) "",
                  .tcp = true },
                { .container_port = 82,
                  .host_port = 9002,
                  .host_port_last = 9005,
                  .host_ip = (char *) "",
                  .tcp = true },
        };
        const ContainerInfo containers[] = { { .bindings = &bindings[0], .n_bindings = 1 },
                                             { .bindings = &bindings[1], .n_bindings = 1 } };
        const ContainerInfo *infos[] = { &containers[0], &containers[1] };
        Service service = make_service(9003);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_free_ char *text = NULL;
        uint16_t where;

        bindings[0].taken_ipv4 = bindings[0].taken_ipv6 = first;
        bindings[1].taken_ipv4 = second;
        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_EQ(backend.publisher, expected);
        ASSERT_EQ(backend.member, expected);
        ASSERT_EQ(backend.port, 81 + expected);
        ASSERT_EQ(backend_is_direct(&backend, &service, infos, &where), direct);
        ASSERT_EQ(where, elsewhere);
}

static void test_range_of_ports(void) {
        resolve_range(0, 0, 0, false, 0);
        resolve_range(9003, 0, 0, true, 0);
        resolve_range(9004, 0, 0, false, 9004);
        resolve_range(9004, 9003, 1, true, 0);
        resolve_range(9003, 9003, 0, true, 0);
        resolve_range(9002, 9004, 0, false, 9002);
}

static void test_direct(void) {
        const ContainerInfo *infos[] = { &exposes_one, &publisher }, *none[] = { &exposes_one, &unpublished },
                            *host[] = { &on_host, NULL };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend one = {}, other = {}, third = {};
        _cleanup_free_ char *text = NULL;
        uint16_t elsewhere;

        ASSERT_OK(backend_resolve(&one, &service, infos, &text));
        ASSERT_TRUE(backend_is_direct(&one, &service, infos, &elsewhere));
        ASSERT_OK(backend_resolve(&other, &service, none, &text));
        ASSERT_FALSE(backend_is_direct(&other, &service, none, &elsewhere));
        ASSERT_EQ(elsewhere, 0);
        ASSERT_OK(backend_resolve(&third, &service, host, &text));
        ASSERT_TRUE(backend_is_direct(&third, &service, host, &elsewhere));
}

static Backend resolve_udp(uint16_t port, const char *address, const ContainerInfo *info, int error) {
        char *listen[] = { (char *) address, NULL };
        const ContainerInfo *infos[] = { info, &unpublished };
        Service service = make_service(port);
        Backend backend = {};
        _cleanup_free_ char *text = NULL;

        service.listen = listen;
        ASSERT_ERROR(backend_resolve(&backend, &service, infos, &text), error);
        ASSERT_TRUE(error != 0 ? !!strstr(text, "UDP") : backend.udp);
        return backend;
}

static void test_udp_goes_to_a_port_of_udp(void) {
        _cleanup_(backend_done) Backend published = resolve_udp(9002, "udp:53", &publisher, 0);
        _cleanup_(backend_done) Backend same = resolve_udp(53, "udp:53", &exposes_udp, 0);
        _cleanup_(backend_done) Backend host = resolve_udp(7, "udp:53", &exposes_udp, 0);

        ASSERT_EQ(published.member, 0);
        ASSERT_EQ(published.port, 53);
        ASSERT_EQ(same.member, 0);
        ASSERT_EQ(same.port, 53);
        ASSERT_TRUE(host.member == BACKEND_NO_MEMBER);
        ASSERT_STREQ(host.address, "127.0.0.1:7");
        /* A port of TCP is none. */
        (void) resolve_udp(53, "udp:53", &exposes_one, ENODATA);
        (void) resolve_udp(9003, "udp:9003", &publisher, ENODATA);
}

static void test_udp_beside_tcp_has_the_same_port(void) {
        char *listen[] = { (char *) "10.0.0.1:53", (char *) "udp:10.0.0.1:53", NULL };
        const ContainerInfo *infos[] = { &exposes_udp, &publisher };
        Service service = make_service(9002);
        _cleanup_(backend_done) Backend backend = {};
        _cleanup_free_ char *text = NULL;

        service.listen = listen;
        ASSERT_OK(backend_resolve(&backend, &service, infos, &text));
        ASSERT_FALSE(backend.udp);
        ASSERT_EQ(backend.member, 1);
        ASSERT_EQ(backend.port, 80);
}

static void assert_ports(const Service *service, const RedirectBindings *bindings, const char *expected) {
        const ContainerInfo *infos[] = { &exposes_one, &publisher };
        PortBackend *list = NULL;
        char text[256] = "";
        size_t n;

        ASSERT_OK(port_backends_find(&list, &n, service, infos, bindings));
        for (size_t i = 0; i < n; i++)
                (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s:%u=%s:%u%s",
                                i > 0 ? " " : "", strempty(list[i].address), list[i].port,
                                list[i].backend.address ?: dependencies[list[i].backend.member].name,
                                list[i].backend.port,
                                list[i].backend.publisher == BACKEND_NO_MEMBER ? "" : " direct");
        port_backends_free(list, n);
        ASSERT_STREQ(text, expected);
}

/* The service's own port, on two addresses with an inner port each; and one of a range. */
static void test_inner_ports_differ(void) {
        PortBinding bindings[] = {
                { .container_port = 80,
                  .host_port = 9000,
                  .host_port_last = 9000,
                  .host_ip = (char *) "127.0.0.1",
                  .tcp = true },
                { .container_port = 81,
                  .host_port = 9000,
                  .host_port_last = 9000,
                  .host_ip = (char *) "127.0.0.2",
                  .tcp = true },
                { .container_port = 82,
                  .host_port = 9100,
                  .host_port_last = 9109,
                  .host_ip = (char *) "",
                  .tcp = true },
        };
        ContainerInfo two = { .running = true, .bindings = bindings, .n_bindings = ELEMENTSOF(bindings) };
        const ContainerInfo *infos[] = { &exposes_one, &two };
        ServicePort ports[] = { { .port = 9105 } };
        Service service = make_service(9000);
        PortBackend *list = NULL;
        size_t n;

        service.ports_given = true;
        service.ports = ports;
        service.n_ports = 1;
        ASSERT_OK(port_backends_find(&list, &n, &service, infos, &(RedirectBindings){}));
        ASSERT_EQ(n, 3);
        for (size_t i = 0; i < n; i++) {
                ASSERT_EQ(list[i].backend.member, 1);
                ASSERT_EQ(list[i].backend.port, 80 + i);
        }
        ASSERT_STREQ(list[1].address, "127.0.0.2");
        ASSERT_TRUE(port_backend_is_direct(&list[0], infos));

        /* Which one the engine has taken is known while it runs. */
        ASSERT_FALSE(port_backend_is_direct(&list[2], infos));
        bindings[2].taken_ipv4 = 9104;
        ASSERT_FALSE(port_backend_is_direct(&list[2], infos));
        bindings[2].taken_ipv4 = 9105;
        ASSERT_TRUE(port_backend_is_direct(&list[2], infos));
        infos[1] = NULL;
        ASSERT_FALSE(port_backend_is_direct(&list[2], infos));
        port_backends_free(list, n);
}

static void test_further_ports(void) {
        ServicePort ports[] = { { .port = 9443 },
                                { .port = 9002, .backend = (char *) "app:81" },
                                { .port = 7 },
                                { .port = 8, .backend = (char *) "10.0.0.1:9" } };
        Service service = make_service(9000);
        FurtherPort further[] = { { .port = 9002 }, { .port = 9443, .rival = (char *) "other" } };
        const RedirectBindings bindings = { .further = further, .n_further = ELEMENTSOF(further) };

        /* Those that settling has found to be its own. */
        assert_ports(&service, &bindings, "127.0.0.1:9002=proxy:80 direct");
        service.ports_given = true;
        assert_ports(&service, &bindings, "");
        service.ports = ports;
        service.n_ports = ELEMENTSOF(ports);
        assert_ports(&service, &bindings,
                     ":9443=proxy:443 direct 127.0.0.1:9002=app:81 direct :7=app:7 :8=10.0.0.1:9:0");

        service.listen = (char *[]){ (char *) "9000", NULL };
        ports[0].listen = (char *[]){ (char *) "127.0.0.1:1443", (char *) "1444", (char *) "0.0.0.0:1445", NULL };
        service.n_ports = 1;
        assert_ports(&service, &bindings, "127.0.0.1:1443=proxy:443 :1444=proxy:443 0.0.0.0:1445=proxy:443");
        /* That number of UDP is published by nobody. */
        ports[0].protocol = IPPROTO_UDP;
        ports[0].listen = (char *[]){ (char *) "udp:127.0.0.1:1443", NULL };
        assert_ports(&service, &bindings, "127.0.0.1:1443=app:9443");
}

int main(void) {
        test_range_of_ports();
        test_direct();
        test_own_address_is_no_default();
        test_udp_goes_to_a_port_of_udp();
        test_udp_beside_tcp_has_the_same_port();
        test_container_that_publishes_the_port();
        test_only_exposed_port_of_the_main_container();
        test_nothing_tells_where_clients_go();
        test_proxy_mode_falls_back_to_the_port_on_loopback();
        test_configured_container_and_host();
        test_main_container_on_the_host_network();
        test_service_without_a_front_has_none();
        test_missing_container_may_be_the_one_that_publishes();
        test_stopped_container_has_no_address();
        test_further_ports();
        test_inner_ports_differ();
        return EXIT_SUCCESS;
}
