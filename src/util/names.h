#pragma once

/* Names: of an enum's values, from one table: TYPE is PREFIX_to_string(), and PREFIX_from_string(), which is -EINVAL for what is none. */

#include "util/macro.h"

#define DEFINE_NAME_OF(prefix, type, names)                                     \
        const char *prefix##_to_string(type value) {                            \
                assert((int) value >= 0 && (size_t) value < ELEMENTSOF(names)); \
                return (names)[value];                                          \
        }                                                                       \
        struct _semicolon_##prefix##_to_string

#define DEFINE_NAMES(prefix, type, names)                              \
        DEFINE_NAME_OF(prefix, type, names);                           \
        type prefix##_from_string(const char *text) {                  \
                for (size_t i = 0; text && i < ELEMENTSOF(names); i++) \
                        if (streq((names)[i], text))                   \
                                return (type) i;                       \
                return (type) -EINVAL;                                 \
        }                                                              \
        struct _semicolon_##prefix##_from_string
