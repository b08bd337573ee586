#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "catalog/messages.h"
#include "front/keep/chest.h"
#include "front/keep/counter.h"
#include "front/keep/keep.h"
#include "front/keep/ledger.h"
#include "util/fd.h"
#include "util/log.h"

/* Keep: PID 1 keeps five descriptors of ours (FDSTORE=1, see sd_notify(3)) and gives them to the next program: the
 * ledger, and the ends of two chests. The connections are in a chest. Were each of them PID 1's, it would have to compare
 * every new one with all that it has, with one message for each, while everything else on the machine waits for it; the
 * chest costs nobody but us. PID 1 hears of a front for the first time when it has something to keep.
 *
 * Which record of the ledger a descriptor belongs to is told by SO_COOKIE, a number that the kernel gives a socket for
 * as long as it exists, and for a pipe by its inode. So a descriptor may be in a chest twice, or without a record.
 *
 * Nothing can be taken out from the middle of a queue. Duplicates of what has ended stay until there are as many of them as of
 * what goes on, or the chest is full, or some seconds have passed: then all that goes on is put into the other chest, and
 * this one is emptied.
 *
 * How another program goes on with a connection, without a byte lost or doubled, wherever this one was killed: what the
 * program must do for that are a few writes to memory; the rest is in the kernel anyway.
 *
 * TCP on both sides: the kernel counts what was read from one side and what was written to the other (counter.c). When a
 * connection is given a place it is known how many bytes were on the way between them; so `balance` is known, with
 * which at any later time
 *
 *      read(source) + balance - written(target) = bytes on the way
 *
 * Which ones these are: those of a pipe, if the ledger says that the pipe's last bytes were this direction's, for
 * pipes are empty when they are claimed; else those of the direction's slot, which is given up before anything else is
 * read; else those of the buffer, if it was this direction's last. Of what was read into slot or buffer it is the end
 * that is missing, for the beginning was sent. How much was read into the buffer is written down after the read, and
 * before anything is sent: a kill between leaves all of it on the way.
 *
 * With a Unix socket, which nobody counts: bytes go through pipes only. The kernel moves each from socket to pipe to
 * socket, and the program never has them. If there is no pipe it copies nevertheless, and says so: who is killed
 * while it does loses the connection, rather than bytes in the middle of it.
 *
 * An end is passed on at least once; shutdown() may be repeated. Of a connection that is closed while we sent no end,
 * only a reset can be the reason. */

#define DEAD_MIN 64U /* duplicates that may stay */
#define LEDGER_NAME "wakechain-ledger"
static const char *const chest_names[2] = { "wakechain-chest-0", "wakechain-chest-1" };

static_assert(KEEP_BUFFER_SIZE == LEDGER_BUFFER_SIZE, "the buffer is the ledger's");

enum {
        LETTER_CLIENT = 'c',
        LETTER_BACKEND = 'b',
        LETTER_PIPE = 'p',
};

/* The descriptors of one place. */
typedef struct KeepEntry {
        int fds[2];
} KeepEntry;
#define KEEP_ENTRY_NONE ((KeepEntry){ { -EBADF, -EBADF } })

struct Keep {
        int passed; /* the ledger, until it is opened */
        Ledger *ledger;
        bool managed; /* PID 1 would start a next program */
        bool announced, complained;
        bool foreign; /* what is in the chests has no record */
        Chest chests[2];
        unsigned active;
        ChestBatch batch; /* to be put into the active one */
        KeepEntry *entries; /* by the record */
        uint32_t n_entries;
        KeepEntry pipes[LEDGER_PIPES_MAX + 1];
        bool found[LEDGER_PIPES_MAX + 1]; /* pipes with bytes of the program before */
        size_t n_live, n_dead; /* descriptors in the active chest */
};

static LedgerRecord *keep_record(Keep *keep, const KeepPlace *kept) {
        return &keep->ledger->records[kept->record];
}

/* Telling PID 1 */

/* One message: PID 1 keeps these descriptors, or, without any, forgets those of the name. */
static int keep_notify(Keep *keep, const char *name, const int *fds, unsigned n) {
        char text[128];
        int r;

        if (!keep->managed)
                return 0;
        (void) snprintf(text, sizeof(text), "%s=1\nFDNAME=%s\nFDPOLL=0", n > 0 ? "FDSTORE" : "FDSTOREREMOVE",
                        name);
        r = sd_pid_notify_with_fds(0, /* unset_environment= */ false, text, fds, n);
        return MIN(r, 0);
}

/* Again with the next flush if it fails; what PID 1 has twice it keeps once. */
static void keep_announce(Keep *keep) {
        int r;

        if (keep->announced)
                return;
        r = keep_notify(keep, LEDGER_NAME, &keep->ledger->fd, 1);
        for (unsigned i = 0; i < 2 && r >= 0; i++)
                r = keep_notify(keep, chest_names[i], (int[]){ keep->chests[i].in, keep->chests[i].out }, 2);
        keep->announced = r >= 0;
}

static void keep_complain(Keep *keep, int error) {
        if (!keep->complained)
                log_warning_errno(error, "Not all connections would outlive this program if it were killed: %m");
        keep->complained = true;
}

/* Life */

int keep_new(Keep **ret) {
        Keep *keep;

        assert(ret);

        keep = malloc(sizeof(*keep));
        if (!keep)
                return -ENOMEM;
        *keep = (Keep){
                .managed = !isempty(getenv("NOTIFY_SOCKET")),
                .passed = -EBADF,
                .chests = { CHEST_NONE, CHEST_NONE },
        };
        for (unsigned i = 0; i <= LEDGER_PIPES_MAX; i++)
                keep->pipes[i] = KEEP_ENTRY_NONE;
        *ret = keep;
        return 0;
}

bool keep_take_passed(Keep *keep, const char *name, int fd) {
        int *places[3] = { &keep->passed, NULL, NULL };

        for (unsigned i = 0; i < 2; i++)
                if (streq(name, chest_names[i])) {
                        places[0] = &keep->chests[i].in;
                        places[1] = &keep->chests[i].out;
                }
        if (!places[1] && !streq(name, LEDGER_NAME))
                return false;
        for (unsigned i = 0; places[i]; i++)
                if (*places[i] < 0) {
                        *places[i] = fd;
                        return true;
                }
        (void) fd_close(fd);
        return true;
}

int keep_open(Keep *keep) {
        int r = -ENOENT;

        keep->announced = true;
        for (unsigned i = 0; i < 2; i++) {
                Chest *chest = &keep->chests[i];

                if (chest_adopt(chest, chest->in, chest->out) < 0) {
                        *chest = chest_close(chest);
                        keep->announced = false;
                }
        }
        if (keep->passed >= 0) {
                r = ledger_open(&keep->ledger, keep->passed);
                /* The program after this one may have memory for it. */
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        log_warning_errno(r, "Cannot read what the program before has left, starting anew: %m");
                        (void) keep_notify(keep, LEDGER_NAME, NULL, 0);
                } else
                        keep->passed = -EBADF;
        }
        if (r < 0) {
                keep->passed = fd_close(keep->passed);
                keep->foreign = true;
                keep->announced = false;
                r = ledger_new(&keep->ledger);
        }
        if (r >= 0)
                ledger_watch_crashes(keep->ledger);
        return r;
}

Keep *keep_free(Keep *keep) {
        if (!keep)
                return NULL;

        for (unsigned i = 0; i < 2; i++)
                (void) chest_close(&keep->chests[i]);
        (void) fd_close(keep->passed);
        (void) ledger_free(keep->ledger);
        free(keep->entries);
        return mfree(keep);
}

bool keep_is_on(const Keep *keep) {
        return keep->managed && keep->ledger->fd >= 0;
}

void keep_trim(Keep *keep) {
        ledger_trim(keep->ledger);
}

/* Chests */

/* The program that keeps nothing has no chest. */
static int keep_open_chests(Keep *keep) {
        for (unsigned i = 0; i < 2; i++)
                if (keep->chests[i].in < 0) {
                        int r = chest_open(&keep->chests[i]);

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
static int keep_repack(Keep *keep) {
        const Chest *target = &keep->chests[!keep->active];
        ChestBatch batch = {};
        int r = 0;

        for (uint32_t i = 1; i < keep->n_entries && r >= 0; i++) {
                r = batch_add(&batch, target, keep->entries[i].fds[0], LETTER_CLIENT);
                if (r >= 0)
                        r = batch_add(&batch, target, keep->entries[i].fds[1], LETTER_BACKEND);
        }
        for (uint32_t i = 1; i <= LEDGER_PIPES_MAX && r >= 0; i++)
                for (unsigned j = 0; j < 2 && r >= 0; j++)
                        r = batch_add(&batch, target, keep->pipes[i].fds[j], LETTER_PIPE);
        if (r >= 0 && batch.n > 0)
                r = chest_put(target, &batch);
        if (r >= 0)
                keep->active = !keep->active;
        while (chest_drop(&keep->chests[!keep->active]))
                ;
        if (r >= 0)
                keep->n_dead = 0;
        return r;
}

int keep_flush(Keep *keep) {
        int r;

        if (keep->batch.n == 0)
                return 0;
        r = chest_put(&keep->chests[keep->active], &keep->batch);
        /* What waits is among what goes on. */
        if (r == -EAGAIN)
                r = keep_repack(keep);
        if (r < 0)
                keep_complain(keep, r);
        keep->batch.n = 0;
        keep_announce(keep);
        return MIN(r, 0);
}

static void keep_put(Keep *keep, int fd, int letter) {
        ChestBatch *batch = &keep->batch;

        if (batch->n == CHEST_BATCH)
                (void) keep_flush(keep);
        batch->letters[batch->n] = (char) letter;
        batch->fds[batch->n++] = fd;
        keep->n_live++;
}

static bool keep_make_entry(Keep *keep, uint32_t record) {
        KeepEntry *entries;
        uint32_t n;

        if (record < keep->n_entries)
                return true;
        n = MAX(64U, 2 * record);
        entries = realloc(keep->entries, n * sizeof(*entries));
        if (!entries)
                return false;
        for (uint32_t i = keep->n_entries; i < n; i++)
                entries[i] = KEEP_ENTRY_NONE;
        keep->entries = entries;
        keep->n_entries = n;
        return true;
}

/* Connections */

static uint64_t get_cookie(int fd) {
        uint64_t cookie = 0;

        (void) getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &(socklen_t){ sizeof(cookie) });
        return cookie;
}

static bool keep_add_client(Keep *keep, KeepPlace *kept, int client, LedgerState state, bool ignored) {
        uint32_t record = 0;

        if (!keep_is_on(keep))
                return false;
        if (keep_open_chests(keep) >= 0)
                record = ledger_take_record(keep->ledger);
        if (record > 0 && !keep_make_entry(keep, record)) {
                ledger_give_record(keep->ledger, record);
                record = 0;
        }
        if (record == 0) {
                keep_complain(keep, -ENOBUFS);
                return false;
        }
        keep->ledger->records[record] =
                        (LedgerRecord){ .client = get_cookie(client), .state = state, .ignored = ignored };
        keep->entries[record].fds[0] = client;
        keep_put(keep, client, LETTER_CLIENT);
        kept->record = record;
        return true;
}

void keep_held(Keep *keep, KeepPlace *kept, int client, bool ignored) {
        if (!is_kept(kept) && keep_add_client(keep, kept, client, LEDGER_HELD, ignored))
                (void) keep_flush(keep);
}

/* What waits between the two is put where it is found. */
static int keep_flow(Keep *keep, const KeepPlace *kept, unsigned i, KeepFlow *flow) {
        uint8_t *bytes;

        if (flow->size == 0)
                return 0;
        if (flow->pipe.in >= 0)
                return keep_claim_pipe(keep, kept, i, &flow->pipe) ? 0 : -ENOBUFS;
        bytes = keep_take_slot(keep, kept, i, flow->bytes, flow->size, &flow->slot);
        flow->bytes = bytes ?: flow->bytes;
        return 0;
}

int keep_forwarded(Keep *keep, KeepPlace *kept, const int fds[static 2], bool ignored, KeepFlow flows[static 2]) {
        bool counted = true, was_held = is_kept(kept);
        LedgerRecord *record;
        Counter counters[2];
        int r = 0;

        for (unsigned i = 0; i < 2 && r != -EAGAIN; i++) {
                r = counter_get(&counters[i], fds[i]);
                counted = counted && r >= 0;
        }
        r = r == -EAGAIN ? r : 0;

        if (!was_held && !keep_add_client(keep, kept, fds[0], LEDGER_LOST, ignored))
                return -ENOBUFS;
        record = keep_record(keep, kept);
        record->backend = get_cookie(fds[1]);
        record->counted = counted;
        keep->entries[kept->record].fds[1] = fds[1];
        keep_put(keep, fds[1], LETTER_BACKEND);
        kept->uncounted = !counted;

        for (unsigned i = 0; i < 2 && r >= 0; i++) {
                record->flows[i].finished = flows[i].finished;
                if (counted)
                        record->flows[i].balance =
                                        (int64_t) (counters[!i].written + flows[i].size - counters[i].read);
                r = keep_flow(keep, kept, i, &flows[i]);
        }
        /* A client that was held stays that until its backend is there, too. */
        if (was_held)
                (void) keep_flush(keep);
        atomic_signal_fence(memory_order_seq_cst);
        record->state = r < 0 ? LEDGER_LOST : LEDGER_FORWARDED;
        return r;
}

void keep_lose(Keep *keep, const KeepPlace *kept) {
        if (is_kept(kept))
                keep_record(keep, kept)->state = LEDGER_LOST;
}

static void keep_forget(Keep *keep, KeepEntry *entry) {
        for (unsigned i = 0; i < 2; i++)
                if (entry->fds[i] >= 0) {
                        keep->n_live--;
                        keep->n_dead++;
                        entry->fds[i] = -EBADF;
                }
}

void keep_remove(Keep *keep, KeepPlace *kept) {
        if (!is_kept(kept))
                return;
        (void) keep_flush(keep);
        keep_forget(keep, &keep->entries[kept->record]);
        for (unsigned i = 0; i < 2; i++)
                keep_give_slot(keep, kept, i, keep_record(keep, kept)->flows[i].slot);
        ledger_give_record(keep->ledger, kept->record);
        *kept = (KeepPlace){};
}

int keep_end(int fd, bool reset) {
        if (fd >= 0 &&
            (!reset || connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)) < 0))
                (void) shutdown(fd, SHUT_RDWR);
        return fd_close(fd);
}

bool keep_tidy(Keep *keep, bool now) {
        if (keep->n_live > 0)
                keep_announce(keep);
        if (keep->n_dead == 0)
                return keep->n_live > 0 && !keep->announced;
        if (now || keep->n_dead >= MAX((size_t) DEAD_MIN, keep->n_live)) {
                int r = keep_repack(keep);

                if (r < 0)
                        keep_complain(keep, r);
        }
        return keep->n_dead > 0 || (keep->n_live > 0 && !keep->announced);
}

/* The way of the bytes */

void keep_take_in_hand(Keep *keep, const KeepPlace *kept) {
        keep->ledger->head->in_hand = kept ? kept->record : 0;
}

uint8_t *keep_begin_copy(Keep *keep, const KeepPlace *kept, unsigned flow) {
        LedgerCopy *copy = &keep->ledger->head->copy;

        if (is_kept(kept)) {
                copy->size = 0;
                copy->flow = flow;
                copy->record = kept->record;
                if (kept->uncounted)
                        keep_record(keep, kept)->flows[flow].doubtful = 1;
                atomic_signal_fence(memory_order_seq_cst);
        }
        return keep->ledger->buffer;
}

void keep_note_copy(Keep *keep, const KeepPlace *kept, size_t size) {
        if (!is_kept(kept))
                return;
        keep->ledger->head->copy.size = size;
        atomic_signal_fence(memory_order_seq_cst);
}

void keep_end_copy(Keep *keep, const KeepPlace *kept, unsigned flow) {
        if (is_kept(kept) && kept->uncounted)
                keep_record(keep, kept)->flows[flow].doubtful = 0;
}

void keep_note_finished(Keep *keep, const KeepPlace *kept, unsigned flow) {
        if (is_kept(kept))
                keep_record(keep, kept)->flows[flow].finished = 1;
}

uint8_t *keep_take_slot(Keep *keep, const KeepPlace *kept, unsigned flow, const void *data, size_t size,
                        uint32_t *ret_slot) {
        LedgerFlow *of;
        uint8_t *bytes;
        uint32_t slot;

        *ret_slot = 0;
        if (!is_kept(kept))
                return NULL;
        of = &keep_record(keep, kept)->flows[flow];
        slot = ledger_take_slot(keep->ledger);
        if (slot == 0) {
                of->doubtful = 1;
                return NULL;
        }
        bytes = memcpy(ledger_slot(keep->ledger, slot), data, size);
        /* Filled first, and named then. */
        of->slot_size = (uint32_t) size;
        atomic_signal_fence(memory_order_seq_cst);
        of->slot = *ret_slot = slot;
        return bytes;
}

void keep_give_slot(Keep *keep, const KeepPlace *kept, unsigned flow, uint32_t slot) {
        LedgerFlow *of;

        if (!is_kept(kept))
                return;
        of = &keep_record(keep, kept)->flows[flow];
        of->slot = 0;
        of->doubtful = 0;
        if (slot > 0)
                ledger_give_slot(keep->ledger, slot);
}

static bool keep_add_pipe(Keep *keep, KeepPipe *pipe) {
        struct stat status;
        uint32_t row = 1;

        while (row <= LEDGER_PIPES_MAX && keep->pipes[row].fds[0] >= 0)
                row++;
        if (!keep_is_on(keep) || row > LEDGER_PIPES_MAX || fstat(pipe->in, &status) < 0 ||
            keep_open_chests(keep) < 0)
                return false;
        keep->ledger->head->pipes[row] = (LedgerPipe){ .inode = status.st_ino };
        keep->pipes[row] = (KeepEntry){ { pipe->in, pipe->out } };
        keep_put(keep, pipe->in, LETTER_PIPE);
        keep_put(keep, pipe->out, LETTER_PIPE);
        pipe->row = row;
        if (keep_flush(keep) >= 0)
                return true;
        keep_remove_pipe(keep, pipe);
        return false;
}

bool keep_claim_pipe(Keep *keep, const KeepPlace *kept, unsigned flow, KeepPipe *pipe) {
        LedgerPipe *row;

        if (is_kept(kept) && pipe->row == 0 && !keep_add_pipe(keep, pipe))
                return false;
        if (pipe->row > 0) {
                row = &keep->ledger->head->pipes[pipe->row];
                row->flow = flow;
                row->record = kept->record;
        }
        return true;
}

void keep_remove_pipe(Keep *keep, KeepPipe *pipe) {
        if (pipe->row == 0)
                return;
        (void) keep_flush(keep);
        keep_forget(keep, &keep->pipes[pipe->row]);
        keep->ledger->head->pipes[pipe->row] = (LedgerPipe){};
        pipe->row = 0;
}

/* The next program: what is in the chests is sorted into the entries. */

typedef struct KeepKey {
        uint64_t cookie;
        uint32_t record;
        uint32_t which;
} KeepKey;

static int key_compare(const void *a, const void *b) {
        const KeepKey *x = a, *y = b;

        return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

static int keep_index(Keep *keep, KeepKey **ret, size_t *ret_n) {
        const Ledger *ledger = keep->ledger;
        KeepKey *keys = new0(KeepKey, (size_t) ledger->n_records * 2);
        size_t n = 0;

        if (!keys)
                return -ENOMEM;
        for (uint32_t i = 1; i < ledger->n_records; i++) {
                const LedgerRecord *record = &ledger->records[i];

                if (record->state == LEDGER_FREE)
                        continue;
                keys[n++] = (KeepKey){ record->client, i, 0 };
                if (record->backend != 0)
                        keys[n++] = (KeepKey){ record->backend, i, 1 };
        }
        qsort(keys, n, sizeof(*keys), key_compare);
        *ret = keys;
        *ret_n = n;
        return 0;
}

/* Of a program whose ledger cannot be read: who has not been served yet can be held on. What has been under way is reset, for
 * an end would say that it was complete. */
static void keep_sort_unknown(Keep *keep, int fd, int letter) {
        uint32_t record = 0;
        Counter counter;

        if (counter_get(&counter, fd) < 0 || (counter.ended && counter.finished)) {
                (void) fd_close(fd);
                return;
        }
        if (letter == LETTER_CLIENT && counter.read == 0 && counter.written == 0)
                record = ledger_take_record(keep->ledger);
        if (record == 0 || !keep_make_entry(keep, record)) {
                (void) keep_end(fd, true);
                return;
        }
        keep->ledger->records[record] = (LedgerRecord){ .client = get_cookie(fd), .state = LEDGER_HELD };
        keep->entries[record].fds[0] = fd;
}

static void keep_sort_pipe(Keep *keep, int fd) {
        struct stat status;
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0 && fstat(fd, &status) >= 0 && S_ISFIFO(status.st_mode))
                for (uint32_t row = 1; row <= LEDGER_PIPES_MAX; row++) {
                        int *place = &keep->pipes[row].fds[(flags & O_ACCMODE) == O_RDONLY];

                        if (keep->ledger->head->pipes[row].inode != status.st_ino || *place >= 0)
                                continue;
                        *place = fd;
                        return;
                }
        (void) fd_close(fd);
}

static void keep_sort(Keep *keep, const KeepKey *keys, size_t n, int fd, int letter) {
        KeepKey key = { .cookie = get_cookie(fd) };
        const KeepKey *found;

        if (letter == LETTER_PIPE) {
                keep_sort_pipe(keep, fd);
                return;
        }
        found = key.cookie != 0 && n > 0 ? bsearch(&key, keys, n, sizeof(*keys), key_compare) : NULL;
        if (!found && keep->foreign) {
                keep_sort_unknown(keep, fd, letter);
                return;
        }
        if (!found || keep->entries[found->record].fds[found->which] >= 0) {
                (void) fd_close(fd);
                return;
        }
        keep->entries[found->record].fds[found->which] = fd;
}

/* Each batch is in the target, if it has room, before it is dropped here. */
static void keep_move(Keep *keep, const Chest *source, const Chest *target, const KeepKey *keys, size_t n,
                      bool take) {
        ChestBatch batch;

        while (chest_peek(source, &batch) > 0) {
                (void) (batch.n > 0 && chest_put(target, &batch) < 0);
                for (size_t i = 0; i < batch.n; i++)
                        if (take)
                                keep_sort(keep, keys, n, batch.fds[i], batch.letters[i]);
                        else
                                (void) fd_close(batch.fds[i]);
                (void) chest_drop(source);
        }
}

static void keep_drop_pipe(Keep *keep, uint32_t row) {
        KeepPipe pipe = { keep->pipes[row].fds[0], keep->pipes[row].fds[1], row };

        keep->found[row] = false;
        keep_remove_pipe(keep, &pipe);
        (void) fd_close(pipe.in);
        (void) fd_close(pipe.out);
}

static void keep_offer(Keep *keep, uint32_t i, KeepHandler handler, void *userdata, KeepCounts *counts) {
        LedgerRecord *record = &keep->ledger->records[i];
        KeepEntry *entry = &keep->entries[i];
        KeepFound found = {
                .kept.record = i,
                .forwarded = record->state == LEDGER_FORWARDED,
                .ignored = record->ignored,
                .fds = { entry->fds[0], entry->fds[1] },
        };

        if (record->state == LEDGER_HELD) {
                /* The one that it was about to be connected to. */
                found.fds[1] = entry->fds[1] = fd_close(entry->fds[1]);
                record->backend = 0;
        }
        keep->n_live += (size_t) (found.fds[0] >= 0) + (found.fds[1] >= 0);
        if (found.fds[0] >= 0 && (record->state == LEDGER_HELD || (found.forwarded && found.fds[1] >= 0)) &&
            handler(&found, userdata)) {
                (*(found.forwarded ? &counts->forwarded : &counts->held))++;
                return;
        }
        /* What was lost before anything was put into a chest has not been ours. */
        counts->lost += found.fds[0] >= 0 || found.fds[1] >= 0;
        (void) keep_end(found.fds[1], true);
        (void) keep_end(found.fds[0], true);
        keep_remove(keep, &found.kept);
}

static bool keep_count_crashes(Keep *keep) {
        LedgerHead *head = keep->ledger->head;

        head->in_hand = 0;
        if (!head->loading)
                head->crashes = 0;
        head->loading = true;
        return head->crashes < LEDGER_CRASHES_MAX;
}

/* The program before may have died when it had written a record and not put its descriptors into a chest yet: not even into the first. */
static bool keep_was_empty(const Keep *keep) {
        for (uint32_t i = 1; i < keep->ledger->n_records; i++)
                if (keep->ledger->records[i].state != LEDGER_FREE)
                        return false;
        return keep->chests[0].in < 0 && keep->chests[1].in < 0;
}

int keep_load(Keep *keep, KeepHandler handler, void *userdata, KeepCounts *ret) {
        _cleanup_free_ KeepKey *keys = NULL;
        LedgerHead *head = keep->ledger->head;
        size_t n = 0;
        int r;

        *ret = (KeepCounts){};
        if (keep_was_empty(keep))
                return 0;
        r = keep_open_chests(keep);
        if (r < 0)
                return r;
        if (!keep_count_crashes(keep)) {
                log_warning("The program has crashed %u times over what was left by the ones before, dropping that.",
                            LEDGER_CRASHES_MAX);
                for (uint32_t i = 1; i < keep->ledger->n_records; i++)
                        keep->ledger->records[i].state = LEDGER_LOST;
        }

        r = keep_index(keep, &keys, &n);
        if (r < 0)
                return r;
        if (!keep_make_entry(keep, keep->ledger->n_records))
                return -ENOMEM;
        /* All of it into the first, and from there into the second. Both times looked at, for the first may have no room
         * for the other's; but of who is unknown the second look could not tell that it is one. */
        keep_move(keep, &keep->chests[1], &keep->chests[0], keys, n, !keep->foreign);
        keep_move(keep, &keep->chests[0], &keep->chests[1], keys, n, true);
        keep->active = 1;

        for (uint32_t row = 1; row <= LEDGER_PIPES_MAX; row++) {
                const int *fds = keep->pipes[row].fds;
                int size = 0;

                keep->n_live += (size_t) (fds[0] >= 0) + (fds[1] >= 0);
                keep->found[row] = fds[0] >= 0 && fds[1] >= 0 && ioctl(fds[1], FIONREAD, &size) >= 0 && size > 0;
                if (!keep->found[row])
                        keep_drop_pipe(keep, row);
        }
        for (uint32_t i = 1; i < keep->ledger->n_records; i++) {
                if (keep->ledger->records[i].state == LEDGER_FREE)
                        continue;
                head->in_hand = i;
                keep_offer(keep, i, handler, userdata, ret);
                head->in_hand = 0;
        }
        /* Those that nobody has asked for. */
        for (uint32_t row = 1; row <= LEDGER_PIPES_MAX; row++)
                if (keep->found[row])
                        keep_drop_pipe(keep, row);
        head->loading = false;
        head->crashes = 0;
        /* What was said twice, or was nobody's. */
        (void) keep_repack(keep);
        if (keep->n_live > 0)
                keep_announce(keep);
        return 0;
}

static int keep_resume_flow(Keep *keep, const KeepPlace *kept, unsigned i, const Counter *counters,
                            KeepFlow *ret) {
        const LedgerRecord *record = keep_record(keep, kept);
        const LedgerHead *head = keep->ledger->head;
        const LedgerFlow *flow = &record->flows[i];
        int64_t missing;

        if (flow->finished) {
                ret->finished = true;
                keep_give_slot(keep, kept, i, flow->slot);
                return 0;
        }
        if (flow->doubtful)
                return -EBADMSG;

        for (uint32_t row = 1; row <= LEDGER_PIPES_MAX && ret->pipe.row == 0; row++) {
                int *fds = keep->pipes[row].fds, size = 0;

                if (keep->found[row] && head->pipes[row].record == kept->record && head->pipes[row].flow == i &&
                    ioctl(fds[1], FIONREAD, &size) >= 0) {
                        ret->pipe = (KeepPipe){ fds[0], fds[1], row };
                        ret->size = (size_t) size;
                }
        }
        if (!record->counted)
                return flow->slot > 0 ? -EBADMSG : 0;

        missing = (int64_t) (counters[i].read + (uint64_t) flow->balance - counters[!i].written);
        if (missing < 0)
                return -EBADMSG;
        if (ret->pipe.row > 0)
                return ret->size == (size_t) missing ? 0 : -EBADMSG;
        ret->size = (size_t) missing;
        if (missing == 0)
                keep_give_slot(keep, kept, i, flow->slot);
        else if (flow->slot > 0) {
                if (ret->size > flow->slot_size)
                        return -EBADMSG;
                ret->slot = flow->slot;
                ret->bytes = ledger_slot(keep->ledger, flow->slot) + (flow->slot_size - ret->size);
        } else {
                size_t size = head->copy.size > 0 ? head->copy.size : KEEP_BUFFER_SIZE;

                if (head->copy.record != kept->record || head->copy.flow != i || ret->size > size)
                        return -EBADMSG;
                ret->bytes = keep->ledger->buffer + (head->copy.size > 0 ? size - ret->size : 0);
        }
        return 0;
}

int keep_resume(Keep *keep, KeepPlace *kept, const int fds[static 2], KeepFlow ret[static 2]) {
        const LedgerRecord *record = keep_record(keep, kept);
        Counter counters[2];
        int r;

        for (unsigned i = 0; i < 2; i++) {
                int error = 0;

                ret[i] = (KeepFlow){ .pipe = { -EBADF, -EBADF, 0 } };
                ret[i].counted = counter_get(&counters[i], fds[i]) >= 0;
                if (getsockopt(fds[i], SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) }) < 0 ||
                    error != 0 || (ret[i].counted && counters[i].closed && !record->flows[!i].finished))
                        return -ECONNRESET;
                if (record->counted && !ret[i].counted)
                        return -EBADMSG;
        }
        kept->uncounted = !record->counted;
        for (unsigned i = 0; i < 2; i++) {
                r = keep_resume_flow(keep, kept, i, counters, &ret[i]);
                if (r < 0)
                        return r;
        }
        for (unsigned i = 0; i < 2; i++)
                keep->found[ret[i].pipe.row] = false;
        return 0;
}
