"""The machine is rebooted, or loses its power, while stacks are awake and while one wakes."""

from fault_test import MEMVID, URL, FaultTest, quick_config, stacks

NEXTCLOUD = "http://127.0.0.1:8080/"
AGAIN = {*stacks.CLEMENCE, "memvid-api"}  # started again by the engine at boot, if they ran


class Reboot(FaultTest):
    """clemence and memvid are awake, nextcloud is being woken."""

    per = "test"
    config = quick_config("clemence", "memvid", "nextcloud", memvid={"idleTimeout": "6s"})

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        machine.docker("update", "--restart", "unless-stopped", *AGAIN)
        stacks.set_delay(machine, "nextcloud", 3)

    def setUp(self):
        self.assert_sound()
        self.assert_served(URL, MEMVID)
        since = self.machine.now()
        self.asking(NEXTCLOUD)
        self.wait_event("nextcloud", "exec_start", since)

    def check_boot(self):
        """Every socket listens, whatever else is."""
        self.assertNotIn("ordering cycle", self.machine.journal(json=False))
        sockets = self.sockets()
        for name in self.services():
            self.assertIn(f"wake@{name}.socket", sockets)
            self.assertIn(f"wake-control@{name}.socket", sockets)

    def test_reboot(self):
        """Stacks are put to sleep as the machine goes down, and so the engine starts none of them."""
        self.machine.reboot()
        self.check_boot()
        self.assert_sound()
        self.assert_served(URL, MEMVID, NEXTCLOUD)
        self.sleep(*self.services())
        self.assert_sound()

    def test_power_cut(self):
        """What the engine starts again is taken as it is: clemence, to which a client comes, and memvid, to which nobody comes, and which
        was ours before: it is ours after the boot, and sleeps."""
        m = self.machine
        m.reboot(power_cut=True)
        since = m.now()
        self.check_boot()
        running = stacks.running(m) - {"redis-shared", "memvid-ui"}
        self.assertLessEqual(running, AGAIN, "what memvid has is started for it, and nothing else")
        self.assertLessEqual(set(stacks.CLEMENCE), running)
        self.assert_served(URL, NEXTCLOUD)
        with self.subTest("taken as it is"):
            self.assertEqual(set(self.starts(since)) & AGAIN, set(), "it ran already")
        with self.subTest("memvid"):
            m.wait_for(lambda: "memvid-api" not in stacks.running(m), 30, what="memvid to sleep")
        with self.subTest("clemence"):
            self.wait_unit("wake@clemence.service", "active")
            self.assert_running(*stacks.CLEMENCE)
        self.assert_sound("clemence", "nextcloud")
        self.sleep(*self.services())
        self.assert_sound()
        self.assert_served(URL, MEMVID, NEXTCLOUD)
