"""UDP of a published port, nothing of the user's changed: the first datagram wakes the stack, flows that began while it slept go on through the
front, new ones go straight to the container, and whoever goes on sending after it was put to sleep wakes it again."""

import subprocess

from service_test import ServiceTest, front_options
from test_same_port import service
from test_udp import GAME

HOST = 9750
UDP = 9753
LOCAL = 9754

SEND = 'import socket, sys; socket.socket(2, 2).sendto(b"x", (sys.argv[1], int(sys.argv[2])))'

# One socket, as long as lines come: each is sent once, and what comes back is printed.
FLOW = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
s.settimeout(60)
for line in sys.stdin:
    s.send(line.strip().encode())
    print(s.recv(1000).decode(), flush=True)
"""


def create(machine, container, *published):
    if "same-port" not in machine.docker("network", "ls", "--format", "{{.Name}}").split():
        machine.docker("network", "create", "same-port")
    options = ["--network", "same-port", "--hostname", container, "-e", "PORT=80,53", "--stop-timeout", "1"]
    ports = [option for port in published for option in ("-p", port)]
    machine.docker("create", "--name", container, *options, *ports, "sim", "server")


class Flow:
    """A client that goes on from one port."""

    def __init__(self, test, where, host):
        popen = getattr(where, "netns_popen", where.popen)
        self.client = popen(["python3", "-c", FLOW, host, str(UDP)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        test.addCleanup(self.client.kill)

    def send(self, text):
        self.client.stdin.write(text + "\n")
        self.client.stdin.flush()

    def answer(self):
        return self.client.stdout.readline().strip()

    def ask(self, text):
        self.send(text)
        return self.answer()


def config(**members):
    ports = [{"port": port, "protocol": "udp"} for port in (UDP, LOCAL, 53)]
    return {"services": {"game": service("c-game", HOST, ports=ports, **members)}}


class UdpRedirect(ServiceTest):
    per = "class"
    config = config()

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-game", f"{HOST}:80", f"{UDP}:53/udp", f"127.0.0.1:{LOCAL}:53/udp", "53:53/udp")
        front_options(machine, "--exit-idle-time=200ms --udp-timeout=2s")
        machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:20 attempts:1\n")
        machine.systemctl("restart", "wakechain-settle.service")

    def setUp(self):
        self.sleep("game")
        self.settle()
        self.assert_stopped("c-game")
        self.cursor = self.machine.journal_cursor()

    def wakes(self):
        return len(self.records("WAKING", "game", self.cursor))

    def play(self, host="127.0.0.1", where=None, port=UDP):
        return (where or self.machine).python(GAME, host, str(port), "3", "20", timeout=90).strip()

    def test_resolver_wakes_a_name_server(self):
        m = self.machine
        self.assertEqual(m.out("getent ahostsv4 wake.example").split()[0], "192.0.2.1")
        self.assertEqual(self.wakes(), 1)
        self.assertEqual(self.status("game")["trigger"], "connection")
        self.assertEqual(m.out("getent ahostsv4 other.example").split()[0], "192.0.2.1")

    def test_from_another_host_over_both_families(self):
        peer = self.machine.add_peer_host()
        for host in (peer.machine_ipv4, peer.machine_ipv6):
            self.sleep("game")
            self.assertEqual(self.play(host, peer), "no loss")

    def test_what_is_published_on_loopback_alone(self):
        peer = self.machine.add_peer_host()
        with self.assertRaisesRegex(Exception, "refused"):
            self.play(peer.machine_ipv4, peer, LOCAL)
        # Nor do datagrams that come to the redirect port by themselves.
        peer.python(SEND, peer.machine_ipv4, str(UDP + 20000))
        self.assertEqual(self.wakes(), 0)
        self.assertEqual(self.play(port=LOCAL), "no loss")

    def test_old_flows_go_on_and_new_ones_go_straight(self):
        m = self.machine
        peer = m.add_peer_host()
        for where, host in ((peer, peer.machine_ipv4), (m, "127.0.0.1"), (peer, peer.machine_ipv6)):
            self.sleep("game")
            old = Flow(self, where, host)
            self.assertEqual(old.ask("first"), "first")
            self.wait_state("game", "awake", 60)
            for text in ("second", "third"):
                self.assertEqual(old.ask(text), text)
            self.assertEqual(m.show("wake-front@game.service", "ActiveState"), "active")
            m.run("systemctl stop wake-front@game.service")
            started = m.show("wake-front@game.service", "InvocationID")
            self.assertEqual(self.play(host, where), "no loss")
            self.assertEqual(m.show("wake-front@game.service", "InvocationID"), started)
            # An old one has its place with the front.
            self.assertEqual(old.ask("fourth"), "fourth")
            self.assertNotEqual(m.show("wake-front@game.service", "InvocationID"), started)

    def test_who_goes_on_sending_wakes_it_again(self):
        m = self.machine
        peer = m.add_peer_host()
        for where, host in ((peer, peer.machine_ipv4), (m, "127.0.0.1"), (peer, peer.machine_ipv6)):
            self.ask(f"http://127.0.0.1:{HOST}/")
            self.wait_state("game", "awake", 60)
            flow = Flow(self, where, host)
            self.assertEqual(flow.ask("straight"), "straight")
            self.sleep("game")
            self.assert_stopped("c-game")
            cursor = m.journal_cursor()
            self.assertEqual(flow.ask("again"), "again")
            self.assertEqual(len(self.records("WAKING", "game", cursor)), 1)
            self.assertEqual(flow.ask("on"), "on")
            self.sleep("game")

    def test_who_goes_on_sending_after_it_has_ended_by_itself(self):
        m = self.machine
        self.ask(f"http://127.0.0.1:{HOST}/")
        self.wait_state("game", "awake", 60)
        flow = Flow(self, m, "127.0.0.1")
        self.assertEqual(flow.ask("straight"), "straight")
        m.docker("stop", "c-game")
        self.wait_state("game", "asleep", 60)
        self.assertEqual(flow.ask("again"), "again")

    def test_datagrams_keep_it_awake(self):
        m = self.machine
        m.set_config(config(idleTimeout="4s"))
        m.systemctl("daemon-reload")
        self.addCleanup(lambda: (m.set_config(self.config), m.systemctl("daemon-reload")))
        self.ask(f"http://127.0.0.1:{HOST}/")
        self.wait_state("game", "awake", 60)
        flow = Flow(self, m, "127.0.0.1")

        def goes_on():
            return flow.ask("on") == "on" and self.status("game")["state"] == "awake"

        self.remain(12, goes_on, "datagrams are use")
        self.wait_state("game", "asleep", 60)


class UdpAlone(ServiceTest):
    """No port of TCP at all."""

    config = {
        "services": {
            "vpn": {
                "name": "c-vpn",
                "network": "same-port",
                "idleTimeout": "4s",
                "ports": [{"port": UDP, "protocol": "udp"}],
                "dependencies": [{"container": "c-vpn", "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 20000}}],
            }
        }
    }

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-vpn", f"{UDP}:53/udp")
        front_options(machine, "--exit-idle-time=200ms --udp-timeout=2s")
        machine.systemctl("restart", "wakechain-settle.service")

    def test_it_wakes_goes_straight_sleeps_and_wakes_again(self):
        m = self.machine
        peer = m.add_peer_host()
        for where, host in ((m, "127.0.0.1"), (peer, peer.machine_ipv6)):
            held = Flow(self, where, host)
            self.assertEqual(held.ask("first"), "first")
            self.wait_state("vpn", "awake", 60)
            self.assertEqual(self.status("vpn")["trigger"], "connection")
            m.run("systemctl stop wake-front@vpn.service")
            started = m.show("wake-front@vpn.service", "InvocationID")
            straight = Flow(self, where, host)
            self.assertEqual(straight.ask("straight"), "straight")
            self.assertEqual(m.show("wake-front@vpn.service", "InvocationID"), started)

            def goes_on():
                return straight.ask("on") == "on" and self.status("vpn")["state"] == "awake"

            self.remain(8, goes_on, "datagrams are use")
            self.wait_state("vpn", "asleep", 60)
            self.assertEqual(straight.ask("again"), "again")
            self.wait_state("vpn", "awake", 60)
            self.sleep("vpn")
            self.assert_stopped("c-vpn")

    def test_started_by_somebody_else_it_is_reached_by_itself(self):
        m = self.machine
        m.systemctl("start", "wake@vpn")
        self.sleep("vpn")
        m.docker("start", "c-vpn")
        self.wait_state("vpn", "awake", 60)
        self.assertEqual(self.status("vpn")["trigger"], "outside")
        flow = Flow(self, m, "127.0.0.1")
        self.assertEqual(flow.ask("straight"), "straight")
        self.assertEqual(m.show("wake-front@vpn.service", "ActiveState"), "inactive")
        self.wait_state("vpn", "asleep", 60)
        self.assertEqual(flow.ask("again"), "again")
