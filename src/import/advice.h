#pragma once

/* Advice: what a person has to think of before a project is put to sleep. */

#include "import/project.h"

/* Adds to the notes of a project about which all is decided. -ENOMEM. */
int import_advise(ImportProject *project);
