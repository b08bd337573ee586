#include "ctl/until.h"
#include "test.h"

/* 2026-01-05 08:00:30 UTC, a Monday. */
#define NOW (UINT64_C(1767600030) * USEC_PER_SEC)

static void assert_until(const char *text, uint64_t seconds) {
        uint64_t until_usec;

        ASSERT_OK(until_from_string(text, NOW, &until_usec));
        ASSERT_EQ(until_usec, seconds * USEC_PER_SEC);
}

static void assert_wrong(const char *text, int error) {
        uint64_t until_usec;

        ASSERT_EQ(until_from_string(text, NOW, &until_usec), error);
}

static void test_times_of_day(void) {
        assert_until("18:00", 1767636000);
        assert_until("18:00:05", 1767636005);
        /* Past, or now: tomorrow's. */
        assert_until("08:00", 1767600000 + 86400);
        assert_until("08:00:30", 1767600030 + 86400);
        assert_until("08:01", 1767600060);
}

static void test_dates(void) {
        assert_until("2026-01-05 18:00", 1767636000);
        assert_until("2026-01-05T18:00:05", 1767636005);
        assert_until("@1767636000", 1767636000);
        assert_wrong("2026-01-05 08:00", -ERANGE);
        assert_wrong("@1767600030", -ERANGE);
}

static void test_what_is_none(void) {
        static const char *const wrong[] = { "",          "soon",        "18",
                                             "24:00",     "18:60",       "18:00x",
                                             "18:00:61x", "2026-01-05",  "2026-13-05 08:00",
                                             "@",         "@x",          "@-1",
                                             "@+1",       "@1767636000s" };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                assert_wrong(wrong[i], -EINVAL);
}

/* An hour that a change to summer time leaves out, and one day that is shorter. */
static void test_summer_time(void) {
        uint64_t until_usec;

        ASSERT_EQ(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
        tzset();
        /* 2026-03-28 20:00 local; 08:00 of the next day is eleven hours later. */
        ASSERT_OK(until_from_string("08:00", UINT64_C(1774724400) * USEC_PER_SEC, &until_usec));
        ASSERT_EQ(until_usec, UINT64_C(1774764000) * USEC_PER_SEC);
}

int main(void) {
        ASSERT_EQ(setenv("TZ", "UTC", 1), 0);
        tzset();
        test_times_of_day();
        test_dates();
        test_what_is_none();
        test_summer_time();
        return 0;
}
