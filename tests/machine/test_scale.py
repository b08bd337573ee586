"""Two hundred services defined, twenty of them real: they boot, listen, wake at once, and sleep again, and nothing is left."""

import json
import time

from service_test import ServiceTest, trees

DEFINED, EXISTING = 200, 20
FIRST_PORT = 4000
WAKE_BOUND = 180

CLIENTS = r"""
import asyncio, json, sys, time

async def ask(number):
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", FIRST + number)
    writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number)
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return [head.split("\r\n")[0], body, time.monotonic() - began]

async def main():
    tasks = [asyncio.wait_for(ask(n), TIMEOUT) for n in range(COUNT)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps([a if isinstance(a, list) else [repr(a), "", 0] for a in answers]))

FIRST, COUNT, TIMEOUT = map(int, sys.argv[1:])
asyncio.run(main())
"""


def services():
    """Those that exist are spread among the others."""
    defined = {}
    for i in range(DEFINED):
        check = {"container": f"c{i}", "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 120000}}
        defined[f"service{i}"] = {
            **{"name": f"c{i}", "port": FIRST_PORT + i, "network": "scale", "page": "never", "idleTimeout": "8s"},
            "dependencies": [check],
        }
    return {"services": defined}


class Scale(ServiceTest):
    heavy = 20  # begins early
    config = services()

    @classmethod
    def prepare(cls, machine):
        machine.docker("network", "create", "scale")
        script = "for i in $(seq 0 $1); do docker create --name c$i --hostname c$i --network scale -e PORT=80 -e DELAY_MS=300 "
        script += "-p $(($2 + i)):80 sim server; done"
        machine.run(["sh", "-c", script, "sh", str(EXISTING - 1), str(FIRST_PORT)], timeout=120)
        machine.reboot()

    def boot_seconds(self):
        """Since the start of user space: until all sockets listened, and until all was up."""
        show = self.machine.show("sockets.target", "ActiveEnterTimestampMonotonic")
        manager = self.machine.out("systemctl show --property=UserspaceTimestampMonotonic --property=FinishTimestampMonotonic")
        stamps = dict(line.split("=") for line in manager.splitlines())
        begin = int(stamps["UserspaceTimestampMonotonic"])
        return [(int(t) - begin) / 1e6 for t in (show, stamps["FinishTimestampMonotonic"])]

    def memory(self):
        """KiB: of PID 1, and of all programs of ours, shared pages divided."""
        script = r"""
            awk '/^VmRSS/ { print $2 }' /proc/1/status
            cat $(find /sys/fs/cgroup/wakechain.slice -name cgroup.procs 2>/dev/null) /dev/null |
                    while read -r pid; do cat "/proc/$pid/smaps_rollup"; done 2>/dev/null |
                    awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'
        """
        return [int(n) for n in self.machine.out(script).split()]

    def listening(self):
        return sum(1 for unit in self.sockets() if unit.startswith("wake@"))

    def test_scale(self):
        m = self.machine
        self.assertEqual(self.listening(), DEFINED)
        sockets, boot = self.boot_seconds()
        trees.say(f"{DEFINED} services: all sockets after {sockets:.1f} s, boot {boot:.1f} s, memory {self.memory()} KiB (PID 1, ours)")
        self.assertEqual(m.out("systemctl --failed --no-legend"), "")
        m.run(["/usr/lib/wakechain/wakechain-redirect", "check"])
        self.wait_no_process()

        since = m.now()
        answers = json.loads(m.python(CLIENTS, FIRST_PORT, EXISTING, WAKE_BOUND, timeout=WAKE_BOUND + 20))
        for i, (status, body, _) in enumerate(answers):
            self.assertEqual((status, body.split()[:1]), ("HTTP/1.1 200 OK", [f"c{i}"]), f"client {i}")
        seconds = sorted(a[2] for a in answers)
        trees.say(f"{EXISTING} at once: {seconds[0]:.1f} to {seconds[-1]:.1f} s, memory {self.memory()} KiB")
        self.assertCountEqual(self.starts(since), [f"c{i}" for i in range(EXISTING)])

        # One that does not exist fails by itself.
        self.assertEqual(self.ask(f"http://127.0.0.1:{FIRST_PORT + EXISTING}/")[0], 503)

        began = time.monotonic()
        m.wait_for(lambda: not m.docker("ps", "-q").split(), 90, what="all to sleep")
        trees.say(f"asleep after {time.monotonic() - began:.1f} s")
        self.assertCountEqual(self.ends(since), [f"c{i}" for i in range(EXISTING)])
        m.run("systemctl stop 'wake-front@*.service'")
        self.wait_no_process()
        self.assertEqual(self.listening(), DEFINED)
        m.run(["/usr/lib/wakechain/wakechain-redirect", "check"])
        self.assertEqual(m.out("ls /run/wakechain/redirect.queue 2>/dev/null || true"), "")
        self.assertEqual(m.out("grep -L '\"asleep\":true' /var/lib/wakechain/lease/* || true"), "")

        # A restart of all at once, as an administrator may do.
        began = time.monotonic()
        m.run("systemctl restart 'wake@*.socket'", timeout=60)
        trees.say(f"all sockets restarted in {time.monotonic() - began:.1f} s")
        check = ["/usr/lib/wakechain/wakechain-redirect", "check"]
        m.wait_for(lambda: m.run(check, check=False).returncode == 0, 10, what="all ports to be redirected")
        trees.say(f"all redirected after {time.monotonic() - began:.1f} s")
