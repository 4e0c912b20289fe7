"""A folder of videos: `LABEL/anything.mp4`, or `LABEL/SIGNER/anything.mp4`; landmarks are found with MediaPipe."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from app.ml.errors import DatasetError
from app.ml.recordings.clips import Clip
from app.ml.recordings.extraction import VIDEO_SUFFIXES, extract_clip
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.recordings.source_files import find_data_files, place_of


def find_videos(root: Path) -> list[Path]:
    """The video itself, or every video below a folder, in order of name; hidden files are none."""
    return find_data_files(root, VIDEO_SUFFIXES)


class VideoImporter:
    """Reads a folder of videos; `extract` finds the landmarks of one, of a cut one too with `keep_cut`."""

    def __init__(self, root: Path, *, keep_cut: bool = False, extract: Callable[..., Clip] = extract_clip) -> None:
        self._root = root
        self._extract = partial(extract, keep_cut=True) if keep_cut else extract
        self._files = find_videos(root)

    def count(self) -> int:
        return len(self._files)

    def labels(self) -> Iterator[str]:
        yield from (label for file in self._files if (label := place_of(file, root=self._root).label) is not None)

    def read(self) -> Iterator[Clip | Skipped]:
        if not self._files:
            msg = f"{self._root}: no video below it ({', '.join(sorted(VIDEO_SUFFIXES))})"
            raise DatasetError(msg)
        for file in self._files:
            place = place_of(file, root=self._root)
            if place.label is None:
                yield Skipped(path=file, reason="lies beside the labels' folders; put it into the folder of its label")
                continue
            yield read_item(file, partial(self._extract, file, label=place.label, signer=place.signer))
