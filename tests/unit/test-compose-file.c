#include "compose/compose-file.h"
#include "compose/compose-output.h"
#include "compose/compose-yaml.h"
#include "test.h"

static ComposeFile *parse(ComposeFormat format, const char *text) {
        ComposeFile *file = NULL;

        ASSERT_OK(compose_file_parse(&file, format, text, strlen(text), "shop",
                                     format == COMPOSE_YAML ? '_' : '-'));
        return file;
}

/* As compose 2.26 prints it, shortened. */
static const char json[] =
                "{\"name\": \"web-shop\",\n"
                " \"networks\": {\"back\": {\"name\": \"databases-shared\", \"ipam\": {}, \"external\": true}},\n"
                " \"services\": {\n"
                "  \"app\": {\"command\": null, \"container_name\": \"nextcloud\", \"image\": \"sim\",\n"
                "           \"networks\": {\"back\": null, \"default\": null}},\n"
                "  \"cron\": {\"build\": {\"context\": \"/opt/shop\"}, \"network_mode\": \"service:app\"},\n"
                "  \"_hidden\": {\"image\": \"sim\"}}}\n";

static void test_json(void) {
        _cleanup_(compose_file_freep) ComposeFile *file = parse(COMPOSE_JSON, json);
        const ComposeService *app = compose_file_find(file, "nextcloud"),
                             *cron = compose_file_find(file, "web-shop-cron-1");

        ASSERT_STREQ(file->project, "web-shop");
        ASSERT_EQ(file->n_services, 3);
        ASSERT_TRUE(app && cron);
        ASSERT_STREQ(app->name, "app");
        ASSERT_STREQ(app->image, "sim");
        ASSERT_FALSE(app->built);
        ASSERT_NULL(app->sharing);
        ASSERT_EQ(app->n_networks, 2);
        ASSERT_STREQ(app->networks[0].name, "databases-shared");
        ASSERT_STREQ(app->networks[1].name, "web-shop_default");
        ASSERT_TRUE(cron->built);
        ASSERT_NULL(cron->image);
        ASSERT_STREQ(cron->sharing, "app");
        ASSERT_TRUE(compose_file_find(file, "web-shop-_hidden-1"));
        ASSERT_NULL(compose_file_find(file, "app"));
        ASSERT_NULL(compose_file_find(file, "web-shop-app-1"));
}

/* As docker-compose 1.29.2 printed it. */
static const char yaml[] =
                "networks:\n"
                "  databases:\n"
                "    external: true\n"
                "    name: databases-shared\n"
                "  n2:\n"
                "    ipam:\n"
                "      config:\n"
                "      - subnet: 172.30.0.0/24\n"
                "services:\n"
                "  '123':\n"
                "    container_name: \"on\"\n"
                "    image: sim\n"
                "  long:\n"
                "    command:\n"
                "    - sh\n"
                "    - -c\n"
                "    - \"echo 'a: b'\\nfoo:\\n    container_name: evil\\n  and a very long line that should\\\n"
                "      \\ be folded because it is more than eighty columns: wide\\n\"\n"
                "    container_name: 1e3\n"
                "    environment:\n"
                "      A b: 'x: #y'\n"
                "      EMPTY: ''\n"
                "      Q: quote ' and \"double\" and \\ and ü and a text that is as long as that it\n"
                "        goes on\n"
                "      'null': null\n"
                "    image: sim\n"
                "    labels:\n"
                "      ? very.long.label.name.that.is.very.very.very.very.very.very.very.very.very.very.very.long\n"
                "      : '1'\n"
                "    ports:\n"
                "    - published: 8080\n"
                "      target: 80\n"
                "  plain:\n"
                "    build:\n"
                "      context: /opt/t\n"
                "    environment: {}\n"
                "  shares:\n"
                "    image: sim\n"
                "    network_mode: service:plain\n"
                "  two:\n"
                "    image: sim\n"
                "    networks:\n"
                "      databases: null\n"
                "      default:\n"
                "        aliases:\n"
                "        - aaa\n"
                "        - b b\n"
                "      n2:\n"
                "        ipv4_address: 172.30.0.7\n"
                "        ipv6_address: fd00::7\n"
                "version: '3.7'\n"
                "volumes:\n"
                "  novol: {}\n"
                "\n";

static void test_yaml(void) {
        _cleanup_(compose_file_freep) ComposeFile *file = parse(COMPOSE_YAML, yaml);
        const ComposeService *two = compose_file_find(file, "shop_two_1"),
                             *plain = compose_file_find(file, "shop_plain_1");

        ASSERT_EQ(file->n_services, 5);
        ASSERT_STREQ(compose_file_find(file, "on")->name, "123");
        ASSERT_STREQ(compose_file_find(file, "1e3")->name, "long");
        ASSERT_NULL(compose_file_find(file, "evil"));
        ASSERT_TRUE(plain && plain->built);
        ASSERT_STREQ(compose_file_find(file, "shop_shares_1")->sharing, "plain");

        ASSERT_EQ(two->n_networks, 3);
        ASSERT_STREQ(two->networks[0].name, "databases-shared");
        ASSERT_NULL(two->networks[0].ipv4);
        ASSERT_STREQ(two->networks[1].name, "shop_default");
        ASSERT_EQ(strv_length(two->networks[1].aliases), 2);
        ASSERT_STREQ(two->networks[1].aliases[1], "b b");
        ASSERT_STREQ(two->networks[2].name, "shop_n2");
        ASSERT_STREQ(two->networks[2].ipv4, "172.30.0.7");
        ASSERT_STREQ(two->networks[2].ipv6, "fd00::7");
}

static void test_names_of_the_project(void) {
        _cleanup_(compose_file_freep) ComposeFile *file = NULL, *odd = NULL;
        const char *text = "{\"services\": {\"web\": {}}}";

        file = parse(COMPOSE_JSON, text);
        ASSERT_STREQ(file->project, "shop");
        ASSERT_TRUE(compose_file_find(file, "shop-web-1"));
        /* v1 leaves that out before a container's name. */
        ASSERT_OK(compose_file_parse(&odd, COMPOSE_JSON, text, strlen(text), "-_odd", '_'));
        ASSERT_TRUE(compose_file_find(odd, "odd_web_1"));
}

/* Neither an option nor anything else but a name gets into a command line. */
static void test_impossible_names_are_left_out(void) {
        _cleanup_(compose_file_freep) ComposeFile *file =
                        parse(COMPOSE_JSON,
                              "{\"services\": {"
                              "\"a b\": {}, \"--help\": {}, \"\": {}, \"ok\": {\"container_name\": \"a/b\"},"
                              "\"good\": {\"container_name\": 7}, \"x\": null}}");

        ASSERT_EQ(file->n_services, 3);
        ASSERT_STREQ(file->services[0].container, "shop---help-1");
        ASSERT_STREQ(file->services[1].container, "shop-good-1");
        ASSERT_STREQ(file->services[2].container, "shop-x-1");
}

static void test_what_is_no_project_is_refused(void) {
        static const struct {
                ComposeFormat format;
                const char *text;
        } cases[] = {
                { COMPOSE_JSON, "" },
                { COMPOSE_JSON, "null" },
                { COMPOSE_JSON, "{\"services\": {" },
                { COMPOSE_JSON, "{\"services\": []}" },
                { COMPOSE_JSON, "[]" },
                { COMPOSE_YAML, "" },
                { COMPOSE_YAML, "services:\n- a\n" },
                { COMPOSE_YAML, "services: {}\n\tx: y\n" },
                { COMPOSE_YAML, "services:\nno key\n" },
                { COMPOSE_YAML, "- a\n" },
                { COMPOSE_YAML, "  a: b\n" },
                { COMPOSE_YAML, "services: web\n" },
        };
        char nul[] = "services: {}\0a: b\n";
        ComposeFile *file = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_ERROR(compose_file_parse(&file, cases[i].format, cases[i].text, strlen(cases[i].text), "p",
                                                '-'),
                             EBADMSG);
        ASSERT_ERROR(compose_file_parse(&file, COMPOSE_YAML, nul, sizeof(nul) - 1, "p", '-'), EBADMSG);
        ASSERT_NULL(file);
}

static void test_yaml_depth_is_bounded(void) {
        char text[16384];
        size_t n = 0;
        json_object *object = NULL;

        for (int depth = 0; depth < 100; depth++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, "%*sa:\n", 2 * depth, "");
        ASSERT_ERROR(compose_yaml_read(&object, text, n), EBADMSG);
        ASSERT_NULL(object);
}

/* A mapping within itself, and one that doubles with each line. */
static void test_yaml_aliases_are_bounded(void) {
        static const char within[] = "a: &a\n  b: *a\n";
        char text[4096];
        size_t n;
        json_object *object = NULL;

        ASSERT_ERROR(compose_yaml_read(&object, within, strlen(within)), EBADMSG);
        n = (size_t) snprintf(text, sizeof(text), "a0: &a0 [x, x]\n");
        for (int i = 1; i < 30; i++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
        ASSERT_ERROR(compose_yaml_read(&object, text, n), EBADMSG);
        ASSERT_NULL(object);
}

static json_object *find(json_object *object, const char *name) {
        json_object *value = NULL;

        ASSERT_TRUE(json_object_object_get_ex(object, name, &value));
        return value;
}

static void test_yaml_values(void) {
        static const char text[] = "a: &id001\n"
                                   "  b: 'it''s'\n"
                                   "  c: \"plain\"\n"
                                   "  d: \"with \\n escape\"\n"
                                   "  e: 'of two\n"
                                   "    lines: not a key'\n"
                                   "  f: &id002 [1, {k: v}]\n"
                                   "  'g: h': ~\n"
                                   "l:\n"
                                   "- x\n"
                                   "-\n"
                                   "- y: 1\n"
                                   "  z: 2\n"
                                   "m: []\n"
                                   "n: &id003 text\n"
                                   "p: *id002\n"
                                   "q: \"null\"\n"
                                   "? [no, key]\n"
                                   ": x\n"
                                   "o:\n";
        json_object *object = NULL, *a, *l;

        ASSERT_OK(compose_yaml_read(&object, text, strlen(text)));
        a = find(object, "a");
        ASSERT_STREQ(json_object_get_string(find(a, "b")), "it's");
        ASSERT_STREQ(json_object_get_string(find(a, "c")), "plain");
        ASSERT_STREQ(json_object_get_string(find(a, "d")), "with \n escape");
        ASSERT_STREQ(json_object_get_string(find(a, "e")), "of two lines: not a key");
        ASSERT_STREQ(json_object_get_string(json_object_array_get_idx(find(a, "f"), 0)), "1");
        ASSERT_NULL(find(a, "g: h"));
        ASSERT_EQ(json_object_object_length(a), 6);
        l = find(object, "l");
        ASSERT_EQ(json_object_array_length(l), 3);
        ASSERT_STREQ(json_object_get_string(json_object_array_get_idx(l, 0)), "x");
        ASSERT_NULL(json_object_array_get_idx(l, 1));
        ASSERT_TRUE(json_object_is_type(find(object, "m"), json_type_array));
        ASSERT_STREQ(json_object_get_string(find(object, "n")), "text");
        ASSERT_NULL(find(object, "o"));
        ASSERT_STREQ(json_object_get_string(find(json_object_array_get_idx(find(object, "p"), 1), "k")), "v");
        ASSERT_STREQ(json_object_get_string(find(object, "q")), "null");
        ASSERT_EQ(json_object_object_length(object), 7);
        json_object_put(object);
}

/* What programs print */

static const struct {
        const char *lines;
        ComposeTrouble trouble;
        const char *subject, *line;
} outputs[] = {
        /* compose 2.26.1 */
        { " web Pulling \n"
          " web Error Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: refused\n"
          "Error response from daemon: Get \"https://registry.example/v2/\": dial tcp: lookup x: refused",
          COMPOSE_NO_IMAGE, NULL, "Get \"https://registry.example/v2/\": dial tcp: lookup x: refused" },
        { " web Pulling \nsomething that nobody has seen before", COMPOSE_NO_IMAGE, NULL,
          "something that nobody has seen before" },
        { " builtname Pulling \n builtname Warning Get \"https://registry.example/v2/\": refused\n"
          " Container t-builtname-1  Creating\nError response from daemon: No such image: foo/bar:latest",
          COMPOSE_NO_IMAGE, NULL, "No such image: foo/bar:latest" },
        { " x Pulling \n x Warning Get \"https://registry.example/v2/\": refused\n Container t-x-1  Creating\n"
          "Error response from daemon: invalid config for network t_n2: invalid endpoint settings:\n"
          "no configured subnet or ip-range contain the IP address 172.31.0.7",
          COMPOSE_OTHER, NULL, "no configured subnet or ip-range contain the IP address 172.31.0.7" },
        { " Network t_n2  Creating\n Network t_n2  Created\nnetwork x declared as external, but could not be found",
          COMPOSE_NO_NETWORK, "x", "network x declared as external, but could not be found" },
        { " Container nextcloud  Creating\nError response from daemon: Conflict. The container name \"/nextcloud\" is "
          "already in use by container \"2861\". You have to remove (or rename) that container",
          COMPOSE_NAME_TAKEN, NULL, NULL },
        { "open /opt/t/.env: permission denied", COMPOSE_UNREADABLE, "/opt/t/.env", NULL },
        { "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
          "\"http://%2Fvar%2Frun%2Fdocker.sock/v1.45/containers/json\": dial unix /var/run/docker.sock: connect: "
          "permission denied",
          COMPOSE_NO_ENGINE, NULL, NULL },
        { "Cannot connect to the Docker daemon at unix:///run/nosuch.sock. Is the docker daemon running?",
          COMPOSE_NO_ENGINE, NULL, NULL },
        { "no configuration file provided: not found", COMPOSE_NO_FILE, NULL, NULL },
        { "time=\"2026-11-24T02:00:23Z\" level=warning msg=\"the attribute `version` is obsolete\"\n"
          "validating /opt/t/docker-compose.yml: services.web Additional property imag is not allowed",
          COMPOSE_OTHER, NULL,
          "validating /opt/t/docker-compose.yml: services.web Additional property imag is not allowed" },
        { "external volume \"vol\" not found", COMPOSE_OTHER, NULL, "external volume \"vol\" not found" },

        /* docker-compose 1.29.2 */
        { "Pulling web (nosuch/image:1)...\nGet \"https://registry.example/v2/\": dial tcp: refused",
          COMPOSE_NO_IMAGE, NULL, "Get \"https://registry.example/v2/\": dial tcp: refused" },
        { "Pulling web (nosuch/image:1)...\nsomething else", COMPOSE_NO_IMAGE, NULL, "something else" },
        { "Service 'built' needs to be built, but --no-build was passed.", COMPOSE_NO_IMAGE, NULL, NULL },
        { "Network x declared as external, but could not be found. Please create the network manually using `docker "
          "network create x` and try again.",
          COMPOSE_NO_NETWORK, "x", NULL },
        { "Creating nextcloud ... \nCreating nextcloud ... error\n\n"
          "ERROR: for nextcloud  Cannot create container for service dup: Conflict. The container name \"/nextcloud\" "
          "is already in use by container \"d9aa\". You have to remove (or rename) that container\n"
          "Encountered errors while bringing up the project.",
          COMPOSE_NAME_TAKEN, NULL, NULL },
        { "Traceback (most recent call last):\n  File \"main.py\", line 81, in main\n    command_func()\n"
          "PermissionError: [Errno 13] Permission denied: './.env'",
          COMPOSE_UNREADABLE, "./.env", "PermissionError: [Errno 13] Permission denied: './.env'" },
        { ".PermissionError: [Errno 13] Permission denied: './docker-compose.yml'", COMPOSE_UNREADABLE,
          "./docker-compose.yml", NULL },
        { "Traceback (most recent call last):\n  File \"x.py\", line 30, in connect\n"
          "PermissionError: [Errno 13] Permission denied\n\n"
          "During handling of the above exception, another exception occurred:\n\n"
          "Traceback (most recent call last):\n  File \"y.py\", line 33, in <module>\n"
          "docker.errors.DockerException: Error while fetching server API version: ('Connection aborted.', "
          "PermissionError(13, 'Permission denied'))",
          COMPOSE_NO_ENGINE, NULL, NULL },
        { "\n        Can't find a suitable configuration file in this directory or any\n"
          "        parent. Are you in the right directory?\n\n        Supported filenames: docker-compose.yml\n",
          COMPOSE_NO_FILE, NULL, NULL },
        { "Creating network \"t_a\" with driver \"nosuchdriver\"\nplugin \"nosuchdriver\" not found",
          COMPOSE_OTHER, NULL, "plugin \"nosuchdriver\" not found" },
        { "", COMPOSE_OTHER, NULL, NULL },
};

static void test_outputs(void) {
        for (size_t i = 0; i < ELEMENTSOF(outputs); i++) {
                _cleanup_(compose_output_done) ComposeOutput output = {};
                _cleanup_free_ char *lines = strdup(outputs[i].lines);
                char *rest = lines, *line;

                while ((line = strsep(&rest, "\n")))
                        (void) compose_output_feed(&output, line);
                if (compose_output_trouble(&output) != outputs[i].trouble)
                        TEST_FAIL("%s: %d", outputs[i].lines, compose_output_trouble(&output));
                if (outputs[i].subject)
                        ASSERT_STREQ(output.subject, outputs[i].subject);
                else
                        ASSERT_NULL(output.subject);
                if (outputs[i].line)
                        ASSERT_STREQ(output.line, outputs[i].line);
        }
}

static void test_tracebacks_are_not_shown(void) {
        _cleanup_(compose_output_done) ComposeOutput output = {};

        ASSERT_TRUE(compose_output_feed(&output, "  indented"));
        ASSERT_FALSE(compose_output_feed(&output, "Traceback (most recent call last):"));
        ASSERT_FALSE(compose_output_feed(&output, "  File \"main.py\", line 81, in main"));
        ASSERT_TRUE(compose_output_feed(&output, "ValueError: no"));
        ASSERT_TRUE(compose_output_feed(&output, "  indented"));
}

int main(void) {
        test_json();
        test_yaml();
        test_names_of_the_project();
        test_impossible_names_are_left_out();
        test_what_is_no_project_is_refused();
        test_yaml_depth_is_bounded();
        test_yaml_aliases_are_bounded();
        test_yaml_values();
        test_outputs();
        test_tracebacks_are_not_shown();
        return 0;
}
