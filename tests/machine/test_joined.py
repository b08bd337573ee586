"""Networks of containers: one that has another's (network_mode: service:vpn) is waited for, restarted and made anew with it; a network that does not
exist damages no container; what a stop would delete is not stopped; a static address that somebody else has."""

from service_test import ServiceTest

COMPOSE = """version: "3.7"
services:
  vpn: {image: sim, container_name: jvpn, ports: ["8181:8080"]}
  qbit: {image: sim, container_name: jqbit, network_mode: "service:vpn", environment: {PORT: "8080", DELAY_MS: "100"}, depends_on: [vpn]}
"""


def service(port, *dependencies, **members):
    return {"name": dependencies[-1]["container"], "port": port, "dependencies": list(dependencies), **members}


def started(container, order=1):
    return {"container": container, "startOrder": order, "condition": "started"}


def checked(container, port, order=2):
    return {"container": container, "startOrder": order, "healthCheck": {"tcp": port, "timeout": 20000}}


def crossing(network):
    return service(8182, started("deep"), checked("app", 80), network=network, crossNetworkDeps=True)


CONFIG = {
    "torrent": service(8180, started("vpn"), checked("qbit", 8080)),
    "made": service(8181, started("jvpn"), checked("jqbit", 8080), composeDir="/opt/jvpn"),
    "app": crossing("p_backend"),
    "tmp": service(8183, checked("tmp", 80), adopt=True, idleTimeout="1s"),
    "fixed": service(8184, checked("fixed", 80)),
}


class Joined(ServiceTest):
    variant = "clemence-sim"
    config = {"services": CONFIG}

    @classmethod
    def prepare(cls, machine):
        def create(name, *options):
            machine.docker("create", "--stop-timeout", "1", "--name", name, *options, "sim")

        web = ("-e", "DELAY_MS=100", "-e", "PORT=80")
        machine.docker("network", "create", "p_backend")
        machine.docker("network", "create", "--subnet", "10.77.0.0/24", "p_fixed")
        create("vpn", "-p", "8180:8080")
        create("qbit", "--network", "container:vpn", "-e", "DELAY_MS=100", "-e", "PORT=8080")
        create("app", "--network", "p_backend", "-p", "8182:80", *web)
        create("deep", "--network", "p_backend")
        create("fixed", "--network", "p_fixed", "--ip", "10.77.0.7", "-p", "8184:80", *web)
        machine.write("/opt/jvpn/docker-compose.yml", COMPOSE)
        machine.systemctl("restart", "wakechain-settle.service")

    def setUp(self):
        self.since, self.cursor = self.machine.now(), self.machine.journal_cursor()

    def assert_served(self, name):
        code, body = self.ask(f"http://127.0.0.1:{CONFIG[name]['port']}/", timeout=60)
        self.assertEqual(code, 200, f"{body}: {self.machine.out(f'journalctl -u wake@{name} -o cat -n 30')}")

    def assert_refused(self, name, reason, *parts):
        code, body = self.ask(f"http://127.0.0.1:{CONFIG[name]['port']}/", timeout=60)
        self.assertEqual(code, 503, body)
        self.assert_failed(name, reason, *parts)

    def assert_failed(self, name, reason, *parts):
        self.wait_state(name, "failed")
        status = self.status(name)
        self.assertEqual(status["reason"], reason, status["error"])
        for part in parts:
            self.assertIn(part, status["error"])
        self.sleep(name)

    def id_of(self, container):
        return self.machine.out(["docker", "inspect", "-f", "{{.Id}}", container])

    def runs(self, container):
        return self.machine.out(["docker", "inspect", "-f", "{{.State.Running}}", container]) == "true"

    def networks(self, container):
        return self.machine.out(["docker", "inspect", "-f", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}} {{end}}", container]).split()

    def test_awake_and_asleep(self):
        """The owner publishes the port, and nobody answers there before the other runs."""
        self.assert_served("torrent")
        self.assertEqual(self.starts(self.since), ["vpn", "qbit"])
        self.sleep("torrent")
        self.assertEqual(self.ends(self.since), ["qbit", "vpn"])

    def test_owner_is_restarted_while_awake(self):
        m = self.machine
        self.assert_served("torrent")
        since = m.now()
        m.docker("restart", "-t0", "vpn")
        self.assert_served("torrent")
        self.assertEqual(self.starts(since), ["vpn", "qbit"])
        # The same while nobody looks: who holds the door open is found cut off.
        self.sleep("torrent")
        m.docker("start", "vpn", "qbit")
        m.docker("restart", "-t0", "vpn")
        m.systemctl("start", "wake@torrent.service")
        self.assert_served("torrent")
        m.docker("stop", "qbit", "vpn")
        self.wait_state("torrent", "asleep")

    def test_owner_is_replaced_while_awake(self):
        """Without a compose project nobody can make the other anew: what to do is said."""
        m = self.machine
        self.assert_served("torrent")
        m.docker("rm", "-f", "vpn")
        m.docker("run", "-d", "--name", "vpn", "--stop-timeout", "1", "-p", "8180:8080", "sim")
        self.assert_failed("torrent", "network_missing", "qbit: it has the network of container", "remove it ('docker rm -f qbit')")
        m.docker("rm", "-f", "qbit")
        m.docker("create", "--stop-timeout", "1", "--name", "qbit", "--network", "container:vpn", "-e", "PORT=8080", "sim")
        self.assert_served("torrent")
        self.sleep("torrent")
        m.docker("stop", "vpn")

    def test_made_by_compose(self):
        m = self.machine
        if self.suite() == "bookworm":
            # docker-compose v1 would make it past the VPN, and takes longer to make that than its return is waited for.
            said = "made", "start_failed", "jqbit", "run 'docker-compose up -d --force-recreate qbit' in '/opt/jvpn' once"
            self.assert_refused(*said)
            m.run("cd /opt/jvpn && docker-compose up -d && docker stop jqbit jvpn")
            self.settle()
            self.assert_served("made")
            self.sleep("made")
            m.run("cd /opt/jvpn && docker rm jvpn && docker-compose up --no-start vpn")
            self.settle()
            self.assert_refused(*said)
            m.run("cd /opt/jvpn && docker-compose up -d --force-recreate qbit")
            self.assert_served("made")
        else:
            # Neither exists: the owner first.
            self.assert_served("made")
            m.systemctl("start", "wake@made.service")  # what runs already is watched, too
            joined = self.id_of("jqbit")
            m.docker("rm", "-f", "jvpn")
            m.run("cd /opt/jvpn && docker compose up -d --no-deps --no-recreate vpn")
            self.assert_served("made")
            self.assertNotEqual(self.id_of("jqbit"), joined)
            # The owner is made by us, and the other anew for that.
            self.sleep("made")
            joined = self.id_of("jqbit")
            m.docker("rm", "jvpn")
            self.assert_served("made")
            self.assertNotEqual(self.id_of("jqbit"), joined)
        self.sleep("made")

    def test_network_that_does_not_exist(self):
        m = self.machine
        m.set_config({"services": {**CONFIG, "app": crossing("backend")}})
        self.addCleanup(lambda: m.set_config({"services": CONFIG}))
        self.assert_refused("app", "network_missing", "network 'backend', which does not exist")
        for container in ("app", "deep"):
            self.assertEqual(self.networks(container), ["p_backend"])
        # Attached to one that does: not any more after a wake that failed for something else.
        m.docker("network", "create", "backend")
        self.addCleanup(lambda: m.docker("network", "rm", "backend"))
        m.docker("run", "-d", "--name", "squatter", "-p", "8182:1", "sim")
        self.assert_refused("app", "port_conflict", ":8182 failed: port is already allocated", "`ss -ltnp`")
        m.docker("rm", "-f", "squatter")
        for container in ("app", "deep"):
            self.assertEqual(self.networks(container), ["p_backend"])

    def test_attached_to_what_is_no_network(self):
        """As older versions left it, and as `docker start` says: nothing helps but to detach it."""
        m = self.machine
        m.docker("network", "connect", "nonsense", "deep")
        self.assertNotEqual(m.run(["docker", "start", "deep"], check=False).returncode, 0)
        self.assert_served("app")
        self.assertEqual(self.networks("deep"), ["p_backend"])
        m.follow_journal("deep was attached to network nonsense, which does not exist", since_cursor=self.cursor)
        self.sleep("app")

    def test_what_a_stop_would_delete(self):
        m = self.machine
        m.docker("run", "-d", "--rm", "--stop-timeout", "1", "--name", "tmp", "-e", "PORT=80", "-e", "DELAY_MS=0", "-p", "8183:80", "sim")
        self.assert_served("tmp")
        m.systemctl("start", "wake@tmp.service")
        m.follow_journal("dependency tmp was made by 'docker run --rm'", since_cursor=self.cursor)
        self.remain(2, lambda: self.runs("tmp") and self.unit_state("wake@tmp.service") == "active", "it to be watched, and to run on")
        self.sleep("tmp")
        record = self.follow("RUNS_ON", "tmp", self.cursor)
        self.assertIn("tmp was made by 'docker run --rm', and to stop it would delete it", record["MESSAGE"])
        self.assertTrue(self.runs("tmp"))
        self.assert_served("tmp")
        self.sleep("tmp")
        m.docker("stop", "tmp")
        # The engine removes it after its answer.
        m.wait_for(lambda: "tmp" not in m.docker("ps", "-a", "--format", "{{.Names}}").split(), what="it to be removed")
        self.settle()
        m.docker("create", "--rm", "--name", "tmp", "-e", "PORT=80", "-p", "8183:80", "sim")
        self.assert_refused("tmp", "config_invalid", "docker run --rm")
        m.docker("rm", "tmp")

    def test_static_address_that_is_taken(self):
        m = self.machine
        m.docker("run", "-d", "--name", "rival", "--network", "p_fixed", "--ip", "10.77.0.7", "sim")
        self.assert_refused("fixed", "start_failed", "its address 10.77.0.7 on network 'p_fixed' is taken by container 'rival'")
        m.docker("rm", "-f", "rival")
        self.assert_served("fixed")
        self.sleep("fixed")

    def test_network_that_was_removed(self):
        """No compose project: the commands that are said do it."""
        m = self.machine
        self.assert_served("app")
        self.sleep("app")
        m.docker("network", "rm", "p_backend")
        self.assert_refused("app", "network_missing", "'docker network create p_backend'", "'docker network connect p_backend deep'")
        m.docker("network", "create", "p_backend")
        for container in ("app", "deep"):
            m.docker("network", "disconnect", "-f", "p_backend", container)
            m.docker("network", "connect", "p_backend", container)
        self.assert_served("app")
        self.sleep("app")
