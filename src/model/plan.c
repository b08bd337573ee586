#include "model/plan.h"

/* Plan: one sort of the dependencies' indices, then a cut wherever (startOrder, parallelGroup) changes. */

static const Dependency
                *sorted_dependencies; /* qsort() hands its comparison no context; the program has one thread */

static int compare_int(int a, int b) {
        return (a > b) - (a < b);
}

static int compare_members(const void *a, const void *b) {
        size_t i = *(const size_t *) a, j = *(const size_t *) b;
        const Dependency *x = &sorted_dependencies[i], *y = &sorted_dependencies[j];
        int r;

        r = compare_int(x->start_order, y->start_order);
        if (r == 0)
                r = compare_int(x->parallel_group, y->parallel_group);
        /* What nobody waits for does not stand in the way of what a client waits for. */
        if (r == 0)
                r = compare_int((int) x->type, (int) y->type);
        if (r == 0)
                r = (x->estimated_usec < y->estimated_usec) - (x->estimated_usec > y->estimated_usec);
        /* Nobody has said, or both the same: what is given more time to become ready probably takes longer. */
        if (r == 0)
                r = (x->health.budget_usec < y->health.budget_usec) -
                    (x->health.budget_usec > y->health.budget_usec);
        if (r == 0)
                r = (i > j) - (i < j); /* the order of the file */
        return r;
}

static bool same_step(const Dependency *a, const Dependency *b) {
        return a->start_order == b->start_order && a->parallel_group == b->parallel_group;
}

static int plan_add_step(Plan *plan, const Service *service, const size_t *members, size_t n_members) {
        PlanStep *step = &plan->steps[plan->n_steps];

        *step = (PlanStep){ .members = new0(size_t, n_members), .n_members = n_members };
        if (!step->members)
                return -ENOMEM;
        memcpy(step->members, members, n_members * sizeof(*members));
        for (size_t i = 0; i < n_members; i++)
                step->estimate_usec = MAX(step->estimate_usec, service->dependencies[members[i]].estimated_usec);

        plan->n_steps++;
        plan->estimate_usec = usec_add(plan->estimate_usec, step->estimate_usec);
        return 0;
}

int plan_new(Plan **ret, const Service *service) {
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_free_ size_t *members = NULL;
        size_t n = service->n_dependencies;
        int r;

        assert(ret);

        plan = new0(Plan, 1);
        members = new0(size_t, n + 1);
        if (!plan || !members)
                return -ENOMEM;
        plan->steps = new0(PlanStep, n + 1);
        if (!plan->steps)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                members[i] = i;
        sorted_dependencies = service->dependencies;
        qsort(members, n, sizeof(*members), compare_members);

        for (size_t first = 0, next; first < n; first = next) {
                for (next = first + 1; next < n; next++)
                        if (!same_step(&service->dependencies[members[first]],
                                       &service->dependencies[members[next]]))
                                break;
                r = plan_add_step(plan, service, members + first, next - first);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(plan);
        return 0;
}

Plan *plan_free(Plan *plan) {
        if (!plan)
                return NULL;

        for (size_t i = 0; i < plan->n_steps; i++)
                free(plan->steps[i].members);
        free(plan->steps);
        return mfree(plan);
}
