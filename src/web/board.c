#include <sys/inotify.h>

#include "config/config.h"
#include "control/status-file.h"
#include "util/alarm.h"
#include "util/log.h"
#include "web/board.h"
#include "util/text.h"
#include "web/describe.h"

/* Board: one entry for each service of the configuration. What is told of it (the service, each of its parts, the object of the API) is kept
 * as the text that goes out, with the number of the change that made it: whoever follows keeps the number of the last one that he was
 * told of, so nothing has to be queued for anybody, and a reader who is slow gets the latest instead of all. A change is what
 * can be seen: another state, or another percent. Of each service BURST changes are told at once, and then one each TELL_USEC. While a service
 * wakes its texts change with the time, and anybody may ask. */

#define RELOAD_DELAY (100 * USEC_PER_MSEC)
#define TICK USEC_PER_SEC
#define TELL_USEC (250 * USEC_PER_MSEC)
#define BURST 4U
#define FOLDER_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)
#define DESCRIBE_USEC (250 * USEC_PER_MSEC)
#define ITEM_VARIANTS 2U /* what an event is told without: names, or for the object, the right to put to sleep */

typedef enum ItemKind {
        ITEM_SERVICE, /* service-update */
        ITEM_OBJECT, /* the object of the API */
        ITEM_PARTS, /* dependency-update: from here on, one each */
} ItemKind;

typedef struct Item {
        uint64_t version;
        Telling telling;
        Bytes *events[ITEM_VARIANTS]; /* as they go out, made by the first who asks */
} Item;

struct BoardEntry {
        const Service *service; /* borrowed */
        const char *root; /* borrowed */
        uint64_t *version; /* the last change of anything, borrowed */
        Plan *plan;
        Status *status;
        Described described;
        uint64_t paused_until_usec; /* CLOCK_MONOTONIC */
        uint64_t begun_usec; /* of a wake under way, CLOCK_MONOTONIC */
        Item *items;
        size_t n_items;
        uint64_t changed, told; /* the last change of an item, and the last that the handler knows of */
        uint64_t described_usec, paid_usec; /* CLOCK_MONOTONIC */
        bool unread; /* the status is older than its file */
        bool stale; /* the texts are older than the status */
        bool waits; /* to be told */
};

struct Board {
        sd_event *event;
        char *root;
        BoardHandler handler;
        void *userdata;
        Config *config;
        BoardEntry **entries; /* by name */
        size_t n_entries;
        uint64_t version, config_version;
        Bytes *config_event;
        size_t n_viewers;
        sd_event_source *status_watch, *reload, *tick, *tell;
        sd_event_source *config_watches[8];
};

static void item_done(Item *item) {
        telling_done(&item->telling);
        for (size_t i = 0; i < ITEM_VARIANTS; i++)
                item->events[i] = bytes_unref(item->events[i]);
}

static void entry_forget_items(BoardEntry *entry) {
        for (size_t i = 0; i < entry->n_items; i++)
                item_done(&entry->items[i]);
        entry->items = mfree(entry->items);
        entry->n_items = 0;
}

static BoardEntry *entry_free(BoardEntry *entry) {
        if (!entry)
                return NULL;

        entry_forget_items(entry);
        described_done(&entry->described);
        plan_free(entry->plan);
        status_free(entry->status);
        return mfree(entry);
}
DEFINE_CLEANUP(BoardEntry *, entry_free);

/* When did its wake begin? By the wall clock as the waker tells, the first time; a clock that is set does not change it any more. */
static void entry_set_begin(BoardEntry *entry, const Status *old) {
        const Status *status = entry->status;
        uint64_t now = time_now(CLOCK_MONOTONIC);

        if (status->state != SERVICE_WAKING)
                return;
        if (old && old->state == SERVICE_WAKING && streq(strempty(old->wake_id), strempty(status->wake_id)))
                return;
        entry->begun_usec = usec_sub(now, usec_sub(time_now(CLOCK_REALTIME), status->since_usec));
        described_begin(&entry->described);
}

/* Takes over the status file. */
static int entry_read(BoardEntry *entry) {
        _cleanup_(status_freep) Status *status = NULL, *old = NULL;
        int r;

        r = status_file_read(&status, entry->root, entry->service->name);
        if (r < 0) {
                if (r != -ENOENT)
                        log_debug_errno(r, "Failed to read the status of %s, taking it for asleep: %m",
                                        entry->service->name);
                r = status_new_planned(&status, entry->service, entry->plan);
        } else
                r = status_add_planned(status, entry->service, entry->plan);
        if (r < 0)
                return r;

        old = entry->status;
        entry->status = TAKE_PTR(status);
        entry_set_begin(entry, old);
        entry->unread = false;
        entry->stale = true;
        return 0;
}

static int entry_describe_item(BoardEntry *entry, size_t i) {
        _cleanup_(telling_done) Telling telling = {};
        Item *item = &entry->items[i];
        int r;

        if (i == ITEM_SERVICE)
                r = describe_service_update(&entry->described, entry->status, &telling);
        else if (i == ITEM_OBJECT)
                r = describe_service(&entry->described, entry->service, entry->status, &telling);
        else
                r = describe_dependency_update(&entry->described, entry->status, i - ITEM_PARTS, &telling);
        if (r < 0 || (item->telling.key && streq(item->telling.key, telling.key)))
                return r;
        item_done(item);
        item->version = entry->changed = ++*entry->version;
        item->telling = telling;
        telling = (Telling){};
        return 0;
}

/* Brings status and texts up to date, the latter a few times a second at the most as long as the file stays as it is. */
static int entry_update(BoardEntry *entry) {
        uint64_t now = time_now(CLOCK_MONOTONIC);
        size_t n;
        int r;

        r = entry->unread ? entry_read(entry) : 0;
        if (r < 0)
                return r;
        if (!entry->stale &&
            (entry->status->state != SERVICE_WAKING || now < usec_add(entry->described_usec, DESCRIBE_USEC)))
                return 0;
        if (entry->status->state == SERVICE_WAKING)
                entry->status->elapsed_usec = usec_sub(now, entry->begun_usec);
        n = ITEM_PARTS + entry->status->n_dependencies;
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
                r = entry_describe_item(entry, i);
        if (r >= 0)
                r = entry_describe_item(entry, ITEM_SERVICE);
        if (r >= 0)
                r = entry_describe_item(entry, ITEM_OBJECT);
        if (r < 0)
                return r;
        entry->described_usec = now;
        entry->stale = false;
        return 0;
}

static int entry_new(BoardEntry **ret, const Service *service, const char *root, uint64_t *version) {
        _cleanup_(entry_freep) BoardEntry *entry = new0(BoardEntry, 1);
        int r;

        if (!entry)
                return -ENOMEM;
        *entry = (BoardEntry){ .service = service, .root = root, .version = version };
        r = plan_new(&entry->plan, service, NULL);
        if (r >= 0)
                r = entry_read(entry);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(entry);
        return 0;
}

const Service *board_entry_service(const BoardEntry *entry) {
        return entry->service;
}

const Status *board_entry_status(const BoardEntry *entry) {
        return entry->status;
}

const Plan *board_entry_plan(const BoardEntry *entry) {
        return entry->plan;
}

void board_entry_set_pause(BoardEntry *entry, uint64_t until_usec) {
        entry->paused_until_usec = until_usec;
}

uint64_t board_entry_pause(const BoardEntry *entry) {
        return usec_sub(entry->paused_until_usec, time_now(CLOCK_MONOTONIC));
}

const char *board_entry_object(const BoardEntry *entry) {
        return entry->items[ITEM_OBJECT].telling.text;
}

bool board_entry_next_event(BoardEntry *entry, uint64_t after, bool nameless, BoardEvent *ret) {
        Item *next = NULL;

        for (size_t i = 0; i < entry->n_items; i++)
                if (i != ITEM_OBJECT && entry->items[i].version > after &&
                    (!next || entry->items[i].version < next->version))
                        next = &entry->items[i];
        if (!next)
                return false;
        *ret = (BoardEvent){
                .version = next->version,
                .is_service = next == &entry->items[ITEM_SERVICE],
                .name = next == &entry->items[ITEM_SERVICE] ? "service-update" : "dependency-update",
                .data = nameless ? next->telling.nameless : next->telling.text,
                .tail = "",
                .bytes = &next->events[nameless],
        };
        return true;
}

static int compare_name(const void *name, const void *entry) {
        return strcmp(name, (*(BoardEntry *const *) entry)->service->name);
}

BoardEntry *board_find_told(const Board *board, const char *service) {
        BoardEntry **found = board->n_entries == 0 ? NULL
                                                   : bsearch(service, board->entries, board->n_entries,
                                                             sizeof(void *), compare_name);

        return found ? *found : NULL;
}

static void board_drop_entries(Board *board) {
        for (size_t i = 0; i < board->n_entries; i++)
                (void) entry_free(board->entries[i]);
        board->entries = mfree(board->entries);
        board->n_entries = 0;
}

/* Everything is read anew: numbers of changes go on growing, so whoever follows is told what is different, and of the rest once more. */
static int board_take_config(Board *board, Config *taken) {
        _cleanup_(config_freep) Config *config = taken;

        board_drop_entries(board);
        board->config = config_free(board->config);
        board->entries = new0(BoardEntry *, (config ? config->n_services : 0) + 1);
        if (!board->entries)
                return -ENOMEM;
        board->config = TAKE_PTR(config);
        for (size_t i = 0; board->config && i < board->config->n_services; i++) {
                int r = entry_new(&board->entries[board->n_entries], &board->config->services[i], board->root,
                                  &board->version);

                if (r == -ENOMEM)
                        return r;
                if (r >= 0)
                        board->n_entries++;
        }
        board->config_version = ++board->version;
        board->config_event = bytes_unref(board->config_event);
        return 0;
}

static int board_on_config_event(sd_event_source *source, const struct inotify_event *event, void *userdata);

/* Folders that do not exist are tried again at each load. */
static void board_watch_config(Board *board) {
        static const char *const folders[] = { "/etc/wakechain",        "/etc/wakechain/dependencies.d",
                                               "/run/wakechain",        "/run/wakechain/dependencies.d",
                                               "/usr/lib/wakechain",    "/usr/lib/wakechain/dependencies.d",
                                               "/opt/docker-autostart", "/opt/docker-autostart/dependencies.d" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = NULL;

                /* A folder that was removed and made again is another one. */
                sd_event_source_disable_unref(TAKE_PTR(board->config_watches[i]));
                path = text_printf("%s%s", board->root, folders[i]);
                if (!path)
                        continue;
                (void) sd_event_add_inotify(board->event, &board->config_watches[i], path,
                                            FOLDER_EVENTS | IN_CREATE, board_on_config_event, board);
        }
}

static int board_load(Board *board) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = NULL;
        int r;

        board_watch_config(board);
        /* As the generator: what has a socket is there. */
        r = config_load_or_remembered(&config, board->root, &problems);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENOENT)
                log_warning_errno(r, "Failed to load dependencies.json, see `wakectl check`: %m");
        return board_take_config(board, config);
}

static int board_on_reload(sd_event_source *source, uint64_t usec, void *userdata) {
        Board *board = ASSERT_PTR(userdata);
        int r;

        r = board_load(board);
        if (r < 0)
                log_warning_errno(r, "Failed to load the configuration again, ignoring: %m");
        board_look(board);
        board->handler(board, NULL, board->userdata);
        return 0;
}

static bool has_suffix(const char *text, const char *suffix) {
        size_t n = strlen(text), m = strlen(suffix);

        return n >= m && streq(text + n - m, suffix);
}

/* An editor writes a file in several steps: the last one counts. */
static int board_on_config_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Board *board = ASSERT_PTR(userdata);

        if (event->len > 0 && !has_suffix(event->name, ".json") && !streq(event->name, "dependencies.d"))
                return 0;
        alarm_start(board->reload, RELOAD_DELAY);
        return 0;
}

static void board_arm_tick(Board *board) {
        for (size_t i = 0; board->n_viewers > 0 && i < board->n_entries; i++)
                if (board->entries[i]->status->state == SERVICE_WAKING) {
                        if (!alarm_is_on(board->tick))
                                alarm_start(board->tick, TICK);
                        return;
                }
}

/* When it may be told again. */
static uint64_t entry_due(const BoardEntry *entry) {
        return usec_sub(entry->paid_usec, BURST * TELL_USEC);
}

static void board_arm_tell(Board *board) {
        uint64_t due_usec = USEC_INFINITY;

        for (size_t i = 0; i < board->n_entries; i++)
                if (board->entries[i]->waits)
                        due_usec = MIN(due_usec, entry_due(board->entries[i]));
        if (due_usec == USEC_INFINITY)
                return;
        (void) sd_event_source_set_time(board->tell, due_usec);
        (void) sd_event_source_set_enabled(board->tell, SD_EVENT_ONESHOT);
}

/* Tells what has changed, or leaves it to the timer. */
static void board_tell(Board *board, BoardEntry *entry) {
        uint64_t now = time_now(CLOCK_MONOTONIC);
        int r;

        entry->waits = now < entry_due(entry);
        if (entry->waits)
                return;
        r = entry_update(entry);
        if (r < 0) {
                log_warning_errno(r, "Failed to take over the status of %s, ignoring: %m", entry->service->name);
                return;
        }
        board_arm_tick(board);
        if (entry->told == entry->changed)
                return;
        entry->told = entry->changed;
        entry->paid_usec = usec_add(MAX(entry->paid_usec, now), TELL_USEC);
        board->handler(board, entry->service->name, board->userdata);
}

static int board_on_tell(sd_event_source *source, uint64_t usec, void *userdata) {
        Board *board = ASSERT_PTR(userdata);

        for (size_t i = 0; i < board->n_entries; i++)
                if (board->entries[i]->waits)
                        board_tell(board, board->entries[i]);
        board_arm_tell(board);
        return 0;
}

static void board_note_written(Board *board, BoardEntry *entry) {
        entry->unread = true;
        board_tell(board, entry);
        if (entry->waits)
                board_arm_tell(board);
}

static int board_on_status_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Board *board = ASSERT_PTR(userdata);
        _cleanup_free_ char *name = NULL;
        BoardEntry *entry;

        if (event->mask & IN_Q_OVERFLOW) {
                for (size_t i = 0; i < board->n_entries; i++)
                        board_note_written(board, board->entries[i]);
                return 0;
        }
        if (event->len == 0 || !has_suffix(event->name, ".json"))
                return 0;
        name = strndup(event->name, strlen(event->name) - strlen(".json"));
        entry = name ? board_find_told(board, name) : NULL;
        if (entry)
                board_note_written(board, entry);
        return 0;
}

static int board_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Board *board = ASSERT_PTR(userdata);

        for (size_t i = 0; i < board->n_entries; i++)
                if (board->entries[i]->status->state == SERVICE_WAKING)
                        board_tell(board, board->entries[i]);
        board_arm_tell(board);
        board_arm_tick(board);
        return 0;
}

int board_new(Board **ret, sd_event *event, const char *root, BoardHandler handler, void *userdata) {
        _cleanup_(board_freep) Board *board = NULL;
        _cleanup_free_ char *folder = NULL;
        int r;

        assert(handler);

        board = malloc(sizeof(*board));
        if (!board)
                return -ENOMEM;
        *board = (Board){
                .event = sd_event_ref(event),
                .root = strdup(root),
                .handler = handler,
                .userdata = userdata,
        };
        folder = text_printf("%s" STATUS_FOLDER, root);
        if (!board->root || !folder)
                return -ENOMEM;

        r = alarm_new(&board->reload, event, 0, board_on_reload, board);
        if (r >= 0)
                r = alarm_new(&board->tick, event, 0, board_on_tick, board);
        if (r >= 0)
                r = alarm_new(&board->tell, event, 0, board_on_tell, board);
        /* Watched before they are read: nothing is missed. */
        if (r >= 0)
                r = sd_event_add_inotify(event, &board->status_watch, folder, FOLDER_EVENTS, board_on_status_event,
                                         board);
        /* What has been written before somebody asks is what he is told. */
        if (r >= 0)
                r = sd_event_source_set_priority(board->status_watch, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = board_load(board);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(board);
        return 0;
}

Board *board_free(Board *board) {
        if (!board)
                return NULL;

        for (size_t i = 0; i < ELEMENTSOF(board->config_watches); i++)
                sd_event_source_disable_unref(board->config_watches[i]);
        sd_event_source_disable_unref(board->status_watch);
        sd_event_source_disable_unref(board->reload);
        sd_event_source_disable_unref(board->tick);
        sd_event_source_disable_unref(board->tell);
        board_drop_entries(board);
        bytes_unref(board->config_event);
        config_free(board->config);
        sd_event_unref(board->event);
        free(board->root);
        return mfree(board);
}

void board_add_viewer(Board *board) {
        board->n_viewers++;
        board_arm_tick(board);
}

void board_remove_viewer(Board *board) {
        assert(board->n_viewers > 0);

        board->n_viewers--;
}

bool board_sleep_over_tcp(const Board *board) {
        return board->config && board->config->api_sleep_over_tcp;
}

char *const *board_api_hosts(const Board *board) {
        return board->config ? board->config->api_hosts : NULL;
}

void board_look(Board *board) {
        for (size_t i = 0; i < board->n_entries; i++)
                (void) entry_update(board->entries[i]);
}

size_t board_length(const Board *board) {
        return board->n_entries;
}

const char *board_tail(bool sleep_allowed) {
        return sleep_allowed ? ",\"sleepAllowed\":true}" : ",\"sleepAllowed\":false}";
}

static BoardEntry *entry_current(BoardEntry *entry) {
        return entry_update(entry) < 0 ? NULL : entry;
}

BoardEntry *board_get(Board *board, size_t i) {
        assert(i < board->n_entries);

        return entry_current(board->entries[i]);
}

BoardEntry *board_find(Board *board, const char *service) {
        BoardEntry *entry = board_find_told(board, service);

        return entry ? entry_current(entry) : NULL;
}

bool board_next_event(Board *board, uint64_t after, bool sleep_allowed, BoardEvent *ret) {
        Item *next = NULL;

        for (size_t i = 0; i < board->n_entries; i++) {
                Item *item = board->entries[i]->n_items > 0 ? &board->entries[i]->items[ITEM_OBJECT] : NULL;

                if (item && item->version > after && (!next || item->version < next->version))
                        next = item;
        }
        /* Who has just come has seen no other configuration. */
        if (after > 0 && board->config_version > after && (!next || board->config_version < next->version)) {
                *ret = (BoardEvent){
                        .version = board->config_version,
                        .name = "config",
                        .data = "{}",
                        .tail = "",
                        .bytes = &board->config_event,
                };
                return true;
        }
        if (!next)
                return false;
        *ret = (BoardEvent){
                .version = next->version,
                .name = "service",
                .data = next->telling.text,
                .tail = board_tail(sleep_allowed),
                .bytes = &next->events[sleep_allowed],
        };
        return true;
}

uint64_t board_version(const Board *board) {
        return board->version;
}

uint64_t board_config_version(const Board *board) {
        return board->config_version;
}
