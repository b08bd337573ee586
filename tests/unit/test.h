#pragma once

/* What a unit test needs: assertions that print what they saw and stay on with NDEBUG. */

#include <inttypes.h>
#include <stdio.h>
#include "util/macro.h"

#define TEST_FAIL(...)                                          \
        do {                                                    \
                fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
                fprintf(stderr, __VA_ARGS__);                   \
                fputc('\n', stderr);                            \
                abort();                                        \
        } while (false)

#define ASSERT_TRUE(condition)                                 \
        do {                                                   \
                if (!(condition))                              \
                        TEST_FAIL("not true: %s", #condition); \
        } while (false)
#define ASSERT_FALSE(condition) ASSERT_TRUE(!(condition))

#define ASSERT_OK(expression)                                            \
        do {                                                             \
                int _r = (expression);                                   \
                if (_r < 0)                                              \
                        TEST_FAIL("%s: %s", #expression, strerror(-_r)); \
        } while (false)
#define ASSERT_ERROR(expression, number)                                              \
        do {                                                                          \
                int _r = (expression), _n = (number);                                 \
                if (_r != -_n)                                                        \
                        TEST_FAIL("%s: %d instead of -%s", #expression, _r, #number); \
        } while (false)
#define ASSERT_EQ(a, b)                                                             \
        do {                                                                        \
                intmax_t _a = (intmax_t) (a), _b = (intmax_t) (b);                  \
                if (_a != _b)                                                       \
                        TEST_FAIL("%s is %" PRIdMAX ", not %" PRIdMAX, #a, _a, _b); \
        } while (false)
#define ASSERT_STREQ(a, b)                                                                             \
        do {                                                                                           \
                const char *_a = (a), *_b = (b);                                                       \
                if (!_a || !_b || strcmp(_a, _b) != 0)                                                 \
                        TEST_FAIL("%s is '%s', not '%s'", #a, _a ? _a : "(null)", _b ? _b : "(null)"); \
        } while (false)
#define ASSERT_NULL(pointer) ASSERT_TRUE((pointer) == NULL)
