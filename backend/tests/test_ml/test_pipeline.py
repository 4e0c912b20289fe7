import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from app.ml.artifacts.files import file_sha256, write_onnx_artifact
from app.ml.artifacts.interface import describe_interface
from app.ml.artifacts.manifest import Calibration
from app.ml.errors import (
    ArtifactError,
    InvalidLandmarksError,
    ManifestMismatchError,
    MissingExtraError,
    ModelNotFoundError,
)
from app.ml.inference.backends import BackendOutput
from app.ml.inference.decision import decide
from app.ml.landmarks.batches import WindowBatch
from app.ml.pipeline import BackendInfo, SignFlowInferencePipeline
from app.ml.types import LandmarkWindow, Prediction
from tests.untrained_model import LABELS, make_manifest, make_window, write_feature_model, write_untrained_model


class ScriptedBackend:
    """Gives the same logits to every row, and a rising `signing`; remembers the thread it ran in."""

    name = "scripted"
    device = "cpu"

    def __init__(self, logits: dict[str, float], *, calibration: Calibration | None = None) -> None:
        self.manifest = make_manifest(calibration=calibration or Calibration(temperature=1.0, threshold=0.5))
        self.logits = np.array([logits.get(label, 0.0) for label in LABELS], np.float32)
        self.threads: list[str] = []

    def run(self, batch: WindowBatch) -> BackendOutput:
        num_windows, length = batch.mask.shape
        self.threads.append(threading.current_thread().name)
        return BackendOutput(
            logits=np.tile(self.logits, (num_windows, 1)),
            embedding=np.zeros((num_windows, 4), np.float32),
            signing=np.tile(np.linspace(0, 1, length, dtype=np.float32), (num_windows, 1)),
            familiarity=np.zeros((num_windows, 0), np.float32),
        )


def scripted(
    logits: dict[str, float], *, calibration: Calibration | None = None
) -> tuple[SignFlowInferencePipeline, ScriptedBackend]:
    backend = ScriptedBackend(logits, calibration=calibration)
    info = BackendInfo(name="scripted", path=Path("model_v1.onnx"), sha256="")
    return SignFlowInferencePipeline(backend, backend_info=info), backend


@pytest.fixture(scope="module")
def source_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder, int8=True)
    return folder


@pytest.fixture
def model_dir(source_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for path in source_dir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def pipeline(source_dir: Path) -> Iterator[SignFlowInferencePipeline]:
    loaded = SignFlowInferencePipeline.load(source_dir)
    yield loaded
    loaded.close()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def assert_same(first: Prediction, second: Prediction, *, tolerance: float = 1e-5) -> None:
    assert first.label == second.label
    assert [one.label for one in first.alternatives] == [one.label for one in second.alternatives]
    assert first.confidence == pytest.approx(second.confidence, abs=tolerance)
    np.testing.assert_allclose(first.signing, second.signing, atol=tolerance)


def test_onnx_is_preferred_and_described(pipeline: SignFlowInferencePipeline, source_dir: Path) -> None:
    path = source_dir / "model_v1.onnx"

    assert pipeline.backend_info == BackendInfo(name="onnx", path=path, sha256=file_sha256(path), fallback_reason=None)
    assert pipeline.manifest.label_names == LABELS


@pytest.mark.parametrize(
    ("choice", "tolerance"), [("onnx", 1e-6), ("torch", 1e-5), ("onnx-int8", 0.05), ("openvino", 1e-4)]
)
def test_every_backend_gives_the_same_answer(
    pipeline: SignFlowInferencePipeline, source_dir: Path, choice: str, tolerance: float
) -> None:
    other = SignFlowInferencePipeline.load(source_dir, backend=choice)  # pyright: ignore[reportArgumentType]
    windows = [make_window(label, seed=seed) for seed, label in enumerate(("sun", "rain", "stone"))]

    assert other.backend_info.name.startswith(choice)
    for ours, theirs in zip(pipeline.infer_batch(windows), other.infer_batch(windows), strict=True):
        assert ours.confidence == pytest.approx(theirs.confidence, abs=tolerance)
        if tolerance <= 1e-5:
            assert_same(ours, theirs, tolerance=tolerance)
    other.close()


def test_a_batch_of_windows_of_many_lengths_equals_singles(pipeline: SignFlowInferencePipeline) -> None:
    windows = [make_window(LABELS[i % 2], seed=i, fps=8 + i) for i in range(40)]  # more than one batch

    together = pipeline.infer_batch(windows)

    assert len({len(prediction.signing) for prediction in together}) > 5
    for window, expected in zip(windows, together, strict=True):
        assert len(expected.signing) == len(window.times_ms)
        assert_same(pipeline.infer_batch([window])[0], expected)


def test_no_window_is_no_answer(pipeline: SignFlowInferencePipeline) -> None:
    assert pipeline.infer_batch([]) == []
    assert pipeline.raw_batch([]).logits.shape == (0, len(LABELS))


def test_logits_are_those_behind_the_answers(pipeline: SignFlowInferencePipeline) -> None:
    windows = [make_window("sun", seed=seed) for seed in range(35)]

    decisions = decide(pipeline.raw_batch(windows), pipeline.manifest)

    for row, prediction in enumerate(pipeline.infer_batch(windows)):
        assert prediction.confidence == pytest.approx(float(decisions.confidence[row]), abs=1e-6)
        assert (prediction.label is not None) == decisions.accepted[row]


async def test_infer_runs_in_the_pipelines_own_thread() -> None:
    pipeline, backend = scripted({"sun": 9.0})

    predictions = await asyncio.gather(*(pipeline.infer(make_window()) for _ in range(3)))

    assert [prediction.label for prediction in predictions] == ["sun"] * 3
    assert set(backend.threads) == {"signflow-infer_0"}
    pipeline.close()


async def test_a_closed_pipeline_refuses_to_answer() -> None:
    pipeline, _ = scripted({})
    pipeline.close()
    pipeline.close()

    with pytest.raises(RuntimeError, match="shutdown"):
        await pipeline.infer(make_window())


def test_the_five_best_signs_come_without_background() -> None:
    pipeline, _ = scripted({"idle": 5.0, "sun": 4.0, "rain": 3.0, "bird": 2.0})

    (prediction,) = pipeline.infer_batch([make_window()])

    assert [one.label for one in prediction.alternatives] == ["sun", "rain", "bird", "house", "river"]
    assert prediction.alternatives == tuple(sorted(prediction.alternatives, key=lambda one: -one.confidence))
    assert prediction.model_version == "v1"


@pytest.mark.parametrize(
    ("logits", "calibration", "label"),
    [
        ({"sun": 9.0}, Calibration(temperature=1.0, threshold=0.5), "sun"),
        ({"sun": 9.0}, Calibration(temperature=100.0, threshold=0.5), None),
        ({"sun": 1.0, "rain": 0.9}, Calibration(temperature=1.0, threshold=0.5), None),
        ({"sun": 5.0, "idle": 5.1}, Calibration(temperature=1.0, threshold=0.5), None),
        ({"sun": 1.0, "idle": 0.9}, Calibration(temperature=1.0, threshold=0.0), "sun"),
    ],
    ids=["sure", "cooled by temperature", "two candidates", "more like idle", "everything is accepted"],
)
def test_what_is_not_sure_gets_no_label_but_alternatives(
    logits: dict[str, float], calibration: Calibration, label: str | None
) -> None:
    pipeline, _ = scripted(logits, calibration=calibration)

    (prediction,) = pipeline.infer_batch([make_window()])

    assert prediction.label == label
    assert prediction.alternatives[0].label == "sun"
    assert prediction.confidence == prediction.alternatives[0].confidence


@pytest.mark.parametrize("fps", [7.0, 30.0, 60.0])
def test_signing_comes_at_the_windows_own_frames(fps: float) -> None:
    pipeline, _ = scripted({})
    window = make_window("sun", fps=fps)

    (prediction,) = pipeline.infer_batch([window])

    assert prediction.signing.shape == window.times_ms.shape
    assert prediction.signing.dtype == np.float32
    assert (np.diff(prediction.signing) >= 0).all()
    assert prediction.signing[0] == pytest.approx(0.0, abs=1e-6)
    assert prediction.signing[-1] == pytest.approx(1.0, abs=1e-6)


def make_broken_windows() -> dict[str, LandmarkWindow]:
    good = make_window()
    late, infinite = good.times_ms.copy(), good.landmarks.copy()
    late[-1] = 1e15
    infinite[0, 0, 0] = np.inf
    return {
        "no frame": replace(good, landmarks=good.landmarks[:0], times_ms=good.times_ms[:0]),
        "points missing": replace(good, landmarks=good.landmarks[:, :33]),
        "times missing": replace(good, times_ms=good.times_ms[:-1]),
        "backwards": replace(good, times_ms=good.times_ms[::-1].copy()),
        "not a time": replace(good, times_ms=good.times_ms * np.nan),
        "no size": replace(good, width=0),
        "too long": replace(good, times_ms=late),
        "infinite": replace(good, landmarks=infinite),
        "absurd": replace(good, landmarks=good.landmarks * np.float32(1e30)),
    }


@pytest.mark.parametrize("problem", list(make_broken_windows()))
def test_windows_that_cannot_be_used_are_refused(pipeline: SignFlowInferencePipeline, problem: str) -> None:
    windows = [make_window(), make_broken_windows()[problem]]

    with pytest.raises(InvalidLandmarksError):
        pipeline.infer_batch(windows)


def test_far_points_empty_pictures_and_single_frames_give_finite_answers(pipeline: SignFlowInferencePipeline) -> None:
    window = make_window()
    far = replace(window, landmarks=window.landmarks * np.float32(100))
    nobody = replace(window, landmarks=np.full_like(window.landmarks, np.nan))
    moment = replace(window, landmarks=window.landmarks[:1], times_ms=window.times_ms[:1])

    for prediction in pipeline.infer_batch([far, nobody, moment]):
        assert np.isfinite(prediction.confidence)
        assert np.isfinite(prediction.signing).all()


def test_a_broken_onnx_falls_back_to_the_torch_file_with_one_warning(
    model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(model_dir / "model_v1.onnx")

    with caplog.at_level(logging.WARNING):
        pipeline = SignFlowInferencePipeline.load(model_dir)

    assert pipeline.backend_info.name == "torch"
    assert pipeline.backend_info.path == model_dir / "model_v1.pt"
    assert pipeline.backend_info.fallback_reason is not None
    assert "hash differs" in pipeline.backend_info.fallback_reason
    (record,) = caplog.records
    assert record.getMessage() == f"using model_v1.pt, because {pipeline.backend_info.fallback_reason}"
    assert pipeline.infer_batch([make_window()])[0].model_version == "v1"
    pipeline.close()


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_garbage_falls_back_too(model_dir: Path, content: bytes) -> None:
    (model_dir / "model_v1.onnx").write_bytes(content)

    pipeline = SignFlowInferencePipeline.load(model_dir)

    assert pipeline.backend_info.name == "torch"
    assert "model_v1.onnx" in (pipeline.backend_info.fallback_reason or "")


def test_a_broken_onnx_alone_is_an_error(model_dir: Path) -> None:
    damage(model_dir / "model_v1.onnx")
    (model_dir / "model_v1.pt").unlink()

    with pytest.raises(ManifestMismatchError, match=r"model_v1\.onnx: hash differs"):
        SignFlowInferencePipeline.load(model_dir)


def test_both_files_broken_is_an_error_that_names_both(model_dir: Path) -> None:
    damage(model_dir / "model_v1.onnx")
    (model_dir / "model_v1.pt").write_bytes(b"garbage")

    with pytest.raises(ArtifactError, match=r"model_v1\.onnx: hash differs.*model_v1\.pt beside it cannot replace it"):
        SignFlowInferencePipeline.load(model_dir)


def test_an_asked_for_backend_never_falls_back(model_dir: Path) -> None:
    damage(model_dir / "model_v1.onnx")

    with pytest.raises(ManifestMismatchError):
        SignFlowInferencePipeline.load(model_dir, backend="onnx")


def test_an_older_version_never_replaces_a_broken_newest_one(model_dir: Path) -> None:
    (model_dir / "model_v2.onnx").write_bytes(b"garbage")

    with pytest.raises(ArtifactError, match=r"model_v2\.onnx"):
        SignFlowInferencePipeline.load(model_dir)
    assert SignFlowInferencePipeline.load(model_dir, version="v1").manifest.version == "v1"


def test_another_model_beside_a_broken_onnx_is_refused_with_the_difference(model_dir: Path, tmp_path: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:]
    model.graph.node[0].op_type = "Imaginary"
    other = replace(make_manifest(), weights_sha256="ab", calibration=Calibration(temperature=9.0, threshold=0.1))
    write_onnx_artifact(model_dir / "model_v1.onnx", model=model.SerializeToString(), manifest=other, interface="")

    with pytest.raises(ManifestMismatchError, match=r"are different models: calibration .*weights_sha256"):
        SignFlowInferencePipeline.load(model_dir)


def test_a_model_for_other_features_is_refused(model_dir: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:]
    (model_dir / "model_v1.pt").unlink()
    manifest = replace(make_manifest(), feature_spec="base470")
    interface = describe_interface(manifest, embedding=32)
    write_onnx_artifact(
        model_dir / "model_v1.onnx", model=model.SerializeToString(), manifest=manifest, interface=interface
    )

    with pytest.raises(ManifestMismatchError, match="unknown feature spec 'base470'"):
        SignFlowInferencePipeline.load(model_dir)


def test_a_file_from_before_landmarks_went_in_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = write_feature_model(tmp_path).with_suffix(".onnx")

    with pytest.raises(ManifestMismatchError, match=r"takes features, as models did .*convert it") as refused:
        SignFlowInferencePipeline.load_file(path)

    assert str(refused.value).endswith(f"python -m app.ml.export --model-path {path} --output {path}")


def test_beside_its_torch_file_such_a_file_costs_one_warning_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_feature_model(tmp_path)

    loaded = SignFlowInferencePipeline.load(tmp_path)

    assert loaded.backend_info.name == "torch"
    assert "python -m app.ml.export --model-path" in str(loaded.backend_info.fallback_reason)
    (record,) = caplog.records
    assert record.getMessage().startswith("using model_v1.pt, because")
    assert len(loaded.infer_batch([make_window()])) == 1
    loaded.close()


def test_a_torch_file_alone_is_used_without_a_warning(model_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    (model_dir / "model_v1.onnx").unlink()

    pipeline = SignFlowInferencePipeline.load(model_dir)

    assert (pipeline.backend_info.name, pipeline.backend_info.fallback_reason) == ("torch", None)
    assert caplog.records == []


def test_what_is_missing_is_named(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "model_v1.int8.onnx").unlink()

    with pytest.raises(
        ModelNotFoundError, match=r"no file of model v1 for this backend \(it has model_v1\.onnx, model_v1\.pt\)"
    ):
        SignFlowInferencePipeline.load(model_dir, backend="onnx-int8")
    with pytest.raises(ModelNotFoundError, match=r"no model_vN"):
        SignFlowInferencePipeline.load(tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match="no such file"):
        SignFlowInferencePipeline.load_file(tmp_path / "absent.pt")
    with pytest.raises(ArtifactError, match=r"a model is a \.pt or \.onnx file"):
        SignFlowInferencePipeline.load_file(tmp_path / "model.h5")


def test_without_torch_a_broken_onnx_says_how_to_install_it(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "app.ml.inference.torch_backend", raising=False)
    damage(model_dir / "model_v1.onnx")

    with pytest.raises(ArtifactError, match=r"model_v1\.pt needs PyTorch; 'make lab' installs it"):
        SignFlowInferencePipeline.load(model_dir)
    with pytest.raises(MissingExtraError):
        SignFlowInferencePipeline.load(model_dir, backend="torch")


def test_serving_onnx_never_imports_torch_or_onnx(source_dir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from app.ml.pipeline import SignFlowInferencePipeline; from app.ml.types import LandmarkWindow\n"
        f"pipeline = SignFlowInferencePipeline.load(Path({str(source_dir)!r}))\n"
        "window = LandmarkWindow(landmarks=np.full((9, 75, 3), 0.5, np.float32), times_ms=np.arange(9) * 50.0)\n"
        "assert len(pipeline.infer_batch([window])) == 1\n"
        "print([name for name in ('torch', 'onnx', 'scipy', 'mediapipe') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
