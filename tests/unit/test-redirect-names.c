#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nft/redirect.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* Questions for names, and connections to virtual addresses, as real packets between two namespaces: "here" with the table, "there" a container of
 * a network whose bridge is the veth's end here. */

#define BRIDGE "br-0123456789ab"
#define ELSEWHERE "br-0000"
#define HERE4 "10.77.0.1"
#define VIRTUAL "198.18.7.7"
#define FURTHER "198.18.8.8"
#define PORT 9002
#define REDIRECT_PORT 29002
#define THERE4 "10.77.0.2"
#define WAIT_MSEC 5000

#define LONG8 "abcdefgh"
#define LONG48 LONG8 LONG8 LONG8 LONG8 LONG8 LONG8
#define LONG63 LONG48 LONG8 "-_12345"

static int here, there;
static int names = -EBADF, dns = -EBADF, front = -EBADF;
static Redirect *redirect;

static NamedContainer further[] = { { (char *) "api", FURTHER } };
static const Service shop = { .name = (char *) "shop",
                              .port = PORT,
                              .redirect_port = REDIRECT_PORT,
                              .virtual_address = VIRTUAL,
                              .named = further,
                              .n_named = ELEMENTSOF(further) };

static BindingNetwork networks[] = {
        { .bridge = BRIDGE,
          .names = (char *[]){ (char *) "shop", (char *) "a", (char *) "sixteen-letters-",
                               (char *) "fourteen_lette", (char *) "fifteen-letters", (char *) LONG48,
                               (char *) LONG63, NULL } },
        { .bridge = ELSEWHERE, .names = (char *[]){ (char *) "other", NULL } },
};
static const RedirectBindings bindings = {
        .known = true, .networks = networks, .n_networks = ELEMENTSOF(networks), .loopback = true
};

static void run(const char *command) {
        if (system(command) != 0)
                TEST_FAIL("'%s' failed", command);
}

static int open_at(int namespace, int type) {
        int fd;

        ASSERT_TRUE(setns(namespace, CLONE_NEWNET) >= 0);
        fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(setns(here, CLONE_NEWNET) >= 0);
        ASSERT_TRUE(fd >= 0);
        return fd;
}

static int bound(int type, uint16_t port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
        int fd = open_at(here, type);

        ASSERT_TRUE(bind(fd, (struct sockaddr *) &address, sizeof(address)) >= 0);
        ASSERT_TRUE(type == SOCK_DGRAM || listen(fd, 64) >= 0);
        return fd;
}

/* A question for these labels, as they are in a packet. */
static size_t question(uint8_t *ret, const char *name) {
        size_t n = 12;

        memset(ret, 0, 12);
        ret[5] = 1;
        for (const char *label = name; *label;) {
                size_t length = strcspn(label, ".");

                ret[n++] = (uint8_t) length;
                memcpy(ret + n, label, length);
                n += length;
                label += length + (label[length] == '.');
        }
        memcpy(ret + n, "\0\0\1\0\1", 5);
        return n + 5;
}

/* Who gets it: `names` or `dns`. Each from a port of its own: where a flow goes is decided once. */
static int asked(int from, const char *address, const char *name) {
        static uint16_t port = 20000;
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53) },
                           own = { .sin_family = AF_INET, .sin_port = htons(port++) };
        struct pollfd polls[] = { { .fd = names, .events = POLLIN }, { .fd = dns, .events = POLLIN } };
        _cleanup_close_ int fd = open_at(from, SOCK_DGRAM);
        uint8_t packet[512];
        int found;

        ASSERT_EQ(inet_pton(AF_INET, address, &to.sin_addr), 1);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &own, sizeof(own)), 0);
        ASSERT_TRUE(sendto(fd, packet, question(packet, name), 0, (struct sockaddr *) &to, sizeof(to)) > 0);
        ASSERT_EQ(poll(polls, ELEMENTSOF(polls), WAIT_MSEC), 1);
        found = polls[0].revents ? names : dns;
        ASSERT_TRUE(recv(found, packet, sizeof(packet), 0) > 0);
        return found;
}

static bool reaches_front_at(const char *address, uint16_t port) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct pollfd waited = { .fd = front, .events = POLLIN };
        _cleanup_close_ int fd = open_at(there, SOCK_STREAM), server = -EBADF;

        ASSERT_EQ(inet_pton(AF_INET, address, &to.sin_addr), 1);
        ASSERT_TRUE(connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0);
        if (poll(&waited, 1, WAIT_MSEC) <= 0)
                return false;
        server = accept4(front, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_TRUE(server >= 0);
        return true;
}

static bool reaches_front(uint16_t port) {
        return reaches_front_at(VIRTUAL, port);
}

static int settle_all(const RedirectEntry *entries, size_t n_entries, RedirectElement *elements, size_t n) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        bool changed[1100] = {};

        ASSERT_OK(redirect_read(redirect, &snapshot));
        return redirect_settle(redirect, snapshot, entries, n_entries, elements, n, changed);
}

/* What is settled stays so: all of it was read back as it was written. */
static void settle(RedirectAim aim, const RedirectBindings *wanted) {
        const RedirectEntry entry = {
                .service = shop.name, .aim = aim, .redirect_port = REDIRECT_PORT, .has_names = true
        };
        RedirectElement *elements;
        size_t n, n_unique = 0;

        ASSERT_OK(redirect_elements_new(&elements, &n, &shop, shop.port, wanted));
        elements = reallocarray(elements, n + 1, sizeof(*elements));
        ASSERT_TRUE(elements);
        elements[n++] = redirect_element(REDIRECT_TARGETS, NULL, REDIRECT_PORT, shop.name);
        qsort(elements, n, sizeof(*elements), redirect_element_compare);
        for (size_t i = 0; i < n; i++)
                if (i == 0 || redirect_element_compare(&elements[i - 1], &elements[i]) != 0)
                        elements[n_unique++] = elements[i];
        ASSERT_OK(settle_all(&entry, 1, elements, n_unique));
        ASSERT_EQ(settle_all(&entry, 1, elements, n_unique), 0);
        free(elements);
}

static void assert_asked(int expected, const char *const *list) {
        for (; *list; list++)
                if (asked(there, HERE4, *list) != expected)
                        TEST_FAIL("'%s' did not go where it should", *list);
}

static const char *const ours[] = { "shop",
                                    "SHOP",
                                    "sHoP",
                                    "a",
                                    "A",
                                    "fourteen_lette",
                                    "fifteen-letters",
                                    "sixteen-letters-",
                                    "SIXTEEN-letters-",
                                    LONG48,
                                    LONG63,
                                    NULL };
static const char *const others[] = { "sho",
                                      "shopp",
                                      "shop.example",
                                      "shop." LONG8 LONG8 LONG8 LONG8, /* its length is a space */
                                      "b",
                                      "fourteen-lette",
                                      "sixteen_letters-",
                                      "other",
                                      LONG48 "i",
                                      LONG8,
                                      "x."
                                      "shop",
                                      "",
                                      NULL };

static void test_questions_while_asleep(void) {
        settle(REDIRECT_UP, &bindings);
        assert_asked(names, ours);
        assert_asked(dns, others);
        /* The engine's own, to a nameserver of this host. */
        ASSERT_EQ(asked(here, "127.0.0.1", "Shop"), names);
        ASSERT_EQ(asked(here, "127.0.0.1", "other"), names);
        ASSERT_EQ(asked(here, "127.0.0.1", "shop.example"), dns);
}

static void test_no_questions_while_awake(void) {
        ASSERT_OK(redirect_lift(redirect, &shop, NULL));
        assert_asked(dns, ours);
        ASSERT_OK(redirect_up(redirect, &shop, NULL));
        assert_asked(names, ours);
        settle(REDIRECT_LIFTED, &bindings);
        assert_asked(dns, ours);
        settle(REDIRECT_UP, &bindings);
        assert_asked(names, ours);
}

static void test_names_come_and_go(void) {
        BindingNetwork one = { .bridge = BRIDGE, .names = (char *[]){ (char *) "renamed", NULL } };
        const RedirectBindings renamed = { .known = true, .networks = &one, .n_networks = 1 };

        settle(REDIRECT_UP, &renamed);
        assert_asked(dns, ours);
        ASSERT_EQ(asked(there, HERE4, "renamed"), names);
        settle(REDIRECT_UP, &(RedirectBindings){ .known = true });
        ASSERT_EQ(asked(there, HERE4, "renamed"), dns);
        settle(REDIRECT_UP, &bindings);
        assert_asked(names, ours);
}

/* Asleep, and awake for who comes by another network than the container's. */
static void test_virtual_address(void) {
        RedirectCount count;

        settle(REDIRECT_UP, &bindings);
        ASSERT_TRUE(reaches_front(80));
        ASSERT_TRUE(reaches_front(65535));
        ASSERT_OK(redirect_lift(redirect, &shop, NULL));
        ASSERT_TRUE(reaches_front(80));
        ASSERT_OK(redirect_count(redirect, "shop", &count));
        ASSERT_FALSE(count.up);
        ASSERT_OK(redirect_up(redirect, &shop, NULL));
        ASSERT_OK(redirect_count(redirect, "shop", &count));
        ASSERT_TRUE(count.up);
}

/* Of a list: an address of its own, by the same chain; one of which the file knows nothing any more has none. */
static void test_further_container(void) {
        BindingNetwork list[] = {
                { .bridge = BRIDGE, .names = (char *[]){ (char *) "shop", NULL } },
                { .container = (char *) "api", .bridge = BRIDGE, .names = (char *[]){ (char *) "api", NULL } },
                { .container = (char *) "gone", .bridge = BRIDGE, .names = (char *[]){ (char *) "gone", NULL } },
        };
        RedirectBindings both = { .known = true, .networks = list, .n_networks = ELEMENTSOF(list) };

        settle(REDIRECT_UP, &both);
        ASSERT_TRUE(reaches_front_at(VIRTUAL, 80));
        ASSERT_TRUE(reaches_front_at(FURTHER, 80));
        ASSERT_EQ(asked(there, HERE4, "api"), names);
        ASSERT_EQ(asked(there, HERE4, "gone"), dns);
        ASSERT_OK(redirect_lift(redirect, &shop, NULL));
        ASSERT_TRUE(reaches_front_at(FURTHER, 80));
        ASSERT_EQ(asked(there, HERE4, "api"), dns);
        settle(REDIRECT_UP, &bindings);
}

/* A port that only questions which were redirected may come to. */
static void test_direct_questions_are_dropped(void) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(REDIRECT_NAMES_PORT) };
        _cleanup_close_ int fd = open_at(there, SOCK_DGRAM);
        uint8_t packet[512];

        ASSERT_EQ(inet_pton(AF_INET, HERE4, &to.sin_addr), 1);
        ASSERT_TRUE(sendto(fd, packet, question(packet, "shop"), 0, (struct sockaddr *) &to, sizeof(to)) > 0);
        /* The next one comes by another way, and is the first to come. */
        ASSERT_EQ(asked(there, HERE4, "a"), names);
        ASSERT_TRUE(recv(names, packet, sizeof(packet), MSG_DONTWAIT) < 0);
}

/* A stack's own containers wait for nothing of it while it wakes; once nobody wakes it, they are as anybody. */
static void test_own_containers_are_spared(void) {
        Inner inner = { .n_own = 1 };

        ASSERT_OK(address_prefix_parse(&inner.own[0], THERE4));
        settle(REDIRECT_UP, &bindings);
        ASSERT_OK(redirect_up(redirect, &shop, &inner));
        assert_asked(dns, ours);
        settle(REDIRECT_KEPT, &bindings);
        assert_asked(dns, ours);
        ASSERT_OK(address_prefix_parse(&inner.own[0], "10.77.0.77"));
        ASSERT_OK(redirect_up(redirect, &shop, &inner));
        assert_asked(names, ours);
        ASSERT_OK(address_prefix_parse(&inner.own[0], THERE4));
        ASSERT_OK(redirect_up(redirect, &shop, &inner));
        settle(REDIRECT_UP, &bindings);
        assert_asked(names, ours);
}

/* Who is on another network than the names are has nothing of the virtual address. */
static void test_virtual_address_from_elsewhere(void) {
        const RedirectBindings elsewhere = { .known = true, .networks = &networks[1], .n_networks = 1 };

        settle(REDIRECT_UP, &elsewhere);
        ASSERT_FALSE(reaches_front(80));
        settle(REDIRECT_UP, &bindings);
        ASSERT_TRUE(reaches_front(80));
}

/* A container that is on that network, too, asks and comes by this one: it alone is led there. */
static void test_guests(void) {
        BindingNetwork elsewhere = { .bridge = ELSEWHERE,
                                     .names = (char *[]){ (char *) "other", (char *) LONG63, NULL },
                                     .guests = (char *[]){ (char *) THERE4, NULL } };
        const RedirectBindings wanted = { .known = true, .networks = &elsewhere, .n_networks = 1 };

        settle(REDIRECT_UP, &wanted);
        ASSERT_EQ(asked(there, HERE4, "Other"), names);
        ASSERT_EQ(asked(there, HERE4, LONG63), names);
        ASSERT_EQ(asked(there, HERE4, "othe"), dns);
        ASSERT_TRUE(reaches_front(80));
        ASSERT_OK(redirect_lift(redirect, &shop, NULL));
        ASSERT_EQ(asked(there, HERE4, "other"), dns);
        ASSERT_TRUE(reaches_front(80));
        elsewhere.guests = (char *[]){ (char *) "10.77.0.3", NULL };
        settle(REDIRECT_UP, &wanted);
        ASSERT_EQ(asked(there, HERE4, "other"), dns);
        settle(REDIRECT_UP, &bindings);
}

#define N_MANY 1000

static void test_many_names(void) {
        static char texts[N_MANY][3][24];
        RedirectEntry *entries = new0(RedirectEntry, N_MANY);
        RedirectElement *elements = new0(RedirectElement, 6 * N_MANY);
        uint64_t begin_usec, usec;
        size_t n = 0;

        ASSERT_TRUE(entries && elements);
        for (size_t i = 0; i < N_MANY; i++) {
                char *name = texts[i][0], *label = texts[i][1], *address = texts[i][2];
                Service service = { .name = name, .redirect_port = (uint16_t) (20000 + i) };
                BindingNetwork network = { .bridge = BRIDGE, .names = (char *[]){ label, NULL } };
                RedirectElement *own;
                size_t n_own;

                (void) snprintf(name, 24, "many%04zu", i);
                (void) snprintf(label, 24, "container%.*s-%zu", (int) (i % 9), "ofthename", i);
                (void) snprintf(address, 24, "198.18.%zu.%zu", i / 200, i % 200);
                memcpy(service.virtual_address, address, INET_ADDRSTRLEN);
                entries[i] = (RedirectEntry){ .service = name,
                                              .aim = REDIRECT_UP,
                                              .redirect_port = service.redirect_port,
                                              .has_names = true };
                ASSERT_OK(redirect_elements_new(&own, &n_own, &service, service.port,
                                                &(RedirectBindings){ .known = true,
                                                                     .networks = &network,
                                                                     .n_networks = 1 }));
                for (size_t k = 0; k < n_own; k++)
                        elements[n++] = own[k];
                elements[n++] = redirect_element(REDIRECT_TARGETS, NULL, service.redirect_port, name);
                free(own);
        }
        qsort(elements, n, sizeof(*elements), redirect_element_compare);
        ASSERT_OK(redirect_clear(redirect));
        begin_usec = time_now(CLOCK_PROCESS_CPUTIME_ID);
        ASSERT_OK(settle_all(entries, N_MANY, elements, n));
        usec = time_now(CLOCK_PROCESS_CPUTIME_ID) - begin_usec;
        printf("%i names: loaded in %llu ms of this process\n", N_MANY,
               (unsigned long long) (usec / USEC_PER_MSEC));
        ASSERT_EQ(settle_all(entries, N_MANY, elements, n), 0);
        ASSERT_EQ(asked(there, HERE4, texts[N_MANY - 1][1]), names);
        ASSERT_EQ(asked(there, HERE4, "container"), dns);
        ASSERT_OK(redirect_clear(redirect));
        free(entries);
        free(elements);
}

static void make_network(void) {
        _cleanup_free_ char *command = NULL;

        ASSERT_TRUE((here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) >= 0);
        ASSERT_TRUE(unshare(CLONE_NEWNET) >= 0);
        ASSERT_TRUE((there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) >= 0);
        ASSERT_TRUE(asprintf(&command, "ip link add veth1 type veth peer name " BRIDGE " netns /proc/%d/fd/%d",
                             getpid(), here) >= 0);
        run(command);
        run("ip link set lo up && ip link set veth1 up && ip addr add " THERE4 "/24 dev veth1 && "
            "ip route add default via " HERE4);
        ASSERT_TRUE(setns(here, CLONE_NEWNET) >= 0);
        run("ip link set lo up && ip link set " BRIDGE " up && ip addr add " HERE4 "/24 dev " BRIDGE);
        names = bound(SOCK_DGRAM, REDIRECT_NAMES_PORT);
        dns = bound(SOCK_DGRAM, 53);
        front = bound(SOCK_STREAM, REDIRECT_PORT);
}

int main(void) {
        if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                fprintf(stderr, "No namespaces of its own here, skipping what needs them.\n");
                return 77;
        }
        make_network();
        ASSERT_OK(redirect_new(&redirect));

        test_questions_while_asleep();
        test_no_questions_while_awake();
        test_names_come_and_go();
        test_virtual_address();
        test_further_container();
        test_direct_questions_are_dropped();
        test_own_containers_are_spared();
        test_virtual_address_from_elsewhere();
        test_guests();
        test_many_names();

        redirect_free(redirect);
        return 0;
}
