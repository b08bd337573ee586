#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/stacks.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl plan: what a wake would start, in which order, and what is waited for. Nothing is asked, nothing started. */

/* NULL: out of memory. */
static char *ready_when(const Dependency *dependency) {
        char span[SPAN_MAX];

        if (dependency->condition == CONDITION_COMPLETED)
                return strdup("it has completed");
        if (dependency->condition == CONDITION_STARTED)
                return strdup("it has started");
        if (dependency->kind == DEPENDENCY_SERVICE)
                return strdup("that service is awake");
        if (dependency->health.http)
                return text_printf("%s answers", dependency->health.http);
        if (dependency->health.tcp)
                return text_printf("TCP %s accepts", dependency->health.tcp);
        if (dependency->health.command)
                return strdup(dependency->health.command);
        if (dependency->kind == DEPENDENCY_UNIT)
                return strdup("the unit is active");
        return text_printf("its image's HEALTHCHECK says so; without one, after %s",
                           span_to_string(dependency->startup_delay_usec, span));
}

static char *waits_for(const PlanMember *member, const Service *service) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        if (!file)
                return NULL;
        for (size_t i = 0; i < member->n_needs; i++)
                (void) fprintf(file, "%s%s", i > 0 ? ", " : "",
                               service->dependencies[member->needs[i].member].name);
        return fclose(file) == 0 ? text : mfree(text);
}

static int print_plan(const Stack *stack) {
        static const char *const headings[] = { "STEP", "DEPENDENCY", "TYPE", "TAKES", "WAITS FOR", "READY WHEN" };
        _cleanup_(table_freep) Table *table = NULL;
        const Service *service = stack->service;
        const Plan *plan = stack->plan;
        char span[SPAN_MAX];

        if (table_new(&table, ELEMENTSOF(headings), headings, 0) < 0) {
                (void) log_oom();
                return CTL_FAILED;
        }
        for (size_t i = 0; i < plan->n_members; i++) {
                const Dependency *dependency = &service->dependencies[plan->members[i].index];
                _cleanup_free_ char *ready = ready_when(dependency),
                                    *needs = waits_for(&plan->members[i], service);

                table_addf(table, "%u", plan->members[i].step);
                table_add(table, dependency->name);
                table_add(table, dependency->type == DEPENDENCY_REQUIRED ? "required" : "optional");
                table_add(table, span_to_string(dependency->estimated_usec, span));
                table_add(table, needs);
                table_add(table, ready);
        }
        printf("%s: %u step%s, about %s\n", service->name, plan->n_steps, plan->n_steps == 1 ? "" : "s",
               span_to_string(plan->estimate_usec, span));
        return output_table(table);
}

int verb_plan(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r;

        r = stacks_load(&stacks, STACKS_CONFIG, argv, argc);
        if (r != CTL_FINE)
                return r;
        return options->json ? output_json(plan_to_json(stacks.stacks[0].plan, stacks.stacks[0].service))
                             : print_plan(&stacks.stacks[0]);
}
