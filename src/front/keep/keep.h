#pragma once

/* Keep: what outlives this program if it is killed, for the next one to go on with: duplicates of its connections, and
 * what is to be known about the bytes between them. The only header of this folder for the rest of the front. To a
 * client it makes no difference: for a connection that is not kept, none of these calls does anything. */

#include "util/macro.h"

#define KEEP_BUFFER_SIZE ((size_t) 64 * 1024)

typedef struct Keep Keep;

/* A connection's place, embedded in what owns the connection. All zero: it has none. */
typedef struct KeepPlace {
        uint32_t record; /* in the ledger */
        bool uncounted; /* the kernel does not count its bytes: as far as possible they go through pipes only */
} KeepPlace;

static inline bool is_kept(const KeepPlace *kept) {
        return kept->record > 0;
}

/* A pipe, and its place: 0, or a row in the ledger. */
typedef struct KeepPipe {
        int in, out;
        uint32_t row;
} KeepPipe;

/* One direction of a connection: 0 has the client's bytes, 1 the backend's. */
typedef struct KeepFlow {
        bool finished; /* its end has been passed on */
        bool counted; /* its source is TCP */
        size_t size; /* bytes that were read and not yet written */
        KeepPipe pipe; /* they are in it; or, if that has no descriptors, in memory */
        uint8_t *bytes;
        uint32_t slot; /* that memory is one of the ledger's; 0: it is not */
} KeepFlow;

/* One that is to be opened, when it has got what PID 1 has passed: takes the descriptor of this name, and returns true, if
 * it is of a keep. What is kept there is taken out with keep_load(). */
int keep_new(Keep **ret);
bool keep_take_passed(Keep *keep, const char *name, int fd);
int keep_open(Keep *keep);
Keep *keep_free(Keep *keep);
DEFINE_CLEANUP(Keep *, keep_free);
/* Whether there is a PID 1 that would start a next program. */
bool keep_is_on(const Keep *keep);
/* Gives back memory that is not used. */
void keep_trim(Keep *keep);

/* Connections. What cannot be kept stays without a place, which is said once. The descriptors are borrowed. */

/* A client that nothing has been read from or written to; at once. One that has a place stays what it is. */
void keep_held(Keep *keep, KeepPlace *kept, int client, bool ignored);
/* A client and its backend, with the next keep_flush(); at once if the client was held. What is between them is given a
 * place, too: the flows tell where it is afterwards. Negative: it could not be, and the next program will reset them. */
int keep_forwarded(Keep *keep, KeepPlace *kept, const int fds[static 2], bool ignored, KeepFlow flows[static 2]);
/* Negative: some of it could not be kept, which was told. */
int keep_flush(Keep *keep);
/* From now on nobody else could go on with it. */
void keep_lose(Keep *keep, const KeepPlace *kept);
/* It has no place any more. The duplicates stay for a while: who wants it to end must do that with keep_end(). */
void keep_remove(Keep *keep, KeepPlace *kept);
/* Closes duplicates of what was removed, if they have become many or `now`. Returns whether there is anything left to do. */
bool keep_tidy(Keep *keep, bool now);
/* Closes a socket of a kept connection, which others have, too: with a reset, or an end of both sides. Returns -EBADF. */
int keep_end(int fd, bool reset);

/* The way of its bytes: what is to be told before something is done, so that a kill at any moment leaves them to be
 * found. Each is a few writes to memory. */

/* Its event is handled, which may crash; NULL: nobody's is. */
void keep_take_in_hand(Keep *keep, const KeepPlace *kept);
/* The buffer that all bytes are copied through, for one read from this flow. */
uint8_t *keep_begin_copy(Keep *keep, const KeepPlace *kept, unsigned flow);
/* So many have been read, and none has been written. */
void keep_note_copy(Keep *keep, const KeepPlace *kept, size_t size);
/* All of them have been written, or none was read. */
void keep_end_copy(Keep *keep, const KeepPlace *kept, unsigned flow);
/* The end is about to be passed on. */
void keep_note_finished(Keep *keep, const KeepPlace *kept, unsigned flow);
/* Copies bytes that could not be written to where they are found. NULL: to be kept elsewhere, for it is not kept or there
 * is no memory left. */
uint8_t *keep_take_slot(Keep *keep, const KeepPlace *kept, unsigned flow, const void *data, size_t size,
                        uint32_t *ret_slot);
/* These, or those kept elsewhere, have been written, or are of no use any more. */
void keep_give_slot(Keep *keep, const KeepPlace *kept, unsigned flow, uint32_t slot);
/* The next bytes in this empty pipe are of this flow. False: nobody else would find them. */
bool keep_claim_pipe(Keep *keep, const KeepPlace *kept, unsigned flow, KeepPipe *pipe);
/* Before it is closed. */
void keep_remove_pipe(Keep *keep, KeepPipe *pipe);

/* The next program */

typedef struct KeepFound {
        KeepPlace kept;
        bool forwarded; /* or held */
        bool ignored;
        int fds[2]; /* of the client, and of the backend if it is forwarded */
} KeepFound;
typedef struct KeepCounts {
        size_t held, forwarded, lost;
} KeepCounts;

/* Takes over the descriptors and the place if it returns true. Otherwise the connection is reset. */
typedef bool (*KeepHandler)(const KeepFound *found, void *userdata);
/* Calls it for whatever the program before has kept. */
int keep_load(Keep *keep, KeepHandler handler, void *userdata, KeepCounts *ret);
/* For the handler: what is between the two sockets. Pipe and slot are the caller's. Negative: nobody can go on with it. */
int keep_resume(Keep *keep, KeepPlace *kept, const int fds[static 2], KeepFlow ret[static 2]);
