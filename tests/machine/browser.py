"""Browser: a Chromium on a machine's network, driven by tests/browser/driver.mjs. What it needs from npm is installed once, into the cache."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import trees

FOLDER = trees.SOURCE / "tests/browser"
SCREENSHOTS = os.environ.get("WAKECHAIN_SCREENSHOTS")


class BrowserError(AssertionError):
    """What was waited for did not come, or could not be done."""


def modules():
    """The folder of node_modules, as package-lock.json says."""
    lock = (FOLDER / "package-lock.json").read_bytes()
    folder = trees.CACHE / f"browser-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FOLDER / name, made)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=made, check=True, timeout=300)
        with contextlib.suppress(OSError):  # somebody else was first
            made.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
    return folder


class Browser:
    def __init__(self, machine, *options):
        command = ["node", str(FOLDER / "driver.mjs"), str(modules()), *options]
        self._process = machine.netns_popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __getattr__(self, name):
        """browser.open(url=…): any command of driver.mjs."""

        def command(**options):
            self._process.stdin.write(json.dumps({"do": name, **options}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if not line:
                raise BrowserError(f"the browser ended at {name}")
            answer = json.loads(line)
            if "error" in answer:
                raise BrowserError(f"{name} {options}: {answer['error']}")
            return answer["value"]

        return command

    def wait(self, expression, timeout=60):
        return self.__getattr__("wait")(expression=expression, timeout=int(timeout * 1000))

    def has(self, text, timeout=60):
        """Waits until the page shows that text."""
        return self.wait(f"document.body && document.body.innerText.includes({json.dumps(text)})", timeout)

    def shows(self, name, **options):
        """A picture for the documentation, if $WAKECHAIN_SCREENSHOTS names a folder for them."""
        if SCREENSHOTS:
            self.screenshot(path=str(Path(SCREENSHOTS).resolve() / f"{name}.png"), **options)
