"""Many ask of the web service at once, slowly or for long: whoever does it, root, the other services and the others' pages are served."""

import json
import re
import subprocess

from service_test import ServiceTest, stacks, users_config, wait_for

API = "http://127.0.0.1:3456"
LOCAL = ("--unix-socket", "/run/wakechain/web.sock")
HTML = ("-H", "Accept: text/html")

# PORT N EACH SMALL: N connections that ask for what comes on stdin and do not read on, EACH from one address; first what was answered.
# Then, for each line of stdin, so many are closed.
HOLD = """
import collections, json, resource, select, socket, sys, time
port, n, each, small = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "small"
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
request = json.loads(sys.stdin.readline()).encode()
held, status = [], []
for i in range(n):
    s = socket.socket()
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    s.bind(("127.0.%d.1" % (10 + i // each), 0))
    s.settimeout(30)
    s.connect(("127.0.0.1", port))
    s.sendall(request)
    held.append(s)
for s in held:
    head = b""
    while not small and b"\\r\\n\\r\\n" not in head:
        piece = s.recv(1)
        if not piece:
            break
        head += piece
    if small:
        head = s.recv(12)
    kind = head.split(b" ", 2)[1:2] or [b"none"]
    status.append(kind[0].decode()[:3] + (" later" if b"Retry-After" in head else ""))
print(json.dumps(collections.Counter(status)), flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        held.pop(0).close()
    print("closed", flush=True)
"""


class Holder:
    def __init__(self, test, port, n, request, each=1 << 20, small=False):
        command = ["python3", "-I", "-c", HOLD, str(port), str(n), str(each), "small" if small else "all"]
        self._process = test.machine.netns_popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        test.addCleanup(self.end)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.answers = json.loads(self._process.stdout.readline())

    def close(self, n):
        self._process.stdin.write(f"{n}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def end(self):
        self._process.kill()
        self._process.communicate()


class Bounds(ServiceTest):
    config = users_config(
        clemence={"globalTimeout": "10min"},
        nextcloud={"globalTimeout": "10min"},
        ghost={"name": "no-such-container", "port": 9777, "dependencies": [{"container": "no-such-container", "startOrder": 1}]},
    )

    @classmethod
    def prepare(cls, machine):
        for container in (c for stack in ("clemence", "nextcloud") for step in stacks.STACKS[stack] for c in step):
            stacks.set_delay(machine, container, 300)

    def setUp(self):
        super().setUp()
        self.cursor = self.machine.journal_cursor()
        self.addCleanup(self.machine.systemctl, "stop", "wakechain-web.service")

    def warnings(self):
        self.machine.run(["journalctl", "--sync"])
        records = self.machine.journal("wakechain-web.service", since_cursor=self.cursor)
        return [r["MESSAGE"] for r in records if r.get("PRIORITY") == "4"]

    def test_streams_on_the_port_leave_root_and_the_api_alone(self):
        held = Holder(self, 3456, 520, "GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.assertEqual(held.answers, {"200": 192, "503 later": 520 - 192})
        self.assertEqual(self.ask("http://localhost/api/services", *LOCAL)[0], 200)
        self.assertEqual(self.ask("http://localhost/api/events", *LOCAL, timeout=2)[0], 200)
        for path in ("/", "/api/services"):
            self.assertEqual(self.ask(API + path)[0], 200)
        self.assertEqual(len([w for w in self.warnings() if "streams" in w]), 1)

        # Who goes makes room, at once: the next sign of life is 15 s away.
        full = Holder(self, 3456, 1, "GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", each=1)
        self.assertEqual(full.answers, {"503 later": 1})
        held.close(20)
        wait_for(
            lambda: Holder(self, 3456, 1, "GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").answers == {"200": 1},
            5,
            what="a stream that was closed to make room",
        )

    def test_visitors_of_one_service_leave_the_others_their_page(self):
        self.addCleanup(self.sleep, "clemence")
        self.addCleanup(self.sleep, "nextcloud")
        request = "GET /api/wake-status/clemence HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        held = Holder(self, 9002, 4090, request, each=256)
        self.assertEqual(held.answers, {"200": 2048, "503 later": 4090 - 2048})
        self.assertEqual(len(self.warnings()), 1)
        code, page = self.ask("http://127.0.0.1:8080/", *HTML)
        self.assertEqual(code, 503)
        self.assertIn("data-state=", page)
        self.assertEqual(self.ask(f"{API}/api/services")[0], 200)

    def test_slow_readers_share_what_they_read(self):
        m = self.machine
        m.write("/etc/wakechain/page/page.css", "/*" + "x" * 250000 + "*/")
        self.addCleanup(m.run, ["rm", "-r", "/etc/wakechain/page"])
        self.addCleanup(self.sleep, "clemence")
        request = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n"
        held = Holder(self, 9002, 1660, request, each=256, small=True)
        self.assertEqual(held.answers, {"503": 1660})
        pid = m.show("wakechain-web.service", "MainPID")
        status = m.read(f"/proc/{pid}/status")
        used = int(status.split("VmHWM:")[1].split()[0])
        self.assertLess(used, 96 * 1024, "KiB at most")

    def test_a_stack_that_fails_is_not_woken_again_and_again(self):
        m = self.machine

        def refused_for_long():
            code, answer = self.ask(f"{API}/api/wake/ghost", "-X", "POST", "-D", "-")
            later = re.search(r"^Retry-After: (\d+)", answer, re.M)
            return code == 503 and later and int(later[1]) >= 4 and answer

        self.assertIn("ghost could not be woken: ", m.wait_for(refused_for_long, 60))
        wakes = len(self.records("WAKING", "ghost", self.cursor))
        asked = m.out(["curl", "-sS", "-X", "POST", "-w", "\n%{http_code}\n", *[f"{API}/api/wake/ghost"] * 40]).splitlines()
        self.assertEqual([line for line in asked if line.isdigit()], ["503"] * 40)
        self.assertEqual(len(self.records("WAKING", "ghost", self.cursor)), wakes)
