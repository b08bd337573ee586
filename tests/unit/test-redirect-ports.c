#include <stdarg.h>
#include <stdio.h>

#include "config-text.h"

/* Redirect ports that nobody names: which ones, and that they stay when other services come and go. */

#define PORT_MIN 20000

/* What is within "services", as a whole. */
static char *document_of(const char *text) {
        char *document;

        ASSERT_TRUE(asprintf(&document, "{'services':{%s}}", text) > 0);
        return document;
}

static Config *load_within_with(ProblemList *problems, const char *text) {
        _cleanup_free_ char *document = document_of(text);

        return load_with(problems, document);
}

static Config *load_within(const char *text) {
        _cleanup_free_ char *document = document_of(text);

        return load(document);
}

static uint16_t port_of(const Config *config, const char *name) {
        const Service *service = config_find(config, name);

        ASSERT_TRUE(service);
        return service->redirect_port;
}

static uint16_t port_in(const char *text, const char *name) {
        _cleanup_(config_freep) Config *config = load_within(text);

        return port_of(config, name);
}

#define PLEX "'plex':{'name':'plex','port':32400}"
#define MINECRAFT "'minecraft':{'name':'mc','port':25565}"

static void test_port_plus_20000_if_it_can_be_had(void) {
        ASSERT_EQ(port_in("'a':{'name':'a','port':1}", "a"), 20001);
        ASSERT_EQ(port_in("'a':{'name':'a','port':12767}", "a"), 32767);
        ASSERT_EQ(port_in("'a':{'name':'a','port':12767,'redirectPort':81}", "a"), 81);
        /* The address of a socket of UDP is in nobody's way. */
        ASSERT_EQ(port_in("'a':{'name':'a','port':80},'b':{'name':'b','port':1,'listen':'udp:20080'}", "a"),
                  20080);
}

/* They are written down in people's firewalls: another version must not have others. */
static void test_one_that_follows_from_the_name(void) {
        ASSERT_EQ(port_in(PLEX, "plex"), 27844);
        ASSERT_EQ(port_in(MINECRAFT "," PLEX, "minecraft"), 26328);
        ASSERT_EQ(port_in("'plex':{'name':'x','port':12768}", "plex"), 27844);
        ASSERT_EQ(port_in("'plex':{'name':'x','port':65535}", "plex"), 27844);
}

/* What others say themselves. */
static void test_a_port_that_is_taken(void) {
        static const char *const others[] = {
                "'o':{'name':'o','port':1,'redirectPort':20080}",
                "'o':{'name':'o','port':20080}",
                "'o':{'name':'o','port':80,'listen':'127.0.0.1:20080'}",
                "'o':{'name':'o','port':80,'listen':['[::1]:9','20080']}",
                "'o':{'name':'o','port':20080,'listen':'9'}",
        };

        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                _cleanup_free_ char *before = NULL, *behind = NULL;
                uint16_t port;

                ASSERT_TRUE(asprintf(&before, "%s,'s':{'name':'s','port':80}", others[i]) > 0);
                ASSERT_TRUE(asprintf(&behind, "'s':{'name':'s','port':80},%s", others[i]) > 0);
                port = port_in(before, "s");
                ASSERT_TRUE(port >= PORT_MIN && port != 20080);
                ASSERT_EQ(port_in(behind, "s"), port);
        }
        /* The place that follows from the name, too: then it is the next one. */
        ASSERT_EQ(port_in(PLEX ",'o':{'name':'o','port':1,'redirectPort':27844}", "plex"), 27845);
}

/* Such as those of two addresses of one machine. */
static void test_several_with_the_same_port(void) {
        _cleanup_(config_freep) Config *config =
                        load_within("'c':{'name':'c','port':80},'a':{'name':'a','port':80},"
                                    "'b':{'name':'b','port':80}");

        ASSERT_EQ(port_of(config, "c"), 20080);
        ASSERT_TRUE(port_of(config, "a") >= PORT_MIN && port_of(config, "a") != 20080);
        ASSERT_TRUE(port_of(config, "b") >= PORT_MIN && port_of(config, "b") != 20080);
        ASSERT_TRUE(port_of(config, "a") != port_of(config, "b"));
}

/* "n764" and "n1826" have the same place, and the next one is the first choice of "n947". */
#define N764 "'n764':{'name':'x','port':50000}"
#define N1826 "'n1826':{'name':'x','port':50000}"
#define N947 "'n947':{'name':'x','port':50000}"

static void test_of_two_with_one_place_the_first_has_it(void) {
        _cleanup_(config_freep) Config *one = load_within(N764 "," N1826), *other = load_within(N1826 "," N764),
                                       *three = load_within(N764 "," N1826 "," N947);
        uint16_t place = port_in(N764, "n764");

        ASSERT_EQ(port_in(N1826, "n1826"), place);
        ASSERT_EQ(port_in(N947, "n947"), place + 1);
        ASSERT_EQ(port_of(one, "n764"), place);
        ASSERT_EQ(port_of(one, "n1826"), place + 1);
        ASSERT_EQ(port_of(other, "n1826"), place);
        ASSERT_EQ(port_of(other, "n764"), place + 1);
        /* A second choice takes nobody's first one. */
        ASSERT_EQ(port_of(three, "n764"), place);
        ASSERT_EQ(port_of(three, "n947"), place + 1);
        ASSERT_EQ(port_of(three, "n1826"), place + 2);
}

/* A typing error of one service moves no other one, though itself it is gone. */
static void test_broken_service_keeps_its_place(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config =
                        load_within_with(&problems,
                                         "'a':{'name':'a','port':80,'idelTimeout':1},'b':{'name':'b','port':80}");

        ASSERT_EQ(problems.n_errors, 1);
        ASSERT_EQ(config->n_services, 1);
        ASSERT_EQ(port_of(config, "b"), port_in("'a':{'name':'a','port':80},'b':{'name':'b','port':80}", "b"));
}

typedef struct Text {
        char *text;
        size_t size;
        FILE *file;
} Text;

static void text_done(Text *text) {
        free(text->text);
}

/* `n` services from number `first` on, each with a high port. */
static void print_services(FILE *file, unsigned first, unsigned n) {
        for (unsigned i = first; i < first + n; i++)
                fprintf(file, "%s'stack-%u':{'name':'x','port':%u}", i == first ? "" : ",", i, 40000 + i);
}

static Config *load_services(const char *before, unsigned first, unsigned n, const char *behind,
                             ProblemList *problems) {
        _cleanup_(text_done) Text text = {};

        text.file = open_memstream(&text.text, &text.size);
        ASSERT_TRUE(text.file);
        fputs(before, text.file);
        print_services(text.file, first, n);
        fputs(behind, text.file);
        ASSERT_OK(fclose(text.file));
        return load_within_with(problems, text.text);
}

/* As many as there may be: all differ, and one that is added or taken out moves few of the others. */
static void test_many(void) {
        static bool seen[UINT16_MAX + 1];
        _cleanup_(problem_list_done) ProblemList problems = {}, more = {};
        _cleanup_(config_freep) Config *all = load_services("", 0, CONFIG_SERVICES_MAX, "", &problems),
                                       *fewer = load_services("", 1, CONFIG_SERVICES_MAX - 1, "", &more);
        unsigned n_moved = 0;

        ASSERT_EQ(problems.n_problems + more.n_problems, 0);
        ASSERT_EQ(all->n_services, CONFIG_SERVICES_MAX);
        for (size_t i = 0; i < all->n_services; i++) {
                const Service *service = &all->services[i], *same = config_find(fewer, service->name);

                ASSERT_TRUE(service->redirect_port >= PORT_MIN && service->redirect_port <= REDIRECT_PORT_MAX &&
                            !seen[service->redirect_port]);
                seen[service->redirect_port] = true;
                n_moved += same && same->redirect_port != service->redirect_port;
        }
        if (n_moved > 10)
                TEST_FAIL("%u services moved", n_moved);
}

/* Twenty are many for a small server: adding one behind them moves none. */
static void test_added_behind_moves_nobody(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *before = load_services("", 0, 20, "", &problems);

        for (unsigned i = 20; i < 500; i++) {
                _cleanup_(problem_list_done) ProblemList more = {};
                _cleanup_(config_freep) Config *config = NULL;
                char added[64];

                (void) snprintf(added, sizeof(added), ",'added-%u':{'name':'x','port':%u}", i, 30000 + i);
                config = load_services("", 0, 20, added, &more);
                for (size_t k = 0; k < before->n_services; k++) {
                        const Service *service = &before->services[k];
                        uint16_t port = port_of(config, service->name);

                        if (port != service->redirect_port && service->redirect_port != 30000 + i)
                                TEST_FAIL("%s: %u -> %u by %s", service->name, service->redirect_port, port,
                                          added);
                }
        }
}

/* 16 addresses each: all of the range, and more. */
static void test_none_is_left(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(text_done) Text text = {};
        unsigned port = PORT_MIN;

        text.file = open_memstream(&text.text, &text.size);
        ASSERT_TRUE(text.file);
        for (unsigned i = 0; port <= REDIRECT_PORT_MAX; i++) {
                fprintf(text.file, "'l%u':{'name':'x','port':1,'listen':['127.0.0.1:%u'", i, port++);
                for (unsigned k = 1; k < 16 && port <= REDIRECT_PORT_MAX; k++)
                        fprintf(text.file, ",'127.0.0.1:%u'", port++);
                fputs("]},", text.file);
        }
        ASSERT_OK(fclose(text.file));
        config = load_services(text.text, 0, 3000, ",'fine':{'name':'x','port':50000,'redirectPort':81}",
                               &problems);
        ASSERT_EQ(problems.n_errors, 3000);
        ASSERT_STREQ(problems.problems[0].path, "services.stack-0.redirectPort");
        ASSERT_TRUE(strstr(problems.problems[0].text, "no port from 20000 to 32767 is free"));
        ASSERT_EQ(port_of(config, "fine"), 81);
}

int main(void) {
        test_port_plus_20000_if_it_can_be_had();
        test_one_that_follows_from_the_name();
        test_a_port_that_is_taken();
        test_several_with_the_same_port();
        test_of_two_with_one_place_the_first_has_it();
        test_broken_service_keeps_its_place();
        test_many();
        test_added_behind_moves_nobody();
        test_none_is_left();
        return EXIT_SUCCESS;
}
