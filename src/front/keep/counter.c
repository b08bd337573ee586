#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "front/keep/counter.h"

/* Counter: TCP_INFO has what arrived in order and what was acknowledged, both from the start of the connection; the rest
 * is still in the two queues: what arrived and was not read, what was written and not acknowledged. A sequence number is
 * spent on each end, and is counted like a byte; once an end has been read up to, the unread queue no longer shows it.
 * The number of a connection's first packet is counted for who connects, and not for who accepts, so only differences
 * between two looks mean anything.
 *
 * The kernel tells of one queue at a time. While bytes go from one to the other meanwhile, it is asked again. */

#define TRIES_MAX 1000U

/* Those of the kernel (tcp_states.h) that matter; <netinet/tcp.h> has them, but an old struct tcp_info. */
enum {
        STATE_FIN_WAIT1 = 4,
        STATE_FIN_WAIT2 = 5,
        STATE_TIME_WAIT = 6,
        STATE_CLOSE = 7,
        STATE_CLOSE_WAIT = 8,
        STATE_LAST_ACK = 9,
        STATE_CLOSING = 11,
};

static int get_info(int fd, struct tcp_info *ret) {
        socklen_t size = sizeof(*ret);

        memset(ret, 0, sizeof(*ret));
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &size) < 0)
                return -EOPNOTSUPP;
        return size > offsetof(struct tcp_info, tcpi_bytes_received) ? 0 : -EOPNOTSUPP;
}

static bool are_same(const struct tcp_info *a, const struct tcp_info *b) {
        return a->tcpi_state == b->tcpi_state && a->tcpi_bytes_received == b->tcpi_bytes_received &&
               a->tcpi_bytes_acked == b->tcpi_bytes_acked;
}

int counter_get(Counter *ret, int fd) {
        struct tcp_info before, after;
        int r;

        assert(ret);

        r = get_info(fd, &before);
        for (unsigned i = 0; r >= 0 && i < TRIES_MAX; i++) {
                int unread = 0, unacked = 0;

                if (ioctl(fd, SIOCINQ, &unread) < 0 || ioctl(fd, SIOCOUTQ, &unacked) < 0)
                        return -EOPNOTSUPP;
                r = get_info(fd, &after);
                if (r >= 0 && are_same(&before, &after)) {
                        uint8_t state = after.tcpi_state;

                        ret->closed = state == STATE_CLOSE || state == STATE_TIME_WAIT;
                        ret->ended = ret->closed || state == STATE_CLOSE_WAIT || state == STATE_LAST_ACK ||
                                     state == STATE_CLOSING;
                        ret->finished = ret->closed || state == STATE_FIN_WAIT1 || state == STATE_FIN_WAIT2 ||
                                        state == STATE_CLOSING || state == STATE_LAST_ACK;
                        ret->read = after.tcpi_bytes_received - (uint64_t) unread - ret->ended;
                        ret->written = after.tcpi_bytes_acked + (uint64_t) unacked - ret->finished;
                        return 0;
                }
                before = after;
        }
        return r < 0 ? r : -EAGAIN;
}
