"""A real PostgreSQL for tests: its own cluster in a temporary folder, on a free port, gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.binaries import MISSING_BINARY
from tests.e2e.live_server import free_port

START_TIMEOUT_S = 60.0
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=50")


def find_programs() -> Path:
    """The folder of initdb and postgres, newest version; Debian keeps them out of the path. Or skips."""
    on_path = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if on_path is None and not folders:
        pytest.skip(f"{MISSING_BINARY} initdb; install it with: sudo apt-get install postgresql")
    return folders[-1] if folders else Path(str(on_path)).parent


@contextmanager
def run_postgres() -> Generator[str]:
    """Run a server until the block ends; gives its URL without a database's name."""
    programs = find_programs()
    # PostgreSQL refuses to run as root; pytest's own folders can be entered by their owner only.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="signflow-postgres-"))
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    cluster, port = folder / "cluster", free_port()
    log = (folder / "log").open("wb")
    process: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [programs / "initdb", "--pgdata", cluster, "--username", "signflow", "--auth", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            user=user,
        )
        process = subprocess.Popen(
            [programs / "postgres", "-D", cluster, "-p", str(port), "-h", "127.0.0.1", "-k", folder, *_FAST],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=user,
        )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        is_ready = [programs / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)]
        while subprocess.run(is_ready, check=False).returncode != 0:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline_s, "PostgreSQL does not answer"
            time.sleep(0.05)
        yield f"postgresql+asyncpg://signflow@127.0.0.1:{port}"
    finally:
        if process is not None:
            process.terminate()  # "smart": PostgreSQL waits for its clients, and the tests have closed theirs
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)
