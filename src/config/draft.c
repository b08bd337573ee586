#include <stdarg.h>

#include "config/draft.h"
#include "util/text.h"

/* Draft. Whatever was said in the main file for all is not checked again with each service: it is reported once, and its wrong
 * members are done without (but for guards: see JSON_GUARD). */

_printf_(6, 0) static void draft_report(Draft *draft, ProblemLevel level, DraftService *service,
                                        const JsonPath *path, const char *value, const char *format,
                                        va_list arguments) {
        _cleanup_free_ char *text = NULL;

        if (service && level == PROBLEM_ERROR)
                service->broken = true;
        if (!draft->walk.terse)
                text = text_vprintf(format, arguments);
        problem_list_add(draft->problems, level, service ? service->file : draft->file,
                         service ? service->service.name : NULL, path, value, text);
        draft->walk.terse = problem_list_is_full(draft->problems);
}

void draft_refuse(Draft *draft, DraftService *service, const JsonPath *path, const char *value, const char *format,
                  ...) {
        va_list arguments;

        va_start(arguments, format);
        draft_report(draft, PROBLEM_ERROR, service, path, value, format, arguments);
        va_end(arguments);
}

void draft_warn(Draft *draft, DraftService *service, const JsonPath *path, const char *value, const char *format,
                ...) {
        va_list arguments;

        if (draft->walk.muted)
                return;
        va_start(arguments, format);
        draft_report(draft, PROBLEM_WARNING, service, path, value, format, arguments);
        va_end(arguments);
}

static void draft_on_problem(JsonWalk *walk, const JsonPath *path, bool missing, json_object *value,
                             const char *text) {
        Draft *draft = (Draft *) walk;
        _cleanup_free_ char *shown = NULL;

        if (!missing && !walk->terse)
                shown = json_value_to_string(value);
        draft_refuse(draft, draft->current, path, shown, "%s", text ?: "wrong");
}

static int draft_on_marked(JsonWalk *walk, const JsonPath *path) {
        Draft *draft = (Draft *) walk;
        _cleanup_free_ char *text = json_path_to_string(path);

        if (!text)
                return -ENOMEM;
        return strv_append(draft->current ? &draft->current->service.unsupported : &draft->unsupported, text);
}

void draft_init(Draft *draft, ProblemList *problems) {
        *draft = (Draft){
                .walk = { .problem = draft_on_problem, .marked = draft_on_marked },
                .problems = problems,
        };
}

void draft_done(Draft *draft) {
        for (size_t i = 0; i < draft->n_services; i++)
                service_done(&draft->services[i].service);
        free(draft->services);
        strv_free(draft->unsupported);
        free(draft->config.engine_socket);
        strv_free(draft->config.api_hosts);
        json_object_put(draft->defaults);
}

int draft_add(Draft *draft, const char *name) {
        DraftService *service;

        if (draft->n_services == draft->n_allocated) {
                size_t larger = MAX(2 * draft->n_allocated, (size_t) 16);
                DraftService *moved = reallocarray(draft->services, larger, sizeof(DraftService));

                if (!moved)
                        return -ENOMEM;
                draft->services = moved;
                draft->n_allocated = larger;
        }

        service = &draft->services[draft->n_services];
        *service = (DraftService){
                .service.name = strdup(name),
                .file = draft->file,
                .source = draft->source,
                .service.order = draft->n_services,
        };
        if (!service->service.name)
                return -ENOMEM;
        draft->n_services++;
        draft->current = service;
        return 0;
}

static int compare_services(const void *x, const void *y) {
        const DraftService *a = x, *b = y;
        int r = strcmp(a->service.name, b->service.name);

        return r != 0 ? r : (a->service.order > b->service.order) - (a->service.order < b->service.order);
}

void draft_sort(Draft *draft) {
        if (draft->n_services > 1)
                qsort(draft->services, draft->n_services, sizeof(DraftService), compare_services);
}

static int compare_to_service(const void *name, const void *service) {
        return strcmp(name, ((const DraftService *) service)->service.name);
}

DraftService *draft_find(Draft *draft, const char *name) {
        if (draft->n_services == 0)
                return NULL;
        return bsearch(name, draft->services, draft->n_services, sizeof(DraftService), compare_to_service);
}

int draft_take_config(Draft *draft, const char *path, Config **ret) {
        static const char *const sockets[] = {
                [ENGINE_DOCKER] = "/run/docker.sock",
                [ENGINE_PODMAN] = "/run/podman/podman.sock",
                [ENGINE_SWARM] = "/run/docker.sock",
        };
        _cleanup_(config_freep) Config *config = new0(Config, 1);
        int r = 0;

        if (!config)
                return -ENOMEM;
        *config = draft->config;
        draft->config = (Config){};
        if (!config->engine_socket)
                config->engine_socket = strdup(sockets[config->engine]);
        config->path = strdup(path);
        config->services = new0(Service, draft->n_services + 1);
        if (!config->engine_socket || !config->path || !config->services)
                return -ENOMEM;

        for (size_t i = 0; i < draft->n_services; i++) {
                DraftService *from = &draft->services[i];
                Service *service;

                if (from->broken)
                        continue;
                service = &config->services[config->n_services++];
                *service = from->service;
                from->service = (Service){};
                service->remembered = from->source != NULL;
                service->file = strdup(from->source ?: from->file);
                if (!service->file)
                        return -ENOMEM;
                for (char **marked = draft->unsupported; r >= 0 && marked && *marked; marked++)
                        r = strv_append(&service->unsupported, *marked);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(config);
        return 0;
}
