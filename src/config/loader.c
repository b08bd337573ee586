#include <dirent.h>
#include <fcntl.h>

#include "config/checks.h"
#include "config/kinds.h"
#include "config/loader.h"
#include "config/members.h"
#include "util/fd.h"
#include "util/safe-file.h"
#include "util/text.h"

/* Loader: files become documents, their members make services of a draft, each is checked by itself, and in the end all of them
 * together.
 *
 * One main file is looked for; the fragments beside it are read in the order of their names, and a fragment that cannot be used
 * costs nobody but itself, as a mistake in a service costs that alone: one typing error leaves the others reachable. Paths that
 * are shown or kept are those of the system that is configured, without the root that it may lie below. */

static const char *const search_path[] = {
        CONFIG_PATH,
        "/run/wakechain/dependencies.json",
        "/usr/lib/wakechain/dependencies.json",
        "/opt/docker-autostart/dependencies.json",
};

/* One document */

static int read_service(Draft *draft, const JsonPath *path, const char *name, json_object *value) {
        int r;

        if (draft->n_services == CONFIG_SERVICES_MAX) {
                if (!draft->overfull)
                        draft_refuse(draft, NULL, path, NULL, "is one too many: expected at most %d services",
                                     CONFIG_SERVICES_MAX);
                draft->overfull = true;
                return 0;
        }

        r = draft_add(draft, name);
        if (r < 0)
                return r;
        draft->current->broken = json_object_object_get_ex(draft->doubled, name, NULL);
        if (!service_name_is_valid(name))
                json_walk_refuse(&draft->walk, path, value,
                                 "expected the name of a service: 1 to %d letters, digits, '_', '.' and '-'",
                                 SERVICE_NAME_MAX);
        if (json_object_is_type(value, json_type_object)) {
                r = service_read(draft, path, value);
                if (r >= 0)
                        r = service_check(draft, path, value);
        } else
                json_walk_refuse(&draft->walk, path, value, "expected an object with 'name'");
        draft->current = NULL;
        return r;
}

static int parse_services(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        const char *own = walk->own;
        int r = 0;

        walk->own = NULL;
        json_object_object_foreach(value, name, service) {
                JsonPath service_path = json_path_member(path, name);

                r = read_service(member, &service_path, name, service);
                if (r < 0)
                        break;
        }
        walk->own = own;
        return r;
}

static int parse_defaults(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        Draft *draft = member;

        json_object_put(draft->defaults);
        draft->defaults = json_object_get(value);
        return service_check_defaults(draft, path, value);
}

JSON_KIND_OF_NAMES(kind_engine, "\"docker\", \"podman\" or \"swarm\"", { "docker", ENGINE_DOCKER },
                   { "podman", ENGINE_PODMAN }, { "swarm", ENGINE_SWARM });

static const JsonField api_fields[] = {
        { "hosts", &kind_hosts, offsetof(Draft, config.api_hosts),
          .help = "Names that requests to wakechain-web may be made to, besides addresses and localhost." },
        { "sleepOverTcp", &kind_boolean, offsetof(Draft, config.api_sleep_over_tcp),
          .help = "Whoever reaches wakechain-web by TCP may put stacks to sleep." },
        {},
};

static int parse_api(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                     void *member) {
        return json_table_walk(walk, api_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static int parse_addresses(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                           void *member) {
        AddressPrefix prefix;

        if (address_prefix_parse(&prefix, strempty(json_get_text(value, 0))) < 0 ||
            !virtual_addresses_fit(&prefix))
                return -EINVAL;
        *(AddressPrefix *) member = prefix;
        return 0;
}

static const JsonKind kind_addresses = { JSON_TYPE(string), parse_addresses,
                                         "a network of IPv4 of 8 to 30 bits, such as \"198.18.0.0/15\"",
                                         .pattern = "^[0-9.]+/([89]|[12][0-9]|30)$" };

static const JsonField names_fields[] = {
        { "addresses", &kind_addresses, offsetof(Draft, config.names_addresses),
          .help = "The network of virtual addresses, which nobody else uses; otherwise 198.18.0.0/15." },
        {},
};

static int parse_names(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                       void *member) {
        return json_table_walk(walk, names_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static const JsonKind kind_names = { JSON_TYPE(object), parse_names, "an object with 'addresses'",
                                     .fields = names_fields };
static const JsonKind kind_api = { JSON_TYPE(object), parse_api, "an object with 'sleepOverTcp' or 'hosts'",
                                   .fields = api_fields };
static const JsonKind kind_defaults = { JSON_TYPE(object), parse_defaults, "an object with members of services",
                                        .element = &kind_members };
static const JsonKind kind_services = { JSON_TYPE(object), parse_services,
                                        "an object with services by their names",
                                        .pattern = "^(?!\\.{1,2}$)[A-Za-z0-9_.-]{1,64}$",
                                        .element = &kind_members };

/* In this order: the defaults come before what they hold for. */
const JsonField config_fields[] = {
        { "api", &kind_api, 0, JSON_OWN, .help = "About wakechain-web." },
        { "defaults", &kind_defaults, 0, JSON_OWN,
          .help = "Members of services that hold where a service does not say otherwise." },
        { "engine", &kind_engine, offsetof(Draft, config.engine), JSON_OWN | JSON_MARKED_UNLESS, ENGINE_DOCKER,
          .help = "Which engine runs the containers. Only docker has an effect yet." },
        { "engineSocket", &kind_socket, offsetof(Draft, config.engine_socket), JSON_OWN,
          .help = "Path of the engine's socket, otherwise /run/docker.sock." },
        { "names", &kind_names, 0, JSON_OWN, .help = "About wakechain-names." },
        { "services", &kind_services, 0,
          .help = "The services by their names, each one stack that sleeps and is woken." },
        {},
};

/* What should hold the services is something else, or may have another name, as there is a member that nobody knows. */
static bool services_are_lost(json_object *object) {
        json_object *services;

        if (json_object_object_get_ex(object, "services", &services))
                return !json_object_is_type(services, json_type_object);
        json_object_object_foreach(object, name, value) {
                bool known = json_name_is_private(name);

                (void) value;
                for (const JsonField *field = config_fields; field->name && !known; field++)
                        known = streq(field->name, name);
                if (!known)
                        return true;
        }
        return false;
}

int loader_read(Draft *draft, const Document *document, bool is_main) {
        int r;

        draft->walk.terse = problem_list_is_full(draft->problems);
        draft->doubled = document->doubled;
        draft->walk.own = is_main ? NULL : "belongs in the main file, dependencies.json";
        r = json_table_walk(&draft->walk, config_fields, &(JsonSource){ .object = document->object }, draft);
        draft->doubled = NULL;
        return r < 0 ? r : services_are_lost(document->object);
}

int loader_read_services(Draft *draft, json_object *services, json_object *defaults) {
        json_object *others = draft->defaults;
        int r;

        draft->defaults = defaults;
        r = parse_services(&draft->walk, &path_services, NULL, services, draft);
        draft->defaults = others;
        return r;
}

/* The files */

static int add_text(Draft *draft, DocumentList *documents, const char *file, const char *text, size_t size) {
        const Document *document;
        int r;

        r = document_list_parse(documents, file, text, size, draft->problems);
        if (r < 0)
                return r;
        document = &documents->documents[documents->n_documents - 1];
        draft->file = document->file;
        r = loader_read(draft, document, documents->n_documents == 1);
        return r > 0 ? strv_append(&documents->lost, file) : r;
}

/* Whoever writes these files decides what root does, and health commands. What is looked for has to be root's word; a file
 * that somebody names is only looked at. A problem of `file` is reported with -EBADMSG. */
static int read_file(ProblemList *problems, const char *root, const char *path, bool is_given, char **ret,
                     size_t *ret_size) {
        _cleanup_free_ char *below = NULL, *why = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!is_given) {
                r = safe_file_read(root, path, FILE_OF_ROOT, CONFIG_SIZE_MAX, ret, ret_size, &why);
                if (!why)
                        return r;
                problem_list_add_file(problems, PROBLEM_ERROR, path, "%s", why);
                return -EBADMSG;
        }
        below = text_printf("%s%s", root, path);
        if (!below)
                return -ENOMEM;
        fd = open(below, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd_read_all(fd, CONFIG_SIZE_MAX, ret, ret_size);
}

static int add_fragment(Draft *draft, DocumentList *documents, const char *root, const char *path, bool is_given) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r;

        r = read_file(draft->problems, root, path, is_given, &text, &size);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                if (r != -EBADMSG)
                        problem_list_add_file(draft->problems, PROBLEM_ERROR, path, "cannot be read: %s",
                                              strerror(-r));
                return strv_append(&documents->lost, path);
        }
        r = add_text(draft, documents, path, text, size);
        return r == -EBADMSG ? 0 : r;
}

static int is_fragment(const struct dirent *entry) {
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && streq(entry->d_name + n - 5, ".json");
}

static int compare_entries(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_fragments(Draft *draft, DocumentList *documents, const char *root, const char *main_path,
                         bool is_given) {
        const char *slash = strrchr(main_path, '/');
        _cleanup_free_ char *folder = NULL, *below = NULL, *why = NULL;
        struct dirent **entries;
        int n, r = 0;

        folder = text_printf("%.*sdependencies.d", slash ? (int) (slash - main_path) + 1 : 0, main_path);
        if (!folder)
                return -ENOMEM;
        below = text_printf("%s%s", root, folder);
        if (!below)
                return -ENOMEM;
        /* Before it is looked through: who knows how much somebody has put there. */
        if (!is_given)
                (void) safe_file_check(root, folder, FILE_OF_ROOT, &why);
        n = why ? -1 : scandir(below, &entries, is_fragment, compare_entries);
        if (n < 0) {
                if (!why && (errno == ENOENT || errno == ENOTDIR))
                        return 0;
                problem_list_add_file(draft->problems, PROBLEM_ERROR, folder, "%s", why ?: strerror(errno));
                return strv_append(&documents->lost, folder);
        }

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (r >= 0) {
                        path = text_printf("%s/%s", folder, entries[i]->d_name);
                        r = path ? add_fragment(draft, documents, root, path, is_given) : -ENOMEM;
                }
                free(entries[i]);
        }
        free(entries);
        return r;
}

int loader_read_files(Draft *draft, DocumentList *documents, const char *root, const char **path) {
        _cleanup_free_ char *text = NULL;
        bool is_given = *path;
        size_t size = 0;
        int r = -ENOENT;

        if (is_given)
                r = read_file(draft->problems, root, *path, is_given, &text, &size);
        for (size_t i = 0; !*path && i < ELEMENTSOF(search_path); i++) {
                r = read_file(draft->problems, root, search_path[i], is_given, &text, &size);
                if (r == -ENOENT || r == -ENOTDIR)
                        r = -ENOENT;
                else
                        *path = search_path[i];
        }
        if (r == -EFBIG) {
                problem_list_add_file(draft->problems, PROBLEM_ERROR, *path, "is larger than %d MiB",
                                      CONFIG_SIZE_MAX >> 20);
                return -EBADMSG;
        }
        if (r >= 0)
                r = add_text(draft, documents, *path, text, size);
        if (r >= 0)
                r = add_fragments(draft, documents, root, *path, is_given);
        return r;
}

int loader_finish(Draft *draft, const char *path, Config **ret) {
        int r;

        draft_sort(draft);
        r = services_check(draft);
        return r < 0 ? r : draft_take_config(draft, path, ret);
}

int config_load(Config **ret, const char *root, const char *path, ProblemList *problems) {
        _cleanup_(document_list_done) DocumentList documents = {};
        _cleanup_(draft_done) Draft draft;
        int r;

        assert(ret);
        assert(root);
        assert(problems);

        *problems = (ProblemList){};
        draft_init(&draft, problems);
        r = loader_read_files(&draft, &documents, root, &path);
        if (r >= 0)
                r = loader_finish(&draft, path, ret);
        if (path)
                problem_list_finish(problems, path);
        return r;
}

int config_parse(Config **ret, const char *file, const char *text, size_t size, ProblemList *problems) {
        _cleanup_(document_list_done) DocumentList documents = {};
        _cleanup_(draft_done) Draft draft;
        int r;

        assert(ret);
        assert(file);
        assert(problems);

        *problems = (ProblemList){};
        draft_init(&draft, problems);
        r = add_text(&draft, &documents, file, text, size);
        if (r >= 0)
                r = loader_finish(&draft, file, ret);
        problem_list_finish(problems, file);
        return r;
}
