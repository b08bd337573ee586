#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine-fixture.h"
#include "io/port-conflict.h"
#include "test.h"
#include "util/fd.h"

/* The refusals of engines. An address "" is none. */
static const struct {
        const char *message;
        PortTransport transport;
        const char *host;
        uint16_t port;
} refusals[] = {
        /* Docker 20.10 and 26.1 */
        { "driver failed programming external connectivity on endpoint wb-e3 (00ff): Error starting userland proxy: "
          "listen tcp4 127.0.0.1:21301: bind: address already in use",
          PORT_TCP, "127.0.0.1", 21301 },
        { "driver failed programming external connectivity on endpoint wb-e3 (00ff): listen tcp4 0.0.0.0:80: bind: address "
          "already in use",
          PORT_TCP, "0.0.0.0", 80 },
        { "driver failed programming external connectivity on endpoint py (1cfe): Error starting userland proxy: listen "
          "tcp6 [::1]:9700: bind: address already in use.",
          PORT_TCP, "::1", 9700 },
        { "driver failed programming external connectivity on endpoint py (1cfe): Bind for 0.0.0.0:9002 failed: port is "
          "already allocated",
          PORT_TCP_OR_UDP, "0.0.0.0", 9002 },
        { "Bind for :::9002 failed: port is already allocated", PORT_TCP_OR_UDP, "::", 9002 },
        { "Bind for [::]:9002 failed: port is already allocated", PORT_TCP_OR_UDP, "::", 9002 },
        { "Error starting userland proxy: listen udp4 0.0.0.0:53: bind: address already in use", PORT_UDP,
          "0.0.0.0", 53 },
        /* Docker 27 and later */
        { "failed to set up container networking: driver failed programming external connectivity on endpoint x (00): "
          "failed to bind host port for 0.0.0.0:9002:172.18.0.2:80/tcp: address already in use",
          PORT_TCP, "0.0.0.0", 9002 },
        { "failed to bind host port for [::]:9002:[fd00::2]:80/tcp: address already in use", PORT_TCP,
          "::", 9002 },
        { "failed to bind host port 127.0.0.1:53/udp: address already in use", PORT_UDP, "127.0.0.1", 53 },
        { "failed to bind port 0.0.0.0:8080/tcp: Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address "
          "already in use",
          PORT_TCP, "0.0.0.0", 8080 },
        /* Docker Desktop */
        { "Ports are not available: exposing port TCP 0.0.0.0:80 -> 127.0.0.1:0: listen tcp 0.0.0.0:80: bind: address "
          "already in use",
          PORT_TCP, "0.0.0.0", 80 },
        /* Podman 4.3 */
        { "cannot listen on the TCP port: listen tcp4 127.0.0.1:21301: bind: address already in use", PORT_TCP,
          "127.0.0.1", 21301 },
        { "rootlessport listen tcp 0.0.0.0:8080: bind: address already in use", PORT_TCP, "0.0.0.0", 8080 },

        { "port is already allocated", PORT_TCP, "", 0 },
        { "listen tcp4 127.0.0.1: bind", PORT_TCP, "", 0 },
        { "listen tcp4 127.0.0.1:99999: bind", PORT_TCP, "", 0 },
        { "listen tcp4 127.0.0.1:0: bind", PORT_TCP, "", 0 },
        { "listen tcp4 here:80: bind", PORT_TCP, "", 0 },
        { "listen tcp6 [::1:80: bind", PORT_TCP, "", 0 },
        { "listen tcp6 []:80: bind", PORT_TCP, "", 0 },
        { "listen tcp4 ", PORT_TCP, "", 0 },
        { "Bind for ", PORT_TCP, "", 0 },
};

static void test_refusals_are_parsed(void) {
        for (size_t i = 0; i < ELEMENTSOF(refusals); i++) {
                PortAddress address = {};
                char host[INET6_ADDRSTRLEN];
                int r;

                r = port_conflict_parse(&address, refusals[i].message);
                if (r != (*refusals[i].host != '\0'))
                        TEST_FAIL("%s: %d", refusals[i].message, r);
                if (r == 0)
                        continue;
                ASSERT_EQ(address.transport, refusals[i].transport);
                ASSERT_STREQ(inet_ntop(address.family, &address.ipv4, host, sizeof(host)), refusals[i].host);
                ASSERT_EQ(address.port, refusals[i].port);
        }
}

typedef struct Told {
        PortConflict *conflict;
        bool done;
        char sentence[1024];
} Told;

static void on_told(PortConflict *conflict, const char *sentence, void *userdata) {
        Told *told = userdata;

        ASSERT_FALSE(told->done);
        told->done = true;
        (void) snprintf(told->sentence, sizeof(told->sentence), "%s", sentence);
        told->conflict = port_conflict_free(told->conflict);
}

static Told tell(Engine *engine, const char *message) {
        Told told = {};

        ASSERT_OK(port_conflict_new(&told.conflict, engine, "web", message, on_told, &told));
        ASSERT_FALSE(told.done);
        run_until(&told.done);
        return told;
}

#define PUBLISHER(name, port)                                                                               \
        "{\"Names\":[\"/" name "\"],\"Ports\":[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":" port \
        ",\"Type\":\"tcp\"}]}"
#define LIST(containers) \
        { "GET /v1.41/containers/json", REPLY_BODY("200 OK", "[" containers "]"), .close = true }

static void test_another_container(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, LIST(PUBLISHER("web", "9002") "," PUBLISHER("other", "9002")));
        Told told = tell(fixture.engine, "Bind for 0.0.0.0:9002 failed: port is already allocated");

        ASSERT_STREQ(told.sentence,
                     "port 9002 is published by container 'other' already: stop that, or change one of the two");
}

/* Listens on a port of ours, and returns it. */
static int listener(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0 &&
                    listen(fd, 1) >= 0 && getsockname(fd, (struct sockaddr *) &address, &size) >= 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

/* Where this test runs under systemd its unit is named as well. */
static void assert_taken_by_us(const Told *told, const char *where) {
        ASSERT_TRUE(strncmp(told->sentence, where, strlen(where)) == 0);
        ASSERT_TRUE(strncmp(told->sentence + strlen(where), " is taken by ", strlen(" is taken by ")) == 0);
        if (geteuid() == 0)
                ASSERT_TRUE(strstr(told->sentence, " user root") || strstr(told->sentence, "systemd"));
}

static void test_program_of_the_host(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, LIST(""));
        _cleanup_close_ int fd = -EBADF;
        char message[128], where[128];
        uint16_t port;
        Told told;

        fd = listener(&port);
        (void) snprintf(message, sizeof(message), "listen tcp4 127.0.0.1:%u: bind: address already in use", port);
        (void) snprintf(where, sizeof(where), "port %u of 127.0.0.1", port);
        told = tell(fixture.engine, message);
        assert_taken_by_us(&told, where);

        (void) snprintf(message, sizeof(message), "listen tcp4 0.0.0.0:%u: bind: address already in use", port);
        (void) snprintf(where, sizeof(where), "port %u", port);
        told = tell(fixture.engine, message);
        assert_taken_by_us(&told, where);

        (void) fd_close(TAKE_FD(fd));
        told = tell(fixture.engine, message);
        (void) snprintf(where, sizeof(where),
                        "port %u is taken already: find by whom with 'ss -ltnp', stop it or change the port",
                        port);
        ASSERT_STREQ(told.sentence, where);
}

/* What publishes the TCP port has nothing to do with it. */
static void test_udp(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, LIST(PUBLISHER("other", "9")));
        Told told = tell(fixture.engine, "listen udp4 127.0.0.1:9: bind: address already in use");

        ASSERT_STREQ(told.sentence,
                     "UDP port 9 of 127.0.0.1 is taken already: find by whom with 'ss -lunp', stop it or change the port");
}

#define INSPECT_WEB(bindings)                                                                                               \
        {                                                                                                                   \
                "GET /v1.41/containers/web/json",                                                                           \
                                REPLY_BODY("200 OK",                                                                        \
                                           "{\"Id\":\"0123abc\",\"Name\":\"/web\",\"State\":{\"Running\":false,\"Pid\":0}," \
                                           "\"HostConfig\":{\"PortBindings\":{" bindings "}}}"),                            \
                                .close = true                                                                               \
        }

static void test_refusal_without_an_address(void) {
        _cleanup_(fixture_done) Fixture fixture =
                        FIXTURE(RULE_PING, LIST(PUBLISHER("other", "9002")),
                                INSPECT_WEB("\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9002\"}]"));
        Told told = tell(fixture.engine, "port is already allocated");

        ASSERT_STREQ(told.sentence,
                     "port 9002 is published by container 'other' already: stop that, or change one of the two");
}

static void test_refusal_without_an_address_of_several(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(
                        RULE_PING, LIST(PUBLISHER("other", "9002")),
                        INSPECT_WEB("\"80/tcp\":[{\"HostPort\":\"9002\"}],\"81/tcp\":[{\"HostPort\":\"9003\"}]"));
        Told told = tell(fixture.engine, "port is already allocated");

        ASSERT_STREQ(told.sentence,
                     "a port that container 'web' publishes is taken already: port is already allocated; find by "
                     "whom with 'ss -ltunp', stop it or change the port");
}

static void test_engine_in_trouble(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, { "GET", REPLY_EMPTY("500 No") });
        Told told = tell(fixture.engine, "listen tcp4 127.0.0.1:9: bind: address already in use");

        ASSERT_TRUE(strstr(told.sentence, "port 9 of 127.0.0.1 is taken already"));
        told = tell(fixture.engine, "port is already allocated");
        ASSERT_TRUE(strstr(told.sentence, "a port that container 'web' publishes is taken already"));
}

static void test_given_up(void) {
        _cleanup_(fixture_done) Fixture fixture = FIXTURE(RULE_PING, LIST(""));
        PortConflict *conflict = NULL;

        ASSERT_OK(port_conflict_new(&conflict, fixture.engine, "web", "listen tcp 0.0.0.0:80: bind", on_told,
                                    NULL));
        ASSERT_NULL(port_conflict_free(conflict));
        ASSERT_NULL(port_conflict_free(NULL));
}

int main(void) {
        fixture_begin("port-conflict");
        test_refusals_are_parsed();
        test_another_container();
        test_program_of_the_host();
        test_udp();
        test_refusal_without_an_address();
        test_refusal_without_an_address_of_several();
        test_engine_in_trouble();
        test_given_up();
        fixture_quit();
        return 0;
}
