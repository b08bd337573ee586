#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/varlink.h"
#include "control/waker-call.h"
#include "test.h"
#include "util/fd.h"

/* A call, and a waker that says what it is told to: both on one loop. */

typedef struct Stage {
        sd_event *event;
        char folder[32], path[64];
        int listener;
        Varlink *waker;
        char asked[256];
        WakerCall *call;
        size_t n_statuses, n_endings;
        ServiceState state;
        CallEnd end;
        int error;
        unsigned n_tries, n_losses;
        FailureReason reason;
        char message[128];
        bool stop, free; /* what is done by who is told of an end */
} Stage;

static void waker_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        (void) snprintf(stage->asked, sizeof(stage->asked), "%s",
                        json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN));
}

static void waker_on_end(Varlink *varlink, int error, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        stage->waker = varlink_free(stage->waker);
}

static void on_status(WakerCall *call, const Status *status, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        stage->n_statuses++;
        stage->state = status->state;
}

static void on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        stage->n_endings++;
        stage->end = ending->end;
        stage->error = ending->error;
        stage->n_tries = ending->n_tries;
        stage->n_losses = ending->n_losses;
        stage->reason = ending->reason;
        ASSERT_FALSE(waker_call_is_connected(call));
        if (stage->stop)
                waker_call_stop(call);
        if (stage->free)
                stage->call = waker_call_free(call);
        (void) snprintf(stage->message, sizeof(stage->message), "%s", ending->message);
}

static void stage_open(Stage *stage) {
        *stage = (Stage){ .folder = "/tmp/test-call-XXXXXX", .listener = -EBADF };
        ASSERT_TRUE(mkdtemp(stage->folder) != NULL);
        (void) snprintf(stage->path, sizeof(stage->path), "%s/waker.sock", stage->folder);
        ASSERT_OK(sd_event_new(&stage->event));
        ASSERT_OK(waker_call_new(&stage->call, stage->event, stage->path, on_status, on_end, stage));
}

static void stage_close(Stage *stage) {
        waker_call_free(stage->call);
        varlink_free(stage->waker);
        fd_close(stage->listener);
        (void) unlink(stage->path);
        ASSERT_OK(rmdir(stage->folder));
        sd_event_unref(stage->event);
}

static void socket_open(Stage *stage, int backlog) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage->path);
        stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(stage->listener >= 0);
        ASSERT_OK(bind(stage->listener, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(listen(stage->listener, backlog));
}

static void run(Stage *stage) {
        ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
}

/* The next connection, and what it asks for. */
static void waker_accept(Stage *stage) {
        int fd;

        while (!waker_call_is_connected(stage->call))
                run(stage);
        fd = accept4(stage->listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(varlink_new(&stage->waker, stage->event, fd, waker_on_message, waker_on_end, stage));
        stage->asked[0] = '\0';
        while (stage->asked[0] == '\0')
                run(stage);
}

static void waker_say(Stage *stage, const char *state) {
        json_object *parameters = json_object_new_object(), *status = json_object_new_object();
        size_t n = stage->n_statuses;

        json_object_object_add(status, "service", json_object_new_string("web"));
        json_object_object_add(status, "state", json_object_new_string(state));
        json_object_object_add(parameters, "status", status);
        ASSERT_OK(varlink_reply(stage->waker, parameters, true));
        json_object_put(parameters);
        while (stage->n_statuses == n)
                run(stage);
}

static void await_end(Stage *stage) {
        size_t n = stage->n_endings;

        while (stage->n_endings == n)
                run(stage);
}

static void waker_refuse(Stage *stage, const char *error, const char *parameters) {
        json_object *object = json_tokener_parse(parameters);

        ASSERT_OK(varlink_error(stage->waker, error, object));
        json_object_put(object);
        await_end(stage);
}

static void waker_die(Stage *stage) {
        stage->waker = varlink_free(stage->waker);
        await_end(stage);
}

static void test_path_follows_from_the_name(void) {
        _cleanup_free_ char *path = waker_call_path(NULL, "web"), *below = waker_call_path("/root", "a.b");

        ASSERT_STREQ(path, "/run/wakechain/control/web.sock");
        ASSERT_STREQ(below, "/root/run/wakechain/control/a.b.sock");
}

static void test_hold_tells_each_status(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_SCHEDULE));
        waker_accept(&stage);
        ASSERT_STREQ(stage.asked,
                     "{\"method\":\"io.wakechain.Hold\",\"parameters\":{\"trigger\":\"schedule\"},\"more\":true}");
        waker_say(&stage, "asleep");
        ASSERT_FALSE(waker_call_was_active(stage.call));
        waker_say(&stage, "waking");
        ASSERT_TRUE(waker_call_was_active(stage.call));
        waker_say(&stage, "awake");
        ASSERT_EQ(stage.state, SERVICE_AWAKE);

        /* What cannot be read is skipped. */
        ASSERT_OK(varlink_reply(stage.waker, NULL, true));
        waker_say(&stage, "awake");
        ASSERT_EQ(stage.n_statuses, 4);
        ASSERT_EQ(stage.n_endings, 0);
        stage_close(&stage);
}

static void test_lost_waker_is_dialed_again(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_CONNECTION));
        for (unsigned i = 1; i <= 3; i++) {
                waker_accept(&stage);
                waker_die(&stage);
                ASSERT_EQ(stage.end, CALL_LOST);
                ASSERT_EQ(stage.error, 0);
                ASSERT_EQ(stage.n_losses, i);
                ASSERT_EQ(stage.n_tries, i);
        }

        /* Awake forgets them. */
        waker_accept(&stage);
        waker_say(&stage, "awake");
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_LOST);
        ASSERT_EQ(stage.n_losses, 1);
        waker_accept(&stage);
        stage_close(&stage);
}

static void test_stopping_waker_is_no_loss(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_CONNECTION));
        waker_accept(&stage);
        waker_say(&stage, "stopping");
        ASSERT_FALSE(waker_call_was_active(stage.call));
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_STOPPING);

        waker_accept(&stage);
        waker_refuse(&stage, "io.wakechain.Stopping", "{}");
        ASSERT_EQ(stage.end, CALL_STOPPING);

        /* Who was awake and is asleep has gone to sleep. */
        waker_accept(&stage);
        waker_say(&stage, "awake");
        waker_say(&stage, "asleep");
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_STOPPING);
        ASSERT_EQ(stage.n_losses, 0);

        /* A new connection has seen nothing. */
        waker_accept(&stage);
        ASSERT_FALSE(waker_call_was_active(stage.call));
        waker_say(&stage, "asleep");
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_LOST);
        stage_close(&stage);
}

static void test_failure_is_the_end(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_API));
        waker_accept(&stage);
        waker_refuse(&stage, "io.wakechain.WakeFailed",
                     "{\"reason\":\"image_missing\",\"message\":\"no such\\nimage\"}");
        ASSERT_EQ(stage.end, CALL_FAILED);
        ASSERT_EQ(stage.reason, FAILURE_IMAGE_MISSING);
        ASSERT_STREQ(stage.message, "no such image");
        while (stage.waker)
                run(&stage);
        ASSERT_EQ(sd_event_run(stage.event, 300 * USEC_PER_MSEC), 0);
        ASSERT_FALSE(waker_call_is_connected(stage.call));

        /* It can be asked anew. */
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_API));
        waker_accept(&stage);
        waker_refuse(&stage, "org.varlink.service.PermissionDenied", "{}");
        ASSERT_EQ(stage.reason, _FAILURE_INVALID);
        ASSERT_STREQ(stage.message, "org.varlink.service.PermissionDenied");
        stage_close(&stage);
}

static void test_nobody_there(void) {
        Stage stage;

        stage_open(&stage);
        ASSERT_ERROR(waker_call_hold(stage.call, TRIGGER_API), ENOENT);
        ASSERT_EQ(stage.end, CALL_LOST);
        ASSERT_EQ(stage.error, -ENOENT);
        ASSERT_EQ(stage.n_tries, 1);
        await_end(&stage);
        ASSERT_EQ(stage.n_tries, 2);
        socket_open(&stage, 8);
        waker_accept(&stage);

        waker_call_stop(stage.call);
        while (stage.waker)
                run(&stage);
        ASSERT_EQ(sd_event_run(stage.event, 300 * USEC_PER_MSEC), 0);
        ASSERT_EQ(stage.n_endings, 2);
        stage_close(&stage);
}

static void test_full_backlog_is_waited_for(void) {
        _cleanup_close_ int other = -EBADF, taken = -EBADF;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 0);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage.path);
        other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_OK(connect(other, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_ERROR(waker_call_hold(stage.call, TRIGGER_API), EAGAIN);
        ASSERT_EQ(stage.end, CALL_BUSY);
        ASSERT_EQ(stage.n_losses, 0);
        taken = accept4(stage.listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_TRUE(taken >= 0);
        waker_accept(&stage);
        stage_close(&stage);
}

static void test_sleep_is_done_at_the_end(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_sleep(stage.call));
        waker_accept(&stage);
        ASSERT_STREQ(stage.asked, "{\"method\":\"io.wakechain.Sleep\",\"parameters\":{\"all\":true}}");
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_LOST);

        waker_accept(&stage);
        ASSERT_OK(varlink_reply(stage.waker, NULL, false));
        waker_die(&stage);
        ASSERT_EQ(stage.end, CALL_DONE);

        /* Nobody has said that this is the end. */
        waker_accept(&stage);
        stage.stop = true;
        waker_die(&stage);
        ASSERT_EQ(sd_event_run(stage.event, 300 * USEC_PER_MSEC), 0);
        stage_close(&stage);
}

static void test_may_be_freed_by_who_is_told(void) {
        Stage stage;

        stage_open(&stage);
        socket_open(&stage, 8);
        ASSERT_OK(waker_call_hold(stage.call, TRIGGER_API));
        waker_accept(&stage);
        stage.free = true;
        waker_refuse(&stage, "io.wakechain.WakeFailed", "{\"message\":\"gone\"}");
        ASSERT_NULL(stage.call);
        ASSERT_STREQ(stage.message, "gone");
        stage_close(&stage);

        stage_open(&stage);
        stage.free = true;
        ASSERT_ERROR(waker_call_hold(stage.call, TRIGGER_API), ENOENT);
        ASSERT_NULL(stage.call);
        stage_close(&stage);
}

int main(void) {
        test_path_follows_from_the_name();
        test_hold_tells_each_status();
        test_lost_waker_is_dialed_again();
        test_stopping_waker_is_no_loss();
        test_failure_is_the_end();
        test_nobody_there();
        test_full_backlog_is_waited_for();
        test_sleep_is_done_at_the_end();
        test_may_be_freed_by_who_is_told();
        return EXIT_SUCCESS;
}
