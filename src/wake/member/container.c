#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "command/exec-failure.h"
#include "util/printable.h"
#include "util/text.h"
#include "wake/member/container-internal.h"

/* Container: its life, from the begin of a wake until it sleeps again: one stage after the other, each of which asks or waits for one thing.
 * What a stage does, what each answer of the engine leads to, and what comes of that which happens outside meanwhile are three tables. Below
 * them is what makes them go, and then the stages in the order in which a container passes them: prepared, made, started, checked;
 * events; its death; its stop. What its networks take on the way up is container-network.c; the two files call each other, since those are
 * stages of the same life. Each container is owned by its waker.
 *
 * Five rules shape the code:
 *
 * - Nothing waits: a busy lock and an engine in trouble are tried again on one timer, with growing pauses. The waker's global
 *   timeout ends that, not the container. An engine that is gone is not asked: its event stream tells when it is back.
 * - That we are going to start it is written into the lease's record before the start is asked for. Killed in between, the next
 *   life finds the record and knows that the container, if it runs, is ours.
 * - A 204 to a start is no fact. The look afterwards is, and after that the events.
 * - What is asked about, stopped and watched is this very container, by its id, once it was seen: people rename containers, and give the
 *   name to others. Its name counts when it is gone, or ended under another name, as an upgrade leaves it.
 * - Whoever stops a container through the engine sends it a signal first, and the engine tells. A death without that is a crash. But an engine
 *   that goes down stops its containers in the same way, so nothing is concluded before it has answered once more. */

#define BROKEN_ATTEMPTS 5 /* 5xx answers in a row to more than a look, then it is no passing trouble */
#define OTHER_ATTEMPTS 9 /* 10 s: somebody may be restarting the other one */
#define RETRY_FIRST (20 * USEC_PER_MSEC)
#define RETRY_LAST (5 * USEC_PER_SEC)

/* The tables */

static ContainerAsk ask_what_it_is, ask_what_it_was, ask_start, ask_unpause, ask_logs, ask_stop, ask_pause;
static ContainerAct container_lease, container_create, container_check, container_begin_decision;
static ContainerAct container_found, container_found_again, container_missing, container_verified,
                container_decide, container_examined, container_vanished, container_found_to_stop;

typedef struct Stage {
        MemberPhase phase, or_phase; /* what others see; a member that is in the second one stays in it */
        ContainerAsk *ask; /* what the engine is asked, when it begins and on each new try */
        ContainerAct *act; /* or what else is done then */
        ContainerAct *found, *missing; /* the question was what it is */
        const char *word; /* why it is not ready yet */
} Stage;

#define LOOK(found, missing) ask_what_it_is, NULL, found, missing

static const Stage stages[_STAGE_MAX] = {
        [STAGE_LEASING] = { MEMBER_PREPARING, 0, NULL, container_lease,
                            .word = "another service is putting it to sleep" },
        [STAGE_LOOKING] = { MEMBER_PREPARING, 0, LOOK(container_found, container_missing) },
        [STAGE_LOOKING_BACK] = { MEMBER_STARTING, MEMBER_PREPARING, ask_what_it_was },
        [STAGE_CREATING] = { MEMBER_STARTING, MEMBER_PREPARING, NULL, container_create,
                             .word = "compose has not made it yet" },
        [STAGE_LOOKING_AGAIN] = { MEMBER_STARTING, 0, LOOK(container_found_again, container_missing) },
        [STAGE_AWAITING_OWNER] = { MEMBER_STARTING },
        [STAGE_LOOKING_AT_OWNER] = { MEMBER_STARTING, 0, container_ask_owner },
        [STAGE_REJOINING] = { MEMBER_STARTING, 0, container_ask_restart,
                              .word = "the engine has not answered its restart" },
        [STAGE_ASKING_NETWORK] = { MEMBER_STARTING, 0, container_ask_network },
        [STAGE_ATTACHING] = { MEMBER_STARTING, 0, container_ask_attachment,
                              .word = "the engine has not attached it to a network yet" },
        [STAGE_POSTING] = { MEMBER_STARTING, 0, ask_start, .word = "the engine has not answered its start" },
        [STAGE_UNPAUSING] = { MEMBER_STARTING, 0, ask_unpause,
                              .word = "the engine has not answered its unpausing" },
        [STAGE_ASKING_ADDRESS] = { MEMBER_STARTING, 0, container_ask_address },
        [STAGE_REPAIRING] = { MEMBER_STARTING, 0, container_ask_repair },
        [STAGE_VERIFYING] = { MEMBER_CHECKING, MEMBER_READY, LOOK(container_verified, container_vanished) },
        [STAGE_CHECKING] = { MEMBER_CHECKING, 0, NULL, container_check },
        [STAGE_COMPLETING] = { MEMBER_CHECKING,
                               .word = "it has not ended yet, and has the condition 'completed'" },
        [STAGE_COMING_BACK] = { MEMBER_CHECKING, 0, NULL, container_begin_decision,
                                .word = "it has ended, and whether somebody starts it again is waited for" },
        [STAGE_DECIDING] = { MEMBER_CHECKING, 0, LOOK(container_decide, container_vanished) },
        [STAGE_EXAMINING] = { MEMBER_CHECKING, 0, LOOK(container_examined, container_vanished), "it has died" },
        [STAGE_TELLING] = { MEMBER_CHECKING, 0, ask_logs, .word = "it has died" },
        [STAGE_LOOKING_TO_STOP] = { MEMBER_STOPPING, 0, LOOK(container_found_to_stop, container_set_stopped) },
        [STAGE_STOPPING] = { MEMBER_STOPPING, 0, ask_stop },
        [STAGE_PAUSING] = { MEMBER_STOPPING, 0, ask_pause },
        [STAGE_UNPAUSING_TO_STOP] = { MEMBER_STOPPING, 0, ask_unpause },
        [STAGE_DETACHING] = { MEMBER_STOPPING, 0, container_ask_detachment },
};

static ContainerTake container_looked, container_looked_back, note_started, note_not_started, note_unpaused,
                container_look_anew, container_on_start_refused, container_on_start_unanswered,
                container_on_start_of_nothing, container_on_logs, container_on_stopped,
                container_on_stop_of_paused, container_on_paused, container_on_pause_of_nothing,
                container_on_pause_refused;

#define OK (1U << ENGINE_OK)
#define ALREADY (1U << ENGINE_ALREADY)
#define NO_CONTAINER (1U << ENGINE_NO_CONTAINER)
#define NO_NETWORK (1U << ENGINE_NO_NETWORK)
#define PAUSED (1U << ENGINE_PAUSED)
#define REFUSED (1U << ENGINE_REFUSED | 1U << ENGINE_PORT_TAKEN)
#define NO_ANSWER (1U << ENGINE_UNREACHABLE | 1U << ENGINE_TIMED_OUT)
#define BROKEN (1U << ENGINE_BROKEN)
#define ANY (~0U)

/* The first that fits counts. None: another try, or the end (container_handle_refusal()). */
const ContainerAnswer container_answers[] = {
        { STAGE_LOOKING, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_LOOKING_BACK, OK | NO_CONTAINER, STAGE_IDLE, container_looked_back },
        { STAGE_LOOKING_AGAIN, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_LOOKING_AT_OWNER, OK, STAGE_IDLE, container_on_owner },
        { STAGE_LOOKING_AT_OWNER, NO_CONTAINER, STAGE_IDLE, container_on_no_owner },
        /* Its events may come later than this. */
        { STAGE_REJOINING, OK | NO_CONTAINER, STAGE_LOOKING_AGAIN, NULL },
        { STAGE_ASKING_NETWORK, OK, STAGE_ATTACHING, NULL },
        { STAGE_ASKING_NETWORK, NO_NETWORK, STAGE_IDLE, container_on_no_network },
        { STAGE_ATTACHING, OK | ALREADY, STAGE_IDLE, container_on_attached },
        { STAGE_ATTACHING, NO_NETWORK, STAGE_IDLE, container_on_no_network },
        { STAGE_POSTING, OK, STAGE_VERIFYING, note_started },
        { STAGE_POSTING, ALREADY, STAGE_VERIFYING, note_not_started },
        { STAGE_POSTING, PAUSED, STAGE_UNPAUSING, note_not_started }, /* somebody has, since we looked */
        { STAGE_POSTING, NO_CONTAINER, STAGE_IDLE, container_on_start_of_nothing },
        { STAGE_POSTING, NO_NETWORK, STAGE_IDLE, container_on_lost_network },
        { STAGE_POSTING, REFUSED, STAGE_IDLE, container_on_start_refused },
        { STAGE_POSTING, NO_ANSWER | BROKEN, STAGE_IDLE, container_on_start_unanswered },
        { STAGE_UNPAUSING, OK, STAGE_VERIFYING, note_unpaused },
        { STAGE_UNPAUSING, ALREADY, STAGE_VERIFYING, NULL },
        { STAGE_UNPAUSING, NO_CONTAINER, STAGE_IDLE, container_look_anew },
        { STAGE_ASKING_ADDRESS, ANY, STAGE_IDLE, container_on_address },
        { STAGE_REPAIRING, OK, STAGE_LOOKING_AGAIN, container_on_repaired },
        { STAGE_VERIFYING, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_DECIDING, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_EXAMINING, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_TELLING, ANY, STAGE_IDLE, container_on_logs },
        { STAGE_LOOKING_TO_STOP, OK | NO_CONTAINER, STAGE_IDLE, container_looked },
        { STAGE_STOPPING, OK | ALREADY | NO_CONTAINER, STAGE_IDLE, container_on_stopped },
        { STAGE_STOPPING, PAUSED, STAGE_IDLE, container_on_stop_of_paused }, /* Podman does not stop that */
        { STAGE_PAUSING, OK | ALREADY | PAUSED, STAGE_IDLE, container_on_paused },
        { STAGE_PAUSING, NO_CONTAINER | 1U << ENGINE_NOT_RUNNING, STAGE_IDLE, container_on_pause_of_nothing },
        { STAGE_PAUSING, ~NO_ANSWER, STAGE_IDLE, container_on_pause_refused },
        { STAGE_UNPAUSING_TO_STOP, OK | ALREADY | NO_CONTAINER, STAGE_STOPPING, NULL },
        { STAGE_DETACHING, ANY, STAGE_IDLE, container_on_detached },
};
const size_t n_container_answers = ELEMENTSOF(container_answers);

/* Columns: it starts, dies, was stopped by somebody, was removed; the engine is gone, is back. */
const ContainerReaction container_reactions[_VIEW_MAX][_HAPPENED_MAX] = {
        [VIEW_RESTING] = { REACT_NOTE, REACT_NOTE, REACT_NOTE, REACT_NOTE, REACT_ASK, REACT_NOTE_AND_ASK },
        [VIEW_READY] = { REACT_VERIFY, REACT_DEATH, REACT_WISH, REACT_WISHED_DEATH, REACT_NOT, REACT_VERIFY },
        [VIEW_READY_VERIFYING] = { REACT_VERIFY, REACT_DEATH, REACT_WISH, REACT_WISHED_DEATH, REACT_VERIFY,
                                   REACT_VERIFY },
        [VIEW_RUNNING] = { REACT_NOT, REACT_DEATH, REACT_NOT, REACT_WISHED_DEATH, REACT_VERIFY, REACT_ASK },
        [VIEW_VERIFYING] = { REACT_NOT, REACT_NOTE, REACT_NOT, REACT_NOT, REACT_VERIFY, REACT_ASK },
        [VIEW_GONE] = { REACT_VERIFY, REACT_NOTE, REACT_LATE_WISH, REACT_WISHED_DEATH, REACT_DECIDE, REACT_ASK },
        [VIEW_DYING] = { REACT_NOT, REACT_NOTE, REACT_LATE_WISH, REACT_WISHED_DEATH, REACT_DECIDE, REACT_ASK },
        [VIEW_BUSY] = { REACT_NOT, REACT_NOTE, REACT_NOT, REACT_NOT, REACT_ASK, REACT_ASK },
        [VIEW_OVER] = { REACT_NOT, REACT_NOT, REACT_NOT, REACT_NOT, REACT_NOT, REACT_ASK },
};

bool container_stage_asks(ContainerStage stage) {
        return stages[stage].ask;
}

const ContainerAnswer *container_answer_to(ContainerStage stage, EngineOutcome outcome) {
        for (size_t i = 0; i < n_container_answers; i++)
                if (container_answers[i].stage == stage && (container_answers[i].outcomes & 1U << outcome) != 0)
                        return &container_answers[i];
        return NULL;
}

ContainerView container_view(const Container *container) {
        MemberPhase phase = container->member.phase;

        if (phase <= MEMBER_PREPARED || phase == MEMBER_FAILED)
                return VIEW_RESTING;
        if (phase >= MEMBER_LOST ||
            (phase == MEMBER_READY && container->member.dependency->condition == CONDITION_COMPLETED))
                return VIEW_OVER;
        switch (container->stage) {
        case STAGE_CHECKING:
        case STAGE_COMPLETING:
                return VIEW_RUNNING;
        case STAGE_VERIFYING:
                return phase == MEMBER_READY ? VIEW_READY_VERIFYING : VIEW_VERIFYING;
        case STAGE_COMING_BACK:
        case STAGE_DECIDING:
                return VIEW_GONE;
        case STAGE_EXAMINING:
        case STAGE_TELLING:
                return VIEW_DYING;
        default:
                return phase == MEMBER_READY ? VIEW_READY : VIEW_BUSY;
        }
}

/* Going from stage to stage */

static void container_leave(Container *container, const char *why);
static void container_handle_refusal_to_stop(Container *container, const EngineReply *reply);

static void container_cancel(Container *container) {
        container->call = engine_call_free(container->call);
        container->probe = probe_free(container->probe);
        container->composition = composition_free(container->composition);
        container->timer = sd_event_source_disable_unref(container->timer);
}

static int container_on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static void container_wait(Container *container, uint64_t usec) {
        int r;

        container->timer = sd_event_source_disable_unref(container->timer);
        r = sd_event_add_time_relative(container->member.context->event, &container->timer, CLOCK_MONOTONIC, usec,
                                       1, container_on_timer, container);
        if (r < 0 && container->member.phase == MEMBER_STOPPING)
                container_leave(container, "out of memory");
        else if (r < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
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
        /* Twenty stacks that lost the engine together shall not come back together. */
        container_wait(container, usec_between(pause, pause + pause / 4));
}

static void container_act(Container *container) {
        const Stage *stage = &stages[container->stage];
        int r;

        container->timer = sd_event_source_disable_unref(container->timer);
        if (stage->act)
                stage->act(container);
        if (!stage->ask)
                return;
        r = stage->ask(container);
        if (r >= 0)
                return;
        log_debug_errno(r, "Failed to ask the engine about %s: %m", container_name(container));
        container_retry(container);
}

static int container_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        container_act(ASSERT_PTR(userdata));
        return 0;
}

/* Now, unless that means asking an engine that is known to be gone. */
static void container_act_if_there(Container *container) {
        if (container->engine_lost && container_stage_asks(container->stage)) {
                container->member.lacks_engine = true;
                container_wait(container, usec_between(RETRY_LAST, RETRY_LAST + RETRY_LAST / 4));
        } else
                container_act(container);
}

static void container_enter(Container *container, ContainerStage stage, MemberPhase phase) {
        container_cancel(container);
        container->stage = stage;
        container->said = mfree(container->said);
        container->attempts = 0;
        container->member.retrying = false;
        member_pass_to(&container->member, phase);
}

static void container_enter_stage(Container *container, ContainerStage stage) {
        MemberPhase phase = container->member.phase;

        container_enter(container, stage,
                        phase > MEMBER_NEW && phase == stages[stage].or_phase ? phase : stages[stage].phase);
}

void container_go(Container *container, ContainerStage stage) {
        container_enter_stage(container, stage);
        container_act_if_there(container);
}

static void container_go_after(Container *container, ContainerStage stage, uint64_t usec) {
        container_enter_stage(container, stage);
        container_wait(container, usec);
}

void container_settle(Container *container, MemberPhase phase) {
        container_enter(container, STAGE_IDLE, phase);
}

void container_fail(Container *container, FailureReason reason, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);

        if (container->stage == STAGE_POSTING)
                container_withdraw(container);
        container_cancel(container);
        container->stage = STAGE_IDLE;
        member_fail(&container->member, reason, "%s", strempty(text));
}

/* The engine answers */

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
        [ENGINE_OTHER_STOPPED] = { FAILURE_START_FAILED,
                                   "add that one to the dependencies, with a lower startOrder ('wakectl check --engine' says its "
                                   "name), or start it" },
        [ENGINE_PART_MISSING] = { FAILURE_NOT_FOUND,
                                  "that is gone, and it was made with it: 'docker compose up --no-start --force-recreate' in its "
                                  "project makes it anew" },
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
        if (outcome == ENGINE_OTHER_STOPPED)
                return container->attempts < OTHER_ATTEMPTS;
        /* A start may be answered with 500 for reasons that lie in the container. Who cannot even say what a container is, is ill himself. */
        return stages[container->stage].found || outcome != ENGINE_BROKEN || container->attempts < BROKEN_ATTEMPTS;
}

/* Arranges either another try or the end. */
static void container_handle_refusal(Container *container, const EngineReply *reply) {
        FailureReason reason = FAILURE_START_FAILED;
        const char *advice = NULL;

        if (container_is_worth_a_try(container, reply->outcome)) {
                log_debug("Engine, about %s: %s (%s), trying again.", container_name(container), reply->message,
                          engine_outcome_to_string(reply->outcome));
                free(container->said);
                container->said = strdup(reply->message);
                container_retry(container);
                return;
        }

        if ((size_t) reply->outcome < ELEMENTSOF(outcome_failures) &&
            outcome_failures[reply->outcome].reason != FAILURE_NONE) {
                reason = outcome_failures[reply->outcome].reason;
                advice = outcome_failures[reply->outcome].advice;
        }
        if (reason == FAILURE_START_FAILED && !advice)
                advice = exec_failure_explain_start(reply->message);
        container_fail(container, reason, "%s%s%s", reply->message, advice ? "; " : "", strempty(advice));
}

void container_on_reply(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        const ContainerAnswer *answer = container_answer_to(container->stage, reply->outcome);

        container->call = engine_call_free(container->call);
        container->last_outcome = reply->outcome;
        container->member.lacks_engine = reply->outcome == ENGINE_UNREACHABLE ||
                                         reply->outcome == ENGINE_TIMED_OUT || reply->outcome == ENGINE_BROKEN;
        if (answer && answer->then)
                answer->then(container, reply);
        else if (!answer && container->member.phase == MEMBER_STOPPING)
                container_handle_refusal_to_stop(container, reply);
        else if (!answer)
                container_handle_refusal(container, reply);
        if (answer && answer->next != STAGE_IDLE)
                container_go(container, answer->next);
}

/* Looking: what it is, by its id, or by its name if that is gone or out of the way. */

const char *container_reference(const Container *container) {
        return container->info ? container->info->id : container_name(container);
}

static int ask_what_it_is(Container *container) {
        container->stale = false;
        return engine_inspect(&container->call, container_engine(container),
                              container->by_name ? container_name(container) : container_reference(container),
                              CONTAINER_REQUEST_TIMEOUT, container_on_reply, container);
}

static void container_note_renamed(Container *container, const char *name) {
        free(container->renamed_to);
        container->renamed_to = name ? strdup(name) : NULL;
}

/* Compose makes a container anew under the name of the old one, which is there for a moment longer under another. */
static bool is_remake(const ContainerInfo *old, const ContainerInfo *info) {
        return old->compose_service && info->compose_service &&
               streq(old->compose_service, info->compose_service) &&
               streq(strempty(old->compose_project), strempty(info->compose_project));
}

/* It is not what is wanted of this name: either it is gone, or it has ended under another one. */
static bool container_is_out_of_the_way(Container *container, const ContainerInfo *found) {
        const char *name = container_name(container);

        if (!container->info || container->by_name)
                return false;
        container_note_renamed(container, found && !streq(found->name, name) ? found->name : NULL);
        return !found || (container->renamed_to && !found->running);
}

static void container_set_info(Container *container, ContainerInfo *info) {
        container_info_free(container->info);
        container->info = info;
}

static void container_looked(Container *container, EngineReply *reply) {
        bool found = reply->outcome == ENGINE_OK;

        if (container_is_out_of_the_way(container, found ? reply->info : NULL)) {
                if (found)
                        container_set_info(container, TAKE_PTR(reply->info));
                container->by_name = true;
                container_act_if_there(container);
                return;
        }
        if (!found) {
                /* Nobody else has its name: it is still the one. */
                bool still = container->by_name && container->info && container->renamed_to;

                container->by_name = container->by_name && !still;
                (still ? stages[container->stage].found : stages[container->stage].missing)(container);
                return;
        }

        /* Another container of the same name knows nothing of what was done to the first. */
        if (container->info && !streq(container->info->id, reply->info->id)) {
                container->n_attached = container->n_detached = 0;
                container->attached = strv_free(container->attached);
                container->owner_exists = false;
                container->remade = !container->renamed_to || is_remake(container->info, reply->info);
                if (!container->remade)
                        container->started_now = container->unpaused_now = false;
        }
        container->by_name = false;
        container_set_info(container, TAKE_PTR(reply->info));
        container_take_networks(container);
        stages[container->stage].found(container);
}

/* Whose it is. The record says it: of the container of this name, also when somebody else has started it or made it anew; only one that took the
 * name from a container that still exists is another one. Who began the run that is under way is told by the record too, if it names that run; one
 * that names none yet was written by a life of ours that was about to start the container. */

/* Is the run that was seen last the one that the record names? */
static bool container_run_is_of(const Container *container, const LeaseRecord *record) {
        return record->started_at && streq(record->started_at, container->info->started_at) &&
               (!record->container_id || streq(record->container_id, container->info->id));
}

/* Did wakechain begin the run that was seen last? */
static bool container_was_begun(const Container *container) {
        const LeaseRecord *record = &container->member.record;
        const ContainerInfo *info = container->info;

        if (!record->ours || !record->wake_id || !info->running)
                return false;
        if (container_run_is_of(container, record))
                return true;
        if (record->asleep)
                return false;
        if (!record->started_at && !record->restored)
                return true;
        /* Then somebody has started it by hand; but an engine that itself starts what it ran before, after a reboot for example, goes on
         * with what we began. */
        return record->container_id && streq(record->container_id, info->id) && !streq(info->restart_policy, "no");
}

/* What another service wrote meanwhile counts: it may have started the container that we found running, or adopted it. -ENOMEM. */
static int container_read_record(Container *container) {
        const MemberContext *context = container->member.context;
        LeaseRecord *record = &container->member.record;
        int r;

        assert(container->info);

        lease_record_done(record);
        r = lease_read(container->member.lease, record);
        if (r < 0)
                return r;
        /* Somebody's own, under a name that was free. */
        if (!container->remade && record->container_id && !streq(record->container_id, container->info->id))
                lease_record_done(record);

        container->begun = container->started_now || container_was_begun(container);
        if (container->started_now) {
                member_make_ours(&container->member);
                record->asleep = false;
                if (!record->wake_id)
                        record->wake_id = strdup(context->wake_id);
        } else if (!container->begun)
                record->wake_id = mfree(record->wake_id);
        if (container->info->running && context->service->adopt == ADOPT_ALL &&
            !container->member.dependency->implied)
                member_make_ours(&container->member);
        return 0;
}

/* The same; false: it has failed. */
static bool container_load_record(Container *container) {
        if (container_read_record(container) >= 0)
                return true;
        container_fail(container, FAILURE_START_FAILED, "out of memory");
        return false;
}

/* The run that was seen last goes into the record. */
static void container_note_run(Container *container) {
        LeaseRecord *record = &container->member.record;

        free(record->started_at);
        record->started_at = strdup(container->info->started_at);
        free(record->container_id);
        record->container_id = strdup(container->info->id);
}

/* That run of it is over. Whose it is stays as it is. */
static void container_note_end(Container *container) {
        container->started_now = container->unpaused_now = container->begun = false;
        container->member.record.asleep = true;
        container->member.record.ready = false;
        if (container->info)
                container_note_run(container);
        member_write_record(&container->member);
}

void container_announce(Container *container) {
        const MemberContext *context = container->member.context;
        LeaseRecord *record = &container->member.record;

        /* What we had begun stays so, whoever is first to start it again. */
        container->started_now = container->started_now || container->begun;
        container->was_known = record->ours;
        container->by_engine = false;
        lease_record_done(record);
        *record = (LeaseRecord){
                .ours = true,
                .service = strdup(context->service->name),
                .wake_id = strdup(context->wake_id),
                .container_id = strdup(container->info->id),
        };
        member_write_record(&container->member);
}

void container_withdraw(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord written = {};
        LeaseRecord *record = &container->member.record;

        if (container->started_now)
                return;
        lease_record_done(record);
        if (container->was_known) {
                member_make_ours(&container->member);
                record->asleep = true;
                record->container_id = strdup(container->info->id);
        }
        /* Another wake may have announced the same. */
        if (lease_read(container->member.lease, &written) >= 0 && written.ours && !written.started_at &&
            written.wake_id && streq(written.wake_id, container->member.context->wake_id))
                member_write_record(&container->member);
}

/* Preparing: its lock, then what it is. */

static void container_prepare(Member *member) {
        container_go(container_from(member), STAGE_LEASING);
}

static void container_lease(Container *container) {
        int r;

        r = member_take_lease(&container->member);
        if (r == -EAGAIN)
                container_wait(container, LEASE_RETRY);
        else if (r < 0)
                container_fail(container, FAILURE_START_FAILED, "cannot %s its lease: %s",
                               container->member.lease ? "take" : "open", strerror(-r));
        else
                container_go(container, STAGE_LOOKING);
}

static void container_set_prepared(Container *container) {
        if (container_load_record(container))
                container_settle(container, MEMBER_PREPARED);
}

static void container_found(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        if (lease_read(container->member.lease, &record) >= 0 && record.ours && record.container_id &&
            !streq(record.container_id, container->info->id))
                container_go(container, STAGE_LOOKING_BACK);
        else
                container_set_prepared(container);
}

static int ask_what_it_was(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        int r;

        r = lease_read(container->member.lease, &record);
        return r < 0 ? r
                     : engine_inspect(&container->call, container_engine(container), strempty(record.container_id),
                                      CONTAINER_REQUEST_TIMEOUT, container_on_reply, container);
}

static void container_looked_back(Container *container, EngineReply *reply) {
        container->looked_back = true;
        container_note_renamed(container, reply->outcome == ENGINE_OK ? reply->info->name : NULL);
        if (!container->info) {
                container_missing(container);
                return;
        }
        container->remade = !container->renamed_to || is_remake(reply->info, container->info);
        if (!container->remade)
                member_tell(&container->member, LOG_NOTICE, DEPENDENCY_PENDING,
                            "is another container than it was: that is called %s now", container->renamed_to);
        container_set_prepared(container);
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

/* Making it, if it does not exist: an upgrade renames the old one, and the new one is there at once; else compose does. */

#define RENAMED_LOOKS 10U
#define RENAMED_PAUSE (300 * USEC_PER_MSEC)

static void container_missing(Container *container) {
        bool preparing = container->member.phase == MEMBER_PREPARING;
        _cleanup_(lease_record_done) LeaseRecord record = {};

        /* The record may speak of one that has another name now. */
        if (!container->info && !container->looked_back && lease_read(container->member.lease, &record) >= 0 &&
            record.container_id)
                container_go(container, STAGE_LOOKING_BACK);
        else if (container->renamed_to && container->renamed_looks++ < RENAMED_LOOKS)
                container_go_after(container, preparing ? STAGE_LOOKING : STAGE_LOOKING_AGAIN, RENAMED_PAUSE);
        else if (container->renamed_to)
                container_fail(container, FAILURE_NOT_FOUND,
                               "it does not exist, it was renamed to '%s': give it its name back with 'docker rename %s %s', or "
                               "have dependencies.json name it so",
                               container->renamed_to, container->renamed_to, container_name(container));
        else if (container->created)
                container_fail(container, FAILURE_NOT_FOUND,
                               "it does not exist, although compose says that it has created it");
        else if (container->member.context->composer)
                container_go(container, STAGE_CREATING);
        else
                container_fail(container, FAILURE_NOT_FOUND,
                               "it does not exist; create it with 'docker compose up --no-start' in its project, "
                               "or give the service a 'composeDir'");
}

static void container_on_created(Composition *composition, FailureReason reason, const char *sentence,
                                 void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        bool anew = container->anew, preparing = container->member.phase == MEMBER_PREPARING;

        container->anew = false;
        if (reason == FAILURE_NOT_FOUND && anew)
                container_fail(container, FAILURE_NETWORK_MISSING, "%s; 'composeDir' does not help: %s",
                               strempty(container->advice), sentence);
        else if (reason != FAILURE_NONE)
                container_fail(container, reason, "%s", sentence);
        else
                container_go(container, preparing ? STAGE_LOOKING : STAGE_LOOKING_AGAIN);
}

static void container_create(Container *container) {
        int r;

        if (!container->anew) {
                container->created = true;
                member_tell(&container->member, LOG_INFO, DEPENDENCY_PENDING, "does not exist, creating it");
        }
        r = composer_create(&container->composition, container->member.context->composer,
                            container_name(container), container->anew, container_on_created, container);
        if (r < 0)
                container_fail(container, FAILURE_NOT_FOUND, "it has to be made, and compose cannot be run: %s",
                               strerror(-r));
}

/* Starting it.
 *
 * Two wakes may start the same container at the same time, since each holds a shared lease. Both announce it in the record; the engine
 * answers 204 to one and 304 to the other, whose announcement is withdrawn: whoever got the 204 says once more in the record that it is
 * ours, or somebody has started it by hand in that very moment. */

#define UNPAUSE_AGAIN USEC_PER_SEC /* somebody has paused it meanwhile */
#define LOOK_ANEW_PAUSE (20 * USEC_PER_MSEC)

static ContainerAct container_await_return, container_complete, container_check_if_needed;

void container_begin(Container *container) {
        if (container->stale)
                container_go(container, STAGE_LOOKING_AGAIN);
        else
                container_use(container);
}

static void container_start(Member *member) {
        container_begin(container_from(member));
}

static void container_found_again(Container *container) {
        if (container->stale)
                container_go(container, STAGE_LOOKING_AGAIN);
        else if (container_load_record(container))
                container_use(container);
}

static bool container_runs(const Container *container) {
        return container->info->running && !container->info->restarting;
}

/* A one-shot that exited with 0, as far as the last look says. */
static bool container_has_completed(const Container *container) {
        return container->member.dependency->condition == CONDITION_COMPLETED && !container->info->running &&
               container->info->ever_started && container->info->exit_code == 0;
}

/* A one-shot that was ended before its time left a record of that run, which is over and was not ready. */
static bool container_was_interrupted(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        return lease_read(container->member.lease, &record) >= 0 && record.asleep && !record.ready &&
               container_run_is_of(container, &record);
}

void container_use(Container *container) {
        const ContainerInfo *info = container->info;

        if (container_has_completed(container) && !container_was_interrupted(container))
                container_complete(container);
        else if (container_begin_joining(container) || container_begin_attaching(container))
                return;
        else if (!info->running && container_is_lost_by_stop(&container->member))
                container_fail(container, FAILURE_CONFIG_INVALID,
                               "it was made by 'docker run --rm', so that to put it to sleep would delete it: make it "
                               "without '--rm', or give the service a 'composeDir' whose project makes it");
        else if (!info->running) {
                container_announce(container);
                container_go(container, STAGE_POSTING);
        } else if (info->restarting)
                container_await_return(container);
        else if (info->paused && container->unpaused_now)
                container_go_after(container, STAGE_UNPAUSING, UNPAUSE_AGAIN);
        else if (info->paused)
                container_go(container, STAGE_UNPAUSING);
        else
                container_check_if_needed(container);
}

static int ask_start(Container *container) {
        container->killed = false;
        return engine_start(&container->call, container_engine(container), container_reference(container),
                            CONTAINER_START_TIMEOUT, container_on_reply, container);
}

static void note_started(Container *container, EngineReply *reply) {
        container->started_now = true;
}

static void note_not_started(Container *container, EngineReply *reply) {
        container_withdraw(container);
}

/* It may be carried out still. */
static void container_on_start_unanswered(Container *container, EngineReply *reply) {
        container->started_now = true;
        container_handle_refusal(container, reply);
}

static void container_on_start_refused(Container *container, EngineReply *reply) {
        if (container_has_taken_address(container, reply))
                container_go(container, STAGE_ASKING_ADDRESS);
        else if (reply->outcome == ENGINE_PORT_TAKEN)
                container_fail(container, FAILURE_PORT_CONFLICT, "%s; `%s` says who has the port", reply->message,
                               strcasestr(reply->message, "udp") ? "ss -lunp" : "ss -ltnp");
        else
                container_handle_refusal(container, reply);
}

/* The engine does not know its id any more: who has the name? */
static void container_look_anew(Container *container, EngineReply *reply) {
        /* Or that of its owner. */
        container->owner_exists = false;
        container_set_info(container, NULL);
        container->by_name = false;
        container_go_after(container, STAGE_LOOKING_AGAIN, LOOK_ANEW_PAUSE);
}

static void container_on_start_of_nothing(Container *container, EngineReply *reply) {
        const char *owner = container_info_owner(container->info), *message = reply->message;

        container_withdraw(container);
        /* The sentence names neither it nor whose network it has, which is looked after elsewhere: it is there, and another one is not that it
         * was made with. */
        if (strcasestr(message, "no such container") && !strstr(message, container->info->id) &&
            !strstr(message, container_name(container)) && !(owner && strstr(message, owner))) {
                reply->outcome = ENGINE_PART_MISSING;
                container_handle_refusal(container, reply);
        } else
                container_look_anew(container, reply);
}

static int ask_unpause(Container *container) {
        return engine_unpause(&container->call, container_engine(container), container_reference(container),
                              container->stage == STAGE_UNPAUSING ? CONTAINER_START_TIMEOUT
                                                                  : CONTAINER_REQUEST_TIMEOUT,
                              container_on_reply, container);
}

static void note_unpaused(Container *container, EngineReply *reply) {
        container->unpaused_now = true;
}

/* Checking it: it was asked to run, or says that it does: does it, and is it ready? */

static void container_on_death(Container *container);
static int container_limit_probe(Container *container);
static void container_fail_for_good(Container *container, const char *why);

static void container_verified(Container *container) {
        if (container_has_completed(container) && !container->killed) {
                container_complete(container);
                return;
        }
        if (!container_runs(container) || container->stale) {
                container_on_death(container);
                return;
        }

        if (container->member.phase == MEMBER_READY) {
                if (container_run_is_of(container, &container->member.record)) {
                        container_settle(container, MEMBER_READY);
                        container->by_engine = false;
                        /* Its addresses may be others. */
                        container->member.handler(&container->member, container->member.userdata);
                        return;
                }
                member_set_phase(&container->member, MEMBER_RECOVERING);
        }
        container->by_engine = false;
        if (container_load_record(container))
                container_use(container);
}

static void container_set_ready(Container *container) {
        container->by_engine = false;
        container->settled_usec = time_now(CLOCK_MONOTONIC);
        container->member.in_vain = false;
        container->until_usec = 0;
        container->told = false;
        container_settle(container, MEMBER_READY);
}

/* It runs: is that enough, and is this the run that is known to be ready? */
static void container_check_if_needed(Container *container) {
        DependencyCondition condition = container->member.dependency->condition;
        LeaseRecord *record = &container->member.record;

        if (container_is_lost_by_stop(&container->member) && !container->told_of_rm) {
                container->told_of_rm = true;
                member_tell(&container->member, LOG_WARNING, DEPENDENCY_CHECKING,
                            "was made by 'docker run --rm', so that to stop it would delete it: it is left running");
        }
        if (!container_run_is_of(container, record)) {
                container_note_run(container);
                record->ready = record->asleep = false;
                member_write_record(&container->member);
        } else if (record->asleep) {
                record->asleep = false;
                member_write_record(&container->member);
        }

        if (condition == CONDITION_COMPLETED)
                container_go(container, STAGE_COMPLETING);
        else if (condition == CONDITION_READY && !record->ready) {
                /* Its addresses are known by now. */
                container->member.handler(&container->member, container->member.userdata);
                container_go(container, STAGE_CHECKING);
        } else {
                member_tell(&container->member, LOG_INFO, DEPENDENCY_READY, "%s",
                            record->ready ? "was ready already" : "is started");
                container_set_ready(container);
        }
}

static void container_on_probe(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        char text[SPAN_MAX];

        if (verdict == PROBE_TIMED_OUT && container->member.in_vain)
                container_fail_for_good(container, NULL);
        else if (verdict == PROBE_TIMED_OUT)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED,
                               "not ready after %s: %s; a longer 'healthCheck.timeout' gives it more time",
                               span_to_string(probe_budget(probe), text), detail);
        else if (verdict == PROBE_BROKEN)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its health check cannot be made: %s",
                               detail);
        else if (container_load_record(container)) {
                container_note_run(container);
                container->member.record.ready = true;
                member_write_record(&container->member);
                member_tell_ready(&container->member, "ready");
                container_set_ready(container);
        }
}

static void container_check(Container *container) {
        const MemberContext *context = container->member.context;
        int r;

        r = probe_new(&container->probe, context->event, context->engine, container->member.dependency,
                      container->info, container->member.dependency->network, container->backend_port,
                      context->environment, container_on_probe, container);
        if (r >= 0)
                r = container_limit_probe(container);
        if (r < 0)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its health check cannot be made: %s",
                               strerror(-r));
}

static void container_complete(Container *container) {
        container->info->running = false;
        container_note_end(container);
        container->member.record.ready = true;
        member_write_record(&container->member);
        member_tell(&container->member, LOG_INFO, DEPENDENCY_READY, "has completed");
        container_set_ready(container);
}

/* Events, and that the engine itself is gone or back. What happens to a container before its turn, or after it has failed, is only noted, and
 * looked at when it matters. */

/* Another container has its name, or had it at that moment. */
static bool event_is_of_another(const Container *container, const ContainerEvent *event) {
        return container->info && !isempty(event->id) && !streq(event->id, container->info->id);
}

/* It is believed to run. */
static bool container_is_watched(const Container *container) {
        ContainerView view = container_view(container);

        return view == VIEW_RUNNING || container->member.phase == MEMBER_READY;
}

/* What is under way is not begun anew by the one that asks. */
static void container_ask_now(Container *container) {
        if (container->timer && container_stage_asks(container->stage))
                container_act_if_there(container);
}

static void container_react(Container *container, ContainerHappening happening) {
        switch (container_reactions[container_view(container)][happening]) {
        case REACT_NOT:
                break;
        case REACT_NOTE_AND_ASK:
                container->stale = true;
                __attribute__((fallthrough));
        case REACT_ASK:
                container_ask_now(container);
                break;
        case REACT_NOTE:
                container->stale = true;
                break;
        case REACT_WISH:
                container->killed = true;
                break;
        case REACT_LATE_WISH:
                if (container->member.phase != MEMBER_RECOVERING || container->killed)
                        break;
                __attribute__((fallthrough));
        case REACT_WISHED_DEATH:
                container->killed = true;
                __attribute__((fallthrough));
        case REACT_DEATH:
                container_on_death(container);
                break;
        case REACT_VERIFY:
                container_go(container, STAGE_VERIFYING);
                break;
        case REACT_DECIDE:
                container_go(container, STAGE_DECIDING);
                break;
        }
}

void container_on_event(Member *member, const ContainerEvent *event) {
        Container *container = container_from(member);
        ContainerView view = container_view(container);
        bool another = event_is_of_another(container, event);

        assert(member_is_container(member));

        if (view == VIEW_RESTING) {
                container->stale = true;
                return;
        }
        if (event->type != CONTAINER_EVENT_START && another) {
                /* It may be the one that is being looked at in its place. */
                container->stale = container->stale || !container_is_watched(container);
                return;
        }
        if (view == VIEW_OVER)
                return;

        switch (event->type) {
        case CONTAINER_EVENT_START:
                if (!another) {
                        container->killed = false;
                        container->begun_usec = time_now(CLOCK_MONOTONIC);
                }
                container_react(container, HAPPENED_START);
                break;
        case CONTAINER_EVENT_KILL:
                if (event->signal == SIGKILL || event->signal == SIGTERM ||
                    (container->info && event->signal == container->info->stop_signal))
                        container->killed = true;
                break;
        case CONTAINER_EVENT_DIE:
                container->exit_code = event->exit_code;
                container->lived_usec = usec_sub(time_now(CLOCK_MONOTONIC), container->begun_usec);
                container->begun_usec = 0;
                if (container->stage == STAGE_COMPLETING && event->exit_code == 0 && !container->killed)
                        container_complete(container);
                else
                        container_react(container, HAPPENED_DIE);
                break;
        case CONTAINER_EVENT_STOP:
                container_react(container, HAPPENED_STOP);
                break;
        case CONTAINER_EVENT_DESTROY:
                container_react(container, HAPPENED_DESTROY);
                break;
        case CONTAINER_EVENT_PAUSE:
        case CONTAINER_EVENT_UNPAUSE:
                if (container->info)
                        container->info->paused = event->type == CONTAINER_EVENT_PAUSE;
                if (event->type == CONTAINER_EVENT_PAUSE && container_is_watched(container))
                        member_tell(member, LOG_NOTICE, DEPENDENCY_READY,
                                    "was paused by somebody else, leaving it");
                break;
        case CONTAINER_EVENT_HEALTHY:
        case CONTAINER_EVENT_UNHEALTHY:
                if (container->probe)
                        probe_set_health(container->probe, event->type == CONTAINER_EVENT_HEALTHY
                                                                           ? HEALTH_HEALTHY
                                                                           : HEALTH_UNHEALTHY);
                break;
        default:
                break;
        }
}

void container_on_engine_lost(Member *member) {
        Container *container = container_from(member);
        ContainerView view = container_view(container);

        assert(member_is_container(member));

        container->engine_lost = true;
        if (view != VIEW_RESTING && view != VIEW_OVER)
                container->by_engine = true;
        container_react(container, HAPPENED_ENGINE_LOST);
}

void container_on_engine_back(Member *member) {
        Container *container = container_from(member);
        bool was_lost = container->engine_lost;

        assert(member_is_container(member));

        container->engine_lost = false;
        if (was_lost)
                container_react(container, HAPPENED_ENGINE_BACK);
        else
                container_ask_now(container);
}

/* Dying, on the way up or later. There are three kinds of death:
 *
 * - Somebody wished for it: docker stop, restart, rm, kill, compose up -d. If it is back soon, under the same name and
 *   perhaps as another container, it is used on; else it is lost.
 * - The engine went down, and it with it. It is started again when the engine is back.
 * - It crashed. How is told to the journal, once. It is started again, at most twice within ten minutes. Where the engine's restart policy
 *   does that, without end, five deaths in a row are put up with: some programs exit until their database is there. A run of less
 *   than ten seconds is one of the row, as for the engine, whose pauses double meanwhile (100 ms, 200 ms, …). The row begins anew with
 *   a run that got much further than all before it, and does not grow while others are on their way that it may be waiting for.
 *   A program that cannot even be begun is not tried twice.
 *
 * The clock of its check begins anew with the first deaths, and then goes on: who dies again and again gets no more time by it. */

#define COMEBACK_DELAY (3 * USEC_PER_SEC)
#define LOOK_PAUSE (100 * USEC_PER_MSEC)
#define RESTARTS_MAX 2U
#define ENGINE_RESTARTS_MAX 5U
#define SETTLED_AFTER (10 * USEC_PER_MINUTE)
#define ENGINE_SETTLED_AFTER (10 * USEC_PER_SEC)
#define ENGINE_PAUSE_MAX USEC_PER_MINUTE
#define FURTHER_USEC USEC_PER_SEC
#define LAST_LINES 10
#define LAST_LINE_MAX ((size_t) 300) /* in a sentence */

static bool container_is_kept_up_by_engine(const Container *container) {
        return !streq(container->info->restart_policy, "no");
}

static int container_limit_probe(Container *container) {
        container->budget_usec = probe_budget(container->probe);
        if (container->futile > RESTARTS_MAX && container->until_usec > 0)
                return probe_set_deadline(container->probe, container->until_usec);
        container->until_usec = usec_add(time_now(CLOCK_MONOTONIC), container->budget_usec);
        return 0;
}

static void container_on_death(Container *container) {
        uint64_t settled_after = container_is_kept_up_by_engine(container) ? ENGINE_SETTLED_AFTER : SETTLED_AFTER;

        if (container->member.phase == MEMBER_READY) {
                if (time_now(CLOCK_MONOTONIC) >= usec_add(container->settled_usec, settled_after))
                        container->deaths = container->futile = 0;
                container_settle(container, MEMBER_RECOVERING);
        }

        if (container->by_engine)
                container_go(container, STAGE_DECIDING);
        else if (container->killed)
                container_await_return(container);
        else
                container_go(container, STAGE_EXAMINING);
}

/* Somebody, or the engine, may start it again. */
static void container_await_return(Container *container) {
        container_go_after(container, STAGE_COMING_BACK, COMEBACK_DELAY);
}

static void container_begin_decision(Container *container) {
        engine_doubt_now(container_engine(container));
        container_go(container, STAGE_DECIDING);
}

/* It crashed: how does it exit? */
static void container_examined(Container *container) {
        if (container_has_completed(container) && !container->killed)
                container_complete(container);
        else
                container_go(container, STAGE_TELLING);
}

static int ask_logs(Container *container) {
        return engine_logs(&container->call, container_engine(container), container_reference(container),
                           LAST_LINES, CONTAINER_REQUEST_TIMEOUT, container_on_reply, container);
}

/* Nobody else whom it could wait for is on the way to readiness. Who waits for the network of another is none of those. */
static bool container_is_alone(const Container *container) {
        const MemberContext *context = container->member.context;

        for (size_t i = 0; context->members && i < context->service->n_dependencies; i++) {
                Member *other = context->members[i];

                if (other != &container->member && !other->in_vain &&
                    (other->phase == MEMBER_STARTING || other->phase == MEMBER_CHECKING ||
                     other->phase == MEMBER_RECOVERING) &&
                    !(member_is_container(other) && container_awaits_owner(other)))
                        return false;
        }
        return true;
}

static void container_count_death(Container *container) {
        bool further = container->lived_usec >= usec_add(2 * container->longest_usec, FURTHER_USEC);

        container->deaths++;
        container->futile = further ? 1 : container->futile + 1;
        if (container_is_kept_up_by_engine(container) && !container_is_alone(container))
                container->futile = MIN(container->futile, RESTARTS_MAX);
        container->longest_usec = MAX(container->longest_usec, container->lived_usec);
        container->member.in_vain = !further && container->deaths > RESTARTS_MAX;
}

/* Once, since what it says next is mostly the same. */
static void container_tell_death(Container *container, const char *output) {
        bool again = container->told && container->told_code == container->exit_code;

        container->told = true;
        container->told_code = container->exit_code;
        journal_dependency(again ? LOG_DEBUG : LOG_WARNING, container_name(container), DEPENDENCY_STARTING,
                           FAILURE_CONTAINER_EXITED, USEC_INFINITY, "%s with status %i%s%s",
                           container->info->oom_killed ? "was killed for lack of memory," : "exited",
                           container->exit_code, *output ? ", its last lines:\n" : "", output);
}

static void container_on_logs(Container *container, EngineReply *reply) {
        const char *output = reply->outcome == ENGINE_OK ? strempty(reply->output) : "";
        _cleanup_free_ char *copy = strdup(output);
        const char *why, *last_line = copy ? printable_last_line(copy) : "";

        if (!container_runs(container))
                container->exit_code = container->info->exit_code;
        container_count_death(container);
        container_tell_death(container, output);
        free(container->last_line);
        container->last_line = printable_copy(last_line, MIN(strlen(last_line), LAST_LINE_MAX), false);

        /* What was ready once can be begun. */
        why = container->member.phase == MEMBER_RECOVERING ? NULL
                                                           : exec_failure_explain(container->exit_code, last_line);
        if (why || container->futile > ENGINE_RESTARTS_MAX)
                container_fail_for_good(container, why);
        else
                container_decide(container);
}

/* It dies again and again. `why`: what that comes from, or NULL. */
static void container_fail_for_good(Container *container, const char *why) {
        const char *last =
                        isempty(container->info->error) ? strempty(container->last_line) : container->info->error;

        container_note_end(container);
        if (!why && container->exit_code == 0 && container->member.dependency->condition != CONDITION_COMPLETED)
                why = "a program that does its work and ends is given 'condition': 'completed'";
        container_fail(container, FAILURE_CONTAINER_EXITED, "exited with status %i, %u time%s%s%s%s%s",
                       container->exit_code, container->deaths, container->deaths == 1 ? "" : "s",
                       *last ? ": " : "", last, why ? "; " : "", strempty(why));
}

/* It was stopped, or removed, and did not come back. */
static void container_lose(Container *container, const char *what) {
        container_note_end(container);
        if (container->member.phase != MEMBER_READY && container->member.phase != MEMBER_RECOVERING) {
                container_fail(container, FAILURE_CONTAINER_EXITED, "was %s by somebody else", what);
                return;
        }
        member_tell(&container->member, LOG_NOTICE, DEPENDENCY_STOPPED, "was %s by somebody else", what);
        container_settle(container, MEMBER_LOST);
}

static void container_vanished(Container *container) {
        container->info->running = false;
        container_lose(container, "removed");
}

/* The engine is about to start it again. What it may be waiting for has to be met by one more start at least. */
static void container_await_restart(Container *container) {
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);

        if (!container_is_alone(container))
                container->until_usec = usec_add(now_usec, MAX(container->budget_usec, ENGINE_PAUSE_MAX));

        if (container->member.in_vain && container->until_usec > 0 && now_usec >= container->until_usec)
                container_fail_for_good(container, NULL);
        else if (container->begun_usec > 0) /* and has, since that look */
                container_go_after(container, STAGE_DECIDING, LOOK_PAUSE);
        else
                container_await_return(container);
}

/* The engine has told what is. An answer that came after it was lost is one of the next engine. */
static void container_decide(Container *container) {
        if (container_runs(container)) {
                if (container->stale)
                        container_on_death(container);
                else
                        container_verified(container);
        } else if (container->info->restarting)
                container_await_restart(container);
        else if (container->by_engine) {
                member_tell(&container->member, LOG_NOTICE, DEPENDENCY_STARTING,
                            "went down with the engine, starting it again");
                /* A one-shot that was told to end may well exit with 0. */
                if (container_has_completed(container) && container->killed)
                        container_note_end(container);
                container_use(container);
        } else if (container->killed)
                container_lose(container, "stopped");
        else if (container->futile > RESTARTS_MAX && (!container_is_kept_up_by_engine(container) ||
                                                      streq(container->info->restart_policy, "on-failure")))
                container_fail_for_good(container, NULL);
        else
                container_use(container);
}

/* Stopping. Whose it is was seen at the last look; if anything has happened to it since, it is looked at again first.
 * To stop it takes the exclusive lock: while another service uses it, it is let go and left. The record says from then on that it was
 * put to sleep, so that it is ours whoever starts it again. */

#define STOP_SLACK (15 * USEC_PER_SEC) /* over the engine's grace period, until its answer */
#define STOP_PATIENCE (20 * USEC_PER_SEC) /* with an engine that does not answer */
#define STOP_ATTEMPTS 6
#define STOP_AGAIN USEC_PER_SEC
#define GRACE_DEFAULT 10

unsigned container_grace(const Container *container) {
        return container->info ? container->info->stop_timeout_sec : GRACE_DEFAULT;
}

uint64_t container_stop_timeout(const Container *container) {
        return container_grace(container) * USEC_PER_SEC + STOP_SLACK;
}

static uint64_t container_stop_budget(const Member *member) {
        return container_stop_timeout((const Container *) member) + STOP_PATIENCE;
}

bool container_is_lost_by_stop(const Member *member) {
        const ContainerInfo *info = member_is_container(member) ? container_info(member) : NULL;

        return info && info->auto_remove && !member->context->composer;
}

/* Paused again by a wake that failed, as it was found. */
static bool container_is_to_be_paused_again(const Container *container, StopMode mode) {
        return mode == STOP_ROLLBACK && container->unpaused_now && !container->started_now;
}

static bool container_would_stop(const Member *member, StopMode mode) {
        const Container *container = (const Container *) member;

        if (!member->lease || member->dependency->keep)
                return false;
        if (container_is_to_be_paused_again(container, mode))
                return true;
        if (container->info && !container->info->running && !container->info->restarting &&
            !container->started_now)
                return false;
        /* A pause does it no harm. */
        if (container_is_lost_by_stop(member) &&
            (mode != STOP_SLEEP || member->context->service->sleep != SLEEP_PAUSE))
                return false;

        /* The file does not name it, so that others may have its network, of whom nobody here knows: only what was started for this one. */
        if (member->dependency->implied)
                return container->begun || container->started_now;
        switch (mode) {
        case STOP_ALL:
                return true;
        case STOP_SLEEP:
                return member->context->service->adopt == ADOPT_NONE ? container->begun : member->record.ours;
        case STOP_ROLLBACK:
                /* What ran before goes on running. What another wake has started, and nobody uses any more, does not. */
                return container->begun || container->started_now;
        default:
                return false;
        }
}

void container_set_stopped(Container *container) {
        if (container_begin_detaching(container))
                return;
        member_release_lease(&container->member);
        container_settle(container, MEMBER_STOPPED);
}

static void container_seize(Container *container) {
        bool pause = container->stop_mode == STOP_SLEEP
                                     ? container->member.context->service->sleep == SLEEP_PAUSE
                                     : container_is_to_be_paused_again(container, container->stop_mode);

        /* Whoever stays has to know whose it is, whatever became of the record meanwhile. */
        if (container->started_now)
                member_write_record(&container->member);
        if (lease_seize(container->member.lease) < 0) {
                log_debug("Another service uses %s, leaving it.", container_name(container));
                container_set_stopped(container);
        } else
                container_go(container, pause ? STAGE_PAUSING : STAGE_STOPPING);
}

static void container_found_to_stop(Container *container) {
        if (container_read_record(container) >= 0 &&
            container_would_stop(&container->member, container->stop_mode))
                container_seize(container);
        else
                container_set_stopped(container);
}

/* Nothing is known of it since the last look, or it has never been looked at. */
static bool container_needs_look(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        Lease *lease = container->member.lease;

        if (!lease || container->started_now || container->member.dependency->keep ||
            container->stop_mode == STOP_LEAVE || (container->info && !container->stale))
                return false;
        return container->stop_mode == STOP_ALL || container->member.record.ours ||
               (lease_read(lease, &record) >= 0 && record.ours);
}

static void container_begin_stop(Member *member, StopMode mode) {
        Container *container = container_from(member);
        bool posting = container->stage == STAGE_POSTING && container->call,
             unpausing = container->stage == STAGE_UNPAUSING && container->call;

        /* It may be carried out. */
        container->start_cancelled = posting || unpausing;
        container->started_now = container->started_now || posting;
        container->unpaused_now = container->unpaused_now || unpausing;
        container_cancel(container);
        container->stop_mode = mode;
        container->stop_until_usec = time_now(CLOCK_MONOTONIC) + STOP_PATIENCE;

        if (container_needs_look(container)) {
                container_go(container, STAGE_LOOKING_TO_STOP);
                return;
        }
        /* The look is older than a start that is under way; our own record of that is not. */
        if (member->lease && container->info && container->info->running)
                (void) container_read_record(container);
        if (container_would_stop(member, mode))
                container_seize(container);
        else
                container_set_stopped(container);
}

/* The record stays: whoever uses it next still knows that it is ours. */
static void container_leave(Container *container, const char *why) {
        member_tell(&container->member, LOG_ERR, DEPENDENCY_FAILED, "could not be stopped, leaving it: %s", why);
        container_set_stopped(container);
}

static void container_handle_refusal_to_stop(Container *container, const EngineReply *reply) {
        bool silent = reply->outcome == ENGINE_UNREACHABLE || reply->outcome == ENGINE_TIMED_OUT,
             again = silent ? time_now(CLOCK_MONOTONIC) < container->stop_until_usec
                            : container->attempts < STOP_ATTEMPTS;

        if (engine_outcome_is_transient(reply->outcome) && again)
                container_retry(container);
        else
                container_leave(container, reply->message);
}

/* The engine may come to a start that was given up only after the stop: once more. */
static bool container_is_to_stop_again(Container *container) {
        bool again = container->start_cancelled;

        container->start_cancelled = false;
        if (again)
                container_wait(container, STOP_AGAIN);
        return again;
}

static int ask_stop(Container *container) {
        return engine_stop(&container->call, container_engine(container), container_reference(container),
                           container_grace(container), container_stop_timeout(container), container_on_reply,
                           container);
}

static void container_on_stopped(Container *container, EngineReply *reply) {
        if (reply->outcome == ENGINE_ALREADY && container_is_to_stop_again(container))
                return;
        member_make_ours(&container->member);
        container_note_end(container);
        member_tell(&container->member, LOG_INFO, DEPENDENCY_STOPPED, "stopped");
        container_set_stopped(container);
}

static void container_on_stop_of_paused(Container *container, EngineReply *reply) {
        if (time_now(CLOCK_MONOTONIC) < container->stop_until_usec)
                container_go(container, STAGE_UNPAUSING_TO_STOP);
        else
                container_handle_refusal_to_stop(container, reply);
}

static int ask_pause(Container *container) {
        return engine_pause(&container->call, container_engine(container), container_reference(container),
                            CONTAINER_REQUEST_TIMEOUT, container_on_reply, container);
}

static void container_on_paused(Container *container, EngineReply *reply) {
        if (reply->outcome != ENGINE_OK && container_is_to_stop_again(container))
                return;
        /* The run goes on when it is unpaused, as ready as it is. */
        container->member.record.asleep = true;
        member_write_record(&container->member);
        member_tell(&container->member, LOG_INFO, DEPENDENCY_STOPPED, "paused");
        container_set_stopped(container);
}

static void container_on_pause_of_nothing(Container *container, EngineReply *reply) {
        container_set_stopped(container);
}

static void container_on_pause_refused(Container *container, EngineReply *reply) {
        if (container->stop_mode == STOP_SLEEP && !container_is_lost_by_stop(&container->member)) {
                log_debug("Cannot pause %s, stopping it: %s", container_name(container), reply->message);
                container_go(container, STAGE_STOPPING);
        } else
                container_handle_refusal_to_stop(container, reply);
}

/* The member */

const ContainerInfo *container_info(const Member *member) {
        assert(member_is_container(member));

        return ((const Container *) member)->info;
}

static const char *container_last_word(const Member *member) {
        const Container *container = (const Container *) member;

        if (container->probe)
                return probe_detail(container->probe);
        return container->said ?: stages[container->stage].word ?: "the engine has not said what has become of it";
}

static Member *container_free(Member *member) {
        Container *container = container_from(member);

        container_cancel(container);
        container_info_free(container->info);
        free(container->renamed_to);
        free(container->last_line);
        free(container->said);
        strv_free(container->networks);
        strv_free(container->attached);
        free(container->rejoined);
        free(container->lost);
        free(container->advice);
        free(container);
        return NULL;
}

static const MemberOps container_ops = {
        .free = container_free,
        .prepare = container_prepare,
        .start = container_start,
        .stop = container_begin_stop,
        .would_stop = container_would_stop,
        .stop_budget = container_stop_budget,
        .last_word = container_last_word,
};

int container_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
                  void *userdata) {
        Container *container = malloc(sizeof(*container));

        assert(ret);

        if (!container)
                return -ENOMEM;
        *container = (Container){
                .member = member_begin(&container_ops, context, dependency, handler, userdata),
        };
        *ret = &container->member;
        return 0;
}
