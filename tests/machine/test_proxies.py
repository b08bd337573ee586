"""Reverse proxies that ask by themselves whether their servers live, on the host and in a container: what wakes a stack, what does not, and what
keeps it awake. docs/administration.md has it as a table."""

from service_test import ServiceTest, wait_for

NETWORK = "proxy"
HEALTH = {"paths": "/health", "answer": 200}

# Each with a container of its name, which sleeps after two seconds. "plain" and "open" wakechain knows nothing of the proxy for.
HOST = {"plain": "127.0.0.1:9811", "told": "127.0.0.1:9812", "front": "127.0.0.1:9813"}
CONTAINER = {"open": "open:80", "named": "named:80"}
WOKEN = {"plain", "open"}

HAPROXY = """
defaults
    mode http
    timeout connect 1m
    timeout client 1m
    timeout server 1m
    timeout check 2s
    {httpchk}
resolvers engine
    nameserver its 127.0.0.11:53
    hold valid 1s
"""
HAPROXY_SERVER = """
listen {name}
    bind :{port}
    http-request return status 200 if {{ path /ready }}
    server {name} {target} {check}
"""
CADDY = """
{
    admin off
    auto_https off
}
"""
CADDY_SERVER = """
:{port} {{
    respond /ready 200
    reverse_proxy {target} {{
        {check}
        transport http {{
            keepalive off
        }}
    }}
}}
"""
NGINX = """
user root;
pid /tmp/nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path /tmp;
    %s
}
"""
NGINX_SERVER = """
    server {{
        listen {port};
        location / {{ proxy_pass http://{target}; }}
        location = /ready {{ return 200; }}
    }}
"""
COMMANDS = {
    "nginx": ["/usr/sbin/nginx", "-g", "daemon off;", "-c"],
    "haproxy": ["/usr/sbin/haproxy", "-db", "-f"],
    "caddy": ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config"],
}


def service(name, **members):
    ready = {"container": name, "healthCheck": {"tcp": 80, "interval": 200}}
    return {"name": name, "network": NETWORK, "idleTimeout": "2s", "page": "never", "dependencies": [ready], **members}


class Proxies(ServiceTest):
    per = "class"
    config = {
        "services": {
            "plain": service("plain", port=9811),
            "told": service("told", port=9812, ignore=HEALTH),
            "front": service("front", port=9813, listen="127.0.0.1:9813", backend="front:80", ignore=HEALTH),
            "open": service("open", names=True),
            "named": service("named", names=True, ignore=HEALTH),
        }
    }

    @classmethod
    def prepare(cls, machine):
        m = machine
        m.docker("network", "create", NETWORK)
        published = {"plain": ["-p", "9811:80"], "told": ["-p", "9812:80"]}
        for name in cls.config["services"]:
            options = ["--hostname", name, "--network", NETWORK, "--expose", "80", "-e", "PORT=80"]
            m.docker("create", "--name", name, *options, *published.get(name, []), "sim", "server")
        m.systemctl("restart", "wakechain-redirect.service")
        cls.image = m.docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "real").strip()

    def setUp(self):
        self.cursor = self.machine.journal_cursor()
        self.addCleanup(self.sleep, *self.config["services"])
        self.ports = {}

    # The proxies

    def start(self, program, head, server, **words):
        """One on the host, for what is reached there, and one in a container, for names. A server has `words`, or what one that is a function
        says for it."""
        m = self.machine
        for targets in (HOST, CONTAINER):
            servers = []
            for name, target in targets.items():
                self.ports[name] = 8100 + len(self.ports)
                own = {key: word(name) if callable(word) else word for key, word in words.items()}
                servers.append(server.format(name=name, target=target, port=self.ports[name], **own))
            text = head % "".join(servers) if "%s" in head else head + "".join(servers)
            m.write(f"/opt/proxies/{'host' if targets is HOST else 'container'}.conf", text)

        self.addCleanup(self.stop)
        command = COMMANDS[program]
        confined = [f"RootDirectory={self.image}", "MountAPIVFS=yes", "BindReadOnlyPaths=/opt/proxies:/mnt"]
        confined += ["TemporaryFileSystem=/tmp /run /var/lib/nginx /root", "Environment=HOME=/root"]
        m.run(["systemd-run", "--unit=proxy", *(f"--property={p}" for p in confined), *command, "/mnt/host.conf"])
        published = [word for name in CONTAINER for word in ("-p", f"{self.ports[name]}:{self.ports[name]}")]
        m.docker("run", "-d", "--name", "proxy", "--network", NETWORK, "-v", "/opt/proxies:/mnt:ro", *published, "real", *command, "/mnt/container.conf")
        for name in self.ports:
            wait_for(lambda: self.ask(self.url(name) + "ready", timeout=5)[0] == 200, 30, what=f"the proxy of {name}")

    def stop(self):
        self.machine.docker("rm", "-f", "proxy", check=False)
        self.machine.run(["systemctl", "stop", "proxy.service"], check=False)

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}/"

    # What becomes of the stacks

    def woken(self):
        return {record["WAKECHAIN_SERVICE"] for record in self.records("WAKING", since=self.cursor)}

    def assert_serves(self, name):
        """Its server, if it is believed dead, comes to life by itself; one that only sleeps is believed alive."""

        def answered():
            code, page = self.ask(self.url(name))
            self.assertIn(code, (200, 503) if name in WOKEN else (200,), page)
            return page.split()[0] if code == 200 else None

        self.assertEqual(wait_for(answered, 60, what=f"an answer of {name}"), name)

    def check(self, woken, kept):
        """While they are only asked by the proxies: these are woken; and after a client, those stay awake."""
        for name in woken:
            self.follow("AWAKE", name, self.cursor)
        self.remain(3, lambda: self.woken() == woken, "woken by somebody else")
        for name in self.ports:
            with self.subTest(name):
                self.assert_serves(name)
        for name in set(self.ports) - kept:
            self.follow("ASLEEP", name, self.cursor)
        self.remain(4, lambda: not {r["WAKECHAIN_SERVICE"] for r in self.records("STOPPING", since=self.cursor)} & kept, "went to sleep")
        # And again, with a proxy that has been asking meanwhile.
        for name in set(self.ports) - kept:
            self.assert_serves(name)
        self.stop()
        for name in self.ports:
            self.wait_state(name, "asleep")

    def test_nginx(self):
        """Without Plus it asks nobody by itself."""
        self.start("nginx", NGINX, NGINX_SERVER)
        self.check(woken=set(), kept=set())

    def test_haproxy(self):
        self.start("haproxy", HAPROXY.format(httpchk=""), HAPROXY_SERVER, check="")
        self.check(woken=set(), kept=set())

    def test_haproxy_connects(self):
        """And resets the connection before it is complete: nobody gets to see it, but its first packet is counted."""
        head = HAPROXY.format(httpchk="")
        self.start("haproxy", head, HAPROXY_SERVER, check="check inter 500ms")
        self.check(woken=set(), kept={*HOST, *CONTAINER} - {"front"})

    def test_haproxy_asks(self):
        """In the container by resolvers of its own, which ask again and again."""
        head = HAPROXY.format(httpchk="option httpchk GET /health")
        resolved = " resolvers engine init-addr none"
        self.start("haproxy", head, HAPROXY_SERVER, check=lambda name: "check inter 500ms" + (resolved if name in CONTAINER else ""))
        self.check(woken=WOKEN, kept={*HOST, *CONTAINER} - {"front"})

    def test_caddy_asks(self):
        check = "health_uri /health\n        health_interval 500ms\n        health_timeout 2s"
        self.start("caddy", CADDY, CADDY_SERVER, check=check)
        self.check(woken=WOKEN, kept={*HOST, *CONTAINER} - {"front"})
