"""Compares model files on people whom none of them has seen: what `scripts/compare_models.py` prints and draws.

Shapes: N answers (a clip answered by one pair of models).
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from app.ml.artifacts.files import read_manifest
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import DatasetError
from app.ml.evaluation.comparison import (
    Control,
    PairedScore,
    Verdict,
    control_by_permuted_labels,
    judge,
    paired_bootstrap,
    score_pairs,
)
from app.ml.evaluation.model_report import ClipRow, score_model
from app.ml.evaluation.reliability import ReliabilityBin, measure_calibration_error, measure_reliability
from app.ml.evaluation.scoring import Interval, bootstrap_over_people
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import find_copies, fingerprint
from app.ml.tta import make_views
from app.ml.types import BoolArray, FloatArray, LandmarkWindow

_TIMED_WINDOWS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's files, the n-th trained with the n-th seed, and how they are asked."""

    name: str
    paths: tuple[Path, ...]
    tta: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time to answer one window in one thread, from features to decision, in milliseconds."""

    p50_ms: float
    p95_ms: float
    num_windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """What one side is like.

    Attributes:
        accuracy: mean over people.
        ece: expected calibration error of the answers.
        accepted: part of the signs that get an answer rather than "not sure".
        idle_refused: part of the idle clips with a hand in view that get none; None without such clips.
        size_bytes: of the first file.
    """

    name: str
    files: tuple[str, ...]
    config: str
    accuracy: float
    ece: float
    reliability: tuple[ReliabilityBin, ...]
    accepted: float
    idle_refused: float | None
    latency: Latency
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        signers: who was tested, seen by no model.
        num_clips: different clips of signs that both sides know.
        num_copies: clips that were left out, because they repeat another of the same signer and sign.
        were_training_clips_given: whether copies of training recordings were looked for.
        difference: candidate minus baseline over (signer, sign) cells, and trainings where there are several.
        over_people: the same with whole people drawn.
    """

    verdict: Verdict
    difference: Interval
    over_people: Interval
    baseline: SideReport
    candidate: SideReport
    per_signer: Mapping[str, PairedScore]
    per_sign: Mapping[str, PairedScore]
    controls: tuple[Control, ...]
    signers: tuple[str, ...]
    num_clips: int
    num_copies: int
    were_training_clips_given: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be compared.

    Attributes:
        skip_seen: leave clips of people out whom a model has seen, rather than refuse to compare.
        assume_unseen: believe that a model which doesn't say whom it was trained on has seen nobody here.
    """

    skip_seen: bool = False
    assume_unseen: bool = False


_STRICT: Final = Rules()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """One side's answers to N clips of signs, and whether each idle clip with a hand in view was refused."""

    predicted: list[str]
    named_right: BoolArray
    confidence: FloatArray
    correct: BoolArray
    accepted: BoolArray
    idle_refused: list[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Answers of both sides to the same clips, in the same order: `rows` a side, `seeds` N."""

    rows: tuple[list[ClipRow], list[ClipRow]]
    idle: tuple[list[ClipRow], list[ClipRow]]
    seeds: list[int]
    clips: set[str]


def compare_models(
    baseline: Side,
    candidate: Side,
    clips: Sequence[Clip],
    *,
    training_clips: Sequence[Clip] = (),
    rules: Rules = _STRICT,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Ask both sides about the same clips of people whom neither has seen.

    Args:
        baseline: what is.
        candidate: what might be; its n-th file is paired with the baseline's n-th.
        clips: recordings to judge on; those of signs that both sides know count.
        training_clips: what the models learned from, when at hand: no test recording may be among them.
        rules: what may be compared.
        on_progress: told how many clips were just answered.

    Raises:
        DatasetError: a model has seen a person of the clips or does not say, a recording appears twice under different
            names or in training, nothing is left to judge on, or the sides have different numbers of files.
        ArtifactError: a model file cannot be used.
    """
    if len(baseline.paths) != len(candidate.paths):
        msg = (
            f"{len(baseline.paths)} baseline files and {len(candidate.paths)} candidate files cannot be paired; give "
            "as many of each, in the order of their seeds"
        )
        raise DatasetError(msg)
    chosen, num_copies = drop_copies(clips, training_clips)
    pairs = _ask_pairs(baseline, candidate, chosen, rules, on_progress)
    signers = [row.signer or "" for row in pairs.rows[0]]
    signs = [row.label or "" for row in pairs.rows[0]]
    ours, theirs = (_answers(rows, idle) for rows, idle in zip(pairs.rows, pairs.idle, strict=True))
    per_signer = score_pairs(ours.correct, theirs.correct, signers)
    difference = paired_bootstrap(ours.correct, theirs.correct, signers=signers, signs=signs, seeds=pairs.seeds)
    over_people = bootstrap_over_people({name: score.difference for name, score in per_signer.items()})
    controls = tuple(
        control_by_permuted_labels(signs, answers.predicted, name=side.name)
        for answers, side in ((ours, baseline), (theirs, candidate))
    )
    windows = [clip.to_window() for clip in chosen[:: max(1, len(chosen) // _TIMED_WINDOWS)]][:_TIMED_WINDOWS]
    return Comparison(
        verdict=judge(
            difference,
            over_people,
            num_cells=len(set(zip(signers, signs, strict=True))),
            num_seeds=len(set(pairs.seeds)),
            controls=controls,
        ),
        difference=difference,
        over_people=over_people,
        baseline=_describe(baseline, ours, windows, [score.baseline for score in per_signer.values()]),
        candidate=_describe(candidate, theirs, windows, [score.candidate for score in per_signer.values()]),
        per_signer=per_signer,
        per_sign=score_pairs(ours.correct, theirs.correct, signs),
        controls=controls,
        signers=tuple(per_signer),
        num_clips=len(pairs.clips),
        num_copies=num_copies,
        were_training_clips_given=bool(training_clips),
    )


def drop_copies(clips: Sequence[Clip], training_clips: Sequence[Clip] = ()) -> tuple[list[Clip], int]:
    """Clips without repetitions of the same signer and sign, and how many were dropped.

    Raises:
        DatasetError: the same recording stands under two signers or two signs, or was trained on.
    """
    dropped: set[int] = set()
    for group in find_copies(clips):
        names = sorted({f"{clips[position].label} of {clips[position].signer}" for position in group})
        if len(names) > 1:
            msg = f"the same recording is {' and '.join(names)}; remove the wrong ones: one of these labels is not true"
            raise DatasetError(msg)
        dropped |= set(group[1:])
    trained = {fingerprint(clip) for clip in training_clips}
    known = [clip for clip in clips if fingerprint(clip) in trained]
    if known:
        one = known[0]
        msg = (
            f"{len(known)} test recordings are among the training recordings (the first: {one.label} of {one.signer}, "
            f"{one.clip_id}), whatever their names say; remove them"
        )
        raise DatasetError(msg)
    return [clip for position, clip in enumerate(clips) if position not in dropped], len(dropped)


def unseen_clips(models: Sequence[tuple[str, ModelManifest]], clips: Sequence[Clip], rules: Rules) -> list[Clip]:
    """The clips of people whom none of the models has seen.

    Args:
        models: name and manifest of each.
        clips: to choose from.
        rules: what to do about the others.

    Raises:
        DatasetError: a model has seen somebody or does not say, a clip does not say who signs, or nobody is left.
    """
    nameless = sum(clip.signer is None for clip in clips)
    if nameless:
        msg = f"{nameless} clips do not say who signs; whether the models have seen these people cannot be known"
        raise DatasetError(msg)
    people = {clip.signer or "" for clip in clips}
    seen: set[str] = set()
    for name, manifest in models:
        signers, held_out = (manifest.provenance.get(key) for key in ("signers", "held_out"))
        if isinstance(signers, list):
            seen |= set(signers) - set(held_out if isinstance(held_out, list) else [])
        elif not rules.assume_unseen:
            msg = (
                f"{name} does not say whom it was trained on; if you know that none of these people is among them, say "
                "so with --assume-unseen"
            )
            raise DatasetError(msg)
        both = sorted(people & seen)
        if both and not rules.skip_seen:
            msg = (
                f"{name} was trained on {', '.join(both)}: how it does on them says nothing about new people; choose "
                "other data, or leave their clips out with --skip-seen"
            )
            raise DatasetError(msg)
    left = [clip for clip in clips if clip.signer not in seen]
    if not left:
        names = " or ".join(dict.fromkeys(name for name, _ in models))
        msg = f"everybody in the data was seen by {names}; record somebody new"
        raise DatasetError(msg)
    return left


def _ask_pairs(
    baseline: Side, candidate: Side, clips: Sequence[Clip], rules: Rules, on_progress: Callable[[int], None]
) -> _Pairs:
    pairs = _Pairs(rows=([], []), idle=([], []), seeds=[], clips=set())
    for number, paths in enumerate(zip(baseline.paths, candidate.paths, strict=True)):
        manifests = [read_manifest(path) for path in paths]
        unseen = unseen_clips([(path.name, one) for path, one in zip(paths, manifests, strict=True)], clips, rules)
        background = {label for manifest in manifests for label in manifest.background}
        reports = [
            _ask(path, unseen, tta=side.tta, on_progress=on_progress)
            for path, side in zip(paths, (baseline, candidate), strict=True)
        ]
        shared = [
            position for position, rows in enumerate(zip(*reports, strict=True)) if all(row.is_scored for row in rows)
        ]
        signs = [position for position in shared if reports[0][position].label not in background]
        if not signs:
            msg = f"{paths[0].name} and {paths[1].name} share no sign that the clips show; nothing can be compared"
            raise DatasetError(msg)
        seed = manifests[0].provenance.get("seed", number)
        pairs.seeds.extend([seed if isinstance(seed, int) else number] * len(signs))
        pairs.clips.update(fingerprint(unseen[position]) for position in signs)
        for side, report in enumerate(reports):
            pairs.rows[side].extend(report[position] for position in signs)
            pairs.idle[side].extend(
                report[position] for position in shared if position not in set(signs) and report[position].has_hand
            )
    return pairs


def _ask(path: Path, clips: Sequence[Clip], *, tta: bool, on_progress: Callable[[int], None]) -> tuple[ClipRow, ...]:
    with closing(SignFlowInferencePipeline.load_file(path)) as pipeline:
        return score_model(pipeline, clips, tta=tta, on_progress=on_progress).rows


def _answers(rows: Sequence[ClipRow], idle: Sequence[ClipRow]) -> _Answers:
    return _Answers(
        predicted=[row.predicted for row in rows],
        named_right=np.array([row.is_named_right for row in rows]),
        confidence=np.array([row.confidence for row in rows], np.float32),
        correct=np.array([row.is_correct for row in rows]),
        accepted=np.array([row.is_accepted for row in rows]),
        idle_refused=[not row.is_accepted for row in idle],
    )


def _describe(
    side: Side, answers: _Answers, windows: Sequence[LandmarkWindow], per_person: Sequence[float]
) -> SideReport:
    path = side.paths[0]
    return SideReport(
        name=side.name,
        files=tuple(str(path) for path in side.paths),
        config=str(read_manifest(path).config.get("name", "")),
        accuracy=statistics.fmean(per_person),
        ece=measure_calibration_error(answers.confidence, answers.named_right),
        reliability=tuple(measure_reliability(answers.confidence, answers.named_right)),
        accepted=float(answers.accepted.mean()),
        idle_refused=statistics.fmean(answers.idle_refused) if answers.idle_refused else None,
        latency=measure_latency(path, windows, tta=side.tta),
        size_bytes=path.stat().st_size,
    )


def measure_latency(path: Path, windows: Sequence[LandmarkWindow], *, tta: bool = False) -> Latency:
    """Time a model file on windows, one after the other, in one thread, after a few to warm up."""
    with closing(SignFlowInferencePipeline.load_file(path, num_threads=1)) as pipeline:
        views = [make_views(window) if tta else (window,) for window in windows]
        for some in views[:3]:
            pipeline.infer_batch(some)
        times: list[float] = []
        for one in views:
            begin_s = time.perf_counter()
            pipeline.infer_batch(one)
            times.append(1000 * (time.perf_counter() - begin_s))
    return Latency(
        p50_ms=float(np.quantile(times, 0.5)), p95_ms=float(np.quantile(times, 0.95)), num_windows=len(windows)
    )
