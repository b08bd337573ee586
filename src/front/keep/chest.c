#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/keep/chest.h"
#include "util/fd.h"

/* Chest: a pair of sockets. A descriptor that was sent (SCM_RIGHTS) and not received is kept open by the queue, and the
 * queue by whoever has both ends. A message is a letter for each descriptor; it is put and taken as a whole, and looked
 * at without being taken (MSG_PEEK), so that nothing is ever in the memory of a program alone. */

#define SEND_BUFFER_SIZE (8 * 1024 * 1024) /* the kernel gives what it allows */

static void chest_enlarge(Chest *chest) {
        (void) setsockopt(chest->in, SOL_SOCKET, SO_SNDBUF, &(int){ SEND_BUFFER_SIZE }, sizeof(int));
}

int chest_open(Chest *ret) {
        int ends[2];

        assert(ret);

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
                return -errno;
        *ret = (Chest){ .in = ends[0], .out = ends[1] };
        chest_enlarge(ret);
        return 0;
}

int chest_adopt(Chest *ret, int a, int b) {
        int ends[2] = { a, b }, queued = 0;

        assert(ret);

        for (unsigned i = 0; i < 2; i++) {
                int domain = 0, type = 0;
                socklen_t size = sizeof(int);

                if (getsockopt(ends[i], SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
                    getsockopt(ends[i], SOL_SOCKET, SO_TYPE, &type, &size) < 0 || domain != AF_UNIX ||
                    type != SOCK_SEQPACKET)
                        return -EBADMSG;
        }
        /* The end that has something in its queue is the one it comes out of. */
        if (ioctl(a, FIONREAD, &queued) >= 0 && queued > 0)
                *ret = (Chest){ .in = b, .out = a };
        else
                *ret = (Chest){ .in = a, .out = b };
        chest_enlarge(ret);
        return 0;
}

Chest chest_close(Chest *chest) {
        (void) fd_close(chest->in);
        (void) fd_close(chest->out);
        return CHEST_NONE;
}

int chest_put(const Chest *chest, const ChestBatch *batch) {
        int r;

        assert(batch->n > 0 && batch->n <= CHEST_BATCH);

        r = fd_send_with(chest->in, batch->letters, batch->n, batch->fds, batch->n);
        return r == -ENOBUFS ? -EAGAIN : r;
}

int chest_peek(const Chest *chest, ChestBatch *ret) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(CHEST_BATCH * sizeof(int))];
        } control;
        struct iovec data = { ret->letters, CHEST_BATCH };
        struct msghdr message = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *header;
        ssize_t n;

        do
                n = recvmsg(chest->out, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        ret->n = 0;
        if (n <= 0)
                return n < 0 && errno != EAGAIN ? -errno : 0;

        header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
                ret->n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(ret->fds, CMSG_DATA(header), ret->n * sizeof(int));
        }
        /* None for whom the text has no letter. */
        for (size_t i = (size_t) n; i < ret->n; i++)
                ret->letters[i] = '?';
        ret->letters[ret->n] = '\0';
        return 1;
}

bool chest_drop(const Chest *chest) {
        char byte;
        ssize_t n;

        do
                n = recv(chest->out, &byte, sizeof(byte), MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return n >= 0;
}
