#pragma once

/* Container, inside: what its parts share. container.c is its life, container-lease.c whose it is, container-events.c takes in what comes from
 * outside; container-start.c is the way up, container-death.c what happens when it dies on the way or later, container-stop.c the way down. */

#include "io/composer.h"
#include "io/lease.h"
#include "io/port-conflict.h"
#include "io/probe.h"
#include "util/log.h"
#include "wake/container.h"
#include "wake/record.h"

/* What is under way. The phase is what others see of it: the same stage may be passed on the way up and in recovery. */
typedef enum ContainerStage {
        STAGE_IDLE, /* nothing */
        STAGE_LEASING, /* waits for its lock */
        STAGE_LOOKING, /* first inspect */
        STAGE_CREATING, /* compose makes it */
        STAGE_LOOKING_AGAIN, /* something has happened to it since */
        STAGE_ATTACHING, /* to a network that it is not on */
        STAGE_POSTING, /* the start is asked for */
        STAGE_UNPAUSING,
        STAGE_EXPLAINING, /* who has its port? */
        STAGE_VERIFYING, /* it was answered; does it run, and where? */
        STAGE_CHECKING, /* probe */
        STAGE_COMPLETING, /* a one-shot runs */
        STAGE_COMING_BACK, /* it is gone by somebody's wish; a restart or an upgrade looks the same at first */
        STAGE_DECIDING, /* the time for that is over: does it run? */
        STAGE_EXAMINING, /* it died: how? */
        STAGE_TELLING, /* its last lines */
        STAGE_LOOKING_TO_STOP, /* whose is it? */
        STAGE_STOPPING,
        STAGE_PAUSING,
        STAGE_UNPAUSING_TO_STOP,
        _STAGE_MAX,
} ContainerStage;

typedef struct Container {
        Member member; /* first */
        ContainerStage stage;
        uint16_t backend_port;
        char **networks; /* to be attached to */
        size_t n_attached; /* of them */

        Lease *lease;
        LeaseRecord record;
        ContainerInfo *info;
        bool stale; /* something has happened to it since the last look was asked for */

        Probe *probe;
        EngineCall *call;
        Composition *composition;
        PortConflict *conflict;
        sd_event_source *timer;
        unsigned attempts; /* of what is under way */
        EngineOutcome last_outcome;
        bool engine_lost;

        bool created; /* by compose: tried once */
        bool started_now; /* by this wake: a start was carried out, or may have been */
        bool unpaused_now;
        bool killed; /* somebody sent it a signal that ends it, since its last start */
        bool by_engine; /* the engine went down with it, or may have */
        unsigned deaths; /* that nobody wished for */
        int exit_code;
        uint64_t settled_usec; /* CLOCK_MONOTONIC, when it became ready for the last time */

        StopMode stop_mode;
        bool start_cancelled;
        uint64_t stop_until_usec; /* CLOCK_MONOTONIC, for trying again */
} Container;

static inline Container *container_from(Member *member) {
        return (Container *) member;
}

#define CONTAINER_REQUEST_TIMEOUT (10 * USEC_PER_SEC)
#define CONTAINER_START_TIMEOUT (60 * USEC_PER_SEC)

/* container.c. Ends what is under way and goes on with something else, now or after a while. On the way back to readiness the phase stays
 * MEMBER_RECOVERING. */
void container_go(Container *container, ContainerStage stage, MemberPhase phase);
void container_go_after(Container *container, ContainerStage stage, MemberPhase phase, uint64_t usec);
void container_cancel(Container *container);
/* The same again: now, unless that means asking an engine that is known to be gone; or after a while. */
void container_act(Container *container);
void container_wait(Container *container, uint64_t usec);
void container_retry(Container *container);
/* To be given what asked the engine: no request is made if that failed. */
void container_check_asked(Container *container, int r);
EngineOutcome container_take_reply(Container *container, const EngineReply *reply);
/* The engine said no. Arranges either another try or the end. */
void container_handle_refusal(Container *container, const EngineReply *reply);
#define container_fail(container, reason, ...)                            \
        do {                                                              \
                container_give_up(container);                             \
                member_fail(&(container)->member, (reason), __VA_ARGS__); \
        } while (false)
void container_give_up(Container *container);
void container_look(Container *container);
/* Waits until it may ask the engine, for the first time or again. */
bool container_is_to_ask(const Container *container);

/* container-lease.c */
void container_lease(Container *container);
void container_release(Container *container);
void container_write_record(Container *container);
/* What another service wrote meanwhile counts: it may have started the container that we found running, or adopted it. -ENOMEM. */
int container_load_record(Container *container);
/* Is the run that was seen last the one that the record names? */
bool container_run_is_of(const Container *container, const LeaseRecord *record);
/* The run that was seen last goes into the record. */
void container_note_run(Container *container);
/* It is nobody's from now on, and that run of it is over. */
void container_disown(Container *container);
/* The start that was announced in the record did not happen, or not by us. */
void container_withdraw(Container *container);

/* container-start.c */
void container_begin(Member *member);
/* From what the last look saw to readiness, whatever that takes. */
void container_use(Container *container);
bool container_runs(const Container *container);
/* A one-shot that exited with 0, as far as the last look says. */
bool container_has_completed(const Container *container);
void container_found_again(Container *container);
void container_verified(Container *container);
void container_missing(Container *container);
void container_create(Container *container);
void container_post_attachment(Container *container);
void container_post_start(Container *container);
void container_post_unpause(Container *container);
void container_check(Container *container);
void container_complete(Container *container);

/* container-death.c */
void container_on_death(Container *container);
/* Somebody or something else may start it again: waits for that, then decides. */
void container_await(Container *container);
void container_begin_decision(Container *container);
void container_decide(Container *container);
void container_vanished(Container *container);
void container_examined(Container *container);
void container_ask_logs(Container *container);

/* container-stop.c */
void container_begin_stop(Member *member, StopMode mode);
bool container_would_stop(const Member *member, StopMode mode);
uint64_t container_stop_budget(const Member *member);
void container_found_to_stop(Container *container);
void container_missing_to_stop(Container *container);
/* The engine said no: tries again, or lets it go. */
void container_handle_refusal_to_stop(Container *container, const EngineReply *reply);
void container_leave(Container *container, const char *why);
void container_post_stop(Container *container);
void container_post_pause(Container *container);
void container_post_unpause_to_stop(Container *container);
