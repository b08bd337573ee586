#include <stdio.h>
#include <sys/random.h>

#include "io/engine-internal.h"
#include "util/log.h"
#include "util/time.h"

/* Whether the engine is there, and which version of the API it speaks. It is
 *
 *   unknown   nobody has asked yet, or there is doubt; who needs it next asks at once
 *   asked     "/_ping" is under way, at most ten seconds
 *   known     the version is there
 *   away      it did not answer, or broke off; asked again after a pause, if anybody still needs it
 *
 * Whoever needs the engine while it is asked or away waits, and shares the outcome of the next ping: an
 * outage costs one connection a pause, however many calls are made meanwhile and however soon they are made
 * again. The pauses grow until the engine has answered anything but a ping: one that answers nothing else is
 * not asked ever faster.
 *
 * A daemon that hangs, or that systemd listens for while it starts, accepts connections and answers later:
 * there the ping is what waits, and the calls with it, and all go on at the moment of the answer.
 *
 * The connections of an engine that was lost are not used again, though some may look alive: their other end
 * can be a process that is stopped, or was replaced. As they are found by the host of the URL, it carries the
 * number of the engine we think to talk to. */

#define PING_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define PAUSE_FIRST_USEC (100 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (2 * USEC_PER_SEC) /* somebody waits for it to come back */
#define AWAY_TOLD_USEC (2 * USEC_PER_SEC) /* a restart is over before */

uint64_t engine_next_pause(uint64_t *pause_usec, uint64_t max_usec) {
        uint32_t random = 0;

        *pause_usec = MIN(MAX(2 * *pause_usec, PAUSE_FIRST_USEC), max_usec);
        /* Twenty wakers that lost the engine together shall not come back together. */
        (void) !getrandom(&random, sizeof(random), GRND_NONBLOCK);
        return *pause_usec - *pause_usec / 4 * (random % 1024) / 1024;
}

static int engine_ping(Engine *engine);
static void engine_pause_asking(Engine *engine);

static int engine_on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = ASSERT_PTR(userdata);
        int r;

        engine->pause = sd_event_source_disable_unref(engine->pause);
        if (!engine->waiting_first && !engine_watch_is_waiting(engine->watch))
                return 0;
        r = engine_ping(engine);
        if (r < 0) {
                engine_pause_asking(engine);
                engine_calls_refuse(engine, ENGINE_BROKEN, strerror(-r));
        }
        return 0;
}

static void engine_pause_asking(Engine *engine) {
        int r;

        if (engine->pause)
                return;
        r = sd_event_add_time_relative(engine->event, &engine->pause, CLOCK_MONOTONIC,
                                       engine_next_pause(&engine->pause_usec, PAUSE_MAX_USEC),
                                       ENGINE_TIMER_ACCURACY_USEC, engine_on_pause, engine);
        if (r < 0)
                log_debug_errno(r, "Failed to arrange for the engine to be asked again: %m");
}

/* Whoever waits for a wake and looks into the journal should find out why nothing happens. */
static void engine_tell(Engine *engine, const char *why) {
        if (engine->told_away || usec_sub(time_now(CLOCK_MONOTONIC), engine->away_usec) < AWAY_TOLD_USEC)
                return;
        log_warning("The container engine does not answer: %s. It is asked again and again.", why);
        engine->told_away = true;
}

static void engine_tell_back(Engine *engine) {
        if (engine->told_away)
                log_notice("The container engine answers again.");
        engine->told_away = false;
        engine->away_usec = 0;
}

static void engine_on_ping(HttpRequest *request, const HttpResponse *response, void *userdata) {
        Engine *engine = ASSERT_PTR(userdata);
        _cleanup_free_ char *message = NULL;
        EngineOutcome outcome;

        outcome = engine_reply_classify(ENGINE_PING, response, &message);
        if (outcome == ENGINE_OK) {
                engine->version = engine_reply_version(http_request_header(request, "Api-Version"));
                log_debug("The container engine speaks version 1.%u of the API.", engine->version);
                engine_tell_back(engine);
        } else
                engine_tell(engine, message ? message : "no reason was given");
        engine->ping = http_request_free(engine->ping);

        /* No handler runs below: what fails is ended from the event loop. */
        if (outcome != ENGINE_OK) {
                engine_pause_asking(engine);
                engine_calls_refuse(engine, outcome, message);
                return;
        }
        /* Listening comes before looking: what happens in between would be seen by neither. */
        engine_watch_go_on(engine->watch);
        engine_calls_go_on(engine);
}

static int engine_ping(Engine *engine) {
        char url[64];
        HttpParameters parameters = {
                .method = "GET",
                .url = url,
                .timeout_usec = PING_TIMEOUT_USEC,
                .limit = ENGINE_ANSWER_MAX,
        };

        if (engine->away_usec == 0)
                engine->away_usec = time_now(CLOCK_MONOTONIC);
        (void) snprintf(url, sizeof(url), "http://engine-%u/_ping", engine->generation);
        return http_request_new(&engine->ping, engine->http, &parameters, NULL, engine_on_ping, engine);
}

int engine_negotiate(Engine *engine) {
        assert(engine);
        assert(engine->version == 0);

        return engine->ping || engine->pause ? 0 : engine_ping(engine);
}

void engine_answered(Engine *engine) {
        engine->pause_usec = 0;
}

void engine_doubt(Engine *engine, unsigned generation) {
        if (generation != engine->generation)
                return;
        engine->generation++;
        engine->version = 0;
}

void engine_lost(Engine *engine, unsigned generation) {
        if (generation != engine->generation)
                return;
        engine_doubt(engine, generation);
        engine_pause_asking(engine);
}
