#include <inttypes.h>
#include <stdio.h>
#include <sys/queue.h>

#include "util/alarm.h"
#include "util/log.h"
#include "web/events.h"

/* Events: each stream has the number of the last change that it has told, and asks the board for the next one whenever its client takes more.
 * So a stream costs the same however slow its reader is, and one that begins with the number it was left at goes on from
 * there. Numbers count from the start of this process, which each id therefore names. An event is put into words once, for all streams. */

#define HEARTBEAT (15 * USEC_PER_SEC)
#define ACCURACY USEC_PER_MSEC

typedef struct Stream {
        Events *events;
        LIST_ENTRY(Stream) entry;
        HttpExchange *request;
        char *service; /* NULL: all */
        bool own_port; /* of the service: ends with the wake */
        bool sleep_allowed;
        uint64_t told; /* the last change */
        bool seen_waking;
        bool heartbeat; /* one is due */
        bool ended;
        Bytes *text; /* what does not fit is sent next time; NULL: all was sent */
        size_t sent;
} Stream;

struct Events {
        Board *board;
        uint64_t epoch, heartbeat_usec;
        Bytes *begin_text, *heartbeat_text;
        sd_event_source *timer;
        LIST_HEAD(, Stream) streams;
};

static void stream_free(void *userdata) {
        Stream *stream = userdata;

        LIST_REMOVE(stream, entry);
        board_remove_viewer(stream->events->board);
        free(stream->service);
        bytes_unref(stream->text);
        free(stream);
}

static void stream_set_text(Stream *stream, Bytes *text) {
        stream->text = bytes_ref(text);
        stream->sent = 0;
}

/* Is that the end of what a visitor waits for? One who comes before the wake has begun waits for that. */
static bool stream_is_over(Stream *stream, const BoardEntry *entry) {
        ServiceState state = board_entry_status(entry)->state;

        if (state == SERVICE_WAKING || state == SERVICE_STOPPING)
                stream->seen_waking = true;
        return stream->own_port && (state == SERVICE_AWAKE || state == SERVICE_FAILED ||
                                    (state == SERVICE_ASLEEP && stream->seen_waking));
}

/* Prepares the next event. 0: there is none; negative: the stream cannot go on. */
static int stream_next(Stream *stream) {
        BoardEvent event;
        int r;

        if (stream->ended)
                return -ESHUTDOWN;
        if (stream->service) {
                BoardEntry *entry = board_find_told(stream->events->board, stream->service);
                bool nameless;

                if (!entry)
                        return -ENOENT;
                nameless = stream->own_port && !board_entry_service(entry)->page_details;
                if (!board_entry_next_event(entry, stream->told, nameless, &event))
                        return 0;
                if (event.is_service)
                        stream->ended = stream_is_over(stream, entry);
        } else if (!board_next_event(stream->events->board, stream->told, stream->sleep_allowed, &event))
                return 0;

        r = *event.bytes ? 0
                         : bytes_printf(event.bytes, "id: %016" PRIx64 "-%" PRIu64 "\nevent: %s\ndata: %s%s\n\n",
                                        stream->events->epoch, event.version, event.name, event.data, event.tail);
        if (r < 0)
                return r;
        stream_set_text(stream, *event.bytes);
        stream->told = event.version;
        return 1;
}

/* As many events as fit. */
static ssize_t stream_read(void *userdata, char *buffer, size_t size) {
        Stream *stream = userdata;
        size_t n = 0;

        while (n < size) {
                size_t piece;

                if (!stream->text) {
                        int r = stream_next(stream);

                        if (r == 0 && stream->heartbeat && n == 0)
                                stream_set_text(stream, stream->events->heartbeat_text);
                        else if (r < 0 && n == 0)
                                return -1;
                        else if (r <= 0)
                                break;
                }
                stream->heartbeat = false;
                piece = MIN(size - n, stream->text->size - stream->sent);
                memcpy(buffer + n, stream->text->data + stream->sent, piece);
                stream->sent += piece;
                n += piece;
                if (stream->sent == stream->text->size)
                        stream->text = bytes_unref(stream->text);
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
            epoch != events->epoch || version > board_version(events->board))
                return 0;
        return version;
}

static Stream *stream_new(Events *events, HttpExchange *request, const char *service) {
        Stream *stream = new0(Stream, 1);
        HttpOrigin origin = http_exchange_origin(request);

        if (!stream)
                return NULL;
        *stream = (Stream){
                .events = events,
                .request = request,
                .service = service ? strdup(service) : NULL,
                .own_port = origin == HTTP_PASSED,
                .sleep_allowed = origin == HTTP_UNIX || board_sleep_over_tcp(events->board),
                .told = parse_last_id(events, http_exchange_header(request, "Last-Event-ID", NULL)),
        };
        if (service && !stream->service) {
                free(stream);
                return NULL;
        }
        /* It begins with what is so now. */
        if (!service)
                board_look(events->board);
        stream_set_text(stream, events->begin_text);
        LIST_INSERT_HEAD(&events->streams, stream, entry);
        board_add_viewer(events->board);
        return stream;
}

void events_answer(Events *events, HttpExchange *request, const char *service) {
        /* nginx and its like pass a stream on as it comes if they are told so. */
        static const HttpHeader headers[] = { { "Cache-Control", "no-store" },
                                              { "X-Accel-Buffering", "no" },
                                              { "X-Content-Type-Options", "nosniff" },
                                              { "Referrer-Policy", "no-referrer" },
                                              { "X-Robots-Tag", "noindex" },
                                              { "Connection", "close" },
                                              {} };
        HttpAnswer head = { .status = 200, .type = "text/event-stream; charset=utf-8", .headers = headers };
        Stream *stream;

        if (streq(http_exchange_method(request), "HEAD")) {
                http_answer(request, &head);
                return;
        }
        if (!http_may_stream(request)) {
                http_answer_busy(request);
                return;
        }
        stream = stream_new(events, request, service);
        if (!stream) {
                (void) log_oom();
                http_answer(request, &(HttpAnswer){ .status = 503, .headers = headers });
                return;
        }
        http_stream(request, &head, &stream_ops, stream);
}

void events_publish(Events *events, const char *service) {
        for (Stream *stream = LIST_FIRST(&events->streams), *next; stream; stream = next) {
                next = LIST_NEXT(stream, entry);
                if (!service || !stream->service || streq(stream->service, service))
                        http_stream_wake(stream->request);
        }
}

static int events_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Events *events = ASSERT_PTR(userdata);

        for (Stream *stream = LIST_FIRST(&events->streams), *next; stream; stream = next) {
                next = LIST_NEXT(stream, entry);
                stream->heartbeat = true;
                http_stream_wake(stream->request);
        }
        alarm_start(source, events->heartbeat_usec);
        return 0;
}

int events_new(Events **ret, sd_event *event, Board *board, uint64_t heartbeat_usec) {
        _cleanup_(events_freep) Events *events = NULL;
        int r;

        events = new0(Events, 1);
        if (!events)
                return -ENOMEM;
        *events = (Events){
                .board = board,
                .epoch = time_now(CLOCK_REALTIME),
                .heartbeat_usec = heartbeat_usec ?: HEARTBEAT,
        };
        r = bytes_printf(&events->begin_text, "retry: 1000\n\n");
        if (r >= 0)
                r = bytes_printf(&events->heartbeat_text, ": heartbeat\n\n");
        if (r >= 0)
                r = alarm_new(&events->timer, event, ACCURACY, events_on_timer, events);
        if (r < 0)
                return r;
        alarm_start(events->timer, events->heartbeat_usec);
        *ret = TAKE_PTR(events);
        return 0;
}

Events *events_free(Events *events) {
        if (!events)
                return NULL;

        assert(LIST_EMPTY(&events->streams));
        sd_event_source_disable_unref(events->timer);
        bytes_unref(events->begin_text);
        bytes_unref(events->heartbeat_text);
        return mfree(events);
}
