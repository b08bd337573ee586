#include <inttypes.h>
#include <stdio.h>

#include "model/plan.h"
#include "util/json-members.h"

/* Plan: the needs of each member as edges of a graph, then rounds: whoever has all that it needs among the rounds before is
 * in this one, and the number of the round is its step. A round that takes nobody has found a cycle.
 *
 * Who has no dependsOn waits for the group before its own, and with it for whatever that group waits for. A group in which all
 * have dependsOn waits for nothing but what they name, so the groups before it are waited for as well, back to one that
 * does carry the chain. */

typedef struct PlanName {
        const char *name;
        size_t index;
} PlanName;

typedef struct Place {
        const PlanMember *member;
        const Dependency *dependency;
        bool awaited; /* the wake is not over before it is ready */
} Place;

typedef struct Group {
        int start_order, parallel_group;
        size_t index; /* of the member */
} Group;

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_groups(const void *a, const void *b) {
        const Group *x = a, *y = b;
        int r = COMPARE(x->start_order, y->start_order);

        if (r == 0)
                r = COMPARE(x->parallel_group, y->parallel_group);
        return r != 0 ? r : COMPARE(x->index, y->index);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(((const PlanName *) a)->name, ((const PlanName *) b)->name);
}

static int compare_places(const void *a, const void *b) {
        const Place *x = a, *y = b;
        int r = COMPARE(x->member->step, y->member->step);

        /* What nobody waits for does not stand in the way of what a client waits for. */
        if (r == 0)
                r = COMPARE(y->awaited, x->awaited);
        if (r == 0)
                r = COMPARE(y->dependency->estimated_usec, x->dependency->estimated_usec);
        /* Nobody has said, or both the same: what is given more time to become ready probably takes longer. */
        if (r == 0)
                r = COMPARE(y->dependency->health.budget_usec, x->dependency->health.budget_usec);
        return r != 0 ? r : COMPARE(x->member->index, y->member->index); /* the order of the file */
}

static bool has_depends_on(const Dependency *dependency) {
        return strv_length(dependency->depends_on) > 0;
}

static bool member_needs(const PlanMember *member, size_t other) {
        for (size_t i = 0; i < member->n_needs; i++)
                if (member->needs[i].member == other)
                        return true;
        return false;
}

/* While a plan is made, the members are in the order of the file. */
static int plan_add_named(Plan *plan, const Service *service) {
        _cleanup_free_ PlanName *names = NULL;
        size_t n_names = 0;

        names = new0(PlanName, service->n_dependencies);
        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (service->dependencies[i].name && !service->dependencies[i].implied)
                        names[n_names++] = (PlanName){ service->dependencies[i].name, i };
        qsort(names, n_names, sizeof(PlanName), compare_names);

        for (size_t i = 0; i < service->n_dependencies; i++) {
                char **depends_on = service->dependencies[i].depends_on;
                PlanMember *member = &plan->members[i];

                if (!has_depends_on(&service->dependencies[i]))
                        continue;
                member->needs = new0(PlanNeed, strv_length(depends_on));
                if (!member->needs)
                        return -ENOMEM;
                for (; *depends_on; depends_on++) {
                        PlanName key = { .name = *depends_on }, *found;

                        /* A config that was loaded has no name that is unknown. */
                        found = n_names == 0 ? NULL
                                             : bsearch(&key, names, n_names, sizeof(PlanName), compare_names);
                        if (found && !member_needs(member, found->index))
                                member->needs[member->n_needs++] = (PlanNeed){ found->index, .named = true };
                }
        }
        return 0;
}

static int member_need_all(PlanMember *member, const Group *groups, size_t n) {
        if (n == 0)
                return 0;
        member->needs = new0(PlanNeed, n);
        if (!member->needs)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                member->needs[member->n_needs++] = (PlanNeed){ groups[i].index, .named = false };
        return 0;
}

static int plan_add_groups(Plan *plan, const Service *service) {
        _cleanup_free_ Group *groups = NULL;
        size_t n = 0, chain = 0; /* where the nearest group before this one that carries the chain begins */

        groups = new0(Group, service->n_dependencies);
        if (!groups)
                return -ENOMEM;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                if (dependency->ordered || !has_depends_on(dependency))
                        groups[n++] = (Group){ dependency->start_order, dependency->parallel_group, i };
        }
        qsort(groups, n, sizeof(Group), compare_groups);

        for (size_t first = 0, next; first < n; first = next) {
                bool carries = false;

                for (next = first; next < n && groups[next].start_order == groups[first].start_order &&
                                   groups[next].parallel_group == groups[first].parallel_group;
                     next++) {
                        int r;

                        if (has_depends_on(&service->dependencies[groups[next].index]))
                                continue;
                        r = member_need_all(&plan->members[groups[next].index], groups + chain, first - chain);
                        if (r < 0)
                                return r;
                        carries = true;
                }
                if (carries)
                        chain = first;
        }
        return 0;
}

/* Whether `member`, which is in no step yet, can be in this one. */
static bool plan_member_fits(const Plan *plan, const PlanMember *member, unsigned step) {
        for (size_t i = 0; i < member->n_needs; i++) {
                unsigned of_need = plan->members[member->needs[i].member].step;

                if (of_need == 0 || of_need == step)
                        return false;
        }
        return true;
}

static uint64_t plan_member_end(const Plan *plan, const Service *service, size_t i) {
        return usec_add(plan->members[i].begin_usec, service->dependencies[i].estimated_usec);
}

static int plan_add_steps(Plan *plan, const Service *service) {
        for (size_t n_left = plan->n_members; n_left > 0;) {
                unsigned step = plan->n_steps + 1;
                size_t n_before = n_left;

                for (size_t i = 0; i < plan->n_members; i++) {
                        PlanMember *member = &plan->members[i];

                        if (member->step > 0 || !plan_member_fits(plan, member, step))
                                continue;
                        member->step = step;
                        for (size_t k = 0; k < member->n_needs; k++)
                                member->begin_usec = MAX(member->begin_usec,
                                                         plan_member_end(plan, service, member->needs[k].member));
                        plan->estimate_usec = MAX(plan->estimate_usec, plan_member_end(plan, service, i));
                        n_left--;
                }
                if (n_left == n_before)
                        return -ELOOP;
                plan->n_steps = step;
        }
        return 0;
}

/* The shortest way from `start` back to itself: `came_from` leads along it, backwards. Returns the last before `start`,
 * SIZE_MAX if there is no such way. */
static size_t plan_find_way_back(const Plan *plan, size_t start, size_t *came_from, size_t *queue) {
        size_t n_queue = 0;

        for (size_t i = 0; i < plan->n_members; i++)
                came_from[i] = SIZE_MAX;
        queue[n_queue++] = start;
        for (size_t i = 0; i < n_queue; i++) {
                const PlanMember *member = &plan->members[queue[i]];

                for (size_t k = 0; k < member->n_needs; k++) {
                        size_t need = member->needs[k].member;

                        if (need == start)
                                return queue[i];
                        if (came_from[need] != SIZE_MAX)
                                continue;
                        came_from[need] = queue[i];
                        queue[n_queue++] = need;
                }
        }
        return SIZE_MAX;
}

/* From the first member of the file that is in a cycle and names what it waits for; without such a one there is none. */
static int plan_describe_cycle(const Plan *plan, const Service *service, char **ret) {
        _cleanup_free_ size_t *came_from = new0(size_t, plan->n_members), *queue = new0(size_t, plan->n_members);
        _cleanup_free_ char *text = NULL;
        size_t last = SIZE_MAX, start, n = 0, size;
        FILE *out;

        if (!came_from || !queue)
                return -ENOMEM;
        for (start = 0; start < plan->n_members; start++) {
                if (plan->members[start].step > 0 || !has_depends_on(&service->dependencies[start]))
                        continue;
                last = plan_find_way_back(plan, start, came_from, queue);
                if (last != SIZE_MAX)
                        break;
        }
        assert(last != SIZE_MAX);
        for (; last != start; last = came_from[last])
                queue[n++] = last;

        out = open_memstream(&text, &size);
        if (!out)
                return -ENOMEM;
        fprintf(out, "%s → ", strempty(service->dependencies[start].name));
        while (n > 0)
                fprintf(out, "%s → ", strempty(service->dependencies[queue[--n]].name));
        fputs(strempty(service->dependencies[start].name), out);
        if (fclose(out) != 0)
                return -ENOMEM;
        *ret = TAKE_PTR(text);
        return 0;
}

/* From the order of the file to that in which they are started. */
static int plan_sort(Plan *plan, const Service *service) {
        _cleanup_free_ PlanMember *sorted = new0(PlanMember, plan->n_members);
        _cleanup_free_ Place *places = new0(Place, plan->n_members);

        if (!sorted || !places)
                return -ENOMEM;
        for (size_t i = 0; i < plan->n_members; i++)
                places[i] = (Place){
                        .member = &plan->members[i],
                        .dependency = &service->dependencies[i],
                        .awaited = service->dependencies[i].type == DEPENDENCY_REQUIRED,
                };
        for (unsigned step = plan->n_steps; step > 0; step--)
                for (size_t i = 0; i < plan->n_members; i++) {
                        const PlanMember *member = &plan->members[i];

                        if (member->step != step || !places[i].awaited)
                                continue;
                        for (size_t k = 0; k < member->n_needs; k++)
                                if (member->needs[k].named)
                                        places[member->needs[k].member].awaited = true;
                }

        qsort(places, plan->n_members, sizeof(Place), compare_places);
        for (size_t i = 0; i < plan->n_members; i++)
                sorted[i] = *places[i].member;
        free(plan->members);
        plan->members = TAKE_PTR(sorted);
        return 0;
}

int plan_new(Plan **ret, const Service *service, char **reterr_cycle) {
        _cleanup_(plan_freep) Plan *plan = NULL;
        int r;

        plan = new0(Plan, 1);
        if (!plan)
                return -ENOMEM;
        if (service->n_dependencies == 0) {
                *ret = TAKE_PTR(plan);
                return 0;
        }

        plan->members = new0(PlanMember, service->n_dependencies);
        if (!plan->members)
                return -ENOMEM;
        plan->n_members = service->n_dependencies;
        for (size_t i = 0; i < plan->n_members; i++)
                plan->members[i].index = i;

        r = plan_add_named(plan, service);
        if (r >= 0)
                r = plan_add_groups(plan, service);
        if (r >= 0)
                r = plan_add_steps(plan, service);
        if (r == -ELOOP && reterr_cycle) {
                int k = plan_describe_cycle(plan, service, reterr_cycle);

                return k < 0 ? k : r;
        }
        if (r >= 0)
                r = plan_sort(plan, service);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(plan);
        return 0;
}

Plan *plan_free(Plan *plan) {
        if (!plan)
                return NULL;

        for (size_t i = 0; i < plan->n_members; i++)
                free(plan->members[i].needs);
        free(plan->members);
        return mfree(plan);
}

/* "5s", "1.5s", "300s": in seconds, so that programs can read it, too. */
static json_object *seconds_to_json(uint64_t usec) {
        uint64_t tenths = (usec + USEC_PER_SEC / 20) / (USEC_PER_SEC / 10);
        char text[32];

        if (tenths % 10 == 0)
                (void) snprintf(text, sizeof(text), "%" PRIu64 "s", tenths / 10);
        else
                (void) snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64 "s", tenths / 10, tenths % 10);
        return json_object_new_string(text);
}

json_object *plan_to_json(const Plan *plan, const Service *service) {
        json_object *object = json_object_new_object(), *members = json_object_new_array();
        bool parallel = false, fine;

        fine = json_add_text(object, "service", service->name);
        fine = json_add(object, "dependencies", members) && fine;
        for (size_t i = 0; fine && i < plan->n_members; i++) {
                const Dependency *dependency = &service->dependencies[plan->members[i].index];
                json_object *member = json_object_new_object();

                fine = json_append(members, member) && json_add_text(member, "container", dependency->name) &&
                       json_add_number(member, "order", plan->members[i].step) &&
                       json_add(member, "estimatedTime", seconds_to_json(dependency->estimated_usec));
                for (size_t j = 0; j < i; j++)
                        parallel = parallel || plan->members[i].step == plan->members[j].step;
        }
        return json_built(object,
                          fine && json_add(object, "totalEstimatedTime", seconds_to_json(plan->estimate_usec)) &&
                                          json_add(object, "parallel", json_object_new_boolean(parallel)));
}

bool plan_needs(const Plan *plan, size_t member, size_t other) {
        _cleanup_free_ bool *needs = new0(bool, plan->n_members);

        for (size_t i = 0; needs && i < plan->n_members; i++) {
                const PlanMember *planned = &plan->members[i];

                for (size_t k = 0; k < planned->n_needs; k++)
                        if (planned->needs[k].member == other || needs[planned->needs[k].member])
                                needs[planned->index] = true;
        }
        return needs && needs[member];
}
