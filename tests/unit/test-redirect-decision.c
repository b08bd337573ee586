#include <stdio.h>

#include "redirect/decision.h"
#include "test.h"

/* Facts, and what is made of them: the sentences of decision.c, each with what belongs to it. */

static const Service redirected = { .name = (char *) "a", .port = 9002, .redirect_port = 29002 };
static const Service proxied = { .name = (char *) "a",
                                 .port = 9002,
                                 .listen = (char *[]){ (char *) "127.0.0.1:9002", NULL } };
static const Service portless = { .name = (char *) "a" };

static const Unit active = { .state = UNIT_ACTIVE, .loaded = true };
static const Unit inactive = { .state = UNIT_INACTIVE, .loaded = true };
static const Unit failed = { .state = UNIT_FAILED, .loaded = true };
static const Unit activating = { .state = UNIT_ACTIVATING, .loaded = true };
static const Unit deactivating = { .state = UNIT_DEACTIVATING, .loaded = true };
static const Unit unloaded_active = { .state = UNIT_ACTIVE };
static const Unit unloaded_inactive = { .state = UNIT_INACTIVE };
static const Unit busy_active = { .state = UNIT_ACTIVE, .loaded = true, .busy = true };
static const Unit busy_inactive = { .state = UNIT_INACTIVE, .loaded = true, .busy = true };
static const Unit busy_failed = { .state = UNIT_FAILED, .loaded = true, .busy = true };

static const SnapshotService up = { .name = "a", .chain = true, .counter = true, .redirect_port = 29002 };
static const SnapshotService lifted = { .name = "a", .chain = true, .counter = true, .counts = true };
static const SnapshotService counter_alone = { .name = "a", .counter = true };

static Status asleep = { .state = SERVICE_ASLEEP }, waking = { .state = SERVICE_WAKING },
              awake = { .state = SERVICE_AWAKE, .trigger = TRIGGER_CONNECTION },
              outside = { .state = SERVICE_AWAKE, .trigger = TRIGGER_OUTSIDE },
              stopping = { .state = SERVICE_STOPPING }, wake_failed = { .state = SERVICE_FAILED };

/* A service that sleeps as it should, with nothing to be done. */
static ServiceFacts settled(void) {
        return (ServiceFacts){
                .name = "a",
                .service = &redirected,
                .socket = { .unit = &active, .listens = true },
                .control = { .unit = &active, .listens = true },
                .redirect_port = 29002,
                .bindings = { .known = true, .any_ipv4 = true },
                .reached = REACHED_STOPPED,
                .chain = &up,
        };
}

static void assert_decision(const char *what, size_t row, const ServiceFacts *facts, const Decision *expected) {
        Decision decision = decide(facts);

        if (decision.aim != expected->aim || decision.socket != expected->socket ||
            decision.control != expected->control || decision.start_waker != expected->start_waker ||
            decision.status != expected->status)
                TEST_FAIL("%s, row %zu: aim %d, socket %d, control %d, waker %d, status %d; not %d, %d, %d, %d, %d",
                          what, row, (int) decision.aim, (int) decision.socket, (int) decision.control,
                          decision.start_waker, (int) decision.status, (int) expected->aim, (int) expected->socket,
                          (int) expected->control, expected->start_waker, (int) expected->status);
}

static void test_nothing_to_be_done(void) {
        ServiceFacts facts = settled();

        assert_decision("settled", 0, &facts, &(Decision){ .aim = REDIRECT_UP });
}

/* What the file does not have has nothing, whatever else is so. */
static void test_what_the_file_does_not_have(void) {
        static const struct {
                const Unit *socket, *control;
                bool waker, running, left_over, has_status;
                Decision decision;
        } rows[] = {
                { &active,
                  &active,
                  false,
                  false,
                  false,
                  true,
                  { REDIRECT_GONE, UNIT_STOP, UNIT_STOP, false, STATUS_REMOVE } },
                { &active,
                  &active,
                  false,
                  true,
                  true,
                  true,
                  { REDIRECT_GONE, UNIT_STOP, UNIT_STOP, false, STATUS_REMOVE } },
                { &unloaded_active,
                  &activating,
                  false,
                  false,
                  false,
                  false,
                  { REDIRECT_GONE, UNIT_STOP, UNIT_STOP, false, STATUS_LEAVE } },
                /* Its waker puts it to sleep, and says so until then. */
                { &active,
                  &active,
                  true,
                  true,
                  false,
                  true,
                  { REDIRECT_GONE, UNIT_STOP, UNIT_STOP, false, STATUS_LEAVE } },
                { &busy_active,
                  &busy_active,
                  false,
                  false,
                  false,
                  true,
                  { REDIRECT_GONE, UNIT_LEAVE, UNIT_LEAVE, false, STATUS_REMOVE } },
                /* There is nothing that could be stopped. */
                { &inactive, &unloaded_inactive, false, false, false, false, { .aim = REDIRECT_GONE } },
                { &failed, &failed, false, false, false, false, { .aim = REDIRECT_GONE } },
                { NULL, NULL, false, false, false, false, { .aim = REDIRECT_GONE } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ServiceFacts facts = {
                        .name = "a",
                        .socket = { .unit = rows[i].socket, .listens = true },
                        .control = { .unit = rows[i].control, .listens = true },
                        .waker = rows[i].waker,
                        .reached = rows[i].running ? REACHED_RUNNING : REACHED_STOPPED,
                        .left_over = rows[i].left_over,
                        .chain = &up,
                        .has_status = rows[i].has_status,
                        .status = rows[i].has_status ? &awake : NULL,
                };

                assert_decision("not in the file", i, &facts, &rows[i].decision);
        }

        /* What is left may be a file alone. */
        ASSERT_EQ(decide(&(ServiceFacts){ .name = "a", .has_bindings = true }).status, STATUS_REMOVE);
}

/* But what systemd still has units of stays: the file is being edited. */
static void test_what_was_not_loaded_again(void) {
        RedirectElement element = redirect_element(REDIRECT_WILDCARD4, NULL, 9002, "a");
        ServiceFacts facts = {
                .name = "a",
                .generated = true,
                .socket = { .unit = &active, .listens = true },
                .control = { .unit = &active, .listens = true },
                .chain = &up,
                .redirect_port = 29002,
                .elements = &element,
                .n_elements = 1,
                .has_status = true,
                .status = &asleep,
        };
        Decision decision = { .aim = REDIRECT_KEPT };
        _cleanup_(places_done) Places places = {};

        assert_decision("not loaded again", 0, &facts, &decision);
        ASSERT_OK(places_find(&places, &facts, &decision, 1));
        ASSERT_EQ(places.n, 1);
        ASSERT_EQ(places.entries[0].redirect_port, 29002);
        ASSERT_EQ(places.n_elements, 2);
        ASSERT_EQ(redirect_element_compare(&places.elements[0], &element), 0);
        ASSERT_STREQ(places.elements[1].key, "29002");

        facts.n_elements = 0;
        assert_decision("not loaded again", 1, &facts, &(Decision){ .aim = REDIRECT_GONE });

        /* Anybody could have the port that it leads to. */
        facts.n_elements = 1;
        facts.socket = (SocketFacts){ .unit = &inactive };
        assert_decision("not loaded again", 2, &facts, &(Decision){ .aim = REDIRECT_GONE });
        facts.socket = (SocketFacts){ .unit = &busy_inactive };
        assert_decision("not loaded again", 3, &facts, &decision);
}

static void test_front(void) {
        ServiceFacts facts = settled();

        facts.front = &active;
        ASSERT_FALSE(decide(&facts).restart_front);
        facts.front_listens_elsewhere = true;
        ASSERT_TRUE(decide(&facts).restart_front);
        facts.front = &busy_active;
        ASSERT_FALSE(decide(&facts).restart_front);
        /* Its socket comes first, and takes it along. */
        facts.front = &active;
        facts.socket.listens = false;
        ASSERT_FALSE(decide(&facts).restart_front);
}

static void test_aim(void) {
        static const struct {
                const Service *service;
                bool deaf, waker;
                Reached reached;
                const SnapshotService *chain;
                Status *status;
                bool unpublished;
                RedirectAim aim;
        } rows[] = {
                /* A service is redirected only to where PID 1 listens. */
                { &redirected, true, false, REACHED_STOPPED, &up, NULL, false, REDIRECT_GONE },
                { &redirected, true, true, REACHED_RUNNING, &lifted, &awake, false, REDIRECT_GONE },
                { &redirected, true, false, REACHED_UNKNOWN, &up, NULL, false, REDIRECT_GONE },
                { &proxied, false, false, REACHED_STOPPED, &up, NULL, false, REDIRECT_GONE },
                { &portless, false, true, REACHED_RUNNING, &up, &awake, false, REDIRECT_GONE },

                /* A living waker moves its chain itself; where it has none, what it says counts. */
                { &redirected, false, true, REACHED_RUNNING, &up, &waking, false, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_RUNNING, &lifted, &awake, false, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_RUNNING, &lifted, &awake, true, REDIRECT_UP },
                { &redirected, false, true, REACHED_RUNNING, &lifted, &waking, true, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_STOPPED, &lifted, &awake, false, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_STOPPED, &up, &stopping, false, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_UNKNOWN, &lifted, &awake, true, REDIRECT_KEPT },
                { &redirected, false, true, REACHED_RUNNING, NULL, &awake, false, REDIRECT_LIFTED },
                { &redirected, false, true, REACHED_STOPPED, NULL, &awake, false, REDIRECT_UP },
                { &redirected, false, true, REACHED_UNKNOWN, &counter_alone, &awake, false, REDIRECT_LIFTED },
                { &redirected, false, true, REACHED_RUNNING, NULL, &awake, true, REDIRECT_UP },
                { &redirected, false, true, REACHED_RUNNING, NULL, &waking, false, REDIRECT_UP },
                { &redirected, false, true, REACHED_RUNNING, NULL, &stopping, false, REDIRECT_UP },
                { &redirected, false, true, REACHED_RUNNING, NULL, NULL, false, REDIRECT_UP },

                /* Without one, the engine tells, whatever table and status say. */
                { &redirected, false, false, REACHED_RUNNING, &up, &asleep, false, REDIRECT_LIFTED },
                { &redirected, false, false, REACHED_RUNNING, &lifted, &outside, false, REDIRECT_LIFTED },
                { &redirected, false, false, REACHED_RUNNING, NULL, NULL, false, REDIRECT_LIFTED },
                { &redirected, false, false, REACHED_STOPPED, &lifted, &awake, false, REDIRECT_UP },
                { &redirected, false, false, REACHED_STOPPED, &lifted, &outside, false, REDIRECT_UP },
                { &redirected, false, false, REACHED_STOPPED, NULL, NULL, true, REDIRECT_UP },
                /* What nobody publishes is reached through the front alone. */
                { &redirected, false, false, REACHED_RUNNING, &lifted, &outside, true, REDIRECT_UP },

                /* While the engine does not tell, all stays as it is. */
                { &redirected, false, false, REACHED_UNKNOWN, &lifted, &asleep, false, REDIRECT_KEPT },
                { &redirected, false, false, REACHED_UNKNOWN, &up, &awake, false, REDIRECT_KEPT },
                { &redirected, false, false, REACHED_UNKNOWN, NULL, &awake, false, REDIRECT_LIFTED },
                { &redirected, false, false, REACHED_UNKNOWN, NULL, &outside, false, REDIRECT_LIFTED },
                { &redirected, false, false, REACHED_UNKNOWN, NULL, &awake, true, REDIRECT_UP },
                { &redirected, false, false, REACHED_UNKNOWN, NULL, &asleep, false, REDIRECT_UP },
                { &redirected, false, false, REACHED_UNKNOWN, NULL, NULL, false, REDIRECT_UP },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ServiceFacts facts = settled();

                facts.whole = false;
                facts.service = rows[i].service;
                facts.socket.listens = !rows[i].deaf;
                facts.waker = rows[i].waker;
                facts.reached = rows[i].reached;
                facts.chain = rows[i].chain;
                facts.has_status = rows[i].status != NULL;
                facts.status = rows[i].status;
                facts.bindings.known = !rows[i].unpublished;
                facts.direct = rows[i].reached == REACHED_RUNNING && !rows[i].unpublished;
                if (decide(&facts).aim != rows[i].aim)
                        TEST_FAIL("aim, row %zu: %d, not %d", i, (int) decide(&facts).aim, (int) rows[i].aim);

                /* In a table that nobody has flushed, a waker without a chain has not moved its service's: it had none. */
                facts.whole = true;
                if (decide(&facts).aim !=
                    (facts.waker && rows[i].aim == REDIRECT_LIFTED ? REDIRECT_UP : rows[i].aim))
                        TEST_FAIL("aim, row %zu, in a whole table: %d", i, (int) decide(&facts).aim);
        }
}

static void test_status(void) {
        static const struct {
                bool waker;
                Reached reached;
                Status *status;
                bool unreadable;
                StatusAction action;
        } rows[] = {
                /* A living waker's is its own, even one that nobody can read. */
                { true, REACHED_RUNNING, &waking, false, STATUS_LEAVE },
                { true, REACHED_STOPPED, &awake, false, STATUS_LEAVE },
                { true, REACHED_UNKNOWN, NULL, true, STATUS_LEAVE },
                { true, REACHED_RUNNING, NULL, false, STATUS_LEAVE },

                /* Without one, what runs is awake, by somebody else's doing. */
                { false, REACHED_RUNNING, NULL, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, NULL, true, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &asleep, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &waking, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &awake, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &stopping, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &wake_failed, false, STATUS_SAY_OUTSIDE },
                { false, REACHED_RUNNING, &outside, false, STATUS_LEAVE },

                /* What does not run sleeps, for which there need be no file. A failure is to be read until the next wake. */
                { false, REACHED_STOPPED, NULL, false, STATUS_LEAVE },
                { false, REACHED_STOPPED, NULL, true, STATUS_SAY_ASLEEP },
                { false, REACHED_STOPPED, &asleep, false, STATUS_LEAVE },
                { false, REACHED_STOPPED, &wake_failed, false, STATUS_LEAVE },
                { false, REACHED_STOPPED, &waking, false, STATUS_SAY_ASLEEP },
                { false, REACHED_STOPPED, &awake, false, STATUS_SAY_ASLEEP },
                { false, REACHED_STOPPED, &outside, false, STATUS_SAY_ASLEEP },
                { false, REACHED_STOPPED, &stopping, false, STATUS_SAY_ASLEEP },

                /* While the engine does not tell, awake stays awake; but nobody is waking or stopping what nobody does. */
                { false, REACHED_UNKNOWN, NULL, false, STATUS_LEAVE },
                { false, REACHED_UNKNOWN, &asleep, false, STATUS_LEAVE },
                { false, REACHED_UNKNOWN, &wake_failed, false, STATUS_LEAVE },
                { false, REACHED_UNKNOWN, &awake, false, STATUS_LEAVE },
                { false, REACHED_UNKNOWN, &outside, false, STATUS_LEAVE },
                { false, REACHED_UNKNOWN, &waking, false, STATUS_SAY_ASLEEP },
                { false, REACHED_UNKNOWN, &stopping, false, STATUS_SAY_ASLEEP },
                { false, REACHED_UNKNOWN, NULL, true, STATUS_SAY_ASLEEP },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                static const Service *const services[] = { &redirected, &proxied, &portless };

                for (size_t j = 0; j < ELEMENTSOF(services); j++) {
                        ServiceFacts facts = settled();

                        facts.service = services[j];
                        facts.waker = rows[i].waker;
                        facts.reached = rows[i].reached;
                        facts.has_status = rows[i].status || rows[i].unreadable;
                        facts.status = rows[i].status;
                        if (decide(&facts).status != rows[i].action)
                                TEST_FAIL("status, row %zu: %d, not %d", i, (int) decide(&facts).status,
                                          (int) rows[i].action);
                }
        }
}

/* A waker for what runs and is ours, and for what nobody would stop. One that has just failed is not started at once again. */
static void test_start_of_a_waker(void) {
        static const struct {
                bool waker, waker_failed;
                Reached reached;
                bool ours, left_over, start;
        } rows[] = {
                { false, false, REACHED_RUNNING, true, false, true },
                { false, false, REACHED_RUNNING, false, false, false },
                { false, false, REACHED_STOPPED, true, false, false },
                { false, false, REACHED_UNKNOWN, true, false, false },
                { false, false, REACHED_STOPPED, false, true, true },
                /* It goes on serving what runs and is not to be stopped. */
                { false, false, REACHED_RUNNING, false, true, false },
                { false, false, REACHED_RUNNING, true, true, true },
                { true, false, REACHED_RUNNING, true, true, false },
                { false, true, REACHED_RUNNING, true, true, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ServiceFacts facts = settled();

                facts.waker = rows[i].waker;
                facts.waker_failed = rows[i].waker_failed;
                facts.reached = rows[i].reached;
                facts.ours = rows[i].ours;
                facts.left_over = rows[i].left_over;
                if (decide(&facts).start_waker != rows[i].start)
                        TEST_FAIL("waker, row %zu", i);
        }
}

/* A socket that should listen and does not is started again, unless somebody has stopped it. Of the control socket nobody would want
 * that, but it cannot be started while its waker runs. */
static void test_sockets(void) {
        static const struct {
                SocketFacts socket;
                UnitAction action, control;
        } rows[] = {
                { { &active, true, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &active, false, false, false }, UNIT_RESTART, UNIT_RESTART },
                { { &busy_active, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &unloaded_active, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &inactive, false, true, false }, UNIT_START, UNIT_START },
                { { &inactive, false, false, false }, UNIT_LEAVE, UNIT_START },
                { { &busy_inactive, false, true, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &unloaded_inactive, false, true, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &failed, false, false, true }, UNIT_START, UNIT_START },
                { { &failed, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &busy_failed, false, false, true }, UNIT_LEAVE, UNIT_LEAVE },
                { { &activating, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { &deactivating, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
                { { NULL, false, false, false }, UNIT_LEAVE, UNIT_LEAVE },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ServiceFacts facts = settled();

                facts.socket = rows[i].socket;
                facts.control = rows[i].socket;
                if (decide(&facts).socket != rows[i].action || decide(&facts).control != rows[i].control ||
                    decide_socket(&rows[i].socket) != rows[i].action)
                        TEST_FAIL("socket, row %zu", i);
                facts.waker = true;
                if (decide(&facts).socket != rows[i].action || decide(&facts).control != UNIT_LEAVE)
                        TEST_FAIL("socket beside a waker, row %zu", i);
        }
}

/* Places */

#define ADDRESSES(...) ((char *[]){ __VA_ARGS__, NULL })
static const RedirectBindings unknown = {};
static const RedirectBindings everywhere = { .known = true, .any_ipv4 = true, .any_ipv6 = true };
static const RedirectBindings ipv4_only = { .known = true, .any_ipv4 = true };
static const RedirectBindings first_address = { .known = true, .addresses = ADDRESSES((char *) "192.0.2.1") };
static const RedirectBindings both_addresses = {
        .known = true, .addresses = ADDRESSES((char *) "192.0.2.2", (char *) "192.0.2.1")
};

typedef struct Bidder {
        const char *name;
        const RedirectBindings *bindings;
        bool runs, gone;
        uint16_t other_port; /* than all the others */
} Bidder;

/* "a=192.0.2.1 . 9002|b=<a": who gets which keys, and which rival each has. */
static void assert_places(const Bidder *bidders, size_t n, const char *expected) {
        Service services[4];
        ServiceFacts facts[4] = {};
        Decision decisions[4] = {};
        _cleanup_(places_done) Places places = {};
        _cleanup_free_ char *text = NULL;
        size_t size, n_told = 0;
        FILE *stream = open_memstream(&text, &size);

        ASSERT_TRUE(stream && n <= ELEMENTSOF(services));
        for (size_t i = 0; i < n; i++) {
                services[i] = (Service){ .name = (char *) bidders[i].name,
                                         .port = bidders[i].other_port ?: 9002,
                                         .ignore_addresses = ADDRESSES((char *) "192.0.2.99") };
                facts[i] = (ServiceFacts){ .name = bidders[i].name,
                                           .service = &services[i],
                                           .redirect_port = (uint16_t) (29002 + i),
                                           .bindings = *bidders[i].bindings,
                                           .reached = bidders[i].runs ? REACHED_RUNNING : REACHED_STOPPED,
                                           .direct = bidders[i].runs };
                decisions[i].aim = bidders[i].gone ? REDIRECT_GONE : REDIRECT_UP;
        }
        ASSERT_OK(places_find(&places, facts, decisions, n));
        ASSERT_EQ(places.n, n);
        for (size_t i = 0; i < places.n; i++) {
                const RedirectEntry *entry = &places.entries[i];
                const ServiceFacts *whose = &facts[i];

                if (bidders[i].gone) {
                        ASSERT_EQ(entry->aim, REDIRECT_GONE);
                        continue;
                }
                ASSERT_STREQ(entry->service, whose->name);
                ASSERT_EQ(entry->redirect_port, whose->redirect_port);
                ASSERT_EQ(entry->aim, REDIRECT_UP);
                ASSERT_TRUE(entry->uncounted == whose->service->ignore_addresses);
                fprintf(stream, "%s%s=", n_told++ > 0 ? "|" : "", entry->service);
                for (size_t j = 0, n_own = 0; j < places.n_elements; j++) {
                        const RedirectElement *element = &places.elements[j];

                        if (streq(element->service, entry->service) && element->map != REDIRECT_TARGETS)
                                fprintf(stream, "%s%s:%s", n_own++ > 0 ? "," : "",
                                        redirect_maps[element->map].name, element->key);
                }
                if (places.rivals[i])
                        fprintf(stream, "<%s", places.rivals[i]);
        }
        ASSERT_EQ(fclose(stream), 0);
        ASSERT_STREQ(text, expected);
}
#define ASSERT_PLACES(expected, ...) \
        assert_places((const Bidder[]){ __VA_ARGS__ }, ELEMENTSOF(((const Bidder[]){ __VA_ARGS__ })), expected)

static void test_places_of_their_own(void) {
        _cleanup_(places_done) Places places = {};

        ASSERT_PLACES("a=wildcard4:9002,wildcard6:9002|b=wildcard4:80,wildcard6:80", { "a", &everywhere },
                      { "b", &everywhere, .other_port = 80 });
        ASSERT_PLACES("a=loopback4:9002,loopback6:9002|c=wildcard4:9002", { "a", &unknown },
                      { "b", &everywhere, .gone = true }, { "c", &ipv4_only });
        /* Published, but nowhere that makes sense: nothing to redirect. */
        ASSERT_PLACES("a=|b=wildcard4:9002", { "a", &(RedirectBindings){ .known = true } }, { "b", &ipv4_only });

        ASSERT_OK(places_find(&places, NULL, NULL, 0));
        ASSERT_EQ(places.n, 0);
}

static void test_places_on_different_addresses(void) {
        ASSERT_PLACES("a=address4:192.0.2.1 . 9002|b=wildcard4:9002", { "a", &first_address },
                      { "b", &ipv4_only });
        ASSERT_PLACES("a=address4:192.0.2.1 . 9002|b=address4:192.0.2.3 . 9002", { "a", &first_address },
                      { "b", &(RedirectBindings){ .known = true, .addresses = ADDRESSES((char *) "192.0.2.3") } });
}

static void test_places_on_the_same_address(void) {
        /* The first by name, else the one that runs, which the engine has given it to. */
        ASSERT_PLACES("a=wildcard4:9002|b=<a", { "a", &ipv4_only }, { "b", &ipv4_only });
        ASSERT_PLACES("a=<b|b=wildcard4:9002", { "a", &ipv4_only }, { "b", &ipv4_only, .runs = true });
        ASSERT_PLACES("a=wildcard4:9002|b=<a", { "a", &ipv4_only, .runs = true },
                      { "b", &ipv4_only, .runs = true });
        /* Who has no place is nobody's rival. */
        ASSERT_PLACES("b=wildcard4:9002", { "a", &ipv4_only, .runs = true, .gone = true }, { "b", &ipv4_only });
        /* Some of them only. */
        ASSERT_PLACES("a=address4:192.0.2.1 . 9002|b=address4:192.0.2.2 . 9002<a", { "a", &first_address },
                      { "b", &both_addresses });
        ASSERT_PLACES("a=<b|b=address4:192.0.2.1 . 9002,address4:192.0.2.2 . 9002", { "a", &first_address },
                      { "b", &both_addresses, .runs = true });
        ASSERT_PLACES("a=wildcard4:9002<b|b=wildcard6:9002|c=<b", { "a", &everywhere },
                      { "b", &(RedirectBindings){ .known = true, .any_ipv6 = true }, .runs = true },
                      { "c", &everywhere });
}

/* A guess is no rival, and nobody is the rival of a guess. */
static void test_guessed_places(void) {
        ASSERT_PLACES("a=loopback4:9002,loopback6:9002|b=", { "a", &unknown }, { "b", &unknown });
        ASSERT_PLACES("a=|b=loopback4:9002,loopback6:9002", { "a", &unknown }, { "b", &unknown, .runs = true });
        ASSERT_PLACES("a=loopback4:9002,loopback6:9002|b=wildcard4:9002", { "a", &unknown }, { "b", &ipv4_only });
}

int main(void) {
        test_nothing_to_be_done();
        test_what_the_file_does_not_have();
        test_what_was_not_loaded_again();
        test_front();
        test_aim();
        test_status();
        test_start_of_a_waker();
        test_sockets();
        test_places_of_their_own();
        test_places_on_different_addresses();
        test_places_on_the_same_address();
        test_guessed_places();
        return 0;
}
