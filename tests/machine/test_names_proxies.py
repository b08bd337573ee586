"""Other real proxies in containers, and a program that keeps an address for ever: HAProxy, which resolves once or again and again, and Caddy, which
resolves for each connection. They are the host's programs, with what they need of its libraries, as images of the machine's."""

import re
import subprocess

from names_test import NETWORK, NamesTest, service

# No connection stays open behind an answer: a front that is told to stop would wait for it.
HAPROXY = """
defaults
    mode http
    option httpclose
    timeout connect 5s
    timeout client 60s
    timeout server 60s
resolvers docker
    nameserver dns 127.0.0.11:53
    accepted_payload_size 4096
    hold valid 1s
    hold other 1s
    hold nx 1s
frontend in
    bind :80
    default_backend app
backend app
    server app app:80 %s
"""
CADDY = """
{
    admin off
    auto_https off
    storage file_system /tmp
}
http://:80 {
    reverse_proxy app:80 {
        transport http {
            keepalive off
        }
    }
}
"""
# name: port, file, command, whether it resolves anew
PROXIES = {
    "haproxy-once": (8083, HAPROXY % "", ["haproxy", "-db", "-f", "/etc/config"], False),
    "haproxy-resolvers": (8084, HAPROXY % "resolvers docker resolve-prefer ipv4 init-addr none", ["haproxy", "-db", "-f", "/etc/config"], True),
    "caddy": (8085, CADDY, ["caddy", "run", "--config", "/etc/config", "--adapter", "caddyfile"], True),
}


def import_programs(machine, *programs):
    """An image `proxies` with these programs of the host."""
    linked = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, text=True, check=True).stdout
    files = sorted({path.lstrip("/") for path in (*programs, *re.findall(r"(/\S+)(?: \(0x)", linked))})
    tar = subprocess.Popen(["tar", "-C", "/", "-chf", "-", *files], stdout=subprocess.PIPE)
    machine.run(["docker", "import", "-c", "ENV PATH=/usr/sbin:/usr/bin HOME=/tmp", "-", "proxies"], stdin=tar.stdout, timeout=120)
    if tar.wait() != 0:
        raise AssertionError("tar failed")


class Proxies(NamesTest):
    config = {"services": {"shop": service()}}

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        cls.create(machine, "app")
        machine.systemctl("restart", "wakechain-redirect.service")
        import_programs(machine, "/usr/sbin/haproxy", "/usr/bin/caddy")
        cls.client(machine, "client", NETWORK)

    def setUp(self):
        self.sleep("shop")
        self.settle()
        self.assert_stopped("app")

    def check(self, name):
        m = self.machine
        port, text, command, resolves = PROXIES[name]
        m.write(f"/opt/{name}", text)
        options = ["--network", NETWORK, "-p", f"{port}:80", "--tmpfs", "/tmp", "-v", f"/opt/{name}:/etc/config:ro"]
        # While its upstream sleeps.
        m.docker("run", "-d", "--name", name, *options, "proxies", *command)
        self.addCleanup(m.docker, "rm", "-f", name)
        m.wait_for(f"docker exec {name} /usr/bin/caddy version >/dev/null && ss -ltn | grep -q :{port}", what=f"{name} to run")
        self.check_proxy("shop", "app", port, resolves)

    def test_haproxy_that_resolves_once(self):
        self.check("haproxy-once")

    def test_haproxy_with_resolvers(self):
        self.check("haproxy-resolvers")

    def test_caddy(self):
        self.check("caddy")

    def test_an_address_that_is_kept_for_ever(self):
        """Over wakes and sleeps, and the container's own new address."""
        m = self.machine
        (virtual,) = self.lookup("app")
        own = []
        for i in range(2):
            self.assertEqual(self.page_in("client", virtual), "app")
            self.assertEqual(self.status("shop")["names"][0]["address"], virtual)
            own.append(self.status("shop")["names"][0]["backends"][0])
            m.systemctl("stop", "wake-front@shop.service")
            self.assertEqual(self.page_in("client", virtual), "app")
            self.assertEqual(self.unit_state("wake-front@shop.service"), "inactive")
            self.sleep("shop")
            if i == 0:
                m.docker("run", "-d", "--name", "squatter", "--stop-timeout", "1", "--network", NETWORK, "sim", "sleep", "1000000")
                self.addCleanup(m.docker, "rm", "-f", "squatter")
        self.assertNotEqual(*own)
        m.reboot()
        self.assertEqual(self.lookup("app"), [virtual])
