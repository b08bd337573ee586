#include <stdio.h>

#include "config/config.h"
#include "test.h"
#include "wake/member/attachments.h"

/* Containers of the engine: "NAME: NETWORK NETWORK=ID …". Where an id is given the engine knows it. */

#define CONTAINERS_MAX 8
#define NETWORKS_MAX 4

typedef struct World {
        ContainerInfo containers[CONTAINERS_MAX];
        ContainerNetwork networks[CONTAINERS_MAX][NETWORKS_MAX];
        const ContainerInfo *infos[CONTAINERS_MAX];
        char text[1024];
        const Service *service;
} World;

static void world_init(World *world, const Service *service, const char *text) {
        char *rest = world->text, *entry;
        size_t n = 0;

        *world = (World){ .service = service };
        (void) snprintf(world->text, sizeof(world->text), "%s", text);
        while ((entry = strsep(&rest, ";"))) {
                char *words = entry + strspn(entry, " "), *name = strsep(&words, ":"), *word;
                ContainerInfo *info = &world->containers[n];

                ASSERT_TRUE(n < CONTAINERS_MAX && words);
                *info = (ContainerInfo){ .name = name,
                                         .network_mode = (char *) "x",
                                         .networks = world->networks[n] };
                while ((word = strsep(&words, " "))) {
                        if (*word == '@')
                                info->network_mode = word + 1;
                        else if (*word) {
                                ContainerNetwork *network = &info->networks[info->n_networks++];

                                ASSERT_TRUE(info->n_networks <= NETWORKS_MAX);
                                network->name = strsep(&word, "=");
                                network->id = word ? word : (char *) "";
                        }
                }
                for (size_t i = 0; i < service->n_dependencies; i++)
                        if (streq(service->dependencies[i].name, name))
                                world->infos[i] = info;
                n++;
        }
}

/* What is to be attached, as "CONTAINER>NETWORK …". */
static void assert_attached(const Service *service, const char *containers, const char *expected) {
        _cleanup_free_ Attachment *attachments = NULL;
        char found[512] = "";
        World world;
        size_t n = 0;

        world_init(&world, service, containers);
        ASSERT_OK(attachments_find(&attachments, &n, service, world.infos));
        for (size_t i = 0; i < n; i++) {
                size_t size = strlen(found);

                (void) snprintf(found + size, sizeof(found) - size, "%s%s>%s", i > 0 ? " " : "",
                                service->dependencies[attachments[i].member].name, attachments[i].network);
        }
        if (!streq(found, expected))
                TEST_FAIL("%s: '%s' instead of '%s'", containers, found, expected);
}

/* The users' file. `nextcloud` has its database and cache on "databases-shared", by its compose project. */
static void test_nextcloud(const Config *config) {
        const Service *service = config_find(config, "nextcloud");

        assert_attached(service,
                        "postgresql-shared: databases-shared; redis-shared: databases-shared monitoring_monitoring; "
                        "nextcloud: nextcloud databases-shared; nextcloud-cron: nextcloud databases-shared",
                        "");
        assert_attached(service,
                        "postgresql-shared: databases-shared; redis-shared: monitoring_monitoring; "
                        "nextcloud: nextcloud databases-shared; nextcloud-cron: nextcloud",
                        "redis-shared>databases-shared");
        /* Where nothing joins them, the others come to the service's network. */
        assert_attached(service,
                        "postgresql-shared: databases-shared; redis-shared: databases-shared; nextcloud: nextcloud; "
                        "nextcloud-cron: nextcloud",
                        "postgresql-shared>nextcloud redis-shared>nextcloud");
        assert_attached(service,
                        "postgresql-shared: databases-shared; redis-shared: databases-shared; nextcloud: databases-shared; "
                        "nextcloud-cron: databases-shared",
                        "nextcloud>nextcloud nextcloud-cron>nextcloud");
        assert_attached(service, "postgresql-shared:; redis-shared:; nextcloud:; nextcloud-cron:",
                        "postgresql-shared>databases-shared redis-shared>databases-shared nextcloud>nextcloud "
                        "nextcloud-cron>nextcloud postgresql-shared>nextcloud redis-shared>nextcloud");
        /* Not there (yet): nothing is said about it. */
        assert_attached(service, "postgresql-shared: databases-shared; nextcloud: nextcloud databases-shared", "");
        assert_attached(service, "postgresql-shared: elsewhere", "postgresql-shared>databases-shared");
}

static void test_memvid(const Config *config) {
        const Service *service = config_find(config, "memvid");

        assert_attached(service,
                        "redis-shared: databases-shared monitoring_monitoring; memvid-api: memvid_memvid-network "
                        "monitoring_monitoring; memvid-ui: memvid_memvid-network",
                        "");
        assert_attached(service,
                        "redis-shared: databases-shared; memvid-api: memvid_memvid-network monitoring_monitoring; "
                        "memvid-ui: memvid_memvid-network",
                        "redis-shared>monitoring_monitoring");
        assert_attached(service,
                        "redis-shared: databases-shared; memvid-api: memvid_memvid-network; memvid-ui: memvid_memvid-network",
                        "redis-shared>monitoring_monitoring redis-shared>memvid_memvid-network");
}

/* Without crossNetworkDeps everything stays as it is. */
static void test_clemence(const Config *config) {
        const Service *service = config_find(config, "clemence");

        assert_attached(service, "mysql-clemence: a; wordpress-clemence: b; nginx-clemence: c", "");
}

static void test_networks_that_take_nobody(const Config *config) {
        const Service *service = config_find(config, "memvid");

        assert_attached(service,
                        "redis-shared: @host host; memvid-api: memvid_memvid-network; memvid-ui: memvid_memvid-network",
                        "");
        assert_attached(service, "redis-shared: @none none; memvid-api: memvid_memvid-network", "");
        assert_attached(service, "redis-shared: @container:0123abc; memvid-api: memvid_memvid-network", "");
        assert_attached(service, "redis-shared: @slirp4netns; memvid-api: memvid_memvid-network", "");
        /* Who is on the host's network reaches all of them; what the file says of the others holds nevertheless. */
        assert_attached(service, "redis-shared: databases-shared; memvid-api: @host host; memvid-ui: other",
                        "redis-shared>monitoring_monitoring memvid-ui>memvid_memvid-network");
}

/* As compose 2.26 leaves a container that was never started: an external network under its id. */
static void test_network_under_its_id(const Config *config) {
        const Service *service = config_find(config, "memvid");

        assert_attached(service,
                        "redis-shared: databases-shared=11 monitoring_monitoring=7a1d; memvid-api: 7a1d "
                        "memvid_memvid-network; memvid-ui: memvid_memvid-network=22",
                        "");
        assert_attached(service,
                        "redis-shared: 11 7a1d; memvid-api: monitoring_monitoring=7a1d memvid_memvid-network=22; memvid-ui: 22",
                        "");
        /* Nobody knows which one that is. */
        assert_attached(service, "redis-shared: 7a1d; memvid-api: 7a1d memvid_memvid-network",
                        "redis-shared>monitoring_monitoring");
        assert_attached(service,
                        "redis-shared: 7a1d; memvid-api: memvid_memvid-network=22 monitoring_monitoring=33; memvid-ui: 22",
                        "redis-shared>monitoring_monitoring");
}

static void test_no_network_is_named(void) {
        Dependency dependencies[] = {
                { .name = (char *) "db" },
                { .name = (char *) "app" },
                { .name = (char *) "host", .network = (char *) "host" },
                { .name = (char *) "docker.service", .kind = DEPENDENCY_UNIT },
        };
        Service service = {
                .container = (char *) "app",
                .cross_network = true,
                .dependencies = dependencies,
                .n_dependencies = ELEMENTSOF(dependencies),
        };

        assert_attached(&service, "db: a; app: b; host: b", "");
        /* With the service's it is known where they could meet: there also the main container has to be. */
        service.network = (char *) "c";
        assert_attached(&service, "db: a; app: b; host: b", "app>c db>c");
        assert_attached(&service, "db: a; app: b a; host: b", "");
}

int main(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_load(&config, "", EXAMPLES "/dependencies.json", &problems));
        test_nextcloud(config);
        test_memvid(config);
        test_clemence(config);
        test_networks_that_take_nobody(config);
        test_network_under_its_id(config);
        test_no_network_is_named();
        return 0;
}
