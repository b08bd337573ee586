#include <netinet/in.h>

#include "net/tcp-connect.h"
#include "util/fd.h"
#include "util/time.h"

/* TcpConnect: a socket that becomes writable when it is known how the attempt went. An attempt that fails at
 * once is told from the loop as well: a timer without a delay brings it. */

struct TcpConnect {
        int fd;
        int error;
        sd_event_source *io;
        sd_event_source *timer;
        TcpConnectHandler handler;
        void *userdata;
};

TcpConnect *tcp_connect_free(TcpConnect *attempt) {
        if (!attempt)
                return NULL;

        (void) sd_event_source_disable_unref(attempt->io);
        (void) sd_event_source_disable_unref(attempt->timer);
        (void) fd_close(attempt->fd);
        return mfree(attempt);
}

static void tcp_connect_finish(TcpConnect *attempt, int error) {
        attempt->io = sd_event_source_disable_unref(attempt->io);
        attempt->timer = sd_event_source_disable_unref(attempt->timer);
        attempt->fd = fd_close(attempt->fd);
        attempt->handler(attempt, error, attempt->userdata);
        /* The handler may have freed the attempt: nothing goes below this line. */
}

static int tcp_connect_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        int error = 0;
        socklen_t size = sizeof(error);

        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        tcp_connect_finish(ASSERT_PTR(userdata), -error);
        return 0;
}

static int tcp_connect_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        TcpConnect *attempt = ASSERT_PTR(userdata);

        tcp_connect_finish(attempt, attempt->error);
        return 0;
}

int tcp_connect_new(TcpConnect **ret, sd_event *event, const struct sockaddr_storage *address, socklen_t size,
                    uint64_t timeout_usec, TcpConnectHandler handler, void *userdata) {
        _cleanup_(tcp_connect_freep) TcpConnect *attempt = NULL;
        int r;

        attempt = malloc(sizeof(*attempt));
        if (!attempt)
                return -ENOMEM;
        *attempt = (TcpConnect){ .error = -ETIMEDOUT, .handler = handler, .userdata = userdata };

        attempt->fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (attempt->fd < 0)
                return -errno;
        if (connect(attempt->fd, (const struct sockaddr *) address, size) < 0 && errno != EINPROGRESS) {
                attempt->error = -errno;
                timeout_usec = 0;
        } else {
                r = sd_event_add_io(event, &attempt->io, attempt->fd, EPOLLOUT, tcp_connect_on_io, attempt);
                if (r < 0)
                        return r;
        }
        r = sd_event_add_time_relative(event, &attempt->timer, CLOCK_MONOTONIC, timeout_usec, USEC_PER_MSEC,
                                       tcp_connect_on_timer, attempt);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(attempt);
        return 0;
}
