"""Both ends of connections whose every byte is compared.

    byte_peer.py serve PORT
    byte_peer.py use ADDRESS PORT DOWNLOAD-BYTES UPLOAD-BYTES BYTES-PER-SECOND REQUESTERS

ADDRESS may be the path of a Unix socket; PORT means nothing then.

`use` opens one connection for a download, one for an upload and some for requests with answers, lets all of them live for two seconds, prints
"ready", and begins. The requesters go on until stdin is closed and the two streams have ended; then it prints one line of JSON.
"""

import json
import random
import socket
import struct
import sys
import threading
import time

PERIOD = 1048573
PATTERN = random.Random(1).randbytes(PERIOD)
PATTERN += PATTERN
CHUNK = 65536


def pattern(offset, size):
    begin = offset % PERIOD
    return PATTERN[begin : begin + size]


def receive(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError(f"ended after {len(data)} of {size} bytes")
        data += more
    return data


def send_pattern(sock, size, pace=None):
    done = 0
    while done < size:
        n = min(CHUNK, size - done)
        sock.sendall(pattern(done, n))
        done += n
        if pace:
            pace(done)


def compare_pattern(sock, size, pace=None):
    done = 0
    while done < size:
        data = sock.recv(CHUNK)
        if not data:
            raise EOFError(f"ended after {done} of {size} bytes")
        if data != pattern(done, len(data)):
            raise ValueError(f"other bytes between {done} and {done + len(data)}")
        done += len(data)
        if pace:
            pace(done)


def serve_one(sock):
    kind, size = struct.unpack(">cQ", receive(sock, 9))
    sock.sendall(b"!")
    if kind == b"D":
        receive(sock, 1)
        send_pattern(sock, size)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
    elif kind == b"U":
        compare_pattern(sock, size)
        answer = b"+" if sock.recv(1) == b"" else b"-"
        sock.sendall(answer)
    else:
        while head := sock.recv(4):
            head += receive(sock, 4 - len(head)) if len(head) < 4 else b""
            sock.sendall(head + receive(sock, struct.unpack(">I", head)[0])[::-1])
    sock.close()


def serve_guarded(sock):
    # What goes wrong is the other end's to tell. The waker's look at the backend says nothing at all.
    try:
        serve_one(sock)
    except (OSError, EOFError):
        sock.close()
    except ValueError as e:
        print(e, file=sys.stderr, flush=True)
        sock.close()


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_guarded, args=(sock,), daemon=True).start()


class User:
    def __init__(self, address, rate):
        self.address, self.rate = address, rate
        self.errors, self.requests = [], 0
        self.stopping = threading.Event()

    def open(self, kind, size=0):
        if self.address[0].startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(120)
            sock.connect(self.address[0])
        else:
            sock = socket.create_connection(self.address, timeout=120)
        sock.sendall(struct.pack(">cQ", kind, size))
        if receive(sock, 1) != b"!":
            raise ValueError("not greeted")
        return sock

    def pacer(self):
        begin = time.monotonic()

        def pace(done):
            ahead = done / self.rate - (time.monotonic() - begin)
            if ahead > 0.005:
                time.sleep(ahead)

        return pace

    def download(self, sock, size):
        sock.sendall(b"?")
        compare_pattern(sock, size, self.pacer())
        if sock.recv(1):
            raise ValueError("more than was sent")

    def upload(self, sock, size):
        send_pattern(sock, size, self.pacer())
        sock.shutdown(socket.SHUT_WR)
        if receive(sock, 1) != b"+" or sock.recv(1):
            raise ValueError("more has arrived than was sent")

    def request(self, sock, seed):
        dice = random.Random(seed)
        while not self.stopping.is_set():
            data = dice.randbytes(dice.choice((1, 64, 1000, 16384)))
            sock.sendall(struct.pack(">I", len(data)) + data)
            if receive(sock, 4 + len(data))[4:] != data[::-1]:
                raise ValueError("another answer")
            self.requests += 1
            time.sleep(dice.uniform(0, 0.1))
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1):
            raise ValueError("more than was asked for")

    def guarded(self, function, *args):
        def run():
            try:
                function(*args)
            except Exception as e:
                self.errors.append(f"{function.__name__}: {e!r}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def use(address, port, down, up, rate, requesters):
    user = User((address, port), rate)
    down_sock, up_sock = user.open(b"D", down), user.open(b"U", up)
    socks = [user.open(b"P") for _ in range(requesters)]
    time.sleep(2)
    print("ready", flush=True)
    streams = [user.guarded(user.download, down_sock, down), user.guarded(user.upload, up_sock, up)]
    threads = [user.guarded(user.request, sock, i) for i, sock in enumerate(socks)]
    sys.stdin.read()
    for thread in streams:
        thread.join()
    user.stopping.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"requests": user.requests, "errors": user.errors}))


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    use(sys.argv[2], *map(int, sys.argv[3:8]))
