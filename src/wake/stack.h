#pragma once

/* Stack: the members of one service, together: made, told of the engine's events, started and stopped in the order of the plan, described;
 * and where its clients are forwarded to, by what the containers are at the last looks. When any of that is to happen is the waker's. */

#include "model/plan.h"
#include "nft/backend.h"
#include "nft/inner.h"
#include "wake/member/member.h"

/* Plain to be read; a dependency's index is its member's, and that of the looks. */
typedef struct Stack {
        const Config *config; /* borrowed */
        const Service *service; /* borrowed */
        Plan *plan;
        Engine *engine;
        Composer *composer; /* NULL: the service has no composeDir */
        MemberContext context;
        const ServiceState *state;
        Member **members; /* one for each dependency */
        const ContainerInfo *
                        *infos; /* refreshed by stack_infos(), borrowed from the members; NULL: no container */
        bool *left; /* one for each dependency: it goes on running when the others are stopped */

        Backend backend;
        bool backend_resolved;
        char **backends; /* its addresses */
} Stack;

/* Of `context` engine, composer and members are the stack's to fill in. `state` is borrowed: what the journal is told with what compose says. */
int stack_new(Stack **ret, const Config *config, const MemberContext *context, const ServiceState *state,
              MemberHandler handler, void *userdata);
Stack *stack_free(Stack *stack);
DEFINE_CLEANUP(Stack *, stack_free);

/* Every member takes its lease and looks what it is. Listening comes before looking, so that nothing happens unseen in between. */
int stack_prepare(Stack *stack);
bool stack_is_prepared(const Stack *stack);
/* What may be started now is: each when what it needs is ready, one container at a time. */
void stack_start_next(Stack *stack);
/* Something may have changed about those whose networks others have. */
void stack_follow_owners(Stack *stack);

/* Does the wake wait for it? The container that clients are forwarded to counts, whatever its type. */
bool stack_needs(const Stack *stack, size_t index);
/* Everything that it needs is ready; else `ret_missing`, which may be NULL, is the first that is not. */
bool stack_is_served(const Stack *stack, const Member **ret_missing);
/* The containers' last looks, refreshed. */
const ContainerInfo *const *stack_infos(const Stack *stack);
/* Whose network it has: a dependency, or BACKEND_NO_MEMBER. */
size_t stack_owner(const Stack *stack, size_t index);
/* As far as the last look says. */
bool stack_runs(Stack *stack, size_t index);

/* PREPARED: what cannot reach each other is connected before it is started. -ENOMEM. */
int stack_attach(Stack *stack);
/* Who has another's network starts after it, whatever the file says; it may not say the opposite: then a sentence, which the caller frees, in
 * `reterr_text`, and -EINVAL. */
int stack_check_owners(const Stack *stack, char **reterr_text);
/* A name of a network that was mistyped shows in nothing but where clients are forwarded to, if at all. */
void stack_tell_unused_networks(Stack *stack);

/* Where clients go, by the last looks. As backend_resolve(). */
int stack_resolve_backend(Stack *stack, char **reterr_text);
void stack_refresh_backends(Stack *stack);
/* New clients of the published port reach the publisher without us. Else, if one publishes it, but elsewhere this time, `ret_elsewhere`. */
bool stack_is_direct(Stack *stack, uint16_t *ret_elsewhere);
/* Of what publishes the port, or what clients are forwarded to. The caller calls inner_done(). */
void stack_published(Stack *stack, Inner *ret);
/* Adds what else clients reach by its names: the ports that the container says it has. */
void stack_add_named(Stack *stack, Inner *inner);
void stack_forwarded(Stack *stack, Inner *ret);
/* The dependency that clients reach; where there are none, the main container. */
size_t stack_reached(Stack *stack);

/* Which go on running when `reached` does: it, what has its network or is needed by it, and, if `all`, what the stack is not awake without. */
void stack_leave(Stack *stack, bool all);
/* What may be stopped now is: each when those that need it have. Those that are left are let go. True: there is nothing any more; else `ret_budget`: how
 * long what was begun may take. */
bool stack_stop_next(Stack *stack, StopMode mode, uint64_t *ret_budget_usec);

/* Fills the dependencies and backends. `begin_usec`: of the wake, CLOCK_MONOTONIC. -ENOMEM. */
int stack_describe(const Stack *stack, uint64_t begin_usec, Status *status);
