#include "redirect/decision.h"
#include "util/log.h"

/* Decision: one function for all that used to be believed. In short:
 *
 *   - what the file does not have has nothing: no socket, no redirect, no status. But what systemd still has units of, since it was not
 *     loaded again, stays as it is: files are edited, and what is saved half-way is not meant;
 *   - a living waker knows its service best: its chain and its status are left to it. But one of a service that had the name before ends;
 *   - without a waker, the engine tells: what runs is awake, by somebody else's doing, and what does not run sleeps. While the
 *     engine does not tell, all stays as it is;
 *   - a service is redirected only to where PID 1 listens;
 *   - a socket that should listen and does not is started again, unless somebody has stopped it;
 *   - a front that listens where its socket does not any more is started again, and gets what there is. */

UnitAction decide_socket(const SocketFacts *socket) {
        const Unit *unit = socket->unit;

        if (!unit || unit->busy || !unit->loaded)
                return UNIT_LEAVE;
        switch (unit->state) {
        case UNIT_ACTIVE:
                return socket->listens ? UNIT_LEAVE : UNIT_RESTART;
        case UNIT_INACTIVE:
                return socket->fresh ? UNIT_START : UNIT_LEAVE;
        case UNIT_FAILED:
                return socket->stale ? UNIT_START : UNIT_LEAVE;
        default:
                return UNIT_LEAVE;
        }
}

/* Nobody stops it in order to have it stopped: that is what the other one is for. A socket cannot be started while its service runs. */
static UnitAction decide_control(const ServiceFacts *service) {
        const Unit *unit = service->control.unit;

        if (service->waker || !unit || unit->busy || !unit->loaded)
                return UNIT_LEAVE;
        return unit->state == UNIT_INACTIVE ? UNIT_START : decide_socket(&service->control);
}

/* What has failed is stopped: to stop it once more would change nothing, and be told each time. */
static UnitAction decide_end(const SocketFacts *socket) {
        const Unit *unit = socket->unit;

        if (!unit || unit->busy || unit->state == UNIT_INACTIVE || unit->state == UNIT_FAILED)
                return UNIT_LEAVE;
        return UNIT_STOP;
}

static bool is_known_awake(const ServiceFacts *service) {
        return service->status && service->status->state == SERVICE_AWAKE;
}

static RedirectAim decide_aim(const ServiceFacts *service) {
        if (!service_is_redirected(service->service) || !service->socket.listens)
                return REDIRECT_GONE;
        if (service->waker || service->reached == REACHED_UNKNOWN) {
                /* It is the waker who moves, and what cannot be told stays. But where the file says another port by now, which nobody
                 * publishes, a lifted redirect leads to nobody. */
                if (service->chain && service->chain->chain)
                        return service->reached == REACHED_RUNNING && is_known_awake(service) && !service->direct
                                               ? REDIRECT_UP
                                               : REDIRECT_KEPT;
                /* A waker that was started while its service had no place in the table does not move what it has there now: clients
                 * come by the front, which it counts. Any other one lifts it when it looks. */
                if (!is_known_awake(service) || (service->waker && service->whole))
                        return REDIRECT_UP;
                return service->direct || (service->reached == REACHED_UNKNOWN && service->bindings.known)
                                       ? REDIRECT_LIFTED
                                       : REDIRECT_UP;
        }
        /* What nobody publishes is reached through the front alone. */
        return service->direct ? REDIRECT_LIFTED : REDIRECT_UP;
}

static StatusAction decide_status(const ServiceFacts *service) {
        const Status *status = service->status;

        if (service->waker)
                return STATUS_LEAVE;
        if (service->reached == REACHED_RUNNING)
                return is_known_awake(service) && status->trigger == TRIGGER_OUTSIDE ? STATUS_LEAVE
                                                                                     : STATUS_SAY_OUTSIDE;
        /* No file means asleep. */
        if (!service->has_status)
                return STATUS_LEAVE;
        if (status && (status->state == SERVICE_ASLEEP || status->state == SERVICE_FAILED))
                return STATUS_LEAVE;
        /* Whoever waited for it has nobody to wait for. */
        if (status && status->state == SERVICE_AWAKE && service->reached == REACHED_UNKNOWN)
                return STATUS_LEAVE;
        return STATUS_SAY_ASLEEP;
}

/* Of one that was not loaded again. Its elements are known from the table alone: they are not given up while its socket starts again. */
static RedirectAim decide_old_aim(const ServiceFacts *service) {
        const Unit *unit = service->socket.unit;

        return service->n_elements > 0 && (service->socket.listens || (unit && unit->busy && !unit->stops))
                               ? REDIRECT_KEPT
                               : REDIRECT_GONE;
}

Decision decide(const ServiceFacts *service) {
        if (!service->service && service->generated)
                return (Decision){ .aim = decide_old_aim(service) };
        if (!service->service)
                return (Decision){
                        .aim = REDIRECT_GONE,
                        .socket = decide_end(&service->socket),
                        .control = decide_end(&service->control),
                        .status = (service->has_status || service->has_bindings) && !service->waker ? STATUS_REMOVE
                                                                                                    : STATUS_LEAVE,
                };
        return (Decision){
                .aim = decide_aim(service),
                .socket = decide_socket(&service->socket),
                .control = decide_control(service),
                .restart_front = service->front_listens_elsewhere && service->socket.listens &&
                                 !service->front->busy,
                .status = decide_status(service),
                .stop_waker = service->waker_is_old,
                /* What is left over beside a container that is not to be stopped goes on serving that one. */
                .start_waker = !service->waker && !service->waker_failed &&
                               (service->reached == REACHED_RUNNING ? service->ours : service->left_over),
        };
}

/* Places */

/* A service asks for an element. */
typedef struct Bid {
        RedirectElement element;
        size_t service;
        size_t order; /* of that in the files */
        bool runs;
        bool further; /* … beside its port */
} Bid;

static int compare_bids(const void *a, const void *b) {
        const Bid *bid_a = a, *bid_b = b;
        int r = redirect_element_compare(&bid_a->element, &bid_b->element);

        if (r == 0)
                r = bid_b->runs - bid_a->runs;
        if (r == 0)
                r = bid_a->further - bid_b->further;
        if (r == 0)
                r = (bid_a->order > bid_b->order) - (bid_a->order < bid_b->order);
        return r != 0 ? r : bid_a->service < bid_b->service ? -1 : bid_a->service > bid_b->service;
}

static int append_bids(Bid **bids, size_t *n, const RedirectElement *wanted, size_t n_wanted, Bid bid) {
        Bid *larger = reallocarray(*bids, *n + n_wanted + 1, sizeof(**bids));

        if (!larger)
                return -ENOMEM;
        *bids = larger;
        for (size_t i = 0; i < n_wanted; i++) {
                bid.element = wanted[i];
                larger[(*n)++] = bid;
        }
        return 0;
}

/* What runs beside a stack that sleeps, since it is to be kept or somebody has started it, is reached by itself. */
static bool is_to_be_led(const ServiceFacts *facts, const FurtherPort *further) {
        return !further->rival && (!further->runs || facts->waker || facts->reached == REACHED_RUNNING);
}

/* `further` NULL: of its own port, and its names. */
static int add_port_bids(Bid **bids, size_t *n, size_t service, const ServiceFacts *facts,
                         const FurtherPort *further) {
        _cleanup_free_ RedirectElement *elements = NULL;
        size_t n_elements;
        int r;

        r = further ? redirect_further_elements_new(&elements, &n_elements, facts->service, further)
                    : redirect_elements_new(&elements, &n_elements, facts->service, facts->service->port,
                                            &facts->bindings);
        if (r < 0)
                return r;
        return append_bids(bids, n, elements, n_elements,
                           (Bid){ .service = service,
                                  .order = facts->service->order,
                                  .runs = facts->direct,
                                  .further = further });
}

static int add_bids(Bid **bids, size_t *n, size_t service, const ServiceFacts *facts) {
        int r = 0;

        if (facts->n_elements > 0)
                return append_bids(bids, n, facts->elements, facts->n_elements,
                                   (Bid){ .service = service,
                                          .order = facts->service ? facts->service->order : SIZE_MAX,
                                          .runs = facts->direct });
        if (facts->service)
                r = add_port_bids(bids, n, service, facts, NULL);
        for (size_t i = 0; facts->service && i < facts->bindings.n_further && r >= 0; i++) {
                const FurtherPort *further = &facts->bindings.further[i];

                if (is_to_be_led(facts, further))
                        r = add_port_bids(bids, n, service, facts, further);
        }
        return r;
}

void places_done(Places *places) {
        free(places->entries);
        free(places->rivals);
        free(places->elements);
        *places = (Places){};
}

int places_find(Places *ret, const ServiceFacts *services, const Decision *decisions, size_t n) {
        _cleanup_(places_done) Places places = { .n = n };
        _cleanup_free_ Bid *bids = NULL;
        size_t n_bids = 0;

        places.entries = new0(RedirectEntry, n + 1);
        places.rivals = new0(const char *, n + 1);
        if (!places.entries || !places.rivals)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r;

                places.entries[i] = (RedirectEntry){
                        .service = services[i].name,
                        .aim = decisions[i].aim,
                        .redirect_port = services[i].redirect_port,
                        .has_names = services[i].service && *services[i].service->virtual_address,
                        .uncounted = services[i].service ? services[i].service->ignore_addresses : NULL,
                };
                if (decisions[i].aim == REDIRECT_GONE)
                        continue;
                places.n_taken++;
                r = add_bids(&bids, &n_bids, i, &services[i]);
                if (r < 0)
                        return r;
        }
        if (n_bids > 0)
                qsort(bids, n_bids, sizeof(*bids), compare_bids);

        places.elements = new0(RedirectElement, n_bids + places.n_taken + 1);
        if (!places.elements)
                return -ENOMEM;
        /* The first bid for each counts; the others' services learn whose it is. */
        for (size_t i = 0, first = 0; i < n_bids; i++)
                if (i == 0 || redirect_element_compare(&bids[first].element, &bids[i].element) != 0) {
                        places.elements[places.n_elements++] = bids[i].element;
                        places.entries[bids[i].service].udp += redirect_udp_sum(&bids[i].element);
                        first = i;
                } else if (services[bids[i].service].bindings.known && !bids[i].further &&
                           bids[i].element.map < REDIRECT_VIRTUAL4 && bids[i].service != bids[first].service)
                        places.rivals[bids[i].service] = services[bids[first].service].name;
        for (size_t i = 0; i < n; i++)
                if (decisions[i].aim != REDIRECT_GONE)
                        places.elements[places.n_elements++] =
                                        redirect_element(REDIRECT_TARGETS, NULL, services[i].redirect_port,
                                                         services[i].name);
        qsort(places.elements, places.n_elements, sizeof(*places.elements), redirect_element_compare);

        *ret = places;
        places = (Places){};
        return 0;
}
