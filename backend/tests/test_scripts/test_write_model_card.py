from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import read_manifest
from scripts.write_model_card import main

MODELS = Path(__file__).resolve().parents[2] / "data" / "models"
"""The shipped model and the reports that its own card was written from."""


def write(output: Path, **reports: Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    given = {"unseen": MODELS / "unseen_v1.json", "live": MODELS / "live_v1.json"} | reports
    options = [part for name, path in given.items() for part in (f"--{name}", str(path))]
    return CliRunner().invoke(app, ["--model", str(MODELS / "model_v1.onnx"), "--output", str(output), *options])


def test_the_card_holds_the_models_hash_and_every_sign(tmp_path: Path) -> None:
    manifest = read_manifest(MODELS / "model_v1.onnx")

    done = write(tmp_path / "card.md")

    assert done.exit_code == 0, done.output
    text = (tmp_path / "card.md").read_text("utf-8")
    assert manifest.weights_sha256[:16] in text
    assert all(f"| {sign} |" in text for sign in manifest.label_names if sign not in manifest.background)


@pytest.mark.parametrize("option", ["unseen", "live"])
@pytest.mark.parametrize("content", ["# a card", "[]", "{}", "3"])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, option: str, content: str) -> None:
    report = tmp_path / "report.json"
    report.write_text(content)

    done = write(tmp_path / "card.md", **{option: report})

    assert done.exit_code == 2, done.output
    assert f"report.json is no report of evaluate_{option}" in done.stderr
    assert not (tmp_path / "card.md").exists()
