#pragma once

/* Chest: descriptors in the queue of a socket, in the order in which they were put there. */

#include "util/fd.h"

#define CHEST_BATCH FD_SEND_MAX /* descriptors in one message */

/* Two ends. What is put into the first comes out of the second. */
typedef struct Chest {
        int in, out;
} Chest;
#define CHEST_NONE ((Chest){ -EBADF, -EBADF })

typedef struct ChestBatch {
        size_t n;
        int fds[CHEST_BATCH];
        char letters[CHEST_BATCH + 1]; /* what each one is */
} ChestBatch;

int chest_open(Chest *ret);
/* Two descriptors, in any order, that are believed to be a chest's. Takes them on success. */
int chest_adopt(Chest *ret, int a, int b);
Chest chest_close(Chest *chest);

/* -EAGAIN: it is full. */
int chest_put(const Chest *chest, const ChestBatch *batch);
/* The oldest batch, as duplicates that are the caller's; it stays. 0: there is none. */
int chest_peek(const Chest *chest, ChestBatch *ret);
/* Closes the oldest batch. False: there is none. */
bool chest_drop(const Chest *chest);
