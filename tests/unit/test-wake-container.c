#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compose/composer.h"
#include "config/config.h"
#include "fake-engine.h"
#include "lease/lease.h"
#include "test.h"
#include "util/fd.h"
#include "wake/member/container-internal.h"
#include "wake/member/container.h"

/* One container of two services that know nothing of each other, as two wakers have it, against a scripted engine. */

#define PATIENCE_USEC (30 * USEC_PER_SEC)

typedef struct Bench {
        sd_event *event;
        char root[32], folder[64];
        char **own;
        Environment environment;
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
#define OWN_RUNS "\"adopt\":false," PLAIN
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
        strv_free(bench->own);
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
        const char *name = names[member->phase], *last = strrchr(wake->phases, ' ');

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
        *wake = (Wake){ .bench = bench };
        ASSERT_OK(engine_new(&wake->engine, bench->event, bench->config->engine_socket));
        wake->context = (MemberContext){
                .event = bench->event,
                .engine = wake->engine,
                .service = config_find(bench->config, service),
                .wake_id = streq(service, "one") ? "wake-of-one" : "wake-of-two",
                .environment = &bench->environment,
                .root = bench->root,
        };
        ASSERT_OK(container_new(&wake->member, &wake->context, wake->context.service->dependencies, wake_on_member,
                                wake));
        ASSERT_TRUE(member_is_container(wake->member));
        ASSERT_OK(engine_watch(wake->engine, wake_on_event, wake));
}

static void wake_close(Wake *wake) {
        wake->member = member_free(wake->member);
        wake->composer = composer_free(wake->composer);
        wake->engine = engine_free(wake->engine);
}

static void run_until(Wake *wake, MemberPhase phase) {
        uint64_t until_usec = time_now(CLOCK_MONOTONIC) + PATIENCE_USEC;

        while (wake->member->phase != phase) {
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
        ASSERT_STREQ(failure_reason_to_string(wake->member->reason), failure_reason_to_string(reason));
        ASSERT_TRUE(wake->member->error != NULL);
        if (!strstr(wake->member->error, word))
                TEST_FAIL("'%s' is not in '%s'", word, wake->member->error);
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
        lease_record_done(&record);
        read_record(&bench, &record);
        ASSERT_TRUE(record.ours && record.asleep);
        ASSERT_FALSE(record.ready);
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

/* Of a container that wakechain knows, of another one, where only its own runs count, and of one that the file does not name. */
static void test_run_started_by_hand(void) {
        static const struct {
                const char *service;
                LeaseRecord record;
                StopMode mode;
                const char *lines;
                bool implied;
        } cases[] = {
                { PLAIN, { .ours = true }, STOP_SLEEP, "ready app, stop app" },
                { PLAIN, { .ours = true, .asleep = true }, STOP_SLEEP, "ready app, stop app" },
                { PLAIN, { .ours = true, .asleep = true }, STOP_ROLLBACK, "ready app" },
                { PLAIN, {}, STOP_SLEEP, "ready app" },
                { PLAIN, {}, STOP_ALL, "ready app, stop app" },
                { OWN_RUNS, { .ours = true }, STOP_SLEEP, "ready app" },
                { OWN_RUNS, { .ours = true, .asleep = true }, STOP_SLEEP, "ready app" },
                { OWN_RUNS, { .ours = true }, STOP_ALL, "ready app, stop app" },
                { KEPT, { .ours = true }, STOP_SLEEP, "ready app" },
                { PLAIN, { .ours = true, .asleep = true }, STOP_SLEEP, "ready app", .implied = true },
                { PLAIN, {}, STOP_ALL, "ready app", .implied = true },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                LeaseRecord record = cases[i].record;
                Bench bench;
                Wake wake;

                record.ready = true;
                record.wake_id = (char *) "w";
                record.container_id = (char *) "app.0";
                record.started_at = (char *) "2026-01-05T08:00:06.1Z";
                bench_open(&bench, cases[i].service);
                for (size_t k = 0; k < bench.config->services[0].n_dependencies; k++)
                        bench.config->services[0].dependencies[k].implied = cases[i].implied;
                run_container(&bench, 7);
                write_record(&bench, &record);
                wake_open(&wake, &bench, "one");
                wake_up(&wake);
                put_to_sleep(&wake, cases[i].mode);
                expect_lines(&bench, cases[i].lines);
                /* Who was stopped, or was known before, is known from now on. */
                ASSERT_EQ(record_is_ours(&bench), record.ours || !bench.app->running);
                bench_close(&bench);
        }
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

                bench_open(&bench, OWN_RUNS);
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

                bench_open(&bench, OWN_RUNS);
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

static void test_known_one_started_by_hand_in_the_same_moment(void) {
        for (StopMode mode = STOP_SLEEP; mode <= STOP_ROLLBACK; mode++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                write_record(&bench, &(LeaseRecord){ .ours = true, .asleep = true });
                wake_open(&wake, &bench, "one");
                prepare(&wake);
                bench.app->late_start = true;
                member_start(wake.member);
                run_until(&wake, MEMBER_READY);
                ASSERT_TRUE(record_is_ours(&bench));
                put_to_sleep(&wake, mode);
                expect_lines(&bench, mode == STOP_SLEEP ? "ready app, stop app" : "ready app");
                bench_close(&bench);
        }
}

static void test_left_one_runs_on(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        ASSERT_FALSE(member_would_stop(wake.member, STOP_LEAVE));
        member_stop(wake.member, STOP_LEAVE);
        run_until(&wake, MEMBER_STOPPED);
        ASSERT_TRUE(bench.app->running);
        ASSERT_TRUE(wake.member->left);
        wake_close(&wake);

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, stop app");
        bench_close(&bench);
}

static void test_damaged_lease_is_mended(void) {
        static const char *const folders[] = { "run", "var/lib" };
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_(lease_record_done) LeaseRecord record = {};
                _cleanup_free_ char *path = NULL;

                ASSERT_TRUE(asprintf(&path, "%s/wakechain/lease/app", in_root(&bench, folders[i])) > 0);
                ASSERT_OK(file_replace(path, "x", 1, 0600, false));
                member_mend(wake.member);
                read_record(&bench, &record);
                ASSERT_TRUE(record.ours && record.ready && !record.restored);
                ASSERT_STREQ(record.started_at, container_info(wake.member)->started_at);
                ASSERT_EQ(unlink(path), 0);
                member_mend(wake.member);
                ASSERT_EQ(access(path, F_OK), 0);
                ASSERT_TRUE(record_is_ours(&bench));
        }
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app, ready app, stop app");
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
        ASSERT_OK(strv_append(&bench->own, path));
        bench->environment.own = bench->own;

        (void) snprintf(bench->folder, sizeof(bench->folder), "%s", in_root(bench, "project"));
        (void) snprintf(bench->app->made_by, sizeof(bench->app->made_by), "%s", in_root(bench, "project/made"));
        ASSERT_OK(composer_new(&wake->composer, bench->event, bench->root, bench->folder, &bench->environment,
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
                if (!strstr(wake.member->error, cases[i].word))
                        TEST_FAIL("%s", wake.member->error);
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
        ASSERT_EQ(wake.member->phase, MEMBER_CHECKING);
        fake_engine_kill(bench.fake, "app", 0);
        run_until(&wake, MEMBER_READY);
        /* What it does later is its own affair. */
        fake_engine_start(bench.fake, "app");
        fake_engine_kill(bench.fake, "app", 1);
        run_for(&bench, 100 * USEC_PER_MSEC);
        ASSERT_EQ(wake.member->phase, MEMBER_READY);
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

static void test_other_that_is_gone(void) {
        static const struct {
                unsigned status;
                const char *sentence;
        } cases[] = {
                { 404, "No such container: 0123456789abcdef" },
                { 500, "failed to join PID namespace: No such container: 0123456789abcdef" },
                { 404, "get data: no such volume" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                refuse(&bench, cases[i].status, cases[i].sentence);
                wake_open(&wake, &bench, "one");
                prepare(&wake);
                member_start(wake.member);
                expect_failed(&wake, FAILURE_NOT_FOUND, "--force-recreate");
                ASSERT_TRUE(strstr(wake.member->error, cases[i].sentence) != NULL);
                ASSERT_FALSE(record_is_ours(&bench));
                put_to_sleep(&wake, STOP_ROLLBACK);
                expect_lines(&bench, "refuse app");
                bench_close(&bench);
        }
}

static void test_other_that_does_not_run_yet(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        refuse(&bench, 409, "cannot join network of a non running container: 0123456789abcdef");
        bench.app->refused_starts = 3;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until_line(&bench, "refuse app");
        while (!wake.member->retrying)
                ASSERT_OK(sd_event_run(bench.event, PATIENCE_USEC));
        ASSERT_TRUE(strstr(member_last_word(wake.member), "cannot join network") != NULL);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

/* What a failed wake has attached is detached again; what was attached before is not. */
static void test_detached_by_a_rollback(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        bench.app->failing_checks = UINT32_MAX;
        member_start(wake.member);
        run_until_line(&bench, "unready app");
        put_to_sleep(&wake, STOP_ROLLBACK);
        ASSERT_STREQ(bench.app->attached, "");
        fake_engine_forget_lines(bench.fake);

        bench.app->failing_checks = 0;
        strcpy(bench.app->attached, "shared");
        wake_open(&wake, &bench, "two");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "start app, ready app, stop app");
        ASSERT_STREQ(bench.app->attached, "shared");
        bench_close(&bench);
}

/* As older versions did, and as anybody may. */
static void test_attached_to_what_is_no_network(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        fake_engine_lack_network(bench.fake, "backend");
        strcpy(bench.app->attached, "backend");
        bench.app->attached_blindly = true;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        run_until(&wake, MEMBER_READY);
        expect_lines(&bench, "detach app backend, start app, ready app");
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

/* A network that it was really on is not taken from it. */
static void test_not_detached_from_what_was_a_network(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        fake_engine_lack_network(bench.fake, "backend");
        strcpy(bench.app->attached, "backend");
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_NETWORK_MISSING, "'docker network create backend'");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "");
        bench_close(&bench);
}

/* docker run --rm */
static void test_not_stopped_if_that_deletes_it(void) {
        static const StopMode modes[] = { STOP_SLEEP, STOP_ROLLBACK, STOP_ALL };
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->auto_remove = true;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONFIG_INVALID, "docker run --rm");
        put_to_sleep(&wake, STOP_ROLLBACK);

        run_container(&bench, 1);
        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                wake_open(&wake, &bench, "two");
                prepare(&wake);
                member_start(wake.member);
                run_until(&wake, MEMBER_READY);
                put_to_sleep(&wake, modes[i]);
        }
        ASSERT_TRUE(bench.app->running);
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
        refuse(&bench, 500,
               "driver failed programming external connectivity on endpoint app: Bind for 0.0.0.0:8080 failed: port is already allocated");
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_PORT_CONFLICT,
                      "Bind for 0.0.0.0:8080 failed: port is already allocated; `ss -ltnp` says who has the port");
        ASSERT_FALSE(record_is_ours(&bench));
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "refuse app");
        bench_close(&bench);
}

/* A network may bring the ports of a container that runs. */
static void test_port_that_is_taken_when_it_is_attached(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        run_container(&bench, 1);
        refuse(&bench, 500, "driver failed programming external connectivity: port is already allocated");
        bench.app->refuses_networks = true;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        ASSERT_OK(container_attach(wake.member, "shared"));
        member_start(wake.member);
        expect_failed(&wake, FAILURE_PORT_CONFLICT,
                      "port is already allocated; another program uses a port that it publishes");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "");
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
        ASSERT_TRUE(record_is_ours(&bench));
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
        ASSERT_EQ(wake.member->phase, MEMBER_READY);
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

/* The engine starts it again: some programs exit until their database is there. */
static void test_five_exits_are_fine(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->restart_policy = "always";
        bench.app->deaths = 5;
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);

        bench.app->restart_policy = "unless-stopped";
        bench.app->deaths = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "exited with status 1, 6 times: app cannot go on");
        put_to_sleep(&wake, STOP_ROLLBACK);
        bench_close(&bench);
}

static void test_deaths_do_not_count_while_others_boot(void) {
        const Dependency unit = { .kind = DEPENDENCY_UNIT };
        Member fellow = { .dependency = &unit, .phase = MEMBER_CHECKING };
        Member *const fellows[] = { &fellow, &fellow }; /* one for each dependency: it, and the main container */
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->restart_policy = "always";
        bench.app->deaths = 20;
        wake_open(&wake, &bench, "one");
        ASSERT_EQ(wake.context.service->n_dependencies, ELEMENTSOF(fellows));
        wake.context.members = fellows;
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);

        /* Not for one that dies again and again itself. */
        fellow.in_vain = true;
        bench.app->deaths = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        wake.context.members = fellows;
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "6 times");
        put_to_sleep(&wake, STOP_ROLLBACK);
        bench_close(&bench);
}

/* It dies within its check, and gets no more time for it than the first runs had. */
static void test_clock_goes_on_over_deaths(void) {
        Container *container;
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->restart_policy = "always";
        bench.app->failing_checks = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        container = container_from(wake.member);
        for (unsigned i = 0; i < 4; i++) {
                while (!container->probe)
                        ASSERT_OK(sd_event_run(bench.event, PATIENCE_USEC));
                if (i < 3)
                        fake_engine_kill(bench.fake, "app", 3);
                while (i < 3 && container->deaths == i)
                        ASSERT_OK(sd_event_run(bench.event, PATIENCE_USEC));
                if (i == 2)
                        container->until_usec = time_now(CLOCK_MONOTONIC);
        }
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "exited with status 3, 3 times: app cannot go on");
        put_to_sleep(&wake, STOP_ROLLBACK);
        bench_close(&bench);
}

static void test_a_run_that_got_further_is_a_new_beginning(void) {
        Container *container;
        Bench bench;
        Wake wake;

        if (time_now(CLOCK_MONOTONIC) < 3 * USEC_PER_MINUTE)
                return;
        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        container = container_from(wake.member);
        for (unsigned i = 0; i < 4; i++) {
                /* It has run for 2 s, 8 s, 32 s, 128 s. */
                container->begun_usec = time_now(CLOCK_MONOTONIC) - (2U << (2 * i)) * USEC_PER_SEC;
                fake_engine_kill(bench.fake, "app", 1);
                run_until(&wake, MEMBER_RECOVERING);
                run_until(&wake, MEMBER_READY);
        }
        put_to_sleep(&wake, STOP_SLEEP);
        bench_close(&bench);
}

static void test_program_that_cannot_be_begun_is_not_tried_twice(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->deaths = UINT32_MAX;
        bench.app->last_words = "exec /app: exec format error";
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED,
                      "exited with status 1, 1 time: exec /app: exec format error; it is made for another processor");
        put_to_sleep(&wake, STOP_ROLLBACK);
        expect_lines(&bench, "start app");
        bench_close(&bench);
}

static void test_one_shot_that_is_not_called_so(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        bench.app->completions = UINT32_MAX;
        wake_open(&wake, &bench, "one");
        prepare(&wake);
        member_start(wake.member);
        expect_failed(&wake, FAILURE_CONTAINER_EXITED, "'condition': 'completed'");
        put_to_sleep(&wake, STOP_ROLLBACK);
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
        ASSERT_EQ(wake.member->phase, MEMBER_RECOVERING);
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

        bench_open(&bench, OWN_RUNS);
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

/* Renamed */

static FakeContainer *take_the_name(Bench *bench, const char *name) {
        FakeContainer *other = fake_engine_add(bench->fake, name);

        (void) snprintf(other->id, sizeof(other->id), "other.0");
        fake_engine_start(bench->fake, name);
        return other;
}

static void test_renamed_one_is_the_one_that_is_stopped(void) {
        for (unsigned taken = 0; taken < 2; taken++) {
                FakeContainer *other = NULL;
                Bench bench;
                Wake wake;

                bench_open(&bench, PLAIN);
                wake_open(&wake, &bench, "one");
                wake_up(&wake);
                fake_engine_rename(bench.fake, "app", "app-old");
                if (taken) {
                        other = take_the_name(&bench, "app");
                        run_for(&bench, 100 * USEC_PER_MSEC);
                        fake_engine_kill(bench.fake, "app", 1);
                        fake_engine_start(bench.fake, "app");
                }
                run_for(&bench, 100 * USEC_PER_MSEC);
                ASSERT_STREQ(wake.phases, "preparing prepared starting checking ready");
                put_to_sleep(&wake, STOP_SLEEP);
                expect_lines(&bench, "start app, ready app, stop app-old");
                ASSERT_TRUE(!other || other->running);
                bench_close(&bench);
        }
}

static void test_renamed_one_is_watched(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_rename(bench.fake, "app", "app-old");
        (void) take_the_name(&bench, "app");
        fake_engine_kill(bench.fake, "app-old", 1);
        run_until(&wake, MEMBER_RECOVERING);
        run_until(&wake, MEMBER_READY);
        /* It ended by itself under another name, so that the one that has its name counts now; and is not ours. */
        ASSERT_STREQ(container_info(wake.member)->id, "other.0");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app");
        bench_close(&bench);
}

static void test_renamed_one_that_crashes_is_started_again(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_rename(bench.fake, "app", "app-old");
        fake_engine_kill(bench.fake, "app-old", 1);
        run_until(&wake, MEMBER_RECOVERING);
        run_until(&wake, MEMBER_READY);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "start app-old, ready app-old, stop app-old");
        bench_close(&bench);
}

static void test_renamed_by_an_upgrade(void) {
        FakeContainer *made;
        Bench bench;
        Wake wake;

        /* As docker-compose does it: the old one is there a moment longer. */
        bench_open(&bench, PLAIN);
        bench.app->compose_service = "web";
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        fake_engine_forget_lines(bench.fake);
        fake_engine_stop(bench.fake, "app");
        fake_engine_rename(bench.fake, "app", "0123_app");
        made = fake_engine_add(bench.fake, "app");
        made->compose_service = "web";
        (void) snprintf(made->id, sizeof(made->id), "made.0");
        run_until(&wake, MEMBER_RECOVERING);
        fake_engine_start(bench.fake, "app");
        run_until(&wake, MEMBER_READY);
        ASSERT_STREQ(container_info(wake.member)->id, "made.0");
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app, stop app");
        bench_close(&bench);
}

static void test_renamed_while_it_sleeps(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        fake_engine_rename(bench.fake, "app", "app-old");

        wake_open(&wake, &bench, "one");
        member_prepare(wake.member);
        expect_failed(&wake, FAILURE_NOT_FOUND, "renamed to 'app-old'");
        put_to_sleep(&wake, STOP_ROLLBACK);

        /* Another one under its name is not ours, unless we start it. */
        (void) take_the_name(&bench, "app");
        fake_engine_forget_lines(bench.fake);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app");
        bench_close(&bench);
}

/* That somebody else has made, and started. */
static void test_made_anew_while_it_sleeps(void) {
        Bench bench;
        Wake wake;

        bench_open(&bench, PLAIN);
        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        fake_engine_make(bench.fake, "app");
        fake_engine_start(bench.fake, "app");
        fake_engine_forget_lines(bench.fake);

        wake_open(&wake, &bench, "one");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        expect_lines(&bench, "ready app, stop app");
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
        ASSERT_EQ(wake.member->phase, MEMBER_RECOVERING);
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
        ASSERT_EQ(wake.member->phase, MEMBER_PREPARING);
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
        ASSERT_TRUE(wake.member->lacks_engine);
        container_on_engine_back(wake.member);
        run_until(&wake, MEMBER_READY);
        ASSERT_FALSE(wake.member->lacks_engine);
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
        ASSERT_TRUE(wake.member->lacks_engine && wake.member->retrying);
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
        ASSERT_EQ(wake.member->phase, MEMBER_STOPPING);
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
        /* From then on it is ours. */
        run_container(&bench, 2);
        wake_open(&wake, &bench, "two");
        wake_up(&wake);
        put_to_sleep(&wake, STOP_SLEEP);
        ASSERT_FALSE(bench.app->running);

        /* But not what somebody uses. */
        run_container(&bench, 3);
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
        bench_open(&bench, OWN_RUNS);
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
        ASSERT_EQ(wake.member->phase, MEMBER_STOPPING);
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
        test_run_started_by_hand();
        test_run_that_the_engine_restarted_is_ours();
        test_record_that_outlived_a_reboot();
        test_announced_start_is_ours();
        test_adopted_is_stopped_but_not_by_a_rollback();
        test_started_by_hand_in_the_same_moment();
        test_known_one_started_by_hand_in_the_same_moment();
        test_left_one_runs_on();
        test_damaged_lease_is_mended();
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
        test_other_that_is_gone();
        test_other_that_does_not_run_yet();
        test_detached_by_a_rollback();
        test_attached_to_what_is_no_network();
        test_not_detached_from_what_was_a_network();
        test_not_stopped_if_that_deletes_it();
        test_attached_again_when_it_is_made_anew();

        test_port_that_is_taken();
        test_port_that_is_taken_when_it_is_attached();

        test_sleep_by_pause();
        test_rollback_pauses_what_was_paused_and_stops_what_it_started();
        test_pause_by_somebody_is_left_alone();
        test_engine_that_stops_nothing_paused();
        test_what_cannot_be_paused_is_stopped();

        test_crash_is_forgiven_twice();
        test_crash_is_told_with_status_and_last_lines();
        test_five_exits_are_fine();
        test_deaths_do_not_count_while_others_boot();
        test_clock_goes_on_over_deaths();
        test_a_run_that_got_further_is_a_new_beginning();
        test_program_that_cannot_be_begun_is_not_tried_twice();
        test_one_shot_that_is_not_called_so();
        test_crashes_are_forgotten_in_time();
        test_another_signal_is_no_stop();
        test_restart_policy_is_faster();
        test_stop_by_somebody_is_a_loss();
        test_stop_is_known_by_its_own_signal_and_by_its_end();
        test_removal_is_a_loss();
        test_restart_by_somebody_is_lived_through();
        test_upgrade_by_somebody_is_lived_through();
        test_renamed_one_is_the_one_that_is_stopped();
        test_renamed_one_is_watched();
        test_renamed_one_that_crashes_is_started_again();
        test_renamed_by_an_upgrade();
        test_renamed_while_it_sleeps();
        test_made_anew_while_it_sleeps();
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
