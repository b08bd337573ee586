#include <stdio.h>

#include "catalog/messages.h"
#include "test.h"
#include "util/fd.h"

/* The catalog and messages.h, both as text, given as arguments: every id of one is in the other, once. */

#define ID_LENGTH 32
#define HEXADECIMAL "0123456789abcdef"

static char *load(const char *path) {
        char *text = NULL;

        ASSERT_OK(file_read(path, 1 << 20, &text, NULL));
        return text;
}

static size_t count(const char *text, const char *what) {
        size_t n = 0;

        for (text = strstr(text, what); text; text = strstr(text + 1, what))
                n++;
        return n;
}

/* Expects each id that follows `before` in one text to be there exactly once, and after `other_before` in the other, too. */
static size_t compare(const char *text, const char *before, const char *other, const char *other_before) {
        size_t n = 0;

        for (const char *place = strstr(text, before); place; place = strstr(place, before)) {
                char id[ID_LENGTH + 1], line[128];

                place += strlen(before);
                if (strspn(place, HEXADECIMAL) != ID_LENGTH)
                        continue;
                memcpy(id, place, ID_LENGTH);
                id[ID_LENGTH] = '\0';
                (void) snprintf(line, sizeof(line), "%s%s", other_before, id);
                if (count(other, line) != 1 || count(text, id) != 1)
                        TEST_FAIL("message id %s is not in both files once", id);
                n++;
        }
        return n;
}

static void test_same_ids(const char *header, const char *catalog) {
        size_t n = compare(header, "\"", catalog, "\n-- ");

        ASSERT_TRUE(n > 0);
        ASSERT_TRUE(strstr(header, WAKECHAIN_MESSAGE_WAKING) != NULL);
        ASSERT_EQ(compare(catalog, "\n-- ", header, "\""), n);
        ASSERT_EQ(count(header, "#define"), n);
}

static void test_every_entry_is_complete(const char *catalog) {
        size_t n = count(catalog, "\n-- ");

        ASSERT_EQ(count(catalog, "\nSubject: "), n);
        ASSERT_EQ(count(catalog, "\nDefined-By: wakechain\n"), n);
        ASSERT_EQ(count(catalog, "\nDocumentation: man:"), n);
        ASSERT_EQ(count(catalog, "\nDocumentation: "), n);
        /* Unknown fields would be shown as they are. */
        for (const char *field = strstr(catalog, "@WAKECHAIN_"); field; field = strstr(field + 1, "@WAKECHAIN_"))
                ASSERT_TRUE(strncmp(field, "@WAKECHAIN_SERVICE@", 19) == 0 ||
                            strncmp(field, "@WAKECHAIN_WAKE_ID@", 19) == 0 ||
                            strncmp(field, "@WAKECHAIN_DEPENDENCY@", 22) == 0 ||
                            strncmp(field, "@WAKECHAIN_STATE@", 17) == 0 ||
                            strncmp(field, "@WAKECHAIN_REASON@", 18) == 0);
}

int main(int argc, char *argv[]) {
        _cleanup_free_ char *header = NULL, *catalog = NULL;

        ASSERT_EQ(argc, 3);
        header = load(argv[1]);
        catalog = load(argv[2]);
        test_same_ids(header, catalog);
        test_every_entry_is_complete(catalog);
        return EXIT_SUCCESS;
}
