from pathlib import Path

import onnx
import pytest
import torch
import typer
from typer.testing import CliRunner

from app.ml import export
from app.ml.artifacts.files import read_manifest
from app.ml.errors import ArtifactError, ExportError
from app.ml.export import export_to_onnx, main, measure_difference
from app.ml.inference.backends import OnnxBackend
from app.ml.inference.torch_backend import TorchBackend
from tests.untrained_model import make_manifest, write_untrained_model

LANDMARKS = {"landmarks": ["batch", "time", 75, 3]}
FEATURES = {"features": ["batch", "time", 469]}


@pytest.mark.parametrize(
    ("config", "embedding", "reads"),
    [
        ("tiny", 32, FEATURES),
        ("baseline", 128, FEATURES),
        ("student", 128, FEATURES),
        ("spatial", 128, LANDMARKS),
        ("spatial_tcn", 128, LANDMARKS),
    ],
)
def test_every_config_exports_at_opset_17_with_dynamic_axes(
    tmp_path: Path, config: str, embedding: int, reads: dict[str, list[str | int]]
) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(config=config), onnx=False)

    report = export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "out" / "model.onnx")

    model = onnx.load(report.path)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert shapes == {
        **reads,
        "mask": ["batch", "time"],
        "logits": ["batch", 7],
        "embedding": ["batch", embedding],
        "signing": ["batch", "time"],
    }
    assert report.max_difference < 1e-4
    assert report.opset == 17
    assert read_manifest(report.path) == read_manifest(tmp_path / "model_v1.pt")


def make_app() -> typer.Typer:
    app = typer.Typer()
    app.command()(main)
    return app


def test_int8_is_smaller_says_so_and_stays_close(tmp_path: Path) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(config="student"))

    report = export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "any_name.onnx", int8=True)

    assert report.path.stat().st_size < 0.5 * (tmp_path / "model_v1.onnx").stat().st_size
    assert OnnxBackend(report.path).name == "onnx-int8"
    assert 0 < report.max_difference < 0.2


def test_another_model_is_seen_as_different(tmp_path: Path) -> None:
    write_untrained_model(tmp_path, seed=0)
    write_untrained_model(tmp_path, manifest=make_manifest(version="v2"), seed=1, onnx=False)

    difference = measure_difference(TorchBackend(tmp_path / "model_v2.pt"), OnnxBackend(tmp_path / "model_v1.onnx"))

    assert difference > 0.01


def test_an_export_that_answers_differently_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_untrained_model(tmp_path, onnx=False)
    monkeypatch.setattr(export, "MAX_DIFFERENCE", 0.0)  # f32 rounding is then already too much

    with pytest.raises(ExportError, match=r"model\.onnx answers differently from model_v1\.pt: max abs difference"):
        export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "model.onnx")

    assert [path.name for path in tmp_path.iterdir()] == ["model_v1.pt"]


def test_an_opset_above_17_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_untrained_model(tmp_path, onnx=False)
    original = torch.onnx.export

    def export_newer(*args: object, **kwargs: object) -> object:
        return original(*args, **(kwargs | {"opset_version": 18}))  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(torch.onnx, "export", export_newer)
    with pytest.raises(ExportError, match="the exporter wrote opset 18, 17 is promised"):
        export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "model.onnx")


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model_v7\.pt: no such file"):
        export_to_onnx(tmp_path / "model_v7.pt", tmp_path / "model.onnx")


def test_the_command_prints_the_difference_it_measured(tmp_path: Path) -> None:
    write_untrained_model(tmp_path, onnx=False)
    done = CliRunner().invoke(
        make_app(), ["--model-path", str(tmp_path / "model_v1.pt"), "--output", str(tmp_path / "model.onnx")]
    )

    assert done.exit_code == 0
    assert "opset 17" in done.output
    assert "max abs difference" in done.output
    assert OnnxBackend(tmp_path / "model.onnx").manifest.version == "v1"


@pytest.mark.parametrize(
    ("model", "output", "complaint"),
    [
        ("absent.pt", "m.onnx", "absent.pt: no such file"),
        ("model_v1.onnx", "m.onnx", "model_v1.onnx is no .pt file"),
        ("text.pt", "m.onnx", "text.pt: not a readable model file"),
        (".", "m.onnx", "is no .pt file"),
        ("model_v1.pt", "m.txt", "m.txt is no .onnx file"),
        ("model_v1.pt", "folder.onnx", "folder.onnx is no .onnx file"),
        ("model_v1.pt", "text.pt/m.onnx", "text.pt: File exists"),
    ],
)
def test_the_command_names_a_mistake_in_a_sentence(tmp_path: Path, model: str, output: str, complaint: str) -> None:
    write_untrained_model(tmp_path)
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "folder.onnx").mkdir()

    done = CliRunner().invoke(make_app(), ["--model-path", str(tmp_path / model), "--output", str(tmp_path / output)])

    assert done.exit_code == 2, done.output
    assert complaint in done.output
    assert "weights_only" not in done.output
    assert not (tmp_path / "m.txt").exists()
