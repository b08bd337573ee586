"""What people do to a server on any day, at random, while clients come: after each step file, sockets, redirects, containers and status agree.

WAKECHAIN_STEPS says how many steps (50; tests/run full: 500), WAKECHAIN_SEED which ones, WAKECHAIN_STEPS_SHOWN=1 tells of each. It reads in this order: what the test has done (the
model), who connects meanwhile (the clients), what there is and what of it does not agree with the model (the look), the steps.
"""

import ctypes
import json
import os
import random
import re
import socket
import statistics
import threading
import time
from contextlib import contextmanager

from service_test import ServiceTest, front_options
from test_same_port import create, service

STEPS = int(os.environ.get("WAKECHAIN_STEPS", "50"))
SEED = os.environ.get("WAKECHAIN_SEED", "2026")
LIMIT = 90  # seconds until all agrees, on a busy machine
AIM = 2  # printed only
IDLE = 3
DAMAGED = 30  # until a waker sees that its status file is
PATIENCE = 30  # of a client
CLIENTS = 3
SHARED = "shared"  # a container that several services need
BRIDGE = "172.17.0.1"  # an address of the machine's, beside loopback


# The model


class Container:
    def __init__(self, number):
        self.name = f"c{number}"
        self.ports = (9700 + 10 * number, 9701 + 10 * number)  # nobody else publishes or names these
        self.port = self.ports[0]  # published on the host, at this address: "" is all of them
        self.address = ""
        self.theirs = None  # when a run began that wakechain has no business to end


class Service:
    def __init__(self, name, container):
        self.name = name
        self.container = container
        self.port = container.port
        self.redirect_port = None  # as in the file
        self.listen = None
        self.adopt = None
        self.needs_shared = False
        self.stopped = False  # its socket, by the administrator
        self.may_have_failed = False  # a wake of it
        self.by_front = False  # clients may come by it though it is awake: its waker goes by what the file said when it began
        self.damaged = 0.0  # until then its waker may not have seen yet that its status file is
        self.quiet = False  # clients leave it alone
        self.shaken = []  # [from, until]: when clients of it may be lost

    def config(self):
        members = {"idleTimeout": f"{IDLE}s"}
        if self.redirect_port:
            members["redirectPort"] = self.redirect_port
        if self.listen:
            members.update(listen=f"127.0.0.1:{self.listen}", backend=f"{self.container.name}:80")
        if self.adopt is not None:
            members["adopt"] = self.adopt
        config = service(self.container.name, self.port, **members)
        if self.needs_shared:
            config["dependencies"].insert(0, {"container": SHARED, "healthCheck": {"http": "http://:80/", "interval": 200, "timeout": 20000}})
        return config

    def front_port(self):
        return self.listen or self.redirect_port or self.port + 20000

    def is_published(self):
        return self.container.port == self.port

    def address(self):
        """Where clients connect."""
        if self.listen:
            return "127.0.0.1", self.listen
        return (self.container.address or "127.0.0.1") if self.is_published() else "127.0.0.1", self.port

    def elements(self):
        """Of the table, in redirect mode: {(map, key)}. Its own port, and the one that its container is published at."""
        found = set() if self.is_published() else {("loopback4", str(self.port)), ("loopback6", str(self.port))}
        if self.container.address:
            return found | {("address4", f"{self.container.address} {self.container.port}")}
        return found | {("wildcard4", str(self.container.port)), ("wildcard6", str(self.container.port))}

    def was_shaken(self, begin, end):
        return any(begin <= until and end >= since for since, until in self.shaken)


class Model:
    def __init__(self, choose):
        self.containers = [Container(number) for number in range(6)]
        self.services = []
        self.names = [f"s{number}" for number in range(12)]
        self.former = set()  # names that were in the file
        self.lock = threading.Lock()  # clients read
        while len(self.services) < len(self.containers):
            self.add(choose)
        self.services[0].needs_shared = self.services[1].needs_shared = True
        self.services[2].adopt = False

    def add(self, choose):
        free = [c for c in self.containers if c not in [s.container for s in self.services]]
        added = Service(self.new_name(choose), choose.choice(free))
        self.services.append(added)
        return added

    def new_name(self, choose):
        return choose.choice([n for n in self.names if n not in [s.name for s in self.services]])

    def leave_name(self, name):
        self.former.add(name)

    def config(self):
        return {"services": {s.name: s.config() for s in self.services}}


# The clients


class Client(threading.Thread):
    """Connects to one service after the other, some times each, with pauses in which stacks fall asleep."""

    def __init__(self, model, leader, seed):
        super().__init__(daemon=True)
        self.model = model
        self.leader = leader
        self.random = random.Random(seed)
        self.end = threading.Event()
        self.count = 0
        self.problems = []  # (service, begin, end, what)

    def enter_network(self):
        """This thread alone."""
        with open(f"/proc/{self.leader}/ns/net") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) < 0:
                raise OSError(ctypes.get_errno(), "setns")

    def ask(self, address, expected, path):
        """What is wrong, or None."""
        answer = b""
        try:
            with socket.create_connection(address, PATIENCE) as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: random\r\nConnection: close\r\n\r\n".encode())
                while chunk := connection.recv(65536):
                    answer += chunk
        except OSError as e:
            return repr(e)
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or body.split()[:1] != [expected.encode()]:
            return f"got {answer[:200]!r}"
        return None

    def run(self):
        self.enter_network()
        while not self.end.is_set():
            with self.model.lock:
                there = self.random.choice(self.model.services)
            for _ in range(self.random.randint(1, 12)):
                with self.model.lock:
                    if there.quiet or there not in self.model.services or self.end.is_set():
                        break
                    address, expected = there.address(), there.container.name
                    begin = time.monotonic()
                path = "/slow/1500" if self.random.random() < 0.1 else "/"
                problem = self.ask(address, expected, path)
                self.count += 1
                if problem:
                    self.problems.append((there, begin, time.monotonic(), f"{address} {expected}: {problem}"))
                self.end.wait(0.1)
            self.end.wait(self.random.uniform(0, 5))


# The look

LOOK = r"""
echo @units; systemctl show -p Id,ActiveState,LoadState 'wake*'
echo @tcp; ss -Hltnp
echo @unix; ss -Hlxnp
echo @table; nft -j list table inet wakechain
echo @containers; docker container inspect --format '{{.Name}} {{.State.Running}} {{.State.StartedAt}} {{.Id}}' $(docker ps -aq)
echo @status; cd /run/wakechain/status && for f in *.json; do [ ! -f "$f" ] || echo "$f $(tr -cd '[:print:]' <"$f")"; done
"""


class Seen:
    """All that there is, at one moment, nearly."""

    def __init__(self, machine):
        parts = {}
        for line in machine.run(LOOK, check=False).stdout.splitlines():
            if line.startswith("@"):
                lines = parts[line[1:]] = []
            else:
                lines.append(line)
        self.units = {}
        for block in "\n".join(parts["units"]).split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines())
            if unit:
                self.units[unit["Id"]] = unit["ActiveState"]
        init = re.compile(r"\bpid=1,")
        self.ports = {int(line.split()[3].rpartition(":")[2]) for line in parts["tcp"] if init.search(line)}
        self.paths = {line.split()[4] for line in parts["unix"] if init.search(line)}
        self.read_table(parts["table"])
        self.containers = {}
        for line in parts["containers"]:
            name, running, started, _ = line.split()
            self.containers[name.lstrip("/")] = started if running == "true" else None
        self.status = {}
        for line in parts["status"]:
            name, _, text = line.partition(".json ")
            try:
                self.status[name] = json.loads(text)["state"]
            except (ValueError, KeyError):
                self.status[name] = "no JSON"

    def read_table(self, lines):
        self.elements, self.chains, self.targets, self.inner = {}, {}, {}, set()
        for thing in json.loads("".join(lines) or '{"nftables": []}')["nftables"]:
            # Names of containers have maps, sets and rules of their own, which test_names.py looks at.
            if "map" in thing and thing["map"]["name"].startswith(("address", "wildcard", "loopback", "inner")):
                for key, verdict in thing["map"].get("elem", []):
                    key = " ".join(map(str, key["concat"])) if isinstance(key, dict) else str(key)
                    owner = verdict["goto"]["target"].removeprefix("service-")
                    if thing["map"]["name"].startswith("inner"):
                        self.inner.add(owner)
                    else:
                        self.elements.setdefault(owner, set()).add((thing["map"]["name"], key))
            elif "set" in thing and thing["set"]["name"] == "targets":
                for element in thing["set"].get("elem", []):
                    self.targets[element["elem"]["comment"]] = element["elem"]["val"]
            elif "chain" in thing and thing["chain"]["name"].startswith("service-"):
                self.chains.setdefault(thing["chain"]["name"].removeprefix("service-"), None)
            elif "rule" in thing and thing["rule"]["chain"].startswith("service-") and thing["rule"].get("comment") != "names":
                for expression in thing["rule"]["expr"]:
                    if "redirect" in expression:
                        self.chains[thing["rule"]["chain"].removeprefix("service-")] = expression["redirect"]["port"]

    def unit(self, name):
        return self.units.get(name, "inactive")


def wrong_of(there, seen):
    """The first thing that does not agree of a service, or None."""
    up, control = seen.unit(f"wake@{there.name}.socket"), seen.unit(f"wake-control@{there.name}.socket")
    waker = seen.unit(f"wake@{there.name}.service")
    running, status = seen.containers.get(there.container.name), seen.status.get(there.name, "asleep")
    chain, targets = seen.chains.get(there.name, "none"), seen.targets.get(there.name)
    if waker not in ("active", "inactive", "failed"):
        return f"its waker is {waker}"
    if waker == "failed" and not there.may_have_failed:
        return "its wake has failed"
    if there.stopped != (up in ("inactive", "failed")) or there.stopped == (there.front_port() in seen.ports):
        return f"its socket is {up}, {'' if there.front_port() in seen.ports else 'not '}listening, and stopped: {there.stopped}"
    if waker != "active" and (control != "active" or f"/run/wakechain/control/{there.name}.sock" not in seen.paths):
        return f"its control socket is {control}"

    if there.stopped or there.listen:
        if chain != "none" or there.name in seen.elements or targets:
            return "something of it is in the table"
    else:
        if seen.elements.get(there.name) != there.elements():
            return f"redirected are {seen.elements.get(there.name)} and not {there.elements()}"
        if targets != there.front_port():
            return f"its target is {targets} and not {there.front_port()}"
        lifted = running and there.is_published()
        if chain != (None if lifted else there.front_port()) and not (waker == "active" and there.by_front and chain):
            return f"it runs: {running}, is published: {there.is_published()}, and its chain leads to {chain}"
    if chain and there.name in seen.inner:
        return f"its container's own addresses are in the table, and its chain leads to {chain}"

    if waker == "active" and status in ("asleep", "no JSON") and time.monotonic() < there.damaged:
        status = "awake"
    if (status == "awake") != bool(running) or status not in ("asleep", "awake", "failed"):
        return f"it runs: {running}, its waker is {waker}, and its status says {status}"
    if waker == "active" and not running:
        return "its waker watches over nothing"
    if running and waker == "inactive" and there.adopt is not False:
        return "it runs, is ours, and nobody watches"
    return None


def others_wrong(model, seen):
    names = {s.name for s in model.services}
    for unit, state in seen.units.items():
        kind, _, instance = unit.rpartition(".")[0].partition("@")
        if state == "failed" and not (unit.startswith("wake@") and unit.endswith(".service")):
            return f"{unit} has failed"
        # Who watched over it does so until nobody uses the stack any more, whatever that is called now.
        watched = unit.startswith("wake@") and unit.endswith(".service") and instance in model.former
        if instance and instance not in names and not watched and state not in ("inactive", "failed"):
            return f"{unit} is {state}, and of no service"
    for what, found in (("elements", seen.elements), ("chain", seen.chains), ("target", seen.targets), ("status", seen.status)):
        gone = {n for n in model.former if what == "status" and seen.unit(f"wake@{n}.service") == "active"}
        if set(found) - names - gone:
            return f"{what} of {set(found) - names}, which are no services"
    for container in model.containers:
        if container.theirs and seen.containers.get(container.name) != container.theirs:
            return f"{container.name} was somebody else's, ran since {container.theirs} and does since {seen.containers.get(container.name)}"
    return None


# The steps


class SettleRandom(ServiceTest):
    heavy = 20  # begins early
    per = "test"
    config = {"services": {}}

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=300ms --pause-max=100ms")

    # Words

    def shake(self, *services):
        """From now on, and until the end of the step, clients of these may be lost."""
        for there in services:
            there.shaken.append([time.monotonic(), float("inf")])
            there.may_have_failed = True

    def of_container(self, container):
        return [s for s in self.model.services if s.container is container]

    def write_file(self, *shaken):
        """What is in the model; then systemd is told."""
        self.shake(*shaken)
        self.machine.write("/etc/wakechain/new", json.dumps(self.model.config(), indent=1))
        self.machine.run("mv /etc/wakechain/new /etc/wakechain/dependencies.json && systemctl daemon-reload")

    def create(self, container, policy="no"):
        address = f"{container.address}:" if container.address else ""
        create(self.machine, container.name, f"{address}{container.port}:80")
        if policy != "no":
            self.machine.docker("update", "--restart", policy, container.name)

    def forget(self, *containers):
        for container in containers:
            container.theirs = None

    def running(self, container):
        return self.machine.docker("inspect", "-f", "{{.State.Running}}", container.name).strip() == "true"

    def any_service(self, condition=lambda s: True):
        return self.random.choice([s for s in self.model.services if condition(s)] or [None])

    # The file

    def step_add(self):
        """A service more."""
        if len(self.model.services) == len(self.model.containers):
            return "nothing"
        with self.model.lock:
            there = self.model.add(self.random)
            there.needs_shared = self.random.random() < 0.3
            there.adopt = self.random.choice([None, None, True, False])
            self.shake(there)
        self.write_file()
        return f"{there.name} at {there.port}, {there.container.name}, adopt {there.adopt}"

    def drop(self, there):
        with self.model.lock:
            self.model.services.remove(there)
            self.model.leave_name(there.name)
        if there.stopped:
            self.model.names.remove(there.name)  # whether that still counts is systemd's to know
            self.model.names.append(f"{there.name}x")
        self.forget(there.container)
        self.shake(there)

    def step_remove(self):
        if len(self.model.services) < 3:
            return "nothing"
        there = self.any_service()
        self.drop(there)
        self.write_file()
        return there.name

    def step_replace(self):
        """Another one at once, on its port and of its container."""
        there = self.any_service()
        self.drop(there)
        with self.model.lock:
            self.model.add(self.random)
            other = self.model.services[-1]
            other.container, other.port, other.redirect_port = there.container, there.port, there.redirect_port
            other.adopt = there.adopt
            self.shake(other)
        self.write_file()
        return f"{there.name} by {other.name}"

    def step_rename(self):
        there = self.any_service(lambda s: not s.stopped)
        if not there:
            return "nothing"
        old = there.name
        with self.model.lock:
            there.name = self.model.new_name(self.random)
            self.model.leave_name(old)
        self.write_file(there)
        return f"{old} to {there.name}"

    def step_move(self):
        there = self.any_service()
        self.shake(there)
        what = self.random.choice(["port", "redirectPort", "listen"])
        number = self.model.containers.index(there.container)
        given = {s.redirect_port for s in self.model.services}
        with self.model.lock:
            if what == "port":
                there.by_front = True
                there.port = self.random.choice([p for p in there.container.ports if p != there.port])
            elif what == "redirectPort":
                there.redirect_port = self.random.choice([None, *(p for p in range(29900, 29912) if p not in given)])
            else:
                there.by_front = bool(there.listen)
                there.listen = None if there.listen else 9900 + number
        self.write_file()
        return f"{there.name}: {what} {there.port}, {there.redirect_port}, {there.listen}"

    def step_swap(self):
        """Two services take each other's redirect port."""
        one, other = self.random.sample(self.model.services, 2)
        if one.redirect_port == other.redirect_port:
            one.redirect_port = 29920
        self.shake(one, other)
        with self.model.lock:
            one.redirect_port, other.redirect_port = other.redirect_port, one.redirect_port
        self.write_file()
        return f"{one.name} {one.redirect_port}, {other.name} {other.redirect_port}"

    def step_typo(self):
        """Sockets and redirects stay, and who wakes a stack is told."""
        self.shake(*self.model.services)
        self.machine.run("echo '{ \"services\": ' >/etc/wakechain/dependencies.json; systemctl daemon-reload")
        self.agree("typo")
        self.write_file()

    # Units

    def step_restart_socket(self):
        there = self.any_service(lambda s: not s.stopped)
        if not there:
            return "nothing"
        self.shake(there)
        self.machine.systemctl("restart", f"wake@{there.name}.socket")
        return there.name

    def step_stop_socket(self):
        there = self.any_service()
        self.shake(there)
        if there.stopped:
            self.machine.systemctl("start", f"wake@{there.name}.socket", check=False)
            there.stopped = False
            return f"{there.name} started"
        self.machine.systemctl("stop", f"wake@{there.name}.socket")
        there.stopped = True
        return f"{there.name} stopped"

    def step_control(self):
        there = self.any_service()
        verb = self.random.choice(["stop", "restart"])
        self.shake(there)
        self.machine.systemctl(verb, f"wake-control@{there.name}.socket", check=False)
        self.machine.systemctl("start", "wakechain-settle.service")
        return f"{verb} {there.name}"

    def step_wake(self):
        there = self.any_service()
        self.machine.systemctl("start", f"wake@{there.name}.service", check=False)
        return there.name

    def step_sleep(self):
        """Clients that are waiting are told."""
        there = self.any_service()
        self.shake(there)
        self.machine.systemctl("stop", f"wake@{there.name}.service", check=False)
        return there.name

    def step_kill_waker(self):
        there = self.any_service()
        self.machine.systemctl("kill", "-s", "KILL", f"wake@{there.name}.service", check=False)
        return there.name

    def step_kill_front(self):
        there = self.any_service()
        self.shake(there)
        self.machine.systemctl("kill", "-s", "KILL", f"wake-front@{there.name}.service", check=False)
        return there.name

    # Containers, by hand

    def step_start_container(self):
        """One that nothing runs for is theirs, if its service does not adopt it."""
        container = self.random.choice(self.model.containers)
        services = self.of_container(container)
        if not services:
            return "nothing"
        for there in services:
            there.quiet = True
        try:
            time.sleep(0.2)
            unit = f"wake@{services[0].name}.service"
            self.machine.wait_for(lambda: self.unit_state(unit) in ("inactive", "failed"), 30, what=f"{unit} to end")
            ran = self.running(container)
            self.machine.docker("start", container.name)
            self.agree(f"start {container.name}")
            if not ran and services[0].adopt is False:
                container.theirs = Seen(self.machine).containers[container.name]
        finally:
            for there in services:
                there.quiet = False
        return f"{container.name}{' theirs' if container.theirs else ''}"

    def step_end_container(self):
        container = self.random.choice([s.container for s in self.model.services])
        how = self.random.choice(["stop", "kill", "restart"])
        self.shake(*self.of_container(container))
        self.forget(container)
        self.machine.docker(how, container.name, check=False)
        return f"{how} {container.name}"

    def step_end_shared(self):
        self.shake(*[s for s in self.model.services if s.needs_shared])
        self.machine.docker("stop", SHARED)

    def step_recreate(self):
        container = self.random.choice(self.model.containers)
        self.shake(*self.of_container(container))
        self.forget(container)
        policy, start = self.random.choice(["no", "no", "always", "unless-stopped"]), self.random.random() < 0.5
        with self.model.lock:
            container.port = self.random.choice(container.ports)
            container.address = self.random.choice(["", "", "127.0.0.1", BRIDGE])
        self.machine.docker("rm", "-f", container.name)
        self.create(container, policy)
        if start:
            self.machine.docker("start", container.name, check=False)
        else:
            self.machine.systemctl("start", "wakechain-settle.service")
        return f"{container.name} at {container.address}:{container.port}, {policy}, started: {start}"

    # The machine

    def step_dockerd(self):
        self.shake(*self.model.services)
        self.forget(*self.model.containers)
        self.machine.run("systemctl reset-failed docker.service; systemctl restart docker.service")

    def step_flush(self):
        """The engine's rules go with them, so it is started anew as well."""
        self.shake(*self.model.services)
        self.forget(*self.model.containers)
        self.machine.run("nft flush ruleset; systemctl start wakechain-settle.service")
        self.machine.run("systemctl reset-failed docker.service; systemctl restart docker.service")

    def step_damage(self):
        there = self.any_service()
        path = self.random.choice(["/run/wakechain/status", "/var/lib/wakechain/bindings"]) + f"/{there.name}.json"
        if "status" in path:
            there.damaged = time.monotonic() + DAMAGED
        how = self.random.choice(["rm -f {}", "head -c 300 /dev/urandom >{}", ": >{}"]).format(path)
        self.machine.run(f"{how}; systemctl start wakechain-settle.service")
        return how

    def step_pause(self):
        """Stacks fall asleep, some with clients coming."""
        time.sleep(IDLE * self.random.uniform(0.2, 1.5))

    WEIGHTS = {
        "add": 4, "remove": 3, "replace": 3, "rename": 3, "move": 6, "swap": 2, "typo": 1,
        "restart_socket": 3, "stop_socket": 4, "control": 2, "wake": 2, "sleep": 2, "kill_waker": 4, "kill_front": 3,
        "start_container": 6, "end_container": 4, "end_shared": 1, "recreate": 5,
        "dockerd": 1, "flush": 1, "damage": 4, "pause": 3,
    }  # fmt: skip

    # The test

    def look(self):
        """{who: what does not agree}"""
        seen = self.seen = Seen(self.machine)
        wrong = {there: wrong_of(there, seen) for there in self.model.services}
        wrong["others"] = others_wrong(self.model, seen)
        return {who: what for who, what in wrong.items() if what}

    def agree(self, step):
        """Waits until all agrees, each for itself: stacks wake and sleep all the time."""
        begin, said = time.monotonic(), {}
        pending = {*self.model.services, "others", "check"}
        while pending:
            wrong = self.look()
            pending &= {*wrong, "check"}
            if pending == {"check"}:
                check = self.machine.run(["/usr/lib/wakechain/wakechain-redirect", "check"], check=False)
                if check.returncode == 0:
                    break
                wrong["check"] = check.stdout + check.stderr
            for who, what in wrong.items():
                said.setdefault(who, {})[what] = f"{time.monotonic() - begin:.1f} s: {what}"  # the last time of each
            if time.monotonic() > begin + LIMIT:
                lines = [f"  {getattr(who, 'name', who)}, {what}" for who in pending for what in said.get(who, {}).values()]
                self.fail("\n".join([f"{step}: nothing else for {LIMIT} s than", *lines]))
            time.sleep(0.1)
        self.took.setdefault(step.split()[0], []).append(time.monotonic() - begin)

    def judge_clients(self):
        for client in self.clients:
            self.assertTrue(client.is_alive() or client.end.is_set(), "a client has died")
            while client.problems:
                there, begin, end, what = client.problems.pop()
                if not there.was_shaken(begin, end):
                    self.fail(f"a client of {there.name} at {begin - self.began:.2f} for {end - begin:.2f} s: {what}")

    def do(self, number):
        kind = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        began = time.monotonic()
        said = getattr(self, f"step_{kind}")()
        self.done.append(f"{number} at {began - self.began:.2f}: {kind} {said or ''}")
        if os.environ.get("WAKECHAIN_STEPS_SHOWN"):
            print(self.done[-1], flush=True)
        self.agree(kind)
        for there in self.model.services:
            there.may_have_failed = self.seen.unit(f"wake@{there.name}.service") == "failed"
            there.by_front &= self.seen.unit(f"wake@{there.name}.service") == "active"
            # While its waker lives, a control socket that was stopped cannot be started, and clients are told.
            if not there.stopped and self.seen.unit(f"wake-control@{there.name}.socket") == "active":
                there.shaken = [[since, min(until, time.monotonic() + 1)] for since, until in there.shaken]
        self.judge_clients()

    def test_random(self):
        m = self.machine
        print(f"WAKECHAIN_SEED={SEED} WAKECHAIN_STEPS={STEPS}", flush=True)
        self.random = random.Random(SEED)
        self.model = Model(self.random)
        self.done, self.took, self.began = [], {}, time.monotonic()
        for container in self.model.containers:
            self.create(container)
        m.docker("create", "--name", SHARED, "--network", "same-port", "-e", "PORT=80", "sim", "server")
        self.write_file()
        m.systemctl("start", "sockets.target")
        self.agree("begin")
        # From here on each of them is known as wakechain's own.
        wakers = [f"wake@{there.name}.service" for there in self.model.services]
        m.systemctl("start", *wakers)
        m.systemctl("stop", *wakers)
        self.clients = [Client(self.model, m.leader, f"{SEED} {number}") for number in range(CLIENTS)]
        for client in self.clients:
            client.start()
        try:
            for number in range(STEPS):
                self.do(number)
        except BaseException:
            print("\n".join(self.done[-25:]), flush=True)
            raise
        finally:
            for client in self.clients:
                client.end.set()
        for client in self.clients:
            client.join()
        self.judge_clients()
        self.show()
        self.assert_all_sleep()

    def show(self):
        times = sorted(t for taken in self.took.values() for t in taken)
        late = sum(t > AIM for t in times)
        print(f"{sum(c.count for c in self.clients)} connections; agreed after {statistics.median(times):.1f} s (median), "
              f"{times[len(times) * 95 // 100]:.1f} s (95 %), {times[-1]:.1f} s; {late} of {len(times)} after more than {AIM} s")  # fmt: skip
        slowest = sorted(((max(taken), kind, len(taken)) for kind, taken in self.took.items()), reverse=True)
        print(", ".join(f"{kind} {n}: {longest:.1f} s" for longest, kind, n in slowest), flush=True)

    def assert_all_sleep(self):
        """Nobody comes any more: what is ours is stopped, and nothing of wakechain runs for it."""

        def awake():
            seen = Seen(self.machine)
            return [s.name for s in self.model.services
                    if any(seen.unit(f"wake@{n}.service") not in ("inactive", "failed") for n in (s.name, *self.model.former))
                    or (s.adopt is not False and seen.containers[s.container.name])]  # fmt: skip

        begin = time.monotonic()
        while (found := awake()) and time.monotonic() < begin + 75:
            time.sleep(0.5)
        self.assertEqual(found, [], "\n".join(self.done[-25:]))
        print(f"all sleep after {time.monotonic() - begin:.0f} s", flush=True)
        self.agree("end")
        self.wait_no_process()
