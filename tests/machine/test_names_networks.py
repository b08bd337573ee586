"""Names of sleeping containers on Docker's networks as they are: bridges with and without iptables, clients on two networks, whatever nameservers the
host has, several kinds of questions, and what becomes of names when rules, engine or networks go and come back."""

import json

from names_test import NETWORK, NXDOMAIN, REDIRECT, NamesTest, question, service

BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
SECOND = "another"

FLOOD = """
import socket, sys
address, packet, n = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(n):
    if i % 100 == 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(packet, (address, 53))
"""


class Networks(NamesTest):
    """`site` has the names of two containers; it is behind `shop` in the file, and before it by name."""

    config = {
        "services": {
            "shop": service(),
            "pair": {**service("site"), "names": ["api"], "dependencies": [*service("site")["dependencies"], {"container": "api"}]},
        }
    }

    @classmethod
    def prepare(cls, machine):
        m = machine
        super().prepare(m)
        for network in (SECOND, "elsewhere", "a-way-out"):
            m.docker("network", "create", network)
        cls.create(m, "app", "common")
        m.docker("network", "connect", SECOND, "app")
        cls.create(m, "site", "common")
        cls.create(m, "api", "rest", port=8080)
        m.systemctl("restart", "wakechain-redirect.service")
        cls.client(m, "client", NETWORK)
        cls.client(m, "both", NETWORK, SECOND)
        cls.client(m, "stranger", "elsewhere")

    def setUp(self):
        m = self.machine
        m.write("/etc/resolv.conf", f"nameserver {self.peer.ipv4}\n")
        self.sleep("shop", "pair")
        self.settle()
        self.assert_stopped("app", "site", "api")

    def virtual(self, name, container="client"):
        ((code, addresses),) = self.asked_by(container, (name, "A", False))
        self.assertEqual((code, len(addresses)), (0, 1))
        return addresses[0]

    def assert_whole(self):
        self.machine.run([REDIRECT, "check"])

    def check_served(self, container, name="app", service="shop"):
        """Asleep, and awake by the virtual address that was kept, without a front."""
        virtual = self.virtual(name, container)
        self.assertEqual(self.page_in(container, name), name)
        self.assertEqual(self.status(service)["state"], "awake")
        self.machine.systemctl("stop", f"wake-front@{service}.service")
        self.assertEqual(self.page_in(container, virtual), name)
        self.assertEqual(self.unit_state(f"wake-front@{service}.service"), "inactive")

    def test_bridges_with_and_without_iptables(self):
        m = self.machine
        before = m.read(BRIDGED)
        self.addCleanup(m.run, f"echo {before.strip()} > {BRIDGED}")
        for value in (0, 1):
            with self.subTest(value):
                m.run(f"echo {value} > {BRIDGED}")
                self.check_served("client")
                self.sleep("shop")

    def test_a_client_on_two_networks(self):
        self.check_served("both")

    def test_a_client_whose_way_out_is_another_network(self):
        """As a proxy's may be that is on a network of its own as well: its questions come by that one. Who is on that alone has no such name."""
        m = self.machine
        self.client(m, "guest", "a-way-out", NETWORK)
        self.client(m, "neighbour", "a-way-out")
        self.addCleanup(m.run, "docker rm -f guest neighbour")
        self.settle()
        self.assertEqual(self.asked_by("neighbour", ("app", "A", False)), [[NXDOMAIN, []]])
        virtual = self.virtual("app", "guest")
        self.assertEqual(virtual, self.virtual("app"))
        self.assertIsNone(self.page_in("neighbour", virtual, timeout=2))
        self.assertEqual(self.page_in("guest", "app"), "app")
        self.assertEqual(self.status("shop")["state"], "awake")
        # The engine keeps its networks apart: who kept the address goes on by the front.
        self.assertEqual(self.page_in("guest", virtual), "app")
        self.assertEqual(self.page_in("guest", "app"), "app")
        self.assert_whole()
        # The next who has that address is not it.
        self.sleep("shop")
        own = m.docker("inspect", "-f", '{{(index .NetworkSettings.Networks "a-way-out").IPAddress}}', "guest")
        m.docker("rm", "-f", "guest")
        self.client(m, "heir", "a-way-out")
        self.addCleanup(m.docker, "rm", "-f", "heir")
        self.assertEqual(m.docker("inspect", "-f", '{{(index .NetworkSettings.Networks "a-way-out").IPAddress}}', "heir"), own)
        self.settle()
        self.assertEqual(self.asked_by("heir", ("app", "A", False)), [[NXDOMAIN, []]])

    def test_further_containers(self):
        """Each name of the list leads to its own container, whose clients are use of the stack like any."""
        m = self.machine
        site, api = self.virtual("site"), self.virtual("api")
        self.assertNotEqual(site, api)
        self.assertEqual(self.virtual("rest"), api)
        self.assertEqual(self.page_in("client", "rest", 8080), "api")
        self.assertEqual(self.status("pair")["state"], "awake")
        names = {name["address"]: name["backends"] for name in self.status("pair")["names"]}
        self.assertEqual(set(names), {site, api})
        m.systemctl("stop", "wake-front@pair.service")
        for host, port, container in ((api, 8080, "api"), (site, 80, "site"), ("api", 8080, "api")):
            self.assertEqual(self.page_in("client", host, port), container)
        self.assertEqual(self.unit_state("wake-front@pair.service"), "inactive")
        # They are known when nobody tells, too.
        self.sleep("pair")
        m.run("rm -f /run/wakechain/names")
        m.systemctl("stop", "docker.socket", "docker.service")
        self.settle()
        self.assertIn(f" api {api}\n", m.read("/run/wakechain/names"))
        m.systemctl("start", "docker.socket", "docker.service")
        m.docker("start", "client", "both", "stranger")

    def test_a_name_of_two_services(self):
        """It is that of the first in the file, while both sleep; awake, the other one's is its own."""
        self.assertEqual(self.virtual("common"), self.virtual("app"))
        self.assertNotEqual(self.virtual("common"), self.virtual("site"))
        self.machine.write("/tmp/check.json", json.dumps(self.config))
        done = self.machine.run(["wakectl", "check", "--engine", "/tmp/check.json"], check=False)
        self.assertIn("is a name of service 'pair' on the same network", done.stdout + done.stderr)
        self.assertIn("it is that of 'shop', which is the first in the files", done.stdout + done.stderr)

    def test_kinds_of_questions(self):
        """Both families at once, with and without EDNS. What is asked by TCP is not taken, since such a question is not in a connection's first packet."""
        virtual = self.virtual("app")
        asked = [("app", kind, extended) for extended in (False, True) for kind in ("AAAA", "A", "MX")]
        answers = self.asked_by("client", *asked)
        for (name, kind, _), answer in zip(asked, answers):
            self.assertEqual(answer, [0, [virtual] if kind == "A" else []], (name, kind))
        self.asked()
        self.assertEqual(self.asked_by("client", ("app", "A", False), how="tcp"), [[NXDOMAIN, []]])
        self.assertEqual(self.asked(), ["app"])
        self.assert_stopped("app")

    def test_nameservers_of_the_host(self):
        """None: the engine takes some of the internet, which nobody here reaches. Loopback: it asks from the host itself."""
        m = self.machine
        virtual = self.virtual("app")
        for text in ("", "nameserver 127.0.0.1\n", "nameserver 127.0.0.53\n"):
            with self.subTest(text):
                m.write("/etc/resolv.conf", text)
                self.settle()
                self.assertEqual(self.lookup("app"), [virtual])
                self.assert_whole()

    def test_another_networks_names(self):
        """Nobody there is told of them, and the address is nobody's."""
        virtual = self.virtual("app")
        self.asked()
        self.assertEqual(self.asked_by("stranger", ("app", "A", False)), [[NXDOMAIN, []]])
        self.assertEqual(self.asked(), ["app"])
        self.assertIsNone(self.page_in("stranger", virtual, timeout=2))
        self.assert_stopped("app")
        self.assertEqual(self.unit_state("wake@shop.service"), "inactive")

    def test_a_flood_wakes_nobody(self):
        m = self.machine
        virtual = self.virtual("app")
        self.enter("client", FLOOD, self.peer.ipv4, question(1, "app").hex(), "50000")
        self.assert_stopped("app")
        self.assertEqual((self.unit_state("wake@shop.service"), self.unit_state("wake-front@shop.service")), ("inactive", "inactive"))
        self.assertEqual(self.virtual("app"), virtual)
        self.assertEqual(m.show("wakechain-names.socket", "ActiveState"), "active")
        self.wait_no_names()

    def test_names_come_back(self):
        """After whoever took their rules."""
        m = self.machine
        virtual = self.virtual("app")
        for what in (
            "systemctl restart wakechain-redirect.service",
            "nft delete table inet wakechain; systemctl reload wakechain-redirect.service",
            "nft flush table inet wakechain; systemctl start wakechain-settle.service; systemctl restart wakechain-settle.service",
            "systemctl kill --signal=KILL wakechain-names.service",
            "systemctl restart docker.service; docker start client both stranger",
        ):
            with self.subTest(what):
                m.run(what)
                self.assertEqual(self.virtual("app"), virtual)
                self.assert_whole()
        self.check_served("client")

    def test_made_anew(self):
        """A container with another alias, on a network that is another one of the same name."""
        m = self.machine
        virtual = self.virtual("app")
        m.docker("rm", "app")
        m.docker("network", "disconnect", SECOND, "both")
        m.docker("network", "rm", SECOND)
        m.docker("network", "create", SECOND)
        m.docker("network", "connect", SECOND, "both")
        self.create(m, "app", "common", "newcomer", network=SECOND)
        m.docker("network", "connect", "--alias", "common", NETWORK, "app")
        self.settle()
        self.assertEqual(self.virtual("newcomer", "both"), virtual)
        self.assertEqual(self.virtual("app"), virtual)
        self.check_served("both")
