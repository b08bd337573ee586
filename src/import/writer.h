#pragma once

/* Writer: what was decided about a project, as dependencies.json has it. */

#include <json-c/json.h>
#include "import/project.h"

/* Its service; the caller puts it. NULL: out of memory. */
json_object *import_service_json(const ImportWorld *world, const ImportProject *project);
/* {"services": {…}}, of which `service` is taken. NULL: out of memory. */
json_object *import_file_json(const char *name, json_object *service);
/* As people read it, with a newline at its end. NULL: out of memory. */
char *import_text(json_object *object);
