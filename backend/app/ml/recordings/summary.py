"""What is in a clip or data set file, without reading its landmarks: quick enough for a list."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.npyio import NpzFile

from app.ml.errors import ClipFileError
from app.ml.recordings.archive import READ_ERRORS, is_archive, to_text
from app.ml.recordings.labels import BACKGROUND
from app.ml.recordings.names import compose

_NO_SIGN: Final = ("suspect", "nonsign")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What files hold together.

    Attributes:
        num_clips: recordings of any kind.
        signers: clips of each person; recordings without a name count as "".
        signs: clips of each sign, without idle, unknown, non-signs and suspect clips.
        languages: ISO 639-3 codes that the recordings name.
        is_data_set: many recordings in one file, rather than one clip a file.
    """

    num_clips: int = 0
    signers: Mapping[str, int] = field(default_factory=dict)
    signs: Mapping[str, int] = field(default_factory=dict)
    languages: frozenset[str] = frozenset()
    is_data_set: bool = False


def summarise(path: Path) -> DataSummary:
    """Describe one clip or data set file.

    Raises:
        ClipFileError: the file is missing, not an `.npz`, or a key is missing or does not fit the others.
    """
    try:
        if not is_archive(path):
            msg = f"{path.name} is no .npz file; make one with 'python -m scripts.import_dataset' (docs/data.md)"
            raise ClipFileError(msg)
        with np.load(path, allow_pickle=False) as file:
            return _summarise_data_set(file) if "landmarks_q" in file else _summarise_clip(file)
    except (*READ_ERRORS, IndexError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        msg = f"{path.name} is no clip or data set file: {reason}; docs/data.md shows both"
        raise ClipFileError(msg) from error


def merge(summaries: Iterable[DataSummary]) -> DataSummary:
    """What several files hold together."""
    found = list(summaries)
    signers: Counter[str] = Counter()
    signs: Counter[str] = Counter()
    for one in found:
        signers.update(one.signers)
        signs.update(one.signs)
    return DataSummary(
        num_clips=sum(one.num_clips for one in found),
        signers=dict(sorted(signers.items())),
        signs=dict(sorted(signs.items())),
        languages=frozenset().union(*(one.languages for one in found)),
        is_data_set=any(one.is_data_set for one in found),
    )


def _summarise_data_set(file: NpzFile) -> DataSummary:
    num_clips = len(file["lengths"])
    names = [*_texts(file, "label_names", len(file["label_names"])), None]  # index -1 has no label
    labels = [names[int(index)] for index in file["labels"]]
    quality = _texts(file, "quality", num_clips)
    signs = Counter(
        label
        for label, verdict in zip(labels, quality, strict=True)
        if label is not None and label not in BACKGROUND and verdict not in _NO_SIGN
    )
    usable = [verdict != "suspect" for verdict in quality]
    signers = _texts(file, "signers", num_clips)
    return DataSummary(
        num_clips=sum(usable),
        signers=Counter(signer for signer, is_usable in zip(signers, usable, strict=True) if is_usable),
        signs=signs,
        languages=frozenset(_texts(file, "language", num_clips)) - {""},
        is_data_set=True,
    )


def _summarise_clip(file: NpzFile) -> DataSummary:
    if "landmarks" not in file:
        msg = "it has neither 'landmarks_q' nor 'landmarks'"
        raise KeyError(msg)
    (label,), (quality,), (language,), (signer,) = (
        _texts(file, key, 1) for key in ("label", "quality", "language", "signer")
    )
    is_sign = label not in ("", *BACKGROUND) and quality not in _NO_SIGN
    return DataSummary(
        num_clips=1,
        signers={signer: 1},
        signs={label: 1} if is_sign else {},
        languages=frozenset({language}) - {""},
    )


def _texts(file: NpzFile, key: str, num_clips: int) -> list[str]:
    """A key that is one text, one a clip, or absent; names composed, as training reads them."""
    values = np.atleast_1d(file[key]) if key in file else np.array([""])
    return [compose(to_text(value)) for value in np.broadcast_to(values, num_clips)]
