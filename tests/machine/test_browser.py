"""What people see: the wait page and the dashboard, in Chromium, on real containers.

Screenshots for the documentation are made on the way if $WAKECHAIN_SCREENSHOTS names a folder for them.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

from browser import Browser
from service_test import ServiceTest, dependency, stacks, users_config, wait_for

SITE = "http://127.0.0.1:9002"
DASHBOARD = "http://127.0.0.1:3456/"
SIZES = {"phone": {"width": 320, "height": 640}, "desk": {"width": 800, "height": 680}}


def state_of(key):
    return f"document.querySelector('#parts [data-key=\"{key}\"]')?.dataset.state"


def stages(seen, key, kind="part"):
    """What the page showed of a dependency, in order."""
    return [s["value"] for s in seen if s["kind"] == kind and s["key"] == key]


def impatient(**more):
    """The users' file with a database of clemence that is given up after six seconds."""
    config = users_config(clemence={"idleTimeout": 0, **more})
    dependency(config, "clemence", "mysql-clemence")["healthCheck"].update(interval=200, timeout=6000, retries=1)
    return config


class BrowserTest(ServiceTest):

    def setUp(self):
        super().setUp()
        self.addCleanup(self.restore)
        self.browser = Browser(self.machine)
        self.addCleanup(self.browser.close)

    def restore(self):
        for container in stacks.CLEMENCE:
            if self.variant == "clemence-sim":
                stacks.set_broken(self.machine, container, False)
        self.sleep(*stacks.PORTS)
        self.machine.wait_for(lambda: not set(stacks.CLEMENCE) & stacks.running(self.machine), timeout=60)

    def check_accessible(self):
        self.assertEqual(self.browser.axe(), [])

    def check_recorded(self, own):
        """Everything came from one origin, nothing was refused by a policy, no script failed. What a site of its own asks for, behind the
        last navigation, is its own affair."""
        recorded = self.browser.recorded()
        requests = recorded["requests"]
        last = max(i for i, r in enumerate(requests) if r["navigation"] and r["type"] == "document")
        for request in requests[: last if last > 0 else None]:
            self.assertTrue(request["url"].startswith(own), request["url"])
        for line in recorded["console"]:
            self.assertNotRegex(line, "Content Security Policy|^error:")
        return recorded

    def check_course(self, seen):
        """Nothing runs backwards, nothing is said to be done before it is."""
        totals = stages(seen, "", "total")
        self.assertEqual(totals, sorted(totals))
        ready = next((s["at"] for s in seen if s["kind"] == "lead" and "Opening" in s["value"]), float("inf"))
        for shown in seen:
            if shown["kind"] == "total" and shown["value"] >= 100:
                self.assertGreaterEqual(shown["at"], ready - 100)
        for key in stacks.CLEMENCE:
            progress = stages(seen, key, "partProgress")
            self.assertEqual(progress, sorted(progress), key)


class RealSite(BrowserTest):
    """WordPress, from asleep to its own page."""

    variant = "real"
    config = users_config(clemence={"idleTimeout": 0, "title": "Clémence’s blog"})

    def test_opens_by_itself(self):
        value = "value " + secrets.token_hex(8)
        stacks.set_page_value(self.machine, value)
        self.assert_stopped()

        opened = self.browser.open(url=f"{SITE}/?page=1#top", **SIZES["desk"])
        self.assertEqual(opened["status"], 503)
        self.assertEqual(opened["headers"]["cache-control"], "no-store")
        self.assertIn("retry-after", opened["headers"])
        self.browser.has("Clémence’s blog is waking up")
        self.browser.has(value)

        recorded = self.check_recorded(SITE)
        seen = recorded["seen"]
        self.check_course(seen)
        for container in stacks.CLEMENCE[:2]:
            shown = stages(seen, container)
            self.assertTrue({"starting", "checking"} & set(shown), f"{container}: {shown}")
            self.assertEqual(shown[-1], "ready", container)
        ready = [next(s["at"] for s in seen if s["key"] == c and s["value"] == "ready") for c in stacks.CLEMENCE[:2]]
        busy = next(s["at"] for s in seen if s["key"] == "wordpress-clemence" and s["value"] in ("starting", "checking"))
        self.assertLessEqual(ready[0], busy, "wordpress was shown as starting before the database was ready")
        self.assertLess(ready[0], ready[1])
        # One navigation by the person, one by the page, and the address is the one that was asked for.
        pages = [r["url"] for r in recorded["requests"] if r["navigation"] and r["type"] == "document"]
        self.assertLessEqual(len(pages), 3, pages)
        self.assertEqual(set(pages), {f"{SITE}/?page=1"})
        self.assertTrue(self.browser.state()["url"].startswith(f"{SITE}/"))
        self.assertIn("#top", self.browser.state()["url"])


class Page(BrowserTest):
    """Simulated containers, which stay at a stage as long as a test wants it."""

    variant = "clemence-sim"
    config = impatient(title="Clémence’s blog")

    def hold(self, container="wordpress-clemence"):
        """That container is not ready before release()."""
        stacks.set_broken(self.machine, container)

    def release(self, container="wordpress-clemence"):
        stacks.set_broken(self.machine, container, False)

    def open_waking(self, **options):
        self.hold()
        self.browser.open(url=f"{SITE}/some/page?x=1", **{**SIZES["desk"], **options})
        self.browser.wait(f"['starting', 'checking'].includes({state_of('wordpress-clemence')})")

    def arrive(self):
        self.release()
        self.browser.has("GET /some/page?x=1")

    def test_stages_are_announced(self):
        self.open_waking()
        self.check_accessible()
        self.browser.shows("page-waking")
        self.arrive()
        recorded = self.check_recorded(SITE)
        self.check_course(recorded["seen"])
        said = " ".join(stages(recorded["seen"], "", "news"))
        self.assertIn("mysql-clemence: ready", said)
        self.assertIn("wordpress-clemence: ready", said)

    def test_dark(self):
        self.open_waking(scheme="dark")
        color = self.browser.evaluate(expression="getComputedStyle(document.querySelector('h1')).color")
        self.assertGreater(int(color.split("(")[1].split(",")[0]), 200, "text in the dark is light")
        self.check_accessible()
        self.browser.shows("page-waking-dark")
        self.arrive()

    def test_french(self):
        self.open_waking(locale="fr-FR")
        self.browser.has("Clémence’s blog se réveille")
        self.assertEqual(self.browser.evaluate(expression="document.documentElement.lang"), "fr")
        self.browser.has("vérification")
        self.check_accessible()
        self.arrive()

    def test_small_screen(self):
        for scheme in ("light", "dark"):
            with self.subTest(scheme=scheme):
                self.open_waking(scheme=scheme, **SIZES["phone"])
                self.assertLessEqual(self.browser.evaluate(expression="document.documentElement.scrollWidth"), 320)
                self.check_accessible()
                if scheme == "light":
                    self.browser.shows("page-phone", fullPage=True)
        self.arrive()

    def test_without_javascript(self):
        self.hold()
        self.browser.open(url=f"{SITE}/some/page?x=1", javascript=False)
        self.browser.waitText(text="is waking up")
        self.browser.waitText(text="mysql-clemence")
        self.release()
        self.browser.waitText(text="GET /some/page?x=1")
        self.assertEqual(self.browser.state()["url"], f"{SITE}/some/page?x=1")
        for request in self.check_recorded(SITE)["requests"]:
            self.assertEqual(request["type"], "document")

    def test_without_motion(self):
        self.open_waking(motion="reduce")
        self.assertEqual(
            self.browser.evaluate(expression="getComputedStyle(document.getElementById('sun')).transitionDuration"), "0s"
        )
        self.arrive()

    def test_failure_and_retry(self):
        self.hold("mysql-clemence")
        self.browser.open(url=f"{SITE}/some/page?x=1#part", **SIZES["desk"])
        self.browser.has("Clémence’s blog did not wake up")
        self.assertEqual(self.browser.text(selector="#failed").strip(), "mysql-clemence")
        self.browser.has("it started, but did not become ready in time")
        self.assertEqual(self.browser.wait(state_of("mysql-clemence")), "failed")
        self.check_accessible()
        self.browser.shows("page-failed")

        # It stays: a page that is left alone tries nothing.
        cursor = self.machine.journal_cursor()
        self.remain(2, lambda: "did not wake up" in self.browser.state()["title"], "the failure is shown")
        self.assertEqual(self.records("WAKING", "clemence", cursor), [])

        # By keyboard; and the address is kept whole.
        self.release("mysql-clemence")
        self.browser.press(key="Tab")
        self.assertEqual(self.browser.evaluate(expression="document.activeElement.id"), "retry")
        self.browser.press(key="Enter")
        self.browser.has("GET /some/page?x=1")
        self.assertEqual(self.browser.state()["url"], f"{SITE}/some/page?x=1#part")

    def test_failure_without_javascript(self):
        cursor = self.machine.journal_cursor()
        self.hold("mysql-clemence")
        self.browser.open(url=f"{SITE}/some/page?x=1", javascript=False)
        self.browser.waitText(text="did not wake up")
        self.browser.waitText(text="it started, but did not become ready in time")
        self.browser.waitText(text="A new attempt is possible in")
        self.assertEqual(len(self.records("WAKING", "clemence", cursor)), 1)
        self.release("mysql-clemence")
        wait_for(lambda: self.ask(SITE)[0] == 200, timeout=60, what="the pause to be over")
        self.browser.click(selector="#retry")
        self.browser.waitText(text="GET /some/page?x=1")

    def test_events_go_on_after_a_cut(self):
        """The web service is killed: the page goes on where it was, in the same document."""
        self.open_waking()
        self.browser.evaluate(expression="window.same = 'document'")
        self.browser.wait("window.wakechainEvents > 0")
        self.kill_main("wakechain-web.service")
        wait_for(lambda: len(self.streams()) > 1, timeout=30, what="the page to connect again")
        self.assertEqual(self.browser.evaluate(expression="window.same"), "document")
        # By the browser, which says where it was, or, if the answer was an error, by the page, which begins anew: nothing is told twice.
        self.browser.wait("!document.getElementById('lead').textContent.includes('lost')")
        self.arrive()
        self.check_course(self.check_recorded(SITE)["seen"])

    def streams(self):
        return [r for r in self.browser.recorded()["requests"] if r["type"] == "eventsource"]

    def test_a_person_who_comes_late_sees_the_same(self):
        self.open_waking()
        with Browser(self.machine) as other:
            other.open(url=f"{SITE}/other", **SIZES["phone"])
            other.wait(f"{state_of('mysql-clemence')} == 'ready'")
            other.wait(f"['starting', 'checking'].includes({state_of('wordpress-clemence')})")
            self.arrive()
            other.has("GET /other")


class WithoutDetails(BrowserTest):
    variant = "clemence-sim"
    config = impatient(title="A site", details=False)

    def test_names_no_container_and_no_reason(self):
        stacks.set_broken(self.machine, "mysql-clemence")
        self.browser.open(url=f"{SITE}/", **SIZES["desk"])
        self.browser.has("Part 3")
        self.browser.has("A site did not wake up")
        self.check_accessible()
        text = self.browser.evaluate(expression="document.documentElement.outerHTML.replace(/data-words='?\"?[^>]*/, '')")
        for container in stacks.CLEMENCE:
            self.assertNotIn(container, text)
        shown = self.browser.evaluate(expression="document.body.innerText")
        self.assertNotIn("did not become ready", shown)


class BehindProxies(BrowserTest):
    """Reverse proxies as Debian has them, on the machine's network, with their own buffering: the page still streams."""

    variant = "clemence-sim"
    config = impatient()

    NGINX = """daemon off; pid {folder}/pid; error_log stderr; events {{}}
        http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
                uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                server {{ listen 127.0.0.1:8081; location / {{ proxy_pass {site}; }} }} }}"""
    CADDY = "{{\n admin off\n auto_https off\n storage file_system {folder}\n}}\nhttp://127.0.0.1:8082 {{\n bind 127.0.0.1\n reverse_proxy {site}\n}}\n"

    def proxy(self, text, command):
        folder = tempfile.mkdtemp(prefix="wakechain-proxy-")
        self.addCleanup(shutil.rmtree, folder)
        Path(folder).chmod(0o755)
        (Path(folder) / "config").write_text(text.format(folder=folder, site=SITE))
        command = [word.format(folder=folder) for word in command]
        with open(f"{folder}/log", "w") as log:
            process = self.machine.netns_popen(["env", f"HOME={folder}", *command], stdout=log, stderr=log)
        self.addCleanup(lambda: (process.terminate(), process.wait(timeout=20)))

    def check_streams(self, url):
        """What the database's check tells is on the page while the wake waits for WordPress: nothing was kept back."""
        wait_for(lambda: f"127.0.0.1:{url.rpartition(':')[2]}" in self.machine.out("ss -ltn"), timeout=30, what=url)
        stacks.set_broken(self.machine, "wordpress-clemence")
        self.browser.open(url=f"{url}/some/page", **SIZES["desk"])
        self.browser.evaluate(expression="window.same = 'document'")
        self.browser.wait(f"{state_of('mysql-clemence')} == 'ready'")
        self.browser.wait(f"['starting', 'checking'].includes({state_of('wordpress-clemence')})")
        self.assertEqual(self.browser.evaluate(expression="window.same"), "document", "it polled instead")
        stacks.set_broken(self.machine, "wordpress-clemence", False)
        self.browser.has("GET /some/page")
        self.check_course(self.check_recorded(url)["seen"])

    def test_nginx(self):
        self.proxy(self.NGINX, ["nginx", "-c", "{folder}/config", "-p", "{folder}", "-e", "stderr"])
        self.check_streams("http://127.0.0.1:8081")

    def test_caddy(self):
        self.proxy(self.CADDY, ["caddy", "run", "--config", "{folder}/config", "--adapter", "caddyfile"])
        self.check_streams("http://127.0.0.1:8082")


class Dashboard(BrowserTest):
    variant = "clemence-sim"
    config = {**impatient(), "api": {"sleepOverTcp": True}}

    def card(self, service, state):
        return f"document.querySelector('.card[data-service={service}]')?.dataset.state == '{state}'"

    def box(self, name, *states):
        boxes = "[...document.querySelectorAll('.box')]"
        return f"{list(states)}.includes({boxes}.find((b) => b.querySelector('.box-name').textContent == '{name}')?.dataset.state)"

    def open(self, **options):
        opened = self.browser.open(url=DASHBOARD, **{"width": 1200, "height": 800, **options})
        self.assertEqual(opened["status"], 200)
        self.browser.wait("document.querySelectorAll('.card').length > 4 && document.querySelector('#graph svg')")

    def test_wakes_and_puts_to_sleep(self):
        self.open()
        self.assertEqual(
            set(self.browser.evaluate(expression="[...document.querySelectorAll('.card')].map((c) => c.dataset.service)")),
            set(stacks.config()),
        )
        self.check_accessible()
        self.browser.wait(self.card("clemence", "asleep"))

        stacks.set_broken(self.machine, "wordpress-clemence")
        self.browser.click(selector=".card[data-service=clemence] .wake")
        self.browser.wait(self.card("clemence", "waking"))
        self.browser.wait(self.box("mysql-clemence", "ready"))
        self.browser.wait(self.box("wordpress-clemence", "starting", "checking"))
        self.browser.wait(self.box("nginx-clemence", "pending"))
        self.check_accessible()
        stacks.set_broken(self.machine, "wordpress-clemence", False)
        self.browser.wait(self.card("clemence", "awake"))
        self.browser.wait(self.box("clemence", "awake"))
        self.browser.wait(self.box("wordpress-clemence", "ready"))

        # Its last wake, as bars and in words.
        table = self.browser.text(selector=".card[data-service=clemence] .timeline")
        self.assertRegex(table, r"Last wake: [0-9.]+ s")
        for container in stacks.CLEMENCE:
            self.assertIn(container, table)
        widths = self.browser.evaluate(expression="""[...document.querySelectorAll('.card[data-service=clemence] tbody tr')]
            .map((row) => [...row.querySelectorAll('rect')].map((rect) => Number(rect.getAttribute('width'))))""")
        self.assertGreater(widths[0][1] + widths[0][2], 0, "the database took some time")
        self.assertGreater(widths[1][0], 0, "wordpress waited for it")

        self.browser.click(selector=".card[data-service=clemence] .sleep")
        self.browser.wait(self.card("clemence", "asleep"))
        self.assert_stopped(*stacks.CLEMENCE)
        self.check_recorded(DASHBOARD)

    def test_shared_dependencies_are_one_box(self):
        self.open()
        count = "[...document.querySelectorAll('.box .box-name')].filter((t) => t.textContent == 'redis-shared').length"
        self.assertEqual(self.browser.evaluate(expression=count), 1)
        self.browser.wait(f"[...document.querySelectorAll('.box.shared')].some((b) => b.textContent.includes('redis-shared'))")

    def test_failure_is_told(self):
        stacks.set_broken(self.machine, "mysql-clemence")
        self.open(scheme="dark")
        self.browser.click(selector=".card[data-service=clemence] .wake")
        self.browser.wait(self.card("clemence", "failed"))
        self.browser.wait(self.box("mysql-clemence", "failed"))
        self.assertIn("mysql-clemence", self.browser.text(selector=".card[data-service=clemence] .problem"))
        self.check_accessible()

    def test_small_screen_and_keyboard(self):
        self.open(**SIZES["phone"])
        self.assertLessEqual(self.browser.evaluate(expression="document.documentElement.scrollWidth"), 320)
        self.check_accessible()
        self.browser.evaluate(expression="document.querySelector('.card[data-service=clemence] .wake').focus()")
        self.browser.press(key="Enter")
        self.browser.wait(self.card("clemence", "awake"))
        # The button that had the focus is gone; another one of the same card has it.
        self.assertEqual(self.browser.evaluate(expression="document.activeElement.closest('.card')?.dataset.service"), "clemence")

    def test_picture(self):
        """Several services in several states, as a person would see them."""
        stacks.set_broken(self.machine, "wordpress-clemence")
        self.open()
        for service in ("memvid", "clemence"):
            self.browser.click(selector=f".card[data-service={service}] .wake")
        self.browser.wait(self.card("memvid", "awake"))
        self.browser.wait(self.box("wordpress-clemence", "starting", "checking"))
        self.browser.wait(self.box("redis-shared", "ready"))
        self.browser.shows("dashboard", fullPage=True)
        stacks.set_broken(self.machine, "wordpress-clemence", False)
        self.browser.wait(self.card("clemence", "awake"))
        self.check_recorded(DASHBOARD)
