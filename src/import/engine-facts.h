#pragma once

/* Engine facts: what the engine's inspect says of a container, as the import reads it. */

#include "import/project.h"

/* One answer of the engine. 0, also for one that is left out, such as one of "docker compose run". -EBADMSG, -ENOMEM. */
int import_read_inspect(ImportWorld *world, const char *body, size_t size);
