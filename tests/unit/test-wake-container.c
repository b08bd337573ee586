#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "fake-engine.h"
#include "io/composer.h"
#include "io/lease.h"
#include "test.h"
#include "util/fd.h"
#include "wake/container-internal.h"
#include "wake/container.h"

/* One container of two services that know nothing of each other, as two wakers have it, against a scripted engine. */

#define PATIENCE_USEC (30 * USEC_PER_SEC)

typedef struct Bench {
        sd_event *event;
        char root[32], folder[64];
        char **environment;
        FakeEngine *fake;
        FakeContainer *app;
        Config *config;
} Bench;

/* What a waker has of it. */
typedef struct Wake {
        Bench *bench;
        Engine *engine;
        Composer *composer;
        MemberContext context;
        Member *member;
        char phases[512]; /* as they came */
} Wake;

static const char *in_root(const Bench *bench, const char *name) {
        static char path[4][128];
        static unsigned next;
        char *text = path[next++ % ELEMENTSOF(path)];

        (void) snprintf(text, sizeof(path[0]), "%s/%s", bench->root, name);
        return text;
}

#define CHECK "\"healthCheck\":{\"command\":\"docker exec app check\",\"interval\":50,\"timeout\":10000}"
#define PLAIN "\"dependencies\":[{\"container\":\"app\"," CHECK "}]"
#define STARTED "\"dependencies\":[{\"container\":\"app\",\"condition\":\"started\"}]"
#define COMPLETED "\"dependencies\":[{\"container\":\"app\",\"condition\":\"completed\"}]"
#define KEPT "\"dependencies\":[{\"container\":\"app\",\"keep\":true," CHECK "}]"
#define PAUSING "\"sleep\":\"pause\"," PLAIN

/* `service` is the inside of the objects of the services "one" and "two". */
static void bench_open(Bench *bench, const char *service) {
        static const char *const folders[] = { "run/wakechain/lease", "var/lib/wakechain/lease", "project",
                                               "bin" };
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_free_ char *text = NULL;

        *bench = (Bench){ .root = "/tmp/test-container-XXXXXX" };
        ASSERT_TRUE(mkdtemp(bench->root) != NULL);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                ASSERT_OK(directory_make(in_root(bench, folders[i])));
        ASSERT_OK(sd_event_new(&bench->event));
        bench->fake = fake_engine_new(bench->event, in_root(bench, "engine.sock"));
        bench->app = fake_engine_add(bench->fake, "app");

        ASSERT_TRUE(asprintf(&text,
                             "{\"engineSocket\":\"%s\",\"services\":{\"one\":{\"name\":\"web\",%s},"
                             "\"two\":{\"name\":\"web\",%s}}}",
                             in_root(bench, "engine.sock"), service, service) > 0);
        ASSERT_OK(config_parse(&bench->config, "test.json", text, strlen(text), &problems));
        for (size_t i = 0; i < problems.n_problems; i++)
                if (problems.problems[i].level == PROBLEM_ERROR)
                        TEST_FAIL("%s: %s", problems.problems[i].path, problems.problems[i].text);
}

static void bench_close(Bench *bench) {
        _cleanup_free_ char *command = NULL;

        fake_engine_free(bench->fake);
        config_free(bench->config);
        strv_free(bench->environment);
        sd_event_unref(bench->event);
        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", bench->root) > 0);
        ASSERT_EQ(system(command), 0);
}

static void wake_on_member(Member *member, void *userdata) {
        static const char *const names[_MEMBER_PHASE_MAX] = {
                [MEMBER_PREPARING] = "preparing",   [MEMBER_PREPARED] = "prepared", [MEMBER_STARTING] = "starting",
                [MEMBER_CHECKING] = "checking",     [MEMBER_READY] = "ready",       [MEMBER_FAILED] = "failed",
                [MEMBER_RECOVERING] = "recovering", [MEMBER_LOST] = "lost",         [MEMBER_STOPPING] = "stopping",
                [MEMBER_STOPPED] = "stopped",
        };
        Wake *wake = ASSERT_PTR(userdata);
        const char *name = names[member_phase(member)], *last = strrchr(wake->phases, ' ');

        if (streq(name, last ? last + 1 : wake->phases))
                return;
        ASSERT_TRUE(strlen(wake->phases) + strlen(name) + 2 < sizeof(wake->phases));
        if (wake->phases[0] != '\0')
                strcat(wake->phases, " ");
        strcat(wake->phases, name);
}

static void ignore_line(const char *line, void *userdata) {
}

static void wake_on_event(Engine *engine, const ContainerEvent *event, bool lost, void *userdata) {
        Wake *wake = ASSERT_PTR(userdata);

        if (lost)
                container_on_engine_lost(wake->member);
        else if (!event)
                container_on_engine_back(wake->member);
        else
                container_on_event(wake->member, event);
}

static void wake_open(Wake *wake, Bench *bench, const char *service) {
        char *const names[] = { (char *) "app", NULL };

        *wake = (Wake){ .bench = bench };
        ASSERT_OK(engine_new(&wake->engine, bench->event, bench->config->engine_socket));
        wake->context = (MemberContext){
                .event = bench->event,
                .engine = wake->engine,
                .service = config_find(bench->config, service),
                .wake_id = streq(service, "one") ? "wake-of-one" : "wake-of-two",
                .environment = bench->environment,
                .root = bench->root,
        };
        ASSERT_OK(member_new(&wake->member, &wake->context, wake->context.service->dependencies, wake_on_member,
                             wake));
        ASSERT_TRUE(member_is_container(wake->member));
        ASSERT_OK(engine_watch(wake->engine, names, wake_on_event, wake));
}

static void wake_close(Wake *wake) {
        wake->member = member_free(wake->member);
        wake->composer = composer_free(wake->composer);
        wake->engine = engine_free(wake->engine);
}

static void run_until(Wake *wake, MemberPhase phase) {
        uint64_t until_usec = time_now(CLOCK_MONOTONIC) + PATIENCE_USEC;

        while (member_phase(wake->member) != phase) {
                ASSERT_OK(sd_event_run(wake->bench->event, PATIENCE_USEC));
                if (time_now(CLOCK_MONOTONIC) >= until_usec)
                        TEST_FAIL("still '%s'", wake->phases);
        }
}

static void run_until_line(Bench *bench, const char *line) {
        while (!strv_contains(fake_engine_lines(bench->fake), line))
                ASSERT_TRUE(sd_event_run(bench->event, PATIENCE_USEC) > 0);
}

/* Until nothing more happens by itself. */
static void run_for(Bench *bench, uint64_t usec) {
        for (uint64_t until_usec = time_now(CLOCK_MONOTONIC) + usec, now_usec;
             (now_usec = time_now(CLOCK_MONOTONIC)) < until_usec;)
                ASSERT_OK(sd_event_run(bench->event, until_usec - now_usec));
}

static void prepare(Wake *wake) {
        member_prepare(wake->member);
        run_until(wake, MEMBER_PREPARED);
}

static void wake_up(Wake *wake) {
        prepare(wake);
        member_start(wake->member);
        run_until(wake, MEMBER_READY);
}

static void expect_lines(Bench *bench, const char *expected) {
        char text[2048] = "";

        for (char *const *line = fake_engine_lines(bench->fake); line && *line; line++) {
                ASSERT_TRUE(strlen(text) + strlen(*line) + 3 < sizeof(text));
                if (text[0] != '\0')
                        strcat(text, ", ");
                strcat(text, *line);
        }
        ASSERT_STREQ(text, expected);
        fake_engine_forget_lines(bench->fake);
}

static void put_to_sleep(Wake *wake, StopMode mode) {
        member_stop(wake->member, mode);
        run_until(wake, MEMBER_STOPPED);
        wake_close(wake);
}

static void expect_failed(Wake *wake, FailureReason reason, const char *word) {
        run_until(wake, MEMBER_FAILED);
        ASSERT_STREQ(failure_reason_to_string(member_reason(wake->member)), failure_reason_to_string(reason));
        ASSERT_TRUE(member_error(wake->member) != NULL);
        if (!strstr(member_error(wake->member), word))
                TEST_FAIL("'%s' is not in '%s'", word, member_error(wake->member));
}

/* As another waker left it, or will find it. */
static void write_record(Bench *bench, const LeaseRecord *record) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, bench->root, "app"));
        ASSERT_OK(lease_write(lease, record));
}

static void read_record(Bench *bench, LeaseRecord *ret) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, bench->root, "app"));
        ASSERT_OK(lease_read(lease, ret));
}

static bool record_is_ours(Bench *bench) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        read_record(bench, &record);
        return record.ours;
}

static void run_container(Bench *bench, unsigned run) {
        bench->app->running = true;
        bench->app->run = run;
}

/* Starting, and whose it is */

static void test_record_says_whose_it_is(void) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_STREQ(wake.phases, "preparing prepared starting checking ready");
        expect_lines(&bench, "start app, ready app");
        read_record(&bench, &record);
        ASSERT_TRUE(record.ours && record.ready);
        ASSERT_STREQ(record.service, "one");
        ASSERT_STREQ(record.wake_id, "wake-of-one");
        ASSERT_STREQ(record.container_id, "app.0");
        ASSERT_STREQ(record.started_at, container_info(wake.member)->started_at);

        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        ASSERT_FALSE(record_is_ours(&bench));
        bench_close(&bench);
}

static void test_run_of_the_record_is_ours_and_not_checked_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        wake_close(&wake);
        fake_engine_forget_lines(bench.fake);

        wake_open(&wake, &bench, "two");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        bench_close(&bench);
}

static void test_run_started_by_hand_is_not_ours(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 7);
        write_record(&bench, &(LeaseRecord){ .ours = true,
                                             .ready = true,
                                             .wake_id = (char *) "w",
                                             .container_id = (char *) "app.0",
                                             .started_at = (char *) "2026-01-05T08:00:06.1Z" });
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app");
        bench_close(&bench);
}

static void test_run_that_the_engine_restarted_is_ours(void) {
        static const struct {
                const char *policy, *id;
                bool ours;
        } cases[] = {
                { "unless-stopped", "app.0", true },
                { "always", "app.0", true },
                { "unless-stopped", "another", false },
                { NULL, "app.0", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                run_container(&bench, 7);
                bench.app->restart_policy = cases[i].policy;
                write_record(&bench, &(LeaseRecord){ .ours = true,
                                                     .ready = true,
                                                     .wake_id = (char *) "w",
                                                     .container_id = (char *) cases[i].id,
                                                     .started_at = (char *) "2026-01-05T08:00:06.1Z" });
                wake_open(&wake, &bench, "one");
                wake_up(&wake);
                put_to_sleep(&wake, STOP_SLEEP);
                /* In any case it is another run than the one that was found ready. */
                expect_lines(&bench, cases[i].ours ? "ready app, stop app" : "ready app");
                bench_close(&bench);
        }
}

static void test_record_that_outlived_a_reboot(void) {
        for (unsigned restarts = 0; restarts < 2; restarts++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                run_container(&bench, 1);
                bench.app->restart_policy = restarts ? "unless-stopped" : "no";
                write_record(&bench, &(LeaseRecord){ .ours = true,
                                                     .wake_id = (char *) "w",
                                                     .container_id = (char *) "app.0" });
                ASSERT_EQ(unlink(in_root(&bench, "run/wakechain/lease/app")), 0);
                wake_open(&wake, &bench, "one");
                wake_up(&wake);
                put_to_sleep(&wake, STOP_SLEEP);
                expect_lines(&bench, restarts ? "ready app, stop app" : "ready app");
                bench_close(&bench);
        }
}

static void test_announced_start_is_ours(void) {
        Bench bench;
        Wake wake;

        /* Killed between the announcement and the answer to the start. */
        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        write_record(&bench, &(LeaseRecord){ .ours = true, .wake_id = (char *) "w" });
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app, stop app");
        bench_close(&bench);
}

static void test_adopted_is_stopped_but_not_by_a_rollback(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, "\"adopt\":true," PLAIN);
        run_container(&bench, 1);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "ready app");

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        bench_close(&bench);
}

static void test_started_by_hand_in_the_same_moment(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        bench.app->late_start = true;
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        ASSERT_FALSE(record_is_ours(&bench));
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app");
        ASSERT_TRUE(bench.app->running);
        bench_close(&bench);
}

static void test_two_start_it_and_the_last_stops_it(void) {
        for (unsigned last = 0; last < 2; last++) {
                Bench bench;
                Wake wakes[2];

                bench_open(&bench, PLAIN);
                for (unsigned i = 0; i < 2; i++) {
                        wake_open(&wakes[i], &bench, i == 0 ? "one" : "two");
                        prepare(&wakes[i]);
                }
                member_start(wakes[0].member);
                member_start(wakes[1].member);
                run_until(&wakes[0], MEMBER_READY);
                run_until(&wakes[1], MEMBER_READY);
                ASSERT_TRUE(record_is_ours(&bench));
                put_to_sleep(&wakes[!last], STOP_SLEEP);
                ASSERT_TRUE(bench.app->running);
                put_to_sleep(&wakes[last], STOP_SLEEP);
                ASSERT_FALSE(bench.app->running);
                bench_close(&bench);
        }
}

static void test_what_happens_after_preparation_is_looked_at(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        run_for(&bench, 50 * USEC_PER_MSEC); /* the event stream is there */
        fake_engine_stop(bench.fake, "app");
        run_for(&bench, 50 * USEC_PER_MSEC);
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

/* Making it */

static void test_missing_without_compose_says_what_to_do(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->missing = true;
        wake_open(&wake, &bench, "one");
        member_prepare(wake.member);
        expect_failed(&wake, FAILURE_NOT_FOUND, "docker compose up --no-start");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "");
        bench_close(&bench);
}

/* A compose that makes the container, or says what it fails with. */
static void give_composer(Wake *wake, Bench *bench, const char *up) {
        static const char script[] =
                        "#!/bin/sh\n"
                        "case \"$*\" in\n"
                        "'compose version --short') echo 2.26.1 ;;\n"
                        "'compose --profile * config --format json') echo "
                        "'{\"name\":\"shop\",\"services\":{\"backend\":{\"container_name\":\"app\",\"image\":\"sim:1\"}}}' ;;\n"
                        "*' up '*) %s ;;\n"
                        "esac\n";
        _cleanup_free_ char *text = NULL, *path = NULL;

        ASSERT_TRUE(asprintf(&text, script, up) > 0);
        ASSERT_OK(file_replace(in_root(bench, "bin/docker"), text, strlen(text), 0755, false));
        ASSERT_OK(file_replace(in_root(bench, "project/compose.yaml"), "", 0, 0644, false));
        ASSERT_TRUE(asprintf(&path, "PATH=%s:/usr/bin:/bin", in_root(bench, "bin")) > 0);
        ASSERT_OK(strv_append(&bench->environment, path));

        (void) snprintf(bench->folder, sizeof(bench->folder), "%s", in_root(bench, "project"));
        (void) snprintf(bench->app->made_by, sizeof(bench->app->made_by), "%s", in_root(bench, "project/made"));
        ASSERT_OK(composer_new(&wake->composer, bench->event, bench->root, bench->folder, bench->environment,
                               ignore_line, NULL));
        wake->context.composer = wake->composer;
}

static void test_missing_is_made(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        give_composer(&wake, &bench, "touch made");
        wake_up(&wake);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        bench_close(&bench);
}

static void test_removed_after_preparation_is_made(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        give_composer(&wake, &bench, "touch made");
        ASSERT_OK(file_replace(bench.app->made_by, "", 0, 0644, false));
        prepare(&wake);
        ASSERT_EQ(unlink(bench.app->made_by), 0);
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_what_compose_cannot_make(void) {
        static const struct {
                const char *up, *word;
        } cases[] = {
                { "echo 'no space left' >&2; exit 1", "no space left" },
                { "true", "compose says that it has created it" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                wake_open(&wake, &bench, "one");
                give_composer(&wake, &bench, cases[i].up);
                member_prepare(wake.member);
                run_until(&wake, MEMBER_FAILED);
                if (!strstr(member_error(wake.member), cases[i].word))
                        TEST_FAIL("%s", member_error(wake.member));
                put_to_sleep(&wake, STOP_ROLLBACK);
                bench_close(&bench);
        }
}

/* Conditions */

static void test_started_is_enough(void) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        Bench bench;
        Wake wake;

        bench_open(&bench, STARTED);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        expect_lines(&bench, "start app");
        /* Whoever needs it to be ready still has to look. */
        read_record(&bench, &record);
        ASSERT_TRUE(record.ours && !record.ready);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        bench_close(&bench);
}

static void test_one_shot_is_run_once(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        bench.app->completions = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_FALSE(member_would_stop(wake.member, STOP_SLEEP));
        ASSERT_FALSE(member_would_stop(wake.member, STOP_ALL));
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app");

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "");
        bench_close(&bench);
}

static void test_one_shot_is_waited_for(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until(&wake, MEMBER_CHECKING);
        run_for(&bench, 100 * USEC_PER_MSEC);
        ASSERT_EQ(member_phase(wake.member), MEMBER_CHECKING);
        fake_engine_kill(bench.fake, "app", 0);
        run_until(&wake, MEMBER_READY);
        /* What it does later is its own affair. */
        fake_engine_start(bench.fake, "app");
        fake_engine_kill(bench.fake, "app", 1);
        run_for(&bench, 100 * USEC_PER_MSEC);
        ASSERT_EQ(member_phase(wake.member), MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app");
        bench_close(&bench);
}

static void test_one_shot_that_runs_is_not_started_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        run_container(&bench, 1);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until(&wake, MEMBER_CHECKING);
        fake_engine_kill(bench.fake, "app", 0);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "");
        bench_close(&bench);
}

static void test_one_shot_that_fails_is_started_three_times(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        bench.app->deaths = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "exited with status 1, 3 times");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "start app, start app, start app");
        bench_close(&bench);
}

static void test_one_shot_that_was_interrupted_is_run_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until(&wake, MEMBER_CHECKING);
        run_for(&bench, 100 * USEC_PER_MSEC);
        /* Exits with 0 when it is told to end, as many do. */
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, stop app");

        bench.app->completions = 1;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app");
        bench_close(&bench);
}

/* Networks */

static void test_attached_before_it_is_started(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "net"));
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "attach app shared, start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_running_one_is_attached_before_it_is_checked(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "attach app shared, ready app");
        ASSERT_TRUE(container_info_network(container_info(wake.member), "shared")->ipv4 != NULL);
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_attached_by_somebody_else_is_fine(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        strcpy(bench.app->attached, "shared");
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_network_that_does_not_exist(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        fake_engine_lack_network(bench.fake, "shared");
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        expect_failed(&wake, FAILURE_NETWORK_MISSING, "docker network create shared");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "");
        bench_close(&bench);
}

static void refuse(Bench *bench, unsigned status, const char *sentence) {
        bench->app->refused_starts = UINT32_MAX;
        bench->app->refusal_status = status;
        bench->app->refusal = sentence;
}

static void test_network_that_was_removed(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->compose_service = "backend";
        refuse(&bench, 404, "network 0123 not found");
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_NETWORK_MISSING, "--force-recreate backend");
        ASSERT_FALSE(record_is_ours(&bench));
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "refuse app");
        bench_close(&bench);
}

static void test_attached_again_when_it_is_made_anew(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        fake_engine_forget_lines(bench.fake);
        fake_engine_stop(bench.fake, "app");
        fake_engine_remove(bench.fake, "app");
        fake_engine_make(bench.fake, "app");
        fake_engine_start(bench.fake, "app");
        run_until_line(&bench, "ready app");
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "attach app shared, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

/* Ports */

static void test_port_that_is_taken(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->publishes = 8080;
        fake_engine_add(bench.fake, "rival")->publishes = 8080;
        fake_engine_start(bench.fake, "rival");
        refuse(&bench, 500,
               "driver failed programming external connectivity on endpoint app: Bind for 0.0.0.0:8080 failed: port is already allocated");
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_PORT_CONFLICT, "rival");
        ASSERT_FALSE(record_is_ours(&bench));
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "refuse app");
        bench_close(&bench);
}

/* Pausing */

static void test_sleep_by_pause(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PAUSING);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        ASSERT_TRUE(bench.app->running && bench.app->paused);
        ASSERT_TRUE(record_is_ours(&bench));
        expect_lines(&bench, "start app, ready app, pause app");

        /* And on: still ours, and known to be ready. */
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "unpause app, pause app");

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_ALL);
        expect_lines(&bench, "unpause app, stop app");
        ASSERT_FALSE(record_is_ours(&bench));
        bench_close(&bench);
}

static void test_rollback_pauses_what_was_paused_and_stops_what_it_started(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PAUSING);
        run_container(&bench, 1);
        bench.app->paused = true;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "unpause app, ready app, pause app");

        bench.app->running = bench.app->paused = false;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "start app, ready app, stop app");
        bench_close(&bench);
}

static void test_pause_by_somebody_is_left_alone(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_pause(bench.fake, "app");
        run_for(&bench, 100 * USEC_PER_MSEC);
        ASSERT_EQ(member_phase(wake.member), MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, stop app");
        bench_close(&bench);
}

static void test_engine_that_stops_nothing_paused(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->stubborn = true;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_pause(bench.fake, "app");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, unpause app, stop app");
        bench_close(&bench);
}

static void test_what_cannot_be_paused_is_stopped(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PAUSING);
        bench.app->refused_pauses = 1;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, stop app");
        bench_close(&bench);
}

/* Dying */

static void test_crash_is_forgiven_twice(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        for (unsigned i = 0; i < 2; i++) {
                fake_engine_kill(bench.fake, "app", 139);
                run_until(&wake, MEMBER_RECOVERING);
                run_until(&wake, MEMBER_READY);
        }
        expect_lines(&bench, "start app, ready app, start app, ready app");
        fake_engine_kill(bench.fake, "app", 139);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "exited with status 139, 3 times");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "");
        bench_close(&bench);
}

/* What is logged goes to stderr here, and from there into a file. */
static void test_crash_is_told_with_status_and_last_lines(void) {
        _cleanup_close_ int file = -EBADF, kept = -EBADF;
        char text[4096] = {};
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        file = open(in_root(&bench, "log"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        kept = dup(STDERR_FILENO);
        ASSERT_TRUE(file >= 0 && kept >= 0 && dup2(file, STDERR_FILENO) >= 0);
        fake_engine_kill(bench.fake, "app", 139);
        run_until(&wake, MEMBER_RECOVERING);
        run_until(&wake, MEMBER_READY);
        ASSERT_TRUE(dup2(kept, STDERR_FILENO) >= 0);
        ASSERT_TRUE(pread(file, text, sizeof(text) - 1, 0) > 0);
        if (!strstr(text, "dependency app exited with status 139, its last lines:\napp cannot go on\n"))
                TEST_FAIL("%s", text);
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_crashes_are_forgotten_in_time(void) {
        Bench bench;
        Wake wake;

        if (time_now(CLOCK_MONOTONIC) < 11 * USEC_PER_MINUTE)
                return;
        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        for (unsigned i = 0; i < 4; i++) {
                container_from(wake.member)->settled_usec = time_now(CLOCK_MONOTONIC) - 10 * USEC_PER_MINUTE;
                fake_engine_kill(bench.fake, "app", 1);
                run_until(&wake, MEMBER_RECOVERING);
                run_until(&wake, MEMBER_READY);
        }
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_another_signal_is_no_stop(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_signal(bench.fake, "app", SIGHUP);
        fake_engine_kill(bench.fake, "app", 1);
        run_until(&wake, MEMBER_RECOVERING);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_restart_policy_is_faster(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->restart_policy = "always";
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_kill(bench.fake, "app", 1);
        /* As Docker shows what waits for its restart. */
        bench.app->running = bench.app->restarting = true;
        run_until(&wake, MEMBER_RECOVERING);
        run_for(&bench, 200 * USEC_PER_MSEC);
        ASSERT_EQ(member_phase(wake.member), MEMBER_RECOVERING);
        fake_engine_start(bench.fake, "app");
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app, stop app");
        bench_close(&bench);
}

static void test_stop_by_somebody_is_a_loss(void) {
        uint64_t begin_usec;
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->restart_policy = "unless-stopped";
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        begin_usec = time_now(CLOCK_MONOTONIC);
        fake_engine_stop(bench.fake, "app");
        run_until(&wake, MEMBER_LOST);
        ASSERT_TRUE(time_now(CLOCK_MONOTONIC) >= begin_usec + 3 * USEC_PER_SEC);
        ASSERT_STREQ(wake.phases, "preparing prepared starting checking ready recovering lost");
        /* Who starts it now does so for himself. */
        fake_engine_start(bench.fake, "app");
        put_to_sleep(&wake, STOP_SLEEP);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        ASSERT_TRUE(bench.app->running);
        expect_lines(&bench, "start app, ready app, ready app");
        bench_close(&bench);
}

static void test_stop_is_known_by_its_own_signal_and_by_its_end(void) {
        for (unsigned i = 0; i < 2; i++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                bench.app->stop_signal = "SIGQUIT";
                wake_open(&wake, &bench, "one");
                wake_up(&wake);
                fake_engine_forget_lines(bench.fake);
                if (i == 0) {
                        fake_engine_signal(bench.fake, "app", SIGQUIT);
                        fake_engine_kill(bench.fake, "app", 0);
                } else
                        fake_engine_stop(bench.fake, "app");
                run_until(&wake, MEMBER_LOST);
                put_to_sleep(&wake, STOP_SLEEP);
                expect_lines(&bench, "");
                bench_close(&bench);
        }
}

static void test_removal_is_a_loss(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_stop(bench.fake, "app");
        fake_engine_remove(bench.fake, "app");
        run_until(&wake, MEMBER_LOST);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "");
        bench_close(&bench);
}

static void test_restart_by_somebody_is_lived_through(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        bench.app->address = "127.0.0.2";
        fake_engine_stop(bench.fake, "app");
        run_until(&wake, MEMBER_RECOVERING);
        fake_engine_start(bench.fake, "app");
        run_until(&wake, MEMBER_READY);
        ASSERT_STREQ(container_info_network(container_info(wake.member), "net")->ipv4, "127.0.0.2");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app, stop app");
        bench_close(&bench);
}

static void test_upgrade_by_somebody_is_lived_through(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_stop(bench.fake, "app");
        run_until(&wake, MEMBER_RECOVERING);
        fake_engine_remove(bench.fake, "app");
        run_for(&bench, 50 * USEC_PER_MSEC);
        fake_engine_make(bench.fake, "app");
        fake_engine_start(bench.fake, "app");
        run_until(&wake, MEMBER_READY);
        ASSERT_STREQ(container_info(wake.member)->id, "app.1");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_stop_by_somebody_while_it_is_checked(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->failing_checks = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until_line(&bench, "unready app");
        fake_engine_stop(bench.fake, "app");
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "stopped by somebody else");
        put_to_sleep(&wake, STOP_ROLLBACK);
        bench_close(&bench);
}

/* The engine */

static void engine_goes_down_with_its_containers(Bench *bench) {
        fake_engine_close(bench->fake, true);
        fake_engine_stop(bench->fake, "app");
}

static void test_death_of_the_engine_is_no_loss(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        engine_goes_down_with_its_containers(&bench);
        run_until(&wake, MEMBER_RECOVERING);
        fake_engine_hang_up(bench.fake);
        run_for(&bench, 100 * USEC_PER_MSEC);
        fake_engine_come_back(bench.fake);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, stop app");
        bench_close(&bench);
}

static void test_one_shot_that_the_engine_ended_is_run_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, COMPLETED);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until(&wake, MEMBER_CHECKING);
        run_for(&bench, 50 * USEC_PER_MSEC);
        engine_goes_down_with_its_containers(&bench);
        run_for(&bench, 50 * USEC_PER_MSEC);
        fake_engine_hang_up(bench.fake);
        fake_engine_come_back(bench.fake);
        bench.app->completions = 1;
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, start app");
        bench_close(&bench);
}

static void test_engine_that_takes_long_to_go_down(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        engine_goes_down_with_its_containers(&bench);
        run_for(&bench, 3500 * USEC_PER_MSEC); /* longer than a restart is waited for */
        ASSERT_EQ(member_phase(wake.member), MEMBER_RECOVERING);
        fake_engine_hang_up(bench.fake);
        fake_engine_come_back(bench.fake);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_engine_that_comes_back_with_its_containers(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        run_for(&bench, 50 * USEC_PER_MSEC); /* the event stream is there */
        fake_engine_forget_lines(bench.fake);
        fake_engine_close(bench.fake, false);
        fake_engine_hang_up(bench.fake);
        run_for(&bench, 50 * USEC_PER_MSEC);
        fake_engine_come_back(bench.fake);
        for (unsigned inspects = fake_engine_inspects(bench.fake); fake_engine_inspects(bench.fake) == inspects;)
                ASSERT_TRUE(sd_event_run(bench.event, PATIENCE_USEC) > 0);
        run_for(&bench, 50 * USEC_PER_MSEC);
        ASSERT_STREQ(wake.phases, "preparing prepared starting checking ready");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "stop app");
        bench_close(&bench);
}

/* It is ill itself: that is waited out, for as long as the wake may take, and no fault of the container's. */
static void test_engine_that_cannot_say_what_it_is_is_asked_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        bench.app->refused_looks = 6;
        member_prepare(wake.member);
        while (bench.app->refused_looks > 0)
                ASSERT_TRUE(sd_event_run(bench.event, PATIENCE_USEC) > 0);
        ASSERT_EQ(member_phase(wake.member), MEMBER_PREPARING);
        run_until(&wake, MEMBER_PREPARED);
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_engine_that_is_gone_is_not_asked(void) {
        unsigned requests;
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        container_on_engine_lost(wake.member);
        requests = fake_engine_requests(bench.fake);
        member_start(wake.member);
        run_for(&bench, 300 * USEC_PER_MSEC);
        ASSERT_EQ(fake_engine_requests(bench.fake), requests);
        ASSERT_TRUE(member_lacks_engine(wake.member));
        container_on_engine_back(wake.member);
        run_until(&wake, MEMBER_READY);
        ASSERT_FALSE(member_lacks_engine(wake.member));
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_engine_that_is_not_there_yet_is_waited_for(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        fake_engine_close(bench.fake, false);
        wake_open(&wake, &bench, "one");
        member_prepare(wake.member);
        run_for(&bench, 300 * USEC_PER_MSEC);
        ASSERT_TRUE(member_lacks_engine(wake.member) && member_is_retrying(wake.member));
        fake_engine_come_back(bench.fake);
        run_until(&wake, MEMBER_PREPARED);
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_stop_waits_for_the_engine(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        run_for(&bench, 50 * USEC_PER_MSEC); /* the event stream is there */
        fake_engine_close(bench.fake, false);
        fake_engine_hang_up(bench.fake);
        member_stop(wake.member, STOP_SLEEP);
        run_for(&bench, 300 * USEC_PER_MSEC);
        ASSERT_EQ(member_phase(wake.member), MEMBER_STOPPING);
        fake_engine_come_back(bench.fake);
        run_until(&wake, MEMBER_STOPPED);
        ASSERT_FALSE(bench.app->running);
        wake_close(&wake);
        bench_close(&bench);
}

/* Stopping */

static void test_administrator_stops_whatever_runs(void) {
        _cleanup_(lease_freep) Lease *other = NULL;
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_FALSE(member_would_stop(wake.member, STOP_SLEEP));
        ASSERT_TRUE(member_would_stop(wake.member, STOP_ALL));
        put_to_sleep(&wake, STOP_ALL);
        ASSERT_FALSE(bench.app->running);

        /* But not what somebody uses. */
        run_container(&bench, 2);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_OK(lease_open(&other, bench.root, "app"));
        ASSERT_OK(lease_share(other));
        put_to_sleep(&wake, STOP_ALL);
        ASSERT_TRUE(bench.app->running);
        bench_close(&bench);
}

static void test_kept_one_is_never_stopped(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, KEPT);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_FALSE(member_would_stop(wake.member, STOP_ALL));
        put_to_sleep(&wake, STOP_ALL);
        expect_lines(&bench, "start app, ready app");
        bench_close(&bench);
}

static void test_stop_looks_whose_it_is_now(void) {
        Bench bench;
        Wake wake;

        /* Ours when it was prepared; since then somebody has restarted it by hand. */
        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        write_record(&bench, &(LeaseRecord){ .ours = true,
                                             .wake_id = (char *) "w",
                                             .started_at = (char *) "2026-01-05T08:00:01.1Z" });
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_TRUE(member_would_stop(wake.member, STOP_SLEEP));
        run_for(&bench, 50 * USEC_PER_MSEC); /* the event stream is there */
        fake_engine_stop(bench.fake, "app");
        fake_engine_start(bench.fake, "app");
        run_for(&bench, 50 * USEC_PER_MSEC);
        put_to_sleep(&wake, STOP_SLEEP);
        ASSERT_TRUE(bench.app->running);
        bench_close(&bench);
}

static void test_stop_without_an_engine_comes_to_an_end(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        write_record(&bench, &(LeaseRecord){ .ours = true, .wake_id = (char *) "w" });
        fake_engine_close(bench.fake, false);
        wake_open(&wake, &bench, "one");
        member_prepare(wake.member);
        member_stop(wake.member, STOP_SLEEP);
        ASSERT_EQ(member_phase(wake.member), MEMBER_STOPPING);
        container_from(wake.member)->stop_until_usec = 0;
        run_until(&wake, MEMBER_STOPPED);
        /* Who uses it next still knows. */
        ASSERT_TRUE(record_is_ours(&bench));
        wake_close(&wake);
        bench_close(&bench);
}

static void test_stop_while_it_is_being_started(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        bench.app->hangs = true;
        member_start(wake.member);
        run_for(&bench, 50 * USEC_PER_MSEC);
        member_stop(wake.member, STOP_SLEEP);
        fake_engine_go_on(bench.fake, "app");
        run_until(&wake, MEMBER_STOPPED);
        ASSERT_FALSE(bench.app->running);
        wake_close(&wake);
        bench_close(&bench);
}

int main(void) {
        test_record_says_whose_it_is();
        test_run_of_the_record_is_ours_and_not_checked_again();
        test_run_started_by_hand_is_not_ours();
        test_run_that_the_engine_restarted_is_ours();
        test_record_that_outlived_a_reboot();
        test_announced_start_is_ours();
        test_adopted_is_stopped_but_not_by_a_rollback();
        test_started_by_hand_in_the_same_moment();
        test_two_start_it_and_the_last_stops_it();
        test_what_happens_after_preparation_is_looked_at();

        test_missing_without_compose_says_what_to_do();
        test_missing_is_made();
        test_removed_after_preparation_is_made();
        test_what_compose_cannot_make();

        test_started_is_enough();
        test_one_shot_is_run_once();
        test_one_shot_is_waited_for();
        test_one_shot_that_runs_is_not_started_again();
        test_one_shot_that_fails_is_started_three_times();
        test_one_shot_that_was_interrupted_is_run_again();

        test_attached_before_it_is_started();
        test_running_one_is_attached_before_it_is_checked();
        test_attached_by_somebody_else_is_fine();
        test_network_that_does_not_exist();
        test_network_that_was_removed();
        test_attached_again_when_it_is_made_anew();

        test_port_that_is_taken();

        test_sleep_by_pause();
        test_rollback_pauses_what_was_paused_and_stops_what_it_started();
        test_pause_by_somebody_is_left_alone();
        test_engine_that_stops_nothing_paused();
        test_what_cannot_be_paused_is_stopped();

        test_crash_is_forgiven_twice();
        test_crash_is_told_with_status_and_last_lines();
        test_crashes_are_forgotten_in_time();
        test_another_signal_is_no_stop();
        test_restart_policy_is_faster();
        test_stop_by_somebody_is_a_loss();
        test_stop_is_known_by_its_own_signal_and_by_its_end();
        test_removal_is_a_loss();
        test_restart_by_somebody_is_lived_through();
        test_upgrade_by_somebody_is_lived_through();
        test_stop_by_somebody_while_it_is_checked();

        test_death_of_the_engine_is_no_loss();
        test_one_shot_that_the_engine_ended_is_run_again();
        test_engine_that_takes_long_to_go_down();
        test_engine_that_comes_back_with_its_containers();
        test_engine_that_cannot_say_what_it_is_is_asked_again();
        test_engine_that_is_gone_is_not_asked();
        test_engine_that_is_not_there_yet_is_waited_for();
        test_stop_waits_for_the_engine();

        test_administrator_stops_whatever_runs();
        test_kept_one_is_never_stopped();
        test_stop_looks_whose_it_is_now();
        test_stop_without_an_engine_comes_to_an_end();
        test_stop_while_it_is_being_started();
        return EXIT_SUCCESS;
}
