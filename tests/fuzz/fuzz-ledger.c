#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "front/keep/ledger.h"

/* What a front that died has left: it may have died because it wrote where it should not. The input is what it wrote
 * over the head and the first records of a ledger. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD_SIZE 4096U
#define RECORDS 64U
#define SLOTS_MAX 4096U

static void check_flow(const Ledger *ledger, const LedgerRecord *record, unsigned i, uint8_t *used) {
        const LedgerFlow *flow = &record->flows[i];

        if (flow->slot == 0 || record->state == LEDGER_FREE)
                return;
        if (flow->slot > ledger->n_slots || flow->slot_size > LEDGER_BUFFER_SIZE || used[flow->slot - 1])
                abort();
        used[flow->slot - 1] = 1;
}

static void check(Ledger *ledger) {
        static uint8_t used[SLOTS_MAX];
        const LedgerHead *head = ledger->head;
        uint32_t n_free = 0;

        memset(used, 0, sizeof(used));
        for (uint32_t i = 1; i < ledger->n_records; i++) {
                const LedgerRecord *record = &ledger->records[i];

                if (record->state >= _LEDGER_STATE_MAX)
                        abort();
                if (record->crashes >= LEDGER_CRASHES_MAX && record->state != LEDGER_LOST &&
                    record->state != LEDGER_FREE)
                        abort();
                n_free += record->state == LEDGER_FREE;
                for (unsigned j = 0; j < 2; j++)
                        check_flow(ledger, record, j, used);
        }
        if (n_free != ledger->n_free_records || head->copy.flow > 1 || head->copy.size > LEDGER_BUFFER_SIZE)
                abort();
        for (unsigned i = 0; i <= LEDGER_PIPES_MAX; i++)
                if (head->pipes[i].flow > 1)
                        abort();

        /* Nobody gets what somebody has. */
        for (unsigned i = 0; i < 8; i++) {
                uint32_t slot = ledger_take_slot(ledger), record = ledger_take_record(ledger);

                if (slot > SLOTS_MAX || (slot > 0 && used[slot - 1]))
                        abort();
                if (slot > 0)
                        used[slot - 1] = 1;
                if (record > 0 && ledger->records[record].state != LEDGER_FREE)
                        abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Ledger *ledger, *next;
        int fd;

        if (ledger_new(&ledger) < 0 || ledger->fd < 0)
                abort();
        size = MIN(size, HEAD_SIZE + RECORDS * sizeof(LedgerRecord));
        /* Most inputs would be refused for their first bytes. */
        if (size > 16)
                memcpy((uint8_t *) ledger->head + 16, data + 16, size - 16);
        if (size > 0 && data[0] == 'x')
                memcpy(ledger->head, data, MIN(size, (size_t) 16));
        fd = fcntl(ledger->fd, F_DUPFD_CLOEXEC, 0);
        (void) ledger_free(ledger);

        if (ledger_open(&next, fd) < 0) {
                if (size <= 16 && (size == 0 || data[0] != 'x'))
                        abort();
                (void) close(fd);
                return 0;
        }
        check(next);
        (void) ledger_free(next);
        return 0;
}
