"""What is not there, or not free: containers that were removed are made again by compose; for a name, an image, a network or a port that
cannot be had the wake fails with a sentence that says what to do, and when that was done, the next connection is served."""

import os
import re
import struct
import subprocess

from service_test import ServiceTest, dependency, stacks, users_config

MEMVID = "http://127.0.0.1:8100/"
ADVICE = "; `ss -ltnp` says who has the port"
TAKEN = (":8100: bind: address already in use", ADVICE)
NEXTCLOUD = "http://127.0.0.1:8080/"

# A client that speaks no HTTP: what does its connection end with?
OTHER = r"""
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
s.sendall(b"\x10\x00\x01 not HTTP")
try:
    print("end", s.recv(100))
except ConnectionResetError:
    print("reset")
"""


class Missing(ServiceTest):
    """Each test has a machine of its own: what compose makes and removes is not easily put back."""

    per = "test"
    config = users_config(memvid={"idleTimeout": "10min"}, nextcloud={"idleTimeout": "10min"})

    def setUp(self):
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def compose(self, folder, *arguments):
        tool = "docker compose" if self.suite() == "trixie" else "docker-compose"
        return self.machine.run(f"cd {folder} && {tool} {' '.join(arguments)}").stdout

    def ids(self):
        """{container: id} of all that exist."""
        out = self.machine.docker("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}")
        return dict(line.split() for line in out.splitlines())

    def networks(self, container):
        template = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
        return set(self.machine.docker("inspect", "--format", template, container).split())

    def edit(self, path, old, new):
        text = self.machine.read(path)
        self.assertIn(old, text)
        self.machine.write(path, text.replace(old, new))

    def let_read(self, path, user):
        """setfacl -m u:USER:r, which the machine does not have."""
        entries = [(0x01, 6, -1), (0x02, 4, int(self.machine.out(["id", "-u", user]))), (0x04, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(self.machine.path(path), "system.posix_acl_access", acl)

    def said(self, service, pattern):
        """The messages of a waker that match, since the test or the last refusal began."""
        self.machine.run(["journalctl", "--sync"])
        records = self.machine.journal(f"wake@{service}.service", since_cursor=self.cursor)
        return [r["MESSAGE"] for r in records if re.search(pattern, str(r.get("MESSAGE", "")))]

    def assert_served(self, service, url):
        code, body = self.ask(url, timeout=60)
        self.assertEqual(code, 200, f"{body}\n{self.said(service, '')}")
        self.assertEqual(self.status(service)["state"], "awake")

    def assert_refused(self, service, url, reason, *parts, running=()):
        """Clients are told, and everybody else: with these parts of a sentence. Nothing goes on running but what ran before."""
        self.cursor = self.machine.journal_cursor()
        port = url.rpartition(":")[2].rstrip("/")
        other = self.machine.netns_popen(["python3", "-c", OTHER, port], stdout=subprocess.PIPE)
        code, body = self.ask(url, timeout=60)
        self.assertEqual(code, 503, body)
        self.assertEqual(other.communicate(timeout=60)[0], "reset\n")
        status = self.status(service)
        self.assertEqual((status["state"], status["reason"]), ("failed", reason), status["error"])
        record = self.follow("FAILED", service, self.cursor)
        self.assertEqual(record["WAKECHAIN_REASON"], reason)
        for part in parts:
            self.assertIn(part, status["error"])
            self.assertIn(part, record["MESSAGE"])
        self.machine.wait_for(lambda: stacks.running(self.machine) == set(running), what="only these to run: " + str(running))
        self.assert_listens(service)

    def assert_served_again(self, service, url):
        """What was the matter has been put right: the next connection that is not answered at once wakes it."""
        self.machine.wait_for(lambda: self.ask(url, timeout=60)[0] == 200, 90, what=f"{service} to be served again")
        self.wait_state(service, "awake")


class Compose(Missing):
    def test_removed_container(self):
        m = self.machine
        before, networks = self.ids(), self.networks("memvid-api")
        self.assertEqual(len(networks), 2)
        m.docker("rm", "memvid-api")

        self.assert_served("memvid", MEMVID)
        after = self.ids()
        self.assertNotEqual(after.pop("memvid-api"), before.pop("memvid-api"))
        self.assertEqual(after, before, "another container was touched")
        self.assertEqual(self.networks("memvid-api"), networks)
        self.assertTrue(self.said("memvid", r"Creat(ed|ing)\b.*memvid-api|memvid-api\b.*Creat(ed|ing)"), "not in the journal")
        self.assertEqual(self.starts(self.since).count("memvid-api"), 1)

        # It is an ordinary one from now on.
        self.sleep("memvid")
        self.assert_stopped()
        self.assert_served("memvid", MEMVID)
        self.assertEqual(self.ids()["memvid-api"], m.docker("inspect", "--format", "{{.Id}}", "memvid-api").strip())

    def test_removed_project(self):
        """compose down takes the project's own network with it."""
        m = self.machine
        before = self.ids()
        self.compose("/opt/nextcloud", "down")
        self.assertEqual(set(before) - set(self.ids()), {"nextcloud", "nextcloud-cron"})
        self.assertNotIn("nextcloud", m.docker("network", "ls", "--format", "{{.Name}}").split())

        self.assert_served("nextcloud", NEXTCLOUD)
        self.assert_running("nextcloud", "redis-shared", "postgresql-shared")
        m.wait_for(lambda: "nextcloud-cron" in stacks.running(m), what="the optional one to run")
        after = self.ids()
        self.assertEqual(set(after), set(before))
        for name in set(before) - {"nextcloud", "nextcloud-cron"}:
            self.assertEqual(after[name], before[name])
        self.assertEqual(self.networks("nextcloud"), {"nextcloud", "databases-shared"})
        # As the administrator's own would be: nothing to be made anew.
        self.compose("/opt/nextcloud", "up", "--no-start")
        self.assertEqual(self.ids(), after)

        self.sleep("nextcloud")
        self.assert_stopped()

    def test_two_wakes_in_one_folder(self):
        m = self.machine
        config = users_config(memvid={"dependencies": [dependency(users_config(), "memvid", "memvid-api")]})
        config["services"]["ui"] = {
            "name": "memvid-ui",
            "composeDir": "/opt/memvid",
            "network": "memvid_memvid-network",
            "dependencies": [{"container": "memvid-ui", "startupDelay": 10}],
        }
        m.set_config(config)
        m.systemctl("daemon-reload")
        self.compose("/opt/memvid", "down")
        m.run("systemctl start wake@ui.service & systemctl start wake@memvid.service & wait")
        self.assert_running("memvid-api", "memvid-ui")
        networks = m.docker("network", "ls", "--format", "{{.Name}}").split()
        self.assertEqual(networks.count("memvid_memvid-network"), 1, networks)
        self.sleep("memvid", "ui")
        self.assert_stopped()

    def test_stop_while_it_is_made(self):
        """A stop does not wait for a registry, and leaves nothing behind that goes on."""
        m = self.machine
        path = "/usr/local/bin/docker" if self.suite() == "trixie" else "/usr/local/bin/docker-compose"
        m.write(path, '#!/bin/sh\ncase "$*" in *" up "*|up*) exec sleep 1000 ;; esac\nexec /usr/bin/${0##*/} "$@"\n', 0o755)
        m.docker("rm", "memvid-api")
        asking = self.asking(MEMVID)
        m.wait_for("pgrep -x sleep")
        self.sleep("memvid")
        self.answered(asking)
        self.assertEqual(m.run("pgrep -x sleep", check=False).stdout, "")
        self.assert_stopped()
        self.assertEqual(self.status("memvid")["state"], "asleep")
        m.run(["rm", path])
        self.assert_served("memvid", MEMVID)

    def test_unknown_name(self):
        m = self.machine
        config = users_config()
        config["services"]["memvid"]["dependencies"].append({"container": "memvid-cache", "startOrder": 2})
        m.set_config(config)
        sentence = (
            "no service of the compose project in '/opt/memvid' makes a container 'memvid-cache'; it makes: memvid-api, "
            "memvid-ui; correct the name in dependencies.json"
        )
        self.assert_refused("memvid", MEMVID, "not_found", sentence)
        m.set_config(self.config)
        self.assert_served_again("memvid", MEMVID)

    def test_folder(self):
        m = self.machine
        m.docker("rm", "memvid-api")
        m.run("chmod 700 /opt/memvid")
        self.assert_refused("memvid", MEMVID, "not_found", "user wakechain may not read the compose folder '/opt/memvid'")
        m.run("chmod 755 /opt/memvid; mv /opt/memvid /opt/elsewhere; systemctl stop wake-front@memvid.service")
        self.assert_refused("memvid", MEMVID, "not_found", "the compose folder '/opt/memvid' does not exist")
        m.run("mkdir /opt/memvid; systemctl stop wake-front@memvid.service")
        self.assert_refused("memvid", MEMVID, "not_found", "there is no compose file in '/opt/memvid'")
        m.run("rmdir /opt/memvid; mv /opt/elsewhere /opt/memvid")
        self.assert_served_again("memvid", MEMVID)

    def test_unreadable_files(self):
        """A .env for root alone holds the passwords, as it should, and compose cannot do without it."""
        m = self.machine
        m.docker("rm", "memvid-api")
        m.write("/opt/memvid/.env", "SECRET=1\n", 0o600)
        self.assert_refused(
            "memvid", MEMVID, "not_found", "user wakechain may not read '", ".env' of the compose project", "setfacl -m u:wakechain:r "
        )
        self.let_read("/opt/memvid/.env", "wakechain")
        # Fronts, which read bytes from the network, are in that group.
        front = ["setpriv", "--reuid=wakechain-front", "--regid=wakechain", "--clear-groups", "cat", "/opt/memvid/.env"]
        self.assertEqual(m.run(front, check=False).returncode, 1)
        m.run("chmod 600 /opt/memvid/docker-compose.yml")
        m.systemctl("stop", "wake-front@memvid.service")
        self.assert_refused("memvid", MEMVID, "not_found", "user wakechain may not read '", "docker-compose.yml'")
        m.run("chmod 644 /opt/memvid/docker-compose.yml")
        self.assert_served_again("memvid", MEMVID)

    def test_environment_is_as_compose_reads_it(self):
        """systemd would keep the comment, and would not know A."""
        m = self.machine
        m.write("/opt/memvid/.env", "A=one # of two\nB=${A}-two\n", 0o644)
        self.edit("/opt/memvid/docker-compose.yml", 'PORT: "8100",', 'PORT: "8100", VALUES: "${A} ${B}",')
        m.docker("rm", "memvid-api")
        self.assert_served("memvid", MEMVID)
        made = self.ids()["memvid-api"]
        self.compose("/opt/memvid", "up", "--no-start")
        self.assertEqual(self.ids()["memvid-api"], made, "compose reads it otherwise by hand")

    def test_missing_image(self):
        m = self.machine
        self.edit("/opt/memvid/docker-compose.yml", "hostname: memvid-api\n    image: sim", "image: nosuch:1")
        m.docker("rm", "memvid-api")
        self.assert_refused(
            "memvid", MEMVID, "image_missing", "image 'nosuch:1' of container 'memvid-api' is missing and cannot be pulled: "
        )
        self.assertTrue(self.said("memvid", r"Pulling"))
        m.docker("tag", "sim", "nosuch:1")
        self.assert_served_again("memvid", MEMVID)

    def test_nothing_to_make_it_with(self):
        m = self.machine
        m.run("rm -rf /usr/libexec/docker/cli-plugins /usr/bin/docker-compose")
        m.docker("rm", "memvid-api")
        self.assert_refused("memvid", MEMVID, "not_found", "neither 'docker compose' nor 'docker-compose' is installed")


class Network(Missing):
    def test_removed_network(self):
        """The container knows it by its id, so that compose makes both anew."""
        m = self.machine
        before = self.ids()
        m.docker("network", "rm", "memvid_memvid-network")
        self.assert_served("memvid", MEMVID)
        made = {"memvid-api", "memvid-ui"}  # the latter is optional, and may come later
        m.wait_for(lambda: {n for n, i in self.ids().items() if before.get(n) != i} == made, what="these to be made anew")
        self.assertEqual(self.networks("memvid-api"), {"memvid_memvid-network", "monitoring_monitoring"})
        self.assertTrue(self.said("memvid", "its network 'memvid_memvid-network' was removed; compose makes it anew"))

    def test_removed_external_network(self):
        m = self.machine
        m.docker("rm", "memvid-api")
        m.docker("network", "rm", "monitoring_monitoring")
        self.assert_refused("memvid", MEMVID, "network_missing", "monitoring_monitoring")

    def test_detached_dependency(self):
        """crossNetworkDeps: put back to where the file says it lives, before it is started."""
        m = self.machine
        m.docker("network", "disconnect", "monitoring_monitoring", "redis-shared")
        self.assertEqual(self.networks("redis-shared"), {"databases-shared"})
        self.assert_served("memvid", MEMVID)
        self.assertIn("monitoring_monitoring", self.networks("redis-shared"))
        record = self.machine.follow_journal(r"redis-shared.*monitoring_monitoring", since_cursor=self.cursor)
        self.assertEqual(record["WAKECHAIN_SERVICE"], "memvid")
        # The main container reaches it there, by name.
        m.docker("exec", "memvid-api", "curl", "-f", "http://localhost:8100/health")
        template = '{{(index .NetworkSettings.Networks "monitoring_monitoring").IPAddress}}'
        addresses = [m.docker("inspect", "--format", template, c).strip() for c in ("redis-shared", "memvid-api")]
        self.assertEqual(*(a.rpartition(".")[0] for a in addresses))
        self.sleep("memvid")
        self.assertIn("monitoring_monitoring", self.networks("redis-shared"))

    def test_detached_while_it_runs(self):
        m = self.machine
        m.docker("start", "redis-shared")
        m.docker("network", "disconnect", "monitoring_monitoring", "redis-shared")
        self.assert_served("memvid", MEMVID)
        self.assertIn("monitoring_monitoring", self.networks("redis-shared"))
        self.assertNotIn("redis-shared", self.ends(self.since))
        self.sleep("memvid")
        self.assert_running("redis-shared")

    def test_main_container_is_attached_too(self):
        """A network of IPv6: clients are forwarded to the address there."""
        m = self.machine
        m.docker("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "--subnet", "172.29.77.0/24", "six")
        config = users_config()
        config["services"]["memvid"]["network"] = "six"
        m.set_config(config)
        self.assert_served("memvid", MEMVID)
        for container in ("memvid-api", "memvid-ui"):
            self.assertIn("six", self.networks(container))
        backends = self.status("memvid")["backends"]
        self.assertTrue([b for b in backends if b.startswith("[fd00:77::")], backends)
        self.assertTrue([b for b in backends if b.startswith("172.29.77.")], backends)
        self.assert_running("redis-shared", "memvid-api", "memvid-ui")


class Port(Missing):
    def test_another_container(self):
        m = self.machine
        m.docker("run", "-d", "--name", "squatter", "-e", "PORT=80", "-e", "DELAY_MS=0", "-p", "8100:80", "sim")
        self.assert_refused(
            "memvid",
            MEMVID,
            "port_conflict",
            "0.0.0.0:8100 failed: port is already allocated",
            ADVICE,
            running=["squatter"],
        )
        m.docker("rm", "-f", "squatter")
        self.assert_served_again("memvid", MEMVID)

    def test_program_of_the_host(self):
        m = self.machine
        m.run("systemd-run --unit=squatter --uid=nobody systemd-socket-activate -l 127.0.0.1:8100 cat")
        m.wait_for("ss -ltn | grep -q 127.0.0.1:8100")
        self.assert_refused("memvid", MEMVID, "port_conflict", *TAKEN)
        m.systemctl("stop", "squatter.service")
        self.assert_served_again("memvid", MEMVID)

    def test_container_of_the_host(self):
        m = self.machine
        m.docker("run", "-d", "--name", "squatter", "--network", "host", "-e", "PORT=8100", "-e", "DELAY_MS=0", "sim")
        m.wait_for("ss -ltn | grep -q :8100")
        self.assert_refused("memvid", MEMVID, "port_conflict", *TAKEN, running=["squatter"])
        m.docker("rm", "-f", "squatter")
        self.assert_served_again("memvid", MEMVID)


class OwnPort(Missing):
    """`listen` on a port that the container publishes itself."""

    config = users_config(memvid={"listen": ["127.0.0.1:8100"], "backend": "memvid-api:8100"})

    def test_own_socket(self):
        self.assert_refused("memvid", MEMVID, "port_conflict", *TAKEN)
