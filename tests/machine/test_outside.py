"""Stacks that somebody else starts: awake, with the trigger `outside`, and asleep again when nobody uses them, if they are wakechain's own.
What says so of a stack without a waker, and starts that, is played here: the status file is written by hand."""

import json
import time

from service_test import ServiceTest, required, stacks, users_config

URL = "http://127.0.0.1:8100/"
WAKER = "wake@memvid.service"
CONTAINERS = ("redis-shared", "memvid-api")
STATUS = "/run/wakechain/status/memvid.json"


class OutsideTest(ServiceTest):
    per = "test"
    config = users_config(memvid={**required("memvid"), "idleTimeout": "4s"})

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "memvid-api", 0.2)

    def know(self):
        """Woken by a client once, and asleep again: wakechain's own from then on."""
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")
        self.assert_stopped(*CONTAINERS)

    def start_outside(self):
        """What `docker start` and the next look at it do."""
        m = self.machine
        self.cursor, self.since = m.journal_cursor(), m.now()
        m.docker("start", *CONTAINERS)
        said = {"service": "memvid", "state": "awake", "since": "2026-01-05T08:00:00.000000Z", "trigger": "outside", "dependencies": []}
        m.write(STATUS, json.dumps(said), mode=0o640)
        m.run(["chown", "root:wakechain", STATUS])
        m.systemctl("start", WAKER)

    def assert_state(self, state, trigger):
        status = self.status("memvid")
        self.assertEqual((status["state"], status["trigger"]), (state, trigger))

    def assert_direct(self):
        """A request that no front sees."""
        self.machine.systemctl("stop", "wake-front@memvid.service")
        code, page = self.ask(URL)
        self.assertEqual((code, page.split()[0]), (200, "memvid-api"))
        self.assertEqual(self.unit_state("wake-front@memvid.service"), "inactive")

    def assert_runs_on(self):
        self.wait_unit(WAKER, "inactive")
        self.assertEqual(self.machine.show(WAKER, "Result"), "success")
        self.assert_running(*CONTAINERS)
        self.assert_state("awake", "outside")
        self.assertEqual({d["state"] for d in self.status("memvid")["dependencies"]}, {"ready"})
        record = self.follow("RUNS_ON", "memvid", self.cursor)
        self.assertIn("started by somebody else", record["MESSAGE"])
        self.assert_direct()

    def assert_sleeps(self, trigger="outside"):
        self.wait_unit(WAKER, "inactive")
        self.assert_stopped(*CONTAINERS)
        self.assert_state("asleep", trigger)
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")


class Outside(OutsideTest):
    def test_known_one_sleeps_again(self):
        self.know()
        self.start_outside()
        self.assert_state("awake", "outside")
        self.assertEqual(self.status("memvid")["since"], "2026-01-05T08:00:00.000000Z", "it never was anything else")
        self.assertEqual(self.records("WAKING", since=self.cursor), [])
        self.assertEqual(sorted(self.starts(self.since)), sorted(CONTAINERS))
        self.assert_direct()
        self.assert_sleeps()

    def test_made_anew_with_compose(self):
        """`up -d` after an upgrade: other containers, of the names that are known."""
        m = self.machine
        self.know()
        command = "docker compose" if self.suite() == "trixie" else "docker-compose"
        m.run(f"cd /opt/memvid && {command} up -d --no-deps --force-recreate api", timeout=120)
        self.start_outside()
        self.assert_state("awake", "outside")
        self.assert_sleeps()

    def test_known_over_a_reboot(self):
        self.know()
        self.machine.reboot()
        self.assert_stopped(*CONTAINERS)
        self.start_outside()
        self.assert_sleeps()

    def test_client_of_what_was_started_by_hand(self):
        """Whoever comes before anything is noticed is served by what runs, which sleeps after it."""
        notice = ("wakechain-containers.path", "wakechain-settle.timer")
        self.know()
        self.machine.systemctl("stop", *notice)
        self.addCleanup(self.machine.systemctl, "start", *notice)
        self.machine.docker("start", *CONTAINERS)
        since = self.machine.now()
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.starts(since), [])
        self.assert_sleeps("connection")

    def test_unknown_one_runs_on_until_it_is_put_to_sleep(self):
        m = self.machine
        self.start_outside()
        self.assert_runs_on()
        m.run(["wakectl", "sleep", "memvid"])
        self.assert_stopped(*CONTAINERS)
        self.assert_state("asleep", "outside")
        # and from now on it is known
        self.start_outside()
        self.assert_sleeps()

    def test_unknown_one_outlives_the_stop_of_its_waker(self):
        self.start_outside()
        self.machine.systemctl("stop", WAKER)
        self.assert_runs_on()

    def test_missing_need_is_started(self):
        m = self.machine
        self.know()
        m.docker("start", "memvid-api")
        since = m.now()
        m.write(STATUS, json.dumps({"service": "memvid", "state": "awake", "trigger": "outside", "dependencies": []}), mode=0o644)
        m.systemctl("start", WAKER)
        self.assert_state("awake", "outside")
        self.assertEqual(self.starts(since), ["redis-shared"])
        self.assert_sleeps()

    def test_gone_again(self):
        """The look is older than the end of what it saw."""
        m = self.machine
        m.write(STATUS, json.dumps({"service": "memvid", "state": "awake", "trigger": "outside", "dependencies": []}), mode=0o644)
        since = m.now()
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(sorted(self.starts(since)), sorted(CONTAINERS))
        self.assert_sleeps("connection")


class OwnRuns(OutsideTest):
    """`adopt: false`: whatever wakechain did before, only what it has started itself."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "4s", "adopt": False})

    def test_runs_on_although_known(self):
        self.know()
        self.start_outside()
        self.assert_runs_on()

    def test_own_run_sleeps(self):
        self.assertEqual(self.ask(URL)[0], 200)
        self.assert_sleeps("connection")


class Left(OutsideTest):
    """A waker that died and was stopped before its restart: no lock is left, and nobody watches."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "6s"})

    def test_next_waker_goes_on(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        m.systemctl("stop", "wake-front@memvid.service")
        self.drop_in("wake@.service", "[Service]\nRestartSec=30\n")
        self.kill_main(WAKER)
        m.wait_for(lambda: m.show(WAKER, "SubState") == "auto-restart", 20)
        m.systemctl("stop", WAKER)
        # Who settles finds it running, and has another one watch it.
        cursor, since = m.journal_cursor(), m.now()
        self.assert_running(*CONTAINERS)
        self.wait_unit(WAKER, "active")
        status = self.status("memvid")
        self.assertEqual(status["state"], "awake")
        self.assertEqual(self.records("WAKING", since=cursor), [])
        self.assertEqual(self.starts(since), [])
        self.assert_direct()
        self.assert_sleeps(status["trigger"])


class Renamed(OutsideTest):
    """A container that is renamed while its stack is awake stays the one."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})

    def setUp(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        m.docker("rename", "memvid-api", "renamed")

    def state_of(self, container):
        return self.machine.docker("inspect", "--format", "{{.State.Status}}", container).strip()

    def test_is_stopped_under_its_new_name(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        m.systemctl("stop", WAKER)
        self.assertEqual(self.state_of("renamed"), "exited")

        # The next wake says what is wrong, and what to do.
        cursor = m.journal_cursor()
        code, _ = self.ask(URL)
        self.assertNotEqual(code, 200)
        record = self.follow("FAILED", "memvid", cursor)
        self.assertEqual(record["WAKECHAIN_REASON"], "not_found")
        self.assertIn("docker rename renamed memvid-api", record["MESSAGE"])
        m.docker("rename", "renamed", "memvid-api")
        m.systemctl("stop", "wake-front@memvid.service")
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")

    def test_crash_under_its_new_name_is_mended(self):
        m = self.machine
        since = m.now()
        m.run(["kill", "-KILL", m.docker("inspect", "--format", "{{.State.Pid}}", "renamed").strip()])
        self.wait_event("renamed", "start", since)
        self.wait_state("memvid", "awake")
        self.assertEqual(self.ask(URL)[0], 200)

    def test_another_one_takes_the_name(self):
        m = self.machine
        m.docker("run", "-d", "--name", "memvid-api", "--entrypoint", "sleep", "sim", "1000")
        self.assertEqual(self.ask(URL)[0], 200)
        m.systemctl("stop", WAKER)
        self.assertEqual(self.state_of("renamed"), "exited")
        self.assertEqual(self.state_of("memvid-api"), "running")


class Damaged(OutsideTest):
    """Files that somebody damages or removes while the stack is awake."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})
    files = (STATUS, *(f"{f}/wakechain/lease/{c}" for f in ("/run", "/var/lib") for c in CONTAINERS))

    def is_whole(self, path):
        try:
            said = json.loads(self.machine.run(["cat", path], check=False).stdout)
        except ValueError:
            return False
        return said.get("state") == "awake" if path == STATUS else said.get("ours") is True

    def test_right_again_within_the_minute(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        files = " ".join(self.files)
        damages = (
            f"for f in {files}; do head -c 300 /dev/urandom > $f; done",
            f"rm -f {files}",
            f"for f in {files}; do rm -f $f; mkdir $f; done",
        )
        for damage in damages:
            with self.subTest(damage):
                began = time.monotonic()
                m.run(damage)
                m.wait_for(lambda: all(self.is_whole(path) for path in self.files), 60, what="the files to be whole")
                print(f"whole after {time.monotonic() - began:.0f} s")
        # The locks are those of the files that are there.
        for container in CONTAINERS:
            done = m.run(["flock", "-nx", f"/run/wakechain/lease/{container}", "true"], check=False)
            self.assertNotEqual(done.returncode, 0, f"nobody holds the lease of {container}")
        self.sleep("memvid")
        self.assert_stopped(*CONTAINERS)
