"""What runs when the machine has booted: taken as awake without a restart, and, if it is ours, put to sleep again."""

import json

from service_test import ServiceTest, required, stacks, users_config

URL = "http://127.0.0.1:8100/"
UNIT = "wakechain-redirect.service"
CONTAINERS = ("redis-shared", "memvid-api")


class BootTest(ServiceTest):
    per = "class"
    restart = "unless-stopped"

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "memvid-api", 0.2)
        machine.docker("update", "--restart", cls.restart, *CONTAINERS)

    def started(self):
        """When each container was started; and how often, since the boot."""
        out = self.machine.docker("inspect", "--format", "{{.Name}} {{.State.StartedAt}} {{.RestartCount}}", *CONTAINERS)
        return out

    def leases(self):
        return self.machine.out("ls /var/lib/wakechain/lease").split()

    def assert_booted(self):
        self.wait_unit(UNIT, "active")
        self.assertEqual(self.machine.out("systemctl --failed --no-legend"), "")
        self.assert_listens("memvid")

    def assert_direct(self):
        """A request that no front sees."""
        self.assertEqual(self.unit_state("wake-front@memvid.service"), "inactive")
        code, page = self.ask(URL)
        self.assertEqual((code, page.split()[0]), (200, "memvid-api"))
        self.assertEqual(self.unit_state("wake-front@memvid.service"), "inactive")


class RunningAlready(BootTest):
    """`restart: unless-stopped`: the engine has started them."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "1h"})

    def test_taken_as_awake(self):
        m = self.machine
        stacks.start(m, "memvid")
        stacks.stop(m, "memvid-ui")
        for power_cut in (False, True):
            m.reboot(power_cut=power_cut)
            self.assert_booted()
            self.wait_state("memvid", "awake")
            self.assertEqual(self.status("memvid")["trigger"], "outside")
            started = self.started()
            self.assert_running(*CONTAINERS)
            self.assert_direct()
            # It is nobody's of ours: nothing was started, neither a container nor a waker that could do nothing with it.
            self.settle()
            self.assertEqual(self.unit_state("wake@memvid.service"), "inactive")
            self.assertEqual(stacks.running(m), set(CONTAINERS))
            self.assertEqual(self.records("WAKING"), [])
            self.assertEqual(self.started(), started)

        # It is no less awake for that: somebody else stops it, and it sleeps.
        stacks.stop(m, "memvid-api")
        self.wait_state("memvid", "asleep", 60)
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")


class Adopted(BootTest):
    """`adopt`: they are ours, so they go to sleep when nobody comes, and the engine does not bring them back."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "4s", "adopt": True})

    def test_goes_to_sleep(self):
        m = self.machine
        # It is the boot that is to find them, not a look before it, after which they would sleep soon.
        m.systemctl("stop", "wakechain-containers.path", "wakechain-containers.service", "wakechain-settle.timer")
        stacks.start(m, "memvid")
        stacks.stop(m, "memvid-ui")
        m.reboot()
        self.assert_booted()
        m.wait_for(lambda: not stacks.running(m), 60, what="the stack to sleep")
        self.wait_state("memvid", "asleep")
        m.reboot()
        self.assert_booted()
        self.assert_stopped(*CONTAINERS)
        self.assertEqual(self.records("WAKING"), [])
        self.assertEqual(self.ask(URL)[0], 200)


class Ours(BootTest):
    """The machine goes down while they are awake, or waking, because of a client."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "4s"})

    def assert_sleeps_again(self):
        """What the engine has brought back is taken for ours, and does not run for ever."""
        m = self.machine
        m.wait_for(lambda: not stacks.running(m), 90, what="the stack to sleep")
        self.wait_state("memvid", "asleep")
        self.wait_unit("wake@memvid.service", "inactive")
        self.assert_listens("memvid")
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")

    def test_reboot_while_awake(self):
        """An orderly one puts everything to sleep."""
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        m.reboot()
        self.assert_booted()
        self.assertEqual(stacks.running(m), set())
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")

    def test_power_cut_while_awake(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_state("memvid", "awake")
        self.assertEqual(self.leases(), sorted(CONTAINERS))
        m.reboot(power_cut=True)
        self.assert_booted()
        self.wait_state("memvid", "awake")
        self.assertEqual(stacks.running(m), set(CONTAINERS))
        self.assert_sleeps_again()

    def test_power_cut_while_waking(self):
        """The dependency had been started, the container that clients reach had not."""
        m = self.machine
        stacks.set_delay(m, "redis-shared", 4)
        try:
            since = m.now()
            client = self.asking(URL)
            self.wait_event("redis-shared", "start", since)
            self.assertIn("redis-shared", self.leases())
            m.reboot(power_cut=True)
            client.kill()
        finally:
            stacks.set_delay(m, "redis-shared", None)
        self.assert_booted()
        self.assert_sleeps_again()

    def test_reboot_while_waking(self):
        m = self.machine
        stacks.set_delay(m, "memvid-api", 20)
        try:
            since = m.now()
            client = self.asking(URL)
            self.wait_event("memvid-api", "start", since)
            m.reboot()
            client.kill()
        finally:
            stacks.set_delay(m, "memvid-api", 0.2)
        self.assert_booted()
        self.assertEqual(stacks.running(m), set())
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")


class NotRestarted(BootTest):
    """Without a restart policy nothing comes back."""

    restart = "no"
    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})

    def test_stays_asleep(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.leases(), sorted(CONTAINERS))
        m.reboot(power_cut=True)
        self.assert_booted()
        self.assertEqual(stacks.running(m), set())
        self.assertEqual(self.records("WAKING"), [])
        self.assertEqual(self.unit_state("wake@memvid.service"), "inactive")
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("memvid")

    def test_container_without_a_service(self):
        """Started for a service that has it no more: said, and left alone."""
        m = self.machine
        m.docker("update", "--restart", "unless-stopped", *CONTAINERS)
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_state("memvid", "awake")
        self.addCleanup(m.set_config, self.config)
        m.set_config(users_config(memvid=None))
        m.reboot(power_cut=True)
        m.follow_journal(lambda r: "memvid-api" in r["MESSAGE"] and "docker stop" in r["MESSAGE"], unit=UNIT)
        self.assertIn("memvid-api", stacks.running(m))
        m.set_config(self.config)
        stacks.stop(m)
        m.docker("update", "--restart", "no", *CONTAINERS)
        m.reboot()
        self.assert_booted()


class Engine(ServiceTest):
    """An engine that is not there, or does not answer, does not hold up the boot."""

    per = "test"
    variant = "bare"

    def test_no_engine(self):
        m = self.machine
        m.run("systemctl mask docker.service docker.socket")
        m.reboot()
        self.assertEqual(self.unit_state(UNIT), "active")
        self.assert_listens("memvid")

    def test_silent_engine(self):
        """Connections are accepted by nobody: given up soon, and said."""
        m = self.machine
        m.write("/etc/systemd/system/silent.socket", "[Socket]\nListenStream=/run/silent.sock\n[Install]\nWantedBy=sockets.target\n")
        m.write("/etc/systemd/system/silent.service", "[Service]\nExecStart=/bin/sleep infinity\n")
        m.systemctl("enable", "silent.socket")
        m.set_config({**users_config(), "engineSocket": "/run/silent.sock"})
        m.reboot()
        self.assertEqual(m.show(UNIT, "Result"), "success")
        said = [r["MESSAGE"] for r in m.journal(UNIT)]
        self.assertTrue(any("does not answer" in line for line in said), said)
        self.assert_listens("memvid")

    def test_broken_config(self):
        """The boot goes on; what is wrong was said by others."""
        m = self.machine
        m.write("/etc/wakechain/dependencies.json", json.dumps({"services": []}))
        m.reboot()
        self.assertEqual(self.unit_state(UNIT), "active")
