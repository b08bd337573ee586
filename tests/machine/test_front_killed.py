"""The front is killed, restarted and stopped while clients are held and bytes go through it: nobody is dropped."""

import json
import os
import random
import subprocess
from pathlib import Path

from service_test import ServiceTest, stacks, users_config, wait_for
from test_modes import member

BYTE_PEER = Path(__file__).resolve().parent / "byte_peer.py"
FRONT, MIXED_FRONT = "wake-front@proxied.service", "wake-front@mixed.service"
MIXED_SOCKET = "/run/mixed.sock"
N_KILLS, N_KILLS_MIXED = 50, 15
MIB, GIB = 1024**2, 1024**3
RATE = 40 * MIB  # so that the streams last as long as the kills
SEED = os.environ.get("WAKECHAIN_SEED", "2026")


class FrontKilled(ServiceTest):
    config = users_config(
        memvid={"dependencies": [member("memvid-api", 8100)]},
        proxied={
            "name": "memvid-ui",
            "port": 3000,
            "listen": ["127.0.0.1:8200"],
            "backend": "127.0.0.1:8300",
            "network": "memvid_memvid-network",
            "drainTimeout": "2s",
            "idleTimeout": 0,
            "dependencies": [member("memvid-ui", 3000)],
        },
        mixed={
            "name": "memvid-ui",
            "port": 3000,
            "listen": [MIXED_SOCKET],
            "backend": "127.0.0.1:8300",
            "network": "memvid_memvid-network",
            "drainTimeout": "2s",
            "idleTimeout": 0,
            "dependencies": [member("memvid-ui", 3000)],
        },
        straight={
            "name": "memvid-ui",
            "port": 3000,
            "listen": ["127.0.0.1:8201"],
            "backend": "memvid-ui:3000",
            "network": "memvid_memvid-network",
            "dependencies": [member("memvid-ui", 3000)],
        },
    )

    @classmethod
    def prepare(cls, machine):
        cls.server = machine.netns_popen(["python3", "-I", str(BYTE_PEER), "serve", "8300"], stdout=subprocess.PIPE)
        cls.server.stdout.readline()

    def main_pid(self, unit):
        return int(self.machine.show(unit, "MainPID"))

    def kill(self, unit, signal="KILL"):
        """Returns when the next one serves."""
        pid = self.main_pid(unit)
        self.machine.run(["kill", f"-{signal}", str(pid)])

        def there():
            return self.main_pid(unit) not in (0, pid) and self.unit_state(unit) == "active"

        wait_for(there, 30, what=f"another {unit}")

    def stored(self, unit):
        return int(self.machine.show(unit, "NFileDescriptorStore"))

    def use(self, download, upload, requesters, address="127.0.0.1"):
        command = ["python3", "-I", str(BYTE_PEER), "use", address, "8200", download, upload, RATE, requesters]
        process = self.machine.netns_popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def finish(self, process):
        out, _ = process.communicate(timeout=300)
        seen = json.loads(out.splitlines()[-1])
        self.assertEqual(seen["errors"], [], seen)
        return seen

    def end_often(self, unit, n):
        """Kills the front at random moments, has it abort, restarts it, and upgrades it. Returns how many came after it."""
        print(f"WAKECHAIN_SEED={SEED}", flush=True)
        dice = random.Random(SEED)
        for _ in range(n):
            self.machine.run(["sleep", f"{dice.uniform(0, 0.4):.3f}"])
            self.kill(unit)
        self.kill(unit, "ABRT")
        for _ in range(5):
            self.machine.systemctl("restart", unit)
        # What a package does: other files, a reload, a restart of what runs.
        self.machine.install(self.machine.wakechain)
        self.machine.systemctl("try-restart", unit)
        return n + 7

    def check_resumed(self, service, cursor, n):
        """None of the `n` fronts has lost anything."""
        records = self.records("RESUMED", service, cursor)
        self.assertEqual(len(records), n)
        lost = [r["MESSAGE"] for r in records if not r["MESSAGE"].endswith(" 0 were lost.")]
        self.assertEqual(lost, [])

    def test_every_byte(self):
        cursor = self.machine.journal_cursor()
        process = self.use(GIB, GIB, 200)
        self.assertEqual(self.stored(FRONT), 5)
        n = self.end_often(FRONT, N_KILLS)
        seen = self.finish(process)
        self.assertGreater(seen["requests"], 200 * N_KILLS / 5, seen)
        self.check_resumed("proxied", cursor, n)

    def test_every_byte_from_a_unix_socket(self):
        """Whose bytes nobody counts."""
        cursor = self.machine.journal_cursor()
        process = self.use(256 * MIB, 256 * MIB, 40, str(self.machine.path(MIXED_SOCKET)))
        n = self.end_often(MIXED_FRONT, N_KILLS_MIXED)
        seen = self.finish(process)
        self.assertGreater(seen["requests"], 40 * N_KILLS_MIXED / 5, seen)
        self.check_resumed("mixed", cursor, n)

    def test_young_ones_survive_a_restart(self):
        """Those that are not in the store yet are put there when a front is asked to hand over."""
        self.ask("http://127.0.0.1:8201/")
        process = self.asking("http://127.0.0.1:8201/slow/700")
        wait_for(lambda: self.machine.out("ss -Hnt state established dport = :8201"), 10, what="the request")
        self.machine.systemctl("restart", "wake-front@straight.service")
        code, page = self.answered(process)
        self.assertEqual((code, page.split()[0]), (200, "memvid-ui"))

    def test_stop_drains(self):
        m = self.machine
        self.ask("http://127.0.0.1:8201/")
        process = self.asking("http://127.0.0.1:8201/slow/3000")
        wait_for(lambda: m.out("ss -Hnt state established dport = :8201"), 10, what="the request")
        m.systemctl("stop", "wake-front@straight.service")
        self.assertEqual(self.answered(process)[0], 200)
        self.assertEqual(m.show("wake-front@straight.service", "Result"), "success")
        self.assertEqual(self.stored("wake-front@straight.service"), 0)
        self.assertEqual(self.ask("http://127.0.0.1:8201/")[0], 200)

    def test_stop_does_not_wait_for_ever(self):
        process = self.use(1, 1, 3)
        self.machine.systemctl("stop", FRONT)
        self.assertEqual(self.machine.show(FRONT, "Result"), "success")
        out, _ = process.communicate(timeout=60)
        self.assertEqual(len(json.loads(out.splitlines()[-1])["errors"]), 3)

    def test_held(self):
        """Redirect mode: the stack wakes meanwhile."""
        m = self.machine
        stacks.set_delay(m, "memvid-api", 4)
        self.addCleanup(stacks.set_delay, m, "memvid-api", None)
        front = "wake-front@memvid.service"
        processes = [self.asking("http://127.0.0.1:8100/", "-d", f"body {i}") for i in range(20)]
        wait_for(lambda: self.stored(front) == 5, 20, what="clients to be kept")
        for _ in range(3):
            self.kill(front)
        self.kill(front, "SEGV")
        m.systemctl("restart", front)
        for process in processes:
            self.assertEqual(self.answered(process)[0], 200)
