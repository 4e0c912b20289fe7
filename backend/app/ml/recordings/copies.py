"""Finds recordings that are there twice, under whatever name."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from app.ml.recordings.clips import Clip


def fingerprint(clip: Clip) -> str:
    """Hash of what the clip shows, blind to its name, label and signer: copies have the same."""
    rounded = np.nan_to_num(np.round(clip.landmarks, 3), nan=-9.0).astype(np.float32)
    return hashlib.sha256(rounded.tobytes()).hexdigest()


def find_copies(clips: Sequence[Clip]) -> list[list[int]]:
    """Groups of positions in `clips` that hold the same recording."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, clip in enumerate(clips):
        groups[fingerprint(clip)].append(position)
    return [group for group in groups.values() if len(group) > 1]


def data_fingerprint(clips: Iterable[Clip]) -> str:
    """Hash of a whole data set, blind to its order."""
    return hashlib.sha256("".join(sorted(fingerprint(clip) + str(clip.label) for clip in clips)).encode()).hexdigest()
