#include <signal.h>
#include <stdio.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "fake-systemd.h"
#include "lease/lease.h"
#include "test.h"
#include "util/fd.h"
#include "wake/member/unit-member.h"

/* Members that are units of a fake systemd, each of a service of its own, on one event loop. */

#define LEASE UNIT_LEASE_PREFIX "db.service"

typedef struct Stage Stage;

typedef struct Actor {
        Stage *stage;
        Service service;
        Dependency dependency;
        MemberContext context;
        Member *member;
        char phases[256];
} Actor;

struct Stage {
        sd_event *event;
        char root[32];
        FakeSystemd *systemd;
        FakeUnit *unit;
        WakeTrigger trigger;
        Actor one, two;
};

static const char *const phase_names[_MEMBER_PHASE_MAX] = {
        [MEMBER_NEW] = "new",
        [MEMBER_PREPARING] = "preparing",
        [MEMBER_PREPARED] = "prepared",
        [MEMBER_STARTING] = "starting",
        [MEMBER_CHECKING] = "checking",
        [MEMBER_READY] = "ready",
        [MEMBER_RECOVERING] = "recovering",
        [MEMBER_FAILED] = "failed",
        [MEMBER_LOST] = "lost",
        [MEMBER_STOPPING] = "stopping",
        [MEMBER_STOPPED] = "stopped",
};

static void on_change(Member *member, void *userdata) {
        Actor *actor = ASSERT_PTR(userdata);
        const char *name = phase_names[member->phase];

        ASSERT_TRUE(strlen(actor->phases) + strlen(name) + 2 < sizeof(actor->phases));
        (void) strcat(strcat(actor->phases, " "), name);
}

static void actor_make(Actor *actor) {
        ASSERT_NULL(actor->member);
        ASSERT_OK(unit_member_new(&actor->member, &actor->context, &actor->dependency, on_change, actor));
        actor->phases[0] = '\0';
}

static void actor_init(Actor *actor, Stage *stage, const char *service) {
        *actor = (Actor){ .stage = stage };
        actor->service.name = (char *) service;
        actor->dependency = (Dependency){
                .kind = DEPENDENCY_UNIT,
                .name = (char *) "db.service",
                .health = { .interval_usec = 10 * USEC_PER_MSEC, .budget_usec = 10 * USEC_PER_SEC },
        };
        actor->context = (MemberContext){
                .event = stage->event,
                .service = &actor->service,
                .wake_id = service,
                .trigger = &stage->trigger,
                .root = stage->root,
        };
        actor_make(actor);
}

static void stage_open(Stage *stage) {
        char folder[64];

        *stage = (Stage){ .root = "/tmp/test-unit-XXXXXX" };
        ASSERT_OK(sd_event_new(&stage->event));
        ASSERT_TRUE(mkdtemp(stage->root) != NULL);
        (void) snprintf(folder, sizeof(folder), "%s/run/wakechain/lease", stage->root);
        ASSERT_OK(directory_make(folder));
        (void) snprintf(folder, sizeof(folder), "%s/var/lib/wakechain/lease", stage->root);
        ASSERT_OK(directory_make(folder));
        stage->systemd = fake_systemd_new(stage->event);
        stage->unit = fake_systemd_add(stage->systemd, "db.service");
        actor_init(&stage->one, stage, "one");
        actor_init(&stage->two, stage, "two");
}

static void stage_close(Stage *stage) {
        char command[64];

        member_free(stage->one.member);
        member_free(stage->two.member);
        fake_systemd_free(stage->systemd);
        sd_event_unref(stage->event);
        (void) snprintf(command, sizeof(command), "rm -r %s", stage->root);
        ASSERT_EQ(system(command), 0);
}

static void turn(Stage *stage) {
        ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

static void run_until(Actor *actor, MemberPhase phase) {
        while (actor->member->phase != phase) {
                if (actor->member->phase == MEMBER_FAILED)
                        TEST_FAIL("failed instead of %s: %s", phase_names[phase], actor->member->error);
                turn(actor->stage);
        }
}

static void prepare(Actor *actor) {
        member_prepare(actor->member);
        run_until(actor, MEMBER_PREPARED);
}

static void start(Actor *actor) {
        prepare(actor);
        member_start(actor->member);
}

static void wake(Actor *actor) {
        start(actor);
        run_until(actor, MEMBER_READY);
}

static void stop(Actor *actor, StopMode mode) {
        member_stop(actor->member, mode);
        while (actor->member->phase != MEMBER_STOPPED)
                turn(actor->stage);
        actor->member = member_free(actor->member);
        actor_make(actor);
}

/* As a process that was killed: the lock goes with it, the record stays. */
static void crash(Actor *actor) {
        actor->member = member_free(actor->member);
        actor_make(actor);
}

static bool is(const FakeUnit *unit, const char *active_state) {
        return streq(unit->active_state, active_state);
}

static void check_record(Stage *stage, bool ours, bool ready) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, stage->root, LEASE));
        ASSERT_OK(lease_read(lease, &record));
        ASSERT_EQ(record.ours, ours);
        ASSERT_EQ(record.ready, ready);
}

static void test_started_and_stopped(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        ASSERT_STREQ(stage.one.phases, " preparing prepared starting checking ready");
        check_record(&stage, true, true);
        ASSERT_TRUE(member_would_stop(stage.one.member, STOP_SLEEP));
        ASSERT_EQ(member_stop_budget(stage.one.member), (90 + 15) * USEC_PER_SEC);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        check_record(&stage, false, false);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\nstop db.service\n");
        stage_close(&stage);
}

static void test_what_ran_before_is_left(void) {
        Stage stage;

        stage_open(&stage);
        fake_systemd_run(stage.systemd, stage.unit);
        wake(&stage.one);
        ASSERT_FALSE(member_would_stop(stage.one.member, STOP_SLEEP));
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "active"));
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "");

        /* An administrator said so. */
        wake(&stage.one);
        stop(&stage.one, STOP_ALL);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_kept_is_never_stopped(void) {
        Stage stage;

        stage_open(&stage);
        stage.one.dependency.keep = true;
        wake(&stage.one);
        stop(&stage.one, STOP_ALL);
        ASSERT_TRUE(is(stage.unit, "active"));
        stage_close(&stage);
}

static void test_adopted_is_stopped_but_not_rolled_back(void) {
        Stage stage;

        stage_open(&stage);
        stage.one.service.adopt = ADOPT_ALL;
        fake_systemd_run(stage.systemd, stage.unit);
        wake(&stage.one);
        stop(&stage.one, STOP_ROLLBACK);
        ASSERT_TRUE(is(stage.unit, "active"));
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_last_of_two_stops_it(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        wake(&stage.two);
        ASSERT_STREQ(stage.two.phases, " preparing prepared ready");
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "active"));
        stop(&stage.two, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\nstop db.service\n");
        stage_close(&stage);
}

/* Whoever wants it waits until the stop is over, and then starts it. */
static void test_wake_crosses_stop(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        stage.unit->slow = true;
        member_stop(stage.one.member, STOP_SLEEP);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        member_prepare(stage.two.member);
        stage.unit->slow = false;
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until(&stage.one, MEMBER_STOPPED);
        run_until(&stage.two, MEMBER_PREPARED);
        member_start(stage.two.member);
        run_until(&stage.two, MEMBER_READY);
        ASSERT_EQ(stage.unit->run, 2);
        stop(&stage.two, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_killed_waker_knows_what_is_its_own(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        crash(&stage.one);
        wake(&stage.one);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));

        /* In the middle of the start. */
        stage.unit->slow = true;
        start(&stage.one);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        crash(&stage.one);
        start(&stage.one);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until(&stage.one, MEMBER_READY);
        stage.unit->slow = false;
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        ASSERT_EQ(stage.unit->run, 2);
        stage_close(&stage);
}

/* Killed, and told to stop before systemd has answered the next one. */
static void test_stop_while_preparing(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        crash(&stage.one);
        member_prepare(stage.one.member);
        ASSERT_EQ(stage.one.member->phase, MEMBER_PREPARING);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));

        fake_systemd_run(stage.systemd, stage.unit);
        member_prepare(stage.one.member);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "active"));
        member_prepare(stage.one.member);
        stop(&stage.one, STOP_ALL);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_another_run_is_not_ours(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        crash(&stage.one);
        fake_systemd_set(stage.systemd, stage.unit, "inactive", "success");
        fake_systemd_run(stage.systemd, stage.unit);
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "active"));
        stage_close(&stage);
}

static void test_checked_by_command(void) {
        char command[96];
        Stage stage;

        stage_open(&stage);
        (void) snprintf(command, sizeof(command), "test -e %s/there", stage.root);
        stage.one.dependency.health.command = command;
        start(&stage.one);
        run_until(&stage.one, MEMBER_CHECKING);
        while (!is(stage.unit, "active"))
                turn(&stage);
        (void) snprintf(command, sizeof(command), "test -e %s/run", stage.root);
        run_until(&stage.one, MEMBER_READY);
        crash(&stage.one);

        /* Known to be ready: not checked again. */
        (void) snprintf(command, sizeof(command), "exit 1");
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        stage_close(&stage);
}

static void run_until_failed(Actor *actor, FailureReason reason, const char *word) {
        while (actor->member->phase != MEMBER_FAILED)
                turn(actor->stage);
        ASSERT_EQ(actor->member->reason, reason);
        if (!strstr(actor->member->error, word))
                TEST_FAIL("'%s' instead of '%s'", actor->member->error, word);
}

static void test_check_fails(void) {
        Stage stage;

        stage_open(&stage);
        stage.one.dependency.health.tcp = (char *) "5432";
        start(&stage.one);
        run_until_failed(&stage.one, FAILURE_HEALTH_CHECK_FAILED, "no address");
        stop(&stage.one, STOP_ROLLBACK);
        ASSERT_TRUE(is(stage.unit, "inactive"));

        stage.one.dependency.health.tcp = NULL;
        stage.one.dependency.health.command = (char *) "echo not yet; exit 1";
        stage.one.dependency.health.budget_usec = 50 * USEC_PER_MSEC;
        start(&stage.one);
        run_until_failed(&stage.one, FAILURE_HEALTH_CHECK_FAILED, "not ready after 50ms");
        stage_close(&stage);
}

static void test_start_fails(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->failing_starts = 1;
        start(&stage.one);
        run_until_failed(&stage.one, FAILURE_START_FAILED, "exit-code");
        ASSERT_TRUE(strstr(stage.one.member->error, "journalctl -u db.service") != NULL);
        check_record(&stage, false, false);
        stop(&stage.one, STOP_ROLLBACK);
        /* Once is enough: the next wake is the next try. */
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        wake(&stage.one);
        stage_close(&stage);
}

static void test_start_is_refused(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->refusal = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
        stage.unit->refusal_text = "Interactive authentication required.";
        start(&stage.one);
        run_until_failed(&stage.one, FAILURE_START_FAILED, "polkit does not allow");
        check_record(&stage, false, false);
        stage_close(&stage);
}

static void test_start_is_cancelled(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->slow = true;
        start(&stage.one);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        fake_systemd_finish(stage.systemd, stage.unit, "canceled");
        run_until_failed(&stage.one, FAILURE_START_FAILED, "cancelled");
        stage_close(&stage);
}

static void test_condition_of_the_unit_is_not_met(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->skipped = true;
        start(&stage.one);
        run_until_failed(&stage.one, FAILURE_START_FAILED, "a condition of it is not met");
        stage_close(&stage);
}

static void test_missing_units(void) {
        static const struct {
                const char *load_state, *word;
        } cases[] = {
                { "not-found", "there is no such unit" },
                { "masked", "systemctl unmask db.service" },
                { "bad-setting", "cannot be loaded" },
        };
        Stage stage;

        stage_open(&stage);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                stage.unit->load_state = cases[i].load_state;
                member_prepare(stage.one.member);
                run_until_failed(&stage.one, FAILURE_NOT_FOUND, cases[i].word);
                stop(&stage.one, STOP_ROLLBACK);
        }
        stage_close(&stage);
}

static void test_no_bus(void) {
        Stage stage;

        stage_open(&stage);
        fake_systemd_down(stage.systemd);
        member_prepare(stage.one.member);
        run_until_failed(&stage.one, FAILURE_START_FAILED, "cannot be reached over the system bus");
        fake_systemd_up(stage.systemd);
        stop(&stage.one, STOP_ROLLBACK);
        stage_close(&stage);
}

static void test_bus_restarts_while_ready(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        fake_systemd_down(stage.systemd);
        fake_systemd_up(stage.systemd);
        while (fake_systemd_connections(stage.systemd) < 2)
                turn(&stage);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_started_is_enough(void) {
        Stage stage;

        stage_open(&stage);
        stage.one.dependency.condition = CONDITION_STARTED;
        stage.unit->slow = true;
        wake(&stage.one);
        ASSERT_TRUE(is(stage.unit, "activating"));
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        stage.unit->slow = false;
        for (unsigned i = 0; i < 10; i++)
                (void) sd_event_run(stage.event, 0);
        ASSERT_EQ(stage.one.member->phase, MEMBER_READY);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));

        /* A one-shot may end. */
        stage.unit->oneshot = true;
        wake(&stage.one);
        for (unsigned i = 0; i < 20; i++)
                (void) sd_event_run(stage.event, 0);
        ASSERT_EQ(stage.one.member->phase, MEMBER_READY);
        ASSERT_STREQ(stage.one.phases, " preparing prepared starting ready");
        stage_close(&stage);
}

static void test_completed_runs_once(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->oneshot = true;
        stage.one.dependency.condition = CONDITION_COMPLETED;
        stage.two.dependency.condition = CONDITION_COMPLETED;
        wake(&stage.one);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stop(&stage.one, STOP_SLEEP);
        wake(&stage.two);
        stop(&stage.two, STOP_ALL);

        /* systemd has forgotten it. */
        stage.unit->exited = false;
        stage.unit->run = 0;
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");

        /* Somebody has run it again, and it failed. */
        fake_systemd_set(stage.systemd, stage.unit, "failed", "exit-code");
        wake(&stage.one);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\nstart db.service\n");
        stage_close(&stage);
}

static void test_completed_and_remaining(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->remains = true;
        stage.one.dependency.condition = CONDITION_COMPLETED;
        wake(&stage.one);
        ASSERT_STREQ(stage.unit->sub_state, "exited");
        stop(&stage.one, STOP_SLEEP);
        ASSERT_STREQ(stage.unit->sub_state, "exited");
        wake(&stage.one);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stage_close(&stage);
}

static void test_completed_waits_for_one_that_runs(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->oneshot = true;
        stage.unit->slow = true;
        stage.one.dependency.condition = CONDITION_COMPLETED;
        stage.two.dependency.condition = CONDITION_COMPLETED;
        start(&stage.one);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        start(&stage.two);
        ASSERT_EQ(stage.two.member->phase, MEMBER_CHECKING);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until(&stage.one, MEMBER_READY);
        run_until(&stage.two, MEMBER_READY);
        ASSERT_EQ(stage.unit->run, 1);
        stage_close(&stage);
}

static void test_one_shot_that_is_to_be_ready_runs_at_each_wake(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->oneshot = true;
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        wake(&stage.one);
        ASSERT_EQ(stage.unit->run, 2);
        stage_close(&stage);
}

static void test_failing_by_itself_is_started_again_twice(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        for (unsigned i = 0; i < 2; i++) {
                stage.unit->exited = true;
                fake_systemd_set(stage.systemd, stage.unit, "failed", "signal");
                run_until(&stage.one, MEMBER_RECOVERING);
                run_until(&stage.one, MEMBER_READY);
                ASSERT_TRUE(is(stage.unit, "active"));
        }
        fake_systemd_set(stage.systemd, stage.unit, "failed", "signal");
        run_until_failed(&stage.one, FAILURE_CONTAINER_EXITED, "failed 3 times, at last with: signal");
        stop(&stage.one, STOP_SLEEP);
        stage_close(&stage);
}

static void test_restart_that_fails_too(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        stage.unit->failing_starts = 9;
        fake_systemd_set(stage.systemd, stage.unit, "failed", "signal");
        run_until_failed(&stage.one, FAILURE_CONTAINER_EXITED, "failed 3 times");
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\nstart db.service\nstart db.service\n");
        stage_close(&stage);
}

/* What was there before counts as well: it is started again, and is then ours. */
static void test_failure_of_what_ran_before(void) {
        Stage stage;

        stage_open(&stage);
        fake_systemd_run(stage.systemd, stage.unit);
        wake(&stage.one);
        fake_systemd_set(stage.systemd, stage.unit, "failed", "signal");
        run_until(&stage.one, MEMBER_RECOVERING);
        run_until(&stage.one, MEMBER_READY);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_systemd_restarts_it_itself(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        fake_systemd_set(stage.systemd, stage.unit, "activating", "signal");
        run_until(&stage.one, MEMBER_RECOVERING);
        fake_systemd_run(stage.systemd, stage.unit);
        run_until(&stage.one, MEMBER_READY);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

/* Whoever is left of its users knows that it is ours, whatever run it is in. */
static void test_restarted_one_is_stopped_by_the_last(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        wake(&stage.two);
        stop(&stage.one, STOP_SLEEP);
        fake_systemd_set(stage.systemd, stage.unit, "activating", "signal");
        run_until(&stage.two, MEMBER_RECOVERING);
        fake_systemd_run(stage.systemd, stage.unit);
        run_until(&stage.two, MEMBER_READY);
        stop(&stage.two, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_restart_by_hand_is_followed(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        fake_systemd_set(stage.systemd, stage.unit, "deactivating", "success");
        run_until(&stage.one, MEMBER_RECOVERING);
        fake_systemd_set(stage.systemd, stage.unit, "inactive", "success");
        for (unsigned i = 0; i < 10; i++)
                (void) sd_event_run(stage.event, 0);
        fake_systemd_run(stage.systemd, stage.unit);
        run_until(&stage.one, MEMBER_READY);
        stage_close(&stage);
}

static void test_stop_by_hand_is_a_loss(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        fake_systemd_set(stage.systemd, stage.unit, "inactive", "success");
        run_until(&stage.one, MEMBER_LOST);
        check_record(&stage, false, false);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stage_close(&stage);
}

static void test_stop_that_is_refused_leaves_it(void) {
        Stage stage;

        stage_open(&stage);
        wake(&stage.one);
        stage.unit->refusal = "org.freedesktop.DBus.Error.AccessDenied";
        stage.unit->refusal_text = "Access denied";
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "active"));
        check_record(&stage, true, true);
        stage.unit->refusal = NULL;
        wake(&stage.one);
        stop(&stage.one, STOP_SLEEP);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        stage_close(&stage);
}

static void test_stop_cancels_a_start(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->slow = true;
        start(&stage.one);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        stage.unit->slow = false;
        stop(&stage.one, STOP_ROLLBACK);
        ASSERT_TRUE(is(stage.unit, "inactive"));
        check_record(&stage, false, false);
        stage_close(&stage);
}

int main(void) {
        test_started_and_stopped();
        test_what_ran_before_is_left();
        test_kept_is_never_stopped();
        test_adopted_is_stopped_but_not_rolled_back();
        test_last_of_two_stops_it();
        test_wake_crosses_stop();
        test_killed_waker_knows_what_is_its_own();
        test_stop_while_preparing();
        test_another_run_is_not_ours();
        test_checked_by_command();
        test_check_fails();
        test_start_fails();
        test_start_is_refused();
        test_start_is_cancelled();
        test_condition_of_the_unit_is_not_met();
        test_missing_units();
        test_no_bus();
        test_bus_restarts_while_ready();
        test_started_is_enough();
        test_completed_runs_once();
        test_completed_and_remaining();
        test_completed_waits_for_one_that_runs();
        test_one_shot_that_is_to_be_ready_runs_at_each_wake();
        test_failing_by_itself_is_started_again_twice();
        test_restart_that_fails_too();
        test_failure_of_what_ran_before();
        test_systemd_restarts_it_itself();
        test_restarted_one_is_stopped_by_the_last();
        test_restart_by_hand_is_followed();
        test_stop_by_hand_is_a_loss();
        test_stop_that_is_refused_leaves_it();
        test_stop_cancels_a_start();
        return EXIT_SUCCESS;
}
