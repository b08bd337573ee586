"""Asleep is not down: who only looks whether a service is there does not wake it, by the lists that come with wakechain."""

from service_test import ServiceTest, required, users_config


class Lists(ServiceTest):
    config = users_config(
        memvid={
            **required("memvid"),
            "ignore": {"userAgents": ["@monitors", "@scanners"], "paths": "@scanners", "answer": 200},
        }
    )
    url = "http://127.0.0.1:8100/"

    def ask_as(self, agent, path=""):
        return self.machine.http(self.url + path, "-i", "-A", agent)

    def test_monitors_and_scanners_do_not_wake(self):
        cursor = self.machine.journal_cursor()
        for agent, path in (("Uptime-Kuma/1.23.16", ""), ("Mozilla/5.0 zgrab/0.x", "index.html"), ("curl/8.5.0", ".env")):
            with self.subTest(agent):
                self.assertRegex(self.ask_as(agent, path), r"(?s)^HTTP/1.1 200 .*\nX-Wakechain: asleep\n")
        self.assertEqual(self.records("WAKING", "memvid", cursor), [])
        self.assertNotIn("X-Wakechain", self.ask_as("curl/8.5.0"))
        self.assertEqual(self.status("memvid")["state"], "awake")
        self.sleep("memvid")

    def test_what_it_says_of_a_list_that_is_none(self):
        m = self.machine
        m.write("/etc/wakechain/dependencies.d/zz.json", '{"services":{"memvid":{"ignore":{"userAgents":"@monitor"}}}}')
        self.addCleanup(m.run, "rm /etc/wakechain/dependencies.d/zz.json")
        self.assertIn('"@monitors"', m.run(["wakectl", "check"], check=False).stdout)
