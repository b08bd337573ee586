"""MachineTest: a unittest class with a booted machine.

    class Clemence(MachineTest):
            variant = "clemence-sim"

            def test_wakes(self):
                    self.machine.systemctl("start", "wake@clemence")

One machine serves all tests of a class, or with `per = "module"` all such classes of a module that ask for the same, or
with `per = "test"` each test has its own. The suite is $WAKECHAIN_TEST_SUITE (`run --suite` sets it).
"""

import os
import sys
import unittest

import stacks
import trees
from machine import PATIENCE, Machine, TimedOut, wait_for

__all__ = ["PATIENCE", "MachineTest", "Machine", "TimedOut", "rounds", "stacks", "trees", "wait_for"]

_modules = {}
_destdir = None


def rounds(everyday, full):
    """How often something is done anew: more often in a full run."""
    return full if os.environ.get("WAKECHAIN_TEST_FULL") else everyday


def destdir():
    """wakechain, built and installed into a folder: once per run. $WAKECHAIN_TEST_DESTDIR names one that is there."""
    global _destdir
    if not _destdir:
        _destdir = os.environ.get("WAKECHAIN_TEST_DESTDIR") or trees.wakechain()
    return _destdir


class MachineTest(unittest.TestCase):
    variant = "real"
    wakechain = True  # installed before the boot
    config = "users"  # "users", a dict, a path, or None
    per = "class"  # "class", "module" or "test"
    machine = None

    longMessage = True
    maxDiff = None

    @classmethod
    def suite(cls):
        return os.environ.get("WAKECHAIN_TEST_SUITE", "trixie")

    @classmethod
    def boot(cls, **kw):
        """A machine as this class describes it. Who calls this closes it (`with`, or addCleanup(machine.close))."""
        settings = {"variant": cls.variant, "config": cls.config, **kw}
        if "wakechain" not in kw and cls.wakechain:
            settings["wakechain"] = destdir()
        machine = Machine(settings.pop("suite", cls.suite()), **settings)
        try:
            cls.prepare(machine)
        except BaseException:
            machine.show_journal()
            machine.close()
            raise
        return machine

    @classmethod
    def prepare(cls, machine):
        """For subclasses: called for each machine right after its boot."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.per == "class":
            cls.machine = cls.boot()
            cls.addClassCleanup(cls.machine.close)
        elif cls.per == "module":
            key = (cls.__module__, cls.suite(), cls.variant, cls.wakechain, repr(cls.config), cls.prepare.__func__)
            if key not in _modules:
                _modules[key] = cls.boot()
                unittest.addModuleCleanup(lambda: _modules.pop(key).close())
            cls.machine = _modules[key]

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        if self.per == "test":
            try:
                self.machine = self.boot()
            except unittest.SkipTest as e:
                result.startTest(self)
                result.addSkip(self, str(e))
                result.stopTest(self)
                return result
            except Exception:
                result.startTest(self)
                result.addError(self, sys.exc_info())
                result.stopTest(self)
                return result
        try:
            super().run(result)
            if result and len(result.failures) + len(result.errors) > before and self.machine and self.machine.leader:
                self.machine.show_journal()
        finally:
            if self.per == "test":
                self.machine.close()
        return result

    # Shorthands

    def succeeds(self, cmd, **kw):
        return self.machine.run(cmd, **kw)

    def fails(self, cmd, **kw):
        done = self.machine.run(cmd, check=False, **kw)
        self.assertNotEqual(done.returncode, 0, f"{cmd!r} succeeded: {done.stdout}")
        return done

    def assert_running(self, *containers):
        running = stacks.running(self.machine)
        self.assertEqual(set(containers) - running, set(), f"running are {running}")

    def assert_stopped(self, *containers):
        self.assertEqual(set(containers or stacks.CONTAINERS) & stacks.running(self.machine), set())
