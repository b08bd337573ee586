#pragma once

/* Loader: from files to a config. */

#include "config/document.h"
#include "config/draft.h"

#define CONFIG_PATH "/etc/wakechain/dependencies.json" /* the first that is looked for */

extern const JsonField config_fields[]; /* of a main file */

/* Reads the main file, which is `path` or, if that is NULL, looked for, and all beside it: into documents, and these into the
 * draft. -EBADMSG if the main one cannot be used at all; problems are reported. */
int loader_read_files(Draft *draft, DocumentList *documents, const char *root, const char **path);
/* One document into the draft. 1 if it has services that cannot be told. */
int loader_read(Draft *draft, const Document *document, bool is_main);
/* Only services, and with other defaults than those of the main file. */
int loader_read_services(Draft *draft, json_object *services, json_object *defaults);
/* Checks services against one another, and hands over the sound ones. */
int loader_finish(Draft *draft, const char *path, Config **ret);
