"""Machine: a disposable Debian with systemd as PID 1, its own network, dockerd, and the users' stacks, stopped.

It is a systemd-nspawn container whose root is an overlay of a cached tree. The overlay and all other mounts live in a
mount namespace of the machine's own, so they end with its last process. A guard process ends the machine and removes its
folder when the Python process that owns it is killed.
"""

import atexit
import errno
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import stacks
import trees

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}

_VARIANTS = ("real", "clemence-sim", "bare")
_BOOT = r"""
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$FOLDER/root"
[ ! -e "$FOLDER/before-boot" ] || chroot "$FOLDER/root" /bin/sh -e < "$FOLDER/before-boot"
[ -z "$CGROUP" ] || echo $$ > "$CGROUP/cgroup.procs"
exec systemd-nspawn "$@"
"""
_GUARD = r"""
read -r _ && exit
kill -KILL "$1" "$2" 2>/dev/null
[ -z "$4" ] || echo 1 >"$4.host/cgroup.kill"
sleep 1
rm -rf --one-file-system "$3"
[ -z "$4" ] || find "$4" "$4.host" -depth -type d -exec rmdir {} + 2>/dev/null
"""

# Timeouts are those of a machine that has nothing else to do; for a busy one they are so many times as long. Who waits in vain fails late.
PATIENCE = 3

_alive = []
_count = 0


class TimedOut(AssertionError):
    """What was waited for did not happen."""


@atexit.register
def end_all():
    for machine in list(_alive):
        machine.close()


def _shell(cmd):
    return ["/bin/sh", "-c", cmd] if isinstance(cmd, str) else [str(a) for a in cmd]


def _cgroup_root():
    """Where cgroup v2 is mounted, on a pure or a hybrid host."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


def _follow(argv, predicate, timeout, what, **kw):
    """Reads lines of a program until the predicate returns something true for one; returns that."""
    deadline = time.monotonic() + PATIENCE * timeout
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw)
    pending = b""
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise TimedOut(f"{what}: not within {timeout} s")
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                raise TimedOut(f"{what}: {argv[-1]} ended")
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                found = predicate(line.decode(errors="replace"))
                if found:
                    return found
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(condition, timeout=30, interval=0.2, what=None):
    """Calls the condition until it returns something true, and returns that."""
    deadline = time.monotonic() + PATIENCE * timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise TimedOut(f"{what or condition}: not within {timeout} s")
        time.sleep(interval)


class _Namespace:
    """Runs the host's programs on some other network: python3, load generators, browsers."""

    def _enter(self):
        """The beginning of a command line that runs there. It joins a cgroup by which close() ends what still runs."""
        leader, cgroup = self._where()
        enter = ["nsenter", "-t", str(leader), "-n", "--"]
        return ["sh", "-c", 'echo 0 >"$0" && exec "$@"', f"{cgroup}.host/cgroup.procs", *enter] if cgroup else enter

    def _where(self):
        raise NotImplementedError

    def popen_host(self, cmd, **kw):
        kw.setdefault("text", True)
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self._enter() + _shell(cmd), **kw)

    def run_host(self, cmd, check=True, timeout=60, **kw):
        kw.setdefault("text", True)
        if "input" not in kw:
            kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run(self._enter() + _shell(cmd), timeout=timeout, **kw)
        if check:
            _check(done, cmd)
        return done

    def python(self, code, *arguments, **kw):
        """Runs Python there: code, or the path of a script. Returns its stdout."""
        script = [code] if isinstance(code, Path) else ["-c", code]
        return self.run_host([sys.executable, *script, *arguments], **kw).stdout


def _check(done, cmd):
    if done.returncode:
        raise AssertionError(f"{cmd!r} exited with {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}")


class Peer(_Namespace):
    """Another host: a network namespace joined to the machine. Programs are the real host's."""

    def __init__(self, machine, number):
        self.machine = machine
        self.interface = f"lan{number}"
        self.machine_ipv4, self.ipv4 = f"198.18.{number}.1", f"198.18.{number}.2"
        self.machine_ipv6, self.ipv6 = f"fd00:18:{number}::1", f"fd00:18:{number}::2"
        # The namespace lives as long as this cat, and that one until its stdin is closed, at the latest with us.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        mine = os.stat("/proc/self/ns/net").st_ino
        try:
            wait_for(lambda: os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino != mine, 10, 0.002)
            trees.call(
                ["ip", "link", "add", "name", self.interface, "netns", str(machine.leader)]
                + ["type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid)]
            )
            machine.run_host(
                f"ip addr add {self.machine_ipv4}/24 dev {self.interface} && "
                f"ip addr add {self.machine_ipv6}/64 dev {self.interface} nodad && ip link set {self.interface} up"
            )
            self.run_host(
                f"ip link set lo up && ip addr add {self.ipv4}/24 dev eth0 && ip addr add {self.ipv6}/64 dev eth0 nodad && "
                f"ip link set eth0 up && ip route add default via {self.machine_ipv4} && "
                f"ip -6 route add default via {self.machine_ipv6}"
            )
        except BaseException:
            self.close()
            raise

    def _where(self):
        return self._holder.pid, self.machine._cgroup

    run = _Namespace.run_host
    popen = _Namespace.popen_host

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdin.close()


class Machine(_Namespace):
    """suite: trixie or bookworm. variant: `real` (WordPress real, the rest simulated), `clemence-sim` (all simulated), or
    `bare` (no containers, no images). wakechain: a folder as made by `meson install` with DESTDIR, laid over the root
    before the boot. config: a dict, a path, or "users" for the users' own files; becomes /etc/wakechain/dependencies.json.
    degraded: units may fail at boot.
    """

    def __init__(self, suite="trixie", variant="real", wakechain=None, config=None, degraded=False, boot=True):
        global _count

        assert suite in trees.SUITES and variant in _VARIANTS
        _count += 1
        self.suite = suite
        self.variant = variant
        self.wakechain = Path(wakechain) if wakechain else None
        self.config = config
        self.degraded = degraded
        self.name = f"wc-{os.getpid()}-{_count}"
        self.leader = None
        self.folder = None
        self._nspawn = self._guard = self._cgroup = self._notify = None
        self._layers = []
        self._peers = []
        self._background = []
        if boot:
            self.boot()

    # Life

    def boot(self, timeout=60):
        _alive.append(self)
        try:
            self._prepare()
            self._start(timeout)
        except BaseException:
            self._show_console()
            self.close()
            raise
        return self

    def _prepare(self):
        runs = trees.CACHE / "run"
        runs.mkdir(parents=True, exist_ok=True)
        _remove_stale(runs)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}.", dir=runs))
        for name in ("upper", "work", "root", "docker"):
            (self.folder / name).mkdir()
        self._lower = [trees.tree(self.suite)]
        if self.variant != "bare":
            snapshot = trees.snapshot(self.suite)
            self._lower.insert(0, snapshot / "root")
            self._layers = _copy_docker(snapshot / "docker", self.folder / "docker")
        # An empty upper folder gives its owner and mode to /.
        os.chmod(self.folder / "upper", 0o755)

        script = []
        if self.wakechain:
            # Not as a lower layer: a test may replace files of it while the next build goes on.
            with trees.reading(self.wakechain):
                trees.call(["cp", "-a", f"{self.wakechain}/.", str(self.folder / "upper")])
            script += ["systemd-sysusers", "ldconfig"]
        if self.config is not None:
            self._write_config(self.folder / "upper/etc/wakechain")
        if script:
            (self.folder / "before-boot").write_text("\n".join(script) + "\n")

        root = _cgroup_root()
        if root:
            for controller in (root / "cgroup.controllers").read_text().split():
                try:
                    (root / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError:
                    pass
            self._cgroup = root / self.name
            self._cgroup.mkdir()
            Path(f"{self._cgroup}.host").mkdir()

    def _start(self, timeout):
        deadline = time.monotonic() + PATIENCE * timeout
        address = f"\0wakechain-test-{self.folder.name}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(address)

        environment = {
            "PATH": ENVIRONMENT["PATH"],
            "LOWER": ":".join(str(p) for p in self._lower),
            "FOLDER": str(self.folder),
            "CGROUP": str(self._cgroup or ""),
            "NOTIFY_SOCKET": "@" + address[1:],
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        }
        command = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-eu", "-c", _BOOT, "sh"]
        command += ["--quiet", "--boot", f"--directory={self.folder}/root", f"--machine={self.name}"]
        command += ["--register=no", "--keep-unit", "--console=pipe", "--notify-ready=yes", "--kill-signal=SIGRTMIN+3"]
        command += ["--capability=all", "--private-network", "--system-call-filter=add_key keyctl bpf"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        command += [f"--bind={self.folder}/docker:/var/lib/docker"]
        command += [f"--bind-ro={layer}:/var/lib/docker/overlay2/{layer.parent.name}/diff" for layer in self._layers]
        with open(self.folder / "console", "w") as console:
            self._nspawn = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )

        ready = False
        while not ready:
            self._notify.settimeout(0.2)
            try:
                message = self._notify.recv(4096).decode(errors="replace").splitlines()
            except TimeoutError:
                if self._nspawn.poll() is not None or time.monotonic() > deadline:
                    raise TimedOut(f"{self.name} did not boot") from None
                continue
            for line in message:
                key, _, value = line.partition("=")
                if key == "X_NSPAWN_LEADER_PID":
                    self.leader = int(value)
                    self._start_guard()
                ready = ready or line == "READY=1"
        # Nobody reads it any more: a few more messages would fill its queue, and then nspawn's, and PID 1 would wait for ever.
        self._notify.close()
        self.wait_running(max(1, int(deadline - time.monotonic())))
        if self.variant == "clemence-sim":
            stacks.use_simulated_clemence(self)

    def _start_guard(self):
        command = ["sh", "-c", _GUARD, "sh", str(self._nspawn.pid), str(self.leader), str(self.folder), str(self._cgroup or "")]
        self._guard = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def wait_running(self, timeout=60):
        """Waits until all jobs of the boot are done, and checks that nothing failed."""
        state = self.run(["systemctl", "is-system-running", "--wait"], check=False, timeout=timeout).stdout.strip()
        if state != "running" and not (self.degraded and state == "degraded"):
            failed = self.run("systemctl --failed --no-legend; systemctl list-jobs", check=False).stdout
            raise AssertionError(f"{self.name} is {state!r}:\n{failed}")

    def poweroff(self, timeout=60):
        """Ends it as an administrator would. The folder stays until close()."""
        self.run(["systemctl", "poweroff"], check=False)
        self._nspawn.wait(PATIENCE * timeout)
        self._after_end()

    def reboot(self, timeout=60, power_cut=False):
        """Ends it and boots the same root again. Peers are gone then."""
        if power_cut:
            self.kill()
        else:
            self.poweroff(timeout)
        self._notify.close()
        self._start(timeout)

    def kill(self):
        """Ends it as a power cut would."""
        if self.leader and self._nspawn and self._nspawn.poll() is None:
            try:
                os.kill(self.leader, signal.SIGKILL)
                self._nspawn.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        if self._nspawn and self._nspawn.poll() is None:
            self._nspawn.kill()
            self._nspawn.wait()
        self._after_end()

    def _after_end(self):
        self.leader = None
        for peer in self._peers:
            peer.close()
        self._peers.clear()
        for process in self._background:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._background.clear()
        if self._guard:
            self._guard.stdin.write(b"done\n")
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def close(self):
        """Ends it and removes all that it left."""
        if self in _alive:
            _alive.remove(self)
        self.kill()
        if self._notify:
            self._notify.close()
        if self._cgroup:
            for cgroup in (self._cgroup, Path(f"{self._cgroup}.host")):
                _remove_cgroup(cgroup)
            self._cgroup = None
        if self.folder:
            trees.remove(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind and self.leader:
            self.show_journal()
        self.close()

    # Running programs

    def _where(self):
        return self.leader, self._cgroup

    def _enter_all(self):
        return ["nsenter", "-t", str(self.leader), "-a", "--"]

    def run(self, cmd, check=True, timeout=60, input=None, env=None, **kw):
        """Runs a command of the machine's (a list, or a string for its shell) and waits for it."""
        kw.setdefault("text", True)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        if input is None:
            kw.setdefault("stdin", subprocess.DEVNULL)
        else:
            kw["input"] = input
        if check:
            timeout *= PATIENCE
        # Killing nsenter would leave the command behind: the machine's own timeout ends it.
        command = [*self._enter_all(), "timeout", "-k", "1", str(timeout), *_shell(cmd)]
        done = subprocess.run(command, env={**ENVIRONMENT, **(env or {})}, timeout=timeout + 10, **kw)
        if done.returncode == 124 and check:
            raise TimedOut(f"{cmd!r}: not within {timeout} s\nstdout: {done.stdout}\nstderr: {done.stderr}")
        if check:
            _check(done, cmd)
        return done

    def out(self, cmd, **kw):
        return self.run(cmd, **kw).stdout.strip()

    def popen(self, cmd, env=None, **kw):
        """Starts a command of the machine's, which ends with the machine, or when the Popen object is killed."""
        kw.setdefault("text", True)
        kw.setdefault("stdin", subprocess.DEVNULL)
        command = [*self._enter_all(), "setpriv", "--pdeathsig", "KILL", "--", *_shell(cmd)]
        process = subprocess.Popen(command, env={**ENVIRONMENT, **(env or {})}, **kw)
        self._background.append(process)
        return process

    netns_run = client = _Namespace.run_host
    netns_popen = _Namespace.popen_host

    def add_peer_host(self):
        peer = Peer(self, len(self._peers))
        self._peers.append(peer)
        return peer

    def docker(self, *arguments, check=True, timeout=60):
        return self.run(["docker", *arguments], check=check, timeout=timeout).stdout

    def systemctl(self, *arguments, check=True, timeout=60):
        return self.run(["systemctl", *arguments], check=check, timeout=timeout).stdout.strip()

    def show(self, unit, *properties):
        """Properties of a unit: a string for one, a dict for several."""
        out = self.run(["systemctl", "show", unit, *(f"--property={p}" for p in properties)]).stdout
        values = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return values.get(properties[0], "") if len(properties) == 1 else values

    def http(self, url, *options, timeout=30, check=True):
        """curl on the machine; returns the body. With check, anything but 2xx and 3xx raises."""
        fail = ["--fail-with-body"] if check else []
        command = ["curl", "-sS", "--globoff", *fail, "--max-time", str(timeout), *options, url]
        return self.run(command, check=check, timeout=timeout + 5).stdout

    # Files

    def path(self, path):
        """Where a file of the machine's is for the host. Absolute links on the way lead to the host's files: beware."""
        return Path(f"/proc/{self.leader}/root{path}")

    def read(self, path):
        return self.run(["cat", path]).stdout

    def write(self, path, text, mode=None):
        script = 'mkdir -p "${0%/*}" && cat > "$0" && { [ -z "$1" ] || chmod "$1" "$0"; }'
        self.run(["sh", "-c", script, path, oct(mode)[2:] if mode is not None else ""], input=text)

    def put(self, source, target):
        """Copies a file or folder of the host's to this path."""
        source = Path(source)
        tar = subprocess.Popen(
            ["tar", "-C", str(source if source.is_dir() else source.parent), "--owner=0", "--group=0", "-c"]
            + ["." if source.is_dir() else source.name],
            stdout=subprocess.PIPE,
        )
        if source.is_dir():
            script = 'mkdir -p "$0" && tar -C "$0" --keep-directory-symlink --no-overwrite-dir -x'
        else:
            script = 'mkdir -p "${0%/*}" && tar -O -x > "$0"'
        with tar:
            self.run(["sh", "-c", script, target], stdin=tar.stdout)
        if not source.is_dir():
            self.run(["chmod", oct(source.stat().st_mode & 0o777)[2:], target])

    def install(self, destdir):
        """What `meson install` and a package's scripts would do on a running machine."""
        with trees.reading(destdir):
            self.put(destdir, "/")
        self.run("systemd-sysusers && systemd-tmpfiles --create; systemctl daemon-reload")

    def _write_config(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        if self.config == "users":
            shutil.copy(stacks.HERE / "dependencies.json", folder)
            shutil.copytree(stacks.HERE / "dependencies.d", folder / "dependencies.d", dirs_exist_ok=True)
        elif isinstance(self.config, dict):
            (folder / "dependencies.json").write_text(json.dumps(self.config, indent=2))
        else:
            shutil.copy(self.config, folder / "dependencies.json")
        # However this was checked out: what others than root may write is no configuration.
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & 0o755)

    def set_config(self, config):
        """Replaces the config of a running machine, as its constructor's argument; no reload."""
        self.config = config
        with tempfile.TemporaryDirectory() as folder:
            self._write_config(Path(folder))
            os.chmod(folder, 0o755)
            self.run("rm -rf /etc/wakechain/dependencies.json /etc/wakechain/dependencies.d")
            self.put(folder, "/etc/wakechain")

    # Journal and events

    def _journalctl(self, unit, since_cursor, matches):
        command = ["journalctl", "--no-pager", "-q", "-o", "json", "--all"]
        for u in [unit] if isinstance(unit, str) else unit or []:
            command += ["-u", u]
        if since_cursor:
            # Not --after-cursor: before systemd 253 that swallows a record if the one at the cursor does not match.
            command += ["--cursor", since_cursor]
        return command + [f"{k}={v}" for k, v in (matches or {}).items()]

    def journal(self, unit=None, since_cursor=None, json=True, **matches):
        """Records as dicts (or as text), of a unit or all, after a cursor, with these field values. As text, the record at
        the cursor may come first."""
        command = self._journalctl(unit, since_cursor, matches)
        if not json:
            command[command.index("json")] = "short-monotonic"
            return self.run(command).stdout
        records = [_record(line) for line in self.run(command).stdout.splitlines()]
        return [r for r in records if r["__CURSOR"] != since_cursor]

    def journal_cursor(self):
        """The journal's present end."""
        self.run(["journalctl", "--sync"])
        out = self.run(["journalctl", "-q", "-n0", "--show-cursor"]).stdout
        return out.partition("-- cursor: ")[2].strip()

    def follow_journal(self, match, timeout=30, unit=None, since_cursor=None):
        """Blocks until a record matches, and returns it. match: a regular expression for the message, a dict of fields, or
        a function of the record. Without a cursor, records count that were there before."""

        def matches(line):
            if not line.startswith("{"):
                return None
            record = _record(line)
            if record["__CURSOR"] == since_cursor:
                return None
            if callable(match):
                good = match(record)
            elif isinstance(match, dict):
                good = all(record.get(k) == str(v) for k, v in match.items())
            else:
                good = re.search(match, str(record.get("MESSAGE", "")))
            return record if good else None

        command = self._journalctl(unit, since_cursor, None) + ["-f", "-n", "all"]
        command = [*self._enter_all(), "setpriv", "--pdeathsig", "KILL", "--", *command]
        return _follow(command, matches, timeout, f"journal record {match!r}", env=ENVIRONMENT)

    @staticmethod
    def now():
        """The present moment, for docker_events_since()."""
        return time.time()

    def docker_events_since(self, since, until=None, kind="container"):
        """The engine's events as dicts, oldest first, up to now (or another moment, also to come)."""
        command = ["docker", "events", "--since", f"{since:.9f}", "--until", f"{until or time.time():.9f}"]
        command += ["--format", "{{json .}}"] + (["--filter", f"type={kind}"] if kind else [])
        return [json.loads(line) for line in self.run(command).stdout.splitlines()]

    def follow_docker_events(self, predicate, since=None, timeout=30):
        """Blocks until the predicate is true for an event of the engine (a dict), and returns that event."""

        def matches(line):
            event = json.loads(line)
            return event if predicate(event) else None

        command = ["docker", "events", "--format", "{{json .}}", "--since", f"{since or time.time():.9f}"]
        command = [*self._enter_all(), "setpriv", "--pdeathsig", "KILL", "--", *command]
        return _follow(command, matches, timeout, "engine's event", env=ENVIRONMENT)

    def wait_for(self, condition, timeout=30, interval=0.2, what=None):
        """Waits until a function returns something true, or a command of the machine's exits 0."""
        if callable(condition):
            return wait_for(condition, timeout, interval, what)
        last = None

        def try_once():
            nonlocal last
            last = self.run(condition, check=False, timeout=max(timeout, 1))
            return last if last.returncode == 0 else None

        try:
            return wait_for(try_once, timeout, interval, what or condition)
        except TimedOut as e:
            raise TimedOut(f"{e}\nstdout: {last.stdout}\nstderr: {last.stderr}") from None

    # When something went wrong

    def show_journal(self, lines=60):
        """Keeps the journal in a file that outlives the machine, and prints its end."""
        folder = Path(os.environ.get("WAKECHAIN_TEST_LOGS") or tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}-{self.suite}.journal"
        try:
            text = self.run(["journalctl", "--no-pager", "-o", "short-monotonic", "--all"], check=False).stdout
        except (OSError, subprocess.SubprocessError) as e:
            trees.say(f"no journal of {self.name}: {e}")
            return
        path.write_text(text)
        chatter = re.compile(r" ((containerd|dockerd)\[\d+\]: .*level=(info|warning)|systemd\[1\]: \S+\.mount: Deactivated)")
        trees.say("\n".join([line for line in text.splitlines() if not chatter.search(line)][-lines:]))
        trees.say(f"(the whole journal of {self.name}: {path})")

    def _show_console(self):
        try:
            if self.leader:
                self.show_journal()
            trees.say((self.folder / "console").read_text(errors="replace")[-4000:])
        except (OSError, AttributeError, TypeError):
            pass


def _record(line):
    """A journal record as a dict of strings: binary values are decoded, of repeated fields the last counts."""
    record = json.loads(line)
    for key, value in record.items():
        if isinstance(value, list):
            if value and all(isinstance(v, int) for v in value):
                record[key] = bytes(value).decode(errors="replace")
            elif value:
                record[key] = value[-1]
    return record


def _remove_cgroup(cgroup):
    if not cgroup.exists():
        return
    try:
        (cgroup / "cgroup.kill").write_text("1")
    except OSError:
        pass  # Linux before 5.14
    for folder, _, _ in os.walk(cgroup, topdown=False):
        for _ in range(100):
            try:
                os.rmdir(folder)
                break
            except OSError as e:
                if e.errno != errno.EBUSY:
                    break
                time.sleep(0.02)


def _remove_stale(runs):
    """Folders of machines whose process is gone."""
    for folder in runs.glob("wc-*"):
        pid = int(folder.name.split("-")[1])
        if pid != os.getpid() and not Path(f"/proc/{pid}").exists():
            try:
                trees.remove(folder)
            except RuntimeError:
                pass  # still in use by a machine that is about to end


def _copy_docker(source, target):
    """Makes a copy of /var/lib/docker. The layers of images make up nearly all of it, and are never written to: of the
    small ones hard links are made, or copies on another file system; the large ones are left out, to be mounted, and returned."""
    os.chmod(target, os.stat(source).st_mode & 0o7777)
    mounts = source / "image/overlay2/layerdb/mounts"
    written = set()
    for mount in mounts.iterdir() if mounts.is_dir() else []:
        written |= {(mount / "mount-id").read_text().strip(), (mount / "init-id").read_text().strip()}
    layers = [d / "diff" for d in (source / "overlay2").iterdir() if d.name not in written and d.name != "l"]
    exclude = shlex.join(f"--exclude=./overlay2/{layer.parent.name}/diff/*" for layer in layers)
    # tar rather than cp: it is the one that can leave something out
    options = "--xattrs --xattrs-include='*'"
    script = f"tar -C \"$0\" {options} --sparse -c {exclude} . | tar -C \"$1\" {options} -xp"
    large = [layer for layer in layers if (layer / "usr").is_dir()]
    link = "l" if source.stat().st_dev == target.stat().st_dev else ""
    for layer in layers:
        if layer not in large:
            script += f'; cp -a{link} "$0/overlay2/{layer.parent.name}/diff/." "$1/overlay2/{layer.parent.name}/diff"'
    trees.call(["bash", "-euo", "pipefail", "-c", script, str(source), str(target)])
    return large
