#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compose/composer.h"
#include "lease/lease.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/time.h"

/* Composer against programs of that name which are shell scripts here. Each writes what it was called with, and where, into a
 * file; what real compose programs print is in test-compose-file.c. */

static sd_event *event;
static char root[] = "/tmp/test-composer-XXXXXX";
static char *folder, *path_variable;
static char **lines;

#define CONFIG                                                                                                 \
        "{\"name\": \"shop\", \"services\": {\"web\": {\"container_name\": \"front\", \"image\": \"sim:1\"}, " \
        "\"db\": {}, \"app\": {\"build\": {}}}}"

typedef struct Made {
        Composition *composition;
        bool done;
        FailureReason reason;
        char sentence[1024];
} Made;

static void on_made(Composition *composition, FailureReason reason, const char *sentence, void *userdata) {
        Made *made = userdata;

        ASSERT_FALSE(made->done);
        made->done = true;
        made->reason = reason;
        (void) snprintf(made->sentence, sizeof(made->sentence), "%s", sentence);
        made->composition = composition_free(made->composition);
}

static void on_line(const char *line, void *userdata) {
        ASSERT_OK(strv_append(&lines, line));
}

static char *in_root(const char *name) {
        char *path;

        ASSERT_TRUE(asprintf(&path, "%s/%s", root, name) >= 0);
        return path;
}

static void write_file(const char *name, const char *text, mode_t mode) {
        _cleanup_free_ char *path = in_root(name);

        ASSERT_OK(file_replace(path, text, strlen(text), mode, false));
        ASSERT_TRUE(chmod(path, mode) >= 0);
}

static void remove_file(const char *name) {
        _cleanup_free_ char *path = in_root(name);

        ASSERT_TRUE(unlink(path) >= 0 || errno == ENOENT);
}

/* `script` has the arguments as "$*", and the test's folder as $root. */
static void install(const char *program, const char *script) {
        _cleanup_free_ char *name = NULL, *text = NULL;

        ASSERT_TRUE(asprintf(&name, "bin/%s", program) >= 0);
        if (!script) {
                remove_file(name);
                return;
        }
        ASSERT_TRUE(asprintf(&text,
                             "#!/bin/sh\nPATH=/usr/bin:/bin\nroot='%s'\necho \"%s $*\" >> $root/log\n"
                             "case \"$*\" in\n%s\nesac\n",
                             root, program, script) >= 0);
        write_file(name, text, 0755);
}

static char *log_text(void) {
        _cleanup_free_ char *path = in_root("log");
        char *text = NULL;

        return file_read(path, 65536, &text, NULL) < 0 ? strdup("") : text;
}

static void assert_log(const char *expected) {
        _cleanup_free_ char *text = log_text();

        ASSERT_STREQ(text, expected);
        remove_file("log");
}

static void forget_lines(void) {
        lines = strv_free(lines);
}

static Composer *composer_with(const char *where, const char *project, const Environment *environment) {
        static char *plain[2];
        static const Environment plain_environment = { .own = plain };
        Composer *composer = NULL;

        plain[0] = path_variable;
        ASSERT_OK(composer_new(&composer, event, where, project, environment ? environment : &plain_environment,
                               on_line, NULL));
        return composer;
}

static Composer *composer_for(const Environment *environment) {
        return composer_with(root, folder, environment);
}

static void wait_until_done(const Made *made) {
        while (!made->done)
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_SEC));
}

static void create_as(Composer *composer, const char *container, bool anew, Made *made) {
        *made = (Made){};
        ASSERT_OK(composer_create(&made->composition, composer, container, anew, on_made, made));
        ASSERT_FALSE(made->done);
}

static void create(Composer *composer, const char *container, Made *made) {
        create_as(composer, container, false, made);
}

static Made make(Composer *composer, const char *container) {
        Made made;

        create(composer, container, &made);
        wait_until_done(&made);
        return made;
}

#define PLUGIN_VERSION "'compose version --short') echo 2.26.1-4 ;;\n"
#define PLUGIN_CONFIG "'compose --profile * config --format json') echo '" CONFIG "' ;;\n"

static void test_makes_by_the_name_of_the_service(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made made;

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG
                "*' up '*) pwd >> $root/log; echo ' Container front  Creating' >&2; echo '  '; echo done ;;\n");
        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_NONE);
        ASSERT_STREQ(made.sentence, "");
        ASSERT_EQ(strv_length(lines), 2);
        ASSERT_STREQ(lines[0], "Container front  Creating");
        ASSERT_STREQ(lines[1], "done");
        forget_lines();

        {
                _cleanup_free_ char *expected = NULL;

                ASSERT_TRUE(asprintf(&expected,
                                     "docker compose version --short\n"
                                     "docker compose --profile * config --format json\n"
                                     "docker compose up --no-start --no-recreate --no-deps --no-build -- web\n%s\n",
                                     folder) >= 0);
                assert_log(expected);
        }

        /* The program is known by now; the project may have changed. */
        made = make(composer, "shop-db-1");
        ASSERT_EQ(made.reason, FAILURE_NONE);
        {
                _cleanup_free_ char *text = log_text();

                ASSERT_TRUE(!strstr(text, "version") && strstr(text, "config") && strstr(text, "-- db\n"));
        }
        remove_file("log");
        forget_lines();
}

static void test_several_queue(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made made[3];

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG "*'-- web') ;; *'-- db') exit 1 ;; *'-- app') ;;\n");
        create(composer, "front", &made[0]);
        create(composer, "shop-db-1", &made[1]);
        create(composer, "shop-app-1", &made[2]);
        wait_until_done(&made[2]);
        ASSERT_TRUE(made[0].done && made[1].done);
        ASSERT_EQ(made[0].reason, FAILURE_NONE);
        ASSERT_EQ(made[1].reason, FAILURE_START_FAILED);
        ASSERT_EQ(made[2].reason, FAILURE_NONE);
        assert_log("docker compose version --short\n"
                   "docker compose --profile * config --format json\n"
                   "docker compose up --no-start --no-recreate --no-deps --no-build -- web\n"
                   "docker compose up --no-start --no-recreate --no-deps --no-build -- db\n"
                   "docker compose up --no-start --no-recreate --no-deps --no-build -- app\n");
}

/* Whose network it has is made first, under its own name if that is wanted too; and is left when it is there. */
static void test_shared_network(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made made[2];

        install("docker",
                PLUGIN_VERSION "*' config '*) echo '{\"name\": \"j\", \"services\": {\"vpn\": {}, \"qbit\": "
                               "{\"network_mode\": \"service:vpn\"}}}' ;; *'-- vpn') exit 1 ;;\n");
        create(composer, "j-qbit-1", &made[0]);
        create(composer, "j-vpn-1", &made[1]);
        wait_until_done(&made[0]);
        ASSERT_EQ(made[1].reason, FAILURE_START_FAILED);
        ASSERT_EQ(made[0].reason, FAILURE_NONE);
        create_as(composer, "j-qbit-1", true, &made[0]);
        wait_until_done(&made[0]);
        ASSERT_EQ(made[0].reason, FAILURE_NONE);
        forget_lines();
        assert_log("docker compose version --short\n"
                   "docker compose --profile * config --format json\n"
                   "docker compose up --no-start --no-recreate --no-deps --no-build -- vpn\n"
                   "docker compose up --no-start --no-recreate --no-deps --no-build -- qbit vpn\n"
                   "docker compose --profile * config --format json\n"
                   "docker compose up --no-start --force-recreate --no-deps --no-build -- qbit\n");
}

static void test_second_version_without_the_docker_program(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);

        install("docker", NULL);
        install("docker-compose", "'version --short') echo v2.30.0 ;;\n"
                                  "'--profile * config --format json') echo '" CONFIG "' ;;\n"
                                  "*' --no-build -- web') ;;\n*) exit 1 ;;\n");
        ASSERT_EQ(make(composer, "front").reason, FAILURE_NONE);
        install("docker-compose", NULL);
        remove_file("log");
}

/* v1 prints YAML, and leaves all networks but the first to its own start. */
static void test_first_version(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        _cleanup_free_ char *expected = NULL;
        Made made;

        install("docker",
                "'compose version --short') echo 'unknown flag: --short' >&2; exit 125 ;;\n"
                "'network connect '*' shop_default project_web_1') "
                "echo 'Error response from daemon: endpoint with name x already exists in network y' >&2; exit 1 ;;\n");
        install("docker-compose",
                "'version --short') echo 1.29.2 ;;\n"
                "config) printf '%s\\n' networks: '  back:' '    external: true' '    name: shared' services: '  one:' "
                "'    image: sim' '  web:' '    networks:' '      back:' '        aliases:' '        - b b' "
                "'        ipv4_address: 172.30.0.7' '      default: null' '  mate:' '    network_mode: service:web' ;;\n"
                "*' --no-build -- web') echo 'Creating project_web_1 ... done' ;;\n"
                "*' --no-build -- one') ;;\n*) exit 1 ;;\n");
        made = make(composer, "project_web_1");
        ASSERT_STREQ(made.sentence, "");
        ASSERT_EQ(made.reason, FAILURE_NONE);
        ASSERT_EQ(strv_length(lines), 1);
        forget_lines();
        assert_log("docker compose version --short\n"
                   "docker-compose version --short\n"
                   "docker-compose config\n"
                   "docker-compose up --no-start --no-recreate --no-deps --no-build -- web\n"
                   "docker network connect --alias web --alias b b --ip 172.30.0.7 -- shared project_web_1\n"
                   "docker network connect --alias web -- project_default project_web_1\n");

        /* A single network is there already. */
        ASSERT_EQ(make(composer, "project_one_1").reason, FAILURE_NONE);
        assert_log("docker-compose config\ndocker-compose up --no-start --no-recreate --no-deps --no-build -- one\n");

        made = make(composer, "project_mate_1");
        ASSERT_EQ(made.reason, FAILURE_START_FAILED);
        ASSERT_TRUE(asprintf(&expected, "run 'docker-compose up -d --force-recreate mate' in '%s' once", folder) >=
                    0);
        ASSERT_TRUE(strstr(made.sentence, "of service 'web'") && strstr(made.sentence, expected));
        assert_log("docker-compose config\n");

        install("docker", "'network connect '*) echo 'Error response from daemon: no such luck' >&2; exit 1 ;;\n"
                          "*) exit 1 ;;\n");
        made = make(composer, "project_web_1");
        ASSERT_EQ(made.reason, FAILURE_START_FAILED);
        ASSERT_TRUE(strstr(made.sentence, "no such luck"));
        forget_lines();
        install("docker-compose", NULL);
        remove_file("log");
}

static void test_project_of_the_first_version_is_named(void) {
        /* What compose reads in .env goes before what we have. */
        char *const own[] = { path_variable, (char *) "COMPOSE_PROJECT_NAME=other", NULL };
        char *const dotenv[] = { (char *) "COMPOSE_PROJECT_NAME=My.Own_one", NULL };
        const Environment environment = { own, dotenv };
        _cleanup_(composer_freep) Composer *composer = composer_for(&environment);

        install("docker", NULL);
        install("docker-compose", "'version --short') echo 1.29.2 ;;\n"
                                  "config) printf '%s\\n' services: '  web:' '    image: sim' ;;\n");
        ASSERT_EQ(make(composer, "myown_one_web_1").reason, FAILURE_NONE);
        install("docker-compose", NULL);
        remove_file("log");
}

static void test_no_compose_at_all(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made made;

        install("docker", NULL);
        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_NOT_FOUND);
        ASSERT_TRUE(strstr(made.sentence, "neither 'docker compose' nor 'docker-compose' is installed"));

        /* It was installed meanwhile. */
        install("docker", PLUGIN_VERSION PLUGIN_CONFIG);
        ASSERT_EQ(make(composer, "front").reason, FAILURE_NONE);
        remove_file("log");
}

static void test_unknown_name(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        _cleanup_free_ char *expected = NULL;
        Made made;

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG);
        made = make(composer, "web");
        ASSERT_EQ(made.reason, FAILURE_NOT_FOUND);
        ASSERT_TRUE(asprintf(&expected,
                             "no service of the compose project in '%s' makes a container 'web'; it makes: front, "
                             "shop-db-1, shop-app-1; correct the name in dependencies.json",
                             folder) >= 0);
        ASSERT_STREQ(made.sentence, expected);
        remove_file("log");
}

static void test_failures_of_up(void) {
        static const struct {
                const char *container, *script;
                FailureReason reason;
                const char *sentence; /* a part of it */
        } cases[] = {
                { "front", "echo ' web Pulling '; echo 'Error response from daemon: no route' >&2; exit 18",
                  FAILURE_IMAGE_MISSING,
                  "image 'sim:1' of container 'front' is missing and cannot be pulled: no route; try 'docker compose "
                  "pull web' in '" },
                { "shop-app-1", "echo 'Error response from daemon: No such image: shop-app:latest'; exit 1",
                  FAILURE_IMAGE_MISSING,
                  "the image of container 'shop-app-1' is missing: run 'docker compose build app' in '" },
                { "front", "echo 'network x declared as external, but could not be found'; exit 1",
                  FAILURE_NETWORK_MISSING, "network 'x' does not exist" },
                { "front", "echo 'Cannot connect to the Docker daemon at unix:///x. Is it running?'; exit 1",
                  FAILURE_ENGINE_UNAVAILABLE, "cannot talk to the container engine: Cannot connect to" },
                { "front", "echo 'open secret.env: permission denied'; exit 14", FAILURE_NOT_FOUND,
                  "user wakechain may not read 'secret.env'" },
                { "front",
                  "echo 'Conflict. The container name \"/front\" is already in use by container \"0\". You'; exit 1",
                  FAILURE_NONE, "" },
                { "front", "echo 'one thing'; echo 'and another' >&2; exit 1", FAILURE_START_FAILED,
                  "cannot make it: and another" },
                { "front", "exit 3", FAILURE_START_FAILED, "cannot make it: exit status 3" },
                { "front", "kill -TERM $$", FAILURE_START_FAILED, "cannot make it: signal 15" },
        };
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *script = NULL;
                Made made;

                ASSERT_TRUE(asprintf(&script, PLUGIN_VERSION PLUGIN_CONFIG "*' up '*) %s ;;\n", cases[i].script) >=
                            0);
                install("docker", script);
                made = make(composer, cases[i].container);
                ASSERT_EQ(made.reason, cases[i].reason);
                if (!strstr(made.sentence, cases[i].sentence))
                        TEST_FAIL("'%s' is not in '%s'", cases[i].sentence, made.sentence);
        }
        forget_lines();
        remove_file("log");
}

static void test_failures_of_config(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made made;

        /* What it warns of is said once more by `up`; what it fails with is not. */
        install("docker",
                PLUGIN_VERSION "*config*) echo 'no configuration file provided: not found' >&2; exit 14 ;;\n");
        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_NOT_FOUND);
        ASSERT_TRUE(strstr(made.sentence, "there is no compose file in '"));
        ASSERT_EQ(strv_length(lines), 1);
        forget_lines();

        install("docker", PLUGIN_VERSION "*config*) echo 'a warning' >&2; echo '" CONFIG "' ;;\n");
        ASSERT_EQ(make(composer, "front").reason, FAILURE_NONE);
        ASSERT_EQ(strv_length(lines), 0);

        install("docker", PLUGIN_VERSION "*config*) echo 'this is no JSON' ;;\n");
        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_START_FAILED);
        ASSERT_TRUE(strstr(made.sentence, "cannot be understood"));

        install("docker", PLUGIN_VERSION "*config*) echo '{'; head -c 5000000 /dev/zero | tr '\\0' ' ' ;;\n");
        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_START_FAILED);
        ASSERT_TRUE(strstr(made.sentence, "cannot be understood"));
        remove_file("log");
}

/* The file's own words are compose's to read. */
static void test_environment(void) {
        char *const own[] = {
                path_variable,
                (char *) "HOME=/home/x",
                (char *) "A=as systemd reads it",
                (char *) "AB=kept",
                (char *) "EXPORTED=x",
                (char *) "COLON=x",
                (char *) "COMMENT=kept",
                NULL,
        };
        char *const dotenv[] = { (char *) "A=1", (char *) "EXPORTED=2", (char *) "COLON=3", (char *) "B=x", NULL };
        const Environment environment = { own, dotenv };
        _cleanup_(composer_freep) Composer *composer = composer_for(&environment);

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG
                "*' up '*) echo \"$HOME|${A-none}|$AB|${EXPORTED-none}|${COLON-none}|$COMMENT|${B-none}|$DOCKER_HOST\" ;;\n");
        ASSERT_OK(composer_set_engine(composer, "/run/other.sock"));
        ASSERT_EQ(make(composer, "front").reason, FAILURE_NONE);
        ASSERT_STREQ(lines[0], "/home/x|none|kept|none|none|kept|none|unix:///run/other.sock");
        forget_lines();
        remove_file("log");
}

static void test_missing_folder(void) {
        _cleanup_(composer_freep) Composer *composer = composer_with(root, "/nonexistent/stack", NULL);
        Made made;

        made = make(composer, "front");
        ASSERT_EQ(made.reason, FAILURE_NOT_FOUND);
        ASSERT_STREQ(made.sentence,
                     "the compose folder '/nonexistent/stack' does not exist: correct composeDir in "
                     "dependencies.json");
        assert_log("");
}

/* What a killed shell leaves behind comes to us, the subreaper, as it would come to init. */
static bool group_exists(pid_t group) {
        while (waitpid(-group, NULL, WNOHANG) > 0)
                ;
        return kill(-group, 0) >= 0;
}

/* `up` hangs, as it would while a registry does not answer. */
static pid_t wait_until_up_hangs(void) {
        _cleanup_free_ char *path = in_root("pid");

        for (;;) {
                _cleanup_free_ char *text = NULL;

                if (file_read(path, 64, &text, NULL) >= 0 && strchr(text, '\n')) {
                        remove_file("pid");
                        return (pid_t) strtol(text, NULL, 10);
                }
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        }
}

static void test_cancelled(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL);
        Made first, second, third;
        pid_t group;

        install("docker",
                PLUGIN_VERSION PLUGIN_CONFIG "*'-- web') echo $$ > $root/pid; sleep 1000 & sleep 1000 ;;\n"
                                             "*'-- app') ;;\n");
        create(composer, "front", &first);
        create(composer, "shop-db-1", &second);
        create(composer, "shop-app-1", &third);
        group = wait_until_up_hangs();
        (void) composition_free(second.composition);
        (void) composition_free(first.composition);
        wait_until_done(&third);
        ASSERT_EQ(third.reason, FAILURE_NONE);
        ASSERT_FALSE(first.done || second.done);
        while (group_exists(group))
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        remove_file("log");

        /* The last one: nothing is left to be done, and the lock is free. */
        create(composer, "front", &first);
        group = wait_until_up_hangs();
        (void) composition_free(first.composition);
        while (group_exists(group))
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        remove_file("log");
}

static void test_one_at_a_time_per_folder(void) {
        _cleanup_(composer_freep) Composer *composer = composer_for(NULL), *other = composer_for(NULL);
        Made first, second;
        pid_t group;

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG "*'-- web') echo $$ > $root/pid; sleep 1000 ;;\n"
                                                       "*'-- app') ;;\n");
        create(composer, "front", &first);
        group = wait_until_up_hangs();
        create(other, "shop-app-1", &second);
        remove_file("log");
        /* Nothing else happens in this loop than that it tries to get the lock. */
        for (int i = 0; i < 3; i++)
                ASSERT_OK(sd_event_run(event, USEC_INFINITY));
        assert_log("");
        ASSERT_FALSE(second.done);

        (void) composition_free(first.composition);
        wait_until_done(&second);
        ASSERT_EQ(second.reason, FAILURE_NONE);
        while (group_exists(group))
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        remove_file("log");
}

static void test_without_a_lock_file(void) {
        _cleanup_(composer_freep) Composer *composer = composer_with("/nonexistent", folder, NULL);

        install("docker", PLUGIN_VERSION PLUGIN_CONFIG);
        ASSERT_EQ(make(composer, "front").reason, FAILURE_NONE);
        remove_file("log");
}

int main(void) {
        static const char *const folders[] = { "bin", "project", "run/wakechain/lease" };
        _cleanup_free_ char *bin = NULL, *clean = NULL;

        ASSERT_TRUE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) >= 0);
        ASSERT_OK(sd_event_new(&event));
        ASSERT_TRUE(mkdtemp(root));
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = in_root(folders[i]);

                ASSERT_OK(directory_make(path));
        }
        folder = in_root("project");
        bin = in_root("bin");
        ASSERT_TRUE(asprintf(&path_variable, "PATH=%s", bin) >= 0);

        test_makes_by_the_name_of_the_service();
        test_several_queue();
        test_shared_network();
        test_second_version_without_the_docker_program();
        test_first_version();
        test_project_of_the_first_version_is_named();
        test_no_compose_at_all();
        test_unknown_name();
        test_failures_of_up();
        test_failures_of_config();
        test_environment();
        test_missing_folder();
        test_cancelled();
        test_one_at_a_time_per_folder();
        test_without_a_lock_file();

        ASSERT_TRUE(asprintf(&clean, "rm -r '%s'", root) >= 0);
        ASSERT_TRUE(system(clean) == 0);
        free(folder);
        free(path_variable);
        (void) sd_event_unref(event);
        return 0;
}
