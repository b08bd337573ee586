"""A VPN-like container that publishes the ports of programs which have its network: each port's clients are served by its own program, as one service
with all of them and as a service each; a program that is named alone is woken together with the owner of its network."""

from service_test import ServiceTest

OWNER = "c-vpn"
OWN_PORT = 9605
PROGRAMS = {"c-qbit": 9601, "c-sonarr": 9602, "c-radarr": 9603, "c-bazarr": 9604}
LATE = "c-bazarr"


def inner(port):
    return port - 9600 + 8080


def dependency(container, **members):
    return {"container": container, "startOrder": 2, "healthCheck": {"tcp": inner(PROGRAMS[container]), "interval": 200, "timeout": 30000}, **members}


def service(container, dependencies, **members):
    return {"name": container, "port": PROGRAMS[container], "page": "never", "idleTimeout": 0, "dependencies": dependencies, **members}


VPN = {"container": OWNER, "startOrder": 1, "condition": "started"}
STARTED = {"condition": "started", "healthCheck": {}}


def create(machine, name, port, *options, delay=0):
    """It answers HTTP on the inner port with its name."""
    script = f"mkdir -p /www; echo {name} >/www/index.html; sleep {delay}; exec httpd -f -p {inner(port)} -h /www"
    machine.docker("create", "--stop-timeout", "1", "--name", name, *options, "sim", "sh", "-c", script)


class JoinedPorts(ServiceTest):
    per = "class"
    config = {"services": {}}

    @classmethod
    def prepare(cls, machine):
        machine.docker("network", "create", "joined-ports")
        published = [f"{port}:{inner(port)}" for port in (*PROGRAMS.values(), OWN_PORT)]
        create(machine, OWNER, OWN_PORT, "--network", "joined-ports", *(option for text in published for option in ("-p", text)))
        for name, port in PROGRAMS.items():
            create(machine, name, port, "--network", f"container:{OWNER}", delay=3 if name == LATE else 0)

    def use(self, services):
        self.names = list(services)
        self.machine.set_config({"services": services})
        self.machine.systemctl("daemon-reload")
        self.settle()
        self.addCleanup(self.machine.docker, "stop", *PROGRAMS, OWNER)
        self.addCleanup(self.sleep, *services)
        self.since = self.machine.now()

    def serves(self, port):
        code, body = self.ask(f"http://127.0.0.1:{port}/", timeout=60)
        return body.strip() if code == 200 else f"HTTP {code} {body}"

    def assert_each_serves_its_own(self):
        for name, port in PROGRAMS.items():
            self.assertEqual(self.serves(port), name)

    def assert_runs(self, *containers):
        running = set(self.machine.docker("ps", "--format", "{{.Names}}").split())
        self.assertEqual(running, set(containers))

    def test_as_one_service(self):
        """The others are not waited for; a client of the late one's port is held until that accepts."""
        rest = [dependency(name) if name == "c-qbit" else dependency(name, type="optional", **STARTED) for name in PROGRAMS]
        self.use({"all": service("c-qbit", [VPN, *rest])})
        for name in (LATE, "c-radarr"):
            self.assertEqual(self.serves(PROGRAMS[name]), name)
            self.assert_each_serves_its_own()
            self.assertEqual(self.serves(OWN_PORT), OWNER)
            self.sleep("all")
            self.settle()
            self.assert_runs()

    def test_as_a_service_each(self):
        self.use({name: service(name, [VPN, dependency(name)]) for name in PROGRAMS})
        self.each_alone()
        said = self.machine.run("wakectl check --engine", check=False)
        self.assertRegex(said.stdout + said.stderr, f"{OWN_PORT}.*'ports'")

    def test_as_a_service_each_without_the_owner(self):
        self.use({name: service(name, [dependency(name)]) for name in PROGRAMS})
        said = self.machine.run("wakectl check --engine")
        for name in PROGRAMS:
            self.assertRegex(said.stdout + said.stderr, f"services.{name}.*'{OWNER}', which is woken with it")
        self.each_alone()

    def each_alone(self):
        """Who is not asked for sleeps on; the owner runs as long as one of them does."""
        self.assertEqual(self.serves(9602), "c-sonarr")
        self.assertEqual(self.starts(self.since), [OWNER, "c-sonarr"])
        self.settle()
        self.assertEqual(self.serves(9601), "c-qbit")
        self.assert_runs(OWNER, "c-sonarr", "c-qbit")
        self.sleep("c-sonarr")
        self.settle()
        self.assert_runs(OWNER, "c-qbit")
        self.assertEqual(self.serves(9601), "c-qbit")
        self.assert_each_serves_its_own()
        self.assertEqual(self.starts(self.since).count(OWNER), 1)
        self.sleep(*PROGRAMS)
        self.settle()
        self.assert_runs()

    def test_one_alone(self):
        """What else its owner publishes is not its own: those programs are nobody's."""
        m = self.machine
        self.use({"c-radarr": {"name": "c-radarr", "port": 9603, "page": "never", "idleTimeout": 0}})
        self.assertEqual(self.serves(9603), "c-radarr")
        self.assertEqual(self.starts(self.since), [OWNER, "c-radarr"])
        self.assertEqual([d["container"] for d in self.status("c-radarr")["dependencies"]], [OWNER, "c-radarr"])
        self.assertNotIn("ports", self.status("c-radarr"))

        # A killed waker goes on with both.
        self.kill_main("wake@c-radarr.service")
        self.wait_unit("wake@c-radarr.service", "active")
        self.assertEqual(self.serves(9603), "c-radarr")
        self.sleep("c-radarr")
        self.assertEqual(self.ends(self.since)[-2:], ["c-radarr", OWNER])

        # By hand, the owner alone: the program sleeps, is woken, and sleeps, and the owner runs on for whom it was started for.
        m.docker("start", OWNER)
        self.settle()
        self.assertEqual(self.status("c-radarr")["state"], "asleep")
        self.assertEqual(self.serves(9603), "c-radarr")
        self.sleep("c-radarr")
        self.assert_runs(OWNER)
        self.assertEqual(self.serves(9603), "c-radarr")
        # An owner that is started anew cuts it off, and it follows.
        m.docker("restart", "-t0", OWNER)
        self.assertEqual(self.serves(9603), "c-radarr")

    def test_one_without_a_port_alone(self):
        self.use({"bot": {"name": "c-sonarr", "idleTimeout": 0}})
        self.machine.systemctl("start", "wake@bot.service")
        self.assert_runs(OWNER, "c-sonarr")
