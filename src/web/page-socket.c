#include <sys/queue.h>
#include <sys/socket.h>

#include "model/service.h"
#include "model/wake-pause.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "web/page-socket.h"

/* Page socket: fronts read what the internet sends, so they are not believed: a packet has a size, a valid name, and one descriptor, which is a
 * connected stream socket, or its sender is disconnected. What a front has on its way then, it answers by itself.
 *
 * A client has one owner. Fronts do not wait for ever, so the answer is sent first: if it cannot be delivered, the front has the client for
 * itself, and not a byte of it is read here. */

#define SENDERS_MAX 1024U
#define MESSAGE_MAX ((size_t) (SERVICE_NAME_MAX + sizeof(" 60000") - 1))
#define DESCRIPTORS_MAX 8U /* room for more than there may be, to close them */
#define PACKETS_PER_TURN 32U

typedef struct Sender {
        PageSocket *socket;
        LIST_ENTRY(Sender) entry;
        int fd;
        sd_event_source *source;
} Sender;

struct PageSocket {
        sd_event *event; /* borrowed */
        PageSocketRoomHandler has_room;
        PageSocketHandler handler;
        void *userdata;
        LIST_HEAD(, Sender) senders;
        size_t n_senders;
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

/* "NAME", "NAME MSEC": cuts it behind the name. */
static int parse_message(char *text, uint64_t *ret_pause_usec) {
        char *pause = strchr(text, ' ');
        uint64_t msec = 0;

        if (pause) {
                *pause++ = '\0';
                if (pause[0] == '\0' || pause[strspn(pause, "0123456789")] != '\0')
                        return -EBADMSG;
                for (; *pause && msec * USEC_PER_MSEC <= WAKE_PAUSE_MAX_USEC; pause++)
                        msec = msec * 10 + (uint64_t) (*pause - '0');
        }
        *ret_pause_usec = MIN(msec * USEC_PER_MSEC, WAKE_PAUSE_MAX_USEC);
        return service_name_is_valid(text) ? 0 : -EBADMSG;
}

int page_message_receive(int fd, char ret_service[static 65], uint64_t *ret_pause_usec, int *ret_fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        } control = {};
        char text[MESSAGE_MAX + 1];
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
        if ((size_t) n > MESSAGE_MAX || message.msg_flags & MSG_TRUNC || client < 0 || !is_client(client) ||
            memchr(text, '\0', (size_t) n))
                return -EBADMSG;
        text[n] = '\0';
        if (parse_message(text, ret_pause_usec) < 0)
                return -EBADMSG;
        memcpy(ret_service, text, strlen(text) + 1);
        *ret_fd = TAKE_FD(client);
        return 1;
}

static Sender *sender_free(Sender *sender) {
        if (!sender)
                return NULL;

        LIST_REMOVE(sender, entry);
        sender->socket->n_senders--;
        sd_event_source_disable_unref(sender->source);
        (void) fd_close(sender->fd);
        return mfree(sender);
}

static int sender_take_one(Sender *sender) {
        PageSocket *socket = sender->socket;
        char service[SERVICE_NAME_MAX + 1];
        _cleanup_close_ int client = -EBADF;
        uint64_t pause_usec = 0;
        bool take;
        int r;

        r = page_message_receive(sender->fd, service, &pause_usec, &client);
        if (r <= 0)
                return r;
        take = socket->has_room(service, client, socket->userdata);
        /* Who does not read the answers would wait for them in vain. */
        if (send(sender->fd, take ? "+" : "-", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return -errno;
        if (take)
                socket->handler(service, pause_usec, TAKE_FD(client), socket->userdata);
        return 1;
}

static int sender_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Sender *sender = ASSERT_PTR(userdata);
        int r = 1;

        for (unsigned i = 0; i < PACKETS_PER_TURN && r > 0; i++)
                r = sender_take_one(sender);
        if (r >= 0)
                return 0;
        if (r != -ECONNRESET)
                log_debug_errno(r, "Disconnecting a front: %m");
        (void) sender_free(sender);
        return 0;
}

int page_socket_add(PageSocket *socket, int connection) {
        _cleanup_close_ int fd = connection;
        Sender *sender;
        int r;

        if (socket->n_senders >= SENDERS_MAX)
                return -ENOBUFS;
        sender = new0(Sender, 1);
        if (!sender)
                return -ENOMEM;
        *sender = (Sender){ .socket = socket, .fd = TAKE_FD(fd) };
        LIST_INSERT_HEAD(&socket->senders, sender, entry);
        socket->n_senders++;
        r = sd_event_add_io(socket->event, &sender->source, sender->fd, EPOLLIN, sender_on_io, sender);
        if (r < 0)
                (void) sender_free(sender);
        return r;
}

int page_socket_new(PageSocket **ret, sd_event *event, PageSocketRoomHandler has_room, PageSocketHandler handler,
                    void *userdata) {
        PageSocket *socket = new0(PageSocket, 1);

        assert(has_room);
        assert(handler);

        if (!socket)
                return -ENOMEM;
        *socket = (PageSocket){ .event = event, .has_room = has_room, .handler = handler, .userdata = userdata };
        *ret = socket;
        return 0;
}

PageSocket *page_socket_free(PageSocket *socket) {
        if (!socket)
                return NULL;

        while (!LIST_EMPTY(&socket->senders))
                (void) sender_free(LIST_FIRST(&socket->senders));
        return mfree(socket);
}

size_t page_socket_senders(const PageSocket *socket) {
        return socket->n_senders;
}
