#include <stdio.h>

#include "ctl/until.h"

/* The whole of the text, or nothing. */
static bool parse(const char *text, const char *format, struct tm *ret) {
        const char *end = strptime(text, format, ret);

        return end && *end == '\0';
}

/* That day may have another offset from UTC than today. */
static int moment(struct tm *local, uint64_t *ret_usec) {
        time_t seconds;

        local->tm_isdst = -1;
        seconds = mktime(local);
        if (seconds < 0)
                return -EINVAL;
        *ret_usec = (uint64_t) seconds * USEC_PER_SEC;
        return 0;
}

static int of_today(const char *text, uint64_t now_usec, struct tm *ret) {
        static const char *const formats[] = { "%H:%M", "%H:%M:%S" };
        time_t now = (time_t) (now_usec / USEC_PER_SEC);

        if (!localtime_r(&now, ret))
                return -EINVAL;
        ret->tm_sec = 0;
        for (size_t i = 0; i < ELEMENTSOF(formats); i++)
                if (parse(text, formats[i], ret))
                        return 0;
        return -EINVAL;
}

static int of_date(const char *text, struct tm *ret) {
        static const char *const formats[] = { "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M",
                                               "%Y-%m-%dT%H:%M:%S" };

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                *ret = (struct tm){};
                if (parse(text, formats[i], ret))
                        return 0;
        }
        return -EINVAL;
}

int until_from_string(const char *text, uint64_t now_usec, uint64_t *ret_usec) {
        unsigned long long seconds;
        struct tm local;
        int r, end;

        assert(text);
        assert(ret_usec);

        if (sscanf(text, "@%12llu%n", &seconds, &end) == 1 && text[1] >= '0' && text[1] <= '9' &&
            text[end] == '\0') {
                *ret_usec = seconds * USEC_PER_SEC;
                return *ret_usec > now_usec ? 0 : -ERANGE;
        }
        if (of_today(text, now_usec, &local) >= 0) {
                r = moment(&local, ret_usec);
                if (r < 0 || *ret_usec > now_usec)
                        return r;
                local.tm_mday++;
                return moment(&local, ret_usec);
        }
        r = of_date(text, &local);
        if (r >= 0)
                r = moment(&local, ret_usec);
        return r < 0 ? r : *ret_usec > now_usec ? 0 : -ERANGE;
}
