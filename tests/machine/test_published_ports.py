"""Ports that containers publish: high ones, whose port + 20000 is none, and one of a range."""

from service_test import ServiceTest
from test_same_port import create, service

REDIRECT = "/usr/lib/wakechain/wakechain-redirect"


class PublishedTest(ServiceTest):
    def page(self, port, host="127.0.0.1", timeout=30):
        """The container that a client of the port reaches, and the address of whoever has asked it."""
        code, page = self.ask(f"http://{host}:{port}/", timeout=timeout)
        self.assertEqual(code, 200, page)
        return page.split()[:2]

    def redirect_port(self, name):
        return {int(address.rsplit(":", 1)[1]) for address in self.sockets()[f"wake@{name}.socket"]}


class HighPorts(PublishedTest):
    """Minecraft's and Plex's port, without a word about where the front is to listen."""

    per = "class"
    ports = {"minecraft": 25565, "plex": 32400, "last": 65535, "low": 9700}
    config = {"services": {name: service(f"c-{name}", port) for name, port in ports.items()}}

    @classmethod
    def prepare(cls, machine):
        for name, port in cls.ports.items():
            create(machine, f"c-{name}", f"{port}:80")
        machine.systemctl("restart", "wakechain-redirect.service")

    def test_asleep_awake_asleep(self):
        m = self.machine
        peer = m.add_peer_host()
        for name, port in self.ports.items():
            with self.subTest(port=port):
                for _ in range(2):
                    self.assertEqual(self.page(port)[0], f"c-{name}")
                    self.assertEqual(self.status(name)["state"], "awake")
                    # Straight to the container.
                    page = peer.run(["curl", "-sf", "-m", "10", f"http://{peer.machine_ipv4}:{port}/"]).stdout
                    self.assertEqual(page.split()[:2], [f"c-{name}", peer.ipv4])
                    self.sleep(name)
                    self.assert_stopped(f"c-{name}")
        m.run([REDIRECT, "check"])

    def test_ports_are_apart_and_stay(self):
        m = self.machine
        before = {name: self.redirect_port(name) for name in self.ports}
        self.assertEqual(before["low"], {29700})
        self.assertEqual(len(set.union(*before.values())), len(self.ports))
        for name, ports in before.items():
            self.assertTrue(all(20000 <= port <= 32767 for port in ports), f"{name}: {ports}")
        # A service more, behind the others or before them, moves none.
        more = {"a": service("c-a", 30000), **self.config["services"], "z": service("c-z", 40000)}
        m.set_config({"services": more})
        m.systemctl("daemon-reload")
        for name, ports in before.items():
            self.assertEqual(m.show(f"wake@{name}.socket", "Listen").split()[0].rsplit(":", 1)[1], str(*ports))
        m.set_config(self.config)
        m.systemctl("daemon-reload")


class Range(PublishedTest):
    """The engine takes the next port of the range at each start: the service is at its port all the same."""

    per = "class"
    config = {"services": {"web": service("c-web", 9702)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-web", "9702-9704:80")
        machine.systemctl("restart", "wakechain-redirect.service")

    def published(self):
        ports = self.machine.docker("inspect", "-f", '{{range index .NetworkSettings.Ports "80/tcp"}}{{.HostPort}} {{end}}', "c-web")
        return {int(port) for port in ports.split()}

    def test_whichever_the_engine_takes(self):
        m = self.machine
        peer = m.add_peer_host()
        seen = set()
        for _ in range(4):
            cursor = m.journal_cursor()
            # Asleep, for this machine and for others.
            page = peer.run(["curl", "-sf", "-m", "30", f"http://{peer.machine_ipv4}:9702/"]).stdout
            self.assertEqual(page.split()[0], "c-web")
            taken = self.published()
            seen |= taken
            said = [record["MESSAGE"] for record in self.records("PORT_ELSEWHERE", "web", cursor)]
            self.follow("AWAKE", "web", cursor)
            self.assertEqual(self.page(9702)[0], "c-web")
            page = peer.run(["curl", "-sf", "-m", "10", f"http://{peer.machine_ipv4}:9702/"]).stdout
            self.assertEqual(page.split()[0], "c-web")
            if taken == {9702}:
                self.assertEqual(page.split()[1], peer.ipv4, "it did not go straight to the container")
                self.assertEqual(said, [])
            else:
                self.assertEqual(len(said), 1, said)
                self.assertIn(f"publishes port {min(taken)}, not 9702 ", said[0])
            self.sleep("web")
            self.assert_stopped("c-web")
        self.assertEqual(seen, {9702, 9703, 9704})

    def test_started_again_at_another_port(self):
        """By somebody else, while it is awake: the port moves, and comes back."""
        m = self.machine
        self.assertEqual(self.page(9702)[0], "c-web")
        for _ in range(4):
            cursor = m.journal_cursor()
            m.docker("restart", "-t", "1", "c-web")
            self.follow("AWAKE", "web", cursor, timeout=30)
            self.assertEqual(self.page(9702)[0], "c-web")
        self.sleep("web")


class RangeIdle(PublishedTest):
    """At another port than its own it sleeps as ever, and not while somebody is there."""

    config = {"services": {"web": service("c-web", 9702, idleTimeout="2s")}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-web", "9702-9704:80")
        # Two starts: the next one will not be at 9702.
        for _ in range(2):
            machine.docker("start", "c-web")
            machine.docker("stop", "-t", "1", "c-web")
        machine.systemctl("restart", "wakechain-redirect.service")

    def test_sleeps_when_idle(self):
        m = self.machine
        cursor = m.journal_cursor()
        code, page = self.ask("http://127.0.0.1:9702/slow/4000", timeout=30)
        self.assertEqual((code, page.split()[0]), (200, "c-web"))
        self.assertEqual(len(self.records("PORT_ELSEWHERE", "web", cursor)), 1)
        self.assertEqual(self.records("STOPPING", "web", cursor), [], "a request under way kept nothing awake")
        self.follow("ASLEEP", "web", cursor, timeout=30)
        self.assert_stopped("c-web")
        self.assertEqual(self.page(9702)[0], "c-web")


class RangeIsFull(PublishedTest):
    """All of its ports are taken: said, not waited for."""

    config = {"services": {"web": service("c-web", 9702)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-web", "9702-9703:80")
        for other in ("c-x", "c-y"):
            create(machine, other, "9702-9703:80")
            machine.docker("start", other)

    def test_says_so(self):
        m = self.machine
        self.assertNotEqual(m.run("systemctl start wake@web.service", check=False).returncode, 0)
        status = self.status("web")
        self.assertEqual((status["state"], status["reason"]), ("failed", "port_conflict"), status["error"])
        self.assertIn("all ports are allocated", status["error"])
