#include <stdarg.h>
#include <stdio.h>

#include "config/config.h"
#include "test.h"

/* Hostile sizes: 10 MB of this or that give a clear answer within a second of work (four with a sanitizer). */

#define SIZE ((size_t) 10 * 1024 * 1024)
#define LIMIT_USEC (4 * USEC_PER_SEC)

typedef struct Text {
        char *text;
        size_t size, room;
} Text;

static void text_done(Text *text) {
        free(text->text);
}

static void add(Text *text, const char *format, ...) _printf_(2, 3);
static void add(Text *text, const char *format, ...) {
        va_list arguments;

        if (!text->text) {
                text->room = SIZE + 64 * 1024;
                text->text = malloc(text->room);
                ASSERT_TRUE(text->text);
        }
        va_start(arguments, format);
        text->size += (size_t) vsnprintf(text->text + text->size, text->room - text->size, format, arguments);
        va_end(arguments);
        ASSERT_TRUE(text->size < text->room);
}

static void fill(Text *text, char byte, size_t n) {
        add(text, "%s", "");
        ASSERT_TRUE(text->size + n < text->room);
        memset(text->text + text->size, byte, n);
        text->size += n;
}

static int parse(const Text *text, ProblemList *problems, size_t *ret_services) {
        _cleanup_(config_freep) Config *config = NULL;
        uint64_t start = time_now(CLOCK_PROCESS_CPUTIME_ID), took;
        int r;

        r = config_parse(&config, "test.json", text->text, text->size, problems);
        took = time_now(CLOCK_PROCESS_CPUTIME_ID) - start;
        if (took > LIMIT_USEC)
                TEST_FAIL("took %" PRIu64 " ms", took / USEC_PER_MSEC);
        if (config)
                *ret_services = config->n_services;
        return r;
}

static void assert_refused(const Text *text, const char *says) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        ASSERT_ERROR(parse(text, &problems, &n), EBADMSG);
        ASSERT_EQ(problems.n_problems, 1);
        if (!strstr(problems.problems[0].text, says))
                TEST_FAIL("%s", problems.problems[0].text);
}

static void test_too_large(void) {
        static char large[CONFIG_SIZE_MAX + 1];
        Text text = { .text = large, .size = sizeof(large) };

        memset(large, ' ', sizeof(large));
        assert_refused(&text, "larger than 16 MiB");
}

static void test_many_services(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"s0\":{\"name\":\"x\"}");
        for (unsigned i = 1; i < 9000; i++) {
                add(&text,
                    ",\"s%u\":{\"name\":\"main-%u\",\"dependencies\":[{\"container\":\"db-%u\",\"startOrder\":1,"
                    "\"healthCheck\":{\"interval\":1000,\"retries\":5,\"command\":\"",
                    i, i, i);
                fill(&text, 'x', 1000);
                add(&text, "\"}}]}");
        }
        add(&text, "}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, CONFIG_SERVICES_MAX);
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_TRUE(strstr(problems.problems[0].text, "at most 4096"));
}

static void test_one_large_text(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"good\":{\"name\":\"x\"},\"s\":{\"name\":\"");
        fill(&text, 'x', SIZE);
        add(&text, "\"}}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 1);
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_TRUE(strlen(problems.problems[0].value) < 100);
}

static void test_one_large_number(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"s\":{\"name\":\"x\",\"port\":1.");
        fill(&text, '1', SIZE);
        add(&text, "}}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_TRUE(strlen(problems.problems[0].value) < 100);
}

static void test_one_large_object(void) {
        _cleanup_(text_done) Text text = {};

        add(&text, "{\"services\":{\"s\":{\"name\":\"x\"");
        for (unsigned i = 0; text.size < SIZE; i++)
                add(&text, ",\"member%u\":%u", i, i);
        add(&text, "}}}");
        assert_refused(&text, "more than 10000 members");
}

static void test_more_mistakes_than_are_kept(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *last = NULL;
        size_t n;

        add(&text, "{\"services\":{\"s\":{\"name\":\"x\"");
        for (unsigned i = 0; i < 9000; i++)
                add(&text, ",\"member%u\":%u", i, i);
        add(&text, "}}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 0);
        ASSERT_EQ(problems.n_errors, 9000);
        ASSERT_EQ(problems.n_problems, 201);
        ASSERT_EQ(problems.n_more, 8800);
        last = problem_to_string(&problems.problems[200]);
        ASSERT_STREQ(last, "test.json: … and 8800 more");
}

static void test_many_duplicates(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"good\":{\"name\":\"x\"},\"s\":{\"name\":\"x\"");
        for (unsigned i = 0; i < 4000; i++)
                add(&text, ",\"x-a\":1,\"x-b\":1");
        add(&text, "}}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 1);
        ASSERT_EQ(problems.n_errors, 2 * 3999);
}

static void test_many_wrong_elements(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"s0\":0");
        for (unsigned i = 1; i < 9990; i++)
                add(&text, ",\"s%u\":{\"nmae\":[],\"listen\":[1,2],\"dependencies\":[1,{},{\"service\":\"t%u\"}]}",
                    i, i);
        add(&text, "}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 0);
}

static void test_a_ring_of_services(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{");
        for (unsigned i = 0; i < CONFIG_SERVICES_MAX; i++)
                add(&text, "%s\"s%u\":{\"name\":\"x\",\"dependencies\":[{\"service\":\"s%u\"}]}", i ? "," : "", i,
                    (i + 1) % CONFIG_SERVICES_MAX);
        add(&text, "}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 0);
        ASSERT_EQ(problems.n_errors, CONFIG_SERVICES_MAX);
        ASSERT_TRUE(strstr(problems.problems[0].text, " → s4095 → "));
}

static void test_all_depend_on_all(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"services\":{\"s\":{\"name\":\"x\",\"dependencies\":[");
        for (unsigned i = 0; i < CONFIG_DEPENDENCIES_MAX; i++) {
                add(&text, "%s{\"container\":\"c%u\",\"dependsOn\":[", i ? "," : "", i);
                for (unsigned k = 0; k < 128; k++)
                        add(&text, "%s\"c%u\"", k ? "," : "", (i + k) % CONFIG_DEPENDENCIES_MAX);
                add(&text, "]}");
        }
        add(&text, "]}}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 0);
}

static void test_many_large_graphs(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        /* Of each service, half are in a step that all of the other half wait for, and those wait for one that waits for all. */
        add(&text, "{\"services\":{\"good\":{\"name\":\"x\"}");
        for (unsigned i = 0; i < 380; i++) {
                add(&text, ",\"s%u\":{\"name\":\"c0\",\"dependencies\":[{\"container\":\"c0\",\"startOrder\":9}",
                    i);
                for (unsigned k = 1; k < CONFIG_DEPENDENCIES_MAX; k++)
                        add(&text, ",{\"container\":\"c%u\",\"startOrder\":%u%s}", k, k % 2 + 1,
                            k % 2 ? "" : ",\"dependsOn\":\"c0\"");
                add(&text, "]}");
        }
        add(&text, "}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(n, 1);
        ASSERT_EQ(problems.n_errors, 380);
        ASSERT_TRUE(strstr(problems.problems[0].text, "c2 → c0 → c1 → c2"));
}

static void test_many_values(void) {
        _cleanup_(text_done) Text text = {};

        add(&text, "{\"services\":[0");
        while (text.size < SIZE)
                add(&text, ",{}");
        add(&text, "]}");
        assert_refused(&text, "more than 500000 values");
}

static void test_deep_nesting(void) {
        static const size_t depths[] = { 100, 100000, 5000000 };

        for (size_t i = 0; i < ELEMENTSOF(depths); i++) {
                _cleanup_(text_done) Text text = {};

                add(&text, "{\"services\":");
                fill(&text, '[', depths[i]);
                fill(&text, ']', depths[i]);
                add(&text, "}");
                assert_refused(&text, "within one another");
        }
}

static void test_defaults_are_not_multiplied_beyond_measure(void) {
        _cleanup_(text_done) Text text = {};
        _cleanup_(problem_list_done) ProblemList problems = {};
        size_t n;

        add(&text, "{\"defaults\":{\"ignore\":{\"userAgents\":[\"x\"");
        while (text.size < SIZE / 2)
                add(&text, ",\"an agent with a name that is as long as it may be, or at least nearly so\"");
        add(&text, "]}},\"services\":{\"s\":{\"name\":\"x\"}");
        for (unsigned i = 1; i < CONFIG_SERVICES_MAX; i++)
                add(&text, ",\"s%u\":{\"name\":\"x\"}", i);
        add(&text, "}}");
        ASSERT_OK(parse(&text, &problems, &n));
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_EQ(n, CONFIG_SERVICES_MAX);
}

/* Of remembered services. */
static void test_mistakes_of_two_lists_are_counted(void) {
        _cleanup_(problem_list_done) ProblemList list = {};
        ProblemList more = {};

        problem_list_add_file(&list, PROBLEM_ERROR, "one", "wrong");
        for (size_t i = 0; i < PROBLEMS_MAX + 50; i++)
                problem_list_add_file(&more, PROBLEM_ERROR, "other", "wrong");
        problem_list_take_errors(&list, &more);
        ASSERT_EQ(list.n_errors, (size_t) PROBLEMS_MAX + 51);
        ASSERT_EQ(list.n_problems, (size_t) PROBLEMS_MAX);
        ASSERT_EQ(list.n_more, (size_t) 51);
}

int main(void) {
        test_too_large();
        test_many_services();
        test_one_large_text();
        test_one_large_number();
        test_one_large_object();
        test_more_mistakes_than_are_kept();
        test_mistakes_of_two_lists_are_counted();
        test_many_duplicates();
        test_many_wrong_elements();
        test_a_ring_of_services();
        test_all_depend_on_all();
        test_many_large_graphs();
        test_many_values();
        test_deep_nesting();
        test_defaults_are_not_multiplied_beyond_measure();
        return 0;
}
