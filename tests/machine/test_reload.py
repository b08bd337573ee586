"""wakectl reload: systemd reads its units again if they are other ones, and not otherwise."""

import json
import subprocess

from test_same_port import service
from test_settle import SettleTest

LISTEN = """
import socket, sys
server = socket.socket(socket.AF_INET6)
server.bind(("::", int(sys.argv[1])))
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


class Reload(SettleTest):
    services = {"one": service("c-one", 9710)}
    containers = {"c-one": "9710:80", "c-two": "9711:80"}
    two = service("c-two", 9711)

    def tearDown(self):
        self.machine.run("systemctl reset-failed; systemctl unmask --runtime wake@two.socket", check=False)
        super().tearDown()

    def reload(self, *options, expected=0, user=()):
        """What it prints, and tells beside that; whether systemd has read its units again."""
        m = self.machine
        read = ["stat", "-c", "%i", "/run/systemd/generator"]  # another folder each time
        before = m.out(read)
        done = m.run([*user, "wakectl", *options, "reload"], check=False)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        self.assertEqual(m.out("ls -d /tmp/wakectl-reload.* 2>/dev/null || true"), "")
        return done.stdout, done.stderr, m.out(read) != before

    def add(self):
        self.load({**self.services, "two": self.two}, reload=False)

    def test_nothing_to_do(self):
        self.load({"one": {**self.services["one"], "idleTimeout": "9min"}}, reload=False)
        printed, told, read = self.reload()
        self.assertEqual((printed, read), ("", False))
        self.assertIn("need not read them again", told)
        self.assertEqual(json.loads(self.reload("--json")[0]), [])

    def test_new_changed_and_removed(self):
        """When it returns, what is new listens. A client of the others notices nothing."""
        peer = self.peer()
        self.assertEqual(self.who(9710), "c-one")
        self.add()
        units = "wake-control@two.socket, wake@two.socket, wake-front@two.service, wake@two.service"
        for options in (["--dry-run"], []):
            printed, _, read = self.reload(*options)
            first = printed.splitlines()[-1]
            self.assertTrue(first.startswith("added    two: "), printed)
            self.assertEqual(set(first.split(": ")[1].split(", ")), set(units.split(", ")))
            self.assertEqual(read, not options)
            self.assertEqual(29711 in self.listening(), not options)
        self.assertEqual(self.who(9711, peer, peer.machine_ipv4), "c-two")
        self.assertEqual(self.status("one")["state"], "awake")

        self.load({"one": self.services["one"], "two": {**self.two, "redirectPort": 29790}}, reload=False)
        changes = {c["service"]: c for c in json.loads(self.reload("--json")[0])}
        self.assertEqual((changes["two"]["change"], "wake@two.socket" in changes["two"]["units"]), ("changed", True))
        self.assertIn(29790, self.listening())
        self.wait_closed(29711)
        self.assert_agrees()

        self.load(self.services, reload=False)
        self.assertIn("removed  two: ", self.reload()[0])
        self.machine.run("systemctl stop wake@two.service", check=False)
        self.assert_gone("two")

    def test_a_connection_of_what_is_removed(self):
        """It waits while its stack wakes, and is served."""
        self.add()
        self.reload()
        held = self.asking("http://127.0.0.1:9711/slow/2000")
        self.follow("WAKING", "two", self.cursor)
        self.load(self.services, reload=False)
        self.assertIn("removed  two: ", self.reload()[0])
        code, page = self.answered(held)
        self.assertEqual((code, page.split()[:1]), (200, ["c-two"]))

    def test_broken(self):
        """Each error, and nothing is done."""
        self.load({**self.services, "two": {**self.two, "idleTimeout": "soon"}}, reload=False)
        printed, told, read = self.reload(expected=1)
        self.assertEqual((printed, read), ("", False))
        self.assertIn("services.two.idleTimeout", told)
        self.assertIn("Nothing was changed.", told)
        self.machine.write("/etc/wakechain/dependencies.json", '{"services": ')
        self.assertFalse(self.reload(expected=1)[2])
        self.machine.config = None
        self.assertIn(29710, self.listening())

    def test_cannot_listen(self):
        """Somebody else has its port."""
        other = self.machine.netns_popen(["python3", "-I", "-c", LISTEN, "29711"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(other.communicate)
        self.assertEqual(other.stdout.readline(), "listening\n")
        self.add()
        _, told, read = self.reload(expected=1)
        self.assertTrue(read)
        self.assertIn("wake@two.socket does not listen", told)
        self.assertNotIn("wake-control@two.socket does not", told)

    def test_not_root(self):
        self.add()
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        self.assertIn("added    two: ", self.reload("--dry-run", user=user)[0])
        _, told, read = self.reload(user=user, expected=1)
        self.assertIn("root may", told)
        self.assertFalse(read)

    def test_gpu(self):
        """A reload may take it from a container that runs: only if somebody insists, and not for nothing."""
        m = self.machine
        daemon = "/etc/docker/daemon.json"
        config = json.loads(m.run(f"cat {daemon}", check=False).stdout or "{}")
        self.addCleanup(m.run, "systemctl reload docker.service")
        self.addCleanup(m.write, daemon, json.dumps(config))
        m.write(daemon, json.dumps({**config, "runtimes": {"nvidia": {"path": "runc"}}}))
        m.systemctl("reload", "docker.service")
        m.docker("run", "-d", "--name", "c-gpu", "--runtime", "nvidia", "sim")
        self.addCleanup(m.docker, "rm", "-f", "c-gpu")
        self.assertFalse(self.reload()[2])
        self.add()
        printed, told, read = self.reload(expected=1)
        self.assertIn("added    two", printed)
        self.assertIn("c-gpu", told)
        self.assertIn("--force", told)
        self.assertFalse(read)
        self.assertTrue(self.reload("--force")[2])
        self.wait_listening(29711)


class First(SettleTest):
    """Nothing of wakechain runs yet: a machine on which it was just installed."""

    services = {"one": service("c-one", 9710)}
    containers = {"c-one": "9710:80"}

    def test_all_listens(self):
        m = self.machine
        self.load({})
        self.assert_gone("one")
        m.run("systemctl stop 'wake*.socket' 'wakechain*.timer' 'wakechain*.path' 'wakechain*.service'")
        self.assertNotIn(29710, self.listening())
        self.load(self.services, reload=False)
        done = m.run(["wakectl", "reload"])
        self.assertIn("added    one: ", done.stdout)
        for unit in ("wake@one.socket", "wake-control@one.socket", "wakechain-page.socket", "wakechain-web.socket", "wakechain-settle.timer"):
            self.assertEqual(self.unit_state(unit), "active", unit)
        self.assertEqual(self.who(9710), "c-one")
