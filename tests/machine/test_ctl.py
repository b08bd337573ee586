"""wakectl: what its verbs say of stacks that sleep, wake, are awake and fail, and to whom."""

import json
import subprocess

from service_test import PATIENCE, ServiceTest, stacks, users_config

STATES = {"asleep", "waking", "awake", "stopping", "failed"}
NOBODY = ["runuser", "-u", "nobody", "--"]


class CtlTest(ServiceTest):
    per = "module"
    config = users_config(
        clemence={"idleTimeout": "10min", "title": "Cl\u00e9mence"},
        gone={"name": "no-such", "dependencies": [{"container": "memvid-api", "startOrder": 1}, {"container": "no-such", "startOrder": 2}]},
    )

    def setUp(self):
        self.sleep("clemence", "memvid")

    def delay_wordpress(self, seconds):
        stacks.set_delay(self.machine, "wordpress-clemence", seconds)
        self.addCleanup(stacks.set_delay, self.machine, "wordpress-clemence", None)

    def ctl(self, *arguments, code=0, before=()):
        """(stdout, stderr)"""
        done = self.machine.run([*before, "wakectl", *arguments], check=False, timeout=180 * PATIENCE)
        self.assertEqual(done.returncode, code, done)
        return done.stdout, done.stderr

    def said(self, *arguments, **kw):
        out, err = self.ctl(*arguments, **kw)
        self.assertEqual(err, "")
        return out

    def object(self, service):
        return next(s for s in json.loads(self.said("list", "--json")) if s["name"] == service)


class Looks(CtlTest):
    def rows(self, *arguments):
        """{name: {heading: cell}}"""
        lines = self.said("list", *arguments).splitlines()
        starts = [lines[0].index(h) for h in lines[0].split()] + [None]
        cells = [[line[a:b].strip() for a, b in zip(starts, starts[1:])] for line in lines]
        return {row[0]: dict(zip(cells[0], row)) for row in cells[1:]}

    def test_list(self):
        m = self.machine
        services = sorted([*stacks.config(), "gone"])
        rows = self.rows()
        self.assertEqual(sorted(rows), services)
        self.assertEqual({k: rows["clemence"][k] for k in ("STATE", "PORTS", "READY")}, {"STATE": "asleep", "PORTS": "9002", "READY": "0/3"})
        self.assertEqual(self.said("list", "-q").split(), services)
        m.systemctl("start", "wake@clemence")
        rows = self.rows("--filter", "state=awake,waking")
        self.assertEqual(list(rows), ["clemence"])
        self.assertEqual((rows["clemence"]["STATE"], rows["clemence"]["READY"]), ("awake", "3/3"))
        self.assertRegex(rows["clemence"]["SINCE"], r"^\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+$")
        self.assertNotIn("clemence", self.said("list", "-q", "--filter=state=asleep").split())
        self.assertNotIn("clemence", self.said("list", "-q", "--filter=state=failed"))

    def test_watch(self):
        """A line for each change, objects with --json, and on a terminal the table anew."""
        m = self.machine
        plain, objects = (m.popen(["wakectl", "list", "--watch", *o], stdout=subprocess.PIPE) for o in ([], ["--json"]))
        for process in (plain, objects):
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
        services = sorted([*stacks.config(), "gone"])
        self.assertEqual(sorted(plain.stdout.readline().split(":")[0] for _ in services), services)
        self.assertEqual(sorted(json.loads(objects.stdout.readline())["name"] for _ in services), services)
        m.systemctl("start", "wake@memvid")
        while plain.stdout.readline() != "memvid: awake\n":
            pass
        while (said := json.loads(objects.stdout.readline())) and (said["name"], said["state"]) != ("memvid", "awake"):
            pass
        script = "timeout -s INT 3 env TERM=xterm wakectl list --watch & sleep 1; wakectl sleep memvid; wait"
        text = m.run(["script", "-qec", script, "/dev/null"], check=False).stdout
        self.assertRegex(text, rf"\x1b\[{len(services) + 1}A\s\x1b\[J")
        self.assertRegex(text[text.rindex("\x1b[J") :], r"memvid +\S*asleep")
        self.ctl("list", "--watch", "-q", code=2)
        self.assertIn("You may not see", self.ctl("list", "--watch", code=1, before=NOBODY)[1])

    def test_json_is_the_apis(self):
        m = self.machine
        m.systemctl("start", "wake@clemence")
        told = json.loads(m.out("curl -sS --unix-socket /run/wakechain/web.sock http://localhost/api/services"))["services"]
        ours = json.loads(self.said("list", "--json"))
        self.assertEqual(json.loads(self.said("status", "--json")), ours)
        self.assertEqual([s["name"] for s in ours], [s["name"] for s in told])
        for his, our in zip(told, ours):
            del his["sleepAllowed"]
            self.assertEqual(his, {k: v for k, v in our.items() if k in his})
        clemence = self.object("clemence")
        self.assertEqual(clemence["ports"], [{"port": 9002, "protocol": "tcp"}])
        self.assertEqual((clemence["idleTimeoutMs"], clemence["lastGood"]), (600000, False))
        self.assertRegex(clemence["backends"][0], r"^172\.\d+\.\d+\.\d+:80$")

    def test_status(self):
        m = self.machine
        text = self.said("status", "clemence")
        self.assertRegex(text, r"(?s)^clemence\n +Title: Cl\S+mence\n +File: \S+/dependencies.json\n +State: asleep since .*; .* ago\n +Ports: 9002\n")
        self.assertIn("Sleeps: 10min 0s after nobody uses it any more\n", text)
        m.systemctl("start", "wake@clemence")
        text = self.said("status", "clemence", "memvid")
        self.assertRegex(text, r"State: awake since .*; trigger: manual\n +Ports: 9002 (→|->) 172\.\S+:80\n")
        self.assertRegex(text, r"\n    2 +wordpress-clemence +required +ready +\d\S+ +-\n")
        self.assertRegex(text, r"\n\nmemvid\n")

    def test_failed(self):
        self.machine.run("systemctl start wake@gone", check=False)
        self.assertEqual(self.said("list", "-q", "--filter=state=failed"), "gone\n")
        text, reason = self.said("status", "gone"), self.status("gone")["error"]
        self.assertIn("State: failed since", text)
        self.assertIn(f"Failure: {reason}\n", text)
        self.assertRegex(text, r"\n    \d +no-such +required +failed ")

    def test_names_that_are_none(self):
        out, err = self.ctl("status", "clemance", code=1)
        self.assertEqual(out, "")
        self.assertRegex(err, r"^There is no service 'clemance' in \S+, did you mean 'clemence'\?\n$")
        out, err = self.ctl("status", "x\x1b[31m\u009b", "clemence", code=1)
        self.assertIn("clemence\n", out)
        self.assertFalse(set(err) & {"\x1b", "\u009b"}, err)
        for arguments in (["list", "clemence"], ["list", "--filter=asleep"], ["list", "--filter=state=dozing"], ["list", "--engine"], ["status", "-x"], ["lits"], []):
            with self.subTest(arguments):
                out, err = self.ctl(*arguments, code=2)
                self.assertEqual((out, err.count("\n")), ("", 1), err)

    def test_nothing_that_a_terminal_obeys(self):
        m = self.machine
        status = {"service": "memvid", "state": "failed", "error": "\x1b[2Jgone\u009b31m\x7f\nState: awake", "dependencies": [{"container": "a\x1bc", "state": "failed"}]}
        self.addCleanup(m.run, ["rm", "/run/wakechain/status/memvid.json"])
        m.write("/run/wakechain/status/memvid.json", json.dumps(status))
        for arguments in (["status", "memvid"], ["status", "--json", "memvid"], ["list"], ["list", "--json"]):
            with self.subTest(arguments):
                out = self.said(*arguments)
                self.assertFalse(set(out) & {"\x1b", "\u009b", "\x7f"}, out)
        self.assertIn("Failure:  [2Jgone??31m  State: awake\n", self.said("status", "memvid"))

    def test_a_status_that_cannot_be_read(self):
        m = self.machine
        self.addCleanup(m.run, ["rm", "/run/wakechain/status/clemence.json"])
        m.write("/run/wakechain/status/clemence.json", "{")
        out, err = self.ctl("list", code=1)
        self.assertRegex(out, r"\nclemence +unknown ")
        self.assertRegex(err, r"^Failed to read /run/wakechain/status/clemence.json: .*\n$")
        out, _ = self.ctl("status", "--json", "clemence", code=1)
        self.assertIsNone(json.loads(out)[0]["state"])

    def test_without_rights(self):
        m = self.machine
        for verb in ("list", "status"):
            out, err = self.ctl(verb, code=1, before=NOBODY)
            self.assertEqual((out, err), ("", "You may not see what the stacks do: root and members of the group 'wakechain' may.\n"))
        self.assertIn("clemence\n", self.said("list", "-q", before=NOBODY))
        m.run("useradd -G wakechain member")
        self.addCleanup(m.run, "userdel member")
        self.assertIn("clemence", self.said("list", before=["runuser", "-u", "member", "--"]))

    def test_terminal(self):
        """Colours and a width where a terminal is, none with NO_COLOR."""
        m = self.machine
        m.systemctl("start", "wake@clemence")
        for columns in (40, 80, 200):
            text = m.out(["script", "-qec", f"stty cols {columns}; exec wakectl list", "/dev/null"])
            self.assertIn("\x1b[32mawake\x1b[0m", text)
            plain = m.out(["script", "-qec", f"stty cols {columns}; NO_COLOR=1 exec wakectl list", "/dev/null"])
            self.assertNotIn("\x1b", plain)
            self.assertLessEqual(max(len(line) for line in plain.splitlines()), columns)


class BrokenFile(CtlTest):
    per = "class"

    def test_last_good_is_shown(self):
        m = self.machine
        path = next(p for p in ("/etc/wakechain/dependencies.json", "/opt/docker-autostart/dependencies.json") if m.run(["test", "-e", p], check=False).returncode == 0)
        good = m.read(path)
        m.systemctl("daemon-reload")
        self.settle()
        for broken in ("{", good.replace('"port"', '"prot"', 1)):
            m.write(path, broken)
            for verb in ("list", "status"):
                out, err = self.ctl(verb)
                self.assertIn("clemence", out)
                self.assertEqual(err, "The configuration has errors, see 'wakectl check': what they concern is shown as it was last good, or not at all.\n")
        m.run(["rm", "/var/lib/wakechain/dependencies.last-good.json"])
        m.write(path, "{")
        self.assertEqual(self.ctl("list", code=1), ("", "The configuration cannot be used, see 'wakectl check'.\n"))


class Wakes(CtlTest):
    def test_one(self):
        """A line for each change, and it stays awake after that."""
        out, err = self.ctl("wake", "clemence")
        self.assertEqual(out, "")
        lines = err.splitlines()
        self.assertEqual((lines[0], lines[-1]), ("clemence: waking", "clemence: awake"))
        for container in stacks.CLEMENCE:
            self.assertRegex(err, rf"\nclemence: {container} ready after \d+")
        self.assertEqual(self.status("clemence")["trigger"], "manual")
        self.wait_released()
        self.assertEqual(self.status("clemence")["state"], "awake")
        self.assertEqual(self.ctl("wake", "clemence")[1].splitlines()[0], "clemence: awake")

    def wait_released(self):
        self.machine.wait_for(lambda: self.status("clemence")["holders"] == 0, what="the hold to end")

    def test_several_and_quiet(self):
        self.assertEqual(self.ctl("wake", "-q", "clemence", "memvid"), ("", ""))
        self.assertEqual({self.status(s)["state"] for s in ("clemence", "memvid")}, {"awake"})
        self.assertRegex(self.ctl("sleep", "clemence", "no-such", "memvid", code=1)[1], "^There is no service 'no-such'")
        self.assertEqual({self.status(s)["state"] for s in ("clemence", "memvid")}, {"asleep"})

    def test_json_lines(self):
        states = [json.loads(line)["state"] for line in self.said("wake", "--json", "memvid").splitlines()]
        self.assertEqual((states[0] in STATES, states[-1]), (True, "awake"))

    def test_fails(self):
        """One of two, which is told of at once."""
        out, err = self.ctl("wake", "gone", "clemence", code=1)
        self.assertEqual(out, "")
        self.assertIn("clemence: awake\n", err)
        self.assertIn(f"gone was not woken: {self.status('gone')['error']} See 'wakectl logs gone'.\n", err)

    def test_interrupted(self):
        """The hold ends, the wake does not."""
        m = self.machine
        self.delay_wordpress(3)
        process = m.popen(["wakectl", "wake", "clemence"], stderr=subprocess.PIPE)
        self.wait_event("wordpress-clemence", "start", m.now() - 5)
        m.run("kill -INT $(pidof wakectl)")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn("clemence goes on waking, and sleeps again when nobody uses it", err)
        self.wait_state("clemence", "awake")

    def test_terminal(self):
        """Bars that are drawn over each other, and what is left is the end."""
        m = self.machine
        self.delay_wordpress(1)
        text = m.out(["script", "-qec", "LC_ALL=C.UTF-8 TERM=xterm exec wakectl wake clemence", "/dev/null"])
        self.assertIn("\u2591", text)
        self.assertRegex(text, r"\x1b\[4A\s\x1b\[J")
        last = text[text.rindex("\x1b[J") :]
        self.assertRegex(last, r"clemence\S* +\S*awake")

    def test_names_and_rights(self):
        self.assertRegex(self.ctl("wake", "no-such", code=1)[1], "^There is no service 'no-such'")
        self.assertEqual(self.ctl("wake", "a/b", code=2), ("", "'a/b' cannot be the name of a service.\n"))
        self.assertEqual(self.ctl("wake", "clemence", code=1, before=NOBODY)[1], "You may not wake clemence: root and members of the group 'wakechain' may.\n")


class Runs(CtlTest):
    """A command beside an awake stack."""

    def test_code_and_streams(self):
        out, err = self.ctl("run", "-q", "clemence", "--", "sh", "-c", "wakectl list -q --filter=state=awake; cat >&2; exit 7", code=7)
        self.assertEqual((out, err), ("clemence\n", ""))
        self.machine.wait_for(lambda: self.status("clemence")["holders"] == 0, what="the hold to end")
        self.assertEqual(self.ctl("run", "-q", "clemence", "no-such-command", code=127)[1], "Failed to run 'no-such-command': No such file or directory\n")
        self.ctl("run", "-q", "clemence", "--", "/etc/passwd", code=126)
        self.ctl("run", "-q", "clemence", "--", "sh", "-c", "kill -9 $$", code=137)
        self.assertIn("clemence: awake\n", self.ctl("run", "clemence", "true")[1])

    def test_not_without_its_stack(self):
        out, err = self.ctl("run", "gone", "--", "echo", "ran", code=1)
        self.assertEqual(out, "")
        self.assertIn("gone was not woken: ", err)
        self.assertRegex(self.ctl("run", "no-such", "true", code=1)[1], "^There is no service 'no-such'")
        self.ctl("run", "clemence", code=2)
        self.ctl("run", "clemence", "--", code=2)

    def test_signals_are_passed_on_and_a_sleep_is_said(self):
        m = self.machine
        script = "trap 'echo told; exit 3' TERM; echo begun; while :; do sleep 0.1; done"
        process = m.popen(["wakectl", "run", "-q", "clemence", "--", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "begun\n")
        self.sleep("clemence")
        self.assertEqual(self.status("clemence")["state"], "asleep")
        m.run("kill -TERM $(pidof wakectl)")
        out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out), (3, "told\n"))
        self.assertIn("clemence is put to sleep, and not held awake any more.\n", err)


class Holds(CtlTest):
    def units(self):
        return self.machine.out("systemctl list-units --plain --no-legend 'wake-hold@*' | cut -d' ' -f1").split()

    def wait_units(self, n):
        self.machine.wait_for(lambda: len(self.units()) == n, what=f"{n} units that hold")
        return self.units()

    def test_until_the_time_and_not_longer(self):
        m = self.machine
        self.addCleanup(lambda: (m.set_config(self.config), m.systemctl("daemon-reload")))
        m.set_config(users_config(clemence={"idleTimeout": "1s"}))
        m.systemctl("daemon-reload")
        _, err = self.ctl("hold", "--for=8s", "clemence")
        self.assertRegex(err, r"^clemence is held awake until .*, by wake-hold@clemence:[0-9a-f]+\.service\.\n")
        # Its unit holds it a moment after that.
        m.wait_for(lambda: self.status("clemence")["holders"] == 1, what="the unit's hold")
        self.assertRegex(self.said("status", "clemence"), r"Held: 1 holds it awake\n +Stack clemence held awake until \w{3} \d{4}-")
        (first,) = self.units()
        self.assertEqual(m.show(first, "User"), "wakechain")
        # Another one takes its place.
        self.ctl("hold", "--until=23:59:59", "clemence")
        (second,) = self.wait_units(1)
        self.assertNotEqual(first, second)
        self.ctl("hold", "--for=2s", "clemence")
        self.wait_state("clemence", "asleep", 30)
        self.wait_units(0)

    def test_sleep_ends_it(self):
        m = self.machine
        self.ctl("hold", "-q", "clemence", "memvid")
        self.wait_units(2)
        self.assertIn("Stack memvid held awake until it is put to sleep\n", self.said("status", "memvid"))
        self.assertEqual(self.object("memvid")["holds"], ["Stack memvid held awake until it is put to sleep"])
        self.ctl("sleep", "memvid")
        self.assertRegex(self.wait_units(1)[0], "^wake-hold@clemence:")
        # A waker that is killed is dialed again.
        m.run("systemctl kill --signal=KILL --kill-whom=main wake@clemence.service || systemctl kill --signal=KILL --kill-who=main wake@clemence.service")
        m.wait_for(lambda: self.status("clemence")["holders"] == 1 and self.status("clemence")["state"] == "awake", what="the hold to be back")
        m.systemctl("stop", *self.units())
        m.wait_for(lambda: self.status("clemence")["holders"] == 0, what="the hold to end")
        self.assertEqual(self.status("clemence")["state"], "awake")

    def test_for_members_of_the_group(self):
        m = self.machine
        member = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=wakechain", "--"]
        err = self.ctl("hold", "clemence", code=1, before=member)[1]
        self.assertEqual(err.split(":")[0], "You may not start units")
        self.assertIn("'wakectl hold --foreground clemence'", err)
        process = m.popen([*member, "wakectl", "hold", "--foreground", "-q", "clemence"], stderr=subprocess.PIPE)
        self.wait_state("clemence", "awake")
        self.assertRegex(process.stderr.readline(), "^clemence is held awake until it is put to sleep")
        self.sleep("clemence")
        self.assertIn("clemence is put to sleep, and not held awake any more.\n", process.communicate(timeout=30)[1])
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.ctl("run", "-q", "clemence", "id", "-un", before=member)[0], "nobody\n")

    def test_wrong_use(self):
        for arguments in (["--for=2h", "--until=18:00"], ["--for=soon"], ["--until=25:00"], ["--until=2020-01-01 00:00"], ["--until=@1"]):
            with self.subTest(arguments):
                self.assertEqual(self.ctl("hold", *arguments, "clemence", code=2)[1].count("\n"), 1)
        self.assertRegex(self.ctl("hold", "no-such", code=1)[1], "^There is no service 'no-such'")
        self.assertRegex(self.said("hold", "--dry-run", "--for=1h", "clemence"), "^clemence would be held awake until ")
        self.assertEqual(self.units(), [])


class Enabled(CtlTest):
    def refused(self):
        self.assertEqual(self.machine.run("curl -sS -m 5 -o /dev/null http://127.0.0.1:9002/", check=False).returncode, 7)

    def test_disabled_stays_so_and_can_be_woken_by_hand(self):
        m = self.machine
        self.addCleanup(m.run, ["wakectl", "enable", "clemence"])
        self.assertEqual(self.said("disable", "--dry-run", "clemence"), "clemence would be disabled.\n")
        self.said("disable", "clemence")
        self.settle()
        self.refused()
        self.assertIn("9002 (disabled)", self.said("list"))
        self.assertIn("Disabled: its clients are not taken; 'wakectl enable clemence' ends that\n", self.said("status", "clemence"))
        self.assertFalse(self.object("clemence")["enabled"])
        for what in ("systemctl daemon-reload", "wakectl reload", "systemctl start wake@clemence.socket", "systemctl restart wakechain-redirect.service"):
            with self.subTest(what):
                m.run(what)
                self.settle()
                self.assertEqual(m.show("wake@clemence.socket", "ActiveState"), "inactive")
        m.reboot()
        m.wait_for(lambda: m.show("wakechain-redirect.service", "ActiveState") == "active", what="the boot")
        self.refused()
        self.ctl("wake", "-q", "clemence")
        self.ask("http://127.0.0.1:9002/")
        self.sleep("clemence")
        self.assertEqual(self.ctl("disable", "clemence")[1], "clemence is disabled already.\n")
        self.said("enable", "clemence")
        self.settle()
        self.ask("http://127.0.0.1:9002/")
        self.assertEqual(self.status("clemence")["trigger"], "connection")

    def test_whom_and_who(self):
        m = self.machine
        for verb in ("enable", "disable"):
            self.assertRegex(self.ctl(verb, "clemance", code=1)[1], "^There is no service 'clemance'.*'clemence'")
            self.assertEqual(self.ctl(verb, "a/b", code=2)[0], "")
        self.assertEqual(self.ctl("disable", "gone", code=1)[1], "gone has no port, and so no socket: there is nothing to disable.\n")
        self.assertEqual(self.ctl("disable", "memvid", code=1, before=NOBODY)[1], "You may not disable memvid: root may.\n")
        m.run("touch /etc/wakechain/disabled/left || { mkdir -p /etc/wakechain/disabled; touch /etc/wakechain/disabled/left; }")
        self.assertRegex(self.ctl("enable", "left")[1], "^left is in no file any more")
        self.assertNotEqual(m.run("test -e /etc/wakechain/disabled/left", check=False).returncode, 0)


class Plans(CtlTest):
    def test_plan(self):
        m = self.machine
        told = json.loads(m.out("curl -sS -X POST --unix-socket /run/wakechain/web.sock 'http://localhost/api/wake/clemence?dryRun=true'"))
        self.assertEqual(json.loads(self.said("plan", "--json", "clemence")), told)
        lines = self.said("plan", "clemence").splitlines()
        self.assertEqual(lines[0], "clemence: 3 steps, about 15.0s")
        self.assertRegex(lines[1], "^STEP  DEPENDENCY +TYPE +TAKES +WAITS FOR +READY WHEN$")
        mysql, wordpress, nginx = stacks.CLEMENCE
        self.assertRegex(lines[2], rf"^1 +{mysql} +required +5.0s +- +docker exec ")
        self.assertRegex(lines[3], rf"^2 +{wordpress} +required +5.0s +{mysql} +")
        self.assertRegex(lines[4], rf"^3 +{nginx} +optional +5.0s +{wordpress} +")
        self.assertEqual(self.ctl("plan", code=2)[1], "Usage: wakectl plan NAME\n")

    def test_graph(self):
        m = self.machine
        told = json.loads(m.out("curl -sS --unix-socket /run/wakechain/web.sock http://localhost/api/graph"))
        self.assertEqual(json.loads(self.said("graph", "--json")), told)
        self.assertEqual(self.said("graph", "--format=json"), self.said("graph", "--json"))
        mysql, wordpress, nginx = stacks.CLEMENCE
        text = f"clemence\n`- {nginx} (optional)\n   `- {wordpress}\n      `- {mysql}\n"
        self.assertEqual(self.said("graph", "clemence", before=["env", "LC_ALL=C", *NOBODY]), text)
        self.assertRegex(self.said("graph", "--format=dot"), r"(?s)^digraph wakechain \{\n.*\n\}\n$")
        self.assertRegex(self.said("graph", "--format=mermaid", "memvid"), r"^flowchart LR\n\tn0\[\"memvid\"\]\n")
        self.assertEqual(self.ctl("graph", "--format=svg", code=2)[1], "--format takes text, dot, mermaid or json.\n")


class Logs(CtlTest):
    def test_of_one_service(self):
        m = self.machine
        self.ctl("wake", "-q", "clemence", "memvid")
        m.run("logger -t liar --journald", input="MESSAGE=not ours\nWAKECHAIN_SERVICE=clemence\n")
        m.run(["journalctl", "--sync"])
        text = self.said("logs", "clemence")
        self.assertIn("clemence wakes, trigger: manual\n", text)
        self.assertRegex(text, r"systemd\[1\]: Started wake@clemence.service")
        self.assertRegex(text, r"systemd\[1\]: Listening on wake-control@clemence.socket")
        self.assertNotIn("memvid", text)
        self.assertNotIn("not ours", text)
        last = json.loads(self.said("logs", "-o", "json", "-n1", "--no-pager", "clemence"))
        self.assertIn("MESSAGE", last)

    def test_follows(self):
        process = self.machine.popen(["wakectl", "logs", "-fn0", "clemence"], stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.ctl("wake", "-q", "clemence")
        self.ctl("sleep", "clemence")
        self.assertIn("clemence", process.stdout.readline())

    def test_wrong_use(self):
        for arguments in (["logs"], ["logs", "a", "b"], ["logs", "--boot", "clemence"], ["logs", "a/b"]):
            out, err = self.ctl(*arguments, code=2)
            self.assertEqual((out, err.count("\n")), ("", 1), err)
