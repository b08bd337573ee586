#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/stacks.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/text.h"

/* wakectl status: all that is known of a service, as the file, its waker and the last look at the engine have it. */

#define LABEL_WIDTH 10

static void say_part(const char *label, const char *text, const Look *look, TableColour colour) {
        _cleanup_free_ char *printable = printable_copy(text, strlen(text), /* keep_lines= */ false);

        printf("%*s%s %s%s%s\n", LABEL_WIDTH, label, label[0] != '\0' ? ":" : " ", colour_begin(look, colour),
               printable ? printable : "(out of memory)", colour_end(look, colour));
}

static _printf_(3, 4) void say(const Look *look, const char *label, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        say_part(label, text ? text : "(out of memory)", look, COLOUR_NONE);
}

static char *join(char *const *list) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        if (!file)
                return NULL;
        for (; list && *list; list++)
                (void) fprintf(file, "%s%s", ftell(file) > 0 ? ", " : "", *list);
        return fclose(file) == 0 ? text : mfree(text);
}

static void say_state(const Stack *stack, const Look *look) {
        const Status *status = stack->status;
        const char *trigger = status ? status_trigger(status) : NULL;
        char since[LOCAL_TIME_MAX], span[SPAN_MAX];

        printf("%*s: %s%s%s", LABEL_WIDTH, "State", colour_begin(look, stack_colour(stack)), stack_state(stack),
               colour_end(look, stack_colour(stack)));
        if (status && status->since_usec > 0)
                printf(" since %s; %s ago", local_time_to_string(status->since_usec, since),
                       span_to_string(usec_sub(time_now(CLOCK_REALTIME), status->since_usec), span));
        if (trigger && status->state != SERVICE_ASLEEP)
                printf("; trigger: %s", trigger);
        putchar('\n');
        if (status && status->state == SERVICE_WAKING)
                say(look, "Progress", "%u %%, about %s left", stack->described.percent,
                    span_to_string(status_remaining(status), span));
        if (status && !isempty(status->error))
                say_part("Failure", status->error, look, COLOUR_RED);
}

static void say_backends(const char *label, const char *port, char *const *backends, const Look *look) {
        _cleanup_free_ char *joined = join(backends);

        if (isempty(joined))
                say(look, label, "%s", port);
        else
                say(look, label, "%s %s %s", port, look->utf8 ? "→" : "->", joined);
}

static void say_ports(const Stack *stack, const Look *look) {
        _cleanup_free_ char *ports = stack_ports(stack), *listen = join(stack->service->listen);
        /* A stack that sleeps has those of its last run. */
        const Status *status = stack->status && stack->status->state == SERVICE_AWAKE ? stack->status : NULL;

        if (!isempty(ports))
                say_backends("Ports", ports, status && status->n_ports == 0 ? status->backends : NULL, look);
        for (size_t i = 0; status && i < status->n_ports; i++) {
                const PortStatus *port = &status->ports[i];
                _cleanup_free_ char *text =
                                text_printf("%s%s%u%s%s", strempty(port->address), port->address ? " " : "",
                                            port->port, port->udp ? "/udp" : "",
                                            port->accepts ? "" : " (nobody accepts)");

                say_backends("", strempty(text), port->backends, look);
        }
        if (!isempty(listen))
                say(look, "Listens", "%s", listen);
        if (stack->disabled)
                say(look, "Disabled", "its clients are not taken; 'wakectl enable %s' ends that",
                    stack->service->name);
}

static void say_names(const Stack *stack, const Look *look) {
        for (size_t i = 0; i < stack->bindings.n_networks && service_has_names(stack->service); i++) {
                const BindingNetwork *network = &stack->bindings.networks[i];
                _cleanup_free_ char *names = join(network->names);

                if (!isempty(names))
                        say(look, i == 0 ? "Names" : "", "%s on %s", names, network->bridge);
        }
}

static void say_what_keeps_it(const Stack *stack, const Look *look) {
        const Status *status = stack->status;
        uint64_t idle_usec = stack->service->idle_timeout_usec;
        char span[SPAN_MAX];

        if (status && status->state == SERVICE_AWAKE && status->holders > 0)
                say(look, "Held", "%u hold%s it awake", status->holders, status->holders == 1 ? "s" : "");
        for (char *const *hold = stack->holds; hold && *hold; hold++)
                say_part("", *hold, look, COLOUR_NONE);
        if (status && !isempty(status->busy))
                say(look, "Busy", "%s", status->busy);
        if (idle_usec == 0)
                say(look, "Sleeps", "not by itself");
        else
                say(look, "Sleeps", "%s after nobody uses it any more", span_to_string(idle_usec, span));
}

static int say_dependencies(const Stack *stack, const Look *look) {
        static const char *const headings[] = { "STEP", "DEPENDENCY", "TYPE", "STATE", "READY AFTER", "FAILURE" };
        _cleanup_(table_freep) Table *table = NULL;
        const Status *status = stack->status;
        int r;

        if (!status || status->n_dependencies == 0)
                return 0;
        r = table_new(&table, ELEMENTSOF(headings), headings, 4);
        if (r < 0)
                return r;
        for (size_t i = 0; i < status->n_dependencies; i++) {
                const DependencyStatus *dependency = &status->dependencies[i];
                char span[SPAN_MAX];

                table_addf(table, "%u", dependency->step);
                table_add(table, dependency->container);
                table_add(table, dependency->required ? "required" : "optional");
                table_add_coloured(table, dependency_state_colour(dependency->state),
                                   dependency_state_to_string(dependency->state));
                table_add(table, dependency->ready_usec > 0 ? span_to_string(dependency->ready_usec, span) : NULL);
                table_add(table, dependency->error);
        }
        putchar('\n');
        return table_print(table, stdout, look);
}

static int say_stack(const Stack *stack, const Look *look) {
        const Service *service = stack->service;

        printf("%s%s%s\n", colour_begin(look, COLOUR_BOLD), service->name, colour_end(look, COLOUR_BOLD));
        if (!isempty(service->page_title))
                say(look, "Title", "%s", service->page_title);
        if (service->file)
                say(look, "File", "%s%s", service->file,
                    service->remembered ? " (has errors, see 'wakectl check': shown as it was last good)" : "");
        say_state(stack, look);
        say_ports(stack, look);
        say_names(stack, look);
        say_what_keeps_it(stack, look);
        return say_dependencies(stack, look);
}

int verb_status(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(stacks_done) Stacks stacks = {};
        Look look = look_at(stdout);
        int r;

        r = stacks_load(&stacks, STACKS_STATUS, argv, argc);
        if (r != CTL_FINE)
                return r;
        if (options->json)
                r = output_json(stacks_to_json(&stacks));
        for (size_t i = 0; i < stacks.n_stacks && !options->json && r >= 0; i++) {
                if (i > 0)
                        putchar('\n');
                r = say_stack(&stacks.stacks[i], &look);
        }
        if (r < 0) {
                (void) log_oom();
                return CTL_FAILED;
        }
        return r != CTL_FINE ? r : stacks.outcome;
}
