"""Dependencies that are no containers: other services, and systemd units. And the sleep of what wakechain did not start."""

import json

from service_test import ServiceTest, stacks, users_config

UI = "http://127.0.0.1:8300/"
CHAIN = ["redis-shared", "memvid-api", "memvid-ui"]


def container(name, order=2, **members):
    check = stacks.health(name) or f"docker exec {name} curl -f http://localhost:3000/"
    health = {"command": check, "interval": 100, "timeout": 20000}
    return {"container": name, "startOrder": order, "healthCheck": health, **members}


def one(name, *dependencies, **members):
    """A service of that container, which sleeps a moment after it was used."""
    network = "monitoring_monitoring" if name == "redis-shared" else "memvid_memvid-network"
    service = {"name": name, "network": network, "idleTimeout": "1s", "dependencies": [*dependencies, container(name)]}
    return {**service, **members}


class Chain(ServiceTest):
    """memvid-ui → memvid-api → redis-shared, a service each. Only the first has clients."""

    config = users_config(
        memvid=None,
        redis_shared=one("redis-shared"),
        memvid_api=one("memvid-api", {"service": "redis-shared"}),
        memvid_ui=one("memvid-ui", {"service": "memvid-api"}, port=3000, listen=["127.0.0.1:8300"], backend="memvid-ui:3000"),
    )

    def setUp(self):
        m = self.machine
        self.assert_stopped()
        self.cursor, self.since = m.journal_cursor(), m.now()
        self.addCleanup(self.sleep, *reversed(CHAIN))

    def wait_all(self, state):
        for service in CHAIN:
            self.wait_state(service, state)

    def wait_units_end(self):
        for service in CHAIN:
            self.wait_unit(f"wake@{service}.service", "inactive")

    def test_wakes_and_sleeps_in_order(self):
        code, page = self.ask(UI)
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))
        self.assertEqual(self.starts(self.since), CHAIN)
        for service in CHAIN:
            status = self.status(service)
            self.assertEqual((status["state"], status["trigger"]), ("awake", "connection"))
        self.assertEqual({d["container"]: d["state"] for d in self.status("memvid-ui")["dependencies"]}["memvid-api"], "ready")

        self.follow("ASLEEP", "redis-shared", self.cursor, timeout=40)
        self.wait_units_end()
        self.assertEqual(self.ends(self.since), CHAIN[::-1])
        self.wait_all("asleep")
        self.assert_stopped()
        self.assert_listens("memvid-ui")

    def test_held_while_used(self):
        """A request of the outer that takes longer than every idleTimeout keeps the inner ones awake."""
        code, page = self.ask(UI + "slow/4000")
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))
        self.assertEqual(self.ends(self.since), [])
        self.assertEqual(self.records("STOPPING", since=self.cursor), [])

    def be_patient(self):
        """A waker that is killed lets go of what it holds until the next one holds it again: on a busy machine, some seconds."""
        self.addCleanup(self.machine.set_config, self.config)
        services = self.config["services"]
        patient = {name: {**services[name], "idleTimeout": "8s"} for name in CHAIN[:2]}
        self.machine.set_config({"services": {**services, **patient}})

    def test_middle_waker_killed(self):
        self.be_patient()
        self.assertEqual(self.ask(UI)[0], 200)
        client = self.asking(UI + "slow/3000")
        for _ in range(3):
            killed = self.kill_main("wake@memvid-api.service")
            self.machine.wait_for(lambda pid=killed: self.machine.show("wake@memvid-api.service", "MainPID") not in ("0", str(pid)), 20)
            self.wait_unit("wake@memvid-api.service", "active")
            self.assertEqual(self.ask(UI)[0], 200)
        code, page = self.answered(client)
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))
        self.assertEqual(self.starts(self.since), CHAIN)
        self.assertEqual(self.ends(self.since), [])
        self.assertEqual(self.records("STOPPING", since=self.cursor), [])
        self.assertEqual(len(self.records("TAKEN_OVER", "memvid-api", self.cursor)), 3)

        self.follow("ASLEEP", "redis-shared", self.cursor, timeout=40)
        self.assertEqual(self.ends(self.since), CHAIN[::-1])

    def test_middle_waker_killed_while_waking(self):
        self.be_patient()
        client = self.asking(UI)
        self.wait_event("memvid-api", "start", self.since)
        self.kill_main("wake@memvid-api.service")
        code, page = self.answered(client)
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))
        self.assertEqual(self.starts(self.since), CHAIN)
        self.assertEqual(self.ends(self.since), [])

    def test_failure_is_passed_on(self):
        m = self.machine
        m.set_config({"services": {**self.config["services"], "redis-shared": one("redis-shared", globalTimeout="2s")}})
        self.addCleanup(m.set_config, self.config)
        stacks.set_broken(m, "redis-shared")
        self.addCleanup(stacks.set_broken, m, "redis-shared", False)
        code, page = self.ask(UI)
        self.assertEqual(code, 503, page)
        for service, inner in (("memvid-api", "redis-shared"), ("memvid-ui", "memvid-api")):
            record = self.follow("FAILED", service, self.cursor)
            self.assertEqual(record["WAKECHAIN_REASON"], "global_timeout")
            self.assertIn(f"{inner}: its own wake failed: ", record["MESSAGE"])
        self.wait_no_process()
        self.assert_stopped()

    def test_stop_of_the_innermost(self):
        """An administrator puts to sleep what others hold: all that need it go to sleep as well. While nobody uses them, that sticks."""
        m = self.machine
        self.drop_in("wake-front@memvid-ui.service", "[Service]\nExecStart=\nExecStart=/bin/false\n")
        m.systemctl("start", "wake@memvid-ui.service")
        m.systemctl("stop", "wake@redis-shared.service")
        self.wait_units_end()
        self.assert_stopped()
        self.assertEqual(self.starts(self.since), CHAIN)

    def test_stop_of_the_innermost_with_a_client(self):
        """…and the clients that are there are served by the next wake."""
        m = self.machine
        self.assertEqual(self.ask(UI)[0], 200)
        cursor = m.journal_cursor()
        m.systemctl("stop", "wake@redis-shared.service")
        code, page = self.ask(UI)
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))
        for service in CHAIN:
            self.follow("ASLEEP", service, cursor)
        self.assert_running(*CHAIN)


UNITS = {
    "demo-db.service": "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n",
    "demo-setup.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >>/run/demo-setup'\n",
    "demo-broken.service": "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    "demo-tool@.service": "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n",
    "demo-other.service": "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n",
}


def unit(name, **members):
    return {"unit": name, **members}


class Units(ServiceTest):
    """Units that wakers start and stop although they have no privileges: polkit asks what is configured."""

    config = users_config(
        memvid=None,
        api=one("memvid-api", unit("demo-db.service", healthCheck={"command": "test -d /run"}), idleTimeout="10min"),
        ui=one("memvid-ui", unit("demo-db.service"), unit("demo-setup.service", condition="completed"), idleTimeout="10min"),
        tool=one("redis-shared", unit("demo-tool@x.service"), idleTimeout="10min"),
        broken=one("redis-shared", unit("demo-broken.service")),
        missing=one("redis-shared", unit("demo-missing.service")),
    )

    @classmethod
    def prepare(cls, machine):
        for name, text in UNITS.items():
            machine.write(f"/etc/systemd/system/{name}", text)
        machine.systemctl("daemon-reload")

    def setUp(self):
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()
        self.addCleanup(self.clean)

    def clean(self):
        self.sleep("api", "ui", "tool")
        self.machine.run("systemctl stop 'demo-*'; systemctl reset-failed", check=False)

    def wake(self, service):
        self.machine.systemctl("start", f"wake@{service}.service")

    def runs(self, name="demo-db.service"):
        return self.unit_state(name) == "active"

    def refused(self, command):
        done = self.fails(["runuser", "-u", "wakechain", "--", *command])
        self.assertRegex(done.stdout + done.stderr, "denied|authentication required|Access|not permitted")

    def test_last_of_two_stops_it(self):
        self.wake("api")
        self.assertTrue(self.runs())
        self.wake("ui")
        self.machine.systemctl("stop", "wake@api.service")
        self.assertTrue(self.runs())
        self.machine.systemctl("stop", "wake@ui.service")
        self.assertFalse(self.runs())
        self.assert_stopped()

    def test_what_ran_before_is_left(self):
        m = self.machine
        m.systemctl("start", "demo-db.service")
        self.wake("api")
        m.systemctl("stop", "wake@api.service")
        self.assertTrue(self.runs())
        self.wake("api")
        self.succeeds(["wakectl", "sleep", "api"])
        self.assertFalse(self.runs())

    def test_instance_of_a_template(self):
        self.wake("tool")
        self.assertTrue(self.runs("demo-tool@x.service"))
        self.machine.systemctl("stop", "wake@tool.service")
        self.assertFalse(self.runs("demo-tool@x.service"))

    def test_nothing_else_is_allowed(self):
        m = self.machine
        self.refused(["systemctl", "start", "demo-other.service"])
        self.assertFalse(self.runs("demo-other.service"))
        self.refused(["systemctl", "start", "demo-tool@y.service"])
        self.succeeds(["runuser", "-u", "wakechain", "--", "systemctl", "start", "demo-db.service"])
        self.assertTrue(self.runs())
        for verb in ("restart", "reload-or-restart", "kill"):
            self.refused(["systemctl", verb, "demo-db.service"])
        self.refused(["systemctl", "set-property", "--runtime", "demo-db.service", "CPUWeight=50"])
        self.fails(["runuser", "-u", "nobody", "--", "systemctl", "stop", "demo-db.service"])
        self.assertTrue(self.runs())
        # Configured, but not there: whoever may start it must not choose what it is.
        self.refused(["systemd-run", "--unit=demo-missing.service", "touch", "/run/made-up"])
        self.fails(["runuser", "-u", "wakechain", "--", "systemd-run", "--unit=demo-db.service", "touch", "/run/made-up"])
        self.fails("test -e /run/made-up")
        self.assertEqual(m.out("wakectl check --unit=demo-db.service").split(), ["api", "ui"])
        self.fails("wakectl check --unit=demo-other.service")

    def test_completed_runs_once(self):
        m = self.machine
        m.run("rm -f /run/demo-setup")
        m.run(["rm", "-f", "/run/wakechain/lease/unit=demo-setup.service"])
        for _ in range(3):
            self.wake("ui")
            m.systemctl("stop", "wake@ui.service")
        self.assertEqual(m.read("/run/demo-setup"), "ran\n")

    def fail_to_wake(self, service):
        """The record of that."""
        self.fails(["systemctl", "start", f"wake@{service}.service"])
        return self.follow("FAILED", service, self.cursor)

    def test_failing_unit(self):
        record = self.fail_to_wake("broken")
        self.assertEqual(record["WAKECHAIN_REASON"], "start_failed")
        self.assertIn("demo-broken.service: its start failed (exit-code); see 'journalctl -u demo-broken.service'", record["MESSAGE"])

    def test_missing_unit(self):
        record = self.fail_to_wake("missing")
        self.assertEqual(record["WAKECHAIN_REASON"], "not_found")
        self.assertIn("demo-missing.service: there is no such unit", record["MESSAGE"])

    def test_without_polkit(self):
        m = self.machine
        m.systemctl("mask", "--now", "--runtime", "polkit.service")
        try:
            record = self.fail_to_wake("api")
            self.assertEqual(record["WAKECHAIN_REASON"], "start_failed")
            self.assertIn("demo-db.service: polkit does not allow to start it", record["MESSAGE"])
            self.assertIn("is polkitd installed", record["MESSAGE"])
        finally:
            m.systemctl("unmask", "--runtime", "polkit.service")
        self.wake("api")
        self.assertTrue(self.runs())

    def test_unreadable_configuration(self):
        m = self.machine
        m.run("chmod 0640 /etc/wakechain/dependencies.json; chgrp wakechain /etc/wakechain/dependencies.json")
        self.addCleanup(m.run, "chmod 0644 /etc/wakechain/dependencies.json")
        record = self.fail_to_wake("api")
        self.assertIn("can it read the configuration", record["MESSAGE"])

    def test_failed_by_itself_is_started_again(self):
        m = self.machine
        self.wake("api")
        for _ in range(2):
            killed = self.kill_main("demo-db.service")
            m.wait_for(lambda pid=killed: self.runs() and m.show("demo-db.service", "MainPID") != str(pid), 20)
        self.wait_state("api", "awake")
        m.systemctl("stop", "wake@api.service")
        self.assertFalse(self.runs())

    def test_stopped_by_an_administrator(self):
        m = self.machine
        self.wake("api")
        m.systemctl("stop", "demo-db.service")
        self.wait_unit("wake@api.service", "inactive")
        self.assert_stopped()
        self.wake("api")
        self.assertTrue(self.runs())
        m.systemctl("restart", "demo-db.service")
        self.remain(4, lambda: self.unit_state("wake@api.service") == "active", "a restart by hand put it to sleep")

    def test_killed_waker_keeps_it(self):
        m = self.machine
        self.wake("api")
        self.assertEqual(m.show("wake@api.service", "NFileDescriptorStore"), "2")
        killed = self.kill_main("wake@api.service")
        m.wait_for(lambda: m.show("wake@api.service", "MainPID") not in ("0", str(killed)), 20)
        self.wait_unit("wake@api.service", "active")
        self.assertTrue(self.runs())
        m.systemctl("stop", "wake@api.service")
        self.assertFalse(self.runs())

    def test_bus_and_systemd_replaced(self):
        m = self.machine
        self.wake("api")
        m.systemctl("daemon-reexec")
        m.systemctl("daemon-reload")
        m.systemctl("restart", "dbus.service")
        self.remain(4, lambda: self.unit_state("wake@api.service") == "active" and self.runs(), "it was put to sleep")
        # What it is told is heard again.
        killed = self.kill_main("demo-db.service")
        m.wait_for(lambda: self.runs() and m.show("demo-db.service", "MainPID") != str(killed), 20)
        m.systemctl("stop", "wake@api.service")
        self.assertFalse(self.runs())


class Sleep(ServiceTest):
    """wakectl sleep: also what wakechain has not started."""

    config = users_config(
        clemence={"idleTimeout": "10min"},
        memvid=None,
        api=one("memvid-api", container("redis-shared", 1, network="monitoring_monitoring"), crossNetworkDeps=True, idleTimeout="10min"),
        ui=one("memvid-ui", container("redis-shared", 1, network="monitoring_monitoring"), crossNetworkDeps=True, idleTimeout="10min"),
        kept=one("memvid-ui", container("redis-shared", 1, network="monitoring_monitoring", keep=True), crossNetworkDeps=True),
    )

    def setUp(self):
        self.assert_stopped()
        self.addCleanup(stacks.stop, self.machine)
        self.addCleanup(self.sleep, "clemence", "api", "ui", "kept")

    def test_what_ran_before(self):
        m = self.machine
        stacks.start(m, "clemence")
        m.systemctl("start", "wake@clemence.service")
        m.systemctl("stop", "wake@clemence.service")
        self.assert_running(*stacks.CLEMENCE)
        m.systemctl("start", "wake@clemence.service")
        self.assertEqual(m.out("wakectl sleep clemence"), "")
        self.assertEqual(self.status("clemence")["state"], "asleep")
        self.wait_unit("wake@clemence.service", "inactive")
        self.assert_stopped(*stacks.CLEMENCE)
        self.assertEqual(self.ask("http://127.0.0.1:9002/")[0], 200)

    def test_while_its_waker_does_not_run(self):
        m = self.machine
        stacks.start(m, "clemence")
        since = m.now()
        m.run(["wakectl", "sleep", "clemence"])
        self.assert_stopped(*stacks.CLEMENCE)
        self.assertEqual(self.starts(since), [])
        self.assertEqual(self.ends(since), list(reversed(stacks.CLEMENCE)))
        # What sleeps already is asleep at once.
        m.run(["wakectl", "sleep", "clemence"])
        self.assertEqual(self.starts(since), [])

    def test_what_others_use_and_what_is_kept(self):
        m = self.machine
        m.docker("start", "redis-shared")
        m.systemctl("start", "wake@ui.service")
        m.systemctl("start", "wake@api.service")
        m.run(["wakectl", "sleep", "api"])
        self.assert_stopped("memvid-api")
        self.assert_running("redis-shared", "memvid-ui")
        m.run(["wakectl", "sleep", "ui"])
        self.assert_stopped()

        m.docker("start", "redis-shared")
        m.systemctl("start", "wake@kept.service")
        m.run(["wakectl", "sleep", "kept"])
        self.assert_running("redis-shared")
        self.assert_stopped("memvid-ui")

    def test_who_may(self):
        m = self.machine
        self.assertIn("group 'wakechain'", self.fails("runuser -u nobody -- wakectl sleep clemence").stderr)
        self.assertIn("There is no service 'klemence'", self.fails("wakectl sleep klemence").stderr)
        self.assertEqual(m.run("wakectl sleep", check=False).returncode, 2)
        self.assertEqual(m.run("wakectl sleep a/b", check=False).returncode, 2)
        m.docker("start", "redis-shared")
        # A member of the group, in a unit as sessions are.
        self.succeeds("systemd-run -q --wait --pipe -p User=nobody -p SupplementaryGroups=wakechain wakectl sleep ui")
        self.assert_stopped()

    def test_varlinkctl(self):
        """systemd's own client, where there is one."""
        m = self.machine
        if m.run("command -v varlinkctl", check=False).returncode:
            self.skipTest("varlinkctl came with systemd 255")
        path = "/run/wakechain/control/api.sock"
        m.systemctl("start", "wake@api.service")
        self.assertIn("io.wakechain", m.out(["varlinkctl", "list-interfaces", path]))
        described = m.out(["varlinkctl", "introspect", path, "io.wakechain"])
        self.assertIn("method Sleep(", described)
        said = json.loads(m.out(["varlinkctl", "call", "-j", path, "io.wakechain.GetStatus", "{}"]))
        self.assertEqual(said["status"]["state"], "awake")
        m.run(["varlinkctl", "call", path, "io.wakechain.Sleep", '{"all":true}'])
        self.wait_unit("wake@api.service", "inactive")
        self.assert_stopped()
