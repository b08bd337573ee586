#pragma once

/* Merge: what is new into what a person has, who keeps every word. */

#include <json-c/json.h>
#include "util/macro.h"

/* Adds to `theirs` what it lacks of `ours`, both services. Of a dependency that is there nothing is touched. -ENOMEM. */
int import_merge(json_object *theirs, json_object *ours);
/* The names of containers that `theirs` has and `ours` lacks, the caller's. -ENOMEM. */
int import_missing(json_object *theirs, json_object *ours, char ***ret);
/* The lines that differ, with some around them, as diff(1) -u has them. NULL: out of memory. */
char *import_difference(const char *before, const char *after);
