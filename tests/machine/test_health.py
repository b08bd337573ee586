"""Whether a container is ready, as its own HEALTHCHECK says, and what is never going to be."""

from service_test import ServiceTest

# Of another processor: an ELF header of aarch64.
FOREIGN = r"printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0\1\0\0\0'"
FIVE_EXITS = "echo x >>/tmp/exits; [ $(wc -l </tmp/exits) -gt 5 ] && exec server; echo no database; exit 1"
IMAGE = """FROM sim
USER 1000
WORKDIR /tmp
SHELL ["/bin/sh", "-e", "-c"]
HEALTHCHECK CMD [ "$(id -u):$PWD:$-" = 1000:/tmp:c ] || { echo "$(id -u):$PWD:$-"; exit 1; }
"""

# name: options of its creation, its command (None: the server), healthCheck
CONTAINERS = {
    "h-own": (["-e", "DELAY_MS=500", "--health-cmd", 'test "$(id -u)" = 0 && curl localhost:80'], None, None),
    "h-user": ([], None, {"timeout": 3000}),
    "h-never": (["--health-cmd", "echo GET /health: 500; exit 1", "--health-interval", "1s", "--health-retries", "1"], None,
                {"timeout": 3000}),
    "h-absent": (["--health-cmd", "no-such-program"], None, None),
    "h-exec": ([], None, {"command": "docker exec h-exec no-such-program"}),
    "h-loop": (["--restart", "unless-stopped"], "echo bad configuration; exit 1", {"tcp": 80, "timeout": 90000}),
    "h-five": (["--restart", "always"], FIVE_EXITS, {"tcp": 80}),
    "h-foreign": (["--entrypoint", "/tmp/foreign", "--restart", "always"], "", {"tcp": 80}),
    "h-database": (["-v", "health:/v"], "sleep 6; touch /v/up; exec server", {"tcp": 80}),
    "h-waits": (["-v", "health:/v", "--restart", "always"], "[ -e /v/up ] && exec server; exit 1", {"tcp": 80}),
    "h-once": ([], "echo migrated", {"tcp": 80}),
}  # fmt: skip
PORTS = {name: 9601 + i for i, name in enumerate(CONTAINERS)}


def dependency(name):
    check = CONTAINERS[name][2]
    return {"container": name} | ({"healthCheck": check} if check else {})


def service(name):
    return {"name": name, "port": PORTS[name], "dependencies": [dependency(name)]}


SERVICES = {name: service(name) for name in CONTAINERS}
SERVICES["h-waits"]["dependencies"].append(dependency("h-database"))  # in one step


class Health(ServiceTest):
    config = {"services": SERVICES}

    @classmethod
    def prepare(cls, machine):
        m = machine
        m.docker("network", "create", "health")
        m.run("mkdir /root/image && cat >/root/image/Dockerfile && DOCKER_BUILDKIT=0 docker build -q -t checked /root/image", input=IMAGE)
        for name, (options, command, _) in CONTAINERS.items():
            words = ["server"] if command is None else ["/bin/sh", "-c", command]
            image = "checked" if name == "h-user" else "sim"
            m.docker("create", "--name", name, "--network", "health", "-e", "PORT=80", "-p", f"{PORTS[name]}:80", *options, image, *words)
        m.run(f"{FOREIGN} >/root/foreign; chmod 755 /root/foreign; docker cp /root/foreign h-foreign:/tmp/foreign")

    def setUp(self):
        self.cursor, self.since = self.machine.journal_cursor(), self.machine.now()

    def wake(self, name):
        self.addCleanup(self.sleep, name)
        return self.ask(f"http://127.0.0.1:{PORTS[name]}/", timeout=180)[0]

    def assert_fails(self, name, reason, *words):
        self.assertEqual(self.wake(name), 503)
        status = self.status(name)
        self.assertEqual((status["state"], status["reason"]), ("failed", reason))
        for word in words:
            self.assertIn(word, status["error"])

    def test_own_check_at_our_pace(self):
        """The engine looks 30 s after the start, and knows nothing yet."""
        self.assertEqual(self.wake("h-own"), 200)
        self.assertEqual(self.machine.docker("inspect", "-f", "{{.State.Health.Status}}", "h-own").strip(), "starting")

    def test_own_check_with_shell_user_and_folder(self):
        """As the engine runs it, which leaves the image's SHELL out."""
        self.assertEqual(self.wake("h-user"), 200, self.status("h-user")["error"])

    def test_never_healthy(self):
        self.assert_fails("h-never", "health_check_failed", "not ready after 3.0s", "GET /health: 500", "healthCheck.timeout")

    def test_no_such_program(self):
        self.assert_fails("h-absent", "health_check_failed", "its health check cannot be made: its HEALTHCHECK: exit status 127: ", "healthCheck with a 'command'")
        self.assert_fails("h-exec", "health_check_failed", "exit status 126: OCI runtime exec failed", "healthCheck with a 'command'")

    def test_crash_loop(self):
        self.assert_fails("h-loop", "container_exited", "exited with status 1, 6 times: bad configuration")
        told = [r for r in self.machine.journal("wake@h-loop.service", since_cursor=self.cursor) if "its last lines" in r["MESSAGE"]]
        self.assertEqual(len(told), 1, told)
        self.assert_stopped("h-loop")

    def test_five_exits_are_fine(self):
        self.assertEqual(self.wake("h-five"), 200, self.status("h-five")["error"])

    def test_exits_until_its_database_is_there(self):
        """More than five times, in a step with it."""
        self.assertEqual(self.wake("h-waits"), 200, self.status("h-waits")["error"])

    def test_another_processor(self):
        self.assert_fails("h-foreign", "container_exited", "exec format error; it is made for another processor")
        self.assertLessEqual(len(self.starts(self.since)), 2, "the engine may be faster once")

    def test_one_shot_that_is_not_called_so(self):
        self.assert_fails("h-once", "container_exited", "exited with status 0", "'condition': 'completed'")
