#pragma once

/* Wait page: what a browser is shown while a service sleeps, wakes or has failed to. */

#include <sys/uio.h>
#include "model/service.h"
#include "model/status.h"
#include "util/bytes.h"

typedef struct PageContext {
        const char *language; /* "en" or "fr", from wait_page_language() */
        const char *path; /* what the visitor asked for, as sent (origin-form); "/" if unusable */
        uint64_t retry_after_usec; /* failed: until a new connection tries again; 0: at once */
        const char *theme; /* folder whose files replace ours, or NULL */
} PageContext;

/* From an Accept-Language header, or NULL. */
const char *wait_page_language(const char *accept_language);

#define PAGE_KEPT_MAX 4U

/* A whole HTML document in UTF-8, in parts: what all visitors have in common is there once. It stays while all that is kept does. */
typedef struct PageDocument {
        struct iovec *parts;
        size_t n_parts;
        Bytes *kept[PAGE_KEPT_MAX];
        size_t n_kept;
        char *policy; /* value for Content-Security-Policy; fits this document only */
} PageDocument;

void page_document_done(PageDocument *document);

/* It is complete in itself: its style and script are part of it, and it asks for nothing but /api/wake-status/NAME of its own origin. A theme
 * that cannot be used is reported and ignored. */
int wait_page_render(PageDocument *ret, const PageContext *context, const Service *service, const Status *status);
