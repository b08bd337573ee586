#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "front/page-offer.h"
#include "model/service.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* PageOffers: one connection to the web service's socket, where PID 1 listens, while there are clients on offer, and none
 * while there are not, so that a web service that nobody needs can end. A message is the service's name, and in a pause
 * how many milliseconds are left of it ("NAME 4321"), with the client as its one descriptor; each is answered, in order, by a byte: `+` taken, `-` refused. A few are under way at a time,
 * the others wait here.
 *
 * The web service is not believed: an answer that was not asked for, or is anything else, a failure to reach it, and
 * ANSWER_USEC without an answer mean that all who are on offer are refused; the next offer tries again. When the
 * connection ends, those who were under way are refused and the others have another one, unless nobody was under way on
 * the first. They are told from the loop, also when it is known at once.
 *
 * Nobody has two owners: the web service takes those only whose `+` it could send. So before anybody is refused it can
 * send no more, and what it had sent counts. */

#define ANSWER_USEC (2 * USEC_PER_SEC)
#define UNDER_WAY_MAX 32U
#define ACCURACY_USEC USEC_PER_MSEC

typedef TAILQ_HEAD(OfferQueue, PageOffer) OfferQueue;

struct PageOffers {
        Reactor *reactor; /* borrowed */
        const char *path;
        const char *service;
        int fd;
        sd_event_source *io_source;
        sd_event_source *timer;
        uint64_t pause_until_usec; /* CLOCK_MONOTONIC */
        OfferQueue sent, waiting;
        unsigned n_sent;
        bool used; /* the connection has taken a message */
};

static int offers_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata);

static void offers_disconnect(PageOffers *offers) {
        offers->io_source = sd_event_source_disable_unref(offers->io_source);
        offers->fd = fd_close(offers->fd);
        offers->used = false;
        alarm_stop(offers->timer);
}

static void offers_refuse(OfferQueue *queue) {
        while (!TAILQ_EMPTY(queue)) {
                PageOffer *offer = TAILQ_FIRST(queue);

                TAILQ_REMOVE(queue, offer, entry);
                offer->handler(offer, false, offer->userdata);
        }
}

/* 1: one; 0: none now. -ECONNRESET: the end. */
static int offers_take_answer(PageOffers *offers) {
        char answer[2];
        PageOffer *offer;
        ssize_t n;

        /* Descriptors that come along are closed by the kernel. */
        n = recv(offers->fd, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        offer = TAILQ_FIRST(&offers->sent);
        if (n != 1 || (answer[0] != '+' && answer[0] != '-') || !offer)
                return -EBADMSG;

        TAILQ_REMOVE(&offers->sent, offer, entry);
        offers->n_sent--;
        reactor_start_timer(offers->reactor, offers->timer, ANSWER_USEC);
        offer->handler(offer, answer[0] == '+', offer->userdata);
        return 1;
}

/* Who is offered while this goes on is a new attempt. */
static void offers_fail(PageOffers *offers) {
        OfferQueue refused = TAILQ_HEAD_INITIALIZER(refused);

        if (offers->fd >= 0)
                (void) shutdown(offers->fd, SHUT_RD);
        while (offers->fd >= 0 && offers_take_answer(offers) > 0)
                continue;
        offers_disconnect(offers);
        TAILQ_CONCAT(&refused, &offers->sent, entry);
        TAILQ_CONCAT(&refused, &offers->waiting, entry);
        offers->n_sent = 0;
        offers_refuse(&refused);
}

static int offers_connect(PageOffers *offers) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t size = strlen(offers->path);
        int r;

        if (size >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, offers->path, size);

        offers->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (offers->fd < 0)
                return -errno;
        if (connect(offers->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        r = sd_event_add_io(reactor_event(offers->reactor), &offers->io_source, offers->fd, EPOLLIN, offers_on_io,
                            offers);
        return MIN(r, 0);
}

static int offers_send_one(PageOffers *offers, const PageOffer *offer) {
        uint64_t pause_usec = usec_sub(offers->pause_until_usec, time_now(CLOCK_MONOTONIC));
        char text[SERVICE_NAME_MAX + sizeof(" 18446744073709551615")];

        (void) snprintf(text, sizeof(text), "%s", offers->service);
        if (pause_usec >= USEC_PER_MSEC)
                (void) snprintf(text, sizeof(text), "%s %" PRIu64, offers->service, pause_usec / USEC_PER_MSEC);
        return fd_send_with(offers->fd, text, strlen(text), &offer->fd, 1);
}

static int offers_send(PageOffers *offers) {
        bool full = false;
        int r;

        while (!TAILQ_EMPTY(&offers->waiting) && offers->n_sent < UNDER_WAY_MAX) {
                PageOffer *offer = TAILQ_FIRST(&offers->waiting);

                r = offers_send_one(offers, offer);
                full = r == -EAGAIN;
                /* It has ended, but may have answered before: the end is found when all answers are read. */
                if (full || r == -EPIPE || r == -ECONNRESET)
                        break;
                if (r < 0)
                        return r;
                offers->used = true;
                TAILQ_REMOVE(&offers->waiting, offer, entry);
                TAILQ_INSERT_TAIL(&offers->sent, offer, entry);
                offers->n_sent++;
        }
        return sd_event_source_set_io_events(offers->io_source, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int offers_start(PageOffers *offers) {
        int r;

        reactor_start_timer(offers->reactor, offers->timer, ANSWER_USEC);
        r = offers_connect(offers);
        return r < 0 ? r : offers_send(offers);
}

static int offers_on_end(PageOffers *offers) {
        OfferQueue refused = TAILQ_HEAD_INITIALIZER(refused);
        bool used = offers->used;

        if (!used)
                return -ECONNRESET;
        offers_disconnect(offers);
        TAILQ_CONCAT(&refused, &offers->sent, entry);
        offers->n_sent = 0;
        offers_refuse(&refused);
        return TAILQ_EMPTY(&offers->waiting) || offers->io_source ? 0 : offers_start(offers);
}

/* Negative: the connection is of no more use. */
static int offers_receive(PageOffers *offers) {
        int r;

        r = offers_take_answer(offers);
        if (r == -ECONNRESET)
                return offers_on_end(offers);
        if (r <= 0)
                return r;
        if (!offers->io_source)
                return 0;
        if (TAILQ_EMPTY(&offers->sent) && TAILQ_EMPTY(&offers->waiting)) {
                offers_disconnect(offers);
                return 0;
        }
        return offers_send(offers);
}

static int offers_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        PageOffers *offers = ASSERT_PTR(userdata);
        int r = 0;

        /* Answers that came before an end count. */
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                r = offers_receive(offers);
        else if (events & EPOLLOUT)
                r = offers_send(offers);
        if (r < 0) {
                log_debug_errno(r, "The web service has failed: %m");
                offers_fail(offers);
        }
        return 0;
}

static int offers_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        PageOffers *offers = ASSERT_PTR(userdata);

        log_debug("The web service cannot be reached, or does not answer.");
        offers_fail(offers);
        return 0;
}

int page_offers_new(PageOffers **ret, Reactor *reactor, const char *path, const char *service) {
        _cleanup_(page_offers_freep) PageOffers *offers = NULL;
        int r;

        assert(ret);
        assert(path);
        assert(service);

        offers = malloc(sizeof(*offers));
        if (!offers)
                return -ENOMEM;
        *offers = (PageOffers){ .reactor = reactor, .path = path, .service = service, .fd = -EBADF };
        TAILQ_INIT(&offers->sent);
        TAILQ_INIT(&offers->waiting);

        r = reactor_add_timer(reactor, &offers->timer, ACCURACY_USEC, offers_on_timer, offers);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(offers);
        return 0;
}

PageOffers *page_offers_free(PageOffers *offers) {
        if (!offers)
                return NULL;

        sd_event_source_disable_unref(offers->io_source);
        sd_event_source_disable_unref(offers->timer);
        (void) fd_close(offers->fd);
        return mfree(offers);
}

void page_offers_set_pause(PageOffers *offers, uint64_t until_usec) {
        offers->pause_until_usec = until_usec;
}

void page_offer_start(PageOffers *offers, PageOffer *offer, int fd) {
        bool first = TAILQ_EMPTY(&offers->sent) && TAILQ_EMPTY(&offers->waiting);
        int r;

        assert(offer->handler);

        offer->fd = fd;
        TAILQ_INSERT_TAIL(&offers->waiting, offer, entry);
        /* Without a connection although somebody waits, it has failed, and the timer is about to say so. */
        if (!first && !offers->io_source)
                return;
        r = first ? offers_start(offers) : offers_send(offers);
        if (r < 0) {
                log_debug_errno(r, "Failed to pass a client to the web service: %m");
                offers->io_source = sd_event_source_disable_unref(offers->io_source);
                reactor_start_timer(offers->reactor, offers->timer, 0);
        }
}
