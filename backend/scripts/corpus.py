"""The recordings that the shipped models learn from: which files of the data folder, which language, which people."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.ml.errors import DatasetError
from app.ml.recordings.clips import Clip, load_dataset
from app.ml.recordings.source_files import is_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One language's part of the recordings.

    Attributes:
        language: ISO 639-3 code.
        prefix: how its files' names begin.
        people: who is held out in turn. Fixed, so that figures stay comparable.
        strangers: who is held out as well, to be refused: they move their hands in view and make no sign.
    """

    language: str
    prefix: str
    people: tuple[str, ...]
    strangers: tuple[str, ...] = ()


# fmt: off
CORPORA: Final = {
    corpus.language: corpus
    for corpus in (
        Corpus(language="ase", prefix="asl_", people=(
            "electronicaddict", "tam", "dmohazab", "TheCamNelson", "kelhuynh", "chrille91", "parsa", "surtecha",
            "kawayapp", "ilkerdemir", "akashcodes23",
        ), strangers=("argav304",)),
        Corpus(language="kvk", prefix="ksl_", people=("set2", "set4")),
    )
}
# fmt: on


def load_corpus(folder: Path, language: str) -> tuple[list[Clip], list[Clip]]:
    """Read a folder of data sets: the language's clips, and all others as background.

    Clips of other languages that agree with other people (`ok`) are left out of the background: a wave that says
    hello in one
    language must not be taught as meaningless in another.

    Raises:
        DatasetError: the language is unknown, or the folder has no data set of it.
        ClipFileError: a file cannot be read.
    """
    if language not in CORPORA:
        msg = f"no recordings are known for language {language!r}, only for {', '.join(CORPORA)}; use data of your own"
        raise DatasetError(msg)
    corpus = CORPORA[language]
    own: list[Clip] = []
    others: list[Clip] = []
    for path in sorted(path for path in folder.glob("*.npz") if is_data(path, root=folder)):
        clips = load_dataset(path)
        if path.name.startswith(corpus.prefix):
            own += [replace(clip, language=language) for clip in clips]
        else:
            others += [clip for clip in clips if clip.quality != "ok"]
    if not own:
        msg = f"no data set {corpus.prefix}*.npz in {folder}; docs/training.md says where the recordings come from"
        raise DatasetError(msg)
    return own, others
