#pragma once

/* Client: an accepted connection of a front, in one of six states. What the states mean for it is here; when one follows
 * the other is the front's decision. */

#include "front/answer.h"
#include "front/keep/keep.h"
#include "front/port-manner.h"
#include "front/rules.h"
#include "front/ways.h"
#include "model/service.h"

typedef struct Client Client;
typedef struct Clients Clients;

typedef enum ClientState {
        CLIENT_ASKED, /* its first bytes are awaited, as they may say that it is to be ignored */
        CLIENT_HELD, /* waits for the stack */
        CLIENT_OFFERED, /* a browser, and the web service has not answered yet whether it takes it */
        CLIENT_CONNECTING, /* the stack is awake, its backend has not accepted yet */
        CLIENT_FORWARDED,
        CLIENT_CLOSING, /* gets the answer of a failed wake, or has got it */
        _CLIENT_STATE_MAX,
        _CLIENT_STATE_INVALID = -EINVAL,
} ClientState;

/* All pointers are borrowed. */
typedef struct ClientsOptions {
        Keep *keep;
        unsigned pipes_max; /* how many pipes may exist at a time; 0: bytes are copied */
        bool all_tcp; /* none of them comes by a Unix socket */
        const char *service; /* the name in what clients are told */
        const char *page_socket; /* where the web service listens */
        PageMode page;
        int proxy_protocol; /* version of the header for backends; 0: none */
        const PortManners *ports; /* for whom both are others; NULL: none */
        const Rules *rules;
        /* A client is to be given a state: it is known by now whether it is ignored. */
        void (*on_client)(Client *client, void *userdata);
        /* A client has gone. Must not free the clients. May come from a quiet watch (reactor.h). */
        void (*on_gone)(void *userdata);
        /* The web service shows a client the page; it goes next. */
        void (*on_shown)(void *userdata);
        /* It does not: the client is to be connected or dismissed. */
        void (*on_not_shown)(Client *client, void *userdata);
        /* A client's backend could not be tried, for descriptors or memory have run out. It is tried again. */
        ConnectorsExhaustedHandler on_exhausted;
        void *userdata;
} ClientsOptions;

int clients_new(Clients **ret, Reactor *reactor, const ClientsOptions *options);
Clients *clients_free(Clients *clients);
DEFINE_CLEANUP(Clients *, clients_free);

size_t clients_total(const Clients *clients);
/* Those who need the stack: held, on offer or connecting, and not ignored. */
size_t clients_waiting(const Clients *clients);
/* The same, with those that are forwarded, but not the quiet ones. */
size_t clients_holding(const Clients *clients);
/* To be called now and then: forwarded clients that have sent nothing since the last call are quiet, until they do. */
void clients_note_quiet(Clients *clients);

/* A new connection, taken in any case. on_client() follows, from inside as a rule. */
void clients_take(Clients *clients, int fd);
bool client_is_ignored(const Client *client);
/* Each may free the client. Held and closing ones that want to see a page are offered to the web service. */
void client_hold(Client *client);
/* To the backends of its way, which are borrowed as those below. Where nobody accepts yet it is held, without a page, which would say that the
 * stack is awake; who is ignored goes. */
void client_connect(Client *client, const Ways *ways);
/* It goes, with the answer, which is referenced, if it speaks HTTP. NULL: without a word. */
void client_dismiss(Client *client, Answer *answer);
/* It was closing when it was offered: NULL if it was not. */
Answer *client_answer_due(const Client *client);

/* All that are held or connecting: connect, those that are connecting anew. The ways are borrowed until the next call of this or
 * clients_hold_waiting() or clients_answer_waiting(). */
void clients_connect_waiting(Clients *clients, const Ways *ways);
void clients_hold_waiting(Clients *clients);
/* Those that are held, or `connecting` as well. Returns how many there were. */
size_t clients_answer_waiting(Clients *clients, Answer *answer, bool connecting);

/* The next try begins so much later: what browsers are told that are offered until then. */
void clients_set_pause(Clients *clients, uint64_t pause_usec);

/* Goes on with what the program before has kept in the keep: those that are held and those that are forwarded. */
void clients_resume(Clients *clients);
/* Keeps all that can be kept, for the next program. This one is to exit at once, without freeing them. */
void clients_hand_over(Clients *clients);
