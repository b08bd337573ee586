#include <stdio.h>
#include <sys/inotify.h>

#include "config/config.h"
#include "io/status-file.h"
#include "util/log.h"
#include "web/store-internal.h"

/* Store: one entry for each service of the configuration. What is told of it (the service, each of its parts, the object of the API) is kept
 * as the text that goes out, with the number of the change that made it: whoever follows keeps the number of the last one that he was
 * told of, so nothing has to be queued for anybody, and a reader who is slow gets the latest instead of all. A change is what
 * can be seen: another state, or another percent. */

#define RELOAD_DELAY (100 * USEC_PER_MSEC)
#define TICK USEC_PER_SEC
#define FOLDER_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct Store {
        sd_event *event;
        char *root;
        StoreHandler handler;
        void *userdata;
        Config *config;
        StoreEntry **entries; /* by name */
        size_t n_entries;
        uint64_t version, config_version;
        size_t n_viewers;
        sd_event_source *status_watch, *reload, *tick;
        sd_event_source *config_watches[8];
};

static int compare_name(const void *name, const void *entry) {
        return strcmp(name, (*(StoreEntry *const *) entry)->name);
}

static StoreEntry *store_lookup(const Store *store, const char *service) {
        StoreEntry **found = store->n_entries == 0 ? NULL
                                                   : bsearch(service, store->entries, store->n_entries,
                                                             sizeof(void *), compare_name);

        return found ? *found : NULL;
}

static void store_drop_entries(Store *store) {
        for (size_t i = 0; i < store->n_entries; i++)
                (void) store_entry_free(store->entries[i]);
        store->entries = mfree(store->entries);
        store->n_entries = 0;
}

/* Configuration */

/* Everything is read anew: numbers of changes go on growing, so whoever follows is told what is different, and of the rest once more. */
static int store_take_config(Store *store, Config *taken) {
        _cleanup_(config_freep) Config *config = taken;

        store_drop_entries(store);
        store->config = config_free(store->config);
        store->entries = new0(StoreEntry *, (config ? config->n_services : 0) + 1);
        if (!store->entries)
                return -ENOMEM;
        store->config = TAKE_PTR(config);
        for (size_t i = 0; store->config && i < store->config->n_services; i++) {
                int r = store_entry_new(&store->entries[store->n_entries], &store->config->services[i],
                                        store->root, &store->version);

                if (r == -ENOMEM)
                        return r;
                if (r >= 0)
                        store->n_entries++;
        }
        store->config_version = ++store->version;
        return 0;
}

static int store_on_config_event(sd_event_source *source, const struct inotify_event *event, void *userdata);

/* Folders that do not exist are tried again at each load. */
static void store_watch_config(Store *store) {
        static const char *const folders[] = { "/etc/wakechain",        "/etc/wakechain/dependencies.d",
                                               "/run/wakechain",        "/run/wakechain/dependencies.d",
                                               "/usr/lib/wakechain",    "/usr/lib/wakechain/dependencies.d",
                                               "/opt/docker-autostart", "/opt/docker-autostart/dependencies.d" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = NULL;

                /* A folder that was removed and made again is another one. */
                sd_event_source_disable_unref(TAKE_PTR(store->config_watches[i]));
                if (asprintf(&path, "%s%s", store->root, folders[i]) < 0) {
                        path = NULL;
                        continue;
                }
                (void) sd_event_add_inotify(store->event, &store->config_watches[i], path,
                                            FOLDER_EVENTS | IN_CREATE, store_on_config_event, store);
        }
}

static int store_load(Store *store) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = NULL;
        int r;

        store_watch_config(store);
        /* As the generator: what has a socket is there. */
        r = config_load_or_remembered(&config, store->root, &problems);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENOENT)
                log_warning_errno(r, "Failed to load dependencies.json, see `wakectl check`: %m");
        return store_take_config(store, config);
}

static int store_on_reload(sd_event_source *source, uint64_t usec, void *userdata) {
        Store *store = ASSERT_PTR(userdata);
        int r;

        r = store_load(store);
        if (r < 0)
                log_warning_errno(r, "Failed to load the configuration again, ignoring: %m");
        store->handler(store, NULL, store->userdata);
        return 0;
}

static bool has_suffix(const char *text, const char *suffix) {
        size_t n = strlen(text), m = strlen(suffix);

        return n >= m && streq(text + n - m, suffix);
}

/* An editor writes a file in several steps: the last one counts. */
static int store_on_config_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Store *store = ASSERT_PTR(userdata);

        if (event->len > 0 && !has_suffix(event->name, ".json") && !streq(event->name, "dependencies.d"))
                return 0;
        (void) sd_event_source_set_time_relative(store->reload, RELOAD_DELAY);
        (void) sd_event_source_set_enabled(store->reload, SD_EVENT_ONESHOT);
        return 0;
}

/* Status files */

static void store_arm_tick(Store *store) {
        for (size_t i = 0; store->n_viewers > 0 && i < store->n_entries; i++)
                if (store->entries[i]->status->state == SERVICE_WAKING) {
                        int enabled;

                        if (sd_event_source_get_enabled(store->tick, &enabled) > 0)
                                return;
                        (void) sd_event_source_set_time_relative(store->tick, TICK);
                        (void) sd_event_source_set_enabled(store->tick, SD_EVENT_ONESHOT);
                        return;
                }
}

static void store_refresh(Store *store, StoreEntry *entry) {
        int r;

        r = store_entry_read(entry);
        if (r >= 0)
                r = store_entry_update(entry);
        if (r < 0) {
                log_warning_errno(r, "Failed to take over the status of %s, ignoring: %m", entry->name);
                return;
        }
        store_arm_tick(store);
        store->handler(store, entry->name, store->userdata);
}

static int store_on_status_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Store *store = ASSERT_PTR(userdata);
        _cleanup_free_ char *name = NULL;
        StoreEntry *entry;

        if (event->mask & IN_Q_OVERFLOW) {
                for (size_t i = 0; i < store->n_entries; i++)
                        store_refresh(store, store->entries[i]);
                return 0;
        }
        if (event->len == 0 || !has_suffix(event->name, ".json"))
                return 0;
        name = strndup(event->name, strlen(event->name) - strlen(".json"));
        entry = name ? store_lookup(store, name) : NULL;
        if (entry)
                store_refresh(store, entry);
        return 0;
}

static int store_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Store *store = ASSERT_PTR(userdata);

        for (size_t i = 0; i < store->n_entries; i++)
                if (store->entries[i]->status->state == SERVICE_WAKING &&
                    store_entry_update(store->entries[i]) > 0)
                        store->handler(store, store->entries[i]->name, store->userdata);
        store_arm_tick(store);
        return 0;
}

/* The store */

static int add_timer(sd_event *event, sd_event_source **ret, sd_event_time_handler_t handler, void *userdata) {
        int r;

        r = sd_event_add_time(event, ret, CLOCK_MONOTONIC, 0, 0, handler, userdata);
        return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

int store_new(Store **ret, sd_event *event, const char *root, StoreHandler handler, void *userdata) {
        _cleanup_(store_freep) Store *store = NULL;
        _cleanup_free_ char *folder = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(handler);

        store = malloc(sizeof(*store));
        if (!store)
                return -ENOMEM;
        *store = (Store){
                .event = sd_event_ref(event),
                .root = strdup(root),
                .handler = handler,
                .userdata = userdata,
        };
        if (!store->root || asprintf(&folder, "%s" STATUS_FOLDER, root) < 0) {
                folder = NULL;
                return -ENOMEM;
        }

        r = add_timer(event, &store->reload, store_on_reload, store);
        if (r >= 0)
                r = add_timer(event, &store->tick, store_on_tick, store);
        /* Watched before they are read: nothing is missed. */
        if (r >= 0)
                r = sd_event_add_inotify(event, &store->status_watch, folder, FOLDER_EVENTS, store_on_status_event,
                                         store);
        /* What has been written before somebody asks is what he is told. */
        if (r >= 0)
                r = sd_event_source_set_priority(store->status_watch, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = store_load(store);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(store);
        return 0;
}

Store *store_free(Store *store) {
        if (!store)
                return NULL;

        for (size_t i = 0; i < ELEMENTSOF(store->config_watches); i++)
                sd_event_source_disable_unref(store->config_watches[i]);
        sd_event_source_disable_unref(store->status_watch);
        sd_event_source_disable_unref(store->reload);
        sd_event_source_disable_unref(store->tick);
        store_drop_entries(store);
        config_free(store->config);
        sd_event_unref(store->event);
        free(store->root);
        return mfree(store);
}

void store_add_viewer(Store *store) {
        store->n_viewers++;
        store_arm_tick(store);
}

void store_remove_viewer(Store *store) {
        assert(store->n_viewers > 0);

        store->n_viewers--;
}

bool store_sleep_over_tcp(const Store *store) {
        return store->config && store->config->api_sleep_over_tcp;
}

char *const *store_api_hosts(const Store *store) {
        return store->config ? store->config->api_hosts : NULL;
}

size_t store_length(const Store *store) {
        return store->n_entries;
}

static StoreEntry *entry_current(StoreEntry *entry) {
        return store_entry_update(entry) < 0 ? NULL : entry;
}

StoreEntry *store_get(Store *store, size_t i) {
        assert(i < store->n_entries);

        return entry_current(store->entries[i]);
}

StoreEntry *store_find(Store *store, const char *service) {
        StoreEntry *entry = store_lookup(store, service);

        return entry ? entry_current(entry) : NULL;
}

bool store_next_event(Store *store, uint64_t after, StoreEvent *ret) {
        const StoreEntry *next = NULL;

        for (size_t i = 0; i < store->n_entries; i++) {
                StoreEntry *entry = entry_current(store->entries[i]);
                uint64_t version = entry ? entry->items[ITEM_OBJECT].version : 0;

                if (version > after && (!next || version < next->items[ITEM_OBJECT].version))
                        next = entry;
        }
        /* Who has just come has seen no other configuration. */
        if (after > 0 && store->config_version > after &&
            (!next || store->config_version < next->items[ITEM_OBJECT].version)) {
                *ret = (StoreEvent){ .version = store->config_version, .name = "config", .data = "{}" };
                return true;
        }
        if (!next)
                return false;
        *ret = (StoreEvent){
                .version = next->items[ITEM_OBJECT].version,
                .name = "service",
                .data = next->items[ITEM_OBJECT].text,
                .entry = next,
        };
        return true;
}

uint64_t store_version(const Store *store) {
        return store->version;
}
