#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "front/keep/counter.h"
#include "test.h"
#include "util/fd.h"

/* What the keep takes for granted about the kernel's counters. */

static void connect_pair(int *ret_client, int *ret_server) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);

        ASSERT_OK(bind(listener, (struct sockaddr *) &address, size));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &address, &size));
        *ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(connect(*ret_client, (struct sockaddr *) &address, size));
        *ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_TRUE(*ret_server >= 0);
}

static Counter get(int fd) {
        Counter counter;

        ASSERT_OK(counter_get(&counter, fd));
        return counter;
}

static void wait_for(int fd, short events) {
        ASSERT_EQ(poll(&(struct pollfd){ .fd = fd, .events = events }, 1, 10000), 1);
}

static void test_bytes_and_ends(void) {
        _cleanup_close_ int client = -EBADF, server = -EBADF;
        Counter client_before, server_before;
        char buffer[64];

        connect_pair(&client, &server);
        client_before = get(client);
        server_before = get(server);
        /* Nobody has read it, and it counts as written. */
        ASSERT_EQ(send(client, "0123456789", 10, 0), 10);
        wait_for(server, POLLIN);
        ASSERT_EQ(get(client).written - client_before.written, 10);
        ASSERT_EQ(get(server).read, server_before.read);
        ASSERT_EQ(recv(server, buffer, 4, 0), 4);
        ASSERT_EQ(get(server).read - server_before.read, 4);

        /* An end is no byte, whether it has been reached or not. */
        ASSERT_OK(shutdown(client, SHUT_WR));
        wait_for(server, POLLRDHUP);
        ASSERT_TRUE(get(client).finished && get(server).ended);
        ASSERT_EQ(get(client).written - client_before.written, 10);
        ASSERT_EQ(get(server).read - server_before.read, 4);
        ASSERT_EQ(recv(server, buffer, sizeof(buffer), 0), 6);
        ASSERT_EQ(get(server).read - server_before.read, 10);
        ASSERT_EQ(recv(server, buffer, sizeof(buffer), 0), 0);
        ASSERT_EQ(get(server).read - server_before.read, 10);
        ASSERT_FALSE(get(client).closed || get(server).closed);

        /* Closed, and not yet read. */
        ASSERT_EQ(send(server, "abc", 3, 0), 3);
        ASSERT_OK(shutdown(server, SHUT_WR));
        wait_for(client, POLLHUP);
        wait_for(server, POLLHUP);
        ASSERT_TRUE(get(client).closed);
        ASSERT_EQ(get(client).read, client_before.read);
        ASSERT_EQ(get(server).written - server_before.written, 3);
        ASSERT_EQ(recv(client, buffer, sizeof(buffer), 0), 3);
        ASSERT_EQ(get(client).read - client_before.read, 3);
}

/* Full queues on both sides. */
static void test_blocked(void) {
        _cleanup_close_ int client = -EBADF, server = -EBADF;
        static char data[65536];
        uint64_t sent = 0, received = 0, before;
        ssize_t n;

        connect_pair(&client, &server);
        before = get(client).written;
        while ((n = send(client, data, sizeof(data), MSG_DONTWAIT)) > 0)
                sent += (uint64_t) n;
        ASSERT_EQ(get(client).written - before, sent);
        before = get(server).read;
        while (received < sent && (n = recv(server, data, sizeof(data), 0)) > 0) {
                received += (uint64_t) n;
                ASSERT_EQ(get(server).read - before, received);
        }
        ASSERT_EQ(received, sent);
}

static void test_others(void) {
        Counter counter;
        int pair[2];

        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        ASSERT_ERROR(counter_get(&counter, pair[0]), EOPNOTSUPP);
        fd_close(pair[0]);
        fd_close(pair[1]);
}

int main(void) {
        test_bytes_and_ends();
        test_blocked();
        test_others();
        return EXIT_SUCCESS;
}
