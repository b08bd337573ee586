#include "test.h"
#include "util/json-scan.h"

/* Each text stands in memory of exactly its size, so that a sanitizer sees a read beyond it. */

typedef struct Seen {
        size_t n;
        char paths[256];
        unsigned line, column;
} Seen;

static int on_duplicate(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        _cleanup_free_ char *text = json_path_to_string(path);
        Seen *seen = userdata;

        seen->n++;
        seen->line = line;
        seen->column = column;
        if (strlen(seen->paths) + strlen(text) + 2 < sizeof(seen->paths)) {
                strcat(seen->paths, text);
                strcat(seen->paths, ";");
        }
        return 0;
}

static int scan(const char *text, size_t size, Seen *seen, JsonMistake *mistake) {
        _cleanup_free_ char *exact = malloc(size ? size : 1);

        memcpy(exact, text, size);
        return json_scan(exact, size, on_duplicate, seen, mistake);
}

static void assert_mistake(const char *text, unsigned line, unsigned column, const char *what) {
        JsonMistake mistake = {};
        Seen seen = {};

        if (scan(text, strlen(text), &seen, &mistake) != -EBADMSG)
                TEST_FAIL("accepted: %s", text);
        if (mistake.line != line || mistake.column != column || !strstr(mistake.text, what))
                TEST_FAIL("%s: %u:%u: %s", text, mistake.line, mistake.column, mistake.text);
}

static void assert_fine(const char *text) {
        JsonMistake mistake = {};
        Seen seen = {};

        if (scan(text, strlen(text), &seen, &mistake) < 0)
                TEST_FAIL("refused: %s: %u:%u: %s", text, mistake.line, mistake.column, mistake.text);
        ASSERT_EQ(seen.n, 0);
}

static void test_json_is_accepted(void) {
        static const char *const texts[] = {
                "0",
                "-0",
                "1.5e+3",
                "1E-2",
                "null",
                " true ",
                "[]",
                "{}",
                "[ ]",
                "[[],{},[1,2]]",
                "{\"a\":{\"a\":1},\"b\":[{\"a\":2},{\"a\":3}]}",
                "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
                "\"é€😀\\u0000\"",
                "\t\r\n{\n\"a\" :\n1 , \"b\": 2}\n",
                "{\"\":0,\"A\":1,\"a\":2}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                assert_fine(texts[i]);
}

static void test_mistakes_have_places(void) {
        assert_mistake("", 1, 1, "the file ends where a value");
        assert_mistake("{\"a\":1,\n  'b':2}", 2, 3, "in double quotes");
        assert_mistake("{\"a\":1,}", 1, 8, "in double quotes");
        assert_mistake("{\"a\" 1}", 1, 6, "expected ':'");
        assert_mistake("{\"a\":1 \"b\":2}", 1, 8, "expected ',' or '}'");
        assert_mistake("[1 2]", 1, 4, "expected ',' or ']'");
        assert_mistake("[1,]", 1, 4, "expected a value");
        assert_mistake("[1}", 1, 3, "expected ',' or ']'");
        assert_mistake("{\"a\":", 1, 6, "the file ends where a value");
        assert_mistake("{} {}", 1, 4, "the end of the file");
        assert_mistake("// note\n{}", 1, 1, "expected a value");
        assert_mistake("\"abc", 1, 5, "ends within a string");
        assert_mistake("\"a\nb\"", 1, 3, "line break");
        assert_mistake("\xef\xbb\xbf{}", 1, 1, "expected a value");
}

static void test_numbers_are_those_of_json(void) {
        assert_mistake("-", 1, 2, "malformed number");
        assert_mistake("[1.]", 1, 4, "malformed number");
        assert_mistake("[1e]", 1, 4, "malformed number");
        assert_mistake("[01]", 1, 3, "expected ',' or ']'");
        assert_mistake("[+1]", 1, 2, "expected a value");
        assert_mistake("[.5]", 1, 2, "expected a value");
        assert_mistake("[0x10]", 1, 3, "expected ',' or ']'");
        assert_mistake("[NaN]", 1, 2, "expected a value");
        assert_mistake("[-Infinity]", 1, 3, "malformed number");
        assert_mistake("[True]", 1, 2, "expected a value");
}

static void test_escapes_are_checked(void) {
        assert_mistake("\"\\x41\"", 1, 2, "malformed escape");
        assert_mistake("\"\\u12g4\"", 1, 2, "malformed escape");
        assert_mistake("\"\\u12", 1, 2, "malformed escape");
        assert_mistake("\"\\ud800\"", 1, 2, "malformed escape");
        assert_mistake("\"\\ude00\\ud83d\"", 1, 2, "malformed escape");
        assert_mistake("\"\\ud83d\\u0041\"", 1, 2, "malformed escape");
        assert_mistake("{\"a\\u0000b\":1}", 1, 12, "NUL");
}

static void test_utf8_is_checked(void) {
        static const char *const bad[] = {
                "\"\x80\"",
                "\"\xc0\x80\"",
                "\"\xc1\xbf\"",
                "\"\xe0\x80\x80\"",
                "\"\xe0\x9f\xbf\"",
                "\"\xed\xa0\x80\"",
                "\"\xf0\x8f\xbf\xbf\"",
                "\"\xf4\x90\x80\x80\"",
                "\"\xf8\x88\x80\x80\x80\"",
                "\"\xff\"",
                "\"\xe2\x82\"",
                "\"\xe2\x82",
                "\"\xc3",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_mistake(bad[i], 1, 2, "invalid UTF-8");
}

static void test_nul_is_no_end(void) {
        JsonMistake mistake;
        Seen seen = {};

        ASSERT_ERROR(scan("{}\0{}", 5, &seen, &mistake), EBADMSG);
        ASSERT_EQ(mistake.column, 3);
        ASSERT_ERROR(scan("\"a\0b\"", 5, &seen, &mistake), EBADMSG);
}

static void test_duplicates_are_found(void) {
        static const char text[] =
                        "{\"a\":{\"x\":1,\"y\":[0,{\"k\":1,\n \"\\u006b\":2}]},\"b\":1,\"a\":2,\"a.b\":1,\"a.b\":1}";
        JsonMistake mistake;
        Seen seen = {};

        ASSERT_OK(scan(text, strlen(text), &seen, &mistake));
        ASSERT_EQ(seen.n, 3);
        ASSERT_TRUE(strstr(seen.paths, "a.y[1].k;"));
        ASSERT_TRUE(strstr(seen.paths, "a;"));
        ASSERT_TRUE(strstr(seen.paths, "[\"a.b\"];"));

        seen = (Seen){};
        ASSERT_OK(scan("{\"k\":1,\n  \"k\":2}", 16, &seen, &mistake));
        ASSERT_EQ(seen.line, 2);
        ASSERT_EQ(seen.column, 3);
}

static void test_depth_is_bounded(void) {
        char text[3 * JSON_DEPTH_MAX + 8] = {};
        JsonMistake mistake;
        Seen seen = {};

        memset(text, '[', JSON_DEPTH_MAX);
        memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
        ASSERT_OK(scan(text, strlen(text), &seen, &mistake));
        memset(text, '[', JSON_DEPTH_MAX + 1);
        assert_mistake(text, 1, JSON_DEPTH_MAX + 1, "more than 64");
}

static void test_members_are_bounded(void) {
        _cleanup_free_ char *text = malloc(32 * JSON_MEMBERS_MAX);
        JsonMistake mistake = {};
        size_t size = 1;
        Seen seen = {};

        text[0] = '{';
        for (unsigned i = 1; i < JSON_MEMBERS_MAX; i++)
                size += (size_t) sprintf(text + size, "\"%x\":0,", i);
        ASSERT_OK(json_scan(text, size + (size_t) sprintf(text + size, "\"1\":0}"), on_duplicate, &seen,
                            &mistake));
        ASSERT_EQ(seen.n, 1);
        ASSERT_STREQ(seen.paths, "1;");
        size += (size_t) sprintf(text + size, "\"x\":0,\"y\":0}");
        ASSERT_ERROR(json_scan(text, size, on_duplicate, &seen, &mistake), EBADMSG);
        ASSERT_TRUE(strstr(mistake.text, "more than 10000"));
}

static void test_size_is_bounded(void) {
        JsonMistake mistake;
        Seen seen = {};

        ASSERT_ERROR(json_scan("", JSON_SIZE_MAX + 1, on_duplicate, &seen, &mistake), EFBIG);
}

static void test_values_are_bounded(void) {
        _cleanup_free_ char *text = malloc(2 * JSON_VALUES_MAX + 2);
        JsonMistake mistake = {};
        Seen seen = {};

        for (size_t i = 0; i < JSON_VALUES_MAX; i++)
                memcpy(text + 2 * i, i == 0 ? "[0" : ",0", 2);
        text[2 * JSON_VALUES_MAX] = ']';
        ASSERT_ERROR(json_scan(text, 2 * JSON_VALUES_MAX + 1, on_duplicate, &seen, &mistake), EBADMSG);
        ASSERT_TRUE(strstr(mistake.text, "more than 500000"));
        text[2 * JSON_VALUES_MAX - 2] = ']';
        ASSERT_OK(json_scan(text, 2 * JSON_VALUES_MAX - 1, on_duplicate, &seen, &mistake));
}

static void test_read_makes_values(void) {
        JsonMistake mistake;
        json_object *object = NULL;
        Seen seen = {};

        ASSERT_OK(json_read(&object, "12", 2, on_duplicate, &seen, &mistake));
        ASSERT_EQ(json_object_get_int(object), 12);
        json_object_put(object);
        ASSERT_OK(json_read(&object, "[99999999999999999999999]", 25, on_duplicate, &seen, &mistake));
        ASSERT_EQ(json_object_get_int64(json_object_array_get_idx(object, 0)), INT64_MAX);
        json_object_put(object);
        ASSERT_ERROR(json_read(&object, "[1", 2, on_duplicate, &seen, &mistake), EBADMSG);
}

static void assert_shown(const char *text, const char *shown) {
        JsonMistake mistake;
        json_object *object = NULL;
        _cleanup_free_ char *value = NULL;
        Seen seen = {};

        ASSERT_OK(json_read(&object, text, strlen(text), on_duplicate, &seen, &mistake));
        value = json_value_to_string(object);
        ASSERT_STREQ(value, shown);
        json_object_put(object);
}

static void test_values_are_shown_on_one_short_line(void) {
        char text[300] = "\"", shown[300] = "\"";

        assert_shown("\"a\\n\\u001b[31m\\u009b\\u007f\\\"\\\\é\"",
                     "\"a\\u000a\\u001b[31m\\u009b\\u007f\\\"\\\\é\"");
        assert_shown("[]", "[]");
        assert_shown("[1,2]", "[…]");
        assert_shown("{\"a\":1}", "{…}");
        assert_shown("null", "null");
        assert_shown("1.50", "1.50");
        for (int i = 0; i < 100; i++)
                strcat(text, "é");
        for (int i = 0; i < 30; i++)
                strcat(shown, "é");
        assert_shown(strcat(text, "\""), strcat(shown, "…\""));
}

int main(void) {
        test_json_is_accepted();
        test_mistakes_have_places();
        test_numbers_are_those_of_json();
        test_escapes_are_checked();
        test_utf8_is_checked();
        test_nul_is_no_end();
        test_duplicates_are_found();
        test_depth_is_bounded();
        test_members_are_bounded();
        test_size_is_bounded();
        test_values_are_bounded();
        test_read_makes_values();
        test_values_are_shown_on_one_short_line();
        return 0;
}
