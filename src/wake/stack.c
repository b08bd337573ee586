#include <stdio.h>

#include "compose/composer.h"
#include "util/log.h"
#include "wake/member/attachments.h"
#include "wake/member/container.h"
#include "wake/member/journal.h"
#include "wake/member/service-member.h"
#include "wake/member/unit-member.h"
#include "wake/stack.h"

/* Stack: see the header. It holds the engine, whose events it hands to the containers that they are about, and compose. It has no phases of its
 * own: every question looks at the members as they are. */

#define NAMED_PORTS_MAX 32U

/* Making it */

static const MemberConstructor constructors[_DEPENDENCY_KIND_MAX] = {
        [DEPENDENCY_CONTAINER] = container_new,
        [DEPENDENCY_UNIT] = unit_member_new,
        [DEPENDENCY_SERVICE] = service_member_new,
};

static void stack_on_compose(const char *line, void *userdata) {
        const Stack *stack = ASSERT_PTR(userdata);

        journal_service(LOG_INFO, WAKECHAIN_MESSAGE_COMPOSE, *stack->state, FAILURE_NONE, "compose: %s", line);
}

static int stack_make_composer(Stack *stack) {
        const MemberContext *context = &stack->context;
        int r;

        r = composer_new(&stack->composer, context->event, context->root, stack->service->compose_dir,
                         context->environment, stack_on_compose, stack);
        return r < 0 ? r : composer_set_engine(stack->composer, stack->config->engine_socket);
}

int stack_new(Stack **ret, const Config *config, const MemberContext *context, const ServiceState *state,
              MemberHandler handler, void *userdata) {
        _cleanup_(stack_freep) Stack *stack = new0(Stack, 1);
        const Service *service = context->service;
        int r;

        assert(ret);

        if (!stack)
                return -ENOMEM;
        *stack = (Stack){
                .config = config,
                .service = service,
                .context = *context,
                .state = state,
                .members = new0(Member *, service->n_dependencies),
                .infos = new0(const ContainerInfo *, service->n_dependencies),
                .left = new0(bool, service->n_dependencies),
                .backend = { .member = BACKEND_NO_MEMBER, .publisher = BACKEND_NO_MEMBER },
        };
        if (!stack->members || !stack->infos || !stack->left)
                return -ENOMEM;

        r = plan_new(&stack->plan, service, NULL);
        if (r >= 0)
                r = engine_new(&stack->engine, context->event, config->engine_socket);
        if (r >= 0 && service->compose_dir)
                r = stack_make_composer(stack);
        if (r < 0)
                return r;
        stack->context.engine = stack->engine;
        stack->context.composer = stack->composer;
        stack->context.members = stack->members;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                r = constructors[dependency->kind](&stack->members[i], &stack->context, dependency, handler,
                                                   userdata);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(stack);
        return 0;
}

Stack *stack_free(Stack *stack) {
        if (!stack)
                return NULL;

        for (size_t i = 0; stack->members && i < stack->service->n_dependencies; i++)
                member_free(stack->members[i]);
        free(stack->members);
        free(stack->infos);
        free(stack->left);
        composer_free(stack->composer);
        engine_free(stack->engine);
        plan_free(stack->plan);
        backend_done(&stack->backend);
        strv_free(stack->backends);
        return mfree(stack);
}

/* The engine's events */

/* A container is known by its id, whatever it is called now. What happens under the name of one of ours may concern it, too: it may
 * have been made anew. */
static Member *stack_find_container(const Stack *stack, const ContainerEvent *event) {
        Member *named = NULL;

        for (size_t i = 0; i < stack->service->n_dependencies; i++) {
                Member *member = stack->members[i];

                if (!member_is_container(member))
                        continue;
                if (container_info(member) && streq(container_info(member)->id, event->id))
                        return member;
                if (!named && streq(member_name(member), event->container))
                        named = member;
        }
        return named;
}

static void stack_on_event(Engine *engine, const ContainerEvent *event, bool lost, void *userdata) {
        Stack *stack = ASSERT_PTR(userdata);

        if (!lost && event) {
                Member *member = stack_find_container(stack, event);

                if (member)
                        container_on_event(member, event);
                return;
        }
        if (lost)
                log_debug("The engine's event stream has ended, opening it again.");
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (member_is_container(stack->members[i]))
                        (lost ? container_on_engine_lost : container_on_engine_back)(stack->members[i]);
}

void stack_follow_owners(Stack *stack) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (member_is_container(stack->members[i]))
                        container_check_owner(stack->members[i]);
}

/* What it is */

bool stack_needs(const Stack *stack, size_t index) {
        return stack->service->dependencies[index].type == DEPENDENCY_REQUIRED || stack->backend.member == index;
}

bool stack_is_served(const Stack *stack, const Member **ret_missing) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (stack_needs(stack, i) && stack->members[i]->phase != MEMBER_READY) {
                        if (ret_missing)
                                *ret_missing = stack->members[i];
                        return false;
                }
        return true;
}

const ContainerInfo *const *stack_infos(const Stack *stack) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                stack->infos[i] =
                                member_is_container(stack->members[i]) ? container_info(stack->members[i]) : NULL;
        return stack->infos;
}

size_t stack_owner(const Stack *stack, size_t index) {
        Member *member = stack->members[index];
        const Member *owner = member_is_container(member) ? container_owner(member) : NULL;

        for (size_t i = 0; owner && i < stack->service->n_dependencies; i++)
                if (stack->members[i] == owner)
                        return i;
        return BACKEND_NO_MEMBER;
}

bool stack_runs(Stack *stack, size_t index) {
        const ContainerInfo *info = stack_infos(stack)[index];

        return info && info->running && !info->restarting && !info->paused;
}

/* Preparing it */

int stack_prepare(Stack *stack) {
        bool watched = false;
        int r;

        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                watched = watched || member_is_container(stack->members[i]);
        if (watched) {
                r = engine_watch(stack->engine, stack_on_event, stack);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                member_prepare(stack->members[i]);
        return 0;
}

bool stack_is_prepared(const Stack *stack) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (stack->members[i]->phase < MEMBER_PREPARED)
                        return false;
        return true;
}

int stack_check_owners(const Stack *stack, char **reterr_text) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++) {
                size_t owner = stack_owner(stack, i);

                if (owner == BACKEND_NO_MEMBER || !plan_needs(stack->plan, owner, i))
                        continue;
                return asprintf(reterr_text,
                                "'%s' has the network of '%s', and is to be started before it: correct startOrder or "
                                "dependsOn in dependencies.json",
                                member_name(stack->members[i]), member_name(stack->members[owner])) < 0
                                       ? -ENOMEM
                                       : -EINVAL;
        }
        return 0;
}

/* The service's own network is that of its main container. */
void stack_tell_unused_networks(Stack *stack) {
        const Service *service = stack->service;

        for (size_t i = 0; i < service->n_dependencies && !service->cross_network; i++) {
                const Dependency *dependency = &service->dependencies[i];
                const ContainerInfo *info = stack_infos(stack)[i];
                _cleanup_free_ char *networks = NULL;

                if (!info || !dependency_names_network(service, dependency) ||
                    container_info_is_on(info, dependency->network))
                        continue;
                networks = container_info_networks_to_string(info);
                member_tell(stack->members[i], LOG_NOTICE, DEPENDENCY_PENDING,
                            "is not on network '%s', which dependencies.json names for it, but on %s: that is used",
                            dependency->network, strempty(networks));
        }
}

int stack_attach(Stack *stack) {
        _cleanup_free_ Attachment *attachments = NULL;
        size_t n = 0;
        int r;

        r = attachments_find(&attachments, &n, stack->service, stack_infos(stack));
        for (size_t i = 0; i < n && r >= 0; i++)
                r = container_attach(stack->members[attachments[i].member], attachments[i].network);
        return r;
}

/* Starting it */

static bool stack_need_is_met(const Stack *stack, const PlanNeed *need) {
        const Member *member = stack->members[need->member];

        if (member->phase == MEMBER_READY)
                return true;
        if (stack_needs(stack, need->member))
                return false;
        /* What nobody waits for must still have been started in its turn, unless that meets with trouble. Who names it waits until it is
         * known whether it can be had. */
        if (need->named)
                return member->phase == MEMBER_FAILED || member->phase == MEMBER_LOST;
        return member->phase > MEMBER_STARTING || member->retrying;
}

static bool stack_may_start(const Stack *stack, const PlanMember *planned) {
        Member *member = stack->members[planned->index];

        if (member->phase != MEMBER_PREPARED || (member_is_container(member) && container_awaits_owner(member)))
                return false;
        for (size_t i = 0; i < planned->n_needs; i++)
                if (!stack_need_is_met(stack, &planned->needs[i]))
                        return false;
        /* A container that is being started has the processor to itself; nobody waits for another's readiness. */
        for (size_t i = 0; member_is_container(member) && i < stack->service->n_dependencies; i++)
                if (member_is_container(stack->members[i]) && stack->members[i]->phase == MEMBER_STARTING &&
                    !stack->members[i]->retrying)
                        return false;
        return true;
}

void stack_start_next(Stack *stack) {
        for (size_t i = 0; i < stack->plan->n_members; i++)
                if (stack_may_start(stack, &stack->plan->members[i]))
                        member_start(stack->members[stack->plan->members[i].index]);
}

/* Where clients go */

int stack_resolve_backend(Stack *stack, char **reterr_text) {
        Backend backend;
        int r;

        r = backend_resolve(&backend, stack->service, stack_infos(stack), reterr_text);
        if (r < 0)
                return r;
        backend_done(&stack->backend);
        stack->backend = backend;
        stack->backend_resolved = true;
        if (backend.member != BACKEND_NO_MEMBER && !backend.udp)
                container_set_backend_port(stack->members[backend.member], backend.port);
        return 0;
}

void stack_refresh_backends(Stack *stack) {
        char **backends;

        if (!stack->backend_resolved ||
            backend_addresses(&stack->backend, stack->service, stack_infos(stack), &backends) < 0)
                return;
        strv_free(stack->backends);
        stack->backends = backends;
}

bool stack_is_direct(Stack *stack, uint16_t *ret_elsewhere) {
        return backend_is_direct(&stack->backend, stack->service, stack_infos(stack), ret_elsewhere);
}

void stack_published(Stack *stack, Inner *ret) {
        const Backend *backend = &stack->backend;
        const ContainerInfo *const *infos = stack_infos(stack);
        const ContainerInfo *info = backend->publisher == BACKEND_NO_MEMBER ? NULL : infos[backend->publisher];

        inner_init(ret, stack->service, infos);
        if (info && inner_add(ret, info, backend->publisher_port, /* udp= */ false, stack->service->port,
                              /* waits= */ false) < 0)
                log_debug("Failed to watch a port, for want of memory.");
}

/* Whom names lead to, the `i`th: first the one that clients are forwarded to, then further ones. BACKEND_NO_MEMBER: none of the engine's. */
static size_t stack_named(const Stack *stack, size_t i, const char **ret_address) {
        const Service *service = stack->service;

        *ret_address = i == 0 ? service->virtual_address : service->named[i - 1].virtual_address;
        if (i == 0)
                return stack->backend.member;
        for (size_t k = 0; k < service->n_dependencies; k++)
                if (service->dependencies[k].kind == DEPENDENCY_CONTAINER && k != stack->backend.member &&
                    streq(service->dependencies[k].name, service->named[i - 1].container))
                        return k;
        return BACKEND_NO_MEMBER;
}

/* `port` beside those that it says it has; 0: none. */
static int add_named(Inner *inner, const ContainerInfo *named, const char *address, uint16_t port) {
        int r;

        r = inner_add_named(inner, named, address);
        if (r >= 0 && port > 0)
                r = inner_add(inner, named, port, /* udp= */ false, /* published= */ 0, /* waits= */ false);
        for (size_t i = 0; i < named->n_exposed && i < NAMED_PORTS_MAX && r >= 0; i++)
                r = inner_add(inner, named, named->exposed[i], /* udp= */ false, /* published= */ 0,
                              /* waits= */ false);
        return r;
}

void stack_add_named(Stack *stack, Inner *inner) {
        const ContainerInfo *const *infos = stack_infos(stack);
        int r = 0;

        for (size_t i = 0; i <= stack->service->n_named && r >= 0; i++) {
                const char *address;
                size_t member = stack_named(stack, i, &address);

                if (*address && member != BACKEND_NO_MEMBER && infos[member])
                        r = add_named(inner, infos[member], address, i == 0 ? stack->backend.port : 0);
        }
        if (r < 0)
                log_debug("Failed to watch a port, for want of memory.");
}

void stack_forwarded(Stack *stack, Inner *ret) {
        const ContainerInfo *const *infos = stack_infos(stack), *info = infos[stack->backend.member];

        inner_init(ret, stack->service, infos);
        if (inner_add(ret, info, stack->backend.port, /* udp= */ false, /* published= */ 0,
                      /* waits= */ false) < 0)
                log_debug("Failed to watch a port, for want of memory.");
}

size_t stack_reached(Stack *stack) {
        Backend backend = { .member = BACKEND_NO_MEMBER, .publisher = BACKEND_NO_MEMBER };
        const Backend *known = stack->backend_resolved ? &stack->backend : &backend;
        const size_t main = (size_t) (service_main(stack->service) - stack->service->dependencies);
        bool redirected = service_is_redirected(stack->service);
        _cleanup_free_ char *text = NULL;
        size_t reached;

        if (!stack->backend_resolved)
                (void) backend_resolve(&backend, stack->service, stack_infos(stack), &text);
        reached = redirected && known->publisher != BACKEND_NO_MEMBER ? known->publisher : known->member;
        backend_done(&backend);
        /* Whose network the main container has runs for others, too. */
        return reached == BACKEND_NO_MEMBER || reached == stack_owner(stack, main) ? main : reached;
}

/* Stopping it */

void stack_leave(Stack *stack, bool all) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                stack->left[i] = all && stack_needs(stack, i);
        stack->left[stack_reached(stack)] = true;
        /* Whoever needs another comes behind it. */
        for (size_t i = stack->plan->n_members; i > 0 && all; i--) {
                const PlanMember *planned = &stack->plan->members[i - 1];

                for (size_t j = 0; stack->left[planned->index] && j < planned->n_needs; j++)
                        stack->left[planned->needs[j].member] = true;
        }
        for (size_t i = 0; i < stack->service->n_dependencies; i++) {
                size_t owner = stack_owner(stack, i);

                if (stack->left[i] && owner != BACKEND_NO_MEMBER)
                        stack->left[owner] = true;
        }
}

/* Nobody that needs it is still there. */
static bool stack_may_stop(const Stack *stack, size_t index) {
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (stack_owner(stack, i) == index && stack->members[i]->phase != MEMBER_STOPPED &&
                    !plan_needs(stack->plan, index, i))
                        return false;
        for (size_t i = 0; i < stack->plan->n_members; i++) {
                const PlanMember *planned = &stack->plan->members[i];

                for (size_t j = 0; j < planned->n_needs; j++)
                        if (planned->needs[j].member == index &&
                            stack->members[planned->index]->phase != MEMBER_STOPPED)
                                return false;
        }
        return true;
}

bool stack_stop_next(Stack *stack, StopMode mode, uint64_t *ret_budget_usec) {
        bool done = true;

        *ret_budget_usec = 0;
        for (size_t i = stack->plan->n_members; i > 0; i--) {
                size_t index = stack->plan->members[i - 1].index;
                StopMode its_mode = stack->left[index] ? STOP_LEAVE : mode;
                Member *member = stack->members[index];

                if (member->phase < MEMBER_STOPPING && stack_may_stop(stack, index)) {
                        if (member_would_stop(member, its_mode))
                                *ret_budget_usec = MAX(*ret_budget_usec, member_stop_budget(member));
                        member_stop(member, its_mode);
                }
                done = done && member->phase == MEMBER_STOPPED;
        }
        return done;
}

/* Telling */

/* The port is that which the client wants: any will do. */
static int stack_describe_names(const Stack *stack, Status *status) {
        const Service *service = stack->service;

        status->names = new0(NameStatus, service->n_named + 1);
        if (!status->names)
                return -ENOMEM;
        for (size_t i = 0; i <= service->n_named; i++) {
                NameStatus *name = &status->names[status->n_names];
                Backend backend = { .port = stack->backend.port };
                const char *address;
                int r;

                backend.member = stack_named(stack, i, &address);
                if (isempty(address) || backend.member == BACKEND_NO_MEMBER)
                        continue;
                status->n_names++;
                name->address = strdup(address);
                r = name->address ? backend_addresses(&backend, service, stack_infos(stack), &name->backends)
                                  : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

int stack_describe(const Stack *stack, uint64_t begin_usec, Status *status) {
        const Service *service = stack->service;
        int r;

        for (char **backend = stack->backends; backend && *backend; backend++) {
                r = strv_append(&status->backends, *backend);
                if (r < 0)
                        return r;
        }
        r = stack_describe_names(stack, status);
        if (r < 0)
                return r;
        status->dependencies = new0(DependencyStatus, service->n_dependencies);
        if (!status->dependencies)
                return -ENOMEM;
        for (size_t i = 0; i < stack->plan->n_members; i++) {
                const PlanMember *planned = &stack->plan->members[i];
                DependencyStatus *dependency = &status->dependencies[status->n_dependencies];

                r = member_describe(stack->members[planned->index], begin_usec, dependency);
                if (r < 0)
                        return r;
                dependency->step = planned->step;
                dependency->estimate_usec = service->dependencies[planned->index].estimated_usec;
                status->n_dependencies++;
        }
        return 0;
}
