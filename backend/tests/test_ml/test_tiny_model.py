import shutil
from pathlib import Path

import numpy as np

from app.ml.evaluation.model_report import score_model
from app.ml.pipeline import SignFlowInferencePipeline
from tests.parametric_signer import IDLE, LABELS, make_clips, make_person, perform_stream


def test_people_who_were_not_trained_on_are_recognised_and_their_idle_is_refused(tiny_model_dir: Path) -> None:
    strangers = make_clips(num_people=4, takes=2, labels=(*LABELS, IDLE), seed=100)
    pipeline = SignFlowInferencePipeline.load(tiny_model_dir)

    report = score_model(pipeline, strangers)
    pipeline.close()

    assert not set(report.per_signer) & set(map(str, pipeline.manifest.provenance["signers"]))  # pyright: ignore[reportArgumentType]
    assert report.over_people.mean > 0.9
    assert report.calibration.selective_accuracy is not None
    assert report.calibration.selective_accuracy > 0.9
    assert report.calibration.background_refused is not None
    assert report.calibration.background_refused.refused > 0.7


def test_signing_is_high_during_signs_and_low_at_rest(tiny_model_dir: Path) -> None:
    stream = perform_stream(make_person(101), ("sun", "rain"), seed=3, rest_ms=1500.0)
    window = stream.clip.to_window()
    pipeline = SignFlowInferencePipeline.load(tiny_model_dir)

    (prediction,) = pipeline.infer_batch([window])
    pipeline.close()

    in_sign = np.zeros(len(window.times_ms), np.bool_)
    for sign in stream.signs:
        in_sign |= (window.times_ms >= sign.start_ms) & (window.times_ms <= sign.end_ms)
    assert prediction.signing[in_sign].mean() > prediction.signing[~in_sign].mean() + 0.3


def test_a_fallback_answers_as_the_broken_file_would_have(tiny_model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model_v1.onnx").write_bytes(b"garbage")
    windows = [clip.to_window() for clip in make_clips(num_people=1, takes=1, seed=50)]
    sound, fallback = (SignFlowInferencePipeline.load(folder) for folder in (tiny_model_dir, tmp_path))

    ours, theirs = sound.infer_batch(windows), fallback.infer_batch(windows)

    assert (sound.backend_info.name, fallback.backend_info.name) == ("onnx", "torch")
    assert [one.label for one in ours] == [one.label for one in theirs]
    np.testing.assert_allclose([one.confidence for one in ours], [one.confidence for one in theirs], atol=1e-5)
