"""The web service as it is installed: its sockets, its confinement, the API and the events of a real wake."""

import json
import re
import subprocess

from service_test import ServiceTest, stacks, users_config, wait_for

API = "http://127.0.0.1:3456"
LOCAL = ("--unix-socket", "/run/wakechain/web.sock")
HTML = ("-H", "Accept: text/html")


class Web(ServiceTest):
    config = users_config(clemence={"idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        for container in stacks.CLEMENCE:
            stacks.set_delay(machine, container, 0.5)

    def stream(self, url, *options):
        """Server-sent events as they come: (event, data)."""
        process = self.machine.popen(["curl", "-gsSN", "-m", "60", *options, url], stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        event = None
        for line in process.stdout:
            key, _, value = line.rstrip("\n").partition(": ")
            if key == "event":
                event = value
            elif key == "data":
                yield event, json.loads(value)

    def services(self):
        return {s["name"]: s for s in json.loads(self.ask(f"{API}/api/services")[1])["services"]}

    def test_started_by_who_asks_and_ends_unused(self):
        m = self.machine
        self.drop_in("wakechain-web.service", "[Service]\nExecStart=\nExecStart=/usr/lib/wakechain/wakechain-web --exit-idle-time=1s\n")
        m.systemctl("stop", "wakechain-web.service")
        self.assertIn("wakechain-web.socket", self.sockets())
        self.assertIn("wakechain-page.socket", self.sockets())
        code, page = self.ask(f"{API}/")
        self.assertEqual(code, 200)
        self.assertIn("<title>wakechain</title>", page)
        self.assertEqual(self.ask("http://localhost/api/services", *LOCAL)[0], 200)
        self.wait_unit("wakechain-web.service", "inactive")
        self.assertEqual(m.show("wakechain-web.service", "Result"), "success")
        # ... and again, by the other socket
        self.assertEqual(self.ask("http://localhost/api/services", *LOCAL)[0], 200)

    def test_dry_run(self):
        code, text = self.ask(f"{API}/api/wake/clemence?dryRun=true", "-X", "POST")
        self.assertEqual(code, 200)
        expected = [{"container": c, "order": i + 1, "estimatedTime": "5s"} for i, c in enumerate(stacks.CLEMENCE)]
        self.assertEqual(json.loads(text), {"service": "clemence", "dependencies": expected, "totalEstimatedTime": "15s", "parallel": False})
        self.assert_stopped(*stacks.CLEMENCE)

    def test_wake_and_sleep(self):
        m = self.machine
        cursor = m.journal_cursor()
        events = self.stream(f"{API}/api/wake-status/clemence")
        self.assertEqual(next(e for e in events if e[0] == "service-update")[1]["state"], "asleep")

        code, text = self.ask(f"{API}/api/wake/clemence", "-X", "POST")
        self.assertEqual(code, 202)
        self.assertEqual(json.loads(text)["totalEstimatedTime"], "15s")
        seen, progress = {c: [] for c in stacks.CLEMENCE}, 0
        for event, data in events:
            if event == "dependency-update":
                seen[data["container"]].append((data["status"], data["progress"], data["startedMs"], data["checkingMs"]))
            elif data["state"] == "waking":
                self.assertGreaterEqual(data["progress"], progress)
                self.assertLess(data["progress"], 100)
                progress = data["progress"]
            elif data["state"] == "awake":
                self.assertEqual(data["progress"], 100)
                break
        for container in ("mysql-clemence", "wordpress-clemence"):
            self.assertIn("starting", [s[0] for s in seen[container]], seen)
            self.assertEqual(seen[container][-1][:2], ("ready", 100))
            started, checking = seen[container][-1][2:]
            self.assertLessEqual(started, checking)
        self.assert_running(*stacks.CLEMENCE)
        self.assertEqual(self.follow("AWAKE", "clemence", cursor)["_SYSTEMD_UNIT"], "wake@clemence.service")
        self.assertEqual(self.status("clemence")["trigger"], "api")
        # It does not go on holding: what holds from now on is whoever uses it.
        wait_for(lambda: self.services()["clemence"]["holders"] == 0, 30, what="the hold to be released")

        code, text = self.ask(f"{API}/api/sleep/clemence", "-X", "POST")
        self.assertEqual(code, 403, text)
        self.assert_running(*stacks.CLEMENCE)
        self.assertEqual(self.ask("http://localhost/api/sleep/clemence", "-X", "POST", *LOCAL)[0], 202)
        self.wait_unit("wake@clemence.service", "inactive")
        self.assert_stopped(*stacks.CLEMENCE)
        self.assertEqual(self.services()["clemence"]["state"], "asleep")

    def test_a_browser_sees_the_page_and_then_the_site(self):
        url = "http://127.0.0.1:9002/"
        code, page = self.ask(url, *HTML)
        self.assertEqual(code, 503, page)
        self.assertIn("data-state=", page)
        self.assertIn("mysql-clemence", page)
        states = [data["state"] for event, data in self.stream("http://127.0.0.1:9002/api/wake-status/clemence") if event == "service-update"]
        self.assertEqual(states[-1], "awake")
        code, page = self.ask(url, *HTML)
        self.assertEqual(code, 200)
        self.assertRegex(page, "^nginx-clemence ")
        self.sleep("clemence")

    def test_of_other_names_and_pages(self):
        self.assertEqual(self.ask(f"{API}/api/services", "-H", "Host: evil.example")[0], 421)
        self.assertEqual(self.ask(f"{API}/api/wake/clemence", "-X", "POST", "-H", "Origin: http://evil.example")[0], 403)
        self.assert_stopped(*stacks.CLEMENCE)

    def test_confined(self):
        m = self.machine
        self.ask(f"{API}/api/services")
        shown = m.out(["systemd-analyze", "security", "--no-pager", "wakechain-web.service"])
        level = float(re.search(r"Overall exposure level for wakechain-web\.service: ([0-9.]+)", shown).group(1))
        self.assertLessEqual(level, 2.0, shown)

        pid = m.show("wakechain-web.service", "MainPID")
        status = m.read(f"/proc/{pid}/status")
        groups = re.search(r"^Groups:\s*(.*)$", status, re.M).group(1).split()
        names = [m.out(["getent", "group", group]).split(":")[0] for group in groups]
        self.assertEqual(sorted(names), ["wakechain", "wakechain-web"])
        self.assertEqual(int(re.search(r"^CapEff:\s*(\w+)$", status, re.M).group(1), 16), 0)

        # The sockets are for the group, which no other account is in.
        for path in ("/run/wakechain/web.sock", "/run/wakechain/page.sock"):
            self.assertEqual(m.out(["stat", "-c", "%a %G", path]).strip(), "660 wakechain")
