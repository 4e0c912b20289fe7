"""Clips made ready for training: on the feature grid, normalised, labelled; signer-aware splits; a check for copies.

Shapes: G grid steps, 75 points.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from app.ml.errors import DatasetError
from app.ml.landmarks.features import STEP_MS
from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST
from app.ml.landmarks.normalise import normalise, resample, to_isotropic
from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import fingerprint
from app.ml.recordings.labels import BACKGROUND, IDLE, UNKNOWN
from app.ml.recordings.names import compose
from app.ml.types import FloatArray

_STALE_SPEED: Final = 6.0
"""Shoulder widths a second above which a first frame is taken for a left-over of the previous recording."""
_STALE_RATIO: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One clip on the feature grid: `points` float32 `[G, 75, 3]`, isotropic, in shoulder widths; `target` indexes
    the labels; `duration_ms` is the recording's own, before anything was resampled or cut."""

    points: FloatArray
    target: int
    signer: str
    session: str
    duration_ms: float


class LandmarkDataset:
    """Examples of a fixed list of labels; every clip keeps its own length."""

    def __init__(self, clips: Iterable[Clip], *, labels: Sequence[str], is_complete: bool = True) -> None:
        """Prepare clips; a clip whose label is not among `labels` becomes `unknown`.

        Args:
            clips: clips to learn from; those marked `suspect` are left out, those marked `nonsign` become background.
            labels: every class in logit order, background classes included.
            is_complete: whether every sign must have a clip, as training needs and testing does not.

        Raises:
            DatasetError: a label has no clip, or a sign's clip has no hand and no pose in any frame.
        """
        self.labels = tuple(labels)
        index = {label: number for number, label in enumerate(labels)}
        self.examples = tuple(
            Example(
                points=prepare(clip),
                target=index[background_of(clip, index)],
                signer=clip.signer or "",
                session=clip.session or "",
                duration_ms=clip.duration_ms,
            )
            for clip in clips
            if clip.quality != "suspect" and not _shows_nobody(clip)
        )
        present = {example.target for example in self.examples}
        missing = [label for label in labels if index[label] not in present and label not in BACKGROUND]
        if missing and is_complete:
            msg = f"no clip to learn from for {', '.join(missing)}; drop these labels or add recordings"
            raise DatasetError(msg)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def signers(self) -> tuple[str, ...]:
        """Everybody in the data, sorted."""
        return tuple(sorted({example.signer for example in self.examples}))

    def content_hash(self) -> str:
        """Hash of everything that a training run reads, in its order: a resumed run must have the same."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for example in self.examples:
            digest.update(f"{example.target} {example.signer!r} {example.session!r} {len(example.points)}".encode())
            digest.update(np.ascontiguousarray(example.points).data)
        return digest.hexdigest()


def require_disjoint(train: LandmarkDataset, val: LandmarkDataset) -> None:
    """Refuse a validation that would mean nothing.

    Raises:
        DatasetError: the sets' labels differ, a signer is in both, or a recording is, under whatever name.
    """
    if train.labels != val.labels:
        msg = "training and validation sets have different labels; build both with the same list"
        raise DatasetError(msg)
    both = set(train.signers) & set(val.signers)
    if both:
        msg = f"{', '.join(sorted(both))} would be on both sides; a validation of known people means nothing"
        raise DatasetError(msg)
    seen = {_hash(example.points) for example in train.examples}
    copies = sum(_hash(example.points) in seen for example in val.examples)
    if copies:
        msg = f"{copies} validation recordings are copies of training ones under another name; remove the copies"
        raise DatasetError(msg)


def _hash(points: FloatArray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(points).data).digest()


def background_of(clip: Clip, index: dict[str, int]) -> str:
    """The class that a clip is taught as: its label, `idle`, or `unknown` for what is none of the model's signs."""
    if clip.label == IDLE:
        return IDLE
    if clip.quality == "nonsign" or clip.label not in index:
        return UNKNOWN
    return clip.label


def sign_labels(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Labels of real signs in the clips, sorted: without idle, unknown, non-signs and suspect clips."""
    return tuple(
        sorted(
            {
                clip.label
                for clip in clips
                if clip.label is not None
                and clip.label not in BACKGROUND
                and clip.quality not in ("suspect", "nonsign")
            }
        )
    )


def people_per_label(clips: Iterable[Clip]) -> dict[str, int]:
    """How many different signers each label has, suspect clips apart."""
    people: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.label is not None and clip.quality != "suspect":
            people[clip.label].add(clip.signer or "")
    return {label: len(signers) for label, signers in people.items()}


def split_by_signer(clips: Sequence[Clip], held_out: Iterable[str]) -> tuple[list[Clip], list[Clip]]:
    """Split into clips of everybody else and clips of the held-out signers.

    Raises:
        DatasetError: a held-out signer has no clip, nobody is left to train on, or the two sides share a recording.
    """
    out = {compose(name) for name in held_out}  # a name typed on a Mac is composed otherwise
    signers = [None if clip.signer is None else compose(clip.signer) for clip in clips]
    unknown = out - set(signers)
    if unknown:
        known = ", ".join(sorted({clip.signer or "" for clip in clips} - {""})) or "nobody by name"
        msg = f"no clip of signer {', '.join(sorted(map(str, unknown)))}; the recordings have {known}"
        raise DatasetError(msg)
    train = [clip for clip, signer in zip(clips, signers, strict=True) if signer not in out]
    test = [clip for clip, signer in zip(clips, signers, strict=True) if signer in out]
    if not train:
        msg = "every signer is held out; nobody is left to train on"
        raise DatasetError(msg)
    shared = {fingerprint(clip) for clip in train} & {fingerprint(clip) for clip in test}
    if shared:
        msg = f"{len(shared)} recordings are on both sides of the split under different signers; remove the copies"
        raise DatasetError(msg)
    return train, test


def _shows_nobody(clip: Clip) -> bool:
    """An idle clip of an empty chair is right, and teaches nothing."""
    return clip.label == IDLE and bool(np.isnan(clip.landmarks).all())


_prepared: WeakKeyDictionary[Clip, FloatArray] = WeakKeyDictionary()


def prepare(clip: Clip) -> FloatArray:
    """A clip on the feature grid: `[G, 75, 3]`, isotropic, in shoulder widths, a stale first frame dropped.

    Kept as long as the clip lives, read-only: an evaluation trains on the same clips in every fold.

    Raises:
        DatasetError: the clip has no landmark in any frame.
    """
    points = _prepared.get(clip)
    if points is None:
        points = _prepared[clip] = _prepare(clip)
        points.flags.writeable = False
    return points


def _prepare(clip: Clip) -> FloatArray:
    landmarks, _ = resample(clip.landmarks, clip.times_ms, step_ms=STEP_MS)
    points = normalise(to_isotropic(landmarks, width=clip.width, height=clip.height))
    if np.isnan(points).all():
        msg = f"clip {clip.clip_id} of {clip.signer} has no landmark in any frame; remove it"
        raise DatasetError(msg)
    return _without_stale_start(points)


def _without_stale_start(points: FloatArray) -> FloatArray:
    """Drop a first frame that the camera had buffered before the recording began: a jump unlike the rest of the
    clip."""
    if len(points) < 5:
        return points
    wrists = points[:, (LEFT_WRIST, RIGHT_WRIST, LEFT_HAND.start, RIGHT_HAND.start), :2]
    step = np.sqrt((np.diff(wrists, axis=0) ** 2).sum(-1))
    speed = np.nan_to_num(step).max(-1) / (STEP_MS / 1000)
    stale = speed[0] > _STALE_SPEED and speed[0] > _STALE_RATIO * np.median(speed[1:])
    return points[1:] if stale else points
