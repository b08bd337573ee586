#include <signal.h>

#include "wake/container-internal.h"

/* Container, what comes from outside: the engine's events, and that the engine itself is gone or back. What happens to a container before its
 * turn, or after it has failed, is only noted, and looked at when it matters. */

static bool container_is_at_rest(const Container *container) {
        return container->member.phase <= MEMBER_PREPARED || container->member.phase == MEMBER_FAILED;
}

static bool container_is_over(const Container *container) {
        return container->member.phase >= MEMBER_LOST ||
               (container->member.phase == MEMBER_READY &&
                container->member.dependency->condition == CONDITION_COMPLETED);
}

/* Its death is known, and what to make of it not yet. */
static bool container_is_undecided(const Container *container) {
        return container->stage == STAGE_COMING_BACK || container->stage == STAGE_DECIDING ||
               container->stage == STAGE_EXAMINING || container->stage == STAGE_TELLING;
}

static bool container_is_watched(const Container *container) {
        return container->member.phase == MEMBER_READY || container->stage == STAGE_CHECKING ||
               container->stage == STAGE_COMPLETING;
}

static void container_on_start_event(Container *container, const ContainerEvent *event) {
        container->killed = false;
        if (container->member.phase == MEMBER_READY)
                container_go(container, STAGE_VERIFYING, MEMBER_READY);
        else if (container->stage == STAGE_COMING_BACK || container->stage == STAGE_DECIDING)
                container_go(container, STAGE_VERIFYING, MEMBER_CHECKING);
}

static void container_on_kill_event(Container *container, const ContainerEvent *event) {
        if (event->signal == SIGKILL || event->signal == SIGTERM ||
            (container->info && event->signal == container->info->stop_signal))
                container->killed = true;
}

static void container_on_die_event(Container *container, const ContainerEvent *event) {
        container->exit_code = event->exit_code;
        if (container->stage == STAGE_COMPLETING && event->exit_code == 0 && !container->killed)
                container_complete(container);
        else if (container_is_watched(container))
                container_on_death(container);
        else
                container->stale = true;
}

static void container_on_stop_event(Container *container, const ContainerEvent *event) {
        if (container->member.phase == MEMBER_READY)
                container->killed = true;
        else if (container->member.phase == MEMBER_RECOVERING && container_is_undecided(container) &&
                 !container->killed) {
                container->killed = true;
                container_on_death(container);
        }
}

static void container_on_destroy_event(Container *container, const ContainerEvent *event) {
        if (!container_is_watched(container) && !container_is_undecided(container))
                return;
        container->killed = true;
        container_on_death(container);
}

static void container_on_pause_event(Container *container, const ContainerEvent *event) {
        bool paused = event->type == CONTAINER_EVENT_PAUSE;

        if (container->info)
                container->info->paused = paused;
        if (paused && container_is_watched(container))
                record_dependency(LOG_NOTICE, member_name(&container->member), DEPENDENCY_READY, FAILURE_NONE,
                                  USEC_INFINITY, "dependency %s was paused by somebody else, leaving it",
                                  member_name(&container->member));
}

static void container_on_health_event(Container *container, const ContainerEvent *event) {
        if (container->probe)
                probe_set_health(container->probe,
                                 event->type == CONTAINER_EVENT_HEALTHY ? HEALTH_HEALTHY : HEALTH_UNHEALTHY);
}

static void (*const event_handlers[_CONTAINER_EVENT_MAX])(Container *container, const ContainerEvent *event) = {
        [CONTAINER_EVENT_START] = container_on_start_event,
        [CONTAINER_EVENT_KILL] = container_on_kill_event,
        [CONTAINER_EVENT_DIE] = container_on_die_event,
        [CONTAINER_EVENT_STOP] = container_on_stop_event,
        [CONTAINER_EVENT_DESTROY] = container_on_destroy_event,
        [CONTAINER_EVENT_PAUSE] = container_on_pause_event,
        [CONTAINER_EVENT_UNPAUSE] = container_on_pause_event,
        [CONTAINER_EVENT_HEALTHY] = container_on_health_event,
        [CONTAINER_EVENT_UNHEALTHY] = container_on_health_event,
};

void container_on_event(Member *member, const ContainerEvent *event) {
        Container *container = container_from(member);

        assert(member_is_container(member));

        if (container_is_at_rest(container))
                container->stale = true;
        else if (!container_is_over(container) && (size_t) event->type < ELEMENTSOF(event_handlers))
                event_handlers[event->type](container, event);
}

void container_on_engine_lost(Member *member) {
        Container *container = container_from(member);

        assert(member_is_container(member));

        container->engine_lost = true;
        if (container_is_at_rest(container)) {
                if (container_is_to_ask(container))
                        container_act(container);
                return;
        }
        if (container->member.phase >= MEMBER_FAILED || container_is_over(container))
                return;

        container->by_engine = true;
        if (container_is_undecided(container))
                container_go(container, STAGE_DECIDING, member->phase);
        else if (container->stage == STAGE_CHECKING || container->stage == STAGE_COMPLETING ||
                 container->stage == STAGE_VERIFYING)
                container_go(container, STAGE_VERIFYING, member->phase);
        else if (container_is_to_ask(container))
                container_act(container);
}

void container_on_engine_back(Member *member) {
        Container *container = container_from(member);
        bool was_lost = container->engine_lost;

        assert(member_is_container(member));

        container->engine_lost = false;
        if (was_lost && container_is_at_rest(container))
                container->stale = true;
        if (was_lost && member->phase == MEMBER_READY && !container_is_over(container))
                container_go(container, STAGE_VERIFYING, MEMBER_READY);
        else if (container_is_to_ask(container))
                container_act(container);
}
