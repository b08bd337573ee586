#include <json-c/json.h>
#include <stdio.h>

#include "config/config.h"
#include "ctl/ctl.h"
#include "util/log.h"

/* wakectl check: what is wrong with a configuration, all of it, and what of it does nothing yet. Problems are
 * the program's output here, so they go to standard output; standard error is for a file that cannot be looked
 * at. */

static void print_text(const Config *config, const ProblemList *problems, const char *file) {
        for (size_t i = 0; i < problems->n_problems; i++) {
                _cleanup_free_ char *line = problem_to_string(&problems->problems[i]);

                puts(line ? line : "(out of memory)");
        }
        for (size_t i = 0; config && i < config->n_services; i++)
                for (char **path = config->services[i].unsupported; path && *path; path++)
                        printf("%s: %s: not yet supported, has no effect\n", config->services[i].name, *path);

        printf("%s: %zu %s", config ? config->path : file, config ? config->n_services : 0,
               config && config->n_services == 1 ? "service" : "services");
        if (problems->n_errors == 0 && problems->n_warnings == 0)
                puts(", no errors");
        else
                printf(", %zu %s, %zu %s\n", problems->n_errors, problems->n_errors == 1 ? "error" : "errors",
                       problems->n_warnings, problems->n_warnings == 1 ? "warning" : "warnings");
}

static json_object *text_or_null(const char *text) {
        return text ? json_object_new_string(text) : NULL;
}

static json_object *problem_to_json(const Problem *problem) {
        json_object *object = json_object_new_object();

        (void) json_object_object_add(object, "level",
                                      json_object_new_string(problem->level == PROBLEM_ERROR ? "error"
                                                                                             : "warning"));
        (void) json_object_object_add(object, "file", text_or_null(problem->file));
        (void) json_object_object_add(object, "service", text_or_null(problem->service));
        (void) json_object_object_add(object, "path", text_or_null(problem->path));
        (void) json_object_object_add(object, "value", text_or_null(problem->value));
        (void) json_object_object_add(object, "text", text_or_null(problem->text));
        return object;
}

static void print_json(const Config *config, const ProblemList *problems, const char *file) {
        json_object *object = json_object_new_object(), *services = json_object_new_array();
        json_object *list = json_object_new_array(), *unsupported = json_object_new_array();

        for (size_t i = 0; config && i < config->n_services; i++) {
                (void) json_object_array_add(services, json_object_new_string(config->services[i].name));
                for (char **path = config->services[i].unsupported; path && *path; path++)
                        (void) json_object_array_add(unsupported, json_object_new_string(*path));
        }
        for (size_t i = 0; i < problems->n_problems; i++)
                (void) json_object_array_add(list, problem_to_json(&problems->problems[i]));

        (void) json_object_object_add(object, "file", text_or_null(config ? config->path : file));
        (void) json_object_object_add(object, "services", services);
        (void) json_object_object_add(object, "errors", json_object_new_uint64(problems->n_errors));
        (void) json_object_object_add(object, "warnings", json_object_new_uint64(problems->n_warnings));
        (void) json_object_object_add(object, "problems", list);
        (void) json_object_object_add(object, "unsupported", unsupported);
        puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                    JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(object);
}

int verb_check(int argc, char **argv) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        const char *path = argc > 0 ? argv[0] : NULL, *file;
        int r;

        r = config_load(&config, /* root= */ "", path, &problems);
        if (r == -ENOENT && !path) {
                log_error("No configuration found, looked for /etc/wakechain/dependencies.json and others.");
                return CTL_FAILED;
        }
        file = path ? path : problems.n_problems > 0 ? problems.problems[0].file : "dependencies.json";
        if (r < 0 && r != -EBADMSG) {
                (void) log_error_errno(r, "Failed to read '%s': %m", file);
                return CTL_FAILED;
        }

        if (arg_unit && config)
                return check_unit(config, arg_unit);
        if (arg_json)
                print_json(config, &problems, file);
        else
                print_text(config, &problems, file);
        return r < 0 || problems.n_errors > 0 ? CTL_FAILED : CTL_FINE;
}
