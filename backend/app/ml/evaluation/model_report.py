"""Scores a model on recorded clips: what `scripts/evaluate_models.py` prints."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import DatasetError
from app.ml.evaluation.reliability import ReliabilityBin, measure_calibration_error, measure_reliability
from app.ml.evaluation.scoring import (
    Confusion,
    Interval,
    Score,
    accepted_fraction,
    bootstrap_over_people,
    find_confusions,
    score_by_group,
    selective_accuracy,
)
from app.ml.inference.confidence import explain_unmeasured, settle_calibration
from app.ml.inference.decision import decide
from app.ml.inference.familiarity import RawAnswers, mean_answers
from app.ml.landmarks.layout import part_presence
from app.ml.pipeline import MAX_BATCH, SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from app.ml.tta import make_views
from app.ml.types import FloatArray

NO_SIGNER = "(not stated)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """What a model says about one clip.

    Attributes:
        clip_id: the clip's name in its data set, or its position.
        signer: who signs, if stated.
        label: what the data set says; None when it says nothing.
        predicted: the likeliest label of the model's whole vocabulary, background included.
        named: the likeliest sign, which is shown.
        confidence: of that sign; what is shown and what decides.
        is_accepted: whether it would be given live as an answer, rather than "not sure".
        is_scored: whether the clip counts for accuracy.
        has_hand: whether a hand is in view in any frame.
    """

    clip_id: str
    signer: str | None
    label: str | None
    predicted: str
    named: str
    confidence: float
    is_accepted: bool
    is_scored: bool
    has_hand: bool

    @property
    def is_correct(self) -> bool:
        """Whether the likeliest label is the data set's."""
        return self.predicted == self.label

    @property
    def is_named_right(self) -> bool:
        """Whether the likeliest sign is the data set's label; never where that is no sign."""
        return self.named == self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Part of some clips that get no answer, in [0, 1], and how many clips there are."""

    refused: float
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """How far the confidences can be trusted, at the model's own calibration.

    Attributes:
        threshold: the model's.
        unmeasured: why the model's confidences were never measured; None if they were.
        ece: expected calibration error of what is shown, over the clips of signs and of hands that make none; ten bins.
        reliability: these bins, confidence against the part that was right.
        sign_accuracy: accuracy on clips of signs alone, background clips left out.
        accepted: part of the clips of signs that get an answer.
        selective_accuracy: part of these answers that are right.
        background_refused: part of the background clips (idle) with a hand in view that get no answer.
        other_refused: the same for clips that are none of the model's signs (non-signs, signs that it does not know).
    """

    threshold: float
    unmeasured: str | None
    ece: float
    reliability: tuple[ReliabilityBin, ...]
    sign_accuracy: float | None
    accepted: float | None
    selective_accuracy: float | None
    background_refused: Refusal | None
    other_refused: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Scores of one model on one data set; `accuracy` is over clips of `labels`, answers over the whole vocabulary."""

    accuracy: float
    num_clips: int
    labels: tuple[str, ...]
    per_signer: dict[str, Score]
    per_sign: dict[str, Score]
    calibration: CalibrationReport
    confusions: tuple[Confusion, ...]
    over_people: Interval
    rows: tuple[ClipRow, ...]

    def to_dict(self, path: str) -> dict[str, object]:
        """The JSON shape of `evaluate_models --json`."""
        return {
            "path": path,
            "accuracy": self.accuracy,
            "num_clips": self.num_clips,
            "labels": list(self.labels),
            "per_signer": {name: asdict(score) for name, score in self.per_signer.items()},
            "per_sign": {name: asdict(score) for name, score in self.per_sign.items()},
            "calibration": asdict(self.calibration),
        }


def score_model(
    pipeline: SignFlowInferencePipeline,
    clips: Sequence[Clip],
    *,
    include_suspect: bool = False,
    tta: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> ModelReport:
    """Ask a model about every clip and score the answers over the labels that model and clips share.

    Args:
        pipeline: the model.
        clips: what to ask about; each gives one row, scored or not.
        include_suspect: also score clips that their data set marks as wrong or doubtful.
        tta: ask about five views of each clip, as the server does with test-time augmentation.
        on_progress: called with the number of clips just answered.

    Raises:
        DatasetError: there is no clip, or the model knows none of their labels.
        InvalidLandmarksError: a clip is longer than the model takes.
    """
    languages = {label.label: label.language for label in pipeline.manifest.labels}
    is_scored = [_is_shared(clip, languages) and (include_suspect or clip.quality != "suspect") for clip in clips]
    if not any(is_scored):
        raise DatasetError(_explain_nothing_to_score(pipeline.manifest, clips))
    rows = _ask(pipeline, clips, is_scored=is_scored, tta=tta, on_progress=on_progress)
    scored = [row for row in rows if row.is_scored]
    correct = np.array([row.is_correct for row in scored])
    labels = [row.label or "" for row in scored]
    per_signer = score_by_group(correct, [row.signer or NO_SIGNER for row in scored])
    return ModelReport(
        accuracy=float(correct.mean()),
        num_clips=len(scored),
        labels=tuple(sorted(set(labels))),
        per_signer=per_signer,
        per_sign=score_by_group(correct, labels),
        calibration=_report_calibration(rows, pipeline.manifest),
        confusions=tuple(find_confusions(labels, [row.predicted for row in scored])),
        over_people=bootstrap_over_people({name: score.accuracy for name, score in per_signer.items()}),
        rows=tuple(rows),
    )


def _ask(
    pipeline: SignFlowInferencePipeline,
    clips: Sequence[Clip],
    *,
    is_scored: Sequence[bool],
    tta: bool,
    on_progress: Callable[[int], None],
) -> list[ClipRow]:
    manifest = pipeline.manifest
    answers: list[RawAnswers] = []
    by_length = np.argsort([clip.duration_ms for clip in clips], kind="stable")  # little padding in each batch
    for start in range(0, len(clips), MAX_BATCH):
        batch = by_length[start : start + MAX_BATCH]
        windows = [clips[i].to_window() for i in batch]
        if tta:
            views = zip(*(make_views(window) for window in windows), strict=True)
            answers.append(mean_answers([pipeline.raw_batch(view) for view in views]))
        else:
            answers.append(pipeline.raw_batch(windows))
        on_progress(len(batch))
    in_order = np.argsort(by_length)
    decisions = decide(RawAnswers(*(np.concatenate(rows)[in_order] for rows in zip(*answers, strict=True))), manifest)
    best = decisions.probabilities.argmax(-1)
    return [
        ClipRow(
            clip_id=clip.clip_id or str(position),
            signer=clip.signer,
            label=clip.label,
            predicted=manifest.label_names[best[position]],
            named=manifest.label_names[decisions.ranking[position, 0]],
            confidence=float(decisions.confidence[position]),
            is_accepted=bool(decisions.accepted[position]),
            is_scored=is_scored[position],
            has_hand=bool(part_presence(clip.landmarks)[:, 1:].any()),
        )
        for position, clip in enumerate(clips)
    ]


def _is_shared(clip: Clip, languages: dict[str, str]) -> bool:
    """Signs of different languages are different signs, whatever they are called; a clip may not state its language."""
    return clip.label in languages and clip.language in (None, languages[clip.label])


def _explain_nothing_to_score(manifest: ModelManifest, clips: Sequence[Clip]) -> str:
    found = sorted({f"{clip.label}{f' ({clip.language})' if clip.language else ''}" for clip in clips if clip.label})
    return (
        f"model {manifest.version} and the data share no label to score: the model knows "
        f"{_shorten(manifest.label_names)}; the data has {_shorten(found) or 'no labelled clip'} "
        "(clips marked suspect count only with --include-suspect)"
    )


def _shorten(names: Sequence[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _report_calibration(rows: Sequence[ClipRow], manifest: ModelManifest) -> CalibrationReport:
    scored = [row for row in rows if row.is_scored]
    signs = [row for row in scored if row.label not in manifest.background]
    threshold = settle_calibration(manifest).threshold
    sign_scores, named_right = _scores(signs), np.array([row.is_named_right for row in signs], np.bool_)
    background = [row for row in scored if row.label in manifest.background and row.has_hand]
    other = [row for row in rows if row.label is not None and row.label not in manifest.label_names and row.has_hand]
    shown = [*signs, *background]
    confidence, is_right = _scores(shown), np.array([row.is_named_right for row in shown], np.bool_)
    return CalibrationReport(
        threshold=threshold,
        unmeasured=explain_unmeasured(manifest),
        ece=measure_calibration_error(confidence, is_right, num_bins=10),
        reliability=tuple(measure_reliability(confidence, is_right)),
        sign_accuracy=float(np.mean([row.is_correct for row in signs])) if signs else None,
        accepted=_none_if_nan(accepted_fraction(sign_scores, threshold=threshold)),
        selective_accuracy=_none_if_nan(selective_accuracy(sign_scores, named_right, threshold=threshold)),
        background_refused=_refusal(background, threshold),
        other_refused=_refusal(other, threshold),
    )


def _scores(rows: Sequence[ClipRow]) -> FloatArray:
    return np.array([row.confidence for row in rows], np.float32)


def _refusal(rows: Sequence[ClipRow], threshold: float) -> Refusal | None:
    if not rows:
        return None
    return Refusal(refused=1 - accepted_fraction(_scores(rows), threshold=threshold), num_clips=len(rows))


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
