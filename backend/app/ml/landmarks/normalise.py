"""Brings windows of any camera, person and frame rate to one scale: the only normaliser, for training, replay and live.

Shapes: `...` any leading axes, B windows, T frames, G grid steps. A part that was not detected is NaN and stays NaN.

Rows keep time last, float32 `[P, 3, ..., G]`: the first P - 42 pose points, then both hands. Arithmetic on points then
runs along memory, which makes it several times faster than on `[..., G, P, 3]`.
"""

from typing import Final

import numpy as np

from app.ml.errors import InvalidLandmarksError
from app.ml.landmarks.layout import (
    LEFT_HAND,
    LEFT_SHOULDER,
    NUM_HAND,
    NUM_POINTS,
    POSE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
)
from app.ml.types import BoolArray, FloatArray, IndexArray, LandmarkWindow, TimesArray

MAX_GAP_MS: Final = 260.0
"""A part that flickers out for up to this long is interpolated; longer, it is missing. Two lost frames at 8 a second
still count."""
FALLBACK_SHOULDER_WIDTH: Final = 0.45
"""Shoulder width in frame heights when no pose was ever seen: the median of the recordings that the starter model
learned from."""
MIN_SHOULDER_WIDTH: Final = 1e-4
"""In frame heights; shoulders nearer to each other than this are none."""
MIN_PALM: Final = 0.05
"""In shoulder widths; hands are never measured by a smaller palm."""
MAX_WINDOW_MS: Final = 60_000.0
"""A longer window is refused: one absurd capture time would otherwise ask for a grid that fills the memory."""
MAX_COORDINATE: Final = 1e3
"""In frame sizes; no detector places a body further out, and the squares of much larger values overflow."""
_PARTS: Final = (POSE, LEFT_HAND, RIGHT_HAND)
_PART_STARTS: Final = tuple(part.start for part in _PARTS)


def check_window(window: LandmarkWindow) -> None:
    """Refuse a window that no recogniser could answer.

    Raises:
        InvalidLandmarksError: wrong shape, no frame, times that do not increase, or a frame size that is not positive.
    """
    shape = window.landmarks.shape
    if len(shape) != 3 or shape[1:] != (NUM_POINTS, 3) or shape[0] == 0:
        msg = f"landmarks have shape {shape}; expected [T, {NUM_POINTS}, 3] with T >= 1"
        raise InvalidLandmarksError(msg)
    if window.times_ms.shape != (shape[0],):
        msg = f"times_ms has shape {window.times_ms.shape} for {shape[0]} frames; expected one time a frame"
        raise InvalidLandmarksError(msg)
    if not np.isfinite(window.times_ms).all() or (np.diff(window.times_ms) <= 0).any():
        msg = "times_ms must be finite and strictly increasing; sort the frames by capture time and drop repeats"
        raise InvalidLandmarksError(msg)
    if window.width <= 0 or window.height <= 0:
        msg = f"frame size {window.width}x{window.height} is not positive"
        raise InvalidLandmarksError(msg)


def to_isotropic(landmarks: FloatArray, *, width: int, height: int) -> FloatArray:
    """Make x, y and z share one unit (the frame's height): x and z times width / height.

    Args:
        landmarks: float32 `[..., 75, 3]`, fractions of the frame.
        width: frame width in pixels.
        height: frame height in pixels.

    Returns:
        A new array `[..., 75, 3]`.
    """
    aspect = np.float32(width / height)
    return landmarks * np.array([aspect, 1.0, aspect], np.float32)


def resample(landmarks: FloatArray, times_ms: TimesArray, *, step_ms: float) -> tuple[FloatArray, TimesArray]:
    """Resample by time to a regular grid, each part on its own, and bridge short gaps in a part.

    A grid point between two detections at most `MAX_GAP_MS` apart is interpolated linearly; one within half a step of
    a single
    detection takes it; any other is missing.

    Args:
        landmarks: float32 `[T, 75, 3]`.
        times_ms: float64 `[T]`, strictly increasing.
        step_ms: grid spacing.

    Returns:
        Landmarks `[G, 75, 3]` and their times `[G]`; the grid starts at the first frame and ends at or before the last.
    """
    grid = _grid(times_ms, step_ms)
    last = np.searchsorted(times_ms, grid, side="right") - 1
    following = np.minimum(np.searchsorted(times_ms, grid), len(times_ms) - 1)
    before, after, lost = _nearest_detections(landmarks)
    points = np.empty((len(grid), NUM_POINTS, 3), np.float32)
    for number, part in enumerate(_PARTS):
        start, end = before[number, last], after[number, following]
        weight = _weights(grid, times_ms[start], times_ms[end], step_ms=step_ms)[:, None, None]
        if lost[number]:
            weight[:] = np.nan
        points[:, part] = landmarks[start, part] * (1 - weight) + landmarks[end, part] * weight
    return points, grid


def _grid(times_ms: TimesArray, step_ms: float) -> TimesArray:
    num_steps = int((times_ms[-1] - times_ms[0]) / step_ms + 1e-6) + 1
    return times_ms[0] + step_ms * np.arange(num_steps)


def _nearest_detections(landmarks: FloatArray) -> tuple[IndexArray, IndexArray, BoolArray]:
    """Which frame a grid step reads, for each part and frame of `[T, 75, 3]`.

    Returns:
        `[3, T]` each: the last frame up to this one that shows the part, or else the first after it; the first frame
        from this one on, or else the last before it; and `[3]`, whether the window never shows the part.
    """
    present = ~np.isnan(landmarks[:, _PART_STARTS, 0].T)
    frames = np.arange(len(landmarks))
    seen = np.maximum.accumulate(np.where(present, frames, -1), axis=1)
    coming = np.minimum.accumulate(np.where(present, frames, len(frames))[:, ::-1], axis=1)[:, ::-1]
    lost = ~present.any(1)
    before = np.where(seen < 0, coming, seen)
    after = np.where(coming == len(frames), seen, coming)
    before[lost] = after[lost] = 0
    return before, after, lost


def _weights(grid: TimesArray, before_ms: TimesArray, after_ms: TimesArray, *, step_ms: float) -> FloatArray:
    """How much of the later detection each grid step takes; NaN where neither is near enough."""
    span = after_ms - before_ms
    weight = np.where(span > 0, (grid - before_ms) / np.maximum(span, 1e-9), 0.0)
    nearest = np.minimum(np.abs(after_ms - grid), np.abs(before_ms - grid))
    bridges = span <= MAX_GAP_MS
    weight = np.where(bridges, weight, np.round(weight))
    weight[~((bridges & (span > 0)) | (nearest <= step_ms / 2))] = np.nan
    return weight.astype(np.float32)


def blend(start: FloatArray, end: FloatArray, weight: FloatArray) -> FloatArray:
    """Mix two poses, `weight` in [0, 1] of the second; where one lacks a point, the nearer decides whether it is there.

    Args:
        start: float32 `[..., 75, 3]`.
        end: of the same shape.
        weight: float32, broadcast against both.
    """
    mixed = start * (1 - weight) + end * weight
    return np.where(np.isnan(mixed), np.where(weight < 0.5, start, end), mixed)


def normalise(points: FloatArray) -> FloatArray:
    """Centre between the shoulders and scale by shoulder width, both medians over the window.

    Args:
        points: float32 `[..., T, 75, 3]`, isotropic.

    Returns:
        `[..., T, 75, 3]` in shoulder widths from the point between the shoulders; z is scaled, not centred. Without
        any pose
        the centre is the mean of the hands and the scale `FALLBACK_SHOULDER_WIDTH`.
    """
    rows = np.moveaxis(points, (-2, -1), (0, 1))
    centre, width = body_frame(rows)
    offset = np.concatenate([np.moveaxis(centre, 0, -1), np.zeros((*width.shape, 1), np.float32)], -1)
    return ((points - offset[..., None, None, :]) / width[..., None, None, None]).astype(np.float32)


def normalise_rows(rows: FloatArray) -> None:
    """Do the same to isotropic rows `[P, 3, ..., G]`, in place."""
    centre, width = body_frame(rows)
    rows[:, :2] -= centre[..., None]
    rows /= width[..., None]


def body_frame(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the person is and how large.

    Args:
        rows: isotropic `[P, 3, ..., T]`.

    Returns:
        The point between the shoulders `[2, ...]` and the shoulder width `[...]`; see `normalise`.
    """
    left, right = rows[LEFT_SHOULDER, :2], rows[RIGHT_SHOULDER, :2]
    difference = left - right
    width = np.sqrt(difference[0] * difference[0] + difference[1] * difference[1])
    median = median_over_time(np.concatenate([(left + right) / 2, width[None]]))
    centre, width = median[:2], median[2]
    lost = ~(width > MIN_SHOULDER_WIDTH)
    if lost.any():
        hands = rows[-2 * NUM_HAND :, :2]
        found = ~np.isnan(hands)
        mean = np.where(found, hands, 0).sum((0, -1)) / np.maximum(found.sum((0, -1)), 1)
        centre = np.where(lost, mean, centre).astype(np.float32)
        width = np.where(lost, np.float32(FALLBACK_SHOULDER_WIDTH), width)
    return centre, width


def median_over_time(values: FloatArray) -> FloatArray:
    """Median over the last axis (time) of the values that are not NaN, `[..., T]` to `[...]`; NaN where none is."""
    ordered = np.sort(values, axis=-1)  # NaN sorts last
    num_steps = values.shape[-1]
    if not np.isnan(ordered[..., -1]).any():  # nothing is missing, as in most windows
        return (ordered[..., (num_steps - 1) // 2] + ordered[..., num_steps // 2]) / 2
    count = (~np.isnan(values)).sum(-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, num_steps - 1), -1)
    return np.where(count > 0, (low + high) / 2, np.float32(np.nan))[..., 0].astype(np.float32)
