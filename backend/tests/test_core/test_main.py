"""`python -m app.main` as a user starts it: address and token printed, problems named."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.core.config import BACKEND_DIR


@contextmanager
def start(data_dir: Path, *arguments: str, **settings: str) -> Generator["subprocess.Popen[str]"]:
    """Start the server as a program of its own, and stop it at the end if it still runs."""
    environment = {
        "PATH": os.defpath,
        "SIGNFLOW_PORT": "0",
        "SIGNFLOW_DATA_DIR": str(data_dir),
        "SIGNFLOW_MODEL_DIR": str(data_dir / "models"),
        **{f"SIGNFLOW_{name}": value for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "app.main", *arguments],
        cwd=BACKEND_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until_healthy(address: str) -> httpx.Response:
    """The first answer of `/ready`."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            return httpx.get(f"{address}/ready", verify=False)
        except httpx.TransportError:
            time.sleep(0.05)
    msg = f"{address} did not answer within 60 s"
    raise AssertionError(msg)


def test_it_prints_address_and_token_serves_without_a_model_and_stops_on_request(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        token = re.search(r"Operator token.*: (\S{40,})", process.stdout.readline())
        assert address is not None
        assert token is not None
        ready = wait_until_healthy(address[0])
        status = httpx.get(f"{address[0]}/api/v1/status", headers={"Authorization": f"Bearer {token[1]}"}, verify=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in {0, -signal.SIGTERM}

    assert ready.status_code == 503
    assert status.json()["no_model_reason"]
    with start(tmp_path) as again:
        assert again.stdout is not None
        again.stdout.readline()
        assert "as shown at the first start" in again.stdout.readline()


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(tmp_path, PORT=str(port)) as process:
            output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in output
    assert "SIGNFLOW_PORT=" in output


def test_it_refuses_the_world_without_credentials(tmp_path: Path) -> None:
    with start(tmp_path, HOST="0.0.0.0") as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "SIGNFLOW_OPERATOR_TOKEN" in output


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    pem = tmp_path / "certificate.pem"
    pem.write_text("no certificate")

    for certificate, key in ((pem, pem), (tmp_path / "absent.pem", pem)):
        with start(tmp_path / "data", TLS__CERTIFICATE=str(certificate), TLS__KEY=str(key)) as process:
            output, errors = process.communicate(timeout=60)

        assert process.returncode == 2
        assert f"SIGNFLOW_TLS__CERTIFICATE={certificate}" in output
        assert "Traceback" not in output + errors


def test_a_data_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("no folder")

    with start(path) as process:
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert f"{path}/secrets: Not a directory" in output
    assert "Traceback" not in output + errors
