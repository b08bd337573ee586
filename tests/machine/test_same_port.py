"""Two stacks that publish the same port on the same address: who runs has it, else the first, and the other one is told."""

from service_test import ServiceTest

PORT = 9700
URL = f"http://127.0.0.1:{PORT}/"
REDIRECT = "/usr/lib/wakechain/wakechain-redirect"


def service(container, port, **members):
    """A stack of one container, which answers HTTP with its name."""
    check = {"container": container, "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 20000}}
    return {"name": container, "port": port, "network": "same-port", "idleTimeout": 0, "page": "never", "dependencies": [check], **members}


def create(machine, container, published):
    if "same-port" not in machine.docker("network", "ls", "--format", "{{.Name}}").split():
        machine.docker("network", "create", "same-port")
    options = ["--network", "same-port", "-e", "PORT=80", "-p", published]
    machine.docker("create", "--name", container, "--hostname", container, *options, "sim", "server")


class SamePort(ServiceTest):
    per = "class"
    config = {"services": {"one": service("c-one", PORT), "two": service("c-two", PORT, redirectPort=29799)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-one", f"{PORT}:80")
        create(machine, "c-two", f"{PORT}:80")
        # Now it is known where they are published.
        machine.systemctl("restart", "wakechain-redirect.service")

    def setUp(self):
        """`one` has it."""
        m = self.machine
        m.run("systemctl stop wake@one.socket wake@two.socket 'wake@*.service' 'wake-front@*.service'")
        m.systemctl("reset-failed", "wake@*.service", check=False)
        m.systemctl("start", "wake@one.socket")
        self.settle()
        self.cursor = m.journal_cursor()
        m.systemctl("start", "wake@two.socket")
        self.settle()

    def who(self, timeout=30):
        """The container that a client of the port reaches."""
        code, page = self.ask(URL, timeout=timeout)
        return page.split()[0] if code == 200 else f"HTTP {code}"

    def check(self):
        """What `wakechain-redirect check` says: {service: words}"""
        out = self.machine.run([REDIRECT, "check"], check=False).stdout
        return {line.split()[0]: line for line in out.splitlines()}

    def assert_both_listen(self):
        self.assert_listens("one")
        self.assert_listens("two")

    def test_the_first_keeps_it(self):
        """Asleep, awake, asleep again: clients reach `one`."""
        said = self.records("PORT_SHARED", "two", self.cursor)
        self.assertEqual(len(said), 1)
        self.assertIn("'one'", said[0]["MESSAGE"])
        self.assertIn("'listen'", said[0]["MESSAGE"])
        self.assertEqual(self.records("PORT_SHARED", "one", self.cursor), [])
        self.assert_both_listen()
        self.assertRegex(self.check()["one"], r" up +asleep$")
        self.assertRegex(self.check()["two"], r" shared .*: one$")

        self.assertEqual(self.who(), "c-one")
        self.assertEqual(self.who(), "c-one")
        self.sleep("one")
        self.assertEqual(self.who(), "c-one")
        self.assert_stopped("c-two")
        # Who settles again says nothing again.
        for _ in range(2):
            self.settle()
            self.assertEqual(self.who(), "c-one")
        self.assertEqual(len(self.records("PORT_SHARED", since=self.cursor)), 1)

    def test_the_other_by_hand_while_the_first_is_awake(self):
        """The engine cannot have both; the first one is not disturbed."""
        self.assertEqual(self.who(), "c-one")
        self.fails(["systemctl", "start", "wake@two.service"])
        failed = self.records("FAILED", "two", self.cursor)
        self.assertEqual(failed[-1]["WAKECHAIN_REASON"], "port_conflict")
        self.assertIn(f":{PORT} failed: port is already allocated; `ss -ltnp` says who", failed[-1]["MESSAGE"])
        self.assertEqual(self.who(), "c-one")
        self.assert_running("c-one")
        self.assert_stopped("c-two")
        self.assert_both_listen()

    def test_the_other_by_hand_while_the_first_sleeps(self):
        """The engine has given it the port, so clients reach it, and the first one cannot be woken meanwhile. That is said."""
        m = self.machine
        m.systemctl("start", "wake@two.service")
        self.assertEqual(self.status("two")["state"], "awake")
        self.assert_running("c-two")
        self.settle()
        self.assertIn("'two'", self.records("PORT_SHARED", "one", self.cursor)[-1]["MESSAGE"])
        self.assertEqual(self.who(), "c-two")
        self.assertRegex(self.check()["one"], r" shared .*: two$")

        self.fails(["systemctl", "start", "wake@one.service"])
        failed = self.records("FAILED", "one", self.cursor)
        self.assertEqual(failed[-1]["WAKECHAIN_REASON"], "port_conflict")
        self.assertIn(f":{PORT} failed: port is already allocated; `ss -ltnp` says who", failed[-1]["MESSAGE"])
        self.assertEqual(self.status("two")["state"], "awake")
        self.assertEqual(self.who(), "c-two")

        # As soon as it sleeps again, all is as before.
        self.sleep("one", "two")
        self.assert_stopped("c-one", "c-two")
        self.settle()
        self.assertEqual(self.who(), "c-one")
        self.assert_both_listen()

    def test_heir(self):
        """When the first one's socket is stopped, the other one has the port; and again while it runs, when that is back."""
        m = self.machine
        self.assertEqual(self.who(), "c-one")
        self.sleep("one")
        m.systemctl("stop", "wake@one.socket")
        self.settle()
        self.assertEqual(self.who(), "c-two")
        cursor = m.journal_cursor()
        m.systemctl("start", "wake@one.socket")
        self.settle()
        self.assertIn("'two'", self.records("PORT_SHARED", "one", cursor)[0]["MESSAGE"])
        self.assertEqual(self.who(), "c-two")
        self.sleep("two")
        self.settle()
        self.assertEqual(self.who(), "c-one")

    def test_published_elsewhere(self):
        """When the first one's container publishes another port, the other one has it, within a minute."""
        m = self.machine
        m.docker("rm", "c-one")
        create(m, "c-one", "127.0.0.9:9700:80")
        try:
            self.settle()
            self.assertEqual(self.who(), "c-two")
            self.assertRegex(self.check()["two"], r" lifted +awake$")
            self.sleep("two")
            self.settle()
            self.assertEqual(self.ask("http://127.0.0.9:9700/")[1].split()[:1], ["c-one"])
            self.assertEqual(self.records("PORT_SHARED", since=self.cursor)[1:], [])
        finally:
            self.sleep("one", "two")
            m.docker("rm", "c-one")
            create(m, "c-one", f"{PORT}:80")
            m.systemctl("restart", "wakechain-redirect.service")

    def test_reboot(self):
        """One of both has it after a boot; both can be used, one after the other."""
        m = self.machine
        m.reboot()
        self.assert_both_listen()
        first = self.who()
        self.assertIn(first, ("c-one", "c-two"))
        other = {"c-one": "two", "c-two": "one"}[first]
        self.assertEqual(len(self.records("PORT_SHARED", other)), 1)
        self.sleep("one", "two")
        self.assertEqual(self.who(), first)


class DifferentAddresses(ServiceTest):
    """The same port on two addresses: nobody is in anybody's way."""

    per = "class"
    config = {"services": {"one": service("c-one", 9701), "two": service("c-two", 9701)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-one", "127.0.0.1:9701:80")
        create(machine, "c-two", "127.0.0.2:9701:80")
        machine.systemctl("restart", "wakechain-redirect.service")

    def test_side_by_side(self):
        m = self.machine
        self.assertEqual(self.records("PORT_SHARED"), [])
        for names in (("one", "two"), ("two", "one")):
            for name in names:
                address = {"one": "127.0.0.1", "two": "127.0.0.2"}[name]
                for _ in range(2):
                    code, page = self.ask(f"http://{address}:9701/")
                    self.assertEqual((code, page.split()[0]), (200, f"c-{name}"), page)
            self.sleep(names[0])
            self.assertEqual(self.status(names[1])["state"], "awake")
            address = {"one": "127.0.0.1", "two": "127.0.0.2"}[names[1]]
            self.assertEqual(self.ask(f"http://{address}:9701/")[1].split()[0], f"c-{names[1]}")
            self.sleep(*names)
        m.run([REDIRECT, "check"])
