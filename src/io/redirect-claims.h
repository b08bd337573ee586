#pragma once

/* Redirect claims: who gets which address and port. For redirect.c. */

#include "io/redirect-snapshot.h"
#include "io/redirect-text.h"
#include "io/redirect.h"

typedef struct RedirectClaim {
        RedirectKey key;
        size_t entry; /* index of who asks for it */
        const char *holder; /* who has it after the change; borrowed, from the entry or from the snapshot */
} RedirectClaim;

typedef struct RedirectClaims {
        RedirectClaim *claims; /* sorted by key, then in the order of the entries */
        size_t n;
        size_t *by_name; /* indices of the entries, sorted by name */
        size_t n_entries;
        const RedirectEntry *entries; /* borrowed */
} RedirectClaims;

/* What entries that are not REDIRECT_GONE ask for, each with its holder. -EINVAL if an address is none. */
int redirect_claims_init(RedirectClaims *ret, const RedirectSnapshot *snapshot, const RedirectEntry *entries,
                         size_t n_entries);
void redirect_claims_done(RedirectClaims *claims);

/* NULL if there is none of that name. */
const RedirectEntry *redirect_claims_entry(const RedirectClaims *claims, const char *service);
/* Does this element of the snapshot have to go before the claims can be written? */
bool redirect_claims_displace(const RedirectClaims *claims, const SnapshotElement *element);
