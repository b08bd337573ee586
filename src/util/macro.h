#pragma once

/* Ownership and arithmetic helpers. `_cleanup_` frees a local when it goes out of scope, TAKE_PTR() and TAKE_FD() hand
 * it over instead; every destructor takes NULL and returns NULL. */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* Whoever is only there to be freed is used, whatever clang says. */
#define _cleanup_(function) __attribute__((cleanup(function), unused))
#define _printf_(string, first) __attribute__((__format__(__printf__, string, first)))
#define _unused_ __attribute__((unused))
#define _sentinel_ __attribute__((sentinel))

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(value, low, high) MIN(MAX(value, low), high)

#define TAKE_PTR(pointer)                             \
        ({                                            \
                __typeof__(pointer) *_p = &(pointer); \
                __typeof__(pointer) _v = *_p;         \
                *_p = NULL;                           \
                _v;                                   \
        })

#define TAKE_FD(fd)              \
        ({                       \
                int *_p = &(fd); \
                int _v = *_p;    \
                *_p = -EBADF;    \
                _v;              \
        })

#define ASSERT_PTR(pointer)                         \
        ({                                          \
                __typeof__(pointer) _v = (pointer); \
                assert(_v);                         \
                _v;                                 \
        })

/* Defines FUNCTIONp(), for _cleanup_(), from a destructor that takes and returns TYPE. */
#define DEFINE_CLEANUP(type, function)                 \
        static inline void function##p(type *object) { \
                if (*object)                           \
                        (void) function(*object);      \
        }                                              \
        struct _semicolon_##function

static inline void freep(void *pointer) {
        free(*(void **) pointer);
}
#define _cleanup_free_ _cleanup_(freep)

#define mfree(memory)                      \
        ({                                 \
                free(memory);              \
                (__typeof__(memory)) NULL; \
        })

#define new0(type, count) ((type *) calloc((count), sizeof(type)))

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

static inline bool isempty(const char *text) {
        return !text || text[0] == '\0';
}

static inline const char *strempty(const char *text) {
        return text ? text : "";
}
