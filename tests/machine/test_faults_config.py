"""dependencies.json is replaced or broken between two wakes, with a daemon-reload and without: sockets go on listening, and say why."""

import json

from fault_test import MEMVID, URL, FaultTest, quick_config

FILE = "/etc/wakechain/dependencies.json"
WAKERS = ("wake@clemence.service", "wake@memvid.service")


class Config(FaultTest):
    config = quick_config("clemence", "memvid")

    def setUp(self):
        self.begin()
        self.addCleanup(self.repair)

    def reload(self):
        self.machine.systemctl("daemon-reload")

    def repair(self):
        """The good file again, a daemon-reload, and nothing else: whoever connects is served."""
        self.sleep("clemence", "memvid")
        self.machine.set_config(self.config)
        self.reload()
        self.assert_sound()
        self.assert_served(URL, MEMVID)
        self.sleep("clemence", "memvid")

    def assert_refused(self, url, service, *words):
        """Answered at once, with a reason that says where to look."""
        code, body = self.ask(url)
        self.assertEqual(code, 503, body)
        self.assertIn("its configuration is wrong", body)
        self.assert_failed(service, "config_invalid", self.cursor, *words)
        self.wait_unit(f"wake@{service}.service", "failed")
        self.assert_sound()

    def changed(self, **members):
        """The config with other members of memvid; not what assert_sound() goes by."""
        return {"services": {**self.config["services"], "memvid": {**self.config["services"]["memvid"], **members}}}

    def write(self, config):
        self.machine.write(FILE, config if isinstance(config, str) else json.dumps(config))

    # Broken altogether

    BROKEN = '{"services": {"clemence": {"name": "wordpress-clemence", "port": '

    def test_broken(self):
        self.write(self.BROKEN)
        self.assert_refused(URL, "clemence", "dependencies.json")
        self.reload()
        self.assert_sound()
        self.cursor = self.machine.journal_cursor()
        self.assert_refused(URL, "clemence", "dependencies.json")

    def test_gone_and_reloaded(self):
        self.machine.run(["rm", FILE])
        self.reload()
        self.assert_sound()
        self.assert_refused(URL, "clemence", "dependencies.json")

    def test_broken_while_awake(self):
        """What is awake goes on, and is put to sleep by what its waker has read."""
        self.assert_served(URL)
        self.write(self.BROKEN)
        self.reload()
        self.assertEqual(self.ask(URL)[0], 200)
        self.sleep("clemence")
        self.assert_sound()

    # One service broken

    def check_one_broken(self):
        """The other does not care."""
        self.assert_refused(MEMVID, "memvid", "services.memvid", "container")
        self.assert_served(URL)
        self.sleep("clemence")

    def test_one_broken(self):
        self.write(self.changed(dependencies=[{"contianer": "memvid-api"}]))
        self.check_one_broken()
        self.reload()
        self.assert_sound()
        self.cursor = self.machine.journal_cursor()
        self.check_one_broken()

    def test_one_gone(self):
        self.write({"services": {"clemence": self.config["services"]["clemence"]}})
        self.assert_refused(MEMVID, "memvid", "no such service")

    def test_a_cycle(self):
        names = ("memvid-api", "redis-shared")
        needs = [{"container": a, "dependsOn": [b]} for a, b in (names, names[::-1])]
        self.write(self.changed(dependencies=needs))
        code, body = self.ask(MEMVID)
        self.assertEqual(code, 503, body)
        self.assert_failed("memvid", "dependency_cycle", self.cursor, " → ".join((*names, names[0])))
        self.wait_unit("wake@memvid.service", "failed")
        self.assert_sound()

    # Replaced

    def test_another_container(self):
        """No reload is needed for what no unit depends on."""
        other = [{"container": "memvid-ui", "startupDelay": "100ms"}]
        self.write(self.changed(name="memvid-ui", dependencies=other, backend="memvid-ui:3000"))
        since = self.machine.now()
        code, body = self.ask(MEMVID)
        self.assertEqual((code, body.split()[0]), (200, "memvid-ui"))
        self.assertEqual(self.starts(since), ["memvid-ui"])
        self.sleep("memvid")
        self.assert_sound()

    def test_a_container_that_is_not_there(self):
        self.write(self.changed(name="nobody", dependencies=[{"container": "nobody", "startupDelay": "1s"}]))
        code, body = self.ask(MEMVID)
        self.assertEqual(code, 503, body)
        self.assert_failed("memvid", "not_found", self.cursor, "nobody")
        self.wait_unit("wake@memvid.service", "failed")
        self.assert_sound()

    def test_another_container_while_awake(self):
        """What a wake has started is stopped, by the waker that started it."""
        self.assert_served(MEMVID)
        self.write(self.changed(name="memvid-ui", dependencies=[{"container": "memvid-ui", "startupDelay": "100ms"}]))
        self.reload()
        self.sleep("memvid")
        self.assert_sound()

    def test_another_port(self):
        """Without a reload the socket is where it was, and so are its clients: again and again."""
        self.write(self.changed(port=8101, backend="memvid-api:8100"))
        for _ in range(2):
            code, body = self.ask(MEMVID)
            self.assertEqual((code, body.split()[:1]), (200, ["memvid-api"]))
            self.wait_unit("wake@memvid.service", "active")
            self.sleep("memvid")
            self.assert_sound()

    def test_another_port_and_reloaded(self):
        """The socket listens there, and nowhere else: the port that the container publishes is not to be one of its further ones."""
        self.write(self.changed(port=8101, backend="memvid-api:8100", ports=[]))
        self.reload()
        self.settle()
        self.assertIn("wake@memvid.socket", self.sockets())
        self.assertEqual(self.ask(MEMVID)[0], 0)
        for url in ("http://127.0.0.1:8101/", "http://[::1]:8101/"):
            code, body = self.ask(url)
            self.assertEqual((code, body.split()[:1]), (200, ["memvid-api"]))
            self.sleep("memvid")
        self.machine.set_config(self.config)
        self.reload()
        self.settle()
