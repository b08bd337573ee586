#pragma once

/* Settle: makes the table, the sockets, the wakers and the status files agree with what is so. */

#include "redirect/facts.h"

/* Looks, acts, and looks again until nothing is left to be done. Logs. 0 also where nftables cannot be used and nobody needs it.
 * `report` says, too, what is not new and an administrator should know nevertheless: a firewall in the way, containers that nobody stops. */
int settle(const char *root, bool report);
/* Only if units or containers have changed since: for a second look right after the first, in time for whoever came meanwhile. */
int settle_again(const char *root);
/* Prints what settle sees, and what it would do. Returns 1 if there is anything that it would. Logs. */
int settle_check(const char *root);
