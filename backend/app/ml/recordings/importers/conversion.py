"""Any known layout to a list of clips: recognises the layout, renames, finds copies, says what could not be read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from app.ml.errors import DatasetError
from app.ml.landmarks.layout import mirror
from app.ml.recordings.clips import DEFAULT_FRAME_MS, DEFAULT_HEIGHT, DEFAULT_WIDTH, Clip, load_dataset
from app.ml.recordings.copies import find_copies
from app.ml.recordings.importers.asl_signs import TABLE, AslSignsImporter
from app.ml.recordings.importers.mp_data import MpDataImporter
from app.ml.recordings.importers.pose_files import PoseFileImporter
from app.ml.recordings.importers.source import Importer, Naming, Skipped
from app.ml.recordings.importers.videos import VideoImporter, find_videos


class SourceFormat(StrEnum):
    """Layouts that can be imported."""

    AUTO = "auto"
    """Recognised by what lies there."""
    NPZ = "npz"
    """Our own clip and dataset files."""
    MP_DATA = "mp-data"
    """`ACTION/SEQUENCE/FRAME.npy` with 1662, 258 or 225 values a frame."""
    POSE = "pose"
    """`.pose` files, in a folder a label or alone."""
    ASL_SIGNS = "asl-signs"
    """Kaggle's `train.csv` with parquet files."""
    VIDEOS = "videos"
    """`LABEL/*.mp4`, through MediaPipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What a source does not say about its recordings."""

    frame_ms: float = DEFAULT_FRAME_MS
    width: int = DEFAULT_WIDTH
    height: int = DEFAULT_HEIGHT
    mirrored: bool = False
    """The pictures were flipped before detection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came out.

    Attributes:
        clips: renamed and without copies.
        num_left_out: clips whose label the map leaves out.
        num_copies: clips dropped because an earlier one shows the same recording under the same label.
        conflicts: groups of `label/clip_id` that show the same recording under different labels; all are kept.
        skipped: what could not be read.
    """

    clips: tuple[Clip, ...]
    num_left_out: int
    num_copies: int
    conflicts: tuple[tuple[str, ...], ...]
    skipped: tuple[Skipped, ...]


class _NpzImporter:
    """Our own files, imported to rename, merge or thin them out."""

    def __init__(self, root: Path) -> None:
        self._clips = load_dataset(root)

    def count(self) -> int:
        return len(self._clips)

    def read(self) -> Iterator[Clip | Skipped]:
        yield from self._clips


def detect_format(path: Path) -> SourceFormat:
    """Say which layout lies at `path`.

    Raises:
        DatasetError: nothing is there, or nothing that is known.
    """
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DatasetError(msg)
    if path.is_file():
        by_suffix = {".npz": SourceFormat.NPZ, ".pose": SourceFormat.POSE, ".csv": SourceFormat.ASL_SIGNS}
        if path.suffix.lower() in by_suffix:
            return by_suffix[path.suffix.lower()]
    elif (path / TABLE).is_file():
        return SourceFormat.ASL_SIGNS
    elif any(path.glob("*.npz")):
        return SourceFormat.NPZ
    elif any(path.glob("*/*/*.npy")) or any(path.glob("*/*.npy")):
        return SourceFormat.MP_DATA
    elif any(path.rglob("*.npz")):  # in folders by label, as extract_landmarks writes clips
        return SourceFormat.NPZ
    elif any(path.rglob("*.pose")):
        return SourceFormat.POSE
    elif find_videos(path):
        return SourceFormat.VIDEOS
    msg = (
        f"{path}: no known layout; known are .npz, ACTION/SEQUENCE/FRAME.npy, .pose, {TABLE} with parquet, LABEL/video"
    )
    raise DatasetError(msg)


def open_importer(path: Path, source: SourceFormat, camera: Camera) -> Importer:
    """The importer of a layout.

    Raises:
        DatasetError: nothing at `path` can be imported.
        ClipFileError: an `.npz` file there cannot be read.
    """
    if source is SourceFormat.AUTO:
        source = detect_format(path)
    elif not path.exists():
        msg = f"{path}: no such file or folder"
        raise DatasetError(msg)
    match source:
        case SourceFormat.NPZ:
            return _NpzImporter(path)
        case SourceFormat.MP_DATA:
            return MpDataImporter(path, frame_ms=camera.frame_ms, width=camera.width, height=camera.height)
        case SourceFormat.POSE:
            return PoseFileImporter(path)
        case SourceFormat.ASL_SIGNS:
            return AslSignsImporter(path, frame_ms=camera.frame_ms, width=camera.width, height=camera.height)
        case _:
            return VideoImporter(path)


def import_clips(
    importer: Importer,
    *,
    naming: Naming,
    camera: Camera,
    on_item: Callable[[], None] = lambda: None,
) -> Imported:
    """Read everything, rename it, and drop copies.

    Args:
        importer: of the source's layout.
        naming: how labels and signers are renamed.
        camera: when it is mirrored, every clip is un-mirrored.
        on_item: called after each item, for a progress bar.

    Raises:
        DatasetError: nothing there has this layout, or no clip is left.
    """
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    num_left_out = 0
    for item in importer.read():
        on_item()
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        named = naming.apply(item)
        if named is None:
            num_left_out += 1
        else:
            clips.append(replace(named, landmarks=mirror(named.landmarks)) if camera.mirrored else named)
    kept, conflicts = _drop_copies(clips)
    if not kept:
        reason = f"; first problem: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        msg = (
            f"no clip is left: {len(skipped)} could not be read, {num_left_out} were left out by the label map{reason}"
        )
        raise DatasetError(msg)
    return Imported(
        clips=tuple(kept),
        num_left_out=num_left_out,
        num_copies=len(clips) - len(kept),
        conflicts=tuple(conflicts),
        skipped=tuple(skipped),
    )


def _drop_copies(clips: list[Clip]) -> tuple[list[Clip], list[tuple[str, ...]]]:
    dropped: set[int] = set()
    conflicts: list[tuple[str, ...]] = []
    for group in find_copies(clips):
        labels = {clips[position].label for position in group}
        if len(labels) > 1:
            conflicts.append(tuple(f"{clips[position].label}/{clips[position].clip_id}" for position in group))
        else:
            dropped.update(group[1:])
    return [clip for position, clip in enumerate(clips) if position not in dropped], conflicts
