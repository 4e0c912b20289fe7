"""The training worker's health check from the compose files, with a real worker and a real Redis."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.core.config import BACKEND_DIR
from tests.redis_server import RedisServer
from tests.test_observability.prometheus import ROOT, wait_until


def test_a_worker_is_healthy_while_it_lives_and_not_afterwards(tmp_path: Path) -> None:
    pytest.importorskip("celery", reason="installed by: pip install -e 'backend[scale]'")
    files = [ROOT / "docker-compose.yml", ROOT / "docker-compose.prod.yml"]
    services = [yaml.safe_load(path.read_text(encoding="utf-8"))["services"]["worker"] for path in files]
    kind, check = services[0]["healthcheck"]["test"]
    redis = RedisServer(folder=tmp_path)
    redis.start()
    variables = {
        "SIGNFLOW_DATA_DIR": tmp_path,
        "SIGNFLOW_REDIS_URL": redis.url,
        "SIGNFLOW_TRAINING__RUNNER": "celery",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    in_container = ["env", *(f"{name}={value}" for name, value in variables.items())]
    healthy = [*in_container, "sh", "-c", check.replace("$$", "$")]
    log = tmp_path / "worker.log"
    try:
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [*in_container, *services[0]["command"]], cwd=BACKEND_DIR, stdout=output, stderr=output
            )

        def is_healthy() -> bool:
            assert worker.poll() is None, log.read_text(errors="replace")
            return subprocess.run(healthy, capture_output=True).returncode == 0

        wait_until(is_healthy, what="a healthy worker", timeout_s=180)
        worker.terminate()
        worker.wait(timeout=60)
        after = subprocess.run(healthy, capture_output=True)
    finally:
        redis.kill()

    assert kind == "CMD-SHELL"
    assert services[1]["healthcheck"]["test"] == [kind, check]
    assert after.returncode != 0
