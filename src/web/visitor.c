#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "web/page.h"
#include "web/visitor.h"

/* Visitor: the page, and the events that keep it true. Nothing else of ours exists on an address that is the users' own: whatever name it
 * goes by is right, and no request changes anything.
 *
 * A front passes its client while it has the stack woken. The status may still tell of the wake before that: one that failed is
 * believed after a moment only. */

#define SETTLE_USEC USEC_PER_SEC
#define THEME_FOLDER "/etc/wakechain/page"
#define STATUS_PATH "/api/wake-status/"
#define RETRY_FAILED_SEC 30U
#define RETRY_MAX_SEC 60U
#define SENTENCE_MAX 256U

static void answer_plain(HttpRequest *request, unsigned status, const char *sentence) {
        static const char *const headers[] = { "Cache-Control",
                                               "no-store",
                                               "X-Robots-Tag",
                                               "noindex",
                                               "X-Content-Type-Options",
                                               "nosniff",
                                               "Allow",
                                               "GET, HEAD",
                                               "Connection",
                                               "close",
                                               NULL };
        char text[SENTENCE_MAX];

        (void) snprintf(text, sizeof(text), "%s\n", sentence);
        http_answer(request, &(HttpAnswer){ .status = status,
                                            .type = "text/plain; charset=utf-8",
                                            .body = text,
                                            .size = strlen(text),
                                            .headers = headers });
}

/* In seconds: when is it worth to come back? */
static uint64_t retry_after(const Status *status) {
        uint64_t left_sec = (status_remaining(status) + USEC_PER_SEC - 1) / USEC_PER_SEC;

        switch (status->state) {
        case SERVICE_AWAKE:
                return 0;
        case SERVICE_FAILED:
                return RETRY_FAILED_SEC;
        case SERVICE_WAKING:
                return CLAMP(left_sec, 1U, RETRY_MAX_SEC);
        default:
                return CLAMP(status->estimate_usec / USEC_PER_SEC, 1U, RETRY_MAX_SEC);
        }
}

static void answer_page(Site *site, HttpRequest *request, const StoreEntry *entry) {
        _cleanup_free_ char *theme = NULL, *page = NULL, *policy = NULL;
        const Status *status = store_entry_status(entry);
        PageContext context;
        char after[24];
        size_t size;
        int r;

        if (asprintf(&theme, "%s" THEME_FOLDER, site->root) < 0)
                theme = NULL;
        context = (PageContext){
                .language = page_language(http_request_header(request, "Accept-Language", NULL)),
                .path = http_request_target(request),
                .theme = theme && access(theme, F_OK) >= 0 ? theme : NULL,
        };
        r = page_render(&page, &size, &policy, &context, store_entry_service(entry), status);
        if (r < 0) {
                answer_plain(request, 503, "The site is being woken. Please try again in a moment.");
                return;
        }
        (void) snprintf(after, sizeof(after), "%" PRIu64, retry_after(status));

        const char *const headers[] = { "Retry-After",
                                        after,
                                        "Content-Security-Policy",
                                        policy,
                                        "Content-Language",
                                        context.language,
                                        "Cache-Control",
                                        "no-store",
                                        "Vary",
                                        "Accept, Accept-Language",
                                        "X-Robots-Tag",
                                        "noindex",
                                        "X-Content-Type-Options",
                                        "nosniff",
                                        "Referrer-Policy",
                                        "same-origin",
                                        "Connection",
                                        "close",
                                        NULL };

        http_answer(request, &(HttpAnswer){ .status = 503,
                                            .type = "text/html; charset=utf-8",
                                            .body = page,
                                            .size = size,
                                            .headers = headers });
}

static bool wants_status(const HttpRequest *request, const char *service) {
        const char *target = http_request_target(request);

        return strncmp(target, STATUS_PATH, strlen(STATUS_PATH)) == 0 &&
               streq(target + strlen(STATUS_PATH), service);
}

static bool wants_page(const HttpRequest *request) {
        const char *accept = http_request_header(request, "Accept", NULL);

        return accept && strcasestr(accept, "text/html");
}

void visitor_answer(Site *site, HttpRequest *request) {
        const char *service = http_request_service(request), *method = http_request_method(request);
        bool status = wants_status(request, service);
        StoreEntry *entry = store_find(site->store, service);

        if (!streq(method, "GET") && !streq(method, "HEAD")) {
                answer_plain(request, 405, "The site sleeps, and is being woken.");
                return;
        }
        if (!status && !wants_page(request)) {
                answer_plain(request, 404, "The site sleeps, and has only a page that says so.");
                return;
        }
        if (!entry) {
                answer_plain(request, 503, "The site is not available.");
                return;
        }
        if (store_entry_status(entry)->state == SERVICE_FAILED && http_wait(request, SETTLE_USEC))
                return;
        if (status)
                events_answer(site->events, request, service);
        else
                answer_page(site, request, entry);
}
