"""NamesTest: a ServiceTest whose containers are asked for by their names, on networks of Docker's, with a nameserver of the host that knows nothing."""

import json
import re
import struct
import subprocess
import sys

from service_test import ServiceTest, wait_for

REDIRECT = "/usr/lib/wakechain/wakechain-redirect"
NETWORK = "proxy"
TYPES = {"A": 1, "AAAA": 28, "MX": 15}
NXDOMAIN = 3

# A nameserver, which knows nothing: says each name that it is asked for, by UDP or TCP.
NAMESERVER = """
import socket, threading
udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
for s in (udp, tcp):
    s.bind(("0.0.0.0", 53))
tcp.listen(16)
print("listening", flush=True)

def answer(packet):
    name, at = [], 12
    while packet[at]:
        name.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    print(".".join(name), flush=True)
    return packet[:2] + b"\\x81\\x83" + packet[4:6] + bytes(6) + packet[12:at + 5]

def streams():
    while True:
        client, _ = tcp.accept()
        with client, client.makefile("rb") as stream:
            size = int.from_bytes(stream.read(2), "big")
            reply = answer(stream.read(size))
            client.sendall(len(reply).to_bytes(2, "big") + reply)

threading.Thread(target=streams, daemon=True).start()
while True:
    packet, peer = udp.recvfrom(512)
    udp.sendto(answer(packet), peer)
"""

# Sends all of the packets, before it reads; says the answers that come, as a list of texts.
ASK = """
import json, socket, sys
address, how, *packets = sys.argv[1:]
packets = [bytes.fromhex(p) for p in packets]
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((address, 53))
found = []
for p in packets:
    s.sendall((len(p).to_bytes(2, "big") if how == "tcp" else b"") + p)
stream = s.makefile("rb") if how == "tcp" else None
for p in packets:
    found.append((stream.read(int.from_bytes(stream.read(2), "big")) if how == "tcp" else s.recv(512)).hex())
print(json.dumps(found))
"""

# The first word of a page.
PAGE = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=int(sys.argv[2])).read().split()[0].decode())
except OSError:
    pass
"""


def service(container="app", **members):
    check = {"container": container, "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 20000}}
    return {"name": container, "names": True, "network": NETWORK, "idleTimeout": 0, "page": "never", "dependencies": [check], **members}


def question(number, name, kind="A", extended=False):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    extension = b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0) if extended else b""
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, extended) + labels + struct.pack("!BHH", 0, TYPES[kind], 1) + extension


def parse(packet):
    """(number, response code, addresses of IPv4 in it)"""
    number, flags, _, answers = struct.unpack_from("!4H", packet)
    at = packet.index(b"\0", 12) + 5
    addresses = []
    for _ in range(answers):
        # The name is a pointer, or whole.
        at = at + 2 if packet[at] >= 0xC0 else packet.index(b"\0", at) + 1
        kind, _, _, size = struct.unpack_from("!HHIH", packet, at)
        if kind == 1:
            addresses.append(".".join(str(byte) for byte in packet[at + 10 : at + 14]))
        at += 10 + size
    return number, flags & 15, addresses


class NamesTest(ServiceTest):
    per = "class"
    marks = 0

    @classmethod
    def prepare(cls, machine):
        cls.peer = machine.add_peer_host()
        cls.nameserver = cls.peer.popen(["python3", "-Ic", NAMESERVER], stdout=subprocess.PIPE)
        cls.nameserver.stdout.readline()
        machine.write("/etc/resolv.conf", f"nameserver {cls.peer.ipv4}\n")
        machine.docker("network", "create", NETWORK)

    @classmethod
    def create(cls, machine, name, *aliases, port=80, network=NETWORK):
        options = ["--hostname", name, "--network", network, *(f"--network-alias={alias}" for alias in aliases)]
        machine.docker("create", "--name", name, *options, "--stop-timeout", "1", "--expose", str(port), "-e", f"PORT={port}", "sim", "server")

    @classmethod
    def client(cls, machine, name, *networks):
        """A container that does nothing: for page_in() and asked_by()."""
        machine.docker("run", "-d", "--name", name, "--stop-timeout", "1", "--network", networks[0], "sim", "sleep", "1000000")
        for network in networks[1:]:
            machine.docker("network", "connect", network, name)

    def page_in(self, container, host, port=80, timeout=60):
        """Who answers a client on the network of that container; None: nobody."""
        if not host[0].isdigit():
            ((_, addresses),) = self.asked_by(container, (host, "A", False))
            if not addresses:
                return None
            host = addresses[0]
        return self.enter(container, PAGE, f"http://{host}:{port}/", str(timeout)).strip() or None

    def lookup(self, name, *, where=NETWORK):
        """What a container on that network is told: addresses."""
        done = self.machine.run(["docker", "run", "--rm", "--network", where, "sim", "nslookup", name], check=False)
        return re.findall(r"^Address(?: 1)?: (\S+)", done.stdout.partition("Name:")[2], re.M)

    def enter(self, container, script, *arguments):
        """Runs Python of the host on the network of that container."""
        pid = self.machine.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
        namespace = f"--net=/proc/{self.machine.leader}/root/proc/{pid}/ns/net"
        done = subprocess.run(["nsenter", namespace, sys.executable, "-Ic", script, *arguments], stdout=subprocess.PIPE, text=True, timeout=180)
        self.assertEqual(done.returncode, 0)
        return done.stdout

    def asked_by(self, container, *questions, how="udp", server="127.0.0.11"):
        """The answers to (name, type, EDNS), all asked at once: (response code, addresses) each."""
        packets = [question(number, *what).hex() for number, what in enumerate(questions)]
        found = sorted(parse(bytes.fromhex(text)) for text in json.loads(self.enter(container, ASK, server, how, *packets)))
        self.assertEqual([number for number, _, _ in found], list(range(len(questions))))
        return [answer for _, *answer in found]

    def asked(self):
        """Names that the nameserver has been asked for since the last call: what is asked for here is the last of them."""
        type(self).marks += 1
        self.lookup(f"mark-{self.marks}")
        names = []
        while f"mark-{self.marks}" not in names:
            names.append(self.nameserver.stdout.readline().strip())
        return [name for name in names if not name.startswith("mark-")]

    def page(self, port, resolves):
        """Who answers through that proxy. One that resolves anew may remember the container's own address, where nobody answers, for a while."""

        def answered():
            code, page = self.ask(f"http://127.0.0.1:{port}/", **({"timeout": 5} if resolves else {}))
            self.assertIn(code, (200, 502, 503, 504, 0) if resolves else (200,), page)
            return page.split()[:2] if code == 200 else None

        return wait_for(answered, 60, what=f"an answer at {port}")

    def check_proxy(self, service, container, port, resolves):
        """Twice: it wakes the stack, and reaches the awake one without anybody of ours."""
        for _ in range(2):
            self.assert_stopped(container)
            self.assertEqual(self.page(port, resolves)[0], container)
            self.assertEqual(self.status(service)["state"], "awake")
            self.machine.systemctl("stop", f"wake-front@{service}.service")
            self.assertEqual(self.page(port, resolves)[0], container)
            self.assertEqual(self.unit_state(f"wake-front@{service}.service"), "inactive")
            self.sleep(service)

    def wait_no_names(self):
        wait_for(lambda: self.unit_state("wakechain-names.service") == "inactive", 30, what="names to end")
