#include <sys/random.h>

#include "front/udp/udp-flow.h"

/* UdpFlows: a table of chains. Keys are chosen by whoever sends datagrams, true source addresses or not, so the hash
 * has a secret: without it, somebody could make all of them meet in one chain.
 *
 * UdpQueue: each datagram is in two lists, so that the oldest of all and the oldest of a share are both at hand. What
 * counts as its size includes what keeps it, or empty datagrams would cost nothing. */

static uint64_t mix(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128) a * b;

        return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static UdpFlow **udp_flows_bucket(const UdpFlows *flows, const UdpKey *key) {
        uint64_t words[sizeof(UdpKey) / sizeof(uint64_t)], hash = flows->secret[0];

        static_assert(sizeof(words) == sizeof(*key), "a key has no rest");
        memcpy(words, key, sizeof(words));
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                hash = mix(hash ^ words[i], flows->secret[1] + 2 * i);
        return &flows->buckets[hash & (flows->n_buckets - 1)];
}

int udp_flows_init(UdpFlows *flows, size_t n_max) {
        size_t n_buckets = 1;

        while (n_buckets < n_max)
                n_buckets *= 2;
        *flows = (UdpFlows){ .buckets = new0(UdpFlow *, n_buckets), .n_buckets = n_buckets };
        if (!flows->buckets)
                return -ENOMEM;
        TAILQ_INIT(&flows->order);

        /* Early in the boot there may be nothing random yet: nobody is there to guess either. */
        if (getrandom(flows->secret, sizeof(flows->secret), GRND_NONBLOCK) < 0)
                flows->secret[1] = UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t) flows->buckets;
        flows->secret[1] |= 1;
        return 0;
}

void udp_flows_done(UdpFlows *flows) {
        assert(flows->n == 0);
        flows->buckets = mfree(flows->buckets);
}

UdpFlow *udp_flows_find(const UdpFlows *flows, const UdpKey *key) {
        UdpFlow *flow = *udp_flows_bucket(flows, key);

        while (flow && memcmp(&flow->key, key, sizeof(*key)) != 0)
                flow = flow->next;
        return flow;
}

UdpFlow *udp_flows_add(UdpFlows *flows, const UdpKey *key, uint64_t now_usec) {
        UdpFlow **bucket = udp_flows_bucket(flows, key), *flow;

        flow = malloc(sizeof(*flow));
        if (!flow)
                return NULL;
        *flow = (UdpFlow){ .key = *key, .next = *bucket, .used_usec = now_usec, .fd = -EBADF };
        udp_share_init(&flow->share);
        *bucket = flow;
        TAILQ_INSERT_TAIL(&flows->order, flow, entry);
        flows->n++;
        return flow;
}

void udp_flows_remove(UdpFlows *flows, UdpFlow *flow) {
        UdpFlow **link = udp_flows_bucket(flows, &flow->key);

        assert(flow->share.n == 0);
        assert(flow->fd < 0);

        while (*link != flow)
                link = &(*link)->next;
        *link = flow->next;
        TAILQ_REMOVE(&flows->order, flow, entry);
        flows->n--;
        free(flow);
}

void udp_flows_touch(UdpFlows *flows, UdpFlow *flow, uint64_t now_usec) {
        flow->used_usec = now_usec;
        TAILQ_REMOVE(&flows->order, flow, entry);
        TAILQ_INSERT_TAIL(&flows->order, flow, entry);
}

UdpFlow *udp_flows_oldest(const UdpFlows *flows) {
        return TAILQ_FIRST(&flows->order);
}

/* The queue */

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
