"""The redirect of sleeping ports: flushed, restarted, gone round, killed in the middle, forbidden; it agrees with the state again."""

from service_test import ServiceTest, front_options, required, stacks, users_config

URL = "http://127.0.0.1:8100/"
SOCKET = "wake@memvid.socket"


class RedirectTest(ServiceTest):
    per = "module"
    config = users_config(memvid={**required("memvid"), "idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "memvid-api", 0.1)
        front_options(machine, "--exit-idle-time=200ms")

    def elements(self):
        """What the table says of memvid: the ports that its map's elements name."""
        done = self.machine.run("nft -j list table inet wakechain", check=False)
        return done.stdout.count("memvid") if done.returncode == 0 else 0

    def check_wakes(self, url=URL):
        cursor = self.machine.journal_cursor()
        self.assert_stopped("memvid-api")
        code, page = self.ask(url)
        self.assertEqual((code, page.split()[0]), (200, "memvid-api"), page)
        self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)

    def check_direct(self):
        """Awake: a request that no front sees."""
        self.wait_unit("wake-front@memvid.service", "inactive")
        started = self.machine.show("wake-front@memvid.service", "InvocationID")
        self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.machine.show("wake-front@memvid.service", "InvocationID"), started)


class Firewall(RedirectTest):
    """Somebody flushes the ruleset. The engine's own rules go as well, so the administrator restarts the engine, too."""

    def flush(self, command):
        self.machine.run(command)
        self.machine.run("systemctl reset-failed docker.service; systemctl restart docker.service")

    def tearDown(self):
        self.sleep("memvid")

    def test_restart_of_the_firewall(self):
        m = self.machine
        self.assertIn("flush ruleset", m.read("/etc/nftables.conf"))
        for verb in ("start", "restart", "reload", "stop", "start"):
            self.flush(["systemctl", verb, "nftables.service"])
            # Debian's unit flushes as it stops, too; then the timer is what helps, within a minute.
            if verb != "stop":
                m.wait_for(lambda: self.elements() > 0, 5, what=f"the redirects after {verb}")
                self.check_wakes()
                self.sleep("memvid")
        self.flush(["systemctl", "stop", "nftables.service"])
        m.systemctl("start", "wakechain-settle.service")

    def test_flush_is_noticed(self):
        """By the timer, which is made to come sooner here than once a minute."""
        m = self.machine
        timer = "wakechain-settle.timer"
        self.assertEqual(self.unit_state(timer), "active")
        self.drop_in(
            timer, "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=1s\nAccuracySec=100ms\n"
        )
        m.systemctl("restart", timer)
        self.addCleanup(m.systemctl, "restart", timer)
        cursor = m.journal_cursor()
        self.flush(["nft", "flush", "ruleset"])
        said = m.follow_journal(
            lambda r: r.get("_SYSTEMD_UNIT") == "wakechain-settle.service" and int(r["PRIORITY"]) <= 5,
            20,
            since_cursor=cursor,
        )
        self.assertRegex(said["MESSAGE"], "redirect")
        m.wait_for(lambda: self.elements() > 0, 10)
        self.check_wakes()

    def test_flush_while_awake(self):
        """Nothing is redirected then; asleep, it is again."""
        self.check_wakes()
        self.flush("nft flush ruleset")
        self.sleep("memvid")
        stacks.stop(self.machine)
        self.check_wakes()

    def test_input_policy_drop(self):
        """A redirected packet passes the input chain with a port that nobody opened. That is said, with what helps."""
        m = self.machine
        peer = m.add_peer_host()
        m.run("nft 'add table inet guard; add chain inet guard input { type filter hook input priority 0; policy drop; }'")
        self.addCleanup(m.run, ["nft", "delete", "table", "inet", "guard"])
        m.run("nft 'add rule inet guard input iif lo accept; add rule inet guard input ct state established accept'")
        self.assertEqual(self.ask(f"http://{peer.machine_ipv4}:8100/", timeout=1.5, where=peer)[0], 0)

        done = m.run(["/usr/lib/wakechain/wakechain-redirect", "check"], check=False)
        said = done.stdout + done.stderr
        self.assertRegex(said, "ct status dnat accept", "the check does not name the rule that helps")
        self.assertIn("guard", said)

        m.run("nft insert rule inet guard input ct status dnat accept")
        self.assertEqual(self.ask(f"http://{peer.machine_ipv4}:8100/", where=peer)[0], 200)


class RedirectPort(RedirectTest):
    """28100 is for redirected connections alone."""

    def test_direct_use_is_dropped(self):
        m = self.machine
        peer = m.add_peer_host()
        cursor = m.journal_cursor()
        addresses = (peer.machine_ipv4, f"[{peer.machine_ipv6}]")
        for address in addresses:
            self.assertEqual(self.ask(f"http://{address}:28100/", timeout=1.2, where=peer)[0], 0)
        self.assertEqual(self.records("WAKING", since=cursor), [])
        self.assert_stopped("memvid-api")

        self.assertEqual(self.ask(f"http://{peer.machine_ipv4}:8100/", where=peer)[0], 200)
        self.wait_unit("wake-front@memvid.service", "inactive")
        for address in addresses:
            self.assertEqual(self.ask(f"http://{address}:28100/", timeout=1.2, where=peer)[0], 0)
            self.assertEqual(self.ask(f"http://{address}:8100/", where=peer)[0], 200)
        self.assertEqual(self.unit_state("wake-front@memvid.service"), "inactive")
        self.sleep("memvid")

    def test_socket_stops_and_starts(self):
        """The redirect goes up and down with the socket."""
        m = self.machine
        self.assertGreater(self.elements(), 0)
        m.systemctl("stop", SOCKET)
        m.wait_for(lambda: self.elements() == 0, 2, what="the redirect to go")
        self.assertEqual(self.ask(URL)[0], 0)
        m.systemctl("start", SOCKET)
        m.wait_for(lambda: self.elements() > 0, 2, what="the redirect")
        self.check_wakes()
        self.sleep("memvid")


class Crash(RedirectTest):
    """The waker is killed around each change of the map."""

    def kill_at(self, message, cursor):
        self.follow(message, "memvid", cursor)
        pid = self.machine.show("wake@memvid.service", "MainPID")
        if pid != "0":
            self.machine.run(["kill", "-KILL", pid], check=False)

    def test_killed_when_opening(self):
        cursor = self.machine.journal_cursor()
        client = self.asking(URL)
        self.kill_at("AWAKE", cursor)
        self.assertEqual(self.answered(client)[0], 200)
        self.wait_unit("wake@memvid.service", "active")
        self.check_direct()
        self.sleep("memvid")
        self.check_wakes()
        self.sleep("memvid")

    def test_killed_when_closing(self):
        m = self.machine
        for _ in range(3):
            self.check_wakes()
            cursor = m.journal_cursor()
            stop = m.popen(["systemctl", "stop", "wake@memvid.service"])
            self.kill_at("STOPPING", cursor)
            stop.wait(60)
            # Whatever it came to: the port answers, and by whom it is answered agrees with the state.
            self.assertEqual(self.ask(URL)[0], 200)
            self.wait_unit("wake@memvid.service", "active")
            self.check_direct()
            self.sleep("memvid")
            stacks.stop(m)

    def test_reboot(self):
        m = self.machine
        self.check_wakes()
        m.reboot()
        self.check_wakes()
        self.check_direct()
        m.reboot(power_cut=True)
        self.check_wakes()
        self.check_direct()
        self.sleep("memvid")


class Bindings(RedirectTest):
    """Published on one address: asleep, nobody else's connection reaches it either."""

    @classmethod
    def prepare(cls, machine):
        networks = ["memvid_memvid-network", "monitoring_monitoring"]
        machine.docker("rm", "memvid-api")
        machine.docker(
            *("create", "--name", "memvid-api", "--hostname", "memvid-api", "--network", networks[0]),
            *("-e", "PORT=8100", "-e", "DELAY_MS=100", "-p", "127.0.0.1:8100:8100", "sim", "server"),
        )
        machine.docker("network", "connect", networks[1], "memvid-api")

    def test_loopback_only(self):
        m = self.machine
        peer = m.add_peer_host()
        self.check_wakes()
        self.sleep("memvid")
        # Settling, which learns of the new container, comes after the waker has ended.
        m.wait_for(lambda: "127.0.0.1" in m.read("/var/lib/wakechain/bindings/memvid.json"), what="the address to be known")
        cursor = m.journal_cursor()
        self.assertEqual(self.ask(f"http://{peer.machine_ipv4}:8100/", timeout=1.2, where=peer)[0], 0)
        self.assertEqual(self.records("WAKING", since=cursor), [])
        self.check_wakes()
        self.sleep("memvid")


class NoNftables(RedirectTest):
    """Without the right (or the kernel's part) it is said what to do instead, once, and who settles has failed."""

    def test_says_listen(self):
        m = self.machine
        unit = "wakechain-settle.service"
        cursor = m.journal_cursor()  # it may settle by itself at any time
        self.drop_in(unit, "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_SYS_PTRACE\n")
        for _ in range(3):
            self.fails(["systemctl", "restart", unit])  # `start` would join one that was under way before, with the right
        said = self.records("REDIRECT_FAILED", "memvid", cursor)
        self.assertEqual(len(said), 1)
        self.assertRegex(said[0]["MESSAGE"], "nftables.*'listen'")
        m.run(f"rm /etc/systemd/system/{unit}.d/test.conf; systemctl daemon-reload; systemctl reset-failed {unit}")
        self.settle()
        self.check_wakes()
        self.sleep("memvid")
