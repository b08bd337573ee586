"""A reverse proxy in a container asks for a name on a network that both are on, and nothing is published: the name has an address while its container
sleeps, and a connection there wakes it."""

import re
import subprocess

from service_test import ServiceTest, wait_for

REDIRECT = "/usr/lib/wakechain/wakechain-redirect"
NETWORK = "proxy"
LONG = "a" * 63
ALIASES = ["a", "sixteen-letters-", "seventeen_letters", LONG]

# A nameserver, which knows nothing: says each name that it is asked for.
NAMESERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
print("listening", flush=True)
while True:
    packet, peer = s.recvfrom(512)
    name, at = [], 12
    while packet[at]:
        name.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    print(".".join(name), flush=True)
    s.sendto(packet[:2] + b"\\x81\\x83" + packet[4:6] + bytes(6) + packet[12:at + 5], peer)
"""

PROXY = """
events {}
http {
    access_log off;
    server {
        listen 80;
        %s
    }
}
"""
STATIC = "location / { proxy_pass http://app:80; }"
RESOLVER = "resolver 127.0.0.11 valid=1s; location / { set $app http://App:80; proxy_pass $app; }"


def service(**members):
    check = {"container": "app", "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 20000}}
    return {"name": "app", "names": True, "network": NETWORK, "idleTimeout": 0, "page": "never", "dependencies": [check], **members}


class Names(ServiceTest):
    per = "class"
    config = {"services": {"shop": service()}}
    marks = 0

    @classmethod
    def prepare(cls, machine):
        m = machine
        cls.peer = m.add_peer_host()
        cls.nameserver = cls.peer.popen(["python3", "-Ic", NAMESERVER], stdout=subprocess.PIPE)
        cls.nameserver.stdout.readline()
        m.write("/etc/resolv.conf", f"nameserver {cls.peer.ipv4}\n")
        m.docker("network", "create", NETWORK)
        aliases = [f"--network-alias={alias}" for alias in ALIASES]
        m.docker("create", "--name", "app", "--hostname", "app", "--network", NETWORK, *aliases, "--expose", "80", "-e", "PORT=80", "sim", "server")
        m.systemctl("restart", "wakechain-redirect.service")
        for name, port, text in (("static", 8081, STATIC), ("resolver", 8082, RESOLVER)):
            m.write(f"/opt/{name}.conf", PROXY % text)
            options = ["--network", NETWORK, "-p", f"{port}:80", "-v", f"/opt/{name}.conf:/etc/nginx/nginx.conf:ro"]
            m.docker("run", "-d", "--name", name, *options, "real", "nginx", "-g", "daemon off;")

    def setUp(self):
        self.sleep("shop")
        self.settle()
        self.assert_stopped("app")

    def page(self, port):
        """Who answers through that proxy. One that resolves anew remembers the container's own address, where nobody answers, as long as it was
        told to."""

        def answered():
            code, page = self.ask(f"http://127.0.0.1:{port}/", **({"timeout": 5} if port == 8082 else {}))
            self.assertIn(code, (200, 502, 0) if port == 8082 else (200,), page)
            return page.split()[:2] if code == 200 else None

        return wait_for(answered, 60, what=f"an answer at {port}")

    def lookup(self, name, *, where=NETWORK):
        """What a container on that network is told: addresses."""
        done = self.machine.run(["docker", "run", "--rm", "--network", where, "sim", "nslookup", name], check=False)
        return re.findall(r"^Address(?: 1)?: (\S+)", done.stdout.partition("Name:")[2], re.M)

    def asked(self):
        """Names that the nameserver has been asked for since the last call: what is asked for here is the last of them."""
        type(self).marks += 1
        self.lookup(f"mark-{self.marks}")
        names = []
        while f"mark-{self.marks}" not in names:
            names.append(self.nameserver.stdout.readline().strip())
        return [name for name in names if not name.startswith("mark-")]

    def test_proxies_wake_it(self):
        m = self.machine
        for port in (8081, 8082):
            for _ in range(2):
                with self.subTest(port=port):
                    self.assert_stopped("app")
                    self.assertEqual(self.page(port)[0], "app")
                    self.assertEqual(self.status("shop")["state"], "awake")
                    # Straight to the container, without anybody of ours.
                    m.systemctl("stop", "wake-front@shop.service")
                    self.assertEqual(self.page(port)[0], "app")
                    self.assertEqual(self.unit_state("wake-front@shop.service"), "inactive")
                    self.sleep("shop")
        m.run([REDIRECT, "check"])
        wait_for(lambda: self.unit_state("wakechain-names.service") == "inactive", 30, what="names to end")

    def test_names(self):
        virtual = self.lookup("app")
        self.assertEqual(len(virtual), 1)
        self.assertRegex(virtual[0], r"^198\.1[89]\.")
        self.asked()
        for name in ("APP", "aPp", *ALIASES, LONG.upper()):
            with self.subTest(name=name):
                self.assertEqual(self.lookup(name), virtual)
        self.assertEqual(self.asked(), [])
        # A name does not wake.
        self.assert_stopped("app")

    def test_others_go_where_they_went(self):
        self.lookup("app")
        wait_for(lambda: self.unit_state("wakechain-names.service") == "inactive", 30, what="names to end")
        self.asked()
        others = ("ap", "appp", "app.example", LONG[1:], "b" * 63)
        for name in others:
            self.assertEqual(self.lookup(name), [])
        self.assertEqual({name for name in self.asked() if name in others}, set(others))
        # None of them came by here.
        self.assertEqual(self.unit_state("wakechain-names.service"), "inactive")

    def test_on_its_network_only(self):
        m = self.machine
        m.docker("network", "create", "elsewhere")
        self.addCleanup(m.docker, "network", "rm", "elsewhere")
        self.assertEqual(self.lookup("app", where="elsewhere"), [])
        self.assertIn("app", self.asked())

    def test_questions_from_outside(self):
        """To the port where the names listen, and to that of DNS."""
        m = self.machine
        question = bytes.fromhex("123401000001000000000000") + b"\x03app\x00\x00\x01\x00\x01"
        ask = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], int(sys.argv[3])))
try:
    print("answered", s.recv(512))
except (socket.timeout, ConnectionRefusedError):
    print("nothing")
"""
        for port in (19853, 53):
            out = self.peer.run(["python3", "-Ic", ask, self.peer.machine_ipv4, question.hex(), str(port)]).stdout
            self.assertEqual(out.strip(), "nothing", port)
        self.assertEqual(self.unit_state("wakechain-names.service"), "inactive")
        m.run([REDIRECT, "check"])
