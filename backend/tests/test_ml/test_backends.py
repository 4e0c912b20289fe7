import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.artifacts.files import (
    load_torch_artifact,
    read_onnx_artifact,
    save_torch_artifact,
    write_onnx_artifact,
)
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ArtifactError, ManifestMismatchError, MissingExtraError
from app.ml.inference.backends import Backend, BackendOutput, OnnxBackend
from app.ml.inference.loading import open_backend
from app.ml.inference.openvino_backend import OpenVinoBackend
from app.ml.inference.torch_backend import TorchBackend
from app.ml.landmarks.batches import WindowBatch
from tests.untrained_model import LABELS, make_manifest, random_batch, write_untrained_model

SHAPES = ((1, 1), (1, 30), (2, 7), (5, 64), (3, 200))
TOLERANCE = {"torch": 1e-5, "onnx": 1e-5, "onnx-int8": 0.1, "openvino": 1e-4}
"""Int8 takes its activation scales over the whole batch, so a batch of n differs a little from n singles."""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder, int8=True)
    return folder


@pytest.fixture(scope="module")
def backends(model_dir: Path) -> dict[str, Backend]:
    loaded: tuple[Backend, ...] = (
        TorchBackend(model_dir / "model_v1.pt"),
        OnnxBackend(model_dir / "model_v1.onnx"),
        OnnxBackend(model_dir / "model_v1.int8.onnx"),
        OpenVinoBackend(model_dir / "model_v1.onnx"),
    )
    return {backend.name: backend for backend in loaded}


def slice_rows(batch: WindowBatch, rows: slice, frames: slice = slice(None)) -> WindowBatch:
    return WindowBatch(
        landmarks=batch.landmarks[rows, frames],
        times_ms=batch.times_ms[rows, frames],
        aspect=batch.aspect[rows],
        mask=batch.mask[rows, frames],
    )


def pad(batch: WindowBatch, padding: int, value: float) -> WindowBatch:
    frames = ((0, 0), (0, padding))
    return WindowBatch(
        landmarks=np.pad(batch.landmarks, (*frames, (0, 0), (0, 0)), constant_values=value),
        times_ms=np.pad(batch.times_ms, frames, constant_values=value),
        aspect=batch.aspect,
        mask=np.pad(batch.mask, frames),
    )


def assert_close(first: BackendOutput, second: BackendOutput, *, tolerance: float) -> None:
    for ours, theirs in (
        (first.logits, second.logits),
        (first.embedding, second.embedding),
        (first.signing, second.signing),
        (first.familiarity, second.familiarity),
    ):
        assert ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


def real_frames(output: BackendOutput, mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> BackendOutput:
    """The output with `signing` of padded frames, which means nothing, set to 0."""
    return replace(output, signing=np.where(mask, output.signing, np.float32(0)))


def test_each_file_names_its_backend_and_carries_the_manifest(backends: dict[str, Backend], model_dir: Path) -> None:
    assert list(backends) == list(TOLERANCE)
    assert {backend.device for backend in backends.values()} == {"cpu"}
    assert len({str(backend.manifest) for backend in backends.values()}) == 1


@pytest.mark.parametrize(("batch", "length"), SHAPES)
@pytest.mark.parametrize("name", list(TOLERANCE)[1:])
def test_every_backend_answers_as_torch_does(backends: dict[str, Backend], name: str, batch: int, length: int) -> None:
    windows = random_batch(batch, length)

    ours, theirs = (real_frames(backends[one].run(windows), windows.mask) for one in ("torch", name))

    assert ours.logits.shape == (batch, len(LABELS))
    assert ours.signing.shape == (batch, length)
    assert_close(ours, theirs, tolerance=TOLERANCE[name])


@pytest.mark.parametrize("name", list(TOLERANCE))
def test_a_batch_of_n_equals_n_singles(backends: dict[str, Backend], name: str) -> None:
    windows = random_batch(6, 50)
    together = backends[name].run(windows)

    for row, length in enumerate(windows.mask.sum(1)):
        alone = backends[name].run(slice_rows(windows, slice(row, row + 1), slice(length)))
        expected = BackendOutput(
            logits=together.logits[row : row + 1],
            embedding=together.embedding[row : row + 1],
            signing=together.signing[row : row + 1, :length],
            familiarity=together.familiarity[row : row + 1],
        )
        assert_close(alone, expected, tolerance=TOLERANCE[name])


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["torch", "onnx"]),
    length=st.integers(1, 40),
    padding=st.integers(0, 60),
    value=st.floats(-1e6, 1e6, width=32),
)
def test_padding_never_changes_an_answer(
    backends: dict[str, Backend], name: str, length: int, padding: int, value: float
) -> None:
    windows = random_batch(1, length, seed=length)

    plain, with_padding = backends[name].run(windows), backends[name].run(pad(windows, padding, value))

    assert_close(plain, replace(with_padding, signing=with_padding.signing[:, :length]), tolerance=2e-5)


def test_int8_padding_stays_out_of_the_scales(backends: dict[str, Backend]) -> None:
    windows = random_batch(1, 40)

    plain, with_padding = (backends["onnx-int8"].run(one) for one in (windows, pad(windows, 60, 1e3)))

    np.testing.assert_allclose(plain.logits, with_padding.logits, atol=TOLERANCE["onnx-int8"])


def test_answers_stay_what_they_are_while_others_are_worked_out(backends: dict[str, Backend]) -> None:
    for backend in backends.values():
        first = backend.run(random_batch(2, 20))
        before = first.logits.copy()
        backend.run(random_batch(2, 20, seed=9))
        np.testing.assert_array_equal(first.logits, before)


@pytest.mark.parametrize("name", ["model_v1.onnx", "model_v1.pt"])
def test_a_device_that_is_missing_is_replaced_by_the_processor_with_one_warning(
    model_dir: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend(model_dir / name, device="mps" if torch.cuda.is_available() else "cuda")

    assert backend.device == "cpu"
    (record,) = caplog.records
    assert "the CPU runs the model" in record.getMessage()


def test_without_openvino_the_message_says_which_extra_installs_it(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "app.ml.inference.openvino_backend", raising=False)

    with pytest.raises(MissingExtraError, match=r"'make extra NAME=openvino' installs it"):
        open_backend(model_dir / "model_v1.onnx", with_openvino=True)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_openvino_refuses_what_onnx_runtime_refuses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model_v1.onnx"
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=r"model_v1\.onnx"):
        OpenVinoBackend(path)


def test_inputs_are_left_as_they_were(backends: dict[str, Backend]) -> None:
    windows = random_batch(2, 20)
    before = {name: tensor.copy() for name, tensor in windows.tensors.items()}

    for backend in backends.values():
        backend.run(windows)

    for name, tensor in windows.tensors.items():
        np.testing.assert_array_equal(tensor, before[name])


def reseal(source: Path, target: Path, model: onnx.ModelProto, manifest: ModelManifest) -> None:
    """Write a changed graph with the interface of the file that it comes from."""
    del model.metadata_props[:]
    interface = read_onnx_artifact(source).interface
    write_onnx_artifact(target, model=model.SerializeToString(), manifest=manifest, interface=interface)


def test_a_graph_of_other_width_than_its_manifest_is_refused(model_dir: Path, tmp_path: Path) -> None:
    source, target = model_dir / "model_v1.onnx", tmp_path / "model_v1.onnx"
    reseal(source, target, onnx.load(source), make_manifest(labels=("idle", "sun")))

    with pytest.raises(ManifestMismatchError, match="number of labels differs: the manifest says 2, the graph has 7"):
        OnnxBackend(target)


def test_a_graph_with_other_outputs_is_refused(model_dir: Path, tmp_path: Path) -> None:
    source, target = model_dir / "model_v1.onnx", tmp_path / "model_v1.onnx"
    model = onnx.load(source)
    del model.graph.output[2:]
    reseal(source, target, model, make_manifest())

    with pytest.raises(ManifestMismatchError, match=r"gives logits, embedding; expected .*signing"):
        OnnxBackend(target)


def test_a_file_of_another_interface_is_refused_with_both_names(model_dir: Path, tmp_path: Path) -> None:
    artifact = read_onnx_artifact(model_dir / "model_v1.onnx")
    model = onnx.load_from_string(artifact.content)
    del model.metadata_props[:]
    later = artifact.interface.replace("landmarks-1", "landmarks-2")
    write_onnx_artifact(
        tmp_path / "model_v1.onnx", model=model.SerializeToString(), manifest=artifact.manifest, interface=later
    )

    with pytest.raises(ManifestMismatchError, match=r"'landmarks-2', this version of SignFlow speaks 'landmarks-1'"):
        OnnxBackend(tmp_path / "model_v1.onnx")


def test_a_graph_that_onnx_runtime_cannot_load_is_refused_with_its_reason(model_dir: Path, tmp_path: Path) -> None:
    source = model_dir / "model_v1.onnx"
    model = onnx.load(source)
    model.graph.node[0].op_type = "Imaginary"
    reseal(source, tmp_path / "model_v1.onnx", model, make_manifest())

    with pytest.raises(ArtifactError, match=r"ONNX Runtime .* cannot load it .*Imaginary"):
        OnnxBackend(tmp_path / "model_v1.onnx")


def test_weights_that_do_not_fit_the_config_are_refused(model_dir: Path, tmp_path: Path) -> None:
    weights, manifest = load_torch_artifact(model_dir / "model_v1.pt")
    weights.pop("classifier.bias")
    save_torch_artifact(tmp_path / "model_v1.pt", state_dict=weights, manifest=manifest)

    with pytest.raises(ManifestMismatchError, match=r"weights and manifest do not fit[\s\S]*classifier\.bias"):
        TorchBackend(tmp_path / "model_v1.pt")


def test_a_config_that_this_version_does_not_know_is_refused(model_dir: Path, tmp_path: Path) -> None:
    weights, manifest = load_torch_artifact(model_dir / "model_v1.pt")
    manifest.config["num_wings"] = 2
    save_torch_artifact(tmp_path / "model_v1.pt", state_dict=weights, manifest=manifest)

    with pytest.raises(ManifestMismatchError, match="num_wings"):
        TorchBackend(tmp_path / "model_v1.pt")
