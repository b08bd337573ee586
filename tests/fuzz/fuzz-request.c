#include "front/request.h"

/* The first bytes of any client: what the front decides by, where a mistake would take bytes for what they are not. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(RequestText text, const char *data, size_t size) {
        if (text.data && (text.data < data || text.size > size || text.data > data + size - text.size))
                abort();
}

static RequestVerdict parse(Request *ret, const char *data, size_t size) {
        RequestVerdict verdict = request_parse(ret, data, size, "demo");

        check_text(ret->path, data, size);
        check_text(ret->user_agent, data, size);
        if ((ret->browser || ret->watches) && !ret->plain)
                abort();
        if (ret->plain && verdict != REQUEST_WHOLE)
                abort();
        if (size >= REQUEST_PEEK_SIZE && (verdict == REQUEST_MORE || verdict == REQUEST_PARTIAL))
                abort();
        return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        RequestVerdict verdict, earlier;
        Request request, before;
        /* One more byte than the input tells how much of it came first. */
        size_t first = size > 0 ? data[size - 1] * size / 256 : 0;

        verdict = parse(&request, (const char *) data, size);
        earlier = parse(&before, (const char *) data, first);

        /* What was certain stays so, whatever comes behind. */
        if (earlier == REQUEST_OTHER && verdict != REQUEST_OTHER)
                abort();
        if (earlier == REQUEST_WHOLE && (verdict != REQUEST_WHOLE || before.plain != request.plain ||
                                         before.browser != request.browser || before.watches != request.watches))
                abort();
        if (earlier == REQUEST_PARTIAL && (verdict == REQUEST_MORE || verdict == REQUEST_OTHER))
                abort();
        return 0;
}
