#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "web/visitor.h"
#include "util/text.h"
#include "web/wait-page.h"

/* Visitor: the page, and the events that keep it true. Nothing else of ours exists on an address that is the users' own: whatever name it
 * goes by is right, and no request changes anything.
 *
 * A front passes its client while it has the stack woken. The status may still tell of the wake before that: one that failed is
 * believed after a moment only, unless the front has said that it does not wake it for a while. */

#define SETTLE_USEC USEC_PER_SEC
#define THEME_FOLDER "/etc/wakechain/page"
#define STATUS_PATH "/api/wake-status/"
#define RETRY_FAILED_SEC 30U
#define RETRY_MAX_SEC 60U
#define SENTENCE_MAX 256U

static void answer_plain(HttpExchange *request, unsigned status, const char *sentence) {
        static const HttpHeader headers[] = { { "Cache-Control", "no-store" },
                                              { "X-Robots-Tag", "noindex" },
                                              { "X-Content-Type-Options", "nosniff" },
                                              { "Allow", "GET, HEAD" },
                                              { "Connection", "close" },
                                              {} };
        char text[SENTENCE_MAX];

        (void) snprintf(text, sizeof(text), "%s\n", sentence);
        http_answer(request, &(HttpAnswer){ .status = status,
                                            .type = "text/plain; charset=utf-8",
                                            .body = text,
                                            .size = strlen(text),
                                            .headers = headers });
}

/* In seconds: when is it worth to come back? */
static uint64_t retry_after(const Status *status, uint64_t pause_usec) {
        uint64_t left_sec = (status_remaining(status) + USEC_PER_SEC - 1) / USEC_PER_SEC;

        switch (status->state) {
        case SERVICE_AWAKE:
                return 0;
        case SERVICE_FAILED:
                return pause_usec > 0 ? usec_add(pause_usec, USEC_PER_SEC - 1) / USEC_PER_SEC : RETRY_FAILED_SEC;
        case SERVICE_WAKING:
                return CLAMP(left_sec, 1U, RETRY_MAX_SEC);
        default:
                return CLAMP(status->estimate_usec / USEC_PER_SEC, 1U, RETRY_MAX_SEC);
        }
}

static void answer_page(Site *site, HttpExchange *request, const BoardEntry *entry) {
        _cleanup_(page_document_done) PageDocument page = {};
        _cleanup_free_ char *theme = NULL;
        const Status *status = board_entry_status(entry);
        PageContext context;
        char after[24];
        int r;

        theme = text_printf("%s" THEME_FOLDER, site->root);
        context = (PageContext){
                .language = wait_page_language(http_exchange_header(request, "Accept-Language", NULL)),
                .path = http_exchange_target(request),
                .retry_after_usec = board_entry_pause(entry),
                .theme = theme && access(theme, F_OK) >= 0 ? theme : NULL,
        };
        r = wait_page_render(&page, &context, board_entry_service(entry), status);
        if (r < 0) {
                answer_plain(request, 503, "The site is being woken. Please try again in a moment.");
                return;
        }
        (void) snprintf(after, sizeof(after), "%" PRIu64, retry_after(status, context.retry_after_usec));

        const HttpHeader headers[] = { { "Retry-After", after },
                                       { "Content-Security-Policy", page.policy },
                                       { "Content-Language", context.language },
                                       { "Cache-Control", "no-store" },
                                       { "Vary", "Accept, Accept-Language" },
                                       { "X-Robots-Tag", "noindex" },
                                       { "X-Content-Type-Options", "nosniff" },
                                       { "Referrer-Policy", "same-origin" },
                                       { "Connection", "close" },
                                       {} };

        http_answer(request, &(HttpAnswer){ .status = 503,
                                            .type = "text/html; charset=utf-8",
                                            .parts = page.parts,
                                            .n_parts = page.n_parts,
                                            .kept = page.kept,
                                            .n_kept = page.n_kept,
                                            .headers = headers });
}

void visitor_answer(Site *site, HttpExchange *request) {
        const char *service = http_exchange_service(request), *method = http_exchange_method(request);
        const char *target = http_exchange_target(request);
        const char *accept = http_exchange_header(request, "Accept", NULL);
        bool status = strncmp(target, STATUS_PATH, strlen(STATUS_PATH)) == 0 &&
                      streq(target + strlen(STATUS_PATH), service);
        BoardEntry *entry = board_find(site->board, service);

        if (!streq(method, "GET") && !streq(method, "HEAD")) {
                answer_plain(request, 405, "The site sleeps, and is being woken.");
                return;
        }
        if (!status && !(accept && strcasestr(accept, "text/html"))) {
                answer_plain(request, 404, "The site sleeps, and has only a page that says so.");
                return;
        }
        if (!entry) {
                answer_plain(request, 503, "The site is not available.");
                return;
        }
        if (board_entry_status(entry)->state == SERVICE_FAILED && board_entry_pause(entry) == 0 &&
            http_wait(request, SETTLE_USEC))
                return;
        if (status)
                events_answer(site->events, request, service);
        else
                answer_page(site, request, entry);
}
