"""The signs that a session has told, their landmarks while those are kept, and the caption that they make."""

from collections import deque

from app.ml.inference.segmenter import SignRecognised
from app.ml.types import LandmarkWindow
from app.services.captions import CaptionBuilder, SignTexts
from app.services.events import SignFinished
from app.services.session_record import SessionHistory
from app.services.streams import SessionRules


class SignHistory:
    """Numbers signs from 1; bounded, the oldest are forgotten first."""

    def __init__(self, rules: SessionRules, texts: SignTexts, *, locale: str) -> None:
        self._caption = CaptionBuilder(rules.captions, texts, locale=locale)
        self._clips_in_memory = rules.clips_in_memory
        self._signs: deque[SignFinished] = deque(maxlen=rules.history_signs)
        self._windows: dict[int, LandmarkWindow] = {}
        self._num_signs = 0
        self._record: SessionHistory | None = None

    @property
    def caption(self) -> str:
        """The caption as it reads now."""
        return self._caption.text

    def add(self, event: SignRecognised, *, latency_ms: float) -> SignFinished:
        """Take the next sign."""
        self._record = None
        self._num_signs += 1
        is_repeat = self._caption.add(self._num_signs, event.label, start_ms=event.start_ms, end_ms=event.end_ms)
        sign = SignFinished(
            sign_id=self._num_signs,
            label=event.label,
            confidence=event.confidence,
            alternatives=event.alternatives,
            start_ms=event.start_ms,
            end_ms=event.end_ms,
            model_version=event.model_version,
            latency_ms=latency_ms,
            is_repeat=is_repeat,
        )
        self._signs.append(sign)
        self._windows[sign.sign_id] = event.window
        self._windows.pop(sign.sign_id - self._clips_in_memory, None)
        return sign

    def find(self, sign_id: int) -> tuple[SignFinished, LandmarkWindow | None] | None:
        """A sign that is still remembered, with its landmarks if those are too."""
        for sign in self._signs:
            if sign.sign_id == sign_id:
                return sign, self._windows.get(sign_id)
        return None

    def after(self, sign_id: int) -> list[SignFinished]:
        """The signs above an id, oldest first."""
        return [sign for sign in self._signs if sign.sign_id > sign_id]

    def undo(self) -> None:
        """Take the last sign out of the caption."""
        self._record = None
        self._caption.undo()

    def correct(self, sign_id: int, label: str | None) -> bool:
        """Give a sign its right label in the caption (None takes it out); False when it is no longer there."""
        self._record = None
        return self._caption.correct(sign_id, label)

    def set_locale(self, locale: str) -> None:
        """Show the caption in another interface language."""
        self._caption.locale = locale

    def reset_caption(self, locale: str) -> None:
        """Begin a new caption; the signs themselves stay known."""
        self._record = None
        self._caption.reset()
        self._caption.locale = locale

    def to_record(self) -> SessionHistory:
        """What is kept of it, without landmarks; the same object until something changes."""
        if self._record is None:
            self._record = SessionHistory(
                signs=tuple(self._signs), caption=self._caption.entries, num_signs=self._num_signs
            )
        return self._record

    def restore(self, history: SessionHistory) -> None:
        """Go on from what was kept."""
        self._record = history
        self._signs.extend(history.signs)
        self._num_signs = history.num_signs
        self._caption.restore(history.caption)
