#pragma once

/* UnitTree: the unit files that wakechain-generator(8) has made below a folder, and in what two such folders differ. */

#include "util/macro.h"
#include "util/strv.h"

typedef struct UnitTreeFile {
        char *service; /* that it is of; "": all of them share it */
        char *path; /* below the folder */
        char *text; /* of a link: where it leads to */
} UnitTreeFile;

typedef struct UnitTree {
        UnitTreeFile *files; /* sorted by service and path */
        size_t n_files;
} UnitTree;

void unit_tree_done(UnitTree *tree);
/* Other generators may have written there, too: what is theirs is left out. A folder that does not exist is an empty one. */
int unit_tree_read(UnitTree *ret, const char *folder);

/* Whether any file of it is there. */
bool unit_tree_has_unit(const UnitTree *tree, const char *unit);

typedef enum UnitChangeKind {
        UNIT_CHANGE_ADDED,
        UNIT_CHANGE_CHANGED,
        UNIT_CHANGE_REMOVED,
        _UNIT_CHANGE_KIND_MAX,
} UnitChangeKind;

typedef struct UnitChange {
        const char *service; /* as above; the trees' */
        UnitChangeKind kind;
        char **units; /* whose files differ, each once */
        size_t n_before, n_now; /* files */
} UnitChange;

const char *unit_change_kind_to_string(UnitChangeKind kind);
void unit_changes_free(UnitChange *changes, size_t n);
/* Of each service that something differs of, sorted by their names. -ENOMEM. */
int unit_tree_compare(UnitChange **ret, size_t *ret_n, const UnitTree *before, const UnitTree *now);
