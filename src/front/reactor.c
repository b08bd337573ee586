#include <unistd.h>

#include "front/reactor.h"
#include "util/fd.h"

/* Reactor: sd-event dispatches one source an iteration and asks the kernel anew each time, so thousands of ready
 * connections as sources of their own would cost the square of their number. Here one epoll_wait() brings a batch,
 * and the whole batch is handled before anything else gets its turn.
 *
 * sd-event keeps the few things that are not connections: timers, signals, the waker. Its own descriptor is one of
 * ours, so a turn with nothing but bytes to pass on costs no call of it. Between the turns it is armed: it has seen
 * all its sources and waits. Before a handler runs that may touch a source, it is woken: that sets its clock, from
 * which relative times count, and at the end of the turn it looks at its sources again. Every handler is taken for
 * one that does, but those of quiet watches.
 *
 * A handler may remove watches whose events are still to come in the same batch: those entries are emptied. */

#define BATCH_MAX 256
#define CROWD_MIN 128

typedef STAILQ_HEAD(WatchQueue, Watch) WatchQueue;

struct Reactor {
        sd_event *event; /* borrowed */
        Watch event_watch;
        int epoll;
        int error; /* of sd-event: ends the loop */
        int batch_size, batch_index;
        uint64_t turns;
        WatchQueue queue;
        size_t n_queued;
        struct epoll_event batch[BATCH_MAX];
};

static void reactor_unqueue(Reactor *reactor, Watch *watch) {
        if (!watch->queued)
                return;
        /* A walk, but those who wait for another turn are few. */
        STAILQ_REMOVE(&reactor->queue, watch, Watch, entry);
        watch->queued = false;
        reactor->n_queued--;
}

static void reactor_note_error(Reactor *reactor, int error) {
        if (reactor->error >= 0)
                reactor->error = error;
}

void reactor_wake_event(Reactor *reactor) {
        int r;

        if (sd_event_get_state(reactor->event) != SD_EVENT_ARMED)
                return;
        r = sd_event_wait(reactor->event, 0);
        if (r < 0)
                reactor_note_error(reactor, r);
}

/* Everything that sd-event has to do; afterwards it is armed, or has come to its end. */
static void reactor_serve_event(Reactor *reactor) {
        int r = 0;

        while (r >= 0 && reactor->error >= 0)
                switch (sd_event_get_state(reactor->event)) {
                case SD_EVENT_INITIAL:
                        r = sd_event_prepare(reactor->event);
                        break;
                case SD_EVENT_PENDING:
                        r = sd_event_dispatch(reactor->event);
                        break;
                default:
                        return;
                }
        reactor_note_error(reactor, MIN(r, 0));
}

static void reactor_on_event(Watch *watch, uint32_t events) {
        /* Woken already, as by every watch that is not quiet; the rest is the end of the turn. */
}

static void reactor_call(Reactor *reactor, Watch *watch, uint32_t events) {
        if (!watch->quiet)
                reactor_wake_event(reactor);
        watch->handler(watch, events);
}

static int reactor_turn(Reactor *reactor) {
        int n;

        n = epoll_wait(reactor->epoll, reactor->batch, BATCH_MAX, reactor->n_queued > 0 ? 0 : -1);
        if (n < 0)
                return errno == EINTR ? 0 : -errno;

        reactor->batch_size = n;
        reactor->turns++;
        for (reactor->batch_index = 0; reactor->batch_index < reactor->batch_size; reactor->batch_index++) {
                struct epoll_event *entry = &reactor->batch[reactor->batch_index];

                if (entry->data.ptr)
                        reactor_call(reactor, entry->data.ptr, entry->events);
        }

        /* Those that queue themselves again wait for the next turn. */
        for (size_t left = reactor->n_queued; left > 0 && reactor->n_queued > 0; left--) {
                Watch *watch = STAILQ_FIRST(&reactor->queue);

                reactor_unqueue(reactor, watch);
                reactor_call(reactor, watch, 0);
        }

        reactor_serve_event(reactor);
        return reactor->error;
}

int reactor_run(Reactor *reactor) {
        int code, r;

        assert(reactor);

        reactor_serve_event(reactor);
        r = reactor->error;
        while (r >= 0 && sd_event_get_state(reactor->event) != SD_EVENT_FINISHED)
                r = reactor_turn(reactor);
        if (r < 0)
                return r;
        r = sd_event_get_exit_code(reactor->event, &code);
        return r < 0 ? r : code;
}

sd_event *reactor_event(Reactor *reactor) {
        return reactor->event;
}

int reactor_add_timer(Reactor *reactor, sd_event_source **ret, uint64_t accuracy_usec,
                      sd_event_time_handler_t handler, void *userdata) {
        return alarm_new(ret, reactor->event, accuracy_usec, handler, userdata);
}

void reactor_start_timer(Reactor *reactor, sd_event_source *timer, uint64_t span_usec) {
        reactor_wake_event(reactor);
        alarm_start(timer, span_usec);
}

uint64_t reactor_turns(const Reactor *reactor) {
        return reactor->turns;
}

bool reactor_is_crowded(const Reactor *reactor) {
        return reactor->batch_size >= CROWD_MIN;
}

int reactor_new(Reactor **ret, sd_event *event) {
        _cleanup_(reactor_freep) Reactor *reactor = NULL;
        int r;

        assert(ret);
        assert(event);

        reactor = malloc(sizeof(*reactor));
        if (!reactor)
                return -ENOMEM;
        /* Not the batch, which may be larger than all the rest of our memory. */
        reactor->event = event;
        reactor->event_watch = (Watch){ .handler = reactor_on_event };
        reactor->error = reactor->batch_size = reactor->batch_index = 0;
        reactor->n_queued = reactor->turns = 0;
        STAILQ_INIT(&reactor->queue);

        reactor->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (reactor->epoll < 0)
                return -errno;
        r = reactor_add_level(reactor, &reactor->event_watch, sd_event_get_fd(event), EPOLLIN);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(reactor);
        return 0;
}

Reactor *reactor_free(Reactor *reactor) {
        if (!reactor)
                return NULL;

        assert(reactor->n_queued == 0);
        (void) fd_close(reactor->epoll);
        return mfree(reactor);
}

static int reactor_control(Reactor *reactor, Watch *watch, int operation, uint32_t events) {
        struct epoll_event entry = { .events = events, .data.ptr = watch };

        return epoll_ctl(reactor->epoll, operation, watch->fd, &entry) < 0 ? -errno : 0;
}

int reactor_add_level(Reactor *reactor, Watch *watch, int fd, uint32_t events) {
        int r;

        assert(!watch->added);

        watch->fd = fd;
        r = reactor_control(reactor, watch, EPOLL_CTL_ADD, events);
        watch->added = r >= 0;
        return r;
}

int reactor_add(Reactor *reactor, Watch *watch, int fd, uint32_t events) {
        return reactor_add_level(reactor, watch, fd, events | EPOLLET);
}

int reactor_change(Reactor *reactor, Watch *watch, uint32_t events) {
        assert(watch->added);

        return reactor_control(reactor, watch, EPOLL_CTL_MOD, events | EPOLLET);
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

        (void) reactor_control(reactor, watch, EPOLL_CTL_DEL, 0);
        reactor_forget(reactor, watch);
}

void reactor_again(Reactor *reactor, Watch *watch) {
        assert(watch->added);

        if (watch->queued)
                return;
        STAILQ_INSERT_TAIL(&reactor->queue, watch, entry);
        watch->queued = true;
        reactor->n_queued++;
}
