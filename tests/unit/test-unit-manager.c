#include <signal.h>
#include <stdio.h>

#include "fake-systemd.h"
#include "manager/unit-manager.h"
#include "test.h"
#include "util/time.h"

/* One event loop with a fake systemd and a watch; what the watch tells is kept. */

typedef struct Stage {
        sd_event *event;
        FakeSystemd *systemd;
        FakeUnit *unit;
        UnitWatch *watch;
        unsigned n_infos, n_errors;
        UnitState state;
        bool ran, busy;
        char load_state[32], result[32], run[33];
        uint64_t stop_timeout_usec;
        int error;
        char sentence[512];
        bool free_when_told;
} Stage;

static void stage_on_watch(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                           void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        ASSERT_TRUE(watch == stage->watch);
        ASSERT_EQ(!info, error < 0);
        if (info) {
                stage->n_infos++;
                stage->state = info->state;
                stage->ran = info->ran;
                stage->busy = info->busy;
                stage->stop_timeout_usec = info->stop_timeout_usec;
                (void) snprintf(stage->load_state, sizeof(stage->load_state), "%s", info->load_state);
                (void) snprintf(stage->result, sizeof(stage->result), "%s", info->result);
                (void) snprintf(stage->run, sizeof(stage->run), "%s", info->invocation_id);
        } else {
                stage->n_errors++;
                stage->error = error;
                (void) snprintf(stage->sentence, sizeof(stage->sentence), "%s", sentence);
        }
        if (stage->free_when_told)
                stage->watch = unit_watch_free(stage->watch);
}

static void stage_watch(Stage *stage, const char *name) {
        ASSERT_OK(unit_watch_new(&stage->watch, stage->event, name, stage_on_watch, stage));
}

static void stage_open(Stage *stage) {
        *stage = (Stage){ .state = _UNIT_STATE_INVALID };
        ASSERT_OK(sd_event_new(&stage->event));
        stage->systemd = fake_systemd_new(stage->event);
        stage->unit = fake_systemd_add(stage->systemd, "db.service");
}

static void stage_close(Stage *stage) {
        unit_watch_free(stage->watch);
        fake_systemd_free(stage->systemd);
        sd_event_unref(stage->event);
}

static void turn(Stage *stage) {
        ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

static void run_until_state(Stage *stage, UnitState state) {
        while (stage->state != state || stage->busy)
                turn(stage);
}

static void run_until_error(Stage *stage) {
        unsigned n = stage->n_errors;

        while (stage->n_errors == n)
                turn(stage);
}

static void run_until_info(Stage *stage) {
        unsigned n = stage->n_infos;

        while (stage->n_infos == n)
                turn(stage);
}

static void test_names(void) {
        static const char *const good[] = { "a.service", "a@b.service", "dev-x\\x2dy.mount", "a:b_c.target" };
        static const char *const bad[] = { "",           "a",           ".service", "a@.service",
                                           "@b.service", "a/b.service", "a.unit",   "a b.service",
                                           "-.",         "a.service\n" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ASSERT_TRUE(unit_name_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_FALSE(unit_name_is_valid(bad[i]));
}

static void test_first_state_and_changes_are_told(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->stop_timeout_usec = 7 * USEC_PER_SEC;
        stage_watch(&stage, "db.service");
        ASSERT_EQ(stage.n_infos, 0);
        run_until_state(&stage, UNIT_INACTIVE);
        ASSERT_STREQ(stage.load_state, "loaded");
        ASSERT_STREQ(stage.run, "");
        ASSERT_FALSE(stage.ran);
        ASSERT_EQ(stage.stop_timeout_usec, 7 * USEC_PER_SEC);

        fake_systemd_run(stage.systemd, stage.unit);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_STREQ(stage.run, "00000000000000000000000000000001");
        fake_systemd_set(stage.systemd, stage.unit, "reloading", "success");
        run_until_info(&stage);
        ASSERT_EQ(stage.state, UNIT_ACTIVE);
        fake_systemd_set(stage.systemd, stage.unit, "failed", "signal");
        run_until_state(&stage, UNIT_FAILED);
        ASSERT_STREQ(stage.result, "signal");
        ASSERT_EQ(stage.n_errors, 0);
        stage_close(&stage);
}

static void test_missing_units(void) {
        static const char *const load_states[] = { "masked", "bad-setting", "error" };
        Stage stage;

        stage_open(&stage);
        stage_watch(&stage, "nothing.service");
        run_until_state(&stage, UNIT_MISSING);
        ASSERT_STREQ(stage.load_state, "not-found");
        stage.watch = unit_watch_free(stage.watch);

        for (size_t i = 0; i < ELEMENTSOF(load_states); i++) {
                stage.unit->load_state = load_states[i];
                stage.state = _UNIT_STATE_INVALID;
                stage_watch(&stage, "db.service");
                run_until_state(&stage, UNIT_MISSING);
                ASSERT_STREQ(stage.load_state, load_states[i]);
                stage.watch = unit_watch_free(stage.watch);
        }

        /* One that runs is there although its file is gone. */
        stage.unit->load_state = "not-found";
        stage.unit->active_state = "active";
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_ERROR(unit_watch_new(&stage.watch, stage.event, "nonsense", stage_on_watch, &stage), EINVAL);
        stage_close(&stage);
}

static void test_start_and_stop(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->slow = true;
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);

        unit_watch_start(stage.watch);
        while (stage.state != UNIT_ACTIVATING)
                turn(&stage);
        ASSERT_TRUE(stage.busy);
        /* Active, but the job is not done yet. */
        fake_systemd_set(stage.systemd, stage.unit, "active", "success");
        run_until_info(&stage);
        ASSERT_TRUE(stage.busy);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until_state(&stage, UNIT_ACTIVE);

        unit_watch_stop(stage.watch);
        while (stage.state != UNIT_DEACTIVATING)
                turn(&stage);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until_state(&stage, UNIT_INACTIVE);
        ASSERT_FALSE(stage.ran); /* it was killed */
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\nstop db.service\n");
        ASSERT_EQ(stage.n_errors, 0);
        stage_close(&stage);
}

static void test_start_before_the_first_answer(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->run = 3; /* which ended some time ago */
        stage_watch(&stage, "db.service");
        unit_watch_start(stage.watch);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stage_close(&stage);
}

static void test_one_shots_have_run(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->oneshot = true;
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);
        ASSERT_FALSE(stage.ran);
        unit_watch_start(stage.watch);
        while (!stage.ran)
                turn(&stage);
        run_until_state(&stage, UNIT_INACTIVE);

        stage.unit->oneshot = false;
        stage.unit->remains = true;
        unit_watch_start(stage.watch);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_TRUE(stage.ran);

        stage.unit->exit_code = CLD_EXITED;
        fake_systemd_set(stage.systemd, stage.unit, "failed", "exit-code");
        run_until_state(&stage, UNIT_FAILED);
        ASSERT_FALSE(stage.ran);
        stage_close(&stage);
}

static void test_other_kinds_have_run_when_active(void) {
        Stage stage;
        FakeUnit *mount;

        stage_open(&stage);
        mount = fake_systemd_add(stage.systemd, "srv-data.mount");
        stage_watch(&stage, "srv-data.mount");
        run_until_state(&stage, UNIT_INACTIVE);
        ASSERT_FALSE(stage.ran);
        fake_systemd_run(stage.systemd, mount);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_TRUE(stage.ran);
        stage_close(&stage);
}

static void test_failures_are_told_in_sentences(void) {
        static const struct {
                const char *result;
                int error;
                const char *word;
        } cases[] = {
                { "failed", EIO, "exit-code" }, { "timeout", EIO, "in time" },
                { "dependency", EIO, "needs" }, { "canceled", ECANCELED, "cancelled" },
                { "assert", EIO, "assertion" }, { "frozen", EIO, "frozen" },
        };
        Stage stage;

        stage_open(&stage);
        stage.unit->slow = true;
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                unit_watch_start(stage.watch);
                while (!fake_systemd_has_job(stage.systemd, stage.unit))
                        turn(&stage);
                fake_systemd_finish(stage.systemd, stage.unit, cases[i].result);
                run_until_error(&stage);
                ASSERT_EQ(stage.error, -cases[i].error);
                ASSERT_TRUE(strstr(stage.sentence, cases[i].word) != NULL);
                ASSERT_TRUE(strstr(stage.sentence, "journalctl -u db.service") != NULL);
                run_until_info(&stage);
                ASSERT_FALSE(stage.busy);
                fake_systemd_set(stage.systemd, stage.unit, "inactive", "success");
                run_until_state(&stage, UNIT_INACTIVE);
        }
        stage_close(&stage);
}

static void test_refusals_say_what_to_do(void) {
        static const struct {
                const char *name, *text;
                int error;
                const char *word;
        } cases[] = {
                { "org.freedesktop.DBus.Error.AccessDenied", "Access denied", EACCES, "is polkitd installed" },
                { "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
                  "Interactive authentication required.", EACCES, "wakectl check --unit=db.service" },
                { "org.freedesktop.systemd1.UnitMasked", "Unit polkit.service is masked.", EACCES,
                  "Unit polkit.service is masked." },
                { "org.freedesktop.systemd1.OnlyByDependency", "Operation refused.\n\x1b[31m", EIO,
                  "Operation refused.  [31m" },
        };
        Stage stage;

        stage_open(&stage);
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                stage.unit->refusal = cases[i].name;
                stage.unit->refusal_text = cases[i].text;
                unit_watch_start(stage.watch);
                run_until_error(&stage);
                ASSERT_EQ(stage.error, -cases[i].error);
                if (!strstr(stage.sentence, cases[i].word))
                        TEST_FAIL("'%s'", stage.sentence);
                run_until_info(&stage);
                ASSERT_FALSE(stage.busy);
        }
        stage_close(&stage);
}

static void test_alias(void) {
        Stage stage;

        stage_open(&stage);
        fake_systemd_add(stage.systemd, "sql.service")->alias_of = "db.service";
        stage_watch(&stage, "sql.service");
        run_until_state(&stage, UNIT_INACTIVE);
        fake_systemd_run(stage.systemd, stage.unit);
        run_until_state(&stage, UNIT_ACTIVE);

        /* polkit is asked about the proper name, which the configuration does not have. */
        stage.unit->refusal = "org.freedesktop.DBus.Error.AccessDenied";
        stage.unit->refusal_text = "Access denied";
        unit_watch_stop(stage.watch);
        run_until_error(&stage);
        ASSERT_EQ(stage.error, -EACCES);
        ASSERT_TRUE(strstr(stage.sentence, "alias of db.service") != NULL);
        stage_close(&stage);
}

static void test_watches_share_a_connection(void) {
        Stage stage, other = { .state = _UNIT_STATE_INVALID };

        stage_open(&stage);
        fake_systemd_add(stage.systemd, "cache.service")->active_state = "active";
        other.event = stage.event;
        stage_watch(&stage, "db.service");
        stage_watch(&other, "cache.service");
        run_until_state(&stage, UNIT_INACTIVE);
        run_until_state(&other, UNIT_ACTIVE);
        ASSERT_EQ(fake_systemd_connections(stage.systemd), 1);

        /* One goes, the other stays. */
        stage.watch = unit_watch_free(stage.watch);
        stage_watch(&stage, "db.service");
        other.watch = unit_watch_free(other.watch);
        fake_systemd_run(stage.systemd, stage.unit);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_EQ(fake_systemd_connections(stage.systemd), 1);
        stage_close(&stage);
}

static void test_bus_comes_back(void) {
        Stage stage;

        stage_open(&stage);
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);
        fake_systemd_down(stage.systemd);
        stage.unit->active_state = "active";
        fake_systemd_up(stage.systemd);
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_EQ(stage.n_errors, 0);

        /* In the middle of a start. */
        fake_systemd_set(stage.systemd, stage.unit, "inactive", "success");
        run_until_state(&stage, UNIT_INACTIVE);
        stage.unit->slow = true;
        unit_watch_start(stage.watch);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        fake_systemd_down(stage.systemd);
        fake_systemd_up(stage.systemd);
        while (fake_systemd_connections(stage.systemd) < 3 || stage.state != UNIT_ACTIVATING)
                turn(&stage);
        while (!strstr(fake_systemd_log(stage.systemd), "start db.service\nstart db.service\n"))
                turn(&stage);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_EQ(stage.unit->run, 1);
        stage_close(&stage);
}

/* What had its run while nobody listened is not run again. */
static void test_one_shot_ends_without_the_bus(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->oneshot = true;
        stage.unit->slow = true;
        stage_watch(&stage, "db.service");
        unit_watch_start(stage.watch);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        fake_systemd_down(stage.systemd);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        fake_systemd_up(stage.systemd);
        while (!stage.ran || stage.busy)
                turn(&stage);
        ASSERT_STREQ(fake_systemd_log(stage.systemd), "start db.service\n");
        stage_close(&stage);
}

static void test_no_bus_is_told_once(void) {
        Stage stage;

        stage_open(&stage);
        fake_systemd_down(stage.systemd);
        stage_watch(&stage, "db.service");
        run_until_error(&stage);
        ASSERT_EQ(stage.error, -ENOTCONN);
        ASSERT_TRUE(strstr(stage.sentence, "No such file") != NULL);

        fake_systemd_up(stage.systemd);
        run_until_state(&stage, UNIT_INACTIVE);
        ASSERT_EQ(stage.n_errors, 1);
        stage_close(&stage);
}

static void test_systemd_is_replaced(void) {
        Stage stage;

        stage_open(&stage);
        stage.unit->slow = true;
        stage_watch(&stage, "db.service");
        unit_watch_start(stage.watch);
        while (!fake_systemd_has_job(stage.systemd, stage.unit))
                turn(&stage);
        fake_systemd_reexec(stage.systemd);
        while (!strstr(fake_systemd_log(stage.systemd), "start db.service\nstart db.service\n"))
                turn(&stage);
        fake_systemd_finish(stage.systemd, stage.unit, "done");
        run_until_state(&stage, UNIT_ACTIVE);
        ASSERT_EQ(stage.unit->run, 1);
        ASSERT_EQ(stage.n_errors, 0);
        ASSERT_EQ(fake_systemd_connections(stage.systemd), 1);
        stage_close(&stage);
}

static void test_reload_reads_again(void) {
        Stage stage;

        stage_open(&stage);
        stage_watch(&stage, "db.service");
        run_until_state(&stage, UNIT_INACTIVE);
        stage.unit->load_state = "not-found";
        fake_systemd_reload(stage.systemd);
        run_until_state(&stage, UNIT_MISSING);
        stage_close(&stage);
}

static void test_freed_from_inside(void) {
        Stage stage;

        stage_open(&stage);
        stage.free_when_told = true;
        stage_watch(&stage, "db.service");
        while (stage.watch)
                turn(&stage);

        stage.unit->refusal = "org.freedesktop.DBus.Error.AccessDenied";
        stage.unit->refusal_text = "Access denied";
        stage.free_when_told = false;
        stage_watch(&stage, "db.service");
        run_until_info(&stage);
        stage.free_when_told = true;
        unit_watch_start(stage.watch);
        while (stage.watch)
                turn(&stage);
        ASSERT_EQ(stage.n_errors, 1);
        stage_close(&stage);
}

int main(void) {
        test_names();
        test_first_state_and_changes_are_told();
        test_missing_units();
        test_start_and_stop();
        test_start_before_the_first_answer();
        test_one_shots_have_run();
        test_other_kinds_have_run_when_active();
        test_failures_are_told_in_sentences();
        test_refusals_say_what_to_do();
        test_alias();
        test_watches_share_a_connection();
        test_bus_comes_back();
        test_one_shot_ends_without_the_bus();
        test_no_bus_is_told_once();
        test_systemd_is_replaced();
        test_reload_reads_again();
        test_freed_from_inside();
        return EXIT_SUCCESS;
}
