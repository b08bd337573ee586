"""wakectl import: somebody has stacks under compose and no dependencies.json. What the import writes is checked, put to use as the manual says, and
the first connection wakes each stack, in the order of its depends_on. docker-compose 1.x (bookworm) does not write that on containers: its files tell."""

import json
import re

from service_test import ServiceTest
from test_udp import GAME as GAME_CLIENT

SHOP = """\
name: shop
services:
  web:
    image: sim
    environment: {PORT: "80", DELAY_MS: "200"}
    ports: ["9711:80"]
    stop_grace_period: 1s
    depends_on:
      db: {condition: service_healthy}
      setup: {condition: service_completed_successfully}
  db:
    image: sim
    environment: {PORT: "5000", DELAY_MS: "700"}
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost:5000/"], interval: 30s}
  setup:
    image: sim
    command: ["true"]
    depends_on: [db]
  worker:
    image: sim
    environment: {PORT: "5001"}
    stop_grace_period: 90s
    depends_on: [web]
"""
NOTES = """\
name: notes
services:
  app:
    image: sim
    container_name: notes-app
    environment: {PORT: "80", DB_HOST: "notes_db"}
    ports: ["9712:80", "127.0.0.1:9713:81"]
    stop_grace_period: 1s
  db:
    image: sim
    container_name: notes_db
    environment: {PORT: "5000"}
    stop_grace_period: 1s
"""
GAME = """\
name: game
services:
  server:
    image: sim
    environment: {PORT: "80,53"}
    ports: ["9714:53/udp"]
    stop_grace_period: 1s
"""
CONFIG = "/etc/wakechain/dependencies.json"
FOLDER = "/etc/wakechain/dependencies.d"


class Import(ServiceTest):
    per = "class"
    config = None
    variant = "clemence-sim"

    @classmethod
    def prepare(cls, machine):
        tool = "docker compose" if cls.suite() == "trixie" else "docker-compose"
        for name, text in (("shop", SHOP), ("notes", NOTES), ("game", GAME)):
            if cls.suite() == "bookworm":
                text = "version: '2.4'\n" + text.split("\n", 1)[1].replace("service_completed_successfully", "service_started")
            machine.write(f"/opt/{name}/docker-compose.yml", text)
            machine.run(f"cd /opt/{name} && {tool} up -d", timeout=120)

    def setUp(self):
        self.machine.run("rm -rf /etc/wakechain")

    def imported(self, *options):
        done = self.machine.run(["wakectl", "import", *options])
        return json.loads(done.stdout or "null"), done.stderr

    def test_from_nothing_to_the_first_sleeping_stack(self):
        m = self.machine
        printed, said = self.imported()
        self.assertLess({"shop", "notes"}, set(printed["services"]))
        self.assertEqual("docker-compose 1.x" in said, self.suite() == "bookworm")
        for name in ("shop", "notes"):
            printed, said = self.imported(f"--compose=/opt/{name}")
            self.assertNotIn("docker-compose 1.x", said)
            self.assertEqual(bool(re.search(r"worker.1' \(/opt/shop/docker-compose\.yml:\d+\) may take more than a minute", said)), name == "shop", said)
            _, said = self.imported("--write", f"--compose=/opt/{name}")
            self.assertIn(f"+++ {FOLDER}/{name}.json", said)
            self.assertEqual(json.loads(m.read(f"{FOLDER}/{name}.json")), printed)
        self.assertIn("2 services, no errors", m.out("wakectl check --engine", timeout=120))

        said = m.out("wakectl reload")
        self.assertRegex(said, r"(?m)^added +notes: ")
        self.assertRegex(said, r"(?m)^added +shop: ")
        m.run(["wakectl", "sleep", "shop", "notes"], timeout=120)
        self.assertNotRegex(m.docker("ps", "--format", "{{.Names}}"), "shop|notes")
        since = m.now()
        for port in (9711, 9712):
            self.assertEqual(self.ask(f"http://127.0.0.1:{port}/", timeout=60)[0], 200)
        starts = self.starts(since)
        self.assertLess(starts.index("notes_db"), starts.index("notes-app"))
        dash = "-" if self.suite() == "trixie" else "_"
        self.assertLess(starts.index(f"shop{dash}db{dash}1"), starts.index(f"shop{dash}web{dash}1"))
        # The one-shot has run when compose made it.
        self.assertFalse([name for name in starts if "setup" in name])

    def test_quick_start(self):
        """As the README has it."""
        m = self.machine
        for name in ("shop", "notes", "game"):
            m.run(["wakectl", "import", "--write", f"--project={name}"])
        m.run("wakectl reload && wakectl doctor && wakectl sleep shop notes game", timeout=180)
        self.assertEqual(m.docker("ps", "--format", "{{.Names}}"), "")
        self.assertEqual(m.out("wakectl list -q --filter=state=asleep").split(), ["game", "notes", "shop"])
        for port in (9711, 9712):
            self.assertEqual(self.ask(f"http://127.0.0.1:{port}/", timeout=60)[0], 200)
        self.assertEqual(m.python(GAME_CLIENT, "127.0.0.1", "9714", "3", "20", timeout=90).strip(), "no loss")
        self.assertEqual(m.out("wakectl list -q --filter=state=awake").split(), ["game", "notes", "shop"])

    def test_written_beside_what_is_there(self):
        m = self.machine
        own = {"services": {"notes": {"name": "notes-app", "port": 9712, "idleTimeout": "1h", "dependencies": [{"container": "notes-app"}]}}}
        m.write(CONFIG, json.dumps({"services": {}}))
        m.write(f"{FOLDER}/notes.json", json.dumps(own))
        before = m.read(f"{FOLDER}/notes.json")
        _, said = self.imported("--write", "--dry-run")
        self.assertIn('+          "container": "notes_db"', said)
        self.assertEqual(m.read(f"{FOLDER}/notes.json"), before)
        self.assertEqual(m.out(["ls", FOLDER]), "notes.json")

        self.imported("--write", "--project=notes")
        found = json.loads(m.read(f"{FOLDER}/notes.json"))["services"]["notes"]
        self.assertEqual({**found, "dependencies": None}, {**own["services"]["notes"], "dependencies": None, "composeDir": "/opt/notes", "network": "notes_default"})
        self.assertEqual([d["container"] for d in found["dependencies"]], ["notes-app", "notes_db"])
        after = m.read(f"{FOLDER}/notes.json")
        self.imported("--write")
        self.assertEqual(m.read(f"{FOLDER}/notes.json"), after)

    def test_add_and_remove(self):
        """Containers of `docker run`, as one service; and out again."""
        m = self.machine
        m.docker("network", "create", "loose")
        m.docker("run", "-d", "--name", "loose-db", "--network", "loose", "-e", "PORT=5000", "--stop-timeout", "1", "sim", "server")
        m.docker("run", "-d", "--name", "loose", "--network", "loose", "-e", "PORT=80", "-e", "DB_HOST=loose-db", "-p", "9716:80", "--stop-timeout", "1", "sim", "server")
        self.addCleanup(m.run, "docker rm -f loose loose-db; docker network rm loose")
        path = f"{FOLDER}/loose.json"
        done = m.run("wakectl add --dry-run loose loose-db")
        self.assertIn('+          "container": "loose-db"', done.stderr)
        self.assertFalse(m.path(path).exists())
        for arguments, said in (["shop-web-1" if self.suite() == "trixie" else "shop_web_1"], "is of compose's project 'shop'"), (["looze"], "did you mean 'loose'?"), (["--name=shop", "loose"], "give another one by --name"):
            with self.subTest(arguments):
                done = m.run(["wakectl", "add", *arguments], check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)
        m.run("wakectl add loose loose-db && wakectl reload && wakectl sleep loose", timeout=120)
        service = json.loads(m.read(path))["services"]["loose"]
        self.assertEqual((service["name"], service["port"], [d["container"] for d in service["dependencies"]]), ("loose", 9716, ["loose-db", "loose"]))
        self.assertEqual(self.ask("http://127.0.0.1:9716/", timeout=60)[0], 200)
        self.assertIn("says all of this already", m.run("wakectl add loose loose-db").stderr)

        # On a terminal it asks.
        text = m.run(["script", "-qec", "wakectl remove loose", "/dev/null"], input="n\n", check=False).stdout
        self.assertIn("Remove this? [y/N]", text)
        self.assertTrue(m.path(path).exists())
        m.write(CONFIG, json.dumps({"services": {"mine": {"name": "loose-db"}}}))
        done = m.run("wakectl remove mine nothing", check=False)
        self.assertIn(f"mine: not removed, since it is in '{CONFIG}', which is left alone: take it out there.\n", done.stderr)
        self.assertIn("nothing: not removed, since no file has a service of this name.\n", done.stderr)
        m.write(CONFIG, json.dumps({"services": {"mine": {"name": "loose-db", "dependencies": [{"service": "loose"}]}}}))
        done = m.run("wakectl remove loose", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("without it 'wakectl check' would say: services.mine", done.stderr)
        m.write(CONFIG, json.dumps({"services": {}}))
        m.run("wakectl remove loose")
        self.assertFalse(m.path(path).exists())
        self.assertRegex(m.out("wakectl reload"), r"(?m)^removed +loose: ")

    def test_who_may_not_and_what_is_not_there(self):
        m = self.machine
        done = m.run(["runuser", "-u", "nobody", "--", "wakectl", "import"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("may not be asked", done.stderr)
        done = m.run(["runuser", "-u", "nobody", "-g", "docker", "--", "wakectl", "import", "--write"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("root", done.stderr)
        self.assertFalse(m.path(FOLDER).exists())
        done = m.run(["wakectl", "import", "--project=shopp"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("did you mean 'shop'?", done.stderr)

    def test_no_space(self):
        """Nothing is half-written, and the next import does it."""
        m = self.machine
        m.run(f"mkdir -p {FOLDER} && mount -t tmpfs -o size=4k tmpfs {FOLDER} && head -c 4096 /dev/zero >{FOLDER}/full")
        done = m.run(["wakectl", "import", "--write", "--project=shop"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual(m.out(["ls", FOLDER]), "full")
        m.run(f"umount {FOLDER}")
        self.imported("--write", "--project=shop")
        self.assertIn("1 service, no errors", m.out("wakectl check"))

    def test_mandatory_variable(self):
        """Compose cannot tell; what its containers say will do, and which variable it is is said."""
        m = self.machine
        path = "/opt/shop/docker-compose.yml"
        self.addCleanup(m.write, path, m.read(path))
        m.write(path, m.read(path).replace('DELAY_MS: "700"', 'DELAY_MS: "${SHOP_DELAY:?set it}"'))
        printed, said = self.imported("--compose=/opt/shop")
        self.assertIn("the variable SHOP_DELAY is missing", said)
        self.assertNotIn("set it", said)
        self.assertEqual(len(printed["services"]["shop"]["dependencies"]), 4)


class Hanging(ServiceTest):
    per = "class"
    config = None
    variant = "bare"

    def test_says_so(self):
        m = self.machine
        m.run("systemctl stop docker.socket docker.service")
        m.run(["mkdir", "-p", "/etc/wakechain"])
        m.write(CONFIG, json.dumps({"services": {}, "engineSocket": "/run/deaf.sock"}))
        with m.popen(["systemd-socket-activate", "-l", "/run/deaf.sock", "sleep", "infinity"]) as deaf:
            m.wait_for("test -S /run/deaf.sock")
            done = m.run(["wakectl", "import"], check=False)
            deaf.kill()
        self.assertEqual(done.returncode, 1)
        self.assertIn("gives no answer within 2s", done.stderr)
