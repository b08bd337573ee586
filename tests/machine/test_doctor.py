"""wakectl doctor: a healthy machine has nothing, and each check finds what was broken for it, with what mends it."""

import json

from fault_test import SickEngine
from service_test import ServiceTest, users_config

NOBODY = ["runuser", "-u", "nobody", "--"]
DAEMON = "/etc/docker/daemon.json"


class Doctor(ServiceTest):
    per = "class"
    config = users_config()

    def findings(self, *before, code=1):
        """{check: [(level, what, fix)]}, without notes."""
        done = self.machine.run([*before, "wakectl", "doctor", "--json"], check=False)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done)
        found = {}
        for finding in json.loads(done.stdout):
            self.assertTrue(finding["why"] or finding["check"] in ("configuration", "stacks"), finding)
            if finding["level"] != "note":
                found.setdefault(finding["check"], []).append((finding["level"], finding["what"], finding["fix"]))
        return found

    def assert_found(self, check, level, what, fix, *before):
        found = self.findings(*before)
        self.assertEqual(list(found), [check])
        self.assertEqual(found[check][0][0], level)
        self.assertRegex(found[check][0][1], what)
        self.assertRegex(found[check][0][2] or "in what", fix)

    def notes(self):
        done = self.machine.run("wakectl doctor --json", check=False)
        return {f["check"]: f["what"] for f in json.loads(done.stdout) if f["level"] == "note"}

    def setUp(self):
        self.settle()
        self.addCleanup(self.assert_well)

    def assert_well(self):
        self.settle()
        self.assertEqual(self.findings(code=0), {})

    def test_well(self):
        self.assertTrue(self.machine.out("wakectl doctor").strip().endswith("All is well."))
        self.assertEqual(self.machine.out("wakectl doctor -q"), "")
        self.machine.systemctl("start", "wake@clemence")
        self.assert_well()
        self.sleep("clemence")

    def test_configuration(self):
        m = self.machine
        self.addCleanup(m.set_config, self.config)
        m.set_config(users_config(clemence={"port": "http"}))
        found = self.findings()
        self.assertRegex(found["configuration"][0][1], r"services\.clemence\.port")
        self.assertEqual(found["configuration"][0][2], "wakectl check")
        m.run("mv /etc/wakechain/dependencies.json /root/")
        self.addCleanup(m.run, "mv /root/dependencies.json /etc/wakechain/")
        self.assertEqual(self.findings()["configuration"][0][2], "wakectl import --write")

    def test_not_reloaded(self):
        m = self.machine
        self.addCleanup(lambda: (m.set_config(self.config), m.systemctl("daemon-reload")))
        m.set_config(users_config(clemence={"redirectPort": 29777}))
        self.assert_found("units", "warning", "^What systemd has of 1 service is not what", "^wakectl reload$")

    def test_failed_wake(self):
        m = self.machine
        m.docker("rename", "memvid-api", "memvid-api-away")
        m.run("systemctl start wake@memvid", check=False)
        m.docker("rename", "memvid-api-away", "memvid-api")
        self.addCleanup(m.systemctl, "reset-failed", "wake@memvid.service")
        self.assert_found("units", "warning", r"^wake@memvid\.service has failed", "^wakectl status memvid$")

    def test_socket_that_was_stopped(self):
        m = self.machine
        self.addCleanup(m.systemctl, "start", "wake@memvid.socket")
        m.systemctl("stop", "wake@memvid.socket")
        self.assert_found("sockets", "error", r"^wake@memvid\.socket does not listen", r"^systemctl start wake@memvid\.socket$")

    def test_disabled(self):
        self.addCleanup(self.machine.run, "wakectl enable memvid")
        self.machine.run("wakectl disable memvid")
        self.settle()
        self.assertEqual(self.notes()["configuration"], "1 service is disabled.")

    def test_redirects_flushed(self):
        self.addCleanup(self.machine.systemctl, "restart", "docker", "wakechain-redirect.service")
        self.assert_found("redirects", "error", "not what they should be", r"^systemctl restart wakechain-redirect\.service",
                          "sh", "-c", 'nft flush ruleset; exec "$@"', "-")  # fmt: skip

    def test_firewall(self):
        m = self.machine
        self.addCleanup(m.run, "nft delete table inet strict")
        m.run("nft add table inet strict; nft 'add chain inet strict input { type filter hook input priority 0; policy drop; }'; nft add rule inet strict input iif lo accept")
        self.assert_found("firewall", "warning", "strict.* nft ", "^in what$")

    def test_engine(self):
        m = self.machine
        engine = SickEngine(m)
        self.addCleanup(engine.close)
        self.addCleanup(lambda: (m.set_config(self.config), m.systemctl("daemon-reload")))
        m.set_config({**self.config, "engineSocket": engine.path})
        m.systemctl("daemon-reload")
        self.settle()
        for illness, what in (("never", "does not answer"), ("error", "does not answer"), ("missing", "There is no container engine")):
            with self.subTest(illness):
                engine.fall_ill(illness)
                found = self.findings()
                self.assertRegex(found["engine"][0][1], what)
                engine.recover()
        m.set_config(self.config)
        found = json.loads(m.run([*NOBODY, "wakectl", "doctor", "--json"], check=False).stdout)
        self.assertIn("rights", {f["check"] for f in found})
        self.assertRegex(next(f["what"] for f in found if f["check"] == "engine"), "^You may not use")

    def test_proxy_of_loopback(self):
        m = self.machine
        m.run(f"mkdir -p /etc/docker; [ ! -e {DAEMON} ] || cp {DAEMON} /root/")
        self.addCleanup(m.run, f"rm {DAEMON}; [ ! -e /root/daemon.json ] || mv /root/daemon.json {DAEMON}")
        m.write(DAEMON, '{"userland-proxy": false}')
        self.assert_found("ports", "warning", "userland-proxy", "listen")

    def test_gpu(self):
        m = self.machine
        config = json.loads(m.run(f"cat {DAEMON}", check=False).stdout or "{}")
        self.addCleanup(m.run, "systemctl reload docker.service")
        self.addCleanup(m.write, DAEMON, json.dumps(config))
        m.write(DAEMON, json.dumps({**config, "runtimes": {"nvidia": {"path": "runc"}}}))
        m.systemctl("reload", "docker.service")
        m.docker("run", "-d", "--name", "c-gpu", "--runtime", "nvidia", "sim")
        self.addCleanup(m.docker, "rm", "-f", "c-gpu")
        self.assert_found("gpus", "warning", "^'c-gpu' has a GPU", "wakectl reload")

    def test_what_starts_containers(self):
        m = self.machine
        m.docker("tag", "sim", "someone/watchtower:latest")
        m.docker("run", "-d", "--name", "wt", "--stop-timeout", "1", "someone/watchtower", "server")
        self.addCleanup(m.docker, "rm", "-f", "wt")
        self.assert_found("starters", "warning", "^'wt' .* by itself", "leave those containers alone")

    def test_swarm(self):
        m = self.machine
        if m.run("docker swarm init --advertise-addr 127.0.0.1", check=False).returncode != 0:
            self.skipTest("no swarm on this kernel")
        self.addCleanup(m.docker, "swarm", "leave", "--force")
        self.assertEqual(self.notes()["ports"], "Swarm is active on this machine.")

    def test_disk(self):
        m = self.machine
        m.run("cp -a /var/lib/wakechain /root/kept; mount -t tmpfs -o size=2m,mode=0755 none /var/lib/wakechain; cp -a /root/kept/. /var/lib/wakechain; chown --reference=/root/kept /var/lib/wakechain")
        self.addCleanup(m.run, "umount /var/lib/wakechain; rm -rf /root/kept")
        self.assert_found("disk", "error", "^/var/lib/wakechain has less than 100 MiB", "^df -h$")

    def test_stacks(self):
        m = self.machine
        m.docker("update", "--restart", "always", "memvid-api")
        self.addCleanup(m.docker, "update", "--restart", "no", "memvid-api")
        self.assert_found("stacks", "warning", "memvid", "^wakectl check --engine$")
