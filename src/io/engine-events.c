#include <json-c/json.h>
#include <stdio.h>

#include "io/engine-internal.h"
#include "io/event-parser.h"
#include "io/printable.h"
#include "util/log.h"

/* The event stream of Engine: one endless response on a connection of its own. It is
 *
 *   connecting      the version is asked for, or the request has been sent; at most ten seconds
 *   established     the header has come; the engine subscribes at the same moment, so whoever inspects after
 *                   being told misses nothing
 *   waiting         it has ended, or could not be had; opened again after a pause
 *
 * What has come is kept and parsed one event per turn of the loop, because the handler may do anything, also
 * end the watch. The engine's filter matches beginnings of names, so names are compared here again. */

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define PAUSE_FIRST_USEC (100 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (5 * USEC_PER_SEC)

struct EngineWatch {
        Engine *engine;
        char **containers;
        char *query;
        HttpRequest *request;
        bool established;
        uint64_t established_usec; /* CLOCK_MONOTONIC */
        bool ended;
        EventParser *parser;
        sd_event_source *deliver;
        sd_event_source *timer; /* the pause, or the limit for connecting */
        uint64_t pause_usec;
        EngineEventHandler handler;
        void *userdata;
};

static int engine_watch_pause(EngineWatch *watch);

EngineWatch *engine_watch_free(EngineWatch *watch) {
        if (!watch)
                return NULL;

        http_request_free(watch->request);
        (void) sd_event_source_disable_unref(watch->deliver);
        (void) sd_event_source_disable_unref(watch->timer);
        event_parser_free(watch->parser);
        strv_free(watch->containers);
        free(watch->query);
        return mfree(watch);
}

/* The stream has ended, or is not to be had. */
static void engine_watch_lose(EngineWatch *watch, const char *reason) {
        bool established = watch->established;
        int r;

        log_debug("The engine's event stream has ended: %s", reason);
        watch->request = http_request_free(watch->request);
        watch->parser = event_parser_free(watch->parser);
        watch->established = watch->ended = false;
        watch->engine->version = 0; /* what comes back may be another engine */
        /* One that answers and ends at once is not asked ever faster. */
        if (established && time_now(CLOCK_MONOTONIC) - watch->established_usec > PAUSE_MAX_USEC)
                watch->pause_usec = 0;
        (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        r = engine_watch_pause(watch);
        if (r < 0)
                log_debug_errno(r, "Failed to arrange for the engine's event stream to be opened again: %m");

        if (established)
                watch->handler(watch->engine, NULL, true, watch->userdata);
        /* The handler may have ended the watch: nothing goes below this line. */
}

static bool engine_watch_wants(const EngineWatch *watch, const char *container) {
        return strv_contains(watch->containers, container);
}

/* Hands on one event. */
static int engine_watch_on_deliver(sd_event_source *source, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);

        for (;;) {
                _cleanup_(parsed_event_done) ParsedEvent parsed = {};
                ContainerEvent event;
                int r;

                r = event_parser_next(watch->parser, &parsed);
                if (r < 0 || (r == 0 && watch->ended)) {
                        engine_watch_lose(watch, r < 0 ? strerror(-r) : "closed");
                        return 0;
                }
                if (r == 0) {
                        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
                        return 0;
                }
                if (!engine_watch_wants(watch, parsed.container))
                        continue;

                event = (ContainerEvent){
                        .type = parsed.type,
                        .container = parsed.container,
                        .exit_code = parsed.exit_code,
                };
                watch->handler(watch->engine, &event, false, watch->userdata);
                return 0;
        }
}

static void engine_watch_on_data(HttpRequest *request, const char *data, size_t size, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);
        int r;

        if (http_request_status(request) != 200)
                return;

        if (size == 0) {
                watch->established = true;
                watch->established_usec = time_now(CLOCK_MONOTONIC);
                watch->timer = sd_event_source_disable_unref(watch->timer);
                watch->handler(watch->engine, NULL, false, watch->userdata);
                return;
        }

        r = event_parser_feed(watch->parser, data, size);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
        else
                (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_ON);
}

static void engine_watch_on_end(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);

        if (!watch->established) {
                engine_watch_lose(watch, response->error < 0 ? response->reason : "refused");
                return;
        }

        /* What has come before the end is handed on first. */
        watch->ended = true;
        watch->request = http_request_free(watch->request);
        (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_ON);
}

static int engine_watch_request(EngineWatch *watch) {
        _cleanup_free_ char *url = NULL;
        HttpParameters parameters = { .method = "GET", .timeout_usec = USEC_INFINITY, .stream = true };
        int r;

        r = event_parser_new(&watch->parser);
        if (r < 0)
                return r;
        if (asprintf(&url, "http://localhost/v1.%u/events?filters=%s", watch->engine->version, watch->query) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        parameters.url = url;
        return http_request_new(&watch->request, watch->engine->http, &parameters, engine_watch_on_data,
                                engine_watch_on_end, watch);
}

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int engine_watch_set_timer(EngineWatch *watch, uint64_t usec) {
        watch->timer = sd_event_source_disable_unref(watch->timer);
        return sd_event_add_time_relative(watch->engine->event, &watch->timer, CLOCK_MONOTONIC, usec,
                                          10 * USEC_PER_MSEC, engine_watch_on_timer, watch);
}

static int engine_watch_pause(EngineWatch *watch) {
        watch->pause_usec = MIN(MAX(2 * watch->pause_usec, PAUSE_FIRST_USEC), PAUSE_MAX_USEC);
        return engine_watch_set_timer(watch, watch->pause_usec);
}

static int engine_watch_connect(EngineWatch *watch) {
        int r;

        r = engine_watch_set_timer(watch, CONNECT_TIMEOUT_USEC);
        if (r < 0)
                return r;
        return watch->engine->version > 0 ? engine_watch_request(watch) : engine_negotiate(watch->engine);
}

void engine_watch_version_known(EngineWatch *watch, bool success) {
        int r = -EHOSTDOWN;

        if (watch->request || watch->established)
                return;
        if (success)
                r = engine_watch_request(watch);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
}

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);
        int r = 0;

        if (watch->request) {
                engine_watch_lose(watch, "no answer");
                return 0;
        }

        r = engine_watch_connect(watch);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
        return 0;
}

static char *query_encode(const char *text) {
        char *encoded = malloc(3 * strlen(text) + 1), *end = encoded;

        if (!encoded)
                return NULL;
        for (; *text; text++)
                if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._", *text))
                        *end++ = *text;
                else
                        end += sprintf(end, "%%%02X", (unsigned char) *text);
        *end = '\0';
        return encoded;
}

/* Asks for the events of these containers; names that no container can have do not matter. */
static int engine_watch_set_containers(EngineWatch *watch, char *const *containers) {
        json_object *filters = json_object_new_object(), *types = json_object_new_array(),
                    *names = json_object_new_array();
        int r = filters && types && names ? 0 : -ENOMEM;

        if (r >= 0 && json_object_array_add(types, json_object_new_string("container")) < 0)
                r = -ENOMEM;
        for (; r >= 0 && containers && *containers; containers++) {
                if (!engine_name_is_valid(*containers))
                        continue;
                r = strv_append(&watch->containers, *containers);
                if (r >= 0 && json_object_array_add(names, json_object_new_string(*containers)) < 0)
                        r = -ENOMEM;
        }

        if (r >= 0) {
                (void) json_object_object_add(filters, "type", json_object_get(types));
                (void) json_object_object_add(filters, "container", json_object_get(names));
                watch->query = query_encode(json_object_to_json_string_ext(filters, JSON_C_TO_STRING_PLAIN));
                if (!watch->query)
                        r = -ENOMEM;
        }
        json_object_put(types);
        json_object_put(names);
        json_object_put(filters);
        return r;
}

int engine_watch(Engine *engine, char *const *containers, EngineEventHandler handler, void *userdata) {
        EngineWatch *watch;
        int r;

        assert(engine);
        assert(handler);

        engine->watch = engine_watch_free(engine->watch);
        watch = new0(EngineWatch, 1);
        if (!watch)
                return -ENOMEM;
        *watch = (EngineWatch){
                .engine = engine,
                .handler = handler,
                .userdata = userdata,
        };
        engine->watch = watch;

        r = engine_watch_set_containers(watch, containers);
        if (r >= 0)
                r = sd_event_add_defer(engine->event, &watch->deliver, engine_watch_on_deliver, watch);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        if (r >= 0)
                r = engine_watch_connect(watch);
        if (r < 0)
                engine->watch = engine_watch_free(engine->watch);
        return r;
}
