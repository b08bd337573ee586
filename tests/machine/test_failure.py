"""A wake that fails: what it started is stopped again, everybody is told why, and the next connection tries again."""

from service_test import ServiceTest, dependency, front_options, stacks, users_config

URL = "http://127.0.0.1:9002/"

# A client that speaks no HTTP: what does its connection end with?
OTHER = r"""
import socket
s = socket.create_connection(("127.0.0.1", 9002), 30)
s.sendall(b"\x10\x00\x01 not HTTP")
try:
    print("end", s.recv(100))
except ConnectionResetError:
    print("reset")
"""


def config(**mysql):
    """The users' files with another budget for mysql's check."""
    changed = users_config(clemence={"idleTimeout": "10min"})
    dependency(changed, "clemence", "mysql-clemence")["healthCheck"].update(mysql)
    return changed


class Broken(ServiceTest):
    """mysql's health check fails for good."""

    per = "module"
    config = config(interval=100, timeout=4000, retries=1)

    def setUp(self):
        stacks.set_broken(self.machine, "mysql-clemence")
        self.addCleanup(self.sleep, "clemence")
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def assert_failed(self):
        status = self.status("clemence")
        self.assertEqual((status["state"], status["reason"]), ("failed", "health_check_failed"))
        self.assertIn("mysql-clemence", status["error"])
        by_name = {d["container"]: d for d in status["dependencies"]}
        self.assertEqual(by_name["mysql-clemence"]["state"], "failed")

    def test_systemctl_start(self):
        m = self.machine
        done = self.fails(["systemctl", "start", "wake@clemence.service"])
        self.assertEqual(done.returncode, 1)
        self.assert_failed()
        self.assert_stopped(*stacks.CLEMENCE)
        self.assertEqual(self.starts(self.since), ["mysql-clemence"])
        self.assertEqual(self.ends(self.since), ["mysql-clemence"])
        record = self.records("FAILED", "clemence", self.cursor)[0]
        self.assertEqual(record["WAKECHAIN_REASON"], "health_check_failed")
        self.assertIn("mysql-clemence", record["MESSAGE"])
        self.assertEqual(m.show("wake@clemence.service", "Result"), "exit-code")
        self.assert_listens("clemence")
        said = m.out("journalctl -x -u wake@clemence.service MESSAGE_ID=" + record["MESSAGE_ID"])
        self.assertIn("Stack clemence could not be woken: health_check_failed", said)
        self.assertIn("Run the healthCheck's command by hand", said)
        # Which language is shown is the locale's to say, and there is only one here.
        m.run(["grep", "-aqF", "Subject: La pile @WAKECHAIN_SERVICE@ n'a pas pu être réveillée : @WAKECHAIN_REASON@", "/var/lib/systemd/catalog/database"])

    def test_later_step(self):
        """Rolled back in reverse order, all that this wake started and nothing else."""
        m = self.machine
        stacks.set_broken(m, "mysql-clemence", False)
        stacks.set_crash(m, "wordpress-clemence", 0.3, code=7)
        self.addCleanup(stacks.set_crash, m, "wordpress-clemence", None)
        m.docker("start", "redis-shared")
        self.addCleanup(m.docker, "stop", "redis-shared")
        self.fails(["systemctl", "start", "wake@clemence.service"])
        self.assertEqual(self.status("clemence")["reason"], "container_exited")
        self.assertEqual(self.ends(self.since)[-1], "mysql-clemence")
        self.assert_stopped(*stacks.CLEMENCE)
        self.assert_running("redis-shared")

    def test_what_runs_already_is_left(self):
        """mysql was started by somebody else: it is not ours to stop."""
        m = self.machine
        m.docker("start", "mysql-clemence")
        self.addCleanup(m.docker, "stop", "mysql-clemence")
        self.fails(["systemctl", "start", "wake@clemence.service"])
        self.assert_running("mysql-clemence")

    def test_clients(self):
        m = self.machine
        http = self.asking(URL)
        other = m.netns_popen(["python3", "-c", OTHER], stdout=-1)
        code, body = self.answered(http)
        self.assertEqual(code, 503, body)
        self.assertEqual(other.communicate(timeout=60)[0], "reset\n")
        self.assert_failed()

        # For a while that is answered at once; then somebody's connection tries again.
        m.wait_for(lambda: self.ask(URL)[0] == 503 and len(self.records("WAKING", "clemence", self.cursor)) > 1, 60)
        self.wait_unit("wake@clemence.service", "failed")
        stacks.set_broken(m, "mysql-clemence", False)
        m.wait_for(lambda: self.ask(URL)[0] == 200, 60)
        self.assertEqual(self.status("clemence")["state"], "awake")
        self.assert_running(*stacks.CLEMENCE)


class FiftyTimes(ServiceTest):
    """No limit of anybody's ever leaves the socket dead."""

    per = "module"
    config = Broken.config

    def test_fifty_times(self):
        m = self.machine
        m.set_config(config(interval=50, timeout=100, retries=1))
        self.addCleanup(m.set_config, self.config)
        stacks.set_broken(m, "mysql-clemence")
        # The front's pauses would make this last half an hour.
        front_options(m, "--pause-max=1ms")
        self.addCleanup(m.run, "rm -r /etc/systemd/system/wake-front@.service.d; systemctl daemon-reload")
        cursor = m.journal_cursor()
        answers = [self.ask(URL)[0] for _ in range(50)]
        self.assertEqual(answers, [503] * 50)
        self.assertGreaterEqual(len(self.records("FAILED", "clemence", cursor)), 40)
        self.assert_listens("clemence")
        m.wait_for(lambda: stacks.states(m, "mysql-clemence")["mysql-clemence"] == "exited")

        stacks.set_broken(m, "mysql-clemence", False)
        m.set_config(users_config())
        m.wait_for(lambda: self.ask(URL)[0] == 200, 30)
        self.sleep("clemence")
        self.assertEqual(self.status("clemence")["state"], "asleep")


def one(name, port, **members):
    return {"name": name, "port": port, "dependencies": [{"container": name, "startupDelay": "50ms"}], **members}


class Words(ServiceTest):
    """Whoever reads the answer or the journal learns which container it was, what was said last, and what to do."""

    config = {
        "services": {
            "sick": one("sick", 8301, globalTimeout="8s"),
            "waiting": one("waiting", 8302),
            "pid": one("pid", 8303),
            "typo": one("typo", 8304, network="brige"),
        }
    }

    @classmethod
    def prepare(cls, machine):
        machine.docker("create", "--name", "sick", "-p", "8301:80", "-e", "PORT=80", "--health-cmd", "echo too ill; exit 3", "--health-interval", "1s", "sim")
        machine.docker("run", "-d", "--name", "gone", "sim")
        machine.docker("create", "--name", "pid", "-p", "8303:80", "--pid", "container:gone", "sim")
        machine.docker("rm", "-f", "gone")
        for name, port in (("waiting", "8302:80"), ("typo", "8304:80")):
            machine.docker("create", "--name", name, "-p", port, "-e", "PORT=80", "sim")

    def setUp(self):
        self.cursor = self.machine.journal_cursor()

    def failure(self, service):
        self.fails(["systemctl", "start", f"wake@{service}.service"])
        status = self.status(service)
        self.assertIn(status["error"], self.records("FAILED", service, self.cursor)[0]["MESSAGE"])
        return status["reason"], status["error"]

    def test_global_timeout_says_what_was_not_ready(self):
        reason, error = self.failure("sick")
        self.assertEqual(reason, "global_timeout")
        self.assertIn("globalTimeout of 8.0s; sick: ", error)
        self.assertRegex(error, "health check|exit status 3")

    def test_what_it_was_made_with_is_gone(self):
        reason, error = self.failure("pid")
        self.assertEqual(reason, "not_found")
        for part in ("pid: ", "No such container", "--force-recreate"):
            self.assertIn(part, error)

    def test_network_of_another_name(self):
        self.machine.systemctl("start", "wake@typo.service")
        self.addCleanup(self.sleep, "typo")
        messages = [r["MESSAGE"] for r in self.machine.journal("wake@typo.service", since_cursor=self.cursor)]
        self.assertIn("dependency typo is not on network 'brige', which dependencies.json names for it, but on 'bridge': that is used", messages)

    def test_masked_waker(self):
        m = self.machine
        m.systemctl("mask", "wake@waiting.service")
        self.addCleanup(m.systemctl, "unmask", "wake@waiting.service")
        said = m.http("http://127.0.0.1:8302/", check=False)
        self.assertIn("waiting could not be woken: its waker is masked; 'systemctl unmask wake@waiting.service'", said)
        m.systemctl("unmask", "wake@waiting.service")
        self.settle()
        m.systemctl("start", "wake@waiting.service")
        self.sleep("waiting")
