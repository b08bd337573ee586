#include "config/config.h"
#include "test.h"

/* Mistakes in a config: what is said about each, and whom it costs. What sound configs mean: test-config-
 * model.c. */

static void print_problems(const ProblemList *problems) {
        for (size_t i = 0; i < problems->n_problems; i++) {
                _cleanup_free_ char *line = problem_to_string(&problems->problems[i]);

                fprintf(stderr, "  %s\n", line);
        }
}

/* Loads `text`, in which ' stands for ", and asserts that it has exactly the one problem. */
static void assert_problem_at(const char *text, ProblemLevel level, const char *path, const char *value,
                              const char *says, int line) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *json = strdup(text);
        const Problem *problem;

        for (char *c = json; *c; c++)
                if (*c == '\'')
                        *c = '"';
        (void) config_parse(&config, "test.json", json, strlen(json), &problems);
        problem = problems.problems;
        if (problems.n_problems != 1 || !streq(problem->path, path) || problem->level != level ||
            (value ? !problem->value || !streq(problem->value, value) : problem->value != NULL) ||
            !strstr(problem->text, says)) {
                fprintf(stderr, "line %d: %s: expected %s: %s: %s, got\n", line, text, path, strempty(value),
                        says);
                print_problems(&problems);
                abort();
        }
}

#define assert_error(text, path, value, says) assert_problem_at(text, PROBLEM_ERROR, path, value, says, __LINE__)
#define assert_warning(text, path, value, says) \
        assert_problem_at(text, PROBLEM_WARNING, path, value, says, __LINE__)
/* One service 's' with further members; one with a further dependency. */
#define SERVICE(members) "{'services':{'s':{'name':'s'," members "}}}"
#define DEPENDENCY(members) \
        "{'services':{'s':{'name':'s','dependencies':[{'container':'d'," members "},{'container':'e'}]}}}"
#define service_error(member, json, says) \
        assert_error(SERVICE("'" member "':" json), "services.s." member, json_shown(json), says)
#define dependency_error(member, json, says)                                                                   \
        assert_error(DEPENDENCY("'" member "':" json), "services.s.dependencies[0]." member, json_shown(json), \
                     says)
#define health_error(member, json, says)                                  \
        assert_error(DEPENDENCY("'healthCheck':{'" member "':" json "}"), \
                     "services.s.dependencies[0].healthCheck." member, json_shown(json), says)

static const char *json_shown(const char *json) {
        static char shown[256];

        (void) snprintf(shown, sizeof(shown), "%s", json);
        for (char *c = shown; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return json[0] == '{' && json[1] != '}' ? "{…}" : json[0] == '[' && json[1] != ']' ? "[…]" : shown;
}

static void test_syntax_costs_the_file(void) {
        assert_error("{'services':{}", "", NULL, "line 1, column 15: expected ',' or '}'");
        assert_error("{'services':\n{'a':{'name':'\xff'}}}", "", NULL, "line 2, column 15: invalid UTF-8");
        assert_error("[]", "", NULL, "expected an object with 'services'");
        assert_error("null", "", NULL, "expected an object with 'services'");
        assert_error("", "", NULL, "line 1, column 1");
}

static void test_top_level(void) {
        assert_error("{'services':[]}", "services", "[]", "an object with services");
        assert_error("{'service':{}}", "service", "{}", "did you mean 'services'?");
        assert_error("{'engine':'dokcer'}", "engine", "\"dokcer\"", "did you mean 'docker'?");
        assert_error("{'engineSocket':'docker.sock'}", "engineSocket", "\"docker.sock\"", "absolute path");
        assert_error("{'api':{'sleepOverTCP':true}}", "api.sleepOverTCP", "true", "did you mean 'sleepOverTcp'?");
        assert_error("{'api':{'hosts':['a b']}}", "api.hosts[0]", "\"a b\"", "host name");
        assert_error("{'defaults':{'name':'x'}}", "defaults.name", "\"x\"", "belongs to one service");
        assert_error("{'defaults':{'idleTimout':1}}", "defaults.idleTimout", "1", "did you mean 'idleTimeout'?");
}

static void test_service_shape(void) {
        assert_error("{'services':{'s':[]}}", "services.s", "[]", "an object with 'name'");
        assert_error("{'services':{'s':{}}}", "services.s.name", NULL, "'name' is missing");
        assert_error("{'services':{'a/b':{'name':'x'}}}", "services[\"a/b\"]", "{…}", "1 to 64 letters");
        assert_error("{'services':{'..':{'name':'x'}}}", "services[\"..\"]", "{…}", "1 to 64 letters");
        assert_error("{'services':{'':{'name':'x'}}}", "services[\"\"]", "{…}", "1 to 64 letters");
        assert_error("{'services':{'a\\nb':{'name':'x'}}}", "services[\"a\\u000ab\"]", "{…}", "1 to 64 letters");
        assert_error("{'services':{'s':{'name':'x','nmae':1}}}", "services.s.nmae", "1", "did you mean 'name'?");
        assert_error("{'services':{'s':{'name':'x','port':1,'port':1}}}", "services.s.port", NULL,
                     "line 1, column 39");
        assert_error("{'services':{'s':{'name':'x'},'s':{'name':'x'}}}", "services.s", NULL, "already");
}

static void test_names(void) {
        assert_error("{'services':{'s':{'name':''}}}", "services.s.name", "\"\"", "name of a container");
        assert_error("{'services':{'s':{'name':'-x'}}}", "services.s.name", "\"-x\"", "name of a container");
        assert_error("{'services':{'s':{'name':'a\\u0000b'}}}", "services.s.name", "\"a\\u0000b\"",
                     "name of a container");
        assert_error("{'services':{'s':{'name':7}}}", "services.s.name", "7", "name of a container");
        service_error("network", "'a b'", "name of a network");
        service_error("composeDir", "'opt/x'", "absolute path");
        assert_error(SERVICE("'composeDir':'/a\\nb'"), "services.s.composeDir", "\"/a\\u000ab\"", "absolute path");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{'unit':'x'}]}}}",
                     "services.s.dependencies[0].unit", "\"x\"", "systemd unit");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{'unit':'a b.service'}]}}}",
                     "services.s.dependencies[0].unit", "\"a b.service\"", "systemd unit");
}

#define NAMED(list)                                    \
        "{'services':{'s':{'name':'web','names':" list \
        ",'dependencies':[{'container':'api'},{'unit':'x.service'}]}}}"

static void test_containers_that_are_named(void) {
        assert_error(NAMED("['apo']"), "services.s.names[0]", "\"apo\"",
                     "no container of this service, did you mean 'api'?");
        assert_error(NAMED("['x.service']"), "services.s.names[0]", "\"x.service\"",
                     "no container of this service");
        assert_error(NAMED("['api','api']"), "services.s.names[1]", "\"api\"", "twice");
        assert_error(NAMED("['b\xc3\xbc']"), "services.s.names[0]", "\"b\xc3\xbc\"",
                     "a list of 1 to 32 containers");
        assert_error(NAMED("[]"), "services.s.names", "[]", "a list of 1 to 32 containers");
        assert_error(NAMED("'api'"), "services.s.names", "\"api\"", "a list of 1 to 32 containers");
        assert_error("{'defaults':{'names':['web']},'services':{'s':{'name':'web'}}}", "defaults.names", "[…]",
                     "belongs to one service");
}

#define UNIT(unit, members) "{'services':{'s':{'name':'s','dependencies':[{'unit':'" unit "'" members "}]}}}"

static void test_units_that_can_be_started(void) {
        static const char *const bad[] = {
                "postgresql", "template@.service", "@x.service",         ".service",    "a/b.service",
                "user.slice", "x.scope",           "dev-sda.device",     "x.service.d", "x.Service",
                "",           "x%i.service",       "caf\xc3\xa9.service"
        };
        static const char *const good[] = { "postgresql@15-main.service",
                                            "srv-data.mount",
                                            "-.mount",
                                            "x.socket",
                                            "x.target",
                                            "x.timer",
                                            "x.path",
                                            "dev-x.swap",
                                            "a\\\\x2db.automount",
                                            "a@b@c.service" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = NULL, *value = NULL;

                ASSERT_TRUE(asprintf(&text, UNIT("%s", ""), bad[i]) > 0);
                ASSERT_TRUE(asprintf(&value, "\"%s\"", bad[i]) > 0);
                assert_error(text, "services.s.dependencies[0].unit", value, "systemd unit that can be started");
        }
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                _cleanup_free_ char *text = NULL;

                ASSERT_TRUE(asprintf(&text, UNIT("%s", ",'startOrder':-1"), good[i]) > 0);
                assert_error(text, "services.s.dependencies[0].startOrder", "-1", "0 to 1000000");
        }
}

static void test_own_units_are_services(void) {
        assert_error(UNIT("wake@memvid-api.service", ""), "services.s.dependencies[0].unit",
                     "\"wake@memvid-api.service\"", "expected 'service' with \"memvid-api\" instead");
        assert_error(UNIT("wake-control@a.b.socket", ""), "services.s.dependencies[0].unit",
                     "\"wake-control@a.b.socket\"", "expected 'service' with \"a.b\" instead");
        assert_error(UNIT("wake-front@a.service", ""), "services.s.dependencies[0].unit",
                     "\"wake-front@a.service\"", "expected 'service' with \"a\" instead");
}

static void test_units_have_no_address_of_their_own(void) {
        static const char path_tcp[] = "services.s.dependencies[0].healthCheck.tcp";
        static const char path_http[] = "services.s.dependencies[0].healthCheck.http";

        assert_error(UNIT("x.service", ",'healthCheck':{'tcp':5432}"), path_tcp, "5432", "\"ADDRESS:PORT\"");
        assert_error(UNIT("x.service", ",'healthCheck':{'http':'http://:80/x'}"), path_http, "\"http://:80/x\"",
                     "a URL with a host");
        assert_error(UNIT("x.service", ",'healthCheck':{'http':'https:///x'}"), path_http, "\"https:///x\"",
                     "a URL with a host");
        assert_error(UNIT("x.service", ",'healthCheck':{'http':'http://'}"), path_http, "\"http://\"",
                     "a URL with a host");
}

static void test_conditions_that_make_no_sense(void) {
        static const char path[] = "services.s.dependencies[0].condition";

        assert_error("{'services':{'s':{'name':'s','dependencies':[{'container':'s','condition':'completed'}]}}}",
                     path, "\"completed\"", "clients are to reach this container");
        assert_error("{'services':{'s':{'name':'s','port':80,'backend':'web:80','dependencies':["
                     "{'container':'web','condition':'completed'},{'container':'we'}]}}}",
                     path, "\"completed\"", "clients are to reach this container");
        assert_error(UNIT("x.mount", ",'condition':'completed'"), path, "\"completed\"", ".service can complete");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{'service':'t','condition':'started'}]},"
                     "'t':{'name':'t'}}}",
                     path, "\"started\"", "held awake as a whole");
}

static void test_members_without_effect_for_the_kind(void) {
        static const char path[] = "services.s.dependencies[0].healthCheck";

        assert_warning(DEPENDENCY("'condition':'completed','healthCheck':{'tcp':80}"), path, "{…}",
                       "'condition' does not ask");
        assert_warning(UNIT("x.service", ",'condition':'started','healthCheck':{'command':'true'}"), path, "{…}",
                       "'condition' does not ask");
        assert_warning("{'services':{'s':{'name':'s','dependencies':[{'service':'t','healthCheck':{'tcp':80}}]},"
                       "'t':{'name':'t'}}}",
                       path, "{…}", "ready when it is awake");
        assert_warning("{'services':{'s':{'name':'s','dependencies':[{'service':'t','keep':true}]},'t':{'name':'t'}}}",
                       "services.s.dependencies[0].keep", "true", "'idleTimeout' of 0");
}

static void test_numbers(void) {
        service_error("port", "0", "1 to 65535");
        service_error("port", "65536", "1 to 65535");
        service_error("port", "-1", "1 to 65535");
        service_error("port", "80.5", "1 to 65535");
        service_error("port", "'80'", "1 to 65535");
        service_error("port", "null", "1 to 65535");
        service_error("port", "1e400", "1 to 65535");
        /* What fits no integer is shown as the largest. */
        assert_error(SERVICE("'port':99999999999999999999999"), "services.s.port", "18446744073709551615",
                     "1 to 65535");
        dependency_error("startOrder", "-1", "0 to 1000000");
        dependency_error("startOrder", "1.5", "0 to 1000000");
        dependency_error("parallelGroup", "4294967297", "0 to 1000000");
        health_error("retries", "0", "1 to 100000");
        health_error("retries", "2147483648", "1 to 100000");
}

static void test_durations(void) {
        service_error("idleTimeout", "-1", "a duration of at most a year");
        service_error("idleTimeout", "'15'", "a duration of at most a year");
        service_error("idleTimeout", "'15 parsecs'", "a duration of at most a year");
        service_error("idleTimeout", "'-5s'", "a duration of at most a year");
        service_error("idleTimeout", "true", "a duration of at most a year");
        service_error("idleTimeout", "''", "a duration of at most a year");
        service_error("idleTimeout", "31536000001", "a duration of at most a year");
        service_error("globalTimeout", "0", "1 ms to a year");
        service_error("globalTimeout", "'infinity'", "1 ms to a year");
        service_error("drainTimeout", "1.5", "a duration of at most a year");
        dependency_error("startupDelay", "'99999999999999999999s'", "a duration");
        dependency_error("estimatedTime", "[]", "a duration");
        health_error("interval", "0", "1 ms to a year");
        health_error("timeout", "'0s'", "1 ms to a year");
}

static void test_enums_and_booleans(void) {
        service_error("page", "'sometimes'", "\"auto\", \"always\" or \"never\"");
        service_error("page", "true", "\"auto\", \"always\" or \"never\"");
        service_error("prewarm", "'al'", "did you mean 'all'?");
        service_error("sleep", "'paus'", "did you mean 'pause'?");
        service_error("proxyProtocol", "2", "\"none\", \"v1\" or \"v2\"");
        service_error("adopt", "1", "true or false");
        service_error("crossNetworkDeps", "'true'", "true or false");
        service_error("details", "null", "true or false");
        service_error("idleBytes", "100", "true or false");
        dependency_error("type", "'require'", "did you mean 'required'?");
        dependency_error("condition", "'healthy'", "\"ready\", \"started\" or \"completed\"");
        dependency_error("keep", "'yes'", "true or false");
}

static void test_texts(void) {
        service_error("title", "''", "1 to 200 bytes");
        service_error("backend", "'nginx'", "ADDRESS:PORT");
        service_error("backend", "'nginx:0'", "ADDRESS:PORT");
        service_error("backend", "':80'", "ADDRESS:PORT");
        service_error("backend", "'[::1:80'", "ADDRESS:PORT");
        service_error("backend", "'/run/x.sock'", "ADDRESS:PORT");
        assert_error(SERVICE("'port':80,'backend':'example.org:80'"), "services.s.backend", "\"example.org:80\"",
                     "a numeric address, or one of this service's containers");
        assert_error(SERVICE("'schedule':{'wake':''}"), "services.s.schedule.wake", "\"\"", "calendar");
        assert_error(SERVICE("'schedule':{'sleep':'*:0;x'}"), "services.s.schedule.sleep", "\"*:0;x\"",
                     "calendar");
        assert_error(SERVICE("'schedule':{'wkae':'daily'}"), "services.s.schedule.wkae", "\"daily\"",
                     "did you mean 'wake'?");
        service_error("schedule", "'daily'", "an object with 'wake' or 'sleep'");
        assert_error(SERVICE("'busy':{'cpu':0}"), "services.s.busy.cpu", "0", "1 to 100000");
        assert_error(SERVICE("'busy':{'cpu':'half'}"), "services.s.busy.cpu", "\"half\"", "percent");
        assert_error(SERVICE("'busy':{'command':' '}"), "services.s.busy.command", "\" \"", "shell command");
        assert_error(SERVICE("'busy':{'exce':true}"), "services.s.busy.exce", "true", "did you mean 'exec'?");
        service_error("busy", "'tar'", "an object with 'command', 'cpu' or 'exec'");
        assert_error(SERVICE("'ignore':{'paths':['health']}"), "services.s.ignore.paths[0]", "\"health\"",
                     "begins with '/'");
        assert_error(SERVICE("'ignore':{'answer':404}"), "services.s.ignore.answer", "404", "200 or 503");
        assert_error(SERVICE("'ignore':{'userAgents':''}"), "services.s.ignore.userAgents", "\"\"",
                     "1 to 256 bytes");
        assert_error(SERVICE("'ignore':{'userAgents':['x','@monitor']}"), "services.s.ignore.userAgents[1]",
                     "\"@monitor\"", "\"@monitors\"");
        assert_error(SERVICE("'ignore':{'paths':'@crawlers'}"), "services.s.ignore.paths", "\"@crawlers\"",
                     "\"@scanners\"");
}

static void test_further_ports(void) {
        service_error("ports", "2222", "a list of at most 64 ports");
        assert_error(SERVICE("'port':80,'ports':[0]"), "services.s.ports[0]", "0", "a TCP port");
        assert_error(SERVICE("'port':80,'ports':['22']"), "services.s.ports[0]", "\"22\"", "a TCP port");
        assert_error(SERVICE("'port':80,'ports':[{}]"), "services.s.ports[0].port", NULL, "missing");
        assert_error(SERVICE("'port':80,'ports':[{'port':22,'prot':1}]"), "services.s.ports[0].prot", "1",
                     "'port'");
        assert_error(SERVICE("'port':80,'ports':[22,80]"), "services.s.ports[1]", "80", "'port' already");
        assert_error(SERVICE("'port':80,'ports':[22,{'port':22}]"), "services.s.ports[1]", "{…}", "already");
        assert_error(SERVICE("'ports':[22]"), "services.s.ports", "[…]", "needs 'port'");
        assert_warning(SERVICE("'backend':'s:53','ports':[{'port':53,'protocol':'udp'}]"), "services.s.backend",
                       "\"s:53\"", "each may have its own");
        assert_error(SERVICE("'ports':[{'port':53,'protocol':'udp'},853]"), "services.s.ports", "[…]",
                     "only ports of UDP");
        assert_error(SERVICE("'port':80,'ports':[{'port':22,'backend':'example.org:22'}]"),
                     "services.s.ports[0].backend", "\"example.org:22\"", "one of this service's containers");
        assert_error(SERVICE("'port':80,'ports':[{'port':22,'listen':'22'}]"), "services.s.ports[0].listen",
                     "\"22\"", "needs a 'listen' of the service");
        assert_error(SERVICE("'port':80,'listen':'80','ports':[{'port':53,'listen':'udp:53'}]"),
                     "services.s.ports[0].listen", "\"udp:53\"", "of TCP");
        assert_error(SERVICE("'port':80,'listen':'80','ports':[{'port':53,'protocol':'udp','listen':'53'}]"),
                     "services.s.ports[0].listen", "\"53\"", "of UDP");
        assert_error(SERVICE("'port':80,'ports':[{'port':53,'protocol':'sctp'}]"), "services.s.ports[0].protocol",
                     "\"sctp\"", "\"tcp\" or \"udp\"");
        assert_error(SERVICE("'port':80,'listen':'80','ports':[{'port':53,'protocol':'udp','page':'auto'}]"),
                     "services.s.ports[0].page", "\"auto\"", "no page");
        assert_error(SERVICE("'port':80,'listen':'80','ports':[{'port':53,'protocol':'udp','proxyProtocol':'v1'}]"),
                     "services.s.ports[0].proxyProtocol", "\"v1\"", "no such header");
        assert_error(SERVICE("'port':80,'listen':['80','udp:53'],'ports':[{'port':53,'protocol':'udp'}]"),
                     "services.s.listen", "\"udp:53\"", "clashes");
        assert_error(SERVICE("'port':80,'ports':[{'port':22,'page':'no'}]"), "services.s.ports[0].page", "\"no\"",
                     "\"never\"");
        assert_error(SERVICE("'port':80,'ports':[{'port':22,'proxyProtocol':'v1'}]"),
                     "services.s.ports[0].proxyProtocol", "\"v1\"", "needs 'listen'");
        assert_error(SERVICE("'port':80,'listen':'8080','ports':[22]"), "services.s.ports[0]", "22",
                     "needs 'listen'");
        assert_error("{'services':{'a':{'name':'a','port':80},'b':{'name':'b','port':81,'listen':'22'},"
                     "'c':{'name':'c','port':82,'ports':[22]}}}",
                     "services.c.ports", "22", "clashes with the 'listen' address");
}

static void test_health_checks(void) {
        dependency_error("healthCheck", "'curl'", "an object");
        health_error("command", "' '", "shell command");
        health_error("command", "''", "shell command");
        health_error("http", "'localhost/health'", "a URL");
        health_error("http", "'http://a b/'", "a URL");
        health_error("http", "'http://:99999/'", "a URL");
        health_error("tcp", "70000", "a TCP port");
        health_error("tcp", "'db'", "a TCP port");
        health_error("intervall", "5", "did you mean 'interval'?");
        assert_error(DEPENDENCY("'healthCheck':{'command':'x','tcp':5}"), "services.s.dependencies[0].healthCheck",
                     "{…}", "not several");
}

static void test_address_lists(void) {
        static const char *const bad[] = { "10.0.0.0/33", "10.0.0",     "fd00::/129", "any", "",
                                           "1.2.3.4/",    "1.2.3.4/08", "::1/ 8" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = NULL, *value = NULL;

                ASSERT_TRUE(asprintf(&text, SERVICE("'ignore':{'addresses':['10.0.0.0/8','%s']}"), bad[i]) > 0);
                ASSERT_TRUE(asprintf(&value, "\"%s\"", bad[i]) > 0);
                assert_error(text, "services.s.ignore.addresses[1]", value, "an address or a network");
        }
}

static void test_listen_addresses(void) {
        static const char *const bad[] = { "",
                                           "0",
                                           "65536",
                                           "x",
                                           "080",
                                           "localhost:80",
                                           "1.2.3:80",
                                           "::1:80",
                                           "[::1]",
                                           "[::1]:",
                                           "[fe80::1%eth0]:80",
                                           "/",
                                           "@",
                                           "/a b",
                                           "udp:/x",
                                           "udp:",
                                           "tcp:80",
                                           "vsock:2:80" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = NULL, *value = NULL;

                ASSERT_TRUE(asprintf(&text, SERVICE("'port':80,'listen':['81','%s']"), bad[i]) > 0);
                ASSERT_TRUE(asprintf(&value, "\"%s\"", bad[i]) > 0);
                assert_error(text, "services.s.listen[1]", value, "\"IPV4:PORT\"");
        }
        assert_error(SERVICE("'port':80,'listen':[]"), "services.s.listen", "[]", "one or up to 16");
        assert_error(SERVICE("'port':80,'listen':80"), "services.s.listen", "80", "one or up to 16");
        assert_error(SERVICE("'port':80,'listen':'x'"), "services.s.listen", "\"x\"", "one or up to 16");
}

static void test_modes(void) {
        assert_error(SERVICE("'port':80,'allow':'10.0.0.0/8'"), "services.s.allow", "\"10.0.0.0/8\"",
                     "needs 'listen'");
        assert_error(SERVICE("'deny':['::/0']"), "services.s.deny", "[…]", "needs 'listen'");
        assert_error(SERVICE("'listen':'80'"), "services.s.port", NULL, "and so is 'backend'");
        assert_error(SERVICE("'port':80,'redirectPort':32768"), "services.s.redirectPort", "32768", "1 to 32767");
        assert_error(SERVICE("'port':80,'redirectPort':80"), "services.s.redirectPort", "80",
                     "clashes with the 'port' 80");
        assert_warning(SERVICE("'redirectPort':81"), "services.s.redirectPort", "81", "no effect without 'port'");
        assert_warning(SERVICE("'backend':'s:81'"), "services.s.backend", "\"s:81\"", "no effect without 'port'");
        assert_warning(SERVICE("'port':80,'listen':'81','redirectPort':82"), "services.s.redirectPort", "82",
                       "beside 'listen'");
        assert_error(SERVICE("'port':80,'proxyProtocol':'v2'"), "services.s.proxyProtocol", "\"v2\"",
                     "needs 'listen'");
        assert_warning(SERVICE("'port':80,'listen':'81','ignore':{'paths':'/up'}"), "services.s.ignore", NULL,
                       "takes it for down");
        assert_warning(SERVICE("'port':80,'ignore':{'userAgents':'x','answer':503}"), "services.s.ignore", NULL,
                       "such requests keep it awake");
        assert_warning(SERVICE("'port':80,'ignore':{'paths':'@scanners','answer':200,"
                               "'userAgents':['@monitors','@crawlers','@scanners']}"),
                       "services.s.ignore", NULL, "such requests keep it awake");
        assert_warning(SERVICE("'port':80,'idleBytes':true"), "services.s.idleBytes", "true", "without 'listen'");
}

static void test_dependencies(void) {
        service_error("dependencies", "{'container':'x'}", "a list");
        assert_error("{'services':{'s':{'name':'s','dependencies':['db']}}}", "services.s.dependencies[0]",
                     "\"db\"", "an object");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{}]}}}", "services.s.dependencies[0]", "{}",
                     "'container' is missing");
        assert_error(DEPENDENCY("'unit':'x.service'"), "services.s.dependencies[0]", "{…}", "not several");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{'container':'x'},{'container':'x'}]}}}",
                     "services.s.dependencies[1].container", "\"x\"", "already");
        assert_error(DEPENDENCY("'dependsOn':['f']"), "services.s.dependencies[0].dependsOn", "\"f\"",
                     "is no dependency");
        assert_error(DEPENDENCY("'dependsOn':['d']"), "services.s.dependencies[0].dependsOn", "\"d\"", "d → d");
        assert_error("{'services':{'s':{'name':'s','dependencies':[{'container':'aa','dependsOn':'bb'},{'"
                     "container':'bb',"
                     "'dependsOn':['cc']},{'container':'cc','dependsOn':['bb']}]}}}",
                     "services.s.dependencies[1].dependsOn", "\"bb\"", "waits for itself: bb → cc → bb");
        assert_error("{'services':{'s':{'name':'web','dependencies':[{'container':'mysql-web','dependsOn':['wbe']}"
                     "]}}}",
                     "services.s.dependencies[0].dependsOn", "\"wbe\"", "did you mean 'web'?");
        assert_error(SERVICE("'port':80,'backend':'x.service:80','dependencies':[{'unit':'x.service'}]"),
                     "services.s.backend", "\"x.service:80\"", "one of this service's containers");
}

static void test_cycles_through_steps(void) {
        assert_error("{'services':{'s':{'name':'b','dependencies':[{'container':'a','startOrder':1,'dependsOn':['b']},"
                     "{'container':'b','startOrder':2}]}}}",
                     "services.s.dependencies[0].dependsOn", "\"a\"",
                     "waits for itself, a later step being one that waits for earlier ones: a → b → a");
        assert_error("{'services':{'s':{'name':'d','dependencies':[{'container':'d','parallelGroup':2},"
                     "{'unit':'c.service','parallelGroup':1},{'service':'t','startOrder':1,'dependsOn':'x'},"
                     "{'container':'x','dependsOn':['c.service','d']}]},'t':{'name':'t'}}}",
                     "services.s.dependencies[2].dependsOn", "\"t\"", "t → x → c.service → t");
        /* A step that is wrong says nothing about who waits for whom. */
        assert_error("{'services':{'s':{'name':'b','dependencies':[{'container':'a','startOrder':1,'dependsOn':['b']},"
                     "{'container':'b','startOrder':-2}]}}}",
                     "services.s.dependencies[1].startOrder", "-2", "0 to 1000000");
}

static void test_networks(void) {
        assert_error(SERVICE("'network':'a','dependencies':[{'container':'d','network':'b'}]"),
                     "services.s.dependencies[0].network", "\"b\"", "'crossNetworkDeps' true");
        assert_error(SERVICE("'network':'a','crossNetworkDeps':false,'dependencies':[{'container':'d','network':'"
                             "b'}]"),
                     "services.s.dependencies[0].network", "\"b\"", "'crossNetworkDeps' true");
        assert_error(SERVICE("'network':'a','dependencies':[{'unit':'d.service','network':'a'}]"),
                     "services.s.dependencies[0].network", "\"a\"", "only a container");
}

#define TWO(first, second) "{'services':{'b':{'name':'b'," first "},'a':{'name':'a'," second "}}}"

static void test_clashes_cost_the_later(void) {
        assert_error(TWO("'port':80,'redirectPort':81", "'port':90,'redirectPort':81"), "services.a.redirectPort",
                     "81", "the redirect port 81 of service 'b'");
        assert_error(TWO("'port':80,'redirectPort':90", "'port':90"), "services.a.port", "90",
                     "the redirect port 90 of service 'b'");
        assert_error(TWO("'port':80", "'port':90,'redirectPort':80"), "services.a.redirectPort", "80",
                     "the 'port' 80 of service 'b'");
        assert_error(TWO("'port':80,'redirectPort':20080", "'port':8080,'listen':'127.0.0.1:20080'"),
                     "services.a.listen", "\"127.0.0.1:20080\"", "the redirect port 20080 of service 'b'");
        assert_error(TWO("'port':80", "'port':8080,'listen':'80'"), "services.a.listen", "\"80\"",
                     "the 'port' 80 of service 'b'");
        assert_error(TWO("'port':1,'listen':'[::1]:80'", "'port':1,'listen':'[0::1]:80'"), "services.a.listen",
                     "\"[0::1]:80\"", "\"[::1]:80\"");
        assert_error(TWO("'port':1,'listen':'80'", "'port':1,'listen':'10.0.0.1:80'"), "services.a.listen",
                     "\"10.0.0.1:80\"", "\"80\" of service 'b'");
        assert_error(TWO("'port':1,'listen':'/run/x'", "'port':1,'listen':'/run/x'"), "services.a.listen",
                     "\"/run/x\"", "clashes");
        assert_error(TWO("'port':1,'listen':'udp:53'", "'port':1,'listen':'udp:1.2.3.4:53'"), "services.a.listen",
                     "\"udp:1.2.3.4:53\"", "clashes");
}

static void test_references_between_services(void) {
        assert_error("{'services':{'web':{'name':'w','dependencies':[{'service':'databse'}]},'database':{'name':'"
                     "d'}}}",
                     "services.web.dependencies[0].service", "\"databse\"",
                     "no such service, did you mean 'database'?");
        assert_error("{'services':{'s':{'name':'w','dependencies':[{'service':'s'}]}}}",
                     "services.s.dependencies[0].service", "\"s\"", "wait for each other: s → s");
}

static void test_cycles_are_named_in_full(void) {
        static const char text[] =
                        "{\"services\":{\"a\":{\"name\":\"a\",\"dependencies\":[{\"service\":\"b\"}]},"
                        "\"b\":{\"name\":\"b\",\"dependencies\":[{\"service\":\"c\"}]},"
                        "\"c\":{\"name\":\"c\",\"dependencies\":[{\"service\":\"a\"}]},"
                        "\"d\":{\"name\":\"d\",\"dependencies\":[{\"service\":\"e\"}]},\"e\":{\"name\":\"e\"}}}";
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(problems.n_errors, 3);
        ASSERT_TRUE(strstr(problems.problems[0].text, "a → b → c → a"));
        ASSERT_TRUE(problems.problems[0].cycle);
        ASSERT_TRUE(strstr(problems.problems[1].text, "has errors itself"));
        ASSERT_FALSE(problems.problems[1].cycle);
        ASSERT_EQ(config->n_services, 2);
        ASSERT_TRUE(config_find(config, "d") && config_find(config, "e"));
}

static void test_a_broken_service_costs_only_itself(void) {
        static const char text[] =
                        "{\"services\":{\"bad\":{\"port\":0,\"x\":1},\"good\":{\"name\":\"g\",\"port\":80},"
                        "\"twice\":{\"name\":\"t\",\"dependencies\":[{\"container\":\"t\",\"container\":\"t\"}]},"
                        "\"clash\":{\"name\":\"c\",\"port\":81,\"redirectPort\":80},\"a "
                        "b\":{\"name\":\"x\"},\"ok\":{\"name\":\"o\"}}}";
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(config->n_services, 2);
        ASSERT_STREQ(config->services[0].name, "good");
        ASSERT_STREQ(config->services[1].name, "ok");
        ASSERT_EQ(problems.n_errors, 6);
        for (size_t i = 0; i < problems.n_problems; i++)
                ASSERT_TRUE(problems.problems[i].service && !config_find(config, problems.problems[i].service));
}

static void test_defaults_that_are_wrong(void) {
        static const char text[] = "{\"defaults\":{\"idleTimeout\":-1,\"allow\":[\"x\"]},\"services\":{"
                                   "\"open\":{\"name\":\"a\",\"port\":1,\"listen\":\"81\"},"
                                   "\"own\":{\"name\":\"a\",\"port\":1,\"listen\":\"82\",\"allow\":[\"::/0\"]}}}";
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(problems.n_errors, 3);
        ASSERT_STREQ(problems.problems[0].path, "defaults.allow[0]");
        ASSERT_STREQ(problems.problems[1].path, "defaults.idleTimeout");
        ASSERT_STREQ(problems.problems[2].path, "services.open.allow");
        ASSERT_EQ(config->n_services, 1);
        ASSERT_EQ(config->services[0].idle_timeout_usec, 15 * USEC_PER_MINUTE);
}

static void test_problems_are_lines(void) {
        static const char text[] = "{\"services\":{\"s\":{\"name\":5}}}";
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *line = NULL;

        ASSERT_OK(config_parse(&config, "a.json", text, strlen(text), &problems));
        line = problem_to_string(&problems.problems[0]);
        ASSERT_TRUE(strncmp(line, "a.json: services.s.name: 5: expected the name", 45) == 0);
}

int main(void) {
        test_syntax_costs_the_file();
        test_top_level();
        test_service_shape();
        test_names();
        test_containers_that_are_named();
        test_units_that_can_be_started();
        test_own_units_are_services();
        test_units_have_no_address_of_their_own();
        test_conditions_that_make_no_sense();
        test_members_without_effect_for_the_kind();
        test_numbers();
        test_durations();
        test_enums_and_booleans();
        test_texts();
        test_further_ports();
        test_health_checks();
        test_address_lists();
        test_listen_addresses();
        test_modes();
        test_dependencies();
        test_cycles_through_steps();
        test_networks();
        test_clashes_cost_the_later();
        test_references_between_services();
        test_cycles_are_named_in_full();
        test_a_broken_service_costs_only_itself();
        test_defaults_that_are_wrong();
        test_problems_are_lines();
        return 0;
}
