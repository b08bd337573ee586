#include <stdio.h>

#include "test.h"
#include "wake/member/container-internal.h"

/* The tables that a container's life goes by, as tables: what follows on what is written here once more, in words. That it is done is
 * test-wake-container's. */

static const char *const stage_names[_STAGE_MAX] = {
        [STAGE_IDLE] = "idle",
        [STAGE_LEASING] = "leasing",
        [STAGE_LOOKING] = "looking",
        [STAGE_LOOKING_BACK] = "looking-back",
        [STAGE_CREATING] = "creating",
        [STAGE_LOOKING_AGAIN] = "looking-again",
        [STAGE_AWAITING_OWNER] = "awaiting-owner",
        [STAGE_LOOKING_AT_OWNER] = "looking-at-owner",
        [STAGE_REJOINING] = "rejoining",
        [STAGE_ASKING_NETWORK] = "asking-network",
        [STAGE_ATTACHING] = "attaching",
        [STAGE_POSTING] = "posting",
        [STAGE_UNPAUSING] = "unpausing",
        [STAGE_ASKING_ADDRESS] = "asking-address",
        [STAGE_REPAIRING] = "repairing",
        [STAGE_VERIFYING] = "verifying",
        [STAGE_CHECKING] = "checking",
        [STAGE_COMPLETING] = "completing",
        [STAGE_COMING_BACK] = "coming-back",
        [STAGE_DECIDING] = "deciding",
        [STAGE_EXAMINING] = "examining",
        [STAGE_TELLING] = "telling",
        [STAGE_LOOKING_TO_STOP] = "looking-to-stop",
        [STAGE_STOPPING] = "stopping",
        [STAGE_PAUSING] = "pausing",
        [STAGE_UNPAUSING_TO_STOP] = "unpausing-to-stop",
        [STAGE_DETACHING] = "detaching",
};

static const char *const outcome_names[] = {
        [ENGINE_OK] = "ok",
        [ENGINE_ALREADY] = "already",
        [ENGINE_NO_CONTAINER] = "no-container",
        [ENGINE_NO_NETWORK] = "no-network",
        [ENGINE_NO_IMAGE] = "no-image",
        [ENGINE_PORT_TAKEN] = "port-taken",
        [ENGINE_PAUSED] = "paused",
        [ENGINE_NOT_RUNNING] = "not-running",
        [ENGINE_OTHER_STOPPED] = "other-stopped",
        [ENGINE_PART_MISSING] = "part-missing",
        [ENGINE_CONFLICT] = "conflict",
        [ENGINE_REFUSED] = "refused",
        [ENGINE_BROKEN] = "broken",
        [ENGINE_UNREACHABLE] = "unreachable",
        [ENGINE_TIMED_OUT] = "timed-out",
};

/* "ok:verifying" leads to that stage, "ok:*" to what is looked at first. What is not said is tried again, or is the end. */
static const char *const answers[_STAGE_MAX] = {
        [STAGE_LOOKING] = "ok:* no-container:*",
        [STAGE_LOOKING_BACK] = "ok:* no-container:*",
        [STAGE_LOOKING_AGAIN] = "ok:* no-container:*",
        [STAGE_LOOKING_AT_OWNER] = "ok:* no-container:*",
        [STAGE_REJOINING] = "ok:looking-again no-container:looking-again",
        [STAGE_ASKING_NETWORK] = "ok:attaching no-network:*",
        [STAGE_ATTACHING] = "ok:* already:* no-network:*",
        [STAGE_POSTING] =
                        "ok:verifying already:verifying no-container:* no-network:* port-taken:* paused:unpausing "
                        "refused:* broken:* unreachable:* timed-out:*",
        [STAGE_UNPAUSING] = "ok:verifying already:verifying no-container:*",
        [STAGE_ASKING_ADDRESS] = "ok:* already:* no-container:* no-network:* no-image:* port-taken:* paused:* "
                                 "not-running:* other-stopped:* part-missing:* conflict:* refused:* broken:* "
                                 "unreachable:* timed-out:*",
        [STAGE_REPAIRING] = "ok:looking-again",
        [STAGE_VERIFYING] = "ok:* no-container:*",
        [STAGE_DECIDING] = "ok:* no-container:*",
        [STAGE_EXAMINING] = "ok:* no-container:*",
        [STAGE_TELLING] =
                        "ok:* already:* no-container:* no-network:* no-image:* port-taken:* paused:* not-running:* "
                        "other-stopped:* part-missing:* conflict:* refused:* broken:* unreachable:* timed-out:*",
        [STAGE_LOOKING_TO_STOP] = "ok:* no-container:*",
        [STAGE_STOPPING] = "ok:* already:* no-container:* paused:*",
        /* Silence alone is worth another try. */
        [STAGE_PAUSING] =
                        "ok:* already:* no-container:* no-network:* no-image:* port-taken:* paused:* not-running:* "
                        "other-stopped:* part-missing:* conflict:* refused:* broken:*",
        [STAGE_UNPAUSING_TO_STOP] = "ok:stopping already:stopping no-container:stopping",
        [STAGE_DETACHING] = "ok:* already:* no-container:* no-network:* no-image:* port-taken:* paused:* "
                            "not-running:* other-stopped:* part-missing:* conflict:* refused:* broken:* "
                            "unreachable:* timed-out:*",
};

static void test_what_each_answer_leads_to(void) {
        for (ContainerStage stage = 0; stage < _STAGE_MAX; stage++) {
                char text[512] = "";

                for (size_t i = 0; i < ELEMENTSOF(outcome_names); i++) {
                        const ContainerAnswer *answer = container_answer_to(stage, (EngineOutcome) i);

                        if (!answer)
                                continue;
                        ASSERT_TRUE(answer->then || answer->next != STAGE_IDLE);
                        (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s:%s",
                                        text[0] == '\0' ? "" : " ", outcome_names[i],
                                        answer->next == STAGE_IDLE ? "*" : stage_names[answer->next]);
                }
                if (!streq(text, strempty(answers[stage])))
                        TEST_FAIL("%s leads to '%s'", stage_names[stage], text);
                /* Who asks makes something of success, and nobody of what was not asked. */
                ASSERT_EQ(container_stage_asks(stage), answers[stage] != NULL);
        }
}

/* No row stands behind one that takes all that it is for. */
static void test_every_row_counts(void) {
        for (size_t i = 0; i < n_container_answers; i++) {
                bool counts = false;

                for (size_t j = 0; j < ELEMENTSOF(outcome_names); j++)
                        counts = counts || container_answer_to(container_answers[i].stage, (EngineOutcome) j) ==
                                                           &container_answers[i];
                if (!counts)
                        TEST_FAIL("row %zu, of %s, is never reached", i, stage_names[container_answers[i].stage]);
        }
}

static ContainerView view(MemberPhase phase, ContainerStage stage, DependencyCondition condition) {
        Dependency dependency = { .condition = condition };
        Container container = { .member = { .dependency = &dependency, .phase = phase }, .stage = stage };

        return container_view(&container);
}

static void test_how_far_it_is_concerned(void) {
        static const struct {
                MemberPhase phase;
                ContainerStage stage;
                ContainerView view;
        } cases[] = {
                { MEMBER_NEW, STAGE_IDLE, VIEW_RESTING },
                { MEMBER_PREPARING, STAGE_LOOKING, VIEW_RESTING },
                { MEMBER_PREPARED, STAGE_IDLE, VIEW_RESTING },
                { MEMBER_FAILED, STAGE_IDLE, VIEW_RESTING },
                { MEMBER_STARTING, STAGE_POSTING, VIEW_BUSY },
                { MEMBER_STARTING, STAGE_AWAITING_OWNER, VIEW_BUSY },
                { MEMBER_RECOVERING, STAGE_CREATING, VIEW_BUSY },
                { MEMBER_CHECKING, STAGE_VERIFYING, VIEW_VERIFYING },
                { MEMBER_CHECKING, STAGE_CHECKING, VIEW_RUNNING },
                { MEMBER_RECOVERING, STAGE_CHECKING, VIEW_RUNNING },
                { MEMBER_CHECKING, STAGE_COMPLETING, VIEW_RUNNING },
                { MEMBER_READY, STAGE_IDLE, VIEW_READY },
                { MEMBER_READY, STAGE_VERIFYING, VIEW_READY_VERIFYING },
                { MEMBER_RECOVERING, STAGE_COMING_BACK, VIEW_GONE },
                { MEMBER_CHECKING, STAGE_DECIDING, VIEW_GONE },
                { MEMBER_RECOVERING, STAGE_EXAMINING, VIEW_DYING },
                { MEMBER_CHECKING, STAGE_TELLING, VIEW_DYING },
                { MEMBER_LOST, STAGE_IDLE, VIEW_OVER },
                { MEMBER_STOPPING, STAGE_STOPPING, VIEW_OVER },
                { MEMBER_STOPPED, STAGE_IDLE, VIEW_OVER },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_EQ(view(cases[i].phase, cases[i].stage, CONDITION_READY), cases[i].view);
        /* What has done its work is not expected to run. */
        ASSERT_EQ(view(MEMBER_READY, STAGE_IDLE, CONDITION_COMPLETED), VIEW_OVER);
        ASSERT_EQ(view(MEMBER_CHECKING, STAGE_COMPLETING, CONDITION_COMPLETED), VIEW_RUNNING);
}

static void test_what_happens_outside(void) {
        /* start, die, stop, destroy, engine lost, engine back */
        static const char *const expected[_VIEW_MAX] = {
                [VIEW_RESTING] = "note note note note ask note+ask",
                [VIEW_READY] = "verify death wish wished-death - verify",
                [VIEW_READY_VERIFYING] = "verify death wish wished-death verify verify",
                [VIEW_RUNNING] = "- death - wished-death verify ask",
                [VIEW_VERIFYING] = "- note - - verify ask",
                [VIEW_GONE] = "verify note late-wish wished-death decide ask",
                [VIEW_DYING] = "- note late-wish wished-death decide ask",
                [VIEW_BUSY] = "- note - - ask ask",
                [VIEW_OVER] = "- - - - - ask",
        };
        static const char *const names[] = {
                [REACT_NOT] = "-",
                [REACT_NOTE] = "note",
                [REACT_WISH] = "wish",
                [REACT_LATE_WISH] = "late-wish",
                [REACT_WISHED_DEATH] = "wished-death",
                [REACT_DEATH] = "death",
                [REACT_VERIFY] = "verify",
                [REACT_DECIDE] = "decide",
                [REACT_ASK] = "ask",
                [REACT_NOTE_AND_ASK] = "note+ask",
        };

        for (size_t i = 0; i < _VIEW_MAX; i++) {
                char text[128] = "";

                for (size_t j = 0; j < _HAPPENED_MAX; j++)
                        (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", j > 0 ? " " : "",
                                        names[container_reactions[i][j]]);
                ASSERT_STREQ(text, expected[i]);
        }
}

int main(void) {
        test_what_each_answer_leads_to();
        test_every_row_counts();
        test_how_far_it_is_concerned();
        test_what_happens_outside();
        return EXIT_SUCCESS;
}
