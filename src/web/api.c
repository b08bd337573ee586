#include <inttypes.h>
#include <stdio.h>

#include "model/graph.h"
#include "util/json-members.h"
#include "util/log.h"
#include "web/api.h"
#include "web/guard.h"
#include "web/reply.h"

/* Api: the answers in JSON. */

static bool call_may_sleep(const Call *call) {
        return http_exchange_origin(call->request) == HTTP_UNIX || board_sleep_over_tcp(call->site->board);
}

/* The text as it was made last, if nothing has changed since: many may read it slowly. */
static void answer_made(HttpExchange *request, SharedAnswer *answer, uint64_t version, char *(*make)(Call *call),
                        Call *call) {
        if (!answer->text || answer->version != version) {
                char *text = make(call);

                answer->text = bytes_unref(answer->text);
                if (!text || bytes_new(&answer->text, text, strlen(text)) < 0) {
                        free(text);
                        reply_refusal(request, 503, "Out of memory.");
                        return;
                }
                answer->version = version;
        }
        reply_shared(request, answer->text);
}

void api_forget(Site *site) {
        for (size_t i = 0; i < ELEMENTSOF(site->services); i++)
                site->services[i].text = bytes_unref(site->services[i].text);
        site->graph.text = bytes_unref(site->graph.text);
}

static char *make_services(Call *call) {
        const char *tail = board_tail(call_may_sleep(call));
        Board *board = call->site->board;
        size_t size, n = 0;
        char *text = NULL;
        FILE *file;

        file = open_memstream(&text, &size);
        if (!file)
                return NULL;
        (void) fputs("{\"services\":[", file);
        for (size_t i = 0; i < board_length(board); i++) {
                BoardEntry *entry = board_get(board, i);

                if (entry)
                        (void) fprintf(file, "%s%s%s", n++ > 0 ? "," : "", board_entry_object(entry), tail);
        }
        (void) fputs("]}", file);
        if (fclose(file) != 0)
                text = mfree(text);
        return text;
}

void api_services(Call *call) {
        Board *board = call->site->board;

        board_look(board);
        answer_made(call->request, &call->site->services[call_may_sleep(call)], board_version(board),
                    make_services, call);
}

/* For badges, in the form of shields.io's endpoints: asleep is no fault. */
void api_state(Call *call) {
        static const char *const colors[_SERVICE_STATE_MAX] = {
                [SERVICE_ASLEEP] = "blue",   [SERVICE_WAKING] = "yellow", [SERVICE_AWAKE] = "brightgreen",
                [SERVICE_STOPPING] = "blue", [SERVICE_FAILED] = "red",
        };
        const Service *service = board_entry_service(call->entry);
        ServiceState state = board_entry_status(call->entry)->state;
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        const char *word = service_state_to_string(state);

        object = json_built(object, json_add_number(object, "schemaVersion", 1) &&
                                                    json_add_text(object, "label", service_title(service)) &&
                                                    json_add_text(object, "message", word) &&
                                                    json_add_text(object, "color", colors[state]) &&
                                                    json_add(object, "isError",
                                                             json_object_new_boolean(state == SERVICE_FAILED)) &&
                                                    json_add_text(object, "state", word));
        reply_object(call->request, 200, object);
}

static char *make_graph(Call *call) {
        _cleanup_(graph_freep) Graph *graph = NULL;
        _cleanup_(json_freep) json_object *object = NULL;
        const char *text;
        int r;

        r = graph_new(&graph);
        for (size_t i = 0; r >= 0 && i < board_length(call->site->board); i++) {
                BoardEntry *entry = board_get(call->site->board, i);

                r = entry ? graph_add(graph, board_entry_service(entry), board_entry_plan(entry)) : -ENOMEM;
        }
        object = r < 0 ? NULL : graph_to_json(graph);
        text = object ? json_print(object, NULL) : NULL;
        return text ? strdup(text) : NULL;
}

void api_graph(Call *call) {
        answer_made(call->request, &call->site->graph, board_config_version(call->site->board), make_graph, call);
}

void api_events(Call *call) {
        events_answer(call->site->events, call->request, NULL);
}

void api_wake_status(Call *call) {
        events_answer(call->site->events, call->request, call->name);
}

static void answer_unreachable(Call *call, int error) {
        log_warning_errno(error, "Failed to ask the waker of %s: %m", call->name);
        if (error == -ENOENT || error == -ECONNREFUSED)
                reply_refusal(call->request, 503,
                              "Nobody listens on the control socket of %s: if the service is new, 'wakectl reload' brings it up.",
                              call->name);
        else
                reply_refusal(call->request, 503, "The waker of %s cannot be asked: %s", call->name,
                              strerror(-error));
}

static void answer_paused(Call *call) {
        uint64_t pause_usec, pause_sec;
        char after[24];
        const char *reason;

        pause_usec = orders_pause(call->site->orders, call->name, &reason);
        pause_sec = MAX((pause_usec + USEC_PER_SEC - 1) / USEC_PER_SEC, UINT64_C(1));
        (void) snprintf(after, sizeof(after), "%" PRIu64, pause_sec);
        reply_busy(call->request, after, "%s could not be woken: %s A new attempt is possible in %" PRIu64 " s.",
                   call->name, reason, pause_sec);
}

void api_wake(Call *call) {
        _cleanup_(json_freep) json_object *plan = NULL;
        bool dry_run;
        int r;

        if (guard_parse_dry_run(call->query, &dry_run) < 0) {
                reply_refusal(call->request, 400, "The one option of this address is dryRun=true.");
                return;
        }
        plan = plan_to_json(board_entry_plan(call->entry), board_entry_service(call->entry));
        if (!dry_run) {
                r = orders_wake(call->site->orders, call->name);
                if (r == -EBUSY) {
                        answer_paused(call);
                        return;
                }
                if (r < 0) {
                        answer_unreachable(call, r);
                        return;
                }
        }
        reply_object(call->request, dry_run ? 200 : 202, plan);
}

void api_sleep(Call *call) {
        _cleanup_(json_freep) json_object *object = NULL;
        int r;

        if (!call_may_sleep(call)) {
                reply_refusal(call->request, 403,
                              "Stacks are put to sleep through /run/wakechain/web.sock, or here if "
                              "api.sleepOverTcp in dependencies.json is true.");
                return;
        }
        r = orders_sleep(call->site->orders, call->name);
        if (r < 0) {
                answer_unreachable(call, r);
                return;
        }
        object = json_object_new_object();
        object = json_built(object, json_add_text(object, "service", call->name));
        reply_object(call->request, 202, object);
}
