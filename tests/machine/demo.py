"""The transcript of tests/demo."""

import os
import secrets
import sys
import textwrap
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import stacks  # noqa: E402
import trees  # noqa: E402
from machine import Machine  # noqa: E402

URL = "http://127.0.0.1:9002/"
PROCESSES = "ps -eo pid,args | grep -E '[w]akechain-|[w]akectl' || echo '(none)'"
REDIRECT = "/usr/lib/wakechain/wakechain-redirect check | grep ^clemence"
CHAIN = "nft list chain inet wakechain service-clemence"
SHOWN_LINES = 40


class Wrong(Exception):
    pass


def heading(text):
    print(f"\n--- {text}", flush=True)


def show(machine, command, lines=SHOWN_LINES):
    """Prints a command and what it says, as at a prompt. Returns that."""
    print(f"# {command}", flush=True)
    done = machine.run(command, check=False, timeout=120)
    text = (done.stdout + done.stderr).rstrip()
    shown = text.splitlines()
    for line in shown[:lines]:
        print(textwrap.shorten(line, 160, placeholder=" …") if len(line) > 160 else line)
    if len(shown) > lines:
        print(f"(… {len(shown) - lines} more lines)")
    return text


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def wait_asleep(machine):
    machine.wait_for(["sh", "-c", "! systemctl is-active -q wake@clemence.service"], timeout=60)
    machine.wait_for(["sh", "-c", "! systemctl is-active -q wake-front@clemence.service"], timeout=60)


def demo(machine):
    value = "Clemence " + secrets.token_hex(4)
    stacks.set_page_value(machine, value)

    heading(f"Asleep. The site's title, in its database, is '{value}'")
    names = show(machine, "docker ps --all --filter name=clemence --format '{{.Names}}: {{.Status}}' | grep -v -- -sim")
    expect(" Up " not in names.replace(":", " "), "a container of clemence runs already")
    show(machine, "systemctl list-sockets --no-pager 'wake@*.socket' 'wake-control@*.socket'")
    expect("(none)" in show(machine, PROCESSES), "a process of wakechain runs while everything sleeps")
    show(machine, REDIRECT)
    show(machine, CHAIN)

    heading("One connection")
    begin = time.monotonic()
    page = show(machine, f"curl --silent --show-error --dump-header - {URL}", lines=16)
    print(f"(answered after {time.monotonic() - begin:.1f} s)")
    expect(" 200 " in page.split("\n", 1)[0] and value in page, "the page is not the WordPress page with that title")
    print(f"The page has the title '{value}'.")

    heading("What happened")
    machine.wait_for(["systemctl", "is-active", "-q", "wake@clemence.service"], timeout=30)
    machine.run(["journalctl", "--sync"])
    show(machine, "journalctl --no-pager --output=short-precise -u wake@clemence.service")
    show(machine, "systemctl status --no-pager --lines=0 wake@clemence.service")
    show(machine, "docker ps --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}'")

    heading("Awake: new connections go straight to the container, the redirect of 9002 is lifted")
    expect("lifted" in show(machine, REDIRECT), "the redirect of clemence is not lifted")
    show(machine, CHAIN)
    expect(value in machine.http(URL), "the second request did not get the page")

    heading("Put to sleep")
    show(machine, "systemctl stop wake@clemence.service")
    wait_asleep(machine)
    show(machine, "docker ps --format '{{.Names}}: {{.Status}}'")
    expect(not stacks.running(machine), "containers run though everything sleeps")
    show(machine, "systemctl is-active wake@clemence.socket")
    expect(" up " in show(machine, REDIRECT), "the redirect of clemence is not back")
    expect("(none)" in show(machine, PROCESSES), "a process of wakechain runs while everything sleeps")


def main():
    trees.prepare(["trixie"])
    built = os.environ.get("WAKECHAIN_TEST_DESTDIR") or trees.wakechain()
    print("Booting Debian 13 with wakechain installed.", flush=True)
    with Machine("trixie", variant="real", wakechain=built, config="users") as machine:
        try:
            demo(machine)
        except Wrong as wrong:
            machine.show_journal()
            print(f"\nWRONG: {wrong}")
            return 1
    print("\nDone: one connection woke three containers, and nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
