#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "nft/inner.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* The engine's proxy stands for itself: who has connected to its port counts, also before it has accepted, and as long as it has not closed. */
static void test_who_has_come_to_the_port_is_on_the_way(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int proxy, client, taken;
        uint16_t port;

        proxy = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(bind(proxy, (struct sockaddr *) &address, size));
        ASSERT_OK(listen(proxy, 1));
        ASSERT_OK(getsockname(proxy, (struct sockaddr *) &address, &size));
        port = ntohs(address.sin_port);
        ASSERT_FALSE(inner_is_on_its_way(port, USEC_PER_MINUTE));

        client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(connect(client, (struct sockaddr *) &address, size));
        ASSERT_TRUE(inner_is_on_its_way(port, USEC_PER_MINUTE));
        taken = accept(proxy, NULL, NULL);
        ASSERT_TRUE(inner_is_on_its_way(port, USEC_PER_MINUTE));
        ASSERT_FALSE(inner_is_on_its_way((uint16_t) (port == 1 ? 2 : port - 1), USEC_PER_MINUTE));

        fd_close(taken);
        fd_close(client);
        ASSERT_FALSE(inner_is_on_its_way(port, USEC_PER_MINUTE));
        fd_close(proxy);
}

int main(void) {
        /* Without the machine's own sockets, where that is allowed. */
        if (unshare(CLONE_NEWNET) >= 0)
                ASSERT_EQ(system("ip link set lo up"), 0);

        test_who_has_come_to_the_port_is_on_the_way();
        return 0;
}
