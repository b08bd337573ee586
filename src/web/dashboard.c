#include <stdio.h>

#include "web/asset.h"
#include "web/routes.h"

/* Dashboard: the files of assets/dashboard/. Browsers keep them and ask whether they are still the same. */

static const char policy[] =
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/* If-None-Match: a list of tags, or anything. */
static bool is_known(const char *header, const char *tag) {
        if (!header)
                return false;
        return streq(header, "*") || strstr(header, tag);
}

static void answer_asset(Call *call, const char *name) {
        _cleanup_free_ char *path = NULL;
        const char *data, *type, *tag;
        size_t size;

        if (asprintf(&path, "dashboard/%s", name) < 0) {
                path = NULL;
                answer_refusal(call->request, 503, "Out of memory.");
                return;
        }
        if (!asset_find(path, &data, &size, &type)) {
                answer_refusal(call->request, 404, "There is no such file.");
                return;
        }
        tag = asset_etag(path);

        const char *const headers[] = { "ETag",
                                        tag,
                                        "Cache-Control",
                                        "no-cache",
                                        "Content-Security-Policy",
                                        policy,
                                        "X-Content-Type-Options",
                                        "nosniff",
                                        "X-Frame-Options",
                                        "DENY",
                                        "Referrer-Policy",
                                        "no-referrer",
                                        "Cross-Origin-Resource-Policy",
                                        "same-origin",
                                        "Cross-Origin-Opener-Policy",
                                        "same-origin",
                                        NULL };

        if (is_known(http_request_header(call->request, "If-None-Match", NULL), tag))
                http_answer(call->request, &(HttpAnswer){ .status = 304, .headers = headers });
        else
                http_answer(call->request, &(HttpAnswer){ .status = 200,
                                                          .type = type,
                                                          .body = data,
                                                          .size = size,
                                                          .constant = true,
                                                          .headers = headers });
}

void dashboard_index(Call *call) {
        answer_asset(call, "index.html");
}

void dashboard_asset(Call *call) {
        answer_asset(call, call->name);
}
