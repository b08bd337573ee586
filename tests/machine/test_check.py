"""wakectl check --engine: what of a file does not agree with the engine, the compose folders and the units of this machine."""

import json
import re

from service_test import ServiceTest

COMPOSE = """\
services:
  made: {image: sim, container_name: to-be-made}
  pulled: {image: "localhost:1/none:1", container_name: to-be-pulled}
  built: {build: ., image: built-here, container_name: to-be-built}
"""


def service(name, *dependencies, **members):
    return {"name": name, "dependencies": list(dependencies), **members}


class Check(ServiceTest):
    def check(self, services, path="/tmp/check.json"):
        """{(path, value): (level, text)} of what the engine adds."""
        m = self.machine
        m.write(path, json.dumps({"services": services}))
        m.out(["wakectl", "check", path])
        done = m.run(["wakectl", "check", "--engine", "--json", path], check=False)
        found = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if found["errors"] else 0)
        self.assertTrue(all(p["file"] == path for p in found["problems"]))
        return {p["path"]: (p["level"], p["value"], p["text"]) for p in found["problems"]}

    def create(self, name, *options, run=False):
        self.machine.docker("run" if run else "create", *(["-d"] if run else []), "--name", name, *options, "sim")
        self.addCleanup(self.machine.run, ["docker", "rm", "-f", name], check=False)

    def assert_said(self, problem, level, value, *parts):
        self.assertEqual(problem[:2], (level, json.dumps(value) if value else None))
        for part in parts:
            self.assertIn(part, problem[2])

    def test_names_that_do_not_resolve(self):
        """Which, where and why; and whose networks the virtual addresses would be."""
        m = self.machine
        bridge = "com.docker.network.bridge.name=own0"
        for network, *options in (("outside",), ("inside", "--internal"), ("own", "-o", bridge)):
            m.docker("network", "create", *options, network)
            self.addCleanup(m.docker, "network", "rm", network)
        containers = {
            "plain": [],
            "hidden": ["--network", "inside"],
            "odd": ["--network", "own"],
            "localhost": ["--network", "outside", "--network-alias", "shop.example", "--network-alias", "b\u00fccher", "--network-alias", "Shop"],
        }
        for name, options in containers.items():
            self.create(name, "--expose", "80", *options)
        services = {f"s-{name}": service(name, names=True) for name in containers}
        path, addresses = "/tmp/names.json", "172.16.0.0/12"
        m.write(path, json.dumps({"names": {"addresses": addresses}, "services": services}))
        done = m.run(["wakectl", "check", "--engine", "--json", path], check=False)
        problems = json.loads(done.stdout)["problems"]
        found = {(p["level"], p["path"], json.loads(p["value"] or "null")): p["text"] for p in problems if p["path"] != "names"}
        overlaps = [(p["level"], p["text"]) for p in problems if p["path"] == "names"]
        expected = {
            ("s-plain", "plain"): "the engine's default network has no names",
            ("s-hidden", "hidden"): "network 'inside' while it sleeps: it is internal",
            ("s-odd", "odd"): "its bridge has a name of its own",
            ("s-localhost", "localhost"): "not localhost",
            ("s-localhost", "shop.example"): "of one label",
            ("s-localhost", "b\u00fccher"): "letters, digits",
        }
        for (name, value), text in expected.items():
            self.assertIn(text, found.pop(("warning", f"services.{name}.names", value)))
        self.assertEqual(found, {})
        for network in ("bridge", "outside"):
            said = f"'addresses' {addresses} overlaps the network 172[0-9./]+ of '[^']+', which is the engine's {network}: give it another one"
            self.assertTrue(any(level == "error" and re.fullmatch(said, text) for level, text in overlaps), overlaps)

    def test_users_files_are_sound(self):
        self.assertIn("no errors", self.machine.out("wakectl check --engine", timeout=300))

    def test_containers(self):
        self.create("brief", "--rm", run=True)
        self.create("eager", "--restart", "always")
        self.create("vpn", run=True)
        self.create("joined", "--network", "container:vpn")
        self.create("watcher", "--pid", "container:vpn")
        self.create("gone", run=True)
        self.create("orphan", "--network", "container:gone")
        self.machine.docker("rm", "-f", "gone")

        found = self.check({
            "a": service("brief", {"container": "brief"}, {"container": "eager", "condition": "completed"}),
            "b": service("mysql-clemense", {"container": "mysql-clemense"}, {"container": "redis-shraed", "type": "optional"}),
            "c": service("joined", {"container": "joined"}, {"container": "orphan"}, {"container": "eager"}, {"container": "watcher"}),
            "d": service("vpn", {"container": "vpn", "healthCheck": {"command": "docker exec vpm true"}}),
        })
        self.assert_said(found.pop("services.a.dependencies[0].container"), "error", "brief", "--rm", "a stop deletes it")
        self.assert_said(found.pop("services.a.dependencies[1].condition"), "error", "completed", "'always'", "whenever it has completed")
        self.assert_said(found.pop("services.b.dependencies[0].container"), "error", "mysql-clemense", "did you mean 'mysql-clemence'?", "composeDir")
        self.assert_said(found.pop("services.b.dependencies[1].container"), "warning", "redis-shraed", "did you mean 'redis-shared'?")
        self.assert_said(found.pop("services.c.dependencies[0].container"), "warning", "joined", "network of 'vpn'", "add 'vpn'")
        self.assert_said(found.pop("services.c.dependencies[1].container"), "error", "orphan", "does not exist any more", "--force-recreate orphan")
        self.assert_said(found.pop("services.c.dependencies[2].container"), "warning", "eager", "'unless-stopped'")
        self.assert_said(found.pop("services.c.dependencies[3].container"), "warning", "watcher", "processes of 'vpn'", "add 'vpn'")
        self.assert_said(found.pop("services.d.dependencies[0].healthCheck"), "error", "docker exec vpm true", "no such container 'vpm'")
        self.assertEqual(found, {})

    def test_networks_and_ports(self):
        self.create("web", "-p", "8200:80")
        self.create("other", "-p", "8200:80", run=True)
        self.create("squatter", "-p", "28201:80", run=True)
        self.create("mute")
        self.machine.docker("network", "create", "gone")
        self.create("cut-off", "--network", "gone")
        self.machine.docker("network", "rm", "gone")

        wanted = {"network": "databases-shred"}
        found = self.check({
            "a": service("redis-shared", {"container": "redis-shared"}, **wanted),
            "b": service("redis-shared", {"container": "redis-shared"}, crossNetworkDeps=True, **wanted),
            "c": service("web", {"container": "web"}, port=8200),
            "d": service("mute", {"container": "mute"}, port=8201),
            "e": service("cut-off", {"container": "cut-off"}),
        })
        for name, level, text in (("a", "warning", "is not used"), ("b", "error", "no such network")):
            self.assert_said(found.pop(f"services.{name}.network"), level, "databases-shred", text, "'databases-shared'", "did you mean")
        self.assert_said(found.pop("services.c.port"), "warning", None, "8200", "'other'")
        self.assert_said(found.pop("services.d.redirectPort"), "error", None, "28201", "'squatter'")
        self.assert_said(found.pop("services.e.dependencies[0].container"), "error", "cut-off", "'gone' was removed")
        self.assert_said(found.pop("services.d.backend"), "error", None, "publishes port 8201", "mute:80")
        self.assertEqual(found, {})

    def test_compose_folders(self):
        m = self.machine
        m.write("/opt/check/docker-compose.yml", COMPOSE)
        m.write("/opt/bad/docker-compose.yml", "services: [")
        self.addCleanup(m.run, "rm -rf /opt/check /opt/bad")
        names = ("to-be-made", "to-be-pulled", "to-be-built", "to-be-maed")
        found = self.check({
            "a": service("to-be-made", *({"container": n} for n in names), composeDir="/opt/check"),
            "b": service("redis-shared", {"container": "redis-shared"}, composeDir="/opt/none"),
            "c": service("redis-shared", {"container": "redis-shared"}, composeDir="/opt/bad"),
            "d": service("redis-shared", {"container": "redis-shared"}, composeDir="/etc"),
        })
        container = "services.a.dependencies[%d].container"
        self.assert_said(found.pop(container % 1), "warning", "to-be-pulled", "'localhost:1/none:1'", "pull pulled")
        self.assert_said(found.pop(container % 2), "error", "to-be-built", "'built-here'", "build built")
        self.assert_said(found.pop(container % 3), "error", "to-be-maed", "did you mean 'to-be-made'?")
        self.assert_said(found.pop("services.b.composeDir"), "error", "/opt/none", "does not exist")
        self.assert_said(found.pop("services.c.composeDir"), "error", "/opt/bad")
        self.assert_said(found.pop("services.d.composeDir"), "error", "/etc", "no compose file")
        self.assertEqual(found, {})

    def test_env_that_the_waker_refuses(self):
        m = self.machine
        m.write("/opt/env/docker-compose.yml", "version: '3.7'\nservices: {some: {image: sim}}\n")
        m.run("echo A=b >/opt/env/.env; chown daemon /opt/env/.env")
        self.addCleanup(m.run, "rm -r /opt/env")
        found = self.check({"a": service("redis-shared", {"container": "redis-shared"}, composeDir="/opt/env")})
        said = "its .env belongs neither to root nor to the owner of its folder", "/etc/wakechain/env/a.env"
        self.assert_said(found.pop("services.a.composeDir"), "warning", "/opt/env", *said)
        self.assertEqual(found, {})

    def test_units(self):
        m = self.machine
        m.systemctl("mask", "wake@a.service", "man-db.timer")
        self.addCleanup(m.systemctl, "unmask", "wake@a.service", "man-db.timer")
        found = self.check({
            "a": service("redis-shared", {"container": "redis-shared"}, {"unit": "none.service"}, {"unit": "man-db.timer", "type": "optional"}),
        })
        self.assert_said(found.pop("services.a.name"), "error", None, "masked", "systemctl unmask wake@a.service")
        self.assert_said(found.pop("services.a.dependencies[1].unit"), "error", "none.service", "no unit file")
        self.assert_said(found.pop("services.a.dependencies[2].unit"), "warning", "man-db.timer", "unmask")
        self.assertEqual(found, {})

    def test_engine_that_is_away(self):
        m = self.machine
        m.write("/tmp/away.json", json.dumps({"engineSocket": "/run/none.sock", "services": {"a": service("a", {"container": "a"})}}))
        done = m.run(["wakectl", "check", "--engine", "/tmp/away.json"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('engineSocket: "/run/none.sock": no such socket', done.stdout)
        m.systemctl("stop", "docker.socket", "docker.service")
        self.addCleanup(m.systemctl, "start", "docker.socket", "docker.service")
        done = m.run(["wakectl", "check", "--engine"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("engineSocket", done.stdout)
