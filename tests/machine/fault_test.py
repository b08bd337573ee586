"""FaultTest: a ServiceTest that breaks what wakechain relies on, and a look at whether all is well again: assert_sound()."""

import contextlib
import json
import re
import socket
import time

from service_test import PATIENCE, Client, Runs, ServiceTest, dependency, front_options, required, stacks, users_config, wait_for
from sick_engine import ILLNESSES, SickEngine

__all__ = ["ILLNESSES", "Client", "FaultTest", "Runs", "SickEngine", "dependency", "front_options", "quick_config", "required"]
__all__ += ["stacks", "users_config", "wait_for"]

URL, MEMVID = "http://127.0.0.1:9002/", "http://127.0.0.1:8100/"
__all__ += ["URL", "MEMVID"]

# All that is to be seen at once, so that one look is one moment, nearly.
_LOOK = r"""
systemctl show -p Id,ActiveState,SubState,NFileDescriptorStore 'wake@*' 'wake-control@*' 'wake-front@*'
echo; echo @listening; ss -Hlnt | awk '{print $4}'; ss -Hlx | awk '{print $5}'
echo @processes; ps -eo args= | grep -E '^[^ ]*/wakechain-' || true
echo @containers; docker ps --format '{{.Names}} {{.State}}'
echo @leases; cd /run/wakechain/lease && for f in *; do [ ! -e "$f" ] || flock -nx "$f" true || echo "$f"; done
echo @redirects; /usr/lib/wakechain/wakechain-redirect check | grep -- '->' || true
"""


def quick_config(*names, **changes):
    """The users' files with only these services, whose checks are asked often, and changes to them."""
    config = users_config(**{name: None for name in stacks.STACKS if name not in names})
    for name, service in config["services"].items():
        for member in service["dependencies"]:
            if "healthCheck" in member:
                member["healthCheck"]["interval"] = 200
            else:
                member["startupDelay"] = "100ms"
        service.update({"idleTimeout": "10min", **changes.get(name.replace("-", "_"), {})})
    return config


def _parts(text):
    parts, name = {"units": []}, "units"
    for line in text.splitlines():
        if line.startswith("@"):
            name = line[1:]
        parts.setdefault(name, []).append(line)
    return {key: lines if key == "units" else lines[1:] for key, lines in parts.items()}


def _units(lines):
    units, unit = {}, {}
    for line in [*lines, ""]:
        key, separator, value = line.partition("=")
        if separator:
            unit[key] = value
        elif unit:
            units[unit.pop("Id")] = unit
            unit = {}
    return units


class FaultTest(ServiceTest):
    """Containers boot quickly, so that there is time for faults."""

    config = quick_config("clemence")
    delay = 0.15

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=200ms --pause-max=200ms")
        for service in machine.config["services"]:
            for container in {c for step in stacks.STACKS.get(service, []) for c in step}:
                stacks.set_delay(machine, container, cls.delay)

    def begin(self):
        """For setUp(): all is sound, and after the test, when what it named is asleep, it is again."""
        self.addCleanup(self.mend)
        self.assert_sound()
        self.addCleanup(self.assert_sound)
        self.addCleanup(self.sleep, *self.services())
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def mend(self):
        """What a failed test has left shall not fail the next one."""
        m = self.machine
        if not self.unsound((), set()):
            return
        if stacks.running(m):
            stacks.stop(m)
        m.set_config(self.config)
        units = [f"wake{kind}@{name}.{end}" for name in self.services() for kind, end in (("-front", "service"), ("", "service"))]
        sockets = [f"wake-control@{name}.socket" for name in self.services()]
        sockets += [f"wake@{name}.socket" for name, service in self.services().items() if "port" in service]
        m.run(f"""systemctl daemon-reload; systemctl stop {" ".join(units)}
                  rm -f /run/wakechain/lease/* /run/wakechain/status/*
                  systemctl reset-failed; systemctl restart {" ".join(sockets)} wakechain-redirect.service""", check=False)

    # Soundness

    def services(self):
        return self.machine.config["services"]

    def members(self, *services):
        return {d["container"] for s in services for d in self.services()[s]["dependencies"]}

    def unsound(self, awake, running):
        """What is not as it should be, as sentences."""
        shown = _parts(self.machine.run(_LOOK).stdout)
        units, listening = _units(shown["units"]), set(shown["listening"])
        redirects = {line.split()[0]: line for line in shown["redirects"]}
        wrong = []
        for name, service in self.services().items():
            path = f"/run/wakechain/control/{name}.sock"
            ports = {f"*:{service['port'] + 20000}", f"[::]:{service['port'] + 20000}"} if "port" in service else None
            for unit, where in ((f"wake-control@{name}.socket", {path}), (f"wake@{name}.socket", ports)):
                if where and units.get(unit, {}).get("ActiveState") != "active":
                    wrong.append(f"{unit} is {units.get(unit)}")
                if where and not where & listening:
                    wrong.append(f"nobody listens at {where}")
            unit = units.get(f"wake@{name}.service", {"ActiveState": "inactive", "NFileDescriptorStore": "0"})
            redirect = redirects.get(name, "")
            if name in awake:
                if unit["ActiveState"] != "active":
                    wrong.append(f"wake@{name}.service is {unit}")
                if "port" in service and " lifted " not in redirect:
                    wrong.append(f"its port is not given to its container: '{redirect}'")
                continue
            if unit["ActiveState"] not in ("inactive", "failed") or unit["NFileDescriptorStore"] != "0":
                wrong.append(f"wake@{name}.service is {unit}")
            if "port" in service and " up " not in redirect:
                wrong.append(f"no redirect to its front: '{redirect}'")
        pattern = re.compile(r"/wakechain-(wake|front) .*?(\S+)$")
        for line in shown["processes"]:
            if "wakechain-redirect" not in line and not ((found := pattern.search(line)) and found[2] in awake):
                wrong.append(f"a process: {line}")
        states = dict(line.split() for line in shown["containers"])
        if set(states) != running or set(states.values()) - {"running"}:
            wrong.append(f"containers are {states}, and not {sorted(running)}")
        wrong += [f"the lease of {name} is locked" for name in shown["leases"] if name not in self.members(*awake)]
        return wrong

    def assert_sound(self, *awake, others=(), timeout=15):
        """These services are awake, and nothing else is, within that time: every socket listens, sleeping stacks have no process, no
        running container (`others` were not started by us), no lock, nothing in a descriptor store, and their redirect."""
        running = self.members(*awake) | set(others)
        deadline = time.monotonic() + PATIENCE * timeout
        while wrong := self.unsound(awake, running):
            if time.monotonic() > deadline:
                self.fail("\n".join(wrong))
            time.sleep(0.1)

    def assert_served(self, *urls):
        """Somebody who connects now is served. At once: wakes of several services meet."""
        asking = [self.asking(url) for url in urls or (URL,)]
        for url, process in zip(urls or (URL,), asking, strict=True):
            code, body = self.answered(process)
            self.assertEqual(code, 200, f"{url}: {body}")

    def assert_works(self, service="clemence", url=URL):
        """A client is served by a wake, awake is as it should be, and so is asleep."""
        self.assert_served(url)
        self.wait_unit(f"wake@{service}.service", "active")
        self.assert_sound(service)
        self.sleep(service)
        self.assert_sound()

    def assert_failed(self, service, reason, cursor, *words):
        """The journal says why in a sentence with these words, and so does the status."""
        record = self.follow("FAILED", service, cursor)
        self.assertEqual(record["WAKECHAIN_REASON"], reason, record["MESSAGE"])
        for word in words:
            self.assertIn(word, record["MESSAGE"])
        self.wait_state(service, "failed")
        self.assertEqual(self.status(service)["reason"], reason)

    def assert_started_once(self, since, *containers):
        """Since then each of these was started once, and nothing else was."""
        starts = self.starts(since)
        self.assertEqual(sorted(starts), sorted(containers))

    # The engine

    def engine_pid(self):
        """As the machine sees it."""
        return self.machine.show("docker.service", "MainPID")

    def hide_engine(self):
        """Ends dockerd for as long as nobody says otherwise: not by its socket, and not with a wake, which wants docker.service."""
        self.machine.run("systemctl mask --runtime docker.service docker.socket; systemctl stop docker.service docker.socket")

    def show_engine(self):
        self.machine.run("""systemctl unmask --runtime docker.service docker.socket
                            systemctl reset-failed docker.service docker.socket; systemctl start docker.service""")

    @contextlib.contextmanager
    def engine_stopped(self):
        """SIGSTOP: dockerd accepts, and does not answer."""
        pid = self.engine_pid()
        self.machine.run(["kill", "-STOP", pid])
        try:
            yield
        finally:
            self.machine.run(["kill", "-CONT", pid])

    def restart_engine(self):
        """Not limited, as an administrator's would be."""
        self.machine.run("systemctl reset-failed docker.service; systemctl restart docker.service")

    # The control socket

    def call(self, service, method, **members):
        """Calls, and yields the parameters of each reply. Connected until the generator is closed."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.machine.path(f"/run/wakechain/control/{service}.sock")))
            connection.sendall(json.dumps({"method": f"io.wakechain.{method}", **members}).encode() + b"\0")
            pending = b""
            while chunk := connection.recv(65536):
                *messages, pending = (pending + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    yield message.get("parameters", {}) if "error" not in message else message
                    if "error" in message or not message.get("continues"):
                        return
