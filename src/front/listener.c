#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "front/listener.h"
#include "front/udp-socket.h"
#include "util/log.h"
#include "util/time.h"

/* Listeners: when descriptors or memory run out, accepting pauses, and clients wait in the kernel's backlog. It
 * goes on when a connection has ended or a moment has passed. Options of a connection are set on the listening
 * socket, whence the kernel copies them: that costs nothing per connection. */

#define ACCEPT_MAX 64U /* then others have their turn */
#define PAUSE_USEC (100 * USEC_PER_MSEC)
#define ACCURACY_USEC (10 * USEC_PER_MSEC)
#define COMPLAIN_USEC USEC_PER_MINUTE
#define KEEPALIVE_IDLE_SEC 60
#define KEEPALIVE_INTERVAL_SEC 15
#define KEEPALIVE_COUNT 6

struct Listeners {
        sd_event_source **sources;
        size_t n;
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

static void listeners_enable(Listeners *listeners, bool on) {
        for (size_t i = 0; i < listeners->n; i++)
                if (listeners->sources[i])
                        (void) sd_event_source_set_enabled(listeners->sources[i], on ? SD_EVENT_ON : SD_EVENT_OFF);
        listeners->paused = !on;
}

static void listeners_pause(Listeners *listeners, int error) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        listeners_enable(listeners, false);
        (void) sd_event_source_set_time_relative(listeners->timer, PAUSE_USEC);
        (void) sd_event_source_set_enabled(listeners->timer, SD_EVENT_ONESHOT);

        if (listeners->complained_usec == 0 || now - listeners->complained_usec >= COMPLAIN_USEC) {
                log_warning_errno(error, "Cannot accept more connections now, new ones wait: %m");
                listeners->complained_usec = now;
        }
}

void listeners_resume(Listeners *listeners) {
        if (!listeners->paused)
                return;
        (void) sd_event_source_set_enabled(listeners->timer, SD_EVENT_OFF);
        listeners_enable(listeners, true);
}

static int listeners_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        listeners_resume(ASSERT_PTR(userdata));
        return 0;
}

/* The others are the end of one connection that was still in the backlog (accept(2)). */
static bool is_exhausted(int error) {
        return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static int listeners_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Listeners *listeners = ASSERT_PTR(userdata);
        unsigned n_failed = 0;

        for (unsigned i = 0; i < ACCEPT_MAX; i++) {
                int client;

                if (!listeners->has_room(listeners->userdata)) {
                        listeners_pause(listeners, -EMFILE);
                        break;
                }
                client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client >= 0) {
                        listeners->on_client(client, listeners->userdata);
                        continue;
                }
                if (errno == EAGAIN)
                        break;
                /* Nothing but failures: no single connection's fault, and not to be repeated without a pause. */
                if (is_exhausted(errno) || ++n_failed == ACCEPT_MAX) {
                        listeners_pause(listeners, -errno);
                        break;
                }
        }
        return 0;
}

int listeners_new(Listeners **ret, sd_event *event, int first, size_t n, ListenersRoomHandler has_room,
                  ListenersClientHandler on_client, void *userdata) {
        _cleanup_(listeners_freep) Listeners *listeners = NULL;
        int r;

        assert(ret);
        assert(has_room);
        assert(on_client);

        listeners = malloc(sizeof(*listeners));
        if (!listeners)
                return -ENOMEM;
        *listeners = (Listeners){
                .sources = new0(sd_event_source *, n),
                .has_room = has_room,
                .on_client = on_client,
                .userdata = userdata,
        };
        if (!listeners->sources)
                return -ENOMEM;

        r = sd_event_add_time_relative(event, &listeners->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC,
                                       listeners_on_timer, listeners);
        if (r < 0)
                return r;
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
                r = sd_event_add_io(event, &listeners->sources[listeners->n], fd, EPOLLIN, listeners_on_io,
                                    listeners);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(listeners);
        return 0;
}

Listeners *listeners_free(Listeners *listeners) {
        if (!listeners)
                return NULL;

        for (size_t i = 0; i < listeners->n; i++)
                sd_event_source_disable_unref(listeners->sources[i]);
        free(listeners->sources);
        sd_event_source_disable_unref(listeners->timer);
        return mfree(listeners);
}
