#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "catalog/messages.h"
#include "front/chest.h"
#include "front/counter.h"
#include "front/store.h"
#include "util/fd.h"
#include "util/log.h"

/* Store: PID 1 keeps five descriptors of ours (FDSTORE=1, see sd_notify(3)) and gives them to the next program: the
 * ledger, and the ends of two chests. The connections are in a chest. Were each of them PID 1's, it would have to compare
 * every new one with all that it has, with one message for each, while everything else on the machine waits for it; the
 * chest costs nobody but us. PID 1 hears of a front for the first time when it has something to keep.
 *
 * Which record of the ledger a descriptor belongs to is told by SO_COOKIE, a number that the kernel gives a socket for
 * as long as it exists, and for a pipe by its inode. So a descriptor may be in a chest twice, or without a record.
 *
 * Nothing can be taken out from the middle of a queue. Duplicates of what has ended stay until there are as many of them as of
 * what goes on, or the chest is full, or some seconds have passed: then all that goes on is put into the other chest, and
 * this one is emptied. */

#define DEAD_MIN 64U /* duplicates that may stay */
#define LEDGER_NAME "wakechain-ledger"
static const char *const chest_names[2] = { "wakechain-chest-0", "wakechain-chest-1" };

enum {
        LETTER_CLIENT = 'c',
        LETTER_BACKEND = 'b',
        LETTER_PIPE = 'p',
};

/* What is kept, by the row in the ledger. */
typedef struct StoreEntry {
        int fds[2];
} StoreEntry;

typedef struct StoreKey {
        uint64_t cookie;
        uint32_t record;
        uint32_t which;
} StoreKey;

struct Store {
        Ledger *ledger;
        int notify; /* connected to PID 1's socket; -EBADF: there is none */
        bool announced, complained;
        bool foreign; /* what is in the chests has no record */
        Chest chests[2];
        unsigned active;
        ChestBatch batch; /* to be put into the active one */
        StoreEntry *entries;
        uint32_t n_entries;
        StoreEntry pipes[LEDGER_PIPES_MAX + 1];
        size_t n_live, n_dead; /* descriptors in the active chest */
};

/* What was passed */

bool store_passed_take(StorePassed *passed, const char *name, int fd) {
        if (streq(name, LEDGER_NAME)) {
                (void) fd_close(passed->ledger);
                passed->ledger = fd;
                return true;
        }
        for (unsigned i = 0; i < 2; i++)
                if (streq(name, chest_names[i])) {
                        int *ends = passed->chests[i];

                        if (ends[1] >= 0)
                                (void) fd_close(fd);
                        else
                                ends[ends[0] >= 0] = fd;
                        return true;
                }
        return false;
}

void store_passed_close(StorePassed *passed) {
        (void) fd_close(passed->ledger);
        for (unsigned i = 0; i < 2; i++)
                for (unsigned j = 0; j < 2; j++)
                        (void) fd_close(passed->chests[i][j]);
        *passed = STORE_PASSED_NONE;
}

/* Telling PID 1 */

static int notify_connect(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *path = getenv("NOTIFY_SOCKET");
        _cleanup_close_ int fd = -EBADF;
        size_t size;

        if (isempty(path) || !strchr("/@", path[0]))
                return -ENOENT;
        size = strlen(path);
        if (size >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, size);
        if (path[0] == '@')
                address.sun_path[0] = '\0';

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address,
                    (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* One message: PID 1 keeps these descriptors, or, without any, forgets those of the name. */
static int store_notify(Store *store, const char *name, const int *fds, size_t n) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(2 * sizeof(int))];
        } control = {};
        struct iovec data;
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
        char text[128];

        data.iov_base = text;
        data.iov_len = (size_t) snprintf(text, sizeof(text), "%s=1\nFDNAME=%s\nFDPOLL=0",
                                         n > 0 ? "FDSTORE" : "FDSTOREREMOVE", name);
        if (n > 0) {
                control.header = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(n * sizeof(int)),
                };
                memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        }
        return sendmsg(store->notify, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Again with the next flush if PID 1 is busy; what it has twice it keeps once. */
static void store_announce(Store *store) {
        int r;

        if (store->announced)
                return;
        r = store_notify(store, LEDGER_NAME, &store->ledger->fd, 1);
        for (unsigned i = 0; i < 2 && r >= 0; i++)
                r = store_notify(store, chest_names[i], (int[]){ store->chests[i].in, store->chests[i].out }, 2);
        store->announced = r >= 0;
}

static void store_complain(Store *store, int error) {
        if (!store->complained)
                log_warning_errno(error, "Not all connections would outlive this program if it were killed: %m");
        store->complained = true;
}

/* Life */

static int store_open_ledger(Store *store, StorePassed *passed) {
        int r;

        if (passed->ledger >= 0) {
                r = ledger_open(&store->ledger, passed->ledger);
                if (r >= 0) {
                        passed->ledger = -EBADF;
                        return 0;
                }
                log_warning_errno(r, "Cannot read what the program before has left, starting anew: %m");
                if (store->notify >= 0)
                        (void) store_notify(store, LEDGER_NAME, NULL, 0);
        }
        store->foreign = true;
        return ledger_new(&store->ledger);
}

int store_new(Store **ret, StorePassed *passed) {
        _cleanup_(store_freep) Store *store = NULL;
        int r;

        assert(ret);
        assert(passed);

        store = malloc(sizeof(*store));
        if (!store)
                return -ENOMEM;
        *store = (Store){ .notify = notify_connect(), .chests = { CHEST_NONE, CHEST_NONE } };
        for (unsigned i = 0; i <= LEDGER_PIPES_MAX; i++)
                store->pipes[i] = (StoreEntry){ { -EBADF, -EBADF } };
        if (store->notify < 0)
                store->notify = -EBADF;

        /* Before the ledger is opened, which closes nothing of it. */
        store->announced = passed->ledger >= 0;
        for (unsigned i = 0; i < 2; i++) {
                int *ends = passed->chests[i];

                if (ends[1] >= 0 && chest_adopt(&store->chests[i], ends[0], ends[1]) >= 0)
                        ends[0] = ends[1] = -EBADF;
                else
                        store->announced = false;
        }
        r = store_open_ledger(store, passed);
        store->announced = store->announced && passed->ledger < 0;
        store_passed_close(passed);
        if (r < 0)
                return r;
        ledger_watch_crashes(store->ledger);
        *ret = TAKE_PTR(store);
        return 0;
}

Store *store_free(Store *store) {
        if (!store)
                return NULL;

        for (unsigned i = 0; i < 2; i++)
                (void) chest_close(&store->chests[i]);
        (void) fd_close(store->notify);
        (void) ledger_free(store->ledger);
        free(store->entries);
        return mfree(store);
}

Ledger *store_ledger(Store *store) {
        return store->ledger;
}

bool store_is_on(const Store *store) {
        return store->notify >= 0 && store->ledger->fd >= 0;
}

/* Keeping */

/* The program that keeps nothing has no chest. */
static int store_open_chests(Store *store) {
        for (unsigned i = 0; i < 2; i++)
                if (store->chests[i].in < 0) {
                        int r = chest_open(&store->chests[i]);

                        if (r < 0)
                                return r;
                }
        return 0;
}

static int batch_add(ChestBatch *batch, const Chest *chest, int fd, int letter) {
        int r = 0;

        if (fd < 0)
                return 0;
        batch->letters[batch->n] = (char) letter;
        batch->fds[batch->n++] = fd;
        if (batch->n == CHEST_BATCH) {
                r = chest_put(chest, batch);
                batch->n = 0;
        }
        return r;
}

/* All that goes on, into the other chest. */
static int store_repack(Store *store) {
        const Chest *target = &store->chests[!store->active];
        ChestBatch batch = {};
        int r = 0;

        for (uint32_t i = 1; i < store->n_entries && r >= 0; i++) {
                r = batch_add(&batch, target, store->entries[i].fds[0], LETTER_CLIENT);
                if (r >= 0)
                        r = batch_add(&batch, target, store->entries[i].fds[1], LETTER_BACKEND);
        }
        for (uint32_t i = 1; i <= LEDGER_PIPES_MAX && r >= 0; i++)
                for (unsigned j = 0; j < 2 && r >= 0; j++)
                        r = batch_add(&batch, target, store->pipes[i].fds[j], LETTER_PIPE);
        if (r >= 0 && batch.n > 0)
                r = chest_put(target, &batch);
        if (r >= 0)
                store->active = !store->active;
        while (chest_drop(&store->chests[!store->active]))
                ;
        if (r >= 0)
                store->n_dead = 0;
        return r;
}

int store_flush(Store *store) {
        int r;

        if (store->batch.n == 0)
                return 0;
        r = chest_put(&store->chests[store->active], &store->batch);
        /* What waits is among what goes on. */
        if (r == -EAGAIN)
                r = store_repack(store);
        if (r < 0)
                store_complain(store, r);
        store->batch.n = 0;
        store_announce(store);
        return MIN(r, 0);
}

static void store_put(Store *store, int fd, int letter) {
        ChestBatch *batch = &store->batch;

        if (batch->n == CHEST_BATCH)
                (void) store_flush(store);
        batch->letters[batch->n] = (char) letter;
        batch->fds[batch->n++] = fd;
        store->n_live++;
}

static bool store_make_entry(Store *store, uint32_t record) {
        StoreEntry *entries;
        uint32_t n;

        if (record < store->n_entries)
                return true;
        n = MAX(64U, 2 * record);
        entries = realloc(store->entries, n * sizeof(*entries));
        if (!entries)
                return false;
        for (uint32_t i = store->n_entries; i < n; i++)
                entries[i] = (StoreEntry){ { -EBADF, -EBADF } };
        store->entries = entries;
        store->n_entries = n;
        return true;
}

static uint32_t store_take_record(Store *store) {
        uint32_t record = 0;

        if (!store_is_on(store))
                return 0;
        if (store_open_chests(store) >= 0)
                record = ledger_take_record(store->ledger);
        if (record > 0 && !store_make_entry(store, record)) {
                ledger_give_record(store->ledger, record);
                record = 0;
        }
        if (record == 0)
                store_complain(store, -ENOBUFS);
        return record;
}

static uint64_t get_cookie(int fd) {
        uint64_t cookie = 0;

        (void) getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &(socklen_t){ sizeof(cookie) });
        return cookie;
}

uint32_t store_add_held(Store *store, int client) {
        uint32_t record = store_take_record(store);

        if (record == 0)
                return 0;
        store->ledger->records[record].client = get_cookie(client);
        store->ledger->records[record].state = LEDGER_HELD;
        store->entries[record].fds[0] = client;
        store_put(store, client, LETTER_CLIENT);
        return record;
}

uint32_t store_add_pair(Store *store, uint32_t record, int client, int backend) {
        if (record == 0) {
                record = store_add_held(store, client);
                if (record == 0)
                        return 0;
                store->ledger->records[record].state = LEDGER_LOST;
        }
        store->ledger->records[record].backend = get_cookie(backend);
        store->entries[record].fds[1] = backend;
        store_put(store, backend, LETTER_BACKEND);
        return record;
}

uint32_t store_add_pipe(Store *store, int in, int out) {
        struct stat status;
        uint32_t row = 1;

        while (row <= LEDGER_PIPES_MAX && store->pipes[row].fds[0] >= 0)
                row++;
        if (!store_is_on(store) || row > LEDGER_PIPES_MAX || fstat(in, &status) < 0 ||
            store_open_chests(store) < 0)
                return 0;
        store->ledger->head->pipes[row] = (LedgerPipe){ .inode = status.st_ino };
        store->pipes[row] = (StoreEntry){ { in, out } };
        store_put(store, in, LETTER_PIPE);
        store_put(store, out, LETTER_PIPE);
        return row;
}

/* Forgetting */

static void store_forget(Store *store, StoreEntry *entry) {
        for (unsigned i = 0; i < 2; i++)
                if (entry->fds[i] >= 0) {
                        store->n_live--;
                        store->n_dead++;
                        entry->fds[i] = -EBADF;
                }
}

void store_remove(Store *store, uint32_t record) {
        if (record == 0)
                return;
        (void) store_flush(store);
        store_forget(store, &store->entries[record]);
        ledger_give_record(store->ledger, record);
}

void store_remove_pipe(Store *store, uint32_t row) {
        if (row == 0)
                return;
        (void) store_flush(store);
        store_forget(store, &store->pipes[row]);
        store->ledger->head->pipes[row] = (LedgerPipe){};
}

bool store_tidy(Store *store, bool now) {
        if (store->n_live > 0)
                store_announce(store);
        if (store->n_dead == 0)
                return store->n_live > 0 && !store->announced;
        if (now || store->n_dead >= MAX((size_t) DEAD_MIN, store->n_live)) {
                int r = store_repack(store);

                if (r < 0)
                        store_complain(store, r);
        }
        return store->n_dead > 0 || (store->n_live > 0 && !store->announced);
}

/* Loading */

static int key_compare(const void *a, const void *b) {
        const StoreKey *x = a, *y = b;

        return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

static int store_index(Store *store, StoreKey **ret, size_t *ret_n) {
        const Ledger *ledger = store->ledger;
        StoreKey *keys = new0(StoreKey, (size_t) ledger->n_records * 2);
        size_t n = 0;

        if (!keys)
                return -ENOMEM;
        for (uint32_t i = 1; i < ledger->n_records; i++) {
                const LedgerRecord *record = &ledger->records[i];

                if (record->state == LEDGER_FREE)
                        continue;
                keys[n++] = (StoreKey){ record->client, i, 0 };
                if (record->backend != 0)
                        keys[n++] = (StoreKey){ record->backend, i, 1 };
        }
        qsort(keys, n, sizeof(*keys), key_compare);
        *ret = keys;
        *ret_n = n;
        return 0;
}

/* Of a program whose ledger cannot be read: who has not been served yet can be held on. What has been under way is reset, for
 * an end would say that it was complete. */
static void store_sort_unknown(Store *store, int fd, int letter) {
        uint32_t record = 0;
        Counter counter;

        if (counter_get(&counter, fd) < 0 || (counter.ended && counter.finished)) {
                (void) fd_close(fd);
                return;
        }
        if (letter == LETTER_CLIENT && counter.read == 0 && counter.written == 0)
                record = ledger_take_record(store->ledger);
        if (record == 0 || !store_make_entry(store, record)) {
                (void) connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
                (void) fd_close(fd);
                return;
        }
        store->ledger->records[record] = (LedgerRecord){ .client = get_cookie(fd), .state = LEDGER_HELD };
        store->entries[record].fds[0] = fd;
}

static void store_sort_pipe(Store *store, int fd) {
        struct stat status;
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0 && fstat(fd, &status) >= 0 && S_ISFIFO(status.st_mode))
                for (uint32_t row = 1; row <= LEDGER_PIPES_MAX; row++) {
                        int *place = &store->pipes[row].fds[(flags & O_ACCMODE) == O_RDONLY];

                        if (store->ledger->head->pipes[row].inode != status.st_ino || *place >= 0)
                                continue;
                        *place = fd;
                        return;
                }
        (void) fd_close(fd);
}

static void store_sort(Store *store, const StoreKey *keys, size_t n, int fd, int letter) {
        StoreKey key = { .cookie = get_cookie(fd) };
        const StoreKey *found;

        if (letter == LETTER_PIPE) {
                store_sort_pipe(store, fd);
                return;
        }
        found = key.cookie != 0 && n > 0 ? bsearch(&key, keys, n, sizeof(*keys), key_compare) : NULL;
        if (!found && store->foreign) {
                store_sort_unknown(store, fd, letter);
                return;
        }
        if (!found || store->entries[found->record].fds[found->which] >= 0) {
                (void) fd_close(fd);
                return;
        }
        store->entries[found->record].fds[found->which] = fd;
}

/* Each batch is in the target, if it has room, before it is dropped here. */
static void store_move(Store *store, const Chest *source, const Chest *target, const StoreKey *keys, size_t n,
                       bool keep) {
        ChestBatch batch;

        while (chest_peek(source, &batch) > 0) {
                (void) (batch.n > 0 && chest_put(target, &batch) < 0);
                for (size_t i = 0; i < batch.n; i++)
                        if (keep)
                                store_sort(store, keys, n, batch.fds[i], batch.letters[i]);
                        else
                                (void) fd_close(batch.fds[i]);
                (void) chest_drop(source);
        }
}

static bool store_count_crashes(Store *store) {
        LedgerHead *head = store->ledger->head;

        head->in_hand = 0;
        if (!head->loading)
                head->crashes = 0;
        head->loading = true;
        return head->crashes < LEDGER_CRASHES_MAX;
}

int store_load(Store *store, StorePipeHandler on_pipe, StoreHandler handler, void *userdata) {
        _cleanup_free_ StoreKey *keys = NULL;
        LedgerHead *head = store->ledger->head;
        size_t n = 0;
        int r;

        if (store->chests[0].in < 0 && store->chests[1].in < 0)
                return 0;
        r = store_open_chests(store);
        if (r < 0)
                return r;
        if (!store_count_crashes(store)) {
                log_warning("The program has crashed %u times over what was left by the ones before, dropping that.",
                            LEDGER_CRASHES_MAX);
                for (uint32_t i = 1; i < store->ledger->n_records; i++)
                        store->ledger->records[i].state = LEDGER_LOST;
        }

        r = store_index(store, &keys, &n);
        if (r < 0)
                return r;
        if (!store_make_entry(store, store->ledger->n_records))
                return -ENOMEM;
        /* All of it into the first, and from there into the second. Both times looked at, for the first may have no room
         * for the other's; but of who is unknown the second look could not tell that it is one. */
        store_move(store, &store->chests[1], &store->chests[0], keys, n, !store->foreign);
        store_move(store, &store->chests[0], &store->chests[1], keys, n, true);
        store->active = 1;

        for (uint32_t i = 1; i <= LEDGER_PIPES_MAX; i++) {
                StoreEntry *pipe = &store->pipes[i];

                store->n_live += (size_t) (pipe->fds[0] >= 0) + (pipe->fds[1] >= 0);
                if (pipe->fds[0] >= 0 && pipe->fds[1] >= 0 && on_pipe(i, pipe->fds[0], pipe->fds[1], userdata))
                        continue;
                for (unsigned j = 0; j < 2; j++)
                        (void) fd_close(pipe->fds[j]);
                store_remove_pipe(store, i);
        }
        for (uint32_t i = 1; i < store->ledger->n_records; i++) {
                StoreEntry *entry = &store->entries[i];

                store->n_live += (size_t) (entry->fds[0] >= 0) + (entry->fds[1] >= 0);
                if (store->ledger->records[i].state == LEDGER_FREE)
                        continue;
                head->in_hand = i;
                handler(i, entry->fds[0], entry->fds[1], userdata);
                head->in_hand = 0;
        }
        head->loading = false;
        head->crashes = 0;
        /* What was said twice, or was nobody's. */
        (void) store_repack(store);
        if (store->n_live > 0)
                store_announce(store);
        return 0;
}
