#include <curl/curl.h>
#include <stdio.h>
#include <sys/queue.h>

#include "engine/http-client.h"
#include "util/log.h"

/* HttpClient joins curl's multi interface to sd-event: curl says which sockets and which timer it waits for,
 * and is told what happened to them. This is the only file that knows of curl.
 *
 * curl forbids most calls from inside its callbacks, and whoever is told of an answer wants to free the
 * request, or to start the next one. So the callbacks only store what came and queue the request; one
 * deferred source hands out, per dispatch, one piece of news of one request, as the last thing it does. */

struct HttpClient {
        sd_event *event;
        CURLM *multi;
        char *socket_path;
        sd_event_source *timer;
        sd_event_source *deliver;
        TAILQ_HEAD(, HttpRequest) queue; /* requests that there is news of */
        size_t n_requests;
};

struct HttpRequest {
        HttpClient *client;
        CURL *easy;
        bool running; /* known to the multi handle */
        struct curl_slist *headers;
        char curl_error[CURL_ERROR_SIZE];

        char *data; /* collected, or not delivered yet */
        size_t size, allocated, limit;
        size_t header_size;
        bool header_whole;

        bool stream;
        bool header_came; /* to be told */
        bool ended; /* to be told after everything else */
        int error;

        bool is_queued;
        TAILQ_ENTRY(HttpRequest) queued;

        HttpDataHandler on_data;
        HttpEndHandler on_end;
        void *userdata;
};

static void http_client_enqueue(HttpClient *client, HttpRequest *request) {
        if (request->is_queued)
                return;
        TAILQ_INSERT_TAIL(&client->queue, request, queued);
        request->is_queued = true;
        (void) sd_event_source_set_enabled(client->deliver, SD_EVENT_ON);
}

static void http_client_dequeue(HttpClient *client, HttpRequest *request) {
        if (request->is_queued)
                TAILQ_REMOVE(&client->queue, request, queued);
        request->is_queued = false;
}

static void http_request_end(HttpRequest *request) {
        _cleanup_free_ char *data = TAKE_PTR(request->data);
        char reason[CURL_ERROR_SIZE];
        HttpResponse response = {
                .error = request->error,
                .reason = reason,
                .status = http_request_status(request),
                .body = data ?: "",
                .size = request->size,
        };

        /* What the handler is shown lies outside the request, which it may free. */
        request->size = request->allocated = 0;
        if (request->error == 0)
                reason[0] = '\0';
        else
                (void) snprintf(reason, sizeof(reason), "%s",
                                request->curl_error[0] != '\0' ? request->curl_error : strerror(-request->error));
        request->on_end(request, &response, request->userdata);
}

static int http_client_on_deliver(sd_event_source *source, void *userdata) {
        HttpClient *client = ASSERT_PTR(userdata);
        HttpRequest *request = TAILQ_FIRST(&client->queue);
        bool has_data;

        if (request)
                http_client_dequeue(client, request);
        if (TAILQ_EMPTY(&client->queue))
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (!request)
                return 0;

        /* Queued again before the handler is called, since the request may be gone after it. */
        has_data = request->stream && request->size > 0;
        if (request->header_came) {
                request->header_came = false;
                if (has_data || request->ended)
                        http_client_enqueue(client, request);
                request->on_data(request, NULL, 0, request->userdata);
        } else if (has_data) {
                _cleanup_free_ char *data = TAKE_PTR(request->data);
                size_t size = request->size;

                request->size = request->allocated = 0;
                if (request->ended)
                        http_client_enqueue(client, request);
                request->on_data(request, data, size, request->userdata);
        } else if (request->ended)
                http_request_end(request);
        return 0;
}

static const struct {
        CURLcode code;
        int error;
} curl_errors[] = {
        { CURLE_OK, 0 },
        { CURLE_OPERATION_TIMEDOUT, ETIMEDOUT },
        { CURLE_GOT_NOTHING, ECONNRESET },
        { CURLE_PARTIAL_FILE, ECONNRESET },
        { CURLE_RECV_ERROR, ECONNRESET },
        { CURLE_SEND_ERROR, ECONNRESET },
        { CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH },
        { CURLE_URL_MALFORMAT, EINVAL },
        { CURLE_OUT_OF_MEMORY, ENOMEM },
};

static int curl_error_to_errno(CURL *easy, CURLcode code) {
        long number = 0;

        if (curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number) != CURLE_OK)
                number = 0;
        if (code == CURLE_COULDNT_CONNECT)
                return number > 0 ? -(int) number : -ECONNREFUSED;
        if (code == CURLE_RECV_ERROR && number == 0) /* this is what it calls bad chunks */
                return -EBADMSG;
        for (size_t i = 0; i < ELEMENTSOF(curl_errors); i++)
                if (curl_errors[i].code == code)
                        return -curl_errors[i].error;

        /* What remains are answers that are no HTTP. */
        return -EBADMSG;
}

/* Takes note of the requests that have ended. */
static void http_client_collect(HttpClient *client) {
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(client->multi, &left))) {
                HttpRequest *request = NULL;
                CURLcode code = message->data.result;

                if (message->msg != CURLMSG_DONE)
                        continue;
                if (curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request) != CURLE_OK || !request)
                        continue;

                /* An error of our own (too long, no memory) is what curl was stopped with. And it is content
                 * with half a header, if that is where the connection ends. */
                if (request->error == 0) {
                        request->error = code == CURLE_OK && !request->header_whole
                                                         ? -ECONNRESET
                                                         : curl_error_to_errno(request->easy, code);
                        /* curl's own text names a port 80 that has nothing to do with a Unix socket. */
                        if (code == CURLE_COULDNT_CONNECT)
                                request->curl_error[0] = '\0';
                } else
                        request->curl_error[0] = '\0';

                (void) curl_multi_remove_handle(client->multi, request->easy);
                request->running = false;
                request->ended = true;
                http_client_enqueue(client, request);
        }
}

static void http_client_action(HttpClient *client, curl_socket_t fd, int mask) {
        int running;
        CURLMcode code;

        code = curl_multi_socket_action(client->multi, fd, mask, &running);
        if (code != CURLM_OK)
                log_debug("curl cannot go on: %s, ignoring.", curl_multi_strerror(code));
        http_client_collect(client);
}

static int http_client_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        HttpClient *client = ASSERT_PTR(userdata);

        /* A mask of 0 (an error, a hang-up) makes curl look for itself. */
        http_client_action(client, fd,
                           (revents & EPOLLIN ? CURL_CSELECT_IN : 0) |
                                           (revents & EPOLLOUT ? CURL_CSELECT_OUT : 0));
        return 0;
}

static int http_client_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        http_client_action(ASSERT_PTR(userdata), CURL_SOCKET_TIMEOUT, 0);
        return 0;
}

static int http_client_set_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_userdata) {
        HttpClient *client = ASSERT_PTR(userdata);
        sd_event_source *source = socket_userdata;
        uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
        int r;

        if (what == CURL_POLL_REMOVE) {
                (void) curl_multi_assign(client->multi, fd, NULL);
                (void) sd_event_source_disable_unref(source);
                return 0;
        }

        if (source) {
                r = sd_event_source_set_io_events(source, events);
                if (r < 0)
                        log_debug_errno(r, "Failed to change what is waited for: %m");
                return r < 0 ? -1 : 0;
        }

        r = sd_event_add_io(client->event, &source, fd, events, http_client_on_io, client);
        if (r < 0) {
                log_debug_errno(r, "Failed to wait for a socket: %m");
                return -1;
        }
        (void) curl_multi_assign(client->multi, fd, source);
        return 0;
}

static int http_client_set_timer(CURLM *multi, long timeout_msec, void *userdata) {
        HttpClient *client = ASSERT_PTR(userdata);
        int r;

        if (timeout_msec < 0)
                return sd_event_source_set_enabled(client->timer, SD_EVENT_OFF) < 0 ? -1 : 0;

        r = sd_event_source_set_time_relative(client->timer, (uint64_t) timeout_msec * USEC_PER_MSEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->timer, SD_EVENT_ONESHOT);
        return r < 0 ? -1 : 0;
}

static int http_client_set_up_multi(HttpClient *client) {
        client->multi = curl_multi_init();
        if (!client->multi)
                return -ENOMEM;

        if (curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, http_client_set_socket) != CURLM_OK ||
            curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) != CURLM_OK ||
            curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, http_client_set_timer) != CURLM_OK ||
            curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client) != CURLM_OK ||
            curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 4L) != CURLM_OK)
                return -ENOMEM;
        return 0;
}

int http_client_new(HttpClient **ret, sd_event *event, const char *socket_path) {
        _cleanup_(http_client_freep) HttpClient *client = NULL;
        static bool initialized = false;
        int r;

        assert(ret);
        assert(event);

        if (!initialized && curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
                return -ENOMEM;
        initialized = true;

        client = new0(HttpClient, 1);
        if (!client)
                return -ENOMEM;
        client->event = sd_event_ref(event);
        TAILQ_INIT(&client->queue);
        if (socket_path) {
                client->socket_path = strdup(socket_path);
                if (!client->socket_path)
                        return -ENOMEM;
        }

        r = sd_event_add_time_relative(event, &client->timer, CLOCK_MONOTONIC, 0, 1, http_client_on_timer, client);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &client->deliver, http_client_on_deliver, client);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->deliver, SD_EVENT_OFF);
        if (r >= 0)
                r = http_client_set_up_multi(client);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(client);
        return 0;
}

HttpClient *http_client_free(HttpClient *client) {
        if (!client)
                return NULL;
        assert(client->n_requests == 0);

        /* Closing kept connections can still call back for sockets and the timer. */
        if (client->multi)
                (void) curl_multi_cleanup(client->multi);
        (void) sd_event_source_disable_unref(client->timer);
        (void) sd_event_source_disable_unref(client->deliver);
        (void) sd_event_unref(client->event);
        free(client->socket_path);
        return mfree(client);
}

static int http_request_store(HttpRequest *request, const char *data, size_t size) {
        if (size > request->limit - request->size)
                return -EFBIG;

        if (request->allocated - request->size < size + 1) {
                size_t allocated = MAX(2 * request->allocated, request->size + size + 1);
                char *larger = realloc(request->data, allocated);

                if (!larger)
                        return -ENOMEM;
                request->data = larger;
                request->allocated = allocated;
        }
        memcpy(request->data + request->size, data, size);
        request->size += size;
        request->data[request->size] = '\0';
        return 0;
}

static size_t http_request_on_body(char *data, size_t size, size_t count, void *userdata) {
        HttpRequest *request = ASSERT_PTR(userdata);

        request->error = http_request_store(request, data, size * count);
        if (request->error < 0)
                return 0; /* ends the transfer */
        if (request->stream && request->size > 0)
                http_client_enqueue(request->client, request);
        return size * count;
}

static size_t http_request_on_header(char *data, size_t size, size_t count, void *userdata) {
        HttpRequest *request = ASSERT_PTR(userdata);

        request->header_size += size * count;
        if (request->header_size > HTTP_HEADER_MAX) {
                request->error = -EFBIG;
                return 0;
        }

        /* The empty line ends the header; after that of an interim answer (100) the real one follows. Lines
         * that come after the body are no header. */
        if (size * count <= 2 && http_request_status(request) >= 200 && !request->header_whole) {
                request->header_whole = true;
                request->header_came = request->stream;
                if (request->stream)
                        http_client_enqueue(request->client, request);
        }
        return size * count;
}

static int http_request_add_header(HttpRequest *request, const char *header) {
        struct curl_slist *longer = curl_slist_append(request->headers, header);

        if (!longer)
                return -ENOMEM;
        request->headers = longer;
        return 0;
}

/* Sets an option of the easy handle `_easy`, and remembers the first failure in `_code`. */
#define SET(option, value)                                                     \
        do {                                                                   \
                if (code == CURLE_OK)                                          \
                        code = curl_easy_setopt(request->easy, option, value); \
        } while (false)

static int http_request_set_method(HttpRequest *request, const HttpParameters *parameters) {
        CURLcode code = CURLE_OK;
        int r;

        if (streq(parameters->method, "GET"))
                return 0;

        /* Without a body there must be no type of one either: Docker refuses a start that has a body. */
        r = http_request_add_header(request,
                                    parameters->body ? "Content-Type: application/json" : "Content-Type:");
        if (r < 0)
                return r;
        r = http_request_add_header(request, "Expect:");
        if (r < 0)
                return r;

        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE, (long) strlen(strempty(parameters->body)));
        SET(CURLOPT_COPYPOSTFIELDS, strempty(parameters->body));
        SET(CURLOPT_CUSTOMREQUEST, parameters->method);
        return code == CURLE_OK ? 0 : -ENOMEM;
}

static int http_request_set_up(HttpRequest *request, const HttpParameters *parameters) {
        CURLcode code = CURLE_OK;
        int r;

        SET(CURLOPT_PRIVATE, request);
        SET(CURLOPT_ERRORBUFFER, request->curl_error);
        SET(CURLOPT_WRITEFUNCTION, http_request_on_body);
        SET(CURLOPT_WRITEDATA, request);
        SET(CURLOPT_HEADERFUNCTION, http_request_on_header);
        SET(CURLOPT_HEADERDATA, request);
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_NOPROXY, "*"); /* whatever the environment says */
        SET(CURLOPT_PROTOCOLS_STR, request->client->socket_path ? "http" : "http,https");
        SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_PATH_AS_IS, 1L);
        SET(CURLOPT_USERAGENT, "wakechain");
        SET(CURLOPT_URL, parameters->url);
        if (request->client->socket_path)
                SET(CURLOPT_UNIX_SOCKET_PATH, request->client->socket_path);
        else {
                /* Only asked whether it answers, mostly by its address, which no certificate names. */
                SET(CURLOPT_SSL_VERIFYPEER, 0L);
                SET(CURLOPT_SSL_VERIFYHOST, 0L);
        }
        /* On a connection that was kept and is closed before the first byte of an answer, curl sends the request once more by itself: whoever
         * asked for a start would then be told "it runs already" about the one that it has begun. */
        if (parameters->fresh || !streq(parameters->method, "GET")) {
                SET(CURLOPT_FRESH_CONNECT, 1L);
                SET(CURLOPT_FORBID_REUSE, 1L);
        }
        if (parameters->timeout_usec != USEC_INFINITY)
                SET(CURLOPT_TIMEOUT_MS,
                    (long) CLAMP(parameters->timeout_usec / USEC_PER_MSEC, UINT64_C(1), (uint64_t) INT32_MAX));
        if (code != CURLE_OK)
                return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;

        r = http_request_set_method(request, parameters);
        if (r < 0)
                return r;
        SET(CURLOPT_HTTPHEADER, request->headers);
        return code == CURLE_OK ? 0 : -ENOMEM;
}
#undef SET

int http_request_new(HttpRequest **ret, HttpClient *client, const HttpParameters *parameters,
                     HttpDataHandler on_data, HttpEndHandler on_end, void *userdata) {
        _cleanup_(http_request_freep) HttpRequest *request = NULL;
        int r;

        assert(ret);
        assert(client);
        assert(parameters);
        assert(parameters->method);
        assert(parameters->url);
        assert(on_data || !parameters->stream);
        assert(on_end);

        request = new0(HttpRequest, 1);
        if (!request)
                return -ENOMEM;
        *request = (HttpRequest){
                .client = client,
                .limit = parameters->limit > 0 ? MIN(parameters->limit, HTTP_BODY_MAX) : HTTP_BODY_MAX,
                .stream = parameters->stream,
                .on_data = on_data,
                .on_end = on_end,
                .userdata = userdata,
        };
        client->n_requests++;

        request->easy = curl_easy_init();
        if (!request->easy)
                return -ENOMEM;
        r = http_request_set_up(request, parameters);
        if (r < 0)
                return r;
        if (curl_multi_add_handle(client->multi, request->easy) != CURLM_OK)
                return -ENOMEM;
        request->running = true;

        /* Connects, and mostly sends, right here instead of one turn of the loop later. */
        http_client_action(client, CURL_SOCKET_TIMEOUT, 0);

        *ret = TAKE_PTR(request);
        return 0;
}

HttpRequest *http_request_free(HttpRequest *request) {
        if (!request)
                return NULL;

        http_client_dequeue(request->client, request);
        if (request->running)
                (void) curl_multi_remove_handle(request->client->multi, request->easy);
        if (request->easy)
                curl_easy_cleanup(request->easy);
        curl_slist_free_all(request->headers);
        request->client->n_requests--;
        free(request->data);
        return mfree(request);
}

unsigned http_request_status(const HttpRequest *request) {
        long status = 0;

        assert(request);

        if (curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status < 0 ||
            status > 999)
                return 0;
        return (unsigned) status;
}

const char *http_request_header(HttpRequest *request, const char *name) {
        struct curl_header *header;

        assert(request);
        assert(name);

        return curl_easy_header(request->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                                : NULL;
}
