"""One way to write the names of signs, people and metrics: readable, in every script, and never two names as one.

Names are compared in Unicode's composed form (NFC), so that a name copied from a Mac is the name that was typed. What
cannot be kept is refused by name: invisible characters, and names of which nothing is left.
"""

import hashlib
import re
import unicodedata
from collections.abc import Container
from typing import Final

from app.ml.errors import DatasetError

MAX_LENGTH: Final = 120
"""Characters of a name."""
_MAX_METRIC_LENGTH: Final = 250
"""That MLflow takes."""
_JOINERS: Final = "\u200c\u200d"
"""Invisible, but part of the spelling in Persian, in the scripts of India, and in emoji."""
_BLANKS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and marks that nobody sees."""
_SIGNS: Final = "#&@%*"
"""Punctuation, by Unicode, that tells names apart: C# is not C."""
_ESCAPE: Final = "-u{:02x}-"
_LIKE_ESCAPE: Final = re.compile(r"-u[0-9a-f]{2}")
"""A `-` that could be taken for the beginning of an escape, and so is escaped itself."""
_PAST_UNICODE: Final = 0x110000


def compose(name: str) -> str:
    """The form in which names are compared: a Mac writes the ë of a file's name as e with a mark."""
    return unicodedata.normalize("NFC", name)


def clean(name: str) -> str:
    """A name as it is compared and stored: composed, without white space around it.

    Raises:
        DatasetError: it has invisible characters, bytes that are no text, or more than 120 characters.
    """
    composed = compose(name).strip()
    for position, character in enumerate(composed):
        if _is_invisible(composed, position):
            what = "a byte that is no UTF-8 text" if unicodedata.category(character) == "Cs" else "an invisible one"
            msg = f"name {name!r} has the character U+{ord(character):04X}, {what}; rename it"
            raise DatasetError(msg)
    if len(composed) > MAX_LENGTH:
        msg = f"name {composed[:40]!r}... has {len(composed)} characters, the limit is {MAX_LENGTH}; shorten it"
        raise DatasetError(msg)
    return composed


def spell(label: str) -> str:
    """A label in our spelling: `Thank You` is `thank_you`, the single letter `A` is `letter_a`, `C++` is `c++`.

    Letters, digits and symbols of every script stay, in lower case; white space and punctuation become one `_`. A
    single letter of a script that has capitals is taken for the fingerspelled letter, also `I`; a label map says where
    it is the pronoun. Spelling a spelled label changes nothing. `Spellings` refuses two labels that become one.

    Raises:
        DatasetError: it cannot be a name, or nothing is left of it.
    """
    lower = compose(clean(label).lower())
    marked = "".join(character if _stays(character) else "_" for character in lower)
    plain = compose(re.sub("_+", "_", marked).strip("_"))
    letters = [character for character in plain if not unicodedata.category(character).startswith("M")]
    if not letters:
        msg = f"name {label!r} has no letter, digit or symbol; rename it, or name it in the label map"
        raise DatasetError(msg)
    is_letter = len(letters) == 1 and unicodedata.category(letters[0]) in ("Ll", "Lu", "Lt")
    return f"letter_{plain}" if is_letter else plain


class Spellings:
    """Remembers which names of a source became which of ours, and refuses two that would become one.

    Args:
        what: of what kind the names are, e.g. `label`.
        option: the option that takes a map; names that the map renames are not taken here.
    """

    def __init__(self, what: str, *, option: str) -> None:
        self._what = what
        self._option = option
        self._theirs: dict[str, str] = {}

    def take(self, theirs: str, ours: str) -> None:
        """Note one name; `ours` is its spelling.

        Raises:
            DatasetError: another name has that spelling.
        """
        theirs = compose(theirs)
        first = self._theirs.setdefault(ours, theirs)
        if first != theirs:
            msg = (
                f"{self._what}s {first!r} and {theirs!r} would both become {ours!r}; rename one, or say with "
                f"{self._option} MAP.csv what it is called: a line '{theirs},{ours}' if the two are one"
            )
            raise DatasetError(msg)


def metric_name(name: str) -> str:
    """A metric's name in the characters that MLflow takes on every system, `/` between its parts.

    Letters and digits of every script, spaces, `_`, `.` and `-` stay. Anything else is written `-u2b-`, its code point,
    as are a `.` that begins a part and a part that is empty, so that no two names become one. Beyond 250 characters
    the end is a hash of the whole.
    """
    composed = compose(name)
    escaped = "/".join(_escape_part(part) for part in composed.split("/"))
    if len(escaped) <= _MAX_METRIC_LENGTH:
        return escaped
    digest = hashlib.sha256(composed.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{escaped[: _MAX_METRIC_LENGTH - 17].rstrip('/.')}-{digest}"


def show_codes(text: str, *, missing: Container[str]) -> str:
    """A text with each character in `missing` as its code point, `[U+BBFC]`: for what cannot be drawn."""
    return "".join(f"[U+{ord(character):04X}]" if character in missing else character for character in text)


def _is_invisible(text: str, position: int) -> bool:
    character = text[position]
    if character in _JOINERS:
        around = text[position - 1 : position] + text[position + 1 : position + 2]
        return len(around) < 2 or around.isascii()
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _BLANKS


def _stays(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMNSC" or character in _SIGNS


def _escape_part(part: str) -> str:
    return "".join(
        character
        if re.match(r"[\w. \-]", character)
        and not _LIKE_ESCAPE.match(part, position)
        and (position or character != ".")
        else _ESCAPE.format(ord(character))
        for position, character in enumerate(part)
    ) or _ESCAPE.format(_PAST_UNICODE)
