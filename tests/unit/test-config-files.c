#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "test.h"
#include "util/fd.h"

/* Which files a config is made of. Each test has a root of its own, removed at the end. */

static char root[] = "/tmp/wakechain-test-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
        return remove(path);
}

static void reset(void) {
        static bool exists = false;

        if (exists)
                ASSERT_OK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        strcpy(root + strlen(root) - 6, "XXXXXX");
        ASSERT_TRUE(mkdtemp(root));
        exists = true;
}

static void put(const char *path, const char *text) {
        _cleanup_free_ char *below = NULL, *folder = NULL;

        ASSERT_TRUE(asprintf(&below, "%s%s", root, path) > 0);
        folder = strndup(below, (size_t) (strrchr(below, '/') - below));
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(file_replace(below, text, strlen(text), 0644, false));
}

#define SERVICE(name) "{\"services\":{\"" name "\":{\"name\":\"x\"}}}"

static const char *load(const char *path) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        static char found[256];

        ASSERT_OK(config_load(&config, root, path, &problems));
        ASSERT_EQ(problems.n_problems, 0);
        (void) snprintf(found, sizeof(found), "%s:", config->path);
        for (size_t i = 0; i < config->n_services; i++)
                strcat(strcat(found, " "), config->services[i].name);
        return found;
}

static void test_first_file_of_the_search_path_wins(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = NULL;

        reset();
        ASSERT_ERROR(config_load(&config, root, NULL, &problems), ENOENT);
        put("/opt/docker-autostart/dependencies.json", SERVICE("opt"));
        ASSERT_STREQ(load(NULL), "/opt/docker-autostart/dependencies.json: opt");
        put("/usr/lib/wakechain/dependencies.json", SERVICE("usr"));
        ASSERT_STREQ(load(NULL), "/usr/lib/wakechain/dependencies.json: usr");
        put("/run/wakechain/dependencies.json", SERVICE("run"));
        ASSERT_STREQ(load(NULL), "/run/wakechain/dependencies.json: run");
        put("/etc/wakechain/dependencies.json", SERVICE("etc"));
        ASSERT_STREQ(load(NULL), "/etc/wakechain/dependencies.json: etc");
        ASSERT_STREQ(load("/opt/docker-autostart/dependencies.json"),
                     "/opt/docker-autostart/dependencies.json: opt");
}

static void test_fragments_beside_it_are_merged(void) {
        reset();
        put("/etc/wakechain/dependencies.json", SERVICE("m"));
        put("/etc/wakechain/dependencies.d/20-b.json", SERVICE("b"));
        put("/etc/wakechain/dependencies.d/10-z.json", SERVICE("z"));
        put("/etc/wakechain/dependencies.d/.hidden.json", SERVICE("hidden"));
        put("/etc/wakechain/dependencies.d/30.json.bak", SERVICE("backup"));
        put("/opt/docker-autostart/dependencies.d/elsewhere.json", SERVICE("elsewhere"));
        ASSERT_STREQ(load(NULL), "/etc/wakechain/dependencies.json: b m z");
}

static void test_defaults_of_the_main_file_hold_in_fragments(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put("/etc/wakechain/dependencies.json", "{\"defaults\":{\"idleTimeout\":\"7s\"}}");
        put("/etc/wakechain/dependencies.d/a.json", SERVICE("a"));
        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_problems, 0);
        ASSERT_EQ(config->services[0].idle_timeout_usec, 7 * USEC_PER_SEC);
        ASSERT_STREQ(config->services[0].file, "/etc/wakechain/dependencies.d/a.json");
}

static void test_a_service_named_twice_is_in_neither(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put("/etc/wakechain/dependencies.json", "{\"services\":{\"a\":{\"name\":\"x\"},\"b\":{\"name\":\"x\"}}}");
        put("/etc/wakechain/dependencies.d/a.json", SERVICE("a"));
        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_problems, 1);
        ASSERT_STREQ(problems.problems[0].file, "/etc/wakechain/dependencies.d/a.json");
        ASSERT_STREQ(problems.problems[0].path, "services.a");
        ASSERT_TRUE(strstr(problems.problems[0].text, "'/etc/wakechain/dependencies.json'"));
        ASSERT_EQ(config->n_services, 1);
        ASSERT_STREQ(config->services[0].name, "b");
}

static void test_a_broken_fragment_costs_only_itself(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put("/etc/wakechain/dependencies.json", SERVICE("m"));
        put("/etc/wakechain/dependencies.d/a.json", "{\"services\":");
        put("/etc/wakechain/dependencies.d/b.json",
            "{\"engine\":\"podman\",\"services\":{\"b\":{\"name\":\"x\"}}}");
        put("/etc/wakechain/dependencies.d/c.json/x", "a folder");
        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_problems, 3);
        ASSERT_STREQ(problems.problems[0].file, "/etc/wakechain/dependencies.d/a.json");
        ASSERT_NULL(problems.problems[0].service);
        ASSERT_STREQ(problems.problems[1].path, "engine");
        ASSERT_TRUE(strstr(problems.problems[1].text, "belongs in the main file"));
        ASSERT_TRUE(strstr(problems.problems[2].text, "cannot be read"));
        ASSERT_EQ(config->n_services, 2);
        ASSERT_EQ(config->engine, ENGINE_DOCKER);
}

static void test_services_of_two_files_are_checked_together(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put("/etc/wakechain/dependencies.json",
            "{\"services\":{\"z\":{\"name\":\"x\",\"port\":80,\"redirectPort\":81}}}");
        put("/etc/wakechain/dependencies.d/a.json",
            "{\"services\":{\"a\":{\"name\":\"x\",\"port\":80,\"redirectPort\":81},"
            "\"b\":{\"name\":\"x\",\"dependencies\":[{\"service\":\"z\"}]}}}");
        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_problems, 1);
        ASSERT_STREQ(problems.problems[0].file, "/etc/wakechain/dependencies.d/a.json");
        ASSERT_STREQ(problems.problems[0].path, "services.a.redirectPort");
        ASSERT_TRUE(config_find(config, "z") && config_find(config, "b"));
}

static void test_a_broken_main_file_is_no_config(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = NULL;

        reset();
        put("/etc/wakechain/dependencies.json", "{");
        put("/run/wakechain/dependencies.json", SERVICE("run"));
        ASSERT_ERROR(config_load(&config, root, NULL, &problems), EBADMSG);
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_STREQ(problems.problems[0].file, "/etc/wakechain/dependencies.json");
        ASSERT_NULL(config);
}

static void test_a_file_that_cannot_be_read(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = NULL;

        reset();
        ASSERT_ERROR(config_load(&config, root, "/x.json", &problems), ENOENT);
        put("/etc/wakechain/dependencies.json/x", "a folder");
        ASSERT_ERROR(config_load(&config, root, NULL, &problems), EISDIR);
}

static void give(const char *path, uid_t owner) {
        _cleanup_free_ char *below = NULL;

        ASSERT_TRUE(asprintf(&below, "%s%s", root, path) > 0);
        ASSERT_EQ(chown(below, owner, (gid_t) -1), 0);
}

/* Whoever writes a health command is root. A file that is named is only looked at. */
static void test_what_is_not_roots_is_refused(void) {
        static const char *const paths[] = { "/etc/wakechain/dependencies.json", "/etc/wakechain", "/etc" };

        if (geteuid() != 0)
                return;
        reset();
        put("/etc/wakechain/dependencies.json", SERVICE("m"));
        put("/etc/wakechain/dependencies.d/a.json", SERVICE("a"));
        put("/run/wakechain/dependencies.json", SERVICE("run"));
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_(problem_list_done) ProblemList problems = {};
                Config *config = NULL;

                give(paths[i], 12345);
                ASSERT_ERROR(config_load(&config, root, NULL, &problems), EBADMSG);
                ASSERT_EQ(problems.n_errors, 1);
                ASSERT_STREQ(problems.problems[0].file, "/etc/wakechain/dependencies.json");
                ASSERT_TRUE(strstr(problems.problems[0].text, "is not root's alone"));
                ASSERT_STREQ(load("/etc/wakechain/dependencies.json"), "/etc/wakechain/dependencies.json: a m");
                give(paths[i], 0);
        }
        ASSERT_STREQ(load(NULL), "/etc/wakechain/dependencies.json: a m");
}

static void test_fragments_that_are_not_roots_are_left_out(void) {
        static const char *const paths[] = { "/etc/wakechain/dependencies.d/a.json",
                                             "/etc/wakechain/dependencies.d" };

        if (geteuid() != 0)
                return;
        reset();
        put("/etc/wakechain/dependencies.json", SERVICE("m"));
        put("/etc/wakechain/dependencies.d/a.json", SERVICE("a"));
        put("/etc/wakechain/dependencies.d/b.json", SERVICE("b"));
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                _cleanup_(problem_list_done) ProblemList problems = {};
                _cleanup_(config_freep) Config *config = NULL;

                give(paths[i], 12345);
                ASSERT_OK(config_load(&config, root, NULL, &problems));
                ASSERT_EQ(problems.n_errors, 1);
                ASSERT_STREQ(problems.problems[0].file, paths[i]);
                ASSERT_TRUE(strstr(problems.problems[0].text, "chown root: '"));
                ASSERT_EQ(config->n_services, i == 0 ? 2 : 1);
                give(paths[i], 0);
        }
}

static void test_pipes_are_not_waited_for(void) {
        _cleanup_(problem_list_done) ProblemList problems = {}, more = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *fragment = NULL, *path = NULL;
        Config *none = NULL;

        reset();
        put("/etc/wakechain/dependencies.json", SERVICE("m"));
        put("/etc/wakechain/dependencies.d/a.json/x", "");
        ASSERT_TRUE(asprintf(&fragment, "%s/etc/wakechain/dependencies.d/b.json", root) > 0);
        ASSERT_EQ(mkfifo(fragment, 0644), 0);
        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_errors, 2);
        ASSERT_STREQ(problems.problems[1].text, "is no regular file: put one there");

        ASSERT_TRUE(asprintf(&path, "%s/etc/wakechain/dependencies.json", root) > 0);
        ASSERT_EQ(unlink(path), 0);
        ASSERT_EQ(mkfifo(path, 0644), 0);
        ASSERT_ERROR(config_load(&none, root, NULL, &more), EBADMSG);
        ASSERT_STREQ(more.problems[0].text, "is no regular file: put one there");
}

int main(void) {
        test_first_file_of_the_search_path_wins();
        test_fragments_beside_it_are_merged();
        test_defaults_of_the_main_file_hold_in_fragments();
        test_a_service_named_twice_is_in_neither();
        test_a_broken_fragment_costs_only_itself();
        test_services_of_two_files_are_checked_together();
        test_a_broken_main_file_is_no_config();
        test_a_file_that_cannot_be_read();
        test_what_is_not_roots_is_refused();
        test_fragments_that_are_not_roots_are_left_out();
        test_pipes_are_not_waited_for();
        ASSERT_OK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        return 0;
}
