"""A reverse proxy in a container asks for a name on a network that both are on, and nothing is published: the name has an address while its container
sleeps, and a connection there wakes it."""

from names_test import NETWORK, REDIRECT, NamesTest, question, service

LONG = "a" * 63
ALIASES = ["a", "sixteen-letters-", "seventeen_letters", "_9", LONG]

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


class Names(NamesTest):
    config = {"services": {"shop": service()}}

    @classmethod
    def prepare(cls, machine):
        m = machine
        super().prepare(m)
        cls.create(m, "app", *ALIASES)
        m.systemctl("restart", "wakechain-redirect.service")
        for name, port, text in (("static", 8081, STATIC), ("resolver", 8082, RESOLVER)):
            m.write(f"/opt/{name}.conf", PROXY % text)
            options = ["--network", NETWORK, "-p", f"{port}:80", "-v", f"/opt/{name}.conf:/etc/nginx/nginx.conf:ro"]
            m.docker("run", "-d", "--name", name, *options, "real", "nginx", "-g", "daemon off;")

    def setUp(self):
        self.sleep("shop")
        self.settle()
        self.assert_stopped("app")

    def test_proxies_wake_it(self):
        for port, resolves in ((8081, False), (8082, True)):
            with self.subTest(port=port):
                self.check_proxy("shop", "app", port, resolves)
        self.machine.run([REDIRECT, "check"])
        self.wait_no_names()

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
        self.wait_no_names()
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
            out = self.peer.run(["python3", "-Ic", ask, self.peer.machine_ipv4, question(1, "app").hex(), str(port)]).stdout
            self.assertEqual(out.strip(), "nothing", port)
        self.assertEqual(self.unit_state("wakechain-names.service"), "inactive")
        m.run([REDIRECT, "check"])
