#include "ctl/ctl.h"
#include "ctl/drawing.h"
#include "ctl/output.h"
#include "model/graph.h"
#include "util/log.h"

/* wakectl graph: what needs what. */

static json_object *graph_object(const Stacks *stacks) {
        _cleanup_(graph_freep) Graph *graph = NULL;
        int r;

        r = graph_new(&graph);
        for (size_t i = 0; i < stacks->n_stacks && r >= 0; i++)
                r = graph_add(graph, stacks->stacks[i].service, stacks->stacks[i].plan);
        return r < 0 ? NULL : graph_to_json(graph);
}

int verb_graph(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(stacks_done) Stacks stacks = {};
        bool json = options->json || (options->format && streq(options->format, "json"));
        DrawingFormat format =
                        options->format && !json ? drawing_format_from_string(options->format) : DRAWING_TEXT;
        Look look = look_at(stdout);
        int r;

        if (format < 0) {
                log_error("--format takes text, dot, mermaid or json.");
                return CTL_USAGE;
        }
        r = stacks_load(&stacks, STACKS_CONFIG, argv, argc);
        if (r != CTL_FINE)
                return r;
        if (json) {
                r = output_json(graph_object(&stacks));
                return MAX(r, stacks.outcome);
        }
        if (drawing_print(&stacks, format, stdout, &look) < 0) {
                (void) log_oom();
                return CTL_FAILED;
        }
        return stacks.outcome;
}
