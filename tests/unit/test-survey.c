#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/survey.h"
#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* A survey blocks, so the engine is a process of its own here. */

#define LONG (60 * USEC_PER_SEC)
#define SHORT (300 * USEC_PER_MSEC)

static char folder[] = "/tmp/test-survey-XXXXXX";
static char *engine_path;

#define FOUND(name)                                                                                              \
        REPLY_BODY("200 OK", "{\"Id\":\"c0ffee\",\"Name\":\"/" name "\",\"State\":{\"Running\":true,\"Pid\":7}," \
                             "\"HostConfig\":{\"NetworkMode\":\"n\"}}")
#define ASKED(name) "GET /v1.41/containers/" name "/json"
#define TROUBLE REPLY_BODY("500 Internal Server Error", "{\"message\":\"not now\"}")
#define MISSING REPLY_BODY("404 Not Found", "{\"message\":\"No such container: x\"}")

static pid_t fork_engine(const ScriptedRule *rules, size_t n, unsigned late_msec) {
        int ready[2];
        sd_event *event;
        char byte;
        pid_t pid;

        ASSERT_EQ(pipe(ready), 0);
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid > 0) {
                if (late_msec == 0)
                        ASSERT_EQ(read(ready[0], &byte, 1), 1);
                fd_close(ready[0]);
                fd_close(ready[1]);
                return pid;
        }

        (void) poll(NULL, 0, (int) late_msec);
        (void) unlink(engine_path);
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

static Survey *take(char **names, SurveyPatience patience, uint64_t timeout_usec) {
        Survey *survey;

        ASSERT_OK(survey_new(&survey, engine_path, names, patience, timeout_usec));
        return survey;
}

static char *const two[] = { (char *) "a", (char *) "b", NULL };

static void test_each_once(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                { ASKED("a"), FOUND("a"), .close = true, .times = 1 },
                { ASKED("b"), FOUND("b"), .close = true, .times = 1 },
                { ASKED("missing"), MISSING, .close = true, .times = 1 },
        };
        char *names[] = { (char *) "b", (char *) "a", (char *) "missing", (char *) "a", (char *) "b", NULL };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules), 0);
        _cleanup_(survey_freep) Survey *survey = take(names, SURVEY_ONCE, LONG);
        EngineOutcome outcome;

        end_engine(engine);
        ASSERT_STREQ(survey_find(survey, "a", NULL)->name, "a");
        ASSERT_STREQ(survey_find(survey, "b", &outcome)->name, "b");
        ASSERT_EQ(outcome, ENGINE_OK);
        ASSERT_NULL(survey_find(survey, "missing", &outcome));
        ASSERT_EQ(outcome, ENGINE_NO_CONTAINER);
        ASSERT_NULL(survey_find(survey, "stranger", &outcome));
        ASSERT_EQ(outcome, ENGINE_UNREACHABLE);
        ASSERT_EQ(survey_n_unanswered(survey), 0);
}

static void test_many(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                { ASKED("c123"), FOUND("c123"), .close = true },
                { "GET /v1.41/containers/", MISSING, .close = true },
        };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules), 0);
        _cleanup_(survey_freep) Survey *survey = NULL;
        char *names[301] = {};

        for (size_t i = 0; i < 300; i++)
                ASSERT_TRUE(asprintf(&names[i], "c%zu", i) >= 0);
        survey = take(names, SURVEY_UNTIL_ANSWERED, LONG);
        end_engine(engine);
        ASSERT_TRUE(survey_find(survey, "c123", NULL)->running);
        ASSERT_EQ(survey_n_unanswered(survey), 0);
        for (size_t i = 0; i < 300; i++)
                free(names[i]);
}

static void test_trouble(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                { ASKED("a"), TROUBLE, .close = true, .times = 2 },
                { ASKED("a"), FOUND("a"), .close = true },
                { ASKED("b"), FOUND("b"), .close = true, .times = 2 },
        };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules), 0);
        _cleanup_(survey_freep) Survey *once = take((char **) two, SURVEY_ONCE, LONG);
        _cleanup_(survey_freep) Survey *patient = take((char **) two, SURVEY_UNTIL_ANSWERED, LONG);
        EngineOutcome outcome;

        end_engine(engine);
        ASSERT_NULL(survey_find(once, "a", &outcome));
        ASSERT_EQ(outcome, ENGINE_BROKEN);
        ASSERT_TRUE(survey_find(once, "b", NULL));
        ASSERT_EQ(survey_n_unanswered(once), 1);

        /* Who has answered is not asked again. */
        ASSERT_TRUE(survey_find(patient, "a", NULL) && survey_find(patient, "b", NULL));
        ASSERT_EQ(survey_n_unanswered(patient), 0);
}

static void test_silence(void) {
        static const ScriptedRule rules[] = { RULE_PING,
                                              { ASKED("a"), NULL },
                                              { ASKED("b"), FOUND("b"), .close = true } };
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules), 0);
        _cleanup_(survey_freep) Survey *survey = take((char **) two, SURVEY_UNTIL_ANSWERED, SHORT);

        end_engine(engine);
        ASSERT_NULL(survey_find(survey, "a", NULL));
        ASSERT_TRUE(survey_find(survey, "b", NULL));
        ASSERT_EQ(survey_n_unanswered(survey), 1);
}

static int bind_only(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", engine_path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0);
        return fd;
}

static void test_late_engine(void) {
        static const ScriptedRule rules[] = {
                RULE_PING,
                { ASKED("a"), FOUND("a"), .close = true },
                { ASKED("b"), FOUND("b"), .close = true },
        };
        _unused_ _cleanup_close_ int refusing = bind_only();
        _cleanup_(survey_freep) Survey *survey = NULL;
        pid_t engine = fork_engine(rules, ELEMENTSOF(rules), 150);

        survey = take((char **) two, SURVEY_UNTIL_ANSWERED, LONG);
        end_engine(engine);
        ASSERT_TRUE(survey_find(survey, "a", NULL) && survey_find(survey, "b", NULL));
}

static void test_refusal(void) {
        _unused_ _cleanup_close_ int refusing = bind_only();
        _cleanup_(survey_freep) Survey *once = take((char **) two, SURVEY_ONCE, LONG);
        _cleanup_(survey_freep) Survey *patient = take((char **) two, SURVEY_UNTIL_ANSWERED, SHORT);
        EngineOutcome outcome;

        ASSERT_NULL(survey_find(once, "a", &outcome));
        ASSERT_EQ(outcome, ENGINE_UNREACHABLE);
        ASSERT_EQ(survey_n_unanswered(once), 2);
        ASSERT_EQ(survey_n_unanswered(patient), 2);
        ASSERT_EQ(unlink(engine_path), 0);
}

static void test_no_engine(void) {
        Survey *survey;

        ASSERT_ERROR(survey_new(&survey, engine_path, (char **) two, SURVEY_UNTIL_ANSWERED, LONG), ENOENT);
}

static void test_nothing_to_ask(void) {
        _unused_ _cleanup_close_ int refusing = bind_only();
        _cleanup_(survey_freep) Survey *survey = take(NULL, SURVEY_UNTIL_ANSWERED, LONG);

        ASSERT_NULL(survey_find(survey, "a", NULL));
        ASSERT_EQ(survey_n_unanswered(survey), 0);
        ASSERT_EQ(unlink(engine_path), 0);
}

int main(void) {
        ASSERT_TRUE(mkdtemp(folder) != NULL);
        ASSERT_TRUE(asprintf(&engine_path, "%s/engine.sock", folder) > 0);

        test_each_once();
        test_many();
        test_trouble();
        test_silence();
        test_late_engine();
        test_refusal();
        test_no_engine();
        test_nothing_to_ask();

        ASSERT_EQ(rmdir(folder), 0);
        free(engine_path);
        return EXIT_SUCCESS;
}
