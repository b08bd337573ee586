"""dockerd is restarted, stopped, killed, or hangs, while five stacks are in five phases. Whoever waits is served when it is back."""

import contextlib
import time

from fault_test import MEMVID, URL, FaultTest, dependency, quick_config, stacks, wait_for

NEXTCLOUD, RAGFLOW = "http://127.0.0.1:8080/", "http://127.0.0.1:9500/"
BOT = "wake@telegram-bot.service"
REASON = "engine_unavailable"


class FivePhases(FaultTest):
    """memvid is awake; telegram-bot, which shares redis with it, is being stopped; nextcloud, which shares it too, is being checked;
    clemence's second container is being started; ragflow sleeps, and is asked for while the engine is away."""

    config = quick_config(*stacks.STACKS)
    PATIENCE = 180  # seven containers that start at once in a new dockerd may take half a minute each on a busy machine
    # Not ready before the fault, however busy the machine is; quick at the next start.
    SLOW = {"nextcloud": 20, "wordpress-clemence": 15}
    AWAKE = ("memvid", "nextcloud", "clemence", "ragflow")
    CONTAINERS = {c for name in AWAKE for step in stacks.STACKS[name] for c in step}

    def setUp(self):
        m = self.machine
        self.begin()
        for container, seconds in self.SLOW.items():
            stacks.set_delay(m, container, seconds)
        delay_files = stacks.delay_files(m, *self.SLOW)
        self.addCleanup(self.show_engine)
        m.systemctl("reset-failed", "docker.service", check=False)
        m.systemctl("start", "wake@memvid.service", BOT)
        self.assert_served(MEMVID)
        self.cursor, self.since = m.journal_cursor(), m.now()

        self.waiting = {"nextcloud": self.asking(NEXTCLOUD, timeout=self.PATIENCE)}
        self.wait_until_checked("nextcloud")
        self.stop = m.popen(["systemctl", "stop", BOT])
        self.waiting["clemence"] = self.asking(URL, timeout=self.PATIENCE)
        m.follow_docker_events(self.meeting(), self.since)
        for file in delay_files:
            m.write(file, str(int(self.delay * 1000)))

    def wait_until_checked(self, container):
        self.wait_event(container, "exec_start", self.since)

    def meeting(self):
        seen, wanted = set(), {("telegram-bot", "die"), ("wordpress-clemence", "start")}

        def met(event):
            seen.add((event["Actor"]["Attributes"].get("name"), event["Action"]))
            return wanted <= seen

        return met

    def check(self, gone):
        """After the fault, which took all containers with it (or not): everybody gets what they waited for."""
        if "ragflow" not in self.waiting:
            self.waiting["ragflow"] = self.asking(RAGFLOW, timeout=self.PATIENCE)
        for name, client in self.waiting.items():
            with self.subTest(name):
                code, body = self.answered(client, self.PATIENCE)
                self.assertEqual(code, 200, body)
        with self.subTest("telegram-bot"):
            self.stop.wait(60)
            self.wait_unit(BOT, "inactive")
        self.assert_sound(*self.AWAKE, timeout=30)
        self.assert_served(MEMVID, NEXTCLOUD, URL, RAGFLOW)
        for name in self.AWAKE:
            with self.subTest(name):
                # One that had to be brought back may say so; nobody gave up.
                self.assertEqual(len(self.records("WAKING", name, self.cursor)), 0 if name == "memvid" else 1)
                self.assertEqual(self.records("FAILED", name, self.cursor), [])
                self.assertEqual(self.records("STOPPING", name, self.cursor), [])
        # A new dockerd knows no events of the old one's. It ends what that one has left.
        ended = set() if gone else set(self.ends(self.since)) & self.CONTAINERS
        self.assertEqual(ended, set(), "stopped under somebody's feet")
        expected = self.CONTAINERS if gone else self.CONTAINERS - set(stacks.STACKS["memvid"][0] + stacks.STACKS["memvid"][1])
        starts = [c for c in self.starts(self.since) if c != "memvid-ui"]
        self.assertEqual(sorted(starts), sorted(expected - {"memvid-ui"}), "started in vain")


class Dockerd(FivePhases):
    heavy = 20  # begins early

    def test_restarted(self):
        self.restart_engine()
        self.check(gone=True)

    def test_stopped_without_its_socket(self):
        """systemd starts it again when somebody asks: that may be us."""
        self.machine.run("systemctl stop docker.service; systemctl reset-failed docker.service || true")
        self.check(gone=True)

    def test_stopped_and_started(self):
        """Away for some seconds. Who comes to the stack that was awake is held, too."""
        m = self.machine
        self.hide_engine()
        self.waiting["ragflow"] = self.asking(RAGFLOW, timeout=self.PATIENCE)
        check = "/usr/lib/wakechain/wakechain-redirect check | grep ^memvid"
        m.wait_for(lambda: " up " in m.run(check, check=False).stdout, 10, what="memvid's port to be taken back")
        self.waiting["memvid"] = self.asking(MEMVID, timeout=self.PATIENCE)
        self.remain(3, lambda: all(c.poll() is None for c in self.waiting.values()), "a client was not held")
        self.show_engine()
        self.check(gone=True)

    def test_hangs(self):
        """Twenty seconds. Containers need no engine: who uses one that is awake notices nothing."""
        with self.engine_stopped():
            begin = time.monotonic()
            self.waiting["ragflow"] = self.asking(RAGFLOW, timeout=self.PATIENCE)
            self.remain(2, lambda: self.ask(MEMVID, timeout=5)[0] == 200, "awake, and not served")
            while time.monotonic() - begin < 20:
                self.assertEqual({n for n, c in self.waiting.items() if c.poll() is not None}, set(), "a client was not held")
                self.assertEqual(self.ask(MEMVID, timeout=5)[0], 200)
                time.sleep(1)
        self.check(gone=False)


class DockerdKilled(FivePhases):
    """By SIGKILL. Its containers go on until it is back, and ends them. Except, with Docker 26, one in which it was just executing a command:
    containerd then reports its end half a minute late, dockerd takes that for the end of the next run, and from then on says of a container
    without a file system that it runs. So those that are not ready here are not checked by commands."""

    config = quick_config(*stacks.STACKS)
    dependency(config, "nextcloud", "nextcloud")["healthCheck"] = {"tcp": 80, "interval": 200, "timeout": 60000}
    dependency(config, "clemence", "wordpress-clemence")["healthCheck"] = {"tcp": 9000, "interval": 200, "timeout": 60000}

    def wait_until_checked(self, container):
        self.wait_state("nextcloud", "waking")

        def checked():
            return any(d["container"] == container and d["state"] == "checking" for d in self.status("nextcloud")["dependencies"])

        wait_for(checked, 30, what=f"{container} to be checked")

    def test_killed(self):
        self.machine.run(["kill", "-KILL", self.engine_pid()])
        self.wait_unit("docker.service", "active")
        self.check(gone=True)


class Unavailable(FaultTest):
    """Nobody brings it back in time, or a wake does."""

    config = quick_config("clemence", "memvid", memvid={"globalTimeout": "20s"})

    def setUp(self):
        self.begin()

    def check(self, away):
        """The client is told when globalTimeout is over; who comes when the engine is back is served."""
        with away():
            code, body = self.ask(MEMVID)
            self.assertEqual(code, 503, body)
            self.assertIn("the container engine does not answer", body)
            self.assert_failed("memvid", REASON, self.cursor, "/run/docker.sock", "within 20")
        self.assert_sound()
        self.assert_works("memvid", MEMVID)

    def test_stopped(self):
        @contextlib.contextmanager
        def hidden():
            self.hide_engine()
            yield
            self.show_engine()

        self.addCleanup(self.show_engine)
        self.check(hidden)

    def test_hangs(self):
        self.check(self.engine_stopped)

    def test_stopped_by_an_administrator(self):
        """A wake wants the engine: systemd starts it first."""
        self.machine.systemctl("stop", "docker.service", "docker.socket")
        self.machine.systemctl("reset-failed", "docker.service", check=False)
        self.assert_served(URL)
        self.assertEqual(len(self.records("WAKING", "clemence", self.cursor)), 1)
        self.assert_sound("clemence")

    def test_stays_stopped(self):
        """Its socket listens on, but who settles every minute does not use that. Whoever starts it, or a wake, does."""
        m = self.machine
        m.systemctl("stop", "docker.service")
        m.systemctl("start", "wakechain-settle.service")
        self.assertEqual(self.unit_state("docker.socket"), "active")
        self.assertEqual(self.unit_state("docker.service"), "inactive")
        self.assert_served(URL)
        self.assertEqual(self.unit_state("docker.service"), "active")
        self.assert_sound("clemence")

    def test_away_for_a_stop(self):
        """The engine hangs while a stack is to be stopped: it is stopped when the engine is back."""
        self.assert_served(URL)
        self.wait_unit("wake@clemence.service", "active")
        with self.engine_stopped():
            stop = self.machine.popen(["systemctl", "stop", "wake@clemence.service"])
            self.wait_unit("wake@clemence.service", "deactivating")
            self.remain(3, lambda: self.unit_state("wake@clemence.service") == "deactivating", "it left its containers")
        stop.wait(60)
        self.assert_sound()

    def test_restarted_in_a_stop(self):
        self.assert_served(URL)
        self.wait_unit("wake@clemence.service", "active")
        since = self.machine.now()
        stop = self.machine.popen(["systemctl", "stop", "wake@clemence.service"])
        self.wait_event("nginx-clemence", "die", since)
        self.restart_engine()
        self.assertEqual(stop.wait(60), 0)
        self.assert_sound()
