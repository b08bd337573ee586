#include <json-c/json.h>
#include <stdio.h>

#include "util/log.h"
#include "web/guard.h"
#include "web/routes.h"

/* Api: the answers in JSON. */

DEFINE_CLEANUP(json_object *, json_object_put);

static void answer_object(HttpRequest *request, unsigned status, json_object *object) {
        const char *text = object ? json_object_to_json_string_ext(object,
                                                                   JSON_C_TO_STRING_PLAIN |
                                                                                   JSON_C_TO_STRING_NOSLASHESCAPE)
                                  : NULL;

        if (text)
                answer_json(request, status, text, NULL);
        else
                answer_refusal(request, 503, "Out of memory.");
}

static bool call_may_sleep(const Call *call) {
        return http_request_origin(call->request) == HTTP_UNIX || store_sleep_over_tcp(call->site->store);
}

void api_services(Call *call) {
        const char *tail = call_may_sleep(call) ? ",\"sleepAllowed\":true}" : ",\"sleepAllowed\":false}";
        Store *store = call->site->store;
        _cleanup_free_ char *text = NULL;
        size_t size, n = 0;
        FILE *file;

        file = open_memstream(&text, &size);
        if (!file) {
                answer_refusal(call->request, 503, "Out of memory.");
                return;
        }
        (void) fputs("{\"services\":[", file);
        for (size_t i = 0; i < store_length(store); i++) {
                StoreEntry *entry = store_get(store, i);

                if (entry)
                        (void) fprintf(file, "%s%s%s", n++ > 0 ? "," : "", store_entry_object(entry), tail);
        }
        (void) fputs("]}", file);
        if (fclose(file) == 0)
                answer_json(call->request, 200, text, NULL);
        else
                answer_refusal(call->request, 503, "Out of memory.");
}

/* The graph. Objects own what was added to them; what could not be added is put by `add`. */

static bool add(json_object *object, const char *key, json_object *value) {
        if (object && value && json_object_object_add(object, key, value) >= 0)
                return true;
        json_object_put(value);
        return false;
}

static bool append(json_object *array, json_object *value) {
        if (array && value && json_object_array_add(array, value) >= 0)
                return true;
        json_object_put(value);
        return false;
}

static bool append_text(json_object *array, const char *text) {
        return append(array, json_object_new_string(text));
}

static bool add_node(json_object *nodes, const Service *service, const Dependency *dependency) {
        json_object *node = NULL, *users = NULL;

        if (json_object_object_get_ex(nodes, dependency->name, &node)) {
                (void) json_object_object_get_ex(node, "services", &users);
                return append_text(users, service->name) && add(node, "shared", json_object_new_boolean(true));
        }
        node = json_object_new_object();
        if (!add(nodes, dependency->name, node))
                return false;
        users = json_object_new_array();
        return add(node, "id", json_object_new_string(dependency->name)) &&
               add(node, "kind", json_object_new_string(dependency_kind_to_string(dependency->kind))) &&
               add(node, "services", users) && append_text(users, service->name) &&
               add(node, "shared", json_object_new_boolean(false));
}

static bool add_steps(json_object *object, const Service *service, const Plan *plan) {
        json_object *steps = json_object_new_array();

        if (!add(object, "steps", steps))
                return false;
        for (unsigned step = 1; step <= plan->n_steps; step++) {
                json_object *names = json_object_new_array();

                if (!append(steps, names))
                        return false;
                for (size_t i = 0; i < plan->n_members; i++)
                        if (plan->members[i].step == step &&
                            !append_text(names, service->dependencies[plan->members[i].index].name))
                                return false;
        }
        return true;
}

static bool add_edges(json_object *object, const Service *service, const Plan *plan) {
        json_object *edges = json_object_new_array();

        if (!add(object, "edges", edges))
                return false;
        for (size_t i = 0; i < plan->n_members; i++) {
                const PlanMember *member = &plan->members[i];

                for (size_t k = 0; k < member->n_needs; k++) {
                        const char *from = service->dependencies[member->index].name;
                        const char *to = service->dependencies[member->needs[k].member].name;
                        json_object *edge = json_object_new_object();

                        if (!append(edges, edge) || !add(edge, "from", json_object_new_string(from)) ||
                            !add(edge, "to", json_object_new_string(to)))
                                return false;
                }
        }
        return true;
}

static bool add_service(json_object *nodes, json_object *services, const StoreEntry *entry) {
        const Service *service = store_entry_service(entry);
        json_object *object = json_object_new_object();

        if (!append(services, object) || !add(object, "name", json_object_new_string(service->name)) ||
            !add_steps(object, service, store_entry_plan(entry)) ||
            !add_edges(object, service, store_entry_plan(entry)))
                return false;
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (!add_node(nodes, service, &service->dependencies[i]))
                        return false;
        return true;
}

/* {"id": node} becomes [node]. */
static json_object *values_of(json_object *object) {
        json_object *values = json_object_new_array();

        json_object_object_foreach(object, key, value) {
                (void) key;
                if (!append(values, json_object_get(value))) {
                        json_object_put(values);
                        return NULL;
                }
        }
        return values;
}

void api_graph(Call *call) {
        _cleanup_(json_object_putp) json_object *graph = json_object_new_object(),
                                                *nodes = json_object_new_object();
        json_object *services = json_object_new_array();
        bool fine = graph && nodes && services;

        for (size_t i = 0; fine && i < store_length(call->site->store); i++) {
                StoreEntry *entry = store_get(call->site->store, i);

                fine = entry && add_service(nodes, services, entry);
        }
        if (fine && add(graph, "nodes", values_of(nodes))) {
                if (add(graph, "services", services)) {
                        answer_object(call->request, 200, graph);
                        return;
                }
        } else
                json_object_put(services);
        answer_refusal(call->request, 503, "Out of memory.");
}

void api_events(Call *call) {
        events_answer(call->site->events, call->request, NULL);
}

void api_wake_status(Call *call) {
        events_answer(call->site->events, call->request, call->name);
}

/* What asks wakers */

static void answer_unreachable(Call *call, int error) {
        log_warning_errno(error, "Failed to ask the waker of %s: %m", call->name);
        if (error == -ENOENT || error == -ECONNREFUSED)
                answer_refusal(call->request, 503,
                               "Nobody listens on the control socket of %s: if the service is new, 'systemctl "
                               "daemon-reload' and 'systemctl start wake-control@%s.socket' bring it up.",
                               call->name, call->name);
        else
                answer_refusal(call->request, 503, "The waker of %s cannot be asked: %s", call->name,
                               strerror(-error));
}

void api_wake(Call *call) {
        _cleanup_(json_object_putp) json_object *plan = NULL;
        bool dry_run;
        int r;

        if (guard_parse_dry_run(call->query, &dry_run) < 0) {
                answer_refusal(call->request, 400, "The one option of this address is dryRun=true.");
                return;
        }
        plan = plan_to_json(store_entry_plan(call->entry), store_entry_service(call->entry));
        if (!dry_run) {
                r = wakes_begin(call->site->wakes, call->name);
                if (r < 0) {
                        answer_unreachable(call, r);
                        return;
                }
        }
        answer_object(call->request, dry_run ? 200 : 202, plan);
}

void api_sleep(Call *call) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        int r;

        if (!call_may_sleep(call)) {
                answer_refusal(call->request, 403,
                               "Stacks are put to sleep through /run/wakechain/web.sock, or here if "
                               "api.sleepOverTcp in dependencies.json is true.");
                return;
        }
        r = sleeps_begin(call->site->sleeps, call->name);
        if (r < 0) {
                answer_unreachable(call, r);
                return;
        }
        if (object && !add(object, "service", json_object_new_string(call->name)))
                object = (json_object_put(object), NULL);
        answer_object(call->request, 202, object);
}
