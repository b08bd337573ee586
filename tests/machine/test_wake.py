"""One connection wakes a sleeping stack, dependencies first; unused, it sleeps again."""

import secrets
import time

from service_test import ServiceTest, dependency, front_options, stacks, users_config, wait_for

URL = "http://127.0.0.1:9002/"


class RealClemence(ServiceTest):
    """WordPress with its database, all stopped; the users' file as it is."""

    variant = "real"

    def test_first_connection(self):
        m = self.machine
        value = "value " + secrets.token_hex(8)
        stacks.set_page_value(m, value)
        self.assert_stopped()
        self.wait_no_process()

        cursor, since = m.journal_cursor(), m.now()
        code, page = self.ask(URL)
        self.assertEqual(code, 200)
        self.assertIn(value, page)
        self.assertIn("</html>", page)
        self.assertEqual(self.starts(since), list(stacks.CLEMENCE))

        # wordpress was started when mysql's check had succeeded, not earlier; and after failures nobody waits on.
        checks = [e for e in self.events(since, "exec_die", containers=["mysql-clemence"]) if e[2] == "0"]
        started = self.events(since, "start", containers=["wordpress-clemence"])
        self.assertLess(checks[0][3], started[0][3], "wordpress was started before mysql was ready")

        self.follow("AWAKE", "clemence", cursor)
        wakes = self.records("WAKING", since=cursor)
        self.assertEqual([r["WAKECHAIN_SERVICE"] for r in wakes], ["clemence"])
        self.assertIn("trigger: connection", wakes[0]["MESSAGE"])
        self.assertEqual(wakes[0]["_SYSTEMD_UNIT"], "wake@clemence.service")
        story = [r["MESSAGE"] for r in m.journal("wake@clemence", cursor) if "dependency" in r["MESSAGE"]]
        for container in stacks.CLEMENCE:
            self.assertTrue(any(f"dependency {container} ready after" in line for line in story), story)
        self.assertEqual({r["WAKECHAIN_WAKE_ID"] for r in self.records("AWAKE", "clemence", cursor)},
                         {wakes[0]["WAKECHAIN_WAKE_ID"]})  # fmt: skip

        self.check_direct(value)

    def check_direct(self, value):
        """Awake: nothing of ours stands between a client and the container, which sees the client's own address."""
        m = self.machine
        self.wait_unit("wake-front@clemence.service", "inactive")
        peer = m.add_peer_host()
        marker = secrets.token_hex(8)
        for address in (peer.machine_ipv4, f"[{peer.machine_ipv6}]"):
            code, page = self.ask(f"http://{address}:9002/", "-A", marker, where=peer)
            self.assertEqual(code, 200)
            self.assertIn(value, page)
        self.assertIn(value, m.http("http://[::1]:9002/"))
        self.assertEqual(self.unit_state("wake-front@clemence.service"), "inactive")

        logged = [line for line in m.docker("logs", "nginx-clemence").splitlines() if marker in line]
        self.assertEqual(len(logged), 2)
        # The engine has no IPv6 network: there docker-proxy stands in between, as it does without us.
        self.assertEqual(logged[0].split()[0], peer.ipv4)


class Origins(ServiceTest):
    """Whoever connects wakes it: from the machine, a container, another host; by IPv4 and IPv6."""

    config = users_config(clemence={"idleTimeout": "10min"})

    @classmethod
    def prepare(cls, machine):
        stacks.set_delay(machine, "wordpress-clemence", 0.2)

    def check_wakes(self, url, where=None):
        cursor = self.machine.journal_cursor()
        self.assert_stopped(*stacks.CLEMENCE)
        code, page = self.ask(url, where=where)
        self.assertEqual(code, 200, page)
        self.assertRegex(page, "^nginx-clemence ")
        self.assertEqual(len(self.records("WAKING", "clemence", cursor)), 1)
        self.assert_running(*stacks.CLEMENCE)
        self.sleep("clemence")

    def test_loopback(self):
        self.check_wakes("http://127.0.0.1:9002/")

    def test_loopback_ipv6(self):
        self.check_wakes("http://[::1]:9002/")

    def test_other_host(self):
        peer = self.machine.add_peer_host()
        self.check_wakes(f"http://{peer.machine_ipv4}:9002/", peer)
        self.check_wakes(f"http://[{peer.machine_ipv6}]:9002/", peer)

    def test_container(self):
        """By the gateway of its network: a container of another stack."""
        m = self.machine
        m.docker("start", "rq-exporter-whisperx")
        self.addCleanup(m.docker, "stop", "rq-exporter-whisperx")
        gateway = m.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "databases-shared").strip()
        self.assert_stopped(*stacks.CLEMENCE)
        page = m.docker("exec", "rq-exporter-whisperx", "curl", "-f", f"http://{gateway}:9002/")
        self.assertRegex(page, "^nginx-clemence ")
        self.sleep("clemence")


class Idle(ServiceTest):
    """Redirect mode: clients go to the container itself, and are seen nevertheless."""

    IDLE = 3
    config = users_config(clemence={"idleTimeout": IDLE * 1000})
    for container in stacks.CLEMENCE:
        dependency(config, "clemence", container)["healthCheck"]["interval"] = 200
    del container

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=200ms")

    def setUp(self):
        self.addCleanup(self.sleep, "clemence")

    def test_short_requests_keep_it_awake(self):
        m = self.machine
        cursor = m.journal_cursor()
        self.assertEqual(self.ask(URL)[0], 200)
        self.follow("AWAKE", "clemence", cursor)
        for _ in range(7):
            time.sleep(self.IDLE / 3)
            last = time.time()
            self.assertEqual(self.ask(URL)[0], 200)
        self.assertEqual(self.records("STOPPING", "clemence", cursor), [], "it went to sleep under a client's feet")
        self.assertEqual(len(self.records("WAKING", "clemence", cursor)), 1)

        record = self.follow("STOPPING", "clemence", cursor)
        quiet = int(record["__REALTIME_TIMESTAMP"]) / 1e6 - last
        self.assertGreaterEqual(quiet, self.IDLE)
        self.assertLess(quiet, self.IDLE + 5)
        self.follow("ASLEEP", "clemence", cursor)
        self.check_asleep()

    def test_an_open_connection_keeps_it_awake(self):
        m = self.machine
        cursor = m.journal_cursor()
        self.assertEqual(self.ask(URL)[0], 200)
        self.wait_unit("wake-front@clemence.service", "inactive")
        code = "import socket, sys; s = socket.create_connection(('127.0.0.1', 9002)); print('connected', flush=True)\n"
        holder = m.netns_popen(["python3", "-c", code + "sys.stdin.read()"], stdin=-1, stdout=-1)
        self.assertEqual(holder.stdout.readline(), "connected\n")
        time.sleep(self.IDLE * 1.7)
        self.assertEqual(self.records("STOPPING", "clemence", cursor), [])
        holder.communicate("")
        self.follow("ASLEEP", "clemence", cursor)
        self.check_asleep()

    def check_asleep(self):
        """Nothing of ours runs, and PID 1 holds the sockets."""
        self.wait_unit("wake@clemence.service", "inactive")
        self.wait_unit("wake-front@clemence.service", "inactive")
        self.wait_no_process()
        self.assert_stopped(*stacks.CLEMENCE)
        self.assertEqual(self.status("clemence")["state"], "asleep")
        shown = self.sockets()
        self.assertIn("[::]:29002", shown["wake@clemence.socket"])
        self.assertIn("/run/wakechain/control/clemence.sock", shown["wake-control@clemence.socket"])
        wait_for(lambda: not self.machine.run("ps -eo args | grep -v grep | grep wakechain", check=False).stdout, 10)
