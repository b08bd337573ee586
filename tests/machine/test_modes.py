"""A client that connects every 5 ms, all through asleep, waking, awake and asleep again, notices nothing but time: in both modes."""

import json

from service_test import Client, ServiceTest, front_options, rounds, stacks, users_config
from test_same_port import create, service

CYCLES = rounds(6, 20)
READY_SOON = {"healthCheck": {"command": "docker exec {0} curl -f http://localhost:{1}/", "interval": 100, "timeout": 20000}}


def member(container, port):
    check = {**READY_SOON["healthCheck"], "command": READY_SOON["healthCheck"]["command"].format(container, port)}
    return {"container": container, "type": "required", "startOrder": 1, "healthCheck": check}


class SteadyClient(ServiceTest):
    """Stacks of one container each, which is what can go wrong here: the moments at which clients change from one to the other."""

    config = users_config(
        memvid={"dependencies": [member("memvid-api", 8100)]},
        proxied={
            "name": "memvid-ui",
            "port": 3000,
            "listen": ["8200"],
            "backend": "memvid-ui:3000",
            "network": "memvid_memvid-network",
            "dependencies": [member("memvid-ui", 3000)],
        },
    )

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "memvid-api", 0.15)
        stacks.set_delay(machine, "memvid-ui", 0.15)

    def check_cycles(self, service, address, port, expected, where=None, cycles=CYCLES):
        m = self.machine
        cursor = m.journal_cursor()
        client = Client(where or m, address, port, expected)
        self.addCleanup(client.kill)
        for _ in range(cycles):
            # The client wakes it again at once: what is seen next is a wake that follows this sleep.
            self.wait_unit(f"wake@{service}.service", "active")
            m.systemctl("stop", f"wake@{service}.service")
        self.wait_unit(f"wake@{service}.service", "active")
        seen = client.finish()
        self.assertEqual(seen["errors"], [], seen)
        self.assertGreater(seen["count"], cycles * 20, seen)
        self.assertGreaterEqual(seen["held"], cycles + 1, "nobody waited for a wake: the client never met a sleeping stack")
        self.assertEqual(len(self.records("ASLEEP", service, cursor)), cycles)
        self.assertEqual(len(self.records("WAKING", service, cursor)), cycles + 1)
        self.sleep(service)
        self.assert_listens(service)

    def test_redirect(self):
        self.check_cycles("memvid", "127.0.0.1", 8100, "memvid-api ")

    def test_redirect_from_another_host(self):
        peer = self.machine.add_peer_host()
        self.check_cycles("memvid", peer.machine_ipv4, 8100, "memvid-api ", peer, cycles=4)

    def test_proxy(self):
        self.check_cycles("proxied", "127.0.0.1", 8200, "memvid-ui ")


class ProxyIdle(ServiceTest):
    """Proxy mode: the front's connections are what keeps a stack awake."""

    config = users_config(
        memvid={"dependencies": [member("memvid-api", 8100)], "listen": ["127.0.0.1:8200", "[::1]:8200"], "idleTimeout": "2s"}
    )

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=200ms")

    def test_sleeps_when_idle(self):
        m = self.machine
        cursor = m.journal_cursor()
        code, page = self.ask("http://[::1]:8200/slow/4000")
        self.assertEqual((code, page.split()[0]), (200, "memvid-api"))
        self.assertEqual(self.records("STOPPING", "memvid", cursor), [], "a request under way kept nothing awake")
        self.follow("ASLEEP", "memvid", cursor, timeout=30)
        self.wait_unit("wake-front@memvid.service", "inactive")
        self.wait_no_process()
        self.assert_stopped("memvid-api")
        self.assertEqual(sorted(self.sockets()["wake@memvid.socket"]), ["127.0.0.1:8200", "[::1]:8200"])
        self.assertEqual(self.ask("http://127.0.0.1:8200/")[0], 200)


class Changed(ServiceTest):
    """From one mode to the other while the stack is awake: its waker has begun in the one before."""

    per = "class"
    proxied = {"listen": "127.0.0.1:9800", "backend": "c-one:80"}
    config = {"services": {"one": service("c-one", 9700, idleTimeout="10s", **proxied)}}

    @classmethod
    def prepare(cls, machine):
        create(machine, "c-one", "9700:80")
        front_options(machine, "--exit-idle-time=200ms")

    def change(self, port=9700, **members):
        m = self.machine
        m.write("/etc/wakechain/new", json.dumps({"services": {"one": service("c-one", port, idleTimeout="10s", **members)}}))
        m.run("mv /etc/wakechain/new /etc/wakechain/dependencies.json && systemctl daemon-reload")

    def test_there_and_back(self):
        m = self.machine
        for _ in range(2):
            self.assertEqual(self.ask("http://127.0.0.1:9800/")[0], 200)
            self.change()
            m.wait_for(lambda: m.run("nft list chain inet wakechain service-one", check=False).returncode == 0, 10)
            # Nobody is lost when it is put to sleep, and those who come meanwhile keep it awake.
            waker = m.show("wake@one.service", "InvocationID")
            client = Client(m, "127.0.0.1", 9700, "c-one", interval_ms=300)
            self.remain(14, lambda: m.show("wake@one.service", "InvocationID") == waker, "it was put to sleep in use")
            m.systemctl("stop", "wake@one.service")
            self.wait_unit("wake@one.service", "active")
            self.assertEqual(client.finish()["errors"], [])
            self.wait_unit("wake@one.service", "inactive")
            self.assertEqual(self.ask("http://127.0.0.1:9700/")[0], 200)
            self.change(**self.proxied)
            m.wait_for(lambda: self.ask("http://127.0.0.1:9800/")[0] == 200, 10)
            self.wait_unit("wake@one.service", "inactive")
            self.assert_stopped("c-one")

    def test_port_that_nobody_publishes(self):
        m = self.machine
        self.change()
        m.wait_for(lambda: self.ask("http://127.0.0.1:9700/")[0] == 200, 10)
        self.wait_unit("wake@one.service", "active")
        waker = m.show("wake@one.service", "InvocationID")
        self.change(9701)
        m.wait_for(lambda: self.ask("http://127.0.0.1:9701/")[0] == 200, 10)
        client = Client(m, "127.0.0.1", 9701, "c-one", interval_ms=300)
        self.remain(14, lambda: m.show("wake@one.service", "InvocationID") == waker, "it was put to sleep in use")
        self.assertEqual(client.finish()["errors"], [])
        self.wait_unit("wake@one.service", "inactive")
        self.assertEqual(self.ask("http://127.0.0.1:9701/")[0], 200)
        self.change(**self.proxied)
        m.wait_for(lambda: self.ask("http://127.0.0.1:9800/")[0] == 200, 10)
        self.wait_unit("wake@one.service", "inactive")
