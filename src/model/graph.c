#include "model/graph.h"
#include "util/json-members.h"
#include "util/text.h"

/* Graph: services are added one by one; what they share is found again by its kind and name. */

struct Graph {
        json_object *nodes; /* by kind and name */
        json_object *services;
};

int graph_new(Graph **ret) {
        _cleanup_(graph_freep) Graph *graph = new0(Graph, 1);

        if (!graph)
                return -ENOMEM;
        *graph = (Graph){ .nodes = json_object_new_object(), .services = json_object_new_array() };
        if (!graph->nodes || !graph->services)
                return -ENOMEM;
        *ret = TAKE_PTR(graph);
        return 0;
}

Graph *graph_free(Graph *graph) {
        if (!graph)
                return NULL;

        json_free(graph->nodes);
        json_free(graph->services);
        return mfree(graph);
}

static bool add_node(json_object *nodes, const Service *service, const Dependency *dependency) {
        const char *kind = dependency_kind_to_string(dependency->kind);
        /* A container, a unit and a service may have the same name. */
        _cleanup_free_ char *key = text_printf("%s %s", kind, dependency->name);
        json_object *node = key ? json_member(nodes, key) : NULL, *users = json_member(node, "services");

        if (!key)
                return false;
        if (node)
                return json_append(users, json_object_new_string(service->name)) &&
                       json_add(node, "shared", json_object_new_boolean(true));
        node = json_object_new_object();
        users = json_object_new_array();
        return json_add(nodes, key, node) && json_add_text(node, "id", dependency->name) &&
               json_add_text(node, "kind", kind) && json_add(node, "services", users) &&
               json_append(users, json_object_new_string(service->name)) &&
               json_add(node, "shared", json_object_new_boolean(false));
}

static bool add_steps(json_object *object, const Service *service, const Plan *plan) {
        json_object *steps = json_object_new_array();
        bool fine = json_add(object, "steps", steps);

        for (unsigned step = 1; fine && step <= plan->n_steps; step++) {
                json_object *names = json_object_new_array();

                fine = json_append(steps, names);
                for (size_t i = 0; fine && i < plan->n_members; i++)
                        if (plan->members[i].step == step)
                                fine = json_append(names,
                                                   json_object_new_string(
                                                                   service->dependencies[plan->members[i].index]
                                                                                   .name));
        }
        return fine;
}

static bool add_edges(json_object *object, const Service *service, const Plan *plan) {
        json_object *edges = json_object_new_array();
        bool fine = json_add(object, "edges", edges);

        for (size_t i = 0; i < plan->n_members; i++) {
                const PlanMember *member = &plan->members[i];

                for (size_t k = 0; fine && k < member->n_needs; k++) {
                        json_object *edge = json_object_new_object();

                        fine = json_append(edges, edge) &&
                               json_add_text(edge, "from", service->dependencies[member->index].name) &&
                               json_add_text(edge, "to", service->dependencies[member->needs[k].member].name);
                }
        }
        return fine;
}

int graph_add(Graph *graph, const Service *service, const Plan *plan) {
        json_object *object = json_object_new_object();
        bool fine = json_append(graph->services, object) && json_add_text(object, "name", service->name) &&
                    add_steps(object, service, plan) && add_edges(object, service, plan);

        for (size_t i = 0; fine && i < service->n_dependencies; i++)
                fine = add_node(graph->nodes, service, &service->dependencies[i]);
        return fine ? 0 : -ENOMEM;
}

json_object *graph_to_json(const Graph *graph) {
        json_object *object = json_object_new_object(), *nodes = json_object_new_array();
        bool fine = json_add(object, "nodes", nodes);

        json_object_object_foreach(graph->nodes, name, node) {
                (void) name;
                fine = fine && json_append(nodes, json_object_get(node));
        }
        return json_built(object, json_add(object, "services", json_object_get(graph->services)) && fine);
}
