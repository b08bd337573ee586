"""Ten of the shapes that real projects have, with small containers under their images' names: compose makes each, it is imported, checked, put to sleep,
woken by its first connection, and put to sleep again. Their facts are those of tests/import/cases."""

import json
import re

from service_test import ServiceTest, trees

CASES = trees.SOURCE / "tests/import/cases"
LABEL = "com.docker.compose."


def ports_of(container):
    return list(container["Config"].get("ExposedPorts") or {})


def image_of(container):
    """Nothing here has a digest that is known before."""
    return container["Config"]["Image"].partition("@")[0]


def numbers(ports):
    return sorted({int(port.split("/")[0]) for port in ports})


def waits(container):
    """{service: condition}"""
    text = container["Config"]["Labels"].get(LABEL + "depends_on", "")
    return {entry.split(":")[0]: {"condition": entry.split(":")[1]} for entry in text.split(",") if entry}


def service(container):
    """As compose would have to be told of it."""
    config, host = container["Config"], container["HostConfig"]
    tcp = numbers(p for p in ports_of(container) if p.endswith("/tcp"))
    made = {
        "image": image_of(container),
        "container_name": container["Name"].lstrip("/"),
        "command": ["server"],
        "stop_grace_period": "1s",
        "environment": [*(config.get("Env") or []), "PORT=" + ",".join(map(str, numbers(ports_of(container)))), "DELAY_MS=100"],
        "ports": [f"{b['HostPort']}:{inner}" for inner, bound in (host.get("PortBindings") or {}).items() for b in bound],
        "depends_on": waits(container),
    }
    if config.get("Healthcheck"):
        command = ["CMD", "curl", "-f", f"http://localhost:{tcp[0]}/"] if tcp else ["CMD", "true"]
        made["healthcheck"] = {"test": command, "interval": "2s"}
    return made


class Shapes(ServiceTest):
    per = "module"
    config = None
    variant = "clemence-sim"

    def compose(self, folder, *arguments):
        tool = "docker compose" if self.suite() == "trixie" else "docker-compose"
        return self.machine.run(f"cd {folder} && {tool} {' '.join(arguments)}", timeout=180)

    def make(self, case):
        """The project's name and its containers' names."""
        containers = json.loads((CASES / case / "engine.json").read_text())
        project = containers[0]["Config"]["Labels"][LABEL + "project"]
        for image in {image_of(c) for c in containers}:
            self.machine.docker("tag", "sim", image)
        text = {"services": {c["Config"]["Labels"][LABEL + "service"]: service(c) for c in containers}}
        if self.suite() == "bookworm":
            text["version"] = "2.4"
        self.machine.write(f"/opt/{project}/docker-compose.yml", json.dumps(text))
        self.compose(f"/opt/{project}", "up", "-d")
        self.addCleanup(self.compose, f"/opt/{project}", "down")
        return project, [c["Name"].lstrip("/") for c in containers]

    def running(self):
        return set(self.machine.docker("ps", "--format", "{{.Names}}").split())

    def check(self, case):
        m = self.machine
        m.run("rm -rf /etc/wakechain")
        project, containers = self.make(case)
        said = m.run(["wakectl", "import", "--write", f"--compose=/opt/{project}"]).stderr
        self.assertRegex(said, rf"{re.escape(project)}: '\S+' is written")
        imported = json.loads(m.read(f"/etc/wakechain/dependencies.d/{project}.json"))["services"][project]
        self.assertEqual(sorted(d["container"] for d in imported["dependencies"]), sorted(containers))
        self.assertRegex(m.out("wakectl check --engine", timeout=120), r"1 service, (no errors|0 errors)")
        m.run("wakectl reload", timeout=60)
        m.run(["wakectl", "sleep", project], timeout=180)
        self.assertEqual(self.running() & set(containers), set())
        self.assertEqual(self.ask(f"http://127.0.0.1:{imported['port']}/", timeout=120)[0], 200)
        self.wait_state(project, "awake", 120)
        m.wait_for(lambda: self.running() >= set(containers), timeout=60, what=f"all of {project}")
        m.run(["wakectl", "sleep", project], timeout=180)
        self.assertEqual(self.running() & set(containers), set())

    def test_01_photos(self):
        self.check("01-photos")

    def test_04_documents(self):
        self.check("04-documents")

    def test_05_login(self):
        self.check("05-login")

    def test_06_gitlab(self):
        self.check("06-gitlab")

    def test_07_mastodon(self):
        self.check("07-mastodon")

    def test_09_workflows(self):
        self.check("09-workflows")

    def test_12_search_engine_by_names(self):
        self.check("12-search-engine-by-names")

    def test_17_media_no_edges(self):
        self.check("17-media-no-edges")

    def test_25_chat(self):
        self.check("25-chat")

    def test_27_no_edges_at_all(self):
        self.check("27-no-edges-at-all")
