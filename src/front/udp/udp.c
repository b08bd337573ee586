#include "front/udp/udp-socket.h"
#include "front/udp/udp.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Udp: each flow has a socket of its own that is connected to the backend, so that the kernel tells the replies of one
 * from those of another, and says when nobody listens.
 *
 *  HOLDING  the stack is not awake; datagrams wait
 *  TRYING   it is, but nobody knows whether its port is open already: a container is awake before its server is, if
 *           it has no check. The oldest datagram is sent, a copy is kept, the others wait. A reply, or no refusal for
 *           SILENCE_USEC: OPEN. A refusal (ICMP): once more after a pause that grows.
 *  OPEN     first what waits is sent, in the order in which it came and not all at once, for the backend's receive
 *           buffer is small and a server that has just come up reads late: FLUSH_MAX without a reply, as many as are
 *           replied to, and FLUSH_MAX more after each pause, which grows as long as there is no reply. Then datagrams
 *           pass. A refusal: TRYING. The datagram that was refused is lost then, as it would be without us.
 *
 * One datagram tries for all flows, because a kernel sends few refusals: six at once, then one a second
 * (icmp_ratelimit, icmp(7)). Hence the pace after six refusals: silence would mean nothing if tries came faster.
 *
 * A flow ends when neither side has sent anything for a while, and what it waits for is not the stack. Anybody can
 * make flows by inventing source addresses: their number is limited, and a new one ends the one that has been idle
 * for longest. */

#define BATCHES_MAX 8U /* then others have their turn */
#define SILENCE_USEC (20 * USEC_PER_MSEC)
#define PAUSE_USEC (10 * USEC_PER_MSEC)
#define PAUSE_DOUBLINGS_MAX 4U
#define REFUSALS_QUICK 5U
#define PAUSE_SLOW_USEC (1100 * USEC_PER_MSEC)
#define FLUSH_USEC (20 * USEC_PER_MSEC)
#define FLUSH_DOUBLINGS_MAX 3U
#define FLUSH_MAX 64U
#define FLUSH_BYTES_MAX ((size_t) 64 * 1024)
#define BACKENDS_MAX 4U
#define RECEIVE_BUFFER (4 * 1024 * 1024) /* as far as net.core.rmem_max lets us */
#define ACCURACY_USEC USEC_PER_MSEC
#define DRAIN_TIMEOUT_USEC USEC_PER_SEC
#define EXPIRY_ACCURACY_USEC (100 * USEC_PER_MSEC)

static const UdpLimits held_limits = {
        .n = 16384, /* as many as there may be flows */
        .bytes = (size_t) 8 * 1024 * 1024,
        .share_n = 64,
        .share_bytes = (size_t) 128 * 1024,
};

typedef enum UdpState {
        UDP_HOLDING,
        UDP_TRYING,
        UDP_OPEN,
        _UDP_STATE_MAX,
        _UDP_STATE_INVALID = -EINVAL,
} UdpState;

struct Udp {
        Reactor *reactor; /* borrowed */
        UdpAdmitHandler admit;
        UdpHandler handler;
        void *userdata;
        UdpSocket *sockets;
        size_t n_sockets;
        UdpBuffers *buffers; /* NULL if there are no sockets */
        UdpBatch from_clients, from_backend;
        UdpFlows flows;
        size_t flows_max;
        UdpQueue queue;
        UdpState state;
        Address backends[BACKENDS_MAX];
        size_t n_backends, backend; /* the one that is used */
        unsigned generation; /* changes with the one that is used */
        unsigned refusals; /* in a row */
        uint64_t tried; /* number of the datagram whose fate is not known yet; 0: none */
        size_t unanswered, unanswered_bytes; /* of what waited and was sent */
        unsigned silences; /* pauses without a reply, in a row */
        bool heard, replies; /* a reply in this pause, or in any */
        uint64_t timeout_usec;
        sd_event_source *timer; /* of the try, the pause, or the next part of what waits */
        sd_event_source *expiry;
        bool told_dropped, told_evicted, told_loop, told_exhausted;
};

/* Flows */

static void flow_disconnect(UdpFlow *flow) {
        Udp *udp = flow->owner;

        reactor_forget(udp->reactor, &flow->watch);
        flow->fd = fd_close(flow->fd);
}

static void flow_end(UdpFlow *flow) {
        Udp *udp = flow->owner;

        udp_queue_drop_share(&udp->queue, &flow->share);
        flow_disconnect(flow);
        udp_flows_remove(&udp->flows, flow);
}

static void flow_on_event(Watch *watch, uint32_t events);

static int flow_connect(UdpFlow *flow) {
        Udp *udp = flow->owner;
        const Address *backend = &udp->backends[udp->backend];
        int r;

        flow_disconnect(flow);
        if (udp_socket_is_at(&udp->sockets[flow->key.socket], &flow->key, backend))
                return -ELOOP;
        flow->fd = socket(backend->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (flow->fd < 0)
                return -errno;
        if (connect(flow->fd, &backend->any, backend->size) < 0)
                return -errno;
        if (address_is_self_connected(flow->fd, backend))
                return -ECONNREFUSED;
        flow->watch = (Watch){ .handler = flow_on_event, .userdata = flow, .quiet = true };
        r = reactor_add(udp->reactor, &flow->watch, flow->fd, EPOLLIN);
        if (r < 0)
                return r;
        flow->generation = udp->generation;
        return 0;
}

/* What the network answers to somebody who comes too early, or after the backend has moved. */
static bool is_refusal(int error) {
        return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ENETUNREACH || error == -EHOSTDOWN ||
               error == -ENETDOWN || error == -ENONET;
}

static void udp_complain(Udp *udp, int error) {
        bool *told = error == -ELOOP ? &udp->told_loop : &udp->told_exhausted;

        if (error == -ELOOP && !*told)
                log_warning("The backend is the very address that clients send to, dropping what they send.");
        else if (!*told)
                log_warning_errno(error, "Cannot forward more flows now, dropping datagrams: %m");
        *told = true;
}

/* False: refused, and the datagram is still to be sent. Whatever else may happen to it is what happens to datagrams. */
static bool flow_send(UdpFlow *flow, const void *data, size_t size) {
        Udp *udp = flow->owner;
        int r = 0;

        if (flow->fd < 0 || flow->generation != udp->generation)
                r = flow_connect(flow);
        if (r < 0) {
                flow_disconnect(flow);
                if (!is_refusal(r))
                        udp_complain(udp, r);
                return !is_refusal(r);
        }
        return send(flow->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || !is_refusal(-errno);
}

/* Backend */

static uint64_t pause_usec(unsigned refusals) {
        return refusals > REFUSALS_QUICK ? PAUSE_SLOW_USEC : PAUSE_USEC << MIN(refusals - 1, PAUSE_DOUBLINGS_MAX);
}

static void udp_refused(Udp *udp) {
        /* One may be followed by others, of datagrams that were on their way. */
        if (udp->state == UDP_HOLDING || (udp->state == UDP_TRYING && udp->tried == 0))
                return;

        udp->state = UDP_TRYING;
        udp->tried = 0;
        udp->refusals++;
        if (udp->n_backends > 1) {
                udp->backend = (udp->backend + 1) % udp->n_backends;
                udp->generation++;
        }
        reactor_start_timer(udp->reactor, udp->timer, pause_usec(udp->refusals));
}

static void udp_try(Udp *udp) {
        Datagram *datagram = udp_queue_first(&udp->queue);

        if (!datagram)
                return;
        udp->tried = datagram->number;
        if (flow_send(datagram->share->owner, datagram->data, datagram->size))
                reactor_start_timer(udp->reactor, udp->timer, SILENCE_USEC);
        else
                udp_refused(udp);
}

static void udp_forget_unanswered(Udp *udp) {
        udp->unanswered = udp->unanswered_bytes = 0;
        udp->silences = 0;
        udp->heard = udp->replies = false;
}

static void udp_flush(Udp *udp) {
        uint64_t now = time_now(CLOCK_MONOTONIC);
        Datagram *datagram;

        while ((datagram = udp_queue_first(&udp->queue))) {
                if (udp->unanswered >= FLUSH_MAX * (1 + udp->silences) ||
                    udp->unanswered_bytes > FLUSH_BYTES_MAX * (1 + udp->silences)) {
                        reactor_start_timer(udp->reactor, udp->timer,
                                            FLUSH_USEC << MIN(udp->silences, FLUSH_DOUBLINGS_MAX));
                        return;
                }
                if (!flow_send(datagram->share->owner, datagram->data, datagram->size)) {
                        udp_refused(udp);
                        return;
                }
                udp_flows_touch(&udp->flows, datagram->share->owner, now);
                udp->unanswered++;
                udp->unanswered_bytes += datagram->size;
                udp_queue_drop(&udp->queue, datagram);
        }
        udp_forget_unanswered(udp);
        udp->told_dropped = false;
}

/* Not one by one: a timer is set each time. */
static void udp_note_replies(Udp *udp, size_t n) {
        n = MIN(n, udp->unanswered);
        udp->unanswered_bytes -= udp->unanswered_bytes / udp->unanswered * n;
        udp->unanswered -= n;
        udp->silences = 0;
        udp->heard = udp->replies = true;
        if (udp->unanswered <= FLUSH_MAX / 2 && udp->state == UDP_OPEN)
                udp_flush(udp);
}

static void udp_open(Udp *udp) {
        Datagram *first = udp_queue_first(&udp->queue);

        if (first && first->number == udp->tried)
                udp_queue_drop(&udp->queue, first);
        udp->tried = 0;
        udp->refusals = 0;
        udp->state = UDP_OPEN;
        alarm_stop(udp->timer);
        udp_forget_unanswered(udp);
        udp_flush(udp);
}

static int udp_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Udp *udp = ASSERT_PTR(userdata);

        if (udp->state == UDP_OPEN) {
                /* Who replies, and then no more, has lost the rest. */
                if (udp->heard)
                        udp->heard = false;
                else if (udp->replies)
                        udp_forget_unanswered(udp);
                else
                        udp->silences++;
                udp_flush(udp);
        } else if (udp->state == UDP_TRYING && udp->tried > 0)
                udp_open(udp);
        else if (udp->state == UDP_TRYING)
                udp_try(udp);
        return 0;
}

/* To clients */

static void flow_on_event(Watch *watch, uint32_t events) {
        UdpFlow *flow = ASSERT_PTR(watch->userdata);
        Udp *udp = flow->owner;
        bool refused = false;
        size_t heard = 0;
        int n = 0;

        for (unsigned i = 0; i < BATCHES_MAX; i++) {
                n = udp_batch_receive(&udp->from_backend, flow->fd);
                if (n > 0)
                        udp_batch_reply(&udp->from_backend, &udp->sockets[flow->key.socket], &flow->key,
                                        (size_t) n);
                heard += (size_t) MAX(n, 0);
                refused = refused || is_refusal(n);
                if (n >= 0 && n < UDP_BATCH_MAX)
                        break;
        }
        if (n < 0 || n == UDP_BATCH_MAX)
                reactor_again(udp->reactor, watch);
        if (heard > 0)
                udp_flows_touch(&udp->flows, flow, time_now(CLOCK_MONOTONIC));
        if (flow->generation != udp->generation)
                return;
        if (refused)
                udp_refused(udp);
        else if (heard > 0 && udp->state == UDP_TRYING)
                udp_open(udp);
        else if (heard > 0 && udp->unanswered > 0)
                udp_note_replies(udp, heard);
}

/* From clients */

static void udp_arm_expiry(Udp *udp) {
        const UdpFlow *oldest = udp_flows_oldest(&udp->flows);
        int r;

        if (!oldest || udp->state == UDP_HOLDING)
                return;
        reactor_wake_event(udp->reactor);
        r = sd_event_source_set_time(udp->expiry, usec_add(oldest->used_usec, udp->timeout_usec));
        if (r >= 0)
                r = sd_event_source_set_enabled(udp->expiry, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Failed to set a timer, ignoring: %m");
}

static int udp_on_expiry(sd_event_source *source, uint64_t usec, void *userdata) {
        Udp *udp = ASSERT_PTR(userdata);
        uint64_t now = time_now(CLOCK_MONOTONIC);
        UdpFlow *oldest = NULL;

        while (udp->state != UDP_HOLDING && (oldest = udp_flows_oldest(&udp->flows)) &&
               usec_add(oldest->used_usec, udp->timeout_usec) <= now)
                flow_end(oldest);
        udp_arm_expiry(udp);
        if (udp->flows.n == 0)
                udp->handler(udp, udp->userdata);
        return 0;
}

static UdpFlow *udp_begin_flow(Udp *udp, const UdpKey *key, const struct sockaddr *client, uint64_t now) {
        UdpFlow *flow;

        if (!udp->admit(client, udp->userdata))
                return NULL;

        if (udp->flows.n >= udp->flows_max) {
                flow_end(udp_flows_oldest(&udp->flows));
                if (!udp->told_evicted)
                        log_warning("More than %zu flows at a time: a new one ends the one that was idle for longest.",
                                    udp->flows_max);
                udp->told_evicted = true;
        }
        flow = udp_flows_add(&udp->flows, key, now);
        if (!flow)
                return NULL;
        flow->owner = udp;
        flow->share.owner = flow;
        return flow;
}

static void udp_keep(Udp *udp, UdpFlow *flow, const void *data, size_t size) {
        int r;

        r = udp_queue_append(&udp->queue, &flow->share, data, size);
        if (r != 0 && !udp->told_dropped) {
                log_warning("Cannot hold all datagrams that come before they can be delivered: the oldest are lost.");
                udp->told_dropped = true;
        }
        if (udp->state == UDP_TRYING && !alarm_is_on(udp->timer))
                udp_try(udp);
}

static void udp_take(Udp *udp, const UdpSocket *socket, const struct mmsghdr *message, uint64_t now) {
        const void *data = message->msg_hdr.msg_iov->iov_base;
        bool first = udp->flows.n == 0;
        UdpFlow *flow;
        UdpKey key;

        if (message->msg_hdr.msg_flags & MSG_TRUNC || udp_socket_get_key(socket, &message->msg_hdr, &key) < 0)
                return;
        flow = udp_flows_find(&udp->flows, &key);
        if (!flow)
                flow = udp_begin_flow(udp, &key, message->msg_hdr.msg_name, now);
        if (!flow)
                return;

        udp_flows_touch(&udp->flows, flow, now);
        if (udp->state != UDP_OPEN || flow->share.n > 0)
                udp_keep(udp, flow, data, message->msg_len);
        else if (!flow_send(flow, data, message->msg_len)) {
                udp_refused(udp);
                udp_keep(udp, flow, data, message->msg_len);
        }

        if (first) {
                reactor_wake_event(udp->reactor);
                udp_arm_expiry(udp);
                udp->handler(udp, udp->userdata);
        }
}

static void udp_on_socket_event(Watch *watch, uint32_t events) {
        UdpSocket *socket = ASSERT_PTR(watch->userdata);
        Udp *udp = socket->owner;
        uint64_t now = time_now(CLOCK_MONOTONIC);

        for (unsigned i = 0; i < BATCHES_MAX; i++) {
                int n = udp_batch_receive(&udp->from_clients, socket->fd);

                for (int j = 0; j < n; j++)
                        udp_take(udp, socket, &udp->from_clients.messages[j], now);
                if (n >= 0 && n < UDP_BATCH_MAX)
                        return;
        }
        reactor_again(udp->reactor, watch);
}

/* The whole */

size_t udp_count_sockets(int first, size_t n) {
        size_t count = 0;

        for (size_t i = 0; i < n; i++)
                count += udp_socket_is_one(first + (int) i);
        return count;
}

static int udp_take_socket(Udp *udp, int fd) {
        UdpSocket *socket = &udp->sockets[udp->n_sockets];
        int r, size = RECEIVE_BUFFER, has = 0;
        socklen_t length = sizeof(has);

        r = udp_socket_init(socket, fd, (uint16_t) udp->n_sockets);
        if (r < 0)
                return r;
        /* The kernel reports twice what was asked for. Whoever made the socket may have got more than we can. */
        if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &has, &length) >= 0 && has < 2 * size)
                (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        socket->owner = udp;
        socket->watch = (Watch){ .handler = udp_on_socket_event, .userdata = socket, .quiet = true };
        r = reactor_add(udp->reactor, &socket->watch, fd, EPOLLIN);
        if (r < 0)
                return r;
        udp->n_sockets++;
        return 0;
}

int udp_new(Udp **ret, Reactor *reactor, int first, size_t n, size_t parts, size_t flows_max,
            uint64_t timeout_usec, UdpAdmitHandler admit, UdpHandler handler, void *userdata) {
        const UdpLimits limits = {
                .n = MAX(held_limits.n / parts, held_limits.share_n),
                .bytes = MAX(held_limits.bytes / parts, held_limits.share_bytes),
                .share_n = held_limits.share_n,
                .share_bytes = held_limits.share_bytes,
        };
        _cleanup_(udp_freep) Udp *udp = NULL;
        size_t n_sockets = udp_count_sockets(first, n);
        int r;

        assert(ret);
        assert(admit);
        assert(handler);

        udp = malloc(sizeof(*udp));
        if (!udp)
                return -ENOMEM;
        *udp = (Udp){
                .reactor = reactor,
                .admit = admit,
                .handler = handler,
                .userdata = userdata,
                .flows_max = MAX(flows_max / parts, (size_t) 1),
                .timeout_usec = timeout_usec,
        };
        TAILQ_INIT(&udp->flows.order);
        udp_queue_init(&udp->queue, &limits);
        if (n_sockets == 0) {
                *ret = TAKE_PTR(udp);
                return 0;
        }

        r = reactor_add_timer(reactor, &udp->timer, ACCURACY_USEC, udp_on_timer, udp);
        if (r >= 0)
                r = reactor_add_timer(reactor, &udp->expiry, EXPIRY_ACCURACY_USEC, udp_on_expiry, udp);
        if (r >= 0)
                r = udp_flows_init(&udp->flows, udp->flows_max);
        if (r < 0)
                return r;
        /* Its pages are there when they are used: with small datagrams, few. */
        udp->buffers = malloc(sizeof(UdpBuffers));
        udp->sockets = new0(UdpSocket, n_sockets);
        if (!udp->buffers || !udp->sockets)
                return -ENOMEM;
        udp_batch_init(&udp->from_clients, udp->buffers, /* addressed= */ true);
        udp_batch_init(&udp->from_backend, udp->buffers, /* addressed= */ false);
        for (size_t i = 0; i < n; i++) {
                r = udp_socket_is_one(first + (int) i) ? udp_take_socket(udp, first + (int) i) : 0;
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(udp);
        return 0;
}

Udp *udp_free(Udp *udp) {
        if (!udp)
                return NULL;

        udp_drop(udp);
        udp_flows_done(&udp->flows);
        for (size_t i = 0; i < udp->n_sockets; i++)
                reactor_remove(udp->reactor, &udp->sockets[i].watch);
        sd_event_source_disable_unref(udp->timer);
        sd_event_source_disable_unref(udp->expiry);
        free(udp->sockets);
        free(udp->buffers);
        return mfree(udp);
}

size_t udp_count(const Udp *udp) {
        return udp->flows.n;
}

size_t udp_waiting(const Udp *udp) {
        return udp->queue.n_shares;
}

void udp_forward(Udp *udp, const Backends *backends) {
        Address addresses[BACKENDS_MAX] = {};
        size_t n = backends_copy_inet(backends, addresses, BACKENDS_MAX);
        uint64_t now = time_now(CLOCK_MONOTONIC);
        UdpFlow *flow;

        if (udp->n_sockets == 0)
                return;
        if (!addresses_equal(addresses, n, udp->backends, udp->n_backends)) {
                memcpy(udp->backends, addresses, sizeof(addresses));
                udp->n_backends = n;
                udp->backend = 0;
                udp->generation++;
        } else if (udp->state != UDP_HOLDING)
                return;

        udp_hold(udp);
        if (n == 0)
                return;
        udp->state = UDP_TRYING;
        /* The time that the stack took is not counted against those who waited for it. */
        for (flow = TAILQ_FIRST(&udp->flows.order); flow; flow = TAILQ_NEXT(flow, entry))
                flow->used_usec = now;
        udp_arm_expiry(udp);
        udp_try(udp);
}

void udp_hold(Udp *udp) {
        udp->state = UDP_HOLDING;
        udp->tried = 0;
        udp->refusals = 0;
        alarm_stop(udp->timer);
}

void udp_drain(Udp *udp) {
        udp->timeout_usec = MIN(udp->timeout_usec, DRAIN_TIMEOUT_USEC);
        udp_arm_expiry(udp);
}

void udp_drop(Udp *udp) {
        udp_hold(udp);
        while (udp->flows.n > 0)
                flow_end(udp_flows_oldest(&udp->flows));
}
