import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact, write_onnx_artifact
from app.ml.errors import ArtifactError, ManifestMismatchError, MissingExtraError
from app.ml.inference.backends import Backend, BackendOutput, OnnxBackend
from app.ml.inference.loading import open_backend
from app.ml.inference.openvino_backend import OpenVinoBackend
from app.ml.inference.torch_backend import TorchBackend
from tests.untrained_model import LABELS, NUM_FEATURES, make_manifest, random_batch, write_untrained_model

SHAPES = ((1, 1), (1, 30), (2, 7), (5, 64), (3, 200))
TOLERANCE = {"torch": 1e-5, "onnx": 1e-5, "onnx-int8": 0.1, "openvino-f32": 1e-4, "openvino-bf16": 0.1}
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
        OpenVinoBackend(model_dir / "model_v1.onnx", precision="f32"),
        OpenVinoBackend(model_dir / "model_v1.onnx", precision="bf16"),
    )
    return {backend.name: backend for backend in loaded}


def assert_close(first: BackendOutput, second: BackendOutput, *, tolerance: float) -> None:
    for ours, theirs in (
        (first.logits, second.logits),
        (first.embedding, second.embedding),
        (first.signing, second.signing),
    ):
        assert ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


def real_steps(output: BackendOutput, mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> BackendOutput:
    """The output with `signing` of padded steps, which means nothing, set to 0."""
    return BackendOutput(
        logits=output.logits, embedding=output.embedding, signing=np.where(mask, output.signing, np.float32(0))
    )


def test_each_file_names_its_backend_and_carries_the_manifest(backends: dict[str, Backend], model_dir: Path) -> None:
    assert list(backends) == list(TOLERANCE)
    assert {backend.device for backend in backends.values()} == {"cpu"}
    assert len({str(backend.manifest) for backend in backends.values()}) == 1


@pytest.mark.parametrize(("batch", "length"), SHAPES)
@pytest.mark.parametrize("name", list(TOLERANCE)[1:])
def test_every_backend_answers_as_torch_does(backends: dict[str, Backend], name: str, batch: int, length: int) -> None:
    features, mask = random_batch(batch, length)

    ours, theirs = (real_steps(backends[one].run(features, mask), mask) for one in ("torch", name))

    assert ours.logits.shape == (batch, len(LABELS))
    assert ours.signing.shape == (batch, length)
    assert_close(ours, theirs, tolerance=TOLERANCE[name])


@pytest.mark.parametrize("name", list(TOLERANCE))
def test_a_batch_of_n_equals_n_singles(backends: dict[str, Backend], name: str) -> None:
    features, mask = random_batch(6, 50)
    together = backends[name].run(features, mask)

    for row, length in enumerate(mask.sum(1)):
        alone = backends[name].run(features[row : row + 1, :length], mask[row : row + 1, :length])
        expected = BackendOutput(
            logits=together.logits[row : row + 1],
            embedding=together.embedding[row : row + 1],
            signing=together.signing[row : row + 1, :length],
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
    features, mask = random_batch(1, length, seed=length)
    padded = np.pad(features, ((0, 0), (0, padding), (0, 0)), constant_values=value)
    padded_mask = np.pad(mask, ((0, 0), (0, padding)))

    plain, with_padding = backends[name].run(features, mask), backends[name].run(padded, padded_mask)

    assert_close(
        plain,
        BackendOutput(
            logits=with_padding.logits, embedding=with_padding.embedding, signing=with_padding.signing[:, :length]
        ),
        tolerance=2e-5,
    )


def test_int8_padding_stays_out_of_the_scales_when_it_is_zero(backends: dict[str, Backend]) -> None:
    features, mask = random_batch(1, 40)
    padded, padded_mask = np.pad(features, ((0, 0), (0, 60), (0, 0))), np.pad(mask, ((0, 0), (0, 60)))

    plain, with_padding = (backends["onnx-int8"].run(*inputs) for inputs in ((features, mask), (padded, padded_mask)))

    np.testing.assert_allclose(plain.logits, with_padding.logits, atol=TOLERANCE["onnx-int8"])


def test_answers_stay_what_they_are_while_others_are_worked_out(backends: dict[str, Backend]) -> None:
    for backend in backends.values():
        first = backend.run(*random_batch(2, 20))
        before = first.logits.copy()
        backend.run(*random_batch(2, 20, seed=9))
        np.testing.assert_array_equal(first.logits, before)


def test_openvino_takes_bf16_only_where_it_is_faster(model_dir: Path) -> None:
    """Which one wins depends on the machine; that a choice is made, and said, does not."""
    backend = open_backend(model_dir / "model_v1.onnx", with_openvino=True)

    assert backend.name in ("openvino-f32", "openvino-bf16")
    features, mask = random_batch(2, 20)
    expected = OnnxBackend(model_dir / "model_v1.onnx").run(features, mask)
    np.testing.assert_allclose(backend.run(features, mask).logits, expected.logits, atol=TOLERANCE[backend.name])


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
    features, mask = random_batch(2, 20)
    before = features.copy(), mask.copy()

    for backend in backends.values():
        backend.run(features, mask)

    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize(
    ("labels", "num_features", "complaint"),
    [
        (("idle", "sun"), NUM_FEATURES, "number of labels differs: the manifest says 2, the graph has 7"),
        (LABELS, 100, "number of features differs: the manifest says 100, the graph has 469"),
    ],
)
def test_a_graph_of_other_width_than_its_manifest_is_refused(
    model_dir: Path, tmp_path: Path, labels: tuple[str, ...], num_features: int, complaint: str
) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:]
    manifest = make_manifest(labels=labels)
    object.__setattr__(manifest, "num_features", num_features)
    write_onnx_artifact(tmp_path / "model_v1.onnx", model=model.SerializeToString(), manifest=manifest)

    with pytest.raises(ManifestMismatchError, match=complaint):
        OnnxBackend(tmp_path / "model_v1.onnx")


def test_a_graph_with_other_outputs_is_refused(model_dir: Path, tmp_path: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:], model.graph.output[2:]
    write_onnx_artifact(tmp_path / "model_v1.onnx", model=model.SerializeToString(), manifest=make_manifest())

    with pytest.raises(ManifestMismatchError, match=r"gives logits, embedding; expected .*signing"):
        OnnxBackend(tmp_path / "model_v1.onnx")


def test_a_graph_that_onnx_runtime_cannot_load_is_refused_with_its_reason(model_dir: Path, tmp_path: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:]
    model.graph.node[0].op_type = "Imaginary"
    write_onnx_artifact(tmp_path / "model_v1.onnx", model=model.SerializeToString(), manifest=make_manifest())

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
