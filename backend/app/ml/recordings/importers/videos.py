"""A folder of videos: `LABEL/anything.mp4`, or `LABEL/SIGNER/anything.mp4`; landmarks are found with MediaPipe."""

from collections.abc import Callable, Iterator
from pathlib import Path

from app.ml.errors import ClipFileError, DatasetError
from app.ml.recordings.clips import Clip
from app.ml.recordings.extraction import VIDEO_SUFFIXES, extract_clip
from app.ml.recordings.importers.source import Skipped


def find_videos(root: Path) -> list[Path]:
    """The video itself, or every video below a folder, in order of name."""
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)


class VideoImporter:
    """Reads a folder of videos; `extract` finds the landmarks of one."""

    def __init__(self, root: Path, *, extract: Callable[..., Clip] = extract_clip) -> None:
        self._root = root
        self._extract = extract
        self._files = find_videos(root)

    def count(self) -> int:
        return len(self._files)

    def read(self) -> Iterator[Clip | Skipped]:
        if not self._files:
            msg = f"{self._root}: no video below it ({', '.join(sorted(VIDEO_SUFFIXES))})"
            raise DatasetError(msg)
        for file in self._files:
            folders = list(file.relative_to(self._root).parts[:-1])
            if not folders:
                yield Skipped(path=file, reason="lies beside the labels' folders; put it into the folder of its label")
                continue
            signer = folders[1] if len(folders) > 1 else None
            try:
                clip = self._extract(file, label=folders[0], signer=signer)
            except ClipFileError as error:
                yield Skipped(path=file, reason=str(error))
                continue
            yield clip
