"""Brings windows of any camera, person and frame rate to one scale: the only normaliser, for training, replay and live.

Shapes: `...` any leading axes, T frames, G grid steps. A part that was not detected is NaN and stays NaN.
"""

from typing import Final

import numpy as np

from app.ml.errors import InvalidLandmarksError
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, NUM_POINTS, POSE, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.types import FloatArray, LandmarkWindow, TimesArray

MAX_GAP_MS: Final = 260.0
"""A part that flickers out for up to this long is interpolated; longer, it is missing. Two lost frames at 8 a second
still count."""
FALLBACK_SHOULDER_WIDTH: Final = 0.45
"""Shoulder width in frame heights when no pose was ever seen: the median of the recordings that the starter model
learned from."""
_PARTS: Final = (POSE, LEFT_HAND, RIGHT_HAND)


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
    num_steps = int((times_ms[-1] - times_ms[0]) / step_ms + 1e-6) + 1
    grid = times_ms[0] + step_ms * np.arange(num_steps)
    out = np.full((num_steps, NUM_POINTS, 3), np.nan, np.float32)
    for part in _PARTS:
        present = np.flatnonzero(~np.isnan(landmarks[:, part.start, 0]))
        if present.size == 0:
            continue
        times = times_ms[present]
        after = np.searchsorted(times, grid).clip(0, present.size - 1)
        before = (np.searchsorted(times, grid, side="right") - 1).clip(0, present.size - 1)
        span = times[after] - times[before]
        weight = np.where(span > 0, (grid - times[before]) / np.maximum(span, 1e-9), 0.0)
        nearest = np.minimum(np.abs(times[after] - grid), np.abs(times[before] - grid))
        usable = ((span > 0) & (span <= MAX_GAP_MS)) | (nearest <= step_ms / 2)
        weight = np.where(span > MAX_GAP_MS, np.round(weight), weight).astype(np.float32)[:, None, None]
        points = landmarks[:, part]
        values = points[present[before]] * (1 - weight) + points[present[after]] * weight
        out[:, part] = np.where(usable[:, None, None], values, np.nan)
    return out, grid


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
    left, right = points[..., LEFT_SHOULDER, :2], points[..., RIGHT_SHOULDER, :2]
    centre = median_over_time((left + right) / 2)
    difference = left - right
    width = median_over_time(np.sqrt((difference * difference).sum(-1))[..., None])[..., 0]
    lost = ~(width > 1e-4)
    if lost.any():
        with np.errstate(invalid="ignore"):
            hands = points[..., LEFT_HAND.start :, :2]
            found = ~np.isnan(hands)
            mean = np.where(found, hands, 0).sum((-3, -2)) / np.maximum(found.sum((-3, -2)), 1)
        centre = np.where(lost[..., None], mean, centre)
        width = np.where(lost, np.float32(FALLBACK_SHOULDER_WIDTH), width)
    offset = np.concatenate([centre, np.zeros_like(centre[..., :1])], -1)
    return ((points - offset[..., None, None, :]) / width[..., None, None, None]).astype(np.float32)


def median_over_time(values: FloatArray) -> FloatArray:
    """Median of the values that are not NaN over axis -2 (time); NaN where there is none.

    Args:
        values: `[..., T, K]`.

    Returns:
        `[..., K]`.
    """
    ordered = np.sort(values, axis=-2)  # NaN sorts last
    count = (~np.isnan(values)).sum(-2, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -2)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-2] - 1), -2)
    median = ((low + high) / 2)[..., 0, :]
    return np.where(count[..., 0, :] > 0, median, np.float32(np.nan)).astype(np.float32)
