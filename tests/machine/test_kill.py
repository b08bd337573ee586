"""SIGKILL: of the waker while it wakes and while the stack is awake, and of the front. Nothing is started or stopped twice."""

from service_test import ServiceTest, stacks, users_config

URL = "http://127.0.0.1:9002/"
WAKER, FRONT = "wake@clemence.service", "wake-front@clemence.service"


class Kill(ServiceTest):
    config = users_config(clemence={"idleTimeout": "10min"})

    def setUp(self):
        self.assert_stopped()
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()
        self.addCleanup(self.sleep, "clemence")

    def assert_untouched(self):
        """Each container was started once, in order, and none was stopped."""
        self.assertEqual(self.starts(self.since), list(stacks.CLEMENCE))
        self.assertEqual(self.events(self.since, "kill", "stop", "die", "restart"), [])

    def assert_owned(self):
        """Whoever took over knows what to stop."""
        self.machine.systemctl("stop", WAKER)
        self.assert_stopped(*stacks.CLEMENCE)

    def check_waking(self, container, action):
        """Killed when the engine tells of this."""
        client = self.asking(URL)
        self.wait_event(container, action, self.since)
        killed = self.kill_main(WAKER)
        code, page = self.answered(client)
        self.assertEqual(code, 200, page)
        self.wait_unit(WAKER, "active")
        self.assertNotEqual(int(self.machine.show(WAKER, "MainPID")), killed)
        self.assertEqual(len(self.records("TAKEN_OVER", "clemence", self.cursor)), 1)
        self.assertEqual(len({r["WAKECHAIN_WAKE_ID"] for r in self.records("AWAKE", "clemence", self.cursor)}), 1)
        self.assert_untouched()
        self.assert_owned()

    def test_waker_after_first_start(self):
        self.check_waking("mysql-clemence", "start")

    def test_waker_while_checking(self):
        self.check_waking("wordpress-clemence", "exec_start")

    def test_waker_by_hand(self):
        """Without a front that would ask again."""
        start = self.machine.popen(["systemctl", "start", WAKER])
        self.wait_event("wordpress-clemence", "exec_start", self.since)
        self.kill_main(WAKER)
        start.wait(30)  # what it returns depends on the version of systemd: the job failed, its restart goes on
        self.wait_unit(WAKER, "active")
        self.assert_untouched()
        self.assert_owned()

    def test_waker_awake(self):
        m = self.machine
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit(WAKER, "active")
        for _ in range(3):
            killed = self.kill_main(WAKER)
            self.assertEqual(self.ask(URL)[0], 200)
            m.wait_for(lambda pid=killed: m.show(WAKER, "MainPID") not in ("0", str(pid)), 20)
            self.wait_unit(WAKER, "active")
        self.assertEqual(self.status("clemence")["state"], "awake")
        self.assertEqual(len(self.records("TAKEN_OVER", "clemence", self.cursor)), 3)
        self.assert_untouched()
        self.assert_owned()

    def test_front_while_waking(self):
        """Its client is lost (until the descriptor store keeps them); the wake and the next client are not."""
        client = self.asking(URL)
        self.wait_event("wordpress-clemence", "start", self.since)
        self.kill_main(FRONT)
        self.answered(client)
        code, page = self.ask(URL)
        self.assertEqual(code, 200, page)
        self.assertEqual(len(self.records("WAKING", "clemence", self.cursor)), 1)
        self.assert_untouched()


class KillInProxyMode(ServiceTest):
    config = users_config(clemence={"idleTimeout": "10min", "listen": ["9102"]})

    def test_front_awake(self):
        url = "http://127.0.0.1:9102/"
        since = self.machine.now()
        self.assertEqual(self.ask(url)[0], 200)
        for _ in range(5):
            self.kill_main(FRONT)
            self.assertEqual(self.ask(url)[0], 200)
        self.assertEqual(self.starts(since), list(stacks.CLEMENCE))
        self.assertEqual(self.ends(since), [])
        self.assert_listens("clemence")
