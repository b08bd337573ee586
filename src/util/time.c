#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "util/time.h"

uint64_t timespec_load(const struct timespec *time) {
        return (uint64_t) time->tv_sec * USEC_PER_SEC + (uint64_t) time->tv_nsec / 1000;
}

uint64_t time_now(clockid_t clock) {
        struct timespec now;

        return clock_gettime(clock, &now) < 0 ? 0 : timespec_load(&now);
}

uint64_t usec_add(uint64_t a, uint64_t b) {
        return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

uint64_t usec_sub(uint64_t a, uint64_t b) {
        if (a == USEC_INFINITY)
                return USEC_INFINITY;
        return a > b ? a - b : 0;
}

uint64_t usec_between(uint64_t least_usec, uint64_t most_usec) {
        uint64_t random = 0;

        assert(least_usec <= most_usec && most_usec - least_usec < UINT64_MAX);

        (void) !getrandom(&random, sizeof(random), GRND_NONBLOCK);
        return least_usec + random % (most_usec - least_usec + 1);
}

const char *span_to_string(uint64_t span_usec, char buffer[static SPAN_MAX]) {
        uint64_t seconds = span_usec / USEC_PER_SEC;

        if (span_usec == USEC_INFINITY)
                (void) snprintf(buffer, SPAN_MAX, "infinity");
        else if (span_usec < USEC_PER_SEC)
                (void) snprintf(buffer, SPAN_MAX, "%" PRIu64 "ms", span_usec / USEC_PER_MSEC);
        else if (seconds < 60)
                (void) snprintf(buffer, SPAN_MAX, "%" PRIu64 ".%" PRIu64 "s", seconds,
                                span_usec % USEC_PER_SEC / (USEC_PER_SEC / 10));
        else if (seconds < 3600)
                (void) snprintf(buffer, SPAN_MAX, "%" PRIu64 "min %" PRIu64 "s", seconds / 60, seconds % 60);
        else
                (void) snprintf(buffer, SPAN_MAX, "%" PRIu64 "h %" PRIu64 "min", seconds / 3600,
                                seconds % 3600 / 60);
        return buffer;
}

static const struct {
        const char *name;
        uint64_t usec;
} span_units[] = {
        { "", USEC_PER_SEC },
        { "us", 1 },
        { "ms", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "minutes", USEC_PER_MINUTE },
        { "h", 60 * USEC_PER_MINUTE },
        { "hr", 60 * USEC_PER_MINUTE },
        { "hour", 60 * USEC_PER_MINUTE },
        { "hours", 60 * USEC_PER_MINUTE },
        { "d", 24 * 60 * USEC_PER_MINUTE },
        { "day", 24 * 60 * USEC_PER_MINUTE },
        { "days", 24 * 60 * USEC_PER_MINUTE },
        { "w", 7 * 24 * 60 * USEC_PER_MINUTE },
        { "week", 7 * 24 * 60 * USEC_PER_MINUTE },
        { "weeks", 7 * 24 * 60 * USEC_PER_MINUTE },
};

static int span_unit(const char *name, size_t size, uint64_t *ret_usec) {
        for (size_t i = 0; i < ELEMENTSOF(span_units); i++)
                if (strlen(span_units[i].name) == size && strncmp(span_units[i].name, name, size) == 0) {
                        *ret_usec = span_units[i].usec;
                        return 0;
                }
        return -EINVAL;
}

int span_from_string(const char *text, uint64_t *ret_usec) {
        uint64_t total = 0;
        bool any = false;

        text += strspn(text, " ");
        if (streq(text, "infinity")) {
                *ret_usec = USEC_INFINITY;
                return 0;
        }

        for (; *text; text += strspn(text, " ")) {
                uint64_t whole = 0, tenths = 0, unit, scale, part;
                size_t name;

                if (*text < '0' || *text > '9')
                        return -EINVAL;
                for (; *text >= '0' && *text <= '9'; text++)
                        if (__builtin_mul_overflow(whole, 10, &whole) ||
                            __builtin_add_overflow(whole, (uint64_t) (*text - '0'), &whole))
                                return -ERANGE;
                const char *fraction = NULL;
                if (*text == '.') {
                        fraction = ++text;
                        text += strspn(text, "0123456789");
                        if (text == fraction)
                                return -EINVAL;
                }
                text += strspn(text, " ");
                name = strspn(text, "abcdefghijklmnopqrstuvwxyz");
                if (span_unit(text, name, &unit) < 0)
                        return -EINVAL;
                scale = unit;
                for (; fraction && *fraction >= '0' && *fraction <= '9' && scale >= 10; fraction++) {
                        scale /= 10;
                        tenths += (uint64_t) (*fraction - '0') * scale;
                }
                if (__builtin_mul_overflow(whole, unit, &part) || __builtin_add_overflow(part, tenths, &part) ||
                    __builtin_add_overflow(total, part, &total))
                        return -ERANGE;
                text += name;
                any = true;
        }
        if (!any)
                return -EINVAL;
        *ret_usec = total;
        return 0;
}

const char *timestamp_to_string(uint64_t realtime_usec, char buffer[static TIMESTAMP_MAX]) {
        time_t seconds = (time_t) (realtime_usec / USEC_PER_SEC);
        struct tm utc;
        size_t n;

        if (!gmtime_r(&seconds, &utc))
                utc = (struct tm){ .tm_year = 70, .tm_mday = 1 };
        n = strftime(buffer, TIMESTAMP_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
        (void) snprintf(buffer + n, TIMESTAMP_MAX - n, ".%06uZ", (unsigned) (realtime_usec % USEC_PER_SEC));
        return buffer;
}
