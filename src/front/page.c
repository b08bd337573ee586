#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "front/page.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Page: one connection to the web service's socket, where PID 1 listens, while there are clients on offer, and none
 * while there are not, so that a web service that nobody needs can end. A message is the service's name with the client
 * as its one descriptor; each is answered, in order, by a byte: `+` taken, `-` refused. A few are under way at a time,
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

typedef TAILQ_HEAD(PageQueue, PageOffer) PageQueue;

struct Page {
        sd_event *event; /* borrowed */
        const char *path;
        const char *service;
        int fd;
        sd_event_source *io_source;
        sd_event_source *timer;
        PageQueue sent, waiting;
        unsigned n_sent;
        bool used; /* the connection has taken a message */
};

static int page_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata);

static void page_disconnect(Page *page) {
        page->io_source = sd_event_source_disable_unref(page->io_source);
        page->fd = fd_close(page->fd);
        page->used = false;
        (void) sd_event_source_set_enabled(page->timer, SD_EVENT_OFF);
}

/* Without a timer nobody would ever be told. It exists since the start, so arming it does not fail. */
static void page_arm(Page *page, uint64_t span_usec) {
        (void) sd_event_source_set_time_relative(page->timer, span_usec);
        (void) sd_event_source_set_enabled(page->timer, SD_EVENT_ONESHOT);
}

static void page_refuse(PageQueue *queue) {
        while (!TAILQ_EMPTY(queue)) {
                PageOffer *offer = TAILQ_FIRST(queue);

                TAILQ_REMOVE(queue, offer, entry);
                offer->handler(offer, false, offer->userdata);
        }
}

/* 1: one; 0: none now. -ECONNRESET: the end. */
static int page_take_answer(Page *page) {
        char answer[2];
        PageOffer *offer;
        ssize_t n;

        /* Descriptors that come along are closed by the kernel. */
        n = recv(page->fd, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        offer = TAILQ_FIRST(&page->sent);
        if (n != 1 || (answer[0] != '+' && answer[0] != '-') || !offer)
                return -EBADMSG;

        TAILQ_REMOVE(&page->sent, offer, entry);
        page->n_sent--;
        page_arm(page, ANSWER_USEC);
        offer->handler(offer, answer[0] == '+', offer->userdata);
        return 1;
}

/* Who is offered while this goes on is a new attempt. */
static void page_fail(Page *page) {
        PageQueue refused = TAILQ_HEAD_INITIALIZER(refused);

        if (page->fd >= 0)
                (void) shutdown(page->fd, SHUT_RD);
        while (page->fd >= 0 && page_take_answer(page) > 0)
                continue;
        page_disconnect(page);
        TAILQ_CONCAT(&refused, &page->sent, entry);
        TAILQ_CONCAT(&refused, &page->waiting, entry);
        page->n_sent = 0;
        page_refuse(&refused);
}

static int page_connect(Page *page) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t size = strlen(page->path);
        int r;

        if (size >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, page->path, size);

        page->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (page->fd < 0)
                return -errno;
        if (connect(page->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        r = sd_event_add_io(page->event, &page->io_source, page->fd, EPOLLIN, page_on_io, page);
        return MIN(r, 0);
}

static int page_send_one(Page *page, const PageOffer *offer) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec data = { .iov_base = (char *) page->service, .iov_len = strlen(page->service) };
        struct msghdr message = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        control.header = (struct cmsghdr){
                .cmsg_level = SOL_SOCKET,
                .cmsg_type = SCM_RIGHTS,
                .cmsg_len = CMSG_LEN(sizeof(int)),
        };
        memcpy(CMSG_DATA(&control.header), &offer->fd, sizeof(int));
        return sendmsg(page->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int page_send(Page *page) {
        bool full = false;
        int r;

        while (!TAILQ_EMPTY(&page->waiting) && page->n_sent < UNDER_WAY_MAX) {
                PageOffer *offer = TAILQ_FIRST(&page->waiting);

                r = page_send_one(page, offer);
                if (r == -EINTR)
                        continue;
                full = r == -EAGAIN;
                /* It has ended, but may have answered before: the end is found when all answers are read. */
                if (full || r == -EPIPE || r == -ECONNRESET)
                        break;
                if (r < 0)
                        return r;
                page->used = true;
                TAILQ_REMOVE(&page->waiting, offer, entry);
                TAILQ_INSERT_TAIL(&page->sent, offer, entry);
                page->n_sent++;
        }
        return sd_event_source_set_io_events(page->io_source, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int page_start(Page *page) {
        int r;

        page_arm(page, ANSWER_USEC);
        r = page_connect(page);
        return r < 0 ? r : page_send(page);
}

static int page_on_end(Page *page) {
        PageQueue refused = TAILQ_HEAD_INITIALIZER(refused);
        bool used = page->used;

        if (!used)
                return -ECONNRESET;
        page_disconnect(page);
        TAILQ_CONCAT(&refused, &page->sent, entry);
        page->n_sent = 0;
        page_refuse(&refused);
        return TAILQ_EMPTY(&page->waiting) || page->io_source ? 0 : page_start(page);
}

/* Negative: the connection is of no more use. */
static int page_receive(Page *page) {
        int r;

        r = page_take_answer(page);
        if (r == -ECONNRESET)
                return page_on_end(page);
        if (r <= 0)
                return r;
        if (!page->io_source)
                return 0;
        if (TAILQ_EMPTY(&page->sent) && TAILQ_EMPTY(&page->waiting)) {
                page_disconnect(page);
                return 0;
        }
        return page_send(page);
}

static int page_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Page *page = ASSERT_PTR(userdata);
        int r = 0;

        /* Answers that came before an end count. */
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                r = page_receive(page);
        else if (events & EPOLLOUT)
                r = page_send(page);
        if (r < 0) {
                log_debug_errno(r, "The web service has failed: %m");
                page_fail(page);
        }
        return 0;
}

static int page_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Page *page = ASSERT_PTR(userdata);

        log_debug("The web service cannot be reached, or does not answer.");
        page_fail(page);
        return 0;
}

int page_new(Page **ret, sd_event *event, const char *path, const char *service) {
        _cleanup_(page_freep) Page *page = NULL;
        int r;

        assert(ret);
        assert(path);
        assert(service);

        page = malloc(sizeof(*page));
        if (!page)
                return -ENOMEM;
        *page = (Page){ .event = event, .path = path, .service = service, .fd = -EBADF };
        TAILQ_INIT(&page->sent);
        TAILQ_INIT(&page->waiting);

        r = sd_event_add_time(event, &page->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC, page_on_timer, page);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(page->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(page);
        return 0;
}

Page *page_free(Page *page) {
        if (!page)
                return NULL;

        sd_event_source_disable_unref(page->io_source);
        sd_event_source_disable_unref(page->timer);
        (void) fd_close(page->fd);
        return mfree(page);
}

void page_offer(Page *page, PageOffer *offer, int fd) {
        bool first = TAILQ_EMPTY(&page->sent) && TAILQ_EMPTY(&page->waiting);
        int r;

        assert(offer->handler);

        offer->fd = fd;
        TAILQ_INSERT_TAIL(&page->waiting, offer, entry);
        /* Without a connection although somebody waits, it has failed, and the timer is about to say so. */
        if (!first && !page->io_source)
                return;
        r = first ? page_start(page) : page_send(page);
        if (r < 0) {
                log_debug_errno(r, "Failed to pass a client to the web service: %m");
                page->io_source = sd_event_source_disable_unref(page->io_source);
                page_arm(page, 0);
        }
}
