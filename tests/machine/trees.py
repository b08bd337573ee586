"""What the test machines are made of: root trees, container images, prepared machines, and wakechain built for them.

Everything is cached below $WAKECHAIN_TEST_CACHE (/var/cache/wakechain-tests) as NAME-KEY, where KEY is a hash of what it
is made of. An entry is built in a temporary folder and renamed; who uses one holds a shared flock on it, and what nobody
uses any more is removed, but for the last other key of each name.
"""

import concurrent.futures
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
CACHE = Path(os.environ.get("WAKECHAIN_TEST_CACHE") or "/var/cache/wakechain-tests")
SUITES = ("trixie", "bookworm")
MIRROR = "http://deb.debian.org"

_COMMON = (
    "systemd systemd-sysv dbus iproute2 procps curl nftables iptables ca-certificates strace "
    "docker.io docker-compose polkitd libjson-c5 libnftables1 libsystemd0 libsqlite3-0 libyaml-0-2"
).split()
_PACKAGES = {
    "trixie": _COMMON + ["docker-cli", "libcurl4t64", "libmicrohttpd12t64"],
    "bookworm": _COMMON + ["libcurl4", "libmicrohttpd12"],
}
_BUILD_PACKAGES = (
    "gcc libc6-dev meson ninja-build pkg-config busybox-static "
    "libsystemd-dev libjson-c-dev libcurl4-openssl-dev libnftables-dev libmicrohttpd-dev libsqlite3-dev libyaml-dev"
).split()
_REAL_PACKAGES = (
    "mariadb-server mariadb-client mariadb-client-compat nginx-light haproxy caddy wordpress wordpress-theme-twentytwentyfive "
    "php-fpm php-mysql curl"
).split()

# Units that a machine of an hour's life at most can do without, and that cost it time at boot or noise later.
_MASKED = (
    "systemd-modules-load.service systemd-firstboot.service systemd-machine-id-commit.service systemd-random-seed.service "
    "systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-logind.service "
    "systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-user-sessions.service "
    "systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-boot-update.service "
    "console-getty.service getty.target getty-static.service remote-fs.target "
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "systemd-tmpfiles-clean.timer"
).split()

_holds = []  # descriptors with a shared lock on what this process uses
_locals = threading.Lock()


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _hash(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(json.dumps(part, sort_keys=True, default=str).encode() + b"\0")
    return h.hexdigest()[:12]


def _files(*paths):
    """Names, modes and contents of files and folders, for a key."""
    out = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                out.append((str(file.relative_to(HERE)), file.stat().st_mode & 0o111, content))
    return out


def call(argv, **kw):
    """Runs a program quietly, and shows what it said if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=kw.pop("stdin", subprocess.DEVNULL), **kw)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise RuntimeError(f"{argv[0]} exited with {done.returncode}")
    return done.stdout


@contextlib.contextmanager
def locked(path, shared=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def remove(path):
    if path.is_dir() and not path.is_symlink():
        # A tree never holds a mount of ours (those live in private namespaces), but better safe than sorry.
        call(["rm", "-rf", "--one-file-system", str(path)])
    elif path.exists():
        path.unlink()


def _remove_old(name, current):
    others = sorted(
        (p for p in CACHE.glob(f"{name}-????????????*") if p.name[len(name) + 1 :].partition(".")[0] != current),
        key=lambda p: p.stat().st_mtime,
    )
    for path in others[:-1]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)


def _cached(name, key, build, suffix=""):
    """The entry NAME-KEY, built by build(temporary path) if it is not there."""
    path = CACHE / f"{name}-{key}{suffix}"
    with locked(CACHE / f"{name}.lock"):
        if not path.exists():
            for stale in CACHE.glob(f".new-{name}-*"):
                remove(stale)
            temporary = CACHE / f".new-{name}-{key}{suffix}"
            say(f"building {path.name} …")
            start = time.monotonic()
            build(temporary)
            temporary.rename(path)
            say(f"built {path.name} in {time.monotonic() - start:.1f} s")
            _remove_old(name, key)
        with _locals:
            if not any(held == path for held, _ in _holds):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(fd, fcntl.LOCK_SH)
                _holds.append((path, fd))
                os.utime(path)
    return path


def _sources(suite):
    return [
        f"deb {MIRROR}/debian {suite} main",
        f"deb {MIRROR}/debian {suite}-updates main",
        f"deb {MIRROR}/debian-security {suite}-security main",
    ]


def _mmdebstrap(suite, packages, target, *options):
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--aptopt=Acquire::Languages none"]
    command += ["--aptopt=Acquire::Retries 3", "--dpkgopt=force-unsafe-io"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
    call(command + ["--include=" + ",".join(packages), *options, suite, str(target), *_sources(suite)])


# Root trees


def _tree_key(suite):
    return _hash("tree", 4, suite, _PACKAGES[suite], _MASKED, MIRROR)


def tree(suite):
    """The root of a machine without containers."""

    def build(root):
        _mmdebstrap(suite, _PACKAGES[suite], root)
        for unit in _MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        for unit in ("docker.service", "docker.socket", "containerd.service"):
            call(["systemctl", f"--root={root}", "enable", unit])
        files = {
            "etc/machine-id": hashlib.md5(b"wakechain" + suite.encode()).hexdigest() + "\n",
            "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
            "etc/hostname": suite + "\n",
            "etc/resolv.conf": "",
            "etc/containerd/config.toml": 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
            "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRuntimeMaxUse=256M\n",
        }
        for path, text in files.items():
            path = root / path
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            path.write_text(text)

    return _cached(f"tree-{suite}", _tree_key(suite), build)


def _build_key():
    return _hash("build", 2, _BUILD_PACKAGES, MIRROR)


def build_tree():
    """Debian 12 with a compiler: what is built there runs on 13 as well."""

    def build(root):
        _mmdebstrap("bookworm", _BUILD_PACKAGES, root)
        (root / "source").mkdir()
        (root / "build").mkdir()

    return _cached("build", _build_key(), build)


def in_build_tree(script, *arguments, source=None, build=None):
    """Runs a shell script in the build tree, with a source folder (read-only) at /source and a build folder at /build.
    The mounts live in a namespace of their own, and end with it."""
    root = build_tree()
    mounts = ["mount -t proc proc \"$0\"/proc", "mount --rbind /dev \"$0\"/dev", "mount -t tmpfs tmpfs \"$0\"/tmp"]
    if source:
        mounts.append(f"mount --bind '{source}' \"$0\"/source && mount -o remount,bind,ro \"$0\"/source")
    if build:
        mounts.append(f"mount --bind '{build}' \"$0\"/build")
    outer = " && ".join(mounts) + ' && exec chroot "$0" /bin/sh -euc "$@"'
    command = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", outer, str(root), script, "sh"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    return call(command + [str(a) for a in arguments], env=environment)


# Container images


def _sim_key():
    return _hash("sim", 3, _build_key(), _files(HERE / "simulate.c"))


def sim_image():
    """busybox, and simulate under all its names."""

    def build(tar):
        with tempfile.TemporaryDirectory(prefix=".new-sim-tree-", dir=CACHE) as folder:
            out = Path(folder)
            script = """
                for d in bin etc tmp proc sys dev run; do mkdir -p /build/$d; done
                chmod 1777 /build/tmp
                gcc -static -O2 -Wall -Wextra -Werror -o /build/bin/simulate /source/simulate.c
                strip /build/bin/simulate
                cp /bin/busybox /build/bin/busybox
                for name in $(/bin/busybox --list | grep -vx busybox); do ln -s busybox /build/bin/$name; done
                for name in server pg_isready redis-cli mysqladmin curl; do ln -sf simulate /build/bin/$name; done
                echo root:x:0:0:root:/:/bin/sh > /build/etc/passwd
                echo root:x:0: > /build/etc/group
            """
            in_build_tree(script, source=HERE, build=out)
            call(["tar", "-C", str(out), "--numeric-owner", "--owner=0", "--group=0", "-cf", str(tar), "."])

    return _cached("sim", _sim_key(), build, ".tar")


def _real_key():
    return _hash("real", 2, _REAL_PACKAGES, MIRROR)


def real_image():
    """MariaDB, nginx, PHP and WordPress: one image for the three containers of clemence; and further reverse proxies."""

    def build(tar):
        _mmdebstrap(
            "trixie",
            _REAL_PACKAGES,
            tar,
            '--customize-hook=rm -rf "$1"/var/lib/mysql/* "$1"/var/cache/* "$1"/usr/share/wordpress/wp-config.php',
            '--customize-hook=touch "$1"/usr/share/wordpress/wp-config.php',
            '--customize-hook=ln -sfn /dev/stderr "$1"/var/log/nginx/error.log',
            "--format=tar",
        )

    return _cached("real", _real_key(), build, ".tar")


# Prepared machines


def _snapshot_key(suite):
    return _hash(
        "snapshot", 3, _tree_key(suite), _sim_key(), _real_key(), _files(HERE / "stacks", HERE / "snapshot.py")
    )


def snapshot(suite):
    """A machine with images, networks and stopped containers: `root`, to be laid over tree(suite), and `docker`."""

    def build(target):
        import snapshot as recipe

        recipe.make(suite, target, sim_image(), real_image())

    return _cached(f"snapshot-{suite}", _snapshot_key(suite), build)


def prepare(suites=SUITES):
    """Builds all that is missing, two things at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for jobs in ([real_image, sim_image, *(functools.partial(tree, s) for s in suites)],
                     [functools.partial(snapshot, s) for s in suites]):
            for done in [pool.submit(job) for job in jobs]:
                done.result()


# wakechain


def wakechain(source=None, options=()):
    """Builds and installs a meson project (this one) in the build tree; returns the folder it is installed in. What is
    not installed is not built."""
    source = Path(source or SOURCE).resolve()
    key = _hash("wakechain", 1, _build_key(), str(source), list(options))
    folder = CACHE / f"wakechain-{key}"
    with locked(CACHE / f"wakechain-{key}.lock"):
        folder.mkdir(parents=True, exist_ok=True)
        script = """
            test -e /build/meson/build.ninja ||
                    meson setup --prefix=/usr --buildtype=debugoptimized "$@" /build/meson /source
            ninja -C /build/meson --quiet build.ninja
            cd /build/meson
            python3 -c 'if True:
                    import json, os
                    for target in json.load(open("meson-info/intro-targets.json")):
                            for name in target["filename"] if target["installed"] else []:
                                    print(os.path.relpath(name))' |
                    xargs --no-run-if-empty ninja
            rm -rf /build/new
            DESTDIR=/build/new meson install -C /build/meson --no-rebuild --quiet
            rm -rf /build/root
            mv /build/new /build/root
        """
        in_build_tree(script, *options, source=source, build=folder)
    return folder / "root"


@contextlib.contextmanager
def reading(destdir):
    """Keeps a folder that wakechain() returned from being replaced."""
    lock = Path(str(Path(destdir).parent) + ".lock")
    if lock.exists():
        with locked(lock, shared=True):
            yield
    else:
        yield
