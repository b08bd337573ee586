#include <stdio.h>

#include "config-text.h"

/* Virtual addresses: which ones, and that they stay when other services come and go. */

static const char *address_of(const Config *config, const char *name) {
        const Service *service = config_find(config, name);

        ASSERT_TRUE(service);
        return service->virtual_address;
}

#define BLOG_ADDRESS "198.19.12.174"
#define BLOG "'blog':{'name':'b','port':80}"

/* They are kept by proxies for ever: another version must not have others. */
static void test_follows_from_the_name(void) {
        _cleanup_(config_freep) Config *alone = load("{'services':{" BLOG "}}"),
                                       *others = load("{'services':{'a':{'name':'a','port':1}," BLOG
                                                      ",'z':{'name':'z','port':2}}}");

        ASSERT_STREQ(address_of(alone, "blog"), BLOG_ADDRESS);
        ASSERT_STREQ(address_of(others, "blog"), BLOG_ADDRESS);
}

/* Each of a list has one of its own, and whoever makes a list moves nobody. */
static void test_further_containers(void) {
        _cleanup_(config_freep) Config *alone = NULL, *listed = NULL;
        const Service *service;

        alone = load("{'names':{'addresses':'10.9.8.0/29'},'services':{'a':{'name':'x','names':true}," BLOG "}}");
        listed = load("{'names':{'addresses':'10.9.8.0/29'},'services':{'a':{'name':'x','names':['y','z'],'dependencies':"
                      "[{'container':'y'},{'container':'z'}]}," BLOG "}}");
        service = config_find(listed, "a");
        ASSERT_TRUE(service_is_redirected(service));
        ASSERT_STREQ(address_of(alone, "a"), address_of(listed, "a"));
        ASSERT_STREQ(address_of(alone, "blog"), address_of(listed, "blog"));
        ASSERT_STREQ(service_virtual_address(service, NULL), address_of(listed, "a"));
        ASSERT_STREQ(service_virtual_address(service, "nobody"), "");
        ASSERT_TRUE(*service_virtual_address(service, "y") && *service_virtual_address(service, "z"));
        ASSERT_FALSE(streq(service_virtual_address(service, "y"), service_virtual_address(service, "z")));
        ASSERT_FALSE(streq(service_virtual_address(service, "y"), address_of(listed, "a")));
}

/* As many as two hosts' worth, each once; in a network that is just as large there is room for the last. */
static void test_a_network_that_is_full(void) {
        enum { N = 1022 };
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ bool *taken = new0(bool, N + 2);
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        ASSERT_TRUE(stream && taken);
        fputs("{'names':{'addresses':'10.9.8.0/22'},'services':{", stream);
        for (int i = 0; i < N; i++)
                fprintf(stream, "%s's%i':{'name':'c%i','names':true}", i > 0 ? "," : "", i, i);
        fputs("}}", stream);
        ASSERT_EQ(fclose(stream), 0);
        config = load(text);
        ASSERT_EQ(config->n_services, N);
        for (size_t i = 0; i < N; i++) {
                unsigned a, b;

                ASSERT_EQ(sscanf(config->services[i].virtual_address, "10.9.%u.%u", &a, &b), 2);
                a = (a - 8) * 256 + b;
                ASSERT_TRUE(a >= 1 && a <= N && !taken[a]);
                taken[a] = true;
        }
}

static void test_who_has_one(void) {
        _cleanup_(config_freep) Config *config =
                        load("{'services':{'off':{'name':'a','port':1,'names':false},'bot':{'name':'b'},"
                             "'proxy':{'name':'c','port':2,'listen':'8080'},'alone':{'name':'d','names':true},"
                             "'both':{'name':'e','port':3,'names':true}},'defaults':{'idleTimeout':0}}");

        ASSERT_STREQ(address_of(config, "off"), "");
        ASSERT_STREQ(address_of(config, "bot"), "");
        ASSERT_STREQ(address_of(config, "proxy"), "");
        ASSERT_TRUE(*address_of(config, "alone") && *address_of(config, "both"));
        ASSERT_TRUE(service_is_redirected(config_find(config, "alone")));
        ASSERT_TRUE(config_find(config, "alone")->redirect_port >= 20000);
        ASSERT_FALSE(service_has_front(config_find(config, "bot")));
}

/* From the defaults, it takes names away, and gives nobody a front. */
static void test_defaults(void) {
        _cleanup_(config_freep) Config *off = load("{'defaults':{'names':false},'services':{" BLOG "}}"),
                                       *on = load("{'defaults':{'names':true},'services':{'bot':{'name':'b'}}}");

        ASSERT_STREQ(address_of(off, "blog"), "");
        ASSERT_FALSE(service_has_front(config_find(on, "bot")));
}

/* A network of two addresses: whoever comes first has his own, the next the other one, and the third is told. */
static void test_clashes(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *one = NULL, *two = NULL, *three = NULL;

        one = load("{'names':{'addresses':'10.9.8.4/30'},'services':{" BLOG "}}");
        two = load("{'names':{'addresses':'10.9.8.4/30'},'services':{" BLOG ",'c':{'name':'c','port':1}}}");
        ASSERT_STREQ(address_of(one, "blog"), address_of(two, "blog"));
        ASSERT_TRUE(!streq(address_of(two, "blog"), address_of(two, "c")));
        for (size_t i = 0; i < two->n_services; i++)
                ASSERT_TRUE(streq(two->services[i].virtual_address, "10.9.8.5") ||
                            streq(two->services[i].virtual_address, "10.9.8.6"));
        three = load_with(&problems, "{'names':{'addresses':'10.9.8.4/30'},'services':{" BLOG
                                     ",'c':{'name':'c','port':1},'d':{'name':'d','port':2}}}");
        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_STREQ(problems.problems[0].path, "services.d.names");
        ASSERT_EQ(three->n_services, 2);
}

static void test_bad_networks(void) {
        static const char *const bad[] = { "'10.0.0.0/31'", "'10.0.0.0/7'", "'10.0.0.0'",
                                           "'fd00::/64'",   "'x'",          "7",
                                           "['10.0.0.0/8']" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(problem_list_done) ProblemList problems = {};
                _cleanup_(config_freep) Config *config = NULL;
                _cleanup_free_ char *text = NULL;

                ASSERT_TRUE(asprintf(&text, "{'names':{'addresses':%s},'services':{" BLOG "}}", bad[i]) > 0);
                config = load_with(&problems, text);
                ASSERT_EQ(problems.n_errors, 1);
                ASSERT_STREQ(problems.problems[0].path, "names.addresses");
                ASSERT_STREQ(address_of(config, "blog"), BLOG_ADDRESS);
        }
}

int main(void) {
        test_follows_from_the_name();
        test_further_containers();
        test_a_network_that_is_full();
        test_who_has_one();
        test_defaults();
        test_clashes();
        test_bad_networks();
        return 0;
}
