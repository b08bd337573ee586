#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"
#include "wake/control.h"
#include "wake/member/service-member.h"

/* A member that holds another service, and that service's control socket, on one event loop. */

typedef struct Stage {
        sd_event *event;
        char root[32], path[108];
        int fd;
        Control *control;
        const char *state; /* of the other service */
        size_t n_held;
        WakeTrigger seen_trigger;

        WakeTrigger trigger;
        Service service;
        Dependency dependency;
        MemberContext context;
        Member *member;
        char phases[256];
} Stage;

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

static json_object *control_status(void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);
        json_object *status = json_object_new_object();

        json_object_object_add(status, "service", json_object_new_string("inner"));
        json_object_object_add(status, "state", json_object_new_string(stage->state));
        return status;
}

static void control_on_request(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        ASSERT_TRUE(request == CONTROL_HELD || request == CONTROL_RELEASED);
        if (request == CONTROL_HELD) {
                stage->n_held++;
                stage->seen_trigger = trigger;
        }
}

static void member_on_change(Member *member, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);
        const char *name = phase_names[member->phase], *last = strrchr(stage->phases, ' ');

        if (last && streq(last + 1, name))
                return; /* only that it is trying again */
        ASSERT_TRUE(strlen(stage->phases) + strlen(name) + 2 < sizeof(stage->phases));
        (void) strcat(strcat(stage->phases, " "), name);
}

static void socket_open(Stage *stage) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        memcpy(address.sun_path, stage->path, sizeof(stage->path));
        stage->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(stage->fd >= 0);
        ASSERT_EQ(bind(stage->fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(stage->fd, 16), 0);
}

static void waker_begin(Stage *stage, const char *state) {
        stage->state = state;
        ASSERT_OK(control_new(&stage->control, stage->event, stage->fd, "inner", control_status,
                              control_on_request, stage));
}

/* Without a word, as by SIGKILL. The socket stays, as PID 1 has it. */
static void waker_die(Stage *stage) {
        stage->control = control_free(stage->control);
}

static void waker_say(Stage *stage, const char *state) {
        stage->state = state;
        control_publish(stage->control);
}

static void stage_open(Stage *stage) {
        char folder[108];

        *stage = (Stage){ .root = "/tmp/test-service-XXXXXX", .fd = -EBADF, .trigger = TRIGGER_SCHEDULE };
        ASSERT_OK(sd_event_new(&stage->event));
        ASSERT_TRUE(mkdtemp(stage->root) != NULL);
        (void) snprintf(folder, sizeof(folder), "%s/run/wakechain/control", stage->root);
        ASSERT_OK(directory_make(folder));
        (void) snprintf(stage->path, sizeof(stage->path), "%s/run/wakechain/control/inner.sock", stage->root);

        stage->service.name = (char *) "outer";
        stage->dependency = (Dependency){ .kind = DEPENDENCY_SERVICE, .name = (char *) "inner" };
        stage->context = (MemberContext){
                .event = stage->event,
                .service = &stage->service,
                .wake_id = "0",
                .trigger = &stage->trigger,
                .root = stage->root,
        };
        ASSERT_OK(service_member_new(&stage->member, &stage->context, &stage->dependency, member_on_change,
                                     stage));
}

static void stage_close(Stage *stage) {
        char folder[108];

        member_free(stage->member);
        control_free(stage->control);
        fd_close(stage->fd);
        (void) unlink(stage->path);
        for (const char *name = "/run/wakechain/control"; *name;) {
                (void) snprintf(folder, sizeof(folder), "%s%s", stage->root, name);
                (void) rmdir(folder);
                name = streq(name, "/run/wakechain/control") ? "/run/wakechain"
                       : streq(name, "/run/wakechain")       ? "/run"
                                                             : "";
        }
        (void) rmdir(stage->root);
        sd_event_unref(stage->event);
}

static void run_until(Stage *stage, MemberPhase phase) {
        while (stage->member->phase != phase)
                ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

static void run_until_held(Stage *stage, size_t n) {
        while (stage->n_held < n)
                ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

static void run_until_released(Stage *stage) {
        while (control_holders(stage->control) > 0)
                ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

static void start(Stage *stage) {
        member_prepare(stage->member);
        ASSERT_EQ(stage->member->phase, MEMBER_PREPARED);
        member_start(stage->member);
}

static void start_until_ready(Stage *stage) {
        socket_open(stage);
        waker_begin(stage, "awake");
        start(stage);
        run_until(stage, MEMBER_READY);
}

static void test_held_until_stopped(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "waking");
        start(&stage);
        run_until_held(&stage, 1);
        ASSERT_EQ(stage.seen_trigger, TRIGGER_SCHEDULE);
        ASSERT_EQ(stage.member->phase, MEMBER_CHECKING);
        waker_say(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        ASSERT_EQ(control_holders(stage.control), 1);
        ASSERT_FALSE(member_would_stop(stage.member, STOP_ALL));

        member_stop(stage.member, STOP_ALL);
        ASSERT_EQ(stage.member->phase, MEMBER_STOPPED);
        run_until_released(&stage);
        ASSERT_STREQ(stage.phases, " preparing prepared starting checking ready stopped");
        stage_close(&stage);
}

static void test_missing_socket_is_not_found(void) {
        Stage stage;

        stage_open(&stage);
        start(&stage);
        ASSERT_EQ(stage.member->phase, MEMBER_FAILED);
        ASSERT_EQ(stage.member->reason, FAILURE_NOT_FOUND);
        ASSERT_TRUE(strstr(stage.member->error, "/run/wakechain/control/inner.sock does not exist") != NULL);
        member_stop(stage.member, STOP_ROLLBACK);
        ASSERT_EQ(stage.member->phase, MEMBER_STOPPED);
        stage_close(&stage);
}

static void test_failed_wake_is_passed_on(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "waking");
        start(&stage);
        run_until_held(&stage, 1);
        waker_say(&stage, "failed");
        control_fail(stage.control, FAILURE_IMAGE_MISSING, "redis: no such image\n\x1b[2J");
        run_until(&stage, MEMBER_FAILED);
        ASSERT_EQ(stage.member->reason, FAILURE_IMAGE_MISSING);
        ASSERT_STREQ(stage.member->error, "its own wake failed: redis: no such image  [2J");
        stage_close(&stage);
}

static void test_failure_while_ready(void) {
        Stage stage;

        stage_open(&stage);
        start_until_ready(&stage);
        waker_say(&stage, "waking");
        run_until(&stage, MEMBER_RECOVERING);
        control_fail(stage.control, FAILURE_CONTAINER_EXITED, "redis: exited");
        run_until(&stage, MEMBER_FAILED);
        ASSERT_EQ(stage.member->reason, FAILURE_CONTAINER_EXITED);
        stage_close(&stage);
}

static void test_other_recovers(void) {
        Stage stage;

        stage_open(&stage);
        start_until_ready(&stage);
        waker_say(&stage, "waking");
        run_until(&stage, MEMBER_RECOVERING);
        waker_say(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        ASSERT_STREQ(stage.phases, " preparing prepared starting checking ready recovering ready");
        ASSERT_EQ(stage.n_held, 1);
        stage_close(&stage);
}

static void test_killed_waker_is_held_again(void) {
        Stage stage;

        stage_open(&stage);
        start_until_ready(&stage);
        waker_die(&stage);
        run_until(&stage, MEMBER_RECOVERING);
        waker_begin(&stage, "waking");
        run_until_held(&stage, 2);
        waker_say(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        ASSERT_STREQ(stage.phases, " preparing prepared starting checking ready recovering ready");
        stage_close(&stage);
}

static void test_killed_while_waking(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "waking");
        start(&stage);
        run_until_held(&stage, 1);
        waker_die(&stage);
        waker_begin(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        ASSERT_STREQ(stage.phases, " preparing prepared starting checking ready");
        stage_close(&stage);
}

/* Its socket was restarted meanwhile. */
static void test_socket_comes_back(void) {
        Stage stage;

        stage_open(&stage);
        start_until_ready(&stage);
        waker_die(&stage);
        stage.fd = fd_close(stage.fd);
        ASSERT_EQ(unlink(stage.path), 0);
        run_until(&stage, MEMBER_RECOVERING);
        socket_open(&stage);
        waker_begin(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        stage_close(&stage);
}

static void test_waker_that_always_dies(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "waking");
        start(&stage);
        for (size_t i = 1; stage.member->phase != MEMBER_FAILED; i++) {
                run_until_held(&stage, i);
                waker_die(&stage);
                waker_begin(&stage, "waking");
                while (stage.member->phase != MEMBER_FAILED && stage.n_held == i)
                        ASSERT_TRUE(sd_event_run(stage.event, 20 * USEC_PER_SEC) > 0);
        }
        ASSERT_EQ(stage.member->reason, FAILURE_START_FAILED);
        ASSERT_TRUE(strstr(stage.member->error, "journalctl -u wake@inner") != NULL);
        stage_close(&stage);
}

/* It was going to sleep when we came: what we ask for is the next wake. */
static void test_crossing_with_its_sleep(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "stopping");
        start(&stage);
        run_until_held(&stage, 1);
        waker_say(&stage, "asleep");
        control_pause(stage.control);
        waker_die(&stage);
        waker_begin(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        ASSERT_STREQ(stage.phases, " preparing prepared starting checking ready");
        stage_close(&stage);
}

static void test_refused_because_it_stops(void) {
        Stage stage;
        Member *member;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "awake");
        member = stage.member;
        start(&stage);
        /* The connection was taken in before, the call comes after. */
        control_accept_pending(stage.control);
        control_pause(stage.control);
        while (!member->retrying)
                ASSERT_TRUE(sd_event_run(stage.event, 20 * USEC_PER_SEC) > 0);
        waker_die(&stage);
        waker_begin(&stage, "awake");
        run_until(&stage, MEMBER_READY);
        stage_close(&stage);
}

/* Somebody has decided that, whoever holds it: a stop sticks. */
static void test_put_to_sleep_is_lost(void) {
        Stage stage;

        stage_open(&stage);
        start_until_ready(&stage);
        waker_say(&stage, "stopping");
        run_until(&stage, MEMBER_LOST);
        run_until_released(&stage);
        ASSERT_EQ(stage.member->reason, FAILURE_NONE);
        stage_close(&stage);
}

static void test_put_to_sleep_while_waking_is_a_failure(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage);
        waker_begin(&stage, "waking");
        start(&stage);
        run_until_held(&stage, 1);
        waker_say(&stage, "stopping");
        run_until(&stage, MEMBER_FAILED);
        ASSERT_EQ(stage.member->reason, FAILURE_START_FAILED);
        stage_close(&stage);
}

int main(void) {
        test_held_until_stopped();
        test_missing_socket_is_not_found();
        test_failed_wake_is_passed_on();
        test_failure_while_ready();
        test_other_recovers();
        test_killed_waker_is_held_again();
        test_killed_while_waking();
        test_socket_comes_back();
        test_waker_that_always_dies();
        test_crossing_with_its_sleep();
        test_refused_because_it_stops();
        test_put_to_sleep_is_lost();
        test_put_to_sleep_while_waking_is_a_failure();
        return EXIT_SUCCESS;
}
