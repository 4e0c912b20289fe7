"""Our own clip and data set files, read one by one: what cannot be used is named, the others are read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from app.ml.errors import ClipFileError, DatasetError
from app.ml.recordings.clips import Clip, open_clips
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.recordings.names import compose
from app.ml.recordings.source_files import find_data_files

SUFFIX = ".npz"


class NpzImporter:
    """Our own files, imported to rename, merge or thin them out."""

    def __init__(self, root: Path) -> None:
        self._items = list(read_npz_files([root]))

    def count(self) -> int:
        return len(self._items)

    def labels(self) -> Iterator[str]:
        yield from (item.label for item in self._items if isinstance(item, Clip) and item.label is not None)

    def read(self) -> Iterator[Clip | Skipped]:
        yield from self._items


def read_npz_files(paths: Sequence[Path]) -> Iterator[Clip | Skipped]:
    """Every clip of files and folders, in order of name; names composed, points of zeros missing.

    Raises:
        ClipFileError: a path does not exist, or is a folder without such a file.
    """
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder"
            raise ClipFileError(msg)
        files = find_data_files(path, {SUFFIX})
        if not files:
            msg = f"{path}: the folder holds no .npz file; make one with 'python -m scripts.import_dataset'"
            raise ClipFileError(msg)
        for file in files:
            yield from _read_file(file)


def load_usable(paths: Sequence[Path]) -> tuple[list[Clip], list[Skipped]]:
    """The clips of files and folders that can be used, and what cannot, with the reason.

    Raises:
        ClipFileError: a path does not exist, or is a folder without such a file.
        DatasetError: nothing can be used.
    """
    clips: list[Clip] = []
    left_out: list[Skipped] = []
    for item in read_npz_files(paths):
        if isinstance(item, Skipped):
            left_out.append(item)
        else:
            clips.append(item)
    if not clips:
        first = left_out[0]
        msg = f"no recording can be used: {len(left_out)} left out, first {first.path}: {first.reason}"
        raise DatasetError(msg)
    return clips, left_out


def _read_file(file: Path) -> Iterator[Clip | Skipped]:
    try:
        clips = list(open_clips(file))
    except ClipFileError as error:
        yield Skipped(path=file, reason=str(error).removeprefix(f"{file}: "))
        return
    for clip_id, read in clips:
        path = file / clip_id if clip_id and len(clips) > 1 else file
        item = read_item(path, lambda read=read: _mended(read()))
        yield replace(item, reason=item.reason.removeprefix(f"{file}: ")) if isinstance(item, Skipped) else item


def _mended(clip: Clip) -> Clip:
    return replace(
        clip,
        label=None if clip.label is None else compose(clip.label),
        signer=None if clip.signer is None else compose(clip.signer),
    )
