#pragma once

/* Config file: dependencies.json, and dependencies.d/ beside it, to the model, with all of their errors. */

#include "config/problem.h"
#include "model/service.h"

#define CONFIG_SIZE_MAX (16 * 1024 * 1024)
#define CONFIG_SERVICES_MAX 4096
#define CONFIG_DEPENDENCIES_MAX 256 /* of one service */
#define CONFIG_PORTS_MAX 64 /* the same */

/* Loads the first file of the search path, or `path` if it is not NULL, below `root` ("" for the real one), and
 * merges dependencies.d/. Returns 0 with a config of the services that are sound, even if there are problems
 * with others; -ENOENT if there is no file; -EBADMSG if the main file cannot be used at all (then `problems`
 * says why); any other negative errno if it cannot be read. `problems` is filled in all cases and must be
 * released by the caller. */
int config_load(Config **ret, const char *root, const char *path, ProblemList *problems);

/* Keeps the configuration that config_load() finds below `root`, if it has no error at all, as the last good one: all files, as
 * they are, in one of ROOT/var/lib/wakechain, which must exist. 1 if it was written, 0 if that file said the same already;
 * -EBADMSG if there are errors, -ENOENT if there is no configuration. */
int config_remember(const char *root);

/* For the generator, whose sockets must not close over a typing error: as config_load(), but what has errors is taken from the
 * last good configuration: the whole of it if the main file cannot be used or is gone, else the services of a fragment that
 * cannot, and each service that is broken; Config.remembered and Service.remembered tell. What is sound in the files comes first
 * where the two clash. Without a last good configuration, as config_load(). */
int config_load_or_remembered(Config **ret, const char *root, ProblemList *problems);

/* config_load() from memory, one file, for tests and the fuzzer. */
int config_parse(Config **ret, const char *file, const char *text, size_t size, ProblemList *problems);
