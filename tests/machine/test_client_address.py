"""Who the client is: a real nginx and a real haproxy behind the front tell whom the PROXY header names; whom the front ignores, and
real proxies with health checks before it."""

import ipaddress
import shutil
import subprocess
import tempfile
from pathlib import Path

from service_test import ServiceTest, front_options, required, users_config, wait_for

NGINX = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:9101 proxy_protocol;
        location / {{ return 200 "nginx <$proxy_protocol_addr> <$proxy_protocol_port> <$proxy_protocol_server_port>"; }}
    }}
}}
"""
HAPROXY = """defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend asked
    bind 127.0.0.1:9102 accept-proxy
    http-request return status 200 content-type text/plain lf-string "haproxy <%ci> <%cp> <%fp>"
"""
SERVERS = {
    "nginx": (9101, NGINX, ["nginx", "-c", "{file}"]),
    "haproxy": (9102, HAPROXY, ["haproxy", "-db", "-f", "{file}"]),
}
PORTS = {("nginx", "v1"): 8301, ("nginx", "v2"): 8302, ("haproxy", "v1"): 8303, ("haproxy", "v2"): 8304}
# Before the front, with active health checks; nginx has none but by what becomes of requests.
BEFORE_NGINX = """daemon off; master_process off; pid {folder}/before.pid; error_log stderr notice; events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream stack {{ server 127.0.0.1:8200 max_fails=1 fail_timeout=60s; server 127.0.0.1:1 down; }}
    server {{ listen 127.0.0.1:9111; location / {{ proxy_pass http://stack; proxy_next_upstream error timeout http_503; }} }}
}}
"""
BEFORE_HAPROXY = """defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend before
    bind 127.0.0.1:9112
    default_backend stack
backend stack
    option httpchk GET /health
    server one 127.0.0.1:8200 check inter 50ms fall 2 rise 1
"""
BEFORE_CADDY = """{{
    admin off
    auto_https off
    storage file_system {folder}
}}
http://127.0.0.1:9113 {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:8200 {{
        health_uri /health
        health_interval 50ms
        health_timeout 5s
        transport http {{
            keepalive off
        }}
    }}
}}
"""
BEFORE = {
    "nginx": (9111, BEFORE_NGINX, ["nginx", "-c", "{file}"]),
    "haproxy": (9112, BEFORE_HAPROXY, ["haproxy", "-db", "-f", "{file}"]),
    "caddy": (9113, BEFORE_CADDY, ["caddy", "run", "--config", "{file}", "--adapter", "caddyfile"]),
}
HOSTILE = ['say "hi" %n \\ it\'s $HOME ${HOME} $$', "--control=/tmp/x", "a  b\\", "ünï; #", '" --page=always "']


def stack(**members):
    check = {"tcp": 8100, "interval": 100}
    return {
        "name": "memvid-api",
        "network": "memvid_memvid-network",
        "dependencies": [{"container": "memvid-api", "healthCheck": check}],
        **members,
    }


def run_proxies(cls, machine, proxies):
    """{name: (port, text of its file, command)}; returns when all of them listen."""
    folder = Path(tempfile.mkdtemp(prefix="wakechain-address-"))
    cls.addClassCleanup(shutil.rmtree, folder)
    folder.chmod(0o755)
    for name, (_, text, command) in proxies.items():
        file = folder / name
        file.write_text(text.format(folder=folder))
        command = ["env", f"HOME={folder}", *(word.format(file=file) for word in command)]
        process = machine.netns_popen(command, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.kill)
    for port, *_ in proxies.values():
        wait_for(lambda port=port: machine.netns_run(["ss", "-Hltn", f"sport = {port}"]).stdout, 30)


class ClientAddress(ServiceTest):
    config = {
        "services": {
            f"{server}-{version}": stack(
                listen=[str(port), f"/run/{server}-{version}.sock"],
                backend=f"127.0.0.1:{SERVERS[server][0]}",
                proxyProtocol=version,
            )
            for (server, version), port in PORTS.items()
        }
    }

    @classmethod
    def prepare(cls, machine):
        run_proxies(cls, machine, SERVERS)

    def test_ipv4_and_ipv6(self):
        peer = self.machine.add_peer_host()
        for (server, version), port in PORTS.items():
            ways = ((peer.machine_ipv4, peer.ipv4, 20000), (f"[{peer.machine_ipv6}]", peer.ipv6, 21000))
            for address, own, offset in ways:
                with self.subTest(server=server, version=version, address=address):
                    # The local port is chosen, to be found again.
                    local = str(port + offset)
                    said = peer.run(["curl", "-sS", "--max-time", "60", "--local-port", local, f"http://{address}:{port}/"])
                    self.assertEqual(said.stdout, f"{server} <{ipaddress.ip_address(own)}> <{local}> <{port}>")

    def test_unix(self):
        """Such a client has no address; the request gets through all the same."""
        for server, version in PORTS:
            with self.subTest(server=server, version=version):
                path = self.machine.path(f"/run/{server}-{version}.sock")
                said = self.machine.netns_run(["curl", "-sS", "--max-time", "60", "--unix-socket", str(path), "http://x/"])
                self.assertRegex(said.stdout, f"^{server} <")


class Ignored(ServiceTest):
    """In proxy mode: a monitor wakes nothing, reaches what is awake, and keeps nothing awake."""

    config = {
        "services": {
            "memvid": stack(
                listen=["8200"],
                backend="memvid-api:8100",
                idleTimeout="8s",
                ignore={"userAgents": ["monitor", *HOSTILE], "paths": ["/health"]},
            )
        }
    }

    def monitor(self):
        """Status as a monitor sees it, and as somebody does who asks for what monitors ask for."""
        url = "http://127.0.0.1:8200"
        return self.ask(f"{url}/", "-A", "Some Monitor/1.0")[0], self.ask(f"{url}/health?live")[0]

    def test_a_monitor_wakes_nothing_and_keeps_nothing_awake(self):
        m = self.machine
        cursor = m.journal_cursor()
        self.assertEqual(self.monitor(), (503, 503))
        self.assertEqual(self.records("WAKING", "memvid", cursor), [])

        # The words of the configuration, through the unit file and systemd's own splitting.
        pid = m.show("wake-front@memvid.service", "MainPID")
        words = m.path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") if pid != "0" else []
        for text in HOSTILE:
            self.assertIn(f"--ignore-user-agent={text}", words)
        self.assertEqual(words[-3:-1], ["--", "memvid"])

        self.assertEqual(self.ask("http://127.0.0.1:8200/")[0], 200)
        self.assertEqual(self.monitor(), (200, 200))
        # It asks all the time, is served, and the stack sleeps all the same.
        asking = "while :; do curl -s -o /dev/null -w '%{http_code}\\n' -A 'Some Monitor/1.0' http://127.0.0.1:8200/; sleep .1; done"
        poll = m.popen(["sh", "-c", asking], stdout=subprocess.PIPE)
        self.follow("ASLEEP", "memvid", cursor)
        poll.kill()
        seen = poll.communicate()[0].split()
        self.assertGreater(seen.count("200"), 3)
        self.assertLessEqual(set(seen), {"200", "503"})
        self.wait_no_process()
        self.assertEqual(self.monitor(), (503, 503))
        self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)


class ProxyChecks(ServiceTest):
    """Proxies that let nobody through while their health check fails: it is ignored, and passes."""

    config = {
        "services": {
            "memvid": stack(
                listen=["8200"],
                backend="memvid-api:8100",
                idleTimeout="1s",
                ignore={"paths": ["/health"], "answer": 200},
            )
        }
    }

    @classmethod
    def prepare(cls, machine):
        run_proxies(cls, machine, BEFORE)

    def test_proxies_let_clients_through_and_the_stack_sleeps(self):
        m = self.machine
        done = m.run(["curl", "-sSi", "http://127.0.0.1:8200/health"]).stdout
        self.assertRegex(done, "(?s)^HTTP/1.1 200 OK\n.*\nX-Wakechain: asleep\n")
        for proxy, (port, *_) in BEFORE.items():
            with self.subTest(proxy):
                cursor = m.journal_cursor()
                self.assertEqual(self.ask(f"http://127.0.0.1:{port}/", timeout=60)[0], 200)
                # Their checks go on all the time.
                self.follow("ASLEEP", "memvid", cursor, timeout=60)
                self.assertEqual(len(self.records("WAKING", "memvid", cursor)), 1)


class WhoMayConnect(ServiceTest):
    """allow and deny: systemd keeps their packets from the sockets, asleep and awake."""

    config = {
        "services": {
            "denied": stack(listen=["8200"], backend="memvid-api:8100", deny=["198.18.0.0/15"]),
            "allowed": stack(listen=["8201"], backend="memvid-api:8100", allow=["127.0.0.0/8"]),
        }
    }

    def test_who_is_kept_out_wakes_nothing(self):
        m = self.machine
        peer = m.add_peer_host()
        for service, port in (("denied", 8200), ("allowed", 8201)):
            with self.subTest(service):
                cursor = m.journal_cursor()
                outside = ["curl", "-sS", "--max-time", "2", f"http://{peer.machine_ipv4}:{port}/"]
                self.assertEqual(peer.run(outside, check=False).returncode, 28, "not silence")
                self.assertEqual(self.records("WAKING", service, cursor), [])
                self.assertEqual(self.ask(f"http://127.0.0.1:{port}/")[0], 200)
                self.assertEqual(peer.run(outside, check=False).returncode, 28, "not silence")


class RedirectIgnored(ServiceTest):
    """In redirect mode, where connections to an awake stack do not pass through us."""

    variant = "clemence-sim"
    config = users_config(memvid={**required("memvid"), "idleTimeout": "4s", "ignore": {"addresses": ["198.18.0.0/15"]}})

    @classmethod
    def prepare(cls, machine):
        front_options(machine, "--exit-idle-time=200ms")

    def check_sleeps_beside(self, poll):
        """Woken by somebody else, the stack goes to sleep although poll() goes on being answered."""
        m = self.machine
        cursor = m.journal_cursor()
        self.assertEqual(self.ask("http://127.0.0.1:8100/")[0], 200)
        answered = 0
        while not self.records("STOPPING", "memvid", cursor):
            answered += poll()
        self.assertGreater(answered, 1)
        self.follow("ASLEEP", "memvid", cursor, timeout=60)
        self.wait_no_process()

    def test_an_ignored_address_wakes_nothing_and_keeps_nothing_awake(self):
        peer = self.machine.add_peer_host()
        self.assertTrue(peer.ipv4.startswith("198.18."), peer.ipv4)
        url = f"http://{peer.machine_ipv4}:8100/"
        cursor = self.machine.journal_cursor()
        self.assertEqual(self.ask(url, where=peer)[0], 503)
        self.assertEqual(self.records("WAKING", "memvid", cursor), [])
        self.check_sleeps_beside(lambda: self.ask(url, where=peer)[0] == 200)

    def test_a_container_that_polls_its_own_public_address_keeps_nothing_awake(self):
        m = self.machine
        peer = m.add_peer_host()
        url = f"http://{peer.machine_ipv4}:8100/"
        state = "{{.State.Pid}}"

        def poll():
            pid = m.docker("inspect", "--format", state, "memvid-api").strip()
            return m.run(["nsenter", "--target", pid, "--net", "curl", "-fsS", url], check=False).returncode == 0

        self.check_sleeps_beside(poll)
