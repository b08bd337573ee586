"""What counts as use of an awake stack in redirect mode: every way in, and nobody who has gone."""

import json

from service_test import ServiceTest, wait_for
from test_same_port import create

BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
ECHO = "exec 3<>/dev/tcp/{}/{} && echo x >&3 && read -r line <&3 && echo $line && exec cat <&3"
LONG = 160  # requests, 50 ms and more apart: twice idleTimeout and more


def stack(name, port, *more, **members):
    steps = [{"container": name, "healthCheck": {"tcp": port if "host" in name else 80, "interval": 200}}, *more]
    return {"name": name, "port": port, "idleTimeout": "4s", "page": "never", "dependencies": steps, **members}


class Use(ServiceTest):
    per = "class"
    config = {
        "services": {
            "web": stack("c-web", 9702, {"container": "c-own", "startOrder": 0, "healthCheck": {"tcp": 80}}),
            "home": stack("c-host", 8123),
        }
    }

    @classmethod
    def prepare(cls, machine):
        for name, published in (("c-web", "9702:80"), ("c-own", "9703:80"), ("c-proxy", "9704:80")):
            create(machine, name, published)
        machine.docker("start", "c-proxy")
        # With a HEALTHCHECK that asks its port.
        body = {
            "Image": "sim",
            "Cmd": ["server"],
            "Env": ["PORT=8123"],
            "HostConfig": {"NetworkMode": "host"},
            "Healthcheck": {"Test": ["CMD", "curl", "http://127.0.0.1:8123/"], "Interval": 300_000_000, "Timeout": 5_000_000_000},
        }
        url = "http://docker/containers/create?name=c-host"
        done = machine.http(url, "--unix-socket", "/run/docker.sock", "-H", "Content-Type: application/json", "-d", json.dumps(body))
        assert "Id" in done, done
        machine.systemctl("restart", "wakechain-redirect.service")

    def wake(self, service, port):
        cursor = self.machine.journal_cursor()
        self.assertEqual(self.ask(f"http://127.0.0.1:{port}/")[0], 200)
        self.follow("AWAKE", service, cursor)
        return cursor

    def address(self, container):
        return self.machine.docker("inspect", "-f", '{{(index .NetworkSettings.Networks "same-port").IPAddress}}', container).strip()

    def inside(self, container, script, check=True):
        """A script in the container's network, by programs of the machine's."""
        pid = self.machine.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
        return self.machine.run(["nsenter", "-t", pid, "-n", "sh", "-c", script], check=check, timeout=120).stdout

    def asking(self, url, n=LONG):
        return f"for i in $(seq {n}); do curl -sf -m 5 -o /dev/null {url} || exit; echo; sleep .05; done | wc -l"

    def counted(self):
        """What the tables have of the containers' own addresses."""
        m = self.machine
        own = m.out("nft list map inet wakechain inner4")
        return "service-" in own, m.run("nft list table bridge wakechain", check=False).returncode == 0

    def assert_used(self, service, cursor, answered):
        self.assertEqual(self.records("STOPPING", service, cursor), [])
        self.assertEqual(answered.strip(), str(LONG))
        self.follow("ASLEEP", service, cursor)

    def test_another_container_asks_by_its_address(self):
        """A proxy in a container, a connection a request."""
        m = self.machine
        before = m.read(BRIDGED)
        try:
            for bridged in "01":
                with self.subTest(bridge_nf_call_iptables=bridged):
                    m.run(f"echo {bridged} > {BRIDGED}")
                    cursor = self.wake("web", 9702)
                    self.assertEqual(self.counted(), (True, True))
                    self.assert_used("web", cursor, self.inside("c-proxy", self.asking(f"http://{self.address('c-web')}/")))
                    self.assertEqual(self.counted(), (False, False))
        finally:
            m.run(f"echo {before.strip()} > {BRIDGED}")

    def test_the_host_asks_by_its_address(self):
        cursor = self.wake("web", 9702)
        self.assert_used("web", cursor, self.machine.out(self.asking(f"http://{self.address('c-web')}/")))

    def test_its_own_containers_are_no_clients(self):
        """By its address, and by the published port, which the engine's proxy passes on: the loop ends with the stack."""
        gateway = self.machine.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "same-port").strip()
        for host in ("c-web", gateway):
            with self.subTest(host):
                cursor = self.wake("web", 9702)
                url = f"http://{self.address('c-web')}/" if host == "c-web" else f"http://{host}:9702/"
                self.inside("c-own", self.asking(url, 2000))
                self.follow("ASLEEP", "web", cursor)

    def test_a_killed_waker_leaves_nothing(self):
        """And its successor counts on; whoever finds it asleep takes away what is left."""
        m = self.machine
        cursor = self.wake("web", 9702)
        m.systemctl("kill", "--signal=KILL", "--kill-whom=main", "wake@web.service", check=False)
        self.follow("TAKEN_OVER", "web", cursor)
        self.assert_used("web", cursor, self.inside("c-proxy", self.asking(f"http://{self.address('c-web')}/")))
        for family in ("inet", "bridge"):
            m.run(f"nft 'add table {family} wakechain; add map {family} wakechain inner4 {{ type ipv4_addr . inet_service : verdict; }};"
                  f"add chain {family} wakechain service-web; add counter {family} wakechain service-web;"
                  f"add element {family} wakechain inner4 {{ 192.0.2.1 . 80 : goto service-web }}'")
        self.settle()
        self.assertNotIn("192.0.2.1", m.out("nft list ruleset"))

    def test_flushed_tables_count_again(self):
        m = self.machine
        # What comes until the waker counts again is not seen: that must not be longer than idleTimeout.
        web = {**self.config["services"]["web"], "idleTimeout": "8s"}
        m.set_config({"services": {**self.config["services"], "web": web}})
        self.addCleanup(m.set_config, self.config)
        cursor = self.wake("web", 9702)
        m.run("nft delete table inet wakechain; nft delete table bridge wakechain")
        self.settle()
        wait_for(lambda: self.counted() == (True, True), 30, what="the waker to count again")
        asking = self.asking(f"http://{self.address('c-web')}/", 2 * LONG).replace("sleep .05", "sleep .1")
        answered = int(self.inside("c-proxy", asking))
        self.assert_used("web", cursor, str(answered - LONG))

    def test_loopback_on_the_hosts_network(self):
        """A proxy on the host is a client, in idle and in draining; the container's own health check is none."""
        m = self.machine
        cursor = self.wake("home", 8123)
        self.assert_used("home", cursor, m.out(self.asking("http://127.0.0.1:8123/")))

        cursor = self.wake("home", 8123)
        code, _ = self.ask("http://127.0.0.1:8123/slow/9000", timeout=30)
        self.assertEqual(code, 200)
        self.assertEqual(self.records("STOPPING", "home", cursor), [])
        self.follow("ASLEEP", "home", cursor)

        cursor = self.wake("home", 8123)
        slow = m.popen(["curl", "-sf", "-m", "20", "-o", "/dev/null", "http://127.0.0.1:8123/slow/2000"])
        m.wait_for("grep -q ':1FBB 01' /proc/net/tcp", 10)  # 8123, established
        self.sleep("home")
        self.assertEqual(slow.wait(30), 0, "it was cut")

    def test_a_client_that_vanished(self):
        m = self.machine
        peer = m.add_peer_host()
        for service, port in (("web", 9702), ("home", 8123)):
            with self.subTest(service):
                cursor = self.wake(service, port)
                client = peer.popen(["bash", "-c", ECHO.format(peer.machine_ipv4, port)], stdout=-1, text=True)
                self.assertEqual(client.stdout.readline(), "x\n")
                peer.run(["ip", "link", "set", "eth0", "down"])
                self.follow("ASLEEP", service, cursor, timeout=90)
                client.kill()
                client.communicate()
                peer.run(["sh", "-c", f"ip link set eth0 up && ip route replace default via {peer.machine_ipv4}"])

    def test_a_silent_client_that_is_there(self):
        """Nothing is said for longer than idleTimeout, by which time it had been asked for."""
        m = self.machine
        peer = m.add_peer_host()
        cursor = self.wake("web", 9702)
        client = peer.popen(["bash", "-c", ECHO.format(peer.machine_ipv4, 9702)], stdout=-1, text=True)
        self.assertEqual(client.stdout.readline(), "x\n")
        m.run("sleep 9")
        self.assertEqual(self.records("STOPPING", "web", cursor), [])
        client.kill()
        client.communicate()
        self.follow("ASLEEP", "web", cursor)
