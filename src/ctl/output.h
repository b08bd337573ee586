#pragma once

/* Output: what wakectl prints, and where: tables and JSON to standard output, progress to standard error. */

#include <json-c/json.h>
#include "ctl/table.h"

/* What can be shown there: colours and a width on a terminal only, no colours with NO_COLOR or TERM=dumb; UTF-8 as LC_CTYPE says, which has to be
 * set. */
Look look_at(FILE *file);

/* Prints the object, which is taken, or that there is no memory; an exit code. On one line: for streams. */
int output_json(json_object *object);
int output_json_line(json_object *object);
/* Prints what has been collected in a table, or that there is no memory; an exit code. */
int output_table(const Table *table);

/* In the local time zone, as systemctl shows it: "Tue 2026-12-01 04:49:53 UTC". */
#define LOCAL_TIME_MAX 64
const char *local_time_to_string(uint64_t realtime_usec, char buffer[static LOCAL_TIME_MAX]);
