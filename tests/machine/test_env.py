"""Files that others may write, and that root or a waker reads: .env of compose folders, the configuration, what lies beside it. Whatever is put
there, PID 1 goes on, nothing is read for somebody who may not read it, and people's passwords work."""

import json
import re

from service_test import ServiceTest, dependency, required, stacks, users_config

MEMVID = "http://127.0.0.1:8100/"
ENV = "/opt/memvid/.env"
PASSWORD = "pa$$ \"w\" #ört"

# Shows what it was given, in the order of its tries.
COMMAND = (
    "env -0 >/tmp/seen; grep ^Cap /proc/self/status >/tmp/capabilities; "
    ": $SECRET $MYSQL_ROOT_PASSWORD $LD_PRELOAD $LISTEN_FDS $NOTIFY_SOCKET $PATH $GNUTLS_SYSTEM_PRIORITY_FILE; "
    "docker exec memvid-api curl -f http://localhost:8100/health"
)
DAC_READ_SEARCH, NET_ADMIN = 1 << 2, 1 << 12


def config(command=COMMAND):
    others = {name: None for name in stacks.STACKS if name not in ("memvid", "clemence")}
    made = users_config(**others, memvid={**required("memvid"), "idleTimeout": "10min"})
    dependency(made, "memvid", "memvid-api")["healthCheck"]["command"] = command
    return made


def capabilities(text):
    """{set: mask} of what /proc/PID/status says."""
    return {name: int(mask, 16) for name, mask in re.findall(r"^Cap(\w+):\s+(\w+)$", text, re.M)}


class EnvTest(ServiceTest):
    per = "module"
    config = config()

    def setUp(self):
        m = self.machine
        self.cursor = m.journal_cursor()
        self.addCleanup(m.run, f"rm -rf {ENV} /tmp/seen /tmp/capabilities; chown root: /opt/memvid")
        self.addCleanup(self.sleep, "memvid", "clemence")

    def said(self, unit, pattern):
        self.machine.run(["journalctl", "--sync"])
        records = self.machine.journal(unit, since_cursor=self.cursor)
        return [r["MESSAGE"] for r in records if re.search(pattern, str(r.get("MESSAGE", "")))]

    def assert_awake(self):
        """The client is served, in one start, and PID 1 has answered all the while."""
        asking = self.asking(MEMVID)
        self.machine.run("systemctl is-active docker", timeout=5)
        code, body = self.answered(asking)
        self.assertEqual(code, 200, f"{body}\n{self.said('wake@memvid.service', '')}")
        self.machine.run("systemctl is-active docker", timeout=5)
        self.assertEqual(self.machine.show("wake@memvid.service", "NRestarts"), "0")

    def assert_warned(self, *parts):
        """Once, naming the file."""
        said = self.said("wake@memvid.service", re.escape(f"'{ENV}' "))
        self.assertEqual(len(said), 1, said)
        for part in parts:
            self.assertIn(part, said[0])
        self.assertIn("/etc/wakechain/env/memvid.env", said[0])

    def seen(self):
        """What the health command was given."""
        return dict(entry.split("=", 1) for entry in self.machine.read("/tmp/seen").split("\0") if entry)


class Environment(EnvTest):
    def test_password_of_a_file_for_root_alone(self):
        """What other lines say gets to nobody: not to the waker, and to no command unless it names it."""
        m = self.machine
        text = f"SECRET='{PASSWORD}'\nUNNAMED=unnamed-value\nPATH=/evil\nIFS=/evil\n"
        text += "".join(f"{n}=/evil\n" for n in ("LD_PRELOAD", "LISTEN_FDS", "NOTIFY_SOCKET", "GNUTLS_SYSTEM_PRIORITY_FILE"))
        m.write(ENV, text, 0o600)
        self.assert_awake()
        self.assertEqual(self.said("wake@memvid.service", r"\.env"), [])
        seen = self.seen()
        self.assertEqual(seen["SECRET"], PASSWORD)
        self.assertNotIn("UNNAMED", seen)
        self.assertEqual([n for n, value in seen.items() if "/evil" in value], [])
        waker = m.show("wake@memvid.service", "MainPID")
        own = m.run(f"tr '\\0' '\\n' </proc/{waker}/environ").stdout
        for word in ("SECRET", PASSWORD, "/evil", "unnamed-value"):
            self.assertNotIn(word, own)

    def test_capability_is_given_up(self):
        m = self.machine
        m.write(ENV, "SECRET=x\n", 0o600)
        self.assert_awake()
        waker = capabilities(m.read(f"/proc/{m.show('wake@memvid.service', 'MainPID')}/status"))
        self.assertEqual({n: waker[n] for n in ("Inh", "Prm", "Eff", "Amb")}, dict.fromkeys(("Inh", "Prm", "Eff", "Amb"), NET_ADMIN))
        command = capabilities(m.read("/tmp/capabilities"))
        self.assertEqual({n: command[n] for n in ("Inh", "Prm", "Eff", "Amb")}, dict.fromkeys(("Inh", "Prm", "Eff", "Amb"), 0))
        self.assertEqual(self.seen()["SECRET"], "x")

    def test_users_password(self):
        """The users' file as it is: their command is run by the engine, with the password in it."""
        m = self.machine
        m.run("chmod 600 /opt/wordpress-clemence/.env")
        self.assertEqual(self.ask("http://127.0.0.1:9002/", timeout=60)[0], 200)
        self.assertEqual(self.said("wake@clemence.service", r"\.env"), [])

    def test_pipe(self):
        self.machine.run(f"chown nobody /opt/memvid; mkfifo {ENV}; chown nobody {ENV}")
        self.assert_awake()
        self.assert_warned("is no regular file")

    def test_device(self):
        """As a container makes one that has the folder."""
        if self.machine.run(f"mknod {ENV} c 1 3", check=False).returncode != 0:
            self.skipTest("no devices can be made here")
        self.assert_awake()
        self.assert_warned("is no regular file")

    def test_many_lines(self):
        self.machine.run(f"seq -f 'A%.0f=1' 100000 >{ENV}")
        self.assert_awake()
        self.assert_warned("is larger than 64 KiB")

    def test_big_value(self):
        self.machine.write(ENV, "SECRET=" + "x" * 150000 + "\n")
        self.assert_awake()
        self.assert_warned("is larger than 64 KiB")

    def test_value_that_is_as_big_as_may_be(self):
        self.machine.write(ENV, "SECRET=" + "x" * 65000 + "\n")
        self.assert_awake()
        self.assertEqual(self.seen()["SECRET"], "x" * 65000)

    def test_link_to_anothers_file(self):
        """Another stack's password is not told to whoever may write this folder."""
        m = self.machine
        m.run(f"chmod 600 /opt/wordpress-clemence/.env; chown nobody /opt/memvid; ln -s /opt/wordpress-clemence/.env {ENV}")
        m.run(f"chown -h nobody {ENV}")
        self.assert_awake()
        self.assert_warned("is a symbolic link")
        self.assertNotIn("MYSQL_ROOT_PASSWORD", self.seen())

    def test_folder_that_is_a_link_to_anothers(self):
        m = self.machine
        m.run("chmod 600 /opt/wordpress-clemence/.env; mkdir -p /opt/users; ln -s /opt/wordpress-clemence /opt/users/memvid")
        m.run("chown -h nobody /opt/users /opt/users/memvid")
        self.addCleanup(m.run, "rm -rf /opt/users")
        changed = config()
        changed["services"]["memvid"]["composeDir"] = "/opt/users/memvid"
        m.set_config(changed)
        self.addCleanup(m.set_config, self.config)
        self.assert_awake()
        self.assertEqual(len(self.said("wake@memvid.service", "'/opt/users/memvid/.env' is root's, and reached by")), 1)
        self.assertNotIn("MYSQL_ROOT_PASSWORD", self.seen())
        # of root's, it is one way to write a path
        self.sleep("memvid")
        m.run("chown -h root /opt/users/memvid")
        self.assert_awake()
        self.assertIn("MYSQL_ROOT_PASSWORD", self.seen())

    def test_somebody_elses_file(self):
        m = self.machine
        m.write(ENV, "SECRET=x\n", 0o644)
        m.run(f"chown nobody {ENV}")
        self.assert_awake()
        self.assert_warned("chown root: '/opt/memvid/.env'")
        self.assertNotIn("SECRET", self.seen())
        # what it says to do is enough
        self.sleep("memvid")
        m.run(re.search("chown root: '[^']*'", self.said("wake@memvid.service", "chown")[0])[0])
        self.assert_awake()
        self.assertEqual(self.seen()["SECRET"], "x")


class AsCompose(EnvTest):
    """What compose has given to a container is what its health command gets, in all versions."""

    LINES = """\
# comment
A=one two # comment
B=a#b
C='$A # "x" \\n $$'
D="two ${A} # 'x' \\n \\""
export E = spaced
F=
G=""
H=x;y&z|w(!)*
I=it's 5" `b`
J=<${B}>${NOPE:-word}
K='one
two'
L=k\u00e4se
M=100$%
N=a$$b$A"$A"
O=$NOPE-${NOPE-x}\t# no
P= # no
Q='${A}\\''
R="\\$A\\${A}"
"""
    NAMES = "ABCDEFGHIJKLMNOPQR"
    per = "class"
    config = config(COMMAND.replace("; ", f"; : {' '.join('$' + n for n in NAMES)}; ", 1))

    def test_values(self):
        m = self.machine
        m.write(ENV, self.LINES, 0o644)
        compose = m.read("/opt/memvid/docker-compose.yml")
        wanted = ", ".join(f'{n}: "${{{n}}}"' for n in self.NAMES)
        self.assertIn('PORT: "8100",', compose)
        m.write("/opt/memvid/docker-compose.yml", compose.replace('PORT: "8100",', f'PORT: "8100", {wanted},'))
        m.docker("rm", "memvid-api")
        self.assert_awake()
        made = json.loads(m.docker("inspect", "memvid-api"))[0]["Config"]["Env"]
        made = {n: value for n, _, value in (entry.partition("=") for entry in made) if n in self.NAMES}
        seen = self.seen()
        self.assertEqual({n: seen[n] for n in self.NAMES}, made)


class RootsWord(EnvTest):
    """What PID 1 and wakers take for root's word."""

    MAIN = "/etc/wakechain/dependencies.json"

    def setUp(self):
        self.addCleanup(self.restore)
        super().setUp()

    def restore(self):
        m = self.machine
        m.run("rm -rf /etc/wakechain/env /etc/wakechain/page; chown root: /etc/wakechain; chmod 755 /etc/wakechain")
        m.set_config(self.config)
        m.systemctl("daemon-reload")
        m.run("systemctl restart 'wake@*.socket'; systemctl reset-failed")

    def assert_refused_until_told(self, *parts):
        """The client hears why, and so does `wakectl check`, whose advice is followed."""
        m = self.machine
        code, body = self.ask(MEMVID)
        self.assertEqual(code, 503, body)
        for part in ("dependencies", *parts):
            self.assertIn(part, self.status("memvid")["error"])
        check = m.run(["wakectl", "check"], check=False)
        self.assertEqual(check.returncode, 1, check.stdout)
        # PID 1 keeps what was good
        m.systemctl("daemon-reload", timeout=20)
        self.assert_listens("memvid")

        m.run(re.search(r"chown root:.*; chmod go-w.*", check.stdout)[0])
        self.assertEqual(m.run(["wakectl", "check"]).returncode, 0)
        self.sleep("memvid")
        self.assert_awake()

    def test_file_of_somebody(self):
        self.machine.run(f"chown nobody {self.MAIN}")
        self.assert_refused_until_told(f"is not root's alone, as it has to be: chown root: '{self.MAIN}'; chmod go-w '{self.MAIN}'")

    def test_file_that_others_may_write(self):
        self.machine.run(f"chmod g+w {self.MAIN}")
        self.assert_refused_until_told(f"chmod go-w '{self.MAIN}'")

    def test_folder_of_somebody(self):
        self.machine.run("chown nobody /etc/wakechain")
        self.assert_refused_until_told("chown root: '/etc/wakechain'; chmod go-w '/etc/wakechain'")

    def test_where_people_keep_it(self):
        """The folder of before, which is a plain user's."""
        m = self.machine
        m.run(f"mkdir -p /opt/docker-autostart; mv {self.MAIN} /opt/docker-autostart; chown -R nobody /opt/docker-autostart")
        self.addCleanup(m.run, "rm -rf /opt/docker-autostart")
        self.assert_refused_until_told("chown root: '/opt/docker-autostart' '/opt/docker-autostart/dependencies.json'")

    def test_link_to_where_people_keep_it(self):
        m = self.machine
        m.run(f"mkdir -p /srv/keep; mv {self.MAIN} /srv/keep; chown -R nobody /srv/keep; ln -s /srv/keep/dependencies.json {self.MAIN}")
        self.addCleanup(m.run, "rm -rf /srv/keep")
        self.assert_refused_until_told("chown root: '/srv/keep' '/srv/keep/dependencies.json'")

    def test_fragment_of_somebody(self):
        """It costs its own services."""
        m = self.machine
        extra = '{"services": {"extra": {"name": "memvid-ui", "listen": ["9100"]}}}'
        m.write("/etc/wakechain/dependencies.d/extra.json", extra)
        m.run("chown nobody /etc/wakechain/dependencies.d/extra.json")
        check = m.run(["wakectl", "check"], check=False)
        self.assertEqual(check.returncode, 1, check.stdout)
        self.assertIn("chown root: '/etc/wakechain/dependencies.d/extra.json'", check.stdout)
        m.systemctl("daemon-reload")
        self.assertEqual(m.show("wake@extra.socket", "LoadState"), "not-found")
        self.assert_awake()

    def test_pipes(self):
        """PID 1 waits for the generator."""
        m = self.machine
        state = "/var/lib/wakechain/dependencies.last-good.json"
        m.run(f"mkfifo /etc/wakechain/dependencies.d/a.json /run/state; mv {state} /run/state-kept; mv /run/state {state}")
        self.addCleanup(m.run, f"mv /run/state-kept {state}")
        m.run("systemctl daemon-reload", timeout=20)
        self.assert_awake()
        self.sleep("memvid")
        m.run(f"rm {self.MAIN}; mkfifo {self.MAIN}")
        m.run("systemctl daemon-reload", timeout=20)

    def environment_files(self):
        self.machine.run("systemctl daemon-reload", timeout=20)
        return self.machine.systemctl("show", "wake@memvid.service", "--property=EnvironmentFiles")

    def test_environment_files_of_root(self):
        m = self.machine
        path = "/etc/wakechain/env/memvid.env"
        self.assertIn(path, self.environment_files())
        m.write(path, "SECRET=of-root\nUNNAMED=too\n", 0o600)
        m.write(ENV, "SECRET=of-the-folder\n", 0o600)
        self.assertIn(path, self.environment_files())
        self.assert_awake()
        self.assertEqual((self.seen()["SECRET"], self.seen()["UNNAMED"]), ("of-root", "too"))
        self.sleep("memvid")
        spoilt = {
            "file of somebody": f"chown nobody {path}",
            "file that others may write": f"chown root {path}; chmod o+w {path}",
            "pipe": f"rm {path}; mkfifo {path}",
            "folder of somebody": f"rm {path}; chown nobody /etc/wakechain/env",
            "folder that others may write": "chown root /etc/wakechain/env; chmod g+w /etc/wakechain/env",
        }
        for what, script in spoilt.items():
            with self.subTest(what):
                m.run(script)
                self.assertNotIn(path, self.environment_files())
        self.assert_awake()
        self.assertEqual(self.seen()["SECRET"], "of-the-folder")

    def test_pipe_for_a_theme(self):
        """The page is shown without, and the web service goes on."""
        m = self.machine
        m.run("mkdir -p /etc/wakechain/page; mkfifo /etc/wakechain/page/page.css /etc/wakechain/page/page.html")
        code, body = self.ask(MEMVID, "-H", "Accept: text/html")
        self.assertEqual(code, 503, body)
        self.assertIn("<html", body)
        self.assertEqual(self.ask("http://127.0.0.1:3456/", timeout=10)[0], 200)
