#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
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

#include "nft/firewall.h"
#include "nft/redirect.h"
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
static const Service other = { .name = (char *) "other", .port = PORT, .redirect_port = REDIRECT_PORT + 1 };
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

/* Changes with each transaction of anybody, whatever that does. */
static uint32_t generation(void) {
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
        } request = {
                .header.nlmsg_len = sizeof(request),
                .header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.version = NFNETLINK_V0,
        };
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
                struct nlattr attribute;
                uint32_t id;
                char more[512];
        } reply;
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

        ASSERT_TRUE(fd >= 0 && send(fd, &request, sizeof(request), 0) == sizeof(request));
        ASSERT_TRUE(recv(fd, &reply, sizeof(reply), 0) >= (ssize_t) offsetof(typeof(reply), more));
        ASSERT_EQ(reply.attribute.nla_type, NFTA_GEN_ID);
        return ntohl(reply.id);
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

typedef struct Wish {
        const Service *service;
        const RedirectBindings *bindings;
        RedirectAim aim;
} Wish;

static RedirectSnapshot *look(void) {
        RedirectSnapshot *snapshot;

        ASSERT_OK(redirect_read(redirect, &snapshot));
        return snapshot;
}

/* What settling is given, of those wishes that have a place; borrows from them. */
typedef struct Plan {
        RedirectEntry *entries;
        const Wish **wishes; /* of each entry */
        size_t n;
        RedirectElement *elements;
        size_t n_elements;
} Plan;

static int compare_wishes(const void *a, const void *b) {
        return strcmp((*(const Wish *const *) a)->service->name, (*(const Wish *const *) b)->service->name);
}

static void plan_init(Plan *plan, const Wish *wishes, size_t n) {
        *plan = (Plan){ .entries = new0(RedirectEntry, n + 1), .wishes = new0(const Wish *, n + 1) };
        plan->elements = new0(RedirectElement, 8 * n + 1);
        ASSERT_TRUE(plan->entries && plan->wishes && plan->elements);
        for (size_t i = 0; i < n; i++)
                if (wishes[i].aim != REDIRECT_GONE)
                        plan->wishes[plan->n++] = &wishes[i];
        if (plan->n > 0)
                qsort(plan->wishes, plan->n, sizeof(*plan->wishes), compare_wishes);
        for (size_t i = 0; i < plan->n; i++) {
                const Service *service = plan->wishes[i]->service;
                RedirectElement *elements;
                size_t n_elements;

                plan->entries[i] = (RedirectEntry){
                        .service = service->name,
                        .aim = plan->wishes[i]->aim,
                        .redirect_port = service->redirect_port,
                        .uncounted = service->ignore_addresses,
                };
                ASSERT_OK(redirect_elements_new(&elements, &n_elements, service, service->port,
                                                plan->wishes[i]->bindings));
                ASSERT_TRUE(n_elements < 8);
                memcpy(&plan->elements[plan->n_elements], elements, n_elements * sizeof(*elements));
                plan->n_elements += n_elements;
                plan->elements[plan->n_elements++] =
                                redirect_element(REDIRECT_TARGETS, NULL, service->redirect_port, service->name);
                free(elements);
        }
        qsort(plan->elements, plan->n_elements, sizeof(*plan->elements), redirect_element_compare);
}

static void plan_done(Plan *plan) {
        free(plan->entries);
        free(plan->wishes);
        free(plan->elements);
}

static int plan_settle(const Plan *plan, const RedirectSnapshot *snapshot, bool *changed) {
        return redirect_settle(redirect, snapshot, plan->entries, plan->n, plan->elements, plan->n_elements,
                               changed);
}

/* Whatever was settled is settled: nothing is written the next time. `changed`, if not NULL, tells of which wishes. */
static int settle(const Wish *wishes, size_t n, bool *changed) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *before = look(), *after = NULL;
        _cleanup_(plan_done) Plan plan;
        _cleanup_free_ bool *own = new0(bool, n + 1);
        uint32_t settled;
        int r;

        ASSERT_TRUE(own);
        plan_init(&plan, wishes, n);
        r = plan_settle(&plan, before, own);
        for (size_t i = 0; changed && i < plan.n; i++)
                changed[plan.wishes[i] - wishes] = own[i];
        if (r >= 0) {
                settled = generation();
                after = look();
                ASSERT_EQ(plan_settle(&plan, after, own), 0);
                ASSERT_EQ(generation(), settled);
        }
        return r;
}
#define SETTLE(...) settle((const Wish[]){ __VA_ARGS__ }, ELEMENTSOF(((const Wish[]){ __VA_ARGS__ })), NULL)

static int settle_clemence(RedirectAim aim, const RedirectBindings *bindings) {
        return SETTLE({ &clemence, bindings, aim });
}

static void up(void) {
        ASSERT_OK(redirect_up(redirect, &clemence, NULL));
}

static void lift(void) {
        ASSERT_OK(redirect_lift(redirect, &clemence, NULL));
}

static void (*const moves[])(void) = { up, lift };

static void assert_count(uint64_t connections, bool expected_up) {
        RedirectCount count;

        ASSERT_OK(redirect_count(redirect, "clemence", &count));
        ASSERT_EQ(count.connections, connections);
        ASSERT_EQ(count.up, expected_up);
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

/* A waker's moves between two settlements, and what settling makes of them. */
static void test_up_and_lift(void) {
        ASSERT_OK(redirect_clear(redirect));
        assert_all_ways(CONTAINER);

        ASSERT_EQ(settle_clemence(REDIRECT_UP, &everywhere), 1);
        assert_all_ways(FRONT);
        for (int cycle = 0; cycle < 2; cycle++) {
                lift();
                assert_all_ways(CONTAINER);
                ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 0);
                ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &everywhere), 0);
                up();
                assert_all_ways(FRONT);
                ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 0);
                ASSERT_EQ(settle_clemence(REDIRECT_UP, &everywhere), 0);
        }
        ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &everywhere), 1);
        assert_all_ways(CONTAINER);
        ASSERT_EQ(settle_clemence(REDIRECT_UP, &everywhere), 1);
        assert_all_ways(FRONT);
}

/* A service that is taken out leaves nothing but the table, and where there was none there is none. */
static void test_gone(void) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_free_ char *ruleset = NULL;

        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_TRUE(settle_clemence(REDIRECT_GONE, &everywhere) > 0);
        snapshot = look();
        ASSERT_TRUE(snapshot->complete);
        ASSERT_EQ(snapshot->n_elements, 0);
        ASSERT_EQ(snapshot->n_services, 0);
        assert_all_ways(CONTAINER);
        ASSERT_EQ(reaches(THERE, HERE4, REDIRECT_PORT), FRONT);

        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &everywhere));
        ASSERT_TRUE(settle(NULL, 0, NULL) > 0);
        snapshot = redirect_snapshot_free(snapshot);
        snapshot = look();
        ASSERT_EQ(snapshot->n_elements + snapshot->n_services, 0);

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(settle(NULL, 0, NULL), 0);
        ASSERT_EQ(settle_clemence(REDIRECT_GONE, &everywhere), 0);
        ruleset = nft("list ruleset");
        ASSERT_STREQ(ruleset, "");
}

/* A waker moves what is there, and makes nothing: whoever stopped the socket wants no redirect to it. */
static void test_moves_of_what_is_not_there(void) {
        uint32_t before;

        ASSERT_OK(redirect_clear(redirect));
        before = generation();
        ASSERT_ERROR(redirect_up(redirect, &clemence, NULL), ENOENT);
        ASSERT_ERROR(redirect_lift(redirect, &clemence, NULL), ENOENT);
        ASSERT_EQ(generation(), before);

        ASSERT_OK(SETTLE({ &other, &addresses_only, REDIRECT_UP }));
        before = generation();
        ASSERT_ERROR(redirect_up(redirect, &clemence, NULL), ENOENT);
        ASSERT_ERROR(redirect_lift(redirect, &clemence, NULL), ENOENT);
        ASSERT_EQ(generation(), before);
        ASSERT_TRUE(*redirect_error(redirect));
        assert_count(0, false);
}

/* The file says another one since the socket was started: the table follows the socket. */
static void test_up_with_another_port_in_the_table(void) {
        const Service moved = { .name = (char *) "clemence",
                                .port = PORT + 5,
                                .redirect_port = REDIRECT_PORT + 5 };

        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &everywhere));
        ASSERT_OK(redirect_up(redirect, &moved, NULL));
        assert_all_ways(FRONT);
        ASSERT_EQ(settle_clemence(REDIRECT_UP, &everywhere), 0);
        ASSERT_OK(redirect_lift(redirect, &moved, NULL));
        assert_all_ways(CONTAINER);
}

/* What is a service's own is not another's, though a file that is read too early says so. */
static void test_up_with_the_port_of_another_service(void) {
        const Service usurper = { .name = (char *) "other", .port = PORT, .redirect_port = REDIRECT_PORT };
        const Wish wishes[] = { { &clemence, &loopback_only, REDIRECT_UP },
                                { &other, &addresses_only, REDIRECT_LIFTED } };

        ASSERT_OK(settle(wishes, ELEMENTSOF(wishes), NULL));
        ASSERT_OK(redirect_up(redirect, &usurper, NULL));
        ASSERT_EQ(settle((Wish[]){ wishes[0], { &other, &addresses_only, REDIRECT_UP } }, 2, NULL), 0);
}

static void test_direct_use_is_dropped(void) {
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        for (size_t i = 0; i < ELEMENTSOF(moves); i++) {
                moves[i]();
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
                ASSERT_TRUE(settle_clemence(i % 2 == 0 ? REDIRECT_UP : REDIRECT_KEPT, cases[i].bindings) > 0);
                up();
                assert_ways(cases[i].expected);
                lift();
                assert_all_ways(CONTAINER);
        }
}

static void test_own_group_is_exempt(void) {
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_TRUE(setegid(GROUP) >= 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), CONTAINER);
        ASSERT_EQ(reaches(HERE, "::1", PORT), CONTAINER);
        ASSERT_TRUE(setegid(0) >= 0);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
}

static void test_counter(void) {
        RedirectCount count;

        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &everywhere));
        ASSERT_OK(redirect_count(redirect, "clemence", &count));
        ASSERT_TRUE(count.bare);
        lift();
        ASSERT_OK(redirect_count(redirect, "clemence", &count));
        ASSERT_FALSE(count.bare);
        assert_count(0, false);
        assert_all_ways(CONTAINER);
        assert_count(ELEMENTSOF(ways), false);

        /* What went to the front is not counted, and a lift begins anew. */
        up();
        assert_all_ways(FRONT);
        lift();
        assert_count(0, false);

        ASSERT_OK(settle_clemence(REDIRECT_GONE, &everywhere));
        assert_count(0, false);
        ASSERT_OK(redirect_clear(redirect));
        assert_count(0, false);
        ASSERT_ERROR(redirect_count(redirect, "a b", &count), EINVAL);
}

/* A settlement that is about others, or about its addresses, leaves a service's chain alone. */
static void test_counters_go_on(void) {
        const Wish lifted = { &clemence, &ipv4_only, REDIRECT_LIFTED };

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(settle(&lifted, 1, NULL));
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        ASSERT_EQ(settle((Wish[]){ lifted, { &other, &ipv6_only, REDIRECT_UP } }, 2, NULL), 1);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        assert_count(2, false);
        ASSERT_EQ(settle((Wish[]){ { &other, &ipv6_only, REDIRECT_LIFTED }, lifted }, 2, NULL), 1);
        ASSERT_TRUE(settle(&lifted, 1, NULL) > 0);
        ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 1);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        assert_count(3, false);
        ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &loopback_only), 1);
        assert_count(3, false);
}

/* Who is ignored, and the stack's own containers, get through like anybody, and are no activity. */
static void test_some_are_not_counted(void) {
        char *lists[][2] = { { (char *) "10.77.0.0/24", NULL }, { (char *) "0.0.0.0/0", NULL } };
        Service ignoring = clemence;
        Inner inner = { .n_own = 2 };

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (unsigned by_settling = 0; by_settling < 2; by_settling++) {
                        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
                        ignoring.ignore_addresses = lists[i];
                        if (by_settling)
                                ASSERT_EQ(SETTLE({ &ignoring, &everywhere, REDIRECT_LIFTED }), 1);
                        else
                                ASSERT_OK(redirect_lift(redirect, &ignoring, NULL));
                        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
                        assert_count(0, false);
                        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
                        assert_count(1, false);
                }

        ASSERT_OK(address_prefix_parse(&inner.own[0], "fd77::/64"));
        ASSERT_OK(address_prefix_parse(&inner.own[1], "192.0.2.1"));
        ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        assert_count(0, false);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        assert_count(1, false);
        /* Settling knows nothing of them, and leaves them alone. */
        ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &everywhere), 0);

        /* Asleep, they come to the front, which knows them. */
        ASSERT_OK(redirect_up(redirect, &ignoring, NULL));
        assert_all_ways(FRONT);
}

/* By the container's own address, which stands for a way past the published port here: it is counted while lifted, never redirected, and
 * nothing of it is left, whoever puts the service to sleep. */
static void test_own_addresses_of_the_container(void) {
        for (unsigned by_settling = 0; by_settling < 2; by_settling++) {
                InnerPort port = { .port = PORT, .n_addresses = 2 };
                Inner inner = { .ports = &port, .n_ports = 1 };
                _cleanup_free_ char *rules = NULL;

                ASSERT_OK(redirect_clear(redirect));
                ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &loopback_only));
                ASSERT_OK(address_prefix_parse(&port.addresses[0], HERE4));
                ASSERT_OK(address_prefix_parse(&port.addresses[1], HERE6));
                ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
                ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
                ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
                assert_count(2, false);
                /* Settling leaves both tables and their counters alone. */
                ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &loopback_only), 0);
                ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &loopback_only), 0);
                assert_count(2, false);

                if (by_settling)
                        ASSERT_EQ(settle_clemence(REDIRECT_UP, &loopback_only), 1);
                else
                        ASSERT_OK(redirect_up(redirect, &clemence, NULL));
                ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
                ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
                ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
                rules = nft("list ruleset");
                ASSERT_NULL(strstr(rules, HERE4 " . "));
                ASSERT_NULL(strstr(strstr(rules, "table bridge wakechain") ?: "", "service-"));
        }
}

/* By it comes also the engine's proxy, with clients that it has taken already: not even while the port moves may it reach the front. */
static void test_own_address_reaches_the_container_while_the_port_moves(void) {
        InnerPort port = { .port = PORT, .n_addresses = 1 };
        Inner inner = { .ports = &port, .n_ports = 1 };
        int status, ends[2];
        char c = 'x';
        pid_t pid;

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &loopback_only));
        ASSERT_OK(address_prefix_parse(&port.addresses[0], HERE4));
        ASSERT_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                Reached reached = CONTAINER;

                while (reached == CONTAINER && read(ends[0], &c, 1) < 0)
                        reached = reaches(THERE, HERE4, PORT);
                _exit((int) reached);
        }
        for (unsigned i = 0; i < 30; i++) {
                ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
                ASSERT_OK(redirect_up(redirect, &clemence, NULL));
        }
        ASSERT_EQ(write(ends[1], &c, 1), 1);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        ASSERT_EQ(WEXITSTATUS(status), (int) CONTAINER);
        fd_close(ends[0]);
        fd_close(ends[1]);
}

/* Its container does not accept yet: new connections go on to the front, while those to the container's own addresses, and to whatever else the
 * service has, do not. */
static void test_port_that_waits(void) {
        InnerPort ports[] = { { .published = PORT, .waits = true },
                              { .published = PORT, .waits = true },
                              { .published = 1, .waits = true } };
        Inner inner = { .ports = ports, .n_ports = ELEMENTSOF(ports) };

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
        assert_all_ways(FRONT);
        assert_count(0, false);
        /* Settling leaves that alone as long as there is a waker. */
        ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 0);
        assert_all_ways(FRONT);
        ports[0].waits = ports[1].waits = false;
        ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        assert_count(1, false);

        ports[0].waits = true;
        ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
        ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &everywhere), 1);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        ASSERT_OK(redirect_up(redirect, &clemence, NULL));
        assert_all_ways(FRONT);
}

/* Somebody has deleted both tables, and settling has made the first one again. */
static void test_counting_again(void) {
        InnerPort port = { .port = PORT, .n_addresses = 1 };
        Inner inner = { .ports = &port, .n_ports = 1 };
        bool bridges = false;

        ASSERT_OK(address_prefix_parse(&port.addresses[0], HERE4));
        ASSERT_OK(redirect_clear(redirect));
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_free_ char *rules = NULL;
                RedirectCount count;

                ASSERT_EQ(settle_clemence(REDIRECT_LIFTED, &loopback_only), 1);
                ASSERT_OK(redirect_count(redirect, "clemence", &count));
                ASSERT_TRUE(count.bare);
                ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
                ASSERT_OK(redirect_count(redirect, "clemence", &count));
                ASSERT_FALSE(count.bare);
                rules = nft("list ruleset");
                ASSERT_TRUE(strstr(rules, HERE4 " . "));
                if (i == 0)
                        bridges = strstr(rules, "table bridge wakechain");
                ASSERT_EQ(strstr(rules, "table bridge wakechain") != NULL, bridges);
                free(nft("delete table inet wakechain"));
                if (bridges)
                        free(nft("delete table bridge wakechain"));
        }
}

static void assert_echo(int from, int to) {
        char c = 0;

        ASSERT_EQ(write(from, "x", 1), 1);
        ASSERT_EQ(poll(&(struct pollfd){ .fd = to, .events = POLLIN }, 1, WAIT_MSEC), 1);
        ASSERT_EQ(read(to, &c, 1), 1);
        ASSERT_EQ(c, 'x');
}

static void test_connections_under_way_are_left_alone(void) {
        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &everywhere));
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                _cleanup_close_ int direct = socket_at(ways[i].side, family_of(ways[i].address)), direct_server;
                _cleanup_close_ int held = socket_at(ways[i].side, family_of(ways[i].address)), held_server;

                connect_to(direct, ways[i].address, PORT);
                ASSERT_EQ(accepted(direct, WAIT_MSEC, &direct_server), CONTAINER);
                assert_echo(direct, direct_server);

                up();
                connect_to(held, ways[i].address, PORT);
                ASSERT_EQ(accepted(held, WAIT_MSEC, &held_server), FRONT);
                assert_echo(direct, direct_server);
                assert_echo(direct_server, direct);
                assert_echo(held, held_server);

                lift();
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

        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &everywhere));
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
        ASSERT_OK(settle_clemence(REDIRECT_UP, &addresses_only));
        for (size_t i = 0; i < ELEMENTSOF(moves); i++) {
                _cleanup_free_ char *once = NULL, *twice = NULL;

                moves[i]();
                once = nft("list ruleset");
                moves[i]();
                twice = nft("list ruleset");
                ASSERT_STREQ(once, twice);
        }
}

static void test_lost_tables_come_back(void) {
        static const char *const losses[] = {
                "flush ruleset",
                "delete table inet wakechain",
                "flush table inet wakechain",
                "flush chain inet wakechain " REDIRECT_DIVERT,
                "flush chain inet wakechain prerouting",
                "flush chain inet wakechain output",
                "flush chain inet wakechain input",
                "flush map inet wakechain wildcard4",
                "flush set inet wakechain targets",
                "flush chain inet wakechain service-clemence",
                "flush chain inet wakechain " REDIRECT_DIVERT "; delete map inet wakechain loopback6",
        };

        for (size_t i = 0; i < ELEMENTSOF(losses); i++) {
                _cleanup_free_ char *whole = NULL, *again = NULL;

                ASSERT_OK(redirect_clear(redirect));
                ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
                whole = nft("list ruleset");
                free(nft(losses[i]));
                ASSERT_TRUE(settle_clemence(REDIRECT_UP, &everywhere) > 0);
                again = nft("list ruleset");
                ASSERT_STREQ(whole, again);
                assert_all_ways(FRONT);

                lift();
                free(nft(losses[i]));
                ASSERT_TRUE(settle_clemence(REDIRECT_LIFTED, &everywhere) > 0);
                assert_all_ways(CONTAINER);
        }
        /* A table that was none of our making, but has our name. */
        free(nft("flush ruleset; add table inet wakechain; add chain inet wakechain prerouting"));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        assert_all_ways(FRONT);
}

/* Where nothing is known of a chain, its connections go where they would without us. */
static void test_kept_of_nothing_is_lifted(void) {
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 1);
        assert_all_ways(CONTAINER);
        up();
        free(nft("flush chain inet wakechain service-clemence"));
        ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 1);
        assert_all_ways(CONTAINER);
}

/* As an earlier version left it: made anew, and wakers' services stay as they moved them. Who lifted one sees that it is to do so again. */
static void test_table_of_another_layout(void) {
        for (size_t i = 0; i < ELEMENTSOF(moves); i++) {
                _cleanup_free_ char *before = NULL, *after = NULL;
                RedirectCount count;

                ASSERT_OK(redirect_clear(redirect));
                ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
                moves[i]();
                before = nft("list ruleset");
                free(nft("rename chain inet wakechain " REDIRECT_DIVERT " divert"));
                ASSERT_TRUE(redirect_is_flushed(redirect));
                ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 1);
                ASSERT_OK(redirect_count(redirect, "clemence", &count));
                ASSERT_EQ(count.bare, moves[i] == lift);
                if (count.bare)
                        lift();
                after = nft("list ruleset");
                ASSERT_STREQ(before, after);
                assert_all_ways(moves[i] == up ? FRONT : CONTAINER);
        }
}

static ino_t recall(Redirect *whose, const char *root, size_t n_elements) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        char path[128];
        struct stat status;

        ASSERT_OK(redirect_recall(whose, root, &snapshot));
        ASSERT_EQ(snapshot->n_elements, n_elements);
        (void) snprintf(path, sizeof(path), "%s/run/wakechain/table", root);
        ASSERT_EQ(stat(path, &status), 0);
        return status.st_ino;
}

/* What is remembered is believed of this namespace and generation alone, and as it was written. */
static void test_recall(const char *root) {
        static const char *const damages[] = {
                "rm $F",
                ": >$F",
                "sed -i s/9002/9003/ $F",
                "sed -i 1d $F",
                "head -c 100 /dev/urandom >$F",
                "head -n -3 $F >$F.new && mv $F.new $F",
                "rm $F && mkfifo $F",
                "rm $F && mkdir $F",
                "sed -i '1s/^......../00000000/' $F",
        };
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *read = NULL, *recalled = NULL;
        _cleanup_(redirect_freep) Redirect *there = NULL;
        InnerPort port = { .port = PORT, .n_addresses = 1 };
        Inner inner = { .ports = &port, .n_ports = 1 };
        char variable[128];
        uint32_t settled;
        ino_t once;

        (void) snprintf(variable, sizeof(variable), "%s/run/wakechain", root);
        ASSERT_OK(directory_make(variable));
        (void) snprintf(variable, sizeof(variable), "%s/run/wakechain/table", root);
        ASSERT_EQ(setenv("F", variable, true), 0);

        ASSERT_OK(redirect_clear(redirect));
        (void) recall(redirect, root, 0);
        once = recall(redirect, root, 0);
        ASSERT_EQ(recall(redirect, root, 0), once);
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_TRUE(recall(redirect, root, 3) != once);
        once = recall(redirect, root, 3);
        assert_all_ways(FRONT);
        ASSERT_EQ(recall(redirect, root, 3), once);
        free(nft("add table ip somebody; delete table ip somebody"));
        ASSERT_TRUE(recall(redirect, root, 3) != once);
        free(nft("delete element inet wakechain wildcard4 { 9002 }"));
        (void) recall(redirect, root, 2);
        for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
                run(damages[i]);
                (void) recall(redirect, root, 2);
                once = recall(redirect, root, 2);
                ASSERT_EQ(recall(redirect, root, 2), once);
        }

        ASSERT_OK(settle_clemence(REDIRECT_LIFTED, &loopback_only));
        ASSERT_OK(address_prefix_parse(&port.addresses[0], HERE4));
        ASSERT_OK(redirect_lift(redirect, &clemence, &inner));
        ASSERT_OK(redirect_read(redirect, &read));
        for (unsigned i = 0; i < 3; i++)
                (void) recall(redirect, root, read->n_elements);
        ASSERT_OK(redirect_recall(redirect, root, &recalled));
        ASSERT_EQ(recalled->n_services, read->n_services);
        ASSERT_EQ(recalled->services[0].bridge_chain, read->services[0].bridge_chain);
        ASSERT_EQ(memcmp(recalled->elements, read->elements, read->n_elements * sizeof(*read->elements)), 0);

        settled = generation();
        ASSERT_TRUE(setns(sides[THERE], CLONE_NEWNET) >= 0);
        ASSERT_OK(redirect_new(&there));
        while (generation() < settled)
                free(nft("add table ip somebody; delete table ip somebody"));
        ASSERT_EQ(generation(), settled);
        (void) recall(there, root, 0);
        ASSERT_TRUE(setns(sides[HERE], CLONE_NEWNET) >= 0);
        (void) recall(redirect, root, read->n_elements);
}

/* Whatever is in the table and nobody's. */
static void test_foreign_things_are_removed(void) {
        _cleanup_free_ char *before = NULL, *after = NULL;

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &ipv4_only));
        before = nft("list ruleset");
        free(nft("add chain inet wakechain service-ghost; add counter inet wakechain service-ghost;"
                 "add rule inet wakechain service-ghost meta l4proto tcp redirect to :1;"
                 "add element inet wakechain wildcard4 { 80 : goto service-ghost, 81 : drop, 82 : goto service-clemence };"
                 "add element inet wakechain wildcard6 { 9002 : drop };"
                 "add element inet wakechain address4 { 192.0.2.1 . 9002 : goto service-clemence };"
                 "add element inet wakechain address6 { 2001:db8::1 . 9002 : goto service-ghost };"
                 "add element inet wakechain targets { 1 comment \"ghost\", 2, 3 comment \"clemence\" };"
                 "add counter inet wakechain service-spectre"));
        ASSERT_TRUE(settle_clemence(REDIRECT_UP, &ipv4_only) > 0);
        after = nft("list ruleset");
        ASSERT_STREQ(before, after);

        /* In the place of one of ours. */
        free(nft("delete element inet wakechain wildcard4 { 9002 };"
                 "add element inet wakechain wildcard4 { 9002 : drop };"
                 "delete element inet wakechain targets { 29002 }; add element inet wakechain targets { 29002 }"));
        ASSERT_TRUE(settle_clemence(REDIRECT_UP, &ipv4_only) > 0);
        free(after);
        after = nft("list ruleset");
        ASSERT_STREQ(before, after);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
}

static void test_two_services_on_different_addresses(void) {
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(SETTLE({ &other, &addresses_only, REDIRECT_LIFTED }, { &clemence, &loopback_only, REDIRECT_UP }),
                  2);
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
        assert_count(0, true);
        lift();
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), CONTAINER);
        ASSERT_OK(redirect_lift(redirect, &other, NULL));
        assert_count(1, false);

        /* Both guess: whose it is, is decided before. */
        ASSERT_OK(SETTLE({ &other, &(RedirectBindings){ .known = true }, REDIRECT_UP },
                         { &clemence, &unknown, REDIRECT_UP }));
        ASSERT_EQ(reaches(HERE, "127.0.0.1", PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), CONTAINER);
}

/* Addresses and redirect ports that some let go of in a settlement others get in the same. */
static void test_heirs(void) {
        const Service heir = { .name = (char *) "heir", .port = PORT, .redirect_port = REDIRECT_PORT };
        const Service swapped = { .name = (char *) "clemence", .port = PORT, .redirect_port = REDIRECT_PORT + 1 };
        const Service swapped_other = { .name = (char *) "other", .port = PORT, .redirect_port = REDIRECT_PORT };
        bool changed[2] = {};

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_TRUE(settle((Wish[]){ { &heir, &everywhere, REDIRECT_UP } }, 1, changed) > 0);
        ASSERT_TRUE(changed[0]);
        assert_all_ways(FRONT);
        ASSERT_ERROR(redirect_up(redirect, &clemence, NULL), ENOENT);

        changed[0] = false;
        ASSERT_OK(SETTLE({ &other, &ipv6_only, REDIRECT_LIFTED }, { &clemence, &ipv4_only, REDIRECT_UP }));
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        ASSERT_EQ(settle((Wish[]){ { &swapped_other, &ipv4_only, REDIRECT_UP },
                                   { &swapped, &ipv6_only, REDIRECT_LIFTED } },
                         2, changed),
                  2);
        ASSERT_TRUE(changed[0] && changed[1]);
        ASSERT_EQ(reaches(THERE, HERE4, PORT), FRONT);
        ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
        ASSERT_TRUE(is_dropped(THERE, HERE4, REDIRECT_PORT));
}

/* Nothing half, and who is told to have changed has. */
static void test_several_services(void) {
        const Service third = { .name = (char *) "third", .port = PORT + 1, .redirect_port = REDIRECT_PORT + 2 };
        const Service bad = { .name = (char *) "a b", .port = PORT + 2, .redirect_port = REDIRECT_PORT + 3 };
        const Service deaf = { .name = (char *) "deaf", .port = PORT + 2 };
        Wish wishes[] = {
                { &third, &everywhere, REDIRECT_UP },
                { &clemence, &everywhere, REDIRECT_LIFTED },
                { &other, &(RedirectBindings){ .known = true }, REDIRECT_UP },
        };
        bool changed[ELEMENTSOF(wishes)] = {};
        uint32_t before;

        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(settle(wishes, ELEMENTSOF(wishes), changed), 3);
        ASSERT_TRUE(changed[0] && changed[1] && changed[2]);
        memset(changed, 0, sizeof(changed));
        wishes[1].aim = REDIRECT_UP;
        ASSERT_EQ(settle(wishes, ELEMENTSOF(wishes), changed), 1);
        ASSERT_TRUE(!changed[0] && changed[1] && !changed[2]);
        memset(changed, 0, sizeof(changed));
        wishes[0].bindings = &ipv4_only;
        wishes[2].aim = REDIRECT_GONE;
        ASSERT_TRUE(settle(wishes, ELEMENTSOF(wishes), changed) >= 2);
        ASSERT_TRUE(changed[0] && !changed[1] && !changed[2]);

        before = generation();
        wishes[1].aim = REDIRECT_LIFTED;
        wishes[2] = (Wish){ &bad, &ipv4_only, REDIRECT_UP };
        ASSERT_ERROR(settle(wishes, ELEMENTSOF(wishes), NULL), EINVAL);
        wishes[2].service = &deaf;
        ASSERT_ERROR(settle(wishes, ELEMENTSOF(wishes), NULL), EINVAL);
        ASSERT_EQ(generation(), before);
}

/* Between a look and a settlement somebody else has changed it: all of it fails, or all of it is done. */
static void test_settling_what_is_out_of_date(void) {
        static const char *const changes[] = {
                "flush ruleset",
                "delete element inet wakechain wildcard4 { 9002 }",
                "flush chain inet wakechain service-clemence",
                "add element inet wakechain wildcard6 { 9002 : drop }",
        };

        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                const Wish wish = { &clemence, &ipv6_only, REDIRECT_LIFTED };
                _cleanup_(redirect_snapshot_freep) RedirectSnapshot *old = NULL;
                _cleanup_free_ char *before = NULL, *after = NULL;
                _cleanup_(plan_done) Plan plan;
                bool changed = false;
                int r;

                ASSERT_OK(redirect_clear(redirect));
                ASSERT_OK(settle_clemence(REDIRECT_UP, &ipv4_only));
                old = look();
                free(nft(changes[i]));
                before = nft("list ruleset");
                plan_init(&plan, &wish, 1);
                r = plan_settle(&plan, old, &changed);
                after = nft("list ruleset");
                ASSERT_EQ(r < 0, streq(before, after));
                ASSERT_OK(settle(&wish, 1, NULL));
        }
}

/* Trap 1 of the design: nothing of ours can overrule another table, so it has to be noticed. */
static void test_firewall_that_drops(void) {
        char **drops = NULL;
        char *ruleset;

        free(nft("flush ruleset; add table inet filter;"
                 "add chain inet filter input { type filter hook input priority 0; policy drop; };"
                 "add rule inet filter input meta l4proto ipv6-icmp accept;"
                 "add rule inet filter input tcp dport 9002 accept"));
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
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
        ASSERT_OK(SETTLE({ &moved, &everywhere, REDIRECT_UP }));
        assert_all_ways(CONTAINER);
        ASSERT_EQ(settle_clemence(REDIRECT_KEPT, &everywhere), 1);
        assert_all_ways(FRONT);
        ASSERT_TRUE(is_dropped(THERE, HERE4, REDIRECT_PORT));
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

                ASSERT_OK(SETTLE({ &service, &everywhere, REDIRECT_UP }));
                ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);
                ASSERT_OK(redirect_lift(redirect, &service, NULL));
                ASSERT_EQ(reaches(THERE, HERE6, PORT), CONTAINER);
                ASSERT_OK(redirect_up(redirect, &service, NULL));
                ASSERT_EQ(reaches(THERE, HERE6, PORT), FRONT);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Service service = { .name = (char *) bad[i], .port = PORT, .redirect_port = REDIRECT_PORT };

                ASSERT_ERROR(SETTLE({ &service, &everywhere, REDIRECT_UP }), EINVAL);
                ASSERT_ERROR(redirect_up(redirect, &service, NULL), EINVAL);
                ASSERT_ERROR(redirect_lift(redirect, &service, NULL), EINVAL);
        }
}

static void test_elements(void) {
        const RedirectBindings odd = { .known = true, .addresses = (char *[]){ (char *) "localhost", NULL } };
        RedirectElement *elements;
        size_t n;

        ASSERT_ERROR(redirect_elements_new(&elements, &n, &clemence, clemence.port, &odd), EINVAL);
        ASSERT_OK(redirect_elements_new(&elements, &n, &clemence, clemence.port, &addresses_only));
        ASSERT_EQ(n, 2);
        ASSERT_TRUE(redirect_element_compare(&elements[0], &elements[1]) < 0 &&
                    redirect_element_compare(&elements[1], &elements[0]) > 0);
        ASSERT_EQ(redirect_element_compare(&elements[0], &elements[0]), 0);
        free(elements);
        ASSERT_OK(redirect_elements_new(&elements, &n, &clemence, clemence.port,
                                        &(RedirectBindings){ .known = true }));
        ASSERT_EQ(n, 0);
        free(elements);
}

static void test_many_services(void) {
        Wish wishes[200];
        Service services[ELEMENTSOF(wishes)];
        char names[ELEMENTSOF(wishes)][16];
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;

        for (size_t i = 0; i < ELEMENTSOF(wishes); i++) {
                (void) snprintf(names[i], sizeof(names[i]), "service%zu", i);
                services[i] = (Service){ .name = names[i],
                                         .port = (uint16_t) (PORT + i),
                                         .redirect_port = (uint16_t) (REDIRECT_PORT + i) };
                wishes[i] = (Wish){ &services[i], &everywhere, i % 2 == 0 ? REDIRECT_UP : REDIRECT_LIFTED };
        }
        ASSERT_OK(redirect_clear(redirect));
        ASSERT_EQ(settle(wishes, ELEMENTSOF(wishes), NULL), ELEMENTSOF(wishes));
        assert_all_ways(FRONT);
        snapshot = look();
        ASSERT_EQ(snapshot->n_services, ELEMENTSOF(wishes));
        for (size_t i = 0; i < ELEMENTSOF(wishes); i++)
                ASSERT_EQ(redirect_snapshot_service(snapshot, names[i])->redirect_port > 0,
                          wishes[i].aim == REDIRECT_UP);

        /* One more, and one less. */
        wishes[77].aim = REDIRECT_UP;
        ASSERT_EQ(settle(wishes, ELEMENTSOF(wishes), NULL), 1);
        ASSERT_TRUE(settle(wishes + 1, ELEMENTSOF(wishes) - 1, NULL) > 0);
        assert_all_ways(CONTAINER);
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
                        r = redirect_up(own, &clemence, NULL);
                if (r >= 0)
                        r = redirect_lift(own, &clemence, NULL);
                redirect_free(own);
                _exit(-r);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFEXITED(status));
        return -WEXITSTATUS(status);
}

static void test_privileges(void) {
        ASSERT_OK(settle_clemence(REDIRECT_UP, &everywhere));
        ASSERT_ERROR(as_nobody(0), EPERM);
        ASSERT_OK(as_nobody(UINT64_C(1) << CAP_NET_ADMIN));
        assert_all_ways(CONTAINER);
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

        test_up_and_lift();
        test_gone();
        test_moves_of_what_is_not_there();
        test_up_with_another_port_in_the_table();
        test_up_with_the_port_of_another_service();
        test_direct_use_is_dropped();
        test_only_what_is_published();
        test_own_group_is_exempt();
        test_counter();
        test_counters_go_on();
        test_some_are_not_counted();
        test_own_addresses_of_the_container();
        test_own_address_reaches_the_container_while_the_port_moves();
        test_port_that_waits();
        test_counting_again();
        test_connections_under_way_are_left_alone();
        test_outgoing_connection_from_a_redirect_port();
        test_repetition_changes_nothing();
        test_lost_tables_come_back();
        test_kept_of_nothing_is_lifted();
        test_table_of_another_layout();
        test_recall(root);
        test_foreign_things_are_removed();
        test_two_services_on_different_addresses();
        test_heirs();
        test_several_services();
        test_settling_what_is_out_of_date();
        test_firewall_that_drops();
        test_changed_ports();
        test_names();
        test_elements();
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
