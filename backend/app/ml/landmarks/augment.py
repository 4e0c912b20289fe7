"""Variations of a batch of windows that a body and a camera could have produced.

All work on normalised points (isotropic, in shoulder widths, centred between the shoulders) and return new arrays.

Shapes: B batch, T frames (padded), 75 points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from app.ml.landmarks.layout import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_WRIST,
    MIRROR_INDEX,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_WRIST,
)
from app.ml.landmarks.normalise import blend
from app.ml.types import FloatArray

_ARMS = (
    (LEFT_HAND, LEFT_ELBOW, (LEFT_WRIST, 17, 19, 21)),
    (RIGHT_HAND, RIGHT_ELBOW, (RIGHT_WRIST, 18, 20, 22)),
)
"""For each side: its hand, its elbow, and the pose points that move with the hand (wrist, little finger, index,
thumb)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Strength of each variation; standard deviations unless said otherwise.

    Attributes:
        mirror: probability of a mirror image, left and right swapped.
        tilt_deg: rotation of the whole picture.
        stretch: log scale of x and y, each on its own (unknown aspect ratios, body proportions).
        hand_shift: offset of each hand from where the signer held it, in shoulder widths.
        hand_scale: log scale of each hand about its wrist.
        hand_turn_deg: rotation of each hand about its wrist, about each of three axes.
        jitter: white noise on every point, in shoulder widths.
        hand_gap: probability that a hand vanishes for a stretch of up to a third of the window.
        hand_loss: probability that the less visible hand is never seen.
        slow_camera: probability that only every second or third frame was seen and the rest is interpolated.
    """

    mirror: float = 0.5
    tilt_deg: float = 6.0
    stretch: float = 0.08
    hand_shift: float = 0.08
    hand_scale: float = 0.08
    hand_turn_deg: float = 8.0
    jitter: float = 0.008
    hand_gap: float = 0.15
    hand_loss: float = 0.1
    slow_camera: float = 0.3


def augment(points: FloatArray, *, rng: Generator, config: AugmentConfig) -> FloatArray:
    """Vary a batch: `[B, T, 75, 3]` to the same shape; each window gets its own variation."""
    points = points.copy()
    batch = len(points)
    flipped = rng.random(batch) < config.mirror
    points[flipped] = mirror_normalised(points[flipped])
    _vary_hands(points, rng, config)
    angle = np.deg2rad(rng.normal(0, config.tilt_deg, batch)).astype(np.float32)
    scale = np.exp(rng.normal(0, config.stretch, (2, batch))).astype(np.float32)
    xx, xy, yx, yy = (
        value[:, None, None]
        for value in (
            np.cos(angle) * scale[0],
            -np.sin(angle) * scale[1],
            np.sin(angle) * scale[0],
            np.cos(angle) * scale[1],
        )
    )
    x, y = points[..., 0].copy(), points[..., 1].copy()
    points[..., 0] = xx * x + xy * y
    points[..., 1] = yx * x + yy * y
    points += np.float32(config.jitter) * rng.standard_normal(points.shape, np.float32)
    _slow_cameras(points, rng, config)
    _lose_hands(points, rng, config)
    return points


def mirror_normalised(points: FloatArray) -> FloatArray:
    """Mirror image of normalised points: left and right swapped, x negated. Twice is the identity."""
    mirrored = points[..., MIRROR_INDEX, :].copy()
    mirrored[..., 0] *= -1
    return mirrored


def _vary_hands(points: FloatArray, rng: Generator, config: AugmentConfig) -> None:
    batch = len(points)
    for hand, elbow, carried in _ARMS:
        turn = np.deg2rad(rng.normal(0, config.hand_turn_deg, (batch, 3)))
        scale = np.exp(rng.normal(0, config.hand_scale, batch))[:, None, None]
        matrix = (_rotations(turn) * scale).astype(np.float32)
        shift = rng.normal(0, config.hand_shift, (batch, 1, 1, 2)).astype(np.float32)
        wrist = points[:, :, hand.start : hand.start + 1].copy()
        relative = points[:, :, hand] - wrist
        points[:, :, hand] = wrist + (relative.reshape(batch, -1, 3) @ matrix.transpose(0, 2, 1)).reshape(
            relative.shape
        )
        points[:, :, hand, :2] += shift
        points[:, :, carried, :2] += shift
        points[:, :, elbow, :2] += shift[:, :, 0] / 2


def _rotations(angles: FloatArray) -> FloatArray:
    """Rotation matrices about x, y, then z: `[B, 3]` radians to `[B, 3, 3]`."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _slow_cameras(points: FloatArray, rng: Generator, config: AugmentConfig) -> None:
    frames = points.shape[1]
    for row in np.flatnonzero(rng.random(len(points)) < config.slow_camera):
        stride = int(rng.integers(2, 4))
        offset = int(rng.integers(stride))
        position = np.arange(frames)
        before = np.maximum((position - offset) // stride * stride + offset, 0)
        after = np.minimum(before + stride, frames - 1)
        weight = ((position - before) / np.maximum(after - before, 1)).clip(0, 1).astype(np.float32)[:, None, None]
        points[row] = blend(points[row, before], points[row, after], weight)


def _lose_hands(points: FloatArray, rng: Generator, config: AugmentConfig) -> None:
    frames = points.shape[1]
    seen = [(~np.isnan(points[:, :, hand.start, 0])).sum(1) for hand in (LEFT_HAND, RIGHT_HAND)]
    for row in np.flatnonzero(rng.random(len(points)) < config.hand_loss):
        weaker = LEFT_HAND if seen[0][row] < seen[1][row] else RIGHT_HAND
        points[row, :, weaker] = np.nan
    for row in np.flatnonzero(rng.random(len(points)) < config.hand_gap):
        hand = (LEFT_HAND, RIGHT_HAND)[int(rng.integers(2))]
        length = int(rng.integers(1, max(2, frames // 3)))
        start = int(rng.integers(0, max(1, frames - length)))
        points[row, start : start + length, hand] = np.nan
