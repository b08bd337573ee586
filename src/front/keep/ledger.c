#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front/keep/ledger.h"
#include "util/fd.h"

/* Ledger: a memfd, mapped. It is as large as it may ever become, and has holes where nothing was written, so that
 * nothing of it ever moves and what is not used takes no memory; it is sealed against another size, so that no access
 * can fail.
 *
 *      head, in one page | records | buffer | slots
 *
 * The buffer is the one through which all connections' bytes are copied. A slot has what a target has not taken of it.
 * What is written has reached the memory when the program dies, in the order in which it was written, so that writers
 * need no more than to write in an order of which each step makes sense.
 *
 * Bytes that come from a program that died are not believed: it may have died because it wrote where it should not. */

#define MAGIC "wakechn"
#define VERSION 1U
#define HEAD_SIZE ((size_t) 4096)
#define RECORDS_MAX 16384U
#define SLOTS_MAX 4096U
#define WARM_SLOTS_MAX 16U /* free ones that keep their memory */
#define RECORDS_SIZE (RECORDS_MAX * sizeof(LedgerRecord))
#define TOTAL_SIZE (HEAD_SIZE + RECORDS_SIZE + LEDGER_BUFFER_SIZE + SLOTS_MAX * LEDGER_BUFFER_SIZE)
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static_assert(sizeof(LedgerHead) <= HEAD_SIZE, "the head is one page");
static_assert(RECORDS_SIZE % 4096 == 0, "the buffer begins with a page");

static int ledger_map(Ledger **ret, int fd) {
        Ledger *ledger = malloc(sizeof(*ledger));
        int flags = MAP_SHARED | MAP_NORESERVE;
        uint8_t *base;

        if (!ledger)
                return -ENOMEM;
        base = mmap(NULL, TOTAL_SIZE, PROT_READ | PROT_WRITE, fd < 0 ? flags | MAP_ANONYMOUS : flags, fd, 0);
        if (base == MAP_FAILED) {
                free(ledger);
                return -ENOMEM; /* whatever it was: there is none to be had here */
        }
        *ledger = (Ledger){
                .fd = fd,
                .head = (LedgerHead *) base,
                .records = (LedgerRecord *) (base + HEAD_SIZE),
                .buffer = base + HEAD_SIZE + RECORDS_SIZE,
                .slots = base + HEAD_SIZE + RECORDS_SIZE + LEDGER_BUFFER_SIZE,
                .n_records = 1,
        };
        *ret = ledger;
        return 0;
}

static int make_memory(void) {
        _cleanup_close_ int fd = -EBADF;

        fd = memfd_create("wakechain-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) TOTAL_SIZE) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int ledger_new(Ledger **ret) {
        int fd = make_memory(), r;
        Ledger *ledger;

        assert(ret);

        /* Clients can be served without. */
        r = ledger_map(&ledger, fd < 0 ? -EBADF : fd);
        if (r < 0) {
                (void) fd_close(fd);
                return r;
        }
        memcpy(ledger->head->magic, MAGIC, sizeof(ledger->head->magic));
        ledger->head->version = VERSION;
        ledger->head->size = (uint32_t) (TOTAL_SIZE - HEAD_SIZE);
        *ret = ledger;
        return 0;
}

static bool flow_is_valid(const LedgerFlow *flow, uint8_t *used) {
        uint32_t slot = flow->slot;

        if (slot == 0)
                return true;
        if (slot > SLOTS_MAX || flow->slot_size > LEDGER_BUFFER_SIZE || used[slot - 1])
                return false;
        used[slot - 1] = 1;
        return true;
}

static void record_check(LedgerRecord *record, uint8_t *used) {
        if (record->state == LEDGER_FREE)
                return;
        for (unsigned i = 0; i < 2; i++)
                if (record->state >= _LEDGER_STATE_MAX || !flow_is_valid(&record->flows[i], used)) {
                        record->state = LEDGER_LOST;
                        record->flows[i].slot = 0;
                }
        if (record->crashes >= LEDGER_CRASHES_MAX)
                record->state = LEDGER_LOST;
}

/* Not to touch the holes, which would fill them. */
static uint32_t ledger_find_end(Ledger *ledger) {
        off_t begin = (off_t) HEAD_SIZE, end = (off_t) (HEAD_SIZE + RECORDS_SIZE), last = begin, data;

        while ((data = lseek(ledger->fd, last, SEEK_DATA)) >= 0 && data < end) {
                last = lseek(ledger->fd, data, SEEK_HOLE);
                if (last < 0 || last >= end)
                        return RECORDS_MAX;
                begin = last;
        }
        return MIN((uint32_t) ((size_t) (begin - (off_t) HEAD_SIZE) / sizeof(LedgerRecord)) + 1, RECORDS_MAX);
}

/* Free are the rows below the last used one, and the slots below the last used one, that nobody has. */
static int ledger_check(Ledger *ledger) {
        _cleanup_free_ uint8_t *used = new0(uint8_t, SLOTS_MAX);
        LedgerHead *head = ledger->head;

        if (!used)
                return -ENOMEM;
        ledger->n_records = ledger_find_end(ledger);
        memset(&ledger->records[0], 0, sizeof(ledger->records[0]));
        for (uint32_t i = 1; i < ledger->n_records; i++)
                record_check(&ledger->records[i], used);

        if (head->copy.record >= RECORDS_MAX || head->copy.flow > 1 || head->copy.size > LEDGER_BUFFER_SIZE)
                head->copy = (LedgerCopy){};
        for (unsigned i = 0; i <= LEDGER_PIPES_MAX; i++)
                if (head->pipes[i].record >= RECORDS_MAX || head->pipes[i].flow > 1)
                        head->pipes[i] = (LedgerPipe){};

        for (uint32_t i = ledger->n_records; --i > 0;)
                if (ledger->records[i].state == LEDGER_FREE)
                        ledger_give_record(ledger, i);
        for (uint32_t i = SLOTS_MAX; i > 0 && ledger->n_slots == 0; i--)
                if (used[i - 1])
                        ledger->n_slots = i;
        for (uint32_t i = ledger->n_slots; i > 0; i--)
                if (!used[i - 1])
                        ledger_give_slot(ledger, i);
        return 0;
}

int ledger_open(Ledger **ret, int fd) {
        _cleanup_(ledger_freep) Ledger *ledger = NULL;
        const LedgerHead *head;
        struct stat status;
        int seals, r;

        assert(ret);

        seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) < 0 ||
            status.st_size != (off_t) TOTAL_SIZE)
                return -EBADMSG;
        r = ledger_map(&ledger, fd);
        if (r < 0)
                return r;
        ledger->fd = -EBADF; /* not ours yet */
        head = ledger->head;
        if (memcmp(head->magic, MAGIC, sizeof(head->magic)) != 0 || head->version != VERSION ||
            head->size != TOTAL_SIZE - HEAD_SIZE)
                return -EBADMSG;
        ledger->fd = fd;
        r = ledger_check(ledger);
        if (r < 0) {
                ledger->fd = -EBADF;
                return r;
        }
        *ret = TAKE_PTR(ledger);
        return 0;
}

Ledger *ledger_free(Ledger *ledger) {
        if (!ledger)
                return NULL;

        (void) munmap(ledger->head, TOTAL_SIZE);
        (void) fd_close(ledger->fd);
        free(ledger->free_records);
        free(ledger->free_slots);
        return mfree(ledger);
}

void ledger_trim(Ledger *ledger) {
        (void) madvise(ledger->buffer, LEDGER_BUFFER_SIZE, MADV_REMOVE);
        for (uint32_t i = 0; i < ledger->n_free_slots; i++)
                (void) madvise(ledger_slot(ledger, ledger->free_slots[i]), LEDGER_BUFFER_SIZE, MADV_REMOVE);
}

/* The stacks of free rows and free slots are made at the first use, as large as they can become. */
static bool push(uint32_t **stack, uint32_t *n, uint32_t max, uint32_t value) {
        if (!*stack)
                *stack = malloc(max * sizeof(**stack));
        if (!*stack)
                return false;
        (*stack)[(*n)++] = value;
        return true;
}

uint32_t ledger_take_record(Ledger *ledger) {
        uint32_t record;

        if (ledger->n_free_records > 0)
                record = ledger->free_records[--ledger->n_free_records];
        else if (ledger->n_records < RECORDS_MAX)
                record = ledger->n_records++;
        else
                return 0;
        ledger->records[record] = (LedgerRecord){};
        return record;
}

void ledger_give_record(Ledger *ledger, uint32_t record) {
        ledger->records[record].state = LEDGER_FREE;
        (void) push(&ledger->free_records, &ledger->n_free_records, RECORDS_MAX, record);
}

uint32_t ledger_take_slot(Ledger *ledger) {
        if (ledger->n_free_slots > 0)
                return ledger->free_slots[--ledger->n_free_slots];
        return ledger->n_slots < SLOTS_MAX ? ++ledger->n_slots : 0;
}

void ledger_give_slot(Ledger *ledger, uint32_t slot) {
        if (ledger->n_free_slots >= WARM_SLOTS_MAX)
                (void) madvise(ledger_slot(ledger, slot), LEDGER_BUFFER_SIZE, MADV_REMOVE);
        (void) push(&ledger->free_slots, &ledger->n_free_slots, SLOTS_MAX, slot);
}

/* Crashes */

static LedgerHead *watched_head = NULL;
static LedgerRecord *watched_records = NULL;

static void on_crash(int signal, siginfo_t *info, void *context) {
        uint32_t record = watched_head->in_hand;

        /* Not one that somebody else has sent: by us (abort()) or by the kernel. */
        if (info->si_code > 0 || info->si_pid == getpid()) {
                if (record > 0 && record < RECORDS_MAX)
                        watched_records[record].crashes++;
                else if (watched_head->loading)
                        watched_head->crashes++;
        }
        /* As it would have been without us, for the default is in force again. The unit allows no signals, not even to oneself: then what
         * the processor has found it finds again, and what somebody else has sent is ended by. */
        if (raise(signal) != 0 && info->si_code <= 0)
                _exit(128 + signal);
}

void ledger_watch_crashes(Ledger *ledger) {
        static const int signals[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP };
        struct sigaction action = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER };

        watched_head = ledger->head;
        watched_records = ledger->records;
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaction(signals[i], &action, NULL);
}
