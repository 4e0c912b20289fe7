import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from app.ml.recordings.clips import load_dataset, save_dataset
from scripts.write_data_manifest import main
from tests.training_workers import PEOPLE, SIGNS, write_data


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_manifest_names_hash_people_and_signs_and_notices_every_change(tmp_path: Path) -> None:
    write_data(tmp_path / "landmarks")
    written = run("--folder", tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    unchanged = run("--folder", tmp_path, "--check")

    data = tmp_path / "landmarks" / "mine.npz"
    save_dataset(data, load_dataset(data)[1:])
    save_dataset(tmp_path / "new.npz", load_dataset(data)[:1])
    changed = run("--folder", tmp_path, "--check")
    data.unlink()
    missing = run("--folder", tmp_path, "--check")

    assert (written.exit_code, unchanged.exit_code, changed.exit_code, missing.exit_code) == (0, 0, 1, 1)
    entry = manifest["landmarks/mine.npz"]
    assert (entry["num_clips"], set(entry["signers"]), set(entry["signs"])) == (9, set(PEOPLE), set(SIGNS))
    assert len(entry["sha256"]) == 64
    assert "landmarks/mine.npz: differs" in changed.stderr
    assert "new.npz: not in the manifest" in changed.stderr
    assert "landmarks/mine.npz: missing" in missing.stderr


def test_broken_files_and_missing_manifests_are_named(tmp_path: Path) -> None:
    nowhere = run("--folder", tmp_path / "nowhere")
    unwritten = run("--folder", tmp_path, "--check")
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    broken = run("--folder", tmp_path)

    assert [result.exit_code for result in (nowhere, unwritten, broken)] == [2, 2, 2]
    assert "is no folder" in nowhere.stderr
    assert "write it without --check" in unwritten.stderr
    assert "broken.npz is no .npz file; make one with" in broken.stderr


def test_a_file_that_is_no_manifest_is_named(tmp_path: Path) -> None:
    write_data(tmp_path / "landmarks")
    for content in ("garbage", "[1, 2]", "7"):
        (tmp_path / "manifest.json").write_text(content)

        done = run("--folder", tmp_path, "--check")

        assert done.exit_code == 2, content
        assert "manifest.json is no manifest" in done.stderr
