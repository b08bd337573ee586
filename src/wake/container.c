#include <sys/random.h>

#include "wake/container-internal.h"

/* Container: one stage after the other, each of which asks or waits for one thing. Four rules shape the code:
 *
 * - Nothing waits: a busy lock and an engine in trouble are tried again on one timer, with growing pauses. The waker's global
 *   timeout ends that, not the container. An engine that is gone is not asked: its event stream tells when it is back.
 * - That we are going to start it is written into the lease's record before the start is asked for. Killed in between, the next
 *   life finds the record and knows that the container, if it runs, is ours.
 * - A 204 to a start is no fact. The look afterwards is, and after that the events.
 * - Whoever stops a container through the engine sends it a signal first, and the engine tells. A death without that is a crash. But an engine
 *   that goes down stops its containers in the same way, so nothing is concluded before it has answered once more. */

#define BROKEN_ATTEMPTS 5 /* 5xx answers in a row to more than a look, then it is no passing trouble */
#define RETRY_FIRST (20 * USEC_PER_MSEC)
#define RETRY_LAST (5 * USEC_PER_SEC)

static void container_found(Container *container);

static const struct {
        void (*act)(Container *container); /* begins it, and is called again by the timer */
        bool asks_engine;
        void (*found)(Container *container); /* a look has been answered */
        void (*missing)(Container *container);
} stages[_STAGE_MAX] = {
        [STAGE_LEASING] = { container_lease, false, NULL, NULL },
        [STAGE_LOOKING] = { container_look, true, container_found, container_missing },
        [STAGE_CREATING] = { container_create, false, NULL, NULL },
        [STAGE_LOOKING_AGAIN] = { container_look, true, container_found_again, container_missing },
        [STAGE_ATTACHING] = { container_post_attachment, true, NULL, NULL },
        [STAGE_POSTING] = { container_post_start, true, NULL, NULL },
        [STAGE_UNPAUSING] = { container_post_unpause, true, NULL, NULL },
        [STAGE_VERIFYING] = { container_look, true, container_verified, container_vanished },
        [STAGE_CHECKING] = { container_check, false, NULL, NULL },
        [STAGE_COMING_BACK] = { container_begin_decision, false, NULL, NULL },
        [STAGE_DECIDING] = { container_look, true, container_decide, container_vanished },
        [STAGE_EXAMINING] = { container_look, true, container_examined, container_vanished },
        [STAGE_TELLING] = { container_ask_logs, true, NULL, NULL },
        [STAGE_LOOKING_TO_STOP] = { container_look, true, container_found_to_stop, container_missing_to_stop },
        [STAGE_STOPPING] = { container_post_stop, true, NULL, NULL },
        [STAGE_PAUSING] = { container_post_pause, true, NULL, NULL },
        [STAGE_UNPAUSING_TO_STOP] = { container_post_unpause_to_stop, true, NULL, NULL },
};

static Member *container_free(Member *member);
static void container_prepare(Member *member);

static const MemberOps container_ops = {
        .free = container_free,
        .prepare = container_prepare,
        .start = container_begin,
        .stop = container_begin_stop,
        .would_stop = container_would_stop,
        .stop_budget = container_stop_budget,
};

int container_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
                  void *userdata) {
        Container *container;

        assert(ret);
        assert(context);
        assert(dependency);
        assert(handler);

        container = malloc(sizeof(*container));
        if (!container)
                return -ENOMEM;
        *container = (Container){
                .member = {
                        .ops = &container_ops,
                        .context = context,
                        .dependency = dependency,
                        .handler = handler,
                        .userdata = userdata,
                },
        };
        *ret = &container->member;
        return 0;
}

void container_cancel(Container *container) {
        container->call = engine_call_free(container->call);
        container->probe = probe_free(container->probe);
        container->composition = composition_free(container->composition);
        container->conflict = port_conflict_free(container->conflict);
        container->timer = sd_event_source_disable_unref(container->timer);
}

static Member *container_free(Member *member) {
        Container *container = container_from(member);

        container_cancel(container);
        container_info_free(container->info);
        lease_record_done(&container->record);
        lease_free(container->lease);
        strv_free(container->networks);
        free(container);
        return NULL;
}

/* Going from stage to stage */

static int container_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        container->timer = sd_event_source_disable_unref(container->timer);
        stages[container->stage].act(container);
        return 0;
}

void container_wait(Container *container, uint64_t usec) {
        int r;

        container->timer = sd_event_source_disable_unref(container->timer);
        r = sd_event_add_time_relative(container->member.context->event, &container->timer, CLOCK_MONOTONIC, usec,
                                       1, container_on_timer, container);
        if (r >= 0)
                return;
        if (container->member.phase == MEMBER_STOPPING)
                container_leave(container, "out of memory");
        else
                container_fail(container, FAILURE_START_FAILED, "out of memory");
}

/* Twenty stacks that lost the engine together shall not come back together. */
static uint64_t with_jitter(uint64_t usec) {
        uint32_t random = 0;

        (void) getrandom(&random, sizeof(random), GRND_NONBLOCK);
        return usec + random % (usec / 4 + 1);
}

bool container_is_to_ask(const Container *container) {
        return container->timer && stages[container->stage].asks_engine;
}

void container_act(Container *container) {
        container->timer = sd_event_source_disable_unref(container->timer);
        if (container->engine_lost && stages[container->stage].asks_engine) {
                container->member.lacks_engine = true;
                container_wait(container, with_jitter(RETRY_LAST));
        } else if (stages[container->stage].act)
                stages[container->stage].act(container);
}

static void container_enter(Container *container, ContainerStage stage, MemberPhase phase) {
        if (container->member.phase == MEMBER_RECOVERING && (phase == MEMBER_STARTING || phase == MEMBER_CHECKING))
                phase = MEMBER_RECOVERING;

        container_cancel(container);
        container->stage = stage;
        container->attempts = 0;
        container->member.retrying = false;
        if (phase != container->member.phase)
                member_set_phase(&container->member, phase);
}

void container_go(Container *container, ContainerStage stage, MemberPhase phase) {
        container_enter(container, stage, phase);
        container_act(container);
}

void container_go_after(Container *container, ContainerStage stage, MemberPhase phase, uint64_t usec) {
        container_enter(container, stage, phase);
        container_wait(container, usec);
}

void container_retry(Container *container) {
        uint64_t pause = MIN(RETRY_FIRST << MIN(container->attempts, 10U), RETRY_LAST);

        /* Where nobody listens, one more try is for a moment's trouble. */
        if (container->engine_lost || (container->last_outcome == ENGINE_UNREACHABLE && container->attempts > 0))
                pause = RETRY_LAST;
        if (container->attempts++ == 0) {
                container->member.retrying = true;
                container->member.handler(&container->member, container->member.userdata);
        }
        container_wait(container, with_jitter(pause));
}

void container_check_asked(Container *container, int r) {
        if (r >= 0)
                return;
        log_debug_errno(r, "Failed to ask the engine about %s: %m", member_name(&container->member));
        container_retry(container);
}

/* Every engine call goes through here, so that there is one at a time and its outcome is remembered. */
EngineOutcome container_take_reply(Container *container, const EngineReply *reply) {
        container->call = engine_call_free(container->call);
        container->last_outcome = reply->outcome;
        container->member.lacks_engine = reply->outcome == ENGINE_UNREACHABLE ||
                                         reply->outcome == ENGINE_TIMED_OUT || reply->outcome == ENGINE_BROKEN;
        return reply->outcome;
}

static const struct {
        FailureReason reason;
        const char *advice;
} outcome_failures[] = {
        [ENGINE_NO_CONTAINER] = { FAILURE_NOT_FOUND,
                                  "create it with 'docker compose up --no-start' in its project, or give the "
                                  "service a 'composeDir'" },
        [ENGINE_NO_NETWORK] = { FAILURE_NETWORK_MISSING,
                                "its network was removed or made anew; recreate the container" },
        [ENGINE_NO_IMAGE] = { FAILURE_IMAGE_MISSING, "pull or build its image" },
        [ENGINE_PORT_TAKEN] = { FAILURE_PORT_CONFLICT, "another program uses a port that it publishes" },
        [ENGINE_CONFLICT] = { FAILURE_START_FAILED, NULL },
        [ENGINE_REFUSED] = { FAILURE_START_FAILED, NULL },
        [ENGINE_BROKEN] = { FAILURE_START_FAILED, NULL },
        [ENGINE_UNREACHABLE] = { FAILURE_ENGINE_UNAVAILABLE, NULL },
        [ENGINE_TIMED_OUT] = { FAILURE_ENGINE_UNAVAILABLE, NULL },
};

static bool container_is_worth_a_try(const Container *container, EngineOutcome outcome) {
        if (!engine_outcome_is_transient(outcome))
                return false;
        /* What serves clients is not given up because the engine stammers. */
        if (container->member.phase == MEMBER_READY || container->member.phase == MEMBER_RECOVERING)
                return true;
        /* A start may be answered with 500 for reasons that lie in the container. Who cannot even say what a container is, is ill himself. */
        if (stages[container->stage].act == container_look)
                return true;
        return outcome != ENGINE_BROKEN || container->attempts < BROKEN_ATTEMPTS;
}

void container_handle_refusal(Container *container, const EngineReply *reply) {
        FailureReason reason = FAILURE_START_FAILED;
        const char *advice = NULL;

        if (container_is_worth_a_try(container, reply->outcome)) {
                log_debug("Engine, about %s: %s (%s), trying again.", member_name(&container->member),
                          reply->message, engine_outcome_to_string(reply->outcome));
                container_retry(container);
                return;
        }

        if ((size_t) reply->outcome < ELEMENTSOF(outcome_failures) &&
            outcome_failures[reply->outcome].reason != FAILURE_NONE) {
                reason = outcome_failures[reply->outcome].reason;
                advice = outcome_failures[reply->outcome].advice;
        }
        container_fail(container, reason, "%s%s%s", reply->message, advice ? "; " : "", strempty(advice));
}

void container_give_up(Container *container) {
        if (container->stage == STAGE_POSTING || container->stage == STAGE_EXPLAINING)
                container_withdraw(container);
        container_cancel(container);
        container->stage = STAGE_IDLE;
}

/* Looking */

static void container_on_look(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_NO_CONTAINER) {
                stages[container->stage].missing(container);
                return;
        }
        if (outcome != ENGINE_OK) {
                if (container->member.phase == MEMBER_STOPPING)
                        container_handle_refusal_to_stop(container, reply);
                else
                        container_handle_refusal(container, reply);
                return;
        }

        /* Another container of the same name knows nothing of what was done to the first. */
        if (container->info && !streq(container->info->id, reply->info->id))
                container->n_attached = 0;
        container_info_free(container->info);
        container->info = TAKE_PTR(reply->info);
        stages[container->stage].found(container);
}

void container_look(Container *container) {
        container->stale = false;
        container_check_asked(container, engine_inspect(&container->call, container->member.context->engine,
                                                        member_name(&container->member), CONTAINER_REQUEST_TIMEOUT,
                                                        container_on_look, container));
}

static void container_found(Container *container) {
        if (container_load_record(container) < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
        else
                container_go(container, STAGE_IDLE, MEMBER_PREPARED);
}

static void container_prepare(Member *member) {
        container_go(container_from(member), STAGE_LEASING, MEMBER_PREPARING);
}

/* Between preparation and start */

int container_attach(Member *member, const char *network) {
        Container *container = container_from(member);

        assert(member_is_container(member));
        assert(member->phase == MEMBER_PREPARED);

        return strv_contains(container->networks, network) ? 0 : strv_append(&container->networks, network);
}

void container_set_backend_port(Member *member, uint16_t port) {
        assert(member_is_container(member));

        container_from(member)->backend_port = port;
}

const ContainerInfo *container_info(const Member *member) {
        assert(member_is_container(member));

        return ((const Container *) member)->info;
}
