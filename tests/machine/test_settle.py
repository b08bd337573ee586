"""One owner of the truth: whatever is done to file, sockets, containers and files, what follows agrees with it again."""

import json
import os
import random
import subprocess

from service_test import ServiceTest, front_options, stacks, wait_for
from test_same_port import create, service

REDIRECT = "/usr/lib/wakechain/wakechain-redirect"
SOON = 30  # within two seconds, on a machine that has nothing else to do

# A connection, for as long as stdin is open: each line is sent, and must come back.
TALK = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
for line in sys.stdin:
    connection.sendall(line.encode())
    got = b""
    while not got.endswith(b"\\n"):
        more = connection.recv(4096)
        if not more:
            print("end", flush=True)
            sys.exit()
        got += more
    print(got.decode(), end="", flush=True)
"""
# Takes a port, and whatever comes there.
SQUAT = """
import socket, sys
try:
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", int(sys.argv[1])))
    server.listen()
except OSError as e:
    print(e, flush=True)
    sys.exit()
print("bound", flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nsquatter\\n")
    connection.close()
"""


class Talk:
    """A connection under way, of this machine or of another host: says something, and hears it."""

    def __init__(self, where, port, address="127.0.0.1"):
        popen = getattr(where, "netns_popen", None) or where.popen
        command = ["python3", "-I", "-c", TALK, address, str(port)]
        self._process = popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def begin(self, text):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def heard(self):
        return self._process.stdout.readline().strip()

    def say(self, text):
        self.begin(text)
        return self.heard()

    def close(self):
        self._process.kill()
        self._process.communicate()


class SettleTest(ServiceTest):
    """Services of one container each, which answer HTTP with the container's name."""

    per = "class"
    services = {}
    containers = {}  # NAME: what it publishes

    @classmethod
    def setUpClass(cls):
        cls.config = {"services": cls.services}
        super().setUpClass()

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=200ms --pause-max=200ms")
        for name, published in cls.containers.items():
            create(machine, name, published)
        machine.systemctl("restart", "wakechain-settle.service")

    def setUp(self):
        self.cursor = self.machine.journal_cursor()

    def tearDown(self):
        """As it was, whatever has failed."""
        m = self.machine
        m.run("systemctl stop 'wake@*.service' 'wake-front@*.service'", check=False)
        stacks.stop(m)
        if m.config != self.config:
            self.load(self.services)
        m.systemctl("reset-failed")
        m.systemctl("start", *(f"wake@{name}.socket" for name in self.services))

    # What is done

    def load(self, services, reload=True):
        """These are the file's services from now on."""
        self.machine.set_config({"services": services})
        if reload:
            self.machine.systemctl("daemon-reload")

    def with_members(self, name, **members):
        """All services, of which that one has other members; None: without it."""
        service = {k: v for k, v in {**self.services[name], **members}.items() if v is not None}
        return {**self.services, name: service}

    def anew(self, container, published, *options):
        """Its container is made anew, by somebody who knows nothing of wakechain."""
        self.machine.docker("rm", "-f", container)
        create(self.machine, container, published)

    def talk(self, port, where=None, address="127.0.0.1"):
        talk = Talk(where or self.machine, port, address)
        self.addCleanup(talk.close)
        return talk

    # What is to be seen

    def agrees(self):
        """All that `check` shows is as it should be, and nothing of wakechain's has failed."""
        done = self.machine.run([REDIRECT, "check"], check=False)
        failed = self.machine.run("systemctl list-units --failed --no-legend --plain 'wake*'", check=False).stdout
        return done.returncode == 0 and not failed, done.stdout + done.stderr + failed

    def assert_agrees(self, timeout=SOON):
        said = None

        def look():
            nonlocal said
            good, said = self.agrees()
            return good

        try:
            wait_for(look, timeout)
        except AssertionError:
            self.fail(f"does not agree within {timeout} s:\n{said}")

    def listening(self):
        """Ports of TCP that somebody listens on, of this machine."""
        return {int(line.split()[3].rsplit(":", 1)[1]) for line in self.machine.out("ss -Hlnt").splitlines()}

    def wait_listening(self, *ports):
        wait_for(lambda: set(ports) <= self.listening(), SOON, what=f"{ports} to listen")

    def wait_closed(self, *ports):
        wait_for(lambda: not set(ports) & self.listening(), SOON, what=f"{ports} to be closed")

    def who(self, port, where=None, address="127.0.0.1", timeout=30):
        """The container that a client reaches."""
        code, page = self.ask(f"http://{address}:{port}/", timeout=timeout, where=where)
        return page.split()[0] if code == 200 else f"HTTP {code}"

    def soon(self, port, container, where=None, address="127.0.0.1"):
        """A client reaches it, now or in a moment: what is changed just now may refuse, but nobody is lost to somebody else."""

        def look():
            who = self.who(port, where, address)
            self.assertIn(who, (container, "HTTP 0"))
            return who == container

        wait_for(look, SOON, 0.1, what=f"{container} at port {port}")

    def assert_nobody(self, port, where=None, address="127.0.0.1"):
        self.assertEqual(self.who(port, where, address, timeout=2), "HTTP 0")

    def left_of(self, name):
        """Whatever still has that name."""
        script = r"""
            systemctl list-units --all --no-legend --plain "wake*@$0.*" | awk '$3 != "inactive"'
            nft list table inet wakechain | grep -E "service-$0([^A-Za-z0-9_.-]|$)|\"$0\""
            ls -d "/run/wakechain/control/$0.sock" "/run/wakechain/status/$0.json" "/var/lib/wakechain/bindings/$0.json" 2>/dev/null
            exit 0"""
        return self.machine.run(["sh", "-c", script, name]).stdout

    def assert_gone(self, name):
        left = None

        def look():
            nonlocal left
            left = self.left_of(name)
            return not left

        try:
            wait_for(look, SOON)
        except AssertionError:
            self.fail(f"left of {name}:\n{left}")

    def assert_cannot_be_taken(self, redirect_port, *ports):
        """A plain user who gets the port gets nobody's connection with it, as soon as what follows from the reload is done."""
        m = self.machine
        wait_for(lambda: f" {redirect_port} " not in m.out("nft list set inet wakechain targets"), SOON, what="the redirect to go")
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command += ["python3", "-I", "-c", SQUAT, str(redirect_port)]
        squatter = m.netns_popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self.assertEqual(squatter.stdout.readline(), "bound\n", "the port is not free")
            for port in ports:
                for where in (None, self.peer()):
                    address = where.machine_ipv4 if where else "127.0.0.1"
                    self.assertNotEqual(self.who(port, where, address, timeout=3), "squatter", f"port {port}")
        finally:
            squatter.kill()
            squatter.communicate()

    def peer(self):
        """Another host, of this machine as it is booted now."""
        if not self.machine._peers:
            self.machine.add_peer_host()
        return self.machine._peers[0]

    def assert_served(self, port, container, others=True):
        """Asleep and awake, for this machine and for others, who see the container itself."""
        peer = self.peer()
        self.assertEqual(self.who(port), container)
        if others:
            code, page = self.ask(f"http://{peer.machine_ipv4}:{port}/", where=peer)
            self.assertEqual((code, page.split()[:2]), (200, [container, peer.ipv4]))


class Added(SettleTest):
    """A second service beside one that there was."""

    services = {"one": service("c-one", 9710)}
    containers = {"c-one": "9710:80", "c-two": "9711:80"}
    two = service("c-two", 9711)

    def add(self):
        self.load({**self.services, "two": self.two})
        self.wait_listening(29711)

    def test_is_served(self):
        """Nobody starts its socket by hand; other hosts are served at once."""
        m = self.machine
        peer = self.peer()
        self.assertEqual(self.who(9710), "c-one")
        self.add()
        self.assert_agrees()
        for _ in range(2):
            self.assertEqual(self.who(9711, peer, peer.machine_ipv4), "c-two")
            self.assert_served(9711, "c-two")
            self.sleep("two")
        self.assertEqual(self.status("one")["state"], "awake")
        self.assertEqual(len(self.records("WAKING", "one", self.cursor)), 1)
        self.assertEqual(self.unit_state("wake-control@two.socket"), "active")
        m.run(["systemctl", "start", "wake@two.service"])

    def test_addresses_change_while_asleep(self):
        """Made anew, published elsewhere: redirected where it is now, and nothing can be reached that could not be before."""
        peer = self.peer()
        self.add()
        lan, loopback = (peer, peer.machine_ipv4), (None, "127.0.0.1")
        for published, reached, closed in (
            ("127.0.0.1:9711:80", [loopback], [lan]),
            (f"{peer.machine_ipv4}:9711:80", [lan], [loopback]),
            ("9711:80", [lan, loopback], []),
            ("9799:80", [], [lan]),
            ("9711:80", [lan, loopback], []),
        ):
            with self.subTest(published):
                self.anew("c-two", published)
                self.settle()
                for where, address in closed:
                    self.assert_nobody(9711, where, address)
                self.assert_stopped("c-two")
                for where, address in reached:
                    self.assertEqual(self.who(9711, where, address), "c-two")
                    self.sleep("two")

    def test_change_is_noticed(self):
        """By the minute's look, which is made to come sooner here."""
        m = self.machine
        peer = self.peer()
        self.add()
        timer = "wakechain-settle.timer"
        self.drop_in(timer, "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=1s\nAccuracySec=100ms\n")
        m.systemctl("restart", timer)
        self.addCleanup(m.systemctl, "restart", timer)
        self.addCleanup(self.anew, "c-two", "9711:80")
        self.anew("c-two", "127.0.0.1:9711:80")
        wait_for(lambda: "127.0.0.1 . 9711" in m.out("nft list map inet wakechain address4"), SOON, what="the address")
        self.assert_nobody(9711, peer, peer.machine_ipv4)
        self.assertEqual(self.who(9711), "c-two")

    def test_engine_down(self):
        """Nobody knows where it is published: loopback alone, and all of it as soon as the engine tells, without a wake."""
        m = self.machine
        peer = self.peer()
        m.run("systemctl mask --runtime docker.service docker.socket; systemctl stop docker.service docker.socket")
        try:
            self.add()
            wait_for(lambda: "service-two" in m.out("nft list map inet wakechain loopback4"), SOON, what="the redirect")
            self.assertNotIn("service-two", m.out("nft list map inet wakechain wildcard4"))
            self.assert_nobody(9711, peer, peer.machine_ipv4)
            # One that is known stays where it is.
            self.assertIn("service-one", m.out("nft list map inet wakechain wildcard4"))
        finally:
            m.run("""systemctl unmask --runtime docker.service docker.socket
                     systemctl reset-failed docker.service docker.socket; systemctl start docker.service""")
        wait_for(lambda: "service-two" in m.out("nft list map inet wakechain wildcard4"), 30, what="the real addresses")
        self.assertEqual(self.records("WAKING", since=self.cursor), [])
        self.assertEqual(self.who(9711, peer, peer.machine_ipv4), "c-two")
        self.assert_agrees()


class Moves(SettleTest):
    """A service that moves and comes back, changes its name, or goes."""

    services = {"one": service("c-one", 9710, ports=[]), "front": service("c-front", 9720, listen=["9721"], backend="c-front:80")}
    containers = {"c-one": ["9710:80", "9712:80"], "c-front": "9720:80", "c-two": "9710:80"}
    changes = (
        # what of `one` is changed, where it listens then, where clients come, and from where it has gone
        ({"port": 9712}, 29712, 9712, 29710),
        ({"redirectPort": 29750}, 29750, 9710, 29710),
        ({"listen": ["9713"], "backend": "c-one:80"}, 9713, 9713, 29710),
    )

    @classmethod
    def prepare(cls, machine):
        names = machine.docker("network", "ls", "--format", "{{.Name}}").split()
        if "same-port" not in names:
            machine.docker("network", "create", "same-port")
        options = ["--network", "same-port", "-e", "PORT=80", "-p", "9710:80", "-p", "9712:80"]
        machine.docker("create", "--name", "c-one", "--hostname", "c-one", *options, "sim", "server")
        cls.containers = {"c-front": "9720:80", "c-two": "9710:80"}
        super().prepare(machine)

    def tearDown(self):
        super().tearDown()
        self.assert_agrees(30)
        self.assertEqual(self.left_of("renamed"), "")

    def there_and_back(self):
        """Each change, and its undoing: (services, listens, port, gone)."""
        for members, listens, port, gone in self.changes:
            yield self.with_members("one", **members), listens, port, gone
            yield self.services, 29710, 9710, listens

    def test_asleep(self):
        for services, listens, port, gone in self.there_and_back():
            with self.subTest(f"{services['one']}"):
                self.load(services)
                self.wait_listening(listens)
                self.wait_closed(gone)
                self.assert_agrees()
                if gone > 20000:
                    self.assert_cannot_be_taken(gone, 9710, 9712)
                    self.sleep("one")
                self.soon(port, "c-one")
                self.assert_agrees()
                self.sleep("one")
                self.assert_stopped()
                if port != 9710:
                    continue
                self.assert_nobody(9712)
                self.assert_nobody(9713)

    def test_held(self):
        """The client that waits where it was is served, and so is one that comes where it is now."""
        stacks.set_delay(self.machine, "c-one", 3)
        self.addCleanup(stacks.set_delay, self.machine, "c-one", None)
        port = 9710
        for services, listens, new_port, gone in self.there_and_back():
            with self.subTest(f"{services['one']}"):
                cursor = self.machine.journal_cursor()
                held = self.asking(f"http://127.0.0.1:{port}/")
                self.follow("WAKING", "one", cursor)
                self.load(services)
                self.wait_listening(listens)
                self.soon(new_port, "c-one")
                code, page = self.answered(held)
                self.assertEqual((code, page.split()[:1]), (200, ["c-one"]))
                self.wait_closed(gone)
                self.assert_agrees()
                self.sleep("one")
                self.soon(new_port, "c-one")
                self.sleep("one")
                self.assert_agrees()
                port = new_port

    def test_awake(self):
        """With a connection under way, which is not touched."""
        port = 9710
        for services, listens, new_port, gone in self.there_and_back():
            with self.subTest(f"{services['one']}"):
                self.soon(port, "c-one")
                talk = self.talk(port)
                self.assertEqual(talk.say("before"), "before")
                self.load(services)
                self.wait_listening(listens)
                self.soon(new_port, "c-one")
                self.assertEqual(talk.say("after"), "after")
                self.wait_closed(gone)
                self.assert_agrees()
                self.assertEqual(talk.say("still"), "still")
                talk.close()
                self.sleep("one")
                self.assert_agrees()
                self.soon(new_port, "c-one")
                self.sleep("one")
                port = new_port

    def test_proxied_moves(self):
        """Another address of a front that lives: what it forwards goes on."""
        talk = self.talk(9721)
        self.assertEqual(talk.say("before"), "before")
        for listen, gone in (("9722", 9721), ("9721", 9722)):
            self.load(self.with_members("front", listen=[listen]))
            self.wait_listening(int(listen))
            self.soon(int(listen), "c-front")
            self.wait_closed(gone)
            self.assertEqual(talk.say(listen), listen)
        self.load(self.with_members("front", listen=["9721", "9723"]))
        self.soon(9723, "c-front")
        self.load(self.services)
        self.wait_closed(9723)
        self.assertEqual(talk.say("after"), "after")
        self.soon(9721, "c-front")
        self.assert_agrees()

    def renamed(self, name):
        return {("renamed" if k == name else k): v for k, v in self.services.items()}

    def test_renamed_asleep(self):
        """There, and back."""
        for name, port in (("one", 9710), ("front", 9721)):
            for services, old in ((self.renamed(name), name), (self.services, "renamed")):
                self.load(services)
                self.assert_gone(old)
                self.soon(port, self.services[name]["name"])
                self.assert_agrees()
                self.sleep(next(iter(services.keys() - {old} - {"one" if name == "front" else "front"})))

    def idle(self, services):
        return {name: {**service, "idleTimeout": "3s"} for name, service in services.items()}

    def check_renamed_awake(self, name, port, talk):
        """What is under way goes on. The waker of the old name ends when nobody is there any more, and so does the new one."""
        self.load(self.idle(self.renamed(name)))
        self.assertEqual(talk.say("after"), "after")
        self.soon(port, self.services[name]["name"])
        self.assert_agrees()
        talk.close()
        self.wait_unit(f"wake@{name}.service", "inactive")
        self.wait_state("renamed", "asleep")
        self.assert_stopped(self.services[name]["name"])
        self.assert_gone(name)
        self.soon(port, self.services[name]["name"])
        self.assert_agrees()

    def test_renamed_with_a_direct_connection(self):
        self.load(self.idle(self.services))
        self.soon(9710, "c-one")
        talk = self.talk(9710)
        self.assertEqual(talk.say("before"), "before")
        self.check_renamed_awake("one", 9710, talk)

    def test_renamed_with_a_connection(self):
        """Through its front, which has drainTimeout for it, and whose port the new one has at once."""
        self.load(self.idle(self.services))
        talk = self.talk(9721)
        self.assertEqual(talk.say("before"), "before")
        self.check_renamed_awake("front", 9721, talk)

    def test_name_is_used_again(self):
        """While the waker of who had it lives: that ends, and who uses its stack under another name is not cut."""
        again = service("c-front", 9720, listen=["9721"], backend="c-front:80")
        self.soon(9710, "c-one")
        talk = self.talk(9710)
        self.assertEqual(talk.say("before"), "before")
        self.load(self.renamed("one"))
        self.wait_unit("wake@renamed.service", "active")
        self.load({"renamed": self.services["one"], "one": again})
        self.wait_unit("wake@one.service", "inactive")
        self.soon(9721, "c-front")
        self.assertEqual(talk.say("after"), "after")
        self.assert_agrees()
        talk.close()
        self.sleep("renamed")

        # Nobody has its stack any more.
        self.load({"renamed": self.services["one"]})
        self.wait_unit("wake@one.service", "active")
        self.load({"one": self.services["one"]})
        self.wait_unit("wake@one.service", "inactive")
        self.assert_stopped("c-front")
        self.soon(9710, "c-one")
        self.assert_agrees()
        self.sleep("one")

    def test_replaced(self):
        """By another one of the same port, whose container it is that clients reach from then on."""
        two = {"two": service("c-two", 9710), "front": self.services["front"]}
        self.load(two)
        self.soon(9710, "c-two")
        self.assert_gone("one")
        self.sleep("two")
        self.load(self.services)
        self.soon(9710, "c-one")
        self.assert_gone("two")
        self.assert_agrees()

    def test_replaced_while_awake(self):
        """The old one has the port until it is stopped: the new one's wake says so, and then has it."""
        m = self.machine
        self.assertEqual(self.who(9710), "c-one")
        self.load({"two": service("c-two", 9710), "front": self.services["front"]})
        self.wait_listening(29710)
        m.systemctl("stop", "wake@one.service")
        self.assert_stopped("c-one")
        self.soon(9710, "c-two")
        self.assert_gone("one")
        self.assert_agrees()

    def test_taken_out(self):
        """Asleep, woken once, and awake: nothing is left, and its port is nobody's."""
        rest = {"front": self.services["front"]}
        for how in ("never woken", "asleep", "awake"):
            with self.subTest(how):
                if how != "never woken":
                    self.assertEqual(self.who(9710), "c-one")
                if how == "asleep":
                    self.sleep("one")
                self.load(rest)
                self.wait_closed(29710)
                self.assert_cannot_be_taken(29710, *((9710, 9712) if how != "awake" else ()))
                if how == "awake":
                    self.assertEqual(self.who(9710), "c-one", "it is the container's now")
                    self.machine.systemctl("stop", "wake@one.service")
                    self.assert_stopped("c-one")
                    self.assert_cannot_be_taken(29710, 9710, 9712)
                self.assert_gone("one")
                self.assert_nobody(9710)
                self.assert_agrees()
                self.load(self.services)
                self.wait_listening(29710)
                self.soon(9710, "c-one")
                self.sleep("one")

    def test_taken_out_with_a_client(self):
        """Held, while the stack wakes: served, within drainTimeout."""
        stacks.set_delay(self.machine, "c-one", 2)
        self.addCleanup(stacks.set_delay, self.machine, "c-one", None)
        held = self.asking("http://127.0.0.1:9710/")
        self.follow("WAKING", "one", self.cursor)
        self.load({"front": self.services["front"]})
        code, page = self.answered(held)
        self.assertEqual((code, page.split()[:1]), (200, ["c-one"]))
        self.machine.run("systemctl stop wake@one.service", check=False)
        self.assert_gone("one")
        self.assert_agrees()


class Typo(SettleTest):
    """A mistake in the file, at a bad moment."""

    services = {"one": service("c-one", 9710)}
    containers = {"c-one": "9710:80", "c-two": "9711:80"}
    both = {**services, "two": service("c-two", 9711)}

    def break_file(self, services):
        text = json.dumps({"services": services})
        self.machine.write("/etc/wakechain/dependencies.json", text[:-3])
        self.machine.systemctl("daemon-reload")
        self.machine.config = None

    def break_service(self, services, name, reload=True):
        self.load({**services, name: {**services[name], "dependencies": [{"contianer": "x"}]}}, reload)

    def assert_listens_only(self):
        """It cannot be woken, and says so; nobody is refused."""
        self.wait_listening(29711)
        self.assertEqual(self.who(9711), "HTTP 503")

    def test_before_the_first_wake(self):
        for what in (self.break_file, lambda services: self.break_service(services, "two")):
            self.load(self.both)
            self.wait_listening(29711)
            self.settle()  # see test_over_a_boot()
            what(self.both)
            self.settle()
            self.assert_listens_only()
            self.load(self.both)
            self.soon_again(9711, "c-two")
            self.sleep("two")
            self.assert_agrees()
            self.load(self.services)
            self.assert_gone("two")

    def soon_again(self, port, container):
        """Mended: the front may still hand out the last answer, for a moment."""
        wait_for(lambda: self.who(port) == container, SOON, 0.1, what=f"{container} at port {port}")

    def test_in_the_reload_that_adds_it(self):
        for what in (self.break_file, lambda services: self.break_service(services, "two")):
            what(self.both)
            self.settle()
            self.assertEqual(self.who(9710), "HTTP 503" if what == self.break_file else "c-one")
            self.sleep("one")
            self.load(self.both)
            self.wait_listening(29711)
            self.soon_again(9711, "c-two")
            self.soon_again(9710, "c-one")
            self.sleep("one", "two")
            self.assert_agrees()
            self.load(self.services)
            self.assert_gone("two")

    def test_over_a_boot(self):
        m = self.machine
        self.load(self.both)
        self.wait_listening(29711)
        # One that had begun before the reload may have started the socket; what was good is remembered by the next.
        self.settle()
        self.break_service(self.both, "two", reload=False)
        m.reboot()
        self.assert_listens_only()
        self.load(self.both)
        self.soon_again(9711, "c-two")
        self.sleep("two")


class Restarts(SettleTest):
    """An administrator restarts sockets that are in use."""

    services = {"one": service("c-one", 9710), "front": service("c-front", 9720, listen=["9721"], backend="c-front:80")}
    containers = {"c-one": "9710:80", "c-front": "9720:80"}

    def restart(self, unit):
        self.machine.systemctl("restart", unit)

    def test_with_a_held_client(self):
        stacks.set_delay(self.machine, "c-one", 2)
        stacks.set_delay(self.machine, "c-front", 2)
        self.addCleanup(stacks.set_delay, self.machine, "c-one", None)
        self.addCleanup(stacks.set_delay, self.machine, "c-front", None)
        for name, port in (("one", 9710), ("front", 9721)):
            cursor = self.machine.journal_cursor()
            held = [self.asking(f"http://127.0.0.1:{port}/") for _ in range(3)]
            self.follow("WAKING", name, cursor)
            for _ in range(2):
                self.restart(f"wake@{name}.socket")
            for process in held:
                code, page = self.answered(process)
                self.assertEqual((code, page.split()[:1]), (200, [f"c-{name}"]))
            self.assertEqual(self.who(port), f"c-{name}")
            self.sleep(name)
            self.assertEqual(self.who(port), f"c-{name}")
            self.assert_agrees()

    def test_with_a_connection_under_way(self):
        talk = self.talk(9721)
        for i in range(5):
            self.assertEqual(talk.say(f"before {i}"), f"before {i}")
            self.restart("wake@front.socket")
            self.assertEqual(talk.say(f"after {i}"), f"after {i}")
            self.assertEqual(self.who(9721), "c-front")
        self.assert_agrees()

    def test_control_socket(self):
        """Of one that sleeps, and of one that is awake: its next wake is as ever."""
        for _ in range(2):
            self.machine.run("systemctl restart wake-control@one.socket", check=False)
            self.assertEqual(self.who(9710), "c-one")
        self.sleep("one")
        self.settle()
        self.assertEqual(self.who(9710), "c-one")
        self.sleep("one")
        self.assert_agrees()

    def stream(self):
        """Somebody who looks at the dashboard."""
        stream = self.machine.popen(["curl", "-sN", "http://127.0.0.1:3456/api/events"], stdout=subprocess.PIPE)
        self.addCleanup(stream.kill)
        self.assertTrue(stream.stdout.readline())
        return stream

    def api(self, *options):
        return self.ask("http://127.0.0.1:3456/api/services", *options, timeout=10)[0]

    def test_web_sockets(self):
        for unit in ("wakechain-web.socket", "wakechain-page.socket"):
            with self.subTest(unit):
                self.stream()
                self.restart(unit)
                wait_for(lambda: self.api() == 200, SOON, what="the API")
                self.assertEqual(self.api("--unix-socket", "/run/wakechain/web.sock"), 200)
                self.assertEqual(self.who(9710), "c-one")
                self.sleep("one")
                self.assert_agrees()
                for socket in ("wakechain-web.socket", "wakechain-page.socket"):
                    self.assertEqual(self.unit_state(socket), "active")

    def test_page_after_a_restart(self):
        """A browser that waits is shown the page, by a web service that was there before."""
        stacks.set_delay(self.machine, "c-one", 2)
        self.addCleanup(stacks.set_delay, self.machine, "c-one", None)
        self.load(self.with_members("one", page="always"))
        self.stream()
        self.restart("wakechain-page.socket")
        code, page = self.ask("http://127.0.0.1:9710/", "-H", "Accept: text/html", "-H", "Sec-Fetch-Mode: navigate")
        self.assertIn("<html", page.lower(), code)
        self.wait_unit("wake@one.service", "active")
        self.load(self.services)

    def test_stopped_stays_stopped(self):
        """Over whatever settles, also while its front is there; until it is started."""
        m = self.machine
        talk = self.talk(9721)
        self.assertEqual(talk.say("before"), "before")
        m.popen(["systemctl", "stop", "wake@front.socket", "wake@one.socket"])
        talk.close()
        self.wait_closed(29710, 9721)
        for _ in range(3):
            m.systemctl("daemon-reload")
            self.settle()
        self.assertEqual((self.unit_state("wake@one.socket"), self.unit_state("wake@front.socket")), ("inactive", "inactive"))
        self.assert_nobody(9710)
        self.assert_cannot_be_taken(29710, 9710)
        self.assertEqual(m.run([REDIRECT, "check"], check=False).returncode, 0)
        m.systemctl("start", "wake@one.socket", "wake@front.socket")
        self.soon(9710, "c-one")
        self.soon(9721, "c-front")
        self.assert_agrees()

    def test_many_stops_and_starts(self):
        """Nobody undoes a stop of this very moment, and no limit makes a start the last one."""
        m = self.machine
        for _ in range(20):
            m.run("systemctl --no-block start wakechain-settle; systemctl stop wake@one.socket")
            self.settle()
            self.assertEqual(self.unit_state("wake@one.socket"), "inactive")
            m.systemctl("start", "wake@one.socket")
        self.soon(9710, "c-one")


class Damage(SettleTest):
    """Files of ours that somebody removes, or that a disk has lost: right again within the minute."""

    services = {
        "one": service("c-one", 9710),
        "two": service("c-two", 9711),
        "front": service("c-front", 9720, listen=["9721"], backend="c-front:80"),
        "awake": service("c-awake", 9712),
    }
    containers = {"c-one": "9710:80", "c-two": "9711:80", "c-front": "9720:80", "c-awake": "9712:80"}
    ports = {"one": 9710, "two": 9711, "front": 9721, "awake": 9712}
    batch = 8
    kinds = ("rm -rf $f", ": > $f", "head -c 300 /dev/urandom > $f", "rm -rf $f; mkdir $f", "rm -rf $f; ln -s /root/victim $f",
             "rm -rf $f; ln -s $f $f", "rm -rf $f; mkfifo $f", "! [ -f $f ] || chmod 0 $f", "! [ -f $f ] || chown nobody:nogroup $f")  # fmt: skip

    def files(self):
        return sorted(self.machine.out("find /run/wakechain /var/lib/wakechain -mindepth 1").splitlines())

    def look(self):
        """What is not as it should be, as a text."""
        m = self.machine
        good, said = self.agrees()
        if not good:
            return said
        for name in self.services:
            state = "awake" if name == "awake" else "asleep"
            done = m.run(["timeout", "5", "cat", f"/run/wakechain/status/{name}.json"], check=False)
            try:
                shown = json.loads(done.stdout)["state"]
            except (ValueError, KeyError):
                shown = "asleep" if done.returncode and "No such file" in done.stderr else done.stdout + done.stderr
            if shown != state:
                return f"{name} is said to be {shown}"
            if name != "awake" and f"/run/wakechain/control/{name}.sock" not in m.out("ss -Hlx"):
                return f"nobody listens at the control socket of {name}"
        return None

    def assert_right_again(self, timeout=60):
        """Within a minute, by whom settles each minute and by the upkeep of wakers."""
        said = None

        def look():
            nonlocal said
            self.settle()
            said = self.look()
            return not said

        try:
            wait_for(look, timeout, 1)
        except AssertionError:
            self.fail(f"not right again: {said}\n{self.machine.run('ls -lR /run/wakechain /var/lib/wakechain').stdout}")

    def assert_all_served(self):
        for name, port in self.ports.items():
            self.assertEqual(self.who(port), f"c-{name}", name)
        self.assertEqual(self.api(), 200)
        self.sleep("one", "two", "front")
        self.assert_stopped("c-one", "c-two", "c-front")

    def api(self):
        return self.ask("http://127.0.0.1:3456/api/services", timeout=10)[0]

    def test_random(self):
        m = self.machine
        seed = int(os.environ.get("WAKECHAIN_SEED", "11"))
        rounds = int(os.environ.get("WAKECHAIN_ROUNDS", "40"))
        print(f"WAKECHAIN_SEED={seed} WAKECHAIN_ROUNDS={rounds}")
        dice = random.Random(seed)
        m.run("echo dear > /root/victim; chmod 600 /root/victim")
        self.assert_all_served()
        for first in range(0, rounds, self.batch):
            damages = []
            for _ in range(first, min(first + self.batch, rounds)):
                damages.append(dice.choice(self.kinds).replace("$f", dice.choice(self.files())))
                m.run(damages[-1], check=False)
            with self.subTest(first=first, damages=damages):
                self.assert_right_again()
                self.assert_all_served()
                self.assertEqual(m.read("/root/victim"), "dear\n", "somebody has written behind a link")
        self.assertEqual(len(self.records("WAKING", "awake", self.cursor)), 1)

    def test_control_socket_is_removed(self):
        """Asleep: it is back, and the next client is served."""
        m = self.machine
        path = "/run/wakechain/control/one.sock"
        for instead in ("", "touch $f", "mkdir $f", "ln -s /run/wakechain/control/two.sock $f", "mkfifo $f"):
            with self.subTest(instead):
                m.run(f"rm -f {path}; {instead.replace('$f', path)}")
                self.settle()
                m.run(f"test -S {path} && ! test -L {path}")
                self.assertEqual(self.who(9710), "c-one")
                self.assertEqual(self.who(9711), "c-two")
                self.sleep("one", "two")

    def test_folders_are_removed(self):
        m = self.machine
        for folders in ("/run/wakechain/*", "/var/lib/wakechain/*", "/run/wakechain /var/lib/wakechain"):
            with self.subTest(folders):
                m.run(f"rm -rf {folders}")
                self.settle()
                self.assert_right_again_asleep()
                for name, port in self.ports.items():
                    self.assertEqual(self.who(port), f"c-{name}")
                self.sleep(*self.services)
                self.assertEqual(self.api(), 200)

    def assert_right_again_asleep(self):
        m = self.machine
        for name in self.services:
            wait_for(lambda name=name: m.run(["test", "-S", f"/run/wakechain/control/{name}.sock"], check=False).returncode == 0,
                     SOON, what=f"the control socket of {name}")  # fmt: skip
        self.assert_agrees()


class Engine(SettleTest):
    """The engine starts what it is to start always: awake, and asleep again when nobody uses it, if it is wakechain's own."""

    services = {"one": service("c-one", 9710, idleTimeout="4s"), "other": service("c-other", 9711, idleTimeout="4s")}

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        for name, published in (("c-one", "9710:80"), ("c-other", "9711:80")):
            create(machine, name, published)
            machine.docker("update", "--restart", "always", name)
            # A policy is for what was started once.
            machine.docker("start", name)
            machine.docker("stop", name)
        machine.systemctl("restart", "wakechain-settle.service")

    def test_restarted(self):
        m = self.machine
        self.assertEqual(self.who(9710), "c-one")
        self.sleep("one")
        cursor = m.journal_cursor()
        m.run("systemctl reset-failed docker.service; systemctl restart docker.service", timeout=120)
        wait_for(lambda: stacks.running(m) >= {"c-one", "c-other"}, 30, what="the engine to start them")
        for name in ("one", "other"):
            self.wait_state(name, "awake", SOON)
            self.assertEqual(self.status(name)["trigger"], "outside")
        self.follow("ASLEEP", "one", cursor)
        self.assert_stopped("c-one")
        self.assertEqual((self.status("one")["state"], self.status("one")["trigger"]), ("asleep", "outside"))
        # The other one was never ours.
        self.assertEqual(self.status("other")["state"], "awake")
        self.assert_running("c-other")
        self.assertEqual(self.who(9710), "c-one")
        self.assertEqual(self.who(9711), "c-other")
        self.assert_agrees()

    def test_starts_containers_by_hand(self):
        """One that was never ours, and goes again. That somebody looks just then, and looks on, hides nothing."""
        m = self.machine
        self.wait_unit("wakechain-containers.service", "inactive")
        held = m.popen(["flock", "/run/wakechain/redirect.lock", "sh", "-c", "echo held; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(held.stdout.readline(), "held\n")
        m.systemctl("--no-block", "start", "wakechain-settle.service")
        self.wait_unit("wakechain-settle.service", "activating")
        before = m.show("wakechain-containers.service", "InactiveEnterTimestampMonotonic")
        m.docker("start", "c-other")
        wait_for(lambda: m.show("wakechain-containers.service", "InactiveEnterTimestampMonotonic") != before, what="a while after the start")
        wait_for(lambda: m.show("wakechain-containers.path", "SubState") == "waiting", what="systemd to wait for the next container")
        self.assertEqual(self.unit_state("wakechain-settle.service"), "activating")
        held.communicate()
        self.wait_state("other", "awake", SOON)
        m.docker("stop", "c-other")
        self.wait_state("other", "asleep", SOON)
        self.assertEqual(self.who(9711), "c-other")
        self.assertEqual(self.status("other")["trigger"], "connection")


class Liars(SettleTest):
    """Status files that say what is not so, of stacks that nobody watches."""

    services = {"one": service("c-one", 9710)}
    containers = {"c-one": "9710:80"}

    def test_nothing_runs(self):
        m = self.machine
        for state in ("awake", "waking", "stopping"):
            with self.subTest(state):
                said = {"service": "one", "state": state, "since": "2026-01-05T08:00:00.000000Z", "trigger": "connection", "dependencies": []}
                m.write("/run/wakechain/status/one.json", json.dumps(said), mode=0o640)
                self.settle()
                self.assertEqual(self.status("one")["state"], "asleep")
                self.assert_agrees()
                cursor = m.journal_cursor()
                self.assertEqual(self.who(9710), "c-one")
                self.assertEqual(len(self.records("WAKING", "one", cursor)), 1)
                self.sleep("one")

    def test_of_another_service(self):
        """Whose name is in the file is not whose file it is."""
        m = self.machine
        lie = '{"service":"NAME","state":"awake","trigger":"connection","dependencies":[]}'
        for path, name in (("one", "two"), ("two", "one")):
            m.run(["sh", "-c", 'cat >"$0"', f"/run/wakechain/status/{path}.json"], input=lie.replace("NAME", name))
        self.settle()
        self.assertEqual(self.status("one")["state"], "asleep")
        self.assert_gone("two")
        self.assertEqual(self.who(9710), "c-one")
        self.sleep("one")

    def test_waker_that_fails_is_not_started_in_a_loop(self):
        """One that is to watch over what somebody else has started, and cannot: it is tried again after minutes, and clients are served
        by what runs all the same."""
        m = self.machine
        self.assertEqual(self.who(9710), "c-one")
        self.sleep("one")
        self.drop_in("wake@one.service", "[Service]\nExecStart=\nExecStart=/bin/false\n")
        cursor = m.journal_cursor()
        m.docker("start", "c-one")
        self.wait_unit("wake@one.service", "failed")
        for _ in range(5):
            self.settle()
        m.run(["journalctl", "--sync"])
        started = [r for r in m.journal(since_cursor=cursor, UNIT="wake@one.service") if r.get("JOB_TYPE") == "start" and "JOB_RESULT" in r]
        self.assertEqual(len(started), 1, [r["MESSAGE"] for r in started])
        self.assertEqual(self.status("one")["state"], "awake")
        self.assertEqual(self.who(9710), "c-one")
        m.docker("stop", "c-one")


class Boot(SettleTest):
    """However many services there are, the same few looks are had at them."""

    services = {f"s{i}": service(f"c-{i}", 9000 + i) for i in range(3)}
    many = {f"s{i}": service(f"c-{i}", 9000 + i) for i in range(60)}
    PROGRAM = "/usr/lib/wakechain/wakechain-redirect"

    def boot_with(self, services):
        """How often the program was run in that boot, in which all sockets listen and all is settled."""
        m = self.machine
        m.set_config({"services": services})
        m.reboot()
        self.assert_agrees()
        self.assertTrue({s["port"] + 20000 for s in services.values()} <= self.listening())
        return len(m.read("/run/runs").splitlines()) - 1  # that was `check`

    def test_no_process_for_each_socket(self):
        m = self.machine
        m.run(f"mv {self.PROGRAM} {self.PROGRAM}.real")
        m.write(self.PROGRAM, f'#!/bin/sh\necho "$@" >>/run/runs\nexec {self.PROGRAM}.real "$@"\n', mode=0o755)
        few, many = self.boot_with(self.services), self.boot_with(self.many)
        print(f"{few} runs at a boot with 3 services, {many} with 60")
        self.assertGreater(few, 0)
        self.assertLess(many, few + 6)
