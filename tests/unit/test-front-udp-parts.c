#include <arpa/inet.h>

#include "front/udp/udp-flow.h"
#include "test.h"

/* The queue of datagrams and the table of flows, each alone. */

static const UdpLimits limits = {
        .n = 10,
        .bytes = 4096 + 10 * sizeof(Datagram),
        .share_n = 4,
        .share_bytes = 2000 + 4 * sizeof(Datagram),
};

static void append(UdpQueue *queue, UdpShare *share, uint8_t mark, size_t size, int n_dropped) {
        uint8_t data[65536];

        memset(data, mark, sizeof(data));
        ASSERT_EQ(udp_queue_append(queue, share, data, size), n_dropped);
}

static void expect_first(const UdpQueue *queue, const UdpShare *share, uint8_t mark, size_t size) {
        const Datagram *first = udp_queue_first(queue);

        ASSERT_TRUE(first);
        ASSERT_TRUE(first->share == share);
        ASSERT_EQ(first->size, size);
        if (size > 0)
                ASSERT_EQ(first->data[size - 1], mark);
}

static void test_queue_keeps_the_order(void) {
        UdpShare a, b;
        UdpQueue queue;

        udp_queue_init(&queue, &limits);
        udp_share_init(&a);
        udp_share_init(&b);
        append(&queue, &a, 1, 10, 0);
        append(&queue, &b, 2, 0, 0);
        append(&queue, &a, 3, 20, 0);
        ASSERT_EQ(queue.n_shares, 2);
        expect_first(&queue, &a, 1, 10);
        udp_queue_drop(&queue, udp_queue_first(&queue));
        expect_first(&queue, &b, 2, 0);
        udp_queue_drop(&queue, udp_queue_first(&queue));
        ASSERT_EQ(queue.n_shares, 1);
        expect_first(&queue, &a, 3, 20);
        udp_queue_drop_share(&queue, &a);
        ASSERT_NULL(udp_queue_first(&queue));
        ASSERT_EQ(queue.n + queue.bytes + queue.n_shares, 0);
        ASSERT_EQ(a.n + a.bytes, 0);
}

static void test_queue_drops_the_oldest_of_a_share(void) {
        UdpShare a, b;
        UdpQueue queue;

        udp_queue_init(&queue, &limits);
        udp_share_init(&a);
        udp_share_init(&b);
        append(&queue, &b, 0, 1, 0);
        for (uint8_t i = 1; i <= 4; i++)
                append(&queue, &a, i, 1, 0);
        append(&queue, &a, 5, 1, 1);
        udp_queue_drop_share(&queue, &b);
        expect_first(&queue, &a, 2, 1);

        append(&queue, &a, 6, 1999, 2); /* one for the number, one for the bytes */
        ASSERT_EQ(a.n, 3);
        append(&queue, &a, 7, 65000, 3); /* too large for any share: alone */
        expect_first(&queue, &a, 7, 65000);
        ASSERT_EQ(queue.n, 1);
        udp_queue_drop_share(&queue, &a);
}

static void test_queue_drops_the_oldest_of_all(void) {
        UdpShare shares[20];
        UdpQueue queue;

        udp_queue_init(&queue, &limits);
        for (size_t i = 0; i < ELEMENTSOF(shares); i++) {
                udp_share_init(&shares[i]);
                append(&queue, &shares[i], (uint8_t) i, 100, i < 10 ? 0 : 1);
        }
        ASSERT_EQ(queue.n, 10);
        expect_first(&queue, &shares[10], 10, 100);
        append(&queue, &shares[0], 0, 4096 + 9 * sizeof(Datagram), 10); /* as many bytes as may be */
        expect_first(&queue, &shares[0], 0, 4096 + 9 * sizeof(Datagram));
        for (size_t i = 0; i < ELEMENTSOF(shares); i++)
                udp_queue_drop_share(&queue, &shares[i]);
        ASSERT_EQ(queue.n + queue.bytes + queue.n_shares, 0);
}

static UdpKey make_key(uint16_t port, const char *local) {
        UdpKey key = { .port = port };

        ASSERT_EQ(inet_pton(AF_INET6, "::ffff:192.0.2.1", &key.client), 1);
        ASSERT_EQ(inet_pton(AF_INET6, local, &key.local), 1);
        return key;
}

static void test_flows_are_found_by_their_whole_key(void) {
        UdpKey key = make_key(7, "::1"), others[] = { key, key, key, key, key };
        UdpFlows flows;
        UdpFlow *flow;

        others[0].port++;
        others[1].socket++;
        others[2].scope++;
        others[3].local.s6_addr[0]++;
        others[4].client.s6_addr[15]++;

        ASSERT_OK(udp_flows_init(&flows, 1)); /* all in one bucket */
        flow = udp_flows_add(&flows, &key, 0);
        ASSERT_TRUE(flow);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                ASSERT_NULL(udp_flows_find(&flows, &others[i]));
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                ASSERT_TRUE(udp_flows_add(&flows, &others[i], 0));
        ASSERT_TRUE(udp_flows_find(&flows, &key) == flow);
        udp_flows_remove(&flows, flow);
        ASSERT_NULL(udp_flows_find(&flows, &key));
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                udp_flows_remove(&flows, udp_flows_find(&flows, &others[i]));
        ASSERT_EQ(flows.n, 0);
        udp_flows_done(&flows);
}

static void test_flows_know_who_was_idle_for_longest(void) {
        UdpFlow *list[1000];
        UdpFlows flows;

        ASSERT_OK(udp_flows_init(&flows, 64));
        for (size_t i = 0; i < ELEMENTSOF(list); i++) {
                UdpKey key = make_key((uint16_t) i, "::ffff:127.0.0.1");

                list[i] = udp_flows_add(&flows, &key, i);
                ASSERT_TRUE(list[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(list); i += 2)
                udp_flows_touch(&flows, list[i], 2000 + i);
        for (size_t i = 1; i < ELEMENTSOF(list); i += 2) {
                ASSERT_TRUE(udp_flows_oldest(&flows) == list[i]);
                udp_flows_remove(&flows, list[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(list); i += 2) {
                ASSERT_TRUE(udp_flows_oldest(&flows) == list[i]);
                ASSERT_TRUE(udp_flows_find(&flows, &list[i]->key) == list[i]);
                udp_flows_remove(&flows, list[i]);
        }
        ASSERT_NULL(udp_flows_oldest(&flows));
        udp_flows_done(&flows);
}

int main(void) {
        test_queue_keeps_the_order();
        test_queue_drops_the_oldest_of_a_share();
        test_queue_drops_the_oldest_of_all();
        test_flows_are_found_by_their_whole_key();
        test_flows_know_who_was_idle_for_longest();
        return EXIT_SUCCESS;
}
