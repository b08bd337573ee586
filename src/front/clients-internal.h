#pragma once

/* Clients, inside: what clients.c (their states) and clients-look.c (their first bytes) share. */

#include "front/clients.h"
#include "front/page.h"
#include "front/request.h"

typedef TAILQ_HEAD(ClientList, Client) ClientList;

struct Client {
        Clients *clients;
        TAILQ_ENTRY(Client) entry;
        uint8_t state; /* a ClientState; small, as all of this: there may be ten thousand */
        bool looked : 1; /* its first bytes have been judged, or will not be */
        bool ignored : 1; /* by the rules: neither wakes nor keeps awake */
        bool quiet : 1; /* forwarded, and has not sent anything for a while: does not keep awake */
        uint16_t watched; /* what the watch waits for, EPOLLET aside */
        int fd; /* -EBADF once it is the forward's */
        uint32_t drained;
        uint32_t tick; /* when forwarding began */
        PageOffer *offer;
        Connector *connector;
        Answer *answer; /* closing, and not yet answered */
        sd_event_source *timer;
        Forward forward; /* its watches are the client's in the other states, too */
};

struct Clients {
        sd_event *event;
        Reactor *reactor;
        Forwarder *forwarder;
        Connectors *connectors;
        Page *page; /* NULL: nobody sees one */
        ClientsOptions options;
        size_t peak; /* since memory was given back */
        Store *store; /* the forwarder's */
        sd_event_source *keeper;
        bool keeping; /* the keeper's timer runs */
        uint32_t tick;
        unsigned untidy; /* ticks with something to be tidied up */
        ClientList lists[_CLIENT_STATE_MAX];
        size_t counts[_CLIENT_STATE_MAX];
        size_t passive[_CLIENT_STATE_MAX]; /* of these, the ignored and the quiet */
        char peeked[REQUEST_PEEK_SIZE]; /* of whom is looked at right now */
};

/* clients.c */

/* A connection without a state as yet. NULL: out of memory. */
Client *clients_add(Clients *clients, int fd);
void client_set_state(Client *client, ClientState state);
void client_set_ignored(Client *client);
/* Frees it, and tells the front. */
void client_drop(Client *client);
typedef int (*ClientTimerHandler)(sd_event_source *source, uint64_t usec, void *userdata);
int client_set_timer(Client *client, uint64_t span_usec, ClientTimerHandler handler);
/* Waits for these events, those of a reset and an end of both sides aside, in place of the ones before. */
int client_watch(Client *client, uint32_t events, WatchHandler handler);

/* clients-keep.c */

int clients_start_keeping(Clients *clients);
/* It is held, and goes on being that. */
void client_keep_held(Client *client);
/* It has just begun to be forwarded. */
void client_keep_forwarded(Client *client);
/* It is about to be answered: nobody else can go on. */
void client_note_answer(Client *client);
/* There is something to keep soon, or to tidy up. */
void clients_start_ticking(Clients *clients);
/* Closes the descriptor, also when there is a duplicate of it. */
void client_close_fd(Client *client, bool reset);

/* clients-look.c */

/* The first bytes, unread. `ret` borrows them until the next call. */
RequestVerdict client_peek(Client *client, Request *ret);
/* Asks a client's first bytes whether it is to be ignored; on_client() is called when that is known. */
void client_ask(Client *client);
/* Whether its first bytes may still make it see a page. */
bool client_is_open_to_page(const Client *client);
bool client_wants_page(const Client *client, const Request *request);
/* Offers the client to the web service. False: there is no memory for that, and it stays what it is. */
bool client_offer(Client *client);
/* Looks at a held client's first bytes now, and goes on doing so while they are too few. */
void client_start_looking(Client *client);
void client_on_held_event(Watch *watch, uint32_t events);
