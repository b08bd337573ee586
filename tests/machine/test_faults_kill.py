"""SIGKILL to the waker at random points of each phase. $WAKECHAIN_SEED sets others; the seed is printed."""

import contextlib
import os
import random
import signal
import threading
import time

from fault_test import URL, FaultTest, SickEngine, quick_config, stacks
from service_test import rounds

WAKER = "wake@clemence.service"
PHASES = ("preparing", "starting", "checking", "reaching", "awake", "closing", "stopping")
N_POINTS = rounds(7, 20)
WAKING = PHASES[:4]
SEED = os.environ.get("WAKECHAIN_SEED", "2026")


class Point:
    """A moment: the n-th request of that kind is about to be forwarded, or its answer is, and then some milliseconds."""

    KINDS = {"preparing": ("GET", "/json"), "starting": ("POST", "/start"), "checking": ("POST", "/exec"), "stopping": ("POST", "/stop")}

    def __init__(self, phase, dice):
        self.phase = phase
        self.container = dice.choice(stacks.CLEMENCE)
        self.after = dice.choice((False, True))
        self.delay = dice.uniform(0, {"preparing": 0.003, "reaching": 0.03, "awake": 0.3, "closing": 0.05}.get(phase, 0.1))
        # Who is told to stop by systemd is not started again; who sleeps by itself, or was asked to by its socket, is.
        self.by_systemd = dice.choice((False, True))
        if phase == "reaching":
            self.container, self.after = stacks.CLEMENCE[-1], True

    def __str__(self):
        where = "answer" if self.after else "request"
        what = {"awake": "", "closing": ""}.get(self.phase, f" {where} of {self.container}")
        how = (", stopped by systemd" if self.by_systemd else ", asked to sleep") if self.phase in ("closing", "stopping") else ""
        return f"{self.phase}:{what} +{self.delay * 1000:.1f} ms{how}"

    def is_at(self, request, after):
        kind = "checking" if self.phase == "reaching" else self.phase
        if kind not in self.KINDS or after != self.after or request.service != "clemence":
            return False
        if self.phase == "reaching":
            # The look at the check's exit status is the last that is asked for.
            return "/exec/" in request.path and request.method == "GET" and self.reached
        method, end = self.KINDS[kind]
        path = request.path.partition("?")[0]
        return request.method == method and path.endswith(f"/containers/{self.container}{end}")

    reached = False


class KillPoints(FaultTest):
    """Afterwards a client is served; each container was started once per wake; asleep, all that was started is stopped."""

    heavy = 20  # begins early

    config = {**quick_config("clemence"), "engineSocket": "/run/sick-engine.sock"}
    delay = 0.1

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        machine.engine = SickEngine(machine)

    def setUp(self):
        self.engine = self.machine.engine
        self.begin()

    def arm(self, point):
        """Kills the process that reaches the point, once. Returns an event."""
        killed = threading.Event()

        def look(request, after):
            if point.phase == "reaching" and request.path.endswith(f"/containers/{point.container}/exec"):
                point.reached = True
            if not killed.is_set() and point.is_at(request, after):
                killed.set()
                time.sleep(point.delay)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(request.pid, signal.SIGKILL)

        self.engine.on_request = lambda request: look(request, False)
        self.engine.on_reply = lambda request: look(request, True)
        return killed

    def disarm(self):
        self.engine.on_request = self.engine.on_reply = None

    def kill_now(self, point):
        time.sleep(point.delay)
        pid = self.machine.show(WAKER, "MainPID")
        self.machine.run(f"[ {pid} = 0 ] || kill -KILL {pid}", check=False)

    def put_to_sleep(self, point):
        if point.by_systemd:
            self.machine.systemctl("stop", "--no-block", WAKER)
        else:
            list(self.call("clemence", "Sleep"))

    def check_waking(self, point):
        killed = self.arm(point)
        client = self.asking(URL)
        self.assertTrue(killed.wait(90), "never came to that point")
        code, body = self.answered(client)
        self.disarm()
        self.assertEqual(code, 200, body)

    def check_awake(self, point):
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.kill_now(point)
        self.assert_served(URL)

    def check_sleeping(self, point):
        """Whoever was asked to sleep does, however often it is killed; what systemd stopped, and we killed, the next wake takes over."""
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        invocation = self.machine.show(WAKER, "InvocationID")
        killed = self.arm(point) if point.phase == "stopping" else None
        self.put_to_sleep(point)
        if killed:
            self.assertTrue(killed.wait(90), "never came to that point")
        else:
            self.kill_now(point)
        # Settling may have the next one take over at once: what ends is this invocation.
        self.machine.wait_for(
            lambda: self.unit_state(WAKER) in ("inactive", "failed") or self.machine.show(WAKER, "InvocationID") != invocation,
            what="its end",
        )
        self.disarm()
        if not point.by_systemd:
            self.assert_sound()

    def check(self, point):
        m = self.machine
        cursor, since = m.journal_cursor(), m.now()
        {"awake": self.check_awake, "closing": self.check_sleeping, "stopping": self.check_sleeping}.get(
            point.phase, self.check_waking
        )(point)
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.assert_sound("clemence")
        wakes = len(self.records("WAKING", "clemence", cursor))
        self.assertLessEqual(wakes, 2 if point.phase in ("closing", "stopping") else 1)
        events = [e[:2] for e in self.events(since, "start", "die")]
        for container in stacks.CLEMENCE:
            self.assertLessEqual(events.count((container, "start")), max(wakes, 1), f"{container} was started too often")
            self.assertLessEqual(events.count((container, "die")), max(wakes, 1) - 1, f"{container} was stopped")
        self.assertEqual(self.records("FAILED", "clemence", cursor), [])
        self.sleep("clemence")
        self.assert_sound()

    def test_random_points(self):
        print(f"WAKECHAIN_SEED={SEED}", flush=True)
        dice = random.Random(SEED)
        for i in range(N_POINTS):
            point = Point(PHASES[i % len(PHASES)], dice)
            with self.subTest(f"seed {SEED}, point {i}: {point}"):
                try:
                    self.check(point)
                except BaseException:
                    self.disarm()
                    self.sleep("clemence")
                    self.mend()
                    raise
