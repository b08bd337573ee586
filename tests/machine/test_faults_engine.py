"""The engine's socket is missing, refuses, or answers nonsense, half, or never (sick_engine.py): for ever, for a moment, for a minute."""

import re
import threading
import time
import unittest

from fault_test import ILLNESSES, MEMVID, URL, FaultTest, SickEngine, quick_config, stacks

PATH = "/run/sick-engine.sock"


class SickTest(FaultTest):
    """The config's engineSocket is the stand-in's. docker(1) of these tests goes on using dockerd's."""

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        machine.engine = SickEngine(machine, PATH)

    def setUp(self):
        self.engine = self.machine.engine
        self.begin()
        self.addCleanup(self.engine.recover)


class Illness(SickTest):
    """memvid has little time: its client is told, and nothing is left behind. clemence has more: its engine falls ill three times in one
    wake, as that begins, as the second container is started, as that one is checked, and its client only waits."""

    config = {**quick_config("clemence", "memvid", memvid={"globalTimeout": "1500ms"}), "engineSocket": PATH}
    BOUTS = ("/containers/wordpress-clemence/start", "/containers/wordpress-clemence/exec")

    def check(self, illness):
        self.engine.fall_ill(illness)
        patient = self.asking(URL)
        self.check_impatient()
        self.assertIsNone(patient.poll(), "clemence was given up before its time")
        self.check_bouts(illness, patient)
        self.assert_started_once(self.since, *stacks.CLEMENCE)
        self.assertEqual(len(self.records("WAKING", "clemence", self.cursor)), 1)
        self.assertEqual(self.records("DEPENDENCY_FAILED", "clemence", self.cursor), [])
        self.check_awake_and_stop(illness)

    def check_impatient(self):
        begin = time.monotonic()
        code, body = self.ask(MEMVID)
        self.assertEqual(code, 503, body)
        self.assertLess(time.monotonic() - begin, 5)
        with self.subTest("reason"):
            self.assertIn("the container engine does not answer", body)
            self.assert_failed("memvid", "engine_unavailable", self.cursor)
        self.wait_unit("wake@memvid.service", "failed")
        self.assertEqual(self.starts(self.since), [])

    def check_bouts(self, illness, client):
        left, fell_ill = list(self.BOUTS), threading.Event()

        def on_request(request):
            if left and request.path.endswith(left[0]):
                left.pop(0)
                self.engine.fall_ill(illness)
                fell_ill.set()

        self.engine.on_request = on_request
        self.addCleanup(setattr, self.engine, "on_request", None)
        self.engine.recover()
        for bout in self.BOUTS:
            self.assertTrue(fell_ill.wait(90), f"{bout} was never asked for")
            fell_ill.clear()
            self.remain(0.3, lambda: client.poll() is None, "the client was given up")
            self.engine.recover()
        code, body = self.answered(client)
        self.assertEqual(code, 200, body)

    def check_awake_and_stop(self, illness):
        """Nobody notices while it is awake; a stack that is to sleep is stopped when the engine is well again."""
        self.assert_sound("clemence")
        self.engine.fall_ill(illness)
        for _ in range(3):
            self.assertEqual(self.ask(URL, timeout=5)[0], 200)
        self.machine.systemctl("stop", "--no-block", "wake@clemence.service")
        begin = time.monotonic()
        while time.monotonic() < begin + 2 and stacks.running(self.machine):
            self.assertNotEqual(self.unit_state("wake@clemence.service"), "inactive", "it left its containers")
            time.sleep(0.1)
        self.engine.recover()
        self.wait_unit("wake@clemence.service", "inactive")


for name in ILLNESSES:
    setattr(Illness, f"test_{name}", lambda self, name=name: self.check(name))
del name


class Outage(SickTest):
    """A minute without an engine: five services that wake, and one that is awake, ask for it so and so often, and not more. The minute
    passes while the other tests of this module run: setUpModule() has begun it."""

    per = "begun"
    config = {**quick_config(*stacks.STACKS), "engineSocket": PATH}
    config["services"]["ui"] = {"name": "memvid-ui", "dependencies": [{"container": "memvid-ui", "startupDelay": "100ms"}]}
    LENGTH = 60
    # One question at a time asks for all that a waker has to do with the engine. Its pauses grow to 1.5 to 2 s: five tries until then.
    PER_WAKER, LATE = 46, 21

    def setUp(self):
        self.engine = self.machine.engine

    def break_down(self):
        m = type(self).machine = self.boot()
        unittest.addModuleCleanup(m.close)
        m.systemctl("start", "wake@ui.service")
        self.assert_sound("ui")
        type(self).begun = time.monotonic()
        m.engine.fall_ill("hangup")
        type(self).clients = [self.asking(f"http://127.0.0.1:{port}/", timeout=200) for port in stacks.PORTS.values()]
        self.clients.append(m.popen(["systemctl", "start", "wake@telegram-bot.service"]))

    def test_a_minute(self):
        end = self.begun + self.LENGTH
        while time.monotonic() < end:
            self.assertEqual([c.poll() for c in self.clients], [None] * 5, "somebody was given up")
            time.sleep(min(1, max(0, end - time.monotonic())))
        times = {name: [at - self.begun for at, who, _ in self.engine.connections if who == name and self.begun < at < end]
                 for name in self.services()}  # fmt: skip
        self.engine.recover()
        late = {name: sum(t > self.LENGTH / 2 for t in times[name]) for name in times}
        shown = ", ".join(f"{name} {len(times[name])} ({late[name]})" for name in times)
        print(f"connections to the engine in an outage of {self.LENGTH} s (in its second half): {shown};",
              f"in all {sum(map(len, times.values()))}", flush=True)  # fmt: skip

        for client in self.clients[:-1]:
            self.assertEqual(self.answered(client)[0], 200)
        self.assertEqual(self.clients[-1].wait(30), 0)
        self.assert_sound(*self.services())
        self.machine.run(["journalctl", "--sync"])
        for name in self.services():
            said = [r["MESSAGE"] for r in self.machine.journal(unit=f"wake@{name}.service") if "The container engine" in r["MESSAGE"]]
            self.assertEqual([re.sub(": .*", ":", text) for text in said], [
                "The container engine does not answer:", "The container engine answers again."], said)  # fmt: skip
        for name in self.services():
            with self.subTest(name):
                self.assertGreater(len(times[name]), self.LENGTH / 10, "it does not try")
                self.assertLessEqual(len(times[name]), self.PER_WAKER)
                self.assertLessEqual(late[name], self.LATE)


def setUpModule():
    Outage("test_a_minute").break_down()
