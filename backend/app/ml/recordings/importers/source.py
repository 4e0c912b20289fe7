"""What every importer yields, and how labels and signers are brought to one spelling."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from app.ml.errors import DatasetError
from app.ml.recordings.clips import Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that could not be imported, and why."""

    path: Path
    reason: str


class Importer(Protocol):
    """Reads one layout."""

    def count(self) -> int:
        """How many items there are, for a progress bar."""
        ...

    def read(self) -> Iterator[Clip | Skipped]:
        """Each item as a clip, or why it cannot be one.

        Raises:
            DatasetError: nothing there has this layout.
            MissingExtraError: a package that reads it is not installed.
        """
        ...


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
        """The clip under its new names; None when the map leaves its label out."""
        label = clip.label
        if label is not None:
            ours = spell(label)
            label = self.labels.get(label, self.labels.get(ours, ours))
            if not label:
                return None
        signer = clip.signer or self.signer
        return replace(
            clip,
            label=label,
            signer=self.signers.get(signer, signer) if signer else None,
            session=clip.session or self.session,
            language=clip.language or self.language,
        )


def spell(label: str) -> str:
    """A label in our spelling: `Thank You` is `thank_you`, the single letter `A` is `letter_a`.

    One letter is taken for the fingerspelled letter, also `I`; a label map says where it is the pronoun.
    """
    plain = re.sub(r"[^0-9a-z]+", "_", label.strip().lower()).strip("_")
    return f"letter_{plain}" if re.fullmatch(r"[a-z]", plain) else plain


def load_map(path: Path) -> dict[str, str]:
    """Read a two-column CSV file `theirs,ours` (no header needed).

    Raises:
        DatasetError: the file is missing, or a line has not two columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: cannot be read as CSV ({error})"
        raise DatasetError(msg) from error
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            msg = f"{path}, line {number}: {len(row)} columns; each line is 'theirs,ours'"
            raise DatasetError(msg)
    return {theirs.strip(): ours.strip() for theirs, ours in rows}
