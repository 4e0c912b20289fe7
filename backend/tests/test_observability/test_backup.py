"""Saving and restoring, with a real PostgreSQL; a stand-in runs here what `docker compose` would run in a container."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from app.db.database import Database
from app.repositories.feedback_clips import QUARANTINED, FeedbackClip, FeedbackClipRepository
from tests.postgres_server import find_programs, run_postgres
from tests.test_observability.prometheus import ROOT

DOCKER = """#!/usr/bin/env bash
# docker compose -f FILE VERB ...: the command after the service's name runs on this machine.
verb=$4
echo "${@:4}" >> "$STAND_IN/asked"
case $verb in
  exec) set -- "${@:7}" ;;                # exec -T SERVICE command
  run) set -- "$9" "${@:11}" ;;           # run --rm --no-deps -T --entrypoint tar SERVICE arguments
  *) exit 0 ;;
esac
arguments=()
for word in "$@"; do
  case $word in
    /data | /artifacts) arguments+=("$STAND_IN$word") ;;
    *) arguments+=("$word") ;;
  esac
done
exec "${arguments[@]}"
"""
CLIP = FeedbackClip(
    clip_id="a" * 32,
    giver_hash="b" * 64,
    session_id="s",
    sign_id=1,
    status=QUARANTINED,
    label="hello",
    predicted_label="yes",
    confidence=0.5,
    model_version="v1",
    num_frames=3,
    duration_ms=100.0,
    consented_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def backup(folder: Path, port: str, *arguments: str) -> str:
    """Run the script as an operator would; returns what it says."""
    path = f"{folder / 'bin'}:{find_programs()}:/usr/bin:/bin"
    environment = [f"PATH={path}", f"STAND_IN={folder}", "PGHOST=127.0.0.1", f"PGPORT={port}"]
    done = subprocess.run(
        ["env", *environment, ROOT / "tools" / "backup.sh", *arguments], capture_output=True, text=True, cwd=folder
    )
    return f"{done.returncode} {done.stdout}{done.stderr}"


def create_database(port: str, name: str) -> None:
    """Make an empty database."""
    command = ["psql", "-h", "127.0.0.1", "-p", port, "-U", "signflow", "postgres", "-c", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True, capture_output=True)


async def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER, encoding="utf-8")
    docker.chmod(0o755)
    model, artifact = tmp_path / "data" / "models" / "model_v1.onnx", tmp_path / "artifacts" / "run" / "curve.png"
    for file in (model, artifact):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"before")
    saved = tmp_path / "saved"
    with run_postgres() as url:
        port = url.rsplit(":", 1)[1]
        for name in ("signflow", "mlflow"):
            create_database(port, name)
        database = Database(f"{url}/signflow")
        clips = FeedbackClipRepository(database.sessions)
        await database.migrate()
        await clips.add(CLIP, b"landmarks")
        said = backup(tmp_path, port, "save", str(saved))
        assert said.startswith("0 saved in")

        await clips.delete(clip_id=CLIP.clip_id, giver_hash=None)
        await clips.add(replace(CLIP, clip_id="c" * 32), b"later")
        await database.close()
        for file in (model, artifact):
            file.write_bytes(b"damaged")
        preview = backup(tmp_path, port, "restore", str(saved))
        assert preview.startswith("0 would stop")
        assert model.read_bytes() == b"damaged"

        restored = backup(tmp_path, port, "restore", str(saved), "--execute")
        assert restored.startswith("0 restored"), restored
        database = Database(f"{url}/signflow")
        clips = FeedbackClipRepository(database.sessions)
        found = [clip.clip_id for clip in await clips.list(giver_hash=None, offset=0, limit=10)]
        npz = await clips.get_npz(CLIP.clip_id, giver_hash=None)
        await database.close()

    assert (found, npz) == ([CLIP.clip_id], b"landmarks")
    assert (model.read_bytes(), artifact.read_bytes()) == (b"before", b"before")
    assert saved.stat().st_mode & 0o077 == 0, "a backup holds people's landmarks"
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert asked.index("stop backend worker mlflow") < asked.index("pg_restore")


def test_an_incomplete_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signflow.dump").write_bytes(b"x")

    assert "no complete backup" in backup(tmp_path, "1", "restore", str(tmp_path), "--execute")


def test_without_a_folder_it_says_how_it_is_used(tmp_path: Path) -> None:
    assert backup(tmp_path, "1", "restore").startswith("2 ")
    assert "restore FOLDER" in backup(tmp_path, "1")
