#include "config/config.h"
#include "model/plan.h"
#include "test.h"

/* What a sound config means: the users' own file, defaults, budgets, modes, and members that nothing acts on
 * yet. */

static Config *load(const char *text, ProblemList *problems) {
        Config *config = NULL;

        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), problems));
        for (size_t i = 0; i < problems->n_problems; i++)
                fprintf(stderr, "%s: %s\n", problems->problems[i].path, problems->problems[i].text);
        ASSERT_EQ(problems->n_problems, 0);
        return config;
}

/* Loads `text`, in which ' stands for ", and has no problems. */
static Config *load_fine(const char *text) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *json = strdup(text);

        for (char *c = json; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return load(json, &problems);
}

static void assert_dependency(const Dependency *dependency, const char *name, DependencyType type, int order,
                              int group, unsigned budget_ms) {
        ASSERT_STREQ(dependency->name, name);
        ASSERT_EQ(dependency->kind, DEPENDENCY_CONTAINER);
        ASSERT_EQ(dependency->type, type);
        ASSERT_EQ(dependency->start_order, order);
        ASSERT_EQ(dependency->parallel_group, group);
        ASSERT_EQ(dependency->health.budget_usec, budget_ms * USEC_PER_MSEC);
}

static void test_users_file_loads_unchanged(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        const Service *service;

        ASSERT_OK(config_load(&config, "", EXAMPLES "/dependencies.json", &problems));
        ASSERT_EQ(problems.n_problems, 0);
        ASSERT_EQ(config->n_services, 4);
        ASSERT_EQ(config->engine, ENGINE_DOCKER);
        ASSERT_STREQ(config->engine_socket, "/run/docker.sock");

        service = config_find(config, "clemence");
        ASSERT_STREQ(service->container, "wordpress-clemence");
        ASSERT_STREQ(service->compose_dir, "/opt/wordpress-clemence");
        ASSERT_STREQ(service->network, "wordpress-clemence_clemence-network");
        ASSERT_EQ(service->port, 9002);
        ASSERT_EQ(service->redirect_port, 29002);
        ASSERT_TRUE(service_is_redirected(service) && !service->cross_network && !service->unsupported);
        ASSERT_EQ(service->n_dependencies, 3);
        assert_dependency(&service->dependencies[0], "mysql-clemence", DEPENDENCY_REQUIRED, 1, 0, 30000);
        assert_dependency(&service->dependencies[1], "wordpress-clemence", DEPENDENCY_REQUIRED, 2, 0, 30000);
        assert_dependency(&service->dependencies[2], "nginx-clemence", DEPENDENCY_OPTIONAL, 3, 0, 10000);
        ASSERT_STREQ(service->dependencies[0].health.command,
                     "docker exec mysql-clemence mysqladmin ping -h localhost -u root -p$MYSQL_ROOT_PASSWORD");
        ASSERT_EQ(service->dependencies[0].health.interval_usec, 2 * USEC_PER_SEC);
        ASSERT_STREQ(service->dependencies[0].network, "wordpress-clemence_clemence-network");

        service = config_find(config, "nextcloud");
        ASSERT_TRUE(service->cross_network);
        ASSERT_STREQ(service->dependencies[1].network, "databases-shared");
        ASSERT_NULL(service->dependencies[3].health.command);

        service = config_find(config, "ragflow");
        assert_dependency(&service->dependencies[3], "ragflow-es-01", DEPENDENCY_REQUIRED, 1, 1, 60000);
        assert_dependency(&service->dependencies[4], "ragflow-server", DEPENDENCY_REQUIRED, 2, 0, 90000);
}

static void assert_needs(const Plan *plan, const Service *service, const char *name, unsigned step,
                         const char *needs) {
        char found[256] = "";

        for (size_t i = 0; i < plan->n_members; i++) {
                const PlanMember *member = &plan->members[i];

                if (!streq(service->dependencies[member->index].name, name))
                        continue;
                ASSERT_EQ(member->step, step);
                for (size_t k = 0; k < member->n_needs; k++)
                        strcat(strcat(found, " "), service->dependencies[member->needs[k].member].name);
        }
        ASSERT_STREQ(found, needs);
}

static void test_example_of_a_graph(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        const Service *service;

        ASSERT_OK(config_load(&config, "", EXAMPLES "/graph.json", &problems));
        ASSERT_EQ(problems.n_problems, 0);
        ASSERT_EQ(config->n_services, 4);
        for (size_t i = 0; i < config->n_services; i++)
                ASSERT_NULL(config->services[i].unsupported);

        service = config_find(config, "shop");
        ASSERT_OK(plan_new(&plan, service, NULL));
        ASSERT_EQ(plan->n_steps, 4);
        assert_needs(plan, service, "postgresql.service", 1, "");
        assert_needs(plan, service, "redis", 1, "");
        assert_needs(plan, service, "shop-migrate", 2, " postgresql.service");
        assert_needs(plan, service, "shop-mailer", 2, " redis");
        assert_needs(plan, service, "shop-app", 3, " shop-migrate redis");
        assert_needs(plan, service, "shop-web", 4, " shop-app");
        ASSERT_STREQ(config_find(config, "memvid-ui")->dependencies[0].name, "memvid-api");
        ASSERT_STREQ(config_find(config, "memvid-api")->dependencies[0].name, "redis");
        ASSERT_EQ(config_find(config, "memvid-ui")->sleep, SLEEP_PAUSE);
}

static void test_defaults_of_a_minimal_service(void) {
        _cleanup_(config_freep) Config *config = load_fine("{'services':{'bot':{'name':'bot'}}}");
        const Service *service = &config->services[0];

        ASSERT_EQ(service->port, 0);
        ASSERT_EQ(service->redirect_port, 0);
        ASSERT_FALSE(service_has_front(service));
        ASSERT_EQ(service->idle_timeout_usec, 15 * USEC_PER_MINUTE);
        ASSERT_EQ(service->global_timeout_usec, 5 * USEC_PER_MINUTE);
        ASSERT_EQ(service->drain_timeout_usec, 10 * USEC_PER_SEC);
        ASSERT_EQ(service->page, PAGE_AUTO);
        ASSERT_TRUE(service->page_details);
        ASSERT_EQ(service->sleep, SLEEP_STOP);
        ASSERT_EQ(service->n_dependencies, 1);
        assert_dependency(service_main(service), "bot", DEPENDENCY_REQUIRED, 1, 0, 30000);
        ASSERT_EQ(service_main(service)->startup_delay_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(service_main(service)->estimated_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(service_main(service)->health.interval_usec, USEC_PER_SEC);
        ASSERT_NULL(service_main(service)->network);
}

static void test_main_is_appended_as_the_last_step(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'services':{'s':{'name':'app','network':'n','dependencies':[{'container':'db',"
                                  "'startOrder':7,"
                                  "'startupDelay':'2s'},{'container':'cache','estimatedTime':'1min 30s'}]}}}");
        const Service *service = &config->services[0];

        ASSERT_EQ(service->n_dependencies, 3);
        assert_dependency(&service->dependencies[2], "app", DEPENDENCY_REQUIRED, 8, 0, 30000);
        ASSERT_STREQ(service->dependencies[2].network, "n");
        ASSERT_EQ(service->dependencies[0].startup_delay_usec, 2 * USEC_PER_SEC);
        ASSERT_EQ(service->dependencies[0].estimated_usec, 2 * USEC_PER_SEC);
        ASSERT_EQ(service->dependencies[1].startup_delay_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(service->dependencies[1].estimated_usec, 90 * USEC_PER_SEC);
        ASSERT_EQ(service->dependencies[1].start_order, 1);
}

static void test_budget_is_long_enough_for_the_tries(void) {
        static const struct {
                const char *members;
                unsigned budget_ms;
        } cases[] = {
                { "", 30000 },
                { "'timeout':5000", 5000 },
                { "'retries':7", 7000 },
                { "'interval':2000", 30000 },
                { "'interval':2000,'retries':4", 8000 },
                { "'interval':2000,'retries':4,'timeout':30000", 30000 },
                { "'interval':2000,'retries':40,'timeout':'30s'", 80000 },
                { "'interval':'2s','timeout':'1min'", 60000 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(config_freep) Config *config = NULL;
                _cleanup_free_ char *text = NULL;

                ASSERT_TRUE(asprintf(&text,
                                     "{'services':{'s':{'name':'s','dependencies':[{'container':'s','healthCheck':"
                                     "{%s}}]}}}",
                                     cases[i].members) > 0);
                config = load_fine(text);
                ASSERT_EQ(service_main(&config->services[0])->health.budget_usec,
                          cases[i].budget_ms * USEC_PER_MSEC);
        }
}

static void test_durations_are_ms_or_texts(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'services':{'a':{'name':'a','idleTimeout':1500},'b':{'name':'b','idleTimeout':"
                                  "'infinity'},"
                                  "'c':{'name':'c','idleTimeout':0},'d':{'name':'d','idleTimeout':'1h 30min'},"
                                  "'e':{'name':'e','idleTimeout':2e3}}}");

        ASSERT_EQ(config->services[0].idle_timeout_usec, 1500 * USEC_PER_MSEC);
        ASSERT_EQ(config->services[1].idle_timeout_usec, 0);
        ASSERT_EQ(config->services[2].idle_timeout_usec, 0);
        ASSERT_EQ(config->services[3].idle_timeout_usec, 90 * USEC_PER_MINUTE);
        ASSERT_EQ(config->services[4].idle_timeout_usec, 2 * USEC_PER_SEC);
}

static void test_health_checks_of_all_kinds(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'s':{'name':'s','dependencies':["
                        "{'container':'a','healthCheck':{'tcp':5432}},{'container':'b','healthCheck':{'tcp':'[::1]"
                        ":80'}},"
                        "{'container':'c','healthCheck':{'http':'http://:8080/health?x=1'}},"
                        "{'container':'d','healthCheck':{'http':'https://localhost:8443'}},"
                        "{'container':'e','healthCheck':{'command':'a %h \\\"b\\\"\\nc; [Service]'}}]}}}");
        const Dependency *dependencies = config->services[0].dependencies;

        ASSERT_STREQ(dependencies[0].health.tcp, "5432");
        ASSERT_STREQ(dependencies[1].health.tcp, "[::1]:80");
        ASSERT_STREQ(dependencies[2].health.http, "http://:8080/health?x=1");
        ASSERT_STREQ(dependencies[3].health.http, "https://localhost:8443");
        ASSERT_STREQ(dependencies[4].health.command, "a %h \"b\"\nc; [Service]");
}

static void test_proxy_mode(void) {
        _cleanup_(config_freep) Config *config = load_fine("{'services':{'a':{'name':'a','port':50000,'listen':'"
                                                           "8443','allow':'10.0.0.0/8','deny':['::/0','1.2.3.4']},"
                                                           "'b':{'name':'b','listen':['127.0.0.1:80','[::1]:80','/"
                                                           "run/b.sock','@b'],'backend':'b:80'}}}");

        ASSERT_FALSE(service_is_redirected(&config->services[0]));
        ASSERT_EQ(config->services[0].redirect_port, 0);
        ASSERT_STREQ(config->services[0].listen[0], "8443");
        ASSERT_STREQ(config->services[0].allow[0], "10.0.0.0/8");
        ASSERT_STREQ(config->services[0].deny[1], "1.2.3.4");
        ASSERT_EQ(strv_length(config->services[1].listen), 4);
        ASSERT_TRUE(service_has_front(&config->services[1]));
        ASSERT_NULL(config->services[0].unsupported);
        ASSERT_NULL(config->services[1].unsupported);
}

static void test_services_may_share_a_port(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'a':{'name':'a','port':80},'b':{'name':'b','port':80,'redirectPort':20081},"
                        "'c':{'name':'c','port':13000,'redirectPort':20082},"
                        "'d':{'name':'d','port':1,'listen':['10.0.0.1:80','udp:20080']},"
                        "'e':{'name':'e','port':1,'listen':'[::1]:81'},'f':{'name':'f','port':1,'listen':'0.0.0.0:"
                        "81'}}}");

        ASSERT_EQ(config->n_services, 6);
        ASSERT_EQ(config->services[0].redirect_port, 20080);
        ASSERT_EQ(config->services[1].redirect_port, 20081);
        ASSERT_EQ(config->services[2].redirect_port, 20082);
}

static void test_defaults_hold_for_all(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'services':{'a':{'name':'a','idleTimeout':1},'b':{'name':'b','network':'n'}},"
                                  "'defaults':{'idleTimeout':'1h','network':'shared','adopt':true,'page':'never','"
                                  "title':'x','prewarm':'all'}}");

        ASSERT_EQ(config->services[0].idle_timeout_usec, USEC_PER_MSEC);
        ASSERT_EQ(config->services[1].idle_timeout_usec, 60 * USEC_PER_MINUTE);
        ASSERT_STREQ(config->services[0].network, "shared");
        ASSERT_STREQ(service_main(&config->services[1])->network, "n");
        ASSERT_EQ(config->services[1].adopt, ADOPT_ALL);
        ASSERT_EQ(config->services[0].page, PAGE_NEVER);
        ASSERT_STREQ(config->services[1].page_title, "x");
        ASSERT_EQ(strv_length(config->services[0].unsupported), 1);
        ASSERT_STREQ(config->services[0].unsupported[0], "defaults.prewarm");
}

static void test_adopt_has_three_values(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'services':{'all':{'name':'a','adopt':true},'known':{'name':'b'},"
                                  "'none':{'name':'c','adopt':false}}}");
        _cleanup_(config_freep) Config *defaults =
                        load_fine("{'services':{'a':{'name':'a'},'b':{'name':'b','adopt':true}},"
                                  "'defaults':{'adopt':false}}");

        ASSERT_EQ(config_find(config, "all")->adopt, ADOPT_ALL);
        ASSERT_EQ(config_find(config, "known")->adopt, ADOPT_KNOWN);
        ASSERT_EQ(config_find(config, "none")->adopt, ADOPT_NONE);
        ASSERT_EQ(config_find(defaults, "a")->adopt, ADOPT_NONE);
        ASSERT_EQ(config_find(defaults, "b")->adopt, ADOPT_ALL);
}

static void test_engine(void) {
        _cleanup_(config_freep) Config *podman = load_fine("{'engine':'podman','services':{'a':{'name':'a'}}}");
        _cleanup_(config_freep) Config *own =
                        load_fine("{'engineSocket':'/x.sock','services':{'a':{'name':'a'}}}");

        ASSERT_EQ(podman->engine, ENGINE_PODMAN);
        ASSERT_STREQ(podman->engine_socket, "/run/podman/podman.sock");
        ASSERT_STREQ(podman->services[0].unsupported[0], "engine");
        ASSERT_STREQ(own->engine_socket, "/x.sock");
        ASSERT_NULL(own->services[0].unsupported);
}

static void test_later_members_are_listed(void) {
        static const char *const later[] = {
                "services.s.prewarm",
                "services.s.schedule.sleep",
                "services.s.schedule.wake",
        };
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'api':{'hosts':['x.example'],'sleepOverTcp':true},'services':{'t':{'name':'t'},'s':{'"
                        "name':'s','port':1,"
                        "'listen':['80'],'page':'auto','title':'é','details':false,'proxyProtocol':'v2',"
                        "'ignore':{'addresses':['10.0.0.0/8'],'userAgents':'x','paths':['/x'],'answer':200},'idleBytes':true,"
                        "'drainTimeout':0,'prewarm':'all','schedule':{'wake':'Mon..Fri 07:30','sleep':'22:00'},"
                        "'adopt':true}}}");
        const Service *service = config_find(config, "s");

        for (size_t i = 0; i < ELEMENTSOF(later); i++)
                if (!strv_contains(service->unsupported, later[i]))
                        TEST_FAIL("%s is not listed", later[i]);
        ASSERT_EQ(strv_length(service->unsupported), ELEMENTSOF(later));
        ASSERT_EQ(service->proxy_protocol, 2);
        ASSERT_EQ(service->prewarm, PREWARM_ALL);
        ASSERT_EQ(service->ignore_answer, 200);
        ASSERT_TRUE(service->idle_bytes && config->api_sleep_over_tcp);
        ASSERT_STREQ(service->schedule_wake, "Mon..Fri 07:30");
}

static void test_a_graph_of_all_kinds(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'t':{'name':'t'},'s':{'name':'app','network':'n','sleep':'pause','dependencies':["
                        "{'unit':'db.service','keep':true,'healthCheck':{'tcp':'127.0.0.1:5432'}},{'service':'t'},"
                        "{'container':'migrate','condition':'completed','dependsOn':'db.service'},"
                        "{'container':'app','dependsOn':['migrate','t']},"
                        "{'container':'worker','condition':'started','startOrder':2,'dependsOn':['db.service'],"
                        "'type':'optional'},{'container':'plain','dependsOn':[],'parallelGroup':0}]}}}");
        const Service *service = config_find(config, "s");
        const Dependency *dependencies = service->dependencies;

        ASSERT_NULL(service->unsupported);
        ASSERT_EQ(service->sleep, SLEEP_PAUSE);
        ASSERT_EQ(service->n_dependencies, 6);
        ASSERT_EQ(dependencies[0].kind, DEPENDENCY_UNIT);
        ASSERT_STREQ(dependencies[0].health.tcp, "127.0.0.1:5432");
        ASSERT_TRUE(dependencies[0].keep && !dependencies[0].network);
        ASSERT_EQ(dependencies[1].kind, DEPENDENCY_SERVICE);
        ASSERT_EQ(dependencies[2].condition, CONDITION_COMPLETED);
        ASSERT_STREQ(dependencies[2].depends_on[0], "db.service");
        ASSERT_STREQ(dependencies[3].depends_on[1], "t");
        ASSERT_EQ(dependencies[4].condition, CONDITION_STARTED);
        /* In a step is who says so, or who does not name what it waits for. */
        ASSERT_TRUE(dependencies[0].ordered && dependencies[1].ordered && dependencies[4].ordered &&
                    dependencies[5].ordered);
        ASSERT_FALSE(dependencies[2].ordered || dependencies[3].ordered);
}

static void test_an_unlisted_main_is_the_last_of_a_graph(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'s':{'name':'app','dependencies':[{'container':'db','startOrder':3},"
                        "{'container':'migrate','condition':'completed','dependsOn':['db']},"
                        "{'container':'mail','type':'optional','startOrder':3},"
                        "{'container':'web','startOrder':4,'dependsOn':['cache','app']},"
                        "{'container':'cache','dependsOn':'web-data'},{'container':'web-data'},"
                        "{'container':'probe','dependsOn':['web']}]},"
                        "'t':{'name':'first','dependencies':[{'container':'second','dependsOn':'first'}]}}}");
        const Dependency *main_container = service_main(config_find(config, "s"));

        ASSERT_EQ(strv_length(main_container->depends_on), 4);
        ASSERT_TRUE(strv_contains(main_container->depends_on, "db"));
        ASSERT_TRUE(strv_contains(main_container->depends_on, "migrate"));
        ASSERT_TRUE(strv_contains(main_container->depends_on, "cache"));
        ASSERT_TRUE(strv_contains(main_container->depends_on, "web-data"));
        ASSERT_FALSE(main_container->ordered);
        ASSERT_NULL(service_main(config_find(config, "t"))->depends_on);
}

static void test_what_is_in_force_anyway_may_be_written(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'engine':'docker','services':{'s':{'name':'s','page':'never','prewarm':'off','"
                                  "sleep':'stop',"
                                  "'dependencies':[{'container':'s','condition':'ready'}]}}}");

        ASSERT_NULL(config->services[0].unsupported);
}

static void test_notes_are_ignored(void) {
        _cleanup_(config_freep) Config *config =
                        load_fine("{'$schema':'x','x-anchors':{},'comment':'y','services':{'x-s':{'name':'s','_"
                                  "note':1,'//':2,"
                                  "'dependencies':[{'container':'s','comment':'z','healthCheck':{'x-y':1}}]}}}");

        ASSERT_EQ(config->n_services, 1);
}

static void test_byte_order_mark_is_skipped(void) {
        _cleanup_(config_freep) Config *config = load_fine("\xef\xbb\xbf{'services':{}}");

        ASSERT_EQ(config->n_services, 0);
}

static void test_further_ports(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'a':{'name':'a','port':80},'b':{'name':'b','port':81,'ports':[]},"
                        "'c':{'name':'c','port':82,'ports':[22,{'port':5432,'backend':'c:5433'}]},"
                        "'d':{'name':'d','port':83,'listen':['127.0.0.1:83','[::1]:83','/run/d.sock'],"
                        "'page':'never','proxyProtocol':'v2',"
                        "'ports':[23,{'port':24,'listen':'2424','page':'auto','proxyProtocol':'none'}]}}}");
        const Service *a = config_find(config, "a"), *b = config_find(config, "b"), *c = config_find(config, "c"),
                      *d = config_find(config, "d");

        ASSERT_TRUE(!a->ports_given && a->n_ports == 0);
        ASSERT_TRUE(b->ports_given && b->n_ports == 0);
        ASSERT_TRUE(c->ports_given && c->n_ports == 2);
        ASSERT_EQ(c->ports[0].port, 22);
        ASSERT_EQ(c->ports[1].port, 5432);
        ASSERT_STREQ(c->ports[1].backend, "c:5433");

        /* Each is open where the service's port is, unless it says otherwise. */
        ASSERT_EQ(strv_length(d->ports[0].listen), 2);
        ASSERT_STREQ(d->ports[0].listen[0], "127.0.0.1:23");
        ASSERT_STREQ(d->ports[0].listen[1], "[::1]:23");
        ASSERT_STREQ(d->ports[1].listen[0], "2424");
        ASSERT_FALSE(service_is_udp(d));
        ASSERT_EQ(d->ports[0].page, PAGE_NEVER);
        ASSERT_EQ(d->ports[0].proxy_protocol, 2);
        ASSERT_EQ(d->ports[1].page, PAGE_AUTO);
        ASSERT_EQ(d->ports[1].proxy_protocol, 0);
        ASSERT_EQ(strv_length(d->listen), 6);
        ASSERT_STREQ(d->listen[5], "2424");
}

/* In redirect mode each has a redirect port of its own, whatever those of TCP are. */
static void test_redirect_ports_of_udp(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'a':{'name':'a','port':80,'ports':[{'port':80,'protocol':'udp'},"
                        "{'port':53,'protocol':'udp'}]},"
                        "'b':{'name':'b','port':81,'ports':[{'port':53,'protocol':'udp'},54]},"
                        "'c':{'name':'c','port':82,'ports':[{'port':20080,'protocol':'udp'}],'redirectPort':20053}}}");
        const Service *a = config_find(config, "a"), *b = config_find(config, "b");

        ASSERT_EQ(a->redirect_port, 20080);
        ASSERT_EQ(a->ports[1].redirect_port, 20053);
        /* Taken by a port of UDP that is published. */
        ASSERT_TRUE(a->ports[0].redirect_port >= 20000 && a->ports[0].redirect_port != 20080);
        /* The first has it. */
        ASSERT_TRUE(b->ports[0].redirect_port >= 20000 && b->ports[0].redirect_port != 20053);
        ASSERT_EQ(b->ports[1].redirect_port, 0);
        ASSERT_EQ(config_find(config, "c")->redirect_port, 20053);
}

/* One number on both; the addresses are those of the service, of its protocol where it has any. */
static void test_further_ports_of_udp(void) {
        _cleanup_(config_freep) Config *config = load_fine(
                        "{'services':{'a':{'name':'a','port':80,'listen':['127.0.0.1:80','[::1]:80'],"
                        "'ports':[{'port':80,'protocol':'udp'},53,{'port':53,'protocol':'udp'},"
                        "{'port':7,'protocol':'udp','listen':'udp:9'}]},"
                        "'b':{'name':'b','port':90,'listen':'udp:127.0.0.1:90','ports':[91,{'port':92,'protocol':'udp'}]}}}");
        const Service *a = config_find(config, "a"), *b = config_find(config, "b");

        ASSERT_STREQ(a->ports[0].listen[0], "udp:127.0.0.1:80");
        ASSERT_STREQ(a->ports[0].listen[1], "udp:[::1]:80");
        ASSERT_STREQ(a->ports[1].listen[0], "127.0.0.1:53");
        ASSERT_STREQ(a->ports[2].listen[0], "udp:127.0.0.1:53");
        ASSERT_STREQ(a->ports[3].listen[0], "udp:9");
        ASSERT_TRUE(service_port_is_udp(&a->ports[0]) && !service_port_is_udp(&a->ports[1]));
        ASSERT_EQ(strv_length(a->listen), 9);
        ASSERT_FALSE(service_is_udp(a));

        ASSERT_STREQ(b->ports[0].listen[0], "127.0.0.1:91");
        ASSERT_STREQ(b->ports[1].listen[0], "udp:127.0.0.1:92");
        ASSERT_TRUE(service_is_udp(b));
}

int main(void) {
        test_users_file_loads_unchanged();
        test_further_ports();
        test_redirect_ports_of_udp();
        test_further_ports_of_udp();
        test_example_of_a_graph();
        test_defaults_of_a_minimal_service();
        test_main_is_appended_as_the_last_step();
        test_budget_is_long_enough_for_the_tries();
        test_durations_are_ms_or_texts();
        test_health_checks_of_all_kinds();
        test_proxy_mode();
        test_services_may_share_a_port();
        test_defaults_hold_for_all();
        test_adopt_has_three_values();
        test_engine();
        test_later_members_are_listed();
        test_a_graph_of_all_kinds();
        test_an_unlisted_main_is_the_last_of_a_graph();
        test_what_is_in_force_anyway_may_be_written();
        test_notes_are_ignored();
        test_byte_order_mark_is_skipped();
        return 0;
}
