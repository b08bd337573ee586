#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "import/files.h"
#include "import/merge.h"
#include "test.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/text.h"

/* What is written beside what a person has. Each test has a root of its own; texts have ' for ". */

#define MAIN "/etc/wakechain/dependencies.json"
#define FRAGMENT "/etc/wakechain/dependencies.d/blog.json"
#define BLOG                                                                                \
        "{'name': 'blog-web-1', 'port': 9002, 'network': 'blog_default', 'dependencies': [" \
        "{'container': 'blog-db-1', 'healthCheck': {'tcp': 3306}}, "                        \
        "{'container': 'blog-web-1', 'dependsOn': ['blog-db-1'], 'healthCheck': {'tcp': 80}}]}"

static char root[] = "/tmp/test-import-files-XXXXXX";

static char *quoted(const char *text) {
        char *copy = strdup(text);

        ASSERT_TRUE(copy);
        for (char *c = copy; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return copy;
}

static json_object *object_of(const char *text) {
        _cleanup_free_ char *json = quoted(text);
        json_object *object = json_tokener_parse(json);

        ASSERT_TRUE(object);
        return object;
}

static char *below(const char *path) {
        char *text = text_printf("%s%s", root, path);

        ASSERT_TRUE(text);
        return text;
}

static void write_file(const char *path, const char *text) {
        _cleanup_free_ char *file = below(path), *json = quoted(text), *folder = strdup(file);

        *strrchr(folder, '/') = '\0';
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(file_replace(file, json, strlen(json), 0644, false));
}

static char *read_back(const char *path) {
        _cleanup_free_ char *file = below(path);
        char *text = NULL;

        ASSERT_OK(file_read(file, CONFIG_SIZE_MAX, &text, NULL));
        return text;
}

static bool exists(const char *path) {
        _cleanup_free_ char *file = below(path);

        return access(file, F_OK) == 0;
}

static void clear(void) {
        _cleanup_free_ char *command = text_printf("rm -rf %s/etc", root);

        ASSERT_EQ(system(command), 0);
}

/* 1: written, 0: nothing to do. */
static int import(const char *service, ImportChange *change, char **why) {
        _cleanup_(import_files_freep) ImportFiles *files = NULL;
        _cleanup_(json_freep) json_object *object = object_of(service);
        int r;

        r = import_files_open(&files, root, /* lock= */ true, why);
        if (r >= 0)
                r = import_files_merge(files, "blog", object, change, why);
        if (r >= 0)
                r = import_files_write(files, change, why);
        return r < 0 ? r : change->text != NULL;
}

static int import_simply(const char *service) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_free_ char *why = NULL;

        return import(service, &change, &why);
}

static size_t count_services(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_load(&config, root, NULL, &problems));
        ASSERT_EQ(problems.n_problems, 0);
        return config->n_services;
}

static void test_first(void) {
        _cleanup_free_ char *first = NULL, *second = NULL;

        clear();
        ASSERT_EQ(import_simply(BLOG), 1);
        ASSERT_EQ(count_services(), 1);
        first = read_back(FRAGMENT);

        /* Again: not a byte. */
        ASSERT_EQ(import_simply(BLOG), 0);
        second = read_back(FRAGMENT);
        ASSERT_STREQ(first, second);
}

static void test_main_file_comes_back(void) {
        _cleanup_free_ char *main = below(MAIN);

        clear();
        ASSERT_EQ(import_simply(BLOG), 1);
        /* As after a kill between the two. */
        ASSERT_EQ(unlink(main), 0);
        ASSERT_EQ(import_simply(BLOG), 0);
        ASSERT_EQ(count_services(), 1);
}

/* What a person has written, in a manner of their own, stays, to the last word. */
static void test_own_members_stay(void) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_(json_freep) json_object *expected = NULL, *found = NULL;
        _cleanup_free_ char *text = NULL, *why = NULL;

        clear();
        write_file(MAIN, "{'services': {}}");
        write_file(FRAGMENT,
                   "{'comment': 'mine', 'services': {'blog': {'name': 'blog-web-1', 'listen': '0.0.0.0:9002', 'backend': "
                   "'blog-web-1:80', 'idleTimeout': 0, 'dependencies': [{'container': 'blog-web-1', 'startOrder': 7}, "
                   "{'container': 'blog-mail-1', 'type': 'optional'}]}}}");
        ASSERT_EQ(import(BLOG, &change, &why), 1);
        text = read_back(FRAGMENT);
        found = object_of(text);
        expected = object_of(
                        "{'comment': 'mine', 'services': {'blog': {'name': 'blog-web-1', 'listen': '0.0.0.0:9002', 'backend': "
                        "'blog-web-1:80', 'idleTimeout': 0, 'dependencies': [{'container': 'blog-web-1', 'startOrder': 7}, "
                        "{'container': 'blog-mail-1', 'type': 'optional'}, {'container': 'blog-db-1', 'healthCheck': {'tcp': 3306}}], "
                        "'network': 'blog_default'}}}");
        ASSERT_TRUE(json_object_equal(found, expected));
        ASSERT_EQ(strv_length(change.missing), 1);
        ASSERT_STREQ(change.missing[0], "blog-mail-1");
        ASSERT_TRUE(strstr(change.difference, "+          \"container\": \"blog-db-1\""));
        ASSERT_FALSE(strstr(change.difference, "idleTimeout"));
        ASSERT_EQ(count_services(), 1);
        ASSERT_EQ(import_simply(BLOG), 0);
}

static void assert_refused(int error, const char *part) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_free_ char *why = NULL;
        int r = import(BLOG, &change, &why);

        ASSERT_EQ(r, -error);
        if (!why || !strstr(why, part))
                TEST_FAIL("'%s' does not have '%s'", strempty(why), part);
}

static void test_in_another_file(void) {
        static const char own[] = "{'services': {'blog': {'name': 'x'}}}",
                          other[] = "{'services': {'site': {'name': 'blog-web-1'}}}";

        clear();
        write_file(MAIN, own);
        assert_refused(EEXIST, "has a service of this name");
        write_file(MAIN, other);
        assert_refused(EEXIST, "is in service 'site'");
        ASSERT_FALSE(exists(FRAGMENT));
}

static void test_clash_with_the_whole(void) {
        clear();
        write_file(MAIN, "{'services': {'a': {'name': 'a', 'listen': '9002', 'backend': '127.0.0.1:1'}}}");
        assert_refused(EINVAL, "clashes with");
        ASSERT_FALSE(exists(FRAGMENT));
}

static void test_broken_files_are_left(void) {
        static const char *const broken[] = { "{'services': ", "[]", "{'services': {'blog': {'name': 7}}}",
                                              "{'services': {'blog': {'name': 'a', 'name': 'b'}}}" };

        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                _cleanup_free_ char *before = NULL, *after = NULL;

                clear();
                write_file(MAIN, "{'services': {}}");
                write_file(FRAGMENT, broken[i]);
                before = read_back(FRAGMENT);
                assert_refused(EINVAL, FRAGMENT);
                after = read_back(FRAGMENT);
                ASSERT_STREQ(before, after);
        }
        write_file(MAIN, "{");
        assert_refused(EBADMSG, "wakectl check");
}

static void test_link_is_left(void) {
        _cleanup_free_ char *link = below(FRAGMENT);

        clear();
        write_file(MAIN, "{'services': {}}");
        write_file("/etc/mine.json", "{'services': {}}");
        write_file("/etc/wakechain/dependencies.d/a.json", "{'services': {}}");
        ASSERT_EQ(symlink("../../mine.json", link), 0);
        assert_refused(EINVAL, "is a link");
}

/* What cannot be written again as it stands there is not written. */
static void test_numbers_are_kept(void) {
        static const char *const lost[] = { "-0", "123456789012345678901234567890", "[1, {'b': -0}]" };

        for (size_t i = 0; i < ELEMENTSOF(lost); i++) {
                _cleanup_free_ char *text = text_printf("{'x-a': 'a -0', 'x-b': %s, 'services': {}}", lost[i]);

                clear();
                write_file(MAIN, "{'services': {}}");
                write_file(FRAGMENT, text);
                assert_refused(EINVAL, "has a number");
        }
        clear();
        write_file(MAIN, "{'services': {}}");
        write_file(FRAGMENT, "{'x-a': '-0 \\\\', 'x-b': [1.10, -5, 1e3, 0], 'services': {}}");
        ASSERT_EQ(import_simply(BLOG), 1);
}

/* A waker's group may read it because of who owns it. */
static void test_owner_is_kept(void) {
        _cleanup_free_ char *path = below(FRAGMENT);
        struct stat status;

        clear();
        write_file(MAIN, "{'services': {}}");
        write_file(FRAGMENT, "{'services': {}}");
        ASSERT_OK(chmod(path, 0640));
        if (geteuid() == 0)
                ASSERT_OK(chown(path, 0, 12345));
        ASSERT_EQ(import_simply(BLOG), 1);
        ASSERT_OK(stat(path, &status));
        ASSERT_EQ(status.st_mode & 07777, 0640);
        if (geteuid() == 0)
                ASSERT_EQ(status.st_gid, 12345);
}

/* The second waits for the first, and then sees what it has written. */
static void test_two_at_once(void) {
        _cleanup_(import_files_freep) ImportFiles *files = NULL;
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_(json_freep) json_object *object = object_of(BLOG);
        _cleanup_free_ char *why = NULL;
        int status, locked[2];
        pid_t pid;
        char byte;

        clear();
        ASSERT_EQ(pipe(locked), 0);
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                ASSERT_EQ(read(locked[0], &byte, 1), 1);
                _exit(import_simply(BLOG));
        }
        ASSERT_OK(import_files_open(&files, root, true, &why));
        ASSERT_EQ(write(locked[1], "", 1), 1);
        ASSERT_OK(import_files_merge(files, "blog", object, &change, &why));
        ASSERT_OK(import_files_write(files, &change, &why));
        files = import_files_free(files);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        ASSERT_EQ(WEXITSTATUS(status), 0);
        ASSERT_EQ(count_services(), 1);
}

/* Between the look and the write: an edit, a new file, one that goes. */
static void test_changed_meanwhile(void) {
        static const char *const edits[] = { "{'services': {'blog': {'name': 'blog-web-1', 'port': 9003}}}",
                                             "nonsense", NULL };

        for (size_t i = 0; i < ELEMENTSOF(edits) + 1; i++) {
                bool fresh = i == ELEMENTSOF(edits);
                _cleanup_(json_freep) json_object *object = object_of(BLOG);
                _cleanup_(import_change_done) ImportChange change = {};
                _cleanup_(import_files_freep) ImportFiles *files = NULL;
                _cleanup_free_ char *why = NULL, *file = below(FRAGMENT);

                clear();
                if (!fresh)
                        write_file(FRAGMENT, "{'services': {'blog': {'name': 'blog-web-1', 'port': 9002}}}");
                ASSERT_OK(import_files_open(&files, root, /* lock= */ true, &why));
                ASSERT_OK(import_files_merge(files, "blog", object, &change, &why));
                if (fresh || edits[i])
                        write_file(FRAGMENT, fresh ? edits[0] : edits[i]);
                else
                        ASSERT_EQ(unlink(file), 0);
                ASSERT_EQ(import_files_write(files, &change, &why), -EBUSY);
                ASSERT_TRUE(strstr(why, "was changed meanwhile"));
                if (fresh || edits[i]) {
                        _cleanup_free_ char *left = read_back(FRAGMENT),
                                            *edit = quoted(fresh ? edits[0] : edits[i]);

                        ASSERT_STREQ(left, edit);
                } else
                        ASSERT_FALSE(exists(FRAGMENT));
        }
}

static int remove_blog(char **why) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_(import_files_freep) ImportFiles *files = NULL;
        int r;

        ASSERT_OK(import_files_open(&files, root, /* lock= */ true, why));
        r = import_files_remove(files, "blog", &change, why);
        return r < 0 ? r : import_files_write(files, &change, why);
}

static void assert_kept(int error, const char *part) {
        _cleanup_free_ char *why = NULL;

        ASSERT_EQ(remove_blog(&why), error);
        ASSERT_TRUE(strstr(why, part));
}

static void test_remove(void) {
        _cleanup_free_ char *why = NULL, *left = NULL;

        clear();
        assert_kept(-ENOENT, "no file has");
        write_file(MAIN, "{'services': {'blog': {'name': 'mine', 'port': 9002}}}");
        assert_kept(-EEXIST, MAIN);

        write_file(MAIN, "{'services': {'other': {'name': 'other', 'dependencies': [{'service': 'blog'}]}}}");
        ASSERT_EQ(import_simply(BLOG), 1);
        assert_kept(-EINVAL, "services.other");
        ASSERT_TRUE(exists(FRAGMENT));

        write_file(MAIN, "{'services': {}}");
        ASSERT_OK(remove_blog(&why));
        ASSERT_FALSE(exists(FRAGMENT));

        /* What else is in it stays. */
        write_file(FRAGMENT, "{'services': {'blog': {'name': 'blog-web-1'}, 'own': {'name': 'own'}}}");
        ASSERT_OK(remove_blog(&why));
        left = read_back(FRAGMENT);
        ASSERT_TRUE(strstr(left, "own"));
        ASSERT_FALSE(strstr(left, "blog"));
}

static void test_difference(void) {
        _cleanup_free_ char *text = import_difference("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nx\ne\nf\ng\nh\ni\n"),
                            *same = import_difference("a\n", "a\n"), *new = import_difference("", "a\nb\n");

        ASSERT_STREQ(text, "@@ line 2 @@\n b\n c\n-d\n+x\n e\n f\n g\n h\n+i\n");
        ASSERT_STREQ(same, "");
        ASSERT_STREQ(new, "@@ line 1 @@\n+a\n+b\n");
}

int main(void) {
        ASSERT_TRUE(mkdtemp(root));
        test_first();
        test_main_file_comes_back();
        test_own_members_stay();
        test_in_another_file();
        test_clash_with_the_whole();
        test_broken_files_are_left();
        test_link_is_left();
        test_numbers_are_kept();
        test_owner_is_kept();
        test_two_at_once();
        test_changed_meanwhile();
        test_remove();
        test_difference();
        clear();
        ASSERT_EQ(rmdir(root), 0);
        return 0;
}
