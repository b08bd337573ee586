#include "front/udp-queue.h"

/* UdpQueue: each datagram is in two lists, so that the oldest of all and the oldest of a share are both at hand.
 * What counts as its size includes what keeps it, or empty datagrams would cost nothing. */

static size_t datagram_cost(size_t size) {
        return sizeof(Datagram) + size;
}

void udp_queue_init(UdpQueue *queue, const UdpLimits *limits) {
        *queue = (UdpQueue){ .limits = *limits };
        TAILQ_INIT(&queue->list);
}

void udp_share_init(UdpShare *share) {
        *share = (UdpShare){};
        TAILQ_INIT(&share->list);
}

Datagram *udp_queue_first(const UdpQueue *queue) {
        return TAILQ_FIRST(&queue->list);
}

void udp_queue_drop(UdpQueue *queue, Datagram *datagram) {
        UdpShare *share = datagram->share;
        size_t cost = datagram_cost(datagram->size);

        TAILQ_REMOVE(&queue->list, datagram, entry);
        TAILQ_REMOVE(&share->list, datagram, share_entry);
        queue->n--;
        queue->bytes -= cost;
        share->n--;
        share->bytes -= cost;
        if (share->n == 0)
                queue->n_shares--;
        free(datagram);
}

void udp_queue_drop_share(UdpQueue *queue, UdpShare *share) {
        while (!TAILQ_EMPTY(&share->list))
                udp_queue_drop(queue, TAILQ_FIRST(&share->list));
}

int udp_queue_append(UdpQueue *queue, UdpShare *share, const void *data, size_t size) {
        const UdpLimits *limits = &queue->limits;
        size_t cost = datagram_cost(size);
        Datagram *datagram;
        int n_dropped = 0;

        for (; share->n > 0 && (share->n >= limits->share_n || share->bytes + cost > limits->share_bytes);
             n_dropped++)
                udp_queue_drop(queue, TAILQ_FIRST(&share->list));
        for (; queue->n > 0 && (queue->n >= limits->n || queue->bytes + cost > limits->bytes); n_dropped++)
                udp_queue_drop(queue, TAILQ_FIRST(&queue->list));

        datagram = malloc(cost);
        if (!datagram)
                return -ENOMEM;
        *datagram = (Datagram){ .share = share, .number = ++queue->last_number, .size = size };
        if (size > 0)
                memcpy(datagram->data, data, size);
        TAILQ_INSERT_TAIL(&queue->list, datagram, entry);
        TAILQ_INSERT_TAIL(&share->list, datagram, share_entry);
        queue->n++;
        queue->bytes += cost;
        if (share->n++ == 0)
                queue->n_shares++;
        share->bytes += cost;
        return n_dropped;
}
