#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "catalog/messages.h"
#include "front/acceptor.h"
#include "front/udp/udp-socket.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Acceptor: when descriptors or memory run out, accepting pauses, and clients wait in the kernel's backlog. It
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

typedef struct AcceptorSocket {
        Watch watch;
        unsigned expected; /* connections in one go */
        uint64_t turn; /* the last one */
} AcceptorSocket;

struct Acceptor {
        Reactor *reactor; /* borrowed */
        int first;
        AcceptorSocket *all;
        size_t n;
        const char *service; /* borrowed */
        sd_event_source *timer;
        bool paused;
        uint64_t complained_usec;
        AcceptorRoomHandler has_room;
        AcceptorClientHandler on_client;
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

static void acceptor_stop(Acceptor *acceptor) {
        for (size_t i = 0; i < acceptor->n; i++)
                reactor_remove(acceptor->reactor, &acceptor->all[i].watch);
}

static int acceptor_start(Acceptor *acceptor) {
        for (size_t i = 0; i < acceptor->n; i++) {
                AcceptorSocket *listener = &acceptor->all[i];
                int r;

                if (listener->watch.added || !listener->watch.handler)
                        continue;
                r = reactor_add_level(acceptor->reactor, &listener->watch, acceptor->first + (int) i, EPOLLIN);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void acceptor_wait(Acceptor *acceptor) {
        acceptor->paused = true;
        reactor_start_timer(acceptor->reactor, acceptor->timer, PAUSE_USEC);
}

void acceptor_pause(Acceptor *acceptor, int error) {
        uint64_t now = time_now(CLOCK_MONOTONIC);

        acceptor_stop(acceptor);
        acceptor_wait(acceptor);

        /* Not at each pause: there is one after the other until somebody goes. */
        if (acceptor->complained_usec == 0 || now - acceptor->complained_usec >= COMPLAIN_USEC)
                log_struct(LOG_WARNING, "MESSAGE=%s cannot take more connections now, new ones wait: %s",
                           acceptor->service, strerrordesc_np(-error), "MESSAGE_ID=" WAKECHAIN_MESSAGE_EXHAUSTED,
                           "WAKECHAIN_SERVICE=%s", acceptor->service);
        acceptor->complained_usec = now;
}

void acceptor_resume(Acceptor *acceptor) {
        if (!acceptor->paused)
                return;
        if (acceptor_start(acceptor) < 0) {
                acceptor_wait(acceptor);
                return;
        }
        alarm_stop(acceptor->timer);
        acceptor->paused = false;
}

static int acceptor_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        acceptor_resume(ASSERT_PTR(userdata));
        return 0;
}

/* The others are the end of one connection that was still in the backlog (accept(2)). */
static bool is_exhausted(int error) {
        return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void acceptor_on_event(Watch *watch, uint32_t events) {
        Acceptor *acceptor = ASSERT_PTR(watch->userdata);
        AcceptorSocket *listener = (AcceptorSocket *) watch;
        uint64_t turn = reactor_turns(acceptor->reactor);
        unsigned n_failed = 0, n = 0;

        listener->expected = turn == listener->turn + 1 ? MIN(2 * listener->expected, ACCEPT_MAX) : 1;
        listener->turn = turn;
        while (n + n_failed < listener->expected) {
                int client;

                if (!acceptor->has_room(acceptor->userdata)) {
                        acceptor_pause(acceptor, -EMFILE);
                        return;
                }
                client = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client >= 0) {
                        n++;
                        acceptor->on_client(client, acceptor->userdata);
                        if (acceptor->paused)
                                return;
                        continue;
                }
                if (errno == EAGAIN) {
                        listener->expected = MAX(n, 1U);
                        return;
                }
                /* Nothing but failures: no single connection's fault, and not to be repeated without a pause. */
                if (is_exhausted(errno) || ++n_failed == ACCEPT_MAX) {
                        acceptor_pause(acceptor, -errno);
                        return;
                }
        }
}

int acceptor_new(Acceptor **ret, Reactor *reactor, int first, size_t n, const char *service,
                 AcceptorRoomHandler has_room, AcceptorClientHandler on_client, void *userdata) {
        _cleanup_(acceptor_freep) Acceptor *acceptor = NULL;
        int r;

        assert(ret);
        assert(has_room);
        assert(on_client);

        acceptor = malloc(sizeof(*acceptor));
        if (!acceptor)
                return -ENOMEM;
        *acceptor = (Acceptor){
                .reactor = reactor,
                .first = first,
                .all = new0(AcceptorSocket, n),
                .service = service,
                .has_room = has_room,
                .on_client = on_client,
                .userdata = userdata,
        };
        if (!acceptor->all)
                return -ENOMEM;

        r = reactor_add_timer(reactor, &acceptor->timer, ACCURACY_USEC, acceptor_on_timer, acceptor);
        if (r < 0)
                return r;

        for (; acceptor->n < n; acceptor->n++) {
                int fd = first + (int) acceptor->n, flags = fcntl(fd, F_GETFL);

                if (udp_socket_is_one(fd))
                        continue;
                if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                        return -errno;
                /* Those for TCP fail on a Unix socket, and are not missed there. */
                for (size_t i = 0; i < ELEMENTSOF(socket_options); i++)
                        (void) setsockopt(fd, socket_options[i].level, socket_options[i].option,
                                          &socket_options[i].value, sizeof(int));
                acceptor->all[acceptor->n] = (AcceptorSocket){
                        .watch = { .handler = acceptor_on_event, .userdata = acceptor },
                        .expected = 1,
                };
        }
        r = acceptor_start(acceptor);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(acceptor);
        return 0;
}

Acceptor *acceptor_close(Acceptor *acceptor) {
        if (!acceptor)
                return NULL;

        /* Before it is closed: PID 1 has it, too, and so epoll would tell of it for ever, with a watch that is freed. */
        acceptor_stop(acceptor);
        for (size_t i = 0; i < acceptor->n; i++)
                if (acceptor->all[i].watch.handler)
                        (void) fd_close(acceptor->first + (int) i);
        return acceptor_free(acceptor);
}

Acceptor *acceptor_free(Acceptor *acceptor) {
        if (!acceptor)
                return NULL;

        acceptor_stop(acceptor);
        free(acceptor->all);
        sd_event_source_disable_unref(acceptor->timer);
        return mfree(acceptor);
}
