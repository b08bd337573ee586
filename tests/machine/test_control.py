"""Who may change what: the control socket and web.sock are reached by more than those who mean well."""

import json
import re
import subprocess

from service_test import ServiceTest, required, users_config, wait_for

MEMVID = "/run/wakechain/control/memvid.sock"
HOLD = {"method": "io.wakechain.Hold", "more": True}
SLEEP = {"method": "io.wakechain.Sleep", "parameters": {"all": True}}
GET_STATUS = {"method": "io.wakechain.GetStatus"}

# Connects COUNT times as somebody else, says what it is told to, and goes on until its input ends; one line for each connection that ends,
# with what came first.
CALLER = r"""
import json, os, resource, selectors, socket, sys
path, uid, gid, count, message, again = json.loads(sys.argv[1])
count = int(count)
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
os.chdir(os.path.dirname(path))
os.setgroups([]); os.setgid(gid); os.setuid(uid)
selector = selectors.DefaultSelector()
selector.register(sys.stdin, selectors.EVENT_READ)

def connect():
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(os.path.basename(path))
        s.sendall(message.encode())
    except OSError:
        pass
    selector.register(s, selectors.EVENT_READ)

for _ in range(count):
    connect()
print("connected", flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is sys.stdin:
            sys.exit()
        try:
            said = key.fileobj.recv(65536)
        except OSError:
            said = b""
        if said and not again:
            print(json.dumps(said.decode()), flush=True)
        if not said:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            print("end", flush=True)
            if again:
                connect()
"""


class Callers(ServiceTest):
    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        machine.run("groupmod -a -U nobody wakechain 2>/dev/null || usermod -a -G wakechain nobody")

    def setUp(self):
        self.sleep("memvid")
        self.assert_stopped()
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def uid(self, user):
        return int(self.machine.out(["id", "-u", user]))

    def caller(self, user="root", count=1, call=None, path=MEMVID, again=False):
        """A process that has connected."""
        gid = int(self.machine.out(["getent", "group", "wakechain"]).split(":")[2])
        message = json.dumps(call) + "\0" if call else ""
        arguments = json.dumps([str(self.machine.path(path)), self.uid(user), gid, count, message, again])
        process = subprocess.Popen(
            ["python3", "-c", CALLER, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), "connected\n")
        return process

    def end(self, process):
        if process.stdin.closed:
            return
        process.stdin.close()
        process.stdout.read()
        process.stdout.close()
        process.wait()

    def answer(self, process):
        """The first answer: "end" if there is none."""
        line = process.stdout.readline().strip()
        return line if line == "end" else json.loads(json.loads(line).split("\0")[0])

    def assert_untouched(self):
        self.wait_unit("wake@memvid.service", "inactive")
        self.assertEqual(self.machine.show("wake@memvid.service", "Result"), "success")
        self.assertEqual(self.records("WAKING", "memvid", self.cursor), [])
        self.assertEqual(self.starts(self.since), [])
        self.assertNotIn("waking", self.machine.run("cat /run/wakechain/status/memvid.json", check=False).stdout)
        self.assertEqual(self.machine.out("systemctl --failed --no-legend"), "")


class Calls(Callers):
    def test_connection_wakes_nothing(self):
        for user in ("root", "nobody", "wakechain-front"):
            for call in (None, GET_STATUS):
                with self.subTest(user=user, call=call):
                    process = self.caller(user, call=call)
                    while process.stdout.readline() != "end\n":
                        pass
                    self.assert_untouched()

    def test_status_of_a_sleeping_one(self):
        status = self.answer(self.caller(call=GET_STATUS))["parameters"]["status"]
        self.assertEqual((status["service"], status["state"], status["holders"]), ("memvid", "asleep", 0))
        self.assert_untouched()

    def test_hold_wakes(self):
        """Among callers who do not say anything; and they are ended, while the holder stays."""
        silent = self.caller("nobody", 20)
        holder = self.caller("nobody", call=HOLD)
        answer = self.answer(holder)
        if answer == "end":  # it came too late for the waker that the silent ones had started
            answer = self.answer(self.caller("nobody", call=HOLD))
        self.assertEqual(answer["parameters"]["status"]["state"], "waking")
        self.follow("AWAKE", "memvid", self.cursor)
        self.assertEqual([silent.stdout.readline() for _ in range(20)], ["end\n"] * 20)
        late = self.caller("nobody")
        self.assertEqual(late.stdout.readline(), "end\n")
        self.assertEqual(self.status("memvid")["state"], "awake")
        self.assertEqual(self.unit_state("wake@memvid.service"), "active")

    def stop_a_leaving_waker(self):
        """SIGSTOP to one that a connection has started, when it has said that it ends and before it does: its process."""
        script = "pid=$(systemctl show --property=MainPID --value wake@memvid.service); [ $pid = 0 ] || kill -STOP $pid"
        for _ in range(50):
            self.assertEqual(self.caller().stdout.readline(), "end\n")
            self.machine.run(script, check=False)
            pid = self.machine.show("wake@memvid.service", "MainPID")
            if pid != "0" and self.unit_state("wake@memvid.service") == "deactivating":
                return pid
        self.fail("none was caught")

    def test_start_beside_silent_callers(self):
        """Who asks systemd for the stack gets it, whoever is connected."""
        pid = self.stop_a_leaving_waker()
        self.caller("nobody", 5, again=True)
        self.machine.systemctl("start", "--no-block", "wake@memvid.service")
        self.machine.run(["kill", "-CONT", pid])
        self.wait_unit("wake@memvid.service", "active")
        self.assertEqual(self.status("memvid")["state"], "awake")

    def test_silent_callers_beside_a_start(self):
        """They come when systemd has begun and the waker has not."""
        wait = "/bin/sh -c 'until [ -e /run/go ]; do sleep 0.02; done'"
        self.drop_in("wake@memvid.service", f"[Service]\nExecStartPre={wait}\n")
        self.machine.systemctl("start", "--no-block", "wake@memvid.service")
        self.wait_unit("wake@memvid.service", "activating")
        self.caller("wakechain-front", 5, again=True)
        self.machine.run("touch /run/go")
        self.addCleanup(self.machine.run, "rm /run/go")
        self.wait_unit("wake@memvid.service", "active")
        self.assertEqual(self.status("memvid")["state"], "awake")

    def test_loop_of_connections(self):
        """Clients are served, and there is no loop of processes."""
        caller = self.caller("wakechain-front", 10, again=True)
        code, body = self.ask("http://127.0.0.1:8100/")
        self.assertEqual((code, body.split()[0]), (200, "memvid-api"))
        self.end(caller)

    def test_sleep_of_a_sleeping_one(self):
        """Looks at what runs, which somebody else has started."""
        self.machine.docker("start", "memvid-api")
        self.assertEqual(self.answer(self.caller(call=SLEEP)), {"parameters": {}})
        self.follow("ASLEEP", "memvid", self.cursor)
        self.assert_stopped("memvid-api")

    def test_sleep_of_one_that_hangs(self):
        """wakectl waits as long as a stop may take, and says what to do."""
        m = self.machine
        m.systemctl("start", "wake@memvid.service")
        self.drop_in("wake@memvid.service", "[Service]\nTimeoutStopSec=1s\n", name="zz-test.conf")
        pid = m.show("wake@memvid.service", "MainPID")
        m.run(["kill", "-STOP", pid])
        self.addCleanup(m.run, ["kill", "-CONT", pid], check=False)
        done = m.run(["wakectl", "sleep", "memvid"], check=False, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertIn("memvid was not put to sleep within 32.0s: its waker hangs", done.stderr)
        m.systemctl("kill", "--signal=KILL", "wake@memvid")
        self.follow("TAKEN_OVER", "memvid", self.cursor)
        m.run(["wakectl", "sleep", "memvid"])
        self.assert_stopped("memvid-api")

    def test_service_that_is_gone(self):
        m = self.machine
        self.addCleanup(m.set_config, self.config)
        # Not loaded yet: else its socket goes as well.
        m.write("/etc/wakechain/dependencies.json", json.dumps(users_config(memvid=None)))
        answer = self.answer(self.caller(call=HOLD))
        self.assertEqual(answer["error"], "io.wakechain.WakeFailed")
        self.assertIn("no such service", answer["parameters"]["message"])
        self.wait_unit("wake@memvid.service", "failed")
        m.systemctl("reset-failed", "wake@memvid.service")

    def test_very_many(self):
        """libnftables cannot have descriptors of 1024 and more: neither callers nor leases are in its way."""
        self.caller("nobody", 1100, call=HOLD)
        self.follow("AWAKE", "memvid", self.cursor)
        wait_for(lambda: self.status("memvid")["holders"] == 256, 20, what="as many as one user may be")
        for user in ("daemon", "bin", "sys", "mail"):
            self.caller(user, 256, call=HOLD)
        wait_for(lambda: self.status("memvid")["holders"] == 5 * 256, 20, what="those of others")
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        self.assertEqual(self.answer(self.caller(call=SLEEP)), {"parameters": {}})
        self.follow("ASLEEP", "memvid", self.cursor)
        self.assertEqual(self.machine.show("wake@memvid.service", "NRestarts"), "0")


class Fronts(Callers):
    """One that was taken over by who it serves."""

    DENIED = {"error": "org.varlink.service.PermissionDenied", "parameters": {}}

    def test_hold_and_sleep(self):
        for call in (HOLD, SLEEP, GET_STATUS):
            self.assertIn(self.answer(self.caller("wakechain-front", call=call)), (self.DENIED, "end"))
            self.assert_untouched()
        self.machine.systemctl("start", "wake@memvid.service")
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()
        for call in (HOLD, SLEEP, GET_STATUS):
            self.assertEqual(self.answer(self.caller("wakechain-front", call=call)), self.DENIED)
        self.assertEqual(self.status("memvid")["state"], "awake")
        self.assertEqual(self.status("memvid")["holders"], 0)

    def web(self, user, path, method="POST"):
        command = ["setpriv", f"--reuid={user}", "--regid=wakechain", "--clear-groups", "curl", "-sS", "-X", method]
        command += ["-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", "/run/wakechain/web.sock", f"http://localhost{path}"]
        return self.machine.run(command, check=False).stdout

    def test_web_socket(self):
        """Also one whose socket is a new one."""
        m = self.machine
        m.systemctl("start", "wake@memvid.service")
        for _ in range(2):
            for path in ("/api/sleep/memvid", "/api/wake/clemence"):
                self.assertEqual(self.web("wakechain-front", path), "000")
            self.assertEqual(self.web("nobody", "/api/services", "GET"), "200")
            m.run("systemctl stop wakechain-web.service; systemctl restart wakechain-web.socket")
        self.assertEqual(self.status("memvid")["state"], "awake")
        self.assertEqual(self.web("nobody", "/api/sleep/memvid"), "202")
        self.follow("ASLEEP", "memvid", self.cursor)

    def test_cannot_reach_each_other(self):
        """What the kernel lets the user of a front do, with all that its unit forbids: it is run as that unit, in place of a front."""
        m = self.machine
        self.ask("http://127.0.0.1:8100/")
        victim = m.show("wake-front@memvid.service", "MainPID")
        owner = m.out(["stat", "-c", "%U", f"/proc/{victim}/mem"])
        self.assertEqual(owner, "root", "it is dumpable")
        self.drop_in(
            "wake-front@clemence.service",
            "[Service]\nType=oneshot\nExecStart=\nExecStart=/bin/sh -c 'ls /proc; kill -0 VICTIM; kill -KILL VICTIM; "
            "prlimit --pid VICTIM --nofile=0; exit 0'\nRestart=no\nStandardError=journal\n".replace("VICTIM", victim),
        )
        m.run("systemctl start wake-front@clemence.service", check=False)
        m.run(["journalctl", "--sync"])
        said = "\n".join(str(r.get("MESSAGE")) for r in m.journal(unit="wake-front@clemence.service", since_cursor=self.cursor))
        self.assertRegex(said, r"/proc.*Permission denied")
        self.assertEqual(len(re.findall("Operation not permitted", said)), 3, said)
        self.assertEqual(m.show("wake-front@memvid.service", "MainPID"), victim)
        m.systemctl("reset-failed")

    def test_abort(self):
        """A front that aborts ends, and the next one goes on: its own signals are forbidden, too."""
        m = self.machine
        self.ask("http://127.0.0.1:8100/")
        for signal in ("ABRT", "SEGV"):
            pid = m.show("wake-front@memvid.service", "MainPID")
            m.run(["kill", f"-{signal}", pid])
            wait_for(lambda: m.show("wake-front@memvid.service", "MainPID") not in ("0", pid), 20, what="another front")


class Scripts(ServiceTest):
    """What the manual tells scripts and proxies in containers to do."""

    config = users_config(memvid={"idleTimeout": "1s"})
    URL = "http://127.0.0.1:8100/"
    HOLDER = (
        "perl -MIO::Socket::UNIX -e '"
        '$s = IO::Socket::UNIX->new("/run/wakechain/control/memvid.sock") or die; '
        'syswrite $s, qq({"method":"io.wakechain.Hold","more":true}\\0); 1 while sysread $s, $_, 4096\''
    )

    def test_keep_awake(self):
        m = self.machine
        cursor = m.journal_cursor()
        done = m.out(f"{self.HOLDER} & systemctl start wake@memvid.service && cat /run/wakechain/status/memvid.json; kill $!")
        self.assertEqual((json.loads(done)["state"], json.loads(done)["holders"]), ("awake", 1))
        self.follow("ASLEEP", "memvid", cursor)

    def test_keep_down(self):
        m = self.machine
        self.addCleanup(self.sleep, "memvid")
        m.systemctl("start", "wake@memvid.service")
        m.systemctl("stop", "wake@memvid.socket", "wake@memvid.service")
        self.assert_stopped("memvid-api", "memvid-ui")
        self.assertEqual(m.run(["curl", "-sS", "-m", "30", self.URL], check=False).returncode, 7)
        m.systemctl("start", "wake@memvid.socket")
        m.systemctl("start", "wakechain-settle.service")
        self.assertIn("memvid-api", m.http(self.URL))

    def test_proxy_in_a_container(self):
        m = self.machine
        self.addCleanup(self.sleep, "memvid")
        curl = ("run", "--rm", "--add-host", "host.docker.internal:host-gateway", "--entrypoint", "curl", "real", "-sS", "-m", "30")
        self.assertIn("memvid-api", m.docker(*curl, "http://host.docker.internal:8100/"))
