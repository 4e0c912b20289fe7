"""What can be streamed: clip and dataset files, folders of them, and videos."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.ml.errors import DatasetError
from app.ml.recordings.clips import Clip, load_dataset
from app.ml.recordings.extraction import VIDEO_SUFFIXES, extract_clip


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

    def apply(self, clips: list[Clip]) -> list[tuple[int, Clip]]:
        """The chosen clips with their positions, in order.

        Raises:
            DatasetError: no clip is chosen; the message says what there is to choose from.
        """
        out_of_range = [position for position in self.index if not 0 <= position < len(clips)]
        if out_of_range:
            msg = f"there is no clip {out_of_range[0]}; the {len(clips)} clips are counted from 0"
            raise DatasetError(msg)
        chosen = [
            (position, clip)
            for position, clip in enumerate(clips)
            if (not self.index or position in self.index)
            and (not self.labels or clip.label in self.labels)
            and (not self.signers or clip.signer in self.signers)
        ][: self.limit]
        if not chosen:
            labels = ", ".join(sorted({clip.label for clip in clips if clip.label})) or "none"
            signers = ", ".join(sorted({clip.signer for clip in clips if clip.signer})) or "none"
            msg = f"no clip is chosen out of {len(clips)}; labels: {labels}; signers: {signers}"
            raise DatasetError(msg)
        return chosen


def load_recording(path: Path, *, on_frame: Callable[[int, int], None] = lambda _done, _total: None) -> list[Clip]:
    """The clips of an `.npz` file or folder, or a video as one clip.

    Args:
        path: what to read.
        on_frame: called after each frame of a video with the number done and the expected total.

    Raises:
        ClipFileError: it cannot be read.
        MissingExtraError: it is a video, and MediaPipe is not installed.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return [extract_clip(path, on_frame=on_frame)]
    return load_dataset(path)
