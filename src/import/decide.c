#include "config/config.h"
#include "import/decide.h"
#include "import/images.h"

/* Decide, in this order:
 *
 *     waits      edges of compose, whose network a container has, and then what variables name, as far as it closes no cycle
 *     ways in    published ports, also those of an owner of another project; else names that a proxy can ask for
 *     required   what has a way in, and all that that waits for
 *     order      what is waited for comes first
 */

typedef struct Decision {
        const ImportWorld *world;
        ImportProject *project;
        size_t n;
        bool *reach; /* n × n: waits for it, or for what waits for it */
        bool runs; /* something of it */
} Decision;

static ImportContainer *member(const Decision *decision, size_t i) {
        return &decision->project->containers[i];
}

static bool *reach(const Decision *decision, size_t i) {
        return &decision->reach[i * decision->n];
}

static size_t index_of(const Decision *decision, const ImportContainer *container) {
        size_t i = (size_t) (container - decision->project->containers);

        return container >= decision->project->containers && i < decision->n ? i : SIZE_MAX;
}

/* Waits */

static void add_wait(Decision *decision, size_t i, size_t to) {
        bool known = reach(decision, i)[to];

        if (i == to)
                return;
        member(decision, i)->waits[to] = true;
        for (size_t k = 0; k < decision->n && !known; k++) {
                bool *row = reach(decision, k);

                if (k != i && !row[i])
                        continue;
                row[to] = true;
                for (size_t j = 0; j < decision->n; j++)
                        row[j] |= reach(decision, to)[j];
        }
}

static int add_edge(Decision *decision, size_t i, const ImportEdge *edge) {
        bool found = false;

        for (size_t k = 0; k < decision->n; k++) {
                ImportContainer *to = member(decision, k);

                if (!streq(to->service, edge->service))
                        continue;
                found = true;
                add_wait(decision, i, k);
                to->wanted = MAX(to->wanted, edge->condition);
                to->awaited = true;
        }
        return found ? 0
                     : import_note(decision->project,
                                   "'%s' waits for '%s', of which there is no container: left out",
                                   member(decision, i)->name, edge->service);
}

/* Of a container of another project that has its network, and serves at this port. */
static bool is_elsewhere(const Decision *decision, const ImportContainer *owner, const ImportPort *port) {
        for (size_t k = 0; k < decision->world->n_containers; k++) {
                const ImportContainer *other = &decision->world->containers[k];

                if (!other->owner || !other->project || index_of(decision, other) != SIZE_MAX ||
                    import_world_container(decision->world, other->owner) != owner)
                        continue;
                for (size_t j = 0; j < other->n_exposed; j++)
                        if (other->exposed[j] == port->inner && !port->udp)
                                return true;
        }
        return false;
}

static int find_elsewhere(Decision *decision) {
        int r = 0;

        for (size_t i = 0; i < decision->n && r >= 0; i++)
                for (size_t k = 0; k < member(decision, i)->n_ports && r >= 0; k++) {
                        ImportPort *port = &member(decision, i)->ports[k];

                        port->elsewhere = is_elsewhere(decision, member(decision, i), port);
                        if (port->elsewhere)
                                r = import_note(decision->project,
                                                "port %u of '%s' is that of a container of another project that has its network",
                                                port->host, member(decision, i)->name);
                }
        return r;
}

/* An owner of another project is woken with it by itself; what it publishes for it is this one's. */
static int add_owner(Decision *decision, size_t i) {
        ImportContainer *container = member(decision, i);
        const ImportContainer *owner = import_world_container(decision->world, container->owner);
        int r = 0;

        if (!owner)
                return import_note(
                                decision->project,
                                "'%s' has the network of a container that does not exist any more: 'docker compose up "
                                "--no-start --force-recreate %s' in its project makes it anew",
                                container->name, container->service);
        if (index_of(decision, owner) != SIZE_MAX) {
                add_wait(decision, i, index_of(decision, owner));
                return 0;
        }
        for (size_t k = 0; k < owner->n_ports && r >= 0; k++)
                for (size_t j = 0; j < container->n_exposed && r >= 0; j++)
                        if (owner->ports[k].inner == container->exposed[j] && !owner->ports[k].udp)
                                r = import_add_port(container,
                                                    (ImportPort){ owner->ports[k].host, owner->ports[k].inner });
        return r < 0 ? r
                     : import_note(decision->project,
                                   "'%s' has the network of '%s' of another project, which is woken with it",
                                   container->name, owner->name);
}

static bool is_called(const ImportContainer *container, const char *host) {
        return streq(container->name, host) || strv_contains(container->aliases, host) ||
               (container->service && streq(container->service, host));
}

/* Of other projects only servers of data: a page that names all stacks of a machine is not to wake them. */
static int guess_foreign(Decision *decision, size_t i, const char *host, const char *variable, size_t n_variable) {
        ImportContainer *container = member(decision, i);

        for (size_t k = 0; k < decision->world->n_containers; k++) {
                const ImportContainer *other = &decision->world->containers[k];
                const KnownImage *known = image_find(other->image);
                int r;

                if (index_of(decision, other) != SIZE_MAX || !known || known->kind != IMAGE_SERVER ||
                    !is_called(other, host) || !import_shares_network(container, other) ||
                    strv_contains(container->foreign, other->name))
                        continue;
                r = strv_append(&container->foreign, other->name);
                if (r >= 0 && !strv_contains(decision->project->foreign, other->name))
                        r = strv_append(&decision->project->foreign, other->name);
                return r < 0 ? r
                             : import_note(decision->project,
                                           "a guess: '%s' waits for '%s' of another project, which its variable %.*s names",
                                           container->name, other->name, (int) n_variable, variable);
        }
        return 0;
}

static int guess(Decision *decision, size_t i, const char *variable) {
        const char *host = strchr(variable, '=') + 1;
        int n_variable = (int) (host - 1 - variable), r = 0;
        bool found = false;

        for (size_t k = 0; k < decision->n && r >= 0; k++) {
                if (!is_called(member(decision, k), host))
                        continue;
                found = true;
                if (k == i || reach(decision, i)[k] || reach(decision, k)[i])
                        continue;
                add_wait(decision, i, k);
                member(decision, k)->awaited = true;
                r = import_note(decision->project, "a guess: '%s' waits for '%s', which its variable %.*s names",
                                member(decision, i)->name, member(decision, k)->name, n_variable, variable);
        }
        return r < 0 || found ? r : guess_foreign(decision, i, host, variable, (size_t) n_variable);
}

static int find_waits(Decision *decision) {
        int r = 0;

        for (size_t i = 0; i < decision->n && r >= 0; i++)
                for (size_t k = 0; k < member(decision, i)->n_edges && r >= 0; k++)
                        r = add_edge(decision, i, &member(decision, i)->edges[k]);
        for (size_t i = 0; i < decision->n && r >= 0; i++)
                if (member(decision, i)->owner)
                        r = add_owner(decision, i);
        for (size_t i = 0; i < decision->n && r >= 0; i++)
                for (char *const *variable = member(decision, i)->environment; variable && *variable && r >= 0;
                     variable++)
                        r = guess(decision, i, *variable);
        return r;
}

/* Ways in */

enum {
        RANK_HTTP,
        RANK_WEB,
        RANK_OTHER,
        RANK_TLS,
        RANK_DATA,
};

/* The lower, the more like a port that people want. */
static int port_rank(uint16_t inner) {
        static const struct {
                uint16_t port;
                int rank;
        } ports[] = {
                { 22, RANK_DATA },   { 25, RANK_DATA },    { 80, RANK_HTTP },  { 443, RANK_TLS },
                { 3000, RANK_WEB },  { 3306, RANK_DATA },  { 5000, RANK_WEB }, { 5432, RANK_DATA },
                { 6379, RANK_DATA }, { 8000, RANK_WEB },   { 8080, RANK_WEB }, { 8443, RANK_TLS },
                { 9443, RANK_TLS },  { 27017, RANK_DATA },
        };

        for (size_t i = 0; i < ELEMENTSOF(ports); i++)
                if (ports[i].port == inner)
                        return ports[i].rank;
        return RANK_OTHER;
}

static const ImportPort *best_port(const ImportContainer *container) {
        const ImportPort *best = NULL;

        for (size_t i = 0; i < container->n_ports; i++) {
                const ImportPort *port = &container->ports[i];

                if (port->udp || port->elsewhere)
                        continue;
                if (!best || port_rank(port->inner) < port_rank(best->inner) ||
                    (port_rank(port->inner) == port_rank(best->inner) && port->host < best->host))
                        best = port;
        }
        return best;
}

/* Whoever looks at a project that is stopped as a whole cannot tell what has ended from what was ended; and who publishes a port is no
 * one-shot. */
static void find_one_shots(Decision *decision) {
        for (size_t i = 0; i < decision->n; i++)
                decision->runs |= (member(decision, i)->traits & TRAIT_RUNS) != 0;
        for (size_t i = 0; i < decision->n; i++) {
                ImportContainer *container = member(decision, i);

                container->known = image_find(container->image);
                container->one_shot =
                                container->wanted == IMPORT_COMPLETED ||
                                (decision->runs && (container->traits & TRAIT_DONE) != 0 && !best_port(container));
        }
}

static uint16_t best_exposed(const ImportContainer *container) {
        uint16_t best = 0;

        for (size_t i = 0; i < container->n_exposed; i++) {
                uint16_t port = container->exposed[i];

                if (best == 0 || port_rank(port) < port_rank(best) ||
                    (port_rank(port) == port_rank(best) && port < best))
                        best = port;
        }
        return best;
}

static size_t count_reach(const Decision *decision, size_t i) {
        size_t count = 0;

        for (size_t k = 0; k < decision->n; k++)
                count += reach(decision, i)[k];
        return count;
}

static bool is_awaited(const Decision *decision, size_t i) {
        for (size_t k = 0; k < decision->n; k++)
                if (member(decision, k)->waits[i])
                        return true;
        return false;
}

static bool is_data(const ImportContainer *container) {
        return container->known && container->known->kind == IMAGE_SERVER;
}

/* Of two that could be it: is the first the better way in? `a_rank` and `b_rank` are of their ports. */
static bool is_better(const Decision *decision, size_t a, size_t b, int a_rank, int b_rank) {
        const int differences[] = {
                member(decision, a)->one_shot - member(decision, b)->one_shot,
                is_data(member(decision, a)) - is_data(member(decision, b)),
                a_rank - b_rank,
                (int) count_reach(decision, b) - (int) count_reach(decision, a),
                is_awaited(decision, a) - is_awaited(decision, b),
        };

        for (size_t i = 0; i < ELEMENTSOF(differences); i++)
                if (differences[i] != 0)
                        return differences[i] < 0;
        return a < b;
}

static bool find_published(Decision *decision) {
        ImportProject *project = decision->project;
        const ImportPort *best = NULL;

        for (size_t i = 0; i < decision->n; i++) {
                const ImportPort *port = best_port(member(decision, i));

                if (!port || (best && !is_better(decision, i, project->main, port_rank(port->inner),
                                                 port_rank(best->inner))))
                        continue;
                best = port;
                project->main = i;
        }
        project->port = best ? best->host : 0;
        return best;
}

static bool is_proxy(const ImportContainer *container) {
        const KnownImage *known = image_find(container->image);

        if (!known || (known->kind != IMAGE_PROXY && known->kind != IMAGE_TUNNEL))
                return false;
        for (size_t i = 0; i < container->n_ports; i++)
                if (container->ports[i].host == 80 || container->ports[i].host == 443)
                        return true;
        return known->kind == IMAGE_TUNNEL;
}

static const ImportContainer *find_proxy(const Decision *decision, size_t i) {
        for (size_t k = 0; k < decision->world->n_containers; k++) {
                const ImportContainer *other = &decision->world->containers[k];

                if (index_of(decision, other) == SIZE_MAX && is_proxy(other) &&
                    import_shares_network(other, member(decision, i)))
                        return other;
        }
        return NULL;
}

static int find_named(Decision *decision) {
        ImportProject *project = decision->project;
        const ImportContainer *proxy, *mute = NULL;

        for (size_t i = 0; i < decision->n; i++) {
                uint16_t port = best_exposed(member(decision, i));

                proxy = find_proxy(decision, i);
                if (proxy && port == 0)
                        mute = member(decision, i);
                if (!proxy || port == 0 || is_data(member(decision, i)) ||
                    (project->named && !is_better(decision, i, project->main, port_rank(port),
                                                  port_rank(best_exposed(member(decision, project->main))))))
                        continue;
                project->named = true;
                project->main = i;
        }
        if (!project->named)
                return mute ? import_note(project,
                                          "'%s' is on a network with a proxy, but its image exposes no port: say with 'names' and "
                                          "'backend' that it is reached by its name, and at which port",
                                          mute->name)
                            : 0;
        if (member(decision, project->main)->n_exposed > 1)
                project->backend = best_exposed(member(decision, project->main));
        proxy = find_proxy(decision, project->main);
        return import_note(project,
                           "a guess: '%s' is reached by its name, by the proxy '%s' on one of its networks",
                           member(decision, project->main)->name, proxy->name);
}

static bool has_datagrams(const ImportContainer *container) {
        for (size_t i = 0; i < container->n_ports; i++)
                if (container->ports[i].udp && !container->ports[i].elsewhere)
                        return true;
        return false;
}

/* Nobody comes, or only datagrams do: to whom they go, or else what stands above all others. */
static void find_top(Decision *decision) {
        ImportProject *project = decision->project;

        for (size_t i = 1; i < decision->n; i++)
                if (is_better(decision, i, project->main, !has_datagrams(member(decision, i)),
                              !has_datagrams(member(decision, project->main))))
                        project->main = i;
}

static int compare_ports(const void *a, const void *b) {
        return (int) *(const uint16_t *) a - (int) *(const uint16_t *) b;
}

/* Those of one protocol, each once. */
static int collect(const Decision *decision, bool udp, uint16_t **ret, size_t *ret_n) {
        size_t count = 0, n = 0, unique = 0;
        uint16_t *ports;

        for (size_t i = 0; i < decision->n; i++)
                count += member(decision, i)->n_ports;
        *ret = ports = new0(uint16_t, count + 1);
        if (!ports)
                return -ENOMEM;
        for (size_t i = 0; i < decision->n; i++)
                for (size_t k = 0; k < member(decision, i)->n_ports; k++) {
                        const ImportPort *port = &member(decision, i)->ports[k];

                        if (port->udp == udp && !port->elsewhere && (udp || port->host != decision->project->port))
                                ports[n++] = port->host;
                }
        qsort(ports, n, sizeof(*ports), compare_ports);
        for (size_t i = 0; i < n; i++)
                if (unique == 0 || ports[unique - 1] != ports[i])
                        ports[unique++] = ports[i];
        *ret_n = unique;
        return 0;
}

static int collect_ports(Decision *decision) {
        ImportProject *project = decision->project;
        int r;

        r = collect(decision, /* udp= */ false, &project->ports, &project->n_ports);
        if (r >= 0)
                r = collect(decision, /* udp= */ true, &project->datagrams, &project->n_datagrams);
        /* All of TCP that are published count where none is named. */
        if (r < 0 || project->n_ports + project->n_datagrams <= CONFIG_PORTS_MAX)
                return r;
        if (project->n_datagrams > 0)
                r = import_note(project,
                                "it publishes too many ports to name them all, so those of UDP wake nothing");
        project->n_ports = project->n_datagrams = 0;
        return r;
}

/* Required */

static void require(Decision *decision, size_t i) {
        member(decision, i)->required = true;
        for (size_t k = 0; k < decision->n; k++)
                if (reach(decision, i)[k])
                        member(decision, k)->required = true;
}

static void find_required(Decision *decision) {
        require(decision, decision->project->main);
        for (size_t i = 0; i < decision->n; i++)
                if ((best_port(member(decision, i)) || has_datagrams(member(decision, i))) &&
                    !member(decision, i)->one_shot)
                        require(decision, i);
        /* Who serves at a port that its owner publishes. */
        for (size_t i = 0; i < decision->n; i++) {
                const ImportContainer *owner = member(decision, i)->owner
                                                               ? import_world_container(decision->world,
                                                                                        member(decision, i)->owner)
                                                               : NULL;

                if (owner && index_of(decision, owner) != SIZE_MAX && best_port(owner))
                        require(decision, i);
        }
}

/* In the order of the project, whatever of it waits for nothing that is still to come. */
static int find_order(Decision *decision) {
        _cleanup_free_ bool *placed = new0(bool, decision->n + 1);
        size_t n = 0;

        decision->project->order = new0(size_t, decision->n + 1);
        if (!placed || !decision->project->order)
                return -ENOMEM;
        while (n < decision->n) {
                size_t before = n;

                for (size_t i = 0; i < decision->n; i++) {
                        bool free = !placed[i];

                        for (size_t k = 0; k < decision->n && free; k++)
                                free = !member(decision, i)->waits[k] || placed[k];
                        if (!free)
                                continue;
                        placed[i] = true;
                        decision->project->order[n++] = i;
                }
                /* A cycle, which the check of the whole will tell about. */
                for (size_t i = 0; i < decision->n && n == before; i++)
                        if (!placed[i]) {
                                placed[i] = true;
                                decision->project->order[n++] = i;
                        }
        }
        return 0;
}

int import_decide(const ImportWorld *world, ImportProject *project) {
        Decision decision = { .world = world, .project = project, .n = project->n_containers };
        int r = 0;

        if (decision.n > CONFIG_DEPENDENCIES_MAX)
                return -E2BIG;
        decision.reach = new0(bool, decision.n *decision.n);
        for (size_t i = 0; i < decision.n && r >= 0; i++) {
                member(&decision, i)->waits = new0(bool, decision.n);
                r = member(&decision, i)->waits ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = decision.reach ? find_elsewhere(&decision) : -ENOMEM;
        if (r >= 0)
                r = find_waits(&decision);
        if (r >= 0) {
                find_one_shots(&decision);
                if (!find_published(&decision))
                        r = find_named(&decision);
        }
        if (r >= 0 && project->port == 0 && !project->named)
                find_top(&decision);
        if (r >= 0)
                r = collect_ports(&decision);
        if (r >= 0) {
                find_required(&decision);
                r = find_order(&decision);
        }
        free(decision.reach);
        return r;
}
