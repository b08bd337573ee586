#pragma once

/* Problem: one mistake of a config, and the bounded list of them. */

#include "util/json-path.h"
#include "util/macro.h"

#define PROBLEMS_MAX 200

typedef enum ProblemLevel {
        PROBLEM_ERROR, /* costs the service that it names (or, with none, the file) */
        PROBLEM_WARNING,
} ProblemLevel;

typedef struct Problem {
        ProblemLevel level;
        char *file;
        char *service; /* NULL: concerns no single service */
        char *path; /* services.clemence.dependencies[0].healthCheck.interval; "" is the top level */
        char *value; /* as JSON, shortened; NULL: the member is missing */
        char *text; /* what was expected, and the nearest known name */
        bool cycle; /* it is part of things that wait for each other */
} Problem;

typedef struct ProblemList {
        Problem *problems;
        size_t n_problems;
        size_t n_errors, n_warnings; /* also those that are not kept */
        size_t n_more; /* how many are not kept: the last one kept says so */
} ProblemList;

void problem_list_done(ProblemList *list);

/* Adds one; strings are copied, and any of `service`, `path`, `value` and `text` may be NULL. What there is no
 * memory for is counted like what there is no room for. */
void problem_list_add(ProblemList *list, ProblemLevel level, const char *file, const char *service,
                      const JsonPath *path, const char *value, const char *text);
/* The same of a whole file, or a folder. */
void problem_list_add_file(ProblemList *list, ProblemLevel level, const char *file, const char *format, ...)
                _printf_(4, 5);

/* No more are kept, only counted: texts and values need not be made. */
bool problem_list_is_full(const ProblemList *list);

/* The one added last, if it was kept, is a cycle. */
void problem_list_mark_cycle(ProblemList *list);

/* Adds the errors of another list, and leaves that one empty. */
void problem_list_take_errors(ProblemList *list, ProblemList *from);

/* Ends the list with a line that says how many more there were, if there were. */
void problem_list_finish(ProblemList *list, const char *file);

/* One line without a newline: "FILE: PATH: VALUE: TEXT". The caller frees. NULL when out of memory. */
char *problem_to_string(const Problem *problem);
