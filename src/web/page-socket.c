#include <fcntl.h>
#include <sys/socket.h>

#include "model/service.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "web/page-socket.h"

/* Page socket: fronts read what the internet sends, so they are not believed: a packet has a size, a valid name, and one descriptor, which is a
 * connected stream socket, or its sender is disconnected. What a front has on its way then, it answers by itself.
 *
 * A client has one owner. Fronts do not wait for ever, so the answer is sent first: if it cannot be delivered, the front has the client for
 * itself, and not a byte of it is read here. */

#define PEERS_MAX 1024U
#define DESCRIPTORS_MAX 8U /* room for more than there may be, to close them */
#define PACKETS_PER_TURN 32U
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC)

typedef struct Peer Peer;

struct Peer {
        PageSocket *socket;
        Peer *next, **previous; /* intrusive list: the pointer that points here */
        int fd;
        sd_event_source *source;
};

struct PageSocket {
        sd_event *event; /* borrowed */
        int fd; /* borrowed */
        PageSocketRoomHandler has_room;
        PageSocketHandler handler;
        void *userdata;
        sd_event_source *listening, *again;
        Peer *peers;
        size_t n_peers;
};

/* Takes out the one descriptor, and closes all if there is not exactly one. */
static int take_descriptor(struct msghdr *message) {
        int taken = -EBADF;
        size_t n_taken = 0;

        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                size_t n = header->cmsg_len >= CMSG_LEN(0) ? (header->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t i = 0; i < n; i++) {
                        (void) fd_close(taken);
                        memcpy(&taken, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
                        n_taken++;
                }
        }
        if (n_taken != 1 || message->msg_flags & MSG_CTRUNC)
                return fd_close(taken);
        return taken;
}

static bool is_client(int fd) {
        struct sockaddr_storage address = {};
        socklen_t size = sizeof(int);
        int type;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
                return false;
        size = sizeof(address);
        if (getsockname(fd, (struct sockaddr *) &address, &size) < 0)
                return false;
        return address.ss_family == AF_INET || address.ss_family == AF_INET6 || address.ss_family == AF_UNIX;
}

int page_message_receive(int fd, char ret_service[static 65], int *ret_fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        } control = {};
        char text[SERVICE_NAME_MAX + 1];
        struct iovec data = { .iov_base = text, .iov_len = sizeof(text) };
        struct msghdr message = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        _cleanup_close_ int client = -EBADF;
        ssize_t n;

        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        client = take_descriptor(&message);
        if (n == 0)
                return message.msg_controllen > 0 ? -EBADMSG : -ECONNRESET;
        if ((size_t) n > SERVICE_NAME_MAX || message.msg_flags & MSG_TRUNC || client < 0 || !is_client(client) ||
            memchr(text, '\0', (size_t) n))
                return -EBADMSG;
        text[n] = '\0';
        if (!service_name_is_valid(text))
                return -EBADMSG;
        memcpy(ret_service, text, (size_t) n + 1);
        *ret_fd = TAKE_FD(client);
        return 1;
}

static Peer *peer_free(Peer *peer) {
        if (!peer)
                return NULL;

        *peer->previous = peer->next;
        if (peer->next)
                peer->next->previous = peer->previous;
        peer->socket->n_peers--;
        sd_event_source_disable_unref(peer->source);
        (void) fd_close(peer->fd);
        return mfree(peer);
}

static int peer_take_one(Peer *peer) {
        PageSocket *socket = peer->socket;
        char service[SERVICE_NAME_MAX + 1];
        _cleanup_close_ int client = -EBADF;
        bool take;
        int r;

        r = page_message_receive(peer->fd, service, &client);
        if (r <= 0)
                return r;
        take = socket->has_room(service, socket->userdata);
        /* Who does not read the answers would wait for them in vain. */
        if (send(peer->fd, take ? "+" : "-", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return -errno;
        if (take)
                socket->handler(service, TAKE_FD(client), socket->userdata);
        return 1;
}

static int peer_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Peer *peer = ASSERT_PTR(userdata);
        int r = 1;

        for (unsigned i = 0; i < PACKETS_PER_TURN && r > 0; i++)
                r = peer_take_one(peer);
        if (r >= 0)
                return 0;
        if (r != -ECONNRESET)
                log_debug_errno(r, "Disconnecting a front: %m");
        (void) peer_free(peer);
        return 0;
}

static int page_socket_add_peer(PageSocket *socket, int connection) {
        _cleanup_close_ int fd = connection;
        Peer *peer;
        int r;

        if (socket->n_peers >= PEERS_MAX)
                return -ENOBUFS;
        peer = new0(Peer, 1);
        if (!peer)
                return -ENOMEM;
        *peer = (Peer){ .socket = socket, .next = socket->peers, .previous = &socket->peers, .fd = TAKE_FD(fd) };
        if (peer->next)
                peer->next->previous = &peer->next;
        socket->peers = peer;
        socket->n_peers++;
        r = sd_event_add_io(socket->event, &peer->source, peer->fd, EPOLLIN, peer_on_io, peer);
        if (r < 0)
                (void) peer_free(peer);
        return r;
}

static int page_socket_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        PageSocket *socket = ASSERT_PTR(userdata);

        (void) sd_event_source_set_enabled(socket->listening, SD_EVENT_ON);
        return 0;
}

static int page_socket_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        PageSocket *socket = ASSERT_PTR(userdata);
        int connection;

        connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection >= 0) {
                int r = page_socket_add_peer(socket, connection);

                if (r < 0)
                        log_debug_errno(r, "Failed to take the connection of a front: %m");
                return 0;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
                return 0;
        /* Out of descriptors or memory: it stays in the backlog, and would wake the loop for ever. */
        log_debug_errno(-errno, "Failed to accept the connection of a front, pausing: %m");
        (void) sd_event_source_set_enabled(socket->listening, SD_EVENT_OFF);
        (void) sd_event_source_set_time_relative(socket->again, ACCEPT_PAUSE);
        (void) sd_event_source_set_enabled(socket->again, SD_EVENT_ONESHOT);
        return 0;
}

int page_socket_new(PageSocket **ret, sd_event *event, int fd, PageSocketRoomHandler has_room,
                    PageSocketHandler handler, void *userdata) {
        _cleanup_(page_socket_freep) PageSocket *socket = new0(PageSocket, 1);
        int r;

        assert(ret);
        assert(has_room);
        assert(handler);

        if (!socket)
                return -ENOMEM;
        *socket = (PageSocket){
                .event = event, .fd = fd, .has_room = has_room, .handler = handler, .userdata = userdata
        };
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                return -errno;
        r = sd_event_add_time(event, &socket->again, CLOCK_MONOTONIC, 0, 0, page_socket_on_again, socket);
        if (r >= 0)
                r = sd_event_source_set_enabled(socket->again, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_io(event, &socket->listening, fd, EPOLLIN, page_socket_on_connection, socket);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(socket);
        return 0;
}

PageSocket *page_socket_free(PageSocket *socket) {
        if (!socket)
                return NULL;

        while (socket->peers)
                (void) peer_free(socket->peers);
        sd_event_source_disable_unref(socket->listening);
        sd_event_source_disable_unref(socket->again);
        return mfree(socket);
}

size_t page_socket_peers(const PageSocket *socket) {
        return socket->n_peers;
}
