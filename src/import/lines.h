#pragma once

/* Lines: where in compose's files a service stands. Found by its indentation, without reading the whole as YAML: it is for people, who see at once if
 * it is not there. */

#include "import/project.h"

/* Of a file's text; 0: not found. */
unsigned import_line_of(const char *text, const char *service);
/* "FILE:LINE" of the container's service, the caller's. NULL: not known. */
char *import_place_of(const ImportContainer *container);
