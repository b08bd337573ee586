"""Firewall rules that are flushed at bad moments: while a stack wakes, while it is awake, and while it goes to sleep."""

from service_test import ServiceTest, required, stacks, users_config
from test_redirect import SOCKET, URL
from test_redirect import RedirectTest as _RedirectTest

CHECK = "wakechain-settle.service"


class Flush(_RedirectTest):
    """The engine's own rules go with them: on loopback its proxy serves without, but it starts nothing that publishes a port until it
    was restarted itself."""

    per = "class"

    def restart_engine(self):
        self.assert_stopped()
        self.machine.run("systemctl reset-failed docker.service; systemctl restart docker.service")

    def setUp(self):
        # The minute's check comes when the test says so.
        self.machine.systemctl("stop", "wakechain-settle.timer", "wakechain-containers.path")
        self.settle()
        stacks.set_delay(self.machine, "memvid-api", 1.5)
        self.assert_whole("(asleep|failed)")

    def tearDown(self):
        self.sleep("memvid")
        self.machine.systemctl("start", "wakechain-containers.path")
        self.settle()
        self.restart_engine()

    def begin_wake(self):
        """A client is held, and the container that publishes the port starts."""
        m = self.machine
        self.cursor, since = m.journal_cursor(), m.now()
        client = self.asking(URL)
        self.wait_event("memvid-api", "start", since)
        return client

    def assert_whole(self, state):
        """Lifted when awake, up when asleep: the check finds nothing to complain of."""
        self.settle()
        done = self.machine.run(["/usr/lib/wakechain/wakechain-redirect", "check"], check=False)
        line = next(line for line in done.stdout.splitlines() if line.startswith("memvid "))
        self.assertRegex(line, f" {'lifted' if state == 'awake' else 'up'} +{state}$")

    def assert_served(self, *clients):
        """By one wake; and then clients come directly."""
        for client in clients:
            code, page = self.answered(client)
            self.assertEqual((code, page.split()[0]), (200, "memvid-api"))
        self.follow("AWAKE", "memvid", self.cursor)
        self.assert_whole("awake")
        self.check_direct()
        self.assertEqual(len(self.records("WAKING", "memvid", self.cursor)), 1)

    def sleep_and_wake(self):
        self.sleep("memvid")
        self.assert_whole("asleep")
        self.restart_engine()
        self.check_wakes()

    def test_while_waking(self):
        """By hand, without a unit: the container is reached without a redirect, and the next who settles puts it back."""
        client = self.begin_wake()
        self.machine.run("nft flush ruleset")
        self.assert_served(client)
        self.sleep_and_wake()

    def test_firewall_restarted_while_waking(self):
        """Clients that come after it are held, too."""
        client = self.begin_wake()
        self.machine.systemctl("restart", "nftables.service")
        self.machine.wait_for(lambda: self.elements() > 0, 10, what="the redirects")
        self.assert_served(client, self.asking(URL))
        self.sleep_and_wake()

    def test_noticed_while_waking(self):
        """The minute's check comes in the middle of a wake."""
        client = self.begin_wake()
        self.machine.run("nft flush ruleset")
        self.machine.systemctl("start", CHECK)
        self.assertGreater(self.elements(), 0)
        self.assert_served(client, self.asking(URL))

    def packets(self):
        text = self.machine.out("nft list counter inet wakechain service-memvid")
        return int(text.partition("packets ")[2].split()[0])

    def test_firewall_restarted_while_awake(self):
        """What keeps it awake goes on being counted."""
        self.check_wakes()
        self.machine.systemctl("restart", "nftables.service")
        self.machine.wait_for(lambda: self.elements() > 0, 10, what="the redirects")
        self.assert_whole("awake")
        before = self.packets()
        self.check_direct()
        self.assertGreater(self.packets(), before)
        self.sleep_and_wake()

    def test_flushed_while_awake_then_asleep(self):
        """Nobody notices; asleep, it is redirected again."""
        self.check_wakes()
        self.settle()
        self.machine.run("nft flush ruleset")
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.elements(), 0)
        self.sleep("memvid")
        self.machine.wait_for(lambda: self.elements() > 0, 10, what="the redirects")
        self.sleep_and_wake()

    def test_while_going_to_sleep(self):
        """After the redirect was put back: the port is closed until it sleeps, then the next client wakes it."""
        m = self.machine
        self.check_wakes()
        cursor = m.journal_cursor()
        # It does not hear the signal, so that there is a while.
        m.run("kill -STOP $(docker inspect --format '{{.State.Pid}}' memvid-api)")
        stop = m.popen(["systemctl", "stop", "wake@memvid.service"])
        self.follow("STOPPING", "memvid", cursor)
        m.wait_for("nft list chain inet wakechain service-memvid | grep -v names | grep -q redirect", 20, what="the door to close")
        m.run("nft flush ruleset")
        self.assertEqual(self.elements(), 0)
        stop.wait(60)
        self.assert_stopped("memvid-api")
        m.wait_for(lambda: self.elements() > 0, 10, what="the redirects")
        self.assert_listens("memvid")
        self.assert_whole("asleep")
        self.restart_engine()
        self.check_wakes()

    def test_socket_started_after_a_flush(self):
        m = self.machine
        m.run("nft flush ruleset")
        m.systemctl("restart", SOCKET)
        m.wait_for(lambda: self.elements() > 0, 10, what="the redirects")
        self.assert_whole("asleep")
        self.restart_engine()
        self.check_wakes()

    def test_wake_without_the_engines_rules(self):
        """It fails, with the engine's own words; after a restart of the engine the next client wakes it."""
        m = self.machine
        m.run("nft flush ruleset")
        m.systemctl("start", CHECK)
        cursor = m.journal_cursor()
        self.assertEqual(self.ask(URL)[0], 503)
        failed = self.records("FAILED", "memvid", cursor)
        self.assertEqual(failed[-1]["WAKECHAIN_REASON"], "start_failed")
        self.assertIn("iptables", failed[-1]["MESSAGE"])
        # The client has its answer before all is cleared up.
        self.wait_unit("wake@memvid.service", "failed")
        self.assert_stopped()
        self.assert_listens("memvid")
        self.assert_whole("failed")
        self.restart_engine()
        self.machine.systemctl("stop", "wake-front@memvid.service")
        self.check_wakes()


class Idle(ServiceTest):
    """Without anybody's help: flushed while awake, it sleeps when it is idle, and wakes again."""

    config = users_config(memvid={**required("memvid"), "idleTimeout": "3s"})

    def test_sleeps_and_wakes(self):
        m = self.machine
        stacks.set_delay(m, "memvid-api", 0.1)
        for _ in range(2):
            cursor = m.journal_cursor()
            self.assertEqual(self.ask(URL)[0], 200)
            m.run("nft flush ruleset")
            self.follow("ASLEEP", "memvid", cursor)
            self.assert_stopped()
            # Its own rules are gone as well.
            m.run("systemctl reset-failed docker.service; systemctl restart docker.service")
        self.assertEqual(self.ask(URL)[0], 200)
