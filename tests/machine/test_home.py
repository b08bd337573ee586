"""A home server: a reverse proxy in a container, and three stacks behind it that publish nothing, each a compose project on the proxy's network.
wakechain comes to it while all of that runs, and nothing of it is edited."""

from browser import Browser
from machine_test import destdir
from service_test import ServiceTest, front_options

NETWORK = "proxy"
APPS = {"blog": 80, "files": 8080, "wiki": 3000}
FOLDERS = [f"/opt/{project}" for project in ("proxy", *APPS)]

SITE = """
    server {{
        listen 80;
        listen 443 ssl;
        server_name {app}.home.test;
        location / {{
            proxy_pass http://{app}:{port};
            proxy_set_header Host $host;
        }}
    }}
"""
NGINX = """
events {}
http {
    ssl_certificate /etc/nginx/tls/home.pem;
    ssl_certificate_key /etc/nginx/tls/home.key;
%s
}
"""
PROXY = """
version: "3.7"
services:
  nginx:
    container_name: nginx
    image: real
    command: [nginx, -g, "daemon off;"]
    restart: unless-stopped
    ports: ["80:80", "443:443"]
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./tls:/etc/nginx/tls:ro
networks:
  default: {name: proxy, external: true}
"""
APP = """
version: "3.7"
services:
  {app}:
    container_name: {app}
    hostname: {app}
    image: sim
    restart: unless-stopped
    environment: {{PORT: "{port}", DELAY_MS: "1500"}}
    expose: ["{port}"]
    networks: [default, proxy]
  db:
    container_name: {app}-db
    image: sim
    restart: unless-stopped
    environment: {{PORT: "6379", DELAY_MS: "300"}}
networks:
  proxy: {{name: proxy, external: true}}
"""
TLS = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=home.test -keyout /opt/proxy/tls/home.key -out /opt/proxy/tls/home.pem"
CHROMIUM = ("--host-resolver-rules=MAP *.home.test 127.0.0.1", "--ignore-certificate-errors")


def service(app, port):
    ready = {"container": app, "startOrder": 2, "healthCheck": {"http": f"http://:{port}/", "interval": 200}}
    database = {"container": f"{app}-db", "startOrder": 1, "healthCheck": {"tcp": 6379, "interval": 200}}
    members = {"name": app, "names": True, "network": NETWORK, "composeDir": f"/opt/{app}", "idleTimeout": "4s", "title": f"My {app}"}
    return {**members, "dependencies": [database, ready]}


class Home(ServiceTest):
    per = "class"
    wakechain = False
    config = None

    @classmethod
    def prepare(cls, machine):
        m = machine
        compose = "docker-compose" if m.suite == "bookworm" else "docker compose"
        m.docker("network", "create", NETWORK)
        m.run(f"mkdir -p /opt/proxy/tls && {TLS}")
        m.write("/opt/proxy/docker-compose.yml", PROXY)
        m.write("/opt/proxy/nginx.conf", NGINX % "".join(SITE.format(app=app, port=port) for app, port in APPS.items()))
        for app, port in APPS.items():
            m.write(f"/opt/{app}/docker-compose.yml", APP.format(app=app, port=port))
        for project in (*APPS, "proxy"):
            m.run(f"cd /opt/{project} && {compose} up -d", timeout=120)
        cls.before = cls.theirs(m)

        # As the README says.
        m.set_config({"services": {app: service(app, port) for app, port in APPS.items()}})
        m.install(destdir())
        m.run(["wakectl", "check", "--engine"])
        m.systemctl("start", "sockets.target")
        for app in APPS:
            m.run(["wakectl", "sleep", app])
        # What nginx has found at its start were the containers' own addresses: once, it looks anew.
        m.docker("exec", "nginx", "nginx", "-s", "reload")

        front_options(m, "--exit-idle-time=200ms")
        web = "[Service]\nExecStart=\nExecStart=/usr/lib/wakechain/wakechain-web --exit-idle-time=1s\n"
        m.write("/etc/systemd/system/wakechain-web.service.d/options.conf", web)
        m.systemctl("daemon-reload")

    @classmethod
    def theirs(cls, machine):
        """All that is the user's: the files of the projects, and the containers as they were made."""
        containers = machine.docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
        return machine.out(["find", *FOLDERS, "-type", "f", "-exec", "sha256sum", "{}", "+"]), sorted(containers.splitlines())

    def assert_all_asleep(self):
        containers = [name for app in APPS for name in (app, f"{app}-db")]
        self.assert_running("nginx")
        self.assert_stopped(*containers)
        for app in APPS:
            self.assert_listens(app)
        self.wait_no_process()

    def follow_to_sleep(self, cursor):
        for app in APPS:
            self.follow("ASLEEP", app, cursor)
        self.assert_all_asleep()
        self.assertEqual(self.theirs(self.machine), self.before)

    def test_each_wakes_by_its_host_name(self):
        self.assert_all_asleep()
        begin = self.machine.journal_cursor()
        with Browser(self.machine, *CHROMIUM) as browser:
            for app, scheme in zip(APPS, ("http", "https", "http")):
                with self.subTest(app):
                    cursor = self.machine.journal_cursor()
                    opened = browser.open(url=f"{scheme}://{app}.home.test/notes?x=1")
                    self.assertEqual(opened["status"], 503)
                    browser.has(f"My {app} is waking up")
                    browser.has("GET /notes?x=1")
                    self.assertEqual(browser.text(selector="body").split()[0], app)
                    self.assertEqual({r["WAKECHAIN_SERVICE"] for r in self.records("WAKING", since=cursor)}, {app})
        self.follow_to_sleep(begin)

    def test_after_a_reboot(self):
        """The proxy looks for the names as soon as the engine starts, while those that they belong to sleep."""
        m = self.machine
        m.reboot()
        self.assert_all_asleep()
        cursor = m.journal_cursor()
        for app in APPS:
            code, page = self.ask(f"http://{app}.home.test/", "--resolve", f"{app}.home.test:80:127.0.0.1")
            self.assertEqual((code, page.split()[:1]), (200, [app]))
        self.follow_to_sleep(cursor)
