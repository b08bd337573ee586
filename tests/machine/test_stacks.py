"""The test machine itself: it boots, the users' stacks are there and stopped, and behave when started by hand."""

import secrets
import time

from machine_test import MachineTest, stacks


class Stacks(MachineTest):
    wakechain = False
    config = None

    def tearDown(self):
        stacks.stop(self.machine)

    def start_and_check(self, stack):
        """Starts a stack in its order; each health command fails before its container serves, and succeeds after."""
        m = self.machine
        self.assert_stopped()
        for step in stacks.STACKS[stack]:
            for container in step:
                if stacks.health(container):
                    self.assertFalse(stacks.healthy(m, container), f"{container} is stopped, and healthy")
            started = {}
            for container in step:
                started[container] = time.monotonic()
                m.docker("start", container)
            for container in step:
                if stacks.health(container):
                    m.wait_for(lambda c=container: stacks.healthy(m, c), what=f"{container} to be healthy")
                    if stack != "clemence":
                        taken = time.monotonic() - started[container]
                        self.assertGreaterEqual(taken, stacks.DELAYS[container], container)
        self.assert_running(*(c for step in stacks.STACKS[stack] for c in step))

    def test_boots(self):
        self.assertEqual(self.machine.out("systemctl is-system-running"), "running")
        version = {"trixie": "257", "bookworm": "252"}[self.machine.suite]
        self.assertRegex(self.machine.out("systemctl --version"), rf"^systemd {version} ")
        self.assertEqual({*stacks.states(self.machine).values()}, {"exited"})

    def test_networks(self):
        networks = self.machine.docker("network", "ls", "--format", "{{.Name}}").split()
        for service in stacks.config().values():
            for dependency in service["dependencies"]:
                network = dependency.get("network", service["network"])
                self.assertIn(network, networks)
                attached = self.machine.docker(
                    "inspect", "--format", "{{json .NetworkSettings.Networks}}", dependency["container"]
                )
                self.assertIn(f'"{network}"', attached, dependency["container"])

    def test_clemence(self):
        m = self.machine
        value = "value " + secrets.token_hex(8)
        stacks.set_page_value(m, value)
        self.assert_stopped()

        self.start_and_check("clemence")
        self.assertIn(value, m.http("http://127.0.0.1:9002/"))
        self.assertIn(value, m.http("http://[::1]:9002/"))

        peer = m.add_peer_host()
        marker = secrets.token_hex(8)
        for address in (peer.machine_ipv4, f"[{peer.machine_ipv6}]"):
            page = peer.run(["curl", "-gfsS", "-A", marker, f"http://{address}:9002/"]).stdout
            self.assertIn(value, page)
        logged = [line for line in m.docker("logs", "nginx-clemence").splitlines() if marker in line]
        self.assertEqual(logged[0].split()[0], peer.ipv4)

    def test_nextcloud(self):
        self.start_and_check("nextcloud")
        self.assertRegex(self.machine.http("http://127.0.0.1:8080/status.php"), r"^nextcloud \S+ \d+ GET /status.php")

    def test_ragflow(self):
        self.start_and_check("ragflow")
        self.assertRegex(self.machine.http("http://127.0.0.1:9500/health"), r"^ragflow-server ")

    def test_memvid(self):
        self.start_and_check("memvid")
        self.assertRegex(self.machine.http("http://127.0.0.1:8100/health"), r"^memvid-api ")
        # Not attached to the network of another stack by accident
        self.assertEqual(stacks.running(self.machine), {"redis-shared", "memvid-api", "memvid-ui"})

    def test_bot(self):
        self.start_and_check("telegram-bot")

    def test_addresses_seen(self):
        """A simulated service names its peer: for the published port that is the client itself, as long as it is IPv4."""
        m = self.machine
        peer = m.add_peer_host()
        stacks.start(m, "memvid")
        body = peer.run(["curl", "-fsS", f"http://{peer.machine_ipv4}:8100/"]).stdout
        self.assertEqual(body.split()[1], peer.ipv4)
        body = peer.python(
            "import socket, sys\n"
            "s = socket.create_connection((sys.argv[1], 8100)); s.sendall(b'hello\\n'); print(s.recv(99))",
            peer.machine_ipv4,
        )
        self.assertEqual(body, "b'hello\\n'\n")

    def test_behaviour_can_be_changed(self):
        m = self.machine
        stacks.set_broken(m, "redis-shared")
        m.docker("start", "redis-shared")
        time.sleep(0.5)
        self.assertFalse(stacks.healthy(m, "redis-shared"))
        stacks.set_broken(m, "redis-shared", False)
        m.wait_for(lambda: stacks.healthy(m, "redis-shared"))
        m.docker("stop", "redis-shared")

        stacks.set_crash(m, "redis-shared", 0.1, code=7)
        since = m.now()
        m.docker("start", "redis-shared")
        died = m.follow_docker_events(lambda e: e["Action"] == "die", since=since)
        self.assertEqual(died["Actor"]["Attributes"]["exitCode"], "7")
        stacks.set_crash(m, "redis-shared", None)
        m.docker("start", "redis-shared")
        m.wait_for(lambda: stacks.healthy(m, "redis-shared"))
        actions = [e["Action"] for e in m.docker_events_since(since) if not e["Action"].startswith("exec_")]
        self.assertEqual(actions, ["start", "die", "start"])

    def test_journal(self):
        m = self.machine
        cursor = m.journal_cursor()
        m.run(["logger", "-t", "stacks", "first"])
        m.popen("sleep 0.3; logger -t stacks second")
        self.assertEqual(m.follow_journal("^second$", 10, since_cursor=cursor)["SYSLOG_IDENTIFIER"], "stacks")
        messages = [r["MESSAGE"] for r in m.journal(since_cursor=cursor, SYSLOG_IDENTIFIER="stacks")]
        self.assertEqual(messages, ["first", "second"])


class SimulatedClemence(MachineTest):
    variant = "clemence-sim"
    wakechain = False
    config = None

    def test_same_names(self):
        m = self.machine
        stacks.start(m, "clemence")
        self.assertRegex(m.http("http://127.0.0.1:9002/"), r"^nginx-clemence ")
        stacks.stop(m, "clemence")
        self.assert_stopped()


class Life(MachineTest):
    wakechain = False
    config = None
    per = "test"

    def test_reboot(self):
        m = self.machine
        m.docker("start", "redis-shared")
        m.write("/etc/kept", "kept\n")
        m.reboot()
        self.assertEqual(m.read("/etc/kept"), "kept\n")
        self.assert_stopped()

    def test_side_by_side(self):
        with self.boot() as other:
            other.docker("start", "redis-shared")
            self.assert_stopped("redis-shared")
            self.machine.docker("start", "redis-shared")
            other.kill()
            self.assert_running("redis-shared")
