#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/stacks.h"
#include "util/log.h"

/* wakectl list: a line for each service. */

#define FILTER_STATE "state="

/* state=asleep, state=awake,waking: -EINVAL if it is nothing that can be asked for. */
static int filter_check(const char *filter) {
        const char *state = filter ? filter + strlen(FILTER_STATE) : "", *end;

        if (filter && strncmp(filter, FILTER_STATE, strlen(FILTER_STATE)) != 0)
                return -EINVAL;
        for (; filter; state = end + 1) {
                char name[16] = {};

                end = strchrnul(state, ',');
                if ((size_t) (end - state) < sizeof(name))
                        memcpy(name, state, (size_t) (end - state));
                if (service_state_from_string(name) < 0 && !streq(name, "unknown"))
                        return -EINVAL;
                if (!*end)
                        break;
        }
        return 0;
}

/* By a filter that has passed that. */
static bool filter_wants(const Stack *stack, const char *filter) {
        const char *state = stack_state(stack), *found = filter;

        while ((found = strstr(found + 1, state)))
                if ((found[-1] == '=' || found[-1] == ',') &&
                    (found[strlen(state)] == ',' || found[strlen(state)] == '\0'))
                        return true;
        return false;
}

static void add_row(Table *table, const Stack *stack) {
        _cleanup_free_ char *ports = stack_ports(stack);
        const Status *status = stack->status;
        char since[LOCAL_TIME_MAX] = "";

        if (status && status->since_usec > 0)
                (void) local_time_to_string(status->since_usec, since);
        table_add(table, stack->service->name);
        table_add_coloured(table, stack_colour(stack), stack_state(stack));
        if (stack->disabled)
                table_addf(table, "%s (disabled)", strempty(ports));
        else
                table_add(table, ports);
        table_addf(table, "%zu/%zu", stack_count_ready(stack),
                   status ? status->n_dependencies : stack->plan->n_members);
        table_add(table, since);
}

static int print_table(const Stacks *stacks) {
        static const char *const headings[] = { "NAME", "STATE", "PORTS", "READY", "SINCE" };
        _cleanup_(table_freep) Table *table = NULL;

        if (table_new(&table, ELEMENTSOF(headings), headings, 0) < 0) {
                (void) log_oom();
                return CTL_FAILED;
        }
        for (size_t i = 0; i < stacks->n_stacks; i++)
                add_row(table, &stacks->stacks[i]);
        return output_table(table);
}

static int print_names(const Stacks *stacks) {
        for (size_t i = 0; i < stacks->n_stacks; i++)
                (void) puts(stacks->stacks[i].service->name);
        return CTL_FINE;
}

int verb_list(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r;

        if (filter_check(options->filter) < 0) {
                log_error("--filter takes state=asleep, waking, awake, stopping, failed or unknown; several are "
                          "joined by commas.");
                return CTL_USAGE;
        }
        /* Names alone are in the file, which more may read than what the stacks do. */
        r = stacks_load(&stacks, options->quiet && !options->filter ? STACKS_CONFIG : STACKS_STATUS, NULL, 0);
        if (r != CTL_FINE)
                return r;
        if (options->filter)
                stacks_keep(&stacks, filter_wants, options->filter);
        r = options->quiet  ? print_names(&stacks)
            : options->json ? output_json(stacks_to_json(&stacks))
                            : print_table(&stacks);
        return r != CTL_FINE ? r : stacks.outcome;
}
