"""Lets pictures show names of every script: finds installed fonts that have the letters, and says where none has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from app.ml.recordings.names import show_codes

_FIRST: Final = "DejaVu Sans"
"""Comes with matplotlib."""
_NO_LETTERS: Final = ("lastresort", "last resort", "adobe blank")
"""Fonts that have a box for every letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """What a picture's texts are written with.

    Attributes:
        families: fonts, in the order in which they are asked for a letter.
        missing: letters that no installed font has.
    """

    families: Sequence[str]
    missing: frozenset[str]

    def show(self, text: str) -> str:
        """The text, with code points for letters that cannot be drawn."""
        return show_codes(text, missing=self.missing)

    def apply(self, figure: Figure) -> None:
        """Write every text of a finished figure with these fonts and as it is, without formulas between `$`; a line
        below the picture says what could not be drawn."""
        if self.missing:
            letters = " ".join(f"U+{ord(letter):04X}" for letter in sorted(self.missing)[:8])
            more = "" if len(self.missing) <= 8 else f" and {len(self.missing) - 8} more"
            note = f"no installed font has {letters}{more}: shown as code points; install one that has, e.g. Noto Sans"
            figure.supxlabel(note, fontsize=6, wrap=True)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
            text.set_fontfamily(list(self.families))


def choose_lettering(texts: Iterable[str]) -> Lettering:
    """Fonts that together have as many of the texts' letters as the installed ones can."""
    letters = frozenset(letter for text in texts for letter in text if not letter.isspace())
    families = [_FIRST]
    left = letters - _letters_of(font_manager.findfont(_FIRST), 0, letters)
    if left:
        _notice_new_fonts()
    candidates = [entry for entry in font_manager.fontManager.ttflist if _is_plain(entry)]
    while left and candidates:
        found = {entry: _letters_of(entry.fname, entry.index, left) for entry in candidates}
        best = max(candidates, key=lambda entry: len(found[entry]))
        if not found[best]:
            break
        families.append(best.name)
        left -= found[best]
        candidates = [entry for entry in candidates if found[entry] and entry.name not in families]
    return Lettering(families=tuple(families), missing=left)


def _is_plain(entry: FontEntry) -> bool:
    return entry.style == "normal" and not any(word in entry.name.lower() for word in _NO_LETTERS)


def _letters_of(path: str, index: int, letters: Iterable[str]) -> frozenset[str]:
    """Which of the letters a font file can draw; none when it cannot be used."""
    try:
        font = FT2Font(path, face_index=index)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(letter for letter in letters if font.scalable and font.get_char_index(ord(letter)))


def _notice_new_fonts() -> None:
    """matplotlib lists a machine's fonts once and keeps the list; what was installed since is added here."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a broken font is no reason to draw nothing
                continue
