#pragma once

/* Decision: what is to be, from what is so. Pure: no call of it asks anybody anything. */

#include "redirect/facts.h"

typedef enum UnitAction {
        UNIT_LEAVE,
        UNIT_START,
        UNIT_RESTART,
        UNIT_STOP,
        _UNIT_ACTION_MAX,
} UnitAction;

typedef enum StatusAction {
        STATUS_LEAVE,
        STATUS_SAY_ASLEEP,
        STATUS_SAY_OUTSIDE, /* awake, and nobody of ours has woken it */
        STATUS_REMOVE, /* and what is kept of its addresses */
        _STATUS_ACTION_MAX,
} StatusAction;

typedef struct Decision {
        RedirectAim aim;
        UnitAction socket, control;
        bool start_waker;
        StatusAction status;
        bool restart_front; /* which hands over */
        bool stop_waker;
} Decision;

Decision decide(const ServiceFacts *service);
/* Of one that is to listen. */
UnitAction decide_socket(const SocketFacts *socket);

/* Which of the services that are to have a place in the table gets which address and port: of those who ask for the same, the one that
 * runs, since the engine has given it to that one; else the first by name. */
typedef struct Places {
        RedirectEntry *entries; /* one for each of the facts' services; REDIRECT_GONE: it has none */
        const char **rivals; /* the same: who has an address instead of it; NULL: nobody. Guessed addresses do not count */
        size_t n, n_taken;
        RedirectElement *elements; /* what the table is to hold; sorted */
        size_t n_elements;
} Places;

void places_done(Places *places);
/* Borrows from `services`. */
int places_find(Places *ret, const ServiceFacts *services, const Decision *decisions, size_t n);
