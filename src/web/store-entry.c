#include "io/status-file.h"
#include "util/log.h"
#include "web/store-internal.h"

/* Store entry: the status of one service, and the texts that are made of it. */

static void item_done(Item *item) {
        free(item->key);
        free(item->text);
        free(item->nameless);
}

static void entry_forget_items(StoreEntry *entry) {
        for (size_t i = 0; i < entry->n_items; i++)
                item_done(&entry->items[i]);
        entry->items = mfree(entry->items);
        entry->n_items = 0;
}

StoreEntry *store_entry_free(StoreEntry *entry) {
        if (!entry)
                return NULL;

        entry_forget_items(entry);
        described_done(&entry->described);
        plan_free(entry->plan);
        status_free(entry->status);
        free(entry->name);
        return mfree(entry);
}

/* What a service is before its first wake, and which parts it has as long as its status does not say. */
static int status_add_planned(Status *status, const Service *service, const Plan *plan) {
        if (status->n_dependencies > 0 || plan->n_members == 0)
                return 0;
        status->dependencies = new0(DependencyStatus, plan->n_members);
        if (!status->dependencies)
                return -ENOMEM;
        for (size_t i = 0; i < plan->n_members; i++) {
                const Dependency *dependency = &service->dependencies[plan->members[i].index];

                status->dependencies[i] = (DependencyStatus){
                        .container = strdup(dependency->name),
                        .required = dependency->type == DEPENDENCY_REQUIRED,
                        .step = plan->members[i].step,
                        .estimate_usec = dependency->estimated_usec,
                };
                if (!status->dependencies[i].container)
                        return -ENOMEM;
                status->n_dependencies++;
        }
        if (status->estimate_usec == 0)
                status->estimate_usec = plan->estimate_usec;
        return 0;
}

static int entry_new_status(const StoreEntry *entry, Status **ret) {
        _cleanup_(status_freep) Status *status = new0(Status, 1);

        if (!status)
                return -ENOMEM;
        *status = (Status){ .service = strdup(entry->name), .state = SERVICE_ASLEEP, .trigger = _TRIGGER_INVALID };
        if (!status->service)
                return -ENOMEM;
        *ret = TAKE_PTR(status);
        return 0;
}

/* When did its wake begin? By the wall clock as the waker tells, the first time; a clock that is set does not change it any more. */
static void entry_set_begin(StoreEntry *entry, const Status *old) {
        const Status *status = entry->status;
        uint64_t now = time_now(CLOCK_MONOTONIC);

        if (status->state != SERVICE_WAKING)
                return;
        if (old && old->state == SERVICE_WAKING && streq(strempty(old->wake_id), strempty(status->wake_id)))
                return;
        entry->begun_usec = usec_sub(now, usec_sub(time_now(CLOCK_REALTIME), status->since_usec));
        described_begin(&entry->described);
}

int store_entry_read(StoreEntry *entry) {
        _cleanup_(status_freep) Status *status = NULL, *old = NULL;
        int r;

        r = status_file_read(&status, entry->root, entry->name);
        if (r < 0) {
                if (r != -ENOENT)
                        log_debug_errno(r, "Failed to read the status of %s, taking it for asleep: %m",
                                        entry->name);
                r = entry_new_status(entry, &status);
        }
        if (r >= 0)
                r = status_add_planned(status, entry->service, entry->plan);
        if (r < 0)
                return r;

        old = entry->status;
        entry->status = TAKE_PTR(status);
        entry_set_begin(entry, old);
        entry->stale = true;
        return 0;
}

/* Returns whether it is a change. */
static bool item_set(uint64_t *version, Item *item, Text *text) {
        bool changed = !item->key || !streq(item->key, text->key);

        if (changed) {
                item->version = ++*version;
                item_done(item);
                item->key = TAKE_PTR(text->key);
                item->text = TAKE_PTR(text->text);
                item->nameless = TAKE_PTR(text->nameless);
        }
        text_done(text);
        return changed;
}

static int entry_describe_item(StoreEntry *entry, size_t i, bool *changed) {
        Text text = {};
        int r;

        if (i == ITEM_SERVICE)
                r = describe_service_update(&entry->described, entry->status, &text);
        else if (i == ITEM_OBJECT)
                r = describe_service(&entry->described, entry->service, entry->status, &text);
        else
                r = describe_dependency_update(&entry->described, entry->status, i - ITEM_PARTS, &text);
        if (r < 0) {
                text_done(&text);
                return r;
        }
        if (item_set(entry->version, &entry->items[i], &text))
                *changed = true;
        return 0;
}

int store_entry_update(StoreEntry *entry) {
        size_t n = ITEM_PARTS + entry->status->n_dependencies;
        bool changed = false;
        int r;

        if (!entry->stale && entry->status->state != SERVICE_WAKING)
                return 0;
        if (entry->status->state == SERVICE_WAKING)
                entry->status->elapsed_usec = usec_sub(time_now(CLOCK_MONOTONIC), entry->begun_usec);
        if (entry->n_items != n) {
                entry_forget_items(entry);
                entry->items = new0(Item, n);
                if (!entry->items)
                        return -ENOMEM;
                entry->n_items = n;
        }
        r = described_update(&entry->described, entry->status);
        /* The service last: who is told that it is ready has been told of its parts. */
        for (size_t i = ITEM_PARTS; i < n && r >= 0; i++)
                r = entry_describe_item(entry, i, &changed);
        if (r >= 0)
                r = entry_describe_item(entry, ITEM_SERVICE, &changed);
        if (r >= 0)
                r = entry_describe_item(entry, ITEM_OBJECT, &changed);
        if (r < 0)
                return r;
        entry->stale = false;
        return changed;
}

int store_entry_new(StoreEntry **ret, const Service *service, const char *root, uint64_t *version) {
        _cleanup_(store_entry_freep) StoreEntry *entry = new0(StoreEntry, 1);
        int r;

        if (!entry)
                return -ENOMEM;
        *entry = (StoreEntry){
                .name = strdup(service->name), .service = service, .root = root, .version = version
        };
        if (!entry->name)
                return -ENOMEM;
        r = plan_new(&entry->plan, service, NULL);
        if (r >= 0)
                r = store_entry_read(entry);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(entry);
        return 0;
}

const Service *store_entry_service(const StoreEntry *entry) {
        return entry->service;
}

const Status *store_entry_status(const StoreEntry *entry) {
        return entry->status;
}

const Plan *store_entry_plan(const StoreEntry *entry) {
        return entry->plan;
}

const char *store_entry_object(const StoreEntry *entry) {
        return entry->items[ITEM_OBJECT].text;
}

bool store_entry_next_event(const StoreEntry *entry, uint64_t after, bool nameless, StoreEvent *ret) {
        const Item *next = NULL;

        for (size_t i = 0; i < entry->n_items; i++)
                if (i != ITEM_OBJECT && entry->items[i].version > after &&
                    (!next || entry->items[i].version < next->version))
                        next = &entry->items[i];
        if (!next)
                return false;
        *ret = (StoreEvent){
                .version = next->version,
                .is_service = next == &entry->items[ITEM_SERVICE],
                .name = next == &entry->items[ITEM_SERVICE] ? "service-update" : "dependency-update",
                .data = nameless ? next->nameless : next->text,
        };
        return true;
}
