#include "test.h"
#include "util/json-scan.h"
#include "util/json-table.h"
#include "util/strv.h"

typedef struct Thing {
        char *name;
        int count;
        bool flag;
        int colour;
        char **words;
} Thing;

typedef struct Record {
        JsonWalk walk;
        size_t n;
        char text[1024];
        char marked[256];
} Record;

static const JsonName colours[] = { { "red", 1 }, { "green", 2 }, {} };
static const JsonKind kind_name = { JSON_TYPE(string), json_parse_text, "a name", .longest = 8 };
static const JsonKind kind_count = { JSON_TYPE_NUMBER, json_parse_int, "a count", .minimum = 1, .maximum = 10 };
static const JsonKind kind_flag = { JSON_TYPE(boolean), json_parse_bool, "true or false" };
static const JsonKind kind_colour = { JSON_TYPE(string), json_parse_name, "a colour", .names = colours };
static const JsonKind kind_words = {
        JSON_TYPE(string) | JSON_TYPE(array), json_parse_texts, "words", .maximum = 3, .longest = 4,
};

static const JsonField fields[] = { { "colour", &kind_colour, offsetof(Thing, colour), JSON_MARKED_UNLESS, 1 },
                                    { "count", &kind_count, offsetof(Thing, count), JSON_GUARD },
                                    { "flag", &kind_flag, offsetof(Thing, flag), JSON_MARKED },
                                    { "name", &kind_name, offsetof(Thing, name), JSON_MANDATORY | JSON_OWN },
                                    { "words", &kind_words, offsetof(Thing, words) },
                                    {} };

static void on_problem(JsonWalk *walk, const JsonPath *path, bool missing, json_object *value, const char *text) {
        _cleanup_free_ char *where = json_path_to_string(path),
                            *shown = missing ? NULL : json_value_to_string(value);
        Record *record = (Record *) walk;
        size_t used = strlen(record->text);

        record->n++;
        (void) snprintf(record->text + used, sizeof(record->text) - used, "%s=%s: %s\n", where,
                        missing ? "" : shown, text ? text : "-");
}

static int on_marked(JsonWalk *walk, const JsonPath *path) {
        _cleanup_free_ char *where = json_path_to_string(path);

        strcat(((Record *) walk)->marked, where);
        strcat(((Record *) walk)->marked, ";");
        return 0;
}

static int no_duplicates(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        return 0;
}

static json_object *parse(const char *text) {
        json_object *object = NULL;
        JsonMistake mistake;

        ASSERT_OK(json_read(&object, text, strlen(text), no_duplicates, NULL, &mistake));
        return object;
}

static void walk_full(const char *text, const char *fallback, Record *record, Thing *ret) {
        static const JsonPath fallback_path = { .name = "defaults", .length = 8 };
        json_object *object = parse(text), *fallback_object = fallback ? parse(fallback) : NULL;

        record->walk.problem = on_problem;
        record->walk.marked = on_marked;
        ASSERT_OK(json_table_walk(&record->walk, fields,
                                  &(JsonSource){ NULL, object, &fallback_path, fallback_object }, ret));
        json_object_put(object);
        json_object_put(fallback_object);
}

static void done(Thing *thing) {
        free(thing->name);
        strv_free(thing->words);
}

static void assert_problems(const char *text, const char *problems) {
        Record record = {};
        Thing thing = {};

        walk_full(text, NULL, &record, &thing);
        ASSERT_STREQ(record.text, problems);
        done(&thing);
}

static void test_members_are_stored(void) {
        Record record = {};
        Thing thing = {};

        walk_full("{\"name\":\"x\",\"count\":2e0,\"flag\":true,\"colour\":\"green\",\"words\":[\"a\",\"b\"]}",
                  NULL, &record, &thing);
        ASSERT_EQ(record.n, 0);
        ASSERT_STREQ(thing.name, "x");
        ASSERT_EQ(thing.count, 2);
        ASSERT_TRUE(thing.flag);
        ASSERT_EQ(thing.colour, 2);
        ASSERT_EQ(strv_length(thing.words), 2);
        ASSERT_STREQ(record.marked, "colour;flag;");
        done(&thing);
}

static void test_one_word_is_a_list(void) {
        Record record = {};
        Thing thing = {};

        walk_full("{\"name\":\"x\",\"colour\":\"red\",\"words\":\"a\"}", NULL, &record, &thing);
        ASSERT_EQ(record.n, 0);
        ASSERT_STREQ(thing.words[0], "a");
        ASSERT_STREQ(record.marked, "");
        done(&thing);
}

static void test_all_mistakes_are_reported(void) {
        assert_problems("{\"count\":11,\"flag\":1,\"colour\":\"gren\",\"words\":[\"a\",5,\"toolong\"],\"nmae\":1}",
                        "colour=\"gren\": expected a colour, did you mean 'green'?\n"
                        "count=11: expected a count\n"
                        "flag=1: expected true or false\n"
                        "name=: 'name' is missing, expected a name\n"
                        "words[1]=5: expected words\n"
                        "words[2]=\"toolong\": expected words\n"
                        "nmae=1: unknown member, did you mean 'name'?\n");
}

static void test_numbers_are_whole_and_in_range(void) {
        static const char *const bad[] = { "0",      "-1",    "1.5", "1e999", "1e30", "99999999999999999999",
                                           "-1e300", "\"1\"", "null" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = NULL;
                Record record = {};
                Thing thing = {};

                ASSERT_TRUE(asprintf(&text, "{\"name\":\"x\",\"count\":%s}", bad[i]) > 0);
                walk_full(text, NULL, &record, &thing);
                ASSERT_EQ(record.n, 1);
                ASSERT_EQ(thing.count, 0);
                done(&thing);
        }
}

static void test_nul_is_refused(void) {
        assert_problems("{\"name\":\"a\\u0000b\"}", "name=\"a\\u0000b\": expected a name\n");
}

static void test_private_members_are_ignored(void) {
        assert_problems("{\"name\":\"x\",\"x-a\":1,\"$schema\":1,\"_a\":1,\"//\":1,\"comment\":1,\"comments\":[]}",
                        "");
}

static void test_fallback_fills_what_is_absent(void) {
        Record record = {};
        Thing thing = {};

        walk_full("{\"name\":\"x\",\"count\":3}", "{\"count\":4,\"flag\":true,\"name\":\"y\",\"colour\":7}",
                  &record, &thing);
        ASSERT_EQ(record.n, 0); /* what is wrong with the fallback is reported once, elsewhere */
        ASSERT_EQ(thing.count, 3);
        ASSERT_TRUE(thing.flag);
        ASSERT_STREQ(thing.name, "x");
        ASSERT_STREQ(record.marked, "defaults.flag;");
        done(&thing);
}

static void test_guards_are_not_done_without(void) {
        Record record = {};
        Thing thing = {};

        walk_full("{\"name\":\"x\"}", "{\"count\":100}", &record, &thing);
        ASSERT_STREQ(record.text, "count=: 'count' in the defaults is wrong, and is not done without\n");
        done(&thing);
}

static void test_own_members_can_be_refused(void) {
        Record record = { .walk.own = "belongs elsewhere" };
        Thing thing = {};

        walk_full("{\"name\":\"x\",\"count\":1}", NULL, &record, &thing);
        ASSERT_STREQ(record.text, "name=\"x\": belongs elsewhere\n");
        ASSERT_NULL(thing.name);
}

static void test_terse_walks_only_count(void) {
        Record record = { .walk.terse = true };
        Thing thing = {};

        walk_full("{\"nmae\":\"x\"}", NULL, &record, &thing);
        ASSERT_STREQ(record.text, "name=: -\nnmae=\"x\": -\n");
}

int main(void) {
        test_members_are_stored();
        test_one_word_is_a_list();
        test_all_mistakes_are_reported();
        test_numbers_are_whole_and_in_range();
        test_nul_is_refused();
        test_private_members_are_ignored();
        test_fallback_fills_what_is_absent();
        test_guards_are_not_done_without();
        test_own_members_can_be_refused();
        test_terse_walks_only_count();
        return 0;
}
