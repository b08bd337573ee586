#pragma once

/* Board: what is known of the services: the configuration, and the status of each as its waker writes it, both followed as they change. The
 * waker writes at changes only; how far a wake is in between follows from the time. */

#include <systemd/sd-event.h>
#include "model/plan.h"
#include "model/service.h"
#include "model/status.h"
#include "util/bytes.h"

typedef struct Board Board;
typedef struct BoardEntry BoardEntry;

/* A service's status has changed, or its progress while somebody looks; NULL: the configuration has. What changes often is told a few times
 * a second, the first change at once, the last one always. */
typedef void (*BoardHandler)(Board *board, const char *service, void *userdata);

/* `root` is "" outside of tests. Without a configuration there are no services until there is one. */
int board_new(Board **ret, sd_event *event, const char *root, BoardHandler handler, void *userdata);
Board *board_free(Board *board);
DEFINE_CLEANUP(Board *, board_free);

/* How many want to see progress: while there are any, it is told. */
void board_add_viewer(Board *board);
void board_remove_viewer(Board *board);

/* Of `api` in the configuration. */
bool board_sleep_over_tcp(const Board *board);
char *const *board_api_hosts(const Board *board);

/* Brings all that is known up to date. */
void board_look(Board *board);
size_t board_length(const Board *board);
/* By its place in the order of names. Up to date, and valid until the loop runs on. */
BoardEntry *board_get(Board *board, size_t i);
/* NULL if there is no such service. */
BoardEntry *board_find(Board *board, const char *service);
/* As the handler was told of it, or later. */
BoardEntry *board_find_told(const Board *board, const char *service);

const Service *board_entry_service(const BoardEntry *entry);
const Status *board_entry_status(const BoardEntry *entry);
const Plan *board_entry_plan(const BoardEntry *entry);
/* Its front has said that it does not wake it before (CLOCK_MONOTONIC), and how long that is now. */
void board_entry_set_pause(BoardEntry *entry, uint64_t until_usec);
uint64_t board_entry_pause(const BoardEntry *entry);
/* The object of GET /api/services without its end, and that. */
const char *board_entry_object(const BoardEntry *entry);
const char *board_tail(bool sleep_allowed);

typedef struct BoardEvent {
        uint64_t version; /* of what has changed: grows with each change of anything */
        const char *name;
        const char *data, *tail;
        Bytes **bytes; /* a place for the event as it goes out, for all who are told: NULL until somebody puts it there */
        bool is_service; /* the state of a service, not of a part of it */
} BoardEvent;

/* The oldest change after `after` that is still so: of one service, or of all. False if there is none. Nameless: without what
 * tells what a service is made of. */
bool board_entry_next_event(BoardEntry *entry, uint64_t after, bool nameless, BoardEvent *ret);
bool board_next_event(Board *board, uint64_t after, bool sleep_allowed, BoardEvent *ret);
/* The last change of anything, and of the configuration. */
uint64_t board_version(const Board *board);
uint64_t board_config_version(const Board *board);
