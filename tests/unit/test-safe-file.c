#include <ftw.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"
#include "util/safe-file.h"

/* Owners are changed by root only: without, tests of others' files end early. The folder is used in two ways: as a root of its own, and as a
 * path below the system's, whose /tmp is anybody's. */

#define SOMEBODY 12345
#define SOMEBODY_ELSE 12346

static char root[] = "/tmp/test-safe-file-XXXXXX";

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

static const char *in_root(const char *path) {
        static char paths[2][256];
        static unsigned i;

        i ^= 1;
        (void) snprintf(paths[i], sizeof(paths[i]), "%s%s", root, path);
        return paths[i];
}

static void put(const char *path) {
        _cleanup_free_ char *folder = strdup(in_root(path));

        ASSERT_TRUE(folder);
        *strrchr(folder, '/') = '\0';
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(file_replace(in_root(path), path, strlen(path), 0644, false));
}

static void link_to(const char *target, const char *path) {
        ASSERT_EQ(symlink(target, in_root(path)), 0);
}

static void give(const char *path, uid_t owner) {
        ASSERT_EQ(lchown(in_root(path), owner, (gid_t) -1), 0);
}

static char said[512];

static const char *kept(int r, char *text, char *why) {
        static char result[256];

        (void) snprintf(said, sizeof(said), "%s", strempty(why));
        if (r >= 0)
                (void) snprintf(result, sizeof(result), "%s", text);
        else {
                ASSERT_NULL(text);
                (void) snprintf(result, sizeof(result), "%s", strerrorname_np(-r));
        }
        free(text);
        free(why);
        return result;
}

/* Its content, or the error's name. */
static const char *read_below(const char *path, FileTrust trust) {
        char *text = NULL, *why = NULL;
        int r = safe_file_read(root, path, trust, 4096, &text, NULL, &why);

        return kept(r, text, why);
}

static const char *read_of_folder(const char *path) {
        char *text = NULL, *why = NULL;
        int r = safe_file_read("", in_root(path), FILE_OF_FOLDER, 4096, &text, NULL, &why);

        return kept(r, text, why);
}

static int check(const char *path) {
        _cleanup_free_ char *why = NULL;
        int r = safe_file_check(root, path, FILE_OF_ROOT, &why);

        (void) snprintf(said, sizeof(said), "%s", strempty(why));
        return r;
}

#define ASSERT_SAID(part)                                             \
        do {                                                          \
                if (!strstr(said, part))                              \
                        TEST_FAIL("'%s' is not in '%s'", part, said); \
        } while (false)

static void test_plain(void) {
        reset();
        put("/etc/a/file");
        for (int trust = 0; trust < _FILE_TRUST_MAX; trust++) {
                ASSERT_STREQ(read_below("/etc/a/file", trust), "/etc/a/file");
                ASSERT_STREQ(read_below("//etc/./a/../a//file", trust), "/etc/a/file");
                ASSERT_STREQ(read_below("/etc/a/other", trust), "ENOENT");
                ASSERT_STREQ(read_below("/etc/b/file", trust), "ENOENT");
                ASSERT_STREQ(read_below("/etc/a/file/file", trust), "ENOTDIR");
                ASSERT_STREQ(read_below("/etc/a", trust), "EISDIR");
                ASSERT_STREQ(read_below("/", trust), "EISDIR");
        }
        ASSERT_STREQ(read_of_folder("/etc/a/file"), "/etc/a/file");
        ASSERT_OK(check("/etc/a/file"));
        ASSERT_ERROR(check("/etc/a/other"), ENOENT);
        ASSERT_ERROR(check("/etc/b/c"), ENOENT);
}

static void test_other_kinds(void) {
        reset();
        put("/a/file");
        ASSERT_EQ(mkfifo(in_root("/a/pipe"), 0644), 0);
        for (int trust = 0; trust < _FILE_TRUST_MAX; trust++)
                ASSERT_STREQ(read_below("/a/pipe", trust), "EBADFD");
        ASSERT_SAID("is no regular file");
        ASSERT_ERROR(check("/a/pipe"), EBADFD);
        /* A container may make one in a folder that it is given. */
        if (geteuid() == 0 && mknod(in_root("/a/null"), S_IFCHR | 0666, makedev(1, 3)) == 0)
                ASSERT_STREQ(read_below("/a/null", FILE_OF_FOLDER), "EBADFD");
}

static void test_links_of_our_own(void) {
        reset();
        put("/srv/a/file");
        ASSERT_OK(directory_make(in_root("/etc")));
        link_to("/srv/a/file", "/etc/file");
        link_to("../srv/a", "/etc/folder");
        link_to("folder/file", "/etc/twice");
        link_to("loop", "/etc/loop");
        link_to("nowhere", "/etc/gone");
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_ROOT), "/srv/a/file");
        ASSERT_STREQ(read_below("/etc/twice", FILE_OF_ROOT), "/srv/a/file");
        ASSERT_STREQ(read_below("/etc/loop", FILE_OF_ROOT), "ELOOP");
        ASSERT_STREQ(read_below("/etc/gone", FILE_OF_ROOT), "ENOENT");

        ASSERT_STREQ(read_below("/etc/folder/file", FILE_OF_FOLDER), "/srv/a/file");
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_FOLDER), "ELOOP");
        ASSERT_SAID("is a symbolic link: put the file itself there");
}

static void test_what_others_may_write_is_not_roots(void) {
        char expected[512];

        if (geteuid() != 0)
                return;
        reset();
        put("/etc/a/file");
        give("/etc/a/file", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        (void) snprintf(expected, sizeof(expected), "chown root: '%1$s/etc/a/file'; chmod go-w '%1$s/etc/a/file'",
                        root);
        ASSERT_SAID(expected);
        ASSERT_ERROR(check("/etc/a/file"), EPERM);
        give("/etc/a", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        (void) snprintf(expected, sizeof(expected),
                        "chown root: '%1$s/etc/a' '%1$s/etc/a/file'; chmod go-w '%1$s/etc/a' '%1$s/etc/a/file'",
                        root);
        ASSERT_SAID(expected);
        ASSERT_STREQ(read_below("/etc/a/none", FILE_OF_ROOT), "ENOENT");
        ASSERT_ERROR(check("/etc/a/none"), EPERM);
        ASSERT_ERROR(check("/etc/a"), EPERM);
        ASSERT_ERROR(check("/etc"), EISDIR);

        /* The advice is enough. */
        give("/etc/a", 0);
        give("/etc/a/file", 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "/etc/a/file");

        ASSERT_EQ(chmod(in_root("/etc/a/file"), 0664), 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        ASSERT_EQ(chmod(in_root("/etc/a/file"), 0646), 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        ASSERT_EQ(chmod(in_root("/etc/a/file"), 0640), 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "/etc/a/file");
        ASSERT_EQ(chmod(in_root("/etc/a"), 0775), 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        ASSERT_EQ(chmod(in_root("/etc/a"), 01777), 0);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "/etc/a/file");

        /* Who may rename a folder above can put another in its place. */
        give("/etc", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/a/file", FILE_OF_ROOT), "EPERM");
        ASSERT_SAID("/etc' on the way to it: move it");
}

static void test_links_of_others_do_not_lead_to_roots_word(void) {
        if (geteuid() != 0)
                return;
        reset();
        put("/srv/a/file");
        ASSERT_OK(directory_make(in_root("/etc")));
        link_to("/srv/a/file", "/etc/file");
        give("/etc/file", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_ROOT), "ELOOP");
        ASSERT_SAID("chown -h root: '");

        give("/etc/file", 0);
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_ROOT), "/srv/a/file");
        give("/srv/a", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_ROOT), "EPERM");
        ASSERT_SAID("chown root: '");
        give("/srv/a", 0);
        /* Who may write the link's folder chooses the link. */
        give("/etc", SOMEBODY);
        ASSERT_STREQ(read_below("/etc/file", FILE_OF_ROOT), "EPERM");
        ASSERT_SAID("/etc' on the way to it");
}

static void test_a_folder_has_its_owners_files(void) {
        if (geteuid() != 0)
                return;
        reset();
        put("/stack/.env");
        ASSERT_STREQ(read_of_folder("/stack/.env"), "/stack/.env");
        give("/stack", SOMEBODY);
        ASSERT_STREQ(read_of_folder("/stack/.env"), "/stack/.env");
        give("/stack/.env", SOMEBODY);
        ASSERT_STREQ(read_of_folder("/stack/.env"), "/stack/.env");
        give("/stack", SOMEBODY_ELSE);
        ASSERT_STREQ(read_of_folder("/stack/.env"), "EPERM");
        ASSERT_SAID("belongs neither to root nor to the owner of its folder: chown root: '");
        give("/stack", 0);
        ASSERT_STREQ(read_of_folder("/stack/.env"), "EPERM");
}

/* Somebody's folder becomes a way to another one. */
static void test_nobody_has_others_files_read(void) {
        if (geteuid() != 0)
                return;
        reset();
        put("/opt/secret/.env");
        put("/opt/theirs/.env");
        give("/opt/theirs", SOMEBODY_ELSE);
        give("/opt/theirs/.env", SOMEBODY_ELSE);
        put("/home/me/stack/.env");
        give("/home/me", SOMEBODY);
        give("/home/me/stack", SOMEBODY);
        give("/home/me/stack/.env", SOMEBODY);
        link_to("stack", "/home/me/current");
        give("/home/me/current", SOMEBODY);
        ASSERT_STREQ(read_of_folder("/home/me/current/.env"), "/home/me/stack/.env");

        link_to("../../opt/secret", "/home/me/evil");
        give("/home/me/evil", SOMEBODY);
        ASSERT_STREQ(read_of_folder("/home/me/evil/.env"), "EPERM");
        ASSERT_SAID("reached by a symbolic link of another user's: name its folder as it is, '");
        link_to("../../opt/theirs", "/home/me/worse");
        give("/home/me/worse", SOMEBODY);
        ASSERT_STREQ(read_of_folder("/home/me/worse/.env"), "EPERM");
        link_to("evil", "/home/me/links");
        give("/home/me/links", SOMEBODY_ELSE);
        ASSERT_STREQ(read_of_folder("/home/me/links/.env"), "ELOOP");
        ASSERT_SAID("chown -h root: '");

        /* The same without links that can be seen. */
        ASSERT_EQ(unlink(in_root("/home/me/stack/.env")), 0);
        ASSERT_EQ(link(in_root("/opt/secret/.env"), in_root("/home/me/stack/.env")), 0);
        ASSERT_STREQ(read_of_folder("/home/me/stack/.env"), "EPERM");
        ASSERT_SAID("a hard link");
        ASSERT_STREQ(read_of_folder("/opt/secret/.env"), "/opt/secret/.env");
}

int main(void) {
        umask(0022);
        test_plain();
        test_other_kinds();
        test_links_of_our_own();
        test_what_others_may_write_is_not_roots();
        test_links_of_others_do_not_lead_to_roots_word();
        test_a_folder_has_its_owners_files();
        test_nobody_has_others_files_read();
        ASSERT_OK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        return EXIT_SUCCESS;
}
