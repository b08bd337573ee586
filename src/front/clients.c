#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "front/clients-internal.h"
#include "front/proxy-header.h"
#include "util/fd.h"
#include "util/log.h"

/* Clients: one list per state, each in order of arrival.
 *
 * Held: nothing is read. Only a client that cannot be answered any more is dropped: reset (EPOLLERR), or closed on
 * a Unix socket (EPOLLHUP) with nothing left to deliver. An end alone (EPOLLRDHUP) is no farewell: a client may
 * send its request, end its side and wait for the reply; TCP does not tell it from one that closed.
 *
 * Closing: an HTTP client gets a 503, anybody else a reset. An HTTP client speaks at once, so who has said nothing
 * for half a second is none; the first bytes are looked at, never taken. After the 503 our side ends, and what the
 * client still sends is thrown away for a while: closing with unread bytes would make the kernel send a reset,
 * which may overtake the answer. */

#define SPEAK_USEC (500 * USEC_PER_MSEC)
#define DRAIN_USEC (1500 * USEC_PER_MSEC)
#define DRAIN_MAX (1024U * 1024)
#define CLOSING_MAX 1024U /* more at a time, and the oldest is closed at once */
#define ACCURACY_USEC USEC_PER_MSEC
#define TRIM_MIN 256U /* clients at a time, and all but a quarter of them gone: memory is given back */
#define TRIM_SHARE 4U

static Watch *client_own_watch(Client *client) {
        return &client->forward.client.watch;
}

static bool client_is_passive(const Client *client) {
        return client->ignored || client->quiet;
}

static void client_enlist(Client *client, ClientState state) {
        Clients *clients = client->clients;

        client->state = (uint8_t) state;
        TAILQ_INSERT_TAIL(&clients->lists[state], client, entry);
        clients->counts[state]++;
        clients->passive[state] += client_is_passive(client);
}

static void client_delist(Client *client) {
        Clients *clients = client->clients;

        TAILQ_REMOVE(&clients->lists[client->state], client, entry);
        clients->counts[client->state]--;
        clients->passive[client->state] -= client_is_passive(client);
}

void client_set_state(Client *client, ClientState state) {
        client_delist(client);
        client_enlist(client, state);
}

/* Resets a connection that has not been ended. */
static Client *client_free(Client *client) {
        Clients *clients = client->clients;

        client_delist(client);
        if (client->forward.record > 0)
                clients_start_ticking(clients);
        sd_event_source_disable_unref(client->timer);
        connector_free(client->connector);
        if (client->state == CLIENT_FORWARDED)
                forward_stop(&client->forward);
        answer_unref(client->answer);
        free(client->offer);
        /* The web service may have it, too, and its answer is on the way. */
        if (client->state == CLIENT_OFFERED)
                client->fd = fd_close(client->fd);
        client_close_fd(client, true);
        store_remove(clients->store, client->forward.record);
        return mfree(client);
}

/* malloc() keeps what has been freed between things that have not. */
static void clients_trim(Clients *clients) {
        size_t total = clients_total(clients);

        if (clients->peak < TRIM_MIN || total > clients->peak / TRIM_SHARE)
                return;
        forwarder_trim(clients->forwarder);
        (void) malloc_trim(0);
        clients->peak = total;
}

void client_drop(Client *client) {
        Clients *clients = client->clients;

        (void) client_free(client);
        clients_trim(clients);
        connectors_resume(clients->connectors);
        clients->options.on_gone(clients->options.userdata);
}

int client_set_timer(Client *client, uint64_t span_usec, ClientTimerHandler handler) {
        reactor_wake_event(client->clients->reactor);
        client->timer = sd_event_source_disable_unref(client->timer);
        return sd_event_add_time_relative(client->clients->event, &client->timer, CLOCK_MONOTONIC, span_usec,
                                          ACCURACY_USEC, handler, client);
}

int client_watch(Client *client, uint32_t events, WatchHandler handler) {
        Watch *watch = client_own_watch(client);

        if (watch->added && client->watched == events && watch->handler == handler)
                return 0;
        reactor_remove(client->clients->reactor, watch);
        *watch = (Watch){ handler, client };
        client->watched = (uint16_t) events;
        return reactor_add(client->clients->reactor, watch, client->fd, events);
}

/* Closing */

/* Who got the answer is closed with an end, and so is who is ignored; anybody else with a reset. */
static void client_dismiss(Client *client) {
        if (!client->answer || client->ignored)
                client_close_fd(client, false);
        client_drop(client);
}

/* True when the client has closed, too, or goes on for too long. */
static bool client_drain(Client *client) {
        char waste[16384];

        while (client->drained < DRAIN_MAX) {
                ssize_t n = recv(client->fd, waste, sizeof(waste), MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return false;
                if (n <= 0)
                        return true;
                client->drained += (uint32_t) n;
        }
        return true;
}

static int client_on_closing_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* Answers if it is time to, or passes on who is to see a page instead. `last`: with what there is. True when nothing
 * more is to be done for the client. */
static bool client_answer(Client *client, bool last) {
        bool may_see_page = client_is_open_to_page(client);
        RequestVerdict verdict;
        Request request;
        const char *text;
        size_t size;

        verdict = client_peek(client, &request);
        if (verdict == REQUEST_OTHER)
                return true;
        if (verdict == REQUEST_MORE || (verdict == REQUEST_PARTIAL && may_see_page && !last))
                return last;
        if (may_see_page && client_wants_page(client, &request) && client_offer(client))
                return false;

        client_note_answer(client);
        text = answer_text(client->answer, request.head, &size);
        if (send(client->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return true;
        client->answer = answer_unref(client->answer);
        (void) shutdown(client->fd, SHUT_WR);
        return client_drain(client) || client_set_timer(client, DRAIN_USEC, client_on_closing_timer) < 0;
}

static int client_on_closing_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Client *client = ASSERT_PTR(userdata);

        if (!client->answer || client_answer(client, true))
                client_dismiss(client);
        return 0;
}

static void client_on_closing_event(Watch *watch, uint32_t events) {
        Client *client = ASSERT_PTR(watch->userdata);
        /* Who has ended will not say more. */
        bool last = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

        if (client->answer ? client_answer(client, last) : client_drain(client))
                client_dismiss(client);
}

void client_close(Client *client, Answer *answer) {
        Clients *clients = client->clients;

        client->connector = connector_free(client->connector);
        (void) answer_ref(answer);
        (void) answer_unref(client->answer);
        client->answer = answer;
        client_set_state(client, CLIENT_CLOSING);

        if (!answer || client_set_timer(client, SPEAK_USEC, client_on_closing_timer) < 0 ||
            client_answer(client, false)) {
                client_dismiss(client);
                return;
        }
        if (client->state != CLIENT_CLOSING)
                return;
        if (client_watch(client, EPOLLIN | EPOLLRDHUP, client_on_closing_event) < 0) {
                client_dismiss(client);
                return;
        }
        if (clients->counts[CLIENT_CLOSING] > CLOSING_MAX)
                client_dismiss(TAILQ_FIRST(&clients->lists[CLIENT_CLOSING]));
}

Answer *client_answer_due(const Client *client) {
        return client->answer;
}

/* Connecting and forwarding */

static void client_on_forward_end(Forward *forward) {
        client_drop((Client *) ((uint8_t *) forward - offsetof(Client, forward)));
}

static void client_unreachable(Client *client) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;
        _cleanup_free_ char *sentence = NULL;

        if (asprintf(&sentence, "%s is awake, but does not accept connections.",
                     client->clients->options.service) < 0)
                sentence = NULL;
        if (!sentence || answer_new(&answer, sentence, USEC_PER_SEC) < 0)
                client_drop(client);
        else
                client_close(client, answer);
}

/* Before anything else: the header has to be first, whoever speaks first behind it. It fits into the buffer of a new
 * connection; where not even that is so, the backend could not tell where it ends. */
static int client_introduce(const Client *client, int backend) {
        int version = client->clients->options.proxy_protocol;
        struct sockaddr_storage peer = {}, own = {};
        socklen_t peer_size = sizeof(peer), own_size = sizeof(own);
        uint8_t header[PROXY_HEADER_MAX];
        size_t size;
        ssize_t n;

        if (version == 0)
                return 0;
        if (getpeername(client->fd, (struct sockaddr *) &peer, &peer_size) < 0 ||
            getsockname(client->fd, (struct sockaddr *) &own, &own_size) < 0)
                return -errno;
        size = proxy_header_make(header, version, (struct sockaddr *) &peer, peer_size, (struct sockaddr *) &own,
                                 own_size);
        /* Else the client's first bytes would wait until this has been acknowledged. */
        (void) setsockopt(backend, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        n = send(backend, header, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n < 0 ? -errno : (size_t) n == size ? 0 : -EMSGSIZE;
}

static void client_on_connected(Connector *connector, int fd, void *userdata) {
        Client *client = ASSERT_PTR(userdata);
        Clients *clients = client->clients;
        int r;

        if (fd < 0) {
                log_debug_errno(fd, "No backend of '%s' accepts: %m", clients->options.service);
                client_unreachable(client);
                return;
        }

        reactor_remove(clients->reactor, client_own_watch(client));
        r = client_introduce(client, fd);
        if (r >= 0)
                r = forward_start(&client->forward, clients->forwarder, client->fd, fd,
                                  connector_is_unix(connector), connector_events(connector));
        client->connector = connector_free(connector);
        if (r < 0) {
                log_debug_errno(r, "Failed to forward a client: %m");
                reactor_forget(clients->reactor, &client->forward.backend.watch);
                (void) fd_close(fd);
                client_drop(client);
                return;
        }
        (void) TAKE_FD(client->fd);
        client_set_state(client, CLIENT_FORWARDED);
        client_keep_forwarded(client);
}

void client_connect(Client *client, const Backends *backends) {
        Clients *clients = client->clients;
        int r;

        client->timer = sd_event_source_disable_unref(client->timer);
        client->answer = answer_unref(client->answer);
        client->connector = connector_free(client->connector);
        client_set_state(client, CLIENT_CONNECTING);
        r = connector_new(&client->connector, clients->connectors, backends, &client->forward.backend.watch,
                          FORWARD_BACKEND_EVENTS, client_on_connected, client);
        if (r < 0) {
                log_debug_errno(r, "Failed to connect a client: %m");
                client_drop(client);
        }
}

/* Holding */

void client_hold(Client *client) {
        client->connector = connector_free(client->connector);
        client_set_state(client, CLIENT_HELD);
        client_start_looking(client);
}

/* All of them */

int clients_new(Clients **ret, sd_event *event, Reactor *reactor, Forwarder *forwarder,
                const ClientsOptions *options) {
        _cleanup_(clients_freep) Clients *clients = NULL;
        int r;

        assert(ret);
        assert(options->rules && options->on_client && options->on_gone && options->on_shown &&
               options->on_not_shown && options->on_exhausted);

        clients = new0(Clients, 1);
        if (!clients)
                return -ENOMEM;
        clients->event = event;
        clients->reactor = reactor;
        clients->forwarder = forwarder;
        clients->options = *options;
        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++)
                TAILQ_INIT(&clients->lists[state]);
        forwarder_set_handler(forwarder, client_on_forward_end);

        r = clients_start_keeping(clients);
        if (r < 0)
                return r;
        r = connectors_new(&clients->connectors, event, reactor, options->on_exhausted, options->userdata);
        if (r < 0)
                return r;
        if (options->page != PAGE_NEVER) {
                r = page_new(&clients->page, event, options->page_socket, options->service);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(clients);
        return 0;
}

Clients *clients_free(Clients *clients) {
        if (!clients)
                return NULL;

        page_free(clients->page);
        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++)
                while (!TAILQ_EMPTY(&clients->lists[state]))
                        (void) client_free(TAILQ_FIRST(&clients->lists[state]));
        connectors_free(clients->connectors);
        sd_event_source_disable_unref(clients->keeper);
        return mfree(clients);
}

static size_t clients_active(const Clients *clients, ClientState first, ClientState last) {
        size_t n = 0;

        for (ClientState state = first; state <= last; state++)
                n += clients->counts[state] - clients->passive[state];
        return n;
}

size_t clients_waiting(const Clients *clients) {
        return clients_active(clients, CLIENT_HELD, CLIENT_CONNECTING);
}

size_t clients_holding(const Clients *clients) {
        return clients_active(clients, CLIENT_HELD, CLIENT_FORWARDED);
}

void clients_note_quiet(Clients *clients) {
        for (Client *client = TAILQ_FIRST(&clients->lists[CLIENT_FORWARDED]); client;
             client = TAILQ_NEXT(client, entry)) {
                clients->passive[CLIENT_FORWARDED] -= client_is_passive(client);
                client->quiet = !forward_was_used(&client->forward);
                clients->passive[CLIENT_FORWARDED] += client_is_passive(client);
        }
}

size_t clients_total(const Clients *clients) {
        size_t total = 0;

        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++)
                total += clients->counts[state];
        return total;
}

Client *clients_add(Clients *clients, int fd) {
        Client *client = malloc(sizeof(*client));

        if (!client)
                return NULL;
        *client = (Client){
                .clients = clients,
                .fd = fd,
                .ignored = rules_match_peer(clients->options.rules, fd),
        };
        client_enlist(client, CLIENT_ASKED);
        clients->peak = MAX(clients->peak, clients_total(clients));
        return client;
}

void clients_take(Clients *clients, int fd) {
        Client *client = clients_add(clients, fd);

        if (!client)
                (void) fd_reset(fd);
        else if (!client->ignored && rules_are_about_requests(clients->options.rules))
                client_ask(client);
        else
                clients->options.on_client(client, clients->options.userdata);
}

bool client_is_ignored(const Client *client) {
        return client->ignored;
}

void client_set_ignored(Client *client) {
        client_delist(client);
        client->ignored = true;
        client_enlist(client, client->state);
}

/* Each client moves to the end of another list, or is dropped, so that the loops below come to an end; those that
 * are connecting anew move to the end of their own list, and are counted. */

void clients_connect_waiting(Clients *clients, const Backends *backends) {
        for (size_t n = clients->counts[CLIENT_CONNECTING]; n > 0 && clients->counts[CLIENT_CONNECTING] > 0; n--)
                client_connect(TAILQ_FIRST(&clients->lists[CLIENT_CONNECTING]), backends);
        while (!TAILQ_EMPTY(&clients->lists[CLIENT_HELD]))
                client_connect(TAILQ_FIRST(&clients->lists[CLIENT_HELD]), backends);
}

void clients_hold_waiting(Clients *clients) {
        while (!TAILQ_EMPTY(&clients->lists[CLIENT_CONNECTING])) {
                Client *client = TAILQ_FIRST(&clients->lists[CLIENT_CONNECTING]);

                /* Nobody would wake the stack for it, or tell it. */
                if (client->ignored)
                        client_close(client, NULL);
                else
                        client_hold(client);
        }
}

size_t clients_answer_waiting(Clients *clients, Answer *answer) {
        static const ClientState states[] = { CLIENT_HELD, CLIENT_CONNECTING };
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                for (; !TAILQ_EMPTY(&clients->lists[states[i]]); n++)
                        client_close(TAILQ_FIRST(&clients->lists[states[i]]), answer);
        return n;
}
