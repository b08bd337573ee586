#include "config/config.h"
#include "import/advice.h"
#include "import/decide.h"
#include "import/import.h"
#include "import/writer.h"
#include "util/json-members.h"
#include "util/text.h"

#define FILE_NAME "dependencies.json"

/* The first error. */
static int check(const char *text, char **reterr_why) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        r = config_parse(&config, FILE_NAME, text, strlen(text), &problems);
        for (size_t i = 0; i < problems.n_problems; i++)
                if (problems.problems[i].level == PROBLEM_ERROR) {
                        *reterr_why = problem_to_string(&problems.problems[i]);
                        return *reterr_why ? -EINVAL : -ENOMEM;
                }
        return r == -ENOMEM ? r : 0;
}

int import_project(const ImportWorld *world, ImportProject *project, json_object **ret, char **reterr_why) {
        _cleanup_(json_freep) json_object *service = NULL, *file = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = import_decide(world, project);
        if (r == -E2BIG) {
                *reterr_why = text_printf("it has %zu containers, and a service has at most %d",
                                          project->n_containers, CONFIG_DEPENDENCIES_MAX);
                return *reterr_why ? -EINVAL : -ENOMEM;
        }
        if (r >= 0)
                r = import_advise(project);
        if (r < 0)
                return r;
        service = import_service_json(world, project);
        file = service ? import_file_json(project->name, json_object_get(service)) : NULL;
        text = file ? import_text(file) : NULL;
        r = text ? check(text, reterr_why) : -ENOMEM;
        if (r >= 0)
                *ret = TAKE_PTR(service);
        return r;
}
