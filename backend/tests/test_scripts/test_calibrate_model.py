import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import read_manifest
from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.inference.confidence import explain_unmeasured
from app.ml.inference.familiarity import RawAnswers
from app.ml.model_configs import get_model_config
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import LandmarkWindow
from scripts.calibrate_model import main
from tests.untrained_model import LABELS, make_manifest, make_window, write_untrained_model

NOW = Calibration(temperature=0.9, threshold=0.05, gate=FamiliarityGate(bias=-1.0, slope=6.0))
FILES = ("model_v1.int8.onnx", "model_v1.onnx", "model_v1.pt")


def calibrate(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of before, in three files: prototypes, a familiarity as threshold, no gate."""
    embeddings = np.random.default_rng(0).normal(size=(len(LABELS), get_model_config("tiny").embedding))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    manifest = make_manifest(prototypes=prototypes_to_text(embeddings.astype(np.float32)))
    manifest = replace(manifest, provenance=manifest.provenance | {"recipe": "starter"})
    write_untrained_model(tmp_path, manifest=manifest, int8=True)
    return tmp_path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "unseen.json"
    gate = {"bias": -1.0, "slope": 6.0}
    path.write_text(
        json.dumps({"recipe": "starter", "calibration": {"temperature": 0.9, "threshold": 0.05, "gate": gate}})
    )
    return path


@pytest.mark.parametrize("named", FILES)
def test_all_files_of_the_model_get_the_calibration_and_keep_what_they_compute(
    folder: Path, report: Path, named: str
) -> None:
    windows = [make_window("sun", seed=seed) for seed in range(2)]
    before = [read_manifest(folder / name) for name in FILES]
    raw = [_ask_raw(folder / name, windows) for name in FILES]

    result = calibrate("--model", folder / named, "--unseen", report, "--execute")

    assert result.exit_code == 0, result.output
    assert f"written: {', '.join(FILES)}" in result.stdout
    for name, old, (logits, familiarity) in zip(FILES, before, raw, strict=True):
        manifest = read_manifest(folder / name)  # the seal is checked
        assert manifest == replace(
            old, calibration=NOW, provenance=old.provenance | {"calibrated_on": "a report on unseen people"}
        )
        assert explain_unmeasured(old) is not None
        assert explain_unmeasured(manifest) is None
        again = _ask_raw(folder / name, windows)
        np.testing.assert_array_equal(again[0], logits)
        np.testing.assert_array_equal(again[1], familiarity)


def _ask_raw(path: Path, windows: list[LandmarkWindow]) -> RawAnswers:
    pipeline = SignFlowInferencePipeline.load_file(path, num_threads=1)
    raw = pipeline.raw_batch(windows)
    pipeline.close()
    return raw


def test_doing_it_twice_changes_nothing_more(folder: Path, report: Path) -> None:
    arguments = ("--model", folder / "model_v1.onnx", "--unseen", report, "--execute")
    calibrate(*arguments)
    once = [(folder / name).read_bytes() for name in FILES[:2]]

    assert calibrate(*arguments).exit_code == 0

    assert [(folder / name).read_bytes() for name in FILES[:2]] == once


def test_without_execute_it_only_says_what_it_would_do(folder: Path, report: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in FILES}

    result = calibrate("--model", folder / "model_v1.onnx", "--unseen", report, "--json")

    told = json.loads(result.stdout)
    assert (told["files"], told["written"]) == (list(FILES), False)
    assert told["before"]["gate"] is None
    assert told["now"]["gate"] == {"bias": -1.0, "slope": 6.0}
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_what_does_not_belong_together_is_refused_and_nothing_is_written(folder: Path, report: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in FILES}
    other = report.with_name("other.json")
    other.write_text(report.read_text().replace('"starter"', '"large"'))
    old = report.with_name("old.json")
    old.write_text('{"recipe": "starter", "calibration": {"temperature": 0.8, "threshold": 0.8}}')

    for unseen, complaint in ((other, "the report is about 'large'"), (old, "older than measured confidences")):
        result = calibrate("--model", folder / "model_v1.onnx", "--unseen", unseen, "--execute")
        assert result.exit_code == 2
        assert complaint in " ".join(result.stderr.split())

    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_file_of_other_weights_beside_it_is_named_and_nothing_is_written(
    folder: Path, report: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("other")
    write_untrained_model(elsewhere, manifest=make_manifest(), seed=9)
    (folder / "model_v1.onnx").write_bytes((elsewhere / "model_v1.onnx").read_bytes())
    before = (folder / "model_v1.pt").read_bytes()

    result = calibrate("--model", folder / "model_v1.pt", "--unseen", report, "--execute")

    assert result.exit_code == 2
    assert "model_v1.onnx has other weights than model_v1.pt" in " ".join(result.stderr.split())
    assert (folder / "model_v1.pt").read_bytes() == before
