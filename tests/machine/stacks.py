"""The users' stacks inside a machine: what they consist of, and what tests do to them by hand."""

import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Containers of each service of dependencies.json and dependencies.d/whisper.json, in the order of their steps.
STACKS = {
    "clemence": [["mysql-clemence"], ["wordpress-clemence"], ["nginx-clemence"]],
    "nextcloud": [["postgresql-shared", "redis-shared"], ["nextcloud"], ["nextcloud-cron"]],
    "ragflow": [["ragflow-mysql", "ragflow-redis", "ragflow-minio", "ragflow-es-01"], ["ragflow-server"]],
    "memvid": [["redis-shared"], ["memvid-api"], ["memvid-ui"]],
    "telegram-bot": [["redis-shared"], ["faster-whisper-worker", "rq-exporter-whisperx"], ["telegram-bot"]],
}
PORTS = {"clemence": 9002, "nextcloud": 8080, "ragflow": 9500, "memvid": 8100}

# How long each simulated container sleeps before it listens, in seconds (stacks/*/docker-compose.yml).
DELAYS = {
    "mysql-clemence": 0.5, "wordpress-clemence": 1.0, "nginx-clemence": 0.2,
    "postgresql-shared": 0.8, "redis-shared": 0.2, "nextcloud": 1.5, "nextcloud-cron": 0.0,
    "ragflow-es-01": 3.0, "ragflow-mysql": 0.8, "ragflow-redis": 0.3, "ragflow-minio": 0.5, "ragflow-server": 4.5,
    "memvid-api": 1.0, "memvid-ui": 0.2,
    "faster-whisper-worker": 0.5, "rq-exporter-whisperx": 0.2, "telegram-bot": 0.3,
}  # fmt: skip

CLEMENCE = ("mysql-clemence", "wordpress-clemence", "nginx-clemence")
CONTAINERS = sorted({c for steps in STACKS.values() for step in steps for c in step})


def config():
    """The users' files, merged: {service: …}."""
    services = {}
    for path in [HERE / "dependencies.json", *sorted((HERE / "dependencies.d").glob("*.json"))]:
        services.update(json.loads(path.read_text())["services"])
    return services


def health(container):
    """The health command of a container as the users' file has it, or None."""
    for service in config().values():
        for dependency in service["dependencies"]:
            if dependency["container"] == container and "healthCheck" in dependency:
                return dependency["healthCheck"]["command"]
    return None


def compose_dir(container):
    for service in config().values():
        if any(d["container"] == container for d in service["dependencies"]):
            return service["composeDir"]
    return None


def healthy(machine, container):
    """Runs the health command once, by the machine's shell, with the environment of the stack's .env file."""
    env = f"{compose_dir(container)}/.env"
    return machine.run(f"set -a; [ ! -e {env} ] || . {env}; {health(container)}", check=False).returncode == 0


def states(machine, *containers):
    """{name: 'running' | 'exited' | 'created' | …}"""
    out = machine.docker("inspect", "--format", "{{.Name}} {{.State.Status}}", *(containers or CONTAINERS))
    return {name.lstrip("/"): state for name, state in (line.split() for line in out.splitlines())}


def running(machine):
    return set(machine.docker("ps", "--format", "{{.Names}}").split())


def start(machine, stack, timeout=60):
    """What the users did by hand: step by step, each ready before the next."""
    for step in STACKS[stack]:
        for container in step:
            machine.docker("start", container)
        for container in step:
            if health(container):
                machine.wait_for(lambda c=container: healthy(machine, c), timeout=timeout)


def stop(machine, *stacks_or_containers):
    """Stops stacks or containers, last step first, and waits for it. Without arguments: all that run."""
    names = []
    for name in stacks_or_containers or sorted(running(machine)):
        names += [c for step in reversed(STACKS[name]) for c in step] if name in STACKS else [name]
    if names:
        machine.docker("stop", *names)


def use_simulated_clemence(machine):
    """Gives the simulated containers the names of clemence's real ones (which become NAME-real)."""
    if f"{CLEMENCE[0]}-sim" not in machine.docker("ps", "-a", "--format", "{{.Names}}").split():
        return  # has been done, before a reboot
    for name in CLEMENCE:
        machine.docker("rename", name, f"{name}-real")
        machine.docker("rename", f"{name}-sim", name)


def set_page_value(machine, text):
    """Writes a text into WordPress's database which the page at / then shows. Leaves mysql-clemence as it was."""
    assert re.fullmatch(r"[A-Za-z0-9 _.-]+", text), "the page would show it escaped"
    was_running = states(machine, "mysql-clemence")["mysql-clemence"] == "running"
    if not was_running:
        machine.docker("start", "mysql-clemence")
    machine.wait_for(lambda: healthy(machine, "mysql-clemence"), timeout=60)
    sql = f"UPDATE wp_options SET option_value = '{text}' WHERE option_name = 'blogname'"
    command = f'exec mariadb -uroot -p"$MYSQL_ROOT_PASSWORD" wordpress -e "{sql}"'
    # mysqladmin ping is content before logins are possible
    machine.wait_for(["docker", "exec", "mysql-clemence", "sh", "-c", command], timeout=30)
    if not was_running:
        machine.docker("stop", "mysql-clemence")


def _setting(machine, container, name, value):
    """Files in /tmp of a simulated container steer it, also while it is stopped."""
    if value is None and states(machine, container)[container] == "running":
        machine.docker("exec", container, "rm", "-f", f"/tmp/{name}")
    elif value is None:
        # Nothing removes a file from a stopped container, but its layer is at hand.
        layer = machine.docker("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", container).strip()
        machine.run(["rm", "-f", f"{layer}/tmp/{name}"])
    else:
        script = 'd=$(mktemp -d); cat >"$d/$1"; docker cp "$d/$1" "$0:/tmp/$1"; r=$?; rm -r "$d"; exit $r'
        machine.run(["sh", "-c", script, container, name], input=str(value))


def set_broken(machine, container, broken=True):
    """A simulated container's health commands fail from now on, and HTTP is answered with 503."""
    _setting(machine, container, "broken", "" if broken else None)


def set_delay(machine, container, seconds):
    """From its next start on, a simulated container listens after this time (None: as ever)."""
    _setting(machine, container, "delay_ms", None if seconds is None else int(seconds * 1000))


def delay_files(machine, *containers):
    """Where set_delay() has written, as the machine sees it: for who wants another delay at the next start, and has no time for the engine."""
    layers = machine.docker("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", *containers).split()
    return [f"{layer}/tmp/delay_ms" for layer in layers]


def set_crash(machine, container, seconds, code=1):
    """From its next start on, a simulated container ends after this time with this exit code (None: never)."""
    _setting(machine, container, "crash_ms", None if seconds is None else int(seconds * 1000))
    _setting(machine, container, "crash_code", None if seconds is None else code)
