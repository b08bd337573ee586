"""Makes a prepared machine: boots a bare one, loads the images, creates the users' containers, installs WordPress, and
keeps what that left behind. Part of the key of the result, so this file holds nothing else."""

import os
import shutil
from pathlib import Path

import stacks
from machine import Machine

_SIMULATED = ("databases", "nextcloud", "ragflow", "memvid", "whisper", "clemence-sim")


def make(suite, target, sim_tar, real_tar):
    here = Path(__file__).resolve().parent

    with Machine(suite, variant="bare") as m:
        with open(sim_tar) as f:
            m.run(["docker", "import", "-c", 'CMD ["server"]', "-", "sim"], stdin=f)
        with open(real_tar) as f:
            m.run(["docker", "import", "-", "real"], stdin=f, timeout=180)

        for project in ("wordpress-clemence", *_SIMULATED):
            m.put(here / "stacks" / project, f"/opt/{project}")

        # The networks that several projects share belong to projects that are not part of this.
        m.docker("network", "create", "databases-shared")
        m.docker("network", "create", "monitoring_monitoring")

        compose = "docker-compose up --no-start" if suite == "bookworm" else "docker compose create --pull never"
        m.run(f"cd /opt/wordpress-clemence && {compose}", timeout=120)

        # The first start of a container ever is slower than all later ones, and WordPress wants to be installed.
        m.docker("start", "mysql-clemence", "wordpress-clemence", "nginx-clemence")
        m.wait_for(f". /opt/wordpress-clemence/.env; {stacks.health('mysql-clemence')}", timeout=60)
        with open(here / "stacks/wordpress-clemence/install-wordpress.php") as f:
            m.run("docker exec -i wordpress-clemence php8.4", stdin=f, timeout=120)
        m.wait_for("curl -fsS http://127.0.0.1:9002/ | grep -q clemence", timeout=30)
        m.docker("stop", "nginx-clemence", "wordpress-clemence", "mysql-clemence")

        # Compose v1 attaches a container to its second network when it starts it.
        compose = "docker-compose up -d" if suite == "bookworm" else "docker compose up -d --pull never"
        for project in _SIMULATED:
            m.run(f"cd /opt/{project} && {compose}", timeout=120)
        m.docker("stop", *stacks.running(m))
        m.poweroff()

        target.mkdir()
        shutil.rmtree(m.folder / "upper/var/log/journal", ignore_errors=True)
        os.rename(m.folder / "upper", target / "root")
        os.rename(m.folder / "docker", target / "docker")
