"""Turns recognised signs into the text of a caption.

Rules, all on capture time:
    words    are separated by a space
    letters  join the word being spelled when the next begins at most `letter_join_ms` after the last ended:
             "C A T" reads CAT
    repeats  the same sign twice is kept when at least `repeat_gap_ms` lie between the two; closer, it is one sign
             that was cut in two
    not sure adds nothing until somebody says what it was
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRules:
    """Times in milliseconds of capture time; `history_signs` bounds what a caption holds."""

    letter_join_ms: float = 2_500.0
    repeat_gap_ms: float = 150.0
    history_signs: int = 200


class SignTexts(Protocol):
    """What a caption needs to know of the vocabulary."""

    def text(self, label: str, locale: str) -> str:
        """The display text of a sign in an interface language."""
        ...

    def is_letter(self, label: str) -> bool:
        """True for a fingerspelled letter."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionEntry:
    """One sign of a caption; `is_repeat` marks the second half of a sign that was cut in two."""

    sign_id: int
    label: str | None
    start_ms: float
    end_ms: float
    is_repeat: bool = False


class CaptionBuilder:
    """The caption of one session: bounded history, undo, reset, corrections."""

    def __init__(self, rules: CaptionRules, texts: SignTexts, *, locale: str = "en") -> None:
        self._rules = rules
        self._texts = texts
        self._entries: deque[CaptionEntry] = deque(maxlen=rules.history_signs)
        self.locale = locale

    def add(self, sign_id: int, label: str | None, *, start_ms: float, end_ms: float) -> bool:
        """Take the next finished sign; the oldest is forgotten when the history is full.

        Returns:
            Whether it is the second half of a sign that was cut in two: it does not show, and goes when that one goes.
        """
        previous = next((entry for entry in reversed(self._entries) if entry.label is not None), None)
        is_repeat = (
            label is not None
            and previous is not None
            and previous.label == label
            and previous.start_ms <= start_ms < previous.end_ms + self._rules.repeat_gap_ms
        )
        self._entries.append(
            CaptionEntry(sign_id=sign_id, label=label, start_ms=start_ms, end_ms=end_ms, is_repeat=is_repeat)
        )
        return is_repeat

    def undo(self) -> bool:
        """Take out the last sign that shows; False when nothing does."""
        while self._entries:
            entry = self._entries.pop()
            if entry.label is not None and not entry.is_repeat:
                return True
        return False

    def reset(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def correct(self, sign_id: int, label: str | None) -> bool:
        """Give a sign its right label (None takes it out); False when it is no longer in the caption."""
        for index, entry in enumerate(self._entries):
            if entry.sign_id == sign_id:
                self._entries[index] = replace(entry, label=label, is_repeat=False)
                return True
        return False

    @property
    def entries(self) -> tuple[CaptionEntry, ...]:
        """What the caption is made of, oldest first."""
        return tuple(self._entries)

    def restore(self, entries: Iterable[CaptionEntry]) -> None:
        """Go on from the entries of another one."""
        self._entries.extend(entries)

    @property
    def text(self) -> str:
        """The whole caption as it reads now."""
        parts: list[str] = []
        last_letter_end_ms: float | None = None
        for entry in self._entries:
            if entry.label is None or entry.is_repeat:
                continue
            shown = self._texts.text(entry.label, self.locale)
            if not self._texts.is_letter(entry.label):
                last_letter_end_ms = None
                parts.append(shown)
                continue
            joins = (
                last_letter_end_ms is not None
                and abs(entry.start_ms - last_letter_end_ms) <= self._rules.letter_join_ms
            )
            if joins:
                parts[-1] += shown
            else:
                parts.append(shown)
            last_letter_end_ms = entry.end_ms
        return " ".join(parts)
