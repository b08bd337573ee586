#include <stdarg.h>

#include "config/problem.h"
#include "util/text.h"

/* Problem list. A hostile file has a million mistakes: the first two hundred are kept in words, the others as a
 * number. */

static void problem_done(Problem *problem) {
        free(problem->file);
        free(problem->service);
        free(problem->path);
        free(problem->value);
        free(problem->text);
}

void problem_list_done(ProblemList *list) {
        for (size_t i = 0; i < list->n_problems; i++)
                problem_done(&list->problems[i]);
        free(list->problems);
        *list = (ProblemList){};
}

bool problem_list_is_full(const ProblemList *list) {
        return list->n_problems >= PROBLEMS_MAX;
}

static char *copy(const char *text, bool *failed) {
        char *copied = text ? strdup(text) : NULL;

        *failed = *failed || (text && !copied);
        return copied;
}

static int append(ProblemList *list, Problem problem) {
        /* One more than is kept has room, for the line that ends a full list. */
        if (!list->problems) {
                list->problems = new0(Problem, PROBLEMS_MAX + 1);
                if (!list->problems)
                        return -ENOMEM;
        }
        list->problems[list->n_problems++] = problem;
        return 0;
}

void problem_list_add(ProblemList *list, ProblemLevel level, const char *file, const char *service,
                      const JsonPath *path, const char *value, const char *text) {
        bool failed = false;
        Problem problem;

        assert(list);
        assert(file);

        if (level == PROBLEM_ERROR)
                list->n_errors++;
        else
                list->n_warnings++;
        if (problem_list_is_full(list)) {
                list->n_more++;
                return;
        }

        problem = (Problem){
                .level = level,
                .file = copy(file, &failed),
                .service = copy(service, &failed),
                .path = json_path_to_string(path),
                .value = copy(value, &failed),
                .text = copy(text ? text : "wrong", &failed),
        };
        if (failed || !problem.path || append(list, problem) < 0) {
                problem_done(&problem);
                list->n_more++;
        }
}

void problem_list_add_file(ProblemList *list, ProblemLevel level, const char *file, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        problem_list_add(list, level, file, NULL, NULL, NULL, text);
}

void problem_list_take_errors(ProblemList *list, ProblemList *from) {
        size_t n_left = from->n_errors; /* that are not kept there either */

        list->n_errors += from->n_errors;
        for (size_t i = 0; i < from->n_problems; i++) {
                Problem *problem = &from->problems[i];

                if (problem->level != PROBLEM_ERROR)
                        continue;
                n_left--;
                if (problem_list_is_full(list) || append(list, *problem) < 0)
                        list->n_more++;
                else
                        *problem = (Problem){};
        }
        list->n_more += n_left;
        problem_list_done(from);
}

void problem_list_mark_cycle(ProblemList *list) {
        if (list->n_problems > 0 && !problem_list_is_full(list))
                list->problems[list->n_problems - 1].cycle = true;
}

void problem_list_finish(ProblemList *list, const char *file) {
        bool failed = false;
        Problem problem = { .level = list->n_errors > 0 ? PROBLEM_ERROR : PROBLEM_WARNING };

        if (list->n_more == 0)
                return;
        problem.file = copy(file, &failed);
        problem.path = copy("", &failed);
        problem.text = text_printf("… and %zu more", list->n_more);
        if (failed || !problem.text || append(list, problem) < 0)
                problem_done(&problem);
}

char *problem_to_string(const Problem *problem) {
        bool has_path = !isempty(problem->path);

        return text_printf("%s: %s%s%s%s%s%s", problem->file, strempty(problem->path), has_path ? ": " : "",
                           strempty(problem->value), problem->value ? ": " : "",
                           problem->level == PROBLEM_WARNING ? "warning: " : "", problem->text);
}
