#include "wake/container-internal.h"

/* Container, the way up: made if it does not exist, attached to the networks that it is not on, started or unpaused, looked at, checked.
 *
 * Two wakes may start the same container at the same time, since each holds a shared lease. Both announce it in the record; the engine
 * answers 204 to one and 304 to the other, whose announcement is withdrawn: whoever got the 204 says once more in the record that it is
 * ours, or somebody has started it by hand in that very moment. */

#define UNPAUSE_AGAIN USEC_PER_SEC /* somebody has paused it meanwhile */

void container_begin(Member *member) {
        Container *container = container_from(member);

        if (container->stale)
                container_go(container, STAGE_LOOKING_AGAIN, MEMBER_STARTING);
        else
                container_use(container);
}

bool container_runs(const Container *container) {
        return container->info->running && !container->info->restarting;
}

void container_found_again(Container *container) {
        if (container->stale)
                container_go(container, STAGE_LOOKING_AGAIN, MEMBER_STARTING);
        else if (container_load_record(container) < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
        else
                container_use(container);
}

/* Making it */

static void container_on_created(Composition *composition, FailureReason reason, const char *sentence,
                                 void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        if (reason != FAILURE_NONE)
                container_fail(container, reason, "%s", sentence);
        else if (container->member.phase == MEMBER_PREPARING)
                container_go(container, STAGE_LOOKING, MEMBER_PREPARING);
        else
                container_go(container, STAGE_LOOKING_AGAIN, MEMBER_STARTING);
}

void container_create(Container *container) {
        const char *name = member_name(&container->member);
        int r;

        container->created = true;
        record_dependency(LOG_INFO, name, DEPENDENCY_PENDING, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s does not exist, creating it", name);
        r = composer_create(&container->composition, container->member.context->composer, name,
                            container_on_created, container);
        if (r < 0)
                container_fail(container, FAILURE_NOT_FOUND, "it does not exist, and compose cannot be run: %s",
                               strerror(-r));
}

void container_missing(Container *container) {
        if (container->created)
                container_fail(container, FAILURE_NOT_FOUND,
                               "it does not exist, although compose says that it has created it");
        else if (container->member.context->composer)
                container_go(container, STAGE_CREATING, container->member.phase);
        else
                container_fail(container, FAILURE_NOT_FOUND,
                               "it does not exist; create it with 'docker compose up --no-start' in its project, "
                               "or give the service a 'composeDir'");
}

/* Attaching it */

static const char *container_next_network(Container *container) {
        while (container->networks && container->networks[container->n_attached]) {
                const char *network = container->networks[container->n_attached];

                if (!container_info_network(container->info, network))
                        return network;
                container->n_attached++;
        }
        return NULL;
}

static void container_on_attached(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        const char *network = container->networks[container->n_attached], *name = member_name(&container->member);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_NO_NETWORK) {
                container_fail(container, FAILURE_NETWORK_MISSING,
                               "%s; it is to be attached to network '%s', which does not exist: create that with "
                               "'docker network create %s', or by 'docker compose up --no-start' in the project "
                               "that it belongs to",
                               reply->message, network, network);
                return;
        }
        if (outcome != ENGINE_OK && outcome != ENGINE_ALREADY) {
                container_handle_refusal(container, reply);
                return;
        }

        if (outcome == ENGINE_OK)
                record_dependency(LOG_INFO, name, DEPENDENCY_STARTING, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s attached to network %s", name, network);
        container->n_attached++;
        /* It may have got an address by that, and may have died meanwhile. */
        if (container->info->running && !container_next_network(container))
                container_go(container, STAGE_LOOKING_AGAIN, MEMBER_STARTING);
        else
                container_use(container);
}

void container_post_attachment(Container *container) {
        container_check_asked(container,
                              engine_connect_network(&container->call, container->member.context->engine,
                                                     container->networks[container->n_attached],
                                                     member_name(&container->member), CONTAINER_START_TIMEOUT,
                                                     container_on_attached, container));
}

/* Checking it */

static void container_set_ready(Container *container) {
        container->by_engine = false;
        container->settled_usec = time_now(CLOCK_MONOTONIC);
        container_go(container, STAGE_IDLE, MEMBER_READY);
}

static void container_on_probe(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        const char *name = member_name(&container->member);
        uint64_t span = usec_sub(time_now(CLOCK_MONOTONIC), container->member.started_usec);
        char text[SPAN_MAX];

        if (verdict == PROBE_TIMED_OUT)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "not ready after %s: %s",
                               span_to_string(container->member.dependency->health.budget_usec, text), detail);
        else if (verdict == PROBE_BROKEN)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s", detail);
        else if (container_load_record(container) < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
        else {
                container_note_run(container);
                container->record.ready = true;
                container_write_record(container);
                if (container->member.phase == MEMBER_RECOVERING)
                        record_dependency(LOG_NOTICE, name, DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                                          "dependency %s is ready again", name);
                else
                        record_dependency(LOG_INFO, name, DEPENDENCY_READY, FAILURE_NONE, span,
                                          "dependency %s ready after %s", name, span_to_string(span, text));
                container_set_ready(container);
        }
}

void container_check(Container *container) {
        const MemberContext *context = container->member.context;
        int r;

        r = probe_new(&container->probe, context->event, context->engine, container->member.dependency,
                      container->info, container->member.dependency->network, container->backend_port,
                      context->environment, container_on_probe, container);
        if (r < 0)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s",
                               strerror(-r));
}

/* A one-shot that was ended before its time left a record of that run, which is neither ours any more nor ready. */
static bool container_was_interrupted(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        return lease_read(container->lease, &record) >= 0 && !record.ours && !record.ready &&
               container_run_is_of(container, &record);
}

bool container_has_completed(const Container *container) {
        return container->member.dependency->condition == CONDITION_COMPLETED && !container->info->running &&
               container->info->ever_started && container->info->exit_code == 0;
}

void container_complete(Container *container) {
        const char *name = member_name(&container->member);

        container->info->running = false;
        container_disown(container);
        container->record.ready = true;
        container_write_record(container);
        record_dependency(LOG_INFO, name, DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s has completed", name);
        container_set_ready(container);
}

/* It runs: is that enough, and is this the run that is known to be ready? */
static void container_check_if_needed(Container *container) {
        DependencyCondition condition = container->member.dependency->condition;
        const char *name = member_name(&container->member);
        LeaseRecord *record = &container->record;

        if (!container_run_is_of(container, record)) {
                container_note_run(container);
                record->ready = false;
                /* Of one that is not ours, and has not completed, the record would say that it was interrupted. */
                if (condition != CONDITION_COMPLETED || record->ours)
                        container_write_record(container);
        }

        if (condition == CONDITION_COMPLETED)
                container_go(container, STAGE_COMPLETING, MEMBER_CHECKING);
        else if (condition == CONDITION_READY && !record->ready)
                container_go(container, STAGE_CHECKING, MEMBER_CHECKING);
        else {
                record_dependency(LOG_INFO, name, DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s %s", name, record->ready ? "was ready already" : "is started");
                container_set_ready(container);
        }
}

/* Starting it */

static void container_begin_start(Container *container) {
        const MemberContext *context = container->member.context;

        /* What was ours before stays so, whoever is first to start it again. */
        container->started_now = container->started_now || container->record.ours;
        container->by_engine = false;
        lease_record_done(&container->record);
        container->record = (LeaseRecord){
                .ours = true,
                .service = strdup(context->service->name),
                .wake_id = strdup(context->wake_id),
                .container_id = strdup(container->info->id),
        };
        container_write_record(container);
        container_go(container, STAGE_POSTING, MEMBER_STARTING);
}

void container_use(Container *container) {
        if (container_has_completed(container) && !container_was_interrupted(container))
                container_complete(container);
        else if (container_next_network(container))
                container_go(container, STAGE_ATTACHING, MEMBER_STARTING);
        else if (!container->info->running)
                container_begin_start(container);
        else if (container->info->restarting)
                container_await(container);
        else if (container->info->paused && container->unpaused_now)
                container_go_after(container, STAGE_UNPAUSING, MEMBER_STARTING, UNPAUSE_AGAIN);
        else if (container->info->paused)
                container_go(container, STAGE_UNPAUSING, MEMBER_STARTING);
        else
                container_check_if_needed(container);
}

static void container_on_port_explained(PortConflict *conflict, const char *sentence, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        container_fail(container, FAILURE_PORT_CONFLICT, "%s", sentence);
}

static void container_explain_port(Container *container, const EngineReply *reply) {
        int r;

        container_go(container, STAGE_EXPLAINING, MEMBER_STARTING);
        r = port_conflict_new(&container->conflict, container->member.context->engine,
                              member_name(&container->member), reply->message, container_on_port_explained,
                              container);
        if (r < 0)
                container_fail(container, FAILURE_PORT_CONFLICT, "%s", reply->message);
}

static void container_on_no_network(Container *container, const EngineReply *reply) {
        const ContainerInfo *info = container->info;

        if (info->compose_service)
                container_fail(container, FAILURE_NETWORK_MISSING,
                               "%s; its network was removed: 'docker compose up --no-start --force-recreate %s' in "
                               "its project%s%s makes both anew",
                               reply->message, info->compose_service, info->compose_project ? " " : "",
                               strempty(info->compose_project));
        else
                container_fail(container, FAILURE_NETWORK_MISSING,
                               "%s; its network was removed: create the network again, and then the container",
                               reply->message);
}

static bool outcome_leaves_it_open(EngineOutcome outcome) {
        return outcome == ENGINE_UNREACHABLE || outcome == ENGINE_TIMED_OUT || outcome == ENGINE_BROKEN;
}

static void container_on_started(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_OK || outcome_leaves_it_open(outcome))
                container->started_now = true;

        switch (outcome) {
        case ENGINE_OK:
                container_go(container, STAGE_VERIFYING, MEMBER_CHECKING);
                break;
        case ENGINE_ALREADY:
                container_withdraw(container);
                container_go(container, STAGE_VERIFYING, MEMBER_CHECKING);
                break;
        case ENGINE_PAUSED:
                /* Somebody has started and paused it since we looked. */
                container_withdraw(container);
                container_go(container, STAGE_UNPAUSING, MEMBER_STARTING);
                break;
        case ENGINE_NO_CONTAINER:
                container_withdraw(container);
                container_missing(container);
                break;
        case ENGINE_PORT_TAKEN:
                container_explain_port(container, reply);
                break;
        case ENGINE_NO_NETWORK:
                container_on_no_network(container, reply);
                break;
        default:
                container_handle_refusal(container, reply);
        }
}

void container_post_start(Container *container) {
        container->killed = false;
        container_check_asked(container, engine_start(&container->call, container->member.context->engine,
                                                      member_name(&container->member), CONTAINER_START_TIMEOUT,
                                                      container_on_started, container));
}

static void container_on_unpaused(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_OK)
                container->unpaused_now = true;
        if (outcome == ENGINE_OK || outcome == ENGINE_ALREADY)
                container_go(container, STAGE_VERIFYING, MEMBER_CHECKING);
        else if (outcome == ENGINE_NO_CONTAINER)
                container_missing(container);
        else
                container_handle_refusal(container, reply);
}

void container_post_unpause(Container *container) {
        container_check_asked(container, engine_unpause(&container->call, container->member.context->engine,
                                                        member_name(&container->member), CONTAINER_START_TIMEOUT,
                                                        container_on_unpaused, container));
}

/* It was asked to run, or says that it does: does it? */
void container_verified(Container *container) {
        if (container_has_completed(container) && !container->killed) {
                container_complete(container);
                return;
        }
        if (!container_runs(container) || container->stale) {
                container_on_death(container);
                return;
        }

        if (container->member.phase == MEMBER_READY) {
                if (container_run_is_of(container, &container->record)) {
                        container_go(container, STAGE_IDLE, MEMBER_READY);
                        container->by_engine = false;
                        /* Its addresses may be others. */
                        container->member.handler(&container->member, container->member.userdata);
                        return;
                }
                member_set_phase(&container->member, MEMBER_RECOVERING);
        }
        container->by_engine = false;
        if (container_load_record(container) < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
        else
                container_use(container);
}
