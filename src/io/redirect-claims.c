#include "io/redirect-claims.h"

/* Redirect claims: an address and port are claimed by each service whose bindings name them. Claims of the same are
 * neighbours in a sorted list, and one decision is made for all of them:
 *
 *   - somebody has it, and still asks for it, or is no part of this change: it is his;
 *   - else the first of those who ask gets it.
 *
 * A guess (bindings that are not known) is in maps of its own, which are looked up last: it is in nobody's way. */

static int compare_keys(const RedirectKey *a, const RedirectKey *b) {
        int r = strcmp(a->map, b->map);

        return r != 0 ? r : strcmp(a->text, b->text);
}

static int compare_claims(const void *a, const void *b) {
        const RedirectClaim *claim_a = a, *claim_b = b;
        int r = compare_keys(&claim_a->key, &claim_b->key);

        if (r != 0)
                return r;
        return claim_a->entry < claim_b->entry ? -1 : claim_a->entry > claim_b->entry;
}

static int compare_names(const void *a, const void *b, void *userdata) {
        const RedirectEntry *entries = userdata;

        return strcmp(entries[*(const size_t *) a].service->name, entries[*(const size_t *) b].service->name);
}

const RedirectEntry *redirect_claims_entry(const RedirectClaims *claims, const char *service) {
        size_t low = 0, high = claims->n_entries;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const RedirectEntry *entry = &claims->entries[claims->by_name[middle]];
                int r = strcmp(service, entry->service->name);

                if (r == 0)
                        return entry;
                if (r < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

/* The first of the claims of this key; `claims->n` if there is none. */
static size_t claims_find(const RedirectClaims *claims, const RedirectKey *key) {
        size_t low = 0, high = claims->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare_keys(&claims->claims[middle].key, key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < claims->n && compare_keys(&claims->claims[low].key, key) == 0 ? low : claims->n;
}

static const char *claim_name(const RedirectClaims *claims, size_t i) {
        return claims->entries[claims->claims[i].entry].service->name;
}

/* For the claims from `begin` to before `end`, which are all of the same key. */
static void claims_decide(RedirectClaims *claims, const RedirectSnapshot *snapshot, size_t begin, size_t end) {
        const RedirectKey *key = &claims->claims[begin].key;
        const SnapshotElement *element = redirect_snapshot_element(snapshot, key->map, key->text);
        const char *holder = claim_name(claims, begin);

        if (element && !isempty(element->service)) {
                bool keeps = !redirect_claims_entry(claims, element->service);

                for (size_t i = begin; i < end && !keeps; i++)
                        keeps = streq(claim_name(claims, i), element->service);
                if (keeps)
                        holder = element->service;
        }
        for (size_t i = begin; i < end; i++)
                claims->claims[i].holder = holder;
}

static int claims_add(RedirectClaims *claims, size_t entry) {
        const RedirectEntry *asks = &claims->entries[entry];
        _cleanup_free_ RedirectKey *keys = NULL;
        RedirectClaim *larger;
        size_t n_keys;
        int r;

        r = redirect_keys_new(&keys, &n_keys, asks->service->port, &asks->bindings);
        if (r < 0 || n_keys == 0)
                return r;
        larger = reallocarray(claims->claims, claims->n + n_keys, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        claims->claims = larger;
        for (size_t i = 0; i < n_keys; i++)
                claims->claims[claims->n++] = (RedirectClaim){ .key = keys[i], .entry = entry };
        return 0;
}

int redirect_claims_init(RedirectClaims *ret, const RedirectSnapshot *snapshot, const RedirectEntry *entries,
                         size_t n_entries) {
        _cleanup_(redirect_claims_done) RedirectClaims claims = { .entries = entries, .n_entries = n_entries };

        claims.by_name = new0(size_t, n_entries + 1);
        if (!claims.by_name)
                return -ENOMEM;
        for (size_t i = 0; i < n_entries; i++) {
                int r;

                claims.by_name[i] = i;
                r = entries[i].aim == REDIRECT_GONE ? 0 : claims_add(&claims, i);
                if (r < 0)
                        return r;
        }
        qsort_r(claims.by_name, n_entries, sizeof(*claims.by_name), compare_names, (void *) entries);
        if (claims.n > 0)
                qsort(claims.claims, claims.n, sizeof(*claims.claims), compare_claims);

        for (size_t begin = 0, end; begin < claims.n; begin = end) {
                for (end = begin + 1; end < claims.n; end++)
                        if (compare_keys(&claims.claims[begin].key, &claims.claims[end].key) != 0)
                                break;
                claims_decide(&claims, snapshot, begin, end);
        }

        *ret = claims;
        claims = (RedirectClaims){};
        return 0;
}

void redirect_claims_done(RedirectClaims *claims) {
        free(claims->claims);
        free(claims->by_name);
        *claims = (RedirectClaims){};
}

/* A redirect port is where a socket listens: it belongs to whose socket is up now. */
static bool target_is_displaced(const RedirectClaims *claims, const SnapshotElement *element,
                                const RedirectEntry *owner) {
        unsigned long port = strtoul(element->key, NULL, 10);

        if (owner)
                return owner->aim == REDIRECT_GONE || owner->service->redirect_port != port;
        for (size_t i = 0; i < claims->n_entries; i++)
                if (claims->entries[i].aim != REDIRECT_GONE && claims->entries[i].service->redirect_port == port)
                        return true;
        return false;
}

bool redirect_claims_displace(const RedirectClaims *claims, const SnapshotElement *element) {
        const RedirectEntry *owner = redirect_claims_entry(claims, element->service);
        RedirectKey key = { .map = element->set };
        size_t i;

        if (streq(element->set, REDIRECT_TARGETS))
                return target_is_displaced(claims, element, owner);
        /* No key of ours is that long. */
        if (strlen(element->key) >= sizeof(key.text))
                return owner;

        strcpy(key.text, element->key);
        i = claims_find(claims, &key);
        if (i < claims->n)
                return !streq(claims->claims[i].holder, element->service);
        return owner;
}
