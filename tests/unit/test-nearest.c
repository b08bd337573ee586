#include "test.h"
#include "util/nearest.h"

static const char *nearest_of(const char *word) {
        static const char *const names[] = { "interval",    "timeout",       "retries",
                                             "idleTimeout", "globalTimeout", "port" };
        Nearest nearest = nearest_to(word);

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                nearest_offer(&nearest, names[i]);
        return nearest.name;
}

static void test_typing_errors_are_near(void) {
        ASSERT_STREQ(nearest_of("intervall"), "interval");
        ASSERT_STREQ(nearest_of("intreval"), "interval");
        ASSERT_STREQ(nearest_of("INTERVAL"), "interval");
        ASSERT_STREQ(nearest_of("idletimout"), "idleTimeout");
        ASSERT_STREQ(nearest_of("pot"), "port");
}

static void test_other_words_are_not(void) {
        char word[1000] = {};

        ASSERT_NULL(nearest_of("command"));
        ASSERT_NULL(nearest_of(""));
        ASSERT_NULL(nearest_of("p"));
        memset(word, 'a', sizeof(word) - 1);
        ASSERT_NULL(nearest_of(word));
}

static void test_hint(void) {
        static const char longest[] = "a234567890123456789012345678901234567890123456789012345678901234";
        char hint[NEAREST_HINT_MAX];
        Nearest nearest = nearest_to("longest");

        ASSERT_STREQ(nearest_hint(&nearest, hint), "");
        nearest = nearest_to(longest);
        nearest_offer(&nearest, longest);
        ASSERT_EQ(strlen(nearest_hint(&nearest, hint)), strlen(longest) + strlen(", did you mean ''?"));
}

int main(void) {
        test_typing_errors_are_near();
        test_other_words_are_not();
        test_hint();
        return 0;
}
