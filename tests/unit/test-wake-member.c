#include "test.h"
#include "wake/member/member.h"

/* What all kinds of members have in common, with a kind that does nothing by itself. */

static unsigned calls, stops;

static Member *nothing_free(Member *member) {
        free(member);
        return NULL;
}

static void nothing_prepare(Member *member) {
        member_set_phase(member, MEMBER_PREPARED);
}

static void nothing_start(Member *member) {
        member_set_phase(member, MEMBER_STARTING);
}

static void nothing_stop(Member *member, StopMode mode) {
        stops++;
        member_set_phase(member, MEMBER_STOPPED);
}

static const MemberOps nothing_ops = {
        .free = nothing_free,
        .prepare = nothing_prepare,
        .start = nothing_start,
        .stop = nothing_stop,
};

static const Dependency dependency = { .kind = DEPENDENCY_UNIT, .name = (char *) "backup.mount" };

static void on_change(Member *member, void *userdata) {
        ASSERT_TRUE(userdata == &calls);
        calls++;
}

static Member *nothing_new(void) {
        Member *member = new0(Member, 1);

        ASSERT_TRUE(member != NULL);
        *member = (Member){
                .ops = &nothing_ops,
                .dependency = &dependency,
                .handler = on_change,
                .userdata = &calls,
        };
        calls = stops = 0;
        return member;
}

static void expect_described(const Member *member, DependencyState state) {
        DependencyStatus status;

        ASSERT_OK(member_describe(member, 0, &status));
        ASSERT_STREQ(dependency_state_to_string(status.state), dependency_state_to_string(state));
        free(status.container);
        free(status.error);
}

static void test_changes_are_told(void) {
        _cleanup_(member_freep) Member *member = nothing_new();

        ASSERT_FALSE(member_is_container(member));
        expect_described(member, DEPENDENCY_PENDING);
        member_prepare(member);
        ASSERT_EQ(calls, 1);
        member->retrying = true;
        member_start(member);
        ASSERT_EQ(calls, 2);
        ASSERT_TRUE(member->phase == MEMBER_STARTING);
        ASSERT_FALSE(member->retrying); /* what was asked before */
        expect_described(member, DEPENDENCY_STARTING);
}

static void test_first_readiness_counts(void) {
        _cleanup_(member_freep) Member *member = nothing_new();
        DependencyStatus status;
        uint64_t ready_usec;

        member_prepare(member);
        member_start(member);
        ASSERT_OK(member_describe(member, member->started_usec - 5, &status));
        ASSERT_EQ(status.started_usec, 5);
        ASSERT_EQ(status.ready_usec, 0);
        free(status.container);

        member_set_phase(member, MEMBER_READY);
        ready_usec = member->ready_usec;
        ASSERT_TRUE(ready_usec >= member->started_usec);
        member_set_phase(member, MEMBER_RECOVERING);
        expect_described(member, DEPENDENCY_STARTING);
        while (time_now(CLOCK_MONOTONIC) == ready_usec)
                ;
        member_set_phase(member, MEMBER_READY);
        ASSERT_EQ(member->ready_usec, ready_usec);
        expect_described(member, DEPENDENCY_READY);
}

static void test_failure_stays_visible(void) {
        _cleanup_(member_freep) Member *member = nothing_new();
        DependencyStatus status;

        member_prepare(member);
        member_fail(member, FAILURE_START_FAILED, "no %s", "room");
        ASSERT_EQ(member->phase, MEMBER_FAILED);
        member_stop(member, STOP_ROLLBACK);
        ASSERT_EQ(member->phase, MEMBER_STOPPED);
        ASSERT_EQ(member->reason, FAILURE_START_FAILED);

        ASSERT_OK(member_describe(member, 0, &status));
        ASSERT_STREQ(status.container, "backup.mount");
        ASSERT_STREQ(status.error, "no room");
        ASSERT_EQ(status.state, DEPENDENCY_FAILED);
        ASSERT_EQ(status.reason, FAILURE_START_FAILED);
        free(status.container);
        free(status.error);
}

static void test_stopped_once(void) {
        _cleanup_(member_freep) Member *member = nothing_new();

        member_stop(member, STOP_SLEEP);
        member_stop(member, STOP_ALL);
        ASSERT_EQ(stops, 1);
}

int main(void) {
        test_changes_are_told();
        test_first_readiness_counts();
        test_failure_stays_visible();
        test_stopped_once();
        return EXIT_SUCCESS;
}
