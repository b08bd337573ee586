#pragma once

#include "import/files.h"

/* What becomes of a file, on standard error. */
void import_show(const ImportChange *change);
/* Asks, on a terminal; elsewhere the answer is yes. */
bool import_may(const char *question);
