#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/survey.h"
#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* A survey blocks, so the engine is a process of its own here. */

#define LONG (60 * USEC_PER_SEC)
#define SHORT (300 * USEC_PER_MSEC)

static char folder[] = "/tmp/test-survey-XXXXXX";
static char *engine_path;

#define LISTED(name, state) "{\"Id\":\"id-" name "\",\"Names\":[\"/" name "\"],\"State\":\"" state "\"}"
#define RULE_LIST(containers) \
        { "GET /v1.41/containers/json?all=1 ", REPLY_BODY("200 OK", "[" containers "]"), .close = true }
#define FOUND(name)                                                                                              \
        REPLY_BODY("200 OK", "{\"Id\":\"c0ffee\",\"Name\":\"/" name "\",\"State\":{\"Running\":true,\"Pid\":7}," \
                             "\"HostConfig\":{\"NetworkMode\":\"n\"}}")
#define ASKED(name) "GET /v1.41/containers/" name "/json"
#define TROUBLE REPLY_BODY("500 Internal Server Error", "{\"message\":\"not now\"}")
#define MISSING REPLY_BODY("404 Not Found", "{\"message\":\"No such container: x\"}")

static pid_t fork_engine(const ScriptedRule *rules, size_t n) {
        int ready[2];
        sd_event *event;
        char byte;
        pid_t pid;

        ASSERT_EQ(pipe(ready), 0);
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid > 0) {
                ASSERT_EQ(read(ready[0], &byte, 1), 1);
                fd_close(ready[0]);
                fd_close(ready[1]);
                return pid;
        }

        ASSERT_OK(sd_event_new(&event));
        ASSERT_TRUE(scripted_server_new(event, engine_path, rules, n) != NULL);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) !write(ready[1], "", 1);
        (void) sd_event_loop(event);
        _exit(EXIT_FAILURE);
}

static void end_engine(pid_t pid) {
        ASSERT_EQ(kill(pid, SIGKILL), 0);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        (void) unlink(engine_path);
}

static Survey *take(uint64_t timeout_usec) {
        Survey *survey;

        ASSERT_OK(survey_new(&survey, engine_path, timeout_usec));
        return survey;
}

static void test_list(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                RULE_LIST(LISTED("b", "running") "," LISTED("a", "exited")),
        };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);

        end_engine(engine);
        ASSERT_STREQ(survey_listed(survey, "a")->id, "id-a");
        ASSERT_FALSE(survey_listed(survey, "a")->running);
        ASSERT_TRUE(survey_listed(survey, "b")->running);
        ASSERT_NULL(survey_listed(survey, "c"));
        /* Nobody has looked at it. */
        ASSERT_NULL(survey_find(survey, "a"));
}

static void test_each_is_inspected_once(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                RULE_LIST(""),
                { ASKED("a"), FOUND("a"), .close = true, .times = 1 },
                { ASKED("b"), FOUND("b"), .close = true, .times = 1 },
                { ASKED("missing"), MISSING, .close = true, .times = 1 },
                { ASKED("broken"), TROUBLE, .close = true, .times = 1 },
        };
        char *names[] = { (char *) "b", (char *) "a", (char *) "broken", (char *) "missing", (char *) "a",
                          (char *) "b", NULL };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);

        ASSERT_OK(survey_inspect(survey, names));
        end_engine(engine);
        ASSERT_STREQ(survey_find(survey, "a")->name, "a");
        ASSERT_STREQ(survey_find(survey, "b")->name, "b");
        ASSERT_NULL(survey_find(survey, "missing"));
        ASSERT_NULL(survey_find(survey, "broken"));
        ASSERT_NULL(survey_find(survey, "stranger"));
}

static int count_answer(const char *body, size_t size, void *userdata) {
        ASSERT_TRUE(memmem(body, size, "\"Id\":\"c0ffee\"", strlen("\"Id\":\"c0ffee\"")) != NULL);
        ++*(unsigned *) userdata;
        return *(unsigned *) userdata > 1 ? -ENOMEM : 0;
}

/* Who wants to know more of a container reads the answer itself. */
static void test_reader_gets_each_answer(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                RULE_LIST(""),
                { ASKED("a"), FOUND("a"), .close = true, .times = 1 },
                { ASKED("missing"), MISSING, .close = true, .times = 1 },
                { ASKED("b"), FOUND("b"), .close = true, .times = 1 },
        };
        char *first[] = { (char *) "a", (char *) "missing", NULL }, *second[] = { (char *) "b", NULL };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);
        unsigned count = 0;

        survey_set_reader(survey, count_answer, &count);
        survey_allow(survey, LONG);
        ASSERT_OK(survey_inspect(survey, first));
        ASSERT_EQ(count, 1);
        ASSERT_ERROR(survey_inspect(survey, second), ENOMEM);
        end_engine(engine);
        ASSERT_EQ(count, 2);
}

#define JOINED(name, id, mode)                                      \
        REPLY_BODY("200 OK", "{\"Id\":\"" id "\",\"Name\":\"/" name \
                             "\",\"State\":{\"Running\":false},\"HostConfig\":{\"NetworkMode\":\"" mode "\"}}")

/* The owner of an owner, too, each looked at once; one that is gone is the one that it was, as long as there is one of that name: the
 * container may be made anew without. */
static void test_owners_of_networks(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                RULE_LIST(LISTED("app", "exited") "," LISTED("vpn",
                                                             "exited") "," LISTED("root",
                                                                                  "exited") "," LISTED("orphan",
                                                                                                       "exited")),
                { ASKED("app"), JOINED("app", "id-app", "container:id-vpn"), .close = true, .times = 1 },
                { ASKED("orphan"), JOINED("orphan", "id-orphan", "container:gone"), .close = true, .times = 1 },
                { ASKED("vpn"), JOINED("vpn", "id-vpn", "container:root"), .close = true, .times = 1 },
                { ASKED("root"), JOINED("root", "id-root", "bridge"), .close = true, .times = 1 },
        };
        static const char *const before[] = { "orphan", "root", "missing", "vpn", "freed",
                                              "gone",   "root", "app",     NULL };
        static const char *const expected[] = { "app",  "vpn", "missing", "vpn", "orphan",
                                                "root", "vpn", "root",    NULL };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);
        Service service = { .dependencies = new0(Dependency, 4), .n_dependencies = 4 };
        SurveyedService surveyed = { .service = &service, .before = (char **) before };
        static const char *const names[] = { "app", "missing", "orphan", "freed" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                service.dependencies[i] = (Dependency){ .name = strdup(names[i]) };
        ASSERT_OK(survey_services(survey, NULL, &surveyed, 1));
        end_engine(engine);
        ASSERT_EQ(service.n_dependencies, 6);
        ASSERT_EQ(strv_length(surveyed.owners), ELEMENTSOF(expected) - 1);
        for (size_t i = 0; expected[i]; i++)
                ASSERT_STREQ(surveyed.owners[i], expected[i]);
        ASSERT_STREQ(survey_known(survey, "id-vpn")->name, "vpn");
        ASSERT_STREQ(survey_known(survey, "root")->id, "id-root");
        ASSERT_NULL(survey_known(survey, "gone"));
        strv_free(surveyed.owners);
        service_done(&service);
}

static void test_many(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                RULE_LIST(""),
                { ASKED("c123"), FOUND("c123"), .close = true },
                { "GET /v1.41/containers/", MISSING, .close = true },
        };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);
        char *names[301] = {};

        for (size_t i = 0; i < 300; i++)
                ASSERT_TRUE(asprintf(&names[i], "c%zu", i) >= 0);
        ASSERT_OK(survey_inspect(survey, names));
        end_engine(engine);
        ASSERT_TRUE(survey_find(survey, "c123")->running);
        ASSERT_NULL(survey_find(survey, "c124"));
        survey = survey_free(survey);
        for (size_t i = 0; i < 300; i++)
                free(names[i]);
}

static void test_nothing_to_inspect(void) {
        static const ScriptedRule rules[] = { RULE_PING, RULE_LIST("") };
        char *nobody[] = { NULL };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        _cleanup_(survey_freep) Survey *survey = take(LONG);

        end_engine(engine);
        ASSERT_OK(survey_inspect(survey, NULL));
        ASSERT_OK(survey_inspect(survey, nobody));
        ASSERT_NULL(survey_find(survey, "a"));
}

/* Some do not answer, or the whole engine does not: the time is for all of it together. */
static void test_silence(void) {
        static const ScriptedRule some[] = {
                RULE_PING,
                RULE_LIST(LISTED("a", "running")),
                { ASKED("a"), NULL },
                { ASKED("b"), FOUND("b"), .close = true },
        };
        static const ScriptedRule all[] = { RULE_PING, { "GET", NULL } };
        char *names[] = { (char *) "a", (char *) "b", NULL };
        uint64_t begin_usec = time_now(CLOCK_MONOTONIC);
        pid_t engine = fork_engine(some, ELEMENTSOF(some));
        Survey *survey = take(SHORT);

        ASSERT_OK(survey_inspect(survey, names));
        end_engine(engine);
        ASSERT_NULL(survey_find(survey, "a"));
        ASSERT_TRUE(survey_find(survey, "b"));
        survey_free(survey);

        engine = fork_engine(all, ELEMENTSOF(all));
        ASSERT_ERROR(survey_new(&survey, engine_path, SHORT), EHOSTDOWN);
        end_engine(engine);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) - begin_usec < LONG / 2);
}

static void test_trouble(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                { "GET /v1.41/containers/json", TROUBLE, .close = true, .times = 1 },
                { "GET /v1.41/containers/json", REPLY_BODY("200 OK", "{}"), .close = true },
        };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules));
        Survey *survey;

        ASSERT_ERROR(survey_new(&survey, engine_path, LONG), EHOSTDOWN);
        ASSERT_ERROR(survey_new(&survey, engine_path, LONG), EHOSTDOWN);
        end_engine(engine);
}

/* Its socket is there, and nobody listens; or not even that. */
static void test_no_engine(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Survey *survey;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", engine_path);
        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0);
        ASSERT_ERROR(survey_new(&survey, engine_path, SHORT), EHOSTDOWN);
        ASSERT_EQ(unlink(engine_path), 0);
        ASSERT_ERROR(survey_new(&survey, engine_path, LONG), ENOENT);
}

int main(void) {
        ASSERT_TRUE(mkdtemp(folder) != NULL);
        ASSERT_TRUE(asprintf(&engine_path, "%s/engine.sock", folder) > 0);

        test_list();
        test_each_is_inspected_once();
        test_reader_gets_each_answer();
        test_owners_of_networks();
        test_many();
        test_nothing_to_inspect();
        test_silence();
        test_trouble();
        test_no_engine();

        ASSERT_EQ(rmdir(folder), 0);
        free(engine_path);
        return EXIT_SUCCESS;
}
