"""UDP of a published port, nothing of the user's changed: the first datagram wakes the stack, flows that began while it slept go on through the
front, new ones go straight to the container, and whoever goes on sending after it was put to sleep wakes it again."""

from service_test import ServiceTest, front_options
from test_same_port import service
from test_udp import GAME

HOST = 9750
UDP = 9753

# One socket, as long as lines come: each is sent, and what comes back printed. What is not answered is sent again, as a resolver does.
FLOW = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
for line in sys.stdin:
    for _ in range(30):
        try:
            s.settimeout(int(sys.argv[3]))
            s.send(line.strip().encode())
            print(s.recv(1000).decode(), flush=True)
            break
        except (TimeoutError, ConnectionRefusedError) as error:
            print("again:", type(error).__name__, file=sys.stderr, flush=True)
"""


def create(machine, container, *published):
    if "same-port" not in machine.docker("network", "ls", "--format", "{{.Name}}").split():
        machine.docker("network", "create", "same-port")
    options = ["--network", "same-port", "--hostname", container, "-e", "PORT=80,53", "--stop-timeout", "1"]
    ports = [option for port in published for option in ("-p", port)]
    machine.docker("create", "--name", container, *options, *ports, "sim", "server")


class UdpRedirect(ServiceTest):
    per = "class"
    config = {"services": {"game": service("c-game", HOST, ports=[{"port": UDP, "protocol": "udp"}])}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-game", f"{HOST}:80", f"{UDP}:53/udp")
        front_options(machine, "--exit-idle-time=200ms --udp-timeout=2s")
        machine.systemctl("restart", "wakechain-settle.service")

    def setUp(self):
        self.sleep("game")
        self.settle()
        self.assert_stopped("c-game")
        self.cursor = self.machine.journal_cursor()

    def play(self, host="127.0.0.1", where=None, clients=3):
        return (where or self.machine).python(GAME, host, str(UDP), str(clients), "20", timeout=90).strip()

    def test_the_first_datagram_wakes(self):
        self.assertEqual(self.play(), "no loss")
        self.assertEqual(len(self.records("WAKING", "game", self.cursor)), 1)
        self.assertEqual(self.status("game")["trigger"], "connection")

    def test_from_another_host_over_both_families(self):
        peer = self.machine.add_peer_host()
        for host in (peer.machine_ipv4, peer.machine_ipv6):
            self.sleep("game")
            self.assertEqual(self.play(host, peer), "no loss")
