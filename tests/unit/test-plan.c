#include "model/plan.h"
#include "test.h"

#define SEC(n) ((n) *USEC_PER_SEC)
#define NAMED(...) ((char **) (const char *[]){ __VA_ARGS__, NULL })
#define PLAN(plan, dependencies) plan_of(&plan, dependencies, ELEMENTSOF(dependencies), NULL)

static int plan_of(Plan **ret, Dependency *dependencies, size_t n, char **reterr_cycle) {
        Service service = { .dependencies = dependencies, .n_dependencies = n };

        return plan_new(ret, &service, reterr_cycle);
}

/* The members in the order of the plan, "STEP:INDEX", with what they need: "1:0 2:1<0 3:2<1!" where ! is by name. */
static void expect(const Plan *plan, const char *expected) {
        char text[256];
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; i < plan->n_members; i++) {
                const PlanMember *member = &plan->members[i];

                n += (size_t) snprintf(text + n, sizeof(text) - n, "%s%u:%zu", i > 0 ? " " : "", member->step,
                                       member->index);
                for (size_t k = 0; k < member->n_needs; k++)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%c%zu%s", k > 0 ? ',' : '<',
                                               member->needs[k].member, member->needs[k].named ? "!" : "");
                ASSERT_TRUE(n < sizeof(text));
        }
        ASSERT_STREQ(text, expected);
}

static const PlanMember *find(const Plan *plan, size_t index) {
        for (size_t i = 0; i < plan->n_members; i++)
                if (plan->members[i].index == index)
                        return &plan->members[i];
        TEST_FAIL("%zu is not in the plan", index);
}

static void test_steps_are_by_order_then_group(void) {
        Dependency dependencies[] = {
                { .ordered = true, .start_order = 2, .parallel_group = 0, .estimated_usec = SEC(3) },
                { .ordered = true, .start_order = 1, .parallel_group = 2, .estimated_usec = SEC(1) },
                { .ordered = true, .start_order = 1, .parallel_group = 1, .estimated_usec = SEC(2) },
                { .ordered = true, .start_order = -1, .parallel_group = 9, .estimated_usec = SEC(4) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        ASSERT_EQ(plan->n_steps, 4);
        expect(plan, "1:3 2:2<3 3:1<2 4:0<1");
        ASSERT_EQ(find(plan, 3)->begin_usec, 0);
        ASSERT_EQ(find(plan, 2)->begin_usec, SEC(4));
        ASSERT_EQ(find(plan, 1)->begin_usec, SEC(6));
        ASSERT_EQ(find(plan, 0)->begin_usec, SEC(7));
        ASSERT_EQ(plan->estimate_usec, SEC(10));
}

static void test_all_of_a_step_wait_for_all_of_the_one_before(void) {
        Dependency dependencies[] = {
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .ordered = true, .start_order = 1, .type = DEPENDENCY_OPTIONAL, .estimated_usec = SEC(9) },
                { .ordered = true, .start_order = 2, .estimated_usec = SEC(1) },
                { .ordered = true, .start_order = 2, .estimated_usec = SEC(2) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:0 1:1 2:3<0,1 2:2<0,1");
        /* The sum over the steps of the longest, optional ones included. */
        ASSERT_EQ(plan->estimate_usec, SEC(11));
}

static void test_longest_of_a_step_is_first_then_the_order_of_the_file(void) {
        Dependency dependencies[] = {
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(30) },
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .ordered = true, .start_order = 2, .estimated_usec = SEC(1) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:2 1:0 1:1 1:3 2:4<0,1,2,3");
        ASSERT_EQ(plan->estimate_usec, SEC(31));
}

static void test_the_more_time_it_is_given_the_earlier(void) {
        Dependency dependencies[] = {
                { .ordered = true, .start_order = 1, .health.budget_usec = SEC(30) },
                { .ordered = true, .start_order = 1, .health.budget_usec = SEC(10) },
                { .ordered = true, .start_order = 1, .health.budget_usec = SEC(30) },
                { .ordered = true, .start_order = 1, .health.budget_usec = SEC(60) },
                { .ordered = true, .start_order = 1, .estimated_usec = SEC(1) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:4 1:3 1:0 1:2 1:1");
}

static void test_who_names_needs_waits_for_these_alone(void) {
        Dependency dependencies[] = {
                { .name = (char *) "db", .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .name = (char *) "cache", .ordered = true, .start_order = 1, .estimated_usec = SEC(9) },
                { .name = (char *) "app", .start_order = 1, .depends_on = NAMED("db"), .estimated_usec = SEC(3) },
                { .name = (char *) "web", .ordered = true, .start_order = 2, .estimated_usec = SEC(1) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        /* `web` waits for its step, which `app` is not in. */
        expect(plan, "1:1 1:0 2:2<0! 2:3<0,1");
        ASSERT_EQ(find(plan, 2)->begin_usec, SEC(5));
        ASSERT_EQ(find(plan, 3)->begin_usec, SEC(9));
        ASSERT_EQ(plan->estimate_usec, SEC(10));
        ASSERT_TRUE(plan_needs(plan, 3, 0) && plan_needs(plan, 2, 0));
        ASSERT_FALSE(plan_needs(plan, 2, 1) || plan_needs(plan, 0, 3) || plan_needs(plan, 3, 2));
}

static void test_who_names_needs_may_be_in_a_step(void) {
        Dependency dependencies[] = {
                { .name = (char *) "db", .ordered = true, .start_order = 1 },
                { .name = (char *) "cache", .ordered = true, .start_order = 1 },
                { .name = (char *) "app", .ordered = true, .start_order = 2, .depends_on = NAMED("db") },
                { .name = (char *) "worker", .ordered = true, .start_order = 2 },
                { .name = (char *) "web", .ordered = true, .start_order = 3 },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:0 1:1 2:2<0! 2:3<0,1 3:4<2,3");
}

static void test_a_step_of_named_needs_does_not_carry_the_order(void) {
        Dependency dependencies[] = {
                { .name = (char *) "a", .ordered = true, .start_order = 1 },
                { .name = (char *) "b", .ordered = true, .start_order = 2 },
                { .name = (char *) "c", .ordered = true, .start_order = 3, .depends_on = NAMED("a") },
                { .name = (char *) "d", .ordered = true, .start_order = 4, .depends_on = NAMED("a") },
                { .name = (char *) "e", .ordered = true, .start_order = 5 },
                { .name = (char *) "f", .ordered = true, .start_order = 6 },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        /* `e` waits for the steps of `d` and `c`, and as neither of them has waited for `b`, for that as well; not for `a`. */
        expect(plan, "1:0 2:1<0 2:2<0! 2:3<0! 3:4<1,2,3 4:5<4");
}

static void test_first_steps_of_named_needs(void) {
        Dependency dependencies[] = {
                { .name = (char *) "a", .ordered = true, .start_order = 1, .depends_on = NAMED("c") },
                { .name = (char *) "b", .ordered = true, .start_order = 2 },
                { .name = (char *) "c", .depends_on = NAMED("d") },
                { .name = (char *) "d", .ordered = true, .start_order = 1 },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:3 2:2<3! 3:0<2! 4:1<0,3");
}

static void test_a_diamond_is_as_long_as_its_longer_way(void) {
        Dependency dependencies[] = {
                { .name = (char *) "web", .depends_on = NAMED("app", "worker", "app"), .estimated_usec = SEC(1) },
                { .name = (char *) "app", .depends_on = NAMED("db"), .estimated_usec = SEC(2) },
                { .name = (char *) "worker", .depends_on = NAMED("queue"), .estimated_usec = SEC(4) },
                { .name = (char *) "queue", .depends_on = NAMED("db"), .estimated_usec = SEC(3) },
                { .name = (char *) "db", .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        ASSERT_EQ(plan->n_steps, 4);
        expect(plan, "1:4 2:3<4! 2:1<4! 3:2<3! 4:0<1!,2!");
        ASSERT_EQ(find(plan, 1)->begin_usec, SEC(5));
        ASSERT_EQ(find(plan, 2)->begin_usec, SEC(8));
        ASSERT_EQ(find(plan, 0)->begin_usec, SEC(12));
        ASSERT_EQ(plan->estimate_usec, SEC(13));
}

static void test_what_is_waited_for_is_first(void) {
        Dependency dependencies[] = {
                { .name = (char *) "spare",
                  .ordered = true,
                  .type = DEPENDENCY_OPTIONAL,
                  .estimated_usec = SEC(9) },
                { .name = (char *) "seed",
                  .ordered = true,
                  .type = DEPENDENCY_OPTIONAL,
                  .estimated_usec = SEC(3) },
                { .name = (char *) "base",
                  .ordered = true,
                  .type = DEPENDENCY_OPTIONAL,
                  .estimated_usec = SEC(2) },
                { .name = (char *) "db", .ordered = true, .estimated_usec = SEC(1) },
                { .name = (char *) "fill", .type = DEPENDENCY_OPTIONAL, .depends_on = NAMED("base") },
                { .name = (char *) "app", .depends_on = NAMED("seed", "fill") },
                { .name = (char *) "gauge", .type = DEPENDENCY_OPTIONAL, .depends_on = NAMED("spare") },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        /* `seed` and `base` are optional, but `app` is waited for, which waits for both. */
        expect(plan, "1:1 1:2 1:3 1:0 2:4<2! 2:6<0! 3:5<1!,4!");
}

static void expect_cycle(const char *expected, Dependency *dependencies, size_t n) {
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_free_ char *cycle = NULL;

        ASSERT_ERROR(plan_of(&plan, dependencies, n, &cycle), ELOOP);
        ASSERT_STREQ(cycle, expected);
        ASSERT_ERROR(plan_of(&plan, dependencies, n, NULL), ELOOP);
        ASSERT_NULL(plan);
}

static void test_cycles_of_names_are_told_in_full(void) {
        Dependency self[] = { { .name = (char *) "a", .depends_on = NAMED("a") } };
        Dependency ring[] = {
                { .name = (char *) "before", .depends_on = NAMED("b") },
                { .name = (char *) "a", .depends_on = NAMED("root", "c") },
                { .name = (char *) "b", .depends_on = NAMED("a") },
                { .name = (char *) "c", .depends_on = NAMED("root", "b") },
                { .name = (char *) "root", .ordered = true },
        };
        Dependency shortest[] = {
                { .name = (char *) "a", .depends_on = NAMED("b", "c") },
                { .name = (char *) "b", .depends_on = NAMED("c") },
                { .name = (char *) "c", .depends_on = NAMED("a") },
        };

        expect_cycle("a → a", self, ELEMENTSOF(self));
        expect_cycle("a → c → b → a", ring, ELEMENTSOF(ring));
        expect_cycle("a → c → a", shortest, ELEMENTSOF(shortest));
}

static void test_cycles_through_steps_are_told_in_full(void) {
        Dependency mixed[] = {
                { .name = (char *) "a", .ordered = true, .start_order = 1, .depends_on = NAMED("b") },
                { .name = (char *) "b", .ordered = true, .start_order = 2 },
        };
        Dependency far[] = {
                { .name = (char *) "d", .ordered = true, .start_order = 4 },
                { .name = (char *) "c", .ordered = true, .start_order = 3 },
                { .name = (char *) "b", .ordered = true, .start_order = 2 },
                { .name = (char *) "a", .ordered = true, .start_order = 1, .depends_on = NAMED("x") },
                { .name = (char *) "x", .depends_on = NAMED("d") },
        };
        Dependency over_a_gap[] = {
                { .name = (char *) "a", .ordered = true, .start_order = 1, .depends_on = NAMED("c") },
                { .name = (char *) "b", .ordered = true, .start_order = 2, .depends_on = NAMED("d") },
                { .name = (char *) "c", .ordered = true, .start_order = 3 },
                { .name = (char *) "d", .ordered = true, .start_order = 1 },
        };
        Dependency fine[] = {
                { .name = (char *) "a", .start_order = 1, .depends_on = NAMED("b") },
                { .name = (char *) "b", .ordered = true, .start_order = 2 },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        expect_cycle("a → b → a", mixed, ELEMENTSOF(mixed));
        expect_cycle("a → x → d → c → b → a", far, ELEMENTSOF(far));
        expect_cycle("a → c → a", over_a_gap, ELEMENTSOF(over_a_gap));
        /* Without a startOrder of its own, nobody waits for it. */
        ASSERT_OK(PLAN(plan, fine));
        expect(plan, "1:1 2:0<1!");
}

static void test_extreme_numbers(void) {
        Dependency dependencies[] = {
                { .ordered = true, .start_order = INT32_MAX, .estimated_usec = USEC_INFINITY },
                { .ordered = true, .start_order = INT32_MIN, .estimated_usec = USEC_INFINITY },
                { .ordered = true, .start_order = 0, .parallel_group = INT32_MIN, .estimated_usec = 0 },
                { .ordered = true, .start_order = 0, .parallel_group = INT32_MAX, .estimated_usec = 0 },
        };
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(PLAN(plan, dependencies));
        expect(plan, "1:1 2:2<1 3:3<2 4:0<3");
        ASSERT_TRUE(plan->estimate_usec == USEC_INFINITY);
}

static void test_nothing_to_start(void) {
        _cleanup_(plan_freep) Plan *plan = NULL;

        ASSERT_OK(plan_of(&plan, NULL, 0, NULL));
        ASSERT_EQ(plan->n_members, 0);
        ASSERT_EQ(plan->n_steps, 0);
        ASSERT_EQ(plan->estimate_usec, 0);
        ASSERT_NULL(plan_free(NULL));
}

/* As scripts that know the format read it. */
static void test_dry_run_is_exact(void) {
        Dependency dependencies[] = {
                { .name = (char *) "mysql-clemence", .ordered = true, .start_order = 1, .estimated_usec = SEC(5) },
                { .name = (char *) "wordpress-clemence",
                  .ordered = true,
                  .start_order = 2,
                  .estimated_usec = SEC(12) - 500 * USEC_PER_MSEC },
                { .name = (char *) "cache", .ordered = true, .start_order = 2, .estimated_usec = SEC(90) },
        };
        Service service = { .name = (char *) "clemence", .dependencies = dependencies, .n_dependencies = 2 };
        _cleanup_(plan_freep) Plan *plan = NULL, *parallel = NULL;
        json_object *object;

        ASSERT_OK(plan_new(&plan, &service, NULL));
        object = plan_to_json(plan, &service);
        ASSERT_STREQ(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
                     "{\"service\":\"clemence\",\"dependencies\":["
                     "{\"container\":\"mysql-clemence\",\"order\":1,\"estimatedTime\":\"5s\"},"
                     "{\"container\":\"wordpress-clemence\",\"order\":2,\"estimatedTime\":\"11.5s\"}],"
                     "\"totalEstimatedTime\":\"16.5s\",\"parallel\":false}");
        json_object_put(object);

        service.n_dependencies = 3;
        ASSERT_OK(plan_new(&parallel, &service, NULL));
        object = plan_to_json(parallel, &service);
        ASSERT_STREQ(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
                     "{\"service\":\"clemence\",\"dependencies\":["
                     "{\"container\":\"mysql-clemence\",\"order\":1,\"estimatedTime\":\"5s\"},"
                     "{\"container\":\"cache\",\"order\":2,\"estimatedTime\":\"90s\"},"
                     "{\"container\":\"wordpress-clemence\",\"order\":2,\"estimatedTime\":\"11.5s\"}],"
                     "\"totalEstimatedTime\":\"95s\",\"parallel\":true}");
        json_object_put(object);
}

int main(void) {
        test_steps_are_by_order_then_group();
        test_all_of_a_step_wait_for_all_of_the_one_before();
        test_longest_of_a_step_is_first_then_the_order_of_the_file();
        test_the_more_time_it_is_given_the_earlier();
        test_who_names_needs_waits_for_these_alone();
        test_who_names_needs_may_be_in_a_step();
        test_a_step_of_named_needs_does_not_carry_the_order();
        test_first_steps_of_named_needs();
        test_a_diamond_is_as_long_as_its_longer_way();
        test_what_is_waited_for_is_first();
        test_cycles_of_names_are_told_in_full();
        test_cycles_through_steps_are_told_in_full();
        test_extreme_numbers();
        test_nothing_to_start();
        test_dry_run_is_exact();
        return EXIT_SUCCESS;
}
