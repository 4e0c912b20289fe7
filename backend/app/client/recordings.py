"""What can be streamed: clip and dataset files, folders of them, and videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.ml.errors import DatasetError
from app.ml.recordings.clips import Clip
from app.ml.recordings.extraction import VIDEO_SUFFIXES, extract_clip
from app.ml.recordings.importers.npz_files import read_npz_files
from app.ml.recordings.importers.source import Skipped
from app.ml.recordings.source_files import show_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which clips of a data set; everything that is given must hold.

    Attributes:
        index: positions in the data set, from 0.
        labels: any of these signs.
        signers: any of these people.
        limit: at most so many clips, the first ones.
    """

    index: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def takes_all(self) -> bool:
        """Whether nothing says which clips."""
        return not (self.index or self.labels or self.signers or self.limit)

    def apply(self, items: Sequence[Clip | Skipped]) -> list[tuple[int, Clip]]:
        """The chosen clips with their positions, in order; what cannot be used keeps its position and is not chosen.

        Raises:
            DatasetError: no clip is chosen; the message says what there is to choose from.
        """
        for position in self.index:
            if not 0 <= position < len(items):
                msg = f"there is no clip {position}; the {len(items)} clips are counted from 0"
                raise DatasetError(msg)
            if isinstance(item := items[position], Skipped):
                msg = f"clip {position} cannot be used: {show_path(item.path)}: {item.reason}"
                raise DatasetError(msg)
        clips = [item for item in items if isinstance(item, Clip)]
        skipped = [item for item in items if isinstance(item, Skipped)]
        if skipped and not clips:
            msg = f"no recording can be used; first problem: {show_path(skipped[0].path)}: {skipped[0].reason}"
            raise DatasetError(msg)
        chosen = [
            (position, clip)
            for position, clip in enumerate(items)
            if isinstance(clip, Clip)
            and (not self.index or position in self.index)
            and (not self.labels or clip.label in self.labels)
            and (not self.signers or clip.signer in self.signers)
        ][: self.limit]
        if not chosen:
            labels = ", ".join(sorted({clip.label for clip in clips if clip.label})) or "none"
            signers = ", ".join(sorted({clip.signer for clip in clips if clip.signer})) or "none"
            msg = f"no clip is chosen out of {len(clips)}; labels: {labels}; signers: {signers}"
            raise DatasetError(msg)
        return chosen


def load_recording(
    path: Path, *, on_frame: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Clip | Skipped]:
    """The clips of an `.npz` file or folder, with what cannot be one in its place, or a video as one clip.

    Args:
        path: what to read.
        on_frame: called after each frame of a video with the number done and the expected total.

    Raises:
        ClipFileError: it cannot be read.
        MissingExtraError: it is a video, and MediaPipe is not installed.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return [extract_clip(path, on_frame=on_frame)]
    return list(read_npz_files([path]))
