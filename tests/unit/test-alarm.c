#include "test.h"
#include "util/alarm.h"

static int on_alarm(sd_event_source *source, uint64_t usec, void *userdata) {
        ++*(unsigned *) userdata;
        return 0;
}

static void test_comes_once_each_time_it_is_started(void) {
        sd_event *event = NULL;
        sd_event_source *alarm = NULL;
        unsigned n = 0;

        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(alarm_new(&alarm, event, 1, on_alarm, &n));
        ASSERT_FALSE(alarm_is_on(alarm));
        ASSERT_EQ(sd_event_run(event, 0), 0);

        for (unsigned i = 1; i <= 2; i++) {
                alarm_start(alarm, USEC_PER_MSEC);
                ASSERT_TRUE(alarm_is_on(alarm));
                ASSERT_TRUE(sd_event_run(event, 20 * USEC_PER_SEC) > 0);
                ASSERT_EQ(n, i);
                ASSERT_FALSE(alarm_is_on(alarm));
        }

        alarm_start(alarm, 0);
        alarm_stop(alarm);
        ASSERT_EQ(sd_event_run(event, 0), 0);
        alarm_start(alarm, 0);
        alarm_start(alarm, USEC_INFINITY);
        ASSERT_FALSE(alarm_is_on(alarm));
        ASSERT_EQ(sd_event_run(event, 0), 0);
        ASSERT_EQ(n, 2);
        sd_event_source_disable_unref(alarm);
        sd_event_unref(event);
}

int main(void) {
        test_comes_once_each_time_it_is_started();
        return EXIT_SUCCESS;
}
