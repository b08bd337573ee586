#pragma once

/* Import: from what exists to what dependencies.json says of it. Facts come in (engine-facts.h, compose-facts.h), it is decided what they
 * mean (decide.h), and one writer says it (writer.h); here is all of that for one project, checked by the parser of the configuration. */

#include <json-c/json.h>
#include "import/project.h"

/* The service that the project becomes, the caller's, and its notes. -EINVAL: nothing that `wakectl check` would let pass, and
 * `reterr_why`, which the caller frees, says why. -ENOMEM. */
int import_project(const ImportWorld *world, ImportProject *project, json_object **ret, char **reterr_why);
