"""Services with several ports: each wakes the stack, and its clients reach the container and the port of it that its binding names."""

import re
import subprocess

from service_test import ServiceTest
from test_same_port import service
from test_udp import GAME

REDIRECT = "/usr/lib/wakechain/wakechain-redirect"
BROWSER = ("-H", "Accept: text/html")
LATE = 4

# On 80 it answers HTTP with its name, on 22 what is no HTTP is echoed; on 8080 another program answers, LATE seconds after the start.
SCRIPT = f"mkdir -p /www; echo inner8080 >/www/index.html; (sleep {LATE}; httpd -p 8080 -h /www) & exec server"

# Like SSH: neither side speaks HTTP, and the connection stays.
ECHO = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
s.settimeout(60)
s.sendall(b"SSH-2.0-test\\r\\n")
answer = b""
while not answer.endswith(b"\\n"):
    more = s.recv(100)
    if not more:
        break
    answer += more
print(answer.decode().strip(), flush=True)
if len(sys.argv) > 3:
    sys.stdin.read()
"""


def create(machine, container, *published):
    if "same-port" not in machine.docker("network", "ls", "--format", "{{.Name}}").split():
        machine.docker("network", "create", "same-port")
    options = ["--network", "same-port", "--hostname", container, "-e", "PORT=80,22", "--stop-timeout", "1"]
    ports = [option for port in published for option in ("-p", port)]
    machine.docker("create", "--name", container, *options, *ports, "sim", "sh", "-c", SCRIPT)


GIT = ("9800:80", "9822:22", "9880:8080")


class SeveralPorts(ServiceTest):
    per = "class"
    config = {"services": {"git": service("c-git", 9800, page="auto")}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-git", *GIT)
        machine.systemctl("restart", "wakechain-settle.service")

    def setUp(self):
        self.sleep("git")
        self.settle()
        self.assert_stopped("c-git")
        self.cursor = self.machine.journal_cursor()

    def echo(self, port, where=None):
        where = where or self.machine
        return where.python(ECHO, getattr(where, "machine_ipv4", "127.0.0.1"), str(port), timeout=90).strip()

    def accepts(self):
        """The further ports that the status names: whether their containers accept."""
        return {port["port"]: port["accepts"] for port in self.status("git")["ports"]}

    def wait_all_accept(self):
        self.wait_state("git", "awake", 60)
        self.machine.wait_for(lambda: all(self.accepts().values()), 60, what="all ports to accept")

    def test_a_client_that_speaks_no_http_wakes_by_its_port(self):
        self.assertEqual(self.echo(9822), "SSH-2.0-test")
        self.assertEqual(len(self.records("WAKING", "git", self.cursor)), 1)
        self.assertEqual(set(self.accepts()), {9822, 9880})

    def test_the_wake_does_not_wait_for_a_late_port_and_its_clients_do(self):
        late = self.asking("http://127.0.0.1:9880/")
        self.wait_state("git", "awake", 60)
        self.assertFalse(self.accepts()[9880])
        # The others are served meanwhile.
        self.assertEqual(self.ask("http://127.0.0.1:9800/")[1].split()[0], "c-git")
        self.assertEqual(self.answered(late), (200, "inner8080\n"))
        self.assertEqual(len(self.records("WAKING", "git", self.cursor)), 1)
        self.wait_all_accept()

    def test_a_browser_sees_the_page_on_each_port(self):
        code, page = self.ask("http://127.0.0.1:9880/", *BROWSER)
        self.assertEqual(code, 503)
        self.assertIn("<html", page)
        self.wait_all_accept()
        self.assertEqual(self.ask("http://127.0.0.1:9880/", *BROWSER), (200, "inner8080\n"))

    def test_awake_no_front_is_in_between(self):
        m = self.machine
        peer = m.add_peer_host()
        self.assertEqual(self.echo(9822, peer), "SSH-2.0-test")
        self.wait_all_accept()
        m.run("systemctl stop wake-front@git.service")
        started = m.show("wake-front@git.service", "InvocationID")
        self.assertEqual(self.echo(9822, peer), "SSH-2.0-test")
        self.assertEqual(self.ask(f"http://{peer.machine_ipv4}:9880/", where=peer), (200, "inner8080\n"))
        page = self.ask(f"http://{peer.machine_ipv4}:9800/", where=peer)[1]
        self.assertEqual(page.split()[:2], ["c-git", peer.ipv4])
        self.assertEqual(m.show("wake-front@git.service", "InvocationID"), started)

    def test_use_of_any_port_keeps_awake(self):
        m = self.machine
        changed = service("c-git", 9800, page="auto", idleTimeout="10s")
        m.set_config({"services": {"git": changed}})
        m.systemctl("daemon-reload")
        self.addCleanup(lambda: (m.set_config(self.config), m.systemctl("daemon-reload")))
        self.assertEqual(self.ask("http://127.0.0.1:9800/")[0], 200)
        self.wait_all_accept()
        client = m.netns_popen(
            ["python3", "-c", ECHO, "127.0.0.1", "9822", "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.assertEqual(client.stdout.readline().strip(), "SSH-2.0-test")
        self.remain(14, lambda: self.status("git")["state"] == "awake", "a connection to 9822 is use")
        client.communicate(timeout=30)
        self.wait_state("git", "asleep", 60)

    def test_a_port_that_is_added_while_it_sleeps(self):
        m = self.machine
        unit = m.read("/run/systemd/generator/wake@git.socket")
        m.docker("rm", "c-git")
        create(m, "c-git", *GIT, "9890:8080", "127.0.0.1:9891:80")
        self.settle()
        self.assertEqual(self.ask("http://127.0.0.1:9890/"), (200, "inner8080\n"))
        self.assertEqual(self.ask("http://127.0.0.1:9891/")[1].split()[0], "c-git")
        self.assertEqual(m.read("/run/systemd/generator/wake@git.socket"), unit)
        shown = m.run([REDIRECT, "check"], check=False).stdout
        for port in ("9822", "9880", "9890", "9891"):
            self.assertRegex(shown, rf"\n +{port} too")

    def test_a_killed_front_goes_on_with_each_port(self):
        late = self.asking("http://127.0.0.1:9880/")
        self.wait_state("git", "awake", 60)
        self.assertFalse(self.accepts()[9880])
        self.kill_main("wake-front@git.service")
        self.assertEqual(self.answered(late), (200, "inner8080\n"))

    def test_a_killed_waker_gives_back_none(self):
        self.assertEqual(self.echo(9822), "SSH-2.0-test")
        self.wait_all_accept()
        self.kill_main("wake@git.service")
        self.wait_unit("wake@git.service", "active")
        self.assertEqual(self.echo(9822), "SSH-2.0-test")
        self.assertTrue(all(self.accepts().values()))


class SharedNumber(ServiceTest):
    """A number that containers of two services publish is nobody's, and that is said, until one of them names it."""

    per = "class"
    config = {"services": {"one": service("c-one", 9700), "two": service("c-two", 9701)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-one", "9700:80", "9777:80")
        create(machine, "c-two", "9701:80", "9777:80")
        machine.systemctl("restart", "wakechain-settle.service")

    def test_who_names_it_has_it(self):
        m = self.machine
        self.assertEqual(self.ask("http://127.0.0.1:9777/", timeout=5)[0], 0)
        self.assert_stopped("c-one", "c-two")
        said = m.run("wakectl check --engine", check=False)
        self.assertRegex(said.stdout + said.stderr, "9777.*'two'.*'ports'")
        self.assertRegex(m.run([REDIRECT, "check"], check=False).stdout, "9777 not taken.*two")

        m.set_config({"services": {**self.config["services"], "two": service("c-two", 9701, ports=[9777])}})
        m.systemctl("daemon-reload")
        self.settle()
        self.assertEqual(self.ask("http://127.0.0.1:9777/")[1].split()[0], "c-two")
        self.assert_stopped("c-one")


class Published(ServiceTest):
    """What a binding says is done: on each of its addresses, also of a range, and whoever `backend` names."""

    per = "class"
    config = {
        "services": {
            "twice": service("c-twice", 9830),
            "range": service("c-range", 9840, ports=[9845]),
            "other": service("c-other", 9750, backend="c-behind:8080", names=True, ports=[{"port": 9751, "backend": "c-behind:8080"}]),
        }
    }

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-twice", "127.0.0.1:9830:80", "127.0.0.2:9830:8080", "127.0.0.1:9831:8080", "127.0.0.2:9831:80")
        create(machine, "c-range", "9840:80", "9845-9849:8080")
        create(machine, "c-other", "9750:80", "9751:80")
        create(machine, "c-behind")
        other = cls.config["services"]["other"]
        other["dependencies"] = [{"container": "c-behind", "startOrder": 1, "healthCheck": {"tcp": 80, "timeout": 20000}}, *other["dependencies"]]
        machine.set_config(cls.config)
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", "wakechain-settle.service")

    def served(self, address):
        code, body = self.ask(f"http://{address}/", timeout=60)
        return body.split()[0] if code == 200 else f"HTTP {code} {body}"

    def test_two_addresses_of_one_port(self):
        """Each has an inner port of its own: for who waits, and for who comes later."""
        ways = {"127.0.0.1:9830": "c-twice", "127.0.0.2:9830": "inner8080", "127.0.0.1:9831": "inner8080", "127.0.0.2:9831": "c-twice"}
        for first in ("127.0.0.2:9830", "127.0.0.2:9831"):
            with self.subTest(first=first):
                for address in (first, *ways):
                    self.assertEqual(self.served(address), ways[address], address)
                self.machine.wait_for(lambda: all(port["accepts"] for port in self.status("twice")["ports"]), 60, what="all ports to accept")
                self.machine.systemctl("stop", "wake-front@twice.service")
                for address, page in ways.items():
                    self.assertEqual(self.served(address), page, address)
                self.assertEqual(self.unit_state("wake-front@twice.service"), "inactive")
                self.sleep("twice")
                self.settle()

    def test_one_of_a_range(self):
        """The engine takes another one of it at each start: if it is not the one that is named, the front goes on forwarding."""
        for _ in range(2):
            self.assertEqual(self.served("127.0.0.1:9845"), "inner8080")
            self.machine.wait_for(lambda: all(port["accepts"] for port in self.status("range")["ports"]), 60, what="all ports to accept")
            self.assertEqual(self.served("127.0.0.1:9845"), "inner8080")
            self.sleep("range")
            self.settle()

    def test_backend_that_is_another_container(self):
        """Who waits is forwarded to it, and who comes by its name, as long as they keep that address; who comes by the port later meets the publisher."""
        m = self.machine
        for port in (9750, 9751):
            self.assertEqual(self.served(f"127.0.0.1:{port}"), "inner8080")
            m.wait_for(lambda: all(p["accepts"] for p in self.status("other")["ports"]), 60, what="all ports to accept")
            self.assertEqual(self.served(f"127.0.0.1:{port}"), "c-other")
            self.sleep("other")
            self.settle()
        lookup = "nslookup c-behind | sed -n 's/^Address.*: *\\(198[.0-9]*\\).*/\\1/p' | tail -1"
        asks = "for i in 1 2 3; do wget -q -O - http://$virtual:8080/ && wget -q -O - http://$virtual:80/ || exit 1; done"
        done = m.run(["docker", "run", "--rm", "--network", "same-port", "sim", "sh", "-c", f"virtual=$({lookup}); echo $virtual; {asks}"], check=False, timeout=120)
        self.assertRegex(done.stdout, r"^198\.1[89]\.", done)
        self.assertEqual(re.findall("inner8080|c-behind", done.stdout), ["inner8080", "c-behind"] * 3, done)
        self.assertEqual(self.status("other")["state"], "awake")
        self.sleep("other")


class Composed(ServiceTest):
    """A port that `compose up -d` adds: the stack is made anew and runs by that, and clients of the port wake it when it sleeps again."""

    per = "class"
    config = {"services": {"made": service("c-made", 9810, network=None, adopt=True, composeDir="/opt/made")}}

    @classmethod
    def prepare(cls, machine):
        del cls.config["services"]["made"]["network"]
        machine.set_config(cls.config)
        cls.compose(machine, "9810:80")
        machine.run("cd /opt/made && docker stop c-made")
        machine.systemctl("daemon-reload")

    @staticmethod
    def compose(machine, *ports):
        text = f"""version: "3.7"
services:
  made: {{image: sim, container_name: c-made, hostname: c-made, stop_grace_period: 1s, environment: {{PORT: "80,22"}}, ports: {list(ports)}, command: ["sh", "-c", "{SCRIPT}"]}}
"""
        machine.write("/opt/made/docker-compose.yml", text)
        command = "docker compose" if machine.run("docker compose version", check=False).returncode == 0 else "docker-compose"
        machine.run(f"cd /opt/made && {command} up -d", timeout=120)

    def test_a_port_that_compose_adds(self):
        m = self.machine
        self.settle()
        self.assertEqual(self.ask("http://127.0.0.1:9810/")[1].split()[0], "c-made")
        self.sleep("made")
        self.settle()
        self.compose(m, "9810:80", "9811:8080")
        self.wait_state("made", "awake", 60)
        m.wait_for(lambda: self.ask("http://127.0.0.1:9811/") == (200, "inner8080\n"), 60, what="the new port to be served")
        self.sleep("made")
        self.settle()
        self.assert_stopped("c-made")
        self.assertEqual(self.ask("http://127.0.0.1:9811/"), (200, "inner8080\n"))


class ProxyMode(ServiceTest):
    """Nothing is published: each port has its address, and its backend."""

    per = "class"
    config = {
        "services": {
            "proxy": service(
                "c-proxy",
                9850,
                listen="127.0.0.1:9850",
                backend="c-proxy:80",
                ports=[
                    {"port": 9851, "backend": "c-proxy:8080", "page": "auto"},
                    {"port": 9852, "backend": "c-proxy:22", "proxyProtocol": "v1"},
                    {"port": 9850, "protocol": "udp", "backend": "c-proxy:80"},
                    {"port": 9853, "protocol": "udp", "listen": ["udp:127.0.0.1:9853", "udp:[::1]:9853"], "backend": "c-proxy:22"},
                ],
            )
        }
    }

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-proxy")

    def test_each_port_has_its_backend(self):
        for _ in range(2):
            self.assertEqual(self.ask("http://127.0.0.1:9851/"), (200, "inner8080\n"))
            self.assertEqual(self.ask("http://127.0.0.1:9850/")[1].split()[0], "c-proxy")
            self.assertEqual(self.ask("http://127.0.0.1:9851/"), (200, "inner8080\n"))
            self.sleep("proxy")
            self.assert_stopped("c-proxy")

    def test_datagrams_wake_and_are_served(self):
        """One number on TCP and UDP; the first datagrams wait for the wake, and none is lost."""
        m = self.machine
        for host, port in (("127.0.0.1", "9850"), ("127.0.0.1", "9853"), ("::1", "9853")):
            cursor = m.journal_cursor()
            self.assertEqual(m.python(GAME, host, port, "20", "20", timeout=120).strip(), "no loss")
            self.assertEqual(len(self.records("WAKING", "proxy", cursor)), 1)
            self.assertEqual(self.ask("http://127.0.0.1:9850/")[1].split()[0], "c-proxy")
            self.assertIn({"port": int(port), "protocol": "udp"}, [{k: p[k] for k in ("port", "protocol")} for p in self.status("proxy")["ports"]])
            self.sleep("proxy")
            self.assert_stopped("c-proxy")

    def test_each_port_has_its_manner(self):
        """Who sees a page on one port, and waits on another, while both sleep; a header for one backend alone."""
        code, page = self.ask("http://127.0.0.1:9851/", *BROWSER)
        self.assertEqual((code, "<html" in page), (503, True))
        self.wait_state("proxy", "awake", 60)
        self.sleep("proxy")
        self.assertEqual(self.ask("http://127.0.0.1:9850/", *BROWSER)[1].split()[0], "c-proxy")
        # What is no HTTP is echoed: the header stands before it, also for who was held.
        for _ in range(2):
            self.assertRegex(self.machine.python(ECHO, "127.0.0.1", "9852", timeout=90), "^PROXY TCP4 127.0.0.1 127.0.0.1 ")
            self.sleep("proxy")


class OwnContainers(ServiceTest):
    """One of the stack that asks for another one's port by the host's address while both wake would wait for itself."""

    per = "class"
    asks = "docker exec c-asks wget -q -O /dev/null http://host.docker.internal:9761/"
    config = {
        "services": {
            "pair": {
                **{"name": "c-asks", "port": 9760, "page": "never", "idleTimeout": 0},
                "dependencies": [
                    {"container": "c-asked", "startOrder": 0, "healthCheck": {"tcp": 80, "interval": 200, "timeout": 60000}},
                    {"container": "c-asks", "startOrder": 1, "healthCheck": {"command": asks, "interval": 500, "timeout": 60000}},
                ],
            }
        }
    }

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-asked", "9761:80")
        options = ["--network", "same-port", "--add-host", "host.docker.internal:host-gateway", "-e", "PORT=80", "-p", "9760:80"]
        machine.docker("create", "--name", "c-asks", "--hostname", "c-asks", *options, "sim", "server")
        machine.systemctl("restart", "wakechain-settle.service")

    def test_are_not_held(self):
        for port, host in ((9760, "c-asks"), (9761, "c-asked")):
            self.assertEqual(self.ask(f"http://127.0.0.1:{port}/")[1].split()[0], host)
            self.sleep("pair")
            self.settle()
            self.assertNotIn("comment \"own\"", self.machine.out("nft list table inet wakechain"))
