#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/unit-tree.h"
#include "test.h"
#include "util/fd.h"
#include "util/text.h"

static char before_folder[] = "/tmp/test-unit-tree-XXXXXX", now_folder[] = "/tmp/test-unit-tree-XXXXXX";

static char *path_in(const char *folder, const char *path) {
        char *full = text_printf("%s/%s", folder, path), *slash = strrchr(full, '/');

        *slash = '\0';
        ASSERT_OK(directory_make(full));
        *slash = '/';
        return full;
}

static void put(const char *folder, const char *path, const char *text) {
        _cleanup_free_ char *full = path_in(folder, path);

        ASSERT_OK(file_replace(full, text, strlen(text), 0644, false));
}

static void put_link(const char *folder, const char *path, const char *target) {
        _cleanup_free_ char *full = path_in(folder, path);

        ASSERT_OK(symlink(target, full));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place) {
        return remove(path);
}

static void begin(void) {
        ASSERT_TRUE(mkdtemp(before_folder) && mkdtemp(now_folder));
}

static void end(void) {
        ASSERT_OK(nftw(before_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        ASSERT_OK(nftw(now_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        strcpy(before_folder + strlen(before_folder) - 6, "XXXXXX");
        strcpy(now_folder + strlen(now_folder) - 6, "XXXXXX");
}

/* As lines of "KIND SERVICE UNIT UNIT…". */
static void expect_changes(const char *expected) {
        _cleanup_(unit_tree_done) UnitTree before = {}, now = {};
        _cleanup_free_ char *text = strdup("");
        UnitChange *changes;
        size_t n;

        ASSERT_OK(unit_tree_read(&before, before_folder));
        ASSERT_OK(unit_tree_read(&now, now_folder));
        ASSERT_OK(unit_tree_compare(&changes, &n, &before, &now));
        for (size_t i = 0; i < n; i++) {
                char *line = text_printf("%s%s '%s'", text, unit_change_kind_to_string(changes[i].kind),
                                         changes[i].service);

                free(text);
                text = line;
                for (char **unit = changes[i].units; *unit; unit++) {
                        line = text_printf("%s %s", text, *unit);
                        free(text);
                        text = line;
                        ASSERT_TRUE(unit_tree_has_unit(&before, *unit) || unit_tree_has_unit(&now, *unit));
                }
                line = text_printf("%s\n", text);
                free(text);
                text = line;
        }
        ASSERT_STREQ(text, expected);
        unit_changes_free(changes, n);
}

static void put_service(const char *folder, const char *name, const char *port) {
        _cleanup_free_ char *socket = text_printf("wake@%s.socket", name),
                            *waker = text_printf("wake@%s.service.d/00-wakechain.conf", name),
                            *wanted = text_printf("sockets.target.wants/wake@%s.socket", name),
                            *control = text_printf("sockets.target.wants/wake-control@%s.socket", name);

        put(folder, socket, port);
        put(folder, waker, "[Unit]\n");
        put_link(folder, wanted, "../x");
        put_link(folder, control, "/usr/lib/x");
}

static void test_nothing(void) {
        begin();
        expect_changes("");
        for (int i = 0; i < 2; i++)
                put_service(i == 0 ? before_folder : now_folder, "blog", "1");
        expect_changes("");
        end();
}

static void test_each_kind(void) {
        begin();
        put_service(before_folder, "blog", "1");
        put_service(now_folder, "blog", "2");
        put_service(before_folder, "old", "1");
        put_service(before_folder, "same", "1");
        put_service(now_folder, "same", "1");
        put_service(now_folder, "a.new-one", "1");
        expect_changes("added 'a.new-one' wake-control@a.new-one.socket wake@a.new-one.socket wake@a.new-one.service\n"
                       "changed 'blog' wake@blog.socket\n"
                       "removed 'old' wake-control@old.socket wake@old.socket wake@old.service\n");
        end();
}

/* What other generators have made is nobody's change, nor is the stamp. */
static void test_others(void) {
        begin();
        put(now_folder, "home.mount", "x");
        put(now_folder, "local-fs.target.wants/home.mount", "x");
        put(now_folder, "wakeful@blog.service", "x");
        put(now_folder, "wakechain.reloaded", "");
        expect_changes("");
        put(now_folder, "wakechain-settle.service.d/00-wakechain.conf", "x");
        put_link(now_folder, "docker.service.wants/wakechain-redirect.service", "/usr/lib/x");
        expect_changes("added '' wakechain-redirect.service wakechain-settle.service\n");
        end();
}

/* A link that leads elsewhere, and a file in place of a link. */
static void test_links(void) {
        begin();
        put_link(before_folder, "sockets.target.wants/wake@a.socket", "../wake@a.socket");
        put_link(now_folder, "sockets.target.wants/wake@a.socket", "../wake@b.socket");
        expect_changes("changed 'a' wake@a.socket\n");
        end();
}

static void test_folder_that_is_none(void) {
        _cleanup_(unit_tree_done) UnitTree tree = {};

        ASSERT_OK(unit_tree_read(&tree, "/nonexistent/folder"));
        ASSERT_EQ(tree.n_files, 0);
        ASSERT_EQ(unit_tree_read(&tree, "/dev/null"), -ENOTDIR);
}

int main(void) {
        test_nothing();
        test_each_kind();
        test_others();
        test_links();
        test_folder_that_is_none();
        return 0;
}
