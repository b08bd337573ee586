#pragma once

/* Busy: what else than a client keeps a stack awake: a command that somebody runs in one of its containers, the service's own `busy.command`,
 * and what its containers use of the processors. Asked now and then, and only while nobody is connected. */

#include "wake/member/member.h"

typedef struct Busy Busy;

/* An answer has come, perhaps from inside busy_ask(). `changed`: the reason is another one. Must not free it. */
typedef void (*BusyHandler)(Busy *busy, bool changed, void *userdata);

/* `members` are the service's, one for each dependency, borrowed as `context` is. */
int busy_new(Busy **ret, const MemberContext *context, Member *const *members, BusyHandler handler,
             void *userdata);
Busy *busy_free(Busy *busy);
DEFINE_CLEANUP(Busy *, busy_free);

/* Begins a look, if none is under way. */
void busy_ask(Busy *busy);
/* The same, but what one that is under way will say is not enough: it may have passed by already. */
void busy_ask_anew(Busy *busy);
bool busy_is_asking(const Busy *busy);
/* Drops the look that is under way. */
void busy_give_up(Busy *busy);
/* Somebody is connected: what is averaged begins anew, and there is no other reason. True: there was one. */
bool busy_note_client(Busy *busy);
/* What the last look found, or why it could not be told, to go on after "stays awake: "; NULL: nothing. */
const char *busy_reason(const Busy *busy);
