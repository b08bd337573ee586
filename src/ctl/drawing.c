#include "ctl/drawing.h"
#include "util/json-members.h"
#include "util/names.h"
#include "util/printable.h"
#include "util/text.h"

/* Drawing: the text has a tree for each service: what nobody of it waits for, and below what that waits for; what was shown with all below it is
 * not shown so again. The graphs have each thing once, whoever needs it, and arrows from who waits to who is waited for. */

static const char *const format_names[_DRAWING_FORMAT_MAX] = {
        [DRAWING_TEXT] = "text",
        [DRAWING_DOT] = "dot",
        [DRAWING_MERMAID] = "mermaid",
};
DEFINE_NAMES(drawing_format, DrawingFormat, format_names);

/* Nobody of the service waits for it. */
static bool is_last(const Plan *plan, size_t index) {
        for (size_t i = 0; i < plan->n_members; i++)
                for (size_t k = 0; k < plan->members[i].n_needs; k++)
                        if (plan->members[i].needs[k].member == index)
                                return false;
        return true;
}

/* The text */

typedef struct Tree {
        const Stack *stack;
        const PlanMember **members; /* by the order of the file */
        bool *shown;
        FILE *file;
        bool utf8;
} Tree;

static void tree_print_member(const Tree *tree, size_t index) {
        const Dependency *dependency = &tree->stack->service->dependencies[index];
        _cleanup_free_ char *name = printable_copy(dependency->name, strlen(dependency->name), false);

        fputs(strempty(name), tree->file);
        if (dependency->kind != DEPENDENCY_CONTAINER)
                fprintf(tree->file, " (%s)", dependency_kind_to_string(dependency->kind));
        if (dependency->type == DEPENDENCY_OPTIONAL)
                fputs(" (optional)", tree->file);
        if (tree->shown[index] && tree->members[index]->n_needs > 0)
                fputs(" (see above)", tree->file);
        fputc('\n', tree->file);
}

/* A member and what it waits for; `prefix` stands before each line below it. No deeper than there are dependencies: a plan has no cycle. */
static int tree_print(Tree *tree, const char *prefix, size_t index, bool last) {
        const PlanMember *member = tree->members[index];
        bool again = tree->shown[index];
        _cleanup_free_ char *below = NULL;
        int r = 0;

        fprintf(tree->file, "%s%s", prefix, tree->utf8 ? last ? "└─ " : "├─ " : last ? "`- " : "|- ");
        tree_print_member(tree, index);
        tree->shown[index] = true;
        if (again)
                return 0;
        below = text_printf("%s%s", prefix, last ? "   " : tree->utf8 ? "│  " : "|  ");
        if (!below)
                return -ENOMEM;
        for (size_t i = 0; i < member->n_needs && r >= 0; i++)
                r = tree_print(tree, below, member->needs[i].member, i + 1 == member->n_needs);
        return r;
}

static int print_tree(const Stack *stack, FILE *file, bool utf8) {
        const Plan *plan = stack->plan;
        _cleanup_free_ const PlanMember **members = new0(const PlanMember *, plan->n_members + 1);
        _cleanup_free_ bool *shown = new0(bool, plan->n_members + 1);
        Tree tree = { .stack = stack, .members = members, .shown = shown, .file = file, .utf8 = utf8 };
        size_t n_last = 0;
        int r = 0;

        if (!members || !shown)
                return -ENOMEM;
        for (size_t i = 0; i < plan->n_members; i++) {
                members[plan->members[i].index] = &plan->members[i];
                n_last += is_last(plan, i);
        }
        fprintf(file, "%s\n", stack->service->name);
        for (size_t i = 0; i < plan->n_members && r >= 0; i++)
                if (is_last(plan, plan->members[i].index))
                        r = tree_print(&tree, "", plan->members[i].index, --n_last == 0);
        return r;
}

/* The graphs */

typedef struct Sketch {
        FILE *file;
        bool dot;
        json_object *nodes; /* their numbers, by kind and name */
        json_object *edges; /* that are drawn */
} Sketch;

static const char *const shapes[_DEPENDENCY_KIND_MAX] = {
        [DEPENDENCY_CONTAINER] = "ellipse",
        [DEPENDENCY_UNIT] = "component",
        [DEPENDENCY_SERVICE] = "box",
};
static const char *const brackets[_DEPENDENCY_KIND_MAX][2] = {
        [DEPENDENCY_CONTAINER] = { "(", ")" },
        [DEPENDENCY_UNIT] = { "[[", "]]" },
        [DEPENDENCY_SERVICE] = { "[", "]" },
};

/* Between double quotes. */
static void sketch_print_label(const Sketch *sketch, const char *name) {
        _cleanup_free_ char *printable = printable_copy(name, strlen(name), /* keep_lines= */ false);

        for (const char *c = strempty(printable); *c; c++)
                if (*c == '"')
                        fputs(sketch->dot ? "\\\"" : "#quot;", sketch->file);
                else if (*c == '\\' && sketch->dot)
                        fputs("\\\\", sketch->file);
                else
                        fputc(*c, sketch->file);
}

/* The number of a node, which is drawn when it comes first. -ENOMEM. */
static int sketch_node(const Sketch *sketch, DependencyKind kind, const char *name) {
        _cleanup_free_ char *key = text_printf("%s %s", dependency_kind_to_string(kind), name);
        json_object *known = key ? json_member(sketch->nodes, key) : NULL;
        int number = json_object_object_length(sketch->nodes);

        if (known)
                return json_object_get_int(known);
        if (!key || !json_add_number(sketch->nodes, key, (uint64_t) number))
                return -ENOMEM;
        fprintf(sketch->file, sketch->dot ? "\tn%d [label=\"" : "\tn%d%s\"", number, brackets[kind][0]);
        sketch_print_label(sketch, name);
        fprintf(sketch->file, sketch->dot ? "\", shape=%s];\n" : "\"%s\n",
                sketch->dot ? shapes[kind] : brackets[kind][1]);
        return number;
}

static int sketch_edge(const Sketch *sketch, int from, int to, bool optional) {
        char key[32];

        (void) snprintf(key, sizeof(key), "%d %d", from, to);
        if (json_member(sketch->edges, key))
                return 0;
        if (!json_add(sketch->edges, key, json_object_new_boolean(true)))
                return -ENOMEM;
        if (sketch->dot)
                fprintf(sketch->file, "\tn%d -> n%d%s;\n", from, to, optional ? " [style=dashed]" : "");
        else
                fprintf(sketch->file, "\tn%d %s n%d\n", from, optional ? "-.->" : "-->", to);
        return 0;
}

/* From a member, or from the service itself if there is none, to a member. */
static int sketch_arrow(const Sketch *sketch, const Service *service, const Dependency *from,
                        const Dependency *to) {
        int a, b;

        assert(to);

        a = sketch_node(sketch, from ? from->kind : DEPENDENCY_SERVICE, from ? from->name : service->name);
        b = a < 0 ? a : sketch_node(sketch, to->kind, to->name);
        return b < 0 ? b : sketch_edge(sketch, a, b, to->type == DEPENDENCY_OPTIONAL);
}

static int sketch_stack(const Sketch *sketch, const Stack *stack) {
        const Service *service = stack->service;
        int r;

        r = sketch_node(sketch, DEPENDENCY_SERVICE, service->name);
        for (size_t i = 0; i < stack->plan->n_members && r >= 0; i++) {
                const PlanMember *member = &stack->plan->members[i];
                const Dependency *dependency = &service->dependencies[member->index];

                if (is_last(stack->plan, member->index))
                        r = sketch_arrow(sketch, service, NULL, dependency);
                for (size_t k = 0; k < member->n_needs && r >= 0; k++)
                        r = sketch_arrow(sketch, service, dependency,
                                         &service->dependencies[member->needs[k].member]);
        }
        return r;
}

static int print_sketch(const Stacks *stacks, FILE *file, bool dot) {
        _cleanup_(json_freep) json_object *nodes = json_object_new_object(), *edges = json_object_new_object();
        Sketch sketch = { .file = file, .dot = dot, .nodes = nodes, .edges = edges };
        int r = nodes && edges ? 0 : -ENOMEM;

        fputs(dot ? "digraph wakechain {\n\trankdir=LR;\n" : "flowchart LR\n", file);
        for (size_t i = 0; i < stacks->n_stacks && r >= 0; i++)
                r = sketch_stack(&sketch, &stacks->stacks[i]);
        fputs(dot ? "}\n" : "", file);
        return r;
}

int drawing_print(const Stacks *stacks, DrawingFormat format, FILE *file, const Look *look) {
        int r = 0;

        if (format != DRAWING_TEXT)
                return print_sketch(stacks, file, format == DRAWING_DOT);
        for (size_t i = 0; i < stacks->n_stacks && r >= 0; i++) {
                if (i > 0)
                        fputc('\n', file);
                r = print_tree(&stacks->stacks[i], file, look->utf8);
        }
        return r;
}
