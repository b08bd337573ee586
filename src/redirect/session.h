#pragma once

/* Session: the lock, nftables and the marks, which every verb works on; and what all of them do to the table. */

#include "config/config.h"
#include "io/redirect.h"
#include "redirect/marks.h"

typedef struct Session {
        const char *root, *config_path; /* borrowed; NULL: the first of the search path */
        int lock;
        Redirect *redirect;
        MarkList marks;
} Session;

#define SESSION_NULL(root_, config_path_)                                      \
        (Session) {                                                            \
                .root = (root_), .config_path = (config_path_), .lock = -EBADF \
        }

/* Logs; once it holds the lock, it is held until the end. */
int session_lock(Session *session);
/* The lock, the marks and nftables. Returns what redirect_new() says; what that means is the verb's to tell. */
int session_open(Session *session);
void session_done(Session *session);
#define _cleanup_session_ _cleanup_(session_done)
/* Why something failed: what nftables said, else the error's text. */
const char *session_error(const Session *session, int error);

int session_load_config(const Session *session, Config **ret);

/* What a service is to be while it is in that state. */
RedirectAim redirect_aim_of(ServiceState state);
/* Entries and what they need, one for each of `marks`. */
int session_entries_new(const Session *session, const Mark *const *marks, size_t n, RedirectEntry **ret);
RedirectEntry *session_entries_free(RedirectEntry *entries, size_t n);

/* Another service has the port, or has it no more: said, and noted in the mark, unless that was `before`. */
void session_note_rival(const Session *session, const Service *service, const char *before, const char *rival);
/* The same, if it was said before or not. */
void record_rival(const Service *service, const char *rival);
