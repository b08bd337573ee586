#pragma once

/* Problem: one mistake of a config, and the bounded list of them. The types are in config/config.h. */

#include "config/config.h"
#include "util/json-path.h"

#define PROBLEMS_MAX 200

/* No more are kept, only counted: texts and values need not be made. */
bool problem_list_is_full(const ProblemList *list);

/* Adds one; strings are copied, and any of `service`, `path`, `value` and `text` may be NULL. What there is no
 * memory for is counted like what there is no room for. */
void problem_list_add(ProblemList *list, ProblemLevel level, const char *file, const char *service,
                      const JsonPath *path, const char *value, const char *text);

/* The one added last, if it was kept, is a cycle. */
void problem_list_mark_cycle(ProblemList *list);

/* Adds the errors of another list, and leaves that one empty. */
void problem_list_take_errors(ProblemList *list, ProblemList *from);

/* Ends the list with a line that says how many more there were, if there were. */
void problem_list_finish(ProblemList *list, const char *file);
