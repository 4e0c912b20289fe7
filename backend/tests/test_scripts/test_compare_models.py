import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.recordings.clips import save_dataset
from scripts.compare_models import main
from tests.parametric_signer import make_clips

SIGNS = ("rain", "stone", "sun")


def compare(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "new_people.npz"
    save_dataset(path, make_clips(num_people=4, takes=2, labels=SIGNS, seed=100))
    return path


@pytest.fixture(scope="module")
def sound(tiny_model_dir: Path) -> Path:
    return tiny_model_dir / "model_v1.onnx"


@pytest.fixture(scope="module")
def worse(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with two signs exchanged."""
    weights, manifest = load_torch_artifact(tiny_model_dir / "model_v1.pt")
    first, second = (manifest.label_names.index(label) for label in ("rain", "stone"))
    for name in ("classifier.weight", "classifier.bias"):
        weights[name][[first, second]] = weights[name][[second, first]].clone()
    path = tmp_path_factory.mktemp("worse") / "model_v2.pt"
    save_torch_artifact(path, state_dict=weights, manifest=replace(manifest, version="v2"))
    return path


def test_the_exit_code_is_the_verdict(sound: Path, worse: Path, data: Path) -> None:
    codes = [
        compare("--baseline", first, "--candidate", second, "--data", data).exit_code
        for first, second in ((worse, sound), (sound, worse), (sound, sound))
    ]

    assert codes == [0, 1, 3]


def test_a_report_and_json_hold_the_numbers(sound: Path, worse: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "new folder" / "report.html"

    result = compare(
        "--baseline", worse, "--candidate", sound, "--data", data, "--output", report, "--json", "--candidate-tta"
    )

    found = json.loads(result.stdout)
    assert found["verdict"]["outcome"] == "better"
    assert found["verdict"]["sentence"] in report.read_text()
    assert found["candidate"]["name"] == "model_v1.onnx with TTA"
    assert set(found["per_sign"]) == set(SIGNS)
    assert found["calibration_ms"] > 0


def test_a_mistake_is_named_with_exit_code_2(sound: Path, worse: Path, data: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.npz"
    save_dataset(seen, make_clips(num_people=1, takes=1, labels=SIGNS))
    for arguments, complaint in (
        (("--data", seen), "was trained on person0"),
        (("--data", data, "--output", "report.pdf"), "must end in .html or .md"),
        (("--data", data, "--training-data", data), "are among the training recordings"),
        (("--data", data, "--baseline", sound), "2 baseline files and 1 candidate files"),
        (("--data", tmp_path / "nowhere.npz"), "nowhere.npz"),
    ):
        result = compare("--baseline", sound, "--candidate", worse, *arguments)

        assert result.exit_code == 2, result.output
        assert complaint in " ".join(result.stderr.split())
        assert "Traceback" not in result.output
    assert compare("--baseline", sound, "--candidate", worse).exit_code == 2
