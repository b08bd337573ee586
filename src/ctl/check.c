#include <stdio.h>

#include "config/problem.h"
#include "ctl/check-engine.h"
#include "ctl/ctl.h"
#include "ctl/unit.h"
#include "util/json-members.h"
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

static void print_json(const Config *config, const ProblemList *problems, const char *file) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        json_object *services = json_object_new_array(), *list = json_object_new_array(),
                    *unsupported = json_object_new_array();
        bool fine = json_add_text(object, "file", config ? config->path : file);

        fine = json_add(object, "services", services) && fine;
        fine = json_add_number(object, "errors", problems->n_errors) &&
               json_add_number(object, "warnings", problems->n_warnings) && fine;
        fine = json_add(object, "problems", list) && fine;
        fine = json_add(object, "unsupported", unsupported) && fine;

        for (size_t i = 0; fine && config && i < config->n_services; i++) {
                fine = json_append(services, json_object_new_string(config->services[i].name));
                for (char **path = config->services[i].unsupported; fine && path && *path; path++)
                        fine = json_append(unsupported, json_object_new_string(*path));
        }
        for (size_t i = 0; fine && i < problems->n_problems; i++) {
                const Problem *problem = &problems->problems[i];
                json_object *entry = json_object_new_object();

                fine = json_append(list, entry) &&
                       json_add_text(entry, "level", problem->level == PROBLEM_ERROR ? "error" : "warning") &&
                       json_add_text(entry, "file", problem->file) &&
                       json_add_text(entry, "service", problem->service) &&
                       json_add_text(entry, "path", problem->path) &&
                       json_add_text(entry, "value", problem->value) &&
                       json_add_text(entry, "text", problem->text);
        }
        puts(fine ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                           JSON_C_TO_STRING_NOSLASHESCAPE)
                  : "(out of memory)");
}

int verb_check(const CtlOptions *options, int argc, char **argv) {
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

        if (options->unit && config)
                return check_unit(config, options->unit);
        /* A list that is full has told of so much that must be mended first. */
        if (options->engine && config && !problem_list_is_full(&problems)) {
                if (check_engine(config, &problems) < 0)
                        return CTL_FAILED;
                problem_list_finish(&problems, config->path);
        }
        if (options->json)
                print_json(config, &problems, file);
        else
                print_text(config, &problems, file);
        return r < 0 || problems.n_errors > 0 ? CTL_FAILED : CTL_FINE;
}
