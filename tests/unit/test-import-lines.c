#include "import/lines.h"
#include "test.h"
#include "util/text.h"

static void test_found_by_indentation(void) {
        static const char text[] = "# web: no\n"
                                   "name: shop\n"
                                   "x-common: &common\n"
                                   "  web:\n"
                                   "    image: none\n"
                                   "services:\n"
                                   "\n"
                                   "  # web:\n"
                                   "  db:\n"
                                   "    image: postgres\n"
                                   "    environment:\n"
                                   "      web: 1\n"
                                   "  web-admin: {}\n"
                                   "  \"web\" :\n"
                                   "    image: nginx\r\n"
                                   "volumes:\n"
                                   "  cache:\n";

        ASSERT_EQ(import_line_of(text, "db"), 9);
        ASSERT_EQ(import_line_of(text, "web"), 14);
        ASSERT_EQ(import_line_of(text, "web-admin"), 13);
        ASSERT_EQ(import_line_of(text, "cache"), 0);
        ASSERT_EQ(import_line_of(text, "image"), 0);
}

static void test_what_is_no_such_file(void) {
        ASSERT_EQ(import_line_of("", "web"), 0);
        ASSERT_EQ(import_line_of("services:", "web"), 0);
        ASSERT_EQ(import_line_of("services:\n  web:", "web"), 2);
        ASSERT_EQ(import_line_of("{\"services\": {\"web\": {}}}", "web"), 0);
        ASSERT_EQ(import_line_of("services:\n\tweb:\n", "web"), 0);
        ASSERT_EQ(import_line_of("services:\n  'web:\n", "web"), 0);
}

/* The first of its files that has it, from the folder of the project. */
static void test_place(void) {
        char folder[] = "/tmp/test-import-lines-XXXXXX";
        _cleanup_free_ char *command = NULL, *place = NULL, *wanted = NULL;
        ImportContainer container = { .service = (char *) "web",
                                      .folder = folder,
                                      .files = (char *) "missing.yml,b.yml,a.yml" };

        ASSERT_TRUE(mkdtemp(folder));
        command = text_printf(
                        "cd %1$s && mkfifo fifo.yml && echo 'services: {}' >b.yml && printf 'services:\\n web:\\n' >a.yml",
                        folder);
        ASSERT_EQ(system(command), 0);
        wanted = text_printf("%s/a.yml:2", folder);
        place = import_place_of(&container);
        ASSERT_STREQ(place, wanted);
        container.files = (char *) "fifo.yml";
        ASSERT_TRUE(!import_place_of(&container));
        container.files = NULL;
        ASSERT_TRUE(!import_place_of(&container));
        free(command);
        command = text_printf("rm -r %s", folder);
        ASSERT_EQ(system(command), 0);
}

int main(void) {
        test_found_by_indentation();
        test_what_is_no_such_file();
        test_place();
        return 0;
}
