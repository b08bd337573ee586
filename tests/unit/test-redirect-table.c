#include "nft/redirect-table.h"
#include "test.h"

/* What nft says of a real table is tested with real tables: see test-redirect.c. */

static void test_snapshot_of_nonsense(void) {
        static const char *const bad[] = { "{", "[]", "{}", "{\"nftables\":7}", "nftables" };
        static const char *const odd[] = {
                "{\"nftables\":[]}",
                "{\"nftables\":[7,null,[],{\"map\":7},{\"map\":{}},{\"set\":{\"elem\":[null,{},[]]}}]}",
                "{\"nftables\":[{\"map\":{\"name\":\"wildcard4\",\"elem\":[[1],[],[1,2],[null,null],{}]}}]}",
                "{\"nftables\":[{\"rule\":{\"chain\":\"service-x\",\"expr\":7}}]}",
                "{\"nftables\":[{\"rule\":{\"chain\":\"service-x\",\"expr\":[{\"redirect\":7}]}}]}",
                "{\"nftables\":[{\"rule\":{\"chain\":\"service-x\",\"expr\":[{\"redirect\":{\"port\":\"x\"}}]}}]}",
                "{\"nftables\":[{\"counter\":{\"name\":7}},{\"chain\":{\"name\":\"service-\"}},{\"rule\":null}]}",
        };
        RedirectSnapshot *snapshot;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(redirect_snapshot_parse(&snapshot, bad[i]), EBADMSG);
        for (size_t i = 0; i < ELEMENTSOF(odd); i++) {
                ASSERT_OK(redirect_snapshot_parse(&snapshot, odd[i]));
                ASSERT_FALSE(snapshot->complete);
                redirect_snapshot_free(snapshot);
        }
}

static const char *owner(const RedirectSnapshot *snapshot, RedirectMap map, const char *address, uint16_t port) {
        const RedirectElement wanted = redirect_element(map, address, port, ""),
                              *found = redirect_snapshot_element(snapshot, &wanted);

        return found ? found->service : NULL;
}

/* What `list table` says, in short: whose is what. */
static void test_snapshot(void) {
        static const char text[] =
                        "{\"nftables\":[{\"metainfo\":{}},{\"table\":{\"name\":\"wakechain\"}},"
                        "{\"map\":{\"name\":\"wildcard4\",\"elem\":[[9003,{\"goto\":{\"target\":\"service-b\"}}],"
                        "[9002,{\"goto\":{\"target\":\"service-a\"}}],[80,{\"drop\":null}]]}},"
                        "{\"map\":{\"name\":\"address4\",\"elem\":[[{\"concat\":[\"192.0.2.1\",9002]},"
                        "{\"goto\":{\"target\":\"divert\"}}]]}},"
                        "{\"set\":{\"name\":\"targets\",\"elem\":[{\"elem\":{\"val\":29002,\"comment\":\"a\"}},29003]}},"
                        "{\"chain\":{\"name\":\"service-a\"}},{\"chain\":{\"name\":\"service-b\"}},{\"chain\":{\"name\":\"input\"}},"
                        "{\"counter\":{\"name\":\"service-a\",\"packets\":7}},"
                        "{\"rule\":{\"chain\":\"service-a\",\"expr\":[{\"counter\":\"service-a\"}]}},"
                        "{\"rule\":{\"chain\":\"service-b\",\"expr\":[{\"match\":{}},{\"redirect\":{\"port\":29003}}]}}]}\n";
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        const SnapshotService *a, *b;

        ASSERT_OK(redirect_snapshot_parse(&snapshot, text));
        ASSERT_FALSE(snapshot->complete);
        ASSERT_EQ(snapshot->n_services, 2);
        a = redirect_snapshot_service(snapshot, "a");
        b = redirect_snapshot_service(snapshot, "b");
        ASSERT_TRUE(a->chain && a->counter && a->counts && a->redirect_port == 0);
        ASSERT_EQ(a->new_connections, 7);
        ASSERT_TRUE(b->chain && !b->counter && !b->counts);
        ASSERT_EQ(b->redirect_port, 29003);
        ASSERT_NULL(redirect_snapshot_service(snapshot, "c"));

        ASSERT_EQ(snapshot->n_elements, 6);
        ASSERT_STREQ(owner(snapshot, REDIRECT_WILDCARD4, NULL, 9002), "a");
        ASSERT_STREQ(owner(snapshot, REDIRECT_WILDCARD4, NULL, 80), "");
        ASSERT_STREQ(owner(snapshot, REDIRECT_ADDRESS4, "192.0.2.1", 9002), "");
        ASSERT_STREQ(owner(snapshot, REDIRECT_TARGETS, NULL, 29003), "");
        ASSERT_NULL(owner(snapshot, REDIRECT_WILDCARD6, NULL, 9002));
        ASSERT_EQ(redirect_snapshot_target(snapshot, "a"), 29002);
        ASSERT_EQ(redirect_snapshot_target(snapshot, "b"), 0);
}

/* One for each command. */
static void test_several_documents(void) {
        static const char text[] = "{\"nftables\":[{\"chain\":{\"name\":\"service-a\"}}]}\n"
                                   "{\"nftables\":[{\"counter\":{\"name\":\"service-a\",\"packets\":3}}]}\n";
        RedirectSnapshot *snapshot;

        ASSERT_OK(redirect_snapshot_parse(&snapshot, text));
        ASSERT_EQ(snapshot->n_services, 1);
        ASSERT_TRUE(snapshot->services[0].chain && snapshot->services[0].counter);
        ASSERT_EQ(snapshot->services[0].new_connections, 3);
        redirect_snapshot_free(snapshot);
        ASSERT_ERROR(redirect_snapshot_parse(&snapshot, "{\"nftables\":[]}\n7"), EBADMSG);
}

/* Of the bridges' table: counted for the same service, and in maps of its own. */
static void test_both_tables(void) {
        static const char text[] =
                        "{\"nftables\":[{\"map\":{\"family\":\"inet\",\"name\":\"inner4\",\"elem\":[]}},"
                        "{\"counter\":{\"family\":\"inet\",\"name\":\"service-a\",\"packets\":3}}]}\n"
                        "{\"nftables\":[{\"map\":{\"family\":\"bridge\",\"name\":\"inner4\",\"elem\":["
                        "[{\"concat\":[\"192.0.2.1\",80]},{\"goto\":{\"target\":\"service-a\"}}]]}},"
                        "{\"chain\":{\"family\":\"bridge\",\"name\":\"service-a\"}},"
                        "{\"rule\":{\"family\":\"bridge\",\"chain\":\"service-a\",\"expr\":[{\"counter\":\"service-a\"}]}},"
                        "{\"counter\":{\"family\":\"bridge\",\"name\":\"service-a\",\"packets\":4}}]}\n";
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;

        ASSERT_OK(redirect_snapshot_parse(&snapshot, text));
        ASSERT_EQ(snapshot->n_services, 1);
        ASSERT_EQ(snapshot->services[0].new_connections, 7);
        ASSERT_TRUE(!snapshot->services[0].chain && snapshot->services[0].counter);
        ASSERT_TRUE(snapshot->services[0].bridge_chain && snapshot->services[0].bridge_counter);
        ASSERT_FALSE(snapshot->services[0].counts);
        ASSERT_STREQ(owner(snapshot, REDIRECT_BRIDGE4, "192.0.2.1", 80), "a");
        ASSERT_NULL(owner(snapshot, REDIRECT_INNER4, "192.0.2.1", 80));
}

/* A name that is none of a service's cannot be taken out one by one: such a table is not whole. */
static void test_long_names(void) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        char text[512], name[120] = "";

        memset(name, 'x', sizeof(name) - 1);
        (void) snprintf(text, sizeof(text),
                        "{\"nftables\":[{\"chain\":{\"name\":\"service-%s\"}},{\"set\":{\"name\":\"targets\",\"elem\":["
                        "{\"elem\":{\"val\":1,\"comment\":\"%s\"}},\"%s\"]}}]}",
                        name, name, name);
        ASSERT_OK(redirect_snapshot_parse(&snapshot, text));
        ASSERT_FALSE(snapshot->complete);
        ASSERT_EQ(snapshot->n_services, 0);
        ASSERT_EQ(snapshot->n_elements, 2);
}

/* A port of UDP has a chain of its own, which redirects or does nothing. */
static void test_udp(void) {
        static const char text[] =
                        "{\"nftables\":[{\"map\":{\"name\":\"udpwildcard4\",\"elem\":[[53,{\"goto\":{\"target\":\"udp-20053-a-7\"}}]]}},"
                        "{\"map\":{\"name\":\"udpsources\",\"elem\":[[{\"elem\":{\"val\":20053,\"comment\":\"a-7\"}},53]]}},"
                        "{\"set\":{\"name\":\"udptargets\",\"elem\":[{\"elem\":{\"val\":20053,\"comment\":\"a-7\"}}]}},"
                        "{\"chain\":{\"name\":\"udp-20053-a-7\"}},{\"chain\":{\"name\":\"udp-x\"}},"
                        "{\"rule\":{\"chain\":\"udp-20053-a-7\",\"expr\":[{\"dnat\":{\"port\":20053}}]}}]}\n";
        const RedirectElement port = redirect_element(REDIRECT_UDP_WILDCARD4, NULL, 53, ""),
                              source = redirect_udp_element(REDIRECT_UDP_SOURCES, 20053, 53, "a-7"),
                              target = redirect_udp_element(REDIRECT_UDP_TARGETS, 20053, 53, "a-7");
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        const RedirectElement *found;

        ASSERT_OK(redirect_snapshot_parse(&snapshot, text));
        ASSERT_EQ(snapshot->n_services, 1);
        ASSERT_STREQ(snapshot->services[0].name, "a-7");
        ASSERT_FALSE(snapshot->services[0].chain || snapshot->services[0].counter);
        ASSERT_EQ(snapshot->services[0].udp, redirect_udp_sum(&target));
        ASSERT_EQ(snapshot->services[0].udp_up, redirect_udp_sum(&target));
        found = redirect_snapshot_element(snapshot, &port);
        ASSERT_STREQ(found->service, "a-7");
        ASSERT_EQ(found->to, 20053);
        found = redirect_snapshot_element(snapshot, &source);
        ASSERT_STREQ(found->service, "a-7");
        ASSERT_EQ(found->to, 53);
        ASSERT_EQ(redirect_udp_sum(found), 0);
}

static void test_no_answer(void) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;

        ASSERT_OK(redirect_snapshot_parse(&snapshot, ""));
        ASSERT_EQ(snapshot->n_elements + snapshot->n_services, 0);
        ASSERT_FALSE(snapshot->complete);
}

int main(void) {
        test_snapshot();
        test_several_documents();
        test_both_tables();
        test_long_names();
        test_udp();
        test_no_answer();
        test_snapshot_of_nonsense();
        return 0;
}
