"""UDP: the first datagram wakes a stack and is answered, replies come from the address that was asked, nothing is lost while it is
awake, and it sleeps when nobody has sent anything for a while."""

from service_test import ServiceTest, front_options, stacks, users_config

READY_SOON = {"command": "docker exec memvid-api curl -f http://localhost:8100/", "interval": 100, "timeout": 20000}

# A game: CLIENTS of them, each sends the next number when the last came back.
GAME = """
import select, socket, sys, time
host, port, clients, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(clients)]
sent = {}
poll = select.epoll()
for number, s in enumerate(sockets):
    s.connect((host, port))  # takes replies from there only
    s.send(b"game %d 0" % number)
    sent[s.fileno()] = [s, number, 0]
    poll.register(s, select.EPOLLIN)
while sent:
    ready = poll.poll(60)
    assert ready, f"no reply for {len(sent)} clients: {[x[1:] for x in sent.values()]}"
    for fd, _ in ready:
        s, number, count = sent[fd]
        assert s.recv(100) == b"game %d %d" % (number, count)
        if count + 1 == rounds:
            poll.unregister(fd)
            del sent[fd]
        else:
            sent[fd][2] += 1
            s.send(b"game %d %d" % (number, count + 1))
print("no loss")
"""

OPTIONS = "--exit-idle-time=200ms --udp-timeout={}"


class Udp(ServiceTest):
    config = users_config(
        memvid={
            "dependencies": [{"container": "memvid-api", "startOrder": 1, "healthCheck": READY_SOON}],
            "listen": ["udp:53", "udp:127.0.0.1:8200"],
            "backend": "memvid-api:8100",
            "idleTimeout": "1s",
        }
    )

    @classmethod
    def prepare(cls, machine):
        front_options(machine, OPTIONS.format("2s"))
        machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:20 attempts:1\n")

    def setUp(self):
        super().setUp()
        self.addCleanup(self.sleep, "memvid")

    def test_resolver_wakes_a_name_server(self):
        m = self.machine
        cursor = m.journal_cursor()
        self.assert_stopped("memvid-api")
        self.assertIn("*:53", m.out("ss -Hlun sport = 53"))
        self.assertEqual(m.out("getent ahostsv4 wake.example").split()[0], "192.0.2.1")
        self.assert_running("memvid-api")
        self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)
        self.assertEqual(self.status("memvid")["trigger"], "connection")

    def test_from_another_host_over_both_families(self):
        peer = self.machine.add_peer_host()
        for host in (peer.machine_ipv4, peer.machine_ipv6):
            self.assertEqual(peer.python(GAME, host, "53", "3", "20").strip(), "no loss")

    def test_addresses_of_the_wildcard_answer_for_themselves(self):
        for host in ("127.0.0.1", "127.0.0.2", "::1", "127.3.2.1"):
            self.assertEqual(self.machine.python(GAME, host, "53", "1", "3").strip(), "no loss")

    def test_many_clients_lose_nothing(self):
        self.assertEqual(self.machine.python(GAME, "127.0.0.1", "8200", "100", "200", timeout=120).strip(), "no loss")

    def test_sleeps_when_nobody_sends(self):
        m = self.machine
        cursor = m.journal_cursor()
        for _ in range(2):
            self.assertEqual(m.python(GAME, "127.0.0.1", "8200", "2", "5").strip(), "no loss")
            self.follow("ASLEEP", "memvid", cursor, timeout=30)
            cursor = m.journal_cursor()
            self.assert_stopped("memvid-api")
            self.wait_unit("wake-front@memvid.service", "inactive")
        self.wait_no_process()

    def test_server_that_is_late_gets_the_first_datagram(self):
        """Its health check is not about the port of UDP: the port is closed yet when the stack is awake."""
        m = self.machine
        stacks.set_delay(m, "memvid-api", 1.5)
        self.addCleanup(stacks.set_delay, m, "memvid-api", None)
        config = users_config(
            memvid={
                "dependencies": [{"container": "memvid-api", "startOrder": 1, "startupDelay": "100ms"}],
                "listen": ["udp:53", "udp:127.0.0.1:8200"],
                "backend": "memvid-api:8100",
            }
        )
        before = self.config
        m.set_config(config)
        # Whoever waits for the server waits no longer than that.
        self.wait_unit("wake-front@memvid.service", "inactive")
        self.addCleanup(front_options, m, OPTIONS.format("2s"))
        front_options(m, OPTIONS.format("1min"))
        self.addCleanup(m.systemctl, "daemon-reload")
        self.addCleanup(m.set_config, before)
        cursor = m.journal_cursor()
        self.assertEqual(m.python(GAME, "127.0.0.1", "8200", "20", "5").strip(), "no loss")
        self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)
