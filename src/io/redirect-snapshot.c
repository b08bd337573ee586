#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>

#include "io/redirect-snapshot.h"

/* Redirect snapshot: nft's JSON is a list of objects with one member each, {"chain": …}, {"rule": …}, {"map":
 * …}; a table tells which members are read by what. What is not known is passed over: the table may have been
 * edited by hand, and newer versions of nft say more. */

/* What has to be there: chains with at least so many rules, and the sets. */
static const struct {
        const char *chain;
        unsigned n_rules;
} expected_chains[] = { { "divert", 6 }, { "prerouting", 1 }, { "output", 1 }, { "input", 1 } };
#define N_EXPECTED_SETS 7

typedef struct Parser {
        RedirectSnapshot *snapshot;
        unsigned n_rules[ELEMENTSOF(expected_chains)];
        unsigned n_sets;
} Parser;

static json_object *json_free(json_object *object) {
        (void) json_object_put(object);
        return NULL;
}
DEFINE_CLEANUP(json_object *, json_free);

static json_object *get_object(json_object *object, const char *name) {
        json_object *value = NULL;

        if (json_object_is_type(object, json_type_object))
                (void) json_object_object_get_ex(object, name, &value);
        return value;
}

static const char *get_string(json_object *object, const char *name) {
        json_object *value = get_object(object, name);

        return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

/* NULL if the chain or counter is none of a service. */
static const char *service_of(const char *name) {
        if (strncmp(name, REDIRECT_CHAIN_PREFIX, strlen(REDIRECT_CHAIN_PREFIX)) != 0)
                return NULL;
        return name + strlen(REDIRECT_CHAIN_PREFIX);
}

/* Room for one more: the array doubles when its length is a power of two. */
static int grow(void *array, size_t n, size_t size) {
        void *larger, **pointer = array;

        if (n & (n - 1))
                return 0;
        larger = reallocarray(*pointer, n == 0 ? 1 : 2 * n, size);
        if (!larger)
                return -ENOMEM;
        *pointer = larger;
        return 0;
}

/* One for each time that the service is spoken of; they are made one at the end. */
static int snapshot_mention(RedirectSnapshot *snapshot, const char *name, SnapshotService **ret) {
        SnapshotService *service;
        int r;

        r = grow(&snapshot->services, snapshot->n_services, sizeof(*service));
        if (r < 0)
                return r;
        service = &snapshot->services[snapshot->n_services];
        *service = (SnapshotService){ .name = strdup(name) };
        if (!service->name)
                return -ENOMEM;
        snapshot->n_services++;
        *ret = service;
        return 0;
}

static int parse_counter(Parser *parser, json_object *object) {
        const char *name = service_of(get_string(object, "name"));
        SnapshotService *service;
        int r;

        if (!name)
                return 0;
        r = snapshot_mention(parser->snapshot, name, &service);
        if (r < 0)
                return r;
        service->counter = true;
        service->new_connections = json_object_get_uint64(get_object(object, "packets"));
        return 0;
}

static int parse_chain(Parser *parser, json_object *object) {
        const char *name = service_of(get_string(object, "name"));
        SnapshotService *service;
        int r;

        if (!name)
                return 0;
        r = snapshot_mention(parser->snapshot, name, &service);
        if (r < 0)
                return r;
        service->chain = true;
        return 0;
}

static int parse_rule(Parser *parser, json_object *object) {
        const char *chain = get_string(object, "chain"), *name = service_of(chain);
        json_object *expressions = get_object(object, "expr");
        SnapshotService *service;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                if (streq(chain, expected_chains[i].chain))
                        parser->n_rules[i]++;
        if (!name || !json_object_is_type(expressions, json_type_array))
                return 0;

        r = snapshot_mention(parser->snapshot, name, &service);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_object_array_length(expressions); i++) {
                json_object *redirect = get_object(json_object_array_get_idx(expressions, i), "redirect");

                if (redirect)
                        service->redirect_port = (uint16_t) json_object_get_int(get_object(redirect, "port"));
        }
        return 0;
}

/* 9002, or {"concat": ["192.168.1.5", 9002]}. */
static char *key_to_text(json_object *key) {
        json_object *parts = get_object(key, "concat");
        char *text;
        int n;

        if (json_object_is_type(parts, json_type_array) && json_object_array_length(parts) == 2)
                n = asprintf(&text, "%s . %s", json_object_get_string(json_object_array_get_idx(parts, 0)),
                             json_object_get_string(json_object_array_get_idx(parts, 1)));
        else
                n = asprintf(&text, "%s", strempty(json_object_get_string(key)));
        return n < 0 ? NULL : text;
}

static int parse_element(Parser *parser, const char *set, json_object *key, const char *service) {
        json_object *wrapped = get_object(key, "elem");
        RedirectSnapshot *snapshot = parser->snapshot;
        SnapshotElement *element;
        int r;

        r = grow(&snapshot->elements, snapshot->n_elements, sizeof(*element));
        if (r < 0)
                return r;
        element = &snapshot->elements[snapshot->n_elements++];
        *element = (SnapshotElement){
                .set = strdup(set),
                .key = key_to_text(wrapped ? get_object(wrapped, "val") : key),
                .service = strdup(service ?: get_string(wrapped, "comment")),
        };
        return element->set && element->key && element->service ? 0 : -ENOMEM;
}

/* An element of a map is [KEY, {"goto": {"target": CHAIN}}]. */
static int parse_map(Parser *parser, json_object *object) {
        json_object *elements = get_object(object, "elem");

        parser->n_sets++;
        if (!json_object_is_type(elements, json_type_array))
                return 0;
        for (size_t i = 0; i < json_object_array_length(elements); i++) {
                json_object *pair = json_object_array_get_idx(elements, i), *verdict;
                const char *chain;
                int r;

                if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
                        continue;
                verdict = json_object_array_get_idx(pair, 1);
                chain = get_string(get_object(verdict, "goto"), "target");
                r = parse_element(parser, get_string(object, "name"), json_object_array_get_idx(pair, 0),
                                  strempty(service_of(chain)));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_set(Parser *parser, json_object *object) {
        json_object *elements = get_object(object, "elem");

        parser->n_sets++;
        if (!json_object_is_type(elements, json_type_array))
                return 0;
        for (size_t i = 0; i < json_object_array_length(elements); i++) {
                int r = parse_element(parser, get_string(object, "name"), json_object_array_get_idx(elements, i),
                                      /* service= */ NULL);
                if (r < 0)
                        return r;
        }
        return 0;
}

static const struct {
        const char *name;
        int (*parse)(Parser *parser, json_object *object);
} kinds[] = {
        { "chain", parse_chain }, { "counter", parse_counter }, { "map", parse_map },
        { "rule", parse_rule },   { "set", parse_set },
};

static int parse_entry(Parser *parser, json_object *entry) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                json_object *object = get_object(entry, kinds[i].name);

                if (object)
                        return kinds[i].parse(parser, object);
        }
        return 0;
}

static bool parser_is_complete(const Parser *parser) {
        for (size_t i = 0; i < ELEMENTSOF(expected_chains); i++)
                if (parser->n_rules[i] < expected_chains[i].n_rules)
                        return false;
        return parser->n_sets >= N_EXPECTED_SETS;
}

static int compare_services(const void *a, const void *b) {
        return strcmp(((const SnapshotService *) a)->name, ((const SnapshotService *) b)->name);
}

static int compare_elements(const void *a, const void *b) {
        const SnapshotElement *element_a = a, *element_b = b;
        int r = strcmp(element_a->set, element_b->set);

        return r != 0 ? r : strcmp(element_a->key, element_b->key);
}

static void merge_services(RedirectSnapshot *snapshot) {
        size_t n = 0;

        qsort(snapshot->services, snapshot->n_services, sizeof(*snapshot->services), compare_services);
        for (size_t i = 0; i < snapshot->n_services; i++) {
                SnapshotService *service = &snapshot->services[i], *last = &snapshot->services[n - (n > 0)];

                if (n == 0 || !streq(last->name, service->name)) {
                        snapshot->services[n++] = *service;
                        continue;
                }
                last->chain = last->chain || service->chain;
                last->counter = last->counter || service->counter;
                last->redirect_port = MAX(last->redirect_port, service->redirect_port);
                last->new_connections = MAX(last->new_connections, service->new_connections);
                free(service->name);
        }
        snapshot->n_services = n;
}

int redirect_snapshot_new(RedirectSnapshot **ret) {
        assert(ret);

        *ret = new0(RedirectSnapshot, 1);
        return *ret ? 0 : -ENOMEM;
}

static int parse_document(Parser *parser, json_object *object) {
        json_object *list = get_object(object, "nftables");

        if (!json_object_is_type(list, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                int r = parse_entry(parser, json_object_array_get_idx(list, i));

                if (r < 0)
                        return r;
        }
        return 0;
}

/* One document for each command. */
static int parse_documents(Parser *parser, json_tokener *tokener, const char *text) {
        int r = -EBADMSG;

        do {
                _cleanup_(json_freep) json_object *object =
                                json_tokener_parse_ex(tokener, text, (int) MIN(strlen(text), (size_t) INT_MAX));

                r = parse_document(parser, object);
                text += json_tokener_get_parse_end(tokener);
                text += strspn(text, "\n ");
        } while (r >= 0 && *text != '\0');
        return r;
}

int redirect_snapshot_parse(RedirectSnapshot **ret, const char *text) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        json_tokener *tokener;
        Parser parser = {};
        int r;

        assert(ret);

        r = redirect_snapshot_new(&snapshot);
        if (r < 0)
                return r;
        tokener = json_tokener_new();
        if (!tokener)
                return -ENOMEM;

        parser.snapshot = snapshot;
        r = parse_documents(&parser, tokener, text);
        json_tokener_free(tokener);
        if (r < 0)
                return r;

        if (snapshot->n_services > 0)
                merge_services(snapshot);
        if (snapshot->n_elements > 0)
                qsort(snapshot->elements, snapshot->n_elements, sizeof(*snapshot->elements), compare_elements);
        snapshot->complete = parser_is_complete(&parser);
        *ret = TAKE_PTR(snapshot);
        return 0;
}

RedirectSnapshot *redirect_snapshot_free(RedirectSnapshot *snapshot) {
        if (!snapshot)
                return NULL;

        for (size_t i = 0; i < snapshot->n_elements; i++) {
                free(snapshot->elements[i].set);
                free(snapshot->elements[i].key);
                free(snapshot->elements[i].service);
        }
        for (size_t i = 0; i < snapshot->n_services; i++)
                free(snapshot->services[i].name);
        free(snapshot->elements);
        free(snapshot->services);
        return mfree(snapshot);
}

const SnapshotElement *redirect_snapshot_element(const RedirectSnapshot *snapshot, const char *set,
                                                 const char *key) {
        const SnapshotElement wanted = { .set = (char *) set, .key = (char *) key };

        if (snapshot->n_elements == 0)
                return NULL;
        return bsearch(&wanted, snapshot->elements, snapshot->n_elements, sizeof(wanted), compare_elements);
}

const SnapshotService *redirect_snapshot_service(const RedirectSnapshot *snapshot, const char *name) {
        const SnapshotService wanted = { .name = (char *) name };

        if (snapshot->n_services == 0)
                return NULL;
        return bsearch(&wanted, snapshot->services, snapshot->n_services, sizeof(wanted), compare_services);
}
