#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "catalog/messages.h"
#include "front/client.h"
#include "front/forward.h"
#include "front/page-offer.h"
#include "front/proxy-header.h"
#include "front/request.h"
#include "util/fd.h"
#include "util/log.h"

/* Client: one list per state, each in order of arrival. A client owns its descriptors, their watches and its place in the
 * keep, all of them in its forward, from when it is accepted until client_close(), which is the only end that it has.
 *
 * Asked: with rules about requests, the first bytes are looked at before anything is done, also while the stack is awake,
 * as the rules decide whether the client keeps it so. Who has not said anything within ASK_USEC is not ignored.
 *
 * Held: nothing is read. Only a client that cannot be answered any more is dropped: reset (EPOLLERR), or closed on
 * a Unix socket (EPOLLHUP) with nothing left to deliver. An end alone (EPOLLRDHUP) is no farewell: a client may
 * send its request, end its side and wait for the reply; TCP does not tell it from one that closed.
 *
 * Its first bytes are looked at and left where they are, so that whatever becomes of it, whoever gets it next reads all
 * of them. A look costs a client nothing: it is forwarded as soon as the stack is awake, also while it is being looked
 * at. Each piece that arrives is one more look, until the head of a request is there, or something that is none, or
 * LOOK_USEC have passed: who has not asked for a page by then does not get one.
 *
 * Offered: it has asked for a page. It is first taken out of the epoll set: the set knows the connection, not our
 * descriptor of it, and would go on reporting what happens to it after we have closed that.
 *
 * Closing: an HTTP client gets a 503, anybody else a reset. An HTTP client speaks at once, so who has said nothing
 * for half a second is none; the first bytes are looked at, never taken. After the 503 our side ends, and what the
 * client still sends is thrown away for a while: closing with unread bytes would make the kernel send a reset,
 * which may overtake the answer.
 *
 * Kept (keep.h) is a held client as soon as it is known that no page will be shown to it: who gets a page goes to the
 * web service, and must have no duplicate. A forwarded one when it has been that for a second: most connections are
 * shorter, and cost nothing. One timer for all of them ticks while there are younger ones; the list of the forwarded
 * is in order of age. */

#define ASK_USEC (200 * USEC_PER_MSEC)
#define LOOK_USEC USEC_PER_SEC
#define SPEAK_USEC (500 * USEC_PER_MSEC)
#define DRAIN_USEC (1500 * USEC_PER_MSEC)
#define DRAIN_MAX (1024U * 1024)
#define CLOSING_MAX 1024U /* more at a time, and the oldest is closed at once */
#define ACCURACY_USEC USEC_PER_MSEC
#define TRIM_MIN 256U /* clients at a time, and all but a quarter of them gone: memory is given back */
#define TRIM_SHARE 4U
#define TICK_USEC (500 * USEC_PER_MSEC)
#define AGE 3U /* ticks, the first of which may have been nearly over */
#define TIDY_TICKS 10U
#define TICK_ACCURACY_USEC (10 * USEC_PER_MSEC)

typedef TAILQ_HEAD(ClientList, Client) ClientList;

struct Client {
        Clients *clients;
        TAILQ_ENTRY(Client) entry;
        uint8_t state; /* a ClientState; small, as all of this: there may be ten thousand */
        bool looked : 1; /* its first bytes have been judged, or will not be */
        bool ignored : 1; /* by the rules: neither wakes nor keeps awake */
        uint8_t page : 2; /* a PageMode */
        uint8_t proxy_protocol : 2; /* version of the header for its backend; 0: none */
        bool quiet : 1; /* forwarded, and has not sent anything for a while: does not keep awake */
        uint16_t watched; /* what the watch waits for, EPOLLET aside */
        uint32_t drained;
        uint32_t tick; /* when forwarding began */
        PageOffer *offer;
        Connector *connector;
        Answer *answer; /* closing, and not yet answered */
        sd_event_source *timer;
        Forward forward; /* its watches are the client's in the other states, too */
};

struct Clients {
        Reactor *reactor;
        Forwarder *forwarder;
        Connectors *connectors;
        PageOffers *page_offers; /* NULL: nobody sees one */
        ClientsOptions options;
        size_t peak; /* since memory was given back */
        Keep *keep;
        sd_event_source *ticker; /* for the keep */
        bool ticking;
        uint32_t tick;
        unsigned untidy; /* ticks with something to be tidied up */
        ClientList lists[_CLIENT_STATE_MAX];
        size_t counts[_CLIENT_STATE_MAX];
        size_t passive[_CLIENT_STATE_MAX]; /* of these, the ignored and the quiet */
        char peeked[REQUEST_PEEK_SIZE]; /* of whom is looked at right now */
};

static int client_fd(const Client *client) {
        return client->forward.client.watch.fd;
}

/* From one list to another, and out */

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

static void client_set_state(Client *client, ClientState state) {
        client_delist(client);
        client_enlist(client, state);
}

static void client_set_ignored(Client *client) {
        client_delist(client);
        client->ignored = true;
        client_enlist(client, client->state);
}

static Client *client_new(Clients *clients, int fd) {
        const PortManner *manner = clients->options.ports ? port_manners_find(clients->options.ports, fd) : NULL;
        Client *client = malloc(sizeof(*client));

        if (!client)
                return NULL;
        *client = (Client){
                .clients = clients,
                .page = (uint8_t) (manner && manner->page >= 0 ? manner->page : (int) clients->options.page) & 3,
                .proxy_protocol = (uint8_t) (manner && manner->proxy_protocol >= 0
                                                             ? manner->proxy_protocol
                                                             : clients->options.proxy_protocol) &
                                  3,
                .ignored = rules_match_peer(clients->options.rules, fd),
                .forward = FORWARD_NONE(clients->forwarder),
        };
        client->forward.client.watch.fd = fd;
        client_enlist(client, CLIENT_ASKED);
        clients->peak = MAX(clients->peak, clients_total(clients));
        return client;
}

/* There is something to keep soon, or to tidy up. */
static void clients_start_ticking(Clients *clients) {
        if (clients->ticking || !keep_is_on(clients->keep))
                return;
        reactor_start_timer(clients->reactor, clients->ticker, TICK_USEC);
        clients->ticking = true;
}

static Client *client_free(Client *client, bool reset) {
        client_delist(client);
        if (is_kept(&client->forward.kept))
                clients_start_ticking(client->clients);
        sd_event_source_disable_unref(client->timer);
        connector_free(client->connector);
        answer_unref(client->answer);
        /* The web service may have its descriptor yet, though it has refused it: the epoll set would know that one. */
        if (client->offer)
                reactor_remove(client->clients->reactor, &client->forward.client.watch);
        free(client->offer);
        forward_close(&client->forward, reset);
        return mfree(client);
}

/* The end of a client, whatever its state, and the front is told. */
static void client_close(Client *client, bool reset) {
        Clients *clients = client->clients;
        size_t total;

        (void) client_free(client, reset);
        total = clients_total(clients);
        /* malloc() keeps what has been freed between things that have not. */
        if (clients->peak >= TRIM_MIN && total <= clients->peak / TRIM_SHARE) {
                forwarder_trim(clients->forwarder);
                (void) malloc_trim(0);
                clients->peak = total;
        }
        connectors_resume(clients->connectors);
        clients->options.on_gone(clients->options.userdata);
}

typedef int (*ClientTimerHandler)(sd_event_source *source, uint64_t usec, void *userdata);

static int client_set_timer(Client *client, uint64_t span_usec, ClientTimerHandler handler) {
        reactor_wake_event(client->clients->reactor);
        client->timer = sd_event_source_disable_unref(client->timer);
        return sd_event_add_time_relative(reactor_event(client->clients->reactor), &client->timer, CLOCK_MONOTONIC,
                                          span_usec, ACCURACY_USEC, handler, client);
}

/* Waits for these events, those of a reset and an end of both sides aside, in place of the ones before. */
static int client_watch(Client *client, uint32_t events, WatchHandler handler) {
        Watch *watch = &client->forward.client.watch;

        if (watch->added && client->watched == events && watch->handler == handler)
                return 0;
        reactor_remove(client->clients->reactor, watch);
        watch->handler = handler;
        watch->userdata = client;
        watch->quiet = false;
        client->watched = (uint16_t) events;
        return reactor_add(client->clients->reactor, watch, watch->fd, events);
}

/* First bytes */

/* They stay where they are. `ret` borrows them until the next call. */
static RequestVerdict client_peek(Client *client, Request *ret) {
        Clients *clients = client->clients;
        ssize_t n;

        do
                n = recv(client_fd(client), clients->peeked, sizeof(clients->peeked), MSG_PEEK | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return request_parse(ret, clients->peeked, (size_t) MAX(n, 0), clients->options.service);
}

/* Whether its first bytes may still make it see a page. */
static bool client_is_open_to_page(const Client *client) {
        return client->page != PAGE_NEVER && !client->looked && !client->ignored;
}

static bool client_wants_page(const Client *client, const Request *request) {
        return client->page == PAGE_ALWAYS ? request->plain : request->browser || request->watches;
}

static void client_on_offer_end(PageOffer *offer, bool taken, void *userdata) {
        Client *client = ASSERT_PTR(userdata);
        const ClientsOptions *options = &client->clients->options;

        if (!taken) {
                options->on_not_shown(client, options->userdata);
                return;
        }
        options->on_shown(options->userdata);
        /* A plain close: options of the socket and an end would reach the client, which has another owner now. */
        client_close(client, false);
}

/* To the web service. False: there is no memory for that, and it stays what it is. */
static bool client_offer(Client *client) {
        client->looked = true;
        if (!client->offer)
                client->offer = malloc(sizeof(*client->offer));
        if (!client->offer)
                return false;
        client->timer = sd_event_source_disable_unref(client->timer);
        *client->offer = (PageOffer){ client_on_offer_end, client };
        reactor_remove(client->clients->reactor, &client->forward.client.watch);
        client_set_state(client, CLIENT_OFFERED);
        page_offer_start(client->clients->page_offers, client->offer, client_fd(client));
        return true;
}

/* Asked and held */

static void client_keep_held(Client *client) {
        keep_held(client->clients->keep, &client->forward.kept, client_fd(client), client->ignored);
}

/* Is it to be ignored? `last`: nothing more will come, or not soon enough. */
static void client_hear(Client *client, bool last) {
        const ClientsOptions *options = &client->clients->options;
        RequestVerdict verdict;
        Request request;

        verdict = client_peek(client, &request);
        if (!last && (verdict == REQUEST_MORE || verdict == REQUEST_PARTIAL))
                return;
        client->timer = sd_event_source_disable_unref(client->timer);
        if (verdict == REQUEST_WHOLE && rules_match_request(options->rules, &request))
                client_set_ignored(client);
        options->on_client(client, options->userdata);
}

/* Does it want a page? */
static void client_look(Client *client, bool last) {
        RequestVerdict verdict;
        Request request;

        verdict = client_peek(client, &request);
        if (!last && (verdict == REQUEST_MORE || verdict == REQUEST_PARTIAL))
                return;
        client->looked = true;
        client->timer = sd_event_source_disable_unref(client->timer);
        if (verdict != REQUEST_WHOLE || !client_wants_page(client, &request) || !client_offer(client))
                client_keep_held(client);
}

static int client_on_first_bytes_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Client *client = ASSERT_PTR(userdata);

        if (client->state == CLIENT_ASKED)
                client_hear(client, true);
        else
                client_look(client, true);
        return 0;
}

static void client_on_held_event(Watch *watch, uint32_t events) {
        Client *client = ASSERT_PTR(watch->userdata);
        int unread = 0;

        if (events & EPOLLERR ||
            (events & EPOLLHUP && (ioctl(client_fd(client), FIONREAD, &unread) < 0 || unread == 0)))
                client_close(client, true);
        else if (client->state == CLIENT_ASKED && events & (EPOLLIN | EPOLLRDHUP))
                client_hear(client, events & EPOLLRDHUP);
        else if (client->state == CLIENT_HELD && client_is_open_to_page(client) && events & (EPOLLIN | EPOLLRDHUP))
                client_look(client, events & EPOLLRDHUP);
}

static void client_ask(Client *client) {
        if (client_set_timer(client, ASK_USEC, client_on_first_bytes_timer) < 0 ||
            client_watch(client, EPOLLIN | EPOLLRDHUP, client_on_held_event) < 0)
                client_hear(client, true);
        else
                client_hear(client, false);
}

void client_hold(Client *client) {
        client->connector = connector_free(client->connector);
        client_set_state(client, CLIENT_HELD);
        if (client_is_open_to_page(client))
                client_look(client, false);
        if (client->state != CLIENT_HELD)
                return;
        if (client_is_open_to_page(client) && client_set_timer(client, LOOK_USEC, client_on_first_bytes_timer) < 0)
                client->looked = true;
        if (!client_is_open_to_page(client))
                client_keep_held(client);
        /* Without the watch a client that goes is found out later, when it is forwarded. */
        (void) client_watch(client, client_is_open_to_page(client) ? EPOLLIN | EPOLLRDHUP : 0,
                            client_on_held_event);
}

/* Closing */

/* Who got the answer is closed with an end, and so is who is ignored; anybody else with a reset. */
static void client_end(Client *client) {
        client_close(client, client->answer && !client->ignored);
}

/* True when the client has closed, too, or goes on for too long. */
static bool client_drain(Client *client) {
        char waste[16384];

        while (client->drained < DRAIN_MAX) {
                ssize_t n = recv(client_fd(client), waste, sizeof(waste), MSG_DONTWAIT);

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

        /* Nobody else can go on. */
        keep_lose(client->clients->keep, &client->forward.kept);
        text = answer_text(client->answer, request.head, &size);
        if (send(client_fd(client), text, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return true;
        client->answer = answer_unref(client->answer);
        (void) shutdown(client_fd(client), SHUT_WR);
        return client_drain(client) || client_set_timer(client, DRAIN_USEC, client_on_closing_timer) < 0;
}

static int client_on_closing_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Client *client = ASSERT_PTR(userdata);

        if (!client->answer || client_answer(client, true))
                client_end(client);
        return 0;
}

static void client_on_closing_event(Watch *watch, uint32_t events) {
        Client *client = ASSERT_PTR(watch->userdata);
        /* Who has ended will not say more. */
        bool last = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

        if (client->answer ? client_answer(client, last) : client_drain(client))
                client_end(client);
}

void client_dismiss(Client *client, Answer *answer) {
        Clients *clients = client->clients;

        client->connector = connector_free(client->connector);
        (void) answer_ref(answer);
        (void) answer_unref(client->answer);
        client->answer = answer;
        client_set_state(client, CLIENT_CLOSING);

        if (!answer || client_set_timer(client, SPEAK_USEC, client_on_closing_timer) < 0 ||
            client_answer(client, false)) {
                client_end(client);
                return;
        }
        if (client->state != CLIENT_CLOSING)
                return;
        if (client_watch(client, EPOLLIN | EPOLLRDHUP, client_on_closing_event) < 0) {
                client_end(client);
                return;
        }
        if (clients->counts[CLIENT_CLOSING] > CLOSING_MAX)
                client_end(TAILQ_FIRST(&clients->lists[CLIENT_CLOSING]));
}

Answer *client_answer_due(const Client *client) {
        return client->answer;
}

/* Connecting and forwarding */

static void client_on_forward_end(Forward *forward, bool reset) {
        client_close((Client *) ((uint8_t *) forward - offsetof(Client, forward)), reset);
}

static void client_unreachable(Client *client) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;

        answer = answer_new(USEC_PER_SEC, "%s is awake, but does not accept connections.",
                            client->clients->options.service);
        if (answer)
                client_dismiss(client, answer);
        else
                client_close(client, true);
}

/* Before anything else: the header has to be first, whoever speaks first behind it. It fits into the buffer of a new
 * connection; where not even that is so, the backend could not tell where it ends. */
static int client_introduce(const Client *client, int backend) {
        struct sockaddr_storage peer = {}, own = {};
        socklen_t peer_size = sizeof(peer), own_size = sizeof(own);
        uint8_t header[PROXY_HEADER_MAX];
        size_t size;
        ssize_t n;

        if (client->proxy_protocol == 0)
                return 0;
        if (getpeername(client_fd(client), (struct sockaddr *) &peer, &peer_size) < 0 ||
            getsockname(client_fd(client), (struct sockaddr *) &own, &own_size) < 0)
                return -errno;
        size = proxy_header_make(header, client->proxy_protocol, (struct sockaddr *) &peer, peer_size,
                                 (struct sockaddr *) &own, own_size);
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

        reactor_remove(clients->reactor, &client->forward.client.watch);
        r = client_introduce(client, fd);
        if (r >= 0)
                r = forward_start(&client->forward, connector_is_unix(connector), connector_events(connector));
        client->connector = connector_free(connector);
        if (r < 0) {
                log_debug_errno(r, "Failed to forward a client: %m");
                client_close(client, true);
                return;
        }
        client_set_state(client, CLIENT_FORWARDED);
        client->tick = clients->tick;
        if (is_kept(&client->forward.kept))
                forward_keep(&client->forward, client->ignored);
        else
                clients_start_ticking(clients);
}

void client_connect(Client *client, const Ways *ways) {
        const Backends *backends = ways_find_client(ways, client_fd(client));
        Clients *clients = client->clients;
        int r;

        if (!backends && client->ignored) {
                client_dismiss(client, NULL);
                return;
        }
        if (!backends) {
                client->looked = true;
                client->timer = sd_event_source_disable_unref(client->timer);
                client->answer = answer_unref(client->answer);
                client_hold(client);
                return;
        }
        client->timer = sd_event_source_disable_unref(client->timer);
        client->answer = answer_unref(client->answer);
        client->connector = connector_free(client->connector);
        client_set_state(client, CLIENT_CONNECTING);
        r = connector_new(&client->connector, clients->connectors, backends, &client->forward.backend.watch,
                          FORWARD_BACKEND_EVENTS, client_on_connected, client);
        if (r < 0) {
                log_debug_errno(r, "Failed to connect a client: %m");
                client_close(client, true);
        }
}

/* All of them */

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

void clients_take(Clients *clients, int fd) {
        Client *client = client_new(clients, fd);

        if (!client) {
                (void) fd_reset(fd);
                clients->options.on_gone(clients->options.userdata);
        } else if (!client->ignored && rules_are_about_requests(clients->options.rules))
                client_ask(client);
        else
                clients->options.on_client(client, clients->options.userdata);
}

bool client_is_ignored(const Client *client) {
        return client->ignored;
}

/* Each client moves to the end of another list, or is dropped, so that the loops below come to an end; those that
 * are connecting anew, or go on waiting, move to the end of their own list, and are counted. */

void clients_connect_waiting(Clients *clients, const Ways *ways) {
        static const ClientState states[] = { CLIENT_CONNECTING, CLIENT_HELD };
        size_t counts[] = { clients->counts[CLIENT_CONNECTING], clients->counts[CLIENT_HELD] };

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                for (size_t n = counts[i]; n > 0 && clients->counts[states[i]] > 0; n--)
                        client_connect(TAILQ_FIRST(&clients->lists[states[i]]), ways);
}

void clients_hold_waiting(Clients *clients) {
        while (!TAILQ_EMPTY(&clients->lists[CLIENT_CONNECTING])) {
                Client *client = TAILQ_FIRST(&clients->lists[CLIENT_CONNECTING]);

                /* Nobody would wake the stack for it, or tell it. */
                if (client->ignored)
                        client_dismiss(client, NULL);
                else
                        client_hold(client);
        }
}

size_t clients_answer_waiting(Clients *clients, Answer *answer, bool connecting) {
        static const ClientState states[] = { CLIENT_HELD, CLIENT_CONNECTING };
        size_t n = 0;

        for (size_t i = 0; i < (connecting ? ELEMENTSOF(states) : 1); i++)
                for (; !TAILQ_EMPTY(&clients->lists[states[i]]); n++)
                        client_dismiss(TAILQ_FIRST(&clients->lists[states[i]]), answer);
        return n;
}

void clients_set_pause(Clients *clients, uint64_t pause_usec) {
        if (clients->page_offers)
                page_offers_set_pause(clients->page_offers, usec_add(time_now(CLOCK_MONOTONIC), pause_usec));
}

/* Keep */

static int clients_on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Clients *clients = ASSERT_PTR(userdata);
        bool more = false;
        clients->tick++;
        clients->ticking = false;
        for (Client *client = TAILQ_LAST(&clients->lists[CLIENT_FORWARDED], ClientList); client;
             client = TAILQ_PREV(client, ClientList, entry)) {
                uint32_t age = clients->tick - client->tick;

                if (age > AGE)
                        break;
                if (age == AGE && !is_kept(&client->forward.kept))
                        forward_keep(&client->forward, client->ignored);
                more = more || age < AGE;
        }
        (void) keep_flush(clients->keep);
        clients->untidy = keep_tidy(clients->keep, clients->untidy >= TIDY_TICKS) ? clients->untidy + 1 : 0;
        if (more || clients->untidy > 0)
                clients_start_ticking(clients);
        return 0;
}

void clients_hand_over(Clients *clients) {
        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++) {
                for (Client *client = TAILQ_FIRST(&clients->lists[state]); client;
                     client = TAILQ_NEXT(client, entry)) {
                        if (state == CLIENT_FORWARDED && !is_kept(&client->forward.kept))
                                forward_keep(&client->forward, client->ignored);
                        /* Of whom it is not known whether they are to be ignored, and who has not been told yet, wait
                         * again. */
                        else if (state == CLIENT_ASKED || state == CLIENT_HELD || state == CLIENT_CONNECTING ||
                                 (state == CLIENT_CLOSING && client->answer))
                                client_keep_held(client);
                }
        }
        (void) keep_flush(clients->keep);
}

static bool clients_on_found(const KeepFound *found, void *userdata) {
        Clients *clients = ASSERT_PTR(userdata);
        Client *client = client_new(clients, found->fds[0]);

        if (!client)
                return false;
        client->looked = true;
        if (found->ignored && !client->ignored)
                client_set_ignored(client);
        if (!found->forwarded) {
                client->forward.kept = found->kept;
                client_hold(client);
                return true;
        }
        client->forward.client.watch.fd = -EBADF;
        if (forward_resume(&client->forward, found) < 0) {
                client_close(client, true);
                return false;
        }
        client->tick = clients->tick - AGE - 1;
        client_set_state(client, CLIENT_FORWARDED);
        return true;
}

static Client *clients_first_ignored(Clients *clients) {
        Client *client;

        TAILQ_FOREACH(client, &clients->lists[CLIENT_HELD], entry)
                if (client->ignored)
                        return client;
        return NULL;
}

void clients_resume(Clients *clients) {
        KeepCounts counts;
        Client *client;
        int r;

        r = keep_load(clients->keep, clients_on_found, clients, &counts);
        if (r < 0)
                log_warning_errno(r, "Failed to go on with the connections of the program before: %m");
        /* Who is ignored does not wait: it is connected now, or goes. That may connect all the others, too. */
        while ((client = clients_first_ignored(clients)))
                clients->options.on_client(client, clients->options.userdata);
        if (counts.held + counts.forwarded + counts.lost > 0)
                log_struct(counts.lost > 0 ? LOG_WARNING : LOG_NOTICE,
                           "MESSAGE=%s: going on with %zu held and %zu forwarded connections of the program before, %zu "
                           "were lost.",
                           clients->options.service, counts.held, counts.forwarded, counts.lost,
                           "MESSAGE_ID=" WAKECHAIN_MESSAGE_RESUMED, "WAKECHAIN_SERVICE=%s",
                           clients->options.service);
}

/* From the start to the end */

static bool shows_page(const ClientsOptions *options) {
        bool shows = options->page != PAGE_NEVER;

        for (size_t i = 0; options->ports && i < options->ports->n && !shows; i++)
                shows = options->ports->list[i].page >= 0 && options->ports->list[i].page != PAGE_NEVER;
        return shows;
}

int clients_new(Clients **ret, Reactor *reactor, const ClientsOptions *options) {
        _cleanup_(clients_freep) Clients *clients = NULL;
        int r;

        assert(ret);
        assert(options->rules && options->on_client && options->on_gone && options->on_shown &&
               options->on_not_shown && options->on_exhausted);

        clients = new0(Clients, 1);
        if (!clients)
                return -ENOMEM;
        clients->reactor = reactor;
        clients->keep = options->keep;
        clients->options = *options;
        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++)
                TAILQ_INIT(&clients->lists[state]);

        r = forwarder_new(&clients->forwarder, reactor, options->keep, options->pipes_max, options->all_tcp,
                          client_on_forward_end);
        if (r >= 0)
                r = reactor_add_timer(reactor, &clients->ticker, TICK_ACCURACY_USEC, clients_on_tick, clients);
        if (r >= 0)
                r = connectors_new(&clients->connectors, reactor, options->on_exhausted, options->userdata);
        if (r >= 0 && shows_page(options))
                r = page_offers_new(&clients->page_offers, reactor, options->page_socket, options->service);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(clients);
        return 0;
}

Clients *clients_free(Clients *clients) {
        if (!clients)
                return NULL;

        page_offers_free(clients->page_offers);
        /* The web service may have who is on offer, too, and its answer is on the way. */
        for (ClientState state = 0; state < _CLIENT_STATE_MAX; state++)
                while (!TAILQ_EMPTY(&clients->lists[state]))
                        (void) client_free(TAILQ_FIRST(&clients->lists[state]), state != CLIENT_OFFERED);
        connectors_free(clients->connectors);
        forwarder_free(clients->forwarder);
        sd_event_source_disable_unref(clients->ticker);
        return mfree(clients);
}
