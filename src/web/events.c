#include <inttypes.h>
#include <stdio.h>

#include "util/log.h"
#include "web/events.h"

/* Events: each stream has the number of the last change that it has told, and asks the store for the next one whenever its client takes more.
 * So a stream costs the same however slow its reader is, and one that begins with the number it was left at goes on from
 * there. Numbers count from the start of this process, which each id therefore names. */

#define HEARTBEAT (15 * USEC_PER_SEC)
#define ACCURACY USEC_PER_MSEC
#define TEXT_BEGIN "retry: 1000\n\n"
#define TEXT_HEARTBEAT ": heartbeat\n\n"

typedef struct Stream Stream;

struct Stream {
        Events *events;
        Stream *next, **previous; /* intrusive list: the pointer that points here */
        HttpRequest *request;
        char *service; /* NULL: all */
        bool own_port; /* of the service: ends with the wake */
        bool sleep_allowed;
        uint64_t told; /* the last change */
        bool seen_waking;
        bool heartbeat; /* one is due */
        bool ended;
        char *text; /* what does not fit is sent next time */
        size_t size, sent;
};

struct Events {
        Store *store;
        uint64_t epoch, heartbeat_usec;
        sd_event_source *timer;
        Stream *streams;
};

static void stream_free(void *userdata) {
        Stream *stream = userdata;

        *stream->previous = stream->next;
        if (stream->next)
                stream->next->previous = stream->previous;
        store_remove_viewer(stream->events->store);
        free(stream->service);
        free(stream->text);
        free(stream);
}

static bool stream_set_text(Stream *stream, const char *format, ...) _printf_(2, 3);
static bool stream_set_text(Stream *stream, const char *format, ...) {
        va_list arguments;
        int n;

        stream->text = mfree(stream->text);
        stream->sent = stream->size = 0;
        va_start(arguments, format);
        n = vasprintf(&stream->text, format, arguments);
        va_end(arguments);
        if (n < 0) {
                stream->text = NULL;
                return false;
        }
        stream->size = (size_t) n;
        return true;
}

/* Is that the end of what a visitor waits for? One who comes before the wake has begun waits for that. */
static bool stream_is_over(Stream *stream, const StoreEntry *entry) {
        ServiceState state = store_entry_status(entry)->state;

        if (state == SERVICE_WAKING || state == SERVICE_STOPPING)
                stream->seen_waking = true;
        return stream->own_port && (state == SERVICE_AWAKE || state == SERVICE_FAILED ||
                                    (state == SERVICE_ASLEEP && stream->seen_waking));
}

/* Prepares the next event. 0: there is none; negative: the stream cannot go on. */
static int stream_next(Stream *stream) {
        const char *tail = "";
        StoreEvent event;

        if (stream->ended)
                return -ESHUTDOWN;
        if (stream->service) {
                StoreEntry *entry = store_find(stream->events->store, stream->service);
                bool nameless;

                if (!entry)
                        return -ENOENT;
                nameless = stream->own_port && !store_entry_service(entry)->page_details;
                if (!store_entry_next_event(entry, stream->told, nameless, &event))
                        return 0;
                if (event.is_service)
                        stream->ended = stream_is_over(stream, entry);
        } else if (!store_next_event(stream->events->store, stream->told, &event))
                return 0;
        else if (event.entry)
                tail = stream->sleep_allowed ? ",\"sleepAllowed\":true}" : ",\"sleepAllowed\":false}";

        if (!stream_set_text(stream, "id: %016" PRIx64 "-%" PRIu64 "\nevent: %s\ndata: %s%s\n\n",
                             stream->events->epoch, event.version, event.name, event.data, tail))
                return -ENOMEM;
        stream->told = event.version;
        return 1;
}

/* As many events as fit. */
static ssize_t stream_read(void *userdata, char *buffer, size_t size) {
        Stream *stream = userdata;
        size_t n = 0;

        while (n < size) {
                size_t piece;

                if (stream->sent == stream->size) {
                        int r = stream_next(stream);

                        if (r == 0 && stream->heartbeat && n == 0)
                                r = stream_set_text(stream, TEXT_HEARTBEAT) ? 1 : -ENOMEM;
                        if (r < 0 && n == 0)
                                return -1;
                        if (r <= 0)
                                break;
                }
                stream->heartbeat = false;
                piece = MIN(size - n, stream->size - stream->sent);
                memcpy(buffer + n, stream->text + stream->sent, piece);
                stream->sent += piece;
                n += piece;
        }
        /* Most streams have nothing to say most of the time. */
        if (stream->sent == stream->size) {
                stream->text = mfree(stream->text);
                stream->sent = stream->size = 0;
        }
        return (ssize_t) n;
}

static const HttpStreamOps stream_ops = { .read = stream_read, .free = stream_free };

/* A place to go on from: what was told by this process. */
static uint64_t parse_last_id(const Events *events, const char *text) {
        uint64_t epoch, version;
        int end = 0;

        if (!text || strspn(text, "0123456789abcdef-") != strlen(text) ||
            sscanf(text, "%16" SCNx64 "-%19" SCNu64 "%n", &epoch, &version, &end) != 2 || text[end] != '\0' ||
            epoch != events->epoch || version > store_version(events->store))
                return 0;
        return version;
}

static int stream_new(Stream **ret, Events *events, HttpRequest *request, const char *service) {
        Stream *stream = new0(Stream, 1);
        HttpOrigin origin = http_request_origin(request);

        if (!stream)
                return -ENOMEM;
        *stream = (Stream){
                .events = events,
                .request = request,
                .service = service ? strdup(service) : NULL,
                .own_port = origin == HTTP_PASSED,
                .sleep_allowed = origin == HTTP_UNIX || store_sleep_over_tcp(events->store),
                .told = parse_last_id(events, http_request_header(request, "Last-Event-ID", NULL)),
        };
        if ((service && !stream->service) || !stream_set_text(stream, TEXT_BEGIN)) {
                free(stream->service);
                free(stream);
                return -ENOMEM;
        }
        stream->next = events->streams;
        stream->previous = &events->streams;
        if (stream->next)
                stream->next->previous = &stream->next;
        events->streams = stream;
        store_add_viewer(events->store);
        *ret = stream;
        return 0;
}

void events_answer(Events *events, HttpRequest *request, const char *service) {
        /* nginx and its like pass a stream on as it comes if they are told so. */
        static const char *const headers[] = { "Cache-Control",
                                               "no-store",
                                               "X-Accel-Buffering",
                                               "no",
                                               "X-Content-Type-Options",
                                               "nosniff",
                                               "Referrer-Policy",
                                               "no-referrer",
                                               "X-Robots-Tag",
                                               "noindex",
                                               "Connection",
                                               "close",
                                               NULL };
        HttpAnswer head = { .status = 200, .type = "text/event-stream; charset=utf-8", .headers = headers };
        Stream *stream;
        int r;

        if (streq(http_request_method(request), "HEAD")) {
                http_answer(request, &head);
                return;
        }
        r = stream_new(&stream, events, request, service);
        if (r < 0) {
                (void) log_oom();
                http_answer(request, &(HttpAnswer){ .status = 503, .headers = headers });
                return;
        }
        http_stream(request, &head, &stream_ops, stream);
}

void events_publish(Events *events, const char *service) {
        for (Stream *stream = events->streams, *next; stream; stream = next) {
                next = stream->next;
                if (!service || !stream->service || streq(stream->service, service))
                        http_stream_wake(stream->request);
        }
}

static int events_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Events *events = ASSERT_PTR(userdata);

        for (Stream *stream = events->streams, *next; stream; stream = next) {
                next = stream->next;
                stream->heartbeat = true;
                http_stream_wake(stream->request);
        }
        (void) sd_event_source_set_time_relative(source, events->heartbeat_usec);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

int events_new(Events **ret, sd_event *event, Store *store, uint64_t heartbeat_usec) {
        _cleanup_(events_freep) Events *events = NULL;
        int r;

        assert(ret);
        assert(store);

        events = new0(Events, 1);
        if (!events)
                return -ENOMEM;
        *events = (Events){
                .store = store,
                .epoch = time_now(CLOCK_REALTIME),
                .heartbeat_usec = heartbeat_usec ?: HEARTBEAT,
        };
        r = sd_event_add_time_relative(event, &events->timer, CLOCK_MONOTONIC, events->heartbeat_usec, ACCURACY,
                                       events_on_timer, events);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(events);
        return 0;
}

Events *events_free(Events *events) {
        if (!events)
                return NULL;

        assert(!events->streams);
        sd_event_source_disable_unref(events->timer);
        return mfree(events);
}
