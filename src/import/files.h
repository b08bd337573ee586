#pragma once

/* Files: the configuration that an import adds to: one fragment for each project, in dependencies.d. */

#include <json-c/json.h>
#include "util/macro.h"

typedef struct ImportFiles ImportFiles;

/* What becomes of a project's fragment. */
typedef struct ImportChange {
        char *path; /* as it is shown */
        char *text; /* NULL: nothing is to be written; "": the file goes */
        char *before; /* what it says, however that is laid out; "": there is none */
        char *difference;
        char **missing; /* containers that the file has, and the project has not */
} ImportChange;

void import_change_done(ImportChange *change);

/* The configuration below `root` as it is now. With `lock` its folder is made, and no other import changes it as long as this lives. On failure
 * `reterr_why`, which the caller frees, is a sentence, unless there is no memory. */
int import_files_open(ImportFiles **ret, const char *root, bool lock, char **reterr_why);
ImportFiles *import_files_free(ImportFiles *files);
DEFINE_CLEANUP(ImportFiles *, import_files_free);

/* With the `service`, which is borrowed and whose way in is `container`. -EEXIST: another file has it, -EINVAL: the whole would not be sound; each with
 * a sentence. From then on it is part of the configuration that others are checked against. */
int import_files_merge(ImportFiles *files, const char *project, json_object *service, ImportChange *ret,
                       char **reterr_why);
/* Without the service, which must be in a fragment of its name. -ENOENT: no file has it; -EEXIST: another file has it; -EINVAL as above. */
int import_files_remove(ImportFiles *files, const char *service, ImportChange *ret, char **reterr_why);
/* Also makes a main file if there is none. -EBUSY: somebody has changed the file meanwhile. The sentence as above. */
int import_files_write(ImportFiles *files, const ImportChange *change, char **reterr_why);
