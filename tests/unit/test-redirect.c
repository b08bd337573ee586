#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/firewall.h"
#include "io/redirect.h"
#include "test.h"
#include "util/fd.h"

/* Real packets in two network namespaces of the test's own, joined by a veth: "here" with the table, the
 * container (a listener on the published port) and the front (one on the redirect port), and "there" with
 * nothing but clients. */

#define PORT 9002
#define REDIRECT_PORT 29002
#define GROUP 4242
#define HERE4 "10.77.0.1"
#define HERE6 "fd77::1"
#define WAIT_MSEC 5000
#define DROP_MSEC 150

typedef enum Side { HERE, THERE, _SIDE_MAX } Side;
typedef enum Reached { NOBODY, CONTAINER, FRONT } Reached;

static int sides[_SIDE_MAX];
static int container = -EBADF, front = -EBADF;
static Redirect *redirect;

static const Service clemence = { .name = (char *) "clemence", .port = PORT, .redirect_port = REDIRECT_PORT };
static const RedirectBindings unknown = {};
static const RedirectBindings everywhere = { .known = true, .any_ipv4 = true, .any_ipv6 = true };
static const RedirectBindings ipv4_only = { .known = true, .any_ipv4 = true };
static const RedirectBindings ipv6_only = { .known = true, .any_ipv6 = true };
static const RedirectBindings loopback_only = { .known = true,
                                                .addresses = (char *[]){ (char *) "127.0.0.1", NULL } };
static const RedirectBindings addresses_only = {
        .known = true,
        .addresses = (char *[]){ (char *) HERE4, (char *) HERE6, NULL },
};

static void run(const char *command) {
        if (system(command) != 0)
                TEST_FAIL("'%s' failed", command);
}

static char *nft(const char *command) {
        struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
        char *output;

        ASSERT_TRUE(context && nft_ctx_buffer_output(context) == 0);
        ASSERT_EQ(nft_run_cmd_from_buffer(context, command), 0);
        output = strdup(nft_ctx_get_output_buffer(context));
        ASSERT_TRUE(output);
        nft_ctx_free(context);
        return output;
}

static int listen_on(uint16_t port) {
        struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        int fd, one = 1;

        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) >= 0);
        ASSERT_TRUE(bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0 && listen(fd, 64) >= 0);
        return fd;
}

/* A socket belongs to the namespace that it was made in. */
static int socket_at(Side side, int family) {
        int fd;

        ASSERT_TRUE(setns(sides[side], CLONE_NEWNET) >= 0);
        fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(setns(sides[HERE], CLONE_NEWNET) >= 0);
        ASSERT_TRUE(fd >= 0);
        return fd;
}

static void connect_to(int fd, const char *address, uint16_t port) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        int r;

        if (inet_pton(AF_INET, address, &in.sin_addr) > 0)
                r = connect(fd, (struct sockaddr *) &in, sizeof(in));
        else {
                ASSERT_TRUE(inet_pton(AF_INET6, address, &in6.sin6_addr) > 0);
                r = connect(fd, (struct sockaddr *) &in6, sizeof(in6));
        }
        ASSERT_TRUE(r >= 0 || errno == EINPROGRESS);
}

static int family_of(const char *address) {
        return strchr(address, ':') ? AF_INET6 : AF_INET;
}

/* Whoever accepts it; the other end is stored, the client's is `fd`. */
static Reached accepted(int fd, int timeout_msec, int *ret_server) {
        struct pollfd polls[] = { { .fd = container, .events = POLLIN }, { .fd = front, .events = POLLIN } };
        int server;

        *ret_server = -EBADF;
        if (poll(polls, ELEMENTSOF(polls), timeout_msec) <= 0)
                return NOBODY;
        server = accept4(polls[0].revents ? container : front, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_TRUE(server >= 0);
        *ret_server = server;
        return polls[0].revents ? CONTAINER : FRONT;
}

static Reached reaches(Side side, const char *address, uint16_t port) {
        _cleanup_close_ int fd = socket_at(side, family_of(address)), server = -EBADF;

        connect_to(fd, address, port);
        return accepted(fd, WAIT_MSEC, &server);
}

static bool is_dropped(Side side, const char *address, uint16_t port) {
        _cleanup_close_ int fd = socket_at(side, family_of(address)), server = -EBADF;

        connect_to(fd, address, port);
        return accepted(fd, DROP_MSEC, &server) == NOBODY;
}

static RedirectState look(const RedirectBindings *bindings) {
        RedirectState state;

        ASSERT_OK(redirect_look(redirect, &clemence, bindings, &state));
        return state;
}

static const struct {
        Side side;
        const char *address;
} ways[] = {
        { HERE, "127.0.0.1" }, { HERE, "127.7.7.7" }, { HERE, "::1" },  { HERE, HERE4 },
        { HERE, HERE6 },       { THERE, HERE4 },      { THERE, HERE6 },
};

static void assert_ways(const Reached expected[static ELEMENTSOF(ways)]) {
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                Reached reached = reaches(ways[i].side, ways[i].address, PORT);

                if (reached != expected[i])
                        TEST_FAIL("%s from %s reaches %i, not %i", ways[i].address,
                                  ways[i].side == HERE ? "here" : "there", (int) reached, (int) expected[i]);
        }
}

static void assert_all_ways(Reached expected) {
        assert_ways((Reached[]){ expected, expected, expected, expected, expected, expected, expected });
}

static void test_up_lift_down(void) {
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_FALSE(look(&everywhere).present);
        assert_all_ways(CONTAINER);

        for (int cycle = 0; cycle < 2; cycle++) {
                ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
                ASSERT_TRUE(look(&everywhere).present && look(&everywhere).up && !look(&everywhere).partly);
                assert_all_ways(FRONT);

                ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
                ASSERT_TRUE(look(&everywhere).registered && !look(&everywhere).up && !look(&everywhere).partly);
                assert_all_ways(CONTAINER);
        }

        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        ASSERT_OK(redirect_down(redirect, "clemence"));
        ASSERT_FALSE(look(&everywhere).registered);
        assert_all_ways(CONTAINER);
        ASSERT_EQ(reaches(THERE, HERE4, REDIRECT_PORT), FRONT);
}

static void test_direct_use_is_dropped(void) {
        static int (*const moves[])(Redirect *, const Service *, const RedirectBindings *) = { redirect_up,
                                                                                               redirect_lift };

        for (size_t i = 0; i < ELEMENTSOF(moves); i++) {
                ASSERT_OK(moves[i](redirect, &clemence, &everywhere));
                ASSERT_TRUE(is_dropped(HERE, "127.0.0.1", REDIRECT_PORT));
                ASSERT_TRUE(is_dropped(HERE, "::1", REDIRECT_PORT));
                ASSERT_TRUE(is_dropped(THERE, HERE4, REDIRECT_PORT));
                ASSERT_TRUE(is_dropped(THERE, HERE6, REDIRECT_PORT));
        }
}

static void test_only_what_is_published(void) {
        /* 127.0.0.1  127.7.7.7  ::1        HERE4      HERE6      there 4    there 6 */
        static const struct {
                const RedirectBindings *bindings;
                Reached expected[ELEMENTSOF(ways)];
        } cases[] = {
                { &unknown, { FRONT, FRONT, FRONT, CONTAINER, CONTAINER, CONTAINER, CONTAINER } },
                { &ipv4_only, { FRONT, FRONT, CONTAINER, FRONT, CONTAINER, FRONT, CONTAINER } },
                { &ipv6_only, { CONTAINER, CONTAINER, FRONT, CONTAINER, FRONT, CONTAINER, FRONT } },
                { &loopback_only, { FRONT, CONTAINER, CONTAINER, CONTAINER, CONTAINER, CONTAINER, CONTAINER } },
                { &addresses_only, { CONTAINER, CONTAINER, CONTAINER, FRONT, FRONT, FRONT, FRONT } },
        };

        /* One after the other, without taking the former down: bindings are replaced. */
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ASSERT_OK(redirect_up(redirect, &clemence, cases[i].bindings));
                assert_ways(cases[i].expected);
                ASSERT_TRUE(look(cases[i].bindings).up);
                ASSERT_OK(redirect_lift(redirect, &clemence, cases[i].bindings));
                assert_all_ways(CONTAINER);
        }
        ASSERT_OK(redirect_up(redirect, &clemence, &ipv4_only));
        ASSERT_TRUE(look(&everywhere).partly && !look(&everywhere).up);
}

static void test_own_group_is_exempt(void) {
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        ASSERT_TRUE(setegid(GROUP) >= 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), CONTAINER);
        ASSERT_EQ(reaches(HERE, "::1", PORT), CONTAINER);
        ASSERT_TRUE(setegid(0) >= 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
}

static void test_counter(void) {
        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        ASSERT_EQ(look(&everywhere).new_connections, 0);
        assert_all_ways(CONTAINER);
        ASSERT_EQ(look(&everywhere).new_connections, ELEMENTSOF(ways));

        /* What went to the front is not counted, and the count can be read when the redirect is back. */
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        assert_all_ways(FRONT);
        ASSERT_EQ(look(&everywhere).new_connections, ELEMENTSOF(ways));

        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        ASSERT_EQ(look(&everywhere).new_connections, 0);
}

/* Who is ignored, and the stack's own containers, get through like anybody, and are no activity. */
static void test_some_are_not_counted(void) {
        RedirectBindings bindings = everywhere;
        Service ignoring = clemence;
        AddressPrefix prefixes[2];
        char *lists[][2] = { { (char *) "10.77.0.0/24", NULL }, { (char *) "0.0.0.0/0", NULL } };

        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                ignoring.ignore_addresses = lists[i];
                ASSERT_OK(redirect_lift(redirect, &ignoring, &everywhere));
                ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
                ASSERT_EQ(look(&everywhere).new_connections, 0);
                ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
                ASSERT_EQ(look(&everywhere).new_connections, 1);
        }

        ASSERT_OK(address_prefix_parse(&prefixes[0], "fd77::/64"));
        ASSERT_OK(address_prefix_parse(&prefixes[1], "192.0.2.1"));
        bindings.uncounted = prefixes;
        bindings.n_uncounted = ELEMENTSOF(prefixes);
        ASSERT_OK(redirect_lift(redirect, &clemence, &bindings));
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        ASSERT_EQ(look(&everywhere).new_connections, 0);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        ASSERT_EQ(look(&everywhere).new_connections, 1);

        /* Asleep, they come to the front, which knows them. */
        ASSERT_OK(redirect_up(redirect, &ignoring, &bindings));
        assert_all_ways(FRONT);
        ASSERT_TRUE(look(&everywhere).up);
}

static void assert_count(uint64_t connections, bool up) {
        uint64_t found_connections = UINT64_MAX;
        bool found_up;

        ASSERT_OK(redirect_count(redirect, "clemence", &found_connections, &found_up));
        ASSERT_EQ(found_connections, connections);
        ASSERT_EQ(found_up, up);
}

static void test_count_alone(void) {
        uint64_t connections;
        bool up;

        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        assert_count(0, false);
        assert_all_ways(CONTAINER);
        assert_count(ELEMENTSOF(ways), false);
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        assert_all_ways(FRONT);
        assert_count(ELEMENTSOF(ways), true);

        ASSERT_OK(redirect_down(redirect, "clemence"));
        assert_count(0, false);
        ASSERT_OK(redirect_clear(redirect));
        assert_count(0, false);
        ASSERT_ERROR(redirect_count(redirect, "a b", &connections, &up), EINVAL);
}

static void assert_echo(int from, int to) {
        char c = 0;

        ASSERT_EQ(write(from, "x", 1), 1);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = to, .events = POLLIN }, 1, WAIT_MSEC), 1);
        ASSERT_EQ(read(to, &c, 1), 1);
        ASSERT_EQ(c, 'x');
}

static void test_connections_under_way_are_left_alone(void) {
        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                _cleanup_close_ int direct = socket_at(ways[i].side, family_of(ways[i].address)), direct_server;
                _cleanup_close_ int held = socket_at(ways[i].side, family_of(ways[i].address)), held_server;

                connect_to(direct, ways[i].address, PORT);
                ASSERT_EQ(accepted(direct, WAIT_MSEC, &direct_server), CONTAINER);
                assert_echo(direct, direct_server);

                ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
                connect_to(held, ways[i].address, PORT);
                ASSERT_EQ(accepted(held, WAIT_MSEC, &held_server), FRONT);
                assert_echo(direct, direct_server);
                assert_echo(direct_server, direct);
                assert_echo(held, held_server);

                ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
                assert_echo(held, held_server);
                assert_echo(held_server, held);
                assert_echo(direct, direct_server);
        }
}

static void test_outgoing_connection_from_a_redirect_port(void) {
        struct sockaddr_in source = { .sin_family = AF_INET, .sin_port = htons(REDIRECT_PORT) };
        struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons(8), .sin_addr.s_addr = INADDR_ANY };
        _cleanup_close_ int listener = socket_at(THERE, AF_INET), fd = socket_at(HERE, AF_INET);
        int one = 1;

        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        ASSERT_TRUE(bind(listener, (struct sockaddr *) &target, sizeof(target)) >= 0 && listen(listener, 8) >= 0);

        /* The front has the wildcard; a bound address of its own lets both have the port. */
        ASSERT_TRUE(inet_pton(AF_INET, HERE4, &source.sin_addr) > 0);
        fd_close(front);
        ASSERT_TRUE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) >= 0);
        ASSERT_TRUE(bind(fd, (struct sockaddr *) &source, sizeof(source)) >= 0);
        connect_to(fd, "10.77.0.2", 8);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, WAIT_MSEC), 1);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, WAIT_MSEC), 1);

        /* Closed with a reset, so that the port is free again. */
        ASSERT_TRUE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
                               sizeof(struct linger)) >= 0);
        fd = fd_close(fd);
        front = listen_on(REDIRECT_PORT);
}

static void test_repetition_changes_nothing(void) {
        static int (*const moves[])(Redirect *, const Service *, const RedirectBindings *) = { redirect_up,
                                                                                               redirect_lift };

        for (size_t i = 0; i < ELEMENTSOF(moves); i++) {
                _cleanup_free_ char *once = NULL, *twice = NULL;

                ASSERT_OK(moves[i](redirect, &clemence, &addresses_only));
                once = nft("list ruleset");
                ASSERT_OK(moves[i](redirect, &clemence, &addresses_only));
                twice = nft("list ruleset");
                ASSERT_STREQ(once, twice);
        }
        ASSERT_OK(redirect_down(redirect, "clemence"));
        ASSERT_OK(redirect_down(redirect, "clemence"));
        ASSERT_OK(redirect_down(redirect, "never-was"));
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(redirect_down(redirect, "clemence"));
}

static void test_lost_tables_come_back(void) {
        static const char *const losses[] = {
                "flush ruleset",
                "delete table inet wakechain",
                "flush table inet wakechain",
                "flush chain inet wakechain prerouting",
                "flush chain inet wakechain output",
                "flush chain inet wakechain input",
                "flush map inet wakechain wildcard4",
                "flush set inet wakechain targets",
                "flush chain inet wakechain service-clemence",
        };

        for (size_t i = 0; i < ELEMENTSOF(losses); i++) {
                _cleanup_free_ char *whole = NULL, *again = NULL, *output = NULL;
                RedirectEntry entry = { .service = &clemence, .bindings = everywhere };

                ASSERT_OK(redirect_rebuild(redirect, &entry, 1));
                whole = nft("list ruleset");

                output = nft(losses[i]);
                ASSERT_FALSE(look(&everywhere).present && look(&everywhere).registered && look(&everywhere).up);
                ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
                assert_all_ways(FRONT);
                again = nft("list ruleset");
                ASSERT_STREQ(whole, again);

                free(nft(losses[i]));
                ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
                assert_all_ways(CONTAINER);

                free(nft(losses[i]));
                ASSERT_OK(redirect_rebuild(redirect, &entry, 1));
                assert_all_ways(FRONT);
        }
        /* A table that was none of our making, but has our name. */
        free(nft("flush ruleset; add table inet wakechain; add chain inet wakechain prerouting"));
        ASSERT_OK(redirect_rebuild(redirect, &(RedirectEntry){ .service = &clemence, .bindings = everywhere }, 1));
        assert_all_ways(FRONT);
}

static const Service other = { .name = (char *) "other", .port = PORT, .redirect_port = REDIRECT_PORT + 1 };

static RedirectState look_at(const Service *service, const RedirectBindings *bindings) {
        RedirectState state;

        ASSERT_OK(redirect_look(redirect, service, bindings, &state));
        return state;
}

static void test_two_services_on_different_addresses(void) {
        const RedirectEntry entries[] = {
                { .service = &other, .bindings = unknown },
                { .service = &clemence, .bindings = loopback_only },
        };
        RedirectState states[2];

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(redirect_up(redirect, &other, &addresses_only), 0);
        ASSERT_EQ(redirect_lift(redirect, &other, &addresses_only), 0);
        ASSERT_EQ(redirect_up(redirect, &clemence, &loopback_only), 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        ASSERT_OK(redirect_down(redirect, "other"));
        ASSERT_TRUE(look(&loopback_only).up);

        /* A guess is in nobody's way, and nobody in its. */
        ASSERT_EQ(redirect_up(redirect, &other, &unknown), 0);
        ASSERT_EQ(redirect_up(redirect, &clemence, &loopback_only), 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
        ASSERT_OK(redirect_look_all(redirect, entries, ELEMENTSOF(entries), states, NULL));
        ASSERT_TRUE(states[0].up && states[1].up);
        ASSERT_STREQ(states[0].rival, "");
        ASSERT_OK(redirect_down(redirect, "other"));
}

/* Whoever has it keeps it, whatever the other does. */
static void test_two_services_on_one_port(void) {
        static const RedirectBindings *const claims[] = { &everywhere, &addresses_only, &loopback_only, &unknown };

        for (size_t i = 0; i < ELEMENTSOF(claims); i++) {
                _cleanup_free_ char *before = NULL, *after = NULL;
                /* What is only guessed is not worth a word. */
                const char *rival = claims[i]->known ? "clemence" : "";
                int shared = claims[i]->known;

                ASSERT_OK(redirect_clear(redirect));
                ASSERT_EQ(redirect_up(redirect, &clemence, claims[i]), 0);
                ASSERT_STREQ(redirect_rival(redirect), "");
                before = nft("list ruleset");

                ASSERT_EQ(redirect_up(redirect, &other, claims[i]), shared);
                ASSERT_STREQ(redirect_rival(redirect), rival);
                ASSERT_TRUE(look(claims[i]).up);
                ASSERT_STREQ(look(claims[i]).rival, "");
                ASSERT_EQ(reaches(HERE, i == 1 ? HERE4 : "127.0.0.1", PORT), FRONT);
                ASSERT_STREQ(look_at(&other, claims[i]).rival, rival);
                ASSERT_TRUE(look_at(&other, claims[i]).registered && look_at(&other, claims[i]).listed);

                /* The other one wakes and sleeps: neither does it open what is not its own. */
                ASSERT_EQ(redirect_lift(redirect, &other, claims[i]), shared);
                ASSERT_STREQ(redirect_rival(redirect), rival);
                ASSERT_EQ(reaches(HERE, i == 1 ? HERE4 : "127.0.0.1", PORT), FRONT);
                ASSERT_FALSE(look_at(&other, claims[i]).up);
                ASSERT_EQ(redirect_up(redirect, &other, claims[i]), shared);
                ASSERT_EQ(reaches(HERE, i == 1 ? HERE4 : "127.0.0.1", PORT), FRONT);

                /* So does the one that has it: neither does it lose it. */
                ASSERT_EQ(redirect_lift(redirect, &clemence, claims[i]), 0);
                ASSERT_STREQ(redirect_rival(redirect), "");
                ASSERT_EQ(redirect_up(redirect, &other, claims[i]), shared);
                ASSERT_EQ(reaches(HERE, i == 1 ? HERE4 : "127.0.0.1", PORT), CONTAINER);
                ASSERT_EQ(redirect_up(redirect, &clemence, claims[i]), 0);
                ASSERT_EQ(reaches(HERE, i == 1 ? HERE4 : "127.0.0.1", PORT), FRONT);

                /* It is gone without a trace, but for the counter of the one that has it. */
                ASSERT_OK(redirect_lift(redirect, &clemence, claims[i]));
                ASSERT_OK(redirect_up(redirect, &clemence, claims[i]));
                ASSERT_OK(redirect_down(redirect, "other"));
                after = nft("list ruleset");
                ASSERT_STREQ(before, after);

                /* The first one is gone: who asks then has it. */
                ASSERT_EQ(redirect_up(redirect, &other, claims[i]), shared);
                ASSERT_OK(redirect_down(redirect, "clemence"));
                ASSERT_FALSE(look_at(&other, claims[i]).listed);
                ASSERT_EQ(redirect_up(redirect, &other, claims[i]), 0);
                ASSERT_TRUE(look_at(&other, claims[i]).up);
                ASSERT_EQ(redirect_up(redirect, &clemence, claims[i]), shared);
        }
}

static void test_some_addresses_of_another_service(void) {
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(redirect_up(redirect, &other, &ipv6_only), 0);
        ASSERT_EQ(redirect_lift(redirect, &other, &ipv6_only), 0);
        ASSERT_EQ(redirect_up(redirect, &clemence, &everywhere), 1);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        ASSERT_TRUE(look(&everywhere).up && look(&everywhere).listed);
        ASSERT_STREQ(look(&everywhere).rival, "other");

        /* Its bindings change, and it lets go of it. */
        ASSERT_EQ(redirect_up(redirect, &other, &loopback_only), 0);
        ASSERT_EQ(redirect_up(redirect, &clemence, &everywhere), 0);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);

        /* An element that is nobody's. */
        free(nft("delete element inet wakechain wildcard6 { 9002 };"
                 "add element inet wakechain wildcard6 { 9002 : drop }"));
        ASSERT_EQ(redirect_up(redirect, &clemence, &everywhere), 0);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);
}

static void test_a_change_of_several_services(void) {
        const Service third = { .name = (char *) "third", .port = PORT, .redirect_port = REDIRECT_PORT + 2 };
        RedirectEntry entries[] = {
                { .service = &third, .bindings = ipv4_only },
                { .service = &clemence, .bindings = everywhere, .aim = REDIRECT_LIFTED },
                { .service = &other, .bindings = everywhere },
        };
        RedirectEntry heirs[] = {
                { .service = &other, .bindings = everywhere },
                { .service = &(Service){ .name = (char *) "third" }, .aim = REDIRECT_GONE },
                { .service = &clemence, .bindings = loopback_only },
        };
        char **strays = NULL;
        RedirectState state;

        /* Among those who ask for the same, and nobody has it, the first. */
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(redirect_apply(redirect, entries, ELEMENTSOF(entries)));
        ASSERT_STREQ(entries[0].rival, "");
        ASSERT_STREQ(entries[1].rival, "third");
        ASSERT_STREQ(entries[2].rival, "third");
        ASSERT_TRUE(look_at(&third, &ipv4_only).up);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        ASSERT_STREQ(look_at(&other, &ipv6_only).rival, "clemence");

        ASSERT_OK(redirect_look_all(redirect, &entries[2], 1, &state, &strays));
        ASSERT_EQ(strv_length(strays), 2);
        ASSERT_TRUE(strv_contains(strays, "third") && strv_contains(strays, "clemence"));
        strv_free(strays);

        /* What some let go of in a change others get in the same. */
        ASSERT_OK(redirect_apply(redirect, heirs, ELEMENTSOF(heirs)));
        ASSERT_STREQ(heirs[0].rival, "");
        ASSERT_TRUE(look_at(&other, &everywhere).up);
        ASSERT_TRUE(look(&loopback_only).up);
        ASSERT_FALSE(look_at(&third, &ipv4_only).registered);

        /* The whole anew: the order decides. */
        ASSERT_OK(redirect_rebuild(redirect, entries, ELEMENTSOF(entries)));
        ASSERT_STREQ(entries[2].rival, "third");
        ASSERT_OK(redirect_rebuild(redirect, &entries[1], 2));
        ASSERT_STREQ(entries[1].rival, "");
        ASSERT_STREQ(entries[2].rival, "clemence");

        /* Nothing half: one of them is no service. */
        entries[2].service = &(Service){ .name = (char *) "a b", .port = PORT, .redirect_port = REDIRECT_PORT };
        ASSERT_ERROR(redirect_apply(redirect, entries, ELEMENTSOF(entries)), EINVAL);
        ASSERT_FALSE(look_at(&third, &ipv4_only).registered);
        ASSERT_OK(redirect_apply(redirect, NULL, 0));
}

/* Trap 1 of the design: nothing of ours can overrule another table, so it has to be noticed. */
static void test_firewall_that_drops(void) {
        char **drops = NULL;
        char *ruleset;

        free(nft("flush ruleset; add table inet filter;"
                 "add chain inet filter input { type filter hook input priority 0; policy drop; };"
                 "add rule inet filter input meta l4proto ipv6-icmp accept;"
                 "add rule inet filter input tcp dport 9002 accept"));
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        ASSERT_TRUE(is_dropped(THERE, HERE4, PORT));
        ASSERT_OK(redirect_list_ruleset(redirect, &ruleset));
        ASSERT_OK(firewall_find_drops(&drops, ruleset));
        free(ruleset);
        ASSERT_EQ(strv_length(drops), 1);

        /* The rule that it says. */
        ruleset = strstr(drops[0], "nft insert rule ");
        ASSERT_TRUE(ruleset);
        free(nft(ruleset + strlen("nft ")));
        strv_free(drops);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);
        ASSERT_OK(redirect_list_ruleset(redirect, &ruleset));
        drops = NULL;
        ASSERT_OK(firewall_find_drops(&drops, ruleset));
        free(ruleset);
        ASSERT_NULL(drops);
        free(nft("flush ruleset"));
}

static void test_changed_ports(void) {
        Service moved = clemence;

        ASSERT_OK(redirect_clear(redirect));
        moved.port = PORT + 1;
        moved.redirect_port = REDIRECT_PORT + 1;
        ASSERT_OK(redirect_up(redirect, &moved, &everywhere));
        ASSERT_FALSE(look(&everywhere).up);
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        ASSERT_TRUE(look(&everywhere).up);
        assert_all_ways(FRONT);
        ASSERT_TRUE(is_dropped(THERE, HERE4, REDIRECT_PORT));
}

static void test_a_guess_is_not_held_against_what_is_there(void) {
        Service moved = clemence;
        RedirectState state;

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_FALSE(look(&unknown).listed);
        ASSERT_OK(redirect_up(redirect, &clemence, &everywhere));
        ASSERT_TRUE(look(&unknown).up && look(&unknown).listed);
        ASSERT_OK(redirect_lift(redirect, &clemence, &everywhere));
        ASSERT_TRUE(look(&unknown).listed && !look(&unknown).up);

        moved.port = PORT + 1;
        ASSERT_OK(redirect_look(redirect, &moved, &unknown, &state));
        ASSERT_FALSE(state.listed);
        /* Who had the port first would keep it. */
        ASSERT_OK(redirect_down(redirect, clemence.name));
}

static void test_names(void) {
        static const char *const good[] = { "a",
                                            "9",
                                            "-",
                                            "A.b_c-9",
                                            "...",
                                            "-rf",
                                            "0123456789012345678901234567890123456789012345678901234567890123" };
        static const char *const bad[] = { "", ".", "..", "a b", "a;b", "a{", "a\nflush ruleset", "ü", "a/b" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                Service service = { .name = (char *) good[i], .port = PORT, .redirect_port = REDIRECT_PORT };
                RedirectState state;

                ASSERT_OK(redirect_up(redirect, &service, &everywhere));
                ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);
                ASSERT_OK(redirect_lift(redirect, &service, &everywhere));
                ASSERT_OK(redirect_look(redirect, &service, &everywhere, &state));
                ASSERT_TRUE(state.registered && !state.up);
                ASSERT_OK(redirect_down(redirect, good[i]));
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Service service = { .name = (char *) bad[i], .port = PORT, .redirect_port = REDIRECT_PORT };

                ASSERT_ERROR(redirect_up(redirect, &service, &everywhere), EINVAL);
                ASSERT_ERROR(redirect_lift(redirect, &service, &everywhere), EINVAL);
                ASSERT_ERROR(redirect_down(redirect, bad[i]), EINVAL);
        }
}

static void test_many_services(void) {
        static int (*const ways_in[])(Redirect *, RedirectEntry *, size_t) = { redirect_rebuild, redirect_apply };
        RedirectEntry entries[200];
        Service services[ELEMENTSOF(entries)];
        RedirectState states[ELEMENTSOF(entries)];
        char names[ELEMENTSOF(entries)][16];

        for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
                (void) snprintf(names[i], sizeof(names[i]), "service%zu", i);
                services[i] = (Service){ .name = names[i],
                                         .port = (uint16_t) (PORT + i),
                                         .redirect_port = (uint16_t) (REDIRECT_PORT + i) };
                entries[i] = (RedirectEntry){ .service = &services[i],
                                              .bindings = everywhere,
                                              .aim = i % 2 == 0 ? REDIRECT_UP : REDIRECT_LIFTED };
        }
        for (size_t i = 0; i < ELEMENTSOF(ways_in); i++) {
                ASSERT_OK(redirect_clear(redirect));
                ASSERT_OK(ways_in[i](redirect, entries, ELEMENTSOF(entries)));
                ASSERT_OK(redirect_look_all(redirect, entries, ELEMENTSOF(entries), states, NULL));
                for (size_t j = 0; j < ELEMENTSOF(entries); j++)
                        ASSERT_TRUE(states[j].registered && states[j].up == (entries[j].aim == REDIRECT_UP) &&
                                    !states[j].partly && isempty(entries[j].rival));
                assert_all_ways(FRONT);
        }
        for (size_t i = 0; i < ELEMENTSOF(entries); i++)
                entries[i].aim = REDIRECT_GONE;
        ASSERT_OK(redirect_apply(redirect, entries, ELEMENTSOF(entries)));
        ASSERT_FALSE(look(&everywhere).registered);
        ASSERT_TRUE(look(&everywhere).present);
        ASSERT_OK(redirect_clear(redirect));
}

/* In a child: user nobody, with these capabilities or none. */
static int as_nobody(uint64_t capabilities) {
        int status;
        pid_t pid;

        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
                struct __user_cap_data_struct data[2] = { { .effective = (uint32_t) capabilities,
                                                            .permitted = (uint32_t) capabilities } };
                Redirect *own = NULL;
                int r;

                if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                    setresuid(65534, 65534, 65534) < 0 || syscall(SYS_capset, &header, data) < 0)
                        _exit(255);
                r = redirect_new(&own);
                if (r >= 0)
                        r = redirect_up(own, &clemence, &everywhere);
                if (r >= 0)
                        r = redirect_lift(own, &clemence, &everywhere);
                redirect_free(own);
                _exit(-r);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        return -WEXITSTATUS(status);
}

static void test_privileges(void) {
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_ERROR(as_nobody(0), EPERM);
        ASSERT_OK(as_nobody(UINT64_C(1) << CAP_NET_ADMIN));
        ASSERT_TRUE(look(&everywhere).registered);
}

/* Who waits for the lock gets it from whoever lets go of it, or gives up. */
static void test_lock(char *root) {
        _cleanup_free_ char *folder = NULL;
        int first, status;
        pid_t pid;

        ASSERT_TRUE(asprintf(&folder, "%s/run/wakechain", root) >= 0);
        ASSERT_OK(directory_make(folder));
        first = redirect_lock(root);
        ASSERT_OK(first);
        ASSERT_ERROR(redirect_lock(root), EAGAIN);
        ASSERT_ERROR(redirect_lock_wait(root, 1), ETIMEDOUT);

        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                fd_close(first);
                _exit(redirect_lock_wait(root, 60 * USEC_PER_SEC) >= 0 ? 0 : 1);
        }
        fd_close(first);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        first = redirect_lock_wait(root, 0);
        ASSERT_OK(first);
        fd_close(first);
}

static void make_group(const char *root) {
        static const char group[] = "root:x:0:\nwakechain:x:4242:\n";
        _cleanup_free_ char *path = NULL;

        ASSERT_TRUE(asprintf(&path, "%s/group", root) >= 0);
        ASSERT_OK(file_replace(path, group, strlen(group), 0644, false));
        ASSERT_TRUE(mount(path, "/etc/group", NULL, MS_BIND, NULL) >= 0);
}

static void make_network(void) {
        _cleanup_free_ char *command = NULL;

        ASSERT_TRUE((sides[HERE] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) >= 0);
        ASSERT_TRUE(unshare(CLONE_NEWNET) >= 0);
        ASSERT_TRUE((sides[THERE] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) >= 0);
        ASSERT_TRUE(asprintf(&command, "ip link add veth1 type veth peer name veth0 netns /proc/%d/fd/%d",
                             getpid(), sides[HERE]) >= 0);
        run(command);
        run("ip link set lo up && ip link set veth1 up && ip addr add 10.77.0.2/24 dev veth1 && "
            "ip addr add fd77::2/64 dev veth1 nodad");

        ASSERT_TRUE(setns(sides[HERE], CLONE_NEWNET) >= 0);
        run("ip link set lo up && ip link set veth0 up && ip addr add " HERE4 "/24 dev veth0 && "
            "ip addr add " HERE6 "/64 dev veth0 nodad");
        container = listen_on(PORT);
        front = listen_on(REDIRECT_PORT);
}

int main(void) {
        char root[] = "/tmp/test-redirect-XXXXXX", *command;

        if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                fprintf(stderr, "No namespaces of its own here, skipping what needs them.\n");
                return 77;
        }
        ASSERT_TRUE(mkdtemp(root));
        make_group(root);
        make_network();
        ASSERT_OK(redirect_new(&redirect));

        test_up_lift_down();
        test_direct_use_is_dropped();
        test_only_what_is_published();
        test_own_group_is_exempt();
        test_counter();
        test_some_are_not_counted();
        test_count_alone();
        test_connections_under_way_are_left_alone();
        test_outgoing_connection_from_a_redirect_port();
        test_repetition_changes_nothing();
        test_lost_tables_come_back();
        test_two_services_on_different_addresses();
        test_two_services_on_one_port();
        test_some_addresses_of_another_service();
        test_a_change_of_several_services();
        test_firewall_that_drops();
        test_changed_ports();
        test_a_guess_is_not_held_against_what_is_there();
        test_names();
        test_many_services();
        test_privileges();
        test_lock(root);

        redirect_free(redirect);
        fd_close(container);
        fd_close(front);
        for (Side side = HERE; side < _SIDE_MAX; side++)
                fd_close(sides[side]);
        ASSERT_TRUE(umount("/etc/group") >= 0);
        ASSERT_TRUE(asprintf(&command, "rm -r %s", root) >= 0);
        run(command);
        free(command);
        return 0;
}
