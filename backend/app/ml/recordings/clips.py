"""Landmark clips on disk: the *clip* `.npz` (one recording) and the *dataset* `.npz` (many); docs/data.md shows both.

    clip     landmarks float [T, 75, 3], times_ms [T], width, height, mirrored;
             optional label, signer, session, quality, clip_id, language
    dataset  landmarks_q int16 [sum of lengths, 75, 3] (value = landmarks_q * scale, -32768 = missing), scale,
             lengths [N], labels [N] (index into label_names, -1 = none), label_names, signers [N], clip_ids [N];
             optional sessions [N], quality [N], times_ms [sum of lengths],
             and width, height, mirrored, language, each one value or [N]

What a file does not say: 50 ms a frame, 640x480, not mirrored. Mirrored clips are un-mirrored here, so no other code
sees one.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from app.ml.errors import ClipFileError, InvalidLandmarksError
from app.ml.landmarks.layout import NUM_POINTS, mirror
from app.ml.types import FloatArray, LandmarkWindow, TimesArray

DEFAULT_FRAME_MS: Final = 50.0
DEFAULT_WIDTH: Final = 640
DEFAULT_HEIGHT: Final = 480
MISSING: Final = -32768
"""Value of `landmarks_q` for a coordinate that was not detected."""
FINEST_SCALE: Final = 1.0 / 8192.0
"""Step of `landmarks_q` when nothing lies further than 4 frame sizes away: a thirteenth of a pixel at 640."""


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
    """Write one clip file (un-mirrored). Landmarks are stored as they are, without loss."""
    texts = {
        key: value
        for key in ("label", "signer", "session", "quality", "clip_id", "language")
        if (value := getattr(clip, key)) is not None
    }
    with path.open("wb") as file:  # np.savez would append ".npz" to another suffix
        np.savez_compressed(
            file,
            landmarks=clip.landmarks.astype(np.float32),
            times_ms=clip.times_ms.astype(np.float64),
            width=clip.width,
            height=clip.height,
            mirrored=False,
            **texts,
        )


def load_clip(path: Path) -> Clip:
    """Read one clip file.

    Raises:
        ClipFileError: the file is missing, not an `.npz`, is a data set, or a key is missing or has the wrong shape.
    """
    archive = _Archive(path)
    if "landmarks_q" in archive:
        msg = f"{path}: this is a data set (it has 'landmarks_q'); a clip file has 'landmarks' [T, 75, 3]"
        raise ClipFileError(msg)
    return _read_clip(archive)


def save_dataset(path: Path, clips: Sequence[Clip]) -> None:
    """Write many clips as one data set.

    Coordinates are rounded to a multiple of `scale`: 1/8192, more when a point lies further than 4 frame sizes away.

    Raises:
        ValueError: there is no clip to write.
    """
    if not clips:
        msg = "a data set needs at least one clip"
        raise ValueError(msg)
    landmarks = np.concatenate([clip.landmarks for clip in clips])
    furthest = float(np.nanmax(np.abs(landmarks), initial=0.0))
    scale = np.float32(max(FINEST_SCALE, furthest / 32767.0))
    quantised = np.where(np.isnan(landmarks), MISSING, np.rint(np.nan_to_num(landmarks / scale))).astype(np.int16)
    label_names = sorted({clip.label for clip in clips if clip.label is not None})
    index = {name: position for position, name in enumerate(label_names)}
    arrays: dict[str, NDArray[np.generic]] = {
        "landmarks_q": quantised,
        "scale": np.array(scale),
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
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_dataset(path: Path | Sequence[Path]) -> list[Clip]:
    """Read every clip of a data set file, a clip file, a folder of either, or several of these, in order of name.

    Raises:
        ClipFileError: nothing is there, or a file cannot be read; the message names the file, the key and what to do.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    return [clip for one in paths for file in _find_files(one) for clip in _read_file(file)]


def _find_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.npz"))
    if not files:
        msg = f"{path}: the folder holds no .npz file; make one with 'python -m scripts.import_dataset'"
        raise ClipFileError(msg)
    return files


def _read_file(path: Path) -> Iterator[Clip]:
    archive = _Archive(path)
    if "landmarks_q" in archive:
        return _read_dataset(archive)
    return iter((_read_clip(archive),))


def _read_clip(archive: "_Archive") -> Clip:
    landmarks = archive.require_numbers("landmarks").astype(np.float32)
    return archive.make_clip(
        landmarks,
        archive.require_numbers("times_ms").astype(np.float64)
        if "times_ms" in archive
        else default_times_ms(len(landmarks)),
        is_mirrored=bool(archive.get_number("mirrored", 0)),
        width=archive.get_number("width", DEFAULT_WIDTH),
        height=archive.get_number("height", DEFAULT_HEIGHT),
        texts={key: archive.get_text(key) for key in ("label", "signer", "session", "quality", "clip_id", "language")},
    )


def _read_dataset(archive: "_Archive") -> Iterator[Clip]:
    quantised = archive.require_numbers("landmarks_q").astype(np.int16)
    lengths = archive.require_numbers("lengths").astype(np.int64)
    if lengths.ndim != 1 or (lengths < 1).any() or lengths.sum() != len(quantised):
        reason = (
            f"lengths must be positive and sum to the {len(quantised)} frames of 'landmarks_q', sum is {lengths.sum()}"
        )
        raise archive.error("lengths", reason)
    scale = np.float32(archive.require("scale").astype(np.float32).reshape(()))
    names = [str(name) for name in archive.require("label_names")]
    num_clips = len(lengths)
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
        yield archive.make_clip(
            np.where(raw == MISSING, np.float32(np.nan), raw * scale).astype(np.float32),
            default_times_ms(len(raw)) if times is None else times[start:end],
            is_mirrored=bool(mirrored[position]),
            width=int(widths[position]),
            height=int(heights[position]),
            texts={
                "label": names[labels[position]] if labels[position] >= 0 else None,
                **{key: values[position] for key, values in columns.items()},
            },
        )


def is_archive(path: Path) -> bool:
    """Whether a file begins as numpy's files do: a zip archive (`.npz`, whole or not) or a single array (`.npy`)."""
    with path.open("rb") as stream:
        return stream.read(6).startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY"))


class _Archive:
    """The arrays of one `.npz` file, with errors that name the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.is_file() and not is_archive(path):
                msg = f"{path} is no .npz file; make one with 'python -m scripts.import_dataset' (docs/data.md)"
                raise ClipFileError(msg)
            with path.open("rb") as stream:  # our own handle: np.load leaves its own open when the zip is broken
                file = np.load(stream, allow_pickle=False)
                if not isinstance(file, NpzFile):
                    msg = f"{path}: a single .npy array; 'python -m scripts.import_dataset' imports folders of them"
                    raise ClipFileError(msg)
                self._arrays: dict[str, NDArray[np.generic]] = {key: file[key] for key in file.files}
        except FileNotFoundError as error:
            msg = f"{path}: no such file"
            raise ClipFileError(msg) from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            msg = f"{path}: not a readable .npz file ({error})"
            raise ClipFileError(msg) from error

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def error(self, key: str, reason: str) -> ClipFileError:
        return ClipFileError(f"{self._path}: key '{key}': {reason}")

    def require(self, key: str) -> NDArray[np.generic]:
        if key not in self._arrays:
            raise self.error(
                key, f"missing; the file has {', '.join(sorted(self._arrays)) or 'nothing'} (layouts: docs/data.md)"
            )
        return self._arrays[key]

    def require_numbers(self, key: str) -> NDArray[np.generic]:
        array = self.require(key)
        if array.dtype.kind not in "biuf":
            raise self.error(key, f"must be numbers, is {array.dtype}")
        return array

    def require_column(self, key: str, length: int) -> NDArray[np.generic]:
        array = self.require(key)
        if array.shape != (length,):
            raise self.error(key, f"shape is {array.shape}, expected ({length},)")
        return array

    def get_number(self, key: str, default: int) -> int:
        return int(self.get_numbers(key, 1, default)[0])

    def get_numbers(self, key: str, length: int, default: int) -> NDArray[np.int64]:
        """One value for all clips, or one a clip."""
        if key not in self:
            return np.full(length, default, np.int64)
        array = self._arrays[key]
        if array.dtype.kind not in "biuf" or not np.isfinite(array.astype(np.float64)).all():
            raise self.error(key, f"must be a finite number, is {array.dtype}")
        if array.size == 1:
            return np.full(length, array.reshape(()).astype(np.int64))
        return self.require_column(key, length).astype(np.int64)

    def get_text(self, key: str) -> str | None:
        return self.get_texts(key, 1)[0]

    def get_texts(self, key: str, length: int) -> list[str | None]:
        """One text for all clips, or one a clip; an empty text is None."""
        if key not in self:
            return [None] * length
        array = self._arrays[key]
        if array.size == 1:
            return [str(array.reshape(())) or None] * length
        return [str(value) or None for value in self.require_column(key, length)]

    def make_clip(
        self,
        landmarks: FloatArray,
        times_ms: TimesArray,
        *,
        is_mirrored: bool,
        width: int,
        height: int,
        texts: dict[str, str | None],
    ) -> Clip:
        where = f" of clip {texts['clip_id']}" if texts.get("clip_id") else ""
        problem = _find_problem(landmarks, times_ms, width, height)
        if problem is not None:
            key, reason = problem
            raise self.error(key, f"{reason}{where}")
        return Clip(
            landmarks=mirror(landmarks) if is_mirrored else landmarks,
            times_ms=times_ms,
            width=width,
            height=height,
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
    if not np.isfinite(times_ms).all() or (np.diff(times_ms) <= 0).any():
        return "times_ms", "must be finite and strictly increasing, in milliseconds"
    if width < 1 or height < 1:
        return "width" if width < 1 else "height", f"must be at least 1 pixel, is {width}x{height}"
    return None
