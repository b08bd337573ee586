"""While a stack is awake: containers die, are stopped, restarted, replaced, removed or paused by somebody else."""

import json
import re
import subprocess

from service_test import Client, ServiceTest, dependency, stacks, users_config

URL = "http://127.0.0.1:8100/"
WAKER = "wake@memvid.service"
NETWORK = "memvid_memvid-network"
ERROR_TIME = re.compile(r"^([\d.]+) \+")


class Awake(ServiceTest):
    config = users_config(memvid={"idleTimeout": "10min"})

    def setUp(self):
        m = self.machine
        self.assert_stopped()
        self.addCleanup(self.sleep, "memvid")
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        wait_ui = m.docker_events_since(m.now() - 30)
        self.assertTrue(wait_ui)
        self.cursor, self.since = m.journal_cursor(), m.now()

    def address(self):
        template = f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}'
        return self.machine.docker("inspect", "--format", template, "memvid-api").strip() + ":8100"

    def assert_served_without_a_new_wake(self):
        """The same waker, the same wake, whatever happened in between."""
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.records("WAKING", "memvid", self.cursor), [])
        self.assertEqual(self.status("memvid")["backends"], [self.address()])

    def assert_refused_for_a_moment_only(self, done, since):
        """New connections failed at most from when somebody reached for the container until the waker, told by the engine, had moved the port."""
        gone = int(self.records("RECOVERING", "memvid", self.cursor)[-1]["__REALTIME_TIMESTAMP"]) / 1e6
        self.assertEqual([e for e in done["errors"] if not since < float(ERROR_TIME.match(e)[1]) < gone + 2], [])

    # A container ends by itself

    def test_crash_is_mended(self):
        m = self.machine
        pid = m.docker("inspect", "--format", "{{.State.Pid}}", "memvid-api").strip()
        client = Client(m, "127.0.0.1", 8100, "memvid-api", interval_ms=20)
        killed = m.now()
        m.run(["kill", "-KILL", pid])
        self.wait_event("memvid-api", "start", self.since)
        self.wait_state("memvid", "awake")
        done = client.finish()
        died = self.events(self.since, "die", containers=["memvid-api"])
        self.assertEqual(len(died), 1, died)
        self.assert_refused_for_a_moment_only(done, killed)
        self.assertGreater(done["held"], 0, "nobody was held meanwhile")
        self.assert_served_without_a_new_wake()
        exits = [r for r in self.machine.journal(WAKER, since_cursor=self.cursor) if "exited with" in r["MESSAGE"]]
        self.assertEqual(len(exits), 1, exits)

    def test_crash_of_a_dependency_is_mended(self):
        m = self.machine
        pid = m.docker("inspect", "--format", "{{.State.Pid}}", "redis-shared").strip()
        m.run(["kill", "-KILL", pid])
        self.wait_event("redis-shared", "start", self.since)
        self.wait_state("memvid", "awake")
        self.assert_served_without_a_new_wake()
        self.assertEqual(self.events(self.since, "die", containers=["memvid-api", "memvid-ui"]), [])

    def test_crash_after_crash_fails(self):
        m = self.machine
        stacks.set_crash(m, "memvid-api", 0.3, code=7)
        self.addCleanup(stacks.set_crash, m, "memvid-api", None)
        m.run(["kill", "-KILL", m.docker("inspect", "--format", "{{.State.Pid}}", "memvid-api").strip()])
        record = self.follow("FAILED", "memvid", self.cursor)
        self.assertEqual(record["WAKECHAIN_REASON"], "container_exited")
        self.wait_unit(WAKER, "failed")
        starts = [c for c in self.starts(self.since) if c == "memvid-api"]
        self.assertLessEqual(len(starts), 2, "started more than twice")
        self.assert_stopped("memvid-api", "redis-shared")
        self.assert_listens("memvid")

    def test_crash_of_an_optional_one(self):
        m = self.machine
        self.assertTrue(m.wait_for(lambda: "memvid-ui" in stacks.running(m)))
        m.run(["kill", "-KILL", m.docker("inspect", "--format", "{{.State.Pid}}", "memvid-ui").strip()])
        self.wait_event("memvid-ui", "die", self.since)
        self.remain(0.5, lambda: self.status("memvid")["state"] == "awake", "an optional one is not waited for")

    # Somebody stops or removes it

    def test_stopped_by_an_administrator(self):
        m = self.machine
        m.docker("stop", "memvid-api")
        self.wait_unit(WAKER, "inactive")
        self.assertEqual(self.status("memvid")["state"], "asleep")
        self.assert_stopped("memvid-api", "memvid-ui", "redis-shared")
        self.assert_listens("memvid")
        self.assertEqual(self.ask(URL)[0], 200)

    def test_client_meanwhile_is_served_by_the_next_wake(self):
        """Who connects after the stop, and before the service sleeps, is held and served."""
        m = self.machine
        m.docker("stop", "memvid-api")
        # Until the waker knows, the port is closed.
        m.wait_for("nft list chain inet wakechain service-memvid | grep -v names | grep -q redirect", interval=0.01)
        self.assertEqual(self.ask(URL, timeout=60)[0], 200)
        self.assert_running("memvid-api", "redis-shared")

    def test_removed_by_an_administrator(self):
        m = self.machine
        m.docker("rm", "-f", "memvid-api")
        self.wait_unit(WAKER, "inactive")
        self.assert_listens("memvid")
        # made again from its project
        self.assertEqual(self.ask(URL, timeout=60)[0], 200)
        self.assert_running("memvid-api", "redis-shared")

    # Somebody restarts or replaces it

    def compose(self, *arguments):
        command = "docker compose" if self.suite() == "trixie" else "docker-compose"
        return self.machine.run(f"cd /opt/memvid && {command} {' '.join(arguments)}", timeout=120)

    def test_restarted_with_compose(self):
        client = Client(self.machine, "127.0.0.1", 8100, "memvid-api", interval_ms=20)
        asked = self.machine.now()
        self.compose("restart", "api")
        self.wait_state("memvid", "awake")
        self.assertEqual(self.ask(URL)[0], 200)
        done = client.finish()
        died = self.events(self.since, "die", containers=["memvid-api"])
        self.assertEqual(len(died), 1, died)
        self.assert_refused_for_a_moment_only(done, asked)
        self.assert_served_without_a_new_wake()

    def test_replaced_with_compose(self):
        """`up -d` with a change: another container of the same name, with another id, and another address if the old is still taken."""
        m = self.machine
        old = m.docker("inspect", "--format", "{{.Id}}", "memvid-api")
        path = "/opt/memvid/docker-compose.yml"
        text = m.read(path)
        self.addCleanup(m.write, path, text)
        m.write(path, text.replace('DELAY_MS: "1000"', 'DELAY_MS: "300"'))
        client = Client(m, "127.0.0.1", 8100, "memvid-api", interval_ms=20)
        asked = m.now()
        self.compose("up", "-d", "--no-deps", "api")
        self.wait_state("memvid", "awake")
        self.assertEqual(self.ask(URL)[0], 200)
        done = client.finish()
        died = self.events(self.since, "die")
        self.assertEqual(len(died), 1, died)
        self.assert_refused_for_a_moment_only(done, asked)
        self.assertNotEqual(m.docker("inspect", "--format", "{{.Id}}", "memvid-api"), old)
        self.assert_served_without_a_new_wake()
        # and it is ours to put to sleep, as the old one was
        self.sleep("memvid")
        self.assert_stopped("memvid-api", "memvid-ui", "redis-shared")

    def test_paused_by_somebody(self):
        """Left alone: somebody makes a backup. Whoever comes meanwhile waits."""
        m = self.machine
        m.docker("pause", "memvid-api")
        client = self.asking(URL)
        self.remain(0.5, lambda: client.poll() is None, "answered by a paused container")
        m.docker("unpause", "memvid-api")
        self.assertEqual(self.answered(client)[0], 200)
        self.assert_served_without_a_new_wake()


class Paused(ServiceTest):
    config = users_config(memvid={"idleTimeout": "10min"})

    def test_unpaused_on_wake(self):
        m = self.machine
        self.addCleanup(stacks.stop, m)
        self.addCleanup(self.sleep, "memvid")
        stacks.start(m, "memvid")
        m.docker("pause", "redis-shared", "memvid-api")
        # Till then it may be taken for one that runs, whose clients wait until it is unpaused.
        self.settle()
        since = m.now()
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.starts(since), [])
        self.assertEqual({c for c, *_ in self.events(since, "unpause")}, {"redis-shared", "memvid-api"})


class SleepByPause(ServiceTest):
    """`sleep: pause` works like stop, and wakes without a boot."""

    config = users_config(memvid={"sleep": "pause", "idleTimeout": "10min"}, nextcloud={"idleTimeout": "10min"})

    def setUp(self):
        self.assert_stopped()
        self.addCleanup(stacks.stop, self.machine)
        self.addCleanup(self.sleep, "memvid", "nextcloud")

    def paused(self):
        return set(self.machine.docker("ps", "--filter", "status=paused", "--format", "{{.Names}}").split())

    def test_pauses_and_wakes(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        m.wait_for(lambda: "memvid-ui" in stacks.running(m))
        m.systemctl("stop", WAKER)
        self.assertEqual(self.paused(), {"redis-shared", "memvid-api", "memvid-ui"})
        self.wait_no_process()
        self.assert_listens("memvid")
        since = m.now()
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        self.assertEqual(self.events(since, "start", "die"), [])
        # still ours
        m.systemctl("stop", WAKER)
        self.assertIn("memvid-api", self.paused())

    def test_shared_with_one_that_stops(self):
        m = self.machine
        m.systemctl("start", WAKER, "wake@nextcloud.service")
        m.systemctl("stop", WAKER)
        self.assertNotIn("redis-shared", self.paused())
        self.assert_running("redis-shared")
        m.systemctl("stop", "wake@nextcloud.service")
        self.assert_stopped("redis-shared", "nextcloud")


class OneShot(ServiceTest):
    """`condition: completed`: a migration that must have run, and does not run again; and `dependsOn`."""

    config = users_config(memvid={"idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        machine.docker("create", "--name", "migrate", "--network", NETWORK, "sim", "/bin/sh", "-c", "true")

    def setUp(self):
        self.addCleanup(self.sleep, "memvid")
        config = json.loads(json.dumps(self.config))
        dependencies = config["services"]["memvid"]["dependencies"]
        dependencies.append({"container": "migrate", "condition": "completed", "dependsOn": ["redis-shared"]})
        dependency(config, "memvid", "memvid-api")["dependsOn"] = ["migrate"]
        self.machine.set_config(config)

    def test_runs_once(self):
        m = self.machine
        since = m.now()
        self.assertEqual(self.ask(URL)[0], 200)
        started = self.starts(since)
        self.assertEqual([c for c in started if c != "memvid-ui"], ["redis-shared", "migrate", "memvid-api"])
        moments = {(c, a): at for c, a, _, at in self.events(since, "start", "die")}
        self.assertLess(moments["migrate", "die"], moments["memvid-api", "start"])
        self.sleep("memvid")
        since = m.now()
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertNotIn("migrate", self.starts(since))


class Execs(ServiceTest):
    """Somebody runs a command in a container: that is use. A health check is none."""

    # The health check of the container runs nearly all the time.
    config = {
        "services": {
            "shop": {
                "port": 9750,
                "name": "shop",
                "idleTimeout": "4s",
                "dependencies": [{"container": "shop", "healthCheck": {"tcp": 80}}],
            }
        }
    }

    @classmethod
    def prepare(cls, machine):
        command = ["create", "--name", "shop", "--publish", "9750:80", "--stop-timeout", "1"]
        command += ["--health-cmd", "sleep 2", "--health-interval", "100ms", "sim", "sh", "-c", "exec httpd -f -p 80 -h /bin"]
        machine.docker(*command)

    def setUp(self):
        m = self.machine
        self.addCleanup(self.sleep, "shop")
        self.cursor = m.journal_cursor()
        m.systemctl("start", "wake@shop.service")

    def backup(self):
        """Runs until it has got its end of file."""
        return self.machine.popen(["docker", "exec", "--interactive", "shop", "cat"], stdin=subprocess.PIPE)

    def test_backup_is_not_cut(self):
        backup = self.backup()
        said = self.follow("BUSY", "shop", self.cursor)["MESSAGE"]
        self.assertEqual(said, "shop stays awake: somebody runs 'cat' in shop")
        self.assertEqual(self.status("shop")["busy"], "somebody runs 'cat' in shop")
        self.remain(5, lambda: backup.poll() is None and self.unit_state("wake@shop.service") == "active", "cut")
        backup.communicate("")
        self.assertEqual(backup.returncode, 0)
        self.follow("ASLEEP", "shop", self.cursor)
        self.assertEqual(len(self.records("BUSY", "shop", self.cursor)), 1)

    def test_explicit_stop_stops(self):
        backup = self.backup()
        self.follow("BUSY", "shop", self.cursor)
        self.machine.systemctl("stop", "wake@shop.service")
        self.assertEqual(backup.wait(timeout=30), 137)


class Busy(ServiceTest):
    """What else than a client and a command in a container keeps a stack awake."""

    config = {
        "services": {
            "jobs": {
                "name": "jobs",
                "port": 9751,
                "idleTimeout": "2s",
                "busy": {"command": "cat /run/job", "exec": False},
                "dependencies": [{"container": "jobs", "healthCheck": {"tcp": 80}}],
            },
            "worker": {
                "name": "worker",
                "idleTimeout": "2s",
                "busy": {"cpu": 5},
                "dependencies": [{"container": "worker", "startupDelay": 100}],
            },
        }
    }

    @classmethod
    def prepare(cls, machine):
        command = ["create", "--name", "jobs", "--publish", "9751:80", "--stop-timeout", "1", "--init"]
        machine.docker(*command, "sim", "sh", "-c", "exec httpd -f -p 80 -h /bin")
        # Busy from its start on, as long as there is a job.
        machine.run("mkdir /run/jobs")
        command = ["create", "--name", "worker", "--volume", "/run/jobs:/jobs:ro", "--stop-timeout", "1", "--init"]
        machine.docker(*command, "sim", "sh", "-c", "while sleep 1; do while [ -e /jobs/one ]; do :; done; done")

    def setUp(self):
        self.addCleanup(self.sleep, "jobs", "worker")
        self.cursor = self.machine.journal_cursor()

    def test_command(self):
        m = self.machine
        m.write("/run/job", "mail 3 of 7\n")
        self.addCleanup(m.run, "rm -f /run/job")
        m.systemctl("start", "wake@jobs.service")
        said = self.follow("BUSY", "jobs", self.cursor)["MESSAGE"]
        self.assertEqual(said, "jobs stays awake: its busy command says so: mail 3 of 7")
        self.assertEqual(self.status("jobs")["busy"], "its busy command says so: mail 3 of 7")
        self.remain(5, lambda: self.unit_state("wake@jobs.service") == "active", "cut")
        m.run("rm /run/job")
        self.follow("ASLEEP", "jobs", self.cursor)
        self.assertIsNone(self.status("jobs")["busy"])

    def test_processors(self):
        m = self.machine
        m.run("touch /run/jobs/one")
        m.systemctl("start", "wake@worker.service")
        said = "its containers use [0-9]+ % of a processor"
        self.assertRegex(self.follow("BUSY", "worker", self.cursor)["MESSAGE"], said)
        self.assertRegex(self.status("worker")["busy"], said)
        m.run("rm /run/jobs/one")
        self.follow("ASLEEP", "worker", self.cursor)

    def test_command_that_hangs(self):
        """Nobody knows what would be cut; and it is gone after its ten seconds."""
        m = self.machine
        m.run("mkfifo /run/job")
        self.addCleanup(m.run, "rm -f /run/job")
        m.systemctl("start", "wake@jobs.service")
        said = self.follow("BUSY", "jobs", self.cursor)["MESSAGE"]
        self.assertEqual(said, "jobs stays awake: its busy command does not end")
        self.assertEqual(self.unit_state("wake@jobs.service"), "active")
        m.run("rm /run/job")
        self.follow("ASLEEP", "jobs", self.cursor)
        self.assertEqual(m.run(["pgrep", "-fx", "cat /run/job"], check=False).stdout, "")
