#pragma once

/* Graph: of each service its steps and who waits for whom, and all that services are made of, once: the object of GET /api/graph. */

#include <json-c/json.h>
#include "model/plan.h"

typedef struct Graph Graph;

/* -ENOMEM. */
int graph_new(Graph **ret);
Graph *graph_free(Graph *graph);
DEFINE_CLEANUP(Graph *, graph_free);

/* -ENOMEM. */
int graph_add(Graph *graph, const Service *service, const Plan *plan);
/* {"nodes", "services"}, of what has been added so far. NULL when out of memory. */
json_object *graph_to_json(const Graph *graph);
