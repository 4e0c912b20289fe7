"""Any known layout to a list of clips: recognises the layout, renames, finds copies, says what could not be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.ml.errors import DatasetError
from app.ml.landmarks.layout import mirror
from app.ml.recordings.clips import DEFAULT_FRAME_MS, DEFAULT_HEIGHT, DEFAULT_WIDTH, Clip
from app.ml.recordings.copies import find_copies
from app.ml.recordings.extraction import VIDEO_SUFFIXES
from app.ml.recordings.importers.asl_signs import TABLE, AslSignsImporter
from app.ml.recordings.importers.mp_data import SUFFIX as MP_DATA_SUFFIX
from app.ml.recordings.importers.mp_data import MpDataImporter
from app.ml.recordings.importers.npz_files import SUFFIX as NPZ_SUFFIX
from app.ml.recordings.importers.npz_files import NpzImporter
from app.ml.recordings.importers.pose_files import SUFFIX as POSE_SUFFIX
from app.ml.recordings.importers.pose_files import PoseFileImporter
from app.ml.recordings.importers.source import Importer, Naming, Skipped
from app.ml.recordings.importers.videos import VideoImporter
from app.ml.recordings.names import Spellings, clean, compose, spell
from app.ml.recordings.source_files import find_data_files, show_path, show_text


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
        clips: renamed, without copies, each with a `clip_id` of its own.
        num_left_out: clips whose label the map leaves out.
        num_copies: clips dropped because an earlier one shows the same recording under the same label.
        conflicts: groups of `label/clip_id` that show the same recording under different labels; all are kept.
        empty: in which nobody is seen.
        nameless: whose label or signer cannot be kept as a name.
        skipped: what could not be read.
        num_erased: single points of the clips that cannot be right, made missing.
    """

    clips: tuple[Clip, ...]
    num_left_out: int
    num_copies: int
    conflicts: tuple[tuple[str, ...], ...]
    empty: tuple[Skipped, ...]
    nameless: tuple[Skipped, ...]
    skipped: tuple[Skipped, ...]
    num_erased: int


ENDINGS: Final = {
    SourceFormat.NPZ: frozenset({NPZ_SUFFIX}),
    SourceFormat.MP_DATA: frozenset({MP_DATA_SUFFIX}),
    SourceFormat.POSE: frozenset({POSE_SUFFIX}),
    SourceFormat.ASL_SIGNS: frozenset({".csv", ".parquet"}),
    SourceFormat.VIDEOS: VIDEO_SUFFIXES,
}
"""Of the files that hold each layout's recordings."""


def detect_format(path: Path) -> SourceFormat:
    """Say which layout lies at `path`.

    Raises:
        DatasetError: nothing is there, or nothing that is known.
    """
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DatasetError(msg)
    if (path / TABLE).is_file():
        return SourceFormat.ASL_SIGNS
    depths: dict[str, int] = {}  # of each ending, where the first of its files lies
    for file in find_data_files(path):
        depth, ending = len(file.relative_to(path).parts), file.suffix.lower()
        depths[ending] = min(depth, depths.get(ending, depth))
    if path.is_file() and ".csv" in depths:
        return SourceFormat.ASL_SIGNS
    if depths.get(".npz", 2) < 2:
        return SourceFormat.NPZ
    for source in (SourceFormat.MP_DATA, SourceFormat.NPZ, SourceFormat.POSE, SourceFormat.VIDEOS):
        if not ENDINGS[source].isdisjoint(depths) and not (path.is_file() and source is SourceFormat.MP_DATA):
            return source
    msg = (
        f"{path}: no known layout; known are .npz, ACTION/SEQUENCE/FRAME.npy, .pose, {TABLE} with parquet, LABEL/video"
    )
    raise DatasetError(msg)


def find_unread(path: Path, source: SourceFormat, importer: Importer) -> list[Path]:
    """Files at `path` that an importer of this layout does not look at; hidden ones and litter apart."""
    if path.is_file():
        return []
    listed = importer.listed() if isinstance(importer, AslSignsImporter) else None
    return [
        file
        for file in find_data_files(path)
        if file.suffix.lower() not in ENDINGS[source] or (listed is not None and file not in listed)
    ]


def open_importer(path: Path, source: SourceFormat, camera: Camera, *, keep_cut: bool = False) -> Importer:
    """The importer of a layout; `keep_cut` takes what is there of cut videos, see `extract_clip`.

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
            return NpzImporter(path)
        case SourceFormat.MP_DATA:
            return MpDataImporter(path, frame_ms=camera.frame_ms, width=camera.width, height=camera.height)
        case SourceFormat.POSE:
            return PoseFileImporter(path)
        case SourceFormat.ASL_SIGNS:
            return AslSignsImporter(path, frame_ms=camera.frame_ms, width=camera.width, height=camera.height)
        case _:
            return VideoImporter(path, keep_cut=keep_cut)


def import_clips(
    importer: Importer,
    *,
    naming: Naming | None,
    camera: Camera,
    on_item: Callable[[], None] = lambda: None,
) -> Imported:
    """Read everything, rename it, and drop copies.

    Args:
        importer: of the source's layout.
        naming: how labels and signers are renamed; None when labels do not matter: signers keep their names.
        camera: when it is mirrored, every clip is un-mirrored.
        on_item: called after each item, for a progress bar.

    Raises:
        DatasetError: nothing there has this layout, two labels or people would become one, or no clip is left.
    """
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    nameless: list[Skipped] = []
    num_left_out = 0
    people = Spellings("signer", option="--signers")
    if naming is not None:
        _refuse_two_as_one(importer.labels(), naming)
    for item in importer.read():
        on_item()
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        try:
            clip = _with_composed_signer(item) if naming is None else naming.apply(item)
        except DatasetError as error:
            nameless.append(Skipped(path=Path(item.clip_id or "clip"), reason=str(error)))
            continue
        if clip is None:
            num_left_out += 1
            continue
        if naming is not None and item.signer is not None and not naming.has_signer(item.signer):
            people.take(item.signer, clean(item.signer))
        clips.append(replace(clip, landmarks=mirror(clip.landmarks)) if camera.mirrored else clip)
    kept, conflicts = _drop_copies(_with_own_ids(clips))
    empty = tuple(item for item in skipped if item.is_empty)
    skipped = [item for item in skipped if not item.is_empty]
    if not kept:
        first = (*skipped, *nameless, *empty)[:1]
        reason = f"; first problem: {show_path(first[0].path)}: {show_text(first[0].reason)}" if first else ""
        msg = (
            f"no clip is left: {len(skipped)} could not be read, {len(nameless)} have no name that can be kept, "
            f"{len(empty)} are empty, {num_left_out} were left out by the label map{reason}"
        )
        raise DatasetError(msg)
    return Imported(
        clips=tuple(kept),
        num_left_out=num_left_out,
        num_copies=len(clips) - len(kept),
        conflicts=tuple(conflicts),
        empty=empty,
        nameless=tuple(nameless),
        skipped=tuple(skipped),
        num_erased=sum(clip.num_erased for clip in kept),
    )


def _with_composed_signer(clip: Clip) -> Clip:
    return clip if clip.signer is None else replace(clip, signer=compose(clip.signer))


def _refuse_two_as_one(labels: Iterable[str], naming: Naming) -> None:
    """Look at every label before the work begins; one that cannot be kept is told when its recording is read."""
    spellings = Spellings("label", option="--labels")
    for label in dict.fromkeys(labels):
        try:
            ours = spell(label)
        except DatasetError:
            continue
        if not naming.has_label(label):
            spellings.take(label, ours)


def _with_own_ids(clips: list[Clip]) -> list[Clip]:
    """Clips with names of their own: the second `take1` becomes `take1 (2)`."""
    taken = {clip.clip_id for clip in clips}
    seen: set[str] = set()
    named: list[Clip] = []
    for position, clip in enumerate(clips):
        name = first = show_text(clip.clip_id or str(position))
        number = 1
        while name in seen or (number > 1 and name in taken):
            number += 1
            name = f"{first} ({number})"
        seen.add(name)
        named.append(clip if name == clip.clip_id else replace(clip, clip_id=name))
    return named


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
