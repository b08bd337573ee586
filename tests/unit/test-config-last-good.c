#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "test.h"
#include "util/fd.h"

/* The last good configuration: what is kept, and what it replaces. Each test has a root of its own, removed at the end. */

#define MAIN "/etc/wakechain/dependencies.json"
#define FRAGMENTS "/etc/wakechain/dependencies.d"
#define LAST_GOOD "/var/lib/wakechain/dependencies.last-good.json"

static char root[] = "/tmp/wakechain-test-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
        return remove(path);
}

static const char *below(const char *path) {
        static char full[256];

        (void) snprintf(full, sizeof(full), "%s%s", root, path);
        return full;
}

static void reset(void) {
        static bool exists = false;

        if (exists)
                ASSERT_OK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        strcpy(root + strlen(root) - 6, "XXXXXX");
        ASSERT_TRUE(mkdtemp(root));
        exists = true;
        ASSERT_OK(directory_make(below("/var/lib/wakechain")));
}

/* Writes `text`, in which ' stands for ". */
static void put(const char *path, const char *text) {
        _cleanup_free_ char *folder = NULL, *json = strdup(text);
        const char *full = below(path);

        for (char *c = json; *c; c++)
                if (*c == '\'')
                        *c = '"';
        folder = strndup(full, (size_t) (strrchr(full, '/') - full));
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(file_replace(full, json, strlen(json), 0644, false));
}

static void discard(const char *path) {
        ASSERT_OK(remove(below(path)));
}

/* What is loaded, "NAME:CONTAINER" for each service, with a * if it is remembered, and with "all:" before it if all is; then the
 * file of each problem. */
static const char *load(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        static char found[1024];
        size_t n = 0;
        int r;

        found[0] = '\0';
        r = config_load_or_remembered(&config, root, &problems);
        if (r < 0)
                n += (size_t) snprintf(found + n, sizeof(found) - n, "%s", strerror(-r));
        for (size_t i = 0; config && i < config->n_services; i++)
                n += (size_t) snprintf(found + n, sizeof(found) - n, "%s%s%s:%s%s",
                                       i == 0 && config->remembered ? "all: " : "", i > 0 ? " " : "",
                                       config->services[i].name, config->services[i].container,
                                       config->services[i].remembered ? "*" : "");
        for (size_t i = 0; i < problems.n_problems; i++) {
                n += (size_t) snprintf(found + n, sizeof(found) - n, " | %s: %s",
                                       strrchr(problems.problems[i].file, '/') + 1, problems.problems[i].path);
                ASSERT_TRUE(n < sizeof(found));
        }
        if (config)
                ASSERT_STREQ(config->path, MAIN);
        return found;
}

static void test_what_is_good_is_kept_once(void) {
        struct stat first, second;

        reset();
        ASSERT_ERROR(config_remember(root), ENOENT);
        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        ASSERT_OK(stat(below(LAST_GOOD), &first));
        ASSERT_EQ(first.st_mode & 07777, 0640);
        ASSERT_EQ(config_remember(root), 0);
        ASSERT_OK(stat(below(LAST_GOOD), &second));
        ASSERT_EQ(first.st_ino, second.st_ino);

        put(MAIN, "{'services':{'a':{'name':'y'}}}");
        ASSERT_EQ(config_remember(root), 1);
        put(MAIN, "{");
        ASSERT_STREQ(load(), "all: a:y* | dependencies.json: ");
}

static void test_nothing_with_an_error_is_kept(void) {
        static const char *const bad[] = {
                "{",
                "[]",
                "{'services':{'a':{'name':'x'},'b':{}}}",
                "{'engine':'dokcer','services':{'a':{'name':'x'}}}",
                "{'services':{'a':{'name':'x','port':80},'b':{'name':'x','listen':'80','backend':'x:80'}}}",
        };

        reset();
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                put(MAIN, bad[i]);
                ASSERT_ERROR(config_remember(root), EBADMSG);
        }
        ASSERT_TRUE(access(below(LAST_GOOD), F_OK) < 0);

        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        put(FRAGMENTS "/b.json", "{");
        ASSERT_ERROR(config_remember(root), EBADMSG);
        /* Warnings do not matter. */
        put(FRAGMENTS "/b.json", "{'services':{'b':{'name':'x','redirectPort':80}}}");
        ASSERT_EQ(config_remember(root), 1);
        discard(LAST_GOOD);
        discard("/var/lib/wakechain");
        ASSERT_ERROR(config_remember(root), ENOENT);
}

static void test_sound_files_are_all_there_is(void) {
        reset();
        ASSERT_STREQ(load(), "No such file or directory");
        put(MAIN, "{'services':{'a':{'name':'x'},'b':{'name':'x'}}}");
        put(FRAGMENTS "/c.json", "{'services':{'c':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        ASSERT_STREQ(load(), "a:x b:x c:x");
        put(MAIN, "{'services':{'a':{'name':'y'}}}");
        discard(FRAGMENTS "/c.json");
        ASSERT_STREQ(load(), "a:y");
}

static void test_file_that_is_gone_was_there(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        discard(MAIN);
        ASSERT_STREQ(load(), "all: a:x* | dependencies.json: ");
        discard(LAST_GOOD);
        ASSERT_STREQ(load(), "No such file or directory");
}

static void test_without_one_it_is_as_ever(void) {
        reset();
        put(MAIN, "{");
        ASSERT_STREQ(load(), "Bad message | dependencies.json: ");
        put(MAIN, "{'services':{'a':{'name':'x'},'b':{}}}");
        ASSERT_STREQ(load(), "a:x | dependencies.json: services.b.name");
}

static void test_a_main_file_that_cannot_be_used_is_replaced_with_all_beside_it(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put(MAIN, "{'engine':'podman','x-note':1,'defaults':{'idleTimeout':'7s'},'services':{'b':{'name':'x'}}}");
        put(FRAGMENTS "/a.json", "{'services':{'a':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);

        put(FRAGMENTS "/a.json", "{'services':{'a':{'name':'y'},'c':{'name':'y'}}}");
        put(MAIN, "{'services':");
        ASSERT_STREQ(load(), "all: a:x* b:x* | dependencies.json: ");
        put(MAIN, "[]");
        ASSERT_STREQ(load(), "all: a:x* b:x* | dependencies.json: ");
        put(MAIN, "{'services':[]}");
        ASSERT_STREQ(load(), "all: a:x* b:x* | dependencies.json: services");
        put(MAIN, "{'service':{'b':{'name':'y'}}}");
        ASSERT_STREQ(load(), "all: a:x* b:x* | dependencies.json: service");
        discard(MAIN);
        ASSERT_OK(mkdir(below(MAIN), 0755));
        ASSERT_STREQ(load(), "all: a:x* b:x* | dependencies.json: ");

        ASSERT_OK(config_load_or_remembered(&config, root, &problems));
        ASSERT_STREQ(config_find(config, "b")->file, MAIN);
        ASSERT_STREQ(config_find(config, "a")->file, FRAGMENTS "/a.json");
        ASSERT_EQ(config_find(config, "a")->idle_timeout_usec, 7 * USEC_PER_SEC);
        ASSERT_EQ(config->engine, ENGINE_PODMAN);
}

static void test_no_services_are_not_lost_services(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        put(MAIN, "{}");
        ASSERT_STREQ(load(), "");
        put(MAIN, "{'x-services':{},'defaults':{'idleTimeout':-1}}");
        ASSERT_STREQ(load(), " | dependencies.json: defaults.idleTimeout");
}

static void test_a_broken_service_is_replaced_alone(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        reset();
        put(MAIN, "{'defaults':{'network':'old','idleTimeout':'7s'},'services':{'a':{'name':'x'},'b':{'name':'x'},"
                  "'c':{'name':'x'}}}");
        put(FRAGMENTS "/d.json", "{'services':{'d':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);

        put(MAIN, "{'engine':'podman','defaults':{'network':'new'},'services':{'a':{'name':'y'},'b':{'nmae':'y'},"
                  "'new':{'name':5}}}");
        put(FRAGMENTS "/d.json", "{'services':{'d':{'name':'y','port':1,'port':2}}}");
        ASSERT_STREQ(load(),
                     "a:y b:x* d:x* | dependencies.json: services.b.name | dependencies.json: services.b.nmae"
                     " | dependencies.json: services.new.name | d.json: services.d.port");

        ASSERT_OK(config_load_or_remembered(&config, root, &problems));
        ASSERT_FALSE(config->remembered);
        ASSERT_EQ(config->engine, ENGINE_PODMAN);
        /* With the defaults that held for it. */
        ASSERT_STREQ(config_find(config, "a")->network, "new");
        ASSERT_EQ(config_find(config, "a")->idle_timeout_usec, 15 * USEC_PER_MINUTE);
        ASSERT_STREQ(config_find(config, "b")->network, "old");
        ASSERT_EQ(config_find(config, "b")->idle_timeout_usec, 7 * USEC_PER_SEC);
        ASSERT_STREQ(config_find(config, "b")->file, MAIN);
        ASSERT_STREQ(config_find(config, "d")->file, FRAGMENTS "/d.json");
}

static void test_a_broken_fragment_is_replaced_alone(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x'},'gone':{'name':'x'}}}");
        put(FRAGMENTS "/1.json", "{'services':{'b':{'name':'x'},'c':{'name':'x'}}}");
        put(FRAGMENTS "/10.json", "{'services':{'also-gone':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);

        /* `c` has moved into another file. */
        put(MAIN, "{'services':{'a':{'name':'y'},'c':{'name':'y'}}}");
        put(FRAGMENTS "/1.json", "{'services':{");
        put(FRAGMENTS "/10.json", "{'services':{}}");
        ASSERT_STREQ(load(), "a:y b:x* c:y | 1.json: ");
        put(FRAGMENTS "/1.json", "{'servcies':{}}");
        ASSERT_STREQ(load(), "a:y b:x* c:y | 1.json: servcies");
        discard(FRAGMENTS "/1.json");
        put(FRAGMENTS "/1.json/x", "a folder");
        ASSERT_STREQ(load(), "a:y b:x* c:y | 1.json: ");
}

static void test_a_folder_of_fragments_that_cannot_be_read(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        put(FRAGMENTS "/b.json", "{'services':{'b':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        discard(FRAGMENTS "/b.json");
        discard(FRAGMENTS);
        ASSERT_OK(symlink("dependencies.d", below(FRAGMENTS)));
        ASSERT_STREQ(load(), "a:x b:x* | dependencies.d: ");
}

static void test_a_service_named_twice_is_as_it_was(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x'}}}");
        ASSERT_EQ(config_remember(root), 1);
        put(FRAGMENTS "/b.json", "{'services':{'a':{'name':'y'}}}");
        ASSERT_STREQ(load(), "a:x* | b.json: services.a");
}

static void test_in_a_clash_the_files_come_first(void) {
        reset();
        put(MAIN, "{'services':{'a':{'name':'x','port':80,'redirectPort':81},'b':{'name':'x','port':90}}}");
        ASSERT_EQ(config_remember(root), 1);
        put(MAIN, "{'services':{'a':{'name':'x','port':'80'},'b':{'name':'x','port':'90'},"
                  "'z':{'name':'z','port':80,'redirectPort':81}}}");
        ASSERT_STREQ(load(), "b:x* z:z | dependencies.json: services.a.port | dependencies.json: services.b.port"
                             " | dependencies.last-good.json: services.a.redirectPort");
}

static uint16_t redirect_port(const Config *config, const char *name) {
        const Service *service = config_find(config, name);

        ASSERT_TRUE(service);
        return service->redirect_port;
}

/* The sockets that the generator makes are where the wakers, who know of no last good configuration, think that they are; and they stay
 * there. */
static void test_redirect_ports_stay(void) {
        static const char *const broken[] = {
                /* of both, the earlier of two that share a port, with `port` itself or something else broken */
                "{'services':{'a':{'nmae':'x','port':80},'b':{'name':'x','port':80},'c':{'name':'x','port':50000}}}",
                "{'services':{'a':{'name':'x','port':'80'},'b':{'name':'x','port':80},'c':{'name':'x','port':50000}}}",
                "{'services':{'a':{'name':'x','port':80},'b':{'name':'x','port':80},'c':{'nmae':'x','port':50000}}}",
        };
        uint16_t a, b, c;

        reset();
        put(MAIN,
            "{'services':{'a':{'name':'x','port':80},'b':{'name':'x','port':80},'c':{'name':'x','port':50000}}}");
        ASSERT_EQ(config_remember(root), 1);
        for (size_t i = 0; i <= ELEMENTSOF(broken); i++) {
                _cleanup_(problem_list_done) ProblemList problems = {}, more = {};
                _cleanup_(config_freep) Config *waker = NULL, *generator = NULL;

                if (i > 0)
                        put(MAIN, broken[i - 1]);
                ASSERT_OK(config_load(&waker, root, NULL, &problems));
                ASSERT_OK(config_load_or_remembered(&generator, root, &more));
                ASSERT_EQ(generator->n_services, 3);
                for (size_t k = 0; k < waker->n_services; k++)
                        ASSERT_EQ(waker->services[k].redirect_port,
                                  redirect_port(generator, waker->services[k].name));
                if (i == 0) {
                        a = redirect_port(generator, "a");
                        b = redirect_port(generator, "b");
                        c = redirect_port(generator, "c");
                }
                ASSERT_EQ(redirect_port(generator, "c"), c);
                if (i == 2) /* Nobody can know that the earlier one has the port. */
                        continue;
                ASSERT_EQ(redirect_port(generator, "a"), a);
                ASSERT_EQ(redirect_port(generator, "b"), b);
        }
}

static void test_what_it_depends_on_may_be_gone(void) {
        reset();
        put(MAIN,
            "{'services':{'web':{'name':'x','dependencies':[{'service':'api'}]},'api':{'name':'x','dependencies':"
            "[{'service':'db'}]},'db':{'name':'x'},'ui':{'name':'x','dependencies':[{'service':'api'}]}}}");
        ASSERT_EQ(config_remember(root), 1);
        put(MAIN,
            "{'services':{'web':{'name':'y','dependencies':[{'service':'api'}]},'api':{'name':'y','dependencies':"
            "[{'service':'db'}]}}}");
        ASSERT_STREQ(load(), "api:x* web:x* | dependencies.json: services.api.dependencies[0].service"
                             " | dependencies.json: services.web.dependencies[0].service");
}

static void test_a_damaged_one_is_none(void) {
        static const char *const damaged[] = { "",
                                               "{",
                                               "[]",
                                               "{}",
                                               "{'services':{'a':{'name':'x'}}}",
                                               "{'" MAIN "':7}",
                                               "{'" MAIN "':{'services':7}}",
                                               "{'" MAIN "':{'services':{}}}" };

        reset();
        put(MAIN, "{");
        for (size_t i = 0; i < ELEMENTSOF(damaged); i++) {
                put(LAST_GOOD, damaged[i]);
                ASSERT_STREQ(load(), "Bad message | dependencies.json:  | dependencies.last-good.json: ");
        }

        /* Nobody ever writes into this one. */
        discard(LAST_GOOD);
        ASSERT_OK(mkfifo(below(LAST_GOOD), 0600));
        ASSERT_STREQ(load(), "Bad message | dependencies.json:  | dependencies.last-good.json: ");
        discard(LAST_GOOD);
        ASSERT_OK(symlink("/dev/zero", below(LAST_GOOD)));
        ASSERT_STREQ(load(), "Bad message | dependencies.json:  | dependencies.last-good.json: ");
        discard(LAST_GOOD);
        ASSERT_OK(mkdir(below(LAST_GOOD), 0700));
        ASSERT_STREQ(load(), "Bad message | dependencies.json:  | dependencies.last-good.json: ");
}

static void test_a_damaged_part_costs_only_itself(void) {
        reset();
        put(MAIN, "{'services':{'a':{},'b':{},'c':{'name':'y'}}}");
        put(LAST_GOOD,
            "{'" MAIN "':{'defaults':7,'services':{'a':{'name':'x'},'b':{'name':'-'},'c':{'name':'-'}}}}");
        ASSERT_STREQ(load(), "a:x* c:y | dependencies.json: services.a.name | dependencies.json: services.b.name"
                             " | dependencies.last-good.json: services.b.name");
        put(MAIN, "{");
        put(LAST_GOOD, "{'" MAIN "':{'engine':5,'services':{'a':{'name':'x'},'b':{}}}}");
        ASSERT_STREQ(load(), "all: a:x* | dependencies.json:  | dependencies.last-good.json: engine"
                             " | dependencies.last-good.json: services.b.name");
}

int main(void) {
        test_what_is_good_is_kept_once();
        test_nothing_with_an_error_is_kept();
        test_sound_files_are_all_there_is();
        test_file_that_is_gone_was_there();
        test_without_one_it_is_as_ever();
        test_a_main_file_that_cannot_be_used_is_replaced_with_all_beside_it();
        test_no_services_are_not_lost_services();
        test_a_broken_service_is_replaced_alone();
        test_a_broken_fragment_is_replaced_alone();
        test_a_folder_of_fragments_that_cannot_be_read();
        test_a_service_named_twice_is_as_it_was();
        test_in_a_clash_the_files_come_first();
        test_redirect_ports_stay();
        test_what_it_depends_on_may_be_gone();
        test_a_damaged_one_is_none();
        test_a_damaged_part_costs_only_itself();
        ASSERT_OK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
        return 0;
}
