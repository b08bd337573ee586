"""idleBytes: a connection on which the client says nothing does not keep the stack awake; one in use does."""

import subprocess

from service_test import ServiceTest
from test_modes import member

# Asks as often as it is told to on one connection; then waits for its end.
CLIENT = """
import socket, sys, time
s = socket.create_connection(("127.0.0.1", 8200))
n, pause = int(sys.argv[1]), float(sys.argv[2])
for i in range(n):
    if i:
        time.sleep(pause)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    if not s.recv(65536).startswith(b"HTTP/1.1 200"):
        sys.exit("no answer")
print("answered", flush=True)
try:
    print("end" if s.recv(1) == b"" else "more", flush=True)
except ConnectionResetError:
    print("end", flush=True)
"""


class IdleBytes(ServiceTest):
    config = {
        "services": {
            "memvid": {
                "name": "memvid-api",
                "network": "memvid_memvid-network",
                "listen": ["8200"],
                "backend": "memvid-api:8100",
                "idleBytes": True,
                "idleTimeout": "2s",
                "dependencies": [member("memvid-api", 8100)],
            }
        }
    }

    def client(self, n, pause):
        command = ["python3", "-I", "-c", CLIENT, str(n), str(pause)]
        process = self.machine.netns_popen(command, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "answered\n")
        return process

    def test_a_silent_connection_keeps_nothing_awake(self):
        cursor = self.machine.journal_cursor()
        process = self.client(1, 0)
        self.follow("ASLEEP", "memvid", cursor, timeout=60)
        self.assertEqual(process.stdout.readline(), "end\n")

    def test_who_speaks_now_and_then_keeps_it_awake(self):
        cursor = self.machine.journal_cursor()
        self.client(10, 0.7)
        self.assertEqual(self.records("STOPPING", "memvid", cursor), [])
        self.follow("ASLEEP", "memvid", cursor, timeout=60)

    def test_a_download_goes_on(self):
        """Its client sends nothing for longer than the idle time; more bytes than fit into the kernel's buffers."""
        cursor = self.machine.journal_cursor()
        n = 60_000_000
        size = self.machine.http(f"http://127.0.0.1:8200/bytes/{n}", "--limit-rate", "6M", "-o", "/dev/null", "-w", "%{size_download}")
        self.assertEqual(size, str(n))
        self.follow("ASLEEP", "memvid", cursor, timeout=60)
        self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)
