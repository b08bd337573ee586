#include <sys/ioctl.h>

#include "front/clients-internal.h"
#include "util/fd.h"
#include "util/log.h"

/* Looking: the first bytes of a client are looked at and left where they are, so that whatever becomes of it, whoever
 * gets it next reads all of them. A look costs a client nothing: it is held, and forwarded as soon as the stack is
 * awake, also while it is being looked at. Each piece that arrives is one more look, until the head of a request is
 * there, or something that is none, or LOOK_USEC have passed: who has not asked for a page by then does not get one.
 *
 * With rules about requests, a client is asked the same way before anything is done for it, also while the stack is
 * awake, as the rules decide whether it keeps it so. Who has not said anything within ASK_USEC is not ignored.
 *
 * A client that is passed on is first taken out of the epoll set: the set knows the connection, not our descriptor of
 * it, and would go on reporting what happens to it after we have closed that. */

#define LOOK_USEC USEC_PER_SEC
#define ASK_USEC (200 * USEC_PER_MSEC)

RequestVerdict client_peek(Client *client, Request *ret) {
        Clients *clients = client->clients;
        ssize_t n;

        do
                n = recv(client->fd, clients->peeked, sizeof(clients->peeked), MSG_PEEK | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return request_parse(ret, clients->peeked, (size_t) MAX(n, 0), clients->options.service);
}

bool client_is_open_to_page(const Client *client) {
        return client->clients->page && !client->looked && !client->ignored;
}

bool client_wants_page(const Client *client, const Request *request) {
        return client->clients->options.page == PAGE_ALWAYS ? request->plain
                                                            : request->browser || request->watches;
}

static void client_on_offer_end(PageOffer *offer, bool taken, void *userdata) {
        Client *client = ASSERT_PTR(userdata);
        const ClientsOptions *options = &client->clients->options;

        if (!taken) {
                options->on_not_shown(client, options->userdata);
                return;
        }
        /* A plain close: options of the socket and an end would reach the client, which has another owner now. */
        client->fd = fd_close(client->fd);
        options->on_shown(options->userdata);
        client_drop(client);
}

bool client_offer(Client *client) {
        client->looked = true;
        if (!client->offer)
                client->offer = malloc(sizeof(*client->offer));
        if (!client->offer)
                return false;
        client->timer = sd_event_source_disable_unref(client->timer);
        *client->offer = (PageOffer){ client_on_offer_end, client };
        reactor_remove(client->clients->reactor, &client->forward.client.watch);
        client_set_state(client, CLIENT_OFFERED);
        page_offer(client->clients->page, client->offer, client->fd);
        return true;
}

/* `last`: nothing more will come, or not soon enough. */
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

static int client_on_look_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        client_look(ASSERT_PTR(userdata), true);
        return 0;
}

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

static int client_on_ask_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        client_hear(ASSERT_PTR(userdata), true);
        return 0;
}

void client_ask(Client *client) {
        if (client_set_timer(client, ASK_USEC, client_on_ask_timer) < 0 ||
            client_watch(client, EPOLLIN | EPOLLRDHUP, client_on_held_event) < 0)
                client_hear(client, true);
        else
                client_hear(client, false);
}

void client_on_held_event(Watch *watch, uint32_t events) {
        Client *client = ASSERT_PTR(watch->userdata);
        int unread = 0;

        if (events & EPOLLERR || (events & EPOLLHUP && (ioctl(client->fd, FIONREAD, &unread) < 0 || unread == 0)))
                client_drop(client);
        else if (client->state == CLIENT_ASKED && events & (EPOLLIN | EPOLLRDHUP))
                client_hear(client, events & EPOLLRDHUP);
        else if (client->state == CLIENT_HELD && client_is_open_to_page(client) && events & (EPOLLIN | EPOLLRDHUP))
                client_look(client, events & EPOLLRDHUP);
}

void client_start_looking(Client *client) {
        if (client_is_open_to_page(client))
                client_look(client, false);
        if (client->state != CLIENT_HELD)
                return;
        if (client_is_open_to_page(client) && client_set_timer(client, LOOK_USEC, client_on_look_timer) < 0)
                client->looked = true;
        if (!client_is_open_to_page(client))
                client_keep_held(client);
        /* Without the watch a client that goes is found out later, when it is forwarded. */
        (void) client_watch(client, client_is_open_to_page(client) ? EPOLLIN | EPOLLRDHUP : 0,
                            client_on_held_event);
}
