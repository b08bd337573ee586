"""Steps: what starts when, what is waited for, and what stops when; by `systemctl start` and `stop`."""

import subprocess

from service_test import ServiceTest, dependency, stacks, users_config

FIRST = ("ragflow-mysql", "ragflow-redis", "ragflow-minio", "ragflow-es-01")
SERVER = "ragflow-server"


class OrderTest(ServiceTest):
    per = "module"
    config = users_config(memvid={"dependencies": stacks.config()["memvid"]["dependencies"], "globalTimeout": "10s"})
    dependency(config, "memvid", "memvid-ui")["startupDelay"] = "1s"
    for container in ("faster-whisper-worker", "rq-exporter-whisperx", "telegram-bot"):
        dependency(config, "telegram-bot", container)["startupDelay"] = "300ms"
    del container

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "ragflow-es-01", 0.5)
        stacks.set_delay(machine, SERVER, 1)


class Ragflow(OrderTest):
    """Four containers in the first step, the server in the second."""

    def test_start_and_stop(self):
        m = self.machine
        # Not one of the four gets ready: if any was waited for, another would never be started.
        for container in FIRST:
            stacks.set_broken(m, container)
        cursor, since = m.journal_cursor(), m.now()
        start = m.popen(["systemctl", "start", "wake@ragflow.service"])
        started = set()

        def all_started(event):
            if event["Action"] == "start":
                started.add(event["Actor"]["Attributes"]["name"])
            return started >= set(FIRST)

        m.follow_docker_events(all_started, since, timeout=20)
        self.assertEqual(self.records("DEPENDENCY", "ragflow", cursor), [])
        self.assertIsNone(start.poll(), "systemctl start returned before anything was ready")
        self.assertNotIn(SERVER, started)
        for container in FIRST:
            stacks.set_broken(m, container, False)

        self.assertEqual(start.wait(60), 0)
        self.assertTrue(stacks.healthy(m, SERVER))
        self.assertRegex(m.http("http://127.0.0.1:9500/"), f"^{SERVER} ")
        self.assertEqual(self.unit_state("wake@ragflow.service"), "active")
        self.assertEqual(self.status("ragflow")["state"], "awake")
        self.assertEqual(self.status("ragflow")["trigger"], "manual")
        self.check_server_came_last(since)
        self.check_stop()

    def check_server_came_last(self, since):
        server = self.events(since, "start", containers=[SERVER])[0][3]
        for container in FIRST:
            ready = [e[3] for e in self.events(since, "exec_die", containers=[container]) if e[2] == "0"]
            self.assertLess(ready[0], server, f"{SERVER} was started before {container} was ready")
        self.assertEqual(len(self.starts(since)), 5)

    def check_stop(self):
        m = self.machine
        since = m.now()
        m.systemctl("stop", "wake@ragflow.service")
        self.assert_stopped(*FIRST, SERVER)
        # A container is first killed (SIGTERM), then dies: the others' end begins after the server's is done.
        server = self.events(since, "die", containers=[SERVER])[0][3]
        for container in FIRST:
            self.assertGreater(self.events(since, "kill", containers=[container])[0][3], server, container)
        self.assertEqual(self.unit_state("wake@ragflow.service"), "inactive")
        self.assert_listens("ragflow")


class Bot(OrderTest):
    """A service without a port: no front, woken by hand."""

    def test_by_hand(self):
        m = self.machine
        self.assertNotIn("wake@telegram-bot.socket", self.sockets())
        since = m.now()
        m.systemctl("start", "wake@telegram-bot.service")
        self.assert_running("redis-shared", "faster-whisper-worker", "telegram-bot")
        self.wait_event("rq-exporter-whisperx", "start", since)
        starts = [name for name in self.starts(since) if name != "rq-exporter-whisperx"]
        self.assertEqual(starts, ["redis-shared", "faster-whisper-worker", "telegram-bot"])
        self.assertEqual(self.status("telegram-bot")["backends"], [])
        m.systemctl("stop", "wake@telegram-bot.service")
        self.assert_stopped("redis-shared", "faster-whisper-worker", "rq-exporter-whisperx", "telegram-bot")
        self.assertEqual(self.unit_state("wake@telegram-bot.service"), "inactive")


class Failing(OrderTest):
    """What a wake makes of members that do not come."""

    def test_optional(self):
        """Awake, with a warning."""
        m = self.machine
        stacks.set_crash(m, "memvid-ui", 0.05, code=3)
        self.addCleanup(stacks.set_crash, m, "memvid-ui", None)
        self.addCleanup(self.sleep, "memvid")
        cursor = m.journal_cursor()
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        warning = self.follow("DEPENDENCY_FAILED", "memvid", cursor, WAKECHAIN_DEPENDENCY="memvid-ui")
        self.assertEqual(warning["PRIORITY"], "4")
        self.assertEqual(warning["WAKECHAIN_REASON"], "container_exited")
        self.assertIn("memvid-ui", warning["MESSAGE"])
        self.assertEqual(self.records("FAILED", "memvid", cursor), [])
        self.assertEqual(self.unit_state("wake@memvid.service"), "active")
        self.assertEqual(self.status("memvid")["state"], "awake")

    def test_global_timeout(self):
        """Fails when that is over, although the check alone would be allowed more; and clears up."""
        m = self.machine
        stacks.set_broken(m, "memvid-api")
        self.addCleanup(stacks.set_broken, m, "memvid-api", False)
        cursor = m.journal_cursor()
        done = m.run(["systemctl", "start", "wake@memvid.service"], check=False, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 1, done.stdout)
        end = self.records("FAILED", "memvid", cursor)[0]
        self.assertEqual(end["WAKECHAIN_REASON"], "global_timeout")
        status = self.status("memvid")
        self.assertEqual((status["state"], status["reason"]), ("failed", "global_timeout"))
        self.assert_stopped("redis-shared", "memvid-api", "memvid-ui")
        self.assert_listens("memvid")
