"""More flows of UDP than can be held come before the server is up: the newest are answered."""

import json

from service_test import ServiceTest, stacks, users_config


# Flows of as many source addresses and ports, one datagram each, and who of them is answered. Raw: no descriptor for each.
CROWD = """
import json, select, socket, struct, sys, time
port, flows, newest = (int(a) for a in sys.argv[1:])
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
back = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
back.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
back.setblocking(False)
answered = set()

def look():
    while True:
        try:
            packet = back.recv(200)
        except BlockingIOError:
            return
        source, _ = struct.unpack("!HH", packet[20:24])
        if source == port:
            answered.add(int(packet[28:34]))

local = socket.inet_aton("127.0.0.1")
for i in range(flows):
    payload = b"%06d" % i
    client = socket.inet_aton("127.9.%d.1" % (1 + i // 20000))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + 8 + len(payload), 0, 0, 64, 17, 0, client, local)
    out.sendto(head + struct.pack("!HHHH", 20000 + i % 20000, port, 8 + len(payload), 0) + payload, ("127.0.0.1", 0))
    if i % 100 == 0:
        look()
print("sent", file=sys.stderr, flush=True)
end = time.time() + 90
while time.time() < end and not answered.issuperset(range(flows - newest, flows)):
    if select.select([back], [], [], 0.2)[0]:
        look()
print(json.dumps(sorted(answered)))
"""

FLOWS = 40000
NEWEST = 4096  # fewer than are held where the fewest descriptors are allowed


class Crowd(ServiceTest):
    """Its health check is not about the port of UDP, which opens after the stack is awake."""

    heavy = 20  # begins early

    config = users_config(
        memvid={
            "dependencies": [{"container": "memvid-api", "startOrder": 1, "startupDelay": "100ms"}],
            "listen": ["udp:127.0.0.1:8200"],
            "backend": "memvid-api:8100",
        }
    )

    def test_the_newest_are_answered(self):
        m = self.machine
        stacks.set_delay(m, "memvid-api", 3)
        self.addCleanup(stacks.set_delay, m, "memvid-api", None)
        self.addCleanup(self.sleep, "memvid")
        answered = json.loads(m.python(CROWD, "8200", str(FLOWS), str(NEWEST), timeout=120).splitlines()[-1])
        newest = [n for n in answered if n >= FLOWS - NEWEST]
        self.assertEqual(len(newest), NEWEST, answered[:1] + answered[-1:])
