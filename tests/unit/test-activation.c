#include "fake-systemd.h"
#include "manager/activation.h"
#include "test.h"
#include "util/time.h"

typedef struct Stage {
        sd_event *event;
        FakeSystemd *systemd;
        FakeUnit *service, *socket;
        Activation *activation;
        bool told;
        int by_socket;
} Stage;

static void stage_open(Stage *stage) {
        *stage = (Stage){};
        ASSERT_OK(sd_event_new(&stage->event));
        stage->systemd = fake_systemd_new(stage->event);
        stage->service = fake_systemd_add(stage->systemd, "wake@a-b.service");
        stage->socket = fake_systemd_add(stage->systemd, "wake-control@a-b.socket");
}

static void stage_close(Stage *stage) {
        activation_free(stage->activation);
        fake_systemd_free(stage->systemd);
        sd_event_unref(stage->event);
}

static void stage_on_told(Activation *activation, int by_socket, void *userdata) {
        Stage *stage = ASSERT_PTR(userdata);

        ASSERT_FALSE(stage->told);
        stage->told = true;
        stage->by_socket = by_socket;
        stage->activation = activation_free(stage->activation);
}

static int stage_ask(Stage *stage, const char *service) {
        int r;

        stage->told = false;
        r = activation_new(&stage->activation, stage->event, service, "wake-control@a-b.socket", stage_on_told,
                           stage);
        if (r < 0)
                return r;
        ASSERT_FALSE(stage->told);
        while (!stage->told)
                ASSERT_TRUE(sd_event_run(stage->event, 20 * USEC_PER_SEC) > 0);
        return stage->by_socket;
}

/* What systemd 252 and 257 were seen to do. */
static void test_who_has_begun(void) {
        static const struct {
                uint64_t ended, changed, began;
                int by_socket;
        } cases[] = {
                { 0, 50, 60, 1 }, /* the first run, after a connection */
                { 40, 50, 60, 1 },
                { 0, 0, 60, 1 }, /* a machine whose clock has just begun: nobody is lied to */
                { 40, 70, 60, 0 }, /* somebody has connected after the begin */
                { 40, 60, 60, 0 },
                { 55, 30, 60,
                  0 }, /* was asked for while the run before ended, to which the socket still belonged */
        };
        Stage stage;

        stage_open(&stage);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                stage.service->ended_usec = cases[i].ended;
                stage.service->began_usec = cases[i].began;
                stage.socket->changed_usec = cases[i].changed;
                stage.socket->ended_usec = stage.socket->began_usec = stage.service->changed_usec = 12345;
                ASSERT_EQ(stage_ask(&stage, "wake@a-b.service"), cases[i].by_socket);
        }
        stage_close(&stage);
}

static void test_what_cannot_be_told(void) {
        Stage stage;

        stage_open(&stage);
        ASSERT_TRUE(stage_ask(&stage, "wake@other.service") < 0);
        fake_systemd_down(stage.systemd);
        ASSERT_TRUE(stage_ask(&stage, "wake@a-b.service") < 0);
        stage_close(&stage);
}

int main(void) {
        test_who_has_begun();
        test_what_cannot_be_told();
        return EXIT_SUCCESS;
}
