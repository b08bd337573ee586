#include <netinet/in.h>
#include <stdio.h>

#include "config/config.h"
#include "config/disabled.h"
#include "control/status-file.h"
#include "ctl/ctl.h"
#include "ctl/hold.h"
#include "ctl/stacks.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/nearest.h"
#include "util/printable.h"

/* Stacks: read once, at the moment of the question. A configuration with errors is taken as the generator takes it, so that what has a socket is
 * shown; who may not read the last good one sees what is sound. */

static int stacks_load_config(Stacks *stacks) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        int r;

        r = config_load_or_remembered(&stacks->config, /* root= */ "", &problems);
        if (r == -ENOENT)
                log_error("No configuration found, looked for /etc/wakechain/dependencies.json and others.");
        else if (r == -EBADMSG)
                log_error("The configuration cannot be used, see 'wakectl check'.");
        else if (r == -EACCES || r == -EPERM)
                log_error("You may not read the configuration.");
        else if (r < 0)
                (void) log_error_errno(r, "Failed to load the configuration: %m");
        else if (problems.n_errors > 0)
                log_warning("The configuration has errors, see 'wakectl check': what they concern is shown as it "
                            "was last good, or not at all.");
        return r < 0 ? CTL_FAILED : CTL_FINE;
}

static int stack_read_status(Stack *stack) {
        int r;

        r = status_file_read(&stack->status, "", stack->service->name);
        if (r == -ENOENT)
                return status_new_planned(&stack->status, stack->service, stack->plan);
        if (r >= 0)
                r = status_add_planned(stack->status, stack->service, stack->plan);
        if (r >= 0 && stack->status->state == SERVICE_WAKING)
                stack->status->elapsed_usec = usec_sub(time_now(CLOCK_REALTIME), stack->status->since_usec);
        return r;
}

/* Without systemd's answer it is only known how many there are. */
static int stack_read_holds(Stack *stack) {
        ManagerUnit *units;
        size_t n;
        int r;

        r = hold_list(&units, &n, stack->service->name);
        if (r < 0)
                log_debug_errno(r, "Failed to ask systemd what holds %s awake: %m", stack->service->name);
        r = 0;
        for (size_t i = 0; i < n && r >= 0; i++)
                r = strv_append(&stack->holds, units[i].description);
        manager_units_free(units, n);
        return r;
}

static int stacks_add(Stacks *stacks, Service *service, StacksWhat what) {
        Stack *stack = &stacks->stacks[stacks->n_stacks++];
        int r;

        *stack = (Stack){ .service = service, .disabled = service_is_disabled("", service->name) };
        r = redirect_bindings_load(&stack->bindings, "", service->name);
        /* What a wake starts besides, by the last look at the engine. Who asks for the status is told by the waker, as through the API. */
        if (r >= 0 && what == STACKS_CONFIG)
                r = service_add_owners(service, stacks->config, stack->bindings.owners);
        if (r >= 0)
                r = plan_new(&stack->plan, service, NULL);
        if (r < 0 || what == STACKS_CONFIG)
                return r;
        r = stack_read_status(stack);
        if (r >= 0 && stack->status->holders > 0)
                r = stack_read_holds(stack);
        if (r >= 0)
                return described_update(&stack->described, stack->status);
        stack->status = status_free(stack->status);
        if (r == -ENOMEM || r == -EACCES || r == -EPERM)
                return r;
        (void) log_warning_errno(r, "Failed to read " STATUS_FOLDER "/%s.json: %m", service->name);
        stacks->outcome = CTL_FAILED;
        return 0;
}

void stacks_tell_unknown(const Stacks *stacks, const char *name) {
        const Config *config = stacks->config;
        _cleanup_free_ char *printable = printable_copy(name, strlen(name), /* keep_lines= */ false);
        Nearest nearest = nearest_to(name);
        char hint[NEAREST_HINT_MAX];

        for (size_t i = 0; i < config->n_services; i++)
                nearest_offer(&nearest, config->services[i].name);
        log_error("There is no service '%s' in %s%s", strempty(printable), config->path,
                  nearest_hint(&nearest, hint));
}

int stacks_load(Stacks *ret, StacksWhat what, char *const *names, int n) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r = 0;

        if (stacks_load_config(&stacks) != CTL_FINE)
                return CTL_FAILED;
        stacks.stacks = new0(Stack, n > 0 ? (size_t) n : stacks.config->n_services + 1);
        if (!stacks.stacks)
                r = -ENOMEM;
        for (size_t i = 0; i < stacks.config->n_services && n == 0 && r >= 0; i++)
                r = stacks_add(&stacks, &stacks.config->services[i], what);
        for (int i = 0; i < n && r >= 0; i++) {
                Service *service = (Service *) config_find(stacks.config, names[i]);

                if (service)
                        r = stacks_add(&stacks, service, what);
                else {
                        stacks_tell_unknown(&stacks, names[i]);
                        stacks.outcome = CTL_FAILED;
                }
        }
        if (r == -EACCES || r == -EPERM)
                log_error("You may not see what the stacks do: root and members of the group 'wakechain' may.");
        else if (r < 0)
                (void) log_error_errno(r, "Failed to look at the stacks: %m");
        if (r < 0 || (n > 0 && stacks.n_stacks == 0))
                return CTL_FAILED;
        *ret = stacks;
        stacks = (Stacks){};
        return CTL_FINE;
}

static void stack_done(Stack *stack) {
        plan_free(stack->plan);
        status_free(stack->status);
        described_done(&stack->described);
        redirect_bindings_done(&stack->bindings);
        strv_free(stack->holds);
}

void stacks_keep(Stacks *stacks, bool (*wants)(const Stack *stack, const char *what), const char *what) {
        size_t n = 0;

        for (size_t i = 0; i < stacks->n_stacks; i++)
                if (wants(&stacks->stacks[i], what))
                        stacks->stacks[n++] = stacks->stacks[i];
                else
                        stack_done(&stacks->stacks[i]);
        stacks->n_stacks = n;
}

void stacks_done(Stacks *stacks) {
        for (size_t i = 0; i < stacks->n_stacks; i++)
                stack_done(&stacks->stacks[i]);
        free(stacks->stacks);
        config_free(stacks->config);
        *stacks = (Stacks){};
}

const char *stack_state(const Stack *stack) {
        return stack->status ? service_state_to_string(stack->status->state) : "unknown";
}

TableColour service_state_colour(ServiceState state) {
        return state == SERVICE_AWAKE    ? COLOUR_GREEN
               : state == SERVICE_FAILED ? COLOUR_RED
               : state == SERVICE_ASLEEP ? COLOUR_NONE
                                         : COLOUR_YELLOW;
}

TableColour dependency_state_colour(DependencyState state) {
        return state == DEPENDENCY_READY                                      ? COLOUR_GREEN
               : state == DEPENDENCY_FAILED                                   ? COLOUR_RED
               : state == DEPENDENCY_STARTING || state == DEPENDENCY_CHECKING ? COLOUR_YELLOW
                                                                              : COLOUR_NONE;
}

TableColour stack_colour(const Stack *stack) {
        return stack->status ? service_state_colour(stack->status->state) : COLOUR_RED;
}

size_t stack_count_ready(const Stack *stack) {
        size_t n = 0;

        for (size_t i = 0; stack->status && i < stack->status->n_dependencies; i++)
                n += stack->status->dependencies[i].state == DEPENDENCY_READY;
        return n;
}

/* Its port, those of its file, and else those that its containers publish and no other service has. */
typedef int (*PortHandler)(void *target, uint16_t port, bool udp);

static int stack_for_each_port(const Stack *stack, PortHandler handler, void *target) {
        const Service *service = stack->service;
        int r = 0;

        if (service->port > 0)
                r = handler(target, service->port, service_is_udp(service));
        for (size_t i = 0; i < service->n_ports && r >= 0; i++)
                r = handler(target, service->ports[i].port, service_port_is_udp(&service->ports[i]));
        for (size_t i = 0; i < stack->bindings.n_further && !service->ports_given && r >= 0; i++)
                if (!stack->bindings.further[i].rival)
                        r = handler(target, stack->bindings.further[i].port, false);
        return r;
}

static int print_port(void *target, uint16_t port, bool udp) {
        FILE *file = target;

        return fprintf(file, "%s%u%s", ftell(file) > 0 ? ", " : "", port, udp ? "/udp" : "") < 0 ? -ENOMEM : 0;
}

char *stack_ports(const Stack *stack) {
        char *text = NULL;
        size_t size;
        FILE *file;
        int r;

        file = open_memstream(&text, &size);
        if (!file)
                return NULL;
        r = stack_for_each_port(stack, print_port, file);
        return fclose(file) == 0 && r >= 0 ? text : mfree(text);
}

static int append_port(void *target, uint16_t port, bool udp) {
        json_object *object = json_object_new_object();

        bool fine = json_append(target, object) && json_add_number(object, "port", port) &&
                    json_add_text(object, "protocol", udp ? "udp" : "tcp");

        return fine ? 0 : -ENOMEM;
}

json_object *stack_to_json(const Stack *stack) {
        _cleanup_(status_freep) Status *unknown = NULL;
        _cleanup_(described_done) Described nothing = {};
        const Status *status = stack->status;
        json_object *object, *ports = json_object_new_array();
        bool fine = ports && stack_for_each_port(stack, append_port, ports) >= 0;

        if (!status && status_new_planned(&unknown, stack->service, stack->plan) >= 0 &&
            described_update(&nothing, unknown) >= 0)
                status = unknown;
        object = status ? described_to_json(unknown ? &nothing : &stack->described, stack->service, status) : NULL;
        fine = json_add(object, "ports", ports) && fine && status;
        fine = fine && described_add_times_left(object, status_remaining(status), status_late_in(status)) &&
               json_add(object, "backends", json_new_texts(status->backends)) &&
               json_add(object, "holds", json_new_texts(stack->holds)) &&
               json_add(object, "enabled", json_object_new_boolean(!stack->disabled)) &&
               json_add_number(object, "idleTimeoutMs", stack->service->idle_timeout_usec / USEC_PER_MSEC) &&
               json_add(object, "lastGood", json_object_new_boolean(stack->service->remembered));
        if (fine && unknown)
                fine = json_add_null(object, "state");
        return json_built(object, fine);
}

json_object *stacks_to_json(const Stacks *stacks) {
        json_object *list = json_object_new_array();
        bool fine = list;

        for (size_t i = 0; fine && i < stacks->n_stacks; i++)
                fine = json_append(list, stack_to_json(&stacks->stacks[i]));
        return json_built(list, fine);
}
