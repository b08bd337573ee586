#pragma once

/* Plan: the order in which a service's dependencies are started. Dependencies are members of steps; steps run one after the
 * other in the order of (startOrder, parallelGroup). Within a step the member that takes longest comes first: its start
 * then shares the processor with nobody. */

#include "model/service.h"

typedef struct PlanStep {
        size_t *members; /* indices into service->dependencies */
        size_t n_members;
        uint64_t estimate_usec; /* of its longest member */
} PlanStep;

typedef struct Plan {
        PlanStep *steps;
        size_t n_steps;
        uint64_t estimate_usec; /* sum over the steps */
} Plan;

/* -ENOMEM. */
int plan_new(Plan **ret, const Service *service);
Plan *plan_free(Plan *plan);
DEFINE_CLEANUP(Plan *, plan_free);
