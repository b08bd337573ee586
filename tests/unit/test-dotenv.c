#include <sys/stat.h>
#include <unistd.h>

#include "compose/dotenv.h"
#include "test.h"
#include "util/fd.h"

static char folder[] = "/tmp/test-dotenv-XXXXXX";

static const char *in_folder(const char *name) {
        static char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        return path;
}

/* All variables, one after the other. */
static const char *parse_as(const char *text, bool v1) {
        _cleanup_(strv_freep) char **list = NULL;
        static char all[1024];
        size_t n = 0;

        ASSERT_OK(dotenv_parse(&list, text, strlen(text), v1));
        all[0] = '\0';
        for (char **entry = list; entry && *entry; entry++)
                n += (size_t) snprintf(all + n, sizeof(all) - n, "%s%s", n > 0 ? "|" : "", *entry);
        return all;
}

static const char *parse(const char *text) {
        return parse_as(text, /* v1= */ false);
}

static void test_lines(void) {
        ASSERT_STREQ(parse(""), "");
        ASSERT_STREQ(parse("A=1"), "A=1");
        ASSERT_STREQ(parse("# no\n\n  # A=0\nA=1\n\tB = two words \t\n"), "A=1|B=two words");
        ASSERT_STREQ(parse("export A=1\nexport\tB: 2\nexport=3\nexported=4"), "A=1|B=2|export=3|exported=4");
        ASSERT_STREQ(parse("A=1\nA=2\nB=3\nA=4\n"), "A=4|B=3");
        ASSERT_STREQ(parse("A=\nB=  \nC=\"\"\nD=''"), "A=|B=|C=|D=");
        ASSERT_STREQ(parse("A\nexport\n=1\n1A=1\na-b=1\nA.B=1\nA B=1\nB=1\n"), "B=1");
}

static void test_passwords(void) {
        ASSERT_STREQ(parse("A=pa=ss;w&o|r*d!?(\\n)\n"), "A=pa=ss;w&o|r*d!?(\\n)");
        ASSERT_STREQ(parse("A='$a\"b\\n`c`'"), "A=$a\"b\\n`c`");
        ASSERT_STREQ(parse("A=it's\nB=5\" disk"), "A=it's|B=5\" disk");
        ASSERT_STREQ(parse("A=p\xc3\xa4ss"), "A=p\xc3\xa4ss");
}

/* One that has no end costs its line. */
static void test_quotes_without_end(void) {
        ASSERT_STREQ(parse("A='x\nB=2\nC=\"y\nD=4"), "B=2|D=4");
        ASSERT_STREQ(parse("A=\"x\\"), "");
        ASSERT_STREQ(parse("A='x\\'"), "");
}

/* What each of the two made of these lines behind "S=set": tried with docker compose 2.26 and docker-compose 1.29. NULL: no variable V. */
static void test_as_compose(void) {
        static const struct {
                const char *text, *v2, *v1;
        } cases[] = {
                { "V=a$$b", "a$b", "a$$b" },
                { "V=\"a$$b\"", "a$b", "a$$b" },
                { "V='a$$b'", "a$$b", "a$$b" },
                { "V=a$Sb", "a", "a$Sb" },
                { "V=a$S", "aset", "a$S" },
                { "V=\"a$S\"", "aset", "a$S" },
                { "V='a$S'", "a$S", "a$S" },
                { "V=a${S}b", "asetb", "asetb" },
                { "V=\"a${S}b\"", "asetb", "asetb" },
                { "V='a${S}'", "a${S}", "aset" },
                { "V=a${NOPE}", "a", "a" },
                { "V=a${NOPE:-x y}", "ax y", "ax y" },
                { "V=a${NOPE-d}", "ad", "a" },
                { "V=a${S:?x}", "aset", "a${S:?x}" },
                { "V=a${S:+alt}", "aalt", "a${S:+alt}" },
                { "V=a${NOPE:-$S}", "aset", "a$S" },
                { "V=${NOPE:-a${S}b}c", "asetbc", "a${Sb}c" },
                { "V=\"${S:-x}${NOPE:+y}${S+z}\"", "setz", "set${NOPE:+y}" },
                { "V=${NOPE:-\"q\"}", "\"q\"", "\"q\"" },
                { "V=a$1", "a$1", "a$1" },
                { "V=a$", "a$", "a$" },
                { "V=100$%", "100$%", "100$%" },
                { "V=a$S.x", "aset.x", "a$S.x" },
                { "V=${S}}", "set}", "set}" },
                { "V=$S$S", "setset", "$S$S" },
                { "V=$$$S", "$set", "$$$S" },
                { "V=a$(ls)`ls`", "a$(ls)`ls`", "a$(ls)`ls`" },
                { "V=a\\$S", "a\\set", "a\\$S" },
                { "V=a\\${S}", "a\\set", "a\\set" },
                { "V=a # c", "a", "a" },
                { "V=a\t# c", "a\t# c", "a" },
                { "V=a#b # c", "a#b", "a#b" },
                { "V=#c", "#c", "#c" },
                { "V= # c", "# c", "# c" },
                { "V='a # b' # c", "a # b", "a # b" },
                { "V=\"a # b\"# c", "a # b", "a # b" },
                { "V: a", "a", NULL },
                { "V='a'b", "a", NULL },
                { "V=\"a\\tb\\nb\\ab\"", "a\tb\nb\ab", "a\tb\nb\ab" },
                { "V=\"a\\xb\"", "a\\xb", "a\\xb" },
                { "V=\"a\\'b\"", "a\\'b", "a'b" },
                { "V=\"a\\$S\"", "a$S", "a\\$S" },
                { "V=\"a\\${S}\"", "a${S}", "a\\set" },
                { "V=\"a\\\\$S\"", "a\\set", "a\\$S" },
                { "V=\"a\\\"$S\\\"\"", "a\"set\"", "a\"$S\"" },
                { "V='a\\'b'", "a'b", "a'b" },
                { "V='a\\\\b'", "a\\\\b", "a\\b" },
                { "V='a\\nb'", "a\\nb", "a\\nb" },
                { "V=a\\nb", "a\\nb", "a\\nb" },
                { "V=\"a\nb\"", "a\nb", "a\nb" },
                /* v2 refuses these files, so that nothing was made of them. */
                { "V=${S", "${S", "${S" },
                { "V=a${NOPE:?x}", "a${NOPE:?x}", "a${NOPE:?x}" },
                { "V=${}", "${}", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (unsigned v1 = 0; v1 < 2; v1++) {
                        const char *expected = v1 ? cases[i].v1 : cases[i].v2;
                        char text[128], all[128] = "S=set";

                        (void) snprintf(text, sizeof(text), "S=set\n%s\n", cases[i].text);
                        if (expected)
                                (void) snprintf(all, sizeof(all), "S=set|V=%s", expected);
                        if (!streq(parse_as(text, v1), all))
                                TEST_FAIL("%s of %s in v%u", parse_as(text, v1), cases[i].text, v1 ? 1 : 2);
                }
}

static void test_references(void) {
        ASSERT_STREQ(parse("A=1\nB=$A/${A}x$A_\nC=\"<${B}>\"\nD='$A'"), "A=1|B=1/1x|C=<1/1x>|D=$A");
        ASSERT_STREQ(parse("A=${B}$C.\nB=2"), "A=.|B=2");
        ASSERT_STREQ(parse("E=\nB=${E:-x}${E-y}${E:+z}${E+v}${N+w}${N:-}"), "E=|B=xv");
        ASSERT_STREQ(parse_as("E=\nB=<${E:-x}${N:-y}>", true), "E=|B=<y>");
        ASSERT_STREQ(parse("A=${B:}${1-${B!x}"), "A=${B:}${1-${B!x}");
        /* As deep as may be, and deeper. */
        ASSERT_STREQ(parse("A=${B-${B-${B-${B-${B-${B-${B-${B-x}}}}}}}}"), "A=x");
        ASSERT_STREQ(parse("A=${B-${B-${B-${B-${B-${B-${B-${B-${B-x}}}}}}}}}"), "A=${B-x}");
}

static void test_files_of_other_systems(void) {
        ASSERT_STREQ(parse("\xef\xbb\xbf"
                           "A=1\r\nB='2'\r\n\r\n# C=3\r\nD = 4 \r\n"),
                     "A=1|B=2|D=4");
}

static void test_no_text(void) {
        char **list = NULL;

        ASSERT_ERROR(dotenv_parse(&list, "A=1\n\0B=2", 8, false), EBADMSG);
        ASSERT_ERROR(dotenv_parse(&list, "A\0=\0001\0", 6, false), EBADMSG);
        ASSERT_NULL(list);
}

static void test_what_refers_to_others_does_not_grow(void) {
        char text[4096] = "A=xxxxxxxxxxxxxxxx\n", **list = NULL;
        size_t n = strlen(text);

        for (char name = 'B'; name <= 'Z'; name++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, "%c=$%c$%c$%c$%c\n", name, name - 1, name - 1,
                                       name - 1, name - 1);
        ASSERT_ERROR(dotenv_parse(&list, text, n, false), E2BIG);
        ASSERT_NULL(list);
}

static void test_number_of_variables(void) {
        static char text[DOTENV_SIZE_MAX];
        char **list = NULL;
        size_t n = 0;

        for (unsigned i = 0; i < DOTENV_VARIABLES_MAX; i++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, "A%u=1\n", i);
        ASSERT_OK(dotenv_parse(&list, text, n, false));
        ASSERT_EQ(strv_length(list), DOTENV_VARIABLES_MAX);
        list = strv_free(list);
        n += (size_t) snprintf(text + n, sizeof(text) - n, "B=1\n");
        ASSERT_ERROR(dotenv_parse(&list, text, n, false), E2BIG);
        ASSERT_NULL(list);
}

static void write_file(const char *name, const char *text, size_t size) {
        ASSERT_OK(file_replace(in_folder(name), text, size, 0600, false));
}

/* The error, and the first words of the sentence in `said`. */
static int read_it(char ***ret, char said[static 64]) {
        _cleanup_free_ char *why = NULL;
        int r;

        r = dotenv_read(ret, "", folder, false, &why);
        (void) snprintf(said, 64, "%s", strempty(why));
        return r;
}

static void test_read(void) {
        _cleanup_(strv_freep) char **list = NULL;
        char **none = NULL, said[64];
        static char large[DOTENV_SIZE_MAX + 1];

        ASSERT_TRUE(mkdtemp(folder));
        ASSERT_OK(read_it(&none, said));
        ASSERT_NULL(none);

        write_file(".env", "A=1\n", 4);
        ASSERT_OK(read_it(&list, said));
        ASSERT_STREQ(list[0], "A=1");

        memset(large, 'x', sizeof(large));
        memcpy(large, "A=", 2);
        write_file(".env", large, sizeof(large));
        ASSERT_ERROR(read_it(&none, said), EFBIG);
        ASSERT_STREQ(said, "is larger than 64 KiB, or has more than 1000 variables");
        write_file(".env", "A\0", 2);
        ASSERT_ERROR(read_it(&none, said), EBADMSG);
        ASSERT_STREQ(said, "is no text: save it as UTF-8");

        ASSERT_EQ(unlink(in_folder(".env")), 0);
        ASSERT_EQ(mkfifo(in_folder(".env"), 0600), 0);
        ASSERT_ERROR(read_it(&none, said), EBADFD);
        ASSERT_STREQ(said, "is no regular file: put one there");
        ASSERT_EQ(unlink(in_folder(".env")), 0);
        ASSERT_EQ(symlink("/etc/passwd", in_folder(".env")), 0);
        ASSERT_ERROR(read_it(&none, said), ELOOP);
        ASSERT_STREQ(said, "is a symbolic link: put the file itself there");
        ASSERT_NULL(none);

        ASSERT_EQ(unlink(in_folder(".env")), 0);
        ASSERT_EQ(rmdir(folder), 0);
        ASSERT_OK(read_it(&none, said));
}

int main(void) {
        test_lines();
        test_passwords();
        test_quotes_without_end();
        test_as_compose();
        test_references();
        test_files_of_other_systems();
        test_no_text();
        test_what_refers_to_others_does_not_grow();
        test_number_of_variables();
        test_read();
        return EXIT_SUCCESS;
}
