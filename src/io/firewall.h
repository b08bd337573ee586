#pragma once

/* Firewall: what other tables do to redirected connections. While a stack sleeps, its clients pass the input
 * hook with the redirect port, which a firewall that drops there does not know; awake they bypass it, as
 * published ports do. Our table cannot overrule another one; a rule in that one can. It is said, never changed. */

#include "util/macro.h"
#include "util/strv.h"

/* Looks through a ruleset as nft(8) prints it (that form, because rules made by iptables are legible in no
 * other). One sentence for each chain that would drop redirected connections, with the rule to add. A table
 * that accepts `ct status dnat` anywhere is taken to know about them; what chains further down drop is not
 * seen. */
int firewall_find_drops(char ***ret, const char *ruleset);
