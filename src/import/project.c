#include <ctype.h>
#include <stdarg.h>

#include "import/project.h"
#include "model/service.h"
#include "util/text.h"

/* Project: containers come one by one, in no order; grouped, a project is a stretch of the sorted list. */

#define ENTRIES_MAX ((size_t) 1024)
#define NOTES_MAX 200

static void container_done(ImportContainer *container) {
        char *texts[] = { container->name,   container->id,    container->project, container->service,
                          container->folder, container->files, container->image,   container->restart,
                          container->mode,   container->owner };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                free(texts[i]);
        for (size_t i = 0; i < container->n_edges; i++)
                free(container->edges[i].service);
        strv_free(container->networks);
        strv_free(container->aliases);
        strv_free(container->environment);
        strv_free(container->foreign);
        free(container->edges);
        free(container->ports);
        free(container->exposed);
        free(container->waits);
}

void import_world_done(ImportWorld *world) {
        for (size_t i = 0; i < world->n_containers; i++)
                container_done(&world->containers[i]);
        for (size_t i = 0; i < world->n_projects; i++) {
                free(world->projects[i].order);
                free(world->projects[i].ports);
                free(world->projects[i].datagrams);
                strv_free(world->projects[i].foreign);
                strv_free(world->projects[i].notes);
        }
        free(world->containers);
        free(world->projects);
        *world = (ImportWorld){};
}

/* Room for one more, cleared. */
static void *array_grow(void *array, size_t *n, size_t size) {
        char **elements = array, *larger;

        larger = reallocarray(*elements, *n + 1, size);
        if (!larger)
                return NULL;
        *elements = larger;
        memset(larger + *n * size, 0, size);
        return larger + (*n)++ * size;
}

ImportContainer *import_world_add(ImportWorld *world) {
        return array_grow(&world->containers, &world->n_containers, sizeof(ImportContainer));
}

void import_world_drop(ImportWorld *world) {
        container_done(&world->containers[--world->n_containers]);
}

static int compare_containers(const void *x, const void *y) {
        const ImportContainer *a = x, *b = y;
        int r = strcmp(strempty(a->project), strempty(b->project));

        if (r == 0)
                r = strcmp(strempty(a->service), strempty(b->service));
        if (r == 0)
                r = (a->number > b->number) - (a->number < b->number);
        return r != 0 ? r : strcmp(a->name, b->name);
}

int import_world_group(ImportWorld *world) {
        if (world->n_containers > 0)
                qsort(world->containers, world->n_containers, sizeof(*world->containers), compare_containers);
        for (size_t i = 0; i < world->n_containers; i++) {
                ImportContainer *container = &world->containers[i];
                ImportProject *last = world->n_projects > 0 ? &world->projects[world->n_projects - 1] : NULL;

                if (!container->project)
                        continue;
                if (!last || !streq(last->name, container->project)) {
                        last = array_grow(&world->projects, &world->n_projects, sizeof(ImportProject));
                        if (!last)
                                return -ENOMEM;
                        last->name = container->project;
                        last->containers = container;
                }
                last->n_containers++;
        }
        return 0;
}

ImportProject *import_world_find(const ImportWorld *world, const char *project) {
        for (size_t i = 0; i < world->n_projects; i++)
                if (streq(world->projects[i].name, project))
                        return &world->projects[i];
        return NULL;
}

ImportContainer *import_world_container(const ImportWorld *world, const char *name) {
        for (size_t i = 0; i < world->n_containers; i++)
                if (streq(world->containers[i].name, name) || streq(strempty(world->containers[i].id), name))
                        return &world->containers[i];
        return NULL;
}

int import_add_edge(ImportContainer *container, const char *service, ImportCondition condition) {
        ImportEdge *edge;

        if (container->n_edges == ENTRIES_MAX)
                return 0;
        edge = array_grow(&container->edges, &container->n_edges, sizeof(ImportEdge));
        if (!edge)
                return -ENOMEM;
        edge->condition = condition;
        edge->service = strdup(service);
        return edge->service ? 0 : -ENOMEM;
}

int import_add_port(ImportContainer *container, ImportPort port) {
        ImportPort *added;

        for (size_t i = 0; i < container->n_ports; i++)
                if (container->ports[i].host == port.host && container->ports[i].udp == port.udp)
                        return 0;
        if (container->n_ports == ENTRIES_MAX)
                return 0;
        added = array_grow(&container->ports, &container->n_ports, sizeof(ImportPort));
        if (added)
                *added = port;
        return added ? 0 : -ENOMEM;
}

int import_add_exposed(ImportContainer *container, uint16_t port) {
        uint16_t *added;

        for (size_t i = 0; i < container->n_exposed; i++)
                if (container->exposed[i] == port)
                        return 0;
        if (container->n_exposed == ENTRIES_MAX)
                return 0;
        added = array_grow(&container->exposed, &container->n_exposed, sizeof(uint16_t));
        if (added)
                *added = port;
        return added ? 0 : -ENOMEM;
}

/* A variable of this name has a host as its value, even if that looks like any word. */
static bool names_host(const char *variable, size_t n) {
        static const char *const words[] = { "HOST", "SERVER", "ADDR", "URL", "URI", "ENDPOINT", "BROKER", "DSN" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (size_t k = 0; k + strlen(words[i]) <= n; k++)
                        if (strncasecmp(variable + k, words[i], strlen(words[i])) == 0)
                                return true;
        return false;
}

/* "redis", "redis:6379", "postgres://user:word@db:5432/name?x": the host; secrets around it are not kept. */
int import_add_variable(ImportContainer *container, const char *text) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
        const char *equals = strchr(text, '='), *value = equals ? equals + 1 : "", *scheme = strstr(value, "://"),
                   *at;
        size_t n_name = equals ? (size_t) (equals - text) : 0, n;
        _cleanup_free_ char *kept = NULL;
        bool port;

        if (n_name == 0 || n_name > 128 || strspn(text, allowed) != n_name ||
            strv_length(container->environment) >= ENTRIES_MAX)
                return 0;
        if (scheme) {
                value = scheme + 3;
                n = strcspn(value, "/?#");
                at = memrchr(value, '@', n);
                value = at ? at + 1 : value;
        }
        n = strspn(value, allowed);
        port = value[n] == ':' && isdigit((unsigned char) value[n + 1]);
        if (n == 0 || n > 255 || !isalpha((unsigned char) value[0]) ||
            !(scheme || port || (value[n] == '\0' && names_host(text, n_name))))
                return 0;
        kept = text_printf("%.*s=%.*s", (int) n_name, text, (int) n, value);
        return kept ? strv_append(&container->environment, kept) : -ENOMEM;
}

int import_note(ImportProject *project, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        if (strv_length(project->notes) >= NOTES_MAX)
                return 0;
        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        return text ? strv_append(&project->notes, text) : -ENOMEM;
}

/* The engine's default one has no names. */
bool import_shares_network(const ImportContainer *a, const ImportContainer *b) {
        for (char *const *network = a->networks; network && *network; network++)
                if (!streq(*network, "bridge") && strv_contains(b->networks, *network))
                        return true;
        return false;
}
