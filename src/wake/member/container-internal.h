#pragma once

/* Container, inside: what container.c, its life, and container-network.c, what its networks take on the way up, share; and the tables that
 * its life goes by, for the test of them. */

#include "compose/composer.h"
#include "probe/probe.h"
#include "util/log.h"
#include "wake/member/container.h"
#include "wake/member/journal.h"

/* What is under way. The phase is what others see of it: the same stage may be passed on the way up and in recovery. */
typedef enum ContainerStage {
        STAGE_IDLE, /* nothing */
        STAGE_LEASING, /* waits for its lock */
        STAGE_LOOKING, /* first inspect */
        STAGE_LOOKING_BACK, /* what became of the one that the record speaks of, which is not the one of this name? */
        STAGE_CREATING, /* compose makes it */
        STAGE_LOOKING_AGAIN, /* something has happened to it since */
        STAGE_AWAITING_OWNER, /* whose network it has, and who is on the way up */
        STAGE_LOOKING_AT_OWNER, /* who is nobody of ours */
        STAGE_REJOINING, /* it is restarted, for its owner's new run */
        STAGE_ASKING_NETWORK, /* that it is to be attached to */
        STAGE_ATTACHING, /* to a network that it is not on */
        STAGE_POSTING, /* the start is asked for */
        STAGE_UNPAUSING,
        STAGE_ASKING_ADDRESS, /* who has that? */
        STAGE_REPAIRING, /* it is attached to a network that does not exist */
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
        STAGE_DETACHING,
        _STAGE_MAX,
} ContainerStage;

typedef struct Container {
        Member member; /* first */
        ContainerStage stage;
        uint16_t backend_port;
        char **networks; /* to be attached to */
        size_t n_attached; /* of them */
        char **attached; /* by this wake */
        size_t n_detached; /* of those, again */
        size_t n_asked; /* of the networks that it has a static address on */

        struct Container *owner; /* whose network it has, or had; borrowed. NULL: nobody's of this service */
        bool owner_exists; /* then: the engine knows it */
        char *rejoined; /* the owner's run that it was restarted for */
        char *lost; /* what it was made anew for, or is detached from */
        char *advice; /* what people can do about that */

        bool begun; /* wakechain began the run that was seen last */
        bool was_known; /* it was ours before its start was announced */
        ContainerInfo *info;
        bool stale; /* something has happened to it since the last look was asked for */
        bool by_name; /* the one that was seen last is gone, or out of the way: who has the name now? */
        bool looked_back;
        bool told_of_rm;
        bool remade; /* it is another one than the record speaks of, and was made in the place of that */
        char *renamed_to; /* what that, or the one that was seen last, is called now; NULL: not known to be renamed */
        unsigned renamed_looks; /* for one that has the name instead */

        Probe *probe;
        EngineCall *call;
        Composition *composition;
        sd_event_source *timer;
        unsigned attempts; /* of what is under way */
        EngineOutcome last_outcome;
        char *said; /* by the engine, which is why this is being tried again */
        bool engine_lost;

        bool created; /* by compose: tried once */
        bool anew; /* what compose is to do */
        bool started_now; /* by this wake: a start was carried out, or may have been */
        bool unpaused_now;
        bool killed; /* somebody sent it a signal that ends it, since its last start */
        bool by_engine; /* the engine went down with it, or may have */
        unsigned deaths; /* that nobody wished for, of late */
        unsigned futile; /* of them: since when nothing has got better */
        uint64_t begun_usec; /* CLOCK_MONOTONIC, of the run; 0: it has ended, or its begin was not seen */
        uint64_t lived_usec, longest_usec; /* the last run that has ended, and the longest */
        uint64_t budget_usec, until_usec; /* of its check, and its end, CLOCK_MONOTONIC; 0: not asked yet */
        bool told; /* what it says when it dies, since it was ready */
        int told_code;
        char *last_line; /* of its log, at its last death */
        int exit_code;
        uint64_t settled_usec; /* CLOCK_MONOTONIC, when it became ready for the last time */

        StopMode stop_mode;
        bool start_cancelled;
        uint64_t stop_until_usec; /* CLOCK_MONOTONIC, for trying again */
} Container;

/* Asks the engine, takes its answer, does something else. */
typedef int ContainerAsk(Container *container);
typedef void ContainerTake(Container *container, EngineReply *reply);
typedef void ContainerAct(Container *container);

/* What the engine's answer leads to. */
typedef struct ContainerAnswer {
        ContainerStage stage;
        unsigned outcomes; /* bits: 1 << EngineOutcome */
        ContainerStage next; /* STAGE_IDLE: `then` goes on, or is the end */
        ContainerTake *then; /* before that; may be NULL */
} ContainerAnswer;

extern const ContainerAnswer container_answers[];
extern const size_t n_container_answers;

/* How far what happens outside concerns it. */
typedef enum ContainerView {
        VIEW_RESTING, /* before its turn, or failed */
        VIEW_READY,
        VIEW_READY_VERIFYING, /* and looked at once more */
        VIEW_RUNNING, /* on the way up, and believed to run */
        VIEW_VERIFYING,
        VIEW_GONE, /* whether it comes back is waited for */
        VIEW_DYING, /* what its death means is being found out */
        VIEW_BUSY, /* anything else that is under way */
        VIEW_OVER, /* nothing is expected of it any more */
        _VIEW_MAX,
} ContainerView;

typedef enum ContainerHappening {
        HAPPENED_START,
        HAPPENED_DIE,
        HAPPENED_STOP,
        HAPPENED_DESTROY,
        HAPPENED_ENGINE_LOST,
        HAPPENED_ENGINE_BACK, /* after it was lost */
        _HAPPENED_MAX,
} ContainerHappening;

typedef enum ContainerReaction {
        REACT_NOT,
        REACT_NOTE, /* it is looked at before the next look is believed */
        REACT_WISH, /* somebody has wished for its end, which is not known yet */
        REACT_LATE_WISH, /* so its end, which is known, was wished for */
        REACT_WISHED_DEATH, /* it has ended by that */
        REACT_DEATH,
        REACT_VERIFY,
        REACT_DECIDE,
        REACT_ASK, /* if it waits to ask the engine again: now */
        REACT_NOTE_AND_ASK,
} ContainerReaction;

extern const ContainerReaction container_reactions[_VIEW_MAX][_HAPPENED_MAX];

ContainerView container_view(const Container *container);
/* The engine is asked in it. */
bool container_stage_asks(ContainerStage stage);
/* What it leads to when the engine's answer is this; NULL: to another try, or the end. */
const ContainerAnswer *container_answer_to(ContainerStage stage, EngineOutcome outcome);

#define CONTAINER_REQUEST_TIMEOUT (10 * USEC_PER_SEC)
#define CONTAINER_START_TIMEOUT (60 * USEC_PER_SEC)

static inline Container *container_from(Member *member) {
        return (Container *) member;
}

static inline const char *container_name(const Container *container) {
        return member_name(&container->member);
}

static inline Engine *container_engine(const Container *container) {
        return container->member.context->engine;
}

/* container.c. Ends what is under way and goes on with something else. On the way back to readiness the phase stays MEMBER_RECOVERING. */
void container_go(Container *container, ContainerStage stage);
/* Nothing is under way in that phase. */
void container_settle(Container *container, MemberPhase phase);
/* The same again, after a while. */
void container_retry(Container *container);
/* Every answer of the engine comes here. */
void container_on_reply(EngineCall *call, EngineReply *reply, void *userdata);
/* What is under way ends; the sentence may be made of that. */
void container_fail(Container *container, FailureReason reason, const char *format, ...) _printf_(3, 4);
/* What the engine is asked about: this very container, whatever its name is now, once it is known. */
const char *container_reference(const Container *container);
/* Is it what the last look saw? Then it is used. */
void container_begin(Container *container);
/* From what the last look saw to readiness, whatever that takes. */
void container_use(Container *container);
/* Its start is announced in the record. */
void container_announce(Container *container);
/* The start that was announced did not happen, or not by us. */
void container_withdraw(Container *container);
/* How long the engine waits before it kills it, and we for its answer. */
unsigned container_grace(const Container *container);
uint64_t container_stop_timeout(const Container *container);
void container_set_stopped(Container *container);

/* container-network.c: what the stages of the networks ask, and what is made of the answers. */
ContainerAsk container_ask_owner, container_ask_restart, container_ask_network, container_ask_attachment,
                container_ask_address, container_ask_repair, container_ask_detachment;
ContainerTake container_on_owner, container_on_no_owner, container_on_no_network, container_on_attached,
                container_on_address, container_on_repaired, container_on_detached;

/* Returns whether something has to be done about its owner or networks before it is used: then it goes on with that. */
bool container_begin_joining(Container *container);
bool container_begin_attaching(Container *container);
/* Returns whether there is anything to be detached: then it goes on with that. */
bool container_begin_detaching(Container *container);
/* The addresses of its owner are its own. */
void container_take_networks(Container *container);
/* The start failed for a network that is not there. */
void container_on_lost_network(Container *container, EngineReply *reply);
bool container_has_taken_address(Container *container, const EngineReply *reply);
