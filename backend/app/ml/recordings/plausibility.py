"""Whether a recording can be what it says: coordinates in fractions of the frame, times in milliseconds.

Pixels, normalised poses and seconds look like any other numbers; the width of the shoulders and the step from frame to
frame tell them apart. The limits leave several times as much room as 15,000 recordings of 17 sources needed: shoulders
0.064 to 0.67 of the frame's width apart, no coordinate beyond 3.8.
"""

from typing import Final

import numpy as np

from app.ml.landmarks.layout import LEFT_SHOULDER, RIGHT_SHOULDER
from app.ml.types import FloatArray, TimesArray

NARROWEST: Final = 0.01
"""Shoulder width in frame widths: six pixels of 640."""
WIDEST: Final = 2.0
FURTHEST: Final = 20.0
"""Coordinate in frame sizes; MediaPipe guesses points outside the picture, but not so far."""
ABSURD: Final = 1_000.0
"""No detector's accident: a recording with one such coordinate was written wrong."""
FEW: Final = 0.01
"""Part of a recording's points that may lie further out: the detector's accidents, read as missing."""
SHORTEST_STEP_MS: Final = 2.0
"""Frames closer together, more than 500 a second, have times in another unit than milliseconds."""
LONGEST_STEP_MS: Final = 1_000.0
"""Frames further apart have times in another unit, or show nothing of how somebody signs."""
LONGEST_MS: Final = 3_600_000.0
"""Of one recording: an hour."""
_JUMP: Final = 1.5
"""Shoulder widths from one frame to the next."""
_JUMP_MS: Final = 200.0
_NOTHING: Final = 1e-4
"""Narrower shoulders are one point, which tells nothing; the normaliser does without them too."""
_CENTRED: Final = 0.05
_UNITS: Final = "x and y are fractions of the frame's width and height"


def erase_impossible(landmarks: FloatArray) -> tuple[FloatArray, int]:
    """Make single points missing that lie where nobody can be; many of them stay, for `find_implausible` to tell.

    Args:
        landmarks: float32 `[T, 75, 3]`, NaN where missing.

    Returns:
        The same array when there is no such point, otherwise a copy; and how many points were made missing.
    """
    size = np.abs(landmarks)
    far = (size > FURTHEST).any(axis=-1)
    num_far = int(np.count_nonzero(far))
    is_accident = 0 < num_far <= FEW * np.count_nonzero(~np.isnan(landmarks).any(axis=-1))
    if not is_accident or np.nanmax(size) > ABSURD:
        return landmarks, 0
    repaired = landmarks.copy()
    repaired[far] = np.nan
    return repaired, num_far


def find_implausible(landmarks: FloatArray, times_ms: TimesArray, *, width: int, height: int) -> str | None:
    """Say what cannot be right, with the number and the limit; None when nothing is wrong.

    Args:
        landmarks: float32 `[T, 75, 3]`, NaN where missing.
        times_ms: float64 `[T]`, increasing.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
    """
    return _judge_points(landmarks, width, height) or _judge_times(times_ms)


def count_jumps(landmarks: FloatArray, times_ms: TimesArray, *, width: int, height: int) -> int:
    """How often the body is somewhere else in the next frame: the detector, which sees one person, took another one.

    Nobody moves by 1.5 shoulder widths within 0.2 s; of 15,000 recordings of one person each, two have such a jump.
    """
    left, right = (landmarks[:, point, :2] * (1.0, height / width) for point in (LEFT_SHOULDER, RIGHT_SHOULDER))
    seen = np.flatnonzero(~np.isnan(left + right).any(axis=1))
    if len(seen) < 2:
        return 0
    apart = float(np.median(np.linalg.norm((left - right)[seen], axis=1)))
    moved = np.linalg.norm(np.diff(((left + right) / 2)[seen], axis=0), axis=1)
    return int(((moved > _JUMP * apart) & (np.diff(times_ms[seen]) <= _JUMP_MS)).sum())


def _judge_points(landmarks: FloatArray, width: int, height: int) -> str | None:
    left, right = landmarks[:, LEFT_SHOULDER, :2], landmarks[:, RIGHT_SHOULDER, :2]
    seen = ~np.isnan(left + right).any(axis=1)
    if seen.any():
        difference = (left - right)[seen]
        apart = float(np.median(np.hypot(difference[:, 0], difference[:, 1] * height / width)))
        centre = np.abs(np.median(((left + right) / 2)[seen], axis=0)).max()
        if apart > WIDEST:
            return (
                f"shoulders {apart:.4g} frame widths apart, the limit is {WIDEST:g}; {_UNITS}: divide pixels by these"
            )
        if _NOTHING < apart < NARROWEST:
            return (
                f"shoulders {apart:.2g} frame widths apart ({apart * width:.2g} of {width} pixels), the limit is "
                f"{NARROWEST:g}; {_UNITS}: undo a normalisation to shoulder width, and divide by the size only once"
            )
        if apart > 1.0 - _CENTRED and centre < _CENTRED:
            return (
                f"shoulders {apart:.4g} frame widths apart around (0, 0), the picture's corner; {_UNITS}: undo a "
                "normalisation to shoulder width"
            )
    size = np.abs(landmarks)
    furthest = float(np.nanmax(size, initial=0.0))
    if furthest > FURTHEST:
        frame = int(np.unravel_index(np.nanargmax(size), size.shape)[0])
        return f"frame {frame} has a coordinate of {furthest:.4g}, the limit is {FURTHEST:g}; {_UNITS}"
    return None


def _judge_times(times_ms: TimesArray) -> str | None:
    if len(times_ms) < 2:
        return None
    duration_ms = float(times_ms[-1] - times_ms[0])
    step_ms = float(np.median(np.diff(times_ms)))
    if step_ms < SHORTEST_STEP_MS:
        return f"{len(times_ms)} frames in {duration_ms:.3g} ms; times_ms are milliseconds: multiply seconds by 1000"
    if step_ms > LONGEST_STEP_MS:
        return (
            f"frames {step_ms:.6g} ms apart, the limit is {LONGEST_STEP_MS:g}; times_ms are milliseconds: divide "
            "microseconds by 1000, nanoseconds by 1000000"
        )
    if duration_ms > LONGEST_MS:
        hours = duration_ms / LONGEST_MS
        return f"{len(times_ms)} frames in {hours:.3g} hours, the limit is 1; times_ms are milliseconds"
    return None
