#include "probe/probe-schedule.h"
#include "test.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC
#define NOW (10000 * SEC)

static void test_cheap_tries_stretch(void) {
        ASSERT_EQ(probe_pause(0, 2 * SEC), 10 * MSEC);
        ASSERT_EQ(probe_pause(5 * SEC, 2 * SEC), 10 * MSEC);
        ASSERT_EQ(probe_pause(50 * SEC, 2 * SEC), 100 * MSEC);
        ASSERT_EQ(probe_pause(3600 * SEC, 2 * SEC), SEC);
        ASSERT_EQ(probe_pause(3600 * SEC, 300 * MSEC), 300 * MSEC);
        ASSERT_EQ(probe_pause(0, 3 * MSEC), 3 * MSEC);
        ASSERT_EQ(probe_pause(0, 0), MSEC);
}

/* When tries happen that all fail, from the start on, if each takes 40 ms. */
static void expect_tries(CommandGate *gate, const uint64_t *msec, size_t n) {
        uint64_t now = NOW;

        for (size_t i = 0; i < n; i++) {
                while (!command_gate_is_due(gate, now))
                        now += MSEC;
                ASSERT_EQ((now - NOW) / MSEC, msec[i]);
                now += 40 * MSEC;
                command_gate_failed(gate, now);
        }
}

static void test_tries_while_nothing_listens(void) {
        static const uint64_t msec[] = { 250, 790, 1830, 3870, 5910 };
        CommandGate gate;

        command_gate_init(&gate, 0, 2 * SEC, NOW);
        expect_tries(&gate, msec, ELEMENTSOF(msec));
}

static void test_interval_is_the_longest_pause(void) {
        static const uint64_t msec[] = { 100, 240, 380 };
        CommandGate gate;

        command_gate_init(&gate, 0, 100 * MSEC, NOW);
        expect_tries(&gate, msec, ELEMENTSOF(msec));
}

static void test_tries_while_something_listens(void) {
        static const uint64_t msec[] = { 0, 90, 230, 470, 910, 1750, 2790 };
        CommandGate gate;

        command_gate_init(&gate, 0, SEC, NOW);
        command_gate_set_listening(&gate, 1, NOW);
        expect_tries(&gate, msec, ELEMENTSOF(msec));
}

static void test_change_makes_a_try_due(void) {
        CommandGate gate;

        command_gate_init(&gate, 0, 2 * SEC, NOW);
        ASSERT_FALSE(command_gate_is_due(&gate, NOW + MSEC));
        command_gate_set_listening(&gate, 1, NOW + MSEC);
        ASSERT_TRUE(command_gate_is_due(&gate, NOW + MSEC));

        command_gate_failed(&gate, NOW + 2 * MSEC);
        command_gate_set_listening(&gate, 1, NOW + 3 * MSEC);
        ASSERT_FALSE(command_gate_is_due(&gate, NOW + 3 * MSEC));
        command_gate_set_listening(&gate, 2, NOW + 4 * MSEC);
        ASSERT_TRUE(command_gate_is_due(&gate, NOW + 4 * MSEC));
}

static void test_sockets_that_go_are_no_reason(void) {
        CommandGate gate;

        command_gate_init(&gate, 0, 2 * SEC, NOW);
        command_gate_set_listening(&gate, 1, NOW);
        command_gate_failed(&gate, NOW);
        command_gate_set_listening(&gate, 0, NOW + MSEC);
        ASSERT_FALSE(command_gate_is_due(&gate, NOW + MSEC));
}

static void test_endless_changes_are_not_believed(void) {
        unsigned tries = 0;
        CommandGate gate;

        command_gate_init(&gate, 0, 2 * SEC, NOW);
        for (uint64_t i = 0; i < 1000; i++) {
                uint64_t now = NOW + i * MSEC;

                command_gate_set_listening(&gate, 1 + i, now);
                if (command_gate_is_due(&gate, now)) {
                        tries++;
                        command_gate_failed(&gate, now);
                }
        }
        ASSERT_TRUE(tries < 50);
}

static void test_next_look(void) {
        CommandGate gate;

        command_gate_init(&gate, 0, 2 * SEC, NOW);
        ASSERT_EQ(command_gate_next(&gate, NOW, NOW), NOW + 250 * MSEC);
        gate.pid = 1;
        ASSERT_EQ(command_gate_next(&gate, NOW, NOW), NOW + 10 * MSEC);
        ASSERT_EQ(command_gate_next(&gate, NOW - 3600 * SEC, NOW), NOW + 50 * MSEC);
        ASSERT_EQ(command_gate_next(&gate, NOW, NOW + 245 * MSEC), NOW + 250 * MSEC);
}

int main(void) {
        test_cheap_tries_stretch();
        test_tries_while_nothing_listens();
        test_interval_is_the_longest_pause();
        test_tries_while_something_listens();
        test_change_makes_a_try_due();
        test_sockets_that_go_are_no_reason();
        test_endless_changes_are_not_believed();
        test_next_look();
        return 0;
}
