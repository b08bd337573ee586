#include <unistd.h>

#include "front/reactor.h"
#include "util/fd.h"

/* Reactor: sd-event dispatches one source an iteration and asks the kernel anew each time, so thousands of ready
 * connections as sources of their own would cost the square of their number. Here one epoll_wait() brings a batch,
 * and the whole batch is handled before sd-event gets its turn, which keeps the listeners and the control
 * connection alive beside any number of busy clients.
 *
 * A handler may remove watches whose events are still to come in the same batch: those entries are emptied. */

#define BATCH_MAX 128

typedef TAILQ_HEAD(WatchQueue, Watch) WatchQueue;

struct Reactor {
        int epoll;
        sd_event_source *io_source;
        sd_event_source *again_source;
        struct epoll_event batch[BATCH_MAX];
        int batch_size, batch_index;
        WatchQueue queue;
        size_t n_queued;
};

static void reactor_unqueue(Reactor *reactor, Watch *watch) {
        if (!watch->queued)
                return;
        TAILQ_REMOVE(&reactor->queue, watch, entry);
        watch->queued = false;
        reactor->n_queued--;
}

static int reactor_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Reactor *reactor = ASSERT_PTR(userdata);
        int n;

        n = epoll_wait(reactor->epoll, reactor->batch, BATCH_MAX, 0);
        reactor->batch_size = MAX(n, 0);
        for (reactor->batch_index = 0; reactor->batch_index < reactor->batch_size; reactor->batch_index++) {
                struct epoll_event *entry = &reactor->batch[reactor->batch_index];
                Watch *watch = entry->data.ptr;

                if (watch)
                        watch->handler(watch, entry->events);
        }
        reactor->batch_size = 0;
        return 0;
}

static int reactor_on_again(sd_event_source *source, void *userdata) {
        Reactor *reactor = ASSERT_PTR(userdata);

        /* Those that queue themselves again wait for the next turn. */
        for (size_t n = reactor->n_queued; n > 0 && reactor->n_queued > 0; n--) {
                Watch *watch = TAILQ_FIRST(&reactor->queue);

                reactor_unqueue(reactor, watch);
                watch->handler(watch, 0);
        }

        if (reactor->n_queued == 0)
                (void) sd_event_source_set_enabled(reactor->again_source, SD_EVENT_OFF);
        return 0;
}

int reactor_new(Reactor **ret, sd_event *event) {
        _cleanup_(reactor_freep) Reactor *reactor = NULL;
        int r;

        assert(ret);
        assert(event);

        reactor = malloc(sizeof(*reactor));
        if (!reactor)
                return -ENOMEM;
        reactor->io_source = reactor->again_source = NULL;
        reactor->batch_size = reactor->batch_index = 0;
        reactor->n_queued = 0;
        TAILQ_INIT(&reactor->queue);

        reactor->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (reactor->epoll < 0)
                return -errno;
        r = sd_event_add_io(event, &reactor->io_source, reactor->epoll, EPOLLIN, reactor_on_io, reactor);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &reactor->again_source, reactor_on_again, reactor);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(reactor->again_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(reactor);
        return 0;
}

Reactor *reactor_free(Reactor *reactor) {
        if (!reactor)
                return NULL;

        assert(reactor->n_queued == 0);
        sd_event_source_disable_unref(reactor->io_source);
        sd_event_source_disable_unref(reactor->again_source);
        (void) fd_close(reactor->epoll);
        return mfree(reactor);
}

int reactor_add(Reactor *reactor, Watch *watch, int fd, uint32_t events) {
        struct epoll_event entry = { .events = events | EPOLLET, .data.ptr = watch };

        assert(!watch->added);

        if (epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, fd, &entry) < 0)
                return -errno;
        watch->fd = fd;
        watch->added = true;
        return 0;
}

void reactor_forget(Reactor *reactor, Watch *watch) {
        if (!watch->added)
                return;

        for (int i = reactor->batch_index + 1; i < reactor->batch_size; i++)
                if (reactor->batch[i].data.ptr == watch)
                        reactor->batch[i].data.ptr = NULL;
        reactor_unqueue(reactor, watch);
        watch->added = false;
}

void reactor_remove(Reactor *reactor, Watch *watch) {
        if (!watch->added)
                return;

        (void) epoll_ctl(reactor->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
        reactor_forget(reactor, watch);
}

void reactor_again(Reactor *reactor, Watch *watch) {
        assert(watch->added);

        if (watch->queued)
                return;
        TAILQ_INSERT_TAIL(&reactor->queue, watch, entry);
        watch->queued = true;
        reactor->n_queued++;
        (void) sd_event_source_set_enabled(reactor->again_source, SD_EVENT_ON);
}
