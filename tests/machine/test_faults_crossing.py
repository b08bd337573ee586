"""Wakes and stops of one stack that meet: at the same instant, one in the middle of the other, and thirty times in a row."""

import os
import random
import threading

from fault_test import MEMVID, URL, FaultTest, Runs, quick_config, stacks, wait_for

WAKER, FRONT = "wake@clemence.service", "wake-front@clemence.service"
SEED = os.environ.get("WAKECHAIN_SEED", "2026")


class Crossing(FaultTest):
    config = quick_config("clemence", "memvid")

    def setUp(self):
        self.begin()

    def awake(self):
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def in_order(self, *messages):
        """Which of these was told when, as names: ["ASLEEP", "WAKING", …]."""
        records = [(int(r["__MONOTONIC_TIMESTAMP"]), name) for name in messages for r in self.records(name, "clemence", self.cursor)]
        return [name for _, name in sorted(records)]

    # Wakes

    def test_four_ways_at_once(self):
        """Two clients, systemctl start, and Hold: one wake, and all of them are content."""
        m = self.machine
        gate = threading.Barrier(4)
        held = []

        def hold():
            gate.wait()
            statuses = self.call("clemence", "Hold", more=True)
            while not held or held[-1]["status"]["state"] == "waking":
                held.append(next(statuses))
            statuses.close()

        def through_gate(function):
            gate.wait()
            results.append(function())

        results = []
        threads = [threading.Thread(target=through_gate, args=(f,)) for f in
                   (lambda: self.ask(URL)[0], lambda: self.ask(URL)[0],
                    lambda: m.run(["systemctl", "start", WAKER], check=False).returncode)]  # fmt: skip
        threads.append(threading.Thread(target=hold))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(results), [0, 200, 200])
        self.assertEqual(held[-1]["status"]["state"], "awake", held[-1])
        self.assertEqual(len({h["status"]["wakeId"] for h in held}), 1)
        self.assertEqual(self.in_order("WAKING", "AWAKE", "FAILED"), ["WAKING", "AWAKE"])
        self.assert_started_once(self.since, *stacks.CLEMENCE)
        self.assert_sound("clemence")

    # A stop in a wake

    def check_stop_during_wake(self, container, action):
        """By an administrator: whoever waits is told, all that was started is stopped; whoever comes later wakes it again."""
        client = self.asking(URL)
        self.wait_event(container, action, self.since)
        self.machine.systemctl("stop", WAKER)
        code, body = self.answered(client)
        self.assertEqual(code, 503, body)
        self.assertIn("put to sleep", body)
        self.assert_sound()
        self.assertEqual(self.records("FAILED", "clemence", self.cursor), [])
        self.assertEqual(self.machine.show(WAKER, "Result"), "success")
        for name in stacks.CLEMENCE:
            self.assertEqual(self.starts(self.since).count(name), self.ends(self.since).count(name), name)
        self.assert_served(URL)

    def test_stop_at_first_start(self):
        self.check_stop_during_wake("mysql-clemence", "start")

    def test_stop_while_checking(self):
        self.check_stop_during_wake("wordpress-clemence", "exec_start")

    def test_stop_at_last_start(self):
        self.check_stop_during_wake("nginx-clemence", "start")

    def test_sleep_by_socket_during_wake(self):
        """The same, asked for by the control socket."""
        client = self.asking(URL)
        self.wait_event("wordpress-clemence", "start", self.since)
        list(self.call("clemence", "Sleep"))
        self.assertEqual(self.answered(client)[0], 503)
        self.assert_sound()
        self.assert_served(URL)

    # A wake in a stop

    def check_wake_during_stop(self, stop, container, action):
        """Who comes while it goes to sleep waits for that, and is served by the next wake."""
        self.awake()
        stop()
        self.wait_event(container, action, self.since)
        clients = [self.asking(URL) for _ in range(3)]
        for client in clients:
            code, body = self.answered(client)
            self.assertEqual(code, 200, body)
        self.wait_unit(WAKER, "active")
        self.assertEqual(self.in_order("ASLEEP", "WAKING", "AWAKE", "FAILED"), ["ASLEEP", "WAKING", "AWAKE"])
        self.assertEqual(self.starts(self.since), list(stacks.CLEMENCE))
        self.assertEqual(sorted(self.ends(self.since)), sorted(stacks.CLEMENCE))
        self.assert_sound("clemence")

    def by_systemd(self):
        self.machine.systemctl("stop", "--no-block", WAKER)

    def by_socket(self):
        list(self.call("clemence", "Sleep"))

    def test_wake_as_first_is_stopped(self):
        self.check_wake_during_stop(self.by_systemd, "nginx-clemence", "kill")

    def test_wake_as_last_is_stopped(self):
        self.check_wake_during_stop(self.by_systemd, "mysql-clemence", "kill")

    def test_wake_as_it_was_told_to_sleep(self):
        self.check_wake_during_stop(self.by_socket, "wordpress-clemence", "kill")

    def test_start_in_a_stop(self):
        """systemctl start waits for its end, and then wakes."""
        self.awake()
        self.by_systemd()
        self.wait_event("wordpress-clemence", "kill", self.since)
        self.machine.systemctl("start", WAKER)
        self.assertEqual(self.in_order("ASLEEP", "WAKING", "AWAKE"), ["ASLEEP", "WAKING", "AWAKE"])
        self.assert_sound("clemence")

    # Both, all the time

    def test_thirty_alternations(self):
        """The other stack, whose client asks all the time, does not care."""
        m = self.machine
        print(f"WAKECHAIN_SEED={SEED}", flush=True)
        dice = random.Random(SEED)
        self.assert_served(MEMVID)
        self.wait_unit("wake@memvid.service", "active")
        runs = Runs(m)
        self.addCleanup(runs.close)
        for i in range(30):
            by_client = dice.choice((False, True))
            pause = dice.choice((0, 0.02, 0.1, 0.3, 0.6))
            with self.subTest(f"seed {SEED}, {i}: {'client' if by_client else 'start'}, stop after {pause} s"):
                client = self.asking(URL) if by_client else None
                if not client:
                    m.systemctl("start", "--no-block", WAKER)
                stop = m.run(f"sleep {pause}; systemctl stop {WAKER}", check=False)
                if client:
                    self.assertIn(self.answered(client)[0], (200, 503))
                # A client who comes just then wins: systemd cancels the stop, and says so.
                if stop.returncode and not (client and "cancel" in stop.stderr):
                    self.fail(stop.stderr)
            self.assertEqual(self.ask(MEMVID, timeout=5)[0], 200)
        m.systemctl("stop", WAKER)
        self.assert_sound("memvid")
        self.assertEqual(self.records("FAILED", since=self.cursor), [])
        for name in stacks.CLEMENCE:
            wait_for(lambda name=name: len(set(runs.of(name))) == 1, 10, what=f"as many deaths of {name} as starts")
        self.assertGreater(runs.of("mysql-clemence")[0], 0)
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.assert_sound("clemence", "memvid")
