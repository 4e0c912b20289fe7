"""Continuous signing streams with a known truth, built from single-sign clips.

A stream is what a camera would have seen: a person's clips one after the other, the hands travelling 0.3-0.6 s from one
to the next, going down now and then, resting or moving idly. Coordinates are brought to one place and size per stream,
because clips of different sessions would otherwise make the whole body jump.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.evaluation.scoring import TimedSign
from app.ml.landmarks.layout import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.landmarks.normalise import blend
from app.ml.recordings.clips import Clip
from app.ml.types import FloatArray, TimesArray

WIDTH: Final = 640
HEIGHT: Final = 480
_STEP_MS: Final = 1000.0 / 60.0
"""Spacing of the frames that are made between clips; the stream is resampled to its own rate afterwards."""
_ARMS: Final = (
    (LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST, (17, 19, 21), LEFT_HAND, 1.0),
    (RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, (18, 20, 22), RIGHT_HAND, -1.0),
)
_REST_ELBOW: Final = (0.15, 0.85)
_REST_WRIST: Final = (-0.05, 1.75)
"""Where a resting arm is, in shoulder widths from its shoulder: outwards, down. Hands in the lap are out of view."""
_LONGEST_TRANSIT_MS: Final = 600.0
_SHOULDER_WIDTH: Final = 0.36
_SHOULDERS_AT: Final = (0.5, 0.5)
"""Placement of every stream: shoulder width in frame heights, middle of the shoulders in fractions of the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStream:
    """A continuous recording and the signs that are really in it, in order of time."""

    clip: Clip
    signs: tuple[TimedSign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStyle:
    """How a stream is put together; ranges are drawn uniformly.

    Attributes:
        transit_ms: the hands' way from one sign to the next, or up from rest and down to it.
        signs_between_rests: how many signs are made before the hands go down.
        rest_ms: how long they stay down when no idle clip fills the pause.
    """

    transit_ms: tuple[float, float] = (300.0, 600.0)
    signs_between_rests: tuple[int, int] = (1, 4)
    rest_ms: tuple[float, float] = (800.0, 2500.0)


def build_stream(
    clips: Sequence[Clip],
    *,
    seed: int,
    fps: float = 30.0,
    idle_clips: Sequence[Clip] = (),
    style: StreamStyle | None = None,
) -> SignedStream:
    """Join clips to one stream: rest, sign, transit, sign, ..., rest.

    Args:
        clips: one sign each, in the order in which they shall be made; frames without a hand at their ends are cut.
        seed: of transit times, rests and the idle clips that fill them.
        fps: frames a second of the stream; capture times jitter by a tenth of a frame.
        idle_clips: ordinary movement that is no sign; one fills each rest. Without them rests are still.
        style: pace of the stream.

    Raises:
        DatasetError: no clip has both a label and shoulders and a hand somewhere.
    """
    rng = np.random.default_rng([seed, 3])
    style = style or StreamStyle()
    pieces = [(clip.label, piece) for clip in clips if clip.label is not None and (piece := _prepare(clip)) is not None]
    if not pieces:
        msg = f"none of {len(clips)} clips has a label, shoulders and a hand: a stream cannot be built from them"
        raise DatasetError(msg)
    idle = [piece for clip in idle_clips if (piece := _prepare(clip, needs_hands=False)) is not None]
    reel = _Reel(style, rng)
    signs: list[TimedSign] = []
    until_rest = 0
    for label, piece in pieces:
        if until_rest == 0:
            reel.rest(piece, idle)
            until_rest = int(rng.integers(style.signs_between_rests[0], style.signs_between_rests[1] + 1))
        reel.travel_to(piece.landmarks[0])
        start_ms = reel.end_ms
        reel.append(piece)
        signs.append(TimedSign(label=label, start_ms=start_ms, end_ms=reel.end_ms))
        until_rest -= 1
    reel.rest(pieces[-1][1], idle)
    times_ms = np.arange(0.0, reel.end_ms, 1000.0 / fps)
    times_ms = times_ms + rng.uniform(0.0, 0.1, len(times_ms)) * 1000.0 / fps
    landmarks = resample(np.concatenate(reel.landmarks), np.concatenate(reel.times_ms), times_ms)
    signers = {clip.signer for clip in clips}
    stream = Clip(
        landmarks=landmarks,
        times_ms=times_ms,
        width=WIDTH,
        height=HEIGHT,
        signer=signers.pop() if len(signers) == 1 else None,
    )
    return SignedStream(clip=stream, signs=tuple(signs))


def cut_stream(stream: SignedStream, duration_ms: float) -> SignedStream:
    """The beginning of a stream, cut at `duration_ms` or before the sign that is being made then (with its transit).

    Raises:
        DatasetError: nothing would be left.
    """
    cut_ms, previous_end_ms = duration_ms, 0.0
    for sign in stream.signs:
        if sign.start_ms - _LONGEST_TRANSIT_MS < duration_ms < sign.end_ms:
            cut_ms = max(sign.start_ms - _LONGEST_TRANSIT_MS, previous_end_ms)
            break
        previous_end_ms = sign.end_ms
    keep = stream.clip.times_ms <= cut_ms
    if not keep.any():
        msg = f"a stream cannot be cut to {duration_ms:.0f} ms: its first sign is in the way"
        raise DatasetError(msg)
    clip = replace(stream.clip, landmarks=stream.clip.landmarks[keep], times_ms=stream.clip.times_ms[keep])
    return SignedStream(clip=clip, signs=tuple(sign for sign in stream.signs if sign.end_ms <= cut_ms))


def resample(landmarks: FloatArray, times_ms: TimesArray, at_ms: TimesArray) -> FloatArray:
    """Linear interpolation in time; where one neighbour lacks a point, the nearer frame decides whether it is there.

    Args:
        landmarks: float32 `[T, 75, 3]`.
        times_ms: float64 `[T]`, strictly increasing.
        at_ms: float64 `[N]`; times outside the recording take its first or last frame.

    Returns:
        float32 `[N, 75, 3]`.
    """
    after = (
        np.clip(np.searchsorted(times_ms, at_ms), 1, len(times_ms) - 1)
        if len(times_ms) > 1
        else np.zeros(len(at_ms), np.int64)
    )
    before = np.maximum(after - 1, 0)
    span = np.maximum(times_ms[after] - times_ms[before], 1e-9)
    share = np.clip((at_ms - times_ms[before]) / span, 0.0, 1.0).astype(np.float32)[:, None, None]
    return blend(landmarks[before], landmarks[after], share).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    landmarks: FloatArray
    times_ms: TimesArray


def _prepare(clip: Clip, *, needs_hands: bool = True) -> _Piece | None:
    """Cut to the frames between the first and the last hand, and bring them to the stream's place and size."""
    landmarks, times_ms = clip.landmarks, clip.times_ms
    has_pose = np.isfinite(landmarks[:, (LEFT_SHOULDER, RIGHT_SHOULDER), 0]).all(axis=1)
    if not has_pose.any():
        return None
    if needs_hands:
        seen = np.flatnonzero(np.isfinite(landmarks[:, (LEFT_HAND.start, RIGHT_HAND.start), 0]).any(axis=1))
        if len(seen) < 2:
            return None
        cut = slice(int(seen[0]), int(seen[-1]) + 1)
        landmarks, times_ms, has_pose = landmarks[cut], times_ms[cut], has_pose[cut]
        if not has_pose.any():
            return None
    keep = np.flatnonzero(has_pose)
    landmarks, times_ms = landmarks[keep], times_ms[keep]
    return _Piece(landmarks=_place(landmarks, clip.width, clip.height), times_ms=times_ms - times_ms[0])


def _place(landmarks: FloatArray, width: int, height: int) -> FloatArray:
    points = landmarks * np.array([width / height, 1.0, width / height], np.float32)  # frame heights
    left, right = points[:, LEFT_SHOULDER, :2], points[:, RIGHT_SHOULDER, :2]
    centre = np.median((left + right) / 2, axis=0)
    shoulder_width = max(float(np.median(np.linalg.norm(left - right, axis=1))), 1e-3)
    scale = _SHOULDER_WIDTH / shoulder_width
    aspect = WIDTH / HEIGHT
    points[..., :2] = (points[..., :2] - centre) * scale + np.array([_SHOULDERS_AT[0] * aspect, _SHOULDERS_AT[1]])
    points[..., 2] *= scale
    return (points / np.array([aspect, 1.0, aspect])).astype(np.float32)


class _Reel:
    """Frames laid one after the other; knows where the hands are at its end."""

    def __init__(self, style: StreamStyle, rng: np.random.Generator) -> None:
        self._style = style
        self._rng = rng
        self.landmarks: list[FloatArray] = []
        self.times_ms: list[TimesArray] = []
        self.end_ms = 0.0

    def append(self, piece: _Piece) -> None:
        self.landmarks.append(piece.landmarks)
        self.times_ms.append(self.end_ms + piece.times_ms)
        self.end_ms += float(piece.times_ms[-1])

    def travel_to(self, goal: FloatArray) -> None:
        """Move every point to its place in `goal` with minimum jerk; hands keep their shape and ride on the wrists."""
        start = self.landmarks[-1][-1]
        duration_ms = self._rng.uniform(*self._style.transit_ms)
        phase = np.arange(1, max(2, round(duration_ms / _STEP_MS))) * _STEP_MS / duration_ms
        self._travel(start, goal, phase[phase < 1.0], duration_ms)

    def rest(self, like: _Piece, idle: Sequence[_Piece]) -> None:
        """Bring the hands down (unless this is the beginning) and keep them there, or play an idle clip."""
        if idle:
            piece = idle[int(self._rng.integers(len(idle)))]
            if self.landmarks:
                self.travel_to(piece.landmarks[0])
            self.append(piece)
            return
        at_rest = _lower_hands(self.landmarks[-1][-1] if self.landmarks else like.landmarks[0])
        if self.landmarks:
            self.travel_to(at_rest)
        at_rest = at_rest.copy()
        at_rest[LEFT_HAND] = at_rest[RIGHT_HAND] = np.nan
        times_ms = np.arange(0.0, self._rng.uniform(*self._style.rest_ms), _STEP_MS)
        sway = 0.002 * np.sin(times_ms / 700.0).astype(np.float32)
        self.append(_Piece(landmarks=at_rest + sway[:, None, None], times_ms=times_ms))

    def _travel(self, start: FloatArray, goal: FloatArray, phase: NDArray[np.float64], duration_ms: float) -> None:
        share = (phase**3 * (10 - 15 * phase + 6 * phase**2)).astype(np.float32)[:, None, None]
        way = start + share * (goal - start)
        for *_, wrist, _, hand, _ in _ARMS:
            shape_before, shape_after = start[hand] - start[wrist], goal[hand] - goal[wrist]
            if np.isnan(shape_before).any() != np.isnan(shape_after).any():
                shape = shape_after if np.isnan(shape_before).any() else shape_before
                way[:, hand] = way[:, wrist, None] + shape
            way[~_is_in_frame(way[:, wrist]), hand] = np.nan
        if len(way):
            self.landmarks.append(way)
            self.times_ms.append(self.end_ms + phase * duration_ms)
        self.end_ms += duration_ms


def _lower_hands(frame: FloatArray) -> FloatArray:
    """The same body `[75, 3]` with both arms hanging; hands keep their shape."""
    lowered = frame.copy()
    unit = np.array([_SHOULDER_WIDTH * HEIGHT / WIDTH, _SHOULDER_WIDTH], np.float32)
    for shoulder, elbow, wrist, knuckles, hand, side in _ARMS:
        old_wrist = frame[wrist].copy()
        for point, (outwards, down) in ((elbow, _REST_ELBOW), (wrist, _REST_WRIST)):
            lowered[point, :2] = frame[shoulder, :2] + np.array([outwards * side, down], np.float32) * unit
        moved = lowered[wrist] - old_wrist
        for group in (knuckles, hand):
            lowered[group, :] = frame[group, :] + moved
    return lowered


def _is_in_frame(points: FloatArray) -> NDArray[np.bool_]:
    return ((points[..., :2] > 0.0) & (points[..., :2] < 0.98)).all(axis=-1)
