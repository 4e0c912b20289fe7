"""Turns landmarks into what models read, for training: `app/ml/network` has the same in PyTorch, which is what an
exported model holds, and tests hold the two together. Three specifications; an artifact names the one it was trained
with.

`base469`   225 normalised coordinates + 225 velocities per second + 19 geometry values (5 distances between matching
            points of the two hands, 2 elbow angles, 2 wrist angles, 5 hand-shape values for each hand).
`hands256`  what transfers between people: each hand relative to its own wrist and palm size, finger bends, tip
            distances, palm direction, its place relative to chest and face, velocities; the arms; the relation of the
            hands. Ours.
`landmarks75`  the normalised points themselves, `[..., G, 75, 3]`, for networks that know the skeleton.

All are pure functions of the landmarks in view: a missing part gives zeros and, in `hands256`, a presence value of
zero; in `landmarks75` it stays NaN.

Shapes: `...` any leading axes, B windows, G grid steps, F features. Inside, time is the last axis: points are rows
`[P, 3, ..., G]` (see `normalise`), features `[F, ..., G]`.
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
    NUM_HAND,
    NUM_POINTS,
    NUM_POSE,
    NUM_VALUES,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.landmarks.memory import MEMORY
from app.ml.landmarks.normalise import MIN_PALM, median_over_time, normalise_rows
from app.ml.types import FloatArray

STEP_MS: Final = 50.0
"""Grid of the features: 20 steps a second carry the signs of the recordings, which were filmed at 10 to 20 frames a
second."""
LIMIT: Final = 20.0
"""Coordinates far outside the picture are detector accidents; unclipped, one of them outweighs the whole window."""
_STEPS_AT_ONCE: Final = 1024
"""Grid steps that are worked on together: their points and features stay in a processor's own cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """A named feature set: `num_features` F values every `step_ms` milliseconds.

    Attributes:
        num_pose: how many points of the pose it reads, from the first.
        compute: takes normalised rows `[num_pose + 42, 3, ..., G]` and the step in seconds, and fills features
            `[F, ..., G]`; NaN where something is missing.
        is_landmarks: the values are points, NaN where missing, which models take as `[75, 3]`.
    """

    name: str
    num_features: int
    step_ms: float
    num_pose: int
    compute: Callable[[FloatArray, float, FloatArray], None]
    is_landmarks: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one grid step: `(F,)`, or `(75, 3)` for landmarks."""
        return (NUM_POINTS, 3) if self.is_landmarks else (self.num_features,)


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


def features_of(points: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Normalise and describe isotropic points on the spec's grid: `[..., G, 75, 3]` to `[..., G, F]`, never NaN; to
    `[..., G, 75, 3]`, NaN where missing, for landmarks."""
    *lead, num_steps, _, _ = points.shape
    windows = points.reshape(-1, num_steps, *points.shape[-2:])
    values = np.empty((len(windows), num_steps, *spec.shape), np.float32)
    at_once = max(1, _STEPS_AT_ONCE // num_steps)
    for start in range(0, len(windows), at_once):
        chosen = windows[start : start + at_once]
        rows = MEMORY.take("rows", spec.num_pose + 2 * NUM_HAND, 3, len(chosen), num_steps)
        rows[: spec.num_pose] = chosen[:, :, : spec.num_pose].transpose(2, 3, 0, 1)
        rows[spec.num_pose :] = chosen[:, :, LEFT_HAND.start :].transpose(2, 3, 0, 1)
        values[start : start + at_once] = _describe(rows, spec)
    return values.reshape(*lead, num_steps, *spec.shape)


def _describe(rows: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Isotropic rows `[P, 3, B, G]`, which are used up, to features `[B, G, F]` or landmarks `[B, G, 75, 3]`."""
    normalise_rows(rows)
    features = MEMORY.take("features", spec.num_features, *rows.shape[2:])
    spec.compute(rows, spec.step_ms / 1000, features)
    missing = ~np.isfinite(features)
    np.clip(features, -LIMIT, LIMIT, out=features)
    features[missing] = np.nan if spec.is_landmarks else 0.0
    return np.moveaxis(features, 0, -1).copy().reshape(*rows.shape[2:], *spec.shape)


def _velocity(points: FloatArray, step_s: float) -> FloatArray:
    """Central differences per second over the last axis (time); one-sided at the ends and beside a gap, NaN where
    nothing is known."""
    velocity = np.full_like(points, np.nan)
    if points.shape[-1] > 1:
        change = points[..., 1:] - points[..., :-1]
        velocity[..., 0], velocity[..., -1] = change[..., 0], change[..., -1]
        backward, forward = change[..., :-1], change[..., 1:]
        both = (backward + forward) / 2
        # The one that is not NaN, where one is.
        velocity[..., 1:-1] = np.where(np.isnan(both), np.fmax(backward, forward), both)
    return velocity / np.float32(step_s)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Over the axis of coordinates, `[P..., 3 or 2, B, G]` to `[P..., B, G]`."""
    return (a * b).sum(-3)


def _norm(vectors: FloatArray) -> FloatArray:
    return np.sqrt(_dot(vectors, vectors))


def _cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    return _dot(a, b) / (_norm(a) * _norm(b) + np.float32(1e-6))


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[:, (1, 2, 0)] * b[:, (2, 0, 1)] - a[:, (2, 0, 1)] * b[:, (1, 2, 0)]


def _hands(rows: FloatArray) -> FloatArray:
    """Both hands `[2, 21, 3, B, G]`, left first; a view."""
    return rows[-2 * NUM_HAND :].reshape(2, NUM_HAND, *rows.shape[1:])


def _palm_size(relative: FloatArray) -> FloatArray:
    """Median over time of the mean wrist-to-knuckle distance: points relative to the wrist `[2, 20, 3, B, G]` to
    `[2, B, 1]`."""
    reach = _norm(relative[:, 4::4]).sum(1) / np.float32(4)
    return np.maximum(median_over_time(reach), np.float32(MIN_PALM))[..., None]


FACED: Final = (0, 8, 12)
"""Points of a hand whose place relative to the nose counts: wrist, tips of index and middle finger."""
MATCHING: Final = (0, 4, 8, 12, 20)
"""Points of the two hands whose distance from each other counts: wrists and the tips of four fingers."""
SLOWED: Final = 0.3
"""Brings velocities to the size of the other values."""


def _describe_hands(hands: FloatArray, nose: FloatArray, features: FloatArray) -> FloatArray:
    """Fill in 100 of the 115 values of each hand.

    Args:
        hands: `[2, 21, 3, B, G]` in shoulder widths.
        nose: `[2, B, G]`.
        features: `[2, 115, B, G]`; motion, the values from 100 to 113, is left to the caller.

    Returns:
        What the motion is taken of: wrist and middle knuckle, and the five tips, x and y of each: `[2, 14, B, G]`.
    """
    over_time = hands.shape[-2:]
    relative = features[:, :60].reshape(2, 20, 3, *over_time)
    np.subtract(hands[:, 1:], hands[:, :1], out=relative)
    relative /= _palm_size(relative)[:, None, None]

    fingers = relative.reshape(2, 5, 4, 3, *over_time)
    bones = fingers.copy()  # from each joint to the next one, beginning at the wrist
    bones[:, :, 1:] -= fingers[:, :, :-1]
    lengths = _norm(bones)
    bends = _dot(bones[:, :, :-1], bones[:, :, 1:])
    np.negative(bends, out=bends)
    bends /= lengths[:, :, :-1] * lengths[:, :, 1:] + np.float32(1e-6)
    features[:, 60:75] = bends.reshape(2, 15, *over_time)

    tips, knuckles = fingers[:, :, 3], fingers[:, :, 0]
    apart = np.empty((2, 9, 3, *over_time), np.float32)
    np.subtract(tips[:, :1], tips[:, 1:], out=apart[:, :4])  # the thumb from each other finger
    np.subtract(tips[:, 1:-1], tips[:, 2:], out=apart[:, 4:7])  # neighbours
    np.subtract(tips[:, :1], knuckles[:, 1::3], out=apart[:, 7:])  # the thumb from both ends of the palm
    features[:, 75:84] = _norm(apart)

    directions = features[:, 84:90].reshape(2, 2, 3, *over_time)  # the palm's normal, and along the hand
    directions[:, 1] = relative[:, 8]
    directions[:, 0] = _cross(relative[:, 8], relative[:, 16] - relative[:, 4])
    directions /= _norm(directions)[:, :, None] + np.float32(1e-6)

    moved = np.empty((2, 14, *over_time), np.float32)
    moved[:, :4] = hands[:, :10:9, :2].reshape(2, 4, *over_time)
    moved[:, 4:] = tips[:, :, :2].reshape(2, 10, *over_time)
    features[:, 90:94] = moved[:, :4]
    features[:, 94:100] = (hands[:, FACED, :2] - nose).reshape(2, 6, *over_time)
    features[:, 114] = ~np.isnan(hands[:, 0, 0])
    return moved


def _elbow_and_wrist_angles(rows: FloatArray) -> FloatArray:
    """Cosines of left elbow, right elbow, left wrist, right wrist, in the picture plane: `[4, B, G]`."""
    hands = _hands(rows)[:, :, :2]
    elbows = rows[LEFT_ELBOW : RIGHT_ELBOW + 1, :2]
    upper = rows[LEFT_SHOULDER : RIGHT_SHOULDER + 1, :2] - elbows
    lower = rows[LEFT_WRIST : RIGHT_WRIST + 1, :2] - elbows
    palm, forearm = hands[:, 9] - hands[:, 0], elbows - hands[:, 0]
    return _cosine(np.concatenate([upper, forearm]), np.concatenate([lower, palm]))


def _hands256(rows: FloatArray, step_s: float, features: FloatArray) -> None:
    over_time = rows.shape[2:]
    hands, nose = _hands(rows), rows[NOSE, :2]
    block = features[:230].reshape(2, 115, *over_time)
    wrists = rows[LEFT_WRIST : RIGHT_WRIST + 1, :2].reshape(4, *over_time)
    moved = _describe_hands(hands, nose, block).reshape(28, *over_time)
    motion = _velocity(np.concatenate([moved, wrists]), step_s)
    motion *= np.float32(SLOWED)
    block[:, 100:114] = motion[:28].reshape(2, 14, *over_time)
    features[230:238] = rows[LEFT_ELBOW : RIGHT_WRIST + 1, :2].reshape(8, *over_time)
    features[238:242] = motion[28:]
    features[242:246] = _elbow_and_wrist_angles(rows)
    features[246:248] = nose
    between = hands[0, MATCHING, :2] - hands[1, MATCHING, :2]
    features[248:253] = _norm(between)
    features[253:255] = between[0]
    features[255] = ~np.isnan(nose[0])


def _base469(rows: FloatArray, step_s: float, features: FloatArray) -> None:
    over_time = rows.shape[2:]
    hands = _hands(rows)
    relative = hands[:, 1:] - hands[:, :1]
    shape = _norm(hands[:, FINGERTIPS] - hands[:, :1]) / _palm_size(relative)[:, None]
    features[:225] = rows.reshape(225, *over_time)
    features[225:450] = _velocity(features[:225], step_s)
    features[450:455] = _norm(hands[0, MATCHING] - hands[1, MATCHING])
    features[455:459] = _elbow_and_wrist_angles(rows)
    features[459:469] = shape.reshape(10, *over_time)


def _landmarks75(rows: FloatArray, _: float, features: FloatArray) -> None:
    features[:] = rows.reshape(NUM_VALUES, *rows.shape[2:])


_SPECS: Final = {
    spec.name: spec
    for spec in (
        FeatureSpec(name="base469", num_features=469, step_ms=STEP_MS, num_pose=NUM_POSE, compute=_base469),
        FeatureSpec(name="hands256", num_features=256, step_ms=STEP_MS, num_pose=RIGHT_WRIST + 1, compute=_hands256),
        FeatureSpec(
            name="landmarks75",
            num_features=NUM_VALUES,
            step_ms=STEP_MS,
            num_pose=NUM_POSE,
            compute=_landmarks75,
            is_landmarks=True,
        ),
    )
}
