"""Containers that several services share: never stopped while one of them is used, asleep when none is, whatever the order and however
sleeps and wakes cross. A random test of hundreds of operations by one actor for each service; WAKECHAIN_SEED sets another."""

import json
import os
import random
import subprocess
import tempfile
import threading
import time

from service_test import ServiceTest, stacks, users_config

SHARING = ("nextcloud", "memvid", "telegram-bot")
OPERATIONS = 510
IDLE = 0.25  # seconds: so short that sleeps cross with the next visit
LIMIT = 60  # seconds that any operation may take: whatever takes longer is stuck


def quick(service):
    """The users' service, asleep a moment after its last client, and without the pauses of containers that nothing can be asked of."""
    dependencies = [
        d if "healthCheck" in d else {**d, "startupDelay": 10} for d in stacks.config()[service]["dependencies"]
    ]
    return {"dependencies": dependencies, "idleTimeout": f"{int(IDLE * 1000)}ms"}


class Actor(threading.Thread):
    """Uses one service, one operation after the other, and notes when its containers had to run."""

    def __init__(self, test, service, seed, operations):
        super().__init__(name=service)
        self.test, self.machine, self.service = test, test.machine, service
        self.random = random.Random(f"{seed}-{service}")
        self.operations = operations
        self.used = []  # (since, until, what), ns of the wall clock
        self.errors = []
        self.counts = {}

    def note(self, begin, end, what):
        self.used.append((begin, end, what))

    def visit(self, linger=0):
        """A client of the port: always served, however it meets with a sleep. It may read its answer slowly."""
        port = stacks.PORTS[self.service]
        path = f"/slow/{int(linger * 1000)}" if linger else "/"
        command = ["curl", "-sS", "-m", str(LIMIT), "-o", "/dev/null", "-w", "%{http_code} %{time_starttransfer}"]
        done = self.machine.run([*command, f"http://127.0.0.1:{port}{path}"], check=False, timeout=LIMIT + 10)
        end = time.time_ns()
        code, took = done.stdout.split() if done.returncode == 0 else ("0", "0")
        if code != "200":
            self.errors.append(f"visit: {code} {done.stderr.strip()}")
        else:
            # while the answer was under way, at the latest
            self.note(end - int(linger * 0.9e9), end, f"visit {took}")

    def visit_slowly(self):
        self.visit(linger=self.random.choice((0.2, 0.5)))

    def hold(self):
        """Started by hand, and held for a while."""
        command = ["sh", "-c", 'systemctl start "wake@$0.service"', self.service]
        done = self.machine.run(command, check=False, timeout=LIMIT)
        if done.returncode != 0:
            self.errors.append(f"start: {done.stderr.strip()}")

    def put_to_sleep(self):
        done = self.machine.run(["systemctl", "stop", f"wake@{self.service}.service"], check=False, timeout=LIMIT)
        if done.returncode != 0:
            self.errors.append(f"stop: {done.stderr.strip()}")

    def pause(self):
        """About as long as it takes until the service sleeps by itself: the next operation meets it going."""
        time.sleep(IDLE * self.random.uniform(0.5, 2.0))

    def run(self):
        visits = (self.visit, self.visit, self.visit_slowly) if self.service in stacks.PORTS else (self.hold,)
        choices = (*visits, self.hold, self.put_to_sleep, self.pause)
        for _ in range(self.operations):
            operation = self.random.choice(choices)
            self.counts[operation.__name__] = self.counts.get(operation.__name__, 0) + 1
            try:
                operation()
            except (subprocess.TimeoutExpired, OSError, ValueError) as e:
                self.errors.append(f"{operation.__name__}: {e!r}")
            if self.errors:
                return


class Leases(ServiceTest):
    config = users_config(**{s.replace("-", "_"): quick(s) for s in SHARING})

    @classmethod
    def prepare(cls, machine):
        for container in ("nextcloud", "memvid-api", "postgresql-shared", "faster-whisper-worker", "telegram-bot"):
            stacks.set_delay(machine, container, 0.05)

    def setUp(self):
        self.assert_stopped()
        self.addCleanup(self.sleep, *SHARING)
        # live: the engine remembers its last 256 events only
        command = ["docker", "events", "--filter", "event=die", "--filter", "event=start", "--format", "{{json .}}"]
        self.told = tempfile.TemporaryFile("w+")
        self.addCleanup(self.told.close)
        self.follower = self.machine.popen(command, stdout=self.told)

    def events_told(self):
        """{"start": […], "die": [(container, ns), …]} since setUp()."""
        self.follower.terminate()
        self.follower.wait(LIMIT)
        self.told.seek(0)
        found = {"start": [], "die": []}
        for line in self.told:
            event = json.loads(line)
            found[event["Action"]].append((event["Actor"]["Attributes"]["name"], event["timeNano"]))
        return found

    def needed(self, service):
        return {d["container"] for d in self.config["services"][service]["dependencies"] if d.get("type") != "optional"}

    def assert_asleep(self):
        for service in SHARING:
            self.wait_unit(f"wake@{service}.service", "inactive")
        self.assert_stopped()

    def assert_never_stopped_in_use(self, actors, ends):
        for actor in actors:
            needed = self.needed(actor.service)
            for begin, end, what in actor.used:
                dead = [(c, (at - begin) / 1e9) for c, at in ends if c in needed and begin < at < end]
                self.assertEqual(dead, [], f"ended while {actor.service} was used: {what}, {(end - begin) / 1e9} s")

    def test_random(self):
        seed = os.environ.get("WAKECHAIN_SEED", "2026")
        began = time.monotonic()
        actors = [Actor(self, service, seed, OPERATIONS // len(SHARING)) for service in SHARING]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        took = time.monotonic() - began
        self.assertEqual({a.service: a.errors for a in actors if a.errors}, {}, f"seed {seed}")
        # nobody uses anything any more: all of it sleeps by itself
        self.assert_asleep()
        told = self.events_told()
        counts = {a.service: a.counts for a in actors}
        print(f"seed {seed}: {counts}, {len(told['start'])} starts, {len(told['die'])} ends, {took:.0f} s")
        self.assert_never_stopped_in_use(actors, told["die"])
        # each end was of something that ran: the last of both is equal
        self.assertEqual(len(told["start"]), len(told["die"]))
        self.assertEqual(self.records("FAILED"), [])
        self.wait_no_process()


class Sharing(ServiceTest):
    config = users_config(
        **{s.replace("-", "_"): {**quick(s), "idleTimeout": "10min"} for s in SHARING},
    )

    def setUp(self):
        self.assert_stopped()
        self.since = self.machine.now()
        self.addCleanup(self.sleep, *SHARING)

    def test_last_user_stops_it(self):
        m = self.machine
        m.systemctl("start", "wake@memvid.service", "wake@telegram-bot.service", "wake@nextcloud.service")
        for service in SHARING[:-1]:
            m.systemctl("stop", f"wake@{service}.service")
            self.assertIn("redis-shared", stacks.running(m))
        m.systemctl("stop", f"wake@{SHARING[-1]}.service")
        self.assert_stopped("redis-shared")

    def test_what_a_user_has_started(self):
        """It goes on as long as wakechain has never started it, nor put it to sleep. What it had once is its own, whoever starts it."""
        m = self.machine
        m.run("rm -f /run/wakechain/lease/redis-shared /var/lib/wakechain/lease/redis-shared")
        m.docker("start", "redis-shared")
        self.addCleanup(m.docker, "stop", "redis-shared")
        m.systemctl("start", "wake@memvid.service")
        self.assertEqual(self.starts(self.since).count("redis-shared"), 1)
        m.systemctl("stop", "wake@memvid.service")
        self.assert_running("redis-shared")
        self.assert_stopped("memvid-api", "memvid-ui")

        m.docker("stop", "redis-shared")
        m.systemctl("start", "wake@memvid.service")
        m.systemctl("stop", "wake@memvid.service")
        self.assert_stopped("redis-shared")
        m.docker("start", "redis-shared")
        m.systemctl("start", "wake@memvid.service")
        m.systemctl("stop", "wake@memvid.service")
        self.assert_stopped("redis-shared")


class Adopted(ServiceTest):
    """`adopt` takes what runs already as started by us; `keep` is never stopped."""

    config = users_config(
        memvid={
            "adopt": True,
            "dependencies": [
                {**d, "keep": True} if d["container"] == "memvid-ui" else d
                for d in stacks.config()["memvid"]["dependencies"]
            ],
        }
    )

    def setUp(self):
        self.assert_stopped()
        self.addCleanup(stacks.stop, self.machine)
        self.addCleanup(self.sleep, "memvid")

    def test_stopped_although_started_by_a_user(self):
        m = self.machine
        m.docker("start", "redis-shared", "memvid-api")
        m.systemctl("start", "wake@memvid.service")
        self.wait_event("memvid-ui", "start", m.now() - 30)
        m.systemctl("stop", "wake@memvid.service")
        self.assert_stopped("redis-shared", "memvid-api")

    def test_kept(self):
        m = self.machine
        since = m.now()
        m.systemctl("start", "wake@memvid.service")
        self.wait_event("memvid-ui", "start", since)
        m.systemctl("stop", "wake@memvid.service")
        self.assert_running("memvid-ui")
        self.assert_stopped("redis-shared", "memvid-api")
