"""ServiceTest: a MachineTest with words for what wakechain shows: status files, journal records, units, and the engine's events.

Configs of tests are the users' own with changes: users_config(clemence={"idleTimeout": "3s"}).
"""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from machine_test import PATIENCE, MachineTest, TimedOut, rounds, stacks, trees, wait_for

__all__ = ["MESSAGES", "PATIENCE", "Client", "Runs", "ServiceTest", "TimedOut", "dependency", "front_options", "required", "rounds"]
__all__ += ["stacks", "trees", "users_config", "wait_for"]

MESSAGES = dict(
    re.findall(r'WAKECHAIN_MESSAGE_(\w+) "(\w+)"', (trees.SOURCE / "src/catalog/messages.h").read_text())
)
STEADY_CLIENT = Path(__file__).resolve().parent / "steady_client.py"


def users_config(**changes):
    """The users' files as one, with members of services replaced or added; a service that is None is left out."""
    services = stacks.config()
    for name, members in changes.items():
        name = name.replace("_", "-")
        if members is None:
            del services[name]
        else:
            services[name] = {**services.get(name, {}), **members}
    return {"services": services}


def required(service):
    """Members for users_config(): the service without what is optional. A container that is stopped as soon as it has been started, which
    happens to optional ones here, may take its ten seconds: it does not listen to signals yet."""
    return {"dependencies": [d for d in stacks.config()[service]["dependencies"] if d.get("type") != "optional"]}


def dependency(config, service, container):
    """That dependency of a config, to be changed."""
    return next(d for d in config["services"][service]["dependencies"] if d["container"] == container)


def front_options(machine, options):
    """Gives all fronts other options, as an administrator's drop-in would. Before a test's machine has run one."""
    text = f"[Service]\nExecStart=\nExecStart=/usr/lib/wakechain/wakechain-front {options} $WAKECHAIN_FRONT_OPTIONS -- %i\n"
    machine.write("/etc/systemd/system/wake-front@.service.d/options.conf", text)
    machine.systemctl("daemon-reload")


class Runs:
    """How often each container was started and has died since this was made, however long ago that is: the engine keeps its last 256 events."""

    def __init__(self, machine):
        command = ["docker", "events", "--since", f"{machine.now():.9f}", "--filter", "type=container"]
        command += ["--filter", "event=start", "--filter", "event=die", "--format", "{{.Actor.Attributes.name}} {{.Action}}"]
        self._output = tempfile.TemporaryFile("w+")
        self._process = machine.popen(command, stdout=self._output)

    def of(self, container):
        """(starts, deaths) that have been told of so far."""
        assert self._process.poll() is None, "nobody listens to the engine any more"
        self._output.seek(0)
        lines = self._output.read().splitlines()
        return lines.count(f"{container} start"), lines.count(f"{container} die")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._output.close()


def _moment(event):
    return int(event["timeNano"])


class Client:
    """steady_client.py on the machine's network: connects every few milliseconds until finish()."""

    def __init__(self, where, address, port, expected, interval_ms=5):
        command = ["python3", "-I", str(STEADY_CLIENT), address, str(port), str(interval_ms), expected]
        popen = getattr(where, "netns_popen", None) or where.popen
        self._process = popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, timeout=60):
        """What became of its connections: {"count": N, "held": N, "longest": seconds, "errors": […]}"""
        out, _ = self._process.communicate(timeout=timeout)
        return json.loads(out.splitlines()[-1])

    def kill(self):
        self._process.kill()
        self._process.communicate()


class ServiceTest(MachineTest):
    variant = "clemence-sim"

    # What wakechain says

    def status(self, service):
        return json.loads(self.machine.read(f"/run/wakechain/status/{service}.json"))

    def unit_state(self, unit):
        return self.machine.show(unit, "ActiveState")

    def wait_state(self, service, state, timeout=30):
        """Waits until the status file says so."""

        def there():
            done = self.machine.run(["cat", f"/run/wakechain/status/{service}.json"], check=False)
            return done.returncode == 0 and json.loads(done.stdout)["state"] == state

        return wait_for(there, timeout, what=f"{service} to be {state}")

    def settle(self):
        """What follows from what was done to files, sockets, containers and tables is there when this returns."""
        self.machine.systemctl("restart", "wakechain-settle.service")

    def wait_unit(self, unit, state, timeout=30):
        return wait_for(lambda: self.unit_state(unit) == state, timeout, what=f"{unit} to be {state}")

    def records(self, message, service=None, since=None):
        """Records with that message id (a name of messages.h), after a journal cursor."""
        fields = {"MESSAGE_ID": MESSAGES[message]}
        if service:
            fields["WAKECHAIN_SERVICE"] = service
        self.machine.run(["journalctl", "--sync"])
        return self.machine.journal(since_cursor=since, **fields)

    def follow(self, message, service, since, timeout=30, **fields):
        """Waits for such a record, and returns it."""
        wanted = {"MESSAGE_ID": MESSAGES[message], "WAKECHAIN_SERVICE": service, **fields}
        return self.machine.follow_journal(wanted, timeout, since_cursor=since)

    def processes(self):
        """All of wakechain's, by name and by cgroup."""
        named = self.machine.out("ps -eo pid=,comm=,args= | awk '$2 ~ /^wake(chain|ctl)/'").splitlines()
        script = "find /sys/fs/cgroup/wakechain.slice -name cgroup.procs -exec cat {} + 2>/dev/null"
        return named + self.machine.run(script, check=False).stdout.split()

    def wait_no_process(self, timeout=30):
        """The check of the redirects runs for some milliseconds each minute: asked until there is none."""
        wait_for(lambda: not self.processes(), timeout, what="wakechain's processes to end")

    def sockets(self):
        """{unit: [address, …]} of all sockets that listen, as `systemctl list-sockets` shows them."""
        shown = {}
        for line in self.machine.systemctl("list-sockets", "--no-legend", "--full").splitlines():
            words = line.split()
            unit = next(w for w in words if w.endswith(".socket"))
            shown.setdefault(unit, []).append(words[0])
        return shown

    def assert_listens(self, service):
        self.assertIn(f"wake@{service}.socket", self.sockets())
        self.assertEqual(self.unit_state(f"wake@{service}.socket"), "active")

    # What the engine says

    def events(self, since, *actions, containers=None):
        """[(container, action, exit code or None, ns)], oldest first, of the last 256 that the engine keeps. Longer: Runs."""
        found = []
        for event in self.machine.docker_events_since(since):
            action, attributes = event["Action"].partition(":")[0], event["Actor"]["Attributes"]
            if (not actions or action in actions) and (not containers or attributes["name"] in containers):
                found.append((attributes["name"], action, attributes.get("exitCode"), _moment(event)))
        return sorted(found, key=lambda e: e[3])

    def wait_event(self, container, action, since, timeout=30):
        """Waits until the engine tells of this (the beginning of an action's name)."""

        def is_it(event):
            return event["Actor"]["Attributes"].get("name") == container and event["Action"].startswith(action)

        return self.machine.follow_docker_events(is_it, since, timeout)

    def starts(self, since):
        return [e[0] for e in self.events(since, "start")]

    def ends(self, since):
        """The containers that died, oldest first."""
        return [e[0] for e in self.events(since, "die")]

    # What clients see

    def ask(self, url, *options, timeout=30 * PATIENCE, where=None):
        """(HTTP status, body); status 0: no answer. On the machine, or another host."""
        command = ["curl", "-gsS", "-m", str(timeout), "-w", "\n%{http_code}", *options, url]
        done = (where or self.machine).run(command, check=False, timeout=timeout + 10)
        body, _, code = done.stdout.rpartition("\n")
        return int(code), body

    def asking(self, url, *options, timeout=60 * PATIENCE):
        """The same, in the background; finish it with answered()."""
        command = ["curl", "-gsS", "-m", str(timeout), "-w", "\n%{http_code}", *options, url]
        return self.machine.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def answered(self, process, timeout=60 * PATIENCE):
        out, _ = process.communicate(timeout=timeout)
        body, _, code = out.rpartition("\n")
        return int(code), body

    # Beginnings and ends

    def sleep(self, *services):
        """Puts them to sleep as an administrator would, and forgets the fronts' pauses after failed wakes."""
        self.machine.run(["systemctl", "stop", *(f"wake@{s}.service" for s in services)])
        self.machine.run(["systemctl", "stop", *(f"wake-front@{s}.service" for s in services)])

    def kill_main(self, unit):
        """SIGKILL to the main process of a unit that runs."""
        pid = int(self.machine.show(unit, "MainPID"))
        self.assertGreater(pid, 0, f"{unit} has no process")
        self.machine.run(["kill", "-KILL", str(pid)])
        return pid

    def drop_in(self, unit, text, name="test.conf"):
        """What `systemctl edit` does; undone after the test."""
        path = f"/etc/systemd/system/{unit}.d/{name}"
        self.machine.write(path, text)
        self.machine.systemctl("daemon-reload")
        self.addCleanup(lambda: self.machine.run(f"rm -f {path}; systemctl daemon-reload"))

    def remain(self, seconds, condition, what):
        """The condition holds now, and for this long: for what must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assertTrue(condition(), what)
            time.sleep(0.05)
