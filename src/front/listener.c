#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "catalog/messages.h"
#include "front/listener.h"
#include "front/udp-socket.h"
#include "util/log.h"
#include "util/time.h"

/* Listeners: when descriptors or memory run out, accepting pauses, and clients wait in the kernel's backlog. It
 * goes on when a connection has ended or a moment has passed. Options of a connection are set on the listening
 * socket, whence the kernel copies them: that costs nothing per connection.
 *
 * How many connections wait is not known before one too many has been asked for, and that call costs as much as half
 * an accepted one. So one is accepted at first, and more only when others were there in the very next turn. */

#define ACCEPT_MAX 64U /* then others have their turn */
#define PAUSE_USEC (100 * USEC_PER_MSEC)
#define ACCURACY_USEC (10 * USEC_PER_MSEC)
#define COMPLAIN_USEC USEC_PER_MINUTE
#define KEEPALIVE_IDLE_SEC 60
#define KEEPALIVE_INTERVAL_SEC 15
#define KEEPALIVE_COUNT 6

typedef struct Listener {
        Watch watch;
        unsigned expected; /* connections in one go */
        uint64_t turn; /* the last one */
} Listener;

struct Listeners {
        Reactor *reactor; /* borrowed */
        int first;
        Listener *all;
        size_t n;
        const char *service; /* borrowed */
        sd_event_source *timer;
        bool paused;
        uint64_t complained_usec;
        ListenersRoomHandler has_room;
        ListenersClientHandler on_client;
        void *userdata;
};

static const struct {
        int level, option, value;
} socket_options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SEC },
        { IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SEC },
        { IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
};

static void listeners_stop(Listeners *listeners) {
        for (size_t i = 0; i < listeners->n; i++)
                reactor_remove(listeners->reactor, &listeners->all[i].watch);
}

static int listeners_start(Listeners *listeners) {
        for (size_t i = 0; i < listeners->n; i++) {
                Listener *listener = &listeners->all[i];
                int r;

                if (listener->watch.added || !listener->watch.handler)
                        continue;
                r = reactor_add_level(listeners->reactor, &listener->watch, listeners->first + (int) i, EPOLLIN);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void listeners_wait(Listeners *listeners) {
        reactor_wake_event(listeners->reactor);
        listeners->paused = true;
        (void) sd_event_source_set_time_relative(listeners->timer, PAUSE_USEC);
        (void) sd_event_source_set_enabled(listeners->timer, SD_EVENT_ONESHOT);
}

void listeners_pause(Listeners *listeners, int error) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        listeners_stop(listeners);
        listeners_wait(listeners);

        /* Not at each pause: there is one after the other until somebody goes. */
        if (listeners->complained_usec == 0 || now - listeners->complained_usec >= COMPLAIN_USEC)
                log_struct(LOG_WARNING, "MESSAGE=%s cannot take more connections now, new ones wait: %s",
                           listeners->service, strerrordesc_np(-error), "MESSAGE_ID=" WAKECHAIN_MESSAGE_EXHAUSTED,
                           "WAKECHAIN_SERVICE=%s", listeners->service);
        listeners->complained_usec = now;
}

void listeners_resume(Listeners *listeners) {
        if (!listeners->paused)
                return;
        if (listeners_start(listeners) < 0) {
                listeners_wait(listeners);
                return;
        }
        (void) sd_event_source_set_enabled(listeners->timer, SD_EVENT_OFF);
        listeners->paused = false;
}

static int listeners_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        listeners_resume(ASSERT_PTR(userdata));
        return 0;
}

/* The others are the end of one connection that was still in the backlog (accept(2)). */
static bool is_exhausted(int error) {
        return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void listener_on_event(Watch *watch, uint32_t events) {
        Listeners *listeners = ASSERT_PTR(watch->userdata);
        Listener *listener = (Listener *) watch;
        uint64_t turn = reactor_turns(listeners->reactor);
        unsigned n_failed = 0, n = 0;

        listener->expected = turn == listener->turn + 1 ? MIN(2 * listener->expected, ACCEPT_MAX) : 1;
        listener->turn = turn;
        while (n + n_failed < listener->expected) {
                int client;

                if (!listeners->has_room(listeners->userdata)) {
                        listeners_pause(listeners, -EMFILE);
                        return;
                }
                client = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client >= 0) {
                        n++;
                        listeners->on_client(client, listeners->userdata);
                        if (listeners->paused)
                                return;
                        continue;
                }
                if (errno == EAGAIN) {
                        listener->expected = MAX(n, 1U);
                        return;
                }
                /* Nothing but failures: no single connection's fault, and not to be repeated without a pause. */
                if (is_exhausted(errno) || ++n_failed == ACCEPT_MAX) {
                        listeners_pause(listeners, -errno);
                        return;
                }
        }
}

int listeners_new(Listeners **ret, sd_event *event, Reactor *reactor, int first, size_t n, const char *service,
                  ListenersRoomHandler has_room, ListenersClientHandler on_client, void *userdata) {
        _cleanup_(listeners_freep) Listeners *listeners = NULL;
        int r;

        assert(ret);
        assert(has_room);
        assert(on_client);

        listeners = malloc(sizeof(*listeners));
        if (!listeners)
                return -ENOMEM;
        *listeners = (Listeners){
                .reactor = reactor,
                .first = first,
                .all = new0(Listener, n),
                .service = service,
                .has_room = has_room,
                .on_client = on_client,
                .userdata = userdata,
        };
        if (!listeners->all)
                return -ENOMEM;

        r = sd_event_add_time_relative(event, &listeners->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC,
                                       listeners_on_timer, listeners);
        if (r >= 0)
                r = sd_event_source_set_enabled(listeners->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        for (; listeners->n < n; listeners->n++) {
                int fd = first + (int) listeners->n, flags = fcntl(fd, F_GETFL);

                if (udp_socket_is_one(fd))
                        continue;
                if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                        return -errno;
                /* Those for TCP fail on a Unix socket, and are not missed there. */
                for (size_t i = 0; i < ELEMENTSOF(socket_options); i++)
                        (void) setsockopt(fd, socket_options[i].level, socket_options[i].option,
                                          &socket_options[i].value, sizeof(int));
                listeners->all[listeners->n] = (Listener){
                        .watch = { .handler = listener_on_event, .userdata = listeners },
                        .expected = 1,
                };
        }
        r = listeners_start(listeners);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(listeners);
        return 0;
}

Listeners *listeners_free(Listeners *listeners) {
        if (!listeners)
                return NULL;

        listeners_stop(listeners);
        free(listeners->all);
        sd_event_source_disable_unref(listeners->timer);
        return mfree(listeners);
}
