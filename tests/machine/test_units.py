"""The units as systemd and an administrator see them: drop-ins, reloads, broken configs, the control socket."""

import json
import re
import socket
import unittest

from service_test import ServiceTest, required, stacks, users_config


class Units(ServiceTest):
    """The users' files as they are."""

    per = "module"

    def test_verify(self):
        m = self.machine
        units = ["default.target", "wakechain-redirect.service", "wakechain-settle.service", "wakechain-settle.timer", "wakechain-unsettled.path"]
        units += ["wakechain-containers.path", "wakechain-containers.service", "wakechain-folders.service", "wakechain-changed.target"]
        for name in ("clemence", "telegram-bot"):
            units += [f"wake@{name}.service", f"wake-control@{name}.socket"]
        units += ["wake@clemence.socket", "wake-front@clemence.service"]
        done = m.run(["systemd-analyze", "verify", "--man=no", "--generators=yes", *units], check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "wake" in line]
        self.assertEqual((done.returncode, said), (0, []), done.stderr)

    def test_all_sockets(self):
        sockets = self.sockets()
        for name in stacks.STACKS:
            self.assertIn(f"wake-control@{name}.socket", sockets)
        redirected = {name for name in stacks.STACKS if f"wake@{name}.socket" in sockets}
        self.assertEqual(redirected, set(stacks.PORTS))
        self.assertEqual(self.machine.out("systemctl --failed --no-legend"), "")

    def test_no_cycle_at_boot(self):
        messages = self.machine.journal(json=False)
        self.assertNotIn("ordering cycle", messages)

    def test_own_drop_in_wins(self):
        m = self.machine
        self.assertNotEqual(m.show("wake@clemence.service", "TimeoutStartUSec"), "1min 17s")
        self.drop_in(
            "wake@clemence.service", "[Unit]\nDescription=Mine\n[Service]\nTimeoutStartSec=77s\nTimeoutStopSec=88s\n", "override.conf"
        )
        self.drop_in("wake@clemence.socket", "[Socket]\nBacklog=7\n", "override.conf")
        self.drop_in("wake-front@clemence.service", "[Service]\nTimeoutStopSec=66s\n", "override.conf")
        shown = m.show("wake@clemence.service", "Description", "TimeoutStartUSec", "TimeoutStopUSec")
        self.assertEqual(shown, {"Description": "Mine", "TimeoutStartUSec": "1min 17s", "TimeoutStopUSec": "1min 28s"})
        self.assertEqual(m.show("wake@clemence.socket", "Backlog"), "7")
        self.assertEqual(m.show("wake-front@clemence.service", "TimeoutStopUSec"), "1min 6s")

    def test_environment_of_health_commands(self):
        """Root's own, and never the stack's .env, which the waker reads: test_env.py."""
        files = self.machine.systemctl("show", "wake@clemence.service", "--property=EnvironmentFiles")
        self.assertEqual(files.strip(), "EnvironmentFiles=/etc/wakechain/env/clemence.env (ignore_errors=yes)")

    def test_exposure(self):
        """What is left out of the sandboxes is said in the units."""
        m = self.machine
        for unit, most in (("wake-front@clemence", 1.5), ("wakechain-web", 2.0), ("wake@clemence", 4.1)):
            with self.subTest(unit):
                said = m.out(["systemd-analyze", "security", "--no-pager", f"{unit}.service"])
                self.assertLessEqual(float(re.search(r"exposure level .*: ([0-9.]+) ", said)[1]), most, said)

    def test_front_cannot_open_the_engine(self):
        m = self.machine
        who = ["setpriv", "--reuid=wakechain-front", "--regid=wakechain", "--init-groups"]
        self.assertEqual(m.out([*who, "id", "-nG"]), "wakechain")
        done = m.run([*who, "curl", "-sS", "--unix-socket", "/run/docker.sock", "http://x/_ping"], check=False)
        self.assertEqual(done.returncode, 7, done.stderr)

    def test_check(self):
        self.assertEqual(self.machine.run(["wakectl", "check"]).returncode, 0)


class Config(ServiceTest):
    """Changes of the files, and mistakes in them."""

    per = "module"

    def repair(self):
        """The users' file again. A socket that was left without its unit has to be started anew: systemd says so."""
        self.machine.set_config("users")
        self.machine.run("systemctl daemon-reload; systemctl restart 'wake@*.socket'; systemctl reset-failed")

    def kernel_log(self):
        """What the generator tells the kernel's log. A container has none, and a pipe as /dev/kmsg would be filled by PID 1 until that
        waits for ever: so it is run as PID 1 does, with a /dev of its own."""
        script = """
            mount -t tmpfs tmpfs /dev && : > /run/kernel-log && : > /dev/kmsg && mount --bind /run/kernel-log /dev/kmsg
            mkdir -p /run/generated
            SYSTEMD_EXEC_PID=$$ exec /usr/lib/systemd/system-generators/wakechain-generator /run/generated
        """
        self.machine.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
        return self.machine.read("/run/kernel-log")

    def test_new_service_after_reload(self):
        m = self.machine
        text = json.dumps({"services": {"exporter": {**stacks.config()["telegram-bot"], "name": "rq-exporter-whisperx",
                           "port": 9726, "listen": ["9726"], "backend": "rq-exporter-whisperx:9726",
                           "dependencies": [{"container": "rq-exporter-whisperx", "healthCheck": {"tcp": "9726"}}]}}})  # fmt: skip
        m.write("/etc/wakechain/dependencies.d/zz.json", text)
        m.systemctl("daemon-reload")
        m.systemctl("start", "wake@exporter.socket")
        self.assertEqual(self.ask("http://127.0.0.1:9726/")[0], 200)
        self.sleep("exporter")
        self.assert_stopped("rq-exporter-whisperx")

        # Gone again: its units are as well, those of the others stay.
        m.systemctl("stop", "wake@exporter.socket")
        m.run("rm /etc/wakechain/dependencies.d/zz.json; systemctl daemon-reload")
        self.assertEqual(m.show("wake@exporter.socket", "LoadState"), "not-found")
        self.assert_listens("clemence")

    def test_broken_beside_good(self):
        m = self.machine
        m.set_config(users_config(memvid={"port": 99999}, ragflow={"dependencies": [{"contianer": "ragflow-mysql"}]}))
        self.addCleanup(self.repair)
        m.systemctl("daemon-reload")
        # sockets go on listening, by the last configuration without an error, which the boot has kept
        folder = m.out("ls /run/systemd/generator").split()
        for service in ("memvid", "ragflow", "clemence", "nextcloud"):
            self.assertIn(f"wake@{service}.socket", folder)
            self.assert_listens(service)

        done = self.fails(["wakectl", "check"])
        self.assertEqual(done.returncode, 1)
        said = done.stdout + done.stderr
        self.assertIn("services.memvid.port", said)
        self.assertIn("99999", said)
        self.assertIn("services.ragflow.dependencies[0]", said)
        self.assertIn("container", said)

        self.assertRegex(self.kernel_log(), r"(?m)^<27>wakechain-generator\[\d+\]: .*services\.memvid\.port.*99999")
        done = self.fails(["systemctl", "start", "wake@memvid.service"])
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.status("memvid")["reason"], "config_invalid")

        self.assertEqual(self.ask("http://127.0.0.1:9002/")[0], 200)
        self.sleep("clemence")

        # where nothing is known of before, a broken service has no socket, and the others have theirs
        m.run(["rm", "/var/lib/wakechain/dependencies.last-good.json"])
        m.systemctl("daemon-reload")
        folder = m.out("ls /run/systemd/generator").split()
        self.assertNotIn("wake@memvid.socket", folder)
        self.assertNotIn("wake@ragflow.socket", folder)
        self.assertIn("wake@clemence.socket", folder)

    def test_unreadable_config(self):
        """A file that is no JSON wakes nothing, and says so; the sockets go on listening; repaired, all is as before."""
        m = self.machine
        m.write("/etc/wakechain/dependencies.json", '{"services": {"clemence": ')
        self.addCleanup(self.repair)
        m.systemctl("daemon-reload")
        self.assertEqual(self.fails(["wakectl", "check"]).returncode, 1)
        self.assert_listens("clemence")
        code, page = self.ask("http://127.0.0.1:9002/")
        self.assertEqual(code, 503, page)
        self.assertEqual(self.status("clemence")["reason"], "config_invalid")
        self.sleep("clemence")
        self.repair()
        self.assertEqual(self.ask("http://127.0.0.1:9002/")[0], 200)
        self.sleep("clemence")


class Control(ServiceTest):
    """/run/wakechain/control/NAME.sock, whose protocol is Varlink: JSON, each message ended by a zero byte."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "1500ms"})
    SOCKET = "/run/wakechain/control/memvid.sock"

    def call(self, method, **members):
        """Calls, and yields the parameters of each reply. Connected until the generator is closed."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.machine.path(self.SOCKET)))
            connection.sendall(json.dumps({"method": f"io.wakechain.{method}", **members}).encode() + b"\0")
            pending = b""
            while chunk := connection.recv(65536):
                *messages, pending = (pending + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    self.assertNotIn("error", message)
                    yield message["parameters"]
                    if not message.get("continues"):
                        return

    def test_hold(self):
        cursor = self.machine.journal_cursor()
        holder = self.call("Hold", more=True)
        states = []
        while "awake" not in states:
            states.append(next(holder)["status"]["state"])
        self.assertEqual(states[0], "waking")
        self.assertEqual(self.status("memvid")["trigger"], "manual")

        status = next(self.call("GetStatus"))["status"]
        self.assertEqual((status["service"], status["state"], status["holders"]), ("memvid", "awake", 1))
        self.remain(3, lambda: self.unit_state("wake@memvid.service") == "active", "it slept although it was held")

        holder.close()
        self.follow("ASLEEP", "memvid", cursor)
        self.wait_unit("wake@memvid.service", "inactive")

    def test_sleep(self):
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        list(self.call("Sleep"))
        self.wait_unit("wake@memvid.service", "inactive")
        self.assert_stopped("memvid-api")

    def test_varlinkctl(self):
        """systemd's own client of such sockets gets along with it."""
        m = self.machine
        if m.run("command -v varlinkctl", check=False).returncode:
            raise unittest.SkipTest("this systemd has no varlinkctl")
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        shown = json.loads(m.out(["varlinkctl", "call", "--json=short", self.SOCKET, "io.wakechain.GetStatus", "{}"]))
        self.assertEqual(shown["status"]["state"], "awake")
        self.assertIn("method Hold", m.out(["varlinkctl", "introspect", self.SOCKET, "io.wakechain"]))
        self.assertIn("wakechain-wake", m.out(["varlinkctl", "info", self.SOCKET]))
        m.run(["varlinkctl", "call", "--json=short", self.SOCKET, "io.wakechain.Sleep", "{}"])
        self.wait_unit("wake@memvid.service", "inactive")
