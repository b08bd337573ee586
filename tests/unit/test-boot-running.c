#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/running.h"
#include "config/config.h"
#include "scripted-server.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* Asking blocks, so the engine is a process of its own here. */

static char root[] = "/tmp/test-boot-running-XXXXXX";
static char *engine_path;

#define CONTAINER(name, running, rest)                                                                   \
        {                                                                                                \
                "GET /v1.41/containers/" name "/json",                                                   \
                                REPLY_BODY("200 OK", "{\"Id\":\"c0ffee\",\"Name\":\"/" name              \
                                                     "\",\"State\":{\"Running\":" running "},"           \
                                                     "\"HostConfig\":{\"NetworkMode\":\"n\"" rest "}}"), \
                                .close = true                                                            \
        }
#define PUBLISHES(port) ",\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"" port "\"}]}"
#define MISSING(name)                                                                                  \
        {                                                                                              \
                "GET /v1.41/containers/" name "/json",                                                 \
                                REPLY_BODY("404 Not Found", "{\"message\":\"No such container: x\"}"), \
                                .close = true                                                          \
        }

static const ScriptedRule rules[] = {
        RULE_PING,
        CONTAINER("publisher-runs", "true", PUBLISHES("9001")),
        CONTAINER("publisher-sleeps", "false", PUBLISHES("9002")),
        CONTAINER("runs", "true", ""),
        CONTAINER("sleeps", "false", ""),
        CONTAINER("restarts", "false,\"Restarting\":true", ""),
        MISSING("missing"),
        { "GET /v1.41/containers/silent/json", NULL },
};

static pid_t fork_engine(void) {
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
        ASSERT_TRUE(scripted_server_new(event, engine_path, rules, ELEMENTSOF(rules)) != NULL);
        ASSERT_EQ(write(ready[1], "", 1), 1);
        (void) sd_event_loop(event);
        _exit(EXIT_FAILURE);
}

static Config *make_config(const char *services) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *text = NULL;
        Config *config;

        ASSERT_TRUE(asprintf(&text, "{\"engineSocket\":\"%s\",\"services\":{%s}}", engine_path, services) > 0);
        ASSERT_OK(config_parse(&config, "test.json", text, strlen(text), &problems));
        ASSERT_EQ(problems.n_errors, 0);
        return config;
}

static char *lease_path(const char *container) {
        char *path;

        ASSERT_TRUE(asprintf(&path, "%s/var/lib/wakechain/lease/%s", root, container) > 0);
        return path;
}

static void write_lease(const char *container, const char *service) {
        _cleanup_free_ char *path = lease_path(container), *text = NULL;

        ASSERT_TRUE(asprintf(&text, "{\"container\":\"%s\",\"ours\":true,\"service\":\"%s\"}", container,
                             service) > 0);
        ASSERT_OK(file_replace(path, text, strlen(text), 0600, false));
}

static bool lease_is_there(const char *container) {
        _cleanup_free_ char *path = lease_path(container);

        return access(path, F_OK) >= 0;
}

static void find(Running *ret, const char *services, uint64_t patience_usec) {
        _cleanup_(config_freep) Config *config = make_config(services);

        ASSERT_OK(running_find(ret, config, root, patience_usec));
}

static void test_who_is_reached(void) {
        _cleanup_(running_done) Running running = {};

        find(&running,
             "\"published\":{\"name\":\"sleeps\",\"port\":9001,\"dependencies\":[{\"container\":\"publisher-runs\"}]},"
             "\"main-only\":{\"name\":\"runs\",\"port\":9002,\"dependencies\":[{\"container\":\"publisher-sleeps\"}]},"
             "\"nobody-publishes\":{\"name\":\"runs\",\"port\":9003},"
             "\"bot\":{\"name\":\"runs\"},"
             "\"sleeping\":{\"name\":\"sleeps\",\"dependencies\":[{\"container\":\"runs\"}]},"
             "\"gone\":{\"name\":\"missing\",\"port\":9004}",
             60 * USEC_PER_SEC);
        ASSERT_EQ(strv_length(running.services), 3);
        ASSERT_TRUE(strv_contains(running.services, "published"));
        ASSERT_TRUE(strv_contains(running.services, "nobody-publishes"));
        ASSERT_TRUE(strv_contains(running.services, "bot"));
        ASSERT_NULL(running.orphans);
        ASSERT_NULL(running.gone);
        ASSERT_EQ(running.n_unanswered, 0);
}

static void test_what_was_ours(void) {
        _cleanup_(running_done) Running running = {};

        write_lease("runs", "stack");
        write_lease("publisher-runs", "stack");
        write_lease("sleeps", "stack");
        write_lease("missing", "stack");
        write_lease("restarts", "stack");
        find(&running,
             "\"stack\":{\"name\":\"sleeps\",\"dependencies\":[{\"container\":\"runs\"},"
             "{\"container\":\"restarts\"}]}",
             60 * USEC_PER_SEC);
        ASSERT_EQ(strv_length(running.services), 1);
        ASSERT_STREQ(running.services[0], "stack");
        ASSERT_EQ(strv_length(running.gone), 2);
        ASSERT_TRUE(strv_contains(running.gone, "sleeps") && strv_contains(running.gone, "missing"));
        /* The service is still there, and has another container now. */
        ASSERT_EQ(strv_length(running.orphans), 1);
        ASSERT_STREQ(running.orphans[0], "publisher-runs");

        running_forget_gone(&running, root);
        ASSERT_FALSE(lease_is_there("sleeps") || lease_is_there("missing"));
        ASSERT_TRUE(lease_is_there("runs") && lease_is_there("publisher-runs") && lease_is_there("restarts"));
}

static void test_what_nobody_asks_for_any_more(void) {
        _cleanup_(running_done) Running running = {};

        find(&running, "\"other\":{\"name\":\"sleeps\"}", 60 * USEC_PER_SEC);
        ASSERT_NULL(running.services);
        ASSERT_EQ(strv_length(running.orphans), 3);
        ASSERT_NULL(running.gone);
}

/* A wake began after the look, and started what did not run. */
static void test_a_wake_was_faster(void) {
        _cleanup_free_ char *path = NULL, *folder = NULL;
        Running running = { .gone = (char *[]){ (char *) "runs", NULL } };

        ASSERT_TRUE(asprintf(&folder, "%s/run/wakechain/lease", root) > 0);
        ASSERT_OK(directory_make(folder));
        ASSERT_TRUE(asprintf(&path, "%s/runs", folder) > 0);
        ASSERT_OK(file_replace(path, "{\"ours\":true}", strlen("{\"ours\":true}"), 0600, false));
        running_forget_gone(&running, root);
        ASSERT_TRUE(lease_is_there("runs"));
        ASSERT_EQ(unlink(path), 0);
        running_forget_gone(&running, root);
        ASSERT_FALSE(lease_is_there("runs"));
}

static void test_silence_is_no_answer(void) {
        _cleanup_(running_done) Running running = {};

        write_lease("silent", "stack");
        find(&running, "\"stack\":{\"name\":\"silent\"},\"bot\":{\"name\":\"runs\"}", 300 * USEC_PER_MSEC);
        ASSERT_EQ(running.n_unanswered, 1);
        ASSERT_NULL(running.gone);
        ASSERT_EQ(strv_length(running.services), 1);
        ASSERT_STREQ(running.services[0], "bot");
}

static void test_no_engine(void) {
        _cleanup_(running_done) Running running = {};

        find(&running, "\"stack\":{\"name\":\"silent\"}", 60 * USEC_PER_SEC);
        ASSERT_NULL(running.services);
        ASSERT_NULL(running.gone);
        ASSERT_EQ(running.n_unanswered, 0);
        running_forget_gone(&running, root);
        ASSERT_TRUE(lease_is_there("silent"));
}

int main(void) {
        _cleanup_free_ char *command = NULL, *folder = NULL;
        pid_t engine;

        ASSERT_TRUE(mkdtemp(root) != NULL);
        ASSERT_TRUE(asprintf(&engine_path, "%s/engine.sock", root) > 0);
        ASSERT_TRUE(asprintf(&folder, "%s/var/lib/wakechain/lease", root) > 0);
        ASSERT_OK(directory_make(folder));

        engine = fork_engine();
        test_who_is_reached();
        test_what_was_ours();
        test_what_nobody_asks_for_any_more();
        test_a_wake_was_faster();
        test_silence_is_no_answer();
        ASSERT_EQ(kill(engine, SIGKILL), 0);
        ASSERT_EQ(waitpid(engine, NULL, 0), engine);
        ASSERT_EQ(unlink(engine_path), 0);
        test_no_engine();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) > 0);
        ASSERT_EQ(system(command), 0);
        free(engine_path);
        return EXIT_SUCCESS;
}
