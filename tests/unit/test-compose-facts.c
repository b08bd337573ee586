#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import/compose-facts.h"
#include "test.h"
#include "util/fd.h"
#include "util/text.h"

/* Compose as a script of this test, under the names of either version. */

static char folder[] = "/tmp/test-compose-facts-XXXXXX";

static void play(const char *script) {
        static const char *const names[] = { "docker", "docker-compose" };
        _cleanup_free_ char *text = text_printf("#!/bin/sh\n%s\n", script);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = text_printf("%s/%s", folder, names[i]);

                ASSERT_OK(file_replace(path, text, strlen(text), 0755, false));
        }
}

static void assert_refused(const char *script, const char *part) {
        _cleanup_(import_world_done) ImportWorld world = {};
        _cleanup_free_ char *project = NULL, *why = NULL;

        play(script);
        ASSERT_ERROR(import_ask_compose(&world, folder, NULL, &project, &why), EINVAL);
        if (!strstr(why, part))
                TEST_FAIL("'%s' does not have '%s'", why, part);
        ASSERT_EQ(world.n_containers, 0);
}

static void test_says_which_variable(void) {
        assert_refused("echo 'error while interpolating services.a.environment.X: required variable DB_PASSWORD is missing a value: set it' >&2; "
                       "exit 1",
                       "DB_PASSWORD");
}

static void test_what_a_terminal_would_obey(void) {
        assert_refused("printf 'a\\033[2Jb ${X\\033[2J}\\n' >&2; exit 1", "the variable X is missing");
}

/* Its words may have a value among them. */
static void test_no_values(void) {
        assert_refused("echo 'invalid containerPort: hunter2' >&2; exit 1", "config' in that folder says why");
}

static void test_too_much(void) {
        assert_refused("head -c 50000000 /dev/zero", "more than 4 MiB");
}

static void test_nonsense(void) {
        assert_refused("echo '{\"services\": 7}'", "cannot be understood");
        assert_refused("echo '{'", "cannot be understood");
        assert_refused(":", "");
}

/* JSON is YAML, too. */
static void test_files_are_passed_on(void) {
        _cleanup_(import_world_done) ImportWorld world = {};
        _cleanup_free_ char *project = NULL, *why = NULL;
        char *files[] = { (char *) "a.yml", (char *) "b.yml", NULL };

        play("case \"$*\" in *'-f a.yml -f b.yml config'*) echo '{\"name\": \"given\", \"services\": {\"web\": {\"image\": \"x\"}}}';; *) exit 1;; esac");
        ASSERT_OK(import_ask_compose(&world, folder, files, &project, &why));
        ASSERT_STREQ(project, "given");
        ASSERT_OK(import_world_group(&world));
        ASSERT_EQ(world.n_containers, 1);
        ASSERT_STREQ(world.containers[0].project, "given");
        ASSERT_STREQ(world.containers[0].folder, folder);
}

int main(void) {
        static const char *const names[] = { "docker", "docker-compose" };
        _cleanup_free_ char *path = NULL;

        ASSERT_TRUE(mkdtemp(folder));
        path = text_printf("%s:%s", folder, strempty(getenv("PATH")));
        ASSERT_EQ(setenv("PATH", path, 1), 0);
        test_says_which_variable();
        test_what_a_terminal_would_obey();
        test_no_values();
        test_too_much();
        test_nonsense();
        test_files_are_passed_on();
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *script = text_printf("%s/%s", folder, names[i]);

                ASSERT_EQ(unlink(script), 0);
        }
        ASSERT_EQ(rmdir(folder), 0);
        return 0;
}
