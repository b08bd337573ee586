#include <stdio.h>

#include "probe/probe.h"
#include "util/log.h"
#include "wake/further.h"

/* Further: a probe for each port, which asks until it is answered, or until a wake would have been given up: nobody waits for it but the port's own
 * clients. */

#define ASK_INTERVAL (2 * USEC_PER_SEC)

typedef struct Port {
        Further *further;
        const PortBackend *backend; /* borrowed */
        Probe *probe;
        Dependency reach; /* stands for the container while it is asked */
        char text[sizeof("65535")];
        char *run; /* of its container, as asked: its id and when it was started. NULL: none */
        bool accepts;
} Port;

struct Further {
        sd_event *event; /* borrowed, as the next three */
        Stack *stack;
        const char *root;
        const Environment *environment;
        FurtherHandler handler;
        void *userdata;

        PortBackend *backends;
        Port *ports; /* one for each */
        size_t n;
};

static void port_forget(Port *port) {
        port->probe = probe_free(port->probe);
        port->run = mfree(port->run);
        port->accepts = false;
}

static void further_clear(Further *further) {
        for (size_t i = 0; i < further->n; i++)
                port_forget(&further->ports[i]);
        free(further->ports);
        port_backends_free(further->backends, further->n);
        further->ports = NULL;
        further->backends = NULL;
        further->n = 0;
}

int further_new(Further **ret, sd_event *event, Stack *stack, const char *root, const Environment *environment,
                FurtherHandler handler, void *userdata) {
        Further *further = malloc(sizeof(*further));

        if (!further)
                return -ENOMEM;
        *further = (Further){
                .event = event,
                .stack = stack,
                .root = root,
                .environment = environment,
                .handler = handler,
                .userdata = userdata,
        };
        *ret = further;
        return 0;
}

Further *further_free(Further *further) {
        if (!further)
                return NULL;

        further_clear(further);
        return mfree(further);
}

int further_resolve(Further *further) {
        _cleanup_(redirect_bindings_done) RedirectBindings bindings = {};
        const Service *service = further->stack->service;
        int r;

        further_clear(further);
        if (!service->ports_given) {
                r = redirect_bindings_load(&bindings, further->root, service->name);
                if (r < 0)
                        return r;
        }
        r = port_backends_find(&further->backends, &further->n, service, stack_infos(further->stack), &bindings);
        if (r < 0)
                return r;
        further->ports = new0(Port, further->n + 1);
        if (!further->ports) {
                port_backends_free(TAKE_PTR(further->backends), further->n);
                further->n = 0;
                return -ENOMEM;
        }
        for (size_t i = 0; i < further->n; i++)
                further->ports[i] = (Port){ .further = further, .backend = &further->backends[i] };
        return 0;
}

/* NULL: it has none, or that does not run. */
static const ContainerInfo *port_container(const Port *port) {
        const Stack *stack = port->further->stack;
        const size_t member = port->backend->backend.member;

        if (member == BACKEND_NO_MEMBER || stack->members[member]->phase <= MEMBER_STARTING ||
            stack->members[member]->phase > MEMBER_READY || !stack_infos(stack)[member] ||
            !stack_infos(stack)[member]->running)
                return NULL;
        return stack_infos(stack)[member];
}

static void port_on_answer(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Port *port = ASSERT_PTR(userdata);
        Further *further = port->further;

        port->probe = probe_free(port->probe);
        /* After so long, its clients are to have the container's own answer, whatever that is. */
        port->accepts = true;
        log_debug("Port %u of %s: %s", port->backend->port, further->stack->service->name, detail);
        further->handler(further, further->userdata);
}

static void port_ask(Port *port, const ContainerInfo *info) {
        const Backend *backend = &port->backend->backend;
        Further *further = port->further;
        const Stack *stack = further->stack;
        int r;

        (void) snprintf(port->text, sizeof(port->text), "%u", backend->port);
        port->reach = (Dependency){
                .name = backend->address ?: stack->service->dependencies[backend->member].name,
                .network = backend->address ? NULL : stack->service->dependencies[backend->member].network,
                .health = { .tcp = backend->address ?: port->text,
                            .interval_usec = ASK_INTERVAL,
                            .budget_usec = stack->service->global_timeout_usec },
        };
        r = probe_new(&port->probe, further->event, stack->engine, &port->reach, info, port->reach.network, 0,
                      further->environment, port_on_answer, port);
        port->accepts = r < 0;
        if (r < 0)
                log_debug_errno(r, "Failed to ask port %u of %s: %m", port->backend->port, stack->service->name);
}

/* One without a container of its own is asked as long as any of the stack's runs. */
static const ContainerInfo *port_reached(const Port *port) {
        const Stack *stack = port->further->stack;

        if (port->backend->backend.member != BACKEND_NO_MEMBER)
                return port_container(port);
        for (size_t i = 0; i < stack->service->n_dependencies; i++)
                if (stack_infos(stack)[i] && stack_infos(stack)[i]->running)
                        return stack_infos(stack)[i];
        return NULL;
}

/* Whether it is another one than before. */
static bool port_follow(Port *port, const ContainerInfo *info) {
        _cleanup_free_ char *run = NULL;
        bool accepted = port->accepts;

        if (info && asprintf(&run, "%s %s", info->id, strempty(info->started_at)) < 0)
                run = NULL;
        if (port->run && run && streq(port->run, run))
                return false;
        port_forget(port);
        port->run = TAKE_PTR(run);
        return accepted;
}

void further_look(Further *further, bool believe) {
        bool changed = false;

        for (size_t i = 0; i < further->n; i++) {
                Port *port = &further->ports[i];
                const ContainerInfo *info = port_reached(port);

                changed |= port_follow(port, info);
                if (!port->run || port->accepts || port->probe)
                        continue;
                /* Whether somebody takes datagrams is found out by the front, which holds those that are refused. */
                if (believe || port->backend->backend.udp)
                        port->accepts = true;
                else
                        port_ask(port, info);
                changed |= port->accepts;
        }
        if (changed)
                further->handler(further, further->userdata);
}

static void further_add(const Further *further, Inner *inner, bool published) {
        const Stack *stack = further->stack;

        for (size_t i = 0; i < further->n; i++) {
                const Backend *backend = &further->backends[i].backend;
                const size_t member = published ? backend->publisher : backend->member;
                const ContainerInfo *info = member == BACKEND_NO_MEMBER ? NULL : stack_infos(stack)[member];

                if (backend->udp && !published)
                        continue;
                if (inner_add(inner, info, published ? backend->publisher_port : backend->port, backend->udp,
                              published ? further->backends[i].port : 0,
                              !further->ports[i].accepts || !port_backend_is_direct(&further->backends[i],
                                                                                    stack_infos(stack))) < 0)
                        log_debug("Failed to watch a port, for want of memory.");
        }
}

void further_add_published(const Further *further, Inner *inner) {
        further_add(further, inner, /* published= */ true);
}

void further_add_forwarded(const Further *further, Inner *inner) {
        further_add(further, inner, /* published= */ false);
}

bool further_is_on_its_way(const Further *further, uint64_t silence_usec) {
        for (size_t i = 0; i < further->n; i++)
                if (!further->backends[i].backend.udp &&
                    inner_is_on_its_way(further->backends[i].port, silence_usec))
                        return true;
        return false;
}

int further_describe(const Further *further, Status *status) {
        if (further->n == 0)
                return 0;
        status->ports = new0(PortStatus, further->n);
        if (!status->ports)
                return -ENOMEM;
        for (size_t i = 0; i < further->n; i++) {
                const PortBackend *backend = &further->backends[i];
                PortStatus *port = &status->ports[status->n_ports++];
                int r;

                *port = (PortStatus){ .port = backend->port,
                                      .udp = backend->backend.udp,
                                      .accepts = further->ports[i].accepts };
                port->address = backend->address ? strdup(backend->address) : NULL;
                if (backend->address && !port->address)
                        return -ENOMEM;
                r = backend_addresses(&backend->backend, further->stack->service, stack_infos(further->stack),
                                      &port->backends);
                if (r < 0)
                        return r;
        }
        return 0;
}
