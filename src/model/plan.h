#pragma once

/* Plan: the order in which a service's dependencies are started, and, backwards, stopped. A member needs others: those that its dependsOn
 * names, or without dependsOn those of the step before, steps being those of equal (startOrder, parallelGroup). Who has dependsOn
 * but no startOrder of its own is in no step: only those wait for it that name it. */

#include <json-c/json.h>
#include "model/service.h"

typedef struct PlanNeed {
        size_t member; /* index into service->dependencies */
        bool named; /* by dependsOn: waited for until it is ready, even if it is optional (whose failure ends the waiting) */
} PlanNeed;

typedef struct PlanMember {
        size_t index; /* into service->dependencies */
        PlanNeed *needs;
        size_t n_needs;
        unsigned step; /* from 1: one more than the latest of its needs */
        uint64_t begin_usec; /* when it is expected to be started, since the wake began */
} PlanMember;

typedef struct Plan {
        /* In the order in which those that may start at the same time are started: by step; what the wake waits for
         * before what it does not; the longest first, whose start then shares the processor with nobody. Whoever is needed comes
         * before those that need it. */
        PlanMember *members;
        size_t n_members;
        unsigned n_steps;
        uint64_t estimate_usec; /* the longest way through */
} Plan;

/* -ENOMEM; -ELOOP: members wait for each other, with the whole cycle in `reterr_cycle` if that is not NULL: "a → b → a", from one that has
 * dependsOn. A config that was loaded has no cycle. */
int plan_new(Plan **ret, const Service *service, char **reterr_cycle);
Plan *plan_free(Plan *plan);
DEFINE_CLEANUP(Plan *, plan_free);

/* Whether `member` cannot be started before `other` is, by its needs, and theirs. */
bool plan_needs(const Plan *plan, size_t member, size_t other);

/* What a wake would do: {"service", "dependencies": [{"container", "order", "estimatedTime"}], "totalEstimatedTime", "parallel"}. NULL when out of
 * memory. */
json_object *plan_to_json(const Plan *plan, const Service *service);
