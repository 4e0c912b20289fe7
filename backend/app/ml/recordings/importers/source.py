"""What every importer yields, and how labels and signers are brought to one spelling."""

import csv
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from app.ml.errors import DatasetError, MissingExtraError, MlError
from app.ml.recordings.clips import Clip, without_impossible
from app.ml.recordings.names import clean, compose, spell
from app.ml.recordings.plausibility import find_implausible

_WRONG: Final = (
    OSError, ValueError, KeyError, IndexError, TypeError, EOFError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What the packages that read files raise for a bad one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that could not be imported, and why; `is_empty` when nothing is wrong with it but that nobody is there
    to see."""

    path: Path
    reason: str
    is_empty: bool = False


class Importer(Protocol):
    """Reads one layout."""

    def count(self) -> int:
        """How many items there are, for a progress bar."""
        ...

    def labels(self) -> Iterator[str]:
        """The labels that there will be, as the source spells them, before anything is read."""
        ...

    def read(self) -> Iterator[Clip | Skipped]:
        """Each item as a clip, or why it cannot be one.

        Raises:
            DatasetError: nothing there has this layout.
            MissingExtraError: a package that reads it is not installed.
        """
        ...


def read_item(path: Path, read: Callable[[], Clip]) -> Clip | Skipped:
    """One item; whatever is wrong with it is told, and never ends the import of the others.

    Args:
        path: what is read, for the message.
        read: makes the clip.

    Raises:
        MissingExtraError: a package that reads it is not installed.
    """
    try:
        clip = read()
    except MissingExtraError:
        raise
    except (*_WRONG, MlError) as error:
        return Skipped(path=path, reason=_reason(path, error))
    if np.isnan(clip.landmarks).all():
        return Skipped(path=path, reason="has no landmark in any frame", is_empty=True)
    clip = without_impossible(clip)
    problem = find_implausible(clip.landmarks, clip.times_ms, width=clip.width, height=clip.height)
    if problem is not None:
        return Skipped(path=path, reason=problem)
    return clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How labels and signers are renamed.

    Attributes:
        labels: from the source's spelling (as it is, or brought to ours) to ours; an empty value leaves the clip out.
        signers: from the source's name of a person to ours.
        signer: everybody's name when the source has none.
        session: everybody's session when the source has none.
        language: ISO 639-3 code of the sign language.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    signers: Mapping[str, str] = field(default_factory=dict)
    signer: str | None = None
    session: str | None = None
    language: str | None = None

    def apply(self, clip: Clip) -> Clip | None:
        """The clip under its new names; None when the map leaves its label out.

        Raises:
            DatasetError: a name cannot be kept, and the map has no other.
        """
        label = None if clip.label is None else self._rename_label(clip.label)
        if label == "":
            return None
        return replace(
            clip,
            label=label,
            signer=self._rename_signer(clip.signer or self.signer or "") or None,
            session=clean(clip.session or self.session or "") or None,
            language=clip.language or self.language,
        )

    def has_label(self, label: str) -> bool:
        """Whether the map has the label as the source spells it."""
        return _key(label) in self.labels

    def has_signer(self, signer: str) -> bool:
        """Whether the map has the person as the source spells the name."""
        return _key(signer) in self.signers

    def _rename_label(self, label: str) -> str:
        if self.has_label(label):  # also where the name could not be kept
            return self.labels[_key(label)]
        ours = spell(label)
        return self.labels.get(ours, ours)

    def _rename_signer(self, signer: str) -> str:
        return self.signers[_key(signer)] if self.has_signer(signer) else clean(signer)


def load_map(path: Path) -> dict[str, str]:
    """Read a two-column CSV file `theirs,ours` (no header needed).

    Raises:
        DatasetError: the file is missing, a line has not two columns, gives a new name that cannot be kept, or gives
            two to one name.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: cannot be read as CSV ({error})"
        raise DatasetError(msg) from error
    names: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            msg = f"{path}, line {number}: {len(row)} columns; each line is 'theirs,ours'"
            raise DatasetError(msg)
        try:
            theirs, ours = _key(row[0]), clean(row[1])
        except DatasetError as error:
            msg = f"{path}, line {number}: {error}"
            raise DatasetError(msg) from error
        if names.setdefault(theirs, ours) != ours:
            msg = f"{path}, line {number}: {theirs!r} was {names[theirs]!r} above and is {ours!r} here; keep one"
            raise DatasetError(msg)
    return names


def _key(name: str) -> str:
    """How a map is asked for a name, whatever characters it has."""
    return compose(name).strip()


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    return str(error).removeprefix(f"{path}: ") or type(error).__name__
