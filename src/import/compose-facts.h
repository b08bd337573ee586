#pragma once

/* Compose facts: what a project's files say, as compose prints them, over what the engine has said of the same containers. */

#include "compose/compose-file.h"
#include "import/project.h"

/* Asks compose in `folder`, with `files` (`-f`) if there are any. -EINVAL: it did not tell, and `reterr_why`, which the caller frees, says why; else
 * `ret_project` is the project's name, the caller's. Before import_world_group(). */
int import_ask_compose(ImportWorld *world, const char *folder, char *const *files, char **ret_project,
                       char **reterr_why);

/* The same of a text. -EBADMSG. */
int import_read_compose(ImportWorld *world, const char *folder, ComposeFormat format, const char *text,
                        size_t size, const char *project, char separator, char **ret_project);
