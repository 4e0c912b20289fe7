"""Landmark clips on disk: the *clip* `.npz` (one recording) and the *dataset* `.npz` (many); docs/data.md shows both.

    clip     landmarks float [T, 75, 3], times_ms [T], width, height, mirrored;
             optional label, signer, session, quality, clip_id, language
    dataset  landmarks_q int16 or int32 [sum of lengths, 75, 3] (value = landmarks_q * scale, the type's smallest
             number = missing), scale (one value or [N]), lengths [N], labels [N] (index into label_names, -1 = none),
             label_names, signers [N], clip_ids [N];
             optional sessions [N], quality [N], times_ms [sum of lengths],
             and width, height, mirrored, language, each one value or [N]

What a file does not say: 50 ms a frame, 640x480, not mirrored. Mirrored clips are un-mirrored here, so no other code
sees one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts.whole_files import write_arrays_whole
from app.ml.errors import ClipFileError, InvalidLandmarksError
from app.ml.landmarks.layout import NUM_POINTS, mirror
from app.ml.landmarks.repair import erase_zero_points
from app.ml.recordings.archive import Archive
from app.ml.recordings.plausibility import erase_impossible, find_implausible
from app.ml.types import FloatArray, LandmarkWindow, TimesArray

DEFAULT_FRAME_MS: Final = 50.0
DEFAULT_WIDTH: Final = 640
DEFAULT_HEIGHT: Final = 480
SCALE: Final = 1.0 / 8192.0
"""Step of `landmarks_q`: a thirteenth of a pixel at 640."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Clip:
    """One recording of a person, usually of one sign.

    Attributes:
        landmarks: float32 `[T, 75, 3]`, fractions of width and height, NaN where a part was not detected, un-mirrored.
        times_ms: float64 `[T]`, capture times, strictly increasing.
        width: frame width in pixels.
        height: frame height in pixels.
        label: the sign, e.g. `thank_you`, `letter_a`, `idle`.
        signer: who signs; the unit that an honest evaluation keeps apart.
        session: recording session of that signer.
        quality: `ok`, `variant`, `single`, `suspect` or `nonsign`, as in docs/data.md.
        clip_id: unique name inside its data set.
        language: ISO 639-3 code of the sign language, e.g. `ase`.
        num_erased: points that were made missing when it was read, because they cannot be right; not stored.
    """

    landmarks: FloatArray = field(repr=False)
    times_ms: TimesArray = field(repr=False)
    width: int = DEFAULT_WIDTH
    height: int = DEFAULT_HEIGHT
    label: str | None = None
    signer: str | None = None
    session: str | None = None
    quality: str | None = None
    clip_id: str | None = None
    language: str | None = None
    num_erased: int = 0

    def __post_init__(self) -> None:
        problem = _find_problem(self.landmarks, self.times_ms, self.width, self.height)
        if problem is not None:
            key, reason = problem
            msg = f"{key}: {reason}"
            raise InvalidLandmarksError(msg)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.times_ms)

    @property
    def duration_ms(self) -> float:
        """From the first frame's capture time to the last one's."""
        return float(self.times_ms[-1] - self.times_ms[0])

    def to_window(self) -> LandmarkWindow:
        """The whole clip as one window, for a recogniser."""
        return LandmarkWindow(landmarks=self.landmarks, times_ms=self.times_ms, width=self.width, height=self.height)


def default_times_ms(num_frames: int) -> TimesArray:
    """Capture times of a recording whose rate nobody wrote down: 50 ms a frame, from 0."""
    return np.arange(num_frames, dtype=np.float64) * DEFAULT_FRAME_MS


def save_clip(path: Path, clip: Clip) -> None:
    """Write one clip file (un-mirrored), whole or not at all. Landmarks are stored as they are, without loss."""
    texts = {
        key: value
        for key in ("label", "signer", "session", "quality", "clip_id", "language")
        if (value := getattr(clip, key)) is not None
    }
    write_arrays_whole(
        path,
        {
            "landmarks": clip.landmarks.astype(np.float32),
            "times_ms": clip.times_ms.astype(np.float64),
            "width": clip.width,
            "height": clip.height,
            "mirrored": False,
            **texts,
        },
    )


def load_clip(path: Path) -> Clip:
    """Read one clip file.

    Raises:
        ClipFileError: the file is missing, not an `.npz`, is a data set, a key is missing or has the wrong shape, or
            its numbers cannot be fractions of the frame and milliseconds.
    """
    archive = Archive(path)
    if "landmarks_q" in archive:
        msg = f"{path}: this is a data set (it has 'landmarks_q'); a clip file has 'landmarks' [T, 75, 3]"
        raise ClipFileError(msg)
    clip = without_impossible(_read_clip(archive))
    problem = find_implausible(clip.landmarks, clip.times_ms, width=clip.width, height=clip.height)
    if problem is not None:
        msg = f"{path}: {problem}"
        raise ClipFileError(msg)
    return clip


def without_impossible(clip: Clip) -> Clip:
    """The clip with single impossible points missing, and their number in `num_erased`."""
    landmarks, num_erased = erase_impossible(clip.landmarks)
    return replace(clip, landmarks=landmarks, num_erased=clip.num_erased + num_erased) if num_erased else clip


def save_dataset(path: Path, clips: Sequence[Clip]) -> None:
    """Write many clips as one data set, whole or not at all.

    Coordinates are rounded to a multiple of 1/8192, in 16 bits, or in 32 when one lies further than 4 frame sizes away.

    Raises:
        ValueError: there is no clip to write.
        ClipFileError: a coordinate is too large to be stored, 262,144 frame sizes.
    """
    if not clips:
        msg = "a data set needs at least one clip"
        raise ValueError(msg)
    label_names = sorted({clip.label for clip in clips if clip.label is not None})
    index = {name: position for position, name in enumerate(label_names)}
    arrays: dict[str, NDArray[np.generic]] = {
        "landmarks_q": _quantise(clips),
        "scale": np.array(SCALE, np.float32),
        "lengths": np.array([clip.num_frames for clip in clips], np.int32),
        "labels": np.array([-1 if clip.label is None else index[clip.label] for clip in clips], np.int32),
        "label_names": np.array(label_names, np.str_),
        "signers": np.array([clip.signer or "" for clip in clips]),
        "clip_ids": np.array([clip.clip_id or str(position) for position, clip in enumerate(clips)]),
        "sessions": np.array([clip.session or "" for clip in clips]),
        "quality": np.array([clip.quality or "" for clip in clips]),
        "language": np.array([clip.language or "" for clip in clips]),
        "times_ms": np.concatenate([clip.times_ms for clip in clips]),
        "width": np.array([clip.width for clip in clips], np.int32),
        "height": np.array([clip.height for clip in clips], np.int32),
        "mirrored": np.zeros(len(clips), np.bool_),
    }
    write_arrays_whole(path, arrays)


def _quantise(clips: Sequence[Clip]) -> NDArray[np.signedinteger[Any]]:
    steps = np.rint(np.concatenate([clip.landmarks for clip in clips]) / np.float32(SCALE))
    furthest = float(np.nanmax(np.abs(steps), initial=0.0))
    dtype = np.int16 if furthest <= np.iinfo(np.int16).max else np.int32
    if furthest > np.iinfo(dtype).max:
        clip = max(clips, key=lambda clip: float(np.nanmax(np.abs(clip.landmarks), initial=0.0)))
        msg = f"clip {clip.clip_id} has a coordinate of {furthest * SCALE:.4g} frame sizes; the limit is 262144"
        raise ClipFileError(msg)
    is_missing = np.isnan(steps)
    quantised = np.where(is_missing, np.float32(0.0), steps).astype(dtype)
    quantised[is_missing] = np.iinfo(dtype).min
    return quantised


def load_dataset(path: Path | Sequence[Path]) -> list[Clip]:
    """Read every clip of a data set file, a clip file, a folder of either, or several of these, in order of name.

    Raises:
        ClipFileError: nothing is there, or a file cannot be read; the message names the file, the key and what to do.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    return [read() for one in paths for file in _find_files(one) for _, read in open_clips(file)]


def open_clips(path: Path) -> Iterator[tuple[str | None, Callable[[], Clip]]]:
    """The clips of one data set or clip file: the name of each, and what reads it, which raises `ClipFileError`.

    Raises:
        ClipFileError: the file cannot be read, so that none of its clips can.
    """
    archive = Archive(path)
    if "landmarks_q" in archive:
        return _open_dataset(archive)
    return iter(((None, partial(_read_clip, archive)),))


def _find_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.npz"))
    if not files:
        msg = f"{path}: the folder holds no .npz file; make one with 'python -m scripts.import_dataset'"
        raise ClipFileError(msg)
    return files


def _read_clip(archive: Archive) -> Clip:
    landmarks = _to_float32(archive.require_numbers("landmarks", kinds="f"))
    return _make_clip(
        archive,
        landmarks,
        archive.require_numbers("times_ms").astype(np.float64)
        if "times_ms" in archive
        else default_times_ms(len(np.atleast_1d(landmarks))),
        is_mirrored=bool(archive.get_number("mirrored", 0)),
        width=archive.get_number("width", DEFAULT_WIDTH),
        height=archive.get_number("height", DEFAULT_HEIGHT),
        texts={key: archive.get_text(key) for key in ("label", "signer", "session", "quality", "clip_id", "language")},
    )


def _open_dataset(archive: Archive) -> Iterator[tuple[str | None, Callable[[], Clip]]]:
    quantised = archive.require_numbers("landmarks_q", kinds="i")
    if quantised.dtype.itemsize not in (2, 4):
        raise archive.error("landmarks_q", f"must be int16 or int32, is {quantised.dtype}")
    missing = np.iinfo(np.int16 if quantised.dtype.itemsize == 2 else np.int32).min
    lengths = archive.require_numbers("lengths").astype(np.int64)
    if lengths.ndim != 1 or (lengths < 1).any() or lengths.sum() != len(quantised):
        reason = (
            f"lengths must be positive and sum to the {len(quantised)} frames of 'landmarks_q', sum is {lengths.sum()}"
        )
        raise archive.error("lengths", reason)
    names = archive.require_texts("label_names")
    num_clips = len(lengths)
    scales = archive.require_numbers("scale", kinds="f").astype(np.float32)
    scales = np.full(num_clips, scales.reshape(())) if scales.size == 1 else archive.require_column("scale", num_clips)
    labels = archive.require_column("labels", num_clips).astype(np.int64)
    if (labels >= len(names)).any():
        raise archive.error("labels", f"index {labels.max()} is past the {len(names)} names of 'label_names'")
    columns = {
        "signer": archive.get_texts("signers", num_clips),
        "clip_id": archive.get_texts("clip_ids", num_clips),
        "session": archive.get_texts("sessions", num_clips),
        "quality": archive.get_texts("quality", num_clips),
        "language": archive.get_texts("language", num_clips),
    }
    widths = archive.get_numbers("width", num_clips, DEFAULT_WIDTH)
    heights = archive.get_numbers("height", num_clips, DEFAULT_HEIGHT)
    mirrored = archive.get_numbers("mirrored", num_clips, 0)
    times = archive.require_column("times_ms", len(quantised)).astype(np.float64) if "times_ms" in archive else None
    ends = np.cumsum(lengths)
    for position, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
        raw = quantised[start:end]
        texts = {
            "label": names[labels[position]] if labels[position] >= 0 else None,
            **{key: values[position] for key, values in columns.items()},
        }
        read = partial(
            _make_clip,
            archive,
            np.where(raw == missing, np.float32(np.nan), raw * scales[position]).astype(np.float32),
            default_times_ms(len(raw)) if times is None else times[start:end],
            is_mirrored=bool(mirrored[position]),
            width=int(widths[position]),
            height=int(heights[position]),
            texts=texts,
        )
        yield columns["clip_id"][position], read


def _to_float32(array: NDArray[np.generic]) -> FloatArray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused by name
        return array.astype(np.float32)


def _make_clip(
    archive: Archive,
    landmarks: FloatArray,
    times_ms: TimesArray,
    *,
    is_mirrored: bool,
    width: int,
    height: int,
    texts: dict[str, str | None],
) -> Clip:
    problem = _find_problem(landmarks, times_ms, width, height)
    if problem is not None:
        key, reason = problem
        where = f"of clip {texts['clip_id']}: " if texts.get("clip_id") else ""
        raise archive.error(key, f"{where}{reason}")
    landmarks = erase_zero_points(landmarks)
    return Clip(
        landmarks=mirror(landmarks) if is_mirrored else landmarks,
        times_ms=times_ms,
        width=width,
        height=height,
        num_erased=0,
        **texts,
    )


def _find_problem(landmarks: FloatArray, times_ms: TimesArray, width: int, height: int) -> tuple[str, str] | None:
    """The first key that cannot be used and why, or None."""
    if landmarks.ndim != 3 or landmarks.shape[1:] != (NUM_POINTS, 3) or len(landmarks) == 0:
        return "landmarks", f"shape is {landmarks.shape}, expected [T, {NUM_POINTS}, 3] with T at least 1"
    if np.isinf(landmarks).any():
        return "landmarks", "holds infinite values; a missing point is NaN"
    if times_ms.shape != (len(landmarks),):
        return "times_ms", f"shape is {times_ms.shape}, expected ({len(landmarks)},), one a frame"
    if not np.isfinite(times_ms).all():
        return (
            "times_ms",
            f"must be finite, strictly increasing milliseconds; frame {int(np.argmin(np.isfinite(times_ms)))} has none",
        )
    steps = np.diff(times_ms)
    if (steps <= 0).any():
        frame = int(np.argmax(steps <= 0))
        return (
            "times_ms",
            f"must be strictly increasing milliseconds; frame {frame} is at {times_ms[frame]:.9g}, frame "
            f"{frame + 1} at {times_ms[frame + 1]:.9g}: put the frames in order, each once",
        )
    if width < 1 or height < 1:
        return "width" if width < 1 else "height", f"must be at least 1 pixel, is {width}x{height}"
    return None
