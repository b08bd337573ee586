#include "model/plan.h"
#include "test.h"

static void expect_step(const Plan *plan, size_t step, uint64_t estimate_sec, const char *members) {
        char text[64] = "";

        ASSERT_TRUE(step < plan->n_steps);
        for (size_t i = 0; i < plan->steps[step].n_members; i++) {
                size_t used = strlen(text);

                (void) snprintf(text + used, sizeof(text) - used, "%s%zu", i > 0 ? " " : "",
                                plan->steps[step].members[i]);
        }
        ASSERT_STREQ(text, members);
        ASSERT_EQ(plan->steps[step].estimate_usec, estimate_sec * USEC_PER_SEC);
}

static void test_steps_are_by_order_then_group(void) {
        Dependency dependencies[] = {
                { .start_order = 2, .parallel_group = 0, .estimated_usec = 3 * USEC_PER_SEC },
                { .start_order = 1, .parallel_group = 2, .estimated_usec = 1 * USEC_PER_SEC },
                { .start_order = 1, .parallel_group = 1, .estimated_usec = 2 * USEC_PER_SEC },
                { .start_order = -1, .parallel_group = 9, .estimated_usec = 4 * USEC_PER_SEC },
        };
        Service service = { .dependencies = dependencies, .n_dependencies = ELEMENTSOF(dependencies) };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_new(&plan, &service));
        ASSERT_EQ(plan->n_steps, 4);
        expect_step(plan, 0, 4, "3");
        expect_step(plan, 1, 2, "2");
        expect_step(plan, 2, 1, "1");
        expect_step(plan, 3, 3, "0");
        ASSERT_EQ(plan->estimate_usec, 10 * USEC_PER_SEC);
}

static void test_longest_of_a_step_is_first_then_the_order_of_the_file(void) {
        Dependency dependencies[] = {
                { .start_order = 1, .estimated_usec = 5 * USEC_PER_SEC },
                { .start_order = 1, .estimated_usec = 5 * USEC_PER_SEC },
                { .start_order = 1, .estimated_usec = 30 * USEC_PER_SEC },
                { .start_order = 1, .estimated_usec = 5 * USEC_PER_SEC },
                { .start_order = 2, .estimated_usec = 1 * USEC_PER_SEC },
        };
        Service service = { .dependencies = dependencies, .n_dependencies = ELEMENTSOF(dependencies) };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_new(&plan, &service));
        ASSERT_EQ(plan->n_steps, 2);
        expect_step(plan, 0, 30, "2 0 1 3");
        expect_step(plan, 1, 1, "4");
        ASSERT_EQ(plan->estimate_usec, 31 * USEC_PER_SEC);
}

static void test_the_more_time_it_is_given_the_earlier(void) {
        Dependency dependencies[] = {
                { .start_order = 1, .health.budget_usec = 30 * USEC_PER_SEC },
                { .start_order = 1, .health.budget_usec = 10 * USEC_PER_SEC },
                { .start_order = 1, .health.budget_usec = 30 * USEC_PER_SEC },
                { .start_order = 1, .health.budget_usec = 60 * USEC_PER_SEC },
                { .start_order = 1, .estimated_usec = USEC_PER_SEC },
        };
        Service service = { .dependencies = dependencies, .n_dependencies = ELEMENTSOF(dependencies) };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_new(&plan, &service));
        expect_step(plan, 0, 1, "4 3 0 2 1");
}

static void test_extreme_numbers(void) {
        Dependency dependencies[] = {
                { .start_order = INT32_MAX, .estimated_usec = USEC_INFINITY },
                { .start_order = INT32_MIN, .estimated_usec = USEC_INFINITY },
                { .start_order = 0, .parallel_group = INT32_MIN, .estimated_usec = 0 },
                { .start_order = 0, .parallel_group = INT32_MAX, .estimated_usec = 0 },
        };
        Service service = { .dependencies = dependencies, .n_dependencies = ELEMENTSOF(dependencies) };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_new(&plan, &service));
        ASSERT_EQ(plan->n_steps, 4);
        ASSERT_EQ(plan->steps[0].members[0], 1);
        ASSERT_EQ(plan->steps[1].members[0], 2);
        ASSERT_EQ(plan->steps[2].members[0], 3);
        ASSERT_EQ(plan->steps[3].members[0], 0);
        ASSERT_TRUE(plan->estimate_usec == USEC_INFINITY);
}

static void test_nothing_to_start(void) {
        Service service = {};
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_new(&plan, &service));
        ASSERT_EQ(plan->n_steps, 0);
        ASSERT_EQ(plan->estimate_usec, 0);
        ASSERT_NULL(plan_free(NULL));
}

int main(void) {
        test_steps_are_by_order_then_group();
        test_longest_of_a_step_is_first_then_the_order_of_the_file();
        test_the_more_time_it_is_given_the_earlier();
        test_extreme_numbers();
        test_nothing_to_start();
        return EXIT_SUCCESS;
}
