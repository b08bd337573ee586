#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model/service.h"
#include "model/wake-pause.h"
#include "util/fd.h"
#include "web/page-socket.h"

/* What a front may send: a packet of any bytes with any number of descriptors, of sockets and of others. The first byte says how many and which. */

#define DESCRIPTORS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_packet(int fd, const uint8_t *data, size_t size, const int *fds, size_t n) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        } control = { .header = { .cmsg_level = SOL_SOCKET,
                                  .cmsg_type = SCM_RIGHTS,
                                  .cmsg_len = CMSG_LEN(n * sizeof(int)) } };
        struct iovec vector = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

        memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
        if (n > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        }
        if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EMSGSIZE)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int pair[2], client[2], fds[DESCRIPTORS_MAX], taken = -EBADF, next, r;
        char service[SERVICE_NAME_MAX + 1];
        uint64_t pause_usec;
        size_t n;

        if (size == 0)
                return 0;
        n = data[0] % (DESCRIPTORS_MAX + 1);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
            socketpair(AF_UNIX, data[0] & 0x80 ? SOCK_DGRAM : SOCK_STREAM, 0, client) < 0)
                abort();
        for (size_t i = 0; i < n; i++)
                fds[i] = data[0] & 0x40 ? STDERR_FILENO : client[0];

        send_packet(pair[0], data + 1, size - 1, fds, n);
        next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        (void) fd_close(next);
        r = page_message_receive(pair[1], service, &pause_usec, &taken);
        if (r > 0 && (n != 1 || !service_name_is_valid(service) || pause_usec > WAKE_PAUSE_MAX_USEC))
                abort();
        (void) fd_close(taken);
        /* Whatever came, nothing of it is left open. */
        if (fcntl(next, F_GETFD) >= 0)
                abort();

        (void) fd_close(pair[0]);
        (void) fd_close(pair[1]);
        (void) fd_close(client[0]);
        (void) fd_close(client[1]);
        return 0;
}
