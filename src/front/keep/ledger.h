#pragma once

/* Ledger: what is to be known about kept connections when the program is no more, in memory that outlives it. */

#include "util/macro.h"

#define LEDGER_BUFFER_SIZE ((size_t) 64 * 1024)
#define LEDGER_PIPES_MAX 64U /* rows 1 to this */
#define LEDGER_CRASHES_MAX 3U

typedef enum LedgerState {
        LEDGER_FREE,
        LEDGER_HELD, /* nothing has been read from the client, nor written to it */
        LEDGER_FORWARDED,
        LEDGER_LOST, /* another program could not go on with it */
        _LEDGER_STATE_MAX,
        _LEDGER_STATE_INVALID = -EINVAL,
} LedgerState;

/* One direction. */
typedef struct LedgerFlow {
        int64_t balance; /* to be added to what was read from the source: what the target gets */
        uint32_t slot; /* has what was read and not yet written, or its end: the first 64 KiB are slot 1; 0: none */
        uint32_t slot_size;
        uint8_t finished; /* the end has been passed on, or is about to be */
        uint8_t doubtful; /* bytes are where nobody else finds them */
        uint8_t reserved[6];
} LedgerFlow;

typedef struct LedgerRecord {
        uint64_t client, backend; /* SO_COOKIE */
        uint32_t state;
        uint32_t crashes; /* of programs that had it in hand */
        uint32_t counted; /* both are TCP: their counters tell what is where */
        uint32_t ignored; /* keeps nothing awake */
        LedgerFlow flows[2]; /* the client's bytes, the backend's */
} LedgerRecord;

/* Whose bytes are in the buffer, if any are. */
typedef struct LedgerCopy {
        uint32_t record, flow;
        uint64_t size; /* 0: not known, and nothing has been written yet */
} LedgerCopy;

/* Whose bytes are in a pipe, if any are. */
typedef struct LedgerPipe {
        uint64_t inode;
        uint32_t record, flow;
} LedgerPipe;

/* Shared with whoever comes next. All of it may be written at any time. */
typedef struct LedgerHead {
        char magic[8];
        uint32_t version;
        uint32_t size; /* of what follows the head: its layout */
        uint32_t in_hand; /* the record that is being dealt with; 0: none */
        uint32_t loading; /* not one record, but all of them */
        uint32_t crashes; /* while loading */
        uint32_t reserved;
        LedgerCopy copy;
        LedgerPipe pipes[LEDGER_PIPES_MAX + 1];
} LedgerHead;

typedef struct Ledger {
        int fd; /* or -EBADF: nobody will come next */
        LedgerHead *head;
        LedgerRecord *records;
        uint8_t *buffer;
        uint8_t *slots;
        uint32_t n_records; /* rows that were ever used, the first of which is nobody's */
        uint32_t *free_records, *free_slots;
        uint32_t n_free_records, n_free_slots;
        uint32_t n_slots;
} Ledger;

int ledger_new(Ledger **ret);
/* Takes the descriptor on success. -EBADMSG: it is none, or one of another version. All that can be wrong in it is
 * checked; records that make no sense are LEDGER_LOST. */
int ledger_open(Ledger **ret, int fd);
Ledger *ledger_free(Ledger *ledger);
DEFINE_CLEANUP(Ledger *, ledger_free);
/* Gives back memory that is not used. Only while nothing is in the buffer. */
void ledger_trim(Ledger *ledger);

/* 0: there is none left. */
uint32_t ledger_take_record(Ledger *ledger);
void ledger_give_record(Ledger *ledger, uint32_t record);
uint32_t ledger_take_slot(Ledger *ledger);
void ledger_give_slot(Ledger *ledger, uint32_t slot);

static inline uint8_t *ledger_slot(Ledger *ledger, uint32_t slot) {
        return ledger->slots + (size_t) (slot - 1) * LEDGER_BUFFER_SIZE;
}

/* Signals of a crash are counted in the record in hand, and end the program as before. */
void ledger_watch_crashes(Ledger *ledger);
