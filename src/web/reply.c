#include <stdarg.h>

#include "util/json-members.h"
#include "web/reply.h"
#include "util/text.h"

/* Reply: what holds for everything that we say on our own account. The policy is for who opens an answer of the API as a page. */

#define HEADERS_MAX 16U

static const HttpHeader common_headers[] = {
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Resource-Policy", "same-origin" },
        { "Cache-Control", "no-store" },
        { "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
};

static void reply_data(HttpExchange *request, HttpAnswer *answer, const HttpHeader *headers) {
        HttpHeader all[HEADERS_MAX + 1] = {};
        size_t n = 0;

        for (; n < ELEMENTSOF(common_headers); n++)
                all[n] = common_headers[n];
        for (; headers && headers->name; headers++) {
                assert(n < HEADERS_MAX);
                all[n++] = *headers;
        }
        answer->type = "application/json";
        answer->headers = all;
        http_answer(request, answer);
}

static void reply_text(HttpExchange *request, unsigned status, const char *text, const HttpHeader *headers) {
        reply_data(request, &(HttpAnswer){ .status = status, .body = text, .size = strlen(text) }, headers);
}

void reply_error(HttpExchange *request, unsigned status, const HttpHeader *headers, const char *sentence) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        const char *text = json_add_text(object, "error", sentence) ? json_print(object, NULL) : NULL;

        reply_text(request, status, text ?: "{\"error\":\"Out of memory.\"}", headers);
}

_printf_(4, 0) static void reply_sentence(HttpExchange *request, unsigned status, const HttpHeader *headers,
                                          const char *format, va_list arguments) {
        _cleanup_free_ char *sentence = NULL;

        sentence = text_vprintf(format, arguments);
        reply_error(request, status, headers, sentence ?: "Out of memory.");
}

void reply_refusal(HttpExchange *request, unsigned status, const char *format, ...) {
        static const HttpHeader headers[] = { { "Connection", "close" }, {} };
        va_list arguments;

        va_start(arguments, format);
        reply_sentence(request, status, headers, format, arguments);
        va_end(arguments);
}

void reply_busy(HttpExchange *request, const char *retry_after, const char *format, ...) {
        const HttpHeader headers[] = { { "Retry-After", retry_after }, { "Connection", "close" }, {} };
        va_list arguments;

        va_start(arguments, format);
        reply_sentence(request, 503, headers, format, arguments);
        va_end(arguments);
}

void reply_object(HttpExchange *request, unsigned status, json_object *object) {
        const char *text = json_print(object, NULL);

        if (text)
                reply_text(request, status, text, NULL);
        else
                reply_refusal(request, 503, "Out of memory.");
}

void reply_shared(HttpExchange *request, Bytes *text) {
        const struct iovec part = { text->data, text->size };

        reply_data(request,
                   &(HttpAnswer){ .status = 200, .parts = &part, .n_parts = 1, .kept = &text, .n_kept = 1 }, NULL);
}
