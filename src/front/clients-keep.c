#include "catalog/messages.h"
#include "front/clients-internal.h"
#include "util/fd.h"
#include "util/log.h"

/* Keeping: which clients are in the store. A held one is put there as soon as it is known that no page will be shown to
 * it: who gets a page goes to the web service, and must have no duplicate. A forwarded one when it has been that for a
 * second: most connections are shorter, and cost nothing. One timer for all of them ticks while there are younger ones;
 * the list of the forwarded is in order of age. */

#define TICK_USEC (500 * USEC_PER_MSEC)
#define AGE 3U /* ticks, the first of which may have been nearly over */
#define TIDY_TICKS 10U
#define ACCURACY_USEC (10 * USEC_PER_MSEC)

void clients_start_ticking(Clients *clients) {
        if (clients->keeping || !store_is_on(clients->store))
                return;
        reactor_wake_event(clients->reactor);
        clients->keeping = sd_event_source_set_time_relative(clients->keeper, TICK_USEC) >= 0 &&
                           sd_event_source_set_enabled(clients->keeper, SD_EVENT_ONESHOT) >= 0;
}

static void client_note_ignored(const Client *client) {
        if (client->forward.record > 0)
                store_ledger(client->clients->store)->records[client->forward.record].ignored = client->ignored;
}

static void client_keep(Client *client) {
        (void) forward_keep(&client->forward);
        client_note_ignored(client);
}

static int clients_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Clients *clients = ASSERT_PTR(userdata);
        bool more = false;
        Client *client;

        clients->tick++;
        clients->keeping = false;
        for (client = TAILQ_LAST(&clients->lists[CLIENT_FORWARDED], ClientList); client;
             client = TAILQ_PREV(client, ClientList, entry)) {
                uint32_t age = clients->tick - client->tick;

                if (age > AGE)
                        break;
                if (age == AGE && client->forward.record == 0)
                        client_keep(client);
                more = more || age < AGE;
        }
        (void) store_flush(clients->store);
        clients->untidy = store_tidy(clients->store, clients->untidy >= TIDY_TICKS) ? clients->untidy + 1 : 0;
        if (more || clients->untidy > 0)
                clients_start_ticking(clients);
        return 0;
}

int clients_start_keeping(Clients *clients) {
        int r;

        clients->store = clients->options.store;
        r = sd_event_add_time_relative(clients->event, &clients->keeper, CLOCK_MONOTONIC, 0, ACCURACY_USEC,
                                       clients_on_tick, clients);
        if (r >= 0)
                r = sd_event_source_set_enabled(clients->keeper, SD_EVENT_OFF);
        return r;
}

void client_keep_held(Client *client) {
        Clients *clients = client->clients;

        if (client->forward.record > 0)
                return;
        client->forward.record = store_add_held(clients->store, client->fd);
        client_note_ignored(client);
        (void) store_flush(clients->store);
}

void client_keep_forwarded(Client *client) {
        Clients *clients = client->clients;

        client->tick = clients->tick;
        if (client->forward.record > 0)
                client_keep(client);
        else
                clients_start_ticking(clients);
}

void client_note_answer(Client *client) {
        if (client->forward.record > 0)
                store_ledger(client->clients->store)->records[client->forward.record].state = LEDGER_LOST;
}

void client_close_fd(Client *client, bool reset) {
        Watch *watch = &client->forward.client.watch;

        if (client->forward.record > 0) {
                /* The epoll set would know the duplicate. */
                reactor_remove(client->clients->reactor, watch);
                client->fd = fd_close_kept(client->fd, reset);
        } else {
                reactor_forget(client->clients->reactor, watch);
                client->fd = reset ? fd_reset(client->fd) : fd_close(client->fd);
        }
}

/* The next program */

typedef struct Resumed {
        Clients *clients;
        size_t n[_LEDGER_STATE_MAX];
} Resumed;

static bool on_pipe(uint32_t row, int in, int out, void *userdata) {
        Resumed *resumed = ASSERT_PTR(userdata);

        return forwarder_take_pipe(resumed->clients->forwarder, row, in, out);
}

static bool client_resume(Client *client, LedgerState state, uint32_t record, int backend) {
        Clients *clients = client->clients;

        client->looked = true;
        if (store_ledger(clients->store)->records[record].ignored && !client->ignored)
                client_set_ignored(client);
        if (state == LEDGER_HELD) {
                (void) fd_close(backend);
                client->forward.record = record;
                client_hold(client);
                return true;
        }
        if (forward_resume(&client->forward, clients->forwarder, record, client->fd, backend) < 0)
                return false;
        (void) TAKE_FD(client->fd);
        client->tick = clients->tick - AGE - 1;
        client_set_state(client, CLIENT_FORWARDED);
        return true;
}

static void on_kept(uint32_t record, int fd, int backend, void *userdata) {
        Resumed *resumed = ASSERT_PTR(userdata);
        Clients *clients = resumed->clients;
        LedgerState state = store_ledger(clients->store)->records[record].state;
        Client *client = NULL;

        if (fd >= 0 && (state == LEDGER_HELD || (state == LEDGER_FORWARDED && backend >= 0)))
                client = clients_add(clients, fd);
        if (client && client_resume(client, state, record, backend)) {
                resumed->n[state]++;
                return;
        }
        /* What was lost before anything was put into the store has not been ours. */
        if (fd >= 0 || backend >= 0)
                resumed->n[LEDGER_LOST]++;
        (void) fd_close_kept(backend, true);
        store_remove(clients->store, record);
        if (client) {
                client->fd = fd_close_kept(client->fd, true);
                client->forward.record = 0;
                client_drop(client);
        } else
                (void) fd_close_kept(fd, true);
}

static Client *clients_first_ignored(Clients *clients) {
        Client *client;

        for (client = TAILQ_FIRST(&clients->lists[CLIENT_HELD]); client; client = TAILQ_NEXT(client, entry))
                if (client->ignored)
                        return client;
        return NULL;
}

/* Who is ignored does not wait: it is connected now, or goes. That may connect all the others, too. */
static void clients_take_ignored(Clients *clients) {
        Client *client;

        while ((client = clients_first_ignored(clients)))
                clients->options.on_client(client, clients->options.userdata);
}

void clients_resume(Clients *clients) {
        Resumed resumed = { .clients = clients };
        int r;

        r = store_load(clients->store, on_pipe, on_kept, &resumed);
        forwarder_end_resuming(clients->forwarder);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the connections of the program before: %m");
        clients_take_ignored(clients);
        if (resumed.n[LEDGER_HELD] + resumed.n[LEDGER_FORWARDED] + resumed.n[LEDGER_LOST] > 0)
                log_struct(resumed.n[LEDGER_LOST] > 0 ? LOG_WARNING : LOG_NOTICE,
                           "MESSAGE=%s: going on with %zu held and %zu forwarded connections of the program before, %zu "
                           "were lost.",
                           clients->options.service, resumed.n[LEDGER_HELD], resumed.n[LEDGER_FORWARDED],
                           resumed.n[LEDGER_LOST], "MESSAGE_ID=" WAKECHAIN_MESSAGE_RESUMED, "WAKECHAIN_SERVICE=%s",
                           clients->options.service);
}

void clients_hand_over(Clients *clients) {
        Client *client;

        for (client = TAILQ_FIRST(&clients->lists[CLIENT_FORWARDED]); client; client = TAILQ_NEXT(client, entry))
                if (client->forward.record == 0)
                        client_keep(client);
        for (client = TAILQ_FIRST(&clients->lists[CLIENT_HELD]); client; client = TAILQ_NEXT(client, entry))
                client_keep_held(client);
        for (client = TAILQ_FIRST(&clients->lists[CLIENT_CONNECTING]); client; client = TAILQ_NEXT(client, entry))
                client_keep_held(client);
        /* Of whom it is not known whether they are to be ignored. */
        for (client = TAILQ_FIRST(&clients->lists[CLIENT_ASKED]); client; client = TAILQ_NEXT(client, entry))
                client_keep_held(client);
        /* Who has not been told yet waits again. */
        for (client = TAILQ_FIRST(&clients->lists[CLIENT_CLOSING]); client; client = TAILQ_NEXT(client, entry))
                if (client->answer)
                        client_keep_held(client);
        (void) store_flush(clients->store);
}
