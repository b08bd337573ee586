#pragma once

/* Stacks: what the verbs that look know of each service: what the configuration says, what its waker says, and which ports its containers publish. */

#include "ctl/table.h"
#include "model/described.h"
#include "nft/redirect-bindings.h"

typedef struct Stack {
        const Service *service; /* borrowed from the config */
        Plan *plan;
        Status *status; /* NULL: not asked for, or it cannot be read */
        Described described;
        RedirectBindings bindings;
        bool disabled; /* its clients are not to be taken */
        char **holds; /* what units of `wakectl hold` say of themselves */
} Stack;

typedef struct Stacks {
        Config *config;
        Stack *stacks; /* by name, or as asked for */
        size_t n_stacks;
        int outcome; /* an exit code: whether all that was asked for is here */
} Stacks;

typedef enum StacksWhat {
        STACKS_CONFIG, /* what the configuration says */
        STACKS_STATUS, /* also the status and the bindings, of which the first is not for everybody */
} StacksWhat;

/* All services, or those of the names (`n` of them). Whatever is wrong was said; an exit code, CTL_FINE if there is something to show. */
int stacks_load(Stacks *ret, StacksWhat what, char *const *names, int n);
void stacks_done(Stacks *stacks);
/* Says that there is no such service, and which one may have been meant. */
void stacks_tell_unknown(const Stacks *stacks, const char *name);
/* Drops those that are not wanted. */
void stacks_keep(Stacks *stacks, bool (*wants)(const Stack *stack, const char *what), const char *what);
/* An array of stack_to_json(). NULL when out of memory. */
json_object *stacks_to_json(const Stacks *stacks);

/* "unknown" if there is no status. */
const char *stack_state(const Stack *stack);
TableColour service_state_colour(ServiceState state);
TableColour dependency_state_colour(DependencyState state);
TableColour stack_colour(const Stack *stack);
size_t stack_count_ready(const Stack *stack);
/* "9002, 9003/udp"; NULL: none, or out of memory. The caller frees. */
char *stack_ports(const Stack *stack);
/* The object of GET /api/services, and what of it only the file says. NULL when out of memory. */
json_object *stack_to_json(const Stack *stack);
