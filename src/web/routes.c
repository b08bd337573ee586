#include "web/api.h"
#include "web/dashboard.h"
#include "web/guard.h"
#include "web/reply.h"
#include "web/routes.h"

/* Routes: the table, and the checks that come before it: is it us who is asked, does the request mean one thing only, and if it is to change
 * something, does a page of ours want that? A path is in the table as it is sent, or it does not exist. */

const Route routes[] = {
        { "GET", "/", ROUTE_EXACT, false, false, dashboard_index },
        { "GET", "/assets/", ROUTE_NAME, false, false, dashboard_asset },
        { "GET", "/api/services", ROUTE_EXACT, false, false, api_services },
        { "GET", "/api/services/", ROUTE_SERVICE, false, false, api_state, "/state" },
        { "GET", "/api/graph", ROUTE_EXACT, false, false, api_graph },
        { "GET", "/api/events", ROUTE_EXACT, false, false, api_events },
        { "GET", "/api/wake-status/", ROUTE_SERVICE, false, false, api_wake_status },
        { "POST", "/api/wake/", ROUTE_SERVICE, true, true, api_wake },
        { "POST", "/api/sleep/", ROUTE_SERVICE, true, false, api_sleep },
        {},
};

/* The checks: each has answered when it returns false. */

static bool check_host(Site *site, HttpExchange *request, const char **ret) {
        const char *host;
        unsigned n;

        host = http_exchange_header(request, "Host", &n);
        if (n != 1 || isempty(host)) {
                reply_refusal(request, 400, "A request has one Host.");
                return false;
        }
        if (!guard_host_is_ours(host, board_api_hosts(site->board))) {
                reply_refusal(request, 421,
                              "This is not the server of that name. Names besides addresses and localhost are given by "
                              "api.hosts in dependencies.json.");
                return false;
        }
        *ret = host;
        return true;
}

/* A browser says which page it is that asks, and that cannot be forged by the page. Programs do not say. */
static bool check_origin(HttpExchange *request, const char *host) {
        unsigned n_origins, n_sites;
        const char *origin = http_exchange_header(request, "Origin", &n_origins);
        const char *site = http_exchange_header(request, "Sec-Fetch-Site", &n_sites);

        if (n_origins <= 1 && n_sites <= 1 && (n_origins == 0 || guard_origin_is_same(strempty(origin), host)) &&
            (n_sites == 0 || streq(strempty(site), "same-origin") || streq(strempty(site), "none")))
                return true;
        reply_refusal(request, 403, "Pages of other sites may not do that.");
        return false;
}

/* Is it that route's path? Then, for routes that have one, `ret` is where the name begins, and how long it is. */
static bool route_match(const Route *route, const char *path, const char **ret, size_t *ret_size) {
        size_t n = strlen(route->path);
        const char *tail;

        *ret = path + n;
        *ret_size = 0;
        if (route->kind == ROUTE_EXACT)
                return streq(path, route->path);
        if (strncmp(path, route->path, n) != 0 || path[n] == '\0')
                return false;
        tail = strchrnul(path + n, '/');
        *ret_size = (size_t) (tail - path) - n;
        return streq(tail, strempty(route->tail));
}

/* The path ends with the name then. */
static const Route *find_route(HttpExchange *request, char *path, const char **ret_name) {
        const char *method = http_exchange_method(request);
        const Route *other = NULL;

        for (const Route *route = routes; route->method; route++) {
                const char *name;
                size_t size;

                if (!route_match(route, path, &name, &size))
                        continue;
                if (streq(route->method, method) || (streq(route->method, "GET") && streq(method, "HEAD"))) {
                        path[(size_t) (name - path) + size] = '\0';
                        *ret_name = name;
                        return route;
                }
                other = route;
        }
        if (other) {
                const char *allowed = streq(other->method, "GET") ? "GET, HEAD" : other->method;
                const HttpHeader headers[] = { { "Allow", allowed }, { "Connection", "close" }, {} };

                reply_error(request, 405, headers, "That cannot be done with this address.");
        } else
                reply_refusal(request, 404, "There is no such address.");
        return NULL;
}

void routes_answer(Site *site, HttpExchange *request) {
        Call call = { .site = site, .request = request };
        _cleanup_free_ char *path = NULL;
        const Route *route;
        const char *host;

        if (!check_host(site, request, &host))
                return;
        if (guard_split_target(http_exchange_target(request), &path, &call.query) < 0) {
                reply_refusal(request, 400, "An address is a path without escapes.");
                return;
        }
        route = find_route(request, path, &call.name);
        if (!route || (route->changes && !check_origin(request, host)))
                return;
        if (call.query && !route->has_query) {
                reply_refusal(request, 400, "There are no options for this address.");
                return;
        }
        if (route->kind == ROUTE_SERVICE) {
                call.entry = service_name_is_valid(call.name) ? board_find(site->board, call.name) : NULL;
                if (!call.entry) {
                        reply_refusal(request, 404, "There is no such service in dependencies.json.");
                        return;
                }
        }
        route->answer(&call);
}
