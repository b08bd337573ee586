#include "front/udp-batch.h"

/* UdpBatch: what the kernel changes in an entry is put right before the next use, and no more than that: a busy service
 * of many clients receives one datagram at a time from each. */

void udp_batch_init(UdpBatch *batch, UdpBuffers *buffers, bool addressed) {
        batch->buffers = buffers;
        batch->addressed = addressed;
        batch->n_used = UDP_BATCH_MAX;
}

static void udp_batch_reset(UdpBatch *batch) {
        for (size_t i = 0; i < batch->n_used; i++) {
                struct msghdr *header = &batch->messages[i].msg_hdr;

                batch->vectors[i] = (struct iovec){ (*batch->buffers)[i], UDP_DATAGRAM_MAX };
                *header = (struct msghdr){ .msg_iov = &batch->vectors[i], .msg_iovlen = 1 };
                if (!batch->addressed)
                        continue;
                header->msg_name = &batch->names[i];
                header->msg_namelen = sizeof(batch->names[i]);
                header->msg_control = &batch->controls[i];
                header->msg_controllen = sizeof(batch->controls[i]);
        }
        batch->n_used = 0;
}

int udp_batch_receive(UdpBatch *batch, int fd) {
        int n;

        udp_batch_reset(batch);
        n = recvmmsg(fd, batch->messages, UDP_BATCH_MAX, MSG_DONTWAIT, NULL);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        batch->n_used = (size_t) n;
        return n;
}

void udp_batch_reply(UdpBatch *batch, const UdpSocket *socket, const UdpKey *key, size_t n) {
        struct msghdr header = {};
        UdpControl control;
        Address client;

        assert(n <= batch->n_used);

        udp_socket_set_key(socket, key, &header, &client, &control);
        header.msg_iovlen = 1;
        for (size_t i = 0; i < n; i++) {
                batch->vectors[i].iov_len = batch->messages[i].msg_len;
                header.msg_iov = &batch->vectors[i];
                batch->messages[i].msg_hdr = header;
        }
        for (size_t sent = 0; sent < n;) {
                int r = sendmmsg(socket->fd, batch->messages + sent, (unsigned) (n - sent),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);

                /* One that cannot be sent is lost, and not the others. */
                sent += (size_t) MAX(r, 1);
        }
}
