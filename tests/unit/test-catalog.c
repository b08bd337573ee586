#include <stdio.h>

#include "catalog/messages.h"
#include "test.h"
#include "util/fd.h"

/* messages.h, the catalog, and the same in other languages, all as text, given as arguments: every id of one is in each other, once, and says
 * the same in every language, as far as a machine can tell. */

#define ID_LENGTH 32
#define HEXADECIMAL "0123456789abcdef"

static const char *const words[] = {
        "@WAKECHAIN_SERVICE@",
        "@WAKECHAIN_WAKE_ID@",
        "@WAKECHAIN_DEPENDENCY@",
        "@WAKECHAIN_STATE@",
        "@WAKECHAIN_REASON@",
        "man:wakechain(7)",
        "man:wakechain.json(5)",
        "man:wakechain-front(8)",
        "man:wakechain-redirect(8)",
        "man:wakechain-wake(8)",
        "systemctl start",
        "systemctl stop",
        "systemctl status",
        "systemctl edit",
        "journalctl ",
        "coredumpctl",
        "docker inspect",
        "docker logs",
        "docker top",
        "docker compose",
        "wakectl sleep",
        "wakectl check",
        "wakechain-redirect check",
        "nft list table",
        "health_check_failed",
        "start_failed",
        "container_exited",
        "not_found",
        "image_missing",
        "port_conflict",
        "network_missing",
        "engine_unavailable",
        "global_timeout",
        "dependency_cycle",
        "config_invalid",
        "idleTimeout",
        "'listen'",
        "'busy'",
};

static const char *find_word(const char *text) {
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strncmp(text, words[i], strlen(words[i])) == 0)
                        return words[i];
        return NULL;
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
                ASSERT_TRUE(find_word(field) != NULL);
}

/* The entry behind its id, up to the next one. */
static char *entry_of(const char *catalog, const char *id) {
        const char *begin = strstr(catalog, id), *end;

        ASSERT_TRUE(begin != NULL);
        end = strstr(begin, "\n-- ");
        return strndup(begin, end ? (size_t) (end - begin) : strlen(begin));
}

/* A translation leaves out no field, no page and no command. */
static void test_same_words(const char *catalog, const char *other) {
        for (const char *place = strstr(catalog, "\n-- "); place; place = strstr(place + 1, "\n-- ")) {
                _cleanup_free_ char *id = strndup(place + 1, strlen("-- ") + ID_LENGTH);
                _cleanup_free_ char *here = entry_of(catalog, id), *there = entry_of(other, id);

                for (size_t i = 0; i < ELEMENTSOF(words); i++)
                        if (!!strstr(here, words[i]) != !!strstr(there, words[i]))
                                TEST_FAIL("'%s' is in one of the entries %s alone", words[i], id);
        }
}

int main(int argc, char *argv[]) {
        char *texts[8] = {};

        ASSERT_TRUE(argc >= 3 && argc < (int) ELEMENTSOF(texts));
        for (int i = 1; i < argc; i++)
                ASSERT_OK(file_read(argv[i], 1 << 20, &texts[i], NULL));
        for (int i = 2; i < argc; i++) {
                test_same_ids(texts[1], texts[i]);
                test_every_entry_is_complete(texts[i]);
                test_same_words(texts[2], texts[i]);
        }
        for (int i = 1; i < argc; i++)
                free(texts[i]);
        return EXIT_SUCCESS;
}
