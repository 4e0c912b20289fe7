"""The server's image cannot be built where there is no Docker: what can be known without is checked here."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from tests.e2e.live_server import free_port
from tests.test_core.test_main import wait_until_healthy

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "backend" / "Dockerfile").read_text(encoding="utf-8")


def stages() -> dict[str, str]:
    """Name of each stage and its instructions."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def copies(stage: str) -> list[tuple[list[str], str]]:
    """Sources from the context and target of each COPY."""
    found: list[tuple[list[str], str]] = []
    for line in re.findall(r"^COPY (.*)$", stages()[stage], flags=re.MULTILINE):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from" not in line:
            found.append((words[:-1], words[-1]))
    return found


def is_ignored(name: str) -> bool:
    """Whether `.dockerignore` keeps a path out; enough of its rules for those that we use."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    return any(fnmatch(name, rule.removeprefix("**/")) or name.startswith(f"{rule}/") for rule in rules)


def test_every_image_is_pinned_to_a_version() -> None:
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)$", DOCKERFILE, flags=re.MULTILINE)

    assert len(images) == 2
    assert all(re.fullmatch(r"\w+:\d+\.\d+\.\d+-[\w-]+", image) for image in images)


@pytest.mark.parametrize("stage", ["page", "packages", "base"])
def test_what_is_copied_exists_and_is_not_ignored(stage: str) -> None:
    sources = [source for names, _ in copies(stage) for source in names]

    assert sources
    assert [source for source in sources if not (ROOT / source).exists() or is_ignored(source)] == []


def test_nobody_runs_as_root_and_docker_knows_when_it_is_well() -> None:
    assert re.search(r"^USER signflow$", stages()["base"], flags=re.MULTILINE)
    for stage in ("server", "worker"):
        assert "USER root" not in stages()[stage]
        assert "HEALTHCHECK" in stages()[stage]
        assert re.search(r'^CMD \["python", "-m", "app\.\w+"\]$', stages()[stage], flags=re.MULTILINE)


def test_secrets_and_databases_do_not_get_into_an_image() -> None:
    assert is_ignored(".env")
    assert is_ignored("backend/data/secrets")
    assert is_ignored("backend/data/signflow.db")
    assert not is_ignored("backend/data/models")


def test_the_files_that_the_image_gets_are_enough_to_translate(tmp_path: Path) -> None:
    """Lays the server's files out as its Dockerfile says, and starts it from there."""
    for names, target in copies("base"):
        folder = tmp_path / "app" / "backend"
        place = Path(str(folder / target) if not target.startswith("/") else f"{tmp_path}{target}")
        for name in names:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                target_file = place / source.name if target.endswith("/") else place
                target_file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target_file)
    settings = dict(re.findall(r"(SIGNFLOW_\w+)=(\S+)", stages()["base"] + stages()["server"]))
    assert settings == {
        "SIGNFLOW_DATA_DIR": "/data",
        "SIGNFLOW_MODEL_DIR": "/data/models",
        "SIGNFLOW_HOST": "0.0.0.0",
        "SIGNFLOW_PORT": "8000",
    }
    port = free_port()
    environment = {
        "SIGNFLOW_DATA_DIR": f"{tmp_path}/data",
        "SIGNFLOW_MODEL_DIR": f"{tmp_path}/data/models",
        "SIGNFLOW_PORT": str(port),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "app.main"],
        cwd=tmp_path / "app" / "backend",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = wait_until_healthy(f"http://127.0.0.1:{port}")
        signs = httpx.get(f"http://127.0.0.1:{port}/api/v1/signs?recognised=true", verify=False)
    finally:
        server.terminate()
        server.wait(timeout=30)

    assert ready.json()["ready"] is True
    assert len(signs.json()["signs"]) > 10
