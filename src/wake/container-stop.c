#include "wake/container-internal.h"

/* Container, the way down. Whose it is was seen at the last look; if anything has happened to it since, it is looked at again first.
 * To stop it takes the exclusive lock: while another service uses it, it is let go and left. The record of a paused container
 * stays, since it is still ours. */

#define STOP_SLACK (15 * USEC_PER_SEC) /* over the engine's grace period, until its answer */
#define STOP_PATIENCE (20 * USEC_PER_SEC) /* with an engine that does not answer */
#define STOP_ATTEMPTS 6
#define STOP_AGAIN USEC_PER_SEC
#define GRACE_DEFAULT 10

static unsigned container_grace(const Container *container) {
        return container->info ? container->info->stop_timeout_sec : GRACE_DEFAULT;
}

static uint64_t container_stop_timeout(const Container *container) {
        return container_grace(container) * USEC_PER_SEC + STOP_SLACK;
}

uint64_t container_stop_budget(const Member *member) {
        return container_stop_timeout((const Container *) member) + STOP_PATIENCE;
}

static void container_set_stopped(Container *container) {
        container_release(container);
        container_go(container, STAGE_IDLE, MEMBER_STOPPED);
}

/* Paused again by a wake that failed, as it was found. */
static bool container_is_to_be_paused_again(const Container *container, StopMode mode) {
        return mode == STOP_ROLLBACK && container->unpaused_now && !container->started_now;
}

bool container_would_stop(const Member *member, StopMode mode) {
        const Container *container = (const Container *) member;

        if (!container->lease || member->dependency->keep)
                return false;
        if (container_is_to_be_paused_again(container, mode))
                return true;

        switch (mode) {
        case STOP_ALL:
                return !container->info || container->info->running || container->started_now;
        case STOP_SLEEP:
                return container->record.ours;
        default:
                /* What was only adopted ran before, and goes on running. What another wake has started, and nobody uses any
                 * more, does not. */
                return container->record.ours && (container->started_now || container->record.wake_id);
        }
}

static void container_seize(Container *container) {
        bool pause = container->stop_mode == STOP_SLEEP
                                     ? container->member.context->service->sleep == SLEEP_PAUSE
                                     : container_is_to_be_paused_again(container, container->stop_mode);

        /* Whoever stays has to know whose it is, whatever became of the record meanwhile. */
        if (container->started_now)
                container_write_record(container);
        if (lease_seize(container->lease) < 0) {
                log_debug("Another service uses %s, leaving it.", member_name(&container->member));
                container_set_stopped(container);
        } else
                container_go(container, pause ? STAGE_PAUSING : STAGE_STOPPING, MEMBER_STOPPING);
}

void container_found_to_stop(Container *container) {
        if (container_load_record(container) >= 0 &&
            container_would_stop(&container->member, container->stop_mode))
                container_seize(container);
        else
                container_set_stopped(container);
}

void container_missing_to_stop(Container *container) {
        container_set_stopped(container);
}

/* Nothing is known of it since the last look, or it has never been looked at. */
static bool container_needs_look(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        if (!container->lease || container->started_now || container->member.dependency->keep ||
            (container->info && !container->stale))
                return false;
        return container->stop_mode == STOP_ALL || container->record.ours ||
               (lease_read(container->lease, &record) >= 0 && record.ours);
}

void container_begin_stop(Member *member, StopMode mode) {
        Container *container = container_from(member);
        bool starting = container->stage == STAGE_POSTING || container->stage == STAGE_UNPAUSING;

        container->start_cancelled = starting && container->call;
        /* It may be carried out. */
        if (container->start_cancelled && container->stage == STAGE_POSTING)
                container->started_now = true;
        else if (container->start_cancelled)
                container->unpaused_now = true;
        container_cancel(container);
        container->stop_mode = mode;
        container->stop_until_usec = time_now(CLOCK_MONOTONIC) + STOP_PATIENCE;

        if (container_needs_look(container)) {
                container_go(container, STAGE_LOOKING_TO_STOP, MEMBER_STOPPING);
                return;
        }
        /* The look is older than a start that is under way; our own record of that is not. */
        if (container->lease && container->info && container->info->running)
                (void) container_load_record(container);
        if (container_would_stop(member, mode))
                container_seize(container);
        else
                container_set_stopped(container);
}

/* The record stays: whoever uses it next still knows that it is ours. */
void container_leave(Container *container, const char *why) {
        const char *name = member_name(&container->member);

        record_dependency(LOG_ERR, name, DEPENDENCY_FAILED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s could not be stopped, leaving it: %s", name, why);
        container_set_stopped(container);
}

void container_handle_refusal_to_stop(Container *container, const EngineReply *reply) {
        bool silent = reply->outcome == ENGINE_UNREACHABLE || reply->outcome == ENGINE_TIMED_OUT,
             again = silent ? time_now(CLOCK_MONOTONIC) < container->stop_until_usec
                            : container->attempts < STOP_ATTEMPTS;

        if (engine_outcome_is_transient(reply->outcome) && again)
                container_retry(container);
        else
                container_leave(container, reply->message);
}

static void container_on_stopped(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);
        const char *name = member_name(&container->member);

        if (outcome == ENGINE_ALREADY && container->start_cancelled) {
                /* The engine may come to the start only after this stop: once more. */
                container->start_cancelled = false;
                container_wait(container, STOP_AGAIN);
        } else if (outcome == ENGINE_PAUSED && time_now(CLOCK_MONOTONIC) < container->stop_until_usec)
                container_go(container, STAGE_UNPAUSING_TO_STOP, MEMBER_STOPPING);
        else if (outcome == ENGINE_OK || outcome == ENGINE_ALREADY || outcome == ENGINE_NO_CONTAINER) {
                container_disown(container);
                record_dependency(LOG_INFO, name, DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s stopped", name);
                container_set_stopped(container);
        } else
                container_handle_refusal_to_stop(container, reply);
}

void container_post_stop(Container *container) {
        container_check_asked(container,
                              engine_stop(&container->call, container->member.context->engine,
                                          member_name(&container->member), container_grace(container),
                                          container_stop_timeout(container), container_on_stopped, container));
}

/* Podman does not stop what is paused. */
static void container_on_unpaused_to_stop(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_OK || outcome == ENGINE_ALREADY || outcome == ENGINE_NO_CONTAINER)
                container_go(container, STAGE_STOPPING, MEMBER_STOPPING);
        else
                container_handle_refusal_to_stop(container, reply);
}

void container_post_unpause_to_stop(Container *container) {
        container_check_asked(container, engine_unpause(&container->call, container->member.context->engine,
                                                        member_name(&container->member), CONTAINER_REQUEST_TIMEOUT,
                                                        container_on_unpaused_to_stop, container));
}

static void container_on_paused(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);
        const char *name = member_name(&container->member);
        bool paused = outcome == ENGINE_OK || outcome == ENGINE_ALREADY || outcome == ENGINE_PAUSED;

        if (paused && outcome != ENGINE_OK && container->start_cancelled) {
                container->start_cancelled = false;
                container_wait(container, STOP_AGAIN);
        } else if (paused) {
                record_dependency(LOG_INFO, name, DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s paused", name);
                container_set_stopped(container);
        } else if (outcome == ENGINE_NOT_RUNNING || outcome == ENGINE_NO_CONTAINER)
                container_set_stopped(container);
        else if (container->stop_mode == STOP_SLEEP && outcome != ENGINE_UNREACHABLE &&
                 outcome != ENGINE_TIMED_OUT) {
                log_debug("Cannot pause %s, stopping it: %s", name, reply->message);
                container_go(container, STAGE_STOPPING, MEMBER_STOPPING);
        } else
                container_handle_refusal_to_stop(container, reply);
}

void container_post_pause(Container *container) {
        container_check_asked(container, engine_pause(&container->call, container->member.context->engine,
                                                      member_name(&container->member), CONTAINER_REQUEST_TIMEOUT,
                                                      container_on_paused, container));
}
