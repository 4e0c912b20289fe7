"""Turns landmarks into what models read. Two specifications; an artifact names the one it was trained with.

`base469`   225 normalised coordinates + 225 velocities per second + 19 geometry values (5 distances between matching
points of the
            two hands, 2 elbow angles, 2 wrist angles, 5 hand-shape values for each hand).
`hands256`  what transfers between people: each hand relative to its own wrist and palm size, finger bends, tip
distances, palm
            direction, its place relative to chest and face, velocities; the arms; the relation of the hands. Ours.

Both are pure functions of the landmarks in view: a missing part gives zeros and, in `hands256`, a presence value of
zero.

Shapes: `...` any leading axes, G grid steps, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.ml.errors import ManifestMismatchError
from app.ml.landmarks.layout import (
    FINGERTIPS,
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    flatten,
)
from app.ml.landmarks.normalise import check_window, median_over_time, normalise, resample, to_isotropic
from app.ml.types import FloatArray, LandmarkWindow, TimesArray

STEP_MS: Final = 50.0
"""Grid of the features: 20 steps a second carry the signs of the recordings, which were filmed at 10 to 20 frames a
second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """A named feature set: `num_features` F values every `step_ms` milliseconds."""

    name: str
    num_features: int
    step_ms: float
    compute: Callable[[FloatArray, float], FloatArray]
    """Normalised points `[..., G, 75, 3]` and the step in seconds to features `[..., G, F]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSequence:
    """Features of one window: `values` float32 `[G, F]`, `times_ms` float64 `[G]`."""

    values: FloatArray
    times_ms: TimesArray


def get_feature_spec(name: str) -> FeatureSpec:
    """Look a specification up by the name that a model's manifest carries.

    Raises:
        ManifestMismatchError: this version of SignFlow has no such specification.
    """
    if name not in _SPECS:
        known = ", ".join(sorted(_SPECS))
        msg = f"unknown feature spec {name!r}; this version knows {known}: retrain the model or update SignFlow"
        raise ManifestMismatchError(msg)
    return _SPECS[name]


def extract_features(window: LandmarkWindow, spec: FeatureSpec) -> FeatureSequence:
    """Check, resample, normalise and describe one window.

    Raises:
        InvalidLandmarksError: the window cannot be used; see `check_window`.
    """
    check_window(window)
    points, times_ms = resample(window.landmarks, window.times_ms, step_ms=spec.step_ms)
    values = features_of(to_isotropic(points, width=window.width, height=window.height), spec)
    return FeatureSequence(values=values, times_ms=times_ms)


def features_of(points: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Normalise and describe isotropic points on the spec's grid: `[..., G, 75, 3]` to `[..., G, F]`, never NaN."""
    values = spec.compute(normalise(points), spec.step_ms / 1000)
    # Coordinates far outside the picture are detector accidents; unclipped, one of them outweighs the whole window.
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(values, -20.0, 20.0, out=values)


def _velocity(points: FloatArray, step_s: float) -> FloatArray:
    """Central differences per second over axis -3 (time); one-sided at the ends and beside a gap, NaN where nothing
    is known."""
    change = points[..., 1:, :, :] - points[..., :-1, :, :]
    backward, forward = np.full_like(points, np.nan), np.full_like(points, np.nan)
    backward[..., 1:, :, :] = change
    forward[..., :-1, :, :] = change
    both = (backward + forward) / 2
    one_sided = np.fmax(backward, forward)  # the one that is not NaN, where one is
    return np.where(np.isnan(both), one_sided, both) / np.float32(step_s)


def _norm(vectors: FloatArray) -> FloatArray:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def _cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.einsum("...i,...i->...", a, b) / (_norm(a) * _norm(b) + np.float32(1e-6))


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cross product over the last axis; `np.cross` spends most of its time on axes of other lengths."""
    return a[..., (1, 2, 0)] * b[..., (2, 0, 1)] - a[..., (2, 0, 1)] * b[..., (1, 2, 0)]


def _palm_size(hand: FloatArray) -> FloatArray:
    """Median over time of the mean wrist-to-knuckle distance: `[..., G, 21, 3]` to `[..., 1, 1, 1]`."""
    reach = _norm(hand[..., (5, 9, 13, 17), :] - hand[..., :1, :]).mean(-1)
    return np.maximum(median_over_time(reach[..., None]), np.float32(0.05))[..., None, None]


# fmt: off
_BEND_JOINTS: Final = np.array([
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (0, 5, 6), (5, 6, 7), (6, 7, 8), (0, 9, 10), (9, 10, 11), (10, 11, 12),
    (0, 13, 14), (13, 14, 15), (14, 15, 16), (0, 17, 18), (17, 18, 19), (18, 19, 20),
])
_TIP_PAIRS: Final = np.array([(4, 8), (4, 12), (4, 16), (4, 20), (8, 12), (12, 16), (16, 20), (4, 5), (4, 17)])
# fmt: on


def _hand_block(hand: FloatArray, nose: FloatArray, step_s: float) -> FloatArray:
    """Hands, `[..., G, 21, 3]` in shoulder widths, and nose `[..., G, 1, 2]` to `[..., G, 115]`."""
    wrist = hand[..., :1, :]
    relative = (hand[..., 1:, :] - wrist) / _palm_size(hand)
    whole = np.concatenate([np.zeros_like(relative[..., :1, :]), relative], -2)
    at = whole[..., _BEND_JOINTS, :]
    bends = _cosine(at[..., 0, :] - at[..., 1, :], at[..., 2, :] - at[..., 1, :])
    tips = _norm(whole[..., _TIP_PAIRS[:, 0], :] - whole[..., _TIP_PAIRS[:, 1], :])
    along, across = whole[..., 9, :], whole[..., 17, :] - whole[..., 5, :]
    normal = _cross(along, across)
    normal = normal / (_norm(normal)[..., None] + np.float32(1e-6))
    along = along / (_norm(along)[..., None] + np.float32(1e-6))
    place = hand[..., (0, 9), :2]
    to_face = hand[..., (0, 8, 12), :2] - nose
    motion = _velocity(hand[..., (0, 9), :2], step_s)
    finger_motion = _velocity(relative[..., tuple(tip - 1 for tip in FINGERTIPS), :2], step_s)
    present = (~np.isnan(hand[..., 0, :1])).astype(np.float32)
    blocks = (
        relative,
        bends,
        tips,
        normal,
        along,
        place,
        to_face,
        motion * np.float32(0.3),
        finger_motion * np.float32(0.3),
        present,
    )
    return np.concatenate([block.reshape(*hand.shape[:-2], -1) for block in blocks], -1)


def _elbow_and_wrist_angles(points: FloatArray) -> FloatArray:
    """Cosines of left elbow, right elbow, left wrist, right wrist, in the picture plane: `[..., G, 4]`."""
    xy = points[..., :2]
    values = [
        _cosine(xy[..., shoulder, :] - xy[..., elbow, :], xy[..., wrist, :] - xy[..., elbow, :])
        for shoulder, elbow, wrist in (
            (LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST),
            (RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST),
        )
    ] + [
        _cosine(xy[..., elbow, :] - xy[..., hand.start, :], xy[..., hand.start + 9, :] - xy[..., hand.start, :])
        for elbow, hand in ((LEFT_ELBOW, LEFT_HAND), (RIGHT_ELBOW, RIGHT_HAND))
    ]
    return np.stack(values, -1)


_MATCHING: Final = (0, 4, 8, 12, 20)
_ARM: Final = (LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST)


def _hands256(points: FloatArray, step_s: float) -> FloatArray:
    left, right = points[..., LEFT_HAND, :], points[..., RIGHT_HAND, :]
    nose = points[..., NOSE : NOSE + 1, :2]
    hands = _hand_block(np.stack([left, right], -4), nose[..., None, :, :, :], step_s)
    arms = points[..., _ARM, :2]
    arm_motion = _velocity(points[..., (LEFT_WRIST, RIGHT_WRIST), :2], step_s) * np.float32(0.3)
    between = _norm(left[..., _MATCHING, :2] - right[..., _MATCHING, :2])
    offset = (left[..., 0, :2] - right[..., 0, :2])[..., None, :]
    lead = points.shape[:-2]
    return np.concatenate(
        [
            hands[..., 0, :, :],
            hands[..., 1, :, :],
            arms.reshape(*lead, -1),
            arm_motion.reshape(*lead, -1),
            _elbow_and_wrist_angles(points),
            nose.reshape(*lead, -1),
            between,
            offset.reshape(*lead, -1),
            (~np.isnan(points[..., NOSE, :1])).astype(np.float32),
        ],
        -1,
    )


def _hand_shape(hand: FloatArray) -> FloatArray:
    """Five values: each fingertip's distance from the wrist in palm sizes."""
    return _norm(hand[..., FINGERTIPS, :] - hand[..., :1, :]) / _palm_size(hand)[..., 0]


def _base469(points: FloatArray, step_s: float) -> FloatArray:
    left, right = points[..., LEFT_HAND, :], points[..., RIGHT_HAND, :]
    return np.concatenate(
        [
            flatten(points),
            flatten(_velocity(points, step_s)),
            _norm(left[..., _MATCHING, :] - right[..., _MATCHING, :]),
            _elbow_and_wrist_angles(points),
            _hand_shape(left),
            _hand_shape(right),
        ],
        -1,
    )


_SPECS: Final = {
    spec.name: spec
    for spec in (
        FeatureSpec(name="base469", num_features=469, step_ms=STEP_MS, compute=_base469),
        FeatureSpec(name="hands256", num_features=256, step_ms=STEP_MS, compute=_hands256),
    )
}
