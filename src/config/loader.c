#include <stdarg.h>
#include <stdio.h>

#include "config/kinds.h"
#include "config/loader.h"
#include "config/problem.h"
#include "util/json-scan.h"

/* Loader. A file is read in three goes: the scan finds what JSON forbids and members given twice, json-c makes
 * values of it, and the tables make a model of those. The first kind of mistake costs the file, all others the
 * service that has them, so one typing error leaves the other services reachable. Whatever was said in the main
 * file for all is not checked again with each service: it is reported once, and its wrong members are done
 * without (but for guards: see JSON_GUARD). */

const JsonPath path_services = { .name = "services", .length = 8 };

static const char *entry_name(const ServiceEntry *entry) {
        return entry ? entry->service.name : NULL;
}

static void add_problem(Loader *loader, ProblemLevel level, ServiceEntry *entry, const JsonPath *path,
                        const char *value, const char *text) {
        if (entry && level == PROBLEM_ERROR)
                entry->broken = true;
        problem_list_add(loader->problems, level, entry ? entry->file : loader->file, entry_name(entry), path,
                         value, text);
        loader->walk.terse = problem_list_is_full(loader->problems);
}

_printf_(6, 0) static void add_formatted(Loader *loader, ProblemLevel level, ServiceEntry *entry,
                                         const JsonPath *path, const char *value, const char *format,
                                         va_list arguments) {
        _cleanup_free_ char *text = NULL;

        if (!loader->walk.terse && vasprintf(&text, format, arguments) < 0)
                text = NULL;
        add_problem(loader, level, entry, path, value, text);
}

void loader_refuse(Loader *loader, ServiceEntry *entry, const JsonPath *path, const char *value,
                   const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        add_formatted(loader, PROBLEM_ERROR, entry, path, value, format, arguments);
        va_end(arguments);
}

void loader_warn(Loader *loader, ServiceEntry *entry, const JsonPath *path, const char *value, const char *format,
                 ...) {
        va_list arguments;

        if (loader->walk.muted)
                return;
        va_start(arguments, format);
        add_formatted(loader, PROBLEM_WARNING, entry, path, value, format, arguments);
        va_end(arguments);
}

static void loader_on_problem(JsonWalk *walk, const JsonPath *path, bool missing, json_object *value,
                              const char *text) {
        Loader *loader = (Loader *) walk;
        _cleanup_free_ char *shown = NULL;

        if (!missing && !walk->terse)
                shown = json_value_to_string(value);
        add_problem(loader, PROBLEM_ERROR, loader->entry, path, shown, text);
}

static int loader_on_marked(JsonWalk *walk, const JsonPath *path) {
        Loader *loader = (Loader *) walk;
        _cleanup_free_ char *text = NULL;

        text = json_path_to_string(path);
        if (!text)
                return -ENOMEM;
        return strv_append(loader->entry ? &loader->entry->service.unsupported : &loader->unsupported, text);
}

int loader_new(Loader **ret, ProblemList *problems) {
        _cleanup_(loader_freep) Loader *loader = NULL;

        loader = new0(Loader, 1);
        if (!loader)
                return -ENOMEM;
        loader->walk.problem = loader_on_problem;
        loader->walk.marked = loader_on_marked;
        loader->problems = problems;

        *ret = TAKE_PTR(loader);
        return 0;
}

Loader *loader_free(Loader *loader) {
        if (!loader)
                return NULL;

        for (size_t i = 0; i < loader->n_entries; i++)
                service_done(&loader->entries[i].service);
        free(loader->entries);
        strv_free(loader->files);
        strv_free(loader->unsupported);
        free(loader->config.engine_socket);
        strv_free(loader->config.api_hosts);
        json_object_put(loader->defaults);
        json_object_put(loader->doubled);
        for (size_t i = 0; i < loader->n_documents; i++)
                json_object_put(loader->documents[i].object);
        free(loader->documents);
        strv_free(loader->lost);
        return mfree(loader);
}

static const char *loader_source_of(const Loader *loader, const char *name) {
        const char *source = NULL;
        json_object *value;

        if (json_object_object_get_ex(loader->sources, name, &value))
                source = json_get_text(value, 0);
        return source && source[0] == '/' ? source : loader->source;
}

static int loader_add_entry(Loader *loader, const char *name) {
        ServiceEntry *entry;

        if (loader->n_entries == loader->allocated_entries) {
                size_t larger = MAX(2 * loader->allocated_entries, (size_t) 16);
                ServiceEntry *moved = reallocarray(loader->entries, larger, sizeof(ServiceEntry));

                if (!moved)
                        return -ENOMEM;
                loader->entries = moved;
                loader->allocated_entries = larger;
        }

        entry = &loader->entries[loader->n_entries];
        *entry = (ServiceEntry){
                .file = loader->file,
                .source = loader_source_of(loader, name),
                .order = loader->n_entries,
        };
        entry->service.name = strdup(name);
        if (!entry->service.name)
                return -ENOMEM;
        loader->n_entries++;
        loader->entry = entry;
        return 0;
}

static int read_service(Loader *loader, const JsonPath *path, const char *name, json_object *value) {
        int r;

        if (loader->n_entries == CONFIG_SERVICES_MAX) {
                if (!loader->overfull)
                        loader_refuse(loader, NULL, path, NULL, "is one too many: expected at most %d services",
                                      CONFIG_SERVICES_MAX);
                loader->overfull = true;
                return 0;
        }

        r = loader_add_entry(loader, name);
        if (r < 0)
                return r;
        if (json_object_object_get_ex(loader->doubled, name, NULL))
                loader->entry->broken = true;
        if (!service_name_is_valid(name))
                json_walk_refuse(&loader->walk, path, value,
                                 "expected the name of a service: 1 to %d letters, digits, '_', '.' and '-'",
                                 SERVICE_NAME_MAX);
        if (json_object_is_type(value, json_type_object)) {
                r = service_read(loader, path, value);
                if (r >= 0) {
                        service_check(loader, path, value);
                        r = dependencies_check(loader, path, value);
                }
        } else
                json_walk_refuse(&loader->walk, path, value, "expected an object with 'name'");
        loader->entry = NULL;
        return r;
}

static bool loader_passes_over(const Loader *loader, const char *name) {
        return (loader->only && !json_object_object_get_ex(loader->only, name, NULL)) ||
               (loader->except && json_object_object_get_ex(loader->except, name, NULL));
}

static int parse_services(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        const char *own = walk->own;
        Loader *loader = member;
        int r = 0;

        walk->own = NULL;
        json_object_object_foreach(value, name, service) {
                JsonPath service_path = json_path_member(path, name);

                if (loader_passes_over(loader, name))
                        continue;
                r = read_service(loader, &service_path, name, service);
                if (r < 0)
                        break;
        }
        walk->own = own;
        return r;
}

static int parse_defaults(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        Loader *loader = member;

        json_object_put(loader->defaults);
        loader->defaults = json_object_get(value);
        return service_check_defaults(loader, path, value);
}

static const JsonName engine_names[] = {
        { "docker", ENGINE_DOCKER }, { "podman", ENGINE_PODMAN }, { "swarm", ENGINE_SWARM }, {}
};
static const JsonKind kind_engine = {
        JSON_TYPE(string),
        json_parse_name,
        "\"docker\", \"podman\" or \"swarm\"",
        .names = engine_names,
};

static const JsonField api_fields[] = { { "hosts", &kind_hosts, offsetof(Loader, config.api_hosts) },
                                        { "sleepOverTcp", &kind_boolean,
                                          offsetof(Loader, config.api_sleep_over_tcp) },
                                        {} };

static int parse_api(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                     void *member) {
        return json_table_walk(walk, api_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static const JsonKind kind_api = { JSON_TYPE(object), parse_api, "an object with 'sleepOverTcp' or 'hosts'" };
static const JsonKind kind_defaults = { JSON_TYPE(object), parse_defaults, "an object with members of services" };
static const JsonKind kind_services = { JSON_TYPE(object), parse_services,
                                        "an object with services by their names" };

/* In this order: the defaults come before what they hold for. */
static const JsonField top_fields[] = {
        { "api", &kind_api, 0, JSON_OWN },
        { "defaults", &kind_defaults, 0, JSON_OWN },
        { "engine", &kind_engine, offsetof(Loader, config.engine), JSON_OWN | JSON_MARKED_UNLESS, ENGINE_DOCKER },
        { "engineSocket", &kind_socket, offsetof(Loader, config.engine_socket), JSON_OWN },
        { "services", &kind_services, 0 },
        {}
};

/* A member given twice costs the service that it is in. */
static int loader_on_duplicate(const JsonPath *path, unsigned line, unsigned column, void *userdata) {
        const JsonPath *service = NULL, *top = path;
        _cleanup_free_ char *name = NULL;
        Loader *loader = userdata;
        JsonPath shown = *path;

        for (; top->parent; top = top->parent)
                service = top;
        if (service && service->name && top->length == path_services.length &&
            memcmp(top->name, path_services.name, top->length) == 0) {
                name = strndup(service->name, service->length);
                if (!name || json_object_object_add(loader->doubled, name, NULL) < 0)
                        return -ENOMEM;
        }

        if (loader->walk.terse)
                problem_list_add(loader->problems, PROBLEM_ERROR, loader->file, NULL, NULL, NULL, NULL);
        else {
                _cleanup_free_ char *text = NULL;

                if (asprintf(&text, "line %u, column %u: this object has a member of that name already", line,
                             column) < 0)
                        text = NULL;
                problem_list_add(loader->problems, PROBLEM_ERROR, loader->file, name, &shown, NULL, text);
        }
        loader->walk.terse = problem_list_is_full(loader->problems);
        return 0;
}

static int loader_read(Loader *loader, const char *text, size_t size, json_object **ret) {
        JsonMistake mistake;
        int r;

        json_object_put(loader->doubled);
        loader->doubled = json_object_new_object();
        if (!loader->doubled)
                return -ENOMEM;

        /* Editors of other systems leave a byte order mark, which a reader may skip. */
        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
                text += 3;
                size -= 3;
        }
        r = json_read(ret, text, size, loader_on_duplicate, loader, &mistake);
        if (r == -EBADMSG)
                loader_refuse(loader, NULL, NULL, NULL, "line %u, column %u: %s", mistake.line, mistake.column,
                              mistake.text);
        else if (r == -EFBIG) {
                loader_refuse(loader, NULL, NULL, NULL, "is larger than %d MiB", CONFIG_SIZE_MAX >> 20);
                r = -EBADMSG;
        }
        return r;
}

static int loader_keep(Loader *loader, json_object *object) {
        Document *moved;

        if (!loader->keeps)
                return 0;
        moved = reallocarray(loader->documents, loader->n_documents + 1, sizeof(Document));
        if (!moved)
                return -ENOMEM;
        loader->documents = moved;
        loader->documents[loader->n_documents++] = (Document){ loader->file, json_object_get(object) };
        return 0;
}

/* Whether a file has services that cannot be told: what should hold them is something else, or may have another name, as
 * there is a member that nobody knows. */
static bool services_are_lost(json_object *object) {
        json_object *services;

        if (json_object_object_get_ex(object, "services", &services))
                return !json_object_is_type(services, json_type_object);
        json_object_object_foreach(object, name, value) {
                bool known = json_name_is_private(name);

                (void) value;
                for (const JsonField *field = top_fields; field->name && !known; field++)
                        known = streq(field->name, name);
                if (!known)
                        return true;
        }
        return false;
}

static int loader_begin_file(Loader *loader, const char *file) {
        int r;

        assert(loader);
        assert(file);

        r = strv_append(&loader->files, file);
        if (r >= 0)
                loader->file = loader->files[strv_length(loader->files) - 1];
        return r;
}

static int loader_use(Loader *loader, json_object *object, bool is_main) {
        int r;

        if (!json_object_is_type(object, json_type_object)) {
                loader_refuse(loader, NULL, NULL, NULL, "expected an object with 'services'");
                return -EBADMSG;
        }
        r = loader_keep(loader, object);
        if (r >= 0 && services_are_lost(object))
                r = strv_append(&loader->lost, loader->file);
        if (r < 0)
                return r;
        loader->walk.own = is_main ? NULL : "belongs in the main file, dependencies.json";
        return json_table_walk(&loader->walk, top_fields, &(JsonSource){ .object = object }, loader);
}

int loader_add(Loader *loader, const char *file, const char *text, size_t size, bool is_main) {
        json_object *object = NULL;
        int r;

        r = loader_begin_file(loader, file);
        if (r < 0)
                return r;
        r = loader_read(loader, text, size, &object);
        if (r >= 0) {
                r = loader_use(loader, object, is_main);
                json_object_put(object);
        }
        if (r == -EBADMSG && strv_append(&loader->lost, file) < 0)
                r = -ENOMEM;
        return r;
}

int loader_add_document(Loader *loader, const char *file, json_object *object, bool is_main) {
        int r;

        r = loader_begin_file(loader, file);
        return r < 0 ? r : loader_use(loader, object, is_main);
}

int loader_add_services(Loader *loader, const char *file, json_object *services, json_object *defaults) {
        json_object *others = loader->defaults;
        int r;

        r = loader_begin_file(loader, file);
        if (r < 0)
                return r;
        loader->defaults = defaults;
        r = parse_services(&loader->walk, &path_services, NULL, services, loader);
        loader->defaults = others;
        return r;
}

static int compare_entries(const void *x, const void *y) {
        const ServiceEntry *a = x, *b = y;
        int r = strcmp(a->service.name, b->service.name);

        return r != 0 ? r : (a->order > b->order) - (a->order < b->order);
}

static int compare_to_entry(const void *name, const void *entry) {
        return strcmp(name, ((const ServiceEntry *) entry)->service.name);
}

ServiceEntry *loader_find(Loader *loader, const char *name) {
        if (loader->n_entries == 0)
                return NULL;
        return bsearch(name, loader->entries, loader->n_entries, sizeof(ServiceEntry), compare_to_entry);
}

static int loader_complete(Loader *loader, Config *config) {
        static const char *const sockets[] = {
                [ENGINE_DOCKER] = "/run/docker.sock",
                [ENGINE_PODMAN] = "/run/podman/podman.sock",
                [ENGINE_SWARM] = "/run/docker.sock",
        };

        if (!config->engine_socket)
                config->engine_socket = strdup(sockets[config->engine]);
        config->path = strdup(loader->files[0]);
        config->services = new0(Service, loader->n_entries + 1);
        if (!config->engine_socket || !config->path || !config->services)
                return -ENOMEM;

        for (size_t i = 0; i < loader->n_entries; i++) {
                Service *service;

                if (loader->entries[i].broken)
                        continue;
                service = &config->services[config->n_services++];
                *service = loader->entries[i].service;
                loader->entries[i].service = (Service){};
                service->remembered = loader->entries[i].source != NULL;
                service->file = strdup(service->remembered ? loader->entries[i].source : loader->entries[i].file);
                if (!service->file)
                        return -ENOMEM;
                for (char **path = loader->unsupported; path && *path; path++) {
                        int r = strv_append(&service->unsupported, *path);

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int loader_finish(Loader *loader, Config **ret) {
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        assert(loader);
        assert(loader->files);
        assert(ret);

        if (loader->n_entries > 1)
                qsort(loader->entries, loader->n_entries, sizeof(ServiceEntry), compare_entries);
        r = config_check(loader);
        if (r < 0)
                return r;

        config = new0(Config, 1);
        if (!config)
                return -ENOMEM;
        *config = loader->config;
        loader->config = (Config){};
        r = loader_complete(loader, config);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(config);
        return 0;
}
