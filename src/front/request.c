#include <ctype.h>
#include <strings.h>

#include "front/request.h"

/* Request: who speaks HTTP is told by the request line: an upper-case word, a space, and then either a method that
 * everybody knows or a line that ends in a version of HTTP/1. The lines behind it are looked at once all of them are
 * there; a table names those that matter.
 *
 * A browser that goes to a page says that it accepts text/html, by that name. Its scripts, images and prefetches do
 * not, or give themselves away by Sec-Fetch-Dest and Sec-Fetch-Mode, which browsers add to whatever they send over
 * HTTPS or to loopback and scripts cannot change. Programs that accept anything have not asked for a page.
 *
 * Line ends may lack the CR, as most servers have it. A line that goes on a line before (it begins with a blank) is
 * skipped: no browser sends one. */

#define METHOD_MAX 24
#define STATUS_PATH "/api/wake-status/"

static const char *const methods[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
};

typedef struct Fields {
        bool html; /* text/html is accepted */
        bool elsewhere; /* what comes back is not for a person: Sec-Fetch-… */
        bool more; /* not plain */
        RequestText user_agent;
} Fields;

static bool text_is(RequestText text, const char *other) {
        return text.size == strlen(other) && strncasecmp(text.data, other, text.size) == 0;
}

static RequestText text_trim(RequestText text) {
        while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
                text = (RequestText){ text.data + 1, text.size - 1 };
        while (text.size > 0 && strchr(" \t\r", text.data[text.size - 1]))
                text.size--;
        return text;
}

/* Cuts off what comes before `separator`, quoted ones aside. */
static RequestText text_split(RequestText *text, char separator) {
        RequestText part = { text->data, 0 };
        bool quoted = false;

        for (; part.size < text->size; part.size++) {
                char c = text->data[part.size];

                if (c == '"')
                        quoted = !quoted;
                else if (c == '\\' && quoted && part.size + 1 < text->size)
                        part.size++;
                else if (c == separator && !quoted)
                        break;
        }
        text->data += part.size;
        text->size -= part.size;
        if (text->size > 0)
                *text = (RequestText){ text->data + 1, text->size - 1 };
        return text_trim(part);
}

/* "0", "0.", "0.000": not acceptable. */
static bool is_zero_weight(RequestText parameter) {
        RequestText name = text_split(&parameter, '='), value = text_trim(parameter);

        if (!text_is(name, "q") || value.size == 0)
                return false;
        for (size_t i = 0; i < value.size; i++)
                if (value.data[i] != (i == 1 ? '.' : '0'))
                        return false;
        return true;
}

static void field_accept(Fields *fields, RequestText value) {
        while (value.size > 0) {
                RequestText range = text_split(&value, ',');
                bool acceptable = text_is(text_split(&range, ';'), "text/html");

                while (range.size > 0)
                        if (is_zero_weight(text_split(&range, ';')))
                                acceptable = false;
                fields->html = fields->html || acceptable;
        }
}

static void field_destination(Fields *fields, RequestText value) {
        if (!text_is(value, "document") && !text_is(value, "iframe") && !text_is(value, "frame"))
                fields->elsewhere = true;
}

static void field_mode(Fields *fields, RequestText value) {
        if (!text_is(value, "navigate"))
                fields->elsewhere = true;
}

static void field_length(Fields *fields, RequestText value) {
        if (!text_is(value, "0"))
                fields->more = true;
}

static void field_more(Fields *fields, RequestText value) {
        fields->more = true;
}

static void field_user_agent(Fields *fields, RequestText value) {
        fields->user_agent = value;
}

static const struct {
        const char *name;
        void (*take)(Fields *fields, RequestText value);
} known_fields[] = {
        { "Accept", field_accept },       { "Content-Length", field_length },
        { "Expect", field_more },         { "Sec-Fetch-Dest", field_destination },
        { "Sec-Fetch-Mode", field_mode }, { "Transfer-Encoding", field_more },
        { "Upgrade", field_more },        { "User-Agent", field_user_agent },
};

static void field_take(Fields *fields, RequestText line) {
        const char *colon = memchr(line.data, ':', line.size);
        RequestText name;

        if (!colon)
                return;
        name = (RequestText){ line.data, (size_t) (colon - line.data) };
        for (size_t i = 0; i < ELEMENTSOF(known_fields); i++)
                if (text_is(name, known_fields[i].name))
                        known_fields[i].take(fields,
                                             text_trim((RequestText){ colon + 1, line.size - name.size - 1 }));
}

/* True when the empty line at the end was there. */
static bool fields_parse(Fields *fields, RequestText text) {
        const char *newline;

        while ((newline = memchr(text.data, '\n', text.size))) {
                RequestText line = { text.data, (size_t) (newline - text.data) };

                if (line.size == 0 || (line.size == 1 && line.data[0] == '\r'))
                        return true;
                field_take(fields, line);
                text = (RequestText){ newline + 1, text.size - line.size - 1 };
        }
        return false;
}

static bool is_known_method(RequestText method) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (strlen(methods[i]) == method.size && memcmp(methods[i], method.data, method.size) == 0)
                        return true;
        return false;
}

/* " HTTP/1.0" or a later minor version at the end of a line, which is cut off. */
static bool cut_version(RequestText *line) {
        RequestText text = text_trim(*line);
        const char *version;

        if (text.size < 9)
                return false;
        version = text.data + text.size - 9;
        if (memcmp(version, " HTTP/1.", 8) != 0 || !isdigit((unsigned char) version[8]))
                return false;
        *line = text_trim((RequestText){ text.data, text.size - 9 });
        return true;
}

static bool is_status_path(RequestText path, const char *service) {
        size_t n = strlen(STATUS_PATH), n_service = strlen(service);

        return path.size == n + n_service && memcmp(path.data, STATUS_PATH, n) == 0 &&
               memcmp(path.data + n, service, n_service) == 0;
}

/* `line`: behind the method. Not even a version: the oldest HTTP, or none; in any case nothing for a page. */
static void request_take_head(Request *request, RequestText method, RequestText line, const Fields *fields,
                              const char *service) {
        bool get = method.size == 3 && memcmp(method.data, "GET", 3) == 0;
        bool versioned = cut_version(&line);

        line = text_trim(line);
        if (line.size > 0 && line.data[0] == '/') {
                const char *query = memchr(line.data, '?', line.size);

                request->path = (RequestText){ line.data, query ? (size_t) (query - line.data) : line.size };
        }
        request->user_agent = fields->user_agent;
        request->plain = versioned && (get || request->head) && !fields->more;
        request->browser = request->plain && fields->html && !fields->elsewhere;
        request->watches = request->plain && get && request->path.data && is_status_path(request->path, service);
}

RequestVerdict request_parse(Request *ret, const char *data, size_t size, const char *service) {
        RequestText method = { data, 0 }, line;
        const char *newline;
        Fields fields = {};

        assert(ret);
        assert(data || size == 0);
        assert(service);

        *ret = (Request){};
        size = MIN(size, REQUEST_PEEK_SIZE);
        while (method.size < size &&
               ((data[method.size] >= 'A' && data[method.size] <= 'Z') || data[method.size] == '-'))
                method.size++;
        if (method.size == size)
                return size <= METHOD_MAX ? REQUEST_MORE : REQUEST_OTHER;
        if (method.size < 3 || method.size > METHOD_MAX || data[method.size] != ' ')
                return REQUEST_OTHER;

        newline = memchr(data, '\n', size);
        if (is_known_method(method))
                ret->head = method.size == 4 && memcmp(data, "HEAD", 4) == 0;
        else if (!newline)
                return size < REQUEST_PEEK_SIZE ? REQUEST_MORE : REQUEST_OTHER;
        line = (RequestText){ data + method.size, (newline ? (size_t) (newline - data) : size) - method.size };
        if (!is_known_method(method)) {
                RequestText copy = line;

                if (!cut_version(&copy))
                        return REQUEST_OTHER;
        }

        if (!newline ||
            !fields_parse(&fields, (RequestText){ newline + 1, size - (size_t) (newline + 1 - data) })) {
                if (size < REQUEST_PEEK_SIZE)
                        return REQUEST_PARTIAL;
                if (!newline)
                        return REQUEST_WHOLE;
        }
        request_take_head(ret, method, line, &fields, service);
        return REQUEST_WHOLE;
}
