"""Several worker processes as an operator runs them: one port, one token, replaced when they die or hang."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from app.harness.server_process import worker_pids
from tests.e2e.live_server import BACKEND, OPERATOR_TOKEN, LiveServer


def workers_of(server: LiveServer) -> set[int]:
    """Process ids of the living workers."""
    assert server.process is not None
    return worker_pids(server.process.pid)


def answering(server: LiveServer, *, num_asked: int = 40) -> set[int]:
    """Which workers answer `/health` on the one port."""
    return {httpx.get(f"{server.url}/health", verify=False).json()["worker"] for _ in range(num_asked)}


def num_processes_counted(server: LiveServer) -> int:
    """Workers whose memory `/metrics` tells."""
    return httpx.get(f"{server.url}/metrics", verify=False).text.count("\nprocess_resident_memory_bytes{worker=")


def not_found_errors(server: LiveServer) -> float:
    """How often an HTTP client was told that something does not exist."""
    page = httpx.get(f"{server.url}/metrics", verify=False).text
    found = re.search(r'^signflow_errors_total\{channel="http",code="not_found"\} (\S+)$', page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 120.0) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.fixture
def server(tmp_path: Path) -> LiveServer:
    return LiveServer(data_dir=tmp_path, model_dir=tmp_path / "models", settings={"WORKERS": "2"})


def test_two_workers_share_port_and_token_and_are_replaced_when_they_die(server: LiveServer) -> None:
    server.start()
    assert server.process is not None
    try:
        wait_until(lambda: answering(server) == {0, 1})
        first = workers_of(server)
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        wait_until(lambda: num_processes_counted(server) == 2)
        counted = not_found_errors(server)
        answers = [httpx.get(f"{server.url}/api/v1/nothing", verify=False) for _ in range(20)]
        statuses = [httpx.get(f"{server.url}/api/v1/status", headers=headers, verify=False) for _ in range(20)]
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(workers_of(server)) == 2 and victim not in workers_of(server))
        wait_until(lambda: answering(server) == {0, 1})
        wait_until(lambda: num_processes_counted(server) == 2)
        counted_after = not_found_errors(server)
        second = workers_of(server)
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: not workers_of(server) & second and len(workers_of(server)) == 2)
        wait_until(lambda: answering(server) == {0, 1})
        server.process.send_signal(signal.SIGTERM)
        exit_status = server.process.wait(timeout=30)
    finally:
        server.stop()

    assert {status.status_code for status in statuses} == {200}
    assert len(first & second) == 1
    assert exit_status == 0
    assert {answer.status_code for answer in answers} == {404}
    assert (counted, counted_after) == (0, 20), "any worker answers for all, and for those that died"
    assert "worker" in server.log_file.read_text()


SUPERVISE = """
import sys
from app.core.config import load_settings
from app.server import bind_beside
from app.services.operator_service import load_operator
from app.supervisor import WorkerSupervisor

settings = load_settings()
operator, _ = load_operator(settings.data_dir, configured="operator-token-of-the-tests")
sys.exit(WorkerSupervisor(settings, operator, bind_beside(settings, port=0)).run())
"""
"""A server whose settings `app.main` would have refused: what fails in the workers alone cannot be foreseen."""


def test_workers_that_can_never_start_end_the_server(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    settings = {"PORT": "0", "WORKERS": "2", "DATA_DIR": tmp_path, "TLS__CERTIFICATE": broken, "TLS__KEY": broken}

    ended = subprocess.run(
        ["env", *(f"SIGNFLOW_{name}={value}" for name, value in settings.items()), sys.executable, "-c", SUPERVISE],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 1
    assert "cannot start" in ended.stderr


def test_workers_do_not_outlive_their_supervisor(server: LiveServer) -> None:
    server.start()
    wait_until(lambda: len(workers_of(server)) == 2 and answering(server) == {0, 1})
    orphans = workers_of(server)

    server.kill()

    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in orphans), timeout_s=30)
