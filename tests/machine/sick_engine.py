"""SickEngine: stands in for the engine's socket. It forwards to dockerd, or behaves as one that is ill, and counts what it is asked.

    engine = SickEngine(machine)            # listens on engine.path, for the config's engineSocket
    engine.fall_ill("never")                # one of ILLNESSES
    engine.recover()
    engine.on_request = lambda request: …   # called before a request is forwarded
    engine.on_reply = lambda request: …     # called before its answer is

Paths have containers' names in place of ids, which wakers ask for once they know them.
It runs in threads of the test's process, one per connection: a Unix socket's path leads into the machine.
"""

import collections
import contextlib
import os
import re
import select
import socket
import struct
import threading
import time
from pathlib import Path

Request = collections.namedtuple("Request", "time service pid method path")

CONTAINER_ID = re.compile(r"(?<=/containers/)[0-9a-f]{64}")
BROKEN = b'{"message":"dial unix /run/containerd/containerd.sock: connect: connection refused"}'
NONSENSE = b'{"Id":7,"State":[{"Running":"perhaps"}],"Name":null,"Api'


def _answer(status, body):
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


# What happens to a request, or to a connection.
ILLNESSES = {
    "refuse": "nobody listens, the file is there",
    "missing": "the file is gone",
    "hangup": "accepts and closes",
    "error": "answers 500",
    "garbage": "answers bytes that are no HTTP",
    "nonsense": "answers 200 with a body that is cut JSON of the wrong types",
    "half": "does what it is asked, and closes in the middle of the answer",
    "never": "accepts, and says nothing for ever, also on connections that it had",
}
_INSTEAD = {
    "error": _answer(b"500 Internal Server Error", BROKEN),
    "garbage": bytes(range(256)) * 8,
    "nonsense": _answer(b"200 OK", NONSENSE),
}


class SickEngine:
    def __init__(self, machine, path="/run/sick-engine.sock"):
        self.path = path
        self.illness = None
        self.requests = []
        self.connections = []  # (time, service, pid)
        self.on_request = self.on_reply = None
        self._machine = machine
        self._names = {}
        self._open = set()
        self._lock = threading.Lock()
        self._listener = None
        self._closed = False
        self._listen()

    def close(self):
        self._closed = True
        self._stop_listening()
        self._drop()

    # Health

    def fall_ill(self, illness):
        assert illness in ILLNESSES
        self.illness = illness
        if illness in ("refuse", "missing"):
            self._stop_listening()
        if illness == "missing":
            os.unlink(self._outside(self.path))
        # A hung process keeps its connections; others lose them as one that was started anew.
        if illness != "never":
            self._drop()

    def recover(self):
        gone, self.illness = self.illness in ("refuse", "missing"), None
        self._drop()
        if gone:
            self._listen()

    # Counting

    def asked(self, since=0.0, service=None):
        """The requests since that time."""
        return [r for r in self.requests if r.time >= since and (not service or r.service == service)]

    def connected(self, since=0.0, service=None):
        """How many connections were made since that time."""
        return sum(1 for at, who, _ in self.connections if at >= since and (not service or who == service))

    # Inside

    def _named(self, path):
        found = CONTAINER_ID.search(path)
        if found and found[0] not in self._names:
            listed = self._machine.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
            self._names = dict(line.split() for line in listed.splitlines())
        return CONTAINER_ID.sub(lambda match: self._names.get(match[0], match[0]), path)

    def _outside(self, path):
        return str(self._machine.path(path))

    def _listen(self):
        path = self._outside(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen(4096)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self):
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the accept() of the other thread
            listener.close()

    def _drop(self):
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid = struct.unpack("3i", credentials)[0]
            service = _service(pid)
            self.connections.append((time.monotonic(), service, pid))
            if self.illness == "hangup" or self._closed:
                client.close()
                continue
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client, service, pid), daemon=True).start()

    def _serve(self, client, service, pid):
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            engine.connect(self._outside("/run/docker.sock"))
            with self._lock:
                self._open.add(engine)
            self._forward(client, engine, service, pid)
        except OSError:
            pass  # either side went away
        finally:
            with self._lock:
                self._open -= {client, engine}
            client.close()
            engine.close()

    def _forward(self, client, engine, service, pid):
        """curl sends a request only when the last answer has ended, so whatever the client sends is the next request."""
        pending, request = b"", None
        while True:
            for readable in select.select([client, engine], [], [])[0]:
                data = readable.recv(65536)
                if not data:
                    return
                if self.illness == "never":
                    self._wait_for_end(client)
                    return
                if readable is engine:
                    if request and self.on_reply:
                        self.on_reply(request)
                    if request and self.illness == "half":
                        client.sendall(data[: max(1, len(data) // 2)])
                        return
                    request = None
                    client.sendall(data)
                    continue
                pending += data
                if not _is_whole(pending):
                    continue
                method, path = pending.split(b" ", 2)[:2]
                request = Request(time.monotonic(), service, pid, method.decode(), self._named(path.decode()))
                self.requests.append(request)
                if self.on_request:
                    self.on_request(request)
                if self.illness in _INSTEAD:
                    client.sendall(_INSTEAD[self.illness])
                    request = None
                    if self.illness == "garbage":
                        return
                else:
                    engine.sendall(pending)
                pending = b""

    def _wait_for_end(self, client):
        while self.illness == "never" and not self._closed:
            if select.select([client], [], [], 0.2)[0] and not client.recv(65536):
                return


def _service(pid):
    """Which service's waker that is; other programs by their name."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "?"
    return words[-1].decode() if words[0].endswith(b"/wakechain-wake") else os.path.basename(words[0].decode())


def _is_whole(data):
    head, separator, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return bool(separator) and len(body) >= length
