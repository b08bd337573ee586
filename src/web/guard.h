#pragma once

/* Guard: what of a request decides whether it may do anything at all, before it is known what it wants. */

#include "util/macro.h"

/* The path of a target in origin-form ("/api/services?x=y"), and what follows the question mark, or NULL. Our paths have no need for
 * escapes, so there are none: -EINVAL for a target that says anything in more than one way. The caller frees the path; the query
 * is part of the target. */
int guard_split_target(const char *target, char **ret_path, const char **ret_query);

/* Is this Host (with or without a port) an address, localhost, or one of `names`? Anything else is a name that somebody may have pointed
 * to us, to have a browser take us for his site. */
bool guard_host_is_ours(const char *host, char *const *names);

/* Is that the origin of the pages that `host` serves, with or without TLS before us? */
bool guard_origin_is_same(const char *origin, const char *host);

/* The one option that there is. -EINVAL for a query that is anything else. */
int guard_parse_dry_run(const char *query, bool *ret);
