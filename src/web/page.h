#pragma once

/* Page: what a browser is shown while a service sleeps, wakes or has failed to. */

#include "model/service.h"
#include "model/status.h"

typedef struct PageContext {
        const char *language; /* "en" or "fr", from page_language() */
        const char *path; /* what the visitor asked for, as sent (origin-form); "/" if unusable */
        uint64_t retry_after_usec; /* failed: until a new connection tries again; 0: at once */
        const char *theme; /* folder whose files replace ours, or NULL */
} PageContext;

/* From an Accept-Language header, or NULL. */
const char *page_language(const char *accept_language);

/* A whole HTML document in UTF-8. It is complete in itself: its style and script are part of it, and it asks for nothing but
 * /api/wake-status/NAME of its own origin. `ret_policy` is the value for Content-Security-Policy, and fits this document only. A theme that
 * cannot be used is reported and ignored. */
int page_render(char **ret, size_t *ret_size, char **ret_policy, const PageContext *context,
                const Service *service, const Status *status);
