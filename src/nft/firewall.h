#pragma once

/* Firewall: what other tables do to redirected connections. While a stack sleeps, its clients pass the input
 * hook with the redirect port, which a firewall that drops there does not know; awake they bypass it, as
 * published ports do. Our table cannot overrule another one; a rule in that one can. It is said, never changed. */

#include "nft/redirect.h"
#include "util/strv.h"

/* Looks through a ruleset as nft(8) prints it (that form, because rules made by iptables are legible in no
 * other). One sentence for each chain on the input hook that would drop redirected connections, with the rule to add. Rules
 * that hold for some packets only are passed over, but for those that accept `ct status dnat`: who has one knows about such
 * connections. Chains that a rule jumps to are followed. */
int firewall_find_drops(char ***ret, const char *ruleset);

/* The same for the firewall of this machine. NULL and 0: all is well. */
int firewall_check(char ***ret, Redirect *redirect);
