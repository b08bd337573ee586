#pragma once

/* Decide: from what is known of a project to what its service is: the way in, who waits for whom, what has to be ready. */

#include "import/project.h"

/* -E2BIG: more containers than a service may have. -ENOMEM. */
int import_decide(const ImportWorld *world, ImportProject *project);
