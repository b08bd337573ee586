#include "model/status.h"
#include "test.h"

#define PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

static Status waking_status(DependencyStatus *dependencies, char **backends) {
        return (Status){
                .service = (char *) "clemence",
                .state = SERVICE_WAKING,
                .since_usec = UINT64_C(1767600000123456),
                .trigger = TRIGGER_CONNECTION,
                .wake_id = (char *) "7f6e",
                .elapsed_usec = 6 * USEC_PER_SEC,
                .estimate_usec = 17 * USEC_PER_SEC,
                .backends = backends,
                .holders = 1,
                .dependencies = dependencies,
                .n_dependencies = 2,
        };
}

static void test_shape_is_the_documented_one(void) {
        DependencyStatus dependencies[] = {
                { .container = (char *) "mysql-clemence",
                  .required = true,
                  .step = 1,
                  .state = DEPENDENCY_READY,
                  .started_usec = 12000,
                  .checking_usec = 160000,
                  .ready_usec = 4873000,
                  .estimate_usec = 5000000 },
                { .container = (char *) "nginx",
                  .step = 2,
                  .state = DEPENDENCY_PENDING,
                  .estimate_usec = 6000000,
                  .reason = FAILURE_START_FAILED,
                  .error = (char *) "why" },
        };
        char *backends[] = { (char *) "172.18.0.4:80", (char *) "/run/x.sock", NULL };
        Status status = waking_status(dependencies, backends);
        json_object *object = status_to_json(&status);

        ASSERT_STREQ(json_object_to_json_string_ext(object, PLAIN),
                     "{\"service\":\"clemence\",\"state\":\"waking\",\"since\":\"2026-01-05T08:00:00.123456Z\","
                     "\"trigger\":\"connection\",\"wakeId\":\"7f6e\",\"progress\":0.500,\"estimateMs\":17000,"
                     "\"remainingMs\":6000,\"backends\":[\"172.18.0.4:80\",\"/run/x.sock\"],\"holders\":1,\"error\":null,\"busy\":null,"
                     "\"dependencies\":[{\"container\":\"mysql-clemence\",\"type\":\"required\",\"step\":1,"
                     "\"state\":\"ready\",\"progress\":1.000,\"startedMs\":12,\"checkingMs\":160,\"readyMs\":4873,\"estimateMs\":5000,"
                     "\"error\":null},{\"container\":\"nginx\",\"type\":\"optional\",\"step\":2,\"state\":\"pending\","
                     "\"progress\":0.000,\"startedMs\":null,\"checkingMs\":null,\"readyMs\":null,\"estimateMs\":6000,"
                     "\"reason\":\"start_failed\",\"error\":\"why\"}]}");
        json_object_put(object);
}

static void test_what_is_written_is_read_back(void) {
        DependencyStatus dependencies[] = {
                { .container = (char *) "a",
                  .required = true,
                  .step = 1,
                  .state = DEPENDENCY_CHECKING,
                  .started_usec = 1000,
                  .checking_usec = 2000,
                  .estimate_usec = 9000000 },
                { .container = (char *) "b",
                  .step = 2,
                  .state = DEPENDENCY_FAILED,
                  .reason = FAILURE_CONTAINER_EXITED,
                  .error = (char *) "exited with 3" },
        };
        char *backends[] = { (char *) "[fd00::2]:80", NULL };
        NameStatus list[] = { { .address = (char *) "198.18.0.1", .backends = backends } };
        Status status = waking_status(dependencies, backends);
        _cleanup_(status_freep) Status *again = NULL;
        json_object *first, *second;

        status.names = list;
        status.n_names = ELEMENTSOF(list);
        status.reason = FAILURE_GLOBAL_TIMEOUT;
        status.error = (char *) "too \"long\"\n";
        first = status_to_json(&status);
        ASSERT_OK(status_from_json(&again, first));
        ASSERT_EQ(again->since_usec, status.since_usec);
        ASSERT_EQ(again->reason, FAILURE_GLOBAL_TIMEOUT);
        ASSERT_EQ(again->dependencies[1].reason, FAILURE_CONTAINER_EXITED);
        ASSERT_TRUE(again->dependencies[0].required);
        ASSERT_FALSE(again->dependencies[1].required);

        /* Progress, too, but for the rounding. */
        ASSERT_TRUE(status_progress(again) - status_progress(&status) < 0.01);
        ASSERT_TRUE(status_progress(&status) - status_progress(again) < 0.01);
        second = status_to_json(again);
        json_object_object_del(first, "progress");
        json_object_object_del(second, "progress");
        json_object_object_del(first, "remainingMs");
        json_object_object_del(second, "remainingMs");
        json_object_object_del(first, "dependencies");
        json_object_object_del(second, "dependencies");
        ASSERT_STREQ(json_object_to_json_string_ext(first, PLAIN), json_object_to_json_string_ext(second, PLAIN));
        json_object_put(first);
        json_object_put(second);
}

static int read_text(const char *text) {
        _cleanup_(status_freep) Status *status = NULL;
        json_object *object = json_tokener_parse(text);
        int r = status_from_json(&status, object);

        json_object_put(object);
        return r;
}

static void test_malformed_is_refused(void) {
        static const char *const cases[] = {
                "{}",
                "[]",
                "{\"service\":\"x\"}",
                "{\"service\":\"x\",\"state\":\"dancing\"}",
                "{\"service\":5,\"state\":\"awake\"}",
                "{\"service\":\"a\\u0000b\",\"state\":\"awake\"}",
                "{\"service\":null,\"state\":\"awake\"}",
                "{\"service\":\"x\",\"state\":\"awake\",\"backends\":{}}",
                "{\"service\":\"x\",\"state\":\"awake\",\"backends\":[1]}",
                "{\"service\":\"x\",\"state\":\"awake\",\"backends\":[\"\"]}",
                "{\"service\":\"x\",\"state\":\"awake\",\"holders\":-1}",
                "{\"service\":\"x\",\"state\":\"awake\",\"holders\":1.5}",
                "{\"service\":\"x\",\"state\":\"awake\",\"progress\":1.5}",
                "{\"service\":\"x\",\"state\":\"awake\",\"remainingMs\":9223372036854775807}",
                "{\"service\":\"x\",\"state\":\"awake\",\"since\":\"today\"}",
                "{\"service\":\"x\",\"state\":\"awake\",\"since\":\"2026-01-05T08:00:00.123456Zz\"}",
                "{\"service\":\"x\",\"state\":\"awake\",\"dependencies\":[null]}",
                "{\"service\":\"x\",\"state\":\"awake\",\"dependencies\":[{\"container\":\"c\",\"state\":\"ready\"},{}]}",
                "{\"service\":\"x\",\"state\":\"awake\",\"dependencies\":[{\"container\":\"c\",\"state\":\"ready\",\"type\":5}]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (read_text(cases[i]) != -EBADMSG)
                        TEST_FAIL("taken: %s", cases[i]);
}

static void test_what_is_new_is_ignored(void) {
        _cleanup_(status_freep) Status *status = NULL;
        json_object *object = json_tokener_parse(
                        "{\"new\":[1],\"service\":\"x\",\"state\":\"awake\",\"trigger\":\"moon\","
                        "\"reason\":\"flood\",\"error\":null}");

        ASSERT_OK(status_from_json(&status, object));
        ASSERT_EQ(status->trigger, _TRIGGER_INVALID);
        ASSERT_EQ(status->reason, _FAILURE_INVALID);
        ASSERT_NULL(status->error);
        json_object_put(object);
        object = status_to_json(status);
        ASSERT_TRUE(object);
        json_object_put(object);
}

static void test_progress_grows_and_never_arrives_early(void) {
        DependencyStatus dependencies[] = {
                { .container = (char *) "a",
                  .step = 1,
                  .state = DEPENDENCY_CHECKING,
                  .started_usec = 1000,
                  .estimate_usec = 2000000 },
                { .container = (char *) "b", .step = 2, .state = DEPENDENCY_PENDING, .estimate_usec = 1000000 },
        };
        Status status = waking_status(dependencies, NULL);
        double one = 0, all = 0;

        for (status.elapsed_usec = 0; status.elapsed_usec < 100 * USEC_PER_SEC; status.elapsed_usec += 50000) {
                double one_now = dependency_status_progress(&dependencies[0], status.elapsed_usec);
                double all_now = status_progress(&status);

                ASSERT_TRUE(one_now >= one && one_now < 1.0);
                ASSERT_TRUE(all_now >= all && all_now < 1.0);
                one = one_now;
                all = all_now;
        }
        dependencies[0].state = DEPENDENCY_READY;
        ASSERT_TRUE(dependency_status_progress(&dependencies[0], 1) >= 1.0);
        ASSERT_TRUE(status_progress(&status) >= all && status_progress(&status) < 1.0);
        status.state = SERVICE_AWAKE;
        ASSERT_TRUE(status_progress(&status) >= 1.0);
        ASSERT_EQ(status_remaining(&status), 0);
}

static void test_remaining_is_the_sum_of_the_longest(void) {
        DependencyStatus dependencies[] = {
                { .container = (char *) "a", .step = 2, .state = DEPENDENCY_PENDING, .estimate_usec = 3000000 },
                { .container = (char *) "b", .step = 1, .state = DEPENDENCY_PENDING, .estimate_usec = 1000000 },
                { .container = (char *) "c", .step = 2, .state = DEPENDENCY_PENDING, .estimate_usec = 5000000 },
        };
        Status status = waking_status(dependencies, NULL);

        status.n_dependencies = 3;
        ASSERT_EQ(status_remaining(&status), 6000000);
        dependencies[2].state = DEPENDENCY_FAILED;
        ASSERT_EQ(status_remaining(&status), 4000000);
        status.n_dependencies = 0;
        ASSERT_EQ(status_remaining(&status), 11000000);
}

static void test_names(void) {
        for (int i = 0; i < _SERVICE_STATE_MAX; i++)
                ASSERT_EQ(service_state_from_string(service_state_to_string(i)), i);
        for (int i = 0; i < _DEPENDENCY_STATE_MAX; i++)
                ASSERT_EQ(dependency_state_from_string(dependency_state_to_string(i)), i);
        for (int i = 0; i < _TRIGGER_MAX; i++)
                ASSERT_EQ(wake_trigger_from_string(wake_trigger_to_string(i)), i);
        for (int i = 0; i < _FAILURE_MAX; i++)
                ASSERT_EQ(failure_reason_from_string(failure_reason_to_string(i)), i);
        ASSERT_EQ(failure_reason_from_string("health check failed"), _FAILURE_INVALID);
}

int main(void) {
        test_shape_is_the_documented_one();
        test_what_is_written_is_read_back();
        test_malformed_is_refused();
        test_what_is_new_is_ignored();
        test_progress_grows_and_never_arrives_early();
        test_remaining_is_the_sum_of_the_longest();
        test_names();
        return 0;
}
