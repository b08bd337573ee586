#include "io/redirect-snapshot.h"
#include "test.h"

/* What nft says of a real table is tested with real tables: see test-redirect.c. */

static void test_snapshot_of_nonsense(void) {
        static const char *const bad[] = { "", "{", "[]", "{}", "{\"nftables\":7}", "nftables" };
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

int main(void) {
        test_snapshot_of_nonsense();
        return 0;
}
