#include <json-c/json.h>
#include <stdio.h>

#include "io/engine-internal.h"
#include "io/event-parser.h"
#include "io/printable.h"
#include "util/log.h"

/* The event stream of Engine: one endless response on a connection of its own. It is
 *
 *   waiting         for the version: engine-link.c asks for it, also again and again
 *   connecting      the request has been sent; at most ten seconds
 *   established     the header has come; the engine subscribes at the same moment, so whoever inspects after
 *                   being told misses nothing
 *   paused          it has ended, or was refused; opened again after a pause of its own, which nothing that
 *                   calls do makes shorter
 *
 * What has come is kept and parsed one event per turn of the loop, because the handler may do anything, also
 * end the watch; but all of it before anything more is read, so that what is kept does not grow. The engine's
 * filter matches beginnings of names, so names are compared here again.
 *
 * A stream that says nothing is not doubted. It is a Unix socket: an engine that ends closes it, however it ends,
 * and one that is stopped for a while sends afterwards what happened. */

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define PAUSE_MAX_USEC (5 * USEC_PER_SEC)
#define STABLE_USEC (5 * USEC_PER_SEC) /* whoever lasted so long is opened again quickly */
#define DELIVER_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

typedef enum WatchState {
        WATCH_WAITING,
        WATCH_CONNECTING,
        WATCH_ESTABLISHED,
        WATCH_PAUSED,
} WatchState;

struct EngineWatch {
        Engine *engine;
        WatchState state;
        unsigned generation; /* of the engine that it is from */
        char **containers;
        char *query;
        HttpRequest *request;
        uint64_t established_usec; /* CLOCK_MONOTONIC */
        bool ended; /* what has come before is still to be handed on */
        EventParser *parser;
        sd_event_source *deliver;
        sd_event_source *timer; /* the pause, or the limit for connecting */
        uint64_t pause_usec;
        EngineEventHandler handler;
        void *userdata;
};

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

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int engine_watch_set_timer(EngineWatch *watch, uint64_t usec) {
        watch->timer = sd_event_source_disable_unref(watch->timer);
        return sd_event_add_time_relative(watch->engine->event, &watch->timer, CLOCK_MONOTONIC, usec,
                                          ENGINE_TIMER_ACCURACY_USEC, engine_watch_on_timer, watch);
}

/* The stream has ended, or is not to be had. */
static void engine_watch_lose(EngineWatch *watch, const char *reason) {
        bool established = watch->state == WATCH_ESTABLISHED;
        int r;

        log_debug("The engine's event stream has ended: %s", reason);
        watch->request = http_request_free(watch->request);
        watch->parser = event_parser_free(watch->parser);
        watch->ended = false;
        watch->state = WATCH_PAUSED;
        /* One that answers and ends at once is not asked ever faster. */
        if (established && time_now(CLOCK_MONOTONIC) - watch->established_usec > STABLE_USEC)
                watch->pause_usec = 0;
        (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        r = engine_watch_set_timer(watch, engine_next_pause(&watch->pause_usec, PAUSE_MAX_USEC));
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
                        if (r == 0)
                                engine_lost(watch->engine, watch->generation);
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
                        .signal = parsed.signal,
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
                engine_answered(watch->engine);
                watch->state = WATCH_ESTABLISHED;
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

        if (watch->state != WATCH_ESTABLISHED) {
                /* An answer that is none of ours says nothing about the engine, but another version does. */
                if (response->error == 0 && response->status == 400)
                        engine_doubt(watch->engine, watch->generation);
                else if (response->error < 0)
                        engine_lost(watch->engine, watch->generation);
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

        watch->state = WATCH_CONNECTING;
        watch->generation = watch->engine->generation;
        r = engine_watch_set_timer(watch, CONNECT_TIMEOUT_USEC);
        if (r < 0)
                return r;
        watch->parser = event_parser_free(watch->parser);
        r = event_parser_new(&watch->parser);
        if (r < 0)
                return r;
        if (asprintf(&url, "http://engine-%u/v1.%u/events?filters=%s", watch->generation, watch->engine->version,
                     watch->query) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        parameters.url = url;
        return http_request_new(&watch->request, watch->engine->http, &parameters, engine_watch_on_data,
                                engine_watch_on_end, watch);
}

static int engine_watch_connect(EngineWatch *watch) {
        if (watch->engine->version > 0)
                return engine_watch_request(watch);

        watch->state = WATCH_WAITING;
        return engine_negotiate(watch->engine);
}

bool engine_watch_is_waiting(const EngineWatch *watch) {
        return watch && watch->state == WATCH_WAITING;
}

void engine_watch_go_on(EngineWatch *watch) {
        int r;

        if (!engine_watch_is_waiting(watch))
                return;
        r = engine_watch_request(watch);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
}

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);
        int r;

        watch->timer = sd_event_source_disable_unref(watch->timer);
        if (watch->state == WATCH_CONNECTING) {
                engine_doubt(watch->engine, watch->generation);
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
                r = sd_event_source_set_priority(watch->deliver, DELIVER_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        if (r >= 0)
                r = engine_watch_connect(watch);
        if (r < 0)
                engine->watch = engine_watch_free(engine->watch);
        return r;
}
