
#include "util/text.h"
#include "web/asset.h"
#include "web/dashboard.h"
#include "web/reply.h"

/* Dashboard: the files of assets/dashboard/. Browsers keep them and ask whether they are still the same. */

static const char policy[] =
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static void answer_asset(Call *call, const char *name) {
        _cleanup_free_ char *path = NULL;
        const Asset *asset;
        const char *known; /* a list of tags, or anything */

        path = text_printf("dashboard/%s", name);
        if (!path) {
                reply_refusal(call->request, 503, "Out of memory.");
                return;
        }
        asset = asset_find(path);
        if (!asset) {
                reply_refusal(call->request, 404, "There is no such file.");
                return;
        }

        const HttpHeader headers[] = { { "ETag", asset->etag },
                                       { "Cache-Control", "no-cache" },
                                       { "Content-Security-Policy", policy },
                                       { "X-Content-Type-Options", "nosniff" },
                                       { "X-Frame-Options", "DENY" },
                                       { "Referrer-Policy", "no-referrer" },
                                       { "Cross-Origin-Resource-Policy", "same-origin" },
                                       { "Cross-Origin-Opener-Policy", "same-origin" },
                                       {} };

        known = http_exchange_header(call->request, "If-None-Match", NULL);
        if (known && (streq(known, "*") || strstr(known, asset->etag)))
                http_answer(call->request, &(HttpAnswer){ .status = 304, .headers = headers });
        else
                http_answer(call->request, &(HttpAnswer){ .status = 200,
                                                          .type = asset->type,
                                                          .body = asset->data,
                                                          .size = asset->size,
                                                          .constant = true,
                                                          .headers = headers });
}

void dashboard_index(Call *call) {
        answer_asset(call, "index.html");
}

void dashboard_asset(Call *call) {
        answer_asset(call, call->name);
}
