#include <json-c/json.h>
#include <stdio.h>

#include "util/log.h"
#include "web/guard.h"
#include "web/routes.h"

/* Routes: the table, and the checks that come before it: is it us who is asked, does the request mean one thing only, and if it is to change
 * something, does a page of ours want that? A path is in the table as it is sent, or it does not exist. */

const Route routes[] = {
        { "GET", "/", ROUTE_EXACT, false, false, dashboard_index },
        { "GET", "/assets/", ROUTE_NAME, false, false, dashboard_asset },
        { "GET", "/api/services", ROUTE_EXACT, false, false, api_services },
        { "GET", "/api/graph", ROUTE_EXACT, false, false, api_graph },
        { "GET", "/api/events", ROUTE_EXACT, false, false, api_events },
        { "GET", "/api/wake-status/", ROUTE_SERVICE, false, false, api_wake_status },
        { "POST", "/api/wake/", ROUTE_SERVICE, true, true, api_wake },
        { "POST", "/api/sleep/", ROUTE_SERVICE, true, false, api_sleep },
        {},
};

#define HEADERS_MAX 32U

/* What holds for everything that we say on our own account. The policy is for who opens an answer of the API as a page. */
static const char *const common_headers[] = {
        "X-Content-Type-Options",       "nosniff",     "Referrer-Policy", "no-referrer",
        "Cross-Origin-Resource-Policy", "same-origin",
};
static const char *const data_headers[] = {
        "Cache-Control",
        "no-store",
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'",
};

void answer_json(HttpRequest *request, unsigned status, const char *text, const char *const *headers) {
        const char *all[HEADERS_MAX + 1] = {};
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(common_headers); i++)
                all[n++] = common_headers[i];
        for (size_t i = 0; i < ELEMENTSOF(data_headers); i++)
                all[n++] = data_headers[i];
        for (; headers && *headers; headers++) {
                assert(n < HEADERS_MAX);
                all[n++] = *headers;
        }
        http_answer(request, &(HttpAnswer){ .status = status,
                                            .type = "application/json",
                                            .body = text,
                                            .size = strlen(text),
                                            .headers = all });
}

static void answer_refusal_with(HttpRequest *request, unsigned status, const char *sentence,
                                const char *const *headers) {
        json_object *object = json_object_new_object(), *text = json_object_new_string(sentence);

        if (object && text && json_object_object_add(object, "error", text) >= 0) {
                text = NULL;
                answer_json(request, status,
                            json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                                                   JSON_C_TO_STRING_NOSLASHESCAPE),
                            headers);
        } else
                answer_json(request, status, "{\"error\":\"Out of memory.\"}", headers);
        json_object_put(text);
        json_object_put(object);
}

void answer_refusal(HttpRequest *request, unsigned status, const char *format, ...) {
        static const char *const headers[] = { "Connection", "close", NULL };
        _cleanup_free_ char *sentence = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&sentence, format, arguments) < 0)
                sentence = NULL;
        va_end(arguments);
        answer_refusal_with(request, status, sentence ?: "Out of memory.", headers);
}

/* The checks: each has answered when it returns false. */

static bool check_host(Site *site, HttpRequest *request, const char **ret) {
        const char *host;
        unsigned n;

        host = http_request_header(request, "Host", &n);
        if (n != 1 || isempty(host)) {
                answer_refusal(request, 400, "A request has one Host.");
                return false;
        }
        if (!guard_host_is_ours(host, store_api_hosts(site->store))) {
                answer_refusal(request, 421,
                               "This is not the server of that name. Names besides addresses and localhost are given by "
                               "api.hosts in dependencies.json.");
                return false;
        }
        *ret = host;
        return true;
}

/* A browser says which page it is that asks, and that cannot be forged by the page. Programs do not say. */
static bool check_origin(HttpRequest *request, const char *host) {
        unsigned n_origins, n_sites;
        const char *origin = http_request_header(request, "Origin", &n_origins);
        const char *site = http_request_header(request, "Sec-Fetch-Site", &n_sites);

        if (n_origins <= 1 && n_sites <= 1 && (n_origins == 0 || guard_origin_is_same(strempty(origin), host)) &&
            (n_sites == 0 || streq(strempty(site), "same-origin") || streq(strempty(site), "none")))
                return true;
        answer_refusal(request, 403, "Pages of other sites may not do that.");
        return false;
}

static bool method_is(const Route *route, const char *method) {
        return streq(route->method, method) || (streq(route->method, "GET") && streq(method, "HEAD"));
}

/* The name that the path ends in, for routes that have one; NULL if it is not that route's path. */
static const char *route_match(const Route *route, const char *path) {
        size_t n = strlen(route->path);

        if (route->kind == ROUTE_EXACT)
                return streq(path, route->path) ? "" : NULL;
        if (strncmp(path, route->path, n) != 0 || path[n] == '\0' || strchr(path + n, '/'))
                return NULL;
        return path + n;
}

static const Route *find_route(HttpRequest *request, const char *path, const char **ret_name) {
        const char *method = http_request_method(request);
        const Route *other = NULL;

        for (const Route *route = routes; route->method; route++) {
                const char *name = route_match(route, path);

                if (!name)
                        continue;
                if (method_is(route, method)) {
                        *ret_name = name;
                        return route;
                }
                other = route;
        }
        if (other) {
                const char *allowed = streq(other->method, "GET") ? "GET, HEAD" : other->method;
                const char *const headers[] = { "Allow", allowed, "Connection", "close", NULL };

                answer_refusal_with(request, 405, "That cannot be done with this address.", headers);
        } else
                answer_refusal(request, 404, "There is no such address.");
        return NULL;
}

void routes_answer(Site *site, HttpRequest *request) {
        Call call = { .site = site, .request = request };
        _cleanup_free_ char *path = NULL;
        const Route *route;
        const char *host;

        if (!check_host(site, request, &host))
                return;
        if (guard_split_target(http_request_target(request), &path, &call.query) < 0) {
                answer_refusal(request, 400, "An address is a path without escapes.");
                return;
        }
        route = find_route(request, path, &call.name);
        if (!route || (route->changes && !check_origin(request, host)))
                return;
        if (call.query && !route->has_query) {
                answer_refusal(request, 400, "There are no options for this address.");
                return;
        }
        if (route->kind == ROUTE_SERVICE) {
                call.entry = service_name_is_valid(call.name) ? store_find(site->store, call.name) : NULL;
                if (!call.entry) {
                        answer_refusal(request, 404, "There is no such service in dependencies.json.");
                        return;
                }
        }
        route->answer(&call);
}
