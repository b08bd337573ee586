"""Many clients at once, impatient clients, and clients whose bytes have to arrive whole."""

import json

from service_test import ServiceTest, required, stacks, users_config

MANY = r"""
import asyncio, json, sys

async def ask(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", 8100)
    connected.append(number)
    writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number)
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.startswith("HTTP/1.1 200 ") and body.startswith("memvid-api ") and body.endswith(f" GET /{number}\n")

async def main():
    answers = await asyncio.wait_for(asyncio.gather(*map(ask, range(COUNT)), return_exceptions=True), 50)
    print(json.dumps([len(connected), sum(a is True for a in answers), [str(a) for a in answers if a is not True][:5]]))

COUNT = int(sys.argv[1])
connected = []
asyncio.run(main())
"""

HALF_CLOSE = r"""
import random, socket, sys, threading

data = random.Random(1).randbytes(4_000_000)
s = socket.create_connection(("127.0.0.1", 8100), 50)

def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)

sender = threading.Thread(target=send)
sender.start()
back = bytearray()
while chunk := s.recv(65536):
    back += chunk
sender.join()
print(len(back), bytes(back) == data)
"""


class Load(ServiceTest):
    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "memvid-api", 0.5)

    def setUp(self):
        self.assert_stopped()
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()
        self.addCleanup(self.sleep, "memvid")

    def assert_one_wake(self):
        self.assertEqual(len(self.records("WAKING", "memvid", self.cursor)), 1)
        self.assertEqual(self.starts(self.since), ["redis-shared", "memvid-api"])

    def test_500_at_once(self):
        connected, good, bad = json.loads(self.machine.python(MANY, 500))
        self.assertEqual((connected, good), (500, 500), bad)
        self.assert_one_wake()

    def test_client_gives_up(self):
        """The wake that it began goes on, for those who come later."""
        m = self.machine
        code, _ = self.ask("http://127.0.0.1:8100/", timeout=0.4)
        self.assertEqual(code, 0)
        self.follow("AWAKE", "memvid", self.cursor)
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        self.assert_one_wake()
        self.assertEqual(self.records("STOPPING", "memvid", self.cursor), [])

        # Among others, it is one less.
        self.sleep("memvid")
        self.cursor, self.since = m.journal_cursor(), m.now()
        patient = [self.asking("http://127.0.0.1:8100/") for _ in range(3)]
        self.assertEqual(self.ask("http://127.0.0.1:8100/", timeout=0.4)[0], 0)
        self.assertEqual([self.answered(p)[0] for p in patient], [200, 200, 200])
        self.assert_one_wake()

    def test_post(self):
        """What a held client has sent already is not lost: a body larger than all buffers on the way."""
        m = self.machine
        m.run("head -c 20000000 /dev/urandom > /tmp/body")
        code, page = self.ask("http://127.0.0.1:8100/upload", "--data-binary", "@/tmp/body", "-H", "Expect:")
        self.assertEqual(code, 200)
        self.assertTrue(page.endswith(" POST /upload\n"), page)
        self.assert_one_wake()

    def test_half_close(self):
        """Bytes come back that were sent before the client's end, after it; a protocol that is not HTTP."""
        self.assertEqual(self.machine.python(HALF_CLOSE), "4000000 True\n")
        self.assert_one_wake()
