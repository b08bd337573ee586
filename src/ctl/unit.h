#pragma once

/* Unit: the files of systemd units, as far as a configuration names them. */

#include "model/service.h"

typedef enum UnitFile {
        UNIT_FILE_FOUND, /* or that of its template */
        UNIT_FILE_MASKED,
        UNIT_FILE_MISSING,
} UnitFile;
UnitFile unit_file_find(const char *unit);

/* Does a service of this configuration depend on that unit, and is there a file for it? Prints which services do, and returns an exit code. */
int check_unit(const Config *config, const char *unit);
