#include "test.h"
#include "util/time.h"

static void test_sums_saturate(void) {
        ASSERT_EQ(usec_add(1, 2), 3);
        ASSERT_TRUE(usec_add(USEC_INFINITY, 1) == USEC_INFINITY);
        ASSERT_TRUE(usec_add(USEC_INFINITY - 1, 2) == USEC_INFINITY);
        ASSERT_EQ(usec_sub(3, 2), 1);
        ASSERT_EQ(usec_sub(2, 3), 0);
        ASSERT_TRUE(usec_sub(USEC_INFINITY, 5) == USEC_INFINITY);
}

static void test_spans_are_written_for_people(void) {
        static const struct {
                uint64_t usec;
                const char *text;
        } cases[] = {
                { 0, "0ms" },
                { 350 * USEC_PER_MSEC, "350ms" },
                { USEC_PER_SEC - 1, "999ms" },
                { USEC_PER_SEC, "1.0s" },
                { 4987 * USEC_PER_MSEC, "4.9s" },
                { 125 * USEC_PER_SEC, "2min 5s" },
                { 3600 * USEC_PER_SEC, "1h 0min" },
                { USEC_INFINITY, "infinity" },
                { USEC_INFINITY - 1, "5124095576h 1min" },
        };
        char text[SPAN_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(span_to_string(cases[i].usec, text), cases[i].text);
}

static void test_spans_are_read_as_systemd_does(void) {
        static const struct {
                const char *text;
                uint64_t usec;
        } cases[] = {
                { "90s", 90 * USEC_PER_SEC },
                { "90", 90 * USEC_PER_SEC },
                { "15min", 15 * USEC_PER_MINUTE },
                { "1h 30min", 90 * USEC_PER_MINUTE },
                { "1h30min", 90 * USEC_PER_MINUTE },
                { " 2 hours ", 120 * USEC_PER_MINUTE },
                { "500ms", 500 * USEC_PER_MSEC },
                { "2d", UINT64_C(2) * 24 * 60 * USEC_PER_MINUTE },
                { "1.5s", 1500 * USEC_PER_MSEC },
                { "0.0000019s", 1 },
                { "1.25ms", 1250 },
                { "7us", 7 },
                { "0", 0 },
                { "infinity", USEC_INFINITY },
        };
        uint64_t usec;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ASSERT_OK(span_from_string(cases[i].text, &usec));
                ASSERT_TRUE(usec == cases[i].usec);
        }
}

static void test_malformed_spans_are_refused(void) {
        static const char *const malformed[] = { "",    " ",     "s",   "1x", "-1s",      "1.s",
                                                 ".5s", "1 s m", "1s!", "+1", "infinitys" };
        static const char *const too_long[] = { "99999999999999999999", "18446744073709551615s",
                                                "30500568w 30500568w" };
        uint64_t usec = 42;

        for (size_t i = 0; i < ELEMENTSOF(malformed); i++)
                ASSERT_ERROR(span_from_string(malformed[i], &usec), EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(too_long); i++)
                ASSERT_ERROR(span_from_string(too_long[i], &usec), ERANGE);
        ASSERT_EQ(usec, 42);
}

static void test_timestamps_are_utc_with_microseconds(void) {
        char text[TIMESTAMP_MAX];

        (void) setenv("TZ", "Asia/Tokyo", 1);
        tzset();
        ASSERT_STREQ(timestamp_to_string(UINT64_C(1767600000123456), text), "2026-01-05T08:00:00.123456Z");
        ASSERT_STREQ(timestamp_to_string(0, text), "1970-01-01T00:00:00.000000Z");
}

static void test_between_is_between(void) {
        for (int i = 0; i < 1000; i++) {
                uint64_t usec = usec_between(3, 5);

                ASSERT_TRUE(usec >= 3 && usec <= 5);
        }
        ASSERT_EQ(usec_between(7, 7), 7);
}

int main(void) {
        test_sums_saturate();
        test_between_is_between();
        test_spans_are_written_for_people();
        test_spans_are_read_as_systemd_does();
        test_malformed_spans_are_refused();
        test_timestamps_are_utc_with_microseconds();
        return EXIT_SUCCESS;
}
