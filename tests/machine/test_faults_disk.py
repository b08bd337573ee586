"""No space left in /run or /var, or /var read-only: a wake works, or fails and says why; with space again all works as before."""

from fault_test import URL, FaultTest, quick_config, stacks

WAKER = "wake@clemence.service"
RUN = tuple(f"/run/wakechain/{name}" for name in ("lease", "status"))
VAR = "/var/lib/wakechain"


class Disk(FaultTest):
    """Each of these folders is a small file system of its own, which can be filled."""

    config = quick_config("clemence", clemence={"globalTimeout": "15s"})

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        for folder in (*RUN, VAR):
            machine.run(f"""set -e; cd {folder}; mount -t tmpfs -o size=128k,nr_inodes=100,mode=$(stat -c %a .) small {folder}
                            chown --reference=. {folder}; cp -a . {folder}/""")

    def setUp(self):
        self.begin()
        # As it was after the boot: no file is there that could be written over.
        self.machine.run(f"find {' '.join((*RUN, VAR))} -type f -delete")

    def fill(self, what, *folders):
        """`what` is `blocks`: files can be made, and remain empty; or `inodes`: none can be made."""
        for folder in folders:
            used = self.machine.out(f"df --output=iused {folder} | tail -n1")
            self.machine.run(
                f"mount -o remount,nr_inodes={used} {folder}" if what == "inodes" else
                f"head -c 1M /dev/zero > {folder}/.fill; [ -s {folder}/.fill ]")  # fmt: skip
            self.addCleanup(self.clear, folder)

    def clear(self, *folders):
        for folder in folders:
            self.machine.run(f"rm -f {folder}/.fill; mount -o remount,rw,nr_inodes=100 {folder}")

    def assert_works_or_says_why(self, *words):
        """Whether a client was served. If not, the journal and the client are told, and what was started is stopped."""
        code, body = self.ask(URL)
        self.assertIn(code, (200, 503), body)
        if code == 200:
            self.wait_unit(WAKER, "active")
            return True
        record = self.follow("FAILED", "clemence", self.cursor)
        self.assertTrue(any(word in record["MESSAGE"] for word in words), record["MESSAGE"])
        self.wait_unit(WAKER, "failed")
        self.assert_stopped(*stacks.CLEMENCE)
        return False

    def check_run(self, what, well):
        """Full before the wake; space comes back while it is awake, or has failed; and full as it goes to sleep."""
        self.fill(what, *RUN)
        served = self.assert_works_or_says_why("No space left")
        if well:
            self.assertTrue(served, "it needs no space to wake")
        self.clear(*RUN)
        if served:
            self.assertEqual(self.ask(URL)[0], 200)
            self.sleep("clemence")
        self.assert_sound()
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.fill(what, *RUN)
        self.sleep("clemence")
        self.assert_sound()
        self.clear(*RUN)
        self.assert_works()

    def test_run_has_no_block(self):
        self.check_run("blocks", well=True)
        said = [r["MESSAGE"] for r in self.machine.journal("wake@clemence", self.cursor) if "No space left" in r.get("MESSAGE", "")]
        self.assertTrue(any("lease" in line for line in said), said)
        self.assertTrue(any("status" in line for line in said), said)

    def test_run_has_no_inode(self):
        self.check_run("inodes", well=False)

    def test_all_of_run(self):
        """Of PID 1, the journal and the engine, too."""
        m = self.machine
        size = m.out("df --output=size /run | tail -n1")
        # Another file system from here on, whose space is not ours to take.
        self.addCleanup(m.run, f"rm -f /run/.fill; mount -o remount,size={size}k /run")
        m.run("mount -o remount,size=$(df --output=used /run | tail -n1)k /run; head -c 64M /dev/zero > /run/.fill || true")
        code, body = self.ask(URL)
        self.assertIn(code, (200, 503), body)
        m.run(f"rm -f /run/.fill; mount -o remount,size={size}k /run")
        self.sleep("clemence")
        self.assert_sound()
        self.assert_works()

    def check_var(self):
        """Nothing that is kept there is needed, not even by clients from elsewhere when the minute's check has been."""
        m = self.machine
        self.assert_served(URL)
        self.wait_unit(WAKER, "active")
        self.assert_sound("clemence")
        self.sleep("clemence")
        with self.subTest("another host"):
            peer = m.add_peer_host()
            m.systemctl("start", "wakechain-settle.service")
            code, body = self.ask(f"http://{peer.machine_ipv4}:9002/", where=peer)
            self.assertEqual(code, 200, body)
        self.sleep("clemence")
        self.assert_sound()
        self.assertEqual(self.records("DEPENDENCY_FAILED", "clemence", self.cursor), [])
        self.clear(VAR)
        self.assert_works()
        self.assertIn('"ipv4":true', m.read(f"{VAR}/bindings/clemence.json"))

    def test_var_has_no_block(self):
        self.fill("blocks", VAR)
        self.check_var()

    def test_var_has_no_inode(self):
        self.fill("inodes", VAR)
        self.check_var()

    def test_var_is_read_only(self):
        self.machine.run(["mount", "-o", "remount,ro", VAR])
        self.addCleanup(self.clear, VAR)
        self.check_var()

    def test_all_of_var_is_read_only(self):
        """For the engine, too, which says so."""
        m = self.machine
        # Private: what is undone here shall not be undone there.
        m.run("mount --rbind /var /var && mount --make-rprivate /var && mount -o remount,bind,ro /var")
        undo = "mountpoint -q /var && umount -R -l /var"
        self.addCleanup(m.run, undo, check=False)
        served = self.assert_works_or_says_why("read-only file system", "Read-only file system")
        if served:
            self.sleep("clemence")
        m.run(undo)
        self.assert_sound()
        self.assert_works()
