import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import typer
from typer.testing import CliRunner

from app.ml import export
from app.ml.artifacts.files import read_manifest, read_onnx_artifact
from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.errors import ArtifactError, ExportError
from app.ml.export import export_to_onnx, main, measure_difference
from app.ml.inference.backends import OnnxBackend
from app.ml.inference.torch_backend import TorchBackend
from tests.untrained_model import make_manifest, write_feature_model, write_untrained_model

PROTOTYPES = prototypes_to_text(np.random.default_rng(0).standard_normal((7, 32)).astype(np.float32))


@pytest.mark.parametrize(
    ("config", "embedding"),
    [("tiny", 32), ("baseline", 128), ("student", 128), ("spatial", 128), ("spatial_tcn", 128)],
)
def test_every_config_exports_at_opset_17_with_dynamic_axes(tmp_path: Path, config: str, embedding: int) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(config=config), onnx=False)

    report = export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "out" / "model.onnx")

    model = onnx.load(report.path)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert shapes == {
        "landmarks": ["batch", "time", 75, 3],
        "times_ms": ["batch", "time"],
        "aspect": ["batch"],
        "mask": ["batch", "time"],
        "logits": ["batch", 7],
        "embedding": ["batch", embedding],
        "signing": ["batch", "time"],
    }
    assert report.max_difference < 1e-4
    assert report.opset == 17
    assert read_manifest(report.path) == read_manifest(tmp_path / "model_v1.pt")


def test_the_file_says_what_goes_in_and_out(tmp_path: Path) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(prototypes=PROTOTYPES))

    model = onnx.load(tmp_path / "model_v1.onnx")
    interface = json.loads(read_onnx_artifact(tmp_path / "model_v1.onnx").interface)

    types = {"FP32": onnx.TensorProto.FLOAT, "FP64": onnx.TensorProto.DOUBLE, "BOOL": onnx.TensorProto.BOOL}
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        said = {one["name"]: (types[one["datatype"]], one["shape"]) for one in interface[side]}
        found = {
            one.name: (
                one.type.tensor_type.elem_type,
                [axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim],
            )
            for one in values
        }
        assert said == found
    assert [one["name"] for one in interface["outputs"]] == ["logits", "embedding", "signing", "familiarity"]
    assert all(one["meaning"] for side in ("inputs", "outputs") for one in interface[side])


@pytest.mark.parametrize("config", ["tiny", "spatial"])
@pytest.mark.parametrize("prototypes", [True, False])
def test_a_file_from_before_landmarks_went_in_is_converted_without_its_weights(
    tmp_path: Path, config: str, *, prototypes: bool
) -> None:
    source = write_feature_model(
        tmp_path, config=config, prototypes=PROTOTYPES if prototypes and config == "tiny" else ""
    )
    expected = TorchBackend(source)
    source.unlink()
    path = tmp_path / "model_v1.onnx"

    report = export_to_onnx(path, path)

    converted = OnnxBackend(path)
    assert converted.manifest == expected.manifest
    assert max(report.max_difference, measure_difference(expected, converted)) < 1e-4
    with pytest.raises(ArtifactError, match="takes landmarks already"):
        export_to_onnx(path, path)


def test_only_a_torch_file_can_be_quantised(tmp_path: Path) -> None:
    write_feature_model(tmp_path)

    with pytest.raises(ArtifactError, match=r"cannot be quantised; export it from its \.pt file"):
        export_to_onnx(tmp_path / "model_v1.onnx", tmp_path / "model_v1.int8.onnx", int8=True)


def make_app() -> typer.Typer:
    app = typer.Typer()
    app.command()(main)
    return app


def test_int8_is_smaller_says_so_and_stays_close(tmp_path: Path) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(config="student"))

    report = export_to_onnx(tmp_path / "model_v1.pt", tmp_path / "any_name.onnx", int8=True)

    features = 0.42e6  # constants of the features' graph are not quantised
    f32, small = ((path.stat().st_size - features) for path in (tmp_path / "model_v1.onnx", report.path))
    assert small < 0.5 * f32
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
        ("model_v1.onnx", "m.onnx", "takes landmarks already"),
        ("text.pt", "m.onnx", "text.pt: not a readable model file"),
        (".", "m.onnx", "is no .pt or .onnx file"),
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
