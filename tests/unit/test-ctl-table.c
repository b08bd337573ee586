#include "ctl/table.h"
#include "test.h"

/* The table as it would stand on a page without colours. */
static void expect(const Table *table, const Look *look, const char *expected) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        ASSERT_TRUE(file);
        ASSERT_OK(table_print(table, file, look));
        ASSERT_EQ(fclose(file), 0);
        ASSERT_STREQ(text, expected);
}

static const char *const headings[] = { "NAME", "STATE" };

static void test_columns_are_counted_in_characters(void) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(&table, 2, headings, 1));
        table_add(table, "été");
        table_add(table, "awake");
        table_add(table, "somewhere");
        table_addf(table, "%u", 3);
        table_add(table, NULL);
        table_add(table, "");
        expect(table, &(Look){ .utf8 = true },
               " NAME       STATE\n"
               " été        awake\n"
               " somewhere  3\n"
               " -          -\n");
}

static void test_nothing_comes_out_that_a_terminal_obeys(void) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(&table, 2, NULL, 0));
        table_add(table, "\033[31mred\n");
        table_add(table, "\302\233m\177\377");
        table_add(table, "x");
        table_add(table, NULL);
        expect(table, &(Look){},
               " [31mred   ??m ?\n"
               "x          \n");
}

static void test_the_widest_lose_their_ends(void) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(&table, 2, headings, 0));
        table_add(table, "a-very-long-name");
        table_add(table, "état de chose");
        expect(table, &(Look){ .utf8 = true, .columns = 80 },
               "NAME              STATE\n"
               "a-very-long-name  état de chose\n");
        expect(table, &(Look){ .utf8 = true, .columns = 20 },
               "NAME       STATE\n"
               "a-very-l…  état de …\n");
        expect(table, &(Look){ .columns = 20 },
               "NAME       STATE\n"
               "a-very...  état d...\n");
        /* Narrower than any table. */
        expect(table, &(Look){ .utf8 = true, .columns = 3 },
               "NAME  STA…\n"
               "a-v…  éta…\n");
}

static void test_colours_take_no_room(void) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(&table, 2, NULL, 0));
        table_add_coloured(table, COLOUR_GREEN, "awake");
        table_add(table, "1");
        table_add_coloured(table, COLOUR_NONE, "asleep");
        table_add(table, "2");
        expect(table, &(Look){ .colour = true },
               "\033[32mawake\033[0m   1\n"
               "asleep  2\n");
        expect(table, &(Look){},
               "awake   1\n"
               "asleep  2\n");
}

static void test_an_empty_one(void) {
        _cleanup_(table_freep) Table *table = NULL;

        ASSERT_OK(table_new(&table, 2, headings, 0));
        expect(table, &(Look){}, "NAME  STATE\n");
}

int main(void) {
        test_columns_are_counted_in_characters();
        test_nothing_comes_out_that_a_terminal_obeys();
        test_the_widest_lose_their_ends();
        test_colours_take_no_room();
        test_an_empty_one();
        return 0;
}
